/* SPDX-License-Identifier: MIT */
/* How far two sets of embeddings are apart. */
#ifndef VBRUN_ACCURACY_H
#define VBRUN_ACCURACY_H

#include <stdint.h>

/**
 * struct accuracy - one set beside another
 * @nmse: sum of squared differences over the sum of squares of the other
 * @max_abs: largest difference of an element
 * @spearman: rank correlation of the cosines of all pairs; NaN for fewer than three
 *	texts
 */
struct accuracy {
	double nmse, max_abs, spearman;
};

/**
 * accuracy_measure() - compare embeddings
 * @ours: f32 [count][hidden], rows of length 1
 * @other: the same from the other model
 *
 * Spearman's rho with mean ranks for ties, as Pearson's correlation of the ranks.
 * Return: 0, -ENOMEM.
 */
int accuracy_measure(const float *ours, const float *other, uint32_t count, uint32_t hidden,
		     struct accuracy *out);

/* The first two figures against float64; spearman is NaN. */
struct accuracy accuracy_against_f64(const float *ours, const double *other, uint64_t n);

/* Cosine of rows of length 1. */
double accuracy_cosine(const float *a, const float *b, uint32_t hidden);

#endif

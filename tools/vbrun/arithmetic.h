/* SPDX-License-Identifier: MIT */
/*
 * What the arithmetic of a pass takes by itself: the same products on weights that lie
 * in memory. On all of them, in memory beside the tier; or on a sample that fits into
 * the tier's own budget, scaled by bytes.
 */
#ifndef VBRUN_ARITHMETIC_H
#define VBRUN_ARITHMETIC_H

#include <stdint.h>

#include "matrices.h"

#define ARITHMETIC_PASSES_MAX 64u

struct stream_options;

/**
 * struct arithmetic - a device whose tier holds what it computes with
 * @v: the device; NULL: not open
 * @ms: the products
 * @share: part of the weights that they are made with
 * @seconds: of each pass
 * @count: passes
 */
struct arithmetic {
	struct vgpu *v;
	struct matrices ms;
	double share;
	double seconds[ARITHMETIC_PASSES_MAX];
	uint32_t count;
};

/**
 * arithmetic_open_all() - bring all weights of a checkpoint into memory
 * @a: all zero; arithmetic_close() it also after an error
 *
 * Nothing of the files stays in the page cache.
 * Return: 0; -ENOMEM the machine has too little memory available for that, nothing was
 * done; -EINTR; else what was said on stderr.
 */
int arithmetic_open_all(struct arithmetic *a, const struct stream_options *o,
			const struct vgpu_checkpoint *ck, const struct weights *w);

/**
 * arithmetic_open_sample() - bring as many weights into memory as the budget of @o holds
 *
 * Return: 0; -ENODATA when no matrix is so small; else as arithmetic_open_all().
 */
int arithmetic_open_sample(struct arithmetic *a, const struct stream_options *o,
			   const struct vgpu_checkpoint *ck, const struct weights *w);

/**
 * arithmetic_pass() - run the products once and note the seconds
 *
 * Return: 0; -EAGAIN when something was read from storage after all, which is no time of
 * arithmetic; -EINTR; what the device said, and stderr too.
 */
int arithmetic_pass(struct arithmetic *a);

/* Seconds of a pass over all weights: the median, scaled; 0 without a pass. */
double arithmetic_seconds(const struct arithmetic *a);

void arithmetic_close(struct arithmetic *a);

#endif

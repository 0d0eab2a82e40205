// SPDX-License-Identifier: MIT
#include "accuracy.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

double accuracy_cosine(const float *a, const float *b, uint32_t hidden)
{
	double sum = 0;

	for (uint32_t i = 0; i < hidden; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

/* A value and where it came from, for ranking. */
struct ranked {
	double value;
	uint32_t index;
};

static int by_value(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return x->value < y->value ? -1 : x->value > y->value;
}

/* Cosines of all pairs, replaced by their ranks; equal ones share the mean rank. */
static void pair_ranks(const float *rows, uint32_t count, uint32_t hidden, struct ranked *sorted,
		       double *ranks)
{
	uint32_t n = 0, end;

	for (uint32_t i = 0; i < count; i++)
		for (uint32_t j = i + 1; j < count; j++, n++)
			sorted[n] = (struct ranked){
				accuracy_cosine(&rows[(size_t)i * hidden], &rows[(size_t)j * hidden],
						hidden), n };
	qsort(sorted, n, sizeof(*sorted), by_value);
	for (uint32_t i = 0; i < n; i = end) {
		for (end = i + 1; end < n && sorted[end].value == sorted[i].value;)
			end++;
		for (uint32_t j = i; j < end; j++)
			ranks[sorted[j].index] = (i + end - 1) / 2.0;
	}
}

static double pearson(const double *a, const double *b, uint32_t n)
{
	double mean = (n - 1) / 2.0, ab = 0, aa = 0, bb = 0;

	for (uint32_t i = 0; i < n; i++) {
		ab += (a[i] - mean) * (b[i] - mean);
		aa += (a[i] - mean) * (a[i] - mean);
		bb += (b[i] - mean) * (b[i] - mean);
	}
	return ab / sqrt(aa * bb);
}

static int spearman(const float *ours, const float *other, uint32_t count, uint32_t hidden,
		    double *out)
{
	uint32_t pairs = count * (count - 1) / 2;
	struct ranked *sorted = malloc(pairs * sizeof(*sorted));
	double *ranks = malloc(2 * (size_t)pairs * sizeof(*ranks));
	int rc = sorted && ranks ? 0 : -ENOMEM;

	if (!rc) {
		pair_ranks(ours, count, hidden, sorted, ranks);
		pair_ranks(other, count, hidden, sorted, ranks + pairs);
		*out = pearson(ranks, ranks + pairs, pairs);
	}
	free(sorted);
	free(ranks);
	return rc;
}

int accuracy_measure(const float *ours, const float *other, uint32_t count, uint32_t hidden,
		     struct accuracy *out)
{
	double difference = 0, power = 0;

	*out = (struct accuracy){ .spearman = NAN };
	for (size_t i = 0; i < (size_t)count * hidden; i++) {
		double d = (double)ours[i] - other[i];

		difference += d * d;
		power += (double)other[i] * other[i];
		out->max_abs = fmax(out->max_abs, fabs(d));
	}
	out->nmse = difference / power;
	return count < 3 ? 0 : spearman(ours, other, count, hidden, &out->spearman);
}

struct accuracy accuracy_against_f64(const float *ours, const double *other, uint64_t n)
{
	struct accuracy a = { .spearman = NAN };
	double difference = 0, power = 0;

	for (uint64_t i = 0; i < n; i++) {
		double d = ours[i] - other[i];

		difference += d * d;
		power += other[i] * other[i];
		a.max_abs = fmax(a.max_abs, fabs(d));
	}
	a.nmse = difference / power;
	return a;
}

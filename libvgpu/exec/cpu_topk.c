// SPDX-License-Identifier: MIT
/*
 * The largest of a long row, or many of them: what the kernel does by keeping a short list
 * sorted, with a heap, whose root is the least of those kept.  Steps are n * log(top)
 * instead of n * top, and between them it is asked whether it may go on.
 */
#include <math.h>

#include "cpu.h"

#define STEPS	(1u << 18)	/* between two questions */

/* What is kept; both arrays are a client's, who may write them meanwhile: only it suffers. */
struct kept {
	float *value;
	int32_t *index;
	uint32_t count;
};

/* As the kernel: NaN below all, of equal values the first one. */
static bool is_before(float a, int32_t i, float b, int32_t j)
{
	if (isnan(a) || isnan(b))
		return isnan(a) == isnan(b) ? i < j : isnan(b);
	return a != b ? a > b : i < j;
}

static bool kept_is_before(const struct kept *k, uint32_t a, uint32_t b)
{
	return is_before(k->value[a], k->index[a], k->value[b], k->index[b]);
}

static void kept_swap(struct kept *k, uint32_t a, uint32_t b)
{
	float value = k->value[a];
	int32_t index = k->index[a];

	k->value[a] = k->value[b];
	k->index[a] = k->index[b];
	k->value[b] = value;
	k->index[b] = index;
}

/* The last in rank comes to the root. */
static void kept_sink(struct kept *k, uint32_t at)
{
	for (uint64_t child; (child = 2ull * at + 1) < k->count; at = (uint32_t)child) {
		if (child + 1 < k->count && kept_is_before(k, (uint32_t)child, (uint32_t)child + 1))
			child++;
		if (!kept_is_before(k, at, (uint32_t)child))
			return;
		kept_swap(k, at, (uint32_t)child);
	}
}

static int steps_done(const struct vgpu_work *w, uint32_t n)
{
	return n % STEPS ? 0 : vgpu_work_go_on(w);
}

static int kept_fill(struct kept *k, const struct vgpu_work *w, const float *x)
{
	int rc = 0;

	for (uint32_t i = 0; i < k->count; i++) {
		k->value[i] = x[i];
		k->index[i] = (int32_t)i;
	}
	for (uint32_t i = k->count / 2; i-- > 0 && !rc; rc = steps_done(w, i))
		kept_sink(k, i);
	return rc;
}

static int kept_offer(struct kept *k, const struct vgpu_work *w, const float *x, uint32_t n)
{
	int rc = 0;

	for (uint32_t i = k->count; i < n && !rc; rc = steps_done(w, ++i)) {
		if (!is_before(x[i], (int32_t)i, k->value[0], k->index[0]))
			continue;
		k->value[0] = x[i];
		k->index[0] = (int32_t)i;
		kept_sink(k, 0);
	}
	return rc;
}

static int kept_sort(struct kept *k, const struct vgpu_work *w)
{
	int rc = 0;

	while (k->count > 1 && !rc) {
		kept_swap(k, 0, --k->count);
		kept_sink(k, 0);
		rc = steps_done(w, k->count);
	}
	return rc;
}

int vgpu_cpu_topk(const struct vgpu_work *w, const float *x, uint32_t n, uint32_t top,
		  float *value, int32_t *index)
{
	struct kept k = { value, index, top };
	int rc = kept_fill(&k, w, x);

	if (!rc)
		rc = kept_offer(&k, w, x, n);
	return rc ? rc : kept_sort(&k, w);
}

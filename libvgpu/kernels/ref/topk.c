// SPDX-License-Identifier: MIT
#include "kernels/ref/layer.h"

#include <math.h>

/* A total order: NaN below -INFINITY. Equal values are told apart by the caller. */
static bool above(float a, float b)
{
	if (isnan(b))
		return !isnan(a);
	return a > b;
}

void vgpu_topk_insert(float *value, int32_t *index, uint32_t *count, uint32_t top,
		      float v, int32_t i)
{
	uint32_t at;

	if (*count == top && !above(v, value[top - 1]))
		return;
	if (*count < top)
		(*count)++;
	/* Strictly above only: the earlier of two equal values stays in front. */
	for (at = *count - 1; at > 0 && above(v, value[at - 1]); at--) {
		value[at] = value[at - 1];
		index[at] = index[at - 1];
	}
	value[at] = v;
	index[at] = i;
}

void vgpu_topk_f32_ref(const float *x, uint32_t n, uint32_t top, float *out_value,
		       int32_t *out_index)
{
	uint32_t count = 0;

	for (uint32_t i = 0; top && i < n; i++)
		vgpu_topk_insert(out_value, out_index, &count, top, x[i], (int32_t)i);
}

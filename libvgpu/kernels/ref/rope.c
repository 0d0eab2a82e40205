// SPDX-License-Identifier: MIT
#include "kernels/ref/layer.h"

#include <math.h>

static void rotate(float *a, float *b, double c, double s)
{
	double x = *a, y = *b;

	*a = (float)(x * c - y * s);
	*b = (float)(x * s + y * c);
}

void vgpu_rope_f32_ref(enum vgpu_rope kind, float *x, uint32_t heads, uint32_t dim,
		       uint32_t rot, float pos, float base, float freq_scale)
{
	uint32_t half = rot / 2;

	for (uint32_t i = 0; i < half; i++) {
		double theta = (double)pos * freq_scale * pow(base, -2.0 * i / rot);
		uint32_t first = kind == VGPU_ROPE_NEOX ? i : 2 * i;
		uint32_t second = kind == VGPU_ROPE_NEOX ? i + half : 2 * i + 1;
		double c = cos(theta), s = sin(theta);

		for (uint32_t h = 0; h < heads; h++) {
			float *row = x + (size_t)h * dim;

			rotate(row + first, row + second, c, s);
		}
	}
}

// SPDX-License-Identifier: MIT
#include <math.h>

#include "kernels/ref/layer.h"

float vgpu_gate_value(const struct vgpu_gate *g, double uu, double dd, double ud)
{
	double cosine;
	float x;

	if (!isfinite(uu) || !isfinite(dd))
		return NAN;
	cosine = uu > 0 && dd > 0 ? ud / (sqrt(uu) * sqrt(dd)) : 0;
	/* Rounding alone takes it beyond. */
	cosine = cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
	x = (float)(g->add + g->mul * cosine);
	vgpu_unary_f32_ref(g->op, &x, &x, 1);
	return x;
}

void vgpu_gate_f32_ref(float *y, const float *u, uint32_t n, const struct vgpu_gate *g)
{
	double uu = 0, dd = 0, ud = 0, value;

	for (uint32_t i = 0; i < n; i++) {
		uu += (double)u[i] * u[i];
		dd += (double)y[i] * y[i];
		ud += (double)u[i] * y[i];
	}
	value = vgpu_gate_value(g, uu, dd, ud);
	for (uint32_t i = 0; i < n; i++)
		y[i] = (float)(u[i] + value * y[i]);
}

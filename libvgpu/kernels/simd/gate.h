/* SPDX-License-Identifier: MIT */
/*
 * A gated sum of two rows on vectors; the contract is that of ref/layer.h. Include the level's
 * vec.h first.
 *
 * Sums of GATE_COLS columns are in f32, in two vectors each, and those of a row in double; where a
 * square may have left the range of f32 the row goes to the reference.
 */
#ifndef VGPU_KERNELS_SIMD_GATE_H
#define VGPU_KERNELS_SIMD_GATE_H

#include "kernels/ref/layer.h"

/* Thousands of additions to one f32 round as often. */
#define GATE_COLS	2048u

struct gate_sums {
	vf uu[2], dd[2], ud[2];
};

struct gate_totals {
	double uu, dd, ud;
};

VEC_INLINE void gate_add(struct gate_sums *s, int lane, vf u, vf d)
{
	s->uu[lane] = vf_fma(u, u, s->uu[lane]);
	s->dd[lane] = vf_fma(d, d, s->dd[lane]);
	s->ud[lane] = vf_fma(u, d, s->ud[lane]);
}

VEC_INLINE struct gate_sums gate_sums_of(const float *u, const float *d, uint32_t n)
{
	struct gate_sums s;
	uint32_t i = 0;

	for (int lane = 0; lane < 2; lane++)
		s.uu[lane] = s.dd[lane] = s.ud[lane] = vf_zero();
	for (; i + 2 * VL <= n; i += 2 * VL) {
		gate_add(&s, 0, vf_load(u + i), vf_load(d + i));
		gate_add(&s, 1, vf_load(u + i + VL), vf_load(d + i + VL));
	}
	for (; i < n; i += VL)
		gate_add(&s, 0, vf_load_n(u + i, n - i), vf_load_n(d + i, n - i));
	return s;
}

VEC_INLINE float gate_total(const vf v[2])
{
	return vf_hsum(vf_add(v[0], v[1]));
}

VEC_INLINE struct gate_totals gate_totals_of(const float *u, const float *d, uint32_t n)
{
	struct gate_totals t = { 0 };

	for (uint32_t i = 0, cols; i < n; i += cols) {
		struct gate_sums s;

		cols = n - i < GATE_COLS ? n - i : GATE_COLS;
		s = gate_sums_of(u + i, d + i, cols);
		t.uu += gate_total(s.uu);
		t.dd += gate_total(s.dd);
		t.ud += gate_total(s.ud);
	}
	return t;
}

/* Squares of what counts in it are normal numbers, and none is infinite. */
VEC_INLINE bool gate_is_sharp(double squares)
{
	return squares > 0x1p-80 && squares < 0x1p120;
}

static void gate(float *y, const float *u, uint32_t n, const struct vgpu_gate *g)
{
	struct gate_totals s = gate_totals_of(u, y, n);
	vf value;

	if (!gate_is_sharp(s.uu) || !gate_is_sharp(s.dd)) {
		vgpu_gate_f32_ref(y, u, n, g);
		return;
	}
	value = vf_set(vgpu_gate_value(g, s.uu, s.dd, s.ud));
	for (uint32_t i = 0; i < n; i += VL)
		vf_store_n(y + i, vf_fma(value, vf_load_n(y + i, n - i), vf_load_n(u + i, n - i)),
			   n - i);
}

#endif

// SPDX-License-Identifier: MIT
/*
 * Products in plain C: weights expanded to f32 a row at a time, sums in double.
 *
 * The other levels reorder and add in f32; each element of theirs stays within
 * 2^-18 * sum |a_i w_i| of this one (tests/kernels/matmul_test.c).
 */
#include <math.h>
#include "kernels/kernels.h"
#include "kernels/pack/act16.h"
#include "kernels/pack/act8.h"
#include "kernels/pack/half.h"
#include "kernels/ref/rows.h"
#include "kernels/ref/transposed.h"

/* Activations are row-major here: f32, bf16 or s8 [m][kpad], scales [m][kpad / 32]. */

static void row_copy(float *dst, const float *x, uint32_t k, uint32_t kpad)
{
	for (uint32_t i = 0; i < kpad; i++)
		dst[i] = i < k ? x[i] : 0.0f;
}

/* Bits of the largest magnitude. */
static uint32_t group_max(const float *x, uint32_t n)
{
	uint32_t max = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t magnitude = vgpu_f32_bits(x[i]) & 0x7fffffffu;

		max = magnitude > max ? magnitude : max;
	}
	return max;
}

/* One group: n <= 32 values, the rest is zero. */
static float group_round_bf16(uint16_t *dst, const float *x, uint32_t n)
{
	struct vgpu_a16_scale s = vgpu_a16_scale(group_max(x, n));

	for (uint32_t i = 0; i < VGPU_BLOCK; i++)
		dst[i] = i < n ? vgpu_f32_to_bf16(x[i] * s.inverse) : 0;
	return s.scale;
}

static void row_round_bf16(uint16_t *dst, float *scale, const float *x, uint32_t k)
{
	for (uint32_t i = 0; i < k; i += VGPU_BLOCK) {
		uint32_t n = k - i < VGPU_BLOCK ? k - i : VGPU_BLOCK;

		scale[i / VGPU_BLOCK] = group_round_bf16(dst + i, x + i, n);
	}
}

/* One group: n values, zeros behind them up to whole blocks. */
static void group_round_s8(int8_t *dst, float *scale, const float *x, uint32_t n)
{
	struct vgpu_a8_scale s = vgpu_a8_scale(group_max(x, n));

	for (uint32_t i = 0; i < (n + VGPU_BLOCK - 1) / VGPU_BLOCK * VGPU_BLOCK; i++)
		dst[i] = i < n && s.inverse > 0.0f ? (int8_t)rintf(x[i] * s.inverse) : 0;
	for (uint32_t i = 0; i < n; i += VGPU_BLOCK)
		scale[i / VGPU_BLOCK] = s.scale;
}

static void row_round_s8(int8_t *dst, float *scale, const float *x, uint32_t k, uint32_t group)
{
	for (uint32_t i = 0; i < k; i += group)
		group_round_s8(dst + i, scale + i / VGPU_BLOCK, x + i, k - i < group ? k - i : group);
}

static void acts_pack_ref(struct vgpu_acts *acts, const float *x, size_t ldx, uint32_t first,
			  uint32_t end)
{
	for (uint32_t i = first; i < end; i++) {
		size_t at = (size_t)i * acts->kpad;

		switch (acts->mode) {
		case VGPU_MODE_F32:
			row_copy((float *)acts->data + at, x + i * ldx, acts->k, acts->kpad);
			break;
		case VGPU_MODE_A16:
			row_round_bf16((uint16_t *)acts->data + at, acts->scale + at / VGPU_BLOCK,
				       x + i * ldx, acts->k);
			break;
		case VGPU_MODE_A8:
		case VGPU_MODE_A8_256:
			row_round_s8((int8_t *)acts->data + at, acts->scale + at / VGPU_BLOCK,
				     x + i * ldx, acts->k, vgpu_a8_group(acts->mode));
			break;
		}
	}
}

static double dot_f32(const float *w, const float *x, uint32_t k)
{
	double sum = 0;

	for (uint32_t i = 0; i < k; i++)
		sum += (double)w[i] * x[i];
	return sum;
}

static double dot_a16(const float *w, const uint16_t *x, const float *scale, uint32_t k)
{
	double sum = 0;

	for (uint32_t i = 0; i < k; i++)
		sum += (double)w[i] * vgpu_bf16_to_f32(x[i]) * scale[i / VGPU_BLOCK];
	return sum;
}

static double dot_a8(const float *w, const int8_t *x, const float *scale, uint32_t k)
{
	double sum = 0;

	for (uint32_t i = 0; i < k; i++)
		sum += (double)w[i] * x[i] * scale[i / VGPU_BLOCK];
	return sum;
}

static double dot(const float *w, const struct vgpu_acts *x, uint32_t row)
{
	size_t at = (size_t)row * x->kpad;

	switch (x->mode) {
	case VGPU_MODE_F32:
		return dot_f32(w, (const float *)x->data + at, x->k);
	case VGPU_MODE_A16:
		return dot_a16(w, (const uint16_t *)x->data + at, x->scale + at / VGPU_BLOCK, x->k);
	case VGPU_MODE_A8:
	case VGPU_MODE_A8_256:
		return dot_a8(w, (const int8_t *)x->data + at, x->scale + at / VGPU_BLOCK, x->k);
	}
	return NAN;
}

static void matmul_ref(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y,
		       size_t ldy, void *scratch)
{
	bool legal = vgpu_matmul_mode(w->format, x->mode) == x->mode;
	float *row = scratch;

	for (uint32_t r = 0; r < w->rows; r++) {
		vgpu_row_decode_ref(w, r, row);
		for (uint32_t i = 0; i < x->m; i++)
			y[i * ldy + r] = legal ? (float)dot(row, x, i) : NAN;
	}
}

void vgpu_matmul_init_ref(struct vgpu_kernels *t)
{
	t->acts_pack = acts_pack_ref;
	t->matmul = matmul_ref;
	t->matmul_transposed = vgpu_matmul_transposed_ref;
}

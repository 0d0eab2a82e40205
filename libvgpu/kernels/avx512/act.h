/* SPDX-License-Identifier: MIT */
/*
 * The order in which the AVX-512 level keeps packed activations.
 *
 * Columns are cut into chunks of as many as a slab has; a chunk holds all rows before the
 * next begins, so that what a product takes at a time lies together.  Rows are cut into
 * tiles (the last may hold fewer, mt); inside a tile a step of a few columns holds all mt
 * rows before the next step begins, so that a product broadcasts 32-bit words from one
 * ascending stream:
 *
 *	F32	f32  [k][mt]
 *	A16	bf16 [k / 2][mt][2]; of 4 columns the first step has 0 and 2, the
 *		second 1 and 3: what a shift leaves side by side in MXFP4_G16;
 *		scale, sum [k / 32][mt]
 *	A8	s8   [k / 4][mt][4]; scale, sum, offset, start [k / 32][mt],
 *		half [k / 32][2][mt]
 *	A8_256	the same; run [k / 32][mt], of which the first of eight is used
 *
 * A8 products run on unsigned codes c = w + 128, and w's sum is the difference
 * sum(c a) - 128 sum(a).  start is the bits of 1.5 * 2^23 less 128 sum(a): added to
 * as an integer and read as f32, it holds 1.5 * 2^23 + sum(w a), exact below 2^22.  half
 * is the same of the first and of the last 16 columns, run that of 256.
 * One FMA, times scale plus offset = -1.5 * 2^23 * scale, is then the conversion to
 * f32 and the scaling at once, rounded once; scale has 16 bits, so offset is exact.
 */
#ifndef VGPU_AVX512_ACT_H
#define VGPU_AVX512_ACT_H

#include "kernels/avx512/slab.h"
#include "kernels/kernels.h"

/* Rows of activations that a product keeps in registers, and those of F32. */
#define VGPU_MT			8u
#define VGPU_MT_F32		12u

#define VGPU_A8_MAGIC		12582912.0f	/* 1.5 * 2^23 */
#define VGPU_A8_MAGIC_BITS	0x4b400000

/* Rows of a whole tile. */
static inline uint32_t vgpu_acts_tile_most(enum vgpu_mode mode)
{
	return mode == VGPU_MODE_F32 ? VGPU_MT_F32 : VGPU_MT;
}

/* Rows of the tile from row on. */
static inline uint32_t vgpu_acts_tile_rows(const struct vgpu_acts *x, uint32_t row)
{
	uint32_t most = vgpu_acts_tile_most(x->mode);

	return x->m - row < most ? x->m - row : most;
}

/* The element at which column first of the tile from row on begins; of groups, 1 / 32 of it. */
static inline size_t vgpu_acts_at(const struct vgpu_acts *x, uint32_t row, uint32_t first)
{
	uint32_t cols = vgpu_slab_cols(x->mode), chunk = first - first % cols;
	uint32_t width = x->kpad - chunk < cols ? x->kpad - chunk : cols;
	uint32_t mt = vgpu_acts_tile_rows(x, row);

	return (size_t)chunk * x->m + (size_t)row * width + (size_t)(first - chunk) * mt;
}

/* Columns first .. first + 15 of a row of k; zeros behind the end. */
static inline __m512 vgpu_load16(const float *x, uint32_t first, uint32_t k)
{
	uint32_t n = k > first ? k - first : 0;

	return _mm512_maskz_loadu_ps(n >= 16 ? 0xffff : (1u << n) - 1, x + first);
}

/* Word j goes to dst[j * mt]. */
static inline void vgpu_scatter16(uint32_t *dst, __m512i words, uint32_t count, uint32_t mt)
{
	uint32_t word[16];

	_mm512_storeu_si512(word, words);
	for (uint32_t j = 0; j < count; j++)
		dst[(size_t)j * mt] = word[j];
}

void vgpu_acts_pack_avx512(struct vgpu_acts *acts, const float *x, size_t ldx,
			   uint32_t first, uint32_t end);

#endif

// SPDX-License-Identifier: MIT
/*
 * Rounds activations to a mode and lays them out as act.h says.
 */
#include <immintrin.h>
#include <string.h>
#include "kernels/avx512/act.h"
#include "kernels/avx512/act8.h"
#include "kernels/avx512/group8.h"
#include "kernels/pack/act16.h"

/* Row i of a tile of mt rows, which begins at row tile. */
static void row_f32(const struct vgpu_acts *acts, uint32_t tile, uint32_t i, uint32_t mt,
		    const float *x)
{
	for (uint32_t c = 0; c < acts->kpad; c += 16)
		vgpu_scatter16((uint32_t *)acts->data + vgpu_acts_at(acts, tile, c) + i,
			  _mm512_castps_si512(vgpu_load16(x, c, acts->k)), 16, mt);
}

/* Lane l of q[c]: columns 4 l + c of four rows. */
static inline void four_rows(__m512d q[4], const float *x, size_t ldx, uint32_t c, uint32_t k)
{
	__m512 r0 = vgpu_load16(x, c, k), r1 = vgpu_load16(x + ldx, c, k);
	__m512 r2 = vgpu_load16(x + 2 * ldx, c, k), r3 = vgpu_load16(x + 3 * ldx, c, k);
	__m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r0, r1));
	__m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(r0, r1));
	__m512d d = _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3));
	__m512d e = _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3));

	q[0] = _mm512_unpacklo_pd(a, d);
	q[1] = _mm512_unpackhi_pd(a, d);
	q[2] = _mm512_unpacklo_pd(b, e);
	q[3] = _mm512_unpackhi_pd(b, e);
}

/* The lanes of q[c], which are four rows of column 4 l + c, to their place in a tile. */
static inline void four_store(float *dst, const __m512d q[4])
{
	for (uint32_t c = 0; c < 4; c++, dst += VGPU_MT_F32) {
		__m512 v = _mm512_castpd_ps(q[c]);

		_mm_storeu_ps(dst, _mm512_castps512_ps128(v));
		_mm_storeu_ps(dst + 4 * VGPU_MT_F32, _mm512_extractf32x4_ps(v, 1));
		_mm_storeu_ps(dst + 8 * VGPU_MT_F32, _mm512_extractf32x4_ps(v, 2));
		_mm_storeu_ps(dst + 12 * VGPU_MT_F32, _mm512_extractf32x4_ps(v, 3));
	}
}

/* A whole tile, from row on. */
static void rows_f32(const struct vgpu_acts *acts, uint32_t row, const float *x, size_t ldx)
{
	for (uint32_t c = 0; c < acts->kpad; c += 16) {
		float *dst = (float *)acts->data + vgpu_acts_at(acts, row, c);
		__m512d q[4];

		for (uint32_t i = 0; i < VGPU_MT_F32; i += 4) {
			four_rows(q, x + i * ldx, ldx, c, acts->k);
			four_store(dst + i, q);
		}
	}
}

/* The 32 values added up. */
static inline float bf16_sum(__m512i half)
{
	__m512i high = _mm512_and_si512(half, _mm512_set1_epi32((int)0xffff0000));

	return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_castsi512_ps(_mm512_slli_epi32(half, 16)),
						  _mm512_castsi512_ps(high)));
}

/* One group of 32 columns; returns its scale. */
static float group_a16(uint32_t *dst, float *sum, __m512 lo, __m512 hi, uint32_t mt)
{
	const __m512i order = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
	struct vgpu_a16_scale s = vgpu_a16_scale(vgpu_group_max(lo, hi));
	__m512 inverse = _mm512_set1_ps(s.inverse);
	__m512i half = (__m512i)_mm512_cvtne2ps_pbh(_mm512_mul_ps(hi, inverse),
						    _mm512_mul_ps(lo, inverse));

	vgpu_scatter16(dst, _mm512_shuffle_epi8(half, order), 16, mt);
	*sum = bf16_sum(half) * s.scale;
	return s.scale;
}

static void row_a16(const struct vgpu_acts *acts, uint32_t tile, uint32_t i, uint32_t mt,
		    const float *x)
{
	for (uint32_t c = 0; c < acts->kpad; c += VGPU_BLOCK) {
		size_t at = vgpu_acts_at(acts, tile, c);

		acts->scale[at / VGPU_BLOCK + i] =
			group_a16((uint32_t *)acts->data + at / 2 + i,
				  acts->sum + at / VGPU_BLOCK + i, vgpu_load16(x, c, acts->k),
				  vgpu_load16(x, c + 16, acts->k), mt);
	}
}

/* Row i of the tile that begins at row tile; x: its first column. */
static void pack_row(const struct vgpu_acts *acts, uint32_t tile, uint32_t i, const float *x)
{
	uint32_t mt = vgpu_acts_tile_rows(acts, tile);

	switch (acts->mode) {
	case VGPU_MODE_F32:
		row_f32(acts, tile, i, mt, x);
		break;
	case VGPU_MODE_A16:
		row_a16(acts, tile, i, mt, x);
		break;
	case VGPU_MODE_A8:
	case VGPU_MODE_A8_256:
		vgpu_acts_row8_avx512(acts, tile, i, x);
		break;
	}
}

void vgpu_acts_pack_avx512(struct vgpu_acts *acts, const float *x, size_t ldx, uint32_t first,
			   uint32_t end)
{
	uint32_t most = vgpu_acts_tile_most(acts->mode);

	for (uint32_t tile = first; tile < end; tile += most) {
		uint32_t mt = vgpu_acts_tile_rows(acts, tile);
		const float *from = x + tile * ldx;

		if (acts->mode == VGPU_MODE_F32 && mt == VGPU_MT_F32)
			rows_f32(acts, tile, from, ldx);
		else if (vgpu_mode_is_a8(acts->mode) && mt == VGPU_MT)
			vgpu_acts_rows8_avx512(acts, tile, from, ldx);
		else
			for (uint32_t i = 0; i < mt; i++)
				pack_row(acts, tile, i, from + i * ldx);
	}
}

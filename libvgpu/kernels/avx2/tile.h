/* SPDX-License-Identifier: MIT */
/*
 * Products of one tile: up to VGPU_MT_AVX2 rows of activations by one slab of 16 rows,
 * two vectors.  The orders of addition are those of avx512/tile.h; mt is a constant at
 * every call.
 *
 * Included by one file for each way of adding four products of bytes, which defines
 *	VGPU_TILE_TARGET	function attributes
 *	VGPU_DOT4(sum, w, x)	sum + four products of u8 w and s8 x in every lane
 */
#include <immintrin.h>
#include <string.h>
#include "kernels/avx2/act.h"
#include "kernels/avx2/slab.h"
#include "kernels/avx2/tile_product.h"

#define VGPU_INLINE static inline __attribute__((always_inline)) VGPU_TILE_TARGET

VGPU_INLINE __m256 out_load(const struct vgpu_out_avx2 *o, uint32_t i, uint32_t v)
{
	return o->more ? _mm256_loadu_ps(o->y + i * o->ldy + 8 * v) : _mm256_setzero_ps();
}

VGPU_INLINE void out_store(const struct vgpu_out_avx2 *o, uint32_t i, uint32_t v, __m256 sum)
{
	_mm256_storeu_ps(o->y + i * o->ldy + 8 * v, sum);
}

/*
 * Steps of 4 columns that share a scale: |w| by x with w's sign.  |w| <= 128 and |x| <= 127,
 * so that a pair of products is at most 32512, and the 16-bit sums of vpmaddubsw never saturate.
 */
VGPU_INLINE void steps_a8(__m256 sum[][2], const uint8_t *lines, const float *wscale,
			  const int8_t *a, const float *scale, uint32_t steps, uint32_t mt)
{
	__m256i dot[VGPU_MT_AVX2][2];

#pragma GCC unroll 4
	for (uint32_t i = 0; i < mt; i++)
		dot[i][0] = dot[i][1] = _mm256_setzero_si256();
#pragma GCC unroll 8
	for (uint32_t s = 0; s < steps; s++) {
		__m256i w0 = _mm256_load_si256((const __m256i *)(lines + s * 64));
		__m256i w1 = _mm256_load_si256((const __m256i *)(lines + s * 64 + 32));
		__m256i abs0 = _mm256_abs_epi8(w0), abs1 = _mm256_abs_epi8(w1);

#pragma GCC unroll 4
		for (uint32_t i = 0; i < mt; i++) {
			__m256i x;
			int32_t word;

			memcpy(&word, a + (s * mt + i) * 4, sizeof(word));
			x = _mm256_set1_epi32(word);
			dot[i][0] = VGPU_DOT4(dot[i][0], abs0, _mm256_sign_epi8(x, w0));
			dot[i][1] = VGPU_DOT4(dot[i][1], abs1, _mm256_sign_epi8(x, w1));
		}
	}
#pragma GCC unroll 4
	for (uint32_t i = 0; i < mt; i++) {
		__m256 s = _mm256_set1_ps(scale[i]);

		for (int v = 0; v < 2; v++)
			sum[i][v] = _mm256_fmadd_ps(
				_mm256_mul_ps(_mm256_cvtepi32_ps(dot[i][v]), s),
				_mm256_load_ps(wscale + 8 * v), sum[i][v]);
	}
}

/* One block, of 8 steps: with one scale, and a minimum, or with two scales. */
VGPU_INLINE void block_a8(__m256 sum[][2], const uint8_t *lines, const float *wscale,
			  const int8_t *a, const float *scale, const float *group_sum,
			  uint32_t mt, enum vgpu_g16_kind kind)
{
	if (kind == VGPU_KIND_HALVES) {
		steps_a8(sum, lines, wscale, a, scale, 4, mt);
		steps_a8(sum, lines + 256, wscale + 16, a + 16 * mt, scale, 4, mt);
		return;
	}
	steps_a8(sum, lines, wscale, a, scale, 8, mt);
#pragma GCC unroll 4
	for (uint32_t i = 0; i < mt && kind == VGPU_KIND_MINIMUM; i++)
		for (int v = 0; v < 2; v++)
			sum[i][v] = _mm256_fmadd_ps(_mm256_set1_ps(group_sum[i]),
						    _mm256_load_ps(wscale + 16 + 8 * v), sum[i][v]);
}

VGPU_INLINE void tile_a8(const struct vgpu_out_avx2 *o, const struct vgpu_slab_avx2 *w,
			 const struct vgpu_acts *x, size_t at, uint32_t blocks, uint32_t mt,
			 enum vgpu_g16_kind kind)
{
	const float *scale = x->scale + at / VGPU_BLOCK, *group_sum = x->sum + at / VGPU_BLOCK;
	const int8_t *a = (const int8_t *)x->data + at;
	__m256 sum[VGPU_MT_AVX2][2];

#pragma GCC unroll 4
	for (uint32_t i = 0; i < mt; i++)
		for (uint32_t v = 0; v < 2; v++)
			sum[i][v] = out_load(o, i, v);
	for (uint32_t b = 0; b < blocks; b++)
		block_a8(sum, w->lines + b * 512, w->scale + b * vgpu_slab_scales(kind),
			 a + (size_t)b * 32 * mt, scale + b * mt, group_sum + b * mt, mt, kind);
#pragma GCC unroll 4
	for (uint32_t i = 0; i < mt; i++)
		for (uint32_t v = 0; v < 2; v++)
			out_store(o, i, v, sum[i][v]);
}

VGPU_INLINE void tile_f32(const struct vgpu_out_avx2 *o, const struct vgpu_slab_avx2 *w,
			  const float *a, uint32_t blocks, uint32_t mt)
{
	const float *lines = (const float *)w->lines;
	__m256 dot[VGPU_MT_AVX2][2];

#pragma GCC unroll 4
	for (uint32_t i = 0; i < mt; i++)
		dot[i][0] = dot[i][1] = _mm256_setzero_ps();
#pragma GCC unroll 4
	for (uint32_t c = 0; c < blocks * VGPU_BLOCK; c++) {
		__m256 w0 = _mm256_load_ps(lines + c * 16), w1 = _mm256_load_ps(lines + c * 16 + 8);

#pragma GCC unroll 4
		for (uint32_t i = 0; i < mt; i++) {
			__m256 x = _mm256_set1_ps(a[c * mt + i]);

			dot[i][0] = _mm256_fmadd_ps(w0, x, dot[i][0]);
			dot[i][1] = _mm256_fmadd_ps(w1, x, dot[i][1]);
		}
	}
#pragma GCC unroll 4
	for (uint32_t i = 0; i < mt; i++)
		for (uint32_t v = 0; v < 2; v++)
			out_store(o, i, v, _mm256_add_ps(out_load(o, i, v), dot[i][v]));
}

/* The tile of x that begins at row. */
VGPU_INLINE void tile_product(const struct vgpu_out_avx2 *o, const struct vgpu_slab_avx2 *w,
			      const struct vgpu_acts *x, uint32_t row, uint32_t first,
			      uint32_t blocks, uint32_t mt)
{
	size_t at = (size_t)row * x->kpad + (size_t)first * mt;

	if (vgpu_mode_is_a8(x->mode) && w->kind == VGPU_KIND_PLAIN)
		tile_a8(o, w, x, at, blocks, mt, VGPU_KIND_PLAIN);
	else if (vgpu_mode_is_a8(x->mode) && w->kind == VGPU_KIND_MINIMUM)
		tile_a8(o, w, x, at, blocks, mt, VGPU_KIND_MINIMUM);
	else if (vgpu_mode_is_a8(x->mode))
		tile_a8(o, w, x, at, blocks, mt, VGPU_KIND_HALVES);
	else
		tile_f32(o, w, (const float *)x->data + at, blocks, mt);
}

/* The same with a constant for as many rows as are left, VGPU_MT_AVX2 at most. */
VGPU_INLINE void tile_rows(const struct vgpu_out_avx2 *o, const struct vgpu_slab_avx2 *w,
			   const struct vgpu_acts *x, uint32_t row, uint32_t first,
			   uint32_t blocks)
{
	switch (x->m - row) {
	case 1:
		tile_product(o, w, x, row, first, blocks, 1);
		break;
	case 2:
		tile_product(o, w, x, row, first, blocks, 2);
		break;
	case 3:
		tile_product(o, w, x, row, first, blocks, 3);
		break;
	default:
		tile_product(o, w, x, row, first, blocks, 4);
		break;
	}
}

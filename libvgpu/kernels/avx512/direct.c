// SPDX-License-Identifier: MIT
/*
 * MXFP4 by few rows of activations: bound by memory at one row, so the codes are
 * expanded in registers, once for all rows.
 */
#include <string.h>
#include "kernels/avx512/act.h"
#include "kernels/avx512/direct.h"

#define INLINE static inline __attribute__((always_inline))

/* The hardware prefetcher stops at 4 KiB; with small pages it needs a hint beyond. */
#define PREFETCH_BYTES	4096

INLINE __m512i broadcast_word(const void *p)
{
	int32_t word;

	memcpy(&word, p, sizeof(word));
	return _mm512_set1_epi32(word);
}

INLINE __m512 tile_scale(__m512i line, __m512i less_one, bool plain, uint32_t j)
{
	return plain ? vgpu_mxfp4_half_scale_plain(less_one, j) : vgpu_mxfp4_half_scale(line, j);
}

/* One block: 4 lines of codes by mt rows of s8. */
INLINE void block_a8(__m512 sum[], const uint8_t *codes, __m512 wscale, const int8_t *a,
		     const float *scale, const float *offset, const int32_t *start, uint32_t mt)
{
	const __m512i table = vgpu_mxfp4_table_u8();
	__m512i dot[VGPU_MT];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		dot[i] = _mm512_set1_epi32(start[i]);
#pragma GCC unroll 4
	for (uint32_t u = 0; u < 4; u++) {
		__m512i line = _mm512_load_si512(codes + u * 64);
		__m512i low = _mm512_permutexvar_epi8(line, table);
		__m512i high = _mm512_permutexvar_epi8(_mm512_srli_epi32(line, 4), table);

		_mm_prefetch((const char *)codes + u * 64 + PREFETCH_BYTES, _MM_HINT_T0);
#pragma GCC unroll 8
		for (uint32_t i = 0; i < mt; i++) {
			dot[i] = _mm512_dpbusd_epi32(dot[i], low,
						     broadcast_word(a + (2 * u * mt + i) * 4));
			dot[i] = _mm512_dpbusd_epi32(dot[i], high,
						     broadcast_word(a + ((2 * u + 1) * mt + i) * 4));
		}
	}
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++) {
		__m512 t = _mm512_fmadd_ps(_mm512_castsi512_ps(dot[i]), _mm512_set1_ps(scale[i]),
					   _mm512_set1_ps(offset[i]));

		sum[i] = _mm512_fmadd_ps(t, wscale, sum[i]);
	}
}

/* One block: 4 lines of codes by mt rows of pairs of bf16. */
INLINE void block_a16(__m512 sum[], const uint8_t *codes, __m512 wscale, const uint32_t *a,
		      uint32_t mt)
{
	static const int shift[4] = { 0, 8, 4, 12 };
	const __m512i table = vgpu_mxfp4_table_bf16();
	__m512 dot[VGPU_MT];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		dot[i] = _mm512_setzero_ps();
#pragma GCC unroll 4
	for (uint32_t u = 0; u < 4; u++) {
		__m512i line = _mm512_load_si512(codes + u * 64);

		_mm_prefetch((const char *)codes + u * 64 + PREFETCH_BYTES, _MM_HINT_T0);
#pragma GCC unroll 4
		for (uint32_t s = 0; s < 4; s++) {
			__m512i w = _mm512_permutexvar_epi16(
				_mm512_srl_epi16(line, _mm_cvtsi32_si128(shift[s])), table);

#pragma GCC unroll 8
			for (uint32_t i = 0; i < mt; i++)
				dot[i] = _mm512_dpbf16_ps(dot[i], (__m512bh)w,
					(__m512bh)broadcast_word(a + (4 * u + s) * mt + i));
		}
	}
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		sum[i] = _mm512_fmadd_ps(dot[i], wscale, sum[i]);
}

/* One tile of up to 4 blocks, of which block is the first. */
INLINE void tile_product(__m512 sum[], const uint8_t *tile, uint32_t blocks, uint32_t block,
			 const struct vgpu_acts *x, bool plain, bool a8, uint32_t mt)
{
	__m512i line = _mm512_load_si512(tile);
	__m512i less_one = _mm512_sub_epi8(line, _mm512_set1_epi8(1));

	for (uint32_t j = 0; j < blocks; j++) {
		const uint8_t *codes = tile + VGPU_MXFP4_TILE_SCALES + j * VGPU_MXFP4_BLOCK_CODES;
		__m512 wscale = tile_scale(line, less_one, plain, j);
		size_t at = (size_t)(block + j) * mt;

		if (a8)
			block_a8(sum, codes, wscale, (const int8_t *)x->data + at * VGPU_BLOCK,
				 x->scale + at, x->offset + at, x->start + at, mt);
		else
			block_a16(sum, codes, wscale,
				  (const uint32_t *)x->data + at * VGPU_BLOCK / 2, mt);
	}
}

INLINE void group_product(const struct vgpu_group *g, const struct vgpu_acts *x, float *y,
			  size_t ldy, bool a8, uint32_t mt)
{
	__mmask16 mask = (__mmask16)((1u << g->rows) - 1);
	uint32_t blocks = x->kpad / VGPU_BLOCK;
	const uint8_t *tile = g->data;
	__m512 sum[VGPU_MT];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		sum[i] = _mm512_setzero_ps();
	for (uint32_t b = 0; b < blocks; b += VGPU_G16_TILE_BLOCKS, tile += VGPU_MXFP4_TILE) {
		if (blocks - b >= VGPU_G16_TILE_BLOCKS &&
		    vgpu_mxfp4_scales_plain(_mm512_load_si512(tile)))
			tile_product(sum, tile, VGPU_G16_TILE_BLOCKS, b, x, true, a8, mt);
		else
			tile_product(sum, tile, blocks - b < 4 ? blocks - b : 4, b, x, false, a8,
				     mt);
	}
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		_mm512_mask_storeu_ps(y + i * ldy, mask, sum[i]);
}

#define CASE(n) \
	case n: \
		if (x->mode == VGPU_MODE_A8) \
			group_product(g, x, y, ldy, true, n); \
		else \
			group_product(g, x, y, ldy, false, n); \
		break

void vgpu_mxfp4_direct_avx512(const struct vgpu_group *g, const struct vgpu_acts *x, float *y,
			      size_t ldy)
{
	if (!g->rows)
		return;
	switch (x->m) {
	CASE(1);
	CASE(2);
	CASE(3);
	CASE(4);
	CASE(5);
	CASE(6);
	CASE(7);
	CASE(8);
	}
}

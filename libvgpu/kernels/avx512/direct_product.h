/* SPDX-License-Identifier: MIT */
/*
 * Codes of four bits by few rows of activations: bound by memory at one row, so the codes are
 * expanded in registers, once for all rows.  Kind and mt are constants at every call.
 */
#ifndef VGPU_AVX512_DIRECT_PRODUCT_H
#define VGPU_AVX512_DIRECT_PRODUCT_H

#include <string.h>

#include "kernels/avx512/act.h"
#include "kernels/avx512/direct.h"
#include "kernels/avx512/direct_scales.h"

/* The hardware prefetcher stops at 4 KiB; with small pages it needs a hint beyond. */
#define PREFETCH_BYTES	8192

DIRECT_INLINE __m512i broadcast_word(const void *p)
{
	int32_t word;

	memcpy(&word, p, sizeof(word));
	return _mm512_set1_epi32(word);
}

/* What a block has of its tile: codes and a part of the header. */
DIRECT_INLINE uint32_t share_bytes(enum direct_kind kind, const struct vgpu_g16_type *type)
{
	if (kind == DIRECT_MXFP4)
		return VGPU_MXFP4_BLOCK_CODES + 16;
	if (kind == DIRECT_K6)
		return VGPU_MXFP4_BLOCK_CODES + 32;
	return VGPU_MXFP4_BLOCK_CODES + type->header_bytes / type->tile_blocks;
}

/* Block b's share, further on: a line of a header that no hint names is waited for, too. */
DIRECT_INLINE void prefetch_block(const uint8_t *group, uint32_t share, uint32_t b)
{
	const char *ahead = (const char *)group + PREFETCH_BYTES + b * share;

	/* One pointer: else each line's has a register of its own. */
	__asm__("" : "+r"(ahead));
#pragma GCC unroll 5
	for (uint32_t i = 0; i < 5; i++)
		_mm_prefetch(ahead + i * 64, _MM_HINT_T0);
}

/* One block: 4 lines of codes by mt rows of s8; at: its first group of the activations. */
DIRECT_INLINE void block_a8(__m512 sum[], const uint8_t *codes, __m512 wscale, __m512 minimum,
			    const struct vgpu_acts *x, size_t at, uint32_t mt,
			    enum direct_kind kind)
{
	const int8_t *a = (const int8_t *)x->data + at * VGPU_BLOCK;
	const __m512i table = direct_table_u8(kind);
	__m512i dot[VGPU_MT];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		dot[i] = _mm512_set1_epi32(x->start[at + i]);
#pragma GCC unroll 4
	for (uint32_t u = 0; u < 4; u++) {
		__m512i line = _mm512_load_si512(codes + u * 64);
		__m512i low = _mm512_permutexvar_epi8(line, table);
		__m512i high = _mm512_permutexvar_epi8(_mm512_srli_epi32(line, 4), table);

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
		__m512 t = _mm512_fmadd_ps(_mm512_castsi512_ps(dot[i]),
					   _mm512_set1_ps(x->scale[at + i]),
					   _mm512_set1_ps(x->offset[at + i]));

		sum[i] = _mm512_fmadd_ps(t, wscale, sum[i]);
		if (kind == DIRECT_K6)
			sum[i] = _mm512_fnmadd_ps(_mm512_set1_ps(x->sum[at + i]), minimum, sum[i]);
	}
}

/* Where a block's codes are, its scale and its minimum. */
struct direct_block {
	const uint8_t *codes;
	__m512 scale, minimum;
};

/*
 * One block: 4 lines of codes by mt rows of pairs of bf16.  Its additions wait for each other;
 * the next blocks do not wait for them, and fill the time.
 */
DIRECT_INLINE void block_a16(__m512 sum[], const struct direct_block *w, const struct vgpu_acts *x,
			     size_t at, uint32_t mt, enum direct_kind kind)
{
	static const int shift[4] = { 0, 8, 4, 12 };
	const uint32_t *a = (const uint32_t *)x->data + at * VGPU_BLOCK / 2;
	const __m512i table = direct_table_bf16(kind);
	__m512 dot[VGPU_MT];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		dot[i] = _mm512_setzero_ps();
#pragma GCC unroll 16
	for (uint32_t s = 0; s < 16; s++) {
		__m512i line = _mm512_load_si512(w->codes + s / 4 * 64);
		__m512i number = _mm512_permutexvar_epi16(
			_mm512_srl_epi16(line, _mm_cvtsi32_si128(shift[s % 4])), table);

#pragma GCC unroll 8
		for (uint32_t i = 0; i < mt; i++)
			dot[i] = _mm512_dpbf16_ps(dot[i], (__m512bh)number,
						  (__m512bh)broadcast_word(a + s * mt + i));
	}
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++) {
		__m512 s = _mm512_set1_ps(x->scale[at + i]);

		sum[i] = _mm512_fmadd_ps(_mm512_mul_ps(dot[i], s), w->scale, sum[i]);
		if (kind == DIRECT_K6)
			sum[i] = _mm512_fnmadd_ps(_mm512_set1_ps(x->sum[at + i]), w->minimum, sum[i]);
	}
}

/* The first group of activations of block b, of the tile from row on. */
DIRECT_INLINE size_t groups_at(const struct vgpu_acts *x, uint32_t row, uint32_t b)
{
	return vgpu_acts_at(x, row, b * VGPU_BLOCK) / VGPU_BLOCK;
}

DIRECT_INLINE void product_a8(const struct vgpu_group *g, const struct vgpu_acts *x, uint32_t row,
			      float *y, size_t ldy, uint32_t mt, enum direct_kind kind)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(g->format);
	uint32_t blocks = x->kpad / VGPU_BLOCK;
	__m512 sum[VGPU_MT];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		sum[i] = _mm512_setzero_ps();
	for (uint32_t b = 0; b < blocks; b += 4) {
		struct direct_scales s = direct_load(kind, type, g->data, b);
		const uint8_t *codes = direct_codes(kind, type, g->data, b);
		uint32_t n = blocks - b < 4 ? blocks - b : 4;
		size_t at = groups_at(x, row, b);

		for (uint32_t j = 0; j < n; j++, codes += VGPU_MXFP4_BLOCK_CODES, at += mt) {
			prefetch_block(g->data, share_bytes(kind, type), b + j);
			block_a8(sum, codes, direct_scale(kind, &s, j), direct_minimum(kind, &s, j),
				 x, at, mt, kind);
		}
	}
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		_mm512_mask_storeu_ps(y + i * ldy, (__mmask16)((1u << g->rows) - 1), sum[i]);
}

/* Up to four blocks from b on, all of one tile. */
DIRECT_INLINE void four_a16(__m512 sum[], const struct vgpu_group *g, const struct vgpu_acts *x,
			    uint32_t row, uint32_t b, uint32_t mt, enum direct_kind kind)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(g->format);
	uint32_t left = x->kpad / VGPU_BLOCK - b, n = left < 4 ? left : 4;
	size_t at = groups_at(x, row, b);
	struct direct_scales s = direct_load(kind, type, g->data, b);
	struct direct_block w = { .codes = direct_codes(kind, type, g->data, b) };

	for (uint32_t j = 0; j < n; j++, w.codes += VGPU_MXFP4_BLOCK_CODES) {
		prefetch_block(g->data, share_bytes(kind, type), b + j);
		w.scale = direct_scale(kind, &s, j);
		w.minimum = direct_minimum(kind, &s, j);
		block_a16(sum, &w, x, at + j * mt, mt, kind);
	}
}

DIRECT_INLINE void product_a16(const struct vgpu_group *g, const struct vgpu_acts *x, uint32_t row,
			       float *y, size_t ldy, uint32_t mt, enum direct_kind kind)
{
	__m512 sum[VGPU_MT];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		sum[i] = _mm512_setzero_ps();
	for (uint32_t b = 0; b < x->kpad / VGPU_BLOCK; b += 4)
		four_a16(sum, g, x, row, b, mt, kind);
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		_mm512_mask_storeu_ps(y + i * ldy, (__mmask16)((1u << g->rows) - 1), sum[i]);
}

/*
 * One group after the other, as they lie: with two at a time memory is read in two places, and
 * of short rows much of what is asked for ahead is what the other one has had.
 */
DIRECT_INLINE void pair(const struct vgpu_group g[2], const struct vgpu_acts *x, uint32_t row,
			float *y, size_t ldy, uint32_t mt, enum direct_kind kind)
{
	for (uint32_t v = 0; v < 2 && g[v].rows; v++) {
		if (vgpu_mode_is_a8(x->mode))
			product_a8(&g[v], x, row, y + 16 * v, ldy, mt, kind);
		else
			product_a16(&g[v], x, row, y + 16 * v, ldy, mt, kind);
	}
}

/* The tile from row on, with constants for as many rows as it has. */
DIRECT_INLINE void direct_tile(const struct vgpu_group g[2], const struct vgpu_acts *x,
			       uint32_t row, float *y, size_t ldy, enum direct_kind kind)
{
	switch (vgpu_acts_tile_rows(x, row)) {
	case 1:
		pair(g, x, row, y, ldy, 1, kind);
		break;
	case 2:
		pair(g, x, row, y, ldy, 2, kind);
		break;
	case 3:
		pair(g, x, row, y, ldy, 3, kind);
		break;
	case 4:
		pair(g, x, row, y, ldy, 4, kind);
		break;
	case 5:
		pair(g, x, row, y, ldy, 5, kind);
		break;
	case 6:
		pair(g, x, row, y, ldy, 6, kind);
		break;
	case 7:
		pair(g, x, row, y, ldy, 7, kind);
		break;
	default:
		pair(g, x, row, y, ldy, 8, kind);
		break;
	}
}

/* Tile by tile: the codes come from the caches from the second one on. */
DIRECT_INLINE void direct_product(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
				  size_t ldy, enum direct_kind kind)
{
	for (uint32_t row = 0; row < x->m; row += VGPU_MT)
		direct_tile(g, x, row, y + row * ldy, ldy, kind);
}

#endif

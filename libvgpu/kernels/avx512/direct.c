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

/*
 * One block of nv groups: 4 lines of codes by mt rows of pairs of bf16.  A block's
 * additions wait for each other; with few rows a second group fills the time.
 */
INLINE void block_a16(__m512 sum[][2], const uint8_t *const codes[2], const __m512 wscale[2],
		      const uint32_t *a, const float *scale, uint32_t mt, uint32_t nv)
{
	static const int shift[4] = { 0, 8, 4, 12 };
	const __m512i table = vgpu_mxfp4_table_bf16();
	__m512 dot[VGPU_MT][2];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		dot[i][0] = dot[i][1] = _mm512_setzero_ps();
#pragma GCC unroll 16
	for (uint32_t s = 0; s < 16; s++) {
#pragma GCC unroll 2
		for (uint32_t v = 0; v < nv; v++) {
			__m512i line = _mm512_load_si512(codes[v] + s / 4 * 64);
			__m512i w = _mm512_permutexvar_epi16(
				_mm512_srl_epi16(line, _mm_cvtsi32_si128(shift[s % 4])), table);

			if (s % 4 == 0)
				_mm_prefetch((const char *)codes[v] + s * 16 + PREFETCH_BYTES,
					     _MM_HINT_T0);
#pragma GCC unroll 8
			for (uint32_t i = 0; i < mt; i++)
				dot[i][v] = _mm512_dpbf16_ps(dot[i][v], (__m512bh)w,
					(__m512bh)broadcast_word(a + s * mt + i));
		}
	}
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++) {
		__m512 s = _mm512_set1_ps(scale[i]);

		for (uint32_t v = 0; v < nv; v++)
			sum[i][v] = _mm512_fmadd_ps(_mm512_mul_ps(dot[i][v], s), wscale[v],
						    sum[i][v]);
	}
}

/* Scales of up to 4 blocks, taken from the line at the head of a tile. */
struct scales {
	__m512i line, less_one;
	bool plain;
};

INLINE struct scales scales_load(const uint8_t *tile)
{
	struct scales s;

	s.line = _mm512_load_si512(tile);
	s.less_one = _mm512_sub_epi8(s.line, _mm512_set1_epi8(1));
	s.plain = vgpu_mxfp4_scales_plain(s.line);
	return s;
}

INLINE __m512 scales_block(const struct scales *s, uint32_t j)
{
	return s->plain ? vgpu_mxfp4_half_scale_plain(s->less_one, j) :
			  vgpu_mxfp4_half_scale(s->line, j);
}

INLINE void product_a8(const struct vgpu_group *g, const struct vgpu_acts *x, float *y,
		       size_t ldy, uint32_t mt)
{
	uint32_t blocks = x->kpad / VGPU_BLOCK;
	__m512 sum[VGPU_MT];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		sum[i] = _mm512_setzero_ps();
	for (uint32_t b = 0; b < blocks; b += VGPU_G16_TILE_BLOCKS) {
		struct scales s = scales_load(g->data + vgpu_mxfp4_g16_scale(b));
		uint32_t end = blocks - b < VGPU_G16_TILE_BLOCKS ? blocks : b + VGPU_G16_TILE_BLOCKS;

		for (uint32_t j = b; j < end; j++) {
			size_t at = (size_t)j * mt;

			block_a8(sum, g->data + vgpu_mxfp4_g16_codes(j), scales_block(&s, j % 4),
				 (const int8_t *)x->data + at * VGPU_BLOCK, x->scale + at,
				 x->offset + at, x->start + at, mt);
		}
	}
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		_mm512_mask_storeu_ps(y + i * ldy, (__mmask16)((1u << g->rows) - 1), sum[i]);
}

/* Blocks first .. end - 1, all of one tile. */
INLINE void tile_a16(__m512 sum[][2], const struct vgpu_group *g, const struct vgpu_acts *x,
		     uint32_t first, uint32_t end, uint32_t mt, uint32_t nv)
{
	const uint8_t *codes[2];
	struct scales s[2];
	__m512 wscale[2];

	for (uint32_t v = 0; v < nv; v++)
		s[v] = scales_load(g[v].data + vgpu_mxfp4_g16_scale(first));
	for (uint32_t b = first; b < end; b++) {
		for (uint32_t v = 0; v < nv; v++) {
			wscale[v] = scales_block(&s[v], b % 4);
			codes[v] = g[v].data + vgpu_mxfp4_g16_codes(b);
		}
		block_a16(sum, codes, wscale,
			  (const uint32_t *)x->data + (size_t)b * mt * VGPU_BLOCK / 2,
			  x->scale + (size_t)b * mt, mt, nv);
	}
}

INLINE void product_a16(const struct vgpu_group *g, const struct vgpu_acts *x, float *y,
			size_t ldy, uint32_t mt, uint32_t nv)
{
	uint32_t blocks = x->kpad / VGPU_BLOCK;
	__m512 sum[VGPU_MT][2];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		sum[i][0] = sum[i][1] = _mm512_setzero_ps();
	for (uint32_t b = 0; b < blocks; b += VGPU_G16_TILE_BLOCKS)
		tile_a16(sum, g, x, b, blocks - b < VGPU_G16_TILE_BLOCKS ? blocks :
			 b + VGPU_G16_TILE_BLOCKS, mt, nv);
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		for (uint32_t v = 0; v < nv; v++)
			_mm512_mask_storeu_ps(y + i * ldy + 16 * v,
					      (__mmask16)((1u << g[v].rows) - 1), sum[i][v]);
}

#define PAIR(n) do {							\
	if (x->mode == VGPU_MODE_A8) {					\
		product_a8(&g[0], x, y, ldy, n);			\
		if (g[1].rows)						\
			product_a8(&g[1], x, y + 16, ldy, n);		\
	} else if (g[1].rows) {						\
		product_a16(g, x, y, ldy, n, 2);			\
	} else {							\
		product_a16(g, x, y, ldy, n, 1);			\
	}								\
} while (0)

void vgpu_mxfp4_direct_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			      size_t ldy)
{
	switch (x->m) {
	case 1:
		PAIR(1);
		break;
	case 2:
		PAIR(2);
		break;
	case 3:
		PAIR(3);
		break;
	case 4:
		PAIR(4);
		break;
	case 5:
		PAIR(5);
		break;
	case 6:
		PAIR(6);
		break;
	case 7:
		PAIR(7);
		break;
	case 8:
		PAIR(8);
		break;
	}
}

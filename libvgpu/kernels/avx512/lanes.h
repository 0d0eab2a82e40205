/* SPDX-License-Identifier: MIT */
/* 16 bytes or codes of each of 16 rows to lines, one row a lane: four vectors of four rows. */
#ifndef VGPU_AVX512_LANES_H
#define VGPU_AVX512_LANES_H

#include <immintrin.h>
#include <stdint.h>

/* Word u of row r of 16 becomes word r of line u of 4. */
static inline void vgpu_lanes_store16(uint8_t *dst, const __m512i x[4])
{
	const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28,
						1, 5, 9, 13, 17, 21, 25, 29);
	const __m512i last = _mm512_add_epi32(first, _mm512_set1_epi32(2));
	__m512i a = _mm512_permutex2var_epi32(x[0], first, x[1]);
	__m512i b = _mm512_permutex2var_epi32(x[2], first, x[3]);
	__m512i c = _mm512_permutex2var_epi32(x[0], last, x[1]);
	__m512i d = _mm512_permutex2var_epi32(x[2], last, x[3]);

	_mm512_store_si512(dst, _mm512_shuffle_i64x2(a, b, 0x44));
	_mm512_store_si512(dst + 64, _mm512_shuffle_i64x2(a, b, 0xee));
	_mm512_store_si512(dst + 128, _mm512_shuffle_i64x2(c, d, 0x44));
	_mm512_store_si512(dst + 192, _mm512_shuffle_i64x2(c, d, 0xee));
}

/* Codes 0 .. 15 and 16 .. 31 of 4 rows, a byte each, to MXFP4_G16's words. */
static inline __m512i vgpu_lanes_of_codes4(__m512i first16, __m512i last16)
{
	__m512 a = _mm512_castsi512_ps(first16), b = _mm512_castsi512_ps(last16);
	__m512i even = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88));
	__m512i odd = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd));

	return _mm512_or_si512(even, _mm512_slli_epi16(odd, 4));
}

/* The four words of every row or'ed: one line. */
static inline void vgpu_lanes_store_or(uint8_t *dst, const __m512i x[4])
{
	const __m512i turn = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	__m512i line = _mm512_setzero_si512();

	for (uint32_t i = 0; i < 4; i++) {
		__m512i w = _mm512_or_si512(x[i], _mm512_shuffle_epi32(x[i], 0x4e));

		w = _mm512_or_si512(w, _mm512_shuffle_epi32(w, 0xb1));
		line = _mm512_mask_mov_epi32(line, (__mmask16)(0x1111 << i), w);
	}
	_mm512_store_si512(dst, _mm512_permutexvar_epi32(turn, line));
}

#endif

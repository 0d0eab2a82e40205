/* SPDX-License-Identifier: MIT */
/* 16 bytes or codes of each of 16 rows to lines, one row a lane: four vectors of four rows. */
#ifndef VGPU_AVX512_LANES_H
#define VGPU_AVX512_LANES_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* 16 bytes of each of 4 rows. */
static inline __m512i vgpu_lanes_load4(const uint8_t *p, size_t row_bytes)
{
	__m512i x = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)p));

	x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)(p + row_bytes)), 1);
	x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)(p + 2 * row_bytes)), 2);
	return _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)(p + 3 * row_bytes)), 3);
}

/* Word u of row r of 16 becomes word r of line u of 4. */
static inline void vgpu_lanes_turn16(__m512i line[4], const __m512i x[4])
{
	const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28,
						1, 5, 9, 13, 17, 21, 25, 29);
	const __m512i last = _mm512_add_epi32(first, _mm512_set1_epi32(2));
	__m512i a = _mm512_permutex2var_epi32(x[0], first, x[1]);
	__m512i b = _mm512_permutex2var_epi32(x[2], first, x[3]);
	__m512i c = _mm512_permutex2var_epi32(x[0], last, x[1]);
	__m512i d = _mm512_permutex2var_epi32(x[2], last, x[3]);

	line[0] = _mm512_shuffle_i64x2(a, b, 0x44);
	line[1] = _mm512_shuffle_i64x2(a, b, 0xee);
	line[2] = _mm512_shuffle_i64x2(c, d, 0x44);
	line[3] = _mm512_shuffle_i64x2(c, d, 0xee);
}

static inline void vgpu_lanes_store16(uint8_t *dst, const __m512i x[4])
{
	__m512i line[4];

	vgpu_lanes_turn16(line, x);
	for (uint32_t u = 0; u < 4; u++)
		_mm512_store_si512(dst + 64 * u, line[u]);
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

/*
 * The next 16 rows lie behind these: ask for them evenly, @block_bytes of each row at a time.
 * Sixteen streams of a few KiB each are too short for the hardware to notice.
 */
static inline void vgpu_lanes_prefetch(const uint8_t *rows, size_t row_bytes, uint32_t block,
				       size_t block_bytes)
{
	const uint8_t *next = rows + 16 * (row_bytes + block * block_bytes);

	for (size_t i = 0; i < 16 * block_bytes; i += 64)
		_mm_prefetch((const char *)next + i, _MM_HINT_T1);
}

/*
 * A line that will be written @VGPU_CLAIM_BYTES from here: a store that misses the caches waits
 * until its line is there, with all those behind it.
 */
#define VGPU_CLAIM_BYTES	4096u
static inline void vgpu_lanes_claim(const uint8_t *line)
{
	__asm__ volatile("prefetchw %0" : : "m"(line[VGPU_CLAIM_BYTES]));
}

#endif

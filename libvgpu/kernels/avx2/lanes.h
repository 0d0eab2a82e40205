/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX2_LANES_H
#define VGPU_AVX2_LANES_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* Codes of 32 columns, a byte each, to lanes of 8 columns in MXFP4_G16's order. */
static inline __m128i vgpu_lanes_of_codes(__m128i first16, __m128i last16)
{
	__m128 a = _mm_castsi128_ps(first16), b = _mm_castsi128_ps(last16);
	__m128i even = _mm_castps_si128(_mm_shuffle_ps(a, b, 0x88));
	__m128i odd = _mm_castps_si128(_mm_shuffle_ps(a, b, 0xdd));

	return _mm_or_si128(even, _mm_slli_epi16(odd, 4));
}

/* One lane a line. */
static inline void vgpu_lanes_store(uint8_t *dst, __m128i lanes)
{
	for (uint32_t u = 0; u < 4; u++) {
		int32_t lane = _mm_cvtsi128_si32(lanes);

		memcpy(dst + u * 64, &lane, sizeof(lane));
		lanes = _mm_srli_si128(lanes, 4);
	}
}

/* One row's lanes of 4 lines that follow each other. */
static inline __m128i vgpu_lanes_gather(const uint8_t *lane)
{
	int32_t word[4];

	for (int u = 0; u < 4; u++)
		memcpy(&word[u], lane + u * 64, sizeof(word[u]));
	return _mm_setr_epi32(word[0], word[1], word[2], word[3]);
}

/*
 * A block of MXFP4 of which no code is 4 or 6 times the scale: it gets a smaller scale, and codes as
 * many times larger, as far as there are scales.  Codes lie in any order.  Return: the scale.
 */
static inline uint8_t vgpu_lanes_settle(uint8_t codes[16], uint8_t scale)
{
	/* 0, 0.5, 1, 1.5, 2, 3 and their negatives, doubled once, twice, three times. */
	static const uint8_t table[4][16] = {
		{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
		{ 0, 2, 4, 5, 6, 7, 7, 7, 8, 10, 12, 13, 14, 15, 15, 15 },
		{ 0, 4, 6, 7, 7, 7, 7, 7, 8, 12, 14, 15, 15, 15, 15, 15 },
		{ 0, 6, 7, 7, 7, 7, 7, 7, 8, 14, 15, 15, 15, 15, 15, 15 },
	};
	const __m128i nibble = _mm_set1_epi8(15);
	__m128i x = _mm_loadu_si128((const __m128i *)codes), turn, high;
	uint32_t steps = _mm_testz_si128(x, _mm_set1_epi8(0x66)) ? 3 :
			 _mm_testz_si128(x, _mm_set1_epi8(0x44)) ? 2 : 1;

	if (_mm_testz_si128(x, _mm_set1_epi8(0x77)))
		return 0;
	steps = steps < scale ? steps : scale;
	turn = _mm_loadu_si128((const __m128i *)table[steps]);
	high = _mm_shuffle_epi8(turn, _mm_and_si128(_mm_srli_epi16(x, 4), nibble));
	x = _mm_shuffle_epi8(turn, _mm_and_si128(x, nibble));
	_mm_storeu_si128((__m128i *)codes, _mm_or_si128(x, _mm_slli_epi16(high, 4)));
	return (uint8_t)(scale - steps);
}

#endif

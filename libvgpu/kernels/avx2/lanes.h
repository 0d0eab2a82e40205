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

#endif

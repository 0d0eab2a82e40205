/* SPDX-License-Identifier: MIT */
/*
 * 32 activations rounded to mode A8, whatever order they are kept in.
 */
#ifndef VGPU_AVX512_GROUP8_H
#define VGPU_AVX512_GROUP8_H

#include <immintrin.h>
#include "kernels/pack/act8.h"

/**
 * struct vgpu_group8 - the bytes, and what they are multiplied by
 * @q: 32 signed bytes
 * @scale: as vgpu_a8_scale() has it
 * @first, @last: sums of bytes 0 .. 15 and 16 .. 31
 */
struct vgpu_group8 {
	__m256i q;
	float scale;
	int32_t first, last;
};

/* Bits of the largest magnitude of a group. */
static inline uint32_t vgpu_group_max(__m512 lo, __m512 hi)
{
	const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);

	return _mm512_reduce_max_epu32(
		_mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(lo), magnitude),
				 _mm512_and_si512(_mm512_castps_si512(hi), magnitude)));
}

/* Of NaN and infinity, which convert to INT32_MIN, nothing is left in the bytes. */
static inline int32_t vgpu_byte_sum(__m128i q)
{
	__m128i four = _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), q);

	four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

/* Columns 0 .. 15 and 16 .. 31, rounded as s says. */
static inline struct vgpu_group8 vgpu_group8(__m512 lo, __m512 hi, struct vgpu_a8_scale s)
{
	__m512 inverse = _mm512_set1_ps(s.inverse);
	__m512i qlo = _mm512_cvtps_epi32(_mm512_mul_ps(lo, inverse));
	__m512i qhi = _mm512_cvtps_epi32(_mm512_mul_ps(hi, inverse));
	__m256i q = _mm256_set_m128i(_mm512_cvtepi32_epi8(qhi), _mm512_cvtepi32_epi8(qlo));

	return (struct vgpu_group8){
		.q = q,
		.scale = s.scale,
		.first = vgpu_byte_sum(_mm256_castsi256_si128(q)),
		.last = vgpu_byte_sum(_mm256_extracti128_si256(q, 1)),
	};
}

#endif

/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX2_SLAB_G16_H
#define VGPU_AVX2_SLAB_G16_H

#include <immintrin.h>

#include "kernels/avx2/slab.h"
#include "kernels/pack/g16_type.h"

/* Twice the values of 32 codes of E2M1 in the low nibbles. */
static inline __m256i vgpu_e2m1_twice_avx2(__m256i nibbles)
{
	const __m256i table = _mm256_broadcastsi128_si256(_mm_setr_epi8(
		0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));

	return _mm256_shuffle_epi8(table, _mm256_and_si256(nibbles, _mm256_set1_epi8(15)));
}

/* 8 rows of 4 columns of s8 to 4 lines of f32, times a scale and plus a minimum. */
static inline void vgpu_slab_widen_avx2(float *out, __m256i line, __m256 scale, __m256 add)
{
	for (int i = 0; i < 4; i++) {
		__m256i up = _mm256_sll_epi32(line, _mm_cvtsi32_si128(24 - 8 * i));
		__m256 w = _mm256_cvtepi32_ps(_mm256_srai_epi32(up, 24));

		_mm256_store_ps(out + i * 16, _mm256_add_ps(_mm256_mul_ps(w, scale), add));
	}
}

/* As vgpu_slab_fill_avx2(); first: a block. */
void vgpu_slab_fill_g16_avx2(struct vgpu_slab_avx2 *out, const struct vgpu_g16_type *type,
			     const uint8_t *group, bool a8, uint32_t first, uint32_t blocks);

#endif

// SPDX-License-Identifier: MIT
/*
 * One row of the packed formats of pack/g16_type.h to f32, a block of 32 values at a time.
 */
#include <immintrin.h>

#include "kernels/avx2/decode.h"
#include "kernels/avx2/lanes.h"
#include "kernels/pack/g16_scale.h"

/* Upper bits of four steps from their word: step i's at bit i * width, to bit 4 of each byte. */
static inline __m128i upper(const uint8_t *word, int first, int width)
{
	const __m128i shift = _mm_setr_epi32(first, first + width, first + 2 * width,
					     first + 3 * width);
	int32_t all;
	__m128i x;

	memcpy(&all, word, sizeof(all));
	x = _mm_srlv_epi32(_mm_set1_epi32(all), shift);
	return _mm_slli_epi16(_mm_and_si128(x, _mm_set1_epi8(width == 1 ? 1 : 3)), 4);
}

/* The codes of columns 0 .. 15 and 16 .. 31, a byte each. */
static inline void codes_of_lane(__m128i codes[2], const uint8_t *lane, uint32_t bits)
{
	const __m128i nibble = _mm_set1_epi8(15);
	const uint8_t *high = lane + VGPU_MXFP4_BLOCK_CODES;
	__m128i x = vgpu_lanes_gather(lane);
	__m128i even = _mm_and_si128(x, nibble), odd = _mm_and_si128(_mm_srli_epi16(x, 4), nibble);

	codes[0] = _mm_unpacklo_epi32(even, odd);
	codes[1] = _mm_unpackhi_epi32(even, odd);
	if (bits == 5) {
		codes[0] = _mm_or_si128(codes[0], upper(high, 0, 1));
		codes[1] = _mm_or_si128(codes[1], upper(high, 4, 1));
	} else if (bits == 6) {
		codes[0] = _mm_or_si128(codes[0], upper(high, 0, 2));
		codes[1] = _mm_or_si128(codes[1], upper(high + 64, 0, 2));
	}
}

/* 16 signed numbers; without a minimum nothing is added, which could lose the sign of a zero. */
static inline void store16(float *dst, __m128i numbers, struct vgpu_g16_scale s, bool minimum)
{
	for (uint32_t i = 0; i < 16; i += 8, numbers = _mm_srli_si128(numbers, 8)) {
		__m256 x = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(numbers));

		x = _mm256_mul_ps(x, _mm256_set1_ps(s.scale));
		if (minimum)
			x = _mm256_add_ps(x, _mm256_set1_ps(s.minimum));
		_mm256_storeu_ps(dst + i, x);
	}
}

void vgpu_g16_row_avx2(const struct vgpu_g16_type *type, const uint8_t *group, uint32_t row,
		       float *dst, uint32_t k)
{
	const __m128i e2m1 = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
	bool minimum = type->kind == VGPU_KIND_MINIMUM;

	for (uint32_t b = 0; b < k / VGPU_BLOCK; b++) {
		const uint8_t *tile = group + vgpu_g16_tile_at(type, b);
		uint32_t first = b % type->tile_blocks * VGPU_BLOCK;
		__m128i zero = _mm_set1_epi8((char)vgpu_g16_zero_at(type, tile, row, first));
		__m128i codes[2];

		codes_of_lane(codes, group + vgpu_g16_block_at(type, b) + 4 * row, type->bits);
		for (uint32_t half = 0; half < 2; half++) {
			__m128i x = type->e2m1 ? _mm_shuffle_epi8(e2m1, codes[half]) :
						 _mm_sub_epi8(codes[half], zero);

			store16(dst + b * VGPU_BLOCK + half * 16, x,
				vgpu_g16_scale_at(type, tile, row, first + half * 16), minimum);
		}
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * A block of the formats of pack/g16_type.h, 8 of its 16 rows: codes and scales in registers.
 */
#ifndef VGPU_AVX2_G16_H
#define VGPU_AVX2_G16_H

#include <immintrin.h>

#include "kernels/pack/g16_type.h"

/* The upper bits of step t's codes, at bits 4 and 5; lane: the block from the first row on. */
static inline __m256i vgpu_g16_upper_avx2(const uint8_t *lane, uint32_t bits, uint32_t t)
{
	const uint8_t *high = lane + VGPU_MXFP4_BLOCK_CODES + (bits == 6 ? t / 4 * 64 : 0);
	int shift = bits == 6 ? 2 * (int)(t % 4) - 4 : (int)t - 4;
	__m256i x = _mm256_load_si256((const __m256i *)high);

	x = shift < 0 ? _mm256_sll_epi16(x, _mm_cvtsi32_si128(-shift)) :
			_mm256_srl_epi16(x, _mm_cvtsi32_si128(shift));
	return _mm256_and_si256(x, _mm256_set1_epi8(bits == 6 ? 0x30 : 0x10));
}

/* The codes of step t: byte 4 r + i is row r, column 4 t + i. */
static inline __m256i vgpu_g16_codes_avx2(const uint8_t *lane, uint32_t bits, uint32_t t)
{
	__m256i x = _mm256_load_si256((const __m256i *)(lane + t / 2 * 64));

	if (t % 2)
		x = _mm256_srli_epi16(x, 4);
	x = _mm256_and_si256(x, _mm256_set1_epi8(15));
	return bits == 4 ? x : _mm256_or_si256(x, vgpu_g16_upper_avx2(lane, bits, t));
}

/* Scales of block b, a number of the whole row, for the rows from row on. */
static inline __m256 vgpu_g16_scale_avx2(const struct vgpu_g16_type *type, const uint8_t *group,
					 uint32_t b, uint32_t row)
{
	const uint8_t *tile = group + vgpu_g16_tile_at(type, b);
	uint32_t j = b % type->tile_blocks * 4 / type->tile_blocks;

	return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)(tile + 32 * j + 2 * row)));
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A block of the formats of pack/g16_type.h: codes and scales in registers.
 */
#ifndef VGPU_AVX512_G16_H
#define VGPU_AVX512_G16_H

#include <immintrin.h>

#include "kernels/pack/g16_type.h"

/* The upper bits of step t's codes, at bits 4 and 5. */
static inline __m512i vgpu_g16_upper_avx512(const uint8_t *block, uint32_t bits, uint32_t t)
{
	const uint8_t *high = block + VGPU_MXFP4_BLOCK_CODES + (bits == 6 ? t / 4 * 64 : 0);
	int shift = bits == 6 ? 2 * (int)(t % 4) - 4 : (int)t - 4;
	__m512i x = _mm512_load_si512(high);

	x = shift < 0 ? _mm512_sll_epi16(x, _mm_cvtsi32_si128(-shift)) :
			_mm512_srl_epi16(x, _mm_cvtsi32_si128(shift));
	return _mm512_and_si512(x, _mm512_set1_epi8(bits == 6 ? 0x30 : 0x10));
}

/* The codes of step t: byte 4 r + i is row r, column 4 t + i. */
static inline __m512i vgpu_g16_codes_avx512(const uint8_t *block, uint32_t bits, uint32_t t)
{
	__m512i x = _mm512_load_si512(block + t / 2 * 64);

	if (t % 2)
		x = _mm512_srli_epi16(x, 4);
	x = _mm512_and_si512(x, _mm512_set1_epi8(15));
	return bits == 4 ? x : _mm512_or_si512(x, vgpu_g16_upper_avx512(block, bits, t));
}

/* Scales of block b, a number of the whole row. */
static inline __m512 vgpu_g16_scale_avx512(const struct vgpu_g16_type *type, const uint8_t *group,
					   uint32_t b)
{
	const uint8_t *tile = group + vgpu_g16_tile_at(type, b);
	uint32_t j = b % type->tile_blocks * 4 / type->tile_blocks;

	return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(tile + 32 * j)));
}

#endif

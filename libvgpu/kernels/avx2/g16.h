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

/**
 * struct vgpu_g16_scales_avx2 - of one block, a row a lane
 * @scale: its first or only one
 * @more: VGPU_KIND_MINIMUM: the minimum; VGPU_KIND_HALVES: the second; else not to be used
 */
struct vgpu_g16_scales_avx2 {
	__m256 scale, more;
};

/* Lanes' lower halves, f16, as f32. */
static inline __m256 vgpu_lanes_f16_avx2(__m256i x)
{
	const __m256i low = _mm256_set1_epi32(0xffff);

	x = _mm256_packus_epi32(_mm256_and_si256(x, low), _mm256_setzero_si256());
	x = _mm256_permute4x64_epi64(x, 0x08);
	return _mm256_cvtph_ps(_mm256_castsi256_si128(x));
}

/* Some bits of every lane, from bit shift on. */
static inline __m256i vgpu_lanes_bits_avx2(__m256i x, uint32_t shift, int mask)
{
	return _mm256_and_si256(_mm256_srl_epi32(x, _mm_cvtsi32_si128((int)shift)),
				_mm256_set1_epi32(mask));
}

/* Six bits: all of byte j of lanes, or four of low's from bit 8 j + at on and two above. */
static inline __m256 vgpu_lanes_six_avx2(__m256i x, __m256i low, uint32_t j, uint32_t at)
{
	__m256i two;

	if (j < 4)
		return _mm256_cvtepi32_ps(vgpu_lanes_bits_avx2(x, 8 * j, 63));
	two = _mm256_slli_epi32(vgpu_lanes_bits_avx2(x, 8 * (j - 4) + 6, 3), 4);
	return _mm256_cvtepi32_ps(_mm256_or_si256(vgpu_lanes_bits_avx2(low, 8 * (j - 4) + at, 15),
						  two));
}

static inline struct vgpu_g16_scales_avx2 vgpu_g16_k6_avx2(const uint8_t *lane, uint32_t j)
{
	__m256i d = _mm256_load_si256((const __m256i *)lane);
	__m256i s = _mm256_load_si256((const __m256i *)(lane + 64));
	__m256i m = _mm256_load_si256((const __m256i *)(lane + 128));
	__m256i low = _mm256_load_si256((const __m256i *)(lane + 192));
	__m256 dmin = vgpu_lanes_f16_avx2(_mm256_srli_epi32(d, 16));

	return (struct vgpu_g16_scales_avx2){
		_mm256_mul_ps(vgpu_lanes_f16_avx2(d), vgpu_lanes_six_avx2(s, low, j, 0)),
		_mm256_xor_ps(_mm256_mul_ps(dmin, vgpu_lanes_six_avx2(m, low, j, 4)),
			      _mm256_set1_ps(-0.0f)),
	};
}

/* Byte i of every lane, signed. */
static inline __m256 vgpu_lanes_s8_avx2(__m256i x, uint32_t i)
{
	x = _mm256_sll_epi32(x, _mm_cvtsi32_si128(24 - 8 * (int)i));
	return _mm256_cvtepi32_ps(_mm256_srai_epi32(x, 24));
}

/* Byte i of every lane as vgpu_half_e4m3() has it. */
static inline __m256 vgpu_lanes_e4m3_avx2(__m256i x, uint32_t i)
{
	__m256i byte = vgpu_lanes_bits_avx2(x, 8 * i, 0xff);
	__m256i magnitude = _mm256_and_si256(byte, _mm256_set1_epi32(0x7f));
	__m256i bits = _mm256_add_epi32(_mm256_slli_epi32(magnitude, 20),
					_mm256_set1_epi32((127 - 8) << 23));
	__m256 small = _mm256_mul_ps(_mm256_cvtepi32_ps(magnitude), _mm256_set1_ps(0x1p-10f));
	__m256i is_small = _mm256_cmpgt_epi32(_mm256_set1_epi32(8), magnitude);
	__m256i is_zero = _mm256_cmpeq_epi32(byte, _mm256_set1_epi32(0x7f));
	__m256 value = _mm256_blendv_ps(_mm256_castsi256_ps(bits), small,
					_mm256_castsi256_ps(is_small));

	return _mm256_andnot_ps(_mm256_castsi256_ps(is_zero), value);
}

static inline struct vgpu_g16_scales_avx2 vgpu_g16_s8_avx2(const uint8_t *tile, uint32_t row,
							   uint32_t j)
{
	__m256i line = _mm256_load_si256((const __m256i *)(tile + j / 2 * 64 + 4 * row));
	__m256 d = _mm256_cvtph_ps(_mm_load_si128((const __m128i *)(tile + 256 + 2 * row)));

	return (struct vgpu_g16_scales_avx2){
		_mm256_mul_ps(d, vgpu_lanes_s8_avx2(line, j % 2 * 2)),
		_mm256_mul_ps(d, vgpu_lanes_s8_avx2(line, j % 2 * 2 + 1)) };
}

/* Of block b, a number of the whole row, for the 8 rows from row on. */
static inline struct vgpu_g16_scales_avx2 vgpu_g16_scales_avx2(const struct vgpu_g16_type *type,
							       const uint8_t *group, uint32_t b,
							       uint32_t row)
{
	const uint8_t *tile = group + vgpu_g16_tile_at(type, b), *lane = tile + 4 * row;
	uint32_t j = b % type->tile_blocks;
	__m256i x;

	switch (type->header) {
	case VGPU_HEADER_PAIR:
		x = _mm256_load_si256((const __m256i *)(lane + 64 * j));
		return (struct vgpu_g16_scales_avx2){
			vgpu_lanes_f16_avx2(x), vgpu_lanes_f16_avx2(_mm256_srli_epi32(x, 16)) };
	case VGPU_HEADER_K6:
		return vgpu_g16_k6_avx2(lane, j);
	case VGPU_HEADER_S8:
		return vgpu_g16_s8_avx2(tile, row, j);
	case VGPU_HEADER_E4M3:
		x = _mm256_load_si256((const __m256i *)lane);
		return (struct vgpu_g16_scales_avx2){ vgpu_lanes_e4m3_avx2(x, 2 * j),
						      vgpu_lanes_e4m3_avx2(x, 2 * j + 1) };
	case VGPU_HEADER_F16:
	case VGPU_HEADER_F16_ZERO:
		break;
	}
	x = _mm256_castsi128_si256(_mm_load_si128((const __m128i *)(tile + 2 * row +
							j * 4 / type->tile_blocks * 32)));
	return (struct vgpu_g16_scales_avx2){
		_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_setzero_ps() };
}

/* The code of zero of every row, a byte each column. */
static inline __m256i vgpu_g16_zero_avx2(const struct vgpu_g16_type *type, const uint8_t *group,
					 uint32_t b, uint32_t row)
{
	const __m256i first = _mm256_broadcastsi128_si256(
		_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
	const uint8_t *line = group + vgpu_g16_tile_at(type, b) + 128 + 4 * row;
	uint32_t j = b % type->tile_blocks * 4 / type->tile_blocks;

	if (type->header != VGPU_HEADER_F16_ZERO)
		return _mm256_set1_epi8((char)type->zero);
	return _mm256_shuffle_epi8(_mm256_load_si256((const __m256i *)line),
				   _mm256_add_epi8(first, _mm256_set1_epi8((char)j)));
}

#endif

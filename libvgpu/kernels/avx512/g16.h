/* SPDX-License-Identifier: MIT */
/*
 * A block of the formats of pack/g16_type.h: codes and scales in registers.
 */
#ifndef VGPU_AVX512_G16_H
#define VGPU_AVX512_G16_H

#include <immintrin.h>

#include "kernels/avx512/slab.h"
#include "kernels/pack/g16_type.h"

/* The upper bits of step t's codes, at bits 4 and 5 of bytes that hold others, too. */
static inline __m512i vgpu_g16_upper(const uint8_t *block, uint32_t bits, uint32_t t)
{
	const uint8_t *high = block + VGPU_MXFP4_BLOCK_CODES + (bits == 6 ? t / 4 * 64 : 0);
	int shift = bits == 6 ? 2 * (int)(t % 4) - 4 : (int)t - 4;
	__m512i x = _mm512_load_si512(high);

	return shift < 0 ? _mm512_sll_epi16(x, _mm_cvtsi32_si128(-shift)) :
			   _mm512_srl_epi16(x, _mm_cvtsi32_si128(shift));
}

/* The codes of step t: byte 4 r + i is row r, column 4 t + i. */
static inline __m512i vgpu_g16_codes(const uint8_t *block, uint32_t bits, uint32_t t)
{
	__m512i x = _mm512_load_si512(block + (bits == 8 ? t : t / 2) * 64);

	if (bits == 8)
		return x;
	if (t % 2)
		x = _mm512_srli_epi16(x, 4);
	x = _mm512_and_si512(x, _mm512_set1_epi8(15));
	if (bits == 4)
		return x;
	/* (upper & mask) | x */
	return _mm512_ternarylogic_epi32(vgpu_g16_upper(block, bits, t),
					 _mm512_set1_epi8(bits == 6 ? 0x30 : 0x10), x, 0xea);
}

/**
 * struct vgpu_g16_scales - of one block, a row a lane
 * @scale: its first or only one
 * @more: VGPU_KIND_MINIMUM: the minimum; VGPU_KIND_HALVES: the second; else not to be used
 */
struct vgpu_g16_scales {
	__m512 scale, more;
};

/* Lanes' lower halves, f16, as f32. */
static inline __m512 vgpu_lanes_f16(__m512i x)
{
	return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x));
}

/* Some bits of every lane, from bit shift on. */
static inline __m512i vgpu_lanes_bits(__m512i x, uint32_t shift, int mask)
{
	return _mm512_and_si512(_mm512_srl_epi32(x, _mm_cvtsi32_si128((int)shift)),
				_mm512_set1_epi32(mask));
}

/* Six bits: all of byte j of lanes, or four of low's from bit 8 j + at on and two above. */
static inline __m512 vgpu_lanes_six(__m512i x, __m512i low, uint32_t j, uint32_t at)
{
	__m512i two;

	if (j < 4)
		return _mm512_cvtepi32_ps(vgpu_lanes_bits(x, 8 * j, 63));
	two = _mm512_slli_epi32(vgpu_lanes_bits(x, 8 * (j - 4) + 6, 3), 4);
	return _mm512_cvtepi32_ps(_mm512_or_si512(vgpu_lanes_bits(low, 8 * (j - 4) + at, 15), two));
}

static inline struct vgpu_g16_scales vgpu_g16_k6(const uint8_t *tile, uint32_t j)
{
	__m512i d = _mm512_load_si512(tile), low = _mm512_load_si512(tile + 192);
	__m512 dmin = vgpu_lanes_f16(_mm512_srli_epi32(d, 16));
	__m512 m = vgpu_lanes_six(_mm512_load_si512(tile + 128), low, j, 4);

	return (struct vgpu_g16_scales){
		_mm512_mul_ps(vgpu_lanes_f16(d),
			      vgpu_lanes_six(_mm512_load_si512(tile + 64), low, j, 0)),
		_mm512_xor_ps(_mm512_mul_ps(dmin, m), _mm512_set1_ps(-0.0f)),
	};
}

/* Byte i of every lane, signed. */
static inline __m512 vgpu_lanes_s8(__m512i x, uint32_t i)
{
	x = _mm512_sll_epi32(x, _mm_cvtsi32_si128(24 - 8 * (int)i));
	return _mm512_cvtepi32_ps(_mm512_srai_epi32(x, 24));
}

/* Byte i of every lane as vgpu_half_e4m3() has it. */
static inline __m512 vgpu_lanes_e4m3(__m512i x, uint32_t i)
{
	__m512i byte = vgpu_lanes_bits(x, 8 * i, 0xff);
	__m512i magnitude = _mm512_and_si512(byte, _mm512_set1_epi32(0x7f));
	__m512i bits = _mm512_add_epi32(_mm512_slli_epi32(magnitude, 20),
					_mm512_set1_epi32((127 - 8) << 23));
	__mmask16 small = _mm512_cmplt_epu32_mask(magnitude, _mm512_set1_epi32(8));
	__mmask16 there = _mm512_cmpneq_epu32_mask(byte, _mm512_set1_epi32(0x7f));
	__m512 value = _mm512_mask_mul_ps(_mm512_castsi512_ps(bits), small,
					  _mm512_cvtepi32_ps(magnitude), _mm512_set1_ps(0x1p-10f));

	return _mm512_maskz_mov_ps(there, value);
}

static inline struct vgpu_g16_scales vgpu_g16_s8(const uint8_t *tile, uint32_t j)
{
	__m512i line = _mm512_load_si512(tile + j / 2 * 64);
	__m512 d = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(tile + 256)));

	return (struct vgpu_g16_scales){ _mm512_mul_ps(d, vgpu_lanes_s8(line, j % 2 * 2)),
					 _mm512_mul_ps(d, vgpu_lanes_s8(line, j % 2 * 2 + 1)) };
}

/* Of block b, a number of the whole row. */
static inline struct vgpu_g16_scales vgpu_g16_scales(const struct vgpu_g16_type *type,
						     const uint8_t *group, uint32_t b)
{
	const uint8_t *tile = group + vgpu_g16_tile_at(type, b);
	uint32_t j = b % type->tile_blocks;
	__m512i x;

	switch (type->header) {
	case VGPU_HEADER_PAIR:
		x = _mm512_load_si512(tile + 64 * j);
		return (struct vgpu_g16_scales){ vgpu_lanes_f16(x),
						 vgpu_lanes_f16(_mm512_srli_epi32(x, 16)) };
	case VGPU_HEADER_K6:
		return vgpu_g16_k6(tile, j);
	case VGPU_HEADER_S8:
		return vgpu_g16_s8(tile, j);
	case VGPU_HEADER_E4M3:
		x = _mm512_load_si512(tile);
		return (struct vgpu_g16_scales){ vgpu_lanes_e4m3(x, 2 * j),
						 vgpu_lanes_e4m3(x, 2 * j + 1) };
	case VGPU_HEADER_F16:
	case VGPU_HEADER_F16_ZERO:
		break;
	}
	return (struct vgpu_g16_scales){
		_mm512_cvtph_ps(_mm256_load_si256((const __m256i *)
						  (tile + j * 4 / type->tile_blocks * 32))),
		_mm512_setzero_ps() };
}

/* The codes of zero of a block, a byte each column. */
static inline __m512i vgpu_g16_zero(const struct vgpu_g16_type *type, const uint8_t *group,
				    uint32_t b)
{
	const __m512i first = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
	const uint8_t *line = group + vgpu_g16_tile_at(type, b) + 128;
	uint32_t j = b % type->tile_blocks * 4 / type->tile_blocks;

	if (type->header != VGPU_HEADER_F16_ZERO)
		return _mm512_set1_epi8((char)type->zero);
	return _mm512_shuffle_epi8(_mm512_load_si512(line),
				   _mm512_add_epi8(first, _mm512_set1_epi8((char)j)));
}

/**
 * struct vgpu_g16_table - from codes to numbers (of E2M1 twice it)
 * @u8: E2M1: the number plus 128, for vpermb
 * @low, @high: the number as bf16, for vpermw: codes 0 .. 31, and 32 .. 63 of six bits
 *
 * Where rows have zeros of their own, @low is for codes with 16 less the zero added.
 */
struct vgpu_g16_table {
	__m512i u8, low, high;
};

/* first .. first + 31 as bf16; so small they have zeros in the lower half of f32. */
static inline __m512i vgpu_bf16_count(int first)
{
	__m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__m512i low = _mm512_add_epi32(count, _mm512_set1_epi32(first));
	__m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(16));

	low = _mm512_srli_epi32(_mm512_castps_si512(_mm512_cvtepi32_ps(low)), 16);
	high = _mm512_srli_epi32(_mm512_castps_si512(_mm512_cvtepi32_ps(high)), 16);
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(low)),
				  _mm512_cvtepi32_epi16(high), 1);
}

static inline struct vgpu_g16_table vgpu_g16_table(const struct vgpu_g16_type *type)
{
	int zero = type->header == VGPU_HEADER_F16_ZERO ? 16 : type->zero;

	if (type->e2m1)
		return (struct vgpu_g16_table){ vgpu_mxfp4_table_u8(), vgpu_mxfp4_table_bf16(),
						_mm512_setzero_si512() };
	return (struct vgpu_g16_table){ _mm512_setzero_si512(), vgpu_bf16_count(-zero),
					vgpu_bf16_count(32 - zero) };
}

/* What a block's codes are added to, to be numbers plus 128 in mode A8, or what @low is for. */
static inline __m512i vgpu_g16_add(const struct vgpu_g16_type *type, const uint8_t *group,
				   uint32_t b, bool a8)
{
	if (!a8 && type->header != VGPU_HEADER_F16_ZERO)
		return _mm512_setzero_si512();
	return _mm512_sub_epi8(_mm512_set1_epi8((char)(a8 ? VGPU_INT8_ZERO : 16)),
			       vgpu_g16_zero(type, group, b));
}

/* Step t of a block as bytes, the number plus 128. */
static inline __m512i vgpu_g16_step_a8(const struct vgpu_g16_type *type,
				       const struct vgpu_g16_table *table, const uint8_t *block,
				       uint32_t t, __m512i add)
{
	__m512i codes = vgpu_g16_codes(block, type->bits, t);

	return type->e2m1 ? _mm512_permutexvar_epi8(codes, table->u8) : _mm512_add_epi8(codes, add);
}

/* Byte i of every lane less 128, as f32: it is put behind the bits of 2^23. */
static inline __m512 vgpu_lanes_byte(__m512i x, uint32_t i)
{
	__m512i low = _mm512_srl_epi32(x, _mm_cvtsi32_si128(8 * (int)i));

	/* (low & mask) | bits */
	low = _mm512_ternarylogic_epi32(low, _mm512_set1_epi32(0xff), _mm512_set1_epi32(0x4b000000),
					0xea);
	return _mm512_sub_ps(_mm512_castsi512_ps(low),
			     _mm512_set1_ps(0x1p23f + (float)VGPU_INT8_ZERO));
}

/* Bytes i and i + 2 less 128, as bf16: the low halves of numbers so small are zero. */
static inline __m512i vgpu_lanes_bytes(__m512i x, uint32_t i)
{
	__m512i low = _mm512_castps_si512(vgpu_lanes_byte(x, i));

	return _mm512_or_si512(_mm512_srli_epi32(low, 16),
			       _mm512_castps_si512(vgpu_lanes_byte(x, i + 2)));
}

/* Step t of a block as two lines of bf16: columns 0 and 2, then 1 and 3. */
static inline void vgpu_g16_step_a16(__m512i line[2], const struct vgpu_g16_type *type,
				     const struct vgpu_g16_table *table, const uint8_t *block,
				     uint32_t t, __m512i add)
{
	__m512i codes = vgpu_g16_codes(block, type->bits, t), odd;

	if (type->header == VGPU_HEADER_F16_ZERO)
		codes = _mm512_add_epi8(codes, add);
	odd = _mm512_srli_epi16(codes, 8);
	if (type->bits == 8) {
		line[0] = vgpu_lanes_bytes(codes, 0);
		line[1] = vgpu_lanes_bytes(codes, 1);
	} else if (type->bits == 6) {
		line[0] = _mm512_permutex2var_epi16(table->low, codes, table->high);
		line[1] = _mm512_permutex2var_epi16(table->low, odd, table->high);
	} else {
		line[0] = _mm512_permutexvar_epi16(codes, table->low);
		line[1] = _mm512_permutexvar_epi16(odd, table->low);
	}
}

#endif

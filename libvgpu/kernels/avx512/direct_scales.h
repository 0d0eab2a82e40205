/* SPDX-License-Identifier: MIT */
/*
 * Scales and minima of the formats that have a direct product, for four blocks at a time.
 */
#ifndef VGPU_AVX512_DIRECT_SCALES_H
#define VGPU_AVX512_DIRECT_SCALES_H

#include "kernels/avx512/g16.h"
#include "kernels/avx512/slab.h"

#define DIRECT_INLINE static inline __attribute__((always_inline))

/*
 * How scales lie.
 *   MXFP4	MXFP4_G16
 *   F16	VGPU_HEADER_F16, and 8 is the code of zero
 *   K6		VGPU_HEADER_K6, with minima
 */
enum direct_kind { DIRECT_MXFP4, DIRECT_F16, DIRECT_K6 };

/**
 * struct direct_scales - of the four blocks that begin at one whose number four divides
 * @line: MXFP4: the tile's; K6: scales of six bits, a byte a block
 * @more: MXFP4: @line less one in every byte; K6: minima of six bits
 * @d, @dmin: K6: what multiplies them
 * @plain: MXFP4: no scale needs care
 * @at: F16: the scale of the first block, @step[j] from it that of block j
 */
struct direct_scales {
	__m512i line, more;
	__m512 d, dmin;
	bool plain;
	const uint8_t *at;
	uint32_t step[4];
};

DIRECT_INLINE void direct_load_k6(struct direct_scales *s, const uint8_t *tile, bool last)
{
	const __m512i six = _mm512_set1_epi8(63), four = _mm512_set1_epi8(15);
	const __m512i two = _mm512_set1_epi8(0x30);
	__m512i d = _mm512_load_si512(tile), low = _mm512_load_si512(tile + 192);
	__m512i scale = _mm512_load_si512(tile + 64), minimum = _mm512_load_si512(tile + 128);

	s->d = vgpu_lanes_f16(d);
	s->dmin = vgpu_lanes_f16(_mm512_srli_epi32(d, 16));
	if (!last) {
		s->line = _mm512_and_si512(scale, six);
		s->more = _mm512_and_si512(minimum, six);
		return;
	}
	s->line = _mm512_or_si512(_mm512_and_si512(low, four),
				  _mm512_and_si512(_mm512_srli_epi32(scale, 2), two));
	s->more = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(low, 4), four),
				  _mm512_and_si512(_mm512_srli_epi32(minimum, 2), two));
}

DIRECT_INLINE struct direct_scales direct_load(enum direct_kind kind,
					       const struct vgpu_g16_type *type,
					       const uint8_t *group, uint32_t block)
{
	struct direct_scales s = { 0 };

	if (kind == DIRECT_MXFP4) {
		s.line = _mm512_load_si512(group + vgpu_mxfp4_g16_scale(block));
		s.more = _mm512_sub_epi8(s.line, _mm512_set1_epi8(1));
		s.plain = vgpu_mxfp4_scales_plain(s.line);
	} else if (kind == DIRECT_K6) {
		direct_load_k6(&s, group + vgpu_g16_tile_at(type, block), block % 8 >= 4);
	} else {
		s.at = group + vgpu_g16_tile_at(type, block);
		for (uint32_t j = 0; j < 4; j++)
			s.step[j] = (block + j) % type->tile_blocks * 4 / type->tile_blocks * 32;
	}
	return s;
}

/* Of block j of the four; for MXFP4 half of it. */
DIRECT_INLINE __m512 direct_scale(enum direct_kind kind, const struct direct_scales *s, uint32_t j)
{
	if (kind == DIRECT_MXFP4)
		return s->plain ? vgpu_mxfp4_half_scale_plain(s->more, j) :
				  vgpu_mxfp4_half_scale(s->line, j);
	if (kind == DIRECT_K6)
		return _mm512_mul_ps(s->d, _mm512_cvtepi32_ps(vgpu_lanes_bits(s->line, 8 * j, 63)));
	return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(s->at + s->step[j])));
}

/* What is taken off: the minimum, less. */
DIRECT_INLINE __m512 direct_minimum(enum direct_kind kind, const struct direct_scales *s, uint32_t j)
{
	if (kind != DIRECT_K6)
		return _mm512_setzero_ps();
	return _mm512_mul_ps(s->dmin, _mm512_cvtepi32_ps(vgpu_lanes_bits(s->more, 8 * j, 63)));
}

/* Where a block's codes are. */
DIRECT_INLINE const uint8_t *direct_codes(enum direct_kind kind, const struct vgpu_g16_type *type,
					  const uint8_t *group, uint32_t block)
{
	return group + (kind == DIRECT_MXFP4 ? vgpu_mxfp4_g16_codes(block) :
					       vgpu_g16_block_at(type, block));
}

/* The number of every code (of MXFP4 twice it) plus 128, for vpermb, which looks at 6 bits. */
DIRECT_INLINE __m512i direct_table_u8(enum direct_kind kind)
{
	const __m512i count = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));

	if (kind == DIRECT_MXFP4)
		return vgpu_mxfp4_table_u8();
	return _mm512_add_epi8(count, _mm512_set1_epi8((char)(kind == DIRECT_F16 ? 120 : 128)));
}

/* The same, without the 128, as bf16 for vpermw, which looks at 5 bits. */
DIRECT_INLINE __m512i direct_table_bf16(enum direct_kind kind)
{
	const __m512 count = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	const __m512 zero = _mm512_set1_ps(kind == DIRECT_F16 ? 8 : 0);
	__m512i bits;

	if (kind == DIRECT_MXFP4)
		return vgpu_mxfp4_table_bf16();
	/* Numbers this small have zeros in the lower half. */
	bits = _mm512_srli_epi32(_mm512_castps_si512(_mm512_sub_ps(count, zero)), 16);
	return _mm512_broadcast_i64x4(_mm512_cvtepi32_epi16(bits));
}

#endif

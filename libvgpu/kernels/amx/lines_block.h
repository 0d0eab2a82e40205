/* SPDX-License-Identifier: MIT */
/*
 * One block of 32 columns of a group of 16 rows as 16 lines of BF16, every format.
 *
 * What a product at one row of activations costs beside memory is mostly here, so that formats
 * are constants at every call.  Of 512-bit instructions shifts take one port and
 * permutations of bytes the other; vpermw takes both, additions and logic either.
 */
#ifndef VGPU_AMX_LINES_BLOCK_H
#define VGPU_AMX_LINES_BLOCK_H

#include "kernels/amx/lines.h"
#include "kernels/avx512/g16.h"

#define LINES_INLINE static inline __attribute__((always_inline))

/**
 * lines_block() - one block into lines
 * @lines: 1024 bytes, 64-byte aligned
 * @scale: f32 [vgpu_slab_scales()], 64-byte aligned; not used of plain groups; of those
 *	with VGPU_HEADER_K6 made eight at a time, with each block whose number eight divides,
 *	LINES_SCALE_STEP floats apart
 * @g: the group
 * @block: its number in the row
 * @table: of the format, below
 */
#define LINES_SCALE_STEP	(4 * 32)
typedef void lines_block(uint8_t *lines, float *scale, const struct vgpu_group *g, uint32_t block,
			 const struct vgpu_g16_table *table);

/*
 * The hardware prefetcher stops at 4 KiB; with small pages it needs a hint beyond.  Of four
 * groups in turns L1 would lose it again.
 */
#define PREFETCH_BYTES	4096

/*
 * Twice a code's value times 2^(e - 128) is a normal BF16 for the exponents 2 .. 252.  The
 * table has them for 252, and what is subtracted for a smaller one stops at 0, which is
 * where both zeros begin and stay; so they do for the exponent 0 of a block of zeros.
 */
#define MXFP4_E_MAX	252

LINES_INLINE void prefetch_block(const uint8_t *block, uint32_t bytes)
{
#pragma GCC unroll 8
	for (uint32_t i = 0; i < bytes; i += 64)
		_mm_prefetch((const char *)block + i + PREFETCH_BYTES, _MM_HINT_T1);
}

/* For vpmultishiftqb: the lower byte of every word is 8 of its bits from this one on. */
LINES_INLINE __m512i word_from(uint32_t bit)
{
	return _mm512_set1_epi64(0x0030002000100000 + 0x0001000100010001 * (int64_t)bit);
}

/* Line s of a block of codes of four bits, for vpermw by a table that repeats after 16. */
LINES_INLINE __m512i four_bits(const uint8_t *codes, uint32_t s)
{
	static const uint32_t from[4] = { 0, 8, 4, 12 };
	__m512i line = _mm512_load_si512(codes + s / 4 * 64);

	return s % 4 ? _mm512_multishift_epi64_epi8(word_from(from[s % 4]), line) : line;
}

LINES_INLINE struct vgpu_g16_table mxfp4_plain_table(void)
{
	const __m512i up = _mm512_set1_epi16((MXFP4_E_MAX - 128) << 7);
	__m512i t = vgpu_mxfp4_table_bf16();
	__mmask32 some = _mm512_test_epi16_mask(t, _mm512_set1_epi16(0x7fff));

	return (struct vgpu_g16_table){ .low = _mm512_maskz_add_epi16(some, t, up) };
}

/* The scale bytes of a block, one row a lane. */
LINES_INLINE __m512i mxfp4_exponents(const struct vgpu_group *g, uint32_t block)
{
	__m512i line = _mm512_load_si512(g->data + (size_t)(block / 4) * VGPU_MXFP4_TILE);

	return _mm512_and_si512(_mm512_srl_epi32(line, _mm_cvtsi32_si128((int)(block % 4 * 8))),
				_mm512_set1_epi32(0xff));
}

/* Of a plain group. */
LINES_INLINE void lines_mxfp4_plain(uint8_t *lines, float *scale, const struct vgpu_group *g,
				    uint32_t block, const struct vgpu_g16_table *table)
{
	const uint8_t *codes = g->data + vgpu_mxfp4_g16_codes(block);
	__m512i down = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_set1_epi32(MXFP4_E_MAX),
							  mxfp4_exponents(g, block)), 7);

	(void)scale;
	down = _mm512_or_si512(down, _mm512_slli_epi32(down, 16));
	prefetch_block(codes, VGPU_MXFP4_BLOCK_CODES);
#pragma GCC unroll 16
	for (uint32_t s = 0; s < 16; s++) {
		__m512i value = _mm512_permutexvar_epi16(four_bits(codes, s), table->low);

		_mm512_store_si512(lines + s * 64, _mm512_subs_epu16(value, down));
	}
}

LINES_INLINE void lines_bf16(uint8_t *lines, float *scale, const struct vgpu_group *g,
			     uint32_t block, const struct vgpu_g16_table *table)
{
	(void)scale;
	(void)table;
	vgpu_slab_fill_bf16_avx512(lines, g, block * VGPU_BLOCK, 1);
}

LINES_INLINE void lines_int8(uint8_t *lines, float *scale, const struct vgpu_group *g,
			     uint32_t block, const struct vgpu_g16_table *table)
{
	const uint8_t *codes = g->data + vgpu_int8_g16_codes(block);
	const uint8_t *half = g->data + vgpu_int8_g16_scale(block);

	(void)table;
	prefetch_block(codes, VGPU_INT8_BLOCK_CODES);
	_mm512_store_ps(scale, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)half)));
#pragma GCC unroll 8
	for (uint32_t t = 0; t < 8; t++) {
		__m512i line = _mm512_load_si512(codes + t * 64);

		_mm512_store_si512(lines + t * 128, vgpu_lanes_bytes(line, 0));
		_mm512_store_si512(lines + t * 128 + 64, vgpu_lanes_bytes(line, 1));
	}
}

/* The lower bytes of 64 words. */
LINES_INLINE __m512i lower_bytes(__m512i first, __m512i last)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(first)),
				  _mm512_cvtepi16_epi8(last), 1);
}

/* Codes that vpermw can look up as they lie: nothing is to be added or put together. */
LINES_INLINE bool g16_four(const struct vgpu_g16_type *type)
{
	return type->bits == 4 && type->header != VGPU_HEADER_F16_ZERO;
}

/* As vgpu_g16_table(), but of six bits u8 and low are the BF16's lower and upper bytes. */
LINES_INLINE struct vgpu_g16_table g16_lines_table(const struct vgpu_g16_type *type)
{
	struct vgpu_g16_table t = vgpu_g16_table(type);

	if (g16_four(type)) {
		t.low = _mm512_broadcast_i64x4(_mm512_castsi512_si256(t.low));
	} else if (type->bits == 6) {
		t.u8 = lower_bytes(t.low, t.high);
		t.low = lower_bytes(_mm512_srli_epi16(t.low, 8), _mm512_srli_epi16(t.high, 8));
	}
	return t;
}

/* Step t of a block of codes of six bits. */
LINES_INLINE void six_bits(__m512i line[2], const struct vgpu_g16_table *table,
			   const uint8_t *block, uint32_t t)
{
	__m512i codes = vgpu_g16_codes(block, 6, t);
	__m512i low = _mm512_permutexvar_epi8(codes, table->u8);
	__m512i high = _mm512_permutexvar_epi8(codes, table->low);

	line[0] = _mm512_mask_mov_epi8(_mm512_slli_epi16(high, 8), 0x5555555555555555, low);
	line[1] = _mm512_mask_mov_epi8(_mm512_srli_epi16(low, 8), 0xaaaaaaaaaaaaaaaa, high);
}

/* Lines 2 t and 2 t + 1 of a block. */
LINES_INLINE void g16_step(__m512i line[2], const struct vgpu_g16_type *type,
			   const struct vgpu_g16_table *table, const uint8_t *block, uint32_t t,
			   __m512i add)
{
	if (type->bits == 6) {
		six_bits(line, table, block, t);
	} else if (g16_four(type)) {
		line[0] = _mm512_permutexvar_epi16(four_bits(block, 2 * t), table->low);
		line[1] = _mm512_permutexvar_epi16(four_bits(block, 2 * t + 1), table->low);
	} else {
		vgpu_g16_step_a16(line, type, table, block, t, add);
	}
}

/* Four numbers of six bits a lane, a byte each, times d; @step floats apart. */
LINES_INLINE void k6_four(float *to, size_t step, __m512 d, __m512i six)
{
	six = _mm512_and_si512(six, _mm512_set1_epi8(63));
#pragma GCC unroll 4
	for (uint32_t j = 0; j < 4; j++) {
		__m512i byte = _mm512_and_si512(_mm512_srli_epi32(six, 8 * j),
						_mm512_set1_epi32(0xff));

		_mm512_store_ps(to + j * step, _mm512_mul_ps(d, _mm512_cvtepi32_ps(byte)));
	}
}

/* Those of the last four blocks: four bits from bit @at of low's bytes on, two above. */
LINES_INLINE __m512i k6_last(__m512i two, __m512i low, uint32_t at)
{
	two = _mm512_and_si512(_mm512_srli_epi32(two, 2), _mm512_set1_epi8(0x30));
	low = _mm512_and_si512(_mm512_srli_epi32(low, at), _mm512_set1_epi8(15));
	return _mm512_or_si512(two, low);
}

/* Scales and minima of all eight blocks of a tile, as vgpu_g16_scales() has them. */
LINES_INLINE void k6_scales(float *scale, const uint8_t *tile)
{
	const size_t step = LINES_SCALE_STEP;
	__m512i d = _mm512_load_si512(tile), first = _mm512_load_si512(tile + 64);
	__m512i minimum = _mm512_load_si512(tile + 128), low = _mm512_load_si512(tile + 192);
	__m512 dmin = vgpu_lanes_f16(_mm512_srli_epi32(d, 16));

	dmin = _mm512_xor_ps(dmin, _mm512_set1_ps(-0.0f));
	k6_four(scale, step, vgpu_lanes_f16(d), first);
	k6_four(scale + 16, step, dmin, minimum);
	k6_four(scale + 4 * step, step, vgpu_lanes_f16(d), k6_last(first, low, 0));
	k6_four(scale + 4 * step + 16, step, dmin, k6_last(minimum, low, 4));
}

LINES_INLINE void g16_scales(float *scale, const struct vgpu_group *g, uint32_t b,
			     const struct vgpu_g16_type *type)
{
	struct vgpu_g16_scales s;

	if (type->header == VGPU_HEADER_K6) {
		if (b % 8 == 0)
			k6_scales(scale, g->data + vgpu_g16_tile_at(type, b));
		return;
	}
	s = vgpu_g16_scales(type, g->data, b);
	_mm512_store_ps(scale, s.scale);
	if (type->kind != VGPU_KIND_PLAIN)
		_mm512_store_ps(scale + 16, s.more);
}

/* Of a format of pack/g16_type.h. */
LINES_INLINE void lines_g16(uint8_t *lines, float *scale, const struct vgpu_group *g, uint32_t b,
			    const struct vgpu_g16_table *table, const struct vgpu_g16_type *type)
{
	const uint8_t *block = g->data + vgpu_g16_block_at(type, b);
	__m512i add = vgpu_g16_add(type, g->data, b, false), line[2];

	prefetch_block(block, (uint32_t)vgpu_g16_block_bytes(type));
	g16_scales(scale, g, b, type);
#pragma GCC unroll 8
	for (uint32_t t = 0; t < 8; t++) {
		g16_step(line, type, table, block, t, add);
		_mm512_store_si512(lines + t * 128, line[0]);
		_mm512_store_si512(lines + t * 128 + 64, line[1]);
	}
}

#endif

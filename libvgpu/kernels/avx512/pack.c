// SPDX-License-Identifier: MIT
/*
 * Encoding to the packed layouts, 32 columns of 16 rows at a time; the bytes are the reference's.
 *
 * The rows are read twice: in their order, whether each value has a code, for nothing is written
 * otherwise; and by blocks, when a cache has them.  Blocks of values so small that MXFP4's scales
 * end are left to the level below.
 */
#include <errno.h>
#include <immintrin.h>
#include <string.h>

#include "kernels/avx2/pack.h"
#include "kernels/avx512/int4_layer.h"
#include "kernels/avx512/lanes.h"
#include "kernels/avx512/regroup.h"
#include "kernels/pack/g16.h"
#include "kernels/pack/int8.h"
#include "kernels/pack/mxfp4.h"
#include "kernels/pack/source.h"

#define INLINE static inline __attribute__((always_inline))

/* Bits of f32: columns 0 .. 15 and 16 .. 31 of a row of a block. */
struct block {
	__m512i first, last;
};

/* The mask says which of 16 values there are; all of them are a load without one. */
INLINE __m512i load16(const uint8_t *p, enum vgpu_wformat format, uint32_t there)
{
	__m256i half;

	if (format == VGPU_W_F32)
		return there == 0xffff ? _mm512_loadu_si512(p) :
					 _mm512_maskz_loadu_epi32((__mmask16)there, p);
	half = there == 0xffff ? _mm256_loadu_si256((const __m256i *)p) :
				 _mm256_maskz_loadu_epi16((__mmask16)there, p);
	if (format == VGPU_W_F16)
		return _mm512_castps_si512(_mm512_cvtph_ps(half));
	return _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

/* @there: of 32 columns. */
INLINE struct block load_block(const struct vgpu_pack_source *s, enum vgpu_wformat format,
			       uint32_t row, uint32_t index, uint32_t there)
{
	const size_t element = format == VGPU_W_F32 ? 4 : 2;
	const uint8_t *p = s->data + row * s->row_bytes + index * VGPU_BLOCK * element;

	return (struct block){ load16(p, format, there & 0xffff),
			       load16(p + 16 * element, format, there >> 16) };
}

/* Columns of a row that a block has; none where there is no row. */
INLINE uint32_t columns(const struct vgpu_pack_source *s, uint32_t row, uint32_t index)
{
	uint32_t left = s->k - index * VGPU_BLOCK;

	if (row >= s->rows)
		return 0;
	return left < VGPU_BLOCK ? (1u << left) - 1 : ~0u;
}

/* --- does each value have a code? --- */

/* The largest magnitude of 64 bytes or fewer, by bits: they order as values do. */
INLINE __m512i max_line(__m512i max, __m512i x, bool words)
{
	if (words)
		return _mm512_max_epu16(max, _mm512_and_si512(x, _mm512_set1_epi16(0x7fff)));
	return _mm512_max_epi32(max, _mm512_and_si512(x, _mm512_set1_epi32(0x7fffffff)));
}

/* @limit: bits of f32; those of F16 end below every limit but infinity. */
static bool source_below(const struct vgpu_pack_source *s, uint32_t limit)
{
	bool words = s->format != VGPU_W_F32;
	uint32_t edge = s->format == VGPU_W_F16 ? 0x7c00 : (limit + 0xffff) >> 16;
	__m512i max = _mm512_setzero_si512();

	for (uint32_t row = 0; row < s->rows; row++) {
		const uint8_t *p = s->data + row * s->row_bytes;
		size_t left = s->k * s->element_bytes;

		for (; left >= 64; left -= 64, p += 64)
			max = max_line(max, _mm512_loadu_si512(p), words);
		if (left)
			max = max_line(max, _mm512_maskz_loadu_epi8(((__mmask64)1 << left) - 1, p),
				       words);
	}
	if (words)
		return !_mm512_cmpge_epu16_mask(max, _mm512_set1_epi16((short)edge));
	return !_mm512_cmpge_epu32_mask(max, _mm512_set1_epi32((int)limit));
}

/* --- 16 rows at once --- */

/* The larger words of both halves of each lane, those of two vectors by turns; then of lanes. */
INLINE __m512i larger_words(__m512i a, __m512i b)
{
	return _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

INLINE __m512i larger_halves(__m512i a, __m512i b)
{
	return _mm512_max_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

INLINE __m512i larger_lanes(__m512i a, __m512i b)
{
	return _mm512_max_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

/* The largest of each of 16 vectors, in the word of its number. */
INLINE __m512i max_of_rows(const __m512i x[16])
{
	__m512i two[8], four[4];

	for (int i = 0; i < 8; i++)
		two[i] = larger_words(x[2 * i], x[2 * i + 1]);
	for (int i = 0; i < 4; i++)
		four[i] = larger_halves(two[2 * i], two[2 * i + 1]);
	return larger_lanes(larger_lanes(four[0], four[1]), larger_lanes(four[2], four[3]));
}

/* Lane u of vector g becomes lane g of line u. */
INLINE void store_lanes(uint8_t *dst, const __m512i x[4])
{
	__m512i a = _mm512_shuffle_i32x4(x[0], x[1], 0x44), b = _mm512_shuffle_i32x4(x[2], x[3], 0x44);
	__m512i c = _mm512_shuffle_i32x4(x[0], x[1], 0xee), d = _mm512_shuffle_i32x4(x[2], x[3], 0xee);

	_mm512_store_si512(dst, _mm512_shuffle_i32x4(a, b, 0x88));
	_mm512_store_si512(dst + 64, _mm512_shuffle_i32x4(a, b, 0xdd));
	_mm512_store_si512(dst + 128, _mm512_shuffle_i32x4(c, d, 0x88));
	_mm512_store_si512(dst + 192, _mm512_shuffle_i32x4(c, d, 0xdd));
}

/* --- MXFP4 --- */

/*
 * The upper halves of 32 values, and their lowest bit set where a lower half is not zero: limits
 * between codes are multiples of 32 of such halves, which this neither reaches nor passes.  Words
 * 2 j and 2 j + 1 are columns 8 (j / 4) + j % 4 and the one four behind it, a byte of codes.
 */
INLINE __m512i upper_halves(struct block x, bool exact)
{
	static const uint16_t upper[32] = {
		1, 9, 3, 11, 5, 13, 7, 15, 17, 25, 19, 27, 21, 29, 23, 31,
		33, 41, 35, 43, 37, 45, 39, 47, 49, 57, 51, 59, 53, 61, 55, 63,
	};
	const __m512i one = _mm512_set1_epi16(1), at = _mm512_loadu_si512(upper);
	__m512i high = _mm512_permutex2var_epi16(x.first, at, x.last), low;

	if (exact)
		return high;
	low = _mm512_permutex2var_epi16(x.first, _mm512_sub_epi16(at, one), x.last);
	return _mm512_or_si512(high, _mm512_maskz_mov_epi16(_mm512_test_epi16_mask(low, low), one));
}

/*
 * Where a magnitude lies among multiples of 32 of its upper half, twice, and one more between
 * two of them: with the scale's share, 8 e, taken off, 24 is the scale itself.
 */
INLINE __m512i place_of(__m512i half)
{
	return _mm512_add_epi16(_mm512_srli_epi16(half, 5), _mm512_srli_epi16(
		_mm512_add_epi16(half, _mm512_set1_epi16(31)), 5));
}

/* Codes of 32 values, a word each, from their places; 8 e - 24 in each word of @scale. */
INLINE __m512i mxfp4_codes(__m512i place, __m512i scale)
{
	/* Beyond 0.25, from 0.75, beyond 1.25, from 1.75, beyond 2.5, from 3.5, beyond 5. */
	static const uint16_t code[64] = {
		0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3,
		3, 4, 4, 4, 4, 4, 5, 5, 5, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
		7, 7, 7, 7, 7, 7,
	};
	__m512i at = _mm512_subs_epu16(_mm512_and_si512(place, _mm512_set1_epi16(0x7ff)), scale);
	__m512i magnitude = _mm512_permutex2var_epi16(_mm512_loadu_si512(code), at,
						      _mm512_loadu_si512(code + 32));

	/* The sign, from bit 11 to bit 3. */
	return _mm512_ternarylogic_epi32(magnitude, _mm512_srli_epi16(place, 8),
					 _mm512_set1_epi16(8), 0xf8);
}

/* Words of two rows: their codes of four bits, two columns a byte, in the lower half of each lane. */
INLINE __m512i two_rows(__m512i even, __m512i odd)
{
	__m512i x = _mm512_or_si512(even, _mm512_slli_epi32(odd, 8));

	return _mm512_or_si512(x, _mm512_srli_epi32(x, 12));
}

INLINE void mxfp4_store(uint8_t *codes, const __m512i row[16])
{
	/* Byte b of word i is row b: it becomes byte i of word b. */
	const __m512i turn = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10,
								 14, 3, 7, 11, 15));
	__m512i four[4];

	for (int g = 0; g < 4; g++) {
		__m512i low = two_rows(row[4 * g], row[4 * g + 1]);
		__m512i high = two_rows(row[4 * g + 2], row[4 * g + 3]);

		four[g] = _mm512_mask_mov_epi16(low, 0xaaaaaaaa, _mm512_slli_epi32(high, 16));
		four[g] = _mm512_shuffle_epi8(four[g], turn);
	}
	store_lanes(codes, four);
}

/*
 * One block of 16 rows.  @scales: of the blocks of this tile before it, a byte each; with its own.
 * Return: rows that are left to the level below, for their scale is within 2 of the smallest.
 */
INLINE __mmask16 mxfp4_block(uint8_t *codes, const struct vgpu_pack_source *s,
			     enum vgpu_wformat format, uint32_t index, bool whole, __m512i *scales)
{
	const __m512i half = _mm512_set1_epi32(0x7fff), two = _mm512_set1_epi32(2);
	__m512i row[16], max[16], top, e;
	uint32_t share[16] __attribute__((aligned(64)));

	for (uint32_t r = 0; r < 16; r++) {
		struct block x = load_block(s, format, r, index, whole ? ~0u : columns(s, r, index));

		row[r] = upper_halves(x, format == VGPU_W_BF16);
		max[r] = _mm512_max_epi32(_mm512_and_si512(row[r], half),
					  _mm512_and_si512(_mm512_srli_epi32(row[r], 16), half));
		row[r] = place_of(row[r]);
	}
	top = max_of_rows(max);
	e = _mm512_sub_epi32(_mm512_max_epi32(_mm512_srli_epi32(top, 7), two), two);
	*scales = _mm512_or_si512(*scales, _mm512_sllv_epi32(e, _mm512_set1_epi32(
		(int)(8 * (index % VGPU_G16_TILE_BLOCKS)))));
	_mm512_store_si512(share, _mm512_mullo_epi32(_mm512_subs_epu16(_mm512_slli_epi32(e, 3),
								       _mm512_set1_epi32(24)),
						     _mm512_set1_epi32(0x10001)));
	for (uint32_t r = 0; r < 16; r++)
		row[r] = mxfp4_codes(row[r], _mm512_set1_epi32((int)share[r]));
	mxfp4_store(codes, row);
	return _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(3)) & _mm512_test_epi32_mask(top, top);
}

INLINE void mxfp4_group(uint8_t *dst, const struct vgpu_pack_source *s, enum vgpu_wformat format)
{
	uint32_t whole = s->rows == VGPU_GROUP_ROWS ? s->k / VGPU_BLOCK : 0;
	__m512i scales = _mm512_setzero_si512();

	for (uint32_t b = 0; b < vgpu_k_blocks(s->k); b++) {
		uint8_t *codes = dst + vgpu_mxfp4_g16_codes(b);
		uint32_t left;

		for (uint32_t i = 0; i < VGPU_MXFP4_BLOCK_CODES; i += 64)
			vgpu_lanes_claim(codes + i);
		if (b % VGPU_G16_TILE_BLOCKS == 0)
			scales = _mm512_setzero_si512();
		left = b < whole ? mxfp4_block(codes, s, format, b, true, &scales) :
				   mxfp4_block(codes, s, format, b, false, &scales);
		_mm512_store_si512(dst + vgpu_mxfp4_g16_scale(b / 4 * 4), scales);
		for (; left; left &= left - 1)
			vgpu_pack_mxfp4_block_avx2(dst, s, (uint32_t)__builtin_ctz(left), b);
	}
}

static int pack_mxfp4_avx512(void *dst, const void *src, enum vgpu_wformat src_format, size_t ld,
			     uint32_t rows, uint32_t k)
{
	struct vgpu_pack_source s;
	int rc = vgpu_pack_source_init(&s, src, src_format, ld, rows, k);

	if (rc)
		return rc;
	if (!source_below(&s, VGPU_F32_INFINITY))
		return -EDOM;
	if (src_format == VGPU_W_F32)
		mxfp4_group(dst, &s, VGPU_W_F32);
	else if (src_format == VGPU_W_F16)
		mxfp4_group(dst, &s, VGPU_W_F16);
	else
		mxfp4_group(dst, &s, VGPU_W_BF16);
	return 0;
}

/* --- INT8 --- */

/*
 * The whole number nearest to x / d, ties to even, where @near is that or a neighbour of it.
 * Nothing is rounded: near has 8 bits and d 11, and what is left has no more than x has.
 */
INLINE __m512i settle(__m512i x, __m512i near, __m512 d)
{
	const __m512i one = _mm512_set1_epi32(1), magnitude = _mm512_set1_epi32(0x7fffffff);
	__m512 left = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(near), d, _mm512_castsi512_ps(x));
	__m512i twice = _mm512_and_si512(_mm512_castps_si512(_mm512_add_ps(left, left)), magnitude);
	/* An odd number loses a tie, too. */
	__mmask16 wrong = _mm512_cmpgt_epi32_mask(
		_mm512_add_epi32(twice, _mm512_and_si512(near, one)), _mm512_castps_si512(d));
	__m512i step = _mm512_or_si512(_mm512_srai_epi32(_mm512_castps_si512(left), 31), one);

	return _mm512_mask_add_epi32(near, wrong, near, step);
}

/*
 * 32 quotients as 16 bits: of each lane of 4 words columns i, then 16 + i.  A product with the
 * inverse is within 190 * 2^-23 of the quotient: only beside a tie it may go to the wrong side.
 */
INLINE __m512i divide(struct block x, float d, float inverse)
{
	const int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
	__m512 a = _mm512_mul_ps(_mm512_castsi512_ps(x.first), _mm512_set1_ps(inverse));
	__m512 b = _mm512_mul_ps(_mm512_castsi512_ps(x.last), _mm512_set1_ps(inverse));
	/* The larger magnitude of what is left beside the nearest whole numbers. */
	__m512 rest = _mm512_range_ps(_mm512_reduce_ps(a, 0), _mm512_reduce_ps(b, 0), 11);
	__m512i first = _mm512_cvt_roundps_epi32(a, nearest);
	__m512i last = _mm512_cvt_roundps_epi32(b, nearest);

	if (_mm512_cmp_ps_mask(rest, _mm512_set1_ps(0.5f - 0x1p-14f), _CMP_GT_OQ)) {
		first = settle(x.first, first, _mm512_set1_ps(d));
		last = settle(x.last, last, _mm512_set1_ps(d));
	}
	return _mm512_packs_epi32(first, last);
}

/* Two rows a vector, of which word 0 and 2 of a lane are columns below 16. */
INLINE void int8_store(uint8_t *codes, const __m512i two[8])
{
	__m512i low[4], high[4];

	for (int g = 0; g < 4; g++) {
		__m512 a = _mm512_castsi512_ps(two[2 * g]), b = _mm512_castsi512_ps(two[2 * g + 1]);

		low[g] = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88));
		high[g] = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd));
	}
	store_lanes(codes, low);
	store_lanes(codes + 256, high);
}

/* Scales of 16 rows, and their inverses: 0 of a scale that is 0. */
struct int8_scales {
	float d[16], inverse[16];
} __attribute__((aligned(64)));

INLINE void int8_scales(uint8_t *dst, struct int8_scales *s, __m512i max)
{
	__m512 d = _mm512_div_ps(_mm512_castsi512_ps(max), _mm512_set1_ps(127.0f));
	__m256i half = _mm512_cvtps_ph(d, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);

	_mm256_store_si256((__m256i *)dst, half);
	d = _mm512_cvtph_ps(half);
	_mm512_store_ps(s->d, d);
	_mm512_store_ps(s->inverse, _mm512_maskz_div_ps(_mm256_test_epi16_mask(half, half),
							_mm512_set1_ps(1.0f), d));
}

INLINE void int8_block(uint8_t *scales, uint8_t *codes, const struct vgpu_pack_source *s,
		       enum vgpu_wformat format, uint32_t index, bool whole)
{
	const __m512i zero = _mm512_set1_epi8((char)VGPU_INT8_ZERO), least = _mm512_set1_epi8(-127);
	const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
	struct int8_scales scale;
	__m512i row[16];

	for (uint32_t r = 0; r < 16; r++) {
		struct block x = load_block(s, format, r, index, whole ? ~0u : columns(s, r, index));

		row[r] = _mm512_max_epi32(_mm512_and_si512(x.first, magnitude),
					  _mm512_and_si512(x.last, magnitude));
	}
	int8_scales(scales, &scale, max_of_rows(row));
	for (uint32_t r = 0; r < 16; r++) {
		struct block x = load_block(s, format, r, index, whole ? ~0u : columns(s, r, index));

		row[r] = divide(x, scale.d[r], scale.inverse[r]);
	}
	for (uint32_t i = 0; i < 8; i++)
		row[i] = _mm512_xor_si512(zero, _mm512_max_epi8(least, _mm512_packs_epi16(
			row[2 * i], row[2 * i + 1])));
	int8_store(codes, row);
}

INLINE void int8_group(uint8_t *dst, const struct vgpu_pack_source *s, enum vgpu_wformat format)
{
	uint32_t whole = s->rows == VGPU_GROUP_ROWS ? s->k / VGPU_BLOCK : 0;
	uint32_t blocks = vgpu_k_blocks(s->k);

	/* Scales of blocks that the last tile lacks. */
	if (blocks % VGPU_G16_TILE_BLOCKS)
		memset(dst + vgpu_int8_g16_scale(blocks / 4 * 4), 0, VGPU_INT8_TILE_SCALES);
	for (uint32_t b = 0; b < blocks; b++) {
		uint8_t *codes = dst + vgpu_int8_g16_codes(b), *scales = dst + vgpu_int8_g16_scale(b);

		for (uint32_t i = 0; i < VGPU_INT8_BLOCK_CODES; i += 64)
			vgpu_lanes_claim(codes + i);
		if (b < whole)
			int8_block(scales, codes, s, format, b, true);
		else
			int8_block(scales, codes, s, format, b, false);
	}
}

static int pack_int8_avx512(void *dst, const void *src, enum vgpu_wformat src_format, size_t ld,
			    uint32_t rows, uint32_t k)
{
	struct vgpu_pack_source s;
	int rc = vgpu_pack_source_init(&s, src, src_format, ld, rows, k);

	if (rc)
		return rc;
	if (!source_below(&s, VGPU_INT8_LIMIT))
		return -EDOM;
	if (src_format == VGPU_W_F32)
		int8_group(dst, &s, VGPU_W_F32);
	else if (src_format == VGPU_W_F16)
		int8_group(dst, &s, VGPU_W_F16);
	else
		int8_group(dst, &s, VGPU_W_BF16);
	return 0;
}

void vgpu_pack_init_avx512(struct vgpu_kernels *t)
{
	t->pack_mxfp4 = pack_mxfp4_avx512;
	t->pack_int8 = pack_int8_avx512;
	t->pack_mxfp4_rows = vgpu_pack_mxfp4_rows_avx512;
	t->pack_codes = vgpu_pack_codes_avx512;
	t->pack_blocks = vgpu_pack_blocks_avx512;
	t->pack_int4_layer = vgpu_pack_int4_layer_avx512;
}

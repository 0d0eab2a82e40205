// SPDX-License-Identifier: MIT
/*
 * Blocks of GGUF into the packed formats of pack/g16_type.h: 32 codes of each of 16 rows at a
 * time, four rows a vector.  They never leave the registers: what is stored row by row and
 * loaded four rows at once waits for each store to reach the cache.
 */
#include <immintrin.h>

#include "kernels/avx512/lanes.h"
#include "kernels/avx512/regroup.h"
#include "kernels/pack/g16_blocks.h"
#include "kernels/pack/g16_rows.h"
#include "kernels/ref/pack.h"

#define INLINE static inline __attribute__((always_inline))

/* Bytes of 4 rows that belong to columns 0 .. 15 and to columns 16 .. 31. */
struct cols {
	__m512i first, last;
};

/* Some bits of every byte, from bit shift on. */
INLINE __m512i bits_of(__m512i x, uint32_t shift, int mask)
{
	return _mm512_and_si512(shift ? _mm512_srli_epi16(x, shift) : x,
				_mm512_set1_epi8((char)mask));
}

/* Some bits of 32 bytes of each row. */
INLINE struct cols bits_of32(const uint8_t *bytes, size_t row_bytes, uint32_t shift, int mask)
{
	return (struct cols){ bits_of(vgpu_lanes_load4(bytes, row_bytes), shift, mask),
			      bits_of(vgpu_lanes_load4(bytes + 16, row_bytes), shift, mask) };
}

/* The low nibbles of 16 bytes of each row, then the high ones. */
INLINE struct cols nibbles(const uint8_t *bytes, size_t row_bytes)
{
	__m512i x = vgpu_lanes_load4(bytes, row_bytes);

	return (struct cols){ bits_of(x, 0, 15), bits_of(x, 4, 15) };
}

/* Of each 8 of 16 bytes the low nibbles, then the high ones. */
INLINE struct cols eights(const uint8_t *bytes, size_t row_bytes)
{
	struct cols x = nibbles(bytes, row_bytes);

	return (struct cols){ _mm512_unpacklo_epi64(x.first, x.last),
			      _mm512_unpackhi_epi64(x.first, x.last) };
}

/* Low four bits of codes 32 i .. of 4 rows; vgpu_codes_of_block() says what lies where. */
INLINE struct cols low_of(enum vgpu_wformat source, const uint8_t *block, size_t row_bytes,
			  uint32_t i)
{
	switch (source) {
	case VGPU_W_Q4_0:
		return nibbles(block + 2, row_bytes);
	case VGPU_W_Q4_1:
		return nibbles(block + 4, row_bytes);
	case VGPU_W_Q5_0:
		return nibbles(block + 6, row_bytes);
	case VGPU_W_Q5_1:
		return nibbles(block + 8, row_bytes);
	case VGPU_W_NVFP4:
		return eights(block + 4 + 16 * i, row_bytes);
	case VGPU_W_Q4_K:
		return bits_of32(block + 16 + i / 2 * 32, row_bytes, i % 2 * 4, 15);
	case VGPU_W_Q5_K:
		return bits_of32(block + 48 + i / 2 * 32, row_bytes, i % 2 * 4, 15);
	default:		/* Q6_K */
		return bits_of32(block + i / 4 * 64 + i % 2 * 32, row_bytes, i % 4 / 2 * 4, 15);
	}
}

/* The same of what is above, where it lies in bytes: Q5_K, Q6_K. */
INLINE struct cols high_of(enum vgpu_wformat source, const uint8_t *block, size_t row_bytes,
			   uint32_t i)
{
	if (source == VGPU_W_Q5_K)
		return bits_of32(block + 16, row_bytes, i, 1);
	return bits_of32(block + 128 + i / 4 * 32, row_bytes, i % 4 * 2, 3);
}

INLINE void put_low(uint8_t *block, enum vgpu_wformat source, const uint8_t *src, size_t row_bytes,
		    uint32_t i)
{
	__m512i low[4];

	for (uint32_t q = 0; q < 4; q++) {
		struct cols x = low_of(source, src + 4 * q * row_bytes, row_bytes, i);

		low[q] = vgpu_lanes_of_codes4(x.first, x.last);
	}
	vgpu_lanes_store16(block, low);
}

/* Word t of a row's codes is step t; as avx2/regroup_g16.c does it for one row. */
INLINE void put_high(uint8_t *lines, enum vgpu_wformat source, const uint8_t *src,
		     size_t row_bytes, uint32_t i)
{
	bool five = source == VGPU_W_Q5_K;
	const __m512i at = _mm512_broadcast_i32x4(five ? _mm_setr_epi32(0, 1, 2, 3) :
							 _mm_setr_epi32(0, 2, 4, 6));
	const __m512i after = five ? _mm512_add_epi32(at, _mm512_set1_epi32(4)) : at;
	__m512i first[4], last[4];

	for (uint32_t q = 0; q < 4; q++) {
		struct cols x = high_of(source, src + 4 * q * row_bytes, row_bytes, i);

		first[q] = _mm512_sllv_epi32(x.first, at);
		last[q] = _mm512_sllv_epi32(x.last, after);
		if (five)
			first[q] = _mm512_or_si512(first[q], last[q]);
	}
	vgpu_lanes_store_or(lines, first);
	if (!five)
		vgpu_lanes_store_or(lines + 64, last);
}

/* Bits of @low change places with those @shift above. */
INLINE __m512i swap_bits(__m512i x, uint32_t low, uint32_t shift)
{
	const __m512i mask = _mm512_set1_epi32((int)low);
	__m512i other = _mm512_and_si512(_mm512_xor_si512(_mm512_srli_epi32(x, shift), x), mask);

	return _mm512_xor_si512(x, _mm512_xor_si512(other, _mm512_slli_epi32(other, shift)));
}

/*
 * Bit 4 t + i of a row becomes bit t of byte i: of the five digits of a bit's number the lowest
 * two go to the front, by four exchanges of two digits each.
 */
INLINE __m512i turn_fifth(__m512i x)
{
	x = swap_bits(x, 0x0000cccc, 14);	/* digits 4 and 1 */
	x = swap_bits(x, 0x00aa00aa, 7);	/* 3 and 0 */
	x = swap_bits(x, 0x0c0c0c0c, 2);	/* 2 and 1 */
	return swap_bits(x, 0x22222222, 1);	/* 1 and 0 */
}

/* Four bytes of each of 16 rows, the first @count words of 16 that are read. */
INLINE void words16(__m512i *line, const uint8_t *src, size_t row_bytes)
{
	__m512i x[4];

	for (uint32_t q = 0; q < 4; q++)
		x[q] = vgpu_lanes_load4(src + 4 * q * row_bytes, row_bytes);
	vgpu_lanes_turn16(line, x);
}

/* Scales, and fifth bits that lie beside them; vgpu_header_of_block() says what lies where. */
INLINE void put_header(const struct vgpu_g16_type *type, uint8_t *tile, uint32_t first,
		       uint8_t *high, const uint8_t *src, size_t row_bytes)
{
	__m512i line[4];

	words16(line, src + (type->header == VGPU_HEADER_S8 ? 192 : 0), row_bytes);
	if (type->header == VGPU_HEADER_F16)
		_mm256_store_si256((__m256i *)(tile + first), _mm512_cvtepi32_epi16(line[0]));
	else if (type->header == VGPU_HEADER_PAIR)
		_mm512_store_si512(tile + 2 * first, line[0]);
	else if (type->header == VGPU_HEADER_E4M3)
		_mm512_store_si512(tile, line[0]);
	else
		for (uint32_t l = 0; l < 4; l++)
			_mm512_store_si512(tile + 64 * l, line[l]);
	if (type->source == VGPU_W_Q5_0)	/* bytes 2 .. 5 */
		line[1] = _mm512_or_si512(_mm512_srli_epi32(line[0], 16),
					  _mm512_slli_epi32(line[1], 16));
	if (type->source == VGPU_W_Q5_0 || type->source == VGPU_W_Q5_1)
		_mm512_store_si512(high, turn_fifth(line[1]));
	if (type->header != VGPU_HEADER_S8)
		return;
	for (uint32_t r = 0; r < 16; r++)
		memcpy(tile + 256 + 2 * r, src + r * row_bytes + 208, 2);
	_mm256_store_si256((__m256i *)(tile + 288), _mm256_setzero_si256());
}

/* The type is a constant at every call; step: of its blocks, in ours. */
INLINE void regroup(const struct vgpu_g16_type *type, uint8_t *dst, const uint8_t *src,
		    uint32_t step, size_t block_bytes, uint32_t k)
{
	size_t row_bytes = k / VGPU_BLOCK / step * block_bytes;
	uint32_t blocks = k / VGPU_BLOCK;
	const uint8_t *rows = src;

	/* Scales of blocks that the last tile lacks. */
	if (blocks % type->tile_blocks)
		memset(dst, 0, vgpu_g16_bytes(type, k));
	for (uint32_t b = 0; b < blocks; b += step, src += block_bytes) {
		uint8_t *block = dst + vgpu_g16_block_at(type, b);

		put_header(type, dst + vgpu_g16_tile_at(type, b),
			   b % type->tile_blocks * VGPU_BLOCK, block + VGPU_MXFP4_BLOCK_CODES, src,
			   row_bytes);
		for (uint32_t i = 0; i < step; i++, block += vgpu_g16_block_bytes(type)) {
			vgpu_lanes_prefetch(rows, row_bytes, b + i, block_bytes / step);
			for (size_t j = 0; j < vgpu_g16_block_bytes(type); j += 64)
				vgpu_lanes_claim(block + j);
			put_low(block, type->source, src, row_bytes, i);
			if (type->source == VGPU_W_Q5_K || type->source == VGPU_W_Q6_K)
				put_high(block + VGPU_MXFP4_BLOCK_CODES, type->source, src, row_bytes,
					 i);
		}
	}
}

/* Lines after which blocks lie as before; the most are those of Q6_K. */
#define LINES_MAX	105u

INLINE void mark(uint64_t *marks, size_t byte)
{
	marks[byte / 64] |= (uint64_t)1 << byte % 64;
}

/* Which of the marked bytes have all bits of an F16's exponent set. */
INLINE __mmask64 exponents_full(__m512i x, uint64_t marked)
{
	const __m512i exponent = _mm512_set1_epi8(0x7c);

	return _mm512_mask_cmpeq_epi8_mask(marked, _mm512_and_si512(x, exponent), exponent);
}

/*
 * A mark is the upper byte of an F16, whose exponent is all ones where it is infinite or NaN.
 * Every line of the rows is read in their order, those without a mark, too: so the hardware
 * fetches ahead what regroup() then finds in a cache, for sixteen rows at once are more streams
 * than it follows.
 */
INLINE bool is_finite16(enum vgpu_g16_header header, const uint8_t *src, size_t block_bytes,
			uint32_t blocks)
{
	size_t lines = block_bytes / (block_bytes & -block_bytes), bytes = blocks * block_bytes;
	size_t line = 0;
	uint64_t marks[LINES_MAX] = { 0 };
	__mmask64 bad = 0;

	for (size_t at = 0; at < 64 * lines && header != VGPU_HEADER_E4M3; at += block_bytes) {
		mark(marks, at + (header == VGPU_HEADER_S8 ? 209 : 1));
		if (header == VGPU_HEADER_PAIR || header == VGPU_HEADER_K6)
			mark(marks, at + 3);
	}
	for (; bytes >= 64; src += 64, bytes -= 64) {
		bad |= exponents_full(_mm512_loadu_si512(src), marks[line]);
		line = line + 1 < lines ? line + 1 : 0;
	}
	return !(bad | exponents_full(_mm512_maskz_loadu_epi8(((__mmask64)1 << bytes) - 1, src),
				      marks[line]));
}

#define CASES									\
	CASE(Q4_0, 1, 18)							\
	CASE(Q4_1, 1, 20)							\
	CASE(Q5_0, 1, 22)							\
	CASE(Q5_1, 1, 24)							\
	CASE(Q4_K, 8, 144)							\
	CASE(Q5_K, 8, 176)							\
	CASE(Q6_K, 8, 210)							\
	CASE(NVFP4, 2, 36)

void vgpu_regroup_g16_avx512(const struct vgpu_g16_type *type, uint8_t *dst, const uint8_t *src,
			     uint32_t k)
{
#define CASE(name, step, bytes)							\
	case VGPU_W_##name: {							\
		static const struct vgpu_g16_type constant = VGPU_G16_##name;	\
										\
		regroup(&constant, dst, src, step, bytes, k);			\
		break;								\
	}
	switch (type->source) {
	CASES
	default:
		vgpu_regroup_g16_avx2(type, dst, src, VGPU_GROUP_ROWS, k);
		break;
	}
#undef CASE
}

/* What vgpu_g16_check() says to 16 rows of k columns that the type can have. */
static int check16(const struct vgpu_g16_type *type, const uint8_t *src, uint32_t k)
{
#define CASE(name, step, bytes)							\
	case VGPU_W_##name: {							\
		static const struct vgpu_g16_type constant = VGPU_G16_##name;	\
										\
		return is_finite16(constant.header, src, bytes,			\
				   k / VGPU_BLOCK / (step) * 16) ? 0 : -EDOM;	\
	}
	switch (type->source) {
	CASES
	default:
		return vgpu_g16_check(type, src, VGPU_GROUP_ROWS, k);
	}
#undef CASE
}

int vgpu_pack_blocks_avx512(void *dst, enum vgpu_wformat format, const void *src, uint32_t rows,
			    uint32_t k)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(format);
	const struct vgpu_block_type *from = type ? vgpu_block_type(type->source) : NULL;
	int rc;

	if (!from || k % from->values || rows < VGPU_GROUP_ROWS)
		return vgpu_pack_blocks_avx2(dst, format, src, rows, k);
	rc = check16(type, src, k);
	if (!rc)
		vgpu_regroup_g16_avx512(type, dst, src, k);
	return rc;
}

/* --- to INT8 --- */

/* Bit 16 r + j: the fifth of column @from + j of row r, of 4 rows. */
INLINE __mmask64 fifth_of4(const uint8_t *bits, size_t row_bytes, uint32_t from)
{
	uint64_t mask = 0;
	uint16_t two;

	for (uint32_t r = 0; r < 4; r++) {
		memcpy(&two, bits + r * row_bytes + from / 8, sizeof(two));
		mask |= (uint64_t)two << 16 * r;
	}
	return mask;
}

/* Codes of 4 rows as INT8_G16 has them: what they stand for, and 128. */
INLINE struct cols bytes_of(enum vgpu_wformat source, const uint8_t *block, size_t row_bytes)
{
	const __m512i zero = _mm512_set1_epi8(source == VGPU_W_Q8_0 ? -128 :
					      source == VGPU_W_Q4_0 ? 120 : 112);
	struct cols x;

	if (source == VGPU_W_Q8_0) {
		x.first = vgpu_lanes_load4(block + 2, row_bytes);
		x.last = vgpu_lanes_load4(block + 18, row_bytes);
	} else {
		x = low_of(source, block, row_bytes, 0);
	}
	if (source == VGPU_W_Q5_0) {
		const __m512i fifth = _mm512_set1_epi8(16);

		x.first = _mm512_mask_add_epi8(x.first, fifth_of4(block + 2, row_bytes, 0), x.first,
					       fifth);
		x.last = _mm512_mask_add_epi8(x.last, fifth_of4(block + 2, row_bytes, 16), x.last,
					      fifth);
	}
	return (struct cols){ _mm512_add_epi8(x.first, zero), _mm512_add_epi8(x.last, zero) };
}

/* 16 rows of blocks of 32; the source is a constant at every call. */
INLINE int pack_bytes(uint8_t *dst, const uint8_t *src, enum vgpu_wformat source,
		      size_t block_bytes, uint32_t blocks)
{
	size_t row_bytes = blocks * block_bytes;

	if (!is_finite16(VGPU_HEADER_F16, src, block_bytes, blocks * 16))
		return -EDOM;
	/* Scales of blocks that the last tile lacks. */
	if (blocks % VGPU_G16_TILE_BLOCKS)
		memset(dst + vgpu_int8_g16_scale(blocks / 4 * 4), 0, VGPU_INT8_TILE_SCALES);
	for (uint32_t b = 0; b < blocks; b++, src += block_bytes) {
		uint8_t *codes = dst + vgpu_int8_g16_codes(b);
		__m512i first[4], last[4], scales[4];

		for (uint32_t i = 0; i < VGPU_INT8_BLOCK_CODES; i += 64)
			vgpu_lanes_claim(codes + i);
		words16(scales, src, row_bytes);
		_mm256_store_si256((__m256i *)(dst + vgpu_int8_g16_scale(b)),
				   _mm512_cvtepi32_epi16(scales[0]));
		for (uint32_t q = 0; q < 4; q++) {
			struct cols x = bytes_of(source, src + 4 * q * row_bytes, row_bytes);

			first[q] = x.first;
			last[q] = x.last;
		}
		vgpu_lanes_store16(codes, first);
		vgpu_lanes_store16(codes + 256, last);
	}
	return 0;
}

int vgpu_pack_codes_avx512(void *dst, const void *src, enum vgpu_wformat src_format,
			   uint32_t rows, uint32_t k)
{
	uint32_t blocks = k / VGPU_BLOCK;

	if (rows == VGPU_GROUP_ROWS && k % VGPU_BLOCK == 0) {
		if (src_format == VGPU_W_Q8_0)
			return pack_bytes(dst, src, VGPU_W_Q8_0, 34, blocks);
		if (src_format == VGPU_W_Q4_0)
			return pack_bytes(dst, src, VGPU_W_Q4_0, 18, blocks);
		if (src_format == VGPU_W_Q5_0)
			return pack_bytes(dst, src, VGPU_W_Q5_0, 22, blocks);
	}
	return vgpu_pack_codes_ref(dst, src, src_format, rows, k);
}

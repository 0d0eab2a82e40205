// SPDX-License-Identifier: MIT
/*
 * Blocks of GGUF into the packed formats of pack/g16_type.h: 32 codes of each of 8 rows at a time, rows
 * r and r + 4 the halves of a vector, as avx512/regroup_g16.c does it for 16; fewer than 16 rows go one
 * by one, through memory.
 */
#include <immintrin.h>

#include "kernels/avx2/lanes.h"
#include "kernels/avx2/regroup.h"
#include "kernels/pack/g16_blocks.h"
#include "kernels/pack/g16_rows.h"

#define INLINE static inline __attribute__((always_inline))

/* --- one row --- */

/* The four words or'ed, in the lowest. */
static inline __m128i words_or(__m128i x)
{
	x = _mm_or_si128(x, _mm_shuffle_epi32(x, 0x4e));
	return _mm_or_si128(x, _mm_shuffle_epi32(x, 0xb1));
}

static inline void word_store(uint8_t *dst, __m128i x)
{
	int32_t word = _mm_cvtsi128_si32(x);

	memcpy(dst, &word, sizeof(word));
}

/* Word t of codes is step t, four columns a byte each; see g16_type.h for the order. */
static inline __attribute__((always_inline)) void put_codes(uint8_t *lane, uint32_t bits,
							    const uint8_t codes[32])
{
	const __m128i nibble = _mm_set1_epi8(15);
	__m128i a = _mm_loadu_si128((const __m128i *)codes);
	__m128i b = _mm_loadu_si128((const __m128i *)(codes + 16));
	uint8_t *high = lane + VGPU_MXFP4_BLOCK_CODES;

	vgpu_lanes_store(lane, vgpu_lanes_of_codes(_mm_and_si128(a, nibble),
						   _mm_and_si128(b, nibble)));
	if (bits == 4)
		return;
	a = _mm_and_si128(_mm_srli_epi16(a, 4), nibble);
	b = _mm_and_si128(_mm_srli_epi16(b, 4), nibble);
	if (bits == 5) {
		a = _mm_sllv_epi32(a, _mm_setr_epi32(0, 1, 2, 3));
		b = _mm_sllv_epi32(b, _mm_setr_epi32(4, 5, 6, 7));
		word_store(high, words_or(_mm_or_si128(a, b)));
		return;
	}
	word_store(high, words_or(_mm_sllv_epi32(a, _mm_setr_epi32(0, 2, 4, 6))));
	word_store(high + 64, words_or(_mm_sllv_epi32(b, _mm_setr_epi32(0, 2, 4, 6))));
}

/* --- 8 rows --- */

/* Bytes of two rows that belong to columns 0 .. 15 and to columns 16 .. 31. */
struct cols {
	__m256i first, last;
};

/* 16 bytes of a row, and of the fourth after it. */
INLINE __m256i load2(const uint8_t *p, size_t row_bytes)
{
	return _mm256_inserti128_si256(
		_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
		_mm_loadu_si128((const __m128i *)(p + 4 * row_bytes)), 1);
}

/* Word u of row r of 8 becomes word r of line u. */
INLINE void turn8(__m256i line[4], const __m256i x[4])
{
	__m256i a = _mm256_unpacklo_epi32(x[0], x[1]), b = _mm256_unpackhi_epi32(x[0], x[1]);
	__m256i c = _mm256_unpacklo_epi32(x[2], x[3]), d = _mm256_unpackhi_epi32(x[2], x[3]);

	line[0] = _mm256_unpacklo_epi64(a, c);
	line[1] = _mm256_unpackhi_epi64(a, c);
	line[2] = _mm256_unpacklo_epi64(b, d);
	line[3] = _mm256_unpackhi_epi64(b, d);
}

INLINE void store8(uint8_t *lane, const __m256i line)
{
	_mm256_store_si256((__m256i *)lane, line);
}

/* Some bits of every byte, from bit shift on. */
INLINE __m256i bits_of(__m256i x, uint32_t shift, int mask)
{
	return _mm256_and_si256(shift ? _mm256_srli_epi16(x, (int)shift) : x,
				_mm256_set1_epi8((char)mask));
}

INLINE struct cols bits_of32(const uint8_t *bytes, size_t row_bytes, uint32_t shift, int mask)
{
	return (struct cols){ bits_of(load2(bytes, row_bytes), shift, mask),
			      bits_of(load2(bytes + 16, row_bytes), shift, mask) };
}

/* The low nibbles of 16 bytes, then the high ones. */
INLINE struct cols nibbles(const uint8_t *bytes, size_t row_bytes)
{
	__m256i x = load2(bytes, row_bytes);

	return (struct cols){ bits_of(x, 0, 15), bits_of(x, 4, 15) };
}

/* Of each 8 of 16 bytes the low nibbles, then the high ones. */
INLINE struct cols eights(const uint8_t *bytes, size_t row_bytes)
{
	struct cols x = nibbles(bytes, row_bytes);

	return (struct cols){ _mm256_unpacklo_epi64(x.first, x.last),
			      _mm256_unpackhi_epi64(x.first, x.last) };
}

/* Low four bits of codes 32 i ..; vgpu_codes_of_block() says what lies where. */
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

INLINE void put_low(uint8_t *lane, enum vgpu_wformat source, const uint8_t *src, size_t row_bytes,
		    uint32_t i)
{
	__m256i x[4], line[4];

	for (uint32_t r = 0; r < 4; r++) {
		struct cols c = low_of(source, src + r * row_bytes, row_bytes, i);
		__m256 a = _mm256_castsi256_ps(c.first), b = _mm256_castsi256_ps(c.last);
		__m256i even = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
		__m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));

		x[r] = _mm256_or_si256(even, _mm256_slli_epi16(odd, 4));
	}
	turn8(line, x);
	for (uint32_t u = 0; u < 4; u++)
		store8(lane + 64 * u, line[u]);
}

/* The four words of every row or'ed. */
INLINE void store_or(uint8_t *lane, const __m256i x[4])
{
	__m256i line[4];

	turn8(line, x);
	store8(lane, _mm256_or_si256(_mm256_or_si256(line[0], line[1]),
				     _mm256_or_si256(line[2], line[3])));
}

/* Word t of a row's codes is step t. */
INLINE void put_high(uint8_t *lane, enum vgpu_wformat source, const uint8_t *src, size_t row_bytes,
		     uint32_t i)
{
	bool five = source == VGPU_W_Q5_K;
	const __m256i at = _mm256_broadcastsi128_si256(five ? _mm_setr_epi32(0, 1, 2, 3) :
							      _mm_setr_epi32(0, 2, 4, 6));
	const __m256i after = five ? _mm256_add_epi32(at, _mm256_set1_epi32(4)) : at;
	__m256i first[4], last[4];

	for (uint32_t r = 0; r < 4; r++) {
		struct cols c = high_of(source, src + r * row_bytes, row_bytes, i);

		first[r] = _mm256_sllv_epi32(c.first, at);
		last[r] = _mm256_sllv_epi32(c.last, after);
		if (five)
			first[r] = _mm256_or_si256(first[r], last[r]);
	}
	store_or(lane, first);
	if (!five)
		store_or(lane + 64, last);
}

/* Bits of @low change places with those @shift above. */
INLINE __m256i swap_bits(__m256i x, int low, int shift)
{
	__m256i other = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi32(x, shift), x),
					 _mm256_set1_epi32(low));

	return _mm256_xor_si256(x, _mm256_xor_si256(other, _mm256_slli_epi32(other, shift)));
}

/* Bit 4 t + i of a row becomes bit t of byte i; turn_fifth() of avx512/regroup_g16.c. */
INLINE __m256i turn_fifth(__m256i x)
{
	x = swap_bits(x, 0x0000cccc, 14);
	x = swap_bits(x, 0x00aa00aa, 7);
	x = swap_bits(x, 0x0c0c0c0c, 2);
	return swap_bits(x, 0x22222222, 1);
}

/* The lower half of each word. */
INLINE __m128i halves(__m256i x)
{
	x = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
	return _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}

/*
 * Scales, and fifth bits that lie beside them, of rows from @row on; vgpu_header_of_block() says what
 * lies where.
 */
INLINE void put_header(const struct vgpu_g16_type *type, uint8_t *tile, uint32_t first,
		       uint32_t row, uint8_t *high, const uint8_t *src, size_t row_bytes)
{
	bool fifth = type->source == VGPU_W_Q5_0 || type->source == VGPU_W_Q5_1;
	__m256i x[4], line[4];

	for (uint32_t r = 0; r < 4; r++)
		x[r] = load2(src + (type->header == VGPU_HEADER_S8 ? 192 : 0) + r * row_bytes, row_bytes);
	turn8(line, x);
	if (type->header == VGPU_HEADER_F16)
		_mm_store_si128((__m128i *)(tile + first + 2 * row), halves(line[0]));
	else
		store8(tile + (type->header == VGPU_HEADER_PAIR ? 2 * first : 0) + 4 * row, line[0]);
	for (uint32_t l = 1; l < 4; l++)
		if (type->header == VGPU_HEADER_K6 || type->header == VGPU_HEADER_S8)
			store8(tile + 64 * l + 4 * row, line[l]);
	if (type->source == VGPU_W_Q5_0)	/* bytes 2 .. 5 */
		line[1] = _mm256_or_si256(_mm256_srli_epi32(line[0], 16),
					  _mm256_slli_epi32(line[1], 16));
	if (fifth)
		store8(high, turn_fifth(line[1]));
	for (uint32_t r = 0; r < 8 && type->header == VGPU_HEADER_S8; r++) {
		memcpy(tile + 256 + 2 * (row + r), src + r * row_bytes + 208, 2);
		memset(tile + 288 + 2 * (row + r), 0, 2);
	}
}

/* 16 rows; the type is a constant at every call; step: of its blocks, in ours. */
INLINE void regroup(const struct vgpu_g16_type *type, uint8_t *dst, const uint8_t *src,
		    uint32_t step, size_t block_bytes, uint32_t k)
{
	size_t row_bytes = k / VGPU_BLOCK / step * block_bytes;
	uint32_t blocks = k / VGPU_BLOCK;

	/* Scales of blocks that the last tile lacks. */
	if (blocks % type->tile_blocks)
		memset(dst, 0, vgpu_g16_bytes(type, k));
	for (uint32_t b = 0; b < blocks; b += step, src += block_bytes)
		for (uint32_t row = 0; row < VGPU_GROUP_ROWS; row += 8) {
			uint8_t *lane = dst + vgpu_g16_block_at(type, b) + 4 * row;
			const uint8_t *from = src + row * row_bytes;

			put_header(type, dst + vgpu_g16_tile_at(type, b),
				   b % type->tile_blocks * VGPU_BLOCK, row,
				   lane + VGPU_MXFP4_BLOCK_CODES, from, row_bytes);
			for (uint32_t i = 0; i < step; i++, lane += vgpu_g16_block_bytes(type)) {
				put_low(lane, type->source, from, row_bytes, i);
				if (type->source == VGPU_W_Q5_K || type->source == VGPU_W_Q6_K)
					put_high(lane + VGPU_MXFP4_BLOCK_CODES, type->source, from,
						 row_bytes, i);
			}
		}
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

void vgpu_regroup_g16_avx2(const struct vgpu_g16_type *type, uint8_t *dst, const uint8_t *src,
			   uint32_t rows, uint32_t k)
{
#define CASE(name, step, bytes)							\
	case VGPU_W_##name: {							\
		static const struct vgpu_g16_type constant = VGPU_G16_##name;	\
										\
		regroup(&constant, dst, src, step, bytes, k);			\
		return;								\
	}
	switch (rows == VGPU_GROUP_ROWS ? type->source : 0) {
	CASES
	default:
		break;
	}
#undef CASE
	vgpu_g16_regroup(type, dst, src, vgpu_weight_unit_bytes(type->source, k), rows, k,
			 put_codes);
}

/* What vgpu_g16_check() says. */
static int check(const struct vgpu_g16_type *type, const uint8_t *src, uint32_t rows, uint32_t k)
{
#define CASE(name, step, bytes)							\
	case VGPU_W_##name: {							\
		static const struct vgpu_g16_type constant = VGPU_G16_##name;	\
										\
		return vgpu_g16_check(&constant, src, rows, k);			\
	}
	switch (type ? type->source : 0) {
	CASES
	default:
		return vgpu_g16_check(type, src, rows, k);
	}
#undef CASE
}

int vgpu_pack_blocks_avx2(void *dst, enum vgpu_wformat format, const void *src, uint32_t rows,
			  uint32_t k)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(format);
	int rc = check(type, src, rows, k);

	if (!rc)
		vgpu_regroup_g16_avx2(type, dst, src, rows, k);
	return rc;
}

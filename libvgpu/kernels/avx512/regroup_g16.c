// SPDX-License-Identifier: MIT
/*
 * Blocks of GGUF into the packed formats of pack/g16_type.h: 32 codes of each of 16 rows at a
 * time, which lie in L1 until they are whole lines.
 */
#include <immintrin.h>

#include "kernels/avx512/lanes.h"
#include "kernels/avx512/regroup.h"
#include "kernels/pack/g16_blocks.h"
#include "kernels/pack/g16_rows.h"

/* As avx2/regroup_g16.c does it for one row. */
static inline __attribute__((always_inline)) void put16(uint8_t *block, uint32_t bits,
							const uint8_t codes[16][32])
{
	const __m512i nibble = _mm512_set1_epi8(15);
	__m512i low[4], first[4], last[4];

	for (uint32_t i = 0; i < 4; i++) {
		__m512i a = _mm512_load_si512(codes[4 * i]);
		__m512i b = _mm512_load_si512(codes[4 * i + 2]);

		first[i] = _mm512_shuffle_i32x4(a, b, 0x88);
		last[i] = _mm512_shuffle_i32x4(a, b, 0xdd);
		low[i] = vgpu_lanes_of_codes4(_mm512_and_si512(first[i], nibble),
					      _mm512_and_si512(last[i], nibble));
		first[i] = _mm512_and_si512(_mm512_srli_epi16(first[i], 4), nibble);
		last[i] = _mm512_and_si512(_mm512_srli_epi16(last[i], 4), nibble);
	}
	vgpu_lanes_store16(block, low);
	if (bits == 4)
		return;
	for (uint32_t i = 0; i < 4; i++) {
		const __m128i at = bits == 5 ? _mm_setr_epi32(0, 1, 2, 3) :
					       _mm_setr_epi32(0, 2, 4, 6);
		const __m128i after = bits == 5 ? _mm_setr_epi32(4, 5, 6, 7) : at;

		first[i] = _mm512_sllv_epi32(first[i], _mm512_broadcast_i32x4(at));
		last[i] = _mm512_sllv_epi32(last[i], _mm512_broadcast_i32x4(after));
		if (bits == 5)
			first[i] = _mm512_or_si512(first[i], last[i]);
	}
	vgpu_lanes_store_or(block + VGPU_MXFP4_BLOCK_CODES, first);
	if (bits == 6)
		vgpu_lanes_store_or(block + VGPU_MXFP4_BLOCK_CODES + 64, last);
}

static inline __m256i load32(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}

/* Some bits of every byte, from bit shift on. */
static inline __m256i bits_of(__m256i x, uint32_t shift, int mask)
{
	return _mm256_and_si256(_mm256_srl_epi16(x, _mm_cvtsi32_si128((int)shift)),
				_mm256_set1_epi8((char)mask));
}

/* The low nibbles of 16 bytes, then the high ones; fifth: bit j is the fifth of code j. */
static inline __m256i nibbles(const uint8_t *bytes, uint32_t fifth)
{
	__m128i x = _mm_loadu_si128((const __m128i *)bytes);
	__m256i both = _mm256_set_m128i(_mm_srli_epi16(x, 4), x);

	return _mm256_or_si256(bits_of(both, 0, 15), _mm256_maskz_set1_epi8(fifth, 16));
}

static inline uint32_t u32_at(const uint8_t *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

/* vgpu_codes_of_block(), which says what lies where, in vectors. */
static inline __attribute__((always_inline)) __m256i codes_of(enum vgpu_wformat source,
							      const uint8_t *block, uint32_t i)
{
	__m256i low, high;

	switch (source) {
	case VGPU_W_Q4_0:
		return nibbles(block + 2, 0);
	case VGPU_W_Q4_1:
		return nibbles(block + 4, 0);
	case VGPU_W_Q5_0:
		return nibbles(block + 6, u32_at(block + 2));
	case VGPU_W_Q5_1:
		return nibbles(block + 8, u32_at(block + 4));
	case VGPU_W_NVFP4:
		return _mm256_permute4x64_epi64(nibbles(block + 4 + 16 * i, 0), 0xd8);
	case VGPU_W_Q4_K:
		return bits_of(load32(block + 16 + i / 2 * 32), i % 2 * 4, 15);
	case VGPU_W_Q5_K:
		low = bits_of(load32(block + 48 + i / 2 * 32), i % 2 * 4, 15);
		high = bits_of(load32(block + 16), i, 1);
		break;
	default:		/* Q6_K */
		low = bits_of(load32(block + i / 4 * 64 + i % 2 * 32), i % 4 / 2 * 4, 15);
		high = bits_of(load32(block + 128 + i / 4 * 32), i % 4 * 2, 3);
		break;
	}
	return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
}

/* The type is a constant at every call; step: of its blocks, in ours. */
static inline __attribute__((always_inline)) void
regroup(const struct vgpu_g16_type *type, uint8_t *dst, const uint8_t *src, uint32_t step,
	size_t block_bytes, uint32_t k)
{
	size_t row_bytes = k / VGPU_BLOCK / step * block_bytes;
	uint8_t codes[16][32] __attribute__((aligned(64)));
	uint32_t blocks = k / VGPU_BLOCK;

	if (blocks % type->tile_blocks || type->header == VGPU_HEADER_S8)
		memset(dst, 0, vgpu_g16_bytes(type, k));
	for (uint32_t b = 0; b < blocks; b += step, src += block_bytes) {
		uint32_t first = b % type->tile_blocks * VGPU_BLOCK;
		uint8_t *tile = dst + vgpu_g16_tile_at(type, b);
		uint8_t *block = dst + vgpu_g16_block_at(type, b);

		for (uint32_t r = 0; r < 16; r++) {
			const uint8_t *at = src + r * row_bytes;

			vgpu_header_of_block(type, tile, r, first, at);
			/* The next 16 rows lie behind these; see avx512/regroup.c. */
			for (size_t i = 0; i < block_bytes; i += 64)
				_mm_prefetch((const char *)at + 16 * row_bytes + i, _MM_HINT_T1);
		}
		for (uint32_t i = 0; i < step; i++) {
			for (uint32_t r = 0; r < 16; r++)
				_mm256_store_si256((__m256i *)codes[r],
						   codes_of(type->source, src + r * row_bytes, i));
			put16(block + i * vgpu_g16_block_bytes(type), type->bits, codes);
		}
	}
}

#define CASE(name, step, bytes)							\
	case VGPU_W_##name: {							\
		static const struct vgpu_g16_type constant = VGPU_G16_##name;	\
										\
		regroup(&constant, dst, src, step, bytes, k);			\
		break;								\
	}

void vgpu_regroup_g16_avx512(const struct vgpu_g16_type *type, uint8_t *dst, const uint8_t *src,
			     uint32_t k)
{
	switch (type->source) {
	CASE(Q4_0, 1, 18)
	CASE(Q4_1, 1, 20)
	CASE(Q5_0, 1, 22)
	CASE(Q5_1, 1, 24)
	CASE(Q4_K, 8, 144)
	CASE(Q5_K, 8, 176)
	CASE(Q6_K, 8, 210)
	CASE(NVFP4, 2, 36)
	default:
		vgpu_regroup_g16_avx2(type, dst, src, VGPU_GROUP_ROWS, k);
		break;
	}
}

int vgpu_pack_blocks_avx512(void *dst, enum vgpu_wformat format, const void *src, uint32_t rows,
			    uint32_t k)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(format);
	int rc = vgpu_g16_check(type, src, rows, k);

	if (rc)
		return rc;
	if (rows == VGPU_GROUP_ROWS)
		vgpu_regroup_g16_avx512(type, dst, src, k);
	else
		vgpu_regroup_g16_avx2(type, dst, src, rows, k);
	return 0;
}

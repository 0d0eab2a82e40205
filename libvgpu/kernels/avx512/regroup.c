// SPDX-License-Identifier: MIT
/*
 * Row-major blocks into the packed layout: 16 bytes of each of 16 rows are four
 * vectors of four rows, and a transpose of words makes four lines of them.
 */
#include <immintrin.h>
#include <string.h>
#include "kernels/avx2/lanes.h"
#include "kernels/avx512/lanes.h"
#include "kernels/avx512/regroup.h"
#include "kernels/pack/g16.h"
#include "kernels/pack/mxfp4_rows.h"

static inline void mxfp4_block(uint8_t *codes, const uint8_t *src, size_t row_bytes, bool split)
{
	const __m512i nibble = _mm512_set1_epi8(15);
	__m512i words[4];

	for (uint32_t i = 0; i < 4; i++) {
		__m512i x = vgpu_lanes_load4(src + 4 * i * row_bytes, row_bytes);
		__m512i low = _mm512_and_si512(x, nibble);
		__m512i high = _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble);

		words[i] = split ? vgpu_lanes_of_codes4(_mm512_unpacklo_epi8(low, high),
						  _mm512_unpackhi_epi8(low, high)) :
				   vgpu_lanes_of_codes4(low, high);
	}
	vgpu_lanes_store16(codes, words);
}

static inline void q8_0_block(uint8_t *codes, const uint8_t *src, size_t row_bytes)
{
	const __m512i zero = _mm512_set1_epi8((char)VGPU_INT8_ZERO);
	__m512i words[4];

	for (uint32_t half = 0; half < 2; half++) {
		for (uint32_t i = 0; i < 4; i++)
			words[i] = _mm512_xor_si512(zero, vgpu_lanes_load4(src + 4 * i * row_bytes + 16 * half,
								row_bytes));
		vgpu_lanes_store16(codes + 256 * half, words);
	}
}

static void regroup_mxfp4(uint8_t *dst, const uint8_t *data, size_t row_bytes, uint32_t blocks)
{
	const uint8_t *rows = data;

	for (uint32_t b = 0; b < blocks; b++, data += 17) {
		uint8_t *scale = dst + vgpu_mxfp4_g16_scale(b);

		vgpu_lanes_prefetch(rows, row_bytes, b, 17);
		for (uint32_t r = 0; r < VGPU_GROUP_ROWS; r++)
			scale[4 * r] = data[r * row_bytes];
		mxfp4_block(dst + vgpu_mxfp4_g16_codes(b), data + 1, row_bytes, false);
	}
}

static void regroup_split(uint8_t *dst, const uint8_t *data, const uint8_t *scales,
			  size_t row_bytes, uint32_t blocks)
{
	const uint8_t *rows = data;

	for (uint32_t b = 0; b < blocks; b++, data += 16) {
		uint8_t *scale = dst + vgpu_mxfp4_g16_scale(b);

		vgpu_lanes_prefetch(rows, row_bytes, b, 16);
		for (uint32_t r = 0; r < VGPU_GROUP_ROWS; r++)
			scale[4 * r] = scales[(size_t)r * blocks + b];
		mxfp4_block(dst + vgpu_mxfp4_g16_codes(b), data, row_bytes, true);
	}
}

static void regroup_q8_0(uint8_t *dst, const uint8_t *data, size_t row_bytes, uint32_t blocks)
{
	const uint8_t *rows = data;

	for (uint32_t b = 0; b < blocks; b++, data += 34) {
		uint8_t *scale = dst + vgpu_int8_g16_scale(b);

		vgpu_lanes_prefetch(rows, row_bytes, b, 34);
		for (uint32_t r = 0; r < VGPU_GROUP_ROWS; r++)
			memcpy(scale + 2 * r, data + r * row_bytes, 2);
		q8_0_block(dst + vgpu_int8_g16_codes(b), data + 2, row_bytes);
	}
}

void vgpu_regroup_avx512(uint8_t *dst, const struct vgpu_panel *w, uint32_t first,
			 uint32_t rows)
{
	size_t row_bytes = vgpu_weight_unit_bytes(w->format, w->k);
	const uint8_t *data = (const uint8_t *)w->data + first * row_bytes;
	uint32_t blocks = w->k / VGPU_BLOCK;

	if (rows < VGPU_GROUP_ROWS) {
		vgpu_regroup_avx2(dst, w, first, rows);
		return;
	}
	if (vgpu_g16_of_source(w->format)) {
		vgpu_regroup_g16_avx512(vgpu_g16_of_source(w->format), dst, data, w->k);
		return;
	}
	/* Scales of the blocks that the last tile lacks. */
	if (blocks % VGPU_G16_TILE_BLOCKS) {
		uint32_t tile = blocks / VGPU_G16_TILE_BLOCKS * VGPU_G16_TILE_BLOCKS;

		if (w->format == VGPU_W_Q8_0)
			memset(dst + vgpu_int8_g16_scale(tile), 0, VGPU_INT8_TILE_SCALES);
		else
			memset(dst + vgpu_mxfp4_g16_scale(tile), 0, VGPU_MXFP4_TILE_SCALES);
	}
	if (w->format == VGPU_W_MXFP4)
		regroup_mxfp4(dst, data, row_bytes, blocks);
	else if (w->format == VGPU_W_Q8_0)
		regroup_q8_0(dst, data, row_bytes, blocks);
	else
		regroup_split(dst, data, w->scales + (size_t)first * blocks, row_bytes, blocks);
}

/* Bit r: no code of row r is 4 or 6, of which the scale would be the one that it asks for. */
static inline uint32_t rows_to_settle(const struct vgpu_mxfp4_rows *src, uint32_t b)
{
	const __m512i upper = _mm512_set1_epi8(0x44);
	uint32_t rows = 0;

	for (uint32_t i = 0; i < 4; i++) {
		__m512i x = vgpu_lanes_load4(vgpu_mxfp4_rows_codes(src, 4 * i, b), src->row_bytes);
		uint32_t words = _mm512_test_epi32_mask(_mm512_and_si512(x, upper),
							_mm512_slli_epi16(x, 1));

		words |= words >> 1;
		words |= words >> 2;
		rows |= (~words & 0x1111u) << i;
	}
	return rows;	/* bit 4 q + i: row 4 i + q */
}

static void settle_row(uint8_t *codes, uint8_t *scale, uint32_t row)
{
	uint8_t code[16];

	for (uint32_t u = 0; u < 4; u++)
		memcpy(code + 4 * u, codes + 64 * u + 4 * row, 4);
	scale[4 * row] = vgpu_lanes_settle(code, scale[4 * row]);
	for (uint32_t u = 0; u < 4; u++)
		memcpy(codes + 64 * u + 4 * row, code + 4 * u, 4);
}

static inline __attribute__((always_inline)) void
pack_rows(uint8_t *dst, const struct vgpu_mxfp4_rows *src, uint32_t blocks, bool split)
{
	for (uint32_t b = 0; b < blocks; b++) {
		uint8_t *codes = dst + vgpu_mxfp4_g16_codes(b), *scale = dst + vgpu_mxfp4_g16_scale(b);
		uint32_t left = rows_to_settle(src, b);

		for (uint32_t i = 0; i < VGPU_MXFP4_BLOCK_CODES; i += 64)
			vgpu_lanes_claim(codes + i);
		for (uint32_t r = 0; r < VGPU_GROUP_ROWS; r++)
			scale[4 * r] = *vgpu_mxfp4_rows_scale(src, r, b);
		mxfp4_block(codes, vgpu_mxfp4_rows_codes(src, 0, b), src->row_bytes, split);
		for (; left; left &= left - 1) {
			uint32_t bit = (uint32_t)__builtin_ctz(left);

			settle_row(codes, scale, bit % 4 * 4 + bit / 4);
		}
	}
}

int vgpu_pack_mxfp4_rows_avx512(void *dst, const struct vgpu_mxfp4_rows *src)
{
	uint32_t blocks = src->k / VGPU_BLOCK, last = blocks / VGPU_G16_TILE_BLOCKS;

	if (src->rows < VGPU_GROUP_ROWS || !vgpu_mxfp4_rows_are_small(src))
		return vgpu_pack_mxfp4_rows_avx2(dst, src);
	/* Scales of the blocks that the last tile lacks. */
	if (blocks % VGPU_G16_TILE_BLOCKS)
		memset((uint8_t *)dst + vgpu_mxfp4_g16_scale(last * VGPU_G16_TILE_BLOCKS), 0,
		       VGPU_MXFP4_TILE_SCALES);
	if (src->scales)
		pack_rows(dst, src, blocks, true);
	else
		pack_rows(dst, src, blocks, false);
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * Row-major blocks into the packed layout: 16 bytes of each of 16 rows are four
 * vectors of four rows, and a transpose of words makes four lines of them.
 */
#include <immintrin.h>
#include <string.h>
#include "kernels/avx512/lanes.h"
#include "kernels/avx512/regroup.h"
#include "kernels/pack/g16.h"

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

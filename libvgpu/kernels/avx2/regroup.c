// SPDX-License-Identifier: MIT
/*
 * Row-major blocks into the packed layout, so that one set of products serves both.
 */
#include <immintrin.h>
#include <string.h>
#include "kernels/avx2/lanes.h"
#include "kernels/avx2/regroup.h"
#include "kernels/pack/g16.h"
#include "kernels/pack/mxfp4_rows.h"
#include "kernels/ref/pack.h"

static void mxfp4_block(uint8_t *group, uint32_t row, uint32_t b, const uint8_t *block)
{
	const __m128i nibble = _mm_set1_epi8(15);
	__m128i x = _mm_loadu_si128((const __m128i *)(block + 1));
	__m128i low = _mm_and_si128(x, nibble);
	__m128i high = _mm_and_si128(_mm_srli_epi16(x, 4), nibble);

	group[vgpu_mxfp4_g16_scale(b) + 4 * row] = block[0];
	vgpu_lanes_store(group + vgpu_mxfp4_g16_codes(b) + 4 * row, vgpu_lanes_of_codes(low, high));
}

static void mxfp4_split_block(uint8_t *group, uint32_t row, uint32_t b, const uint8_t *codes,
			      uint8_t scale)
{
	const __m128i nibble = _mm_set1_epi8(15);
	__m128i x = _mm_loadu_si128((const __m128i *)codes);
	__m128i even = _mm_and_si128(x, nibble);
	__m128i odd = _mm_and_si128(_mm_srli_epi16(x, 4), nibble);

	group[vgpu_mxfp4_g16_scale(b) + 4 * row] = scale;
	vgpu_lanes_store(group + vgpu_mxfp4_g16_codes(b) + 4 * row,
			 vgpu_lanes_of_codes(_mm_unpacklo_epi8(even, odd),
					     _mm_unpackhi_epi8(even, odd)));
}

static void q8_0_block(uint8_t *group, uint32_t row, uint32_t b, const uint8_t *block)
{
	const __m128i zero = _mm_set1_epi8((char)VGPU_INT8_ZERO);
	uint8_t *codes = group + vgpu_int8_g16_codes(b) + 4 * row;
	__m128i first = _mm_loadu_si128((const __m128i *)(block + 2));
	__m128i last = _mm_loadu_si128((const __m128i *)(block + 18));

	memcpy(group + vgpu_int8_g16_scale(b) + 2 * row, block, 2);
	vgpu_lanes_store(codes, _mm_xor_si128(first, zero));
	vgpu_lanes_store(codes + 256, _mm_xor_si128(last, zero));
}

/* All rows of a block before the next one: its lines are written 16 times, in L1. */
void vgpu_regroup_avx2(uint8_t *dst, const struct vgpu_panel *w, uint32_t first,
		       uint32_t rows)
{
	size_t row_bytes = vgpu_weight_unit_bytes(w->format, w->k);
	const uint8_t *data = (const uint8_t *)w->data + first * row_bytes;
	uint32_t blocks = w->k / VGPU_BLOCK;

	if (vgpu_g16_of_source(w->format)) {
		vgpu_regroup_g16_avx2(vgpu_g16_of_source(w->format), dst, data, rows, w->k);
		return;
	}
	/* Scales of what is not there: zero times any code is zero. */
	if (rows < VGPU_GROUP_ROWS || blocks % VGPU_G16_TILE_BLOCKS)
		memset(dst, 0, vgpu_weight_unit_bytes(vgpu_regroup_format(w->format), w->k));

	for (uint32_t b = 0; b < blocks; b++) {
		for (uint32_t r = 0; r < rows; r++) {
			const uint8_t *row = data + r * row_bytes;

			if (w->format == VGPU_W_MXFP4)
				mxfp4_block(dst, r, b, row + (size_t)b * 17);
			else if (w->format == VGPU_W_Q8_0)
				q8_0_block(dst, r, b, row + (size_t)b * 34);
			else
				mxfp4_split_block(dst, r, b, row + (size_t)b * 16,
						  w->scales[(size_t)(first + r) * blocks + b]);
		}
	}
}

/* Is a code 4 or 6?  Then the scale is the one that it asks for. */
static inline bool has_large(const uint8_t codes[16])
{
	__m128i x = _mm_loadu_si128((const __m128i *)codes);

	return !_mm_testz_si128(_mm_and_si128(x, _mm_slli_epi16(x, 1)), _mm_set1_epi8(0x44));
}

/* A block of 17 bytes as settled as packing would have it. */
static void settled_block(const struct vgpu_mxfp4_rows *src, uint32_t row, uint32_t b,
			  uint8_t block[17])
{
	block[0] = *vgpu_mxfp4_rows_scale(src, row, b);
	memcpy(block + 1, vgpu_mxfp4_rows_codes(src, row, b), 16);
	if (!has_large(block + 1))
		block[0] = vgpu_lanes_settle(block + 1, block[0]);
}

int vgpu_pack_mxfp4_rows_avx2(void *dst, const struct vgpu_mxfp4_rows *src)
{
	uint8_t block[17];

	if (!vgpu_mxfp4_rows_are_small(src))
		return vgpu_pack_mxfp4_rows_ref(dst, src);
	memset(dst, 0, vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, src->k));
	for (uint32_t b = 0; b < src->k / VGPU_BLOCK; b++) {
		for (uint32_t row = 0; row < src->rows; row++) {
			settled_block(src, row, b, block);
			if (src->scales)
				mxfp4_split_block(dst, row, b, block + 1, block[0]);
			else
				mxfp4_block(dst, row, b, block);
		}
	}
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * Weights of every format into lines of BF16.
 */
#include "kernels/amx/lines.h"

#include "kernels/amx/lines_block.h"
#include "kernels/amx/tiles.h"

/* Rows of a block whose codes are not all zeros of either sign. */
static __mmask16 mxfp4_rows_not_zero(const uint8_t *codes)
{
	__m512i any = _mm512_setzero_si512();

	for (uint32_t u = 0; u < 4; u++)
		any = _mm512_or_si512(any, _mm512_load_si512(codes + u * 64));
	return _mm512_test_epi32_mask(any, _mm512_set1_epi32(0x77777777));
}

static bool mxfp4_block_plain(const struct vgpu_group *g, uint32_t block)
{
	__m512i e = mxfp4_exponents(g, block);
	__mmask16 low = _mm512_cmplt_epu32_mask(e, _mm512_set1_epi32(2));
	__mmask16 high = _mm512_cmpgt_epu32_mask(e, _mm512_set1_epi32(MXFP4_E_MAX));

	return !high && !(low & mxfp4_rows_not_zero(g->data + vgpu_mxfp4_g16_codes(block)));
}

/* Most tiles are told from their line of scales alone: all of 2 .. 252. */
static bool mxfp4_plain(const struct vgpu_group *g)
{
	uint32_t blocks = vgpu_k_blocks(g->k);

	for (uint32_t b = 0; b < blocks; b++) {
		__m512i line = _mm512_load_si512(g->data + (size_t)(b / 4) * VGPU_MXFP4_TILE);
		__m512i less = _mm512_sub_epi8(line, _mm512_set1_epi8(2));

		if (b % 4 == 0 && b + 4 <= blocks &&
		    !_mm512_cmpgt_epu8_mask(less, _mm512_set1_epi8((char)(MXFP4_E_MAX - 2))))
			b += 3;
		else if (!mxfp4_block_plain(g, b))
			return false;
	}
	return true;
}

bool vgpu_lines_can_be_plain(enum vgpu_wformat format)
{
	return format == VGPU_W_BF16 || format == VGPU_W_MXFP4_G16;
}

bool vgpu_lines_plain(const struct vgpu_group *g)
{
	return g->format == VGPU_W_BF16 || (g->format == VGPU_W_MXFP4_G16 && mxfp4_plain(g));
}

void vgpu_lines_fill(uint8_t *lines, const struct vgpu_group *g, uint32_t first, uint32_t blocks)
{
	const struct vgpu_g16_table table = mxfp4_plain_table();

	if (g->format == VGPU_W_BF16) {
		vgpu_slab_fill_bf16_avx512(lines, g, first * VGPU_BLOCK, blocks);
		return;
	}
	for (uint32_t b = 0; b < blocks; b++)
		lines_mxfp4_plain(lines + b * VGPU_TILE_BYTES, NULL, g, first + b, &table);
}

void vgpu_lines_fill_scaled(uint8_t *lines, float *scale, const struct vgpu_group *g,
			    uint32_t first, uint32_t blocks)
{
	struct vgpu_slab unused;

	vgpu_slab_fill_avx512(&unused, lines, scale, g, VGPU_MODE_A16, first * VGPU_BLOCK, blocks);
}

// SPDX-License-Identifier: MIT
/*
 * Weights of every format into lines of BF16.
 */
#include "kernels/amx/lines.h"

#include "kernels/amx/tiles.h"

/*
 * Twice a code's value times 2^(e - 128) is a normal BF16 for the exponents 2 .. 252.  The
 * table has them for 252, and what is subtracted for a smaller one stops at 0, which is
 * where both zeros begin and stay; so they do for the exponent 0 of a block of zeros.
 */
#define E_MAX	252

/* The hardware prefetcher stops at 4 KiB; with small pages it needs a hint beyond. */
#define PREFETCH_BYTES	4096

static inline __m512i table_e_max(void)
{
	const __m512i up = _mm512_set1_epi16((E_MAX - 128) << 7);
	__m512i t = vgpu_mxfp4_table_bf16();

	return _mm512_maskz_add_epi16(_mm512_test_epi16_mask(t, _mm512_set1_epi16(0x7fff)), t, up);
}

static inline void mxfp4_block(uint8_t *lines, const uint8_t *codes, __m512i table, __m512i down)
{
	static const int shift[4] = { 0, 8, 4, 12 };

#pragma GCC unroll 16
	for (uint32_t s = 0; s < 16; s++) {
		__m512i code = _mm512_srl_epi16(_mm512_load_si512(codes + s / 4 * 64),
						_mm_cvtsi32_si128(shift[s % 4]));

		if (s % 4 == 0)
			_mm_prefetch((const char *)codes + s * 16 + PREFETCH_BYTES, _MM_HINT_T0);
		_mm512_store_si512(lines + s * 64,
				   _mm512_subs_epu16(_mm512_permutexvar_epi16(code, table), down));
	}
}

/* The scale bytes of block j of a tile, one row a lane. */
static inline __m512i mxfp4_exponents(const struct vgpu_group *g, uint32_t block)
{
	__m512i line = _mm512_load_si512(g->data + (size_t)(block / 4) * VGPU_MXFP4_TILE);

	return _mm512_and_si512(_mm512_srlv_epi32(line, _mm512_set1_epi32((int)(block % 4 * 8))),
				_mm512_set1_epi32(0xff));
}

static void fill_mxfp4(uint8_t *lines, const struct vgpu_group *g, uint32_t first, uint32_t blocks)
{
	const __m512i table = table_e_max();

	for (uint32_t b = 0; b < blocks; b++, lines += VGPU_TILE_BYTES) {
		__m512i down = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_set1_epi32(E_MAX),
						 mxfp4_exponents(g, first + b)), 7);

		mxfp4_block(lines, g->data + vgpu_mxfp4_g16_codes(first + b), table,
			    _mm512_or_si512(down, _mm512_slli_epi32(down, 16)));
	}
}

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
	__mmask16 high = _mm512_cmpgt_epu32_mask(e, _mm512_set1_epi32(E_MAX));

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
		    !_mm512_cmpgt_epu8_mask(less, _mm512_set1_epi8((char)(E_MAX - 2))))
			b += 3;
		else if (!mxfp4_block_plain(g, b))
			return false;
	}
	return true;
}

bool vgpu_lines_plain(const struct vgpu_group *g)
{
	return g->format == VGPU_W_BF16 || (g->format == VGPU_W_MXFP4_G16 && mxfp4_plain(g));
}

void vgpu_lines_fill(uint8_t *lines, const struct vgpu_group *g, uint32_t first, uint32_t blocks)
{
	if (g->format == VGPU_W_BF16)
		vgpu_slab_fill_bf16_avx512(lines, g, first * VGPU_BLOCK, blocks);
	else
		fill_mxfp4(lines, g, first, blocks);
}

void vgpu_lines_fill_scaled(uint8_t *lines, float *scale, const struct vgpu_group *g,
			    uint32_t first, uint32_t blocks)
{
	struct vgpu_slab unused;

	vgpu_slab_fill_avx512(&unused, lines, scale, g, VGPU_MODE_A16, first * VGPU_BLOCK, blocks);
}

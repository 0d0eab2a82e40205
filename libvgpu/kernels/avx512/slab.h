/* SPDX-License-Identifier: MIT */
/*
 * A slab: one group of 16 rows, a run of columns, in the form that the tile
 * products multiply.  One line of 64 bytes holds 16 rows of
 *
 *	F32	1 column, f32, the block's scale multiplied in
 *	A16	2 columns, bf16 (0 and 2, then 1 and 3, of every 4)
 *	A8	4 columns, u8, the code plus 128
 *
 * MXFP4 codes are doubled to be integers, and their scales halved.
 */
#ifndef VGPU_AVX512_SLAB_H
#define VGPU_AVX512_SLAB_H

#include <immintrin.h>
#include "kernels/kernels.h"
#include "kernels/pack/group.h"

/* Lines of a slab that lies in scratch, and columns they hold in a mode. */
#define VGPU_SLAB_LINES		256u
#define VGPU_SLAB_BLOCKS	32u

/**
 * struct vgpu_slab - where the product finds its operands
 * @lines: first line
 * @tile_bytes: from the first line of 128 columns to that of the next 128
 * @scale: A8, A16: f32 [blocks][vgpu_slab_scales()]; F32: not used
 * @kind: what beside the scale there is
 * @runs: codes have one scale in 256 columns, that of the first block (avx512/run8.h)
 */
struct vgpu_slab {
	const uint8_t *lines;
	size_t tile_bytes;
	const float *scale;
	enum vgpu_g16_kind kind;
	bool runs;
};

/* Memory of one slab, 64-byte aligned. */
struct vgpu_slab_memory {
	uint8_t lines[VGPU_SLAB_LINES * 64];
	float scale[VGPU_SLAB_BLOCKS * 32];
};

/* Columns that a slab in scratch holds. */
static inline uint32_t vgpu_slab_cols(enum vgpu_mode mode)
{
	return mode == VGPU_MODE_F32 ? VGPU_SLAB_LINES :
	       mode == VGPU_MODE_A16 ? VGPU_SLAB_LINES * 2 : VGPU_SLAB_LINES * 4;
}

/**
 * vgpu_slab_fill_avx512() - bring columns of a group into the form of a mode
 * @out: where the slab ended up: in @lines, or in the weight itself
 * @lines: room for blocks * 32 columns of the mode, 64-byte aligned
 * @scales: A16, A8: room for blocks * 32
 * @g: the group
 * @mode: as vgpu_matmul_mode() answers for the group's format
 * @first: first column, a multiple of 128
 * @blocks: blocks of 32 columns, at most vgpu_slab_cols() / 32
 */
void vgpu_slab_fill_avx512(struct vgpu_slab *out, uint8_t *lines, float *scales,
			   const struct vgpu_group *g, enum vgpu_mode mode, uint32_t first,
			   uint32_t blocks);

/* The lines of a group of BF16 rows in mode A16. */
void vgpu_slab_fill_bf16_avx512(uint8_t *lines, const struct vgpu_group *g, uint32_t first,
				uint32_t blocks);

/*
 * Half the scale of block j of an MXFP4_G16 tile, from its line of scales, one row a
 * lane.  Halving makes 2^(e - 128), which for e <= 1 is subnormal and has no exponent
 * to shift into place.
 */
static inline __m512 vgpu_mxfp4_half_scale(__m512i line, uint32_t j)
{
	__m512i e = _mm512_and_si512(_mm512_rorv_epi32(line, _mm512_set1_epi32((int)(8 * j))),
				     _mm512_set1_epi32(0xff));
	__m512i bits = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
	__mmask16 small = _mm512_cmplt_epu32_mask(e, _mm512_set1_epi32(2));
	__mmask16 nan = _mm512_cmpeq_epi32_mask(e, _mm512_set1_epi32(255));

	/* 2^-128 and 2^-127 are bits 21 and 22. */
	bits = _mm512_mask_sllv_epi32(bits, small, _mm512_set1_epi32(1 << 21), e);
	bits = _mm512_mask_mov_epi32(bits, nan, _mm512_set1_epi32(0x7fc00000));
	return _mm512_castsi512_ps(bits);
}

/* Whether a line of scales has none of the exponents 0, 1 and 255. */
static inline bool vgpu_mxfp4_scales_plain(__m512i line)
{
	__m512i less = _mm512_sub_epi8(line, _mm512_set1_epi8(2));

	return !_mm512_cmpgt_epu8_mask(less, _mm512_set1_epi8((char)252));
}

/* The same as vgpu_mxfp4_half_scale() for a plain line less 1 in every byte. */
static inline __m512 vgpu_mxfp4_half_scale_plain(__m512i less_one, uint32_t j)
{
	__m512i count = _mm512_set1_epi32((int)((23 - 8 * j) & 31));

	return _mm512_castsi512_ps(_mm512_and_si512(_mm512_rolv_epi32(less_one, count),
						    _mm512_set1_epi32(0x7f800000)));
}

/* Twice the value of every code, plus 128, for vpermb, which looks at 6 bits. */
static inline __m512i vgpu_mxfp4_table_u8(void)
{
	return _mm512_broadcast_i32x4(_mm_setr_epi8(
		(char)128, (char)129, (char)130, (char)131, (char)132, (char)134, (char)136,
		(char)140, (char)128, 127, 126, 125, 124, 122, 120, 116));
}

/* Twice the value of every code as bf16, for vpermw, which looks at 5 bits. */
static inline __m512i vgpu_mxfp4_table_bf16(void)
{
	return _mm512_broadcast_i64x4(_mm256_setr_epi16(
		0, 0x3f80, 0x4000, 0x4040, 0x4080, 0x40c0, 0x4100, 0x4140, (short)0x8000,
		(short)0xbf80, (short)0xc000, (short)0xc040, (short)0xc080, (short)0xc0c0,
		(short)0xc100, (short)0xc140));
}

#endif

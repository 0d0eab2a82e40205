/* SPDX-License-Identifier: MIT */
/*
 * A slab: one group of 16 rows, a run of columns, in the form that the tile products
 * multiply.  One line of 64 bytes holds 16 rows, two vectors, of
 *
 *	F32, A16	1 column, f32, the block's scale multiplied in
 *	A8		4 columns, s8
 *
 * In A8 MXFP4 codes are doubled to be integers, and their scales halved.
 */
#ifndef VGPU_AVX2_SLAB_H
#define VGPU_AVX2_SLAB_H

#include "kernels/kernels.h"
#include "kernels/pack/g16_type.h"

#define VGPU_SLAB_LINES_AVX2	256u
#define VGPU_SLAB_BLOCKS_AVX2	32u

/* Floats that a block of a slab has beside its lines: 16 scales, and 16 minima or second scales. */
static inline uint32_t vgpu_slab_scales(enum vgpu_g16_kind kind)
{
	return kind == VGPU_KIND_PLAIN ? VGPU_GROUP_ROWS : 2 * VGPU_GROUP_ROWS;
}

/* Memory of one slab, 64-byte aligned. */
struct vgpu_slab_avx2 {
	uint8_t lines[VGPU_SLAB_LINES_AVX2 * 64];
	float scale[VGPU_SLAB_BLOCKS_AVX2 * 2 * VGPU_GROUP_ROWS];	/* A8 */
	enum vgpu_g16_kind kind;
};

/**
 * struct vgpu_group_avx2 - one group of rows, where a slab is made from
 * @format: VGPU_W_F32, _F16, _BF16 (row-major) or a G16 format
 * @rows: rows that exist, 1 .. 16; the others are zero
 * @k: columns
 * @data: first row, or the group
 * @row_bytes: row-major formats: from row to row
 */
struct vgpu_group_avx2 {
	enum vgpu_wformat format;
	uint32_t rows, k;
	const uint8_t *data;
	size_t row_bytes;
};

/* Columns that a slab holds. */
static inline uint32_t vgpu_slab_cols_avx2(enum vgpu_mode mode)
{
	return mode == VGPU_MODE_A8 ? VGPU_SLAB_LINES_AVX2 * 4 : VGPU_SLAB_LINES_AVX2;
}

/**
 * vgpu_slab_fill_avx2() - bring columns of a group into the form of a mode
 * @out: the slab
 * @g: the group
 * @a8: integers and scales, rather than f32; packed formats only
 * @first: first column, a multiple of 128
 * @blocks: blocks of 32 columns, at most vgpu_slab_cols_avx2() / 32
 */
void vgpu_slab_fill_avx2(struct vgpu_slab_avx2 *out, const struct vgpu_group_avx2 *g, bool a8,
			 uint32_t first, uint32_t blocks);

#endif

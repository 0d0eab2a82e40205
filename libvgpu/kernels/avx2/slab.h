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
#include "kernels/pack/group.h"

#define VGPU_SLAB_LINES_AVX2	256u
#define VGPU_SLAB_BLOCKS_AVX2	32u

/* Memory of one slab, 64-byte aligned. */
struct vgpu_slab_avx2 {
	uint8_t lines[VGPU_SLAB_LINES_AVX2 * 64];
	float scale[VGPU_SLAB_BLOCKS_AVX2 * 2 * VGPU_GROUP_ROWS];	/* A8 */
	enum vgpu_g16_kind kind;
};

/* Columns that a slab holds. */
static inline uint32_t vgpu_slab_cols_avx2(enum vgpu_mode mode)
{
	return vgpu_mode_is_a8(mode) ? VGPU_SLAB_LINES_AVX2 * 4 : VGPU_SLAB_LINES_AVX2;
}

/**
 * vgpu_slab_fill_avx2() - bring columns of a group into the form of a mode
 * @out: the slab
 * @g: the group
 * @a8: integers and scales, rather than f32; packed formats only
 * @first: first column, a multiple of 128
 * @blocks: blocks of 32 columns, at most vgpu_slab_cols_avx2() / 32
 */
void vgpu_slab_fill_avx2(struct vgpu_slab_avx2 *out, const struct vgpu_group *g, bool a8,
			 uint32_t first, uint32_t blocks);

#endif

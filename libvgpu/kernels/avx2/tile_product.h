/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX2_TILE_PRODUCT_H
#define VGPU_AVX2_TILE_PRODUCT_H

#include "kernels/avx2/slab.h"

/**
 * struct vgpu_out_avx2 - where a tile's results go
 * @y: row 0 of the tile, column of the slab's row 0; 16 columns exist
 * @ldy: floats from row to row
 * @more: add to what y holds, rather than overwrite it
 */
struct vgpu_out_avx2 {
	float *y;
	size_t ldy;
	bool more;
};

/**
 * vgpu_tile_avx2() - product of a tile of activations and a slab
 * @o: where to
 * @w: the slab
 * @x: all activations
 * @row: first row of the tile
 * @first: the slab's first column
 * @blocks: the slab's blocks of 32 columns
 *
 * vgpu_tile_avxvnni() is the same with vpdpbusd, for CPUs that have AVX-VNNI; the
 * results are the same bits.
 *
 * Context: any thread.
 */
void vgpu_tile_avx2(const struct vgpu_out_avx2 *o, const struct vgpu_slab_avx2 *w,
		    const struct vgpu_acts *x, uint32_t row, uint32_t first, uint32_t blocks);
void vgpu_tile_avxvnni(const struct vgpu_out_avx2 *o, const struct vgpu_slab_avx2 *w,
		       const struct vgpu_acts *x, uint32_t row, uint32_t first, uint32_t blocks);

#endif

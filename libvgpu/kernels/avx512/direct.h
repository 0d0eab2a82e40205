/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_DIRECT_H
#define VGPU_AVX512_DIRECT_H

#include "kernels/avx512/slab.h"

/**
 * vgpu_mxfp4_direct_avx512() - product of one MXFP4_G16 group by few activations
 * @g: the group; nothing happens when it has no rows
 * @x: at most VGPU_MT rows, mode A16 or A8
 * @y: f32, row i at y + i * ldy; g->rows of each are written
 * @ldy: floats from row to row
 *
 * Bitwise the result of the slab products in tile.h.
 *
 * Context: any thread.
 */
void vgpu_mxfp4_direct_avx512(const struct vgpu_group *g, const struct vgpu_acts *x, float *y,
			      size_t ldy);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_DIRECT_H
#define VGPU_AVX512_DIRECT_H

#include "kernels/avx512/slab.h"

/**
 * vgpu_mxfp4_direct_avx512() - product of two MXFP4_G16 groups by few activations
 * @g: groups of rows that follow each other; the second may have no rows
 * @x: at most VGPU_MT rows, mode A16 or A8
 * @y: f32, row i at y + i * ldy; as many columns as the groups have rows
 * @ldy: floats from row to row
 *
 * Bitwise the result of the slab products in tile.h.
 *
 * Context: any thread.
 */
void vgpu_mxfp4_direct_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			      size_t ldy);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_DIRECT_H
#define VGPU_AVX512_DIRECT_H

#include "kernels/avx512/slab.h"

/**
 * vgpu_direct_avx512() - product of two groups straight from their packed lines
 * @g: groups of rows that follow each other; the second may have no rows
 * @x: at most VGPU_MT rows in mode A16, twice as many in A8
 * @y: f32, row i at y + i * ldy; as many columns as the groups have rows
 * @ldy: floats from row to row
 *
 * Bitwise the result of the slab products in tile.h.
 *
 * Context: any thread.
 */
typedef void vgpu_direct_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
				size_t ldy);

/* For this format and these activations; NULL where slabs are the way. */
vgpu_direct_avx512 *vgpu_direct_of_avx512(enum vgpu_wformat format, const struct vgpu_acts *x);

/* As many rows, one for each way that scales lie; see direct_scales.h. */
vgpu_direct_avx512 vgpu_direct_mxfp4_avx512, vgpu_direct_f16_avx512, vgpu_direct_k6_avx512;
/* Up to four rows; see direct_steps.h. */
vgpu_direct_avx512 vgpu_direct_q4_1_avx512, vgpu_direct_q5_0_avx512, vgpu_direct_q5_1_avx512,
		   vgpu_direct_q5_k_avx512, vgpu_direct_q6_k_avx512, vgpu_direct_nvfp4_avx512,
		   vgpu_direct_int4_z_avx512, vgpu_direct_int8_avx512;

#endif

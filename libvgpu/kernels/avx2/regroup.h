/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX2_REGROUP_H
#define VGPU_AVX2_REGROUP_H

#include "kernels/kernels.h"

/* The packed layout with the same values as a row-major block format, else itself. */
static inline enum vgpu_wformat vgpu_regroup_format(enum vgpu_wformat format)
{
	switch (format) {
	case VGPU_W_MXFP4:
	case VGPU_W_MXFP4_SPLIT:
		return VGPU_W_MXFP4_G16;
	case VGPU_W_Q8_0:
		return VGPU_W_INT8_G16;
	default:
		return format;
	}
}

/**
 * vgpu_regroup_avx2() - 16 rows of GGUF or gpt-oss blocks as one packed group
 * @dst: one unit of vgpu_regroup_format(), 64-byte aligned
 * @w: panel of VGPU_W_MXFP4, VGPU_W_MXFP4_SPLIT or VGPU_W_Q8_0
 * @first: first row
 * @rows: rows to take, 1 .. 16; the others become zero
 *
 * Values are moved, never rounded: Q8_0's -128, which packing does not make, stays.
 *
 * Context: any thread.
 */
void vgpu_regroup_avx2(uint8_t *dst, const struct vgpu_panel *w, uint32_t first,
		       uint32_t rows);

#endif

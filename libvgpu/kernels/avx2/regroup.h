/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX2_REGROUP_H
#define VGPU_AVX2_REGROUP_H

#include "kernels/kernels.h"
#include "kernels/pack/group.h"

/**
 * vgpu_regroup_avx2() - 16 rows of GGUF or gpt-oss blocks as one packed group
 * @dst: one unit of vgpu_regroup_format(), 64-byte aligned
 * @w: panel of row-major blocks that are an operand
 * @first: first row
 * @rows: rows to take, 1 .. 16; the others become zero
 *
 * Values are moved, never rounded: Q8_0's -128, which packing does not make, stays.
 *
 * Context: any thread.
 */
void vgpu_regroup_avx2(uint8_t *dst, const struct vgpu_panel *w, uint32_t first,
		       uint32_t rows);

/* The same for the blocks of one type, from @src on. */
void vgpu_regroup_g16_avx2(const struct vgpu_g16_type *type, uint8_t *dst, const uint8_t *src,
			   uint32_t rows, uint32_t k);

/* pack_mxfp4_rows and pack_blocks of the table. */
int vgpu_pack_mxfp4_rows_avx2(void *dst, const struct vgpu_mxfp4_rows *src);
int vgpu_pack_blocks_avx2(void *dst, enum vgpu_wformat format, const void *src, uint32_t rows,
			  uint32_t k);

#endif

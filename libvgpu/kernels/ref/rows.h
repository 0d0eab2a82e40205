/* SPDX-License-Identifier: MIT */
#ifndef VGPU_REF_ROWS_H
#define VGPU_REF_ROWS_H

#include "kernels/kernels.h"

/**
 * vgpu_row_decode_ref() - one row of a weight as f32
 * @w: panel; any format
 * @row: row inside the panel
 * @dst: f32 [w->k]
 *
 * Exact: every value of every format is an f32, but for MXFP4 values beyond f32
 * (6 * 2^127 and the like), which become infinite.
 *
 * Context: any thread.
 */
void vgpu_row_decode_ref(const struct vgpu_panel *w, uint32_t row, float *dst);

/**
 * vgpu_row_load_ref() - one row of a source that may be packed, as f32
 * @dst: f32 [k]
 * @src: first byte of the row; any alignment
 * @format: VGPU_W_F32, VGPU_W_F16 or VGPU_W_BF16
 * @k: columns
 */
void vgpu_row_load_ref(float *dst, const void *src, enum vgpu_wformat format, uint32_t k);

#endif

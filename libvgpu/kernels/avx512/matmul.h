/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_MATMUL_H
#define VGPU_AVX512_MATMUL_H

#include "kernels/avx512/slab.h"

/* As struct vgpu_kernels has it. */
void vgpu_matmul_avx512(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y,
			size_t ldy, void *scratch);

/**
 * vgpu_group_of_panel_avx512() - rows row .. row + 15 of a panel as a group
 * @g: its rows are 0 behind the panel's end
 * @w: panel
 * @row: first row, a multiple of 16
 * @scratch: row-major blocks are regrouped there: vgpu_weight_unit_bytes() of
 *	vgpu_regroup_format(), 64-byte aligned
 */
void vgpu_group_of_panel_avx512(struct vgpu_group *g, const struct vgpu_panel *w, uint32_t row,
				uint8_t *scratch);

#endif

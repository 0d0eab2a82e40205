/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_REGROUP_H
#define VGPU_AVX512_REGROUP_H

#include "kernels/avx2/regroup.h"

/* As vgpu_regroup_avx2(), which it leaves groups of fewer than 16 rows and
 * the formats of pack/g16_type.h to. */
void vgpu_regroup_avx512(uint8_t *dst, const struct vgpu_panel *w, uint32_t first,
			 uint32_t rows);

#endif

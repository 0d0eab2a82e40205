/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AMX_MATMUL_H
#define VGPU_AMX_MATMUL_H

#include "kernels/avx512/matmul.h"

/* As struct vgpu_kernels has it. */
void vgpu_matmul_amx(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y, size_t ldy,
		     void *scratch);

#endif

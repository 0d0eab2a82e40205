/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_MATMUL_H
#define VGPU_AVX512_MATMUL_H

#include "kernels/kernels.h"

/* As struct vgpu_kernels has it. */
void vgpu_matmul_avx512(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y,
			size_t ldy, void *scratch);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_TRANSPOSED_H
#define VGPU_AVX512_TRANSPOSED_H

#include "kernels/kernels.h"

/* As struct vgpu_kernels has it. */
void vgpu_matmul_transposed_avx512(const struct vgpu_panel *w, const struct vgpu_transposed *p,
				 void *scratch);

#endif

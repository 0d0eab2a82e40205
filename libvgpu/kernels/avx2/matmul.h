/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX2_MATMUL_H
#define VGPU_AVX2_MATMUL_H

#include "kernels/kernels.h"

/* The table's matmul with and without AVX-VNNI; tests run both where they can. */
void vgpu_matmul_maddubs_avx2(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y,
			      size_t ldy, void *scratch);
void vgpu_matmul_vnni_avx2(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y,
			   size_t ldy, void *scratch);

#endif

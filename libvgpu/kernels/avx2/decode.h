/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX2_DECODE_H
#define VGPU_AVX2_DECODE_H

#include "kernels/kernels.h"

/* weight_decode of the table; the bits are the reference's, but for those of a NaN. */
void vgpu_weight_decode_avx2(const struct vgpu_panel *w, float *dst, size_t ldd);

#endif

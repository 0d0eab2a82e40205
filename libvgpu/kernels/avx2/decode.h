/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX2_DECODE_H
#define VGPU_AVX2_DECODE_H

#include "kernels/pack/g16_type.h"

/* weight_decode of the table; the bits are the reference's, but for those of a NaN. */
void vgpu_weight_decode_avx2(const struct vgpu_panel *w, float *dst, size_t ldd);

/* As vgpu_g16_row_ref(). */
void vgpu_g16_row_avx2(const struct vgpu_g16_type *type, const uint8_t *group, uint32_t row,
		       float *dst, uint32_t k);

#endif

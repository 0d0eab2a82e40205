/* SPDX-License-Identifier: MIT */
/* Rows of activations in modes A8 and A8_256, laid out as act.h says. */
#ifndef VGPU_AVX512_ACT8_H
#define VGPU_AVX512_ACT8_H

#include "kernels/kernels.h"

/* Row i of the tile that begins at row tile; x: its first column. */
void vgpu_acts_row8_avx512(const struct vgpu_acts *acts, uint32_t tile, uint32_t i, const float *x);

/* A whole tile of VGPU_MT rows: the same bits. */
void vgpu_acts_rows8_avx512(const struct vgpu_acts *acts, uint32_t tile, const float *x, size_t ldx);

#endif

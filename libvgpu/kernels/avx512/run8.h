/* SPDX-License-Identifier: MIT */
/* Runs of 256 columns of MXFP4 (pack/run8.h) as slabs. */
#ifndef VGPU_AVX512_RUN8_H
#define VGPU_AVX512_RUN8_H

#include "kernels/avx512/slab.h"

/* Whether all runs are whole; the rest as vgpu_slab_fill_avx512(), the first a multiple of 1024. */
bool vgpu_run8_fit_avx512(const struct vgpu_group *g, uint32_t first, uint32_t blocks);

/* Fill lines with codes that have one scale a run: scales[b * 16] of its first block b. */
void vgpu_run8_fill_avx512(uint8_t *lines, float *scales, const struct vgpu_group *g,
			   uint32_t first, uint32_t blocks);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_SLAB_G16_H
#define VGPU_AVX512_SLAB_G16_H

#include "kernels/avx512/slab.h"
#include "kernels/pack/g16_type.h"

/* As vgpu_slab_fill_avx512(), for the formats of pack/g16_type.h; @out has what @lines are. */
void vgpu_slab_fill_g16_avx512(struct vgpu_slab *out, uint8_t *lines, float *scales,
			       const struct vgpu_group *g, enum vgpu_mode mode, uint32_t first,
			       uint32_t blocks);

#endif

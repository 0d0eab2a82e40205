/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_INT4_LAYER_H
#define VGPU_AVX512_INT4_LAYER_H

#include "kernels/avx2/int4_layer.h"

/* pack_int4_layer of the table. */
int vgpu_pack_int4_layer_avx512(void *dst, const struct vgpu_int4_layer *layer, uint32_t first,
				uint32_t units, void *scratch);

#endif

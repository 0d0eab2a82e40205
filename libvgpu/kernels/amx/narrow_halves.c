// SPDX-License-Identifier: MIT
/* Blocks with a scale for each 16 columns. */
#include "kernels/amx/narrow_product.h"
#include "kernels/pack/g16_rows.h"

NARROW_G16(q6_k, VGPU_G16_Q6_K, VGPU_KIND_HALVES)
NARROW_G16(nvfp4, VGPU_G16_NVFP4, VGPU_KIND_HALVES)

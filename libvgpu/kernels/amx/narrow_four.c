// SPDX-License-Identifier: MIT
/* Codes of four bits. */
#include "kernels/amx/narrow_product.h"
#include "kernels/pack/g16_rows.h"

NARROW_G16(q4_0, VGPU_G16_Q4_0, VGPU_KIND_PLAIN)
NARROW_G16(q4_1, VGPU_G16_Q4_1, VGPU_KIND_MINIMUM)
NARROW_G16(q4_k, VGPU_G16_Q4_K, VGPU_KIND_MINIMUM)
NARROW_G16(int4_64, VGPU_G16_INT4(64), VGPU_KIND_PLAIN)
NARROW_G16(int4_128, VGPU_G16_INT4(128), VGPU_KIND_PLAIN)

// SPDX-License-Identifier: MIT
/* Codes of five bits. */
#include "kernels/amx/narrow_product.h"
#include "kernels/pack/g16_rows.h"

NARROW_G16(q5_0, VGPU_G16_Q5_0, VGPU_KIND_PLAIN)
NARROW_G16(q5_1, VGPU_G16_Q5_1, VGPU_KIND_MINIMUM)
NARROW_G16(q5_k, VGPU_G16_Q5_K, VGPU_KIND_MINIMUM)

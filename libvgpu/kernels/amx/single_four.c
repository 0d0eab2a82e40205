// SPDX-License-Identifier: MIT
/* Codes of four bits. */
#include "kernels/amx/single_product.h"
#include "kernels/pack/g16_rows.h"

SINGLE_G16(q4_0, VGPU_G16_Q4_0)
SINGLE_G16(q4_1, VGPU_G16_Q4_1)
SINGLE_G16(q4_k, VGPU_G16_Q4_K)
SINGLE_G16(nvfp4, VGPU_G16_NVFP4)
SINGLE_G16(int4_64, VGPU_G16_INT4(64))
SINGLE_G16(int4_128, VGPU_G16_INT4(128))
SINGLE_G16(int4_z32, VGPU_G16_INT4_Z(32))
SINGLE_G16(int4_z64, VGPU_G16_INT4_Z(64))
SINGLE_G16(int4_z128, VGPU_G16_INT4_Z(128))

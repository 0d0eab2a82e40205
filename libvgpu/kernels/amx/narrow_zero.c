// SPDX-License-Identifier: MIT
/* Codes of four bits with a zero point of their own. */
#include "kernels/amx/narrow_product.h"
#include "kernels/pack/g16_rows.h"

NARROW_G16(int4_z32, VGPU_G16_INT4_Z(32), VGPU_KIND_PLAIN)
NARROW_G16(int4_z64, VGPU_G16_INT4_Z(64), VGPU_KIND_PLAIN)
NARROW_G16(int4_z128, VGPU_G16_INT4_Z(128), VGPU_KIND_PLAIN)

// SPDX-License-Identifier: MIT
/* Codes of more than four bits. */
#include "kernels/amx/single_product.h"
#include "kernels/pack/g16_rows.h"

SINGLE_G16(int8, {
	.format = VGPU_W_INT8_G16, .header = VGPU_HEADER_F16,
	.header_bytes = VGPU_INT8_TILE_SCALES, .tile_blocks = VGPU_G16_TILE_BLOCKS,
	.bits = 8, .zero = VGPU_INT8_ZERO,
})
SINGLE_G16(q5_0, VGPU_G16_Q5_0)
SINGLE_G16(q5_1, VGPU_G16_Q5_1)
SINGLE_G16(q5_k, VGPU_G16_Q5_K)
SINGLE_G16(q6_k, VGPU_G16_Q6_K)

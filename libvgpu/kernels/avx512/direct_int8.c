// SPDX-License-Identifier: MIT
/* Codes of a byte. */
#include "kernels/avx512/direct_steps.h"

void vgpu_direct_int8_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			     size_t ldy)
{
	static const struct vgpu_g16_type type = {
		.format = VGPU_W_INT8_G16, .header = VGPU_HEADER_F16,
		.header_bytes = VGPU_INT8_TILE_SCALES, .tile_blocks = VGPU_G16_TILE_BLOCKS,
		.bits = 8, .zero = VGPU_INT8_ZERO,
	};

	steps_product(g, x, y, ldy, &type);
}

// SPDX-License-Identifier: MIT
/* Codes of four bits with a minimum or a zero point of their own. */
#include "kernels/avx512/direct_steps.h"
#include "kernels/pack/g16_rows.h"

void vgpu_direct_q4_1_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			     size_t ldy)
{
	static const struct vgpu_g16_type type = VGPU_G16_Q4_1;

	steps_product(g, x, y, ldy, &type);
}

void vgpu_direct_int4_z_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			       size_t ldy)
{
	struct vgpu_g16_type type = VGPU_G16_INT4_Z(32);

	/* All of them but for the columns of a tile. */
	type.tile_blocks = vgpu_g16_type(g->format)->tile_blocks;
	steps_product(g, x, y, ldy, &type);
}

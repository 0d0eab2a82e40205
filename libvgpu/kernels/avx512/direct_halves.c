// SPDX-License-Identifier: MIT
/* Blocks with a scale for each 16 columns. */
#include "kernels/avx512/direct_steps.h"
#include "kernels/pack/g16_rows.h"

void vgpu_direct_q6_k_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			     size_t ldy)
{
	static const struct vgpu_g16_type type = VGPU_G16_Q6_K;

	steps_product(g, x, y, ldy, &type);
}

void vgpu_direct_nvfp4_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			      size_t ldy)
{
	static const struct vgpu_g16_type type = VGPU_G16_NVFP4;

	steps_product(g, x, y, ldy, &type);
}

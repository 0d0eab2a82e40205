// SPDX-License-Identifier: MIT
/* Codes of five bits. */
#include "kernels/avx512/direct_steps.h"
#include "kernels/pack/g16_rows.h"

void vgpu_direct_q5_0_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			     size_t ldy)
{
	static const struct vgpu_g16_type type = VGPU_G16_Q5_0;

	steps_product(g, x, y, ldy, &type);
}

void vgpu_direct_q5_1_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			     size_t ldy)
{
	static const struct vgpu_g16_type type = VGPU_G16_Q5_1;

	steps_product(g, x, y, ldy, &type);
}

void vgpu_direct_q5_k_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			     size_t ldy)
{
	static const struct vgpu_g16_type type = VGPU_G16_Q5_K;

	steps_product(g, x, y, ldy, &type);
}

// SPDX-License-Identifier: MIT
#include "kernels/avx512/direct_product.h"

void vgpu_direct_f16_avx512(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			size_t ldy)
{
	direct_product(g, x, y, ldy, DIRECT_F16);
}

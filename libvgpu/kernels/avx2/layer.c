// SPDX-License-Identifier: MIT
#include "kernels/avx2/vec.h"

#include "kernels/simd/table.h"

void vgpu_layer_init_avx2(struct vgpu_kernels *t)
{
	simd_init(t);
}

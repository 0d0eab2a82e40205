// SPDX-License-Identifier: MIT
#include "kernels/avx512/regroup.h"

void vgpu_pack_init_avx512(struct vgpu_kernels *t)
{
	t->pack_blocks = vgpu_pack_blocks_avx512;
}

// SPDX-License-Identifier: MIT
#include "kernels/avx2/transposed.h"

#include "kernels/avx2/regroup.h"
#include "kernels/avx2/vec.h"

/* 12 sums, 2 vectors of weights and an activation: 15 of 16 registers. */
#define TILE_ROWS	6u
#define TILE_VECTORS	2u

#include "kernels/simd/transposed.h"

void vgpu_matmul_transposed_avx2(const struct vgpu_panel *w, const struct vgpu_transposed *p,
				 void *scratch)
{
	transposed(w, p, scratch, vgpu_regroup_avx2);
}

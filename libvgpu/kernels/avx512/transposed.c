// SPDX-License-Identifier: MIT
#include "kernels/avx512/transposed.h"

#include "kernels/avx512/regroup.h"
#include "kernels/avx512/vec.h"

/* 24 sums, 4 vectors of weights and an activation: 29 of 32 registers. */
#define TILE_ROWS	6u
#define TILE_VECTORS	4u

#include "kernels/simd/transposed.h"

void vgpu_matmul_transposed_avx512(const struct vgpu_panel *w, const struct vgpu_transposed *p,
				 void *scratch)
{
	transposed(w, p, scratch, vgpu_regroup_avx512);
}

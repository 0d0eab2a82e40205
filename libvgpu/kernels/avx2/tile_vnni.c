// SPDX-License-Identifier: MIT
/*
 * Tile products for CPUs with AVX-VNNI, which the folder's flags leave out.
 */
#define VGPU_TILE_TARGET __attribute__((target("avxvnni")))
#define VGPU_DOT4(sum, w, x) _mm256_dpbusd_avx_epi32(sum, w, x)
#include "kernels/avx2/tile.h"

VGPU_TILE_TARGET
void vgpu_tile_avxvnni(const struct vgpu_out_avx2 *o, const struct vgpu_slab_avx2 *w,
		       const struct vgpu_acts *x, uint32_t row, uint32_t first, uint32_t blocks)
{
	tile_rows(o, w, x, row, first, blocks);
}

// SPDX-License-Identifier: MIT
/*
 * Tile products for CPUs without AVX-VNNI: three instructions for four products.
 */
#define VGPU_TILE_TARGET
#define VGPU_DOT4(sum, w, x) \
	_mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), \
						_mm256_set1_epi16(1)))
#include "kernels/avx2/tile.h"

void vgpu_tile_avx2(const struct vgpu_out_avx2 *o, const struct vgpu_slab_avx2 *w,
		    const struct vgpu_acts *x, uint32_t row, uint32_t first, uint32_t blocks)
{
	tile_rows(o, w, x, row, first, blocks);
}

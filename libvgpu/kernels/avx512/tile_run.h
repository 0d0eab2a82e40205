/* SPDX-License-Identifier: MIT */
/* Products of one tile with slabs that have runs (run8.h); the rest is as in tile.h. */
#ifndef VGPU_AVX512_TILE_RUN_H
#define VGPU_AVX512_TILE_RUN_H

#include "kernels/avx512/tile.h"
#include "kernels/pack/run8.h"

/* A block of 8 steps, added to what is there. */
VGPU_INLINE void block_a8(__m512i dot[VGPU_MT][2], const uint8_t *line0, const uint8_t *line1,
			  const int8_t *a, uint32_t mt)
{
#pragma GCC unroll 8
	for (uint32_t s = 0; s < 8; s++) {
		__m512i l0 = _mm512_load_si512(line0 + s * 64);
		__m512i l1 = _mm512_load_si512(line1 + s * 64);

#pragma GCC unroll 8
		for (uint32_t i = 0; i < mt; i++) {
			__m512i x = broadcast_word(a + (s * mt + i) * 4);

			dot[i][0] = _mm512_dpbusd_epi32(dot[i][0], l0, x);
			dot[i][1] = _mm512_dpbusd_epi32(dot[i][1], l1, x);
		}
	}
}

/* Up to 8 blocks that share a scale. */
VGPU_INLINE void run_a8(__m512 sum[VGPU_MT][2], const struct vgpu_slab w[2],
			const struct vgpu_acts *x, size_t at, uint32_t first, uint32_t end, uint32_t mt)
{
	const size_t group = at / VGPU_BLOCK + first * mt;
	const int8_t *a = (const int8_t *)x->data + at;
	__m512 w0 = _mm512_load_ps(w[0].scale + first * 16);
	__m512 w1 = _mm512_load_ps(w[1].scale + first * 16);
	__m512i dot[VGPU_MT][2];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
		dot[i][0] = dot[i][1] = _mm512_set1_epi32(x->run[group + i]);
	for (uint32_t b = first; b < end; b++)
		block_a8(dot, w[0].lines + b * 512, w[1].lines + b * 512, a + b * VGPU_BLOCK * mt, mt);
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++) {
		__m512 s = _mm512_set1_ps(x->scale[group + i]), c = _mm512_set1_ps(x->offset[group + i]);

		sum[i][0] = _mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_castsi512_ps(dot[i][0]), s, c), w0,
					    sum[i][0]);
		sum[i][1] = _mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_castsi512_ps(dot[i][1]), s, c), w1,
					    sum[i][1]);
	}
}

/* at: the tile's element at the slabs' first column. */
VGPU_INLINE void tile_a8_runs(const struct vgpu_out *o, const struct vgpu_slab w[2],
			      const struct vgpu_acts *x, size_t at, uint32_t blocks, uint32_t mt)
{
	__m512 sum[VGPU_MT][2];

	out_load(sum, o, mt);
	for (uint32_t b = 0; b < blocks; b += VGPU_RUN_BLOCKS)
		run_a8(sum, w, x, at, b, blocks - b < VGPU_RUN_BLOCKS ? blocks : b + VGPU_RUN_BLOCKS, mt);
	out_store(sum, o, mt);
}

#endif

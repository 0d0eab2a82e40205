// SPDX-License-Identifier: MIT
/* Activations rounded to int8. */
#include "kernels/avx512/act8.h"

#include "kernels/avx512/act.h"
#include "kernels/avx512/group8.h"

/* 32 columns of tile row i; their sum. */
static int32_t block_a8(const struct vgpu_acts *acts, size_t at, uint32_t i, uint32_t mt,
			const float *x, uint32_t col, struct vgpu_a8_scale s)
{
	struct vgpu_group8 g = vgpu_group8(vgpu_load16(x, col, acts->k),
					   vgpu_load16(x, col + 16, acts->k), s);
	size_t group = at / VGPU_BLOCK + i, half = at / VGPU_BLOCK * 2 + i;
	int32_t sum = g.first + g.last;

	vgpu_scatter16((uint32_t *)((int8_t *)acts->data + at) + i, _mm512_zextsi256_si512(g.q), 8, mt);
	acts->scale[group] = g.scale;
	acts->sum[group] = g.scale * (float)sum;
	acts->offset[group] = -VGPU_A8_MAGIC * g.scale;
	acts->start[group] = VGPU_A8_MAGIC_BITS - 128 * sum;
	acts->half[half] = VGPU_A8_MAGIC_BITS - 128 * g.first;
	acts->half[half + mt] = VGPU_A8_MAGIC_BITS - 128 * g.last;
	return sum;
}

/* Of columns c to end - 1. */
static struct vgpu_a8_scale scale_a8(const struct vgpu_acts *acts, const float *x, uint32_t c,
				     uint32_t end)
{
	uint32_t max = 0;

	for (; c < end; c += VGPU_BLOCK) {
		uint32_t one = vgpu_group_max(vgpu_load16(x, c, acts->k), vgpu_load16(x, c + 16, acts->k));

		max = one > max ? one : max;
	}
	return vgpu_a8_scale(max);
}

void vgpu_acts_row8_avx512(const struct vgpu_acts *acts, uint32_t tile, uint32_t i, const float *x)
{
	const uint32_t group = vgpu_a8_group(acts->mode), mt = vgpu_acts_tile_rows(acts, tile);
	uint32_t end;

	for (uint32_t c = 0; c < acts->kpad; c = end) {
		size_t run = vgpu_acts_at(acts, tile, c) / VGPU_BLOCK + i;
		struct vgpu_a8_scale s;
		int32_t sum = 0;

		end = acts->kpad - c < group ? acts->kpad : c + group;
		s = scale_a8(acts, x, c, end);
		for (uint32_t b = c; b < end; b += VGPU_BLOCK)
			sum += block_a8(acts, vgpu_acts_at(acts, tile, b), i, mt, x, b, s);
		if (acts->run)
			acts->run[run] = VGPU_A8_MAGIC_BITS - 128 * sum;
	}
}

// SPDX-License-Identifier: MIT
/*
 * Rounds activations to mode A8 and lays them out as act8.h says.
 */
#include "kernels/amx/act8.h"

#include "kernels/avx512/act.h"
#include "kernels/avx512/group8.h"

/* Row row; a row that is not there has no @x and is zeros. */
static void row_round(const struct vgpu_acts *acts, uint32_t row, const float *x)
{
	struct vgpu_amx_block8 *to = vgpu_amx_block8_at(acts, row, 0);
	const __m512 none = _mm512_setzero_ps();
	uint32_t i = row % 16;

	for (uint32_t c = 0; c < acts->kpad; c += VGPU_BLOCK, to++) {
		__m512 lo = x ? vgpu_load16(x, c, acts->k) : none, hi = x ? vgpu_load16(x, c + 16, acts->k) : none;
		struct vgpu_group8 g = vgpu_group8(lo, hi, vgpu_a8_scale(vgpu_group_max(lo, hi)));

		_mm256_store_si256((__m256i *)to->bytes[i], g.q);
		to->scale[i] = g.scale;
		to->offset[i] = -VGPU_A8_MAGIC * g.scale;
		to->sum[i] = g.scale * (float)(g.first + g.last);
	}
}

void vgpu_acts_pack8_amx(struct vgpu_acts *acts, const float *x, size_t ldx, uint32_t first,
			 uint32_t end)
{
	end = (end + 15) / 16 * 16;
	for (uint32_t row = first; row < end; row++)
		row_round(acts, row, row < acts->m ? x + row * ldx : NULL);
}

// SPDX-License-Identifier: MIT
/*
 * The packed formats of pack/g16_type.h into slabs.
 */
#include "kernels/avx2/slab_g16.h"

#include "kernels/avx2/g16.h"

/* One block of 8 rows, from row on; b: in the slab, block: in the group. */
static void fill_block(struct vgpu_slab_avx2 *out, uint32_t b, const struct vgpu_g16_type *type,
		       const uint8_t *group, uint32_t block, uint32_t row, bool a8)
{
	const uint8_t *lane = group + vgpu_g16_block_at(type, block) + 4 * row;
	__m256 scale = vgpu_g16_scale_avx2(type, group, block, row);
	__m256i zero = _mm256_set1_epi8((char)type->zero);

	if (a8)
		_mm256_store_ps(out->scale + b * 16 + row, scale);
	for (uint32_t t = 0; t < 8; t++) {
		__m256i w = _mm256_sub_epi8(vgpu_g16_codes_avx2(lane, type->bits, t), zero);

		if (a8)
			_mm256_store_si256((__m256i *)(out->lines + (b * 8 + t) * 64 + 4 * row), w);
		else
			vgpu_slab_widen_avx2((float *)out->lines + (b * 32 + t * 4) * 16 + row, w,
					     scale);
	}
}

void vgpu_slab_fill_g16_avx2(struct vgpu_slab_avx2 *out, const struct vgpu_g16_type *type,
			     const uint8_t *group, bool a8, uint32_t first, uint32_t blocks)
{
	for (uint32_t i = 0; i < blocks * 2; i++)
		fill_block(out, i / 2, type, group, first + i / 2, i % 2 * 8, a8);
}

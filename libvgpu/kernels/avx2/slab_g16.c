// SPDX-License-Identifier: MIT
/*
 * The packed formats of pack/g16_type.h into slabs.
 */
#include "kernels/avx2/slab_g16.h"

#include "kernels/avx2/g16.h"

static void store_scales(struct vgpu_slab_avx2 *out, enum vgpu_g16_kind kind, uint32_t b,
			 uint32_t row, struct vgpu_g16_scales_avx2 s)
{
	float *to = out->scale + b * vgpu_slab_scales(kind) + row;

	_mm256_store_ps(to, s.scale);
	if (kind != VGPU_KIND_PLAIN)
		_mm256_store_ps(to + 16, s.more);
}

/* Codes as signed numbers. */
static inline __m256i numbers(const struct vgpu_g16_type *type, __m256i codes, __m256i zero)
{
	if (type->e2m1)
		return vgpu_e2m1_twice_avx2(codes);
	return _mm256_sub_epi8(codes, zero);
}

/* One block of 8 rows, from row on; b: in the slab, block: in the group. */
static void fill_block(struct vgpu_slab_avx2 *out, uint32_t b, const struct vgpu_g16_type *type,
		       const uint8_t *group, uint32_t block, uint32_t row, bool a8)
{
	const uint8_t *lane = group + vgpu_g16_block_at(type, block) + 4 * row;
	struct vgpu_g16_scales_avx2 s = vgpu_g16_scales_avx2(type, group, block, row);
	__m256i zero = vgpu_g16_zero_avx2(type, group, block, row);
	/* Of zeros of either sign this adds what changes no product. */
	__m256 minimum = type->kind == VGPU_KIND_MINIMUM ? s.more : _mm256_setzero_ps();
	__m256 second = type->kind == VGPU_KIND_HALVES ? s.more : s.scale;

	if (a8)
		store_scales(out, type->kind, b, row, s);
	for (uint32_t t = 0; t < 8; t++) {
		__m256i w = numbers(type, vgpu_g16_codes_avx2(lane, type->bits, t), zero);

		if (a8)
			_mm256_store_si256((__m256i *)(out->lines + (b * 8 + t) * 64 + 4 * row), w);
		else
			vgpu_slab_widen_avx2((float *)out->lines + (b * 32 + t * 4) * 16 + row, w,
					     t < 4 ? s.scale : second, minimum);
	}
}

void vgpu_slab_fill_g16_avx2(struct vgpu_slab_avx2 *out, const struct vgpu_g16_type *type,
			     const uint8_t *group, bool a8, uint32_t first, uint32_t blocks)
{
	for (uint32_t i = 0; i < blocks * 2; i++)
		fill_block(out, i / 2, type, group, first + i / 2, i % 2 * 8, a8);
}

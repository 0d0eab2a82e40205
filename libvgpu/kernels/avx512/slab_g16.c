// SPDX-License-Identifier: MIT
/*
 * The packed formats of pack/g16_type.h into slabs: codes to bytes of w + 128, and those to what
 * a mode wants.
 */
#include "kernels/avx512/slab_g16.h"

#include "kernels/avx512/g16.h"

/* Step t of a block in mode F32: four lines. */
static inline void step_f32(uint8_t *out, __m512i w, __m512 scale, __m512 add)
{
	for (uint32_t i = 0; i < 4; i++)
		_mm512_store_ps((float *)(out + i * 64),
				_mm512_add_ps(_mm512_mul_ps(vgpu_slab_column(w, i), scale), add));
}

/* In mode A16: two. */
static inline void step_a16(uint8_t *out, __m512i w)
{
	_mm512_store_si512(out, vgpu_bf16_pair(vgpu_slab_column(w, 0), vgpu_slab_column(w, 2)));
	_mm512_store_si512(out + 64,
			   vgpu_bf16_pair(vgpu_slab_column(w, 1), vgpu_slab_column(w, 3)));
}

static void store_scales(float *to, enum vgpu_g16_kind kind, struct vgpu_g16_scales s)
{
	_mm512_store_ps(to, s.scale);
	if (kind != VGPU_KIND_PLAIN)
		_mm512_store_ps(to + 16, s.more);
}

/* Codes as numbers plus 128. */
static inline __m512i numbers(const struct vgpu_g16_type *type, __m512i codes, __m512i up)
{
	if (type->e2m1)
		return _mm512_permutexvar_epi8(codes, vgpu_mxfp4_table_u8());
	return _mm512_add_epi8(codes, up);
}

static void fill_block(uint8_t *lines, const struct vgpu_g16_type *type, const uint8_t *group,
		       uint32_t block, enum vgpu_mode mode, struct vgpu_g16_scales s)
{
	const uint8_t *at = group + vgpu_g16_block_at(type, block);
	__m512i up = _mm512_sub_epi8(_mm512_set1_epi8((char)VGPU_INT8_ZERO),
				     vgpu_g16_zero(type, group, block));
	/* Of zeros of either sign this adds what changes no product. */
	__m512 minimum = type->kind == VGPU_KIND_MINIMUM ? s.more : _mm512_setzero_ps();
	__m512 second = type->kind == VGPU_KIND_HALVES ? s.more : s.scale;
	for (uint32_t t = 0; t < 8; t++) {
		__m512i w = numbers(type, vgpu_g16_codes_avx512(at, type->bits, t), up);

		if (mode == VGPU_MODE_A8)
			_mm512_store_si512(lines + t * 64, w);
		else if (mode == VGPU_MODE_A16)
			step_a16(lines + t * 128, w);
		else
			step_f32(lines + t * 256, w, t < 4 ? s.scale : second, minimum);
	}
}

void vgpu_slab_fill_g16_avx512(struct vgpu_slab *out, uint8_t *lines, float *scales,
			       const struct vgpu_group *g, enum vgpu_mode mode, uint32_t first,
			       uint32_t blocks)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(g->format);
	size_t step = out->tile_bytes / VGPU_G16_TILE_BLOCKS;

	for (uint32_t b = 0; b < blocks; b++) {
		uint32_t block = first / VGPU_BLOCK + b;
		struct vgpu_g16_scales s = vgpu_g16_scales(type, g->data, block);

		if (mode != VGPU_MODE_F32)
			store_scales(scales + b * vgpu_slab_scales(type->kind), type->kind, s);
		fill_block(lines + b * step, type, g->data, block, mode, s);
	}
}

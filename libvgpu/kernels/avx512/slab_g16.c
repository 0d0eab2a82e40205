// SPDX-License-Identifier: MIT
/*
 * The packed formats of pack/g16_type.h into slabs.
 */
#include "kernels/avx512/slab_g16.h"

#include "kernels/avx512/g16.h"

static void store_scales(float *to, enum vgpu_g16_kind kind, struct vgpu_g16_scales s)
{
	_mm512_store_ps(to, s.scale);
	if (kind != VGPU_KIND_PLAIN)
		_mm512_store_ps(to + 16, s.more);
}

/* Mode F32: four lines a step. */
static void fill_f32(uint8_t *lines, const struct vgpu_g16_type *type,
		     const struct vgpu_g16_table *table, const uint8_t *block, __m512i add,
		     struct vgpu_g16_scales s)
{
	/* Of zeros of either sign this adds what changes no product. */
	__m512 minimum = type->kind == VGPU_KIND_MINIMUM ? s.more : _mm512_setzero_ps();
	__m512 second = type->kind == VGPU_KIND_HALVES ? s.more : s.scale;

	for (uint32_t t = 0; t < 8; t++) {
		__m512i w = vgpu_g16_step_a8(type, table, block, t, add);
		__m512 scale = t < 4 ? s.scale : second;

		for (uint32_t i = 0; i < 4; i++, lines += 64)
			_mm512_store_ps((float *)lines,
					_mm512_add_ps(_mm512_mul_ps(vgpu_lanes_byte(w, i), scale),
						      minimum));
	}
}

static void fill_a16(uint8_t *lines, const struct vgpu_g16_type *type,
		     const struct vgpu_g16_table *table, const uint8_t *block, __m512i add)
{
	for (uint32_t t = 0; t < 8; t++) {
		__m512i line[2];

		vgpu_g16_step_a16(line, type, table, block, t, add);
		_mm512_store_si512(lines + t * 128, line[0]);
		_mm512_store_si512(lines + t * 128 + 64, line[1]);
	}
}

static void fill_a8(uint8_t *lines, const struct vgpu_g16_type *type,
		    const struct vgpu_g16_table *table, const uint8_t *block, __m512i add)
{
	for (uint32_t t = 0; t < 8; t++)
		_mm512_store_si512(lines + t * 64, vgpu_g16_step_a8(type, table, block, t, add));
}

void vgpu_slab_fill_g16_avx512(struct vgpu_slab *out, uint8_t *lines, float *scales,
			       const struct vgpu_group *g, enum vgpu_mode mode, uint32_t first,
			       uint32_t blocks)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(g->format);
	const struct vgpu_g16_table table = vgpu_g16_table(type);
	size_t step = out->tile_bytes / VGPU_G16_TILE_BLOCKS;

	for (uint32_t b = 0; b < blocks; b++, lines += step) {
		uint32_t number = first / VGPU_BLOCK + b;
		const uint8_t *block = g->data + vgpu_g16_block_at(type, number);
		struct vgpu_g16_scales s = vgpu_g16_scales(type, g->data, number);
		__m512i add = vgpu_g16_add(type, g->data, number, mode != VGPU_MODE_A16);

		if (mode == VGPU_MODE_F32) {
			fill_f32(lines, type, &table, block, add, s);
			continue;
		}
		store_scales(scales + b * vgpu_slab_scales(type->kind), type->kind, s);
		if (mode == VGPU_MODE_A16)
			fill_a16(lines, type, &table, block, add);
		else
			fill_a8(lines, type, &table, block, add);
	}
}

// SPDX-License-Identifier: MIT
/*
 * The packed formats of pack/g16_type.h, one value at a time.
 */
#include "kernels/ref/g16.h"

#include "kernels/pack/g16_blocks.h"
#include "kernels/pack/g16_int4.h"
#include "kernels/pack/g16_scale.h"
#include "kernels/pack/int4_layer.h"

/* The code of column c of a block, which begins at the row's lane. */
static uint32_t code_at(const uint8_t *lane, uint32_t bits, uint32_t c)
{
	uint32_t t = c / 4, i = c % 4, nibble = lane[t / 2 * 64 + i] >> t % 2 * 4 & 15;
	const uint8_t *high = lane + VGPU_MXFP4_BLOCK_CODES + i;

	if (bits == 5)
		return nibble | (high[0] >> t & 1u) << 4;
	if (bits == 6)
		return nibble | (high[t / 4 * 64] >> t % 4 * 2 & 3u) << 4;
	return nibble;
}

void vgpu_g16_row_ref(const struct vgpu_g16_type *type, const uint8_t *group, uint32_t row,
		      float *dst, uint32_t k)
{
	static const int8_t e2m1[16] = VGPU_E2M1_TWICE;

	for (uint32_t c = 0; c < k; c++) {
		uint32_t block = c / VGPU_BLOCK, at = c % (type->tile_blocks * VGPU_BLOCK);
		const uint8_t *tile = group + vgpu_g16_tile_at(type, block);
		struct vgpu_g16_scale s = vgpu_g16_scale_at(type, tile, row, at);
		uint32_t code = code_at(group + vgpu_g16_block_at(type, block) + 4 * row,
					type->bits, c % VGPU_BLOCK);
		int number = type->e2m1 ? e2m1[code] :
					  (int)code - vgpu_g16_zero_at(type, tile, row, at);

		dst[c] = (float)number * s.scale;
		/* Adding 0 would lose the sign of a zero. */
		if (type->kind == VGPU_KIND_MINIMUM)
			dst[c] += s.minimum;
	}
}

static void put_codes(uint8_t *lane, uint32_t bits, const uint8_t codes[32])
{
	uint8_t *high = lane + VGPU_MXFP4_BLOCK_CODES;

	for (uint32_t i = 0; i < 4; i++) {
		for (uint32_t v = 0; v < bits - 4; v++)
			high[64 * v + i] = 0;
		for (uint32_t t = 0; t < 8; t++) {
			uint8_t *low = lane + t / 2 * 64 + i;
			uint32_t code = codes[4 * t + i], upper = code >> 4;

			*low = (uint8_t)(t % 2 ? *low | code << 4 : code & 15);
			if (bits == 5)
				high[i] = (uint8_t)(high[i] | upper << t);
			else if (bits == 6)
				high[t / 4 * 64 + i] = (uint8_t)(high[t / 4 * 64 + i] |
								 upper << t % 4 * 2);
		}
	}
}

int vgpu_pack_blocks_ref(void *dst, enum vgpu_wformat format, const void *src, uint32_t rows,
			 uint32_t k)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(format);
	int rc = vgpu_g16_check(type, src, rows, k);

	if (rc)
		return rc;
	vgpu_g16_regroup(type, dst, src, vgpu_weight_unit_bytes(type->source, k), rows, k,
			 put_codes);
	return 0;
}

int vgpu_pack_int4_ref(void *dst, enum vgpu_wformat format, const struct vgpu_int4_rows *src)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(format);
	int rc = vgpu_int4_check(type, src);

	if (!rc)
		vgpu_int4_put(type, dst, src, put_codes);
	return rc;
}

int vgpu_pack_int4_layer_ref(void *dst, const struct vgpu_int4_layer *layer, uint32_t first,
			     uint32_t units, void *scratch)
{
	enum vgpu_wformat format = (enum vgpu_wformat)vgpu_int4_layer_format(layer);
	size_t unit_bytes = vgpu_weight_unit_bytes(format, layer->k);
	struct vgpu_int4_rows rows;
	int rc = 0;

	for (uint32_t u = 0; u < units && !rc; u++) {
		vgpu_int4_layer_rows(layer, first + u * VGPU_GROUP_ROWS, scratch, &rows);
		rc = vgpu_pack_int4_ref((uint8_t *)dst + u * unit_bytes, format, &rows);
	}
	return rc;
}

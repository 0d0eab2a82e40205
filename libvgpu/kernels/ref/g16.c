// SPDX-License-Identifier: MIT
/*
 * The packed formats of pack/g16_type.h, one value at a time.
 */
#include "kernels/ref/g16.h"

#include "kernels/pack/e4m3.h"
#include "kernels/pack/g16_blocks.h"
#include "kernels/pack/g16_int4.h"
#include "kernels/pack/half.h"

static float f16_at(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof(h));
	return vgpu_f16_to_f32(h);
}

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

struct scale {
	float scale, minimum;
};

/* Byte j of a lane of K6's lines, and the six bits that it begins or ends. */
static struct scale k6_at(const uint8_t *lane, uint32_t j)
{
	const uint8_t *scale = lane + 64 + j % 4, *minimum = scale + 64, *low = scale + 128;
	uint32_t s = *scale & 63, m = *minimum & 63;

	if (j >= 4) {
		s = (*low & 15) | *scale >> 6 << 4;
		m = *low >> 4 | *minimum >> 6 << 4;
	}
	return (struct scale){ f16_at(lane) * (float)s, -(f16_at(lane + 2) * (float)m) };
}

/* Of a row at column c of a tile. */
static struct scale scale_at(const struct vgpu_g16_type *type, const uint8_t *tile, uint32_t row,
			     uint32_t c)
{
	const uint8_t *lane = tile + 4 * row;
	uint32_t j = c / VGPU_BLOCK;

	switch (type->header) {
	case VGPU_HEADER_F16:
	case VGPU_HEADER_F16_ZERO:
		j = c / vgpu_g16_scale_cols(type);
		return (struct scale){ f16_at(tile + 32 * j + 2 * row), 0 };
	case VGPU_HEADER_PAIR:
		lane += 64 * j;
		return (struct scale){ f16_at(lane), f16_at(lane + 2) };
	case VGPU_HEADER_K6:
		return k6_at(lane, j);
	case VGPU_HEADER_S8:
		return (struct scale){ f16_at(tile + 256 + 2 * row) *
				       (float)(int8_t)lane[c / 64 * 64 + c / 16 % 4], 0 };
	case VGPU_HEADER_E4M3:
		return (struct scale){ vgpu_half_e4m3(lane[c / 16]), 0 };
	}
	return (struct scale){ 0, 0 };
}

/* The code that is zero. */
static int zero_at(const struct vgpu_g16_type *type, const uint8_t *tile, uint32_t row, uint32_t c)
{
	if (type->header != VGPU_HEADER_F16_ZERO)
		return type->zero;
	return tile[128 + 4 * row + c / vgpu_g16_scale_cols(type)];
}

void vgpu_g16_row_ref(const struct vgpu_g16_type *type, const uint8_t *group, uint32_t row,
		      float *dst, uint32_t k)
{
	static const int8_t e2m1[16] = VGPU_E2M1_TWICE;

	for (uint32_t c = 0; c < k; c++) {
		uint32_t block = c / VGPU_BLOCK, at = c % (type->tile_blocks * VGPU_BLOCK);
		const uint8_t *tile = group + vgpu_g16_tile_at(type, block);
		struct scale s = scale_at(type, tile, row, at);
		uint32_t code = code_at(group + vgpu_g16_block_at(type, block) + 4 * row,
					type->bits, c % VGPU_BLOCK);

		int number = type->e2m1 ? e2m1[code] :
					  (int)code - zero_at(type, tile, row, at);

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

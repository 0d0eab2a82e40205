// SPDX-License-Identifier: MIT
/*
 * Every weight format, one row at a time, one value at a time: the definition of
 * what the bytes mean.
 */
#include <string.h>
#include "kernels/pack/blocks.h"
#include "kernels/pack/g16.h"
#include "kernels/pack/g16_type.h"
#include "kernels/pack/half.h"
#include "kernels/pack/mxfp4.h"
#include "kernels/ref/g16.h"
#include "kernels/ref/rows.h"

void vgpu_row_load_ref(float *dst, const void *src, enum vgpu_wformat format, uint32_t k)
{
	const uint8_t *p = src;
	uint16_t half;

	if (format == VGPU_W_F32) {
		memcpy(dst, src, (size_t)k * sizeof(*dst));
		return;
	}
	for (uint32_t i = 0; i < k; i++) {
		memcpy(&half, p + 2 * (size_t)i, sizeof(half));
		dst[i] = format == VGPU_W_F16 ? vgpu_f16_to_f32(half) : vgpu_bf16_to_f32(half);
	}
}

/* Value j of a block is the low nibble of byte j, value j + 16 the high one. */
static void mxfp4_row(const uint8_t *block, float *dst, uint32_t k)
{
	for (uint32_t i = 0; i < k; i++) {
		const uint8_t *b = block + i / 32 * 17;
		uint32_t j = i % 32, byte = b[1 + j % 16];

		dst[i] = vgpu_mxfp4_decode(j < 16 ? byte & 15 : byte >> 4, b[0]);
	}
}

/* Byte b of a row holds values 2 b (low nibble) and 2 b + 1. */
static void mxfp4_split_row(const uint8_t *codes, const uint8_t *scales, float *dst,
			    uint32_t k)
{
	for (uint32_t i = 0; i < k; i++)
		dst[i] = vgpu_mxfp4_decode(codes[i / 2] >> (i % 2 * 4) & 15, scales[i / 32]);
}

static void mxfp4_g16_row(const uint8_t *group, uint32_t row, float *dst, uint32_t k)
{
	for (uint32_t i = 0; i < k; i++) {
		uint32_t block = i / 32, line = i % 32 / 8, j = i % 8;
		uint8_t e = group[vgpu_mxfp4_g16_scale(block) + 4 * row];
		uint8_t byte = group[vgpu_mxfp4_g16_codes(block) + line * 64 + row * 4 + j % 4];

		dst[i] = vgpu_mxfp4_decode(j < 4 ? byte & 15 : byte >> 4, e);
	}
}

static void int8_g16_row(const uint8_t *group, uint32_t row, float *dst, uint32_t k)
{
	for (uint32_t i = 0; i < k; i++) {
		uint32_t block = i / 32, line = i % 32 / 4;
		uint8_t code = group[vgpu_int8_g16_codes(block) + line * 64 + row * 4 + i % 4];
		uint16_t d;

		memcpy(&d, group + vgpu_int8_g16_scale(block) + 2 * row, sizeof(d));
		dst[i] = (float)((int)code - (int)VGPU_INT8_ZERO) * vgpu_f16_to_f32(d);
	}
}

void vgpu_row_decode_ref(const struct vgpu_panel *w, uint32_t row, float *dst)
{
	uint32_t unit_rows = vgpu_weight_unit_rows(w->format);
	const uint8_t *unit;

	if (!unit_rows)
		return;
	unit = (const uint8_t *)w->data +
	       row / unit_rows * vgpu_weight_unit_bytes(w->format, w->k);

	switch (w->format) {
	case VGPU_W_F32:
	case VGPU_W_F16:
	case VGPU_W_BF16:
		vgpu_row_load_ref(dst, unit, w->format, w->k);
		break;
	case VGPU_W_MXFP4:
		mxfp4_row(unit, dst, w->k);
		break;
	case VGPU_W_MXFP4_SPLIT:
		mxfp4_split_row(unit, w->scales + (size_t)row * (w->k / 32), dst, w->k);
		break;
	case VGPU_W_MXFP4_G16:
		mxfp4_g16_row(unit, row % VGPU_GROUP_ROWS, dst, w->k);
		break;
	case VGPU_W_INT8_G16:
		int8_g16_row(unit, row % VGPU_GROUP_ROWS, dst, w->k);
		break;
	default:
		if (vgpu_g16_type(w->format))
			vgpu_g16_row_ref(vgpu_g16_type(w->format), unit, row % VGPU_GROUP_ROWS, dst,
					 w->k);
		else
			vgpu_block_row_decode(vgpu_block_type(w->format), unit, dst, w->k);
		break;
	}
}

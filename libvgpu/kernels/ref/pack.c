// SPDX-License-Identifier: MIT
/*
 * Encoding to the packed layouts, one block of 32 values of one row at a time.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include "kernels/pack/blocks.h"
#include "kernels/pack/g16.h"
#include "kernels/pack/half.h"
#include "kernels/pack/int8.h"
#include "kernels/pack/mxfp4.h"
#include "kernels/pack/source.h"
#include "kernels/ref/g16.h"
#include "kernels/ref/pack.h"
#include "kernels/ref/rows.h"

/* Zeros where the row or the column does not exist; returns the bits of max|x|. */
static uint32_t source_block(const struct vgpu_pack_source *s, uint32_t row, uint32_t block,
			     float x[VGPU_BLOCK])
{
	uint32_t first = block * VGPU_BLOCK, max = 0;
	uint32_t n = s->k - first < VGPU_BLOCK ? s->k - first : VGPU_BLOCK;

	memset(x, 0, VGPU_BLOCK * sizeof(*x));
	if (row < s->rows)
		vgpu_row_load_ref(x, s->data + row * s->row_bytes + first * s->element_bytes,
				  s->format, n);
	for (uint32_t i = 0; i < VGPU_BLOCK; i++) {
		uint32_t magnitude = vgpu_f32_bits(x[i]) & 0x7fffffffu;

		max = magnitude > max ? magnitude : max;
	}
	return max;
}

/* True when every block of every row has its largest magnitude below the limit. */
static bool source_below(const struct vgpu_pack_source *s, uint32_t limit)
{
	float x[VGPU_BLOCK];

	for (uint32_t row = 0; row < s->rows; row++)
		for (uint32_t b = 0; b < vgpu_k_blocks(s->k); b++)
			if (source_block(s, row, b, x) >= limit)
				return false;
	return true;
}

static uint32_t mxfp4_code(float x, const uint32_t limit[7])
{
	uint32_t bits = vgpu_f32_bits(x), code = 0;

	for (uint32_t i = 0; i < 7; i++)
		code += (bits & 0x7fffffffu) > limit[i];
	return code | (bits >> 28 & 8);
}

static void mxfp4_block(uint8_t *group, uint32_t row, uint32_t block,
			const float x[VGPU_BLOCK], uint32_t max)
{
	uint8_t *codes = group + vgpu_mxfp4_g16_codes(block) + 4 * row;
	uint32_t e = vgpu_mxfp4_exponent(max), limit[7];

	vgpu_mxfp4_limits(e, limit);
	group[vgpu_mxfp4_g16_scale(block) + 4 * row] = (uint8_t)e;
	for (uint32_t i = 0; i < VGPU_BLOCK; i++) {
		uint8_t *byte = codes + i / 8 * 64 + i % 4;
		uint32_t code = mxfp4_code(x[i], limit);

		*byte = (uint8_t)(i % 8 < 4 ? code : *byte | code << 4);
	}
}

static void int8_block(uint8_t *group, uint32_t row, uint32_t block,
		       const float x[VGPU_BLOCK], uint32_t max)
{
	uint8_t *codes = group + vgpu_int8_g16_codes(block) + 4 * row;
	uint16_t scale = vgpu_int8_scale(max);
	double d = vgpu_f16_to_f32(scale);

	memcpy(group + vgpu_int8_g16_scale(block) + 2 * row, &scale, sizeof(scale));
	for (uint32_t i = 0; i < VGPU_BLOCK; i++) {
		double q = scale ? rint(x[i] / d) : 0;

		q = q > 127 ? 127 : q < -127 ? -127 : q;
		codes[i / 4 * 64 + i % 4] = (uint8_t)((int)q + (int)VGPU_INT8_ZERO);
	}
}

/**
 * struct target - what is packed to
 * @format: of the group
 * @limit: bits of the magnitude from which a value has no code
 * @block: encode 32 values of a row, of which @max is the largest magnitude
 */
struct target {
	enum vgpu_wformat format;
	uint32_t limit;
	void (*block)(uint8_t *group, uint32_t row, uint32_t block, const float x[VGPU_BLOCK],
		      uint32_t max);
};

static int pack(const struct target *to, void *dst, const struct vgpu_pack_source *s)
{
	float x[VGPU_BLOCK];

	if (!source_below(s, to->limit))
		return -EDOM;
	memset(dst, 0, vgpu_weight_unit_bytes(to->format, s->k));
	for (uint32_t b = 0; b < vgpu_k_blocks(s->k); b++) {
		for (uint32_t row = 0; row < VGPU_GROUP_ROWS; row++) {
			uint32_t max = source_block(s, row, b, x);

			to->block(dst, row, b, x, max);
		}
	}
	return 0;
}

static int pack_mxfp4_ref(void *dst, const void *src, enum vgpu_wformat src_format,
			  size_t ld, uint32_t rows, uint32_t k)
{
	static const struct target to = { VGPU_W_MXFP4_G16, VGPU_F32_INFINITY, mxfp4_block };
	struct vgpu_pack_source s;
	int rc = vgpu_pack_source_init(&s, src, src_format, ld, rows, k);

	return rc ? rc : pack(&to, dst, &s);
}

static int pack_int8_ref(void *dst, const void *src, enum vgpu_wformat src_format,
			 size_t ld, uint32_t rows, uint32_t k)
{
	static const struct target to = { VGPU_W_INT8_G16, VGPU_INT8_LIMIT, int8_block };
	struct vgpu_pack_source s;
	int rc = vgpu_pack_source_init(&s, src, src_format, ld, rows, k);

	return rc ? rc : pack(&to, dst, &s);
}

/* Values of a block; returns the bits of max|x|. */
static uint32_t decode_block(const struct vgpu_mxfp4_rows *s, uint32_t row, uint32_t block,
			     float x[VGPU_BLOCK])
{
	struct vgpu_pack_source values;
	struct vgpu_panel w = {
		s->scales ? VGPU_W_MXFP4_SPLIT : VGPU_W_MXFP4, 1, VGPU_BLOCK,
		s->blocks + row * s->row_bytes + (s->scales ? 16 : 17) * (size_t)block,
		s->scales ? s->scales + row * s->scale_row_bytes + block : NULL,
	};
	float decoded[VGPU_BLOCK];

	vgpu_row_decode_ref(&w, 0, decoded);
	vgpu_pack_source_init(&values, decoded, VGPU_W_F32, VGPU_BLOCK, 1, VGPU_BLOCK);
	return source_block(&values, 0, 0, x);
}

int vgpu_pack_mxfp4_rows_ref(void *dst, const struct vgpu_mxfp4_rows *src)
{
	float x[VGPU_BLOCK];

	for (uint32_t row = 0; row < src->rows; row++)
		for (uint32_t b = 0; b < src->k / VGPU_BLOCK; b++)
			if (decode_block(src, row, b, x) >= VGPU_F32_INFINITY)
				return -EDOM;
	memset(dst, 0, vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, src->k));
	for (uint32_t row = 0; row < src->rows; row++) {
		for (uint32_t b = 0; b < src->k / VGPU_BLOCK; b++) {
			uint32_t max = decode_block(src, row, b, x);

			mxfp4_block(dst, row, b, x, max);
		}
	}
	return 0;
}

int vgpu_pack_codes_ref(void *dst, const void *src, enum vgpu_wformat src_format, uint32_t rows,
			uint32_t k)
{
	const struct vgpu_block_type *type = vgpu_block_type(src_format);

	if (!type || !type->codes || k % type->values)
		return -EINVAL;
	return vgpu_blocks_to_int8(type, dst, src, rows, k);
}

static void weight_decode_ref(const struct vgpu_panel *w, float *dst, size_t ldd)
{
	for (uint32_t row = 0; row < w->rows; row++)
		vgpu_row_decode_ref(w, row, dst + row * ldd);
}

void vgpu_pack_init_ref(struct vgpu_kernels *t)
{
	t->pack_mxfp4 = pack_mxfp4_ref;
	t->pack_int8 = pack_int8_ref;
	t->pack_mxfp4_rows = vgpu_pack_mxfp4_rows_ref;
	t->pack_codes = vgpu_pack_codes_ref;
	t->pack_blocks = vgpu_pack_blocks_ref;
	t->pack_int4 = vgpu_pack_int4_ref;
	t->pack_int4_layer = vgpu_pack_int4_layer_ref;
	t->weight_decode = weight_decode_ref;
}

// SPDX-License-Identifier: MIT
/*
 * Sizes: of weights in memory, of packed activations, of a thread's scratch.  And what
 * a weight holds, for those who do not compute with it.
 */
#include "kernels/weight.h"

#include <errno.h>

#include "kernels/kernels.h"
#include "kernels/pack/blocks.h"
#include "kernels/pack/g16.h"
#include "kernels/pack/g16_type.h"

static size_t align64(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

/* Of a format that has a row of a table. */
static size_t table_bytes(enum vgpu_wformat format, uint32_t k)
{
	const struct vgpu_block_type *type = vgpu_block_type(format);
	const struct vgpu_g16_type *packed = vgpu_g16_type(format);

	if (packed)
		return vgpu_g16_bytes(packed, k);
	return type ? ((size_t)k / type->values + (k % type->values != 0)) * type->bytes : 0;
}

size_t vgpu_weight_unit_bytes(enum vgpu_wformat format, uint32_t k)
{
	size_t blocks = vgpu_k_blocks(k);
	size_t tiles = (blocks + VGPU_G16_TILE_BLOCKS - 1) / VGPU_G16_TILE_BLOCKS;

	switch (format) {
	case VGPU_W_F32:
		return (size_t)k * 4;
	case VGPU_W_F16:
	case VGPU_W_BF16:
		return (size_t)k * 2;
	case VGPU_W_MXFP4:
		return blocks * 17;
	case VGPU_W_MXFP4_SPLIT:
		return blocks * 16;
	case VGPU_W_MXFP4_G16:
		return tiles * VGPU_MXFP4_TILE_SCALES + blocks * VGPU_MXFP4_BLOCK_CODES;
	case VGPU_W_INT8_G16:
		return tiles * VGPU_INT8_TILE_SCALES + blocks * VGPU_INT8_BLOCK_CODES;
	default:
		return table_bytes(format, k);
	}
}

uint32_t vgpu_weight_unit_rows(enum vgpu_wformat format)
{
	switch (format) {
	case VGPU_W_F32:
	case VGPU_W_F16:
	case VGPU_W_BF16:
	case VGPU_W_MXFP4:
	case VGPU_W_MXFP4_SPLIT:
		return 1;
	case VGPU_W_MXFP4_G16:
	case VGPU_W_INT8_G16:
		return VGPU_GROUP_ROWS;
	default:
		if (vgpu_g16_type(format))
			return VGPU_GROUP_ROWS;
		return vgpu_block_type(format) ? 1 : 0;
	}
}

int vgpu_weight_decode(uint32_t format, uint32_t rows, uint32_t k, const void *data, float *out)
{
	struct vgpu_panel p = { .format = format, .rows = rows, .k = k, .data = data };

	if (!vgpu_weight_unit_rows(format) || format == VGPU_W_MXFP4_SPLIT)
		return -EINVAL;
	vgpu_kernels_best()->weight_decode(&p, out, k);
	return 0;
}

bool vgpu_weight_pack_is_exact(uint32_t source, uint32_t packed)
{
	const struct vgpu_block_type *type = vgpu_block_type(source);

	/* FP4 alone is E2M1 with the scale 1. */
	if (source == VGPU_W_MXFP4 || source == VGPU_W_MXFP4_SPLIT || source == VGPU_W_F4_E2M1)
		return packed == VGPU_W_MXFP4_G16;
	if (vgpu_g16_type(packed))
		return source && vgpu_g16_type(packed)->source == source;
	return type && type->codes && packed == VGPU_W_INT8_G16;
}

enum vgpu_mode vgpu_matmul_mode(enum vgpu_wformat format, enum vgpu_mode wanted)
{
	switch (format) {
	case VGPU_W_F32:
	case VGPU_W_F16:
		return VGPU_MODE_F32;
	case VGPU_W_BF16:
		return wanted == VGPU_MODE_F32 ? VGPU_MODE_F32 : VGPU_MODE_A16;
	default:
		return wanted;
	}
}

size_t vgpu_matmul_scratch_bytes(enum vgpu_wformat format, uint32_t k)
{
	size_t row = align64((size_t)vgpu_k_blocks(k) * VGPU_BLOCK * 4);
	size_t group = 0, panel;

	/* Row-major blocks are regrouped, two groups at a time. */
	if (vgpu_g16_of_source(format))
		group = vgpu_g16_bytes(vgpu_g16_of_source(format), k);
	if (format == VGPU_W_MXFP4 || format == VGPU_W_MXFP4_SPLIT)
		group = vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, k);
	if (format == VGPU_W_Q8_0)
		group = vgpu_weight_unit_bytes(VGPU_W_INT8_G16, k);

	/* The reference expands one row; the others a panel of fixed size. */
	panel = vgpu_isa_detect() == VGPU_ISA_AMX ? VGPU_AMX_SCRATCH_BYTES : VGPU_PANEL_BYTES;
	return row > panel + 2 * group ? row : panel + 2 * group;
}

/* Bytes of one element of the widest form that any level gives a mode. */
static size_t element_bytes(enum vgpu_mode mode)
{
	return vgpu_mode_is_a8(mode) ? 1 : 4;
}

/* Rows that have memory; the last tile of amx/act8.h is whole. */
static size_t acts_rows(enum vgpu_mode mode, uint32_t m)
{
	bool tiles = vgpu_isa_detect() == VGPU_ISA_AMX && mode == VGPU_MODE_A8 &&
		     m >= VGPU_AMX_A8_ROWS;

	return tiles ? ((size_t)m + 15) / 16 * 16 : m;
}

size_t vgpu_acts_bytes(enum vgpu_mode mode, uint32_t m, uint32_t k)
{
	size_t blocks = acts_rows(mode, m) * vgpu_k_blocks(k);
	size_t bytes = align64(blocks * VGPU_BLOCK * element_bytes(mode));

	if (mode == VGPU_MODE_A16)
		bytes += 2 * align64(blocks * 4);
	if (vgpu_mode_is_a8(mode))
		bytes += 6 * align64(blocks * 4);
	if (mode == VGPU_MODE_A8_256)
		bytes += align64(blocks * 4);
	return bytes;
}

void vgpu_acts_init(struct vgpu_acts *acts, enum vgpu_mode mode, uint32_t m,
		    uint32_t k, void *memory)
{
	size_t blocks = acts_rows(mode, m) * vgpu_k_blocks(k), group = align64(blocks * 4);
	char *p = memory;

	*acts = (struct vgpu_acts) { .mode = mode, .m = m, .k = k,
				     .kpad = vgpu_k_blocks(k) * VGPU_BLOCK, .data = p };
	if (mode == VGPU_MODE_F32)
		return;
	p += align64(blocks * VGPU_BLOCK * element_bytes(mode));
	acts->scale = (float *)p;
	acts->sum = (float *)(p + group);
	if (mode == VGPU_MODE_A16)
		return;
	acts->offset = (float *)(p + 2 * group);
	acts->start = (int32_t *)(p + 3 * group);
	acts->half = (int32_t *)(p + 4 * group);
	if (mode == VGPU_MODE_A8_256)
		acts->run = (int32_t *)(p + 6 * group);
}

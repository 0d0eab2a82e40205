// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Sizes of the formats.  The packed ones are laid out in Documentation/kernels.md:
 * a group of 16 rows is a sequence of tiles of 4 blocks of 32 columns, each with
 * the scales of its rows in front; the last tile may hold fewer blocks, the last
 * block fewer columns.  tests/unit/format_test.c compares them with the kernels.
 */
#include "format.h"

#define TILE_BLOCKS	4u

/**
 * struct format - how a format is cut
 * @format: enum vb_format
 * @rows: rows in a unit
 * @block: columns in a block
 * @block_bytes: bytes of a block of a unit
 * @tile_bytes: packed: bytes of scales in front of up to TILE_BLOCKS blocks
 * @align: multiple that the offset of the first unit must keep
 * @weight: may a weight have it
 * @name: for people and tools
 */
struct format {
	u16 format;
	u16 rows;
	u16 block;
	u16 block_bytes;
	u16 tile_bytes;
	u16 align;
	bool weight;
	const char *name;
};

static const struct format formats[] = {
	{ VB_FORMAT_F32, 1, 1, 4, 0, 1, true, "f32" },
	{ VB_FORMAT_F16, 1, 1, 2, 0, 1, true, "f16" },
	{ VB_FORMAT_BF16, 1, 1, 2, 0, 1, true, "bf16" },
	{ VB_FORMAT_I32, 1, 1, 4, 0, 1, false, "i32" },
	{ VB_FORMAT_U8, 1, 1, 1, 0, 1, false, "u8" },
	{ VB_FORMAT_F8_E4M3, 1, 1, 1, 0, 1, false, "f8-e4m3" },
	{ VB_FORMAT_F8_E5M2, 1, 1, 1, 0, 1, false, "f8-e5m2" },
	{ VB_FORMAT_TQ1_0, 1, 256, 54, 0, 1, false, "tq1-0" },
	{ VB_FORMAT_TQ2_0, 1, 256, 66, 0, 1, false, "tq2-0" },
	{ VB_FORMAT_MXFP4, 1, 32, 17, 0, 1, true, "mxfp4" },
	{ VB_FORMAT_MXFP4_SPLIT, 1, 32, 16, 0, 1, true, "mxfp4-split" },
	{ VB_FORMAT_Q8_0, 1, 32, 34, 0, 1, true, "q8-0" },
	{ VB_FORMAT_Q4_0, 1, 32, 18, 0, 1, false, "q4-0" },
	{ VB_FORMAT_Q4_1, 1, 32, 20, 0, 1, false, "q4-1" },
	{ VB_FORMAT_Q5_0, 1, 32, 22, 0, 1, false, "q5-0" },
	{ VB_FORMAT_Q5_1, 1, 32, 24, 0, 1, false, "q5-1" },
	{ VB_FORMAT_Q2_K, 1, 256, 84, 0, 1, false, "q2-k" },
	{ VB_FORMAT_Q3_K, 1, 256, 110, 0, 1, false, "q3-k" },
	{ VB_FORMAT_Q4_K, 1, 256, 144, 0, 1, false, "q4-k" },
	{ VB_FORMAT_Q5_K, 1, 256, 176, 0, 1, false, "q5-k" },
	{ VB_FORMAT_Q6_K, 1, 256, 210, 0, 1, false, "q6-k" },
	{ VB_FORMAT_IQ4_NL, 1, 32, 18, 0, 1, false, "iq4-nl" },
	{ VB_FORMAT_IQ4_XS, 1, 256, 136, 0, 1, false, "iq4-xs" },
	{ VB_FORMAT_NVFP4, 1, 64, 36, 0, 1, false, "nvfp4" },
	{ VB_FORMAT_F64, 1, 1, 8, 0, 1, false, "f64" },
	{ VB_FORMAT_Q8_K, 1, 256, 292, 0, 1, false, "q8-k" },
	{ VB_FORMAT_IQ1_S, 1, 256, 50, 0, 1, false, "iq1-s" },
	{ VB_FORMAT_IQ1_M, 1, 256, 56, 0, 1, false, "iq1-m" },
	{ VB_FORMAT_IQ2_XXS, 1, 256, 66, 0, 1, false, "iq2-xxs" },
	{ VB_FORMAT_IQ2_XS, 1, 256, 74, 0, 1, false, "iq2-xs" },
	{ VB_FORMAT_IQ2_S, 1, 256, 82, 0, 1, false, "iq2-s" },
	{ VB_FORMAT_IQ3_XXS, 1, 256, 98, 0, 1, false, "iq3-xxs" },
	{ VB_FORMAT_IQ3_S, 1, 256, 110, 0, 1, false, "iq3-s" },
	{ VB_FORMAT_Q1_0, 1, 128, 18, 0, 1, false, "q1-0" },
	{ VB_FORMAT_F4_E2M1, 1, 2, 1, 0, 1, false, "f4-e2m1" },
	/* 16 rows of 32 nibbles a block, 16 x 4 E8M0 a tile */
	{ VB_FORMAT_MXFP4_G16, 16, 32, 256, 64, 64, true, "mxfp4-g16" },
	/* 16 rows of 32 bytes a block, 16 x 4 F16 a tile */
	{ VB_FORMAT_INT8_G16, 16, 32, 512, 128, 64, true, "int8-g16" },
};

static const struct format *find(u32 format)
{
	size_t i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i].format == format)
			return &formats[i];
	return NULL;
}

/* How many @size make up at least @count. */
static u32 pieces(u32 count, u32 size)
{
	return count / size + (count % size != 0);
}

int vb_format_unit(u32 format, u32 k, struct vb_unit *out)
{
	const struct format *f = find(format);
	u32 blocks;

	if (!f || !k || (f->rows == 1 && k % f->block))
		return -EINVAL;
	blocks = pieces(k, f->block);
	out->rows = f->rows;
	out->align = f->align;
	out->bytes = (u64)blocks * f->block_bytes +
		     (u64)pieces(blocks, TILE_BLOCKS) * f->tile_bytes;
	return 0;
}

int vb_format_matrix_bytes(u32 format, u32 n, u32 k, u64 *out)
{
	struct vb_unit unit;
	u64 bytes;
	int rc;

	rc = vb_format_unit(format, k, &unit);
	if (rc)
		return rc;
	if (!n)
		return -EINVAL;
	if (check_mul_overflow((u64)pieces(n, unit.rows), unit.bytes, &bytes))
		return -EOVERFLOW;
	*out = bytes;
	return 0;
}

bool vb_format_is_weight(u32 format)
{
	const struct format *f = find(format);

	return f && f->weight;
}

bool vb_format_is_packed(u32 format)
{
	const struct format *f = find(format);

	return f && f->rows > 1;
}

bool vb_format_is_source(u32 format)
{
	const struct format *f = find(format);

	return f && !f->weight && format != VB_FORMAT_I32 && format != VB_FORMAT_U8;
}

const char *vb_format_name(u32 format)
{
	const struct format *f = find(format);

	if (format == VB_FORMAT_NONE)
		return "none";
	return f ? f->name : "?";
}

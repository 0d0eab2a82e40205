// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Sizes of the formats.  The packed ones are laid out in Documentation/kernels.md:
 * a group of 16 rows is a sequence of tiles of some blocks of 32 columns, each tile
 * with the scales of its rows in front; the last tile may hold fewer blocks, the last
 * block fewer columns.  tests/unit/format_test.c compares them with the kernels.
 */
#include "format.h"

/* What a format is good for. */
#define WEIGHT	(1u << 0)	/* an operand of a product */
#define SOURCE	(1u << 1)	/* its values can be rounded to MXFP4_G16 and INT8_G16 */
#define BOTH	(WEIGHT | SOURCE)

/**
 * struct format - how a format is cut
 * @rows: rows in a unit, 0 where there is no such format
 * @cols: columns come in multiples of this
 * @block: columns in a block
 * @block_bytes: bytes of a block of a unit
 * @tile_blocks: packed: blocks of a tile
 * @tile_bytes: packed: bytes of scales in front of them
 * @use: WEIGHT, SOURCE
 * @packed: enum vb_format of the packed format that keeps its values; NONE without one
 * @name: for people and tools
 */
struct format {
	u16 rows;
	u16 cols;
	u16 block;
	u16 block_bytes;
	u16 tile_blocks;
	u16 tile_bytes;
	u16 use;
	u16 packed;
	const char *name;
};

#define ROWS(format, block, bytes, use, packed, name) \
	[VB_FORMAT_##format] = { 1, block, block, bytes, 1, 0, use, VB_FORMAT_##packed, name }
#define GROUPS(format, cols, bytes, tile_blocks, tile_bytes, name) \
	[VB_FORMAT_##format] = { VB_GROUP_ROWS, cols, 32, bytes, tile_blocks, tile_bytes, \
				 WEIGHT, VB_FORMAT_NONE, name }

/* By enum vb_format: every operand of every command is looked up several times. */
static const struct format formats[] = {
	ROWS(F32, 1, 4, BOTH, NONE, "f32"),
	ROWS(F16, 1, 2, BOTH, NONE, "f16"),
	ROWS(BF16, 1, 2, BOTH, NONE, "bf16"),
	ROWS(I32, 1, 4, 0, NONE, "i32"),
	ROWS(U8, 1, 1, 0, NONE, "u8"),
	ROWS(F8_E4M3, 1, 1, SOURCE, NONE, "f8-e4m3"),
	ROWS(F8_E5M2, 1, 1, SOURCE, NONE, "f8-e5m2"),
	ROWS(TQ1_0, 256, 54, SOURCE, NONE, "tq1-0"),
	ROWS(TQ2_0, 256, 66, SOURCE, NONE, "tq2-0"),
	ROWS(MXFP4, 32, 17, WEIGHT, MXFP4_G16, "mxfp4"),
	ROWS(MXFP4_SPLIT, 32, 16, WEIGHT, MXFP4_G16, "mxfp4-split"),
	ROWS(Q8_0, 32, 34, WEIGHT, INT8_G16, "q8-0"),
	ROWS(Q4_0, 32, 18, BOTH, Q4_0_G16, "q4-0"),
	ROWS(Q4_1, 32, 20, BOTH, Q4_1_G16, "q4-1"),
	ROWS(Q5_0, 32, 22, BOTH, Q5_0_G16, "q5-0"),
	ROWS(Q5_1, 32, 24, BOTH, Q5_1_G16, "q5-1"),
	ROWS(Q2_K, 256, 84, SOURCE, NONE, "q2-k"),
	ROWS(Q3_K, 256, 110, SOURCE, NONE, "q3-k"),
	ROWS(Q4_K, 256, 144, BOTH, Q4_K_G16, "q4-k"),
	ROWS(Q5_K, 256, 176, BOTH, Q5_K_G16, "q5-k"),
	ROWS(Q6_K, 256, 210, BOTH, Q6_K_G16, "q6-k"),
	ROWS(IQ4_NL, 32, 18, SOURCE, NONE, "iq4-nl"),
	ROWS(IQ4_XS, 256, 136, SOURCE, NONE, "iq4-xs"),
	ROWS(NVFP4, 64, 36, BOTH, NVFP4_G16, "nvfp4"),
	ROWS(F64, 1, 8, SOURCE, NONE, "f64"),
	ROWS(Q8_K, 256, 292, SOURCE, NONE, "q8-k"),
	ROWS(IQ1_S, 256, 50, SOURCE, NONE, "iq1-s"),
	ROWS(IQ1_M, 256, 56, SOURCE, NONE, "iq1-m"),
	ROWS(IQ2_XXS, 256, 66, SOURCE, NONE, "iq2-xxs"),
	ROWS(IQ2_XS, 256, 74, SOURCE, NONE, "iq2-xs"),
	ROWS(IQ2_S, 256, 82, SOURCE, NONE, "iq2-s"),
	ROWS(IQ3_XXS, 256, 98, SOURCE, NONE, "iq3-xxs"),
	ROWS(IQ3_S, 256, 110, SOURCE, NONE, "iq3-s"),
	ROWS(Q1_0, 128, 18, SOURCE, NONE, "q1-0"),
	ROWS(F4_E2M1, 2, 1, SOURCE, NONE, "f4-e2m1"),
	/* 16 rows of 32 codes a block; what a tile begins with: scales, minima, zero points */
	GROUPS(MXFP4_G16, 1, 256, 4, 64, "mxfp4-g16"),
	GROUPS(INT8_G16, 1, 512, 4, 128, "int8-g16"),
	GROUPS(Q4_0_G16, 32, 256, 4, 128, "q4-0-g16"),
	GROUPS(Q4_1_G16, 32, 256, 4, 256, "q4-1-g16"),
	GROUPS(Q5_0_G16, 32, 320, 4, 128, "q5-0-g16"),
	GROUPS(Q5_1_G16, 32, 320, 4, 256, "q5-1-g16"),
	GROUPS(Q4_K_G16, 256, 256, 8, 256, "q4-k-g16"),
	GROUPS(Q5_K_G16, 256, 320, 8, 256, "q5-k-g16"),
	GROUPS(Q6_K_G16, 256, 384, 8, 320, "q6-k-g16"),
	GROUPS(NVFP4_G16, 64, 256, 2, 64, "nvfp4-g16"),
	GROUPS(INT4_64_G16, 64, 256, 8, 128, "int4-64-g16"),
	GROUPS(INT4_128_G16, 128, 256, 16, 128, "int4-128-g16"),
	GROUPS(INT4_Z32_G16, 32, 256, 4, 192, "int4-z32-g16"),
	GROUPS(INT4_Z64_G16, 64, 256, 8, 192, "int4-z64-g16"),
	GROUPS(INT4_Z128_G16, 128, 256, 16, 192, "int4-z128-g16"),
};

static const struct format *find(u32 format)
{
	const u32 count = sizeof(formats) / sizeof(formats[0]);

	if (format >= count)
		return NULL;
	format = array_index_nospec(format, count);
	return formats[format].rows ? &formats[format] : NULL;
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

	if (!f || !k || k % f->cols)
		return -EINVAL;
	blocks = pieces(k, f->block);
	out->rows = f->rows;
	out->align = f->rows > 1 ? VB_PACKED_ALIGN : 1;
	out->bytes = (u64)blocks * f->block_bytes +
		     (u64)pieces(blocks, f->tile_blocks) * f->tile_bytes;
	return 0;
}

u32 vb_format_cols(u32 format)
{
	const struct format *f = find(format);

	return f ? f->cols : 1;
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

	return f && f->use & WEIGHT;
}

bool vb_format_is_packed(u32 format)
{
	const struct format *f = find(format);

	return f && f->rows > 1;
}

u32 vb_format_packed(u32 format)
{
	const struct format *f = find(format);

	return f ? f->packed : VB_FORMAT_NONE;
}

bool vb_format_packs_to(u32 format, u32 packed)
{
	const struct format *f = find(format);

	if (!f || packed == VB_FORMAT_NONE)
		return false;
	if (f->use & SOURCE && (packed == VB_FORMAT_MXFP4_G16 || packed == VB_FORMAT_INT8_G16))
		return true;
	return f->packed == packed;
}

const char *vb_format_name(u32 format)
{
	const struct format *f = find(format);

	if (format == VB_FORMAT_NONE)
		return "none";
	return f ? f->name : "?";
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Sizes of the formats.  The numbers of the packed ones are those of
 * Documentation/kernels.md, "Packed weights"; tests/unit/format_test.c compares
 * them with what the kernels say.
 */
#include "format.h"

/**
 * struct format - how a format is cut
 * @format: enum vb_format
 * @rows: rows in a unit
 * @block: columns in a block
 * @block_bytes: bytes of a block of a unit
 * @round: the unit is rounded up to this; a power of two
 * @ragged: the last block may hold fewer columns
 * @weight: may a weight have it
 * @name: for people and tools
 */
struct format {
	u16 format;
	u16 rows;
	u16 block;
	u16 block_bytes;
	u16 round;
	bool ragged;
	bool weight;
	const char *name;
};

static const struct format formats[] = {
	{ VB_FORMAT_F32, 1, 1, 4, 1, false, true, "f32" },
	{ VB_FORMAT_F16, 1, 1, 2, 1, false, true, "f16" },
	{ VB_FORMAT_BF16, 1, 1, 2, 1, false, true, "bf16" },
	{ VB_FORMAT_I32, 1, 1, 4, 1, false, false, "i32" },
	{ VB_FORMAT_U8, 1, 1, 1, 1, false, false, "u8" },
	{ VB_FORMAT_MXFP4, 1, 32, 17, 1, false, true, "mxfp4" },
	{ VB_FORMAT_MXFP4_SPLIT, 1, 32, 16, 1, false, true, "mxfp4-split" },
	{ VB_FORMAT_Q8_0, 1, 32, 34, 1, false, true, "q8-0" },
	/* 16 rows: 256 bytes of nibbles and 16 E8M0 scales a block */
	{ VB_FORMAT_MXFP4_G16, 16, 32, 272, 64, true, true, "mxfp4-g16" },
	/* 16 rows: 512 bytes and 16 F16 scales a block */
	{ VB_FORMAT_INT8_G16, 16, 32, 544, 64, true, true, "int8-g16" },
};

static const struct format *find(u32 format)
{
	size_t i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i].format == format)
			return &formats[i];
	return NULL;
}

int vb_format_unit(u32 format, u32 k, struct vb_unit *out)
{
	const struct format *f = find(format);
	u64 blocks, bytes;

	if (!f || !k)
		return -EINVAL;
	blocks = k / f->block;
	if (k % f->block) {
		if (!f->ragged)
			return -EINVAL;
		blocks++;
	}
	bytes = blocks * f->block_bytes;
	out->rows = f->rows;
	out->align = f->round;
	out->bytes = (bytes + f->round - 1) & ~(u64)(f->round - 1);
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
	if (check_mul_overflow((u64)(n / unit.rows + (n % unit.rows != 0)), unit.bytes,
			       &bytes))
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

const char *vb_format_name(u32 format)
{
	const struct format *f = find(format);

	if (format == VB_FORMAT_NONE)
		return "none";
	return f ? f->name : "?";
}

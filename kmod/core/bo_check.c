// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "bo_check.h"
#include "format.h"

static bool is_zero_transform(const struct vb_transform *t)
{
	static const struct vb_transform none;

	return !memcmp(t, &none, sizeof(none));
}

static int check_anonymous(const struct vb_ioc_bo_create *cmd)
{
	if (cmd->life > VB_LIFE_SCRATCH || cmd->fd != -1 || cmd->file_offset ||
	    cmd->file_bytes || !is_zero_transform(&cmd->transform))
		return -EINVAL;
	return 0;
}

static int check_file(const struct vb_ioc_bo_create *cmd)
{
	if (cmd->life != VB_LIFE_VOLATILE || cmd->file_bytes ||
	    !is_zero_transform(&cmd->transform))
		return -EINVAL;
	return 0;
}

static bool is_fp8(u32 format)
{
	return format == VB_FORMAT_F8_E4M3 || format == VB_FORMAT_F8_E5M2;
}

/* Of one scale that lies apart; 0: there are none of this format. */
static u32 scale_bytes(u32 format)
{
	switch (format) {
	case VB_FORMAT_F32:
		return 4;
	case VB_FORMAT_F16:
	case VB_FORMAT_BF16:
		return 2;
	case VB_FORMAT_U8:
		return 1;
	}
	return 0;
}

static bool scales_fit(const struct vb_transform *t)
{
	if (t->scale_format)
		return is_fp8(t->src_format) && scale_bytes(t->scale_format);
	return !t->scale_rows && !t->scale_cols &&
	       (!t->scales_offset || t->src_format == VB_FORMAT_MXFP4_SPLIT);
}

static u32 pieces(u32 n, u32 of)
{
	return n / of + (n % of ? 1 : 0);
}

struct vb_scales vb_transform_scales(const struct vb_transform *t)
{
	struct vb_scales s = { 0 };

	if (t->src_format == VB_FORMAT_MXFP4_SPLIT) {
		/* A byte for each 32 values. */
		s.row_values = 1;
		s.col_values = 32;
		s.row_bytes = t->cols / 32;
	} else if (t->scale_format) {
		s.row_values = t->scale_rows ? t->scale_rows : t->rows;
		s.col_values = t->scale_cols ? t->scale_cols : t->cols;
		s.row_bytes = (u64)pieces(t->cols, s.col_values) * scale_bytes(t->scale_format);
	} else {
		return s;
	}
	s.rows = pieces(t->rows, s.row_values);
	return s;
}

static int stack_bytes(u32 format, const struct vb_transform *t, u64 *out)
{
	u64 one;
	int rc;

	rc = vb_format_matrix_bytes(format, t->rows, t->cols, &one);
	if (rc)
		return rc;
	return check_mul_overflow(one, (u64)t->stack, out) ? -EOVERFLOW : 0;
}

static int check_derived(const struct vb_ioc_bo_create *cmd)
{
	const struct vb_transform *t = &cmd->transform;
	u64 from, to;
	int rc;

	if (cmd->life != VB_LIFE_VOLATILE || t->kind != VB_TRANSFORM_PACK || !t->rows ||
	    !t->cols || !t->stack || !vb_format_packs_to(t->src_format, t->dst_format) ||
	    !scales_fit(t))
		return -EINVAL;
	rc = stack_bytes(t->src_format, t, &from);
	if (!rc)
		rc = stack_bytes(t->dst_format, t, &to);
	if (rc)
		return rc;
	return cmd->file_bytes == from && cmd->bytes == to ? 0 : -EINVAL;
}

int vb_bo_check(const struct vb_ioc_bo_create *cmd)
{
	if (!cmd->bytes || cmd->bytes > VB_OBJECT_BYTES_MAX)
		return -EINVAL;
	switch (cmd->kind) {
	case VB_BO_ANONYMOUS:
		return check_anonymous(cmd);
	case VB_BO_FILE:
		return check_file(cmd);
	case VB_BO_DERIVED:
		return check_derived(cmd);
	default:
		return -EINVAL;
	}
}

static int check_in_file(u64 file_bytes, u64 offset, u64 bytes)
{
	u64 end;

	if (check_add_overflow(offset, bytes, &end))
		return -EOVERFLOW;
	return end > file_bytes ? -ERANGE : 0;
}

int vb_bo_check_source(const struct vb_ioc_bo_create *cmd, u64 file_bytes)
{
	const struct vb_transform *t = &cmd->transform;
	u64 bytes = cmd->kind == VB_BO_FILE ? cmd->bytes : cmd->file_bytes;
	struct vb_scales s;
	int rc;

	rc = check_in_file(file_bytes, cmd->file_offset, bytes);
	if (rc || cmd->kind == VB_BO_FILE)
		return rc;
	s = vb_transform_scales(t);
	if (check_mul_overflow((u64)s.rows * t->stack, s.row_bytes, &bytes))
		return -EOVERFLOW;
	return s.rows ? check_in_file(file_bytes, t->scales_offset, bytes) : 0;
}

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

/* Operands are regrouped and keep their format; floats, and types that are none, are packed. */
static bool pack_fits(u32 src, u32 dst)
{
	switch (src) {
	case VB_FORMAT_F32:
	case VB_FORMAT_F16:
	case VB_FORMAT_BF16:
		return vb_format_is_packed(dst);
	case VB_FORMAT_MXFP4:
	case VB_FORMAT_MXFP4_SPLIT:
		return dst == VB_FORMAT_MXFP4_G16;
	case VB_FORMAT_Q8_0:
		return dst == VB_FORMAT_INT8_G16;
	default:
		return vb_format_is_source(src) && vb_format_is_packed(dst);
	}
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

	if (cmd->life != VB_LIFE_VOLATILE || t->kind != VB_TRANSFORM_PACK || t->__reserved ||
	    t->__reserved2 || !t->rows || !t->cols || !t->stack ||
	    !pack_fits(t->src_format, t->dst_format) ||
	    (t->scales_offset && t->src_format != VB_FORMAT_MXFP4_SPLIT))
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
	int rc;

	rc = check_in_file(file_bytes, cmd->file_offset, bytes);
	if (rc || cmd->kind == VB_BO_FILE || t->src_format != VB_FORMAT_MXFP4_SPLIT)
		return rc;
	/* Split MXFP4 has 16 bytes of blocks and one scale for each 32 values. */
	return check_in_file(file_bytes, t->scales_offset, bytes / 16);
}

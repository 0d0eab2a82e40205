// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Where an operand's bytes are.
 *
 * Seen from the inside out: the innermost dimension of plain elements is a dense
 * row; a format in blocks has units (a row, or a group of 16) instead, dense behind
 * each other; a vector of row-major blocks is one.  Every dimension around that repeats
 * what is inside at its stride.
 */
#include "operand.h"

/**
 * struct layout - an operand taken apart
 * @stride: bytes from one index to the next, dense ones resolved
 * @inner: bytes that one index of the dimension spans
 * @bytes: bytes that all span
 */
struct layout {
	u64 stride[VB_OPERAND_RANK_MAX];
	u64 inner[VB_OPERAND_RANK_MAX];
	u64 bytes;
};

/* Elements that are addressed one by one: their size; else 0. */
static u32 element_bytes(u16 format)
{
	switch (format) {
	case VB_FORMAT_F32:
	case VB_FORMAT_I32:
		return 4;
	case VB_FORMAT_F16:
	case VB_FORMAT_BF16:
		return 2;
	case VB_FORMAT_U8:
		return 1;
	}
	return 0;
}

/* The innermost one or two dimensions; returns how many are left around them. */
static int layout_core(const struct vb_operand *op, struct layout *l, u64 *dense)
{
	u32 d = op->rank - 1u, size = element_bytes(op->format);
	struct vb_unit unit;

	if (size) {
		l->stride[d] = size;
		l->inner[d] = size;
		l->bytes = *dense = (u64)op->shape[d] * size;
		return (int)d;
	}
	if (vb_format_unit(op->format, op->shape[d], &unit) || (!d && unit.rows > 1))
		return -EINVAL;
	l->stride[d] = 0;
	l->inner[d] = 0;
	if (!d) {
		l->bytes = *dense = unit.bytes;
		return 0;
	}
	d--;
	if (vb_format_matrix_bytes(op->format, op->shape[d], op->shape[d + 1], dense))
		return -EOVERFLOW;
	l->stride[d] = unit.bytes;
	l->inner[d] = unit.bytes;
	l->bytes = *dense;
	return (int)d;
}

static int layout_of(const struct vb_operand *op, struct layout *l)
{
	u64 dense;
	int d;

	if (!op->rank || op->rank > VB_OPERAND_RANK_MAX)
		return -EINVAL;
	for (d = 0; d < op->rank; d++)
		if (!op->shape[d])
			return -EINVAL;
	d = layout_core(op, l, &dense);
	if (d < 0)
		return d;
	while (d-- > 0) {
		l->inner[d] = l->bytes;
		l->stride[d] = op->stride[d] ? op->stride[d] : dense;
		if (check_mul_overflow((u64)op->shape[d] - 1, l->stride[d], &l->bytes) ||
		    check_add_overflow(l->bytes, l->inner[d], &l->bytes) ||
		    check_mul_overflow((u64)op->shape[d], l->stride[d], &dense))
			return -EOVERFLOW;
	}
	return 0;
}

int vb_operand_extent(const struct vb_operand *op, u64 *out_bytes)
{
	struct layout l;
	int rc = layout_of(op, &l);

	if (!rc)
		*out_bytes = l.bytes;
	return rc;
}

u64 vb_operand_stride(const struct vb_operand *op, u32 dim)
{
	struct layout l;

	if (dim >= op->rank || layout_of(op, &l))
		return 0;
	return l.stride[dim];
}

int vb_cmd_fail(struct vb_cmd_error *error, int rc, const struct vb_cmd_blame *blame,
		u64 value, u64 limit)
{
	error->errno_value = rc;
	error->fault = blame->fault;
	error->must = blame->must;
	error->dim = (u16)blame->dim;
	error->operand = blame->operand;
	error->field = blame->field;
	error->value = value;
	error->limit = limit;
	return rc;
}

/* The operand under check and where to say what is wrong with it. */
struct check {
	const struct vb_operand *op;
	const struct vb_operand_form *form;
	struct vb_cmd_error *error;
};

static int fail_dim(const struct check *c, u16 fault, u16 must, const char *field, u32 dim,
		    u64 value, u64 limit)
{
	struct vb_cmd_blame blame = { c->form->name, field, fault, must, dim };

	return vb_cmd_fail(c->error, -EINVAL, &blame, value, limit);
}

static int fail(const struct check *c, int rc, u16 fault, u16 must, const char *field,
		u64 value, u64 limit)
{
	struct vb_cmd_blame blame = { c->form->name, field, fault, must, 0 };

	return vb_cmd_fail(c->error, rc, &blame, value, limit);
}

/* An operand that is not there says nothing at all. */
static int check_absent(const struct check *c)
{
	const struct vb_operand *op = c->op;
	u32 d;

	if (!(c->form->flags & VB_FORM_OPTIONAL))
		return fail(c, -EINVAL, VB_FAULT_MISSING, VB_MUST_EXIST, NULL, 0, 0);
	if (op->bo)
		return fail(c, -EINVAL, VB_FAULT_BO_INDEX, VB_MUST_EQUAL, "bo", op->bo, 0);
	if (op->rank)
		return fail(c, -EINVAL, VB_FAULT_RANK, VB_MUST_EQUAL, "rank", op->rank, 0);
	if (op->offset)
		return fail(c, -EINVAL, VB_FAULT_ALIGN, VB_MUST_EQUAL, "offset",
			    op->offset, 0);
	for (d = 0; d < VB_OPERAND_RANK_MAX; d++) {
		if (op->shape[d])
			return fail_dim(c, VB_FAULT_SHAPE, VB_MUST_EQUAL, "shape", d,
					op->shape[d], 0);
		if (op->stride[d])
			return fail_dim(c, VB_FAULT_STRIDE, VB_MUST_EQUAL, "stride", d,
					op->stride[d], 0);
	}
	return 0;
}

static int check_format(const struct check *c)
{
	if (c->op->format < 64 && c->form->formats >> c->op->format & 1)
		return 0;
	return fail(c, -EINVAL, VB_FAULT_FORMAT, VB_MUST_FORMAT, "format", c->op->format,
		    c->form->formats);
}

static int check_rank(const struct check *c)
{
	u32 min = 1, max = VB_OPERAND_RANK_MAX, rank = c->op->rank;

	if (vb_form_dims(c->form, rank))
		return 0;
	while (!vb_form_dims(c->form, min))
		min++;
	while (!vb_form_dims(c->form, max))
		max--;
	if (min == max)
		return fail(c, -EINVAL, VB_FAULT_RANK, VB_MUST_EQUAL, "rank", rank, min);
	if (rank < min)
		return fail(c, -EINVAL, VB_FAULT_RANK, VB_MUST_MIN, "rank", rank, min);
	return fail(c, -EINVAL, VB_FAULT_RANK, VB_MUST_MAX, "rank", rank, max);
}

static int check_shape(const struct check *c)
{
	const struct vb_operand *op = c->op;
	struct vb_unit unit;
	u32 d;

	for (d = 0; d < VB_OPERAND_RANK_MAX; d++) {
		if (d < op->rank && !op->shape[d])
			return fail_dim(c, VB_FAULT_SHAPE, VB_MUST_MIN, "shape", d, 0, 1);
		if (d >= op->rank && op->shape[d])
			return fail_dim(c, VB_FAULT_SHAPE, VB_MUST_EQUAL, "shape", d,
					op->shape[d], 0);
	}
	d = op->rank - 1u;
	/* Elements come in any number. */
	if (!element_bytes(op->format) && vb_format_unit(op->format, op->shape[d], &unit))
		return fail_dim(c, VB_FAULT_SHAPE, VB_MUST_MULTIPLE, "shape", d,
				op->shape[d], vb_format_cols(op->format));
	return 0;
}

/* Rows lie behind each other: a matrix, and all that is in blocks. */
static bool has_dense_rows(const struct check *c)
{
	return c->form->flags & VB_FORM_MATRIX || !element_bytes(c->op->format);
}

/* Multiple that offset and outer strides keep. */
static u32 alignment(const struct check *c)
{
	if (vb_format_is_packed(c->op->format))
		return VB_PACKED_ALIGN;
	return has_dense_rows(c) ? 1 : element_bytes(c->op->format);
}

/* The columns, and the rows of a matrix, are dense; a packed row has no stride. */
static int check_dense_stride(const struct check *c, u32 d, u64 dense)
{
	if (vb_format_is_packed(c->op->format))
		dense = 0;
	if (!c->op->stride[d] || c->op->stride[d] == dense)
		return 0;
	return fail_dim(c, VB_FAULT_STRIDE, VB_MUST_EQUAL, "stride", d, c->op->stride[d],
			dense);
}

static int check_outer_stride(const struct check *c, u32 d, u64 inner)
{
	u64 stride = c->op->stride[d];

	if (!stride)
		return 0;
	if (stride < inner)
		return fail_dim(c, VB_FAULT_STRIDE, VB_MUST_MIN, "stride", d, stride, inner);
	if (stride & (alignment(c) - 1))
		return fail_dim(c, VB_FAULT_STRIDE, VB_MUST_MULTIPLE, "stride", d, stride,
				alignment(c));
	return 0;
}

static int check_strides(const struct check *c, const struct layout *l)
{
	u32 dense = has_dense_rows(c) ? 2 : 1, d;
	int rc = 0;

	for (d = 0; d < VB_OPERAND_RANK_MAX && !rc; d++) {
		if (d + dense < c->op->rank)
			rc = check_outer_stride(c, d, l->inner[d]);
		else
			rc = check_dense_stride(c, d, d < c->op->rank ? l->inner[d] : 0);
	}
	return rc;
}

static int check_bo(const struct check *c, const struct vb_cmd_bo *bos, u32 bo_count)
{
	u32 access = c->form->access, bo = c->op->bo;

	if (!bo_count)
		return fail(c, -EINVAL, VB_FAULT_BO_INDEX, VB_MUST_EXIST, "bo", bo, 0);
	if (bo >= bo_count)
		return fail(c, -EINVAL, VB_FAULT_BO_INDEX, VB_MUST_MAX, "bo", bo,
			    bo_count - 1);
	if (access == VB_ACCESS_WRITE && bos[bo].sealed)
		return fail(c, -EROFS, VB_FAULT_ACCESS, VB_MUST_NOT_BE_SEALED, "bo", bo, 0);
	if (!(bos[bo].access & access))
		return fail(c, -EINVAL, VB_FAULT_ACCESS, VB_MUST_INCLUDE, "access",
			    bos[bo].access, access);
	return 0;
}

static int check_extent(const struct check *c, const struct layout *l, u64 bo_bytes)
{
	u64 end;

	if (c->op->offset & (alignment(c) - 1))
		return fail(c, -EINVAL, VB_FAULT_ALIGN, VB_MUST_MULTIPLE, "offset",
			    c->op->offset, alignment(c));
	if (check_add_overflow(c->op->offset, l->bytes, &end))
		return fail(c, -EOVERFLOW, VB_FAULT_EXTENT, VB_MUST_FIT, "offset",
			    c->op->offset, 0);
	if (end > bo_bytes)
		return fail(c, -ERANGE, VB_FAULT_EXTENT, VB_MUST_MAX, "end", end, bo_bytes);
	return 0;
}

int vb_operand_check(const struct vb_operand *op, const struct vb_operand_form *form,
		     const struct vb_cmd_bo *bos, u32 bo_count, u64 *out_bytes,
		     struct vb_cmd_error *error)
{
	struct check c = { op, form, error };
	struct layout l;
	int rc;

	*out_bytes = 0;
	if (op->__reserved)
		return fail(&c, -EINVAL, VB_FAULT_RESERVED, VB_MUST_EQUAL, "__reserved",
			    op->__reserved, 0);
	if (op->format == VB_FORMAT_NONE)
		return check_absent(&c);
	rc = check_format(&c);
	if (!rc)
		rc = check_rank(&c);
	if (!rc)
		rc = check_shape(&c);
	if (rc)
		return rc;
	if (layout_of(op, &l))
		return fail(&c, -EOVERFLOW, VB_FAULT_EXTENT, VB_MUST_FIT, "shape", 0, 0);
	rc = check_strides(&c, &l);
	if (!rc)
		rc = check_bo(&c, bos, bo_count);
	if (!rc)
		rc = check_extent(&c, &l, bos[op->bo].bytes);
	if (!rc)
		*out_bytes = l.bytes;
	return rc;
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * One command against its form: each operand by itself, lengths that belong
 * together, fields, what only this opcode demands, and outputs that overlap.
 */
#include "operand.h"

/**
 * struct check - a command under check
 * @cmd: the command
 * @form: what it must look like
 * @bos: BO list
 * @error: where to say what is wrong
 * @op: its operands
 * @bytes: extent of each, 0 when absent
 * @length: of each letter of the forms, 0 when no operand named it yet
 */
struct check {
	const struct vb_cmd_header *cmd;
	const struct vb_cmd_form *form;
	const struct vb_cmd_bo *bos;
	struct vb_cmd_error *error;
	const struct vb_operand *op[VB_CMD_OPERANDS_MAX];
	u64 bytes[VB_CMD_OPERANDS_MAX];
	u32 length['z' - 'a' + 1];
};

static u32 *length_of(struct check *c, char letter)
{
	return &c->length[letter - 'a'];
}

static int fail_operand(const struct check *c, u32 index, u16 fault, u16 must,
			const char *field, u64 value, u64 limit)
{
	struct vb_cmd_blame blame = { c->form->operands[index].name, field, fault, must, 0 };

	return vb_cmd_fail(c->error, -EINVAL, &blame, value, limit);
}

static int fail_shape(const struct check *c, u32 index, u32 dim, u16 must, u64 limit)
{
	struct vb_cmd_blame blame = { c->form->operands[index].name, "shape",
				      VB_FAULT_SHAPE, must, dim };

	return vb_cmd_fail(c->error, -EINVAL, &blame, c->op[index]->shape[dim], limit);
}

static int fail_field(const struct check *c, const char *name, u16 fault, u16 must,
		      u64 value, u64 limit)
{
	struct vb_cmd_blame blame = { name, NULL, fault, must, 0 };

	return vb_cmd_fail(c->error, -EINVAL, &blame, value, limit);
}

/* The first operand that names a length sets it, the others must agree. */
static int check_lengths(struct check *c, u32 index)
{
	const struct vb_operand *op = c->op[index];
	const char *dims = vb_form_dims(&c->form->operands[index], op->rank);
	u32 d, wanted;

	for (d = 0; d < op->rank; d++) {
		if (dims[d] == 'M' && op->shape[d] == 1)
			continue;
		if (dims[d] == 'M')
			wanted = *length_of(c, 'm');
		else if (dims[d] == 'K')
			wanted = *length_of(c, 'k') / 32;
		else if (*length_of(c, dims[d]))
			wanted = *length_of(c, dims[d]);
		else
			wanted = *length_of(c, dims[d]) = op->shape[d];
		if (op->shape[d] != wanted)
			return fail_shape(c, index, d, VB_MUST_EQUAL, wanted);
	}
	return 0;
}

static int check_operands(struct check *c, u32 bo_count)
{
	u32 i;
	int rc;

	for (i = 0; i < c->form->operand_count; i++) {
		c->op[i] = vb_form_operand(c->form, c->cmd, i);
		rc = vb_operand_check(c->op[i], &c->form->operands[i], c->bos, bo_count,
				      &c->bytes[i], c->error);
		if (!rc && c->bytes[i])
			rc = check_lengths(c, i);
		if (rc)
			return rc;
	}
	return 0;
}

static bool f32_is_finite(u32 bits)
{
	return (bits & 0x7f800000u) != 0x7f800000u;
}

static bool f32_is_zero(u32 bits)
{
	return !(bits & 0x7fffffffu);
}

static bool f32_is_negative(u32 bits)
{
	return bits >> 31 && !f32_is_zero(bits);
}

static bool field_is_legal(const struct vb_field_form *f, u32 value)
{
	switch (f->must) {
	case VB_MUST_EQUAL:
		return value == f->limit;
	case VB_MUST_MAX:
		return value <= f->limit;
	case VB_MUST_BITS:
		return !(value & ~f->limit);
	case VB_MUST_FINITE:
		return f32_is_finite(value);
	case VB_MUST_NOT_NEGATIVE:
		return f32_is_finite(value) && !f32_is_negative(value);
	case VB_MUST_POSITIVE:
		return f32_is_finite(value) && !f32_is_negative(value) &&
		       !f32_is_zero(value);
	}
	return false;
}

static int check_fields(const struct check *c)
{
	const struct vb_field_form *f;
	u32 value;

	for (f = c->form->fields; f->name; f++) {
		memcpy(&value, (const char *)c->cmd + f->offset, sizeof(value));
		if (!field_is_legal(f, value))
			return fail_field(c, f->name, f->fault, f->must, value, f->limit);
	}
	return 0;
}

/* Products: operand 1 is the weight, 2 its scales. */
static int check_scales(const struct check *c)
{
	bool split = c->op[1]->format == VB_FORMAT_MXFP4_SPLIT;

	if (split && !c->bytes[2])
		return fail_operand(c, 2, VB_FAULT_MISSING, VB_MUST_EXIST, NULL, 0, 0);
	if (!split && c->bytes[2])
		return fail_operand(c, 2, VB_FAULT_FORMAT, VB_MUST_FORMAT, "format",
				    c->op[2]->format, 1ull << VB_FORMAT_NONE);
	return 0;
}

/* From key to key there are whole blocks. */
static int check_key_stride(const struct check *c, u32 index)
{
	const struct vb_operand *op = c->op[index];
	struct vb_cmd_blame blame = { c->form->operands[index].name, "stride", VB_FAULT_STRIDE,
				      VB_MUST_MULTIPLE, 0 };
	struct vb_unit block;

	if (op->format != VB_FORMAT_Q8_0)
		return 0;
	if (vb_format_unit(op->format, vb_format_cols(op->format), &block) ||
	    op->stride[0] % block.bytes)
		return vb_cmd_fail(c->error, -EINVAL, &blame, op->stride[0], block.bytes);
	return 0;
}

static int check_attention(const struct check *c)
{
	int rc;

	if (c->op[0]->shape[1] % c->op[1]->shape[1])
		return fail_shape(c, 1, 1, VB_MUST_DIVIDE, c->op[0]->shape[1]);
	if (c->op[2]->format != c->op[1]->format)
		return fail_operand(c, 2, VB_FAULT_FORMAT, VB_MUST_FORMAT, "format",
				    c->op[2]->format, 1ull << c->op[1]->format);
	rc = check_key_stride(c, 1);
	return rc ? rc : check_key_stride(c, 2);
}

static int check_norm(const struct check *c)
{
	const struct vb_cmd_norm *norm = (const void *)c->cmd;

	if (norm->kind != VB_NORM_LAYER && c->bytes[2])
		return fail_operand(c, 2, VB_FAULT_FORMAT, VB_MUST_FORMAT, "format",
				    norm->beta.format, 1ull << VB_FORMAT_NONE);
	if (norm->kind != VB_NORM_RMS && norm->add_f32)
		return fail_field(c, "add_f32", VB_FAULT_RESERVED, VB_MUST_EQUAL,
				  norm->add_f32, 0);
	return 0;
}

static int check_rope(const struct check *c)
{
	const struct vb_cmd_rope *rope = (const void *)c->cmd;

	if (rope->rot % 2)
		return fail_field(c, "rot", VB_FAULT_RANGE, VB_MUST_MULTIPLE, rope->rot, 2);
	if (rope->rot > rope->x.shape[2])
		return fail_field(c, "rot", VB_FAULT_RANGE, VB_MUST_MAX, rope->rot,
				  rope->x.shape[2]);
	return 0;
}

static int check_eltwise(const struct check *c)
{
	static const u32 op_max[VB_ELTWISE_COUNT] = {
		VB_UNARY_COUNT - 1, VB_BINARY_COUNT - 1, 0
	};
	const struct vb_cmd_eltwise *e = (const void *)c->cmd;

	if (e->op > op_max[e->kind])
		return fail_field(c, "op", VB_FAULT_RANGE, VB_MUST_MAX, e->op,
				  op_max[e->kind]);
	if (e->kind != VB_ELTWISE_SCALE && e->scale_f32)
		return fail_field(c, "scale_f32", VB_FAULT_RESERVED, VB_MUST_EQUAL,
				  e->scale_f32, 0);
	if (e->kind == VB_ELTWISE_BINARY && !c->bytes[1])
		return fail_operand(c, 1, VB_FAULT_MISSING, VB_MUST_EXIST, NULL, 0, 0);
	if (e->kind != VB_ELTWISE_BINARY && c->bytes[1])
		return fail_operand(c, 1, VB_FAULT_FORMAT, VB_MUST_FORMAT, "format",
				    e->b.format, 1ull << VB_FORMAT_NONE);
	return 0;
}

static int check_topk(const struct check *c)
{
	if (c->op[1]->shape[1] > c->op[0]->shape[1])
		return fail_shape(c, 1, 1, VB_MUST_MAX, c->op[0]->shape[1]);
	return 0;
}

static int check_copy(const struct check *c)
{
	const struct vb_operand *x = c->op[0], *y = c->op[1];
	u64 formats = 1ull << x->format;

	if (formats & VB_FORM_VALUES)
		formats = VB_FORM_VALUES;
	if (!(formats >> y->format & 1))
		return fail_operand(c, 1, VB_FAULT_FORMAT, VB_MUST_FORMAT, "format",
				    y->format, formats);
	if (x->rank != y->rank)
		return fail_operand(c, 1, VB_FAULT_RANK, VB_MUST_EQUAL, "rank", y->rank,
				    x->rank);
	return 0;
}

static int check_opcode(const struct check *c)
{
	switch (c->cmd->opcode) {
	case VB_CMD_MATMUL:
	case VB_CMD_MATMUL_ID:
	case VB_CMD_MATMUL_GATE:
	case VB_CMD_MATMUL_TRANSPOSED:
		return check_scales(c);
	case VB_CMD_ATTENTION:
		return check_attention(c);
	case VB_CMD_NORM:
		return check_norm(c);
	case VB_CMD_ROPE:
		return check_rope(c);
	case VB_CMD_ELTWISE:
		return check_eltwise(c);
	case VB_CMD_TOPK:
		return check_topk(c);
	case VB_CMD_COPY:
		return check_copy(c);
	}
	return 0;
}

/* The same elements at the same places: safe to overwrite as they are read. */
static bool is_same(const struct vb_operand *a, const struct vb_operand *b)
{
	u32 d;

	if (a->offset != b->offset || a->format != b->format || a->rank != b->rank)
		return false;
	if (!memcmp(a->shape, b->shape, sizeof(a->shape)) &&
	    !memcmp(a->stride, b->stride, sizeof(a->stride)))
		return true;
	for (d = 0; d < a->rank; d++)
		if (a->shape[d] != b->shape[d] ||
		    (a->shape[d] > 1 && vb_operand_stride(a, d) != vb_operand_stride(b, d)))
			return false;
	return true;
}

static int check_pair(const struct check *c, u32 out, u32 other)
{
	const struct vb_operand *y = c->op[out], *x = c->op[other];

	if (c->bos[y->bo].object != c->bos[x->bo].object)
		return 0;
	if (y->offset >= x->offset + c->bytes[other] || x->offset >= y->offset + c->bytes[out])
		return 0;
	if (c->form->operands[out].may_equal >> other & 1 && is_same(y, x))
		return 0;
	return fail_operand(c, out, VB_FAULT_OVERLAP, VB_MUST_DISJOINT, NULL,
			    y->offset > x->offset ? y->offset : x->offset, other);
}

static int check_overlap(const struct check *c)
{
	u32 out, other;
	int rc;

	for (out = 0; out < c->form->operand_count; out++) {
		if (c->form->operands[out].access != VB_ACCESS_WRITE)
			continue;
		for (other = 0; other < c->form->operand_count; other++) {
			if (other == out || !c->bytes[other])
				continue;
			rc = check_pair(c, out, other);
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int check_header(const struct check *c)
{
	if (!c->form)
		return fail_field(c, "opcode", VB_FAULT_OPCODE, VB_MUST_MAX, c->cmd->opcode,
				  VB_CMD_COUNT - 1);
	if (c->cmd->flags)
		return fail_field(c, "flags", VB_FAULT_FLAGS, VB_MUST_EQUAL, c->cmd->flags, 0);
	if (c->cmd->bytes != c->form->bytes)
		return fail_field(c, "bytes", VB_FAULT_LENGTH, VB_MUST_EQUAL, c->cmd->bytes,
				  c->form->bytes);
	return 0;
}

int vb_cmd_check(const struct vb_cmd_header *cmd, u32 index, const struct vb_cmd_bo *bos,
		 u32 bo_count, struct vb_cmd_error *error)
{
	struct check c = { .cmd = cmd, .form = vb_cmd_form(cmd->opcode), .bos = bos,
			   .error = error };
	int rc;

	error->command = index;
	error->opcode = cmd->opcode;
	rc = check_header(&c);
	if (!rc)
		rc = check_operands(&c, bo_count);
	if (!rc)
		rc = check_fields(&c);
	if (!rc)
		rc = check_opcode(&c);
	if (!rc)
		rc = check_overlap(&c);
	return rc;
}

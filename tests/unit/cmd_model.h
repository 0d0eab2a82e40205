/* SPDX-License-Identifier: MIT */
/*
 * Is a command legal?  The same question as kmod/core/cmd_check.c answers, asked
 * straight from the comments of the UAPI header: one function an opcode, 128-bit
 * arithmetic that cannot overflow, no tables, no order, no reasons.
 */
#ifndef TESTS_UNIT_CMD_MODEL_H
#define TESTS_UNIT_CMD_MODEL_H

#include <core/cmd.h>

#include <math.h>

#include "format_model.h"

struct world {
	const struct vb_cmd_bo *bos;
	u32 bo_count;
};

enum { READS = VB_ACCESS_READ, WRITES = VB_ACCESS_WRITE };

static inline bool is_none(const struct vb_operand *op)
{
	static const struct vb_operand none;

	return !memcmp(op, &none, sizeof(none));
}

static inline u32 m_element(u16 format)
{
	if (format == VB_FORMAT_F32 || format == VB_FORMAT_I32)
		return 4;
	if (format == VB_FORMAT_F16 || format == VB_FORMAT_BF16)
		return 2;
	return format == VB_FORMAT_U8 ? 1 : 0;
}

/* Bytes of an [n][k] matrix whose rows are dense. */
static inline u128 m_matrix(u16 format, u32 n, u32 k)
{
	if (m_element(format))
		return (u128)n * k * m_element(format);
	return m_blocks_bytes(format, n, k);
}

static inline bool m_packed(u16 format)
{
	return m_groups_of(format) != NULL;
}

static inline bool m_shape(const struct vb_operand *op, u32 rank)
{
	u32 d;

	if (op->__reserved || op->rank != rank)
		return false;
	for (d = 0; d < 4; d++)
		if ((op->shape[d] == 0) != (d >= rank) || (d >= rank && op->stride[d]))
			return false;
	return true;
}

/*
 * One past the last byte, from the operand's offset.  @core dimensions at the inside
 * are dense and take @bytes; each one around is repeated at its stride, which must
 * step over what is inside.  0 when it does not.
 */
static inline u128 m_span(const struct vb_operand *op, int core, u128 bytes, u32 align)
{
	u128 dense = bytes, stride;
	int d;

	for (d = op->rank - core - 1; d >= 0; d--) {
		stride = op->stride[d] ? op->stride[d] : dense;
		if (stride < bytes || stride % align)
			return 0;
		bytes = (op->shape[d] - 1) * stride + bytes;
		dense = op->shape[d] * stride;
	}
	return bytes;
}

static inline bool m_in_bo(const struct world *w, const struct vb_operand *op, u128 bytes,
			   u32 access)
{
	const struct vb_cmd_bo *bo;

	if (op->bo >= w->bo_count)
		return false;
	bo = &w->bos[op->bo];
	if (access == WRITES && bo->sealed)
		return false;
	return bo->access & access && (u128)op->offset + bytes <= bo->bytes;
}

static inline u128 m_bytes(const struct vb_operand *op)
{
	u32 element = m_element(op->format), r = op->rank;

	if (element || r == 1)
		return m_span(op, 1, m_matrix(op->format, 1, op->shape[r - 1]), 1);
	return m_span(op, 2, m_matrix(op->format, op->shape[r - 2], op->shape[r - 1]), 1);
}

/* An array of numbers, not a weight: aligned to its elements. */
static inline bool m_array(const struct world *w, const struct vb_operand *op, u16 format,
			   u32 rank, u32 access)
{
	u32 element = m_element(format);
	u128 bytes;

	if (op->format != format || !m_shape(op, rank))
		return false;
	if (op->stride[rank - 1] != 0 && op->stride[rank - 1] != element)
		return false;
	bytes = m_span(op, 1, (u128)op->shape[rank - 1] * element, element);
	return bytes && op->offset % element == 0 && m_in_bo(w, op, bytes, access);
}

static inline bool m_f32(const struct world *w, const struct vb_operand *op, u32 rank)
{
	return m_array(w, op, VB_FORMAT_F32, rank, READS);
}

static inline bool m_f32_or_none(const struct world *w, const struct vb_operand *op, u32 rank)
{
	return is_none(op) || m_f32(w, op, rank);
}

static inline bool m_out(const struct world *w, const struct vb_operand *op, u32 rank)
{
	return m_array(w, op, VB_FORMAT_F32, rank, WRITES);
}

/* Blocks that are no weight: the rows are dense, and begin anywhere. */
static inline bool m_q8_0(const struct world *w, const struct vb_operand *op, u32 rank, u32 access)
{
	u32 core = rank < 2 ? 1 : 2;
	u128 row, bytes;

	if (op->format != VB_FORMAT_Q8_0 || !m_shape(op, rank) || op->shape[rank - 1] % 32 ||
	    op->stride[rank - 1])
		return false;
	row = (u128)op->shape[rank - 1] / 32 * 34;
	if (core == 2 && op->stride[rank - 2] && op->stride[rank - 2] != row)
		return false;
	bytes = m_span(op, (int)core, core == 2 ? row * op->shape[rank - 2] : row, 1);
	return bytes && m_in_bo(w, op, bytes, access);
}

/* Values that convert: numbers one by one, or Q8_0. */
static inline bool m_values(const struct world *w, const struct vb_operand *op, u32 rank, u32 access)
{
	if (op->format == VB_FORMAT_Q8_0)
		return m_q8_0(w, op, rank, access);
	return (op->format == VB_FORMAT_F32 || op->format == VB_FORMAT_F16 ||
		op->format == VB_FORMAT_BF16) && m_array(w, op, op->format, rank, access);
}

/* A matrix, or a stack of them, of a weight format or the U8 of its scales. */
static inline bool m_stack(const struct world *w, const struct vb_operand *op, u32 rank)
{
	u32 element = m_element(op->format), align = m_packed(op->format) ? 64 : 1;
	u128 bytes;

	if (!m_shape(op, rank))
		return false;
	if (op->stride[rank - 1] != 0 && op->stride[rank - 1] != element)
		return false;
	bytes = m_matrix(op->format, 1, op->shape[rank - 1]);
	if (op->stride[rank - 2] != 0 &&
	    (m_packed(op->format) || op->stride[rank - 2] != bytes))
		return false;
	bytes = m_matrix(op->format, op->shape[rank - 2], op->shape[rank - 1]);
	bytes = m_span(op, 2, bytes, align);
	return bytes && op->offset % align == 0 && m_in_bo(w, op, bytes, READS);
}

static inline bool m_weight(const struct world *w, const struct vb_operand *op, u32 rank)
{
	const struct m_blocks *blocks = m_blocks_of(op->format);
	const struct m_groups *groups = m_groups_of(op->format);

	if (blocks && (!blocks->weight || op->shape[rank - 1] % blocks->values))
		return false;
	if (groups && op->shape[rank - 1] % groups->cols)
		return false;
	return (blocks || groups || op->format == VB_FORMAT_F32 || op->format == VB_FORMAT_F16 ||
		op->format == VB_FORMAT_BF16) && m_stack(w, op, rank);
}

static inline bool m_scales(const struct world *w, const struct vb_operand *op,
			    const struct vb_operand *weight)
{
	u32 d, r = weight->rank;

	if (weight->format != VB_FORMAT_MXFP4_SPLIT)
		return is_none(op);
	if (op->format != VB_FORMAT_U8 || !m_stack(w, op, r))
		return false;
	for (d = 0; d + 1 < r; d++)
		if (op->shape[d] != weight->shape[d])
			return false;
	return op->shape[r - 1] == weight->shape[r - 1] / 32;
}

static inline bool m_same(const struct vb_operand *a, const struct vb_operand *b)
{
	u128 as[4], bs[4];
	int d;

	if (a->offset != b->offset || a->format != b->format || a->rank != b->rank ||
	    memcmp(a->shape, b->shape, sizeof(a->shape)))
		return false;
	for (d = a->rank - 1; d >= 0; d--) {
		as[d] = bs[d] = m_element(a->format);
		if (d < a->rank - 1) {
			as[d] = a->stride[d] ? a->stride[d] : a->shape[d + 1] * as[d + 1];
			bs[d] = b->stride[d] ? b->stride[d] : b->shape[d + 1] * bs[d + 1];
		}
		/* The stride of a single index is never used, but a dense one builds
		 * on it, and that is compared further out. */
		if (a->shape[d] > 1 && as[d] != bs[d])
			return false;
	}
	return true;
}

/* Nothing in common, or (when allowed) all of it. */
static inline bool m_apart(const struct world *w, const struct vb_operand *out,
			   const struct vb_operand *in, bool may_equal)
{
	if (is_none(in) || w->bos[out->bo].object != w->bos[in->bo].object)
		return true;
	if ((u128)out->offset >= in->offset + m_bytes(in) ||
	    (u128)in->offset >= out->offset + m_bytes(out))
		return true;
	return may_equal && m_same(out, in);
}

static inline float m_float(u32 bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static inline bool m_matmul(const struct world *w, const struct vb_cmd_matmul *c)
{
	return c->mode < VB_MODE_COUNT && c->act < VB_UNARY_COUNT && m_f32(w, &c->x, 2) &&
	       m_weight(w, &c->w, 2) && m_scales(w, &c->scales, &c->w) &&
	       m_out(w, &c->y, 2) && m_f32_or_none(w, &c->bias, 1) &&
	       m_f32_or_none(w, &c->residual, 2) &&
	       c->w.shape[1] == c->x.shape[1] && c->y.shape[0] == c->x.shape[0] &&
	       c->y.shape[1] == c->w.shape[0] &&
	       (is_none(&c->bias) || c->bias.shape[0] == c->w.shape[0]) &&
	       (is_none(&c->residual) || !memcmp(c->residual.shape, c->y.shape, 16)) &&
	       m_apart(w, &c->y, &c->x, false) && m_apart(w, &c->y, &c->w, false) &&
	       m_apart(w, &c->y, &c->scales, false) && m_apart(w, &c->y, &c->bias, false) &&
	       m_apart(w, &c->y, &c->residual, true);
}

static inline bool m_matmul_transposed(const struct world *w, const struct vb_cmd_matmul_transposed *c)
{
	return m_f32(w, &c->x, 2) && m_weight(w, &c->w, 2) && m_scales(w, &c->scales, &c->w) &&
	       m_out(w, &c->y, 2) && c->x.shape[1] == c->w.shape[0] &&
	       c->y.shape[0] == c->x.shape[0] && c->y.shape[1] == c->w.shape[1] &&
	       m_apart(w, &c->y, &c->x, false) && m_apart(w, &c->y, &c->w, false) &&
	       m_apart(w, &c->y, &c->scales, false);
}

static inline bool m_matmul_gate(const struct world *w, const struct vb_cmd_matmul_gate *c)
{
	return c->mode < VB_MODE_COUNT && c->act < VB_UNARY_COUNT && c->gate < VB_UNARY_COUNT &&
	       !c->__reserved && isfinite(m_float(c->mul_f32)) && isfinite(m_float(c->add_f32)) &&
	       m_f32(w, &c->x, 2) && m_weight(w, &c->w, 2) && m_scales(w, &c->scales, &c->w) &&
	       m_out(w, &c->y, 2) && m_f32_or_none(w, &c->bias, 1) && m_f32(w, &c->u, 2) &&
	       c->w.shape[1] == c->x.shape[1] && c->y.shape[0] == c->x.shape[0] &&
	       c->y.shape[1] == c->w.shape[0] && !memcmp(c->u.shape, c->y.shape, 16) &&
	       (is_none(&c->bias) || c->bias.shape[0] == c->w.shape[0]) &&
	       m_apart(w, &c->y, &c->x, false) && m_apart(w, &c->y, &c->w, false) &&
	       m_apart(w, &c->y, &c->scales, false) && m_apart(w, &c->y, &c->bias, false) &&
	       m_apart(w, &c->y, &c->u, false);
}

static inline bool m_matmul_id(const struct world *w, const struct vb_cmd_matmul_id *c)
{
	u32 m = c->ids.shape[0], top = c->ids.shape[1], k = c->w.shape[2];

	if (c->mode >= VB_MODE_COUNT || c->__reserved || !m_weight(w, &c->w, 3) ||
	    !m_scales(w, &c->scales, &c->w) ||
	    !m_array(w, &c->ids, VB_FORMAT_I32, 2, READS) || !m_out(w, &c->y, 3) ||
	    !m_f32_or_none(w, &c->bias, 2))
		return false;
	if (m_f32(w, &c->x, 2)) {
		if (c->x.shape[0] != m || c->x.shape[1] != k)
			return false;
	} else if (!m_f32(w, &c->x, 3) || c->x.shape[0] != m || c->x.shape[1] != top ||
		   c->x.shape[2] != k) {
		return false;
	}
	if (c->y.shape[0] != m || c->y.shape[1] != top || c->y.shape[2] != c->w.shape[1])
		return false;
	if (!is_none(&c->bias) && (c->bias.shape[0] != c->w.shape[0] ||
				   c->bias.shape[1] != c->w.shape[1]))
		return false;
	return m_apart(w, &c->y, &c->x, false) && m_apart(w, &c->y, &c->w, false) &&
	       m_apart(w, &c->y, &c->scales, false) && m_apart(w, &c->y, &c->ids, false) &&
	       m_apart(w, &c->y, &c->bias, false);
}

static inline bool m_attention(const struct world *w, const struct vb_cmd_attention *c)
{
	const u32 *q = c->q.shape, *k = c->k.shape;

	if (c->flags > 1 || !isfinite(m_float(c->scale_f32)) ||
	    !isfinite(m_float(c->softcap_f32)))
		return false;
	if (!m_f32(w, &c->q, 3) || !m_values(w, &c->k, 3, READS) ||
	    !m_values(w, &c->v, 3, READS) || c->k.format != c->v.format ||
	    !m_f32_or_none(w, &c->mask, 2) || !m_out(w, &c->out, 3))
		return false;
	if (c->k.format == VB_FORMAT_Q8_0 && (c->k.stride[0] % 34 || c->v.stride[0] % 34))
		return false;
	if (k[2] != q[2] || q[1] % k[1] || memcmp(k, c->v.shape, 16) ||
	    memcmp(q, c->out.shape, 16))
		return false;
	if (!is_none(&c->mask) && (c->mask.shape[1] != k[0] ||
				   (c->mask.shape[0] != 1 && c->mask.shape[0] != q[0])))
		return false;
	return m_apart(w, &c->out, &c->q, false) && m_apart(w, &c->out, &c->k, false) &&
	       m_apart(w, &c->out, &c->v, false) && m_apart(w, &c->out, &c->mask, false);
}

static inline bool m_norm(const struct world *w, const struct vb_cmd_norm *c)
{
	float eps = m_float(c->eps_f32);

	if (c->kind >= VB_NORM_COUNT || c->__reserved || !isfinite(eps) || eps < 0 ||
	    !isfinite(m_float(c->add_f32)) || (c->kind != VB_NORM_RMS && c->add_f32))
		return false;
	if (c->kind != VB_NORM_LAYER && !is_none(&c->beta))
		return false;
	return m_f32(w, &c->x, 2) && m_f32_or_none(w, &c->gamma, 1) &&
	       m_f32_or_none(w, &c->beta, 1) && m_out(w, &c->y, 2) &&
	       !memcmp(c->x.shape, c->y.shape, 16) &&
	       (is_none(&c->gamma) || c->gamma.shape[0] == c->x.shape[1]) &&
	       (is_none(&c->beta) || c->beta.shape[0] == c->x.shape[1]) &&
	       m_apart(w, &c->y, &c->x, true) && m_apart(w, &c->y, &c->gamma, false) &&
	       m_apart(w, &c->y, &c->beta, false);
}

static inline bool m_rope(const struct world *w, const struct vb_cmd_rope *c)
{
	float base = m_float(c->base_f32);

	return c->kind < VB_ROPE_COUNT && c->rot % 2 == 0 && isfinite(base) && base > 0 &&
	       isfinite(m_float(c->freq_scale_f32)) && m_f32(w, &c->x, 3) &&
	       c->rot <= c->x.shape[2] &&
	       m_array(w, &c->positions, VB_FORMAT_I32, 1, READS) && m_out(w, &c->y, 3) &&
	       c->positions.shape[0] == c->x.shape[0] &&
	       !memcmp(c->x.shape, c->y.shape, 16) && m_apart(w, &c->y, &c->x, true) &&
	       m_apart(w, &c->y, &c->positions, false);
}

static inline bool m_eltwise(const struct world *w, const struct vb_cmd_eltwise *c)
{
	if (c->__reserved || !m_f32(w, &c->a, 2) || !m_out(w, &c->y, 2) ||
	    memcmp(c->a.shape, c->y.shape, 16) || !m_apart(w, &c->y, &c->a, true))
		return false;
	if (c->kind == VB_ELTWISE_UNARY)
		return c->op < VB_UNARY_COUNT && !c->scale_f32 && is_none(&c->b);
	if (c->kind == VB_ELTWISE_SCALE)
		return c->op == 0 && is_none(&c->b);
	if (c->kind != VB_ELTWISE_BINARY || c->op >= VB_BINARY_COUNT || c->scale_f32)
		return false;
	if (!m_f32(w, &c->b, 1) && !m_f32(w, &c->b, 2))
		return false;
	return c->b.shape[c->b.rank - 1] == c->a.shape[1] &&
	       (c->b.rank == 1 || c->b.shape[0] == c->a.shape[0]) &&
	       m_apart(w, &c->y, &c->b, true);
}

static inline bool m_softmax(const struct world *w, const struct vb_cmd_softmax *c)
{
	const struct vb_operand *mask = &c->mask;

	if (!isfinite(m_float(c->scale_f32)) || c->__reserved || !m_f32(w, &c->x, 2) ||
	    !m_out(w, &c->y, 2) || memcmp(c->x.shape, c->y.shape, 16))
		return false;
	if (!is_none(mask)) {
		if (!m_f32(w, mask, 1) && !m_f32(w, mask, 2))
			return false;
		if (mask->shape[mask->rank - 1] != c->x.shape[1] ||
		    (mask->rank == 2 && mask->shape[0] != c->x.shape[0]))
			return false;
	}
	return m_apart(w, &c->y, &c->x, true) && m_apart(w, &c->y, mask, false);
}

static inline bool m_topk(const struct world *w, const struct vb_cmd_topk *c)
{
	return m_f32(w, &c->x, 2) && m_out(w, &c->values, 2) &&
	       m_array(w, &c->indices, VB_FORMAT_I32, 2, WRITES) &&
	       c->values.shape[0] == c->x.shape[0] && c->values.shape[1] <= c->x.shape[1] &&
	       !memcmp(c->values.shape, c->indices.shape, 16) &&
	       m_apart(w, &c->values, &c->x, false) && m_apart(w, &c->indices, &c->x, false) &&
	       m_apart(w, &c->values, &c->indices, false);
}

static inline bool m_gather(const struct world *w, const struct vb_cmd_gather *c)
{
	return c->table.format != VB_FORMAT_MXFP4_SPLIT && m_weight(w, &c->table, 2) &&
	       m_array(w, &c->ids, VB_FORMAT_I32, 1, READS) && m_out(w, &c->y, 2) &&
	       c->y.shape[0] == c->ids.shape[0] && c->y.shape[1] == c->table.shape[1] &&
	       m_apart(w, &c->y, &c->table, false) && m_apart(w, &c->y, &c->ids, false);
}

static inline bool m_copy(const struct world *w, const struct vb_cmd_copy *c)
{
	u32 rank = c->x.rank;

	if (rank < 1 || rank > 4 || memcmp(c->x.shape, c->y.shape, 16))
		return false;
	if (!m_values(w, &c->x, rank, READS) || !m_values(w, &c->y, rank, WRITES)) {
		if (c->x.format != VB_FORMAT_I32 && c->x.format != VB_FORMAT_U8)
			return false;
		if (!m_array(w, &c->x, c->x.format, rank, READS) ||
		    !m_array(w, &c->y, c->x.format, rank, WRITES))
			return false;
	}
	return m_apart(w, &c->y, &c->x, false);
}

static inline bool m_fill(const struct world *w, const struct vb_cmd_fill *c)
{
	return !c->__reserved && c->y.rank >= 1 && c->y.rank <= 4 &&
	       (c->y.format == VB_FORMAT_F32 || c->y.format == VB_FORMAT_I32) &&
	       m_array(w, &c->y, c->y.format, c->y.rank, WRITES);
}

static inline bool m_combine(const struct world *w, const struct vb_cmd_combine *c)
{
	return m_f32(w, &c->x, 3) && m_f32(w, &c->weights, 2) && m_out(w, &c->y, 2) &&
	       c->weights.shape[0] == c->x.shape[0] && c->weights.shape[1] == c->x.shape[1] &&
	       c->y.shape[0] == c->x.shape[0] && c->y.shape[1] == c->x.shape[2] &&
	       m_apart(w, &c->y, &c->x, false) && m_apart(w, &c->y, &c->weights, false);
}

/* @cmd has room for the longest command behind it. */
static inline bool model_is_legal(const struct world *w, const struct vb_cmd_header *cmd)
{
	const void *c = cmd;

	if (cmd->flags)
		return false;
#define CASE(OPCODE, name) \
	case OPCODE: \
		return cmd->bytes == sizeof(struct vb_cmd_##name) && m_##name(w, c)
	switch (cmd->opcode) {
	case VB_CMD_NOP:
		return cmd->bytes == sizeof(struct vb_cmd_header);
	CASE(VB_CMD_MATMUL, matmul);
	CASE(VB_CMD_MATMUL_ID, matmul_id);
	CASE(VB_CMD_ATTENTION, attention);
	CASE(VB_CMD_NORM, norm);
	CASE(VB_CMD_ROPE, rope);
	CASE(VB_CMD_ELTWISE, eltwise);
	CASE(VB_CMD_SOFTMAX, softmax);
	CASE(VB_CMD_TOPK, topk);
	CASE(VB_CMD_GATHER, gather);
	CASE(VB_CMD_COPY, copy);
	CASE(VB_CMD_FILL, fill);
	CASE(VB_CMD_COMBINE, combine);
	CASE(VB_CMD_MATMUL_GATE, matmul_gate);
	CASE(VB_CMD_MATMUL_TRANSPOSED, matmul_transposed);
	}
#undef CASE
	return false;
}

#endif

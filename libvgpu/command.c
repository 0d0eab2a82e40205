// SPDX-License-Identifier: MIT
/*
 * Recording: a call of the library becomes a command of the UAPI.  A draft is built
 * on the stack, checked as the executor will check it, and appended; when anything
 * is wrong the buffer is what it was.
 */
#include "cmdbuf.h"

#include <errno.h>
#include <string.h>

#include "error.h"

_Static_assert((int)VGPU_MODE_F32 == VB_MODE_F32 && (int)VGPU_MODE_A16 == VB_MODE_A16 &&
	       (int)VGPU_MODE_A8 == VB_MODE_A8 && (int)VGPU_MODE_A8_256 == VB_MODE_A8_256, "modes");
_Static_assert((int)VGPU_UNARY_NONE == VB_UNARY_NONE &&
	       (int)VGPU_UNARY_GELU_ERF == VB_UNARY_GELU_ERF &&
	       (int)VGPU_UNARY_GELU_TANH == VB_UNARY_GELU_TANH &&
	       (int)VGPU_UNARY_SILU == VB_UNARY_SILU && (int)VGPU_UNARY_RELU == VB_UNARY_RELU &&
	       (int)VGPU_UNARY_SIGMOID == VB_UNARY_SIGMOID &&
	       (int)VGPU_UNARY_TANH == VB_UNARY_TANH, "unary operations");
_Static_assert((int)VGPU_BINARY_ADD == VB_BINARY_ADD && (int)VGPU_BINARY_SUB == VB_BINARY_SUB &&
	       (int)VGPU_BINARY_MUL == VB_BINARY_MUL &&
	       (int)VGPU_BINARY_SWIGLU == VB_BINARY_SWIGLU &&
	       (int)VGPU_BINARY_GEGLU == VB_BINARY_GEGLU, "binary operations");
_Static_assert((int)VGPU_NORM_LAYER == VB_NORM_LAYER && (int)VGPU_NORM_RMS == VB_NORM_RMS &&
	       (int)VGPU_NORM_L2 == VB_NORM_L2, "norms");
_Static_assert((int)VGPU_ROPE_NEOX == VB_ROPE_NEOX && (int)VGPU_ROPE_NORM == VB_ROPE_NORM, "rope");

/**
 * struct draft - a command that is being built
 * @bos: BOs of the buffer before it
 * @rc: of the first operand that could not be named
 */
struct draft {
	struct vgpu_cmdbuf *cb;
	uint32_t bos;
	int rc;
};

static struct draft draft(struct vgpu_cmdbuf *cb)
{
	return (struct draft){ .cb = cb, .bos = cb->bo_count };
}

static struct vb_cmd_header head(enum vb_opcode opcode)
{
	return (struct vb_cmd_header){ .opcode = (__u16)opcode, .bytes = vb_cmd_bytes((u16)opcode) };
}

static uint32_t bits_of(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static int name_bo(struct draft *d, const char *name, const struct vgpu_array *a, uint32_t *out)
{
	int rc;

	if (a->bo->v != d->cb->v)
		return vgpu_fail(-EINVAL, "operand %s: its buffer object belongs to another client", name);
	if ((unsigned int)a->format > UINT16_MAX)
		return vgpu_fail(-EINVAL, "operand %s: format is %d, which is none", name, (int)a->format);
	if (a->rank > VB_OPERAND_RANK_MAX)
		return vgpu_fail(-EINVAL, "operand %s: rank is %u, must be at most %u", name, a->rank,
				 VB_OPERAND_RANK_MAX);
	rc = vgpu_cmdbuf_bo(d->cb, a->bo, out);
	if (rc == -E2BIG)
		return vgpu_fail(rc, "operand %s: a command buffer names at most %u buffer objects",
				 name, VB_SUBMIT_BOS_MAX);
	return rc ? vgpu_fail(rc, "no memory for a command") : 0;
}

/* An array without BO is an absent operand; the rest of it is then ignored. */
static struct vb_operand operand(struct draft *d, const char *name, const struct vgpu_array *a)
{
	struct vb_operand op = { .format = VB_FORMAT_NONE };
	uint32_t index;

	if (!a->bo || d->rc)
		return op;
	d->rc = name_bo(d, name, a, &index);
	if (d->rc)
		return op;
	op.bo = index;
	op.format = (__u16)a->format;
	op.rank = (__u8)a->rank;
	op.offset = a->offset;
	for (uint32_t i = 0; i < VB_OPERAND_RANK_MAX; i++) {
		op.shape[i] = a->shape[i];
		op.stride[i] = a->stride[i];
	}
	return op;
}

static int draft_check(const struct draft *d, const struct vb_cmd_header *cmd)
{
	struct vgpu_cmdbuf *cb = d->cb;
	struct vb_cmd_error error;
	char text[VGPU_ERROR_BYTES];
	int rc;

	rc = vb_cmd_check(cmd, cb->commands, cb->bos, cb->bo_count, &error);
	if (!rc)
		return 0;
	vb_cmd_error_format(&error, text, sizeof(text));
	return vgpu_fail(rc, "%s", text);
}

static int draft_end(struct draft *d, const struct vb_cmd_header *cmd)
{
	int rc = d->rc;

	if (!rc)
		rc = draft_check(d, cmd);
	if (!rc) {
		rc = vgpu_cmdbuf_append(d->cb, cmd);
		if (rc == -E2BIG)
			vgpu_fail(rc, "the command buffer holds %u bytes, %u more exceed %u",
				  d->cb->stream_bytes, cmd->bytes, VB_STREAM_BYTES_MAX);
		else if (rc)
			vgpu_fail(rc, "no memory for a command");
	}
	if (rc)
		vgpu_cmdbuf_truncate_bos(d->cb, d->bos);
	return rc;
}

int vgpu_cmd_nop(struct vgpu_cmdbuf *cb)
{
	struct draft d = draft(cb);
	struct vb_cmd_header cmd = head(VB_CMD_NOP);

	return draft_end(&d, &cmd);
}

int vgpu_cmd_matmul(struct vgpu_cmdbuf *cb, const struct vgpu_matmul *c)
{
	struct draft d = draft(cb);
	struct vb_cmd_matmul cmd = {
		.h = head(VB_CMD_MATMUL),
		.mode = c->mode,
		.act = c->act,
		.x = operand(&d, "x", &c->x),
		.w = operand(&d, "w", &c->w),
		.scales = operand(&d, "scales", &c->scales),
		.y = operand(&d, "y", &c->y),
		.bias = operand(&d, "bias", &c->bias),
		.residual = operand(&d, "residual", &c->residual),
	};

	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_matmul_transposed(struct vgpu_cmdbuf *cb, const struct vgpu_matmul_transposed *c)
{
	struct draft d = draft(cb);
	struct vb_cmd_matmul_transposed cmd = {
		.h = head(VB_CMD_MATMUL_TRANSPOSED),
		.x = operand(&d, "x", &c->x),
		.w = operand(&d, "w", &c->w),
		.scales = operand(&d, "scales", &c->scales),
		.y = operand(&d, "y", &c->y),
	};

	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_matmul_gate(struct vgpu_cmdbuf *cb, const struct vgpu_matmul_gate *c)
{
	struct draft d = draft(cb);
	struct vb_cmd_matmul_gate cmd = {
		.h = head(VB_CMD_MATMUL_GATE),
		.mode = c->mode,
		.act = c->act,
		.x = operand(&d, "x", &c->x),
		.w = operand(&d, "w", &c->w),
		.scales = operand(&d, "scales", &c->scales),
		.y = operand(&d, "y", &c->y),
		.bias = operand(&d, "bias", &c->bias),
		.u = operand(&d, "u", &c->u),
		.gate = c->gate,
		.mul_f32 = bits_of(c->mul),
		.add_f32 = bits_of(c->add),
	};

	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_matmul_id(struct vgpu_cmdbuf *cb, const struct vgpu_matmul_id *c)
{
	struct draft d = draft(cb);
	struct vb_cmd_matmul_id cmd = {
		.h = head(VB_CMD_MATMUL_ID),
		.mode = c->mode,
		.x = operand(&d, "x", &c->x),
		.w = operand(&d, "w", &c->w),
		.scales = operand(&d, "scales", &c->scales),
		.ids = operand(&d, "ids", &c->ids),
		.y = operand(&d, "y", &c->y),
		.bias = operand(&d, "bias", &c->bias),
	};

	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_attention(struct vgpu_cmdbuf *cb, const struct vgpu_attention_cmd *c)
{
	struct draft d = draft(cb);
	struct vb_cmd_attention cmd = {
		.h = head(VB_CMD_ATTENTION),
		.flags = c->causal ? VB_ATTENTION_CAUSAL : 0,
		.window = c->window,
		.scale_f32 = bits_of(c->scale),
		.softcap_f32 = bits_of(c->softcap),
		.q = operand(&d, "q", &c->q),
		.k = operand(&d, "k", &c->k),
		.v = operand(&d, "v", &c->v),
		.mask = operand(&d, "mask", &c->mask),
		.out = operand(&d, "out", &c->out),
	};

	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_norm(struct vgpu_cmdbuf *cb, const struct vgpu_norm_cmd *c)
{
	struct draft d = draft(cb);
	struct vb_cmd_norm cmd = {
		.h = head(VB_CMD_NORM),
		.kind = c->kind,
		.eps_f32 = bits_of(c->eps),
		.add_f32 = bits_of(c->add),
		.x = operand(&d, "x", &c->x),
		.gamma = operand(&d, "gamma", &c->gamma),
		.beta = operand(&d, "beta", &c->beta),
		.y = operand(&d, "y", &c->y),
	};

	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_rope(struct vgpu_cmdbuf *cb, const struct vgpu_rope_cmd *c)
{
	struct draft d = draft(cb);
	struct vb_cmd_rope cmd = {
		.h = head(VB_CMD_ROPE),
		.kind = c->kind,
		.rot = c->rot,
		.base_f32 = bits_of(c->base),
		.freq_scale_f32 = bits_of(c->freq_scale),
		.x = operand(&d, "x", &c->x),
		.positions = operand(&d, "positions", &c->positions),
		.y = operand(&d, "y", &c->y),
	};

	return draft_end(&d, &cmd.h);
}

static int eltwise(struct vgpu_cmdbuf *cb, enum vb_eltwise kind, uint32_t op, uint32_t scale,
		   const struct vgpu_array *a, const struct vgpu_array *b,
		   const struct vgpu_array *y)
{
	static const struct vgpu_array absent;
	struct draft d = draft(cb);
	struct vb_cmd_eltwise cmd = {
		.h = head(VB_CMD_ELTWISE),
		.kind = kind,
		.op = op,
		.scale_f32 = scale,
		.a = operand(&d, "a", a),
		.b = operand(&d, "b", b ? b : &absent),
		.y = operand(&d, "y", y),
	};

	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_unary(struct vgpu_cmdbuf *cb, enum vgpu_unary op, struct vgpu_array a,
		   struct vgpu_array y)
{
	return eltwise(cb, VB_ELTWISE_UNARY, op, 0, &a, NULL, &y);
}

int vgpu_cmd_binary(struct vgpu_cmdbuf *cb, enum vgpu_binary op, struct vgpu_array a,
		    struct vgpu_array b, struct vgpu_array y)
{
	return eltwise(cb, VB_ELTWISE_BINARY, op, 0, &a, &b, &y);
}

int vgpu_cmd_scale(struct vgpu_cmdbuf *cb, float factor, struct vgpu_array a, struct vgpu_array y)
{
	return eltwise(cb, VB_ELTWISE_SCALE, 0, bits_of(factor), &a, NULL, &y);
}

int vgpu_cmd_softmax(struct vgpu_cmdbuf *cb, float scale, struct vgpu_array x,
		     struct vgpu_array mask, struct vgpu_array y)
{
	struct draft d = draft(cb);
	struct vb_cmd_softmax cmd = {
		.h = head(VB_CMD_SOFTMAX),
		.scale_f32 = bits_of(scale),
		.x = operand(&d, "x", &x),
		.mask = operand(&d, "mask", &mask),
		.y = operand(&d, "y", &y),
	};

	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_topk(struct vgpu_cmdbuf *cb, struct vgpu_array x, struct vgpu_array values,
		  struct vgpu_array indices)
{
	struct draft d = draft(cb);
	struct vb_cmd_topk cmd = {
		.h = head(VB_CMD_TOPK),
		.x = operand(&d, "x", &x),
		.values = operand(&d, "values", &values),
		.indices = operand(&d, "indices", &indices),
	};

	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_gather(struct vgpu_cmdbuf *cb, struct vgpu_array table, struct vgpu_array ids,
		    struct vgpu_array y)
{
	struct draft d = draft(cb);
	struct vb_cmd_gather cmd = {
		.h = head(VB_CMD_GATHER),
		.table = operand(&d, "table", &table),
		.ids = operand(&d, "ids", &ids),
		.y = operand(&d, "y", &y),
	};

	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_copy(struct vgpu_cmdbuf *cb, struct vgpu_array x, struct vgpu_array y)
{
	struct draft d = draft(cb);
	struct vb_cmd_copy cmd = {
		.h = head(VB_CMD_COPY),
		.x = operand(&d, "x", &x),
		.y = operand(&d, "y", &y),
	};

	return draft_end(&d, &cmd.h);
}

/* Integers travel as numbers: only those that a float holds exactly are taken. */
static int fill_value(float value, enum vgpu_format format, uint32_t *out)
{
	*out = bits_of(value);
	if (format != VGPU_FORMAT_I32)
		return 0;
	if (!(value >= -16777216.0f && value <= 16777216.0f) || (float)(int32_t)value != value)
		return vgpu_fail(-EINVAL, "fill of i32: value is %g, must be an integer of at most 24 "
				 "bits", (double)value);
	*out = (uint32_t)(int32_t)value;
	return 0;
}

int vgpu_cmd_fill(struct vgpu_cmdbuf *cb, float value, struct vgpu_array y)
{
	struct draft d = draft(cb);
	struct vb_cmd_fill cmd = { .h = head(VB_CMD_FILL) };

	d.rc = fill_value(value, y.format, &cmd.value);
	cmd.y = operand(&d, "y", &y);
	return draft_end(&d, &cmd.h);
}

int vgpu_cmd_combine(struct vgpu_cmdbuf *cb, struct vgpu_array x, struct vgpu_array weights,
		     struct vgpu_array y)
{
	struct draft d = draft(cb);
	struct vb_cmd_combine cmd = {
		.h = head(VB_CMD_COMBINE),
		.x = operand(&d, "x", &x),
		.weights = operand(&d, "weights", &weights),
		.y = operand(&d, "y", &y),
	};

	return draft_end(&d, &cmd.h);
}

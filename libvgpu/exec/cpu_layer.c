// SPDX-License-Identifier: MIT
/*
 * Everything of a layer that is not a product: rows (or heads) go to the threads,
 * each is one call into the kernel table.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "core/cmd.h"
#include "cpu.h"
#include "kernels/attention.h"

/* Rough cost of an element, to decide whether a job is worth sharing. */
#define ELEMENT_NS	1u
/* Of attention. */
#define ITEM_NS_MAX	(5u * VGPU_WORK_PIECE_NS)
/* More of a row, or of a longer one, are not sorted into a list. */
#define TOPK_LIST_MAX	64u
#define TOPK_ROW_MAX	(1u << 26)

static float from_bits(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* A loop over rows [m][n] of up to three operands. */
struct rows {
	struct vgpu_cpu *cpu;
	const struct vgpu_work *w;
	uint32_t m, n;
	const float *a, *b;
	float *y;
	size_t lda, ldb, ldy;
	int error;
};

static int rows_run(struct rows *r, vgpu_pool_fn fn)
{
	int rc = vgpu_cpu_run(r->cpu, r->w, fn, r, r->m, (uint64_t)r->m * r->n * ELEMENT_NS);

	return rc ? rc : r->error;
}

static struct rows rows_of(struct vgpu_cpu *cpu, const struct vgpu_work *w,
			   const struct vb_operand *a, const float *pa,
			   const struct vb_operand *y, float *py)
{
	struct rows r = { .cpu = cpu, .w = w, .a = pa, .y = py };

	/* A vector is one row. */
	r.m = a->rank == 1 ? 1 : a->shape[0];
	r.n = a->rank == 1 ? a->shape[0] : a->shape[1];
	r.lda = a->rank == 1 ? 0 : vgpu_cpu_stride(a, 0);
	r.ldy = y->rank == 1 ? 0 : vgpu_cpu_stride(y, 0);
	return r;
}

/* ------------------------------------------------------------------------
 * Norms, softmax, element-wise
 */

/* y = x / max(|x|_2, eps) * gamma */
static void l2norm(float *y, const float *x, const float *gamma, uint32_t n, float eps)
{
	double sum = 0;
	float factor;

	for (uint32_t i = 0; i < n; i++)
		sum += (double)x[i] * x[i];
	factor = (float)(1.0 / fmax(sqrt(sum), eps));
	for (uint32_t i = 0; i < n; i++)
		y[i] = x[i] * factor * (gamma ? gamma[i] : 1.0f);
}

static void norm_row(void *ctx, size_t i)
{
	const struct rows *r = ctx;
	const struct vb_cmd_norm *c = (const void *)r->w->cmd;
	const float *gamma = r->w->ptr[1], *beta = r->w->ptr[2];
	const float *x = r->a + i * r->lda;
	float *y = r->y + i * r->ldy, eps = from_bits(c->eps_f32);

	if (c->kind == VB_NORM_LAYER)
		r->cpu->k->layernorm(y, x, gamma, beta, r->n, eps);
	else if (c->kind == VB_NORM_RMS)
		r->cpu->k->rmsnorm(y, x, gamma, r->n, eps, from_bits(c->add_f32));
	else
		l2norm(y, x, gamma, r->n, eps);
}

static int run_norm(struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_norm *c = (const void *)w->cmd;
	struct rows r = rows_of(cpu, w, &c->x, w->ptr[0], &c->y, w->ptr[3]);

	return rows_run(&r, norm_row);
}

static void softmax_row(void *ctx, size_t i)
{
	const struct rows *r = ctx;
	const struct vb_cmd_softmax *c = (const void *)r->w->cmd;
	const float *mask = r->b ? r->b + i * r->ldb : NULL;
	float *y = r->y + i * r->ldy;

	if (y != r->a + i * r->lda)
		memcpy(y, r->a + i * r->lda, r->n * sizeof(float));
	r->cpu->k->softmax(y, mask, r->n, from_bits(c->scale_f32));
}

static int run_softmax(struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_softmax *c = (const void *)w->cmd;
	struct rows r = rows_of(cpu, w, &c->x, w->ptr[0], &c->y, w->ptr[2]);

	r.b = w->ptr[1];
	r.ldb = c->mask.rank == 2 ? vgpu_cpu_stride(&c->mask, 0) : 0;
	return rows_run(&r, softmax_row);
}

static void eltwise_row(void *ctx, size_t i)
{
	const struct rows *r = ctx;
	const struct vb_cmd_eltwise *c = (const void *)r->w->cmd;
	const struct vgpu_kernels *k = r->cpu->k;
	const float *a = r->a + i * r->lda;
	float *y = r->y + i * r->ldy;

	if (c->kind == VB_ELTWISE_UNARY)
		k->unary((enum vgpu_unary)c->op, y, a, r->n);
	else if (c->kind == VB_ELTWISE_BINARY)
		k->binary((enum vgpu_binary)c->op, y, a, r->b + i * r->ldb, r->n, r->n);
	else
		k->scale(y, a, from_bits(c->scale_f32), r->n);
}

static int run_eltwise(struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_eltwise *c = (const void *)w->cmd;
	struct rows r = rows_of(cpu, w, &c->a, w->ptr[0], &c->y, w->ptr[2]);

	r.b = w->ptr[1];
	r.ldb = c->b.rank == 2 ? vgpu_cpu_stride(&c->b, 0) : 0;
	return rows_run(&r, eltwise_row);
}

static void topk_row(void *ctx, size_t i)
{
	const struct rows *r = ctx;
	const struct vb_cmd_topk *c = (const void *)r->w->cmd;

	r->cpu->k->topk(r->a + i * r->lda, r->n, c->values.shape[1], r->y + i * r->ldy,
			(int32_t *)r->w->ptr[2] + i * vgpu_cpu_stride(&c->indices, 0));
}

static int run_topk(struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_topk *c = (const void *)w->cmd;
	struct rows r = rows_of(cpu, w, &c->x, w->ptr[0], &c->values, w->ptr[1]);
	uint32_t top = c->values.shape[1];
	int rc = 0;

	if (top <= TOPK_LIST_MAX && r.n <= TOPK_ROW_MAX)
		return rows_run(&r, topk_row);
	for (uint32_t i = 0; i < r.m && !rc; i++)
		rc = vgpu_cpu_topk(w, r.a + i * r.lda, r.n, top, r.y + i * r.ldy,
				   (int32_t *)w->ptr[2] + i * vgpu_cpu_stride(&c->indices, 0));
	return rc;
}

/* y[i] = sum over t of weights[i][t] x[i][t], ascending t */
static void combine_row(void *ctx, size_t i)
{
	const struct rows *r = ctx;
	const struct vb_cmd_combine *c = (const void *)r->w->cmd;
	const float *weights = (const float *)r->w->ptr[1] + i * vgpu_cpu_stride(&c->weights, 0);
	size_t ldt = vgpu_cpu_stride(&c->x, 1);
	float *y = r->y + i * r->ldy;

	memset(y, 0, r->n * sizeof(float));
	for (uint32_t t = 0; t < c->x.shape[1]; t++) {
		const float *x = r->a + i * r->lda + t * ldt;

		for (uint32_t j = 0; j < r->n; j++)
			y[j] += weights[t] * x[j];
	}
}

static int run_combine(struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_combine *c = (const void *)w->cmd;
	struct rows r = rows_of(cpu, w, &c->y, w->ptr[2], &c->y, w->ptr[2]);

	r.a = w->ptr[0];
	r.lda = vgpu_cpu_stride(&c->x, 0);
	return rows_run(&r, combine_row);
}

static void gate_row(void *ctx, size_t i)
{
	const struct rows *r = ctx;
	const struct vb_cmd_matmul_gate *c = (const void *)r->w->cmd;
	struct vgpu_gate gate = { (enum vgpu_unary)c->gate, from_bits(c->mul_f32), from_bits(c->add_f32) };

	r->cpu->k->gate(r->y + i * r->ldy, r->b + i * r->ldb, r->n, &gate);
}

int vgpu_cpu_gate(struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_matmul_gate *c = (const void *)w->cmd;
	struct rows r = rows_of(cpu, w, &c->y, w->ptr[3], &c->y, w->ptr[3]);

	r.b = w->ptr[5];
	r.ldb = vgpu_cpu_stride(&c->u, 0);
	return rows_run(&r, gate_row);
}

/* ------------------------------------------------------------------------
 * RoPE and attention
 */

static void rope_row(void *ctx, size_t i)
{
	struct rows *r = ctx;
	const struct vb_cmd_rope *c = (const void *)r->w->cmd;
	uint32_t heads = c->x.shape[1], dim = c->x.shape[2];
	size_t ldx = vgpu_cpu_stride(&c->x, 1), ldy = vgpu_cpu_stride(&c->y, 1);
	/* Another thread may write it: load once, check what was loaded. */
	int32_t pos = ((const volatile int32_t *)r->w->ptr[1])[i];
	float *y = r->y + i * r->ldy;

	if (pos < 0) {
		__atomic_store_n(&r->error, -EINVAL, __ATOMIC_RELAXED);
		return;
	}
	for (uint32_t h = 0; h < heads; h++) {
		const float *x = r->a + i * r->lda + h * ldx;

		if (y + h * ldy != x)
			memcpy(y + h * ldy, x, dim * sizeof(float));
		r->cpu->k->rope((enum vgpu_rope)c->kind, y + h * ldy, 1, dim, c->rot, (float)pos,
				from_bits(c->base_f32), from_bits(c->freq_scale_f32));
	}
}

static int run_rope(struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_rope *c = (const void *)w->cmd;
	struct rows r = rows_of(cpu, w, &c->x, w->ptr[0], &c->y, w->ptr[2]);

	r.n = c->x.shape[1] * c->x.shape[2];
	return rows_run(&r, rope_row);
}

struct attention {
	struct vgpu_cpu *cpu;
	struct vgpu_attention a;
	struct vgpu_attention_cut cut;
};

static void attention_item(void *ctx, size_t item)
{
	const struct attention *t = ctx;

	vgpu_attention_item(t->cpu->k, &t->a, t->cut, item, vgpu_cpu_scratch(t->cpu));
}

/* From one row of heads to the next, in elements. */
static size_t heads_stride(const struct vb_operand *op)
{
	return vb_operand_stride(op, 0) * 32 / vgpu_cpu_values_bytes(op->format, 32);
}

/* Heads of one group lie together: the kernels step by whole rows only. */
static bool heads_are_dense(const struct vb_operand *op)
{
	return vb_operand_stride(op, 1) == vgpu_cpu_values_bytes(op->format, op->shape[2]);
}

static int run_attention(struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_attention *c = (const void *)w->cmd;
	struct attention t = { .cpu = cpu, .a = {
		.m = c->q.shape[0], .kv = c->k.shape[0], .heads = c->q.shape[1],
		.kv_heads = c->k.shape[1], .head_dim = c->q.shape[2], .window = c->window,
		.causal = c->flags & VB_ATTENTION_CAUSAL, .scale = from_bits(c->scale_f32),
		.softcap = from_bits(c->softcap_f32), .q = w->ptr[0], .k = w->ptr[1],
		.v = w->ptr[2], .mask = w->ptr[3], .out = w->ptr[4],
		.kv_format = (enum vgpu_wformat)c->k.format, .ldq = heads_stride(&c->q),
		.ldk = heads_stride(&c->k), .ldv = heads_stride(&c->v),
		.ldo = heads_stride(&c->out),
	} };

	if (!heads_are_dense(&c->q) || !heads_are_dense(&c->k) || !heads_are_dense(&c->v) ||
	    !heads_are_dense(&c->out))
		return -EOPNOTSUPP;
	/* One mask row for all queries is a stride of nothing. */
	if (w->ptr[3])
		t.a.ldmask = c->mask.shape[0] == 1 ? 0 : vgpu_cpu_stride(&c->mask, 0);
	if (vgpu_cpu_scratch_grow(cpu, vgpu_attention_scratch_bytes(&t.a)))
		return -ENOMEM;
	t.cut = vgpu_attention_divide(&t.a, cpu->threads, ITEM_NS_MAX);
	return vgpu_cpu_run(cpu, w, attention_item, &t, vgpu_attention_items(&t.a, t.cut),
			    vgpu_attention_cost_ns(&t.a));
}

int vgpu_cpu_layer_run(void *be, const struct vgpu_work *w)
{
	switch (w->cmd->opcode) {
	case VB_CMD_ATTENTION:
		return run_attention(be, w);
	case VB_CMD_NORM:
		return run_norm(be, w);
	case VB_CMD_ROPE:
		return run_rope(be, w);
	case VB_CMD_ELTWISE:
		return run_eltwise(be, w);
	case VB_CMD_SOFTMAX:
		return run_softmax(be, w);
	case VB_CMD_TOPK:
		return run_topk(be, w);
	case VB_CMD_COPY:
		return vgpu_cpu_copy(be, w);
	case VB_CMD_FILL:
		return vgpu_cpu_fill(be, w);
	case VB_CMD_COMBINE:
		return run_combine(be, w);
	default:
		return -EOPNOTSUPP;
	}
}

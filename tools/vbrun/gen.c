// SPDX-License-Identifier: MIT
/*
 * A mixture of experts in the shape of gpt-oss: per layer two norms, attention with
 * grouped heads of 64, a router and the experts, which are nearly all of the bytes.
 */
#include "gen.h"

#include <errno.h>
#include <inttypes.h>

#include "fail.h"
#include "gen_plan.h"

#define HEAD 64u
/* Those of gpt-oss; a smaller file has fewer tokens, so that experts stay most of it. */
#define MAX_VOCAB 201088u
#define EMBEDDING_SHARE 32u
#define MIN_BYTES ((uint64_t)1 << 20)
#define MAX_BYTES ((uint64_t)1 << 46)

/* Norms: close to 1. */
#define NORM_SHIFT (-12)
#define NORM_OFFSET 1.0f

struct shape {
	enum vbrun_gen_format format;
	uint32_t layers;
	uint32_t experts;
	uint32_t hidden;
	uint32_t ffn;
	uint32_t kv_rows;
	uint32_t vocab;
};

static uint32_t dense_width(const struct shape *s)
{
	return s->format == VBRUN_GEN_F32 ? 4 : 2;
}

static uint32_t key_rows(uint32_t hidden)
{
	uint32_t heads = hidden / HEAD / 8;

	return (heads ? heads : 1) * HEAD;
}

/* Everything of a layer but the experts. */
static uint64_t dense_bytes(const struct shape *s)
{
	uint64_t rows = 2 * (uint64_t)s->hidden + 2 * key_rows(s->hidden) + s->experts + 2;

	return rows * s->hidden * dense_width(s);
}

/* Bytes of the experts of a layer for each unit of ffn, times 32. */
static uint64_t expert_bytes_32(const struct shape *s)
{
	uint64_t values = 3 * (uint64_t)s->hidden * s->experts;

	return s->format == VBRUN_GEN_MXFP4 ? values * 17 : values * 32 * dense_width(s);
}

static uint64_t layer_bytes(const struct shape *s)
{
	return dense_bytes(s) + expert_bytes_32(s) * (s->ffn ? s->ffn : s->hidden) / 32;
}

/* The largest width of which a few layers fit. */
static uint32_t choose_hidden(struct shape s, uint64_t bytes)
{
	static const uint32_t widths[] = { 2880, 2048, 1536, 1024, 768, 512, 384, 256, 128 };
	size_t i;

	for (i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		s.hidden = widths[i];
		if (layer_bytes(&s) <= bytes / (s.layers ? s.layers : 4))
			return widths[i];
	}
	return HEAD;
}

static uint32_t clamp(uint64_t x, uint32_t min, uint32_t max)
{
	return x < min ? min : x > max ? max : (uint32_t)x;
}

/* What was not asked for is chosen in this order, the last making the size right. */
static void choose(struct shape *s, uint64_t bytes)
{
	uint64_t budget = bytes - bytes / EMBEDDING_SHARE, left;

	if (!s->experts)
		s->experts = 32;
	if (!s->hidden)
		s->hidden = choose_hidden(*s, budget);
	if (!s->layers)
		s->layers = clamp((budget + layer_bytes(s) / 2) / layer_bytes(s), 1, 1024);
	if (!s->ffn) {
		left = budget / s->layers;
		left = left > dense_bytes(s) ? left - dense_bytes(s) : 0;
		s->ffn = 32 * clamp((left + expert_bytes_32(s) / 2) / expert_bytes_32(s), 1,
				    4096);
	}
	s->kv_rows = key_rows(s->hidden);
	s->vocab = clamp(s->layers * layer_bytes(s) / EMBEDDING_SHARE /
			 ((uint64_t)s->hidden * dense_width(s)), HEAD, MAX_VOCAB);
}

static int check_field(const char *name, uint32_t value, uint32_t multiple, uint32_t max,
		       bool may_choose, struct vgpu_error *err)
{
	if (!value && !may_choose)
		return vbrun_fail(err, -EINVAL, "%s is 0, which needs a size to choose it by",
				  name);
	if (value % multiple || value > max)
		return vbrun_fail(err, -EINVAL, "%s %u is not a multiple of %u up to %u", name,
				  value, multiple, max);
	return 0;
}

static int check_params(const struct vbrun_gen_params *p, struct vgpu_error *err)
{
	bool sized = p->bytes;
	int rc;

	if (p->format > VBRUN_GEN_F32)
		return vbrun_fail(err, -EINVAL, "format %d is unknown", (int)p->format);
	if (sized && (p->bytes < MIN_BYTES || p->bytes > MAX_BYTES))
		return vbrun_fail(err, -EINVAL,
			"bytes %" PRIu64 " is not between %" PRIu64 " and %" PRIu64, p->bytes,
			MIN_BYTES, MAX_BYTES);
	rc = check_field("layers", p->layers, 1, 1024, sized, err);
	if (!rc)
		rc = check_field("experts", p->experts, 1, 1024, true, err);
	if (!rc)
		rc = check_field("hidden", p->hidden, HEAD, 32768, sized, err);
	if (!rc)
		rc = check_field("ffn", p->ffn, 32, 131072, sized, err);
	return rc;
}

static struct gen_matrix dense_matrix(const struct shape *s, uint32_t rows, uint32_t k)
{
	return (struct gen_matrix){
		.element = s->format == VBRUN_GEN_F32 ? GEN_F32 : GEN_BF16,
		.rows = rows, .k = k, .shift = gen_root_shift(k),
	};
}

static void add_dense(struct gen_plan *plan, const struct shape *s, uint32_t layer,
		      const char *name, uint32_t rows, uint32_t k)
{
	struct gen_matrix m = dense_matrix(s, rows, k);

	gen_plan_add(plan, 2, (uint64_t[]){ rows, k }, 1, &m, "model.layers.%u.%s.weight", layer,
		     name);
}

static struct gen_matrix norm_matrix(const struct shape *s)
{
	struct gen_matrix m = dense_matrix(s, 1, s->hidden);

	m.flat = true;
	m.shift = NORM_SHIFT;
	m.offset = NORM_OFFSET;
	return m;
}

static void add_norm(struct gen_plan *plan, const struct shape *s, uint32_t layer,
		     const char *name)
{
	struct gen_matrix m = norm_matrix(s);

	gen_plan_add(plan, 1, (uint64_t[]){ s->hidden }, 1, &m, "model.layers.%u.%s.weight",
		     layer, name);
}

/* Blocks and scales are two tensors over one stream. */
static void add_mxfp4(struct gen_plan *plan, const struct shape *s, uint32_t layer,
		      const char *name, struct gen_matrix m)
{
	const uint64_t shape[] = { s->experts, m.rows, m.k / 32, 16 };

	m.element = GEN_FP4_BLOCKS;
	m.stream = gen_plan_add(plan, 4, shape, s->experts, &m,
				"model.layers.%u.mlp.experts.%s_blocks", layer, name);
	m.element = GEN_FP4_SCALES;
	gen_plan_add(plan, 3, shape, s->experts, &m, "model.layers.%u.mlp.experts.%s_scales",
		     layer, name);
	if (!plan->failed)
		plan->tensors[plan->count - 1].matrix.stream = m.stream;
}

static void add_experts(struct gen_plan *plan, const struct shape *s, uint32_t layer,
			const char *name, uint32_t rows, uint32_t k)
{
	struct gen_matrix m = dense_matrix(s, rows, k);

	if (s->format == VBRUN_GEN_MXFP4)
		add_mxfp4(plan, s, layer, name, m);
	else
		gen_plan_add(plan, 3, (uint64_t[]){ s->experts, rows, k }, s->experts, &m,
			     "model.layers.%u.mlp.experts.%s", layer, name);
}

static void add_layer(struct gen_plan *plan, const struct shape *s, uint32_t layer)
{
	add_norm(plan, s, layer, "input_layernorm");
	add_dense(plan, s, layer, "self_attn.q_proj", s->hidden, s->hidden);
	add_dense(plan, s, layer, "self_attn.k_proj", s->kv_rows, s->hidden);
	add_dense(plan, s, layer, "self_attn.v_proj", s->kv_rows, s->hidden);
	add_dense(plan, s, layer, "self_attn.o_proj", s->hidden, s->hidden);
	add_norm(plan, s, layer, "post_attention_layernorm");
	add_dense(plan, s, layer, "mlp.router", s->experts, s->hidden);
	add_experts(plan, s, layer, "gate_up_proj", 2 * s->ffn, s->hidden);
	add_experts(plan, s, layer, "down_proj", s->hidden, s->ffn);
}

int vbrun_gen(const struct vbrun_gen_params *p, vbrun_gen_progress progress, void *arg,
	      struct vgpu_error *err)
{
	struct shape s = {
		.format = p->format, .layers = p->layers, .experts = p->experts,
		.hidden = p->hidden, .ffn = p->ffn,
	};
	struct gen_plan plan = { .seed = p->seed };
	struct gen_matrix m;
	uint32_t layer;
	int rc;

	rc = check_params(p, err);
	if (rc)
		return rc;
	choose(&s, p->bytes);

	m = dense_matrix(&s, s.vocab, s.hidden);
	m.flat = true;
	gen_plan_add(&plan, 2, (uint64_t[]){ s.vocab, s.hidden }, 1, &m,
		     "model.embed_tokens.weight");
	for (layer = 0; layer < s.layers; layer++)
		add_layer(&plan, &s, layer);
	m = norm_matrix(&s);
	gen_plan_add(&plan, 1, (uint64_t[]){ s.hidden }, 1, &m, "model.norm.weight");
	return gen_plan_write(&plan, p->path, progress, arg, err);
}

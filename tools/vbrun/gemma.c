// SPDX-License-Identifier: MIT
#include "gemma.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"

/* Attention begins its blocks at multiples of so many keys (Documentation/layers.md). */
#define KEYS_TOGETHER 128u

/*
 * Intermediates, one object each: the hidden state, the same normalised or what a sublayer
 * gives back, queries, what attention makes of them, and the two wide ones.
 */
enum { ACT_X, ACT_H, ACT_Q, ACT_C, ACT_GATE, ACT_UP };

static uint32_t act_cols(const struct gemma_model *m, uint32_t which)
{
	if (which == ACT_Q || which == ACT_C)
		return m->heads * m->dim;
	return which == ACT_GATE || which == ACT_UP ? m->ffn : m->hidden;
}

/* Keys and values pass through the wide ones, where they are kept in another format. */
static uint32_t act_room(const struct gemma_model *m, uint32_t which)
{
	uint32_t cols = act_cols(m, which), kv = m->kv_heads * m->dim;

	return (which == ACT_GATE || which == ACT_UP) && kv > cols ? kv : cols;
}

uint64_t gemma_token_bytes(const struct gemma_model *m)
{
	uint64_t sum = 2;	/* id and position */

	for (uint32_t i = 0; i < GEMMA_ACTS; i++)
		sum += act_room(m, i);
	return sum * sizeof(float);
}

struct kv_shape gemma_kv_shape(const struct gemma_model *m, const struct gemma_size *size)
{
	return (struct kv_shape){ m->layers, m->kv_heads, m->dim, size->tokens,
				  size->kv ? size->kv : VGPU_FORMAT_F32 };
}

static uint64_t vector_room(uint64_t n)
{
	return (n * sizeof(float) + 63) & ~63ull;
}

/* Norms of a layer behind each other, each at a multiple of 64. */
static uint64_t norm_offset(const struct gemma_model *m, uint32_t layer, uint32_t which)
{
	uint64_t of_layer = 4 * vector_room(m->hidden) + 2 * vector_room(m->dim);
	uint64_t offset = layer * of_layer;

	for (uint32_t i = 0; i < which; i++)
		offset += vector_room(i == GEMMA_OF_Q || i == GEMMA_OF_K ? m->dim : m->hidden);
	return offset;
}

/* The last norm follows those of all layers. */
static uint64_t norms_bytes(const struct gemma_model *m)
{
	return norm_offset(m, m->layers, 0) + vector_room(m->hidden);
}

static uint64_t logits_bytes(const struct gemma_model *m, const struct gemma_size *size)
{
	return (size->rows ? size->rows : 1) * (uint64_t)m->embedding->n * sizeof(float);
}

static uint64_t whole(uint64_t bytes, uint64_t chunk_bytes)
{
	return (bytes + chunk_bytes - 1) / chunk_bytes * chunk_bytes;
}

uint64_t gemma_host_bytes(const struct gemma_model *m, const struct gemma_size *size,
			  uint64_t chunk_bytes)
{
	struct kv_shape shape = gemma_kv_shape(m, size);
	uint64_t room = m->layers * whole(kv_cache_layer_bytes(&shape), chunk_bytes);

	for (uint32_t i = 0; i < GEMMA_ACTS; i++)
		room += whole((uint64_t)size->batch * act_room(m, i) * sizeof(float), chunk_bytes);
	room += whole(2 * (uint64_t)size->batch * sizeof(int32_t), chunk_bytes);
	room += whole(norms_bytes(m), chunk_bytes);
	room += whole(logits_bytes(m, size), chunk_bytes);
	room += whole(2 * (uint64_t)size->choices * sizeof(float), chunk_bytes);
	return weights_host(&m->weights, room, chunk_bytes);
}

/* --- operands ----------------------------------------------------------- */

static struct vgpu_array act(const struct gemma *g, uint32_t which, uint32_t tokens)
{
	return vgpu_matrix(g->acts[which], 0, VGPU_FORMAT_F32, tokens, act_cols(g->model, which));
}

/* Queries, and what attention makes of them, as [tokens][heads][dim]. */
static struct vgpu_array act_heads(const struct gemma *g, uint32_t which, uint32_t tokens)
{
	return vgpu_cube(g->acts[which], 0, VGPU_FORMAT_F32, tokens, g->model->heads, g->model->dim);
}

/* [tokens][heads][dim] as rows of all heads, or as rows of one. */
static struct vgpu_array rows_of(struct vgpu_array cube, bool one_head)
{
	uint32_t heads = cube.shape[1], dim = cube.shape[2];

	return one_head ? vgpu_matrix(cube.bo, cube.offset, cube.format, cube.shape[0] * heads, dim) :
			  vgpu_matrix(cube.bo, cube.offset, cube.format, cube.shape[0], heads * dim);
}

static struct vgpu_array norm_vector(const struct gemma *g, uint32_t layer, uint32_t which)
{
	uint32_t cols = which == GEMMA_OF_Q || which == GEMMA_OF_K ? g->model->dim :
								    g->model->hidden;

	return vgpu_vector(g->norms, norm_offset(g->model, layer, which), VGPU_FORMAT_F32, cols);
}

static struct vgpu_array weights_of(const struct gemma *g, const struct weight *w)
{
	return vgpu_matrix(operands_bo(&g->ops, w), operands_at(w, 0, 0), w->used, w->n, w->k);
}

static struct vgpu_array ids(const struct gemma *g, uint32_t tokens)
{
	return vgpu_vector(g->ids, 0, VGPU_FORMAT_I32, tokens);
}

static struct vgpu_array positions(const struct gemma *g, uint32_t tokens)
{
	return vgpu_vector(g->ids, (uint64_t)g->size.batch * sizeof(int32_t), VGPU_FORMAT_I32,
			   tokens);
}

static struct vgpu_array logits(const struct gemma *g, uint32_t rows)
{
	return vgpu_matrix(g->logits, 0, VGPU_FORMAT_F32, rows, g->model->embedding->n);
}

/* --- loading ------------------------------------------------------------ */

static int copy_norm(struct gemma *g, const struct vgpu_tensor *t, struct vgpu_array to)
{
	return vgpu_cmd_copy(g->cb, vgpu_vector(g->ops.files[t->file], t->offset, VGPU_FORMAT_F32,
						to.shape[0]), to);
}

static int load_norms(struct gemma *g)
{
	const struct gemma_model *m = g->model;
	int rc = copy_norm(g, m->last_norm, norm_vector(g, m->layers, 0));

	for (uint32_t layer = 0; layer < m->layers && !rc; layer++)
		for (uint32_t i = 0; i < GEMMA_NORMS && !rc; i++)
			rc = copy_norm(g, m->layer[layer].norm[i], norm_vector(g, layer, i));
	return rc ? rc : vgpu_finish(g->q, g->cb);
}

static int make_objects(struct gemma *g)
{
	const struct gemma_model *m = g->model;
	struct kv_shape shape = gemma_kv_shape(m, &g->size);
	struct { struct vgpu_bo **bo; uint64_t bytes; } objects[] = {
		{ &g->norms, norms_bytes(m) },
		{ &g->ids, 2 * (uint64_t)g->size.batch * sizeof(int32_t) },
		{ &g->logits, logits_bytes(m, &g->size) },
		{ &g->top, 2 * (uint64_t)g->size.choices * sizeof(float) },
	};
	int rc = kv_cache_open(&g->cache, g->v, &shape);

	for (uint32_t i = 0; i < sizeof(objects) / sizeof(objects[0]) && !rc; i++)
		rc = vgpu_bo_create(g->v, objects[i].bytes, VGPU_LIFE_VOLATILE, objects[i].bo);
	for (uint32_t i = 0; i < GEMMA_ACTS && !rc; i++)
		rc = vgpu_bo_create(g->v, (uint64_t)g->size.batch * act_room(m, i) * sizeof(float),
				    VGPU_LIFE_VOLATILE, &g->acts[i]);
	return rc;
}

static struct vgpu_use use_of(const struct gemma *g, const struct weight *w)
{
	return (struct vgpu_use){ operands_bo(&g->ops, w), operands_at(w, 0, 0),
				  operands_bytes(w, w->n) };
}

/* The weights come in the same order for every batch. */
static int declare(struct gemma *g)
{
	struct vgpu_use uses[GEMMA_LAYERS_MAX * GEMMA_MATRICES + 1];
	uint32_t n = 0;

	for (uint32_t layer = 0; layer < g->model->layers; layer++)
		for (uint32_t i = 0; i < GEMMA_MATRICES; i++)
			uses[n++] = use_of(g, g->model->layer[layer].matrix[i]);
	uses[n++] = use_of(g, g->model->head);
	return vgpu_schedule(g->v, uses, n, true);
}

int gemma_load(struct gemma *g, const struct gemma_model *model, struct vgpu *v,
	       enum vgpu_mode mode, const struct gemma_size *size)
{
	int rc;

	*g = (struct gemma){ .model = model, .v = v, .mode = mode, .size = *size };
	if (!size->batch || size->batch > GEMMA_BATCH_MAX || !size->choices ||
	    size->choices > GEMMA_CHOICES_MAX || size->choices > model->embedding->n)
		return -EINVAL;
	rc = make_objects(g);
	if (!rc)
		rc = operands_open(&g->ops, v, model->ck, &model->weights);
	if (!rc)
		rc = vgpu_queue_create(v, 0, &g->q);
	if (!rc)
		rc = vgpu_cmdbuf_create(v, &g->cb);
	if (!rc)
		rc = load_norms(g);
	return rc ? rc : declare(g);
}

void gemma_unload(struct gemma *g)
{
	vgpu_queue_destroy(g->q);
	vgpu_cmdbuf_destroy(g->cb);
	operands_close(&g->ops);
	kv_cache_close(&g->cache);
	vgpu_bo_destroy(g->norms);
	vgpu_bo_destroy(g->ids);
	for (uint32_t i = 0; i < GEMMA_ACTS; i++)
		vgpu_bo_destroy(g->acts[i]);
	vgpu_bo_destroy(g->logits);
	vgpu_bo_destroy(g->top);
	memset(g, 0, sizeof(*g));
}

/* --- one batch ---------------------------------------------------------- */

static int record_product(struct gemma *g, const struct weight *w, struct vgpu_array x,
			  struct vgpu_array y)
{
	struct vgpu_matmul c = { .mode = g->mode, .x = x, .w = weights_of(g, w), .y = y };

	return vgpu_cmd_matmul(g->cb, &c);
}

static int record_norm(struct gemma *g, struct vgpu_array x, struct vgpu_array gamma,
		       struct vgpu_array y)
{
	struct vgpu_norm_cmd c = { .kind = VGPU_NORM_RMS, .eps = g->model->eps, .x = x,
				   .gamma = gamma, .y = y };

	return vgpu_cmd_norm(g->cb, &c);
}

/* Norm of each head, then its rotation. */
static int record_heads(struct gemma *g, uint32_t layer, struct vgpu_array x, uint32_t norm)
{
	const struct gemma_layer *l = &g->model->layer[layer];
	struct vgpu_rope_cmd rope = {
		.kind = VGPU_ROPE_NEOX,
		.rot = g->model->rot,
		.base = l->base,
		.freq_scale = l->freq_scale,
		.x = x,
		.positions = positions(g, x.shape[0]),
		.y = x,
	};
	int rc = record_norm(g, rows_of(x, true), norm_vector(g, layer, norm), rows_of(x, true));

	return rc ? rc : vgpu_cmd_rope(g->cb, &rope);
}

/* The next keys or values as a projection makes them: where they stay, if that is in F32. */
static struct vgpu_array new_rows(const struct gemma *g, uint32_t layer, enum kv_part part,
				  uint32_t n)
{
	uint32_t which = part == KV_KEYS ? ACT_GATE : ACT_UP;

	if (g->cache.shape.format == VGPU_FORMAT_F32)
		return kv_cache_array(&g->cache, layer, part, g->position, n);
	return vgpu_cube(g->acts[which], 0, VGPU_FORMAT_F32, n, g->model->kv_heads, g->model->dim);
}

/* To where they stay, in its format. */
static int record_keep(struct gemma *g, uint32_t layer, struct vgpu_array k, struct vgpu_array v)
{
	uint32_t n = k.shape[0];
	int rc;

	if (g->cache.shape.format == VGPU_FORMAT_F32)
		return 0;
	rc = vgpu_cmd_copy(g->cb, k, kv_cache_array(&g->cache, layer, KV_KEYS, g->position, n));
	if (rc)
		return rc;
	return vgpu_cmd_copy(g->cb, v, kv_cache_array(&g->cache, layer, KV_VALUES, g->position, n));
}

/* Queries, and the next keys and values. */
static int record_projections(struct gemma *g, uint32_t layer, uint32_t n)
{
	const struct gemma_layer *l = &g->model->layer[layer];
	struct vgpu_array q = act_heads(g, ACT_Q, n);
	struct vgpu_array k = new_rows(g, layer, KV_KEYS, n), v = new_rows(g, layer, KV_VALUES, n);
	int rc;

	rc = record_product(g, l->matrix[GEMMA_Q], act(g, ACT_H, n), rows_of(q, false));
	if (!rc)
		rc = record_product(g, l->matrix[GEMMA_K], act(g, ACT_H, n), rows_of(k, false));
	if (!rc)
		rc = record_product(g, l->matrix[GEMMA_V], act(g, ACT_H, n), rows_of(v, false));
	if (!rc)
		rc = record_heads(g, layer, q, GEMMA_OF_Q);
	if (!rc)
		rc = record_heads(g, layer, k, GEMMA_OF_K);
	return rc ? rc : record_keep(g, layer, k, v);
}

/*
 * The first key that a batch sees, down to a multiple of what attention takes together: so
 * its sums have the same order as from the first key of all. Those before it may leave.
 */
static uint32_t first_key(const struct gemma *g, uint32_t layer)
{
	uint32_t window = g->model->layer[layer].window;

	if (!window || g->position + 1 <= window)
		return 0;
	return (g->position + 1 - window) / KEYS_TOGETHER * KEYS_TOGETHER;
}

static int record_attention(struct gemma *g, uint32_t layer, uint32_t n)
{
	uint32_t first = first_key(g, layer), keys = g->position + n - first;
	struct vgpu_attention_cmd c = {
		.causal = true,
		.window = g->model->layer[layer].window,
		.scale = g->model->scale,
		.q = act_heads(g, ACT_Q, n),
		.k = kv_cache_array(&g->cache, layer, KV_KEYS, first, keys),
		.v = kv_cache_array(&g->cache, layer, KV_VALUES, first, keys),
		.out = act_heads(g, ACT_C, n),
	};
	int rc = record_projections(g, layer, n);

	return rc ? rc : vgpu_cmd_attention(g->cb, &c);
}

/* x += norm(w c): the end of both sublayers. */
static int record_end(struct gemma *g, uint32_t layer, enum gemma_matrix which, uint32_t from,
		      enum gemma_norm norm, uint32_t n)
{
	struct vgpu_array x = act(g, ACT_X, n), h = act(g, ACT_H, n);
	int rc;

	rc = record_product(g, g->model->layer[layer].matrix[which], act(g, from, n), h);
	if (!rc)
		rc = record_norm(g, h, norm_vector(g, layer, norm), h);
	return rc ? rc : vgpu_cmd_binary(g->cb, VGPU_BINARY_ADD, x, h, x);
}

static int record_ffn(struct gemma *g, uint32_t layer, uint32_t n)
{
	const struct gemma_layer *l = &g->model->layer[layer];
	struct vgpu_array gate = act(g, ACT_GATE, n), up = act(g, ACT_UP, n);
	int rc;

	rc = record_product(g, l->matrix[GEMMA_GATE], act(g, ACT_H, n), gate);
	if (!rc)
		rc = record_product(g, l->matrix[GEMMA_UP], act(g, ACT_H, n), up);
	if (!rc)
		rc = vgpu_cmd_binary(g->cb, VGPU_BINARY_GEGLU, gate, up, gate);
	return rc ? rc : record_end(g, layer, GEMMA_DOWN, ACT_GATE, GEMMA_AFTER_FFN, n);
}

static int record_layer(struct gemma *g, uint32_t layer, uint32_t n)
{
	struct vgpu_array x = act(g, ACT_X, n), h = act(g, ACT_H, n);
	int rc;

	rc = record_norm(g, x, norm_vector(g, layer, GEMMA_BEFORE_ATTENTION), h);
	if (!rc)
		rc = record_attention(g, layer, n);
	if (!rc)
		rc = record_end(g, layer, GEMMA_O, ACT_C, GEMMA_AFTER_ATTENTION, n);
	if (!rc)
		rc = record_norm(g, x, norm_vector(g, layer, GEMMA_BEFORE_FFN), h);
	return rc ? rc : record_ffn(g, layer, n);
}

static int record_embeddings(struct gemma *g, uint32_t n)
{
	struct vgpu_array x = act(g, ACT_X, n);
	int rc = vgpu_cmd_gather(g->cb, weights_of(g, g->model->embedding), ids(g, n), x);

	return rc ? rc : vgpu_cmd_scale(g->cb, sqrtf((float)g->model->hidden), x, x);
}

/* Logits of tokens of a batch. */
static int record_logits(struct gemma *g, uint32_t first, uint32_t count)
{
	uint32_t hidden = g->model->hidden;
	struct vgpu_array x = vgpu_matrix(g->acts[ACT_X], (uint64_t)first * hidden * sizeof(float),
					  VGPU_FORMAT_F32, count, hidden);
	struct vgpu_array h = act(g, ACT_H, count);
	int rc = record_norm(g, x, norm_vector(g, g->model->layers, 0), h);

	return rc ? rc : record_product(g, g->model->head, h, logits(g, count));
}

/* Logits of the last token, and the largest of them. */
static int record_head(struct gemma *g, uint32_t n)
{
	uint32_t top = g->size.choices;
	int rc = record_logits(g, n - 1, 1);

	return rc ? rc : vgpu_cmd_topk(g->cb, logits(g, 1),
				       vgpu_matrix(g->top, 0, VGPU_FORMAT_F32, 1, top),
				       vgpu_matrix(g->top, top * sizeof(float), VGPU_FORMAT_I32, 1, top));
}

static int record(struct gemma *g, uint32_t n, bool is_last)
{
	int rc;

	vgpu_cmdbuf_reset(g->cb);
	rc = record_embeddings(g, n);
	for (uint32_t layer = 0; layer < g->model->layers && !rc; layer++)
		rc = record_layer(g, layer, n);
	if (!rc && is_last)
		rc = record_head(g, n);
	g->commands += vgpu_cmdbuf_commands(g->cb);
	return rc;
}

static int write_ids(struct gemma *g, const int32_t *tokens, uint32_t n)
{
	int32_t at[GEMMA_BATCH_MAX];
	int rc = vgpu_bo_write(g->ids, 0, tokens, n * sizeof(*tokens));

	for (uint32_t i = 0; i < n; i++)
		at[i] = (int32_t)(g->position + i);
	return rc ? rc : vgpu_bo_write(g->ids, (uint64_t)g->size.batch * sizeof(*at), at,
				       n * sizeof(*at));
}

static uint64_t batch_bytes(const struct gemma *g, bool is_last)
{
	uint64_t all = g->model->weights.used_bytes;

	/* The table of embeddings is the head, or only a few of its rows are used. */
	return is_last ? all : all - g->model->head->used_bytes;
}

/* One token runs here and now; more by another thread, so that a signal is heard. */
static int run(struct gemma *g, uint32_t n, bool is_last)
{
	int rc = n > 1 ? device_run(g->v, g->q, g->cb, g->progress, g->used_bytes) :
			 vgpu_finish(g->q, g->cb);

	g->used_bytes += batch_bytes(g, is_last);
	return rc;
}

int gemma_feed(struct gemma *g, const int32_t *tokens, uint32_t count)
{
	int rc = count <= g->size.tokens - g->position ? 0 : -E2BIG;

	for (uint32_t done = 0, n; done < count && !rc; done += n) {
		n = count - done < g->size.batch ? count - done : g->size.batch;
		if (progress_interrupted())
			return -EINTR;
		rc = write_ids(g, tokens + done, n);
		if (!rc)
			rc = record(g, n, done + n == count);
		if (!rc)
			rc = run(g, n, done + n == count);
		if (rc)
			break;
		g->position += n;
		g->together = n;
	}
	return rc;
}

int gemma_choices(struct gemma *g, float *values, int32_t *tokens)
{
	uint64_t bytes = g->size.choices * sizeof(*values);
	int rc = vgpu_bo_read(g->top, 0, values, bytes);

	return rc ? rc : vgpu_bo_read(g->top, bytes, tokens, bytes);
}

int gemma_logits(struct gemma *g, float *out)
{
	return vgpu_bo_read(g->logits, 0, out, (uint64_t)g->model->embedding->n * sizeof(*out));
}

int gemma_row_logits(struct gemma *g, uint32_t first, uint32_t count, float *out)
{
	uint32_t rows = g->size.rows ? g->size.rows : 1;
	int rc;

	if (!count || count > rows || first > g->together || count > g->together - first)
		return -EINVAL;
	vgpu_cmdbuf_reset(g->cb);
	rc = record_logits(g, first, count);
	g->commands += vgpu_cmdbuf_commands(g->cb);
	if (!rc)
		rc = vgpu_finish(g->q, g->cb);
	return rc ? rc : vgpu_bo_read(g->logits, 0, out,
				      (uint64_t)count * g->model->embedding->n * sizeof(*out));
}

/* --- looking inside ----------------------------------------------------- */

uint32_t gemma_residency(const struct gemma *g, struct residency_row *rows, char (*names)[32])
{
	const struct gemma_model *m = g->model;
	uint32_t n = 0;

	rows[n++] = (struct residency_row){ .name = "model file", .more = g->ops.files,
					    .more_count = g->ops.file_count };
	rows[n++] = (struct residency_row){ .name = "norms", .bo = { g->norms } };
	rows[n++] = (struct residency_row){ .name = "ids, logits", .bo = { g->ids, g->logits, g->top } };
	rows[n] = (struct residency_row){ .name = "intermediates" };
	memcpy(rows[n++].bo, g->acts, sizeof(g->acts));
	rows[n++] = (struct residency_row){ .name = "keys and values", .more = g->cache.bo,
					    .more_count = m->layers };
	for (uint32_t layer = 0; layer < m->layers; layer++) {
		struct residency_row *row = &rows[n++];
		uint32_t packed = 0;

		snprintf(names[layer], sizeof(names[layer]), "layer %u, packed", layer);
		*row = (struct residency_row){ .name = names[layer] };
		for (uint32_t i = 0; i < GEMMA_MATRICES; i++) {
			struct vgpu_bo *bo = g->ops.packed[m->layer[layer].matrix[i] - m->weights.list];

			if (bo)
				row->bo[packed++] = bo;
		}
	}
	return n;
}

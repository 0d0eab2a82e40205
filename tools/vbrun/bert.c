// SPDX-License-Identifier: MIT
#include "bert.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/progress.h"
#include "device.h"

/* The device's least reserve, and chunks of weights beside the intermediates. */
#define STAGING_CHUNKS 6u
#define WEIGHT_CHUNKS 3u
/* Tokens of a batch that takes so long that handing it to another thread does not count. */
#define LONG_BATCH 512u

/* Intermediates, one object each: they need not lie beside each other. */
enum { ACT_X, ACT_Q, ACT_K, ACT_V, ACT_C, ACT_WIDE };

static uint32_t act_cols(const struct bert_model *model, uint32_t which)
{
	return which == ACT_WIDE ? model->ffn : model->hidden;
}

uint64_t bert_token_bytes(const struct bert_model *model)
{
	return (5 * (uint64_t)model->hidden + model->ffn) * sizeof(float);
}

uint64_t bert_layer_bytes(const struct bert_model *model, enum vgpu_format format)
{
	uint64_t sum = 0, bytes;

	for (uint32_t i = 0; i < BERT_MATRICES; i++)
		if (!vgpu_matrix_bytes(format, bert_rows(model, i), bert_cols(model, i), &bytes))
			sum += bytes;
	return sum;
}

/* --- operands ----------------------------------------------------------- */

static struct vgpu_array act(const struct bert *b, uint32_t which, uint32_t tokens)
{
	return vgpu_matrix(b->acts[which], 0, VGPU_FORMAT_F32, tokens, act_cols(b->model, which));
}

/* Tokens first .. first + count - 1 of an intermediate as [count][heads][dim]. */
static struct vgpu_array act_heads(const struct bert *b, uint32_t which, uint32_t first,
				   uint32_t count)
{
	const struct bert_model *m = b->model;

	return vgpu_cube(b->acts[which], (uint64_t)first * m->hidden * sizeof(float), VGPU_FORMAT_F32,
			 count, m->heads, m->hidden / m->heads);
}

static uint64_t vector_room(uint32_t n)
{
	return ((uint64_t)n * sizeof(float) + 63) & ~63ull;
}

/* Slot BERT_VECTORS * (layer + 1) + which; the first stretch belongs to the head. */
static struct vgpu_array small(const struct bert *b, uint32_t slot, uint32_t n)
{
	uint64_t narrow = vector_room(b->model->hidden), wide = vector_room(b->model->ffn);
	uint32_t rest = slot % BERT_VECTORS;
	uint64_t offset = slot / BERT_VECTORS * (wide + (BERT_VECTORS - 1) * narrow);

	/* Only the bias of the wide matrix is long. */
	offset += rest > BERT_UP ? wide + (rest - 1) * narrow : rest * narrow;
	return vgpu_vector(b->small, offset, VGPU_FORMAT_F32, n);
}

static struct vgpu_array vector(const struct bert *b, uint32_t layer, uint32_t which)
{
	return small(b, (layer + 1) * BERT_VECTORS + which,
		     which == BERT_UP ? b->model->ffn : b->model->hidden);
}

static struct vgpu_array head(const struct bert *b, enum bert_head which)
{
	return small(b, which, b->model->hidden);
}

/* --- loading ------------------------------------------------------------ */

static struct vgpu_pack packing(const struct bert *b, uint32_t layer, enum bert_matrix which)
{
	return (struct vgpu_pack){
		.source_format = VGPU_FORMAT_F32,
		.packed_format = b->formats[layer],
		.rows = bert_rows(b->model, which),
		.cols = bert_cols(b->model, which),
	};
}

/* A matrix by itself: in the checkpoint, or packed from it whenever it is needed. */
static int load_matrix(struct bert *b, uint32_t layer, enum bert_matrix which)
{
	const struct vgpu_tensor *t = b->model->matrix[layer][which];
	struct vgpu_pack pack = packing(b, layer, which);
	int fd = vgpu_checkpoint_file_fd(b->model->ck, t->file), rc;

	if (b->formats[layer] == VGPU_FORMAT_F32) {
		b->arrays[layer][which] = vgpu_matrix(b->file, t->offset, VGPU_FORMAT_F32,
						      pack.rows, pack.cols);
		return 0;
	}
	rc = vgpu_bo_create_packed(b->v, fd, t->offset, &pack, &b->weights[layer][which]);
	b->arrays[layer][which] = vgpu_matrix(b->weights[layer][which], 0, pack.packed_format,
					      pack.rows, pack.cols);
	return rc;
}

static int load_matrices(struct bert *b)
{
	int rc = 0;

	for (uint32_t layer = 0; layer < b->model->layers; layer++)
		for (uint32_t i = 0; i < BERT_MATRICES && !rc; i++)
			rc = load_matrix(b, layer, i);
	return rc;
}

/* Names of the matrices in a packed file. */
struct packed_names {
	char name[BERT_LAYERS_MAX][BERT_MATRICES][32];
};

static int build_packed(struct bert *b, const char *path, struct packed_names *names)
{
	struct vgpu_pack_item items[BERT_LAYERS_MAX * BERT_MATRICES];
	struct progress progress;
	uint32_t n = 0;
	int rc;

	for (uint32_t layer = 0; layer < b->model->layers; layer++)
		for (uint32_t i = 0; i < BERT_MATRICES; i++) {
			const struct vgpu_tensor *t = b->model->matrix[layer][i];

			snprintf(names->name[layer][i], sizeof(names->name[layer][i]),
				 "layer.%u.matrix.%u", layer, i);
			items[n++] = (struct vgpu_pack_item){
				.name = names->name[layer][i],
				.fd = vgpu_checkpoint_file_fd(b->model->ck, t->file),
				.offset = t->offset, .pack = packing(b, layer, i) };
		}
	progress_begin(&progress, "packing", 0);
	rc = vgpu_packed_build(b->v, path, items, n, progress_tell, &progress);
	progress_end(&progress);
	return rc;
}

/* All matrices from one file that holds nothing else. */
static int load_packed(struct bert *b, const char *path)
{
	struct packed_names names;
	int rc = build_packed(b, path, &names);

	if (!rc)
		rc = vgpu_checkpoint_open(path, &b->packed, NULL);
	if (!rc)
		rc = vgpu_bo_create_file(b->v, vgpu_checkpoint_file_fd(b->packed, 0), 0, 0,
					 &b->packed_file);
	for (uint32_t layer = 0; layer < b->model->layers; layer++)
		for (uint32_t i = 0; i < BERT_MATRICES && !rc; i++)
			rc = vgpu_packed_array(b->packed, names.name[layer][i], b->packed_file,
					       &b->arrays[layer][i]);
	return rc;
}

static int copy_vector(struct bert *b, const struct vgpu_tensor *t, struct vgpu_array to)
{
	return vgpu_cmd_copy(b->cb, vgpu_vector(b->file, t->offset, VGPU_FORMAT_F32, to.shape[0]),
			     to);
}

/* Norms and biases: from where they lie in the file into one object. */
static int load_vectors(struct bert *b)
{
	int rc = 0;

	for (uint32_t i = 0; i < BERT_HEADS && !rc; i++)
		rc = copy_vector(b, b->model->head[i], head(b, i));
	for (uint32_t layer = 0; layer < b->model->layers && !rc; layer++)
		for (uint32_t i = 0; i < BERT_VECTORS && !rc; i++)
			rc = copy_vector(b, b->model->vector[layer][i], vector(b, layer, i));
	return rc ? rc : vgpu_finish(b->q, b->cb);
}

/* Bytes of the object with norms and biases. */
static uint64_t vectors_bytes(const struct bert_model *m)
{
	return (m->layers + 1) * (vector_room(m->ffn) +
				  (BERT_VECTORS - 1) * vector_room(m->hidden));
}

/* A text is at least [CLS] and [SEP]: half as many embeddings as tokens. */
static uint64_t out_bytes(const struct bert_model *m, uint32_t tokens)
{
	return (uint64_t)(tokens / 2 + 1) * m->hidden * sizeof(float);
}

uint64_t bert_host_bytes(const struct bert_model *model, uint32_t tokens, uint64_t chunk_bytes)
{
	uint64_t chunks = STAGING_CHUNKS + WEIGHT_CHUNKS, rows;

	for (uint32_t i = 0; i < BERT_ACTS; i++) {
		rows = (uint64_t)tokens * act_cols(model, i) * sizeof(float);
		chunks += (rows + chunk_bytes - 1) / chunk_bytes;
	}
	chunks += (vectors_bytes(model) + chunk_bytes - 1) / chunk_bytes;
	chunks += (out_bytes(model, tokens) + chunk_bytes - 1) / chunk_bytes;
	chunks += (3 * (uint64_t)tokens * sizeof(float) + chunk_bytes - 1) / chunk_bytes;
	return chunks * chunk_bytes;
}

static int make_objects(struct bert *b)
{
	const struct bert_model *m = b->model;
	int rc;

	rc = vgpu_bo_create_file(b->v, vgpu_checkpoint_file_fd(m->ck, 0), 0, 0, &b->file);
	if (!rc)
		rc = vgpu_bo_create(b->v, vectors_bytes(m), VGPU_LIFE_VOLATILE, &b->small);
	if (!rc)
		rc = vgpu_bo_create(b->v, 3 * (uint64_t)b->tokens * sizeof(float),
				    VGPU_LIFE_VOLATILE, &b->ids);
	for (uint32_t i = 0; i < BERT_ACTS && !rc; i++)
		rc = vgpu_bo_create(b->v, (uint64_t)b->tokens * act_cols(m, i) * sizeof(float),
				    VGPU_LIFE_VOLATILE, &b->acts[i]);
	if (!rc)
		rc = vgpu_bo_create(b->v, out_bytes(m, b->tokens), VGPU_LIFE_VOLATILE, &b->out);
	return rc;
}

/* The weights come in the same order for every batch. */
static int declare(struct bert *b)
{
	struct vgpu_use uses[BERT_LAYERS_MAX * BERT_MATRICES];
	uint32_t n = 0;

	for (uint32_t layer = 0; layer < b->model->layers; layer++)
		for (uint32_t i = 0; i < BERT_MATRICES; i++) {
			const struct vgpu_array *w = &b->arrays[layer][i];

			uses[n] = (struct vgpu_use){ .bo = w->bo, .offset = w->offset };
			vgpu_matrix_bytes(w->format, w->shape[0], w->shape[1], &uses[n].bytes);
			n++;
		}
	return vgpu_schedule(b->v, uses, n, true);
}

int bert_load(struct bert *b, const struct bert_model *model, struct vgpu *v,
	      const enum vgpu_format *formats, enum vgpu_mode mode, uint32_t tokens,
	      const char *packed_path)
{
	int rc;

	memset(b, 0, sizeof(*b));
	b->model = model;
	b->v = v;
	b->mode = mode;
	b->tokens = tokens;
	memcpy(b->formats, formats, model->layers * sizeof(*formats));
	for (uint32_t i = 0; i < model->layers; i++)
		b->weight_bytes += bert_layer_bytes(model, formats[i]);
	rc = make_objects(b);
	if (!rc)
		rc = packed_path ? load_packed(b, packed_path) : load_matrices(b);
	if (!rc)
		rc = vgpu_queue_create(v, 0, &b->q);
	if (!rc)
		rc = vgpu_cmdbuf_create(v, &b->cb);
	if (!rc)
		rc = load_vectors(b);
	return rc ? rc : declare(b);
}

void bert_unload(struct bert *b)
{
	vgpu_queue_destroy(b->q);
	if (b->cb)
		vgpu_cmdbuf_destroy(b->cb);
	for (uint32_t layer = 0; layer < BERT_LAYERS_MAX; layer++)
		for (uint32_t i = 0; i < BERT_MATRICES; i++)
			vgpu_bo_destroy(b->weights[layer][i]);
	vgpu_bo_destroy(b->packed_file);
	vgpu_checkpoint_close(b->packed);
	vgpu_bo_destroy(b->file);
	vgpu_bo_destroy(b->small);
	vgpu_bo_destroy(b->ids);
	for (uint32_t i = 0; i < BERT_ACTS; i++)
		vgpu_bo_destroy(b->acts[i]);
	vgpu_bo_destroy(b->out);
	memset(b, 0, sizeof(*b));
}

/* --- one batch ---------------------------------------------------------- */

/**
 * struct batch - consecutive texts that run together
 * @texts: the first of them
 * @count: texts
 * @tokens: of all of them
 */
struct batch {
	const struct bert_text *texts;
	uint32_t count, tokens;
};

static int record_product(struct bert *b, uint32_t layer, enum bert_matrix which, uint32_t from,
			  uint32_t to, uint32_t tokens)
{
	struct vgpu_matmul c = {
		.mode = b->formats[layer] == VGPU_FORMAT_F32 ? VGPU_MODE_F32 : b->mode,
		.act = which == BERT_UP ? VGPU_UNARY_GELU_ERF : VGPU_UNARY_NONE,
		.x = act(b, from, tokens),
		.w = b->arrays[layer][which],
		.y = act(b, to, tokens),
		.bias = vector(b, layer, which),
	};

	/* Both sublayers add their input, which stays in x until the norm. */
	if (which == BERT_O || which == BERT_DOWN)
		c.residual = act(b, ACT_X, tokens);
	return vgpu_cmd_matmul(b->cb, &c);
}

static int record_norm(struct bert *b, struct vgpu_array gamma, struct vgpu_array beta,
		       uint32_t tokens)
{
	struct vgpu_norm_cmd c = {
		.kind = VGPU_NORM_LAYER,
		.eps = b->model->eps,
		.x = act(b, ACT_Q, tokens),
		.gamma = gamma,
		.beta = beta,
		.y = act(b, ACT_X, tokens),
	};

	return vgpu_cmd_norm(b->cb, &c);
}

/* Tokens see those of their own text only. */
static int record_attention(struct bert *b, const struct batch *batch)
{
	uint32_t first = 0;
	int rc = 0;

	for (uint32_t i = 0; i < batch->count && !rc; i++) {
		uint32_t n = batch->texts[i].count;
		struct vgpu_attention_cmd c = {
			.scale = 1.0f / sqrtf((float)(b->model->hidden / b->model->heads)),
			.q = act_heads(b, ACT_Q, first, n),
			.k = act_heads(b, ACT_K, first, n),
			.v = act_heads(b, ACT_V, first, n),
			.out = act_heads(b, ACT_C, first, n),
		};

		rc = vgpu_cmd_attention(b->cb, &c);
		first += n;
	}
	return rc;
}

static int record_layer(struct bert *b, uint32_t layer, const struct batch *batch)
{
	uint32_t n = batch->tokens;
	int rc;

	rc = record_product(b, layer, BERT_Q, ACT_X, ACT_Q, n);
	if (!rc)
		rc = record_product(b, layer, BERT_K, ACT_X, ACT_K, n);
	if (!rc)
		rc = record_product(b, layer, BERT_V, ACT_X, ACT_V, n);
	if (!rc)
		rc = record_attention(b, batch);
	/* q is free from here on and takes what goes into the norms. */
	if (!rc)
		rc = record_product(b, layer, BERT_O, ACT_C, ACT_Q, n);
	if (!rc)
		rc = record_norm(b, vector(b, layer, BERT_NORM1_GAMMA),
				 vector(b, layer, BERT_NORM1_BETA), n);
	if (!rc)
		rc = record_product(b, layer, BERT_UP, ACT_X, ACT_WIDE, n);
	if (!rc)
		rc = record_product(b, layer, BERT_DOWN, ACT_WIDE, ACT_Q, n);
	if (!rc)
		rc = record_norm(b, vector(b, layer, BERT_NORM2_GAMMA),
				 vector(b, layer, BERT_NORM2_BETA), n);
	return rc;
}

static struct vgpu_array id_column(const struct bert *b, uint32_t column, enum vgpu_format format,
				   uint32_t first, uint32_t n)
{
	return vgpu_vector(b->ids, ((uint64_t)column * b->tokens + first) * sizeof(float), format,
			   n);
}

static struct vgpu_array table(const struct bert *b, const struct vgpu_tensor *t)
{
	return vgpu_matrix(b->file, t->offset, VGPU_FORMAT_F32, (uint32_t)t->shape[0],
			   b->model->hidden);
}

/* norm(word + position + type) */
static int record_embeddings(struct bert *b, uint32_t n)
{
	int rc;

	rc = vgpu_cmd_gather(b->cb, table(b, b->model->word_table),
			     id_column(b, 0, VGPU_FORMAT_I32, 0, n), act(b, ACT_Q, n));
	if (!rc)
		rc = vgpu_cmd_gather(b->cb, table(b, b->model->position_table),
				     id_column(b, 1, VGPU_FORMAT_I32, 0, n), act(b, ACT_K, n));
	if (!rc)
		rc = vgpu_cmd_binary(b->cb, VGPU_BINARY_ADD, act(b, ACT_Q, n), act(b, ACT_K, n),
				     act(b, ACT_Q, n));
	if (!rc)
		rc = vgpu_cmd_binary(b->cb, VGPU_BINARY_ADD, act(b, ACT_Q, n),
				     head(b, BERT_HEAD_TYPE), act(b, ACT_Q, n));
	if (!rc)
		rc = record_norm(b, head(b, BERT_HEAD_GAMMA), head(b, BERT_HEAD_BETA), n);
	return rc;
}

/* Mean over the tokens of each text, then length 1. */
static int record_pooling(struct bert *b, const struct batch *batch)
{
	uint32_t h = b->model->hidden, first = 0;
	struct vgpu_norm_cmd norm = {
		.kind = VGPU_NORM_L2,
		.eps = 1e-12f,
		.x = vgpu_matrix(b->out, 0, VGPU_FORMAT_F32, batch->count, h),
		.y = vgpu_matrix(b->out, 0, VGPU_FORMAT_F32, batch->count, h),
	};
	int rc = 0;

	for (uint32_t i = 0; i < batch->count && !rc; i++) {
		uint32_t n = batch->texts[i].count;
		struct vgpu_array mean = id_column(b, 2, VGPU_FORMAT_F32, first, n);

		mean.rank = 2;
		mean.shape[0] = 1;
		mean.shape[1] = n;
		rc = vgpu_cmd_combine(b->cb,
			vgpu_cube(b->acts[ACT_X], (uint64_t)first * h * sizeof(float),
				  VGPU_FORMAT_F32, 1, n, h), mean,
			vgpu_matrix(b->out, (uint64_t)i * h * sizeof(float), VGPU_FORMAT_F32, 1, h));
		first += n;
	}
	return rc ? rc : vgpu_cmd_norm(b->cb, &norm);
}

static int record(struct bert *b, const struct batch *batch)
{
	int rc;

	vgpu_cmdbuf_reset(b->cb);
	rc = record_embeddings(b, batch->tokens);
	for (uint32_t layer = 0; layer < b->model->layers && !rc; layer++)
		rc = record_layer(b, layer, batch);
	if (!rc)
		rc = record_pooling(b, batch);
	b->commands += vgpu_cmdbuf_commands(b->cb);
	return rc;
}

static int write_ids(struct bert *b, const struct batch *batch)
{
	uint32_t *columns = malloc(3 * (size_t)b->tokens * sizeof(*columns));
	uint32_t at = 0;
	int rc;

	if (!columns)
		return -ENOMEM;
	memset(columns, 0, 3 * (size_t)b->tokens * sizeof(*columns));
	for (uint32_t i = 0; i < batch->count; i++) {
		float mean = 1.0f / (float)batch->texts[i].count;

		for (uint32_t j = 0; j < batch->texts[i].count; j++, at++) {
			columns[at] = (uint32_t)batch->texts[i].ids[j];
			columns[b->tokens + at] = j;
			memcpy(&columns[2 * (size_t)b->tokens + at], &mean, sizeof(mean));
		}
	}
	rc = vgpu_bo_write(b->ids, 0, columns, 3 * (uint64_t)b->tokens * sizeof(*columns));
	free(columns);
	return rc;
}

static int run_batch(struct bert *b, const struct batch *batch, float *out)
{
	int rc;

	rc = write_ids(b, batch);
	if (!rc)
		rc = record(b, batch);
	/* By another thread where that costs nothing beside the work: a signal is heard then. */
	if (!rc && batch->tokens >= LONG_BATCH)
		rc = device_run(b->v, b->q, b->cb, b->progress, b->used_bytes);
	else if (!rc)
		rc = vgpu_finish(b->q, b->cb);
	if (!rc)
		rc = vgpu_bo_read(b->out, 0, out,
				  (uint64_t)batch->count * b->model->hidden * sizeof(*out));
	return rc;
}

int bert_embed(struct bert *b, const struct bert_text *texts, uint32_t count, float *out)
{
	int rc = 0;

	for (uint32_t i = 0; i < count && !rc;) {
		struct batch batch = { .texts = &texts[i] };

		while (i < count && batch.tokens + texts[i].count <= b->tokens) {
			batch.tokens += texts[i++].count;
			batch.count++;
		}
		if (!batch.count)
			return -E2BIG;
		if (progress_interrupted())
			return -EINTR;
		rc = run_batch(b, &batch, out);
		b->used_bytes += b->weight_bytes;
		if (b->progress)
			progress_update(b->progress, b->used_bytes);
		out += (size_t)batch.count * b->model->hidden;
	}
	return rc;
}

/* --- looking inside ----------------------------------------------------- */

int bert_decode(struct bert *b, uint32_t layer, enum bert_matrix which, float *out)
{
	uint32_t rows = bert_rows(b->model, which), cols = bert_cols(b->model, which), n;
	uint32_t step = b->tokens;	/* what the wide intermediate surely holds */
	int32_t *ids = malloc(step * sizeof(*ids));
	int rc = ids ? 0 : -ENOMEM;

	for (uint32_t first = 0; first < rows && !rc; first += n) {
		n = rows - first < step ? rows - first : step;
		for (uint32_t i = 0; i < n; i++)
			ids[i] = (int32_t)(first + i);
		vgpu_cmdbuf_reset(b->cb);
		rc = vgpu_bo_write(b->ids, 0, ids, n * sizeof(*ids));
		if (!rc)
			rc = vgpu_cmd_gather(b->cb, b->arrays[layer][which],
					     id_column(b, 0, VGPU_FORMAT_I32, 0, n),
					     vgpu_matrix(b->acts[ACT_WIDE], 0, VGPU_FORMAT_F32, n,
							 cols));
		if (!rc)
			rc = vgpu_finish(b->q, b->cb);
		if (!rc)
			rc = vgpu_bo_read(b->acts[ACT_WIDE], 0, out + (size_t)first * cols,
					  (uint64_t)n * cols * sizeof(*out));
	}
	free(ids);
	return rc;
}

uint32_t bert_residency(const struct bert *b, struct residency_row *rows, char (*names)[32])
{
	uint32_t n = 0;

	rows[n++] = (struct residency_row){ .name = "checkpoint file", .bo = { b->file } };
	rows[n++] = (struct residency_row){ .name = "packed file", .bo = { b->packed_file } };
	rows[n++] = (struct residency_row){ .name = "norms and biases", .bo = { b->small } };
	rows[n++] = (struct residency_row){ .name = "ids, embeddings", .bo = { b->ids, b->out } };
	rows[n] = (struct residency_row){ .name = "intermediates" };
	memcpy(rows[n++].bo, b->acts, sizeof(b->acts));
	for (uint32_t layer = 0; layer < b->model->layers; layer++) {
		snprintf(names[layer], sizeof(names[layer]), "layer %u, %s", layer,
			 vgpu_format_name(b->formats[layer]));
		rows[n] = (struct residency_row){ .name = names[layer] };
		memcpy(rows[n++].bo, b->weights[layer], sizeof(b->weights[layer]));
	}
	return n;
}

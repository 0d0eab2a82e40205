// SPDX-License-Identifier: MIT
#include "common/gemma_ref.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct layer {
	double *matrix[GEMMA_MATRICES], *norm[GEMMA_NORMS];
};

struct gemma_ref {
	const struct gemma_model *m;
	double *embedding, *head, *last_norm;
	struct layer *layer;
};

static void *need(void *p, const char *what)
{
	if (!p) {
		fprintf(stderr, "gemma_ref: %s\n", what);
		abort();
	}
	return p;
}

static double *zeros(size_t n)
{
	return need(calloc(n, sizeof(double)), "out of memory");
}

static void must(int rc, const char *what)
{
	need(rc ? NULL : (void *)what, what);
}

/* Rows as GATHER decodes them: the public way to the values of packed weights. */
static double *take_matrix(struct gemma *g, const struct weight *w)
{
	double *out = zeros((size_t)w->n * w->k);
	int32_t *ids = need(calloc(w->n, sizeof(*ids)), "out of memory");
	float *values = need(calloc((size_t)w->n * w->k, sizeof(*values)), "out of memory");
	struct vgpu_bo *rows, *names;

	for (uint32_t i = 0; i < w->n; i++)
		ids[i] = (int32_t)i;
	must(vgpu_bo_create(g->v, (uint64_t)w->n * w->k * sizeof(float), VGPU_LIFE_VOLATILE, &rows),
	     "no room for a matrix");
	must(vgpu_bo_create(g->v, w->n * sizeof(*ids), VGPU_LIFE_VOLATILE, &names), "no room");
	must(vgpu_bo_write(names, 0, ids, w->n * sizeof(*ids)), "write");
	vgpu_cmdbuf_reset(g->cb);
	must(vgpu_cmd_gather(g->cb, vgpu_matrix(operands_bo(&g->ops, w), operands_at(w, 0, 0), w->used,
						w->n, w->k),
			     vgpu_vector(names, 0, VGPU_FORMAT_I32, w->n),
			     vgpu_matrix(rows, 0, VGPU_FORMAT_F32, w->n, w->k)), "gather");
	must(vgpu_finish(g->q, g->cb), "gather");
	must(vgpu_bo_read(rows, 0, values, (uint64_t)w->n * w->k * sizeof(float)), "read");
	for (size_t i = 0; i < (size_t)w->n * w->k; i++)
		out[i] = values[i];
	vgpu_bo_destroy(rows);
	vgpu_bo_destroy(names);
	free(values);
	free(ids);
	return out;
}

static double *take_norm(struct gemma *g, const struct vgpu_tensor *t)
{
	double *out = zeros(t->shape[0]);
	float *values = need(malloc(t->bytes), "out of memory");
	ssize_t n = pread(vgpu_checkpoint_file_fd(g->model->ck, t->file), values, t->bytes,
			  (off_t)t->offset);

	must(n != (ssize_t)t->bytes, "pread");
	for (uint64_t i = 0; i < t->shape[0]; i++)
		out[i] = values[i];
	free(values);
	return out;
}

struct gemma_ref *gemma_ref_create(struct gemma *g)
{
	const struct gemma_model *m = g->model;
	struct gemma_ref *ref = need(calloc(1, sizeof(*ref)), "out of memory");

	ref->m = m;
	ref->layer = need(calloc(m->layers, sizeof(*ref->layer)), "out of memory");
	ref->embedding = take_matrix(g, m->embedding);
	ref->head = take_matrix(g, m->head);
	ref->last_norm = take_norm(g, m->last_norm);
	for (uint32_t i = 0; i < m->layers; i++) {
		for (uint32_t j = 0; j < GEMMA_MATRICES; j++)
			ref->layer[i].matrix[j] = take_matrix(g, m->layer[i].matrix[j]);
		for (uint32_t j = 0; j < GEMMA_NORMS; j++)
			ref->layer[i].norm[j] = take_norm(g, m->layer[i].norm[j]);
	}
	return ref;
}

void gemma_ref_destroy(struct gemma_ref *ref)
{
	for (uint32_t i = 0; i < ref->m->layers; i++) {
		for (uint32_t j = 0; j < GEMMA_MATRICES; j++)
			free(ref->layer[i].matrix[j]);
		for (uint32_t j = 0; j < GEMMA_NORMS; j++)
			free(ref->layer[i].norm[j]);
	}
	free(ref->embedding);
	free(ref->head);
	free(ref->last_norm);
	free(ref->layer);
	free(ref);
}

/* --- arithmetic --------------------------------------------------------- */

static void product(const double *w, uint32_t n, uint32_t k, const double *x, double *y)
{
	for (uint32_t i = 0; i < n; i++) {
		y[i] = 0;
		for (uint32_t j = 0; j < k; j++)
			y[i] += w[(size_t)i * k + j] * x[j];
	}
}

static void rms_norm(const double *x, const double *gamma, double eps, uint32_t n, double *y)
{
	double sum = 0, scale;

	for (uint32_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	scale = 1 / sqrt(sum / n + eps);
	for (uint32_t i = 0; i < n; i++)
		y[i] = x[i] * scale * gamma[i];
}

static double gelu_tanh(double x)
{
	return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

/* Columns i and i + rot / 2 of a head are a pair. */
static void rotate(const struct gemma_model *m, const struct gemma_layer *l, uint32_t position,
		   double *head)
{
	uint32_t half = m->rot / 2;

	for (uint32_t i = 0; i < half; i++) {
		double angle = position * (double)l->freq_scale *
			       pow((double)l->base, -2.0 * i / m->rot);
		double a = head[i], b = head[i + half];

		head[i] = a * cos(angle) - b * sin(angle);
		head[i + half] = a * sin(angle) + b * cos(angle);
	}
}

/* Norm and rotation of each head of a row. */
static void finish_heads(const struct gemma_ref *ref, uint32_t layer, uint32_t norm,
			 uint32_t heads, uint32_t position, double *row)
{
	const struct gemma_model *m = ref->m;

	for (uint32_t i = 0; i < heads; i++) {
		double *head = row + (size_t)i * m->dim;

		rms_norm(head, ref->layer[layer].norm[norm], m->eps, m->dim, head);
		rotate(m, &m->layer[layer], position, head);
	}
}

/* One head of one query over the keys from @first to its own. */
static void attend(const struct gemma_model *m, const double *q, const double *k, const double *v,
		   size_t stride, uint32_t first, uint32_t last, double *out)
{
	double *p = zeros(last + 1), most = -INFINITY, sum = 0;

	for (uint32_t j = first; j <= last; j++) {
		for (uint32_t c = 0; c < m->dim; c++)
			p[j] += q[c] * k[j * stride + c];
		p[j] *= m->scale;
		most = p[j] > most ? p[j] : most;
	}
	for (uint32_t j = first; j <= last; j++)
		sum += p[j] = exp(p[j] - most);
	memset(out, 0, m->dim * sizeof(*out));
	for (uint32_t j = first; j <= last; j++)
		for (uint32_t c = 0; c < m->dim; c++)
			out[c] += p[j] / sum * v[j * stride + c];
	free(p);
}

/* x += norm(w in) for one token. */
static void add_sublayer(const struct gemma_ref *ref, uint32_t layer, enum gemma_matrix which,
			 enum gemma_norm norm, const double *in, double *x)
{
	uint32_t hidden = ref->m->hidden;
	double *h = zeros(hidden);

	product(ref->layer[layer].matrix[which], hidden, gemma_cols(ref->m, which), in, h);
	rms_norm(h, ref->layer[layer].norm[norm], ref->m->eps, hidden, h);
	for (uint32_t i = 0; i < hidden; i++)
		x[i] += h[i];
	free(h);
}

static void attention(const struct gemma_ref *ref, uint32_t layer, uint32_t count, double *x)
{
	const struct gemma_model *m = ref->m;
	const struct layer *l = &ref->layer[layer];
	uint32_t window = m->layer[layer].window, each = m->heads / m->kv_heads;
	size_t wide = (size_t)m->heads * m->dim, narrow = (size_t)m->kv_heads * m->dim;
	double *h = zeros(m->hidden), *q = zeros(count * wide), *c = zeros(wide);
	double *k = zeros(count * narrow), *v = zeros(count * narrow);

	for (uint32_t t = 0; t < count; t++) {
		rms_norm(x + (size_t)t * m->hidden, l->norm[GEMMA_BEFORE_ATTENTION], m->eps, m->hidden, h);
		product(l->matrix[GEMMA_Q], (uint32_t)wide, m->hidden, h, q + t * wide);
		product(l->matrix[GEMMA_K], (uint32_t)narrow, m->hidden, h, k + t * narrow);
		product(l->matrix[GEMMA_V], (uint32_t)narrow, m->hidden, h, v + t * narrow);
		finish_heads(ref, layer, GEMMA_OF_Q, m->heads, t, q + t * wide);
		finish_heads(ref, layer, GEMMA_OF_K, m->kv_heads, t, k + t * narrow);
	}
	for (uint32_t t = 0; t < count; t++) {
		uint32_t first = window && t + 1 > window ? t + 1 - window : 0;

		for (uint32_t i = 0; i < m->heads; i++)
			attend(m, q + t * wide + (size_t)i * m->dim, k + (size_t)(i / each) * m->dim,
			       v + (size_t)(i / each) * m->dim, narrow, first, t,
			       c + (size_t)i * m->dim);
		add_sublayer(ref, layer, GEMMA_O, GEMMA_AFTER_ATTENTION, c,
			     x + (size_t)t * m->hidden);
	}
	free(h);
	free(q);
	free(c);
	free(k);
	free(v);
}

static void feed_forward(const struct gemma_ref *ref, uint32_t layer, double *x)
{
	const struct gemma_model *m = ref->m;
	const struct layer *l = &ref->layer[layer];
	double *h = zeros(m->hidden), *gate = zeros(m->ffn), *up = zeros(m->ffn);

	rms_norm(x, l->norm[GEMMA_BEFORE_FFN], m->eps, m->hidden, h);
	product(l->matrix[GEMMA_GATE], m->ffn, m->hidden, h, gate);
	product(l->matrix[GEMMA_UP], m->ffn, m->hidden, h, up);
	for (uint32_t i = 0; i < m->ffn; i++)
		gate[i] = gelu_tanh(gate[i]) * up[i];
	add_sublayer(ref, layer, GEMMA_DOWN, GEMMA_AFTER_FFN, gate, x);
	free(h);
	free(gate);
	free(up);
}

void gemma_ref_logits(const struct gemma_ref *ref, const int32_t *ids, uint32_t count, double *out)
{
	const struct gemma_model *m = ref->m;
	double *x = zeros((size_t)count * m->hidden), *h = zeros(m->hidden);

	for (uint32_t t = 0; t < count; t++)
		for (uint32_t i = 0; i < m->hidden; i++)
			x[(size_t)t * m->hidden + i] = sqrt(m->hidden) *
				ref->embedding[(size_t)ids[t] * m->hidden + i];
	for (uint32_t layer = 0; layer < m->layers; layer++) {
		attention(ref, layer, count, x);
		for (uint32_t t = 0; t < count; t++)
			feed_forward(ref, layer, x + (size_t)t * m->hidden);
	}
	rms_norm(x + (size_t)(count - 1) * m->hidden, ref->last_norm, m->eps, m->hidden, h);
	product(ref->head, m->embedding->n, m->hidden, h, out);
	free(h);
	free(x);
}

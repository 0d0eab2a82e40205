// SPDX-License-Identifier: MIT
#include "bert_ref.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Columns of a product that are worked on together: rows of w that fit the second cache. */
#define BLOCK_COLUMNS 16u

/* Matrices are kept transposed, [k][n]: then the inner loop runs over outputs. */
struct bert_ref {
	const struct bert_model *model;
	double *matrix[BERT_LAYERS_MAX][BERT_MATRICES];
	double *vector[BERT_LAYERS_MAX][BERT_VECTORS];
	double *head[BERT_HEADS];
	double *words, *positions;
};

static int take_floats(const struct bert_model *model, const struct vgpu_tensor *t, double **out)
{
	size_t n = t->bytes / sizeof(float);
	float *f = malloc(t->bytes);
	int rc = -ENOMEM;

	*out = malloc(n * sizeof(**out));
	if (f && *out)
		rc = bert_model_floats(model, t, f);
	for (size_t i = 0; i < n && !rc; i++)
		(*out)[i] = f[i];
	free(f);
	return rc;
}

static int take_matrix(struct bert *b, uint32_t layer, enum bert_matrix which, double **out)
{
	uint32_t rows = bert_rows(b->model, which), cols = bert_cols(b->model, which);
	float *f = malloc((size_t)rows * cols * sizeof(*f));
	int rc = -ENOMEM;

	*out = malloc((size_t)rows * cols * sizeof(**out));
	if (f && *out)
		rc = bert_decode(b, layer, which, f);
	for (size_t r = 0; r < rows && !rc; r++)
		for (size_t c = 0; c < cols; c++)
			(*out)[c * rows + r] = f[r * cols + c];
	free(f);
	return rc;
}

static int take_all(struct bert_ref *ref, struct bert *b)
{
	const struct bert_model *m = b->model;
	int rc;

	rc = take_floats(m, m->word_table, &ref->words);
	if (!rc)
		rc = take_floats(m, m->position_table, &ref->positions);
	for (uint32_t i = 0; i < BERT_HEADS && !rc; i++)
		rc = take_floats(m, m->head[i], &ref->head[i]);
	for (uint32_t layer = 0; layer < m->layers && !rc; layer++) {
		for (uint32_t i = 0; i < BERT_VECTORS && !rc; i++)
			rc = take_floats(m, m->vector[layer][i], &ref->vector[layer][i]);
		for (uint32_t i = 0; i < BERT_MATRICES && !rc; i++)
			rc = take_matrix(b, layer, i, &ref->matrix[layer][i]);
	}
	return rc;
}

int bert_ref_create(struct bert *b, struct bert_ref **out)
{
	struct bert_ref *ref = calloc(1, sizeof(*ref));
	int rc;

	if (!ref)
		return -ENOMEM;
	ref->model = b->model;
	rc = take_all(ref, b);
	if (rc) {
		bert_ref_destroy(ref);
		return rc;
	}
	*out = ref;
	return 0;
}

void bert_ref_destroy(struct bert_ref *ref)
{
	if (!ref)
		return;
	for (uint32_t layer = 0; layer < BERT_LAYERS_MAX; layer++) {
		for (uint32_t i = 0; i < BERT_MATRICES; i++)
			free(ref->matrix[layer][i]);
		for (uint32_t i = 0; i < BERT_VECTORS; i++)
			free(ref->vector[layer][i]);
	}
	for (uint32_t i = 0; i < BERT_HEADS; i++)
		free(ref->head[i]);
	free(ref->words);
	free(ref->positions);
	free(ref);
}

/* y += x w^T over @c columns from @first on, four at a time: a row of y stays in registers. */
static void product_block(const double *x, const double *w, double *y, uint32_t n, uint32_t first,
			  uint32_t c)
{
	for (; c >= 4; c -= 4, first += 4) {
		const double *w0 = &w[(size_t)first * n], *a = &x[first];

		for (uint32_t r = 0; r < n; r++)
			y[r] = y[r] + a[0] * w0[r] + a[1] * w0[n + r] + a[2] * w0[2 * (size_t)n + r] +
			       a[3] * w0[3 * (size_t)n + r];
	}
	for (; c; c--, first++)
		for (uint32_t r = 0; r < n; r++)
			y[r] += x[first] * w[(size_t)first * n + r];
}

/* y = x w^T + bias, in ascending k; a block of w is used by all rows while it is near */
static void product(const double *x, const double *w, const double *bias, double *y, uint32_t m,
		    uint32_t n, uint32_t k)
{
	for (uint32_t i = 0; i < m; i++)
		memcpy(&y[(size_t)i * n], bias, n * sizeof(*y));
	for (uint32_t c = 0; c < k; c += BLOCK_COLUMNS)
		for (uint32_t i = 0; i < m; i++)
			product_block(&x[(size_t)i * k], w, &y[(size_t)i * n], n, c,
				      k - c < BLOCK_COLUMNS ? k - c : BLOCK_COLUMNS);
}

static void norm_row(double *x, const double *gamma, const double *beta, uint32_t n, double eps)
{
	double mean = 0, variance = 0;

	for (uint32_t i = 0; i < n; i++)
		mean += x[i] / n;
	for (uint32_t i = 0; i < n; i++)
		variance += (x[i] - mean) * (x[i] - mean) / n;
	for (uint32_t i = 0; i < n; i++)
		x[i] = (x[i] - mean) / sqrt(variance + eps) * gamma[i] + beta[i];
}

/* x = norm(x + y), row by row */
static void add_and_norm(double *x, const double *y, const double *gamma, const double *beta,
			 uint32_t m, uint32_t n, double eps)
{
	for (uint32_t i = 0; i < m; i++) {
		for (uint32_t j = 0; j < n; j++)
			x[(size_t)i * n + j] += y[(size_t)i * n + j];
		norm_row(&x[(size_t)i * n], gamma, beta, n, eps);
	}
}

/* One query of one head over all keys. */
static void attend(const double *q, const double *k, const double *v, double *out, double *p,
		   uint32_t m, uint32_t hidden, uint32_t dim)
{
	double top = -INFINITY, sum = 0;

	for (uint32_t j = 0; j < m; j++) {
		p[j] = 0;
		for (uint32_t d = 0; d < dim; d++)
			p[j] += q[d] * k[(size_t)j * hidden + d];
		p[j] /= sqrt(dim);
		top = fmax(top, p[j]);
	}
	for (uint32_t j = 0; j < m; j++) {
		p[j] = exp(p[j] - top);
		sum += p[j];
	}
	for (uint32_t d = 0; d < dim; d++) {
		out[d] = 0;
		for (uint32_t j = 0; j < m; j++)
			out[d] += p[j] / sum * v[(size_t)j * hidden + d];
	}
}

/* Intermediates of one text of m tokens. */
struct work {
	double *x, *q, *k, *v, *c, *wide, *p;
};

static void layer(const struct bert_ref *ref, uint32_t l, struct work *w, uint32_t m)
{
	const struct bert_model *model = ref->model;
	uint32_t h = model->hidden, f = model->ffn, dim = h / model->heads;
	double *const *mat = ref->matrix[l], *const *vec = ref->vector[l];

	product(w->x, mat[BERT_Q], vec[BERT_Q], w->q, m, h, h);
	product(w->x, mat[BERT_K], vec[BERT_K], w->k, m, h, h);
	product(w->x, mat[BERT_V], vec[BERT_V], w->v, m, h, h);
	for (uint32_t i = 0; i < m; i++)
		for (uint32_t head = 0; head < model->heads; head++)
			attend(&w->q[(size_t)i * h + head * dim], &w->k[head * dim],
			       &w->v[head * dim], &w->c[(size_t)i * h + head * dim], w->p, m, h, dim);
	product(w->c, mat[BERT_O], vec[BERT_O], w->q, m, h, h);
	add_and_norm(w->x, w->q, vec[BERT_NORM1_GAMMA], vec[BERT_NORM1_BETA], m, h, model->eps);
	product(w->x, mat[BERT_UP], vec[BERT_UP], w->wide, m, f, h);
	for (size_t i = 0; i < (size_t)m * f; i++)
		w->wide[i] = 0.5 * w->wide[i] * (1 + erf(w->wide[i] / sqrt(2)));
	product(w->wide, mat[BERT_DOWN], vec[BERT_DOWN], w->q, m, h, f);
	add_and_norm(w->x, w->q, vec[BERT_NORM2_GAMMA], vec[BERT_NORM2_BETA], m, h, model->eps);
}

static void embeddings(const struct bert_ref *ref, const struct bert_text *text, double *x)
{
	uint32_t h = ref->model->hidden;

	for (uint32_t i = 0; i < text->count; i++) {
		const double *word = &ref->words[(size_t)text->ids[i] * h];

		for (uint32_t j = 0; j < h; j++)
			x[(size_t)i * h + j] = word[j] + ref->positions[(size_t)i * h + j] +
					       ref->head[BERT_HEAD_TYPE][j];
		norm_row(&x[(size_t)i * h], ref->head[BERT_HEAD_GAMMA], ref->head[BERT_HEAD_BETA], h,
			 ref->model->eps);
	}
}

static void pool(const double *x, uint32_t m, uint32_t h, double *out)
{
	double length = 0;

	for (uint32_t j = 0; j < h; j++) {
		out[j] = 0;
		for (uint32_t i = 0; i < m; i++)
			out[j] += x[(size_t)i * h + j] / m;
		length += out[j] * out[j];
	}
	for (uint32_t j = 0; j < h; j++)
		out[j] /= sqrt(length);
}

int bert_ref_embed(const struct bert_ref *ref, const struct bert_text *text, double *out)
{
	uint32_t m = text->count, h = ref->model->hidden;
	size_t narrow = (size_t)m * h;
	double *all = malloc((5 * narrow + (size_t)m * ref->model->ffn + m) * sizeof(*all));
	struct work w = { all, all + narrow, all + 2 * narrow, all + 3 * narrow, all + 4 * narrow,
			  all + 5 * narrow, all + 5 * narrow + (size_t)m * ref->model->ffn };

	if (!all)
		return -ENOMEM;
	embeddings(ref, text, w.x);
	for (uint32_t l = 0; l < ref->model->layers; l++)
		layer(ref, l, &w, m);
	pool(w.x, m, h, out);
	free(all);
	return 0;
}

// SPDX-License-Identifier: MIT
/* Weights in every kind of buffer that ggml has products of them in, plain and repacked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ggml-alloc.h>
#include "ggml_serve.h"

static void kind_free(struct serve_kind *kind)
{
	ggml_backend_buffer_free(kind->buffer);
	ggml_free(kind->ctx);
	free(kind->weight);
}

static struct ggml_tensor *product(struct ggml_context *ctx, const struct serve_weights *w,
				   struct ggml_tensor *weight)
{
	if (!w->experts)
		return ggml_mul_mat(ctx, weight, ggml_new_tensor_2d(ctx, GGML_TYPE_F32, w->k, 1));
	return ggml_mul_mat_id(ctx, weight, ggml_new_tensor_3d(ctx, GGML_TYPE_F32, w->k, 1, 1),
			       ggml_new_tensor_2d(ctx, GGML_TYPE_I32, 1, 1));
}

/* Are products of these weights its own?  Else they would be copied at each. */
static bool kind_supported(const struct serve_kind *kind, const struct serve_weights *w)
{
	struct ggml_context *ctx = serve_context(4);
	bool yes = ggml_backend_dev_supports_op(serve_device, product(ctx, w, kind->weight[0]));

	ggml_free(ctx);
	return yes;
}

static bool kind_init(struct serve_kind *kind, ggml_backend_buffer_type_t buffer,
		      const struct serve_weights *w, const void *data)
{
	kind->type = buffer;
	kind->ctx = serve_context((size_t)w->copies);
	kind->weight = serve_take((size_t)w->copies * sizeof(*kind->weight));
	for (int i = 0; i < w->copies; i++)
		kind->weight[i] = w->experts ?
			ggml_new_tensor_3d(kind->ctx, w->type, w->k, w->n, w->experts) :
			ggml_new_tensor_2d(kind->ctx, w->type, w->k, w->n);
	kind->buffer = ggml_backend_alloc_ctx_tensors_from_buft(kind->ctx, buffer);
	if (!kind->buffer || !kind->weight[0]->buffer || !kind_supported(kind, w)) {
		kind_free(kind);
		return false;
	}
	ggml_backend_buffer_set_usage(kind->buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
	for (int i = 0; i < w->copies; i++)
		ggml_backend_tensor_set(kind->weight[i], data, 0, ggml_nbytes(kind->weight[i]));
	return true;
}

void serve_weights_set(struct serve_weights *w, const void *data, long bytes)
{
	ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(serve_device);
	ggml_backend_dev_get_extra_bufts_t extra = (ggml_backend_dev_get_extra_bufts_t)
		ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_extra_bufts");
	ggml_backend_buffer_type_t *more = extra ? extra(serve_device) : NULL;
	long one = (long)ggml_row_size(w->type, w->k) * w->n * (w->experts ? w->experts : 1);

	w->copies = (int)((bytes + one - 1) / one);
	w->kinds = kind_init(&w->kind[0], ggml_backend_dev_buffer_type(serve_device), w, data);
	for (; more && *more && w->kinds < SERVE_KINDS; more++)
		w->kinds += kind_init(&w->kind[w->kinds], *more, w, data);
}

void serve_weights_drop(struct serve_weights *w)
{
	for (int i = 0; i < w->kinds; i++)
		kind_free(&w->kind[i]);
	w->kinds = 0;
}

void serve_weights_say(const struct serve_weights *w)
{
	printf(w->kinds ? "ok" : "error no products of this type");
	for (int i = 0; i < w->kinds; i++)
		printf(" %s", ggml_backend_buft_name(w->kind[i].type));
	putchar('\n');
}

struct serve_kind *serve_weights_find(struct serve_weights *w, const char *name)
{
	for (int i = 0; i < w->kinds; i++)
		if (!strcmp(name, ggml_backend_buft_name(w->kind[i].type)))
			return &w->kind[i];
	return NULL;
}

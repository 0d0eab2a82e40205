// SPDX-License-Identifier: MIT
/*
 * ggml's mixture of experts, for ggml_serve.c:
 *
 *	experts TYPE EXPERTS N K BYTES -> ok BUFFER...
 *		stacks of EXPERTS weights of N x K, as of matmul
 *	route BUFFER ROUTING TOKENS USED THREADS FIRST PRODUCTS -> ok SECONDS SAMPLE...
 *		a MUL_MAT_ID of TOKENS rows of f32 by the USED experts that each chooses, turns
 *		FIRST to FIRST + PRODUCTS - 1 of experts.h, and outputs of the last, as
 *		bench/peers/peer.h says which; ROUTING is a number of enum experts_routing
 */
#include <stdio.h>
#include <stdlib.h>
#include <ggml-alloc.h>
#include "experts.h"
#include "ggml_serve.h"
#include "peer.h"

#define MAX_PRODUCTS	4096

static struct serve_weights stacks;

/* What route asks for. */
struct route {
	int routing, tokens, used, threads, first, products;
};

/* Its tensors. */
struct graph {
	struct ggml_context *ctx;
	struct ggml_cgraph *graph;
	struct ggml_tensor *x, *ids[EXPERTS_SETS], *out;
	ggml_backend_buffer_t results, buffer;
};

void serve_experts(const char *line)
{
	struct serve_weights w = { .kinds = 0 };
	char name[32];
	long experts, n, k, bytes;
	size_t stack;
	uint8_t *data;

	if (sscanf(line, "experts %31s %ld %ld %ld %ld", name, &experts, &n, &k, &bytes) != 5 ||
	    experts < 1 || experts > (long)EXPERTS_MOST || n < 1 || k < 1 || k % 32 || bytes < 1) {
		puts("error usage: experts TYPE EXPERTS N K BYTES");
		return;
	}
	w.type = serve_type(name);
	if (w.type == GGML_TYPE_COUNT || !values_type(name)) {
		printf("error no type %s\n", name);
		return;
	}
	w.n = n;
	w.k = k;
	w.experts = experts;
	stack = ggml_row_size(w.type, k) * (size_t)(n * experts);
	data = serve_take(stack);
	values_weights(values_type(name), data, stack);
	serve_weights_drop(&stacks);
	stacks = w;
	serve_weights_set(&stacks, data, bytes);
	serve_weights_say(&stacks);
	free(data);
}

static void graph_plan(struct graph *g, const struct serve_kind *kind, const struct route *r)
{
	size_t nodes = (size_t)r->products + EXPERTS_SETS + 2;

	g->ctx = serve_context(nodes);
	g->graph = ggml_new_graph_custom(g->ctx, nodes, false);
	g->x = ggml_new_tensor_3d(g->ctx, GGML_TYPE_F32, stacks.k, 1, r->tokens);
	for (unsigned int i = 0; i < EXPERTS_SETS; i++)
		g->ids[i] = ggml_new_tensor_2d(g->ctx, GGML_TYPE_I32, r->used, r->tokens);
	for (int i = r->first; i < r->first + r->products; i++) {
		g->out = ggml_mul_mat_id(g->ctx, kind->weight[i % stacks.copies], g->x,
					 g->ids[i % EXPERTS_SETS]);
		ggml_build_forward_expand(g->graph, g->out);
	}
	g->results = serve_results(g->graph);
	g->buffer = g->results ? ggml_backend_alloc_ctx_tensors(g->ctx, serve_backend) : NULL;
}

static void graph_set(struct graph *g, const struct route *r)
{
	int32_t *ids = serve_take(ggml_nbytes(g->ids[0]));
	float *x = serve_take(ggml_nbytes(g->x));

	ggml_backend_buffer_clear(g->buffer, 0);	/* pages are there */
	values_activations(x, (size_t)ggml_nelements(g->x));
	ggml_backend_tensor_set(g->x, x, 0, ggml_nbytes(g->x));
	for (unsigned int i = 0; i < EXPERTS_SETS; i++) {
		experts_choose(i, r->routing, (uint32_t)stacks.experts, (uint32_t)r->tokens,
			       (uint32_t)r->used, ids);
		ggml_backend_tensor_set(g->ids[i], ids, 0, ggml_nbytes(g->ids[i]));
	}
	free(ids);
	free(x);
}

static void graph_run(struct graph *g, const struct route *r)
{
	double start = serve_now();
	enum ggml_status status = ggml_backend_graph_compute(serve_backend, g->graph);

	start = serve_now() - start;
	if (status != GGML_STATUS_SUCCESS) {
		puts("error it cannot compute that");
		return;
	}
	printf("ok %.9f", start / r->products);
	serve_say(g->out, PEER_SAMPLES);
	putchar('\n');
}

void serve_route(const char *line)
{
	struct serve_kind *kind = NULL;
	struct graph g = { NULL };
	struct route r;
	char name[64];

	if (sscanf(line, "route %63s %d %d %d %d %d %d", name, &r.routing, &r.tokens, &r.used,
		   &r.threads, &r.first, &r.products) != 7 || r.tokens < 1 || r.used < 1 ||
	    r.used > stacks.experts || r.threads < 1 || r.first < 0 || r.products < 1 ||
	    r.products > MAX_PRODUCTS) {
		puts("error usage: route BUFFER ROUTING TOKENS USED THREADS FIRST PRODUCTS, after experts");
		return;
	}
	kind = serve_weights_find(&stacks, name);
	if (!kind) {
		printf("error no buffer %s\n", name);
		return;
	}
	serve_set_threads(serve_backend, r.threads);
	graph_plan(&g, kind, &r);
	if (g.buffer) {
		graph_set(&g, &r);
		graph_run(&g, &r);
	} else {
		puts("error no memory");
	}
	ggml_backend_buffer_free(g.buffer);
	ggml_backend_buffer_free(g.results);
	ggml_free(g.ctx);
}

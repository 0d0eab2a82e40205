// SPDX-License-Identifier: MIT
/*
 * ggml's flash attention, for ggml_serve.c:
 *
 *	attention TYPE HEADS KV_HEADS DIM M KV CAUSAL -> ok
 *		M queries in F32, KV keys and values in TYPE, both [token][head][DIM] as a
 *		cache of llama.cpp has them; the values are those of bench/attention.c
 *	attend THREADS TIMES -> ok SECONDS SAMPLE...
 *		a call, and outputs of the last, as bench/peers/peer.h says which
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <ggml-alloc.h>
#include "ggml_serve.h"
#include "peer.h"

#define MAX_TIMES	1024

static struct {
	int64_t heads, kv_heads, dim, m, kv;
	bool causal;
	struct ggml_context *ctx;
	ggml_backend_buffer_t buffer;
	struct ggml_tensor *q, *k, *v, *mask;	/* mask: NULL where all is seen */
} state;

static float *noise(int64_t n, uint32_t *seed)
{
	float *p = serve_take((size_t)n * sizeof(*p));

	for (int64_t i = 0; i < n; i++) {
		*seed = *seed * 1664525 + 1013904223;
		p[i] = (float)(int32_t)*seed * 0x1p-31f;
	}
	return p;
}

static void noise_set(struct ggml_tensor *t, uint32_t *seed)
{
	int64_t n = ggml_nelements(t);
	float *f = noise(n, seed);
	void *data = serve_take(ggml_nbytes(t));

	ggml_quantize_chunk(t->type, f, data, 0, n / state.dim, state.dim, NULL);
	ggml_backend_tensor_set(t, data, 0, ggml_nbytes(t));
	free(data);
	free(f);
}

/* Query i sees the keys up to i + kv - m. */
static void mask_set(void)
{
	ggml_fp16_t *mask = serve_take((size_t)(state.m * state.kv) * sizeof(*mask));
	ggml_fp16_t yes = ggml_fp32_to_fp16(0), no = ggml_fp32_to_fp16(-INFINITY);

	for (int64_t i = 0; i < state.m; i++)
		for (int64_t j = 0; j < state.kv; j++)
			mask[i * state.kv + j] = j <= i + state.kv - state.m ? yes : no;
	ggml_backend_tensor_set(state.mask, mask, 0, ggml_nbytes(state.mask));
	free(mask);
}

static bool setup(enum ggml_type type)
{
	uint32_t q_seed = PEER_Q_SEED, kv_seed = PEER_KV_SEED;

	if (state.ctx) {
		ggml_backend_buffer_free(state.buffer);
		ggml_free(state.ctx);
	}
	state.ctx = serve_context(8);
	state.q = ggml_new_tensor_3d(state.ctx, GGML_TYPE_F32, state.dim, state.heads, state.m);
	state.k = ggml_new_tensor_3d(state.ctx, type, state.dim, state.kv_heads, state.kv);
	state.v = ggml_new_tensor_3d(state.ctx, type, state.dim, state.kv_heads, state.kv);
	state.mask = state.causal && state.m > 1 ?
		ggml_new_tensor_2d(state.ctx, GGML_TYPE_F16, state.kv, state.m) : NULL;
	state.buffer = ggml_backend_alloc_ctx_tensors(state.ctx, serve_backend);
	if (!state.buffer)
		return false;
	noise_set(state.q, &q_seed);
	noise_set(state.k, &kv_seed);
	noise_set(state.v, &kv_seed);
	if (state.mask)
		mask_set();
	return true;
}

void serve_attention(const char *line)
{
	char name[32];
	long n[5];
	int causal;
	enum ggml_type type;

	if (sscanf(line, "attention %31s %ld %ld %ld %ld %ld %d", name, n, n + 1, n + 2, n + 3, n + 4,
		   &causal) != 7 || n[0] < 1 || n[1] < 1 || n[2] < 1 || n[3] < 1 || n[4] < 1) {
		puts("error usage: attention TYPE HEADS KV_HEADS DIM M KV CAUSAL");
		return;
	}
	type = serve_type(name);
	if (type == GGML_TYPE_COUNT || n[2] % ggml_blck_size(type)) {
		printf("error no keys of type %s\n", name);
		return;
	}
	state.heads = n[0];
	state.kv_heads = n[1];
	state.dim = n[2];
	state.m = n[3];
	state.kv = n[4];
	state.causal = causal;
	puts(setup(type) ? "ok" : "error no memory");
}

static struct ggml_tensor *node(struct ggml_context *ctx)
{
	return ggml_flash_attn_ext(ctx, ggml_permute(ctx, state.q, 0, 2, 1, 3),
				   ggml_permute(ctx, state.k, 0, 2, 1, 3),
				   ggml_permute(ctx, state.v, 0, 2, 1, 3), state.mask,
				   1 / sqrtf((float)state.dim), 0, 0);
}

/* Calls in one graph, so that its threads are started once. */
static void run(int times)
{
	struct ggml_context *ctx = serve_context(4 * (size_t)times + 8);
	struct ggml_cgraph *graph = ggml_new_graph_custom(ctx, 4 * (size_t)times + 8, false);
	struct ggml_tensor *out = NULL;
	ggml_backend_buffer_t buffer;
	enum ggml_status status;
	double start;

	for (int i = 0; i < times; i++) {
		out = node(ctx);
		ggml_build_forward_expand(graph, out);
	}
	buffer = serve_results(graph);
	if (!buffer) {
		puts("error no memory");
		ggml_free(ctx);
		return;
	}
	start = serve_now();
	status = ggml_backend_graph_compute(serve_backend, graph);
	start = serve_now() - start;
	if (status == GGML_STATUS_SUCCESS) {
		printf("ok %.9f", start / times);
		serve_say(out, PEER_SAMPLES);
		putchar('\n');
	} else {
		puts("error it cannot compute that");
	}
	ggml_backend_buffer_free(buffer);
	ggml_free(ctx);
}

void serve_attend(const char *line)
{
	int threads, times;

	if (sscanf(line, "attend %d %d", &threads, &times) != 2 || threads < 1 || times < 1 ||
	    times > MAX_TIMES || !state.ctx) {
		puts("error usage: attend THREADS TIMES, after attention");
		return;
	}
	serve_set_threads(serve_backend, threads);
	run(times);
}

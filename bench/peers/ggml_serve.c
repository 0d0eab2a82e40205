// SPDX-License-Identifier: MIT
/*
 * ggml's CPU backend for benchmarks of ours, in a process of its own: it is younger than the
 * C library here and runs with the one it was built for (ggml.sh).
 *
 *	ggml_serve BACKENDS	the folder of its backends; the best for this CPU is taken
 *
 * A line on standard input asks, one on standard output answers:
 *
 *	matmul TYPE N K BYTES	-> ok BUFFER...		weights of N x K, so many bytes of copies, at
 *							least one, in each kind of buffer that has
 *							products of this type
 *	run BUFFER M THREADS PRODUCTS -> ok SECONDS	a product; weights are taken in turn
 *	attention, attend				flash attention: ggml_attend.c
 *	quit
 *
 * or "error WHY".  A product of M rows of f32 includes what ggml does with them before.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ggml-alloc.h>
#include "ggml_serve.h"

#define MAX_BUFFERS	8
#define MAX_NODES	16384

/* A kind of buffer, and the weights in it. */
struct kind {
	ggml_backend_buffer_type_t type;
	struct ggml_context *ctx;
	ggml_backend_buffer_t buffer;
	struct ggml_tensor **weight;
};

static struct {
	ggml_backend_dev_t device;
	int64_t n, k;
	int copies, kinds, next;
	struct kind kind[MAX_BUFFERS];
} state;

ggml_backend_t serve_backend;
ggml_backend_set_n_threads_t serve_set_threads;

double serve_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void *serve_take(size_t bytes)
{
	void *p = malloc(bytes);

	if (!p) {
		puts("error no memory");
		exit(1);
	}
	return p;
}

enum ggml_type serve_type(const char *name)
{
	for (int i = 0; i < GGML_TYPE_COUNT; i++)
		if (ggml_type_name(i) && !strcmp(ggml_type_name(i), name))
			return i;
	return GGML_TYPE_COUNT;
}

/* Only its header: what it takes to ask for products, or to plan them. */
struct ggml_context *serve_context(size_t nodes)
{
	struct ggml_init_params p = {
		.mem_size = nodes * 2 * ggml_tensor_overhead() + ggml_graph_overhead_custom(nodes, false),
		.no_alloc = true,
	};

	return ggml_init(p);
}

static void kind_free(struct kind *kind)
{
	ggml_backend_buffer_free(kind->buffer);
	ggml_free(kind->ctx);
	free(kind->weight);
}

/* Are products of these weights its own?  Else they would be copied at each. */
static bool kind_supported(struct kind *kind)
{
	struct ggml_context *ctx = serve_context(4);
	struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, state.k, 1);
	bool yes = ggml_backend_dev_supports_op(state.device, ggml_mul_mat(ctx, kind->weight[0], x));

	ggml_free(ctx);
	return yes;
}

static bool kind_init(struct kind *kind, ggml_backend_buffer_type_t buffer, enum ggml_type type,
		      const void *data)
{
	kind->type = buffer;
	kind->ctx = serve_context((size_t)state.copies);
	kind->weight = serve_take((size_t)state.copies * sizeof(*kind->weight));
	for (int i = 0; i < state.copies; i++)
		kind->weight[i] = ggml_new_tensor_2d(kind->ctx, type, state.k, state.n);
	kind->buffer = ggml_backend_alloc_ctx_tensors_from_buft(kind->ctx, buffer);
	if (!kind->buffer || !kind->weight[0]->buffer || !kind_supported(kind)) {
		kind_free(kind);
		return false;
	}
	ggml_backend_buffer_set_usage(kind->buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
	for (int i = 0; i < state.copies; i++)
		ggml_backend_tensor_set(kind->weight[i], data, 0, ggml_nbytes(kind->weight[i]));
	return true;
}

static void *random_weight(enum ggml_type type)
{
	float *f = serve_take((size_t)(state.n * state.k) * sizeof(*f));
	void *data = serve_take(ggml_row_size(type, state.k) * (size_t)state.n);
	uint64_t random = 1;

	for (int64_t i = 0; i < state.n * state.k; i++) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		f[i] = (float)(int32_t)(random >> 32) * 0x1p-31f;
	}
	ggml_quantize_chunk(type, f, data, 0, state.n, state.k, NULL);
	free(f);
	return data;
}

static void kinds_init(enum ggml_type type)
{
	ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(state.device);
	ggml_backend_dev_get_extra_bufts_t extra = (ggml_backend_dev_get_extra_bufts_t)
		ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_extra_bufts");
	ggml_backend_buffer_type_t *more = extra ? extra(state.device) : NULL;
	void *data = random_weight(type);

	state.kinds = kind_init(&state.kind[0], ggml_backend_dev_buffer_type(state.device), type, data);
	for (; more && *more && state.kinds < MAX_BUFFERS; more++)
		state.kinds += kind_init(&state.kind[state.kinds], *more, type, data);
	free(data);
}

static void do_matmul(const char *line)
{
	char name[32];
	long n, k, bytes, one;
	enum ggml_type type;

	if (sscanf(line, "matmul %31s %ld %ld %ld", name, &n, &k, &bytes) != 4 || n < 1 || k < 1 ||
	    bytes < 1) {
		puts("error usage: matmul TYPE N K BYTES");
		return;
	}
	type = serve_type(name);
	if (type == GGML_TYPE_COUNT) {
		printf("error no type %s\n", name);
		return;
	}
	for (int i = 0; i < state.kinds; i++)
		kind_free(&state.kind[i]);
	state.n = n;
	state.k = k;
	one = (long)ggml_row_size(type, k) * n;
	state.copies = (int)((bytes + one - 1) / one);
	kinds_init(type);
	printf(state.kinds ? "ok" : "error no products of this type");
	for (int i = 0; i < state.kinds; i++)
		printf(" %s", ggml_backend_buft_name(state.kind[i].type));
	putchar('\n');
}

/* Seconds a product. */
static double run(struct kind *kind, int m, int products)
{
	struct ggml_context *ctx = serve_context(MAX_NODES);
	struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, state.k, m);
	struct ggml_cgraph *graph = ggml_new_graph_custom(ctx, MAX_NODES, false);
	float *values = serve_take((size_t)(state.k * m) * sizeof(*values));
	ggml_backend_buffer_t buffer;
	double start;

	for (int i = 0; i < products; i++)
		ggml_build_forward_expand(graph, ggml_mul_mat(ctx,
				kind->weight[(state.next + i) % state.copies], x));
	state.next += products;
	buffer = ggml_backend_alloc_ctx_tensors(ctx, serve_backend);
	for (int64_t i = 0; i < state.k * m; i++)
		values[i] = (float)((int)(i * 2654435761u >> 7) % 1000) / 500.f - 1;
	ggml_backend_buffer_clear(buffer, 0);	/* pages are there */
	ggml_backend_tensor_set(x, values, 0, ggml_nbytes(x));
	start = serve_now();
	ggml_backend_graph_compute(serve_backend, graph);
	start = serve_now() - start;
	ggml_backend_buffer_free(buffer);
	ggml_free(ctx);
	free(values);
	return start / products;
}

static void do_run(const char *line)
{
	char name[64];
	int m, threads, products;

	if (sscanf(line, "run %63s %d %d %d", name, &m, &threads, &products) != 4 || m < 1 ||
	    threads < 1 || products < 1 || products > MAX_NODES / 2) {
		puts("error usage: run BUFFER M THREADS PRODUCTS");
		return;
	}
	for (int i = 0; i < state.kinds; i++) {
		if (strcmp(name, ggml_backend_buft_name(state.kind[i].type)))
			continue;
		serve_set_threads(serve_backend, threads);
		printf("ok %.9f\n", run(&state.kind[i], m, products));
		return;
	}
	printf("error no buffer %s\n", name);
}

static bool backend_open(const char *folder)
{
	ggml_backend_load_all_from_path(folder);
	state.device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
	if (!state.device)
		return false;
	serve_backend = ggml_backend_dev_init(state.device, NULL);
	serve_set_threads = (ggml_backend_set_n_threads_t)ggml_backend_reg_get_proc_address(
		ggml_backend_dev_backend_reg(state.device), "ggml_backend_set_n_threads");
	return serve_backend && serve_set_threads;
}

static void quiet(enum ggml_log_level level, const char *text, void *data)
{
	(void)data;
	if (level == GGML_LOG_LEVEL_ERROR)
		fputs(text, stderr);
}

int main(int argc, char **argv)
{
	char line[256];

	setvbuf(stdout, NULL, _IOLBF, 0);
	ggml_log_set(quiet, NULL);
	if (argc != 2 || !backend_open(argv[1])) {
		puts("error no CPU backend");
		return 1;
	}
	printf("ok %s\n", ggml_version());
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "matmul ", 7))
			do_matmul(line);
		else if (!strncmp(line, "run ", 4))
			do_run(line);
		else if (!strncmp(line, "attention ", 10))
			serve_attention(line);
		else if (!strncmp(line, "attend ", 7))
			serve_attend(line);
		else if (!strncmp(line, "quit", 4))
			break;
		else
			puts("error unknown request");
	}
	return 0;
}

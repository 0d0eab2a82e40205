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
 *	run BUFFER M THREADS PRODUCTS OUTPUTS -> ok SECONDS OUTPUT...
 *							a product; weights are taken in turn; so many
 *							outputs of the last, as peer.h says which
 *	attention, attend				flash attention: ggml_attend.c
 *	experts, route					mixtures of experts: ggml_experts.c
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
#include "peer.h"
#include "values.h"

#define MAX_NODES	16384

static struct {
	struct serve_weights w;
	int next;
} state;

ggml_backend_dev_t serve_device;
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

ggml_backend_buffer_t serve_results(struct ggml_cgraph *graph)
{
	ggml_backend_buffer_type_t type = ggml_backend_get_default_buffer_type(serve_backend);
	ggml_backend_buffer_t buffer;
	size_t most = 0;

	for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
		size_t bytes = ggml_backend_buft_get_alloc_size(type, ggml_graph_node(graph, i));

		most = bytes > most ? bytes : most;
	}
	buffer = ggml_backend_buft_alloc_buffer(type, most);
	if (!buffer)
		return NULL;
	ggml_backend_buffer_clear(buffer, 0);	/* pages are there */
	for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
		struct ggml_tensor *t = ggml_graph_node(graph, i);

		if (t->view_src)
			ggml_backend_view_init(t);
		else
			ggml_backend_tensor_alloc(buffer, t, ggml_backend_buffer_get_base(buffer));
	}
	return buffer;
}

void serve_say(const struct ggml_tensor *result, unsigned int outputs)
{
	size_t n = (size_t)ggml_nelements(result);

	for (unsigned int i = 0; i < outputs; i++) {
		float x;

		ggml_backend_tensor_get(result, &x, peer_sample_of(n, outputs, i) * sizeof(x), sizeof(x));
		printf(" %.9g", (double)x);
	}
}

static void do_matmul(const char *line)
{
	char name[32];
	long n, k, bytes;
	enum ggml_type type;
	size_t all;
	void *data;

	if (sscanf(line, "matmul %31s %ld %ld %ld", name, &n, &k, &bytes) != 4 || n < 1 || k < 1 ||
	    bytes < 1) {
		puts("error usage: matmul TYPE N K BYTES");
		return;
	}
	type = serve_type(name);
	if (type == GGML_TYPE_COUNT || !values_type(name) || k % ggml_blck_size(type)) {
		printf("error no type %s\n", name);
		return;
	}
	all = ggml_row_size(type, k) * (size_t)n;
	data = serve_take(all);
	values_weights(values_type(name), data, all);
	serve_weights_drop(&state.w);
	state.w = (struct serve_weights){ .type = type, .n = n, .k = k };
	serve_weights_set(&state.w, data, bytes);
	serve_weights_say(&state.w);
	free(data);
}

/* What run asks for. */
struct request {
	int m, threads, products, outputs;
};

/* @values: [m][k] */
static void run(struct serve_kind *kind, const struct request *r, const float *values)
{
	struct ggml_context *ctx = serve_context(MAX_NODES);
	struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, state.w.k, r->m), *y = NULL;
	struct ggml_cgraph *graph = ggml_new_graph_custom(ctx, MAX_NODES, false);
	ggml_backend_buffer_t results, buffer;
	enum ggml_status status;
	double start;

	for (int i = 0; i < r->products; i++) {
		y = ggml_mul_mat(ctx, kind->weight[(state.next + i) % state.w.copies], x);
		ggml_build_forward_expand(graph, y);
	}
	state.next = (state.next + r->products) % state.w.copies;
	results = serve_results(graph);
	buffer = results ? ggml_backend_alloc_ctx_tensors(ctx, serve_backend) : NULL;
	if (buffer) {
		ggml_backend_tensor_set(x, values, 0, ggml_nbytes(x));
		start = serve_now();
		status = ggml_backend_graph_compute(serve_backend, graph);
		start = serve_now() - start;
		if (status == GGML_STATUS_SUCCESS) {
			printf("ok %.9f", start / r->products);
			serve_say(y, (unsigned int)r->outputs);
			putchar('\n');
		} else {
			puts("error it cannot compute that");
		}
	} else {
		puts("error no memory");
	}
	ggml_backend_buffer_free(buffer);
	ggml_backend_buffer_free(results);
	ggml_free(ctx);
}

static void do_run(const char *line)
{
	char name[64];
	struct serve_kind *kind;
	struct request r;
	float *values;

	if (sscanf(line, "run %63s %d %d %d %d", name, &r.m, &r.threads, &r.products, &r.outputs) != 5 ||
	    r.m < 1 || r.threads < 1 || r.products < 1 || r.products > MAX_NODES / 2 ||
	    r.outputs < 0 || r.outputs > r.m * state.w.n) {
		puts("error usage: run BUFFER M THREADS PRODUCTS OUTPUTS");
		return;
	}
	kind = serve_weights_find(&state.w, name);
	if (!kind) {
		printf("error no buffer %s\n", name);
		return;
	}
	serve_set_threads(serve_backend, r.threads);
	values = serve_take((size_t)(r.m * state.w.k) * sizeof(*values));
	values_activations(values, (size_t)(r.m * state.w.k));
	run(kind, &r, values);
	free(values);
}

static bool backend_open(const char *folder)
{
	ggml_backend_load_all_from_path(folder);
	serve_device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
	if (!serve_device)
		return false;
	serve_backend = ggml_backend_dev_init(serve_device, NULL);
	serve_set_threads = (ggml_backend_set_n_threads_t)ggml_backend_reg_get_proc_address(
		ggml_backend_dev_backend_reg(serve_device), "ggml_backend_set_n_threads");
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
		else if (!strncmp(line, "experts ", 8))
			serve_experts(line);
		else if (!strncmp(line, "route ", 6))
			serve_route(line);
		else if (!strncmp(line, "quit", 4))
			break;
		else
			puts("error unknown request");
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* What the parts of the process that asks ggml share. */
#ifndef BENCH_PEERS_GGML_SERVE_H
#define BENCH_PEERS_GGML_SERVE_H

#include <stdbool.h>
#include <ggml.h>
#include <ggml-backend.h>

/* The CPU's, and how its threads are set. */
extern ggml_backend_dev_t serve_device;
extern ggml_backend_t serve_backend;
extern ggml_backend_set_n_threads_t serve_set_threads;

/* Monotonic, in seconds. */
double serve_now(void);
/* Memory, or the end of the process. */
void *serve_take(size_t bytes);
/* GGML_TYPE_COUNT: there is none of this name. */
enum ggml_type serve_type(const char *name);
/* Only the headers of so many tensors and of a graph of them, no data. */
struct ggml_context *serve_context(size_t nodes);

/*
 * All results of a graph in one place, as ours are: none is read by another node.  Views of what has
 * memory get theirs.  Return: the place; NULL: no memory.
 */
ggml_backend_buffer_t serve_results(struct ggml_cgraph *graph);
/* Print outputs of a result, each behind a space, as peer.h says which. */
void serve_say(const struct ggml_tensor *result, unsigned int outputs);

/* A kind of buffer, and the weights in it. */
struct serve_kind {
	ggml_backend_buffer_type_t type;
	struct ggml_context *ctx;
	ggml_backend_buffer_t buffer;
	struct ggml_tensor **weight;
};

#define SERVE_KINDS	8

/**
 * struct serve_weights - copies of one weight in each kind of buffer that has products of it
 * @n: rows
 * @k: columns
 * @experts: matrices of a stack, whose products are MUL_MAT_ID; 0: one matrix
 * @copies: to be taken in turn
 */
struct serve_weights {
	enum ggml_type type;
	int64_t n, k, experts;
	int copies, kinds;
	struct serve_kind kind[SERVE_KINDS];
};

/* Type and shape are set: so many bytes of copies of @data, at least one, or no kind at all. */
void serve_weights_set(struct serve_weights *w, const void *data, long bytes);
void serve_weights_drop(struct serve_weights *w);
/* Answer with the names of the kinds. */
void serve_weights_say(const struct serve_weights *w);
/* NULL: there is none of this name. */
struct serve_kind *serve_weights_find(struct serve_weights *w, const char *name);

/* Answer such a line. */
void serve_attention(const char *line);
void serve_attend(const char *line);
void serve_experts(const char *line);
void serve_route(const char *line);

#endif

/* SPDX-License-Identifier: MIT */
/* What the parts of the process that asks ggml share. */
#ifndef BENCH_PEERS_GGML_SERVE_H
#define BENCH_PEERS_GGML_SERVE_H

#include <ggml.h>
#include <ggml-backend.h>

/* The CPU's, and how its threads are set. */
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

/* Answer such a line. */
void serve_attention(const char *line);
void serve_attend(const char *line);

#endif

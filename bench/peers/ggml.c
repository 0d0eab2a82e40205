// SPDX-License-Identifier: MIT
/* ggml, in a process of its own that is asked by lines (ggml_serve.c). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../tests/common/bench_util.h"
#include "peer.h"

#define KINDS		8
#define NAME_BYTES	32
#define PRODUCTS_MOST	4096u
#define ATTEND_MOST	1024u
#define PAUSE_US	5000		/* its threads spin for a while when they have nothing to do */
#define SERVE		"bench/peers/ggml.sh"
#define NUMBER_BYTES	17		/* " -1.23456789e-12" of an answer, and one */

static struct {
	FILE *in, *out;
	pid_t pid;
	char version[24];
	char kind[KINDS][NAME_BYTES];
	unsigned int kinds, best;
	uint32_t rows;			/* of the weights */
	struct peer_product chosen;	/* whom @best was found for */
	struct peer_route routed;
} ggml;

/* Is there an answer "ok", and what is behind it? */
static bool answer(char *text, size_t len, const char *of)
{
	text[0] = '\0';
	if (!fgets(text, (int)len, ggml.out))
		snprintf(text, len, "error it ended");
	text[strcspn(text, "\n")] = '\0';
	if (!strncmp(text, "ok", 2)) {
		memmove(text, text + 2, strlen(text + 2) + 1);
		return true;
	}
	printf("SKIP: no peer ggml for %s: %s\n", of, text);
	return false;
}

static bool start(void)
{
	const char *program = getenv("BENCH_GGML") ? getenv("BENCH_GGML") : SERVE;
	int to[2], from[2];

	if (pipe(to) || pipe(from))
		return false;
	ggml.pid = fork();
	if (!ggml.pid) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		close(to[1]);
		close(from[0]);
		execl("/bin/sh", "sh", "-c", program, (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	ggml.in = fdopen(to[1], "w");
	ggml.out = fdopen(from[0], "r");
	signal(SIGPIPE, SIG_IGN);
	return ggml.pid > 0 && ggml.in && ggml.out;
}

static bool ggml_open(struct peer *peer)
{
	char text[256];

	if (bench_short() && !getenv("BENCH_GGML")) {
		printf("SKIP: no peer ggml: a short run fetches nothing\n");
		return false;
	}
	if (!start()) {
		printf("SKIP: no peer ggml: %s\n", strerror(errno));
		return false;
	}
	if (!answer(text, sizeof(text), "anything"))
		return false;
	(void)peer;
	snprintf(ggml.version, sizeof(ggml.version), "%.20s", text + strspn(text, " "));
	return true;
}

/* The kinds of buffers that there are of what was asked for. */
static bool take_kinds(const char *type)
{
	char text[256], *at = text, *name;

	fflush(ggml.in);
	ggml.kinds = 0;
	ggml.chosen = (struct peer_product){ 0 };
	ggml.routed = (struct peer_route){ 0 };
	if (!answer(text, sizeof(text), type))
		return false;
	while ((name = strsep(&at, " ")) && ggml.kinds < KINDS)
		if (*name)
			snprintf(ggml.kind[ggml.kinds++], NAME_BYTES, "%s", name);
	return ggml.kinds;
}

static bool ggml_weights(struct peer *peer, const struct peer_weights *w)
{
	(void)peer;
	ggml.rows = w->n;
	fprintf(ggml.in, "matmul %s %u %u %zu\n", w->type, w->n, w->k, w->rotate ? w->rotate : 1);
	return take_kinds(w->type);
}

static bool ggml_experts(struct peer *peer, const struct peer_experts *e)
{
	(void)peer;
	fprintf(ggml.in, "experts %s %u %u %u %zu\n", e->type, e->experts, e->n, e->k,
		e->rotate ? e->rotate : 1);
	return take_kinds(e->type);
}

/* Seconds, and so many @outputs of the product, where they are wanted. */
static double run(const char *kind, const struct peer_product *p, uint32_t products,
		  float *outputs, unsigned int count)
{
	static char text[(PEER_OUTPUTS + 8) * NUMBER_BYTES];
	char *at = text;
	double seconds;

	if (products > PRODUCTS_MOST)
		products = PRODUCTS_MOST;
	fprintf(ggml.in, "run %s %u %u %u %u\n", kind, p->m, p->threads, products, count);
	fflush(ggml.in);
	if (!answer(text, sizeof(text), kind))
		return 0;
	seconds = strtod(at, &at);
	for (unsigned int i = 0; i < count; i++)
		outputs[i] = strtof(at, &at);
	return seconds;
}

/* Seconds, and the outputs where @samples is not NULL. */
static double route(const char *kind, const struct peer_route *r, uint32_t products, float *samples)
{
	char text[512], *at = text;
	double seconds;

	if (products > PRODUCTS_MOST)
		products = PRODUCTS_MOST;
	fprintf(ggml.in, "route %s %u %u %u %u %u %u\n", kind, r->routing, r->tokens, r->used,
		r->threads, r->first, products);
	fflush(ggml.in);
	if (!answer(text, sizeof(text), kind))
		return 0;
	seconds = strtod(at, &at);
	for (unsigned int i = 0; samples && i < PEER_SAMPLES; i++)
		samples[i] = strtof(at, &at);
	return seconds;
}

static double run_once(const char *kind, const void *arg)
{
	return run(kind, arg, 1, NULL, 0);
}

static double route_once(const char *kind, const void *arg)
{
	return route(kind, arg, 1, NULL);
}

/* The fastest of three runs in each kind of buffer. */
static void choose(double (*once)(const char *kind, const void *arg), const void *arg)
{
	double best = 0;

	for (unsigned int i = 0; i < 3 * ggml.kinds; i++) {
		double seconds = once(ggml.kind[i / 3], arg);

		if (seconds > 0 && (best <= 0 || seconds < best)) {
			best = seconds;
			ggml.best = i / 3;
		}
	}
}

static void say_form(struct peer *peer)
{
	snprintf(peer->form, sizeof(peer->form), "%.20s %.24s", ggml.version, ggml.kind[ggml.best]);
}

/* The form that products like this one are fastest in; false: none. */
static bool product_choose(struct peer *peer, const struct peer_product *p)
{
	if (!ggml.kinds)
		return false;
	if (ggml.chosen.m != p->m || ggml.chosen.threads != p->threads)
		choose(run_once, p);
	ggml.chosen = *p;
	say_form(peer);
	return true;
}

static double ggml_time(struct peer *peer, struct peer_product p, uint32_t products)
{
	double seconds;

	if (!product_choose(peer, &p))
		return 0;
	seconds = run(ggml.kind[ggml.best], &p, products, NULL, 0);
	usleep(PAUSE_US);
	return seconds;
}

static bool ggml_outputs(struct peer *peer, struct peer_product p, float *outputs)
{
	unsigned int count = peer_outputs((size_t)p.m * ggml.rows);

	return product_choose(peer, &p) && run(ggml.kind[ggml.best], &p, 1, outputs, count) > 0;
}

static bool route_is_like(const struct peer_route *a, const struct peer_route *b)
{
	return a->routing == b->routing && a->tokens == b->tokens && a->used == b->used &&
	       a->threads == b->threads;
}

static double ggml_route(struct peer *peer, const struct peer_route *r, uint32_t products,
			 float *samples)
{
	double seconds;

	if (!ggml.kinds)
		return 0;
	if (!route_is_like(&ggml.routed, r))
		choose(route_once, r);
	ggml.routed = *r;
	say_form(peer);
	seconds = route(ggml.kind[ggml.best], r, products, samples);
	usleep(PAUSE_US);
	return seconds;
}

static bool ggml_attention(struct peer *peer, const struct peer_attention *a)
{
	char text[256];

	fprintf(ggml.in, "attention %s %u %u %u %u %u %d\n", a->type, a->heads, a->kv_heads,
		a->head_dim, a->m, a->kv, a->causal);
	fflush(ggml.in);
	snprintf(peer->form, sizeof(peer->form), "%.20s %.24s", ggml.version, a->type);
	return answer(text, sizeof(text), a->type);
}

static double ggml_attend(struct peer *peer, unsigned int threads, uint32_t times, float *samples)
{
	char text[512], *at = text;
	double seconds;

	(void)peer;
	if (times > ATTEND_MOST)
		times = ATTEND_MOST;
	fprintf(ggml.in, "attend %u %u\n", threads, times);
	fflush(ggml.in);
	if (!answer(text, sizeof(text), "attention"))
		return 0;
	seconds = strtod(at, &at);
	for (unsigned int i = 0; i < PEER_SAMPLES; i++)
		samples[i] = strtof(at, &at);
	usleep(PAUSE_US);
	return seconds;
}

struct peer peer_ggml = {
	.name = "ggml", .open = ggml_open, .weights = ggml_weights, .time = ggml_time,
	.outputs = ggml_outputs,
	.attention = ggml_attention, .attend = ggml_attend,
	.experts = ggml_experts, .route = ggml_route,
};

// SPDX-License-Identifier: MIT
/*
 * Random programs against a model in plain memory: objects, commands, mappings, reads,
 * writes and advice of one client or of several at once, on tiers far too small.
 *
 * VGPU_TEST_SEED repeats a run, VGPU_TEST_STEPS makes it longer.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"

#define OBJECTS		7u
#define FLOATS_MAX	(3u * XCHUNK / 4)
#define K		128u		/* of the weights in the file */
#define N		700u
#define CLIENTS		3u
/* Of the sum of the magnitudes: what adding K products in another order may change. */
#define ROUNDING	(K * 0x1p-23)

/*
 * One client's objects, and what must be in them: within @slack, since products are
 * rounded differently here and there, and so is all that is made of them.
 */
struct world {
	struct xrig r;			/* with a client and queue of its own */
	uint64_t random;
	uint32_t id[OBJECTS], n[OBJECTS];
	float *shadow[OBJECTS], *slack[OBJECTS];
	const float *weights;
	int fd;
	uint32_t file, steps;
	char why[256];
};

static uint32_t pick(struct world *w, uint32_t n)
{
	return (uint32_t)(xrandom(&w->random) >> 20) % n;
}

static void object_new(struct world *w, uint32_t i)
{
	w->n[i] = 1 + pick(w, FLOATS_MAX);
	w->id[i] = xrig_anonymous(&w->r, w->n[i] * 4ull);
	w->shadow[i] = xalloc(w->n[i] * 4ull);
	w->slack[i] = xalloc(w->n[i] * 4ull);
}

static int object_drop(struct world *w, uint32_t i)
{
	free(w->shadow[i]);
	free(w->slack[i]);
	return xrig_destroy(&w->r, w->id[i]);
}

static void object_set(struct world *w, uint32_t i, uint32_t at, float value, double slack)
{
	w->shadow[i][at] = value;
	w->slack[i][at] = (float)slack;
}

/* A range that two objects both have. */
struct span {
	uint32_t a, b, at_a, at_b, n;
};

static struct span span_pick(struct world *w)
{
	struct span s = { .a = pick(w, OBJECTS), .b = pick(w, OBJECTS) };
	uint32_t most = w->n[s.a] < w->n[s.b] ? w->n[s.a] : w->n[s.b];

	if (s.a == s.b)
		s.b = (s.b + 1) % OBJECTS;
	most = w->n[s.a] < w->n[s.b] ? w->n[s.a] : w->n[s.b];
	s.n = 1 + pick(w, most);
	s.at_a = pick(w, w->n[s.a] - s.n + 1);
	s.at_b = pick(w, w->n[s.b] - s.n + 1);
	return s;
}

#define F32_AT(s, w, i, at, n, access) \
	xvector(s, (w)->id[i], access, (at) * 4ull, VB_FORMAT_F32, n)
#define ROW_AT(s, w, i, at, n, access) \
	xmatrix(s, (w)->id[i], access, (at) * 4ull, VB_FORMAT_F32, 1, n)

static void add_fill(struct world *w, struct xstream *s)
{
	struct vb_cmd_fill c = { .h = { VB_CMD_FILL, 0, sizeof(c) } };
	struct span p = span_pick(w);
	float x = xvalue(xrandom(&w->random));

	memcpy(&c.value, &x, 4);
	c.y = F32_AT(s, w, p.a, p.at_a, p.n, VB_ACCESS_WRITE);
	xstream_add(s, &c, sizeof(c));
	for (uint32_t i = 0; i < p.n; i++)
		object_set(w, p.a, p.at_a + i, x, 0);
}

static void add_copy(struct world *w, struct xstream *s)
{
	struct vb_cmd_copy c = { .h = { VB_CMD_COPY, 0, sizeof(c) } };
	struct span p = span_pick(w);

	c.x = F32_AT(s, w, p.a, p.at_a, p.n, VB_ACCESS_READ);
	c.y = F32_AT(s, w, p.b, p.at_b, p.n, VB_ACCESS_WRITE);
	xstream_add(s, &c, sizeof(c));
	memcpy(w->shadow[p.b] + p.at_b, w->shadow[p.a] + p.at_a, p.n * 4ull);
	memcpy(w->slack[p.b] + p.at_b, w->slack[p.a] + p.at_a, p.n * 4ull);
}

static void add_sum(struct world *w, struct xstream *s)
{
	struct vb_cmd_eltwise c = { .h = { VB_CMD_ELTWISE, 0, sizeof(c) },
				    .kind = VB_ELTWISE_BINARY, .op = VB_BINARY_SUB };
	struct span p = span_pick(w);

	c.a = ROW_AT(s, w, p.a, p.at_a, p.n, VB_ACCESS_READ);
	c.b = ROW_AT(s, w, p.b, p.at_b, p.n, VB_ACCESS_READ);
	c.y = ROW_AT(s, w, p.b, p.at_b, p.n, VB_ACCESS_WRITE);
	xstream_add(s, &c, sizeof(c));
	for (uint32_t i = 0; i < p.n; i++) {
		float y = w->shadow[p.a][p.at_a + i] - w->shadow[p.b][p.at_b + i];

		object_set(w, p.b, p.at_b + i, y, (double)w->slack[p.a][p.at_a + i] +
			   w->slack[p.b][p.at_b + i] + fabs((double)y) * ROUNDING);
	}
}

/* x is made of one value so that the product is nearly the sum of a row. */
static void add_matmul(struct world *w, struct xstream *s)
{
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) } };
	struct span p = span_pick(w);
	uint32_t rows = p.n < N ? p.n : N, first = pick(w, N - rows + 1);

	if (w->n[p.a] < K)
		return;
	p.at_a = pick(w, w->n[p.a] - K + 1);
	c.x = ROW_AT(s, w, p.a, p.at_a, K, VB_ACCESS_READ);
	c.w = xmatrix(s, w->file, VB_ACCESS_READ, first * K * 4ull, VB_FORMAT_F32, rows, K);
	c.y = ROW_AT(s, w, p.b, p.at_b, rows, VB_ACCESS_WRITE);
	xstream_add(s, &c, sizeof(c));
	for (uint32_t i = 0; i < rows; i++) {
		const float *row = w->weights + (first + i) * K;
		double size, y = xdot(w->shadow[p.a] + p.at_a, row, K, &size), slack = size * ROUNDING;

		for (uint32_t k = 0; k < K; k++)
			slack += fabs((double)row[k]) * w->slack[p.a][p.at_a + k];
		object_set(w, p.b, p.at_b + i, (float)y, slack);
	}
}

static int step_run(struct world *w)
{
	struct xstream *s = xalloc(sizeof(*s));
	int rc;

	xstream_begin(s);
	s->flags = pick(w, 3) ? 0 : VB_SUBMIT_ASYNC;
	for (uint32_t n = 1 + pick(w, 5); n; n--) {
		switch (pick(w, 4)) {
		case 0:
			add_fill(w, s);
			break;
		case 1:
			add_copy(w, s);
			break;
		case 2:
			add_sum(w, s);
			break;
		default:
			add_matmul(w, s);
		}
	}
	rc = s->ref_count ? xrun(&w->r, s) : 0;
	free(s);
	return rc;
}

static int step_write(struct world *w)
{
	uint32_t i = pick(w, OBJECTS), n = 1 + pick(w, w->n[i]), at = pick(w, w->n[i] - n + 1);

	for (uint32_t j = 0; j < n; j++)
		object_set(w, i, at + j, xvalue(xrandom(&w->random) % 1000), 0);
	return xrig_write(&w->r, w->id[i], at * 4ull, w->shadow[i] + at, n * 4ull);
}

static bool is_near(float a, float b, float slack)
{
	return fabs((double)a - b) <= slack || (isnan(a) && isnan(b)) || a == b ||
	       fabs((double)b) > 1e30;
}

static int expect(struct world *w, const float *got, uint32_t i, uint32_t at, uint32_t n)
{
	for (uint32_t j = 0; j < n; j++) {
		if (is_near(got[j], w->shadow[i][at + j], w->slack[i][at + j]))
			continue;
		snprintf(w->why, sizeof(w->why), "object %u [%u] of %u is %g, want %g within %g", i,
			 at + j, w->n[i], (double)got[j], (double)w->shadow[i][at + j],
			 (double)w->slack[i][at + j]);
		return -EBADMSG;
	}
	/* From here on both continue with the same numbers. */
	memcpy(w->shadow[i] + at, got, n * 4ull);
	memset(w->slack[i] + at, 0, n * 4ull);
	return 0;
}

static int step_read(struct world *w)
{
	uint32_t i = pick(w, OBJECTS), n = 1 + pick(w, w->n[i]), at = pick(w, w->n[i] - n + 1);
	float *got = xalloc(n * 4ull);
	int rc = xrig_read(&w->r, w->id[i], at * 4ull, got, n * 4ull);

	if (!rc)
		rc = expect(w, got, i, at, n);
	free(got);
	return rc;
}

static int step_map(struct world *w)
{
	uint32_t i = pick(w, OBJECTS), n = 1 + pick(w, w->n[i]), at = pick(w, w->n[i] - n + 1);
	uint32_t flags = VB_MAP_READ | (pick(w, 2) ? VB_MAP_WRITE : 0);
	void *p;
	int rc = xrig_map(&w->r, w->id[i], at * 4ull, n * 4ull, flags, &p);

	if (rc)
		return rc;
	rc = expect(w, p, i, at, n);
	if (!rc && flags & VB_MAP_WRITE)
		((float *)p)[0] = w->shadow[i][at] = 42;	/* exactly: expect() set the slack */
	return xrig_unmap(&w->r, w->id[i], at * 4ull, n * 4ull, flags) || rc ? rc : 0;
}

static int step_advise(struct world *w)
{
	uint32_t i = pick(w, OBJECTS);
	int rc;

	if (pick(w, 2))
		return xrig_advise(&w->r, w->id[i], VB_ADVISE_PREFETCH, 0, w->n[i] * 4ull);
	rc = xrig_advise(&w->r, w->id[i], VB_ADVISE_EVICT, 0, w->n[i] * 4ull);
	return rc == -EBUSY ? 0 : rc;
}

static int step_replace(struct world *w)
{
	uint32_t i = pick(w, OBJECTS);
	int rc = object_drop(w, i);

	object_new(w, i);
	return rc;
}

static int step_one(struct world *w)
{
	switch (pick(w, 12)) {
	case 0:
		return step_replace(w);
	case 1:
		return step_advise(w);
	case 2:
		return step_map(w);
	case 3:
	case 4:
		return step_read(w);
	case 5:
		return step_write(w);
	default:
		return step_run(w);
	}
}

static void world_open(struct world *w, const struct xrig *r, uint64_t seed, const float *weights,
		       int fd, uint32_t steps)
{
	*w = (struct world){ .r = *r, .random = seed, .weights = weights, .fd = fd, .steps = steps };
	w->r.client = xrig_client(&w->r);
	w->r.queue = xrig_queue(w->r.client, 50 + pick(w, 200));
	w->file = xrig_file(&w->r, fd, 1236, N * K * 4);
	for (uint32_t i = 0; i < OBJECTS; i++)
		object_new(w, i);
}

static void world_close(struct world *w)
{
	for (uint32_t i = 0; i < OBJECTS; i++) {
		free(w->shadow[i]);
		free(w->slack[i]);
	}
	w->r.client->ops->close(w->r.client);
}

static void *world_run(void *arg)
{
	struct world *w = arg;

	for (uint32_t i = 0; i < w->steps && !w->why[0]; i++) {
		int rc = step_one(w);

		if (rc && !w->why[0])
			snprintf(w->why, sizeof(w->why), "step %u: %d: %.150s", i, rc,
				 rc == -EBADMSG ? "" : xrig_error(&w->r));
		if (!w->why[0] && vgpu_exec_check(w->r.exec, w->r.text, sizeof(w->r.text)))
			snprintf(w->why, sizeof(w->why), "step %u: %.200s", i, w->r.text);
	}
	return NULL;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void stress(uint32_t clients, uint32_t slots, const char *policy, bool arena,
		   const char *engine, uint32_t steps)
{
	uint64_t seed = from_environment("VGPU_TEST_SEED", xrig_now() | 1);
	struct vgpu_exec_params p = xrig_params(slots);
	float *weights = xvalues(N * K, 9);
	int fd = xfile(weights, N * K * 4, 1236);
	struct world w[CLIENTS];
	pthread_t thread[CLIENTS];
	char path[64];
	struct xrig r;

	steps = (uint32_t)from_environment("VGPU_TEST_STEPS", steps);
	print_message("seed %llu, %u clients, %u slots, %s\n", (unsigned long long)seed, clients, slots,
		      policy);
	snprintf(path, sizeof(path), "/var/tmp/vgpu-arena-%d", getpid());
	p.policy = policy;
	p.io_engine = engine;
	p.nvme_path = arena ? path : NULL;
	p.nvme_bytes = arena ? CLIENTS * 40ull * XCHUNK : 0;
	xrig_start(&r, &p);
	for (uint32_t i = 0; i < clients; i++)
		world_open(&w[i], &r, seed * (2 * i + 1), weights, fd, steps);
	for (uint32_t i = 0; i < clients; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, world_run, &w[i]), 0);
	for (uint32_t i = 0; i < clients; i++)
		pthread_join(thread[i], NULL);
	for (uint32_t i = 0; i < clients; i++) {
		if (w[i].why[0])
			fail_msg("client %u: %s", i, w[i].why);
		world_close(&w[i]);
	}
	xrig_close(&r);
	close(fd);
	free(weights);
}

static void stress_one_client_on_little_memory(void **state)
{
	(void)state;
	stress(1, 16, "schedule", true, NULL, 1500);
	stress(1, 16, "lru", true, "threads", 700);
}

static void stress_one_client_where_nothing_can_leave(void **state)
{
	(void)state;
	stress(1, 48, "freq", false, NULL, 1000);
}

static void stress_clients_against_each_other(void **state)
{
	(void)state;
	stress(CLIENTS, 32, "schedule", true, NULL, 600);
	stress(CLIENTS, 24, "replay", true, "threads", 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stress_one_client_on_little_memory),
		cmocka_unit_test(stress_one_client_where_nothing_can_leave),
		cmocka_unit_test(stress_clients_against_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

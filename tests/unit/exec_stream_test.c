// SPDX-License-Identifier: MIT
/*
 * Weights many times larger than the host tier: right numbers whatever the budget, and
 * as few bytes read as the policy promises.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "core/format.h"
#include "exec/executor.h"
#include "exec/io.h"
#include "exec/policy.h"
#include "exec/trace.h"
#include "kernels/kernels.h"

/**
 * struct model - matrices behind each other in a file
 * @format: F32, or packed
 * @values: [layers][n][k], what the packed ones stand for
 */
struct model {
	uint32_t layers, n, k, format;
	uint64_t start, matrix_bytes;
	int fd;
	float *values;
};

/* One matrix; its values become those that the packed form stands for. */
static void matrix_pack(const struct model *m, float *w, uint8_t *to)
{
	const struct vgpu_kernels *kern = vgpu_kernels_best();
	size_t unit = vgpu_weight_unit_bytes(m->format, m->k);
	struct vgpu_panel p = { .format = m->format, .rows = m->n, .k = m->k, .data = to };

	for (uint32_t row = 0; row < m->n; row += 16) {
		uint32_t rows = m->n - row < 16 ? m->n - row : 16;
		const float *from = w + (size_t)row * m->k;
		uint8_t *dst = to + row / 16 * unit;

		if (m->format == VB_FORMAT_MXFP4_G16)
			assert_int_equal(kern->pack_mxfp4(dst, from, VGPU_W_F32, m->k, rows, m->k), 0);
		else
			assert_int_equal(kern->pack_int8(dst, from, VGPU_W_F32, m->k, rows, m->k), 0);
	}
	kern->weight_decode(&p, w, m->k);
}

static void model_pack(struct model *m, uint8_t *packed)
{
	for (uint32_t l = 0; l < m->layers; l++) {
		float *w = m->values + (size_t)l * m->n * m->k;

		if (m->format == VB_FORMAT_F32)
			memcpy(packed + l * m->matrix_bytes, w, m->matrix_bytes);
		else
			matrix_pack(m, w, packed + l * m->matrix_bytes);
	}
}

static void model_make(struct model *m, uint32_t format, uint32_t layers, uint32_t n, uint32_t k,
		       uint64_t start)
{
	__u64 bytes = 0;
	uint8_t *packed;

	*m = (struct model){ .layers = layers, .n = n, .k = k, .format = format, .start = start };
	assert_int_equal(vb_format_matrix_bytes(format, n, k, &bytes), 0);
	m->matrix_bytes = bytes;
	m->values = xvalues((size_t)layers * n * k, 1);
	packed = aligned_alloc(64, (layers * bytes + 63) / 64 * 64);
	assert_non_null(packed);
	model_pack(m, packed);
	m->fd = xfile(packed, layers * bytes, start);
	free(packed);
}

static void model_free(struct model *m)
{
	close(m->fd);
	free(m->values);
}

static uint64_t model_bytes(const struct model *m)
{
	return m->layers * m->matrix_bytes;
}

/*
 * A model on a device, with its activations.  Outputs of the last @kept layers are
 * there after a pass; each layer overwrites that of @kept layers before.
 */
struct run {
	struct xrig r;
	struct model *m;
	uint32_t rows, kept, file, bx, by;
	float *x, *y;
	struct xstream s;
};

static void run_open(struct run *t, struct model *m, uint32_t rows, uint32_t kept,
		     const struct vgpu_exec_params *p)
{
	size_t xn = (size_t)rows * m->k, yn = (size_t)kept * rows * m->n;

	t->m = m;
	t->rows = rows;
	t->kept = kept;
	t->x = xvalues(xn, 2);
	t->y = xalloc(yn * 4);
	xrig_start(&t->r, p);
	t->file = xrig_file(&t->r, m->fd, m->start, model_bytes(m));
	t->bx = xrig_anonymous(&t->r, xn * 4);
	t->by = xrig_anonymous(&t->r, yn * 4);
	assert_int_equal(xrig_write(&t->r, t->bx, 0, t->x, xn * 4), 0);
	xstream_begin(&t->s);
	for (uint32_t l = 0; l < m->layers; l++) {
		struct vb_cmd_matmul c = {
			.h = { VB_CMD_MATMUL, 0, sizeof(c) },
			.x = xmatrix(&t->s, t->bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, rows, m->k),
			.w = xmatrix(&t->s, t->file, VB_ACCESS_READ, l * m->matrix_bytes,
				     (uint16_t)m->format, m->n, m->k),
			.y = xmatrix(&t->s, t->by, VB_ACCESS_WRITE,
				     (uint64_t)(l % kept) * rows * m->n * 4, VB_FORMAT_F32, rows,
				     m->n),
		};

		xstream_add(&t->s, &c, sizeof(c));
	}
}

static void run_close(struct run *t)
{
	xrig_close(&t->r);
	free(t->x);
	free(t->y);
}

static void run_pass(struct run *t)
{
	xrig_must_run(&t->r, &t->s);
}

static void run_read(struct run *t)
{
	assert_int_equal(xrig_read(&t->r, t->by, 0, t->y,
				   (uint64_t)t->kept * t->rows * t->m->n * 4), 0);
}

/* A sample of the outputs is compared: all of them would take longer than the product. */
static void run_expect_right(struct run *t)
{
	const struct model *m = t->m;
	uint64_t outputs = (uint64_t)t->kept * t->rows * m->n;

	run_read(t);
	for (uint64_t i = 0; i < outputs; i += outputs > 5000 ? 17 : 1) {
		uint64_t place = i / ((uint64_t)t->rows * m->n), row = i / m->n % t->rows;
		uint64_t l = m->layers - 1 - (m->layers - 1 - place) % t->kept;
		double size, want = xdot(t->x + row * m->k,
					 m->values + (l * m->n + i % m->n) * m->k, m->k, &size);

		if (fabs(t->y[i] - want) > size / (1 << 18))
			fail_msg("y[%llu] is %g, want %g", (unsigned long long)i, (double)t->y[i],
				 want);
	}
}

static void stream_runs_a_buffer_that_names_sixteen_times_the_tier(void **state)
{
	struct vgpu_exec_params p = xrig_params(9);
	uint64_t count[VB_COUNT_COUNT];
	struct model m;
	struct run t;

	(void)state;
	model_make(&m, VB_FORMAT_F32, 8, 310, 1000, 1236);
	assert_true(model_bytes(&m) > 16ull * 9 * XCHUNK);
	run_open(&t, &m, 3, m.layers, &p);
	run_pass(&t);
	run_pass(&t);
	run_expect_right(&t);
	xrig_counters(&t.r, count);
	assert_int_equal(count[VB_COUNT_WRITE_BYTES], 0);
	assert_true(count[VB_COUNT_READ_BYTES] <= 2 * model_bytes(&m) * 105 / 100);
	run_close(&t);
	model_free(&m);
}

static void stream_output_does_not_depend_on_budget_policy_or_engine(void **state)
{
	static const char *const policies[] = { "schedule", "replay", "freq", "lru" };
	static const char *const engines[] = { "auto", "threads", "buffered", "uring" };
	static const uint32_t slots[] = { 12, 31, 64, 400 };
	uint64_t count[VB_COUNT_COUNT];
	struct model m;
	float *first = NULL;
	size_t bytes;

	(void)state;
	model_make(&m, VB_FORMAT_F32, 4, 240, 992, 40);
	bytes = (size_t)m.layers * 5 * m.n * 4;
	for (uint32_t i = 0; i < 16; i++) {
		struct vgpu_exec_params p = xrig_params(slots[i % 4]);
		struct run t;

		p.policy = policies[i / 4];
		p.io_engine = engines[(i + i / 4) % 4];
		run_open(&t, &m, 5, m.layers, &p);
		run_pass(&t);
		run_pass(&t);
		run_read(&t);
		xrig_counters(&t.r, count);
		if (!first) {
			run_expect_right(&t);
			first = xalloc(bytes);
			memcpy(first, t.y, bytes);
		}
		assert_memory_equal(first, t.y, bytes);
		/* Everything fits: each byte is read once. */
		if (slots[i % 4] == 400)
			assert_true(count[VB_COUNT_READ_BYTES] <= model_bytes(&m) + 8192);
		run_close(&t);
	}
	free(first);
	model_free(&m);
}

static void stats_take(void *arg, struct vgpu_io *io)
{
	vgpu_io_stats_get(io, arg);
}

/* Rows across slots that are not adjacent are copied: in an empty tier a panel lies together. */
static bool panels_lie_together(void *arg)
{
	struct vgpu_exec_params p = xrig_params(400);	/* 20 of them staging: three a panel */
	const uint32_t panel = 3, chunks = 12;
	const struct vgpu_resid *resid;
	uint32_t seen = 0;
	struct model m;
	struct run t;
	bool slow;

	(void)arg;
	model_make(&m, VB_FORMAT_F32, 1, chunks * XCHUNK / 4096, 1024, 0);
	run_open(&t, &m, 1, 1, &p);
	assert_int_equal(t.r.exec->env.panel_bytes, panel * XCHUNK);
	xrig_must_run(&t.r, &t.s);
	slow = xrig_was_slow(&t.r);
	resid = &t.r.exec->resid;
	for (uint32_t i = 0; i < resid->slots && !slow; i++) {
		const struct vgpu_slot *slot = &resid->slot[i];

		if (slot->state != VGPU_SLOT_READY || slot->object->kind == VB_BO_ANONYMOUS ||
		    slot->chunk % panel == panel - 1)
			continue;
		assert_true(slot[1].object == slot->object && slot[1].chunk == slot->chunk + 1);
		seen++;
	}
	assert_true(slow || seen == chunks / panel * (panel - 1));
	run_close(&t);
	model_free(&m);
	return !slow;
}

static void stream_lays_the_chunks_of_a_panel_together(void **state)
{
	(void)state;
	xrig_unless_slow(panels_lie_together, NULL);
}

/*
 * What a pass reads ahead for the next one is in its counters when it ends, though nothing
 * of it may have arrived: the same that the kernel counts for the process.
 */
static void stream_counts_reads_when_they_begin(void **state)
{
	struct vgpu_exec_params p = xrig_params(24);
	uint64_t count[VB_COUNT_COUNT], bytes;
	struct vgpu_io_stats io;
	struct model m;
	struct run t;

	(void)state;
	model_make(&m, VB_FORMAT_F32, 4, 240, 1024, 0);
	bytes = model_bytes(&m);
	run_open(&t, &m, 1, m.layers, &p);
	assert_int_equal(xrig_cycle(&t.r, &t.file, &bytes, 1), 0);
	for (uint32_t pass = 1; pass <= 5; pass++) {
		assert_int_equal(xrun(&t.r, &t.s), 0);
		xrig_counters(&t.r, count);
		do
			vgpu_exec_with_io(t.r.exec, stats_take, &io);
		while (io.in_flight || io.queued);
		/* The end of the file is asked for to its block. */
		assert_in_range(count[VB_COUNT_READ_BYTES], io.read_bytes,
				io.read_bytes + pass * 4096ull);
	}
	run_close(&t);
	model_free(&m);
}

static void stream_works_at_both_ends_of_the_chunk_size(void **state)
{
	static const uint32_t formats[] = { VB_FORMAT_F32, VB_FORMAT_MXFP4_G16,
					    VB_FORMAT_INT8_G16 };

	(void)state;
	for (uint32_t f = 0; f < 3; f++) {
		for (uint32_t shift = 16; shift <= 21; shift += 5) {
			struct vgpu_exec_params p = xrig_params(0);
			struct model m;
			struct run t;

			p.chunk_bytes = 1u << shift;
			p.host_bytes = 8ull << shift;
			/* Rows, groups and matrices begin anywhere in a chunk, and in memory. */
			model_make(&m, formats[f], 3, 1003, 1056, 4096 * 3 + 1236);
			run_open(&t, &m, 2, m.layers, &p);
			run_pass(&t);
			run_expect_right(&t);
			run_close(&t);
			model_free(&m);
		}
	}
}

/* ------------------------------------------------------------------------
 * As few bytes as promised
 */

struct trace {
	uint64_t *key;
	uint8_t *flags, *answer;
	size_t n;
	uint32_t capacity;
};

static void trace_read(const char *path, struct trace *t)
{
	struct vgpu_trace_reader *reader;
	struct vgpu_trace_record rec;
	size_t room = 1 << 20;
	int fd = open(path, O_RDONLY);

	assert_int_equal(vgpu_trace_open(fd, &reader), 0);
	*t = (struct trace){ .key = xalloc(room * 8), .flags = xalloc(room),
			     .answer = xalloc(room),
			     .capacity = vgpu_trace_header(reader)->capacity };
	while (vgpu_trace_next(reader, &rec) == 1) {
		if (!vgpu_trace_is_access(rec.event))
			continue;
		assert_true(t->n < room);
		t->key[t->n] = rec.key;
		t->flags[t->n] = rec.flags;
		t->answer[t->n++] = rec.event;
	}
	vgpu_trace_close(reader);
	close(fd);
}

static void trace_free(struct trace *t)
{
	free(t->key);
	free(t->flags);
	free(t->answer);
}

/* What the policy by itself answers to the same uses; the cycle came before use @declared. */
static void expect_simulation(const struct trace *t, const char *name, uint64_t declared,
			      uint32_t chunks)
{
	const struct vgpu_policy_ops *ops = vgpu_policy_find(name);
	struct vgpu_policy_params pp = { .capacity = t->capacity };
	uint64_t *keys = xalloc(chunks * 8), victim, weights = 0;
	void *policy;

	/* The weights have the object id that is used with chunk @chunks - 1. */
	for (size_t i = 0; i < t->n; i++) {
		if (vgpu_policy_key_chunk(t->key[i]) == chunks - 1)
			weights = vgpu_policy_key_object(t->key[i]);
	}
	assert_int_equal(ops->create(&pp, &policy), 0);
	for (uint32_t c = 0; c < chunks; c++)
		keys[c] = vgpu_policy_key((uint32_t)weights, c);
	for (size_t i = 0; i < t->n; i++) {
		int answer;

		if (i == declared)
			assert_int_equal(ops->future(policy, 0, keys, chunks, true), 0);
		answer = ops->access(policy, t->key[i], t->flags[i], &victim);
		if (answer != t->answer[i])
			fail_msg("%s: use %zu of %zu was answered %d, the simulation says %d", name, i,
				 t->n, t->answer[i], answer);
	}
	ops->destroy(policy);
	free(keys);
}

/* Passes over @m with a tier of 1/@part of it; the trace is read back.  false: no case, slow. */
static bool stream_and_compare(struct model *m, uint32_t rows, uint32_t part, const char *policy,
			       bool declared)
{
	uint64_t bytes = model_bytes(m), count[VB_COUNT_COUNT], opt, used, head = m->start % 4096;
	uint32_t chunks = (uint32_t)((head + bytes + XCHUNK - 1) / XCHUNK);
	struct vgpu_exec_params p = xrig_params(chunks / part + 6);
	char path[64], arena[64];
	struct trace trace;
	struct run t;
	bool slow;

	snprintf(path, sizeof(path), "/var/tmp/vgpu-trace-%d", getpid());
	snprintf(arena, sizeof(arena), "/var/tmp/vgpu-arena-%d", getpid());
	/* Where everything can go, nothing is held, which a trace does not tell. */
	p.nvme_path = arena;
	p.nvme_bytes = 64 * XCHUNK;
	p.trace_path = path;
	p.policy = policy;
	run_open(&t, m, rows, 2, &p);
	xrig_counters(&t.r, count);
	used = declared ? count[VB_COUNT_ACCESSES] : UINT64_MAX;
	if (declared)
		assert_int_equal(xrig_cycle(&t.r, &t.file, &bytes, 1), 0);
	for (uint32_t i = 0; i < 8; i++)
		run_pass(&t);
	run_expect_right(&t);
	xrig_counters(&t.r, count);
	slow = xrig_was_slow(&t.r);
	run_close(&t);
	if (slow) {
		unlink(path);
		return false;
	}
	trace_read(path, &trace);
	unlink(path);
	expect_simulation(&trace, policy, used, chunks);
	assert_int_equal(vgpu_policy_opt_misses(trace.key, trace.flags, trace.n, trace.capacity, &opt),
			 0);
	if (declared && count[VB_COUNT_READ_BYTES] > opt * XCHUNK * 102 / 100)
		fail_msg("1/%u of %u chunks: %llu bytes read, the optimum is %llu", part, chunks,
			 (unsigned long long)count[VB_COUNT_READ_BYTES],
			 (unsigned long long)(opt * XCHUNK));
	trace_free(&trace);
	return true;
}

/* Again while it is slow; a machine that always is says nothing about the policy. */
static void must_compare(struct model *m, uint32_t rows, uint32_t part, const char *policy,
			 bool declared)
{
	for (uint32_t i = 0; i < XTRIES; i++)
		if (stream_and_compare(m, rows, part, policy, declared))
			return;
	model_free(m);
	print_message("SKIP: %s: storage was slow %u times in a row\n", policy, XTRIES);
	skip();
}

static void stream_reads_at_most_two_percent_above_the_optimum(void **state)
{
	static const uint32_t formats[] = { VB_FORMAT_F32, VB_FORMAT_MXFP4_G16 };

	(void)state;
	for (uint32_t f = 0; f < 2; f++) {
		struct model m;

		model_make(&m, formats[f], 12, f ? 2000 : 310, 1056, 4096 + 1236);
		for (uint32_t part = 2; part <= 8; part *= 2) {
			must_compare(&m, 1, part, "schedule", true);
			if (!XSANITIZED)
				must_compare(&m, 32, part, "schedule", true);
		}
		model_free(&m);
	}
}

static void stream_misses_are_those_of_its_policy(void **state)
{
	static const char *const policies[] = { "replay", "freq", "lru" };
	struct model m;

	(void)state;
	model_make(&m, VB_FORMAT_F32, 12, 310, 1056, 1236);
	for (uint32_t i = 0; i < 3; i++)
		must_compare(&m, 1, 4, policies[i], false);
	model_free(&m);
}

/* ------------------------------------------------------------------------
 * Several queues
 */

#define MS_NS	1000000u

/* All take @arg or, when that is NULL, a moment. */
static void slow_reads(void *arg, struct vgpu_io *io)
{
	const struct vgpu_io_fault f = { .kind = VGPU_IO_FAULT_DELAY, .delay_ns = MS_NS };

	assert_int_equal(vgpu_io_test_add(io, arg ? arg : &f), 0);
}

/* Two layers of the model, from @first on, into a result of their own. */
static void stream_of_two(struct run *t, uint32_t first, uint32_t by, struct xstream *s)
{
	const struct model *m = t->m;

	xstream_begin(s);
	s->flags = VB_SUBMIT_ASYNC;
	for (uint32_t l = first; l < first + 2; l++) {
		struct vb_cmd_matmul c = {
			.h = { VB_CMD_MATMUL, 0, sizeof(c) },
			.x = xmatrix(s, t->bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, m->k),
			.w = xmatrix(s, t->file, VB_ACCESS_READ, l * m->matrix_bytes, VB_FORMAT_F32,
				     m->n, m->k),
			.y = xmatrix(s, by, VB_ACCESS_WRITE, (uint64_t)l * m->n * 4, VB_FORMAT_F32, 1,
				     m->n),
		};

		xstream_add(s, &c, sizeof(c));
	}
}

static void many_queues_share_a_small_tier(struct vgpu_io_fault *slow)
{
	enum { QUEUES = 12 };
	struct vgpu_exec_params p = xrig_params(9);
	uint32_t queue[QUEUES];
	uint64_t seqno[QUEUES];
	struct xstream s;
	struct model m;
	struct run t;

	p.io_engine = "test";
	model_make(&m, VB_FORMAT_F32, 2 * QUEUES, 150, 1000, 1236);
	run_open(&t, &m, 1, m.layers, &p);
	vgpu_exec_with_io(t.r.exec, slow_reads, slow);
	for (uint32_t i = 0; i < QUEUES; i++) {
		queue[i] = xrig_queue(t.r.client, 1 + i);
		stream_of_two(&t, 2 * i, t.by, &s);
		assert_int_equal(xsubmit(t.r.client, queue[i], &s, &seqno[i]), 0);
	}
	for (uint32_t i = 0; i < QUEUES; i++) {
		int rc = xwait(t.r.client, queue[i], seqno[i], NULL);

		if (rc)
			fail_msg("queue %u: %d: %s", i, rc, xrig_error(&t.r));
	}
	run_expect_right(&t);
	run_close(&t);
	model_free(&m);
}

/*
 * Each pauses between two commands while others run: none may keep what it used.  A command
 * takes longer than the turn of any of them.
 */
static void stream_of_many_queues_shares_a_small_tier(void **state)
{
	(void)state;
	many_queues_share_a_small_tier(NULL);
}

/* Storage takes so long that commands stand aside: what each waits for is in the way of all. */
static void stream_of_many_queues_outlives_a_slow_spell(void **state)
{
	struct vgpu_io_fault slow = { .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 150 * MS_NS,
				      .count = 40 };

	(void)state;
	many_queues_share_a_small_tier(&slow);
}

/* Commands that were counted for a client. */
static uint64_t commands_of(struct vgpu_uapi *client)
{
	uint64_t count[VB_COUNT_COUNT];
	struct vb_ioc_stats c = { .size = sizeof(c), .count = VB_COUNT_COUNT,
				  .address = (uintptr_t)count };

	assert_int_equal(vgpu_uapi_call(client, VB_IOC_STATS, &c), 0);
	return count[VB_COUNT_COMMANDS];
}

/* Two clients take turns in the middle of their submissions: each has what is its own. */
static void stream_is_counted_for_the_client_that_made_it(void **state)
{
	enum { LONG = 40, SHORT = 10 };
	struct vgpu_exec_params p = xrig_params(12);
	struct vgpu_uapi *client[2];
	uint64_t seqno[2];
	struct xstream s;
	struct model m;
	struct xrig r;

	(void)state;
	p.io_engine = "test";
	model_make(&m, VB_FORMAT_F32, LONG, 150, 1000, 1236);
	xrig_start(&r, &p);
	vgpu_exec_with_io(r.exec, slow_reads, NULL);
	client[0] = r.client;
	client[1] = xrig_client(&r);
	for (uint32_t i = 0; i < 2; i++) {
		struct xrig own = r;
		uint32_t file, out;

		own.client = client[i];
		own.queue = i ? xrig_queue(client[1], 0) : r.queue;
		file = xrig_file(&own, m.fd, m.start, model_bytes(&m));
		out = xrig_anonymous(&own, 4096);
		xstream_begin(&s);
		s.flags = VB_SUBMIT_ASYNC;
		for (uint32_t j = 0; j < (i ? SHORT : LONG); j++) {
			struct vb_cmd_copy c = {
				.h = { VB_CMD_COPY, 0, sizeof(c) },
				.x = xvector(&s, file, VB_ACCESS_READ, j * m.matrix_bytes,
					     VB_FORMAT_F32, 16),
				.y = xvector(&s, out, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 16),
			};

			xstream_add(&s, &c, sizeof(c));
		}
		assert_int_equal(xsubmit(own.client, own.queue, &s, &seqno[i]), 0);
		if (i)
			assert_int_equal(xwait(own.client, own.queue, seqno[i], NULL), 0);
	}
	assert_int_equal(commands_of(client[1]), SHORT);
	assert_int_equal(xwait(r.client, r.queue, seqno[0], NULL), 0);
	assert_int_equal(commands_of(client[0]), LONG);
	assert_int_equal(commands_of(client[1]), SHORT);
	client[1]->ops->close(client[1]);
	xrig_close(&r);
	model_free(&m);
}

static uint64_t process_write_bytes(void)
{
	unsigned long long bytes = 0;
	char line[128];
	FILE *f = fopen("/proc/self/io", "r");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		sscanf(line, "write_bytes: %llu", &bytes);
	fclose(f);
	return bytes;
}

static void stream_of_files_writes_nothing_to_storage(void **state)
{
	struct vgpu_exec_params p = xrig_params(12);
	uint64_t count[VB_COUNT_COUNT], before;
	char path[64];
	struct model m;
	struct run t;

	(void)state;
	snprintf(path, sizeof(path), "/var/tmp/vgpu-arena-%d", getpid());
	p.nvme_path = path;
	p.nvme_bytes = 64 * XCHUNK;
	model_make(&m, VB_FORMAT_F32, 6, 310, 1000, 1236);
	run_open(&t, &m, 1, 1, &p);
	run_pass(&t);
	/* The outputs are used all the time and stay; the weights only leave. */
	xrig_counters(&t.r, count);
	before = count[VB_COUNT_WRITE_BYTES] + process_write_bytes();
	for (uint32_t i = 0; i < 4; i++)
		run_pass(&t);
	xrig_counters(&t.r, count);
	assert_true(count[VB_COUNT_EVICTIONS] > 100);
	assert_int_equal(count[VB_COUNT_WRITE_BYTES] + process_write_bytes(), before);
	run_close(&t);
	model_free(&m);
}

/* ------------------------------------------------------------------------
 * Files that change
 */

static void stream_of_a_shortened_file_is_an_error(void **state)
{
	struct vgpu_exec_params p = xrig_params(10);
	struct model m;
	struct run t;

	(void)state;
	model_make(&m, VB_FORMAT_F32, 4, 200, 512, 0);
	run_open(&t, &m, 1, m.layers, &p);
	run_pass(&t);
	assert_int_equal(ftruncate(m.fd, (off_t)model_bytes(&m) / 2), 0);
	assert_int_equal(xrun(&t.r, &t.s), -ESTALE);
	run_close(&t);
	model_free(&m);
}

static void stream_of_a_changed_file_is_an_error(void **state)
{
	struct vgpu_exec_params p = xrig_params(10);
	float other = 123.0f;
	struct model m;
	struct run t;

	(void)state;
	model_make(&m, VB_FORMAT_F32, 4, 200, 512, 0);
	run_open(&t, &m, 1, m.layers, &p);
	run_pass(&t);
	usleep(20000);	/* change times are as coarse as the kernel's tick */
	assert_int_equal(pwrite(m.fd, &other, 4, 4 * 100000), 4);
	assert_int_equal(xrun(&t.r, &t.s), -ESTALE);
	run_close(&t);
	model_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stream_runs_a_buffer_that_names_sixteen_times_the_tier),
		cmocka_unit_test(stream_output_does_not_depend_on_budget_policy_or_engine),
		cmocka_unit_test(stream_lays_the_chunks_of_a_panel_together),
		cmocka_unit_test(stream_counts_reads_when_they_begin),
		cmocka_unit_test(stream_works_at_both_ends_of_the_chunk_size),
		cmocka_unit_test(stream_reads_at_most_two_percent_above_the_optimum),
		cmocka_unit_test(stream_misses_are_those_of_its_policy),
		cmocka_unit_test(stream_of_many_queues_shares_a_small_tier),
		cmocka_unit_test(stream_of_many_queues_outlives_a_slow_spell),
		cmocka_unit_test(stream_is_counted_for_the_client_that_made_it),
		cmocka_unit_test(stream_of_files_writes_nothing_to_storage),
		cmocka_unit_test(stream_of_a_shortened_file_is_an_error),
		cmocka_unit_test(stream_of_a_changed_file_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

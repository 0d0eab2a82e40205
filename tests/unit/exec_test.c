// SPDX-License-Identifier: MIT
/*
 * The executor on the loopback, through the UAPI alone: products whose weights are
 * many times larger than the host tier, every policy, every engine, budgets that do
 * not suffice, storage that fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "exec/exec.h"

#define CHUNK	(64u << 10)

/* A device with its executor and one client. */
struct rig {
	struct vgpu_loop *loop;
	struct vgpu_exec *exec;
	struct vgpu_uapi *client;
	uint32_t queue;
	char text[256];
};

static bool serve(void *arg)
{
	return vgpu_exec_serve(arg);
}

static int rig_open(struct rig *rig, const struct vgpu_exec_params *p)
{
	struct vb_ioc_queue_create q = { .size = sizeof(q) };
	struct vgpu_uapi *node;
	int rc;

	memset(rig, 0, sizeof(*rig));
	assert_int_equal(vgpu_loop_create(p->chunk_bytes, &rig->loop), 0);
	assert_int_equal(vgpu_loop_open_exec(rig->loop, &node), 0);
	rc = vgpu_exec_open(node, p, rig->text, sizeof(rig->text), &rig->exec);
	if (rc) {
		vgpu_loop_put(rig->loop);
		return rc;
	}
	vgpu_loop_set_server(rig->loop, serve, rig->exec);
	assert_int_equal(vgpu_loop_open_client(rig->loop, &rig->client), 0);
	assert_int_equal(vgpu_uapi_call(rig->client, VB_IOC_QUEUE_CREATE, &q), 0);
	rig->queue = q.out_queue_id;
	return 0;
}

static void rig_close(struct rig *rig)
{
	rig->client->ops->close(rig->client);
	vgpu_loop_set_server(rig->loop, NULL, NULL);
	vgpu_loop_shutdown(rig->loop);
	vgpu_exec_close(rig->exec);
	vgpu_loop_put(rig->loop);
}

static uint32_t bo_anonymous(struct rig *rig, uint64_t bytes)
{
	struct vb_ioc_bo_create c = { .size = sizeof(c), .kind = VB_BO_ANONYMOUS, .fd = -1,
				      .bytes = bytes };

	assert_int_equal(vgpu_uapi_call(rig->client, VB_IOC_BO_CREATE, &c), 0);
	return c.out_bo_id;
}

static uint32_t bo_file(struct rig *rig, int fd, uint64_t offset, uint64_t bytes)
{
	struct vb_ioc_bo_create c = { .size = sizeof(c), .kind = VB_BO_FILE, .fd = fd,
				      .bytes = bytes, .file_offset = offset };

	assert_int_equal(vgpu_uapi_call(rig->client, VB_IOC_BO_CREATE, &c), 0);
	return c.out_bo_id;
}

static int bo_rw(struct rig *rig, unsigned long request, uint32_t bo, uint64_t offset, void *p,
		 uint64_t bytes)
{
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bo_id = bo, .offset = offset,
				   .bytes = bytes, .address = (uintptr_t)p };

	return vgpu_uapi_call(rig->client, request, &rw);
}

static void counters(struct rig *rig, uint64_t *out)
{
	struct vb_ioc_stats s = { .size = sizeof(s), .count = VB_COUNT_COUNT,
				  .address = (uintptr_t)out };

	assert_int_equal(vgpu_uapi_call(rig->client, VB_IOC_STATS, &s), 0);
}

/* A stream under construction. */
struct stream {
	uint64_t words[8192];
	struct vb_bo_ref refs[64];
	uint32_t ref_count;
};

static void stream_begin(struct stream *s)
{
	struct vb_stream_header h = { .magic = VB_STREAM_MAGIC, .version = VB_STREAM_VERSION,
				      .bytes = sizeof(h) };

	memset(s, 0, sizeof(*s));
	memcpy(s->words, &h, sizeof(h));
}

static void stream_add(struct stream *s, const void *cmd, uint32_t bytes)
{
	struct vb_stream_header *h = (void *)s->words;

	assert_true(h->bytes + bytes <= sizeof(s->words));
	memcpy((uint8_t *)s->words + h->bytes, cmd, bytes);
	h->bytes += bytes;
	h->commands++;
}

static uint32_t stream_ref(struct stream *s, uint32_t bo, uint32_t access)
{
	for (uint32_t i = 0; i < s->ref_count; i++) {
		if (s->refs[i].bo_id == bo) {
			s->refs[i].access |= access;
			return i;
		}
	}
	s->refs[s->ref_count] = (struct vb_bo_ref){ bo, access };
	return s->ref_count++;
}

static struct vb_operand matrix(uint32_t bo, uint64_t offset, uint16_t format, uint32_t rows,
				uint32_t cols)
{
	return (struct vb_operand){ .bo = bo, .format = format, .rank = 2, .offset = offset,
				    .shape = { rows, cols } };
}

static int submit(struct rig *rig, struct stream *s, uint32_t flags, uint64_t *seqno)
{
	const struct vb_stream_header *h = (const void *)s->words;
	struct vb_ioc_submit req = {
		.size = sizeof(req), .queue_id = rig->queue, .flags = flags,
		.stream_bytes = h->bytes, .stream_address = (uintptr_t)s->words,
		.bos_address = (uintptr_t)s->refs, .bo_count = s->ref_count,
	};
	int rc = vgpu_uapi_call(rig->client, VB_IOC_SUBMIT, &req);

	*seqno = req.out_seqno;
	return rc;
}

static int wait_for(struct rig *rig, uint64_t seqno, uint32_t *bad)
{
	struct timespec t;
	struct vb_ioc_wait w = { .size = sizeof(w), .queue_id = rig->queue, .seqno = seqno };

	clock_gettime(CLOCK_MONOTONIC, &t);
	w.timeout_ns = ((uint64_t)t.tv_sec + 60) * 1000000000u;
	assert_int_equal(vgpu_uapi_call(rig->client, VB_IOC_WAIT, &w), 0);
	if (bad)
		*bad = w.out_bad_command;
	return w.out_status;
}

static int run(struct rig *rig, struct stream *s)
{
	uint64_t seqno;
	int rc = submit(rig, s, 0, &seqno);

	return rc ? rc : wait_for(rig, seqno, NULL);
}

/* ------------------------------------------------------------------------
 * A checkpoint on disk: L matrices [n][k] of f32 behind each other, unaligned
 */

struct weights {
	char path[64];
	int fd;
	uint32_t layers, n, k;
	uint64_t start;
	float *values;
};

static float value_at(uint64_t i)
{
	uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ull;
	return (float)((int32_t)(x >> 40) - (1 << 23)) / (float)(1 << 23);
}

static void weights_make(struct weights *w, uint32_t layers, uint32_t n, uint32_t k,
			 uint64_t start)
{
	size_t count = (size_t)layers * n * k;

	w->layers = layers;
	w->n = n;
	w->k = k;
	w->start = start;
	w->values = malloc(count * sizeof(float));
	for (size_t i = 0; i < count; i++)
		w->values[i] = value_at(i);
	strcpy(w->path, "/var/tmp/vgpu-exec-XXXXXX");
	w->fd = mkstemp(w->path);
	assert_true(w->fd >= 0);
	assert_int_equal(pwrite(w->fd, w->values, count * 4, (off_t)start), (ssize_t)(count * 4));
	fsync(w->fd);
}

static void weights_free(struct weights *w)
{
	close(w->fd);
	unlink(w->path);
	free(w->values);
}

static uint64_t weights_bytes(const struct weights *w)
{
	return (uint64_t)w->layers * w->n * w->k * 4;
}

/* y_l = x W_l^T for every layer in one command buffer. */
static void stream_of_layers(struct stream *s, const struct weights *w, uint32_t file, uint32_t x,
			     uint32_t y, uint32_t m)
{
	stream_begin(s);
	for (uint32_t l = 0; l < w->layers; l++) {
		struct vb_cmd_matmul c = {
			.h = { VB_CMD_MATMUL, 0, sizeof(c) },
			.x = matrix(stream_ref(s, x, VB_ACCESS_READ), 0, VB_FORMAT_F32, m, w->k),
			.w = matrix(stream_ref(s, file, VB_ACCESS_READ),
				    (uint64_t)l * w->n * w->k * 4, VB_FORMAT_F32, w->n, w->k),
			.y = matrix(stream_ref(s, y, VB_ACCESS_WRITE), (uint64_t)l * m * w->n * 4,
				    VB_FORMAT_F32, m, w->n),
		};

		stream_add(s, &c, sizeof(c));
	}
}

static double worst_error(const struct weights *w, const float *x, const float *y, uint32_t m)
{
	double worst = 0;

	for (uint32_t l = 0; l < w->layers; l++) {
		for (uint32_t i = 0; i < m; i++) {
			for (uint32_t r = 0; r < w->n; r++) {
				const float *row = w->values + ((size_t)l * w->n + r) * w->k;
				double sum = 0, size = 0, got;

				for (uint32_t j = 0; j < w->k; j++) {
					sum += (double)row[j] * x[i * w->k + j];
					size += fabs((double)row[j] * x[i * w->k + j]);
				}
				got = y[((size_t)l * m + i) * w->n + r];
				worst = fmax(worst, fabs(got - sum) / size);
			}
		}
	}
	return worst;
}

static void fill_x(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = value_at(i + 77777);
}

/* Run all layers with a host tier of @slots chunks; returns y. */
static float *run_layers(const struct weights *w, uint32_t m, struct vgpu_exec_params p,
			 uint64_t *count)
{
	struct rig rig;
	struct stream s;
	size_t xn = (size_t)m * w->k, yn = (size_t)w->layers * m * w->n;
	float *x = malloc(xn * 4), *y = malloc(yn * 4);
	uint32_t file, bx, by;

	fill_x(x, xn);
	assert_int_equal(rig_open(&rig, &p), 0);
	file = bo_file(&rig, w->fd, w->start, weights_bytes(w));
	bx = bo_anonymous(&rig, xn * 4);
	by = bo_anonymous(&rig, yn * 4);
	assert_int_equal(bo_rw(&rig, VB_IOC_BO_WRITE, bx, 0, x, xn * 4), 0);
	stream_of_layers(&s, w, file, bx, by, m);
	assert_int_equal(run(&rig, &s), 0);
	assert_int_equal(run(&rig, &s), 0);
	assert_int_equal(bo_rw(&rig, VB_IOC_BO_READ, by, 0, y, yn * 4), 0);
	counters(&rig, count);
	rig_close(&rig);
	free(x);
	return y;
}

static struct vgpu_exec_params budget(uint32_t slots)
{
	return (struct vgpu_exec_params){ .chunk_bytes = CHUNK, .threads = 2,
					  .host_bytes = (uint64_t)slots * CHUNK };
}

static void exec_runs_a_buffer_that_names_sixteen_times_the_tier(void **state)
{
	struct weights w;
	uint64_t count[VB_COUNT_COUNT];
	float *x = malloc(3 * 1000 * 4), *y;

	(void)state;
	weights_make(&w, 8, 250, 1000, 1234);	/* 8 MB, rows across chunks */
	fill_x(x, 3 * 1000);
	y = run_layers(&w, 3, budget(9), count);
	assert_true(weights_bytes(&w) > 13ull * 9 * CHUNK);
	assert_true(worst_error(&w, x, y, 3) < 1.0 / (1 << 18));
	assert_int_equal(count[VB_COUNT_WRITE_BYTES], 0);
	assert_true(count[VB_COUNT_READ_BYTES] >= 2 * weights_bytes(&w) * 9 / 10);
	free(x);
	free(y);
	weights_free(&w);
}

static void exec_output_does_not_depend_on_the_budget_or_policy(void **state)
{
	static const char *const policies[] = { "schedule", "replay", "freq", "lru" };
	static const uint32_t slots[] = { 12, 31, 64, 400 };
	struct weights w;
	uint64_t count[VB_COUNT_COUNT];
	float *first = NULL;
	size_t bytes;

	(void)state;
	weights_make(&w, 4, 240, 992, 40);
	bytes = (size_t)w.layers * 5 * w.n * 4;
	for (uint32_t i = 0; i < 4; i++) {
		for (uint32_t j = 0; j < 4; j++) {
			struct vgpu_exec_params p = budget(slots[j]);
			float *y;

			p.policy = policies[i];
			y = run_layers(&w, 5, p, count);
			if (first)
				assert_memory_equal(first, y, bytes);
			else
				first = y;
			if (first != y)
				free(y);
			/* Everything fits: each byte is read once. */
			if (slots[j] == 400)
				assert_true(count[VB_COUNT_READ_BYTES] <= weights_bytes(&w) + 4096);
		}
	}
	free(first);
	weights_free(&w);
}

static void exec_every_engine_brings_the_same_bytes(void **state)
{
	static const char *const engines[] = { "auto", "threads", "buffered" };
	struct weights w;
	uint64_t count[VB_COUNT_COUNT];
	float *x = malloc(2 * 512 * 4);

	(void)state;
	weights_make(&w, 4, 200, 512, 4096);
	fill_x(x, 2 * 512);
	for (uint32_t i = 0; i < 3; i++) {
		struct vgpu_exec_params p = budget(10);
		float *y;

		p.io_engine = engines[i];
		y = run_layers(&w, 2, p, count);
		assert_true(worst_error(&w, x, y, 2) < 1.0 / (1 << 18));
		free(y);
	}
	free(x);
	weights_free(&w);
}

static void exec_refuses_a_host_tier_below_two_panels(void **state)
{
	struct vgpu_exec_params p = budget(6);
	struct rig rig;

	(void)state;
	assert_int_equal(rig_open(&rig, &p), -EINVAL);
	assert_non_null(strstr(rig.text, "host_bytes is 393216"));
	assert_non_null(strstr(rig.text, "458752"));
	p = budget(7);
	assert_int_equal(rig_open(&rig, &p), 0);
	rig_close(&rig);
}

static void exec_writes_anonymous_chunks_out_and_brings_them_back(void **state)
{
	struct vgpu_exec_params p = budget(10);
	uint64_t count[VB_COUNT_COUNT], bytes = 24 * CHUNK;
	uint32_t *a = malloc(bytes), *b = malloc(bytes);
	char path[64];
	struct rig rig;
	uint32_t bo;

	(void)state;
	snprintf(path, sizeof(path), "/var/tmp/vgpu-arena-%d", getpid());
	p.nvme_path = path;
	p.nvme_bytes = 32 * CHUNK;
	assert_int_equal(rig_open(&rig, &p), 0);
	bo = bo_anonymous(&rig, bytes);
	for (uint32_t i = 0; i < bytes / 4; i++)
		a[i] = i * 2654435761u;
	assert_int_equal(bo_rw(&rig, VB_IOC_BO_WRITE, bo, 0, a, bytes), 0);
	assert_int_equal(bo_rw(&rig, VB_IOC_BO_READ, bo, 0, b, bytes), 0);
	assert_memory_equal(a, b, bytes);
	counters(&rig, count);
	assert_true(count[VB_COUNT_WRITE_BYTES] >= 14 * CHUNK);
	rig_close(&rig);
	assert_int_equal(access(path, F_OK), -1);
	free(a);
	free(b);
}

static void exec_shortened_file_is_an_error_not_wrong_numbers(void **state)
{
	struct vgpu_exec_params p = budget(10);
	struct weights w;
	struct stream s;
	struct rig rig;
	uint32_t file, x, y;
	int rc;

	(void)state;
	weights_make(&w, 4, 200, 512, 0);
	assert_int_equal(rig_open(&rig, &p), 0);
	file = bo_file(&rig, w.fd, 0, weights_bytes(&w));
	x = bo_anonymous(&rig, 512 * 4);
	y = bo_anonymous(&rig, 4 * 200 * 4);
	stream_of_layers(&s, &w, file, x, y, 1);
	assert_int_equal(run(&rig, &s), 0);
	assert_int_equal(ftruncate(w.fd, (off_t)weights_bytes(&w) / 2), 0);
	rc = run(&rig, &s);
	assert_int_equal(rc, -ESTALE);
	rig_close(&rig);
	weights_free(&w);
}

static void exec_changed_file_is_an_error_not_wrong_numbers(void **state)
{
	struct vgpu_exec_params p = budget(10);
	struct weights w;
	struct stream s;
	struct rig rig;
	uint32_t file, x, y;
	float other = 123.0f;

	(void)state;
	weights_make(&w, 4, 200, 512, 0);
	assert_int_equal(rig_open(&rig, &p), 0);
	file = bo_file(&rig, w.fd, 0, weights_bytes(&w));
	x = bo_anonymous(&rig, 512 * 4);
	y = bo_anonymous(&rig, 4 * 200 * 4);
	stream_of_layers(&s, &w, file, x, y, 1);
	assert_int_equal(run(&rig, &s), 0);
	assert_int_equal(pwrite(w.fd, &other, 4, 4 * 100000), 4);
	assert_int_equal(run(&rig, &s), -ESTALE);
	rig_close(&rig);
	weights_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exec_runs_a_buffer_that_names_sixteen_times_the_tier),
		cmocka_unit_test(exec_output_does_not_depend_on_the_budget_or_policy),
		cmocka_unit_test(exec_every_engine_brings_the_same_bytes),
		cmocka_unit_test(exec_refuses_a_host_tier_below_two_panels),
		cmocka_unit_test(exec_writes_anonymous_chunks_out_and_brings_them_back),
		cmocka_unit_test(exec_shortened_file_is_an_error_not_wrong_numbers),
		cmocka_unit_test(exec_changed_file_is_an_error_not_wrong_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

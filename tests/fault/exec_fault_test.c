// SPDX-License-Identifier: MIT
/*
 * The executor on storage that fails: an error or right numbers, never wrong ones,
 * nobody hangs, and nothing is left behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "common/rights.h"
#include "exec/executor.h"

/* Matrices [N][K] of F32 behind each other, unaligned, so that panels share chunks. */
#define LAYERS	6u
#define N	200u
#define K	500u
#define START	1236u
#define BYTES	((uint64_t)LAYERS * N * K * 4)

struct model {
	struct xrig r;
	float *w, *x;
	int fd;
	uint32_t file, bx, by;
	struct xstream s;
};

static void model_open(struct model *m, const struct vgpu_exec_params *p)
{
	m->w = xvalues(BYTES / 4, 1);
	m->x = xvalues(K, 2);
	m->fd = xfile(m->w, BYTES, START);
	xrig_start(&m->r, p);
	m->file = xrig_file(&m->r, m->fd, START, BYTES);
	m->bx = xrig_anonymous(&m->r, K * 4);
	m->by = xrig_anonymous(&m->r, LAYERS * N * 4);
	assert_int_equal(xrig_write(&m->r, m->bx, 0, m->x, K * 4), 0);
	xstream_begin(&m->s);
	for (uint32_t l = 0; l < LAYERS; l++) {
		struct vb_cmd_matmul c = {
			.h = { VB_CMD_MATMUL, 0, sizeof(c) },
			.x = xmatrix(&m->s, m->bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, K),
			.w = xmatrix(&m->s, m->file, VB_ACCESS_READ, (uint64_t)l * N * K * 4,
				     VB_FORMAT_F32, N, K),
			.y = xmatrix(&m->s, m->by, VB_ACCESS_WRITE, l * N * 4, VB_FORMAT_F32, 1, N),
		};

		xstream_add(&m->s, &c, sizeof(c));
	}
}

static void model_close(struct model *m)
{
	xrig_close(&m->r);
	close(m->fd);
	free(m->w);
	free(m->x);
}

static void model_expect_right(struct model *m)
{
	float y[LAYERS * N];

	assert_int_equal(xrig_read(&m->r, m->by, 0, y, sizeof(y)), 0);
	for (uint32_t i = 0; i < LAYERS * N; i++) {
		double size, want = xdot(m->x, m->w + (size_t)i * K, K, &size);

		if (fabs(y[i] - want) > size / (1 << 18))
			fail_msg("y[%u] is %g, want %g", i, (double)y[i], want);
	}
}

static void fault_add(void *arg, struct vgpu_io *io)
{
	assert_int_equal(vgpu_io_test_add(io, arg), 0);
}

static void fault_clear(void *arg, struct vgpu_io *io)
{
	(void)arg;
	vgpu_io_test_clear(io);
	vgpu_io_test_reorder(io, 0);
}

static void fault_reorder(void *arg, struct vgpu_io *io)
{
	vgpu_io_test_reorder(io, *(uint32_t *)arg);
}

static void fault_release(void *arg, struct vgpu_io *io)
{
	(void)arg;
	vgpu_io_test_release(io);
}

static void inject(struct model *m, struct vgpu_io_fault f)
{
	vgpu_exec_with_io(m->r.exec, fault_add, &f);
}

static void calm(struct model *m)
{
	vgpu_exec_with_io(m->r.exec, fault_clear, NULL);
}

static struct vgpu_exec_params params(uint32_t slots)
{
	struct vgpu_exec_params p = xrig_params(slots);

	p.io_engine = "test";
	return p;
}

/* ------------------------------------------------------------------------ */

static void fault_read_errors_end_the_command_or_leave_it_right(void **state)
{
	struct vgpu_exec_params p = params(12);
	uint32_t failed = 0, fine = 0;
	struct model m;

	(void)state;
	model_open(&m, &p);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO, .one_in = 16 });
	/* As a disk says of a sector that it cannot read. */
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -ENODATA,
					   .one_in = 16 });
	for (uint32_t i = 0; i < 60; i++) {
		int rc = xrun(&m.r, &m.s);

		assert_true(!rc || rc == -EIO);
		if (rc) {
			failed++;
			assert_non_null(strstr(xrig_error(&m.r), "object"));
		} else {
			fine++;
			model_expect_right(&m);
		}
		xrig_assert_sound(&m.r);
	}
	assert_true(failed && fine);
	calm(&m);
	xrig_must_run(&m.r, &m.s);
	model_expect_right(&m);
	model_close(&m);
}

/* A chunk that failed keeps its place until nobody looks at it: no panel sees another's. */
static void fault_read_errors_on_the_smallest_tiers(void **state)
{
	(void)state;
	for (uint32_t slots = 8; slots < 11; slots++) {
		struct vgpu_exec_params p = params(slots);
		struct model m;

		model_open(&m, &p);
		inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 200000,
						   .one_in = 2 });
		inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO,
						   .one_in = 3 });
		for (uint32_t i = 0; i < 100; i++) {
			int rc = xrun(&m.r, &m.s);

			assert_true(!rc || rc == -EIO);
			if (!rc)
				model_expect_right(&m);
			xrig_assert_sound(&m.r);
		}
		model_close(&m);
	}
}

static int limit_host(struct model *m, uint64_t bytes)
{
	struct vb_ioc_limit l = { .size = sizeof(l), .limit = VB_LIMIT_HOST_MAX,
				  .flags = VB_LIMIT_SET, .value = bytes };

	return vgpu_uapi_call(m->r.client, VB_IOC_LIMIT, &l);
}

/*
 * A client that may have three chunks: two are operands, and the panel's first chunk
 * does not come.  Were its slot given back while the panel looks at it, the second
 * chunk would be read into it, and the product be made of that one alone.
 */
static void fault_slot_of_a_chunk_that_failed_is_nobody_elses_yet(void **state)
{
	struct vgpu_exec_params p = params(12);
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) } };
	const uint32_t rows = 30, first = 20;
	float y[30];
	struct model m;
	int rc;

	(void)state;
	model_open(&m, &p);
	xstream_begin(&m.s);
	c.x = xmatrix(&m.s, m.bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, K);
	c.w = xmatrix(&m.s, m.file, VB_ACCESS_READ, first * K * 4, VB_FORMAT_F32, rows, K);
	c.y = xmatrix(&m.s, m.by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1, rows);
	xstream_add(&m.s, &c, sizeof(c));
	assert_true(START + first * K * 4 < XCHUNK && START + (first + rows) * K * 4 > XCHUNK);
	assert_int_equal(limit_host(&m, 3 * XCHUNK), 0);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO,
					   .last = XCHUNK - 1 });
	rc = xrun(&m.r, &m.s);
	if (rc != -EIO && rc != -EDQUOT)
		fail_msg("%d", rc);
	xrig_assert_sound(&m.r);
	calm(&m);
	assert_int_equal(limit_host(&m, 8 * XCHUNK), 0);
	xrig_must_run(&m.r, &m.s);
	assert_int_equal(xrig_read(&m.r, m.by, 0, y, sizeof(y)), 0);
	for (uint32_t i = 0; i < rows; i++) {
		double size, want = xdot(m.x, m.w + (size_t)(first + i) * K, K, &size);

		assert_true(fabs(y[i] - want) <= size / (1 << 18));
	}
	model_close(&m);
}

static void fault_short_late_and_reordered_reads_change_nothing(void **state)
{
	struct vgpu_exec_params p = params(14);
	uint32_t window = 5;
	struct model m;

	(void)state;
	model_open(&m, &p);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 12288, .one_in = 3 });
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 2000000,
					   .one_in = 5 });
	vgpu_exec_with_io(m.r.exec, fault_reorder, &window);
	for (uint32_t i = 0; i < 5; i++) {
		xrig_must_run(&m.r, &m.s);
		model_expect_right(&m);
	}
	calm(&m);
	model_close(&m);
}

/* The first reading is believed and recorded; a later one that differs is not. */
static void fault_flipped_bit_of_a_file_is_noticed_when_read_again(void **state)
{
	struct vgpu_exec_params p = params(12);
	uint64_t count[VB_COUNT_COUNT];
	struct model m;

	(void)state;
	model_open(&m, &p);
	xrig_must_run(&m.r, &m.s);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_FLIP, .one_in = 4 });
	for (uint32_t i = 0; i < 10; i++) {
		/* What was read ahead in vain is read again. */
		int rc = xrun(&m.r, &m.s);

		assert_true(!rc || rc == -ESTALE);
		if (!rc)
			model_expect_right(&m);
	}
	xrig_counters(&m.r, count);
	assert_true(count[VB_COUNT_CRC_ERRORS] > 10);
	calm(&m);
	xrig_must_run(&m.r, &m.s);
	model_expect_right(&m);
	model_close(&m);
}

/* Its checksum was computed after the client had it. */
static void fault_flipped_bit_of_what_a_client_read_first_is_noticed(void **state)
{
	struct vgpu_exec_params p = params(12);
	char first[16], byte;
	struct model m;

	(void)state;
	model_open(&m, &p);
	assert_int_equal(xrig_read(&m.r, m.file, 0, first, sizeof(first)), 0);
	assert_memory_equal(first, m.w, sizeof(first));
	assert_int_equal(xrig_advise(&m.r, m.file, VB_ADVISE_EVICT, 0, XCHUNK), 0);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_FLIP });
	assert_int_equal(xrig_read(&m.r, m.file, 0, &byte, 1), -ESTALE);
	calm(&m);
	assert_int_equal(xrig_read(&m.r, m.file, 0, first, sizeof(first)), 0);
	assert_memory_equal(first, m.w, sizeof(first));
	model_close(&m);
}

static void arena(struct vgpu_exec_params *p, char *path, size_t len, uint32_t slots)
{
	snprintf(path, len, "/var/tmp/vgpu-arena-%d", getpid());
	p->nvme_path = path;
	p->nvme_bytes = (uint64_t)slots * p->chunk_bytes;
}

static void fault_flipped_bit_of_the_arena_is_eio(void **state)
{
	struct vgpu_exec_params p = params(10);
	uint64_t bytes = 24 * XCHUNK;
	char path[64], *a = xalloc(bytes), *b = xalloc(bytes);
	struct vgpu_io_fault flip = { .kind = VGPU_IO_FAULT_FLIP, .count = 1 };
	struct xrig r;
	uint32_t bo;

	(void)state;
	arena(&p, path, sizeof(path), 32);
	xrig_start(&r, &p);
	bo = xrig_anonymous(&r, bytes);
	for (uint64_t i = 0; i < bytes; i++)
		a[i] = (char)(i * 7 + (i >> 13));
	assert_int_equal(xrig_write(&r, bo, 0, a, bytes), 0);
	vgpu_exec_with_io(r.exec, fault_add, &flip);
	assert_int_equal(xrig_read(&r, bo, 0, b, bytes), -EIO);
	/* The arena itself is well. */
	assert_int_equal(xrig_read(&r, bo, 0, b, bytes), 0);
	assert_memory_equal(a, b, bytes);
	xrig_close(&r);
	free(a);
	free(b);
}

static void fault_writes_that_fail_lose_nothing(void **state)
{
	static const int errors[] = { -ENOSPC, -EIO };
	uint64_t bytes = 30 * XCHUNK;
	char *a = xalloc(bytes), *b = xalloc(bytes);

	(void)state;
	for (uint64_t i = 0; i < bytes; i++)
		a[i] = (char)(i * 5 + (i >> 12));
	for (uint32_t e = 0; e < 2; e++) {
		struct vgpu_exec_params p = params(12);
		struct vgpu_io_fault fault = { .kind = VGPU_IO_FAULT_ERROR, .error = errors[e],
					       .writes = true, .one_in = 3 };
		char path[64];
		struct xrig r;
		uint32_t bo;
		int rc;

		arena(&p, path, sizeof(path), 40);
		xrig_start(&r, &p);
		bo = xrig_anonymous(&r, bytes);
		vgpu_exec_with_io(r.exec, fault_add, &fault);
		for (uint32_t i = 0; i < 30; i++) {
			rc = xrig_write(&r, bo, (uint64_t)i * XCHUNK, a + i * XCHUNK, XCHUNK);
			if (rc)
				fail_msg("write of chunk %u: %d", i, rc);
			xrig_assert_sound(&r);
		}
		assert_int_equal(xrig_read(&r, bo, 0, b, bytes), 0);
		assert_memory_equal(a, b, bytes);
		xrig_close(&r);
	}
	free(a);
	free(b);
}

/* The highest slots are taken first: they are the ones that storage refuses, for good. */
static void fault_slots_that_cannot_be_written_are_not_tried_again(void **state)
{
	const uint32_t slots = 40, bad = 6, count = 30;
	const uint64_t bytes = count * XCHUNK, end = (64 << 10) + (uint64_t)slots * XCHUNK;
	struct vgpu_io_fault fault = { .kind = VGPU_IO_FAULT_ERROR, .error = -ENODATA,
				       .writes = true, .first = end - bad * XCHUNK,
				       .last = end - 1 };
	struct vgpu_exec_params p = params(12);
	char path[64], *a = xalloc(bytes), *b = xalloc(bytes);
	uint64_t counts[VB_COUNT_COUNT];
	struct xrig r;
	uint32_t bo;

	(void)state;
	arena(&p, path, sizeof(path), slots);
	xrig_start(&r, &p);
	bo = xrig_anonymous(&r, bytes);
	for (uint64_t i = 0; i < bytes; i++)
		a[i] = (char)(i * 3 + (i >> 12));
	vgpu_exec_with_io(r.exec, fault_add, &fault);
	for (uint32_t round = 0; round < 3; round++) {
		assert_int_equal(xrig_write(&r, bo, 0, a, bytes), 0);
		assert_int_equal(xrig_read(&r, bo, 0, b, bytes), 0);
		assert_memory_equal(a, b, bytes);
		xrig_assert_sound(&r);
	}
	xrig_counters(&r, counts);
	assert_int_equal(counts[VB_COUNT_IO_ERRORS], bad);
	xrig_close(&r);
	free(a);
	free(b);
}

/* Nothing can be written out: what fits in memory stays, the rest is refused. */
static void fault_no_write_succeeds_is_an_error_not_a_loop(void **state)
{
	struct vgpu_exec_params p = params(12);
	uint64_t bytes = 30 * XCHUNK;
	struct vgpu_io_fault fault = { .kind = VGPU_IO_FAULT_ERROR, .error = -ENOSPC,
				       .writes = true };
	char path[64], *a = xalloc(bytes), *b = xalloc(bytes);
	uint32_t bo, n = 0;
	struct xrig r;

	(void)state;
	arena(&p, path, sizeof(path), 40);
	xrig_start(&r, &p);
	bo = xrig_anonymous(&r, bytes);
	memset(a, 5, bytes);
	vgpu_exec_with_io(r.exec, fault_add, &fault);
	while (n < 30 && !xrig_write(&r, bo, (uint64_t)n * XCHUNK, a, XCHUNK))
		n++;
	assert_true(n >= 6 && n < 30);
	xrig_assert_sound(&r);
	assert_int_equal(xrig_read(&r, bo, 0, b, n * XCHUNK), 0);
	assert_memory_equal(a, b, n * XCHUNK);
	/* The disk has room again: everything goes on. */
	vgpu_exec_with_io(r.exec, fault_clear, NULL);
	assert_int_equal(xrig_write(&r, bo, 0, a, bytes), 0);
	assert_int_equal(xrig_read(&r, bo, 0, b, bytes), 0);
	assert_memory_equal(a, b, bytes);
	xrig_close(&r);
	free(a);
	free(b);
}

/* One transfer never ends: who needs it is told, all others go on, and it comes late. */
static void fault_storage_that_does_not_answer_stops_nobody_else(void **state)
{
	struct vgpu_exec_params p = params(14);
	uint64_t start = xrig_now();
	uint32_t other;
	float one = 1, got;
	struct model m;

	(void)state;
	p.io_timeout_ms = 300;
	model_open(&m, &p);
	other = xrig_anonymous(&m.r, 4);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .skip = 3, .count = 1 });
	assert_int_equal(xrun(&m.r, &m.s), -ETIMEDOUT);
	assert_non_null(strstr(xrig_error(&m.r), "storage does not answer"));
	xrig_assert_sound(&m.r);
	/* At once now, and so does a client that reads it. */
	assert_int_equal(xrun(&m.r, &m.s), -ETIMEDOUT);
	assert_int_equal(xrig_write(&m.r, other, 0, &one, 4), 0);
	assert_int_equal(xrig_read(&m.r, other, 0, &got, 4), 0);
	assert_true(xrig_now() - start < 20ull * 1000000000u);
	vgpu_exec_with_io(m.r.exec, fault_release, NULL);
	calm(&m);
	for (uint32_t i = 0; i < 100 && xrun(&m.r, &m.s); i++)
		usleep(10000);
	xrig_must_run(&m.r, &m.s);
	model_expect_right(&m);
	model_close(&m);
}

/* Submit the copy of one float. */
static void other_copies(struct vgpu_uapi *other, uint32_t bo, uint32_t to, uint32_t queue,
			 uint64_t *seqno)
{
	struct xstream s;

	xstream_begin(&s);
	struct vb_cmd_copy c = {
		.h = { VB_CMD_COPY, 0, sizeof(c) },
		.x = xvector(&s, bo, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1),
		.y = xvector(&s, to, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1),
	};
	xstream_add(&s, &c, sizeof(c));
	assert_int_equal(xsubmit(other, queue, &s, seqno), 0);
}

/* What another client does beside it, in milliseconds: a write, a command, a read. */
static uint64_t other_runs(struct vgpu_uapi *other, uint32_t bo, uint32_t to, uint32_t queue)
{
	uint64_t start = xrig_now(), seqno;
	float word = 3, got = 0;
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bo_id = bo, .bytes = 4,
				   .address = (uintptr_t)&word };

	assert_int_equal(vgpu_uapi_call(other, VB_IOC_BO_WRITE, &rw), 0);
	other_copies(other, bo, to, queue, &seqno);
	assert_int_equal(xwait(other, queue, seqno, NULL), 0);
	rw.bo_id = to;
	rw.address = (uintptr_t)&got;
	assert_int_equal(vgpu_uapi_call(other, VB_IOC_BO_READ, &rw), 0);
	assert_true(got == word);
	return (xrig_now() - start) / 1000000u;
}

static uint32_t other_object(struct vgpu_uapi *other, uint64_t bytes)
{
	struct vb_ioc_bo_create c = { .size = sizeof(c), .kind = VB_BO_ANONYMOUS, .fd = -1,
				      .life = VB_LIFE_VOLATILE, .bytes = bytes };

	assert_int_equal(vgpu_uapi_call(other, VB_IOC_BO_CREATE, &c), 0);
	return c.out_bo_id;
}

static uint32_t other_file(struct vgpu_uapi *other, int fd)
{
	struct vb_ioc_bo_create c = { .size = sizeof(c), .kind = VB_BO_FILE, .fd = fd,
				      .file_offset = START, .bytes = BYTES };

	assert_int_equal(vgpu_uapi_call(other, VB_IOC_BO_CREATE, &c), 0);
	return c.out_bo_id;
}

static void *read_last_chunk(void *arg)
{
	struct model *m = arg;
	char byte;

	return (void *)(intptr_t)xrig_read(&m->r, m->file, BYTES - 1, &byte, 1);
}

/*
 * A client's reads do not come, of a command and of a thread that reads: others go on, long
 * before storage's deadline, and so do these once they come.
 */
static void fault_file_that_is_silent_keeps_only_its_client_waiting(void **state)
{
	struct vgpu_exec_params p = params(20);
	struct vgpu_uapi *other;
	uint32_t bo, to, queue;
	uint64_t seqno, ms = 0;
	pthread_t reader;
	struct model m;
	void *rc;

	(void)state;
	p.io_timeout_ms = 100000;
	model_open(&m, &p);
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	bo = other_object(other, 4);
	to = other_object(other, 4);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER });
	assert_int_equal(xsubmit(m.r.client, m.r.queue, &m.s, &seqno), 0);
	assert_int_equal(pthread_create(&reader, NULL, read_last_chunk, &m), 0);
	for (uint32_t i = 0; i < 50; i++)
		ms += other_runs(other, bo, to, queue);
	assert_true(ms < 10000);
	xrig_assert_sound(&m.r);
	calm(&m);
	vgpu_exec_with_io(m.r.exec, fault_release, NULL);
	assert_int_equal(xwait(m.r.client, m.r.queue, seqno, NULL), 0);
	assert_int_equal(pthread_join(reader, &rc), 0);
	assert_int_equal((intptr_t)rc, 0);
	model_expect_right(&m);
	other->ops->close(other);
	model_close(&m);
}

/*
 * Another client computes, @count attentions over @n keys each, until @ms from now: far longer
 * than it has.
 */
static uint64_t other_computes(struct vgpu_uapi *other, uint32_t queue, uint32_t bo, uint32_t to,
			       uint32_t n, uint32_t count, uint32_t ms)
{
	struct xstream *s = xalloc(sizeof(*s));
	uint64_t seqno;

	xstream_begin(s);
	for (uint32_t i = 0; i < count; i++) {
		struct vb_cmd_attention c = { .h = { VB_CMD_ATTENTION, 0, sizeof(c) } };

		c.q = xcube(s, bo, VB_ACCESS_READ, 0, VB_FORMAT_F32, n, 1, 1);
		c.k = c.v = c.q;
		c.out = xcube(s, to, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, n, 1, 1);
		xstream_add(s, &c, sizeof(c));
	}
	s->deadline_ns = xrig_now() + ms * 1000000ull;
	s->flags = VB_SUBMIT_ASYNC;
	assert_int_equal(xsubmit(other, queue, s, &seqno), 0);
	free(s);
	return seqno;
}

/* In one piece: behind it comes more of the file. */
static void *read_first_chunk(void *arg)
{
	struct model *m = arg;
	char byte;

	return (void *)(intptr_t)xrig_read(&m->r, m->file, 0, &byte, 1);
}

/*
 * A read takes so long that its client is left waiting, and while another one computes it
 * comes: it is answered then, and not when that ends.
 */
static void read_is_answered_while(uint32_t keys, uint32_t count)
{
	/* Instrumented, the parts of a command take seconds. */
	enum { DELAY_MS = 1000, COMPUTE_MS = XSANITIZED ? 20000 : 5000, BEGUN_MS = 300 };
	struct vgpu_exec_params p = params(60);
	uint64_t start, ms, seqno;
	struct vgpu_uapi *other;
	uint32_t bo, to, queue;
	pthread_t reader;
	struct model m;
	void *rc;

	model_open(&m, &p);
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	bo = other_object(other, keys * 4);
	to = other_object(other, keys * 4);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY,
					   .delay_ns = DELAY_MS * 1000000ull });
	start = xrig_now();
	assert_int_equal(pthread_create(&reader, NULL, read_first_chunk, &m), 0);
	usleep(BEGUN_MS * 1000);
	seqno = other_computes(other, queue, bo, to, keys, count, COMPUTE_MS);
	assert_int_equal(pthread_join(reader, &rc), 0);
	ms = (xrig_now() - start) / 1000000u;
	assert_int_equal((intptr_t)rc, 0);
	assert_int_equal(xwait(other, queue, seqno, NULL), -ETIME);
	assert_in_range(ms, DELAY_MS, COMPUTE_MS / 2 + BEGUN_MS);
	calm(&m);
	other->ops->close(other);
	model_close(&m);
}

static void fault_read_is_answered_between_commands_of_another(void **state)
{
	(void)state;
	read_is_answered_while(1 << 14, 200);
}

static void fault_read_is_answered_amid_a_command_of_another(void **state)
{
	(void)state;
	read_is_answered_while(1 << 18, 1);
}

/* More queues than there are jobs that may run, of one client: another one is served beside them. */
static void fault_queues_of_one_client_keep_nobody_out(void **state)
{
	enum { QUEUES = 100, COMPUTE_MS = 6000 };
	struct vgpu_exec_params p = params(40);
	uint32_t greedy_bo, greedy_to, bo, to, queue, queues[QUEUES];
	struct vgpu_uapi *other, *greedy;
	uint64_t seqno[QUEUES];
	struct model m;

	(void)state;
	model_open(&m, &p);
	greedy = xrig_client(&m.r);
	greedy_bo = other_object(greedy, 4 << 10);
	greedy_to = other_object(greedy, 4 << 10);
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	bo = other_object(other, 4);
	to = other_object(other, 4);
	for (uint32_t i = 0; i < QUEUES; i++) {
		queues[i] = xrig_queue(greedy, 0);
		seqno[i] = other_computes(greedy, queues[i], greedy_bo, greedy_to, 1 << 10, 200,
					  COMPUTE_MS);
	}
	/* The executor has had the time to take all that it takes. */
	usleep(COMPUTE_MS * 1000 / 4);
	assert_in_range(other_runs(other, bo, to, queue), 0, COMPUTE_MS / 4);
	for (uint32_t i = 0; i < QUEUES; i++) {
		int rc = xwait(greedy, queues[i], seqno[i], NULL);

		assert_true(rc == -ETIME || (!rc && i + 1 < QUEUES));
	}
	greedy->ops->close(greedy);
	other->ops->close(other);
	model_close(&m);
}

/*
 * Far more clients than there are jobs that may run, each with one that waits for a silent
 * file: one more client is served, and all of them once the file answers.
 */
static void fault_jobs_that_wait_for_a_silent_file_keep_nobody_out(void **state)
{
	enum { CLIENTS = 300 };
	struct vgpu_exec_params p = params(3 * CLIENTS);
	struct vgpu_uapi *client[CLIENTS], *other;
	uint32_t bo, to, queue;
	uint32_t queues[CLIENTS];
	uint64_t seqno[CLIENTS];
	struct model m;

	(void)state;
	/* Not before the file is released: each of them is waited for a moment, on any machine. */
	p.io_timeout_ms = 24 * 3600 * 1000;
	model_open(&m, &p);
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	bo = other_object(other, 4);
	to = other_object(other, 4);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER });
	for (uint32_t i = 0; i < CLIENTS; i++) {
		client[i] = xrig_client(&m.r);
		queues[i] = xrig_queue(client[i], 0);
		other_copies(client[i], other_file(client[i], m.fd), other_object(client[i], 4),
			     queues[i], &seqno[i]);
	}
	for (uint32_t i = 0; i < 10; i++)
		other_runs(other, bo, to, queue);
	xrig_assert_sound(&m.r);
	calm(&m);
	vgpu_exec_with_io(m.r.exec, fault_release, NULL);
	for (uint32_t i = 0; i < CLIENTS; i++) {
		assert_int_equal(xwait(client[i], queues[i], seqno[i], NULL), 0);
		client[i]->ops->close(client[i]);
	}
	other_runs(other, bo, to, queue);
	other->ops->close(other);
	model_close(&m);
}

/* ---- files that trickle ---- */

enum { TRICKLE_CHUNKS = 33, TRICKLE_MS = 60, TRIES = 10 };

/*
 * Does something end before what it must not wait for?  Both are under way at once: where the
 * machine stood still for as long as they take, it is not known, and done again.
 */
static void must_end_first(bool (*ends_first)(void))
{
	for (uint32_t i = 0; i < TRIES; i++)
		if (ends_first())
			return;
	fail_msg("it was waited for, %u times", TRIES);
}

/* How many were read ahead: at least @least. */
static void await_prefetches(struct model *m, uint32_t least)
{
	uint64_t count[VB_COUNT_COUNT];

	xrig_counters(&m->r, count);
	for (uint32_t i = 0; i < 2000 && count[VB_COUNT_PREFETCHES] < least; i++) {
		usleep(1000);
		xrig_counters(&m->r, count);
	}
	assert_true(count[VB_COUNT_PREFETCHES] >= least);
}

/* A chunk comes every 60 ms, so that the file is never silent, but the last one never does. */
static void trickle_open(struct model *m)
{
	struct vgpu_exec_params p = params(80);

	p.staging_bytes = 40 * XCHUNK;
	model_open(m, &p);
	for (uint32_t i = 1; i < TRICKLE_CHUNKS; i++)
		inject(m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .count = 1,
						  .delay_ns = i * TRICKLE_MS * 1000000ull });
	inject(m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .count = 1 });
	assert_int_equal(xrig_advise(&m->r, m->file, VB_ADVISE_PREFETCH, 0,
				     TRICKLE_CHUNKS * XCHUNK), 0);
	await_prefetches(m, TRICKLE_CHUNKS);
}

static void trickle_close(struct model *m)
{
	calm(m);
	vgpu_exec_with_io(m->r.exec, fault_release, NULL);
	model_close(m);
}

static void io_stats(void *arg, struct vgpu_io *io)
{
	vgpu_io_stats_get(io, arg);
}

static struct vgpu_io_stats reads(struct model *m)
{
	struct vgpu_io_stats stats;

	vgpu_exec_with_io(m->r.exec, io_stats, &stats);
	return stats;
}

static bool trickle_outlasts_evicting_and_forgetting(void)
{
	struct model m;
	bool lasts;

	trickle_open(&m);
	assert_int_equal(xrig_advise(&m.r, m.file, VB_ADVISE_EVICT, 0, TRICKLE_CHUNKS * XCHUNK),
			 -EBUSY);
	assert_int_equal(xrig_destroy(&m.r, m.file), 0);
	assert_int_equal(xrig_write(&m.r, m.bx, 0, m.x, K * 4), 0);
	lasts = reads(&m).in_flight > 1;
	xrig_assert_sound(&m.r);
	trickle_close(&m);
	return lasts;
}

/* Neither to evict its object nor to forget it takes as long as all chunks do together. */
static void fault_file_that_trickles_is_not_waited_for(void **state)
{
	(void)state;
	must_end_first(trickle_outlasts_evicting_and_forgetting);
}

struct evicter {
	struct model *m;
	bool answered;
};

static void *evict_file(void *arg)
{
	struct evicter *e = arg;
	int rc = xrig_advise(&e->m->r, e->m->file, VB_ADVISE_EVICT, 0, TRICKLE_CHUNKS * XCHUNK);

	__atomic_store_n(&e->answered, true, __ATOMIC_RELEASE);
	return (void *)(intptr_t)rc;
}

static bool is_answered(const struct evicter *e)
{
	return __atomic_load_n(&e->answered, __ATOMIC_ACQUIRE);
}

struct eviction {
	const struct model *m;
	bool waits;
};

static void eviction_look(void *arg, struct vgpu_io *io)
{
	struct eviction *e = arg;

	(void)io;
	e->waits = e->m->r.exec->evicts;
}

static void await_eviction(const struct evicter *e)
{
	struct eviction look = { .m = e->m };

	while (!look.waits && !is_answered(e))
		vgpu_exec_with_io(e->m->r.exec, eviction_look, &look);
}

static bool others_end_before_eviction(void)
{
	struct evicter e = { 0 };
	uint32_t bo, to, queue;
	struct vgpu_uapi *other;
	pthread_t evicter;
	struct model m;
	uint64_t start;
	bool first;
	void *rc;

	trickle_open(&m);
	e.m = &m;
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	bo = other_object(other, 4);
	to = other_object(other, 4);
	start = xrig_now();
	assert_int_equal(pthread_create(&evicter, NULL, evict_file, &e), 0);
	await_eviction(&e);
	other_runs(other, bo, to, queue);
	first = !is_answered(&e);
	assert_int_equal(pthread_join(evicter, &rc), 0);
	assert_int_equal((intptr_t)rc, -EBUSY);
	/* Where nothing came for a while the file was silent, and it gave up earlier. */
	first = first && xrig_now() - start >= VGPU_EVICT_NS;
	other->ops->close(other);
	trickle_close(&m);
	return first;
}

/* Who evicts a file that trickles waits a second for it; nobody else does. */
static void fault_evicting_a_file_that_trickles_keeps_nobody_else_waiting(void **state)
{
	(void)state;
	must_end_first(others_end_before_eviction);
}

static bool read_of_another_ends_before_half_is_read_ahead(void)
{
	enum { CHUNKS = 130, DEPTH = 32, EACH_MS = 80 };
	const uint64_t far = 4096ull * XCHUNK, bytes = CHUNKS * XCHUNK;
	int fd = xfile("", 1, far + bytes - 1);
	struct vgpu_exec_params p = params(400);
	struct vgpu_uapi *other;
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bytes = 4 };
	uint32_t greedy, left;
	struct model m;
	float got;

	p.staging_bytes = 140 * XCHUNK;
	model_open(&m, &p);
	greedy = xrig_file(&m.r, fd, far, bytes);
	other = xrig_client(&m.r);
	rw.bo_id = other_file(other, m.fd);
	rw.address = (uintptr_t)&got;
	for (uint32_t i = 1; i <= DEPTH; i++)
		inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .first = far,
						   .count = i < DEPTH,
						   .delay_ns = i * EACH_MS * 1000000ull });
	assert_int_equal(xrig_advise(&m.r, greedy, VB_ADVISE_PREFETCH, 0, bytes), 0);
	await_prefetches(&m, CHUNKS);
	assert_int_equal(vgpu_uapi_call(other, VB_IOC_BO_READ, &rw), 0);
	left = reads(&m).queued;
	assert_true(got == m.w[0]);
	other->ops->close(other);
	trickle_close(&m);
	close(fd);
	return left >= (CHUNKS - DEPTH) / 2;
}

/* A client reads far ahead in a file that trickles: somebody else's read is the next that starts. */
static void fault_read_of_another_overtakes_what_is_read_ahead(void **state)
{
	(void)state;
	must_end_first(read_of_another_ends_before_half_is_read_ahead);
}

/*
 * A product whose matrices are chosen at run time comes back to its panel again and again,
 * and announces each chunk once: when it is done nobody wants them, though another command
 * still waits.
 */
static void fault_slow_experts_are_announced_once(void **state)
{
	struct vb_cmd_matmul_id c = { .h = { VB_CMD_MATMUL_ID, 0, sizeof(c) } };
	struct vgpu_exec_params p = params(40);
	int32_t ids[LAYERS];
	struct vgpu_uapi *other;
	uint32_t queue, bids;
	struct xstream s;
	struct model m;
	uint64_t seqno;

	(void)state;
	p.io_timeout_ms = 100000;
	model_open(&m, &p);
	bids = xrig_anonymous(&m.r, sizeof(ids));
	for (uint32_t l = 0; l < LAYERS; l++)
		ids[l] = (int32_t)l;
	xstream_begin(&s);
	c.x = xmatrix(&s, m.bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, K);
	c.w = xcube(&s, m.file, VB_ACCESS_READ, 0, VB_FORMAT_F32, LAYERS, N, K);
	c.ids = xmatrix(&s, bids, VB_ACCESS_READ, 0, VB_FORMAT_I32, 1, LAYERS);
	c.y = xcube(&s, m.by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1, LAYERS, N);
	xstream_add(&s, &c, sizeof(c));
	assert_int_equal(xrig_write(&m.r, bids, 0, ids, sizeof(ids)), 0);
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .count = 1 });
	other_copies(other, other_file(other, m.fd), other_object(other, 4), queue, &seqno);
	usleep(50000);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 150000000 });
	assert_int_equal(xrun(&m.r, &s), 0);
	/* What the other one waits for, and where it goes. */
	assert_in_range(m.r.exec->resid.wanted, 0, 2);
	calm(&m);
	vgpu_exec_with_io(m.r.exec, fault_release, NULL);
	assert_int_equal(xwait(other, queue, seqno, NULL), 0);
	model_expect_right(&m);
	other->ops->close(other);
	model_close(&m);
}

/* Each read takes longer than anybody waits at once; the tier cannot keep the model. */
static void fault_slow_file_gives_right_numbers(void **state)
{
	uint64_t begin[VB_COUNT_COUNT], slow[VB_COUNT_COUNT], prompt[VB_COUNT_COUNT];
	struct vgpu_exec_params p = params(14);
	struct model m;

	(void)state;
	model_open(&m, &p);
	xrig_counters(&m.r, begin);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 250000000 });
	xrig_must_run(&m.r, &m.s);
	calm(&m);
	model_expect_right(&m);
	/* A use that is tried again is the same use. */
	xrig_counters(&m.r, slow);
	xrig_must_run(&m.r, &m.s);
	xrig_counters(&m.r, prompt);
	assert_int_equal(prompt[VB_COUNT_ACCESSES] - slow[VB_COUNT_ACCESSES],
			 slow[VB_COUNT_ACCESSES] - begin[VB_COUNT_ACCESSES]);
	model_close(&m);
}

static void fault_object_of_a_lost_transfer_goes_when_it_came_back(void **state)
{
	struct vgpu_exec_params p = params(14);
	struct vb_ioc_query_tier tier = { .size = sizeof(tier) };
	struct model m;

	(void)state;
	p.io_timeout_ms = 300;
	model_open(&m, &p);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .skip = 3, .count = 1 });
	assert_int_equal(xrun(&m.r, &m.s), -ETIMEDOUT);
	assert_int_equal(xrig_destroy(&m.r, m.file), 0);
	xrig_assert_sound(&m.r);
	usleep(50000);
	assert_int_equal(vgpu_uapi_call(m.r.client, VB_IOC_QUERY_TIER, &tier), 0);
	assert_true(tier.out_used_bytes >= XCHUNK);
	vgpu_exec_with_io(m.r.exec, fault_release, NULL);
	assert_int_equal(xrig_destroy(&m.r, m.bx), 0);
	assert_int_equal(xrig_destroy(&m.r, m.by), 0);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(vgpu_uapi_call(m.r.client, VB_IOC_QUERY_TIER, &tier), 0);
		if (!tier.out_used_bytes)
			break;
		usleep(5000);
	}
	assert_int_equal(tier.out_used_bytes, 0);
	model_close(&m);
}

static void fault_closing_does_not_wait_for_a_lost_transfer(void **state)
{
	struct vgpu_exec_params p = params(14);
	uint64_t start = xrig_now();
	struct model m;

	(void)state;
	p.io_timeout_ms = 300;
	model_open(&m, &p);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .skip = 3, .count = 2 });
	assert_int_equal(xrun(&m.r, &m.s), -ETIMEDOUT);
	model_close(&m);
	assert_true(xrig_now() - start < 20ull * 1000000000u);
}

static void fault_write_that_never_ends_stops_nobody_else(void **state)
{
	struct vgpu_exec_params p = params(16);
	uint64_t bytes = 40 * XCHUNK;
	struct vgpu_io_fault never = { .kind = VGPU_IO_FAULT_NEVER, .writes = true, .count = 1 };
	char path[64], *a = xalloc(bytes), *b = xalloc(bytes);
	uint32_t bo, failed = 0;
	struct xrig r;

	(void)state;
	p.io_timeout_ms = 300;
	arena(&p, path, sizeof(path), 48);
	xrig_start(&r, &p);
	bo = xrig_anonymous(&r, bytes);
	memset(a, 9, bytes);
	vgpu_exec_with_io(r.exec, fault_add, &never);
	for (uint32_t i = 0; i < 40; i++)
		failed += xrig_write(&r, bo, (uint64_t)i * XCHUNK, a, XCHUNK) != 0;
	assert_true(failed <= 1);
	xrig_assert_sound(&r);
	vgpu_exec_with_io(r.exec, fault_release, NULL);
	usleep(300000);
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(xrig_write(&r, bo, (uint64_t)i * XCHUNK, a, XCHUNK), 0);
	assert_int_equal(xrig_read(&r, bo, 0, b, bytes), 0);
	assert_memory_equal(a, b, bytes);
	xrig_close(&r);
	free(a);
	free(b);
}

/* ------------------------------------------------------------------------
 * Ends that come early
 */

static void slow(struct model *m)
{
	inject(m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 5000000 });
}

static void fault_deadline_in_the_middle_of_a_command(void **state)
{
	struct vgpu_exec_params p = params(12);
	struct model m;

	(void)state;
	model_open(&m, &p);
	slow(&m);
	for (uint32_t ms = 1; ms < 40; ms += 7) {
		m.s.deadline_ns = xrig_now() + ms * 1000000ull;
		assert_int_equal(xrun(&m.r, &m.s), -ETIME);
		xrig_assert_sound(&m.r);
	}
	calm(&m);
	m.s.deadline_ns = 0;
	xrig_must_run(&m.r, &m.s);
	model_expect_right(&m);
	model_close(&m);
}

static void fault_queue_destroyed_in_the_middle_of_a_command(void **state)
{
	struct vgpu_exec_params p = params(12);
	struct model m;

	(void)state;
	model_open(&m, &p);
	slow(&m);
	m.s.flags = VB_SUBMIT_ASYNC;
	for (uint32_t ms = 0; ms < 20; ms += 4) {
		struct vb_ioc_queue_destroy d = { .size = sizeof(d) };
		uint64_t seqno;

		d.queue_id = xrig_queue(m.r.client, 0);
		assert_int_equal(xsubmit(m.r.client, d.queue_id, &m.s, &seqno), 0);
		usleep(ms * 1000);
		assert_int_equal(vgpu_uapi_call(m.r.client, VB_IOC_QUEUE_DESTROY, &d), 0);
		xrig_assert_sound(&m.r);
	}
	calm(&m);
	xrig_must_run(&m.r, &m.s);
	model_expect_right(&m);
	model_close(&m);
}

static void fault_client_closed_in_the_middle_of_a_command(void **state)
{
	struct vgpu_exec_params p = params(12);

	(void)state;
	for (uint32_t ms = 0; ms < 20; ms += 4) {
		struct vb_ioc_query_tier tier = { .size = sizeof(tier) };
		struct vgpu_uapi *other;
		uint64_t seqno;
		struct model m;

		model_open(&m, &p);
		slow(&m);
		m.s.flags = VB_SUBMIT_ASYNC;
		assert_int_equal(xsubmit(m.r.client, m.r.queue, &m.s, &seqno), 0);
		usleep(ms * 1000);
		other = xrig_client(&m.r);
		m.r.client->ops->close(m.r.client);
		m.r.client = other;
		/* Everything it had comes back. */
		for (uint32_t i = 0; i < 2000; i++) {
			assert_int_equal(vgpu_uapi_call(other, VB_IOC_QUERY_TIER, &tier), 0);
			if (!tier.out_used_bytes)
				break;
			usleep(1000);
		}
		assert_int_equal(tier.out_used_bytes, 0);
		model_close(&m);
	}
}

/* The executor leaves first: what was running ends, and nobody waits for ever. */
static void fault_executor_closed_in_the_middle_of_a_command(void **state)
{
	struct vgpu_exec_params p = params(12);

	(void)state;
	for (uint32_t ms = 0; ms < 20; ms += 4) {
		uint64_t seqno;
		struct model m;
		int rc;

		model_open(&m, &p);
		slow(&m);
		m.s.flags = VB_SUBMIT_ASYNC;
		assert_int_equal(xsubmit(m.r.client, m.r.queue, &m.s, &seqno), 0);
		usleep(ms * 1000);
		vgpu_loop_set_server(m.r.loop, NULL, NULL);
		vgpu_loop_shutdown(m.r.loop);
		vgpu_exec_close(m.r.exec);
		rc = xwait(m.r.client, m.r.queue, seqno, NULL);
		assert_true(rc == -ENODEV || rc == -ECANCELED || !rc);
		m.r.client->ops->close(m.r.client);
		vgpu_loop_put(m.r.loop);
		close(m.fd);
		free(m.w);
		free(m.x);
	}
}

/* Copies of a few elements of each chunk: a command waits for one read, others are under way. */
static void add_touches(struct model *m, struct xstream *s, uint32_t file, uint64_t at, uint64_t end)
{
	for (; at < end; at += XCHUNK) {
		struct vb_cmd_copy c = {
			.h = { VB_CMD_COPY, 0, sizeof(c) },
			.x = xvector(s, file, VB_ACCESS_READ, at, VB_FORMAT_F32, 16),
			.y = xvector(s, m->by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 16),
		};

		xstream_add(s, &c, sizeof(c));
	}
}

/*
 * A submission that failed has announced chunks that it will never use.  They make room
 * for what another one reads ahead, at once and not when both have ended.
 */
static void fault_failed_submission_takes_its_announcements_back(void **state)
{
	enum { PASSES = 6 };
	const uint64_t far = 256 * XCHUNK, bytes = 40 * XCHUNK;
	struct vgpu_exec_params p = params(12);
	uint64_t seqno[2], before[VB_COUNT_COUNT], after[VB_COUNT_COUNT];
	int fd = xfile("", 1, far + bytes - 1);
	struct xstream fails;
	uint32_t other, queue;
	struct model m;

	(void)state;
	p.policy = "lru";
	model_open(&m, &p);
	other = xrig_file(&m.r, fd, far, bytes);
	queue = xrig_queue(m.r.client, 0);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 50000000,
					   .first = far, .last = far + XCHUNK - 1 });
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO,
					   .first = far + XCHUNK, .last = far + 2 * XCHUNK - 1 });
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 1000000 });
	xstream_begin(&fails);
	add_touches(&m, &fails, other, 0, bytes);
	fails.flags = VB_SUBMIT_ASYNC;
	xstream_begin(&m.s);
	for (uint32_t i = 0; i < PASSES; i++)
		add_touches(&m, &m.s, m.file, 0, BYTES);
	m.s.flags = VB_SUBMIT_ASYNC;
	xrig_counters(&m.r, before);
	assert_int_equal(xsubmit(m.r.client, queue, &fails, &seqno[0]), 0);
	usleep(10000);
	assert_int_equal(xsubmit(m.r.client, m.r.queue, &m.s, &seqno[1]), 0);
	assert_int_equal(xwait(m.r.client, queue, seqno[0], NULL), -EIO);
	assert_int_equal(xwait(m.r.client, m.r.queue, seqno[1], NULL), 0);
	xrig_counters(&m.r, after);
	/* Some were used while the first one had the room; most must have been after it. */
	if (after[VB_COUNT_PREFETCH_USED] - before[VB_COUNT_PREFETCH_USED] < BYTES / XCHUNK)
		fail_msg("%llu chunks were read ahead",
			 (unsigned long long)(after[VB_COUNT_PREFETCH_USED] -
					      before[VB_COUNT_PREFETCH_USED]));
	model_close(&m);
	close(fd);
}

/*
 * Client and device are closed while page-ins run for a submission that nobody ends:
 * its objects go with the executor, and so do their moves (LeakSanitizer looks).
 */
static void fault_device_closed_with_page_ins_under_way(void **state)
{
	struct vgpu_exec_params p = params(12);

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		uint64_t seqno;
		struct model m;

		model_open(&m, &p);
		slow(&m);
		xstream_begin(&m.s);
		add_touches(&m, &m.s, m.file, 0, BYTES);
		m.s.flags = VB_SUBMIT_ASYNC;
		assert_int_equal(xsubmit(m.r.client, m.r.queue, &m.s, &seqno), 0);
		usleep(12000);
		xrig_free(&m.r);
		close(m.fd);
		free(m.w);
		free(m.x);
	}
}

/* ------------------------------------------------------------------------
 * What the system forbids
 */

static void in_child(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* Numbers must be right; @engine must be the one in use, and say @why. */
static void run_plainly(const char *engine, const char *why)
{
	struct vgpu_exec_params p = xrig_params(12);
	char text[512];
	struct model m;

	model_open(&m, &p);
	if (xrun(&m.r, &m.s))
		_exit(2);
	vgpu_exec_describe(m.r.exec, "io.engine", text, sizeof(text));
	if (engine && strcmp(text, engine))
		_exit(3);
	vgpu_exec_describe(m.r.exec, "io.reason", text, sizeof(text));
	if (why && !strstr(text, why))
		_exit(6);
	for (uint32_t i = 0; i < LAYERS * N; i++) {
		double size, want = xdot(m.x, m.w + (size_t)i * K, K, &size);
		float y;

		if (xrig_read(&m.r, m.by, i * 4, &y, 4) || fabs(y - want) > size / (1 << 18))
			_exit(4);
	}
	if (vgpu_exec_check(m.r.exec, text, sizeof(text)))
		_exit(5);
	xrig_free(&m.r);
}

static void without_uring(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (!ctx || seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0) ||
	    seccomp_load(ctx))
		_exit(1);
	run_plainly("threads", "seccomp");
}

static void fault_io_uring_forbidden_falls_back_to_threads(void **state)
{
	(void)state;
	in_child(without_uring);
}

/* Rings or only buffers may be refused, as the rings of others count too. */
static void with_little_memlock(void)
{
	struct rlimit limit = { 64 << 10, 64 << 10 };

	if (rights_drop_ipc_lock() || setrlimit(RLIMIT_MEMLOCK, &limit))
		_exit(1);
	run_plainly(NULL, "RLIMIT_MEMLOCK");
}

static void without_huge_pages(void)
{
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		_exit(1);
	run_plainly(NULL, NULL);
}

static void fault_huge_pages_are_not_needed(void **state)
{
	(void)state;
	in_child(without_huge_pages);
}

static void fault_memlock_of_64_kib_is_enough(void **state)
{
	(void)state;
	in_child(with_little_memlock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fault_io_uring_forbidden_falls_back_to_threads),
		cmocka_unit_test(fault_memlock_of_64_kib_is_enough),
		cmocka_unit_test(fault_huge_pages_are_not_needed),
		cmocka_unit_test(fault_read_errors_end_the_command_or_leave_it_right),
		cmocka_unit_test(fault_read_errors_on_the_smallest_tiers),
		cmocka_unit_test(fault_slot_of_a_chunk_that_failed_is_nobody_elses_yet),
		cmocka_unit_test(fault_short_late_and_reordered_reads_change_nothing),
		cmocka_unit_test(fault_flipped_bit_of_a_file_is_noticed_when_read_again),
		cmocka_unit_test(fault_flipped_bit_of_what_a_client_read_first_is_noticed),
		cmocka_unit_test(fault_flipped_bit_of_the_arena_is_eio),
		cmocka_unit_test(fault_writes_that_fail_lose_nothing),
		cmocka_unit_test(fault_slots_that_cannot_be_written_are_not_tried_again),
		cmocka_unit_test(fault_no_write_succeeds_is_an_error_not_a_loop),
		cmocka_unit_test(fault_storage_that_does_not_answer_stops_nobody_else),
		cmocka_unit_test(fault_file_that_is_silent_keeps_only_its_client_waiting),
		cmocka_unit_test(fault_read_is_answered_between_commands_of_another),
		cmocka_unit_test(fault_read_is_answered_amid_a_command_of_another),
		cmocka_unit_test(fault_queues_of_one_client_keep_nobody_out),
		cmocka_unit_test(fault_jobs_that_wait_for_a_silent_file_keep_nobody_out),
		cmocka_unit_test(fault_file_that_trickles_is_not_waited_for),
		cmocka_unit_test(fault_evicting_a_file_that_trickles_keeps_nobody_else_waiting),
		cmocka_unit_test(fault_read_of_another_overtakes_what_is_read_ahead),
		cmocka_unit_test(fault_slow_experts_are_announced_once),
		cmocka_unit_test(fault_slow_file_gives_right_numbers),
		cmocka_unit_test(fault_object_of_a_lost_transfer_goes_when_it_came_back),
		cmocka_unit_test(fault_closing_does_not_wait_for_a_lost_transfer),
		cmocka_unit_test(fault_write_that_never_ends_stops_nobody_else),
		cmocka_unit_test(fault_deadline_in_the_middle_of_a_command),
		cmocka_unit_test(fault_queue_destroyed_in_the_middle_of_a_command),
		cmocka_unit_test(fault_client_closed_in_the_middle_of_a_command),
		cmocka_unit_test(fault_executor_closed_in_the_middle_of_a_command),
		cmocka_unit_test(fault_device_closed_with_page_ins_under_way),
		cmocka_unit_test(fault_failed_submission_takes_its_announcements_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

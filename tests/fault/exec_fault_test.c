// SPDX-License-Identifier: MIT
/*
 * The executor on storage that fails: an error or right numbers, never wrong ones,
 * nobody hangs, and nothing is left behind.
 */
#include "fault/exec_model.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/rights.h"

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
	for (uint32_t i = 0; i < 6000 && xrun(&m.r, &m.s); i++)
		usleep(10000);
	xrig_must_run(&m.r, &m.s);
	model_expect_right(&m);
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
	for (uint32_t i = 0; i < 12000; i++) {
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

static uint32_t overdue(struct xrig *r)
{
	uint32_t n;

	pthread_mutex_lock(&r->exec->run);
	n = r->exec->resid.overdue;
	pthread_mutex_unlock(&r->exec->run);
	return n;
}

/* What was lost and let go comes back in its own time. */
static void await_overdue(struct xrig *r)
{
	for (uint32_t i = 0; i < 60000 && overdue(r); i++)
		usleep(1000);
	assert_int_equal(overdue(r), 0);
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
	await_overdue(&r);
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(xrig_write(&r, bo, (uint64_t)i * XCHUNK, a, XCHUNK), 0);
	assert_int_equal(xrig_read(&r, bo, 0, b, bytes), 0);
	assert_memory_equal(a, b, bytes);
	xrig_close(&r);
	free(a);
	free(b);
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
		cmocka_unit_test(fault_object_of_a_lost_transfer_goes_when_it_came_back),
		cmocka_unit_test(fault_closing_does_not_wait_for_a_lost_transfer),
		cmocka_unit_test(fault_write_that_never_ends_stops_nobody_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

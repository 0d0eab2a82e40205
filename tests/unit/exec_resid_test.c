// SPDX-License-Identifier: MIT
/*
 * The executor's host tier seen from clients: what stays, what comes back, what is
 * refused, and that nothing is left behind (xrig_close() looks at all books).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "exec/executor.h"
#include "exec/io.h"

static void arena_path(char *path, size_t len)
{
	snprintf(path, len, "/var/tmp/vgpu-arena-%d", getpid());
}

/* A device with an arena of @chunks whose file is at @path. */
static void start_with_arena(struct xrig *r, struct vgpu_exec_params *p, uint32_t chunks,
			     char *path, size_t len)
{
	arena_path(path, len);
	p->nvme_path = path;
	p->nvme_bytes = (uint64_t)chunks * XCHUNK;
	xrig_start(r, p);
}

static uint32_t *pattern(size_t bytes, uint32_t seed)
{
	uint32_t *p = xalloc(bytes);

	for (size_t i = 0; i < bytes / 4; i++)
		p[i] = (uint32_t)i * 2654435761u + seed;
	return p;
}

/* y = sum of all bytes would need them all; a copy of one element keeps a chunk in use. */
static void touch_file(struct xstream *s, uint32_t file, uint64_t offset, uint32_t out)
{
	struct vb_cmd_copy c = {
		.h = { VB_CMD_COPY, 0, sizeof(c) },
		.x = xvector(s, file, VB_ACCESS_READ, offset, VB_FORMAT_F32, 16),
		.y = xvector(s, out, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 16),
	};

	xstream_add(s, &c, sizeof(c));
}

static void resid_refuses_a_host_tier_below_two_panels(void **state)
{
	struct vgpu_exec_params p = xrig_params(6);
	struct xrig r;

	(void)state;
	assert_int_equal(xrig_open(&r, &p), -EINVAL);
	assert_non_null(strstr(r.text, "host_bytes is 393216"));
	assert_non_null(strstr(r.text, "458752"));
	p = xrig_params(7);
	xrig_start(&r, &p);
	xrig_close(&r);
}

static void resid_writes_anonymous_chunks_out_and_brings_them_back(void **state)
{
	struct vgpu_exec_params p = xrig_params(10);
	uint64_t count[VB_COUNT_COUNT], bytes = 24 * XCHUNK;
	uint32_t *a = pattern(bytes, 1), *b = xalloc(bytes), bo;
	char path[64];
	struct xrig r;

	(void)state;
	start_with_arena(&r, &p, 32, path, sizeof(path));
	bo = xrig_anonymous(&r, bytes);
	assert_int_equal(xrig_write(&r, bo, 0, a, bytes), 0);
	assert_int_equal(xrig_read(&r, bo, 0, b, bytes), 0);
	assert_memory_equal(a, b, bytes);
	xrig_counters(&r, count);
	assert_true(count[VB_COUNT_WRITE_BYTES] >= 14 * XCHUNK);
	xrig_close(&r);
	assert_int_equal(access(path, F_OK), -1);
	free(a);
	free(b);
}

static void resid_sealed_chunks_are_written_at_most_once(void **state)
{
	struct vgpu_exec_params p = xrig_params(10);
	uint64_t count[VB_COUNT_COUNT], bytes = 24 * XCHUNK;
	uint32_t *a = pattern(bytes, 7), *b = xalloc(bytes), bo;
	char path[64];
	struct xrig r;

	(void)state;
	start_with_arena(&r, &p, 32, path, sizeof(path));
	bo = xrig_anonymous(&r, bytes);
	assert_int_equal(xrig_write(&r, bo, 0, a, bytes), 0);
	assert_int_equal(xrig_seal(&r, bo), 0);
	assert_int_equal(xrig_write(&r, bo, 0, a, 4), -EROFS);
	for (uint32_t pass = 0; pass < 5; pass++) {
		assert_int_equal(xrig_read(&r, bo, 0, b, bytes), 0);
		assert_memory_equal(a, b, bytes);
	}
	xrig_counters(&r, count);
	assert_true(count[VB_COUNT_WRITE_BYTES] <= bytes);
	xrig_close(&r);
	free(a);
	free(b);
}

/* The tier is full of what the declared order wants more. */
static void resid_reads_a_file_that_the_policy_would_rather_bypass(void **state)
{
	struct vgpu_exec_params p = xrig_params(16);
	uint64_t weights = 10 * XCHUNK, bytes = 40 * XCHUNK, count[VB_COUNT_COUNT];
	uint32_t *a = pattern(weights + bytes, 3), *b = xalloc(bytes), bo[2], out;
	int fd = xfile(a, weights + bytes, 0);
	struct xstream s;
	struct xrig r;

	(void)state;
	xrig_start(&r, &p);
	bo[0] = xrig_file(&r, fd, 0, weights);
	bo[1] = xrig_file(&r, fd, weights, bytes);
	out = xrig_anonymous(&r, 64);
	assert_int_equal(xrig_cycle(&r, bo, &weights, 1), 0);
	xstream_begin(&s);
	for (uint32_t i = 0; i < 10; i++)
		touch_file(&s, bo[0], (uint64_t)i * XCHUNK, out);
	xrig_must_run(&r, &s);
	xrig_must_run(&r, &s);
	assert_int_equal(xrig_read(&r, bo[1], 0, b, bytes), 0);
	assert_memory_equal((char *)a + weights, b, bytes);
	xrig_counters(&r, count);
	/* Each byte once, and what was guessed wrongly at most as often again. */
	assert_true(count[VB_COUNT_READ_BYTES] <= weights + 2 * bytes);
	xrig_close(&r);
	close(fd);
	free(a);
	free(b);
}

static void resid_maps_a_file_that_the_policy_would_rather_bypass(void **state)
{
	struct vgpu_exec_params p = xrig_params(16);
	uint64_t weights = 10 * XCHUNK, bytes = 4 * XCHUNK;
	uint32_t *a = pattern(weights + bytes, 3), bo[2], out;
	int fd = xfile(a, weights + bytes, 0);
	struct xstream s;
	struct xrig r;
	void *at;

	(void)state;
	xrig_start(&r, &p);
	bo[0] = xrig_file(&r, fd, 0, weights);
	bo[1] = xrig_file(&r, fd, weights, bytes);
	out = xrig_anonymous(&r, 64);
	assert_int_equal(xrig_cycle(&r, bo, &weights, 1), 0);
	xstream_begin(&s);
	for (uint32_t i = 0; i < 10; i++)
		touch_file(&s, bo[0], (uint64_t)i * XCHUNK, out);
	xrig_must_run(&r, &s);
	assert_int_equal(xrig_map(&r, bo[1], 0, bytes, VB_MAP_READ, &at), 0);
	assert_memory_equal((char *)a + weights, at, bytes);
	/* Mapped chunks stay where they are while others come and go. */
	xrig_must_run(&r, &s);
	assert_memory_equal((char *)a + weights, at, bytes);
	assert_int_equal(xrig_unmap(&r, bo[1], 0, bytes, VB_MAP_READ), 0);
	xrig_close(&r);
	close(fd);
	free(a);
}

/**
 * struct mapping - chunks that another thread unmaps after a while
 */
struct mapping {
	struct xrig *r;
	uint32_t bo, chunks;
	int rc;
};

static void *unmap_later(void *arg)
{
	struct mapping *m = arg;

	usleep(100000);
	for (uint32_t i = 0; i < m->chunks && !m->rc; i++)
		m->rc = xrig_unmap(m->r, m->bo, (uint64_t)i * XCHUNK, XCHUNK, VB_MAP_READ);
	return NULL;
}

/* All slots that can be are mapped, but not for long: the command waits and does not fail. */
static void resid_waits_for_slots_that_a_client_maps(void **state)
{
	struct vgpu_exec_params p = xrig_params(7);
	uint64_t bytes = 12 * XCHUNK;
	uint32_t *a = pattern(bytes, 3), bo, out;
	int fd = xfile(a, bytes, 0);
	struct mapping m;
	pthread_t thread;
	struct xstream s;
	struct xrig r;
	void *at;

	(void)state;
	xrig_start(&r, &p);
	bo = xrig_file(&r, fd, 0, bytes);
	out = xrig_anonymous(&r, 64);
	xstream_begin(&s);
	touch_file(&s, bo, 11 * XCHUNK, out);
	m = (struct mapping){ &r, bo, 0, 0 };
	while (!xrig_map(&r, bo, (uint64_t)m.chunks * XCHUNK, XCHUNK, VB_MAP_READ, &at))
		m.chunks++;
	assert_in_range(m.chunks, 1, 7);
	assert_int_equal(pthread_create(&thread, NULL, unmap_later, &m), 0);
	xrig_must_run(&r, &s);
	pthread_join(thread, NULL);
	assert_int_equal(m.rc, 0);
	xrig_close(&r);
	close(fd);
	free(a);
}

/* What is read ahead when a submission ends is taken in although the executor sleeps. */
static void resid_read_ahead_at_the_end_makes_nobody_wait(void **state)
{
	struct vgpu_exec_params p = xrig_params(16);
	uint64_t bytes = 40 * XCHUNK, start;
	uint32_t *a = pattern(bytes, 3), *b = xalloc(bytes), bo, out;
	int fd = xfile(a, bytes, 0);
	struct xstream s;
	struct xrig r;

	(void)state;
	xrig_start(&r, &p);
	bo = xrig_file(&r, fd, 0, bytes);
	out = xrig_anonymous(&r, 64);
	assert_int_equal(xrig_cycle(&r, &bo, &bytes, 1), 0);
	start = xrig_now();
	for (uint32_t i = 0; i < 80; i++) {
		uint64_t next = (uint64_t)((i + 1) % 40) * XCHUNK;

		xstream_begin(&s);
		touch_file(&s, bo, (uint64_t)(i % 40) * XCHUNK, out);
		xrig_must_run(&r, &s);
		assert_int_equal(xrig_read(&r, bo, next, b, XCHUNK), 0);
		assert_memory_equal((char *)a + next, b, XCHUNK);
	}
	assert_true(xrig_now() - start < 20ull * 1000000000u);
	xrig_close(&r);
	close(fd);
	free(a);
	free(b);
}

/* Written in pieces its chunks lie anywhere; together they need most of the tier. */
static void resid_lays_out_a_run_of_nearly_the_whole_tier(void **state)
{
	struct vgpu_exec_params p = xrig_params(20);
	uint64_t bytes = 12 * XCHUNK;
	uint32_t *a = pattern(bytes, 9), bo, other;
	struct xrig r;
	void *at;

	(void)state;
	xrig_start(&r, &p);
	bo = xrig_anonymous(&r, bytes);
	other = xrig_anonymous(&r, XCHUNK);
	for (uint32_t i = 0; i < 12; i++) {
		uint32_t c = i * 5 % 12;

		assert_int_equal(xrig_write(&r, bo, (uint64_t)c * XCHUNK, (char *)a + c * XCHUNK,
					    XCHUNK), 0);
	}
	assert_int_equal(xrig_write(&r, other, 0, a, XCHUNK), 0);
	assert_int_equal(xrig_map(&r, bo, 0, bytes, VB_MAP_READ | VB_MAP_WRITE, &at), 0);
	assert_memory_equal(a, at, bytes);
	memset(at, 1, 4);
	assert_int_equal(xrig_unmap(&r, bo, 0, bytes, VB_MAP_READ | VB_MAP_WRITE), 0);
	xrig_close(&r);
	free(a);
}

/* Mapped once is not held for ever: later the whole tier serves again. */
static void resid_lets_go_of_what_was_mapped(void **state)
{
	struct vgpu_exec_params p = xrig_params(26);
	uint64_t bytes = 60 * XCHUNK, before[VB_COUNT_COUNT], after[VB_COUNT_COUNT];
	uint32_t *a = pattern(bytes, 3), bo, out;
	int fd = xfile(a, bytes, 0);
	struct xstream s;
	struct xrig r;
	void *at;

	(void)state;
	xrig_start(&r, &p);
	bo = xrig_file(&r, fd, 0, bytes);
	out = xrig_anonymous(&r, 64);
	/* Mapped, and pushed out of the policy's set while they are. */
	for (uint32_t i = 0; i < 15; i++)
		assert_int_equal(xrig_map(&r, bo, (40ull + i) * XCHUNK, 1, VB_MAP_READ, &at), 0);
	xstream_begin(&s);
	for (uint32_t i = 0; i < 40; i++)
		touch_file(&s, bo, (uint64_t)i * XCHUNK, out);
	xrig_must_run(&r, &s);
	xrig_must_run(&r, &s);
	for (uint32_t i = 0; i < 15; i++)
		assert_int_equal(xrig_unmap(&r, bo, (40ull + i) * XCHUNK, 1, VB_MAP_READ), 0);
	xstream_begin(&s);
	for (uint32_t i = 0; i < 16; i++)
		touch_file(&s, bo, (uint64_t)i * XCHUNK, out);
	for (uint32_t i = 0; i < 24; i++)
		xrig_must_run(&r, &s);
	xrig_counters(&r, before);
	xrig_must_run(&r, &s);
	xrig_counters(&r, after);
	assert_true(after[VB_COUNT_READ_BYTES] - before[VB_COUNT_READ_BYTES] <= 2 * XCHUNK);
	xrig_close(&r);
	close(fd);
	free(a);
}

/* Scratch goes nowhere else: between two commands of one buffer it must not vanish. */
static void resid_keeps_scratch_through_its_submission(void **state)
{
	struct vgpu_exec_params p = xrig_params(16);
	uint64_t bytes = 60 * XCHUNK;
	uint32_t *a = pattern(bytes, 3), file, out, scratch;
	struct vb_cmd_fill fill = { .h = { VB_CMD_FILL, 0, sizeof(fill) } };
	struct vb_cmd_copy copy = { .h = { VB_CMD_COPY, 0, sizeof(copy) } };
	int fd = xfile(a, bytes, 0);
	char path[64];
	struct xstream s;
	struct xrig r;
	float got[4 * 1024];

	(void)state;
	p.policy = "lru";
	start_with_arena(&r, &p, 32, path, sizeof(path));
	file = xrig_file(&r, fd, 0, bytes);
	out = xrig_anonymous(&r, sizeof(got));
	scratch = xrig_life(&r, sizeof(got), VB_LIFE_SCRATCH);
	xstream_begin(&s);
	fill.y = xvector(&s, scratch, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 4096);
	fill.value = 0x40490fdb;	/* pi */
	xstream_add(&s, &fill, sizeof(fill));
	for (uint32_t i = 0; i < 60; i++)
		touch_file(&s, file, (uint64_t)i * XCHUNK, out);
	copy.x = xvector(&s, scratch, VB_ACCESS_READ, 0, VB_FORMAT_F32, 4096);
	copy.y = xvector(&s, out, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 4096);
	xstream_add(&s, &copy, sizeof(copy));
	xrig_must_run(&r, &s);
	assert_int_equal(xrig_read(&r, out, 0, got, sizeof(got)), 0);
	for (uint32_t i = 0; i < 4096; i++)
		assert_float_equal(got[i], 3.14159274f, 0);
	xrig_close(&r);
	close(fd);
	free(a);
}

static void resid_client_at_its_maximum_gives_up_its_own(void **state)
{
	struct vgpu_exec_params p = xrig_params(40);
	uint64_t bytes = 30 * XCHUNK;
	uint32_t *a = pattern(bytes, 3), file, out;
	struct vb_ioc_limit limit = { .size = sizeof(limit), .limit = VB_LIMIT_HOST_MAX,
				      .flags = VB_LIMIT_SET, .value = 12 * XCHUNK };
	struct vb_ioc_query_tier tier = { .size = sizeof(tier) };
	int fd = xfile(a, bytes, 0);
	struct xstream s;
	struct xrig r;

	(void)state;
	xrig_start(&r, &p);
	file = xrig_file(&r, fd, 0, bytes);
	out = xrig_anonymous(&r, 64);
	assert_int_equal(vgpu_uapi_call(r.client, VB_IOC_LIMIT, &limit), 0);
	xstream_begin(&s);
	for (uint32_t i = 0; i < 30; i++)
		touch_file(&s, file, (uint64_t)i * XCHUNK, out);
	xrig_must_run(&r, &s);
	xrig_must_run(&r, &s);
	assert_int_equal(vgpu_uapi_call(r.client, VB_IOC_QUERY_TIER, &tier), 0);
	assert_true(tier.out_client_bytes <= 12 * XCHUNK);
	xrig_close(&r);
	close(fd);
	free(a);
}

/* What a test looks at, and does, between two steps of the executor. */
struct look {
	struct xrig *r;
	uint32_t slow;
	uint64_t accesses;
};

static void look_take(void *arg, struct vgpu_io *io)
{
	struct look *l = arg;
	const struct vgpu_resid *resid = &l->r->exec->resid;
	struct vgpu_policy_stats stats;

	(void)io;
	resid->policy->stats(resid->policy_state, &stats);
	l->slow = resid->slow;
	l->accesses = stats.accesses;
}

static void storage_says_nothing(void *arg, struct vgpu_io *io)
{
	const struct vgpu_io_fault f = { .kind = VGPU_IO_FAULT_NEVER };

	(void)arg;
	assert_int_equal(vgpu_io_test_add(io, &f), 0);
}

static void storage_speaks(void *arg, struct vgpu_io *io)
{
	(void)arg;
	assert_int_equal(vgpu_io_test_clear(io), 0);
	assert_int_equal(vgpu_io_test_release(io), 0);
}

/* Submissions of one client that is waited for: the policy was asked for @uses more. */
static void submit_and_await_uses(struct xrig *r, uint32_t queue, const struct xstream *s,
				  uint32_t uses, uint64_t *seqno)
{
	struct look before = { .r = r }, now = { .r = r };

	vgpu_exec_with_io(r->exec, look_take, &before);
	assert_int_equal(xsubmit(r->client, queue, s, seqno), 0);
	do
		vgpu_exec_with_io(r->exec, look_take, &now);
	while (now.accesses < before.accesses + uses);
}

/*
 * A client with as many slow reads as it may have gets no other chunk read: the policy has
 * said that this one is kept, and it is, when it comes.
 */
static void resid_keeps_what_could_not_come_at_once(void **state)
{
	enum { SLOW = 6 };
	struct vgpu_exec_params p = xrig_params(40);
	uint64_t count[VB_COUNT_COUNT], read, seqno[2];
	uint32_t *a = pattern(SLOW * XCHUNK, 5), slow, late, out, queue;
	int fd[2] = { xfile(a, SLOW * XCHUNK, 0), xfile(a, XCHUNK, 0) };
	struct xstream s[2];
	struct xrig r;
	struct look l = { .r = &r };

	(void)state;
	p.io_engine = "test";
	xrig_start(&r, &p);
	queue = xrig_queue(r.client, 0);
	slow = xrig_file(&r, fd[0], 0, SLOW * XCHUNK);
	late = xrig_file(&r, fd[1], 0, XCHUNK);
	out = xrig_anonymous(&r, 64);
	for (uint32_t i = 0; i < 2; i++) {
		xstream_begin(&s[i]);
		s[i].flags = VB_SUBMIT_ASYNC;
		for (uint32_t c = 0; c < (i ? 1 : SLOW); c++)
			touch_file(&s[i], i ? late : slow, (uint64_t)c * XCHUNK, out);
	}
	vgpu_exec_with_io(r.exec, storage_says_nothing, NULL);
	submit_and_await_uses(&r, r.queue, &s[0], 2, &seqno[0]);
	do
		vgpu_exec_with_io(r.exec, look_take, &l);
	while (l.slow < VGPU_SLOW_MAX);
	submit_and_await_uses(&r, queue, &s[1], 2, &seqno[1]);
	vgpu_exec_with_io(r.exec, storage_speaks, NULL);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(xwait(r.client, i ? queue : r.queue, seqno[i], NULL), 0);
	xrig_counters(&r, count);
	read = count[VB_COUNT_READ_BYTES];
	assert_int_equal(count[VB_COUNT_ACCESSES], 2 * (SLOW + 1));
	xrig_must_run(&r, &s[1]);
	xrig_counters(&r, count);
	assert_int_equal(count[VB_COUNT_READ_BYTES], read);
	xrig_close(&r);
	close(fd[0]);
	close(fd[1]);
	free(a);
}

static void resid_says_how_much_a_command_would_hold(void **state)
{
	struct vgpu_exec_params p = xrig_params(12);
	struct vb_cmd_fill fill = { .h = { VB_CMD_FILL, 0, sizeof(fill) } };
	char path[64];
	struct xstream s;
	struct xrig r;
	uint32_t bo;

	(void)state;
	start_with_arena(&r, &p, 64, path, sizeof(path));
	bo = xrig_anonymous(&r, 20 * XCHUNK);
	xstream_begin(&s);
	fill.y = xvector(&s, bo, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 20 * XCHUNK / 4);
	xstream_add(&s, &fill, sizeof(fill));
	assert_int_equal(xrun(&r, &s), -ENOSPC);
	assert_non_null(strstr(xrig_error(&r), "command 0 (fill) holds 1310720 bytes"));
	assert_non_null(strstr(r.text, "786432"));
	/* As much as fits, does. */
	xstream_begin(&s);
	fill.y = xvector(&s, bo, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 12 * XCHUNK / 4);
	xstream_add(&s, &fill, sizeof(fill));
	xrig_must_run(&r, &s);
	xrig_close(&r);
}

static void resid_an_object_that_goes_leaves_nothing(void **state)
{
	struct vgpu_exec_params p = xrig_params(16);
	uint64_t bytes = 40 * XCHUNK;
	uint32_t *a = pattern(bytes, 3);
	struct vb_ioc_query_tier tier = { .size = sizeof(tier) };
	int fd = xfile(a, bytes, 0);
	struct xrig r;

	(void)state;
	xrig_start(&r, &p);
	for (uint32_t i = 0; i < 50; i++) {
		uint32_t file = xrig_file(&r, fd, 0, bytes), bo = xrig_anonymous(&r, 2 * XCHUNK);

		/* Gone while its chunks are on their way. */
		assert_int_equal(xrig_advise(&r, file, VB_ADVISE_PREFETCH, 0, bytes), 0);
		assert_int_equal(xrig_write(&r, bo, 0, a, 2 * XCHUNK), 0);
		assert_int_equal(xrig_destroy(&r, file), 0);
		assert_int_equal(xrig_destroy(&r, bo), 0);
		xrig_assert_sound(&r);
	}
	for (uint32_t i = 0; i < 60000; i++) {
		assert_int_equal(vgpu_uapi_call(r.client, VB_IOC_QUERY_TIER, &tier), 0);
		if (!tier.out_used_bytes)
			break;
		usleep(1000);
	}
	assert_int_equal(tier.out_used_bytes, 0);
	xrig_close(&r);
	close(fd);
	free(a);
}

/* More objects than the I/O engine knows files. */
static void first_write_is_slow(void *arg, struct vgpu_io *io)
{
	const struct vgpu_io_fault f = { .kind = VGPU_IO_FAULT_DELAY, .writes = true, .count = 1,
					 .delay_ns = 1000000000 };

	(void)arg;
	assert_int_equal(vgpu_io_test_add(io, &f), 0);
}

static void write_chunks(struct xrig *r, uint32_t bo, uint32_t first, uint32_t end)
{
	uint32_t word = 0x600d;

	for (uint32_t c = first; c < end; c++)
		assert_int_equal(xrig_write(r, bo, (uint64_t)c * XCHUNK, &word, 4), 0);
}

static bool is_being_forgotten(struct xrig *r)
{
	bool known;

	pthread_mutex_lock(&r->exec->run);
	known = r->exec->forgets;
	pthread_mutex_unlock(&r->exec->run);
	return known;
}

/* The executor has heard that an object is gone, or that is over, and @used bytes are left. */
static void await_forget(struct xrig *r, uint64_t used)
{
	struct vb_ioc_query_tier tier = { .size = sizeof(tier) };

	for (uint32_t i = 0; i < 60000 && !is_being_forgotten(r); i++) {
		assert_int_equal(vgpu_uapi_call(r->client, VB_IOC_QUERY_TIER, &tier), 0);
		if (tier.out_used_bytes == used)
			return;
		usleep(1000);
	}
}

/*
 * A chunk of an object is being written out when it is destroyed, so that it stays for now, and
 * all its slots: they are waited for, and what lives stays where it is.
 */
static void resid_what_is_gone_goes_before_what_lives(void **state)
{
	enum { SLOTS = 20, CAPACITY = 14, DEAD = 8 };
	struct vgpu_exec_params p = xrig_params(SLOTS);
	uint64_t count[VB_COUNT_COUNT];
	uint32_t dead, live;
	char path[64];
	struct xrig r;

	(void)state;
	p.policy = "lru";
	p.io_engine = "test";
	start_with_arena(&r, &p, 32, path, sizeof(path));
	vgpu_exec_with_io(r.exec, first_write_is_slow, NULL);
	dead = xrig_anonymous(&r, DEAD * XCHUNK);
	live = xrig_anonymous(&r, CAPACITY * XCHUNK);
	write_chunks(&r, dead, 0, DEAD);
	write_chunks(&r, live, 0, CAPACITY - DEAD + 1);
	assert_int_equal(xrig_destroy(&r, dead), 0);
	await_forget(&r, (CAPACITY - DEAD + 1) * XCHUNK);
	write_chunks(&r, live, CAPACITY - DEAD + 1, CAPACITY);
	write_chunks(&r, live, 0, CAPACITY);
	xrig_counters(&r, count);
	assert_int_equal(count[VB_COUNT_WRITE_BYTES], XCHUNK);
	assert_int_equal(count[VB_COUNT_READ_BYTES], 0);
	xrig_close(&r);
}

static void resid_thousands_of_objects_of_one_file(void **state)
{
	struct vgpu_exec_params p = xrig_params(64);
	uint64_t bytes = 40 * XCHUNK;
	uint32_t *a = pattern(bytes, 3), got;
	int fd = xfile(a, bytes, 0);
	struct xrig r;

	(void)state;
	xrig_start(&r, &p);
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t file = xrig_file(&r, fd, (uint64_t)i * 64, 64);

		assert_int_equal(xrig_read(&r, file, 4, &got, 4), 0);
		assert_int_equal(got, a[i * 16 + 1]);
	}
	xrig_close(&r);
	close(fd);
	free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resid_refuses_a_host_tier_below_two_panels),
		cmocka_unit_test(resid_writes_anonymous_chunks_out_and_brings_them_back),
		cmocka_unit_test(resid_sealed_chunks_are_written_at_most_once),
		cmocka_unit_test(resid_reads_a_file_that_the_policy_would_rather_bypass),
		cmocka_unit_test(resid_maps_a_file_that_the_policy_would_rather_bypass),
		cmocka_unit_test(resid_waits_for_slots_that_a_client_maps),
		cmocka_unit_test(resid_read_ahead_at_the_end_makes_nobody_wait),
		cmocka_unit_test(resid_lays_out_a_run_of_nearly_the_whole_tier),
		cmocka_unit_test(resid_lets_go_of_what_was_mapped),
		cmocka_unit_test(resid_keeps_scratch_through_its_submission),
		cmocka_unit_test(resid_client_at_its_maximum_gives_up_its_own),
		cmocka_unit_test(resid_keeps_what_could_not_come_at_once),
		cmocka_unit_test(resid_says_how_much_a_command_would_hold),
		cmocka_unit_test(resid_an_object_that_goes_leaves_nothing),
		cmocka_unit_test(resid_what_is_gone_goes_before_what_lives),
		cmocka_unit_test(resid_thousands_of_objects_of_one_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

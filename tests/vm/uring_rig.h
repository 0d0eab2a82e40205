/* SPDX-License-Identifier: MIT */
/*
 * What tests of the nodes' io_uring commands begin with: the test is client and executor,
 * and has a ring for either.
 */
#ifndef TESTS_URING_RIG_H
#define TESTS_URING_RIG_H

#include "selftests/hands.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include "common/ring.h"

#define SLOTS		8u
#define QUEUES		32u

static struct ring r;		/* of the executor */
static struct ring c;		/* of the client, with both_setup() */
static void *slots;

/* What a ring may be made with. */
static const unsigned int kinds[] = {
	0,
	IORING_SETUP_COOP_TASKRUN,
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	IORING_SETUP_SQPOLL,
};

/* For what closes a ring that defers while a command of it waits. */
#define needs_deferred_close() do {							\
	if (!access("/proc/lockdep", F_OK)) {						\
		fprintf(stderr, "SKIP: %s: io_uring of 6.12 asserts that the task which "	\
			"made such a ring ends its commands, and ends them in a worker of "	\
			"its own\n", __func__);							\
		skip();									\
	}										\
} while (0)

/* The one before may take a moment to leave: nobody tells a 6.1 that its rings are closed. */
static inline int exec_open(struct rig_exec *of)
{
	int rc = -1;

	for (int i = 0; rc && i < 5000; i++) {
		rc = rig_exec_open(&rig, of, SLOTS);
		if (rc)
			usleep(1000);
	}
	return rc;
}

static inline int uring_setup(void **state)
{
	if (client_setup(state) || exec_open(&x))
		return -1;
	return ring_open(&r, x.node, 64, 0) || ring_map_slots(x.node, &slots) ? -1 : 0;
}

static inline void exec_end(void)
{
	munmap(slots, VB_MMAP_FETCH_BYTES);
	ring_close(&r);
	rig_exec_close(&x);
}

static inline int uring_teardown(void **state)
{
	if (x.node)
		exec_end();
	return selftest_teardown(state);
}

static inline int both_setup(void **state)
{
	return uring_setup(state) || ring_open(&c, u, 64, 0) ? -1 : 0;
}

static inline int both_teardown(void **state)
{
	ring_close(&c);
	return uring_teardown(state);
}

/* ---- words of the tests ---- */

static inline void commit_next(int status)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_fetch(&x, &req), 0);
	assert_rc(rig_commit(&x, req.out_tag, status), 0);
}

/* The next answer must come, and be this one. */
static inline void expect(struct ring *of, uint64_t id, int res)
{
	struct ring_answer a;

	assert_rc(ring_next(of, 5000, &a), 0);
	assert_int_equal(a.res, res);
	assert_int_equal(a.id, id);
}

static inline void expect_nothing(struct ring *of)
{
	struct ring_answer a;

	assert_rc(ring_next(of, 50, &a), -ETIME);
}

static inline void expect_state(uint32_t state, unsigned int ms)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	uint64_t end = rig_now() + ms * 1000000ull;

	do {
		assert_rc(vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q), 0);
		if (q.out_exec_state == state)
			return;
		usleep(500);
	} while (rig_now() < end);
	assert_int_equal(q.out_exec_state, state);
}

/* A child of ours ends by itself, within @ms; how, as waitpid() says. */
static inline int reap(pid_t pid, unsigned int ms)
{
	uint64_t end = rig_now() + ms * 1000000ull;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		assert_true(rig_now() < end);
		usleep(500);
	}
	return status;
}

static inline void fetch_and_commit_on(struct ring *of)
{
	uint32_t q = new_queue();
	uint64_t tag;

	ring_add_fetch(of, 0, 3, 1, 1);
	expect_nothing(of);
	submit_nop(q);
	expect(of, 1, 1);
	assert_int_equal(ring_slot(slots, 3)->out_type, VB_FETCH_SUBMIT);
	assert_int_equal(ring_slot(slots, 3)->out_seqno, 1);
	tag = ring_slot(slots, 3)->out_tag;
	ring_add_commit(of, x.generation, tag, 0, 4, 1, 2);
	expect_nothing(of);
	assert_rc(rig_wait(u, q, 1, 1000), 0);
	submit_nop(q);
	expect(of, 2, 1);
	assert_int_equal(ring_slot(slots, 4)->out_seqno, 2);
	ring_add_commit(of, x.generation, ring_slot(slots, 4)->out_tag, -EIO, 0, 0, 3);
	expect(of, 3, 0);
	assert_rc(rig_wait(u, q, 2, 1000), -EIO);
	assert_rc(rig_queue_destroy(u, q), 0);
}

/* ---- an executor of many threads ---- */

struct worker {
	uint32_t first, count;	/* slots; 0: by ioctl */
	unsigned int kind;
	int errors;
	uint64_t done;
};

static bool stop;

/* Commit what came, arm again, until there is no more. */
static inline void serve_ring(struct worker *w)
{
	struct ring_answer a;
	struct ring of;

	if (ring_open(&of, x.node, 64, w->kind)) {
		w->errors++;
		return;
	}
	ring_add_fetch(&of, 0, w->first, w->count, 1);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (ring_next(&of, 20, &a))
			continue;
		/* Commits without a fetch have an id of 0. */
		if (!a.id) {
			w->errors += a.res != 0;
			continue;
		}
		w->errors += a.res < 1;
		for (int32_t i = 0; i < a.res; i++) {
			uint64_t tag = ring_slot(slots, w->first + (uint32_t)i)->out_tag;
			bool last = i == a.res - 1;

			ring_add_commit(&of, x.generation, tag, 0, w->first, last ? w->count : 0,
					last);
			w->done++;
		}
	}
	w->errors += ring_disarm(&of, w->first, w->count) != 0;
	ring_close(&of);
}

static inline void serve_ioctl(struct worker *w)
{
	struct vb_ioc_fetch req;
	int rc;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		rc = rig_fetch(&x, &req);
		if (rc == -EAGAIN) {
			usleep(100);
			continue;
		}
		w->errors += rc || rig_commit(&x, req.out_tag, 0);
		w->done++;
	}
}

static inline void *serve(void *arg)
{
	struct worker *w = arg;

	if (w->count)
		serve_ring(w);
	else
		serve_ioctl(w);
	return NULL;
}

#define EXECUTOR(name)	cmocka_unit_test_setup_teardown(name, uring_setup, uring_teardown)
#define BOTH(name)	cmocka_unit_test_setup_teardown(name, both_setup, both_teardown)

#endif

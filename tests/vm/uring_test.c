// SPDX-License-Identifier: MIT
/*
 * Commands by io_uring on both nodes of the module, and poll(): what they answer, and
 * that nothing waits for ever when rings are closed and processes die or call exec().
 * Runs in the machine of tests/vm/run.sh; the test is executor and client.
 */
#include "selftests/selftest.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "common/ring.h"

#define SLOTS		8u
#define QUEUES		32u

static struct vgpu_uapi *u;
static struct rig_exec x;
static struct ring r;		/* of the executor */
static void *slots;

static int client_setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	return rc;
}

/* The one before may take a moment to leave: nobody tells a 6.1 that its rings are closed. */
static int exec_open(struct rig_exec *of)
{
	int rc = -1;

	for (int i = 0; rc && i < 5000; i++) {
		rc = rig_exec_open(&rig, of, SLOTS);
		if (rc)
			usleep(1000);
	}
	return rc;
}

static int setup(void **state)
{
	if (client_setup(state) || exec_open(&x))
		return -1;
	return ring_open(&r, x.node, 64, 0) || ring_map_slots(x.node, &slots) ? -1 : 0;
}

static void exec_end(void)
{
	munmap(slots, VB_MMAP_FETCH_BYTES);
	ring_close(&r);
	rig_exec_close(&x);
}

static int teardown(void **state)
{
	if (x.node)
		exec_end();
	return selftest_teardown(state);
}

/* ---- words of the tests ---- */

static uint32_t new_queue(void)
{
	uint32_t q;

	assert_rc(rig_queue(u, 0, &q), 0);
	return q;
}

static uint64_t submit_nop(uint32_t q)
{
	static struct rig_stream s;
	uint64_t seqno;

	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, q, &s, &seqno), 0);
	return seqno;
}

/* The next answer must come, and be this one. */
static void expect(struct ring *of, uint64_t id, int res)
{
	struct ring_answer a;

	assert_rc(ring_next(of, 5000, &a), 0);
	assert_int_equal(a.res, res);
	assert_int_equal(a.id, id);
}

static void expect_nothing(struct ring *of)
{
	struct ring_answer a;

	assert_rc(ring_next(of, 50, &a), -ETIME);
}

static void expect_state(uint32_t state, unsigned int ms)
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
static int reap(pid_t pid, unsigned int ms)
{
	uint64_t end = rig_now() + ms * 1000000ull;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		assert_true(rig_now() < end);
		usleep(500);
	}
	return status;
}

/* ---- fetch, commit ---- */

static const unsigned int kinds[] = {
	0,
	IORING_SETUP_COOP_TASKRUN,
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	IORING_SETUP_SQPOLL,
};

static void fetch_and_commit_on(struct ring *of)
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

static void fetch_waits_for_work_and_commit_fetches_again_on_every_kind_of_ring(void **state)
{
	struct ring of;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		assert_rc(ring_open(&of, x.node, 8, kinds[i]), 0);
		fetch_and_commit_on(&of);
		ring_close(&of);
	}
}

static void fetch_takes_all_there_is_into_its_slots(void **state)
{
	uint32_t q[QUEUES];
	uint64_t tags[QUEUES];

	(void)state;
	for (uint32_t i = 0; i < QUEUES; i++) {
		q[i] = new_queue();
		submit_nop(q[i]);
		submit_nop(q[i]);	/* a queue has one in the executor's hands at a time */
	}
	ring_add_fetch(&r, 0, 100, VB_URING_SLOTS - 100, 1);
	expect(&r, 1, QUEUES);
	for (uint32_t i = 0; i < QUEUES; i++) {
		tags[i] = ring_slot(slots, 100 + i)->out_tag;
		assert_int_equal(ring_slot(slots, 100 + i)->size, sizeof(struct vb_ioc_fetch));
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(tags[i], tags[j]);
		ring_add_commit(&r, x.generation, tags[i], 0, i, 1, 2 + i);
	}
	/* One call commits all; each makes one more ready, which one fetch or another takes. */
	for (uint32_t i = 0; i < QUEUES; i++) {
		struct ring_answer a;

		assert_rc(ring_next(&r, 5000, &a), 0);
		assert_int_equal(a.res, 1);
		assert_rc(rig_wait(u, q[i], 1, 1000), 0);
	}
	for (uint32_t i = 0; i < QUEUES; i++)
		assert_rc(rig_commit(&x, ring_slot(slots, i)->out_tag, 0), 0);
}

static void fetch_with_nowait_says_that_there_is_nothing(void **state)
{
	uint32_t q = new_queue();

	(void)state;
	ring_add_fetch(&r, VB_FETCH_F_NOWAIT, 0, 1, 1);
	expect(&r, 1, 0);
	submit_nop(q);
	ring_add_fetch(&r, VB_FETCH_F_NOWAIT, 0, 1, 2);
	expect(&r, 2, 1);
	ring_add_fetch(&r, VB_FETCH_F_NOWAIT, 1, 1, 3);
	expect(&r, 3, 0);
}

static void disarmed_fetches_end_and_the_others_wait_on(void **state)
{
	struct vb_uring_fetch f = { .first = 4, .count = 4 };

	(void)state;
	for (uint32_t i = 0; i < 16; i++)
		ring_add_fetch(&r, 0, i, 1, i);
	expect_nothing(&r);
	ring_add(&r, VB_URING_DISARM, &f, sizeof(f), 100);
	expect(&r, 100, 4);
	for (int i = 0; i < 4; i++) {
		struct ring_answer a;

		assert_rc(ring_next(&r, 1000, &a), 0);
		assert_int_equal(a.res, -ECANCELED);
		assert_in_range(a.id, 4, 7);
	}
	expect_nothing(&r);
	submit_nop(new_queue());
	expect(&r, 0, 1);
	f.flags = VB_FETCH_F_URGENT;
	assert_rc(ring_call(&r, VB_URING_DISARM, &f, sizeof(f)), -EINVAL);
	f = (struct vb_uring_fetch){ .first = VB_URING_SLOTS - 1, .count = 2 };
	assert_rc(ring_call(&r, VB_URING_DISARM, &f, sizeof(f)), -EINVAL);
	f = (struct vb_uring_fetch){ .count = VB_URING_SLOTS };
	ring_add(&r, VB_URING_DISARM, &f, sizeof(f), 101);
	expect(&r, 101, 11);
}

static void urgent_fetch_leaves_submissions_to_others(void **state)
{
	uint32_t q = new_queue(), bo;

	(void)state;
	ring_add_fetch(&r, VB_FETCH_F_URGENT, 0, 4, 1);
	ring_submit(&r);
	submit_nop(q);
	expect_nothing(&r);
	ring_add_fetch(&r, 0, 4, 4, 2);
	expect(&r, 2, 1);
	assert_int_equal(ring_slot(slots, 4)->out_type, VB_FETCH_SUBMIT);
	assert_rc(rig_bo(u, rig.chunk_bytes, VB_LIFE_VOLATILE, &bo), 0);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	expect(&r, 1, 1);
	assert_int_equal(ring_slot(slots, 0)->out_type, VB_FETCH_PAGE_IN);
}

static void *advise_pin(void *arg)
{
	return (void *)(intptr_t)rig_advise(u, *(uint32_t *)arg, VB_ADVISE_PIN, 0, 1);
}

/* Its waiter is answered before the commit is; that takes a worker, who may sleep. */
static void commit_of_a_page_in_answers_its_waiter(void **state)
{
	const struct vb_ioc_fetch *req = ring_slot(slots, 0);
	pthread_t thread;
	uint32_t bo;
	void *rc;

	(void)state;
	assert_rc(rig_bo(u, rig.chunk_bytes, VB_LIFE_VOLATILE, &bo), 0);
	ring_add_fetch(&r, 0, 0, 1, 1);
	ring_submit(&r);
	assert_int_equal(pthread_create(&thread, NULL, advise_pin, &bo), 0);
	expect(&r, 1, 1);
	assert_int_equal(req->out_type, VB_FETCH_PAGE_IN);
	assert_rc(rig_step(&x, req->out_object, 0, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST), 0);
	memset(x.memory, 0, rig.chunk_bytes);
	assert_rc(rig_step(&x, req->out_object, 0, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST), 0);
	ring_add_commit(&r, x.generation, req->out_tag, 0, 1, 1, 2);
	expect(&r, 2, -EINVAL);
	ring_add_commit(&r, x.generation, req->out_tag, 0, 1, 1, 2)->flags |= IOSQE_ASYNC;
	ring_submit(&r);
	pthread_join(thread, &rc);
	assert_int_equal((intptr_t)rc, 0);
	/* The fetch behind the commit waits on, and works. */
	submit_nop(new_queue());
	expect(&r, 2, 1);
	assert_int_equal(ring_slot(slots, 1)->out_type, VB_FETCH_SUBMIT);
}

static int fetch_raw(struct ring *of, uint32_t flags, uint32_t first, uint32_t count,
		     uint32_t reserved)
{
	struct vb_uring_fetch f = { flags, first, count, reserved };

	return ring_call(of, VB_URING_FETCH, &f, sizeof(f));
}

static void fetches_are_checked(void **state)
{
	struct vb_uring_wait w = { .queue_id = new_queue(), .seqno = 1 };

	(void)state;
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, 0, VB_URING_SLOTS, 0), 0);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, VB_URING_SLOTS - 1, 1, 0), 0);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, 0, 0, 0), -EINVAL);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, VB_URING_SLOTS, 1, 0), -EINVAL);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, 1, VB_URING_SLOTS, 0), -EINVAL);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, ~0u, 2, 0), -EINVAL);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT | VB_FETCH_F_ASYNC, 0, 1, 0), -EINVAL);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, 0, 1, 1), -EINVAL);
	assert_rc(ring_call(&r, VB_URING_WAIT, &w, sizeof(w)), -ENOTTY);
	assert_rc(ring_call(&r, VB_IOC_FETCH, &w, sizeof(w)), -ENOTTY);
}

static int commit_raw(struct ring *of, uint64_t tag, struct vb_uring_commit c)
{
	c.tag = tag;
	return ring_call(of, VB_URING_COMMIT, &c, sizeof(c));
}

/* What is refused has done nothing: neither committed nor fetched. */
static void commits_are_checked_as_a_whole(void **state)
{
	struct vb_uring_commit good = { .generation = x.generation }, bad;
	uint32_t q = new_queue();
	uint64_t tag;

	(void)state;
	submit_nop(q);
	submit_nop(q);
	assert_rc(fetch_raw(&r, 0, 0, 1, 0), 1);
	tag = ring_slot(slots, 0)->out_tag;
	bad = good;
	bad.status = 1;
	assert_rc(commit_raw(&r, tag, bad), -EINVAL);
	bad = good;
	bad.__reserved = 1;
	assert_rc(commit_raw(&r, tag, bad), -EINVAL);
	bad = good;
	bad.fetch.first = 1;
	assert_rc(commit_raw(&r, tag, bad), -EINVAL);
	bad = good;
	bad.fetch.count = VB_URING_SLOTS + 1;
	assert_rc(commit_raw(&r, tag, bad), -EINVAL);
	bad = good;
	bad.generation--;
	bad.fetch.count = 1;
	assert_rc(commit_raw(&r, tag, bad), -ESTALE);
	assert_rc(commit_raw(&r, tag + 1000, good), -ENOENT);
	assert_rc(rig_wait(u, q, 1, 0), -ETIME);
	good.fetch.count = 1;
	assert_rc(commit_raw(&r, tag, good), 1);
	assert_rc(rig_wait(u, q, 1, 0), 0);
	good.fetch.count = 0;
	assert_rc(commit_raw(&r, tag, good), -ENOENT);
}

static void commit_needs_a_ring_with_large_entries(void **state)
{
	struct io_uring small;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;

	(void)state;
	assert_rc(io_uring_queue_init(4, &small, 0), 0);
	sqe = io_uring_get_sqe(&small);
	assert_non_null(sqe);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = r.fd;
	sqe->cmd_op = VB_URING_COMMIT;
	assert_int_equal(io_uring_submit_and_wait(&small, 1), 1);
	assert_int_equal(io_uring_peek_cqe(&small, &cqe), 0);
	assert_int_equal(cqe->res, -EINVAL);
	io_uring_queue_exit(&small);
}

static void without_attach_or_submit_region_nothing_is_fetched(void **state)
{
	struct vb_ioc_exec_attach attach = { .size = sizeof(attach) };
	struct vgpu_uapi *node;
	struct ring of;

	(void)state;
	exec_end();
	assert_rc(rig_exec_node(&rig, &node), 0);
	assert_rc(ring_open(&of, node, 4, 0), 0);
	assert_rc(fetch_raw(&of, VB_FETCH_F_NOWAIT, 0, 1, 0), -EPERM);
	assert_rc(vgpu_uapi_call(node, VB_IOC_EXEC_ATTACH, &attach), 0);
	assert_rc(fetch_raw(&of, VB_FETCH_F_NOWAIT, 0, 1, 0), -EINVAL);
	ring_close(&of);
	node->ops->close(node);
}

static void slots_are_not_to_be_written(void **state)
{
	void *p;

	(void)state;
	assert_rc(x.node->ops->map(x.node, VB_MMAP_FETCH, VB_MMAP_FETCH_BYTES, true, &p), -EPERM);
	assert_rc(x.node->ops->map(x.node, VB_MMAP_FETCH, 4096, false, &p), -EINVAL);
	assert_int_equal(mprotect(slots, VB_MMAP_FETCH_BYTES, PROT_READ | PROT_WRITE), -1);
}

/* ---- many threads ---- */

struct worker {
	uint32_t first, count;	/* slots; 0: by ioctl */
	unsigned int kind;
	int errors;
	uint64_t done;
};

static bool stop;

/* Commit what came, arm again, until there is no more. */
static void serve_ring(struct worker *w)
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

static void serve_ioctl(struct worker *w)
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

static void *serve(void *arg)
{
	struct worker *w = arg;

	if (w->count)
		serve_ring(w);
	else
		serve_ioctl(w);
	return NULL;
}

/* Each submission is handed to one worker, none to nobody. */
static void many_workers_and_many_queues_lose_nothing(void **state)
{
	struct worker w[5] = {
		{ .first = 0, .count = 1, .kind = kinds[2] },
		{ .first = 10, .count = 8, .kind = kinds[2] },
		{ .first = 20, .count = 8, .kind = kinds[0] },
		{ .first = 30, .count = 64, .kind = kinds[1] },
		{ .count = 0 },
	};
	uint32_t q[QUEUES];
	uint64_t n = 0, done = 0;
	pthread_t thread[5];

	(void)state;
	stop = false;
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, serve, &w[i]), 0);
	for (uint32_t i = 0; i < QUEUES; i++)
		q[i] = new_queue();
	for (int round = 0; round < 40; round++)
		for (uint32_t i = 0; i < QUEUES; i++, n++)
			submit_nop(q[i]);
	for (uint32_t i = 0; i < QUEUES; i++)
		assert_rc(rig_wait(u, q[i], 40, 20000), 0);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < 5; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(w[i].errors, 0);
		done += w[i].done;
	}
	assert_int_equal(done, n);
}

/* ---- the executor's rings go away ---- */

static void close_armed_ring(unsigned int kind)
{
	struct ring of;

	assert_rc(ring_open(&of, x.node, 8, kind), 0);
	for (uint32_t j = 0; j < 4; j++)
		ring_add_fetch(&of, 0, j, 1, j);
	ring_submit(&of);
	submit_nop(new_queue());
	ring_close(&of);
	/* One of them may have had it in its hands; the others go, at the latest now. */
	usleep(300000);
	while (!rig_fetch(&x, &(struct vb_ioc_fetch){ 0 }))
		;
	submit_nop(new_queue());
	ring_add_fetch(&r, 0, 8, 1, 9);
	expect(&r, 9, 1);
}

/* Work that comes afterwards is for whoever fetches then. */
static void closed_ring_takes_no_work_with_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!(kinds[i] & IORING_SETUP_DEFER_TASKRUN))
			close_armed_ring(kinds[i]);
}

static void closed_ring_that_defers_takes_no_work_with_it(void **state)
{
	(void)state;
	if (!access("/proc/lockdep", F_OK)) {
		fprintf(stderr, "SKIP: %s: io_uring of 6.12 asserts that the task which made such a ring ends its "
			"commands, and ends them in a worker of its own\n", __func__);
		skip();
	}
	close_armed_ring(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
}

static void closed_ring_lets_the_executor_go(void **state)
{
	struct rig_exec next;

	(void)state;
	for (uint32_t j = 0; j < 4; j++)
		ring_add_fetch(&r, 0, j, 1, j);
	ring_submit(&r);
	exec_end();
	expect_state(VB_EXEC_FAILED, 2000);
	assert_rc(exec_open(&next), 0);
	rig_exec_close(&next);
}

/* A process that attaches, says so, arms fetches and then does what it is told. */
enum fate { SLEEP, EXEC, EXEC_BESIDE, EXIT, HELD };

static int said;	/* by the last of them */

static void *arm_and_sleep(void *arg)
{
	struct ring_answer a;
	struct ring *of = arg;

	for (uint32_t j = 8; j < 16; j++)
		ring_add_fetch(of, VB_FETCH_F_URGENT, j, 1, j);
	for (;;)
		ring_next(of, 1000, &a);
	return NULL;
}

/* Has the ring, and sees how what the dead had armed ends. */
static void hold_ring(struct ring *of, int ready)
{
	struct ring_answer a;

	for (int i = 0; i < 8; i++)
		if (ring_next(of, 10000, &a) || a.res != -ECANCELED)
			_exit(1);
	if (write(ready, "e", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void child_executor(enum fate fate, unsigned int kind, int ready)
{
	struct rig_exec own;
	struct ring of, beside;
	pthread_t thread;

	if (exec_open(&own) || ring_open(&of, own.node, 16, kind))
		_exit(1);
	for (uint32_t j = 0; j < 8; j++)
		ring_add_fetch(&of, j & 1 ? VB_FETCH_F_URGENT : 0, j, 1, j);
	ring_submit(&of);
	if (fate == EXEC_BESIDE && (ring_open(&beside, own.node, 16, 0) ||
				    pthread_create(&thread, NULL, arm_and_sleep, &beside)))
		_exit(1);
	if (fate == HELD && !fork())
		hold_ring(&of, ready);
	if (write(ready, "r", 1) != 1)
		_exit(1);
	if (fate == EXEC || fate == EXEC_BESIDE)
		execl("/bin/busybox", "true", NULL);
	if (fate == EXIT)
		_exit(7);
	for (;;)
		pause();
}

/* A child that is a group of its own, once it has said that it is ready. */
static pid_t start(void (*child)(enum fate fate, unsigned int kind, int ready), enum fate fate,
		   unsigned int kind)
{
	int fds[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		child(fate, kind, fds[1]);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	if (said)
		close(said);
	said = fds[0];
	return pid;
}

static pid_t start_executor(enum fate fate, unsigned int kind)
{
	return start(child_executor, fate, kind);
}

static void executor_killed_with_armed_fetches_is_replaced(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * sizeof(kinds) / sizeof(kinds[0]); i++) {
		pid_t pid = start_executor(SLEEP, kinds[i / 2]);
		uint32_t q = new_queue();

		if (i & 1)
			submit_nop(q);	/* one of the fetches gets it */
		kill(pid, SIGKILL);
		reap(pid, 5000);
		if (i & 1)
			assert_rc(rig_wait(u, q, 1, 5000), -ENODEV);
		expect_state(VB_EXEC_FAILED, 5000);
	}
}

static void executor_that_exits_with_armed_fetches_is_replaced(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		pid_t pid = start_executor(EXIT, kinds[i]);

		assert_int_equal(WEXITSTATUS(reap(pid, 5000)), 7);
		expect_state(VB_EXEC_FAILED, 5000);
	}
}

/* 6.1 would wait for its fetches for ever, and nothing could kill it. */
static void exec_with_armed_fetches_does_not_hang(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		pid_t pid = start_executor(EXEC, kinds[i]);

		assert_int_equal(reap(pid, 5000), 0);
		expect_state(VB_EXEC_FAILED, 5000);
	}
}

static void exec_beside_a_thread_with_armed_fetches_does_not_hang(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		pid_t pid = start_executor(EXEC_BESIDE, 0);

		usleep((useconds_t)i * 10000);
		assert_int_equal(reap(pid, 5000), 0);
		expect_state(VB_EXEC_FAILED, 5000);
	}
}

/* The ring outlives the process that armed: its commands do not. */
static void fetches_of_a_dead_process_do_not_wait_for_who_holds_its_ring(void **state)
{
	pid_t pid = start_executor(HELD, 0);
	struct pollfd p = { .fd = said, .events = POLLIN };
	char c;

	(void)state;
	kill(pid, SIGKILL);
	reap(pid, 5000);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(said, &c, 1), 1);
	/* The node is open as long as its copy is. */
	kill(-pid, SIGKILL);
	expect_state(VB_EXEC_FAILED, 5000);
}

/* ---- fences as CQEs ---- */

static struct ring c;		/* of the client */

static int both_setup(void **state)
{
	return setup(state) || ring_open(&c, u, 64, 0) ? -1 : 0;
}

static int both_teardown(void **state)
{
	ring_close(&c);
	return teardown(state);
}

static void commit_next(int status)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_fetch(&x, &req), 0);
	assert_rc(rig_commit(&x, req.out_tag, status), 0);
}

static void fence_becomes_a_cqe(void **state)
{
	uint32_t q = new_queue();

	(void)state;
	for (uint64_t i = 1; i <= 4; i++)
		submit_nop(q);
	ring_add_wait(&c, q, 2, 20);
	ring_add_wait(&c, q, 1, 10);
	ring_add_wait(&c, q, 2, 21);
	expect_nothing(&c);
	commit_next(0);
	expect(&c, 10, 0);
	expect_nothing(&c);
	commit_next(-EIO);
	for (int i = 0; i < 2; i++) {
		struct ring_answer a;

		assert_rc(ring_next(&c, 1000, &a), 0);
		assert_int_equal(a.res, -EIO);
		assert_true(a.id == 20 || a.id == 21);
	}
	/* Also when it is over already. */
	ring_add_wait(&c, q, 2, 22);
	expect(&c, 22, -EIO);
	ring_add_wait(&c, q, 1, 11);
	expect(&c, 11, 0);
	ring_add_wait(&c, q, 4, 40);
	ring_submit(&c);
	assert_rc(rig_queue_destroy(u, q), 0);
	expect(&c, 40, -ECANCELED);
}

static void waits_are_checked(void **state)
{
	struct vb_uring_wait w = { .queue_id = new_queue(), .seqno = 1 };
	struct vb_uring_fetch f = { .count = 1 };

	(void)state;
	assert_rc(ring_call(&c, VB_URING_WAIT, &w, sizeof(w)), -EINVAL);
	submit_nop(w.queue_id);
	w.seqno = 0;
	assert_rc(ring_call(&c, VB_URING_WAIT, &w, sizeof(w)), -EINVAL);
	w.seqno = 2;
	assert_rc(ring_call(&c, VB_URING_WAIT, &w, sizeof(w)), -EINVAL);
	w.seqno = 1;
	w.__reserved = 1;
	assert_rc(ring_call(&c, VB_URING_WAIT, &w, sizeof(w)), -EINVAL);
	w.__reserved = 0;
	w.queue_id += 100;
	assert_rc(ring_call(&c, VB_URING_WAIT, &w, sizeof(w)), -ENOENT);
	assert_rc(ring_call(&c, VB_URING_FETCH, &f, sizeof(f)), -ENOTTY);
	assert_rc(ring_call(&c, VB_IOC_WAIT, &w, sizeof(w)), -ENOTTY);
}

static void submission_ends_in_a_cqe(void **state)
{
	struct rig_stream s;
	struct vb_ioc_submit cmd[3];
	uint32_t q = new_queue();

	(void)state;
	rig_stream(&s);
	rig_add_nop(&s);
	for (int i = 0; i < 3; i++) {
		cmd[i] = rig_submission(q, &s);
		ring_add_submit(&c, &cmd[i], (uint64_t)i);
		expect_nothing(&c);
		assert_int_equal(cmd[i].out_seqno, i + 1);
	}
	for (int i = 0; i < 3; i++) {
		commit_next(i == 1 ? -EIO : 0);
		expect(&c, (uint64_t)i, i == 1 ? -EIO : 0);
	}
}

static int submit_raw(struct vb_ioc_submit *cmd, uint64_t reserved)
{
	struct vb_uring_submit s = { .address = (uintptr_t)cmd, .__reserved = reserved };
	struct ring_answer a;

	ring_add(&c, VB_URING_SUBMIT, &s, sizeof(s), 0)->flags |= IOSQE_ASYNC;
	assert_rc(ring_next(&c, 5000, &a), 0);
	return a.res;
}

static void submissions_are_checked_as_by_ioctl(void **state)
{
	struct rig_stream s;
	struct vb_ioc_submit good, bad;
	struct vb_uring_submit inline_one = { .address = (uintptr_t)&good };

	(void)state;
	rig_stream(&s);
	rig_add_nop(&s);
	good = rig_submission(new_queue(), &s);
	/* On the caller's own thread it would sleep with the ring locked. */
	assert_rc(ring_call(&c, VB_URING_SUBMIT, &inline_one, sizeof(inline_one)), -EINVAL);
	assert_rc(submit_raw(NULL, 0), -EFAULT);
	assert_rc(submit_raw(&good, 1), -EINVAL);
	bad = good;
	bad.size = 2;
	assert_rc(submit_raw(&bad, 0), -EINVAL);
	bad = good;
	bad.queue_id += 100;
	assert_rc(submit_raw(&bad, 0), -ENOENT);
	bad = good;
	bad.stream_address = 8;
	assert_rc(submit_raw(&bad, 0), -EFAULT);
	bad = good;
	bad.flags = 1u << 31;
	assert_rc(submit_raw(&bad, 0), -EINVAL);
	assert_int_equal(bad.out_seqno, 0);
	exec_end();
	expect_state(VB_EXEC_FAILED, 2000);
	assert_rc(submit_raw(&good, 0), -ENODEV);
}

/* Linked, each is submitted when the fence of the one before has ended. */
static void linked_submissions_run_one_after_the_other(void **state)
{
	struct io_uring_sqe *sqe;
	struct rig_stream s;
	struct vb_ioc_submit cmd[8];
	uint32_t q[2] = { new_queue(), new_queue() };

	(void)state;
	rig_stream(&s);
	rig_add_nop(&s);
	for (int i = 0; i < 8; i++) {
		cmd[i] = rig_submission(q[i & 1], &s);
		sqe = ring_add_submit(&c, &cmd[i], (uint64_t)i);
		if (i < 7)
			sqe->flags |= IOSQE_IO_LINK;
	}
	ring_submit(&c);
	for (int i = 0; i < 8; i++) {
		struct vb_ioc_fetch req;

		while (rig_fetch(&x, &req) == -EAGAIN)
			usleep(1000);
		assert_rc(rig_fetch(&x, &(struct vb_ioc_fetch){ 0 }), -EAGAIN);
		assert_int_equal(req.out_seqno, i / 2 + 1);
		assert_rc(rig_commit(&x, req.out_tag, 0), 0);
		expect(&c, (uint64_t)i, 0);
	}
}

/* When one is reported, all earlier ones of its queue have ended. */
static void cqes_of_many_queues_tell_the_truth(void **state)
{
	struct worker w = { .first = 0, .count = 16, .kind = kinds[2] };
	static struct vb_ioc_submit cmd[QUEUES][8];
	uint64_t seen = 0;
	uint32_t q[QUEUES];
	struct rig_stream s;
	pthread_t thread;

	(void)state;
	stop = false;
	assert_int_equal(pthread_create(&thread, NULL, serve, &w), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	for (uint32_t i = 0; i < QUEUES; i++) {
		q[i] = new_queue();
		for (uint32_t j = 0; j < 8; j++) {
			cmd[i][j] = rig_submission(q[i], &s);
			ring_add_submit(&c, &cmd[i][j], i * 8 + j);
		}
	}
	while (seen < QUEUES * 8) {
		struct ring_answer a;
		uint64_t seqno;

		assert_rc(ring_next(&c, 20000, &a), 0);
		assert_int_equal(a.res, 0);
		seqno = cmd[a.id / 8][a.id % 8].out_seqno;
		assert_in_range(seqno, 1, 8);
		for (uint64_t before = 1; before <= seqno; before++)
			assert_rc(rig_wait(u, q[a.id / 8], before, 0), 0);
		seen++;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(w.errors, 0);
	assert_int_equal(w.done, QUEUES * 8);
}

/* ---- clients go away ---- */

static uint64_t reserved_bytes(void)
{
	struct vb_ioc_query_tier t;

	assert_rc(rig_tier(u, VB_TIER_HOST, &t), 0);
	return t.out_reserved_bytes;
}

/* The node of a client is closed when its objects are gone. */
static void expect_reserved(uint64_t bytes)
{
	for (int i = 0; i < 5000 && reserved_bytes() != bytes; i++)
		usleep(1000);
	assert_int_equal(reserved_bytes(), bytes);
}

static void child_client(enum fate fate, unsigned int kind, int ready)
{
	struct vgpu_uapi *own = rig_client(&rig);
	static struct vb_ioc_submit cmd[16];
	struct rig_stream s;
	struct ring of;
	uint32_t q, bo;

	if (!own || rig_queue(own, 0, &q) || ring_open(&of, own, 64, kind) ||
	    rig_bo(own, rig.chunk_bytes, VB_LIFE_VOLATILE, &bo))
		_exit(1);
	rig_stream(&s);
	rig_add_nop(&s);
	if (rig_submit(own, q, &s, NULL))
		_exit(1);
	for (uint32_t j = 0; j < 16; j++) {
		ring_add_wait(&of, q, 1, j);
		cmd[j] = rig_submission(q, &s);
		ring_add_submit(&of, &cmd[j], 100 + j);
	}
	ring_submit(&of);
	usleep(20000);
	if (write(ready, "r", 1) != 1)
		_exit(1);
	if (fate == EXEC)
		execl("/bin/busybox", "true", NULL);
	for (;;)
		pause();
}

static void client_killed_while_it_waits_leaves_nothing(void **state)
{
	uint64_t before = reserved_bytes();

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		pid_t pid = start(child_client, SLEEP, kinds[i]);

		assert_int_equal(reserved_bytes(), before + rig.chunk_bytes);
		kill(pid, SIGKILL);
		reap(pid, 5000);
		expect_reserved(before);
	}
}

static void exec_of_a_client_that_waits_does_not_hang(void **state)
{
	uint64_t before = reserved_bytes();

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		assert_int_equal(reap(start(child_client, EXEC, kinds[i]), 5000), 0);
		expect_reserved(before);
	}
}

static void closed_ring_lets_a_client_go(void **state)
{
	struct vgpu_uapi *own = rig_client(&rig);
	uint64_t before = reserved_bytes();
	struct rig_stream s;
	struct ring of;
	uint32_t q, bo;

	(void)state;
	assert_rc(rig_queue(own, 0, &q), 0);
	assert_rc(rig_bo(own, rig.chunk_bytes, VB_LIFE_VOLATILE, &bo), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(own, q, &s, NULL), 0);
	assert_rc(ring_open(&of, own, 8, 0), 0);
	ring_add_wait(&of, q, 1, 1);
	ring_submit(&of);
	rig_client_close(own);
	assert_int_equal(reserved_bytes(), before + rig.chunk_bytes);
	ring_close(&of);
	expect_reserved(before);
}

/* ---- poll() ---- */

static int polled(struct vgpu_uapi *node, int ms)
{
	struct pollfd p = { .fd = node->ops->fd(node), .events = POLLIN | POLLPRI };

	return poll(&p, 1, ms) > 0 ? p.revents : 0;
}

static void client_node_polls_for_fences_that_nobody_was_told_of(void **state)
{
	uint32_t q = new_queue(), other = new_queue();

	(void)state;
	submit_nop(q);
	submit_nop(q);
	assert_int_equal(polled(u, 0), 0);
	commit_next(0);
	assert_int_equal(polled(u, 1000), POLLIN);
	assert_rc(rig_wait(u, q, 2, 0), -ETIME);
	assert_int_equal(polled(u, 0), POLLIN);
	assert_rc(rig_wait(u, q, 1, 0), 0);
	assert_int_equal(polled(u, 0), 0);
	/* A later one tells of the earlier ones; of another queue it tells nothing. */
	submit_nop(q);
	submit_nop(other);
	for (int i = 0; i < 3; i++)
		commit_next(0);
	assert_rc(rig_wait(u, q, 3, 1000), 0);
	assert_int_equal(polled(u, 0), POLLIN);
	assert_rc(rig_queue_destroy(u, other), 0);
	assert_int_equal(polled(u, 0), 0);
	/* Who has it as a CQE was told. */
	submit_nop(q);
	ring_add_wait(&c, q, 4, 4);
	ring_submit(&c);
	commit_next(0);
	expect(&c, 4, 0);
	assert_int_equal(polled(u, 0), 0);
}

static void *commit_later(void *arg)
{
	(void)arg;
	usleep(100000);
	commit_next(0);
	return NULL;
}

static void poll_on_a_client_node_wakes_up(void **state)
{
	uint32_t q = new_queue();
	pthread_t thread;

	(void)state;
	submit_nop(q);
	assert_int_equal(pthread_create(&thread, NULL, commit_later, NULL), 0);
	assert_int_equal(polled(u, 5000), POLLIN);
	pthread_join(thread, NULL);
}

static void *submit_later(void *arg)
{
	usleep(100000);
	submit_nop(*(uint32_t *)arg);
	return NULL;
}

static void executor_node_polls_for_work(void **state)
{
	uint32_t q = new_queue(), bo;
	struct vb_ioc_fetch req;
	struct io_uring_sqe *sqe;
	struct ring_answer a;
	pthread_t thread;

	(void)state;
	assert_int_equal(polled(x.node, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, submit_later, &q), 0);
	assert_int_equal(polled(x.node, 5000), POLLIN);
	pthread_join(thread, NULL);
	assert_rc(rig_bo(u, rig.chunk_bytes, VB_LIFE_VOLATILE, &bo), 0);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_int_equal(polled(x.node, 0), POLLIN | POLLPRI);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(polled(x.node, 0), 0);
	/* The same by io_uring. */
	sqe = io_uring_get_sqe(&r.io);
	io_uring_prep_poll_add(sqe, r.fd, POLLIN);
	sqe->user_data = 5;
	ring_submit(&r);
	submit_nop(new_queue());
	assert_rc(ring_next(&r, 1000, &a), 0);
	assert_int_equal(a.id, 5);
	assert_true(a.res & POLLIN);
}

static void executor_node_without_executor_is_in_error(void **state)
{
	struct vgpu_uapi *node;

	(void)state;
	exec_end();
	assert_rc(rig_exec_node(&rig, &node), 0);
	assert_int_equal(polled(node, 0), POLLERR);
	node->ops->close(node);
}

/* ---- an executor that stays awake ---- */

/* A ring that was closed before may still have a word with this thread. */
static int fetch_once(struct vb_ioc_fetch *req)
{
	int rc;

	do {
		rc = vgpu_uapi_call(x.node, VB_IOC_FETCH, req);
	} while (rc == -EINTR);
	return rc;
}

static void fetch_that_spins_finds_work_or_sleeps(void **state)
{
	struct vb_ioc_fetch req = { .size = sizeof(req), .spin_ns = 500000000 };
	uint32_t q = new_queue();
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, submit_later, &q), 0);
	assert_rc(fetch_once(&req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SUBMIT);
	pthread_join(thread, NULL);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	req = (struct vb_ioc_fetch){ .size = sizeof(req), .spin_ns = 1000 };
	assert_int_equal(pthread_create(&thread, NULL, submit_later, &q), 0);
	assert_rc(fetch_once(&req), 0);
	pthread_join(thread, NULL);
}

/* ---- all at once ---- */

static void child_executor_serves(void)
{
	struct worker w[3] = {
		{ .first = 0, .count = 4, .kind = kinds[2] },
		{ .first = 10, .count = 1, .kind = kinds[0] },
		{ .first = 20, .count = 16, .kind = kinds[3] },
	};
	pthread_t thread;

	if (exec_open(&x) || ring_map_slots(x.node, &slots))
		_exit(1);
	for (int i = 0; i < 3; i++)
		pthread_create(&thread, NULL, serve, &w[i]);
	for (;;)
		pause();
}

static void child_client_submits(void)
{
	struct vgpu_uapi *own = rig_client(&rig);
	static struct vb_ioc_submit cmd[64];
	struct rig_stream s;
	struct ring_answer a;
	struct ring of;
	uint32_t q[8];

	if (!own || ring_open(&of, own, 64, 0))
		_exit(1);
	rig_stream(&s);
	rig_add_nop(&s);
	for (int i = 0; i < 8; i++)
		if (rig_queue(own, 0, &q[i]))
			_exit(1);
	for (uint32_t i = 0; i < 32; i++) {
		cmd[i] = rig_submission(q[i % 8], &s);
		ring_add_submit(&of, &cmd[i], i);
	}
	for (;;) {
		if (ring_next(&of, 1000, &a))
			continue;
		if (a.res == -ENODEV)
			usleep(1000);
		ring_add_submit(&of, &cmd[a.id], a.id);
	}
}

/* Executors and clients die at any moment; at the end everything works. */
static void kills_at_any_moment_leave_a_device_that_works(void **state)
{
	pid_t exec = 0, client[3] = { 0 };

	(void)state;
	srand(1);
	stop = false;
	for (int i = 0; i < 40; i++) {
		if (!exec) {
			exec = fork();
			if (!exec)
				child_executor_serves();
		}
		for (int j = 0; j < 3; j++)
			if (!client[j]) {
				client[j] = fork();
				if (!client[j])
					child_client_submits();
			}
		usleep((useconds_t)(rand() % 60000));
		if (rand() % 3 == 0) {
			kill(exec, SIGKILL);
			reap(exec, 5000);
			exec = 0;
		} else {
			int j = rand() % 3;

			kill(client[j], SIGKILL);
			reap(client[j], 5000);
			client[j] = 0;
		}
	}
	for (int j = 0; j < 3; j++)
		if (client[j]) {
			kill(client[j], SIGKILL);
			reap(client[j], 5000);
		}
	if (exec) {
		kill(exec, SIGKILL);
		reap(exec, 5000);
	}
	expect_state(VB_EXEC_FAILED, 5000);
	assert_rc(exec_open(&x), 0);
	assert_rc(ring_open(&r, x.node, 16, 0), 0);
	assert_rc(ring_map_slots(x.node, &slots), 0);
	fetch_and_commit_on(&r);
	exec_end();
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CLIENT(name)	cmocka_unit_test_setup_teardown(name, both_setup, both_teardown)
#define ALONE(name)	cmocka_unit_test_setup_teardown(name, client_setup, selftest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(fetch_waits_for_work_and_commit_fetches_again_on_every_kind_of_ring),
		CASE(fetch_takes_all_there_is_into_its_slots),
		CASE(fetch_with_nowait_says_that_there_is_nothing),
		CASE(urgent_fetch_leaves_submissions_to_others),
		CASE(disarmed_fetches_end_and_the_others_wait_on),
		CASE(commit_of_a_page_in_answers_its_waiter),
		CASE(fetches_are_checked),
		CASE(commits_are_checked_as_a_whole),
		CASE(commit_needs_a_ring_with_large_entries),
		CASE(without_attach_or_submit_region_nothing_is_fetched),
		CASE(slots_are_not_to_be_written),
		CASE(many_workers_and_many_queues_lose_nothing),
		CASE(closed_ring_takes_no_work_with_it),
		CASE(closed_ring_that_defers_takes_no_work_with_it),
		CASE(closed_ring_lets_the_executor_go),
		CLIENT(fence_becomes_a_cqe),
		CLIENT(waits_are_checked),
		CLIENT(submission_ends_in_a_cqe),
		CLIENT(submissions_are_checked_as_by_ioctl),
		CLIENT(linked_submissions_run_one_after_the_other),
		CLIENT(cqes_of_many_queues_tell_the_truth),
		CLIENT(client_killed_while_it_waits_leaves_nothing),
		CLIENT(exec_of_a_client_that_waits_does_not_hang),
		CLIENT(closed_ring_lets_a_client_go),
		CLIENT(client_node_polls_for_fences_that_nobody_was_told_of),
		CASE(poll_on_a_client_node_wakes_up),
		CASE(executor_node_polls_for_work),
		CASE(executor_node_without_executor_is_in_error),
		CASE(fetch_that_spins_finds_work_or_sleeps),
		ALONE(executor_killed_with_armed_fetches_is_replaced),
		ALONE(executor_that_exits_with_armed_fetches_is_replaced),
		ALONE(exec_with_armed_fetches_does_not_hang),
		ALONE(exec_beside_a_thread_with_armed_fetches_does_not_hang),
		ALONE(fetches_of_a_dead_process_do_not_wait_for_who_holds_its_ring),
		ALONE(kills_at_any_moment_leave_a_device_that_works),
	};

	if (!getenv("VBLACKWELL_SELFTEST_NODE")) {
		fprintf(stderr, "SKIP: uring: VBLACKWELL_SELFTEST_NODE is not set\n");
		return 0;
	}
	return SELFTEST_RUN("uring", tests, RIG_NONE, 0, 0) ? 1 : 0;
}

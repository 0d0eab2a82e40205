// SPDX-License-Identifier: MIT
/*
 * Nothing waits for ever, and nothing is left behind, when rings are closed and processes
 * with commands in flight die, exit or call exec().  Runs in the machine of
 * tests/vm/run.sh.
 */
#include "vm/uring_rig.h"

#include <poll.h>
#include <signal.h>

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
	needs_deferred_close();
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
	char byte;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		child(fate, kind, fds[1]);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
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
	char byte;

	(void)state;
	kill(pid, SIGKILL);
	reap(pid, 5000);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(said, &byte, 1), 1);
	/* The node is open as long as its copy is. */
	kill(-pid, SIGKILL);
	expect_state(VB_EXEC_FAILED, 5000);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		EXECUTOR(closed_ring_takes_no_work_with_it),
		EXECUTOR(closed_ring_that_defers_takes_no_work_with_it),
		EXECUTOR(closed_ring_lets_the_executor_go),
		BOTH(client_killed_while_it_waits_leaves_nothing),
		BOTH(exec_of_a_client_that_waits_does_not_hang),
		BOTH(closed_ring_lets_a_client_go),
		AS_CLIENT(executor_killed_with_armed_fetches_is_replaced),
		AS_CLIENT(executor_that_exits_with_armed_fetches_is_replaced),
		AS_CLIENT(exec_with_armed_fetches_does_not_hang),
		AS_CLIENT(exec_beside_a_thread_with_armed_fetches_does_not_hang),
		AS_CLIENT(fetches_of_a_dead_process_do_not_wait_for_who_holds_its_ring),
		AS_CLIENT(kills_at_any_moment_leave_a_device_that_works),
	};

	if (!selftest_has_module("uring, deaths"))
		return 0;
	return SELFTEST_RUN("uring, deaths", tests, RIG_NONE, 0, 0) ? 1 : 0;
}

// SPDX-License-Identifier: MIT
/*
 * Executors that die with work in their hands: which deaths count against the work, and
 * that nobody is blamed for what another one's work did.  Executors are processes of the
 * test, and end in every way that there is.
 */
#include "selftests/selftest.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/ring.h"
#include "vm/machine.h"

#define DEATHS		16	/* that a submission may cause */
#define GUILTY		7u	/* weight of a queue whose submissions end executors */
#define PATIENCE_MS	10000

static struct vgpu_uapi *u;

static int setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	machine_set_ms("recovery_ms", 20000);
	return rc;
}

static int teardown(void **state)
{
	machine_set_ms("recovery_ms", 0);
	return selftest_teardown(state);
}

/* ---- executors ---- */

/* How an executor ends when it has taken what there is. */
enum fate {
	WAITS,			/* for somebody to kill it */
	ABORTS, FAULTS, EXITS, EXECS,
	FALLS_SILENT,
	WORKS,			/* and ends where the work is GUILTY's */
};

/* A process of the test, and the way to talk to it. */
struct peer {
	pid_t pid;
	int fd;
};

static void must(bool ok)
{
	if (!ok)
		_exit(99);
}

static void say(int fd, uint32_t word)
{
	must(write(fd, &word, sizeof(word)) == sizeof(word));
}

static uint32_t hear(int fd)
{
	uint32_t word;

	must(read(fd, &word, sizeof(word)) == sizeof(word));
	return word;
}

/* An executor with no arena: it goes on with nothing. */
static void attach(struct rig_exec *x)
{
	uint32_t state;

	must(!rig_exec_attach(&rig, x, &state));
	if (state == VB_EXEC_RECOVERING)
		must(!rig_recover(x, 0));
}

static uint32_t take(struct rig_exec *x, bool commits)
{
	struct vb_ioc_fetch req;
	uint32_t n = 0;

	while (!rig_fetch(x, &req)) {
		n++;
		if (commits && req.out_weight == GUILTY)
			raise(SIGSEGV);
		if (commits)
			must(!rig_commit(x, req.out_tag, 0));
	}
	return n;
}

static void meet(enum fate fate)
{
	switch (fate) {
	case ABORTS:
		abort();
	case FAULTS:
		raise(SIGSEGV);
		break;
	case EXITS:
		_exit(1);
	case EXECS:
		execl("/bin/busybox", "true", NULL);
		break;
	case WORKS:
		_exit(0);
	default:
		break;
	}
	for (;;)
		pause();
}

static void executor(enum fate fate, int fd)
{
	struct rig_exec x;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* What is there of them is cmocka's. */
	signal(SIGABRT, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	attach(&x);
	say(fd, 0);
	hear(fd);
	say(fd, take(&x, fate == WORKS));
	meet(fate);
}

static uint32_t hear_from(const struct peer *p)
{
	struct pollfd poll_in = { .fd = p->fd, .events = POLLIN };
	uint32_t word = UINT32_MAX;

	if (poll(&poll_in, 1, PATIENCE_MS) == 1)
		(void)!read(p->fd, &word, sizeof(word));
	return word;
}

static void start(struct peer *p, enum fate fate)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	p->pid = fork();
	if (!p->pid) {
		close(fds[0]);
		executor(fate, fds[1]);
	}
	close(fds[1]);
	p->fd = fds[0];
	assert_int_equal(hear_from(p), 0);
}

/* It takes what there is: how much. */
static uint32_t go(const struct peer *p)
{
	say(p->fd, 0);
	return hear_from(p);
}

static void bury(struct peer *p)
{
	assert_int_equal(waitpid(p->pid, NULL, 0), p->pid);
	close(p->fd);
}

static uint32_t lives_and_dies(enum fate fate, int sig)
{
	struct peer p;
	uint32_t taken;

	start(&p, fate);
	taken = go(&p);
	if (sig)
		kill(p.pid, sig);
	bury(&p);
	return taken;
}

/* ---- work ---- */

static void submit_nop(uint32_t queue)
{
	struct rig_stream s;

	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
}

/* An executor takes all of it, @n submissions in queues of their own, and dies. */
static void submit_and_die(uint32_t *queue, const uint32_t *weight, uint32_t n, enum fate fate,
			   int sig)
{
	struct peer p;

	start(&p, fate);
	for (uint32_t i = 0; i < n; i++) {
		assert_rc(rig_queue(u, weight ? weight[i] : 0, &queue[i]), 0);
		submit_nop(queue[i]);
	}
	assert_int_equal(go(&p), n);
	if (sig)
		kill(p.pid, sig);
	bury(&p);
}

/* ---- tests ---- */

static void executors_that_others_kill_are_not_counted(void **state)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGKILL, SIGINT, SIGQUIT };
	uint32_t queue;

	(void)state;
	submit_and_die(&queue, NULL, 1, WAITS, SIGKILL);
	for (int i = 0; i < 2 * DEATHS; i++)
		assert_int_equal(lives_and_dies(WAITS, signals[i % 5]), 1);
	assert_rc(rig_wait(u, queue, 1, 0), -ETIME);
	assert_int_equal(lives_and_dies(WORKS, 0), 1);
	assert_rc(rig_wait(u, queue, 1, 0), 0);
}

static void executors_that_crash_are_counted(void **state)
{
	static const enum fate fates[] = { ABORTS, FAULTS, EXITS, EXECS };
	uint32_t queue;

	(void)state;
	submit_and_die(&queue, NULL, 1, FAULTS, 0);
	for (int i = 1; i < DEATHS; i++) {
		assert_rc(rig_wait(u, queue, 1, 0), -ETIME);
		assert_int_equal(lives_and_dies(fates[i % 4], 0), 1);
		/* These are no deaths of its doing. */
		assert_int_equal(lives_and_dies(WAITS, SIGKILL), i < DEATHS - 1);
	}
	assert_rc(rig_wait(u, queue, 1, 0), -EIO);
}

static void the_innocent_beside_the_guilty_is_run(void **state)
{
	static const uint32_t weight[] = { 100, GUILTY, 100 };
	uint32_t queue[3];
	int deaths = 1;

	(void)state;
	submit_and_die(queue, weight, 3, ABORTS, 0);
	while (rig_wait(u, queue[1], 1, 0) == -ETIME && deaths < 100) {
		lives_and_dies(WORKS, 0);
		deaths++;
	}
	assert_int_equal(deaths, DEATHS);
	assert_rc(rig_wait(u, queue[1], 1, 0), -EIO);
	lives_and_dies(WORKS, 0);
	assert_rc(rig_wait(u, queue[0], 1, 0), 0);
	assert_rc(rig_wait(u, queue[2], 1, 0), 0);
}

static void *fetch_asleep(void *arg)
{
	struct vb_ioc_fetch req = { .size = sizeof(req) };
	struct rig_exec *x = arg;

	if (vgpu_uapi_call(x->node, VB_IOC_FETCH, &req))
		return NULL;
	return (void *)(uintptr_t)req.out_tag;
}

/* As many are handed out at a time as there are. */
static void expect_all_at_once(struct rig_exec *x, const uint32_t *queue, uint32_t n)
{
	struct vb_ioc_fetch req[4];

	for (uint32_t i = 0; i < n; i++)
		submit_nop(queue[i]);
	for (uint32_t i = 0; i < n; i++)
		assert_rc(rig_fetch(x, &req[i]), 0);
	for (uint32_t i = 0; i < n; i++)
		assert_rc(rig_commit(x, req[i].out_tag, 0), 0);
}

/* Silence is a death that counts, so one at a time; then all as before. */
static void suspects_are_handed_out_one_at_a_time(void **state)
{
	struct vb_ioc_fetch first, req;
	struct rig_exec x;
	pthread_t thread;
	uint32_t queue[3];
	void *tag;

	(void)state;
	machine_set_ms("executor_timeout_ms", 3000);
	submit_and_die(queue, NULL, 3, FALLS_SILENT, 0);
	machine_set_ms("executor_timeout_ms", 30000);
	attach(&x);
	assert_rc(rig_fetch(&x, &first), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	assert_int_equal(pthread_create(&thread, NULL, fetch_asleep, &x), 0);
	usleep(200000);
	assert_int_equal(pthread_tryjoin_np(thread, &tag), EBUSY);
	/* The end of one wakes up who waits for the next. */
	assert_rc(rig_commit(&x, first.out_tag, 0), 0);
	assert_int_equal(pthread_join(thread, &tag), 0);
	assert_non_null(tag);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	assert_rc(rig_commit(&x, (uintptr_t)tag, 0), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	expect_all_at_once(&x, queue, 3);
	rig_exec_close(&x);
}

static void suspects_wake_commands_of_io_uring(void **state)
{
	struct vb_ioc_fetch first;
	struct ring_answer a;
	struct ring ring;
	struct rig_exec x;
	uint32_t queue[2];
	void *slots;

	(void)state;
	submit_and_die(queue, NULL, 2, EXITS, 0);
	attach(&x);
	assert_rc(ring_open(&ring, x.node, 8, 0), 0);
	assert_rc(ring_map_slots(x.node, &slots), 0);
	assert_rc(rig_fetch(&x, &first), 0);
	ring_add_fetch(&ring, 0, 0, 4, 1);
	ring_submit(&ring);
	assert_rc(ring_next(&ring, 200, &a), -ETIME);
	assert_rc(rig_commit(&x, first.out_tag, 0), 0);
	assert_rc(ring_next(&ring, PATIENCE_MS, &a), 0);
	assert_int_equal(a.res, 1);
	assert_rc(rig_commit(&x, ring_slot(slots, 0)->out_tag, 0), 0);
	expect_all_at_once(&x, queue, 2);
	munmap(slots, VB_MMAP_FETCH_BYTES);
	ring_close(&ring);
	rig_exec_close(&x);
}

/* With the last suspect goes the reason to wait for what is in hand. */
static void suspects_that_are_given_up_keep_nobody_waiting(void **state)
{
	struct vb_ioc_fetch fresh;
	struct rig_exec x;
	pthread_t thread;
	uint32_t queue[5], suspects = 3;
	void *tag;

	(void)state;
	submit_and_die(queue, NULL, suspects, EXITS, 0);
	attach(&x);
	for (uint32_t i = 3; i < 5; i++) {
		assert_rc(rig_queue(u, 1000, &queue[i]), 0);
		submit_nop(queue[i]);
	}
	assert_rc(rig_fetch(&x, &fresh), 0);
	while (fresh.out_weight != 1000) {
		assert_rc(rig_commit(&x, fresh.out_tag, 0), 0);
		assert_rc(rig_fetch(&x, &fresh), 0);
		suspects--;
	}
	assert_int_not_equal(suspects, 0);
	assert_int_equal(pthread_create(&thread, NULL, fetch_asleep, &x), 0);
	usleep(100000);
	assert_int_equal(pthread_tryjoin_np(thread, &tag), EBUSY);
	for (uint32_t i = 0; i < 3; i++)
		assert_rc(rig_queue_destroy(u, queue[i]), 0);
	assert_int_equal(pthread_join(thread, &tag), 0);
	assert_non_null(tag);
	assert_rc(rig_commit(&x, (uintptr_t)tag, 0), 0);
	assert_rc(rig_commit(&x, fresh.out_tag, 0), 0);
	rig_exec_close(&x);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(executors_that_others_kill_are_not_counted),
		CASE(executors_that_crash_are_counted),
		CASE(the_innocent_beside_the_guilty_is_run),
		CASE(suspects_are_handed_out_one_at_a_time),
		CASE(suspects_wake_commands_of_io_uring),
		CASE(suspects_that_are_given_up_keep_nobody_waiting),
	};
	int failed = 0;

	if (!getenv("VBLACKWELL_SELFTEST_NODE")) {
		fprintf(stderr, "SKIP: death: VBLACKWELL_SELFTEST_NODE is not set\n");
		return 0;
	}
	failed += SELFTEST_RUN("death", tests, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}

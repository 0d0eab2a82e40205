// SPDX-License-Identifier: MIT
/*
 * Who waits for work or for fences without io_uring: poll() on both nodes of the module,
 * and a fetch that looks for work awake before it sleeps.  Runs in the machine of
 * tests/vm/run.sh.
 */
#include "vm/uring_rig.h"

#include <poll.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(client_node_polls_for_fences_that_nobody_was_told_of),
		EXECUTOR(poll_on_a_client_node_wakes_up),
		EXECUTOR(executor_node_polls_for_work),
		EXECUTOR(executor_node_without_executor_is_in_error),
		EXECUTOR(fetch_that_spins_finds_work_or_sleeps),
	};

	if (!selftest_has_module("poll"))
		return 0;
	return SELFTEST_RUN("poll", tests, RIG_NONE, 0, 0) ? 1 : 0;
}

// SPDX-License-Identifier: MIT
/*
 * Fences and submissions of clients as CQEs: each comes when its fence has ended, and
 * tells how.  Runs in the machine of tests/vm/run.sh.
 */
#include "vm/uring_rig.h"

#include <sys/eventfd.h>

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

static uint64_t in_flight(void)
{
	struct vb_ioc_limit cmd = { .size = sizeof(cmd), .limit = VB_LIMIT_SUBMISSIONS };

	assert_rc(vgpu_uapi_call(u, VB_IOC_LIMIT, &cmd), 0);
	return cmd.out_used;
}

/* One fence has all the waits that there may be; how many were armed. */
static uint32_t wait_all(uint32_t q, uint64_t seqno, int eventfd)
{
	struct vb_ioc_fence_eventfd cmd = {
		.size = sizeof(cmd), .queue_id = q, .seqno = seqno, .fd = eventfd,
	};
	uint32_t n = 0;
	int rc;

	while (!(rc = vgpu_uapi_call(u, VB_IOC_FENCE_EVENTFD, &cmd)))
		n++;
	assert_rc(rc, -EDQUOT);
	return n;
}

/* Nobody would hear how it ends: also when it is its wait that is one too many. */
static void submission_beyond_a_limit_is_not_there(void **state)
{
	uint32_t q = new_queue();
	uint64_t ended;
	struct rig_stream s;
	struct vb_ioc_submit cmd;
	int e = eventfd(0, EFD_CLOEXEC);

	(void)state;
	rig_stream(&s);
	rig_add_nop(&s);
	submit_nop(q);
	cmd = rig_submission(q, &s);
	assert_rc(rig_limit(u, VB_LIMIT_SUBMISSIONS, 1), 0);
	assert_rc(submit_raw(&cmd, 0), -EDQUOT);
	assert_rc(rig_limit(u, VB_LIMIT_SUBMISSIONS, 100), 0);
	assert_int_equal(wait_all(q, 1, e), VB_WAITS_MAX);
	assert_rc(submit_raw(&cmd, 0), -EDQUOT);
	assert_int_equal(cmd.out_seqno, 0);
	assert_int_equal(in_flight(), 1);
	commit_next(0);
	assert_int_equal(read(e, &ended, sizeof(ended)), sizeof(ended));
	assert_int_equal(ended, VB_WAITS_MAX);
	close(e);
	/* What was refused has used up no wait. */
	assert_int_equal(submit_nop(q), 2);
	e = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(wait_all(q, 2, e), VB_WAITS_MAX);
	commit_next(0);
	close(e);
	ring_add_submit(&c, &cmd, 1);
	expect_nothing(&c);
	commit_next(0);
	expect(&c, 1, 0);
}

/* By ioctl or by ring: nobody would know its number. */
static void submission_that_cannot_be_answered_is_not_there(void **state)
{
	struct vb_ioc_submit *cmd = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t q = new_queue();
	struct rig_stream s;

	(void)state;
	rig_stream(&s);
	rig_add_nop(&s);
	*cmd = rig_submission(q, &s);
	assert_int_equal(mprotect(cmd, 4096, PROT_READ), 0);
	assert_rc(vgpu_uapi_call(u, VB_IOC_SUBMIT, cmd), -EFAULT);
	assert_rc(submit_raw(cmd, 0), -EFAULT);
	assert_int_equal(in_flight(), 0);
	assert_int_equal(submit_nop(q), 1);
	commit_next(0);
	munmap(cmd, 4096);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(fence_becomes_a_cqe),
		BOTH(waits_are_checked),
		BOTH(submission_ends_in_a_cqe),
		BOTH(submissions_are_checked_as_by_ioctl),
		BOTH(submission_beyond_a_limit_is_not_there),
		BOTH(submission_that_cannot_be_answered_is_not_there),
		BOTH(linked_submissions_run_one_after_the_other),
		BOTH(cqes_of_many_queues_tell_the_truth),
	};

	if (!selftest_has_module("uring, fences"))
		return 0;
	return SELFTEST_RUN("uring, fences", tests, RIG_NONE, 0, 0) ? 1 : 0;
}

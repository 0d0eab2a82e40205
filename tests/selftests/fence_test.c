// SPDX-License-Identifier: MIT
/* Fences: waiting for them, how they ended, what waits for them. */
#include "selftests/hands.h"

#include <poll.h>
#include <sys/eventfd.h>

/* ---- waiting ---- */

static void wait_looks_only_with_timeout_zero(void **state)
{
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	submit_nop(q);
	assert_rc(rig_wait(u, q, 1, 0), -ETIME);
	assert_rc(rig_wait(u, q, 1, 5), -ETIME);
	assert_rc(rig_commit(&x, fetch_submission(NULL), 0), 0);
	assert_rc(rig_wait(u, q, 1, 0), 0);
}

static void fence_never_submitted_is_einval(void **state)
{
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	assert_rc(rig_wait(u, q, 0, 0), -EINVAL);
	assert_rc(rig_wait(u, q, 1, 0), -EINVAL);
	submit_nop(q);
	assert_rc(rig_wait(u, q, 2, 0), -EINVAL);
}

static void status_of_each_of_many_is_kept_for_its_waiter(void **state)
{
	enum { N = 500 };
	struct rig_stream s;
	uint32_t q;

	(void)state;
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_queue(u, 0, &q), 0);
	for (int i = 0; i < N; i++)
		assert_rc(rig_submit(u, q, &s, NULL), 0);
	for (int i = 0; i < N; i++)
		assert_rc(rig_commit(&x, fetch_submission(NULL), i % 3 ? -EIO : 0), 0);
	for (uint64_t i = 0; i < N; i++)
		assert_rc(rig_wait(u, q, i + 1, 0), i % 3 ? -EIO : 0);
}

/* More than the default limit of a client: who raises it has as many results. */
static void results_of_all_that_were_in_flight_are_kept(void **state)
{
	enum { MANY = 9000 };
	struct rig_stream s;
	uint32_t q;

	(void)state;
	if (rig_limit(u, VB_LIMIT_SUBMISSIONS, MANY)) {
		print_message("SKIP: this user may not raise the limit of submissions in flight\n");
		skip();
	}
	assert_rc(rig_queue(u, 0, &q), 0);
	rig_stream(&s);
	for (int i = 0; i < MANY; i++)
		assert_rc(rig_submit(u, q, &s, NULL), 0);
	for (int i = 0; i < MANY; i++)
		assert_rc(rig_commit(&x, fetch_submission(NULL), i % 3 ? -EIO : 0), 0);
	for (uint64_t i = 0; i < MANY; i++)
		assert_rc(rig_wait(u, q, i + 1, 0), i % 3 ? -EIO : 0);
}

static void a_failure_is_never_forgotten_into_success(void **state)
{
	int rc;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	submit_nop(q);
	assert_rc(rig_commit(&x, fetch_submission(NULL), -EIO), 0);
	for (int i = 0; i < 20000; i++) {
		submit_nop(q);
		assert_rc(rig_commit(&x, fetch_submission(NULL), 0), 0);
	}
	rc = rig_wait(u, q, 1, 0);
	assert_true(rc == -EIO || rc == -ESTALE);
	assert_rc(rig_wait(u, q, 2, 0), 0);
	assert_rc(rig_wait(u, q, 20001, 0), 0);
}

/* More is kept of what comes then; what has left does not come back as something else. */
static void a_failure_stays_forgotten_when_more_is_in_flight(void **state)
{
	enum { BEFORE = 40, AT_ONCE = 200 };
	uint32_t q;
	int rc;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	submit_nop(q);
	assert_rc(rig_commit(&x, fetch_submission(NULL), -EIO), 0);
	for (int i = 0; i < BEFORE; i++) {
		submit_nop(q);
		assert_rc(rig_commit(&x, fetch_submission(NULL), 0), 0);
	}
	for (int i = 0; i < AT_ONCE; i++) {
		submit_nop(q);
		rc = rig_wait(u, q, 1, 0);
		assert_true(rc == -EIO || rc == -ESTALE);
		assert_rc(rig_wait(u, q, BEFORE + 1, 0), 0);
	}
	for (int i = 0; i < AT_ONCE; i++)
		assert_rc(rig_commit(&x, fetch_submission(NULL), i == 7 ? -EIO : 0), 0);
	rc = rig_wait(u, q, 1, 0);
	assert_true(rc == -EIO || rc == -ESTALE);
	assert_rc(rig_wait(u, q, BEFORE + 2 + 7, 0), -EIO);
	assert_rc(rig_wait(u, q, BEFORE + 1 + AT_ONCE, 0), 0);
}

/* ---- in-fences ---- */

static void in_fence_holds_a_submission_back(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint64_t tag;
	uint32_t a, b;

	(void)state;
	assert_rc(rig_queue(u, 0, &a), 0);
	assert_rc(rig_queue(u, 0, &b), 0);
	submit_nop(a);
	rig_stream(&s);
	rig_add_nop(&s);
	rig_add_fence(&s, a, 1);
	assert_rc(rig_submit(u, b, &s, NULL), 0);
	tag = fetch_submission(NULL);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	assert_rc(rig_commit(&x, tag, 0), 0);
	assert_rc(rig_commit(&x, fetch_submission(NULL), 0), 0);
	assert_rc(rig_wait(u, b, 1, 0), 0);
}

static void in_fences_make_a_chain_over_queues(void **state)
{
	enum { N = 8, ELEMENTS = 1000 };
	uint32_t q[N], bo[N];
	struct rig_stream s;
	float got[ELEMENTS];

	(void)state;
	for (uint32_t i = 0; i < N; i++) {
		assert_rc(rig_queue(u, 1 + i, &q[i]), 0);
		assert_rc(rig_bo(u, sizeof(got), VB_LIFE_VOLATILE, &bo[i]), 0);
	}
	for (uint32_t i = 0; i < N; i++) {
		rig_stream(&s);
		s.flags = VB_SUBMIT_ASYNC;
		if (i) {
			rig_add_copy(&s, rig_add_bo(&s, bo[i - 1], VB_ACCESS_READ),
				     rig_add_bo(&s, bo[i], VB_ACCESS_WRITE), ELEMENTS);
			rig_add_fence(&s, q[i - 1], 1);
		} else {
			rig_add_fill(&s, rig_add_bo(&s, bo[0], VB_ACCESS_WRITE), 0, ELEMENTS, 4.5f);
		}
		assert_rc(rig_submit(u, q[i], &s, NULL), 0);
	}
	assert_rc(rig_wait(u, q[N - 1], 1, 10000), 0);
	assert_rc(rig_read(u, bo[N - 1], 0, got, sizeof(got)), 0);
	for (int i = 0; i < ELEMENTS; i++)
		assert_true(got[i] == 4.5f);
}

/* A cycle needs a fence of the future: there is no way to name one. */
static void fence_cycles_cannot_be_made(void **state)
{
	struct rig_stream s;
	uint32_t a, b;

	(void)state;
	assert_rc(rig_queue(u, 0, &a), 0);
	assert_rc(rig_queue(u, 0, &b), 0);
	rig_stream(&s);
	rig_add_fence(&s, b, 1);
	assert_rc(rig_submit(u, a, &s, NULL), -EINVAL);
	rig_stream(&s);
	rig_add_fence(&s, a, 1);
	assert_rc(rig_submit(u, a, &s, NULL), -EINVAL);
	rig_stream(&s);
	rig_add_fence(&s, a, 0);
	assert_rc(rig_submit(u, b, &s, NULL), -EINVAL);
	assert_int_equal(submit_nop(a), 1);
}

static void fence_of_a_foreign_queue_is_enoent(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	struct rig_stream s;
	uint32_t a, mine;

	(void)state;
	assert_rc(rig_queue(u, 0, &a), 0);
	submit_nop(a);
	assert_rc(rig_queue(other, 0, &mine), 0);
	rig_stream(&s);
	rig_add_fence(&s, a + 1000, 1);
	assert_rc(rig_submit(other, mine, &s, NULL), -ENOENT);
	rig_client_close(other);
}

static void failed_in_fence_cancels_with_its_error(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint32_t q[3];
	uint64_t tag;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_rc(rig_queue(u, 0, &q[i]), 0);
	submit_nop(q[0]);
	for (int i = 1; i < 3; i++) {
		rig_stream(&s);
		rig_add_fence(&s, q[i - 1], 1);
		assert_rc(rig_submit(u, q[i], &s, NULL), 0);
	}
	tag = fetch_submission(NULL);
	assert_rc(rig_commit(&x, tag, -EIO), 0);
	assert_rc(rig_wait(u, q[1], 1, 0), -EIO);
	assert_rc(rig_wait(u, q[2], 1, 0), -EIO);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	/* One that failed before counts the same. */
	rig_stream(&s);
	rig_add_fence(&s, q[0], 1);
	assert_rc(rig_submit(u, q[1], &s, NULL), 0);
	assert_rc(rig_wait(u, q[1], 2, 0), -EIO);
}

static void a_long_chain_of_failing_fences_ends(void **state)
{
	enum { N = 2000 };
	static uint32_t q[N];
	struct rig_stream s;

	(void)state;
	assert_rc(rig_queue(u, 0, &q[0]), 0);
	submit_nop(q[0]);
	for (int i = 1; i < N; i++) {
		assert_rc(rig_queue(u, 0, &q[i]), 0);
		rig_stream(&s);
		rig_add_fence(&s, q[i - 1], 1);
		assert_rc(rig_submit(u, q[i], &s, NULL), 0);
	}
	assert_rc(rig_commit(&x, fetch_submission(NULL), -EIO), 0);
	/* A few at a time, beside whoever commits. */
	assert_rc(rig_wait(u, q[N - 1], 1, 10000), -EIO);
	for (int i = 0; i < N; i++)
		assert_rc(rig_wait(u, q[i], 1, 0), -EIO);
}

/* Of one queue: each waits for the one before, and the first for another queue's. */
static void a_queue_of_failing_fences_ends(void **state)
{
	enum { N = 500 };
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint32_t a, b;

	(void)state;
	assert_rc(rig_queue(u, 0, &a), 0);
	assert_rc(rig_queue(u, 0, &b), 0);
	submit_nop(a);
	for (uint64_t i = 0; i < N; i++) {
		rig_stream(&s);
		rig_add_nop(&s);
		rig_add_fence(&s, i ? b : a, i ? i : 1);
		assert_rc(rig_submit(u, b, &s, NULL), 0);
	}
	submit_nop(b);
	assert_rc(rig_commit(&x, fetch_submission(NULL), -EIO), 0);
	assert_rc(rig_wait(u, b, N, 10000), -EIO);
	for (uint64_t i = 1; i < N; i++)
		assert_rc(rig_wait(u, b, i, 0), -EIO);
	/* What waited for nothing is next. */
	for (int i = 0; i < 60000 && rig_fetch(&x, &req) == -EAGAIN; i++)
		usleep(1000);
	assert_int_equal(req.out_seqno, N + 1);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_rc(rig_wait(u, b, N + 1, 0), 0);
}

/* While a long chain ends, others are served; and its client may go. */
static void a_client_goes_while_its_chain_ends(void **state)
{
	enum { N = 1000, TIMES = 20 };
	uint32_t q = new_queue();

	(void)state;
	for (int t = 0; t < TIMES; t++) {
		struct vgpu_uapi *other = rig_client(&rig);
		struct rig_stream s;
		uint32_t a, b;

		assert_rc(rig_queue(other, 0, &a), 0);
		assert_rc(rig_queue(other, 0, &b), 0);
		submit_nop_of(other, a);
		for (uint64_t i = 0; i < N; i++) {
			rig_stream(&s);
			rig_add_fence(&s, i ? b : a, i ? i : 1);
			assert_rc(rig_submit(other, b, &s, NULL), 0);
		}
		assert_rc(rig_commit(&x, fetch_submission(NULL), -EIO), 0);
		rig_client_close(other);
		submit_nop(q);
		assert_rc(rig_commit(&x, fetch_submission(NULL), 0), 0);
	}
}

/* ---- eventfd ---- */

static void eventfd_gets_one_when_the_fence_ends(void **state)
{
	struct vb_ioc_fence_eventfd e = { .size = sizeof(e), .seqno = 1, .fd = eventfd(0, EFD_NONBLOCK) };
	uint64_t count = 0;

	(void)state;
	assert_rc(rig_queue(u, 0, &e.queue_id), 0);
	submit_nop(e.queue_id);
	assert_rc(vgpu_uapi_call(u, VB_IOC_FENCE_EVENTFD, &e), 0);
	assert_int_equal(read(e.fd, &count, sizeof(count)), -1);
	assert_rc(rig_commit(&x, fetch_submission(NULL), 0), 0);
	assert_int_equal(read(e.fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	assert_rc(vgpu_uapi_call(u, VB_IOC_FENCE_EVENTFD, &e), 0);	/* it has ended */
	assert_int_equal(read(e.fd, &count, sizeof(count)), sizeof(count));
	close(e.fd);
}

static void eventfd_may_be_closed_before_it_is_signalled(void **state)
{
	struct vb_ioc_fence_eventfd e = { .size = sizeof(e), .seqno = 1, .fd = eventfd(0, EFD_NONBLOCK) };
	struct pollfd p = { .events = POLLIN };
	int innocent[2];

	(void)state;
	assert_rc(rig_queue(u, 0, &e.queue_id), 0);
	submit_nop(e.queue_id);
	assert_rc(vgpu_uapi_call(u, VB_IOC_FENCE_EVENTFD, &e), 0);
	close(e.fd);
	assert_int_equal(pipe(innocent), 0);	/* takes the number */
	assert_rc(rig_commit(&x, fetch_submission(NULL), 0), 0);
	p.fd = innocent[0];
	assert_int_equal(poll(&p, 1, 0), 0);
	close(innocent[0]);
	close(innocent[1]);
}

static void full_eventfd_does_not_stop_the_device(void **state)
{
	struct vb_ioc_fence_eventfd e = { .size = sizeof(e), .seqno = 1, .fd = eventfd(0, 0) };
	uint64_t full = 0xfffffffffffffffeull;

	(void)state;
	assert_int_equal(write(e.fd, &full, sizeof(full)), sizeof(full));
	assert_rc(rig_queue(u, 0, &e.queue_id), 0);
	submit_nop(e.queue_id);
	assert_rc(vgpu_uapi_call(u, VB_IOC_FENCE_EVENTFD, &e), 0);
	assert_rc(rig_commit(&x, fetch_submission(NULL), 0), 0);
	assert_rc(rig_wait(u, e.queue_id, 1, 0), 0);
	close(e.fd);
}

static void what_is_no_eventfd_is_refused(void **state)
{
	struct vb_ioc_fence_eventfd e = { .size = sizeof(e), .seqno = 1, .fd = -1 };
	int pipes[2];

	(void)state;
	assert_rc(rig_queue(u, 0, &e.queue_id), 0);
	submit_nop(e.queue_id);
	assert_rc(vgpu_uapi_call(u, VB_IOC_FENCE_EVENTFD, &e), -EBADF);
	assert_int_equal(pipe(pipes), 0);
	e.fd = pipes[1];
	assert_rc(vgpu_uapi_call(u, VB_IOC_FENCE_EVENTFD, &e), -EINVAL);
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest by_hand[] = {
		BY_HAND(wait_looks_only_with_timeout_zero),
		BY_HAND(fence_never_submitted_is_einval),
		BY_HAND(status_of_each_of_many_is_kept_for_its_waiter),
		BY_HAND(results_of_all_that_were_in_flight_are_kept),
		BY_HAND(a_failure_is_never_forgotten_into_success),
		BY_HAND(a_failure_stays_forgotten_when_more_is_in_flight),
		BY_HAND(in_fence_holds_a_submission_back),
		BY_HAND(fence_cycles_cannot_be_made),
		BY_HAND(fence_of_a_foreign_queue_is_enoent),
		BY_HAND(failed_in_fence_cancels_with_its_error),
		BY_HAND(a_long_chain_of_failing_fences_ends),
		BY_HAND(a_queue_of_failing_fences_ends),
		BY_HAND(a_client_goes_while_its_chain_ends),
		BY_HAND(eventfd_gets_one_when_the_fence_ends),
		BY_HAND(eventfd_may_be_closed_before_it_is_signalled),
		BY_HAND(full_eventfd_does_not_stop_the_device),
		BY_HAND(what_is_no_eventfd_is_refused),
	};
	const struct CMUnitTest served[] = {
		AS_CLIENT(in_fences_make_a_chain_over_queues),
	};
	int failed = 0;

	failed += SELFTEST_RUN("fence, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("fence, slow executor", served, RIG_FAKE, 160, 0);
	failed += SELFTEST_RUN("fence, executor", served, RIG_REAL, 160, 0);
	return failed ? 1 : 0;
}

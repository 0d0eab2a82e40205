// SPDX-License-Identifier: MIT
/* Queues, fences and submissions: order, waiting, deadlines, ends. */
#include "selftests/selftest.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#define THREADS		64
#define SUBMISSIONS	50

/* An executor that does nothing unless it is told to; see hands_*. */
static struct rig_exec hands;

static int hands_setup(void **state)
{
	return selftest_setup(state) || rig_exec_open(&rig, &hands, 16) ? -1 : 0;
}

static int hands_teardown(void **state)
{
	rig_exec_close(&hands);
	return selftest_teardown(state);
}

static uint64_t submit_nop(struct vgpu_uapi *u, uint32_t queue)
{
	struct rig_stream s;
	uint64_t seqno = 0;

	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, queue, &s, &seqno), 0);
	return seqno;
}

static uint64_t fetch_submission(uint64_t *out_seqno)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_fetch(&hands, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SUBMIT);
	if (out_seqno)
		*out_seqno = req.out_seqno;
	return req.out_tag;
}

/* ---- numbers and order ---- */

static void seqnos_count_from_one_in_each_queue(void **state)
{
	uint32_t a, b;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &a), 0);
	assert_rc(rig_queue(rig.client, 0, &b), 0);
	for (uint64_t i = 1; i <= 5; i++) {
		assert_int_equal(submit_nop(rig.client, a), i);
		assert_int_equal(submit_nop(rig.client, b), i);
	}
	assert_rc(rig_wait(rig.client, a, 5, 10000), 0);
	assert_rc(rig_wait(rig.client, b, 5, 10000), 0);
}

static void one_queue_has_one_submission_in_hand_and_in_order(void **state)
{
	struct vb_ioc_fetch req;
	uint64_t tag, seqno;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	for (int i = 0; i < 3; i++)
		submit_nop(rig.client, q);
	for (uint64_t i = 1; i <= 3; i++) {
		tag = fetch_submission(&seqno);
		assert_int_equal(seqno, i);
		assert_rc(rig_fetch(&hands, &req), -EAGAIN);
		assert_rc(rig_wait(rig.client, q, i, 0), -ETIME);
		assert_rc(rig_commit(&hands, tag, 0), 0);
		assert_rc(rig_wait(rig.client, q, i, 0), 0);
	}
}

static void several_queues_are_in_hand_at_once(void **state)
{
	uint64_t tag[3];
	uint32_t q[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_rc(rig_queue(rig.client, 0, &q[i]), 0);
		submit_nop(rig.client, q[i]);
	}
	for (int i = 0; i < 3; i++)
		tag[i] = fetch_submission(NULL);
	for (int i = 3; i-- > 0;)
		assert_rc(rig_commit(&hands, tag[i], 0), 0);
	for (int i = 0; i < 3; i++)
		assert_rc(rig_wait(rig.client, q[i], 1, 0), 0);
}

static void wait_looks_only_with_timeout_zero(void **state)
{
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	submit_nop(rig.client, q);
	assert_rc(rig_wait(rig.client, q, 1, 0), -ETIME);
	assert_rc(rig_wait(rig.client, q, 1, 5), -ETIME);
	assert_rc(rig_commit(&hands, fetch_submission(NULL), 0), 0);
	assert_rc(rig_wait(rig.client, q, 1, 0), 0);
}

static void fence_never_submitted_is_einval(void **state)
{
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	assert_rc(rig_wait(rig.client, q, 0, 0), -EINVAL);
	assert_rc(rig_wait(rig.client, q, 1, 0), -EINVAL);
	submit_nop(rig.client, q);
	assert_rc(rig_wait(rig.client, q, 2, 0), -EINVAL);
}

static void weight_beyond_the_limit_is_einval(void **state)
{
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, VB_QUEUE_WEIGHT_MAX, &q), 0);
	assert_rc(rig_queue(rig.client, VB_QUEUE_WEIGHT_MAX + 1, &q), -EINVAL);
}

/* ---- results ---- */

static void status_of_each_of_many_is_kept_for_its_waiter(void **state)
{
	enum { N = 500 };
	struct rig_stream s;
	uint32_t q;

	(void)state;
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	for (int i = 0; i < N; i++)
		assert_rc(rig_submit(rig.client, q, &s, NULL), 0);
	for (int i = 0; i < N; i++)
		assert_rc(rig_commit(&hands, fetch_submission(NULL), i % 3 ? -EIO : 0), 0);
	for (uint64_t i = 0; i < N; i++)
		assert_rc(rig_wait(rig.client, q, i + 1, 0), i % 3 ? -EIO : 0);
}

/* More than the default limit of a client: who raises it has as many results. */
static void results_of_all_that_were_in_flight_are_kept(void **state)
{
	enum { MANY = 9000 };
	struct rig_stream s;
	uint32_t q;

	(void)state;
	if (rig_limit(rig.client, VB_LIMIT_SUBMISSIONS, MANY)) {
		print_message("SKIP: this user may not raise the limit of submissions in flight\n");
		skip();
	}
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	rig_stream(&s);
	for (int i = 0; i < MANY; i++)
		assert_rc(rig_submit(rig.client, q, &s, NULL), 0);
	for (int i = 0; i < MANY; i++)
		assert_rc(rig_commit(&hands, fetch_submission(NULL), i % 3 ? -EIO : 0), 0);
	for (uint64_t i = 0; i < MANY; i++)
		assert_rc(rig_wait(rig.client, q, i + 1, 0), i % 3 ? -EIO : 0);
}

static void a_failure_is_never_forgotten_into_success(void **state)
{
	int rc;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	submit_nop(rig.client, q);
	assert_rc(rig_commit(&hands, fetch_submission(NULL), -EIO), 0);
	for (int i = 0; i < 20000; i++) {
		submit_nop(rig.client, q);
		assert_rc(rig_commit(&hands, fetch_submission(NULL), 0), 0);
	}
	rc = rig_wait(rig.client, q, 1, 0);
	assert_true(rc == -EIO || rc == -ESTALE);
	assert_rc(rig_wait(rig.client, q, 2, 0), 0);
	assert_rc(rig_wait(rig.client, q, 20001, 0), 0);
}

static void bad_command_is_named(void **state)
{
	struct vb_ioc_wait w = { .size = sizeof(w), .seqno = 1 };
	struct vb_cmd_header wrong = { .opcode = VB_CMD_COUNT, .bytes = sizeof(wrong) };
	struct rig_stream s;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &w.queue_id), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	rig_add_nop(&s);
	rig_add(&s, &wrong, sizeof(wrong));
	assert_rc(rig_submit(rig.client, w.queue_id, &s, NULL), 0);
	w.timeout_ns = rig_now() + 10000000000ull;
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_WAIT, &w), 0);
	assert_int_equal(w.out_status, -EINVAL);
	assert_int_equal(w.out_bad_command, 2);
}

static void stream_header_is_checked_at_submit(void **state)
{
	struct rig_stream s;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	rig_stream(&s);
	s.h.magic ^= 1;
	assert_rc(rig_submit(rig.client, q, &s, NULL), -EINVAL);
	rig_stream(&s);
	s.h.version++;
	assert_rc(rig_submit(rig.client, q, &s, NULL), -EINVAL);
	rig_stream(&s);
	s.h.__reserved[1] = 1;
	assert_rc(rig_submit(rig.client, q, &s, NULL), -EINVAL);
	rig_stream(&s);
	s.h.bytes = sizeof(s.h) - 8;
	assert_rc(rig_submit(rig.client, q, &s, NULL), -EINVAL);
	rig_stream(&s);
	assert_rc(rig_submit(rig.client, q, &s, NULL), 0);
}

static void access_of_each_bo_is_checked_at_submit(void **state)
{
	static const uint32_t wrong[] = { 0, VB_ACCESS_DISCARD, 1u << 3, 1u << 31 | VB_ACCESS_READ };
	struct rig_stream s;
	uint32_t q, bo;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	assert_rc(rig_bo(rig.client, 100, VB_LIFE_VOLATILE, &bo), 0);
	for (int i = 0; i < 4; i++) {
		rig_stream(&s);
		rig_add_bo(&s, bo, wrong[i]);
		assert_rc(rig_submit(rig.client, q, &s, NULL), -EINVAL);
	}
	rig_stream(&s);
	rig_add_bo(&s, bo, VB_ACCESS_READ);
	rig_add_bo(&s, bo, VB_ACCESS_WRITE);
	assert_rc(rig_submit(rig.client, q, &s, NULL), -EINVAL);
	rig_stream(&s);
	rig_add_bo(&s, bo, VB_ACCESS_READ | VB_ACCESS_WRITE | VB_ACCESS_DISCARD);
	assert_rc(rig_submit(rig.client, q, &s, NULL), 0);
}

static void stream_may_change_after_submit(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(rig.client, q, &s, NULL), 0);
	memset(s.bytes, 0xff, sizeof(s.bytes));
	assert_rc(rig_fetch(&hands, &req), 0);
	assert_int_equal(*(uint32_t *)(uintptr_t)req.out_stream_address, VB_STREAM_MAGIC);
	assert_int_equal(req.out_stream_address % 8, 0);
	assert_rc(rig_commit(&hands, req.out_tag, 0), 0);
}

/* ---- in-fences ---- */

static void in_fence_holds_a_submission_back(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint64_t tag;
	uint32_t a, b;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &a), 0);
	assert_rc(rig_queue(rig.client, 0, &b), 0);
	submit_nop(rig.client, a);
	rig_stream(&s);
	rig_add_nop(&s);
	rig_add_fence(&s, a, 1);
	assert_rc(rig_submit(rig.client, b, &s, NULL), 0);
	tag = fetch_submission(NULL);
	assert_rc(rig_fetch(&hands, &req), -EAGAIN);
	assert_rc(rig_commit(&hands, tag, 0), 0);
	assert_rc(rig_commit(&hands, fetch_submission(NULL), 0), 0);
	assert_rc(rig_wait(rig.client, b, 1, 0), 0);
}

static void in_fences_make_a_chain_over_queues(void **state)
{
	enum { N = 8, ELEMENTS = 1000 };
	uint32_t q[N], bo[N];
	struct rig_stream s;
	float got[ELEMENTS];

	(void)state;
	for (uint32_t i = 0; i < N; i++) {
		assert_rc(rig_queue(rig.client, 1 + i, &q[i]), 0);
		assert_rc(rig_bo(rig.client, sizeof(got), VB_LIFE_VOLATILE, &bo[i]), 0);
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
		assert_rc(rig_submit(rig.client, q[i], &s, NULL), 0);
	}
	assert_rc(rig_wait(rig.client, q[N - 1], 1, 10000), 0);
	assert_rc(rig_read(rig.client, bo[N - 1], 0, got, sizeof(got)), 0);
	for (int i = 0; i < ELEMENTS; i++)
		assert_true(got[i] == 4.5f);
}

/* A cycle needs a fence of the future: there is no way to name one. */
static void fence_cycles_cannot_be_made(void **state)
{
	struct rig_stream s;
	uint32_t a, b;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &a), 0);
	assert_rc(rig_queue(rig.client, 0, &b), 0);
	rig_stream(&s);
	rig_add_fence(&s, b, 1);
	assert_rc(rig_submit(rig.client, a, &s, NULL), -EINVAL);
	rig_stream(&s);
	rig_add_fence(&s, a, 1);
	assert_rc(rig_submit(rig.client, a, &s, NULL), -EINVAL);
	rig_stream(&s);
	rig_add_fence(&s, a, 0);
	assert_rc(rig_submit(rig.client, b, &s, NULL), -EINVAL);
	assert_int_equal(submit_nop(rig.client, a), 1);
}

static void fence_of_a_foreign_queue_is_enoent(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	struct rig_stream s;
	uint32_t a, mine;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &a), 0);
	submit_nop(rig.client, a);
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
		assert_rc(rig_queue(rig.client, 0, &q[i]), 0);
	submit_nop(rig.client, q[0]);
	for (int i = 1; i < 3; i++) {
		rig_stream(&s);
		rig_add_fence(&s, q[i - 1], 1);
		assert_rc(rig_submit(rig.client, q[i], &s, NULL), 0);
	}
	tag = fetch_submission(NULL);
	assert_rc(rig_commit(&hands, tag, -EIO), 0);
	assert_rc(rig_wait(rig.client, q[1], 1, 0), -EIO);
	assert_rc(rig_wait(rig.client, q[2], 1, 0), -EIO);
	assert_rc(rig_fetch(&hands, &req), -EAGAIN);
	/* One that failed before counts the same. */
	rig_stream(&s);
	rig_add_fence(&s, q[0], 1);
	assert_rc(rig_submit(rig.client, q[1], &s, NULL), 0);
	assert_rc(rig_wait(rig.client, q[1], 2, 0), -EIO);
}

static void a_long_chain_of_failing_fences_ends(void **state)
{
	enum { N = 2000 };
	static uint32_t q[N];
	struct rig_stream s;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q[0]), 0);
	submit_nop(rig.client, q[0]);
	for (int i = 1; i < N; i++) {
		assert_rc(rig_queue(rig.client, 0, &q[i]), 0);
		rig_stream(&s);
		rig_add_fence(&s, q[i - 1], 1);
		assert_rc(rig_submit(rig.client, q[i], &s, NULL), 0);
	}
	assert_rc(rig_commit(&hands, fetch_submission(NULL), -EIO), 0);
	assert_rc(rig_wait(rig.client, q[N - 1], 1, 0), -EIO);
}

/* ---- deadlines and cancellation ---- */

static void deadline_of_queued_work_is_etime_and_it_never_runs(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint64_t tag;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	submit_nop(rig.client, q);
	tag = fetch_submission(NULL);
	rig_stream(&s);
	rig_add_nop(&s);
	s.deadline_ns = rig_now() + 2000000;
	assert_rc(rig_submit(rig.client, q, &s, NULL), 0);
	usleep(5000);
	assert_rc(rig_commit(&hands, tag, 0), 0);
	assert_rc(rig_fetch(&hands, &req), -EAGAIN);
	assert_rc(rig_wait(rig.client, q, 1, 0), 0);
	assert_rc(rig_wait(rig.client, q, 2, 0), -ETIME);
	struct vb_ioc_wait w = { .size = sizeof(w), .queue_id = q, .seqno = 2 };
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_WAIT, &w), 0);
	assert_int_equal(w.out_status, -ETIME);
}

static void deadline_comes_while_a_fence_is_waited_for(void **state)
{
	struct vb_ioc_wait w = { .size = sizeof(w), .seqno = 1 };
	struct rig_stream s;
	uint32_t a, b;
	uint64_t tag;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &a), 0);
	assert_rc(rig_queue(rig.client, 0, &b), 0);
	submit_nop(rig.client, a);
	tag = fetch_submission(NULL);
	rig_stream(&s);
	rig_add_nop(&s);
	rig_add_fence(&s, a, 1);
	s.deadline_ns = rig_now() + 3000000;
	assert_rc(rig_submit(rig.client, b, &s, NULL), 0);
	w.queue_id = b;
	w.timeout_ns = rig_now() + 10000000000ull;
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_WAIT, &w), 0);
	assert_int_equal(w.out_status, -ETIME);
	assert_true(rig_now() >= s.deadline_ns);
	assert_rc(rig_commit(&hands, tag, 0), 0);
}

static void *sleep_in_fetch(void *arg)
{
	struct vb_ioc_fetch req = { .size = sizeof(req) };

	(void)arg;
	return (void *)(intptr_t)vgpu_uapi_call(hands.node, VB_IOC_FETCH, &req);
}

/* No thread of the client waits: the executor that sleeps for work keeps the time. */
static void deadline_comes_while_everybody_sleeps(void **state)
{
	struct vb_ioc_fence_eventfd e = { .size = sizeof(e), .seqno = 1, .fd = eventfd(0, EFD_NONBLOCK) };
	struct pollfd p = { .fd = e.fd, .events = POLLIN };
	struct rig_stream s;
	pthread_t thread;
	uint32_t a;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &a), 0);
	assert_rc(rig_queue(rig.client, 0, &e.queue_id), 0);
	submit_nop(rig.client, a);
	fetch_submission(NULL);
	assert_int_equal(pthread_create(&thread, NULL, sleep_in_fetch, NULL), 0);
	usleep(20000);
	rig_stream(&s);
	rig_add_fence(&s, a, 1);
	s.deadline_ns = rig_now() + 20000000;
	assert_rc(rig_submit(rig.client, e.queue_id, &s, NULL), 0);
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_FENCE_EVENTFD, &e), 0);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(rig_now() >= s.deadline_ns);
	assert_rc(rig_fetch_end(&rig, thread), 0);
	close(e.fd);
}

static uint32_t poll_cancel(uint64_t tag)
{
	struct vb_ioc_poll_cancel c = { .size = sizeof(c), .tag = tag, .out_cancel = 77 };

	assert_rc(vgpu_uapi_call(hands.node, VB_IOC_POLL_CANCEL, &c), 0);
	return c.out_cancel;
}

static void deadline_of_running_work_is_told_to_the_executor(void **state)
{
	struct rig_stream s;
	uint64_t tag;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	s.deadline_ns = rig_now() + 50000000;
	assert_rc(rig_submit(rig.client, q, &s, NULL), 0);
	tag = fetch_submission(NULL);
	assert_int_equal(poll_cancel(tag), VB_CANCEL_NONE);
	usleep(60000);
	assert_int_equal(poll_cancel(tag), VB_CANCEL_DEADLINE);
	assert_rc(rig_wait(rig.client, q, 1, 0), -ETIME);	/* still runs: busy until commit */
	assert_rc(rig_commit(&hands, tag, -ETIME), 0);
	struct vb_ioc_wait w = { .size = sizeof(w), .queue_id = q, .seqno = 1 };
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_WAIT, &w), 0);
	assert_int_equal(w.out_status, -ETIME);
}

static void destroyed_queue_cancels_what_waits_and_discards_what_runs(void **state)
{
	int event = eventfd(0, EFD_NONBLOCK);
	struct vb_ioc_fence_eventfd e = { .size = sizeof(e), .fd = event };
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint64_t tag, count;
	uint32_t q, other;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	assert_rc(rig_queue(rig.client, 0, &other), 0);
	for (int i = 0; i < 3; i++)
		submit_nop(rig.client, q);
	tag = fetch_submission(NULL);
	e.queue_id = q;
	for (e.seqno = 1; e.seqno <= 3; e.seqno++)
		assert_rc(vgpu_uapi_call(rig.client, VB_IOC_FENCE_EVENTFD, &e), 0);
	rig_stream(&s);
	rig_add_fence(&s, q, 3);
	assert_rc(rig_submit(rig.client, other, &s, NULL), 0);
	assert_rc(rig_queue_destroy(rig.client, q), 0);
	assert_int_equal(read(event, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 2);
	assert_rc(rig_wait(rig.client, other, 1, 0), -ECANCELED);
	assert_int_equal(poll_cancel(tag), VB_CANCEL_CLIENT);
	assert_rc(rig_commit(&hands, tag, 0), 0);
	assert_int_equal(read(event, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	assert_rc(rig_fetch(&hands, &req), -EAGAIN);
	close(event);
}

static void closed_client_is_cancelled_and_gives_everything_back(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	struct vb_ioc_query_tier tier;
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint32_t q, bo;
	uint64_t tag;

	(void)state;
	assert_rc(rig_queue(other, 0, &q), 0);
	assert_rc(rig_bo(other, 2 * rig.chunk_bytes, VB_LIFE_VOLATILE, &bo), 0);
	rig_stream(&s);
	rig_add_fill(&s, rig_add_bo(&s, bo, VB_ACCESS_WRITE), 0, 10, 1.0f);
	for (int i = 0; i < 3; i++)
		assert_rc(rig_submit(other, q, &s, NULL), 0);
	assert_rc(rig_fetch(&hands, &req), 0);
	tag = req.out_tag;
	bo = ((struct vb_exec_bo *)(uintptr_t)req.out_bos_address)->object;
	assert_rc(rig_step(&hands, bo, 0, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST), 0);
	assert_rc(rig_step(&hands, bo, 0, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST), 0);
	rig_client_close(other);
	assert_int_equal(poll_cancel(tag), VB_CANCEL_CLIENT);
	assert_rc(rig_fetch(&hands, &req), -EAGAIN);	/* busy until the commit */
	assert_rc(rig_tier(rig.client, VB_TIER_HOST, &tier), 0);
	assert_int_equal(tier.out_used_bytes, rig.chunk_bytes);
	assert_rc(rig_commit(&hands, tag, 0), 0);
	assert_rc(rig_fetch(&hands, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_FORGET);
	assert_int_equal(req.out_object, bo);
	assert_rc(rig_commit(&hands, req.out_tag, 0), 0);
	assert_rc(rig_tier(rig.client, VB_TIER_HOST, &tier), 0);
	assert_int_equal(tier.out_used_bytes, 0);
	assert_int_equal(tier.out_reserved_bytes, 0);
}

static void submissions_in_flight_are_limited(void **state)
{
	struct rig_stream s;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	assert_rc(rig_limit(rig.client, VB_LIMIT_SUBMISSIONS, 3), 0);
	for (int i = 0; i < 3; i++)
		submit_nop(rig.client, q);
	rig_stream(&s);
	assert_rc(rig_submit(rig.client, q, &s, NULL), -EDQUOT);
	assert_rc(rig_commit(&hands, fetch_submission(NULL), 0), 0);
	assert_int_equal(submit_nop(rig.client, q), 4);
}

static void device_without_executor_is_enodev(void **state)
{
	struct rig_stream s;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	rig_stream(&s);
	assert_rc(rig_submit(rig.client, q, &s, NULL), -ENODEV);
}

static void executor_that_leaves_ends_everything_with_enodev(void **state)
{
	uint32_t a, b;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &a), 0);
	assert_rc(rig_queue(rig.client, 0, &b), 0);
	submit_nop(rig.client, a);
	submit_nop(rig.client, a);
	submit_nop(rig.client, b);
	fetch_submission(NULL);
	rig_exec_close(&hands);
	assert_rc(rig_wait(rig.client, a, 1, 0), -ENODEV);
	assert_rc(rig_wait(rig.client, a, 2, 0), -ENODEV);
	assert_rc(rig_wait(rig.client, b, 1, 0), -ENODEV);
}

/* ---- eventfd ---- */

static void eventfd_gets_one_when_the_fence_ends(void **state)
{
	struct vb_ioc_fence_eventfd e = { .size = sizeof(e), .seqno = 1, .fd = eventfd(0, EFD_NONBLOCK) };
	uint64_t count = 0;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &e.queue_id), 0);
	submit_nop(rig.client, e.queue_id);
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_FENCE_EVENTFD, &e), 0);
	assert_int_equal(read(e.fd, &count, sizeof(count)), -1);
	assert_rc(rig_commit(&hands, fetch_submission(NULL), 0), 0);
	assert_int_equal(read(e.fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_FENCE_EVENTFD, &e), 0);	/* it has ended */
	assert_int_equal(read(e.fd, &count, sizeof(count)), sizeof(count));
	close(e.fd);
}

static void eventfd_may_be_closed_before_it_is_signalled(void **state)
{
	struct vb_ioc_fence_eventfd e = { .size = sizeof(e), .seqno = 1, .fd = eventfd(0, EFD_NONBLOCK) };
	struct pollfd p = { .events = POLLIN };
	int innocent[2];

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &e.queue_id), 0);
	submit_nop(rig.client, e.queue_id);
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_FENCE_EVENTFD, &e), 0);
	close(e.fd);
	assert_int_equal(pipe(innocent), 0);	/* takes the number */
	assert_rc(rig_commit(&hands, fetch_submission(NULL), 0), 0);
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
	assert_rc(rig_queue(rig.client, 0, &e.queue_id), 0);
	submit_nop(rig.client, e.queue_id);
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_FENCE_EVENTFD, &e), 0);
	assert_rc(rig_commit(&hands, fetch_submission(NULL), 0), 0);
	assert_rc(rig_wait(rig.client, e.queue_id, 1, 0), 0);
	close(e.fd);
}

static void what_is_no_eventfd_is_refused(void **state)
{
	struct vb_ioc_fence_eventfd e = { .size = sizeof(e), .seqno = 1, .fd = -1 };
	int pipes[2];

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &e.queue_id), 0);
	submit_nop(rig.client, e.queue_id);
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_FENCE_EVENTFD, &e), -EBADF);
	assert_int_equal(pipe(pipes), 0);
	e.fd = pipes[1];
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_FENCE_EVENTFD, &e), -EINVAL);
	close(pipes[0]);
	close(pipes[1]);
}

/* ---- shares ---- */

/* Busy time is clamped to the wall, so time really has to pass. */
static void queues_share_time_by_weight(void **state)
{
	uint32_t q[2], light = 0, heavy = 0;

	(void)state;
	assert_rc(rig_queue(rig.client, 100, &q[0]), 0);
	assert_rc(rig_queue(rig.client, 300, &q[1]), 0);
	for (int i = 0; i < 400; i++) {
		submit_nop(rig.client, q[0]);
		submit_nop(rig.client, q[1]);
	}
	for (int i = 0; i < 200; i++) {
		struct vb_ioc_fetch req;
		struct vb_ioc_commit c = { .size = sizeof(c), .generation = hands.generation,
					   .busy_ns = 10000000 };
		uint64_t until;

		assert_rc(rig_fetch(&hands, &req), 0);
		light += req.out_weight == 100;
		heavy += req.out_weight == 300;
		until = rig_now() + 250000;
		while (rig_now() < until)
			;
		c.tag = req.out_tag;
		c.busy_ns = 250000;
		assert_rc(vgpu_uapi_call(hands.node, VB_IOC_COMMIT, &c), 0);
	}
	/* 50 to 150, and some slack for a clock that others use too. */
	assert_in_range(light, 42, 58);
	assert_in_range(heavy, 142, 158);
}

/* ---- shares of clients: which jobs are fetched, counted ---- */

#define SHARERS	16u

/* A client with so many queues, each with so many submissions; its number for the executor. */
static struct vgpu_uapi *client_with_queues(uint32_t queues, uint32_t each)
{
	struct vgpu_uapi *c = rig_client(&rig);

	assert_non_null(c);
	for (uint32_t i = 0; i < queues; i++) {
		uint32_t q;

		assert_rc(rig_queue(c, 0, &q), 0);
		for (uint32_t k = 0; k < each; k++)
			submit_nop(c, q);
	}
	return c;
}

/* Fetch and commit, @at_once in the executor's hands; counts the jobs of each client. */
static void run_jobs(uint32_t jobs, uint32_t at_once, uint32_t *of_client, uint32_t clients)
{
	struct vb_ioc_fetch req[SHARERS];

	memset(of_client, 0, clients * sizeof(*of_client));
	for (uint32_t done = 0; done < jobs; done += at_once) {
		for (uint32_t i = 0; i < at_once; i++) {
			assert_rc(rig_fetch(&hands, &req[i]), 0);
			of_client[req[i].out_client % clients]++;
		}
		for (uint32_t i = 0; i < at_once; i++)
			assert_rc(rig_commit(&hands, req[i].out_tag, 0), 0);
	}
}

/* Two clients that follow each other: their numbers differ by one. */
static void many_queues_are_no_larger_share(void **state)
{
	struct vgpu_uapi *greedy = client_with_queues(64, 4), *polite = client_with_queues(1, 64);
	uint32_t jobs[2];

	(void)state;
	run_jobs(100, 1, jobs, 2);
	assert_in_range(jobs[0], 45, 55);
	assert_in_range(jobs[1], 45, 55);
	rig_client_close(greedy);
	rig_client_close(polite);
}

static void clients_share_time_by_their_weights(void **state)
{
	struct vgpu_uapi *light = client_with_queues(8, 40), *heavy = client_with_queues(2, 160);
	uint32_t jobs[2];

	(void)state;
	assert_rc(rig_limit(heavy, VB_LIMIT_WEIGHT, 1001), -EINVAL);
	assert_rc(rig_limit(heavy, VB_LIMIT_WEIGHT, 0), -EINVAL);
	assert_rc(rig_limit(heavy, VB_LIMIT_WEIGHT, 300), 0);
	run_jobs(200, 1, jobs, 2);
	assert_in_range(jobs[0] < jobs[1] ? jobs[0] : jobs[1], 45, 55);
	rig_client_close(light);
	rig_client_close(heavy);
}

/* An executor that takes sixteen before it ends one does not get them from one client. */
static void jobs_in_hand_are_shared_too(void **state)
{
	struct vgpu_uapi *greedy = client_with_queues(64, 4), *polite = client_with_queues(8, 16);
	uint32_t jobs[2];

	(void)state;
	run_jobs(16, SHARERS, jobs, 2);
	assert_in_range(jobs[0], 7, 9);
	assert_in_range(jobs[1], 7, 9);
	rig_client_close(greedy);
	rig_client_close(polite);
}

static void no_client_of_sixteen_gets_less_than_half_its_share(void **state)
{
	struct vgpu_uapi *c[SHARERS];
	uint32_t jobs[SHARERS];

	(void)state;
	for (uint32_t i = 0; i < SHARERS; i++)
		c[i] = client_with_queues(1 + i, 40 / (1 + i) + 1);
	run_jobs(20 * SHARERS, 1, jobs, SHARERS);
	for (uint32_t i = 0; i < SHARERS; i++)
		assert_in_range(jobs[i], 10, 40);
	for (uint32_t i = 0; i < SHARERS; i++)
		rig_client_close(c[i]);
}

static void busy_time_is_clamped_to_the_wall(void **state)
{
	struct vb_ioc_wait w = { .size = sizeof(w), .seqno = 1 };
	struct vb_ioc_commit c = { .size = sizeof(c), .generation = hands.generation,
				   .busy_ns = ~0ull };
	uint64_t counters[VB_COUNT_COUNT], before = rig_now();
	struct vb_ioc_stats stats = { .size = sizeof(stats), .count = VB_COUNT_COUNT,
				      .address = (uintptr_t)counters };

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &w.queue_id), 0);
	submit_nop(rig.client, w.queue_id);
	c.tag = fetch_submission(NULL);
	assert_rc(vgpu_uapi_call(hands.node, VB_IOC_COMMIT, &c), 0);
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_WAIT, &w), 0);
	assert_in_range(w.out_busy_ns, 1, rig_now() - before);
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_STATS, &stats), 0);
	assert_int_equal(counters[VB_COUNT_BUSY_NS], w.out_busy_ns);
	assert_int_equal(counters[VB_COUNT_SUBMITS], 1);
}

static void page_ins_do_not_starve_submissions(void **state)
{
	struct vb_ioc_fetch req;
	uint32_t q, bo, seen = 0;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	assert_rc(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &bo), 0);
	for (int i = 0; i < 100; i++)
		assert_rc(rig_advise(rig.client, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	submit_nop(rig.client, q);
	for (int i = 0; i < 20; i++) {
		assert_rc(rig_fetch(&hands, &req), 0);
		seen += req.out_type == VB_FETCH_SUBMIT;
		assert_rc(rig_commit(&hands, req.out_tag, 0), 0);
	}
	assert_int_equal(seen, 1);
}

/* Whoever asks for much has others served between two requests of his. */
static void clients_that_ask_for_page_ins_take_turns(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	struct vb_ioc_fetch req;
	uint32_t first = 0, last = 0, bo[2];

	(void)state;
	assert_rc(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &bo[0]), 0);
	assert_rc(rig_bo(other, 1, VB_LIFE_VOLATILE, &bo[1]), 0);
	for (int i = 0; i < 30; i++)
		assert_rc(rig_advise(rig.client, bo[0], VB_ADVISE_PREFETCH, 0, 1), 0);
	for (int i = 0; i < 5; i++)
		assert_rc(rig_advise(other, bo[1], VB_ADVISE_PREFETCH, 0, 1), 0);
	for (int i = 0; i < 35; i++) {
		assert_rc(rig_fetch(&hands, &req), 0);
		assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
		first = i ? first : req.out_client;
		if (i < 10)
			assert_int_not_equal(req.out_client, last);
		else
			assert_int_equal(req.out_client, first);
		last = req.out_client;
		assert_rc(rig_commit(&hands, req.out_tag, 0), 0);
	}
	rig_client_close(other);
}

/* Executor time is executor time, whatever for. */
static void page_ins_of_who_had_more_wait_for_submissions(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	struct vb_ioc_commit c = { .size = sizeof(c), .generation = hands.generation,
				   .busy_ns = 50000000 };
	struct vb_ioc_fetch req;
	uint32_t q, bo;

	(void)state;
	assert_rc(rig_queue(other, 0, &q), 0);
	assert_rc(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &bo), 0);
	for (int i = 0; i < 2; i++)
		assert_rc(rig_advise(rig.client, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(&hands, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	c.tag = req.out_tag;
	assert_rc(vgpu_uapi_call(hands.node, VB_IOC_COMMIT, &c), 0);
	submit_nop(other, q);
	assert_rc(rig_fetch(&hands, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SUBMIT);
	assert_rc(rig_commit(&hands, req.out_tag, 0), 0);
	assert_rc(rig_fetch(&hands, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	assert_rc(rig_commit(&hands, req.out_tag, 0), 0);
	rig_client_close(other);
}

static void urgent_fetch_gets_anything_but_submissions(void **state)
{
	struct vb_ioc_fetch req = { .size = sizeof(req) };
	uint32_t q, bo;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	assert_rc(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &bo), 0);
	submit_nop(rig.client, q);
	req.flags = VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT;
	assert_rc(vgpu_uapi_call(hands.node, VB_IOC_FETCH, &req), -EAGAIN);
	assert_rc(rig_advise(rig.client, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	req.flags = VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT;
	assert_rc(vgpu_uapi_call(hands.node, VB_IOC_FETCH, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
}

/* ---- threads ---- */

static uint32_t shared_queue;
static atomic_int wrong;

static void expect_in_thread(bool right)
{
	if (!right)
		atomic_fetch_add(&wrong, 1);
}

/* Its own queue and buffer, and one queue that all use. */
static void *submitter(void *arg)
{
	float value = (float)(uintptr_t)arg, got[64];
	uint64_t last_shared = 0, seqno = 0;
	struct rig_stream fill, nop;
	uint32_t q, bo;

	rig_stream(&nop);
	rig_add_nop(&nop);
	rig_stream(&fill);
	expect_in_thread(!rig_queue(rig.client, 0, &q));
	expect_in_thread(!rig_bo(rig.client, sizeof(got), VB_LIFE_VOLATILE, &bo));
	rig_add_fill(&fill, rig_add_bo(&fill, bo, VB_ACCESS_WRITE), 0, 64, value);
	for (uint64_t i = 1; i <= SUBMISSIONS; i++) {
		expect_in_thread(!rig_submit(rig.client, q, &fill, &seqno) && seqno == i);
		expect_in_thread(!rig_submit(rig.client, shared_queue, &nop, &seqno));
		expect_in_thread(seqno > last_shared);
		last_shared = seqno;
		if (i % 7 == 0)
			expect_in_thread(!rig_wait(rig.client, shared_queue, seqno, 120000));
	}
	expect_in_thread(!rig_wait(rig.client, q, SUBMISSIONS, 120000));
	expect_in_thread(!rig_read(rig.client, bo, 0, got, sizeof(got)));
	for (int i = 0; i < 64; i++)
		expect_in_thread(got[i] == value);
	expect_in_thread(!rig_bo_destroy(rig.client, bo));
	expect_in_thread(!rig_queue_destroy(rig.client, q));
	return NULL;
}

static void sixty_four_threads_submit_at_once(void **state)
{
	pthread_t thread[THREADS];

	(void)state;
	atomic_store(&wrong, 0);
	assert_rc(rig_queue(rig.client, 0, &shared_queue), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, submitter, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_rc(rig_wait(rig.client, shared_queue, THREADS * SUBMISSIONS, 120000), 0);
	struct rig_stream s;
	rig_stream(&s);
	assert_rc(rig_submit(rig.client, shared_queue, &s, NULL), 0);
}

/* Clients that come, submit, and go without waiting. */
static void *visitor(void *arg)
{
	struct rig_stream s;

	(void)arg;
	for (int i = 0; i < 20; i++) {
		struct vgpu_uapi *u = rig_client(&rig);
		uint32_t q, bo;

		expect_in_thread(!rig_queue(u, 0, &q) && !rig_bo(u, 4096, VB_LIFE_VOLATILE, &bo));
		rig_stream(&s);
		rig_add_fill(&s, rig_add_bo(&s, bo, VB_ACCESS_WRITE), 0, 1024, 1.0f);
		s.flags = VB_SUBMIT_ASYNC;
		for (int j = 0; j < 5; j++)
			expect_in_thread(!rig_submit(u, q, &s, NULL));
		rig_client_close(u);
	}
	return NULL;
}

static void clients_that_leave_in_a_hurry_leave_nothing_behind(void **state)
{
	struct vb_ioc_query_tier tier;
	pthread_t thread[8];

	(void)state;
	atomic_store(&wrong, 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, visitor, NULL), 0);
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	for (int i = 0; i < 2000; i++) {
		assert_rc(rig_tier(rig.client, VB_TIER_HOST, &tier), 0);
		if (!tier.out_reserved_bytes && !tier.out_pinned_bytes)
			break;
		usleep(1000);
	}
	assert_int_equal(tier.out_reserved_bytes, 0);
	assert_int_equal(tier.out_pinned_bytes, 0);
}

#define HANDS(name)	cmocka_unit_test_setup_teardown(name, hands_setup, hands_teardown)

int main(void)
{
	const struct CMUnitTest by_hand[] = {
		HANDS(one_queue_has_one_submission_in_hand_and_in_order),
		HANDS(several_queues_are_in_hand_at_once),
		HANDS(wait_looks_only_with_timeout_zero),
		HANDS(fence_never_submitted_is_einval),
		HANDS(weight_beyond_the_limit_is_einval),
		HANDS(status_of_each_of_many_is_kept_for_its_waiter),
		HANDS(results_of_all_that_were_in_flight_are_kept),
		HANDS(a_failure_is_never_forgotten_into_success),
		HANDS(stream_header_is_checked_at_submit),
		HANDS(access_of_each_bo_is_checked_at_submit),
		HANDS(stream_may_change_after_submit),
		HANDS(in_fence_holds_a_submission_back),
		HANDS(fence_cycles_cannot_be_made),
		HANDS(fence_of_a_foreign_queue_is_enoent),
		HANDS(failed_in_fence_cancels_with_its_error),
		HANDS(a_long_chain_of_failing_fences_ends),
		HANDS(deadline_of_queued_work_is_etime_and_it_never_runs),
		HANDS(deadline_comes_while_a_fence_is_waited_for),
		HANDS(deadline_comes_while_everybody_sleeps),
		HANDS(deadline_of_running_work_is_told_to_the_executor),
		HANDS(destroyed_queue_cancels_what_waits_and_discards_what_runs),
		HANDS(closed_client_is_cancelled_and_gives_everything_back),
		HANDS(submissions_in_flight_are_limited),
		TEST(device_without_executor_is_enodev),
		HANDS(executor_that_leaves_ends_everything_with_enodev),
		HANDS(eventfd_gets_one_when_the_fence_ends),
		HANDS(eventfd_may_be_closed_before_it_is_signalled),
		HANDS(full_eventfd_does_not_stop_the_device),
		HANDS(what_is_no_eventfd_is_refused),
		HANDS(queues_share_time_by_weight),
		HANDS(many_queues_are_no_larger_share),
		HANDS(clients_share_time_by_their_weights),
		HANDS(jobs_in_hand_are_shared_too),
		HANDS(no_client_of_sixteen_gets_less_than_half_its_share),
		HANDS(busy_time_is_clamped_to_the_wall),
		HANDS(page_ins_do_not_starve_submissions),
		HANDS(clients_that_ask_for_page_ins_take_turns),
		HANDS(page_ins_of_who_had_more_wait_for_submissions),
		HANDS(urgent_fetch_gets_anything_but_submissions),
	};
	const struct CMUnitTest served[] = {
		TEST(seqnos_count_from_one_in_each_queue),
		TEST(bad_command_is_named),
		TEST(in_fences_make_a_chain_over_queues),
		TEST(sixty_four_threads_submit_at_once),
		TEST(clients_that_leave_in_a_hurry_leave_nothing_behind),
	};
	int failed = 0;

	failed += SELFTEST_RUN("queue, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("queue, slow executor", served, RIG_FAKE, 160, 0);
	failed += SELFTEST_RUN("queue, executor", served, RIG_REAL, 160, 0);
	return failed ? 1 : 0;
}

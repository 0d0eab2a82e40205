// SPDX-License-Identifier: MIT
/* Submissions: what is checked, deadlines, many threads at once. */
#include "selftests/hands.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#define THREADS		64
#define SUBMISSIONS	50

/* ---- what is checked ---- */

static void bad_command_is_named(void **state)
{
	struct vb_ioc_wait w = { .size = sizeof(w), .seqno = 1 };
	struct vb_cmd_header wrong = { .opcode = VB_CMD_COUNT, .bytes = sizeof(wrong) };
	struct rig_stream s;

	(void)state;
	assert_rc(rig_queue(u, 0, &w.queue_id), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	rig_add_nop(&s);
	rig_add(&s, &wrong, sizeof(wrong));
	assert_rc(rig_submit(u, w.queue_id, &s, NULL), 0);
	w.timeout_ns = rig_now() + 10000000000ull;
	assert_rc(vgpu_uapi_call(u, VB_IOC_WAIT, &w), 0);
	assert_int_equal(w.out_status, -EINVAL);
	assert_int_equal(w.out_bad_command, 2);
}

static void stream_header_is_checked_at_submit(void **state)
{
	struct rig_stream s;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	rig_stream(&s);
	s.h.magic ^= 1;
	assert_rc(rig_submit(u, q, &s, NULL), -EINVAL);
	rig_stream(&s);
	s.h.version++;
	assert_rc(rig_submit(u, q, &s, NULL), -EINVAL);
	rig_stream(&s);
	s.h.__reserved[1] = 1;
	assert_rc(rig_submit(u, q, &s, NULL), -EINVAL);
	rig_stream(&s);
	s.h.bytes = sizeof(s.h) - 8;
	assert_rc(rig_submit(u, q, &s, NULL), -EINVAL);
	rig_stream(&s);
	assert_rc(rig_submit(u, q, &s, NULL), 0);
}

static void access_of_each_bo_is_checked_at_submit(void **state)
{
	static const uint32_t wrong[] = { 0, VB_ACCESS_DISCARD, 1u << 3, 1u << 31 | VB_ACCESS_READ };
	struct rig_stream s;
	uint32_t q, bo;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	assert_rc(rig_bo(u, 100, VB_LIFE_VOLATILE, &bo), 0);
	for (int i = 0; i < 4; i++) {
		rig_stream(&s);
		rig_add_bo(&s, bo, wrong[i]);
		assert_rc(rig_submit(u, q, &s, NULL), -EINVAL);
	}
	rig_stream(&s);
	rig_add_bo(&s, bo, VB_ACCESS_READ);
	rig_add_bo(&s, bo, VB_ACCESS_WRITE);
	assert_rc(rig_submit(u, q, &s, NULL), -EINVAL);
	rig_stream(&s);
	rig_add_bo(&s, bo, VB_ACCESS_READ | VB_ACCESS_WRITE | VB_ACCESS_DISCARD);
	assert_rc(rig_submit(u, q, &s, NULL), 0);
}

static void stream_may_change_after_submit(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, q, &s, NULL), 0);
	memset(s.bytes, 0xff, sizeof(s.bytes));
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(*(uint32_t *)(uintptr_t)req.out_stream_address, VB_STREAM_MAGIC);
	assert_int_equal(req.out_stream_address % 8, 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
}

/* ---- deadlines ---- */

static void deadline_of_queued_work_is_etime_and_it_never_runs(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint64_t tag;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	submit_nop(q);
	tag = fetch_submission(NULL);
	rig_stream(&s);
	rig_add_nop(&s);
	s.deadline_ns = rig_now() + 2000000;
	assert_rc(rig_submit(u, q, &s, NULL), 0);
	usleep(5000);
	assert_rc(rig_commit(&x, tag, 0), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	assert_rc(rig_wait(u, q, 1, 0), 0);
	assert_rc(rig_wait(u, q, 2, 0), -ETIME);
	struct vb_ioc_wait w = { .size = sizeof(w), .queue_id = q, .seqno = 2 };
	assert_rc(vgpu_uapi_call(u, VB_IOC_WAIT, &w), 0);
	assert_int_equal(w.out_status, -ETIME);
}

static void deadline_comes_while_a_fence_is_waited_for(void **state)
{
	struct vb_ioc_wait w = { .size = sizeof(w), .seqno = 1 };
	struct rig_stream s;
	uint32_t a, b;
	uint64_t tag;

	(void)state;
	assert_rc(rig_queue(u, 0, &a), 0);
	assert_rc(rig_queue(u, 0, &b), 0);
	submit_nop(a);
	tag = fetch_submission(NULL);
	rig_stream(&s);
	rig_add_nop(&s);
	rig_add_fence(&s, a, 1);
	s.deadline_ns = rig_now() + 3000000;
	assert_rc(rig_submit(u, b, &s, NULL), 0);
	w.queue_id = b;
	w.timeout_ns = rig_now() + 10000000000ull;
	assert_rc(vgpu_uapi_call(u, VB_IOC_WAIT, &w), 0);
	assert_int_equal(w.out_status, -ETIME);
	assert_true(rig_now() >= s.deadline_ns);
	assert_rc(rig_commit(&x, tag, 0), 0);
}

static void *sleep_in_fetch(void *arg)
{
	struct vb_ioc_fetch req = { .size = sizeof(req) };

	(void)arg;
	return (void *)(intptr_t)vgpu_uapi_call(x.node, VB_IOC_FETCH, &req);
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
	assert_rc(rig_queue(u, 0, &a), 0);
	assert_rc(rig_queue(u, 0, &e.queue_id), 0);
	submit_nop(a);
	fetch_submission(NULL);
	assert_int_equal(pthread_create(&thread, NULL, sleep_in_fetch, NULL), 0);
	usleep(20000);
	rig_stream(&s);
	rig_add_fence(&s, a, 1);
	s.deadline_ns = rig_now() + 20000000;
	assert_rc(rig_submit(u, e.queue_id, &s, NULL), 0);
	assert_rc(vgpu_uapi_call(u, VB_IOC_FENCE_EVENTFD, &e), 0);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(rig_now() >= s.deadline_ns);
	assert_rc(rig_fetch_end(&rig, thread), 0);
	close(e.fd);
}

/* Return: false where @ms were over before it ran, or before anybody had looked at that. */
static bool running_work_meets_its_deadline(uint32_t ms)
{
	struct vb_ioc_wait w = { .size = sizeof(w), .queue_id = new_queue(), .seqno = 1 };
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint32_t cancel;
	bool in_time;
	int rc;

	rig_stream(&s);
	rig_add_nop(&s);
	s.deadline_ns = rig_now() + ms * 1000000ull;
	assert_rc(rig_submit(u, w.queue_id, &s, NULL), 0);
	rc = rig_fetch(&x, &req);
	in_time = rig_now() < s.deadline_ns;
	if (rc) {
		assert_false(in_time);
		return false;
	}
	cancel = poll_cancel(req.out_tag);
	in_time = rig_now() < s.deadline_ns;
	assert_true(!in_time || cancel == VB_CANCEL_NONE);
	while (rig_now() <= s.deadline_ns)
		usleep(1000);
	assert_int_equal(poll_cancel(req.out_tag), VB_CANCEL_DEADLINE);
	assert_rc(rig_wait(u, w.queue_id, 1, 0), -ETIME);	/* still runs: busy until commit */
	assert_rc(rig_commit(&x, req.out_tag, -ETIME), 0);
	assert_rc(vgpu_uapi_call(u, VB_IOC_WAIT, &w), 0);
	assert_int_equal(w.out_status, -ETIME);
	return in_time;
}

static void deadline_of_running_work_is_told_to_the_executor(void **state)
{
	uint32_t ms = 50;

	(void)state;
	while (!running_work_meets_its_deadline(ms)) {
		ms *= 2;
		assert_in_range(ms, 0, 10000);
	}
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
	expect_in_thread(!rig_queue(u, 0, &q));
	expect_in_thread(!rig_bo(u, sizeof(got), VB_LIFE_VOLATILE, &bo));
	rig_add_fill(&fill, rig_add_bo(&fill, bo, VB_ACCESS_WRITE), 0, 64, value);
	for (uint64_t i = 1; i <= SUBMISSIONS; i++) {
		expect_in_thread(!rig_submit(u, q, &fill, &seqno) && seqno == i);
		expect_in_thread(!rig_submit(u, shared_queue, &nop, &seqno));
		expect_in_thread(seqno > last_shared);
		last_shared = seqno;
		if (i % 7 == 0)
			expect_in_thread(!rig_wait(u, shared_queue, seqno, 120000));
	}
	expect_in_thread(!rig_wait(u, q, SUBMISSIONS, 120000));
	expect_in_thread(!rig_read(u, bo, 0, got, sizeof(got)));
	for (int i = 0; i < 64; i++)
		expect_in_thread(got[i] == value);
	expect_in_thread(!rig_bo_destroy(u, bo));
	expect_in_thread(!rig_queue_destroy(u, q));
	return NULL;
}

static void sixty_four_threads_submit_at_once(void **state)
{
	pthread_t thread[THREADS];

	(void)state;
	atomic_store(&wrong, 0);
	assert_rc(rig_queue(u, 0, &shared_queue), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, submitter, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_rc(rig_wait(u, shared_queue, THREADS * SUBMISSIONS, 120000), 0);
	struct rig_stream s;
	rig_stream(&s);
	assert_rc(rig_submit(u, shared_queue, &s, NULL), 0);
}

/* Clients that come, submit, and go without waiting. */
static void *visitor(void *arg)
{
	struct rig_stream s;

	(void)arg;
	for (int i = 0; i < 20; i++) {
		struct vgpu_uapi *own = rig_client(&rig);
		uint32_t q, bo;

		expect_in_thread(!rig_queue(own, 0, &q) && !rig_bo(own, 4096, VB_LIFE_VOLATILE, &bo));
		rig_stream(&s);
		rig_add_fill(&s, rig_add_bo(&s, bo, VB_ACCESS_WRITE), 0, 1024, 1.0f);
		s.flags = VB_SUBMIT_ASYNC;
		for (int j = 0; j < 5; j++)
			expect_in_thread(!rig_submit(own, q, &s, NULL));
		rig_client_close(own);
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
	for (int i = 0; i < 60000; i++) {
		assert_rc(rig_tier(u, VB_TIER_HOST, &tier), 0);
		if (!tier.out_reserved_bytes && !tier.out_pinned_bytes)
			break;
		usleep(1000);
	}
	assert_int_equal(tier.out_reserved_bytes, 0);
	assert_int_equal(tier.out_pinned_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest by_hand[] = {
		BY_HAND(stream_header_is_checked_at_submit),
		BY_HAND(access_of_each_bo_is_checked_at_submit),
		BY_HAND(stream_may_change_after_submit),
		BY_HAND(deadline_of_queued_work_is_etime_and_it_never_runs),
		BY_HAND(deadline_comes_while_a_fence_is_waited_for),
		BY_HAND(deadline_comes_while_everybody_sleeps),
		BY_HAND(deadline_of_running_work_is_told_to_the_executor),
	};
	const struct CMUnitTest served[] = {
		AS_CLIENT(bad_command_is_named),
		AS_CLIENT(sixty_four_threads_submit_at_once),
		AS_CLIENT(clients_that_leave_in_a_hurry_leave_nothing_behind),
	};
	int failed = 0;

	failed += SELFTEST_RUN("submit, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("submit, slow executor", served, RIG_FAKE, 160, 0);
	failed += SELFTEST_RUN("submit, executor", served, RIG_REAL, 160, 0);
	return failed ? 1 : 0;
}

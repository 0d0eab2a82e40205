// SPDX-License-Identifier: MIT
/* Queues: numbers, order, and how they end. */
#include "selftests/hands.h"

#include <sys/eventfd.h>

/* ---- numbers and order ---- */

static void seqnos_count_from_one_in_each_queue(void **state)
{
	uint32_t a, b;

	(void)state;
	assert_rc(rig_queue(u, 0, &a), 0);
	assert_rc(rig_queue(u, 0, &b), 0);
	for (uint64_t i = 1; i <= 5; i++) {
		assert_int_equal(submit_nop(a), i);
		assert_int_equal(submit_nop(b), i);
	}
	assert_rc(rig_wait(u, a, 5, 10000), 0);
	assert_rc(rig_wait(u, b, 5, 10000), 0);
}

static void one_queue_has_one_submission_in_hand_and_in_order(void **state)
{
	struct vb_ioc_fetch req;
	uint64_t tag, seqno;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	for (int i = 0; i < 3; i++)
		submit_nop(q);
	for (uint64_t i = 1; i <= 3; i++) {
		tag = fetch_submission(&seqno);
		assert_int_equal(seqno, i);
		assert_rc(rig_fetch(&x, &req), -EAGAIN);
		assert_rc(rig_wait(u, q, i, 0), -ETIME);
		assert_rc(rig_commit(&x, tag, 0), 0);
		assert_rc(rig_wait(u, q, i, 0), 0);
	}
}

static void several_queues_are_in_hand_at_once(void **state)
{
	uint64_t tag[3];
	uint32_t q[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_rc(rig_queue(u, 0, &q[i]), 0);
		submit_nop(q[i]);
	}
	for (int i = 0; i < 3; i++)
		tag[i] = fetch_submission(NULL);
	for (int i = 3; i-- > 0;)
		assert_rc(rig_commit(&x, tag[i], 0), 0);
	for (int i = 0; i < 3; i++)
		assert_rc(rig_wait(u, q[i], 1, 0), 0);
}

static void weight_beyond_the_limit_is_einval(void **state)
{
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(u, VB_QUEUE_WEIGHT_MAX, &q), 0);
	assert_rc(rig_queue(u, VB_QUEUE_WEIGHT_MAX + 1, &q), -EINVAL);
}

/* ---- ends ---- */

static void destroyed_queue_cancels_what_waits_and_discards_what_runs(void **state)
{
	int event = eventfd(0, EFD_NONBLOCK);
	struct vb_ioc_fence_eventfd e = { .size = sizeof(e), .fd = event };
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint64_t tag, count;
	uint32_t q, other;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	assert_rc(rig_queue(u, 0, &other), 0);
	for (int i = 0; i < 3; i++)
		submit_nop(q);
	tag = fetch_submission(NULL);
	e.queue_id = q;
	for (e.seqno = 1; e.seqno <= 3; e.seqno++)
		assert_rc(vgpu_uapi_call(u, VB_IOC_FENCE_EVENTFD, &e), 0);
	rig_stream(&s);
	rig_add_fence(&s, q, 3);
	assert_rc(rig_submit(u, other, &s, NULL), 0);
	assert_rc(rig_queue_destroy(u, q), 0);
	assert_int_equal(read(event, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 2);
	assert_rc(rig_wait(u, other, 1, 0), -ECANCELED);
	assert_int_equal(poll_cancel(tag), VB_CANCEL_CLIENT);
	assert_rc(rig_commit(&x, tag, 0), 0);
	assert_int_equal(read(event, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
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
	assert_rc(rig_fetch(&x, &req), 0);
	tag = req.out_tag;
	bo = ((struct vb_exec_bo *)(uintptr_t)req.out_bos_address)->object;
	assert_rc(rig_step(&x, bo, 0, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST), 0);
	assert_rc(rig_step(&x, bo, 0, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST), 0);
	rig_client_close(other);
	assert_int_equal(poll_cancel(tag), VB_CANCEL_CLIENT);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);	/* busy until the commit */
	assert_rc(rig_tier(u, VB_TIER_HOST, &tier), 0);
	assert_int_equal(tier.out_used_bytes, rig.chunk_bytes);
	assert_rc(rig_commit(&x, tag, 0), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_FORGET);
	assert_int_equal(req.out_object, bo);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_rc(rig_tier(u, VB_TIER_HOST, &tier), 0);
	assert_int_equal(tier.out_used_bytes, 0);
	assert_int_equal(tier.out_reserved_bytes, 0);
}

static void submissions_in_flight_are_limited(void **state)
{
	struct rig_stream s;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	assert_rc(rig_limit(u, VB_LIMIT_SUBMISSIONS, 3), 0);
	for (int i = 0; i < 3; i++)
		submit_nop(q);
	rig_stream(&s);
	assert_rc(rig_submit(u, q, &s, NULL), -EDQUOT);
	assert_rc(rig_commit(&x, fetch_submission(NULL), 0), 0);
	assert_int_equal(submit_nop(q), 4);
}

static void device_without_executor_is_enodev(void **state)
{
	struct rig_stream s;
	uint32_t q;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	rig_stream(&s);
	assert_rc(rig_submit(u, q, &s, NULL), -ENODEV);
}

static void executor_that_leaves_ends_everything_with_enodev(void **state)
{
	uint32_t a, b;

	(void)state;
	assert_rc(rig_queue(u, 0, &a), 0);
	assert_rc(rig_queue(u, 0, &b), 0);
	submit_nop(a);
	submit_nop(a);
	submit_nop(b);
	fetch_submission(NULL);
	rig_exec_close(&x);
	assert_rc(rig_wait(u, a, 1, 0), -ENODEV);
	assert_rc(rig_wait(u, a, 2, 0), -ENODEV);
	assert_rc(rig_wait(u, b, 1, 0), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest by_hand[] = {
		BY_HAND(one_queue_has_one_submission_in_hand_and_in_order),
		BY_HAND(several_queues_are_in_hand_at_once),
		BY_HAND(weight_beyond_the_limit_is_einval),
		BY_HAND(destroyed_queue_cancels_what_waits_and_discards_what_runs),
		BY_HAND(closed_client_is_cancelled_and_gives_everything_back),
		BY_HAND(submissions_in_flight_are_limited),
		AS_CLIENT(device_without_executor_is_enodev),
		BY_HAND(executor_that_leaves_ends_everything_with_enodev),
	};
	const struct CMUnitTest served[] = {
		AS_CLIENT(seqnos_count_from_one_in_each_queue),
	};
	int failed = 0;

	failed += SELFTEST_RUN("queue, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("queue, slow executor", served, RIG_FAKE, 160, 0);
	failed += SELFTEST_RUN("queue, executor", served, RIG_REAL, 160, 0);
	return failed ? 1 : 0;
}

/* SPDX-License-Identifier: MIT */
/* Tests that are a client and the executor: nobody else serves what they ask for. */
#ifndef TESTS_HANDS_H
#define TESTS_HANDS_H

#include "selftests/client.h"

static struct rig_exec x;

/* With @slots slots in each arena. */
static inline int hands_open(void **state, uint32_t slots)
{
	return client_setup(state) ? -1 : rig_exec_open(&rig, &x, slots);
}

static inline int hands_setup(void **state)
{
	return hands_open(state, 16);
}

static inline int hands_teardown(void **state)
{
	rig_exec_close(&x);
	return selftest_teardown(state);
}

/* Device-wide id of a BO: the executor learns it from a request, which is a hint. */
static inline uint32_t object_of(uint32_t bo)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.flags & VB_FETCH_F_ASYNC, VB_FETCH_F_ASYNC);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	return req.out_object;
}

/* An object of @n chunks; its device-wide id. */
static inline uint32_t new_object_of(uint64_t n, uint32_t life, uint32_t *out_bo)
{
	assert_rc(rig_bo(u, chunks(n), life, out_bo), 0);
	return object_of(*out_bo);
}

static inline uint32_t new_object(uint64_t n, uint32_t *out_bo)
{
	return new_object_of(n, VB_LIFE_VOLATILE, out_bo);
}

/* ---- submissions ---- */

static inline uint64_t submit_nop_of(struct vgpu_uapi *of, uint32_t queue)
{
	struct rig_stream s;
	uint64_t seqno = 0;

	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(of, queue, &s, &seqno), 0);
	return seqno;
}

static inline uint64_t submit_nop(uint32_t queue)
{
	return submit_nop_of(u, queue);
}

static inline uint32_t new_queue(void)
{
	uint32_t q;

	assert_rc(rig_queue(u, 0, &q), 0);
	return q;
}

/* The next thing to do is a submission; its tag. */
static inline uint64_t fetch_submission(uint64_t *out_seqno)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SUBMIT);
	if (out_seqno)
		*out_seqno = req.out_seqno;
	return req.out_tag;
}

/* What the executor hears of a request that it has, VB_CANCEL_*. */
static inline uint32_t poll_cancel(uint64_t tag)
{
	struct vb_ioc_poll_cancel c = { .size = sizeof(c), .tag = tag, .out_cancel = 77 };

	assert_rc(vgpu_uapi_call(x.node, VB_IOC_POLL_CANCEL, &c), 0);
	return c.out_cancel;
}

#define BY_HAND(name)	cmocka_unit_test_setup_teardown(name, hands_setup, hands_teardown)

#endif

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

#endif

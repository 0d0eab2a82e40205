/* SPDX-License-Identifier: MIT */
/* Tests that are a client, served by whoever the group names. */
#ifndef TESTS_CLIENT_H
#define TESTS_CLIENT_H

#include "selftests/selftest.h"

static struct vgpu_uapi *u;	/* the rig's */

static inline int client_setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	return rc;
}

/* Bytes of @n chunks. */
static inline uint64_t chunks(uint64_t n)
{
	return n * rig.chunk_bytes;
}

#define AS_CLIENT(name)	cmocka_unit_test_setup_teardown(name, client_setup, selftest_teardown)

#endif

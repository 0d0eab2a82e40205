/* SPDX-License-Identifier: MIT */
/*
 * What every selftest begins with.  A group runs at both ends of the chunk sizes;
 * tests find their device in @rig and must leave it as they found it.
 */
#ifndef TESTS_SELFTEST_H
#define TESTS_SELFTEST_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/rig.h"

#define SMALL_CHUNK	VB_CHUNK_BYTES_MIN
#define LARGE_CHUNK	VB_CHUNK_BYTES_MAX

static struct rig rig;
static struct rig_params rig_params;

static inline int selftest_setup(void **state)
{
	(void)state;
	return rig_open(&rig, &rig_params);
}

static inline int selftest_teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

/* The group, or one skip when the device there is cannot run it. */
static inline int selftest_group(const char *label, const struct CMUnitTest *tests, size_t count)
{
	const char *why = rig_why_not(&rig_params);

	if (!why)
		return _cmocka_run_group_tests(label, tests, count, NULL, NULL);
	fprintf(stderr, "SKIP: %s: %s\n", label, why);
	return 0;
}

/* The group with one executor at both chunk sizes; the device is made anew for each test. */
#define SELFTEST_RUN(label, tests, who, host, nvme) ({					\
	int failed_ = 0;								\
	rig_params = (struct rig_params){ SMALL_CHUNK, who, host, nvme };		\
	failed_ += selftest_group(label ", 64 KiB chunks", tests, sizeof(tests) / sizeof((tests)[0]));\
	rig_params.chunk_bytes = LARGE_CHUNK;						\
	failed_ += selftest_group(label ", 2 MiB chunks", tests, sizeof(tests) / sizeof((tests)[0]));\
	failed_; })

#define TEST(name)	cmocka_unit_test_setup_teardown(name, selftest_setup, selftest_teardown)

/* For what can be shown in process alone. */
#define needs_loopback(why) do {							\
	if (!rig_is_ours(&rig)) {							\
		fprintf(stderr, "SKIP: %s: %s\n", __func__, why);			\
		skip();									\
	}										\
} while (0)

/* And for what takes a node with a descriptor. */
#define needs_module(why) do {								\
	if (rig_is_ours(&rig)) {							\
		fprintf(stderr, "SKIP: %s: %s\n", __func__, why);			\
		skip();									\
	}										\
} while (0)

/* For a program that is nothing without the module: is there one? */
static inline bool selftest_has_module(const char *label)
{
	if (getenv("VBLACKWELL_SELFTEST_NODE"))
		return true;
	fprintf(stderr, "SKIP: %s: VBLACKWELL_SELFTEST_NODE is not set\n", label);
	return false;
}

/* Errors are numbers with a sign: print them so. */
#define assert_rc(expression, expected)	assert_int_equal((expression), (expected))

#endif

/* SPDX-License-Identifier: MIT */
/* A program of tests, each run once for every I/O engine; include cmocka.h before it. */
#ifndef TESTS_EACH_ENGINE_H
#define TESTS_EACH_ENGINE_H

#include <stddef.h>

struct engine_test {
	const char *name;
	void (*function)(void **state);
};
#define ENGINE_TEST(f)	{ #f, f }

/**
 * struct engine_tests - what is run
 * @group: its name
 * @tests: @count of them
 * @engines: names, then NULL: *state of the tests; NULL: once, and *state is NULL
 * @setup, @teardown: of the group
 * @test_teardown: of each test, or NULL
 */
struct engine_tests {
	const char *group;
	const struct engine_test *tests;
	size_t count;
	const char *const *engines;
	int (*setup)(void **state);
	int (*teardown)(void **state);
	int (*test_teardown)(void **state);
};

/* Those that read and write files themselves. */
extern const char *const file_engines[];

/* Return: as cmocka_run_group_tests(). */
int engine_tests_run(const struct engine_tests *t);

#endif

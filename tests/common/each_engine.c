// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/each_engine.h"

#include <stdio.h>

#define TESTS_MAX	128

const char *const file_engines[] = { "uring", "threads", "buffered", NULL };

static struct CMUnitTest all[TESTS_MAX];
static char names[TESTS_MAX][96];
static size_t count;

static void add(const struct engine_tests *t, const struct engine_test *test, const char *engine)
{
	snprintf(names[count], sizeof(names[0]), "%s%s%s", test->name, engine ? " " : "",
		 engine ? engine : "");
	all[count] = (struct CMUnitTest){
		.name = names[count],
		.test_func = test->function,
		.teardown_func = t->test_teardown,
		.initial_state = (void *)engine,
	};
	count++;
}

static void add_all(const struct engine_tests *t, const char *engine)
{
	for (size_t i = 0; i < t->count; i++)
		add(t, &t->tests[i], engine);
}

int engine_tests_run(const struct engine_tests *t)
{
	if (!t->engines)
		add_all(t, NULL);
	for (const char *const *e = t->engines; e && *e; e++)
		add_all(t, *e);
	return _cmocka_run_group_tests(t->group, all, count, t->setup, t->teardown);
}

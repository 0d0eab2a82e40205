// SPDX-License-Identifier: MIT
/* The core-to-core round trip that benchmarks say, and what it leaves as it was. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bench_util.h"

static cpu_set_t allowed;

static int allowed_get(void **state)
{
	(void)state;
	return sched_getaffinity(0, sizeof(allowed), &allowed);
}

static int allowed_restore(void **state)
{
	(void)state;
	return sched_setaffinity(0, sizeof(allowed), &allowed);
}

/* The first CPU alone. */
static void on_one_cpu(void)
{
	cpu_set_t one;
	int cpu = 0;

	while (!CPU_ISSET(cpu, &allowed))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static void round_trip_on_one_cpu_is_none(void **state)
{
	(void)state;
	on_one_cpu();
	assert_true(bench_round_trip_ns() == 0);
}

/* Above what light takes for the way. */
static void round_trip_is_one_of_cores(void **state)
{
	double ns = bench_round_trip_ns();

	(void)state;
	if (ns == 0) {
		print_message("SKIP: one core\n");
		skip();
	}
	assert_true(ns > 1);
}

static void round_trip_leaves_the_caller_where_it_may_run(void **state)
{
	cpu_set_t after;

	(void)state;
	bench_round_trip_ns();
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&after, &allowed));
}

/* The last line of the file, of a result that is emitted now. */
static void emit(const char *path, char *line, int bytes)
{
	const struct bench_result r = { .bench = "none", .unit = "1/s", .ours = 1, .runs = 1 };
	FILE *f;

	assert_int_equal(bench_emit(&r), 0);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, bytes, f))
		;
	fclose(f);
}

static void round_trip_is_in_every_line_once_it_is_said(void **state)
{
	char path[] = "/tmp/bench_util_test.XXXXXX", line[512] = "";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	setenv("BENCH_JSONL", path, 1);
	emit(path, line, sizeof(line));
	assert_null(strstr(line, "round_trip_ns"));
	bench_say_round_trip();
	for (int i = 0; i < 2; i++) {
		emit(path, line, sizeof(line));
		assert_int_equal(!!strstr(line, "\"round_trip_ns\":"), bench_round_trip_ns() > 0);
	}
	on_one_cpu();
	bench_say_round_trip();
	emit(path, line, sizeof(line));
	assert_null(strstr(line, "round_trip_ns"));
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(round_trip_on_one_cpu_is_none, allowed_restore),
		cmocka_unit_test(round_trip_is_one_of_cores),
		cmocka_unit_test(round_trip_leaves_the_caller_where_it_may_run),
		cmocka_unit_test_teardown(round_trip_is_in_every_line_once_it_is_said, allowed_restore),
	};

	return cmocka_run_group_tests(tests, allowed_get, NULL);
}

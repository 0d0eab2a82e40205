// SPDX-License-Identifier: MIT
/*
 * Which level runs.  The choice is made once a process, so that every question about
 * it is asked in a child.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

/* The level that a process with this VBLACKWELL_ISA gets. */
static enum vgpu_isa best_with(const char *cap)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		if (cap)
			setenv("VBLACKWELL_ISA", cap, 1);
		else
			unsetenv("VBLACKWELL_ISA");
		_exit(vgpu_kernels_best()->isa);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return (enum vgpu_isa)WEXITSTATUS(status);
}

static void isa_cap_lowers_the_level_and_never_raises_it(void **state)
{
	enum vgpu_isa cpu = best_with(NULL);

	(void)state;
	for (int level = 0; level < VGPU_ISA_COUNT; level++)
		assert_int_equal(best_with(vgpu_isa_name(level)),
				 (enum vgpu_isa)level < cpu ? (enum vgpu_isa)level : cpu);
	assert_int_equal(best_with("no such level"), cpu);
	assert_int_equal(best_with(""), cpu);
}

/* Linux asks for room for the tiles in every thread's stack for signals. */
static void short_stack_for_signals_keeps_the_level_below_amx(void **state)
{
	static char stack[4096];
	int status;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (!child) {
		stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };

		unsetenv("VBLACKWELL_ISA");
		_exit(sigaltstack(&alternate, NULL) || vgpu_kernels_best()->isa < VGPU_ISA_AMX ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void isa_cap_leaves_the_other_tables_there(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (!child) {
		setenv("VBLACKWELL_ISA", "ref", 1);
		_exit(vgpu_kernels_get(vgpu_isa_detect()) ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void table_of_a_level_has_every_entry(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	const size_t first = offsetof(struct vgpu_kernels, acts_pack);

	assert_int_equal(t->isa, check_level(state));
	for (size_t at = first; at < sizeof(*t); at += sizeof(void *)) {
		void *entry;

		memcpy(&entry, (const char *)t + at, sizeof(entry));
		if (!entry)
			fail_msg("entry %zu is NULL", (at - first) / sizeof(entry));
	}
}

static void level_that_does_not_exist_has_no_table_and_no_name(void **state)
{
	(void)state;
	assert_null(vgpu_kernels_get(VGPU_ISA_COUNT));
	assert_string_equal(vgpu_isa_name(VGPU_ISA_COUNT), "unknown");
}

static void *get_best(void *arg)
{
	(void)arg;
	return (void *)vgpu_kernels_best();
}

static void first_use_may_come_from_many_threads_at_once(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (!child) {
		pthread_t thread[8];
		void *table[8];
		int bad = 0;

		for (int i = 0; i < 8; i++)
			bad |= pthread_create(&thread[i], NULL, get_best, NULL);
		for (int i = 0; i < 8; i++)
			bad |= pthread_join(thread[i], &table[i]) || !table[i] || table[i] != table[0];
		_exit(bad);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(isa_cap_lowers_the_level_and_never_raises_it),
		cmocka_unit_test(short_stack_for_signals_keeps_the_level_below_amx),
		cmocka_unit_test(isa_cap_leaves_the_other_tables_there),
		cmocka_unit_test(first_use_may_come_from_many_threads_at_once),
		cmocka_unit_test(level_that_does_not_exist_has_no_table_and_no_name),
		CHECK_LEVELS(table_of_a_level_has_every_entry),
	};

	return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}

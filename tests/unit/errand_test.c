// SPDX-License-Identifier: MIT
/* Errands: what may never end is waited for so long, and left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "exec/errand.h"

#define MOST_NS	(20ull * 1000u * 1000u * 1000u)

/* Something that is done when it may be; freed by whoever has it last. */
struct task {
	pthread_mutex_t may;
	int value;
};

static int dropped;

static struct task *task_new(void)
{
	struct task *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	pthread_mutex_init(&t->may, NULL);
	pthread_mutex_lock(&t->may);
	return t;
}

static void task_run(void *arg)
{
	struct task *t = arg;

	pthread_mutex_lock(&t->may);
	t->value = 7;
	pthread_mutex_unlock(&t->may);
}

static void task_free(struct task *t)
{
	pthread_mutex_destroy(&t->may);
	free(t);
}

static void task_drop(void *arg)
{
	task_free(arg);
	__atomic_store_n(&dropped, 1, __ATOMIC_RELEASE);
}

static void errand_that_is_done_gives_its_result_back(void **state)
{
	struct task *t = task_new();
	struct vgpu_errand *e;

	(void)state;
	dropped = 0;
	assert_int_equal(vgpu_errand_begin(task_run, task_drop, t, &e), 0);
	assert_false(vgpu_errand_is_done(e, 0));
	pthread_mutex_unlock(&t->may);
	assert_true(vgpu_errand_is_done(e, MOST_NS));
	assert_true(vgpu_errand_leave(e));
	assert_int_equal(t->value, 7);
	assert_int_equal(dropped, 0);
	task_free(t);
}

static void errand_that_does_not_end_keeps_nobody_longer_than_asked(void **state)
{
	struct task *t = task_new();
	uint64_t start = vgpu_now_ns();
	struct vgpu_errand *e;

	(void)state;
	assert_int_equal(vgpu_errand_begin(task_run, task_drop, t, &e), 0);
	assert_false(vgpu_errand_is_done(e, 30000000));
	assert_in_range(vgpu_now_ns() - start, 30000000, MOST_NS);
	pthread_mutex_unlock(&t->may);
	assert_true(vgpu_errand_is_done(e, MOST_NS));
	assert_true(vgpu_errand_leave(e));
	task_free(t);
}

static void errand_that_is_left_drops_what_it_has(void **state)
{
	struct task *t = task_new();
	uint64_t start = vgpu_now_ns();
	struct vgpu_errand *e;

	(void)state;
	dropped = 0;
	assert_int_equal(vgpu_errand_begin(task_run, task_drop, t, &e), 0);
	assert_false(vgpu_errand_leave(e));
	assert_int_equal(__atomic_load_n(&dropped, __ATOMIC_ACQUIRE), 0);
	pthread_mutex_unlock(&t->may);
	while (!__atomic_load_n(&dropped, __ATOMIC_ACQUIRE)) {
		assert_true(vgpu_now_ns() - start < MOST_NS);
		usleep(1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errand_that_is_done_gives_its_result_back),
		cmocka_unit_test(errand_that_does_not_end_keeps_nobody_longer_than_asked),
		cmocka_unit_test(errand_that_is_left_drops_what_it_has),
	};

	return cmocka_run_group_tests_name("errand", tests, NULL, NULL);
}

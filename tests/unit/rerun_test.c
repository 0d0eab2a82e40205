// SPDX-License-Identifier: MIT
/*
 * What is said to be repeatable is run, stopped at every place, and run again: memory must
 * be as after one run.  Programs are random, over two objects of a few bytes.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rerun.h"

#define OBJECTS		2u
#define BYTES		12u
#define STEPS		6u
#define PROGRAMS	20000u

/* One command: reads a range, then writes one; with @all every byte of it. */
struct step {
	uint32_t from_bo, from, from_end;
	uint32_t to_bo, to, to_end;
	bool all;
};

struct memory {
	uint8_t byte[OBJECTS][BYTES];
};

static unsigned int seed = 1;

static uint32_t below(uint32_t n)
{
	return (uint32_t)rand_r(&seed) % n;
}

static void range(uint32_t *from, uint32_t *end)
{
	*from = below(BYTES);
	*end = *from + 1 + below(BYTES - *from);
}

static struct step random_step(void)
{
	struct step s = { .from_bo = below(OBJECTS), .to_bo = below(OBJECTS), .all = below(4) };

	range(&s.from, &s.from_end);
	range(&s.to, &s.to_end);
	return s;
}

/* What is written depends on all that is read; it may stop behind @bytes of the write. */
static void run(struct memory *m, const struct step *s, uint32_t bytes)
{
	uint8_t sum = 17;

	for (uint32_t i = s->from; i < s->from_end; i++)
		sum = (uint8_t)(sum * 31 + m->byte[s->from_bo][i]);
	for (uint32_t i = s->to; i < s->to_end && i - s->to < bytes; i++)
		if (s->all || i % 2)
			m->byte[s->to_bo][i] = (uint8_t)(sum + i);
}

static void run_all(struct memory *m, const struct step *s, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		run(m, &s[i], BYTES);
}

static bool is_repeatable(const struct step *s, uint32_t n)
{
	static struct vgpu_rerun r;
	bool ok = true;

	vgpu_rerun_reset(&r);
	for (uint32_t i = 0; i < n; i++) {
		vgpu_rerun_read(&r, s[i].from_bo, s[i].from, s[i].from_end);
		ok &= vgpu_rerun_write(&r, s[i].to_bo, s[i].to, s[i].to_end, s[i].all);
	}
	return ok;
}

/* Stopped in the middle of a command, then run from the beginning. */
static bool ends_the_same(const struct memory *begin, const struct step *s, uint32_t n)
{
	struct memory once = *begin, twice;

	run_all(&once, s, n);
	for (uint32_t stop = 0; stop < n; stop++)
		for (uint32_t bytes = 0; bytes <= s[stop].to_end - s[stop].to; bytes++) {
			twice = *begin;
			run_all(&twice, s, stop);
			run(&twice, &s[stop], bytes);
			run_all(&twice, s, n);
			if (memcmp(&once, &twice, sizeof(once)))
				return false;
		}
	return true;
}

static void what_may_be_run_again_ends_the_same_wherever_it_was_stopped(void **state)
{
	uint32_t repeatable = 0, missed = 0;
	struct step s[STEPS];
	struct memory begin;

	(void)state;
	for (uint32_t p = 0; p < PROGRAMS; p++) {
		uint32_t n = 1 + below(STEPS);

		for (uint32_t i = 0; i < sizeof(begin); i++)
			((uint8_t *)&begin)[i] = (uint8_t)below(256);
		for (uint32_t i = 0; i < n; i++)
			s[i] = random_step();
		if (is_repeatable(s, n)) {
			repeatable++;
			assert_true(ends_the_same(&begin, s, n));
		} else {
			missed += ends_the_same(&begin, s, n);
		}
	}
	/* It says yes often enough to be of use, and seldom no where it could say yes. */
	assert_in_range(repeatable, PROGRAMS / 10, PROGRAMS);
	assert_in_range(missed, 0, PROGRAMS / 10);
}

static void what_was_made_before_may_be_read_and_made_anew(void **state)
{
	static struct vgpu_rerun r;

	(void)state;
	vgpu_rerun_reset(&r);
	assert_true(vgpu_rerun_write(&r, 0, 0, 50, true));
	assert_true(vgpu_rerun_write(&r, 0, 50, 100, true));
	vgpu_rerun_read(&r, 0, 10, 90);
	assert_true(vgpu_rerun_write(&r, 0, 0, 100, true));
	vgpu_rerun_read(&r, 0, 90, 101);
	assert_false(vgpu_rerun_write(&r, 0, 100, 101, true));
	assert_true(vgpu_rerun_write(&r, 1, 100, 101, true));
}

static void what_is_written_in_part_is_not_made(void **state)
{
	static struct vgpu_rerun r;

	(void)state;
	vgpu_rerun_reset(&r);
	assert_true(vgpu_rerun_write(&r, 0, 0, 100, false));
	vgpu_rerun_read(&r, 0, 0, 10);
	assert_false(vgpu_rerun_write(&r, 0, 5, 6, true));
}

static void too_many_spans_are_not_repeatable(void **state)
{
	static struct vgpu_rerun r;

	(void)state;
	vgpu_rerun_reset(&r);
	for (uint32_t i = 0; i < VGPU_RERUN_SPANS; i++)
		assert_true(vgpu_rerun_write(&r, i, 0, 1, true));
	assert_false(vgpu_rerun_write(&r, VGPU_RERUN_SPANS, 0, 1, true));
	assert_false(vgpu_rerun_write(&r, 0, 0, 1, true));
	vgpu_rerun_reset(&r);
	assert_true(vgpu_rerun_write(&r, 0, 0, 1, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_may_be_run_again_ends_the_same_wherever_it_was_stopped),
		cmocka_unit_test(what_was_made_before_may_be_read_and_made_anew),
		cmocka_unit_test(what_is_written_in_part_is_not_made),
		cmocka_unit_test(too_many_spans_are_not_repeatable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/* The slot bitmap against an array that says ABSENT, FREE or USED of each slot. */
#include <core/slots.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

enum { ABSENT, FREE, USED };

struct world {
	struct vb_slots s;
	u8 *model;
	void *memory;
	u64 seed;
};

static u32 roll(struct world *w, u32 sides)
{
	w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(w->seed >> 33) % sides;
}

static void world_open(struct world *w, u32 count, u64 seed)
{
	w->memory = malloc(vb_slots_bytes(count));
	w->model = calloc(count, 1);
	assert_non_null(w->memory);
	assert_non_null(w->model);
	w->seed = seed;
	vb_slots_init(&w->s, count, w->memory);
}

static void world_close(struct world *w)
{
	free(w->memory);
	free(w->model);
}

/* All of [first, first + n) in that state; false when it leaves the arena. */
static bool all_are(const struct world *w, u32 first, u32 n, u8 state)
{
	u64 i;

	for (i = first; i < (u64)first + n; i++)
		if (i >= w->s.count || w->model[i] != state)
			return false;
	return true;
}

static bool any_is(const struct world *w, u32 first, u32 n, u8 state)
{
	u32 i;

	for (i = first; i < first + n; i++)
		if (w->model[i] == state)
			return true;
	return false;
}

static void set_all(struct world *w, u32 first, u32 n, u8 state)
{
	memset(w->model + first, state, n);
}

static void step_add(struct world *w, u32 first, u32 n)
{
	int wanted = 0;

	if (!n || first >= w->s.count || n > w->s.count - first)
		wanted = -EINVAL;
	else if (!all_are(w, first, n, ABSENT))
		wanted = -EEXIST;
	assert_int_equal(vb_slots_add(&w->s, first, n), wanted);
	if (!wanted)
		set_all(w, first, n, FREE);
}

static void step_remove(struct world *w, u32 first, u32 n)
{
	int wanted = 0;

	if (!n || first >= w->s.count || n > w->s.count - first ||
	    any_is(w, first, n, ABSENT))
		wanted = -EINVAL;
	else if (any_is(w, first, n, USED))
		wanted = -EBUSY;
	assert_int_equal(vb_slots_remove(&w->s, first, n), wanted);
	if (!wanted)
		set_all(w, first, n, ABSENT);
}

static void step_take(struct world *w, bool top)
{
	u32 i, wanted = VB_SLOTS_NONE;

	for (i = 0; i < w->s.count; i++)
		if (w->model[i] == FREE && (top || wanted == VB_SLOTS_NONE))
			wanted = i;
	assert_int_equal(vb_slots_take(&w->s, top), wanted);
	if (wanted != VB_SLOTS_NONE)
		w->model[wanted] = USED;
}

static void step_take_run(struct world *w, u32 n)
{
	u32 first, wanted = VB_SLOTS_NONE;

	for (first = 0; n && first < w->s.count; first++)
		if (all_are(w, first, n, FREE)) {
			wanted = first;
			break;
		}
	assert_int_equal(vb_slots_take_run(&w->s, n), wanted);
	if (wanted != VB_SLOTS_NONE)
		set_all(w, wanted, n, USED);
}

static void step_take_this(struct world *w, u32 slot)
{
	int wanted = 0;

	if (slot >= w->s.count || w->model[slot] == ABSENT)
		wanted = -EINVAL;
	else if (w->model[slot] == USED)
		wanted = -EEXIST;
	assert_int_equal(vb_slots_is_free(&w->s, slot), wanted == 0);
	assert_int_equal(vb_slots_take_this(&w->s, slot), wanted);
	if (!wanted)
		w->model[slot] = USED;
}

static void step_give(struct world *w, u32 slot)
{
	int wanted = slot < w->s.count && w->model[slot] == USED ? 0 : -EINVAL;

	assert_int_equal(vb_slots_give(&w->s, slot), wanted);
	if (!wanted)
		w->model[slot] = FREE;
}

static void step(struct world *w)
{
	u32 slot = roll(w, w->s.count + 2), n;

	/* Short lengths mostly, sometimes words of them, sometimes beyond the end. */
	n = roll(w, 8) ? roll(w, 5) : roll(w, w->s.count + 2);
	switch (roll(w, 16)) {
	case 0: step_add(w, slot, roll(w, 2) ? n : roll(w, 200)); break;
	case 1: step_remove(w, slot, n); break;
	case 2 ... 4: step_take(w, false); break;
	case 5: step_take(w, true); break;
	case 6 ... 7: step_take_run(w, n); break;
	case 8 ... 9: step_take_this(w, slot); break;
	default: step_give(w, slot);
	}
}

static void world_compare(const struct world *w)
{
	u32 i, present = 0, free_slots = 0;

	for (i = 0; i < w->s.count; i++) {
		present += w->model[i] != ABSENT;
		free_slots += w->model[i] == FREE;
		assert_int_equal(vb_slots_is_free(&w->s, i), w->model[i] == FREE);
	}
	assert_int_equal(w->s.present, present);
	assert_int_equal(w->s.free, free_slots);
}

static void slots_do_what_an_array_does(void **state)
{
	static const u32 counts[] = { 1, 2, 63, 64, 65, 127, 128, 200, 4095, 4096, 4097,
				      5000, 8200 };
	struct world w;
	u32 c, i, steps;

	(void)state;
	for (c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		world_open(&w, counts[c], 77 + c);
		steps = counts[c] < 1000 ? 20000 : 3000;
		for (i = 0; i < steps; i++) {
			step(&w);
			if (i % 16 == 0)
				world_compare(&w);
		}
		world_compare(&w);
		world_close(&w);
	}
}

/* 0xffffffff slots behind any start would wrap around: refused, not wrapped. */
static void slots_refuse_ranges_that_wrap(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, 100, 1);
	assert_int_equal(vb_slots_add(&w.s, 50, 0xffffffffu), -EINVAL);
	assert_int_equal(vb_slots_add(&w.s, 0xffffffffu, 2), -EINVAL);
	assert_int_equal(vb_slots_remove(&w.s, 50, 0xffffffd0u), -EINVAL);
	assert_int_equal(vb_slots_add(&w.s, 0, 100), 0);
	assert_int_equal(vb_slots_take_run(&w.s, 0xffffffffu), VB_SLOTS_NONE);
	assert_int_equal(vb_slots_take_run(&w.s, 101), VB_SLOTS_NONE);
	assert_int_equal(vb_slots_take_run(&w.s, 100), 0);
	assert_int_equal(vb_slots_take(&w.s, false), VB_SLOTS_NONE);
	assert_int_equal(vb_slots_take(&w.s, true), VB_SLOTS_NONE);
	world_close(&w);
}

static void slots_of_an_empty_arena_are_none(void **state)
{
	struct vb_slots s;
	u64 memory[4];

	(void)state;
	assert_int_equal(vb_slots_bytes(0), 0);
	vb_slots_init(&s, 0, memory);
	assert_int_equal(vb_slots_take(&s, false), VB_SLOTS_NONE);
	assert_int_equal(vb_slots_take_run(&s, 1), VB_SLOTS_NONE);
	assert_int_equal(vb_slots_add(&s, 0, 1), -EINVAL);
	assert_int_equal(vb_slots_give(&s, 0), -EINVAL);
	assert_false(vb_slots_is_free(&s, 0));
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/*
 * The largest arena, full but for slots at its far end: a scan of all words would
 * take 2^18 looks a slot, 2^38 in all, and not end within the test's patience.
 */
static void slots_of_the_largest_arena_are_found_without_a_scan(void **state)
{
	const u32 count = VB_ARENA_SLOTS_MAX, rounds = 1u << 20;
	struct world w;
	double start;
	u32 i, slot;

	(void)state;
	world_open(&w, count, 3);
	assert_true(vb_slots_bytes(count) < (5u << 20));
	assert_int_equal(vb_slots_add(&w.s, 0, count), 0);
	assert_int_equal(vb_slots_take_run(&w.s, count - 1), 0);
	start = seconds();
	for (i = 0; i < rounds; i++) {
		slot = vb_slots_take(&w.s, i & 1);
		assert_int_not_equal(slot, VB_SLOTS_NONE);
		assert_int_equal(vb_slots_give(&w.s, slot), 0);
		/* the hole wanders to the other end and back */
		if (i == rounds / 2) {
			assert_int_equal(vb_slots_take_this(&w.s, slot), 0);
			assert_int_equal(vb_slots_give(&w.s, 0), 0);
		}
	}
	print_message("# %.0f ns a take and give\n", (seconds() - start) / rounds * 1e9);
	assert_true(seconds() - start < 20.0);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_do_what_an_array_does),
		cmocka_unit_test(slots_refuse_ranges_that_wrap),
		cmocka_unit_test(slots_of_an_empty_arena_are_none),
		cmocka_unit_test(slots_of_the_largest_arena_are_found_without_a_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/* Waiting for slow files: for the chunk that is missing, as long as chunks come. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "exec/late.h"
#include "exec/slot.h"

#define SLOTS	4u
#define WAIT_MS	200u

/* A tier whose slots are all being filled.  What came is mapped, so that it stays. */
struct tier {
	struct vb_table_entry entry[SLOTS];
	struct vgpu_object object;
	struct vgpu_store store;
	struct vgpu_resid r;
};

static void tier_open(struct tier *t)
{
	*t = (struct tier){
		.object = { .id = 1, .client = 1, .chunks = SLOTS, .table = t->entry },
		.r = { .slots = SLOTS, .region_slots = SLOTS, .late_slot = VB_SLOT_ANY,
		       .storage_wait_ns = WAIT_MS * 1000000ull },
	};
	t->r.store = &t->store;
	assert_int_equal(vgpu_slots_init(&t->r), 0);
	assert_int_equal(vgpu_keymap_init(&t->r.map, SLOTS, SLOTS), 0);
	for (uint32_t i = 0; i < SLOTS; i++) {
		t->entry[i].maps = 1;
		vgpu_slot_take(&t->r, i, &t->object, i, VGPU_SLOT_FILLING);
	}
}

static void tier_close(struct tier *t)
{
	assert_int_equal(t->r.awaited, 0);
	vgpu_keymap_fini(&t->r.map);
	vgpu_slots_fini(&t->r);
}

static void comes(struct tier *t, uint32_t slot)
{
	t->r.slot[slot].state = VGPU_SLOT_READY;
	t->r.arrived++;
	vgpu_slot_relist(&t->r, slot);
}

/* A try that finds @slot missing, VB_SLOT_ANY: a file that is not open. */
static int try(struct tier *t, struct vgpu_late *l, uint32_t slot)
{
	uint32_t kept = vgpu_late_begin(&t->r, l);
	int rc;

	if (slot != VB_SLOT_ANY)
		t->r.late_slot = slot;
	rc = vgpu_late_wait(&t->r, l);
	vgpu_late_end(&t->r, kept);
	return rc;
}

/* A try that finds everything. */
static void succeed(struct tier *t, struct vgpu_late *l)
{
	vgpu_late_end(&t->r, vgpu_late_begin(&t->r, l));
	l->since = 0;
}

static void late_is_tried_when_its_own_chunk_came(void **state)
{
	struct vgpu_late l = { .slot = VB_SLOT_ANY };
	struct tier t;

	(void)state;
	tier_open(&t);
	assert_true(vgpu_late_may_try(&t.r, &l, 0));
	assert_int_equal(try(&t, &l, 1), 0);
	assert_int_equal(t.r.slot[1].pins, 1);
	l.until = UINT64_MAX;		/* however long this takes here */
	comes(&t, 0);
	assert_false(vgpu_late_may_try(&t.r, &l, 0));
	assert_true(vgpu_late_may_try(&t.r, &l, 1));	/* its deadline passed */
	comes(&t, 1);
	assert_true(vgpu_late_may_try(&t.r, &l, 0));
	succeed(&t, &l);
	assert_int_equal(t.r.slot[1].pins, 0);
	tier_close(&t);
}

/* Of a file that is being opened nothing else is known. */
static void late_for_a_file_is_tried_when_anything_came_or_in_a_moment(void **state)
{
	struct vgpu_late l = { .slot = VB_SLOT_ANY };
	struct tier t;

	(void)state;
	tier_open(&t);
	assert_int_equal(try(&t, &l, VB_SLOT_ANY), 0);
	comes(&t, 0);
	assert_true(vgpu_late_may_try(&t.r, &l, 0));
	assert_int_equal(try(&t, &l, VB_SLOT_ANY), 0);
	usleep(20000);
	assert_true(vgpu_late_may_try(&t.r, &l, 0));
	tier_close(&t);
}

static void late_ends_when_nothing_came_for_as_long_as_storage_has(void **state)
{
	struct vgpu_late l = { .slot = VB_SLOT_ANY };
	struct tier t;

	(void)state;
	tier_open(&t);
	/* Three chunks one after the other take longer than one may. */
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(try(&t, &l, i), 0);
		usleep(WAIT_MS * 1000 / 2);
		comes(&t, i);
	}
	assert_int_equal(try(&t, &l, 3), 0);
	usleep(WAIT_MS * 1000);
	assert_true(vgpu_late_may_try(&t.r, &l, 0));
	assert_int_equal(try(&t, &l, 3), -ETIMEDOUT);
	assert_int_equal(t.r.slot[3].pins, 0);
	tier_close(&t);
}

static void late_does_not_wait_for_what_another_one_gave_up(void **state)
{
	struct vgpu_late l = { .slot = VB_SLOT_ANY };
	struct tier t;

	(void)state;
	tier_open(&t);
	t.r.late_slot = 2;
	assert_int_equal(try(&t, &l, VB_SLOT_ANY), 0);
	assert_int_equal(l.slot, VB_SLOT_ANY);
	assert_int_equal(t.r.slot[2].pins, 0);
	tier_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_is_tried_when_its_own_chunk_came),
		cmocka_unit_test(late_for_a_file_is_tried_when_anything_came_or_in_a_moment),
		cmocka_unit_test(late_ends_when_nothing_came_for_as_long_as_storage_has),
		cmocka_unit_test(late_does_not_wait_for_what_another_one_gave_up),
	};

	return cmocka_run_group_tests_name("late", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Which part of the host tier is on which NUMA node: in proportion, in turn, and every slot has
 * one name at the device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/home.h"

#define REGION	16u

/* A tier of so many slots, in regions of REGION, with arenas 10, 11, ... */
static struct vgpu_resid *new_tier(uint32_t slots, const struct vgpu_home_wish *wish, uint32_t n)
{
	struct vgpu_resid *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->slots = slots;
	r->region_slots = REGION;
	r->regions = (slots + REGION - 1) / REGION;
	r->prefers = VGPU_HOME_NONE;
	vgpu_homes_deal(r, wish, n);
	for (uint32_t i = 0; i < r->homes; i++)
		r->home[i].arena = 10 + i;
	return r;
}

/* There and back, and no two slots have one name. */
static void assert_names(const struct vgpu_resid *r)
{
	uint8_t seen[VGPU_REGIONS_MAX][VGPU_REGIONS_MAX * REGION] = { 0 };

	for (uint32_t slot = 0; slot < r->slots; slot++) {
		uint32_t loc = vgpu_home_loc(r, slot), home = VB_LOC_ARENA(loc) - 10;

		assert_in_range(home, 0, r->homes - 1);
		assert_int_equal(home, vgpu_home_of(r, slot));
		assert_in_range(VB_LOC_SLOT(loc), 0, r->home[home].slots - 1);
		assert_int_equal(seen[home][VB_LOC_SLOT(loc)]++, 0);
		assert_int_equal(vgpu_home_slot(r, VB_LOC_ARENA(loc), VB_LOC_SLOT(loc)), slot);
	}
}

static void nodes_have_their_part(void **state)
{
	const struct vgpu_home_wish same[] = { { 0, 4 }, { 3, 4 } }, more[] = { { 0, 6 }, { 1, 2 } };
	struct vgpu_resid *r = new_tier(8 * REGION - 5, same, 2);

	(void)state;
	assert_int_equal(r->homes, 2);
	assert_int_equal(r->home[1].node, 3);
	assert_int_equal(r->home[0].slots, 4 * REGION);
	assert_int_equal(r->home[1].slots, 4 * REGION - 5);
	assert_int_equal(r->home[1].free, r->home[1].slots);
	for (uint32_t i = 0; i < r->regions; i++)
		assert_int_equal(r->region_home[i], i % 2);
	assert_names(r);
	free(r);
	r = new_tier(8 * REGION, more, 2);
	assert_int_equal(r->home[0].slots, 6 * REGION);
	assert_int_equal(r->home[1].slots, 2 * REGION);
	/* Whatever is given back, some of both. */
	assert_int_equal(r->region_home[3] + r->region_home[7], 2);
	assert_names(r);
	free(r);
}

static void who_gets_nothing_is_no_home(void **state)
{
	const struct vgpu_home_wish wish[] = { { 0, 1 }, { 1, 100 }, { 2, 100 } };
	struct vgpu_resid *r = new_tier(2 * REGION, wish, 3);

	(void)state;
	assert_int_equal(r->homes, 2);
	assert_int_equal(r->home[0].node, 1);
	assert_int_equal(r->home[1].node, 2);
	assert_names(r);
	assert_int_equal(vgpu_home_of_node(r, 2), 1);
	assert_int_equal(vgpu_home_of_node(r, 0), VGPU_HOME_NONE);
	free(r);
}

static void one_region_is_wherever_the_device_likes(void **state)
{
	const struct vgpu_home_wish wish[] = { { 0, 1 }, { 1, 1 } };
	struct vgpu_resid *r = new_tier(REGION, wish, 2);

	(void)state;
	assert_int_equal(r->homes, 1);
	assert_int_equal(r->home[0].node, -1);
	assert_int_equal(vgpu_home_of_node(r, -1), VGPU_HOME_NONE);
	assert_names(r);
	free(r);
}

static void chunks_go_in_turn_to_who_asks_and_where_room_is(void **state)
{
	const struct vgpu_home_wish wish[] = { { 0, 1 }, { 1, 1 } };
	struct vgpu_resid *r = new_tier(4 * REGION, wish, 2);

	(void)state;
	for (uint32_t c = 0; c < 8; c++)
		assert_int_equal(vgpu_home_choose(r, c), c % 2);
	r->prefers = 1;
	for (uint32_t c = 0; c < 8; c++)
		assert_int_equal(vgpu_home_choose(r, c), 1);
	r->home[1].free = 0;
	assert_int_equal(vgpu_home_choose(r, 1), 0);
	r->prefers = VGPU_HOME_NONE;
	assert_int_equal(vgpu_home_choose(r, 1), 0);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_have_their_part),
		cmocka_unit_test(who_gets_nothing_is_no_home),
		cmocka_unit_test(one_region_is_wherever_the_device_likes),
		cmocka_unit_test(chunks_go_in_turn_to_who_asks_and_where_room_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/* keymap against an array indexed by the key. */
#include "exec/keymap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 512

static uint64_t random_state = 88172645463325252ull;

static uint32_t random_below(uint32_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 32) * bound >> 32);
}

/* Keys as they occur: object in the upper half, chunk in the lower. */
static uint64_t key_of(uint32_t i)
{
	return (uint64_t)(i / 100) << 32 | i % 100;
}

static void keymap_equals_array_model(void **state)
{
	struct vgpu_keymap map;
	uint32_t model[KEYS], count = 0;
	bool stored[KEYS] = { false };

	(void)state;
	assert_int_equal(vgpu_keymap_init(&map, 0, KEYS), 0);
	for (int step = 0; step < 200000; step++) {
		uint32_t i = random_below(KEYS), value = random_below(UINT32_MAX), found;

		/* Grow and drain in turn, so that every load is visited. */
		if (random_below(100) < (step / 5000 % 2 ? 60u : 40u)) {
			assert_int_equal(vgpu_keymap_set(&map, key_of(i), value), 0);
			count += !stored[i];
			stored[i] = true;
			model[i] = value;
		} else {
			assert_int_equal(vgpu_keymap_remove(&map, key_of(i)), stored[i]);
			count -= stored[i];
			stored[i] = false;
		}
		assert_int_equal(map.count, count);
		i = random_below(KEYS);
		assert_int_equal(vgpu_keymap_find(&map, key_of(i), &found), stored[i]);
		if (stored[i])
			assert_int_equal(found, model[i]);
	}
	vgpu_keymap_clear(&map);
	assert_int_equal(map.count, 0);
	for (uint32_t i = 0; i < KEYS; i++)
		assert_false(vgpu_keymap_find(&map, key_of(i), NULL));
	vgpu_keymap_fini(&map);
}

static void keymap_never_holds_more_than_its_bound(void **state)
{
	struct vgpu_keymap map;

	(void)state;
	for (uint32_t bound = 0; bound < 40; bound++) {
		assert_int_equal(vgpu_keymap_init(&map, 0, bound), 0);
		for (uint32_t i = 0; i < bound; i++)
			assert_int_equal(vgpu_keymap_set(&map, i, i), 0);
		assert_int_equal(vgpu_keymap_set(&map, bound, 0), -ENOSPC);
		assert_false(vgpu_keymap_find(&map, bound, NULL));
		/* Replacing is no growth. */
		if (bound)
			assert_int_equal(vgpu_keymap_set(&map, 0, 7), 0);
		vgpu_keymap_fini(&map);
	}
}

static void keymap_created_full_size_never_allocates(void **state)
{
	struct vgpu_keymap map;
	uint64_t *keys;

	(void)state;
	assert_int_equal(vgpu_keymap_init(&map, 1000, 1000), 0);
	keys = map.keys;
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(vgpu_keymap_set(&map, i, i), 0);
	assert_ptr_equal(map.keys, keys);
	vgpu_keymap_fini(&map);
}

static void keymap_reserve_makes_room_and_keeps_entries(void **state)
{
	struct vgpu_keymap map;
	uint64_t *keys;
	uint32_t value;

	(void)state;
	assert_int_equal(vgpu_keymap_init(&map, 0, 5), 0);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(vgpu_keymap_set(&map, key_of(i), i), 0);
	assert_int_equal(vgpu_keymap_reserve(&map, KEYS), 0);
	keys = map.keys;
	for (uint32_t i = 5; i < KEYS; i++)
		assert_int_equal(vgpu_keymap_set(&map, key_of(i), i), 0);
	assert_ptr_equal(map.keys, keys);
	for (uint32_t i = 0; i < KEYS; i++) {
		assert_true(vgpu_keymap_find(&map, key_of(i), &value));
		assert_int_equal(value, i);
	}
	vgpu_keymap_fini(&map);
}

static void keymap_rejects_its_empty_mark_and_bad_sizes(void **state)
{
	struct vgpu_keymap map;

	(void)state;
	assert_int_equal(vgpu_keymap_init(&map, 2, 1), -EINVAL);
	assert_int_equal(vgpu_keymap_init(&map, 0, (1u << 30) + 1), -EINVAL);
	assert_int_equal(vgpu_keymap_init(&map, 0, 10), 0);
	assert_int_equal(vgpu_keymap_set(&map, UINT64_MAX, 1), -EINVAL);
	assert_false(vgpu_keymap_find(&map, UINT64_MAX, NULL));
	assert_false(vgpu_keymap_remove(&map, UINT64_MAX));
	assert_int_equal(vgpu_keymap_reserve(&map, (1u << 30) + 1), -EINVAL);
	assert_int_equal(vgpu_keymap_set(&map, 0, 1), 0);
	assert_true(vgpu_keymap_find(&map, 0, NULL));
	vgpu_keymap_fini(&map);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(keymap_equals_array_model),
		cmocka_unit_test(keymap_never_holds_more_than_its_bound),
		cmocka_unit_test(keymap_created_full_size_never_allocates),
		cmocka_unit_test(keymap_reserve_makes_room_and_keeps_entries),
		cmocka_unit_test(keymap_rejects_its_empty_mark_and_bad_sizes),
	};

	return cmocka_run_group_tests_name("keymap", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/* replay and its detector of cycles: what is recognised, when, and when it is left. */
#include "policy_run.h"

#include "exec/policy_cycle.h"

#define SCAN_CAPACITY 500
#define SCAN_CHUNKS (4 * SCAN_CAPACITY)

static void replay_is_optimal_from_the_second_lap(void **state)
{
	void *policy = create(&vgpu_policy_replay, SCAN_CAPACITY);
	struct vgpu_policy_stats stats;
	uint64_t lap[6];

	(void)state;
	run_laps(&vgpu_policy_replay, policy, SCAN_CHUNKS, 6, lap);
	for (int i = 1; i < 6; i++)
		assert_int_equal(lap[i], SCAN_CHUNKS - SCAN_CAPACITY);
	vgpu_policy_replay.stats(policy, &stats);
	assert_true(stats.in_sync);
	assert_int_equal(stats.cycle, SCAN_CHUNKS);
	assert_int_equal(vgpu_policy_replay.next_use(policy, 3), 3);
	vgpu_policy_replay.destroy(policy);
}

/* A cycle in which keys recur at uneven distances, where frequency alone is not optimal. */
static void replay_is_near_the_optimum_on_an_uneven_cycle(void **state)
{
	enum { PERIOD = 3000, LAPS = 10, CAPACITY = 300 };
	uint64_t *keys = calloc(LAPS * PERIOD, sizeof(*keys)), first, rest;
	void *policy = create(&vgpu_policy_replay, CAPACITY);

	(void)state;
	assert_non_null(keys);
	seed(7);
	for (size_t i = 0; i < PERIOD; i++)
		keys[i] = random_below(1500);
	for (size_t i = PERIOD; i < LAPS * PERIOD; i++)
		keys[i] = keys[i - PERIOD];
	use(&vgpu_policy_replay, policy, keys, NULL, 2 * PERIOD);
	assert_true(in_sync(&vgpu_policy_replay, policy));
	first = misses(&vgpu_policy_replay, policy);
	use(&vgpu_policy_replay, policy, keys + 2 * PERIOD, NULL, (LAPS - 2) * PERIOD);
	rest = misses(&vgpu_policy_replay, policy) - first;
	assert_in_range(rest, 0, (optimum(keys, NULL, LAPS * PERIOD, CAPACITY) -
				  optimum(keys, NULL, 2 * PERIOD, CAPACITY)) * 101 / 100);
	assert_true(rest * 105 / 100 <
		    run(&vgpu_policy_freq, CAPACITY, keys, NULL, LAPS * PERIOD, NULL, 0, false) -
		    run(&vgpu_policy_freq, CAPACITY, keys, NULL, 2 * PERIOD, NULL, 0, false));
	vgpu_policy_replay.destroy(policy);
	free(keys);
}

static void replay_recognises_a_cycle_with_extra_uses(void **state)
{
	enum { PERIOD = 2000, LAPS = 8, CAPACITY = 500 };
	uint64_t *keys = calloc(2 * LAPS * PERIOD, sizeof(*keys));
	void *policy = create(&vgpu_policy_replay, CAPACITY);
	size_t n = 0;

	(void)state;
	assert_non_null(keys);
	for (uint32_t i = 0; i < LAPS * PERIOD; i++) {
		keys[n++] = i % PERIOD;
		if (i % 97 == 0)
			keys[n++] = vgpu_policy_key(5, i);
	}
	use(&vgpu_policy_replay, policy, keys, NULL, n);
	assert_true(in_sync(&vgpu_policy_replay, policy));
	assert_in_range(misses(&vgpu_policy_replay, policy), 0,
			optimum(keys, NULL, n, CAPACITY) * 101 / 100);
	vgpu_policy_replay.destroy(policy);
	free(keys);
}

static void cycle_is_reported_only_while_predictions_come_true(void **state)
{
	struct vgpu_policy_cycle cycle;
	const uint64_t *keys;

	(void)state;
	assert_int_equal(vgpu_policy_cycle_init(&cycle), 0);
	for (uint32_t i = 0; i < 3250; i++) {
		vgpu_policy_cycle_push(&cycle, i % 1000);
		vgpu_policy_cycle_push(&cycle, i % 1000); /* a direct repeat is no use */
		if (i < 1200)
			assert_int_equal(vgpu_policy_cycle_found(&cycle, &keys), 0);
	}
	assert_int_equal(vgpu_policy_cycle_found(&cycle, &keys), 1000);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(keys[i], (250 + i) % 1000);
	vgpu_policy_cycle_push(&cycle, 5000);
	assert_int_equal(vgpu_policy_cycle_found(&cycle, &keys), 0);
	for (uint32_t i = 250; i < 300; i++)
		vgpu_policy_cycle_push(&cycle, i);
	/* The odd use is part of the lap that would be repeated. */
	assert_int_equal(vgpu_policy_cycle_found(&cycle, &keys), 1001);
	vgpu_policy_cycle_fini(&cycle);
}

/* Two million uses are kept; a cycle much shorter is found after any number of others. */
static void cycle_is_found_after_more_uses_than_are_kept(void **state)
{
	struct vgpu_policy_cycle cycle;
	const uint64_t *keys;

	(void)state;
	assert_int_equal(vgpu_policy_cycle_init(&cycle), 0);
	for (uint64_t i = 0; i < 3000000; i++)
		vgpu_policy_cycle_push(&cycle, i);
	for (uint64_t i = 0; i < 500000; i++)
		vgpu_policy_cycle_push(&cycle, i % 200000);
	assert_int_equal(vgpu_policy_cycle_found(&cycle, &keys), 200000);
	assert_int_equal(keys[0], 100000);
	vgpu_policy_cycle_fini(&cycle);
}

static void replay_leaves_a_cycle_for_another(void **state)
{
	enum { PERIOD = 1500, CAPACITY = 300 };
	const struct vgpu_policy_ops *ops = &vgpu_policy_replay;
	void *policy = create(ops, CAPACITY);
	struct vgpu_policy_stats stats;
	uint64_t before, victim;

	(void)state;
	for (uint32_t i = 0; i < 4 * PERIOD; i++)
		ops->access(policy, i % PERIOD, 0, &victim);
	assert_true(in_sync(ops, policy));
	for (uint32_t i = 0; i < 4 * 1000; i++)
		ops->access(policy, vgpu_policy_key(2, i % 1000), 0, &victim);
	ops->stats(policy, &stats);
	assert_true(stats.in_sync);
	assert_int_equal(stats.cycle, 1000);
	before = misses(ops, policy);
	for (uint32_t i = 0; i < 1000; i++)
		ops->access(policy, vgpu_policy_key(2, i), 0, &victim);
	assert_int_equal(misses(ops, policy) - before, 1000 - CAPACITY);

	/* One that fits entirely needs no order, and ends in hits only. */
	for (uint32_t i = 0; i < 10 * 200; i++)
		ops->access(policy, vgpu_policy_key(3, i % 200), 0, &victim);
	assert_false(in_sync(ops, policy));
	before = misses(ops, policy);
	for (uint32_t i = 0; i < 200; i++)
		ops->access(policy, vgpu_policy_key(3, i), 0, &victim);
	assert_int_equal(misses(ops, policy) - before, 0);
	ops->destroy(policy);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(replay_is_optimal_from_the_second_lap),
		cmocka_unit_test(replay_is_near_the_optimum_on_an_uneven_cycle),
		cmocka_unit_test(replay_recognises_a_cycle_with_extra_uses),
		cmocka_unit_test(cycle_is_reported_only_while_predictions_come_true),
		cmocka_unit_test(cycle_is_found_after_more_uses_than_are_kept),
		cmocka_unit_test(replay_leaves_a_cycle_for_another),
	};

	return cmocka_run_group_tests_name("policy_replay", tests, NULL, NULL);
}

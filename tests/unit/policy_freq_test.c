// SPDX-License-Identifier: MIT
/* freq within stated bounds: cyclic scans, routing chosen at run time, a changing load. */
#include "policy_run.h"

#include "exec/policy_heat.h"

#include <math.h>

/* --- counts ---------------------------------------------------------------------- */

static void freq_keeps_its_part_of_a_cyclic_scan(void **state)
{
	static const uint32_t factors[] = { 2, 4, 16, 64 };

	(void)state;
	for (size_t f = 0; f < ARRAY_SIZE(factors); f++) {
		uint32_t chunks = factors[f] * 100;
		void *policy = create(&vgpu_policy_freq, 100);
		uint64_t lap[10];

		run_laps(&vgpu_policy_freq, policy, chunks, 10, lap);
		for (int i = 1; i < 10; i++)
			assert_int_equal(lap[i], chunks - 100);
		vgpu_policy_freq.destroy(policy);
	}
}

static void freq_recovers_when_the_load_changes(void **state)
{
	enum { CAPACITY = 500, OLD = 4 * CAPACITY, NEW = CAPACITY / 2 };
	const struct vgpu_policy_ops *ops = &vgpu_policy_freq;
	void *policy = create(ops, CAPACITY);
	uint64_t victim, before;

	(void)state;
	for (uint32_t i = 0; i < 60 * OLD; i++)
		ops->access(policy, i % OLD, 0, &victim);
	/* Fifteen tier sizes later everything that is used is retained. */
	for (uint32_t i = 0; i < 15 * CAPACITY; i++)
		ops->access(policy, vgpu_policy_key(1, i % NEW), 0, &victim);
	before = misses(ops, policy);
	for (uint32_t i = 0; i < NEW; i++)
		ops->access(policy, vgpu_policy_key(1, i), 0, &victim);
	assert_int_equal(misses(ops, policy), before);
	ops->destroy(policy);
}

static void freq_notices_a_hot_key_among_many_single_uses(void **state)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_freq;
	struct vgpu_policy_params params = { .capacity = 4, .remember = 32 };
	void *policy;
	uint64_t victim;

	(void)state;
	assert_int_equal(ops->create(&params, &policy), 0);
	for (uint64_t i = 0; i < 10000; i++)
		ops->access(policy, i, 0, &victim);
	/* The table of 32 is full of keys that never came again. */
	for (uint64_t i = 0; i < 60; i++) {
		ops->access(policy, vgpu_policy_key(1, 0), 0, &victim);
		for (uint64_t other = 0; other < 5; other++)
			ops->access(policy, 20000 + 5 * i + other, 0, &victim);
	}
	assert_true(ops->retains(policy, vgpu_policy_key(1, 0)));
	ops->destroy(policy);
}

static void heat_estimates_the_distance_between_uses(void **state)
{
	static const uint32_t gaps[] = { 3, 100, 5000 };

	(void)state;
	for (size_t g = 0; g < ARRAY_SIZE(gaps); g++) {
		struct vgpu_policy_heat heat;
		double value = VGPU_POLICY_COLD;

		assert_int_equal(vgpu_policy_heat_init(&heat, 1000, 0), 0);
		for (uint32_t i = 0; i < gaps[g]; i++)
			vgpu_policy_heat_tick(&heat, true);
		/* Used once, when the clock began. */
		assert_true(fabs(vgpu_policy_heat_gap(&heat, 0, 0) - gaps[g]) < 0.05 * gaps[g]);
		vgpu_policy_heat_fini(&heat);

		assert_int_equal(vgpu_policy_heat_init(&heat, 1000, 0), 0);
		for (uint32_t i = 0; i < 200 * gaps[g]; i++) {
			vgpu_policy_heat_tick(&heat, true);
			if (i % gaps[g])
				continue;
			value = vgpu_policy_heat_add(&heat, value);
			if (i) {
				double gap = vgpu_policy_heat_gap(&heat, value, heat.step);

				assert_true(fabs(gap - gaps[g]) < 0.05 * gaps[g]);
			} else {
				assert_true(vgpu_policy_heat_gap(&heat, value, heat.step) == 1);
			}
		}
		vgpu_policy_heat_fini(&heat);
	}
}

/* --- routing chosen at run time --------------------------------------------------- */

#define LAYERS 24
#define EXPERTS 32
#define USED 4

struct routing {
	double weight[EXPERTS];
	uint32_t order[LAYERS][EXPERTS];
};

static void routing_init(struct routing *routing, double exponent)
{
	for (uint32_t e = 0; e < EXPERTS; e++)
		routing->weight[e] = pow(e + 1, -exponent);
	for (uint32_t l = 0; l < LAYERS; l++) {
		for (uint32_t e = 0; e < EXPERTS; e++)
			routing->order[l][e] = e;
		for (uint32_t e = EXPERTS - 1; e > 0; e--) {
			uint32_t other = random_below(e + 1), moved = routing->order[l][e];

			routing->order[l][e] = routing->order[l][other];
			routing->order[l][other] = moved;
		}
	}
}

/* One of the ranks not in @taken, by weight. */
static uint32_t draw(const struct routing *routing, uint32_t taken)
{
	double total = 0, at;
	uint32_t last = 0;

	for (uint32_t e = 0; e < EXPERTS; e++)
		if (!(taken >> e & 1))
			total += routing->weight[e];
	at = total * random_below(1u << 30) / (1u << 30);
	for (uint32_t e = 0; e < EXPERTS; e++) {
		if (taken >> e & 1)
			continue;
		last = e;
		at -= routing->weight[e];
		if (at < 0)
			break;
	}
	return last;
}

/* Tokens through all layers: @dense chunks each, then USED experts of @chunks each. */
static size_t route(const struct routing *routing, uint64_t *keys, uint32_t tokens,
		    uint32_t chunks, uint32_t dense)
{
	size_t n = 0;

	for (uint32_t token = 0; token < tokens; token++) {
		for (uint32_t l = 0; l < LAYERS; l++) {
			uint32_t taken = 0;

			for (uint32_t c = 0; c < dense; c++)
				keys[n++] = vgpu_policy_key(100 + l, c);
			for (int k = 0; k < USED; k++) {
				uint32_t rank = draw(routing, taken);

				taken |= 1u << rank;
				for (uint32_t c = 0; c < chunks; c++)
					keys[n++] = vgpu_policy_key(
						l, routing->order[l][rank] * chunks + c);
			}
		}
	}
	return n;
}

static void freq_is_within_1_45_of_the_optimum_on_zipf_routing(void **state)
{
	static const double exponents[] = { 0.9, 1.0, 1.1, 1.2 };
	enum { TOKENS = 400 };
	uint64_t *keys = calloc(TOKENS * LAYERS * USED * 3, sizeof(*keys));
	struct routing routing;

	(void)state;
	assert_non_null(keys);
	for (int s = 0; s < 8; s++) {
		uint32_t chunks = s < 4 ? 1 : 3, capacity = LAYERS * EXPERTS * chunks / 4;
		uint64_t best, freq, lru;
		size_t n;

		seed(100 + s);
		routing_init(&routing, exponents[s % 4]);
		n = route(&routing, keys, TOKENS, chunks, 0);
		best = optimum(keys, NULL, n, capacity);
		freq = run(&vgpu_policy_freq, capacity, keys, NULL, n, NULL, 0, false);
		lru = run(&vgpu_policy_lru, capacity, keys, NULL, n, NULL, 0, false);
		assert_in_range(freq, best, best * 145 / 100);
		assert_true(lru > best * 18 / 10);
		/* Without a cycle or a declaration the others are no worse. */
		assert_int_equal(run(&vgpu_policy_schedule, capacity, keys, NULL, n, NULL, 0,
				     false), freq);
		assert_int_equal(run(&vgpu_policy_replay, capacity, keys, NULL, n, NULL, 0,
				     false), freq);
	}
	free(keys);
}

static void schedule_of_dense_layers_leaves_experts_to_frequency(void **state)
{
	enum { TOKENS = 200, DENSE = 6, CAPACITY = LAYERS * EXPERTS * 3 / 4 };
	uint64_t *keys = calloc(TOKENS * LAYERS * (USED * 3 + DENSE), sizeof(*keys));
	uint64_t cycle[LAYERS * DENSE], best;
	struct routing routing;
	void *policy = create(&vgpu_policy_schedule, CAPACITY);
	size_t n;

	(void)state;
	assert_non_null(keys);
	seed(8);
	for (uint32_t i = 0; i < LAYERS * DENSE; i++)
		cycle[i] = vgpu_policy_key(100 + i / DENSE, i % DENSE);
	routing_init(&routing, 1.0);
	n = route(&routing, keys, TOKENS, 3, DENSE);
	best = optimum(keys, NULL, n, CAPACITY);
	assert_int_equal(vgpu_policy_schedule.future(policy, 0, cycle, LAYERS * DENSE, true), 0);
	use(&vgpu_policy_schedule, policy, keys, NULL, n);
	assert_true(in_sync(&vgpu_policy_schedule, policy));
	assert_in_range(misses(&vgpu_policy_schedule, policy), best, best * 145 / 100);
	vgpu_policy_schedule.destroy(policy);
	free(keys);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(freq_keeps_its_part_of_a_cyclic_scan),
		cmocka_unit_test(freq_is_within_1_45_of_the_optimum_on_zipf_routing),
		cmocka_unit_test(schedule_of_dense_layers_leaves_experts_to_frequency),
		cmocka_unit_test(freq_recovers_when_the_load_changes),
		cmocka_unit_test(freq_notices_a_hot_key_among_many_single_uses),
		cmocka_unit_test(heat_estimates_the_distance_between_uses),
	};

	return cmocka_run_group_tests_name("policy_freq", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What the tests of residency policies share: a seeded generator and whole runs.
 * Each includes it once; unused functions cost nothing.
 */
#ifndef TESTS_UNIT_POLICY_RUN_H
#define TESTS_UNIT_POLICY_RUN_H

#include "exec/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t random_state;

static inline void seed(uint64_t value)
{
	random_state = value * 0x9e3779b97f4a7c15ull + 1;
}

static inline uint32_t random_below(uint32_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 32) * bound >> 32);
}

static inline void *create(const struct vgpu_policy_ops *ops, uint32_t capacity)
{
	struct vgpu_policy_params params = { .capacity = capacity };
	void *policy = NULL;

	assert_int_equal(ops->create(&params, &policy), 0);
	return policy;
}

static inline void use(const struct vgpu_policy_ops *ops, void *policy, const uint64_t *keys,
		const uint8_t *flags, size_t n)
{
	uint64_t victim;

	for (size_t i = 0; i < n; i++)
		assert_true(ops->access(policy, keys[i], flags ? flags[i] : 0, &victim) >= 0);
}

static inline uint64_t misses(const struct vgpu_policy_ops *ops, void *policy)
{
	struct vgpu_policy_stats stats;

	ops->stats(policy, &stats);
	assert_int_equal(stats.hits + stats.admits + stats.bypasses, stats.accesses);
	return stats.admits + stats.bypasses;
}

static inline bool in_sync(const struct vgpu_policy_ops *ops, void *policy)
{
	struct vgpu_policy_stats stats;

	ops->stats(policy, &stats);
	return stats.in_sync;
}

/* Misses of a whole run; the future is declared when given. */
static inline uint64_t run(const struct vgpu_policy_ops *ops, uint32_t capacity, const uint64_t *keys,
		    const uint8_t *flags, size_t n, const uint64_t *future, size_t future_n,
		    bool cyclic)
{
	void *policy = create(ops, capacity);
	uint64_t count;

	if (future)
		assert_int_equal(ops->future(policy, 0, future, future_n, cyclic), 0);
	use(ops, policy, keys, flags, n);
	count = misses(ops, policy);
	ops->destroy(policy);
	return count;
}

static inline uint64_t optimum(const uint64_t *keys, const uint8_t *flags, size_t n, uint32_t capacity)
{
	uint64_t count;

	assert_int_equal(vgpu_policy_opt_misses(keys, flags, n, capacity, &count), 0);
	return count;
}

/* Misses of each of the laps over keys 0..n-1. */
static inline void run_laps(const struct vgpu_policy_ops *ops, void *policy, uint32_t n, int laps,
		     uint64_t *out_misses)
{
	for (int lap = 0; lap < laps; lap++) {
		uint64_t before = misses(ops, policy), victim;

		for (uint32_t i = 0; i < n; i++)
			ops->access(policy, i, 0, &victim);
		out_misses[lap] = misses(ops, policy) - before;
	}
}

#endif

// SPDX-License-Identifier: MIT
/*
 * Residency policies against slow and obvious models: a list for lru, a search over all
 * decisions for the optimum, the optimum for schedule and replay, stated bounds for freq,
 * and for every policy a plain set that each answer must agree with.
 */
#include "exec/policy.h"

#include "exec/policy_core.h"
#include "exec/policy_cycle.h"
#include "exec/policy_heat.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t random_state;

static void seed(uint64_t value)
{
	random_state = value * 0x9e3779b97f4a7c15ull + 1;
}

static uint32_t random_below(uint32_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 32) * bound >> 32);
}

/* --- runs ------------------------------------------------------------------------ */

static void *create(const struct vgpu_policy_ops *ops, uint32_t capacity)
{
	struct vgpu_policy_params params = { .capacity = capacity };
	void *policy = NULL;

	assert_int_equal(ops->create(&params, &policy), 0);
	return policy;
}

static void use(const struct vgpu_policy_ops *ops, void *policy, const uint64_t *keys,
		const uint8_t *flags, size_t n)
{
	uint64_t victim;

	for (size_t i = 0; i < n; i++)
		assert_true(ops->access(policy, keys[i], flags ? flags[i] : 0, &victim) >= 0);
}

static uint64_t misses(const struct vgpu_policy_ops *ops, void *policy)
{
	struct vgpu_policy_stats stats;

	ops->stats(policy, &stats);
	assert_int_equal(stats.hits + stats.admits + stats.bypasses, stats.accesses);
	return stats.admits + stats.bypasses;
}

static bool in_sync(const struct vgpu_policy_ops *ops, void *policy)
{
	struct vgpu_policy_stats stats;

	ops->stats(policy, &stats);
	return stats.in_sync;
}

/* Misses of a whole run; the future is declared when given. */
static uint64_t run(const struct vgpu_policy_ops *ops, uint32_t capacity, const uint64_t *keys,
		    const uint8_t *flags, size_t n, const uint64_t *future, size_t future_n,
		    bool cyclic)
{
	void *policy = create(ops, capacity);
	uint64_t count;

	if (future)
		assert_int_equal(ops->future(policy, future, future_n, cyclic), 0);
	use(ops, policy, keys, flags, n);
	count = misses(ops, policy);
	ops->destroy(policy);
	return count;
}

static uint64_t optimum(const uint64_t *keys, const uint8_t *flags, size_t n, uint32_t capacity)
{
	uint64_t count;

	assert_int_equal(vgpu_policy_opt_misses(keys, flags, n, capacity, &count), 0);
	return count;
}

/* Misses of each of the laps over keys 0..n-1. */
static void run_laps(const struct vgpu_policy_ops *ops, void *policy, uint32_t n, int laps,
		     uint64_t *out_misses)
{
	for (int lap = 0; lap < laps; lap++) {
		uint64_t before = misses(ops, policy), victim;

		for (uint32_t i = 0; i < n; i++)
			ops->access(policy, i, 0, &victim);
		out_misses[lap] = misses(ops, policy) - before;
	}
}

/* --- table ----------------------------------------------------------------------- */

static void policy_table_finds_each_by_name(void **state)
{
	int count = 0;

	(void)state;
	for (const struct vgpu_policy_ops *const *p = vgpu_policies; *p; p++, count++) {
		assert_ptr_equal(vgpu_policy_find((*p)->name), *p);
		assert_true(strlen((*p)->what) > 0);
		assert_non_null((*p)->create);
		assert_non_null((*p)->destroy);
		assert_non_null((*p)->access);
		assert_non_null((*p)->hold);
		assert_non_null((*p)->forget);
		assert_non_null((*p)->shrink);
		assert_non_null((*p)->resize);
		assert_non_null((*p)->future);
		assert_non_null((*p)->next_use);
		assert_non_null((*p)->upcoming);
		assert_non_null((*p)->retains);
		assert_non_null((*p)->stats);
	}
	assert_int_equal(count, 4);
	assert_null(vgpu_policy_find("belady"));
	assert_null(vgpu_policy_find(""));
}

/* --- optimum --------------------------------------------------------------------- */

#define TINY_KEYS 5

/*
 * Fewest misses over all decisions: after each use the retained set may be any subset of
 * what was there and the chunk in use, within capacity, and with it when it must stay.
 */
static unsigned int search(const uint64_t *keys, const uint8_t *flags, size_t n,
			   unsigned int capacity)
{
	unsigned int cost[1 << TINY_KEYS], after[1 << TINY_KEYS], best = UINT32_MAX;

	memset(cost, 0xff, sizeof(cost));
	cost[0] = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned int self = 1u << keys[i];

		memset(after, 0xff, sizeof(after));
		for (unsigned int set = 0; set < ARRAY_SIZE(cost); set++) {
			if (cost[set] == UINT32_MAX)
				continue;
			for (unsigned int next = 0; next < ARRAY_SIZE(cost); next++) {
				unsigned int now = cost[set] + !(set & self);

				if (next & ~(set | self) ||
				    (unsigned int)__builtin_popcount(next) > capacity ||
				    (flags[i] && !(next & self)))
					continue;
				if (now < after[next])
					after[next] = now;
			}
		}
		memcpy(cost, after, sizeof(cost));
	}
	for (unsigned int set = 0; set < ARRAY_SIZE(cost); set++)
		if (cost[set] < best)
			best = cost[set];
	return best;
}

static void opt_equals_exhaustive_search(void **state)
{
	(void)state;
	seed(1);
	for (int round = 0; round < 3000; round++) {
		uint32_t universe = 2 + random_below(TINY_KEYS - 1);
		uint32_t capacity = 1 + random_below(universe);
		uint32_t must = random_below(3);
		size_t n = 1 + random_below(24);
		uint64_t keys[24];
		uint8_t flags[24];

		for (size_t i = 0; i < n; i++) {
			do
				keys[i] = random_below(universe);
			while (i && keys[i] == keys[i - 1]);
			flags[i] = random_below(4) < must ? VGPU_ACCESS_MUST_ADMIT : 0;
		}
		assert_int_equal(optimum(keys, flags, n, capacity),
				 search(keys, flags, n, capacity));
	}
}

static void opt_joins_direct_repeats_and_checks_arguments(void **state)
{
	static const uint64_t repeats[] = { 1, 1, 2, 2, 2, 1, 3, 3, 1 };
	static const uint64_t joined[] = { 1, 2, 1, 3, 1 };
	static const uint64_t bad[] = { 1, VGPU_POLICY_NONE };
	static const uint8_t must[] = { 0, VGPU_ACCESS_MUST_ADMIT };
	uint64_t count;

	(void)state;
	for (uint32_t capacity = 0; capacity < 4; capacity++)
		assert_int_equal(optimum(repeats, NULL, ARRAY_SIZE(repeats), capacity),
				 optimum(joined, NULL, ARRAY_SIZE(joined), capacity));
	assert_int_equal(optimum(joined, NULL, ARRAY_SIZE(joined), 0), 5);
	assert_int_equal(optimum(joined, NULL, ARRAY_SIZE(joined), 1), 3);
	assert_int_equal(optimum(NULL, NULL, 0, 1), 0);
	assert_int_equal(vgpu_policy_opt_misses(bad, NULL, 2, 1, &count), -EINVAL);
	assert_int_equal(vgpu_policy_opt_misses(joined, must, 2, 0, &count), -EINVAL);
}

/* --- lru ------------------------------------------------------------------------- */

static void lru_equals_list_model(void **state)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_lru;

	(void)state;
	seed(2);
	for (int round = 0; round < 50; round++) {
		uint32_t capacity = 1 + random_below(12), count = 0;
		void *policy = create(ops, capacity);
		uint64_t list[12], last = VGPU_POLICY_NONE; /* list[0] is the oldest */

		for (int i = 0; i < 500; i++) {
			uint64_t key = random_below(24), victim, expected = VGPU_POLICY_NONE;
			uint32_t at = 0;
			bool hit;

			while (at < count && list[at] != key)
				at++;
			hit = at < count;
			if (!hit && count == capacity) {
				expected = list[0];
				at = 0;
			}
			if (at < count) {
				memmove(list + at, list + at + 1,
					(count - at - 1) * sizeof(*list));
				count--;
			}
			list[count++] = key;
			assert_int_equal(ops->access(policy, key, 0, &victim),
					 hit ? VGPU_POLICY_HIT : VGPU_POLICY_ADMIT);
			assert_int_equal(victim, expected);
			last = key;
		}
		assert_true(ops->retains(policy, last));
		ops->destroy(policy);
	}
}

/* --- schedule -------------------------------------------------------------------- */

static void random_sequence(uint64_t *keys, uint8_t *flags, size_t n, uint32_t universe)
{
	for (size_t i = 0; i < n; i++) {
		keys[i] = vgpu_policy_key(1 + random_below(2), random_below(universe));
		flags[i] = random_below(10) ? 0 : VGPU_ACCESS_MUST_ADMIT;
	}
}

static void schedule_equals_optimum_on_exact_future(void **state)
{
	uint64_t keys[400];
	uint8_t flags[400];

	(void)state;
	seed(3);
	for (int round = 0; round < 500; round++) {
		size_t n = 1 + random_below(400);
		uint32_t capacity = 1 + random_below(20);

		random_sequence(keys, flags, n, 1 + random_below(40));
		assert_int_equal(run(&vgpu_policy_schedule, capacity, keys, flags, n, keys, n,
				     false),
				 optimum(keys, flags, n, capacity));
	}
}

static void schedule_equals_optimum_on_exact_cycle(void **state)
{
	uint64_t keys[600];
	uint8_t flags[600];

	(void)state;
	seed(4);
	for (int round = 0; round < 500; round++) {
		size_t period = 2 + random_below(100), n = 5 * period + random_below(50);
		uint32_t capacity = 1 + random_below(30);

		random_sequence(keys, flags, period, 1 + random_below(60));
		for (size_t i = period; i < n; i++) {
			keys[i] = keys[i - period];
			flags[i] = flags[i - period];
		}
		assert_int_equal(run(&vgpu_policy_schedule, capacity, keys, flags, n, keys,
				     period, true),
				 optimum(keys, flags, n, capacity));
	}
}

static void schedule_tolerates_skips_and_extra_uses(void **state)
{
	enum { PERIOD = 1000, LAPS = 8, CAPACITY = 250 };
	uint64_t cycle[PERIOD], *keys = calloc(2 * LAPS * PERIOD, sizeof(*keys));
	struct vgpu_policy_stats stats;
	void *policy = create(&vgpu_policy_schedule, CAPACITY);
	size_t n = 0;

	(void)state;
	assert_non_null(keys);
	seed(5);
	for (uint32_t i = 0; i < PERIOD; i++)
		cycle[i] = i;
	for (uint32_t i = 0; i < LAPS * PERIOD; i++) {
		if (random_below(20))
			keys[n++] = i % PERIOD;
		if (!random_below(20))
			keys[n++] = vgpu_policy_key(7, i);
	}
	assert_int_equal(vgpu_policy_schedule.future(policy, cycle, PERIOD, true), 0);
	use(&vgpu_policy_schedule, policy, keys, NULL, n);
	vgpu_policy_schedule.stats(policy, &stats);
	assert_true(stats.in_sync);
	assert_int_equal(stats.cycle, PERIOD);
	assert_int_equal(stats.desyncs, 0);
	assert_in_range(misses(&vgpu_policy_schedule, policy), 0,
			optimum(keys, NULL, n, CAPACITY) * 102 / 100);
	vgpu_policy_schedule.destroy(policy);
	free(keys);
}

static void schedule_is_found_again_from_any_place(void **state)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	uint64_t cycle[1000], victim;
	void *policy = create(ops, 100);

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		cycle[i] = i;
	assert_int_equal(ops->future(policy, cycle, 1000, true), 0);
	use(ops, policy, cycle + 300, NULL, 10);
	assert_true(in_sync(ops, policy));
	assert_int_equal(ops->next_use(policy, 310), 0);
	use(ops, policy, cycle + 900, NULL, 100);
	assert_int_equal(ops->next_use(policy, 0), 0);

	/* Long disagreement ends in doubt; 64 uses in order end that. */
	for (uint32_t i = 0; i < 5000; i++)
		ops->access(policy, vgpu_policy_key(9, i), 0, &victim);
	assert_false(in_sync(ops, policy));
	assert_int_equal(ops->next_use(policy, 500), VGPU_POLICY_NEVER);
	use(ops, policy, cycle + 435, NULL, 65);
	assert_true(in_sync(ops, policy));
	assert_int_equal(ops->next_use(policy, 500), 0);

	/* The keys of the sequence in no order at all are not following it either. */
	for (uint32_t i = 0; i < 5000; i++)
		ops->access(policy, random_below(1000), 0, &victim);
	assert_false(in_sync(ops, policy));
	ops->destroy(policy);
}

static void schedule_is_followed_through_regular_skips(void **state)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	uint64_t cycle[1000], victim;
	struct vgpu_policy_stats stats;
	void *policy = create(ops, 100);

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		cycle[i] = i;
	assert_int_equal(ops->future(policy, cycle, 1000, true), 0);
	for (uint32_t i = 0; i < 9998; i++)
		if (i % 3 != 2)
			ops->access(policy, i % 1000, 0, &victim);
	ops->stats(policy, &stats);
	assert_true(stats.in_sync);
	assert_int_equal(stats.desyncs, 0);
	assert_int_equal(ops->next_use(policy, 998), 0);

	/* Every second one: the cursor is never right and never far off. */
	assert_int_equal(ops->future(policy, cycle, 1000, true), 0);
	for (uint32_t i = 0; i < 2000; i += 2) {
		ops->access(policy, i % 1000, 0, &victim);
		assert_in_range(ops->next_use(policy, (i + 4) % 1000), 0, 8);
	}
	ops->destroy(policy);
}

/* Half of what was declared is never used: it must not keep its places for ever. */
static void schedule_gives_up_what_is_declared_and_never_used(void **state)
{
	enum { PERIOD = 1000, CAPACITY = 300, USED_FROM = 500 };
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	void *policy = create(ops, CAPACITY);
	uint64_t cycle[PERIOD], before, lap = 0;

	(void)state;
	/* What is retained at first lies in no order. */
	for (uint32_t i = 0; i < PERIOD; i++)
		cycle[i] = i * 7 % PERIOD;
	use(ops, policy, cycle, NULL, PERIOD);
	for (uint32_t i = 0; i < PERIOD; i++)
		cycle[i] = i;
	assert_int_equal(ops->future(policy, cycle, PERIOD, true), 0);
	for (int i = 0; i < 12; i++) {
		before = misses(ops, policy);
		use(ops, policy, cycle + USED_FROM, NULL, PERIOD - USED_FROM);
		lap = misses(ops, policy) - before;
	}
	assert_in_range(lap, PERIOD - USED_FROM - CAPACITY,
			(PERIOD - USED_FROM - CAPACITY) * 110 / 100);
	ops->destroy(policy);
}

/*
 * Declared A X B A D B, with A filling the tier. When X comes a second time, from D, the
 * second A lies ahead again and must not have lost its places to B.
 */
static void schedule_gone_back_knows_again_what_is_due(void **state)
{
	enum { A = 100, X = 2, B = 50, D = 100, AT_X = A, AT_D = A + X + B + A };
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	void *policy = create(ops, A);
	uint64_t keys[2 * A + X + 2 * B + D], before;
	size_t n = 0;

	(void)state;
	for (uint32_t i = 0; i < A; i++)
		keys[n++] = vgpu_policy_key(1, i);
	for (uint32_t i = 0; i < X; i++)
		keys[n++] = vgpu_policy_key(2, i);
	for (uint32_t i = 0; i < B; i++)
		keys[n++] = vgpu_policy_key(3, i);
	for (uint32_t i = 0; i < A; i++)
		keys[n++] = vgpu_policy_key(1, i);
	for (uint32_t i = 0; i < D; i++)
		keys[n++] = vgpu_policy_key(4, i);
	for (uint32_t i = 0; i < B; i++)
		keys[n++] = vgpu_policy_key(3, i);
	assert_int_equal(ops->future(policy, keys, n, false), 0);
	use(ops, policy, keys, NULL, AT_D + D / 2);
	before = misses(ops, policy);
	use(ops, policy, keys + AT_X, NULL, X + B + A);
	assert_int_equal(misses(ops, policy) - before, X + B);
	assert_int_equal(ops->next_use(policy, vgpu_policy_key(4, 0)), 0);
	ops->destroy(policy);
}

#define WARM_KEYS 40

/* Misses of Belady with bypass that starts with @set of @capacity chunks. */
static uint64_t belady_from(bool *set, uint32_t capacity, const uint64_t *keys, size_t n)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t retained = 0;
		uint64_t worst = keys[i];
		size_t farthest = 0;

		if (set[keys[i]])
			continue;
		count++;
		set[keys[i]] = true;
		for (uint64_t key = 0; key < WARM_KEYS; key++) {
			size_t next = i + 1;

			if (!set[key])
				continue;
			retained++;
			while (next < n && keys[next] != key)
				next++;
			if (next > farthest) {
				farthest = next;
				worst = key;
			}
		}
		if (retained > capacity)
			set[worst] = false;
	}
	return count;
}

/* Exchanges two uses and takes that back if it made a direct repeat. */
static void swap_unless_repeated(uint64_t *keys, size_t n, size_t a, size_t b)
{
	uint64_t moved = keys[a];

	keys[a] = keys[b];
	keys[b] = moved;
	for (size_t i = 1; i < n; i++) {
		if (keys[i] != keys[i - 1])
			continue;
		keys[b] = keys[a];
		keys[a] = moved;
		return;
	}
}

/* The core's idea of the retained chunk that is due first. */
static void expect_soonest(const struct vgpu_policy_ops *ops, void *policy, const bool *set)
{
	const struct vgpu_policy_core *core = policy;
	uint32_t slot = vgpu_policy_core_soonest(core);
	uint64_t soonest = VGPU_POLICY_NEVER;

	for (uint64_t key = 0; key < WARM_KEYS; key++)
		if (set[key] && ops->next_use(policy, key) < soonest)
			soonest = ops->next_use(policy, key);
	if (soonest == VGPU_POLICY_NEVER)
		return; /* the tier is empty */
	assert_int_not_equal(slot, VGPU_POLICY_NO_SLOT);
	assert_int_equal(ops->next_use(policy, core->slots[slot].key), soonest);
}

static void schedule_declared_on_a_warm_tier_equals_belady(void **state)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;

	(void)state;
	seed(9);
	for (int round = 0; round < 200; round++) {
		uint32_t capacity = 1 + random_below(WARM_KEYS - 1);
		void *policy = create(ops, capacity);
		uint64_t keys[200], before, victim;
		bool set[WARM_KEYS];

		for (int i = 0; i < 100; i++)
			ops->access(policy, random_below(WARM_KEYS), VGPU_ACCESS_MUST_ADMIT,
				    &victim);
		for (int declared = 0; declared < 3; declared++) {
			size_t n = WARM_KEYS + random_below(200 - WARM_KEYS);

			/* Every key occurs: one that does not is ranked by frequency. */
			for (size_t i = 0; i < n; i++)
				do
					keys[i] = i < WARM_KEYS ? i : random_below(WARM_KEYS);
				while (i && keys[i] == keys[i - 1]);
			for (size_t i = 0; i < n; i += 1 + random_below(3))
				if (i >= WARM_KEYS)
					swap_unless_repeated(keys, n, i, random_below(n));
			/* A direct repeat of the use before would be no use of its own. */
			ops->access(policy, WARM_KEYS + (uint64_t)declared, 0, &victim);
			ops->forget(policy, WARM_KEYS + (uint64_t)declared);
			for (uint64_t key = 0; key < WARM_KEYS; key++)
				set[key] = ops->retains(policy, key);
			assert_int_equal(ops->future(policy, keys, n, false), 0);
			expect_soonest(ops, policy, set);
			before = misses(ops, policy);
			use(ops, policy, keys, NULL, n);
			assert_int_equal(misses(ops, policy) - before,
					 belady_from(set, capacity, keys, n));
		}
		ops->destroy(policy);
	}
}

/* A key outside the sequence that is used often is worth more than a distant part of it. */
static void schedule_keeps_a_hot_key_outside_the_sequence(void **state)
{
	enum { PERIOD = 2000, LAPS = 6, CAPACITY = 200 };
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	uint64_t *keys = calloc(2 * LAPS * PERIOD, sizeof(*keys)), cycle[PERIOD];
	void *policy = create(ops, CAPACITY);
	size_t n = 0;

	(void)state;
	assert_non_null(keys);
	seed(10);
	for (uint32_t i = 0; i < PERIOD; i++)
		cycle[i] = random_below(1000);
	for (uint32_t i = 0; i < LAPS * PERIOD; i++) {
		keys[n++] = cycle[i % PERIOD];
		if (i % 10 == 0)
			keys[n++] = vgpu_policy_key(9, i / 10 % 5);
	}
	assert_int_equal(ops->future(policy, cycle, PERIOD, true), 0);
	use(ops, policy, keys, NULL, n);
	for (uint32_t i = 0; i < 5; i++)
		assert_true(ops->retains(policy, vgpu_policy_key(9, i)));
	assert_in_range(misses(ops, policy), 0, optimum(keys, NULL, n, CAPACITY) * 102 / 100);
	ops->destroy(policy);
	free(keys);
}

static void schedule_alternating_panels_stay_in_place(void **state)
{
	enum { CHUNKS = 400 };
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	uint64_t cycle[CHUNKS], keys[2 * CHUNKS];
	struct vgpu_policy_stats stats;
	void *policy = create(ops, 100);

	(void)state;
	for (uint32_t i = 0; i < CHUNKS; i++)
		cycle[i] = i;
	/* Two panels take the chunks of each group of four in turn: abcd abcd efgh efgh. */
	for (uint32_t i = 0; i < 2 * CHUNKS; i++)
		keys[i] = i / 8 * 4 + i % 4;
	assert_int_equal(ops->future(policy, cycle, CHUNKS, true), 0);
	for (int lap = 0; lap < 5; lap++)
		use(ops, policy, keys, NULL, ARRAY_SIZE(keys));
	ops->stats(policy, &stats);
	assert_int_equal(stats.desyncs, 0);
	assert_true(stats.in_sync);
	assert_int_equal(ops->next_use(policy, 0), 0);
	ops->destroy(policy);
}

static void schedule_ends_without_a_desync(void **state)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	uint64_t keys[100];
	struct vgpu_policy_stats stats;
	void *policy = create(ops, 10);

	(void)state;
	for (uint32_t i = 0; i < 100; i++)
		keys[i] = i;
	assert_int_equal(ops->future(policy, keys, 100, false), 0);
	use(ops, policy, keys, NULL, 100);
	ops->stats(policy, &stats);
	assert_false(stats.in_sync);
	assert_int_equal(stats.desyncs, 0);
	/* The same finite sequence once more is recognised. */
	use(ops, policy, keys, NULL, 60);
	assert_true(in_sync(ops, policy));
	assert_int_equal(ops->next_use(policy, 90), 30);
	assert_int_equal(ops->next_use(policy, 10), VGPU_POLICY_NEVER);
	/* Withdrawn, nothing is known. */
	assert_int_equal(ops->future(policy, NULL, 0, false), 0);
	assert_false(in_sync(ops, policy));
	assert_int_equal(ops->next_use(policy, 90), VGPU_POLICY_NEVER);
	ops->destroy(policy);
}

static void schedule_next_use_and_upcoming_equal_a_scan(void **state)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;

	(void)state;
	seed(6);
	for (int round = 0; round < 100; round++) {
		uint64_t keys[60], ahead[150], joined[60], victim;
		uint32_t n = 2 + random_below(58), count = 0, universe = 2 + random_below(20);
		bool cyclic = random_below(2);
		void *policy = create(ops, 1 + random_below(8));
		uint32_t limit;

		for (uint32_t i = 0; i < n; i++) {
			keys[i] = random_below(universe);
			if (!count || joined[count - 1] != keys[i])
				joined[count++] = keys[i];
		}
		if (cyclic && count > 1 && joined[count - 1] == joined[0])
			count--;
		assert_int_equal(ops->future(policy, keys, n, cyclic), 0);
		limit = cyclic ? 3 * count : count - 1;
		for (uint32_t i = 0; i < limit; i++) {
			uint32_t room = cyclic ? 150 : count - i;
			uint64_t key = random_below(universe + 1), expected = VGPU_POLICY_NEVER;

			for (uint32_t d = room < count ? room : count; d-- > 0;)
				if (joined[(i + d) % count] == key)
					expected = d;
			assert_int_equal(ops->next_use(policy, key), expected);
			assert_int_equal(ops->upcoming(policy, 0, ahead, 150), room);
			for (uint32_t d = 0; d < room; d++)
				assert_int_equal(ahead[d], joined[(i + d) % count]);
			assert_int_equal(ops->upcoming(policy, 1, ahead, 1), cyclic || room > 1);
			assert_true(ops->access(policy, joined[i % count], 0, &victim) >= 0);
		}
		ops->destroy(policy);
	}
}

static void schedule_rejects_bad_declarations(void **state)
{
	static const uint64_t bad[] = { 1, 2, VGPU_POLICY_NONE };
	static const uint64_t good[] = { 1, 2 };
	void *policy = create(&vgpu_policy_schedule, 1);
	void *lru = create(&vgpu_policy_lru, 1);

	(void)state;
	assert_int_equal(vgpu_policy_schedule.future(policy, good, 2, true), 0);
	assert_int_equal(vgpu_policy_schedule.future(policy, bad, 3, true), -EINVAL);
	assert_int_equal(vgpu_policy_schedule.future(policy, good, (1ull << 31) + 1, true),
			 -EINVAL);
	assert_int_equal(vgpu_policy_schedule.next_use(policy, 2), 1);
	assert_int_equal(vgpu_policy_lru.future(lru, good, 2, true), -EOPNOTSUPP);
	vgpu_policy_schedule.destroy(policy);
	vgpu_policy_lru.destroy(lru);
}

/* --- cyclic scans ---------------------------------------------------------------- */

#define SCAN_CAPACITY 500
#define SCAN_CHUNKS (4 * SCAN_CAPACITY)

static void lru_misses_all_of_a_cyclic_scan(void **state)
{
	void *policy = create(&vgpu_policy_lru, SCAN_CAPACITY);
	uint64_t lap[3];

	(void)state;
	run_laps(&vgpu_policy_lru, policy, SCAN_CHUNKS, 3, lap);
	for (int i = 0; i < 3; i++)
		assert_int_equal(lap[i], SCAN_CHUNKS);
	vgpu_policy_lru.destroy(policy);
}

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
	assert_int_equal(vgpu_policy_schedule.future(policy, cycle, LAYERS * DENSE, true), 0);
	use(&vgpu_policy_schedule, policy, keys, NULL, n);
	assert_true(in_sync(&vgpu_policy_schedule, policy));
	assert_in_range(misses(&vgpu_policy_schedule, policy), best, best * 145 / 100);
	vgpu_policy_schedule.destroy(policy);
	free(keys);
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
		for (uint32_t i = 0; i < 200 * gaps[g]; i++) {
			vgpu_policy_heat_tick(&heat, true);
			if (i % gaps[g])
				continue;
			value = vgpu_policy_heat_add(&heat, value);
			if (i) {
				double gap = vgpu_policy_heat_gap(&heat, value, heat.step);

				assert_true(fabs(gap - gaps[g]) < 0.05 * gaps[g]);
			} else {
				assert_true(isinf(vgpu_policy_heat_gap(&heat, value, heat.step)));
			}
		}
		vgpu_policy_heat_fini(&heat);
	}
}

/* --- what holds for every policy --------------------------------------------------- */

static void every_policy_serves_a_direct_repeat_as_one_use(void **state)
{
	(void)state;
	for (const struct vgpu_policy_ops *const *p = vgpu_policies; *p; p++) {
		const struct vgpu_policy_ops *ops = *p;
		void *policy = create(ops, 1);
		struct vgpu_policy_stats stats;
		uint64_t victim;

		assert_int_equal(ops->access(policy, 1, 0, &victim), VGPU_POLICY_ADMIT);
		assert_int_equal(ops->access(policy, 1, 0, &victim), VGPU_POLICY_HIT);
		assert_int_equal(ops->hold(policy, 1, true), 0);
		assert_int_equal(ops->access(policy, 2, 0, &victim), VGPU_POLICY_BYPASS);
		assert_int_equal(ops->access(policy, 2, 0, &victim), VGPU_POLICY_BYPASS);
		assert_int_equal(ops->access(policy, 2, VGPU_ACCESS_MUST_ADMIT, &victim), -EBUSY);
		assert_int_equal(ops->hold(policy, 1, false), 0);
		/* Now it is written to: the same use is answered anew. */
		assert_int_equal(ops->access(policy, 2, VGPU_ACCESS_MUST_ADMIT, &victim),
				 VGPU_POLICY_ADMIT);
		assert_int_equal(victim, 1);
		ops->stats(policy, &stats);
		assert_int_equal(stats.accesses, 2);
		assert_int_equal(stats.hits, 0);
		assert_int_equal(stats.admits, 2);
		assert_int_equal(stats.bypasses, 0);
		assert_int_equal(stats.evictions, 1);
		/* Given up in between, it is a new use. */
		assert_int_equal(ops->shrink(policy, &victim), 0);
		assert_int_equal(victim, 2);
		assert_int_equal(ops->access(policy, 2, 0, &victim), VGPU_POLICY_ADMIT);
		assert_int_equal(ops->shrink(policy, &victim), 0);
		assert_int_equal(ops->shrink(policy, &victim), -EBUSY);
		ops->destroy(policy);
	}
}

static void every_policy_refuses_bad_arguments_and_survives_no_room(void **state)
{
	(void)state;
	for (const struct vgpu_policy_ops *const *p = vgpu_policies; *p; p++) {
		const struct vgpu_policy_ops *ops = *p;
		void *policy = create(ops, 0);
		struct vgpu_policy_stats stats;
		uint64_t victim;

		assert_int_equal(ops->access(policy, VGPU_POLICY_NONE, 0, &victim), -EINVAL);
		assert_int_equal(ops->access(policy, 1, 2, &victim), -EINVAL);
		assert_int_equal(ops->access(policy, 1, VGPU_ACCESS_MUST_ADMIT, &victim), -EBUSY);
		for (uint64_t key = 0; key < 100; key++)
			assert_int_equal(ops->access(policy, key, 0, &victim),
					 VGPU_POLICY_BYPASS);
		assert_int_equal(ops->hold(policy, 1, true), -ENOENT);
		assert_int_equal(ops->shrink(policy, &victim), -EBUSY);
		ops->forget(policy, 1);
		ops->stats(policy, &stats);
		assert_int_equal(stats.accesses, 100);
		assert_int_equal(stats.retained, 0);
		/* Room that appears later is used. */
		assert_int_equal(ops->resize(policy, 3), 0);
		assert_int_equal(ops->access(policy, 1, 0, &victim), VGPU_POLICY_ADMIT);
		assert_true(ops->retains(policy, 1));
		ops->destroy(policy);
		ops->destroy(NULL);
	}
}

#define MODEL_KEYS 64

/* The set that a policy claims to retain. */
struct model {
	const struct vgpu_policy_ops *ops;
	void *policy;
	bool retained[MODEL_KEYS];
	bool held[MODEL_KEYS];
	uint32_t count;
	uint32_t held_count;
	uint32_t capacity;
	uint64_t counted; /* answers to uses that were not direct repeats */
	uint64_t last;
};

static void model_remove(struct model *m, uint64_t key)
{
	assert_true(key < MODEL_KEYS && m->retained[key]);
	m->retained[key] = false;
	m->count--;
	m->held_count -= m->held[key];
	m->held[key] = false;
	if (m->last == key)
		m->last = VGPU_POLICY_NONE;
}

static void model_access(struct model *m, uint64_t key, unsigned int flags)
{
	bool hit = m->retained[key], repeat = key == m->last;
	uint64_t victim = 0;
	int answer = m->ops->access(m->policy, key, flags, &victim);

	if (answer == -EBUSY) {
		assert_true(flags && !hit && m->count >= m->capacity);
		assert_true(m->held_count == m->count || !m->capacity);
		return;
	}
	assert_true(answer >= 0);
	assert_int_equal(hit, answer == VGPU_POLICY_HIT);
	m->counted += !repeat;
	if (victim != VGPU_POLICY_NONE) {
		assert_int_equal(answer, VGPU_POLICY_ADMIT);
		assert_true(m->count >= m->capacity);
		assert_true(victim < MODEL_KEYS && !m->held[victim]);
		model_remove(m, victim);
	}
	if (answer == VGPU_POLICY_ADMIT) {
		m->retained[key] = true;
		m->count++;
		assert_true(m->count <= m->capacity || victim != VGPU_POLICY_NONE);
	}
	/* A repeat of a bypassed use is answered alike, even if there is room by now. */
	if (answer == VGPU_POLICY_BYPASS)
		assert_true(!flags && (repeat || m->count >= m->capacity));
	m->last = key;
}

static void model_shrink(struct model *m)
{
	uint64_t victim = 0;
	int rc = m->ops->shrink(m->policy, &victim);

	if (rc) {
		assert_int_equal(rc, -EBUSY);
		assert_int_equal(victim, VGPU_POLICY_NONE);
		assert_int_equal(m->held_count, m->count);
		return;
	}
	assert_true(victim < MODEL_KEYS && !m->held[victim]);
	model_remove(m, victim);
}

static void model_future(struct model *m)
{
	uint64_t keys[100];
	size_t n = random_below(100);
	bool cyclic = random_below(2);

	for (size_t i = 0; i < n; i++)
		keys[i] = random_below(MODEL_KEYS);
	m->ops->future(m->policy, keys, n, cyclic);
	/* Follow it for a while, so that it is believed. */
	for (size_t i = 0; i < n / 2; i++)
		model_access(m, keys[i], 0);
}

static void model_step(struct model *m)
{
	uint64_t key = random_below(MODEL_KEYS);
	bool held = random_below(2);

	switch (random_below(16)) {
	case 0:
		assert_int_equal(m->ops->hold(m->policy, key, held),
				 m->retained[key] ? 0 : -ENOENT);
		if (m->retained[key] && m->held[key] != held) {
			m->held[key] = held;
			m->held_count += held ? 1 : -1;
		}
		break;
	case 1:
		m->ops->forget(m->policy, key);
		if (m->last == key)
			m->last = VGPU_POLICY_NONE;
		if (m->retained[key])
			model_remove(m, key);
		break;
	case 2:
		model_shrink(m);
		break;
	case 3:
		m->capacity = random_below(MODEL_KEYS / 2);
		assert_int_equal(m->ops->resize(m->policy, m->capacity), 0);
		break;
	case 4:
		if (!random_below(8))
			model_future(m);
		break;
	case 5:
		model_access(m, key, VGPU_ACCESS_MUST_ADMIT);
		break;
	default:
		/* A skewed and partly sequential load, so that there are hits and cycles. */
		if (random_below(2))
			key = (m->last + 1) % MODEL_KEYS;
		else if (random_below(2))
			key %= 8;
		model_access(m, key, 0);
	}
}

static void model_compare(const struct model *m)
{
	struct vgpu_policy_stats stats;

	m->ops->stats(m->policy, &stats);
	assert_int_equal(stats.retained, m->count);
	assert_int_equal(stats.held, m->held_count);
	assert_int_equal(stats.capacity, m->capacity);
	assert_int_equal(stats.accesses, m->counted);
	assert_int_equal(stats.hits + stats.admits + stats.bypasses, stats.accesses);
	for (uint64_t key = 0; key < MODEL_KEYS; key++)
		assert_int_equal(m->ops->retains(m->policy, key), m->retained[key]);
}

static void every_policy_agrees_with_a_set_under_random_calls(void **state)
{
	(void)state;
	for (const struct vgpu_policy_ops *const *p = vgpu_policies; *p; p++) {
		for (int round = 0; round < 20; round++) {
			struct vgpu_policy_params params = {
				.capacity = random_below(MODEL_KEYS / 2), .remember = 20,
			};
			struct model m = {
				.ops = *p, .capacity = params.capacity, .last = VGPU_POLICY_NONE,
			};

			seed(1000 + round);
			assert_int_equal((*p)->create(&params, &m.policy), 0);
			for (int step = 0; step < 3000; step++) {
				model_step(&m);
				if (step % 16 == 0)
					model_compare(&m);
			}
			(*p)->destroy(m.policy);
		}
	}
}

static void every_policy_keeps_held_chunks_through_a_long_scan(void **state)
{
	(void)state;
	for (const struct vgpu_policy_ops *const *p = vgpu_policies; *p; p++) {
		const struct vgpu_policy_ops *ops = *p;
		void *policy = create(ops, 8);
		uint64_t victim;

		for (uint64_t key = 0; key < 8; key++)
			ops->access(policy, key, 0, &victim);
		for (uint64_t key = 0; key < 7; key++)
			assert_int_equal(ops->hold(policy, key, true), 0);
		for (uint64_t key = 100; key < 1000; key++) {
			int answer = ops->access(policy, key, key % 3 ? 0 :
						 VGPU_ACCESS_MUST_ADMIT, &victim);

			assert_true(answer == VGPU_POLICY_ADMIT || answer == VGPU_POLICY_BYPASS);
		}
		for (uint64_t key = 0; key < 7; key++)
			assert_int_equal(ops->access(policy, key, 0, &victim), VGPU_POLICY_HIT);
		ops->destroy(policy);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_table_finds_each_by_name),
		cmocka_unit_test(opt_equals_exhaustive_search),
		cmocka_unit_test(opt_joins_direct_repeats_and_checks_arguments),
		cmocka_unit_test(lru_equals_list_model),
		cmocka_unit_test(schedule_equals_optimum_on_exact_future),
		cmocka_unit_test(schedule_equals_optimum_on_exact_cycle),
		cmocka_unit_test(schedule_tolerates_skips_and_extra_uses),
		cmocka_unit_test(schedule_is_found_again_from_any_place),
		cmocka_unit_test(schedule_is_followed_through_regular_skips),
		cmocka_unit_test(schedule_gives_up_what_is_declared_and_never_used),
		cmocka_unit_test(schedule_gone_back_knows_again_what_is_due),
		cmocka_unit_test(schedule_declared_on_a_warm_tier_equals_belady),
		cmocka_unit_test(schedule_keeps_a_hot_key_outside_the_sequence),
		cmocka_unit_test(schedule_alternating_panels_stay_in_place),
		cmocka_unit_test(schedule_ends_without_a_desync),
		cmocka_unit_test(schedule_next_use_and_upcoming_equal_a_scan),
		cmocka_unit_test(schedule_rejects_bad_declarations),
		cmocka_unit_test(lru_misses_all_of_a_cyclic_scan),
		cmocka_unit_test(freq_keeps_its_part_of_a_cyclic_scan),
		cmocka_unit_test(replay_is_optimal_from_the_second_lap),
		cmocka_unit_test(replay_is_near_the_optimum_on_an_uneven_cycle),
		cmocka_unit_test(replay_recognises_a_cycle_with_extra_uses),
		cmocka_unit_test(cycle_is_reported_only_while_predictions_come_true),
		cmocka_unit_test(cycle_is_found_after_more_uses_than_are_kept),
		cmocka_unit_test(replay_leaves_a_cycle_for_another),
		cmocka_unit_test(freq_is_within_1_45_of_the_optimum_on_zipf_routing),
		cmocka_unit_test(schedule_of_dense_layers_leaves_experts_to_frequency),
		cmocka_unit_test(freq_recovers_when_the_load_changes),
		cmocka_unit_test(freq_notices_a_hot_key_among_many_single_uses),
		cmocka_unit_test(heat_estimates_the_distance_between_uses),
		cmocka_unit_test(every_policy_serves_a_direct_repeat_as_one_use),
		cmocka_unit_test(every_policy_refuses_bad_arguments_and_survives_no_room),
		cmocka_unit_test(every_policy_agrees_with_a_set_under_random_calls),
		cmocka_unit_test(every_policy_keeps_held_chunks_through_a_long_scan),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}

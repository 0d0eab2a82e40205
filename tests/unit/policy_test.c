// SPDX-License-Identifier: MIT
/*
 * Residency policies against slow and obvious models: a list for lru, a search over all
 * decisions for the optimum, and for every policy a plain set that each answer must agree
 * with.
 */
#include "policy_run.h"

#include <errno.h>

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

/* More than the core leaves in their place until a victim is wanted. */
#define MANY 10000u

static void lru_gives_up_in_order_of_use_after_many_hits(void **state)
{
	struct vgpu_policy_params params = { .capacity = MANY };
	uint64_t victim;
	void *policy;

	(void)state;
	assert_int_equal(vgpu_policy_lru.create(&params, &policy), 0);
	for (uint64_t key = 0; key < MANY; key++)
		assert_int_equal(vgpu_policy_lru.access(policy, key, 0, &victim), VGPU_POLICY_ADMIT);
	/* Used in another order, some of them twice: 7 has no divisor in common with MANY. */
	for (uint64_t i = 0; i < MANY + MANY / 2; i++)
		assert_int_equal(vgpu_policy_lru.access(policy, i * 7 % MANY, 0, &victim),
				 VGPU_POLICY_HIT);
	for (uint64_t i = MANY / 2; i < MANY + MANY / 2; i++) {
		assert_int_equal(vgpu_policy_lru.access(policy, MANY + i, 0, &victim),
				 VGPU_POLICY_ADMIT);
		assert_int_equal(victim, i * 7 % MANY);
	}
	vgpu_policy_lru.destroy(policy);
}

static void lru_misses_all_of_a_cyclic_scan(void **state)
{
	void *policy = create(&vgpu_policy_lru, 500);
	uint64_t lap[3];

	(void)state;
	run_laps(&vgpu_policy_lru, policy, 2000, 3, lap);
	for (int i = 0; i < 3; i++)
		assert_int_equal(lap[i], 2000);
	vgpu_policy_lru.destroy(policy);
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
	m->ops->future(m->policy, random_below(3), keys, n, cyclic);
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
		cmocka_unit_test(lru_gives_up_in_order_of_use_after_many_hits),
		cmocka_unit_test(lru_misses_all_of_a_cyclic_scan),
		cmocka_unit_test(every_policy_serves_a_direct_repeat_as_one_use),
		cmocka_unit_test(every_policy_refuses_bad_arguments_and_survives_no_room),
		cmocka_unit_test(every_policy_agrees_with_a_set_under_random_calls),
		cmocka_unit_test(every_policy_keeps_held_chunks_through_a_long_scan),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}

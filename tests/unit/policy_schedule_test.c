// SPDX-License-Identifier: MIT
/* schedule against the optimum, against Belady from a warm tier, and where uses stray. */
#include "policy_run.h"

#include "exec/policy_core.h"

#include <errno.h>

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
	assert_int_equal(vgpu_policy_schedule.future(policy, 0, cycle, PERIOD, true), 0);
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
	assert_int_equal(ops->future(policy, 0, cycle, 1000, true), 0);
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
	assert_int_equal(ops->future(policy, 0, cycle, 1000, true), 0);
	for (uint32_t i = 0; i < 9998; i++)
		if (i % 3 != 2)
			ops->access(policy, i % 1000, 0, &victim);
	ops->stats(policy, &stats);
	assert_true(stats.in_sync);
	assert_int_equal(stats.desyncs, 0);
	assert_int_equal(ops->next_use(policy, 998), 0);

	/* Every second one: the cursor is never right and never far off. */
	assert_int_equal(ops->future(policy, 0, cycle, 1000, true), 0);
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
	assert_int_equal(ops->future(policy, 0, cycle, PERIOD, true), 0);
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
	assert_int_equal(ops->future(policy, 0, keys, n, false), 0);
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
	struct vgpu_policy_core *core = policy;
	uint32_t slot = vgpu_policy_core_soonest(core, 1);
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
			assert_int_equal(ops->future(policy, 0, keys, n, false), 0);
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
	assert_int_equal(ops->future(policy, 0, cycle, PERIOD, true), 0);
	use(ops, policy, keys, NULL, n);
	for (uint32_t i = 0; i < 5; i++)
		assert_true(ops->retains(policy, vgpu_policy_key(9, i)));
	assert_in_range(misses(ops, policy), 0, optimum(keys, NULL, n, CAPACITY) * 102 / 100);
	ops->destroy(policy);
	free(keys);
}

/* Intermediate results, written and soon read again, are not given up for weights. */
static void schedule_keeps_fresh_data_until_it_is_used_again(void **state)
{
	enum { PERIOD = 2000, CAPACITY = 200, BUFFERS = 50 };
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	void *policy = create(ops, CAPACITY);
	uint64_t cycle[PERIOD], victim;

	(void)state;
	for (uint32_t i = 0; i < PERIOD; i++)
		cycle[i] = i;
	assert_int_equal(ops->future(policy, 0, cycle, PERIOD, true), 0);
	use(ops, policy, cycle, NULL, PERIOD);
	/* Each is used twice, five others of its kind and five weights later. */
	for (uint32_t i = 0; i < BUFFERS + 5; i++) {
		if (i >= 5)
			assert_int_equal(ops->access(policy, vgpu_policy_key(9, i - 5),
						     VGPU_ACCESS_MUST_ADMIT, &victim),
					 VGPU_POLICY_HIT);
		assert_int_equal(ops->access(policy, vgpu_policy_key(9, i),
					     VGPU_ACCESS_MUST_ADMIT, &victim),
				 VGPU_POLICY_ADMIT);
		assert_true(ops->access(policy, i, 0, &victim) >= 0);
	}
	ops->destroy(policy);
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
	assert_int_equal(ops->future(policy, 0, cycle, CHUNKS, true), 0);
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
	assert_int_equal(ops->future(policy, 0, keys, 100, false), 0);
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
	assert_int_equal(ops->future(policy, 0, NULL, 0, false), 0);
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
		assert_int_equal(ops->future(policy, 0, keys, n, cyclic), 0);
		limit = cyclic ? 3 * count : count - 1;
		for (uint32_t i = 0; i < limit; i++) {
			uint32_t room = cyclic ? 150 : count - i;
			uint64_t key = random_below(universe + 1), expected = VGPU_POLICY_NEVER;

			for (uint32_t d = room < count ? room : count; d-- > 0;)
				if (joined[(i + d) % count] == key)
					expected = d;
			assert_int_equal(ops->next_use(policy, key), expected);
			assert_int_equal(ops->upcoming(policy, ahead, 150), room);
			for (uint32_t d = 0; d < room; d++)
				assert_int_equal(ahead[d], joined[(i + d) % count]);
			assert_true(ops->access(policy, joined[i % count], 0, &victim) >= 0);
		}
		ops->destroy(policy);
	}
}

/* Two old keys in a row: the second was used last, so nothing is known to be skipped. */
static void schedule_stays_in_place_when_a_jump_leads_nowhere(void **state)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	static const uint64_t again[] = { 35, 99 };
	struct vgpu_policy_stats stats;
	uint64_t keys[200];
	void *policy = create(ops, 20);

	(void)state;
	for (uint32_t i = 0; i < 200; i++)
		keys[i] = i;
	assert_int_equal(ops->future(policy, 0, keys, 200, false), 0);
	use(ops, policy, keys, NULL, 100);
	use(ops, policy, again, NULL, 2);
	ops->stats(policy, &stats);
	assert_true(stats.in_sync);
	assert_int_equal(stats.desyncs, 0);
	assert_int_equal(ops->next_use(policy, 100), 0);
	ops->destroy(policy);
}

/* ------------------------------------------------------------------------
 * Several clients
 */

enum { LAP = 640, BLOCK = 40, CLIENTS = 3 };

/* A lap that uses each of eight blocks twice, block by block. */
static uint64_t use_of(uint32_t client, uint64_t i)
{
	return vgpu_policy_key(client + 1, (uint32_t)(i % LAP / (2 * BLOCK) * BLOCK + i % BLOCK));
}

/* Turns of so many uses, of up to that many more where they vary, until all are through. */
static size_t take_turns(uint64_t *keys, uint32_t clients, uint32_t turn, uint32_t more, size_t n)
{
	uint64_t at[CLIENTS] = { 0 };
	size_t count = 0;

	for (uint32_t c = 0; count < n; c = (c + 1) % clients) {
		uint32_t uses = turn + (more ? random_below(more) : 0);

		for (uint32_t i = 0; i < uses && count < n; i++)
			keys[count++] = use_of(c, at[c]++);
	}
	return count;
}

/* What is read of all that must be, in percent. */
static uint64_t percent_read(uint32_t clients, uint32_t capacity, uint32_t turn, uint32_t more)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	size_t n = (size_t)clients * LAP * 20;
	uint64_t *keys = calloc(n, sizeof(*keys)), lap[LAP], percent;
	void *policy = create(ops, capacity);

	assert_non_null(keys);
	for (uint32_t c = 0; c < clients; c++) {
		for (uint32_t i = 0; i < LAP; i++)
			lap[i] = use_of(c, i);
		assert_int_equal(ops->future(policy, c, lap, LAP, true), 0);
	}
	take_turns(keys, clients, turn, more, n);
	use(ops, policy, keys, NULL, n);
	percent = misses(ops, policy) * 100 / optimum(keys, NULL, n, capacity);
	ops->destroy(policy);
	free(keys);
	return percent;
}

/* Turns as long as those before are known; of others only how long they usually are. */
static void schedule_of_several_clients_is_near_the_optimum_whatever_their_turns(void **state)
{
	static const uint32_t turns[] = { 1, 8, 40, 41, 100, 640, 3000 };

	(void)state;
	seed(21);
	for (uint32_t clients = 2; clients <= CLIENTS; clients++) {
		for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
			for (uint32_t room = BLOCK + 2; room <= 6 * (BLOCK + 2); room += BLOCK + 2) {
				assert_in_range(percent_read(clients, room, turns[i], 0), 100, 105);
				assert_in_range(percent_read(clients, room, turns[i], turns[i]), 100,
						113);
			}
		}
	}
}

/* Client 1 has what fits and stops: its place is not kept for ever. */
static void schedule_of_a_client_that_stopped_gives_its_room_away(void **state)
{
	enum { CAPACITY = 3 * BLOCK, TURNS = 40 };
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	uint64_t lap[2][LAP], before;
	void *policy = create(ops, CAPACITY);

	(void)state;
	for (uint32_t i = 0; i < LAP; i++) {
		lap[0][i] = use_of(0, i);
		lap[1][i] = vgpu_policy_key(2, i % (2 * BLOCK));
	}
	for (uint32_t c = 0; c < 2; c++)
		assert_int_equal(ops->future(policy, c, lap[c], LAP, true), 0);
	for (uint32_t i = 0; i < TURNS; i++)
		for (uint32_t c = 0; c < 2; c++)
			use(ops, policy, lap[c] + i % 16 * BLOCK, NULL, BLOCK);
	for (uint32_t i = 0; i < 2 * BLOCK; i++)
		assert_true(ops->retains(policy, lap[1][i]));
	for (int i = 0; i < 4; i++)
		use(ops, policy, lap[0], NULL, LAP);
	before = misses(ops, policy);
	use(ops, policy, lap[0], NULL, LAP);
	/* Alone it reads 8 * BLOCK a lap less what stays from one to the next. */
	assert_in_range(misses(ops, policy) - before, 0, 8 * BLOCK - CAPACITY + 2 * BLOCK);
	ops->destroy(policy);
}

static void schedule_of_each_client_is_replaced_and_withdrawn_alone(void **state)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	static const uint64_t a[] = { 1, 2, 3 }, b[] = { 11, 12, 13 }, c[] = { 21, 22, 23 };
	void *policy = create(ops, 2);
	struct vgpu_policy_stats stats;
	uint64_t next[9];

	(void)state;
	assert_int_equal(ops->future(policy, 7, a, 3, true), 0);
	assert_int_equal(ops->future(policy, 9, b, 3, true), 0);
	use(ops, policy, a, NULL, 2);
	use(ops, policy, b, NULL, 1);
	assert_int_equal(ops->future(policy, 7, c, 3, false), 0);
	assert_int_equal(ops->next_use(policy, 3), VGPU_POLICY_NEVER);
	assert_int_not_equal(ops->next_use(policy, 21), VGPU_POLICY_NEVER);
	assert_int_equal(ops->next_use(policy, 12), 0);
	assert_int_equal(ops->future(policy, 9, NULL, 0, false), 0);
	assert_int_equal(ops->next_use(policy, 12), VGPU_POLICY_NEVER);
	assert_int_equal(ops->upcoming(policy, next, 9), 3);
	assert_memory_equal(next, c, sizeof(c));
	assert_int_equal(ops->future(policy, 7, NULL, 0, false), 0);
	assert_int_equal(ops->upcoming(policy, next, 9), 0);
	ops->stats(policy, &stats);
	assert_false(stats.in_sync);
	ops->destroy(policy);
}

/* Turns of 6 and 5: what is left of the one, then the other's, then those of the first again. */
static void schedule_upcoming_is_what_is_left_of_a_turn_and_the_turns_of_others(void **state)
{
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	uint64_t lap[2][LAP], next[11];
	void *policy = create(ops, 10);

	(void)state;
	for (uint32_t c = 0; c < 2; c++) {
		for (uint32_t i = 0; i < LAP; i++)
			lap[c][i] = vgpu_policy_key(c + 1, i);
		assert_int_equal(ops->future(policy, c, lap[c], LAP, true), 0);
	}
	for (uint32_t i = 0; i < 20; i++) {
		use(ops, policy, lap[0] + 6 * i, NULL, 6);
		use(ops, policy, lap[1] + 5 * i, NULL, 5);
	}
	use(ops, policy, lap[0] + 120, NULL, 1);
	assert_int_equal(ops->upcoming(policy, next, 11), 10);
	assert_memory_equal(next, lap[0] + 121, 5 * sizeof(*next));
	assert_memory_equal(next + 5, lap[1] + 100, 5 * sizeof(*next));
	/* Of the other client's first use all that is left of this turn comes before. */
	assert_int_equal(ops->next_use(policy, lap[0][125]), 4);
	assert_int_equal(ops->next_use(policy, lap[0][126]), 5 + 5);
	ops->destroy(policy);
}

/* Two clients of one model, half a lap apart: a use of the one is not a jump of the other. */
static void schedule_of_two_clients_may_name_the_same_chunks(void **state)
{
	enum { TURN = 16 };
	const struct vgpu_policy_ops *ops = &vgpu_policy_schedule;
	uint64_t lap[LAP];
	void *policy = create(ops, 2 * BLOCK);
	struct vgpu_policy_stats stats;

	(void)state;
	for (uint32_t i = 0; i < LAP; i++)
		lap[i] = i;
	for (uint32_t c = 0; c < 2; c++)
		assert_int_equal(ops->future(policy, c, lap, LAP, true), 0);
	use(ops, policy, lap, NULL, LAP / 2);
	ops->stats(policy, &stats);
	for (uint32_t i = 0; i < LAP / TURN * 8; i++) {
		use(ops, policy, lap + (LAP / 2 + i * TURN) % LAP, NULL, TURN);
		use(ops, policy, lap + i * TURN % LAP, NULL, TURN);
	}
	ops->stats(policy, &stats);
	assert_int_equal(stats.desyncs, 0);
	assert_true(stats.in_sync);
	ops->destroy(policy);
}

static void schedule_rejects_bad_declarations(void **state)
{
	static const uint64_t bad[] = { 1, 2, VGPU_POLICY_NONE };
	static const uint64_t good[] = { 1, 2 };
	void *policy = create(&vgpu_policy_schedule, 1);
	void *lru = create(&vgpu_policy_lru, 1);

	(void)state;
	assert_int_equal(vgpu_policy_schedule.future(policy, 0, good, 2, true), 0);
	assert_int_equal(vgpu_policy_schedule.future(policy, 0, bad, 3, true), -EINVAL);
	assert_int_equal(vgpu_policy_schedule.future(policy, 0, good, (1ull << 31) + 1, true),
			 -EINVAL);
	assert_int_equal(vgpu_policy_schedule.next_use(policy, 2), 1);
	assert_int_equal(vgpu_policy_lru.future(lru, 0, good, 2, true), -EOPNOTSUPP);
	vgpu_policy_schedule.destroy(policy);
	vgpu_policy_lru.destroy(lru);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(schedule_equals_optimum_on_exact_future),
		cmocka_unit_test(schedule_equals_optimum_on_exact_cycle),
		cmocka_unit_test(schedule_tolerates_skips_and_extra_uses),
		cmocka_unit_test(schedule_is_found_again_from_any_place),
		cmocka_unit_test(schedule_is_followed_through_regular_skips),
		cmocka_unit_test(schedule_gives_up_what_is_declared_and_never_used),
		cmocka_unit_test(schedule_gone_back_knows_again_what_is_due),
		cmocka_unit_test(schedule_declared_on_a_warm_tier_equals_belady),
		cmocka_unit_test(schedule_keeps_a_hot_key_outside_the_sequence),
		cmocka_unit_test(schedule_keeps_fresh_data_until_it_is_used_again),
		cmocka_unit_test(schedule_alternating_panels_stay_in_place),
		cmocka_unit_test(schedule_ends_without_a_desync),
		cmocka_unit_test(schedule_next_use_and_upcoming_equal_a_scan),
		cmocka_unit_test(schedule_stays_in_place_when_a_jump_leads_nowhere),
		cmocka_unit_test(schedule_of_several_clients_is_near_the_optimum_whatever_their_turns),
		cmocka_unit_test(schedule_of_a_client_that_stopped_gives_its_room_away),
		cmocka_unit_test(schedule_of_each_client_is_replaced_and_withdrawn_alone),
		cmocka_unit_test(schedule_upcoming_is_what_is_left_of_a_turn_and_the_turns_of_others),
		cmocka_unit_test(schedule_of_two_clients_may_name_the_same_chunks),
		cmocka_unit_test(schedule_rejects_bad_declarations),
	};

	return cmocka_run_group_tests_name("policy_schedule", tests, NULL, NULL);
}

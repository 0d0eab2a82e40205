// SPDX-License-Identifier: MIT
/* Which layers to keep in more bits: against models of known loss. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "vbrun/restore.h"

#define LAYERS 8u

/**
 * struct packed_model - packed layers cost so much each
 * @cost: lost from 1 by a layer that is packed
 * @floor: lost whatever is kept
 * @nan_below: the score is NaN with fewer kept layers
 * @fail_at: this call fails; 0: none
 * @calls: so far
 * @sets: what was tried, a bit a layer
 */
struct packed_model {
	double cost[LAYERS], floor;
	uint32_t nan_below, fail_at, calls;
	uint32_t sets[LAYERS + 1];
};

static uint32_t as_bits(const bool *kept)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < LAYERS; i++)
		bits |= (uint32_t)kept[i] << i;
	return bits;
}

static double score_of(const struct packed_model *m, uint32_t kept)
{
	double score = 1 - m->floor;

	if ((uint32_t)__builtin_popcount(kept) < m->nan_below)
		return NAN;
	for (uint32_t i = 0; i < LAYERS; i++)
		score -= kept >> i & 1 ? 0 : m->cost[i];
	return score;
}

static int try_set(void *arg, const bool *kept, double *score)
{
	struct packed_model *m = arg;

	assert_true(m->calls < LAYERS);
	m->sets[m->calls++] = as_bits(kept);
	*score = score_of(m, as_bits(kept));
	return m->calls == m->fail_at ? -EINTR : 0;
}

static uint64_t random_state = 99;

static double random_cost(void)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (double)(random_state >> 40) / (1 << 24) * 0.1;
}

/* What the search must find: the shortest beginning of the layers by falling cost. */
static uint32_t shortest_prefix(const struct packed_model *m, double goal, uint32_t kept)
{
	while (!(score_of(m, kept) >= goal) && kept != (1u << LAYERS) - 1) {
		uint32_t worst = LAYERS;

		for (uint32_t i = 0; i < LAYERS; i++)
			if (!(kept >> i & 1) && (worst == LAYERS || m->cost[i] > m->cost[worst]))
				worst = i;
		kept |= 1u << worst;
	}
	return kept;
}

static uint32_t search(struct packed_model *m, double goal, uint32_t given, double *best, int want)
{
	bool kept[LAYERS];

	for (uint32_t i = 0; i < LAYERS; i++)
		kept[i] = given >> i & 1;
	*best = score_of(m, given);
	assert_int_equal(restore_search(LAYERS, m->cost, goal, try_set, m, kept, best), want);
	return as_bits(kept);
}

static void restore_keeps_the_worst_layers_until_it_is_enough(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 500; round++) {
		struct packed_model m = { 0 };
		double goal = 1 - random_cost() * LAYERS, best;
		uint32_t kept, given = round % 3 ? 0 : 1u << round % LAYERS;

		for (uint32_t i = 0; i < LAYERS; i++)
			m.cost[i] = random_cost();
		kept = search(&m, goal, given, &best, 0);
		assert_int_equal(kept, shortest_prefix(&m, goal, given));
		assert_true(best >= goal);
		assert_true(best == score_of(&m, kept));
		assert_int_equal(m.calls, __builtin_popcount(kept) - __builtin_popcount(given));
		/* One layer fewer was tried, and was not enough. */
		for (uint32_t i = 0; i + 1 < m.calls; i++)
			assert_true(score_of(&m, m.sets[i]) < goal);
	}
}

static void restore_ends_with_all_layers_when_nothing_suffices(void **state)
{
	struct packed_model m = { .cost = { 0.1, 0.3, 0.2 }, .floor = 0.06 };
	double best;

	(void)state;
	assert_int_equal(search(&m, 0.95, 0, &best, 0), (1u << LAYERS) - 1);
	assert_int_equal(m.calls, LAYERS);
	assert_true(best == score_of(&m, (1u << LAYERS) - 1) && best < 0.95);
}

static void restore_of_a_good_model_tries_nothing(void **state)
{
	struct packed_model m = { .cost = { 0.01, 0.02 } };
	double best;

	(void)state;
	assert_int_equal(search(&m, 0.97, 0, &best, 0), 0);
	assert_int_equal(m.calls, 0);
}

static void restore_takes_equal_losses_from_the_input_on(void **state)
{
	struct packed_model m = { .cost = { 0.01, 0.02, 0.02, 0.01, 0.02 } };
	double best;

	(void)state;
	assert_int_equal(search(&m, 0.955, 0, &best, 0), 1u << 1 | 1u << 2);
}

/* Too few texts, or embeddings of zeros: no correlation is no reason to stop. */
static void restore_is_not_satisfied_by_nan(void **state)
{
	struct packed_model m = { .nan_below = LAYERS };
	double loss[LAYERS] = { 0.01, NAN, 0.02 }, best = NAN;
	bool kept[LAYERS] = { [3] = true, true, true, true, true };

	(void)state;
	assert_int_equal(restore_search(LAYERS, loss, 0.5, try_set, &m, kept, &best), 0);
	/* What nothing is known of comes last. */
	assert_int_equal(m.sets[0], 0xf8 | 1u << 2);
	assert_int_equal(m.sets[1], 0xf8 | 1u << 2 | 1u << 0);
	assert_int_equal(m.sets[2], 0xff);
	assert_int_equal(m.calls, 3);
	assert_true(best == 1);
}

static void restore_ends_at_the_first_failure(void **state)
{
	struct packed_model m = { .cost = { 0.1, 0.3, 0.2 }, .fail_at = 2 };
	double best;

	(void)state;
	search(&m, 0.99, 0, &best, -EINTR);
	assert_int_equal(m.calls, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restore_keeps_the_worst_layers_until_it_is_enough),
		cmocka_unit_test(restore_ends_with_all_layers_when_nothing_suffices),
		cmocka_unit_test(restore_of_a_good_model_tries_nothing),
		cmocka_unit_test(restore_takes_equal_losses_from_the_input_on),
		cmocka_unit_test(restore_is_not_satisfied_by_nan),
		cmocka_unit_test(restore_ends_at_the_first_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

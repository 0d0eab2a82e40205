// SPDX-License-Identifier: MIT
/*
 * policy: how many uses does each policy serve for a chunk read, beside lru and the
 * optimum?
 *
 * Counts, not times: the same on every machine, so one run is enough. A round is a lap of
 * a cycle or a token; reads are misses, the first round included.
 */
#include "exec/policy.h"

#include "common/bench_util.h"
#include "exec/keymap.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LAYERS 24
#define EXPERTS 32
#define USED 4

/**
 * struct load - a sequence of uses
 * @name: heading in the table
 * @keys: [n] uses in order
 * @n: how many
 * @rounds: laps or tokens in it
 * @capacity: chunks to retain
 * @declared: [declared_n] cycle told to schedule, or NULL
 * @declared_n: its length
 */
struct load {
	const char *name;
	uint64_t *keys;
	size_t n;
	uint32_t rounds;
	uint32_t capacity;
	const uint64_t *declared;
	size_t declared_n;
};

/* Tokens are divided by this. */
static uint32_t shorter = 1;

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

static uint32_t random_below(uint32_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 32) * bound >> 32);
}

static int report(const struct load *load, const char *policy, double ours, double lru,
		  double best, double ns)
{
	double uses = (double)load->n / load->rounds;
	char note[80];

	snprintf(note, sizeof(note), "%.1f reads/round, %.3f x optimum, %.0f ns/use", ours,
		 ours / best, ns);
	return bench_emit(&(struct bench_result){
		.bench = load->name, .policy = policy, .unit = "uses/read", .ours = uses / ours,
		.peer = "lru", .theirs = uses / lru, .bound = uses / best, .runs = 1,
		.note = note,
	});
}

/* Reads a round, or a negative errno. */
static double simulate(const struct load *load, const struct vgpu_policy_ops *ops,
		       double *out_ns)
{
	struct vgpu_policy_params params = { .capacity = load->capacity };
	struct vgpu_policy_stats stats;
	uint64_t victim;
	void *policy;
	double start;
	int rc;

	rc = ops->create(&params, &policy);
	if (rc)
		return rc;
	if (load->declared && ops == &vgpu_policy_schedule)
		rc = ops->future(policy, 0, load->declared, load->declared_n, true);
	start = bench_seconds();
	for (size_t i = 0; i < load->n && rc >= 0; i++)
		rc = ops->access(policy, load->keys[i], 0, &victim);
	*out_ns = (bench_seconds() - start) * 1e9 / (double)load->n;
	ops->stats(policy, &stats);
	ops->destroy(policy);
	if (rc < 0)
		return rc;
	return (double)(stats.admits + stats.bypasses) / load->rounds;
}

static int more_first(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? 1 : -(x > y);
}

/*
 * Reads a round when the chunks used most in the whole load are kept from the start: what
 * frequency alone could give if it were known in advance. Negative errno on failure.
 */
static double best_fixed_set(const struct load *load)
{
	uint32_t *counts = calloc(load->n, sizeof(*counts)), id;
	uint64_t reads = load->n;
	struct vgpu_keymap ids;
	int rc = vgpu_keymap_init(&ids, 0, 1u << 30);

	if (!counts)
		rc = -ENOMEM;
	for (size_t i = 0; i < load->n && !rc; i++) {
		if (!vgpu_keymap_find(&ids, load->keys[i], &id)) {
			id = ids.count;
			rc = vgpu_keymap_set(&ids, load->keys[i], id);
		}
		counts[id]++;
	}
	if (!rc) {
		qsort(counts, ids.count, sizeof(*counts), more_first);
		for (uint32_t i = 0; i < load->capacity && i < ids.count; i++)
			reads -= counts[i] - 1;
	}
	vgpu_keymap_fini(&ids);
	free(counts);
	return rc ? rc : (double)reads / load->rounds;
}

static int bench(const struct load *load)
{
	uint64_t best;
	double ns, ours, lru = simulate(load, &vgpu_policy_lru, &ns);
	double fixed = best_fixed_set(load);
	int rc = vgpu_policy_opt_misses(load->keys, NULL, load->n, load->capacity, &best);

	if (rc || lru < 0 || fixed < 0)
		return -1;
	for (const struct vgpu_policy_ops *const *p = vgpu_policies; *p; p++) {
		if (*p == &vgpu_policy_lru)
			continue;
		ours = simulate(load, *p, &ns);
		if (ours < 0)
			return -1;
		rc = report(load, (*p)->name, ours, lru, (double)best / load->rounds, ns);
		if (rc)
			return rc;
	}
	return report(load, "fixed-set", fixed, lru, (double)best / load->rounds, 0);
}

static int bench_cycle(uint64_t *keys, const char *name, uint32_t chunks, uint32_t laps)
{
	struct load load = {
		.name = name, .keys = keys, .n = (size_t)chunks * laps, .rounds = laps,
		.capacity = chunks / 4, .declared = keys, .declared_n = chunks,
	};

	for (size_t i = 0; i < load.n; i++)
		keys[i] = i % chunks;
	return bench(&load);
}

/* A cycle in which chunks recur at uneven distances. */
static int bench_uneven_cycle(uint64_t *keys)
{
	struct load load = {
		.name = "policy-uneven-cycle", .keys = keys, .n = 20 * 3000, .rounds = 20,
		.capacity = 300, .declared = keys, .declared_n = 3000,
	};

	for (size_t i = 0; i < load.n; i++)
		keys[i] = i < 3000 ? random_below(1500) : keys[i - 3000];
	return bench(&load);
}

/* One of the ranks not in @taken, with weight (rank + 1)^-exponent. */
static uint32_t draw(uint32_t taken, double exponent)
{
	double total = 0, at;
	uint32_t rank, last = 0;

	for (rank = 0; rank < EXPERTS; rank++)
		if (!(taken >> rank & 1))
			total += pow(rank + 1, -exponent);
	at = total * random_below(1u << 30) / (1u << 30);
	for (rank = 0; rank < EXPERTS; rank++) {
		if (taken >> rank & 1)
			continue;
		last = rank;
		at -= pow(rank + 1, -exponent);
		if (at < 0)
			break;
	}
	return last;
}

/* Every layer ranks its experts alike: policies see names, not places. */
static int bench_routing(uint64_t *keys, const char *name, double exponent, uint32_t chunks,
			 uint32_t dense)
{
	uint64_t declared[LAYERS * 8];
	struct load load = {
		.name = name, .keys = keys, .rounds = 500 / shorter,
		.capacity = LAYERS * EXPERTS * chunks / 4,
	};

	for (uint32_t visit = 0; visit < load.rounds * LAYERS; visit++) {
		uint32_t layer = visit % LAYERS, taken = 0;

		for (uint32_t c = 0; c < dense; c++)
			keys[load.n++] = vgpu_policy_key(100 + layer, c);
		for (int k = 0; k < USED; k++) {
			uint32_t expert = draw(taken, exponent);

			taken |= 1u << expert;
			for (uint32_t c = 0; c < chunks; c++)
				keys[load.n++] = vgpu_policy_key(layer, expert * chunks + c);
		}
	}
	if (dense) {
		for (uint32_t layer = 0; layer < LAYERS; layer++)
			for (uint32_t c = 0; c < dense; c++)
				declared[load.declared_n++] = vgpu_policy_key(100 + layer, c);
		load.declared = declared;
	}
	return bench(&load);
}

int main(void)
{
	uint64_t *keys = malloc(3000000 * sizeof(*keys));
	int rc = -1;

	if (!keys)
		return 1;
	if (bench_short())
		shorter = 50;
	rc = bench_cycle(keys, "policy-cycle-4000", 4000, 20);
	if (!rc && !bench_short())
		rc = bench_cycle(keys, "policy-cycle-500000", 500000, 5);
	if (!rc)
		rc = bench_uneven_cycle(keys);
	if (!rc)
		rc = bench_routing(keys, "policy-zipf-0.8", 0.8, 1, 0);
	if (!rc)
		rc = bench_routing(keys, "policy-zipf-1.0", 1.0, 1, 0);
	if (!rc)
		rc = bench_routing(keys, "policy-zipf-1.2", 1.2, 1, 0);
	if (!rc)
		rc = bench_routing(keys, "policy-zipf-1.0-3-chunks", 1.0, 3, 0);
	if (!rc)
		rc = bench_routing(keys, "policy-zipf-1.0-3-chunks-dense", 1.0, 3, 6);
	free(keys);
	return rc ? 1 : 0;
}

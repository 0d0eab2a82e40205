// SPDX-License-Identifier: MIT
#include "exec/policy_cycle.h"

#include "exec/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NOWHERE UINT32_MAX
#define MAX_KEPT (1u << 21)
#define LOOK_AHEAD 8
#define WRONG_COSTS 8
#define CANDIDATES 16
#define COMPARED 32
#define STRETCH_MIN 16
#define STRETCH_MAX 4096
/* Uses that are looked up together: what they touch is in the caches then. */
#define INDEX_BATCH 4096

int vgpu_policy_cycle_init(struct vgpu_policy_cycle *cycle)
{
	memset(cycle, 0, sizeof(*cycle));
	cycle->expected = NOWHERE;
	return vgpu_keymap_init(&cycle->last, 0, MAX_KEPT);
}

void vgpu_policy_cycle_fini(struct vgpu_policy_cycle *cycle)
{
	vgpu_keymap_fini(&cycle->last);
	free(cycle->keys);
	free(cycle->before);
	memset(cycle, 0, sizeof(*cycle));
}

static int grow(struct vgpu_policy_cycle *cycle)
{
	uint32_t room = cycle->room ? 2 * cycle->room : 1024;
	uint64_t *keys;
	uint32_t *before;

	if (room > MAX_KEPT)
		return -ENOSPC;
	keys = realloc(cycle->keys, room * sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	cycle->keys = keys;
	before = realloc(cycle->before, room * sizeof(*before));
	if (!before)
		return -ENOMEM;
	cycle->before = before;
	cycle->room = room;
	return 0;
}

/* Look up the uses that were not. */
static void index_all(struct vgpu_policy_cycle *cycle)
{
	for (; cycle->indexed < cycle->n; cycle->indexed++) {
		uint32_t at = cycle->indexed;

		if (!vgpu_keymap_find(&cycle->last, cycle->keys[at], &cycle->before[at]))
			cycle->before[at] = NOWHERE;
		/* When the map cannot grow this use is never found again, nothing worse. */
		vgpu_keymap_set(&cycle->last, cycle->keys[at], at);
	}
}

static void drop_older_half(struct vgpu_policy_cycle *cycle)
{
	uint32_t from = cycle->n / 2, count = cycle->n - from;

	memmove(cycle->keys, cycle->keys + from, count * sizeof(*cycle->keys));
	vgpu_keymap_clear(&cycle->last);
	cycle->n = count;
	cycle->indexed = 0;
	index_all(cycle);
	if (cycle->expected != NOWHERE && cycle->expected >= from)
		cycle->expected -= from;
	else
		cycle->expected = NOWHERE;
}

/* How many uses before @a and before @b are the same, a < b. */
static uint32_t common_past(const struct vgpu_policy_cycle *cycle, uint32_t a, uint32_t b)
{
	uint32_t length = 0;

	while (length < COMPARED && length < a &&
	       cycle->keys[a - 1 - length] == cycle->keys[b - 1 - length])
		length++;
	return length;
}

/* The use at @at was not predicted: look for the earlier one that is most like it. */
static void seek(struct vgpu_policy_cycle *cycle, uint32_t at)
{
	uint32_t best = NOWHERE, best_length = 0, other;

	index_all(cycle);
	other = cycle->before[at];
	for (int i = 0; i < CANDIDATES && other != NOWHERE; i++) {
		uint32_t length = common_past(cycle, other, at);

		if (best == NOWHERE || length > best_length) {
			best = other;
			best_length = length;
		}
		other = cycle->before[other];
	}
	if (best == NOWHERE)
		return;
	cycle->expected = best + 1;
	cycle->score = best_length + 1;
}

static bool predicted_soon(struct vgpu_policy_cycle *cycle, uint32_t at)
{
	for (uint32_t i = 1; i <= LOOK_AHEAD && cycle->expected + i < at; i++) {
		if (cycle->keys[cycle->expected + i] != cycle->keys[at])
			continue;
		cycle->expected += i + 1;
		return true;
	}
	return false;
}

static void judge(struct vgpu_policy_cycle *cycle, uint32_t at)
{
	bool soon;

	if (cycle->expected == NOWHERE) {
		seek(cycle, at);
		return;
	}
	if (cycle->keys[cycle->expected] == cycle->keys[at]) {
		cycle->expected++;
		cycle->run++;
		if (cycle->score < 2 * STRETCH_MAX)
			cycle->score++;
		return;
	}
	cycle->run = 0;
	soon = predicted_soon(cycle, at);
	if (cycle->score >= WRONG_COSTS) {
		cycle->score -= WRONG_COSTS;
		return;
	}
	cycle->score = 0;
	if (!soon) {
		cycle->expected = NOWHERE;
		seek(cycle, at);
	}
}

void vgpu_policy_cycle_push(struct vgpu_policy_cycle *cycle, uint64_t key)
{
	if (cycle->n && cycle->keys[cycle->n - 1] == key)
		return;
	if (cycle->n >= cycle->room && grow(cycle)) {
		if (!cycle->n)
			return;
		drop_older_half(cycle);
	}
	cycle->keys[cycle->n++] = key;
	judge(cycle, cycle->n - 1);
	if (cycle->n - cycle->indexed >= INDEX_BATCH)
		index_all(cycle);
}

uint32_t vgpu_policy_cycle_found(const struct vgpu_policy_cycle *cycle,
				 const uint64_t **out_keys)
{
	uint32_t period, stretch;

	if (cycle->expected == NOWHERE || cycle->run < STRETCH_MIN)
		return 0;
	period = cycle->n - cycle->expected;
	stretch = period / 4;
	if (stretch > STRETCH_MAX)
		stretch = STRETCH_MAX;
	if (cycle->score < stretch)
		return 0;
	*out_keys = cycle->keys + cycle->expected;
	return period;
}

// SPDX-License-Identifier: MIT
#include "exec/policy_heat.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * Half-life in uses of a full tier. On routing drawn from a fixed distribution longer is
 * better, and from 64 on within 2 % of infinity; PACE_FAST recovers from a change.
 */
#define HALF_LIFE_TIERS 128
#define HALF_LIFE_MIN 8192
#define PACE_FAST 64

int vgpu_policy_heat_init(struct vgpu_policy_heat *heat, uint32_t capacity, uint32_t remember)
{
	uint64_t wanted = remember ? remember : 8 * (uint64_t)capacity + 4096;
	uint64_t window = 4 * (uint64_t)capacity + 512;

	memset(heat, 0, sizeof(*heat));
	heat->remember = wanted < 1u << 30 ? wanted : 1u << 30;
	heat->half_life = HALF_LIFE_TIERS * (double)capacity;
	if (heat->half_life < HALF_LIFE_MIN)
		heat->half_life = HALF_LIFE_MIN;
	heat->step = 1 / heat->half_life;
	heat->window_uses = window < UINT32_MAX ? window : UINT32_MAX;
	return vgpu_keymap_init(&heat->map, 0, heat->remember);
}

void vgpu_policy_heat_fini(struct vgpu_policy_heat *heat)
{
	vgpu_keymap_fini(&heat->map);
	free(heat->entries);
	memset(heat, 0, sizeof(*heat));
}

/* A hit rate below half of what it was: the load has changed, old counts mislead. */
static void choose_pace(struct vgpu_policy_heat *heat)
{
	bool fast = heat->hits < heat->best_hits / 2;

	heat->step = (fast ? PACE_FAST : 1) / heat->half_life;
	heat->best_hits *= 0.75;
	if (heat->hits > heat->best_hits)
		heat->best_hits = heat->hits;
	heat->uses = 0;
	heat->hits = 0;
}

void vgpu_policy_heat_tick(struct vgpu_policy_heat *heat, bool hit)
{
	heat->clock += heat->step;
	heat->hits += hit;
	if (++heat->uses >= heat->window_uses)
		choose_pace(heat);
}

/*
 * What the smaller of the two adds to the larger is at most 1, and a float has it to 2^-23: a
 * count above 2^24 grows no more. Every use of every chunk asks.
 */
double vgpu_policy_heat_add(const struct vgpu_policy_heat *heat, double before)
{
	double most = before > heat->clock ? before : heat->clock;

	if (before < 0)
		return heat->clock;
	return most + (double)log2f(1 + exp2f(-(float)fabs(before - heat->clock)));
}

/*
 * A key used every g uses for a half-lives has the count half_life / (g ln 2) * (1 - 2^-a),
 * not counting the use that began it, of which 2^-a is left.
 */
double vgpu_policy_heat_gap(const struct vgpu_policy_heat *heat, double value, double born)
{
	double first = exp2(born - heat->clock);
	double count = exp2(value - heat->clock) - first;
	double gap;

	/* Used once: as if it came again now, which is likely at first and less so later. */
	if (count < first)
		count = first;
	gap = heat->half_life / M_LN2 * (1 - first) / count;
	return gap < 1 ? 1 : gap;
}

struct vgpu_policy_heat_entry *vgpu_policy_heat_recall(const struct vgpu_policy_heat *heat,
						       uint64_t key)
{
	uint32_t index;

	return vgpu_keymap_find(&heat->map, key, &index) ? &heat->entries[index] : NULL;
}

static void remove_entry(struct vgpu_policy_heat *heat, uint32_t index)
{
	uint32_t last = heat->map.count - 1;

	vgpu_keymap_remove(&heat->map, heat->entries[index].key);
	if (index == last)
		return;
	heat->entries[index] = heat->entries[last];
	vgpu_keymap_set(&heat->map, heat->entries[index].key, index);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* A quarter goes at once, so the cost is constant per key; the quartile is sampled. */
static void forget_coldest(struct vgpu_policy_heat *heat)
{
	double sample[64], threshold;
	uint32_t count = heat->map.count;

	for (uint32_t i = 0; i < 64; i++)
		sample[i] = heat->entries[(uint64_t)i * count / 64].heat;
	qsort(sample, 64, sizeof(*sample), compare_doubles);
	threshold = sample[16];
	for (uint32_t i = count; i-- > 0;)
		if (heat->entries[i].heat <= threshold)
			remove_entry(heat, i);
}

static int grow_entries(struct vgpu_policy_heat *heat)
{
	uint64_t room = heat->room ? 2 * (uint64_t)heat->room : 64;
	struct vgpu_policy_heat_entry *grown;

	if (room > heat->remember)
		room = heat->remember;
	grown = realloc(heat->entries, room * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	heat->entries = grown;
	heat->room = room;
	return 0;
}

void vgpu_policy_heat_keep(struct vgpu_policy_heat *heat, uint64_t key, double value,
			   double born)
{
	if (heat->map.count >= heat->remember)
		forget_coldest(heat);
	if (heat->map.count >= heat->room && grow_entries(heat))
		return;
	if (vgpu_keymap_set(&heat->map, key, heat->map.count))
		return;
	heat->entries[heat->map.count - 1] = (struct vgpu_policy_heat_entry){
		.key = key, .heat = value, .born = born,
	};
}

void vgpu_policy_heat_touch(struct vgpu_policy_heat *heat, uint64_t key)
{
	struct vgpu_policy_heat_entry *past = vgpu_policy_heat_recall(heat, key);

	if (past)
		past->heat = vgpu_policy_heat_add(heat, past->heat);
	else
		vgpu_policy_heat_keep(heat, key, heat->clock, heat->clock);
}

void vgpu_policy_heat_take(struct vgpu_policy_heat *heat, uint64_t key, double *out_heat,
			   double *out_born)
{
	struct vgpu_policy_heat_entry *past = vgpu_policy_heat_recall(heat, key);

	*out_heat = vgpu_policy_heat_add(heat, past ? past->heat : VGPU_POLICY_COLD);
	*out_born = past ? past->born : heat->clock;
	if (past)
		remove_entry(heat, past - heat->entries);
}

/* The bits of doubles that are not negative order like the doubles. */
uint64_t vgpu_policy_heat_rank(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return UINT64_MAX - bits;
}

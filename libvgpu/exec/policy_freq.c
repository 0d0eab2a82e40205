// SPDX-License-Identifier: MIT
/*
 * freq: keep what is used most often, let the rest pass.
 *
 * A chunk that is not retained is weighed by its heat *before* the present use against
 * the coldest retained chunk, and must be hotter. Counting the present use would favour
 * whatever comes by: on a cyclic scan every chunk has the same number of uses, except
 * that the one in use has one more, and admitting it evicts one that is due sooner. Not
 * counting it, each past use of the newcomer is older than the corresponding use of
 * every retained chunk of the cycle, so nothing is ever replaced and a cycle over N
 * chunks hits capacity / N. Where keys are drawn at random both estimates are unbiased.
 *
 * Before the tier is full everything is admitted; a key never seen before never
 * displaces another.
 */
#include "exec/policy_core.h"
#include "exec/policy_heat.h"

#include <errno.h>
#include <stdlib.h>

struct freq {
	struct vgpu_policy_core core;
	struct vgpu_policy_heat heat;
};

static void freq_used(struct vgpu_policy_core *core, uint64_t key, uint32_t slot)
{
	struct freq *freq = (struct freq *)core;
	bool hit = slot != VGPU_POLICY_NO_SLOT;

	(void)key;
	vgpu_policy_heat_tick(&freq->heat, hit);
	if (hit)
		core->slots[slot].heat = vgpu_policy_heat_add(&freq->heat, core->slots[slot].heat);
}

static uint64_t freq_rank(const struct vgpu_policy_core *core, struct vgpu_policy_slot *slot)
{
	(void)core;
	slot->kind = VGPU_POLICY_GUESSED;
	return vgpu_policy_heat_rank(slot->heat);
}

static bool freq_displaces(const struct vgpu_policy_core *core, uint64_t key,
			   const struct vgpu_policy_slot *victim)
{
	const struct freq *freq = (const struct freq *)core;
	const struct vgpu_policy_heat_entry *past = vgpu_policy_heat_recall(&freq->heat, key);

	return past && past->heat > victim->heat;
}

static void freq_admitted(struct vgpu_policy_core *core, struct vgpu_policy_slot *slot)
{
	vgpu_policy_heat_take(&((struct freq *)core)->heat, slot->key, &slot->heat, &slot->born);
}

static void freq_dropped(struct vgpu_policy_core *core, const struct vgpu_policy_slot *slot)
{
	vgpu_policy_heat_keep(&((struct freq *)core)->heat, slot->key, slot->heat, slot->born);
}

static void freq_bypassed(struct vgpu_policy_core *core, uint64_t key)
{
	vgpu_policy_heat_touch(&((struct freq *)core)->heat, key);
}

static const struct vgpu_policy_hooks freq_hooks = {
	.used = freq_used,
	.rank = freq_rank,
	.displaces = freq_displaces,
	.admitted = freq_admitted,
	.dropped = freq_dropped,
	.bypassed = freq_bypassed,
};

static void freq_destroy(void *policy)
{
	struct freq *freq = policy;

	if (!freq)
		return;
	vgpu_policy_heat_fini(&freq->heat);
	vgpu_policy_core_fini(&freq->core);
	free(freq);
}

static int freq_create(const struct vgpu_policy_params *params, void **out_policy)
{
	struct freq *freq = calloc(1, sizeof(*freq));
	int rc;

	if (!freq)
		return -ENOMEM;
	rc = vgpu_policy_core_init(&freq->core, &freq_hooks, params->capacity);
	if (!rc)
		rc = vgpu_policy_heat_init(&freq->heat, params->capacity, params->remember);
	if (rc) {
		freq_destroy(freq);
		return rc;
	}
	*out_policy = freq;
	return 0;
}

const struct vgpu_policy_ops vgpu_policy_freq = {
	.name = "freq",
	.what = "most frequently used, ageing, resists scans, for routing that is not known",
	.create = freq_create,
	.destroy = freq_destroy,
	.access = vgpu_policy_core_access,
	VGPU_POLICY_CORE_OPS,
	VGPU_POLICY_NO_FUTURE_OPS,
};

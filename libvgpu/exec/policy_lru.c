// SPDX-License-Identifier: MIT
/*
 * lru: keep what was used last. Here for comparison: on a cyclic scan over more than
 * the tier holds it misses every time.
 */
#include "exec/policy_core.h"

#include <errno.h>
#include <stdlib.h>

struct lru {
	struct vgpu_policy_core core;
	uint64_t uses;
};

static void lru_used(struct vgpu_policy_core *core, uint64_t key, uint32_t slot)
{
	struct lru *lru = (struct lru *)core;

	(void)key;
	(void)slot;
	lru->uses++;
}

/* What comes in is always worth more than what is there. */
static bool lru_displaces(const struct vgpu_policy_core *core, uint64_t key,
			  const struct vgpu_policy_slot *victim)
{
	(void)core;
	(void)key;
	(void)victim;
	return true;
}

static uint64_t lru_rank(const struct vgpu_policy_core *core, struct vgpu_policy_slot *slot)
{
	slot->kind = VGPU_POLICY_GUESSED;
	return UINT64_MAX - ((const struct lru *)core)->uses;
}

static const struct vgpu_policy_hooks lru_hooks = {
	.used = lru_used,
	.rank = lru_rank,
	.displaces = lru_displaces,
};

static int lru_create(const struct vgpu_policy_params *params, void **out_policy)
{
	struct lru *lru = calloc(1, sizeof(*lru));
	int rc;

	if (!lru)
		return -ENOMEM;
	rc = vgpu_policy_core_init(&lru->core, &lru_hooks, params->capacity);
	if (rc) {
		free(lru);
		return rc;
	}
	*out_policy = lru;
	return 0;
}

static void lru_destroy(void *policy)
{
	struct lru *lru = policy;

	if (!lru)
		return;
	vgpu_policy_core_fini(&lru->core);
	free(lru);
}

const struct vgpu_policy_ops vgpu_policy_lru = {
	.name = "lru",
	.what = "least recently used, for comparison",
	.create = lru_create,
	.destroy = lru_destroy,
	.access = vgpu_policy_core_access,
	VGPU_POLICY_CORE_OPS,
	VGPU_POLICY_NO_FUTURE_OPS,
};

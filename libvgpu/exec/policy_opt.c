// SPDX-License-Identifier: MIT
/*
 * The optimum on a recorded sequence: Belady's rule with bypass, by the core that the
 * policies use, but with the next use of each use known exactly.
 */
#include "exec/policy_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct opt {
	struct vgpu_policy_core core;
	uint64_t next;
};

static bool opt_displaces(const struct vgpu_policy_core *core, uint64_t key,
			  const struct vgpu_policy_slot *victim)
{
	(void)key;
	return ((const struct opt *)core)->next < victim->rank;
}

/* Asked for the chunk in use only, so its next use is the present one's. */
static uint64_t opt_rank(const struct vgpu_policy_core *core, struct vgpu_policy_slot *slot)
{
	slot->kind = VGPU_POLICY_GUESSED;
	return ((const struct opt *)core)->next;
}

static const struct vgpu_policy_hooks opt_hooks = {
	.rank = opt_rank,
	.displaces = opt_displaces,
};

/**
 * struct opt_use - one use of the sequence, direct repeats joined
 * @key: the chunk
 * @next: index of its next use, or UINT32_MAX
 * @flags: VGPU_ACCESS_* of the use or of a repeat of it
 */
struct opt_use {
	uint64_t key;
	uint32_t next;
	uint8_t flags;
};

static size_t join_repeats(struct opt_use *uses, const uint64_t *keys, const uint8_t *flags,
			   size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		if (!count || uses[count - 1].key != keys[i])
			uses[count++] = (struct opt_use){ .key = keys[i] };
		if (flags)
			uses[count - 1].flags |= flags[i];
	}
	return count;
}

static int link_uses(struct opt_use *uses, size_t count)
{
	struct vgpu_keymap later;
	int rc = vgpu_keymap_init(&later, 0, 1u << 30);

	for (size_t i = count; !rc && i-- > 0;) {
		if (!vgpu_keymap_find(&later, uses[i].key, &uses[i].next))
			uses[i].next = UINT32_MAX;
		rc = vgpu_keymap_set(&later, uses[i].key, (uint32_t)i);
	}
	vgpu_keymap_fini(&later);
	return rc;
}

static int run(const struct opt_use *uses, size_t count, uint32_t capacity,
	       uint64_t *out_misses)
{
	struct opt opt;
	uint64_t victim;
	int rc = vgpu_policy_core_init(&opt.core, &opt_hooks, capacity);

	if (rc)
		return rc;
	for (size_t i = 0; i < count; i++) {
		opt.next = uses[i].next == UINT32_MAX ? VGPU_POLICY_NEVER : uses[i].next;
		rc = vgpu_policy_core_access(&opt.core, uses[i].key, uses[i].flags, &victim);
		if (rc < 0)
			break;
	}
	*out_misses = opt.core.stats.accesses - opt.core.stats.hits;
	vgpu_policy_core_fini(&opt.core);
	/* Nothing is ever held: only a tier of no capacity is too busy to admit. */
	if (rc == -EBUSY)
		return -EINVAL;
	return rc < 0 ? rc : 0;
}

int vgpu_policy_opt_misses(const uint64_t *keys, const uint8_t *flags, size_t n,
			   uint32_t capacity, uint64_t *out_misses)
{
	struct opt_use *uses;
	size_t count;
	int rc;

	*out_misses = 0;
	if (n > 1u << 31)
		return -EINVAL;
	if (!n)
		return 0;
	uses = malloc(n * sizeof(*uses));
	if (!uses)
		return -ENOMEM;
	count = join_repeats(uses, keys, flags, n);
	rc = link_uses(uses, count);
	/* More places than uses are of no use. */
	if (!rc)
		rc = run(uses, count, capacity < count ? capacity : (uint32_t)count, out_misses);
	free(uses);
	return rc;
}

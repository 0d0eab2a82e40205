// SPDX-License-Identifier: MIT
/*
 * Arenas and their slots.  The host arena gets its slots region by region from the
 * executor, whose memory it is; the others are numbers to us.
 */
#include "uapi_loop.h"

#include <stdlib.h>

static struct loop_arena *arena_find(struct vgpu_loop *loop, u32 arena)
{
	return arena < loop->arena_count ? &loop->arenas[arena] : NULL;
}

static u64 tier_slots(const struct vgpu_loop *loop, u32 tier)
{
	u64 slots = 0;

	for (u32 i = 0; i < loop->arena_count; i++)
		if (loop->arenas[i].tier == tier)
			slots += loop->arenas[i].slots.present;
	return slots;
}

u64 vgpu_loop_host_bytes_locked(const struct vgpu_loop *loop)
{
	return tier_slots(loop, VB_TIER_HOST) << loop->chunk_shift;
}

u64 vgpu_loop_device_bytes_locked(const struct vgpu_loop *loop)
{
	return tier_slots(loop, VB_TIER_DEVICE) << loop->chunk_shift;
}

u64 vgpu_loop_content_bytes_locked(const struct vgpu_loop *loop)
{
	u64 host = vgpu_loop_host_bytes_locked(loop);

	return host > loop->staging_bytes ? host - loop->staging_bytes : 0;
}

u64 vgpu_loop_capacity_locked(const struct vgpu_loop *loop)
{
	return vgpu_loop_content_bytes_locked(loop) +
	       (tier_slots(loop, VB_TIER_NVME) << loop->chunk_shift);
}

/* One from the top, so that runs of adjacent slots stay whole at the bottom. */
static int slot_take(struct loop_arena *a, u32 slot, u32 *out)
{
	if (slot != VB_SLOT_ANY) {
		*out = slot;
		return vb_slots_take_this(&a->slots, slot);
	}
	*out = vb_slots_take(&a->slots, true);
	return *out == VB_SLOTS_NONE ? -ENOSPC : 0;
}

int vgpu_loop_slot_take_locked(struct vgpu_loop *loop, u32 tier, u32 arena, u32 slot,
			       u32 *out_loc)
{
	struct loop_arena *a = arena_find(loop, arena);
	u32 taken;
	int rc;

	if (!a || a->tier != tier)
		return -EINVAL;
	rc = slot_take(a, slot, &taken);
	if (rc)
		return rc;
	*out_loc = VB_LOC(arena, taken);
	return 0;
}

void vgpu_loop_slot_give_locked(struct vgpu_loop *loop, u32 loc)
{
	struct loop_arena *a = arena_find(loop, VB_LOC_ARENA(loc));

	if (a)
		vb_slots_give(&a->slots, VB_LOC_SLOT(loc));
}

void vgpu_loop_slot_retire_locked(struct vgpu_loop *loop, u32 loc)
{
	struct loop_arena *a = arena_find(loop, VB_LOC_ARENA(loc));

	if (a)
		vb_slots_remove(&a->slots, VB_LOC_SLOT(loc), 1);
}

static const struct loop_region *region_of(const struct loop_arena *a, u32 slot)
{
	for (u32 i = 0; i < a->region_count; i++)
		if (slot - a->regions[i].first < a->regions[i].slots)
			return &a->regions[i];
	return NULL;
}

char *vgpu_loop_slot_address_locked(const struct vgpu_loop *loop, u32 loc)
{
	const struct loop_arena *a = &loop->arenas[VB_LOC_ARENA(loc)];
	const struct loop_region *r = region_of(a, VB_LOC_SLOT(loc));

	if (!r)
		return NULL;
	return r->address + ((u64)(VB_LOC_SLOT(loc) - r->first) << loop->chunk_shift);
}

bool vgpu_loop_slots_adjacent_locked(const struct vgpu_loop *loop, u32 loc, u32 next)
{
	const struct loop_arena *a = &loop->arenas[VB_LOC_ARENA(loc)];

	return next == loc + 1 && VB_LOC_ARENA(loc) == VB_LOC_ARENA(next) &&
	       region_of(a, VB_LOC_SLOT(loc)) == region_of(a, VB_LOC_SLOT(next));
}

static bool is_first_host(const struct vgpu_loop *loop, u32 index)
{
	u32 first = 0;

	while (first < index && loop->arenas[first].tier != VB_TIER_HOST)
		first++;
	return first == index && loop->arenas[index].tier == VB_TIER_HOST;
}

int vgpu_loop_query_tier(struct loop_client *c, void *arg)
{
	struct vb_ioc_query_tier *q = arg;
	struct vgpu_loop *loop = c->loop;
	const struct loop_arena *a;

	pthread_mutex_lock(&loop->lock);
	a = arena_find(loop, q->index);
	if (!a) {
		pthread_mutex_unlock(&loop->lock);
		return -EINVAL;
	}
	q->out_tier = a->tier;
	q->out_flags = 0;
	q->out_numa_node = a->numa_node;
	q->out_arena = q->index;
	q->out_bytes = (u64)a->slots.present << loop->chunk_shift;
	q->out_used_bytes = (u64)(a->slots.present - a->slots.free) << loop->chunk_shift;
	q->out_pinned_bytes = a->pinned << loop->chunk_shift;
	q->out_reserved_bytes = is_first_host(loop, q->index) ? loop->reserved_bytes : 0;
	q->out_client_bytes = c->slots[q->index] << loop->chunk_shift;
	q->out_cpu_path = VB_CPU_MIGRATE;
	q->out_cpu_reason = a->tier == VB_TIER_DEVICE ? -EOPNOTSUPP : 0;
	pthread_mutex_unlock(&loop->lock);
	return 0;
}

static int arena_init(struct loop_arena *a, const struct vb_ioc_arena_create *cmd)
{
	memset(a, 0, sizeof(*a));
	a->memory = calloc(1, vb_slots_bytes(cmd->slots));
	if (!a->memory)
		return -ENOMEM;
	a->tier = cmd->tier;
	a->numa_node = cmd->numa_node;
	vb_slots_init(&a->slots, cmd->slots, a->memory);
	if (cmd->tier != VB_TIER_HOST)
		return vb_slots_add(&a->slots, 0, cmd->slots);
	return 0;
}

static bool memory_is_valid(const struct vb_ioc_arena_create *cmd)
{
	if (cmd->memory == VB_ARENA_FILE)
		return cmd->tier == VB_TIER_NVME && !(cmd->memory_offset % 4096);
	if (cmd->memory > VB_ARENA_FILE || cmd->memory_offset ||
	    (cmd->memory != VB_ARENA_DMABUF && cmd->memory_fd))
		return false;
	return cmd->memory == VB_ARENA_EXECUTOR || cmd->tier == VB_TIER_DEVICE;
}

int vgpu_loop_arena_create(struct loop_exec *x, void *arg)
{
	struct vb_ioc_arena_create *cmd = arg;
	struct vgpu_loop *loop = x->loop;
	int rc;

	if (cmd->tier >= VB_TIER_COUNT || cmd->numa_node < -1 || !cmd->slots ||
	    cmd->slots > VB_ARENA_SLOTS_MAX || !memory_is_valid(cmd))
		return -EINVAL;
	if (cmd->memory != VB_ARENA_EXECUTOR)
		return -EOPNOTSUPP;
	cmd->out_cpu_path = VB_CPU_MIGRATE;
	cmd->out_cpu_reason = cmd->tier == VB_TIER_DEVICE ? -EOPNOTSUPP : 0;
	cmd->out_mmap_offset = 0;
	pthread_mutex_lock(&loop->lock);
	rc = loop->arena_count < VB_ARENA_MAX ? 0 : -EDQUOT;
	if (!rc)
		rc = arena_init(&loop->arenas[loop->arena_count], cmd);
	if (!rc)
		cmd->out_arena = loop->arena_count++;
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

static int region_add(struct loop_arena *a, const struct vb_ioc_region *cmd)
{
	struct loop_region *regions;
	int rc;

	regions = realloc(a->regions, (a->region_count + 1) * sizeof(*regions));
	if (!regions)
		return -ENOMEM;
	a->regions = regions;
	rc = vb_slots_add(&a->slots, cmd->first_slot, cmd->slots);
	if (rc)
		return rc;
	regions[a->region_count++] = (struct loop_region){
		.first = cmd->first_slot,
		.slots = cmd->slots,
		.address = (char *)(uintptr_t)cmd->address,
	};
	return 0;
}

int vgpu_loop_region_add(struct loop_exec *x, void *arg)
{
	struct vb_ioc_region *cmd = arg;
	struct vgpu_loop *loop = x->loop;
	struct loop_arena *a;
	int rc = -EINVAL;

	if (!cmd->slots || !cmd->address || cmd->address % 4096)
		return -EINVAL;
	pthread_mutex_lock(&loop->lock);
	a = arena_find(loop, cmd->arena);
	if (a && a->tier == VB_TIER_HOST)
		rc = region_add(a, cmd);
	cmd->out_mmap_offset = 0;
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

static int region_remove(struct vgpu_loop *loop, struct loop_arena *a,
			 const struct vb_ioc_region *cmd)
{
	int rc;

	for (u32 i = 0; i < a->region_count; i++) {
		if (a->regions[i].first != cmd->first_slot || a->regions[i].slots != cmd->slots)
			continue;
		if (!vgpu_loop_limit_may_shrink_locked(loop, (u64)cmd->slots << loop->chunk_shift))
			return -EBUSY;
		rc = vb_slots_remove(&a->slots, cmd->first_slot, cmd->slots);
		if (!rc)
			a->regions[i] = a->regions[--a->region_count];
		return rc;
	}
	return -EINVAL;
}

int vgpu_loop_region_remove(struct loop_exec *x, void *arg)
{
	struct vb_ioc_region *cmd = arg;
	struct vgpu_loop *loop = x->loop;
	struct loop_arena *a;
	int rc;

	pthread_mutex_lock(&loop->lock);
	a = arena_find(loop, cmd->arena);
	rc = a ? region_remove(loop, a, cmd) : -EINVAL;
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

void vgpu_loop_arenas_drop_locked(struct vgpu_loop *loop)
{
	for (u32 i = 0; i < loop->arena_count; i++) {
		free(loop->arenas[i].memory);
		free(loop->arenas[i].regions);
	}
	memset(loop->arenas, 0, sizeof(loop->arenas));
	loop->arena_count = 0;
}

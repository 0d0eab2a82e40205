// SPDX-License-Identifier: GPL-2.0
/* Regions: slots of a host arena that came together, and go together. */
#include "region.h"

#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "core/slots.h"
#include "arena.h"
#include "device.h"
#include "exec.h"
#include "limit.h"
#include "map.h"
#include "quarantine.h"
#include "slot.h"
#include "ucmd.h"
#include "vb.h"

static void region_free(struct kref *kref)
{
	struct vb_region *region = container_of(kref, struct vb_region, kref);
	u32 i;

	for (i = 0; i < region->slots; i++) {
		vb_slot_free(region, &region->slot[i]);
		cond_resched();
	}
	if (region->is_bar)
		vb_bar_give();
	kvfree(region);
}

/**
 * vb_region_put() - do without a region; with the last reference its memory returns
 * @region: region
 *
 * Context: may sleep.
 */
void vb_region_put(struct vb_region *region)
{
	kref_put(&region->kref, region_free);
}

/* Slots without pages. */
static struct vb_region *region_alloc(u32 arena, u32 first, u32 slots)
{
	struct vb_region *region;
	u32 i;

	region = kvzalloc(struct_size(region, slot, slots), GFP_KERNEL_ACCOUNT);
	if (!region)
		return NULL;
	kref_init(&region->kref);
	region->first = first;
	region->slots = slots;
	region->order = vb.chunk_shift - PAGE_SHIFT;
	for (i = 0; i < slots; i++) {
		INIT_LIST_HEAD(&region->slot[i].quarantine);
		INIT_LIST_HEAD(&region->slot[i].of_user);
		region->slot[i].loc = VB_LOC(arena, first + i);
	}
	return region;
}

/**
 * vb_region_of_bar() - slots over pages of the BAR
 * @arena: theirs
 * @slots: how many, from 0 on
 * @first: first page; the region's, whether this succeeds or not
 *
 * Return: the region, with one reference; NULL without memory.
 */
struct vb_region *vb_region_of_bar(u32 arena, u32 slots, struct page *first)
{
	struct vb_region *region = region_alloc(arena, 0, slots);
	u32 i;

	if (!region) {
		vb_bar_give();
		return NULL;
	}
	region->is_bar = true;
	for (i = 0; i < slots; i++)
		if (vb_slot_of_bar(region, &region->slot[i], first + ((u64)i << region->order))) {
			vb_region_put(region);
			return NULL;
		}
	return region;
}

static struct vb_region *region_new(u32 arena, u32 first, u32 slots, int node, gfp_t how)
{
	struct vb_region *region = region_alloc(arena, first, slots);
	u32 i;

	if (!region)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < slots; i++) {
		if (fatal_signal_pending(current) ||
		    vb_slot_alloc(region, &region->slot[i], node, how)) {
			vb_region_put(region);
			return ERR_PTR(-ENOMEM);
		}
		cond_resched();
	}
	return region;
}

/* ---- looked up ---- */

/* The caller has one of the locks that keep arenas (vb_arena_of()). */
static struct vb_region *region_of(u32 arena, u32 slot)
{
	struct vb_arena *a = vb_arena_of(arena);

	return a ? mtree_load(&a->regions, slot) : NULL;
}

/**
 * vb_region_get() - the region that has a slot, for the executor
 * @arena: of whatever number
 * @slot: of it
 *
 * An executor has no part in what it did not adopt.
 *
 * Context: exec_lock.
 * Return: the region, counted; NULL.
 */
struct vb_region *vb_region_get(u32 arena, u32 slot)
{
	struct vb_region *region = region_of(arena, slot);

	lockdep_assert_held(&vb.exec_lock);
	if (region && vb_arena_of(arena)->orphan)
		return NULL;
	if (region)
		kref_get(&region->kref);
	return region;
}

/**
 * vb_slot_find() - a slot whose memory we know: of host memory, or of a BAR
 * @loc: VB_LOC of it
 * @out: the region that it is in, not counted
 *
 * Context: the lock of the object whose chunk has the slot, or exec_lock.
 * Return: the slot; NULL: its memory is somebody else's.
 */
struct vb_slot *vb_slot_find(u32 loc, struct vb_region **out)
{
	struct vb_region *region = region_of(VB_LOC_ARENA(loc), VB_LOC_SLOT(loc));

	if (!region)
		return NULL;
	*out = region;
	return &region->slot[VB_LOC_SLOT(loc) - region->first];
}

/**
 * vb_region_slots_each() - do something with every slot whose memory we know
 * @a: arena
 * @what: gets each; may sleep
 *
 * Context: exec_lock, so that no region goes; may sleep between two of them.
 */
void vb_region_slots_each(struct vb_arena *a, void (*what)(struct vb_arena *a,
							   struct vb_region *region,
							   struct vb_slot *slot))
{
	struct vb_region *region;
	unsigned long index = 0;
	u32 i;

	mt_for_each(&a->regions, region, index, ULONG_MAX)
		for (i = 0; i < region->slots; i++) {
			what(a, region, &region->slot[i]);
			cond_resched();
		}
}

/**
 * vb_region_slots_elsewhere() - slots that are not on the node where they should be
 * @region: region
 * @node: of its arena, or NUMA_NO_NODE
 *
 * Context: exec_lock; may sleep.
 * Return: how many have memory of another node.
 */
u32 vb_region_slots_elsewhere(const struct vb_region *region, int node)
{
	u32 i, n = 0;

	for (i = 0; i < region->slots; i++) {
		n += !vb_slot_is_on(region, &region->slot[i], node);
		cond_resched();
	}
	return n;
}

/* ---- requests of the executor ---- */

/**
 * vb_region_mmap_offset() - where the executor maps a region
 * @arena: its arena
 * @first: its first slot
 *
 * Context: any.
 * Return: offset for mmap(), in bytes.
 */
u64 vb_region_mmap_offset(u32 arena, u32 first)
{
	return VB_MMAP_REGION << VB_MMAP_WHAT_SHIFT | (u64)arena << VB_MMAP_WHICH_SHIFT |
	       (u64)first << vb.chunk_shift;
}

static struct vb_arena *host_arena(u32 arena)
{
	struct vb_arena *a = vb_arena_of(arena);

	return a && a->tier == VB_TIER_HOST && !READ_ONCE(a->gone) ? a : NULL;
}

/* Arenas may have gone while memory was looked for. */
static int region_publish_locked(u32 arena, struct vb_region *region)
{
	struct vb_arena *a = host_arena(arena);
	int rc;

	lockdep_assert_held(&vb.exec_lock);
	if (!a || a->orphan || region->first + region->slots > a->slots.count)
		return -EINVAL;
	rc = mtree_insert_range(&a->regions, region->first, region->first + region->slots - 1,
				region, GFP_KERNEL_ACCOUNT);
	if (rc)
		return rc;
	spin_lock(&vb.slot_lock);
	rc = vb_slots_add(&a->slots, region->first, region->slots);
	spin_unlock(&vb.slot_lock);
	if (rc)
		mtree_erase(&a->regions, region->first);
	return rc;
}

/*
 * What an executor that cannot leave has pinned is memory that we took before, and clients can
 * have one stand after the other: nothing is killed for the second tier, and there is no third.
 */
static int region_may_be_locked(const struct vb_ioc_region *cmd, int *node, gfp_t *how)
{
	const struct vb_arena *a = host_arena(cmd->arena);

	lockdep_assert_held(&vb.exec_lock);
	if (!a || !cmd->slots || cmd->address || cmd->first_slot >= a->slots.count ||
	    cmd->slots > a->slots.count - cmd->first_slot)
		return -EINVAL;
	*node = a->numa_node;
	*how = vb.lingering ? __GFP_NORETRY : 0;
	return vb.lingering > 1 ? -ENOMEM : 0;
}

/**
 * vb_region_add() - VB_IOC_REGION_ADD: host memory for slots of an arena
 * @x: executor
 * @u: struct vb_ioc_region
 *
 * Its memory is charged to the caller's cgroup. No region is asked for by the shrinker
 * meanwhile.
 *
 * Context: takes exec_lock, not while allocating; killable.
 * Return: 0; -EINVAL no such slots; -EEXIST some have memory already; -ENOMEM, also when killed,
 * and while two executors that were silent have not left.
 */
int vb_region_add(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_region *cmd = u->cmd;
	struct vb_region *region;
	int rc, node;
	gfp_t how;

	mutex_lock(&vb.exec_lock);
	rc = region_may_be_locked(cmd, &node, &how);
	mutex_unlock(&vb.exec_lock);
	if (rc)
		return rc;
	atomic_inc(&vb.growing);
	region = region_new(cmd->arena, cmd->first_slot, cmd->slots, node, how);
	atomic_dec(&vb.growing);
	if (IS_ERR(region))
		return PTR_ERR(region);
	cmd->out_mmap_offset = vb_region_mmap_offset(cmd->arena, cmd->first_slot);
	mutex_lock(&vb.exec_lock);
	rc = region_publish_locked(cmd->arena, region);
	mutex_unlock(&vb.exec_lock);
	if (rc)
		vb_region_put(region);
	return rc;
}

/* What is in quarantine may be free by now. */
static void region_look(struct vb_region *region)
{
	u32 i;

	for (i = 0; i < region->slots; i++) {
		spin_lock(&vb.slot_lock);
		vb_quarantine_look_locked(region, &region->slot[i]);
		spin_unlock(&vb.slot_lock);
		cond_resched();
	}
}

/**
 * vb_region_drop_locked() - take a region out of its arena
 * @arena: host arena
 * @region: one of its regions
 *
 * Context: exec_lock; may sleep.
 * Return: 0, and the arena's reference is gone; -EBUSY a slot is in use, or what was
 * promised would not fit any more.
 */
int vb_region_drop_locked(u32 arena, struct vb_region *region)
{
	struct vb_arena *a = vb.arenas[arena];
	int rc = -EBUSY;

	lockdep_assert_held(&vb.exec_lock);
	region_look(region);
	spin_lock(&vb.slot_lock);
	if (vb_limit_may_shrink_locked((u64)region->slots << vb.chunk_shift))
		rc = vb_slots_remove(&a->slots, region->first, region->slots);
	spin_unlock(&vb.slot_lock);
	if (rc)
		return rc;
	mtree_erase(&a->regions, region->first);
	vb_region_put(region);
	return 0;
}

/**
 * vb_region_remove() - VB_IOC_REGION_REMOVE: give that memory back
 * @x: executor
 * @u: struct vb_ioc_region; exactly one that was added
 *
 * The pages go when the executor has unmapped it.
 *
 * Context: takes exec_lock, slot_lock; may sleep.
 * Return: 0; -EINVAL; -EBUSY (vb_region_drop_locked()).
 */
int vb_region_remove(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_region *cmd = u->cmd;
	struct vb_region *region;
	struct vb_arena *a;
	int rc = -EINVAL;

	mutex_lock(&vb.exec_lock);
	a = host_arena(cmd->arena);
	region = a && !a->orphan ? mtree_load(&a->regions, cmd->first_slot) : NULL;
	if (region && region->first == cmd->first_slot && region->slots == cmd->slots)
		rc = vb_region_drop_locked(cmd->arena, region);
	mutex_unlock(&vb.exec_lock);
	return rc;
}

static struct vb_region *region_at_or_after(struct vb_arena *a, u32 first)
{
	unsigned long index = first;

	return mt_find(&a->regions, &index, ULONG_MAX);
}

/**
 * vb_region_next() - VB_IOC_REGION_NEXT: the first region from a slot on, for a successor
 * @x: who asks
 * @u: struct vb_ioc_region
 *
 * Context: takes exec_lock.
 * Return: 0; -ENOENT there is none in what it has adopted.
 */
int vb_region_next(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_region *cmd = u->cmd;
	struct vb_region *region;
	struct vb_arena *a;

	mutex_lock(&vb.exec_lock);
	a = host_arena(cmd->arena);
	region = a && !a->orphan ? region_at_or_after(a, cmd->first_slot) : NULL;
	if (region) {
		cmd->first_slot = region->first;
		cmd->slots = region->slots;
		cmd->address = 0;
		cmd->out_mmap_offset = vb_region_mmap_offset(cmd->arena, region->first);
	}
	mutex_unlock(&vb.exec_lock);
	return region ? 0 : -ENOENT;
}

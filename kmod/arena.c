// SPDX-License-Identifier: GPL-2.0
/*
 * Arenas and their slots.  The memory of host slots is ours, so that it outlives the
 * executor, and it comes in the largest pieces there are; that of a BAR is lent to us
 * page by page; the other arenas are numbers to us.
 */
#include "arena.h"

#include <linux/gfp.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "core/slots.h"
#include "client.h"
#include "conftest.h"
#include "device.h"
#include "exec.h"
#include "import.h"
#include "limit.h"
#include "map.h"
#include "recover.h"
#include "resid.h"
#include "trace.h"
#include "ucmd.h"
#include "vb.h"

#define REGION_GFP	(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_COMP | __GFP_NOWARN)

static const u8 fallback_orders[] = { 4, 2, 0 };

/* ---- pages ---- */

static u8 chunk_order(void)
{
	return vb.chunk_shift - PAGE_SHIFT;
}

static u32 slot_blocks(const struct vb_region *region, const struct vb_slot *slot)
{
	return 1u << (region->order - slot->order);
}

struct page *vb_slot_page(const struct vb_slot *slot, u32 index)
{
	return slot->block[index >> slot->order] + (index & ((1u << slot->order) - 1));
}

static void slot_free_pages(const struct vb_region *region, struct vb_slot *slot)
{
	u32 i;

	for (i = 0; slot->block && i < slot_blocks(region, slot); i++)
		if (slot->block[i] && !region->is_bar)
			put_page(slot->block[i]);
	kvfree(slot->block);
	slot->block = NULL;
}

static int slot_fill(const struct vb_region *region, struct vb_slot *slot, int node, u8 order)
{
	gfp_t gfp = REGION_GFP;
	u32 i;

	/* A slot in one piece is worth some work, as it is to hugetlb; a smaller one is not. */
	if (order)
		gfp |= order == region->order ? __GFP_RETRY_MAYFAIL : __GFP_NORETRY;

	slot->order = order;
	slot->block = kcalloc(slot_blocks(region, slot), sizeof(*slot->block),
			      GFP_KERNEL_ACCOUNT);
	if (!slot->block)
		return -ENOMEM;
	for (i = 0; i < slot_blocks(region, slot); i++) {
		slot->block[i] = alloc_pages_node(node, gfp, order);
		if (!slot->block[i]) {
			slot_free_pages(region, slot);
			return -ENOMEM;
		}
	}
	return 0;
}

/* In one piece, or in smaller ones where memory is fragmented. */
static int slot_alloc(const struct vb_region *region, struct vb_slot *slot, int node)
{
	int rc = slot_fill(region, slot, node, region->order);
	u32 i;

	for (i = 0; rc && i < ARRAY_SIZE(fallback_orders); i++)
		if (fallback_orders[i] < region->order)
			rc = slot_fill(region, slot, node, fallback_orders[i]);
	return rc;
}

#ifdef VB_HAS_FOLIO_LARGE_MAPCOUNT
static int block_mapcount(struct page *block)
{
	return folio_mapcount(page_folio(block));
}
#else
/* A huge mapping of pages that are not anonymous counts in each of them, too (6.1). */
static int block_mapcount(struct page *block)
{
	int i, pages = compound_nr(block), compound = pages > 1 ? compound_mapcount(block) : 0;
	int count = compound - compound * pages;

	for (i = 0; i < pages; i++)
		count += atomic_read(&block[i]._mapcount) + 1;
	return count;
}
#endif

/**
 * vb_slot_foreign() - who refers to a slot's memory beside page tables and us
 * @region: of the slot
 * @slot: slot
 *
 * Each mapping is a reference and is counted as a mapping too; what is left are pins
 * and references of I/O, of get_user_pages() and of registered buffers.  Others may
 * take references in passing, so a difference is a reason to try later.
 *
 * Context: any; the count is exact only while nobody can map the slot anew.
 * Return: how many, over all its blocks.
 */
int vb_slot_foreign(const struct vb_region *region, const struct vb_slot *slot)
{
	int foreign = 0;
	u32 i;

	for (i = 0; i < slot_blocks(region, slot); i++)
		foreign += page_count(slot->block[i]) - block_mapcount(slot->block[i]) - 1;
	return foreign;
}

/* A fault returns with its page locked: whoever has all of them has no fault to fear. */
void vb_slot_lock(const struct vb_region *region, const struct vb_slot *slot)
{
	u32 i;

	for (i = 0; i < slot_blocks(region, slot); i++)
		lock_page(slot->block[i]);
}

void vb_slot_unlock(const struct vb_region *region, const struct vb_slot *slot)
{
	u32 i;

	for (i = 0; i < slot_blocks(region, slot); i++)
		unlock_page(slot->block[i]);
}

/* ---- regions ---- */

static void region_free(struct kref *kref)
{
	struct vb_region *region = container_of(kref, struct vb_region, kref);
	u32 i;

	for (i = 0; i < region->slots; i++) {
		slot_free_pages(region, &region->slot[i]);
		cond_resched();
	}
	if (region->is_bar)
		vb_bar_give();
	kvfree(region);
}

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
	region->order = chunk_order();
	for (i = 0; i < slots; i++) {
		INIT_LIST_HEAD(&region->slot[i].quarantine);
		region->slot[i].loc = VB_LOC(arena, first + i);
	}
	return region;
}

static int slot_of_bar(const struct vb_region *region, struct vb_slot *slot, struct page *first)
{
	u32 i;

	slot->order = 0;
	slot->block = kvcalloc(slot_blocks(region, slot), sizeof(*slot->block), GFP_KERNEL_ACCOUNT);
	if (!slot->block)
		return -ENOMEM;
	for (i = 0; i < slot_blocks(region, slot); i++)
		slot->block[i] = first + i;
	return 0;
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
		if (slot_of_bar(region, &region->slot[i], first + ((u64)i << region->order))) {
			vb_region_put(region);
			return NULL;
		}
	return region;
}

static struct vb_region *region_new(u32 arena, u32 first, u32 slots, int node)
{
	struct vb_region *region = region_alloc(arena, first, slots);
	u32 i;

	if (!region)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < slots; i++) {
		if (fatal_signal_pending(current) || slot_alloc(region, &region->slot[i], node)) {
			vb_region_put(region);
			return ERR_PTR(-ENOMEM);
		}
		cond_resched();
	}
	return region;
}

struct vb_arena *vb_arena_of(u32 arena)
{
	/* Pairs with the release where arenas are added. */
	return arena < smp_load_acquire(&vb.arena_count) ? READ_ONCE(vb.arenas[arena]) : NULL;
}

/*
 * Arenas stay while the executor's file is open, and while the entry of a chunk names
 * one of their slots: the caller has one of the two.
 */
static struct vb_region *region_of(u32 arena, u32 slot)
{
	struct vb_arena *a = vb_arena_of(arena);

	return a ? mtree_load(&a->regions, slot) : NULL;
}

/* For the executor, which has no part in what it did not adopt. */
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

struct vb_slot *vb_slot_find(u32 loc, struct vb_region **out)
{
	struct vb_region *region = region_of(VB_LOC_ARENA(loc), VB_LOC_SLOT(loc));

	if (!region)
		return NULL;
	*out = region;
	return &region->slot[VB_LOC_SLOT(loc) - region->first];
}

static void slots_each(struct vb_arena *a, void (*what)(struct vb_arena *a,
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

/* ---- slots ---- */

static void quarantine_sweep_locked(void)
{
	struct vb_slot *slot, *next;
	struct vb_region *region;

	list_for_each_entry_safe(slot, next, &vb.quarantine, quarantine) {
		int foreign;

		if (vb_slot_find(slot->loc, &region) != slot)
			continue;
		foreign = vb_slot_foreign(region, slot);
		if (foreign > slot->baseline)
			continue;
		trace_vb_quarantine_leave(slot, foreign);
		list_del_init(&slot->quarantine);
		vb_slots_give(&vb.arenas[VB_LOC_ARENA(slot->loc)]->slots, VB_LOC_SLOT(slot->loc));
	}
}

/* One from the top, so that runs of adjacent slots stay whole at the bottom. */
static int slot_take(struct vb_arena *a, u32 slot, u32 *out)
{
	if (slot != VB_SLOT_ANY) {
		*out = slot;
		return vb_slots_take_this(&a->slots, slot);
	}
	*out = vb_slots_take(&a->slots, true);
	return *out == VB_SLOTS_NONE ? -ENOSPC : 0;
}

int vb_slot_take_locked(u32 tier, u32 arena, u32 slot, u32 *out_loc)
{
	struct vb_arena *a = vb_arena_of(arena);
	u32 taken;
	int rc;

	lockdep_assert_held(&vb.slot_lock);
	if (!a || a->tier != tier)
		return -EINVAL;
	if (!list_empty(&vb.quarantine))
		quarantine_sweep_locked();
	rc = slot_take(a, slot, &taken);
	if (rc)
		return rc;
	*out_loc = VB_LOC(arena, taken);
	return 0;
}

void vb_slot_give_locked(u32 loc)
{
	struct vb_arena *a = vb_arena_of(VB_LOC_ARENA(loc));
	struct vb_region *region;
	struct vb_slot *slot;
	int foreign = 0;

	lockdep_assert_held(&vb.slot_lock);
	if (!a)
		return;
	slot = vb_slot_find(loc, &region);
	if (slot)
		foreign = vb_slot_foreign(region, slot);
	if (slot && foreign > slot->baseline) {
		list_add_tail(&slot->quarantine, &vb.quarantine);
		trace_vb_quarantine(slot, foreign);
	} else {
		WARN_ON_ONCE(vb_slots_give(&a->slots, VB_LOC_SLOT(loc)));
	}
}

/**
 * vb_slot_retire() - storage cannot keep a slot: it leaves its arena
 * @loc: NVMe slot that was given back a moment ago
 *
 * Who took it meanwhile finds out as well.  What was promised stays promised: with less
 * room than that, objects find out when they need it.
 *
 * Context: takes slot_lock.
 */
void vb_slot_retire(u32 loc)
{
	struct vb_arena *a;

	spin_lock(&vb.slot_lock);
	a = vb_arena_of(VB_LOC_ARENA(loc));
	if (a)
		vb_slots_remove(&a->slots, VB_LOC_SLOT(loc), 1);
	spin_unlock(&vb.slot_lock);
}

/* ---- how much ---- */

static u64 tier_bytes(u32 tier)
{
	u64 slots = 0;
	u32 i;

	lockdep_assert_held(&vb.slot_lock);
	for (i = 0; i < vb.arena_count; i++)
		if (vb.arenas[i]->tier == tier)
			slots += vb.arenas[i]->slots.present;
	return slots << vb.chunk_shift;
}

u64 vb_host_bytes_locked(void)
{
	return tier_bytes(VB_TIER_HOST);
}

u64 vb_device_bytes_locked(void)
{
	return tier_bytes(VB_TIER_DEVICE);
}

u64 vb_content_bytes_locked(void)
{
	u64 host = vb_host_bytes_locked();

	return host > vb.staging_bytes ? host - vb.staging_bytes : 0;
}

u64 vb_capacity_locked(void)
{
	return vb_content_bytes_locked() + tier_bytes(VB_TIER_NVME);
}

static bool is_first_host(u32 index)
{
	u32 first = 0;

	while (first < index && vb.arenas[first]->tier != VB_TIER_HOST)
		first++;
	return first == index && vb.arenas[index]->tier == VB_TIER_HOST;
}

static int query_locked(struct vb_client *c, struct vb_ioc_query_tier *q)
{
	const struct vb_arena *a = vb_arena_of(q->index);

	if (!a)
		return -EINVAL;
	q->out_tier = a->tier;
	q->out_flags = 0;
	q->out_numa_node = a->numa_node;
	q->out_arena = q->index;
	q->out_bytes = (u64)a->slots.present << vb.chunk_shift;
	q->out_used_bytes = (u64)(a->slots.present - a->slots.free) << vb.chunk_shift;
	q->out_pinned_bytes = (u64)a->pinned << vb.chunk_shift;
	q->out_reserved_bytes = is_first_host(q->index) ? vb.reserved_bytes : 0;
	q->out_cpu_path = a->cpu_path;
	q->out_cpu_reason = a->cpu_reason;
	q->out_client_bytes = c->slots[q->index] << vb.chunk_shift;
	return 0;
}

int vb_query_tier(struct vb_client *c, struct vb_ucmd *u)
{
	int rc;

	spin_lock(&vb.slot_lock);
	rc = query_locked(c, u->cmd);
	spin_unlock(&vb.slot_lock);
	return rc;
}

/* ---- requests of the executor ---- */

static void arena_free(struct vb_arena *a)
{
	struct vb_region *region;
	unsigned long index = 0;

	mt_for_each(&a->regions, region, index, ULONG_MAX)
		vb_region_put(region);
	mtree_destroy(&a->regions);
	if (a->import)
		vb_import_put(a->import);
	kvfree(a->memory);
	kfree(a);
}

static struct vb_arena *arena_new(const struct vb_ioc_arena_create *cmd)
{
	struct vb_arena *a = kzalloc(sizeof(*a), GFP_KERNEL_ACCOUNT);

	if (!a)
		return NULL;
	a->memory = kvzalloc(vb_slots_bytes(cmd->slots), GFP_KERNEL_ACCOUNT);
	if (!a->memory) {
		kfree(a);
		return NULL;
	}
	/* It is looked up while regions come. */
	mt_init_flags(&a->regions, MT_FLAGS_USE_RCU);
	a->tier = cmd->tier;
	a->numa_node = cmd->numa_node;
	memcpy(a->identity, cmd->identity, sizeof(a->identity));
	vb_slots_init(&a->slots, cmd->slots, a->memory);
	if (cmd->tier != VB_TIER_HOST)
		vb_slots_add(&a->slots, 0, cmd->slots);
	return a;
}

static bool node_is_valid(s32 node)
{
	return node == NUMA_NO_NODE || (node >= 0 && node < MAX_NUMNODES && node_online(node));
}

static u64 region_mmap_offset(u32 arena, u32 first)
{
	return VB_MMAP_REGION << VB_MMAP_WHAT_SHIFT | (u64)arena << VB_MMAP_WHICH_SHIFT |
	       (u64)first << vb.chunk_shift;
}

static bool memory_is_valid(const struct vb_ioc_arena_create *cmd)
{
	if (cmd->memory > VB_ARENA_BAR || (cmd->memory != VB_ARENA_DMABUF && cmd->memory_fd))
		return false;
	return cmd->memory == VB_ARENA_EXECUTOR || cmd->tier == VB_TIER_DEVICE;
}

/* The number of an arena of the tier that is gone, or a new one; -EDQUOT. */
static int arena_number(u32 tier)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	for (i = 0; i < vb.arena_count; i++)
		if (vb.arenas[i]->gone && vb.arenas[i]->tier == tier)
			return i;
	return vb.arena_count < VB_ARENA_MAX ? vb.arena_count : -EDQUOT;
}

/* The arena whose number it has from now on is the caller's to free; or NULL. */
static struct vb_arena *arena_put(struct vb_arena *a, u32 number)
{
	struct vb_arena *old = NULL;

	spin_lock(&vb.slot_lock);
	if (number < vb.arena_count)
		old = vb.arenas[number];
	WRITE_ONCE(vb.arenas[number], a);
	if (!old)
		/* Whoever sees the count sees the arena; pairs with vb_arena_of(). */
		smp_store_release(&vb.arena_count, number + 1);
	spin_unlock(&vb.slot_lock);
	return old;
}

static int arena_publish(struct vb_arena *a, struct vb_ioc_arena_create *cmd)
{
	int rc, number = arena_number(a->tier);
	struct vb_arena *old;

	if (number < 0)
		return number;
	if (cmd->memory == VB_ARENA_BAR) {
		rc = vb_device_bar(a, number, cmd->slots);
		if (rc)
			return rc;
		cmd->out_mmap_offset = region_mmap_offset(number, 0);
	}
	cmd->out_arena = number;
	old = arena_put(a, number);
	if (old)
		arena_free(old);
	return 0;
}

int vb_arena_create(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_arena_create *cmd = u->cmd;
	struct vb_arena *a;
	int rc;

	if (cmd->tier >= VB_TIER_COUNT || !node_is_valid(cmd->numa_node) || !cmd->slots ||
	    cmd->slots > VB_ARENA_SLOTS_MAX || !memory_is_valid(cmd))
		return -EINVAL;
	a = arena_new(cmd);
	if (!a)
		return -ENOMEM;
	cmd->out_mmap_offset = 0;
	rc = vb_device_import(a, cmd);
	if (!rc) {
		mutex_lock(&vb.exec_lock);
		rc = arena_publish(a, cmd);
		mutex_unlock(&vb.exec_lock);
	}
	if (rc) {
		arena_free(a);
		return rc;
	}
	/* It stays while the caller's file is open. */
	cmd->out_cpu_path = a->cpu_path;
	cmd->out_cpu_reason = a->cpu_reason;
	return 0;
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
				region, GFP_KERNEL);
	if (rc)
		return rc;
	spin_lock(&vb.slot_lock);
	rc = vb_slots_add(&a->slots, region->first, region->slots);
	spin_unlock(&vb.slot_lock);
	if (rc)
		mtree_erase(&a->regions, region->first);
	return rc;
}

int vb_region_add(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_region *cmd = u->cmd;
	struct vb_region *region;
	struct vb_arena *a;
	u32 end = 0;
	int rc, node = NUMA_NO_NODE;

	mutex_lock(&vb.exec_lock);
	a = host_arena(cmd->arena);
	if (a) {
		end = a->slots.count;
		node = a->numa_node;
	}
	mutex_unlock(&vb.exec_lock);
	if (!cmd->slots || cmd->address || cmd->first_slot >= end ||
	    cmd->slots > end - cmd->first_slot)
		return -EINVAL;
	atomic_inc(&vb.growing);
	region = region_new(cmd->arena, cmd->first_slot, cmd->slots, node);
	atomic_dec(&vb.growing);
	if (IS_ERR(region))
		return PTR_ERR(region);
	cmd->out_mmap_offset = region_mmap_offset(cmd->arena, cmd->first_slot);
	mutex_lock(&vb.exec_lock);
	rc = region_publish_locked(cmd->arena, region);
	mutex_unlock(&vb.exec_lock);
	if (rc)
		vb_region_put(region);
	return rc;
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
	spin_lock(&vb.slot_lock);
	quarantine_sweep_locked();
	if (vb_limit_may_shrink_locked((u64)region->slots << vb.chunk_shift))
		rc = vb_slots_remove(&a->slots, region->first, region->slots);
	spin_unlock(&vb.slot_lock);
	if (rc)
		return rc;
	mtree_erase(&a->regions, region->first);
	vb_region_put(region);
	return 0;
}

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

/* ---- executors that die ---- */

static void slot_orphan(struct vb_arena *a, struct vb_region *region, struct vb_slot *slot)
{
	u32 i = VB_LOC_SLOT(slot->loc);

	spin_lock(&vb.slot_lock);
	slot->baseline = 0;
	if (vb_slots_is_free(&a->slots, i) && vb_slot_foreign(region, slot) &&
	    !vb_slots_take_this(&a->slots, i))
		list_add_tail(&slot->quarantine, &vb.quarantine);
	spin_unlock(&vb.slot_lock);
}

/**
 * vb_arenas_orphan() - the executor has left, its memory stays
 *
 * Nobody has registered it any more: every reference is foreign, also to a slot that
 * was free.
 *
 * Context: exec_lock; before the device is QUIESCED, so that no slot returns by the
 * old count.
 */
void vb_arenas_orphan(void)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	for (i = 0; i < vb.arena_count; i++) {
		vb.arenas[i]->orphan = !vb.arenas[i]->gone;
		slots_each(vb.arenas[i], slot_orphan);
	}
}

bool vb_arena_is_gone(u32 loc)
{
	const struct vb_arena *a = vb_arena_of(VB_LOC_ARENA(loc));

	return !a || READ_ONCE(a->gone);
}

static bool leaves(const struct vb_arena *a, enum vb_leave who)
{
	switch (who) {
	case VB_LEAVE_DEVICES:
		return a->tier == VB_TIER_DEVICE;
	case VB_LEAVE_ORPHANS:
		return a->orphan;
	default:
		return true;
	}
}

void vb_arenas_leave(enum vb_leave who)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	spin_lock(&vb.slot_lock);
	for (i = 0; i < vb.arena_count; i++)
		if (leaves(vb.arenas[i], who))
			WRITE_ONCE(vb.arenas[i]->gone, true);
	spin_unlock(&vb.slot_lock);
}

/* Out of quarantine, for good: the memory is freed when others let go of it. */
static void quarantine_leave_locked(void)
{
	struct vb_slot *slot, *next;

	lockdep_assert_held(&vb.slot_lock);
	list_for_each_entry_safe(slot, next, &vb.quarantine, quarantine)
		if (vb_arena_is_gone(slot->loc))
			list_del_init(&slot->quarantine);
}

/* Its memory returns; its number stays until another arena of the tier has it. */
static void bury(struct vb_arena *a)
{
	struct vb_import *import = a->import;
	struct vb_region *region;
	unsigned long index = 0;

	spin_lock(&vb.slot_lock);
	vb_slots_init(&a->slots, 0, a->memory);
	a->orphan = false;
	a->import = NULL;
	a->cpu_path = VB_CPU_MIGRATE;
	spin_unlock(&vb.slot_lock);
	mt_for_each(&a->regions, region, index, ULONG_MAX) {
		mtree_erase(&a->regions, region->first);
		vb_region_put(region);
	}
	if (import)
		vb_import_put(import);
}

void vb_arenas_bury(void)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	spin_lock(&vb.slot_lock);
	quarantine_leave_locked();
	spin_unlock(&vb.slot_lock);
	for (i = 0; i < vb.arena_count; i++)
		if (vb.arenas[i]->gone)
			bury(vb.arenas[i]);
}

/* All are gone, and so are their numbers. */
void vb_arenas_drop(void)
{
	u32 i, count;

	lockdep_assert_held(&vb.exec_lock);
	spin_lock(&vb.slot_lock);
	quarantine_leave_locked();
	count = vb.arena_count;
	WRITE_ONCE(vb.arena_count, 0);
	spin_unlock(&vb.slot_lock);
	for (i = 0; i < count; i++) {
		arena_free(vb.arenas[i]);
		vb.arenas[i] = NULL;
	}
}

/* ---- successors ---- */

int vb_arena_query(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_arena_query *cmd = u->cmd;
	const struct vb_arena *a;

	mutex_lock(&vb.exec_lock);
	a = vb_arena_of(cmd->arena);
	if (a) {
		cmd->out_tier = a->tier;
		cmd->out_numa_node = a->numa_node;
		cmd->out_slots = a->tier == VB_TIER_HOST ? a->slots.present : a->slots.count;
		cmd->out_flags = (a->orphan ? VB_ARENA_ORPHAN : 0) | (a->gone ? VB_ARENA_GONE : 0);
		memcpy(cmd->out_identity, a->identity, sizeof(a->identity));
	}
	mutex_unlock(&vb.exec_lock);
	return a ? 0 : -ENOENT;
}

static bool is_referred_to(struct vb_arena *a)
{
	struct vb_region *region;
	unsigned long index = 0;
	bool found = false;
	u32 i;

	mt_for_each(&a->regions, region, index, ULONG_MAX)
		for (i = 0; !found && i < region->slots; i++) {
			spin_lock(&vb.slot_lock);
			found = vb_slot_foreign(region, &region->slot[i]);
			spin_unlock(&vb.slot_lock);
			cond_resched();
		}
	return found;
}

/* The dead may write there for as long as they like; nobody will look. */
static void slot_renew(struct vb_arena *a, struct vb_region *region, struct vb_slot *slot)
{
	struct vb_slot fresh = {};

	if (list_empty_careful(&slot->quarantine) || slot_alloc(region, &fresh, a->numa_node))
		return;
	spin_lock(&vb.slot_lock);
	if (!list_empty(&slot->quarantine)) {
		swap(slot->block, fresh.block);
		swap(slot->order, fresh.order);
	}
	spin_unlock(&vb.slot_lock);
	slot_free_pages(region, &fresh);
}

static void slot_adopt(struct vb_arena *a, struct vb_region *region, struct vb_slot *slot)
{
	spin_lock(&vb.slot_lock);
	slot->before = vb_slot_foreign(region, slot);
	spin_unlock(&vb.slot_lock);
}

/* Host memory of the dead: of all arenas, for who adopts what they may write to. */
static bool is_any_referred_to(void)
{
	u32 i;

	for (i = 0; i < vb.arena_count; i++)
		if (vb.arenas[i]->orphan && is_referred_to(vb.arenas[i]))
			return true;
	return false;
}

static int adopt_host(struct vb_arena *a, bool force)
{
	vb_objects_each(vb_resid_hide);
	if (!force && is_referred_to(a))
		return -EBUSY;
	spin_lock(&vb.slot_lock);
	quarantine_sweep_locked();
	spin_unlock(&vb.slot_lock);
	slots_each(a, slot_renew);
	spin_lock(&vb.slot_lock);
	quarantine_sweep_locked();
	spin_unlock(&vb.slot_lock);
	slots_each(a, slot_adopt);
	return 0;
}

static int adopt_nvme(const struct vb_arena *a, const u64 *identity, bool force)
{
	if (!(identity[0] | identity[1]) || memcmp(a->identity, identity, sizeof(a->identity)))
		return -ESTALE;
	return !force && is_any_referred_to() ? -EBUSY : 0;
}

static int adopt_locked(const struct vb_ioc_arena_adopt *cmd)
{
	struct vb_arena *a = vb_arena_of(cmd->arena);
	bool force = cmd->flags & VB_ADOPT_FORCE;
	int rc;

	lockdep_assert_held(&vb.exec_lock);
	if (!vb_is_recovering())
		return -EPERM;
	if (!a || !a->orphan)
		return -ENOENT;
	if (a->tier == VB_TIER_NVME)
		rc = adopt_nvme(a, cmd->identity, force);
	else
		rc = cmd->identity[0] | cmd->identity[1] ? -EINVAL : adopt_host(a, force);
	if (!rc)
		a->orphan = false;
	return rc;
}

int vb_arena_adopt(struct vb_exec *x, struct vb_ucmd *u)
{
	int rc;

	mutex_lock(&vb.exec_lock);
	rc = adopt_locked(u->cmd);
	mutex_unlock(&vb.exec_lock);
	return rc;
}

static void slot_settle(struct vb_arena *a, struct vb_region *region, struct vb_slot *slot)
{
	spin_lock(&vb.slot_lock);
	slot->baseline = max(vb_slot_foreign(region, slot) - slot->before, 0);
	slot->before = 0;
	spin_unlock(&vb.slot_lock);
}

/**
 * vb_arenas_settle() - what has been referred to since the adoption is the successor's
 *
 * References of before may have gone meanwhile: then a slot is held to have fewer of
 * the successor's than it has, and is not handed out, which errs on the safe side.
 *
 * Context: exec_lock; no client had a way to the memory since.
 */
void vb_arenas_settle(void)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	for (i = 0; i < vb.arena_count; i++)
		slots_each(vb.arenas[i], slot_settle);
}

static struct vb_region *region_at_or_after(struct vb_arena *a, u32 first)
{
	unsigned long index = first;

	return mt_find(&a->regions, &index, ULONG_MAX);
}

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
		cmd->out_mmap_offset = region_mmap_offset(cmd->arena, region->first);
	}
	mutex_unlock(&vb.exec_lock);
	return region ? 0 : -ENOENT;
}

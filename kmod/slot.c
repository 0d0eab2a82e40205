// SPDX-License-Identifier: GPL-2.0
/*
 * Slots: their memory, and who has them.
 *
 * The memory of host slots is ours, so that it outlives the executor, and it comes in the
 * largest pieces there are; that of a BAR is lent to us page by page; other slots are
 * numbers to us.  Who refers to a slot's memory is what its pages count beyond mappings.
 */
#include "slot.h"

#include <linux/gfp.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "core/slots.h"
#include "arena.h"
#include "conftest.h"
#include "quarantine.h"
#include "region.h"
#include "trace.h"
#include "vb.h"

#define REGION_GFP	(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_COMP | __GFP_NOWARN)

static const u8 fallback_orders[] = { 4, 2, 0 };

/* ---- pages ---- */

static u32 slot_blocks(const struct vb_region *region, const struct vb_slot *slot)
{
	return 1u << (region->order - slot->order);
}

/**
 * vb_slot_page() - a page of a slot
 * @slot: slot whose memory we know
 * @index: which, below the pages of a chunk
 *
 * Context: any that keeps the region.
 * Return: the page, not counted.
 */
struct page *vb_slot_page(const struct vb_slot *slot, u32 index)
{
	return slot->block[index >> slot->order] + (index & ((1u << slot->order) - 1));
}

/**
 * vb_slot_free() - let go of a slot's memory
 * @region: of the slot
 * @slot: slot; may have none
 *
 * What others still refer to is freed when they let go of it; pages of a BAR are its own.
 *
 * Context: may sleep.
 */
void vb_slot_free(const struct vb_region *region, struct vb_slot *slot)
{
	u32 i;

	for (i = 0; slot->block && i < slot_blocks(region, slot); i++)
		if (slot->block[i] && !region->is_bar)
			put_page(slot->block[i]);
	kvfree(slot->block);
	slot->block = NULL;
}

/*
 * Freed pages keep their index.  A fault takes it for where the block is in the mapped file,
 * and maps no huge page that would end beyond the file's size (finish_fault() of 6.12): what
 * was a slab or the end of a file before would be mapped page by page for ever.
 */
static struct page *block_alloc(int node, gfp_t gfp, u8 order)
{
	struct page *block = alloc_pages_node(node, gfp, order);

	if (block)
		page_folio(block)->index = 0;
	return block;
}

/* A slot in one piece is worth some work, as it is to hugetlb; a smaller one is not. */
static gfp_t slot_gfp(const struct vb_region *region, u8 order, gfp_t where)
{
	if (where & __GFP_NORETRY)
		return REGION_GFP | where;
	if (order && order == region->order)
		return REGION_GFP | where | __GFP_RETRY_MAYFAIL;
	return REGION_GFP | where | (order || where ? __GFP_NORETRY : 0);
}

static int slot_fill(const struct vb_region *region, struct vb_slot *slot, int node, gfp_t where,
		     u8 order)
{
	gfp_t gfp = slot_gfp(region, order, where);
	u32 i;

	slot->order = order;
	slot->block = kcalloc(slot_blocks(region, slot), sizeof(*slot->block),
			      GFP_KERNEL_ACCOUNT | (where & __GFP_NORETRY));
	if (!slot->block)
		return -ENOMEM;
	for (i = 0; i < slot_blocks(region, slot); i++) {
		slot->block[i] = block_alloc(node, gfp, order);
		if (!slot->block[i]) {
			vb_slot_free(region, slot);
			return -ENOMEM;
		}
	}
	return 0;
}

/* In one piece, or in smaller ones where memory is fragmented. */
static int slot_fill_any(const struct vb_region *region, struct vb_slot *slot, int node,
			 gfp_t where)
{
	int rc = slot_fill(region, slot, node, where, region->order);
	u32 i;

	for (i = 0; rc && i < ARRAY_SIZE(fallback_orders); i++)
		if (fallback_orders[i] < region->order)
			rc = slot_fill(region, slot, node, where, fallback_orders[i]);
	return rc;
}

/**
 * vb_slot_alloc() - memory for a slot, zeroed
 * @region: of the slot; @spills is set when its node had none, and that was looked for
 * @slot: has none yet
 * @node: NUMA node that it is to be on, or NUMA_NO_NODE
 * @how: 0; __GFP_NORETRY: nothing is done to find some
 *
 * On the node in pieces of whatever size before any elsewhere; and where the node has had
 * none for a slot, others of the region are not worth the search. Charged to the caller's
 * memory cgroup.
 *
 * Context: may sleep; one caller a region.
 * Return: 0, to be undone by vb_slot_free(); -ENOMEM.
 */
int vb_slot_alloc(struct vb_region *region, struct vb_slot *slot, int node, gfp_t how)
{
	if (node != NUMA_NO_NODE && !region->spills) {
		if (!slot_fill_any(region, slot, node, how | __GFP_THISNODE))
			return 0;
		region->spills |= !how;
	}
	return slot_fill_any(region, slot, node, how);
}

/**
 * vb_slot_is_on() - is all memory of a slot on one NUMA node
 * @region: of the slot
 * @slot: slot
 * @node: which, or NUMA_NO_NODE: any will do
 *
 * Context: exec_lock: who has it may give the slot other memory.
 * Return: true: it is.
 */
bool vb_slot_is_on(const struct vb_region *region, const struct vb_slot *slot, int node)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	for (i = 0; node != NUMA_NO_NODE && i < slot_blocks(region, slot); i++)
		if (page_to_nid(slot->block[i]) != node)
			return false;
	return true;
}

/**
 * vb_slot_of_bar() - a slot over pages of the BAR
 * @region: of the slot
 * @slot: has no memory yet
 * @first: first page of it, the others follow
 *
 * Context: may sleep.
 * Return: 0, to be undone by vb_slot_free(); -ENOMEM.
 */
int vb_slot_of_bar(const struct vb_region *region, struct vb_slot *slot, struct page *first)
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

#ifdef VB_HAS_FOLIO_LARGE_MAPCOUNT
static int block_mapcount(struct page *block)
{
	return folio_mapcount(page_folio(block));
}

#define block_huge_mapcount block_mapcount
#else
/* Of huge mappings, in one look: the rest each page counts. */
static int block_huge_mapcount(struct page *block)
{
	return compound_nr(block) > 1 ? folio_entire_mapcount(page_folio(block)) : 0;
}

/*
 * While a page says that it is mapped both ways (6.1), a huge mapping of pages that are not
 * anonymous counts in each of them, too; after that, once.
 */
static int block_mapcount(struct page *block)
{
	int i, pages = compound_nr(block), count = block_huge_mapcount(block);

#ifdef VB_HAS_PAGE_DOUBLE_MAP
	count -= count * pages;
#endif
	for (i = 0; i < pages; i++)
		count += atomic_read(&block[i]._mapcount) + 1;
	return count;
}
#endif

static int block_foreign_by(struct page *block, int (*mapcount)(struct page *block))
{
	int before = mapcount(block), count;

	smp_rmb();	/* before the references, as get_page() is before the mapping */
	count = page_count(block);
	smp_rmb();	/* and after them, as put_page() is */
	return count - min(before, mapcount(block)) - 1;
}

/*
 * Mostly there are huge mappings alone, and 512 pages need not be looked at under slot_lock.
 * One that comes is counted by up to 512 pages before it counts once (6.1), unless the caller
 * has the page locked.  Fewer than none would hide what others refer to in other blocks, and as
 * a baseline keep a chunk where it is for good.
 */
static int block_foreign(struct page *block)
{
	int most = block_foreign_by(block, block_huge_mapcount);

	if (most > 0)
		most = block_foreign_by(block, block_mapcount);
	return max(most, 0);
}

/**
 * vb_slot_foreign() - who refers to a slot's memory beside page tables and us
 * @region: of the slot
 * @slot: slot
 *
 * Each mapping is a reference and is counted as a mapping too; what is left are pins
 * and references of I/O, of get_user_pages() and of registered buffers.  Others may
 * take references in passing, so a difference is a reason to try later.
 *
 * Whoever maps a page refers to it before that counts as a mapping, and whoever unmaps it
 * after: with the fewer mappings of before and after, one that comes or goes meanwhile
 * makes the difference larger, and never hides a reference of somebody else.
 *
 * Context: any; the count is exact only while nobody can map the slot anew.
 * Return: how many, over all its blocks.
 */
int vb_slot_foreign(const struct vb_region *region, const struct vb_slot *slot)
{
	int foreign = 0;
	u32 i;

	for (i = 0; i < slot_blocks(region, slot); i++)
		foreign += block_foreign(slot->block[i]);
	return foreign;
}

/**
 * vb_slot_lock() - lock all pages of a slot
 * @region: of the slot
 * @slot: slot
 *
 * A fault returns with its page locked: whoever has all of them has no fault to fear.
 *
 * Context: the lock of the object that has the slot; may sleep.
 */
void vb_slot_lock(const struct vb_region *region, const struct vb_slot *slot)
{
	u32 i;

	for (i = 0; i < slot_blocks(region, slot); i++)
		lock_page(slot->block[i]);
}

/**
 * vb_slot_unlock() - undo vb_slot_lock()
 * @region: of the slot
 * @slot: slot
 *
 * Context: any.
 */
void vb_slot_unlock(const struct vb_region *region, const struct vb_slot *slot)
{
	u32 i;

	for (i = 0; i < slot_blocks(region, slot); i++)
		unlock_page(slot->block[i]);
}

/* ---- taken and given ---- */

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

/* Who asks for one slot hears what is true of it now. */
static void look_locked(u32 loc)
{
	struct vb_region *region;
	struct vb_slot *slot = vb_slot_find(loc, &region);

	if (slot)
		vb_quarantine_look_locked(region, slot);
}

/**
 * vb_slot_take_locked() - a slot of an arena
 * @tier: that the arena must have
 * @arena: number, of whoever
 * @slot: which, or VB_SLOT_ANY
 * @out_loc: VB_LOC of it; set on success
 *
 * Any slot is one from the top, so that runs of adjacent ones stay whole at the bottom.
 *
 * Context: slot_lock.
 * Return: 0, to be undone by vb_slot_give_locked(); -EINVAL no such arena; -ENOSPC none is
 * free; what vb_slots_take_this() says of @slot.
 */
int vb_slot_take_locked(u32 tier, u32 arena, u32 slot, u32 *out_loc)
{
	struct vb_arena *a = vb_arena_of(arena);
	u32 taken;
	int rc;

	lockdep_assert_held(&vb.slot_lock);
	if (!a || a->tier != tier)
		return -EINVAL;
	if (slot != VB_SLOT_ANY)
		look_locked(VB_LOC(arena, slot));
	vb_quarantine_sweep_locked(NULL);
	rc = slot_take(a, slot, &taken);
	if (rc)
		return rc;
	*out_loc = VB_LOC(arena, taken);
	return 0;
}

/**
 * vb_slot_give_locked() - whoever had the slot has it no longer
 * @loc: VB_LOC of it
 * @user: whose client that was
 *
 * Free for others at once, unless somebody still refers to its memory: then it is in
 * quarantine, and @user stays charged. Of an arena that is dropped nothing is left to give.
 *
 * Context: slot_lock.
 */
void vb_slot_give_locked(u32 loc, struct vb_user *user)
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
		vb_quarantine_enter_locked(slot, user);
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

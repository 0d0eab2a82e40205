// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Every step is written the same way: first all the reasons to refuse it, in the
 * order of their gravity, then the change, which cannot fail.  A refused step has
 * touched nothing.
 *
 * What the entry says follows from few rules, which the steps keep:
 *  - loc[t] is set exactly when bit t of valid is;
 *  - an anonymous chunk is dirty exactly when it was touched and NVMe has no copy;
 *  - a writable mapping stands over the host copy alone;
 *  - a lost chunk has no copy, is not dirty and does not move.
 */
#include "chunk.h"

#define BIT_OF(tier)	((u8)(1u << (tier)))

static u8 busy_code(u8 from, u8 to)
{
	return (u8)(1 + from * 8 + to);
}

static u8 busy_from(const struct vb_table_entry *e)
{
	return (e->busy - 1) >> 3;
}

static u8 busy_to(const struct vb_table_entry *e)
{
	return (e->busy - 1) & 7;
}

static bool has(const struct vb_table_entry *e, u8 tier)
{
	return e->valid & BIT_OF(tier);
}

/* Content that can be had again without any copy of ours. */
static bool has_source(const struct vb_chunk_traits *t)
{
	return t->kind == VB_BO_FILE || t->kind == VB_BO_DERIVED;
}

static bool host_is_held(const struct vb_table_entry *e)
{
	return e->pins || e->maps;
}

static void free_slot(struct vb_chunk_freed *freed, u32 loc)
{
	freed->loc[freed->count++] = loc;
}

static void take_away(struct vb_table_entry *e, u8 tier, struct vb_chunk_freed *freed)
{
	free_slot(freed, e->loc[tier]);
	e->loc[tier] = VB_LOC_NONE;
	e->valid &= (u8)~BIT_OF(tier);
}

static void end_move(struct vb_table_entry *e)
{
	e->busy = 0;
	e->generation++;
}

/* After a copy went: an anonymous chunk is dirty while NVMe does not hold it. */
static void settle(struct vb_table_entry *e, const struct vb_chunk_traits *t)
{
	if (has_source(t) || has(e, VB_TIER_NVME))
		return;
	e->flags &= (u8)~VB_ENTRY_CRC;
	if (e->flags & VB_ENTRY_TOUCHED)
		e->flags |= VB_ENTRY_DIRTY;
}

/* Nothing is left and nothing needs to be: the chunk is as if never touched. */
static void start_over(struct vb_table_entry *e)
{
	e->flags &= (u8)~(VB_ENTRY_DIRTY | VB_ENTRY_TOUCHED);
}

u8 vb_chunk_residency(const struct vb_table_entry *e)
{
	u8 r = e->valid;

	if (e->flags & VB_ENTRY_DIRTY)
		r |= 1u << 3;
	if (e->busy)
		r |= 1u << 4;
	if (e->pins || e->maps)
		r |= 1u << 5;
	if (e->flags & VB_ENTRY_LOST)
		r |= 1u << 6;
	return r;
}

enum vb_chunk_state vb_chunk_state(const struct vb_table_entry *e,
				   const struct vb_chunk_traits *t)
{
	if (e->flags & VB_ENTRY_LOST)
		return VB_CHUNK_LOST;
	if (e->busy) {
		if (busy_from(e) == busy_to(e))
			return VB_CHUNK_MIGRATING;
		if (busy_to(e) == VB_TIER_NVME)
			return VB_CHUNK_WRITEBACK;
		return busy_from(e) < VB_TIER_NVME ? VB_CHUNK_MIGRATING : VB_CHUNK_FILLING;
	}
	if (has(e, VB_TIER_HOST))
		return e->flags & VB_ENTRY_DIRTY ? VB_CHUNK_HOST_DIRTY : VB_CHUNK_HOST_CLEAN;
	if (has(e, VB_TIER_DEVICE))
		return VB_CHUNK_DEVICE;
	if (t->kind == VB_BO_ANONYMOUS && !has(e, VB_TIER_NVME))
		return VB_CHUNK_EMPTY;
	return VB_CHUNK_ABSENT;
}

bool vb_chunk_is_coming(const struct vb_table_entry *e)
{
	return e->busy && busy_to(e) == VB_TIER_HOST && !has(e, VB_TIER_HOST);
}

/* Can content come from there? */
static bool source_fits(const struct vb_table_entry *e, const struct vb_chunk_traits *t,
			u8 from)
{
	if (from == VB_TIER_SOURCE)
		return has_source(t) && !e->valid;
	if (from == VB_TIER_ZERO)
		return t->kind == VB_BO_ANONYMOUS && !(e->flags & VB_ENTRY_TOUCHED);
	return has(e, from);
}

/* Can it go there?  NVMe takes what is dirty, and sealed content only once. */
static bool target_fits(const struct vb_table_entry *e, const struct vb_chunk_traits *t,
			u8 from, u8 to)
{
	if (to == VB_TIER_NVME && t->kind != VB_BO_ANONYMOUS)
		return false;
	if (from == to)
		return to != VB_TIER_NVME || !t->sealed;
	if (has(e, to) || (t->life == VB_LIFE_SCRATCH && from < VB_TIER_COUNT))
		return false;
	return to != VB_TIER_NVME || e->flags & VB_ENTRY_DIRTY;
}

bool vb_move_is_valid(const struct vb_move *mv)
{
	if (mv->__reserved || mv->flags & ~(VB_MOVE_F_CRC | VB_MOVE_F_BAD))
		return false;
	return !(mv->flags & VB_MOVE_F_BAD) ||
	       (mv->op == VB_MOVE_ABORT && mv->to == VB_TIER_NVME);
}

int vb_chunk_begin(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		   u8 from, u8 to, u32 loc)
{
	if (from > VB_TIER_ZERO || to >= VB_TIER_COUNT || loc == VB_LOC_NONE)
		return -EINVAL;
	if (e->flags & VB_ENTRY_LOST)
		return -EIO;
	if (e->busy)
		return -EBUSY;
	if (!source_fits(e, t, from) || !target_fits(e, t, from, to))
		return -EINVAL;
	if (from == VB_TIER_HOST && to == VB_TIER_HOST && host_is_held(e))
		return -EBUSY;
	/* A client may write while we copy, and the other copy would be stale. */
	if (e->flags & VB_ENTRY_MAP_WRITE)
		return -EBUSY;
	e->busy = busy_code(from, to);
	return 0;
}

static bool is_running(const struct vb_table_entry *e, u8 from, u8 to, u32 loc)
{
	return from <= VB_TIER_ZERO && to < VB_TIER_COUNT && loc != VB_LOC_NONE &&
	       e->busy == busy_code(from, to);
}

/* Does the checksum speak of what moves?  Only storage is not trusted. */
static int crc_check(const struct vb_table_entry *e, u8 from, const u32 *crc)
{
	if (!crc || !(e->flags & VB_ENTRY_CRC) || *crc == e->crc)
		return 0;
	if (from == VB_TIER_SOURCE)
		return -ESTALE;
	return from == VB_TIER_NVME ? -EIO : 0;
}

static void crc_record(struct vb_table_entry *e, u8 from, u8 to, const u32 *crc)
{
	if (!crc || (from != VB_TIER_SOURCE && to != VB_TIER_NVME))
		return;
	e->crc = *crc;
	e->flags |= VB_ENTRY_CRC;
}

int vb_chunk_commit(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		    u8 from, u8 to, u32 loc, const u32 *crc,
		    struct vb_chunk_freed *freed)
{
	int rc;

	(void)t;
	freed->count = 0;
	if (!is_running(e, from, to, loc))
		return -EINVAL;
	rc = crc_check(e, from, crc);
	if (rc)
		return rc;
	if (from == to)
		take_away(e, from, freed);
	crc_record(e, from, to, crc);
	e->loc[to] = loc;
	e->valid |= BIT_OF(to);
	if (to == VB_TIER_NVME)
		e->flags &= (u8)~VB_ENTRY_DIRTY;
	end_move(e);
	return 0;
}

int vb_chunk_abort(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		   u8 from, u8 to, u32 loc, struct vb_chunk_freed *freed)
{
	(void)t;
	freed->count = 0;
	if (!is_running(e, from, to, loc))
		return -EINVAL;
	free_slot(freed, loc);
	end_move(e);
	return 0;
}

int vb_chunk_rollback(struct vb_table_entry *e, u32 loc, struct vb_chunk_freed *freed)
{
	freed->count = 0;
	if (!e->busy || loc == VB_LOC_NONE)
		return -EINVAL;
	free_slot(freed, loc);
	end_move(e);
	return 0;
}

/* Would the content be gone, or gone with the device, or written a second time? */
static bool is_needed(const struct vb_table_entry *e, const struct vb_chunk_traits *t,
		      u8 tier)
{
	u8 rest = e->valid & (u8)~BIT_OF(tier);

	if (has_source(t) || t->life == VB_LIFE_SCRATCH || !(e->flags & VB_ENTRY_TOUCHED))
		return false;
	if (t->sealed && tier == VB_TIER_NVME)
		return true;
	if (t->life == VB_LIFE_DURABLE && tier != VB_TIER_DEVICE)
		rest &= (u8)~BIT_OF(VB_TIER_DEVICE);
	return !rest;
}

int vb_chunk_drop(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		  u8 tier, struct vb_chunk_freed *freed)
{
	freed->count = 0;
	if (tier >= VB_TIER_COUNT || !has(e, tier))
		return -EINVAL;
	if (e->busy || (tier == VB_TIER_HOST && host_is_held(e)) || is_needed(e, t, tier))
		return -EBUSY;
	take_away(e, tier, freed);
	settle(e, t);
	if (!e->valid)
		start_over(e);
	return 0;
}

int vb_chunk_write(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		   u8 tier, struct vb_chunk_freed *freed)
{
	u8 other;

	freed->count = 0;
	if (t->sealed || has_source(t))
		return -EROFS;
	if (tier >= VB_TIER_COUNT)
		return -EINVAL;
	if (e->flags & VB_ENTRY_LOST)
		return -EIO;
	if (!has(e, tier) || tier == VB_TIER_NVME)
		return -EINVAL;
	if (e->busy || (tier != VB_TIER_HOST && host_is_held(e)))
		return -EBUSY;
	for (other = 0; other < VB_TIER_COUNT; other++)
		if (other != tier && has(e, other))
			take_away(e, other, freed);
	e->flags |= VB_ENTRY_TOUCHED;
	settle(e, t);
	return 0;
}

int vb_chunk_record(struct vb_table_entry *e, const struct vb_chunk_traits *t, u8 tier, u32 crc)
{
	if (!has_source(t) || tier >= VB_TIER_COUNT || !has(e, tier) || e->flags & VB_ENTRY_CRC)
		return -EINVAL;
	e->crc = crc;
	e->flags |= VB_ENTRY_CRC;
	return 0;
}

int vb_chunk_map(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		 bool write, struct vb_chunk_freed *freed)
{
	int rc;

	freed->count = 0;
	if (write && (t->sealed || has_source(t)))
		return -EROFS;
	if (e->flags & VB_ENTRY_LOST)
		return -EIO;
	if (!has(e, VB_TIER_HOST))
		return -EINVAL;
	if (e->busy || e->maps == 0xffff)
		return -EBUSY;
	if (write) {
		rc = vb_chunk_write(e, t, VB_TIER_HOST, freed);
		if (rc)
			return rc;
		e->flags |= VB_ENTRY_MAP_WRITE;
	}
	e->maps++;
	return 0;
}

int vb_chunk_unmap(struct vb_table_entry *e)
{
	if (!e->maps)
		return -EINVAL;
	if (!--e->maps)
		e->flags &= (u8)~VB_ENTRY_MAP_WRITE;
	return 0;
}

int vb_chunk_pin(struct vb_table_entry *e)
{
	if (e->flags & VB_ENTRY_LOST)
		return -EIO;
	if (!has(e, VB_TIER_HOST))
		return -EINVAL;
	if (e->busy || e->pins == 0xffff)
		return -EBUSY;
	e->pins++;
	return 0;
}

int vb_chunk_unpin(struct vb_table_entry *e)
{
	if (!e->pins)
		return -EINVAL;
	e->pins--;
	return 0;
}

/* No copy is left: from the source, from zero, from nothing, or not at all. */
static void last_copy_lost(struct vb_table_entry *e, const struct vb_chunk_traits *t)
{
	if (has_source(t) || !(e->flags & VB_ENTRY_TOUCHED))
		return;
	/* Whoever maps or pins scratch is looking at it, and must be told. */
	if (t->life != VB_LIFE_SCRATCH || host_is_held(e))
		e->flags |= VB_ENTRY_LOST;
	e->flags &= (u8)~VB_ENTRY_CRC;
	start_over(e);
}

int vb_chunk_lose(struct vb_table_entry *e, const struct vb_chunk_traits *t, u8 tier,
		  u32 loc, struct vb_chunk_freed *freed)
{
	bool ends = e->busy && (busy_from(e) == tier || busy_to(e) == tier);

	freed->count = 0;
	if (tier >= VB_TIER_COUNT || (ends && loc == VB_LOC_NONE))
		return -EINVAL;
	if (ends) {
		free_slot(freed, loc);
		end_move(e);
	}
	if (!has(e, tier))
		return 0;
	take_away(e, tier, freed);
	settle(e, t);
	if (!e->valid)
		last_copy_lost(e, t);
	return 0;
}

int vb_chunk_release(struct vb_table_entry *e, struct vb_chunk_freed *freed)
{
	u8 tier;

	freed->count = 0;
	if (e->busy)
		return -EBUSY;
	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		if (has(e, tier))
			take_away(e, tier, freed);
	memset(e, 0, sizeof(*e));
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The life of a chunk: which step is legal, and what the table entry becomes.
 *
 * An entry (struct vb_table_entry) is changed by these functions only.  Each is
 * given the entry, what kind of object it belongs to, and the step; it either
 * changes the entry and reports the slot that became free, or changes nothing and
 * returns -errno.  Whoever calls holds the lock of the BO and owns the slots.
 *
 * The invariants (DESIGN 3) that every step keeps:
 *  1. a chunk has a current copy in some tier, or its source, or is zero, or LOST;
 *     copies marked valid are identical;
 *  2. a client mapping and a device copy are never both writable: a writable
 *     mapping leaves the host copy as the only one;
 *  3. a pinned or mapped copy is never dropped nor moved away;
 *  4. file and derived chunks never move to NVMe, and are never dirty;
 *  5. a slot is named by one entry only, and reported free exactly once.
 */
#ifndef VB_CORE_CHUNK_H
#define VB_CORE_CHUNK_H

#include "deps.h"

/**
 * struct vb_chunk_traits - what the step must know of the object
 * @kind: enum vb_bo_kind
 * @life: enum vb_bo_life
 * @sealed: no writes
 */
struct vb_chunk_traits {
	u8 kind;
	u8 life;
	bool sealed;
};

/* Slots that a step gave back, as VB_LOC values; none are VB_LOC_NONE. */
struct vb_chunk_freed {
	u32 loc[VB_TIER_COUNT];
	u32 count;
};

/* States as KERNEL.md and debugfs name them; derived from the entry. */
enum vb_chunk_state {
	VB_CHUNK_EMPTY,		/* anonymous, never touched: reads as zero */
	VB_CHUNK_ABSENT,	/* only in its source or in NVMe */
	VB_CHUNK_FILLING,	/* on its way into host from source, zero or NVMe */
	VB_CHUNK_HOST_CLEAN,
	VB_CHUNK_HOST_DIRTY,
	VB_CHUNK_WRITEBACK,	/* host to NVMe */
	VB_CHUNK_MIGRATING,	/* between host and device, or to another slot */
	VB_CHUNK_DEVICE,	/* the device has the only memory copy */
	VB_CHUNK_LOST,
	VB_CHUNK_STATES
};
enum vb_chunk_state vb_chunk_state(const struct vb_table_entry *e);

/**
 * vb_chunk_begin() - start a copy into a new slot
 * @e: entry
 * @t: traits
 * @from: enum vb_tier with a valid copy, VB_TIER_SOURCE (file and derived without
 *	a valid copy) or VB_TIER_ZERO (anonymous, not touched)
 * @to: tier below VB_TIER_COUNT; may equal @from to change slots
 * @loc: VB_LOC of the slot taken for it, held by the caller until commit or abort
 *
 * While the move runs the copy in @from stays valid and readable; writes are
 * refused.  The entry remembers the move in @e->busy; @loc is kept by the caller.
 *
 * Return: 0; -EBUSY moving, or pinned or mapped and @from == @to; -EINVAL a pair
 * that cannot be (file to NVMe, from a tier without valid copy, to a tier that
 * has one already); -EIO the chunk is lost.
 */
int vb_chunk_begin(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		   u8 from, u8 to, u32 loc);

/**
 * vb_chunk_commit() - the copy is whole
 * @loc: slot given to vb_chunk_begin()
 * @crc: CRC32C of the content, or NULL
 * @freed: the old slot, when @from == @to
 *
 * Host to NVMe makes the chunk clean.  From VB_TIER_SOURCE with a CRC recorded
 * already, a different @crc is -ESTALE and nothing changes (abort follows).
 *
 * Return: 0; -EINVAL no such move runs.
 */
int vb_chunk_commit(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		    u8 from, u8 to, u32 loc, const u32 *crc,
		    struct vb_chunk_freed *freed);

/**
 * vb_chunk_abort() - the copy failed or is not wanted; what was, stays
 * @freed: the slot given to vb_chunk_begin()
 */
int vb_chunk_abort(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		   u8 from, u8 to, u32 loc, struct vb_chunk_freed *freed);

/**
 * vb_chunk_drop() - give up the copy in a tier
 *
 * Legal when another valid copy, the source, or (volatile life never, scratch
 * always) nothing is needed.  Return: 0; -EBUSY pinned, mapped, moving, or the
 * last copy of content that is nowhere else; -EINVAL no valid copy there.
 */
int vb_chunk_drop(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		  u8 tier, struct vb_chunk_freed *freed);

/**
 * vb_chunk_write() - the copy in a tier is about to be written
 *
 * Other copies become stale and their slots free; the chunk is dirty and touched.
 * Return: 0; -EROFS sealed, file or derived; -EBUSY moving, or @tier is not host
 * while a mapping exists; -EINVAL no valid copy there.
 */
int vb_chunk_write(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		   u8 tier, struct vb_chunk_freed *freed);

/* Map into a client: host copy must be valid; write also does vb_chunk_write(). */
int vb_chunk_map(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		 bool write, struct vb_chunk_freed *freed);
/* Undo one map; write is what map was given.  The flag MAP_WRITE falls with the
 * last mapping (mappings do not say which of them write). */
int vb_chunk_unmap(struct vb_table_entry *e);
int vb_chunk_pin(struct vb_table_entry *e);	/* -EINVAL without host copy, -EBUSY at the limit or moving */
int vb_chunk_unpin(struct vb_table_entry *e);	/* -EINVAL when not pinned */

/**
 * vb_chunk_lose() - a tier went away with its content
 *
 * A running move from or to the tier ends; when no copy and no source is left, the
 * chunk is LOST.  @loc: slot of a running move into the tier's peer, or VB_LOC_NONE.
 */
int vb_chunk_lose(struct vb_table_entry *e, const struct vb_chunk_traits *t, u8 tier,
		  u32 loc, struct vb_chunk_freed *freed);

/* The object goes: every slot is given back, whatever the state but a move (-EBUSY). */
int vb_chunk_release(struct vb_table_entry *e, struct vb_chunk_freed *freed);

#endif

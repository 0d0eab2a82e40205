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
 *  4. file and derived chunks never move to NVMe, and are never dirty; a sealed
 *     anonymous chunk is written there at most once;
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

/*
 * Slots that a step gave back, as VB_LOC values: loc[0 .. count), never
 * VB_LOC_NONE.  A refused step sets count to 0.
 */
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

/**
 * vb_chunk_residency() - what VB_IOC_BO_RESIDENCY says of a chunk
 * @e: entry
 *
 * Return: bits as described there.
 */
u8 vb_chunk_residency(const struct vb_table_entry *e);

/**
 * vb_chunk_state() - the state of a chunk
 * @e: entry
 * @t: traits; an all-zero entry is EMPTY when anonymous, else ABSENT
 *
 * Return: enum vb_chunk_state.
 */
enum vb_chunk_state vb_chunk_state(const struct vb_table_entry *e,
				   const struct vb_chunk_traits *t);

/**
 * vb_chunk_is_coming() - is a chunk on its way into host memory, where it is not yet
 * @e: entry
 *
 * Whoever wants it there asks the executor for it, as if it were absent: that is how it hears
 * of the end of what somebody else asked for, and of its failure.
 *
 * Return: yes or no.
 */
bool vb_chunk_is_coming(const struct vb_table_entry *e);

/**
 * vb_move_is_valid() - are the fields of a step right that need no object to tell
 * @mv: step, as the executor gave it
 *
 * Return: reserved bytes are zero, flags are known, and a bad slot is one of NVMe that was
 * to be filled.
 */
bool vb_move_is_valid(const struct vb_move *mv);

/**
 * vb_chunk_begin() - start a copy into a new slot
 * @e: entry
 * @t: traits
 * @from: enum vb_tier with a valid copy, VB_TIER_SOURCE (file and derived without
 *	a valid copy) or VB_TIER_ZERO (anonymous, not touched)
 * @to: tier below VB_TIER_COUNT; may equal @from to change slots
 * @loc: VB_LOC of the slot taken for it, held by the caller until commit or abort
 *
 * While the move runs the copy in @from stays valid and readable; writes, new
 * mappings and new pins are refused.  The entry remembers the move in @e->busy;
 * @loc is kept by the caller and enters the entry at commit.
 *
 * Only dirty anonymous content goes to NVMe, sealed content never a second time.
 * Scratch changes slots but not tiers.  Imported chunks never move.
 *
 * Return: 0; -EINVAL a pair that cannot be (clean or file content to NVMe, from a
 * tier without valid copy, to a tier that has one already), or no @loc; -EIO the
 * chunk is lost; -EBUSY moving, a writable mapping, or a host slot pinned or mapped
 * that would change.
 */
int vb_chunk_begin(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		   u8 from, u8 to, u32 loc);

/**
 * vb_chunk_commit() - the copy is whole
 * @e: entry
 * @t: traits
 * @from: as given to vb_chunk_begin()
 * @to: as given to vb_chunk_begin()
 * @loc: slot given to vb_chunk_begin()
 * @crc: CRC32C of the content, or NULL; recorded from VB_TIER_SOURCE and to NVMe
 * @freed: the old slot, when @from == @to
 *
 * Host to NVMe makes the chunk clean.  From VB_TIER_ZERO it is not touched yet.
 *
 * Return: 0; -EINVAL no such move runs; with a CRC recorded already and another
 * @crc: -ESTALE from VB_TIER_SOURCE, -EIO from NVMe.  On an error nothing changes:
 * the move runs on until it is aborted.
 */
int vb_chunk_commit(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		    u8 from, u8 to, u32 loc, const u32 *crc,
		    struct vb_chunk_freed *freed);

/**
 * vb_chunk_abort() - the copy failed or is not wanted; what was, stays
 * @e: entry
 * @t: traits
 * @from: as given to vb_chunk_begin()
 * @to: as given to vb_chunk_begin()
 * @loc: slot given to vb_chunk_begin()
 * @freed: that slot
 *
 * Return: 0; -EINVAL no such move runs.
 */
int vb_chunk_abort(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		   u8 from, u8 to, u32 loc, struct vb_chunk_freed *freed);

/**
 * vb_chunk_rollback() - whoever moved it has died; what was, stays
 * @e: entry
 * @loc: slot given to vb_chunk_begin()
 * @freed: that slot
 *
 * Return: 0; -EINVAL no move runs, or no @loc.
 */
int vb_chunk_rollback(struct vb_table_entry *e, u32 loc, struct vb_chunk_freed *freed);

/**
 * vb_chunk_drop() - give up the copy in a tier
 * @e: entry
 * @t: traits
 * @tier: below VB_TIER_COUNT
 * @freed: its slot
 *
 * Legal when the content is also in another tier, in its source, or still zero;
 * scratch may always go and then reads as never touched.  The device alone is not
 * enough for durable content.  Sealed content stays in NVMe once it is there: it
 * would have to be written again.
 *
 * Return: 0; -EINVAL no valid copy there; -EBUSY moving, the host copy is pinned or
 * mapped, or the content would be gone.
 */
int vb_chunk_drop(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		  u8 tier, struct vb_chunk_freed *freed);

/**
 * vb_chunk_write() - the copy in a tier is about to be written
 * @e: entry
 * @t: traits
 * @tier: host or device
 * @freed: slots of the other copies, which are stale now
 *
 * The chunk is dirty and touched afterwards.
 *
 * Return: 0; -EROFS sealed, file or derived; -EIO lost; -EINVAL no valid copy
 * there, or NVMe; -EBUSY moving, or @tier is not host while the host copy is pinned
 * or mapped.
 */
int vb_chunk_write(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		   u8 tier, struct vb_chunk_freed *freed);

/**
 * vb_chunk_record() - the checksum of a copy that came without
 * @e: entry
 * @t: traits
 * @tier: has a valid copy
 * @crc: CRC32C of the content
 *
 * Whoever waits for a chunk that is read first need not wait for its checksum.
 *
 * Return: 0; -EINVAL neither file nor derived, no valid copy there, or one is recorded.
 */
int vb_chunk_record(struct vb_table_entry *e, const struct vb_chunk_traits *t, u8 tier, u32 crc);

/**
 * vb_chunk_map() - a client maps the host copy
 * @e: entry
 * @t: traits
 * @write: the mapping can be written, which counts as vb_chunk_write() at once
 * @freed: slots of other copies, when @write
 *
 * Return: 0; -EROFS a write to sealed, file or derived; -EIO lost; -EINVAL no host
 * copy; -EBUSY moving, or 65535 mappings.
 */
int vb_chunk_map(struct vb_table_entry *e, const struct vb_chunk_traits *t,
		 bool write, struct vb_chunk_freed *freed);

/**
 * vb_chunk_unmap() - undo one vb_chunk_map()
 * @e: entry
 *
 * VB_ENTRY_MAP_WRITE falls with the last mapping: mappings do not say which of them
 * write.
 *
 * Return: 0; -EINVAL not mapped.
 */
int vb_chunk_unmap(struct vb_table_entry *e);

/**
 * vb_chunk_pin() - keep the host copy where it is
 * @e: entry
 *
 * Return: 0; -EIO lost; -EINVAL no host copy; -EBUSY moving, or 65535 pins.
 */
int vb_chunk_pin(struct vb_table_entry *e);

/**
 * vb_chunk_unpin() - undo one vb_chunk_pin()
 * @e: entry
 *
 * Return: 0; -EINVAL not pinned.
 */
int vb_chunk_unpin(struct vb_table_entry *e);

/**
 * vb_chunk_lose() - a tier went away with its content
 * @e: entry
 * @t: traits
 * @tier: below VB_TIER_COUNT
 * @loc: slot given to vb_chunk_begin() when a move runs that may involve @tier; it
 *	is used only when it does
 * @freed: slots of the copy and of the move that ended
 *
 * A running move from or to the tier ends.  When no copy and no source is left the
 * chunk is LOST; scratch that nobody maps or pins starts over instead.  Pins and
 * mappings do not protect: they stay counted until their owners undo them.
 *
 * Return: 0, also when nothing was there; -EINVAL @tier, or no @loc for a move that
 * ends.
 */
int vb_chunk_lose(struct vb_table_entry *e, const struct vb_chunk_traits *t, u8 tier,
		  u32 loc, struct vb_chunk_freed *freed);

/**
 * vb_chunk_release() - the object goes: every slot is given back
 * @e: entry; all zero afterwards
 * @freed: slots of all copies
 *
 * Return: 0, whatever the state but a move: -EBUSY.
 */
int vb_chunk_release(struct vb_table_entry *e, struct vb_chunk_freed *freed);

#endif

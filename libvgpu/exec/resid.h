/* SPDX-License-Identifier: MIT */
/*
 * Slots of the host tier: what is in them, who uses it, what goes next.
 *
 * The tier has capacity + staging slots.  The policy decides, use by use and in
 * true order, which chunks are *retained*; they fill at most the capacity.  All
 * else passes through the staging slots: what is being read ahead, what a panel
 * uses and the policy does not want to keep, what is on its way out.  So reading
 * ahead never changes what is kept, and the misses of the running system are
 * those of a simulation of its policy.
 *
 * A slot is FREE, FILLING (bytes on their way in), READY, FAILED (they did not
 * come), or LEAVING (dirty, on its way to NVMe).  A READY slot goes when nothing
 * keeps it: not retained, no pin, nobody wants it, not on leave.  A FAILED one keeps its place at
 * the device until its last pin goes, so that nobody is handed other bytes.
 *
 * A client's file may take as long as it likes.  Who reads it waits VGPU_SLOW_NS for it;
 * then the read is SLOW, and so are others if nothing came of their file for so long:
 * nobody stands still for them any more, whoever needs one is told -EAGAIN and comes back,
 * and a client may have few of them at once.  Storage that never
 * answers keeps its slot (OVERDUE): uses of it fail, and it is not used for anything else
 * until the engine hands the request back.
 *
 *	use()    a command works on the chunk: asks the policy, pins
 *	want()   a command that is queued will: starts the read, keeps the slot
 *	hint()   somebody might: starts the read if there is room to spare
 *
 * Everything here runs under the executor's run lock, on one thread at a time.
 */
#ifndef VGPU_EXEC_RESID_H
#define VGPU_EXEC_RESID_H

#include <stdbool.h>
#include <stdint.h>

#include "beside.h"
#include "io.h"
#include "keymap.h"
#include "nvme.h"
#include "object.h"
#include "pages.h"
#include "policy.h"
#include "record.h"

struct vgpu_fill;
struct vgpu_home_wish;
struct vgpu_left;
struct vgpu_pool;
struct vgpu_trace_writer;

enum vgpu_slot_state { VGPU_SLOT_FREE, VGPU_SLOT_FILLING, VGPU_SLOT_READY, VGPU_SLOT_FAILED,
		       VGPU_SLOT_LEAVING };

#define VGPU_REGIONS_MAX	8u
#define VGPU_HOME_NONE		UINT32_MAX

/**
 * struct vgpu_home - the part of the tier that is on one NUMA node (home.h)
 * @node: NUMA node, or -1: wherever the device likes
 * @arena: number of its arena
 * @slots: of it, those that were given back among them
 * @free: FREE ones
 * @regions: how many regions it has; @region: which, in the order of the arena's slots
 */
struct vgpu_home {
	int32_t node;
	uint32_t arena, slots, free, regions;
	uint8_t region[VGPU_REGIONS_MAX];
};

#define VGPU_SLOT_RETAINED	(1u << 0)	/* the policy keeps it */
#define VGPU_SLOT_AHEAD		(1u << 1)	/* read ahead and not used yet */
#define VGPU_SLOT_HELD		(1u << 2)	/* clients or running commands hold it */
#define VGPU_SLOT_OVERDUE	(1u << 3)	/* its request passed every deadline */
#define VGPU_SLOT_PARKED	(1u << 4)	/* could not leave when last asked to */
#define VGPU_SLOT_GUESS		(1u << 5)	/* read by hint(), and nobody wants it yet */
#define VGPU_SLOT_REFUSED	(1u << 6)	/* FREE, but the device has it in quarantine */
#define VGPU_SLOT_SLOW		(1u << 7)	/* nobody stands still for its transfer */

/**
 * enum vgpu_slot_list - lists of slots (slot.c)
 * @VGPU_LIST_FREE: FREE ones
 * @VGPU_LIST_UNWANTED: READY, and nothing keeps it: read ahead on a guess, mostly
 * @VGPU_LIST_WANTED: the same but for announced uses; the farthest last
 * @VGPU_LIST_PARKED: VGPU_SLOT_PARKED
 * @VGPU_LIST_HELD: VGPU_SLOT_HELD
 * @VGPU_LIST_LEAVE: as UNWANTED, but on leave (leave.h); the oldest first
 * @VGPU_LIST_NONE: all others
 */
enum vgpu_slot_list { VGPU_LIST_FREE, VGPU_LIST_UNWANTED, VGPU_LIST_WANTED, VGPU_LIST_PARKED,
		      VGPU_LIST_HELD, VGPU_LIST_LEAVE, VGPU_LISTS, VGPU_LIST_NONE = VGPU_LISTS };

/* Who was in the way of room that could not be made (struct vgpu_resid.blocks). */
#define VGPU_BLOCK_CLIENT	(1u << 0)	/* clients map or pin a slot */
#define VGPU_BLOCK_GONE		(1u << 1)	/* an object was destroyed: FORGET is on its way */
#define VGPU_BLOCK_SLOW		(1u << 2)	/* slow files keep slots, or who waits for them */

/**
 * struct vgpu_slot - one slot of the host arena
 * @object: whose chunk; NULL when free
 * @chunk: index in it
 * @state: enum vgpu_slot_state
 * @flags: VGPU_SLOT_*
 * @from: FILLING and FAILED: where the bytes come from, as VB_IOC_MOVE spells it
 * @pins: panels and held operands that use it now
 * @wants: uses to come that were announced by want(), in @round
 * @round: vgpu_resid.round then; an older one: nobody wants it
 * @error: FAILED: -errno
 * @wanted_at: clock of the last want(), to give up the farthest first
 * @list: enum vgpu_slot_list; @prev, @next: in it, VB_SLOT_ANY at its ends
 * @client_prev, @client_next: in the ring of its client's slots
 * @leave_since: it is on leave, CLOCK_MONOTONIC; 0: it is not (leave.h)
 * @leave_client: whose fault it was brought for; @leave_asked: who has asked for something
 *	else since
 */
struct vgpu_slot {
	struct vgpu_object *object;
	uint32_t chunk;
	uint8_t state, flags;
	uint16_t pins;
	uint32_t wants, round;
	int16_t error;
	uint8_t from, list;
	uint32_t prev, next;
	uint32_t client_prev, client_next;
	uint64_t wanted_at, leave_since;
	uint32_t leave_client;
	bool leave_asked;
};

/* First and last of a list, VB_SLOT_ANY when it is empty. */
struct vgpu_slots {
	uint32_t first, last, count;
};

/**
 * struct vgpu_attempt - uses that come together, and are tried again until there is room
 * @uses: counted by an attempt before: they are not counted again
 * @at: of these, that this attempt came by
 * @last_streamed: as it was before the first attempt
 * @lost: the last of them was to be kept, and was forgotten because it could not come
 */
struct vgpu_attempt {
	uint64_t uses, at, last_streamed[2];
	bool lost;
};

/**
 * struct vgpu_resid - the host tier
 * @capacity: slots for retained chunks
 * @staging: slots beside them
 * @free: FREE slots
 * @moving: fills and write-outs that are with the I/O engine
 * @leaving: of these, the write-outs
 * @overdue: of @moving, those that passed their deadline
 * @slow: of @moving, those that nobody stands still for; the overdue ones are among them
 * @beat_at: when the device was told last that we wait
 * @arrived: transfers that came back, for who waits for one
 * @asked_slot: somebody waits for its content, and not for its checksum; or VB_SLOT_ANY
 * @records: those that came, and whose checksum is not computed
 * @late_slot: what -EAGAIN was last about, or VB_SLOT_ANY
 * @awaited: pins of who waits for such slots
 * @wanted: sum of the slots' wants
 * @round: of announcements; the next one begins when all are forgotten
 * @guesses: slots with VGPU_SLOT_GUESS
 * @bypasses: to look after held slots now and then
 * @blocks: VGPU_BLOCK_*, collected until somebody clears it: what may be gone when
 *	-ENOSPC is tried again.  0 after -ENOSPC: it does not fit
 * @refused: slots with VGPU_SLOT_REFUSED, at most
 * @displaced: slots that were parked for one that had to stay, since the beginning
 * @unwritten: write-outs that storage refused since the last one that it took
 * @fault_key, @fault_error: the last transfer that failed, for its sentence
 * @room_wait_ns: how long clients may hold what somebody waits for (room.h)
 * @storage_wait_ns: how long anybody waits for a client's file, coming back to it
 * @beside: memory that fills of derived chunks and copies of operands hold
 * @attempt: what is used now was perhaps tried before; NULL: it was not
 * @paging_in: what is used now is a page-in: it waits where a command would take room
 * @count: this executor's share of enum vb_counter, since the last flush
 * @last_streamed: key of the last chunk that a panel used, a part: two panels, or
 *	two tensors in a row, that share a chunk are one use of it
 * @home: parts of the tier, @homes of them
 * @prefers: of these, where what is brought now should go, or VGPU_HOME_NONE
 * @region: the I/O engine's number of each region of the memory
 * @region_home: where it is; @region_first: its first slot in the arena there
 * @region_offset: module: where the executor maps it
 * @regions: how many there are; all but the last have @region_slots
 * @slots_most: slots that it began with; @slots are there now
 * @memory: room for these, adjacent
 * @window_at: where the search for adjacent slots of a large tier goes on
 * @list: slots by enum vgpu_slot_list
 * @clients: a slot of each client that has one
 * @looks: slots that were looked at to find one, for tests
 * @settle: is there more room when objects are forgotten that have gone?  May be NULL
 * @settle_arg: for it
 * @slowed: transfers that somebody stopped standing still for, and tries to begin one of a
 *	file that was not open yet, for tests
 * @pages: what of, for vgpu_describe()
 */
struct vgpu_resid {
	struct vgpu_uapi *node;
	struct vgpu_store *store;
	struct vgpu_io *io;
	struct vgpu_nvme *nvme;
	struct vgpu_pool *pool;
	struct vgpu_trace_writer *trace;
	const struct vgpu_policy_ops *policy;
	void *policy_state;

	uint32_t generation, chunk_bytes;
	uint32_t nvme_arena;
	uint32_t nvme_file;
	struct vgpu_home home[VGPU_REGIONS_MAX];
	uint32_t homes, prefers;
	int32_t region[VGPU_REGIONS_MAX];
	uint8_t region_home[VGPU_REGIONS_MAX];
	uint32_t region_first[VGPU_REGIONS_MAX];
	uint64_t region_offset[VGPU_REGIONS_MAX];
	uint32_t regions, region_slots;
	uint32_t capacity, staging, slots, slots_most, free, moving, leaving, overdue, slow;
	uint32_t late_slot, awaited, asked_slot;
	struct vgpu_records records;
	uint32_t guesses, blocks, refused, displaced, unwritten, round;
	uint64_t wanted, bypasses, fault_key, arrived, beat_at;
	int32_t fault_error;
	uint64_t room_wait_ns, storage_wait_ns;
	uint64_t clock, last_streamed[2];
	struct vgpu_beside beside;
	struct vgpu_attempt *attempt;
	bool paging_in;
	uint8_t *memory;
	size_t memory_bytes;
	bool (*settle)(void *arg);
	void *settle_arg;
	char pages[VGPU_PAGES_TEXT];
	struct vgpu_slot *slot;
	struct vgpu_slots list[VGPU_LISTS];
	struct vgpu_keymap map, clients;
	uint32_t window_at;
	uint64_t looks, slowed;
	struct vgpu_fill *fills;	/* spare ones */
	struct vgpu_fill *all_fills;
	uint64_t count[VB_COUNT_COUNT];
};

/**
 * struct vgpu_resid_params - what vgpu_resid_init() needs beside the parts
 * @capacity, @staging: slots
 * @room_wait_ms, @io_timeout_ms: as in struct vgpu_exec_params
 * @left: NULL, or the arenas to go on with; @capacity and @staging are its host slots
 * @wish: NUMA nodes to be on, @wishes of them; 0: wherever the device likes
 */
struct vgpu_resid_params {
	uint32_t generation, chunk_bytes;
	uint32_t capacity, staging;
	uint32_t room_wait_ms, io_timeout_ms;
	const char *policy;
	struct vgpu_left *left;
	const struct vgpu_home_wish *wish;
	uint32_t wishes;
};

/**
 * vgpu_resid_init() - memory, arenas and policy
 * @r: node, store, io, nvme, pool and trace are set; the rest is zero
 *
 * Return: 0; -EINVAL no such policy; -ENOMEM; what the device said.
 */
int vgpu_resid_init(struct vgpu_resid *r, const struct vgpu_resid_params *p);
/**
 * vgpu_resid_destroy() - free everything; the I/O engine is closed
 * @abandoned: requests that it could not take back: the kernel may still write to
 *	their memory, which is therefore never given back
 */
void vgpu_resid_destroy(struct vgpu_resid *r, uint32_t abandoned);

/* Flags of vgpu_resid_use(). */
#define VGPU_USE_PART(p)	(1u << (p))	/* part 0 or 1 of a panel: a repeat is one use */

/**
 * vgpu_resid_use() - a command works on a chunk now
 *
 * Accounts the use, starts the read if it is not there, pins the slot.  The bytes
 * are there after vgpu_resid_wait().  Undo with vgpu_resid_unpin().
 *
 * Return: 0; -ENOSPC every slot is in use (see vgpu_resid.blocks); -EAGAIN its client's
 * files are slow, try later; -EIO lost; -ETIMEDOUT storage does not answer; what the
 * device said.
 */
int vgpu_resid_use(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint32_t flags,
		   uint32_t *out_slot);
/* Uses of these chunks come now: asks for what is known of them, so that none waits for it. */
static inline void vgpu_resid_near(const struct vgpu_resid *r, const struct vgpu_object *o,
				   uint32_t first, uint32_t end)
{
	for (uint32_t c = first; c < end; c++) {
		uint32_t slot = o->lead + c;

		if (slot < r->slots)
			__builtin_prefetch(&r->slot[slot], 1);
	}
}
/*
 * Around uses that may find no room, each time they are tried; @a is all zero the first
 * time.  Otherwise waiting for room would look like so many uses to the policy.
 */
void vgpu_resid_try(struct vgpu_resid *r, struct vgpu_attempt *a);
static inline void vgpu_resid_tried(struct vgpu_resid *r)
{
	r->attempt = NULL;
}

/**
 * vgpu_resid_wait() - wait for the bytes of a slot that is pinned
 *
 * Return: 0; -EAGAIN its file is slow: come back later, see late.h; what went wrong.
 */
int vgpu_resid_wait(struct vgpu_resid *r, uint32_t slot);
/*
 * After -EAGAIN: what comes, or came, of the chunks [first, end) stays until it is used,
 * though nothing pins it meanwhile.
 */
void vgpu_resid_expect(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
		       uint32_t end);
void vgpu_resid_unpin(struct vgpu_resid *r, uint32_t slot);
/* The panels of one stream end, or pause: the next use of its last chunk is a new one. */
static inline void vgpu_resid_stream_end(struct vgpu_resid *r)
{
	r->last_streamed[0] = r->last_streamed[1] = VGPU_POLICY_NONE;
}

/**
 * struct vgpu_run - chunks of an object that want adjacent slots
 * @first, @end: chunks
 * @slot: of @first; VB_SLOT_ANY: not decided
 */
struct vgpu_run {
	struct vgpu_object *object;
	uint32_t first, end, slot;
};

/**
 * vgpu_resid_use_run() - have a run in adjacent slots, pinned and there
 * @run: @slot is where, or VB_SLOT_ANY; filled
 * @write: they will be written: other copies become stale
 *
 * Return: as vgpu_resid_use(); -ENOSPC no run of so many slots can be made.
 */
int vgpu_resid_use_run(struct vgpu_resid *r, struct vgpu_run *run, bool write);

/**
 * vgpu_resid_place_runs() - decide where several runs go, so that all have room
 * @runs: the longest first; @slot is filled
 *
 * Where each would go by itself may leave no room in one piece for the next.
 * Nothing of them is pinned.
 *
 * Return: 0; -ENOSPC what clients hold leaves no room, or there is too little.
 */
int vgpu_resid_place_runs(struct vgpu_resid *r, struct vgpu_run *runs, uint32_t n);

/**
 * vgpu_resid_want() - a use is coming for sure
 *
 * Return: 0; -EAGAIN no slot can be had now.
 */
int vgpu_resid_want(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk);
/* Uses announced do not come: forget all of them. */
void vgpu_resid_unwant_all(struct vgpu_resid *r);
/* Read ahead of a use that is only likely; false when there is no room to spare. */
bool vgpu_resid_hint(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk);
/* Guesses among the chunks [first, end) were used without us, or never will be. */
void vgpu_resid_drop_hints(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
			   uint32_t end);

/* Give the host copies of a range up, but for those that somebody holds; some go later. */
void vgpu_resid_evict(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end);
/* So long who asked for that waits for a file that trickles. */
#define VGPU_EVICT_NS		(10u * VGPU_SLOW_NS)
/**
 * vgpu_resid_is_evicted() - has all gone that goes?
 * @at: 0 at first: how far it was looked
 * @until: from then on the object's file is slow, though each of its reads may not be
 *
 * Return: false while a chunk moves; of a slow file none is waited for.
 */
bool vgpu_resid_is_evicted(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
			   uint32_t end, uint32_t *at, uint64_t until);
/* Free @count slots that nobody uses; returns how many became free. */
uint32_t vgpu_resid_reclaim(struct vgpu_resid *r, uint32_t count);
/**
 * vgpu_resid_forget() - the object is gone: nothing of it stays
 *
 * Return: true; false with all as it was while a chunk moves: try again.
 */
bool vgpu_resid_forget(struct vgpu_resid *r, struct vgpu_object *o);
/**
 * vgpu_resid_alloc() - memory beside the tier, for a command
 * @bytes: a multiple of 64
 * @out: undo with vgpu_beside_free()
 *
 * What is read ahead may have all of it: that is done in a moment, and waited for.
 *
 * Return: 0; -ENOMEM; what the I/O engine said.
 */
int vgpu_resid_alloc(struct vgpu_resid *r, uint64_t bytes, void **out);
/* Will waiting bring anything? */
static inline bool vgpu_resid_is_moving(const struct vgpu_resid *r)
{
	return r->moving > r->slow;
}

/*
 * To wait is no silence: an executor that has work and says nothing too long is taken for
 * dead.  As often as somebody likes to call it.
 */
void vgpu_resid_beat(struct vgpu_resid *r);

/**
 * vgpu_resid_pump() - take finished I/O in
 * @wait_ns: wait at most so long for one; 0 only looks
 */
int vgpu_resid_pump(struct vgpu_resid *r, int64_t wait_ns);

static inline void *vgpu_resid_ptr(const struct vgpu_resid *r, uint32_t slot)
{
	return r->memory + (size_t)slot * r->chunk_bytes;
}

/* vgpu_exec_check(); @idle: no command runs (resid_check.c) */
int vgpu_resid_check(const struct vgpu_resid *r, bool idle, char *text, size_t len);

/* --- between resid.c, hint.c, room.c, fill.c and region.c --- */

/* The chunk that is missed least is not kept any longer.  Return: 0; -EBUSY all are held. */
int vgpu_resid_shed_one(struct vgpu_resid *r);

/* One step of one chunk at the device. */
int vgpu_resid_move(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint8_t op,
		    uint8_t from, uint8_t to, uint32_t *slot, const uint32_t *crc);
/*
 * A chunk could not be written out.  A slot that storage refuses is not used again: else
 * it would be the next one to be taken.  Where all of them are refused it is not they
 * that are bad.
 */
#define VGPU_BAD_IN_ROW		64u
void vgpu_resid_stays(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, int error);
/* Start to fill @chunk; the slot taken is FILLING or READY.  wanted: VB_SLOT_ANY or one. */
int vgpu_fill_start(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint32_t wanted,
		    uint32_t *out_slot);
/* Is there memory beside the tier for it, or would vgpu_fill_start() wait for it? */
bool vgpu_fill_has_room(const struct vgpu_resid *r, const struct vgpu_object *o, uint32_t chunk);
/* No room: do slow files have some of it? */
void vgpu_resid_note_slow(struct vgpu_resid *r);
/* Start to write a dirty slot to NVMe; it is LEAVING until vgpu_slot_left(). */
int vgpu_fill_write_out(struct vgpu_resid *r, uint32_t slot);
/* A request came back. */
void vgpu_fill_done(struct vgpu_resid *r, struct vgpu_io_req *req);
/* Free the fills; @abandoned: but for those that are still with the engine. */
void vgpu_fill_drain(struct vgpu_resid *r, bool abandoned);
/* A request passed its deadline and did not come back. */
void vgpu_fill_overdue(struct vgpu_resid *r, struct vgpu_io_req *req);
/* Somebody waits for it: its transfer is the next that is started. */
void vgpu_fill_hurry(struct vgpu_resid *r, uint32_t slot);
/* Reads of clients' files of which nothing came for VGPU_SLOW_NS are slow, and that of @slot. */
void vgpu_fill_note_slow(struct vgpu_resid *r, uint32_t slot);
/* All reads of an object's file are slow. */
void vgpu_fill_note_slow_object(struct vgpu_resid *r, const struct vgpu_object *o);
/* Reads of a client's files that are slow. */
uint32_t vgpu_fill_slow_of(const struct vgpu_resid *r, uint32_t client);
/* A wait for storage is bounded by the engine's own deadline; this only paces it. */
#define VGPU_PUMP_WAIT_NS	((int64_t)VGPU_SLOW_NS)
/* The bytes of a slot did not come: it is given back, at the device too. */
void vgpu_slot_abort(struct vgpu_resid *r, uint32_t slot);
/* Called by fill.c when a slot changed. */
void vgpu_slot_filled(struct vgpu_resid *r, uint32_t slot, int error);
void vgpu_slot_left(struct vgpu_resid *r, uint32_t slot, int error);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * policy_core: the retained set, and the part of a policy that all of them share
 *
 * A policy expresses its opinion as a rank for each retained chunk: the higher, the less
 * it will be missed. The core keeps the chunks that are not held in a heap by rank, so
 * the victim is found at once, and takes every decision the same way: a hit gets a new
 * rank; a miss is admitted while there is room, else it replaces the victim if the
 * policy says that it is worth more, else it is bypassed. With rank = time of the next
 * use that is Belady's rule with bypass.
 *
 * Ranks need only be comparable within a kind: chunks of known next use are *timed*,
 * their rank is a position in one declared order, and each order is a kind of its own; all
 * others are *guessed*, their rank orders them among themselves. Each kind has its heap and
 * the policy chooses between the tops, so none has to be ranked anew because time passes.
 *
 * A policy embeds struct vgpu_policy_core as its first member.
 */
#ifndef VGPU_EXEC_POLICY_CORE_H
#define VGPU_EXEC_POLICY_CORE_H

#include "exec/keymap.h"
#include "exec/policy.h"

#define VGPU_POLICY_NO_SLOT UINT32_MAX

/* Kind of chunks that are guessed; greater ones are orders, see vgpu_policy_core_kind(). */
#define VGPU_POLICY_GUESSED 0u

/**
 * struct vgpu_policy_slot - one retained chunk
 * @key: its name
 * @rank: the higher, the sooner it is a victim of its kind
 * @heat: frequency estimate, see policy_heat.h; unused by some policies
 * @born: heat clock when the estimate began
 * @far_at: place in the heap of victims; NO_SLOT while held
 * @soon_at: place in the heap of soonest uses; NO_SLOT unless timed
 * @kind: VGPU_POLICY_GUESSED, or of a declared order
 * @after: the slot that was used after it the last time, if it is still what it was then
 * @far_late, @soon_late: its place there is one of a rank before
 * @overdue: times in a row that an expected use did not come
 * @held: never a victim
 */
struct vgpu_policy_slot {
	uint64_t key;
	uint64_t rank;
	double heat;
	double born;
	uint32_t far_at;
	uint32_t soon_at;
	uint32_t kind;
	uint32_t after;
	bool far_late, soon_late;
	uint8_t overdue;
	bool held;
};

struct vgpu_policy_core;

/**
 * struct vgpu_policy_hooks - what distinguishes one policy from another
 * @used: a use of @key is being served; advance clocks and cursors. Called once a
 *	counted access, before any rank is asked for; @slot is that of the key or
 *	VGPU_POLICY_NO_SLOT. May update slots and call vgpu_policy_core_rerank()
 * @rank: set @slot->kind and return the rank as things stand; changes nothing else
 * @due: uses until a chunk comes again: of those on top of each kind the farthest is the victim
 * @displaces: true when @key, not retained, is worth more than @victim
 * @admitted: @slot was just added, before its @rank is asked for
 * @dropped: @slot is about to leave by eviction; not called for forget()
 * @bypassed: @key was used and not kept
 * Only @rank and @displaces must be present; @due where several kinds occur.
 */
struct vgpu_policy_hooks {
	void (*used)(struct vgpu_policy_core *core, uint64_t key, uint32_t slot);
	uint64_t (*rank)(const struct vgpu_policy_core *core, struct vgpu_policy_slot *slot);
	double (*due)(const struct vgpu_policy_core *core, const struct vgpu_policy_slot *slot);
	bool (*displaces)(const struct vgpu_policy_core *core, uint64_t key,
			  const struct vgpu_policy_slot *victim);
	void (*admitted)(struct vgpu_policy_core *core, struct vgpu_policy_slot *slot);
	void (*dropped)(struct vgpu_policy_core *core, const struct vgpu_policy_slot *slot);
	void (*bypassed)(struct vgpu_policy_core *core, uint64_t key);
};

/**
 * struct vgpu_policy_place - a place in a heap
 * @order: (rank ^ flip) of the slot, or what it was when it was lower
 * @slot: which
 */
struct vgpu_policy_place {
	uint64_t order;
	uint32_t slot;
};

/**
 * struct vgpu_policy_heap - slots, the one of the lowest order on top
 * @places: in heap order
 * @count: how many
 * @late: of these, the ones whose order may not be that of their rank
 * @flip: 0, or UINT64_MAX to have the highest rank on top
 */
struct vgpu_policy_heap {
	struct vgpu_policy_place *places;
	uint32_t count, late;
	uint64_t flip;
};

/**
 * struct vgpu_policy_kind - the retained chunks of one kind
 * @far: victims: chunks not held, highest rank on top
 * @soon: timed chunks, held or not, lowest rank on top
 * @most: chunks that can be of this kind at once
 */
struct vgpu_policy_kind {
	struct vgpu_policy_heap far;
	struct vgpu_policy_heap soon;
	uint32_t most;
};

/**
 * struct vgpu_policy_core - the retained set and its counters
 * @hooks: of the policy
 * @map: key to slot number of every retained chunk
 * @slots: [room]; numbers below map.count + free_count are in use or free
 * @free: [room] numbers of the slots that are not in use
 * @free_count: how many
 * @room: slots allocated, at least the capacity
 * @kind: [kinds] by kind
 * @kinds: how many
 * @last_key: key of the use before, to recognise a direct repeat
 * @last_slot: slot that served the last use which found or took one, or NO_SLOT
 * @stats: counters; retained and held are always current
 */
struct vgpu_policy_core {
	const struct vgpu_policy_hooks *hooks;
	struct vgpu_keymap map;
	struct vgpu_policy_slot *slots;
	uint32_t *free;
	uint32_t free_count;
	uint32_t room;
	struct vgpu_policy_kind *kind;
	uint32_t kinds;
	uint64_t last_key;
	uint32_t last_slot;
	struct vgpu_policy_stats stats;
};

/**
 * vgpu_policy_core_init() - make an empty retained set
 * @core: to initialise
 * @hooks: of the policy; outlives the core
 * @capacity: most chunks to retain
 *
 * Return: 0 or -ENOMEM.
 */
int vgpu_policy_core_init(struct vgpu_policy_core *core,
			  const struct vgpu_policy_hooks *hooks, uint32_t capacity);

/**
 * vgpu_policy_core_fini() - release the memory
 * @core: initialised, or all zero
 */
void vgpu_policy_core_fini(struct vgpu_policy_core *core);

/**
 * vgpu_policy_core_find() - slot number of a retained key
 * @core: the core
 * @key: any key
 *
 * Return: the number, or VGPU_POLICY_NO_SLOT.
 */
uint32_t vgpu_policy_core_find(const struct vgpu_policy_core *core, uint64_t key);

/**
 * vgpu_policy_core_rerank() - ask hooks->rank for one retained chunk
 * @core: the core
 * @slot: number of a slot in use
 */
void vgpu_policy_core_rerank(struct vgpu_policy_core *core, uint32_t slot);

/**
 * vgpu_policy_core_kind() - make room for the chunks of one kind
 * @core: the core
 * @kind: at most one beyond those there are
 * @most: chunks that can be of this kind at once, at least as many as are
 *
 * Return: 0, or -ENOMEM with nothing changed.
 */
int vgpu_policy_core_kind(struct vgpu_policy_core *core, uint32_t kind, uint32_t most);

/**
 * vgpu_policy_core_soonest() - the timed chunk of lowest rank
 * @core: the core
 * @kind: of a declared order
 *
 * Return: its slot number, or VGPU_POLICY_NO_SLOT when nothing retained is of that kind.
 */
uint32_t vgpu_policy_core_soonest(struct vgpu_policy_core *core, uint32_t kind);

/*
 * The operations of struct vgpu_policy_ops that are the same for every policy; the
 * first argument is a policy, that is, its core. Documented there.
 */
int vgpu_policy_core_access(void *policy, uint64_t key, unsigned int flags,
			    uint64_t *out_victim);
int vgpu_policy_core_hold(void *policy, uint64_t key, bool held);
void vgpu_policy_core_forget(void *policy, uint64_t key);
int vgpu_policy_core_shrink(void *policy, uint64_t *out_victim);
int vgpu_policy_core_resize(void *policy, uint32_t capacity);
bool vgpu_policy_core_retains(const void *policy, uint64_t key);
void vgpu_policy_core_stats(const void *policy, struct vgpu_policy_stats *out);

/* Of every policy's table. */
#define VGPU_POLICY_CORE_OPS			\
	.hold = vgpu_policy_core_hold,		\
	.forget = vgpu_policy_core_forget,	\
	.shrink = vgpu_policy_core_shrink,	\
	.resize = vgpu_policy_core_resize,	\
	.retains = vgpu_policy_core_retains

/* For policies that know no future. */
int vgpu_policy_core_no_future(void *policy, uint32_t client, const uint64_t *keys, size_t n,
			       bool cyclic);
uint64_t vgpu_policy_core_no_next_use(const void *policy, uint64_t key);
size_t vgpu_policy_core_no_upcoming(const void *policy, uint64_t *out_keys, size_t n);

#define VGPU_POLICY_NO_FUTURE_OPS			\
	.future = vgpu_policy_core_no_future,		\
	.next_use = vgpu_policy_core_no_next_use,	\
	.upcoming = vgpu_policy_core_no_upcoming,	\
	.stats = vgpu_policy_core_stats

#endif

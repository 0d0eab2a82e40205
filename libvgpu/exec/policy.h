/* SPDX-License-Identifier: MIT */
/*
 * Residency policies: which chunks does a tier keep?
 *
 * A policy owns the *retained set* of one tier: at most @capacity chunks, all of one
 * size, each named by a key. The residency engine reports every use in true order of
 * use; the policy answers whether the chunk was retained (HIT), is retained from now
 * on (ADMIT, perhaps in the place of a victim), or is used once from a staging slot
 * and dropped (BYPASS). Prefetch, staging slots, copies and I/O are the engine's
 * business and do not change an answer, so the counts of a running system equal those
 * of a simulation with the same policy, capacity and sequence of uses.
 *
 * What this does not try to do: choose between clients, weigh chunks of different
 * size or cost, or know the time. One instance serves one tier.
 *
 * Rules that hold for every policy, whatever the sequence of calls:
 *  - the retained set never grows beyond the capacity (after resize() to less it
 *    only shrinks);
 *  - a held key is never a victim, neither of access() nor of shrink();
 *  - a victim was retained, is no longer, and is reported exactly once;
 *  - access() of a retained key is always a HIT and never names a victim.
 *
 * Context: no policy takes a lock; the caller serialises all calls on one instance.
 * After create() only future() and resize() need memory to succeed; access() may try
 * to grow a table and remembers less when it cannot.
 */
#ifndef VGPU_EXEC_POLICY_H
#define VGPU_EXEC_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Not a key: no victim, nothing known. */
#define VGPU_POLICY_NONE UINT64_MAX

/* Answer of next_use(): never again, or not known. */
#define VGPU_POLICY_NEVER UINT64_MAX

/**
 * vgpu_policy_key() - name a chunk
 * @object_id: store or buffer object, unique within the policy instance
 * @chunk: index of the chunk in the object
 *
 * Object 0xffffffff with chunk 0xffffffff is VGPU_POLICY_NONE and must not be used.
 */
static inline uint64_t vgpu_policy_key(uint32_t object_id, uint32_t chunk)
{
	return (uint64_t)object_id << 32 | chunk;
}

static inline uint32_t vgpu_policy_key_object(uint64_t key)
{
	return (uint32_t)(key >> 32);
}

static inline uint32_t vgpu_policy_key_chunk(uint64_t key)
{
	return (uint32_t)key;
}

/**
 * enum vgpu_policy_answer - what access() decided
 * @VGPU_POLICY_HIT: the chunk is retained; use it where it lies
 * @VGPU_POLICY_ADMIT: fetch it (or take it from its staging slot) and keep it
 * @VGPU_POLICY_BYPASS: use it from a staging slot, then drop it
 */
enum vgpu_policy_answer {
	VGPU_POLICY_HIT,
	VGPU_POLICY_ADMIT,
	VGPU_POLICY_BYPASS,
};

enum {
	/* Dirty or anonymous data that cannot be dropped after use: never bypass. */
	VGPU_ACCESS_MUST_ADMIT = 1,
};

/**
 * struct vgpu_policy_params - how to create a policy
 * @capacity: most chunks to retain; 0 is legal and bypasses everything
 * @remember: most keys that are not retained to keep statistics of;
 *	0 chooses 8 * capacity + 4096
 */
struct vgpu_policy_params {
	uint32_t capacity;
	uint32_t remember;
};

/**
 * struct vgpu_policy_stats - counters since create(), and the present state
 * @accesses: uses reported; hits + admits + bypasses
 * @hits: answered HIT
 * @admits: answered ADMIT
 * @bypasses: answered BYPASS
 * @evictions: victims named by access() and shrink(); forget() is not one
 * @desyncs: times the uses left the declared or learnt sequence, by a jump in it that
 *	skips more than a few uses or for good
 * @retained: chunks retained now
 * @held: retained chunks that are held now
 * @capacity: most chunks to retain
 * @cycle: length in uses of the cycle now followed, 0 when none; of several the longest
 * @in_sync: the policy knows what comes next: next_use() and upcoming() answer
 *
 * Misses, and so chunks read from the tier below, are admits + bypasses.
 */
struct vgpu_policy_stats {
	uint64_t accesses;
	uint64_t hits;
	uint64_t admits;
	uint64_t bypasses;
	uint64_t evictions;
	uint64_t desyncs;
	uint32_t retained;
	uint32_t held;
	uint32_t capacity;
	uint32_t cycle;
	bool in_sync;
};

/**
 * struct vgpu_policy_ops - one residency policy; every operation is present
 */
struct vgpu_policy_ops {
	/** @name: as users spell it, for example "schedule" */
	const char *name;

	/** @what: one line for people */
	const char *what;

	/**
	 * @create: make an instance with an empty retained set.
	 * Return: 0, -EINVAL or -ENOMEM.
	 */
	int (*create)(const struct vgpu_policy_params *params, void **out_policy);

	/** @destroy: release an instance; NULL is allowed */
	void (*destroy)(void *policy);

	/**
	 * @access: a chunk is used now. Call once for a run of consecutive uses of
	 * one chunk (two panels in a row); a direct repeat is tolerated, is answered
	 * like the first and moves nothing.
	 *
	 * @out_victim receives the key to give up first, or VGPU_POLICY_NONE.
	 *
	 * Return: enum vgpu_policy_answer; -EINVAL for VGPU_POLICY_NONE or an unknown
	 * flag; -EBUSY when the chunk must be admitted and every retained chunk is
	 * held (or the capacity is 0). An error changes nothing and is not counted.
	 */
	int (*access)(void *policy, uint64_t key, unsigned int flags, uint64_t *out_victim);

	/**
	 * @hold: the chunk is pinned or mapped (true), or no longer (false). A held
	 * chunk counts against the capacity and is never a victim. Not a counter:
	 * the caller holds on the first pin and lets go after the last.
	 * Return: 0, or -ENOENT when the key is not retained.
	 */
	int (*hold)(void *policy, uint64_t key, bool held);

	/** @forget: the chunk is gone (object destroyed, range invalid): drop it, held or not */
	void (*forget)(void *policy, uint64_t key);

	/**
	 * @shrink: give one retained chunk up, the one missed least. The capacity
	 * stays; call resize() too if the room is gone for good.
	 * Return: 0, or -EBUSY when nothing is retained that is not held.
	 */
	int (*shrink)(void *policy, uint64_t *out_victim);

	/**
	 * @resize: change the capacity. When more is retained than the new capacity,
	 * the caller calls shrink() for the difference; until then a miss replaces
	 * or bypasses, but never adds.
	 * Return: 0, or -ENOMEM with nothing changed.
	 */
	int (*resize)(void *policy, uint32_t capacity);

	/**
	 * @future: declare the uses to come of one client, in order, beginning with its
	 * next one; replaces what was declared for it before. n = 0 withdraws it. cyclic:
	 * after the last comes the first again, without end. The keys are copied; direct
	 * repeats in it are one use. Clients take turns, of any length.
	 * Return: 0; -EINVAL for VGPU_POLICY_NONE among the keys or n > 2^31;
	 * -ENOMEM with nothing changed; -EOPNOTSUPP from a policy that cannot use it.
	 */
	int (*future)(void *policy, uint32_t client, const uint64_t *keys, size_t n,
		      bool cyclic);

	/**
	 * @next_use: number of other uses expected before the key's next one (0: it
	 * is the next), or VGPU_POLICY_NEVER when never or not known.
	 */
	uint64_t (*next_use)(const void *policy, uint64_t key);

	/**
	 * @upcoming: the keys expected next, retained or not, in order of use: what a
	 * prefetcher walks. Of several clients what is left of the present turn, and
	 * the next turn of each. Return: number of keys stored, at most @n; 0 when
	 * nothing is known.
	 */
	size_t (*upcoming)(const void *policy, uint64_t *out_keys, size_t n);

	/** @retains: true while the key is in the retained set */
	bool (*retains)(const void *policy, uint64_t key);

	/** @stats: counters and state */
	void (*stats)(const void *policy, struct vgpu_policy_stats *out);
};

extern const struct vgpu_policy_ops vgpu_policy_schedule;
extern const struct vgpu_policy_ops vgpu_policy_replay;
extern const struct vgpu_policy_ops vgpu_policy_freq;
extern const struct vgpu_policy_ops vgpu_policy_lru;

/* Every policy, best informed first, then NULL. */
extern const struct vgpu_policy_ops *const vgpu_policies[];

/**
 * vgpu_policy_find() - look a policy up by its name
 * @name: as in vgpu_policy_ops.name
 *
 * Return: the policy, or NULL when there is none of that name.
 */
const struct vgpu_policy_ops *vgpu_policy_find(const char *name);

/**
 * vgpu_policy_opt_misses() - fewest misses possible on a recorded sequence
 * @keys: uses in order; a direct repeat is part of the use before it
 * @flags: VGPU_ACCESS_* of each use, or NULL for none
 * @n: number of uses, at most 2^31
 * @capacity: chunks that may be retained
 * @out_misses: receives the number of chunks that must be read
 *
 * Belady's rule with bypass, exact: on a miss the chunk whose next use is farthest,
 * the one coming in included, is not kept; a use with VGPU_ACCESS_MUST_ADMIT always
 * takes a place. Starts with an empty tier.
 *
 * Source: Belady, A study of replacement algorithms for a virtual-storage computer,
 * IBM Systems Journal 5(2), 1966.
 *
 * Context: Any thread. O(n log capacity) time, about 30 bytes a use.
 * Return: 0; -EINVAL for VGPU_POLICY_NONE among the keys or too many uses, or when
 * the capacity is 0 and a chunk must be admitted; -ENOMEM.
 */
int vgpu_policy_opt_misses(const uint64_t *keys, const uint8_t *flags, size_t n,
			   uint32_t capacity, uint64_t *out_misses);

#endif

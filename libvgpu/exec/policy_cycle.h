/* SPDX-License-Identifier: MIT */
/*
 * policy_cycle: does the sequence of uses repeat itself?
 *
 * Keeps the uses so far. A pointer into them predicts the next use: the one that followed
 * last time. While predictions come true the distance from the pointer to the present is
 * a period, and after a stretch of a quarter of it (at least 16, at most 4096 uses) the
 * uses in between are a cycle, if the latest 16 came true without exception. A wrong
 * prediction costs eight right ones, and a pointer that fails is set anew to the earlier use
 * of the present key whose past agrees best, so a few odd uses a cycle are tolerated and
 * random routing is not taken for a cycle.
 *
 * A sequence that repeats an inner loop before it moves on is recognised as its inner loops,
 * one after the other.
 */
#ifndef VGPU_EXEC_POLICY_CYCLE_H
#define VGPU_EXEC_POLICY_CYCLE_H

#include "exec/keymap.h"

/**
 * struct vgpu_policy_cycle - the uses so far
 * @last: key to index of its latest use, of the first @indexed uses
 * @keys: [room] uses in order, direct repeats removed
 * @before: [room] index of the previous use of the same key, or UINT32_MAX; of the first @indexed
 * @n: uses kept
 * @indexed: of these, the ones that were looked up: that has time while predictions come true
 * @room: allocated
 * @expected: index of the use predicted next, or UINT32_MAX when there is no prediction
 * @score: right predictions less the price of wrong ones
 * @run: right predictions since the last wrong one
 */
struct vgpu_policy_cycle {
	struct vgpu_keymap last;
	uint64_t *keys;
	uint32_t *before;
	uint32_t n;
	uint32_t indexed;
	uint32_t room;
	uint32_t expected;
	uint32_t score;
	uint32_t run;
};

/**
 * vgpu_policy_cycle_init() - remember nothing
 * @cycle: to initialise
 *
 * Return: 0 or -ENOMEM.
 */
int vgpu_policy_cycle_init(struct vgpu_policy_cycle *cycle);

/**
 * vgpu_policy_cycle_fini() - release the memory
 * @cycle: initialised, or all zero
 */
void vgpu_policy_cycle_fini(struct vgpu_policy_cycle *cycle);

/**
 * vgpu_policy_cycle_push() - a use happened
 * @cycle: the detector
 * @key: used now; a direct repeat is ignored
 *
 * Two million uses are kept; beyond that, or without memory, the older half is dropped.
 */
void vgpu_policy_cycle_push(struct vgpu_policy_cycle *cycle, uint64_t key);

/**
 * vgpu_policy_cycle_found() - the cycle that the uses now follow
 * @cycle: the detector
 * @out_keys: receives the uses expected next, in order, for one period; valid until
 *	the next push
 *
 * Return: the period in uses, or 0 when none is recognised.
 */
uint32_t vgpu_policy_cycle_found(const struct vgpu_policy_cycle *cycle,
				 const uint64_t **out_keys);

#endif

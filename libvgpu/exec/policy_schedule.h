/* SPDX-License-Identifier: MIT */
/*
 * policy_schedule: internals of the schedule policy, on which replay builds
 */
#ifndef VGPU_EXEC_POLICY_SCHEDULE_H
#define VGPU_EXEC_POLICY_SCHEDULE_H

#include "exec/policy_core.h"
#include "exec/policy_heat.h"
#include "exec/policy_seq.h"

/**
 * struct vgpu_policy_sched - an instance of schedule
 * @core: first, so that a pointer to one is a pointer to the other
 * @heat: frequency of use, for keys outside the sequence and while it is lost
 * @seq: declared order, empty when there is none
 * @cursor: absolute position in @seq of the use expected next
 * @following: the uses agree with the sequence; ranks are positions, else heats
 * @candidate: position expected next if the use before was a jump, or NEVER
 * @strayed: score of uses out of order and of skipped ones, fading with good ones
 * @unmatched: uses since the last that agreed
 * @matched: uses in a row that agreed while not following
 * @uses: since the sequence was declared
 * @advanced: of these, the ones that moved the cursor
 */
struct vgpu_policy_sched {
	struct vgpu_policy_core core;
	struct vgpu_policy_heat heat;
	struct vgpu_policy_seq seq;
	uint64_t cursor;
	bool following;
	uint64_t candidate;
	uint32_t strayed;
	uint32_t unmatched;
	uint32_t matched;
	uint64_t uses;
	uint64_t advanced;
};

/**
 * vgpu_policy_sched_init() - make an instance in place
 * @sched: to initialise
 * @params: as of create()
 *
 * Return: 0 or -ENOMEM.
 */
int vgpu_policy_sched_init(struct vgpu_policy_sched *sched,
			   const struct vgpu_policy_params *params);

/**
 * vgpu_policy_sched_fini() - release what it holds
 * @sched: initialised, or all zero
 */
void vgpu_policy_sched_fini(struct vgpu_policy_sched *sched);

/* Operations of struct vgpu_policy_ops; the first argument is the instance. */
int vgpu_policy_sched_future(void *policy, const uint64_t *keys, size_t n, bool cyclic);
uint64_t vgpu_policy_sched_next_use(const void *policy, uint64_t key);
size_t vgpu_policy_sched_upcoming(const void *policy, uint64_t ahead, uint64_t *out_keys,
				  size_t n);
void vgpu_policy_sched_stats(const void *policy, struct vgpu_policy_stats *out);

#endif

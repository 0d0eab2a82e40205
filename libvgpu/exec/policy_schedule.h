/* SPDX-License-Identifier: MIT */
/*
 * policy_schedule: internals of the schedule policy, on which replay builds
 */
#ifndef VGPU_EXEC_POLICY_SCHEDULE_H
#define VGPU_EXEC_POLICY_SCHEDULE_H

#include "exec/policy_core.h"
#include "exec/policy_heat.h"
#include "exec/policy_lane.h"

/* No lane. */
#define VGPU_POLICY_NO_LANE UINT32_MAX

/**
 * struct vgpu_policy_sched - an instance of schedule
 * @core: first, so that a pointer to one is a pointer to the other
 * @heat: frequency of use, for keys outside the lanes and while they are lost
 * @lane: [lanes] of clients; chunks timed by lane i are of kind i + 1
 * @lanes: how many, in use or free
 * @turn: the lane that was used last, or VGPU_POLICY_NO_LANE
 * @unmatched: uses since the last that agreed with a lane
 * @uses: since the first lane was declared
 * @advanced: of these, the ones that moved a cursor: the lanes' clock
 */
struct vgpu_policy_sched {
	struct vgpu_policy_core core;
	struct vgpu_policy_heat heat;
	struct vgpu_policy_lane *lane;
	uint32_t lanes;
	uint32_t turn;
	uint32_t unmatched;
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

/**
 * vgpu_policy_sched_withdraw_all() - forget what any client declared
 * @sched: an instance
 */
void vgpu_policy_sched_withdraw_all(struct vgpu_policy_sched *sched);

/**
 * vgpu_policy_sched_withdraw_others() - forget what clients but one declared
 * @sched: an instance
 * @client: the one
 */
void vgpu_policy_sched_withdraw_others(struct vgpu_policy_sched *sched, uint32_t client);

/**
 * vgpu_policy_sched_followed() - how many lanes agree with the uses
 * @sched: an instance
 */
uint32_t vgpu_policy_sched_followed(const struct vgpu_policy_sched *sched);

/* Operations of struct vgpu_policy_ops; the first argument is the instance. */
int vgpu_policy_sched_future(void *policy, uint32_t client, const uint64_t *keys, size_t n,
			     bool cyclic);
uint64_t vgpu_policy_sched_next_use(const void *policy, uint64_t key);
size_t vgpu_policy_sched_upcoming(const void *policy, uint64_t *out_keys, size_t n);
void vgpu_policy_sched_stats(const void *policy, struct vgpu_policy_stats *out);

#define VGPU_POLICY_SCHED_OPS			\
	.future = vgpu_policy_sched_future,	\
	.next_use = vgpu_policy_sched_next_use,	\
	.upcoming = vgpu_policy_sched_upcoming,	\
	.stats = vgpu_policy_sched_stats

#endif

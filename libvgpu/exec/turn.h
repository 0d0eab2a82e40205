/* SPDX-License-Identifier: MIT */
/*
 * Whose job runs its next command: time is shared between the clients that have jobs here,
 * whatever number, and what a client gets between its jobs, by the weights of their queues
 * (kmod/core/share.h).  Time for what they ask for beside their jobs is theirs too.
 */
#ifndef VGPU_EXEC_TURN_H
#define VGPU_EXEC_TURN_H

#include "job.h"

/* Jobs that may run; and beside them, that wait for slow files. */
#define VGPU_TURN_JOBS_MAX	64u
#define VGPU_TURN_SLOW_MAX	448u
#define VGPU_TURN_CLIENTS	(2 * (VGPU_TURN_JOBS_MAX + VGPU_TURN_SLOW_MAX))

/* Page-ins of a client that find no room before the rest waits; but for every eighth pass. */
#define VGPU_TURN_FAILED_MAX	16u
#define VGPU_TURN_PASSES	8u

/**
 * struct vgpu_turn_client - a client: what it has had is known
 * @jobs: of it here, or 0: there were some
 * @failed: of its page-ins in this @pass
 * @round: of the last one
 * @owed_ns: that it was served otherwise, which the device has not been told of
 */
struct vgpu_turn_client {
	struct vb_share_client share;
	uint32_t number, jobs, failed;
	uint64_t pass, round, owed_ns;
};

/**
 * struct vgpu_turns - all zero: no jobs
 * @used: of @client
 * @pass: over the page-ins, which count from 1
 * @round: the latest that anybody has
 */
struct vgpu_turns {
	struct vb_share_level clients;
	struct vgpu_turn_client client[VGPU_TURN_CLIENTS];
	uint32_t used;
	uint64_t pass, round;
};

/* A job comes, and goes; at most VGPU_TURN_JOBS_MAX + VGPU_TURN_SLOW_MAX are here. */
void vgpu_turn_join(struct vgpu_turns *t, struct vgpu_job *job);
void vgpu_turn_leave(struct vgpu_turns *t, struct vgpu_job *job);

/* It can run a command. */
void vgpu_turn_ready(struct vgpu_turns *t, struct vgpu_job *job);

/* Whose turn it is, and is taken; NULL: no job can run. */
struct vgpu_job *vgpu_turn_take(struct vgpu_turns *t);

/* A client was served otherwise for so long: its commands wait for those of others. */
void vgpu_turn_charge(struct vgpu_turns *t, uint32_t client, uint64_t busy_ns);

/* So much of that the device is to hear of now, as it divides our time too. */
uint64_t vgpu_turn_owed(struct vgpu_turns *t, uint32_t client);

/* May it be served so now?  Not while a job of somebody who has had less could run. */
bool vgpu_turn_may_ask(struct vgpu_turns *t, uint32_t client);

/**
 * vgpu_turn_round() - where a page-in stands in line
 * @first: the round of the first that waits; UINT64_MAX: none does
 *
 * Return: @first, or what comes after the last that this client had, if it is known.
 */
uint64_t vgpu_turn_round(struct vgpu_turns *t, uint32_t client, uint64_t first);

/*
 * All that wait are tried, those of a client until so many have found no room; now and then the
 * rest, too, which may not need any.
 */
void vgpu_turn_begin_pass(struct vgpu_turns *t);
void vgpu_turn_failed(struct vgpu_turns *t, uint32_t client);
bool vgpu_turn_may_fail(struct vgpu_turns *t, uint32_t client);

/* Its command took so long; it can run another one after vgpu_turn_ready(). */
void vgpu_turn_end(struct vgpu_turns *t, struct vgpu_job *job, uint64_t busy_ns);

#endif

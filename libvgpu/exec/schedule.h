/* SPDX-License-Identifier: MIT */
/*
 * Schedules: the order in which clients say they will use their objects.
 *
 * Each client declares ranges; what the policy follows is the chunks in them, of each client
 * apart. How the turns of clients follow each other is the policy's to find out.
 */
#ifndef VGPU_EXEC_SCHEDULE_H
#define VGPU_EXEC_SCHEDULE_H

#include "object.h"
#include "policy.h"

/* Chunks that all clients together may declare, in order of use. */
#define VGPU_SCHEDULE_KEYS_MAX	(1u << 24)

struct vgpu_declared;

/**
 * struct vgpu_schedules - how much clients declared; all zero but the first four
 * @policy: follows it; @policy_state: of the instance
 * @keys: of all clients, at most VGPU_SCHEDULE_KEYS_MAX, so that clients cannot fill
 *	the executor's memory by it
 * @first: clients that declared anything
 */
struct vgpu_schedules {
	struct vgpu_store *store;
	uint32_t chunk_bytes;
	const struct vgpu_policy_ops *policy;
	void *policy_state;
	uint64_t keys;
	struct vgpu_declared *first;
};

/**
 * vgpu_schedules_set() - replace what one client declared
 * @range: [count] of objects' ids, in order of use
 * @count: 0 withdraws it, and that of no other
 * @cycle: after the last comes the first again
 *
 * Chunks of objects that are gone are left out.  A policy that knows no future is told none.
 * Return: 0; with nothing changed: -EINVAL more than VGPU_SCHEDULE_KEYS_MAX chunks;
 * -ENOSPC too many beside those of other clients; -ENOMEM.
 */
int vgpu_schedules_set(struct vgpu_schedules *s, uint32_t client, const struct vb_range *range,
		       uint32_t count, bool cycle);

void vgpu_schedules_fini(struct vgpu_schedules *s);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Schedules: the order in which clients say they will use their objects.
 *
 * A policy follows one sequence and the tier serves all clients, so what they declared
 * is woven into one: a few chunks of each in turn, a shorter cycle again and again until
 * the longest one is through.  That is what equal shares of the executor's time come to; it
 * tells how far away each use is beside those of others, and the policy's cursor bears
 * that turns are longer, or shorter.
 *
 * What this does not try to do: know weights, or how far each client has come.
 */
#ifndef VGPU_EXEC_SCHEDULE_H
#define VGPU_EXEC_SCHEDULE_H

#include "object.h"

/* Uses that a client may declare, and that are woven; more are cut off. */
#define VGPU_SCHEDULE_KEYS_MAX	(1u << 24)

struct vgpu_declared;

/**
 * struct vgpu_schedules - what clients declared; all zero but @store and @chunk_bytes
 * @ranges: kept, of all clients: at most VB_SCHEDULE_MAX, so that clients cannot fill
 *	the executor's memory by it
 * @first: in the order in which they declared first
 */
struct vgpu_schedules {
	struct vgpu_store *store;
	uint32_t chunk_bytes;
	uint32_t ranges;
	struct vgpu_declared *first;
};

/**
 * vgpu_schedules_set() - replace what one client declared
 * @ranges: of objects' ids, in order of use; copied
 * @count: 0 withdraws it, and that of no other
 * @cycle: after the last comes the first again
 *
 * Return: 0; with nothing changed: -EINVAL more than VGPU_SCHEDULE_KEYS_MAX uses;
 * -ENOSPC too many ranges beside those of other clients; -ENOMEM.
 */
int vgpu_schedules_set(struct vgpu_schedules *s, uint32_t client, const struct vb_range *ranges,
		       uint32_t count, bool cycle);

/**
 * vgpu_schedules_weave() - all of them as one
 * @out_keys: policy keys, to be freed; NULL when nothing is declared
 * @out_n: how many
 * @out_cycle: it begins again
 *
 * Chunks of objects that are gone are left out.
 * Return: 0 or -ENOMEM.
 */
int vgpu_schedules_weave(struct vgpu_schedules *s, uint64_t **out_keys, size_t *out_n,
			 bool *out_cycle);

void vgpu_schedules_fini(struct vgpu_schedules *s);

#endif

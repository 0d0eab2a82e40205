/* SPDX-License-Identifier: MIT */
/*
 * Leaves: what was brought for a fault may stay until whoever faulted has come back to it.
 *
 * The device answers a fault by waking its thread, which looks for the chunk once more.
 * Nothing holds it until then, and a policy that does not keep it would have it go at once:
 * where a mapped file is larger than the tier, a thread that wakes late would fault for ever.
 *
 * A leave is over when its client has asked for something else and VGPU_LEAVE_LEAST_NS have
 * passed, for another of its threads may be the one that asked; or after VGPU_LEAVE_MOST_NS,
 * for it may never come.  The chunk goes when its room is needed, those of the oldest leaves
 * first.  A page-in waits until a leave is over; a command takes the room.
 */
#ifndef VGPU_EXEC_LEAVE_H
#define VGPU_EXEC_LEAVE_H

#include <stdbool.h>
#include <stdint.h>

#include "resid.h"

#define VGPU_LEAVE_LEAST_NS	(5ull * 1000 * 1000)
#define VGPU_LEAVE_MOST_NS	(50ull * 1000 * 1000)

/* A slot that is there and pinned by us was brought for a fault of @client. */
void vgpu_leave_grant(struct vgpu_resid *r, uint32_t slot, uint32_t client);
/* @client asks for something else. */
void vgpu_leave_note_client(struct vgpu_resid *r, uint32_t client);
/* Does it stay, though nothing else keeps it? */
bool vgpu_leave_stays(const struct vgpu_slot *s);
/* Whether it is over or not. */
void vgpu_leave_end(struct vgpu_resid *r, uint32_t slot);
/*
 * The oldest leave that is over ends, or any; its chunk goes, if nothing else keeps it.
 * Return: false when there is none.
 */
bool vgpu_leave_end_one(struct vgpu_resid *r, bool any);

#endif

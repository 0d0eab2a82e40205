/* SPDX-License-Identifier: MIT */
/*
 * Waiting for room.
 *
 * A command, its next panel, or a page-in may find no slot because clients hold the
 * slots: BO_READ and BO_WRITE while they copy, mappings and pins until they are undone.
 * It waits then, and only what clients hold for vgpu_resid.room_wait_ns on end is an error.
 * What slow files keep, a command waits for as it waits for its own file (late.h).
 *
 * Who waits holds nothing that another one who waits could need, but for the operands of
 * a command between two panels, and those were counted before it began: so none locks
 * another up.  The oldest has the tier to itself every other turn of VGPU_ROOM_TURN_NS:
 * no page-in of a younger one is served meanwhile, so that what clients hold only
 * becomes less, however many of them read.  In the turns between, a client that holds
 * one thing and waits for another gets it.
 */
#ifndef VGPU_EXEC_ROOM_H
#define VGPU_EXEC_ROOM_H

#include <errno.h>

#include "resid.h"

#define VGPU_ROOM_TURN_NS	(10ull * 1000000u)
#define VGPU_ROOM_PAUSE_NS	(100u * 1000u)

/**
 * struct vgpu_room - somebody who may have to wait
 * @since: when no room was found first, CLOCK_MONOTONIC; 0: it does not wait
 */
struct vgpu_room {
	uint64_t since;
};

/* Should -ENOSPC be tried again?  @rc: how the attempt since blocks was cleared ended. */
static inline bool vgpu_room_waits(struct vgpu_room *w, const struct vgpu_resid *r, int rc,
				   uint64_t now)
{
	if ((rc != -ENOSPC && rc != -EDQUOT) || !r->blocks)
		return false;
	if (!w->since)
		w->since = now;
	return now - w->since < r->room_wait_ns;
}

/* Do younger ones keep out of the way now? */
static inline bool vgpu_room_is_its_turn(const struct vgpu_room *w, uint64_t now)
{
	return w->since && (now - w->since) / VGPU_ROOM_TURN_NS % 2 == 0;
}

#endif

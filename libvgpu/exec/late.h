/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a client's file that is slow.
 *
 * Nobody stands still for it: whoever needs a chunk of it keeps the slot that the chunk
 * comes to, lets go of everything else, and comes back when it came.  How long that may
 * take is counted from the last one that did.
 */
#ifndef VGPU_EXEC_LATE_H
#define VGPU_EXEC_LATE_H

#include "resid.h"

/**
 * struct vgpu_late - somebody who may have to wait
 * @since: when it began to, CLOCK_MONOTONIC; 0: it does not wait
 * @until: it is worth a try then, at the latest
 * @arrived: vgpu_resid.arrived when it was tried last
 * @slot: what it waits for, pinned; VB_SLOT_ANY: not known
 */
struct vgpu_late {
	uint64_t since, until, arrived;
	uint32_t slot;
};

/* Is it worth a try now?  @deadline_ns: its own, or 0. */
bool vgpu_late_may_try(const struct vgpu_resid *r, const struct vgpu_late *l,
		       uint64_t deadline_ns);

/* Did what it waits for come? */
bool vgpu_late_came(const struct vgpu_resid *r, const struct vgpu_late *l);

/**
 * vgpu_late_begin() - it is tried
 *
 * Return: what it waited for, for vgpu_late_end() when the try is over: until then that
 * stays.
 */
uint32_t vgpu_late_begin(struct vgpu_resid *r, struct vgpu_late *l);
void vgpu_late_end(struct vgpu_resid *r, uint32_t slot);

/**
 * vgpu_late_wait() - the try ended with -EAGAIN
 *
 * Return: 0, it waits; -ETIMEDOUT it has waited enough.
 */
int vgpu_late_wait(struct vgpu_resid *r, struct vgpu_late *l);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Chunks that the device brought into host memory by itself (VB_FETCH_F_FILLED).
 *
 * It takes slots that are free here, as many as it was told it may, and says so later: until
 * then the table alone knows of them.  Whoever does not find a chunk among the slots looks there.
 */
#ifndef VGPU_EXEC_FILLED_H
#define VGPU_EXEC_FILLED_H

#include "resid.h"

/* Most that the device may be ahead. */
#define VGPU_FILLED_MAX		8u

/**
 * vgpu_filled_look() - is a chunk that no slot has in host memory?
 *
 * Return: 0 it is; -ENOENT it is not; -EAGAIN the device is reading it.
 */
int vgpu_filled_look(const struct vgpu_object *o, uint32_t chunk);
/* And then it has a slot: @out_slot is READY, and a checksum not known is recorded later. */
int vgpu_filled_take(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk,
		     uint32_t *out_slot);

/* How many may it be ahead now? */
uint32_t vgpu_filled_most(const struct vgpu_resid *r);

#endif

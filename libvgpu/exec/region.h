/* SPDX-License-Identifier: MIT */
/*
 * The memory of the host tier: adjacent addresses, in regions that can be given back one by
 * one, the last first, when the kernel is short of memory, and come back to where they were.
 */
#ifndef VGPU_EXEC_REGION_H
#define VGPU_EXEC_REGION_H

#include "resid.h"

/**
 * vgpu_regions_create() - memory for all slots, in regions of host arenas
 * @r: @slots is set
 * @wish: as of struct vgpu_resid_params; so is @wishes
 *
 * Return: 0; -ENOMEM; what the device or the engine said.
 */
int vgpu_regions_create(struct vgpu_resid *r, const struct vgpu_home_wish *wish, uint32_t wishes);

/**
 * vgpu_regions_adopt() - the memory that an executor before us has left
 * @r: @slots are those of all arenas, which were adopted
 * @left: which
 *
 * Return: 0; -EINVAL its regions are not as we make them; what the device or the engine said.
 */
int vgpu_regions_adopt(struct vgpu_resid *r, const struct vgpu_left *left);

/**
 * vgpu_regions_register() - make the slots' memory known to an engine
 * @r: tier
 * @io: engine
 * @out: VGPU_REGIONS_MAX numbers, by region
 *
 * The module's is registered whole: it counts the references of a slot from when it is
 * taken, and a later one would look like a client's.
 */
int vgpu_regions_register(struct vgpu_resid *r, struct vgpu_io *io, int32_t *out);

/* The engine's number of the memory of a slot. */
static inline int32_t vgpu_region_of(const struct vgpu_resid *r, uint32_t slot)
{
	return r->region[slot / r->region_slots];
}

/**
 * vgpu_resid_drain() - give the last region back to the device
 * @r: tier, between two commands
 *
 * The chunks that are missed least leave, wherever they are; what is left in the region
 * moves to the places of those.
 *
 * Return: 0; -EBUSY the rest would be too little for transfers and as much content, a
 * client holds something in the region, or the device has promised what would go.
 */
int vgpu_resid_drain(struct vgpu_resid *r);

/**
 * vgpu_resid_grow() - ask for the memory of a region that was given back
 * @r: tier, between two commands
 *
 * Return: 0; -ENOSPC there is all that it began with; -ENOMEM; what the device or the engine
 * said: all is as it was.
 */
int vgpu_resid_grow(struct vgpu_resid *r);

#endif

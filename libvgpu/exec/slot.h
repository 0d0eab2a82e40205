/* SPDX-License-Identifier: MIT */
/*
 * What the rooms of the host tier share and nobody else needs: resid.c (uses and what
 * goes) and run.c (adjacent slots).
 */
#ifndef VGPU_EXEC_SLOT_H
#define VGPU_EXEC_SLOT_H

#include "resid.h"

/* The policy's name for what is in a slot. */
static inline uint64_t vgpu_slot_key(const struct vgpu_slot *s)
{
	return vgpu_policy_key(s->object->id, s->chunk);
}

/* The slot that holds a chunk, or VB_SLOT_ANY. */
static inline uint32_t vgpu_slot_find(const struct vgpu_resid *r, uint64_t key)
{
	uint32_t slot;

	return vgpu_keymap_find(&r->map, key, &slot) ? slot : VB_SLOT_ANY;
}

/* Bytes are on their way in or out. */
static inline bool vgpu_slot_is_moving(const struct vgpu_slot *s)
{
	return s->state == VGPU_SLOT_FILLING || s->state == VGPU_SLOT_LEAVING;
}

/* Pinned or mapped at the device: it cannot be moved. */
static inline bool vgpu_slot_is_fixed(const struct vgpu_slot *s)
{
	struct vb_table_entry e = vgpu_object_entry(s->object, s->chunk);

	return e.maps || e.pins;
}

/* Make sure that @n slots are free; may wait for I/O.  Return: 0, -ENOSPC, an I/O error. */
int vgpu_resid_make_room(struct vgpu_resid *r, uint32_t n);
/* Ask the policy about a use; whether the chunk is kept, or -errno. */
int vgpu_resid_account(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk);
/* vgpu_fill_start(), and within the client's limit: others of its chunks go first. */
int vgpu_resid_fill(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint32_t wanted,
		    uint32_t *out_slot);
/* The slot is used: was it read ahead, and in time? */
void vgpu_slot_note_ahead(struct vgpu_resid *r, struct vgpu_slot *s);
/* A slot that was asked to go, or to move, and the device's answer: note who is in the way. */
void vgpu_slot_note_block(struct vgpu_resid *r, struct vgpu_slot *s, int rc);
/* A slot was asked for and the device answered @rc: is it in quarantine?  -EBUSY then. */
int vgpu_slot_note_refusal(struct vgpu_resid *r, uint32_t slot, int rc);
/* So many of the announced uses happened, or will not. */
void vgpu_slot_unwant(struct vgpu_resid *r, struct vgpu_slot *s, uint32_t uses);

#endif

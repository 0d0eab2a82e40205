/* SPDX-License-Identifier: MIT */
/*
 * What the rooms of the host tier share and nobody else needs: resid.c (uses), room.c
 * (what goes), run.c (adjacent slots), fill.c (what comes) and slot.c (lists of slots).
 */
#ifndef VGPU_EXEC_SLOT_H
#define VGPU_EXEC_SLOT_H

#include "resid.h"

/* Announced uses to come. */
static inline uint32_t vgpu_slot_wants(const struct vgpu_resid *r, const struct vgpu_slot *s)
{
	return s->round == r->round ? s->wants : 0;
}

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

/*
 * The same of an object's chunk.  Most lie behind each other, in the order of the object: then it
 * is where the last one that was looked for says, and a look at that slot is enough.
 */
static inline uint32_t vgpu_slot_of(const struct vgpu_resid *r, struct vgpu_object *o,
				    uint32_t chunk)
{
	uint32_t slot = o->lead + chunk;

	if (slot < r->slots && r->slot[slot].object == o && r->slot[slot].chunk == chunk)
		return slot;
	slot = vgpu_slot_find(r, vgpu_policy_key(o->id, chunk));
	if (slot != VB_SLOT_ANY)
		o->lead = slot - chunk;
	return slot;
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

/* --- room.c --- */

/* Make sure that @n slots are free; may wait for I/O.  Return: 0, -ENOSPC, an I/O error. */
int vgpu_resid_make_room(struct vgpu_resid *r, uint32_t n);
/* Something else of a client that may have no more goes.  @again: look once more. */
bool vgpu_resid_shed(struct vgpu_resid *r, uint32_t client, bool *again);
/*
 * What was read ahead is given up: a guess, or if that may be the farthest use.
 * Return: false when none can go; each was asked once.
 */
bool vgpu_resid_steal(struct vgpu_resid *r, bool guesses_only);
/* Slots that could not leave may be able to by now: a mapping ended. */
bool vgpu_resid_unpark(struct vgpu_resid *r);
/* Slots that were held for a client's mapping, and are not mapped any more. */
void vgpu_resid_release_held(struct vgpu_resid *r);
/* What a mapping held must not stay held for good, only because nothing else has to. */
void vgpu_resid_check_held(struct vgpu_resid *r);
/* The policy keeps this chunk no longer. */
void vgpu_resid_unretain(struct vgpu_resid *r, uint64_t key);
/* The slot goes, if nothing keeps it. */
void vgpu_slot_let_go(struct vgpu_resid *r, uint32_t slot);
/* Somebody uses or wants what was read on a guess, or it goes. */
void vgpu_slot_is_no_guess(struct vgpu_resid *r, struct vgpu_slot *s);

/* --- slot.c --- */

/* Every slot is FREE. Return: 0 or -ENOMEM; vgpu_slots_fini() also then. */
int vgpu_slots_init(struct vgpu_resid *r);
void vgpu_slots_fini(struct vgpu_resid *r);
/* A FREE slot gets a chunk; it is known by the chunk's key from now on. */
void vgpu_slot_take(struct vgpu_resid *r, uint32_t slot, struct vgpu_object *o, uint32_t chunk,
		    enum vgpu_slot_state state);
/* The slot holds nothing any more; the device knows already. */
void vgpu_slot_leave(struct vgpu_resid *r, uint32_t slot);
/* All that is known of a slot is now that of @to, which was FREE. */
void vgpu_slot_relocate(struct vgpu_resid *r, uint32_t from, uint32_t to);
/* The same with the bytes, and at the device (run.c).  Return: 0; -EBUSY; what it said. */
int vgpu_slot_move(struct vgpu_resid *r, uint32_t from, uint32_t to);
/* The tier has @slots slots from now on; those behind are free. */
void vgpu_slots_trim(struct vgpu_resid *r, uint32_t slots);
/* Those from @first on are there again, and free; the tier has them already. */
void vgpu_slots_extend(struct vgpu_resid *r, uint32_t first);

/* The list that a slot belongs to; vgpu_slot_relist(): put it there after its state changed. */
enum vgpu_slot_list vgpu_slot_list_of(const struct vgpu_resid *r, const struct vgpu_slot *s);
void vgpu_slot_move_list(struct vgpu_resid *r, uint32_t slot);
static inline void vgpu_slot_relist(struct vgpu_resid *r, uint32_t slot)
{
	const struct vgpu_slot *s = &r->slot[slot];
	uint32_t flags = s->flags & (VGPU_SLOT_RETAINED | VGPU_SLOT_PARKED | VGPU_SLOT_HELD);

	/* Retained, and nothing else: in none, whoever pins or wants it. */
	if (s->list == VGPU_LIST_NONE && s->state == VGPU_SLOT_READY && flags == VGPU_SLOT_RETAINED)
		return;
	vgpu_slot_move_list(r, slot);
}
static inline void vgpu_slot_flag(struct vgpu_resid *r, uint32_t slot, uint32_t set, uint32_t clear)
{
	struct vgpu_slot *s = &r->slot[slot];

	s->flags = (uint8_t)((s->flags & ~clear) | set);
	vgpu_slot_relist(r, slot);
}
static inline void vgpu_slot_pin(struct vgpu_resid *r, uint32_t slot)
{
	r->slot[slot].pins++;
	vgpu_slot_relist(r, slot);
}
/* A use was announced; so many of the announced ones happened, or will not. */
void vgpu_slot_want(struct vgpu_resid *r, uint32_t slot);
void vgpu_slot_unwant(struct vgpu_resid *r, uint32_t slot, uint32_t uses);

/* Some slot of a client, or VB_SLOT_ANY: where its ring begins, until that is set anew. */
uint32_t vgpu_slot_of_client(const struct vgpu_resid *r, uint32_t client);
void vgpu_slot_begin_client(struct vgpu_resid *r, uint32_t slot);

#endif

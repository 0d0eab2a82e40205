// SPDX-License-Identifier: MIT
/*
 * Lists of slots, so that nobody looks at all of them to find a few.
 *
 * Each slot is in at most one list of vgpu_resid.list, which follows from its state:
 * vgpu_slot_relist() puts it there after any change.  And it is in a ring with the
 * other slots of the client whose object it has.
 */
#include "slot.h"

#include <errno.h>
#include <stdlib.h>

#include "home.h"

#define NO_SLOT VB_SLOT_ANY

/* ------------------------------------------------------------------------
 * By state
 */

enum vgpu_slot_list vgpu_slot_list_of(const struct vgpu_resid *r, const struct vgpu_slot *s)
{
	if (s->state == VGPU_SLOT_FREE)
		return VGPU_LIST_FREE;
	if (s->flags & VGPU_SLOT_PARKED)
		return VGPU_LIST_PARKED;
	if (s->flags & VGPU_SLOT_HELD)
		return VGPU_LIST_HELD;
	if (s->state != VGPU_SLOT_READY || s->pins || s->flags & VGPU_SLOT_RETAINED)
		return VGPU_LIST_NONE;
	if (vgpu_slot_wants(r, s))
		return VGPU_LIST_WANTED;
	return s->leave_since ? VGPU_LIST_LEAVE : VGPU_LIST_UNWANTED;
}

/* Behind @after; NO_SLOT: at the front. */
static void list_insert(struct vgpu_resid *r, struct vgpu_slots *l, uint32_t slot, uint32_t after)
{
	uint32_t next = after == NO_SLOT ? l->first : r->slot[after].next;

	r->slot[slot].prev = after;
	r->slot[slot].next = next;
	*(after == NO_SLOT ? &l->first : &r->slot[after].next) = slot;
	*(next == NO_SLOT ? &l->last : &r->slot[next].prev) = slot;
	l->count++;
}

static void list_remove(struct vgpu_resid *r, struct vgpu_slots *l, uint32_t slot)
{
	const struct vgpu_slot *s = &r->slot[slot];

	*(s->prev == NO_SLOT ? &l->first : &r->slot[s->prev].next) = s->next;
	*(s->next == NO_SLOT ? &l->last : &r->slot[s->next].prev) = s->prev;
	l->count--;
}

/* Uses that were announced later are behind earlier ones: most come in that order. */
static uint32_t place_wanted(struct vgpu_resid *r, uint32_t slot)
{
	uint32_t after = r->list[VGPU_LIST_WANTED].last;

	while (after != NO_SLOT && r->slot[after].wanted_at > r->slot[slot].wanted_at) {
		after = r->slot[after].prev;
		r->looks++;
	}
	return after;
}

static void slot_delist(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];

	if (s->list != VGPU_LIST_NONE)
		list_remove(r, &r->list[s->list], slot);
	s->list = VGPU_LIST_NONE;
}

void vgpu_slot_move_list(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];
	enum vgpu_slot_list list = vgpu_slot_list_of(r, s);

	if (list == s->list)
		return;
	slot_delist(r, slot);
	s->list = (uint8_t)list;
	if (list != VGPU_LIST_NONE)
		list_insert(r, &r->list[list], slot, list == VGPU_LIST_WANTED ?
			    place_wanted(r, slot) : r->list[list].last);
}

void vgpu_slot_want(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];

	slot_delist(r, slot);
	s->wants = vgpu_slot_wants(r, s) + 1;
	s->round = r->round;
	s->wanted_at = ++r->clock;
	r->wanted++;
	vgpu_slot_relist(r, slot);
}

void vgpu_slot_unwant(struct vgpu_resid *r, uint32_t slot, uint32_t uses)
{
	struct vgpu_slot *s = &r->slot[slot];
	uint32_t wants = vgpu_slot_wants(r, s), n = wants < uses ? wants : uses;

	if (!wants)
		return;
	s->wants = wants - n;
	s->round = r->round;
	r->wanted -= n;
	vgpu_slot_relist(r, slot);
}

/* ------------------------------------------------------------------------
 * By client
 */

/* Without memory to remember where the ring is, the slot is in none: it is not found. */
static void ring_enter(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];
	uint32_t other;

	s->client_next = s->client_prev = slot;
	if (!vgpu_keymap_find(&r->clients, s->object->client, &other)) {
		if (vgpu_keymap_set(&r->clients, s->object->client, slot))
			s->client_next = s->client_prev = NO_SLOT;
		return;
	}
	s->client_next = other;
	s->client_prev = r->slot[other].client_prev;
	r->slot[s->client_prev].client_next = slot;
	r->slot[other].client_prev = slot;
}

static void ring_leave(struct vgpu_resid *r, uint32_t slot)
{
	const struct vgpu_slot *s = &r->slot[slot];
	uint32_t first;

	if (s->client_next == NO_SLOT)
		return;
	if (s->client_next == slot) {
		vgpu_keymap_remove(&r->clients, s->object->client);
		return;
	}
	r->slot[s->client_prev].client_next = s->client_next;
	r->slot[s->client_next].client_prev = s->client_prev;
	if (vgpu_keymap_find(&r->clients, s->object->client, &first) && first == slot)
		vgpu_keymap_set(&r->clients, s->object->client, s->client_next);
}

uint32_t vgpu_slot_of_client(const struct vgpu_resid *r, uint32_t client)
{
	uint32_t slot;

	return vgpu_keymap_find(&r->clients, client, &slot) ? slot : NO_SLOT;
}

void vgpu_slot_begin_client(struct vgpu_resid *r, uint32_t slot)
{
	/* There is such a key: replacing its value does not fail. */
	vgpu_keymap_set(&r->clients, r->slot[slot].object->client, slot);
}

/* ------------------------------------------------------------------------
 * Coming and going
 */

int vgpu_slots_init(struct vgpu_resid *r)
{
	r->slot = calloc(r->slots, sizeof(*r->slot));
	if (!r->slot)
		return -ENOMEM;
	for (uint32_t l = 0; l < VGPU_LISTS; l++)
		r->list[l] = (struct vgpu_slots){ .first = NO_SLOT, .last = NO_SLOT };
	for (uint32_t i = 0; i < r->slots; i++) {
		r->slot[i].list = VGPU_LIST_NONE;
		vgpu_slot_relist(r, i);
	}
	r->free = r->slots;
	return vgpu_keymap_init(&r->clients, 0, r->slots);
}

void vgpu_slots_fini(struct vgpu_resid *r)
{
	vgpu_keymap_fini(&r->clients);
	free(r->slot);
	r->slot = NULL;
}

static void slot_count_free(struct vgpu_resid *r, uint32_t slot, int32_t by)
{
	r->free += (uint32_t)by;
	r->home[vgpu_home_of(r, slot)].free += (uint32_t)by;
}

void vgpu_slot_take(struct vgpu_resid *r, uint32_t slot, struct vgpu_object *o, uint32_t chunk,
		    enum vgpu_slot_state state)
{
	struct vgpu_slot *s = &r->slot[slot];

	slot_delist(r, slot);
	*s = (struct vgpu_slot){ .object = o, .chunk = chunk, .state = (uint8_t)state,
				 .list = VGPU_LIST_NONE };
	slot_count_free(r, slot, -1);
	vgpu_object_hold(r->store, o);
	vgpu_keymap_set(&r->map, vgpu_slot_key(s), slot);
	ring_enter(r, slot);
	vgpu_slot_relist(r, slot);
}

void vgpu_slot_leave(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];

	vgpu_record_forget(r, vgpu_slot_key(s));
	vgpu_keymap_remove(&r->map, vgpu_slot_key(s));
	r->wanted -= vgpu_slot_wants(r, s);
	r->guesses -= !!(s->flags & VGPU_SLOT_GUESS);
	ring_leave(r, slot);
	slot_delist(r, slot);
	vgpu_object_release(r->store, s->object);
	*s = (struct vgpu_slot){ .list = VGPU_LIST_NONE };
	slot_count_free(r, slot, 1);
	vgpu_slot_relist(r, slot);
}

void vgpu_slot_relocate(struct vgpu_resid *r, uint32_t from, uint32_t to)
{
	struct vgpu_slot *s = &r->slot[from];

	slot_delist(r, to);
	slot_delist(r, from);
	ring_leave(r, from);
	slot_count_free(r, to, -1);
	slot_count_free(r, from, 1);
	r->slot[to] = *s;
	*s = (struct vgpu_slot){ .list = VGPU_LIST_NONE };
	vgpu_keymap_set(&r->map, vgpu_slot_key(&r->slot[to]), to);
	ring_enter(r, to);
	vgpu_slot_relist(r, to);
	vgpu_slot_relist(r, from);
}

void vgpu_slots_trim(struct vgpu_resid *r, uint32_t slots)
{
	for (uint32_t i = slots; i < r->slots; i++) {
		slot_delist(r, i);
		slot_count_free(r, i, -1);
	}
	r->slots = slots;
	r->window_at = 0;
}

void vgpu_slots_extend(struct vgpu_resid *r, uint32_t first)
{
	for (uint32_t i = first; i < r->slots; i++) {
		r->slot[i] = (struct vgpu_slot){ .list = VGPU_LIST_NONE };
		vgpu_slot_relist(r, i);
		slot_count_free(r, i, 1);
	}
}

// SPDX-License-Identifier: MIT
/*
 * Do the books agree?  Everything that resid.c keeps track of, computed again from
 * what it is a summary of.  For tests, after each of them: slow and complete.
 */
#include "slot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "home.h"

/* What the slots say all together. */
struct tally {
	uint32_t state[VGPU_SLOT_LEAVING + 1];
	uint32_t retained, overdue, slow;
	uint32_t list[VGPU_LISTS + 1];
	uint64_t wants;
	uint32_t guesses;
};

struct check {
	const struct vgpu_resid *r;
	bool idle;
	char *text;
	size_t len;
	struct tally tally;
};

static int fault(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fault(struct check *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->text, c->len, format, args);
	va_end(args);
	return -EUCLEAN;
}

static bool entry_agrees(const struct check *c, const struct vgpu_slot *s, uint32_t index)
{
	struct vb_table_entry e = vgpu_object_entry(s->object, s->chunk);
	bool here = e.valid & (1u << VB_TIER_HOST) &&
		    e.loc[VB_TIER_HOST] == vgpu_home_loc(c->r, index);

	switch (s->state) {
	case VGPU_SLOT_READY:
		return here && !e.busy;
	case VGPU_SLOT_LEAVING:
		return here && e.busy;
	default:
		return !(e.valid & (1u << VB_TIER_HOST)) && e.busy;
	}
}

/* Nothing keeps it, and still it did not go. */
static bool slot_is_left_over(const struct vgpu_resid *r, const struct vgpu_slot *s)
{
	return s->state == VGPU_SLOT_READY && !s->pins && !vgpu_slot_wants(r, s) &&
	       !s->leave_since &&
	       !(s->flags & (VGPU_SLOT_RETAINED | VGPU_SLOT_AHEAD | VGPU_SLOT_PARKED));
}

static int check_used(struct check *c, uint32_t i)
{
	const struct vgpu_resid *r = c->r;
	const struct vgpu_slot *s = &r->slot[i];
	uint64_t key = vgpu_policy_key(s->object->id, s->chunk);
	uint32_t found;

	if (!vgpu_keymap_find(&r->map, key, &found) || found != i)
		return fault(c, "slot %u: the map does not lead to it", i);
	if (!entry_agrees(c, s, i))
		return fault(c, "slot %u, state %u: the device's table differs", i, s->state);
	if (!(s->flags & VGPU_SLOT_RETAINED) != !r->policy->retains(r->policy_state, key))
		return fault(c, "slot %u, flags %u: the policy differs", i, s->flags);
	if (c->idle && (s->pins || vgpu_slot_wants(r, s)))
		return fault(c, "slot %u: %u pins and %u wants of nobody", i, s->pins,
			     vgpu_slot_wants(r, s));
	if (slot_is_left_over(r, s))
		return fault(c, "slot %u: nothing keeps it", i);
	return 0;
}

static int check_slots(struct check *c)
{
	for (uint32_t i = 0; i < c->r->slots; i++) {
		const struct vgpu_slot *s = &c->r->slot[i];
		int rc;

		if ((s->state == VGPU_SLOT_FREE) != !s->object)
			return fault(c, "slot %u: state %u and object do not fit", i, s->state);
		if (s->list != vgpu_slot_list_of(c->r, s))
			return fault(c, "slot %u, state %u, flags %u is in list %u", i, s->state,
				     s->flags, s->list);
		c->tally.state[s->state]++;
		c->tally.retained += !!(s->flags & VGPU_SLOT_RETAINED);
		c->tally.overdue += !!(s->flags & VGPU_SLOT_OVERDUE);
		c->tally.slow += !!(s->flags & VGPU_SLOT_SLOW);
		c->tally.list[s->list]++;
		c->tally.wants += vgpu_slot_wants(c->r, s);
		c->tally.guesses += !!(s->flags & VGPU_SLOT_GUESS);
		rc = s->object ? check_used(c, i) : 0;
		if (rc)
			return rc;
	}
	return 0;
}

static int check_sums(struct check *c)
{
	const struct vgpu_resid *r = c->r;
	const struct tally *t = &c->tally;
	struct vgpu_policy_stats stats;

	r->policy->stats(r->policy_state, &stats);
	if (t->state[VGPU_SLOT_FREE] != r->free)
		return fault(c, "%u slots are free, %u counted", t->state[VGPU_SLOT_FREE], r->free);
	if (r->map.count != r->slots - r->free)
		return fault(c, "%u slots in the map, %u in use", r->map.count, r->slots - r->free);
	if (t->state[VGPU_SLOT_FILLING] + t->state[VGPU_SLOT_LEAVING] != r->moving)
		return fault(c, "%u fill and %u leave, %u counted", t->state[VGPU_SLOT_FILLING],
			     t->state[VGPU_SLOT_LEAVING], r->moving);
	if (t->state[VGPU_SLOT_LEAVING] != r->leaving || t->overdue != r->overdue ||
	    t->slow != r->slow)
		return fault(c, "%u leave, %u are overdue and %u slow, %u, %u and %u counted",
			     t->state[VGPU_SLOT_LEAVING], t->overdue, t->slow, r->leaving,
			     r->overdue, r->slow);
	for (uint32_t l = 0; l < VGPU_LISTS; l++)
		if (t->list[l] != r->list[l].count)
			return fault(c, "%u slots belong to list %u, %u are in it", t->list[l], l,
				     r->list[l].count);
	if (t->wants != r->wanted)
		return fault(c, "%llu uses are wanted, %llu counted", (unsigned long long)t->wants,
			     (unsigned long long)r->wanted);
	if (t->guesses != r->guesses)
		return fault(c, "%u slots are guesses, %u counted", t->guesses, r->guesses);
	if (t->retained != stats.retained || t->retained > r->capacity)
		return fault(c, "%u slots are retained, %u by the policy, of %u", t->retained,
			     stats.retained, r->capacity);
	return 0;
}

/* Every copy in host memory that the device knows of is one of ours. */
static int check_object(struct check *c, const struct vgpu_object *o)
{
	for (uint32_t i = 0; i < o->chunks; i++) {
		struct vb_table_entry e = vgpu_object_entry(o, i);
		uint32_t slot;

		if (!(e.valid & (1u << VB_TIER_HOST)))
			continue;
		slot = VB_LOC_SLOT(e.loc[VB_TIER_HOST]);
		if (slot >= c->r->slots || c->r->slot[slot].object != o ||
		    c->r->slot[slot].chunk != i)
			return fault(c, "chunk %u of object %u: slot %u is not its own", i, o->id, slot);
	}
	return 0;
}

int vgpu_resid_check(const struct vgpu_resid *r, bool idle, char *text, size_t len)
{
	struct check c = { .r = r, .idle = idle, .text = text, .len = len };
	int rc = check_slots(&c);

	if (!rc)
		rc = check_sums(&c);
	for (uint32_t b = 0; !rc && b < r->store->buckets; b++) {
		for (const struct vgpu_object *o = r->store->bucket[b]; o && !rc; o = o->next)
			rc = check_object(&c, o);
	}
	return rc;
}

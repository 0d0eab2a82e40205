// SPDX-License-Identifier: MIT
#include "exec/policy_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NO_SLOT VGPU_POLICY_NO_SLOT
/* Places of a heap that may wait to be put in order: so many at once when the top is asked for. */
#define LATE_MAX 4096u

/*
 * --- heaps: binary, indexed, so that any chunk can change its rank -------------
 *
 * A chunk that is used moves away from the top, which nobody asks for while all that is used is
 * there.  So it stays in its place, and moves when it comes to the top.
 */

static uint32_t *heap_place(struct vgpu_policy_core *core, struct vgpu_policy_heap *heap,
			    uint32_t slot)
{
	return heap->flip ? &core->slots[slot].far_at : &core->slots[slot].soon_at;
}

static void heap_put(struct vgpu_policy_core *core, struct vgpu_policy_heap *heap,
		     uint32_t at, struct vgpu_policy_place place)
{
	heap->places[at] = place;
	*heap_place(core, heap, place.slot) = at;
}

static void heap_up(struct vgpu_policy_core *core, struct vgpu_policy_heap *heap, uint32_t at)
{
	struct vgpu_policy_place place = heap->places[at];

	while (at > 0 && place.order < heap->places[(at - 1) / 2].order) {
		heap_put(core, heap, at, heap->places[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_put(core, heap, at, place);
}

static void heap_down(struct vgpu_policy_core *core, struct vgpu_policy_heap *heap, uint32_t at)
{
	struct vgpu_policy_place place = heap->places[at];
	uint64_t child;

	while ((child = 2 * (uint64_t)at + 1) < heap->count) {
		if (child + 1 < heap->count &&
		    heap->places[child + 1].order < heap->places[child].order)
			child++;
		if (heap->places[child].order >= place.order)
			break;
		heap_put(core, heap, at, heap->places[child]);
		at = child;
	}
	heap_put(core, heap, at, place);
}

/* Restores the order around @at. */
static void heap_settle(struct vgpu_policy_core *core, struct vgpu_policy_heap *heap, uint32_t at)
{
	uint32_t slot = heap->places[at].slot;

	heap_up(core, heap, at);
	heap_down(core, heap, *heap_place(core, heap, slot));
}

static bool *heap_late(struct vgpu_policy_core *core, const struct vgpu_policy_heap *heap,
		       uint32_t slot)
{
	return heap->flip ? &core->slots[slot].far_late : &core->slots[slot].soon_late;
}

static void heap_set_late(struct vgpu_policy_core *core, struct vgpu_policy_heap *heap,
			  uint32_t slot, bool late)
{
	bool *was = heap_late(core, heap, slot);

	heap->late += (uint32_t)late - (uint32_t)*was;
	*was = late;
}

/* The rank of a slot changed, either way; before it was @rank.  What stays is not looked at. */
static void heap_change(struct vgpu_policy_core *core, struct vgpu_policy_heap *heap,
			uint32_t slot, uint64_t rank)
{
	uint64_t order = core->slots[slot].rank ^ heap->flip;
	uint32_t at = *heap_place(core, heap, slot);

	if (order >= (rank ^ heap->flip) &&
	    (*heap_late(core, heap, slot) || heap->late < LATE_MAX)) {
		heap_set_late(core, heap, slot, true);
		return;
	}
	heap_set_late(core, heap, slot, false);
	heap->places[at].order = order;
	heap_settle(core, heap, at);
}

/* The slot on top, NO_SLOT of an empty heap. */
static uint32_t heap_top(struct vgpu_policy_core *core, struct vgpu_policy_heap *heap)
{
	if (!heap->count)
		return NO_SLOT;
	while (*heap_late(core, heap, heap->places[0].slot)) {
		heap_set_late(core, heap, heap->places[0].slot, false);
		heap->places[0].order = core->slots[heap->places[0].slot].rank ^ heap->flip;
		heap_down(core, heap, 0);
	}
	return heap->places[0].slot;
}

static void heap_insert(struct vgpu_policy_core *core, struct vgpu_policy_heap *heap,
			uint32_t slot)
{
	heap->places[heap->count] = (struct vgpu_policy_place){
		.order = core->slots[slot].rank ^ heap->flip, .slot = slot,
	};
	heap_up(core, heap, heap->count++);
}

static void heap_remove(struct vgpu_policy_core *core, struct vgpu_policy_heap *heap,
			uint32_t slot)
{
	uint32_t at = *heap_place(core, heap, slot);
	struct vgpu_policy_place moved = heap->places[heap->count - 1];

	heap_set_late(core, heap, slot, false);
	heap->count--;

	*heap_place(core, heap, slot) = NO_SLOT;
	if (moved.slot == slot)
		return;
	heap_put(core, heap, at, moved);
	heap_settle(core, heap, at);
}

/* --- the set ------------------------------------------------------------------- */

static int grow_array(void **array, size_t count, size_t size)
{
	void *grown = realloc(*array, count ? count * size : size);

	if (!grown)
		return -ENOMEM;
	*array = grown;
	return 0;
}

/* What is held is of one kind or another, and no more than there is room for. */
static int ensure_heaps(struct vgpu_policy_kind *kind, bool timed, uint32_t room, uint32_t most)
{
	size_t count = room < most ? room : most;
	int rc = grow_array((void **)&kind->far.places, count, sizeof(*kind->far.places));

	if (!rc && timed)
		rc = grow_array((void **)&kind->soon.places, count, sizeof(*kind->soon.places));
	return rc;
}

/* Grows each array in turn; one that has grown already stays so, which is harmless. */
static int ensure_room(struct vgpu_policy_core *core, uint32_t room)
{
	int rc;

	if (room <= core->room)
		return 0;
	rc = grow_array((void **)&core->slots, room, sizeof(*core->slots));
	if (!rc)
		rc = grow_array((void **)&core->free, room, sizeof(*core->free));
	for (uint32_t k = 0; !rc && k < core->kinds; k++)
		rc = ensure_heaps(&core->kind[k], k != VGPU_POLICY_GUESSED, room,
				  core->kind[k].most);
	if (!rc)
		rc = vgpu_keymap_reserve(&core->map, room);
	if (rc)
		return rc;
	/* Lowest numbers are taken first. */
	for (uint32_t slot = room; slot-- > core->room;) {
		core->slots[slot].key = VGPU_POLICY_NONE;
		core->free[core->free_count++] = slot;
	}
	core->room = room;
	return 0;
}

int vgpu_policy_core_init(struct vgpu_policy_core *core,
			  const struct vgpu_policy_hooks *hooks, uint32_t capacity)
{
	int rc;

	memset(core, 0, sizeof(*core));
	core->hooks = hooks;
	core->last_key = VGPU_POLICY_NONE;
	core->last_slot = NO_SLOT;
	rc = vgpu_keymap_init(&core->map, 0, 0);
	if (!rc)
		rc = vgpu_policy_core_kind(core, VGPU_POLICY_GUESSED, UINT32_MAX);
	if (!rc)
		rc = ensure_room(core, capacity);
	if (rc) {
		vgpu_policy_core_fini(core);
		return rc;
	}
	core->stats.capacity = capacity;
	return 0;
}

void vgpu_policy_core_fini(struct vgpu_policy_core *core)
{
	vgpu_keymap_fini(&core->map);
	free(core->slots);
	free(core->free);
	for (uint32_t k = 0; k < core->kinds; k++) {
		free(core->kind[k].far.places);
		free(core->kind[k].soon.places);
	}
	free(core->kind);
	memset(core, 0, sizeof(*core));
}

static int add_kind(struct vgpu_policy_core *core)
{
	int rc = grow_array((void **)&core->kind, core->kinds + 1, sizeof(*core->kind));

	if (!rc)
		core->kind[core->kinds++] =
			(struct vgpu_policy_kind){ .far.flip = UINT64_MAX };
	return rc;
}

int vgpu_policy_core_kind(struct vgpu_policy_core *core, uint32_t kind, uint32_t most)
{
	int rc = kind == core->kinds ? add_kind(core) : 0;

	if (!rc)
		rc = ensure_heaps(&core->kind[kind], kind != VGPU_POLICY_GUESSED, core->room, most);
	if (!rc)
		core->kind[kind].most = most;
	return rc;
}

uint32_t vgpu_policy_core_find(const struct vgpu_policy_core *core, uint64_t key)
{
	uint32_t slot;

	return vgpu_keymap_find(&core->map, key, &slot) ? slot : NO_SLOT;
}

static bool slot_has(const struct vgpu_policy_core *core, uint32_t slot, uint64_t key)
{
	return slot < core->room && core->slots[slot].key == key;
}

/* Uses repeat themselves: most times it is what came after the last one then, and not looked up. */
static uint32_t find_used(const struct vgpu_policy_core *core, uint64_t key)
{
	uint32_t after = core->last_slot == NO_SLOT ? NO_SLOT : core->slots[core->last_slot].after;

	return slot_has(core, after, key) ? after : vgpu_policy_core_find(core, key);
}

static void note_used(struct vgpu_policy_core *core, uint32_t slot)
{
	if (core->last_slot != NO_SLOT)
		core->slots[core->last_slot].after = slot;
	core->last_slot = slot;
	/* What comes next is asked for now. */
	if (core->slots[slot].after < core->room)
		__builtin_prefetch(&core->slots[core->slots[slot].after], 1);
}

/* Puts a chunk into the heaps that its kind and its being held call for. */
static void enlist(struct vgpu_policy_core *core, uint32_t slot)
{
	struct vgpu_policy_slot *s = &core->slots[slot];

	s->far_at = NO_SLOT;
	s->soon_at = NO_SLOT;
	if (!s->held)
		heap_insert(core, &core->kind[s->kind].far, slot);
	if (s->kind != VGPU_POLICY_GUESSED)
		heap_insert(core, &core->kind[s->kind].soon, slot);
}

static void delist(struct vgpu_policy_core *core, uint32_t slot)
{
	struct vgpu_policy_slot *s = &core->slots[slot];

	if (!s->held)
		heap_remove(core, &core->kind[s->kind].far, slot);
	if (s->kind != VGPU_POLICY_GUESSED)
		heap_remove(core, &core->kind[s->kind].soon, slot);
}

void vgpu_policy_core_rerank(struct vgpu_policy_core *core, uint32_t slot)
{
	struct vgpu_policy_slot *s = &core->slots[slot];
	struct vgpu_policy_slot now = *s;
	uint64_t rank = core->hooks->rank(core, &now), before = s->rank;

	if (now.kind != s->kind) {
		delist(core, slot);
		s->kind = now.kind;
		s->rank = rank;
		enlist(core, slot);
		return;
	}
	if (rank == s->rank)
		return;
	s->rank = rank;
	if (!s->held)
		heap_change(core, &core->kind[s->kind].far, slot, before);
	if (s->kind != VGPU_POLICY_GUESSED)
		heap_change(core, &core->kind[s->kind].soon, slot, before);
}

uint32_t vgpu_policy_core_soonest(struct vgpu_policy_core *core, uint32_t kind)
{
	return heap_top(core, &core->kind[kind].soon);
}

/* Of two that are due at once a timed one goes. */
static uint32_t victim_slot(struct vgpu_policy_core *core)
{
	uint32_t victim = NO_SLOT;
	double farthest = -1, due = 0;

	for (uint32_t k = 0; k < core->kinds; k++) {
		uint32_t top = heap_top(core, &core->kind[k].far);

		if (top == NO_SLOT)
			continue;
		if (core->kinds > 1)
			due = core->hooks->due(core, &core->slots[top]);
		if (due < farthest)
			continue;
		farthest = due;
		victim = top;
	}
	return victim;
}

static void add(struct vgpu_policy_core *core, uint64_t key)
{
	uint32_t slot = core->free[--core->free_count];
	struct vgpu_policy_slot *s = &core->slots[slot];

	memset(s, 0, sizeof(*s));
	s->key = key;
	if (core->hooks->admitted)
		core->hooks->admitted(core, s);
	s->rank = core->hooks->rank(core, s);
	s->after = NO_SLOT;
	note_used(core, slot);
	/* Cannot fail: room was reserved for every slot, and a slot was free. */
	vgpu_keymap_set(&core->map, key, slot);
	enlist(core, slot);
	core->stats.retained++;
}

static void drop(struct vgpu_policy_core *core, uint32_t slot)
{
	struct vgpu_policy_slot *s = &core->slots[slot];

	delist(core, slot);
	if (s->held)
		core->stats.held--;
	vgpu_keymap_remove(&core->map, s->key);
	if (core->last_key == s->key)
		core->last_key = VGPU_POLICY_NONE;
	s->key = VGPU_POLICY_NONE;
	core->free[core->free_count++] = slot;
	core->stats.retained--;
}

static uint64_t evict(struct vgpu_policy_core *core, uint32_t slot)
{
	uint64_t key = core->slots[slot].key;

	if (core->hooks->dropped)
		core->hooks->dropped(core, &core->slots[slot]);
	drop(core, slot);
	core->stats.evictions++;
	return key;
}

/* --- the decision -------------------------------------------------------------- */

static int serve_hit(struct vgpu_policy_core *core, uint32_t slot)
{
	vgpu_policy_core_rerank(core, slot);
	note_used(core, slot);
	core->stats.hits++;
	return VGPU_POLICY_HIT;
}

static int serve_miss(struct vgpu_policy_core *core, uint64_t key, bool must,
		      uint64_t *out_victim)
{
	bool full = core->stats.retained >= core->stats.capacity;
	uint32_t victim = full ? victim_slot(core) : NO_SLOT;

	if (full && !must && (victim == NO_SLOT ||
			      !core->hooks->displaces(core, key, &core->slots[victim]))) {
		if (core->hooks->bypassed)
			core->hooks->bypassed(core, key);
		core->stats.bypasses++;
		return VGPU_POLICY_BYPASS;
	}
	if (full)
		*out_victim = evict(core, victim);
	add(core, key);
	core->stats.admits++;
	return VGPU_POLICY_ADMIT;
}

int vgpu_policy_core_access(void *policy, uint64_t key, unsigned int flags,
			    uint64_t *out_victim)
{
	struct vgpu_policy_core *core = policy;
	bool must = flags & VGPU_ACCESS_MUST_ADMIT;
	bool repeat = key == core->last_key;
	uint32_t slot;

	*out_victim = VGPU_POLICY_NONE;
	if (key == VGPU_POLICY_NONE || (flags & ~VGPU_ACCESS_MUST_ADMIT))
		return -EINVAL;
	slot = find_used(core, key);
	if (repeat && (slot != NO_SLOT || !must))
		return slot != NO_SLOT ? VGPU_POLICY_HIT : VGPU_POLICY_BYPASS;
	if (slot == NO_SLOT && must && core->stats.retained >= core->stats.capacity &&
	    (victim_slot(core) == NO_SLOT || !core->stats.capacity))
		return -EBUSY;

	if (repeat) {
		/* Bypassed a moment ago, now it must stay: the same use, answered anew. */
		core->stats.bypasses--;
		return serve_miss(core, key, must, out_victim);
	}
	core->stats.accesses++;
	if (core->hooks->used)
		core->hooks->used(core, key, slot);
	core->last_key = key;
	return slot != NO_SLOT ? serve_hit(core, slot) : serve_miss(core, key, must, out_victim);
}

int vgpu_policy_core_hold(void *policy, uint64_t key, bool held)
{
	struct vgpu_policy_core *core = policy;
	uint32_t slot = vgpu_policy_core_find(core, key);

	if (slot == NO_SLOT)
		return -ENOENT;
	if (core->slots[slot].held == held)
		return 0;
	delist(core, slot);
	core->slots[slot].held = held;
	enlist(core, slot);
	core->stats.held += held ? 1 : -1;
	return 0;
}

void vgpu_policy_core_forget(void *policy, uint64_t key)
{
	struct vgpu_policy_core *core = policy;
	uint32_t slot = vgpu_policy_core_find(core, key);

	if (core->last_key == key)
		core->last_key = VGPU_POLICY_NONE;
	if (slot != NO_SLOT)
		drop(core, slot);
}

int vgpu_policy_core_shrink(void *policy, uint64_t *out_victim)
{
	struct vgpu_policy_core *core = policy;
	uint32_t slot = victim_slot(core);

	*out_victim = VGPU_POLICY_NONE;
	if (slot == NO_SLOT)
		return -EBUSY;
	*out_victim = evict(core, slot);
	return 0;
}

int vgpu_policy_core_resize(void *policy, uint32_t capacity)
{
	struct vgpu_policy_core *core = policy;
	int rc = ensure_room(core, capacity);

	if (rc)
		return rc;
	core->stats.capacity = capacity;
	return 0;
}

bool vgpu_policy_core_retains(const void *policy, uint64_t key)
{
	const struct vgpu_policy_core *core = policy;

	return slot_has(core, core->last_slot, key) || vgpu_policy_core_find(core, key) != NO_SLOT;
}

void vgpu_policy_core_stats(const void *policy, struct vgpu_policy_stats *out)
{
	const struct vgpu_policy_core *core = policy;

	*out = core->stats;
}

int vgpu_policy_core_no_future(void *policy, uint32_t client, const uint64_t *keys, size_t n,
			       bool cyclic)
{
	(void)policy;
	(void)client;
	(void)keys;
	(void)n;
	(void)cyclic;
	return -EOPNOTSUPP;
}

uint64_t vgpu_policy_core_no_next_use(const void *policy, uint64_t key)
{
	(void)policy;
	(void)key;
	return VGPU_POLICY_NEVER;
}

size_t vgpu_policy_core_no_upcoming(const void *policy, uint64_t *out_keys, size_t n)
{
	(void)policy;
	(void)out_keys;
	(void)n;
	return 0;
}

// SPDX-License-Identifier: MIT
#include "schedule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "walk.h"

/*
 * Uses of one client in a row.  Real turns are of any length: of 2, 4, 8, 16 and 40 uses
 * this does best or nearly so, where one use at a time loses the order of turns from 8 on.
 */
#define TURN_USES	4u

/**
 * struct vgpu_declared - what one client declared, and how far it is woven
 * @keys: most uses in a lap
 * @at: range that the next use is of
 * @chunk: the next use; @end: one past the last of the range
 * @last: use before, in this lap
 * @lap: was through once
 * @ended: nothing more comes
 */
struct vgpu_declared {
	uint32_t client, count;
	bool cycle, lap, ended;
	uint32_t at, chunk, end;
	uint64_t keys, last;
	struct vgpu_declared *next;
	struct vb_range range[];
};

static struct vgpu_declared **find(struct vgpu_schedules *s, uint32_t client)
{
	struct vgpu_declared **p = &s->first;

	while (*p && (*p)->client != client)
		p = &(*p)->next;
	return p;
}

/*
 * Chunks that a range names: none when its object is gone.  The device was asked for it
 * when it was declared, and is not asked again: what is gone would be, range by range.
 */
static void range_chunks(struct vgpu_schedules *s, const struct vb_range *r, uint32_t *first,
			 uint32_t *end)
{
	struct vgpu_object *o = vgpu_store_find(s->store, r->bo_id);

	*first = *end = 0;
	if (!r->bytes || !o || o->gone)
		return;
	vgpu_object_chunks(o, s->chunk_bytes, r->offset, r->bytes, first, end);
	if (*end > o->chunks)
		*end = o->chunks;
}

/* Ends early when that is too many. */
static uint64_t count_keys(struct vgpu_schedules *s, const struct vb_range *range, uint32_t count)
{
	struct vgpu_object *o;
	uint64_t n = 0;
	uint32_t first, end;

	for (uint32_t i = 0; i < count && n <= VGPU_SCHEDULE_KEYS_MAX; i++) {
		if (vgpu_store_get(s->store, range[i].bo_id, &o))
			continue;
		range_chunks(s, &range[i], &first, &end);
		n += first < end ? end - first : 0;
	}
	return n;
}

static int declare(struct vgpu_schedules *s, struct vgpu_declared **out, uint32_t client,
		   const struct vb_range *range, uint32_t count, bool cycle)
{
	uint64_t keys = count_keys(s, range, count);
	struct vgpu_declared *d;

	if (keys > VGPU_SCHEDULE_KEYS_MAX)
		return -EINVAL;
	d = malloc(sizeof(*d) + (size_t)count * sizeof(*range));
	if (!d)
		return -ENOMEM;
	*d = (struct vgpu_declared){ .client = client, .count = count, .cycle = cycle,
				     .keys = keys };
	memcpy(d->range, range, (size_t)count * sizeof(*range));
	*out = d;
	return 0;
}

int vgpu_schedules_set(struct vgpu_schedules *s, uint32_t client, const struct vb_range *range,
		       uint32_t count, bool cycle)
{
	struct vgpu_declared **p = find(s, client), *old = *p, *d = NULL;
	uint32_t others = s->ranges - (old ? old->count : 0);
	int rc;

	if (count > VB_SCHEDULE_MAX - others)
		return -ENOSPC;
	if (count) {
		rc = declare(s, &d, client, range, count, cycle);
		if (rc)
			return rc;
		d->next = old ? old->next : NULL;
		*p = d;
	} else if (old) {
		*p = old->next;
	}
	free(old);
	s->ranges = others + count;
	return 0;
}

/* ------------------------------------------------------------------------
 * Weaving
 */

static uint64_t key_at(const struct vgpu_declared *d)
{
	return vgpu_policy_key(d->range[d->at].bo_id, d->chunk);
}

static void begin_lap(struct vgpu_schedules *s, struct vgpu_declared *d)
{
	d->at = 0;
	d->last = VGPU_POLICY_NONE;
	range_chunks(s, &d->range[0], &d->chunk, &d->end);
}

/* Without a single use left in it no other lap begins. */
static void end_lap(struct vgpu_schedules *s, struct vgpu_declared *d)
{
	d->lap = true;
	d->ended = !d->cycle || d->last == VGPU_POLICY_NONE;
	begin_lap(s, d);
}

/* On to a use: over objects that are gone, and a chunk in which two ranges meet. */
static void settle(struct vgpu_schedules *s, struct vgpu_declared *d)
{
	while (!d->ended) {
		if (d->chunk < d->end) {
			if (key_at(d) != d->last)
				return;
			d->chunk++;
		} else if (++d->at < d->count) {
			range_chunks(s, &d->range[d->at], &d->chunk, &d->end);
		} else {
			end_lap(s, d);
		}
	}
}

static void rewind_all(struct vgpu_schedules *s)
{
	for (struct vgpu_declared *d = s->first; d; d = d->next) {
		d->lap = d->ended = false;
		begin_lap(s, d);
		settle(s, d);
	}
}

static uint64_t take(struct vgpu_schedules *s, struct vgpu_declared *d)
{
	uint64_t key = key_at(d);

	d->last = key;
	d->chunk++;
	settle(s, d);
	return key;
}

static bool all_were_through(const struct vgpu_schedules *s)
{
	for (const struct vgpu_declared *d = s->first; d; d = d->next) {
		if (!d->lap)
			return false;
	}
	return true;
}

/* The next uses of one client; false when all were through once, or there is no room. */
static bool weave_turn(struct vgpu_schedules *s, struct vgpu_declared *d, uint64_t *keys,
		       size_t room, size_t *n)
{
	for (uint32_t i = 0; i < TURN_USES && !d->ended; i++) {
		bool was_through = d->lap;

		if (*n == room)
			return false;
		keys[(*n)++] = take(s, d);
		if (d->lap && !was_through && all_were_through(s))
			return false;
	}
	return true;
}

/* As many as weave_turn() stores, or more. */
static size_t count_woven(const struct vgpu_schedules *s)
{
	uint64_t longest = 0, clients = 0, n;

	for (const struct vgpu_declared *d = s->first; d; d = d->next) {
		longest = d->keys > longest ? d->keys : longest;
		clients++;
	}
	n = (longest + TURN_USES) * clients;
	return n < VGPU_SCHEDULE_KEYS_MAX ? n : VGPU_SCHEDULE_KEYS_MAX;
}

int vgpu_schedules_weave(struct vgpu_schedules *s, uint64_t **out_keys, size_t *out_n,
			 bool *out_cycle)
{
	size_t room = count_woven(s), n = 0;
	uint64_t *keys;
	bool more;

	*out_keys = NULL;
	*out_n = 0;
	*out_cycle = false;
	if (!room)
		return 0;
	keys = malloc(room * sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	rewind_all(s);
	more = !all_were_through(s);
	while (more) {
		for (struct vgpu_declared *d = s->first; d && more; d = d->next)
			more = weave_turn(s, d, keys, room, &n);
	}
	for (const struct vgpu_declared *d = s->first; d; d = d->next)
		*out_cycle |= d->cycle;
	*out_keys = keys;
	*out_n = n;
	return 0;
}

void vgpu_schedules_fini(struct vgpu_schedules *s)
{
	while (s->first) {
		struct vgpu_declared *d = s->first;

		s->first = d->next;
		free(d);
	}
	s->ranges = 0;
}

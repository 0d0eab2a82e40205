// SPDX-License-Identifier: MIT
#include "schedule.h"

#include <errno.h>
#include <stdlib.h>

#include "walk.h"

/**
 * struct vgpu_declared - a client that declared something
 * @keys: chunks that the policy was told of
 */
struct vgpu_declared {
	uint32_t client;
	uint64_t keys;
	struct vgpu_declared *next;
};

static struct vgpu_declared **find(struct vgpu_schedules *s, uint32_t client)
{
	struct vgpu_declared **p = &s->first;

	while (*p && (*p)->client != client)
		p = &(*p)->next;
	return p;
}

/*
 * Chunks that a range names: none when its object is gone. The device was asked for it when
 * chunks were counted, and is not asked again: what is gone would be, range by range.
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

/*
 * Fewer than were counted, where the store had no room for all of the objects at once; and at
 * most @most: one that could not be opened for a range could be for the next.
 */
static uint64_t list_keys(struct vgpu_schedules *s, const struct vb_range *range, uint32_t count,
			  uint64_t *keys, uint64_t most)
{
	uint64_t n = 0;
	uint32_t chunk, end;

	for (uint32_t i = 0; i < count; i++) {
		for (range_chunks(s, &range[i], &chunk, &end); chunk < end && n < most;
		     chunk++)
			keys[n++] = vgpu_policy_key(range[i].bo_id, chunk);
	}
	return n;
}

static int tell_policy(struct vgpu_schedules *s, uint32_t client, const struct vb_range *range,
		       uint32_t count, uint64_t n, bool cycle)
{
	uint64_t *keys = n ? malloc(n * sizeof(*keys)) : NULL;
	int rc;

	if (n && !keys)
		return -ENOMEM;
	n = list_keys(s, range, count, keys, n);
	rc = s->policy->future(s->policy_state, client, keys, n, cycle);
	free(keys);
	return rc == -EOPNOTSUPP ? 0 : rc;
}

static int declare(struct vgpu_declared **d, uint32_t client)
{
	if (*d)
		return 0;
	*d = calloc(1, sizeof(**d));
	if (!*d)
		return -ENOMEM;
	(*d)->client = client;
	return 0;
}

static void withdraw(struct vgpu_declared **d)
{
	struct vgpu_declared *gone = *d;

	*d = gone->next;
	free(gone);
}

int vgpu_schedules_set(struct vgpu_schedules *s, uint32_t client, const struct vb_range *range,
		       uint32_t count, bool cycle)
{
	struct vgpu_declared **d = find(s, client);
	uint64_t others = s->keys - (*d ? (*d)->keys : 0), n = count_keys(s, range, count);
	int rc;

	if (n > VGPU_SCHEDULE_KEYS_MAX)
		return -EINVAL;
	if (n > VGPU_SCHEDULE_KEYS_MAX - others)
		return -ENOSPC;
	rc = declare(d, client);
	if (rc)
		return rc;
	rc = tell_policy(s, client, range, count, n, cycle);
	if (!rc) {
		s->keys = others + n;
		(*d)->keys = n;
	}
	if (!(*d)->keys)
		withdraw(d);
	return rc;
}

void vgpu_schedules_fini(struct vgpu_schedules *s)
{
	while (s->first)
		withdraw(&s->first);
	s->keys = 0;
}

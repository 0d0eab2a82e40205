// SPDX-License-Identifier: MIT
#include "uapi_loop.h"

#define STRETCH	4096u	/* chunks looked at under one lock */

/* What an advice is about. */
struct advice {
	struct loop_object *object;
	struct vb_chunk_range range;
	u64 chunks;		/* for which it took effect */
};

static struct loop_request *advice_request_locked(struct advice *a, u32 type)
{
	struct loop_request *r;

	r = vgpu_loop_request_new_locked(type, a->object->client, a->object);
	if (!r)
		return NULL;
	r->first = a->range.first;
	r->count = a->range.end - a->range.first;
	return r;
}

/* A hint that nobody waits for; beyond what may be queued it is dropped. */
static int prefetch_locked(struct advice *a)
{
	struct loop_client *c = a->object->client;
	struct loop_request *r;

	if (!vgpu_loop_is_live(c->loop))
		return -ENODEV;
	if (c->hints >= LOOP_HINTS_MAX)
		return 0;
	r = advice_request_locked(a, VB_FETCH_PAGE_IN);
	if (!r)
		return -ENOMEM;
	r->flags = VB_FETCH_F_ASYNC;
	c->hints++;
	a->chunks = r->count;
	vgpu_loop_request_queue_locked(c->loop, r);
	return 0;
}

/* Lets go of the lock between stretches. */
static bool evicted_count_locked(struct advice *a)
{
	const u8 memory = 1u << VB_TIER_HOST | 1u << VB_TIER_DEVICE;
	struct vgpu_loop *loop = a->object->client->loop;
	bool all = true;

	/* Of terabytes nobody wants to look at each chunk. */
	if (!a->object->slots) {
		a->chunks = a->range.end - a->range.first;
		return true;
	}
	for (u32 chunk = a->range.first; chunk < a->range.end; chunk++) {
		const struct vb_table_entry *e = &a->object->table[chunk];
		bool out = !(e->valid & memory) && !e->busy;

		a->chunks += out;
		all = all && out;
		if ((chunk + 1) % STRETCH == 0) {
			pthread_mutex_unlock(&loop->lock);
			pthread_mutex_lock(&loop->lock);
		}
	}
	return all;
}

static int evict_locked(struct advice *a)
{
	struct loop_object *o = a->object;
	struct loop_request *r;
	int rc;

	if (!o->slots)
		return evicted_count_locked(a) ? 0 : -EBUSY;
	r = advice_request_locked(a, VB_FETCH_EVICT);
	if (!r)
		return -ENOMEM;
	rc = vgpu_loop_request_wait_locked(o->client->loop, r, vgpu_loop_bound(0));
	if (rc && rc != -EBUSY)
		return rc;
	return evicted_count_locked(a) ? 0 : -EBUSY;
}

static void unpin_locked(struct advice *a, u32 end)
{
	for (u32 chunk = a->range.first; chunk < end; chunk++) {
		if (vgpu_loop_chunk_unpin_locked(a->object, chunk))
			continue;
		a->object->pins--;
		vgpu_loop_limit_release_locked(a->object->client, 1, true);
	}
}

static int pin_locked(struct advice *a)
{
	struct loop_object *o = a->object;
	struct loop_client *c = o->client;
	u64 chunks = a->range.end - a->range.first;
	u32 chunk;
	int rc;

	/* Charged first: others must not take the share while we page in. */
	rc = vgpu_loop_limit_hold_locked(c, chunks, true);
	if (rc)
		return rc;
	o->pins += chunks;
	for (chunk = a->range.first; chunk < a->range.end; chunk++) {
		rc = vgpu_loop_hold_locked(o, chunk, chunk + 1, LOOP_HOLD_PIN, 0);
		if (rc)
			goto err_unpin;
	}
	a->chunks = chunks;
	return 0;

err_unpin:
	vgpu_loop_limit_release_locked(c, a->range.end - chunk, true);
	o->pins -= a->range.end - chunk;
	unpin_locked(a, chunk);
	return rc;
}

static int advise_unpin_locked(struct advice *a)
{
	u32 chunk;

	for (chunk = a->range.first; chunk < a->range.end; chunk++)
		if (!a->object->table[chunk].pins)
			return -EINVAL;
	unpin_locked(a, a->range.end);
	a->chunks = a->range.end - a->range.first;
	return 0;
}

static int advise_locked(struct advice *a, const struct vb_ioc_bo_advise *cmd)
{
	struct loop_object *o = a->object;
	int rc;

	rc = vb_range_chunks(o->bytes, o->head_bytes, o->client->loop->chunk_shift,
			     cmd->offset, cmd->bytes, &a->range);
	if (rc)
		return rc;
	switch (cmd->advice) {
	case VB_ADVISE_PREFETCH:
		return prefetch_locked(a);
	case VB_ADVISE_EVICT:
		return evict_locked(a);
	case VB_ADVISE_PIN:
		return pin_locked(a);
	case VB_ADVISE_UNPIN:
		return advise_unpin_locked(a);
	default:
		return -EINVAL;
	}
}

int vgpu_loop_bo_advise(struct loop_client *c, void *arg)
{
	struct vb_ioc_bo_advise *cmd = arg;
	struct advice a = { 0 };
	int rc = -ENOENT;

	if (!cmd->bytes)
		return -EINVAL;
	pthread_mutex_lock(&c->loop->lock);
	a.object = vgpu_loop_object_get_locked(c, cmd->bo_id);
	if (a.object) {
		rc = advise_locked(&a, cmd);
		vgpu_loop_object_put_locked(a.object);
	}
	pthread_mutex_unlock(&c->loop->lock);
	cmd->out_bytes = a.chunks << c->loop->chunk_shift;
	return rc;
}

// SPDX-License-Identifier: MIT
/*
 * Content for a client's CPU.  What is absent is paged in by the executor; the
 * commit of that request maps or pins the chunks before it lets go of the lock, so
 * that nobody can take them away between the page-in and its use.  What is on its way for
 * somebody else is asked for, too: how long storage may take is the executor's to know.
 */
#include "uapi_loop.h"

#include <stdlib.h>

#define WINDOW_BYTES	(8ull << 20)	/* paged in at once while streaming */

static u64 share_bytes_locked(const struct loop_client *c)
{
	u64 content = vgpu_loop_content_bytes_locked(c->loop);
	u64 limit = vb_quota_least(&c->quota, VB_LIMIT_HOST_MAX);

	return content < limit ? content : limit;
}

static int range_of(const struct loop_object *o, u64 offset, u64 bytes,
		    struct vb_chunk_range *out)
{
	return vb_range_chunks(o->bytes, o->head_bytes, o->client->loop->chunk_shift,
			       offset, bytes, out);
}

/* ---- map ---- */

/* One attempt: a whole range at once, or nothing. */
struct map_try {
	struct loop_object *object;
	struct vb_chunk_range range;
	bool write, mapped;
};

/* -EAGAIN: absent, on its way here, or not in adjacent slots; -EINPROGRESS: moving. */
static int chunk_is_mappable(const struct loop_object *o, const struct vb_chunk_range *range,
			     u32 chunk)
{
	const struct vb_table_entry *e = &o->table[chunk];

	if (e->flags & VB_ENTRY_LOST)
		return -EIO;
	if (vb_chunk_is_coming(e))
		return -EAGAIN;
	if (e->busy)
		return -EINPROGRESS;
	if (!(e->valid & 1u << VB_TIER_HOST))
		return -EAGAIN;
	if (chunk > range->first &&
	    !vgpu_loop_slots_adjacent_locked(o->client->loop, e[-1].loc[VB_TIER_HOST],
					     e->loc[VB_TIER_HOST]))
		return -EAGAIN;
	return 0;
}

static int map_try_locked(struct map_try *m)
{
	struct loop_object *o = m->object;
	u32 chunk;
	int rc = 0;

	for (chunk = m->range.first; !rc && chunk < m->range.end; chunk++)
		rc = chunk_is_mappable(o, &m->range, chunk);
	if (rc)
		return rc;
	for (chunk = m->range.first; chunk < m->range.end; chunk++) {
		rc = vgpu_loop_chunk_map_locked(o, chunk, m->write);
		if (rc)
			goto err_unmap;
	}
	m->mapped = true;
	return 0;

err_unmap:
	while (chunk-- > m->range.first)
		vgpu_loop_chunk_unmap_locked(o, chunk);
	return rc;
}

/* An attempt that finds the range torn apart again is made anew by the waiter. */
static int map_finish(struct loop_request *r)
{
	int rc = map_try_locked(r->arg);

	return rc == -EAGAIN || rc == -EINPROGRESS ? 0 : rc;
}

static int map_page_in_locked(struct map_try *m, u64 deadline_ns)
{
	struct loop_object *o = m->object;
	struct loop_request *r;

	r = vgpu_loop_request_new_locked(VB_FETCH_PAGE_IN, o->client, o);
	if (!r)
		return -ENOMEM;
	r->first = m->range.first;
	r->count = m->range.end - m->range.first;
	r->flags = r->count > 1 ? VB_FETCH_F_CONTIGUOUS : 0;
	r->flags |= m->write ? VB_FETCH_F_WRITE : 0;
	r->finish = map_finish;
	r->arg = m;
	return vgpu_loop_request_wait_locked(o->client->loop, r, deadline_ns);
}

static int map_range_locked(struct map_try *m, u64 deadline_ns)
{
	u32 tries = 0;
	int rc;

	while (!m->mapped) {
		rc = map_try_locked(m);
		if (rc == -EINPROGRESS)
			rc = vgpu_loop_move_wait_locked(m->object->client->loop, deadline_ns);
		else if (rc == -EAGAIN)
			rc = tries++ < LOOP_MAP_TRIES ? map_page_in_locked(m, deadline_ns) : -EBUSY;
		if (rc)
			return rc;
	}
	return 0;
}

/* Would it ever fit, and may it? */
static int share_check_locked(const struct loop_client *c, u64 bytes)
{
	if (bytes > vgpu_loop_content_bytes_locked(c->loop))
		return -ENOSPC;
	return bytes > vb_quota_least(&c->quota, VB_LIMIT_HOST_MAX) ? -EDQUOT : 0;
}

static int map_check_locked(const struct loop_object *o, const struct vb_ioc_bo_map *cmd,
			    struct vb_chunk_range *range)
{
	u64 bytes;
	int rc;

	rc = range_of(o, cmd->offset, cmd->bytes, range);
	if (rc)
		return rc;
	if (cmd->flags & VB_MAP_WRITE && o->traits.sealed)
		return -EROFS;
	bytes = (u64)(range->end - range->first) << o->client->loop->chunk_shift;
	return share_check_locked(o->client, bytes);
}

static u64 address_of_locked(const struct loop_object *o, u64 offset)
{
	const struct vgpu_loop *loop = o->client->loop;
	u64 at = o->head_bytes + offset;
	u32 loc = o->table[at >> loop->chunk_shift].loc[VB_TIER_HOST];

	return (u64)(uintptr_t)vgpu_loop_slot_address_locked(loop, loc) +
	       (at & (loop->chunk_bytes - 1));
}

static void mapping_add_locked(struct loop_object *o, struct loop_mapping *mapping)
{
	TAILQ_INSERT_TAIL(&o->mappings, mapping, link);
	o->write_maps += (mapping->flags & VB_MAP_WRITE) != 0;
	o->refs++;
}

static int map_locked(struct loop_object *o, struct vb_ioc_bo_map *cmd)
{
	struct map_try m = { .object = o, .write = cmd->flags & VB_MAP_WRITE };
	struct loop_mapping *mapping;
	u64 chunks;
	int rc;

	rc = map_check_locked(o, cmd, &m.range);
	if (rc)
		return rc;
	mapping = malloc(sizeof(*mapping));
	if (!mapping)
		return -ENOMEM;
	chunks = m.range.end - m.range.first;
	rc = vgpu_loop_limit_hold_locked(o->client, chunks, false);
	if (rc)
		goto err_free;
	/* Counted from here on: a seal in between would break the promise to write. */
	o->write_maps += m.write;
	rc = map_range_locked(&m, vgpu_loop_bound(cmd->deadline_ns));
	o->write_maps -= m.write;
	if (rc)
		goto err_release;
	*mapping = (struct loop_mapping){
		.offset = cmd->offset, .bytes = cmd->bytes, .flags = cmd->flags,
	};
	mapping_add_locked(o, mapping);
	cmd->out_address = address_of_locked(o, cmd->offset);
	cmd->out_mmap_offset = 0;
	return 0;

err_release:
	vgpu_loop_limit_release_locked(o->client, chunks, false);
err_free:
	free(mapping);
	return rc;
}

int vgpu_loop_bo_map(struct loop_client *c, void *arg)
{
	struct vb_ioc_bo_map *cmd = arg;
	struct loop_object *o;
	int rc = -ENOENT;

	if (!cmd->flags || !cmd->bytes)
		return -EINVAL;
	pthread_mutex_lock(&c->loop->lock);
	o = vgpu_loop_object_get_locked(c, cmd->bo_id);
	if (o) {
		rc = map_locked(o, cmd);
		vgpu_loop_object_put_locked(o);
	}
	pthread_mutex_unlock(&c->loop->lock);
	return rc;
}

static void mapping_drop_locked(struct loop_object *o, struct loop_mapping *mapping)
{
	struct vb_chunk_range range;

	if (!range_of(o, mapping->offset, mapping->bytes, &range)) {
		for (u32 chunk = range.first; chunk < range.end; chunk++)
			vgpu_loop_chunk_unmap_locked(o, chunk);
		vgpu_loop_limit_release_locked(o->client, range.end - range.first, false);
	}
	TAILQ_REMOVE(&o->mappings, mapping, link);
	o->write_maps -= (mapping->flags & VB_MAP_WRITE) != 0;
	free(mapping);
	vgpu_loop_object_put_locked(o);
}

void vgpu_loop_mappings_drop_locked(struct loop_object *o)
{
	struct loop_mapping *mapping, *next;

	/* The last of them may free the object: nothing of it is read after that. */
	for (mapping = TAILQ_FIRST(&o->mappings); mapping; mapping = next) {
		next = TAILQ_NEXT(mapping, link);
		mapping_drop_locked(o, mapping);
	}
}

static int unmap_locked(struct loop_object *o, const struct vb_ioc_bo_unmap *cmd)
{
	struct loop_mapping *mapping;

	TAILQ_FOREACH(mapping, &o->mappings, link) {
		if (mapping->offset != cmd->offset || mapping->bytes != cmd->bytes ||
		    mapping->flags != cmd->flags)
			continue;
		mapping_drop_locked(o, mapping);
		return 0;
	}
	return -EINVAL;
}

int vgpu_loop_bo_unmap(struct loop_client *c, void *arg)
{
	struct vb_ioc_bo_unmap *cmd = arg;
	struct loop_object *o;
	int rc;

	pthread_mutex_lock(&c->loop->lock);
	o = vgpu_loop_ids_find(&c->bos, cmd->bo_id);
	rc = o ? unmap_locked(o, cmd) : -ENOENT;
	pthread_mutex_unlock(&c->loop->lock);
	return rc;
}

/* ---- one chunk, held ---- */

struct hold_try {
	struct loop_object *object;
	u32 chunk;
	enum loop_hold how;
	bool held;
};

static int hold_try_locked(struct hold_try *h)
{
	const struct vb_table_entry *e = &h->object->table[h->chunk];
	int rc;

	if (vb_chunk_is_coming(e))
		return -EAGAIN;
	if (e->busy)
		return -EINPROGRESS;
	if (!(e->flags & VB_ENTRY_LOST) && !(e->valid & 1u << VB_TIER_HOST))
		return -EAGAIN;
	if (h->how == LOOP_HOLD_PIN)
		rc = vgpu_loop_chunk_pin_locked(h->object, h->chunk);
	else
		rc = vgpu_loop_chunk_map_locked(h->object, h->chunk,
						h->how == LOOP_HOLD_WRITE);
	h->held = !rc;
	return rc;
}

static int hold_finish(struct loop_request *r)
{
	int rc = hold_try_locked(r->arg);

	return rc == -EAGAIN || rc == -EINPROGRESS ? 0 : rc;
}

static int hold_page_in_locked(struct hold_try *h, u32 end, u64 deadline_ns)
{
	struct loop_object *o = h->object;
	struct loop_request *r;

	r = vgpu_loop_request_new_locked(VB_FETCH_PAGE_IN, o->client, o);
	if (!r)
		return -ENOMEM;
	r->first = h->chunk;
	r->count = end - h->chunk;
	r->flags = h->how == LOOP_HOLD_WRITE ? VB_FETCH_F_WRITE : 0;
	r->finish = hold_finish;
	r->arg = h;
	return vgpu_loop_request_wait_locked(o->client->loop, r, deadline_ns);
}

int vgpu_loop_hold_locked(struct loop_object *o, u32 chunk, u32 end, enum loop_hold how,
			  u64 deadline_ns)
{
	struct hold_try h = { .object = o, .chunk = chunk, .how = how };
	u32 tries = 0;
	int rc;

	deadline_ns = vgpu_loop_bound(deadline_ns);
	while (!h.held) {
		rc = hold_try_locked(&h);
		if (rc == -EINPROGRESS)
			rc = vgpu_loop_move_wait_locked(o->client->loop, deadline_ns);
		else if (rc == -EAGAIN && tries < LOOP_MAP_TRIES)
			/* When others took it away at once, ask for less. */
			rc = hold_page_in_locked(&h, tries++ ? chunk + 1 : end, deadline_ns);
		else if (rc == -EAGAIN)
			rc = -EBUSY;
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- read and write ---- */

/* A stream of bytes of one object, chunk by chunk. */
struct rw {
	struct loop_object *object;
	struct vb_chunk_range range;
	bool write;
	u64 offset, bytes, done, deadline_ns;
	char *memory;
	u32 window;
};

static bool reads_as_zero(const struct rw *rw, const struct vb_table_entry *e)
{
	return !rw->write && rw->object->traits.kind == VB_BO_ANONYMOUS && !e->valid &&
	       !(e->flags & (VB_ENTRY_LOST | VB_ENTRY_TOUCHED));
}

static u64 part_bytes(const struct rw *rw, u64 in_chunk)
{
	u64 left = rw->bytes - rw->done;
	u64 room = rw->object->client->loop->chunk_bytes - in_chunk;

	return left < room ? left : room;
}

/* Copy from or to a chunk that is held; lets go of the lock meanwhile. */
static void copy_part_locked(const struct rw *rw, u32 chunk, u64 in_chunk, u64 bytes)
{
	struct loop_object *o = rw->object;
	struct vgpu_loop *loop = o->client->loop;
	char *at = vgpu_loop_slot_address_locked(loop, o->table[chunk].loc[VB_TIER_HOST]) + in_chunk;
	char *memory = rw->memory + rw->done;

	pthread_mutex_unlock(&loop->lock);
	if (rw->write)
		memcpy(at, memory, bytes);
	else
		memcpy(memory, at, bytes);
	pthread_mutex_lock(&loop->lock);
	vgpu_loop_chunk_unmap_locked(o, chunk);
}

static int rw_part_locked(struct rw *rw)
{
	struct loop_object *o = rw->object;
	u64 at = o->head_bytes + rw->offset + rw->done;
	u64 in_chunk = at & (o->client->loop->chunk_bytes - 1);
	u32 chunk = (u32)(at >> o->client->loop->chunk_shift);
	u64 bytes = part_bytes(rw, in_chunk);
	u32 left = rw->range.end - chunk;
	int rc;

	if (reads_as_zero(rw, &o->table[chunk])) {
		memset(rw->memory + rw->done, 0, bytes);
	} else {
		rc = vgpu_loop_hold_locked(o, chunk, chunk + (left < rw->window ? left : rw->window),
					   rw->write ? LOOP_HOLD_WRITE : LOOP_HOLD_READ,
					   rw->deadline_ns);
		if (rc)
			return rc;
		copy_part_locked(rw, chunk, in_chunk, bytes);
	}
	rw->done += bytes;
	return 0;
}

/* Chunks to page in at once: a quarter of the share, at most WINDOW_BYTES. */
static u32 window_chunks_locked(const struct loop_client *c)
{
	u64 bytes = share_bytes_locked(c) / 4;

	if (bytes > WINDOW_BYTES)
		bytes = WINDOW_BYTES;
	return bytes >> c->loop->chunk_shift ? (u32)(bytes >> c->loop->chunk_shift) : 1;
}

static int rw_locked(struct rw *rw)
{
	struct loop_object *o = rw->object;
	int rc;

	rc = range_of(o, rw->offset, rw->bytes, &rw->range);
	if (rc)
		return rc;
	if (rw->write && o->traits.sealed)
		return -EROFS;
	rw->window = window_chunks_locked(o->client);
	o->write_maps += rw->write;
	while (!rc && rw->done < rw->bytes)
		rc = rw_part_locked(rw);
	o->write_maps -= rw->write;
	return rc;
}

static int bo_rw(struct loop_client *c, struct vb_ioc_bo_rw *cmd, bool write)
{
	struct rw rw = {
		.write = write,
		.offset = cmd->offset,
		.bytes = cmd->bytes,
		.memory = (char *)(uintptr_t)cmd->address,
		.deadline_ns = cmd->deadline_ns,
	};
	int rc = -ENOENT;

	cmd->out_done_bytes = 0;
	if (cmd->bytes && !cmd->address)
		return -EFAULT;
	pthread_mutex_lock(&c->loop->lock);
	rw.object = vgpu_loop_object_get_locked(c, cmd->bo_id);
	if (rw.object) {
		rc = rw_locked(&rw);
		vgpu_loop_object_put_locked(rw.object);
	}
	pthread_mutex_unlock(&c->loop->lock);
	cmd->out_done_bytes = rw.done;
	return rc;
}

int vgpu_loop_bo_read(struct loop_client *c, void *arg)
{
	return bo_rw(c, arg, false);
}

int vgpu_loop_bo_write(struct loop_client *c, void *arg)
{
	return bo_rw(c, arg, true);
}

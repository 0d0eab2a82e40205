// SPDX-License-Identifier: MIT
#include "uapi_loop.h"

#define RESIDENCY_STRETCH	4096u	/* chunks looked at under one lock */

int vgpu_loop_bo_destroy(struct loop_client *c, void *arg)
{
	struct vb_ioc_bo_destroy *cmd = arg;
	struct loop_object *o;

	pthread_mutex_lock(&c->loop->lock);
	o = vgpu_loop_ids_remove(&c->bos, cmd->bo_id);
	if (o)
		vgpu_loop_object_put_locked(o);
	pthread_mutex_unlock(&c->loop->lock);
	return o ? 0 : -ENOENT;
}

static void info_locked(const struct loop_object *o, struct vb_ioc_bo_info *info)
{
	u32 shift = o->client->loop->chunk_shift;

	info->out_kind = o->traits.kind;
	info->out_life = o->traits.life;
	info->out_flags = o->flags;
	info->out_chunks = o->chunks;
	info->out_bytes = o->bytes;
	for (u32 tier = 0; tier < VB_TIER_COUNT; tier++)
		info->out_tier_bytes[tier] = o->tier_chunks[tier] << shift;
	info->out_dirty_bytes = o->dirty << shift;
}

int vgpu_loop_bo_info(struct loop_client *c, void *arg)
{
	struct vb_ioc_bo_info *info = arg;
	struct loop_object *o;

	pthread_mutex_lock(&c->loop->lock);
	o = vgpu_loop_ids_find(&c->bos, info->bo_id);
	if (o)
		info_locked(o, info);
	pthread_mutex_unlock(&c->loop->lock);
	return o ? 0 : -ENOENT;
}

static int seal_locked(struct loop_object *o)
{
	if (o->traits.sealed)
		return 0;
	if (o->write_maps || o->pins || o->writers)
		return -EBUSY;
	o->traits.sealed = true;
	o->flags |= VB_BO_SEALED;
	return 0;
}

int vgpu_loop_bo_seal(struct loop_client *c, void *arg)
{
	struct vb_ioc_bo_seal *cmd = arg;
	struct loop_object *o;
	int rc;

	pthread_mutex_lock(&c->loop->lock);
	o = vgpu_loop_ids_find(&c->bos, cmd->bo_id);
	rc = o ? seal_locked(o) : -ENOENT;
	pthread_mutex_unlock(&c->loop->lock);
	return rc;
}

/* One stretch; the copy to the caller is made without the lock. */
static u32 residency_stretch(struct loop_object *o, u32 first, u32 count, u8 *to)
{
	struct vgpu_loop *loop = o->client->loop;
	u8 stretch[RESIDENCY_STRETCH];

	if (count > RESIDENCY_STRETCH)
		count = RESIDENCY_STRETCH;
	pthread_mutex_lock(&loop->lock);
	for (u32 i = 0; i < count; i++)
		stretch[i] = vb_chunk_residency(&o->table[first + i]);
	pthread_mutex_unlock(&loop->lock);
	memcpy(to, stretch, count);
	return count;
}

static int residency_copy(struct loop_object *o, struct vb_ioc_bo_residency *cmd)
{
	u8 *to = (u8 *)(uintptr_t)cmd->address;
	u32 n;

	if (cmd->first_chunk > o->chunks)
		return -ERANGE;
	n = o->chunks - cmd->first_chunk;
	if (cmd->count < n)
		n = cmd->count;
	if (n && !to)
		return -EFAULT;
	while (cmd->out_count < n)
		cmd->out_count += residency_stretch(o, cmd->first_chunk + cmd->out_count,
						    n - cmd->out_count, to + cmd->out_count);
	return 0;
}

int vgpu_loop_bo_residency(struct loop_client *c, void *arg)
{
	struct vb_ioc_bo_residency *cmd = arg;
	struct loop_object *o;
	int rc;

	cmd->out_count = 0;
	pthread_mutex_lock(&c->loop->lock);
	o = vgpu_loop_object_get_locked(c, cmd->bo_id);
	pthread_mutex_unlock(&c->loop->lock);
	if (!o)
		return -ENOENT;
	rc = residency_copy(o, cmd);
	pthread_mutex_lock(&c->loop->lock);
	vgpu_loop_object_put_locked(o);
	pthread_mutex_unlock(&c->loop->lock);
	return rc;
}

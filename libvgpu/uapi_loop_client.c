// SPDX-License-Identifier: MIT
#include "uapi_loop.h"

#include <stdlib.h>

void vgpu_loop_client_put_locked(struct loop_client *c)
{
	if (!--c->refs)
		free(c);
}

void vgpu_loop_count_locked(struct loop_client *c, enum vb_counter counter, u64 n)
{
	c->counters[counter] += n;
	c->loop->counters[counter] += n;
}

int vgpu_loop_query_device(struct loop_client *c, void *arg)
{
	struct vb_ioc_query_device *q = arg;
	struct vgpu_loop *loop = c->loop;

	pthread_mutex_lock(&loop->lock);
	q->out_exec_state = loop->exec_state;
	q->out_features = 0;
	q->out_chunk_bytes = loop->chunk_bytes;
	q->out_tier_count = loop->arena_count;
	q->out_host_staging_bytes = loop->staging_bytes;
	q->out_panel_bytes = loop->panel_bytes;
	q->out_generation = loop->generation;
	q->out_recovery_ms = 0;
	pthread_mutex_unlock(&loop->lock);
	return 0;
}

int vgpu_loop_stats(struct loop_client *c, void *arg)
{
	struct vb_ioc_stats *cmd = arg;
	u64 *to = (u64 *)(uintptr_t)cmd->address;
	u64 counters[VB_COUNT_COUNT];

	if (cmd->count && !to)
		return -EFAULT;
	pthread_mutex_lock(&c->loop->lock);
	memcpy(counters, c->counters, sizeof(counters));
	pthread_mutex_unlock(&c->loop->lock);
	for (u32 i = 0; i < cmd->count; i++)
		to[i] = i < VB_COUNT_COUNT ? counters[i] : 0;
	return 0;
}

/* ---- schedule ---- */

static int range_translate_locked(struct loop_client *c, struct vb_range *r)
{
	struct loop_object *o = vgpu_loop_ids_find(&c->bos, r->bo_id);
	u64 end;

	if (!o)
		return -ENOENT;
	if (r->__reserved || !r->bytes)
		return -EINVAL;
	if (check_add_overflow(r->offset, r->bytes, &end))
		return -EOVERFLOW;
	if (end > o->bytes)
		return -ERANGE;
	r->bo_id = o->id;
	o->shown = true;
	return 0;
}

/* A schedule that nobody has fetched yet is replaced where it stands. */
static int schedule_queue_locked(struct loop_client *c, struct vb_range *ranges, u32 count,
				 u32 flags)
{
	struct loop_request *r = c->schedule;

	if (!r) {
		r = vgpu_loop_request_new_locked(VB_FETCH_SCHEDULE, c, NULL);
		if (!r)
			return -ENOMEM;
		c->schedule = r;
		vgpu_loop_request_queue_locked(c->loop, r);
	}
	free(r->ranges);
	r->ranges = ranges;
	r->count = count;
	r->flags = VB_FETCH_F_ASYNC | flags;
	c->scheduled = count != 0;
	return 0;
}

static int schedule_locked(struct loop_client *c, struct vb_range *ranges,
			   const struct vb_ioc_schedule *cmd)
{
	int rc = vgpu_loop_is_live(c->loop) ? 0 : -ENODEV;

	for (u32 i = 0; !rc && i < cmd->count; i++)
		rc = range_translate_locked(c, &ranges[i]);
	if (rc)
		return rc;
	return schedule_queue_locked(c, ranges, cmd->count,
				     cmd->flags & VB_SCHEDULE_CYCLE ? VB_FETCH_F_CYCLE : 0);
}

int vgpu_loop_schedule(struct loop_client *c, void *arg)
{
	struct vb_ioc_schedule *cmd = arg;
	struct vb_range *ranges = NULL;
	int rc;

	if (cmd->count > VB_SCHEDULE_MAX)
		return -EINVAL;
	if (cmd->count && !cmd->ranges_address)
		return -EFAULT;
	if (cmd->count) {
		ranges = malloc(cmd->count * sizeof(*ranges));
		if (!ranges)
			return -ENOMEM;
		memcpy(ranges, (const void *)(uintptr_t)cmd->ranges_address,
		       cmd->count * sizeof(*ranges));
	}
	pthread_mutex_lock(&c->loop->lock);
	rc = schedule_locked(c, ranges, cmd);
	pthread_mutex_unlock(&c->loop->lock);
	if (rc)
		free(ranges);
	return rc;
}

/* ---- close ---- */

static void close_queues_locked(struct loop_client *c)
{
	struct loop_queue *q;
	u32 i = 0;

	while ((q = vgpu_loop_ids_next(&c->queues, &i))) {
		vgpu_loop_queue_cancel_locked(q);
		vgpu_loop_queue_put_locked(q);
	}
	vgpu_loop_ids_free(&c->queues);
}

static void close_bos_locked(struct loop_client *c)
{
	struct loop_object *o, *next;
	u32 i = 0;

	while ((o = vgpu_loop_ids_next(&c->bos, &i)))
		vgpu_loop_object_put_locked(o);
	vgpu_loop_ids_free(&c->bos);
	/* Mappings outlive their handles. */
	for (o = TAILQ_FIRST(&c->loop->object_list); o; o = next) {
		next = TAILQ_NEXT(o, link);
		if (o->client == c)
			vgpu_loop_mappings_drop_locked(o);
	}
}

void vgpu_loop_close_client(struct vgpu_uapi *u)
{
	struct loop_client *c = (struct loop_client *)u;
	struct vgpu_loop *loop = c->loop;

	pthread_mutex_lock(&loop->lock);
	close_queues_locked(c);
	if (c->scheduled && vgpu_loop_is_live(loop))
		schedule_queue_locked(c, NULL, 0, 0);
	close_bos_locked(c);
	TAILQ_REMOVE(&loop->clients, c, link);
	vb_quota_leave(&loop->quota, &c->quota);
	vgpu_loop_client_put_locked(c);
	vgpu_loop_kick_locked(loop, false);
	pthread_mutex_unlock(&loop->lock);
	vgpu_loop_put(loop);
}

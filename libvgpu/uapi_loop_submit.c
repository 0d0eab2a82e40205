// SPDX-License-Identifier: MIT
#include "uapi_loop.h"

#include <stdlib.h>

#include "core/cmd.h"
#include "core/submit_check.h"

/* One block: the structure, fences, objects, BO list, stream. */
static struct loop_submission *submission_alloc(const struct vb_ioc_submit *cmd)
{
	size_t fences = cmd->fence_count * sizeof(struct loop_dependent);
	size_t objects = cmd->bo_count * sizeof(struct loop_object *);
	size_t bos = cmd->bo_count * sizeof(struct vb_exec_bo);
	struct loop_submission *s;
	char *p;

	s = malloc(sizeof(*s) + fences + objects + bos + cmd->stream_bytes);
	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s) + fences);
	p = (char *)(s + 1);
	s->fences = (struct loop_dependent *)p;
	s->objects = (struct loop_object **)(p + fences);
	s->bos = (struct vb_exec_bo *)(p + fences + objects);
	s->stream = p + fences + objects + bos;
	s->fetched.submission = s;
	s->stream_bytes = cmd->stream_bytes;
	s->deadline_ns = cmd->deadline_ns;
	return s;
}

static void object_drop_locked(struct loop_object *o, u32 access)
{
	if (access & VB_ACCESS_WRITE)
		o->writers--;
	vgpu_loop_object_put_locked(o);
}

void vgpu_loop_submission_free_locked(struct loop_submission *s)
{
	struct loop_queue *q = s->queue;

	for (u32 i = 0; i < s->bo_count; i++)
		object_drop_locked(s->objects[i], s->bos[i].access);
	for (u32 i = 0; i < s->fence_count; i++)
		if (s->fences[i].queue)
			TAILQ_REMOVE(&s->fences[i].queue->dependents, &s->fences[i], link);
	if (s->tag)
		vgpu_loop_ids_remove(&q->client->loop->tags, s->tag);
	if (s->seqno) {
		vb_quota_sub(&q->client->quota, VB_USE_SUBMISSIONS, 1);
		q->client->loop->deadlines -= s->deadline_ns != 0;
	}
	free(s);
	vgpu_loop_queue_put_locked(q);
}

/* ---- steps of a submission, each undone by vgpu_loop_submission_free_locked() ---- */

/*
 * All that the client gave, before it can change or make us wait: the stream, the BO
 * list (with the client's ids until add_bos_locked() translates them), the fences.
 */
static int copy_in(struct loop_submission *s, const struct vb_ioc_submit *cmd,
		   struct vb_fence *fences)
{
	const struct vb_bo_ref *refs = (const void *)(uintptr_t)cmd->bos_address;
	struct vb_cmd_error error;

	memcpy(s->stream, (const void *)(uintptr_t)cmd->stream_address, cmd->stream_bytes);
	for (u32 i = 0; i < cmd->bo_count; i++)
		s->bos[i] = (struct vb_exec_bo){ .object = refs[i].bo_id, .access = refs[i].access };
	if (cmd->fence_count)
		memcpy(fences, (const void *)(uintptr_t)cmd->fences_address,
		       cmd->fence_count * sizeof(*fences));
	return vb_stream_check_header(s->stream, s->stream_bytes, &error) ? -EINVAL : 0;
}

static int add_bo_locked(struct loop_submission *s, struct vb_exec_bo *bo, u64 mark)
{
	struct loop_object *o;

	if (vb_submit_check_access(bo->access))
		return -EINVAL;
	o = vgpu_loop_ids_find(&s->queue->client->bos, bo->object);
	if (!o)
		return -ENOENT;
	if (o->mark == mark)
		return -EINVAL;
	if (bo->access & VB_ACCESS_WRITE && o->traits.sealed)
		return -EROFS;
	o->mark = mark;
	o->refs++;
	o->writers += (bo->access & VB_ACCESS_WRITE) != 0;
	o->shown = true;
	bo->object = o->id;
	s->objects[s->bo_count++] = o;
	return 0;
}

static int add_bos_locked(struct loop_submission *s, u32 count)
{
	u64 mark = ++s->queue->client->loop->clock;
	int rc = 0;

	for (u32 i = 0; !rc && i < count; i++)
		rc = add_bo_locked(s, &s->bos[i], mark);
	return rc;
}

/* The next file, from object *i on, that this submission did not look at yet. */
static struct loop_object *next_file_locked(struct loop_submission *s, u32 *i, u64 mark)
{
	while (*i < s->bo_count) {
		struct loop_object *o = s->objects[(*i)++];

		if (o->file && o->file->mark != mark) {
			o->file->mark = mark;
			return o;
		}
	}
	return NULL;
}

/* Has a file changed?  Lets go of the lock while it is asked; @s keeps the objects. */
static int check_files_locked(struct loop_submission *s)
{
	struct vgpu_loop *loop = s->queue->client->loop;
	u64 mark = loop->clock;
	struct loop_object *o;
	u32 i = 0;
	int rc = 0;

	while (!rc && (o = next_file_locked(s, &i, mark))) {
		pthread_mutex_unlock(&loop->lock);
		rc = vgpu_loop_file_check(o->file);
		pthread_mutex_lock(&loop->lock);
		if (rc == -ESTALE)
			o->flags |= VB_BO_STALE;
	}
	return rc;
}

/* Room for two panels is what a command needs to make progress. */
static int check_share_locked(struct loop_client *c)
{
	u64 host = vgpu_loop_host_bytes_locked(c->loop);
	u64 limit = vb_quota_least(&c->quota, VB_LIMIT_HOST_MAX);

	return (host < limit ? host : limit) < 2 * c->loop->panel_bytes ? -ENOSPC : 0;
}

static int check_room_locked(struct loop_submission *s)
{
	struct loop_client *c = s->queue->client;
	int rc;

	if (!vgpu_loop_is_live(c->loop))
		return -ENODEV;
	if (s->queue->destroyed)
		return -ENOENT;
	rc = s->bo_count ? check_share_locked(c) : 0;
	return rc ? rc : vgpu_loop_queue_reserve_locked(s->queue);
}

static int add_fence_locked(struct loop_submission *s, const struct vb_fence *fence)
{
	struct loop_queue *q = vgpu_loop_ids_find(&s->queue->client->queues, fence->queue_id);
	struct loop_dependent *d = &s->fences[s->fence_count];
	struct loop_result r;
	int rc;

	if (!q)
		return -ENOENT;
	if (fence->__reserved || !fence->seqno || fence->seqno > q->submitted)
		return -EINVAL;
	d->submission = s;
	d->seqno = fence->seqno;
	s->fence_count++;
	if (!vgpu_loop_queue_is_over_locked(q, fence->seqno)) {
		d->queue = q;
		s->unmet++;
		TAILQ_INSERT_TAIL(&q->dependents, d, link);
		return 0;
	}
	rc = vgpu_loop_queue_result_locked(q, fence->seqno, &r);
	if (!rc && r.status && !s->in_status)
		s->in_status = r.status;
	return rc;
}

static int add_fences_locked(struct loop_submission *s, const struct vb_fence *fences, u32 count)
{
	int rc = 0;

	for (u32 i = 0; !rc && i < count; i++)
		rc = add_fence_locked(s, &fences[i]);
	return rc;
}

static void publish_locked(struct loop_submission *s)
{
	struct loop_queue *q = s->queue;

	s->seqno = ++q->submitted;
	q->client->loop->deadlines += s->deadline_ns != 0;
	vgpu_loop_count_locked(q->client, VB_COUNT_SUBMITS, 1);
	TAILQ_INSERT_TAIL(&q->pending, s, link);
	q->pending_count++;
	/* Who sleeps for work also watches the deadlines, and must learn of this one. */
	if (s->deadline_ns && q->client->loop->fetchers)
		pthread_cond_broadcast(&q->client->loop->fetch_cond);
	vgpu_loop_queue_advance_locked(q);
}

static int submit_locked(struct loop_submission *s, const struct vb_ioc_submit *cmd,
			 const struct vb_fence *fences)
{
	int rc;

	rc = add_bos_locked(s, cmd->bo_count);
	if (rc)
		return rc;
	rc = check_files_locked(s);
	if (rc)
		return rc;
	rc = check_room_locked(s);
	if (rc)
		return rc;
	rc = add_fences_locked(s, fences, cmd->fence_count);
	return rc ? rc : vb_quota_charge(&s->queue->client->quota, VB_USE_SUBMISSIONS, 1);
}

int vgpu_loop_submit(struct loop_client *c, void *arg)
{
	struct vb_ioc_submit *cmd = arg;
	struct vb_fence fences[VB_SUBMIT_FENCES_MAX];
	struct vgpu_loop *loop = c->loop;
	struct loop_submission *s;
	int rc;

	rc = vb_submit_check(cmd);
	if (rc)
		return rc;
	s = submission_alloc(cmd);
	if (!s)
		return -ENOMEM;
	rc = copy_in(s, cmd, fences);
	if (rc) {
		free(s);
		return rc;
	}
	pthread_mutex_lock(&loop->lock);
	s->queue = vgpu_loop_queue_get_locked(c, cmd->queue_id);
	if (!s->queue) {
		pthread_mutex_unlock(&loop->lock);
		free(s);
		return -ENOENT;
	}
	rc = submit_locked(s, cmd, fences);
	if (rc) {
		vgpu_loop_submission_free_locked(s);
	} else {
		cmd->out_seqno = s->queue->submitted + 1;
		publish_locked(s);
		vgpu_loop_kick_locked(loop, !(cmd->flags & VB_SUBMIT_ASYNC));
	}
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

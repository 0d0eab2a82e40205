// SPDX-License-Identifier: MIT
/*
 * The executor node.  A tag carries the generation of the executor it was given to
 * in its upper half: what a dead executor still sends is told from what a living
 * one invents.
 */
#include "uapi_loop.h"

#include <fcntl.h>
#include <stdlib.h>

#include "clock.h"

#define REQUESTS_IN_ROW	8u	/* while a submission is ready */
#define ERRNO_LAST	511	/* those beyond never leave a kernel: -ERESTARTSYS is one */

static u64 tag_of(const struct vgpu_loop *loop, u32 id)
{
	return (u64)loop->generation << 32 | id;
}

/* Return: what the tag names; NULL with *rc -ESTALE or -ENOENT. */
static struct loop_fetched *fetched_find(const struct vgpu_loop *loop, u64 tag, int *rc)
{
	struct loop_fetched *f = NULL;

	*rc = -ESTALE;
	if (tag >> 32 == loop->generation) {
		f = vgpu_loop_ids_find(&loop->tags, (u32)tag);
		*rc = f ? 0 : -ENOENT;
	}
	return f;
}

int vgpu_loop_attach(struct loop_exec *x, void *arg)
{
	struct vb_ioc_exec_attach *cmd = arg;
	struct vgpu_loop *loop = x->loop;
	int rc = 0;

	pthread_mutex_lock(&loop->lock);
	if (x->attached) {
		rc = -EBUSY;
	} else {
		x->attached = true;
		loop->exec_state = VB_EXEC_LIVE;
		loop->staging_bytes = cmd->staging_bytes;
		loop->panel_bytes = cmd->panel_bytes;
		cmd->out_generation = ++loop->generation;
		cmd->out_state = VB_EXEC_LIVE;
		cmd->out_lingering = 0;
	}
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

/* ---- fetch ---- */

static int fetch_request_locked(struct vgpu_loop *loop, struct vb_ioc_fetch *cmd)
{
	struct loop_request *r = vgpu_loop_request_next_locked(loop);
	int rc;

	rc = vgpu_loop_ids_add(&loop->tags, &r->fetched, &r->tag);
	if (rc)
		return rc;
	vb_line_serve(&loop->requests);
	if (r->client->schedule == r)
		r->client->schedule = NULL;
	loop->requests_in_row++;
	cmd->flags = r->flags;
	cmd->out_tag = tag_of(loop, r->tag);
	cmd->out_type = r->type;
	cmd->out_client = r->client->number;
	cmd->out_deadline_ns = r->deadline_ns;
	cmd->out_object = r->object ? r->object->id : 0;
	cmd->out_chunk = r->first;
	cmd->out_count = r->count;
	cmd->out_bos_address = (u64)(uintptr_t)r->ranges;
	cmd->out_numa_node = -1;
	return 0;
}

static void describe_submission(const struct loop_submission *s, struct vb_ioc_fetch *cmd)
{
	const struct loop_queue *q = s->queue;

	cmd->out_type = VB_FETCH_SUBMIT;
	cmd->out_client = q->client->number;
	cmd->out_queue = q->number;
	cmd->out_weight = q->share.member.weight;
	cmd->out_seqno = s->seqno;
	cmd->out_deadline_ns = s->deadline_ns;
	cmd->out_stream_address = (u64)(uintptr_t)s->stream;
	cmd->out_stream_bytes = s->stream_bytes;
	cmd->out_bo_count = s->bo_count;
	cmd->out_bos_address = (u64)(uintptr_t)s->bos;
	cmd->out_numa_node = -1;
}

static int fetch_submission_locked(struct vgpu_loop *loop, struct vb_ioc_fetch *cmd)
{
	struct loop_submission *s = vgpu_loop_queue_next_locked(loop);
	int rc;

	rc = vgpu_loop_ids_add(&loop->tags, &s->fetched, &s->tag);
	if (rc)
		return rc;
	vgpu_loop_queue_start_locked(s);
	loop->requests_in_row = 0;
	s->fetched_ns = vgpu_now_ns();
	cmd->flags = 0;
	cmd->out_tag = tag_of(loop, s->tag);
	describe_submission(s, cmd);
	return 0;
}

/* Submissions of others go before it when its client has had more executor time. */
static bool request_is_next(struct vgpu_loop *loop, u32 flags)
{
	const struct loop_request *r = vgpu_loop_request_next_locked(loop);

	return r && (flags & VB_FETCH_F_URGENT || vb_share_is_idle(&loop->shares) ||
		     (loop->requests_in_row < REQUESTS_IN_ROW &&
		      !vb_share_is_ahead(&loop->shares, &r->client->share)));
}

static bool has_work_for(const struct vgpu_loop *loop, u32 flags)
{
	return flags & VB_FETCH_F_URGENT ? !vb_line_is_empty(&loop->requests) :
					   vgpu_loop_has_work_locked(loop);
}

static int fetch_wait_locked(struct vgpu_loop *loop, u32 flags)
{
	for (;;) {
		u64 expiry;

		if (loop->shutdown)
			return -ESHUTDOWN;
		expiry = vgpu_loop_expire_locked(loop);
		if (has_work_for(loop, flags))
			return 0;
		if (flags & VB_FETCH_F_NOWAIT)
			return -EAGAIN;
		loop->fetchers++;
		vgpu_loop_sleep_locked(loop, &loop->fetch_cond, expiry);
		loop->fetchers--;
	}
}

int vgpu_loop_fetch(struct loop_exec *x, void *arg)
{
	struct vb_ioc_fetch *cmd = arg;
	struct vgpu_loop *loop = x->loop;
	u32 flags = cmd->flags, size = cmd->size;
	int rc;

	pthread_mutex_lock(&loop->lock);
	rc = fetch_wait_locked(loop, flags);
	if (!rc) {
		memset(cmd, 0, sizeof(*cmd));
		cmd->size = size;
		rc = request_is_next(loop, flags) ? fetch_request_locked(loop, cmd) :
					     fetch_submission_locked(loop, cmd);
	}
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

/* ---- commit ---- */

/* Do all results of durable objects lie where they outlive the executor? */
static bool is_durable_locked(const struct loop_submission *s)
{
	for (u32 i = 0; i < s->bo_count; i++) {
		const struct loop_object *o = s->objects[i];

		if (s->bos[i].access & VB_ACCESS_WRITE && o->traits.life == VB_LIFE_DURABLE &&
		    o->device_only)
			return false;
	}
	return true;
}

static int commit_submission_locked(struct loop_submission *s, const struct vb_ioc_commit *cmd)
{
	u64 wall = vgpu_now_ns() - s->fetched_ns;
	int status = s->queue->destroyed ? -ECANCELED : cmd->status;

	if (!status && !is_durable_locked(s))
		return -EBUSY;
	vgpu_loop_complete_locked(s, status, cmd->bad_command,
				  cmd->busy_ns < wall ? cmd->busy_ns : wall);
	return 0;
}

static int commit_forget_locked(struct vgpu_loop *loop, struct loop_request *r)
{
	struct loop_object *o = r->object;

	if (o->moves)
		return -EBUSY;
	vgpu_loop_request_done_locked(loop, r, 0);
	vgpu_loop_object_free_locked(o);
	return 0;
}

static int commit_locked(struct vgpu_loop *loop, const struct vb_ioc_commit *cmd)
{
	struct loop_fetched *f;
	int rc;

	if (cmd->status > 0 || cmd->status < -ERRNO_LAST)
		return -EINVAL;
	if (cmd->generation != loop->generation)
		return -ESTALE;
	f = fetched_find(loop, cmd->tag, &rc);
	if (!f)
		return rc;
	if (f->submission)
		return commit_submission_locked(f->submission, cmd);
	if (f->request->type == VB_FETCH_FORGET)
		return commit_forget_locked(loop, f->request);
	vb_share_charge(&loop->shares, &f->request->client->share, cmd->busy_ns);
	vgpu_loop_request_done_locked(loop, f->request, cmd->status);
	return 0;
}

int vgpu_loop_commit(struct loop_exec *x, void *arg)
{
	struct vgpu_loop *loop = x->loop;
	int rc;

	pthread_mutex_lock(&loop->lock);
	rc = commit_locked(loop, arg);
	/* What became ready by it may be run by another thread meanwhile. */
	vgpu_loop_kick_locked(loop, false);
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

static u32 cancel_of(const struct loop_fetched *f)
{
	u64 deadline_ns = f->submission ? f->submission->deadline_ns : f->request->deadline_ns;

	if (f->submission && f->submission->queue->destroyed)
		return VB_CANCEL_CLIENT;
	if (f->request && f->request->expired)
		return VB_CANCEL_DEADLINE;
	return deadline_ns && deadline_ns <= vgpu_now_ns() ? VB_CANCEL_DEADLINE : VB_CANCEL_NONE;
}

int vgpu_loop_poll_cancel(struct loop_exec *x, void *arg)
{
	struct vb_ioc_poll_cancel *cmd = arg;
	struct loop_fetched *f;
	int rc;

	pthread_mutex_lock(&x->loop->lock);
	f = fetched_find(x->loop, cmd->tag, &rc);
	if (f)
		cmd->out_cancel = cancel_of(f);
	pthread_mutex_unlock(&x->loop->lock);
	return rc;
}

/* ---- objects, counters ---- */

static void describe_object_locked(const struct loop_object *o, struct vb_ioc_object_open *cmd)
{
	cmd->out_kind = o->traits.kind;
	cmd->out_life = o->traits.life;
	cmd->out_flags = o->flags;
	cmd->out_client = o->client->number;
	cmd->out_bytes = o->bytes;
	cmd->out_file_offset = o->file_offset;
	cmd->out_file_bytes = o->file_bytes;
	cmd->out_head_bytes = o->head_bytes;
	cmd->out_chunks = o->chunks;
	cmd->out_transform = o->transform;
	cmd->out_table_address = (u64)(uintptr_t)o->table;
	cmd->out_table_mmap = 0;
}

/* Lets go of the lock while the file is asked; @o is counted by the caller. */
static int object_fd_locked(struct loop_object *o, s32 *out)
{
	pthread_mutex_t *lock = &o->client->loop->lock;
	int rc;

	*out = -1;
	if (!o->file)
		return 0;
	pthread_mutex_unlock(lock);
	rc = vgpu_loop_file_check(o->file);
	pthread_mutex_lock(lock);
	if (rc == -ESTALE)
		o->flags |= VB_BO_STALE;
	if (rc)
		return rc;
	*out = fcntl(o->file->fd, F_DUPFD_CLOEXEC, 0);
	return *out < 0 ? -errno : 0;
}

int vgpu_loop_object_open(struct loop_exec *x, void *arg)
{
	struct vb_ioc_object_open *cmd = arg;
	struct vgpu_loop *loop = x->loop;
	struct loop_object *o;
	int rc = -ESTALE;

	pthread_mutex_lock(&loop->lock);
	o = vgpu_loop_ids_find(&loop->objects, cmd->object);
	if (o && !o->gone) {
		o->refs++;
		o->shown = true;
		rc = object_fd_locked(o, &cmd->out_fd);
		describe_object_locked(o, cmd);
		vgpu_loop_object_put_locked(o);
	}
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

static struct loop_client *client_find_locked(struct vgpu_loop *loop, u32 number)
{
	struct loop_client *c;

	TAILQ_FOREACH(c, &loop->clients, link)
		if (c->number == number)
			return c;
	return NULL;
}

/* These the device counts itself. */
static bool is_own_counter(u32 i)
{
	return i == VB_COUNT_SUBMITS || i == VB_COUNT_ERRORS || i == VB_COUNT_BUSY_NS;
}

int vgpu_loop_exec_stats(struct loop_exec *x, void *arg)
{
	struct vb_ioc_exec_stats *cmd = arg;
	const u64 *add = (const u64 *)(uintptr_t)cmd->address;
	struct vgpu_loop *loop = x->loop;
	struct loop_client *c;

	if (cmd->count > VB_COUNT_COUNT)
		return -EINVAL;
	if (cmd->count && !add)
		return -EFAULT;
	pthread_mutex_lock(&loop->lock);
	/* A client that is gone by now is no error: the device counts on. */
	c = cmd->client ? client_find_locked(loop, cmd->client) : NULL;
	for (u32 i = 0; i < cmd->count; i++) {
		if (is_own_counter(i))
			continue;
		loop->counters[i] += add[i];
		if (c)
			c->counters[i] += add[i];
	}
	pthread_mutex_unlock(&loop->lock);
	return 0;
}

/* ---- the executor leaves ---- */

static void fail_queue_locked(struct loop_queue *q, bool running)
{
	struct loop_submission *s;

	q->refs++;
	if (running && q->running)
		vgpu_loop_complete_locked(q->running, q->destroyed ? -ECANCELED : -ENODEV, ~0u, 0);
	while (!q->running && (s = TAILQ_FIRST(&q->pending)))
		vgpu_loop_complete_locked(s, -ENODEV, ~0u, 0);
	vgpu_loop_queue_put_locked(q);
}

static void fail_requests_locked(struct vgpu_loop *loop, bool running)
{
	struct loop_fetched *f;
	struct loop_request *r;
	u32 i = 0;

	while ((r = vgpu_loop_request_next_locked(loop))) {
		vb_line_remove(&loop->requests, &r->place);
		vgpu_loop_request_done_locked(loop, r, -ENODEV);
	}
	while (running && (f = vgpu_loop_ids_next(&loop->tags, &i)))
		vgpu_loop_request_done_locked(loop, f->request, -ENODEV);
}

void vgpu_loop_fail_locked(struct vgpu_loop *loop, bool running)
{
	struct loop_queue *q, *next;

	for (q = TAILQ_FIRST(&loop->queue_list); q; q = next) {
		q->refs++;
		fail_queue_locked(q, running);
		next = TAILQ_NEXT(q, link);
		vgpu_loop_queue_put_locked(q);
	}
	fail_requests_locked(loop, running);
}

/* Its memory leaves with it: what was only there is lost. */
static void lose_objects_locked(struct vgpu_loop *loop)
{
	struct loop_object *o, *next;

	for (o = TAILQ_FIRST(&loop->object_list); o; o = next) {
		next = TAILQ_NEXT(o, link);
		vgpu_loop_chunks_lose_locked(o);
		if (o->gone)
			vgpu_loop_object_free_locked(o);
	}
}

static void detach_locked(struct vgpu_loop *loop)
{
	loop->exec_state = VB_EXEC_FAILED;
	/* Moves end first: what fails below may hold the last reference to their object. */
	lose_objects_locked(loop);
	vgpu_loop_fail_locked(loop, true);
	vgpu_loop_arenas_drop_locked(loop);
	loop->staging_bytes = 0;
	loop->panel_bytes = 0;
	pthread_cond_broadcast(&loop->moved_cond);
}

void vgpu_loop_close_exec(struct vgpu_uapi *u)
{
	struct loop_exec *x = (struct loop_exec *)u;
	struct vgpu_loop *loop = x->loop;

	pthread_mutex_lock(&loop->lock);
	if (x->attached)
		detach_locked(loop);
	loop->exec = NULL;
	pthread_mutex_unlock(&loop->lock);
	free(x);
	vgpu_loop_put(loop);
}

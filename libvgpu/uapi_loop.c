// SPDX-License-Identifier: MIT
#include "uapi_loop.h"

#include <stdlib.h>

#include "clock.h"

int vgpu_loop_sleep_locked(struct vgpu_loop *loop, pthread_cond_t *cond, u64 deadline_ns)
{
	/* A deadline that never comes must still fit time_t. */
	u64 at = deadline_ns < (1ull << 62) ? deadline_ns : 1ull << 62;
	struct timespec t = {
		.tv_sec = (time_t)(at / 1000000000u),
		.tv_nsec = (long)(at % 1000000000u),
	};

	return pthread_cond_timedwait(cond, &loop->lock, &t) == ETIMEDOUT ? -ETIME : 0;
}

static bool serve_locked(struct vgpu_loop *loop)
{
	bool (*serve)(void *arg) = loop->serve;
	void *arg = loop->serve_arg;
	bool did;

	loop->serving++;
	pthread_mutex_unlock(&loop->lock);
	did = serve(arg);
	pthread_mutex_lock(&loop->lock);
	if (!--loop->serving)
		pthread_cond_broadcast(&loop->served_cond);
	return did;
}

bool vgpu_loop_kick_locked(struct vgpu_loop *loop, bool may_serve)
{
	bool did = false;

	if (may_serve && loop->serve && vgpu_loop_has_work_locked(loop))
		did = serve_locked(loop);
	if (loop->fetchers && vgpu_loop_has_work_locked(loop))
		pthread_cond_broadcast(&loop->fetch_cond);
	return did;
}

static u32 chunk_shift(u32 chunk_bytes)
{
	return (u32)__builtin_ctz(chunk_bytes);
}

/* No limit but on submissions in flight. */
static void quota_init(struct vb_quota *q, u64 submissions)
{
	u64 limits[VB_QUOTA_LIMITS];

	memset(limits, 0xff, sizeof(limits));
	limits[VB_LIMIT_SUBMISSIONS] = submissions;
	vb_quota_init(q, limits);
}

int vgpu_loop_create(uint32_t chunk_bytes, struct vgpu_loop **out)
{
	struct vgpu_loop *loop;

	if (chunk_bytes < VB_CHUNK_BYTES_MIN || chunk_bytes > VB_CHUNK_BYTES_MAX ||
	    chunk_bytes & (chunk_bytes - 1))
		return -EINVAL;
	loop = calloc(1, sizeof(*loop));
	if (!loop)
		return -ENOMEM;
	pthread_mutex_init(&loop->lock, NULL);
	vgpu_cond_init(&loop->fetch_cond);
	vgpu_cond_init(&loop->moved_cond);
	vgpu_cond_init(&loop->served_cond);
	vgpu_cond_init(&loop->freed_cond);
	TAILQ_INIT(&loop->clients);
	TAILQ_INIT(&loop->object_list);
	TAILQ_INIT(&loop->queue_list);
	TAILQ_INIT(&loop->advance);
	quota_init(&loop->user, VB_QUOTA_NONE);
	loop->refs = 1;
	loop->chunk_bytes = chunk_bytes;
	loop->chunk_shift = chunk_shift(chunk_bytes);
	*out = loop;
	return 0;
}

static void loop_free(struct vgpu_loop *loop)
{
	vgpu_loop_arenas_drop_locked(loop);
	vgpu_loop_ids_free(&loop->objects);
	vgpu_loop_ids_free(&loop->tags);
	pthread_cond_destroy(&loop->fetch_cond);
	pthread_cond_destroy(&loop->moved_cond);
	pthread_cond_destroy(&loop->served_cond);
	pthread_cond_destroy(&loop->freed_cond);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

void vgpu_loop_put(struct vgpu_loop *loop)
{
	bool last;

	if (!loop)
		return;
	pthread_mutex_lock(&loop->lock);
	last = !--loop->refs;
	pthread_mutex_unlock(&loop->lock);
	if (last)
		loop_free(loop);
}

static const struct vgpu_uapi_ops client_ops = {
	.name = "loopback",
	.call = vgpu_loop_call_client,
	.close = vgpu_loop_close_client,
};

static const struct vgpu_uapi_ops exec_ops = {
	.name = "loopback",
	.call = vgpu_loop_call_exec,
	.close = vgpu_loop_close_exec,
};

int vgpu_loop_open_client(struct vgpu_loop *loop, struct vgpu_uapi **out)
{
	struct loop_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->uapi.ops = &client_ops;
	c->loop = loop;
	c->refs = 1;
	TAILQ_INIT(&c->files);
	quota_init(&c->quota, LOOP_SUBMISSIONS);
	c->share.member.weight = VB_QUEUE_WEIGHT_DEFAULT;
	pthread_mutex_lock(&loop->lock);
	loop->refs++;
	vb_quota_join(&loop->quota, &c->quota, &loop->user);
	c->number = ++loop->next_client;
	TAILQ_INSERT_TAIL(&loop->clients, c, link);
	pthread_mutex_unlock(&loop->lock);
	*out = &c->uapi;
	return 0;
}

int vgpu_loop_open_exec(struct vgpu_loop *loop, struct vgpu_uapi **out)
{
	struct loop_exec *x = calloc(1, sizeof(*x));
	int rc = 0;

	if (!x)
		return -ENOMEM;
	x->uapi.ops = &exec_ops;
	x->loop = loop;
	pthread_mutex_lock(&loop->lock);
	if (loop->exec)
		rc = -EBUSY;
	else
		loop->exec = x;
	loop->refs += !rc;
	pthread_mutex_unlock(&loop->lock);
	if (rc)
		free(x);
	else
		*out = &x->uapi;
	return rc;
}

void vgpu_loop_set_server(struct vgpu_loop *loop, bool (*serve)(void *arg), void *arg)
{
	pthread_mutex_lock(&loop->lock);
	loop->serve = serve;
	loop->serve_arg = arg;
	/* Nobody is left inside the hook that was: its owner may be freed. */
	while (loop->serving)
		pthread_cond_wait(&loop->served_cond, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
}

void vgpu_loop_shutdown(struct vgpu_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->shutdown = true;
	vgpu_loop_fail_locked(loop, false);
	pthread_cond_broadcast(&loop->fetch_cond);
	pthread_cond_broadcast(&loop->moved_cond);
	pthread_cond_broadcast(&loop->freed_cond);
	pthread_mutex_unlock(&loop->lock);
}

// SPDX-License-Identifier: MIT
/*
 * What clients ask of the executor beside submissions.  Requests of a client are handed
 * out in the order in which they came, and those of several in turn (core/line.h).
 */
#include "uapi_loop.h"

#include <stdlib.h>

#include "clock.h"

u64 vgpu_loop_bound(u64 deadline_ns)
{
	return deadline_ns ? deadline_ns : vgpu_now_ns() + LOOP_WAIT_NS;
}

struct loop_request *vgpu_loop_request_new_locked(u32 type, struct loop_client *c,
						  struct loop_object *o)
{
	struct loop_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	vgpu_cond_init(&r->cond);
	r->type = type;
	r->fetched.request = r;
	r->client = c;
	c->refs++;
	r->object = o;
	if (o && type != VB_FETCH_FORGET) {
		o->refs++;
		o->shown = true;
	}
	return r;
}

void vgpu_loop_request_free_locked(struct loop_request *r)
{
	if (r->object && r->type != VB_FETCH_FORGET)
		vgpu_loop_object_put_locked(r->object);
	if (r->flags & VB_FETCH_F_ASYNC && r->object)
		r->client->hints--;
	if (r->client->schedule == r)
		r->client->schedule = NULL;
	vgpu_loop_client_put_locked(r->client);
	pthread_cond_destroy(&r->cond);
	free(r->ranges);
	free(r);
}

void vgpu_loop_request_queue_locked(struct vgpu_loop *loop, struct loop_request *r)
{
	vb_line_add(&loop->requests, &r->client->line, &r->place);
	if (loop->fetchers && !r->waited)
		pthread_cond_broadcast(&loop->fetch_cond);
}

struct loop_request *vgpu_loop_request_next_locked(struct vgpu_loop *loop)
{
	struct vb_line_place *first = vb_line_first(&loop->requests);

	return first ? container_of(first, struct loop_request, place) : NULL;
}

void vgpu_loop_request_done_locked(struct vgpu_loop *loop, struct loop_request *r, int status)
{
	if (r->tag)
		vgpu_loop_ids_remove(&loop->tags, r->tag);
	r->tag = 0;
	if (!r->waited || r->expired) {
		vgpu_loop_request_free_locked(r);
		return;
	}
	if (!status && r->finish)
		status = r->finish(r);
	r->status = status;
	atomic_store_explicit(&r->done, true, memory_order_release);
	pthread_cond_signal(&r->cond);
}

static bool is_done(struct loop_request *r)
{
	return atomic_load_explicit(&r->done, memory_order_acquire);
}

static void spin_for(struct vgpu_loop *loop, struct loop_request *r)
{
	u64 until;

	pthread_mutex_unlock(&loop->lock);
	until = vgpu_now_ns() + LOOP_SPIN_NS;
	while (!is_done(r) && vgpu_now_ns() < until)
		__builtin_ia32_pause();
	pthread_mutex_lock(&loop->lock);
}

/* The waiter leaves: a request that runs is freed by its commit. */
static void request_abandon_locked(struct vgpu_loop *loop, struct loop_request *r)
{
	if (r->tag) {
		r->expired = true;
		return;
	}
	vb_line_remove(&loop->requests, &r->place);
	vgpu_loop_request_free_locked(r);
}

int vgpu_loop_request_wait_locked(struct vgpu_loop *loop, struct loop_request *r,
				  u64 deadline_ns)
{
	bool served = true;
	int rc;

	if (!vgpu_loop_is_live(loop)) {
		vgpu_loop_request_free_locked(r);
		return -ENODEV;
	}
	r->waited = true;
	r->deadline_ns = deadline_ns;
	vgpu_loop_request_queue_locked(loop, r);
	while (served && !is_done(r) && vgpu_now_ns() < deadline_ns)
		served = vgpu_loop_kick_locked(loop, true);
	if (!is_done(r))
		spin_for(loop, r);
	for (rc = 0; !is_done(r) && !rc; )
		rc = vgpu_loop_sleep_locked(loop, &r->cond, deadline_ns);
	if (!is_done(r)) {
		request_abandon_locked(loop, r);
		return -ETIME;
	}
	rc = r->status;
	vgpu_loop_request_free_locked(r);
	return rc;
}

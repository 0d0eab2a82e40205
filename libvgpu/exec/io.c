// SPDX-License-Identifier: MIT
/*
 * What is the same for every I/O engine: choosing one, and the life of a request.
 *
 *	submit -> pending -> flight -> done -> reaped
 *
 * A request in flight makes one attempt after the other (io_attempt.c). One whose next attempt
 * finds no room in the engine goes back from flight to pending.
 *
 * Deadlines ascend in flight and in pending, so only the heads are looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec/io_engine.h"

#define BOUNCE_DEFAULT	(256u << 10)
#define PAGE_BYTES	4096u

enum req_state {
	REQ_PENDING = 1,
	REQ_FLIGHT,
	REQ_DONE,
};

static const struct vgpu_io_ops *const engines[] = {
	&vgpu_io_uring_ops,
	&vgpu_io_threads_ops,
	&vgpu_io_buffered_ops,
	&vgpu_io_test_ops,
};

/* Time of the deadlines: a test may let it pass faster. */
static uint64_t io_now(const struct vgpu_io *io)
{
	return vgpu_now_ns() + io->ahead_ns;
}

/* Lists -------------------------------------------------------------------------------- */

static void list_append(struct vgpu_io_list *list, struct vgpu_io_req *req)
{
	req->next = NULL;
	req->engine.prev = list->tail;
	if (list->tail)
		list->tail->next = req;
	else
		list->head = req;
	list->tail = req;
	list->count++;
}

/* Before one that is in the list. */
static void list_insert(struct vgpu_io_list *list, struct vgpu_io_req *before,
			struct vgpu_io_req *req)
{
	req->next = before;
	req->engine.prev = before->engine.prev;
	if (req->engine.prev)
		req->engine.prev->next = req;
	else
		list->head = req;
	before->engine.prev = req;
	list->count++;
}

static void list_remove(struct vgpu_io_list *list, struct vgpu_io_req *req)
{
	if (req->engine.prev)
		req->engine.prev->next = req->next;
	else
		list->head = req->next;
	if (req->next)
		req->next->engine.prev = req->engine.prev;
	else
		list->tail = req->engine.prev;
	list->count--;
}

/* Requests ----------------------------------------------------------------------------- */

static int req_check(const struct vgpu_io *io, const struct vgpu_io_req *req)
{
	const struct vgpu_io_file *file = vgpu_io_file_find(io, req->file);
	bool write = req->flags & VGPU_IO_WRITE;

	if (!file || (req->flags & ~VGPU_IO_WRITE))
		return -EINVAL;
	if (req->offset > INT64_MAX || req->bytes > INT64_MAX - req->offset)
		return -EINVAL;
	if (req->buf_index >= 0 && !vgpu_io_region_holds(io, req))
		return -EINVAL;
	if (file->access != O_RDWR && file->access != (write ? O_WRONLY : O_RDONLY))
		return -EBADF;
	if (!vgpu_io_req_aligned(req, file) &&
	    (write || !io->bounce_count || file->align > PAGE_BYTES))
		return -EINVAL;
	return 0;
}

static void req_users(struct vgpu_io *io, const struct vgpu_io_req *req, int32_t change)
{
	io->files[req->file]->users += change;
	if (req->buf_index >= 0)
		io->regions[req->buf_index].users += change;
}

static void req_publish(struct vgpu_io *io, struct vgpu_io_req *req, int32_t result)
{
	req->result = result;
	req->engine.state = REQ_DONE;
	io->stats.requests++;
	if (result < 0)
		io->stats.errors++;
	list_append(&io->done, req);
}

void vgpu_io_req_finish(struct vgpu_io *io, struct vgpu_io_req *req, int32_t result)
{
	struct vgpu_io_list *from = req->engine.state == REQ_FLIGHT ? &io->flight : &io->pending;

	if (req->engine.bounce)
		io->bounce[io->bounce_free++] = req->engine.bounce;
	if (req->late && req->engine.state == REQ_FLIGHT)
		io->stats.overdue--;
	io->aside -= req->engine.aside;
	io->progress_ns = io_now(io);
	list_remove(from, req);
	req_users(io, req, -1);
	req_publish(io, req, result);
}

/* It is started before @next, which is pending or NULL, and gives up waiting no later. */
static void pending_insert(struct vgpu_io *io, struct vgpu_io_req *next, struct vgpu_io_req *req)
{
	req->engine.state = REQ_PENDING;
	if (!next) {
		list_append(&io->pending, req);
		return;
	}
	if (next->engine.deadline_ns < req->engine.deadline_ns)
		req->engine.deadline_ns = next->engine.deadline_ns;
	list_insert(&io->pending, next, req);
}

void vgpu_io_req_put_back(struct vgpu_io *io, struct vgpu_io_req *req)
{
	io->aside -= req->engine.aside;
	req->engine.aside = false;
	list_remove(&io->flight, req);
	pending_insert(io, io->pending.head, req);
}

/* Start what there is room for. In order, so that a request cannot starve. */
static void pump(struct vgpu_io *io)
{
	struct vgpu_io_req *req;

	while (io->flight.count - io->aside < io->depth && io->pending.head) {
		req = io->pending.head;
		if (!vgpu_io_attempt_begin(io, req))
			break;
		list_remove(&io->pending, req);
		list_append(&io->flight, req);
		req->engine.state = REQ_FLIGHT;
		req->engine.deadline_ns = io_now(io) + io->timeout_ns;
	}
	if (io->flight.count > io->stats.max_in_flight)
		io->stats.max_in_flight = io->flight.count;
	if (io->unflushed && io->ops->flush)
		io->ops->flush(io);
	io->unflushed = false;
}

/* Deadlines ---------------------------------------------------------------------------- */

static void flight_expire(struct vgpu_io *io, uint64_t now)
{
	struct vgpu_io_req *req;

	for (req = io->flight.head; req && req->engine.deadline_ns <= now; req = req->next) {
		if (req->late)
			continue;
		req->late = true;
		io->stats.timeouts++;
		io->stats.overdue++;
		io->ops->cancel(io, req);
	}
}

/* When the oldest request in the list gives up waiting for room. */
static uint64_t pending_deadline(const struct vgpu_io *io)
{
	uint64_t quiet = io->progress_ns + io->timeout_ns;
	uint64_t own = io->pending.head->engine.deadline_ns;

	return own > quiet ? own : quiet;
}

static void pending_expire(struct vgpu_io *io, uint64_t now)
{
	uint64_t progress_ns = io->progress_ns;
	struct vgpu_io_req *req;

	while (io->pending.head && pending_deadline(io) <= now) {
		req = io->pending.head;
		req->late = true;
		io->stats.timeouts++;
		vgpu_io_req_finish(io, req, -ETIMEDOUT);
		/* Giving up is no progress. */
		io->progress_ns = progress_ns;
	}
}

static uint64_t next_deadline(const struct vgpu_io *io)
{
	uint64_t at = UINT64_MAX;
	struct vgpu_io_req *req = io->flight.head;

	while (req && req->late)
		req = req->next;
	if (req)
		at = req->engine.deadline_ns;
	if (io->pending.head && pending_deadline(io) < at)
		at = pending_deadline(io);
	return at;
}

uint32_t vgpu_io_overdue(struct vgpu_io *io, struct vgpu_io_req **out, uint32_t max)
{
	uint64_t now = io_now(io);
	struct vgpu_io_req *req;
	uint32_t n = 0;

	flight_expire(io, now);
	for (req = io->flight.head; req && n < max; req = req->next)
		if (req->late)
			out[n++] = req;
	return io->stats.overdue;
}

/* Submit, reap, cancel ----------------------------------------------------------------- */

static void submit_one(struct vgpu_io *io, struct vgpu_io_req *req)
{
	int rc = req_check(io, req);

	req->late = false;
	req->result = 0;
	req->done_bytes = 0;
	memset(&req->engine, 0, sizeof(req->engine));
	if (rc || !req->bytes) {
		req_publish(io, req, rc);
		return;
	}
	req->engine.state = REQ_PENDING;
	req->engine.deadline_ns = io_now(io) + io->timeout_ns;
	req_users(io, req, 1);
	list_append(&io->pending, req);
}

void vgpu_io_submit(struct vgpu_io *io, struct vgpu_io_req *list)
{
	struct vgpu_io_req *next;

	for (; list; list = next) {
		next = list->next;
		submit_one(io, list);
	}
	pump(io);
}

static int reap_once(struct vgpu_io *io, int64_t wait_ns)
{
	uint64_t now = io_now(io);
	int rc = 0;

	if (io->flight.count)
		rc = io->ops->reap(io, wait_ns);
	if (wait_ns)
		now = io_now(io);
	flight_expire(io, now);
	pending_expire(io, now);
	pump(io);
	return rc;
}

static int64_t reap_wait_ns(const struct vgpu_io *io, uint64_t until)
{
	uint64_t now = io_now(io);
	uint64_t at = next_deadline(io);

	if (until < at)
		at = until;
	if (at <= now)
		return 0;
	/* Waking once a second costs nothing and keeps every sum below overflow. */
	return at - now < 1000000000u ? (int64_t)(at - now) : 1000000000;
}

static uint32_t take_done(struct vgpu_io *io, uint32_t max, struct vgpu_io_req **out)
{
	struct vgpu_io_req *req;
	struct vgpu_io_req **link = out;
	uint32_t n;

	for (n = 0; n < max && io->done.head; n++) {
		req = io->done.head;
		list_remove(&io->done, req);
		if (req->flags & VGPU_IO_WRITE)
			io->stats.write_bytes += req->done_bytes;
		else
			io->stats.read_bytes += req->done_bytes;
		*link = req;
		link = &req->next;
	}
	*link = NULL;
	return n;
}

int vgpu_io_reap(struct vgpu_io *io, uint32_t min, uint32_t max, int64_t timeout_ns,
		 struct vgpu_io_req **out)
{
	uint64_t until = timeout_ns < 0 ? UINT64_MAX : io_now(io) + (uint64_t)timeout_ns;
	int rc;

	*out = NULL;
	if (!max || min > max || max > INT32_MAX)
		return -EINVAL;

	rc = reap_once(io, 0);
	while (!rc && io->done.count < min && (io->flight.count || io->pending.count) &&
	       io_now(io) < until)
		rc = reap_once(io, reap_wait_ns(io, until));
	if (rc)
		return rc;
	return (int)take_done(io, max, out);
}

void vgpu_io_cancel(struct vgpu_io *io, struct vgpu_io_req *req)
{
	if (req->engine.state == REQ_PENDING) {
		vgpu_io_req_finish(io, req, -ECANCELED);
	} else if (req->engine.state == REQ_FLIGHT) {
		req->engine.cancelled = true;
		io->ops->cancel(io, req);
	}
}

void vgpu_io_hurry(struct vgpu_io *io, struct vgpu_io_req *req)
{
	struct vgpu_io_req *next;

	if (req->engine.state != REQ_PENDING || req->engine.hurried)
		return;
	list_remove(&io->pending, req);
	req->engine.hurried = true;
	for (next = io->pending.head; next && next->engine.hurried; next = next->next)
		;
	pending_insert(io, next, req);
}

void vgpu_io_set_aside(struct vgpu_io *io, struct vgpu_io_req *req)
{
	if (req->engine.state != REQ_FLIGHT || req->engine.aside ||
	    (io->ops->set_aside && !io->ops->set_aside(io)))
		return;
	req->engine.aside = true;
	io->aside++;
	pump(io);
}

/* Reports ------------------------------------------------------------------------------ */

void vgpu_io_reason_update(struct vgpu_io *io)
{
	pthread_mutex_lock(&io->reason_lock);
	snprintf(io->reason_out, sizeof(io->reason_out), "%s%s%s", io->reason,
		 io->degraded[0] ? "; " : "", io->degraded);
	pthread_mutex_unlock(&io->reason_lock);
}

const char *vgpu_io_engine_name(const struct vgpu_io *io)
{
	return io->ops->name;
}

int vgpu_io_engine_reason(struct vgpu_io *io, char *text, size_t len)
{
	int n;

	pthread_mutex_lock(&io->reason_lock);
	n = snprintf(text, len, "%s", io->reason_out);
	pthread_mutex_unlock(&io->reason_lock);
	return n;
}

void vgpu_io_stats_get(const struct vgpu_io *io, struct vgpu_io_stats *out)
{
	*out = io->stats;
	out->in_flight = io->flight.count;
	out->queued = io->pending.count;
}

/* Open and close ----------------------------------------------------------------------- */

static const struct vgpu_io_ops *engine_find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return NULL;
}

static int engine_open(struct vgpu_io *io, const struct vgpu_io_ops *ops,
		       const struct vgpu_io_params *params)
{
	io->ops = ops;
	io->depth = params->depth ? params->depth : ops->depth;
	io->degraded[0] = 0;
	return ops->open(io, params);
}

/* uring where it is allowed, else threads, saying why. */
static int engine_open_auto(struct vgpu_io *io, const struct vgpu_io_params *params)
{
	char why[VGPU_IO_REASON_BYTES];
	int rc;

	rc = engine_open(io, &vgpu_io_uring_ops, params);
	if (!rc)
		return 0;
	memcpy(why, io->reason, sizeof(why));
	rc = engine_open(io, &vgpu_io_threads_ops, params);
	snprintf(io->reason, sizeof(io->reason), "%.127s; so a pool of %u threads", why, io->depth);
	return rc;
}

static int bounce_open(struct vgpu_io *io, const struct vgpu_io_params *params)
{
	uint64_t bytes = params->bounce_bytes ? params->bounce_bytes : BOUNCE_DEFAULT;
	uint32_t i;

	if (!params->bounce_buffers)
		return 0;
	bytes = (bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
	io->bounce = calloc(params->bounce_buffers, sizeof(*io->bounce));
	/* Pages come into being when they are first read into. */
	io->bounce_memory = aligned_alloc(PAGE_BYTES, bytes * params->bounce_buffers);
	if (!io->bounce || !io->bounce_memory)
		return -ENOMEM;
	for (i = 0; i < params->bounce_buffers; i++)
		io->bounce[i] = (char *)io->bounce_memory + i * bytes;
	io->bounce_bytes = (uint32_t)bytes;
	io->bounce_count = params->bounce_buffers;
	io->bounce_free = params->bounce_buffers;
	return 0;
}

static int params_check(const struct vgpu_io_params *params)
{
	if (params->depth > VGPU_IO_DEPTH_MAX || (params->flags & ~VGPU_IO_ONE_THREAD))
		return -EINVAL;
	if (params->bounce_buffers > VGPU_IO_DEPTH_MAX || params->bounce_bytes > (64u << 20))
		return -EINVAL;
	if (params->engine && strcmp(params->engine, "auto") && !engine_find(params->engine))
		return -EINVAL;
	return 0;
}

static void io_free(struct vgpu_io *io)
{
	free(io->bounce);
	free(io->bounce_memory);
	free(io->files);
	free(io->regions);
	pthread_mutex_destroy(&io->reason_lock);
	free(io);
}

static struct vgpu_io *io_alloc(const struct vgpu_io_params *params)
{
	struct vgpu_io *io = calloc(1, sizeof(*io));

	if (!io)
		return NULL;
	pthread_mutex_init(&io->reason_lock, NULL);
	io->flags = params->flags;
	io->timeout_ns = (params->timeout_ms ? params->timeout_ms : VGPU_IO_TIMEOUT_MS) *
			 UINT64_C(1000000);
	io->progress_ns = io_now(io);
	io->files = calloc(VGPU_IO_FILES_MAX, sizeof(*io->files));
	io->regions = calloc(VGPU_IO_REGIONS_MAX, sizeof(*io->regions));
	if (!io->files || !io->regions || bounce_open(io, params)) {
		io_free(io);
		return NULL;
	}
	return io;
}

int vgpu_io_open(const struct vgpu_io_params *params, struct vgpu_io **out)
{
	static const struct vgpu_io_params defaults;
	struct vgpu_io *io;
	int rc;

	if (!params)
		params = &defaults;
	rc = params_check(params);
	if (rc)
		return rc;
	io = io_alloc(params);
	if (!io)
		return -ENOMEM;

	if (!params->engine || !strcmp(params->engine, "auto"))
		rc = engine_open_auto(io, params);
	else
		rc = engine_open(io, engine_find(params->engine), params);
	if (rc) {
		io_free(io);
		return rc;
	}
	vgpu_io_reason_update(io);
	*out = io;
	return 0;
}

/*
 * Engines that could not be freed because the kernel still holds their requests. Never walked:
 * it keeps the memory reachable, so that a leak checker and a debugger see it is on purpose.
 */
static struct vgpu_io *_Atomic abandoned;

static uint32_t io_abandon(struct vgpu_io *io)
{
	if (io->ops->abandon)
		io->ops->abandon(io);
	io->abandoned_next = atomic_load(&abandoned);
	while (!atomic_compare_exchange_weak(&abandoned, &io->abandoned_next, io))
		;
	return io->flight.count;
}

static void close_drain(struct vgpu_io *io)
{
	uint64_t until = io_now(io) + io->timeout_ns;
	struct vgpu_io_req *req, *next;

	while (io->pending.head)
		vgpu_io_req_finish(io, io->pending.head, -ECANCELED);
	for (req = io->flight.head; req; req = next) {
		next = req->next;
		vgpu_io_cancel(io, req);
	}
	while (io->flight.count && io_now(io) < until)
		if (io->ops->reap(io, reap_wait_ns(io, until)))
			break;
}

uint32_t vgpu_io_close(struct vgpu_io *io)
{
	uint32_t i;

	if (!io)
		return 0;
	close_drain(io);
	if (io->flight.count)
		return io_abandon(io);

	for (i = 0; i < VGPU_IO_REGIONS_MAX; i++)
		if (io->regions[i].addr)
			vgpu_io_region_forget(io, i);
	for (i = 0; i < VGPU_IO_FILES_MAX; i++)
		if (io->files[i])
			vgpu_io_file_forget(io, i);
	io->ops->close(io);
	io_free(io);
	return 0;
}

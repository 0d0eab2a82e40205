// SPDX-License-Identifier: MIT
/*
 * What is the same for every I/O engine: choosing one, files and regions, and the life of a
 * request.
 *
 *	submit -> pending -> flight -> done -> reaped
 *
 * One whose next attempt finds no room in the engine goes back from flight to pending.
 * A request in flight makes one attempt after the other until it is complete, the file ends, it
 * fails for good or it is cancelled. An attempt is what the file can take at once: aligned for
 * O_DIRECT, so a request that is not aligned alternates between a bounce buffer (its ragged ends,
 * or all of it when memory and file are not congruent) and its own memory.
 *
 * Deadlines ascend in flight and in pending, so only the heads are looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/io_engine.h"

/* Attempts without progress (EINTR, EAGAIN, short to nothing) before a request fails. */
#define RETRIES_MAX	16
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

static uint32_t file_mask(const struct vgpu_io_file *file)
{
	return file->align - 1;
}

static bool req_aligned(const struct vgpu_io_req *req, const struct vgpu_io_file *file)
{
	return !((req->offset | req->bytes | (uintptr_t)req->buf) & file_mask(file));
}

static struct vgpu_io_file *file_find(const struct vgpu_io *io, uint32_t file)
{
	return file < VGPU_IO_FILES_MAX ? io->files[file] : NULL;
}

static bool region_holds(const struct vgpu_io *io, const struct vgpu_io_req *req)
{
	const struct vgpu_io_region *region;
	uintptr_t first;

	if (req->buf_index < 0 || (uint32_t)req->buf_index >= VGPU_IO_REGIONS_MAX)
		return false;
	region = &io->regions[req->buf_index];
	first = (uintptr_t)req->buf - (uintptr_t)region->addr;
	return region->addr && first <= region->bytes && req->bytes <= region->bytes - first;
}

static int req_check(const struct vgpu_io *io, const struct vgpu_io_req *req)
{
	const struct vgpu_io_file *file = file_find(io, req->file);
	bool write = req->flags & VGPU_IO_WRITE;

	if (!file || (req->flags & ~VGPU_IO_WRITE))
		return -EINVAL;
	if (req->offset > INT64_MAX || req->bytes > INT64_MAX - req->offset)
		return -EINVAL;
	if (req->buf_index >= 0 && !region_holds(io, req))
		return -EINVAL;
	if (file->access != O_RDWR && file->access != (write ? O_WRONLY : O_RDONLY))
		return -EBADF;
	if (!req_aligned(req, file) &&
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

static void req_finish(struct vgpu_io *io, struct vgpu_io_req *req, int32_t result)
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

/* Where the next attempt of an unaligned read goes: [*offset, *offset + *bytes) of the file. */
static void attempt_bounce(const struct vgpu_io *io, struct vgpu_io_attempt *at, uint32_t mask)
{
	const struct vgpu_io_req *req = at->req;
	uint64_t first = req->offset + req->done_bytes;
	uint64_t end = req->offset + req->bytes;
	uintptr_t mem = (uintptr_t)req->buf + req->done_bytes;

	at->offset = first & ~(uint64_t)mask;
	/* Congruent: one block gets us to where memory and file are both aligned. */
	if ((first & mask) && !((first ^ mem) & mask) && end > at->offset + mask + 1)
		end = at->offset + mask + 1;
	if (end - at->offset > io->bounce_bytes)
		end = at->offset + io->bounce_bytes;
	at->bytes = (uint32_t)(((end - at->offset) + mask) & ~(uint64_t)mask);
	at->buf = req->engine.bounce;
	at->region = -1;
}

/* Through the page cache to the next byte that O_DIRECT can go on from. */
static void attempt_exact(const struct vgpu_io_file *file, struct vgpu_io_attempt *at)
{
	uint32_t bytes = file->align - (uint32_t)(at->offset & file_mask(file));

	if (at->bytes > bytes)
		at->bytes = bytes;
	at->fd = file->fd;
	at->direct = false;
	at->region = -1;
}

static void attempt_fill(const struct vgpu_io *io, struct vgpu_io_req *req,
			 struct vgpu_io_attempt *at)
{
	const struct vgpu_io_file *file = io->files[req->file];
	uint64_t left = req->bytes - req->done_bytes;
	uint32_t mask = file_mask(file);

	*at = (struct vgpu_io_attempt){
		.req = req,
		.file = req->file,
		.fd = file->direct ? file->direct_fd : file->fd,
		.direct = file->direct,
		.write = req->flags & VGPU_IO_WRITE,
		.offset = req->offset + req->done_bytes,
		.buf = (char *)req->buf + req->done_bytes,
		.region = req->buf_index,
	};
	if (left > VGPU_IO_ATTEMPT_MAX)
		left = VGPU_IO_ATTEMPT_MAX;
	at->bytes = (uint32_t)left;
	if (req->engine.exact)
		attempt_exact(file, at);
	else if (((at->offset | (uintptr_t)at->buf) & mask) || left <= mask)
		attempt_bounce(io, at, mask);
	else
		at->bytes &= ~mask;
}

/* Return: false when the engine has no room for it. */
static bool attempt_start(struct vgpu_io *io, struct vgpu_io_req *req)
{
	struct vgpu_io_attempt at;

	attempt_fill(io, req, &at);
	if (io->ops->has_room && !io->ops->has_room(io, &at))
		return false;
	req->engine.attempt_offset = at.offset;
	req->engine.attempt_bytes = at.bytes;
	req->engine.bouncing = at.buf == req->engine.bounce;
	req->engine.was_direct = at.direct;
	req->engine.exact = false;
	io->ops->start(io, &at);
	io->unflushed = true;
	return true;
}

/* A bounce buffer, if it needs one and has none; false: none is free. */
static bool req_take_bounce(struct vgpu_io *io, struct vgpu_io_req *req)
{
	if (req->engine.bounce || req_aligned(req, io->files[req->file]))
		return true;
	if (!io->bounce_free)
		return false;
	req->engine.bounce = io->bounce[--io->bounce_free];
	io->stats.bounced++;
	return true;
}

/* Start what there is room for. In order, so that a request cannot starve. */
static void pump(struct vgpu_io *io)
{
	struct vgpu_io_req *req;

	while (io->flight.count - io->aside < io->depth && io->pending.head) {
		req = io->pending.head;
		if (!req_take_bounce(io, req) || !attempt_start(io, req))
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

/* The request cannot go on because somebody wanted it to stop; who? */
static int32_t cancel_result(const struct vgpu_io_req *req)
{
	return req->late ? -ETIMEDOUT : -ECANCELED;
}

/* Block devices and servers of file systems have words of their own for it, as the kernel has. */
static int32_t plain_error(int32_t res)
{
	switch (res) {
	case -ENODATA:		/* medium */
	case -EREMOTEIO:	/* target */
	case -ENOLINK:		/* transport */
	case -EILSEQ:		/* integrity */
	case -EBADE:		/* reservation */
	case -ENODEV:		/* the device is gone */
	case -ENXIO:
	case -ENOTCONN:		/* the server is gone */
	case -ECONNABORTED:
	case -ECANCELED:	/* by the kernel: nobody who waits asked for that */
		return -EIO;
	default:
		return res;
	}
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

/* Its next attempt finds no room: it is the first of those that wait for some. */
static void req_put_back(struct vgpu_io *io, struct vgpu_io_req *req)
{
	io->aside -= req->engine.aside;
	req->engine.aside = false;
	list_remove(&io->flight, req);
	pending_insert(io, io->pending.head, req);
}

static void attempt_again(struct vgpu_io *io, struct vgpu_io_req *req, int32_t res)
{
	if (req->engine.cancelled || req->late) {
		req_finish(io, req, cancel_result(req));
		return;
	}
	if (req->engine.retries++ >= RETRIES_MAX) {
		req_finish(io, req, res ? plain_error(res) : -EIO);
		return;
	}
	if (!attempt_start(io, req))
		req_put_back(io, req);
}

static void attempt_failed(struct vgpu_io *io, struct vgpu_io_req *req, int32_t res)
{
	struct vgpu_io_file *file = io->files[req->file];
	bool again = res == -EINTR || res == -EAGAIN;

	if (res == -ECANCELED && (req->engine.cancelled || req->late)) {
		req_finish(io, req, cancel_result(req));
		return;
	}
	/*
	 * The kernel also cancels when the thread that submitted has exited, or when it has no
	 * memory for a thread that would wait: not our request.
	 */
	again |= res == -ECANCELED;
	if (res == -EINVAL && vgpu_io_file_demote(file)) {
		if (io->ops->file_change)
			io->ops->file_change(io, req->file);
		again = true;
	} else if (res == -EINVAL && req->engine.was_direct && !file->direct) {
		again = true;
	}
	if (!again) {
		req_finish(io, req, plain_error(res));
		return;
	}
	io->stats.retries++;
	attempt_again(io, req, res);
}

/* Bytes of the request that @res bytes of the attempt are; copies them if they bounced. */
static uint64_t attempt_gain(struct vgpu_io_req *req, uint32_t res)
{
	uint64_t skip = req->offset + req->done_bytes - req->engine.attempt_offset;
	uint64_t left = req->bytes - req->done_bytes;
	uint64_t gain;

	if (!req->engine.bouncing)
		return res;
	gain = res > skip ? res - skip : 0;
	if (gain > left)
		gain = left;
	memcpy((char *)req->buf + req->done_bytes, (char *)req->engine.bounce + skip, gain);
	return gain;
}

/*
 * After a short attempt. Only a read that returns nothing proves the end of a file: cached sizes
 * are stale when somebody truncates it, and FUSE shrinks them after any short answer. O_DIRECT can
 * only go on from an aligned byte, so a read looks behind the last byte through the page cache; a
 * file that is open for O_DIRECT alone ends where a block is answered in part.
 */
static void attempt_short(struct vgpu_io *io, struct vgpu_io_req *req, int32_t res, uint64_t gain)
{
	const struct vgpu_io_file *file = io->files[req->file];
	uint64_t ragged = (req->offset + req->done_bytes) & file_mask(file);
	bool write = req->flags & VGPU_IO_WRITE;

	if (!write && (!res || (ragged && gain <= ragged && file->fd < 0))) {
		req_finish(io, req, 0);
		return;
	}
	io->stats.short_transfers++;
	req->engine.exact = !write && ragged && file->direct && file->fd >= 0;
	if (write || (ragged && !req->engine.exact && !req->engine.bouncing)) {
		req->done_bytes -= ragged;
		gain = gain > ragged ? gain - ragged : 0;
	}
	if (gain)
		req->engine.retries = 0;
	attempt_again(io, req, 0);
}

static void attempt_moved(struct vgpu_io *io, struct vgpu_io_req *req, int32_t res)
{
	bool write = req->flags & VGPU_IO_WRITE;
	uint64_t gain = attempt_gain(req, (uint32_t)res);

	req->done_bytes += gain;
	if (!write)
		io->stats.device_read_bytes += (uint32_t)res;
	if (req->done_bytes == req->bytes) {
		req_finish(io, req, 0);
	} else if ((uint32_t)res < req->engine.attempt_bytes) {
		attempt_short(io, req, res, gain);
	} else {
		req->engine.retries = 0;
		attempt_again(io, req, 0);
	}
}

void vgpu_io_attempt_done(struct vgpu_io *io, struct vgpu_io_req *req, int32_t res)
{
	if (res < 0)
		attempt_failed(io, req, res);
	else
		attempt_moved(io, req, res);
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
		req_finish(io, req, -ETIMEDOUT);
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
		req_finish(io, req, -ECANCELED);
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

/* Files -------------------------------------------------------------------------------- */

/* @file is the engine's from here on, unless this fails. */
static int file_enter(struct vgpu_io *io, struct vgpu_io_file *file, uint32_t *out_file)
{
	uint32_t i = 0;
	int rc;

	while (i < VGPU_IO_FILES_MAX && io->files[i])
		i++;
	if (i == VGPU_IO_FILES_MAX)
		return -ENOSPC;
	io->files[i] = file;
	rc = io->ops->file_add ? io->ops->file_add(io, i) : 0;
	if (rc)
		io->files[i] = NULL;
	else
		*out_file = i;
	return rc;
}

int vgpu_io_file_add(struct vgpu_io *io, int fd, uint32_t flags, uint32_t *out_file)
{
	struct vgpu_io_file *file;
	int rc;

	if (flags & ~VGPU_IO_FILE_BUFFERED)
		return -EINVAL;
	file = malloc(sizeof(*file));
	if (!file)
		return -ENOMEM;
	rc = vgpu_io_file_open(file, fd, io->ops->buffered || (flags & VGPU_IO_FILE_BUFFERED));
	if (rc)
		goto err_free;
	rc = file_enter(io, file, out_file);
	if (rc)
		goto err_close;
	return 0;

err_close:
	vgpu_io_file_close(file);
err_free:
	free(file);
	return rc;
}

int vgpu_io_file_lend(struct vgpu_io *io, const struct vgpu_io_file *file, uint32_t *out_file)
{
	struct vgpu_io_file *lent;
	int rc;

	if (io->ops->buffered && file->fd < 0)
		return -EBADF;
	lent = malloc(sizeof(*lent));
	if (!lent)
		return -ENOMEM;
	*lent = *file;
	lent->lent = true;
	if (io->ops->buffered)
		vgpu_io_file_buffer(lent);
	rc = file_enter(io, lent, out_file);
	if (rc)
		free(lent);
	return rc;
}

static void file_forget(struct vgpu_io *io, uint32_t file)
{
	if (io->ops->file_remove)
		io->ops->file_remove(io, file);
	if (io->files[file]->lent)
		vgpu_io_file_drop(io->files[file]);
	else
		vgpu_io_file_close(io->files[file]);
	free(io->files[file]);
	io->files[file] = NULL;
}

int vgpu_io_file_remove(struct vgpu_io *io, uint32_t file)
{
	const struct vgpu_io_file *f = file_find(io, file);

	if (!f)
		return -EINVAL;
	if (f->users)
		return -EBUSY;
	file_forget(io, file);
	return 0;
}

uint32_t vgpu_io_file_align(const struct vgpu_io *io, uint32_t file)
{
	const struct vgpu_io_file *f = file_find(io, file);

	return f ? f->align : 0;
}

int vgpu_io_file_get(const struct vgpu_io *io, uint32_t file, struct vgpu_io_file_info *out)
{
	const struct vgpu_io_file *f = file_find(io, file);

	if (!f)
		return -EINVAL;
	out->direct = f->direct;
	out->align = f->align;
	memcpy(out->reason, f->reason, sizeof(out->reason));
	return 0;
}

void vgpu_io_reason_update(struct vgpu_io *io)
{
	pthread_mutex_lock(&io->reason_lock);
	snprintf(io->reason_out, sizeof(io->reason_out), "%s%s%s", io->reason,
		 io->degraded[0] ? "; " : "", io->degraded);
	pthread_mutex_unlock(&io->reason_lock);
}

/* Regions ------------------------------------------------------------------------------ */

int vgpu_io_region_add(struct vgpu_io *io, void *addr, uint64_t bytes, int32_t *out_index)
{
	uint32_t i = 0;

	if (!addr || !bytes || (((uintptr_t)addr | bytes) & (PAGE_BYTES - 1)) ||
	    bytes > UINTPTR_MAX - (uintptr_t)addr)
		return -EINVAL;
	while (i < VGPU_IO_REGIONS_MAX && io->regions[i].addr)
		i++;
	if (i == VGPU_IO_REGIONS_MAX)
		return -ENOSPC;

	io->regions[i] = (struct vgpu_io_region){ .addr = addr, .bytes = bytes };
	if (io->ops->region_add)
		io->ops->region_add(io, i);
	vgpu_io_reason_update(io);
	*out_index = (int32_t)i;
	return 0;
}

void vgpu_io_region_register(struct vgpu_io *io, int32_t index)
{
	if (index < 0 || (uint32_t)index >= VGPU_IO_REGIONS_MAX || !io->regions[index].addr ||
	    !io->ops->region_register)
		return;
	io->ops->region_register(io, (uint32_t)index);
	vgpu_io_reason_update(io);
}

static void region_forget(struct vgpu_io *io, uint32_t index)
{
	if (io->ops->region_remove)
		io->ops->region_remove(io, index);
	io->regions[index].addr = NULL;
}

int vgpu_io_region_remove(struct vgpu_io *io, int32_t index)
{
	if (index < 0 || (uint32_t)index >= VGPU_IO_REGIONS_MAX || !io->regions[index].addr)
		return -EINVAL;
	if (io->regions[index].users)
		return -EBUSY;
	region_forget(io, (uint32_t)index);
	return 0;
}

/* Reports ------------------------------------------------------------------------------ */

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
		req_finish(io, io->pending.head, -ECANCELED);
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
			region_forget(io, i);
	for (i = 0; i < VGPU_IO_FILES_MAX; i++)
		if (io->files[i])
			file_forget(io, i);
	io->ops->close(io);
	io_free(io);
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * The attempts of a request, one after the other, until it is complete, the file ends, it fails for
 * good or it is cancelled: what the next one transfers, and what follows from how it ended.
 *
 * An attempt is what the file can take at once: aligned for O_DIRECT, so a request that is not
 * aligned alternates between a bounce buffer (its ragged ends, or all of it when memory and file
 * are not congruent) and its own memory.
 */
#include <errno.h>
#include <string.h>

#include "exec/io_engine.h"

/* Attempts without progress (EINTR, EAGAIN, short to nothing) before a request fails. */
#define RETRIES_MAX	16
#define EMPTY_MAX	4	/* reads in a row that return nothing: the file ends there */

static uint32_t file_mask(const struct vgpu_io_file *file)
{
	return file->align - 1;
}

bool vgpu_io_req_aligned(const struct vgpu_io_req *req, const struct vgpu_io_file *file)
{
	return !((req->offset | req->bytes | (uintptr_t)req->buf) & file_mask(file));
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
	if (req->engine.bounce || vgpu_io_req_aligned(req, io->files[req->file]))
		return true;
	if (!io->bounce_free)
		return false;
	req->engine.bounce = io->bounce[--io->bounce_free];
	io->stats.bounced++;
	return true;
}

bool vgpu_io_attempt_begin(struct vgpu_io *io, struct vgpu_io_req *req)
{
	return req_take_bounce(io, req) && attempt_start(io, req);
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

static void attempt_again(struct vgpu_io *io, struct vgpu_io_req *req, int32_t res)
{
	if (req->engine.cancelled || req->late) {
		vgpu_io_req_finish(io, req, cancel_result(req));
		return;
	}
	if (req->engine.retries++ >= RETRIES_MAX) {
		vgpu_io_req_finish(io, req, res ? plain_error(res) : -EIO);
		return;
	}
	if (!attempt_start(io, req))
		vgpu_io_req_put_back(io, req);
}

static void attempt_failed(struct vgpu_io *io, struct vgpu_io_req *req, int32_t res)
{
	struct vgpu_io_file *file = io->files[req->file];
	bool again = res == -EINTR || res == -EAGAIN;

	if (res == -ECANCELED && (req->engine.cancelled || req->late)) {
		vgpu_io_req_finish(io, req, cancel_result(req));
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
		vgpu_io_req_finish(io, req, plain_error(res));
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
 * After a short attempt. Only reads that return nothing prove the end of a file: cached sizes
 * are stale when somebody truncates it, and FUSE shrinks them after any short answer. It asks for
 * the size again before a read that goes beyond, and then another read's short answer may come in
 * between: one that returns nothing proves nothing yet. O_DIRECT can only go on from an aligned
 * byte, so a read looks behind the last byte through the page cache; a file that is open for
 * O_DIRECT alone ends where a block is answered in part.
 */
static void attempt_short(struct vgpu_io *io, struct vgpu_io_req *req, int32_t res, uint64_t gain)
{
	const struct vgpu_io_file *file = io->files[req->file];
	uint64_t ragged = (req->offset + req->done_bytes) & file_mask(file);
	bool write = req->flags & VGPU_IO_WRITE;

	if (!write && (res ? ragged && gain <= ragged && file->fd < 0 :
			     ++req->engine.empty == EMPTY_MAX)) {
		vgpu_io_req_finish(io, req, 0);
		return;
	}
	io->stats.short_transfers++;
	req->engine.exact = !write && ragged && file->direct && file->fd >= 0;
	if (write || (ragged && !req->engine.exact && !req->engine.bouncing)) {
		req->done_bytes -= ragged;
		gain = gain > ragged ? gain - ragged : 0;
	}
	if (gain)
		req->engine.retries = req->engine.empty = 0;
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
		vgpu_io_req_finish(io, req, 0);
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

// SPDX-License-Identifier: MIT
/*
 * Engine "uring": io_uring with registered files and, where the memlock limit allows, registered
 * buffers, so that the kernel neither looks a descriptor up nor pins pages a transfer.
 *
 * Everything beyond the plain ring is optional and its absence reported: kernels before 5.19 have
 * no sparse tables, containers forbid the system call, RLIMIT_MEMLOCK is often 64 KiB.
 *
 * Registering brings all pages of a buffer in and pins them: seconds for the default host tier, of
 * which a small program uses a few megabytes. So a region is registered in pieces, each before the
 * first transfer that lies in it; the first at once, so that a refusal is known from the start.
 */
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec/io_engine.h"

#define SLOT_SHIFT	26
#define SLOT_BYTES	(UINT64_C(1) << SLOT_SHIFT)
#define SLOTS		16384u		/* IORING_MAX_REG_BUFFERS of the kernel */

/* Threads of the kernel for transfers that block, a NUMA node. */
#define WORKERS_MAX	256u

/* Commands of a block device that one transfer is made of. */
#define PIECES_MAX	8u

/* user_data of a cancellation; no request has this address. */
#define CANCEL_DATA	1u

/* A slot of the table of registered buffers. */
enum slot_state {
	SLOT_FREE,
	SLOT_TAKEN,		/* by a piece that no transfer met yet */
	SLOT_REGISTERED,
	SLOT_REFUSED,
};

/**
 * struct uring - engine state
 * @ring: PIECES_MAX entries for each of depth transfers, and depth more for cancellations.
 *	Those set aside that go on all at once may still find it full
 * @defer: completions are run only when we enter the kernel
 * @fixed_files: files are registered under their number
 * @fixed_buffers: a table of SLOTS buffers exists
 * @region_bytes: of all regions that have slots
 * @slots: enum slot_state of each
 */
struct uring {
	struct io_uring ring;
	bool defer;
	bool fixed_files;
	bool fixed_buffers;
	uint64_t region_bytes;
	uint8_t slots[SLOTS];
};

/* Open --------------------------------------------------------------------------------- */

static int setting_read(const char *path)
{
	FILE *f = fopen(path, "re");
	int value = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%d", &value) != 1)
		value = -1;
	fclose(f);
	return value;
}

static void limit_print(char *out, size_t size, rlim_t limit)
{
	if (limit == RLIM_INFINITY)
		snprintf(out, size, "unlimited");
	else
		snprintf(out, size, "%llu", (unsigned long long)limit);
}

/* " (why)" where the machine can tell, else "". */
static void hint_refused(char *out, size_t size, int rc)
{
	int disabled = setting_read("/proc/sys/kernel/io_uring_disabled");
	struct rlimit lim;
	char soft[24];

	out[0] = 0;
	if (disabled > 0) {
		snprintf(out, size, " (sysctl kernel.io_uring_disabled=%d)", disabled);
	} else if (rc == -ENOMEM && !getrlimit(RLIMIT_MEMLOCK, &lim)) {
		/* The rings themselves are charged, to all processes of the user together. */
		limit_print(soft, sizeof(soft), lim.rlim_cur);
		snprintf(out, size, " (RLIMIT_MEMLOCK soft limit %s)", soft);
	} else if ((rc == -EPERM || rc == -EACCES || rc == -ENOSYS) &&
		   prctl(PR_GET_SECCOMP) == 2) {
		snprintf(out, size, " (a seccomp filter is active)");
	}
}

static void reason_refused(struct vgpu_io *io, int rc)
{
	char hint[64], why[64];

	hint_refused(hint, sizeof(hint), rc);
	snprintf(io->reason, sizeof(io->reason), "io_uring refused: %s%s",
		 strerror_r(-rc, why, sizeof(why)), hint);
}

/* The kernel refuses flags that it does not know, so ask for less until it agrees. */
static int ring_init(struct uring *u, unsigned int entries, bool one_thread)
{
	static const unsigned int wishes[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
		IORING_SETUP_SUBMIT_ALL,
		0,
	};
	size_t i = one_thread ? 0 : 2;
	int rc;

	do {
		rc = io_uring_queue_init(entries, &u->ring, wishes[i] | IORING_SETUP_R_DISABLED);
		u->defer = wishes[i] & IORING_SETUP_DEFER_TASKRUN;
		i++;
	} while (rc == -EINVAL && i < sizeof(wishes) / sizeof(wishes[0]));
	return rc;
}

static struct io_uring_restriction may_submit(uint8_t op)
{
	return (struct io_uring_restriction){ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = op };
}

static struct io_uring_restriction may_register(uint8_t op)
{
	return (struct io_uring_restriction){
		.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = op,
	};
}

/* liburing 2.3 declares what follows and does not export it. */
static int ring_register(struct io_uring *ring, unsigned int what, void *arg, unsigned int n)
{
	return syscall(SYS_io_uring_register, ring->ring_fd, what, arg, n) < 0 ? -errno : 0;
}

int vgpu_uring_restrict(struct io_uring *ring)
{
	struct io_uring_restriction r[] = {
		may_submit(IORING_OP_READ), may_submit(IORING_OP_WRITE),
		may_submit(IORING_OP_READ_FIXED), may_submit(IORING_OP_WRITE_FIXED),
		may_submit(IORING_OP_ASYNC_CANCEL),
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
		  .sqe_flags = IOSQE_FIXED_FILE | IOSQE_ASYNC },
		may_register(IORING_REGISTER_FILES_UPDATE),
		may_register(IORING_REGISTER_BUFFERS_UPDATE),
	};
	int rc = ring_register(ring, IORING_REGISTER_RESTRICTIONS, r, sizeof(r) / sizeof(r[0]));

	return rc ? rc : ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static void reason_opened(struct vgpu_io *io, const struct uring *u)
{
	snprintf(io->reason, sizeof(io->reason), "io_uring, depth %u%s%s", io->depth,
		 u->fixed_files ? ", registered files" : "",
		 u->fixed_buffers ? ", registered buffers" : "");
}

static int uring_open(struct vgpu_io *io, const struct vgpu_io_params *params)
{
	struct uring *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return -ENOMEM;
	rc = ring_init(u, (PIECES_MAX + 1) * io->depth, params->flags & VGPU_IO_ONE_THREAD);
	if (rc)
		goto err_free;
	/* Waiting with a timeout that is no request of its own: 5.11. */
	if (!(u->ring.features & IORING_FEAT_EXT_ARG)) {
		rc = -EOPNOTSUPP;
		goto err_exit;
	}
	/* Transfers that block have a thread of the kernel each; some may never end. */
	io_uring_register_iowq_max_workers(&u->ring, (unsigned int[]){ WORKERS_MAX, 0 });
	u->fixed_files = !io_uring_register_files_sparse(&u->ring, VGPU_IO_FILES_MAX);
	u->fixed_buffers = !io_uring_register_buffers_sparse(&u->ring, SLOTS);
	rc = vgpu_uring_restrict(&u->ring);
	if (rc)
		goto err_exit;
	io->engine = u;
	reason_opened(io, u);
	return 0;

err_exit:
	io_uring_queue_exit(&u->ring);
err_free:
	free(u);
	reason_refused(io, rc);
	return rc;
}

static void uring_close(struct vgpu_io *io)
{
	struct uring *u = io->engine;

	io_uring_queue_exit(&u->ring);
	free(u);
}

/* Files -------------------------------------------------------------------------------- */

static int file_update(struct uring *u, uint32_t file, int fd)
{
	int rc = io_uring_register_files_update(&u->ring, file, &fd, 1);

	return rc < 0 ? rc : 0;
}

/* The descriptor that is registered under the number of a file. */
static int file_registered(const struct vgpu_io *io, uint32_t file)
{
	const struct vgpu_io_file *f = io->files[file];

	return f->direct ? f->direct_fd : f->fd;
}

static int uring_file_add(struct vgpu_io *io, uint32_t file)
{
	struct uring *u = io->engine;

	return u->fixed_files ? file_update(u, file, file_registered(io, file)) : 0;
}

static void uring_file_change(struct vgpu_io *io, uint32_t file)
{
	uring_file_add(io, file);
}

static void uring_file_remove(struct vgpu_io *io, uint32_t file)
{
	struct uring *u = io->engine;

	if (u->fixed_files)
		file_update(u, file, -1);
}

/* Regions ------------------------------------------------------------------------------ */

static uint32_t piece_count(uint64_t bytes)
{
	return (uint32_t)((bytes + SLOT_BYTES - 1) >> SLOT_SHIFT);
}

/* First of @count free slots in a row, or SLOTS. */
static uint32_t slots_find(const struct uring *u, uint32_t count)
{
	uint32_t first, run = 0;

	for (first = 0; first < SLOTS; first++) {
		run = u->slots[first] == SLOT_FREE ? run + 1 : 0;
		if (run == count)
			return first + 1 - count;
	}
	return SLOTS;
}

static int slot_update(struct uring *u, uint32_t slot, void *addr, uint64_t bytes)
{
	struct iovec iov = { addr, bytes };
	__u64 tag = 0;
	int rc = io_uring_register_buffers_update_tag(&u->ring, slot, &iov, &tag, 1);

	if (rc < 0)
		return rc;
	return rc == 1 ? 0 : -EIO;
}

static void reason_unregistered(struct vgpu_io *io, int rc)
{
	const struct uring *u = io->engine;
	char soft[24], hard[24], why[64];
	struct rlimit lim;

	if (rc != -ENOMEM || getrlimit(RLIMIT_MEMLOCK, &lim)) {
		snprintf(io->degraded, sizeof(io->degraded),
			 "unregistered buffers: %s", strerror_r(-rc, why, sizeof(why)));
	} else {
		limit_print(soft, sizeof(soft), lim.rlim_cur);
		limit_print(hard, sizeof(hard), lim.rlim_max);
		snprintf(io->degraded, sizeof(io->degraded),
			 "unregistered buffers: RLIMIT_MEMLOCK must allow %llu bytes, soft limit %s, "
			 "hard %s", (unsigned long long)u->region_bytes, soft, hard);
	}
	vgpu_io_reason_update(io);
}

/* Register piece @i of a region; it is asked for once, whatever comes of it. */
static void piece_register(struct vgpu_io *io, const struct vgpu_io_region *region, uint32_t i)
{
	uint64_t at = (uint64_t)i << SLOT_SHIFT, bytes = region->bytes - at;
	uint32_t slot = region->first_slot + i;
	struct uring *u = io->engine;
	int rc;

	rc = slot_update(u, slot, (char *)region->addr + at,
			 bytes < SLOT_BYTES ? bytes : SLOT_BYTES);
	u->slots[slot] = rc ? SLOT_REFUSED : SLOT_REGISTERED;
	if (rc)
		reason_unregistered(io, rc);
}

static void uring_region_add(struct vgpu_io *io, uint32_t index)
{
	struct vgpu_io_region *region = &io->regions[index];
	uint32_t count = piece_count(region->bytes);
	struct uring *u = io->engine;
	uint32_t first;

	if (!u->fixed_buffers)
		return;
	first = count <= SLOTS ? slots_find(u, count) : SLOTS;
	if (first == SLOTS) {
		reason_unregistered(io, -ENOSPC);
		return;
	}
	memset(u->slots + first, SLOT_TAKEN, count);
	region->first_slot = first;
	region->slots = count;
	u->region_bytes += region->bytes;
	piece_register(io, region, 0);
}

static void uring_region_register(struct vgpu_io *io, uint32_t index)
{
	struct vgpu_io_region *region = &io->regions[index];
	struct uring *u = io->engine;

	for (uint32_t i = 0; i < region->slots; i++)
		if (u->slots[region->first_slot + i] == SLOT_TAKEN)
			piece_register(io, region, i);
}

static void uring_region_remove(struct vgpu_io *io, uint32_t index)
{
	struct vgpu_io_region *region = &io->regions[index];
	struct uring *u = io->engine;

	if (!region->slots)
		return;
	for (uint32_t i = 0; i < region->slots; i++) {
		if (u->slots[region->first_slot + i] == SLOT_REGISTERED)
			slot_update(u, region->first_slot + i, NULL, 0);
		u->slots[region->first_slot + i] = SLOT_FREE;
	}
	u->region_bytes -= region->bytes;
}

/* Transfers ---------------------------------------------------------------------------- */

/* Registered buffer that holds the whole transfer, or -1. */
static int attempt_slot(struct vgpu_io *io, const struct vgpu_io_attempt *at)
{
	const struct vgpu_io_region *region;
	const struct uring *u = io->engine;
	uint64_t first;
	uint32_t piece;

	if (at->region < 0)
		return -1;
	region = &io->regions[at->region];
	first = (uint64_t)((char *)at->buf - (char *)region->addr);
	if (!region->slots || (first & (SLOT_BYTES - 1)) + at->bytes > SLOT_BYTES)
		return -1;
	piece = (uint32_t)(first >> SLOT_SHIFT);
	if (u->slots[region->first_slot + piece] == SLOT_TAKEN)
		piece_register(io, region, piece);
	return u->slots[region->first_slot + piece] == SLOT_REGISTERED ?
	       (int)(region->first_slot + piece) : -1;
}

static void attempt_prep(struct io_uring_sqe *sqe, const struct vgpu_io_attempt *at, int fd,
			 int slot)
{
	if (at->write && slot >= 0)
		io_uring_prep_write_fixed(sqe, fd, at->buf, at->bytes, at->offset, slot);
	else if (at->write)
		io_uring_prep_write(sqe, fd, at->buf, at->bytes, at->offset);
	else if (slot >= 0)
		io_uring_prep_read_fixed(sqe, fd, at->buf, at->bytes, at->offset, slot);
	else
		io_uring_prep_read(sqe, fd, at->buf, at->bytes, at->offset);
}

static void piece_start(struct vgpu_io *io, const struct vgpu_io_attempt *attempt)
{
	struct uring *u = io->engine;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	bool fixed = u->fixed_files && attempt->fd == file_registered(io, attempt->file);

	attempt_prep(sqe, attempt, fixed ? (int)attempt->file : attempt->fd,
		     attempt_slot(io, attempt));
	if (fixed)
		sqe->flags |= IOSQE_FIXED_FILE;
	/* Before 6.5 io_uring believes of every file without a disk that it does not block. */
	if (io->files[attempt->file]->remote)
		sqe->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data(sqe, attempt->req);
}

/*
 * The kernel makes several commands of a transfer that a block device cannot do in one; but
 * not of one that must not block, as those of a ring are at first: that it gives to a thread,
 * which begins anew.  We make them, and they all begin at once.  0: one will do.
 */
static uint32_t attempt_piece_bytes(struct vgpu_io *io, const struct vgpu_io_attempt *attempt)
{
	uint32_t most = io->files[attempt->file]->command_bytes;
	bool splits = attempt->direct && !attempt->req->engine.whole && most &&
		      attempt->bytes > most && attempt->bytes <= (uint64_t)PIECES_MAX * most;

	return splits ? most : 0;
}

/* Entries for so many requests, handing to the kernel what is in their way; false: it refuses. */
static bool ring_has_room(struct uring *u, uint32_t entries)
{
	if (io_uring_sq_space_left(&u->ring) < entries)
		io_uring_submit(&u->ring);
	return io_uring_sq_space_left(&u->ring) >= entries;
}

static bool uring_has_room(struct vgpu_io *io, const struct vgpu_io_attempt *attempt)
{
	uint32_t bytes = attempt_piece_bytes(io, attempt);

	return ring_has_room(io->engine, bytes ? (attempt->bytes + bytes - 1) / bytes : 1);
}

/* After uring_has_room(). */
static void uring_start(struct vgpu_io *io, const struct vgpu_io_attempt *attempt)
{
	uint32_t bytes = attempt_piece_bytes(io, attempt), left = attempt->bytes;
	struct vgpu_io_attempt piece = *attempt;

	attempt->req->engine.moved = 0;
	attempt->req->engine.pieces = 0;
	attempt->req->engine.split = bytes;
	while (left) {
		piece.bytes = bytes && bytes < left ? bytes : left;
		piece_start(io, &piece);
		attempt->req->engine.pieces++;
		piece.offset += piece.bytes;
		piece.buf = (char *)piece.buf + piece.bytes;
		left -= piece.bytes;
	}
}

/*
 * The last piece that is answered answers for all.  What fell short or failed, and how far it
 * came, one transfer says that is made of no pieces.
 */
static void piece_done(struct vgpu_io *io, struct vgpu_io_req *req, int32_t res)
{
	if (!req->engine.split) {
		vgpu_io_attempt_done(io, req, res);
		return;
	}
	req->engine.moved += res > 0 ? (uint32_t)res : 0;
	if (--req->engine.pieces)
		return;
	req->engine.whole = req->engine.moved < req->engine.attempt_bytes;
	vgpu_io_attempt_done(io, req, req->engine.whole ? -EAGAIN : (int32_t)req->engine.moved);
}

/* What cannot be submitted now (EAGAIN, EBUSY) stays in the ring and goes with the next reap. */
static void uring_flush(struct vgpu_io *io)
{
	struct uring *u = io->engine;

	io_uring_submit(&u->ring);
}

static void uring_cancel(struct vgpu_io *io, struct vgpu_io_req *req)
{
	struct uring *u = io->engine;
	struct io_uring_sqe *sqe;

	if (!ring_has_room(u, 1))
		return;
	sqe = io_uring_get_sqe(&u->ring);
	io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)req,
			       req->engine.pieces > 1 ? IORING_ASYNC_CANCEL_ALL : 0);
	io_uring_sqe_set_data64(sqe, CANCEL_DATA);
	io_uring_submit(&u->ring);
}

/*
 * Completions worth waking up for: one, but of a transfer that is all alone those of all its
 * pieces, which take about the same time.
 */
static unsigned int worth_waking(const struct vgpu_io *io)
{
	const struct vgpu_io_req *req = io->flight.head;

	return io->flight.count == 1 && req->engine.split ? req->engine.pieces : 1;
}

static int uring_enter(struct vgpu_io *io, int64_t timeout_ns)
{
	struct uring *u = io->engine;
	struct __kernel_timespec ts = {
		.tv_sec = timeout_ns / 1000000000,
		.tv_nsec = timeout_ns % 1000000000,
	};
	struct io_uring_cqe *cqe;
	int rc = 0;

	if (timeout_ns && !io_uring_cq_ready(&u->ring))
		rc = io_uring_submit_and_wait_timeout(&u->ring, &cqe, worth_waking(io), &ts, NULL);
	else if (u->defer)
		rc = io_uring_submit_and_get_events(&u->ring);
	else if (io_uring_sq_ready(&u->ring))
		rc = io_uring_submit(&u->ring);
	if (rc == -ETIME || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY)
		return 0;
	return rc < 0 ? rc : 0;
}

static void drop_behind(const struct vgpu_io *io, const struct vgpu_io_req *req)
{
	const struct vgpu_io_attempt at = {
		.fd = io->files[req->file]->fd,
		.write = req->flags & VGPU_IO_WRITE,
		.offset = req->engine.attempt_offset,
		.bytes = req->engine.attempt_bytes,
	};

	vgpu_io_drop_behind(&at);
}

static int uring_reap(struct vgpu_io *io, int64_t timeout_ns)
{
	struct uring *u = io->engine;
	struct io_uring_cqe *cqe;
	struct vgpu_io_req *req;
	uint64_t data;
	int32_t res;
	int rc;

	rc = uring_enter(io, timeout_ns);
	/* Next attempts are begun in here but not submitted while there is room: this ends. */
	while (!io_uring_peek_cqe(&u->ring, &cqe)) {
		data = io_uring_cqe_get_data64(cqe);
		res = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		if (data == CANCEL_DATA)
			continue;
		req = (struct vgpu_io_req *)(uintptr_t)data;
		if (!req->engine.was_direct)
			drop_behind(io, req);
		piece_done(io, req, res);
	}
	return rc;
}

const struct vgpu_io_ops vgpu_io_uring_ops = {
	.name = "uring",
	.depth = 8,
	.open = uring_open,
	.close = uring_close,
	.file_add = uring_file_add,
	.file_change = uring_file_change,
	.file_remove = uring_file_remove,
	.region_add = uring_region_add,
	.region_register = uring_region_register,
	.region_remove = uring_region_remove,
	.has_room = uring_has_room,
	.start = uring_start,
	.flush = uring_flush,
	.reap = uring_reap,
	.cancel = uring_cancel,
};

// SPDX-License-Identifier: MIT
#include "common/ring.h"

#include <errno.h>
#include <string.h>

int ring_open(struct ring *r, struct vgpu_uapi *node, unsigned int entries, unsigned int flags)
{
	r->fd = node->ops->fd(node);
	return io_uring_queue_init(entries, &r->io, IORING_SETUP_SQE128 | flags);
}

void ring_close(struct ring *r)
{
	io_uring_queue_exit(&r->io);
}

static struct io_uring_sqe *sqe_of(struct ring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->io);

	while (!sqe) {
		io_uring_submit(&r->io);
		sqe = io_uring_get_sqe(&r->io);
	}
	return sqe;
}

struct io_uring_sqe *ring_add(struct ring *r, uint32_t op, const void *payload, size_t bytes,
			      uint64_t id)
{
	struct io_uring_sqe *sqe = sqe_of(r);

	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = r->fd;
	sqe->cmd_op = op;
	sqe->user_data = id;
	memcpy(sqe->cmd, payload, bytes);
	return sqe;
}

int ring_submit(struct ring *r)
{
	return io_uring_submit(&r->io);
}

int ring_next(struct ring *r, unsigned int ms, struct ring_answer *out)
{
	struct __kernel_timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000ll };
	struct io_uring_cqe *cqe;
	int rc;

	do {
		rc = io_uring_submit_and_wait_timeout(&r->io, &cqe, 1, &t, NULL);
	} while (rc == -EINTR);
	if (io_uring_peek_cqe(&r->io, &cqe))
		return rc < 0 ? rc : -ETIME;
	out->id = cqe->user_data;
	out->res = cqe->res;
	io_uring_cqe_seen(&r->io, cqe);
	return 0;
}

int ring_call(struct ring *r, uint32_t op, const void *payload, size_t bytes)
{
	struct ring_answer a;
	int rc;

	ring_add(r, op, payload, bytes, 0);
	rc = ring_next(r, 10000, &a);
	return rc ? rc : a.res;
}

void ring_add_fetch(struct ring *r, uint32_t flags, uint32_t first, uint32_t count, uint64_t id)
{
	struct vb_uring_fetch f = { .flags = flags, .first = first, .count = count };

	ring_add(r, VB_URING_FETCH, &f, sizeof(f), id);
}

struct io_uring_sqe *ring_add_commit(struct ring *r, uint32_t generation, uint64_t tag,
				     int status, uint32_t first, uint32_t count, uint64_t id)
{
	struct vb_uring_commit c = {
		.fetch.count = count, .generation = generation, .tag = tag, .status = status,
		.bad_command = ~0u,
	};

	if (count)
		c.fetch.first = first;
	return ring_add(r, VB_URING_COMMIT, &c, sizeof(c), id);
}

int ring_disarm(struct ring *r, uint32_t first, uint32_t count)
{
	struct vb_uring_fetch f = { .first = first, .count = count };
	struct ring_answer a;
	int rc;

	ring_add(r, VB_URING_DISARM, &f, sizeof(f), RING_DISARM);
	do {
		rc = ring_next(r, 5000, &a);
	} while (!rc && a.id != RING_DISARM);
	if (rc || a.res < 0)
		return rc ? rc : a.res;
	for (int n = a.res; !rc && n; n -= a.res == -ECANCELED)
		rc = ring_next(r, 5000, &a);
	return rc;
}

int ring_map_slots(struct vgpu_uapi *node, void **out)
{
	return node->ops->map(node, VB_MMAP_FETCH, VB_MMAP_FETCH_BYTES, false, out);
}

void ring_add_wait(struct ring *r, uint32_t queue, uint64_t seqno, uint64_t id)
{
	struct vb_uring_wait w = { .queue_id = queue, .seqno = seqno };

	ring_add(r, VB_URING_WAIT, &w, sizeof(w), id);
}

struct io_uring_sqe *ring_add_submit(struct ring *r, struct vb_ioc_submit *cmd, uint64_t id)
{
	struct vb_uring_submit s = { .address = (uintptr_t)cmd };
	struct io_uring_sqe *sqe = ring_add(r, VB_URING_SUBMIT, &s, sizeof(s), id);

	sqe->flags |= IOSQE_ASYNC;
	return sqe;
}

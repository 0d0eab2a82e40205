// SPDX-License-Identifier: MIT
/* Rings of io_uring: made in several ways, used, and closed with commands under way. */
#include "fuzz.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ENTRIES	16u

/*
 * Where locks are checked no ring that defers its work is closed with commands under way:
 * io_uring of 6.12 asserts that the task which made it ends them, and ends them in a
 * worker of its own.
 */
static bool may_defer(void)
{
	return access("/proc/lockdep", F_OK);
}

static unsigned int any_flags(struct chance *c)
{
	switch (below(c, 8)) {
	case 0:
		return IORING_SETUP_COOP_TASKRUN;
	case 1:
		return may_defer() ? IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN : 0;
	case 2:
		return IORING_SETUP_SQPOLL;
	default:
		return 0;
	}
}

static bool is_open(struct fuzz_ring *r, struct chance *c)
{
	struct io_uring_params p = { .flags = any_flags(c), .sq_thread_idle = 1 };

	if (r->open)
		return true;
	r->wide = !one_in(c, 10);
	if (r->wide)
		p.flags |= IORING_SETUP_SQE128;
	r->open = !io_uring_queue_init_params(ENTRIES, &r->io, &p);
	return r->open;
}

void fuzz_ring_close(struct fuzz_ring *r)
{
	if (r->open)
		io_uring_queue_exit(&r->io);
	r->open = false;
}

void fuzz_ring_put(struct fuzz_ring *r, struct chance *c, int fd, uint32_t op, const void *payload,
		   size_t bytes, bool async)
{
	struct io_uring_sqe *sqe = is_open(r, c) ? io_uring_get_sqe(&r->io) : NULL;

	if (!sqe) {
		fuzz_ring_close(r);
		return;
	}
	memset(sqe, 0, r->wide ? 2 * sizeof(*sqe) : sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = op;
	sqe->user_data = _IOC_NR(op);
	memcpy(sqe->cmd, payload, r->wide || bytes < 16 ? bytes : 16);
	if (async)
		sqe->flags |= IOSQE_ASYNC;
	if (one_in(c, 20))
		sqe->flags |= one_in(c, 2) ? IOSQE_IO_LINK : IOSQE_IO_DRAIN;
	io_uring_submit(&r->io);
}

int fuzz_ring_take(struct fuzz_ring *r, uint32_t wait_us, int32_t *res)
{
	struct __kernel_timespec t = { .tv_nsec = wait_us * 1000ll };
	struct io_uring_cqe *cqe = NULL;
	int nr;

	if (!r->open)
		return -1;
	if (wait_us ? io_uring_wait_cqe_timeout(&r->io, &cqe, &t) : io_uring_peek_cqe(&r->io, &cqe))
		return -1;
	nr = (int)cqe->user_data;
	*res = cqe->res;
	io_uring_cqe_seen(&r->io, cqe);
	fuzz_count((uint32_t)nr, *res < 0 ? *res : 0);
	return nr;
}

// SPDX-License-Identifier: MIT
/* What a ring of the engine "uring" may do. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <liburing.h>

#include <cmocka.h>

#include "common/io_rig.h"
#include "exec/io_engine.h"

/* One request by hand: what its completion says. */
static int ask_ring(struct io_uring *ring, void (*prepare)(struct io_uring_sqe *sqe))
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int res;

	prepare(sqe);
	assert_int_equal(io_uring_submit(ring), 1);
	assert_int_equal(io_uring_wait_cqe(ring, &cqe), 0);
	res = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

static void ask_open(struct io_uring_sqe *sqe)
{
	io_uring_prep_openat(sqe, AT_FDCWD, "/dev/null", O_RDONLY, 0);
}

static void ask_socket(struct io_uring_sqe *sqe)
{
	io_uring_prep_nop(sqe);
	sqe->opcode = IORING_OP_CONNECT;
}

static void ask_linked_read(struct io_uring_sqe *sqe)
{
	static char byte;

	io_uring_prep_read(sqe, 0, &byte, 0, 0);
	sqe->flags |= IOSQE_IO_LINK;
}

static void ask_cancel(struct io_uring_sqe *sqe)
{
	io_uring_prep_cancel64(sqe, 12345, 0);
}

static void io_ring_does_transfers_and_nothing_else(void **state)
{
	struct io_uring ring;
	int fd = 0;

	(void)state;
	if (io_uring_queue_init(8, &ring, IORING_SETUP_R_DISABLED)) {
		print_message("SKIP: no io_uring here\n");
		skip();
	}
	assert_int_equal(vgpu_uring_restrict(&ring), 0);
	assert_int_equal(ask_ring(&ring, ask_open), -EACCES);
	assert_int_equal(ask_ring(&ring, ask_socket), -EACCES);
	assert_int_equal(ask_ring(&ring, ask_linked_read), -EACCES);
	assert_int_equal(ask_ring(&ring, ask_cancel), -ENOENT);
	assert_int_equal(io_uring_register_files(&ring, &fd, 1), -EACCES);
	io_uring_queue_exit(&ring);
}

static const struct engine_test tests[] = {
	ENGINE_TEST(io_ring_does_transfers_and_nothing_else),
};

int main(void)
{
	return IRIG_MAIN("io_ring", tests, NULL);
}

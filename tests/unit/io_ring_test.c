// SPDX-License-Identifier: MIT
/* What a ring of the engine "uring" may do, and what happens when it is full. */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* ------------------------------------------------------------------------
 * A full ring
 */

/* Far more than a ring of depth 1 has entries for. */
#define READS	48u

/* The kernel has no memory to take requests. */
static bool kernel_refuses;

int io_uring_submit(struct io_uring *ring)
{
	static int (*submit)(struct io_uring *ring);

	if (kernel_refuses)
		return -EAGAIN;
	if (!submit)
		*(void **)&submit = dlsym(RTLD_NEXT, "io_uring_submit");
	return submit(ring);
}

/* Reads that end in the middle, so that each has to be tried again: all under way. */
struct crowd {
	struct vgpu_io *io;
	int fd;
	uint8_t copy[BLOCK / 2], *buf;
	struct vgpu_io_req reqs[READS];
};

static struct crowd crowd;

static void crowd_open(void)
{
	uint32_t file;

	if (!irig_has_engine("uring")) {
		print_message("SKIP: no io_uring here\n");
		skip();
	}
	crowd.io = irig_open((struct vgpu_io_params){ .engine = "uring", .depth = 1 });
	crowd.fd = irig_file(crowd.copy, sizeof(crowd.copy));
	crowd.buf = irig_memory(READS * BLOCK);
	assert_int_equal(vgpu_io_file_add(crowd.io, crowd.fd, VGPU_IO_FILE_BUFFERED, &file), 0);
	for (uint32_t i = 0; i < READS; i++) {
		crowd.reqs[i] = irig_req(file, 0, crowd.buf + i * BLOCK, BLOCK);
		vgpu_io_submit(crowd.io, &crowd.reqs[i]);
		assert_int_equal(irig_stats(crowd.io).in_flight, i + 1);
		vgpu_io_set_aside(crowd.io, &crowd.reqs[i]);
	}
}

static void crowd_close(void)
{
	assert_int_equal(vgpu_io_close(crowd.io), 0);
	munmap(crowd.buf, READS * BLOCK);
	close(crowd.fd);
}

/* Take @count of them back. */
static void crowd_comes(uint32_t count)
{
	struct vgpu_io_req *done;

	while (count) {
		int n = vgpu_io_reap(crowd.io, 1, count, 20 * SECOND_NS, &done);

		assert_true(n > 0);
		count -= (uint32_t)n;
	}
}

static void crowd_is_right(uint32_t i)
{
	assert_int_equal(crowd.reqs[i].result, 0);
	assert_int_equal(crowd.reqs[i].done_bytes, sizeof(crowd.copy));
	assert_memory_equal(crowd.buf + i * BLOCK, crowd.copy, sizeof(crowd.copy));
}

static void io_ring_takes_more_attempts_at_once_than_it_has_entries(void **state)
{
	(void)state;
	crowd_open();
	crowd_comes(READS);
	for (uint32_t i = 0; i < READS; i++)
		crowd_is_right(i);
	crowd_close();
}

static void io_ring_that_stays_full_keeps_attempts_for_later(void **state)
{
	struct vgpu_io_req *done;

	(void)state;
	crowd_open();
	kernel_refuses = true;
	assert_int_equal(vgpu_io_reap(crowd.io, 0, READS, 0, &done), 0);
	assert_true(irig_stats(crowd.io).queued > 0);
	assert_int_equal(irig_stats(crowd.io).queued + irig_stats(crowd.io).in_flight, READS);
	/* The last of them is one that waits. */
	vgpu_io_cancel(crowd.io, &crowd.reqs[READS - 1]);
	assert_int_equal(vgpu_io_reap(crowd.io, 1, 1, 0, &done), 1);
	assert_ptr_equal(done, &crowd.reqs[READS - 1]);
	assert_int_equal(done->result, -ECANCELED);
	/* And one that is in the ring: for its cancellation there is no room either. */
	vgpu_io_cancel(crowd.io, &crowd.reqs[0]);
	kernel_refuses = false;
	crowd_comes(READS - 1);
	for (uint32_t i = 1; i < READS - 1; i++)
		crowd_is_right(i);
	crowd_close();
}

static const struct engine_test tests[] = {
	ENGINE_TEST(io_ring_does_transfers_and_nothing_else),
	ENGINE_TEST(io_ring_takes_more_attempts_at_once_than_it_has_entries),
	ENGINE_TEST(io_ring_that_stays_full_keeps_attempts_for_later),
};

int main(void)
{
	return IRIG_MAIN("io_ring", tests, NULL);
}

// SPDX-License-Identifier: MIT
/* Transfers that a disk cannot do in one command, by the engine "uring". */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/io_rig.h"
#include "exec/io_engine.h"

#define COMMAND		(256u << 10)	/* bytes, of a disk that there is not */
#define LARGE		(8 * COMMAND)

/* A file that is taken for a disk of small commands. */
static uint32_t add_disk(struct vgpu_io *io, int fd)
{
	uint32_t file = irig_add_file(io, fd);

	if (!io->files[file]->direct) {
		print_message("SKIP: no O_DIRECT here\n");
		skip();
	}
	io->files[file]->command_bytes = COMMAND;
	return file;
}

/* One request; into how many transfers the engine has cut it. */
static uint32_t run_counted(struct vgpu_io *io, struct vgpu_io_req *req)
{
	struct vgpu_io_req *done;
	uint32_t pieces;

	vgpu_io_submit(io, req);
	pieces = req->engine.pieces;
	assert_int_equal(vgpu_io_reap(io, 1, 1, 10 * SECOND_NS, &done), 1);
	assert_int_equal(req->result, 0);
	return pieces;
}

static void io_ring_begins_all_commands_of_a_disk_at_once(void **state)
{
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *copy = irig_memory(FILE_BYTES), *buf = irig_memory(FILE_BYTES);
	int fd = irig_file(copy, FILE_BYTES);
	uint32_t file = add_disk(io, fd);
	struct vgpu_io_req req = irig_req(file, BLOCK, buf, LARGE);

	assert_int_equal(run_counted(io, &req), 8);
	assert_int_equal(req.done_bytes, LARGE);
	assert_memory_equal(buf, copy + BLOCK, LARGE);

	req = irig_req(file, BLOCK, buf, COMMAND + BLOCK);
	req.flags = VGPU_IO_WRITE;
	assert_int_equal(run_counted(io, &req), 2);
	assert_int_equal(pread(fd, copy, FILE_BYTES, 0), FILE_BYTES);
	assert_memory_equal(copy + BLOCK, buf, COMMAND + BLOCK);

	req = irig_req(file, 0, buf, COMMAND);
	assert_int_equal(run_counted(io, &req), 1);
	req = irig_req(file, 0, buf, LARGE + BLOCK);
	assert_int_equal(run_counted(io, &req), 1);
	assert_memory_equal(buf, copy, LARGE + BLOCK);
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(copy, FILE_BYTES);
	munmap(buf, FILE_BYTES);
}

static void io_ring_finds_the_end_of_a_file_amid_the_pieces(void **state)
{
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *copy = irig_memory(FILE_BYTES), *buf = irig_memory(FILE_BYTES);
	const uint64_t bytes = 3 * COMMAND + 777;
	int fd = irig_file(copy, bytes);
	struct vgpu_io_req req = irig_req(add_disk(io, fd), BLOCK, buf, LARGE);

	assert_int_equal(run_counted(io, &req), 8);
	assert_int_equal(req.done_bytes, bytes - BLOCK);
	assert_memory_equal(buf, copy + BLOCK, bytes - BLOCK);
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(copy, FILE_BYTES);
	munmap(buf, FILE_BYTES);
}

/* As many as fit, each in pieces: none is lost, none finds the ring full. */
static void io_ring_has_room_for_the_pieces_of_all(void **state)
{
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ .depth = 4 });
	uint8_t *copy = irig_memory(FILE_BYTES), *buf = irig_memory(16 * LARGE);
	int fd = irig_file(copy, FILE_BYTES);
	uint32_t file = add_disk(io, fd), done = 0;
	struct vgpu_io_req req[16], *list;
	int n;

	for (uint32_t i = 0; i < 16; i++) {
		req[i] = irig_req(file, i * COMMAND, buf + i * LARGE, LARGE);
		req[i].next = i < 15 ? &req[i + 1] : NULL;
	}
	vgpu_io_submit(io, req);
	while (done < 16) {
		n = vgpu_io_reap(io, 1, 16, 10 * SECOND_NS, &list);
		assert_in_range(n, 1, 16);
		done += (uint32_t)n;
	}
	for (uint32_t i = 0; i < 16; i++) {
		assert_int_equal(req[i].result, 0);
		assert_int_equal(req[i].done_bytes, LARGE);
		assert_memory_equal(req[i].buf, copy + i * COMMAND, LARGE);
	}
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(copy, FILE_BYTES);
	munmap(buf, 16 * LARGE);
}

static bool kernel_refuses;
static unsigned int waited_for;

/* That of liburing, but for a kernel that has no room: what is begun goes with the first wait. */
int io_uring_submit(struct io_uring *ring)
{
	static int (*submit)(struct io_uring *ring);

	if (kernel_refuses)
		return -EAGAIN;
	if (!submit)
		*(void **)&submit = dlsym(RTLD_NEXT, "io_uring_submit");
	return submit(ring);
}

/* That of liburing, which also says for how many completions it was to wait first. */
int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
				     unsigned int n, struct __kernel_timespec *ts, sigset_t *mask)
{
	static int (*submit_and_wait)(struct io_uring *ring, struct io_uring_cqe **cqe,
				      unsigned int n, struct __kernel_timespec *ts,
				      sigset_t *mask);

	waited_for = waited_for ? waited_for : n;
	kernel_refuses = false;
	if (!submit_and_wait)
		*(void **)&submit_and_wait = dlsym(RTLD_NEXT, "io_uring_submit_and_wait_timeout");
	return submit_and_wait(ring, cqe, n, ts, mask);
}

/* How many completions the first of @n requests, submitted together, are waited for with. */
static unsigned int first_wait(struct vgpu_io *io, struct vgpu_io_req *req, uint32_t n)
{
	struct vgpu_io_req *done;
	uint32_t taken = 0;

	kernel_refuses = true;
	waited_for = 0;
	vgpu_io_submit(io, req);
	while (taken < n) {
		int rc = vgpu_io_reap(io, 1, n, 10 * SECOND_NS, &done);

		assert_in_range(rc, 1, n);
		taken += (uint32_t)rc;
	}
	return waited_for;
}

static void io_ring_wakes_once_for_the_pieces_of_a_lone_transfer(void **state)
{
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *copy = irig_memory(FILE_BYTES), *buf = irig_memory(2 * LARGE);
	int fd = irig_file(copy, FILE_BYTES);
	uint32_t file = add_disk(io, fd);
	struct vgpu_io_req req[2];

	req[0] = irig_req(file, BLOCK, buf, LARGE);
	assert_int_equal(first_wait(io, req, 1), 8);
	assert_memory_equal(buf, copy + BLOCK, LARGE);
	req[0] = irig_req(file, 0, buf, COMMAND);
	assert_int_equal(first_wait(io, req, 1), 1);
	/* Of several the first that is complete is somebody's. */
	req[0] = irig_req(file, 0, buf, LARGE);
	req[1] = irig_req(file, COMMAND, buf + LARGE, LARGE);
	req[0].next = &req[1];
	assert_int_equal(first_wait(io, req, 2), 1);
	assert_memory_equal(buf + LARGE, copy + COMMAND, LARGE);
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(copy, FILE_BYTES);
	munmap(buf, 2 * LARGE);
}

static const struct engine_test tests[] = {
	ENGINE_TEST(io_ring_begins_all_commands_of_a_disk_at_once),
	ENGINE_TEST(io_ring_finds_the_end_of_a_file_amid_the_pieces),
	ENGINE_TEST(io_ring_has_room_for_the_pieces_of_all),
	ENGINE_TEST(io_ring_wakes_once_for_the_pieces_of_a_lone_transfer),
};

int main(void)
{
	static const char *const uring[] = { "uring", NULL };

	return IRIG_MAIN("io_pieces", tests, uring);
}

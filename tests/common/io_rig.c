// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/io_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

char irig_dir[] = "/tmp/vgpu-io-XXXXXX";
char irig_path[64];
static uint64_t random_state = 88172645463325252u;

uint64_t irig_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

void irig_fill(void *p, size_t bytes)
{
	uint64_t v;
	size_t i;

	for (i = 0; i < bytes; i += 8) {
		v = irig_random();
		memcpy((char *)p + i, &v, bytes - i < 8 ? bytes - i : 8);
	}
}

void *irig_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

int irig_file(void *copy, size_t bytes)
{
	int fd = open(irig_path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	irig_fill(copy, bytes);
	assert_int_equal(pwrite(fd, copy, bytes, 0), bytes);
	return fd;
}

bool irig_has_engine(const char *engine)
{
	struct vgpu_io *io;
	struct vgpu_io_params params = { .engine = engine };

	if (vgpu_io_open(&params, &io))
		return false;
	vgpu_io_close(io);
	return true;
}

struct vgpu_io *irig_open(struct vgpu_io_params params)
{
	struct vgpu_io *io;

	assert_int_equal(vgpu_io_open(&params, &io), 0);
	return io;
}

struct vgpu_io *irig_open_engine(void **state, struct vgpu_io_params params)
{
	params.engine = *state;
	if (!irig_has_engine(params.engine)) {
		print_message("SKIP: engine %s is not to be had here\n", params.engine);
		skip();
	}
	return irig_open(params);
}

uint32_t irig_add_file(struct vgpu_io *io, int fd)
{
	uint32_t file;

	assert_int_equal(vgpu_io_file_add(io, fd, 0, &file), 0);
	return file;
}

struct vgpu_io_req irig_req(uint32_t file, uint64_t offset, void *buf, uint64_t bytes)
{
	return (struct vgpu_io_req){
		.file = file, .offset = offset, .buf = buf, .bytes = bytes, .buf_index = -1,
	};
}

struct vgpu_io_stats irig_stats(const struct vgpu_io *io)
{
	struct vgpu_io_stats stats;

	vgpu_io_stats_get(io, &stats);
	return stats;
}

bool irig_reason_says(struct vgpu_io *io, const char *what)
{
	char reason[2 * VGPU_IO_REASON_BYTES];

	vgpu_io_engine_reason(io, reason, sizeof(reason));
	return strstr(reason, what);
}

int32_t irig_run(struct vgpu_io *io, struct vgpu_io_req *req)
{
	struct vgpu_io_req *done;

	vgpu_io_submit(io, req);
	assert_int_equal(vgpu_io_reap(io, 1, 1, 20 * SECOND_NS, &done), 1);
	assert_ptr_equal(done, req);
	assert_null(done->next);
	return req->result;
}

/* ---- a test engine ---- */

struct irig_bench irig_bench_open(struct vgpu_io_params params)
{
	struct irig_bench b;
	int fd, i;

	params.engine = "test";
	b.io = irig_open(params);
	b.copy = irig_memory(1 << 20);
	b.buf = irig_memory(1 << 20);
	fd = irig_file(b.copy, 1 << 20);
	b.file = irig_add_file(b.io, fd);
	close(fd);
	for (i = 0; i < 16; i++) {
		b.reqs[i] = irig_req(b.file, i << 16, b.buf + (i << 16), 1 << 16);
		b.reqs[i].user = i;
	}
	return b;
}

void irig_bench_close(struct irig_bench *b)
{
	assert_int_equal(vgpu_io_close(b->io), 0);
	munmap(b->copy, 1 << 20);
	munmap(b->buf, 1 << 20);
}

void irig_bench_submit(struct irig_bench *b, int count)
{
	int i;

	for (i = 0; i < count; i++)
		b->reqs[i].next = i + 1 < count ? &b->reqs[i + 1] : NULL;
	vgpu_io_submit(b->io, b->reqs);
}

void irig_inject(struct irig_bench *b, struct vgpu_io_fault fault)
{
	assert_int_equal(vgpu_io_test_add(b->io, &fault), 0);
}

/* ---- programs ---- */

const char *const irig_engines[] = { "uring", "threads", "buffered", "test", NULL };
const char *const irig_inner_engines[] = { "auto", "threads", NULL };

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(irig_dir))
		return -1;
	snprintf(irig_path, sizeof(irig_path), "%s/file", irig_dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(irig_path);
	return rmdir(irig_dir);
}

int irig_main(const char *group, const struct engine_test *tests, size_t count,
	      const char *const *engines)
{
	const struct engine_tests t = { .group = group, .tests = tests, .count = count,
					.engines = engines, .setup = setup,
					.teardown = teardown };

	return engine_tests_run(&t);
}

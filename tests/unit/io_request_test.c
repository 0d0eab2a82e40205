// SPDX-License-Identifier: MIT
/* Requests to every I/O engine, against a plain file and a shadow copy. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/io_rig.h"

static void io_reads_files_of_any_size_to_their_last_byte(void **state)
{
	static const size_t sizes[] = { 1, 511, 512, 513, 4095, 4096, 4097, 65536, 1000001 };
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *copy = irig_memory(1 << 20), *buf = irig_memory(1 << 20);
	struct vgpu_io_req req;
	uint32_t file;
	size_t i;
	int fd;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fd = irig_file(copy, sizes[i]);
		file = irig_add_file(io, fd);
		req = irig_req(file, 0, buf, 1 << 20);
		assert_int_equal(irig_run(io, &req), 0);
		assert_int_equal(req.done_bytes, sizes[i]);
		assert_memory_equal(buf, copy, sizes[i]);

		req = irig_req(file, 1 << 20, buf, BLOCK);
		assert_int_equal(irig_run(io, &req), 0);
		assert_int_equal(req.done_bytes, 0);
		assert_int_equal(vgpu_io_file_remove(io, file), 0);
		close(fd);
	}
	assert_int_equal(vgpu_io_close(io), 0);
	munmap(copy, 1 << 20);
	munmap(buf, 1 << 20);
}

static void io_writes_what_another_reader_sees(void **state)
{
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *copy = irig_memory(FILE_BYTES), *buf = irig_memory(FILE_BYTES);
	int fd = irig_file(copy, BLOCK);
	struct vgpu_io_req req = irig_req(irig_add_file(io, fd), BLOCK, copy + BLOCK, FILE_BYTES - BLOCK);

	irig_fill(copy + BLOCK, FILE_BYTES - BLOCK);
	req.flags = VGPU_IO_WRITE;
	assert_int_equal(irig_run(io, &req), 0);
	assert_int_equal(req.done_bytes, FILE_BYTES - BLOCK);
	assert_int_equal(pread(fd, buf, FILE_BYTES, 0), FILE_BYTES);
	assert_memory_equal(buf, copy, FILE_BYTES);
	assert_int_equal(irig_stats(io).write_bytes, FILE_BYTES - BLOCK);
	assert_int_equal(irig_stats(io).read_bytes, 0);
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(copy, FILE_BYTES);
	munmap(buf, FILE_BYTES);
}

struct storm {
	struct vgpu_io *io;
	uint32_t file;
	int32_t region;
	uint8_t *shadow;
	uint8_t *buf;
	struct vgpu_io_req reqs[BLOCKS];
};

/* Cut the file into disjoint requests, some writes; what is written goes to the shadow at once. */
static uint32_t storm_make(struct storm *s)
{
	uint32_t block = 0, n = 0, blocks;
	struct vgpu_io_req *req;
	uint64_t r;

	while (block < BLOCKS) {
		r = irig_random();
		blocks = 1 + r % 8;
		if (blocks > BLOCKS - block)
			blocks = BLOCKS - block;
		req = &s->reqs[n++];
		*req = irig_req(s->file, block * BLOCK, s->buf + block * BLOCK, blocks * BLOCK);
		req->flags = r & 256 ? VGPU_IO_WRITE : 0;
		req->buf_index = r & 512 ? s->region : -1;
		irig_fill(req->buf, req->bytes);
		if (req->flags)
			memcpy(s->shadow + req->offset, req->buf, req->bytes);
		block += blocks;
	}
	return n;
}

static void storm_shuffle(struct storm *s, uint32_t n)
{
	struct vgpu_io_req swap;
	uint32_t i, j;

	for (i = n - 1; i; i--) {
		j = irig_random() % (i + 1);
		swap = s->reqs[i];
		s->reqs[i] = s->reqs[j];
		s->reqs[j] = swap;
	}
	for (i = 0; i < n; i++)
		s->reqs[i].next = i + 1 < n ? &s->reqs[i + 1] : NULL;
}

static void storm_check(struct storm *s, uint32_t n)
{
	struct vgpu_io_req *done;
	int got;

	while (n) {
		got = vgpu_io_reap(s->io, 1, 1 + irig_random() % 64, 20 * SECOND_NS, &done);
		assert_true(got > 0);
		n -= got;
		for (; done; done = done->next) {
			assert_int_equal(done->result, 0);
			assert_int_equal(done->done_bytes, done->bytes);
			assert_memory_equal(done->buf, s->shadow + done->offset, done->bytes);
		}
	}
}

static void storm_run(struct storm *s, uint32_t total)
{
	uint32_t n, done;

	for (done = 0; done < total; done += n) {
		n = storm_make(s);
		storm_shuffle(s, n);
		vgpu_io_submit(s->io, s->reqs);
		storm_check(s, n);
	}
	assert_int_equal(irig_stats(s->io).requests, done);
	assert_int_equal(irig_stats(s->io).errors, 0);
	assert_int_equal(irig_stats(s->io).in_flight, 0);
}

static struct storm *storm_open(struct vgpu_io *io)
{
	struct storm *s = calloc(1, sizeof(*s));
	int fd;

	assert_non_null(s);
	s->io = io;
	s->shadow = irig_memory(FILE_BYTES);
	s->buf = irig_memory(FILE_BYTES);
	fd = irig_file(s->shadow, FILE_BYTES);
	s->file = irig_add_file(io, fd);
	close(fd);
	assert_int_equal(vgpu_io_region_add(io, s->buf, FILE_BYTES, &s->region), 0);
	return s;
}

static void storm_close(struct storm *s)
{
	assert_int_equal(vgpu_io_region_remove(s->io, s->region), 0);
	assert_int_equal(vgpu_io_file_remove(s->io, s->file), 0);
	assert_int_equal(vgpu_io_close(s->io), 0);
	munmap(s->shadow, FILE_BYTES);
	munmap(s->buf, FILE_BYTES);
	free(s);
}

static void io_ten_thousand_requests_match_a_shadow_copy(void **state)
{
	struct storm *s = storm_open(irig_open_engine(state, (struct vgpu_io_params){ .depth = 16 }));

	storm_run(s, 10000);
	assert_int_equal(irig_stats(s->io).max_in_flight, 16);
	storm_close(s);
}

static void io_one_thread_promise_gives_the_same_bytes(void **state)
{
	struct storm *s = storm_open(irig_open_engine(state, (struct vgpu_io_params){
		.depth = 4, .flags = VGPU_IO_ONE_THREAD }));

	storm_run(s, 500);
	storm_close(s);
}

static void io_reads_unaligned_ranges_through_bounce_buffers(void **state)
{
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){
		.bounce_buffers = 2, .bounce_bytes = 16384 });
	uint8_t *copy = irig_memory(FILE_BYTES), *buf = irig_memory(FILE_BYTES);
	size_t bytes = FILE_BYTES - 123, got;
	int fd = irig_file(copy, bytes);
	uint32_t file = irig_add_file(io, fd);
	struct vgpu_io_req req;
	uint64_t offset, length, at;
	int i;

	for (i = 0; i < 500; i++) {
		offset = irig_random() % bytes;
		length = 1 + irig_random() % (i & 1 ? 300 : 200000);
		/* Every third is congruent with the file: its middle needs no bounce. */
		at = i % 3 ? irig_random() % 4096 : offset % 4096;
		memset(buf, 0x5a, at + length + 16);
		req = irig_req(file, offset, buf + at, length);
		assert_int_equal(irig_run(io, &req), 0);
		got = length < bytes - offset ? length : bytes - offset;
		assert_int_equal(req.done_bytes, got);
		assert_memory_equal(buf + at, copy + offset, got);
		assert_int_equal(buf[at + length], 0x5a);
		if (at)
			assert_int_equal(buf[at - 1], 0x5a);
	}
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(copy, FILE_BYTES);
	munmap(buf, FILE_BYTES);
}

static void io_refuses_bad_requests_one_by_one(void **state)
{
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *buf = irig_memory(2 * BLOCK);
	int fd = irig_file(buf, BLOCK), rofd = open(irig_path, O_RDONLY);
	uint32_t file = irig_add_file(io, fd), rofile = irig_add_file(io, rofd);
	struct vgpu_io_req bad[6], *done;
	int32_t region;
	int i;

	assert_int_equal(vgpu_io_region_add(io, buf, BLOCK, &region), 0);
	for (i = 0; i < 6; i++) {
		bad[i] = irig_req(file, 0, buf, BLOCK);
		bad[i].next = i < 5 ? &bad[i + 1] : NULL;
	}
	bad[0].file = 77;
	bad[1].flags = 8;
	bad[2].offset = UINT64_MAX - 4095;
	bad[3].buf_index = region;
	bad[3].buf = buf + BLOCK;
	bad[4].file = rofile;
	bad[4].flags = VGPU_IO_WRITE;
	bad[5].bytes = 0;
	vgpu_io_submit(io, bad);
	assert_int_equal(vgpu_io_reap(io, 6, 6, SECOND_NS, &done), 6);
	for (i = 0; i < 4; i++)
		assert_int_equal(bad[i].result, -EINVAL);
	assert_int_equal(bad[4].result, -EBADF);
	assert_int_equal(bad[5].result, 0);
	assert_int_equal(irig_stats(io).in_flight, 0);
	assert_int_equal(vgpu_io_reap(io, 2, 1, 0, &done), -EINVAL);
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	close(rofd);
	munmap(buf, 2 * BLOCK);
}

static void *submit_elsewhere(void *arg)
{
	struct storm *s = arg;

	vgpu_io_submit(s->io, s->reqs);
	return NULL;
}

static void io_requests_survive_the_thread_that_submitted_them(void **state)
{
	struct storm *s = storm_open(irig_open_engine(state, (struct vgpu_io_params){ .depth = 64 }));
	pthread_t thread;
	uint32_t n;

	n = storm_make(s);
	storm_shuffle(s, n);
	assert_int_equal(pthread_create(&thread, NULL, submit_elsewhere, s), 0);
	pthread_join(thread, NULL);
	storm_check(s, n);
	storm_close(s);
}

static void io_close_gives_back_what_was_never_reaped(void **state)
{
	struct storm *s = storm_open(irig_open_engine(state, (struct vgpu_io_params){ 0 }));
	uint32_t n = storm_make(s);

	storm_shuffle(s, n);
	vgpu_io_submit(s->io, s->reqs);
	assert_int_equal(vgpu_io_close(s->io), 0);
	munmap(s->shadow, FILE_BYTES);
	munmap(s->buf, FILE_BYTES);
	free(s);
}

static const struct engine_test tests[] = {
	ENGINE_TEST(io_reads_files_of_any_size_to_their_last_byte),
	ENGINE_TEST(io_writes_what_another_reader_sees),
	ENGINE_TEST(io_ten_thousand_requests_match_a_shadow_copy),
	ENGINE_TEST(io_one_thread_promise_gives_the_same_bytes),
	ENGINE_TEST(io_reads_unaligned_ranges_through_bounce_buffers),
	ENGINE_TEST(io_refuses_bad_requests_one_by_one),
	ENGINE_TEST(io_requests_survive_the_thread_that_submitted_them),
	ENGINE_TEST(io_close_gives_back_what_was_never_reaped),
};

int main(void)
{
	return IRIG_MAIN("io_request", tests, irig_engines);
}

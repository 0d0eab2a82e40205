// SPDX-License-Identifier: MIT
/*
 * Every I/O engine against a plain file and a shadow copy, then what goes wrong: injected faults,
 * deadlines, and machines that forbid io_uring or locked memory.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/capability.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "exec/crc32c.h"
#include "exec/io.h"
#include "exec/io_engine.h"

#define BLOCK		4096u
#define BLOCKS		2048u
#define FILE_BYTES	(BLOCKS * BLOCK)
#define SECOND_NS	INT64_C(1000000000)
#define MS_NS		INT64_C(1000000)

static char dir[] = "/tmp/vgpu-io-XXXXXX";
static char path[64];
static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void fill_random(void *p, size_t bytes)
{
	uint64_t v;
	size_t i;

	for (i = 0; i < bytes; i += 8) {
		v = next_random();
		memcpy((char *)p + i, &v, bytes - i < 8 ? bytes - i : 8);
	}
}

static void *memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

/* A file of @bytes random bytes, a copy of which is at @copy. */
static int make_file(void *copy, size_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	fill_random(copy, bytes);
	assert_int_equal(pwrite(fd, copy, bytes, 0), bytes);
	return fd;
}

static bool engine_available(const char *engine)
{
	struct vgpu_io *io;
	struct vgpu_io_params params = { .engine = engine };

	if (vgpu_io_open(&params, &io))
		return false;
	vgpu_io_close(io);
	return true;
}

static struct vgpu_io *open_with(struct vgpu_io_params params)
{
	struct vgpu_io *io;

	assert_int_equal(vgpu_io_open(&params, &io), 0);
	return io;
}

/* The engine that the test was made for, or SKIP. */
static struct vgpu_io *open_engine(void **state, struct vgpu_io_params params)
{
	params.engine = *state;
	if (!engine_available(params.engine)) {
		print_message("SKIP: engine %s is not to be had here\n", params.engine);
		skip();
	}
	return open_with(params);
}

static uint32_t add_file(struct vgpu_io *io, int fd)
{
	uint32_t file;

	assert_int_equal(vgpu_io_file_add(io, fd, 0, &file), 0);
	return file;
}

static struct vgpu_io_req make_req(uint32_t file, uint64_t offset, void *buf, uint64_t bytes)
{
	return (struct vgpu_io_req){
		.file = file, .offset = offset, .buf = buf, .bytes = bytes, .buf_index = -1,
	};
}

static struct vgpu_io_stats get_stats(const struct vgpu_io *io)
{
	struct vgpu_io_stats stats;

	vgpu_io_stats_get(io, &stats);
	return stats;
}

static bool reason_says(struct vgpu_io *io, const char *what)
{
	char reason[2 * VGPU_IO_REASON_BYTES];

	vgpu_io_engine_reason(io, reason, sizeof(reason));
	return strstr(reason, what);
}

/* One request, start to end. */
static int32_t run(struct vgpu_io *io, struct vgpu_io_req *req)
{
	struct vgpu_io_req *done;

	vgpu_io_submit(io, req);
	assert_int_equal(vgpu_io_reap(io, 1, 1, 20 * SECOND_NS, &done), 1);
	assert_ptr_equal(done, req);
	assert_null(done->next);
	return req->result;
}

/* Every engine --------------------------------------------------------------------------- */

static void io_reads_files_of_any_size_to_their_last_byte(void **state)
{
	static const size_t sizes[] = { 1, 511, 512, 513, 4095, 4096, 4097, 65536, 1000001 };
	struct vgpu_io *io = open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *copy = memory(1 << 20), *buf = memory(1 << 20);
	struct vgpu_io_req req;
	uint32_t file;
	size_t i;
	int fd;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fd = make_file(copy, sizes[i]);
		file = add_file(io, fd);
		req = make_req(file, 0, buf, 1 << 20);
		assert_int_equal(run(io, &req), 0);
		assert_int_equal(req.done_bytes, sizes[i]);
		assert_memory_equal(buf, copy, sizes[i]);

		req = make_req(file, 1 << 20, buf, BLOCK);
		assert_int_equal(run(io, &req), 0);
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
	struct vgpu_io *io = open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *copy = memory(FILE_BYTES), *buf = memory(FILE_BYTES);
	int fd = make_file(copy, BLOCK);
	struct vgpu_io_req req = make_req(add_file(io, fd), BLOCK, copy + BLOCK, FILE_BYTES - BLOCK);

	fill_random(copy + BLOCK, FILE_BYTES - BLOCK);
	req.flags = VGPU_IO_WRITE;
	assert_int_equal(run(io, &req), 0);
	assert_int_equal(req.done_bytes, FILE_BYTES - BLOCK);
	assert_int_equal(pread(fd, buf, FILE_BYTES, 0), FILE_BYTES);
	assert_memory_equal(buf, copy, FILE_BYTES);
	assert_int_equal(get_stats(io).write_bytes, FILE_BYTES - BLOCK);
	assert_int_equal(get_stats(io).read_bytes, 0);
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
		r = next_random();
		blocks = 1 + r % 8;
		if (blocks > BLOCKS - block)
			blocks = BLOCKS - block;
		req = &s->reqs[n++];
		*req = make_req(s->file, block * BLOCK, s->buf + block * BLOCK, blocks * BLOCK);
		req->flags = r & 256 ? VGPU_IO_WRITE : 0;
		req->buf_index = r & 512 ? s->region : -1;
		fill_random(req->buf, req->bytes);
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
		j = next_random() % (i + 1);
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
		got = vgpu_io_reap(s->io, 1, 1 + next_random() % 64, 20 * SECOND_NS, &done);
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
	assert_int_equal(get_stats(s->io).requests, done);
	assert_int_equal(get_stats(s->io).errors, 0);
	assert_int_equal(get_stats(s->io).in_flight, 0);
}

static struct storm *storm_open(struct vgpu_io *io)
{
	struct storm *s = calloc(1, sizeof(*s));
	int fd;

	assert_non_null(s);
	s->io = io;
	s->shadow = memory(FILE_BYTES);
	s->buf = memory(FILE_BYTES);
	fd = make_file(s->shadow, FILE_BYTES);
	s->file = add_file(io, fd);
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
	struct storm *s = storm_open(open_engine(state, (struct vgpu_io_params){ .depth = 16 }));

	storm_run(s, 10000);
	assert_int_equal(get_stats(s->io).max_in_flight, 16);
	storm_close(s);
}

static void io_one_thread_promise_gives_the_same_bytes(void **state)
{
	struct storm *s = storm_open(open_engine(state, (struct vgpu_io_params){
		.depth = 4, .flags = VGPU_IO_ONE_THREAD }));

	storm_run(s, 500);
	storm_close(s);
}

static void io_reads_unaligned_ranges_through_bounce_buffers(void **state)
{
	struct vgpu_io *io = open_engine(state, (struct vgpu_io_params){
		.bounce_buffers = 2, .bounce_bytes = 16384 });
	uint8_t *copy = memory(FILE_BYTES), *buf = memory(FILE_BYTES);
	size_t bytes = FILE_BYTES - 123, got;
	int fd = make_file(copy, bytes);
	uint32_t file = add_file(io, fd);
	struct vgpu_io_req req;
	uint64_t offset, length, at;
	int i;

	for (i = 0; i < 500; i++) {
		offset = next_random() % bytes;
		length = 1 + next_random() % (i & 1 ? 300 : 200000);
		/* Every third is congruent with the file: its middle needs no bounce. */
		at = i % 3 ? next_random() % 4096 : offset % 4096;
		memset(buf, 0x5a, at + length + 16);
		req = make_req(file, offset, buf + at, length);
		assert_int_equal(run(io, &req), 0);
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
	struct vgpu_io *io = open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *buf = memory(2 * BLOCK);
	int fd = make_file(buf, BLOCK), rofd = open(path, O_RDONLY);
	uint32_t file = add_file(io, fd), rofile = add_file(io, rofd);
	struct vgpu_io_req bad[6], *done;
	int32_t region;
	int i;

	assert_int_equal(vgpu_io_region_add(io, buf, BLOCK, &region), 0);
	for (i = 0; i < 6; i++) {
		bad[i] = make_req(file, 0, buf, BLOCK);
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
	assert_int_equal(get_stats(io).in_flight, 0);
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
	struct storm *s = storm_open(open_engine(state, (struct vgpu_io_params){ .depth = 64 }));
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
	struct storm *s = storm_open(open_engine(state, (struct vgpu_io_params){ 0 }));
	uint32_t n = storm_make(s);

	storm_shuffle(s, n);
	vgpu_io_submit(s->io, s->reqs);
	assert_int_equal(vgpu_io_close(s->io), 0);
	munmap(s->shadow, FILE_BYTES);
	munmap(s->buf, FILE_BYTES);
	free(s);
}

/* Files ---------------------------------------------------------------------------------- */

static void io_file_is_direct_exactly_where_open_takes_it(void **state)
{
	static const char *const dirs[] = { "/tmp", "/dev/shm", "/var/tmp" };
	struct vgpu_io *io = open_engine(state, (struct vgpu_io_params){ 0 });
	bool buffered = !strcmp(*state, "buffered");
	struct vgpu_io_file_info info;
	char name[64];
	uint32_t file;
	int fd, direct;
	size_t i;

	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(name, sizeof(name), "%s/vgpu-io-%d", dirs[i], getpid());
		fd = open(name, O_RDWR | O_CREAT, 0600);
		if (fd < 0)
			continue;
		direct = open(name, O_RDWR | O_DIRECT);
		file = add_file(io, fd);
		assert_int_equal(vgpu_io_file_get(io, file, &info), 0);
		assert_int_equal(info.direct, !buffered && direct >= 0);
		assert_int_equal(info.align, vgpu_io_file_align(io, file));
		assert_true(info.direct ? info.align >= 512 : info.align == 1);
		assert_non_null(strstr(info.reason, info.direct ? "O_DIRECT" : "buffered"));
		/* The caller's description is as it was. */
		assert_int_equal(fcntl(fd, F_GETFL) & O_DIRECT, 0);
		close(direct);
		close(fd);
		unlink(name);
	}
	assert_int_equal(vgpu_io_close(io), 0);
}

static void io_direct_descriptor_of_the_caller_reaches_the_tail_too(void **state)
{
	struct vgpu_io *io = open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *copy = memory(1 << 16), *buf = memory(1 << 16);
	int fd = make_file(copy, 50001), direct = open(path, O_RDONLY | O_DIRECT);
	struct vgpu_io_req req;

	close(fd);
	if (direct < 0) {
		print_message("SKIP: no O_DIRECT under /tmp\n");
		skip();
	}
	req = make_req(add_file(io, direct), 0, buf, 1 << 16);
	close(direct);
	assert_int_equal(run(io, &req), 0);
	assert_int_equal(req.done_bytes, 50001);
	assert_memory_equal(buf, copy, 50001);
	assert_int_equal(vgpu_io_close(io), 0);
	munmap(copy, 1 << 16);
	munmap(buf, 1 << 16);
}

static void io_file_add_refuses_what_is_no_file(void **state)
{
	struct vgpu_io *io = open_engine(state, (struct vgpu_io_params){ 0 });
	int pipes[2], folder = open(dir, O_RDONLY);
	uint32_t file;

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(vgpu_io_file_add(io, pipes[0], 0, &file), -ESPIPE);
	assert_int_equal(vgpu_io_file_add(io, folder, 0, &file), -EISDIR);
	assert_int_equal(vgpu_io_file_add(io, -1, 0, &file), -EBADF);
	assert_int_equal(vgpu_io_file_remove(io, 0), -EINVAL);
	assert_int_equal(vgpu_io_file_align(io, 5000), 0);
	assert_int_equal(vgpu_io_close(io), 0);
	close(pipes[0]);
	close(pipes[1]);
	close(folder);
}

/* How many of the first @blocks blocks of a file the page cache holds. */
static uint32_t cached_blocks(int fd, uint32_t blocks)
{
	uint8_t *resident = memory(blocks);
	uint32_t i, n = 0;
	void *map = mmap(NULL, (size_t)blocks * BLOCK, PROT_READ, MAP_SHARED, fd, 0);

	assert_true(map != MAP_FAILED);
	assert_int_equal(mincore(map, (size_t)blocks * BLOCK, resident), 0);
	for (i = 0; i < blocks; i++)
		n += resident[i] & 1;
	munmap(map, (size_t)blocks * BLOCK);
	munmap(resident, blocks);
	return n;
}

/* The page cache holds none of the file's pages once they have been read. */
static void io_buffered_reads_leave_nothing_in_the_page_cache(void **state)
{
	struct vgpu_io *io = open_with((struct vgpu_io_params){ .engine = "buffered" });
	uint8_t *copy = memory(FILE_BYTES);
	int fd = make_file(copy, FILE_BYTES);
	struct vgpu_io_req req = make_req(add_file(io, fd), 0, copy, FILE_BYTES);

	(void)state;
	fsync(fd);
	assert_int_equal(run(io, &req), 0);
	/* Pages on a per-CPU batch on their way to the LRU cannot be dropped yet. */
	assert_true(cached_blocks(fd, BLOCKS) <= BLOCKS / 16);
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(copy, FILE_BYTES);
}

/* Readahead makes folios of up to 2 MiB, which 64 KiB at a time do not drop. */
static void io_small_buffered_reads_leave_little_in_the_page_cache(void **state)
{
	const size_t bytes = 4 * FILE_BYTES, step = 64u << 10;
	struct vgpu_io *io = open_with((struct vgpu_io_params){ .engine = "buffered" });
	uint8_t *copy = memory(bytes), *buf = memory(step);
	int fd = make_file(copy, bytes);
	uint32_t file = add_file(io, fd);

	(void)state;
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	for (size_t at = 0; at < bytes; at += step) {
		struct vgpu_io_req req = make_req(file, at, buf, step);

		assert_int_equal(run(io, &req), 0);
		assert_memory_equal(buf, copy + at, step);
	}
	assert_true(cached_blocks(fd, 4 * BLOCKS) <= BLOCKS);
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(buf, step);
	munmap(copy, bytes);
}

/* Regions -------------------------------------------------------------------------------- */

static void io_regions_come_and_go_while_others_stay(void **state)
{
	struct storm *s = storm_open(open_engine(state, (struct vgpu_io_params){ 0 }));
	void *extra = memory(1 << 20);
	int32_t a, b;

	storm_run(s, 300);
	assert_int_equal(vgpu_io_region_add(s->io, extra, 1 << 19, &a), 0);
	assert_int_equal(vgpu_io_region_add(s->io, (char *)extra + (1 << 19), 1 << 19, &b), 0);
	assert_int_not_equal(a, b);
	assert_int_equal(vgpu_io_region_remove(s->io, a), 0);
	assert_int_equal(vgpu_io_region_remove(s->io, a), -EINVAL);
	assert_int_equal(vgpu_io_region_add(s->io, extra, 1 << 19, &a), 0);
	assert_int_equal(vgpu_io_region_remove(s->io, b), 0);
	assert_int_equal(vgpu_io_region_remove(s->io, a), 0);
	assert_int_equal(vgpu_io_region_add(s->io, (char *)extra + 1, 4096, &a), -EINVAL);
	munmap(extra, 1 << 20);
	storm_close(s);
}

/* The same @piece bytes over and over, so that a large region costs little memory. */
static uint8_t *repeated_memory(uint64_t bytes, uint64_t piece)
{
	int fd = memfd_create("vgpu-io", MFD_CLOEXEC);
	uint8_t *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t at;

	assert_true(p != MAP_FAILED);
	assert_int_equal(ftruncate(fd, piece), 0);
	for (at = 0; at < bytes; at += piece)
		assert_ptr_equal(mmap(p + at, piece, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_FIXED, fd, 0), p + at);
	close(fd);
	return p;
}

static void io_region_beyond_one_gigabyte_is_registered_in_pieces(void **state)
{
	struct vgpu_io *io = open_engine(state, (struct vgpu_io_params){ 0 });
	uint64_t bytes = (UINT64_C(1) << 30) + (4 << 20), edge = UINT64_C(1) << 30;
	uint8_t *copy = memory(1 << 20);
	uint8_t *big = repeated_memory(bytes, 4 << 20);
	int fd = make_file(copy, 1 << 20);
	uint32_t file = add_file(io, fd);
	struct vgpu_io_req req;
	int32_t region;

	assert_int_equal(vgpu_io_region_add(io, big, bytes, &region), 0);
	req = make_req(file, 0, big + edge - (1 << 19), 1 << 20);
	req.buf_index = region;
	assert_int_equal(run(io, &req), 0);
	assert_memory_equal(req.buf, copy, 1 << 20);
	req = make_req(file, 0, big + edge + (1 << 20), 1 << 20);
	req.buf_index = region;
	assert_int_equal(run(io, &req), 0);
	assert_memory_equal(req.buf, copy, 1 << 20);
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(big, bytes);
	munmap(copy, 1 << 20);
}

static bool is_brought_in(uint8_t *p)
{
	unsigned char in;

	assert_int_equal(mincore(p, 4096, &in), 0);
	return in & 1;
}

static void io_region_is_registered_whole_when_asked(void **state)
{
	struct vgpu_io *io = open_engine(state, (struct vgpu_io_params){ 0 });
	const uint64_t bytes = 144u << 20;
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int32_t region;

	assert_true(p != MAP_FAILED);
	madvise(p, bytes, MADV_NOHUGEPAGE);
	assert_int_equal(vgpu_io_region_add(io, p, bytes, &region), 0);
	assert_false(is_brought_in(p + bytes - 4096));
	vgpu_io_region_register(io, region);
	/* Engines without an io_uring, and a refusal, leave memory alone. */
	assert_int_equal(is_brought_in(p + bytes - 4096),
			 strcmp(*state, "threads") && strcmp(*state, "buffered") &&
			 !reason_says(io, "unregistered"));
	vgpu_io_region_register(io, region);
	vgpu_io_region_register(io, region + 1);
	assert_int_equal(vgpu_io_region_remove(io, region), 0);
	assert_int_equal(vgpu_io_close(io), 0);
	munmap(p, bytes);
}

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

/* Faults --------------------------------------------------------------------------------- */

struct bench {
	struct vgpu_io *io;
	uint8_t *copy;
	uint8_t *buf;
	uint32_t file;
	struct vgpu_io_req reqs[16];
};

/* A test engine, a file of sixteen 64 KiB pieces, and a read request for each. */
static struct bench bench_open(struct vgpu_io_params params)
{
	struct bench b;
	int fd, i;

	params.engine = "test";
	b.io = open_with(params);
	b.copy = memory(1 << 20);
	b.buf = memory(1 << 20);
	fd = make_file(b.copy, 1 << 20);
	b.file = add_file(b.io, fd);
	close(fd);
	for (i = 0; i < 16; i++) {
		b.reqs[i] = make_req(b.file, i << 16, b.buf + (i << 16), 1 << 16);
		b.reqs[i].user = i;
	}
	return b;
}

static void bench_close(struct bench *b)
{
	assert_int_equal(vgpu_io_close(b->io), 0);
	munmap(b->copy, 1 << 20);
	munmap(b->buf, 1 << 20);
}

static void bench_submit(struct bench *b, int count)
{
	int i;

	for (i = 0; i < count; i++)
		b->reqs[i].next = i + 1 < count ? &b->reqs[i + 1] : NULL;
	vgpu_io_submit(b->io, b->reqs);
}

static void inject(struct bench *b, struct vgpu_io_fault fault)
{
	assert_int_equal(vgpu_io_test_add(b->io, &fault), 0);
}

static void io_error_reaches_the_request_that_hit_it_and_no_other(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state });
	struct vgpu_io_req *done;
	int i;

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO,
					   .first = 5 << 16, .last = (5 << 16) + 4095 });
	bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	for (i = 0; i < 16; i++) {
		assert_int_equal(b.reqs[i].result, i == 5 ? -EIO : 0);
		assert_int_equal(b.reqs[i].done_bytes, i == 5 ? 0 : 1 << 16);
	}
	assert_int_equal(get_stats(b.io).errors, 1);
	assert_int_equal(vgpu_io_test_hits(b.io), 1);
	bench_close(&b);
}

static void io_error_in_the_middle_tells_how_far_it_came(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state });

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 8192, .count = 1 });
	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO });
	assert_int_equal(run(b.io, &b.reqs[0]), -EIO);
	assert_int_equal(b.reqs[0].done_bytes, 8192);
	assert_memory_equal(b.buf, b.copy, 8192);
	bench_close(&b);
}

static void io_full_disk_is_enospc(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state });

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -ENOSPC,
					   .writes = true });
	b.reqs[0].flags = VGPU_IO_WRITE;
	assert_int_equal(run(b.io, &b.reqs[0]), -ENOSPC);
	assert_int_equal(b.reqs[0].done_bytes, 0);
	assert_int_equal(run(b.io, &b.reqs[1]), 0);
	bench_close(&b);
}

static void io_short_transfers_are_continued(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state, .seed = 3 });
	struct vgpu_io_req *done;
	int i;

	/* 5000 bytes: not a multiple of anything that O_DIRECT likes. */
	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 5000, .one_in = 2 });
	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 20480,
					   .one_in = 2, .writes = true });
	for (i = 8; i < 16; i++) {
		b.reqs[i].flags = VGPU_IO_WRITE;
		memcpy(b.reqs[i].buf, b.copy + (i << 16), 1 << 16);
	}
	bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	for (; done; done = done->next) {
		assert_int_equal(done->result, 0);
		assert_int_equal(done->done_bytes, 1 << 16);
	}
	assert_memory_equal(b.buf, b.copy, 1 << 20);
	assert_true(get_stats(b.io).short_transfers > 8);
	vgpu_io_test_clear(b.io);
	memset(b.buf, 0, 1 << 20);
	for (i = 0; i < 16; i++)
		b.reqs[i].flags = 0;
	bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	assert_memory_equal(b.buf, b.copy, 1 << 20);
	bench_close(&b);
}

static void io_device_that_moves_nothing_is_eio_not_a_loop(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state });

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 0, .writes = true });
	b.reqs[0].flags = VGPU_IO_WRITE;
	assert_int_equal(run(b.io, &b.reqs[0]), -EIO);
	bench_close(&b);
}

static void io_file_that_ends_early_says_where(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state });

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 12288, .count = 1 });
	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 0 });
	assert_int_equal(run(b.io, &b.reqs[0]), 0);
	assert_int_equal(b.reqs[0].done_bytes, 12288);
	bench_close(&b);
}

static void io_interruptions_are_retried_but_not_for_ever(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state });

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EINTR, .count = 3 });
	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EAGAIN, .count = 3 });
	assert_int_equal(run(b.io, &b.reqs[0]), 0);
	assert_memory_equal(b.buf, b.copy, 1 << 16);
	assert_int_equal(get_stats(b.io).retries, 6);
	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EAGAIN });
	assert_int_equal(run(b.io, &b.reqs[1]), -EAGAIN);
	bench_close(&b);
}

static void io_flipped_bit_is_seen_by_the_checksum(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state, .seed = 9 });
	uint32_t crc = vgpu_crc32c(0, b.copy, 1 << 16), bits = 0, i;

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_FLIP, .count = 1 });
	assert_int_equal(run(b.io, &b.reqs[0]), 0);
	assert_int_not_equal(vgpu_crc32c(0, b.buf, 1 << 16), crc);
	for (i = 0; i < 1 << 16; i++)
		bits += __builtin_popcount(b.buf[i] ^ b.copy[i]);
	assert_int_equal(bits, 1);
	assert_int_equal(run(b.io, &b.reqs[0]), 0);
	assert_int_equal(vgpu_crc32c(0, b.buf, 1 << 16), crc);
	bench_close(&b);
}

static void io_completions_may_be_reordered(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state, .depth = 16, .seed = 5 });
	struct vgpu_io_req *done;
	uint64_t expected = 0;
	bool reordered = false;

	assert_int_equal(vgpu_io_test_reorder(b.io, 16), 0);
	bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	for (; done; done = done->next) {
		assert_int_equal(done->result, 0);
		reordered |= done->user != expected++;
	}
	assert_true(reordered);
	assert_memory_equal(b.buf, b.copy, 1 << 20);
	bench_close(&b);
}

static uint64_t hits_with_seed(uint64_t seed, const char *inner)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = inner, .seed = seed });
	struct vgpu_io_req *done;
	uint64_t pattern = 0;
	int i;

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO, .one_in = 3 });
	bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	for (i = 0; i < 16; i++)
		pattern |= (uint64_t)(b.reqs[i].result != 0) << i;
	bench_close(&b);
	return pattern;
}

static void io_same_seed_gives_the_same_faults(void **state)
{
	assert_int_equal(hits_with_seed(1, *state), hits_with_seed(1, *state));
	assert_int_not_equal(hits_with_seed(1, *state), hits_with_seed(12345, *state));
}

/* Deadlines ------------------------------------------------------------------------------ */

static void io_delayed_request_comes_late_and_says_so(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state, .timeout_ms = 200 });
	struct vgpu_io_req *done, *overdue = NULL;

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 700 * MS_NS });
	bench_submit(&b, 1);
	assert_int_equal(vgpu_io_overdue(b.io, &overdue, 1), 0);
	assert_int_equal(vgpu_io_reap(b.io, 1, 1, 400 * MS_NS, &done), 0);
	assert_int_equal(vgpu_io_overdue(b.io, &overdue, 1), 1);
	assert_ptr_equal(overdue, &b.reqs[0]);
	assert_int_equal(vgpu_io_reap(b.io, 1, 1, 20 * SECOND_NS, &done), 1);
	assert_true(done->late);
	assert_int_equal(done->result, 0);
	assert_int_equal(vgpu_io_overdue(b.io, &overdue, 1), 0);
	assert_int_equal(get_stats(b.io).timeouts, 1);
	bench_close(&b);
}

static void io_request_is_not_handed_back_while_its_buffer_may_be_written(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state, .timeout_ms = 300 });
	struct vgpu_io_req *done, *overdue;

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .count = 1 });
	bench_submit(&b, 2);
	assert_int_equal(vgpu_io_reap(b.io, 2, 2, 900 * MS_NS, &done), 1);
	assert_ptr_equal(done, &b.reqs[1]);
	assert_false(done->late);
	vgpu_io_cancel(b.io, &b.reqs[0]);
	assert_int_equal(vgpu_io_reap(b.io, 1, 1, 20 * MS_NS, &done), 0);
	assert_int_equal(vgpu_io_overdue(b.io, &overdue, 1), 1);
	assert_int_equal(vgpu_io_file_remove(b.io, b.file), -EBUSY);

	/* The device wakes up: the transfer really happens, and only then is the buffer ours. */
	assert_int_equal(vgpu_io_test_release(b.io), 0);
	assert_int_equal(vgpu_io_reap(b.io, 1, 1, 20 * SECOND_NS, &done), 1);
	assert_ptr_equal(done, &b.reqs[0]);
	assert_true(done->late);
	assert_memory_equal(b.buf, b.copy, 1 << 16);
	assert_int_equal(vgpu_io_file_remove(b.io, b.file), 0);
	bench_close(&b);
}

static void io_queue_behind_a_dead_device_expires_untouched(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state, .timeout_ms = 40,
							     .depth = 2 });
	struct vgpu_io_req *done;
	int i;

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER });
	bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 14, 14, 5 * SECOND_NS, &done), 14);
	for (; done; done = done->next) {
		assert_int_equal(done->result, -ETIMEDOUT);
		assert_int_equal(done->done_bytes, 0);
		assert_true(done->late);
	}
	for (i = 2 << 16; i < 1 << 20; i++)
		assert_int_equal(b.buf[i], 0);
	assert_int_equal(get_stats(b.io).overdue, 2);
	vgpu_io_test_release(b.io);
	assert_int_equal(vgpu_io_reap(b.io, 2, 2, 20 * SECOND_NS, &done), 2);
	bench_close(&b);
}

static void io_long_queue_on_a_slow_device_does_not_expire(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state, .timeout_ms = 400,
							     .depth = 1 });
	struct vgpu_io_req *done;

	/* 16 x 50 ms: far more in all than a deadline, each far less. */
	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 50 * MS_NS });
	bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	for (; done; done = done->next)
		assert_int_equal(done->result, 0);
	bench_close(&b);
}

static void io_cancelled_before_its_turn_is_ecanceled(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state, .depth = 1 });
	struct vgpu_io_req *done;
	int i;

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 20 * MS_NS });
	bench_submit(&b, 3);
	vgpu_io_cancel(b.io, &b.reqs[1]);
	assert_int_equal(vgpu_io_reap(b.io, 3, 3, 20 * SECOND_NS, &done), 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(b.reqs[i].result, i == 1 ? -ECANCELED : 0);
	vgpu_io_cancel(b.io, &b.reqs[2]);
	bench_close(&b);
}

static void io_close_counts_what_it_has_to_abandon(void **state)
{
	struct bench b = bench_open((struct vgpu_io_params){ .inner = *state, .timeout_ms = 300 });

	inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .count = 3 });
	bench_submit(&b, 16);
	assert_int_equal(vgpu_io_close(b.io), 3);
	munmap(b.copy, 1 << 20);
	munmap(b.buf, 1 << 20);
}

/* Machines that forbid things ------------------------------------------------------------ */

static int child_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int read_works(struct vgpu_io *io, void *buf, int32_t region)
{
	struct vgpu_io_req req = { .offset = 0, .buf = buf, .bytes = BLOCK, .buf_index = region };
	struct vgpu_io_req *done;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || vgpu_io_file_add(io, fd, 0, &req.file))
		return 0;
	close(fd);
	vgpu_io_submit(io, &req);
	return vgpu_io_reap(io, 1, 1, 20 * SECOND_NS, &done) == 1 && !req.result &&
	       req.done_bytes == BLOCK;
}

static int forbidden_child(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	struct vgpu_io_params params = { .engine = "uring" };
	struct vgpu_io *io;

	if (!filter || seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0) ||
	    seccomp_load(filter))
		return 77;
	seccomp_release(filter);
	if (vgpu_io_open(&params, &io) != -EPERM)
		return 1;
	if (vgpu_io_open(NULL, &io))
		return 2;
	if (strcmp(vgpu_io_engine_name(io), "threads"))
		return 3;
	if (!reason_says(io, "seccomp") || !reason_says(io, "Operation not permitted"))
		return 4;
	if (!read_works(io, memory(BLOCK), -1))
		return 5;
	return vgpu_io_close(io) ? 6 : 0;
}

static void io_forbidden_io_uring_falls_back_to_threads_and_says_why(void **state)
{
	uint8_t *copy = memory(BLOCK);
	int status;
	pid_t pid;

	(void)state;
	close(make_file(copy, BLOCK));
	munmap(copy, BLOCK);
	pid = fork();
	if (!pid)
		_exit(forbidden_child());
	status = child_status(pid);
	if (status == 77) {
		print_message("SKIP: no seccomp filter can be loaded here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

static int drop_ipc_lock(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return -1;
	data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
	data[CAP_TO_INDEX(CAP_IPC_LOCK)].permitted &= ~CAP_TO_MASK(CAP_IPC_LOCK);
	return (int)syscall(SYS_capset, &head, data);
}

static int memlock_child(void)
{
	struct vgpu_io_params params = { .engine = "uring" };
	struct rlimit lim = { 65536, 65536 };
	uint8_t *buf = memory(1 << 20);
	struct vgpu_io *io;
	int32_t region;
	int tries;

	if (drop_ipc_lock() || setrlimit(RLIMIT_MEMLOCK, &lim))
		return 77;
	/* Charged to the user: rings of others, also just closed ones, count too. */
	for (tries = 0; vgpu_io_open(&params, &io); tries++) {
		if (tries == 100)
			return 78;
		usleep(20000);
	}
	if (vgpu_io_region_add(io, buf, 1 << 20, &region))
		return 1;
	if (!reason_says(io, "RLIMIT_MEMLOCK must allow 1048576 bytes, soft limit 65536, hard 65536"))
		return 2;
	if (!read_works(io, buf, region))
		return 3;
	if (vgpu_io_region_remove(io, region))
		return 4;
	return vgpu_io_close(io) ? 5 : 0;
}

static void io_memlock_limit_degrades_to_unregistered_buffers_with_numbers(void **state)
{
	uint8_t *copy = memory(BLOCK);
	int status;
	pid_t pid;

	(void)state;
	close(make_file(copy, BLOCK));
	munmap(copy, BLOCK);
	pid = fork();
	if (!pid)
		_exit(memlock_child());
	status = child_status(pid);
	if (status == 77 || status == 78) {
		print_message("SKIP: %s\n", status == 77 ? "CAP_IPC_LOCK cannot be dropped here" :
			      "no io_uring here within 64 KiB of locked memory");
		skip();
	}
	assert_int_equal(status, 0);
}

/* Nobody's rights: neither descriptor can be opened again the other way. */
static int reopen_child(const char *engine)
{
	int plain = open(path, O_RDONLY), direct = open(path, O_RDONLY | O_DIRECT);
	struct vgpu_io_params params = { .engine = engine, .bounce_buffers = 1 };
	uint8_t *buf = memory(1 << 16), *copy = memory(1 << 16);
	struct vgpu_io_file_info info;
	struct vgpu_io_req req;
	struct vgpu_io *io;
	uint32_t file;

	if (direct < 0 || pread(plain, copy, 1 << 16, 0) != 50001 || setresuid(65534, 65534, 65534))
		return 77;
	if (vgpu_io_open(&params, &io) || vgpu_io_file_add(io, plain, 0, &file))
		return 1;
	if (vgpu_io_file_get(io, file, &info) || info.direct || !strstr(info.reason, "refused"))
		return 2;
	if (vgpu_io_file_add(io, direct, 0, &file))
		return 3;
	req = make_req(file, 0, buf, 1 << 16);
	if (run(io, &req) || req.done_bytes != 50001 || memcmp(buf, copy, 50001))
		return 4;
	req = make_req(file, 49000, buf + 1, 5000);
	if (run(io, &req) || req.done_bytes != 1001 || memcmp(buf + 1, copy + 49000, 1001))
		return 5;
	return vgpu_io_close(io) ? 6 : 0;
}

static void io_file_that_cannot_be_reopened_is_read_to_its_end(void **state)
{
	static const char *const each[] = { "auto", "threads" };
	uint8_t *copy = memory(1 << 16);
	int status, i;
	pid_t pid;

	(void)state;
	close(make_file(copy, 50001));
	munmap(copy, 1 << 16);
	for (i = 0; i < 2; i++) {
		pid = fork();
		if (!pid)
			_exit(reopen_child(each[i]));
		status = child_status(pid);
		if (status == 77) {
			print_message("SKIP: no O_DIRECT under /tmp, or the user cannot be changed\n");
			skip();
		}
		assert_int_equal(status, 0);
	}
}

static void io_open_refuses_what_it_does_not_know(void **state)
{
	struct vgpu_io_params params = { .engine = "spdk" };
	char reason[VGPU_IO_REASON_BYTES];
	struct vgpu_io *io;

	(void)state;
	assert_int_equal(vgpu_io_open(&params, &io), -EINVAL);
	params = (struct vgpu_io_params){ .depth = VGPU_IO_DEPTH_MAX + 1 };
	assert_int_equal(vgpu_io_open(&params, &io), -EINVAL);
	params = (struct vgpu_io_params){ .engine = "test", .inner = "test" };
	assert_int_equal(vgpu_io_open(&params, &io), -EINVAL);
	assert_int_equal(vgpu_io_open(NULL, &io), 0);
	assert_int_equal(vgpu_io_test_clear(io), -EINVAL);
	assert_true(vgpu_io_engine_reason(io, reason, sizeof(reason)) > 0);
	assert_int_equal(vgpu_io_close(io), 0);
	assert_int_equal(vgpu_io_close(NULL), 0);
}

/* Probe ---------------------------------------------------------------------------------- */

static void io_probe_measures_every_engine_it_can_have(void **state)
{
	struct vgpu_io_probe_result result;
	uint8_t *copy = memory(FILE_BYTES);
	int fd = make_file(copy, FILE_BYTES);
	bool threads = false, uring = false;
	uint64_t bytes = 0;
	uint32_t i;

	(void)state;
	assert_int_equal(vgpu_io_probe(fd, 65536, 16 << 20, &result), 0);
	assert_true(result.count >= 2);
	assert_true(result.best < result.count);
	for (i = 0; i < result.count; i++) {
		assert_true(result.rows[i].gbps <= result.rows[result.best].gbps);
		threads |= !strcmp(result.rows[i].engine, "threads");
		uring |= !strcmp(result.rows[i].engine, "uring");
		bytes += result.rows[i].bytes;
	}
	assert_true(bytes <= 16 << 20);
	assert_true(threads);
	assert_int_equal(uring, engine_available("uring"));
	assert_non_null(strstr(result.reason, result.rows[result.best].engine));
	assert_int_equal(vgpu_io_probe(fd, 65536, 65536, &result), -ENODATA);
	assert_int_equal(vgpu_io_probe(fd, 1000, 16 << 20, &result), -EINVAL);
	close(fd);
	munmap(copy, FILE_BYTES);
}

/* -------------------------------------------------------------------------------------- */

#define TEST(f)	{ #f, f }

struct test {
	const char *name;
	CMUnitTestFunction function;
};

/* In a child: before any engine has made a thread, which a sanitizer would mind. */
static const struct test once_tests[] = {
	TEST(io_forbidden_io_uring_falls_back_to_threads_and_says_why),
	TEST(io_memlock_limit_degrades_to_unregistered_buffers_with_numbers),
	TEST(io_file_that_cannot_be_reopened_is_read_to_its_end),
	TEST(io_open_refuses_what_it_does_not_know),
	TEST(io_buffered_reads_leave_nothing_in_the_page_cache),
	TEST(io_small_buffered_reads_leave_little_in_the_page_cache),
	TEST(io_probe_measures_every_engine_it_can_have),
	TEST(io_ring_does_transfers_and_nothing_else),
};

static const struct test engine_tests[] = {
	TEST(io_reads_files_of_any_size_to_their_last_byte),
	TEST(io_writes_what_another_reader_sees),
	TEST(io_ten_thousand_requests_match_a_shadow_copy),
	TEST(io_one_thread_promise_gives_the_same_bytes),
	TEST(io_reads_unaligned_ranges_through_bounce_buffers),
	TEST(io_refuses_bad_requests_one_by_one),
	TEST(io_requests_survive_the_thread_that_submitted_them),
	TEST(io_close_gives_back_what_was_never_reaped),
	TEST(io_file_is_direct_exactly_where_open_takes_it),
	TEST(io_direct_descriptor_of_the_caller_reaches_the_tail_too),
	TEST(io_file_add_refuses_what_is_no_file),
	TEST(io_regions_come_and_go_while_others_stay),
	TEST(io_region_beyond_one_gigabyte_is_registered_in_pieces),
	TEST(io_region_is_registered_whole_when_asked),
};

static const struct test fault_tests[] = {
	TEST(io_error_reaches_the_request_that_hit_it_and_no_other),
	TEST(io_error_in_the_middle_tells_how_far_it_came),
	TEST(io_full_disk_is_enospc),
	TEST(io_short_transfers_are_continued),
	TEST(io_device_that_moves_nothing_is_eio_not_a_loop),
	TEST(io_file_that_ends_early_says_where),
	TEST(io_interruptions_are_retried_but_not_for_ever),
	TEST(io_flipped_bit_is_seen_by_the_checksum),
	TEST(io_completions_may_be_reordered),
	TEST(io_same_seed_gives_the_same_faults),
	TEST(io_delayed_request_comes_late_and_says_so),
	TEST(io_request_is_not_handed_back_while_its_buffer_may_be_written),
	TEST(io_queue_behind_a_dead_device_expires_untouched),
	TEST(io_long_queue_on_a_slow_device_does_not_expire),
	TEST(io_cancelled_before_its_turn_is_ecanceled),
	TEST(io_close_counts_what_it_has_to_abandon),
};

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define TESTS_MAX	128

static struct CMUnitTest tests[TESTS_MAX];
static char names[TESTS_MAX][96];
static size_t test_count;

static void add_test(const struct test *test, const char *engine)
{
	snprintf(names[test_count], sizeof(names[0]), "%s%s%s", test->name, engine ? " " : "",
		 engine ? engine : "");
	tests[test_count] = (struct CMUnitTest){
		.name = names[test_count],
		.test_func = test->function,
		.initial_state = (void *)engine,
	};
	test_count++;
}

static void add_tests(const struct test *list, size_t count, const char *engine)
{
	size_t i;

	for (i = 0; i < count; i++)
		add_test(&list[i], engine);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/file", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	add_tests(once_tests, COUNT(once_tests), NULL);
	add_tests(engine_tests, COUNT(engine_tests), "uring");
	add_tests(engine_tests, COUNT(engine_tests), "threads");
	add_tests(engine_tests, COUNT(engine_tests), "buffered");
	add_tests(engine_tests, COUNT(engine_tests), "test");
	add_tests(fault_tests, COUNT(fault_tests), "auto");
	add_tests(fault_tests, COUNT(fault_tests), "threads");
	return _cmocka_run_group_tests("io", tests, test_count, setup, teardown);
}

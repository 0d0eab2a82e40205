// SPDX-License-Identifier: MIT
/*
 * I/O engines against a file system that lies, fails and falls silent: tests/fault/fuse_faulty.c,
 * mounted under /tmp by a child.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/each_engine.h"
#include "common/fuse_mount.h"
#include "exec/io.h"

#define PIECE		65536u
#define PIECES		16u
#define FILE_BYTES	(PIECE * PIECES)
#define SECOND_NS	INT64_C(1000000000)
#define MS_NS		INT64_C(1000000)

static struct fuse_mount mount_point;
static uint8_t content[FILE_BYTES];

/**
 * struct site - a mounted file and an engine that reads it
 * @io: engine
 * @file: its number for the file
 * @buf: FILE_BYTES, aligned
 * @reqs: a read of each piece
 */
struct site {
	struct vgpu_io *io;
	uint32_t file;
	uint8_t *buf;
	struct vgpu_io_req reqs[PIECES];
};

/* Not on a stack: what a close abandons may be written to later. */
static struct site site;

static void site_file(struct site *s, int access)
{
	int fd = open(mount_point.file, access);
	uint32_t i;

	assert_true(fd >= 0);
	assert_int_equal(vgpu_io_file_add(s->io, fd, 0, &s->file), 0);
	close(fd);
	for (i = 0; i < PIECES; i++)
		s->reqs[i] = (struct vgpu_io_req){
			.file = s->file, .offset = i * PIECE, .bytes = PIECE,
			.buf = s->buf + i * PIECE, .buf_index = -1, .user = i,
			.next = i + 1 < PIECES ? &s->reqs[i + 1] : NULL,
		};
}

/* Mount with @rules (up to NULL) and open the engine that the test was made for. */
static struct site *site_open_deep(void **state, uint32_t timeout_ms, uint32_t depth,
				   const char *const *rules)
{
	struct vgpu_io_params params = { .engine = *state, .timeout_ms = timeout_ms,
					 .depth = depth };
	struct site *s = &site;

	if (mount_point.why_not) {
		print_message("SKIP: %s\n", mount_point.why_not);
		skip();
	}
	if (vgpu_io_open(&params, &s->io)) {
		print_message("SKIP: engine %s is not to be had here\n", params.engine);
		skip();
	}
	s->buf = aligned_alloc(4096, FILE_BYTES);
	assert_non_null(s->buf);
	memset(s->buf, 0, FILE_BYTES);
	assert_int_equal(fuse_mount_fill(&mount_point, content, FILE_BYTES), 0);
	assert_int_equal(fuse_mount_start(&mount_point, rules), 0);
	site_file(s, O_RDWR);
	return s;
}

static struct site *site_open(void **state, uint32_t timeout_ms, const char *const *rules)
{
	return site_open_deep(state, timeout_ms, 0, rules);
}

static void site_close(struct site *s)
{
	assert_int_equal(vgpu_io_close(s->io), 0);
	free(s->buf);
}

/* After every test, failed or not. */
static int unmount(void **state)
{
	(void)state;
	return fuse_mount_end(&mount_point);
}

static uint32_t reap(struct site *s, uint32_t count, int64_t ns)
{
	struct vgpu_io_req *done;
	int n = vgpu_io_reap(s->io, count, count, ns, &done);

	assert_true(n >= 0);
	return (uint32_t)n;
}

static void read_all(struct site *s)
{
	vgpu_io_submit(s->io, s->reqs);
	assert_int_equal(reap(s, PIECES, 20 * SECOND_NS), PIECES);
}

/* Tests ---------------------------------------------------------------------------------- */

static void fuse_file_is_read_and_written_like_any_other(void **state)
{
	struct site *s = site_open(state, 0, FUSE_NO_RULES);
	uint8_t back[PIECE];
	uint32_t i;
	int fd;

	read_all(s);
	for (i = 0; i < PIECES; i++)
		assert_int_equal(s->reqs[i].result, 0);
	assert_memory_equal(s->buf, content, FILE_BYTES);

	memset(s->buf + PIECE, 0x77, PIECE);
	s->reqs[1].flags = VGPU_IO_WRITE;
	s->reqs[1].next = NULL;
	vgpu_io_submit(s->io, &s->reqs[1]);
	assert_int_equal(reap(s, 1, 20 * SECOND_NS), 1);
	assert_int_equal(s->reqs[1].result, 0);
	fd = open(mount_point.backing, O_RDONLY);
	assert_int_equal(pread(fd, back, PIECE, PIECE), PIECE);
	close(fd);
	assert_memory_equal(back, s->buf + PIECE, PIECE);
	site_close(s);
}

static void fuse_eio_hits_the_request_that_covers_it(void **state)
{
	struct site *s = site_open(state, 0, FUSE_RULES("eio@300000"));
	uint32_t i;

	read_all(s);
	for (i = 0; i < PIECES; i++) {
		assert_int_equal(s->reqs[i].result, i == 300000 / PIECE ? -EIO : 0);
		if (s->reqs[i].result)
			continue;
		assert_int_equal(s->reqs[i].done_bytes, PIECE);
		assert_memory_equal(s->reqs[i].buf, content + i * PIECE, PIECE);
	}
	site_close(s);
}

static void fuse_enospc_is_reported_on_the_write(void **state)
{
	struct site *s = site_open(state, 0, FUSE_RULES("enospc@70000"));

	memcpy(s->buf, content, FILE_BYTES);
	s->reqs[0].flags = VGPU_IO_WRITE;
	s->reqs[1].flags = VGPU_IO_WRITE;
	s->reqs[1].next = NULL;
	vgpu_io_submit(s->io, s->reqs);
	assert_int_equal(reap(s, 2, 20 * SECOND_NS), 2);
	assert_int_equal(s->reqs[0].result, 0);
	assert_int_equal(s->reqs[1].result, -ENOSPC);
	site_close(s);
}

static void fuse_short_answers_are_continued_to_the_same_bytes(void **state)
{
	struct site *s = site_open(state, 0, FUSE_RULES("short@0:100", "short@65536:5000",
						       "short@131072:4096", "short@200000:61440"));
	uint32_t i;

	read_all(s);
	for (i = 0; i < PIECES; i++) {
		assert_int_equal(s->reqs[i].result, 0);
		assert_int_equal(s->reqs[i].done_bytes, PIECE);
		assert_memory_equal(s->reqs[i].buf, content + i * PIECE, PIECE);
	}
	site_close(s);
}

static void fuse_file_shorter_than_it_says_ends_at_its_last_byte(void **state)
{
	struct site *s = site_open(state, 0, FUSE_RULES("size@1048576"));
	uint32_t i;

	assert_int_equal(truncate(mount_point.backing, 500000), 0);
	read_all(s);
	for (i = 0; i < PIECES; i++) {
		assert_int_equal(s->reqs[i].result, 0);
		assert_int_equal(s->reqs[i].done_bytes, i * PIECE >= 500000 ? 0 :
				 (i + 1) * PIECE <= 500000 ? PIECE : 500000 - i * PIECE);
		assert_memory_equal(s->reqs[i].buf, content + i * PIECE, s->reqs[i].done_bytes);
	}
	site_close(s);
}

static void fuse_file_truncated_under_us_ends_there(void **state)
{
	struct site *s = site_open(state, 0, FUSE_NO_RULES);
	uint32_t i;

	read_all(s);
	assert_int_equal(truncate(mount_point.backing, 3 * PIECE + 77), 0);
	for (i = 0; i < PIECES; i++)
		s->reqs[i].next = i + 1 < PIECES ? &s->reqs[i + 1] : NULL;
	read_all(s);
	for (i = 0; i < PIECES; i++) {
		assert_int_equal(s->reqs[i].result, 0);
		assert_int_equal(s->reqs[i].done_bytes, i < 3 ? PIECE : i == 3 ? 77 : 0);
	}
	site_close(s);
}

static void fuse_slow_answer_is_late_but_right(void **state)
{
	struct site *s = site_open(state, 100, FUSE_RULES("delay@0:600"));
	struct vgpu_io_req *overdue;
	uint32_t back;

	s->reqs[0].next = NULL;
	vgpu_io_submit(s->io, s->reqs);
	back = reap(s, 1, 300 * MS_NS);
	if (!back) {
		assert_int_equal(vgpu_io_overdue(s->io, &overdue, 1), 1);
		assert_ptr_equal(overdue, &s->reqs[0]);
		back = reap(s, 1, 20 * SECOND_NS);
	}
	assert_int_equal(back, 1);
	assert_true(s->reqs[0].late);
	/* Cancelled in time, or answered in full; never anything between. */
	if (s->reqs[0].result)
		assert_int_equal(s->reqs[0].result, -ETIMEDOUT);
	else
		assert_memory_equal(s->buf, content, PIECE);
	site_close(s);
}

static void fuse_silent_server_holds_one_request_until_it_dies(void **state)
{
	struct site *s = site_open(state, 150, FUSE_RULES("hang@131072"));
	struct vgpu_io_req *overdue;
	uint32_t i, back;

	vgpu_io_submit(s->io, s->reqs);
	back = reap(s, PIECES, SECOND_NS);
	assert_true(back >= PIECES - 1);
	for (i = 0; i < PIECES; i++) {
		if (i == 2)
			continue;
		assert_int_equal(s->reqs[i].result, 0);
		assert_memory_equal(s->reqs[i].buf, content + i * PIECE, PIECE);
	}
	if (back < PIECES) {
		assert_int_equal(vgpu_io_overdue(s->io, &overdue, 1), 1);
		assert_int_equal(overdue->user, 2);
		assert_int_equal(vgpu_io_file_remove(s->io, s->file), -EBUSY);
		kill(mount_point.pid, SIGKILL);
		assert_int_equal(reap(s, 1, 20 * SECOND_NS), 1);
	}
	assert_true(s->reqs[2].late);
	assert_true(s->reqs[2].result < 0);
	assert_int_equal(s->reqs[2].done_bytes, 0);
	assert_int_equal(vgpu_io_overdue(s->io, &overdue, 1), 0);
	site_close(s);
}

static void fuse_silent_requests_set_aside_make_room_for_others(void **state)
{
	struct site *s = site_open_deep(state, 60000, 2, FUSE_RULES("hang@0", "hang@65536"));
	struct vgpu_io_stats stats;
	uint32_t i;

	vgpu_io_submit(s->io, s->reqs);
	assert_int_equal(reap(s, 1, SECOND_NS / 2), 0);
	vgpu_io_stats_get(s->io, &stats);
	assert_int_equal(stats.in_flight, 2);
	for (i = 0; i < 4; i++)
		vgpu_io_set_aside(s->io, &s->reqs[i / 2]);
	assert_int_equal(reap(s, PIECES - 2, 20 * SECOND_NS), PIECES - 2);
	for (i = 2; i < PIECES; i++)
		assert_int_equal(s->reqs[i].result, 0);
	assert_memory_equal(s->buf + 2 * PIECE, content + 2 * PIECE, FILE_BYTES - 2 * PIECE);
	kill(mount_point.pid, SIGKILL);
	assert_int_equal(reap(s, 2, 20 * SECOND_NS), 2);
	site_close(s);
}

static void *abandoned[8];
static int abandoned_count;

static void fuse_silent_server_is_abandoned_at_close(void **state)
{
	struct site *s = site_open(state, 150, FUSE_RULES("hang@0"));
	uint32_t lost;

	s->reqs[0].next = NULL;
	vgpu_io_submit(s->io, s->reqs);
	lost = vgpu_io_close(s->io);
	assert_true(lost <= 1);
	/* What was abandoned may still be written to, so the buffer stays, reachable for ever. */
	if (lost)
		abandoned[abandoned_count++] = s->buf;
	else
		free(s->buf);
}

/* -------------------------------------------------------------------------------------- */

static const struct engine_test list[] = {
	ENGINE_TEST(fuse_file_is_read_and_written_like_any_other),
	ENGINE_TEST(fuse_eio_hits_the_request_that_covers_it),
	ENGINE_TEST(fuse_enospc_is_reported_on_the_write),
	ENGINE_TEST(fuse_short_answers_are_continued_to_the_same_bytes),
	ENGINE_TEST(fuse_file_shorter_than_it_says_ends_at_its_last_byte),
	ENGINE_TEST(fuse_file_truncated_under_us_ends_there),
	ENGINE_TEST(fuse_slow_answer_is_late_but_right),
	ENGINE_TEST(fuse_silent_server_holds_one_request_until_it_dies),
	ENGINE_TEST(fuse_silent_requests_set_aside_make_room_for_others),
	ENGINE_TEST(fuse_silent_server_is_abandoned_at_close),
};

static int setup(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < FILE_BYTES; i++)
		content[i] = (uint8_t)(i * 2654435761u >> 24);
	return fuse_mount_init(&mount_point);
}

static int teardown(void **state)
{
	(void)state;
	return fuse_mount_remove(&mount_point);
}

int main(void)
{
	static const struct engine_tests t = {
		.group = "io_fuse", .tests = list, .count = sizeof(list) / sizeof(list[0]),
		.engines = file_engines, .setup = setup, .teardown = teardown,
		.test_teardown = unmount,
	};

	return engine_tests_run(&t);
}

// SPDX-License-Identifier: MIT
/* The trace format: what is written comes back, and nothing else is accepted. */
#include "exec/trace.h"

#include "exec/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static const struct vgpu_trace_header tier = {
	.chunk_bytes = 64 << 10, .capacity = 1000, .staging = 16, .policy = "schedule",
};

static int memory_file(void)
{
	int fd = memfd_create("trace", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* The i-th record of a test trace. */
static struct vgpu_trace_record record_of(uint32_t i)
{
	struct vgpu_trace_record record = {
		.key = vgpu_policy_key(i % 7, i),
		.wait_us = i * 3,
		.event = (uint8_t)(i % VGPU_TRACE_EVENTS),
	};

	if (vgpu_trace_is_access(record.event) && i % 2)
		record.flags = VGPU_ACCESS_MUST_ADMIT;
	return record;
}

/* A file with @count records; the offset is at its start. */
static int trace_file(uint32_t count)
{
	struct vgpu_trace_writer *writer;
	int fd = memory_file();

	assert_int_equal(vgpu_trace_create(fd, &tier, &writer), 0);
	for (uint32_t i = 0; i < count; i++) {
		struct vgpu_trace_record r = record_of(i);

		vgpu_trace_put(writer, r.event, r.key, r.flags, r.wait_us);
	}
	assert_int_equal(vgpu_trace_finish(writer), 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR),
			 VGPU_TRACE_HEADER_BYTES + (off_t)count * VGPU_TRACE_RECORD_BYTES);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void trace_reads_back_what_was_written(void **state)
{
	static const uint32_t counts[] = { 0, 1, 4095, 4096, 4097, 20000 };

	(void)state;
	for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
		struct vgpu_trace_reader *reader;
		struct vgpu_trace_record got;
		int fd = trace_file(counts[c]);

		assert_int_equal(vgpu_trace_open(fd, &reader), 0);
		assert_memory_equal(vgpu_trace_header(reader), &tier, sizeof(tier));
		for (uint32_t i = 0; i < counts[c]; i++) {
			struct vgpu_trace_record expected = record_of(i);

			assert_int_equal(vgpu_trace_position(reader), i);
			assert_int_equal(vgpu_trace_next(reader, &got), 1);
			assert_int_equal(got.key, expected.key);
			assert_int_equal(got.wait_us, expected.wait_us);
			assert_int_equal(got.event, expected.event);
			assert_int_equal(got.flags, expected.flags);
		}
		assert_int_equal(vgpu_trace_next(reader, &got), 0);
		assert_int_equal(vgpu_trace_next(reader, &got), 0);
		assert_false(vgpu_trace_truncated(reader));
		vgpu_trace_close(reader);
		close(fd);
	}
}

/* The bytes of trace.h, so that the layout cannot change unnoticed. */
static void trace_layout_is_as_documented(void **state)
{
	static const uint8_t expected[VGPU_TRACE_HEADER_BYTES + VGPU_TRACE_RECORD_BYTES] = {
		'V', 'G', 'P', 'U', 'T', 'R', 'C', '\n', 1, 0, 0, 0, 64, 0, 0, 0,
		16, 0, 0, 0, 0xe8, 3, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 1, 0, 0, 0, 0, 0, 's', 'c', 'h', 'e', 'd', 'u', 'l', 'e',
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0x44, 0x33, 0x22, 0x11, 0xdd, 0xcc, 0xbb, 0xaa, 4, 3, 2, 1, 2, 1, 0, 0,
	};
	struct vgpu_trace_writer *writer;
	uint8_t got[sizeof(expected)];
	int fd = memory_file();

	(void)state;
	assert_int_equal(vgpu_trace_create(fd, &tier, &writer), 0);
	vgpu_trace_put(writer, VGPU_TRACE_BYPASS, 0xaabbccdd11223344, VGPU_ACCESS_MUST_ADMIT,
		       0x01020304);
	assert_int_equal(vgpu_trace_finish(writer), 0);
	assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(got, expected, sizeof(expected));
	close(fd);
}

static void trace_header_with_any_wrong_byte_is_rejected(void **state)
{
	uint8_t bytes[VGPU_TRACE_HEADER_BYTES];
	struct vgpu_trace_reader *reader;
	int fd = trace_file(0);

	(void)state;
	assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
	for (size_t at = 0; at < sizeof(bytes); at++) {
		/* Capacity and staging may be any number, the name any text. */
		bool free_field = (at >= 20 && at < 28) || (at >= 40 && at < 48);
		int rc;

		bytes[at] ^= 0x81;
		rc = vgpu_trace_open_memory(bytes, sizeof(bytes), &reader);
		if (free_field && at < 28) {
			assert_int_equal(rc, 0);
			vgpu_trace_close(reader);
		} else {
			assert_int_equal(rc, -EBADMSG);
		}
		bytes[at] ^= 0x81;
	}
	for (size_t count = 0; count < sizeof(bytes); count++)
		assert_int_equal(vgpu_trace_open_memory(bytes, count, &reader), -EBADMSG);
	memset(bytes + 40, 'x', 16);
	assert_int_equal(vgpu_trace_open_memory(bytes, sizeof(bytes), &reader), -EBADMSG);
	memcpy(bytes + 40, "schedule\0hidden", 16);
	assert_int_equal(vgpu_trace_open_memory(bytes, sizeof(bytes), &reader), -EBADMSG);
}

static void expect_bad_record(const uint8_t *bytes, size_t count, size_t at, uint8_t value)
{
	uint8_t *copy = malloc(count);
	struct vgpu_trace_reader *reader;
	struct vgpu_trace_record record;

	assert_non_null(copy);
	memcpy(copy, bytes, count);
	copy[VGPU_TRACE_HEADER_BYTES + VGPU_TRACE_RECORD_BYTES + at] = value;
	assert_int_equal(vgpu_trace_open_memory(copy, count, &reader), 0);
	assert_int_equal(vgpu_trace_next(reader, &record), 1);
	assert_int_equal(vgpu_trace_next(reader, &record), -EBADMSG);
	assert_int_equal(vgpu_trace_position(reader), 1);
	assert_int_equal(vgpu_trace_next(reader, &record), -EBADMSG);
	vgpu_trace_close(reader);
	free(copy);
}

static void trace_record_with_a_forbidden_field_is_rejected(void **state)
{
	uint8_t bytes[VGPU_TRACE_HEADER_BYTES + 3 * VGPU_TRACE_RECORD_BYTES];
	struct vgpu_trace_writer *writer;
	int fd = memory_file();

	(void)state;
	assert_int_equal(vgpu_trace_create(fd, &tier, &writer), 0);
	vgpu_trace_put(writer, VGPU_TRACE_HIT, 1, 0, 0);
	vgpu_trace_put(writer, VGPU_TRACE_EVICT, UINT64_MAX - 0xff, 0, 0);
	vgpu_trace_put(writer, VGPU_TRACE_HIT, 3, 0, 0);
	assert_int_equal(vgpu_trace_finish(writer), 0);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	close(fd);
	expect_bad_record(bytes, sizeof(bytes), 0, 0xff); /* the key becomes NONE */
	expect_bad_record(bytes, sizeof(bytes), 12, VGPU_TRACE_EVENTS);
	expect_bad_record(bytes, sizeof(bytes), 12, 0xff);
	expect_bad_record(bytes, sizeof(bytes), 13, VGPU_ACCESS_MUST_ADMIT); /* no access */
	expect_bad_record(bytes, sizeof(bytes), 13, 0x80);
	expect_bad_record(bytes, sizeof(bytes), 14, 1);
	expect_bad_record(bytes, sizeof(bytes), 15, 1);
}

static void trace_cut_inside_a_record_gives_the_whole_ones(void **state)
{
	(void)state;
	for (off_t cut = 0; cut < 2 * VGPU_TRACE_RECORD_BYTES; cut++) {
		struct vgpu_trace_reader *reader;
		struct vgpu_trace_uses uses;
		uint64_t records = 0;
		int fd = trace_file(10);

		assert_int_equal(ftruncate(fd, VGPU_TRACE_HEADER_BYTES +
					   10 * VGPU_TRACE_RECORD_BYTES - cut), 0);
		assert_int_equal(vgpu_trace_open(fd, &reader), 0);
		assert_int_equal(vgpu_trace_load_uses(reader, &uses), 0);
		assert_int_equal(vgpu_trace_truncated(reader),
				 cut % VGPU_TRACE_RECORD_BYTES != 0);
		for (int event = 0; event < VGPU_TRACE_EVENTS; event++)
			records += uses.events[event];
		assert_int_equal(records, (10 * VGPU_TRACE_RECORD_BYTES - cut) /
				 VGPU_TRACE_RECORD_BYTES);
		vgpu_trace_free_uses(&uses);
		vgpu_trace_close(reader);
		close(fd);
	}
}

static void trace_load_keeps_the_accesses_in_order(void **state)
{
	enum { COUNT = 50000 };
	struct vgpu_trace_reader *reader;
	struct vgpu_trace_uses uses;
	uint64_t wait_us = 0;
	size_t at = 0;
	int fd = trace_file(COUNT);

	(void)state;
	assert_int_equal(vgpu_trace_open(fd, &reader), 0);
	assert_int_equal(vgpu_trace_load_uses(reader, &uses), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		struct vgpu_trace_record expected = record_of(i);

		wait_us += expected.wait_us;
		if (!vgpu_trace_is_access(expected.event))
			continue;
		assert_true(at < uses.count);
		assert_int_equal(uses.keys[at], expected.key);
		assert_int_equal(uses.flags[at++], expected.flags);
	}
	assert_int_equal(at, uses.count);
	assert_int_equal(wait_us, uses.wait_us);
	vgpu_trace_free_uses(&uses);
	vgpu_trace_close(reader);
	close(fd);
}

static void trace_through_a_pipe_in_small_pieces(void **state)
{
	struct vgpu_trace_reader *reader;
	struct vgpu_trace_uses uses;
	uint8_t bytes[VGPU_TRACE_HEADER_BYTES + 9 * VGPU_TRACE_RECORD_BYTES];
	int ends[2], fd = trace_file(9);

	(void)state;
	assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
	/* O_DIRECT makes every write a packet, so each read is short. */
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_DIRECT), 0);
	for (size_t at = 0; at < sizeof(bytes); at += 13) {
		size_t piece = sizeof(bytes) - at < 13 ? sizeof(bytes) - at : 13;

		assert_int_equal(write(ends[1], bytes + at, piece), piece);
	}
	close(ends[1]);
	assert_int_equal(vgpu_trace_open(ends[0], &reader), 0);
	assert_int_equal(vgpu_trace_load_uses(reader, &uses), 0);
	assert_int_equal(uses.count, 3);
	assert_false(vgpu_trace_truncated(reader));
	vgpu_trace_free_uses(&uses);
	vgpu_trace_close(reader);
	close(ends[0]);
}

static void trace_errors_of_the_descriptor_are_reported(void **state)
{
	struct vgpu_trace_header bad = tier;
	struct vgpu_trace_writer *writer;
	struct vgpu_trace_reader *reader;
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int fd = memory_file();

	(void)state;
	assert_true(full >= 0 && null >= 0);
	assert_int_equal(vgpu_trace_create(full, &tier, &writer), -ENOSPC);
	assert_int_equal(vgpu_trace_create(-1, &tier, &writer), -EBADF);
	assert_int_equal(vgpu_trace_open(-1, &reader), -EBADF);
	assert_int_equal(vgpu_trace_open(null, &reader), -EBADMSG);
	assert_int_equal(vgpu_trace_open(full, &reader), -EBADF);
	bad.chunk_bytes = 3 << 16;
	assert_int_equal(vgpu_trace_create(fd, &bad, &writer), -EINVAL);
	bad.chunk_bytes = 4 << 20;
	assert_int_equal(vgpu_trace_create(fd, &bad, &writer), -EINVAL);
	bad = tier;
	memset(bad.policy, 'p', sizeof(bad.policy));
	assert_int_equal(vgpu_trace_create(fd, &bad, &writer), -EINVAL);

	/* A disk that fills up later: recording goes on quietly, the end tells. */
	assert_int_equal(vgpu_trace_create(fd, &tier, &writer), 0);
	assert_int_equal(dup2(full, fd), fd);
	for (uint32_t i = 0; i < 10000; i++)
		vgpu_trace_put(writer, VGPU_TRACE_HIT, i, 0, 0);
	assert_int_equal(vgpu_trace_finish(writer), -ENOSPC);
	vgpu_trace_put(NULL, VGPU_TRACE_HIT, 0, 0, 0);
	assert_int_equal(vgpu_trace_finish(NULL), 0);
	vgpu_trace_close(NULL);
	close(full);
	close(null);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(trace_reads_back_what_was_written),
		cmocka_unit_test(trace_layout_is_as_documented),
		cmocka_unit_test(trace_header_with_any_wrong_byte_is_rejected),
		cmocka_unit_test(trace_record_with_a_forbidden_field_is_rejected),
		cmocka_unit_test(trace_cut_inside_a_record_gives_the_whole_ones),
		cmocka_unit_test(trace_load_keeps_the_accesses_in_order),
		cmocka_unit_test(trace_through_a_pipe_in_small_pieces),
		cmocka_unit_test(trace_errors_of_the_descriptor_are_reported),
	};

	return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}

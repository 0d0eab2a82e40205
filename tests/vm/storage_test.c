// SPDX-License-Identifier: MIT
/*
 * Storage that fails under the module and the library's executor: who needs what did not
 * come is told, all others have what is theirs, and nobody waits for ever.
 *
 * The disk vb1 has sectors that cannot be read from 2 MiB on, and sectors that cannot be
 * written from 4 MiB on, eight each, 256 KiB apart (tests/vm/run.sh).
 */
#include "selftests/client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "exec/exec.h"
#include "vm/machine.h"

#define DISK		"/dev/vb1"
#define DISK_BYTES	(16u << 20)
#define READ_BAD	(2u << 20)
#define WRITE_BAD	(4u << 20)
#define BAD_STEP	(256u << 10)
#define BAD_COUNT	8u
#define ARENA_HEADER	(64u << 10)
#define HOST_SLOTS	16u
#define WAIT_MS		60000u

/* ---- the disk ---- */

static bool has_bad(uint64_t first_bad, uint64_t from, uint64_t bytes)
{
	for (uint32_t i = 0; i < BAD_COUNT; i++)
		if (first_bad + i * BAD_STEP >= from && first_bad + i * BAD_STEP < from + bytes)
			return true;
	return false;
}

static bool slot_has_bad(uint64_t first_bad, uint32_t slot)
{
	return has_bad(first_bad, ARENA_HEADER + chunks(slot), rig.chunk_bytes);
}

static void *aligned(uint64_t bytes)
{
	void *p = aligned_alloc(4096, bytes);

	assert_non_null(p);
	return p;
}

/* The pattern up to where writes fail; what cannot be read is written too. */
static int patterned_disk(void)
{
	const uint64_t piece = 64 << 10;
	int fd = open(DISK, O_RDWR | O_DIRECT);
	uint8_t *p = aligned(piece);

	assert_true(fd >= 0);
	for (uint64_t at = 0; at < WRITE_BAD; at += piece) {
		for (uint64_t i = 0; i < piece; i++)
			p[i] = rig_pattern(at + i);
		assert_int_equal(pwrite(fd, p, piece, (off_t)at), piece);
	}
	free(p);
	return fd;
}

/* An arena is made on a disk that is blank at both ends, or was one. */
static void blank_disk(void)
{
	int fd = open(DISK, O_RDWR | O_DIRECT);
	uint8_t *p = aligned(1 << 20);

	assert_true(fd >= 0);
	memset(p, 0, 1 << 20);
	assert_int_equal(pwrite(fd, p, 1 << 20, 0), 1 << 20);
	assert_int_equal(pwrite(fd, p, 1 << 20, DISK_BYTES - (1 << 20)), 1 << 20);
	close(fd);
	free(p);
}

/* ---- the device ---- */

static int try_exec(const char *path, uint32_t slots, char *text, size_t len)
{
	struct vgpu_exec_params p = {
		.chunk_bytes = rig.chunk_bytes, .threads = 1, .host_bytes = chunks(HOST_SLOTS),
		.nvme_path = path, .nvme_bytes = chunks(slots), .io_timeout_ms = 1000,
	};
	struct vgpu_uapi *node;
	int rc = rig_exec_node(&rig, &node);

	return rc ? rc : vgpu_exec_open(node, &p, text, len, &rig.real);
}

static void start(const char *path, uint32_t slots)
{
	char text[512] = "";
	int rc = try_exec(path, slots, text, sizeof(text));

	if (rc)
		fail_msg("executor: %s (%d)", text, rc);
}

/* ---- a file with bad sectors ---- */

static void bad_sectors_of_a_file_cost_their_chunks_alone(void **state)
{
	uint32_t id, bad = 0, count;
	int fd = patterned_disk();
	uint8_t *p, byte;

	(void)state;
	start(NULL, 0);
	count = (uint32_t)(WRITE_BAD / rig.chunk_bytes);
	assert_rc(rig_bo_file(u, fd, 0, WRITE_BAD, &id), 0);
	p = machine_map(u, id, WRITE_BAD, false);
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < count; i++) {
			uint64_t at = chunks(i) + 77;
			bool lost = has_bad(READ_BAD, chunks(i), rig.chunk_bytes);

			bad += lost;
			assert_int_equal(machine_peek(p + at), lost ? -1 : rig_pattern(at));
			assert_rc(rig_read(u, id, at, &byte, 1), lost ? -EIO : 0);
		}
	assert_int_equal(bad, 2 * (rig.chunk_bytes == LARGE_CHUNK ? 1 : BAD_COUNT));
	munmap(p, WRITE_BAD);
	assert_rc(rig_bo_destroy(u, id), 0);
	close(fd);
}

/* The first chunk of the file that cannot be read is the second of the object. */
static void command_on_a_bad_sector_ends_with_eio_and_names_the_chunk(void **state)
{
	const uint64_t from = READ_BAD - rig.chunk_bytes, bytes = chunks(2);
	uint32_t file, to, queue, n = rig.chunk_bytes / 4;
	uint8_t *back = malloc(rig.chunk_bytes);
	int fd = patterned_disk();
	struct rig_stream s;
	char text[512] = "";

	(void)state;
	start(NULL, 0);
	assert_rc(rig_bo_file(u, fd, from, bytes, &file), 0);
	assert_rc(rig_bo(u, bytes, VB_LIFE_VOLATILE, &to), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	for (uint32_t seqno = 1; seqno < 5; seqno++) {
		rig_stream(&s);
		rig_add_bo(&s, file, VB_ACCESS_READ);
		rig_add_bo(&s, to, VB_ACCESS_WRITE);
		rig_add_copy(&s, 0, 1, seqno % 2 ? 2 * n : n);
		assert_rc(rig_submit(u, queue, &s, NULL), 0);
		assert_rc(rig_wait(u, queue, seqno, WAIT_MS), seqno % 2 ? -EIO : 0);
	}
	assert_true(vgpu_exec_describe(rig.real, "error", text, sizeof(text)) > 0);
	if (!strstr(text, "chunk 1 of 2"))
		fail_msg("the chunk is not named: %s", text);
	assert_rc(rig_read(u, to, 0, back, rig.chunk_bytes), 0);
	for (uint32_t i = 0; i < rig.chunk_bytes; i++)
		assert_int_equal(back[i], rig_pattern(from + i));
	close(fd);
	free(back);
}

/* ---- an arena with bad sectors; its slots are taken from the last on ---- */

static void write_object(uint32_t id, uint32_t count)
{
	uint8_t *p = malloc(rig.chunk_bytes);

	for (uint32_t i = 0; i < count; i++) {
		memset(p, (int)(i + 1), rig.chunk_bytes);
		assert_rc(rig_write(u, id, chunks(i), p, rig.chunk_bytes), 0);
	}
	free(p);
}

/* How many chunks are lost; all others have what was written. */
static uint32_t check_object(uint32_t id, uint32_t count)
{
	uint8_t *p = malloc(rig.chunk_bytes);
	uint32_t lost = 0;

	for (uint32_t i = 0; i < count; i++) {
		int rc = rig_read(u, id, chunks(i), p, rig.chunk_bytes);

		lost += rc != 0;
		assert_true(!rc || rc == -EIO);
		for (uint32_t k = 0; !rc && k < rig.chunk_bytes; k++)
			assert_int_equal(p[k], i + 1);
	}
	free(p);
	return lost;
}

static uint32_t slots_with_bad(uint64_t first_bad, uint32_t from, uint32_t end)
{
	uint32_t n = 0;

	for (uint32_t i = from; i < end; i++)
		n += slot_has_bad(first_bad, i);
	return n;
}

static void sectors_that_cannot_be_written_cost_their_room_alone(void **state)
{
	const uint32_t slots = 96, count = HOST_SLOTS + 20;
	uint32_t id;

	(void)state;
	assert_int_equal(slots_with_bad(WRITE_BAD, 60, slots), BAD_COUNT);
	assert_int_equal(slots_with_bad(READ_BAD, 60, slots), 0);
	blank_disk();
	start(DISK, slots);
	assert_rc(rig_bo(u, chunks(count), VB_LIFE_VOLATILE, &id), 0);
	for (int round = 0; round < 3; round++) {
		write_object(id, count);
		assert_int_equal(check_object(id, count), 0);
	}
}

static void chunks_that_cannot_be_read_back_are_eio_and_no_others(void **state)
{
	const uint32_t slots = 62, count = HOST_SLOTS + 20;
	uint32_t id, other, i, lost;
	uint8_t *p;

	(void)state;
	assert_int_equal(slots_with_bad(READ_BAD, 42, slots), 5);
	blank_disk();
	start(DISK, slots);
	assert_rc(rig_bo(u, chunks(count), VB_LIFE_VOLATILE, &id), 0);
	write_object(id, count);
	lost = check_object(id, count);
	assert_in_range(lost, 1, 8);
	/* A mapping has them too, and it is the same ones again. */
	p = machine_map(u, id, chunks(count), false);
	for (i = 0; i < count; i++)
		lost -= machine_peek(p + chunks(i)) != (int)(i + 1);
	assert_int_equal(lost, 0);
	munmap(p, chunks(count));
	/* It goes as any other does. */
	assert_rc(rig_bo_destroy(u, id), 0);
	assert_rc(rig_bo(u, chunks(8), VB_LIFE_VOLATILE, &other), 0);
	write_object(other, 8);
	assert_int_equal(check_object(other, 8), 0);
}

/* ---- storage without room ---- */

/* Whoever comes next has the device: nothing of the one that failed is left. */
static void expect_refused(const char *path, uint64_t has_bytes)
{
	uint32_t slots = (uint32_t)(2 * has_bytes / rig.chunk_bytes);
	char text[512] = "", need[64];

	snprintf(need, sizeof(need), "need %llu bytes",
		 (unsigned long long)(ARENA_HEADER + chunks(slots)));
	assert_rc(try_exec(path, slots, text, sizeof(text)), -ENOSPC);
	assert_null(rig.real);
	if (!strstr(text, path) || !strstr(text, need) || !strstr(text, "are free"))
		fail_msg("not said precisely: %s", text);
}

static void arena_without_room_is_enospc_with_numbers_and_leaves_nothing(void **state)
{
	const char *full = "/tmp/vb-full", *file = "/tmp/vb-full/arena";
	struct statfs before, after;
	uint32_t id;

	(void)state;
	mkdir(full, 0700);
	assert_int_equal(mount("tmpfs", full, "tmpfs", 0, "size=12m"), 0);
	assert_int_equal(statfs(full, &before), 0);
	expect_refused(file, 12 << 20);
	assert_int_equal(access(file, F_OK), -1);
	assert_int_equal(statfs(full, &after), 0);
	assert_int_equal(before.f_bfree, after.f_bfree);
	assert_int_equal(umount(full), 0);
	rmdir(full);
	blank_disk();
	expect_refused(DISK, DISK_BYTES);
	start(DISK, (uint32_t)((DISK_BYTES - ARENA_HEADER) / rig.chunk_bytes));
	assert_rc(rig_bo(u, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	write_object(id, 2);
}

int main(void)
{
	const struct CMUnitTest any_chunks[] = {
		AS_CLIENT(bad_sectors_of_a_file_cost_their_chunks_alone),
		AS_CLIENT(command_on_a_bad_sector_ends_with_eio_and_names_the_chunk),
		AS_CLIENT(arena_without_room_is_enospc_with_numbers_and_leaves_nothing),
	};
	/* The disk has seven large slots, most of them bad. */
	const struct CMUnitTest small_chunks[] = {
		AS_CLIENT(sectors_that_cannot_be_written_cost_their_room_alone),
		AS_CLIENT(chunks_that_cannot_be_read_back_are_eio_and_no_others),
	};
	int failed = 0;

	if (!selftest_has_module("storage"))
		return 0;
	failed += SELFTEST_RUN("storage", any_chunks, RIG_NONE, 0, 0);
	rig_params = (struct rig_params){ SMALL_CHUNK, RIG_NONE, 0, 0 };
	failed += selftest_group("storage, arena, 64 KiB chunks", small_chunks,
				 sizeof(small_chunks) / sizeof(small_chunks[0]));
	return failed ? 1 : 0;
}

// SPDX-License-Identifier: MIT
/* What the engine "buffered" leaves in the page cache. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/io_rig.h"

/* How many of the first @blocks blocks of a file the page cache holds. */
static uint32_t cached_blocks(int fd, uint32_t blocks)
{
	uint8_t *resident = irig_memory(blocks);
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
	struct vgpu_io *io = irig_open((struct vgpu_io_params){ .engine = "buffered" });
	uint8_t *copy = irig_memory(FILE_BYTES);
	int fd = irig_file(copy, FILE_BYTES);
	struct vgpu_io_req req = irig_req(irig_add_file(io, fd), 0, copy, FILE_BYTES);

	(void)state;
	fsync(fd);
	assert_int_equal(irig_run(io, &req), 0);
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
	struct vgpu_io *io = irig_open((struct vgpu_io_params){ .engine = "buffered" });
	uint8_t *copy = irig_memory(bytes), *buf = irig_memory(step);
	int fd = irig_file(copy, bytes);
	uint32_t file = irig_add_file(io, fd);

	(void)state;
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	for (size_t at = 0; at < bytes; at += step) {
		struct vgpu_io_req req = irig_req(file, at, buf, step);

		assert_int_equal(irig_run(io, &req), 0);
		assert_memory_equal(buf, copy + at, step);
	}
	assert_true(cached_blocks(fd, 4 * BLOCKS) <= BLOCKS);
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(buf, step);
	munmap(copy, bytes);
}

static const struct engine_test tests[] = {
	ENGINE_TEST(io_buffered_reads_leave_nothing_in_the_page_cache),
	ENGINE_TEST(io_small_buffered_reads_leave_little_in_the_page_cache),
};

int main(void)
{
	return IRIG_MAIN("io_buffered", tests, NULL);
}

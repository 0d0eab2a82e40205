// SPDX-License-Identifier: MIT
/* Memory that is made known to an I/O engine. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/io_rig.h"

static void expect_read(struct vgpu_io *io, uint32_t file, int32_t region, uint8_t *buf,
			const uint8_t *copy)
{
	struct vgpu_io_req req = irig_req(file, 0, buf, 1 << 16);

	memset(buf, 0, 1 << 16);
	req.buf_index = region;
	assert_int_equal(irig_run(io, &req), 0);
	assert_memory_equal(buf, copy, 1 << 16);
}

static void io_regions_come_and_go_while_others_stay(void **state)
{
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *copy = irig_memory(1 << 16), *buf = irig_memory(1 << 16);
	uint8_t *extra = irig_memory(1 << 20);
	int fd = irig_file(copy, 1 << 16);
	uint32_t file = irig_add_file(io, fd);
	int32_t kept, a, b;

	assert_int_equal(vgpu_io_region_add(io, buf, 1 << 16, &kept), 0);
	expect_read(io, file, kept, buf, copy);
	assert_int_equal(vgpu_io_region_add(io, extra, 1 << 19, &a), 0);
	assert_int_equal(vgpu_io_region_add(io, extra + (1 << 19), 1 << 19, &b), 0);
	assert_int_not_equal(a, b);
	expect_read(io, file, b, extra + (1 << 19), copy);
	assert_int_equal(vgpu_io_region_remove(io, a), 0);
	assert_int_equal(vgpu_io_region_remove(io, a), -EINVAL);
	expect_read(io, file, kept, buf, copy);
	assert_int_equal(vgpu_io_region_add(io, extra, 1 << 19, &a), 0);
	expect_read(io, file, a, extra, copy);
	assert_int_equal(vgpu_io_region_remove(io, b), 0);
	assert_int_equal(vgpu_io_region_remove(io, a), 0);
	assert_int_equal(vgpu_io_region_add(io, extra + 1, 4096, &a), -EINVAL);
	expect_read(io, file, kept, buf, copy);
	assert_int_equal(vgpu_io_region_remove(io, kept), 0);
	assert_int_equal(vgpu_io_close(io), 0);
	close(fd);
	munmap(extra, 1 << 20);
	munmap(copy, 1 << 16);
	munmap(buf, 1 << 16);
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
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	uint64_t bytes = (UINT64_C(1) << 30) + (4 << 20), edge = UINT64_C(1) << 30;
	uint8_t *copy = irig_memory(1 << 20);
	uint8_t *big = repeated_memory(bytes, 4 << 20);
	int fd = irig_file(copy, 1 << 20);
	uint32_t file = irig_add_file(io, fd);
	struct vgpu_io_req req;
	int32_t region;

	assert_int_equal(vgpu_io_region_add(io, big, bytes, &region), 0);
	req = irig_req(file, 0, big + edge - (1 << 19), 1 << 20);
	req.buf_index = region;
	assert_int_equal(irig_run(io, &req), 0);
	assert_memory_equal(req.buf, copy, 1 << 20);
	req = irig_req(file, 0, big + edge + (1 << 20), 1 << 20);
	req.buf_index = region;
	assert_int_equal(irig_run(io, &req), 0);
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
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	const uint64_t bytes = 144u << 20;
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int32_t region;

	assert_true(p != MAP_FAILED);
	madvise(p, bytes, MADV_NOHUGEPAGE);
	assert_int_equal(vgpu_io_region_add(io, p, bytes, &region), 0);
	assert_false(is_brought_in(p + bytes - 4096));
	vgpu_io_region_register(io, region);
	if (irig_reason_says(io, "RLIMIT_MEMLOCK")) {
		print_message("SKIP: the kernel refuses to register %u MiB\n", (unsigned int)(bytes >> 20));
		skip();
	}
	/* Engines without an io_uring leave memory alone. */
	assert_int_equal(is_brought_in(p + bytes - 4096),
			 strcmp(*state, "threads") && strcmp(*state, "buffered"));
	vgpu_io_region_register(io, region);
	vgpu_io_region_register(io, region + 1);
	assert_int_equal(vgpu_io_region_remove(io, region), 0);
	assert_int_equal(vgpu_io_close(io), 0);
	munmap(p, bytes);
}

static const struct engine_test tests[] = {
	ENGINE_TEST(io_regions_come_and_go_while_others_stay),
	ENGINE_TEST(io_region_beyond_one_gigabyte_is_registered_in_pieces),
	ENGINE_TEST(io_region_is_registered_whole_when_asked),
};

int main(void)
{
	return IRIG_MAIN("io_region", tests, irig_engines);
}

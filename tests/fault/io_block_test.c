// SPDX-License-Identifier: MIT
/* A block device (a loop device over a file) as arena and under the I/O engines. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "exec/io.h"
#include "exec/nvme.h"

#define DEVICE_BYTES	(32u << 20)
#define SLOT		65536u
#define SECOND_NS	INT64_C(1000000000)

static char image[] = "/tmp/vgpu-block-XXXXXX";
static char device[32];
static char why[VGPU_NVME_WHY_BYTES];
static const char *why_not;
static int image_fd = -1, loop_fd = -1;

static void need_device(void)
{
	if (!why_not)
		return;
	print_message("SKIP: %s\n", why_not);
	skip();
}

static void make_blank(void)
{
	/* Nothing of the old content may be left in the device's own cache. */
	assert_int_equal(fsync(loop_fd), 0);
	assert_int_equal(ftruncate(image_fd, 0), 0);
	assert_int_equal(ftruncate(image_fd, DEVICE_BYTES), 0);
	assert_int_equal(ioctl(loop_fd, BLKFLSBUF, 0), 0);
}

static void block_arena_takes_a_blank_device_and_its_own_again(void **state)
{
	struct vgpu_nvme *nvme, *second;

	(void)state;
	need_device();
	make_blank();
	assert_int_equal(vgpu_nvme_open(device, 100, SLOT, why, &nvme), 0);
	assert_int_equal(vgpu_nvme_open(device, 100, SLOT, why, &second), -EBUSY);
	assert_int_equal(pwrite(vgpu_nvme_fd(nvme), "old", 3, (off_t)vgpu_nvme_offset(nvme, 0)), 3);
	vgpu_nvme_close(nvme);
	assert_int_equal(access(device, F_OK), 0);
	assert_int_equal(vgpu_nvme_open(device, 200, SLOT, why, &nvme), 0);
	vgpu_nvme_close(nvme);
}

static void block_arena_refuses_a_device_with_marks_at_either_end(void **state)
{
	static const off_t marks[] = { 0, 510, 1024 + 56, 65536 + 64, DEVICE_BYTES - 512 };
	struct vgpu_nvme *nvme;
	char byte;
	size_t i;

	(void)state;
	need_device();
	for (i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		make_blank();
		assert_int_equal(pwrite(loop_fd, "S", 1, marks[i]), 1);
		assert_int_equal(vgpu_nvme_open(device, 100, SLOT, why, &nvme), -EEXIST);
		assert_non_null(strstr(why, device));
		assert_int_equal(pread(loop_fd, &byte, 1, marks[i]), 1);
		assert_int_equal(byte, 'S');
	}
}

static void block_arena_larger_than_the_device_is_enospc_with_numbers(void **state)
{
	struct vgpu_nvme *nvme;

	(void)state;
	need_device();
	make_blank();
	assert_int_equal(vgpu_nvme_open(device, 512, SLOT, why, &nvme), -ENOSPC);
	assert_non_null(strstr(why, "need 33619968 bytes, 33554432 are free"));
}

static void block_device_reads_back_what_was_written_and_ends(void **state)
{
	struct vgpu_io_params params = { .engine = *state };
	struct vgpu_io_req req, *done;
	struct vgpu_io_file_info info;
	uint8_t *out = aligned_alloc(4096, 1 << 20), *in = aligned_alloc(4096, 1 << 20);
	struct vgpu_io *io;
	uint32_t file, i;

	need_device();
	if (vgpu_io_open(&params, &io)) {
		print_message("SKIP: engine %s is not to be had here\n", params.engine);
		skip();
	}
	make_blank();
	assert_int_equal(vgpu_io_file_add(io, loop_fd, 0, &file), 0);
	assert_int_equal(vgpu_io_file_get(io, file, &info), 0);
	assert_true(info.direct || !strcmp(*state, "buffered"));
	for (i = 0; i < 1 << 20; i++)
		out[i] = (uint8_t)(i * 2654435761u >> 24);
	req = (struct vgpu_io_req){ .file = file, .flags = VGPU_IO_WRITE, .buf = out,
				    .offset = DEVICE_BYTES - (1 << 20), .bytes = 1 << 20,
				    .buf_index = -1 };
	vgpu_io_submit(io, &req);
	assert_int_equal(vgpu_io_reap(io, 1, 1, 20 * SECOND_NS, &done), 1);
	assert_int_equal(req.result, 0);

	/* Half of it lies beyond the end. */
	req.flags = 0;
	req.buf = in;
	req.offset = DEVICE_BYTES - (1 << 19);
	vgpu_io_submit(io, &req);
	assert_int_equal(vgpu_io_reap(io, 1, 1, 20 * SECOND_NS, &done), 1);
	assert_int_equal(req.result, 0);
	assert_int_equal(req.done_bytes, 1 << 19);
	assert_memory_equal(in, out + (1 << 19), 1 << 19);
	assert_int_equal(vgpu_io_close(io), 0);
	free(out);
	free(in);
}

static bool loop_attach(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

	if (control >= 0)
		close(control);
	if (number < 0)
		return false;
	snprintf(device, sizeof(device), "/dev/loop%d", number);
	loop_fd = open(device, O_RDWR | O_CLOEXEC);
	return loop_fd >= 0 && !ioctl(loop_fd, LOOP_SET_FD, image_fd);
}

static int setup(void **state)
{
	(void)state;
	image_fd = mkstemp(image);
	if (image_fd < 0 || ftruncate(image_fd, DEVICE_BYTES))
		return -1;
	if (!loop_attach())
		why_not = "no loop device can be attached here";
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (!why_not)
		ioctl(loop_fd, LOOP_CLR_FD);
	if (loop_fd >= 0)
		close(loop_fd);
	close(image_fd);
	return unlink(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(block_arena_takes_a_blank_device_and_its_own_again),
		cmocka_unit_test(block_arena_refuses_a_device_with_marks_at_either_end),
		cmocka_unit_test(block_arena_larger_than_the_device_is_enospc_with_numbers),
		cmocka_unit_test_prestate(block_device_reads_back_what_was_written_and_ends,
					  (void *)"uring"),
		cmocka_unit_test_prestate(block_device_reads_back_what_was_written_and_ends,
					  (void *)"threads"),
		cmocka_unit_test_prestate(block_device_reads_back_what_was_written_and_ends,
					  (void *)"buffered"),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

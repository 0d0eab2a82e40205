// SPDX-License-Identifier: MIT
/* Files as I/O engines take them: what is direct, what is no file. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/io_rig.h"

static void io_file_is_direct_exactly_where_open_takes_it(void **state)
{
	static const char *const dirs[] = { "/tmp", "/dev/shm", "/var/tmp" };
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
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
		file = irig_add_file(io, fd);
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
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	uint8_t *copy = irig_memory(1 << 16), *buf = irig_memory(1 << 16);
	int fd = irig_file(copy, 50001), direct = open(irig_path, O_RDONLY | O_DIRECT);
	struct vgpu_io_req req;

	close(fd);
	if (direct < 0) {
		print_message("SKIP: no O_DIRECT under /tmp\n");
		skip();
	}
	req = irig_req(irig_add_file(io, direct), 0, buf, 1 << 16);
	close(direct);
	assert_int_equal(irig_run(io, &req), 0);
	assert_int_equal(req.done_bytes, 50001);
	assert_memory_equal(buf, copy, 50001);
	assert_int_equal(vgpu_io_close(io), 0);
	munmap(copy, 1 << 16);
	munmap(buf, 1 << 16);
}

static void io_file_add_refuses_what_is_no_file(void **state)
{
	struct vgpu_io *io = irig_open_engine(state, (struct vgpu_io_params){ 0 });
	int pipes[2], folder = open(irig_dir, O_RDONLY);
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

static const struct engine_test tests[] = {
	ENGINE_TEST(io_file_is_direct_exactly_where_open_takes_it),
	ENGINE_TEST(io_direct_descriptor_of_the_caller_reaches_the_tail_too),
	ENGINE_TEST(io_file_add_refuses_what_is_no_file),
};

int main(void)
{
	return IRIG_MAIN("io_file", tests, irig_engines);
}

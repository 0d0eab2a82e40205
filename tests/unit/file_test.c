// SPDX-License-Identifier: MIT
/* What the library takes for a file that objects can come from. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "file.h"

static void file_is_as_long_as_it_is(void **state)
{
	char path[] = "/tmp/vgpu-file-XXXXXX";
	uint64_t bytes = 1;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(vgpu_file_bytes(fd, &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(ftruncate(fd, (off_t)5 << 32), 0);
	assert_int_equal(vgpu_file_bytes(fd, &bytes), 0);
	assert_true(bytes == 5ull << 32);
	close(fd);
}

static void file_is_neither_folder_nor_pipe_nor_terminal(void **state)
{
	int pipes[2], folder = open("/tmp", O_RDONLY), null = open("/dev/null", O_RDONLY);
	uint64_t bytes;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(vgpu_file_bytes(pipes[0], &bytes), -EINVAL);
	assert_int_equal(vgpu_file_bytes(folder, &bytes), -EINVAL);
	assert_int_equal(vgpu_file_bytes(null, &bytes), -EINVAL);
	assert_int_equal(vgpu_file_bytes(-1, &bytes), -EBADF);
	close(pipes[0]);
	close(pipes[1]);
	close(folder);
	close(null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_is_as_long_as_it_is),
		cmocka_unit_test(file_is_neither_folder_nor_pipe_nor_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

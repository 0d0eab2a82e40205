// SPDX-License-Identifier: MIT
/* Which engine reads a file fastest. */
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

static void io_probe_measures_every_engine_it_can_have(void **state)
{
	struct vgpu_io_probe_result result;
	uint8_t *copy = irig_memory(FILE_BYTES);
	int fd = irig_file(copy, FILE_BYTES);
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
	assert_int_equal(uring, irig_has_engine("uring"));
	assert_non_null(strstr(result.reason, result.rows[result.best].engine));
	assert_int_equal(vgpu_io_probe(fd, 65536, 65536, &result), -ENODATA);
	assert_int_equal(vgpu_io_probe(fd, 1000, 16 << 20, &result), -EINVAL);
	close(fd);
	munmap(copy, FILE_BYTES);
}

static const struct engine_test tests[] = {
	ENGINE_TEST(io_probe_measures_every_engine_it_can_have),
};

int main(void)
{
	return IRIG_MAIN("io_probe", tests, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Operands that a command holds whole, wherever they lie in a file: at odd offsets,
 * and across chunks.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vgpu.h"

#define CHUNK	(64u << 10)
#define N	24u

static struct vgpu *device_open(void)
{
	struct vgpu_config c = { .size = sizeof(c), .chunk_bytes = CHUNK,
				 .host_bytes = 32 * CHUNK, .threads = 1 };
	struct vgpu *v;

	assert_int_equal(vgpu_open_embedded(&c, &v), 0);
	return v;
}

/* y = 0 + bias, the bias lying at @offset of a file that begins at @start. */
static void add_bias_from(uint64_t start, uint64_t offset)
{
	char path[] = "/var/tmp/vgpu-held-XXXXXX";
	float bias[N], zero[N] = { 0 }, got[N];
	struct vgpu_bo *file, *x, *y;
	struct vgpu_cmdbuf *cb;
	struct vgpu_queue *q;
	struct vgpu *v = device_open();
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	for (uint32_t i = 0; i < N; i++)
		bias[i] = (float)i + 0.5f;
	assert_int_equal(ftruncate(fd, 4 * CHUNK), 0);
	assert_int_equal(pwrite(fd, bias, sizeof(bias), (off_t)(start + offset)), sizeof(bias));
	assert_int_equal(vgpu_bo_create_file(v, fd, start, 0, &file), 0);
	assert_int_equal(vgpu_bo_create(v, sizeof(zero), VGPU_LIFE_VOLATILE, &x), 0);
	assert_int_equal(vgpu_bo_create(v, sizeof(zero), VGPU_LIFE_VOLATILE, &y), 0);
	assert_int_equal(vgpu_queue_create(v, 0, &q), 0);
	assert_int_equal(vgpu_cmdbuf_create(v, &cb), 0);
	assert_int_equal(vgpu_cmd_binary(cb, VGPU_BINARY_ADD,
					 vgpu_matrix(x, 0, VGPU_FORMAT_F32, 1, N),
					 vgpu_vector(file, offset, VGPU_FORMAT_F32, N),
					 vgpu_matrix(y, 0, VGPU_FORMAT_F32, 1, N)), 0);
	assert_int_equal(vgpu_finish(q, cb), 0);
	assert_int_equal(vgpu_bo_read(y, 0, got, sizeof(got)), 0);
	assert_memory_equal(got, bias, sizeof(bias));
	vgpu_cmdbuf_destroy(cb);
	vgpu_queue_destroy(q);
	vgpu_bo_destroy(y);
	vgpu_bo_destroy(x);
	vgpu_bo_destroy(file);
	vgpu_close(v);
	close(fd);
	unlink(path);
}

static void held_operand_may_lie_at_any_byte_of_a_file(void **state)
{
	(void)state;
	/* The file object begins at @start: its bytes keep their place in the chunk. */
	add_bias_from(0, 8);
	add_bias_from(2, 8);
	add_bias_from(4099, 64);
}

static void held_operand_may_lie_across_chunks(void **state)
{
	(void)state;
	add_bias_from(0, CHUNK - 16);
	add_bias_from(1, CHUNK - 16);
	add_bias_from(5000, 2 * CHUNK - 40);
}

/*
 * Twice as much as may be copied together: refused with the numbers.  Half of that is
 * copied, and counted.
 */
static void held_copies_of_operands_are_bounded(void **state)
{
	enum { MOST = 16 << 20 };
	struct vgpu_config c = { .size = sizeof(c), .chunk_bytes = 2 << 20,
				 .host_bytes = 64 << 20, .threads = 1 };
	char path[] = "/var/tmp/vgpu-held-XXXXXX", text[128];
	struct vgpu_bo *file, *y;
	struct vgpu_cmdbuf *cb;
	struct vgpu_queue *q;
	struct vgpu *v;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 2 * MOST), 0);
	assert_int_equal(vgpu_open_embedded(&c, &v), 0);
	assert_int_equal(vgpu_bo_create_file(v, fd, 0, 0, &file), 0);
	assert_int_equal(vgpu_bo_create(v, 2 * MOST, VGPU_LIFE_VOLATILE, &y), 0);
	assert_int_equal(vgpu_queue_create(v, 0, &q), 0);
	for (uint32_t n = MOST / 4; n <= MOST / 2; n *= 2) {
		int rc;

		assert_int_equal(vgpu_cmdbuf_create(v, &cb), 0);
		assert_int_equal(vgpu_cmd_copy(cb, vgpu_vector(file, 0, VGPU_FORMAT_F32, n),
					       vgpu_vector(y, 0, VGPU_FORMAT_F32, n)), 0);
		rc = vgpu_finish(q, cb);
		assert_int_equal(rc, n > MOST / 4 ? -ENOSPC : 0);
		vgpu_cmdbuf_destroy(cb);
	}
	assert_non_null(strstr(vgpu_error_text(), "reads 33554432 bytes of files"));
	assert_non_null(strstr(vgpu_error_text(), "at most 16777216"));
	assert_true(vgpu_describe(v, "staging", text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "at most 16777216 so far of 16777216"));
	vgpu_queue_destroy(q);
	vgpu_bo_destroy(y);
	vgpu_bo_destroy(file);
	vgpu_close(v);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(held_operand_may_lie_at_any_byte_of_a_file),
		cmocka_unit_test(held_operand_may_lie_across_chunks),
		cmocka_unit_test(held_copies_of_operands_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

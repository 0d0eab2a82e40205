// SPDX-License-Identifier: MIT
/* Buffer objects through the public header: what a caller is told, and in which words. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vgpu.h"

#define CHUNK	65536u

static struct vgpu *v;

static int setup(void **state)
{
	const struct vgpu_config config = {
		.size = sizeof(config), .chunk_bytes = CHUNK, .host_bytes = 64 * CHUNK, .threads = 1,
	};

	(void)state;
	return vgpu_open_embedded(&config, &v);
}

static int teardown(void **state)
{
	(void)state;
	vgpu_close(v);
	return 0;
}

static void expect_refusal(int got, int wanted, const char *text)
{
	if (got != wanted || !strstr(vgpu_error_text(), text))
		fail_msg("%d \"%s\", expected %d \"%s\"", got, vgpu_error_text(), wanted, text);
}

static void creation_is_refused_with_numbers(void **state)
{
	struct vgpu_bo *bo;

	(void)state;
	expect_refusal(vgpu_bo_create(v, 0, VGPU_LIFE_VOLATILE, &bo), -EINVAL, "bytes is 0");
	expect_refusal(vgpu_bo_create(v, 1ull << 50, VGPU_LIFE_VOLATILE, &bo), -EINVAL,
		       "1125899906842624");
	expect_refusal(vgpu_bo_create(v, 1ull << 40, VGPU_LIFE_VOLATILE, &bo), -ENOSPC,
		       "1099511627776 bytes cannot be reserved");
	expect_refusal(vgpu_bo_create(v, 1, (enum vgpu_life)7, &bo), -EINVAL, "life is 7");
	vgpu_bo_destroy(NULL);
}

static FILE *file_of(const void *bytes, size_t n)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fflush(f), 0);
	return f;
}

static void file_objects_end_where_the_file_does(void **state)
{
	char text[10000], got[100];
	struct vgpu_bo *bo;
	FILE *f;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7);
	f = file_of(text, sizeof(text));
	assert_int_equal(vgpu_bo_create_file(v, fileno(f), 9900, 0, &bo), 0);
	assert_int_equal(vgpu_bo_bytes(bo), 100);
	assert_int_equal(vgpu_bo_read(bo, 0, got, 100), 0);
	assert_memory_equal(got, text + 9900, 100);
	vgpu_bo_destroy(bo);
	expect_refusal(vgpu_bo_create_file(v, fileno(f), 10000, 0, &bo), -ERANGE, "10000");
	expect_refusal(vgpu_bo_create_file(v, fileno(f), 9900, 101, &bo), -ERANGE, "10001");
	expect_refusal(vgpu_bo_create_file(v, -1, 0, 1, &bo), -EBADF, "descriptor -1");
	expect_refusal(vgpu_bo_create_file(v, -1, 0, 0, &bo), -EBADF, "descriptor -1");
	fclose(f);
}

static void packed_objects_have_the_bytes_of_their_format(void **state)
{
	struct vgpu_pack pack = {
		.source_format = VGPU_FORMAT_F32, .packed_format = VGPU_FORMAT_INT8_G16,
		.rows = 33, .cols = 64, .stack = 3,
	};
	size_t n = 3 * 33 * 64 * 4;
	void *zeros = calloc(1, n);
	struct vgpu_bo_info info = { .size = sizeof(info) };
	struct vgpu_bo *bo;
	uint64_t one;
	FILE *f = file_of(zeros, n);

	(void)state;
	assert_int_equal(vgpu_matrix_bytes(VGPU_FORMAT_INT8_G16, 33, 64, &one), 0);
	assert_int_equal(vgpu_bo_create_packed(v, fileno(f), 0, &pack, &bo), 0);
	assert_int_equal(vgpu_bo_bytes(bo), 3 * one);
	assert_int_equal(vgpu_bo_info(bo, &info), 0);
	assert_int_equal(info.kind, 3);
	assert_true(info.sealed);
	vgpu_bo_destroy(bo);
	expect_refusal(vgpu_bo_create_packed(v, fileno(f), 4, &pack, &bo), -ERANGE, "behind the file");
	pack.packed_format = VGPU_FORMAT_F16;
	expect_refusal(vgpu_bo_create_packed(v, fileno(f), 0, &pack, &bo), -EINVAL, "f16");
	pack.packed_format = VGPU_FORMAT_INT8_G16;
	pack.rows = 0;
	expect_refusal(vgpu_bo_create_packed(v, fileno(f), 0, &pack, &bo), -EINVAL, "0 x 64");
	free(zeros);
	fclose(f);
}

static void matrices_have_the_bytes_of_their_blocks(void **state)
{
	uint64_t bytes;

	(void)state;
	assert_int_equal(vgpu_matrix_bytes(VGPU_FORMAT_F32, 3, 5, &bytes), 0);
	assert_int_equal(bytes, 60);
	assert_int_equal(vgpu_matrix_bytes(VGPU_FORMAT_MXFP4, 2, 64, &bytes), 0);
	assert_int_equal(bytes, 2 * 2 * 17);
	assert_int_equal(vgpu_matrix_bytes(VGPU_FORMAT_Q8_0, 1, 32, &bytes), 0);
	assert_int_equal(bytes, 34);
	expect_refusal(vgpu_matrix_bytes(VGPU_FORMAT_MXFP4, 2, 63, &bytes), -EINVAL, "63");
	expect_refusal(vgpu_matrix_bytes((enum vgpu_format)99, 2, 64, &bytes), -EINVAL, "99");
	expect_refusal(vgpu_matrix_bytes(VGPU_FORMAT_F32, 0, 64, &bytes), -EINVAL, "0 x 64");
	assert_string_equal(vgpu_format_name(VGPU_FORMAT_MXFP4_G16), "mxfp4-g16");
	assert_string_equal(vgpu_format_name((enum vgpu_format)99), "?");
}

static void content_goes_in_and_out(void **state)
{
	char text[3 * CHUNK], got[3 * CHUNK], *p;
	struct vgpu_bo *bo;

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(vgpu_bo_create(v, sizeof(text), VGPU_LIFE_VOLATILE, &bo), 0);
	assert_int_equal(vgpu_bo_write(bo, 0, text, sizeof(text)), 0);
	assert_int_equal(vgpu_bo_map(bo, CHUNK, 0, VGPU_MAP_READ | VGPU_MAP_WRITE, (void **)&p), 0);
	assert_memory_equal(p, text, 2 * CHUNK);
	p[5] = 'y';
	assert_int_equal(vgpu_bo_unmap(bo, CHUNK, 0, VGPU_MAP_READ | VGPU_MAP_WRITE), 0);
	assert_int_equal(vgpu_bo_read(bo, 0, got, sizeof(got)), 0);
	assert_int_equal(got[CHUNK + 5], 'y');
	expect_refusal(vgpu_bo_unmap(bo, CHUNK, 0, VGPU_MAP_READ), -EINVAL, "not mapped");
	expect_refusal(vgpu_bo_read(bo, 3 * CHUNK, got, 1), -ERANGE, "196608");
	vgpu_bo_destroy(bo);
}

static void mapping_too_large_names_the_way_out(void **state)
{
	char *zeros = calloc(1, 128 * CHUNK);
	struct vgpu_bo *bo;
	FILE *f = file_of(zeros, 128 * CHUNK);
	void *p;

	(void)state;
	assert_int_equal(vgpu_bo_create_file(v, fileno(f), 0, 0, &bo), 0);
	expect_refusal(vgpu_bo_map(bo, 0, 0, VGPU_MAP_READ, &p), -ENOSPC, "vgpu_bo_read()");
	expect_refusal(vgpu_bo_map(bo, 0, 1, VGPU_MAP_WRITE, &p), -EROFS, "read-only");
	vgpu_bo_destroy(bo);
	free(zeros);
	fclose(f);
}

static void information_and_residency_agree(void **state)
{
	struct vgpu_bo_info info = { .size = sizeof(info) };
	char byte = 1;
	struct vgpu_bo *bo;
	uint8_t r[8];

	(void)state;
	assert_int_equal(vgpu_bo_create(v, 5 * CHUNK, VGPU_LIFE_DURABLE, &bo), 0);
	assert_int_equal(vgpu_bo_write(bo, 2 * CHUNK, &byte, 1), 0);
	assert_int_equal(vgpu_bo_info(bo, &info), 0);
	assert_int_equal(info.kind, 1);
	assert_int_equal(info.life, VGPU_LIFE_DURABLE);
	assert_int_equal(info.chunks, 5);
	assert_int_equal(info.bytes, 5 * CHUNK);
	assert_int_equal(info.tier_bytes[VGPU_TIER_HOST], CHUNK);
	assert_int_equal(info.dirty_bytes, CHUNK);
	assert_false(info.sealed);
	assert_int_equal(vgpu_bo_residency(bo, 1, 100, r), 4);
	assert_int_equal(r[0], 0);
	assert_int_equal(r[1], 1u << VGPU_TIER_HOST | 1u << 3);
	assert_int_equal(vgpu_bo_residency(bo, 5, 1, r), 0);
	expect_refusal(vgpu_bo_residency(bo, 6, 1, r), -ERANGE, "chunk 6");
	assert_int_equal(vgpu_bo_seal(bo), 0);
	assert_int_equal(vgpu_bo_info(bo, &info), 0);
	assert_true(info.sealed);
	expect_refusal(vgpu_bo_write(bo, 0, &byte, 1), -EROFS, "read-only");
	vgpu_bo_destroy(bo);
}

static void advice_says_how_much_it_did(void **state)
{
	struct vgpu_bo *bo;
	uint64_t bytes;
	char byte = 1;

	(void)state;
	assert_int_equal(vgpu_bo_create(v, 4 * CHUNK, VGPU_LIFE_VOLATILE, &bo), 0);
	assert_int_equal(vgpu_bo_write(bo, 0, &byte, 1), 0);
	assert_int_equal(vgpu_bo_advise(bo, VGPU_ADVISE_PIN, 0, 1, &bytes), 0);
	assert_int_equal(bytes, CHUNK);
	expect_refusal(vgpu_bo_seal(bo), -EBUSY, "pinned");
	expect_refusal(vgpu_bo_advise(bo, VGPU_ADVISE_EVICT, 0, 0, &bytes), -EBUSY, "pinned");
	assert_int_equal(bytes, 3 * CHUNK);
	assert_int_equal(vgpu_bo_advise(bo, VGPU_ADVISE_UNPIN, 0, 1, NULL), 0);
	expect_refusal(vgpu_bo_advise(bo, VGPU_ADVISE_UNPIN, 0, 1, NULL), -EINVAL, "range");
	vgpu_bo_destroy(bo);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(creation_is_refused_with_numbers),
		CASE(file_objects_end_where_the_file_does),
		CASE(packed_objects_have_the_bytes_of_their_format),
		CASE(matrices_have_the_bytes_of_their_blocks),
		CASE(content_goes_in_and_out),
		CASE(mapping_too_large_names_the_way_out),
		CASE(information_and_residency_agree),
		CASE(advice_says_how_much_it_did),
	};

	return cmocka_run_group_tests_name("bo", tests, NULL, NULL);
}

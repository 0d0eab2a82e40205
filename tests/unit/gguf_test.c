// SPDX-License-Identifier: MIT
#include "kernels/formats/gguf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

/* A file in the making. */
struct image {
	unsigned char bytes[4096];
	size_t at;
};

static void put(struct image *f, const void *bytes, size_t count)
{
	assert_true(f->at + count <= sizeof(f->bytes));
	memcpy(f->bytes + f->at, bytes, count);
	f->at += count;
}

static void put_u8(struct image *f, uint8_t v)
{
	put(f, &v, sizeof(v));
}

static void put_u32(struct image *f, uint32_t v)
{
	put(f, &v, sizeof(v));
}

static void put_u64(struct image *f, uint64_t v)
{
	put(f, &v, sizeof(v));
}

static void put_text(struct image *f, const char *text)
{
	put_u64(f, strlen(text));
	put(f, text, strlen(text));
}

static void put_start(struct image *f, uint64_t tensors, uint64_t metas)
{
	f->at = 0;
	put(f, "GGUF", 4);
	put_u32(f, 3);
	put_u64(f, tensors);
	put_u64(f, metas);
}

static void put_key(struct image *f, const char *key, uint32_t type)
{
	put_text(f, key);
	put_u32(f, type);
}

/* @k is the row length: a file lists the innermost dimension first. */
static void put_tensor(struct image *f, const char *name, uint64_t k, uint64_t n,
		       uint32_t type, uint64_t offset)
{
	put_text(f, name);
	put_u32(f, 2);
	put_u64(f, k);
	put_u64(f, n);
	put_u32(f, type);
	put_u64(f, offset);
}

static void pad(struct image *f, size_t alignment, size_t data_bytes)
{
	size_t end = (f->at + alignment - 1) / alignment * alignment + data_bytes;

	assert_true(end <= sizeof(f->bytes));
	memset(f->bytes + f->at, 0, end - f->at);
	f->at = end;
}

/* @have bytes of a file of @file_bytes; sanitizers see a read past them. */
static int parse_part(const struct image *f, size_t have, uint64_t file_bytes,
		      struct vgpu_table *table, struct vgpu_error *err)
{
	unsigned char *copy = malloc(have ? have : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, f->bytes, have);
	memset(table, 0, sizeof(*table));
	memset(err, 0, sizeof(*err));
	rc = vgpu_gguf_parse(copy, have, file_bytes, table, err);
	if (!rc)
		rc = vgpu_table_finish(table, err);
	free(copy);
	return rc;
}

static void assert_refused(const struct image *f, int code, const char *text)
{
	struct vgpu_table table;
	struct vgpu_error err;
	int rc = parse_part(f, f->at, f->at, &table, &err);

	vgpu_table_clear(&table);
	assert_string_equal(err.text, text);
	assert_int_equal(rc, code);
}

static void put_all_types(struct image *f)
{
	static const double f64 = -2.5;
	static const float f32 = 1.5f;

	put_start(f, 2, 16);
	put_key(f, "u8", 0);
	put_u8(f, 200);
	put_key(f, "i8", 1);
	put_u8(f, 0xfe);
	put_key(f, "u16", 2);
	put(f, "\x34\x12", 2);
	put_key(f, "i16", 3);
	put(f, "\xfe\xff", 2);
	put_key(f, "u32", 4);
	put_u32(f, 70000);
	put_key(f, "i32", 5);
	put_u32(f, (uint32_t)-7);
	put_key(f, "f32", 6);
	put(f, &f32, 4);
	put_key(f, "bool", 7);
	put_u8(f, 1);
	put_key(f, "string", 8);
	put_text(f, "hello");
	put_key(f, "u64", 10);
	put_u64(f, UINT64_MAX);
	put_key(f, "i64", 11);
	put_u64(f, (uint64_t)-9);
	put_key(f, "f64", 12);
	put(f, &f64, 8);
	put_key(f, "numbers", 9);
	put_u32(f, 5);
	put_u64(f, 2);
	put_u32(f, (uint32_t)-1);
	put_u32(f, 42);
	put_key(f, "strings", 9);
	put_u32(f, 8);
	put_u64(f, 2);
	put_text(f, "");
	put_text(f, "two");
	put_key(f, "nested", 9);
	put_u32(f, 9);
	put_u64(f, 2);
	put_u32(f, 7);
	put_u64(f, 1);
	put_u8(f, 1);
	put_u32(f, 0);
	put_u64(f, 0);
	put_key(f, "general.alignment", 4);
	put_u32(f, 64);
	put_tensor(f, "w", 64, 3, 39, 64);
	put_tensor(f, "a", 2, 1, 0, 0);
	pad(f, 64, 64 + 3 * 34);
}

static void check_scalars(const struct vgpu_table *t)
{
	assert_int_equal(vgpu_table_find_meta(t, "u8")->u, 200);
	assert_int_equal(vgpu_table_find_meta(t, "i8")->i, -2);
	assert_int_equal(vgpu_table_find_meta(t, "u16")->u, 0x1234);
	assert_int_equal(vgpu_table_find_meta(t, "i16")->i, -2);
	assert_int_equal(vgpu_table_find_meta(t, "u32")->u, 70000);
	assert_int_equal(vgpu_table_find_meta(t, "i32")->i, -7);
	assert_true(vgpu_table_find_meta(t, "f32")->f == 1.5);
	assert_int_equal(vgpu_table_find_meta(t, "bool")->u, 1);
	assert_string_equal(vgpu_table_find_meta(t, "string")->string.text, "hello");
	assert_true(vgpu_table_find_meta(t, "u64")->u == UINT64_MAX);
	assert_int_equal(vgpu_table_find_meta(t, "i64")->i, -9);
	assert_true(vgpu_table_find_meta(t, "f64")->f == -2.5);
}

static void check_arrays(const struct vgpu_table *t)
{
	const struct vgpu_meta_array *array = &vgpu_table_find_meta(t, "numbers")->array;
	const struct vgpu_meta_array *inner;
	const struct vgpu_string *strings;

	assert_int_equal(array->type, VGPU_META_I32);
	assert_int_equal(array->count, 2);
	assert_int_equal(((const int32_t *)array->data)[0], -1);
	assert_int_equal(((const int32_t *)array->data)[1], 42);

	array = &vgpu_table_find_meta(t, "strings")->array;
	strings = array->data;
	assert_int_equal(array->count, 2);
	assert_int_equal(strings[0].bytes, 0);
	assert_string_equal(strings[1].text, "two");

	array = &vgpu_table_find_meta(t, "nested")->array;
	inner = array->data;
	assert_int_equal(array->type, VGPU_META_ARRAY);
	assert_int_equal(inner[0].type, VGPU_META_BOOL);
	assert_int_equal(*(const uint8_t *)inner[0].data, 1);
	assert_int_equal(inner[1].count, 0);
}

static void check_tensors(const struct vgpu_table *t)
{
	const struct vgpu_tensor *w = vgpu_table_find(t, "w");

	assert_int_equal(w->dtype, VGPU_DTYPE_MXFP4);
	assert_string_equal(w->dtype_name, "MXFP4");
	assert_int_equal(w->rank, 2);
	assert_int_equal(w->shape[0], 3);
	assert_int_equal(w->shape[1], 64);
	assert_int_equal(w->shape[2], 1);
	assert_int_equal(w->bytes, 3 * 2 * 17);
	assert_int_equal(w->offset % 64, 0);
	assert_int_equal(vgpu_table_find(t, "a")->offset + 64, w->offset);
	assert_int_equal(vgpu_table_find(t, "a")->bytes, 8);
}

static void gguf_reads_every_metadata_type(void **state)
{
	struct vgpu_table table;
	struct vgpu_error err;
	struct image f;

	(void)state;
	put_all_types(&f);
	assert_int_equal(parse_part(&f, f.at, f.at, &table, &err), 0);
	assert_int_equal(table.meta_count, 16);
	check_scalars(&table);
	check_arrays(&table);
	check_tensors(&table);
	vgpu_table_clear(&table);
}

/* With part of the header at hand it asks for more; when that is the file, it refuses. */
static void gguf_every_prefix_asks_or_refuses(void **state)
{
	size_t have, header, file;
	struct vgpu_table table;
	struct vgpu_error err;
	struct image f;
	int rc;

	(void)state;
	put_all_types(&f);
	file = f.at;
	header = file;
	for (have = 0; have <= file; have++) {
		rc = parse_part(&f, have, file, &table, &err);
		vgpu_table_clear(&table);
		if (!rc && header == file)
			header = have;
		assert_int_equal(rc, have < header ? -EAGAIN : 0);

		rc = parse_part(&f, have, have, &table, &err);
		vgpu_table_clear(&table);
		assert_int_equal(rc, have < file ? -EINVAL : 0);
		assert_int_equal(err.code, rc);
	}
	assert_true(header < file);
}

static void gguf_block_sizes_are_those_of_the_format(void **state)
{
	static const struct {
		uint32_t type;
		const char *name;
		uint32_t row;
		uint32_t bytes;
	} want[] = {
		{ 0, "F32", 1, 4 }, { 1, "F16", 1, 2 }, { 2, "Q4_0", 32, 18 },
		{ 3, "Q4_1", 32, 20 }, { 6, "Q5_0", 32, 22 }, { 7, "Q5_1", 32, 24 },
		{ 8, "Q8_0", 32, 34 }, { 10, "Q2_K", 256, 84 }, { 11, "Q3_K", 256, 110 },
		{ 12, "Q4_K", 256, 144 }, { 13, "Q5_K", 256, 176 }, { 14, "Q6_K", 256, 210 },
		{ 15, "Q8_K", 256, 292 }, { 16, "IQ2_XXS", 256, 66 }, { 17, "IQ2_XS", 256, 74 },
		{ 18, "IQ3_XXS", 256, 98 }, { 19, "IQ1_S", 256, 50 }, { 20, "IQ4_NL", 32, 18 },
		{ 21, "IQ3_S", 256, 110 }, { 22, "IQ2_S", 256, 82 }, { 23, "IQ4_XS", 256, 136 },
		{ 24, "I8", 1, 1 }, { 25, "I16", 1, 2 }, { 26, "I32", 1, 4 }, { 27, "I64", 1, 8 },
		{ 28, "F64", 1, 8 }, { 29, "IQ1_M", 256, 56 }, { 30, "BF16", 1, 2 },
		{ 34, "TQ1_0", 256, 54 }, { 35, "TQ2_0", 256, 66 }, { 39, "MXFP4", 32, 17 },
		{ 40, "NVFP4", 64, 36 }, { 41, "Q1_0", 128, 18 },
	};
	struct vgpu_table table;
	struct vgpu_error err;
	struct image f;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		put_start(&f, 1, 0);
		put_tensor(&f, "t", want[i].row, 2, want[i].type, 0);
		pad(&f, 32, 2 * want[i].bytes);
		assert_int_equal(parse_part(&f, f.at, f.at, &table, &err), 0);
		assert_int_equal(table.tensors[0].bytes, 2 * want[i].bytes);
		assert_string_equal(table.tensors[0].dtype_name, want[i].name);
		vgpu_table_clear(&table);
	}
}

static void gguf_version_2_is_read(void **state)
{
	struct vgpu_table table;
	struct vgpu_error err;
	struct image f;

	(void)state;
	put_start(&f, 0, 0);
	f.bytes[4] = 2;
	assert_int_equal(parse_part(&f, f.at, f.at, &table, &err), 0);
	vgpu_table_clear(&table);
}

static void gguf_bad_start_is_named(void **state)
{
	struct image f;

	(void)state;
	put_start(&f, 0, 0);
	f.bytes[0] = 'X';
	assert_refused(&f, -EINVAL, "magic is 58 47 55 46, must be 'GGUF'");
	put_start(&f, 0, 0);
	f.bytes[4] = 1;
	assert_refused(&f, -EOPNOTSUPP, "version 1 is not 2 or 3");
	put_start(&f, 0, 0);
	memcpy(f.bytes + 4, "\0\0\0\3", 4);
	assert_refused(&f, -EOPNOTSUPP, "version 0x3000000: big-endian file");
	f.at = 3;
	assert_refused(&f, -EINVAL, "byte 0: magic needs 4 bytes, the file has 3 more");
}

static void gguf_counts_must_fit_the_file(void **state)
{
	struct image f;

	(void)state;
	put_start(&f, 0, UINT64_MAX);
	assert_refused(&f, -EINVAL,
		"metadata count 18446744073709551615 cannot fit the 0 bytes left of the file");
	put_start(&f, 1ull << 60, 0);
	put(&f, "0123456789", 10);
	assert_refused(&f, -EINVAL,
		"tensor count 1152921504606846976 cannot fit the 10 bytes left of the file");
	put_start(&f, 0, 1);
	put_key(&f, "k", 9);
	put_u32(&f, 10);
	put_u64(&f, 1ull << 61);
	assert_refused(&f, -EINVAL,
		"array count 2305843009213693952 cannot fit the 0 bytes left of the file");
}

/* A sparse file has room for any count: what was not read must not be paid for. */
static void gguf_counts_are_bounded(void **state)
{
	struct vgpu_table table;
	struct vgpu_error err;
	struct image f;

	(void)state;
	put_start(&f, 0, 65537);
	assert_int_equal(parse_part(&f, f.at, 1ull << 40, &table, &err), -E2BIG);
	assert_string_equal(err.text, "metadata count 65537 exceeds the limit 65536");
	put_start(&f, 1048577, 0);
	assert_int_equal(parse_part(&f, f.at, 1ull << 40, &table, &err), -E2BIG);
	assert_string_equal(err.text, "tensor count 1048577 exceeds the limit 1048576");
}

static void gguf_bad_metadata_is_named(void **state)
{
	struct image f;
	int i;

	(void)state;
	put_start(&f, 0, 1);
	put_key(&f, "k", 13);
	assert_refused(&f, -EINVAL, "metadata 'k': type 13 is unknown, highest is 12");
	put_start(&f, 0, 1);
	put_key(&f, "k", 7);
	put_u8(&f, 2);
	assert_refused(&f, -EINVAL, "metadata 'k': bool is 2, not 0 or 1");
	put_start(&f, 0, 1);
	put_u64(&f, 65536);
	put(&f, "abcdefgh", 8);
	assert_refused(&f, -E2BIG, "byte 32: metadata key has 65536 bytes, limit 65535");
	put_start(&f, 0, 1);
	put_u64(&f, 60);
	put(&f, "abcdefgh", 8);
	assert_refused(&f, -EINVAL,
		       "byte 32: metadata key needs 60 bytes, the file has 8 more");
	put_start(&f, 0, 1);
	put_u64(&f, 3);
	put(&f, "a\0b", 3);
	put_u32(&f, 0);
	put_u8(&f, 0);
	assert_refused(&f, -EINVAL, "metadata key 'a' holds a NUL byte");
	put_start(&f, 0, 2);
	put_key(&f, "k", 0);
	put_u8(&f, 0);
	put_key(&f, "k", 0);
	put_u8(&f, 0);
	assert_refused(&f, -EINVAL, "metadata key 'k' appears twice");
	put_start(&f, 0, 1);
	put_key(&f, "k", 9);
	for (i = 0; i < 5; i++) {
		put_u32(&f, 9);
		put_u64(&f, 1);
	}
	assert_refused(&f, -E2BIG, "metadata 'k': arrays nested deeper than 4");
}

static void gguf_bad_alignment_is_named(void **state)
{
	struct image f;

	(void)state;
	put_start(&f, 0, 1);
	put_key(&f, "general.alignment", 4);
	put_u32(&f, 48);
	assert_refused(&f, -EINVAL,
		       "general.alignment 48 is not a power of two up to 1048576");
	put_start(&f, 0, 1);
	put_key(&f, "general.alignment", 4);
	put_u32(&f, 0);
	assert_refused(&f, -EINVAL,
		       "general.alignment 0 is not a power of two up to 1048576");
	put_start(&f, 0, 1);
	put_key(&f, "general.alignment", 10);
	put_u64(&f, 32);
	assert_refused(&f, -EINVAL, "general.alignment has type 10, not 4 (u32)");
}

#define KNOWN_TYPES "0-3, 6-8, 10-30, 34-35, 39-41"

static void assert_tensor_refused(uint64_t k, uint64_t n, uint32_t type, uint64_t offset,
				  size_t data_bytes, int code, const char *text)
{
	struct image f;

	put_start(&f, 1, 0);
	put_tensor(&f, "t", k, n, type, offset);
	pad(&f, 32, data_bytes);
	assert_refused(&f, code, text);
}

static void gguf_bad_tensor_is_named(void **state)
{
	struct image f;

	(void)state;
	assert_tensor_refused(32, 1, 4, 0, 64, -EOPNOTSUPP,
		"tensor 't': type 4 is unknown, is none of ggml's " KNOWN_TYPES);
	assert_tensor_refused(32, 1, 42, 0, 64, -EOPNOTSUPP,
		"tensor 't': type 42 is unknown, is none of ggml's " KNOWN_TYPES);
	assert_tensor_refused(48, 2, 39, 0, 64, -EINVAL,
		"tensor 't': row length 48 is not a multiple of 32, the block of MXFP4");
	assert_tensor_refused(1ull << 33, 1ull << 31, 0, 0, 64, -EINVAL,
		"tensor 't': product of the shape exceeds 64 bits at dimension 1 of 8589934592");
	assert_tensor_refused(1ull << 31, 1ull << 31, 0, 0, 64, -EINVAL,
		"tensor 't': 4611686018427387904 elements of F32 exceed 64 bits in bytes");
	assert_tensor_refused(8, 1, 0, 8, 64, -EINVAL,
		"tensor 't': offset 8 is not a multiple of the alignment 32");
	assert_tensor_refused(8, 1, 0, 64, 64, -EINVAL,
		"tensor 't': offset 64 + 32 bytes exceeds data bytes 64");
	assert_tensor_refused(8, 1, 0, (uint64_t)-32, 64, -EINVAL,
		"tensor 't': offset 18446744073709551584 + 32 bytes exceeds data bytes 64");
	put_start(&f, 1, 0);
	put_text(&f, "t");
	put_u32(&f, 5);
	pad(&f, 32, 64);
	assert_refused(&f, -E2BIG, "tensor 't': 5 dimensions, limit 4");
	put_start(&f, 1, 0);
	put_u64(&f, 1024);
	pad(&f, 32, 2048);
	assert_refused(&f, -E2BIG, "byte 32: tensor name has 1024 bytes, limit 1023");
}

static void gguf_tensors_are_distinct(void **state)
{
	struct image f;

	(void)state;
	put_start(&f, 2, 0);
	put_tensor(&f, "t", 8, 1, 0, 0);
	put_tensor(&f, "t", 8, 1, 0, 32);
	pad(&f, 32, 64);
	assert_refused(&f, -EINVAL, "tensor 't' appears twice");
	put_start(&f, 2, 0);
	put_tensor(&f, "t", 9, 1, 0, 0);
	put_tensor(&f, "u", 8, 1, 0, 32);
	pad(&f, 32, 64);
	assert_refused(&f, -EINVAL,
		       "tensor 'u' at byte 160 overlaps tensor 't', which ends at byte 164");
}

/* Found by the fuzzer: the padding that nobody wrote put it past the end. */
static void gguf_empty_tensor_lies_within_the_file(void **state)
{
	struct vgpu_table table;
	struct vgpu_error err;
	struct image f;

	(void)state;
	put_start(&f, 1, 0);
	put_tensor(&f, "t", 0, 4, 0, 0);
	assert_true(f.at % 32);
	assert_int_equal(parse_part(&f, f.at, f.at, &table, &err), 0);
	assert_int_equal(table.tensors[0].bytes, 0);
	assert_int_equal(table.tensors[0].offset, f.at);
	vgpu_table_clear(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gguf_reads_every_metadata_type),
		cmocka_unit_test(gguf_every_prefix_asks_or_refuses),
		cmocka_unit_test(gguf_block_sizes_are_those_of_the_format),
		cmocka_unit_test(gguf_version_2_is_read),
		cmocka_unit_test(gguf_bad_start_is_named),
		cmocka_unit_test(gguf_counts_must_fit_the_file),
		cmocka_unit_test(gguf_counts_are_bounded),
		cmocka_unit_test(gguf_bad_metadata_is_named),
		cmocka_unit_test(gguf_bad_alignment_is_named),
		cmocka_unit_test(gguf_bad_tensor_is_named),
		cmocka_unit_test(gguf_tensors_are_distinct),
		cmocka_unit_test(gguf_empty_tensor_lies_within_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

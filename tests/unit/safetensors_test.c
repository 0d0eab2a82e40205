// SPDX-License-Identifier: MIT
#include "kernels/formats/safetensors.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

/* As the checkpoint does it: one file of this header and @data_bytes of data. */
static int parse(const char *json, uint64_t data_bytes, struct vgpu_table *table,
		 struct vgpu_error *err)
{
	size_t bytes = strlen(json);
	/* A copy of the exact size lets the address sanitizer see reads past the end. */
	char *copy = malloc(bytes ? bytes : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, json, bytes);
	memset(table, 0, sizeof(*table));
	memset(err, 0, sizeof(*err));
	rc = vgpu_safetensors_parse(copy, bytes, 8 + bytes + data_bytes, 0, table, err);
	if (!rc)
		rc = vgpu_table_finish(table, err);
	free(copy);
	return rc;
}

static void assert_refused(const char *json, uint64_t data_bytes, int code,
			   const char *text)
{
	struct vgpu_table table;
	struct vgpu_error err;
	int rc = parse(json, data_bytes, &table, &err);

	vgpu_table_clear(&table);
	assert_string_equal(err.text, text);
	assert_int_equal(rc, code);
	assert_int_equal(err.code, code);
}

static void safetensors_reads_what_a_writer_writes(void **state)
{
	static const char json[] =
		"{\"__metadata__\":{\"format\":\"pt\",\"note\":\"a\\u00e9\"},"
		"\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[12,16]},"
		"\"e\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[16,16]},"
		"\"f4\":{\"dtype\":\"F4\",\"shape\":[3,6],\"data_offsets\":[16,25]}}   ";
	struct vgpu_table table;
	struct vgpu_error err;
	const struct vgpu_tensor *t;

	(void)state;
	assert_int_equal(parse(json, 25, &table, &err), 0);
	assert_int_equal(table.tensor_count, 4);
	assert_string_equal(table.tensors[0].name, "a");

	t = vgpu_table_find(&table, "b");
	assert_non_null(t);
	assert_int_equal(t->dtype, VGPU_DTYPE_BF16);
	assert_string_equal(t->dtype_name, "BF16");
	assert_int_equal(t->rank, 2);
	assert_int_equal(t->shape[0], 2);
	assert_int_equal(t->shape[1], 3);
	assert_int_equal(t->shape[2], 1);
	assert_int_equal(t->offset, 8 + sizeof(json) - 1);
	assert_int_equal(t->bytes, 12);
	assert_int_equal(vgpu_table_find(&table, "a")->rank, 0);
	assert_int_equal(vgpu_table_find(&table, "e")->bytes, 0);
	assert_int_equal(vgpu_table_find(&table, "f4")->bytes, 9);
	assert_null(vgpu_table_find(&table, "c"));

	assert_int_equal(table.meta_count, 2);
	assert_string_equal(vgpu_table_find_meta(&table, "note")->string.text, "a\xc3\xa9");
	vgpu_table_clear(&table);
}

static void safetensors_escaped_names_are_decoded(void **state)
{
	struct vgpu_table table;
	struct vgpu_error err;

	(void)state;
	assert_int_equal(parse("{\"a\\\"\\u0062}\":{\"dtype\":\"U8\",\"shape\":[1],"
			       "\"data_offsets\":[0,1]}}", 1, &table, &err), 0);
	assert_non_null(vgpu_table_find(&table, "a\"b}"));
	vgpu_table_clear(&table);
}

static void safetensors_empty_header_has_no_tensors(void **state)
{
	struct vgpu_table table;
	struct vgpu_error err;

	(void)state;
	assert_int_equal(parse("{}", 0, &table, &err), 0);
	assert_int_equal(table.tensor_count, 0);
	assert_null(vgpu_table_find(&table, "x"));
	vgpu_table_clear(&table);
}

static void assert_header_refused(uint64_t length, size_t have, uint64_t file_bytes,
				  int code, const char *text)
{
	struct vgpu_error err = { 0 };
	uint64_t out = 77;

	assert_int_equal(vgpu_safetensors_header_bytes(&length, have, file_bytes, &out, &err),
			 code);
	assert_string_equal(err.text, text);
	assert_int_equal(out, 77);
}

static void safetensors_header_length_is_checked(void **state)
{
	uint64_t length = 92, out = 0;

	(void)state;
	assert_int_equal(vgpu_safetensors_header_bytes(&length, 8, 100, &out, NULL), 0);
	assert_int_equal(out, 92);
	assert_header_refused(0, 3, 3, -EINVAL, "header length needs 8 bytes, the file has 3");
	assert_header_refused(93, 8, 100, -EINVAL,
			      "header length 93 exceeds the 92 bytes after it");
	assert_header_refused(UINT64_MAX, 8, 100, -EINVAL,
		"header length 18446744073709551615 exceeds the 92 bytes after it");
	assert_header_refused(100000001, 8, 1ull << 40, -E2BIG,
			      "header length 100000001 exceeds the limit 100000000");
}

/* One tensor called x with these three fields. */
static void assert_tensor_refused(const char *dtype, const char *shape, const char *offsets,
				  uint64_t data_bytes, int code, const char *text)
{
	char json[512];

	snprintf(json, sizeof(json),
		 "{\"x\":{\"dtype\":%s,\"shape\":%s,\"data_offsets\":%s}}", dtype, shape,
		 offsets);
	assert_refused(json, data_bytes, code, text);
}

static void safetensors_bad_dtype_is_named(void **state)
{
	(void)state;
	assert_tensor_refused("\"F33\"", "[1]", "[0,4]", 4, -EOPNOTSUPP,
			      "tensor 'x': dtype 'F33' is unknown, is none of F32 F16 BF16 F64 I8 "
			      "I16 I32 I64 U8 U16 U32 U64 BOOL F8_E4M3 F8_E5M2 F8_E8M0 F6_E2M3 "
			      "F6_E3M2 F4 C64");
	assert_tensor_refused("7", "[1]", "[0,4]", 4, -EINVAL,
			      "tensor 'x': dtype is not a string");
	assert_tensor_refused("\"F32\\u0000\"", "[1]", "[0,4]", 4, -EINVAL,
			      "tensor 'x': dtype is not a string");
}

static void safetensors_bad_shape_is_named(void **state)
{
	(void)state;
	assert_tensor_refused("\"F32\"", "3", "[0,4]", 4, -EINVAL,
			      "tensor 'x': shape is not an array");
	assert_tensor_refused("\"F32\"", "[1,1.5]", "[0,4]", 4, -EINVAL,
			      "tensor 'x': shape[1] is not an integer");
	assert_tensor_refused("\"F32\"", "[-1]", "[0,4]", 4, -EINVAL,
			      "tensor 'x': shape[0] is -1, below 0");
	assert_tensor_refused("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]", 4, -E2BIG,
			      "tensor 'x': shape has 9 dimensions, limit 8");
	assert_tensor_refused("\"F32\"", "[4294967296,4294967296]", "[0,0]", 0, -EINVAL,
		"tensor 'x': product of the shape exceeds 64 bits at dimension 1 of 4294967296");
	assert_tensor_refused("\"F32\"", "[99999999999999999999]", "[0,4]", 4, -EINVAL,
		"tensor 'x': 18446744073709551615 elements of F32 exceed 64 bits in bytes");
	assert_tensor_refused("\"F4\"", "[3]", "[0,1]", 1, -EINVAL,
		"tensor 'x': element count 3 is not a multiple of 2, the block of F4");
	assert_tensor_refused("\"F32\"", "[2]", "[0,4]", 4, -EINVAL,
		"tensor 'x': data_offsets span 4 bytes, its F32 shape needs 8");
}

static void safetensors_bad_offsets_are_named(void **state)
{
	(void)state;
	assert_tensor_refused("\"U8\"", "[1200]", "[0,1200]", 1000, -EINVAL,
			      "tensor 'x': data_offsets end 1200 exceeds data bytes 1000");
	assert_tensor_refused("\"U8\"", "[4]", "[8,4]", 8, -EINVAL,
			      "tensor 'x': data_offsets begin 8 exceeds end 4");
	assert_tensor_refused("\"U8\"", "[4]", "[4]", 4, -EINVAL,
			      "tensor 'x': data_offsets is not an array of 2");
	assert_tensor_refused("\"U8\"", "[4]", "[0,\"4\"]", 4, -EINVAL,
			      "tensor 'x': data_offsets[1] is not an integer");
	assert_tensor_refused("\"U8\"", "[4]", "[-4,0]", 4, -EINVAL,
			      "tensor 'x': data_offsets[0] is -4, below 0");
	assert_tensor_refused("\"U8\"", "[4]", "[1,5]", 6, -EINVAL,
			      "tensors cover 4 of 6 data bytes");
}

static void safetensors_fields_appear_exactly_once(void **state)
{
	(void)state;
	assert_refused("{\"x\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],"
		       "\"data_offsets\":[0,1]}}", 1, -EINVAL,
		       "tensor 'x': field \"dtype\" appears twice");
	assert_refused("{\"x\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, -EINVAL,
		       "tensor 'x': field \"data_offsets\" is missing");
	assert_refused("{\"x\":{\"dtype\":\"U8\",\"strides\":[1]}}", 1, -EINVAL,
		       "tensor 'x': field \"strides\" is unknown");
	assert_refused("{\"x\":[]}", 0, -EINVAL, "tensor 'x': entry is not an object");
}

#define ONE_BYTE "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}"

static void safetensors_duplicate_names_are_refused(void **state)
{
	(void)state;
	assert_refused("{\"x\":" ONE_BYTE ",\"x\":" ONE_BYTE "}", 1, -EINVAL,
		       "tensor 'x' appears twice");
	assert_refused("{\"x\":" ONE_BYTE ",\"\\u0078\":" ONE_BYTE "}", 1, -EINVAL,
		       "tensor 'x' appears twice");
	assert_refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, -EINVAL,
		       "__metadata__ appears twice");
	assert_refused("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, -EINVAL,
		       "metadata key 'k' appears twice");
}

static void safetensors_overlap_is_refused(void **state)
{
	(void)state;
	assert_refused("{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
		       "\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}", 7,
		       -EINVAL,
		       "tensor 'y' at byte 116 overlaps tensor 'x', which ends at byte 117");
}

static void safetensors_names_are_bounded(void **state)
{
	char json[2048], text[256];

	(void)state;
	memset(json, 'n', sizeof(json));
	memcpy(json, "{\"", 2);
	strcpy(json + 1026, "\":" ONE_BYTE "}");
	snprintf(text, sizeof(text), "tensor name '%.40s...' has 1024 bytes, limit 1023",
		 json + 2);
	assert_refused(json, 1, -E2BIG, text);
	assert_refused("{\"a\\u0000b\":" ONE_BYTE "}", 1, -EINVAL,
		       "tensor name 'a' holds a NUL byte");
}

static void safetensors_control_bytes_do_not_reach_the_message(void **state)
{
	(void)state;
	assert_refused("{\"\\u001b[2J\":[]}", 0, -EINVAL,
		       "tensor '?[2J': entry is not an object");
}

static void safetensors_malformed_json_is_located(void **state)
{
	(void)state;
	assert_refused("", 0, -EINVAL, "header does not begin with '{'");
	assert_refused("[]", 0, -EINVAL, "header does not begin with '{'");
	assert_refused("{", 0, -EINVAL, "JSON byte 1: malformed");
	assert_refused("{\"x", 0, -EINVAL, "JSON byte 3: malformed");
	assert_refused("{\"x\\", 0, -EINVAL, "JSON byte 4: malformed");
	assert_refused("{\"x\":", 0, -EINVAL, "JSON byte 5: malformed");
	assert_refused("{\"x\":}", 0, -EINVAL, "JSON byte 5: malformed");
	assert_refused("{\"x\":{]}", 0, -EINVAL, "JSON byte 6: malformed");
	assert_refused("{} x", 0, -EINVAL, "JSON byte 2: malformed");
	assert_refused("{,}", 0, -EINVAL, "JSON byte 1: malformed");
	assert_refused("{\"x\":" ONE_BYTE ",}", 1, -EINVAL, "JSON byte 53: malformed");
	assert_refused("{\"x\":{\"dtype\":\"U8\",\"shape\":[01],\"data_offsets\":[0,1]}}", 1,
		       -EINVAL, "tensor 'x': entry is malformed JSON");
	assert_refused("{\"x\":{\"dtype\":\"\xff\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
		       -EINVAL, "tensor 'x': entry is malformed JSON");
	assert_refused("{\"__metadata__\":{\"k\":1}}", 0, -EINVAL,
		       "JSON byte 21: metadata value is not a string");
	assert_refused("{\"__metadata__\":3}", 0, -EINVAL, "__metadata__ is not an object");
}

static void safetensors_depth_is_bounded(void **state)
{
	(void)state;
	assert_refused("{\"x\":[[[[[[[[]]]]]]]]}", 0, -E2BIG,
		       "JSON byte 12: nested deeper than 8");
}

static int parse_index(const char *json, struct vgpu_table *table,
		       struct vgpu_safetensors_shards *shards, struct vgpu_error *err)
{
	memset(table, 0, sizeof(*table));
	return vgpu_safetensors_parse_index(json, strlen(json), table, shards, err);
}

static void assert_index_refused(const char *json, int code, const char *text)
{
	struct vgpu_safetensors_shards shards;
	struct vgpu_table table;
	struct vgpu_error err = { 0 };

	assert_int_equal(parse_index(json, &table, &shards, &err), code);
	assert_string_equal(err.text, text);
	vgpu_table_clear(&table);
}

static void safetensors_index_lists_its_shards(void **state)
{
	struct vgpu_safetensors_shards shards;
	struct vgpu_table table;
	struct vgpu_error err;

	(void)state;
	assert_int_equal(parse_index("{\"metadata\":{\"total_size\":12},\"weight_map\":"
				     "{\"a\":\"2.st\",\"b\":\"1.st\",\"c\":\"2.st\"}}",
				     &table, &shards, &err), 0);
	assert_int_equal(shards.count, 2);
	assert_string_equal(shards.names[0], "2.st");
	assert_string_equal(shards.names[1], "1.st");
	assert_int_equal(table.tensor_count, 3);
	assert_int_equal(table.tensors[2].file, 0);
	vgpu_table_clear(&table);
}

static void safetensors_index_stays_in_its_folder(void **state)
{
	(void)state;
	assert_index_refused("{\"weight_map\":{\"a\":\"../secret\"}}", -EINVAL,
		"weight_map names file '../secret', which is not a plain file name");
	assert_index_refused("{\"weight_map\":{\"a\":\"x/y\"}}", -EINVAL,
		"weight_map names file 'x/y', which is not a plain file name");
	assert_index_refused("{\"weight_map\":{\"a\":\"\"}}", -EINVAL,
		"weight_map names file '', which is not a plain file name");
}

static void safetensors_bad_index_is_named(void **state)
{
	(void)state;
	assert_index_refused("{}", -EINVAL, "weight_map names no file");
	assert_index_refused("{\"weight_map\":{\"a\":\"x\"},\"weight_map\":{}}", -EINVAL,
			     "weight_map appears twice");
	assert_index_refused("{\"weight_map\":[]}", -EINVAL, "weight_map is not an object");
	assert_index_refused("{\"weight_map\":{\"a\":1}}", -EINVAL,
			     "JSON byte 19: file name is not a string");
	assert_index_refused("x", -EINVAL, "index does not begin with '{'");
}

static void safetensors_metadata_entries_are_bounded(void **state)
{
	size_t room = 1u << 20, at = 0;
	char *json = malloc(room);
	unsigned int i;

	(void)state;
	assert_non_null(json);
	at += (size_t)snprintf(json, room, "{\"__metadata__\":{");
	for (i = 0; i < 65537; i++)
		at += (size_t)snprintf(json + at, room - at, "%s\"%x\":\"\"", i ? "," : "", i);
	snprintf(json + at, room - at, "}}");
	assert_refused(json, 0, -E2BIG, "more than 65536 metadata entries");
	free(json);
}

static void safetensors_index_shards_are_bounded(void **state)
{
	size_t room = 64u << 10, at = 0;
	char *json = malloc(room);
	unsigned int i;

	(void)state;
	assert_non_null(json);
	at += (size_t)snprintf(json, room, "{\"weight_map\":{");
	for (i = 0; i < 1025; i++)
		at += (size_t)snprintf(json + at, room - at, "%s\"t%u\":\"f%u\"", i ? "," : "",
				       i, i);
	snprintf(json + at, room - at, "}}");
	assert_index_refused(json, -E2BIG, "weight_map names more than 1024 files");
	free(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(safetensors_reads_what_a_writer_writes),
		cmocka_unit_test(safetensors_escaped_names_are_decoded),
		cmocka_unit_test(safetensors_empty_header_has_no_tensors),
		cmocka_unit_test(safetensors_header_length_is_checked),
		cmocka_unit_test(safetensors_bad_dtype_is_named),
		cmocka_unit_test(safetensors_bad_shape_is_named),
		cmocka_unit_test(safetensors_bad_offsets_are_named),
		cmocka_unit_test(safetensors_fields_appear_exactly_once),
		cmocka_unit_test(safetensors_duplicate_names_are_refused),
		cmocka_unit_test(safetensors_overlap_is_refused),
		cmocka_unit_test(safetensors_names_are_bounded),
		cmocka_unit_test(safetensors_control_bytes_do_not_reach_the_message),
		cmocka_unit_test(safetensors_malformed_json_is_located),
		cmocka_unit_test(safetensors_depth_is_bounded),
		cmocka_unit_test(safetensors_index_lists_its_shards),
		cmocka_unit_test(safetensors_index_stays_in_its_folder),
		cmocka_unit_test(safetensors_bad_index_is_named),
		cmocka_unit_test(safetensors_index_shards_are_bounded),
		cmocka_unit_test(safetensors_metadata_entries_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

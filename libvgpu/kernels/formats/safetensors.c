// SPDX-License-Identifier: MIT
/*
 * safetensors: u64 little-endian header length, a JSON object, raw data. The header maps
 * each name to {"dtype", "shape", "data_offsets": [begin, end)}, offsets counted from
 * the end of the header; "__metadata__" maps strings to strings.
 *
 * The file is not trusted. Nothing is allocated by a number that the file claims, only
 * by bytes that it really has.
 */
#include "kernels/formats/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kernels/formats/error.h"
#include "kernels/formats/json.h"

/* What the functions below share while one header is read. */
struct reader {
	const char *start;
	struct json_tokener *tokener;
	uint64_t data_start;
	uint64_t data_bytes;
	uint64_t used_bytes;
	uint32_t file;
	struct vgpu_table *table;
	struct vgpu_error *err;
};

static const struct {
	const char *name;
	enum vgpu_dtype dtype;
} dtypes[] = {
	{ "F32", VGPU_DTYPE_F32 },
	{ "F16", VGPU_DTYPE_F16 },
	{ "BF16", VGPU_DTYPE_BF16 },
	{ "F64", VGPU_DTYPE_F64 },
	{ "I8", VGPU_DTYPE_I8 },
	{ "I16", VGPU_DTYPE_I16 },
	{ "I32", VGPU_DTYPE_I32 },
	{ "I64", VGPU_DTYPE_I64 },
	{ "U8", VGPU_DTYPE_U8 },
	{ "U16", VGPU_DTYPE_U16 },
	{ "U32", VGPU_DTYPE_U32 },
	{ "U64", VGPU_DTYPE_U64 },
	{ "BOOL", VGPU_DTYPE_BOOL },
	{ "F8_E4M3", VGPU_DTYPE_F8_E4M3 },
	{ "F8_E5M2", VGPU_DTYPE_F8_E5M2 },
	{ "F8_E8M0", VGPU_DTYPE_F8_E8M0 },
	{ "F6_E2M3", VGPU_DTYPE_F6_E2M3 },
	{ "F6_E3M2", VGPU_DTYPE_F6_E3M2 },
	{ "F4", VGPU_DTYPE_F4_E2M1 },
	{ "C64", VGPU_DTYPE_C64 },
};

int vgpu_safetensors_header_bytes(const void *start, size_t start_bytes,
				  uint64_t file_bytes, uint64_t *out_bytes,
				  struct vgpu_error *err)
{
	uint64_t bytes;

	if (start_bytes < sizeof(bytes) || file_bytes < sizeof(bytes))
		return vgpu_error_set(err, -EINVAL,
			"header length needs 8 bytes, the file has %" PRIu64, file_bytes);
	memcpy(&bytes, start, sizeof(bytes));
	if (bytes > file_bytes - sizeof(bytes))
		return vgpu_error_set(err, -EINVAL,
			"header length %" PRIu64 " exceeds the %" PRIu64 " bytes after it",
			bytes, file_bytes - sizeof(bytes));
	if (bytes > VGPU_SAFETENSORS_MAX_HEADER)
		return vgpu_error_set(err, -E2BIG,
			"header length %" PRIu64 " exceeds the limit %u", bytes,
			VGPU_SAFETENSORS_MAX_HEADER);
	*out_bytes = bytes;
	return 0;
}

static int fail_json(const struct reader *r, int rc, const char *at)
{
	if (rc == -E2BIG)
		return vgpu_error_set(r->err, rc, "JSON byte %zu: nested deeper than %d",
				      (size_t)(at - r->start), VGPU_JSON_MAX_DEPTH);
	return vgpu_error_set(r->err, -EINVAL, "JSON byte %zu: malformed",
			      (size_t)(at - r->start));
}

static int fail_memory(const struct reader *r)
{
	return vgpu_error_set(r->err, -ENOMEM, "out of memory after %zu tensors",
			      r->table->tensor_count);
}

/* Is there room for one more? */
static int check_limit(const struct reader *r, size_t count, uint32_t limit,
		       const char *what)
{
	if (count >= limit)
		return vgpu_error_set(r->err, -E2BIG, "more than %u %s", limit, what);
	return 0;
}

/* Decodes a JSON string into the table's memory. */
static int read_string(struct reader *r, struct vgpu_json_range range, const char *what,
		       struct vgpu_string *out)
{
	struct json_object *object;

	object = vgpu_json_decode(r->tokener, range, json_type_string);
	if (!object)
		return vgpu_error_set(r->err, -EINVAL, "JSON byte %zu: %s is not a string",
				      (size_t)(range.text - r->start), what);
	out->bytes = (size_t)json_object_get_string_len(object);
	out->text = vgpu_table_text(r->table, json_object_get_string(object), out->bytes);
	json_object_put(object);
	return out->text ? 0 : fail_memory(r);
}

/* A string that serves as a key: short, and without the NUL that would cut it. */
static int read_name(struct reader *r, struct vgpu_json_range range, const char *what,
		     const char **out)
{
	struct vgpu_string name = { 0 };
	int rc = read_string(r, range, what, &name);

	if (rc)
		return rc;
	if (name.bytes > VGPU_SAFETENSORS_MAX_NAME)
		return vgpu_error_set(r->err, -E2BIG, "%s '%.40s...' has %zu bytes, limit %u",
				      what, name.text, name.bytes, VGPU_SAFETENSORS_MAX_NAME);
	if (strlen(name.text) != name.bytes)
		return vgpu_error_set(r->err, -EINVAL, "%s '%.80s' holds a NUL byte", what,
				      name.text);
	*out = name.text;
	return 0;
}

static int refuse_dtype(struct reader *r, const struct vgpu_tensor *tensor, const char *name)
{
	char known[192] = "";
	size_t used = 0;

	for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]) && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? " " : "",
					 dtypes[i].name);
	return vgpu_error_set(r->err, -EOPNOTSUPP, "tensor '%.80s': dtype '%.40s' is unknown, is none of %s",
			      tensor->name, name, known);
}

static int read_dtype(struct reader *r, struct json_object *entry,
		      struct vgpu_tensor *tensor)
{
	struct json_object *value = json_object_object_get(entry, "dtype");
	const char *name;
	size_t i;

	if (!json_object_is_type(value, json_type_string) ||
	    strlen(json_object_get_string(value)) !=
		    (size_t)json_object_get_string_len(value))
		return vgpu_error_set(r->err, -EINVAL, "tensor '%.80s': dtype is not a string",
				      tensor->name);
	name = json_object_get_string(value);
	for (i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
		if (strcmp(name, dtypes[i].name))
			continue;
		tensor->dtype_name = dtypes[i].name;
		tensor->dtype = dtypes[i].dtype;
		return 0;
	}
	return refuse_dtype(r, tensor, name);
}

static int read_integer(struct reader *r, struct json_object *value, const char *field,
			size_t i, const char *name, uint64_t *out)
{
	if (!json_object_is_type(value, json_type_int))
		return vgpu_error_set(r->err, -EINVAL,
			"tensor '%.80s': %s[%zu] is not an integer", name, field, i);
	/* Negative numbers saturate in one getter, large ones in the other. */
	if (json_object_get_int64(value) < 0)
		return vgpu_error_set(r->err, -EINVAL,
			"tensor '%.80s': %s[%zu] is %" PRId64 ", below 0", name, field, i,
			json_object_get_int64(value));
	*out = json_object_get_uint64(value);
	return 0;
}

static int read_shape(struct reader *r, struct json_object *entry,
		      struct vgpu_tensor *tensor)
{
	struct json_object *value = json_object_object_get(entry, "shape");
	size_t rank, i;
	int rc;

	if (!json_object_is_type(value, json_type_array))
		return vgpu_error_set(r->err, -EINVAL, "tensor '%.80s': shape is not an array",
				      tensor->name);
	rank = json_object_array_length(value);
	if (rank > VGPU_TENSOR_MAX_RANK)
		return vgpu_error_set(r->err, -E2BIG,
			"tensor '%.80s': shape has %zu dimensions, limit %d", tensor->name,
			rank, VGPU_TENSOR_MAX_RANK);

	tensor->rank = (uint32_t)rank;
	for (i = 0; i < VGPU_TENSOR_MAX_RANK; i++)
		tensor->shape[i] = 1;
	for (i = 0; i < rank; i++) {
		rc = read_integer(r, json_object_array_get_idx(value, i), "shape", i,
				  tensor->name, &tensor->shape[i]);
		if (rc)
			return rc;
	}
	return 0;
}

static int read_offsets(struct reader *r, struct json_object *entry,
			struct vgpu_tensor *tensor)
{
	struct json_object *value = json_object_object_get(entry, "data_offsets");
	uint64_t place[2];
	size_t i;
	int rc;

	if (!json_object_is_type(value, json_type_array) ||
	    json_object_array_length(value) != 2)
		return vgpu_error_set(r->err, -EINVAL,
			"tensor '%.80s': data_offsets is not an array of 2", tensor->name);
	for (i = 0; i < 2; i++) {
		rc = read_integer(r, json_object_array_get_idx(value, i), "data_offsets", i,
				  tensor->name, &place[i]);
		if (rc)
			return rc;
	}

	if (place[1] > r->data_bytes)
		return vgpu_error_set(r->err, -EINVAL,
			"tensor '%.80s': data_offsets end %" PRIu64 " exceeds data bytes %" PRIu64,
			tensor->name, place[1], r->data_bytes);
	if (place[0] > place[1])
		return vgpu_error_set(r->err, -EINVAL,
			"tensor '%.80s': data_offsets begin %" PRIu64 " exceeds end %" PRIu64,
			tensor->name, place[0], place[1]);
	tensor->offset = r->data_start + place[0];
	tensor->bytes = place[1] - place[0];
	return 0;
}

/* Exactly the three fields, once each: json-c would hide a second one. */
static int check_fields(struct reader *r, struct vgpu_json_range entry, const char *name)
{
	static const char *const fields[] = { "dtype", "shape", "data_offsets" };
	struct vgpu_json_range key, value;
	struct vgpu_json_walk walk;
	unsigned int seen = 0, i;
	int rc;

	if (vgpu_json_begin(&walk, entry))
		return vgpu_error_set(r->err, -EINVAL, "tensor '%.80s': entry is not an object",
				      name);
	while ((rc = vgpu_json_next(&walk, &key, &value)) > 0) {
		for (i = 0; i < 3 && !vgpu_json_is(key, fields[i]); i++)
			;
		if (i == 3)
			return vgpu_error_set(r->err, -EINVAL,
				"tensor '%.80s': field %.*s is unknown", name,
				(int)(key.bytes > 40 ? 40 : key.bytes), key.text);
		if (seen & 1u << i)
			return vgpu_error_set(r->err, -EINVAL,
				"tensor '%.80s': field \"%s\" appears twice", name, fields[i]);
		seen |= 1u << i;
	}
	if (rc)
		return fail_json(r, rc, walk.at);
	for (i = 0; i < 3; i++)
		if (!(seen & 1u << i))
			return vgpu_error_set(r->err, -EINVAL,
				"tensor '%.80s': field \"%s\" is missing", name, fields[i]);
	return 0;
}

static int read_entry(struct reader *r, struct json_object *entry,
		      struct vgpu_tensor *tensor)
{
	uint64_t bytes;
	int rc;

	rc = read_dtype(r, entry, tensor);
	if (!rc)
		rc = read_shape(r, entry, tensor);
	if (!rc)
		rc = read_offsets(r, entry, tensor);
	if (!rc)
		rc = vgpu_table_size_tensor(tensor, false, &bytes, r->err);
	if (rc)
		return rc;

	if (bytes != tensor->bytes)
		return vgpu_error_set(r->err, -EINVAL,
			"tensor '%.80s': data_offsets span %" PRIu64 " bytes, its %s shape needs %" PRIu64,
			tensor->name, tensor->bytes, tensor->dtype_name, bytes);
	tensor->file = r->file;
	/* Overlapping tensors of a hostile file can add up to more than 64 bits. */
	if (__builtin_add_overflow(r->used_bytes, bytes, &r->used_bytes))
		r->used_bytes = UINT64_MAX;
	return 0;
}

static int read_tensor(struct reader *r, struct vgpu_json_range key,
		       struct vgpu_json_range value)
{
	struct vgpu_tensor *tensor;
	struct json_object *entry;
	const char *name;
	int rc;

	rc = read_name(r, key, "tensor name", &name);
	if (rc)
		return rc;
	rc = check_fields(r, value, name);
	if (!rc)
		rc = check_limit(r, r->table->tensor_count, VGPU_TABLE_MAX_TENSORS, "tensors");
	if (rc)
		return rc;
	tensor = vgpu_table_add_tensor(r->table);
	if (!tensor)
		return fail_memory(r);
	tensor->name = name;

	entry = vgpu_json_decode(r->tokener, value, json_type_object);
	if (!entry)
		return vgpu_error_set(r->err, -EINVAL, "tensor '%.80s': entry is malformed JSON",
				      name);
	rc = read_entry(r, entry, tensor);
	json_object_put(entry);
	return rc;
}

static int read_metadata(struct reader *r, struct vgpu_json_range object)
{
	struct vgpu_json_range key, value;
	struct vgpu_json_walk walk;
	struct vgpu_string text;
	struct vgpu_meta *meta;
	const char *name;
	int rc;

	if (vgpu_json_begin(&walk, object))
		return vgpu_error_set(r->err, -EINVAL, "__metadata__ is not an object");
	while ((rc = vgpu_json_next(&walk, &key, &value)) > 0) {
		rc = read_name(r, key, "metadata key", &name);
		if (!rc)
			rc = read_string(r, value, "metadata value", &text);
		if (rc)
			return rc;
		if (r->file)
			continue;
		rc = check_limit(r, r->table->meta_count, VGPU_TABLE_MAX_METAS,
				 "metadata entries");
		if (rc)
			return rc;
		meta = vgpu_table_add_meta(r->table);
		if (!meta)
			return fail_memory(r);
		meta->key = name;
		meta->type = VGPU_META_STRING;
		meta->string = text;
	}
	return rc ? fail_json(r, rc, walk.at) : 0;
}

static int read_members(struct reader *r, struct vgpu_json_range header)
{
	struct vgpu_json_range key, value;
	struct vgpu_json_walk walk;
	bool seen_metadata = false;
	int rc;

	if (vgpu_json_begin(&walk, header))
		return vgpu_error_set(r->err, -EINVAL, "header does not begin with '{'");
	while ((rc = vgpu_json_next(&walk, &key, &value)) > 0) {
		if (!vgpu_json_is(key, "__metadata__")) {
			rc = read_tensor(r, key, value);
		} else if (seen_metadata) {
			rc = vgpu_error_set(r->err, -EINVAL, "__metadata__ appears twice");
		} else {
			seen_metadata = true;
			rc = read_metadata(r, value);
		}
		if (rc)
			return rc;
	}
	if (rc || !vgpu_json_at_end(&walk))
		return fail_json(r, rc, walk.at);
	return 0;
}

int vgpu_safetensors_parse(const char *json, size_t json_bytes, uint64_t file_bytes,
			   uint32_t file, struct vgpu_table *table,
			   struct vgpu_error *err)
{
	struct vgpu_json_range header = { json, json_bytes };
	struct reader r = {
		.start = json,
		.data_start = 8 + (uint64_t)json_bytes,
		.data_bytes = file_bytes - 8 - json_bytes,
		.file = file,
		.table = table,
		.err = err,
	};
	int rc;

	r.tokener = vgpu_json_tokener();
	if (!r.tokener)
		return fail_memory(&r);
	rc = read_members(&r, header);
	json_tokener_free(r.tokener);
	if (rc)
		return rc;
	/* Too many bytes in use is an overlap, which the table names better. */
	if (r.used_bytes < r.data_bytes)
		return vgpu_error_set(err, -EINVAL,
			"tensors cover %" PRIu64 " of %" PRIu64 " data bytes", r.used_bytes,
			r.data_bytes);
	return 0;
}

/* Shards lie beside the index: a name that leads elsewhere is hostile. */
static int find_shard(struct reader *r, struct vgpu_safetensors_shards *shards,
		      const char *name, uint32_t *out)
{
	uint32_t i;

	/* Writers list a shard's tensors together: the last one matches mostly. */
	for (i = (uint32_t)shards->count; i-- > 0;)
		if (!strcmp(shards->names[i], name)) {
			*out = i;
			return 0;
		}
	if (!name[0] || name[0] == '.' || strchr(name, '/'))
		return vgpu_error_set(r->err, -EINVAL,
			"weight_map names file '%.80s', which is not a plain file name", name);
	if (shards->count == VGPU_SAFETENSORS_MAX_SHARDS)
		return vgpu_error_set(r->err, -E2BIG, "weight_map names more than %u files",
				      VGPU_SAFETENSORS_MAX_SHARDS);
	*out = (uint32_t)shards->count;
	shards->names[shards->count++] = name;
	return 0;
}

static int read_weight_map(struct reader *r, struct vgpu_json_range object,
			   struct vgpu_safetensors_shards *shards)
{
	struct vgpu_json_range key, value;
	struct vgpu_json_walk walk;
	struct vgpu_tensor *tensor;
	const char *name, *shard;
	uint32_t file = 0;
	int rc;

	if (vgpu_json_begin(&walk, object))
		return vgpu_error_set(r->err, -EINVAL, "weight_map is not an object");
	while ((rc = vgpu_json_next(&walk, &key, &value)) > 0) {
		rc = read_name(r, key, "tensor name", &name);
		if (!rc)
			rc = read_name(r, value, "file name", &shard);
		if (!rc)
			rc = check_limit(r, r->table->tensor_count, VGPU_TABLE_MAX_TENSORS,
					 "tensors");
		if (!rc)
			rc = find_shard(r, shards, shard, &file);
		if (rc)
			return rc;
		tensor = vgpu_table_add_tensor(r->table);
		if (!tensor)
			return fail_memory(r);
		tensor->name = name;
		tensor->file = file;
	}
	return rc ? fail_json(r, rc, walk.at) : 0;
}

static int read_index(struct reader *r, struct vgpu_json_range index,
		      struct vgpu_safetensors_shards *shards)
{
	struct vgpu_json_range key, value;
	struct vgpu_json_walk walk;
	bool seen = false;
	int rc;

	if (vgpu_json_begin(&walk, index))
		return vgpu_error_set(r->err, -EINVAL, "index does not begin with '{'");
	while ((rc = vgpu_json_next(&walk, &key, &value)) > 0) {
		if (!vgpu_json_is(key, "weight_map"))
			continue;
		if (seen)
			return vgpu_error_set(r->err, -EINVAL, "weight_map appears twice");
		seen = true;
		rc = read_weight_map(r, value, shards);
		if (rc)
			return rc;
	}
	if (rc || !vgpu_json_at_end(&walk))
		return fail_json(r, rc, walk.at);
	if (!shards->count)
		return vgpu_error_set(r->err, -EINVAL, "weight_map names no file");
	return 0;
}

int vgpu_safetensors_parse_index(const char *json, size_t json_bytes,
				 struct vgpu_table *table,
				 struct vgpu_safetensors_shards *shards,
				 struct vgpu_error *err)
{
	struct vgpu_json_range index = { json, json_bytes };
	struct reader r = { .start = json, .table = table, .err = err };
	int rc;

	shards->count = 0;
	shards->names = vgpu_table_alloc(table, VGPU_SAFETENSORS_MAX_SHARDS,
					 sizeof(*shards->names));
	r.tokener = vgpu_json_tokener();
	if (!shards->names || !r.tokener)
		rc = fail_memory(&r);
	else
		rc = read_index(&r, index, shards);
	if (r.tokener)
		json_tokener_free(r.tokener);
	return rc;
}

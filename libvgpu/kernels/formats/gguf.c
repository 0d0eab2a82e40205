// SPDX-License-Identifier: MIT
/*
 * GGUF: magic, version, two counts, metadata entries, tensor infos, padding to
 * general.alignment, tensor data. All little-endian.
 *
 * Every read goes through take(), which knows two ends: of the bytes at hand (-EAGAIN,
 * come back with more) and of the file (truncated). Names and values are copied, so the
 * bytes may go when the parser returns.
 */
#include "kernels/formats/gguf.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kernels/formats/error.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	      "numbers are copied from little-endian files as they are");

#define DEFAULT_ALIGNMENT 32u
/* Least bytes of an entry: key length + type + one byte; name length, rank, type, offset. */
#define MIN_META_BYTES 13u
#define MIN_TENSOR_BYTES 24u

struct reader {
	const unsigned char *at;
	uint64_t pos;			/* offset of @at in the file */
	uint64_t read_bytes;		/* end of the bytes at hand */
	uint64_t file_bytes;
	uint64_t alignment;
	struct vgpu_table *table;
	struct vgpu_error *err;
};

struct tensor_type {
	const char *name;
	enum vgpu_dtype dtype;
};

static const struct tensor_type tensor_types[] = {
	[0] = { "F32", VGPU_DTYPE_F32 },
	[1] = { "F16", VGPU_DTYPE_F16 },
	[2] = { "Q4_0", VGPU_DTYPE_Q4_0 },
	[3] = { "Q4_1", VGPU_DTYPE_Q4_1 },
	[6] = { "Q5_0", VGPU_DTYPE_Q5_0 },
	[7] = { "Q5_1", VGPU_DTYPE_Q5_1 },
	[8] = { "Q8_0", VGPU_DTYPE_Q8_0 },
	[10] = { "Q2_K", VGPU_DTYPE_Q2_K },
	[11] = { "Q3_K", VGPU_DTYPE_Q3_K },
	[12] = { "Q4_K", VGPU_DTYPE_Q4_K },
	[13] = { "Q5_K", VGPU_DTYPE_Q5_K },
	[14] = { "Q6_K", VGPU_DTYPE_Q6_K },
	[15] = { "Q8_K", VGPU_DTYPE_Q8_K },
	[16] = { "IQ2_XXS", VGPU_DTYPE_IQ2_XXS },
	[17] = { "IQ2_XS", VGPU_DTYPE_IQ2_XS },
	[18] = { "IQ3_XXS", VGPU_DTYPE_IQ3_XXS },
	[19] = { "IQ1_S", VGPU_DTYPE_IQ1_S },
	[20] = { "IQ4_NL", VGPU_DTYPE_IQ4_NL },
	[21] = { "IQ3_S", VGPU_DTYPE_IQ3_S },
	[22] = { "IQ2_S", VGPU_DTYPE_IQ2_S },
	[23] = { "IQ4_XS", VGPU_DTYPE_IQ4_XS },
	[24] = { "I8", VGPU_DTYPE_I8 },
	[25] = { "I16", VGPU_DTYPE_I16 },
	[26] = { "I32", VGPU_DTYPE_I32 },
	[27] = { "I64", VGPU_DTYPE_I64 },
	[28] = { "F64", VGPU_DTYPE_F64 },
	[29] = { "IQ1_M", VGPU_DTYPE_IQ1_M },
	[30] = { "BF16", VGPU_DTYPE_BF16 },
	[34] = { "TQ1_0", VGPU_DTYPE_TQ1_0 },
	[35] = { "TQ2_0", VGPU_DTYPE_TQ2_0 },
	[39] = { "MXFP4", VGPU_DTYPE_MXFP4 },
	[40] = { "NVFP4", VGPU_DTYPE_NVFP4 },
	[41] = { "Q1_0", VGPU_DTYPE_Q1_0 },
};

static const unsigned char meta_widths[] = {
	[VGPU_META_U8] = 1, [VGPU_META_I8] = 1, [VGPU_META_U16] = 2, [VGPU_META_I16] = 2,
	[VGPU_META_U32] = 4, [VGPU_META_I32] = 4, [VGPU_META_F32] = 4, [VGPU_META_BOOL] = 1,
	[VGPU_META_U64] = 8, [VGPU_META_I64] = 8, [VGPU_META_F64] = 8,
};

bool vgpu_gguf_is_magic(const void *start, size_t start_bytes)
{
	return start_bytes >= 4 && !memcmp(start, "GGUF", 4);
}

static int take(struct reader *r, uint64_t bytes, const char *what,
		const unsigned char **out)
{
	if (bytes > r->file_bytes - r->pos)
		return vgpu_error_set(r->err, -EINVAL,
			"byte %" PRIu64 ": %s needs %" PRIu64 " bytes, the file has %" PRIu64 " more",
			r->pos, what, bytes, r->file_bytes - r->pos);
	if (bytes > r->read_bytes - r->pos)
		return -EAGAIN;
	*out = r->at;
	r->at += bytes;
	r->pos += bytes;
	return 0;
}

static int take_number(struct reader *r, size_t width, const char *what, void *out)
{
	const unsigned char *bytes = NULL;
	int rc = take(r, width, what, &bytes);

	if (!rc)
		memcpy(out, bytes, width);
	return rc;
}

static int check_limit(struct reader *r, uint64_t count, uint32_t limit, const char *what)
{
	if (count > limit)
		return vgpu_error_set(r->err, -E2BIG, "%s %" PRIu64 " exceeds the limit %u",
				      what, count, limit);
	return 0;
}

/* A count of things that take at least @min_bytes each in what remains of the file. */
static int check_count(struct reader *r, uint64_t count, uint32_t min_bytes,
		       const char *what)
{
	if (count > (r->file_bytes - r->pos) / min_bytes)
		return vgpu_error_set(r->err, -EINVAL,
			"%s %" PRIu64 " cannot fit the %" PRIu64 " bytes left of the file",
			what, count, r->file_bytes - r->pos);
	return 0;
}

static int fail_memory(const struct reader *r)
{
	return vgpu_error_set(r->err, -ENOMEM, "out of memory at byte %" PRIu64, r->pos);
}

static int take_string(struct reader *r, const char *what, uint64_t limit,
		       struct vgpu_string *out)
{
	const unsigned char *bytes = NULL;
	uint64_t length;
	int rc;

	rc = take_number(r, sizeof(length), what, &length);
	if (rc)
		return rc;
	if (length > limit)
		return vgpu_error_set(r->err, -E2BIG,
			"byte %" PRIu64 ": %s has %" PRIu64 " bytes, limit %" PRIu64, r->pos,
			what, length, limit);
	rc = take(r, length, what, &bytes);
	if (rc)
		return rc;
	out->bytes = (size_t)length;
	out->text = vgpu_table_text(r->table, (const char *)bytes, out->bytes);
	return out->text ? 0 : fail_memory(r);
}

static int take_name(struct reader *r, const char *what, uint64_t limit, const char **out)
{
	struct vgpu_string name = { 0 };
	int rc = take_string(r, what, limit, &name);

	if (rc)
		return rc;
	if (strlen(name.text) != name.bytes)
		return vgpu_error_set(r->err, -EINVAL, "%s '%.80s' holds a NUL byte", what,
				      name.text);
	*out = name.text;
	return 0;
}

static int check_meta_type(struct reader *r, uint32_t type, const char *key)
{
	if (type > VGPU_META_F64)
		return vgpu_error_set(r->err, -EINVAL,
			"metadata '%.80s': type %u is unknown, highest is %d", key, type,
			VGPU_META_F64);
	return 0;
}

static int check_bools(struct reader *r, const unsigned char *bytes, uint64_t count,
		       const char *key)
{
	uint64_t i;

	for (i = 0; i < count; i++)
		if (bytes[i] > 1)
			return vgpu_error_set(r->err, -EINVAL,
				"metadata '%.80s': bool is %u, not 0 or 1", key, bytes[i]);
	return 0;
}

static int take_string_array(struct reader *r, const char *key,
			     struct vgpu_meta_array *array)
{
	struct vgpu_string *items;
	uint64_t i;
	int rc;

	/* Each has a length of 8 bytes: those at hand bound what is allocated. */
	if (array->count > (r->read_bytes - r->pos) / 8)
		return -EAGAIN;
	items = vgpu_table_alloc(r->table, array->count, sizeof(*items));
	if (!items)
		return fail_memory(r);
	for (i = 0; i < array->count; i++) {
		rc = take_string(r, key, UINT64_MAX, &items[i]);
		if (rc)
			return rc;
	}
	array->data = items;
	return 0;
}

static int take_number_array(struct reader *r, const char *key,
			     struct vgpu_meta_array *array)
{
	uint32_t width = meta_widths[array->type];
	const unsigned char *bytes = NULL;
	void *copy;
	int rc;

	rc = take(r, array->count * width, "array", &bytes);
	if (rc)
		return rc;
	if (array->type == VGPU_META_BOOL) {
		rc = check_bools(r, bytes, array->count, key);
		if (rc)
			return rc;
	}
	copy = vgpu_table_alloc(r->table, array->count, width);
	if (!copy)
		return fail_memory(r);
	if (array->count)
		memcpy(copy, bytes, array->count * width);
	array->data = copy;
	return 0;
}

static int take_array(struct reader *r, const char *key, int depth,
		      struct vgpu_meta_array *array);

static int take_array_array(struct reader *r, const char *key, int depth,
			    struct vgpu_meta_array *array)
{
	struct vgpu_meta_array *items;
	uint64_t i;
	int rc;

	if (array->count > (r->read_bytes - r->pos) / 12)
		return -EAGAIN;
	items = vgpu_table_alloc(r->table, array->count, sizeof(*items));
	if (!items)
		return fail_memory(r);
	for (i = 0; i < array->count; i++) {
		rc = take_array(r, key, depth + 1, &items[i]);
		if (rc)
			return rc;
	}
	array->data = items;
	return 0;
}

static int take_array(struct reader *r, const char *key, int depth,
		      struct vgpu_meta_array *array)
{
	uint32_t type, min_bytes;
	int rc;

	if (depth > VGPU_GGUF_MAX_DEPTH)
		return vgpu_error_set(r->err, -E2BIG,
			"metadata '%.80s': arrays nested deeper than %d", key,
			VGPU_GGUF_MAX_DEPTH);
	rc = take_number(r, sizeof(type), "array type", &type);
	if (!rc)
		rc = check_meta_type(r, type, key);
	if (!rc)
		rc = take_number(r, sizeof(array->count), "array count", &array->count);
	if (rc)
		return rc;

	array->type = type;
	min_bytes = type == VGPU_META_STRING ? 8 :
		    type == VGPU_META_ARRAY ? 12 : meta_widths[type];
	rc = check_count(r, array->count, min_bytes, "array count");
	if (rc)
		return rc;
	if (type == VGPU_META_STRING)
		return take_string_array(r, key, array);
	if (type == VGPU_META_ARRAY)
		return take_array_array(r, key, depth, array);
	return take_number_array(r, key, array);
}

/* Widens a number to the one member of the entry that its kind has. */
static void set_number(struct vgpu_meta *meta, const void *bytes)
{
	union {
		uint8_t u8;
		int8_t i8;
		uint16_t u16;
		int16_t i16;
		uint32_t u32;
		int32_t i32;
		uint64_t u64;
		int64_t i64;
		float f32;
		double f64;
	} n;

	memcpy(&n, bytes, meta_widths[meta->type]);
	switch (meta->type) {
	case VGPU_META_U8:
	case VGPU_META_BOOL:
		meta->u = n.u8;
		break;
	case VGPU_META_I8:
		meta->i = n.i8;
		break;
	case VGPU_META_U16:
		meta->u = n.u16;
		break;
	case VGPU_META_I16:
		meta->i = n.i16;
		break;
	case VGPU_META_U32:
		meta->u = n.u32;
		break;
	case VGPU_META_I32:
		meta->i = n.i32;
		break;
	case VGPU_META_F32:
		meta->f = (double)n.f32;
		break;
	case VGPU_META_I64:
		meta->i = n.i64;
		break;
	case VGPU_META_F64:
		meta->f = n.f64;
		break;
	default:
		meta->u = n.u64;
		break;
	}
}

static int take_meta_number(struct reader *r, struct vgpu_meta *meta)
{
	const unsigned char *bytes = NULL;
	int rc;

	rc = take(r, meta_widths[meta->type], meta->key, &bytes);
	if (!rc && meta->type == VGPU_META_BOOL)
		rc = check_bools(r, bytes, 1, meta->key);
	if (!rc)
		set_number(meta, bytes);
	return rc;
}

static int take_meta(struct reader *r)
{
	struct vgpu_meta meta = { 0 }, *slot;
	uint32_t type;
	int rc;

	rc = take_name(r, "metadata key", VGPU_GGUF_MAX_KEY, &meta.key);
	if (!rc)
		rc = take_number(r, sizeof(type), "metadata type", &type);
	if (!rc)
		rc = check_meta_type(r, type, meta.key);
	if (rc)
		return rc;

	meta.type = type;
	if (type == VGPU_META_STRING)
		rc = take_string(r, meta.key, UINT64_MAX, &meta.string);
	else if (type == VGPU_META_ARRAY)
		rc = take_array(r, meta.key, 1, &meta.array);
	else
		rc = take_meta_number(r, &meta);
	if (rc)
		return rc;

	slot = vgpu_table_add_meta(r->table);
	if (!slot)
		return fail_memory(r);
	*slot = meta;
	return 0;
}

static int read_alignment(struct reader *r)
{
	size_t i;

	r->alignment = DEFAULT_ALIGNMENT;
	for (i = 0; i < r->table->meta_count; i++) {
		const struct vgpu_meta *meta = &r->table->metas[i];

		if (strcmp(meta->key, "general.alignment"))
			continue;
		if (meta->type != VGPU_META_U32)
			return vgpu_error_set(r->err, -EINVAL,
				"general.alignment has type %d, not %d (u32)", meta->type,
				VGPU_META_U32);
		r->alignment = meta->u;
	}
	if (!r->alignment || r->alignment & (r->alignment - 1) ||
	    r->alignment > VGPU_GGUF_MAX_ALIGNMENT)
		return vgpu_error_set(r->err, -EINVAL,
			"general.alignment %" PRIu64 " is not a power of two up to %u",
			r->alignment, VGPU_GGUF_MAX_ALIGNMENT);
	return 0;
}

static int take_shape(struct reader *r, struct vgpu_tensor *tensor)
{
	uint32_t i;
	int rc;

	rc = take_number(r, sizeof(tensor->rank), "tensor rank", &tensor->rank);
	if (rc)
		return rc;
	if (tensor->rank > VGPU_GGUF_MAX_RANK)
		return vgpu_error_set(r->err, -E2BIG,
			"tensor '%.80s': %u dimensions, limit %u", tensor->name,
			tensor->rank, VGPU_GGUF_MAX_RANK);
	for (i = 0; i < VGPU_TENSOR_MAX_RANK; i++)
		tensor->shape[i] = 1;
	/* The file lists the innermost dimension first. */
	for (i = tensor->rank; i-- > 0;) {
		rc = take_number(r, 8, "tensor dimension", &tensor->shape[i]);
		if (rc)
			return rc;
	}
	return 0;
}

static bool is_tensor_type(uint32_t type)
{
	return type < sizeof(tensor_types) / sizeof(tensor_types[0]) && tensor_types[type].name;
}

static int refuse_type(struct reader *r, const struct vgpu_tensor *tensor, uint32_t type)
{
	uint32_t count = sizeof(tensor_types) / sizeof(tensor_types[0]);
	char known[96] = "";
	size_t used = 0;

	/* As ranges: the names of all do not fit a sentence. */
	for (uint32_t i = 0, end; i < count && used < sizeof(known); i = end + 1) {
		for (end = i; is_tensor_type(end); end++)
			;
		if (end > i)
			used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%u-%u",
						 used ? ", " : "", i, end - 1);
	}
	return vgpu_error_set(r->err, -EOPNOTSUPP,
			      "tensor '%.80s': type %u is unknown, is none of ggml's %s",
			      tensor->name, type, known);
}

static int take_type(struct reader *r, struct vgpu_tensor *tensor)
{
	uint32_t type;
	int rc;

	rc = take_number(r, sizeof(type), "tensor type", &type);
	if (rc)
		return rc;
	if (!is_tensor_type(type))
		return refuse_type(r, tensor, type);
	tensor->dtype_name = tensor_types[type].name;
	tensor->dtype = tensor_types[type].dtype;
	return 0;
}

/* The offset counts from the data part, whose start is known only after all infos. */
static int take_tensor(struct reader *r)
{
	struct vgpu_tensor tensor = { 0 }, *slot;
	int rc;

	rc = take_name(r, "tensor name", VGPU_GGUF_MAX_NAME, &tensor.name);
	if (!rc)
		rc = take_shape(r, &tensor);
	if (!rc)
		rc = take_type(r, &tensor);
	if (!rc)
		rc = take_number(r, sizeof(tensor.offset), "tensor offset", &tensor.offset);
	if (!rc)
		rc = vgpu_table_size_tensor(&tensor, true, &tensor.bytes, r->err);
	if (rc)
		return rc;
	if (tensor.offset & (r->alignment - 1))
		return vgpu_error_set(r->err, -EINVAL,
			"tensor '%.80s': offset %" PRIu64 " is not a multiple of the alignment %" PRIu64,
			tensor.name, tensor.offset, r->alignment);

	slot = vgpu_table_add_tensor(r->table);
	if (!slot)
		return fail_memory(r);
	*slot = tensor;
	return 0;
}

static int place_tensors(struct reader *r)
{
	uint64_t data_start = (r->pos + r->alignment - 1) & ~(r->alignment - 1);
	uint64_t data_bytes;
	size_t i;

	/* A file without data may end before the padding does. */
	if (data_start > r->file_bytes)
		data_start = r->file_bytes;
	data_bytes = r->file_bytes - data_start;

	for (i = 0; i < r->table->tensor_count; i++) {
		struct vgpu_tensor *tensor = &r->table->tensors[i];

		if (tensor->offset > data_bytes || tensor->bytes > data_bytes - tensor->offset)
			return vgpu_error_set(r->err, -EINVAL,
				"tensor '%.80s': offset %" PRIu64 " + %" PRIu64 " bytes exceeds data bytes %" PRIu64,
				tensor->name, tensor->offset, tensor->bytes, data_bytes);
		tensor->offset += data_start;
	}
	return 0;
}

static int take_start(struct reader *r, uint64_t *tensor_count, uint64_t *meta_count)
{
	const unsigned char *magic = NULL;
	uint32_t version;
	int rc;

	rc = take(r, 4, "magic", &magic);
	if (rc)
		return rc;
	if (!vgpu_gguf_is_magic(magic, 4))
		return vgpu_error_set(r->err, -EINVAL, "magic is %02x %02x %02x %02x, must be 'GGUF'",
				      magic[0], magic[1], magic[2], magic[3]);
	rc = take_number(r, sizeof(version), "version", &version);
	if (rc)
		return rc;
	if (version && !(version & 0xffff))
		return vgpu_error_set(r->err, -EOPNOTSUPP, "version 0x%x: big-endian file",
				      version);
	if (version != 2 && version != 3)
		return vgpu_error_set(r->err, -EOPNOTSUPP, "version %u is not 2 or 3", version);
	rc = take_number(r, sizeof(*tensor_count), "tensor count", tensor_count);
	if (!rc)
		rc = take_number(r, sizeof(*meta_count), "metadata count", meta_count);
	return rc;
}

int vgpu_gguf_parse(const void *start, size_t start_bytes, uint64_t file_bytes,
		    struct vgpu_table *table, struct vgpu_error *err)
{
	struct reader r = {
		.at = start,
		.read_bytes = start_bytes,
		.file_bytes = file_bytes,
		.table = table,
		.err = err,
	};
	uint64_t tensor_count = 0, meta_count = 0, i;
	int rc;

	rc = take_start(&r, &tensor_count, &meta_count);
	if (!rc)
		rc = check_count(&r, meta_count, MIN_META_BYTES, "metadata count");
	if (!rc)
		rc = check_count(&r, tensor_count, MIN_TENSOR_BYTES, "tensor count");
	if (!rc)
		rc = check_limit(&r, meta_count, VGPU_TABLE_MAX_METAS, "metadata count");
	if (!rc)
		rc = check_limit(&r, tensor_count, VGPU_TABLE_MAX_TENSORS, "tensor count");
	for (i = 0; !rc && i < meta_count; i++)
		rc = take_meta(&r);
	if (!rc)
		rc = read_alignment(&r);
	for (i = 0; !rc && i < tensor_count; i++)
		rc = take_tensor(&r);
	return rc ? rc : place_tensors(&r);
}

// SPDX-License-Identifier: MIT
/* The input is a whole file, or its start when the last byte is odd. */
#include "kernels/formats/gguf.h"
#include "kernels/formats/gguf_split.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the parser promises to its callers, whatever the file said. */
static void check_tensors(const struct vgpu_table *table, uint64_t file_bytes)
{
	size_t i;

	for (i = 0; i < table->tensor_count; i++) {
		const struct vgpu_tensor *t = &table->tensors[i];

		if (t->offset > file_bytes || t->bytes > file_bytes - t->offset ||
		    t->rank > VGPU_GGUF_MAX_RANK || !vgpu_dtype_info(t->dtype) ||
		    vgpu_table_find(table, t->name) != t)
			abort();
	}
}

/* Reads what a caller may read of a value. */
static uint64_t sum_array(const struct vgpu_meta_array *array)
{
	const struct vgpu_meta_array *arrays = array->data;
	const struct vgpu_string *strings = array->data;
	uint64_t sum = 0, i;

	for (i = 0; i < array->count; i++) {
		if (array->type == VGPU_META_ARRAY)
			sum += sum_array(&arrays[i]);
		else if (array->type == VGPU_META_STRING)
			sum += (unsigned char)strings[i].text[strings[i].bytes];
		else
			sum += ((const uint8_t *)array->data)[i];
	}
	return sum;
}

static void check_metas(const struct vgpu_table *table)
{
	volatile uint64_t sum;
	size_t i;

	for (i = 0; i < table->meta_count; i++) {
		const struct vgpu_meta *meta = &table->metas[i];

		if (vgpu_table_find_meta(table, meta->key) != meta)
			abort();
		if (meta->type == VGPU_META_ARRAY)
			sum = sum_array(&meta->array);
	}
	(void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool part = size && data[size - 1] & 1;
	uint64_t file_bytes = part ? (uint64_t)size << 20 : size;
	struct vgpu_table table = { 0 };
	struct vgpu_gguf_split split;
	struct vgpu_error err;
	int rc;

	rc = vgpu_gguf_parse(data, size, file_bytes, &table, &err);
	if (rc == -EAGAIN && !part)
		abort();
	if (!rc && !vgpu_gguf_split(&table, &split, &err) &&
	    (split.part >= split.count || split.count > VGPU_GGUF_SPLIT_MAX))
		abort();
	if (!rc && !vgpu_table_finish(&table, &err)) {
		check_tensors(&table, file_bytes);
		check_metas(&table);
	}
	vgpu_table_clear(&table);
	return 0;
}

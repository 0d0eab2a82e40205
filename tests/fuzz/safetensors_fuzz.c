// SPDX-License-Identifier: MIT
/*
 * The input is a whole file. Its first byte chooses the reader: an index when it is 'i',
 * which then begins after that byte, else a .safetensors file.
 */
#include "kernels/formats/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the parser promises to its callers, whatever the file said. */
static void check_tensors(const struct vgpu_table *table, uint64_t file_bytes)
{
	size_t i;

	for (i = 0; i < table->tensor_count; i++) {
		const struct vgpu_tensor *t = &table->tensors[i];

		if (t->offset > file_bytes || t->bytes > file_bytes - t->offset ||
		    t->rank > VGPU_TENSOR_MAX_RANK || !vgpu_dtype_info(t->dtype) ||
		    vgpu_table_find(table, t->name) != t)
			abort();
	}
}

static void fuzz_index(const uint8_t *data, size_t size)
{
	struct vgpu_safetensors_shards shards;
	struct vgpu_table table = { 0 };
	struct vgpu_error err;

	if (!vgpu_safetensors_parse_index((const char *)data, size, &table, &shards, &err))
		vgpu_table_finish(&table, &err);
	vgpu_table_clear(&table);
}

static void fuzz_file(const uint8_t *data, size_t size)
{
	struct vgpu_table table = { 0 };
	struct vgpu_error err;
	uint64_t json_bytes;

	if (vgpu_safetensors_header_bytes(data, size, size, &json_bytes, &err))
		return;
	if (!vgpu_safetensors_parse((const char *)data + 8, json_bytes, size, 0, &table, &err) &&
	    !vgpu_table_finish(&table, &err))
		check_tensors(&table, size);
	vgpu_table_clear(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] == 'i')
		fuzz_index(data + 1, size - 1);
	else
		fuzz_file(data, size);
	return 0;
}

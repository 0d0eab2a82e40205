/* SPDX-License-Identifier: MIT */
#ifndef VGPU_FORMATS_SAFETENSORS_H
#define VGPU_FORMATS_SAFETENSORS_H

#include "kernels/formats/table.h"

/* The limit of the reference implementation. */
#define VGPU_SAFETENSORS_MAX_HEADER 100000000u
#define VGPU_SAFETENSORS_MAX_NAME 1023u

/**
 * vgpu_safetensors_header_bytes() - length of the JSON header
 * @start: first bytes of the file
 * @start_bytes: how many there are; 8 are needed
 * @file_bytes: length of the file
 * @out_bytes: bytes of JSON that follow the first 8
 * @err: reason, or NULL
 *
 * Return: 0; -EINVAL the file is too short for itself; -E2BIG above the limit.
 */
int vgpu_safetensors_header_bytes(const void *start, size_t start_bytes,
				  uint64_t file_bytes, uint64_t *out_bytes,
				  struct vgpu_error *err);

/**
 * vgpu_safetensors_parse() - add the tensors of one file to a table
 * @json: the header, without the 8 bytes before it
 * @json_bytes: its length, as vgpu_safetensors_header_bytes() gave it
 * @file_bytes: length of the file
 * @file: index to record in each tensor; metadata is taken from file 0 only
 * @table: receives tensors; may hold those of other files already
 * @err: reason, or NULL
 *
 * The rules are those of the reference implementation: tensors lie in the data part,
 * fill it without gaps, and each length equals its shape's. Overlaps and names that
 * appear twice are found by vgpu_table_finish(). A start that is not aligned to the
 * type is legal (old writers did not pad headers).
 *
 * Source: the format's page, https://github.com/huggingface/safetensors, "Format".
 *
 * Context: Any thread. Allocates into @table, also on failure.
 * Return: 0, -EINVAL, -E2BIG (rank, depth or name above its limit), -EOPNOTSUPP (dtype
 * unknown), -ENOMEM.
 */
int vgpu_safetensors_parse(const char *json, size_t json_bytes, uint64_t file_bytes,
			   uint32_t file, struct vgpu_table *table,
			   struct vgpu_error *err);

/**
 * struct vgpu_safetensors_shards - files that an index names
 * @names: file names without a folder, in order of first mention; live in the table
 * @count: number of names
 */
struct vgpu_safetensors_shards {
	const char **names;
	size_t count;
};

/* More shards than this are no model that we know, and cost a descriptor each. */
#define VGPU_SAFETENSORS_MAX_SHARDS 1024u

/**
 * vgpu_safetensors_parse_index() - read model.safetensors.index.json
 * @json: text of the index
 * @json_bytes: its length
 * @table: owner of the memory; tensors are added with name and file only, the file
 *	being an index into @shards
 * @shards: filled
 * @err: reason, or NULL
 *
 * Return: 0, -EINVAL (malformed, or a file name with a slash or beginning with a dot),
 * -E2BIG (depth, name or shards above the limit), -ENOMEM.
 */
int vgpu_safetensors_parse_index(const char *json, size_t json_bytes,
				 struct vgpu_table *table,
				 struct vgpu_safetensors_shards *shards,
				 struct vgpu_error *err);

#endif

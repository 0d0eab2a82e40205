/* SPDX-License-Identifier: MIT */
#ifndef VGPU_FORMATS_GGUF_H
#define VGPU_FORMATS_GGUF_H

#include "kernels/formats/table.h"

/* Arrays inside one another; real files have none or one. */
#define VGPU_GGUF_MAX_DEPTH 4
#define VGPU_GGUF_MAX_RANK 4u
#define VGPU_GGUF_MAX_NAME 1023u
#define VGPU_GGUF_MAX_KEY 65535u
#define VGPU_GGUF_MAX_ALIGNMENT (1u << 20)

/* Is this the start of a GGUF file? @start_bytes may be any number. */
bool vgpu_gguf_is_magic(const void *start, size_t start_bytes);

/**
 * vgpu_gguf_parse() - read the header of a GGUF file, version 2 or 3
 * @start: the first @start_bytes bytes of the file
 * @start_bytes: how many of them were read
 * @file_bytes: length of the file, at least @start_bytes
 * @table: empty; receives tensors and metadata. After a failure the caller clears it.
 * @err: reason; not written when the answer is -EAGAIN
 *
 * The header does not tell its own length: with -EAGAIN the caller reads more and calls
 * again. Counts are compared with the bytes that remain of the file, and nothing is
 * allocated for bytes that were not read; strings and arrays take at most three times
 * what they take in the file. Overlaps and equal names are found by vgpu_table_finish().
 *
 * Source: the format's page, https://github.com/ggml-org/ggml, docs/gguf.md.
 *
 * Context: Any thread. Allocates into @table.
 * Return: 0; -EAGAIN more bytes are needed and the file has them; -EINVAL; -E2BIG (rank,
 * depth, a count or a length above its limit); -EOPNOTSUPP (version, big-endian file, tensor
 * type); -ENOMEM.
 */
int vgpu_gguf_parse(const void *start, size_t start_bytes, uint64_t file_bytes,
		    struct vgpu_table *table, struct vgpu_error *err);

#endif

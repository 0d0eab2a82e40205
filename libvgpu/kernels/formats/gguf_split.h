/* SPDX-License-Identifier: MIT */
/* A GGUF model in several files: which part one is, and what the others are called. */
#ifndef VGPU_FORMATS_GGUF_SPLIT_H
#define VGPU_FORMATS_GGUF_SPLIT_H

#include "kernels/formats/table.h"

/* More parts than this are no model that we know, and cost a descriptor each. */
#define VGPU_GGUF_SPLIT_MAX 1024u

/**
 * struct vgpu_gguf_split - what a file says of the parts
 * @part: which it is, from 0
 * @count: parts; 1: it is the whole model
 * @tensors: in all of them; 0: not said
 */
struct vgpu_gguf_split {
	uint32_t part, count, tensors;
};

/**
 * vgpu_gguf_split() - read the metadata split.no, split.count and split.tensors.count
 * @table: of one file, not necessarily finished
 *
 * Source: ggml's gguf-split, whose keys these are.
 *
 * Return: 0; -EINVAL a key has another type than integer or a value that cannot be;
 * -E2BIG too many parts.
 */
int vgpu_gguf_split(const struct vgpu_table *table, struct vgpu_gguf_split *out,
		    struct vgpu_error *err);

/**
 * vgpu_gguf_split_path() - what a part is called
 * @path: of part @split->part, ending in "-00001-of-00003.gguf", which counts from 1
 * @split: of that file
 * @part: wanted, from 0
 * @out: the caller frees it
 *
 * Return: 0; -EINVAL @path does not end so; -ENOMEM.
 */
int vgpu_gguf_split_path(const char *path, const struct vgpu_gguf_split *split, uint32_t part,
			 char **out, struct vgpu_error *err);

#endif

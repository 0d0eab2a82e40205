/* SPDX-License-Identifier: MIT */
#ifndef VGPU_FORMATS_TABLE_H
#define VGPU_FORMATS_TABLE_H

#include "kernels/formats/checkpoint.h"

/* Far above any real model; they bound what a hostile file costs. */
#define VGPU_TABLE_MAX_TENSORS (1u << 20)
#define VGPU_TABLE_MAX_METAS (1u << 16)

struct table_block;

/**
 * struct vgpu_table - the contents of one or more files, while and after parsing
 * @tensors: sorted by name once vgpu_table_finish() has returned 0
 * @metas: sorted by key, likewise
 * @blocks: memory behind every name and value, freed all at once
 *
 * Zeroed is empty. Owned by one thread until it is finished.
 */
struct vgpu_table {
	struct vgpu_tensor *tensors;
	size_t tensor_count;
	size_t tensor_room;
	struct vgpu_meta *metas;
	size_t meta_count;
	size_t meta_room;
	struct table_block *blocks;
};

/* Free all that @table holds and empty it. */
void vgpu_table_clear(struct vgpu_table *table);

/**
 * vgpu_table_alloc() - memory that lives as long as the table
 * @table: owner
 * @count: number of items
 * @item_bytes: size of one
 *
 * Return: 8-byte aligned memory, not cleared; NULL when there is none or the product
 * overflows. Never NULL for a count of 0.
 */
void *vgpu_table_alloc(struct vgpu_table *table, uint64_t count, size_t item_bytes);

/* Copy @bytes of @text and a NUL; NULL when out of memory. */
const char *vgpu_table_text(struct vgpu_table *table, const char *text, size_t bytes);

/*
 * Append a zeroed entry; NULL when out of memory. The next append moves it. The caller
 * sets name or key before it calls anything else: sorting reads them.
 */
struct vgpu_tensor *vgpu_table_add_tensor(struct vgpu_table *table);
struct vgpu_meta *vgpu_table_add_meta(struct vgpu_table *table);

/**
 * vgpu_table_size_tensor() - bytes that a tensor's shape asks for
 * @tensor: dtype, rank and shape are set
 * @row_blocks: blocks may not span rows (GGUF), else only the whole must be even
 * @out_bytes: length in bytes
 * @err: names the tensor and the dimension
 *
 * Return: 0 or -EINVAL when the product overflows 64 bits or is no whole number of
 * blocks.
 */
int vgpu_table_size_tensor(const struct vgpu_tensor *tensor, bool row_blocks,
			   uint64_t *out_bytes, struct vgpu_error *err);

/**
 * vgpu_table_finish() - sort by name and refuse what only shows in the whole
 * @table: all entries added
 * @err: names the two tensors or the key
 *
 * Return: 0; -EINVAL for a name or key that appears twice or for tensors of one file
 * that overlap; -ENOMEM.
 */
int vgpu_table_finish(struct vgpu_table *table, struct vgpu_error *err);

const struct vgpu_tensor *vgpu_table_find(const struct vgpu_table *table,
					  const char *name);
const struct vgpu_meta *vgpu_table_find_meta(const struct vgpu_table *table,
					     const char *key);

#endif

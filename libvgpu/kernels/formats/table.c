// SPDX-License-Identifier: MIT
#include "kernels/formats/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/formats/error.h"

#define BLOCK_BYTES (64u << 10)

struct table_block {
	struct table_block *next;
	size_t used;
	size_t room;
	uint64_t data[];	/* for its alignment; used and room count bytes */
};

void vgpu_table_clear(struct vgpu_table *table)
{
	struct table_block *block, *next;

	for (block = table->blocks; block; block = next) {
		next = block->next;
		free(block);
	}
	free(table->tensors);
	free(table->metas);
	memset(table, 0, sizeof(*table));
}

static struct table_block *block_add(struct vgpu_table *table, size_t bytes)
{
	size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
	struct table_block *block = malloc(sizeof(*block) + room);

	if (!block)
		return NULL;
	block->next = table->blocks;
	block->used = 0;
	block->room = room;
	table->blocks = block;
	return block;
}

void *vgpu_table_alloc(struct vgpu_table *table, uint64_t count, size_t item_bytes)
{
	struct table_block *block = table->blocks;
	size_t bytes, start;

	if (__builtin_mul_overflow(count, item_bytes, &bytes) || bytes > SIZE_MAX / 2)
		return NULL;
	bytes = (bytes + 7) & ~(size_t)7;

	if (!block || block->room - block->used < bytes)
		block = block_add(table, bytes);
	if (!block)
		return NULL;
	start = block->used;
	block->used += bytes;
	return (char *)block->data + start;
}

const char *vgpu_table_text(struct vgpu_table *table, const char *text, size_t bytes)
{
	char *copy = vgpu_table_alloc(table, bytes + 1, 1);

	if (!copy)
		return NULL;
	if (bytes)
		memcpy(copy, text, bytes);
	copy[bytes] = '\0';
	return copy;
}

/* Makes room for one more item; NULL leaves the old array as it was. */
static void *list_reserve(void *items, size_t count, size_t *room, size_t item_bytes)
{
	size_t more = *room ? *room * 2 : 64;

	if (count < *room)
		return items;
	items = reallocarray(items, more, item_bytes);
	if (items)
		*room = more;
	return items;
}

struct vgpu_tensor *vgpu_table_add_tensor(struct vgpu_table *table)
{
	struct vgpu_tensor *items, *added;

	items = list_reserve(table->tensors, table->tensor_count, &table->tensor_room,
			     sizeof(*items));
	if (!items)
		return NULL;
	table->tensors = items;
	added = &items[table->tensor_count++];
	return memset(added, 0, sizeof(*added));
}

struct vgpu_meta *vgpu_table_add_meta(struct vgpu_table *table)
{
	struct vgpu_meta *items, *added;

	items = list_reserve(table->metas, table->meta_count, &table->meta_room,
			     sizeof(*items));
	if (!items)
		return NULL;
	table->metas = items;
	added = &items[table->meta_count++];
	return memset(added, 0, sizeof(*added));
}

int vgpu_table_size_tensor(const struct vgpu_tensor *tensor, bool row_blocks,
			   uint64_t *out_bytes, struct vgpu_error *err)
{
	const struct vgpu_dtype_info *info = vgpu_dtype_info(tensor->dtype);
	uint64_t row = tensor->rank ? tensor->shape[tensor->rank - 1] : 1;
	uint64_t elements = 1;
	uint32_t i;

	for (i = 0; i < tensor->rank; i++)
		if (__builtin_mul_overflow(elements, tensor->shape[i], &elements))
			return vgpu_error_set(err, -EINVAL,
				"tensor '%.80s': product of the shape exceeds 64 bits at dimension %u of %" PRIu64,
				tensor->name, i, tensor->shape[i]);

	if ((row_blocks ? row : elements) % info->block_elements)
		return vgpu_error_set(err, -EINVAL,
			"tensor '%.80s': %s %" PRIu64 " is not a multiple of %u, the block of %s",
			tensor->name, row_blocks ? "row length" : "element count",
			row_blocks ? row : elements, info->block_elements, tensor->dtype_name);

	if (__builtin_mul_overflow(elements / info->block_elements,
				   (uint64_t)info->block_bytes, out_bytes))
		return vgpu_error_set(err, -EINVAL,
			"tensor '%.80s': %" PRIu64 " elements of %s exceed 64 bits in bytes",
			tensor->name, elements, tensor->dtype_name);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct vgpu_tensor *)a)->name,
		      ((const struct vgpu_tensor *)b)->name);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(((const struct vgpu_meta *)a)->key,
		      ((const struct vgpu_meta *)b)->key);
}

static int compare_places(const void *a, const void *b)
{
	const struct vgpu_tensor *x = *(const struct vgpu_tensor *const *)a;
	const struct vgpu_tensor *y = *(const struct vgpu_tensor *const *)b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int check_names(struct vgpu_table *table, struct vgpu_error *err)
{
	size_t i;

	if (table->tensor_count)
		qsort(table->tensors, table->tensor_count, sizeof(*table->tensors),
		      compare_names);
	for (i = 1; i < table->tensor_count; i++)
		if (!compare_names(&table->tensors[i - 1], &table->tensors[i]))
			return vgpu_error_set(err, -EINVAL, "tensor '%.80s' appears twice",
					      table->tensors[i].name);

	if (table->meta_count)
		qsort(table->metas, table->meta_count, sizeof(*table->metas), compare_keys);
	for (i = 1; i < table->meta_count; i++)
		if (!compare_keys(&table->metas[i - 1], &table->metas[i]))
			return vgpu_error_set(err, -EINVAL,
					      "metadata key '%.80s' appears twice",
					      table->metas[i].key);
	return 0;
}

/* Sorted by place, tensors overlap if and only if two neighbours do. */
static int check_places(const struct vgpu_table *table, struct vgpu_error *err)
{
	const struct vgpu_tensor **places, *last = NULL;
	int rc = 0;
	size_t i;

	places = calloc(table->tensor_count + 1, sizeof(*places));
	if (!places)
		return vgpu_error_set(err, -ENOMEM, "out of memory for %zu tensors",
				      table->tensor_count);
	for (i = 0; i < table->tensor_count; i++)
		places[i] = &table->tensors[i];
	qsort(places, table->tensor_count, sizeof(*places), compare_places);

	for (i = 0; i < table->tensor_count && !rc; i++) {
		if (!places[i]->bytes)
			continue;
		if (last && last->file == places[i]->file &&
		    last->offset + last->bytes > places[i]->offset)
			rc = vgpu_error_set(err, -EINVAL,
				"tensor '%.60s' at byte %" PRIu64 " overlaps tensor '%.60s', which ends at byte %" PRIu64,
				places[i]->name, places[i]->offset, last->name,
				last->offset + last->bytes);
		last = places[i];
	}
	free(places);
	return rc;
}

int vgpu_table_finish(struct vgpu_table *table, struct vgpu_error *err)
{
	int rc = check_names(table, err);

	return rc ? rc : check_places(table, err);
}

const struct vgpu_tensor *vgpu_table_find(const struct vgpu_table *table, const char *name)
{
	struct vgpu_tensor wanted = { .name = name };

	if (!table->tensor_count)
		return NULL;
	return bsearch(&wanted, table->tensors, table->tensor_count,
		       sizeof(*table->tensors), compare_names);
}

const struct vgpu_meta *vgpu_table_find_meta(const struct vgpu_table *table, const char *key)
{
	struct vgpu_meta wanted = { .key = key };

	if (!table->meta_count)
		return NULL;
	return bsearch(&wanted, table->metas, table->meta_count, sizeof(*table->metas),
		       compare_keys);
}

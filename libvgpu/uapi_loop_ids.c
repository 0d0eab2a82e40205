// SPDX-License-Identifier: MIT
#include "uapi_loop.h"

#include <stdlib.h>

#define INDEX_BITS	20u
#define INDEX_MASK	((1u << INDEX_BITS) - 1u)
#define FIRST_SIZE	16u

struct loop_id_slot {
	void *ptr;
	u32 id;			/* of its next (free) or present use */
	u32 next_free;
};

static int ids_grow(struct loop_ids *ids)
{
	u32 size = ids->size ? ids->size * 2 : FIRST_SIZE;
	struct loop_id_slot *slot;

	if (ids->size > INDEX_MASK)
		return -EDQUOT;
	slot = realloc(ids->slot, size * sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	ids->slot = slot;
	ids->size = size;
	if (!ids->used)
		ids->used = 1;	/* index 0 would make id 0 */
	return 0;
}

static u32 ids_take_free(struct loop_ids *ids)
{
	u32 index = ids->free_first;

	ids->free_first = ids->slot[index].next_free;
	if (!ids->free_first)
		ids->free_last = 0;
	return index;
}

int vgpu_loop_ids_add(struct loop_ids *ids, void *ptr, u32 *out_id)
{
	u32 index;
	int rc;

	if (ids->free_first) {
		index = ids_take_free(ids);
	} else {
		if (!ids->size || ids->used == ids->size) {
			rc = ids_grow(ids);
			if (rc)
				return rc;
		}
		index = ids->used++;
		ids->slot[index].id = index;
	}
	ids->slot[index].ptr = ptr;
	ids->count++;
	*out_id = ids->slot[index].id;
	return 0;
}

static struct loop_id_slot *ids_slot(const struct loop_ids *ids, u32 id)
{
	u32 index = id & INDEX_MASK;

	if (!index || index >= ids->used || ids->slot[index].id != id ||
	    !ids->slot[index].ptr)
		return NULL;
	return &ids->slot[index];
}

void *vgpu_loop_ids_find(const struct loop_ids *ids, u32 id)
{
	struct loop_id_slot *slot = ids_slot(ids, id);

	return slot ? slot->ptr : NULL;
}

void *vgpu_loop_ids_remove(struct loop_ids *ids, u32 id)
{
	struct loop_id_slot *slot = ids_slot(ids, id);
	u32 index = id & INDEX_MASK;
	void *ptr;

	if (!slot)
		return NULL;
	ptr = slot->ptr;
	slot->ptr = NULL;
	slot->id += 1u << INDEX_BITS;
	slot->next_free = 0;
	if (ids->free_last)
		ids->slot[ids->free_last].next_free = index;
	else
		ids->free_first = index;
	ids->free_last = index;
	ids->count--;
	return ptr;
}

void *vgpu_loop_ids_next(const struct loop_ids *ids, u32 *index)
{
	while (*index < ids->used) {
		u32 i = (*index)++;

		if (i && ids->slot[i].ptr)
			return ids->slot[i].ptr;
	}
	return NULL;
}

void vgpu_loop_ids_free(struct loop_ids *ids)
{
	free(ids->slot);
	memset(ids, 0, sizeof(*ids));
}

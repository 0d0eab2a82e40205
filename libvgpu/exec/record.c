// SPDX-License-Identifier: MIT
#include "record.h"

#include <string.h>

#include "crc32c.h"
#include "slot.h"

/* Short beside a page-in, which may come meanwhile and waits for it. */
#define PIECE_BYTES	(64u << 10)

static uint32_t record_find(const struct vgpu_records *l, uint64_t key)
{
	uint32_t i = 0;

	while (i < l->count && l->key[i] != key)
		i++;
	return i;
}

static void record_remove(struct vgpu_records *l, uint32_t i)
{
	l->count--;
	memmove(&l->key[i], &l->key[i + 1], (l->count - i) * sizeof(l->key[0]));
	if (!i)
		l->bytes = l->crc = 0;
}

void vgpu_record_later(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_records *l = &r->records;

	l->key[l->count++] = vgpu_slot_key(&r->slot[slot]);
}

/* Refused only when the object is gone by now. */
static void record_tell(struct vgpu_resid *r, uint32_t slot, uint32_t crc)
{
	struct vgpu_slot *s = &r->slot[slot];

	vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_RECORD, VB_TIER_HOST, VB_TIER_HOST, NULL,
			&crc);
}

bool vgpu_record_some(struct vgpu_resid *r)
{
	struct vgpu_records *l = &r->records;
	uint32_t left = r->chunk_bytes - l->bytes, n = left < PIECE_BYTES ? left : PIECE_BYTES, slot;

	if (!l->count)
		return false;
	slot = vgpu_slot_find(r, l->key[0]);
	l->crc = vgpu_crc32c(l->crc, (uint8_t *)vgpu_resid_ptr(r, slot) + l->bytes, n);
	l->bytes += n;
	if (n < left)
		return true;
	record_tell(r, slot, l->crc);
	record_remove(l, 0);
	return l->count;
}

void vgpu_record_make_room(struct vgpu_resid *r)
{
	while (!vgpu_record_has_room(&r->records))
		vgpu_record_some(r);
}

void vgpu_record_all(struct vgpu_resid *r)
{
	while (vgpu_record_some(r))
		;
}

void vgpu_record_slot(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_records *l = &r->records;
	uint32_t i = record_find(l, vgpu_slot_key(&r->slot[slot]));

	if (i == l->count)
		return;
	record_tell(r, slot, vgpu_crc32c(0, vgpu_resid_ptr(r, slot), r->chunk_bytes));
	record_remove(l, i);
}

void vgpu_record_forget(struct vgpu_resid *r, uint64_t key)
{
	struct vgpu_records *l = &r->records;
	uint32_t i = record_find(l, key);

	if (i < l->count)
		record_remove(l, i);
}

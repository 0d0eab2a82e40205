// SPDX-License-Identifier: MIT
#include "filled.h"

#include <errno.h>

#include "home.h"
#include "slot.h"

/* What we move ourselves has a slot here. */
static int state_of(const struct vb_table_entry *e)
{
	if (e->busy)
		return -EAGAIN;
	return e->valid & 1u << VB_TIER_HOST ? 0 : -ENOENT;
}

int vgpu_filled_look(const struct vgpu_object *o, uint32_t chunk)
{
	struct vb_table_entry e = vgpu_object_entry(o, chunk);

	return state_of(&e);
}

int vgpu_filled_take(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk,
		     uint32_t *out_slot)
{
	struct vb_table_entry e = vgpu_object_entry(o, chunk);
	uint32_t loc, slot;
	int rc = state_of(&e);

	if (rc)
		return rc;
	loc = e.loc[VB_TIER_HOST];
	slot = vgpu_home_slot(r, VB_LOC_ARENA(loc), VB_LOC_SLOT(loc));
	vgpu_slot_take(r, slot, o, chunk, VGPU_SLOT_READY);
	r->slot[slot].from = e.valid & 1u << VB_TIER_NVME ? VB_TIER_NVME : VB_TIER_SOURCE;
	r->count[VB_COUNT_READ_BYTES] += r->chunk_bytes;
	r->arrived++;
	if (!(e.flags & VB_ENTRY_CRC)) {
		vgpu_record_make_room(r);
		vgpu_record_later(r, slot);
	}
	*out_slot = slot;
	return 0;
}

uint32_t vgpu_filled_most(const struct vgpu_resid *r)
{
	/* One is kept for those who ask us. */
	uint32_t spare = r->free > 1 ? r->free - 1 : 0;

	return spare < VGPU_FILLED_MAX ? spare : VGPU_FILLED_MAX;
}

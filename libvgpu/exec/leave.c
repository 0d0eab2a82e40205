// SPDX-License-Identifier: MIT
#include "leave.h"

#include "clock.h"
#include "slot.h"

void vgpu_leave_grant(struct vgpu_resid *r, uint32_t slot, uint32_t client)
{
	struct vgpu_slot *s = &r->slot[slot];

	/* In process nobody faults; and who holds the chunk, or lets the policy, is there. */
	if (!r->node->ops->map || s->state != VGPU_SLOT_READY ||
	    s->flags & VGPU_SLOT_RETAINED || vgpu_slot_is_fixed(s))
		return;
	s->leave_since = vgpu_now_ns();
	s->leave_client = client;
	s->leave_asked = false;
	vgpu_slot_relist(r, slot);
}

void vgpu_leave_note_client(struct vgpu_resid *r, uint32_t client)
{
	uint32_t i = r->list[VGPU_LIST_LEAVE].first;

	for (; i != VB_SLOT_ANY; i = r->slot[i].next) {
		r->looks++;
		r->slot[i].leave_asked |= r->slot[i].leave_client == client;
	}
}

static bool leave_is_over(const struct vgpu_slot *s, uint64_t now)
{
	return now - s->leave_since >=
	       (s->leave_asked ? VGPU_LEAVE_LEAST_NS : VGPU_LEAVE_MOST_NS);
}

bool vgpu_leave_stays(const struct vgpu_slot *s)
{
	return s->leave_since && !leave_is_over(s, vgpu_now_ns());
}

void vgpu_leave_end(struct vgpu_resid *r, uint32_t slot)
{
	r->slot[slot].leave_since = 0;
	vgpu_slot_relist(r, slot);
}

bool vgpu_leave_end_one(struct vgpu_resid *r, bool any)
{
	uint32_t slot = r->list[VGPU_LIST_LEAVE].first;
	uint64_t now = slot == VB_SLOT_ANY ? 0 : vgpu_now_ns();

	while (slot != VB_SLOT_ANY && !any && !leave_is_over(&r->slot[slot], now)) {
		r->looks++;
		slot = r->slot[slot].next;
	}
	if (slot == VB_SLOT_ANY)
		return false;
	vgpu_leave_end(r, slot);
	vgpu_slot_let_go(r, slot);
	return true;
}

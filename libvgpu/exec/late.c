// SPDX-License-Identifier: MIT
#include "late.h"

#include <errno.h>

#include "clock.h"
#include "slot.h"

/* How often it is tried without anything having come: a file may be open by now, ... */
#define OPEN_CHECK_NS	(10ull * 1000 * 1000)
/* ... or its client may be gone. */
#define CLIENT_CHECK_NS	(100ull * 1000 * 1000)

static bool late_slot_moves(const struct vgpu_resid *r, const struct vgpu_late *l)
{
	return l->slot != VB_SLOT_ANY && vgpu_slot_is_moving(&r->slot[l->slot]);
}

bool vgpu_late_came(const struct vgpu_resid *r, const struct vgpu_late *l)
{
	return l->slot != VB_SLOT_ANY && !late_slot_moves(r, l);
}

bool vgpu_late_may_try(const struct vgpu_resid *r, const struct vgpu_late *l,
		       uint64_t deadline_ns)
{
	uint64_t now;

	if (!l->since || vgpu_late_came(r, l))
		return true;
	/* What came is something else: not what it waits for, if that is known. */
	if (l->slot == VB_SLOT_ANY && l->arrived != r->arrived)
		return true;
	now = vgpu_now_ns();
	return now >= l->until || (deadline_ns && now > deadline_ns);
}

uint32_t vgpu_late_begin(struct vgpu_resid *r, struct vgpu_late *l)
{
	uint32_t slot = l->slot;

	/* Storage answers, however slowly. */
	if (vgpu_late_came(r, l))
		l->since = 0;
	l->slot = VB_SLOT_ANY;
	/* What somebody else was late for is not what this one waits for. */
	r->late_slot = VB_SLOT_ANY;
	return slot;
}

void vgpu_late_end(struct vgpu_resid *r, uint32_t slot)
{
	if (slot == VB_SLOT_ANY)
		return;
	r->awaited--;
	vgpu_resid_unpin(r, slot);
}

/* Keep what -EAGAIN was about, or how it ended. */
static void late_keep(struct vgpu_resid *r, struct vgpu_late *l)
{
	l->slot = r->late_slot;
	if (!late_slot_moves(r, l)) {
		l->slot = VB_SLOT_ANY;
		return;
	}
	vgpu_slot_pin(r, l->slot);
	r->awaited++;
}

int vgpu_late_wait(struct vgpu_resid *r, struct vgpu_late *l)
{
	uint64_t now = vgpu_now_ns();

	if (!l->since)
		l->since = now;
	if (now - l->since >= r->storage_wait_ns)
		return -ETIMEDOUT;
	late_keep(r, l);
	l->arrived = r->arrived;
	l->until = now + (l->slot == VB_SLOT_ANY ? OPEN_CHECK_NS : CLIENT_CHECK_NS);
	if (l->until > l->since + r->storage_wait_ns)
		l->until = l->since + r->storage_wait_ns;
	return 0;
}

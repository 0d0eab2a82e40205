// SPDX-License-Identifier: MIT
#include "page_in.h"

#include "clock.h"
#include "filled.h"
#include "home.h"
#include "leave.h"
#include "slot.h"

static int page_in_run(struct vgpu_resid *r, struct vgpu_object *o, struct vgpu_page_in *p)
{
	struct vgpu_run run = { o, p->req.out_chunk, p->req.out_chunk + p->req.out_count,
				VB_SLOT_ANY };
	int rc = vgpu_resid_use_run(r, &run, false);

	if (rc)
		return rc;
	p->slot = run.slot;
	p->slots = p->req.out_count;
	return 0;
}

static int page_in_first(struct vgpu_resid *r, struct vgpu_object *o, struct vgpu_page_in *p)
{
	int rc = vgpu_resid_use(r, o, p->req.out_chunk, 0, &p->slot);

	if (rc)
		return rc;
	p->slots = 1;
	r->asked_slot = p->slot;
	rc = vgpu_resid_wait(r, p->slot);
	r->asked_slot = VB_SLOT_ANY;
	if (rc == -EAGAIN)
		vgpu_page_in_release(r, p);
	return rc;
}

/* No more than the tier has room for: a hint may name millions of chunks that are empty. */
static void page_in_hints(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
			  uint32_t end)
{
	if (end - first > r->slots)
		end = first + r->slots;
	for (uint32_t c = first; c < end && vgpu_resid_hint(r, o, c); c++)
		;
}

/*
 * The first chunk is what somebody waits for.  Of the rest, anonymous chunks are
 * brought and kept; those of files are a guess, since a client that streams a file
 * through should not drive out what others use.
 */
static int page_in_window(struct vgpu_resid *r, struct vgpu_object *o, struct vgpu_page_in *p)
{
	uint32_t first = p->req.out_chunk, count = p->req.out_count, end = first + count, slot;
	int rc = page_in_first(r, o, p);

	if (rc)
		return rc;
	if (o->kind != VB_BO_ANONYMOUS) {
		vgpu_resid_drop_hints(r, o, first < count ? 0 : first - count, first);
		page_in_hints(r, o, first + 1, end);
		return 0;
	}
	for (uint32_t c = first + 1; c < end && !rc; c++) {
		rc = vgpu_resid_use(r, o, c, 0, &slot);
		if (rc)
			break;
		rc = vgpu_resid_wait(r, slot);
		vgpu_resid_unpin(r, slot);
	}
	/* The first is all that somebody waits for: what is wrong with another is told there. */
	return 0;
}

/*
 * The device has done it: a use like any other, unless that was found out before and the chunk
 * has gone again since.  Nobody waits for it.
 */
static int page_in_filled(struct vgpu_resid *r, struct vgpu_object *o, struct vgpu_page_in *p)
{
	uint32_t chunk = p->req.out_chunk, slot = vgpu_slot_of(r, o, chunk);
	int rc = slot == VB_SLOT_ANY ? vgpu_filled_take(r, o, chunk, &slot) : 0;

	return rc ? 0 : page_in_first(r, o, p);
}

static int page_in_serve(struct vgpu_resid *r, struct vgpu_object *o, struct vgpu_page_in *p)
{
	if (p->req.flags & VB_FETCH_F_FILLED)
		return page_in_filled(r, o, p);
	if (p->req.flags & VB_FETCH_F_CONTIGUOUS)
		return page_in_run(r, o, p);
	if (!(p->req.flags & VB_FETCH_F_ASYNC))
		return page_in_window(r, o, p);
	page_in_hints(r, o, p->req.out_chunk, p->req.out_chunk + p->req.out_count);
	return 0;
}

/* It is tried again; or has its deadline passed, or storage's? */
static int page_in_later(struct vgpu_resid *r, struct vgpu_page_in *p, int rc)
{
	uint64_t now = vgpu_now_ns();

	if (p->req.out_deadline_ns && p->req.out_deadline_ns < now)
		return -ETIME;
	if (rc != -EAGAIN)
		return -EAGAIN;
	rc = vgpu_late_wait(r, &p->late);
	return rc ? rc : -EAGAIN;
}

int vgpu_page_in_try(struct vgpu_resid *r, struct vgpu_store *store, struct vgpu_page_in *p)
{
	struct vgpu_object *o;
	uint32_t awaited = vgpu_late_begin(r, &p->late);
	int rc = vgpu_store_get(store, p->req.out_object, &o);

	r->blocks = 0;
	if (!(p->req.flags & VB_FETCH_F_ASYNC))
		vgpu_leave_note_client(r, p->req.out_client);
	r->paging_in = true;
	r->prefers = vgpu_home_of_node(r, p->req.out_numa_node);
	vgpu_resid_try(r, &p->attempt);
	if (!rc)
		rc = page_in_serve(r, o, p);
	vgpu_resid_tried(r);
	r->paging_in = false;
	r->prefers = VGPU_HOME_NONE;
	if (rc == -EAGAIN || vgpu_room_waits(&p->room, r, rc, vgpu_now_ns()))
		rc = page_in_later(r, p, rc);
	else if (rc == -ENOSPC && r->blocks)
		rc = -EBUSY;
	vgpu_late_end(r, awaited);
	return rc;
}

void vgpu_page_in_release(struct vgpu_resid *r, struct vgpu_page_in *p)
{
	/* Whoever waited for it does not hold it yet: that was a fault. */
	if (p->slots == 1)
		vgpu_leave_grant(r, p->slot, p->req.out_client);
	for (uint32_t i = 0; i < p->slots; i++)
		vgpu_resid_unpin(r, p->slot + i);
	p->slots = 0;
}

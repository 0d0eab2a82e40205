// SPDX-License-Identifier: MIT
#include "hold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* F32 and I32 operands are read as such; in a file they may lie anywhere. */
#define OPERAND_ALIGN	4u

static uint32_t hold_chunks(const struct vgpu_hold *h)
{
	return h->end - h->first;
}

/* Only what may be written must lie together. */
static bool hold_is_run(const struct vgpu_hold *h)
{
	return h->object->kind == VB_BO_ANONYMOUS;
}

/* A part of a file that can be used where it lies. */
static bool hold_is_single(const struct vgpu_hold *h)
{
	return !hold_is_run(h) && hold_chunks(h) == 1 && h->offset % OPERAND_ALIGN == 0;
}

static bool hold_is_bounced(const struct vgpu_hold *h)
{
	return !hold_is_run(h) && !hold_is_single(h);
}

static uint64_t hold_beside(const struct vgpu_hold *h)
{
	return hold_is_bounced(h) ? (h->bytes + 63) / 64 * 64 : 0;
}

static void hold_release(struct vgpu_resid *r, struct vgpu_hold *h)
{
	vgpu_beside_free(&r->beside, h->bounce, hold_beside(h));
	h->bounce = NULL;
	for (uint32_t c = h->first; h->slot != VB_SLOT_ANY && c < h->end; c++)
		vgpu_resid_unpin(r, h->slot + (c - h->first));
	h->slot = VB_SLOT_ANY;
}

/* Read-only bytes in several chunks of a file, or at an odd offset: copy them together. */
static int hold_bounce(struct vgpu_resid *r, struct vgpu_hold *h)
{
	uint64_t done = 0;
	void *bounce;
	int error = vgpu_resid_alloc(r, hold_beside(h), &bounce);

	if (error)
		return error;
	h->bounce = bounce;
	for (uint32_t c = h->first; c < h->end; c++) {
		uint64_t skip = c == h->first ? h->offset : 0;
		uint64_t n = r->chunk_bytes - skip;
		uint32_t slot;
		int rc = vgpu_resid_use(r, h->object, c, 0, &slot);

		if (rc)
			return rc;
		rc = vgpu_resid_wait(r, slot);
		n = n < h->bytes - done ? n : h->bytes - done;
		if (!rc)
			memcpy(h->bounce + done, (uint8_t *)vgpu_resid_ptr(r, slot) + skip, n);
		vgpu_resid_unpin(r, slot);
		if (rc)
			return rc;
		done += n;
	}
	r->count[VB_COUNT_COPY_BYTES] += done;
	return 0;
}

static int hold_single(struct vgpu_resid *r, struct vgpu_hold *h)
{
	int rc = vgpu_resid_use(r, h->object, h->first, 0, &h->slot);

	if (rc) {
		h->slot = VB_SLOT_ANY;
		return rc;
	}
	return vgpu_resid_wait(r, h->slot);
}

/* @at: where the run goes, or VB_SLOT_ANY */
static int hold_take(struct vgpu_resid *r, struct vgpu_hold *h, uint32_t at)
{
	int rc;

	if (hold_is_run(h)) {
		struct vgpu_run run = { h->object, h->first, h->end, at };

		rc = vgpu_resid_use_run(r, &run, h->write);
		if (!rc)
			h->slot = run.slot;
		return rc;
	}
	rc = hold_is_single(h) ? hold_single(r, h) : hold_bounce(r, h);
	if (rc)
		hold_release(r, h);
	return rc;
}

/* Runs first, the longest first: it finds adjacent slots while the fewest are pinned. */
static bool hold_is_before(const struct vgpu_hold *a, const struct vgpu_hold *b)
{
	if (hold_is_run(a) != hold_is_run(b))
		return hold_is_run(a);
	return hold_chunks(a) > hold_chunks(b);
}

static void held_sort(struct vgpu_held *held)
{
	for (uint32_t i = 1; i < held->count; i++) {
		struct vgpu_hold h = held->hold[i];
		uint32_t j = i;

		for (; j && hold_is_before(&h, &held->hold[j - 1]); j--)
			held->hold[j] = held->hold[j - 1];
		held->hold[j] = h;
	}
}

static int held_place(struct vgpu_resid *r, const struct vgpu_held *held, uint32_t *at)
{
	struct vgpu_run runs[VGPU_HOLDS_MAX];
	uint32_t n = 0;
	int rc;

	while (n < held->count && hold_is_run(&held->hold[n])) {
		runs[n] = (struct vgpu_run){ held->hold[n].object, held->hold[n].first,
					     held->hold[n].end, VB_SLOT_ANY };
		n++;
	}
	rc = vgpu_resid_place_runs(r, runs, n);
	for (uint32_t i = 0; i < n && !rc; i++)
		at[i] = runs[i].slot;
	return rc;
}

/* All of them are asked for again: what came of one stays until the others have come. */
static void held_expect(struct vgpu_resid *r, const struct vgpu_held *held)
{
	for (uint32_t i = 0; i < held->count; i++) {
		const struct vgpu_hold *h = &held->hold[i];

		vgpu_resid_expect(r, h->object, h->first, h->end);
	}
}

int vgpu_held_take(struct vgpu_resid *r, struct vgpu_held *held, bool placed)
{
	uint32_t at[VGPU_HOLDS_MAX];
	int rc = 0;

	for (uint32_t i = 0; i < VGPU_HOLDS_MAX; i++)
		at[i] = VB_SLOT_ANY;
	held_sort(held);
	if (placed)
		rc = held_place(r, held, at);
	for (uint32_t i = 0; i < held->count && !rc; i++)
		rc = hold_take(r, &held->hold[i], at[i]);
	if (rc == -EAGAIN)
		held_expect(r, held);
	if (rc)
		vgpu_held_release(r, held);
	return rc;
}

void vgpu_held_release(struct vgpu_resid *r, struct vgpu_held *held)
{
	for (uint32_t i = 0; i < held->count; i++)
		hold_release(r, &held->hold[i]);
}

uint32_t vgpu_held_slots(const struct vgpu_held *held)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < held->count; i++) {
		const struct vgpu_hold *h = &held->hold[i];

		n += hold_is_bounced(h) ? 0 : hold_chunks(h);
	}
	return n;
}

uint32_t vgpu_held_slots_needed(const struct vgpu_held *held)
{
	uint32_t n = vgpu_held_slots(held), whole = 0;

	for (uint32_t i = 0; i < held->count; i++) {
		const struct vgpu_hold *h = &held->hold[i];

		/* One slot would do; the copy itself is beside the tier. */
		if (hold_is_bounced(h) && hold_chunks(h) > whole)
			whole = hold_chunks(h);
	}
	if (whole)
		n++;
	return n > whole ? n : whole;
}

uint64_t vgpu_held_beside(const struct vgpu_held *held)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < held->count; i++)
		bytes += hold_beside(&held->hold[i]);
	return bytes;
}

void *vgpu_hold_pointer(const struct vgpu_resid *r, const struct vgpu_hold *h,
			const struct vb_operand *op)
{
	uint64_t at = h->object->head + op->offset - (uint64_t)h->first * r->chunk_bytes;

	if (h->bounce)
		return h->bounce;
	return (uint8_t *)vgpu_resid_ptr(r, h->slot) + at;
}

// SPDX-License-Identifier: MIT
/*
 * How a chunk gets into its host slot, and out to NVMe.
 *
 *	zero	an anonymous chunk that nobody touched: cleared at once
 *	nvme	an anonymous chunk that was written out: read, CRC32C checked
 *	file	read from the file, its tail cleared; the device compares the CRC32C
 *		with that of the first read, which is computed when whoever waits for
 *		that has it
 *	derived	its source is read beside, piece by piece, and transformed into the slot
 *
 * Each is MOVE_BEGIN, the copy, MOVE_COMMIT or MOVE_ABORT.  Requests to the engine
 * are aligned for direct I/O: the chunk grid of a file object follows the file's
 * 4 KiB blocks, and a derived source is read from the aligned bytes around it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "crc32c.h"
#include "filled.h"
#include "region.h"
#include "slot.h"
#include "source.h"
#include "trace.h"

/**
 * struct vgpu_fill - one chunk on its way
 * @req: first, so that a request leads back here
 * @from: VB_TIER_SOURCE, VB_TIER_NVME, or VB_TIER_HOST on the way out
 * @slot: host slot
 * @nvme_slot: the way out: where it goes
 * @source: derived
 * @since: when it was handed to the engine
 * @flying: with the engine
 * @overdue, @slow: counted in struct vgpu_resid
 * @all: every fill there is
 */
struct vgpu_fill {
	struct vgpu_io_req req;
	uint8_t from;
	uint32_t slot;
	uint32_t nvme_slot;
	struct vgpu_source source;
	uint64_t since;
	bool flying, overdue, slow;
	struct vgpu_fill *next, *all;
};

static struct vgpu_fill *fill_get(struct vgpu_resid *r)
{
	struct vgpu_fill *f = r->fills, *all;

	if (f) {
		r->fills = f->next;
		all = f->all;
	} else {
		f = malloc(sizeof(*f));
		if (!f)
			return NULL;
		all = r->all_fills;
		r->all_fills = f;
	}
	memset(f, 0, sizeof(*f));
	f->all = all;
	return f;
}

static void fill_put(struct vgpu_resid *r, struct vgpu_fill *f)
{
	vgpu_source_close(&f->source, &r->beside);
	f->next = r->fills;
	r->fills = f;
}

void vgpu_fill_drain(struct vgpu_resid *r, bool abandoned)
{
	while (r->all_fills) {
		struct vgpu_fill *f = r->all_fills;

		r->all_fills = f->all;
		if (abandoned && f->flying)
			continue;
		vgpu_source_close(&f->source, &r->beside);
		free(f);
	}
	r->fills = NULL;
}

static uint64_t chunk_file_offset(const struct vgpu_resid *r, const struct vgpu_object *o,
				  uint32_t chunk)
{
	return o->file_offset + (uint64_t)chunk * r->chunk_bytes;
}

/* Bytes of a chunk that the object has; the rest of the slot is zero. */
static uint64_t chunk_live_bytes(const struct vgpu_resid *r, const struct vgpu_object *o,
				 uint32_t chunk)
{
	uint64_t start = (uint64_t)chunk * r->chunk_bytes, end = o->head + o->bytes;

	return end - start < r->chunk_bytes ? end - start : r->chunk_bytes;
}

static uint64_t align_up(uint64_t x, uint64_t a)
{
	return (x + a - 1) / a * a;
}

/*
 * Reads are counted when they start, as the kernel counts them for the process: what was
 * read ahead belongs to the submission that asked for it, even if nobody takes it in.
 */
static void fill_submit(struct vgpu_resid *r, struct vgpu_fill *f)
{
	if (!(f->req.flags & VGPU_IO_WRITE))
		r->count[VB_COUNT_READ_BYTES] += f->req.bytes;
	r->moving++;
	f->since = vgpu_now_ns();
	f->flying = true;
	f->req.user = (uintptr_t)f;
	vgpu_io_submit(r->io, &f->req);
}

static void fill_set_slow(struct vgpu_resid *r, struct vgpu_fill *f)
{
	if (f->slow)
		return;
	f->slow = true;
	r->slow++;
	r->slowed++;
	r->slot[f->slot].flags |= VGPU_SLOT_SLOW;
	vgpu_io_set_aside(r->io, &f->req);
}

/* A transfer of it came back. */
static void fill_clear_overdue(struct vgpu_resid *r, struct vgpu_fill *f)
{
	r->overdue -= f->overdue;
	f->overdue = false;
	r->slot[f->slot].flags &= (uint8_t)~VGPU_SLOT_OVERDUE;
}

/* The last one did. */
static void fill_clear_slow(struct vgpu_resid *r, struct vgpu_fill *f)
{
	r->slow -= f->slow;
	f->slow = false;
	r->slot[f->slot].flags &= (uint8_t)~VGPU_SLOT_SLOW;
}

/* What we keep in storage of our own is waited for. */
static bool fill_is_of_client(const struct vgpu_fill *f)
{
	return f->flying && f->from == VB_TIER_SOURCE;
}

/* A disk that is busy answers one of its reads now and then. */
static bool fill_is_silent(const struct vgpu_resid *r, const struct vgpu_fill *f, uint64_t now)
{
	uint64_t answered = r->slot[f->slot].object->file->answered_ns;

	return now - (f->since > answered ? f->since : answered) >= VGPU_SLOW_NS;
}

void vgpu_fill_note_slow(struct vgpu_resid *r, uint32_t slot)
{
	uint64_t now = vgpu_now_ns();

	for (struct vgpu_fill *f = r->all_fills; f; f = f->all) {
		if (fill_is_of_client(f) && (f->slot == slot || fill_is_silent(r, f, now)))
			fill_set_slow(r, f);
	}
}

void vgpu_fill_hurry(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_fill *f = r->all_fills;
	struct vgpu_io_stats stats;

	vgpu_io_stats_get(r->io, &stats);
	if (!stats.queued)
		return;
	while (f && !(f->flying && f->slot == slot))
		f = f->all;
	if (f)
		vgpu_io_hurry(r->io, &f->req);
}

void vgpu_fill_note_slow_object(struct vgpu_resid *r, const struct vgpu_object *o)
{
	for (struct vgpu_fill *f = r->all_fills; f; f = f->all) {
		if (fill_is_of_client(f) && r->slot[f->slot].object == o)
			fill_set_slow(r, f);
	}
}

uint32_t vgpu_fill_slow_of(const struct vgpu_resid *r, uint32_t client)
{
	uint32_t n = 0;

	for (const struct vgpu_fill *f = r->slow ? r->all_fills : NULL; f; f = f->all)
		n += f->slow && fill_is_of_client(f) && r->slot[f->slot].object->client == client;
	return n;
}

void vgpu_fill_overdue(struct vgpu_resid *r, struct vgpu_io_req *req)
{
	struct vgpu_fill *f = (struct vgpu_fill *)(uintptr_t)req->user;

	if (f->overdue)
		return;
	fill_set_slow(r, f);
	f->overdue = true;
	r->overdue++;
	r->slot[f->slot].flags |= VGPU_SLOT_OVERDUE;
	r->fault_key = vgpu_policy_key(r->slot[f->slot].object->id, r->slot[f->slot].chunk);
	r->fault_error = -ETIMEDOUT;
}

static void fill_prepare_file(struct vgpu_resid *r, struct vgpu_fill *f, struct vgpu_object *o,
			      uint32_t chunk)
{
	uint64_t bytes = align_up(chunk_live_bytes(r, o, chunk), o->file->align);

	f->req.file = o->file->index;
	f->req.offset = chunk_file_offset(r, o, chunk);
	f->req.bytes = bytes < r->chunk_bytes ? bytes : r->chunk_bytes;
	f->req.buf = vgpu_resid_ptr(r, f->slot);
	f->req.buf_index = vgpu_region_of(r, f->slot);
}

static void fill_prepare_nvme(struct vgpu_resid *r, struct vgpu_fill *f, uint32_t nvme_slot,
			      uint32_t flags)
{
	f->req.file = r->nvme_file;
	f->req.flags = flags;
	f->req.offset = vgpu_nvme_offset(r->nvme, nvme_slot);
	f->req.bytes = r->chunk_bytes;
	f->req.buf = vgpu_resid_ptr(r, f->slot);
	f->req.buf_index = vgpu_region_of(r, f->slot);
}

/* Where the content of a chunk is now. */
static int fill_source(const struct vgpu_object *o, uint32_t chunk)
{
	struct vb_table_entry e = vgpu_object_entry(o, chunk);

	if (e.flags & VB_ENTRY_LOST)
		return -EIO;
	if (e.valid & (1u << VB_TIER_NVME))
		return VB_TIER_NVME;
	if (o->kind == VB_BO_FILE || o->kind == VB_BO_DERIVED)
		return VB_TIER_SOURCE;
	return e.flags & VB_ENTRY_TOUCHED ? -EIO : VB_TIER_ZERO;
}

static int fill_zero(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint32_t slot)
{
	memset(vgpu_resid_ptr(r, slot), 0, r->chunk_bytes);
	return vgpu_resid_move(r, o, chunk, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST, &slot,
			       NULL);
}

static int fill_prepare(struct vgpu_resid *r, struct vgpu_fill *f, struct vgpu_object *o,
			uint32_t chunk)
{
	if (f->from == VB_TIER_NVME) {
		struct vb_table_entry e = vgpu_object_entry(o, chunk);

		fill_prepare_nvme(r, f, VB_LOC_SLOT(e.loc[VB_TIER_NVME]), 0);
		return 0;
	}
	if (o->kind == VB_BO_DERIVED)
		return vgpu_source_open(&f->source, &r->beside, o, chunk, r->chunk_bytes, &f->req);
	fill_prepare_file(r, f, o, chunk);
	return 0;
}

bool vgpu_fill_has_room(const struct vgpu_resid *r, const struct vgpu_object *o, uint32_t chunk)
{
	return vgpu_beside_has_room(&r->beside, vgpu_source_bytes(o, chunk, r->chunk_bytes));
}

int vgpu_fill_start(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint32_t wanted,
		    uint32_t *out_slot)
{
	int from = fill_source(o, chunk), rc;
	uint32_t slot = wanted;
	struct vgpu_fill *f;

	if (from < 0)
		return from;
	if (from == VB_TIER_SOURCE || from == VB_TIER_NVME) {
		rc = wanted == VB_SLOT_ANY ? vgpu_filled_take(r, o, chunk, out_slot) :
					     vgpu_filled_look(o, chunk);
		if (rc != -ENOENT)
			return wanted == VB_SLOT_ANY ? rc : -EAGAIN;
	}
	if (from == VB_TIER_SOURCE) {
		rc = vgpu_fill_slow_of(r, o->client) < VGPU_SLOW_MAX ?
			vgpu_store_file_ready(r->store, o->file) : -EAGAIN;
		r->slowed += rc == -EAGAIN;
		if (rc)
			return rc;
	}
	while (!vgpu_fill_has_room(r, o, chunk) && vgpu_resid_is_moving(r)) {
		rc = vgpu_resid_pump(r, VGPU_PUMP_WAIT_NS);
		if (rc < 0)
			return rc;
	}
	rc = vgpu_resid_move(r, o, chunk, VB_MOVE_BEGIN, (uint8_t)from, VB_TIER_HOST, &slot, NULL);
	if (rc)
		return rc;
	vgpu_slot_take(r, slot, o, chunk, VGPU_SLOT_FILLING);
	r->slot[slot].from = (uint8_t)from;
	*out_slot = slot;
	if (from == VB_TIER_ZERO) {
		rc = fill_zero(r, o, chunk, slot);
		if (rc)
			goto err_abort;
		/* Not announced as filled: nobody had the time to pin it. */
		r->slot[slot].state = VGPU_SLOT_READY;
		vgpu_slot_relist(r, slot);
		return 0;
	}
	rc = -ENOMEM;
	f = fill_get(r);
	if (!f)
		goto err_abort;
	f->from = (uint8_t)from;
	f->slot = slot;
	rc = fill_prepare(r, f, o, chunk);
	if (rc)
		goto err_put;
	fill_submit(r, f);
	return 0;

err_put:
	fill_put(r, f);
err_abort:
	vgpu_slot_abort(r, slot);
	return rc;
}

int vgpu_fill_write_out(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];
	struct vgpu_fill *f = fill_get(r);
	int rc;

	if (!f)
		return -ENOMEM;
	f->from = VB_TIER_HOST;
	f->slot = slot;
	f->nvme_slot = VB_SLOT_ANY;
	rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_BEGIN, VB_TIER_HOST, VB_TIER_NVME,
			     &f->nvme_slot, NULL);
	if (rc) {
		fill_put(r, f);
		return rc;
	}
	fill_prepare_nvme(r, f, f->nvme_slot, VGPU_IO_WRITE);
	s->state = VGPU_SLOT_LEAVING;
	vgpu_slot_relist(r, slot);
	r->leaving++;
	fill_submit(r, f);
	return 0;
}

/* ------------------------------------------------------------------------
 * Completion
 */

static int fill_finish_file(struct vgpu_resid *r, const struct vgpu_fill *f,
			    const struct vgpu_object *o, uint32_t chunk)
{
	uint8_t *slot = vgpu_resid_ptr(r, f->slot);
	uint64_t live = chunk_live_bytes(r, o, chunk);

	if (f->req.done_bytes < live)
		return -ESTALE;		/* the file is shorter than it was */
	memset(slot + live, 0, r->chunk_bytes - live);
	return 0;
}

static int fill_finish_derived(struct vgpu_resid *r, const struct vgpu_object *o, uint32_t chunk,
			       uint32_t slot)
{
	uint64_t live = chunk_live_bytes(r, o, chunk);
	uint8_t *data = vgpu_resid_ptr(r, slot);

	memset(data + live, 0, r->chunk_bytes - live);
	return 0;
}

/*
 * A piece of the source came.  Return: true when more of it is on its way; else @f->req
 * says how it ended.
 */
static bool fill_goes_on(struct vgpu_resid *r, struct vgpu_fill *f)
{
	const struct vgpu_slot *s = &r->slot[f->slot];
	bool more = false;
	uint64_t start;

	if (!f->source.memory || f->req.result)
		return false;
	start = vgpu_now_ns();
	f->req.result = vgpu_source_read(&f->source, &r->beside, s->object, s->chunk,
					 r->chunk_bytes, &f->req, vgpu_resid_ptr(r, f->slot),
					 r->pool, &more);
	r->count[VB_COUNT_DERIVE_NS] += vgpu_now_ns() - start;
	if (f->req.result || !more)
		return false;
	fill_submit(r, f);
	return true;
}

static int fill_finish_nvme(struct vgpu_resid *r, const struct vgpu_fill *f,
			    const struct vgpu_object *o, uint32_t chunk, uint32_t *crc)
{
	struct vb_table_entry e = vgpu_object_entry(o, chunk);

	if (f->req.done_bytes < r->chunk_bytes)
		return -EIO;
	*crc = vgpu_crc32c(0, vgpu_resid_ptr(r, f->slot), r->chunk_bytes);
	if ((e.flags & VB_ENTRY_CRC) && e.crc != *crc) {
		r->count[VB_COUNT_CRC_ERRORS]++;
		return -EIO;
	}
	return 0;
}

static int fill_finish(struct vgpu_resid *r, const struct vgpu_fill *f, struct vgpu_object *o,
		       uint32_t chunk, uint32_t *crc)
{
	if (f->req.result)
		return f->req.result;
	if (f->from == VB_TIER_NVME)
		return fill_finish_nvme(r, f, o, chunk, crc);
	if (o->kind == VB_BO_DERIVED)
		return fill_finish_derived(r, o, chunk, f->slot);
	return fill_finish_file(r, f, o, chunk);
}

/* Nothing is there to compare it with, and somebody waits. */
static bool fill_is_recorded_later(const struct vgpu_resid *r, const struct vgpu_fill *f)
{
	const struct vgpu_slot *s = &r->slot[f->slot];

	return f->from == VB_TIER_SOURCE && f->slot == r->asked_slot &&
	       vgpu_record_has_room(&r->records) &&
	       !(vgpu_object_entry(s->object, s->chunk).flags & VB_ENTRY_CRC);
}

static void fill_in_done(struct vgpu_resid *r, struct vgpu_fill *f)
{
	struct vgpu_slot *s = &r->slot[f->slot];
	uint32_t crc = 0, slot = f->slot;
	int rc = fill_finish(r, f, s->object, s->chunk, &crc);
	bool later = !rc && fill_is_recorded_later(r, f);

	if (!rc) {
		if (f->from == VB_TIER_SOURCE && !later)
			crc = vgpu_crc32c(0, vgpu_resid_ptr(r, f->slot), r->chunk_bytes);
		rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_COMMIT, f->from, VB_TIER_HOST,
				     &slot, later ? NULL : &crc);
		if (rc == -ESTALE)
			r->count[VB_COUNT_CRC_ERRORS]++;
	}
	if (rc) {
		r->count[VB_COUNT_IO_ERRORS]++;
		r->fault_key = vgpu_policy_key(s->object->id, s->chunk);
		r->fault_error = rc;
	} else if (later) {
		vgpu_record_later(r, f->slot);
	}
	vgpu_slot_filled(r, f->slot, rc);
}

static void fill_out_done(struct vgpu_resid *r, struct vgpu_fill *f)
{
	struct vgpu_slot *s = &r->slot[f->slot];
	uint32_t slot = f->nvme_slot, crc;
	int rc = f->req.result;

	r->leaving--;
	r->count[VB_COUNT_WRITE_BYTES] += f->req.done_bytes;
	if (!rc && f->req.done_bytes < r->chunk_bytes)
		rc = -EIO;
	if (!rc) {
		crc = vgpu_crc32c(0, vgpu_resid_ptr(r, f->slot), r->chunk_bytes);
		rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_COMMIT, VB_TIER_HOST,
				     VB_TIER_NVME, &slot, &crc);
	}
	if (rc) {
		r->count[VB_COUNT_IO_ERRORS]++;
		vgpu_resid_stays(r, s->object, s->chunk, f->req.result);
	} else {
		vgpu_trace_put(r->trace, VGPU_TRACE_WRITE, vgpu_slot_key(s), 0, 0);
		r->unwritten = 0;
	}
	vgpu_slot_left(r, f->slot, rc);
}

void vgpu_fill_done(struct vgpu_resid *r, struct vgpu_io_req *req)
{
	struct vgpu_fill *f = (struct vgpu_fill *)req;

	r->moving--;
	r->arrived++;
	fill_clear_overdue(r, f);
	if (f->from == VB_TIER_SOURCE)
		r->slot[f->slot].object->file->answered_ns = vgpu_now_ns();
	f->flying = false;
	if (fill_goes_on(r, f))
		return;
	fill_clear_slow(r, f);
	if (f->from == VB_TIER_HOST)
		fill_out_done(r, f);
	else
		fill_in_done(r, f);
	fill_put(r, f);
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints: one at each hop of a command buffer, named by (client, queue, seqno), and
 * one at each step of a chunk, named by (object, chunk).  In the order in which they
 * come:
 *
 *	vb_submit	the submission has its number and waits in its queue
 *	vb_queue	nothing is before it: it may be fetched
 *	vb_fetch	the executor has it
 *	vb_commit	the executor says how it ended
 *	vb_signal	its fence has ended (also without the three before)
 *
 *	vb_page_in	a client wants chunks in host memory
 *	vb_move_begin, vb_move_commit, vb_move_abort
 *	vb_quarantine	a slot was given up and others still refer to its memory
 *	vb_quarantine_leave	they do no longer: it is free
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vblackwell

#if !defined(VB_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VB_TRACE_H

#include <linux/tracepoint.h>

#include "bo.h"
#include "client.h"
#include "queue.h"
#include "request.h"
#include "slot.h"
#include "submit.h"

#define vb_tier_names						\
	{ VB_TIER_HOST, "host" }, { VB_TIER_DEVICE, "device" },	\
	{ VB_TIER_NVME, "nvme" }, { VB_TIER_SOURCE, "source" },	\
	{ VB_TIER_ZERO, "zero" }

/* ---- a command buffer ---- */

DECLARE_EVENT_CLASS(vb_hop,
	TP_PROTO(const struct vb_queue *q, u64 seqno),
	TP_ARGS(q, seqno),
	TP_STRUCT__entry(
		__field(u32, client)
		__field(u32, queue)
		__field(u64, seqno)
	),
	TP_fast_assign(
		__entry->client = q->client->number;
		__entry->queue = q->number;
		__entry->seqno = seqno;
	),
	TP_printk("client=%u queue=%u seqno=%llu", __entry->client, __entry->queue,
		  __entry->seqno)
);

DEFINE_EVENT(vb_hop, vb_queue,
	TP_PROTO(const struct vb_queue *q, u64 seqno),
	TP_ARGS(q, seqno)
);

DEFINE_EVENT(vb_hop, vb_fetch,
	TP_PROTO(const struct vb_queue *q, u64 seqno),
	TP_ARGS(q, seqno)
);

TRACE_EVENT(vb_submit,
	TP_PROTO(const struct vb_queue *q, const struct vb_submission *s),
	TP_ARGS(q, s),
	TP_STRUCT__entry(
		__field(u32, client)
		__field(u32, queue)
		__field(u64, seqno)
		__field(u32, bytes)
		__field(u32, objects)
		__field(u32, unmet)
	),
	TP_fast_assign(
		__entry->client = q->client->number;
		__entry->queue = q->number;
		__entry->seqno = s->seqno;
		__entry->bytes = s->stream_bytes;
		__entry->objects = s->bo_count;
		__entry->unmet = s->unmet;
	),
	TP_printk("client=%u queue=%u seqno=%llu bytes=%u objects=%u unmet=%u", __entry->client,
		  __entry->queue, __entry->seqno, __entry->bytes, __entry->objects,
		  __entry->unmet)
);

DECLARE_EVENT_CLASS(vb_end,
	TP_PROTO(const struct vb_queue *q, u64 seqno, int status, u64 busy_ns),
	TP_ARGS(q, seqno, status, busy_ns),
	TP_STRUCT__entry(
		__field(u32, client)
		__field(u32, queue)
		__field(u64, seqno)
		__field(int, status)
		__field(u64, busy_ns)
	),
	TP_fast_assign(
		__entry->client = q->client->number;
		__entry->queue = q->number;
		__entry->seqno = seqno;
		__entry->status = status;
		__entry->busy_ns = busy_ns;
	),
	TP_printk("client=%u queue=%u seqno=%llu status=%d busy_ns=%llu", __entry->client,
		  __entry->queue, __entry->seqno, __entry->status, __entry->busy_ns)
);

DEFINE_EVENT(vb_end, vb_commit,
	TP_PROTO(const struct vb_queue *q, u64 seqno, int status, u64 busy_ns),
	TP_ARGS(q, seqno, status, busy_ns)
);

DEFINE_EVENT(vb_end, vb_signal,
	TP_PROTO(const struct vb_queue *q, u64 seqno, int status, u64 busy_ns),
	TP_ARGS(q, seqno, status, busy_ns)
);

/* ---- a chunk ---- */

TRACE_EVENT(vb_page_in,
	TP_PROTO(const struct vb_request *r),
	TP_ARGS(r),
	TP_STRUCT__entry(
		__field(u32, client)
		__field(u32, object)
		__field(u32, chunk)
		__field(u32, count)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->client = r->client->number;
		__entry->object = r->bo->id;
		__entry->chunk = r->first;
		__entry->count = r->count;
		__entry->flags = r->flags;
	),
	TP_printk("object=%u chunk=%u count=%u client=%u flags=0x%x", __entry->object,
		  __entry->chunk, __entry->count, __entry->client, __entry->flags)
);

DECLARE_EVENT_CLASS(vb_move,
	TP_PROTO(const struct vb_bo *bo, const struct vb_move *mv, u32 loc, int status),
	TP_ARGS(bo, mv, loc, status),
	TP_STRUCT__entry(
		__field(u32, object)
		__field(u32, chunk)
		__field(u8, from)
		__field(u8, to)
		__field(u32, loc)
		__field(int, status)
	),
	TP_fast_assign(
		__entry->object = bo->id;
		__entry->chunk = mv->chunk;
		__entry->from = mv->from;
		__entry->to = mv->to;
		__entry->loc = loc;
		__entry->status = status;
	),
	TP_printk("object=%u chunk=%u from=%s to=%s arena=%d slot=%d status=%d",
		  __entry->object, __entry->chunk,
		  __print_symbolic(__entry->from, vb_tier_names),
		  __print_symbolic(__entry->to, vb_tier_names),
		  __entry->loc ? (int)VB_LOC_ARENA(__entry->loc) : -1,
		  __entry->loc ? (int)VB_LOC_SLOT(__entry->loc) : -1, __entry->status)
);

DEFINE_EVENT(vb_move, vb_move_begin,
	TP_PROTO(const struct vb_bo *bo, const struct vb_move *mv, u32 loc, int status),
	TP_ARGS(bo, mv, loc, status)
);

DEFINE_EVENT(vb_move, vb_move_commit,
	TP_PROTO(const struct vb_bo *bo, const struct vb_move *mv, u32 loc, int status),
	TP_ARGS(bo, mv, loc, status)
);

DEFINE_EVENT(vb_move, vb_move_abort,
	TP_PROTO(const struct vb_bo *bo, const struct vb_move *mv, u32 loc, int status),
	TP_ARGS(bo, mv, loc, status)
);

DECLARE_EVENT_CLASS(vb_slot,
	TP_PROTO(const struct vb_slot *slot, int foreign),
	TP_ARGS(slot, foreign),
	TP_STRUCT__entry(
		__field(u32, object)
		__field(u32, chunk)
		__field(u32, loc)
		__field(int, foreign)
	),
	TP_fast_assign(
		__entry->object = slot->object;
		__entry->chunk = slot->chunk;
		__entry->loc = slot->loc;
		__entry->foreign = foreign;
	),
	TP_printk("object=%u chunk=%u arena=%u slot=%u references=%d", __entry->object,
		  __entry->chunk, VB_LOC_ARENA(__entry->loc), VB_LOC_SLOT(__entry->loc),
		  __entry->foreign)
);

DEFINE_EVENT(vb_slot, vb_quarantine,
	TP_PROTO(const struct vb_slot *slot, int foreign),
	TP_ARGS(slot, foreign)
);

DEFINE_EVENT(vb_slot, vb_quarantine_leave,
	TP_PROTO(const struct vb_slot *slot, int foreign),
	TP_ARGS(slot, foreign)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>

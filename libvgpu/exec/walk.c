// SPDX-License-Identifier: MIT
#include "walk.h"

#include "core/format.h"
#include "staging.h"

static bool is_product(const struct vb_cmd_header *cmd)
{
	switch (cmd->opcode) {
	case VB_CMD_MATMUL:
	case VB_CMD_MATMUL_ID:
	case VB_CMD_MATMUL_GATE:
	case VB_CMD_MATMUL_TRANSPOSED:
		return true;
	}
	return false;
}

/* Operands that are not held: streamed weights and gathered tables. */
static bool operand_is_held(const struct vb_cmd_header *cmd, const struct vb_operand *op)
{
	if (is_product(cmd))
		return op != vgpu_cmd_operand(cmd, VGPU_PRODUCT_W) &&
		       op != vgpu_cmd_operand(cmd, VGPU_PRODUCT_SCALES);
	return cmd->opcode != VB_CMD_GATHER || op != &((const struct vb_cmd_gather *)cmd)->table;
}

/*
 * Chunks that two operands share must lie where both can be read with one pointer.
 * Ranges of a file are copied together instead, each by itself.
 */
static bool holds_join(const struct vgpu_hold *a, const struct vgpu_hold *b)
{
	return a->object == b->object && a->object->kind == VB_BO_ANONYMOUS &&
	       a->first < b->end && b->first < a->end;
}

static void hold_absorb(struct vgpu_hold *h, const struct vgpu_hold *other)
{
	h->write |= other->write;
	h->first = other->first < h->first ? other->first : h->first;
	h->end = other->end > h->end ? other->end : h->end;
}

/* Add one; what it joins becomes one with it, and may then join others. */
static uint32_t hold_add(struct vgpu_hold *holds, uint32_t n, struct vgpu_hold h)
{
	for (uint32_t i = 0; i < n;) {
		if (!holds_join(&holds[i], &h)) {
			i++;
			continue;
		}
		hold_absorb(&h, &holds[i]);
		holds[i] = holds[--n];
		i = 0;
	}
	holds[n] = h;
	return n + 1;
}

uint32_t vgpu_walk_holds(const struct vb_cmd_header *cmd, struct vgpu_object *const *bos,
			 uint32_t chunk_bytes, struct vgpu_hold out[VGPU_HOLDS_MAX])
{
	struct vb_cmd_operand ops[VB_CMD_OPERANDS_MAX];
	uint32_t count = vb_cmd_operands(cmd, ops), n = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct vgpu_object *o = bos[ops[i].op->bo];
		struct vgpu_hold h = { .object = o, .slot = VB_SLOT_ANY,
				       .write = ops[i].access & VB_ACCESS_WRITE };
		__u64 extent = 0;

		if (!operand_is_held(cmd, ops[i].op))
			continue;
		vb_operand_extent(ops[i].op, &extent);
		vgpu_object_chunks(o, chunk_bytes, ops[i].op->offset, extent, &h.first, &h.end);
		h.offset = o->head + ops[i].op->offset - (uint64_t)h.first * chunk_bytes;
		h.bytes = extent;
		n = hold_add(out, n, h);
	}
	return n;
}

struct vgpu_hold *vgpu_walk_find(struct vgpu_hold *holds, uint32_t n,
				 const struct vb_operand *op, struct vgpu_object *const *bos,
				 uint32_t chunk_bytes)
{
	const struct vgpu_object *o = bos[op->bo];
	uint64_t at = o->head + op->offset;
	uint32_t first = (uint32_t)(at / chunk_bytes);
	__u64 extent = 0;

	/* Entries of an anonymous object have no chunk in common: the first byte tells which. */
	if (o->kind != VB_BO_ANONYMOUS)
		vb_operand_extent(op, &extent);
	for (uint32_t i = 0; i < n; i++) {
		struct vgpu_hold *h = &holds[i];

		if (h->object != o || first < h->first || first >= h->end)
			continue;
		/* Two operands may begin at one byte of a file and differ in length. */
		if (o->kind == VB_BO_ANONYMOUS ||
		    (at == (uint64_t)h->first * chunk_bytes + h->offset && extent <= h->bytes))
			return h;
	}
	return NULL;
}

/* Fill one part from an operand [n][k] or [experts][n][k]. */
static void stream_set_part(struct vgpu_stream *s, uint32_t part, const struct vb_operand *op,
			    struct vgpu_object *const *bos, const struct vb_unit *unit)
{
	bool stack = op->rank == 3;

	s->part[part].object = bos[op->bo];
	s->part[part].offset = op->offset;
	s->part[part].unit_bytes = unit->bytes;
	s->part[part].matrix_bytes = stack ? vb_operand_stride(op, 0) : 0;
}

bool vgpu_walk_stream(const struct vb_cmd_header *cmd, struct vgpu_object *const *bos,
		      uint64_t panel_bytes, struct vgpu_stream *out)
{
	const struct vb_operand *w, *scales;
	struct vb_unit unit, scale_unit;
	uint64_t units;

	if (!is_product(cmd))
		return false;
	w = vgpu_cmd_operand(cmd, VGPU_PRODUCT_W);
	scales = vgpu_cmd_operand(cmd, VGPU_PRODUCT_SCALES);
	if (vb_format_unit(w->format, w->shape[w->rank - 1], &unit))
		return false;
	out->rows = w->shape[w->rank - 2];
	out->matrices = w->rank == 3 ? w->shape[0] : 1;
	out->unit_rows = unit.rows;
	out->parts = 1;
	stream_set_part(out, 0, w, bos, &unit);
	if (scales->format != VB_FORMAT_NONE) {
		out->parts = 2;
		scale_unit = (struct vb_unit){ .rows = 1, .bytes = scales->shape[scales->rank - 1] };
		stream_set_part(out, 1, scales, bos, &scale_unit);
	}
	units = panel_bytes / unit.bytes;
	if (!units)
		units = 1;
	/* Row-major kernels work on 16 rows at a time as well. */
	if (unit.rows == 1 && units > 16)
		units -= units % 16;
	out->panel_rows = units * unit.rows < out->rows ? (uint32_t)(units * unit.rows) : out->rows;
	out->panels = (uint32_t)(((uint64_t)out->rows + out->panel_rows - 1) / out->panel_rows);
	return true;
}

uint32_t vgpu_stream_panel_rows(const struct vgpu_stream *s, uint32_t panel)
{
	uint32_t left = s->rows - panel * s->panel_rows;

	return left < s->panel_rows ? left : s->panel_rows;
}

struct vgpu_span vgpu_stream_span(const struct vgpu_stream *s, uint32_t part, uint32_t matrix,
				  uint32_t panel)
{
	uint32_t unit_rows = part ? 1 : s->unit_rows;
	uint64_t first = (uint64_t)panel * s->panel_rows / unit_rows;
	uint64_t units = (vgpu_stream_panel_rows(s, panel) + unit_rows - 1) / unit_rows;

	return (struct vgpu_span){
		.offset = s->part[part].offset + matrix * s->part[part].matrix_bytes +
			  first * s->part[part].unit_bytes,
		.bytes = units * s->part[part].unit_bytes,
	};
}

static uint32_t stream_chunks(const struct vgpu_stream *s, uint32_t chunk_bytes, uint32_t panels)
{
	uint64_t chunks = 0;

	for (uint32_t p = 0; p < s->parts; p++)
		chunks += vgpu_chunks_touched(panels * vgpu_stream_span(s, p, 0, 0).bytes,
					      chunk_bytes);
	return (uint32_t)chunks;
}

uint32_t vgpu_stream_panel_chunks(const struct vgpu_stream *s, uint32_t chunk_bytes)
{
	return stream_chunks(s, chunk_bytes, 1);
}

uint32_t vgpu_stream_chunks_needed(const struct vgpu_stream *s, uint32_t chunk_bytes)
{
	return stream_chunks(s, chunk_bytes, s->panels > 1 || s->matrices > 1 ? 2 : 1);
}

// SPDX-License-Identifier: MIT
#include "walk.h"

#include "core/format.h"

/* Operands that are not held: streamed weights and gathered tables. */
static bool operand_is_held(const struct vb_cmd_header *cmd, const struct vb_operand *op)
{
	switch (cmd->opcode) {
	case VB_CMD_MATMUL: {
		const struct vb_cmd_matmul *c = (const void *)cmd;

		return op != &c->w && op != &c->scales;
	}
	case VB_CMD_MATMUL_ID: {
		const struct vb_cmd_matmul_id *c = (const void *)cmd;

		return op != &c->w && op != &c->scales;
	}
	case VB_CMD_GATHER:
		return op != &((const struct vb_cmd_gather *)cmd)->table;
	default:
		return true;
	}
}

static struct vgpu_hold *hold_of(struct vgpu_hold *holds, uint32_t n,
				 const struct vgpu_object *o)
{
	for (uint32_t i = 0; i < n; i++) {
		if (holds[i].object == o)
			return &holds[i];
	}
	return NULL;
}

/* Ranges of a file lie anywhere in it: joining them would hold what is between. */
static bool object_joins(const struct vgpu_object *o)
{
	return o->kind == VB_BO_ANONYMOUS;
}

uint32_t vgpu_walk_holds(const struct vb_cmd_header *cmd, struct vgpu_object *const *bos,
			 uint32_t chunk_bytes, struct vgpu_hold out[VGPU_HOLDS_MAX])
{
	struct vb_cmd_operand ops[VB_CMD_OPERANDS_MAX];
	uint32_t count = vb_cmd_operands(cmd, ops), n = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct vgpu_object *o = bos[ops[i].op->bo];
		struct vgpu_hold h = { .object = o, .slot = VB_SLOT_ANY,
				       .write = ops[i].access & VB_ACCESS_WRITE }, *same;
		__u64 extent = 0;

		if (!operand_is_held(cmd, ops[i].op))
			continue;
		vb_operand_extent(ops[i].op, &extent);
		vgpu_object_chunks(o, chunk_bytes, ops[i].op->offset, extent, &h.first, &h.end);
		h.offset = o->head + ops[i].op->offset - (uint64_t)h.first * chunk_bytes;
		h.bytes = extent;
		same = object_joins(o) ? hold_of(out, n, o) : NULL;
		if (!same) {
			out[n++] = h;
			continue;
		}
		same->write |= h.write;
		same->first = h.first < same->first ? h.first : same->first;
		same->end = h.end > same->end ? h.end : same->end;
	}
	return n;
}

struct vgpu_hold *vgpu_walk_find(struct vgpu_hold *holds, uint32_t n,
				 const struct vb_operand *op, struct vgpu_object *const *bos,
				 uint32_t chunk_bytes)
{
	const struct vgpu_object *o = bos[op->bo];
	uint64_t at = o->head + op->offset;
	__u64 extent = 0;

	vb_operand_extent(op, &extent);
	for (uint32_t i = 0; i < n; i++) {
		struct vgpu_hold *h = &holds[i];

		if (h->object != o)
			continue;
		/* Two operands may begin at one byte of a file and differ in length. */
		if (object_joins(o) || (at == (uint64_t)h->first * chunk_bytes + h->offset &&
					extent <= h->bytes))
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

	if (cmd->opcode == VB_CMD_MATMUL) {
		w = &((const struct vb_cmd_matmul *)cmd)->w;
		scales = &((const struct vb_cmd_matmul *)cmd)->scales;
	} else if (cmd->opcode == VB_CMD_MATMUL_ID) {
		w = &((const struct vb_cmd_matmul_id *)cmd)->w;
		scales = &((const struct vb_cmd_matmul_id *)cmd)->scales;
	} else {
		return false;
	}
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
	out->panels = (out->rows + out->panel_rows - 1) / out->panel_rows;
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

uint32_t vgpu_stream_panel_chunks(const struct vgpu_stream *s, uint32_t chunk_bytes)
{
	uint32_t chunks = 0;

	for (uint32_t p = 0; p < s->parts; p++) {
		uint64_t bytes = vgpu_stream_span(s, p, 0, 0).bytes;

		chunks += (uint32_t)((bytes + chunk_bytes - 1) / chunk_bytes) + 1;
	}
	return chunks;
}

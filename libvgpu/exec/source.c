// SPDX-License-Identifier: MIT
#include "source.h"

#include <errno.h>
#include <string.h>

/* Large enough for any disk, and small enough for some of them to be on the way. */
#define PIECE_BYTES	(2ull << 20)

static uint64_t align_up(uint64_t x, uint64_t a)
{
	return (x + a - 1) / a * a;
}

/* Requests are aligned for direct I/O. */
static uint64_t source_align(const struct vgpu_object *o)
{
	return o->file->align > 4096 ? o->file->align : 4096;
}

/* Memory for so many bytes of a file, wherever they begin. */
static uint64_t part_room(const struct vgpu_object *o, uint64_t bytes)
{
	return bytes ? align_up(bytes, source_align(o)) + source_align(o) : 0;
}

/* Units in a piece: as many as it has room for, but at least one. */
static uint64_t piece_units(const struct vgpu_object *o, uint64_t most)
{
	uint64_t source, scales, n;

	vgpu_derive_unit_bytes(o, &source, &scales);
	n = PIECE_BYTES / (source + scales + 1);
	n = n < 1 ? 1 : n;
	return n < most ? n : most;
}

static uint64_t units_room(const struct vgpu_object *o, uint64_t units, uint64_t *scales_at)
{
	uint64_t source, scales;

	vgpu_derive_unit_bytes(o, &source, &scales);
	*scales_at = part_room(o, units * source);
	return *scales_at + part_room(o, units * scales);
}

uint64_t vgpu_source_bytes(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes)
{
	uint64_t first, end, scales_at;

	if (o->kind != VB_BO_DERIVED)
		return 0;
	vgpu_derive_chunk_units(o, chunk, chunk_bytes, &first, &end);
	return units_room(o, piece_units(o, end - first), &scales_at);
}

/* Read [offset, offset + bytes) of the file, and what alignment asks for. */
static void source_ask(struct vgpu_source *s, const struct vgpu_object *o, uint32_t part,
		       uint64_t offset, uint64_t bytes, struct vgpu_io_req *req)
{
	uint64_t align = source_align(o), first = offset / align * align;

	s->part = part;
	s->skip[part] = offset - first;
	*req = (struct vgpu_io_req){
		.file = o->file->index, .offset = first, .buf_index = -1, .user = req->user,
		.buf = s->memory + (part ? s->scales_at : 0),
		.bytes = align_up(offset + bytes, align) - first,
	};
}

static int source_ask_piece(struct vgpu_source *s, const struct vgpu_object *o, uint64_t unit,
			    struct vgpu_io_req *req)
{
	uint64_t end = unit + s->units;
	int rc;

	s->piece.first_unit = unit;
	s->piece.end_unit = end < s->end_unit ? end : s->end_unit;
	rc = vgpu_derive_range(o, &s->piece);
	if (!rc)
		source_ask(s, o, 0, s->piece.offset, s->piece.bytes, req);
	return rc;
}

int vgpu_source_open(struct vgpu_source *s, struct vgpu_beside *beside,
		     const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
		     struct vgpu_io_req *req)
{
	uint64_t first;

	*s = (struct vgpu_source){ 0 };
	vgpu_derive_chunk_units(o, chunk, chunk_bytes, &first, &s->end_unit);
	s->units = piece_units(o, s->end_unit - first);
	s->bytes = units_room(o, s->units, &s->scales_at);
	s->memory = vgpu_beside_alloc(beside, source_align(o), s->bytes);
	if (!s->memory)
		return -ENOMEM;
	return source_ask_piece(s, o, first, req);
}

int vgpu_source_read(struct vgpu_source *s, struct vgpu_beside *beside,
		     const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
		     struct vgpu_io_req *req, uint8_t *dst, struct vgpu_pool *pool,
		     bool *out_more)
{
	const struct vgpu_derive_range *p = &s->piece;
	uint64_t scratch;
	int rc;

	*out_more = true;
	if (req->done_bytes < s->skip[s->part] + (s->part ? p->scales_bytes : p->bytes))
		return -ESTALE;
	if (p->scales_bytes && !s->part) {
		source_ask(s, o, 1, p->scales_offset, p->scales_bytes, req);
		return 0;
	}
	rc = vgpu_derive_units(o, chunk, chunk_bytes, p, s->memory + s->skip[0],
			       s->part ? s->memory + s->scales_at + s->skip[1] : NULL, dst, pool,
			       &scratch);
	vgpu_beside_note(beside, scratch);
	if (rc)
		return rc;
	*out_more = p->end_unit < s->end_unit;
	return *out_more ? source_ask_piece(s, o, p->end_unit, req) : 0;
}

void vgpu_source_close(struct vgpu_source *s, struct vgpu_beside *beside)
{
	vgpu_beside_free(beside, s->memory, s->bytes);
	s->memory = NULL;
}

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

/* Columns of a piece: as many as it has room for, and no more than a chunk has of one unit. */
static uint32_t piece_cols(const struct vgpu_object *o, uint64_t chunk_bytes)
{
	uint64_t step = o->unit_rows * vgpu_derive_cols_bytes(o, VGPU_DERIVE_COLS);
	uint64_t most = vgpu_derive_cols_most(o, chunk_bytes), cols = PIECE_BYTES / step;

	return (uint32_t)(cols < most ? cols : most) * VGPU_DERIVE_COLS;
}

/* How a chunk is made: @s->units, @s->cols, and where what lies in @s->memory. */
static void source_plan(struct vgpu_source *s, const struct vgpu_object *o, uint64_t units,
			uint64_t chunk_bytes)
{
	uint64_t source, scales, run = 0;

	vgpu_derive_unit_bytes(o, &source, &scales);
	s->units = PIECE_BYTES / (source + scales + 1);
	s->units = s->units < 1 ? 1 : s->units < units ? s->units : units;
	s->cols = 0;
	if (source > PIECE_BYTES) {
		s->cols = piece_cols(o, chunk_bytes);
		source = o->unit_rows * vgpu_derive_cols_bytes(o, s->cols);
		run = part_room(o, source / o->unit_rows);
	}
	s->run_at = s->cols ? align_up(source, source_align(o)) : 0;
	s->scales_at = s->cols ? s->run_at + run : part_room(o, s->units * source);
	s->bytes = s->scales_at + part_room(o, s->units * scales);
}

uint64_t vgpu_source_bytes(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes)
{
	struct vgpu_source s;
	uint64_t first, end;

	if (o->kind != VB_BO_DERIVED)
		return 0;
	vgpu_derive_chunk_units(o, chunk, chunk_bytes, &first, &end);
	source_plan(&s, o, end - first, chunk_bytes);
	return s.bytes;
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
		.buf = s->memory + (part ? s->scales_at : s->run_at),
		.bytes = align_up(offset + bytes, align) - first,
	};
}

/* The next columns of this unit that the chunk has; false: there are none. */
static bool source_next_cols(struct vgpu_source *s, const struct vgpu_object *o, uint32_t chunk,
			     uint32_t chunk_bytes, uint64_t unit)
{
	struct vgpu_derive_range *p = &s->piece;
	uint32_t first, end;

	vgpu_derive_chunk_cols(o, chunk, chunk_bytes, unit, &first, &end);
	if (p->end_unit == unit + 1 && p->end_col > first)
		first = p->end_col;
	if (first >= end)
		return false;
	p->first_unit = unit;
	p->end_unit = unit + 1;
	p->first_col = first;
	p->end_col = end - first < s->cols ? end : first + s->cols;
	return true;
}

/* What comes after @s->piece; false: the chunk is made. */
static bool source_next(struct vgpu_source *s, const struct vgpu_object *o, uint32_t chunk,
			uint32_t chunk_bytes)
{
	struct vgpu_derive_range *p = &s->piece;
	uint64_t unit = p->end_unit;

	if (s->cols && p->end_col && source_next_cols(s, o, chunk, chunk_bytes, unit - 1))
		return true;
	if (unit == s->end_unit)
		return false;
	if (s->cols)
		return source_next_cols(s, o, chunk, chunk_bytes, unit);
	p->first_unit = unit;
	p->end_unit = unit + s->units < s->end_unit ? unit + s->units : s->end_unit;
	p->first_col = 0;
	p->end_col = o->transform.cols;
	return true;
}

static void source_ask_run(struct vgpu_source *s, const struct vgpu_object *o,
			   struct vgpu_io_req *req)
{
	source_ask(s, o, 0, s->piece.offset + s->run * s->piece.stride, s->piece.bytes, req);
}

static int source_ask_piece(struct vgpu_source *s, const struct vgpu_object *o,
			    struct vgpu_io_req *req)
{
	int rc = vgpu_derive_range(o, &s->piece);

	s->run = 0;
	if (!rc)
		source_ask_run(s, o, req);
	return rc;
}

int vgpu_source_open(struct vgpu_source *s, struct vgpu_beside *beside,
		     const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
		     struct vgpu_io_req *req)
{
	uint64_t first;

	*s = (struct vgpu_source){ 0 };
	vgpu_derive_chunk_units(o, chunk, chunk_bytes, &first, &s->end_unit);
	source_plan(s, o, s->end_unit - first, chunk_bytes);
	s->memory = vgpu_beside_alloc(beside, source_align(o), s->bytes);
	if (!s->memory)
		return -ENOMEM;
	s->piece.end_unit = first;
	source_next(s, o, chunk, chunk_bytes);
	return source_ask_piece(s, o, req);
}

/* A run of several goes behind those before it; true: there is another one, asked for. */
static bool source_take_run(struct vgpu_source *s, const struct vgpu_object *o,
			    struct vgpu_io_req *req)
{
	uint64_t bytes = s->piece.bytes;

	if (!s->cols)
		return false;
	memcpy(s->memory + s->run * bytes, s->memory + s->run_at + s->skip[0], bytes);
	if (++s->run == s->piece.runs)
		return false;
	source_ask_run(s, o, req);
	return true;
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
	if (!s->part && source_take_run(s, o, req))
		return 0;
	if (p->scales_bytes && !s->part) {
		source_ask(s, o, 1, p->scales_offset, p->scales_bytes, req);
		return 0;
	}
	rc = vgpu_derive_units(o, chunk, chunk_bytes, p, s->memory + (s->cols ? 0 : s->skip[0]),
			       p->scales_bytes ? s->memory + s->scales_at + s->skip[1] : NULL,
			       dst, pool, &scratch);
	vgpu_beside_note(beside, scratch);
	if (rc)
		return rc;
	*out_more = source_next(s, o, chunk, chunk_bytes);
	return *out_more ? source_ask_piece(s, o, req) : 0;
}

void vgpu_source_close(struct vgpu_source *s, struct vgpu_beside *beside)
{
	vgpu_beside_free(beside, s->memory, s->bytes);
	s->memory = NULL;
}

// SPDX-License-Identifier: MIT
#include "derive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bo_check.h"
#include "core/format.h"
#include "kernels/kernels.h"
#include "kernels/pack/blocks.h"
#include "kernels/pack/half.h"
#include "kernels/pool.h"

/* Where a unit of the stack comes from. */
struct unit_rows {
	uint64_t row;		/* first source row, counted over the stack */
	uint32_t rows;
};

static struct unit_rows unit_rows(const struct vgpu_object *o, uint64_t unit)
{
	uint64_t per_matrix = o->matrix_bytes / o->unit_bytes;
	uint32_t first = (uint32_t)(unit % per_matrix) * o->unit_rows;
	uint32_t left = o->transform.rows - first;

	return (struct unit_rows){
		.row = unit / per_matrix * o->transform.rows + first,
		.rows = left < o->unit_rows ? left : o->unit_rows,
	};
}

/* Row of scales, counted over the stack, that is for a source row, counted so, too. */
static uint64_t scale_row(const struct vgpu_object *o, const struct vb_scales *s, uint64_t row)
{
	uint32_t rows = o->transform.rows;

	return row / rows * s->rows + row % rows / s->row_values;
}

/* Bytes of a source row; 0: a format that is not known. */
static uint64_t row_bytes(const struct vgpu_object *o)
{
	struct vb_unit row;

	return vb_format_unit(o->transform.src_format, o->transform.cols, &row) ? 0 : row.bytes;
}

void vgpu_derive_chunk_units(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
			     uint64_t *first, uint64_t *end)
{
	uint64_t at = (uint64_t)chunk * chunk_bytes, last = at + chunk_bytes;

	if (last > o->bytes)
		last = o->bytes;
	*first = at / o->unit_bytes;
	*end = (last + o->unit_bytes - 1) / o->unit_bytes;
}

void vgpu_derive_unit_bytes(const struct vgpu_object *o, uint64_t *source, uint64_t *scales)
{
	struct vb_scales s = vb_transform_scales(&o->transform);

	*source = o->unit_rows * row_bytes(o);
	/* A unit may begin in the last row that shares a scale. */
	*scales = s.rows ? (1 + (o->unit_rows + s.row_values - 2) / s.row_values) * s.row_bytes : 0;
}

int vgpu_derive_range(const struct vgpu_object *o, struct vgpu_derive_range *range)
{
	struct unit_rows a = unit_rows(o, range->first_unit), b = unit_rows(o, range->end_unit - 1);
	uint64_t bytes = row_bytes(o), rows = b.row + b.rows - a.row, first;
	struct vb_scales s = vb_transform_scales(&o->transform);

	if (!bytes || o->transform.kind != VB_TRANSFORM_PACK)
		return -EINVAL;
	range->offset = o->file_offset + a.row * bytes;
	range->bytes = rows * bytes;
	range->scales_offset = range->scales_bytes = 0;
	if (!s.rows)
		return 0;
	first = scale_row(o, &s, a.row);
	range->scales_offset = o->transform.scales_offset + first * s.row_bytes;
	range->scales_bytes = (scale_row(o, &s, b.row + b.rows - 1) - first + 1) * s.row_bytes;
	return 0;
}

/* Columns decoded at a time: whole blocks of every format, whole tiles of the packed ones. */
#define DECODE_COLS	1024u

/* One parallel for over units of a chunk; @scales are from the row for @first_row on. */
struct derive {
	const struct vgpu_object *o;
	const struct vgpu_kernels *k;
	struct vb_scales s;
	const uint8_t *source, *scales;
	uint8_t *dst;
	uint64_t first_unit, first_row, row_bytes;
	uint64_t chunk_first, chunk_end;	/* bytes of the object */
	uint8_t *scratch;
	size_t scratch_bytes, values_at;
	int error;
};

/* @cols columns of a unit; rows of @src are @ld values apart. */
static int pack_cols(const struct derive *d, void *dst, const void *src, enum vgpu_wformat format,
		     uint32_t ld, uint32_t rows, uint32_t cols)
{
	if (d->o->transform.dst_format == VB_FORMAT_MXFP4_G16)
		return d->k->pack_mxfp4(dst, src, format, ld, rows, cols);
	return d->k->pack_int8(dst, src, format, ld, rows, cols);
}

/* The scale of one value, of any alignment. */
static float load_scale(uint32_t format, const uint8_t *scales, uint32_t at)
{
	uint16_t half;
	float f;

	if (format == VB_FORMAT_F32) {
		memcpy(&f, scales + (size_t)at * 4, 4);
		return f;
	}
	memcpy(&half, scales + (size_t)at * 2, 2);
	return format == VB_FORMAT_F16 ? vgpu_f16_to_f32(half) : vgpu_bf16_to_f32(half);
}

/* FP8: columns first .. first + cols of a row, each times the scale that it shares. */
static void scale_values(const struct derive *d, const uint8_t *scales, uint32_t first,
			 uint32_t cols, float *values)
{
	uint64_t end = (uint64_t)first + cols, shared = d->s.col_values, next;

	for (uint64_t c = first; c < end; c = next) {
		float scale = load_scale(d->o->transform.scale_format, scales,
					 (uint32_t)(c / shared));

		next = (c / shared + 1) * shared;
		next = next < end ? next : end;
		for (uint64_t i = c; i < next; i++)
			values[i - first] *= scale;
	}
}

/* Columns first .. first + cols of each row, as f32, rows behind each other. */
static void decode_cols(const struct derive *d, const uint8_t *src, const struct unit_rows *u,
			uint32_t first, uint32_t cols, float *values)
{
	struct vgpu_panel p = { .format = d->o->transform.src_format, .rows = 1, .k = cols };
	uint64_t scales_from = d->s.rows ? scale_row(d->o, &d->s, d->first_row) : 0;

	src += vgpu_weight_unit_bytes(p.format, first);
	for (uint32_t row = 0; row < u->rows; row++, values += cols) {
		const uint8_t *scales = d->s.rows ? d->scales + d->s.row_bytes *
			(scale_row(d->o, &d->s, u->row + row) - scales_from) : NULL;

		p.data = src + row * d->row_bytes;
		p.scales = scales ? scales + first / VGPU_BLOCK : NULL;
		d->k->weight_decode(&p, values, cols);
		if (d->o->transform.scale_format)
			scale_values(d, scales, first, cols, values);
	}
}

/*
 * Blocks of MXFP4 come out as they were: packing scales by the power of two that the
 * largest value asks for.  All others are rounded a second time, now to the packed format.
 *
 * In pieces of whole tiles, whose values stay in a cache however long the rows are.
 */
static int pack_decoded(const struct derive *d, uint8_t *dst, const uint8_t *src,
			const struct unit_rows *u, float *values)
{
	const struct vb_transform *t = &d->o->transform;
	int rc = 0;

	for (uint32_t first = 0, cols; first < t->cols && !rc; first += cols) {
		cols = t->cols - first < DECODE_COLS ? t->cols - first : DECODE_COLS;
		decode_cols(d, src, u, first, cols, values);
		rc = pack_cols(d, dst + vgpu_weight_unit_bytes(t->dst_format, first), values,
			       VGPU_W_F32, cols, u->rows, cols);
	}
	return rc;
}

/* Whole numbers with an F16 scale are INT8 already: nothing is rounded. */
static bool is_int8_already(const struct vb_transform *t)
{
	const struct vgpu_block_type *type = vgpu_block_type(t->src_format);

	return type && type->codes && t->dst_format == VB_FORMAT_INT8_G16;
}

static bool is_decoded(const struct vb_transform *t)
{
	return t->src_format > VB_FORMAT_BF16 && !is_int8_already(t);
}

static int pack_source(const struct derive *d, uint8_t *dst, const uint8_t *src,
		       const struct unit_rows *u, float *values)
{
	const struct vb_transform *t = &d->o->transform;

	if (is_decoded(t))
		return pack_decoded(d, dst, src, u, values);
	if (is_int8_already(t))
		return vgpu_blocks_to_int8(vgpu_block_type(t->src_format), dst, src, u->rows, t->cols);
	return pack_cols(d, dst, src, t->src_format, t->cols, u->rows, t->cols);
}

static void derive_unit(void *ctx, size_t item)
{
	struct derive *d = ctx;
	uint64_t unit = d->first_unit + item, at = unit * d->o->unit_bytes;
	struct unit_rows u = unit_rows(d->o, unit);
	uint8_t *scratch = d->scratch + vgpu_pool_self_index() * d->scratch_bytes;
	const uint8_t *src = d->source + (u.row - d->first_row) * d->row_bytes;
	bool whole = at >= d->chunk_first && at + d->o->unit_bytes <= d->chunk_end;
	uint8_t *dst = whole ? d->dst + (at - d->chunk_first) : scratch;
	uint64_t from, to;
	int rc;

	rc = pack_source(d, dst, src, &u, (float *)(scratch + d->values_at));
	if (rc)
		__atomic_store_n(&d->error, rc, __ATOMIC_RELAXED);
	if (whole)
		return;
	from = at > d->chunk_first ? at : d->chunk_first;
	to = at + d->o->unit_bytes < d->chunk_end ? at + d->o->unit_bytes : d->chunk_end;
	memcpy(d->dst + (from - d->chunk_first), scratch + (from - at), to - from);
}

static size_t align64(size_t x)
{
	return (x + 63) & ~(size_t)63;
}

/* For each thread: a unit that the chunk has a part of, and what decoding makes. */
static void derive_size_scratch(struct derive *d)
{
	d->values_at = align64(d->o->unit_bytes);
	d->scratch_bytes = d->values_at;
	if (is_decoded(&d->o->transform))
		d->scratch_bytes += d->o->unit_rows * DECODE_COLS * sizeof(float);
}

int vgpu_derive_units(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
		      const struct vgpu_derive_range *range, const uint8_t *source,
		      const uint8_t *scales, uint8_t *dst, struct vgpu_pool *pool,
		      uint64_t *out_scratch)
{
	struct derive d = {
		.o = o, .k = vgpu_kernels_best(), .source = source,
		.scales = scales, .dst = dst,
		.first_unit = range->first_unit,
		.first_row = unit_rows(o, range->first_unit).row,
		.row_bytes = row_bytes(o), .s = vb_transform_scales(&o->transform),
		.chunk_first = (uint64_t)chunk * chunk_bytes,
	};
	size_t units = range->end_unit - range->first_unit;

	d.chunk_end = d.chunk_first + chunk_bytes;
	if (d.chunk_end > o->bytes)
		d.chunk_end = o->bytes;
	derive_size_scratch(&d);
	*out_scratch = (pool ? vgpu_pool_threads(pool) : 1) * d.scratch_bytes;
	d.scratch = aligned_alloc(64, *out_scratch);
	if (!d.scratch)
		return -ENOMEM;
	if (pool) {
		vgpu_pool_run(pool, derive_unit, &d, units);
	} else {
		for (size_t i = 0; i < units; i++)
			derive_unit(&d, i);
	}
	free(d.scratch);
	return d.error;
}

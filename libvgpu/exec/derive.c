// SPDX-License-Identifier: MIT
#include "derive.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/bo_check.h"
#include "core/format.h"
#include "kernels/kernels.h"
#include "kernels/pack/blocks.h"
#include "kernels/pack/g16_type.h"
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
	return vgpu_derive_cols_bytes(o, o->transform.cols);
}

uint64_t vgpu_derive_cols_bytes(const struct vgpu_object *o, uint32_t cols)
{
	struct vb_unit row;

	return vb_format_unit(o->transform.src_format, cols, &row) ? 0 : row.bytes;
}

/* Where a column begins in a packed unit; @col: of whole tiles, or all. */
static uint64_t packed_at(const struct vgpu_object *o, uint32_t col)
{
	return col < o->transform.cols ? vgpu_weight_unit_bytes(o->transform.dst_format, col) :
					 o->unit_bytes;
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

void vgpu_derive_chunk_cols(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
			    uint64_t unit, uint32_t *first, uint32_t *end)
{
	uint64_t step = vgpu_weight_unit_bytes(o->transform.dst_format, VGPU_DERIVE_COLS);
	uint64_t at = (uint64_t)chunk * chunk_bytes, last = at + chunk_bytes;
	uint64_t unit_at = unit * o->unit_bytes, cols = o->transform.cols;

	last = last < unit_at + o->unit_bytes ? last - unit_at : o->unit_bytes;
	at = at > unit_at ? at - unit_at : 0;
	*first = (uint32_t)(at / step * VGPU_DERIVE_COLS);
	last = (last + step - 1) / step * VGPU_DERIVE_COLS;
	*end = (uint32_t)(last < cols ? last : cols);
}

uint64_t vgpu_derive_cols_most(const struct vgpu_object *o, uint64_t chunk_bytes)
{
	uint64_t step = vgpu_weight_unit_bytes(o->transform.dst_format, VGPU_DERIVE_COLS);

	return chunk_bytes / step + 2;
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
	range->offset = o->file_offset + a.row * bytes +
			vgpu_derive_cols_bytes(o, range->first_col);
	range->runs = 1;
	range->bytes = range->stride = rows * bytes;
	if (range->end_col - range->first_col < o->transform.cols) {
		range->runs = (uint32_t)rows;
		range->bytes = vgpu_derive_cols_bytes(o, range->end_col - range->first_col);
		range->stride = bytes;
	}
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

/* Columns of a strip, where a range of them is shared between threads. */
#define STRIP_COLS	4096u

/*
 * One parallel for over strips of units: a strip is all columns, or some of a range of them.
 * @row_bytes: of the range; @scales: from the row for @first_row on
 */
struct derive {
	const struct vgpu_object *o;
	const struct vgpu_kernels *k;
	struct vb_scales s;
	const uint8_t *source, *scales;
	uint8_t *dst;
	uint64_t first_unit, first_row, row_bytes;
	uint32_t first_col, end_col, strip_cols, strips;
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

	/* E8M0: a power of two; 255 is no number. */
	if (format == VB_FORMAT_U8)
		return scales[at] == 255 ? NAN : ldexpf(1, scales[at] - 127);
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

/* One strip: rows @u of columns first .. first + cols. */
struct strip {
	struct unit_rows u;
	uint32_t first, cols;
	const uint8_t *src;
};

/* Columns first .. first + cols of each row, as f32, rows behind each other. */
static void decode_cols(const struct derive *d, const struct strip *s, uint32_t first,
			uint32_t cols, float *values)
{
	const uint8_t *src = s->src;
	struct vgpu_panel p = { .format = d->o->transform.src_format, .rows = 1, .k = cols };
	uint64_t scales_from = d->s.rows ? scale_row(d->o, &d->s, d->first_row) : 0;

	src += vgpu_weight_unit_bytes(p.format, first - s->first);
	for (uint32_t row = 0; row < s->u.rows; row++, values += cols) {
		const uint8_t *scales = d->s.rows ? d->scales + d->s.row_bytes *
			(scale_row(d->o, &d->s, s->u.row + row) - scales_from) : NULL;

		p.data = src + row * d->row_bytes;
		p.scales = scales ? scales + first / VGPU_BLOCK : NULL;
		d->k->weight_decode(&p, values, cols);
		if (d->o->transform.scale_format)
			scale_values(d, scales, first, cols, values);
	}
}

/*
 * Values are rounded a second time, now to the packed format.
 *
 * In pieces of whole tiles, whose values stay in a cache however long the rows are.
 */
static int pack_decoded(const struct derive *d, uint8_t *dst, const struct strip *s,
			float *values)
{
	uint32_t format = d->o->transform.dst_format, at = 0, cols;
	int rc = 0;

	for (; at < s->cols && !rc; at += cols) {
		cols = s->cols - at < DECODE_COLS ? s->cols - at : DECODE_COLS;
		decode_cols(d, s, s->first + at, cols, values);
		rc = pack_cols(d, dst + vgpu_weight_unit_bytes(format, at), values, VGPU_W_F32,
			       cols, s->u.rows, cols);
	}
	return rc;
}

/* Whole numbers with an F16 scale are INT8 already: nothing is rounded. */
static bool is_int8_already(const struct vb_transform *t)
{
	const struct vgpu_block_type *type = vgpu_block_type(t->src_format);

	return type && type->codes && t->dst_format == VB_FORMAT_INT8_G16;
}

/* Codes and scales are moved: from blocks to the packed format of their name. */
static bool is_regrouped(const struct vb_transform *t)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(t->dst_format);

	return type && type->source == t->src_format;
}

/* As above, to MXFP4; scales that lie apart are E8M0. */
static bool is_mxfp4_already(const struct vb_transform *t)
{
	return t->dst_format == VB_FORMAT_MXFP4_G16 && !t->scale_format &&
	       (t->src_format == VB_FORMAT_MXFP4 || t->src_format == VB_FORMAT_MXFP4_SPLIT);
}

/* Numbers that are copied lie row by row, all columns of a range together. */
static bool is_copied(const struct vb_transform *t)
{
	return is_int8_already(t) || is_mxfp4_already(t) || is_regrouped(t);
}

static bool is_decoded(const struct vb_transform *t)
{
	return t->src_format > VB_FORMAT_BF16 && !is_copied(t);
}

static int pack_mxfp4_rows(const struct derive *d, uint8_t *dst, const struct strip *s)
{
	struct vgpu_mxfp4_rows rows = {
		.blocks = s->src, .row_bytes = d->row_bytes, .rows = s->u.rows, .k = s->cols,
	};

	if (d->s.rows) {
		rows.scale_row_bytes = d->s.row_bytes;
		rows.scales = d->scales + d->s.row_bytes *
			(scale_row(d->o, &d->s, s->u.row) - scale_row(d->o, &d->s, d->first_row)) +
			s->first / VGPU_BLOCK;
	}
	return d->k->pack_mxfp4_rows(dst, &rows);
}

static int pack_strip(const struct derive *d, uint8_t *dst, const struct strip *s, float *values)
{
	const struct vb_transform *t = &d->o->transform;

	if (is_decoded(t))
		return pack_decoded(d, dst, s, values);
	if (is_mxfp4_already(t))
		return pack_mxfp4_rows(d, dst, s);
	if (is_regrouped(t))
		return d->k->pack_blocks(dst, t->dst_format, s->src, s->u.rows, s->cols);
	if (is_int8_already(t))
		return d->k->pack_codes(dst, s->src, t->src_format, s->u.rows, s->cols);
	return pack_cols(d, dst, s->src, t->src_format, d->end_col - d->first_col, s->u.rows,
			 s->cols);
}

static struct strip strip_of(const struct derive *d, uint64_t unit, uint32_t index)
{
	struct strip s = { .u = unit_rows(d->o, unit) };
	uint32_t at = index * d->strip_cols, left = d->end_col - d->first_col - at;

	s.first = d->first_col + at;
	s.cols = left < d->strip_cols ? left : d->strip_cols;
	s.src = d->source + (s.u.row - d->first_row) * d->row_bytes +
		vgpu_weight_unit_bytes(d->o->transform.src_format, at);
	return s;
}

static void derive_strip(void *ctx, size_t item)
{
	struct derive *d = ctx;
	uint64_t unit = d->first_unit + item / d->strips;
	struct strip s = strip_of(d, unit, (uint32_t)(item % d->strips));
	uint64_t at = unit * d->o->unit_bytes + packed_at(d->o, s.first);
	uint64_t end = unit * d->o->unit_bytes + packed_at(d->o, s.first + s.cols), from;
	uint8_t *scratch = d->scratch + vgpu_pool_self_index() * d->scratch_bytes;
	bool whole = at >= d->chunk_first && end <= d->chunk_end;
	uint8_t *dst = whole ? d->dst + (at - d->chunk_first) : scratch;
	int rc;

	rc = pack_strip(d, dst, &s, (float *)(scratch + d->values_at));
	if (rc)
		__atomic_store_n(&d->error, rc, __ATOMIC_RELAXED);
	from = at > d->chunk_first ? at : d->chunk_first;
	end = end < d->chunk_end ? end : d->chunk_end;
	if (!whole && from < end)
		memcpy(d->dst + (from - d->chunk_first), scratch + (from - at), end - from);
}

static size_t align64(size_t x)
{
	return (x + 63) & ~(size_t)63;
}

static void derive_cut(struct derive *d)
{
	uint32_t cols = d->end_col - d->first_col;

	d->strip_cols = cols < d->o->transform.cols && !is_copied(&d->o->transform) ? STRIP_COLS :
										      cols;
	d->strips = (cols + d->strip_cols - 1) / d->strip_cols;
}

/* For each thread: a strip that the chunk has a part of, and what decoding makes. */
static void derive_size_scratch(struct derive *d)
{
	d->values_at = align64(vgpu_weight_unit_bytes(d->o->transform.dst_format, d->strip_cols));
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
		.first_col = range->first_col, .end_col = range->end_col,
		.row_bytes = vgpu_derive_cols_bytes(o, range->end_col - range->first_col),
		.s = vb_transform_scales(&o->transform),
		.chunk_first = (uint64_t)chunk * chunk_bytes,
	};
	size_t units = range->end_unit - range->first_unit;

	d.chunk_end = d.chunk_first + chunk_bytes;
	if (d.chunk_end > o->bytes)
		d.chunk_end = o->bytes;
	derive_cut(&d);
	derive_size_scratch(&d);
	*out_scratch = (pool ? vgpu_pool_threads(pool) : 1) * d.scratch_bytes;
	d.scratch = aligned_alloc(64, *out_scratch);
	if (!d.scratch)
		return -ENOMEM;
	if (pool) {
		vgpu_pool_run(pool, derive_strip, &d, units * d.strips);
	} else {
		for (size_t i = 0; i < units * d.strips; i++)
			derive_strip(&d, i);
	}
	free(d.scratch);
	return d.error;
}

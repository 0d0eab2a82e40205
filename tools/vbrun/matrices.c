// SPDX-License-Identifier: MIT
#include "matrices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fnv.h"
#include "common/intermediates.h"
#include "random.h"

/* Seed of the activations: any, but the same for every budget. */
#define X_SEED 20260101u
/* A product and its digest take 536 bytes of the 1 MiB that a command buffer holds. */
#define SLICES_PER_BUFFER 1024u

/**
 * struct matrix_slice - rows of one matrix
 * @w: what they are of
 * @expert: which matrix of a stack
 * @first: first row
 * @rows: how many
 */
struct matrix_slice {
	const struct weight *w;
	uint32_t expert, first, rows;
};

static uint64_t scales_bytes(const struct weight *w, uint32_t rows)
{
	return w->scales_bytes ? (uint64_t)rows * (w->k / 32) : 0;
}

static uint64_t slice_bytes(const struct matrix_slice *s)
{
	return operands_bytes(s->w, s->rows) + scales_bytes(s->w, s->rows);
}

static uint64_t slice_offset(const struct matrix_slice *s)
{
	return operands_at(s->w, s->expert, s->first);
}

static uint64_t slice_scales_offset(const struct matrix_slice *s)
{
	return s->w->scales_offset + ((uint64_t)s->expert * s->w->n + s->first) * (s->w->k / 32);
}

static int add_slice(struct matrices *ms, const struct matrix_slice *s)
{
	uint32_t n = ms->slice_count;
	struct matrix_slice *grown;

	if (!(n & (n - 1))) {
		grown = reallocarray(ms->slices, n ? 2 * (size_t)n : 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		ms->slices = grown;
	}
	ms->slices[ms->slice_count++] = *s;
	ms->bytes += slice_bytes(s);
	return 0;
}

/**
 * struct cut - how a checkpoint is cut into products
 * @share: part of the weights to take, evenly over the file; 1: all
 * @bytes_max: and never more bytes
 * @seen: bytes of all slices so far, taken or not
 */
struct cut {
	double share;
	uint64_t bytes_max, seen;
};

/* A sample takes the slice that brings it nearest to its share of what it has seen. */
static bool takes(const struct matrices *ms, struct cut *cut, const struct matrix_slice *s)
{
	uint64_t bytes = slice_bytes(s);

	cut->seen += bytes;
	if (cut->share >= 1)
		return true;
	return ms->bytes + bytes <= cut->bytes_max &&
	       (double)ms->bytes + (double)bytes / 2 <= cut->share * (double)cut->seen;
}

/* One matrix, in slices of as many rows as a product takes. */
static int cut_matrix(struct matrices *ms, const struct weight *w, uint32_t expert,
		      struct cut *cut)
{
	uint32_t rows_max = intermediates_rows(w, ms->m);
	int rc;

	for (uint64_t first = 0; first < w->n; first += rows_max) {
		struct matrix_slice s = { w, expert, (uint32_t)first, w->n - (uint32_t)first };

		if (s.rows > rows_max)
			s.rows = rows_max;
		if (!takes(ms, cut, &s))
			continue;
		rc = add_slice(ms, &s);
		if (rc)
			return rc;
	}
	return 0;
}

static int cut_all(struct matrices *ms, const struct weights *w, uint64_t bytes_max)
{
	struct cut cut = {
		.share = bytes_max && bytes_max < w->used_bytes ?
			 (double)bytes_max / (double)w->used_bytes : 1,
		.bytes_max = bytes_max,
	};
	int rc = 0;

	for (size_t i = 0; i < w->count && !rc; i++) {
		const struct weight *one = &w->list[i];
		uint32_t experts = one->experts ? one->experts : 1;

		for (uint32_t e = 0; e < experts && !rc; e++)
			rc = cut_matrix(ms, one, e, &cut);
	}
	if (rc)
		return rc;
	return ms->slice_count ? 0 : -ENODATA;
}

static int fill_x(struct matrices *ms, uint32_t k_max)
{
	float *row = malloc(k_max * sizeof(*row));
	struct random r = { X_SEED };
	int rc = row ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < ms->m && !rc; i++) {
		for (uint32_t j = 0; j < k_max; j++)
			row[j] = (float)random_gaussian(&r);
		rc = vgpu_bo_write(ms->x, (uint64_t)i * k_max * sizeof(*row), row,
				   k_max * sizeof(*row));
	}
	free(row);
	return rc;
}

static int make_arrays(struct matrices *ms)
{
	uint32_t k_max = 0, n_max = 0;
	int rc;

	for (uint32_t i = 0; i < ms->slice_count; i++) {
		if (ms->slices[i].w->k > k_max)
			k_max = ms->slices[i].w->k;
		if (ms->slices[i].rows > n_max)
			n_max = ms->slices[i].rows;
	}
	rc = vgpu_bo_create(ms->v, (uint64_t)ms->m * k_max * sizeof(float), VGPU_LIFE_VOLATILE,
			    &ms->x);
	if (!rc)
		rc = vgpu_bo_create(ms->v, (uint64_t)ms->m * n_max * sizeof(float),
				    VGPU_LIFE_VOLATILE, &ms->y);
	if (!rc)
		rc = vgpu_bo_create(ms->v, (uint64_t)ms->slice_count * INTERMEDIATES_DIGEST_COLS *
				    sizeof(float), VGPU_LIFE_VOLATILE, &ms->digest);
	return rc ? rc : fill_x(ms, k_max);
}

static int record_slice(struct matrices *ms, struct vgpu_cmdbuf *cb, uint32_t index)
{
	const struct matrix_slice *s = &ms->slices[index];
	uint32_t cols = s->rows < INTERMEDIATES_DIGEST_COLS ? s->rows : INTERMEDIATES_DIGEST_COLS;
	struct vgpu_matmul c = {
		.mode = ms->mode,
		.x = vgpu_matrix(ms->x, 0, VGPU_FORMAT_F32, ms->m, s->w->k),
		.w = vgpu_matrix(operands_bo(&ms->ops, s->w), slice_offset(s), s->w->used, s->rows,
				 s->w->k),
		.y = vgpu_matrix(ms->y, 0, VGPU_FORMAT_F32, ms->m, s->rows),
	};
	int rc;

	if (s->w->scales_bytes)
		c.scales = vgpu_matrix(ms->ops.files[s->w->scales_file], slice_scales_offset(s),
				       VGPU_FORMAT_U8, s->rows, s->w->k / 32);
	rc = vgpu_cmd_matmul(cb, &c);
	if (rc)
		return rc;
	return vgpu_cmd_copy(cb, vgpu_matrix(ms->y, 0, VGPU_FORMAT_F32, 1, cols),
			     vgpu_matrix(ms->digest,
					 (uint64_t)index * INTERMEDIATES_DIGEST_COLS * sizeof(float),
					 VGPU_FORMAT_F32, 1, cols));
}

static int add_buffer(struct matrices *ms)
{
	struct vgpu_cmdbuf **grown = reallocarray(ms->cbs, ms->cb_count + 1, sizeof(*grown));
	int rc;

	if (!grown)
		return -ENOMEM;
	ms->cbs = grown;
	rc = vgpu_cmdbuf_create(ms->v, &grown[ms->cb_count]);
	if (!rc)
		ms->cb_count++;
	return rc;
}

static int record(struct matrices *ms)
{
	int rc = 0;

	for (uint32_t i = 0; i < ms->slice_count && !rc; i++) {
		if (i % SLICES_PER_BUFFER == 0)
			rc = add_buffer(ms);
		if (!rc)
			rc = record_slice(ms, ms->cbs[ms->cb_count - 1], i);
	}
	return rc;
}

/* The end of the ranges declared last, in chunks: of weights and of scales. */
struct declared {
	uint64_t chunk_bytes, panel_bytes;
	uint64_t chunk[2];
	const struct vgpu_bo *bo[2];
};

/* A chunk that the range before ended in is in use already; it is not used again. */
static void add_use(struct matrices *ms, struct declared *d, uint32_t part, struct vgpu_bo *bo,
		    uint64_t offset, uint64_t bytes)
{
	uint64_t end = offset + bytes, first = offset / d->chunk_bytes;

	if (d->bo[part] == bo && d->chunk[part] == first)
		offset = (first + 1) * d->chunk_bytes;
	d->bo[part] = bo;
	d->chunk[part] = (end - 1) / d->chunk_bytes;
	if (offset < end)
		ms->uses[ms->use_count++] = (struct vgpu_use){ bo, offset, end - offset };
}

static uint32_t panel_rows(const struct declared *d, const struct matrix_slice *s)
{
	uint64_t rows = d->panel_bytes / s->w->unit_bytes;

	if (rows > 16)
		rows -= rows % 16;
	return rows < s->rows ? (rows ? (uint32_t)rows : 1) : s->rows;
}

/* Weights and their scales, which only rows have, are used in turns, panel by panel. */
static void declare_slice(struct matrices *ms, struct declared *d, const struct matrix_slice *s)
{
	struct vgpu_bo *bo = operands_bo(&ms->ops, s->w);
	uint32_t step = s->w->scales_bytes ? panel_rows(d, s) : s->rows, rows;

	for (uint32_t first = 0; first < s->rows; first += rows) {
		rows = s->rows - first < step ? s->rows - first : step;
		add_use(ms, d, 0, bo, slice_offset(s) + operands_bytes(s->w, first),
			operands_bytes(s->w, rows));
		if (s->w->scales_bytes)
			add_use(ms, d, 1, ms->ops.files[s->w->scales_file],
				slice_scales_offset(s) + scales_bytes(s->w, first),
				scales_bytes(s->w, rows));
	}
}

static int list_uses(struct matrices *ms)
{
	struct vgpu_device_info info = { .size = sizeof(info) };
	struct declared d = { 0 };
	size_t room = 0;
	int rc = vgpu_device_info(ms->v, &info);

	if (rc)
		return rc;
	d.chunk_bytes = info.chunk_bytes;
	d.panel_bytes = info.panel_bytes;
	for (uint32_t i = 0; i < ms->slice_count; i++)
		room += ms->slices[i].w->scales_bytes ?
			2 * ((size_t)ms->slices[i].rows / panel_rows(&d, &ms->slices[i]) + 1) : 1;
	ms->uses = calloc(room, sizeof(*ms->uses));
	if (!ms->uses)
		return -ENOMEM;
	for (uint32_t i = 0; i < ms->slice_count; i++)
		declare_slice(ms, &d, &ms->slices[i]);
	return 0;
}

int matrices_open(struct matrices *out, const struct vgpu_checkpoint *ck, const struct weights *w,
		  uint64_t bytes_max)
{
	int rc;

	out->ck = ck;
	rc = cut_all(out, w, bytes_max);
	if (!rc)
		rc = operands_open(&out->ops, out->v, ck, w);
	if (!rc)
		rc = make_arrays(out);
	if (!rc)
		rc = list_uses(out);
	if (!rc)
		rc = vgpu_queue_create(out->v, 0, &out->q);
	return rc ? rc : record(out);
}

void matrices_close(struct matrices *ms)
{
	vgpu_queue_destroy(ms->q);
	for (uint32_t i = 0; i < ms->cb_count; i++)
		vgpu_cmdbuf_destroy(ms->cbs[i]);
	operands_close(&ms->ops);
	vgpu_bo_destroy(ms->x);
	vgpu_bo_destroy(ms->y);
	vgpu_bo_destroy(ms->digest);
	free(ms->cbs);
	free(ms->uses);
	free(ms->slices);
	memset(ms, 0, sizeof(*ms));
}

int matrices_declare(struct matrices *ms)
{
	return vgpu_schedule(ms->v, ms->uses, ms->use_count, true);
}

int matrices_pass(struct matrices *ms, struct progress *progress, uint64_t done_bytes)
{
	int rc = 0;

	for (uint32_t i = 0; i < ms->cb_count && !rc; i++)
		rc = device_run(ms->v, ms->q, ms->cbs[i], progress, done_bytes);
	return rc;
}

int matrices_digest(struct matrices *ms, uint64_t *out)
{
	uint64_t bytes = vgpu_bo_bytes(ms->digest);
	uint8_t *data = malloc(bytes);
	int rc = data ? vgpu_bo_read(ms->digest, 0, data, bytes) : -ENOMEM;

	*out = rc ? 0 : fnv64(FNV64_START, data, bytes);
	free(data);
	return rc;
}

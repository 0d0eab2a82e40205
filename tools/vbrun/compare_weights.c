// SPDX-License-Identifier: MIT
#include "compare_weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/weight_scales.h"

/* Source bytes that are compared of each type. */
#define SAMPLE_BYTES ((uint64_t)2 << 20)
#define CHUNK_BYTES_MIN (64u << 10)

/* Columns at a time: whole blocks of every format, whole tiles of the packed ones. */
#define STRIP_COLS 8192u

/**
 * struct sample - columns of a group of rows, from the file and from the packed object
 * @w: of what
 * @fd: file
 * @bo: packed
 * @row_bytes: in the file
 * @source: a row as the file has it
 * @packed: what one unit has of them, 64-byte aligned
 * @was: what the rows are
 * @is: what the unit holds
 * @scales: of one row, when there are any
 */
struct sample {
	const struct weight *w;
	int fd;
	struct vgpu_bo *bo;
	uint64_t row_bytes;
	uint8_t *source, *packed;
	float *was, *is, *scales;
};

static uint32_t groups_of(const struct weight *w)
{
	return (w->n + w->unit_rows - 1) / w->unit_rows;
}

static uint32_t strip_cols(const struct weight *w)
{
	return w->k < STRIP_COLS ? w->k : STRIP_COLS;
}

/* Bytes of so many columns of a row, or of a packed group of rows. */
static uint64_t cols_bytes(enum vgpu_format format, uint32_t cols)
{
	uint64_t bytes;

	return cols && !vgpu_matrix_bytes(format, 1, cols, &bytes) ? bytes : 0;
}

static int read_file(const struct sample *s, uint64_t offset, void *to, uint64_t bytes)
{
	uint64_t done = 0;

	while (done < bytes) {
		ssize_t n = pread(s->fd, (uint8_t *)to + done, bytes - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ESTALE;
		done += (uint64_t)n;
	}
	return 0;
}

/* Columns from @first on, times the scales of their row: one for each so many columns. */
static int scale_row(const struct sample *s, uint64_t row, uint32_t first, uint32_t cols,
		     float *values)
{
	const struct weight *w = s->w;
	const struct vgpu_pack_scales *p = &w->pack_scales;
	uint32_t high = p->rows ? p->rows : w->n, wide = p->cols ? p->cols : w->k;
	uint32_t from = first / wide, count = (first + cols - 1) / wide - from + 1;
	uint64_t down = (w->n + high - 1) / high, across = (w->k + wide - 1) / wide;
	uint64_t at = (row / w->n * down + row % w->n / high) * across + from;
	int rc = read_file(s, p->offset + at * cols_bytes(p->format, 1), s->source,
			   cols_bytes(p->format, count));

	if (!rc)
		rc = weight_scales_decode(p, count, s->source, s->scales);
	for (uint32_t i = 0; i < cols && !rc; i++)
		values[i] *= s->scales[(first + i) / wide - from];
	return rc;
}

static int read_row(const struct sample *s, uint64_t row, uint32_t first, uint32_t cols,
		    float *values)
{
	const struct weight *w = s->w;
	int rc = read_file(s, w->offset + row * s->row_bytes + cols_bytes(w->format, first),
			   s->source, cols_bytes(w->format, cols));

	if (!rc)
		rc = vgpu_matrix_decode(w->format, 1, cols, s->source, values);
	return rc || !s->scales ? rc : scale_row(s, row, first, cols, values);
}

static int read_packed(const struct sample *s, uint64_t group, uint32_t rows, uint32_t first,
		       uint32_t cols)
{
	const struct weight *w = s->w;
	uint64_t at = group * w->unit_bytes + cols_bytes(w->used, first);
	int rc = vgpu_bo_read(s->bo, at, s->packed, cols_bytes(w->used, cols));

	return rc ? rc : vgpu_matrix_decode(w->used, rows, cols, s->packed, s->is);
}

static int compare_strip(const struct sample *s, uint64_t group, uint32_t first, uint32_t cols,
			 struct conversion *c)
{
	const struct weight *w = s->w;
	uint32_t row = (uint32_t)(group % groups_of(w)) * w->unit_rows;
	uint32_t rows = w->n - row < w->unit_rows ? w->n - row : w->unit_rows;
	size_t count = (size_t)rows * cols;
	int rc = read_packed(s, group, rows, first, cols);

	for (uint32_t i = 0; i < rows && !rc; i++)
		rc = read_row(s, group / groups_of(w) * w->n + row + i, first, cols,
			      s->was + (size_t)i * cols);
	for (size_t i = 0; i < count && !rc; i++) {
		c->error += ((double)s->is[i] - s->was[i]) * ((double)s->is[i] - s->was[i]);
		c->size += (double)s->was[i] * s->was[i];
	}
	c->compared += rc ? 0 : count;
	return rc;
}

/* Group @group, counted over the stack; the last one of a matrix may be short. */
static int compare_group(const struct sample *s, uint64_t group, struct conversion *c)
{
	uint32_t k = s->w->k, step = strip_cols(s->w);
	int rc = 0;

	for (uint32_t first = 0; first < k && !rc; first += step)
		rc = compare_strip(s, group, first, k - first < step ? k - first : step, c);
	return rc;
}

/* At least one group of every tensor, and its part of the sample. */
static uint64_t groups_wanted(const struct conversion *c, uint64_t groups)
{
	double share = (double)SAMPLE_BYTES / (double)c->source_bytes;
	uint64_t wanted = share < 1 ? (uint64_t)(share * (double)groups) : groups;

	return wanted ? wanted : 1;
}

static int compare_groups(const struct sample *s, struct conversion *c)
{
	uint64_t groups = (uint64_t)groups_of(s->w) * (s->w->experts ? s->w->experts : 1);
	uint64_t wanted = groups_wanted(c, groups);
	int rc = 0;

	for (uint64_t i = 0; i < wanted && !rc; i++)
		rc = compare_group(s, (uint64_t)((double)i * (double)groups / (double)wanted), c);
	return rc;
}

static int sample_open(struct sample *s, struct vgpu *v)
{
	const struct weight *w = s->w;
	uint32_t stack = w->experts ? w->experts : 1, cols = strip_cols(w);
	struct vgpu_pack pack = { w->format, w->used, w->n, w->k, stack, w->pack_scales };

	s->row_bytes = w->bytes / stack / w->n;
	/* No value has more than F64, and no more than one scale. */
	s->source = malloc((size_t)cols * sizeof(double));
	s->scales = w->pack_scales.format ? malloc((size_t)cols * sizeof(*s->scales)) : NULL;
	s->packed = aligned_alloc(64, (cols_bytes(w->used, cols) + 63) & ~63ull);
	s->was = malloc((size_t)w->unit_rows * cols * sizeof(*s->was));
	s->is = malloc((size_t)w->unit_rows * cols * sizeof(*s->is));
	if (!s->source || !s->packed || !s->was || !s->is || (w->pack_scales.format && !s->scales))
		return -ENOMEM;
	return vgpu_bo_create_packed(v, s->fd, w->offset, &pack, &s->bo);
}

static void sample_close(struct sample *s)
{
	vgpu_bo_destroy(s->bo);
	free(s->source);
	free(s->packed);
	free(s->was);
	free(s->is);
	free(s->scales);
}

static int fail(const struct weight *w, int rc)
{
	if (rc == -EDOM)
		return cli_fail("tensor '%s': a value is NaN, infinite, or too large for %s", w->name,
				vgpu_format_name(w->used));
	return cli_fail_vgpu(rc, "tensor '%s'", w->name);
}

static int compare_all(struct vgpu *v, const struct vgpu_checkpoint *ck, const struct weights *w,
		       struct conversions *list)
{
	int rc = 0;

	for (size_t i = 0; i < w->count && !rc; i++) {
		struct sample s = { .w = &w->list[i],
				    .fd = vgpu_checkpoint_file_fd(ck, w->list[i].file) };
		struct conversion *c = conversions_of(list, s.w);

		/* Codes that are moved are not compared: how, tests of packing do. */
		if (!c || s.w->layer.group)
			continue;
		rc = progress_interrupted() ? -EINTR : sample_open(&s, v);
		if (!rc)
			rc = compare_groups(&s, c);
		sample_close(&s);
		if (rc && rc != -EINTR)
			return fail(s.w, rc);
	}
	return rc ? CLI_INTERRUPTED : CLI_OK;
}

/*
 * Groups lie far apart: with small chunks little else is read. But a chunk is made from
 * whole units, so one that is much smaller would be made of the same unit again and again.
 */
static uint64_t chunk_bytes(const struct weights *w, uint64_t host_bytes)
{
	uint64_t bytes = CHUNK_BYTES_MIN, most = vgpu_chunk_bytes(host_bytes);

	for (size_t i = 0; i < w->count; i++)
		while (w->list[i].used != w->list[i].format && bytes < w->list[i].unit_bytes &&
		       bytes < most)
			bytes *= 2;
	return bytes;
}

int compare_weights(const struct device_options *options, const struct vgpu_checkpoint *ck,
		    const struct weights *w, struct conversions *list)
{
	struct device_options device = *options;
	struct vgpu *v;
	int rc;

	if (!list->count)
		return CLI_OK;
	device.trace = NULL;
	device.chunk_bytes = chunk_bytes(w, device.host_bytes);
	device.staging_bytes = 0;
	rc = device_open(&device, &v);
	if (rc)
		return rc;
	rc = compare_all(v, ck, w, list);
	vgpu_close(v);
	return rc;
}

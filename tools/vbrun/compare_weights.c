// SPDX-License-Identifier: MIT
#include "compare_weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Source bytes that are compared of each type. */
#define SAMPLE_BYTES ((uint64_t)2 << 20)
#define CHUNK_BYTES_MIN (64u << 10)

/**
 * struct sample - a group of rows, from the file and from the packed object
 * @w: of what
 * @fd: file
 * @bo: packed
 * @row_bytes: in the file
 * @source: rows as the file has them
 * @packed: one unit, 64-byte aligned
 * @values: what the rows are, then what the unit holds
 * @scales: of one row, when there are any
 */
struct sample {
	const struct weight *w;
	int fd;
	struct vgpu_bo *bo;
	uint64_t row_bytes;
	uint8_t *source, *packed;
	float *values, *scales;
};

static uint32_t groups_of(const struct weight *w)
{
	return (w->n + w->unit_rows - 1) / w->unit_rows;
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

/* A row of the source, times the scales beside it: one for each so many columns. */
static int scale_row(const struct sample *s, uint64_t row, float *values)
{
	const struct weight *w = s->w;
	const struct vgpu_pack_scales *p = &w->pack_scales;
	uint32_t high = p->rows ? p->rows : w->n, wide = p->cols ? p->cols : w->k;
	uint32_t count = (w->k + wide - 1) / wide, bytes = p->format == VGPU_FORMAT_F32 ? 4 : 2;
	uint64_t at = row / w->n * ((w->n + high - 1) / high) + row % w->n / high;
	int rc = read_file(s, p->offset + at * count * bytes, s->source, (uint64_t)count * bytes);

	if (!rc)
		rc = vgpu_matrix_decode(p->format, 1, count, s->source, s->scales);
	for (uint32_t i = 0; i < w->k && !rc; i++)
		values[i] *= s->scales[i / wide];
	return rc;
}

static int read_source(const struct sample *s, uint64_t row, uint32_t rows)
{
	int rc = read_file(s, s->w->offset + row * s->row_bytes, s->source, rows * s->row_bytes);

	if (!rc)
		rc = vgpu_matrix_decode(s->w->format, rows, s->w->k, s->source, s->values);
	for (uint32_t i = 0; i < rows && s->scales && !rc; i++)
		rc = scale_row(s, row + i, s->values + (size_t)i * s->w->k);
	return rc;
}

static int read_packed(const struct sample *s, uint64_t group, uint32_t rows, float *values)
{
	int rc = vgpu_bo_read(s->bo, group * s->w->unit_bytes, s->packed, s->w->unit_bytes);

	return rc ? rc : vgpu_matrix_decode(s->w->used, rows, s->w->k, s->packed, values);
}

/* Group @group, counted over the stack; the last one of a matrix may be short. */
static int compare_group(const struct sample *s, uint64_t group, struct conversion *c)
{
	const struct weight *w = s->w;
	uint32_t first = (uint32_t)(group % groups_of(w)) * w->unit_rows;
	uint32_t rows = w->n - first < w->unit_rows ? w->n - first : w->unit_rows;
	size_t count = (size_t)rows * w->k;
	float *was = s->values, *is = s->values + (size_t)w->unit_rows * w->k;
	int rc = read_source(s, group / groups_of(w) * w->n + first, rows);

	if (!rc)
		rc = read_packed(s, group, rows, is);
	for (size_t i = 0; i < count && !rc; i++) {
		c->error += ((double)is[i] - was[i]) * ((double)is[i] - was[i]);
		c->size += (double)was[i] * was[i];
	}
	c->compared += rc ? 0 : count;
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
	uint32_t stack = w->experts ? w->experts : 1;
	struct vgpu_pack pack = { w->format, w->used, w->n, w->k, stack, w->pack_scales };

	s->row_bytes = w->bytes / stack / w->n;
	/* Of scales a row has no more bytes than four for each of its values. */
	s->source = malloc((w->unit_rows > 4 ? w->unit_rows : 4) * s->row_bytes);
	s->scales = w->pack_scales.format ? malloc(w->k * sizeof(*s->scales)) : NULL;
	s->packed = aligned_alloc(64, (w->unit_bytes + 63) & ~63ull);
	s->values = malloc(2 * (size_t)w->unit_rows * w->k * sizeof(*s->values));
	if (!s->source || !s->packed || !s->values || (w->pack_scales.format && !s->scales))
		return -ENOMEM;
	return vgpu_bo_create_packed(v, s->fd, w->offset, &pack, &s->bo);
}

static void sample_close(struct sample *s)
{
	vgpu_bo_destroy(s->bo);
	free(s->source);
	free(s->packed);
	free(s->values);
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

		if (!c)
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

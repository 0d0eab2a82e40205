// SPDX-License-Identifier: MIT
#include "rates.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cli.h"
#include "common/probe.h"
#include "common/progress.h"
#include "common/size.h"
#include "vgpu.h"

#define PROBE_BYTES ((uint64_t)256 << 20)
/* At most so much of one matrix is multiplied with. */
#define SAMPLE_BYTES ((uint64_t)64 << 20)
#define SAMPLE_SECONDS 0.3
/* Enough for two panels of any weight, at any size of a chunk. */
#define STAGING_CHUNKS 16u

void rates_assume(struct rates *r)
{
	*r = (struct rates){ .storage = 1.5e9, .compute = 5e9, .pack = 1e9 };
}

/**
 * struct sample - some rows of a matrix, ready to be multiplied with
 * @weights: the rows, as a file object or packed
 * @scales: of MXFP4_SPLIT, else NULL
 * @x: activations
 * @y: products
 * @w: matrix they are of
 * @format: of @weights
 * @rows: how many
 * @m: rows of activations
 * @bytes: of the rows as they lie in the file
 */
struct sample {
	struct vgpu *v;
	struct vgpu_queue *q;
	struct vgpu_cmdbuf *cb;
	struct vgpu_bo *weights, *scales, *x, *y;
	const struct weight *w;
	enum vgpu_format format;
	uint32_t rows, m;
	uint64_t bytes;
};

static uint64_t row_bytes(const struct weight *w)
{
	return w->bytes / (w->experts ? w->experts : 1) / w->n;
}

/* Of all, or of those that are, or would be, packed. */
static const struct weight *largest(const struct weights *w, bool to_pack)
{
	const struct weight *best = NULL;

	for (size_t i = 0; i < w->count; i++) {
		const struct weight *one = &w->list[i];

		/* Layers of AWQ and GPTQ are not packed on demand. */
		if (to_pack && one->layer.group)
			continue;
		if (to_pack && one->used == one->format &&
		    weights_used(one->format, WEIGHTS_MXFP4) == one->format)
			continue;
		if (!best || one->bytes > best->bytes)
			best = one;
	}
	return best;
}

static uint64_t operand_bytes(const struct sample *s)
{
	uint64_t bytes;

	return vgpu_matrix_bytes(s->format, s->rows, s->w->k, &bytes) ? 0 : bytes;
}

static int make_weights(struct sample *s, const struct vgpu_checkpoint *ck, bool to_pack)
{
	const struct weight *w = s->w;
	struct vgpu_pack pack = { .source_format = w->format, .rows = s->rows, .cols = w->k };
	int fd = vgpu_checkpoint_file_fd(ck, w->file), rc;

	s->format = w->used;
	/* Only a run packs layers: zeros take as long. */
	if (w->layer.group)
		return vgpu_bo_create(s->v, operand_bytes(s), VGPU_LIFE_VOLATILE, &s->weights);
	if (to_pack && w->used == w->format)
		s->format = weights_used(w->format, WEIGHTS_MXFP4);
	pack.packed_format = s->format;
	if (s->format != w->format)
		return vgpu_bo_create_packed(s->v, fd, w->offset, &pack, &s->weights);
	rc = vgpu_bo_create_file(s->v, fd, w->offset, s->bytes, &s->weights);
	if (!rc && w->scales_bytes)
		rc = vgpu_bo_create_file(s->v, vgpu_checkpoint_file_fd(ck, w->scales_file),
					 w->scales_offset, (uint64_t)s->rows * (w->k / 32),
					 &s->scales);
	return rc;
}

static int record(struct sample *s)
{
	struct vgpu_matmul c = {
		.mode = VGPU_MODE_A16,
		.x = vgpu_matrix(s->x, 0, VGPU_FORMAT_F32, s->m, s->w->k),
		.w = vgpu_matrix(s->weights, 0, s->format, s->rows, s->w->k),
		.y = vgpu_matrix(s->y, 0, VGPU_FORMAT_F32, s->m, s->rows),
	};

	if (s->scales)
		c.scales = vgpu_matrix(s->scales, 0, VGPU_FORMAT_U8, s->rows, s->w->k / 32);
	return vgpu_cmd_matmul(s->cb, &c);
}

static int prepare(struct sample *s, const struct vgpu_checkpoint *ck, bool to_pack)
{
	int rc = make_weights(s, ck, to_pack);

	if (!rc)
		rc = vgpu_bo_create(s->v, (uint64_t)s->m * s->w->k * 4, VGPU_LIFE_VOLATILE, &s->x);
	if (!rc)
		rc = vgpu_bo_create(s->v, (uint64_t)s->m * s->rows * 4, VGPU_LIFE_VOLATILE, &s->y);
	if (!rc)
		rc = vgpu_queue_create(s->v, 0, &s->q);
	if (!rc)
		rc = vgpu_cmdbuf_create(s->v, &s->cb);
	return rc ? rc : record(s);
}

static void drop(struct sample *s)
{
	vgpu_queue_destroy(s->q);
	if (s->cb)
		vgpu_cmdbuf_destroy(s->cb);
	vgpu_bo_destroy(s->weights);
	vgpu_bo_destroy(s->scales);
	vgpu_bo_destroy(s->x);
	vgpu_bo_destroy(s->y);
}

/* The first product brings the weights (and packs them), later ones only multiply. */
static int time_products(struct sample *s, double *compute, double *pack)
{
	uint64_t counters[VGPU_COUNTERS] = { 0 }, used;
	double start = size_now(), seconds = 0;
	struct progress progress;
	uint32_t runs = 0;
	int rc;

	progress_begin(&progress, "measuring arithmetic", s->bytes);
	rc = vgpu_finish(s->q, s->cb);
	progress.total = s->bytes * (1 + (uint64_t)(SAMPLE_SECONDS / (size_now() - start)));
	if (!rc)
		rc = vgpu_stats(s->v, counters, VGPU_COUNTERS);
	if (counters[VGPU_COUNT_DERIVE_NS] && pack)
		*pack = (double)s->bytes * 1e9 / (double)counters[VGPU_COUNT_DERIVE_NS];
	for (start = size_now(); !rc && seconds < SAMPLE_SECONDS; runs++) {
		rc = progress_interrupted() ? -EINTR : vgpu_finish(s->q, s->cb);
		seconds = size_now() - start;
		progress_update(&progress, (runs + 1) * s->bytes);
	}
	progress_end(&progress);
	if (!rc && !vgpu_matrix_bytes(s->format, s->rows, s->w->k, &used) && compute)
		*compute = (double)used * runs / seconds;
	return rc;
}

static int sample(const struct vgpu_checkpoint *ck, const struct weight *w, uint64_t chunk_bytes,
		  uint32_t m, double *compute, double *pack)
{
	struct vgpu_config config = {
		.size = sizeof(config), .chunk_bytes = (uint32_t)chunk_bytes,
		.host_bytes = 4 * SAMPLE_BYTES + (uint64_t)m * w->k * 8,
		.staging_bytes = STAGING_CHUNKS * chunk_bytes,
	};
	struct sample s = { .w = w, .m = m, .rows = w->n };
	int rc;

	if (s.rows * row_bytes(w) > SAMPLE_BYTES)
		s.rows = (uint32_t)(SAMPLE_BYTES / row_bytes(w));
	if ((uint64_t)s.rows * m * sizeof(float) > SAMPLE_BYTES)
		s.rows = (uint32_t)(SAMPLE_BYTES / sizeof(float) / m);
	if (!s.rows)
		s.rows = 1;
	s.bytes = s.rows * row_bytes(w);
	rc = vgpu_open_embedded(&config, &s.v);
	if (rc)
		return rc;
	rc = prepare(&s, ck, pack);
	if (!rc)
		rc = time_products(&s, compute, pack);
	drop(&s);
	vgpu_close(s.v);
	return rc;
}

int rates_measure(const struct vgpu_checkpoint *ck, const struct weights *w, uint64_t chunk_bytes,
		  uint32_t m, struct rates *r)
{
	const struct weight *packed = largest(w, true);
	struct probe probe;
	int rc;

	progress_catch_signals();
	rc = probe_file(vgpu_checkpoint_file_fd(ck, w->list[0].file), (uint32_t)chunk_bytes,
			PROBE_BYTES, &probe);
	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	if (rc && rc != -ENODATA)
		return cli_fail("bandwidth probe: %s", strerror(-rc));
	if (!rc) {
		r->storage = probe.bytes_per_second;
		snprintf(r->reason, sizeof(r->reason), "%s", probe.reason);
	} else {
		snprintf(r->reason, sizeof(r->reason), "assumed: the file is too short to measure");
	}
	rc = sample(ck, largest(w, false), chunk_bytes, m, &r->compute, NULL);
	if (!rc && packed)
		rc = sample(ck, packed, chunk_bytes, m, NULL, &r->pack);
	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	if (rc)
		return cli_fail_vgpu(rc, "measuring products");
	r->measured = true;
	return CLI_OK;
}

// SPDX-License-Identifier: MIT
#include "common/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/progress.h"
#include "vgpu.h"

/**
 * struct probe_rounds - what was measured so far
 * @fd, @chunk_bytes, @bytes: as given
 * @count: rounds in @round
 */
struct probe_rounds {
	int fd;
	uint32_t chunk_bytes;
	uint64_t bytes;
	uint32_t count;
	struct vgpu_probe round[PROBE_ROUNDS_MAX];
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* What a round found for the combination of @like; 0 when it could not measure it. */
static double of_round(const struct vgpu_probe *round,
		       const struct vgpu_probe_row *like)
{
	for (uint32_t i = 0; i < round->count; i++)
		if (!strcmp(round->row[i].engine, like->engine) &&
		    round->row[i].depth == like->depth)
			return round->row[i].bytes_per_second;
	return 0;
}

static double median(const struct probe_rounds *p, const struct vgpu_probe_row *like)
{
	double speed[PROBE_ROUNDS_MAX];

	for (uint32_t i = 0; i < p->count; i++)
		speed[i] = of_round(&p->round[i], like);
	qsort(speed, p->count, sizeof(speed[0]), by_value);
	return speed[p->count / 2];
}

struct probe_rounds *probe_begin(int fd, uint32_t chunk_bytes, uint64_t bytes)
{
	struct probe_rounds *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->fd = fd;
	p->chunk_bytes = chunk_bytes;
	p->bytes = bytes;
	return p;
}

int probe_round(struct probe_rounds *p)
{
	int rc;

	if (p->count == PROBE_ROUNDS_MAX)
		return 0;
	rc = vgpu_probe(p->fd, p->chunk_bytes, p->bytes, &p->round[p->count]);
	if (!rc)
		p->count++;
	return rc;
}

/* Fastest combination by its median; NULL when nothing was measured. */
static const struct vgpu_probe_row *best_row(const struct probe_rounds *p, double *out_speed)
{
	const struct vgpu_probe_row *best = NULL;

	*out_speed = 0;
	for (uint32_t i = 0; p->count && i < p->round[0].count; i++) {
		double speed = median(p, &p->round[0].row[i]);

		if (speed > *out_speed) {
			*out_speed = speed;
			best = &p->round[0].row[i];
		}
	}
	return best;
}

void probe_end(struct probe_rounds *p, struct probe *out)
{
	const struct vgpu_probe_row *row;
	double speed;

	memset(out, 0, sizeof(*out));
	row = p ? best_row(p, &speed) : NULL;
	if (row) {
		out->bytes_per_second = speed;
		out->rounds = p->count;
		snprintf(out->reason, sizeof(out->reason), "%s%s depth %u: %.2f GB/s, median of %u",
			 row->engine, row->direct ? " O_DIRECT" : "", row->depth, speed / 1e9, p->count);
	}
	free(p);
}

int probe_file(int fd, uint32_t chunk_bytes, uint64_t bytes, struct probe *out)
{
	struct probe_rounds *p = probe_begin(fd, chunk_bytes, bytes);
	struct progress progress;
	int rc = p ? 0 : -ENOMEM;

	progress_begin(&progress, "probing storage", PROBE_ROUNDS * bytes);
	for (uint32_t i = 0; i < PROBE_ROUNDS && !rc; i++) {
		rc = progress_interrupted() ? -EINTR : probe_round(p);
		progress_update(&progress, (i + 1) * bytes);
	}
	progress_end(&progress);
	probe_end(p, out);
	return rc;
}

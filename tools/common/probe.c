// SPDX-License-Identifier: MIT
#include "common/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec/io.h"

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* What a round found for the combination of @like; 0 when it could not measure it. */
static double of_round(const struct vgpu_io_probe_result *round,
		       const struct vgpu_io_probe_row *like)
{
	for (uint32_t i = 0; i < round->count; i++)
		if (!strcmp(round->rows[i].engine, like->engine) &&
		    round->rows[i].depth == like->depth)
			return round->rows[i].gbps;
	return 0;
}

static double median(const struct vgpu_io_probe_result *rounds,
		     const struct vgpu_io_probe_row *like)
{
	double gbps[PROBE_ROUNDS];

	for (uint32_t i = 0; i < PROBE_ROUNDS; i++)
		gbps[i] = of_round(&rounds[i], like);
	qsort(gbps, PROBE_ROUNDS, sizeof(gbps[0]), by_value);
	return gbps[PROBE_ROUNDS / 2];
}

int probe_file(int fd, uint32_t chunk_bytes, uint64_t bytes, struct probe *out)
{
	struct vgpu_io_probe_result rounds[PROBE_ROUNDS];
	const struct vgpu_io_probe_row *row;
	uint32_t best = 0;
	double top = 0;
	int rc = 0;

	for (uint32_t i = 0; i < PROBE_ROUNDS && !rc; i++)
		rc = vgpu_io_probe(fd, chunk_bytes, bytes, &rounds[i]);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < rounds[0].count; i++) {
		double gbps = median(rounds, &rounds[0].rows[i]);

		if (gbps > top) {
			top = gbps;
			best = i;
		}
	}
	row = &rounds[0].rows[best];
	out->bytes_per_second = top * 1e9;
	out->engine = row->engine;
	out->direct = row->direct;
	out->depth = row->depth;
	snprintf(out->reason, sizeof(out->reason), "%s", rounds[PROBE_ROUNDS - 1].reason);
	return 0;
}

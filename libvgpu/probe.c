// SPDX-License-Identifier: MIT
/* The public face of the I/O engines' probe. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "exec/io.h"
#include "vgpu.h"

_Static_assert(VGPU_PROBE_ROWS == VGPU_IO_PROBE_MAX, "every row of the engines has a place");

int vgpu_probe(int fd, uint32_t chunk_bytes, uint64_t bytes, struct vgpu_probe *out)
{
	struct vgpu_io_probe_result r;
	int rc = vgpu_io_probe(fd, chunk_bytes, bytes, &r);

	if (rc)
		return vgpu_fail(rc, "chunk_bytes %u, at most %llu bytes: nothing measured: %s",
				 chunk_bytes, (unsigned long long)bytes, strerror(-rc));
	memset(out, 0, sizeof(*out));
	out->count = r.count;
	out->best = r.best;
	snprintf(out->reason, sizeof(out->reason), "%s", r.reason);
	for (uint32_t i = 0; i < r.count; i++) {
		struct vgpu_probe_row *row = &out->row[i];

		snprintf(row->engine, sizeof(row->engine), "%s", r.rows[i].engine);
		row->direct = r.rows[i].direct;
		row->depth = r.rows[i].depth;
		row->bytes_per_second = r.rows[i].gbps * 1e9;
	}
	return 0;
}

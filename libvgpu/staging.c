// SPDX-License-Identifier: MIT
#include "vgpu.h"

#include <errno.h>
#include <linux/vblackwell.h>

#include "core/format.h"
#include "error.h"
#include "staging.h"

/* Values that one scale of VB_FORMAT_MXFP4_SPLIT belongs to. */
#define SPLIT_BLOCK	32u

uint32_t vgpu_chunk_bytes(uint64_t host_bytes)
{
	uint32_t bytes = VB_CHUNK_BYTES_MAX;

	while (bytes > VB_CHUNK_BYTES_MIN && host_bytes / bytes < VGPU_TIER_CHUNKS_MIN)
		bytes /= 2;
	return bytes;
}

uint64_t vgpu_staging_bytes(uint64_t host_bytes, uint32_t chunk_bytes)
{
	chunk_bytes = chunk_bytes ? chunk_bytes : vgpu_chunk_bytes(host_bytes);
	return vgpu_staging_slots(host_bytes / chunk_bytes) * chunk_bytes;
}

int vgpu_panels_bytes(enum vgpu_format format, uint32_t k, uint32_t chunk_bytes, uint64_t *out)
{
	struct vb_unit unit;
	uint64_t panel, chunks;

	if (!vb_format_is_weight(format) || vb_format_unit(format, k, &unit))
		return vgpu_fail(-EINVAL, "a weight of %u columns cannot have format %s (%d)", k,
				 vb_format_name(format), (int)format);
	chunk_bytes = chunk_bytes ? chunk_bytes : VB_CHUNK_BYTES_MAX;
	panel = unit.bytes > chunk_bytes ? unit.bytes : chunk_bytes;
	chunks = vgpu_chunks_touched(2 * panel, chunk_bytes);
	if (format == VGPU_FORMAT_MXFP4_SPLIT)
		chunks += vgpu_chunks_touched(2 * panel / unit.bytes * (k / SPLIT_BLOCK),
					      chunk_bytes);
	*out = chunks * chunk_bytes;
	return 0;
}

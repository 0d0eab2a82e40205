/* SPDX-License-Identifier: MIT */
/* Chunks of derived objects: which source bytes they need, and how they are made. */
#ifndef VGPU_EXEC_DERIVE_H
#define VGPU_EXEC_DERIVE_H

#include "object.h"

struct vgpu_pool;

/**
 * struct vgpu_derive_range - the source of one chunk
 * @offset: first byte in the file
 * @bytes: length
 * @scales_offset, @scales_bytes: MXFP4_SPLIT: of its scales; else 0
 * @first_unit: first packed unit that the chunk touches, counted over the stack
 * @end_unit: one past the last
 */
struct vgpu_derive_range {
	uint64_t offset, bytes;
	uint64_t scales_offset, scales_bytes;
	uint64_t first_unit, end_unit;
};

/**
 * vgpu_derive_range() - what to read
 *
 * Return: 0; -EINVAL a transform that is not known.
 */
int vgpu_derive_range(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
		      struct vgpu_derive_range *out);

/**
 * vgpu_derive_chunk() - make a chunk from its source
 * @source: byte @range->offset of the file and what follows
 * @scales: byte @range->scales_offset, if there are scales; else NULL
 * @dst: chunk_bytes long, overwritten; behind the object's end it is zero
 * @pool: units are packed by all its threads; NULL: by this one
 *
 * Return: 0; -EDOM the source holds NaN or infinity; -ENOMEM.
 */
int vgpu_derive_chunk(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
		      const struct vgpu_derive_range *range, const uint8_t *source,
		      const uint8_t *scales, uint8_t *dst, struct vgpu_pool *pool);

#endif

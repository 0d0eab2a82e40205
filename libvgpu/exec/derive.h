/* SPDX-License-Identifier: MIT */
/* Chunks of derived objects: which source bytes they need, and how they are made. */
#ifndef VGPU_EXEC_DERIVE_H
#define VGPU_EXEC_DERIVE_H

#include "object.h"

struct vgpu_pool;

/**
 * struct vgpu_derive_range - the source of some packed units
 * @first_unit: the first one, counted over the stack
 * @end_unit: one past the last
 * @offset: first byte in the file
 * @bytes: length
 * @scales_offset, @scales_bytes: of scales that lie apart; else 0
 */
struct vgpu_derive_range {
	uint64_t first_unit, end_unit;
	uint64_t offset, bytes;
	uint64_t scales_offset, scales_bytes;
};

/**
 * vgpu_derive_range() - what to read for the units of @range
 * @range: filled
 *
 * Return: 0; -EINVAL a transform that is not known.
 */
int vgpu_derive_range(const struct vgpu_object *o, struct vgpu_derive_range *range);

/* Units that a chunk touches. */
void vgpu_derive_chunk_units(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
			     uint64_t *first, uint64_t *end);

/* Most bytes of source, and of scales that lie apart, that a unit is made from. */
void vgpu_derive_unit_bytes(const struct vgpu_object *o, uint64_t *source, uint64_t *scales);

/**
 * vgpu_derive_units() - make a part of a chunk from its source
 * @range: units that the chunk touches; what of them lies in it is made
 * @source: byte @range->offset of the file and what follows
 * @scales: byte @range->scales_offset, if there are scales; else NULL
 * @dst: the chunk; behind the object's end it is not touched
 * @pool: units are packed by all its threads; NULL: by this one
 * @out_scratch: bytes of memory that this took for a moment
 *
 * Return: 0; -EDOM the source holds NaN or infinity; -ENOMEM.
 */
int vgpu_derive_units(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
		      const struct vgpu_derive_range *range, const uint8_t *source,
		      const uint8_t *scales, uint8_t *dst, struct vgpu_pool *pool,
		      uint64_t *out_scratch);

#endif

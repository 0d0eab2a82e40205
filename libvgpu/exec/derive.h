/* SPDX-License-Identifier: MIT */
/* Chunks of derived objects: which source bytes they need, and how they are made. */
#ifndef VGPU_EXEC_DERIVE_H
#define VGPU_EXEC_DERIVE_H

#include "object.h"

struct vgpu_pool;

/* Columns of a unit can be made apart from others between multiples of these. */
#define VGPU_DERIVE_COLS	256u

/**
 * struct vgpu_derive_range - the source of some packed units, or of some columns of one
 * @first_unit: the first one, counted over the stack
 * @end_unit: one past the last
 * @first_col: 0, or of one unit a multiple of VGPU_DERIVE_COLS
 * @end_col: one past the last: all, or of one unit such a multiple
 * @runs: stretches of the file: one, or one for each row
 * @offset: first byte in the file
 * @bytes: length of a run
 * @stride: from the beginning of a run to that of the next
 * @scales_offset, @scales_bytes: of scales that lie apart, of all columns; else 0
 */
struct vgpu_derive_range {
	uint64_t first_unit, end_unit;
	uint32_t first_col, end_col;
	uint32_t runs;
	uint64_t offset, bytes, stride;
	uint64_t scales_offset, scales_bytes;
};

/**
 * vgpu_derive_range() - what to read for the units and columns of @range
 * @range: filled
 *
 * Return: 0; -EINVAL a transform that is not known.
 */
int vgpu_derive_range(const struct vgpu_object *o, struct vgpu_derive_range *range);

/* Units that a chunk touches. */
void vgpu_derive_chunk_units(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
			     uint64_t *first, uint64_t *end);

/* Columns of one of these that it touches, between multiples of VGPU_DERIVE_COLS. */
void vgpu_derive_chunk_cols(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
			    uint64_t unit, uint32_t *first, uint32_t *end);

/* Most columns that a chunk can have of a unit, in VGPU_DERIVE_COLS. */
uint64_t vgpu_derive_cols_most(const struct vgpu_object *o, uint64_t chunk_bytes);

/* Most bytes of source, and of scales that lie apart, that a unit is made from. */
void vgpu_derive_unit_bytes(const struct vgpu_object *o, uint64_t *source, uint64_t *scales);

/* Bytes of so many columns of a source row: all, or a multiple of VGPU_DERIVE_COLS. */
uint64_t vgpu_derive_cols_bytes(const struct vgpu_object *o, uint32_t cols);

/**
 * vgpu_derive_units() - make a part of a chunk from its source
 * @range: units that the chunk touches; what of them lies in it is made
 * @source: the runs, behind each other
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

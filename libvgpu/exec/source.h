/* SPDX-License-Identifier: MIT */
/*
 * The source of a derived chunk on its way: read piece by piece into memory beside the
 * tier, each piece made into its part of the chunk before the next one is read.  A 2 MiB
 * chunk of MXFP4 is made of 15 MiB of F32.
 *
 * A piece is some units, a stretch of the file.  Where one unit alone is larger (16 rows of
 * 32768 F32 and more) it is some columns of a unit: a stretch of each of its rows, and of
 * those columns only that the chunk has.
 */
#ifndef VGPU_EXEC_SOURCE_H
#define VGPU_EXEC_SOURCE_H

#include "beside.h"
#include "derive.h"
#include "io.h"

/**
 * struct vgpu_source - how far a chunk is made
 * @memory: for a piece; NULL: not open
 * @bytes: of it
 * @run_at: in it: where a run is read to that is moved behind those before it
 * @scales_at: in it, when blocks and scales lie apart, which are read one after the other
 * @units: of the chunk, made in a piece
 * @cols: of a unit, made in a piece; 0: all
 * @end_unit: one past the last of the chunk
 * @piece: what is being read
 * @run: of it
 * @part: what of it: 0 the source, 1 its scales
 * @skip: where each begins in what was read
 */
struct vgpu_source {
	uint8_t *memory;
	uint64_t bytes, run_at, scales_at;
	uint64_t units, end_unit;
	uint32_t cols;
	struct vgpu_derive_range piece;
	uint32_t run, part;
	uint64_t skip[2];
};

/* Bytes of memory that a chunk needs beside; 0: none. */
uint64_t vgpu_source_bytes(const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes);

/**
 * vgpu_source_open() - begin with a chunk
 * @req: to be submitted
 *
 * Return: 0; -EINVAL a transform that is not known; -ENOMEM.
 */
int vgpu_source_open(struct vgpu_source *s, struct vgpu_beside *beside,
		     const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
		     struct vgpu_io_req *req);

/**
 * vgpu_source_read() - a request came back without an error
 * @req: it; when more is to be read, the next one
 * @dst: the chunk
 * @out_more: submit @req again
 *
 * Return: 0; -ESTALE the file is shorter than it was; what vgpu_derive_units() said.
 */
int vgpu_source_read(struct vgpu_source *s, struct vgpu_beside *beside,
		     const struct vgpu_object *o, uint32_t chunk, uint32_t chunk_bytes,
		     struct vgpu_io_req *req, uint8_t *dst, struct vgpu_pool *pool,
		     bool *out_more);

void vgpu_source_close(struct vgpu_source *s, struct vgpu_beside *beside);

#endif

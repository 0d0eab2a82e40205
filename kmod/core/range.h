/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Bytes of an object to chunks, and sub-allocation of byte ranges.
 */
#ifndef VB_CORE_RANGE_H
#define VB_CORE_RANGE_H

#include "deps.h"

/**
 * struct vb_chunk_range - chunks [first, end) that a byte range touches
 */
struct vb_chunk_range {
	u32 first;
	u32 end;
};

/**
 * vb_range_chunks() - which chunks do these bytes touch
 * @object_bytes: length of the object
 * @head_bytes: bytes of chunk 0 before the object's byte 0
 * @chunk_shift: log2 of the chunk size
 * @offset: first byte
 * @bytes: length; 0 gives an empty range
 *
 * Return: 0; -EOVERFLOW; -ERANGE outside the object.
 */
int vb_range_chunks(u64 object_bytes, u32 head_bytes, u32 chunk_shift,
		    u64 offset, u64 bytes, struct vb_chunk_range *out);

/* Chunks of an object; -EINVAL when they exceed 2^32 - 2. */
int vb_range_count(u64 object_bytes, u32 head_bytes, u32 chunk_shift, u32 *out);

#endif

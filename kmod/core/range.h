/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * From bytes of an object to chunks of its table.
 */
#ifndef VB_CORE_RANGE_H
#define VB_CORE_RANGE_H

#include "deps.h"

/**
 * struct vb_chunk_range - chunks [first, end) that a byte range touches
 * @first: first chunk
 * @end: one past the last chunk; equal to @first when the range is empty
 */
struct vb_chunk_range {
	u32 first;
	u32 end;
};

/**
 * vb_range_chunks() - which chunks do these bytes touch
 * @object_bytes: length of the object
 * @head_bytes: bytes of chunk 0 before the object's byte 0
 * @chunk_shift: log2 of the chunk size, below 64
 * @offset: first byte
 * @bytes: length; 0 gives an empty range, also at the very end of the object
 * @out: filled on success
 *
 * Return: 0; -EOVERFLOW offset + bytes exceeds 64 bits, or the object has more
 * chunks than a table can; -ERANGE outside the object; -EINVAL @chunk_shift.
 */
int vb_range_chunks(u64 object_bytes, u32 head_bytes, u32 chunk_shift,
		    u64 offset, u64 bytes, struct vb_chunk_range *out);

/**
 * vb_range_count() - chunks of an object
 * @object_bytes: length of the object; 0 has none
 * @head_bytes: bytes of chunk 0 before the object's byte 0
 * @chunk_shift: log2 of the chunk size, below 64
 * @out: filled on success
 *
 * Return: 0; -EINVAL more than 2^32 - 2 chunks, or @chunk_shift.
 */
int vb_range_count(u64 object_bytes, u32 head_bytes, u32 chunk_shift, u32 *out);

#endif

// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "range.h"

#define CHUNKS_MAX	0xfffffffeull

/* The chunk that holds byte @offset of the object. */
static int byte_to_chunk(u32 head_bytes, u32 chunk_shift, u64 offset, u64 *out)
{
	u64 sum;

	if (check_add_overflow((u64)head_bytes, offset, &sum))
		return -EOVERFLOW;
	*out = sum >> chunk_shift;
	return 0;
}

int vb_range_count(u64 object_bytes, u32 head_bytes, u32 chunk_shift, u32 *out)
{
	u64 last;

	if (chunk_shift >= 64)
		return -EINVAL;
	if (!object_bytes) {
		*out = 0;
		return 0;
	}
	if (byte_to_chunk(head_bytes, chunk_shift, object_bytes - 1, &last) ||
	    last >= CHUNKS_MAX)
		return -EINVAL;
	*out = (u32)last + 1;
	return 0;
}

int vb_range_chunks(u64 object_bytes, u32 head_bytes, u32 chunk_shift,
		    u64 offset, u64 bytes, struct vb_chunk_range *out)
{
	u64 end, first, last;
	u32 count;

	if (chunk_shift >= 64)
		return -EINVAL;
	if (check_add_overflow(offset, bytes, &end))
		return -EOVERFLOW;
	if (end > object_bytes)
		return -ERANGE;
	if (vb_range_count(object_bytes, head_bytes, chunk_shift, &count) ||
	    byte_to_chunk(head_bytes, chunk_shift, offset, &first))
		return -EOVERFLOW;
	last = first;
	if (bytes && byte_to_chunk(head_bytes, chunk_shift, end - 1, &last))
		return -EOVERFLOW;
	out->first = (u32)first;
	out->end = bytes ? (u32)last + 1 : (u32)first;
	return 0;
}

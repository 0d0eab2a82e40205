/* SPDX-License-Identifier: MIT */
/*
 * A command buffer under construction: the stream as the device will get it, and
 * the objects that its commands name by index.
 */
#ifndef VGPU_CMDBUF_H
#define VGPU_CMDBUF_H

#include "bo.h"
#include "core/cmd.h"
#include "rerun.h"

/**
 * struct vgpu_cmdbuf - used by one thread at a time
 * @v: its client
 * @stream: header and commands; @stream_bytes used of @stream_room
 * @commands: recorded
 * @refs: what the submission will name; @bos the same for the checks; @bo_count
 *	used of @bo_room
 * @hash: index into @refs + 1 by BO id, 0 free; @hash_size a power of two, at least
 *	twice @bo_count
 * @rerun: tells which objects get VB_ACCESS_DISCARD
 *
 * Objects are kept by id, not by pointer: a BO may be destroyed before the buffer
 * is, and ids do not come back while anybody could mix them up.
 */
struct vgpu_cmdbuf {
	struct vgpu *v;
	char *stream;
	uint32_t stream_bytes, stream_room;
	uint32_t commands;
	struct vb_bo_ref *refs;
	struct vb_cmd_bo *bos;
	uint32_t bo_count, bo_room;
	uint32_t *hash;
	uint32_t hash_size;
	struct vgpu_rerun rerun;
};

/* The index of a BO, which is added when it is new.  Return: 0; -E2BIG; -ENOMEM. */
int vgpu_cmdbuf_bo(struct vgpu_cmdbuf *cb, struct vgpu_bo *bo, uint32_t *out);
/* Forget all BOs from index @count on. */
void vgpu_cmdbuf_truncate_bos(struct vgpu_cmdbuf *cb, uint32_t count);
/* Append a command that was checked.  Return: 0; -E2BIG; -ENOMEM. */
int vgpu_cmdbuf_append(struct vgpu_cmdbuf *cb, const struct vb_cmd_header *cmd);

#endif

// SPDX-License-Identifier: MIT
#include "cmdbuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

#define STREAM_ROOM	4096u
#define BO_ROOM		32u

static struct vb_stream_header *header(const struct vgpu_cmdbuf *cb)
{
	return (struct vb_stream_header *)cb->stream;
}

void vgpu_cmdbuf_reset(struct vgpu_cmdbuf *cb)
{
	*header(cb) = (struct vb_stream_header){
		.magic = VB_STREAM_MAGIC,
		.version = VB_STREAM_VERSION,
		.bytes = sizeof(struct vb_stream_header),
	};
	cb->stream_bytes = sizeof(struct vb_stream_header);
	cb->commands = 0;
	cb->bo_count = 0;
	memset(cb->hash, 0, cb->hash_size * sizeof(*cb->hash));
	vgpu_rerun_reset(&cb->rerun);
}

int vgpu_cmdbuf_create(struct vgpu *v, struct vgpu_cmdbuf **out)
{
	struct vgpu_cmdbuf *cb = calloc(1, sizeof(*cb));

	if (!cb)
		return vgpu_fail(-ENOMEM, "no memory for a command buffer");
	cb->v = v;
	cb->stream_room = STREAM_ROOM;
	cb->bo_room = BO_ROOM;
	cb->hash_size = 2 * BO_ROOM;
	cb->stream = malloc(cb->stream_room);
	cb->refs = malloc(cb->bo_room * sizeof(*cb->refs));
	cb->bos = malloc(cb->bo_room * sizeof(*cb->bos));
	cb->hash = malloc(cb->hash_size * sizeof(*cb->hash));
	if (!cb->stream || !cb->refs || !cb->bos || !cb->hash) {
		vgpu_cmdbuf_destroy(cb);
		return vgpu_fail(-ENOMEM, "no memory for a command buffer");
	}
	vgpu_cmdbuf_reset(cb);
	*out = cb;
	return 0;
}

void vgpu_cmdbuf_destroy(struct vgpu_cmdbuf *cb)
{
	if (!cb)
		return;
	free(cb->stream);
	free(cb->refs);
	free(cb->bos);
	free(cb->hash);
	free(cb);
}

uint32_t vgpu_cmdbuf_commands(const struct vgpu_cmdbuf *cb)
{
	return cb->commands;
}

/* Where an id stands, or the free place where it would. */
static uint32_t *hash_place(const struct vgpu_cmdbuf *cb, uint32_t id)
{
	uint32_t mask = cb->hash_size - 1;
	uint32_t i = (id * 2654435761u) & mask;

	while (cb->hash[i] && cb->refs[cb->hash[i] - 1].bo_id != id)
		i = (i + 1) & mask;
	return &cb->hash[i];
}

static void hash_fill(struct vgpu_cmdbuf *cb)
{
	memset(cb->hash, 0, cb->hash_size * sizeof(*cb->hash));
	for (uint32_t i = 0; i < cb->bo_count; i++)
		*hash_place(cb, cb->refs[i].bo_id) = i + 1;
}

static int bos_grow(struct vgpu_cmdbuf *cb)
{
	uint32_t room = cb->bo_room * 2;
	struct vb_bo_ref *refs;
	struct vb_cmd_bo *bos;
	uint32_t *hash;

	refs = realloc(cb->refs, room * sizeof(*refs));
	if (!refs)
		return -ENOMEM;
	cb->refs = refs;
	bos = realloc(cb->bos, room * sizeof(*bos));
	if (!bos)
		return -ENOMEM;
	cb->bos = bos;
	hash = realloc(cb->hash, 2 * room * sizeof(*hash));
	if (!hash)
		return -ENOMEM;
	cb->hash = hash;
	cb->hash_size = 2 * room;
	cb->bo_room = room;
	hash_fill(cb);
	return 0;
}

int vgpu_cmdbuf_bo(struct vgpu_cmdbuf *cb, struct vgpu_bo *bo, uint32_t *out)
{
	uint32_t *place = hash_place(cb, bo->id);
	uint32_t index = *place ? *place - 1 : cb->bo_count;

	if (!*place) {
		if (cb->bo_count == VB_SUBMIT_BOS_MAX)
			return -E2BIG;
		if (cb->bo_count == cb->bo_room && bos_grow(cb))
			return -ENOMEM;
		cb->refs[index] = (struct vb_bo_ref){ .bo_id = bo->id };
		*hash_place(cb, bo->id) = index + 1;
		cb->bo_count++;
	}
	/* What is written is derived from the commands: a check refuses seals alone. */
	cb->bos[index] = (struct vb_cmd_bo){
		.object = bo->id,
		.bytes = bo->bytes,
		.access = VB_ACCESS_READ | VB_ACCESS_WRITE,
		.sealed = atomic_load_explicit(&bo->sealed, memory_order_relaxed),
	};
	*out = index;
	return 0;
}

/* Newest first: then no place that is cleared lies in the way to another. */
void vgpu_cmdbuf_truncate_bos(struct vgpu_cmdbuf *cb, uint32_t count)
{
	while (cb->bo_count > count) {
		uint32_t *place = hash_place(cb, cb->refs[cb->bo_count - 1].bo_id);

		*place = 0;
		cb->bo_count--;
	}
}

static int stream_grow(struct vgpu_cmdbuf *cb, uint32_t bytes)
{
	uint32_t room = cb->stream_room;
	char *stream;

	while (room < cb->stream_bytes + bytes)
		room *= 2;
	if (room == cb->stream_room)
		return 0;
	stream = realloc(cb->stream, room);
	if (!stream)
		return -ENOMEM;
	cb->stream = stream;
	cb->stream_room = room;
	return 0;
}

/* Are all bytes of its extent the operand's? */
static bool is_dense(const struct vb_operand *op, u64 extent)
{
	struct vb_operand dense = *op;
	u64 bytes;

	memset(dense.stride, 0, sizeof(dense.stride));
	return !vb_operand_extent(&dense, &bytes) && bytes == extent;
}

static void note_read(struct vgpu_cmdbuf *cb, const struct vb_operand *op)
{
	u64 bytes;

	/* What is sealed stays as it is. */
	if (!cb->bos[op->bo].sealed && !vb_operand_extent(op, &bytes))
		vgpu_rerun_read(&cb->rerun, op->bo, op->offset, op->offset + bytes);
	cb->refs[op->bo].access |= VB_ACCESS_READ;
}

/* An executor that dies with the buffer is succeeded by one that runs it again, if it may. */
static void note_write(struct vgpu_cmdbuf *cb, const struct vb_operand *op)
{
	uint32_t *access = &cb->refs[op->bo].access;
	u64 bytes;
	bool again = !vb_operand_extent(op, &bytes) &&
		     vgpu_rerun_write(&cb->rerun, op->bo, op->offset, op->offset + bytes,
				      is_dense(op, bytes));

	if (again && !(*access & VB_ACCESS_WRITE))
		*access |= VB_ACCESS_DISCARD;
	if (!again)
		*access &= ~VB_ACCESS_DISCARD;
	*access |= VB_ACCESS_WRITE;
}

/* A command reads all of what it reads before it is known to have written anything. */
static void note_operands(struct vgpu_cmdbuf *cb, const struct vb_cmd_header *cmd)
{
	struct vb_cmd_operand operands[VB_CMD_OPERANDS_MAX];
	uint32_t n = vb_cmd_operands(cmd, operands);

	for (uint32_t i = 0; i < n; i++)
		if (operands[i].access & VB_ACCESS_READ)
			note_read(cb, operands[i].op);
	for (uint32_t i = 0; i < n; i++)
		if (operands[i].access & VB_ACCESS_WRITE)
			note_write(cb, operands[i].op);
}

int vgpu_cmdbuf_append(struct vgpu_cmdbuf *cb, const struct vb_cmd_header *cmd)
{
	if (cb->stream_bytes + cmd->bytes > VB_STREAM_BYTES_MAX)
		return -E2BIG;
	if (stream_grow(cb, cmd->bytes))
		return -ENOMEM;
	note_operands(cb, cmd);
	memcpy(cb->stream + cb->stream_bytes, cmd, cmd->bytes);
	cb->stream_bytes += cmd->bytes;
	cb->commands++;
	header(cb)->bytes = cb->stream_bytes;
	header(cb)->commands = cb->commands;
	return 0;
}

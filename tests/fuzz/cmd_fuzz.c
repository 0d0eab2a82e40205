// SPDX-License-Identifier: MIT
/*
 * The input is a BO list and a command stream:
 *
 *	u8	entries of the list in the low 7 bits; the highest: set the stream's
 *		header right, so that the commands are reached
 *	12 bytes an entry: u8 access, u8 sealed, u8 object, u8 not used, u64 bytes
 *	the stream, to the end
 *
 * The answer must be that of the slow model, and what is accepted must lie inside
 * the BOs.
 */
#include "../unit/cmd_model.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BOS_MAX		16u
#define ENTRY_BYTES	12u

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void read_bo(struct vb_cmd_bo *bo, const uint8_t *data)
{
	memcpy(&bo->bytes, data + 4, sizeof(bo->bytes));
	bo->bytes &= 2 * VB_OBJECT_BYTES_MAX - 1;
	bo->access = data[0] & 7;
	bo->sealed = data[1] & 1;
	bo->object = data[2] & 15;
}

/* A list may name an object twice, but not with two lengths. */
static void join_objects(struct vb_cmd_bo *bos, u32 count)
{
	u32 i, j;

	for (i = 0; i < count; i++)
		for (j = 0; j < i; j++)
			if (bos[j].object == bos[i].object)
				bos[i].bytes = bos[j].bytes;
}

static void repair(void *stream, u32 bytes)
{
	struct vb_stream_header *h = stream;

	if (bytes < sizeof(*h))
		return;
	h->magic = VB_STREAM_MAGIC;
	h->version = VB_STREAM_VERSION;
	h->bytes = bytes;
	memset(h->__reserved, 0, sizeof(h->__reserved));
}

/* Every operand of an accepted command, as whoever runs it will see them. */
static void check_operands(const struct vb_cmd_header *cmd, const struct vb_cmd_bo *bos,
			   u32 bo_count)
{
	struct vb_cmd_operand ops[VB_CMD_OPERANDS_MAX];
	u32 count = vb_cmd_operands(cmd, ops), i, d;
	u64 extent;
	u128 last;

	for (i = 0; i < count; i++) {
		const struct vb_operand *op = ops[i].op;

		require(op->bo < bo_count);
		require(bos[op->bo].access & ops[i].access);
		require(ops[i].access == VB_ACCESS_READ || !bos[op->bo].sealed);
		require(vb_operand_extent(op, &extent) == 0);
		require((u128)op->offset + extent <= bos[op->bo].bytes);
		if (!m_element(op->format))
			continue;
		for (d = 0, last = op->offset; d < op->rank; d++)
			last += (u128)(op->shape[d] - 1) * vb_operand_stride(op, d);
		require(last + m_element(op->format) == (u128)op->offset + extent);
	}
}

/* Is the stream legal command by command?  The header is known to be. */
static bool model_accepts(const struct world *w, const void *stream, u32 bytes)
{
	const struct vb_stream_header *h = stream;
	u32 at = sizeof(*h), i;
	u64 room[64];

	for (i = 0; i < h->commands; i++) {
		u32 left = bytes - at;

		if (left < sizeof(struct vb_cmd_header))
			return false;
		memset(room, 0, sizeof(room));
		memcpy(room, (const char *)stream + at, left < sizeof(room) ? left : sizeof(room));
		if (((struct vb_cmd_header *)room)->bytes > left ||
		    !model_is_legal(w, (struct vb_cmd_header *)room))
			return false;
		at += ((struct vb_cmd_header *)room)->bytes;
	}
	return at == bytes;
}

static void check_stream(const void *stream, u32 bytes, const struct vb_cmd_bo *bos,
			 u32 bo_count)
{
	const struct world w = { bos, bo_count };
	const struct vb_cmd_header *cmd = NULL;
	struct vb_cmd_error e;
	char text[96];
	u32 walked = 0;
	int rc;

	rc = vb_stream_check_header(stream, bytes, &e);
	if (!rc) {
		rc = vb_stream_check(stream, bytes, bos, bo_count, &e);
		require((rc == 0) == model_accepts(&w, stream, bytes));
	}
	if (rc) {
		require(e.errno_value == rc && e.operand && e.fault < VB_FAULT_COUNT_OF);
		vb_cmd_error_format(&e, text, sizeof(text));
		require(memchr(text, 0, sizeof(text)));
		return;
	}
	while ((cmd = vb_stream_next(stream, cmd))) {
		check_operands(cmd, bos, bo_count);
		walked++;
	}
	require(walked == ((const struct vb_stream_header *)stream)->commands);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vb_cmd_bo bos[BOS_MAX] = { { 0, 0, 0, false } };
	u32 bo_count, bytes, i;
	void *stream;

	if (!size)
		return 0;
	bo_count = (data[0] & 127) % (BOS_MAX + 1);
	if (size - 1 < bo_count * ENTRY_BYTES)
		return 0;
	for (i = 0; i < bo_count; i++)
		read_bo(&bos[i], data + 1 + i * ENTRY_BYTES);
	join_objects(bos, bo_count);

	/* Exactly as long as it says, so that a read behind its end is seen. */
	bytes = (u32)(size - 1 - bo_count * ENTRY_BYTES);
	stream = malloc(bytes ? bytes : 1);
	if (!stream)
		return 0;
	memcpy(stream, data + size - bytes, bytes);
	if (data[0] >> 7)
		repair(stream, bytes);
	check_stream(stream, bytes, bos, bo_count);
	free(stream);
	return 0;
}

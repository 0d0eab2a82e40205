// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Walking over a stream: its header, its commands, their operands.
 */
#include "operand.h"

#define HEADER_BYTES	((u32)sizeof(struct vb_stream_header))

u32 vb_cmd_bytes(u16 opcode)
{
	const struct vb_cmd_form *form = vb_cmd_form(opcode);

	return form ? form->bytes : 0;
}

const char *vb_cmd_name(u16 opcode)
{
	const struct vb_cmd_form *form = vb_cmd_form(opcode);

	return form ? form->name : "?";
}

u32 vb_cmd_operands(const struct vb_cmd_header *cmd,
		    struct vb_cmd_operand out[VB_CMD_OPERANDS_MAX])
{
	const struct vb_cmd_form *form = vb_cmd_form(cmd->opcode);
	const struct vb_operand *op;
	u32 i, count = 0;

	for (i = 0; form && i < form->operand_count; i++) {
		op = vb_form_operand(form, cmd, i);
		if (op->format == VB_FORMAT_NONE)
			continue;
		out[count].name = form->operands[i].name;
		out[count].op = op;
		out[count].access = form->operands[i].access;
		count++;
	}
	return count;
}

const struct vb_cmd_header *vb_stream_next(const void *stream,
					   const struct vb_cmd_header *cmd)
{
	const struct vb_stream_header *h = stream;
	const char *next = cmd ? (const char *)cmd + cmd->bytes :
				 (const char *)stream + HEADER_BYTES;

	return next < (const char *)stream + h->bytes ? (const void *)next : NULL;
}

static int fail(struct vb_cmd_error *error, const char *name, u16 fault, u16 must,
		u64 value, u64 limit)
{
	struct vb_cmd_blame blame = { name, NULL, fault, must, 0 };

	return vb_cmd_fail(error, -EINVAL, &blame, value, limit);
}

static int check_length(u32 bytes, struct vb_cmd_error *error)
{
	if (bytes < HEADER_BYTES)
		return fail(error, "bytes", VB_FAULT_BYTES, VB_MUST_MIN, bytes, HEADER_BYTES);
	if (bytes > VB_STREAM_BYTES_MAX)
		return fail(error, "bytes", VB_FAULT_BYTES, VB_MUST_MAX, bytes,
			    VB_STREAM_BYTES_MAX);
	if (bytes % 8)
		return fail(error, "bytes", VB_FAULT_BYTES, VB_MUST_MULTIPLE, bytes, 8);
	return 0;
}

int vb_stream_check_header(const void *stream, u32 bytes, struct vb_cmd_error *error)
{
	const struct vb_stream_header *h = stream;
	u32 most = (bytes - HEADER_BYTES) / (u32)sizeof(struct vb_cmd_header), i;
	int rc;

	error->command = ~0u;
	error->opcode = VB_CMD_NOP;
	rc = check_length(bytes, error);
	if (rc)
		return rc;
	if (h->magic != VB_STREAM_MAGIC)
		return fail(error, "magic", VB_FAULT_MAGIC, VB_MUST_EQUAL, h->magic,
			    VB_STREAM_MAGIC);
	if (h->version != VB_STREAM_VERSION)
		return fail(error, "version", VB_FAULT_VERSION, VB_MUST_EQUAL, h->version,
			    VB_STREAM_VERSION);
	if (h->bytes != bytes)
		return fail(error, "bytes", VB_FAULT_BYTES, VB_MUST_EQUAL, h->bytes, bytes);
	if (h->commands > most)
		return fail(error, "commands", VB_FAULT_COUNT, VB_MUST_MAX, h->commands, most);
	for (i = 0; i < 2; i++)
		if (h->__reserved[i])
			return fail(error, "__reserved", VB_FAULT_RESERVED, VB_MUST_EQUAL,
				    h->__reserved[i], 0);
	return 0;
}

/* Does the command lie inside the stream, so that its fields may be read at all? */
static int check_inside(const struct vb_cmd_header *cmd, u32 left, u32 index,
			struct vb_cmd_error *error)
{
	error->command = index;
	error->opcode = VB_CMD_COUNT;
	if (left < sizeof(*cmd))
		return fail(error, "bytes", VB_FAULT_LENGTH, VB_MUST_MAX, sizeof(*cmd), left);
	error->opcode = cmd->opcode;
	if (vb_cmd_bytes(cmd->opcode) > left)
		return fail(error, "bytes", VB_FAULT_LENGTH, VB_MUST_MAX,
			    vb_cmd_bytes(cmd->opcode), left);
	return 0;
}

int vb_stream_check(const void *stream, u32 bytes, const struct vb_cmd_bo *bos,
		    u32 bo_count, struct vb_cmd_error *error)
{
	const struct vb_stream_header *h = stream;
	const struct vb_cmd_header *cmd;
	u32 at = HEADER_BYTES, i;
	int rc;

	rc = vb_stream_check_header(stream, bytes, error);
	if (rc)
		return rc;
	for (i = 0; i < h->commands; i++) {
		cmd = (const void *)((const char *)stream + at);
		rc = check_inside(cmd, bytes - at, i, error);
		if (!rc)
			rc = vb_cmd_check(cmd, i, bos, bo_count, error);
		if (rc)
			return rc;
		at += cmd->bytes;
	}
	if (at == bytes)
		return 0;
	error->command = ~0u;
	error->opcode = VB_CMD_NOP;
	return fail(error, "bytes", VB_FAULT_BYTES, VB_MUST_EQUAL, bytes, at);
}

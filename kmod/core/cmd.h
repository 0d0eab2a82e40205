/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Is this command buffer legal?
 *
 * Checks every operand against its BO before anything runs: formats, shapes that
 * fit together, strides, extents, writes to what must not be written, outputs that
 * overlap inputs.  What lies inside BOs (indices) is checked by whoever loads it.
 * The stream is a private copy of the caller: it does not change while checked.
 */
#ifndef VB_CORE_CMD_H
#define VB_CORE_CMD_H

#include "deps.h"
#include "format.h"

/**
 * struct vb_cmd_bo - what the check must know of a BO of the list
 * @object: identity, so that two entries of one object are recognised
 * @bytes: length
 * @access: VB_ACCESS_* that the submission declared
 * @sealed: writes are refused whatever @access says
 */
struct vb_cmd_bo {
	u64 bytes;
	u32 object;
	u32 access;
	bool sealed;
};

/* What is wrong with a field; vb_cmd_error_format() makes it a sentence. */
enum vb_cmd_fault {
	VB_FAULT_NONE,
	VB_FAULT_MAGIC, VB_FAULT_VERSION, VB_FAULT_BYTES, VB_FAULT_COUNT,
	VB_FAULT_OPCODE, VB_FAULT_FLAGS, VB_FAULT_RESERVED, VB_FAULT_LENGTH,
	VB_FAULT_BO_INDEX, VB_FAULT_FORMAT, VB_FAULT_RANK, VB_FAULT_SHAPE,
	VB_FAULT_STRIDE, VB_FAULT_ALIGN, VB_FAULT_EXTENT, VB_FAULT_ACCESS,
	VB_FAULT_OVERLAP, VB_FAULT_RANGE, VB_FAULT_MISSING,
	VB_FAULT_COUNT_OF
};

/**
 * struct vb_cmd_error - the first thing found wrong
 * @errno_value: -EINVAL, -ERANGE, -EROFS, -EOVERFLOW
 * @command: index, or ~0 for the stream header
 * @opcode: of the command
 * @fault: enum vb_cmd_fault
 * @operand: name of the operand or field ("w", "x", "mode"), never NULL
 * @value: what it is
 * @limit: what it may be, or must equal
 */
struct vb_cmd_error {
	int errno_value;
	u32 command;
	u16 opcode;
	u16 fault;
	const char *operand;
	u64 value;
	u64 limit;
};

/**
 * vb_stream_check() - check a whole stream
 * @stream: 8-byte aligned
 * @bytes: its length
 * @bos: the BO list
 * @bo_count: entries
 * @error: filled when the result is not 0
 *
 * Return: 0 or error->errno_value.
 */
int vb_stream_check(const void *stream, u32 bytes, const struct vb_cmd_bo *bos,
		    u32 bo_count, struct vb_cmd_error *error);
/* Only the header, as the module does at submit. */
int vb_stream_check_header(const void *stream, u32 bytes, struct vb_cmd_error *error);
/* One command, as the library does when it records. */
int vb_cmd_check(const struct vb_cmd_header *cmd, u32 index, const struct vb_cmd_bo *bos,
		 u32 bo_count, struct vb_cmd_error *error);
/* The command after @cmd in a checked stream (NULL: the first), NULL at the end. */
const struct vb_cmd_header *vb_stream_next(const void *stream, const struct vb_cmd_header *cmd);
/* sizeof the struct of an opcode, 0 when not known. */
u32 vb_cmd_bytes(u16 opcode);
const char *vb_cmd_name(u16 opcode);

/**
 * struct vb_cmd_operand - an operand with its role, for walking over a command
 * @name: as in the UAPI structure
 * @op: the operand
 * @access: VB_ACCESS_READ and/or VB_ACCESS_WRITE
 */
struct vb_cmd_operand {
	const char *name;
	const struct vb_operand *op;
	u32 access;
};
#define VB_CMD_OPERANDS_MAX	6u
/* Operands present (format not NONE) of a checked command; returns how many. */
u32 vb_cmd_operands(const struct vb_cmd_header *cmd, struct vb_cmd_operand out[VB_CMD_OPERANDS_MAX]);
/* First byte to one past the last byte that an operand touches; -EOVERFLOW. */
int vb_operand_extent(const struct vb_operand *op, u64 *out_bytes);
/* Bytes from one index of a dimension to the next, dense strides resolved. */
u64 vb_operand_stride(const struct vb_operand *op, u32 dim);

/* A sentence naming field, value and limit; at most len bytes, NUL included. */
void vb_cmd_error_format(const struct vb_cmd_error *error, char *text, size_t len);

#endif

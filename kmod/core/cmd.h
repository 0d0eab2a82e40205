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

/* What kind of thing is wrong. */
enum vb_cmd_fault {
	VB_FAULT_NONE,
	VB_FAULT_MAGIC, VB_FAULT_VERSION, VB_FAULT_BYTES, VB_FAULT_COUNT,
	VB_FAULT_OPCODE, VB_FAULT_FLAGS, VB_FAULT_RESERVED, VB_FAULT_LENGTH,
	VB_FAULT_BO_INDEX, VB_FAULT_FORMAT, VB_FAULT_RANK, VB_FAULT_SHAPE,
	VB_FAULT_STRIDE, VB_FAULT_ALIGN, VB_FAULT_EXTENT, VB_FAULT_ACCESS,
	VB_FAULT_OVERLAP, VB_FAULT_RANGE, VB_FAULT_MISSING,
	VB_FAULT_COUNT_OF
};

/* How the value of an error would have to stand to its limit. */
enum vb_cmd_must {
	VB_MUST_EQUAL,
	VB_MUST_MIN,		/* at least */
	VB_MUST_MAX,		/* at most */
	VB_MUST_MULTIPLE,	/* a multiple of */
	VB_MUST_DIVIDE,		/* a divisor of */
	VB_MUST_BITS,		/* no bit outside */
	VB_MUST_INCLUDE,	/* every bit of */
	VB_MUST_FORMAT,		/* bit (value) of the limit */
	VB_MUST_FINITE,		/* binary32; no limit */
	VB_MUST_NOT_NEGATIVE,	/* binary32: finite and at least 0 */
	VB_MUST_POSITIVE,	/* binary32: finite and above 0 */
	VB_MUST_EXIST,		/* the operand may not be NONE */
	VB_MUST_NOT_BE_SEALED,	/* value: BO index */
	VB_MUST_FIT,		/* offset or shape in 64 bits */
	VB_MUST_DISJOINT,	/* value: first shared byte; limit: the other operand */
};

/**
 * struct vb_cmd_error - the first thing found wrong
 * @errno_value: -EINVAL, -ERANGE, -EROFS, -EOVERFLOW
 * @command: index, or ~0 for the stream header
 * @opcode: of the command
 * @fault: enum vb_cmd_fault
 * @must: enum vb_cmd_must
 * @dim: dimension, when @field is "shape" or "stride"
 * @operand: name of the operand or field ("w", "x", "mode"), never NULL
 * @field: what of the operand ("shape", "end"), or NULL for a field of the command
 * @value: what it is
 * @limit: what it may be, or must equal
 */
struct vb_cmd_error {
	int errno_value;
	u32 command;
	u16 opcode;
	u16 fault;
	u16 must;
	u16 dim;
	const char *operand;
	const char *field;
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

/**
 * vb_stream_check_header() - only the header, as the module does at submit
 * @stream: 8-byte aligned
 * @bytes: its length
 * @error: filled when the result is not 0
 *
 * Return: 0 or -EINVAL.
 */
int vb_stream_check_header(const void *stream, u32 bytes, struct vb_cmd_error *error);

/**
 * vb_cmd_check() - one command, as the library does when it records
 * @cmd: a header with vb_cmd_bytes() of its opcode behind it, 8-byte aligned
 * @index: for the error
 * @bos: the BO list
 * @bo_count: entries
 * @error: filled when the result is not 0
 *
 * Operands overlap when their ranges from first to last byte in one object do,
 * also where rows of one lie between rows of the other.
 *
 * Return: 0; -EINVAL; -ERANGE an operand ends behind its BO; -EROFS a write to a
 * sealed BO; -EOVERFLOW.
 */
int vb_cmd_check(const struct vb_cmd_header *cmd, u32 index, const struct vb_cmd_bo *bos,
		 u32 bo_count, struct vb_cmd_error *error);

/**
 * vb_stream_next() - walk over a checked stream
 * @stream: the stream
 * @cmd: a command of it, or NULL for the first
 *
 * Return: the command after @cmd, NULL at the end.
 */
const struct vb_cmd_header *vb_stream_next(const void *stream,
					   const struct vb_cmd_header *cmd);

/**
 * vb_cmd_bytes() - how long a command is
 * @opcode: enum vb_opcode
 *
 * Return: sizeof its structure; 0 when not known.
 */
u32 vb_cmd_bytes(u16 opcode);

/**
 * vb_cmd_name() - its name for people
 * @opcode: enum vb_opcode
 *
 * Return: "matmul"; "?" when not known.
 */
const char *vb_cmd_name(u16 opcode);

/**
 * struct vb_cmd_operand - an operand with its role, for walking over a command
 * @name: as in the UAPI structure
 * @op: the operand
 * @access: VB_ACCESS_READ or VB_ACCESS_WRITE
 */
struct vb_cmd_operand {
	const char *name;
	const struct vb_operand *op;
	u32 access;
};

#define VB_CMD_OPERANDS_MAX	6u

/**
 * vb_cmd_operands() - operands present in a checked command
 * @cmd: the command
 * @out: filled, in the order of the UAPI structure
 *
 * Return: how many; those of format NONE are left out.
 */
u32 vb_cmd_operands(const struct vb_cmd_header *cmd,
		    struct vb_cmd_operand out[VB_CMD_OPERANDS_MAX]);

/**
 * vb_operand_extent() - from the operand's offset to one past its last byte
 * @op: format known, rank 1 .. VB_OPERAND_RANK_MAX, shape at least 1
 * @out_bytes: filled on success; @op->offset is not in it
 *
 * Packed formats count their last group whole.
 *
 * Return: 0; -EOVERFLOW; -EINVAL format, rank or shape.
 */
int vb_operand_extent(const struct vb_operand *op, u64 *out_bytes);

/**
 * vb_operand_stride() - bytes from one index of a dimension to the next
 * @op: a checked operand
 * @dim: below @op->rank
 *
 * Dense strides are resolved.  The rows of a packed format give the bytes of one
 * group of 16, and the columns of a format in blocks 0: neither is addressed alone.
 *
 * Return: bytes.
 */
u64 vb_operand_stride(const struct vb_operand *op, u32 dim);

/**
 * vb_cmd_error_format() - a sentence naming field, value and limit
 * @error: the error
 * @text: filled, always terminated
 * @len: bytes of @text, at least 1; a longer sentence is cut
 */
void vb_cmd_error_format(const struct vb_cmd_error *error, char *text, size_t len);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Which bytes does a command need?  The same answer for the one who runs it and
 * for the one who reads ahead of it.
 *
 * A command holds most of its operands whole while it runs.  The weight of a
 * product is streamed: row panel by row panel, matrix by matrix.  A gather's table
 * is neither: single rows of it are used.
 */
#ifndef VGPU_EXEC_WALK_H
#define VGPU_EXEC_WALK_H

#include "object.h"
#include "core/cmd.h"

/**
 * struct vgpu_hold - adjacent chunks of one object that a command holds whole
 * @object: whose
 * @first, @end: chunks
 * @write: the command writes into them
 * @offset, @bytes: what of them, counted from the start of chunk @first
 * @slot: of @first while held in adjacent slots; else VB_SLOT_ANY
 * @bounce: a copy of the @bytes, for a read-only operand that lies scattered
 */
struct vgpu_hold {
	struct vgpu_object *object;
	uint32_t first, end;
	bool write;
	uint32_t slot;
	uint64_t offset, bytes;
	uint8_t *bounce;
};

#define VGPU_HOLDS_MAX	VB_CMD_OPERANDS_MAX

/**
 * vgpu_walk_holds() - what a command holds
 * @cmd: checked
 * @bos: objects of the submission's BO list
 * @chunk_bytes: of the device
 * @out: filled
 *
 * Each operand has an entry; those in the same chunks of an anonymous object share one.
 * Return: entries.
 */
uint32_t vgpu_walk_holds(const struct vb_cmd_header *cmd, struct vgpu_object *const *bos,
			 uint32_t chunk_bytes, struct vgpu_hold out[VGPU_HOLDS_MAX]);

/* The entry that an operand lies in; NULL when it is not held. */
struct vgpu_hold *vgpu_walk_find(struct vgpu_hold *holds, uint32_t n,
				 const struct vb_operand *op, struct vgpu_object *const *bos,
				 uint32_t chunk_bytes);

/* Operands of a command lie at its end, one behind the other; absent ones too. */
static inline uint32_t vgpu_cmd_operand_count(const struct vb_cmd_header *cmd)
{
	return (uint32_t)((cmd->bytes - sizeof(*cmd)) / sizeof(struct vb_operand));
}

static inline const struct vb_operand *vgpu_cmd_operand(const struct vb_cmd_header *cmd, uint32_t i)
{
	const uint8_t *end = (const uint8_t *)cmd + cmd->bytes;

	return (const struct vb_operand *)(end - (vgpu_cmd_operand_count(cmd) - i) *
						 sizeof(struct vb_operand));
}

/* Of products, MATMUL and those of its name: which operands are streamed. */
enum { VGPU_PRODUCT_W = 1, VGPU_PRODUCT_SCALES = 2 };

/**
 * struct vgpu_stream - the streamed weight of a product
 * @part: the weight, and the scales of MXFP4_SPLIT
 * @parts: 1 or 2
 * @matrices: experts, or 1
 * @rows: of one matrix
 * @panel_rows: rows in a panel; the last one of a matrix may have fewer
 * @panels: panels of a matrix
 */
struct vgpu_stream {
	struct {
		struct vgpu_object *object;
		uint64_t offset;	/* of matrix 0 */
		uint64_t matrix_bytes;	/* from one matrix to the next */
		uint64_t unit_bytes;
	} part[2];
	uint32_t parts, matrices, rows, unit_rows, panel_rows, panels;
};

/**
 * vgpu_walk_stream() - is there a streamed weight, and how is it cut
 * @panel_bytes: most bytes of one panel, unless a single unit needs more
 *
 * Return: false when the command streams nothing.
 */
bool vgpu_walk_stream(const struct vb_cmd_header *cmd, struct vgpu_object *const *bos,
		      uint64_t panel_bytes, struct vgpu_stream *out);

/* Bytes [offset, offset + bytes) of part @part that a panel needs. */
struct vgpu_span {
	uint64_t offset, bytes;
};
struct vgpu_span vgpu_stream_span(const struct vgpu_stream *s, uint32_t part, uint32_t matrix,
				  uint32_t panel);
/* Rows of a panel. */
uint32_t vgpu_stream_panel_rows(const struct vgpu_stream *s, uint32_t panel);
/* Most chunks that one panel can touch. */
uint32_t vgpu_stream_panel_chunks(const struct vgpu_stream *s, uint32_t chunk_bytes);
/* Most chunks of two panels in a row, where there is more than one. */
uint32_t vgpu_stream_chunks_needed(const struct vgpu_stream *s, uint32_t chunk_bytes);

/* Chunks that bytes of an object touch; the object's head is counted in. */
static inline void vgpu_object_chunks(const struct vgpu_object *o, uint32_t chunk_bytes,
				      uint64_t offset, uint64_t bytes, uint32_t *first,
				      uint32_t *end)
{
	*first = (uint32_t)((o->head + offset) / chunk_bytes);
	*end = (uint32_t)((o->head + offset + bytes - 1) / chunk_bytes) + 1;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What computes.  A backend is one const table; exec/job.c brings the bytes and
 * asks it to run a command, or a panel of one.
 */
#ifndef VGPU_EXEC_BACKEND_H
#define VGPU_EXEC_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/vblackwell.h>

struct vgpu_pool;

/**
 * struct vgpu_piece - bytes of a panel that lie together
 * @data: first byte
 * @bytes: length; the pieces of a panel follow each other without a gap
 */
struct vgpu_piece {
	const uint8_t *data;
	uint64_t bytes;
};

/**
 * struct vgpu_work - a command with its operands in memory
 * @cmd: checked; the type is that of its opcode
 * @ptr: element 0 of each operand that is held, in the order of the operands in the
 *	command's structure, absent ones counted (NULL)
 * @go_on: for vgpu_work_go_on(); NULL: it always may
 * @arg: handed to it
 */
struct vgpu_work {
	const struct vb_cmd_header *cmd;
	void *ptr[6];
	int (*go_on)(void *arg);
	void *arg;
};

/**
 * struct vgpu_route - an index of a MATMUL_ID
 * @expert: as it was loaded
 * @index: its place among the indices, row * top + choice
 */
struct vgpu_route {
	uint32_t expert, index;
};

/* An index that names no expert: ids[row][choice] was @id. */
struct vgpu_wrong_id {
	uint32_t row, choice;
	int32_t id;
};

/* What a backend may do before it asks again: a small part of what a device waits for. */
#define VGPU_WORK_PIECE_NS	(100u * 1000 * 1000)

/**
 * vgpu_work_go_on() - may the command go on?
 * @w: command
 *
 * A client says how long its command takes, and the device takes an executor for dead
 * that says nothing for long: a backend asks after each VGPU_WORK_PIECE_NS or so.
 *
 * Context: the thread that was asked to run the command.
 * Return: 0; else what the command ends with, at once.
 */
static inline int vgpu_work_go_on(const struct vgpu_work *w)
{
	return w->go_on ? w->go_on(w->arg) : 0;
}

/**
 * struct vgpu_panel_work - a row panel of the streamed weight
 * @matrix: which matrix of the stack
 * @row: first row
 * @rows: rows
 * @piece: [0] of the weight, [1] of the scales of MXFP4_SPLIT
 * @pieces: how many of each
 * @unit_rows, @unit_bytes: as in struct vgpu_stream; [1] for the scales
 */
struct vgpu_panel_work {
	uint32_t matrix, row, rows;
	uint32_t unit_rows;
	uint64_t unit_bytes[2];
	const struct vgpu_piece *piece[2];
	uint32_t pieces[2];
};

/*
 * What a backend is not asked for, since it has memory beside the tier for it: a row of
 * activations, or a unit of a weight, of more bytes; a MATMUL_ID of more indices.
 */
#define VGPU_WORK_ROW_BYTES	(8u << 20)
#define VGPU_WORK_IDS		(1u << 18)

/**
 * struct vgpu_backend_ops - one kind of device
 * @name: as users spell it
 * @open: pool is the library's, and outlives the backend
 * @supports: can it run the command at all; else the executor says -EOPNOTSUPP
 * @begin: a command whose weight is streamed starts; ids of MATMUL_ID: see @select
 * @select: MATMUL_ID, after @begin: read the indices once, check each, and hand out
 *	the matrices that are needed, ascending; at most as many as the stack has.  -EINVAL:
 *	@wrong says which index
 * @panel: one panel of a command that began
 * @end: it is over, also after an error
 * @row: GATHER: decode row @index of the output from one table row (or row group)
 * @run: every other command, at once
 *
 * Functions return 0 or -errno.  One command at a time.  Every one is there.
 */
struct vgpu_backend_ops {
	const char *name;
	int (*open)(struct vgpu_pool *pool, void **out);
	void (*close)(void *be);
	bool (*supports)(void *be, const struct vb_cmd_header *cmd);
	int (*begin)(void *be, const struct vgpu_work *w);
	int (*select)(void *be, const struct vgpu_work *w, uint32_t *matrices, uint32_t *count,
		      struct vgpu_wrong_id *wrong);
	int (*panel)(void *be, const struct vgpu_work *w, const struct vgpu_panel_work *p);
	void (*end)(void *be, const struct vgpu_work *w);
	int (*row)(void *be, const struct vgpu_work *w, uint32_t out_row, uint32_t table_row,
		   const uint8_t *unit);
	int (*run)(void *be, const struct vgpu_work *w);
};

extern const struct vgpu_backend_ops vgpu_backend_cpu;
extern const struct vgpu_backend_ops vgpu_backend_null;

/**
 * vgpu_backend_select_ids() - which experts do the indices of a MATMUL_ID name
 * @routes: room for twice as many as there are indices; receives them by expert, and those of
 *	an expert in order
 * @matrices: receives each expert once, ascending; room for as many as there are experts
 *	or indices, whichever are fewer
 * @count: receives how many
 * @wrong: -EINVAL: receives the index
 *
 * Loads each index once and checks what it loaded: another thread may be writing
 * them.  Time and memory go by the indices, not by the experts that the command claims.
 * Return: 0; -EINVAL one is out of range.
 */
int vgpu_backend_select_ids(const struct vgpu_work *w, struct vgpu_route *routes,
			    uint32_t *matrices, uint32_t *count, struct vgpu_wrong_id *wrong);

/* How many indices a MATMUL_ID has. */
uint64_t vgpu_backend_ids(const struct vb_cmd_header *cmd);

/* NULL when there is none of that name. */
const struct vgpu_backend_ops *vgpu_backend_find(const char *name);

#endif

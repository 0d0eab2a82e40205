/* SPDX-License-Identifier: MIT */
/*
 * What the executor knows of an object: its file, its geometry, its table.
 *
 * A file is opened, and closed, by an errand: its server may not answer.  Until it is open
 * there is nothing to be read from it (vgpu_store_file_ready()).
 */
#ifndef VGPU_EXEC_OBJECT_H
#define VGPU_EXEC_OBJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/vblackwell.h>

#include "io.h"
#include "../uapi.h"

/* So long one transfer of a client's file may keep everybody waiting. */
#define VGPU_SLOW_NS		(100ull * 1000u * 1000u)
/* Transfers that a client has when one of them takes longer. */
#define VGPU_SLOW_MAX		4u

struct vgpu_errand;
struct vgpu_opening;

/**
 * struct vgpu_file - a file that objects come from; one for all of them
 * @device, @inode: which file
 * @client: who came with it first
 * @opening: its descriptors, while @errand opens it the errand's
 * @errand: opens it, or NULL; @waits: is to begin when its client has fewer of them
 * @scarce: it could not be opened while there was too little of something: it is tried again
 * @error: what became of that
 * @lent: the I/O engine has it, as @index; else it gets it when it is used, in place of
 *	another one if it has to be
 * @align: what requests to it must keep, in bytes
 * @users: objects
 * @used: when it was used last, by the store's clock
 * @answered_ns: when a transfer of it last came back
 * @next: in the store's list
 */
struct vgpu_file {
	uint64_t device, inode;
	uint32_t client;
	struct vgpu_opening *opening;
	struct vgpu_errand *errand;
	bool waits, lent, scarce;
	int error;
	uint32_t index, align, users;
	uint64_t used, answered_ns;
	struct vgpu_file *next;
};

/**
 * struct vgpu_measure - how fast the engines read a file
 * @fn: NULL: nobody wants to know
 * @chunk_bytes, @bytes: its arguments
 */
struct vgpu_measure {
	vgpu_io_measure_fn fn;
	uint32_t chunk_bytes;
	uint64_t bytes;
};

/**
 * struct vgpu_object - an object of the device; fixed after it was opened, except
 * as noted
 * @id: device-wide, never 0
 * @kind: enum vb_bo_kind
 * @life: enum vb_bo_life
 * @sealed: may become true while the object lives
 * @client: number of its creator
 * @chunks: entries of @table
 * @head: bytes of chunk 0 before byte 0 of the object
 * @file: NULL for an anonymous object
 * @bytes: length
 * @file_offset: of chunk 0 (file) or of the first source byte (derived)
 * @file_end: one past the last byte that belongs to the object
 * @transform: derived
 * @unit_rows, @unit_bytes: derived: the packed unit; @matrix_bytes: one of the stack
 * @table: shared with the device; read it by vgpu_object_entry()
 * @gone: forgotten by the device
 * @forget_tag, @forget_next: FORGET that cannot be answered yet, in the executor's list
 * @lead: slot of a chunk that was looked for, less the chunk's index: where the next one likely
 *	is (slot.h)
 * @jobs: submissions that were started and name it
 * @users: submissions and slots that have it, and FORGET that waits
 * @idle_prev, @idle_next: in the store's list of those without users; @idle: it is there
 * @used: when that was, by the store's clock
 * @next: in the store's list
 */
struct vgpu_object {
	uint32_t id;
	uint16_t kind, life;
	bool sealed, gone, idle;
	uint32_t client, chunks, head;
	struct vgpu_file *file;
	uint64_t bytes, file_offset, file_end;
	struct vb_transform transform;
	uint32_t unit_rows;
	__u64 unit_bytes, matrix_bytes;	/* the type the core gives them */
	const volatile struct vb_table_entry *table;
	uint32_t lead;
	uint32_t jobs, users;
	uint64_t used;
	struct vgpu_object *idle_prev, *idle_next;
	uint64_t forget_tag;
	struct vgpu_object *forget_next;
	struct vgpu_object *next;
};

/**
 * vgpu_object_entry() - the residency of a chunk, as the device shows it
 *
 * The device changes pins and mappings under a lock that is not ours (a module's
 * table is mapped read-only): they may differ a moment later.  What depends on them
 * is decided again by VB_IOC_MOVE, which refuses.
 */
struct vb_table_entry vgpu_object_entry(const struct vgpu_object *o, uint32_t chunk);

/**
 * struct vgpu_store - all objects that the executor has met
 * @io: NULL once the engine is closed, and every file with it
 * @wants: NULL, or asked before a file of so many bytes is opened: is it to be measured?
 * @chose: told what that found, before the file is added: it may replace @io
 *	(vgpu_store_move)
 * @choose_arg: handed to both
 * @closing: descriptors that are being closed
 * @waited_ns: for files to open and close, until @waited_at; less the more time passes
 * @clock: of uses
 * @idle: first and last of the objects without users, oldest first: of those without a
 *	file, and with one
 */
struct vgpu_store {
	struct vgpu_uapi *node;
	struct vgpu_io *io;
	struct vgpu_measure (*wants)(void *arg, uint64_t bytes);
	void (*chose)(void *arg, const struct vgpu_io_probe_result *found);
	void *choose_arg;
	struct vgpu_file *files;
	struct vgpu_opening *closing;
	uint64_t waited_ns, waited_at, clock;
	struct vgpu_object_list {
		struct vgpu_object *first, *last;
	} idle[2];
	uint32_t buckets;		/* power of two; grows with @count, the objects */
	uint32_t count;
	struct vgpu_object **bucket;
};

int vgpu_store_init(struct vgpu_store *s, struct vgpu_uapi *node, struct vgpu_io *io);
void vgpu_store_destroy(struct vgpu_store *s);

/**
 * vgpu_store_get() - the object of an id, opened when it is new
 *
 * Its file may not be ready yet.  It is known until another one is asked for, or as long as
 * somebody has it: where the device, or this process, has no more of something, those that
 * nobody has are closed again, the oldest first.
 *
 * Return: 0; what VB_IOC_OBJECT_OPEN or vgpu_io_file_prepare() said.
 */
int vgpu_store_get(struct vgpu_store *s, uint32_t id, struct vgpu_object **out);
/* Somebody has it from now on, and no longer. */
void vgpu_object_hold(struct vgpu_store *s, struct vgpu_object *o);
void vgpu_object_release(struct vgpu_store *s, struct vgpu_object *o);
/* The object if it was opened before, else NULL. */
struct vgpu_object *vgpu_store_find(struct vgpu_store *s, uint32_t id);
/**
 * vgpu_store_file_ready() - can it be read?
 *
 * Return: 0; -EAGAIN its server has not answered yet; what vgpu_io_file_prepare() or
 * vgpu_io_file_lend() said.
 */
int vgpu_store_file_ready(struct vgpu_store *s, struct vgpu_file *f);
/**
 * vgpu_store_move() - use another engine for every file
 *
 * Nothing may be in flight.  Return: 0, or what vgpu_io_file_lend() said, with nothing
 * changed.
 */
int vgpu_store_move(struct vgpu_store *s, struct vgpu_io *io);
/* Close and free one; nothing may use it any more. */
void vgpu_store_forget(struct vgpu_store *s, uint32_t id);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/* Arenas: slots of one tier in one place. */
#ifndef VB_ARENA_H
#define VB_ARENA_H

#include <linux/maple_tree.h>

#include "core/slots.h"

struct file;
struct vb_client;
struct vb_exec;
struct vb_import;
struct vb_ucmd;

/**
 * struct vb_arena - slots of one tier in one place
 * @tier: enum vb_tier; fixed
 * @numa_node: or -1; fixed
 * @slots: which are free; slot_lock
 * @memory: of @slots
 * @regions: struct vb_region by slot; locks itself; none when the pages are not ours
 * @import: device: its memory is a dma-buf; or NULL; as the next four fixed until it is gone
 * @file: nvme: where its slots can be read; counted; or NULL
 * @file_offset: of slot 0
 * @cpu_path: device: enum vb_cpu_path
 * @cpu_reason: why it is no better, or 0
 * @pinned: chunks here that are pinned or mapped; slot_lock
 * @identity: as created
 * @orphan: its executor died, and no other one has adopted it; exec_lock
 * @gone: its memory is no more; it waits for an arena of this tier to take its number;
 *	written under exec_lock and slot_lock
 */
struct vb_arena {
	u32 tier;
	s32 numa_node;
	struct vb_slots slots;
	void *memory;
	struct maple_tree regions;
	struct vb_import *import;
	struct file *file;
	u64 file_offset;
	u32 cpu_path;
	int cpu_reason;
	s64 pinned;
	u64 identity[2];
	bool orphan, gone;
};

struct vb_arena *vb_arena_of(u32 arena);		/* NULL: there is none */
bool vb_arena_is_gone(u32 loc);
int vb_arena_with_room(int node, u32 *out);
u64 vb_capacity_locked(void);	/* what anonymous objects may reserve; slot_lock, as the next */
u64 vb_host_bytes_locked(void);
u64 vb_device_bytes_locked(void);
u64 vb_content_bytes_locked(void);	/* host bytes without staging */
/* What goes with an executor, with its successor's choice, with the last hope. */
enum vb_leave { VB_LEAVE_DEVICES, VB_LEAVE_ORPHANS, VB_LEAVE_ALL };
void vb_arenas_leave(enum vb_leave who);
void vb_arenas_bury(void);	/* those that are gone; no entry names them */
void vb_arenas_drop(void);
int vb_query_tier(struct vb_client *c, struct vb_ucmd *u);
int vb_arena_create(struct vb_exec *x, struct vb_ucmd *u);

/* Host memory that goes when the kernel is short of it. */
extern unsigned int vb_drain_pause_ms;	/* module parameter */
void vb_drain_done(void);
int vb_drain_init(void);
void vb_drain_exit(void);

#endif

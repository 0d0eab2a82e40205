/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Buffer objects: what they are, their life and their handles.
 *
 * A struct vb_bo has two counts.  @users are those who may use its content
 * (handle, client mappings, submissions, requests, calls in progress); when the last
 * one goes, the executor is asked to forget it, and its slots return with that
 * commit.  @kref keeps the memory for whoever still looks at the structure.
 */
#ifndef VB_BO_H
#define VB_BO_H

#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "core/chunk.h"

struct vb_client;
struct vb_file;
struct vb_import;
struct vb_request;
struct vb_ucmd;

/*
 * Client mappings: the offset of a BO is its handle << VB_BO_SPACE_SHIFT, and
 * offsets are positive.
 */
#define VB_BO_SPACE_SHIFT	46
#define VB_BO_ID_MAX		((1u << 17) - 1)
/* Lists of moves that run: these are as many as the executor has under way. */
#define VB_MOVES_BITS		4

/**
 * struct vb_bo - a buffer object
 * @kref: memory (see above)
 * @users: use (see above)
 * @id: device-wide; fixed
 * @handle: that its client was given at first; fixed; 0 for a store
 * @client: creator, who is charged; fixed but for a store: under @lock it is one of those
 *	who share it, or was the last one
 * @lock: protects what follows unless it says otherwise
 * @traits: what the core must know; only @traits.sealed changes
 * @flags: VB_BO_*
 * @chunks: how many; fixed, as are all up to @file
 * @head_bytes: of chunk 0 before the object's byte 0
 * @bytes: length
 * @file_offset: of chunk 0
 * @file_bytes: derived: source bytes
 * @transform: derived
 * @file: or NULL
 * @is_store: shared by all who ask for the same bytes of @file; fixed
 * @store: place in the table of stores
 * @shares: struct vb_share
 * @import: imported: the memory; fixed; or NULL
 * @pages: file whose address space its mappings are in, or NULL while it has none: so
 *	they can be zapped, and PMD-mapped
 * @kernel_bytes: charged to the user who pays, see vb_user_charge()
 * @table: its pages, by table.c; entries are changed by steps only (resid.h)
 * @tier_chunks: chunks with a valid copy, a tier
 * @slots: held, moves included
 * @dirty: chunks with VB_ENTRY_DIRTY
 * @device_only: chunks whose one valid copy is on a device
 * @lost: chunks that are
 * @pins: pins of VB_ADVISE_PIN
 * @write_maps: writable mappings, devices that may write, and BO_WRITE in progress
 * @mappings: struct vb_hold of BO_MAP
 * @exports: dma-bufs of it
 * @attached: devices that are attached to these
 * @moves: struct vb_running, by the low bits of the chunk
 * @move_count: how many
 * @moved: waits for a move to end
 * @writers: queued and running submissions that write it; work_lock
 * @mark: submission that met it last, to find duplicates; work_lock
 * @forget: request to forget it, made with it: nothing may be lacking at the end.  It
 *	gets the object, counted as memory, when it is sent
 * @shown: the executor may have heard of it
 * @gone: no user is left
 * @freed: vb_bo_free() was called; atomic
 */
struct vb_bo {
	struct kref kref;
	refcount_t users;
	u32 id, handle;
	struct vb_client *client;
	struct mutex lock;
	struct vb_chunk_traits traits;
	u32 flags;
	u32 chunks, head_bytes;
	u64 bytes, file_offset, file_bytes;
	struct vb_transform transform;
	struct vb_file *file;
	bool is_store;
	struct hlist_node store;
	struct list_head shares;
	struct vb_import *import;
	struct file *pages;
	size_t kernel_bytes;
	struct xarray table;
	u64 tier_chunks[VB_TIER_COUNT];
	u64 slots, dirty, device_only, lost, pins;
	u32 write_maps, exports;
	struct list_head mappings, attached;
	struct hlist_head moves[1u << VB_MOVES_BITS];
	u32 move_count;
	wait_queue_head_t moved;
	u32 writers;
	u64 mark;
	struct vb_request *forget;
	bool shown, gone;
	int freed;
};

struct vb_bo *vb_bo_get(struct vb_client *c, u32 handle);
/* Another user, by one who is one. */
static inline void vb_bo_use(struct vb_bo *bo)
{
	refcount_inc(&bo->users);
}

void vb_bo_put(struct vb_bo *bo);		/* may sleep */
struct vb_bo *vb_bo_look(u32 id);		/* memory of the object with this id, or NULL */
void vb_bo_unlook(struct vb_bo *bo);
void vb_bo_free(struct vb_bo *bo);
void vb_bo_show(struct vb_bo *bo);
int vb_bo_adopt(struct vb_client *c, struct vb_ucmd *u, struct vb_import *m, bool readonly);
int vb_bo_share(struct vb_client *c, struct vb_bo *bo, struct vb_ucmd *u, u32 *out_id);
void vb_bo_unshare(struct vb_client *c, struct vb_bo *bo);
void vb_bo_publish(struct vb_bo *bo);
int vb_bo_create(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_destroy(struct vb_client *c, struct vb_ucmd *u);

/* Requests about one that wait for nobody, and advice on where it is to be. */
int vb_bo_info(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_seal(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_residency(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_advise(struct vb_client *c, struct vb_ucmd *u);

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * Arenas: slots of one tier in one place.  They come with an executor, and go with it or
 * are left to its successor (adopt.c).
 */
#include "arena.h"

#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/nospec.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "core/slots.h"
#include "client.h"
#include "device.h"
#include "exec.h"
#include "file.h"
#include "import.h"
#include "quarantine.h"
#include "region.h"
#include "ucmd.h"
#include "vb.h"

/**
 * vb_arena_of() - the arena with this number
 * @arena: number, of whoever
 *
 * It stays while the entry or the move of a chunk names one of its slots; one that is gone
 * (vb_arena_is_gone()) until another one takes its number.  That the executor's file is open
 * keeps none: another of its threads may begin anew.
 *
 * Context: exec_lock, slot_lock, or the lock of an object with a slot there.
 * Return: the arena; NULL: there is none.
 */
struct vb_arena *vb_arena_of(u32 arena)
{
	/* Pairs with the release where arenas are added. */
	const u32 count = smp_load_acquire(&vb.arena_count);

	return arena < count ? READ_ONCE(vb.arenas[array_index_nospec(arena, count)]) : NULL;
}

/**
 * vb_arena_with_room() - a host arena that has a free slot
 * @node: NUMA node that it is to be on rather than another one, or NUMA_NO_NODE
 * @out: its number
 *
 * Context: takes slot_lock; a moment later the slot may be somebody's.
 * Return: 0; -ENOSPC.
 */
int vb_arena_with_room(int node, u32 *out)
{
	int rc = -ENOSPC;
	u32 i;

	spin_lock(&vb.slot_lock);
	for (i = 0; i < vb.arena_count; i++) {
		const struct vb_arena *a = vb.arenas[i];

		if (a->tier != VB_TIER_HOST || a->gone || !a->slots.free)
			continue;
		if (rc || a->numa_node == node)
			*out = i;
		rc = 0;
		if (a->numa_node == node)
			break;
	}
	spin_unlock(&vb.slot_lock);
	return rc;
}

/* ---- how much ---- */

static u64 tier_bytes(u32 tier)
{
	u64 slots = 0;
	u32 i;

	lockdep_assert_held(&vb.slot_lock);
	for (i = 0; i < vb.arena_count; i++)
		if (vb.arenas[i]->tier == tier)
			slots += vb.arenas[i]->slots.present;
	return slots << vb.chunk_shift;
}

/**
 * vb_host_bytes_locked() - host memory in all regions, whoever has it
 *
 * Context: slot_lock.
 * Return: bytes, staging included.
 */
u64 vb_host_bytes_locked(void)
{
	return tier_bytes(VB_TIER_HOST);
}

/**
 * vb_device_bytes_locked() - slots of all device arenas
 *
 * Context: slot_lock.
 * Return: bytes.
 */
u64 vb_device_bytes_locked(void)
{
	return tier_bytes(VB_TIER_DEVICE);
}

/**
 * vb_content_bytes_locked() - host memory that content may have
 *
 * Context: slot_lock.
 * Return: bytes in regions, without what the executor keeps for staging.
 */
u64 vb_content_bytes_locked(void)
{
	u64 host = vb_host_bytes_locked();

	return host > vb.staging_bytes ? host - vb.staging_bytes : 0;
}

/**
 * vb_capacity_locked() - what anonymous objects may reserve
 *
 * The content of each must find a place in host memory or NVMe; devices do not count.
 *
 * Context: slot_lock.
 * Return: bytes.
 */
u64 vb_capacity_locked(void)
{
	return vb_content_bytes_locked() + tier_bytes(VB_TIER_NVME);
}

static bool is_first_host(u32 index)
{
	u32 first = 0;

	while (first < index && vb.arenas[first]->tier != VB_TIER_HOST)
		first++;
	return first == index && vb.arenas[index]->tier == VB_TIER_HOST;
}

static int query_locked(struct vb_client *c, struct vb_ioc_query_tier *q)
{
	const struct vb_arena *a = vb_arena_of(q->index);

	if (!a)
		return -EINVAL;
	q->out_tier = a->tier;
	q->out_flags = 0;
	q->out_numa_node = a->numa_node;
	q->out_arena = q->index;
	q->out_bytes = (u64)a->slots.present << vb.chunk_shift;
	q->out_used_bytes = (u64)(a->slots.present - a->slots.free) << vb.chunk_shift;
	q->out_pinned_bytes = (u64)a->pinned << vb.chunk_shift;
	q->out_reserved_bytes = is_first_host(q->index) ? vb.reserved_bytes : 0;
	q->out_cpu_path = a->cpu_path;
	q->out_cpu_reason = a->cpu_reason;
	q->out_client_bytes = c->slots[q->index] << vb.chunk_shift;
	return 0;
}

/**
 * vb_query_tier() - VB_IOC_QUERY_TIER: how large an arena is and what it is used for
 * @c: who asks, and whose part of it is said
 * @u: struct vb_ioc_query_tier
 *
 * What objects have reserved is said with the first host arena, and with no other.
 *
 * Context: takes slot_lock.
 * Return: 0; -EINVAL no arena has that index.
 */
int vb_query_tier(struct vb_client *c, struct vb_ucmd *u)
{
	int rc;

	spin_lock(&vb.slot_lock);
	rc = query_locked(c, u->cmd);
	spin_unlock(&vb.slot_lock);
	return rc;
}

/* ---- they come ---- */

static void arena_free(struct vb_arena *a)
{
	struct vb_region *region;
	unsigned long index = 0;

	mt_for_each(&a->regions, region, index, ULONG_MAX)
		vb_region_put(region);
	mtree_destroy(&a->regions);
	if (a->import)
		vb_import_put(a->import);
	if (a->file)
		fput(a->file);
	kvfree(a->memory);
	kfree(a);
}

static struct vb_arena *arena_new(const struct vb_ioc_arena_create *cmd)
{
	struct vb_arena *a = kzalloc(sizeof(*a), GFP_KERNEL_ACCOUNT);

	if (!a)
		return NULL;
	a->memory = kvzalloc(vb_slots_bytes(cmd->slots), GFP_KERNEL_ACCOUNT);
	if (!a->memory) {
		kfree(a);
		return NULL;
	}
	/* It is looked up while regions come. */
	mt_init_flags(&a->regions, MT_FLAGS_USE_RCU);
	a->tier = cmd->tier;
	a->numa_node = cmd->numa_node;
	memcpy(a->identity, cmd->identity, sizeof(a->identity));
	vb_slots_init(&a->slots, cmd->slots, a->memory);
	if (cmd->tier != VB_TIER_HOST)
		vb_slots_add(&a->slots, 0, cmd->slots);
	return a;
}

static bool node_is_valid(s32 node)
{
	return node == NUMA_NO_NODE || (node >= 0 && node < MAX_NUMNODES && node_online(node));
}

static bool memory_is_valid(const struct vb_ioc_arena_create *cmd)
{
	if (cmd->memory == VB_ARENA_FILE)
		return cmd->tier == VB_TIER_NVME && !(cmd->memory_offset % SZ_4K);
	if (cmd->memory > VB_ARENA_FILE || cmd->memory_offset ||
	    (cmd->memory != VB_ARENA_DMABUF && cmd->memory_fd))
		return false;
	return cmd->memory == VB_ARENA_EXECUTOR || cmd->tier == VB_TIER_DEVICE;
}

/* The number of an arena of the tier that is gone, or a new one; -EDQUOT. */
static int arena_number(u32 tier)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	for (i = 0; i < vb.arena_count; i++)
		if (vb.arenas[i]->gone && vb.arenas[i]->tier == tier)
			return i;
	return vb.arena_count < VB_ARENA_MAX ? vb.arena_count : -EDQUOT;
}

/* The arena whose number it has from now on is the caller's to free; or NULL. */
static struct vb_arena *arena_put(struct vb_arena *a, u32 number)
{
	struct vb_arena *old = NULL;

	spin_lock(&vb.slot_lock);
	if (number < vb.arena_count)
		old = vb.arenas[number];
	WRITE_ONCE(vb.arenas[number], a);
	if (!old)
		/* Whoever sees the count sees the arena; pairs with vb_arena_of(). */
		smp_store_release(&vb.arena_count, number + 1);
	spin_unlock(&vb.slot_lock);
	return old;
}

/* With its number it is no more the caller's: another thread may RECOVER without it. */
static int arena_publish(struct vb_arena *a, struct vb_ioc_arena_create *cmd)
{
	int rc, number = arena_number(a->tier);
	struct vb_arena *old;

	lockdep_assert_held(&vb.exec_lock);
	if (number < 0)
		return number;
	if (cmd->memory == VB_ARENA_BAR) {
		rc = vb_device_bar(a, number, cmd->slots);
		if (rc)
			return rc;
		cmd->out_mmap_offset = vb_region_mmap_offset(number, 0);
	}
	cmd->out_arena = number;
	cmd->out_cpu_path = a->cpu_path;
	cmd->out_cpu_reason = a->cpu_reason;
	old = arena_put(a, number);
	if (old)
		arena_free(old);
	return 0;
}

/* Where the executor keeps it. */
static int arena_set_file(struct vb_arena *a, const struct vb_ioc_arena_create *cmd)
{
	struct file *file = fget(cmd->memory_fd), *own;

	if (!file)
		return -EBADF;
	own = file->f_mode & FMODE_READ ? vb_file_reopen(file, current_cred()) : ERR_PTR(-EBADF);
	fput(file);
	if (IS_ERR(own))
		return PTR_ERR(own);
	a->file = own;
	a->file_offset = cmd->memory_offset;
	return 0;
}

/**
 * vb_arena_create() - VB_IOC_ARENA_CREATE: an arena; of host memory it has no regions yet
 * @x: the executor
 * @u: struct vb_ioc_arena_create
 *
 * Its number is that of an arena of the tier that is gone, or a new one.
 *
 * Context: takes exec_lock; may sleep as long as the exporter of a dma-buf likes.
 * Return: 0; -EINVAL; -ENOMEM; -EBADF; -EDQUOT VB_ARENA_MAX are there; what vb_device_import(),
 * vb_device_bar() and vb_file_reopen() say.
 */
int vb_arena_create(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_arena_create *cmd = u->cmd;
	struct vb_arena *a;
	int rc;

	if (cmd->tier >= VB_TIER_COUNT || !node_is_valid(cmd->numa_node) || !cmd->slots ||
	    cmd->slots > VB_ARENA_SLOTS_MAX || !memory_is_valid(cmd))
		return -EINVAL;
	a = arena_new(cmd);
	if (!a)
		return -ENOMEM;
	cmd->out_mmap_offset = 0;
	rc = cmd->memory == VB_ARENA_FILE ? arena_set_file(a, cmd) : vb_device_import(a, cmd);
	if (!rc) {
		mutex_lock(&vb.exec_lock);
		rc = arena_publish(a, cmd);
		mutex_unlock(&vb.exec_lock);
	}
	if (rc)
		arena_free(a);
	return rc;
}

/* ---- and go ---- */

/**
 * vb_arena_is_gone() - is the memory of a slot no more
 * @loc: VB_LOC of the slot
 *
 * Context: as vb_arena_of(); under exec_lock or slot_lock the answer stays true.
 * Return: true: it has gone with an executor, or there is no such arena.
 */
bool vb_arena_is_gone(u32 loc)
{
	const struct vb_arena *a = vb_arena_of(VB_LOC_ARENA(loc));

	return !a || READ_ONCE(a->gone);
}

static bool leaves(const struct vb_arena *a, enum vb_leave who)
{
	switch (who) {
	case VB_LEAVE_DEVICES:
		return a->tier == VB_TIER_DEVICE;
	case VB_LEAVE_ORPHANS:
		return a->orphan;
	default:
		return true;
	}
}

/**
 * vb_arenas_leave() - the memory of arenas is no more
 * @who: of which
 *
 * It only says so: what lay there is given up by vb_resid_orphan(), object by object,
 * and then vb_arenas_bury() frees it.
 *
 * Context: exec_lock; takes slot_lock.
 */
void vb_arenas_leave(enum vb_leave who)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	spin_lock(&vb.slot_lock);
	for (i = 0; i < vb.arena_count; i++)
		if (leaves(vb.arenas[i], who))
			WRITE_ONCE(vb.arenas[i]->gone, true);
	spin_unlock(&vb.slot_lock);
}

/* Its memory returns; its number stays until another arena of the tier has it. */
static void bury(struct vb_arena *a)
{
	struct vb_import *import = a->import;
	struct file *file = a->file;
	struct vb_region *region;
	unsigned long index = 0;

	spin_lock(&vb.slot_lock);
	vb_slots_init(&a->slots, 0, a->memory);
	a->orphan = false;
	a->import = NULL;
	a->file = NULL;
	a->cpu_path = VB_CPU_MIGRATE;
	spin_unlock(&vb.slot_lock);
	mt_for_each(&a->regions, region, index, ULONG_MAX) {
		mtree_erase(&a->regions, region->first);
		vb_region_put(region);
	}
	if (import)
		vb_import_put(import);
	if (file)
		fput(file);
}

/**
 * vb_arenas_bury() - free the memory of the arenas that are gone
 *
 * Their numbers stay until another arena of the tier has them.
 *
 * Context: exec_lock; takes slot_lock; may sleep. No entry of a table names them any more.
 */
void vb_arenas_bury(void)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	spin_lock(&vb.slot_lock);
	vb_quarantine_leave_locked();
	spin_unlock(&vb.slot_lock);
	for (i = 0; i < vb.arena_count; i++)
		if (vb.arenas[i]->gone)
			bury(vb.arenas[i]);
}

/**
 * vb_arenas_drop() - all arenas go, and so do their numbers
 *
 * Context: exec_lock; takes slot_lock; may sleep. No object has a slot and nobody can look
 * an arena up: the nodes are closed.
 */
void vb_arenas_drop(void)
{
	u32 i, count;

	lockdep_assert_held(&vb.exec_lock);
	spin_lock(&vb.slot_lock);
	vb_quarantine_leave_locked();
	count = vb.arena_count;
	WRITE_ONCE(vb.arena_count, 0);
	spin_unlock(&vb.slot_lock);
	for (i = 0; i < count; i++) {
		arena_free(vb.arenas[i]);
		vb.arenas[i] = NULL;
	}
}

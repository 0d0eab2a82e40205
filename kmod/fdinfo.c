// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/PID/fdinfo/FD of both nodes: the keys of Documentation/gpu/drm-usage-stats.rst,
 * so that tools for GPUs show us too, and keys of our own behind "vblackwell-".
 *
 * Regions are tiers, the engine is the executor.  "total" is slots held, those that a
 * move fills included; "resident" is current copies; "shared" is those of stores that
 * others have handles of, whoever pays; "purgeable" is copies that are charged to the
 * client and may be dropped without a write.  What is charged to it is a key of ours.
 * There is no drm-pdev: the device is not on a bus.
 */
#include "show.h"

#include <linux/seq_file.h>

#include "arena.h"
#include "client.h"
#include "exec.h"
#include "store.h"
#include "usage.h"
#include "user.h"
#include "vb.h"

/* What is shown of a client, or of all together; chunks and bytes. */
struct view {
	u64 slots[VB_TIER_COUNT];
	struct vb_usage usage;
	u64 others[VB_TIER_COUNT], shared[VB_TIER_COUNT];
	u64 anonymous_bytes, pinned_bytes, kernel_bytes, in_flight;
	u64 counters[VB_COUNT_COUNT];
};

static void show_view(struct seq_file *m, const struct view *v)
{
	static const char *const tiers[] = { "host", "device", "nvme" };
	u32 shift = vb.chunk_shift - 10, i;

	seq_printf(m, "drm-engine-exec:\t%llu ns\n", v->counters[VB_COUNT_BUSY_NS]);
	for (i = 0; i < ARRAY_SIZE(tiers); i++) {
		seq_printf(m, "drm-total-%s:\t%llu KiB\n", tiers[i],
			   (v->slots[i] + v->others[i]) << shift);
		seq_printf(m, "drm-shared-%s:\t%llu KiB\n", tiers[i], v->shared[i] << shift);
		seq_printf(m, "drm-resident-%s:\t%llu KiB\n", tiers[i],
			   (v->usage.resident[i] + v->others[i]) << shift);
		seq_printf(m, "drm-purgeable-%s:\t%llu KiB\n", tiers[i],
			   v->usage.purgeable[i] << shift);
	}
	for (i = 0; i < ARRAY_SIZE(tiers); i++)
		seq_printf(m, "vblackwell-charged-%s:\t%llu KiB\n", tiers[i], v->slots[i] << shift);
	seq_printf(m, "vblackwell-anonymous:\t%llu KiB\n", v->anonymous_bytes >> 10);
	seq_printf(m, "vblackwell-pinned:\t%llu KiB\n", v->pinned_bytes >> 10);
	seq_printf(m, "vblackwell-kernel:\t%llu KiB\n", v->kernel_bytes >> 10);
	seq_printf(m, "vblackwell-in-flight:\t%llu\n", v->in_flight);
	seq_printf(m, "vblackwell-submits:\t%llu\n", v->counters[VB_COUNT_SUBMITS]);
	seq_printf(m, "vblackwell-errors:\t%llu\n", v->counters[VB_COUNT_ERRORS]);
	seq_printf(m, "vblackwell-stall:\t%llu ns\n", v->counters[VB_COUNT_STALL_NS]);
}

/**
 * vb_client_fdinfo() - /proc/PID/fdinfo/FD of a client
 * @m: where it goes
 * @filp: client node
 *
 * Context: takes the client's lock, slot_lock, work_lock, one after the other.
 */
void vb_client_fdinfo(struct seq_file *m, struct file *filp)
{
	struct vb_client *c = filp->private_data;
	struct view v = { .in_flight = 0 };
	u32 i;

	vb_store_usage(c, v.others, v.shared);
	spin_lock(&vb.slot_lock);
	for (i = 0; i < vb.arena_count; i++)
		v.slots[vb.arenas[i]->tier] += c->slots[i];
	v.usage = c->usage;
	v.anonymous_bytes = c->quota.used[VB_USE_BYTES];
	v.pinned_bytes = c->quota.pinned;
	v.kernel_bytes = atomic_long_read(&c->user->kernel_bytes);
	spin_unlock(&vb.slot_lock);
	spin_lock(&vb.work_lock);
	v.in_flight = c->quota.used[VB_USE_SUBMISSIONS];
	memcpy(v.counters, c->counters, sizeof(v.counters));
	spin_unlock(&vb.work_lock);
	seq_printf(m, "drm-driver:\tvblackwell\ndrm-client-id:\t%u\n", c->number);
	show_view(m, &v);
}

static void add_kernel_bytes(const struct vb_user *user, void *arg)
{
	struct view *v = arg;

	v->kernel_bytes += atomic_long_read(&user->kernel_bytes);
}

/**
 * vb_exec_fdinfo() - the same of the executor's node: all clients together
 * @m: where it goes
 * @filp: executor's node; whoever has it open, attached or not
 *
 * The numbers of clients begin with 1: drm-client-id is 0 here.
 *
 * Context: takes slot_lock, work_lock, one after the other.
 */
void vb_exec_fdinfo(struct seq_file *m, struct file *filp)
{
	const struct vb_exec *x = filp->private_data;
	struct view v = { .in_flight = 0 };
	u32 i;

	spin_lock(&vb.slot_lock);
	for (i = 0; i < vb.arena_count; i++) {
		const struct vb_arena *a = vb.arenas[i];

		v.slots[a->tier] += a->slots.present - a->slots.free;
		v.pinned_bytes += (u64)a->pinned << vb.chunk_shift;
	}
	vb_users_each_locked(add_kernel_bytes, &v);
	v.usage = vb.usage;
	v.anonymous_bytes = vb.reserved_bytes;
	spin_unlock(&vb.slot_lock);
	spin_lock(&vb.work_lock);
	v.in_flight = vb.fetched;
	memcpy(v.counters, vb.counters, sizeof(v.counters));
	spin_unlock(&vb.work_lock);
	seq_puts(m, "drm-driver:\tvblackwell\ndrm-client-id:\t0\n");
	show_view(m, &v);
	seq_printf(m, "vblackwell-attached:\t%d\n", READ_ONCE(x->attached));
	seq_printf(m, "vblackwell-state:\t%s\n", vb_exec_state_name(READ_ONCE(vb.exec_state)));
	seq_printf(m, "vblackwell-generation:\t%u\n", READ_ONCE(vb.generation));
}

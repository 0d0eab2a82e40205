// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/vblackwell: what the module knows, as text for people.  Formats may
 * change; what programs read is in sysfs, fdinfo and the ioctls.
 *
 *	executor	who it is, what it has in its hands
 *	arenas		arenas, their regions, in what pieces their memory came and from where
 *	quarantine	slots that nobody holds and somebody still refers to
 *	clients, users	limits and what counts against them
 *	objects		an object a line, and the states of its chunks
 *
 * Chunk states are runs, "12. 3c 1D": twelve never touched, three clean, one dirty and
 * pinned or mapped (capital letters).
 */
#include "show.h"

#include <linux/debugfs.h>
#include <linux/pid.h>
#include <linux/seq_file.h>
#include <linux/user_namespace.h>

#include "core/chunk.h"
#include "core/quota.h"
#include "arena.h"
#include "bo.h"
#include "client.h"
#include "exec.h"
#include "region.h"
#include "slot.h"
#include "table.h"
#include "user.h"
#include "vb.h"

#define RUNS_MAX	4096u	/* of one object */

static struct dentry *directory;

static const char *const tier_names[] = { "host", "device", "nvme" };

/* ---- executor ---- */

static void show_exec(struct seq_file *m, const struct vb_exec *x)
{
	s64 silent_ns = ktime_get_ns() - READ_ONCE(x->last_call_ns);

	seq_printf(m, "pid %d\nattached %d\nlast call %lld ms ago\n",
		   x->pid ? pid_nr(x->pid) : 0, x->attached, max_t(s64, silent_ns, 0) / 1000000);
}

static int executor_show(struct seq_file *m, void *v)
{
	u32 fetched, ready, requests;

	mutex_lock(&vb.exec_lock);
	seq_printf(m, "state %s\ngeneration %u\n", vb_exec_state_name(vb.exec_state),
		   vb.generation);
	if (vb.exec)
		show_exec(m, vb.exec);
	mutex_unlock(&vb.exec_lock);
	spin_lock(&vb.work_lock);
	fetched = vb.fetched;
	requests = vb.requests.count;
	ready = vb.shares.count;
	spin_unlock(&vb.work_lock);
	seq_printf(m, "timeout %u ms\nfetched %u\nrequests %u\nready clients %u\n",
		   READ_ONCE(vb_exec_timeout_ms), fetched, requests, ready);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(executor);

/* ---- memory ---- */

static void show_region(struct seq_file *m, const struct vb_region *region, int node)
{
	u32 orders[16] = { 0 }, i, elsewhere = vb_region_slots_elsewhere(region, node);

	for (i = 0; i < region->slots; i++)
		orders[min_t(u32, region->slot[i].order, ARRAY_SIZE(orders) - 1)]++;
	seq_printf(m, "  slots %u-%u:", region->first, region->first + region->slots - 1);
	for (i = ARRAY_SIZE(orders); i--;)
		if (orders[i])
			seq_printf(m, " %u of order %u", orders[i], i);
	if (elsewhere)
		seq_printf(m, ", %u on other nodes", elsewhere);
	seq_putc(m, '\n');
}

static void show_arena(struct seq_file *m, u32 index)
{
	struct vb_arena *a = vb.arenas[index];
	struct vb_region *region;
	unsigned long at = 0;

	spin_lock(&vb.slot_lock);
	seq_printf(m, "arena %u: %s, node %d, %u of %u slots present, %u free, %lld held\n", index,
		   tier_names[a->tier], a->numa_node, a->slots.present, a->slots.count,
		   a->slots.free, a->pinned);
	spin_unlock(&vb.slot_lock);
	mt_for_each(&a->regions, region, at, ULONG_MAX)
		show_region(m, region, a->numa_node);
}

/* Arenas go, and regions, under exec_lock. */
static int arenas_show(struct seq_file *m, void *v)
{
	u32 i;

	mutex_lock(&vb.exec_lock);
	for (i = 0; i < vb.arena_count; i++)
		show_arena(m, i);
	mutex_unlock(&vb.exec_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(arenas);

static int quarantine_show(struct seq_file *m, void *v)
{
	struct vb_region *region;
	struct vb_slot *slot;

	spin_lock(&vb.slot_lock);
	list_for_each_entry(slot, &vb.quarantine, quarantine)
		if (vb_slot_find(slot->loc, &region) == slot)
			seq_printf(m, "arena %u slot %u: object %u chunk %u, %d references, %d before\n",
				   VB_LOC_ARENA(slot->loc), VB_LOC_SLOT(slot->loc), slot->object,
				   slot->chunk, vb_slot_foreign(region, slot), slot->baseline);
	spin_unlock(&vb.slot_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(quarantine);

/* ---- clients and users ---- */

/* For people: the numbers need not be of one moment. */
static void show_quota(struct seq_file *m, const struct vb_quota *of)
{
	static const char *const names[] = {
		[VB_LIMIT_HOST_MIN] = "host_min", [VB_LIMIT_HOST_MAX] = "host_max",
		[VB_LIMIT_DEVICE_MIN] = "device_min", [VB_LIMIT_DEVICE_MAX] = "device_max",
		[VB_LIMIT_BYTES_MAX] = "bytes_max", [VB_LIMIT_SUBMISSIONS] = "submissions",
	};
	/* Numbers to look at: each is whole, and they need not be one moment's. */
	struct vb_quota q = data_race(*of);
	u32 limit;

	for (limit = VB_LIMIT_HOST_MIN; limit <= VB_LIMIT_SUBMISSIONS; limit++)
		if (q.limits[limit] == VB_QUOTA_NONE)
			seq_printf(m, " %s %llu", names[limit], vb_quota_used(&q, limit));
		else
			seq_printf(m, " %s %llu/%llu", names[limit], vb_quota_used(&q, limit),
				   q.limits[limit]);
	seq_printf(m, " held %llu", q.held);
}

static int clients_show(struct seq_file *m, void *v)
{
	struct vb_client *c;
	unsigned long number;

	xa_lock(&vb.clients);
	xa_for_each(&vb.clients, number, c) {
		seq_printf(m, "client %u uid %u:", c->number,
			   from_kuid_munged(&init_user_ns, c->user->uid));
		show_quota(m, &c->quota);
		seq_putc(m, '\n');
	}
	xa_unlock(&vb.clients);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(clients);

static void show_user(const struct vb_user *user, void *arg)
{
	struct seq_file *m = arg;

	seq_printf(m, "uid %u clients %u:", from_kuid_munged(&init_user_ns, user->uid),
		   user->quota.clients);
	show_quota(m, &user->quota);
	seq_printf(m, " kernel %ld\n", atomic_long_read(&user->kernel_bytes));
}

static int users_show(struct seq_file *m, void *v)
{
	spin_lock(&vb.slot_lock);
	seq_printf(m, "promised: host %llu of %llu, device %llu of %llu; held beyond: %llu\n",
		   vb.quota.promised[0], vb.quota.room[0], vb.quota.promised[1],
		   vb.quota.room[1], vb.quota.excess);
	vb_users_each_locked(show_user, m);
	spin_unlock(&vb.slot_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(users);

/* ---- objects ---- */

static char state_letter(const struct vb_bo *bo, const struct vb_table_entry *e)
{
	static const char letters[] = {
		[VB_CHUNK_EMPTY] = '.',		[VB_CHUNK_ABSENT] = 'a',
		[VB_CHUNK_FILLING] = 'f',	[VB_CHUNK_HOST_CLEAN] = 'c',
		[VB_CHUNK_HOST_DIRTY] = 'd',	[VB_CHUNK_WRITEBACK] = 'w',
		[VB_CHUNK_MIGRATING] = 'm',	[VB_CHUNK_DEVICE] = 'g',
		[VB_CHUNK_LOST] = 'x',
	};
	char letter = letters[vb_chunk_state(e, &bo->traits)];

	return (e->pins || e->maps) && letter >= 'a' ? letter - 'a' + 'A' : letter;
}

static void show_chunks(struct seq_file *m, struct vb_bo *bo)
{
	u32 chunk, n, run = 0, runs = 0;
	char letter, last = 0;

	for (chunk = 0; chunk < bo->chunks && runs < RUNS_MAX; chunk += n) {
		letter = state_letter(bo, vb_entry_run(bo, chunk, &n));
		if (last && letter != last) {
			seq_printf(m, " %u%c", run, last);
			run = 0;
			runs++;
		}
		last = letter;
		run += n;
		cond_resched();
	}
	seq_printf(m, runs < RUNS_MAX ? " %u%c\n" : " %u%c ...\n", run, last);
}

static int objects_show(struct seq_file *m, void *v)
{
	static const char *const kinds[] = {
		[VB_BO_ANONYMOUS] = "anonymous", [VB_BO_FILE] = "file",
		[VB_BO_DERIVED] = "derived", [VB_BO_IMPORTED] = "imported",
	};
	struct vb_bo *bo = v;

	mutex_lock(&bo->lock);
	seq_printf(m, "object %u client %u handle %u %s%s%s users %u moves %u bytes %llu chunks %u:",
		   bo->id, bo->client->number, bo->handle, kinds[bo->traits.kind],
		   bo->traits.sealed ? " sealed" : "", bo->gone ? " gone" : "",
		   refcount_read(&bo->users), bo->move_count, bo->bytes, bo->chunks);
	show_chunks(m, bo);
	mutex_unlock(&bo->lock);
	return 0;
}

/* The position is the id; each object is counted while it is shown. */
static void *object_from(loff_t *pos)
{
	unsigned long id = *pos;
	struct vb_bo *bo;

	xa_lock(&vb.bos);
	bo = xa_find(&vb.bos, &id, ULONG_MAX, XA_PRESENT);
	if (bo)
		kref_get(&bo->kref);
	xa_unlock(&vb.bos);
	*pos = id;
	return bo;
}

static void *objects_start(struct seq_file *m, loff_t *pos)
{
	return object_from(pos);
}

static void objects_stop(struct seq_file *m, void *v)
{
	if (v)
		vb_bo_unlook(v);
}

static void *objects_next(struct seq_file *m, void *v, loff_t *pos)
{
	vb_bo_unlook(v);
	(*pos)++;
	return object_from(pos);
}

static const struct seq_operations objects_sops = {
	.start = objects_start,
	.stop = objects_stop,
	.next = objects_next,
	.show = objects_show,
};
DEFINE_SEQ_ATTRIBUTE(objects);

/* ---- life ---- */

/**
 * vb_debugfs_init() - files for people, below vblackwell/ of debugfs
 *
 * Without debugfs, or without memory, there is nothing to see: that is no error.
 *
 * Context: module load.
 */
void vb_debugfs_init(void)
{
	directory = debugfs_create_dir("vblackwell", NULL);
	debugfs_create_file("executor", 0400, directory, NULL, &executor_fops);
	debugfs_create_file("arenas", 0400, directory, NULL, &arenas_fops);
	debugfs_create_file("quarantine", 0400, directory, NULL, &quarantine_fops);
	debugfs_create_file("clients", 0400, directory, NULL, &clients_fops);
	debugfs_create_file("users", 0400, directory, NULL, &users_fops);
	debugfs_create_file("objects", 0400, directory, NULL, &objects_fops);
}

/**
 * vb_debugfs_exit() - the files go; who reads one is waited for
 *
 * Context: module unload.
 */
void vb_debugfs_exit(void)
{
	debugfs_remove(directory);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Chunks that the device brings into host memory by itself: of files, and what was written out.
 *
 * Who touches a chunk that is on storage waits for two more processes when the executor reads
 * it: for the one to be woken, and to be woken by it.  As long as the executor lets it
 * (VB_IOC_EXCHANGE, fill_count), the device takes a free host slot and reads the chunk itself.
 * The table says the same as if the executor had moved it, and the request that it would have
 * got comes to it later, with VB_FETCH_F_FILLED: nobody waits for that, and who was waited for
 * is not to wait again, for the processor that the executor wakes up on.
 *
 * All that is not simple is left to the executor: a file that may not answer or has its tail
 * here, a client at its limit, a read that fails, a checksum that is another.
 *
 * Who faults may hold locks of the file system: a read that would wait for one, or for anything
 * but the disk, is not begun (IOCB_NOWAIT).  Who gives up waiting leaves the chunk to a worker.
 * Until the read ends the module stays: it reads of objects that are mapped, whose files have it.
 */
#include "fill.h"

#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/completion.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/uio.h>
#include <linux/workqueue.h>

#include "arena.h"
#include "bo.h"
#include "crc.h"
#include "file.h"
#include "move.h"
#include "region.h"
#include "request.h"
#include "vb.h"

#define TELL_JIFFIES	msecs_to_jiffies(10)
#define PIECES_MAX	16u
#define SUM_BYTES	(64u << 10)	/* between two looks whether others want the processor */

/**
 * struct vb_fill - a chunk that the device reads; of who waits for it, or who gave up left it to
 * @bo: object, of which it is a user
 * @chunk: within it
 * @generation: of the executor that let it; another one finds the chunk in the table
 * @r: what the executor is told
 * @m: what moves, from where, to where
 * @file: it is read from; counted
 * @disk: of it
 * @at: byte of it
 * @link: in @filled until it is told
 * @work: ends what nobody waits for
 * @read: all of it has come, or failed
 * @is_left: bit 0: nobody is woken any more: whoever finds it set ends the fill, or sees to it
 * @under_way: pieces, and one until all have begun
 * @error: what became of a piece that failed
 * @blocks: of @block
 * @block: the pages of the slot that it goes to, each counted
 * @one: @block where there is but one
 * @bytes: of a piece, which the disk takes in one
 * @piece: reads
 */
struct vb_fill {
	struct vb_bo *bo;
	u32 chunk, generation;
	struct vb_request *r;
	struct vb_fill_move m;
	struct file *file;
	struct block_device *disk;
	loff_t at;
	struct llist_node link;
	struct work_struct work;
	struct completion read;
	unsigned long is_left;
	atomic_t under_way;
	int error;
	u32 blocks, bytes;
	struct bio_vec *block, one;
	struct piece {
		struct kiocb iocb;
		struct vb_fill *fill;
	} piece[PIECES_MAX];
};

static struct workqueue_struct *workers;
static atomic_t unknown = ATOMIC_INIT(0);	/* to the executor, or under way */
static u32 allowed;				/* of these */
static bool held;				/* slot_lock: none takes a slot */
static LLIST_HEAD(filled);

/* ---- how many ---- */

/**
 * vb_fill_allow() - so many chunks the device may have filled that the executor does not know of
 * @count: its word; more than VB_FILLS_MAX are as many
 *
 * Context: any.
 */
void vb_fill_allow(u32 count)
{
	WRITE_ONCE(allowed, min(count, VB_FILLS_MAX));
}

/**
 * vb_fill_hold() - no slot is taken from now on that is free now, or becomes so
 * @hold: or they may be taken again
 *
 * Pins that the executor has on a slot are counted when it is taken: it must not register memory
 * that holds a chunk already.
 *
 * Context: takes slot_lock.
 */
void vb_fill_hold(bool hold)
{
	spin_lock(&vb.slot_lock);
	held = hold;
	spin_unlock(&vb.slot_lock);
}

/**
 * vb_fill_is_held_locked() - see vb_fill_hold()
 *
 * Context: slot_lock.
 * Return: yes or no.
 */
bool vb_fill_is_held_locked(void)
{
	lockdep_assert_held(&vb.slot_lock);
	return held;
}

static bool count_one(void)
{
	if (atomic_inc_return(&unknown) <= READ_ONCE(allowed))
		return true;
	atomic_dec(&unknown);
	return false;
}

/**
 * vb_fill_known() - the executor has heard of one, or will find it in the table
 *
 * Context: any.
 */
void vb_fill_known(void)
{
	atomic_dec(&unknown);
}

/* ---- the slot ---- */

static void pages_put(struct vb_fill *f)
{
	u32 i;

	for (i = 0; i < f->blocks; i++)
		put_page(f->block[i].bv_page);
	if (f->block != &f->one)
		kfree(f->block);
}

/* Nobody else gets the slot while the disk may write to it, whatever becomes of the executor. */
static int pages_get(struct vb_fill *f, u32 loc)
{
	struct vb_region *region;
	struct vb_slot *slot = vb_slot_find(loc, &region);
	u32 n = vb.chunk_bytes >> (PAGE_SHIFT + slot->order);

	f->block = n == 1 ? &f->one : kmalloc_array(n, sizeof(*f->block), GFP_KERNEL_ACCOUNT);
	if (!f->block)
		return -ENOMEM;
	while (f->blocks < n) {
		struct bio_vec *b = &f->block[f->blocks];

		b->bv_page = vb_slot_page(slot, f->blocks++ << slot->order);
		b->bv_offset = 0;
		b->bv_len = PAGE_SIZE << slot->order;
		get_page(b->bv_page);
	}
	return 0;
}

/* The entry names its arena, which stays for that long. */
static void file_find(struct vb_fill *f)
{
	const struct vb_arena *a;

	if (f->m.from == VB_TIER_SOURCE) {
		f->file = get_file(f->bo->file->file);
		f->at = f->bo->file_offset + ((u64)f->chunk << vb.chunk_shift);
		return;
	}
	a = vb_arena_of(VB_LOC_ARENA(f->m.at));
	f->file = a->file ? get_file(a->file) : NULL;
	f->at = a->file_offset + ((u64)VB_LOC_SLOT(f->m.at) << vb.chunk_shift);
}

/* Storage of the executor's own is never trusted. */
static int source_check(struct vb_fill *f)
{
	f->disk = f->file ? vb_file_disk(f->file) : NULL;
	if (!f->disk)
		return -EOPNOTSUPP;
	if (f->m.has_crc)
		return vb_crc_is_known() ? 0 : -EOPNOTSUPP;
	return f->m.from == VB_TIER_NVME ? -EOPNOTSUPP : 0;
}

static int slot_take_locked(struct vb_fill *f)
{
	int rc = vb_move_fill_look(f->bo, f->chunk, &f->m);

	if (rc)
		return rc;
	file_find(f);
	rc = source_check(f);
	if (!rc)
		rc = vb_move_fill_begin(f->bo, f->chunk, f, &f->m);
	if (rc)
		return rc;
	rc = pages_get(f, f->m.loc);
	if (rc)
		vb_move_fill_end(f->bo, f->chunk, f, &f->m, rc);
	return rc;
}

/*
 * Who sees the device alive under the object's lock sees its executor there: when that goes, all
 * objects are looked at before it is forgotten.
 */
static int slot_take(struct vb_fill *f)
{
	int rc = -EAGAIN;

	mutex_lock(&f->bo->lock);
	f->generation = READ_ONCE(vb.generation);
	/* It may be another one than when this was counted. */
	if (vb_is_live() && READ_ONCE(allowed))
		rc = slot_take_locked(f);
	mutex_unlock(&f->bo->lock);
	return rc;
}

/* ---- the read ---- */

/* So much the disk takes in one: what it would have to divide would have to wait for that. */
static u32 piece_bytes(const struct vb_fill *f)
{
	const struct queue_limits *l = &bdev_get_queue(f->disk)->limits;
	u64 bytes = (u64)l->max_segments * min(l->max_segment_size, f->block[0].bv_len);

	bytes = min3(bytes, (u64)l->max_sectors << SECTOR_SHIFT, (u64)vb.chunk_bytes);
	if (l->chunk_sectors)
		bytes = min(bytes, (u64)l->chunk_sectors << SECTOR_SHIFT);
	bytes = bytes ? rounddown_pow_of_two(bytes) : 0;
	return bytes * PIECES_MAX < vb.chunk_bytes ? 0 : bytes;
}

/* After the last piece @f is somebody else's. */
static void read_one_less(struct vb_fill *f)
{
	if (!atomic_dec_and_test(&f->under_way))
		return;
	if (test_and_set_bit(0, &f->is_left))
		queue_work(workers, &f->work);
	else
		complete(&f->read);
}

static void piece_done(struct kiocb *iocb, long result)
{
	struct vb_fill *f = container_of(iocb, struct piece, iocb)->fill;

	if (result != f->bytes)
		WRITE_ONCE(f->error, -EIO);
	read_one_less(f);
}

static void piece_begin(struct vb_fill *f, u32 i)
{
	struct piece *p = &f->piece[i];
	struct iov_iter to;
	ssize_t rc;

	p->fill = f;
	init_sync_kiocb(&p->iocb, f->file);
	p->iocb.ki_flags |= IOCB_NOWAIT;
	p->iocb.ki_complete = piece_done;
	p->iocb.ki_pos = f->at + i * f->bytes;
	iov_iter_bvec(&to, READ, f->block, f->blocks, vb.chunk_bytes);
	iov_iter_advance(&to, i * f->bytes);
	iov_iter_truncate(&to, f->bytes);
	atomic_inc(&f->under_way);
	rc = f->file->f_op->read_iter(&p->iocb, &to);
	if (rc != -EIOCBQUEUED)
		piece_done(&p->iocb, rc);
}

static void read_begin(struct vb_fill *f)
{
	u32 i;

	f->bytes = piece_bytes(f);
	if (!f->bytes)
		f->error = -EINVAL;
	for (i = 0; !READ_ONCE(f->error) && i < vb.chunk_bytes / f->bytes; i++)
		piece_begin(f, i);
}

/* What the disk leaves us time for. */
static void prepare_end(struct vb_fill *f, const struct vb_fill_ask *ask)
{
	f->r = vb_request_new(VB_FETCH_PAGE_IN, ask->client, f->bo);
	if (!f->r) {
		WRITE_ONCE(f->error, -ENOMEM);
		return;
	}
	f->r->first = f->chunk;
	f->r->count = 1;
	f->r->flags = ask->flags;
	vb_request_keep(f->r);
	if (f->m.from == VB_TIER_SOURCE && vb_file_check(f->bo->file))
		WRITE_ONCE(f->error, -ESTALE);
}

/* ---- what came ---- */

static int sum_up(struct vb_fill *f)
{
	u32 i, at;
	int rc = 0;

	for (i = 0; i < f->blocks; i++) {
		const u8 *p = page_address(f->block[i].bv_page);

		for (at = 0; !rc && at < f->block[i].bv_len; at += SUM_BYTES) {
			rc = vb_crc_add(&f->m.crc, p + at, min(f->block[i].bv_len - at, SUM_BYTES));
			cond_resched();
		}
	}
	f->m.crc = ~f->m.crc;
	return rc;
}

/* ---- its life ---- */

static void fill_free(struct vb_fill *f)
{
	if (f->file)
		fput(f->file);
	vb_bo_put(f->bo);
	kfree(f);
}

/* Nobody is to be told of it. */
static void fill_drop(struct vb_fill *f)
{
	struct vb_request *r = f->r;

	fill_free(f);
	if (r)
		vb_request_put(r);
	vb_fill_known();
}

/* What was counted for it goes with the request. */
static void fill_tell(struct vb_fill *f)
{
	struct vb_request *r = f->r;

	fill_free(f);
	r->flags |= VB_FETCH_F_FILLED;
	vb_request_send(r);
}

static void tell(struct work_struct *work)
{
	struct llist_node *all = llist_reverse_order(llist_del_all(&filled));
	struct vb_fill *f, *next;

	llist_for_each_entry_safe(f, next, all, link) {
		if (f->generation == READ_ONCE(vb.generation))
			fill_tell(f);
		else
			fill_drop(f);
	}
}

static DECLARE_DELAYED_WORK(tell_work, tell);

/**
 * vb_fill_forget() - an executor is to attach: what its predecessor was not told of, nobody is
 *
 * It does not count for this one, who finds it in the table; what is still read does.
 *
 * Context: no lock held; may sleep.
 */
void vb_fill_forget(void)
{
	flush_delayed_work(&tell_work);
}

/* Several at once, and not so late that no more are allowed meanwhile. */
static void tell_later(struct vb_fill *f)
{
	llist_add(&f->link, &filled);
	if (2 * atomic_read(&unknown) < READ_ONCE(allowed))
		queue_delayed_work(workers, &tell_work, TELL_JIFFIES);
	else
		mod_delayed_work(workers, &tell_work, 1);
}

static int fill_end(struct vb_fill *f)
{
	int rc;

	if (!f->error && f->m.has_crc)
		f->error = sum_up(f);
	pages_put(f);
	mutex_lock(&f->bo->lock);
	rc = vb_move_fill_end(f->bo, f->chunk, f, &f->m, f->error);
	mutex_unlock(&f->bo->lock);
	if (rc)
		fill_drop(f);
	else
		tell_later(f);
	return rc ? -EAGAIN : 0;
}

static void fill_work(struct work_struct *work)
{
	fill_end(container_of(work, struct vb_fill, work));
}

static struct vb_fill *fill_new(const struct vb_fill_ask *ask)
{
	struct vb_fill *f = kmalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);

	if (!f)
		return NULL;
	vb_bo_use(ask->bo);
	f->bo = ask->bo;
	f->chunk = ask->chunk;
	f->r = NULL;
	f->m.node = numa_mem_id();
	f->m.crc = VB_CRC_BEGIN;
	f->file = NULL;
	INIT_WORK(&f->work, fill_work);
	init_completion(&f->read);
	f->is_left = 0;
	atomic_set(&f->under_way, 1);
	f->error = 0;
	f->blocks = 0;
	return f;
}

/* 0, -ETIME or -EINTR. */
static int read_wait(struct vb_fill *f, const struct vb_fill_ask *ask)
{
	u64 now = ktime_get_ns();
	unsigned long left = ask->deadline_ns > now ? nsecs_to_jiffies(ask->deadline_ns - now) : 0;
	long rc;

	if (ask->killable)
		rc = wait_for_completion_killable_timeout(&f->read, left + 1);
	else
		rc = wait_for_completion_interruptible_timeout(&f->read, left + 1);
	if (rc > 0)
		return 0;
	return rc ? -EINTR : -ETIME;
}

static int fill_wait(struct vb_fill *f, const struct vb_fill_ask *ask)
{
	int rc = read_wait(f, ask);

	if (rc && !test_and_set_bit(0, &f->is_left))
		return rc;
	/* It has come after all: who completes it is about to. */
	if (rc)
		wait_for_completion(&f->read);
	return fill_end(f);
}

/* Is all of it in the object?  What is read beyond its end is nobody's to see. */
static bool is_whole(const struct vb_bo *bo, u32 chunk)
{
	u64 end = ((u64)chunk + 1) << vb.chunk_shift;

	return bo->traits.kind == VB_BO_ANONYMOUS ||
	       (bo->traits.kind == VB_BO_FILE && end <= bo->head_bytes + bo->bytes);
}

/**
 * vb_fill() - bring a chunk from storage into host memory, if that is simple
 * @ask: which, for whom
 *
 * Who gives up waiting leaves the read to its end.
 *
 * Context: no lock held, nor mmap_lock; takes the object's lock, slot_lock; may sleep.
 * Return: 0 it is there; -EAGAIN the executor has to be asked; -ETIME; -EINTR.
 */
int vb_fill(const struct vb_fill_ask *ask)
{
	struct vb_fill *f;

	if (!vb_is_live() || READ_ONCE(vb.draining) || !is_whole(ask->bo, ask->chunk) ||
	    !count_one())
		return -EAGAIN;
	f = fill_new(ask);
	if (!f) {
		vb_fill_known();
		return -EAGAIN;
	}
	if (slot_take(f)) {
		fill_drop(f);
		return -EAGAIN;
	}
	read_begin(f);
	prepare_end(f, ask);
	read_one_less(f);
	return fill_wait(f, ask);
}

/**
 * vb_fill_init() - from now on chunks can be filled
 *
 * Context: module load.
 * Return: 0, for vb_fill_exit(); -ENOMEM.
 */
int vb_fill_init(void)
{
	workers = alloc_workqueue("vblackwell", WQ_UNBOUND, 0);
	return workers ? 0 : -ENOMEM;
}

/**
 * vb_fill_exit() - undo vb_fill_init()
 *
 * Context: module unload: nobody has a node open, and no object is there.
 */
void vb_fill_exit(void)
{
	flush_workqueue(workers);
	flush_delayed_work(&tell_work);
	destroy_workqueue(workers);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * mmap() and faults.
 *
 * Clients map objects.  A fault hands out the page of the chunk's host copy, or of its
 * device copy where there is no other and that is memory we know, counted, as any file
 * system does: so reads and writes of O_DIRECT, io_uring and
 * get_user_pages() work on it.  What is absent is asked of the executor; mmap_lock is
 * dropped while we wait.  Pages come read-only until the first write, which makes the
 * other copies of the chunk stale.  A fault returns with its page locked: the mover,
 * which locks it too, cannot run between the look at the table and the page table.
 *
 * The executor maps the regions that it fills, the tables, and the submit region.
 * Its faults wait for nobody.
 */
#include "map.h"

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "core/chunk.h"
#include "bo.h"
#include "client.h"
#include "conftest.h"
#include "exec.h"
#include "fill.h"
#include "import.h"
#include "move.h"
#include "region.h"
#include "request.h"
#include "resid.h"
#include "slot.h"
#include "store.h"
#include "table.h"
#include "vb.h"
#include "wait.h"

static void flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
#ifdef VB_HAS_VM_FLAGS_SET
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

/**
 * vb_vma_keep_readonly() - what is mapped to be read stays so, whatever mprotect() asks for
 * @vma: mapping that is being made
 */
void vb_vma_keep_readonly(struct vm_area_struct *vma)
{
#ifdef VB_HAS_VM_FLAGS_SET
	vm_flags_clear(vma, VM_MAYWRITE);
#else
	vma->vm_flags &= ~VM_MAYWRITE;
#endif
}

/* ---- objects: a file of their own ---- */

static int pages_release(struct inode *inode, struct file *file)
{
	vb_inode_free(file->f_mapping->host);
	return 0;
}

static const struct file_operations pages_fops = {
	.owner = THIS_MODULE,
	.release = pages_release,
};

/* A file that nobody opens: mappings are in its address space, and found there. */
static struct file *pages_new(void)
{
	struct inode *inode = vb_inode_new();
	struct file *file;

	if (IS_ERR(inode))
		return ERR_CAST(inode);
	file = anon_inode_getfile("[vblackwell]", &pages_fops, NULL, O_RDWR);
	if (IS_ERR(file))
		vb_inode_free(inode);
	else
		file->f_mapping = inode->i_mapping;
	return file;
}

static int pages_make(struct vb_bo *bo)
{
	struct file *file;

	/* Who sees it sees what it is; pairs with the release below. */
	if (smp_load_acquire(&bo->pages))
		return 0;
	file = pages_new();
	if (IS_ERR(file))
		return PTR_ERR(file);
	mutex_lock(&bo->lock);
	if (!bo->pages) {
		/* Pairs with the acquire above: another mapper uses it without the lock. */
		smp_store_release(&bo->pages, file);
		file = NULL;
	}
	mutex_unlock(&bo->lock);
	if (file)
		fput(file);
	return 0;
}

/**
 * vb_pages_zap() - take pages of an object out of every page table
 * @bo: object
 * @from: first byte of its chunk grid
 * @bytes: length
 *
 * Context: the object's lock; may sleep.
 */
void vb_pages_zap(struct vb_bo *bo, u64 from, u64 bytes)
{
	lockdep_assert_held(&bo->lock);
	if (bo->pages)
		unmap_mapping_range(bo->pages->f_mapping, from, bytes, 1);
}

/* ---- clients: where a fault is ---- */

static u32 chunk_pages(void)
{
	return vb.chunk_bytes >> PAGE_SHIFT;
}

/* What the host copy gives, or the device copy where its memory is known; NULL. */
static struct page *page_locked(struct vb_bo *bo, u32 chunk, u32 index, u8 *tier)
{
	const struct vb_table_entry *e = vb_entry(bo, chunk);
	struct vb_region *region;
	struct vb_slot *slot;

	lockdep_assert_held(&bo->lock);
	*tier = e->valid & 1u << VB_TIER_HOST ? VB_TIER_HOST : VB_TIER_DEVICE;
	if (!(e->valid & 1u << *tier))
		return NULL;
	slot = vb_slot_find(e->loc[*tier], &region);
	return slot ? vb_slot_page(slot, index) : NULL;
}

/* ---- clients: waiting ---- */

/* Kernel code that faults cannot return to user mode, where signals are handled. */
static bool is_killable_only(unsigned int flags)
{
	return !(flags & FAULT_FLAG_USER) || !(flags & FAULT_FLAG_INTERRUPTIBLE);
}

/**
 * struct view - a mapping of an object, in one piece or several
 * @kref: the pieces
 * @bo: object, of which it is a user
 * @client: that mapped it, whose time its page-ins take; counted; or NULL: who pays for the
 *	object, since nobody knows who has its dma-buf
 */
struct view {
	struct kref kref;
	struct vb_bo *bo;
	struct vb_client *client;
};

static void view_free(struct kref *kref)
{
	struct view *v = container_of(kref, struct view, kref);

	vb_bo_put(v->bo);
	if (v->client)
		vb_client_put(v->client);
	kfree(v);
}

static struct vb_client *client_get(const struct view *v)
{
	if (!v->client)
		return vb_bo_payer(v->bo);
	kref_get(&v->client->kref);
	return v->client;
}

/**
 * struct fault - one that has to wait
 * @bo: object, of which it is a user
 * @client: whose time it takes; counted
 * @chunk: that is not there
 * @flags: FAULT_FLAG_*
 * @deadline_ns: CLOCK_MONOTONIC
 */
struct fault {
	struct vb_bo *bo;
	struct vb_client *client;
	u32 chunk;
	unsigned int flags;
	u64 deadline_ns;
};

static int ask_executor(const struct fault *f, u32 flags)
{
	struct vb_request *r = vb_request_new(VB_FETCH_PAGE_IN, f->client, f->bo);

	if (!r)
		return -ENOMEM;
	r->first = f->chunk;
	r->count = 1;
	r->flags = flags;
	r->killable = is_killable_only(f->flags);
	r->early = true;
	return vb_request_wait(r, f->deadline_ns);
}

/* A read is not waited for with mmap_lock held. */
static int page_in(const struct fault *f)
{
	const struct vb_fill_ask ask = {
		.bo = f->bo, .client = f->client, .chunk = f->chunk,
		.flags = f->flags & FAULT_FLAG_WRITE ? VB_FETCH_F_WRITE : 0,
		.killable = is_killable_only(f->flags), .deadline_ns = f->deadline_ns,
	};
	int rc = f->flags & FAULT_FLAG_ALLOW_RETRY ? vb_fill(&ask) : -EAGAIN;

	return rc == -EAGAIN ? ask_executor(f, ask.flags) : rc;
}

/* What a successor counts must be its own: it adopts memory that nobody else has. */
static int wait_settled(const struct fault *f)
{
	if (is_killable_only(f->flags))
		return vb_wait_killable_until(vb.settled, !vb_is_recovering(), f->deadline_ns);
	return vb_wait_until(vb.settled, !vb_is_recovering(), f->deadline_ns);
}

static int wait_for_chunk(const struct fault *f, bool moving)
{
	if (!vb_takes_work())
		return -ENODEV;
	if (vb_is_recovering())
		return wait_settled(f);
	if (moving)
		return vb_move_wait(f->bo, f->chunk, f->deadline_ns, is_killable_only(f->flags));
	return page_in(f);
}

/*
 * An error is told with mmap_lock held, and whoever called goes on with @vma then: it must be
 * there still, and be ours.  @v is held, so that no other mapping has it.
 */
static bool relock(struct mm_struct *mm, const struct vm_area_struct *vma, unsigned long address,
		   const struct view *v)
{
	const struct vm_area_struct *now;

	if (mmap_read_lock_killable(mm))
		return false;
	now = find_vma(mm, address);
	if (now && now == vma && now->vm_start <= address && now->vm_private_data == v)
		return true;
	mmap_read_unlock(mm);
	return false;
}

/*
 * The chunk is not there.  After mmap_lock was dropped neither vma nor vmf may be
 * looked at, and the fault is repeated; but for an error, with the lock taken again.
 */
static vm_fault_t fault_wait(struct vm_fault *vmf, struct view *v, u32 chunk, bool moving)
{
	const struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	unsigned long address = vmf->address;
	struct fault f = { .bo = v->bo, .chunk = chunk, .flags = vmf->flags };
	bool drops = f.flags & FAULT_FLAG_ALLOW_RETRY;
	vm_fault_t ret = VM_FAULT_RETRY;
	int rc;

	if (drops && f.flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	f.client = client_get(v);
	kref_get(&v->kref);
	if (drops)
		mmap_read_unlock(mm);
	f.deadline_ns = drops ? vb_bound(0) : ktime_get_ns() + VB_FAULT_NS;
	rc = wait_for_chunk(&f, moving);
	/* Maybe the last reference: what goes with a client goes before mmap_lock is back. */
	vb_client_put(f.client);
	if (!drops)
		ret = rc ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
	else if (rc && rc != -EINTR && relock(mm, vma, address, v))
		ret = VM_FAULT_SIGBUS;
	kref_put(&v->kref, view_free);
	return ret;
}

/* ---- clients: faults ---- */

static vm_fault_t client_fault(struct vm_fault *vmf)
{
	struct view *v = vmf->vma->vm_private_data;
	struct vb_bo *bo = v->bo;
	pgoff_t at = vmf->pgoff;	/* of the object's chunk grid */
	u32 chunk = at / chunk_pages();
	const struct vb_table_entry *e;
	struct page *page = NULL;
	bool lost, moving;
	u8 tier;

	if (at / chunk_pages() >= bo->chunks)
		return VM_FAULT_SIGBUS;
	mutex_lock(&bo->lock);
	e = vb_entry(bo, chunk);
	lost = e->flags & VB_ENTRY_LOST;
	moving = e->busy && (!vb_chunk_is_coming(e) || vb_move_is_fill(bo, chunk));
	if (!lost && !e->busy && !vb_is_recovering())
		page = page_locked(bo, chunk, at % chunk_pages(), &tier);
	if (page) {
		get_page(page);
		lock_page(page);
	}
	mutex_unlock(&bo->lock);
	if (lost)
		return VM_FAULT_SIGBUS;
	if (!page)
		return fault_wait(vmf, v, chunk, moving);
	vmf->page = page;
	return VM_FAULT_LOCKED;
}

/* The first write to a page that was handed out; it may have moved since. */
static vm_fault_t client_mkwrite(struct vm_fault *vmf)
{
	struct view *v = vmf->vma->vm_private_data;
	struct vb_bo *bo = v->bo;
	pgoff_t at = vmf->pgoff;
	u32 chunk = at / chunk_pages();
	vm_fault_t ret = VM_FAULT_NOPAGE;
	u8 tier;
	int rc;

	mutex_lock(&bo->lock);
	if (page_locked(bo, chunk, at % chunk_pages(), &tier) == vmf->page) {
		rc = vb_step_write(bo, chunk, tier);
		if (!rc) {
			lock_page(vmf->page);
			ret = VM_FAULT_LOCKED;
		} else if (rc != -EBUSY) {
			ret = VM_FAULT_SIGBUS;
		}
	}
	mutex_unlock(&bo->lock);
	return ret;
}

/* ---- clients: mappings ---- */

static void write_maps_add(struct vm_area_struct *vma, int sign)
{
	struct view *v = vma->vm_private_data;

	if (!(vma->vm_flags & VM_MAYWRITE))
		return;
	mutex_lock(&v->bo->lock);
	v->bo->write_maps += sign;
	mutex_unlock(&v->bo->lock);
}

static struct view *view_new(struct vb_bo *bo, struct vb_client *c)
{
	struct view *v = kmalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);

	if (!v)
		return NULL;
	kref_init(&v->kref);
	vb_bo_use(bo);
	v->bo = bo;
	v->client = c;
	if (c)
		kref_get(&c->kref);
	return v;
}

static void client_vma_open(struct vm_area_struct *vma)
{
	struct view *v = vma->vm_private_data;

	kref_get(&v->kref);
	write_maps_add(vma, 1);
}

static void client_vma_close(struct vm_area_struct *vma)
{
	struct view *v = vma->vm_private_data;

	write_maps_add(vma, -1);
	kref_put(&v->kref, view_free);
}

static const struct vm_operations_struct client_vm_ops = {
	.open = client_vma_open,
	.close = client_vma_close,
	.fault = client_fault,
	.page_mkwrite = client_mkwrite,
};

/* -EROFS: a sealed object is never mapped to be written. */
static int claim_mapping(struct vb_bo *bo, bool write)
{
	int rc = 0;

	mutex_lock(&bo->lock);
	if (write && bo->traits.sealed)
		rc = -EROFS;
	else
		bo->write_maps += write;
	mutex_unlock(&bo->lock);
	return rc;
}

static bool is_inside(const struct vb_bo *bo, struct vm_area_struct *vma)
{
	pgoff_t pages = (pgoff_t)bo->chunks * chunk_pages();

	return vma->vm_pgoff < pages && vma_pages(vma) <= pages - vma->vm_pgoff;
}

/**
 * vb_bo_mmap() - map an object
 * @bo: object, of which the caller is a user; the mapping becomes another
 * @c: client that maps it; NULL: by a dma-buf
 * @vma: to be filled in; its offset is in pages of the object's chunk grid
 *
 * Whatever file was mapped, the mapping is one of the object's own file from here on,
 * so that a chunk that moves is taken out of all of them at once.
 *
 * Context: mmap_lock.
 * Return: 0; -ERANGE; -EROFS; -EINVAL a private mapping; -ENOMEM, -ENFILE.
 */
int vb_bo_mmap(struct vb_bo *bo, struct vb_client *c, struct vm_area_struct *vma)
{
	bool write = vma->vm_flags & VM_WRITE;
	struct view *v;
	int rc;

	/*
	 * A private copy would hide from the owner what others write.  A shared mapping of
	 * what was opened to be read has this flag, and not VM_SHARED.
	 */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (!is_inside(bo, vma))
		return -ERANGE;
	rc = pages_make(bo);
	if (rc)
		return rc;
	v = view_new(bo, c);
	if (!v)
		return -ENOMEM;
	rc = claim_mapping(bo, write);
	if (rc) {
		kref_put(&v->kref, view_free);
		return rc;
	}
	vma_set_file(vma, bo->pages);
	/* Sealing counts on it. */
	if (!write)
		vb_vma_keep_readonly(vma);
	flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = v;
	vma->vm_ops = &client_vm_ops;
	return 0;
}

/**
 * vb_client_mmap() - mmap() of a client's node: an object, by its handle in the offset
 * @filp: node
 * @vma: to be filled in
 *
 * An imported object is mapped by its exporter, and the mapping is the exporter's.
 *
 * Context: mmap_lock.
 * Return: 0; -ENOENT; what vb_bo_mmap() or vb_import_mmap() says.
 */
int vb_client_mmap(struct file *filp, struct vm_area_struct *vma)
{
	const u32 shift = VB_BO_SPACE_SHIFT - PAGE_SHIFT;
	struct vb_client *c = filp->private_data;
	struct vb_bo *bo = vb_bo_get(c, vma->vm_pgoff >> shift);
	int rc;

	if (!bo)
		return -ENOENT;
	vma->vm_pgoff &= (1ull << shift) - 1;
	rc = bo->import ? vb_import_mmap(bo, vma) : vb_bo_mmap(bo, c, vma);
	vb_bo_put(bo);
	return rc;
}

/* ---- executor ---- */

/* What was taken from it does not come back. */
static vm_fault_t fault_of_executor(struct vm_fault *vmf, vm_fault_t (*fault)(struct vm_fault *vmf))
{
	struct vb_exec *x = vmf->vma->vm_file->private_data;
	vm_fault_t rc = vb_exec_begin(x) ? VM_FAULT_SIGBUS : fault(vmf);

	vb_exec_end(x);
	return rc;
}

/* ---- executor: regions ---- */

/**
 * struct window - a mapping of a region, in one piece or several
 * @kref: the pieces
 * @region: counted; NULL: its executor is none any more, and none of its faults comes here;
 *	slot_lock, but for a fault
 * @of_exec: in vb_exec.windows; slot_lock
 */
struct window {
	struct kref kref;
	struct vb_region *region;
	struct list_head of_exec;
};

/* What it keeps is the caller's to put from now on; NULL: it keeps nothing. */
static struct vb_region *window_take_locked(struct window *w)
{
	struct vb_region *region = w->region;

	lockdep_assert_held(&vb.slot_lock);
	list_del_init(&w->of_exec);
	w->region = NULL;
	return region;
}

static void window_free(struct kref *kref)
{
	struct window *w = container_of(kref, struct window, kref);
	struct vb_region *region;

	spin_lock(&vb.slot_lock);
	region = window_take_locked(w);
	spin_unlock(&vb.slot_lock);
	if (region)
		vb_region_put(region);
	kfree(w);
}

/* A fault that had begun before has its page locked until that is mapped. */
static void region_wait_for_faults(const struct vb_region *region)
{
	u32 i;

	for (i = 0; i < region->slots; i++) {
		vb_slot_lock(region, &region->slot[i]);
		vb_slot_unlock(region, &region->slot[i]);
		cond_resched();
	}
}

/**
 * vb_exec_forsake() - what an executor has mapped is taken for good, and keeps no memory any more
 * @x: it was silent, no call of it runs and none begins
 *
 * Its process may be there for as long as somebody likes: a tier would be there twice.
 *
 * Context: exec_lock; takes the locks of folios, slot_lock; may sleep.
 */
void vb_exec_forsake(struct vb_exec *x)
{
	struct vb_region *region;
	struct window *w;

	lockdep_assert_held(&vb.exec_lock);
	do {
		region = NULL;
		spin_lock(&vb.slot_lock);
		w = list_first_entry_or_null(&x->windows, struct window, of_exec);
		if (w)
			region = window_take_locked(w);
		spin_unlock(&vb.slot_lock);
		if (region) {
			region_wait_for_faults(region);
			vb_region_put(region);
		}
	} while (w);
	unmap_mapping_range(x->inode->i_mapping, 0, 0, 1);
}

static void region_vma_open(struct vm_area_struct *vma)
{
	struct window *w = vma->vm_private_data;

	kref_get(&w->kref);
}

static void region_vma_close(struct vm_area_struct *vma)
{
	struct window *w = vma->vm_private_data;

	kref_put(&w->kref, window_free);
}

static u64 offset_of(pgoff_t pgoff)
{
	return (u64)pgoff << PAGE_SHIFT & ((1ull << VB_MMAP_WHICH_SHIFT) - 1);
}

/* It returns with its page locked, and its call is over: vb_exec_forsake() waits for such. */
static vm_fault_t region_page(struct vm_fault *vmf)
{
	const struct vb_exec *x = vmf->vma->vm_file->private_data;
	const struct window *w = vmf->vma->vm_private_data;
	struct vb_region *region = w->region;
	u64 at = offset_of(vmf->pgoff) - ((u64)region->first << vb.chunk_shift);
	u32 slot = at >> vb.chunk_shift;
	struct page *page;

	if (slot >= region->slots)
		return VM_FAULT_SIGBUS;
	page = vb_slot_page(&region->slot[slot], (at >> PAGE_SHIFT) % chunk_pages());
	get_page(page);
	lock_page(page);
	if (vb_exec_role(x)) {
		unlock_page(page);
		put_page(page);
		return VM_FAULT_SIGBUS;
	}
	vmf->page = page;
	return VM_FAULT_LOCKED;
}

static vm_fault_t region_fault(struct vm_fault *vmf)
{
	return fault_of_executor(vmf, region_page);
}

static const struct vm_operations_struct region_vm_ops = {
	.open = region_vma_open,
	.close = region_vma_close,
	.fault = region_fault,
};

static struct window *window_new(struct vb_exec *x, struct vb_region *region)
{
	struct window *w = kmalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);

	if (!w)
		return NULL;
	kref_init(&w->kref);
	w->region = region;
	spin_lock(&vb.slot_lock);
	list_add(&w->of_exec, &x->windows);
	spin_unlock(&vb.slot_lock);
	return w;
}

static int region_mmap(struct vb_exec *x, struct vm_area_struct *vma)
{
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	u32 arena = offset >> VB_MMAP_WHICH_SHIFT & 0xff;
	u32 slot = offset_of(vma->vm_pgoff) >> vb.chunk_shift;
	struct vb_region *region;
	struct window *w;
	u64 end = ((u64)(slot) << vb.chunk_shift) + (vma->vm_end - vma->vm_start);

	mutex_lock(&vb.exec_lock);
	region = vb_region_get(arena, slot);
	mutex_unlock(&vb.exec_lock);
	if (!region)
		return -ENOENT;
	if (end > (u64)(region->first + region->slots) << vb.chunk_shift) {
		vb_region_put(region);
		return -ERANGE;
	}
	w = window_new(x, region);
	if (!w) {
		vb_region_put(region);
		return -ENOMEM;
	}
	vma->vm_private_data = w;
	vma->vm_ops = &region_vm_ops;
	return 0;
}

/* ---- executor: tables ---- */

static void table_vma_open(struct vm_area_struct *vma)
{
	struct vb_bo *bo = vma->vm_private_data;

	kref_get(&bo->kref);
}

static void table_vma_close(struct vm_area_struct *vma)
{
	vb_bo_unlook(vma->vm_private_data);
}

static vm_fault_t table_page(struct vm_fault *vmf)
{
	struct vb_bo *bo = vmf->vma->vm_private_data;
	u64 at = offset_of(vmf->pgoff) - ((u64)bo->id << VB_MMAP_OBJECT_SHIFT);

	if (at >= (u64)bo->chunks * sizeof(struct vb_table_entry))
		return VM_FAULT_SIGBUS;
	return vb_table_fault(bo, at >> PAGE_SHIFT, &vmf->page);
}

static vm_fault_t table_fault(struct vm_fault *vmf)
{
	return fault_of_executor(vmf, table_page);
}

/**
 * vb_table_zap() - take a page of a table out of the executor's page table
 * @bo: object
 * @index: of the page
 *
 * Those of other objects at the same offset go too, and come back by a fault.
 *
 * Context: as vb_entry_make(): the executor is there; may sleep.
 */
void vb_table_zap(struct vb_bo *bo, u32 index)
{
	u64 offset = (VB_MMAP_TABLE << VB_MMAP_WHAT_SHIFT) +
		     ((u64)bo->id << VB_MMAP_OBJECT_SHIFT) + ((u64)index << PAGE_SHIFT);

	unmap_mapping_range(vb.exec->inode->i_mapping, offset, PAGE_SIZE, 1);
}

static const struct vm_operations_struct table_vm_ops = {
	.open = table_vma_open,
	.close = table_vma_close,
	.fault = table_fault,
};

static int table_mmap(struct vm_area_struct *vma)
{
	u64 which = offset_of(vma->vm_pgoff) >> VB_MMAP_OBJECT_SHIFT;
	struct vb_bo *bo;

	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	bo = which <= VB_ID_MAX ? vb_bo_look(which) : NULL;
	if (!bo)
		return -ENOENT;
	vb_vma_keep_readonly(vma);
	vma->vm_private_data = bo;
	vma->vm_ops = &table_vm_ops;
	return 0;
}

/* ---- executor: the submit region ---- */

static int submit_mmap(struct vb_exec *x, struct vm_area_struct *vma)
{
	int rc;

	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	if (vma->vm_end - vma->vm_start != VB_MMAP_SUBMIT_BYTES)
		return -EINVAL;
	vb_vma_keep_readonly(vma);
	rc = remap_vmalloc_range(vma, vb.submit_base, 0);
	if (!rc)
		WRITE_ONCE(x->submit_address, vma->vm_start);
	return rc;
}

/* ---- executor: what it fetched by io_uring ---- */

static int fetch_mmap(struct vb_exec *x, struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	if (vma->vm_end - vma->vm_start != VB_MMAP_FETCH_BYTES)
		return -EINVAL;
	vb_vma_keep_readonly(vma);
	return remap_vmalloc_range(vma, x->slots, 0);
}

static int map_what(struct vb_exec *x, struct vm_area_struct *vma)
{
	switch ((u64)vma->vm_pgoff << PAGE_SHIFT >> VB_MMAP_WHAT_SHIFT) {
	case VB_MMAP_REGION:
		return region_mmap(x, vma);
	case VB_MMAP_TABLE:
		return table_mmap(vma);
	case VB_MMAP_SUBMIT >> VB_MMAP_WHAT_SHIFT:
		return submit_mmap(x, vma);
	case VB_MMAP_FETCH >> VB_MMAP_WHAT_SHIFT:
		return fetch_mmap(x, vma);
	default:
		return -EINVAL;
	}
}

/**
 * vb_exec_mmap() - mmap() of the executor's node: a region, a table, or what it is handed
 * @filp: node
 * @vma: to be filled in; the offset says what (VB_MMAP_WHAT_SHIFT)
 *
 * Only regions can be mapped to be written, and a child inherits none of it.
 *
 * Context: mmap_lock; takes exec_lock under it for a region.
 * Return: 0; -EPERM it has not attached, or would write; -ESTALE it was silent for too long;
 * -EINVAL; -ENOENT; -ERANGE beyond the region; -ENOMEM.
 */
int vb_exec_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct vb_exec *x = filp->private_data;
	int rc = vb_exec_begin(x);

	if (!rc && !(vma->vm_flags & VM_SHARED))
		rc = -EINVAL;
	if (!rc) {
		/* A child of the executor is no executor. */
		flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
		rc = map_what(x, vma);
	}
	vb_exec_end(x);
	return rc;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Residency tables: 32 bytes a chunk, in pages that come when a chunk of theirs first
 * moves.  An entry whose page never came reads as zeros, which is what it would hold:
 * nobody touched the chunk, or read its file.  The executor sees one page of zeros in all
 * such places: to look costs no memory, however large an object a client makes.
 *
 * A page stays until its object's memory goes, so a pointer to an entry is good as long
 * as its object is counted.  It is charged to the user who pays for the object at that time.
 */
#include "table.h"

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

#include "bo.h"
#include "client.h"
#include "map.h"
#include "user.h"

#define PAGE_ENTRIES	((u32)(PAGE_SIZE / sizeof(struct vb_table_entry)))

static const struct vb_table_entry untouched;
static struct page *none;	/* where a page never came */

static struct vb_table_entry *entry_in(struct page *page, u32 chunk)
{
	return (struct vb_table_entry *)page_address(page) + chunk % PAGE_ENTRIES;
}

/**
 * vb_table_init() - the page of zeros that executors see where no page has come
 *
 * Context: module load.
 * Return: 0, for vb_table_exit(); -ENOMEM.
 */
int vb_table_init(void)
{
	none = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return none ? 0 : -ENOMEM;
}

/**
 * vb_table_exit() - that page goes
 *
 * Context: module unload; nobody has a table mapped.
 */
void vb_table_exit(void)
{
	put_page(none);
}

/**
 * vb_table_fault() - a page of an object's table, for the executor's page table
 * @bo: object
 * @index: of the page; the caller knows that it is within the table
 * @out: the page, counted
 *
 * Context: may sleep; needs no lock.
 * Return: VM_FAULT_LOCKED with the page of zeros, so that one that comes meanwhile is
 * shown when this is in the page table; else 0.
 */
vm_fault_t vb_table_fault(struct vb_bo *bo, u32 index, struct page **out)
{
	lock_page(none);
	*out = xa_load(&bo->table, index);
	if (*out)
		unlock_page(none);
	else
		*out = none;
	get_page(*out);
	return *out == none ? VM_FAULT_LOCKED : 0;
}

/* The executor has zeros mapped there. */
static void page_show(struct vb_bo *bo, u32 index)
{
	lock_page(none);
	vb_table_zap(bo, index);
	unlock_page(none);
}

static int page_add(struct vb_bo *bo, u32 index, struct page **out)
{
	struct page *page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);

	if (!page)
		return -ENOMEM;
	if (xa_err(xa_store(&bo->table, index, page, GFP_KERNEL_ACCOUNT))) {
		__free_page(page);
		return -ENOMEM;
	}
	page_show(bo, index);
	*out = page;
	return 0;
}

static struct page *page_make(struct vb_bo *bo, u32 index)
{
	struct page *page = xa_load(&bo->table, index);
	struct vb_user *user = bo->client->user;
	int rc;

	if (page)
		return page;
	rc = vb_user_charge(user, VB_TABLE_PAGE_COST);
	if (rc)
		return ERR_PTR(rc);
	rc = page_add(bo, index, &page);
	if (rc) {
		vb_user_uncharge(user, VB_TABLE_PAGE_COST);
		return ERR_PTR(rc);
	}
	bo->kernel_bytes += VB_TABLE_PAGE_COST;
	return page;
}

/**
 * vb_entry() - the entry of a chunk, to be read
 * @bo: object
 * @chunk: within it
 *
 * Context: the object's lock, or what is read may change meanwhile.
 * Return: the entry; one of zeros when there is none yet.
 */
const struct vb_table_entry *vb_entry(struct vb_bo *bo, u32 chunk)
{
	struct vb_table_entry *e = vb_entry_find(bo, chunk);

	return e ? e : &untouched;
}

/**
 * vb_entry_run() - an entry, and how many of its kind are known to follow
 * @bo: object
 * @chunk: within it
 * @count: gets at least 1; more where pages have not come
 *
 * Context: as vb_entry().
 * Return: the entry.
 */
const struct vb_table_entry *vb_entry_run(struct vb_bo *bo, u32 chunk, u32 *count)
{
	struct vb_table_entry *e = vb_entry_find(bo, chunk);
	unsigned long index = chunk / PAGE_ENTRIES;

	*count = 1;
	if (e)
		return e;
	if (xa_find(&bo->table, &index, (bo->chunks - 1) / PAGE_ENTRIES, XA_PRESENT))
		*count = index * PAGE_ENTRIES - chunk;
	else
		*count = bo->chunks - chunk;
	return &untouched;
}

/**
 * vb_entry_find() - the entry of a chunk, to be changed
 * @bo: object
 * @chunk: within it
 *
 * Context: the object's lock; changed by steps only (resid.h).
 * Return: the entry; NULL: it is all zero, as its page has not come.
 */
struct vb_table_entry *vb_entry_find(struct vb_bo *bo, u32 chunk)
{
	struct page *page = xa_load(&bo->table, chunk / PAGE_ENTRIES);

	return page ? entry_in(page, chunk) : NULL;
}

/**
 * vb_entry_make() - vb_entry_find(), made when it is not there
 * @bo: object
 * @chunk: within it
 *
 * The page is shown to the executor, which had zeros there.
 *
 * Context: the object's lock, in a call of the executor, or with the device seen alive under that
 * lock; may sleep.
 * Return: the entry; ERR_PTR(-ENOMEM); ERR_PTR(-EDQUOT) who pays for the object may have
 * no page more.
 */
struct vb_table_entry *vb_entry_make(struct vb_bo *bo, u32 chunk)
{
	struct page *page;

	lockdep_assert_held(&bo->lock);
	page = page_make(bo, chunk / PAGE_ENTRIES);
	return IS_ERR(page) ? ERR_CAST(page) : entry_in(page, chunk);
}

/**
 * vb_entry_next() - walk the chunks that have a copy somewhere, or a move
 * @bo: object
 * @chunk: where to begin; gets the chunk that was found
 *
 * Context: the object's lock; may sleep.  Takes time by what exists, not by what could.
 * Return: its entry; NULL behind the last.
 */
struct vb_table_entry *vb_entry_next(struct vb_bo *bo, u32 *chunk)
{
	unsigned long index;
	struct vb_table_entry *e;
	struct page *page;

	while (*chunk < bo->chunks) {
		index = *chunk / PAGE_ENTRIES;
		page = xa_find(&bo->table, &index, (bo->chunks - 1) / PAGE_ENTRIES, XA_PRESENT);
		if (!page)
			return NULL;
		if (index != *chunk / PAGE_ENTRIES)
			*chunk = index * PAGE_ENTRIES;
		do {
			e = entry_in(page, *chunk);
			if (e->valid || e->busy)
				return e;
		} while (++*chunk % PAGE_ENTRIES && *chunk < bo->chunks);
		cond_resched();
	}
	return NULL;
}

/**
 * vb_table_free() - the object's memory goes, and its table with it
 * @bo: object
 *
 * A page that a debugger has through the executor's mapping is freed when it lets go.
 *
 * Context: may sleep; nobody looks any more.
 */
void vb_table_free(struct vb_bo *bo)
{
	struct page *page;
	unsigned long index;

	xa_for_each(&bo->table, index, page) {
		/* A debugger may have it through the executor's mapping. */
		put_page(page);
		cond_resched();
	}
	xa_destroy(&bo->table);
}

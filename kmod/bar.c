// SPDX-License-Identifier: GPL-2.0
/*
 * A BAR that stands in for the memory of a GPU, for tests: BAR 2 of an ivshmem-plain
 * device of QEMU.
 *
 * The driver claims nothing by itself, for such devices have other uses: whoever tests
 * says so by "1af4 1110" in /sys/bus/pci/drivers/vblackwell/new_id.  The BAR then has
 * struct pages, so that clients map it and do I/O with it, and a page that somebody
 * still refers to is told from one that nobody does.
 *
 * One arena at a time.  What is still referred to when that goes keeps the module, and
 * lets no other arena have the BAR.
 */
#include "device.h"

#include <linux/delay.h>
#include <linux/memremap.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/workqueue.h>

#define BAR		2
#define LOOK_MS		100u	/* between two looks at pages that somebody has */

/**
 * struct bar - the device that is bound; all under bar_lock
 * @device: or NULL
 * @map: its pages
 * @first: first of them
 * @count: how many
 * @used: an arena has them
 * @held: they are referred to without an arena, and so we refer to the module
 */
struct bar {
	struct pci_dev *device;
	struct dev_pagemap map;
	struct page *first;
	u64 count;
	bool used, held;
};

static struct bar bar;

static DEFINE_MUTEX(bar_lock);

/* One reference is the page's own. */
static bool is_quiet_locked(void)
{
	u64 i;

	for (i = 0; i < bar.count; i++)
		if (page_count(bar.first + i) != 1)
			return false;
	return true;
}

static void look(struct work_struct *work);
static DECLARE_DELAYED_WORK(look_again, look);

/* Pages that clients still do I/O with come back one day; then the module may go. */
static void look(struct work_struct *work)
{
	bool quiet;

	mutex_lock(&bar_lock);
	quiet = is_quiet_locked();
	if (quiet)
		bar.held = false;
	mutex_unlock(&bar_lock);
	if (quiet)
		module_put(THIS_MODULE);
	else
		schedule_delayed_work(&look_again, msecs_to_jiffies(LOOK_MS));
}

/**
 * vb_bar_take() - the pages of the BAR, for an arena
 * @count: how many it needs, from the first
 * @out: the first of them, adjacent
 *
 * Context: may sleep.
 * Return: 0, to be undone by vb_bar_give(); -ENOENT none is bound; -ENOSPC it has not so
 * many; -EBUSY in use, or somebody refers to one.
 */
int vb_bar_take(u64 count, struct page **out)
{
	int rc = 0;

	mutex_lock(&bar_lock);
	if (!bar.device)
		rc = -ENOENT;
	else if (count > bar.count)
		rc = -ENOSPC;
	else if (bar.used || !is_quiet_locked())
		rc = -EBUSY;
	else
		bar.used = true;
	*out = bar.first;
	mutex_unlock(&bar_lock);
	return rc;
}

/**
 * vb_bar_give() - the arena that had the BAR goes
 *
 * A page that somebody still refers to keeps the BAR from others, and the module, until it
 * is given back; the caller's file keeps the module until here.
 *
 * Context: may sleep.
 */
void vb_bar_give(void)
{
	mutex_lock(&bar_lock);
	bar.used = false;
	if (!is_quiet_locked() && !bar.held) {
		bar.held = true;
		__module_get(THIS_MODULE);
		schedule_delayed_work(&look_again, msecs_to_jiffies(LOOK_MS));
	}
	mutex_unlock(&bar_lock);
}

static int pages_make(struct pci_dev *device)
{
	struct resource *r = &device->resource[BAR];
	void *p;

	memset(&bar.map, 0, sizeof(bar.map));
	bar.map.type = MEMORY_DEVICE_GENERIC;
	bar.map.nr_range = 1;
	bar.map.range.start = r->start;
	bar.map.range.end = r->end;
	p = memremap_pages(&bar.map, dev_to_node(&device->dev));
	if (IS_ERR(p))
		return PTR_ERR(p);
	bar.first = virt_to_page(p);
	bar.count = resource_size(r) >> PAGE_SHIFT;
	return 0;
}

static int bar_bind(struct pci_dev *device)
{
	int rc;

	lockdep_assert_held(&bar_lock);
	if (bar.device)
		return -EBUSY;
	if (!pci_resource_len(device, BAR))
		return -ENODEV;
	rc = pci_enable_device(device);
	if (rc)
		return rc;
	rc = pci_request_region(device, BAR, "vblackwell");
	if (rc)
		goto err_disable;
	rc = pages_make(device);
	if (rc)
		goto err_release;
	bar.device = device;
	return 0;

err_release:
	pci_release_region(device, BAR);
err_disable:
	pci_disable_device(device);
	return rc;
}

static int bar_probe(struct pci_dev *device, const struct pci_device_id *id)
{
	int rc;

	mutex_lock(&bar_lock);
	rc = bar_bind(device);
	mutex_unlock(&bar_lock);
	return rc;
}

static bool bar_try_unbind(struct pci_dev *device)
{
	bool idle;

	mutex_lock(&bar_lock);
	idle = !bar.used && !bar.held && is_quiet_locked();
	if (idle)
		bar.device = NULL;
	mutex_unlock(&bar_lock);
	return idle;
}

/*
 * The module is not unloaded while the BAR is in use, and sysfs does not unbind it.  Only
 * a device that is pulled out is waited for.
 */
static void bar_remove(struct pci_dev *device)
{
	while (!bar_try_unbind(device))
		msleep(LOOK_MS);
	memunmap_pages(&bar.map);
	pci_release_region(device, BAR);
	pci_disable_device(device);
}

static struct pci_driver bar_driver = {
	.name = "vblackwell",
	.probe = bar_probe,
	.remove = bar_remove,
	.driver = { .suppress_bind_attrs = true },
};

/**
 * vb_bar_init() - be a driver that PCI devices can be bound to
 *
 * Context: module load.
 * Return: 0, for vb_bar_exit(); what the PCI core says.
 */
int vb_bar_init(void)
{
	return pci_register_driver(&bar_driver);
}

/**
 * vb_bar_exit() - be none any more; a device that is bound is let go
 *
 * Context: module unload; waits until nobody refers to its pages, and for the work that looks.
 */
void vb_bar_exit(void)
{
	/* It has let go of the module, and may still be on its way out. */
	cancel_delayed_work_sync(&look_again);
	pci_unregister_driver(&bar_driver);
}

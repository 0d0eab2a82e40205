// SPDX-License-Identifier: MIT
/*
 * What a successor finds in host memory: chunks whose checksums are known are believed when
 * they have them, and read again when not.  The device is the least of one that has memory of
 * its own and lost its executor.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "exec/adopt.h"
#include "exec/crc32c.h"
#include "exec/page_in.h"
#include "exec/slot.h"
#include "kernels/pool.h"

#define CHUNK		(64u << 10)
#define SLOTS		48u
#define STAGING		8u
#define CHUNKS		24u		/* of the object; chunk i is in slot SLOTS - 1 - i */

/**
 * struct device - one object, one arena
 * @memory: a file, of all slots; @at: the same, mapped
 * @asked: it was told to recover; @live: and has
 * @held: chunks that a client holds: they are not dropped
 * @dropped: how many were; @dropped_late: of these, after VB_IOC_RECOVER
 * @recovers: what VB_IOC_RECOVER says
 */
struct device {
	struct vgpu_uapi node;		/* first: a request leads back here */
	struct vgpu_resid r;
	struct vgpu_store store;
	struct vgpu_file file;
	struct vgpu_object object, *bucket;
	struct vb_table_entry entry[CHUNKS];
	bool asked, live, held[CHUNKS];
	uint32_t dropped, dropped_late;
	int recovers;
	uint8_t *content, *at;
	int memory, fd;
};

static uint32_t slot_of(uint32_t chunk)
{
	return SLOTS - 1 - chunk;
}

static int slot_query(struct device *d, struct vb_ioc_slot_query *q)
{
	uint32_t chunk = SLOTS - 1 - q->slot;

	if (chunk >= CHUNKS || !d->entry[chunk].valid)
		return -ENOENT;
	q->out_object = 1;
	q->out_chunk = chunk;
	return 0;
}

static int move(struct device *d, struct vb_move *m)
{
	struct vb_table_entry *e = &d->entry[m->chunk];

	switch (m->op) {
	case VB_MOVE_BEGIN:
		m->slot = 0;
		return e->valid ? -EEXIST : 0;
	case VB_MOVE_COMMIT:
		if (m->flags & VB_MOVE_F_CRC && e->flags & VB_ENTRY_CRC && m->crc != e->crc)
			return -ESTALE;
		e->valid = 1u << VB_TIER_HOST;
		e->loc[VB_TIER_HOST] = VB_LOC(0, m->slot);
		return 0;
	case VB_MOVE_DROP:
		if (d->held[m->chunk])
			return -EBUSY;
		e->valid = 0;
		d->dropped++;
		d->dropped_late += d->asked;
		return 0;
	default:
		return -EINVAL;
	}
}

static int call(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	struct device *d = (struct device *)u;
	struct vb_ioc_region *region = arg;
	struct vb_ioc_move *req = arg;
	struct vb_move *m;

	switch (request) {
	case VB_IOC_REGION_NEXT:
		region->slots = SLOTS;
		region->out_mmap_offset = 0;
		return 0;
	case VB_IOC_SLOT_QUERY:
		return slot_query(d, arg);
	case VB_IOC_RECOVER:
		d->asked = true;
		d->live = !d->recovers;
		return d->recovers;
	case VB_IOC_MOVE:
		m = (void *)(uintptr_t)req->address;
		if (!d->live && m->op != VB_MOVE_DROP)
			return -EPERM;
		m->out_status = move(d, m);
		return 0;
	default:
		return 0;
	}
}

static int node_fd(struct vgpu_uapi *u)
{
	return ((struct device *)u)->memory;
}

/* That there is one says that the device has memory of its own. */
static int no_map(struct vgpu_uapi *u, uint64_t offset, size_t bytes, bool write, void **out)
{
	(void)u;
	(void)offset;
	(void)bytes;
	(void)write;
	(void)out;
	return -ENODEV;
}

static const struct vgpu_uapi_ops ops = { .call = call, .map = no_map, .fd = node_fd };

/* All chunks are there as they are in the file; the odd ones' checksums are known. */
static void chunks_make(struct device *d)
{
	uint64_t seed = 1;

	d->content = xalloc(CHUNKS * CHUNK);
	for (uint32_t i = 0; i < CHUNKS * CHUNK / 8; i++)
		((uint64_t *)d->content)[i] = xrandom(&seed);
	d->fd = xfile(d->content, CHUNKS * CHUNK, 0);
	for (uint32_t c = 0; c < CHUNKS; c++) {
		const uint8_t *from = d->content + c * CHUNK;

		memcpy(d->at + slot_of(c) * CHUNK, from, CHUNK);
		d->entry[c] = (struct vb_table_entry){
			.valid = 1u << VB_TIER_HOST, .flags = c % 2 ? VB_ENTRY_CRC : 0,
			.crc = c % 2 ? vgpu_crc32c(0, from, CHUNK) : 0,
			.loc[VB_TIER_HOST] = VB_LOC(0, slot_of(c)),
		};
	}
}

static struct device *device_make(void)
{
	struct device *d = xalloc(sizeof(*d));

	d->node.ops = &ops;
	d->memory = memfd_create("adopt_test", 0);
	assert_int_equal(ftruncate(d->memory, SLOTS * CHUNK), 0);
	d->at = mmap(NULL, SLOTS * CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED, d->memory, 0);
	assert_ptr_not_equal(d->at, MAP_FAILED);
	chunks_make(d);
	return d;
}

/* The executor before it wrote where it had nothing to write. */
static void damage(struct device *d, uint32_t chunk)
{
	d->at[slot_of(chunk) * CHUNK + chunk * 1234 % CHUNK] ^= 0x10;
}

static void device_adopt(struct device *d, struct vgpu_left *left)
{
	const struct vgpu_resid_params p = { .chunk_bytes = CHUNK, .policy = "lru",
					     .capacity = SLOTS - STAGING, .staging = STAGING,
					     .left = left };

	*left = (struct vgpu_left){ .homes = 1, .home[0].slots = SLOTS, .host_slots = SLOTS };
	d->r.node = &d->node;
	d->r.store = &d->store;
	assert_int_equal(vgpu_pool_open(&(struct vgpu_pool_params){ .threads = 2 }, &d->r.pool), 0);
	assert_int_equal(vgpu_io_open(&(struct vgpu_io_params){ .engine = "threads" }, &d->r.io), 0);
	assert_int_equal(vgpu_io_file_add(d->r.io, d->fd, 0, &d->file.index), 0);
	d->file.align = 4096;
	d->file.lent = true;
	d->object = (struct vgpu_object){
		.id = 1, .kind = VB_BO_FILE, .client = 1, .chunks = CHUNKS,
		.bytes = CHUNKS * CHUNK, .table = d->entry, .file = &d->file,
	};
	d->bucket = &d->object;
	d->store.bucket = &d->bucket;
	d->store.buckets = 1;
	assert_int_equal(vgpu_resid_init(&d->r, &p), d->recovers);
	assert_int_equal(d->live, !d->recovers);
}

static void device_free(struct device *d)
{
	struct vgpu_pool *pool = d->r.pool;

	assert_int_equal(vgpu_io_close(d->r.io), 0);
	vgpu_resid_destroy(&d->r, 0);
	vgpu_pool_close(pool);
	munmap(d->at, SLOTS * CHUNK);
	close(d->memory);
	close(d->fd);
	free(d->content);
	free(d);
}

static uint32_t find(const struct device *d, uint32_t chunk)
{
	return vgpu_slot_find(&d->r, vgpu_policy_key(1, chunk));
}

static void adopt_believes_what_is_whole(void **state)
{
	struct device *d = device_make();
	struct vgpu_left left;

	(void)state;
	device_adopt(d, &left);
	assert_int_equal(left.chunks, CHUNKS);
	assert_int_equal(left.damaged, 0);
	assert_int_equal(d->dropped, 0);
	for (uint32_t c = 0; c < CHUNKS; c++)
		assert_int_equal(find(d, c), slot_of(c));
	device_free(d);
}

static void adopt_drops_what_was_damaged_and_reads_it_again(void **state)
{
	struct vgpu_page_in p = { .req = { .out_object = 1, .out_chunk = 7, .out_count = 1 },
				  .late.slot = VB_SLOT_ANY };
	struct device *d = device_make();
	struct vgpu_left left;

	(void)state;
	damage(d, 7);
	damage(d, 23);
	device_adopt(d, &left);
	assert_int_equal(left.chunks, CHUNKS - 2);
	assert_int_equal(left.damaged, 2);
	assert_int_equal(d->dropped, 2);
	assert_int_equal(d->dropped_late, 0);
	assert_int_equal(d->r.count[VB_COUNT_CRC_ERRORS], 2);
	for (uint32_t c = 0; c < CHUNKS; c++)
		assert_int_equal(find(d, c), c == 7 || c == 23 ? VB_SLOT_ANY : slot_of(c));
	while (vgpu_page_in_try(&d->r, &d->store, &p) == -EAGAIN)
		assert_true(vgpu_resid_pump(&d->r, VGPU_PUMP_WAIT_NS) >= 0);
	assert_memory_equal(vgpu_resid_ptr(&d->r, find(d, 7)), d->content + 7 * CHUNK, CHUNK);
	vgpu_page_in_release(&d->r, &p);
	device_free(d);
}

/* Its time was over before it was done: another one begins anew. */
static void adopt_asks_nothing_of_a_device_that_goes_on_without_it(void **state)
{
	struct device *d = device_make();
	struct vgpu_left left;

	(void)state;
	damage(d, 5);
	d->recovers = -ESTALE;
	device_adopt(d, &left);
	assert_int_equal(d->dropped, 1);
	assert_int_equal(d->dropped_late, 0);
	device_free(d);
}

/* It cannot be taken from who holds it; that it is damaged is counted. */
static void adopt_leaves_what_a_client_holds(void **state)
{
	struct device *d = device_make();
	struct vgpu_left left;

	(void)state;
	damage(d, 5);
	d->held[5] = true;
	device_adopt(d, &left);
	assert_int_equal(left.damaged, 1);
	assert_int_equal(left.chunks, CHUNKS);
	assert_int_equal(d->dropped, 0);
	assert_int_equal(d->r.count[VB_COUNT_CRC_ERRORS], 1);
	assert_int_equal(find(d, 5), slot_of(5));
	device_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adopt_believes_what_is_whole),
		cmocka_unit_test(adopt_drops_what_was_damaged_and_reads_it_again),
		cmocka_unit_test(adopt_asks_nothing_of_a_device_that_goes_on_without_it),
		cmocka_unit_test(adopt_leaves_what_a_client_holds),
	};

	return cmocka_run_group_tests_name("adopt", tests, NULL, NULL);
}

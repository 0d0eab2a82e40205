// SPDX-License-Identifier: MIT
/*
 * A host tier of a million slots: what is done for one object, one client or one chunk
 * does not look at all of them.  Counted in slots looked at, not in time.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "common/exec_rig.h"
#include "exec/page_in.h"
#include "exec/resid.h"

#define CHUNK		4096u
#define SLOTS		(1u << 20)
#define STAGING		(SLOTS / 20)
#define OBJECTS		1024u
#define ENTRIES		32768u		/* of all objects together */

/**
 * struct device - as much of a device as a tier needs
 * @entry: of the objects, one behind the other
 * @taken: slots that hold a chunk
 * @next: slots are handed out in order
 * @limit: slots of all clients, or 0
 */
struct device {
	struct vgpu_uapi node;		/* first: a request leads back here */
	struct vgpu_resid r;
	struct vgpu_store store;
	struct vgpu_file file;
	struct vgpu_object object[OBJECTS];
	struct vb_table_entry entry[ENTRIES];
	uint8_t taken[SLOTS];
	uint32_t next, objects, entries, used, limit;
	int fd;
};

static uint32_t find_slot(struct device *d)
{
	while (d->taken[d->next])
		d->next = (d->next + 1) % SLOTS;
	return d->next;
}

static void begin(struct device *d, struct vb_move *m)
{
	if (m->from != VB_TIER_HOST && d->limit && d->used >= d->limit) {
		m->out_status = -EDQUOT;
		return;
	}
	if (m->slot == VB_SLOT_ANY)
		m->slot = find_slot(d);
	d->taken[m->slot] = 1;
	d->used++;
}

static void give_back(struct device *d, uint32_t slot)
{
	d->taken[slot] = 0;
	d->used--;
}

static int move(struct device *d, struct vb_move *m)
{
	struct vb_table_entry *e = (void *)&d->object[m->object - 1].table[m->chunk];

	m->out_status = 0;
	switch (m->op) {
	case VB_MOVE_BEGIN:
		begin(d, m);
		break;
	case VB_MOVE_COMMIT:
		if (m->from == VB_TIER_HOST)
			give_back(d, VB_LOC_SLOT(e->loc[VB_TIER_HOST]));
		e->valid = 1u << VB_TIER_HOST;
		e->flags = VB_ENTRY_TOUCHED;
		e->loc[VB_TIER_HOST] = VB_LOC(0, m->slot);
		break;
	case VB_MOVE_DROP:
		e->valid = 0;
		e->flags = 0;
		give_back(d, VB_LOC_SLOT(e->loc[VB_TIER_HOST]));
		break;
	}
	return 0;
}

static int call(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	struct vb_ioc_move *req = arg;

	if (request != VB_IOC_MOVE)
		return 0;
	assert_int_equal(req->count, 1);
	return move((struct device *)u, (void *)(uintptr_t)req->address);
}

static const struct vgpu_uapi_ops ops = { .call = call };

static struct device *device_open(void)
{
	static const struct vgpu_resid_params p = { .chunk_bytes = CHUNK, .policy = "lru",
						    .capacity = SLOTS - STAGING,
						    .staging = STAGING };
	struct device *d = xalloc(sizeof(*d));

	d->node.ops = &ops;
	d->r.node = &d->node;
	d->r.store = &d->store;
	assert_int_equal(vgpu_io_open(&(struct vgpu_io_params){ .engine = "threads" }, &d->r.io), 0);
	assert_int_equal(vgpu_resid_init(&d->r, &p), 0);
	d->fd = xfile("", 0, 0);
	assert_int_equal(ftruncate(d->fd, ENTRIES * CHUNK), 0);
	assert_int_equal(vgpu_io_file_add(d->r.io, d->fd, 0, &d->file.index), 0);
	d->file.align = 4096;
	d->file.lent = true;
	return d;
}

static void device_close(struct device *d)
{
	struct vgpu_resid *r = &d->r;
	uint32_t abandoned = vgpu_io_close(r->io);

	assert_int_equal(abandoned, 0);
	vgpu_resid_destroy(r, 0);
	close(d->fd);
	free(d);
}

static struct vgpu_object *object(struct device *d, uint32_t kind, uint32_t client, uint32_t chunks)
{
	struct vgpu_object *o = &d->object[d->objects++];

	assert_true(d->objects <= OBJECTS && d->entries + chunks <= ENTRIES);
	*o = (struct vgpu_object){
		.id = d->objects, .kind = (uint16_t)kind, .client = client, .chunks = chunks,
		.bytes = (uint64_t)chunks * CHUNK, .table = &d->entry[d->entries],
		.file = kind == VB_BO_FILE ? &d->file : NULL,
	};
	d->entries += chunks;
	return o;
}

/* On a busy machine the file may be slow, as any may: as the executor does, come back later. */
#define PATIENTLY(d, call)							\
({										\
	uint64_t end_ = vgpu_now_ns() + 20000000000u;				\
	int rc_;								\
										\
	while ((rc_ = (call)) == -EAGAIN && vgpu_now_ns() < end_)		\
		vgpu_resid_pump(&(d)->r, 1000000);				\
	rc_;									\
})

static void use_all(struct device *d, struct vgpu_object *o)
{
	uint32_t slot;

	for (uint32_t c = 0; c < o->chunks; c++) {
		assert_int_equal(PATIENTLY(d, vgpu_resid_use(&d->r, o, c, 0, &slot)), 0);
		assert_int_equal(PATIENTLY(d, vgpu_resid_wait(&d->r, slot)), 0);
		vgpu_resid_unpin(&d->r, slot);
	}
}

/* Slots looked at since the last call. */
static uint64_t looks(struct device *d)
{
	uint64_t n = d->r.looks;

	d->r.looks = 0;
	return n;
}

static void scale_object_is_forgotten_by_its_own_chunks(void **state)
{
	struct device *d = device_open();

	(void)state;
	for (uint32_t i = 0; i < OBJECTS; i++)
		use_all(d, object(d, VB_BO_ANONYMOUS, i % 7, 1 + i % 5));
	assert_int_equal(SLOTS - d->r.free, d->entries);
	looks(d);
	for (uint32_t i = 0; i < OBJECTS; i++) {
		assert_true(vgpu_resid_forget(&d->r, &d->object[i]));
		assert_in_range(looks(d), 0, 2 * d->object[i].chunks);
	}
	assert_int_equal(d->r.free, SLOTS);
	device_close(d);
}

static void announce(struct device *d, struct vgpu_object *o)
{
	for (uint32_t c = 0; c < o->chunks; c++)
		assert_int_equal(vgpu_resid_want(&d->r, o, c), 0);
	while (d->r.moving)
		assert_true(vgpu_resid_pump(&d->r, VGPU_PUMP_WAIT_NS) >= 0);
}

static void scale_what_was_read_ahead_is_given_up_at_once(void **state)
{
	struct device *d = device_open();
	struct vgpu_object *o = object(d, VB_BO_FILE, 1, 2000);

	(void)state;
	announce(d, o);
	looks(d);
	for (uint32_t i = 0; i < 500; i++) {
		assert_int_equal(vgpu_resid_reclaim(&d->r, 1), 1);
		assert_in_range(looks(d), 1, 4);
	}
	/* The farthest went first. */
	for (uint32_t c = 0; c < 2000; c++)
		assert_int_equal(d->entry[c].valid, c < 1500 ? 1u << VB_TIER_HOST : 0);
	device_close(d);
}

static void scale_announcements_are_forgotten_by_their_number(void **state)
{
	struct device *d = device_open();
	struct vgpu_object *a = object(d, VB_BO_FILE, 1, 20), *b = object(d, VB_BO_FILE, 2, 20);

	(void)state;
	use_all(d, a);
	announce(d, a);
	announce(d, b);
	looks(d);
	vgpu_resid_unwant_all(&d->r);
	assert_in_range(looks(d), 20, 40);
	assert_int_equal(d->r.wanted, 0);
	/* What is kept anyway stays, the rest goes. */
	assert_int_equal(SLOTS - d->r.free, 20);
	vgpu_resid_unwant_all(&d->r);
	assert_int_equal(looks(d), 0);
	device_close(d);
}

static void scale_client_at_its_limit_gives_up_its_own(void **state)
{
	struct device *d = device_open();
	struct vgpu_object *others = object(d, VB_BO_FILE, 1, 8000);
	struct vgpu_object *own = object(d, VB_BO_FILE, 2, 3000), *more = object(d, VB_BO_FILE, 2, 100);

	(void)state;
	use_all(d, others);
	use_all(d, own);
	d->limit = d->used;
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t slot;

		looks(d);
		assert_int_equal(vgpu_resid_use(&d->r, more, i, 0, &slot), 0);
		assert_int_equal(PATIENTLY(d, vgpu_resid_wait(&d->r, slot)), 0);
		vgpu_resid_unpin(&d->r, slot);
		assert_in_range(looks(d), 1, 100);
	}
	for (uint32_t c = 0; c < 8000; c++)
		assert_int_equal(d->entry[c].valid, 1u << VB_TIER_HOST);
	device_close(d);
}

static void scale_adjacent_slots_are_found_nearby(void **state)
{
	struct device *d = device_open();

	(void)state;
	use_all(d, object(d, VB_BO_FILE, 1, 20000));
	for (uint32_t i = 0; i < 50; i++) {
		struct vgpu_object *o = object(d, VB_BO_ANONYMOUS, 1, 9);
		struct vgpu_run run = { o, 0, 9, VB_SLOT_ANY };

		looks(d);
		assert_int_equal(vgpu_resid_use_run(&d->r, &run, true), 0);
		assert_in_range(looks(d), 9, 5000);
		for (uint32_t c = 0; c < 9; c++)
			vgpu_resid_unpin(&d->r, run.slot + c);
	}
	device_close(d);
}

/* A hint about terabytes that nobody has written is over when the tier would be full. */
static void scale_hint_is_no_longer_than_the_tier(void **state)
{
	const size_t table = 32ull << 26;
	struct device *d = device_open();
	struct vgpu_object *o = object(d, VB_BO_ANONYMOUS, 1, 1), *bucket = o;
	struct vgpu_page_in p = { .req = { .flags = VB_FETCH_F_ASYNC, .out_object = o->id,
					   .out_count = 1u << 26 },
				  .late.slot = VB_SLOT_ANY };

	(void)state;
	o->table = mmap(NULL, table, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal((void *)o->table, MAP_FAILED);
	o->chunks = 1u << 26;
	d->store.bucket = &bucket;
	d->store.buckets = 1;
	assert_int_equal(vgpu_page_in_try(&d->r, &d->store, &p), 0);
	assert_in_range(looks(d), SLOTS, SLOTS + 1);
	munmap((void *)o->table, table);
	device_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scale_object_is_forgotten_by_its_own_chunks),
		cmocka_unit_test(scale_what_was_read_ahead_is_given_up_at_once),
		cmocka_unit_test(scale_announcements_are_forgotten_by_their_number),
		cmocka_unit_test(scale_client_at_its_limit_gives_up_its_own),
		cmocka_unit_test(scale_adjacent_slots_are_found_nearby),
		cmocka_unit_test(scale_hint_is_no_longer_than_the_tier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

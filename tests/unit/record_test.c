// SPDX-License-Identifier: MIT
/*
 * Checksums of chunks that somebody touched: made piece by piece when nobody waits, or when
 * the chunk goes, and those of its bytes.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "exec/crc32c.h"
#include "exec/page_in.h"
#include "exec/resid.h"

#define CHUNK		(256u << 10)
#define PIECES		4u		/* of a chunk, in record.c */
#define SLOTS		(VGPU_RECORDS_MAX + 24)
#define STAGING		8u
#define CHUNKS		(VGPU_RECORDS_MAX + 4)

/**
 * struct device - as much of a device as a tier of file chunks needs
 * @recorded: checksums that it was told, an entry each
 * @told: how often
 */
struct device {
	struct vgpu_uapi node;		/* first: a request leads back here */
	struct vgpu_resid r;
	struct vgpu_store store;
	struct vgpu_file file;
	struct vgpu_object object, *bucket;
	struct vb_table_entry entry[CHUNKS];
	bool taken[SLOTS];
	uint32_t recorded[CHUNKS], told;
	uint8_t *content;
	int fd;
};

static uint32_t take_slot(struct device *d)
{
	uint32_t i = 0;

	while (d->taken[i])
		i++;
	d->taken[i] = true;
	return i;
}

static void commit(struct device *d, const struct vb_move *m)
{
	struct vb_table_entry *e = &d->entry[m->chunk];

	e->valid = 1u << VB_TIER_HOST;
	e->loc[VB_TIER_HOST] = VB_LOC(0, m->slot);
	e->flags |= m->flags & VB_MOVE_F_CRC ? VB_ENTRY_CRC : 0;
}

static void record(struct device *d, const struct vb_move *m)
{
	assert_true(d->entry[m->chunk].valid);
	assert_false(d->entry[m->chunk].flags & VB_ENTRY_CRC);
	d->entry[m->chunk].flags |= VB_ENTRY_CRC;
	d->recorded[m->chunk] = m->crc;
	d->told++;
}

static int call(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	struct device *d = (struct device *)u;
	struct vb_ioc_move *req = arg;
	struct vb_move *m;

	if (request != VB_IOC_MOVE)
		return 0;
	m = (void *)(uintptr_t)req->address;
	m->out_status = 0;
	if (m->op == VB_MOVE_BEGIN) {
		m->slot = take_slot(d);
	} else if (m->op == VB_MOVE_COMMIT) {
		commit(d, m);
	} else if (m->op == VB_MOVE_RECORD) {
		record(d, m);
	} else if (m->op == VB_MOVE_DROP) {
		d->taken[VB_LOC_SLOT(d->entry[m->chunk].loc[VB_TIER_HOST])] = false;
		d->entry[m->chunk].valid = 0;
	}
	return 0;
}

static const struct vgpu_uapi_ops ops = { .call = call };

static void open_file(struct device *d)
{
	uint64_t seed = 1;

	d->content = xalloc(CHUNKS * CHUNK);
	for (uint32_t i = 0; i < CHUNKS * CHUNK / 8; i++)
		((uint64_t *)d->content)[i] = xrandom(&seed);
	d->fd = xfile(d->content, CHUNKS * CHUNK, 0);
	assert_int_equal(vgpu_io_file_add(d->r.io, d->fd, 0, &d->file.index), 0);
	d->file.align = 4096;
	d->file.lent = true;
}

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
	open_file(d);
	d->object = (struct vgpu_object){
		.id = 1, .kind = VB_BO_FILE, .client = 1, .chunks = CHUNKS,
		.bytes = CHUNKS * CHUNK, .table = d->entry, .file = &d->file,
	};
	d->bucket = &d->object;
	d->store.bucket = &d->bucket;
	d->store.buckets = 1;
	return d;
}

static void device_close(struct device *d)
{
	assert_int_equal(vgpu_io_close(d->r.io), 0);
	vgpu_resid_destroy(&d->r, 0);
	close(d->fd);
	free(d->content);
	free(d);
}

/* Somebody touches it.  false: it came so slowly that nobody stood still for it. */
static bool try_page_in(struct device *d, uint32_t chunk)
{
	struct vgpu_page_in p = { .req = { .out_object = 1, .out_chunk = chunk, .out_count = 1 },
				  .late.slot = VB_SLOT_ANY };
	bool waited = true;
	int rc;

	while ((rc = vgpu_page_in_try(&d->r, &d->store, &p)) == -EAGAIN) {
		waited = false;
		assert_true(vgpu_resid_pump(&d->r, VGPU_PUMP_WAIT_NS) >= 0);
	}
	assert_int_equal(rc, 0);
	vgpu_page_in_release(&d->r, &p);
	assert_true(d->entry[chunk].valid);
	return waited;
}

/* Somebody touched it and waited for it: what comes late comes with its checksum, and is no case. */
static void page_in(struct device *d, uint32_t chunk)
{
	while (!try_page_in(d, chunk)) {
		vgpu_resid_evict(&d->r, &d->object, chunk, chunk + 1);
		d->entry[chunk] = (struct vb_table_entry){ 0 };
	}
}

static void assert_recorded(const struct device *d, uint32_t chunk)
{
	assert_true(d->entry[chunk].flags & VB_ENTRY_CRC);
	assert_int_equal(d->recorded[chunk],
			 vgpu_crc32c(0, d->content + (size_t)chunk * CHUNK, CHUNK));
}

static void record_is_made_piece_by_piece_when_nobody_waits(void **state)
{
	struct device *d = device_open();

	(void)state;
	page_in(d, 0);
	page_in(d, 1);
	assert_int_equal(d->told, 0);
	for (uint32_t i = 0; i < 2 * PIECES - 1; i++)
		assert_true(vgpu_record_some(&d->r));
	assert_int_equal(d->told, 1);
	assert_false(vgpu_record_some(&d->r));
	assert_recorded(d, 0);
	assert_recorded(d, 1);
	assert_false(vgpu_record_some(&d->r));
	device_close(d);
}

/* Beyond what is remembered, a chunk comes with its checksum. */
static void record_is_not_put_off_for_more_than_it_remembers(void **state)
{
	struct device *d = device_open();
	uint32_t with = 0;

	(void)state;
	for (uint32_t c = 0; c < VGPU_RECORDS_MAX + 3; c++)
		page_in(d, c);
	assert_int_equal(d->told, 0);
	for (uint32_t c = 0; c < VGPU_RECORDS_MAX + 3; c++)
		with += (d->entry[c].flags & VB_ENTRY_CRC) != 0;
	assert_int_equal(with, 3);
	vgpu_record_make_room(&d->r);
	assert_int_equal(d->told, 1);
	vgpu_record_make_room(&d->r);
	assert_int_equal(d->told, 1);
	vgpu_record_all(&d->r);
	assert_int_equal(d->told, VGPU_RECORDS_MAX);
	for (uint32_t c = 0; c < VGPU_RECORDS_MAX; c++)
		assert_recorded(d, c);
	device_close(d);
}

static void record_of_a_chunk_that_goes_is_made_first(void **state)
{
	struct device *d = device_open();

	(void)state;
	for (uint32_t c = 0; c < 3; c++)
		page_in(d, c);
	assert_true(vgpu_record_some(&d->r));
	vgpu_resid_evict(&d->r, &d->object, 0, 2);
	assert_false(d->entry[0].valid || d->entry[1].valid);
	assert_int_equal(d->told, 2);
	vgpu_record_all(&d->r);
	for (uint32_t c = 0; c < 3; c++)
		assert_recorded(d, c);
	device_close(d);
}

/* Its name may be somebody else's by then. */
static void record_of_an_object_that_is_gone_is_not_made(void **state)
{
	struct device *d = device_open();

	(void)state;
	page_in(d, 0);
	page_in(d, 1);
	assert_true(vgpu_record_some(&d->r));
	assert_true(vgpu_resid_forget(&d->r, &d->object));
	assert_false(vgpu_record_some(&d->r));
	assert_int_equal(d->told, 0);
	device_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_is_made_piece_by_piece_when_nobody_waits),
		cmocka_unit_test(record_is_not_put_off_for_more_than_it_remembers),
		cmocka_unit_test(record_of_a_chunk_that_goes_is_made_first),
		cmocka_unit_test(record_of_an_object_that_is_gone_is_not_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

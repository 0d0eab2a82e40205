// SPDX-License-Identifier: MIT
/*
 * Chunks that the device brought into host memory without the executor: it finds them in the
 * table when it needs them, and takes them in when it is told.  The test is that device: it makes
 * the moves that the module would make.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "exec/executor.h"
#include "exec/filled.h"
#include "exec/home.h"
#include "exec/slot.h"

#define SLOTS		12u
#define CHUNKS		6u

static struct xrig r;
static uint8_t *content;
static int file;
static uint32_t bo, copy, devices;

/* ---- the device ---- */

static uint8_t from = VB_TIER_SOURCE;

static int step(uint32_t chunk, uint8_t op, uint32_t *slot)
{
	struct vb_move mv = {
		.object = bo, .chunk = chunk, .op = op, .from = from,
		.to = VB_TIER_HOST, .arena = r.exec->resid.home[0].arena, .slot = *slot,
	};
	struct vb_ioc_move cmd = {
		.size = sizeof(cmd), .count = 1, .address = (uintptr_t)&mv,
		.generation = r.exec->fetch.generation,
	};
	int rc = vgpu_uapi_call(r.exec->node, VB_IOC_MOVE, &cmd);

	*slot = mv.slot;
	return rc ? rc : mv.out_status;
}

static uint32_t fill_begin(uint32_t chunk)
{
	uint32_t slot = VB_SLOT_ANY;

	assert_int_equal(step(chunk, VB_MOVE_BEGIN, &slot), 0);
	memcpy(vgpu_resid_ptr(&r.exec->resid, slot), content + chunk * XCHUNK, XCHUNK);
	return slot;
}

static void fill_end(uint32_t chunk, uint32_t slot)
{
	assert_int_equal(step(chunk, VB_MOVE_COMMIT, &slot), 0);
}

static void fill(uint32_t chunk)
{
	fill_end(chunk, fill_begin(chunk));
}

static int tell(uint32_t chunk)
{
	struct vgpu_page_in p = {
		.req = { .flags = VB_FETCH_F_FILLED, .out_object = bo, .out_chunk = chunk,
			 .out_count = 1 },
		.late.slot = VB_SLOT_ANY,
	};
	int rc;

	pthread_mutex_lock(&r.exec->run);
	rc = vgpu_page_in_try(&r.exec->resid, &r.exec->store, &p);
	vgpu_page_in_release(&r.exec->resid, &p);
	pthread_mutex_unlock(&r.exec->run);
	return rc;
}

/* The slot that the executor has a chunk in. */
static uint32_t known(uint32_t chunk)
{
	uint32_t slot;

	pthread_mutex_lock(&r.exec->run);
	slot = vgpu_slot_find(&r.exec->resid, vgpu_policy_key(bo, chunk));
	pthread_mutex_unlock(&r.exec->run);
	return slot;
}

/* ---- the client ---- */

/* Copied by a command, which the executor runs. */
static void expect_content(uint32_t chunk)
{
	struct vb_cmd_copy c = { .h = { VB_CMD_COPY, 0, sizeof(c) } };
	static uint8_t got[XCHUNK];
	static struct xstream s;

	xstream_begin(&s);
	c.x = xvector(&s, bo, VB_ACCESS_READ, chunk * XCHUNK, VB_FORMAT_F32, XCHUNK / 4);
	c.y = xvector(&s, copy, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, XCHUNK / 4);
	xstream_add(&s, &c, sizeof(c));
	if (xrun(&r, &s))
		fail_msg("%s", xrig_error(&r));
	assert_int_equal(xrig_read(&r, copy, 0, got, XCHUNK), 0);
	assert_memory_equal(got, content + chunk * XCHUNK, XCHUNK);
}

static int setup(void **state)
{
	struct vgpu_exec_params p = xrig_params(SLOTS);
	char arena[64];

	(void)state;
	snprintf(arena, sizeof(arena), "/var/tmp/vgpu-filled-%d-%u", getpid(), devices++);
	p.nvme_path = arena;
	p.nvme_bytes = 64 * XCHUNK;
	content = xalloc(CHUNKS * XCHUNK);
	for (size_t i = 0; i < CHUNKS * XCHUNK; i++)
		content[i] = (uint8_t)(i * 31 + (i >> 12) * 7 + 1);
	file = xfile(content, CHUNKS * XCHUNK, 0);
	xrig_start(&r, &p);
	bo = xrig_file(&r, file, 0, CHUNKS * XCHUNK);
	copy = xrig_anonymous(&r, XCHUNK);
	/* The executor has heard of it. */
	expect_content(0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xrig_close(&r);
	close(file);
	free(content);
	return 0;
}

static uint64_t read_bytes(void)
{
	uint64_t count[VB_COUNT_COUNT];

	xrig_counters(&r, count);
	return count[VB_COUNT_READ_BYTES];
}

/* ---- tests ---- */

static void what_the_device_brought_is_found_when_it_is_used(void **state)
{
	(void)state;
	fill(2);
	fill(4);
	assert_int_equal(known(2), VB_SLOT_ANY);
	for (uint32_t c = 1; c < 5; c++)
		expect_content(c);
	assert_int_not_equal(known(2), VB_SLOT_ANY);
	/* Each was read once, whoever did. */
	assert_int_equal(read_bytes(), 5 * XCHUNK);
	xrig_assert_sound(&r);
}

static void what_it_tells_of_is_known_and_its_checksum_recorded(void **state)
{
	struct vgpu_object *o;
	uint32_t slot;

	(void)state;
	fill(3);
	assert_int_equal(tell(3), 0);
	slot = known(3);
	assert_int_not_equal(slot, VB_SLOT_ANY);
	assert_int_equal(r.exec->resid.slot[slot].state, VGPU_SLOT_READY);
	xrig_assert_sound(&r);
	pthread_mutex_lock(&r.exec->run);
	vgpu_record_all(&r.exec->resid);
	o = vgpu_store_find(&r.exec->store, bo);
	assert_int_equal(vgpu_object_entry(o, 3).flags & VB_ENTRY_CRC, VB_ENTRY_CRC);
	pthread_mutex_unlock(&r.exec->run);
	expect_content(3);
}

/* It went again before the executor heard of it, or was found: nobody waits for it. */
static void what_has_gone_since_is_not_brought_again(void **state)
{
	(void)state;
	fill(5);
	expect_content(5);
	assert_int_equal(xrig_advise(&r, bo, VB_ADVISE_EVICT, 5 * XCHUNK, XCHUNK), 0);
	assert_int_equal(known(5), VB_SLOT_ANY);
	assert_int_equal(tell(5), 0);
	assert_int_equal(known(5), VB_SLOT_ANY);
	xrig_assert_sound(&r);
}

static void *end_later(void *arg)
{
	usleep(50000);
	fill_end(1, *(uint32_t *)arg);
	return NULL;
}

static void what_the_device_is_reading_is_waited_for(void **state)
{
	uint32_t slot = fill_begin(1);
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, end_later, &slot), 0);
	expect_content(1);
	pthread_join(thread, NULL);
	assert_int_equal(known(1), slot);
}

/* A mapping in process wants adjacent slots: what lies elsewhere moves there. */
static void chunks_that_are_mapped_together_come_together(void **state)
{
	void *p;

	(void)state;
	fill(4);
	fill(1);
	assert_int_equal(xrig_map(&r, bo, 0, CHUNKS * XCHUNK, VB_MAP_READ, &p), 0);
	assert_memory_equal(p, content, CHUNKS * XCHUNK);
	assert_int_equal(xrig_unmap(&r, bo, 0, CHUNKS * XCHUNK, VB_MAP_READ), 0);
	xrig_assert_sound(&r);
}

/* More room than the executor knows of: the device took it, and it makes more. */
static void slots_that_the_device_took_are_missed_by_nobody(void **state)
{
	uint32_t filled = bo;

	(void)state;
	for (uint32_t c = 1; c < CHUNKS; c++)
		fill(c);
	/* Other objects of the same bytes, each of chunks of its own. */
	for (uint32_t i = 0; i < 3; i++) {
		bo = xrig_file(&r, file, 4096, (CHUNKS - 1) * XCHUNK - 4096 * i);
		for (uint32_t c = 0; c < CHUNKS - 2; c++)
			assert_int_equal(xrig_advise(&r, bo, VB_ADVISE_PREFETCH, c * XCHUNK, 1), 0);
	}
	bo = filled;
	for (uint32_t c = 0; c < CHUNKS; c++)
		expect_content(c);
	xrig_assert_sound(&r);
}

/* Storage of the executor's own: its checksum is known, and is not recorded again. */
static void what_was_written_out_is_found_too(void **state)
{
	uint32_t object = xrig_anonymous(&r, 2 * XCHUNK);

	(void)state;
	assert_int_equal(xrig_write(&r, object, 0, content, 2 * XCHUNK), 0);
	assert_int_equal(xrig_advise(&r, object, VB_ADVISE_EVICT, 0, 2 * XCHUNK), 0);
	bo = object;
	assert_int_equal(known(1), VB_SLOT_ANY);
	from = VB_TIER_NVME;
	fill(1);
	from = VB_TIER_SOURCE;
	assert_int_equal(tell(1), 0);
	assert_int_not_equal(known(1), VB_SLOT_ANY);
	assert_int_equal(r.exec->resid.records.count, 0);
	expect_content(1);
	expect_content(0);
	xrig_assert_sound(&r);
}

static void the_device_is_never_let_have_the_last_slot(void **state)
{
	struct vgpu_resid *t = &r.exec->resid;

	(void)state;
	assert_int_equal(vgpu_filled_most(t), t->free - 1 < VGPU_FILLED_MAX ? t->free - 1 :
									     VGPU_FILLED_MAX);
	for (uint32_t free = t->free; t->free; t->free--)
		assert_true(vgpu_filled_most(t) < t->free && t->free <= free);
	assert_int_equal(vgpu_filled_most(t), 0);
	t->free = t->slots - t->map.count;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(what_the_device_brought_is_found_when_it_is_used),
		T(what_it_tells_of_is_known_and_its_checksum_recorded),
		T(what_has_gone_since_is_not_brought_again),
		T(what_the_device_is_reading_is_waited_for),
		T(chunks_that_are_mapped_together_come_together),
		T(slots_that_the_device_took_are_missed_by_nobody),
		T(what_was_written_out_is_found_too),
		T(the_device_is_never_let_have_the_last_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

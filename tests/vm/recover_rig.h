/* SPDX-License-Identifier: MIT */
/*
 * Executors that die and those that come after them, by hand: the test is the client and
 * every one of the executors.  One dies by closing its node.
 */
#ifndef TESTS_RECOVER_RIG_H
#define TESTS_RECOVER_RIG_H

#include "selftests/hands.h"

#include "vm/machine.h"

#define SLOTS	4u
#define H	VB_TIER_HOST
#define D	VB_TIER_DEVICE
#define N	VB_TIER_NVME
#define Z	VB_TIER_ZERO

static const uint64_t identity[2] = { 0x1122334455667788, 0x99aabbccddeeff00 };

/* ---- executors ---- */

/* Attach, no more; the state it finds. */
static inline uint32_t attach(struct rig_exec *e)
{
	uint32_t state;

	assert_rc(rig_exec_attach(&rig, e, &state), 0);
	return state;
}

static inline uint32_t arena(struct rig_exec *e, uint32_t tier)
{
	struct vb_ioc_arena_create cmd = {
		.size = sizeof(cmd), .tier = tier, .numa_node = -1, .slots = SLOTS,
	};

	if (tier == N)
		memcpy(cmd.identity, identity, sizeof(identity));
	assert_rc(vgpu_uapi_call(e->node, VB_IOC_ARENA_CREATE, &cmd), 0);
	return cmd.out_arena;
}

static inline void map_region(struct rig_exec *e, uint64_t offset)
{
	e->bytes = chunks(SLOTS);
	assert_rc(e->node->ops->map(e->node, offset, e->bytes, true, (void **)&e->memory), 0);
}

/* The first executor of a test. */
static inline void begin(struct rig_exec *e)
{
	struct vb_ioc_region region = { .size = sizeof(region), .slots = SLOTS };

	assert_int_equal(attach(e), VB_EXEC_LIVE);
	e->host = region.arena = arena(e, H);
	e->device = arena(e, D);
	e->nvme = arena(e, N);
	assert_rc(vgpu_uapi_call(e->node, VB_IOC_REGION_ADD, &region), 0);
	map_region(e, region.out_mmap_offset);
}

static inline int adopt(struct rig_exec *e, uint32_t number, uint32_t flags, const uint64_t *id)
{
	struct vb_ioc_arena_adopt cmd = { .size = sizeof(cmd), .arena = number, .flags = flags };

	if (id)
		memcpy(cmd.identity, id, sizeof(cmd.identity));
	return vgpu_uapi_call(e->node, VB_IOC_ARENA_ADOPT, &cmd);
}

/* A host arena is adopted: its memory. */
static inline void map_adopted(struct rig_exec *e, uint32_t number)
{
	struct vb_ioc_region region = { .size = sizeof(region), .arena = number };

	e->host = number;
	assert_rc(vgpu_uapi_call(e->node, VB_IOC_REGION_NEXT, &region), 0);
	assert_int_equal(region.first_slot, 0);
	assert_int_equal(region.slots, SLOTS);
	map_region(e, region.out_mmap_offset);
	region.first_slot = SLOTS;
	assert_rc(vgpu_uapi_call(e->node, VB_IOC_REGION_NEXT, &region), -ENOENT);
}

/* A successor with all there is, up to the last call. */
static inline void succeed(struct rig_exec *e)
{
	const struct rig_exec before = *e;

	assert_int_equal(attach(e), VB_EXEC_RECOVERING);
	assert_rc(adopt(e, before.host, 0, NULL), 0);
	map_adopted(e, before.host);
	assert_rc(adopt(e, before.nvme, 0, identity), 0);
	e->nvme = before.nvme;
}

/* What it was remains to be read, for whoever succeeds. */
static inline void die(struct rig_exec *e)
{
	const struct rig_exec before = *e;

	rig_exec_close(e);
	e->host = before.host;
	e->nvme = before.nvme;
	e->generation = before.generation;
}

static inline void die_and_succeed(struct rig_exec *e)
{
	die(e);
	succeed(e);
	assert_rc(rig_recover(e, 0), 0);
}

static inline int recovery_setup(void **state)
{
	int rc = client_setup(state);

	machine_set_ms("recovery_ms", 20000);
	return rc;
}

static inline int recovery_teardown(void **state)
{
	machine_set_ms("recovery_ms", 0);
	return selftest_teardown(state);
}

static inline int setup(void **state)
{
	int rc = recovery_setup(state);

	begin(&x);
	return rc;
}

/* With the last client goes what is kept for clients. */
static inline int teardown(void **state)
{
	rig_exec_close(&x);
	return recovery_teardown(state);
}

/* ---- objects ---- */

static inline uint32_t object_after(uint32_t id)
{
	struct vb_ioc_object_next cmd = { .size = sizeof(cmd), .object = id };

	return vgpu_uapi_call(x.node, VB_IOC_OBJECT_NEXT, &cmd) ? 0 : cmd.out_object;
}

/* An object whose id the executor has from the list of them: no request was about it. */
static inline uint32_t listed_object(uint64_t count, uint32_t *out_bo)
{
	uint32_t id = 0, next;

	assert_rc(rig_bo(u, chunks(count), VB_LIFE_VOLATILE, out_bo), 0);
	while ((next = object_after(id + 1)))
		id = next;
	assert_int_not_equal(id, 0);
	return id;
}

static inline void copy(uint32_t object, uint32_t chunk, uint8_t from, uint8_t to)
{
	assert_rc(rig_step(&x, object, chunk, VB_MOVE_BEGIN, from, to), 0);
	assert_rc(rig_step(&x, object, chunk, VB_MOVE_COMMIT, from, to), 0);
}

/* A chunk that is touched and on NVMe: to read it takes an executor. */
static inline uint32_t absent_object(uint32_t *out_bo)
{
	uint32_t id = listed_object(1, out_bo), word = 0xabcd;

	copy(id, 0, Z, H);
	assert_rc(rig_write(u, *out_bo, 0, &word, 4), 0);
	copy(id, 0, H, N);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	return id;
}

static inline uint64_t used_bytes(uint32_t tier)
{
	struct vb_ioc_query_tier q;

	assert_rc(rig_tier(u, tier, &q), 0);
	return q.out_used_bytes;
}

/* ---- submissions ---- */

/* Submitted, and fetched by an executor that dies before it is done; the queue. */
static inline uint32_t interrupted(uint32_t bo, uint32_t access)
{
	uint32_t queue = new_queue();
	struct rig_stream s;

	rig_stream(&s);
	rig_add_nop(&s);
	if (bo)
		rig_add_bo(&s, bo, access);
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
	fetch_submission(NULL);
	return queue;
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif

// SPDX-License-Identifier: MIT
/*
 * The seven invariants of the residency table, each attacked by an executor and a
 * client that want to break it.  The executor is in the hands of the test.
 */
#include "selftests/hands.h"

#define SLOTS	8u

static int setup(void **state)
{
	return hands_open(state, SLOTS);
}

static uint32_t new_file_object(uint64_t chunks, uint32_t *out_bo)
{
	int fd = rig_file(&rig, chunks * rig.chunk_bytes);

	assert_rc(rig_bo_file(u, fd, 0, chunks * rig.chunk_bytes, out_bo), 0);
	close(fd);
	return object_of(*out_bo);
}

static int begin(uint32_t o, uint32_t chunk, uint8_t from, uint8_t to)
{
	return rig_step(&x, o, chunk, VB_MOVE_BEGIN, from, to);
}

static int commit(uint32_t o, uint32_t chunk, uint8_t from, uint8_t to)
{
	return rig_step(&x, o, chunk, VB_MOVE_COMMIT, from, to);
}

static void bring(uint32_t o, uint32_t chunk, uint8_t from, uint8_t to)
{
	assert_rc(begin(o, chunk, from, to), 0);
	assert_rc(commit(o, chunk, from, to), 0);
}

static int drop(uint32_t o, uint32_t chunk, uint8_t tier)
{
	return rig_step(&x, o, chunk, VB_MOVE_DROP, tier, tier);
}

static int write_to(uint32_t o, uint32_t chunk, uint8_t tier)
{
	return rig_step(&x, o, chunk, VB_MOVE_WRITE, tier, tier);
}

static int seal(uint32_t bo)
{
	return rig_seal(u, bo);
}

static uint64_t used(uint32_t tier)
{
	struct vb_ioc_query_tier t;

	assert_rc(rig_tier(u, tier, &t), 0);
	return t.out_used_bytes / rig.chunk_bytes;
}

enum { H = VB_TIER_HOST, D = VB_TIER_DEVICE, N = VB_TIER_NVME, S = VB_TIER_SOURCE, Z = VB_TIER_ZERO };

/* ---- 1: one authoritative copy, or zero, or sealed with identical copies ---- */

static void authority_last_copy_is_never_dropped(void **state)
{
	uint32_t bo, o = new_object(1, &bo);

	(void)state;
	bring(o, 0, Z, H);
	assert_rc(write_to(o, 0, H), 0);
	assert_rc(drop(o, 0, H), -EBUSY);
	bring(o, 0, H, D);
	assert_rc(drop(o, 0, H), 0);
	assert_rc(drop(o, 0, D), -EBUSY);
	assert_int_equal(rig_residency(u, bo, 0) & 7, 1u << D);
}

static void authority_write_makes_other_copies_stale(void **state)
{
	uint32_t bo, o = new_object(1, &bo);

	(void)state;
	bring(o, 0, Z, H);
	assert_rc(write_to(o, 0, H), 0);
	bring(o, 0, H, N);
	bring(o, 0, H, D);
	assert_int_equal(rig_residency(u, bo, 0) & 15, 7);
	assert_rc(write_to(o, 0, D), 0);
	assert_int_equal(rig_residency(u, bo, 0) & 15, 1u << D | 1u << 3);
	assert_int_equal(used(H), 0);
	assert_int_equal(used(N), 0);
}

static void authority_no_copy_comes_from_where_there_is_none(void **state)
{
	static const uint8_t tiers[] = { H, D, N };
	uint32_t bo, file, o = new_object(1, &bo), of = new_file_object(1, &file);

	(void)state;
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 3; j++)
			assert_rc(begin(o, 0, tiers[i], tiers[j]), -EINVAL);
	assert_rc(begin(o, 0, S, H), -EINVAL);
	assert_rc(begin(of, 0, Z, H), -EINVAL);
	bring(o, 0, Z, H);
	assert_rc(write_to(o, 0, H), 0);
	assert_rc(begin(o, 0, Z, D), -EINVAL);	/* zero is not its content any more */
	assert_int_equal(used(H) + used(D) + used(N), 1);
}

static void authority_sealed_copies_stay_identical(void **state)
{
	uint32_t bo, o = new_object(1, &bo);

	(void)state;
	bring(o, 0, Z, H);
	assert_rc(write_to(o, 0, H), 0);
	bring(o, 0, H, D);
	assert_rc(seal(bo), 0);
	assert_rc(write_to(o, 0, H), -EROFS);
	assert_rc(write_to(o, 0, D), -EROFS);
	assert_int_equal(rig_residency(u, bo, 0) & 7, 1u << H | 1u << D);
}

/* ---- 2: a mapping and a device copy are never both writable ---- */

static void mapping_and_device_copy_are_never_both_writable(void **state)
{
	uint32_t bo, o = new_object(1, &bo);
	void *p;

	(void)state;
	bring(o, 0, Z, H);
	bring(o, 0, H, D);
	assert_rc(rig_map(u, bo, 0, 1, VB_MAP_WRITE, &p), 0);
	assert_int_equal(rig_residency(u, bo, 0) & 7, 1u << H);	/* the device's went */
	assert_rc(begin(o, 0, H, D), -EBUSY);
	assert_rc(rig_unmap(u, bo, 0, 1, VB_MAP_WRITE), 0);
	bring(o, 0, H, D);
	assert_rc(rig_map(u, bo, 0, 1, VB_MAP_READ, &p), 0);
	assert_rc(write_to(o, 0, D), -EBUSY);
	assert_rc(rig_unmap(u, bo, 0, 1, VB_MAP_READ), 0);
	assert_rc(write_to(o, 0, D), 0);
}

static void mapping_waits_for_a_move_and_gives_up_in_time(void **state)
{
	uint32_t bo, o = new_object(1, &bo);
	struct vb_ioc_bo_map map = {
		.size = sizeof(map), .bo_id = bo, .flags = VB_MAP_WRITE, .bytes = 1,
	};

	(void)state;
	bring(o, 0, Z, H);
	assert_rc(begin(o, 0, H, D), 0);
	map.deadline_ns = rig_now() + 3000000;
	assert_rc(vgpu_uapi_call(u, VB_IOC_BO_MAP, &map), -ETIME);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_ABORT, H, D), 0);
	map.deadline_ns = 0;
	assert_rc(vgpu_uapi_call(u, VB_IOC_BO_MAP, &map), 0);
}

/* ---- 3: pinned is never a victim; slots with references are not reused ---- */

static void resid_pinned_chunk_is_never_moved(void **state)
{
	uint32_t bo, o = new_object(1, &bo);

	(void)state;
	bring(o, 0, Z, H);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PIN, 0, 1), 0);
	assert_rc(drop(o, 0, H), -EBUSY);
	assert_rc(begin(o, 0, H, H), -EBUSY);
	bring(o, 0, H, D);	/* a copy elsewhere is no eviction */
	assert_rc(drop(o, 0, H), -EBUSY);
	assert_rc(rig_advise(u, bo, VB_ADVISE_UNPIN, 0, 1), 0);
	assert_rc(drop(o, 0, H), 0);
}

static void resid_mapped_chunk_is_never_moved(void **state)
{
	uint32_t bo, o = new_file_object(2, &bo);
	void *p;

	(void)state;
	bring(o, 0, S, H);
	assert_rc(rig_map(u, bo, 0, 1, VB_MAP_READ, &p), 0);
	assert_rc(drop(o, 0, H), -EBUSY);
	assert_rc(begin(o, 0, H, H), -EBUSY);
	assert_rc(rig_bo_destroy(u, bo), 0);	/* the mapping stays */
	assert_rc(drop(o, 0, H), -EBUSY);
}

static void resid_slot_in_use_is_never_given_again(void **state)
{
	uint32_t bo, o = new_object(SLOTS, &bo), b2, o2;
	struct vb_move mv = { .op = VB_MOVE_BEGIN, .from = Z, .to = H, .arena = x.host };

	(void)state;
	mv.object = o;
	mv.slot = 3;
	assert_rc(rig_move(&x, &mv), 0);
	mv.chunk = 1;
	assert_rc(rig_move(&x, &mv), -EEXIST);	/* filling */
	assert_rc(commit(o, 0, Z, H), 0);
	assert_rc(rig_move(&x, &mv), -EEXIST);	/* full */
	mv.slot = SLOTS;
	assert_rc(rig_move(&x, &mv), -EINVAL);
	for (uint32_t chunk = 1; chunk < SLOTS; chunk++)
		assert_rc(begin(o, chunk, Z, H), 0);
	o2 = new_object(1, &b2);
	assert_rc(begin(o2, 0, Z, H), -ENOSPC);
	assert_int_equal(used(H), SLOTS);
}

static void resid_slot_stays_taken_until_the_executor_forgot(void **state)
{
	uint32_t bo, o = new_object(1, &bo);
	struct vb_ioc_fetch req;

	(void)state;
	bring(o, 0, Z, H);
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_int_equal(used(H), 1);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_FORGET);
	assert_int_equal(used(H), 1);
	assert_rc(begin(o, 0, H, D), -ESTALE);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_int_equal(used(H), 0);
	assert_rc(begin(o, 0, Z, H), -ESTALE);
}

static void resid_moving_object_is_not_forgotten(void **state)
{
	uint32_t bo, o = new_object(1, &bo);
	struct vb_ioc_fetch req;

	(void)state;
	assert_rc(begin(o, 0, Z, H), 0);
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), -EBUSY);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_ABORT, Z, H), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_int_equal(used(H), 0);
}

static void resid_region_with_a_chunk_is_not_removed(void **state)
{
	uint32_t bo, o = new_object(1, &bo);
	struct vb_ioc_region region = { .size = sizeof(region), .arena = x.host, .slots = SLOTS };

	(void)state;
	assert_rc(begin(o, 0, Z, H), 0);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_REGION_REMOVE, &region), -EBUSY);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_ABORT, Z, H), 0);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_REGION_REMOVE, &region), 0);
	assert_rc(begin(o, 0, Z, H), -ENOSPC);
}

/* ---- 4: file chunks never cause a write; sealed ones at most one ---- */

static void storage_file_chunk_is_never_written(void **state)
{
	uint32_t bo, o = new_file_object(1, &bo);
	struct vb_ioc_bo_info info;

	(void)state;
	bring(o, 0, S, H);
	assert_rc(begin(o, 0, H, N), -EINVAL);
	assert_rc(begin(o, 0, S, N), -EINVAL);
	assert_rc(write_to(o, 0, H), -EROFS);
	assert_rc(rig_info(u, bo, &info), 0);
	assert_int_equal(info.out_dirty_bytes, 0);
	assert_rc(drop(o, 0, H), 0);	/* costs nothing */
}

static void storage_sealed_chunk_is_written_once(void **state)
{
	uint32_t bo, o = new_object(1, &bo);

	(void)state;
	bring(o, 0, Z, H);
	assert_rc(write_to(o, 0, H), 0);
	assert_rc(seal(bo), 0);
	bring(o, 0, H, N);	/* the one */
	assert_rc(begin(o, 0, H, N), -EINVAL);
	assert_rc(drop(o, 0, H), 0);
	bring(o, 0, N, H);
	assert_rc(drop(o, 0, N), -EBUSY);	/* would have to be written again */
	assert_rc(begin(o, 0, N, N), -EINVAL);
	assert_rc(begin(o, 0, H, N), -EINVAL);
}

static void storage_clean_chunk_is_not_written_again(void **state)
{
	uint32_t bo, o = new_object(1, &bo);

	(void)state;
	bring(o, 0, Z, H);
	assert_rc(begin(o, 0, H, N), -EINVAL);	/* zero is not worth a write */
	assert_rc(write_to(o, 0, H), 0);
	bring(o, 0, H, N);
	assert_rc(begin(o, 0, H, N), -EINVAL);
}

/* ---- 5: the fence of a durable BO ---- */

static uint64_t submit_write(uint32_t queue, uint32_t bo)
{
	struct vb_ioc_fetch req;
	struct rig_stream s;

	rig_stream(&s);
	rig_add_fill(&s, rig_add_bo(&s, bo, VB_ACCESS_WRITE), 0, 1, 1.0f);
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SUBMIT);
	return req.out_tag;
}

static void durable_fence_waits_for_a_copy_that_survives(void **state)
{
	uint32_t bo, o = new_object_of(1, VB_LIFE_DURABLE, &bo), q;
	uint64_t tag;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	tag = submit_write(q, bo);
	bring(o, 0, Z, D);
	assert_rc(write_to(o, 0, D), 0);
	assert_rc(rig_commit(&x, tag, 0), -EBUSY);
	assert_rc(rig_wait(u, q, 1, 0), -ETIME);
	bring(o, 0, D, H);
	assert_rc(rig_commit(&x, tag, 0), 0);
	assert_rc(rig_wait(u, q, 1, 0), 0);
}

static void durable_failure_may_be_told_at_once(void **state)
{
	uint32_t bo, o = new_object_of(1, VB_LIFE_DURABLE, &bo), q;
	uint64_t tag;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	tag = submit_write(q, bo);
	bring(o, 0, Z, D);
	assert_rc(write_to(o, 0, D), 0);
	assert_rc(rig_commit(&x, tag, -EIO), 0);
	assert_rc(rig_wait(u, q, 1, 0), -EIO);
}

static void volatile_fence_waits_for_nothing(void **state)
{
	uint32_t bo, o = new_object(1, &bo), q;
	uint64_t tag;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	tag = submit_write(q, bo);
	bring(o, 0, Z, D);
	assert_rc(write_to(o, 0, D), 0);
	assert_rc(rig_commit(&x, tag, 0), 0);
}

static void content_that_left_with_the_executor_is_eio(void **state)
{
	uint32_t bo, file, o = new_object(2, &bo), of = new_file_object(1, &file);
	struct vb_ioc_bo_info info;
	char byte;

	(void)state;
	bring(o, 0, Z, H);
	assert_rc(write_to(o, 0, H), 0);
	bring(of, 0, S, H);
	rig_exec_close(&x);
	assert_int_equal(rig_residency(u, bo, 0), 1u << 6);
	assert_int_equal(rig_residency(u, bo, 1), 0);
	assert_int_equal(rig_residency(u, file, 0), 0);
	assert_rc(rig_exec_open(&rig, &x, SLOTS), 0);
	assert_rc(rig_read(u, bo, 0, &byte, 1), -EIO);
	assert_rc(rig_read(u, bo, rig.chunk_bytes, &byte, 1), 0);	/* was never touched */
	assert_int_equal(byte, 0);
	assert_rc(begin(o, 0, Z, H), -EIO);
	bring(of, 0, S, H);	/* comes from its file again */
	assert_rc(rig_info(u, bo, &info), 0);
	for (int tier = 0; tier < VB_TIER_COUNT; tier++)
		assert_int_equal(info.out_tier_bytes[tier], 0);
}

/* ---- 6: accounts equal the table, in every state that can be reached ---- */

struct model {
	uint32_t bo[4], object[4];
	uint64_t chunks;
};

static uint32_t random_next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* What the residency bytes add up to must be what BO_INFO and QUERY_TIER say. */
static void check_accounts(const struct model *m, uint64_t moving)
{
	uint64_t total[VB_TIER_COUNT] = { 0 };

	for (int i = 0; i < 4; i++) {
		uint64_t tier[VB_TIER_COUNT] = { 0 }, dirty = 0;
		struct vb_ioc_bo_info info;

		for (uint32_t chunk = 0; chunk < m->chunks; chunk++) {
			uint8_t r = rig_residency(u, m->bo[i], chunk);

			for (int t = 0; t < VB_TIER_COUNT; t++)
				tier[t] += r >> t & 1;
			dirty += r >> 3 & 1;
		}
		assert_rc(rig_info(u, m->bo[i], &info), 0);
		assert_int_equal(info.out_dirty_bytes, dirty * rig.chunk_bytes);
		for (int t = 0; t < VB_TIER_COUNT; t++) {
			assert_int_equal(info.out_tier_bytes[t], tier[t] * rig.chunk_bytes);
			total[t] += tier[t];
		}
	}
	for (uint32_t t = 0; t < VB_TIER_COUNT; t++) {
		struct vb_ioc_query_tier q;

		assert_rc(rig_tier(u, t, &q), 0);
		assert_int_equal(q.out_client_bytes, q.out_used_bytes);
		assert_in_range(q.out_used_bytes / rig.chunk_bytes, total[t], total[t] + moving);
	}
}

/* Any step at all; the device decides. */
static void random_step(struct model *m, uint32_t *seed)
{
	uint32_t i = random_next(seed) % 4, chunk = random_next(seed) % (uint32_t)m->chunks;
	uint8_t from = (uint8_t)(random_next(seed) % 6), to = (uint8_t)(random_next(seed) % 4);
	void *p;

	switch (random_next(seed) % 12) {
	case 0:
		rig_advise(u, m->bo[i], VB_ADVISE_UNPIN, chunk * (uint64_t)rig.chunk_bytes, 1);
		break;
	case 1:
		if (rig_residency(u, m->bo[i], chunk) & 1 && !(rig_residency(u, m->bo[i], chunk) & 16))
			rig_advise(u, m->bo[i], VB_ADVISE_PIN, chunk * (uint64_t)rig.chunk_bytes, 1);
		break;
	case 2:
		if (rig_residency(u, m->bo[i], chunk) & 1 && !(rig_residency(u, m->bo[i], chunk) & 16))
			rig_map(u, m->bo[i], chunk * (uint64_t)rig.chunk_bytes, 1,
				i == 3 ? VB_MAP_READ : VB_MAP_READ | VB_MAP_WRITE, &p);
		break;
	case 3:
		rig_unmap(u, m->bo[i], chunk * (uint64_t)rig.chunk_bytes, 1,
			  i == 3 ? VB_MAP_READ : VB_MAP_READ | VB_MAP_WRITE);
		break;
	default:
		rig_step(&x, m->object[i], chunk, (uint8_t)(random_next(seed) % 7), from, to);
	}
}

static void accounts_equal_the_table_after_any_steps(void **state)
{
	struct model m = { .chunks = 3 };
	uint32_t seed = 12345;
	struct vb_ioc_query_tier q;

	(void)state;
	for (int i = 0; i < 3; i++)
		m.object[i] = new_object_of(m.chunks, (uint32_t)i, &m.bo[i]);
	m.object[3] = new_file_object(m.chunks, &m.bo[3]);
	for (int i = 0; i < 20000; i++) {
		random_step(&m, &seed);
		if (i % 50 == 0)
			check_accounts(&m, 12);
	}
	for (int i = 0; i < 4; i++)
		for (uint32_t chunk = 0; chunk < m.chunks; chunk++)
			for (uint8_t from = 0; from < 5; from++)
				for (uint8_t to = 0; to < 3; to++)
					rig_step(&x, m.object[i], chunk, VB_MOVE_ABORT, from, to);
	check_accounts(&m, 0);
	for (int i = 0; i < 4; i++)
		assert_rc(rig_bo_destroy(u, m.bo[i]), 0);
	rig_client_close(rig.client);
	for (struct vb_ioc_fetch req; !rig_fetch(&x, &req);)
		assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	rig.client = u = rig_client(&rig);
	for (uint32_t t = 0; t < VB_TIER_COUNT; t++) {
		assert_rc(rig_tier(u, t, &q), 0);
		assert_int_equal(q.out_used_bytes, 0);
		assert_int_equal(q.out_pinned_bytes, 0);
		assert_int_equal(q.out_reserved_bytes, 0);
	}
}

static void accounts_of_two_clients_add_up(void **state)
{
	uint32_t bo, other_bo, o = new_object(2, &bo), other_o;
	struct vgpu_uapi *mine = u, *other = rig_client(&rig);
	struct vb_ioc_query_tier a, b;

	(void)state;
	u = other;
	other_o = new_object(3, &other_bo);
	bring(o, 0, Z, H);
	bring(other_o, 0, Z, H);
	bring(other_o, 2, Z, H);
	assert_rc(rig_tier(mine, H, &a), 0);
	assert_rc(rig_tier(other, H, &b), 0);
	assert_int_equal(a.out_client_bytes, rig.chunk_bytes);
	assert_int_equal(b.out_client_bytes, 2 * rig.chunk_bytes);
	assert_int_equal(a.out_used_bytes, 3 * rig.chunk_bytes);
	rig_client_close(other);
	u = mine;
}

static void accounts_a_client_at_its_maximum_gets_no_slot(void **state)
{
	uint32_t bo, o = new_object(3, &bo);

	(void)state;
	assert_rc(rig_limit(u, VB_LIMIT_HOST_MAX, 2 * rig.chunk_bytes), 0);
	bring(o, 0, Z, H);
	bring(o, 1, Z, H);
	assert_rc(begin(o, 2, Z, H), -EDQUOT);
	assert_rc(begin(o, 0, H, D), 0);
	assert_rc(drop(o, 1, H), 0);
	bring(o, 2, Z, H);
}

/* ---- 7: memory of a new owner is zero or fully overwritten ---- */

static void secrets_memory_of_a_destroyed_object_is_not_seen_again(void **state)
{
	uint64_t bytes = (uint64_t)6 * rig.chunk_bytes;
	uint8_t *secret = malloc(bytes), *got = malloc(bytes), *p;
	uint32_t id;

	(void)state;
	memset(secret, 0x5a, bytes);
	for (int round = 0; round < 6; round++) {
		struct vgpu_uapi *client = rig_client(&rig);

		assert_rc(rig_bo(client, bytes, VB_LIFE_VOLATILE, &id), 0);
		assert_rc(rig_map(client, id, 0, bytes, VB_MAP_READ, (void **)&p), 0);
		for (uint64_t i = 0; i < bytes; i++)
			assert_int_equal(p[i], 0);
		assert_rc(rig_unmap(client, id, 0, bytes, VB_MAP_READ), 0);
		assert_rc(rig_read(client, id, 0, got, bytes), 0);
		for (uint64_t i = 0; i < bytes; i++)
			assert_int_equal(got[i], 0);
		assert_rc(rig_write(client, id, 0, secret, bytes), 0);
		assert_rc(rig_advise(client, id, VB_ADVISE_EVICT, 0, bytes / 2), 0);
		rig_client_close(client);
	}
	free(secret);
	free(got);
}

/* Behind the end of a file in its last chunk there is nothing to be seen. */
static void secrets_tail_of_a_short_file_is_zero(void **state)
{
	uint64_t bytes = 2 * rig.chunk_bytes;
	uint8_t *secret = malloc(bytes);
	struct vb_ioc_bo_create cmd = { .size = sizeof(cmd), .kind = VB_BO_FILE };
	uint32_t id;
	char *p;

	(void)state;
	memset(secret, 0x5a, bytes);
	assert_rc(rig_bo(u, bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(u, id, 0, secret, bytes), 0);
	assert_rc(rig_bo_destroy(u, id), 0);
	cmd.fd = rig_file(&rig, 5000);
	cmd.bytes = 5000;
	assert_rc(vgpu_uapi_call(u, VB_IOC_BO_CREATE, &cmd), 0);
	assert_rc(rig_map(u, cmd.out_bo_id, 0, 5000, VB_MAP_READ, (void **)&p), 0);
	for (uint32_t i = 5000; i < rig.chunk_bytes; i++)
		assert_int_equal(p[i], 0);
	close(cmd.fd);
	free(secret);
}

static int served_setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	return rc;
}

#define HANDS(name)	cmocka_unit_test_setup_teardown(name, setup, hands_teardown)
#define SERVED(name)	cmocka_unit_test_setup_teardown(name, served_setup, selftest_teardown)

int main(void)
{
	const struct CMUnitTest by_hand[] = {
		HANDS(authority_last_copy_is_never_dropped),
		HANDS(authority_write_makes_other_copies_stale),
		HANDS(authority_no_copy_comes_from_where_there_is_none),
		HANDS(authority_sealed_copies_stay_identical),
		HANDS(mapping_and_device_copy_are_never_both_writable),
		HANDS(mapping_waits_for_a_move_and_gives_up_in_time),
		HANDS(resid_pinned_chunk_is_never_moved),
		HANDS(resid_mapped_chunk_is_never_moved),
		HANDS(resid_slot_in_use_is_never_given_again),
		HANDS(resid_slot_stays_taken_until_the_executor_forgot),
		HANDS(resid_moving_object_is_not_forgotten),
		HANDS(resid_region_with_a_chunk_is_not_removed),
		HANDS(storage_file_chunk_is_never_written),
		HANDS(storage_sealed_chunk_is_written_once),
		HANDS(storage_clean_chunk_is_not_written_again),
		HANDS(durable_fence_waits_for_a_copy_that_survives),
		HANDS(durable_failure_may_be_told_at_once),
		HANDS(volatile_fence_waits_for_nothing),
		HANDS(content_that_left_with_the_executor_is_eio),
		HANDS(accounts_equal_the_table_after_any_steps),
		HANDS(accounts_of_two_clients_add_up),
		HANDS(accounts_a_client_at_its_maximum_gets_no_slot),
	};
	const struct CMUnitTest served[] = {
		SERVED(secrets_memory_of_a_destroyed_object_is_not_seen_again),
		SERVED(secrets_tail_of_a_short_file_is_zero),
	};
	int failed = 0;

	failed += SELFTEST_RUN("invariants, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("invariants, slow executor", served, RIG_FAKE, 14, 10);
	failed += SELFTEST_RUN("invariants, executor", served, RIG_REAL, 24, 10);
	return failed ? 1 : 0;
}

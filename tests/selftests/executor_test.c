// SPDX-License-Identifier: MIT
/* The executor's node in hostile or buggy hands: refused with the right errno, nothing lost. */
#include "selftests/hands.h"

#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>

#include "common/ring.h"

#define SLOTS	8u

static int setup(void **state)
{
	return hands_open(state, SLOTS);
}

enum { H = VB_TIER_HOST, D = VB_TIER_DEVICE, N = VB_TIER_NVME, S = VB_TIER_SOURCE, Z = VB_TIER_ZERO };

static uint32_t queue_with_work(void)
{
	uint32_t q = new_queue();

	submit_nop(q);
	return q;
}

static uint64_t fetch_tag(void)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_fetch(&x, &req), 0);
	return req.out_tag;
}

/* ---- roles ---- */

static void one_executor_at_a_time(void **state)
{
	struct vgpu_uapi *second;
	struct vb_ioc_exec_attach attach = { .size = sizeof(attach) };

	(void)state;
	assert_rc(rig_exec_node(&rig, &second), -EBUSY);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXEC_ATTACH, &attach), -EBUSY);
	rig_exec_close(&x);
	assert_rc(rig_exec_node(&rig, &second), 0);
	second->ops->close(second);
}

static void without_attach_nothing_is_allowed(void **state)
{
	struct vb_ioc_fetch fetch = { .size = sizeof(fetch), .flags = VB_FETCH_F_NOWAIT };
	struct vb_ioc_arena_create arena = { .size = sizeof(arena), .slots = 1, .numa_node = -1 };
	struct vb_ioc_commit done = { .size = sizeof(done) };
	struct vb_ioc_move moves = { .size = sizeof(moves) };
	struct vgpu_uapi *node;

	(void)state;
	rig_exec_close(&x);
	assert_rc(rig_exec_node(&rig, &node), 0);
	assert_rc(vgpu_uapi_call(node, VB_IOC_FETCH, &fetch), -EPERM);
	assert_rc(vgpu_uapi_call(node, VB_IOC_ARENA_CREATE, &arena), -EPERM);
	assert_rc(vgpu_uapi_call(node, VB_IOC_COMMIT, &done), -EPERM);
	assert_rc(vgpu_uapi_call(node, VB_IOC_MOVE, &moves), -EPERM);
	node->ops->close(node);
}

static void client_requests_are_enotty_here(void **state)
{
	struct vb_ioc_stats stats = { .size = sizeof(stats) };

	(void)state;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_STATS, &stats), -ENOTTY);
	assert_rc(vgpu_uapi_call(x.node, _IOWR(VB_IOC_MAGIC, 0x7f, struct vb_ioc_stats), &stats), -ENOTTY);
	assert_rc(vgpu_uapi_call(x.node, VB_URING_FETCH, &stats), -ENOTTY);
	assert_rc(vgpu_uapi_call(x.node, VB_URING_COMMIT, &stats), -ENOTTY);
}

/* ---- io_uring, poll() ---- */

static bool has_uring(void)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };

	assert_rc(vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q), 0);
	return q.out_features & VB_FEATURE_URING_CMD;
}

/* From the client's fence to the executor's slot and back, by commands alone. */
static void use_rings(void)
{
	struct ring exec, client;
	struct ring_answer a;
	void *slots;

	assert_rc(ring_open(&exec, x.node, 8, 0), 0);
	assert_rc(ring_open(&client, u, 8, 0), 0);
	assert_rc(ring_map_slots(x.node, &slots), 0);
	ring_add_fetch(&exec, 0, 1, 2, 1);
	ring_submit(&exec);
	ring_add_wait(&client, queue_with_work(), 1, 2);
	ring_submit(&client);
	assert_rc(ring_next(&exec, 5000, &a), 0);
	assert_int_equal(a.res, 1);
	ring_add_commit(&exec, x.generation, ring_slot(slots, 1)->out_tag, -EIO, 0, 0, 3);
	assert_rc(ring_next(&exec, 5000, &a), 0);
	assert_int_equal(a.res, 0);
	assert_rc(ring_next(&client, 5000, &a), 0);
	assert_int_equal(a.res, -EIO);
	munmap(slots, VB_MMAP_FETCH_BYTES);
	ring_close(&client);
	ring_close(&exec);
}

/* Nodes in process have no descriptor, and say so. */
static void commands_of_io_uring_work_where_the_feature_says_so(void **state)
{
	(void)state;
	if (has_uring()) {
		use_rings();
	} else {
		assert_null(x.node->ops->fd);
		assert_null(u->ops->fd);
	}
}

static void nodes_with_a_descriptor_can_be_polled(void **state)
{
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	uint32_t q;

	(void)state;
	needs_module("nodes in process have no descriptor");
	p[0].fd = u->ops->fd(u);
	p[1].fd = x.node->ops->fd(x.node);
	assert_int_equal(poll(p, 2, 0), 0);
	q = queue_with_work();
	assert_int_equal(poll(p, 2, 0), 1);
	assert_int_equal(p[1].revents, POLLIN);
	assert_rc(rig_commit(&x, fetch_tag(), 0), 0);
	assert_int_equal(poll(p, 2, 0), 1);
	assert_int_equal(p[0].revents, POLLIN);
	assert_rc(rig_wait(u, q, 1, 0), 0);
	assert_int_equal(poll(p, 2, 0), 0);
}

/* On loopback it need not spin; it must not mind. */
static void fetch_may_be_told_to_spin(void **state)
{
	struct vb_ioc_fetch fetch = { .size = sizeof(fetch), .flags = VB_FETCH_F_NOWAIT,
				      .spin_ns = ~0u };

	(void)state;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_FETCH, &fetch), -EAGAIN);
	queue_with_work();
	fetch = (struct vb_ioc_fetch){ .size = sizeof(fetch), .spin_ns = ~0u };
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_FETCH, &fetch), 0);
	assert_int_equal(fetch.out_type, VB_FETCH_SUBMIT);
}

/* ---- sizes, as on the client node ---- */

static void executor_structures_keep_the_same_rules(void **state)
{
	static const struct {
		unsigned long nr;
		uint32_t bytes;
	} requests[] = {
		{ VB_IOC_EXEC_ATTACH, sizeof(struct vb_ioc_exec_attach) },
		{ VB_IOC_ARENA_CREATE, sizeof(struct vb_ioc_arena_create) },
		{ VB_IOC_REGION_ADD, sizeof(struct vb_ioc_region) },
		{ VB_IOC_REGION_REMOVE, sizeof(struct vb_ioc_region) },
		{ VB_IOC_MOVE, sizeof(struct vb_ioc_move) },
		{ VB_IOC_FETCH, sizeof(struct vb_ioc_fetch) },
		{ VB_IOC_COMMIT, sizeof(struct vb_ioc_commit) },
		{ VB_IOC_POLL_CANCEL, sizeof(struct vb_ioc_poll_cancel) },
		{ VB_IOC_OBJECT_OPEN, sizeof(struct vb_ioc_object_open) },
		{ VB_IOC_EXEC_STATS, sizeof(struct vb_ioc_exec_stats) },
		{ VB_IOC_EXCHANGE, sizeof(struct vb_ioc_exchange) },
		{ VB_IOC_ARENA_QUERY, sizeof(struct vb_ioc_arena_query) },
		{ VB_IOC_ARENA_ADOPT, sizeof(struct vb_ioc_arena_adopt) },
		{ VB_IOC_REGION_NEXT, sizeof(struct vb_ioc_region) },
		{ VB_IOC_OBJECT_NEXT, sizeof(struct vb_ioc_object_next) },
		{ VB_IOC_SLOT_QUERY, sizeof(struct vb_ioc_slot_query) },
		{ VB_IOC_RECOVER, sizeof(struct vb_ioc_recover) },
	};
	uint32_t arg[64];

	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		for (uint32_t bytes = 0; bytes < 4; bytes++) {
			memset(arg, 0, sizeof(arg));
			arg[0] = bytes;
			assert_rc(vgpu_uapi_call(x.node, requests[i].nr, arg), -EINVAL);
		}
		memset(arg, 0, sizeof(arg));
		arg[0] = requests[i].bytes + 8;
		arg[requests[i].bytes / 4 + 1] = 1;
		assert_rc(vgpu_uapi_call(x.node, requests[i].nr, arg), -E2BIG);
		assert_rc(vgpu_uapi_call(x.node, requests[i].nr, NULL), -EFAULT);
	}
}

/* The module's tests are those with tests/vm/recover_rig.h. */
static void recovery_is_the_module_s_alone(void **state)
{
	struct vb_ioc_arena_query query = { .size = sizeof(query) };
	struct vb_ioc_arena_adopt adopt = { .size = sizeof(adopt) };
	struct vb_ioc_region region = { .size = sizeof(region) };
	struct vb_ioc_slot_query slot = { .size = sizeof(slot) };
	struct vb_ioc_object_next next = { .size = sizeof(next) };
	struct vb_ioc_query_device q = { .size = sizeof(q) };

	(void)state;
	needs_loopback("the module recovers");
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_ARENA_QUERY, &query), -EOPNOTSUPP);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_ARENA_ADOPT, &adopt), -EOPNOTSUPP);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_REGION_NEXT, &region), -EOPNOTSUPP);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_SLOT_QUERY, &slot), -EOPNOTSUPP);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_NEXT, &next), -EOPNOTSUPP);
	assert_rc(rig_recover(&x, 0), -EOPNOTSUPP);
	assert_rc(vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q), 0);
	assert_int_equal(q.out_features & VB_FEATURE_RECOVERY, 0);
}

static void executor_reserved_fields_and_flags_are_einval(void **state)
{
	struct vb_ioc_arena_create arena = { .size = sizeof(arena), .slots = 1, .numa_node = -1,
					     .memory_offset = 4096 };
	struct vb_ioc_exec_stats stats = { .size = sizeof(stats), .__reserved = 1 };
	struct vb_ioc_exchange exchange = { .size = sizeof(exchange),
					    .flags = VB_FETCH_F_NOWAIT | VB_FETCH_F_CONTIGUOUS };
	struct vb_ioc_fetch fetch = { .size = sizeof(fetch),
				      .flags = VB_FETCH_F_NOWAIT | VB_FETCH_F_CONTIGUOUS };
	uint32_t bo;
	struct vb_move mv = { .op = VB_MOVE_BEGIN, .from = Z, .to = H, .slot = VB_SLOT_ANY,
			      .object = new_object(1, &bo), .__reserved = 1 };

	(void)state;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_ARENA_CREATE, &arena), -EINVAL);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXEC_STATS, &stats), -EINVAL);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_FETCH, &fetch), -EINVAL);
	fetch.flags = VB_FETCH_F_NOWAIT;
	fetch.__reserved = 1;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_FETCH, &fetch), -EINVAL);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXCHANGE, &exchange), -EINVAL);
	assert_rc(rig_move(&x, &mv), -EINVAL);
	mv.__reserved = 0;
	mv.flags = 2;
	assert_rc(rig_move(&x, &mv), -EINVAL);
}

/* ---- arenas ---- */

static int arena(uint32_t tier, int32_t node, uint32_t slots)
{
	struct vb_ioc_arena_create cmd = {
		.size = sizeof(cmd), .tier = tier, .numa_node = node, .slots = slots,
	};

	return vgpu_uapi_call(x.node, VB_IOC_ARENA_CREATE, &cmd);
}

static int region(uint32_t of, uint32_t first, uint32_t slots, uint64_t address)
{
	struct vb_ioc_region cmd = {
		.size = sizeof(cmd), .arena = of, .first_slot = first, .slots = slots,
		.address = address,
	};

	return vgpu_uapi_call(x.node, VB_IOC_REGION_ADD, &cmd);
}

static void arenas_and_regions_are_checked(void **state)
{
	uint64_t at = rig_is_ours(&rig) ? (uintptr_t)x.memory : 0;

	(void)state;
	assert_rc(arena(VB_TIER_COUNT, -1, 1), -EINVAL);
	assert_rc(arena(H, -2, 1), -EINVAL);
	assert_rc(arena(H, -1, 0), -EINVAL);
	assert_rc(arena(H, -1, VB_ARENA_SLOTS_MAX + 1), -EINVAL);
	assert_rc(region(x.host, 0, SLOTS, at), -EEXIST);
	assert_rc(region(x.host, SLOTS - 1, 1, at), -EEXIST);
	assert_rc(region(x.host, SLOTS, 1, at), -EINVAL);
	assert_rc(region(x.host, ~0u, 2, at), -EINVAL);
	assert_rc(region(x.host, 0, 0, at), -EINVAL);
	assert_rc(region(x.nvme, 0, 1, at), -EINVAL);
	assert_rc(region(99, 0, 1, at), -EINVAL);
	assert_rc(region(x.host, 0, 1, at + 1), -EINVAL);
	for (int i = 3; i < (int)VB_ARENA_MAX; i++)
		assert_rc(arena(D, -1, 1), 0);
	assert_rc(arena(D, -1, 1), -EDQUOT);
}

/* ---- tags ---- */

static void wrong_tags_are_refused(void **state)
{
	uint32_t q = queue_with_work();
	uint64_t tag = fetch_tag();
	struct vb_ioc_poll_cancel poll = { .size = sizeof(poll) };

	(void)state;
	assert_rc(rig_commit(&x, tag + 1, 0), -ENOENT);
	assert_rc(rig_commit(&x, tag & 0xffffffff00000000ull, 0), -ENOENT);
	assert_rc(rig_commit(&x, 0, 0), -ESTALE);
	assert_rc(rig_commit(&x, ~0ull, 0), -ESTALE);
	poll.tag = tag + 1;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_POLL_CANCEL, &poll), -ENOENT);
	assert_rc(rig_wait(u, q, 1, 0), -ETIME);
	assert_rc(rig_commit(&x, tag, 0), 0);
	assert_rc(rig_wait(u, q, 1, 0), 0);
}

static void second_commit_is_enoent(void **state)
{
	uint32_t q = queue_with_work(), later;
	uint64_t tag = fetch_tag();

	(void)state;
	assert_rc(rig_commit(&x, tag, -EIO), 0);
	assert_rc(rig_commit(&x, tag, 0), -ENOENT);
	assert_rc(rig_wait(u, q, 1, 0), -EIO);
	/* Nor does an old tag ever name a later request. */
	later = queue_with_work();
	assert_int_not_equal(fetch_tag(), tag);
	assert_rc(rig_commit(&x, tag, 0), -ENOENT);
	assert_rc(rig_wait(u, later, 1, 0), -ETIME);
}

static void status_that_is_no_errno_is_einval(void **state)
{
	uint32_t q = queue_with_work();
	uint64_t tag = fetch_tag();

	(void)state;
	assert_rc(rig_commit(&x, tag, 1), -EINVAL);
	assert_rc(rig_commit(&x, tag, -512), -EINVAL);
	assert_rc(rig_commit(&x, tag, -4095), -EINVAL);
	assert_rc(rig_commit(&x, tag, INT32_MIN), -EINVAL);
	assert_rc(rig_wait(u, q, 1, 0), -ETIME);
	assert_rc(rig_commit(&x, tag, -511), 0);
}

static void old_generation_is_estale(void **state)
{
	uint32_t bo, o, old = x.generation, q;
	struct vb_ioc_move moves = { .size = sizeof(moves), .generation = old };
	struct vb_ioc_commit done = { .size = sizeof(done), .generation = old };
	uint64_t tag;

	(void)state;
	queue_with_work();
	tag = fetch_tag();
	rig_exec_close(&x);
	assert_rc(rig_exec_open(&rig, &x, SLOTS), 0);
	assert_true(x.generation > old);
	o = new_object(1, &bo);
	struct vb_move mv = { .object = o, .op = VB_MOVE_BEGIN, .from = Z, .to = H,
			      .arena = x.host, .slot = VB_SLOT_ANY };
	moves.count = 1;
	moves.address = (uintptr_t)&mv;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_MOVE, &moves), -ESTALE);
	assert_int_equal(rig_residency(u, bo, 0), 0);
	q = queue_with_work();
	done.tag = fetch_tag();
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_COMMIT, &done), -ESTALE);
	assert_rc(rig_commit(&x, tag, 0), -ESTALE);	/* of the one that died */
	assert_rc(rig_wait(u, q, 1, 0), -ETIME);
}

/* ---- moves ---- */

static void moves_of_what_is_not_there_are_refused(void **state)
{
	uint32_t bo, o = new_object(2, &bo);

	(void)state;
	assert_rc(rig_step(&x, 0, 0, VB_MOVE_BEGIN, Z, H), -ESTALE);
	assert_rc(rig_step(&x, o + 1, 0, VB_MOVE_BEGIN, Z, H), -ESTALE);
	assert_rc(rig_step(&x, ~0u, 0, VB_MOVE_BEGIN, Z, H), -ESTALE);
	assert_rc(rig_step(&x, o, 2, VB_MOVE_BEGIN, Z, H), -ERANGE);
	assert_rc(rig_step(&x, o, ~0u, VB_MOVE_BEGIN, Z, H), -ERANGE);
	assert_rc(rig_step(&x, o, 0, 0, Z, H), -EINVAL);
	assert_rc(rig_step(&x, o, 0, 6, Z, H), -EINVAL);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_BEGIN, 5, H), -EINVAL);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_BEGIN, Z, 3), -EINVAL);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_BEGIN, 255, 255), -EINVAL);
}

static void commit_without_begin_is_einval(void **state)
{
	uint32_t bo, o = new_object(1, &bo);

	(void)state;
	assert_rc(rig_step(&x, o, 0, VB_MOVE_COMMIT, Z, H), -EINVAL);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_ABORT, Z, H), -EINVAL);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_BEGIN, Z, H), 0);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_COMMIT, Z, D), -EINVAL);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_COMMIT, H, H), -EINVAL);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_ABORT, Z, N), -EINVAL);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_COMMIT, Z, H), 0);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_COMMIT, Z, H), -EINVAL);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_ABORT, Z, H), -EINVAL);
}

static void second_begin_is_ebusy(void **state)
{
	uint32_t bo, o = new_object(1, &bo);

	(void)state;
	assert_rc(rig_step(&x, o, 0, VB_MOVE_BEGIN, Z, H), 0);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_BEGIN, Z, H), -EBUSY);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_BEGIN, Z, D), -EBUSY);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_COMMIT, Z, H), 0);
}

static void arena_of_another_tier_is_einval(void **state)
{
	uint32_t bo;
	struct vb_move mv = { .op = VB_MOVE_BEGIN, .from = Z, .to = H, .slot = VB_SLOT_ANY };

	(void)state;
	mv.object = new_object(1, &bo);
	mv.arena = x.nvme;
	assert_rc(rig_move(&x, &mv), -EINVAL);
	mv.arena = 99;
	assert_rc(rig_move(&x, &mv), -EINVAL);
	mv.arena = ~0u;
	assert_rc(rig_move(&x, &mv), -EINVAL);
}

static int move_flagged(struct vb_move *mv, uint8_t op, uint8_t flags)
{
	mv->op = op;
	mv->flags = flags;
	return rig_move(&x, mv);
}

/* Each slot that storage refuses is gone; the content stays where it was. */
static void slot_that_storage_cannot_keep_leaves_its_arena(void **state)
{
	uint32_t bo, o = new_object(1, &bo), slot;
	struct vb_move mv = { .object = o, .from = H, .to = N, .arena = x.nvme };
	struct vb_ioc_query_tier t;

	(void)state;
	assert_rc(rig_step(&x, o, 0, VB_MOVE_BEGIN, Z, H), 0);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_COMMIT, Z, H), 0);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_WRITE, H, H), 0);
	for (uint32_t left = SLOTS; left; left--) {
		mv.slot = VB_SLOT_ANY;
		assert_rc(move_flagged(&mv, VB_MOVE_BEGIN, 0), 0);
		slot = mv.slot;
		assert_rc(move_flagged(&mv, VB_MOVE_COMMIT, VB_MOVE_F_BAD), -EINVAL);
		assert_rc(move_flagged(&mv, VB_MOVE_ABORT, VB_MOVE_F_BAD), 0);
		assert_rc(rig_tier(u, N, &t), 0);
		assert_int_equal(t.out_bytes, (left - 1) * rig.chunk_bytes);
		assert_int_equal(t.out_used_bytes, 0);
		mv.slot = slot;
		assert_rc(move_flagged(&mv, VB_MOVE_BEGIN, 0), -EINVAL);
		assert_int_equal(rig_residency(u, bo, 0) & 15, 1u << H | 8);
	}
	mv.slot = VB_SLOT_ANY;
	assert_rc(move_flagged(&mv, VB_MOVE_BEGIN, 0), -ENOSPC);
	mv.to = H;
	mv.arena = x.host;
	assert_rc(move_flagged(&mv, VB_MOVE_BEGIN, 0), 0);
	assert_rc(move_flagged(&mv, VB_MOVE_ABORT, VB_MOVE_F_BAD), -EINVAL);
	assert_rc(move_flagged(&mv, VB_MOVE_ABORT, 0), 0);
}

static void each_move_of_a_batch_has_its_own_status(void **state)
{
	uint32_t bo, o = new_object(3, &bo);
	struct vb_move mv[] = {
		{ .object = o, .chunk = 0, .op = VB_MOVE_BEGIN, .from = Z, .to = H, .slot = VB_SLOT_ANY },
		{ .object = o, .chunk = 9, .op = VB_MOVE_BEGIN, .from = Z, .to = H, .slot = VB_SLOT_ANY },
		{ .object = o, .chunk = 0, .op = VB_MOVE_COMMIT, .from = Z, .to = H },
		{ .object = o, .chunk = 0, .op = VB_MOVE_COMMIT, .from = Z, .to = H },
	};
	struct vb_ioc_move cmd = { .size = sizeof(cmd), .count = 4, .address = (uintptr_t)mv,
				   .generation = x.generation };

	(void)state;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_MOVE, &cmd), 0);
	assert_int_equal(cmd.out_failed, 2);
	assert_int_equal(mv[0].out_status, 0);
	assert_int_equal(mv[1].out_status, -ERANGE);
	assert_int_equal(mv[2].out_status, 0);
	assert_int_equal(mv[3].out_status, -EINVAL);
}

static void checksum_that_differs_is_estale_and_nothing_changes(void **state)
{
	int fd = rig_file(&rig, rig.chunk_bytes);
	struct vb_ioc_fetch req;
	struct vb_move mv = { .from = S, .to = H, .slot = VB_SLOT_ANY };
	uint32_t bo;

	(void)state;
	assert_rc(rig_bo_file(u, fd, 0, rig.chunk_bytes, &bo), 0);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	mv.object = req.out_object;
	for (int pass = 0; pass < 2; pass++) {
		mv.op = VB_MOVE_BEGIN;
		mv.flags = 0;
		mv.arena = x.host;
		mv.slot = VB_SLOT_ANY;
		assert_rc(rig_move(&x, &mv), 0);
		mv.op = VB_MOVE_COMMIT;
		mv.flags = VB_MOVE_F_CRC;
		mv.crc = 1000 + (uint32_t)pass;
		assert_rc(rig_move(&x, &mv), pass ? -ESTALE : 0);
		if (!pass)
			assert_rc(rig_step(&x, mv.object, 0, VB_MOVE_DROP, H, H), 0);
	}
	assert_int_equal(rig_residency(u, bo, 0), 1u << 4);
	assert_rc(rig_step(&x, mv.object, 0, VB_MOVE_ABORT, S, H), 0);
	assert_int_equal(rig_residency(u, bo, 0), 0);
	close(fd);
}

/* What was handed out before its checksum was known. */
static void recorded_checksum_is_as_good_as_one_that_came_along(void **state)
{
	int fd = rig_file(&rig, rig.chunk_bytes);
	struct vb_ioc_fetch req;
	struct vb_move mv = { .from = S, .to = H, .slot = VB_SLOT_ANY };
	uint32_t bo;

	(void)state;
	assert_rc(rig_bo_file(u, fd, 0, rig.chunk_bytes, &bo), 0);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	mv.object = req.out_object;
	mv.op = VB_MOVE_BEGIN;
	mv.arena = x.host;
	assert_rc(rig_move(&x, &mv), 0);
	mv.op = VB_MOVE_RECORD;
	mv.crc = 5;
	assert_rc(rig_move(&x, &mv), -EINVAL);
	mv.op = VB_MOVE_COMMIT;
	assert_rc(rig_move(&x, &mv), 0);
	mv.op = VB_MOVE_RECORD;
	assert_rc(rig_move(&x, &mv), 0);
	assert_rc(rig_move(&x, &mv), -EINVAL);
	assert_rc(rig_step(&x, mv.object, 0, VB_MOVE_DROP, H, H), 0);
	mv.op = VB_MOVE_BEGIN;
	mv.slot = VB_SLOT_ANY;
	assert_rc(rig_move(&x, &mv), 0);
	mv.op = VB_MOVE_COMMIT;
	mv.flags = VB_MOVE_F_CRC;
	mv.crc = 6;
	assert_rc(rig_move(&x, &mv), -ESTALE);
	mv.crc = 5;
	assert_rc(rig_move(&x, &mv), 0);
	close(fd);
}

/* ---- objects and counters ---- */

static void object_open_tells_all_and_only_what_lives(void **state)
{
	int fd = rig_file(&rig, 3 * rig.chunk_bytes);
	struct vb_ioc_object_open o = { .size = sizeof(o) };
	struct vb_ioc_fetch req;
	uint32_t bo;
	char byte;

	(void)state;
	assert_rc(rig_bo_file(u, fd, 5000, rig.chunk_bytes, &bo), 0);
	close(fd);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	o.object = req.out_object;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_OPEN, &o), 0);
	assert_int_equal(o.out_kind, VB_BO_FILE);
	assert_int_equal(o.out_flags, VB_BO_SEALED);
	assert_int_equal(o.out_file_offset, 4096);
	assert_int_equal(o.out_head_bytes, 5000 - 4096);
	assert_int_equal(o.out_bytes, rig.chunk_bytes);
	assert_int_equal(o.out_chunks, 2);
	assert_int_equal(pread(o.out_fd, &byte, 1, 5000), 1);
	assert_int_equal((uint8_t)byte, rig_pattern(5000));
	close(o.out_fd);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_OPEN, &o), -ESTALE);
	o.object = 0;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_OPEN, &o), -ESTALE);
}

static void counters_are_added_to_client_and_never_fall(void **state)
{
	uint64_t add[VB_COUNT_COUNT], got[VB_COUNT_COUNT + 2];
	struct vb_ioc_exec_stats s = { .size = sizeof(s), .count = VB_COUNT_COUNT,
				       .address = (uintptr_t)add };
	struct vb_ioc_stats stats = { .size = sizeof(stats), .count = VB_COUNT_COUNT + 2,
				      .address = (uintptr_t)got };
	struct vb_ioc_fetch req;

	(void)state;
	for (uint32_t i = 0; i < VB_COUNT_COUNT; i++)
		add[i] = 1000 + i;
	queue_with_work();
	assert_rc(rig_fetch(&x, &req), 0);
	s.client = req.out_client;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXEC_STATS, &s), 0);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXEC_STATS, &s), 0);
	memset(got, 0xff, sizeof(got));
	assert_rc(vgpu_uapi_call(u, VB_IOC_STATS, &stats), 0);
	assert_int_equal(got[VB_COUNT_READ_BYTES], 2 * (1000 + VB_COUNT_READ_BYTES));
	/* What the device counts itself is not told from outside. */
	assert_int_equal(got[VB_COUNT_SUBMITS], 1);
	assert_int_equal(got[VB_COUNT_ERRORS], 0);
	assert_int_equal(got[VB_COUNT_COUNT], 0);
	assert_int_equal(got[VB_COUNT_COUNT + 1], 0);
	s.count = VB_COUNT_COUNT + 1;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXEC_STATS, &s), -EINVAL);
	s.count = 1;
	s.client = 9999;	/* gone meanwhile */
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXEC_STATS, &s), 0);
}

/* ---- requests of clients ---- */

static void schedule_reaches_the_executor_with_object_ids(void **state)
{
	struct vb_range ranges[2] = { { .bytes = 10 }, { .offset = 5, .bytes = 20 } };
	struct vb_ioc_schedule cmd = { .size = sizeof(cmd), .flags = VB_SCHEDULE_CYCLE, .count = 2,
				       .ranges_address = (uintptr_t)ranges };
	const struct vb_range *got;
	struct vb_ioc_fetch req;
	uint32_t a, b, oa = new_object(1, &a), ob = new_object(1, &b);

	(void)state;
	ranges[0].bo_id = a;
	ranges[1].bo_id = b;
	assert_rc(vgpu_uapi_call(u, VB_IOC_SCHEDULE, &cmd), 0);
	memset(ranges, 0xff, sizeof(ranges));	/* it was copied */
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SCHEDULE);
	assert_int_equal(req.out_count, 2);
	assert_int_equal(req.flags & VB_FETCH_F_CYCLE, VB_FETCH_F_CYCLE);
	got = (const struct vb_range *)(uintptr_t)req.out_bos_address;
	assert_int_equal(got[0].bo_id, oa);
	assert_int_equal(got[1].bo_id, ob);
	assert_int_equal(got[1].offset, 5);
	assert_int_equal(got[1].bytes, 20);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
}

static void newest_schedule_replaces_one_that_waits(void **state)
{
	struct vb_range range = { .bytes = 1 };
	struct vb_ioc_schedule cmd = { .size = sizeof(cmd), .count = 1,
				       .ranges_address = (uintptr_t)&range };
	struct vb_ioc_fetch req;

	(void)state;
	new_object(1, &range.bo_id);
	for (int i = 0; i < 10; i++)
		assert_rc(vgpu_uapi_call(u, VB_IOC_SCHEDULE, &cmd), 0);
	cmd.count = 0;
	assert_rc(vgpu_uapi_call(u, VB_IOC_SCHEDULE, &cmd), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SCHEDULE);
	assert_int_equal(req.out_count, 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
}

static void schedule_that_is_wrong_changes_nothing(void **state)
{
	struct vb_range range = { .bytes = 1 };
	struct vb_ioc_schedule cmd = { .size = sizeof(cmd), .count = 1,
				       .ranges_address = (uintptr_t)&range };
	struct vb_ioc_fetch req;

	(void)state;
	assert_rc(vgpu_uapi_call(u, VB_IOC_SCHEDULE, &cmd), -ENOENT);
	new_object(1, &range.bo_id);
	range.bytes = 0;
	assert_rc(vgpu_uapi_call(u, VB_IOC_SCHEDULE, &cmd), -EINVAL);
	range.bytes = rig.chunk_bytes + 1;
	assert_rc(vgpu_uapi_call(u, VB_IOC_SCHEDULE, &cmd), -ERANGE);
	range.bytes = ~0ull;
	range.offset = 2;
	assert_rc(vgpu_uapi_call(u, VB_IOC_SCHEDULE, &cmd), -EOVERFLOW);
	cmd.count = VB_SCHEDULE_MAX + 1;
	assert_rc(vgpu_uapi_call(u, VB_IOC_SCHEDULE, &cmd), -EINVAL);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
}

static void *reader(void *arg)
{
	struct vb_ioc_bo_rw *rw = arg;

	rw->size = sizeof(*rw);
	return (void *)(intptr_t)vgpu_uapi_call(u, VB_IOC_BO_WRITE, rw);
}

static uint64_t fetch_waiting(struct vb_ioc_fetch *req)
{
	for (int i = 0; i < 60000; i++) {
		if (!rig_fetch(&x, req))
			return req->out_tag;
		usleep(1000);
	}
	fail_msg("no request came");
	return 0;
}

/* An executor that says "done" and did nothing is asked again, a bounded number of times. */
static void page_in_that_did_nothing_ends(void **state)
{
	uint8_t byte = 1;
	struct vb_ioc_bo_rw rw = { .bytes = 1, .address = (uintptr_t)&byte };
	struct vb_ioc_fetch req;
	pthread_t thread;
	void *rc;
	int asked = 0;

	(void)state;
	new_object(1, &rw.bo_id);
	assert_int_equal(pthread_create(&thread, NULL, reader, &rw), 0);
	while (pthread_tryjoin_np(thread, &rc)) {
		if (rig_fetch(&x, &req)) {
			usleep(100);
			continue;
		}
		assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
		assert_rc(rig_commit(&x, req.out_tag, 0), 0);
		asked++;
	}
	assert_int_equal((intptr_t)rc, -EBUSY);
	assert_in_range(asked, 1, 50);
}

static void error_of_a_page_in_is_its_waiters(void **state)
{
	uint8_t byte = 1;
	struct vb_ioc_bo_rw rw = { .bytes = 1, .address = (uintptr_t)&byte };
	struct vb_ioc_fetch req;
	pthread_t thread;
	void *rc;

	(void)state;
	new_object(1, &rw.bo_id);
	assert_int_equal(pthread_create(&thread, NULL, reader, &rw), 0);
	assert_rc(rig_commit(&x, fetch_waiting(&req), -EIO), 0);
	pthread_join(thread, &rc);
	assert_int_equal((intptr_t)rc, -EIO);
}

/*
 * Two threads that use one chunk, the second while the first one's page-in is under way.  Each
 * writes a byte of its own: writes of the same one are their callers' to order.
 */
struct pair {
	struct vb_ioc_bo_rw rw[2];
	struct vb_ioc_fetch req[2];
	pthread_t thread[2];
	uint8_t byte;
};

static void pair_begin(struct pair *p)
{
	uint32_t bo, o = new_object(1, &bo);

	for (int i = 0; i < 2; i++) {
		p->rw[i] = (struct vb_ioc_bo_rw){ .bo_id = bo, .offset = (uint64_t)i, .bytes = 1,
						  .address = (uintptr_t)&p->byte };
		assert_int_equal(pthread_create(&p->thread[i], NULL, reader, &p->rw[i]), 0);
		fetch_waiting(&p->req[i]);
		assert_int_equal(p->req[i].out_type, VB_FETCH_PAGE_IN);
		assert_int_equal(p->req[i].out_object, o);
		assert_int_equal(p->req[i].out_chunk, 0);
		if (!i)
			assert_rc(rig_step(&x, o, 0, VB_MOVE_BEGIN, Z, H), 0);
	}
}

static void pair_end(struct pair *p, uint8_t op, int status, int expected)
{
	void *rc;

	assert_rc(rig_step(&x, p->req[0].out_object, 0, op, Z, H), 0);
	for (int i = 0; i < 2; i++)
		assert_rc(rig_commit(&x, p->req[i].out_tag, status), 0);
	for (int i = 0; i < 2; i++) {
		pthread_join(p->thread[i], &rc);
		assert_int_equal((intptr_t)rc, expected);
	}
}

/* How long storage may take is the executor's to know: it hears of all who wait for it. */
static void chunk_that_comes_for_one_is_asked_for_by_the_other(void **state)
{
	struct pair p = { .byte = 1 };

	(void)state;
	pair_begin(&p);
	pair_end(&p, VB_MOVE_COMMIT, 0, 0);
	pair_begin(&p);
	pair_end(&p, VB_MOVE_ABORT, -ETIMEDOUT, -ETIMEDOUT);
}

/*
 * The waiter is gone when the executor comes back; nothing may be left over.
 * Return: false where @ms were over before the executor had heard of it.
 */
static bool page_in_outlives_its_waiter(struct vb_ioc_bo_rw *rw, uint32_t ms)
{
	struct vb_ioc_poll_cancel poll = { .size = sizeof(poll) };
	struct vb_ioc_fetch req;
	pthread_t thread;
	bool gone = false, fetched = false;
	void *rc;

	rw->deadline_ns = rig_now() + ms * 1000000ull;
	assert_int_equal(pthread_create(&thread, NULL, reader, rw), 0);
	while (!fetched && !gone) {
		usleep(1000);
		fetched = !rig_fetch(&x, &req);
		gone = !fetched && !pthread_tryjoin_np(thread, &rc);
	}
	if (fetched)
		pthread_join(thread, &rc);
	assert_int_equal((intptr_t)rc, -ETIME);
	assert_true(rig_now() >= rw->deadline_ns);
	if (gone)
		return false;
	poll.tag = req.out_tag;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_POLL_CANCEL, &poll), 0);
	assert_int_equal(poll.out_cancel, VB_CANCEL_DEADLINE);
	assert_rc(rig_commit(&x, poll.tag, 0), 0);
	assert_rc(rig_commit(&x, poll.tag, 0), -ENOENT);
	return true;
}

static void deadline_of_a_page_in_is_its_waiters(void **state)
{
	uint8_t byte = 1;
	struct vb_ioc_bo_rw rw = { .bytes = 1, .address = (uintptr_t)&byte };
	struct vb_ioc_fetch req;
	uint32_t ms = 100;

	(void)state;
	new_object(1, &rw.bo_id);
	rw.deadline_ns = rig_now() + 5000000;
	assert_rc((intptr_t)reader(&rw), -ETIME);	/* never fetched */
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	while (!page_in_outlives_its_waiter(&rw, ms)) {
		ms *= 2;
		assert_in_range(ms, 0, 10000);
	}
}

/* The second chunk of two never comes. */
static void memory_that_is_not_read_into_is_as_it_was(void **state)
{
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bytes = chunks(2) };
	uint8_t *to = malloc(chunks(2));
	int fd = rig_file(&rig, chunks(2));
	uint32_t o;

	(void)state;
	assert_rc(rig_bo_file(u, fd, 0, chunks(2), &rw.bo_id), 0);
	close(fd);
	o = object_of(rw.bo_id);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_BEGIN, VB_TIER_SOURCE, VB_TIER_HOST), 0);
	assert_rc(rig_step(&x, o, 0, VB_MOVE_COMMIT, VB_TIER_SOURCE, VB_TIER_HOST), 0);
	memset(to, 0xa5, chunks(2));
	rw.address = (uintptr_t)to;
	rw.deadline_ns = rig_now() + 5000000;
	assert_rc(vgpu_uapi_call(u, VB_IOC_BO_READ, &rw), -ETIME);
	assert_int_equal(rw.out_done_bytes, chunks(1));
	for (uint64_t i = 0; i < chunks(2); i++)
		if (to[i] != (i < chunks(1) ? 0 : 0xa5))
			fail_msg("byte %llu is 0x%02x", (unsigned long long)i, to[i]);
	free(to);
}

static void executor_that_leaves_ends_waits_with_enodev(void **state)
{
	uint8_t byte = 1;
	struct vb_ioc_bo_rw rw = { .bytes = 1, .address = (uintptr_t)&byte };
	struct vb_ioc_fetch req;
	pthread_t thread;
	void *rc;

	(void)state;
	new_object(1, &rw.bo_id);
	assert_int_equal(pthread_create(&thread, NULL, reader, &rw), 0);
	fetch_waiting(&req);
	rig_exec_close(&x);
	pthread_join(thread, &rc);
	assert_int_equal((intptr_t)rc, -ENODEV);
}

static void shutdown_stops_fetch(void **state)
{
	struct vb_ioc_fetch req = { .size = sizeof(req) };
	uint32_t q;

	(void)state;
	needs_loopback("a module is not shut down while it is open");
	q = queue_with_work();
	vgpu_loop_shutdown(rig.loop);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_FETCH, &req), -ESHUTDOWN);
	assert_rc(rig_wait(u, q, 1, 0), -ENODEV);
}

#define HANDS(name)	cmocka_unit_test_setup_teardown(name, setup, hands_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HANDS(one_executor_at_a_time),
		HANDS(without_attach_nothing_is_allowed),
		HANDS(client_requests_are_enotty_here),
		HANDS(commands_of_io_uring_work_where_the_feature_says_so),
		HANDS(nodes_with_a_descriptor_can_be_polled),
		HANDS(fetch_may_be_told_to_spin),
		HANDS(executor_structures_keep_the_same_rules),
		HANDS(recovery_is_the_module_s_alone),
		HANDS(executor_reserved_fields_and_flags_are_einval),
		HANDS(arenas_and_regions_are_checked),
		HANDS(wrong_tags_are_refused),
		HANDS(second_commit_is_enoent),
		HANDS(status_that_is_no_errno_is_einval),
		HANDS(old_generation_is_estale),
		HANDS(moves_of_what_is_not_there_are_refused),
		HANDS(commit_without_begin_is_einval),
		HANDS(second_begin_is_ebusy),
		HANDS(arena_of_another_tier_is_einval),
		HANDS(slot_that_storage_cannot_keep_leaves_its_arena),
		HANDS(each_move_of_a_batch_has_its_own_status),
		HANDS(checksum_that_differs_is_estale_and_nothing_changes),
		HANDS(recorded_checksum_is_as_good_as_one_that_came_along),
		HANDS(object_open_tells_all_and_only_what_lives),
		HANDS(counters_are_added_to_client_and_never_fall),
		HANDS(schedule_reaches_the_executor_with_object_ids),
		HANDS(newest_schedule_replaces_one_that_waits),
		HANDS(schedule_that_is_wrong_changes_nothing),
		HANDS(page_in_that_did_nothing_ends),
		HANDS(error_of_a_page_in_is_its_waiters),
		HANDS(chunk_that_comes_for_one_is_asked_for_by_the_other),
		HANDS(deadline_of_a_page_in_is_its_waiters),
		HANDS(memory_that_is_not_read_into_is_as_it_was),
		HANDS(executor_that_leaves_ends_waits_with_enodev),
		HANDS(shutdown_stops_fetch),
	};

	return SELFTEST_RUN("executor node", tests, RIG_NONE, 0, 0) ? 1 : 0;
}

// SPDX-License-Identifier: MIT
/*
 * Borders between clients and users: what a limit refuses, what a promise keeps free.
 * Everything here belongs to one user; what takes two is in tests/vm/border_test.c.
 */
#include "selftests/selftest.h"

#define HOST_SLOTS	16u	/* one of them is staging */
#define NVME_SLOTS	32u
#define NONE		(~0ull)

static struct vgpu_uapi *a, *b;

static int user_limit(uint32_t limit, uint64_t value)
{
	struct vb_ioc_limit cmd = {
		.size = sizeof(cmd), .limit = limit, .flags = VB_LIMIT_SET | VB_LIMIT_USER,
		.uid = geteuid(), .value = value,
	};

	return vgpu_uapi_call(a, VB_IOC_LIMIT, &cmd);
}

static uint64_t ask(struct vgpu_uapi *u, uint32_t limit, uint32_t flags, uint64_t *used)
{
	struct vb_ioc_limit cmd = {
		.size = sizeof(cmd), .limit = limit, .flags = flags,
		.uid = flags & VB_LIMIT_USER ? geteuid() : 0,
	};

	assert_rc(vgpu_uapi_call(u, VB_IOC_LIMIT, &cmd), 0);
	if (used)
		*used = cmd.out_used;
	return cmd.out_value;
}

static int setup(void **state)
{
	int rc = selftest_setup(state);

	a = rig.client;
	b = rc ? NULL : rig_client(&rig);
	return rc || !b ? -1 : 0;
}

/* A user's limits outlive its clients: the next test must not find them. */
static int teardown(void **state)
{
	for (uint32_t limit = VB_LIMIT_HOST_MIN; limit <= VB_LIMIT_SUBMISSIONS; limit++)
		user_limit(limit, NONE);
	rig_client_close(b);
	return selftest_teardown(state);
}

static uint64_t chunks(uint64_t n)
{
	return n * rig.chunk_bytes;
}

/* ---- served ---- */

static void bytes_of_all_clients_are_limited_a_user(void **state)
{
	uint32_t id, other;
	uint64_t used;

	(void)state;
	assert_rc(user_limit(VB_LIMIT_BYTES_MAX, chunks(4)), 0);
	assert_rc(rig_bo(a, chunks(3), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_bo(b, chunks(2), VB_LIFE_VOLATILE, &other), -EDQUOT);
	assert_rc(rig_bo(b, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_int_equal(ask(b, VB_LIMIT_BYTES_MAX, VB_LIMIT_USER, &used), chunks(4));
	assert_int_equal(used, chunks(4));
	assert_int_equal(ask(b, VB_LIMIT_BYTES_MAX, 0, &used), NONE);
	assert_int_equal(used, chunks(1));
	assert_rc(rig_bo_destroy(a, id), 0);
	assert_rc(rig_bo(b, chunks(3), VB_LIFE_VOLATILE, &other), 0);
}

static void clients_that_close_give_back_what_their_user_was_charged(void **state)
{
	struct vgpu_uapi *c = rig_client(&rig);
	uint64_t used = 1;
	uint32_t id;

	(void)state;
	assert_rc(user_limit(VB_LIMIT_BYTES_MAX, chunks(4)), 0);
	assert_rc(rig_bo(c, chunks(4), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(c, id, 0, &used, sizeof(used)), 0);
	rig_client_close(c);
	for (int i = 0; i < 60000 && used; i++) {
		ask(a, VB_LIMIT_BYTES_MAX, VB_LIMIT_USER, &used);
		usleep(1000);
	}
	assert_int_equal(used, 0);
	ask(a, VB_LIMIT_HOST_MAX, VB_LIMIT_USER, &used);
	assert_int_equal(used, 0);
	assert_rc(rig_bo(a, chunks(4), VB_LIFE_VOLATILE, &id), 0);
}

static void submissions_of_all_clients_are_limited_a_user(void **state)
{
	struct rig_stream s;
	uint32_t qa, qb;
	uint64_t used;

	(void)state;
	assert_rc(rig_queue(a, 0, &qa), 0);
	assert_rc(rig_queue(b, 0, &qb), 0);
	assert_rc(user_limit(VB_LIMIT_SUBMISSIONS, 3), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	fake_exec_pause(rig.fake);
	assert_rc(rig_submit(a, qa, &s, NULL), 0);
	assert_rc(rig_submit(a, qa, &s, NULL), 0);
	assert_rc(rig_submit(b, qb, &s, NULL), 0);
	assert_rc(rig_submit(b, qb, &s, NULL), -EDQUOT);
	assert_rc(rig_submit(a, qa, &s, NULL), -EDQUOT);
	ask(a, VB_LIMIT_SUBMISSIONS, VB_LIMIT_USER, &used);
	assert_int_equal(used, 3);
	fake_exec_resume(rig.fake);
	assert_rc(rig_wait(a, qa, 2, 10000), 0);
	assert_rc(rig_wait(b, qb, 1, 10000), 0);
	assert_rc(rig_submit(b, qb, &s, NULL), 0);
	assert_rc(rig_wait(b, qb, 2, 10000), 0);
}

static int map_chunks(struct vgpu_uapi *u, uint32_t id, uint64_t first, uint64_t n)
{
	void *p;

	return rig_map(u, id, chunks(first), chunks(n), VB_MAP_READ, &p);
}

/* Fifteen chunks of content, six of them promised to the other client. */
static void mappings_leave_room_for_what_others_are_promised(void **state)
{
	uint32_t mine, theirs;

	(void)state;
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, chunks(6)), 0);
	assert_rc(rig_bo(a, chunks(8), VB_LIFE_VOLATILE, &mine), 0);
	assert_rc(rig_bo(b, chunks(12), VB_LIFE_VOLATILE, &theirs), 0);
	assert_rc(map_chunks(b, theirs, 0, 4), 0);
	assert_rc(map_chunks(b, theirs, 4, 4), 0);
	assert_rc(map_chunks(b, theirs, 8, 2), -ENOSPC);
	assert_rc(map_chunks(b, theirs, 8, 1), 0);
	assert_rc(map_chunks(b, theirs, 9, 1), -ENOSPC);
	for (uint64_t i = 0; i < 6; i++)
		assert_rc(map_chunks(a, mine, i, 1), 0);
	assert_rc(map_chunks(a, mine, 6, 1), -ENOSPC);
	assert_rc(rig_unmap(b, theirs, chunks(8), chunks(1), VB_MAP_READ), 0);
	assert_rc(map_chunks(a, mine, 6, 1), 0);
}

static void mappings_of_one_client_add_up_to_its_maximum(void **state)
{
	uint32_t id;

	(void)state;
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MAX, chunks(4)), 0);
	assert_rc(rig_bo(a, chunks(8), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(map_chunks(a, id, 0, 2), 0);
	assert_rc(map_chunks(a, id, 2, 2), 0);
	assert_rc(map_chunks(a, id, 4, 1), -EDQUOT);
	/* The same chunk again counts again: each mapping is undone by itself. */
	assert_rc(map_chunks(a, id, 0, 1), -EDQUOT);
	assert_rc(rig_unmap(a, id, 0, chunks(2), VB_MAP_READ), 0);
	assert_rc(map_chunks(a, id, 4, 2), 0);
}

static void minimum_of_a_user_is_what_its_clients_may_pin(void **state)
{
	uint32_t id, other;

	(void)state;
	assert_rc(user_limit(VB_LIMIT_HOST_MIN, chunks(6)), 0);
	assert_int_equal(ask(a, VB_LIMIT_HOST_MIN, 0, NULL), chunks(3));
	assert_int_equal(ask(a, VB_LIMIT_HOST_MIN, VB_LIMIT_USER, NULL), chunks(6));
	assert_rc(rig_bo(a, chunks(6), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_bo(b, chunks(6), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_advise(a, id, VB_ADVISE_PIN, 0, chunks(4)), -EDQUOT);
	assert_rc(rig_advise(a, id, VB_ADVISE_PIN, 0, chunks(3)), 0);
	assert_rc(rig_advise(b, other, VB_ADVISE_PIN, 0, chunks(3)), 0);
	assert_rc(rig_advise(b, other, VB_ADVISE_PIN, 0, chunks(1)), -EDQUOT);
	assert_rc(user_limit(VB_LIMIT_HOST_MIN, chunks(16)), -ENOSPC);
	assert_rc(user_limit(VB_LIMIT_HOST_MIN, chunks(15)), 0);
}

/* Content without staging, half of it to those who were promised nothing. */
static void minima_of_all_clients_fit_the_tier(void **state)
{
	uint64_t content = chunks(HOST_SLOTS - 1);

	(void)state;
	assert_int_equal(ask(b, VB_LIMIT_HOST_MIN, 0, NULL), content / 4);
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, content), 0);
	assert_int_equal(ask(b, VB_LIMIT_HOST_MIN, 0, NULL), 0);
	assert_rc(rig_limit(b, VB_LIMIT_HOST_MIN, chunks(1)), -ENOSPC);
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, content - chunks(1)), 0);
	assert_rc(rig_limit(b, VB_LIMIT_HOST_MIN, chunks(1)), 0);
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, content), -ENOSPC);
	rig_client_close(b);
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, content), 0);
	b = rig_client(&rig);
}

/* What is pinned cannot be promised to anybody else, whoever was promised it before. */
static void minimum_is_refused_where_others_have_pinned(void **state)
{
	uint64_t content = chunks(HOST_SLOTS - 1);
	uint32_t id;

	(void)state;
	assert_rc(rig_bo(b, 1, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_advise(b, id, VB_ADVISE_PIN, 0, 1), 0);
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, content), -ENOSPC);
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, content - chunks(1)), 0);
	assert_rc(rig_advise(b, id, VB_ADVISE_UNPIN, 0, 1), 0);
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, content), 0);
	assert_rc(rig_advise(b, id, VB_ADVISE_PIN, 0, 1), -EDQUOT);
}

/* ---- two threads that undo one pin ---- */

#define RACES	300
#define PINNED	8u

struct race {
	uint32_t id;
	pthread_barrier_t start;
};

static void *unpins(void *arg)
{
	struct race *r = arg;
	intptr_t done = 0;

	for (int i = 0; i < RACES; i++) {
		pthread_barrier_wait(&r->start);
		done += !rig_advise(a, r->id, VB_ADVISE_UNPIN, 0, chunks(PINNED));
		pthread_barrier_wait(&r->start);
	}
	return (void *)done;
}

static void of_two_threads_that_unpin_one_is_refused(void **state)
{
	struct race r;
	pthread_t thread;
	intptr_t done = 0;
	uint64_t pinned;
	void *theirs;

	(void)state;
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, chunks(PINNED)), 0);
	assert_rc(rig_bo(a, chunks(PINNED), VB_LIFE_VOLATILE, &r.id), 0);
	assert_int_equal(pthread_barrier_init(&r.start, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, unpins, &r), 0);
	for (int i = 0; i < RACES; i++) {
		assert_rc(rig_advise(a, r.id, VB_ADVISE_PIN, 0, chunks(PINNED)), 0);
		pthread_barrier_wait(&r.start);
		done += !rig_advise(a, r.id, VB_ADVISE_UNPIN, 0, chunks(PINNED));
		pthread_barrier_wait(&r.start);
	}
	pthread_join(thread, &theirs);
	pthread_barrier_destroy(&r.start);
	assert_int_equal(done + (intptr_t)theirs, RACES);
	ask(a, VB_LIMIT_HOST_MIN, 0, &pinned);
	assert_int_equal(pinned, 0);
}

static void users_that_are_none_are_einval(void **state)
{
	struct vb_ioc_limit cmd = {
		.size = sizeof(cmd), .limit = VB_LIMIT_BYTES_MAX, .flags = VB_LIMIT_USER,
		.uid = ~0u,
	};

	(void)state;
	assert_rc(vgpu_uapi_call(a, VB_IOC_LIMIT, &cmd), -EINVAL);
	cmd.flags = 0;
	cmd.uid = 1;
	assert_rc(vgpu_uapi_call(a, VB_IOC_LIMIT, &cmd), -EINVAL);
}

static void other_users_are_not_there_in_process(void **state)
{
	struct vb_ioc_limit cmd = {
		.size = sizeof(cmd), .limit = VB_LIMIT_BYTES_MAX, .flags = VB_LIMIT_USER,
		.uid = geteuid() + 1,
	};

	(void)state;
	needs_loopback("a module has other users");
	assert_rc(vgpu_uapi_call(a, VB_IOC_LIMIT, &cmd), -EPERM);
}

/* ---- by hand ---- */

static uint32_t device_id(struct rig_exec *x, struct vgpu_uapi *u, uint64_t n)
{
	struct vb_ioc_fetch req;
	uint32_t id;

	assert_rc(rig_bo(u, chunks(n), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_advise(u, id, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(x, &req), 0);
	assert_rc(rig_commit(x, req.out_tag, 0), 0);
	return req.out_object;
}

static int bring(struct rig_exec *x, uint32_t object, uint32_t chunk, uint8_t from, uint8_t to)
{
	int rc = rig_step(x, object, chunk, VB_MOVE_BEGIN, from, to);

	return rc ? rc : rig_step(x, object, chunk, VB_MOVE_COMMIT, from, to);
}

static void slots_of_a_tier_are_limited(uint32_t limit, uint8_t tier)
{
	uint32_t oa, ob;
	struct rig_exec x;
	uint64_t used;

	assert_int_equal(rig_exec_open(&rig, &x, 8), 0);
	oa = device_id(&x, a, 4);
	ob = device_id(&x, b, 4);
	assert_rc(rig_limit(a, limit, chunks(2)), 0);
	assert_rc(user_limit(limit, chunks(3)), 0);
	assert_rc(bring(&x, oa, 0, VB_TIER_ZERO, tier), 0);
	assert_rc(bring(&x, oa, 1, VB_TIER_ZERO, tier), 0);
	assert_rc(bring(&x, oa, 2, VB_TIER_ZERO, tier), -EDQUOT);
	assert_rc(bring(&x, ob, 0, VB_TIER_ZERO, tier), 0);
	assert_rc(bring(&x, ob, 1, VB_TIER_ZERO, tier), -EDQUOT);
	ask(a, limit, 0, &used);
	assert_int_equal(used, chunks(2));
	ask(a, limit, VB_LIMIT_USER, &used);
	assert_int_equal(used, chunks(3));
	/* To another slot of the tier it may always go. */
	assert_rc(bring(&x, oa, 0, tier, tier), 0);
	assert_rc(rig_step(&x, oa, 0, VB_MOVE_DROP, tier, tier), 0);
	assert_rc(bring(&x, ob, 1, VB_TIER_ZERO, tier), 0);
	ask(a, limit, VB_LIMIT_USER, &used);
	assert_int_equal(used, chunks(3));
	rig_exec_close(&x);
	ask(a, limit, VB_LIMIT_USER, &used);
	assert_int_equal(used, 0);
}

static void host_slots_are_limited_a_client_and_a_user(void **state)
{
	(void)state;
	slots_of_a_tier_are_limited(VB_LIMIT_HOST_MAX, VB_TIER_HOST);
}

static void device_slots_are_limited_a_client_and_a_user(void **state)
{
	(void)state;
	slots_of_a_tier_are_limited(VB_LIMIT_DEVICE_MAX, VB_TIER_DEVICE);
}

static void minima_of_a_device_fit_it(void **state)
{
	struct rig_exec x;

	(void)state;
	assert_int_equal(rig_exec_open(&rig, &x, 8), 0);
	assert_int_equal(ask(a, VB_LIMIT_DEVICE_MIN, 0, NULL), 0);
	assert_rc(rig_limit(a, VB_LIMIT_DEVICE_MIN, chunks(5)), 0);
	assert_rc(rig_limit(b, VB_LIMIT_DEVICE_MIN, chunks(4)), -ENOSPC);
	assert_rc(rig_limit(b, VB_LIMIT_DEVICE_MIN, chunks(3)), 0);
	assert_rc(user_limit(VB_LIMIT_DEVICE_MIN, chunks(9)), -ENOSPC);
	assert_rc(user_limit(VB_LIMIT_DEVICE_MIN, chunks(8)), 0);
	rig_exec_close(&x);
}

static void region_that_is_promised_is_not_removed(void **state)
{
	struct vb_ioc_region region = { .size = sizeof(region), .slots = 8 };
	struct rig_exec x;
	uint32_t id;

	(void)state;
	assert_int_equal(rig_exec_open(&rig, &x, 8), 0);
	region.arena = x.host;
	/* Nine chunks of the sixteen that host and NVMe have together. */
	assert_rc(rig_bo(a, chunks(9), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_REGION_REMOVE, &region), -EBUSY);
	assert_rc(rig_bo_destroy(a, id), 0);
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, chunks(1)), 0);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_REGION_REMOVE, &region), -EBUSY);
	assert_rc(rig_limit(a, VB_LIMIT_HOST_MIN, 0), 0);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_REGION_REMOVE, &region), 0);
	rig_exec_close(&x);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest served[] = {
		CASE(bytes_of_all_clients_are_limited_a_user),
		CASE(clients_that_close_give_back_what_their_user_was_charged),
		CASE(submissions_of_all_clients_are_limited_a_user),
		CASE(mappings_leave_room_for_what_others_are_promised),
		CASE(mappings_of_one_client_add_up_to_its_maximum),
		CASE(minimum_of_a_user_is_what_its_clients_may_pin),
		CASE(minima_of_all_clients_fit_the_tier),
		CASE(minimum_is_refused_where_others_have_pinned),
		CASE(of_two_threads_that_unpin_one_is_refused),
		CASE(users_that_are_none_are_einval),
		CASE(other_users_are_not_there_in_process),
	};
	const struct CMUnitTest by_hand[] = {
		CASE(host_slots_are_limited_a_client_and_a_user),
		CASE(device_slots_are_limited_a_client_and_a_user),
		CASE(minima_of_a_device_fit_it),
		CASE(region_that_is_promised_is_not_removed),
	};
	int failed = 0;

	failed += SELFTEST_RUN("limits", served, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("limits, executor by hand", by_hand, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}

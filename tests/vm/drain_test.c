// SPDX-License-Identifier: MIT
/*
 * Host memory that goes when the kernel is short of it, and comes back: the executor empties a
 * region and removes it, nothing is lost, and what was promised stays.  Pressure is made by
 * /proc/sys/vm/drop_caches, which calls every shrinker.
 */
#include "selftests/client.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "exec/exec.h"
#include "vm/machine.h"

#define HOST_SLOTS	16u	/* in two regions; one slot is staging */
#define NVME_SLOTS	32u
#define REAL_SLOTS	64u	/* in four regions, of which one must stay */
#define REAL_NVME_SLOTS	96u
#define QUICK_MS	100u	/* between two regions, where it is not what is tested */
#define PAUSE_MS	1000u	/* the module's own */
#define STAYS_MS	1000	/* what is pressed for so long and is still there stays */

static uint64_t host_slots(void)
{
	struct vb_ioc_query_tier t;

	assert_rc(rig_tier(u, VB_TIER_HOST, &t), 0);
	return t.out_bytes / rig.chunk_bytes;
}

static void press(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "2", 1), 1);
	close(fd);
}

static int quick_setup(void **state)
{
	int rc = client_setup(state);

	machine_set_ms("drain_pause_ms", QUICK_MS);
	return rc;
}

static int teardown(void **state)
{
	machine_set_ms("drain_pause_ms", PAUSE_MS);
	return selftest_teardown(state);
}

/* Press until the host tier has no more than @slots, or for @ms. */
static void press_until(uint64_t slots, int ms)
{
	uint64_t end = rig_now() + (uint64_t)ms * 1000000;

	do {
		press();
		usleep(50000);
	} while (host_slots() > slots && rig_now() < end);
}

static void fill(uint32_t id, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		assert_rc(rig_write(u, id, chunks(i) + i, &i, sizeof(i)), 0);
}

static void check(uint32_t id, uint32_t n)
{
	uint32_t got;

	for (uint32_t i = 0; i < n; i++) {
		assert_rc(rig_read(u, id, chunks(i) + i, &got, sizeof(got)), 0);
		assert_int_equal(got, i);
	}
}

static void region_is_drained_and_nothing_is_lost(void **state)
{
	uint32_t id;

	(void)state;
	assert_rc(rig_bo(u, chunks(20), VB_LIFE_VOLATILE, &id), 0);
	fill(id, 20);
	assert_int_equal(host_slots(), HOST_SLOTS);
	press_until(HOST_SLOTS / 2, 20000);
	assert_int_equal(host_slots(), HOST_SLOTS / 2);
	check(id, 20);
	fill(id, 20);
	check(id, 20);
}

static void what_is_reserved_keeps_its_memory(void **state)
{
	uint32_t id;

	(void)state;
	/* Without one region 39 chunks of content would be left. */
	assert_rc(rig_bo(u, chunks(40), VB_LIFE_VOLATILE, &id), 0);
	press_until(HOST_SLOTS / 2, STAYS_MS);
	assert_int_equal(host_slots(), HOST_SLOTS);
	assert_rc(rig_bo_destroy(u, id), 0);
	press_until(HOST_SLOTS / 2, 20000);
	assert_int_equal(host_slots(), HOST_SLOTS / 2);
}

static void minimum_keeps_its_memory(void **state)
{
	(void)state;
	assert_rc(rig_limit(u, VB_LIMIT_HOST_MIN, chunks(8)), 0);
	press_until(HOST_SLOTS / 2, STAYS_MS);
	assert_int_equal(host_slots(), HOST_SLOTS);
}

/* Pinned chunks cannot leave; those of the other region can. */
static void pinned_chunks_stay_where_they_are(void **state)
{
	uint32_t id;

	(void)state;
	assert_rc(rig_bo(u, chunks(4), VB_LIFE_VOLATILE, &id), 0);
	fill(id, 4);
	assert_rc(rig_advise(u, id, VB_ADVISE_PIN, 0, chunks(4)), 0);
	press_until(HOST_SLOTS / 2, 20000);
	assert_int_equal(host_slots(), HOST_SLOTS / 2);
	press_until(0, STAYS_MS);
	assert_int_equal(host_slots(), HOST_SLOTS / 2);
	check(id, 4);
}

/* ---- the library's executor ---- */

static void library_gives_memory_back_and_nothing_is_lost(void **state)
{
	uint32_t id;

	(void)state;
	assert_rc(rig_bo(u, chunks(80), VB_LIFE_VOLATILE, &id), 0);
	fill(id, 80);
	assert_int_equal(host_slots(), REAL_SLOTS);
	press_until(REAL_SLOTS * 3 / 4, 20000);
	check(id, 80);
	press_until(REAL_SLOTS / 4, 40000);
	assert_int_equal(host_slots(), REAL_SLOTS / 4);
	check(id, 80);
	fill(id, 80);
	press_until(0, STAYS_MS);
	assert_int_equal(host_slots(), REAL_SLOTS / 4);
	check(id, 80);
}

/* What clients map stays where it is, with its region; the rest of the tier works on. */
static void library_keeps_what_clients_map(void **state)
{
	uint32_t id, got;
	void *p;

	(void)state;
	assert_rc(rig_bo(u, chunks(20), VB_LIFE_VOLATILE, &id), 0);
	fill(id, 20);
	assert_rc(rig_map(u, id, 0, chunks(20), VB_MAP_READ, &p), 0);
	press_until(REAL_SLOTS / 4, 2 * STAYS_MS);
	for (uint32_t i = 0; i < 20; i++) {
		memcpy(&got, (char *)p + chunks(i) + i, sizeof(got));
		assert_int_equal(got, i);
	}
	assert_rc(rig_unmap(u, id, 0, chunks(20), VB_MAP_READ), 0);
	press_until(REAL_SLOTS / 4, 40000);
	assert_int_equal(host_slots(), REAL_SLOTS / 4);
	check(id, 20);
}

struct worker {
	struct vgpu_uapi *own;
	pthread_t thread;
	bool stop;
	int rc;
};

/* Words go in by the CPU, are copied by a command, and come out by the CPU. */
static int work_once(struct vgpu_uapi *own, const uint32_t *bo, uint32_t queue, uint32_t round)
{
	uint64_t bytes = chunks(3), got[2] = { 0 }, want[2] = { round, ~(uint64_t)round };
	struct rig_stream s;
	int rc;

	rc = rig_write(own, bo[0], 0, &want[0], 8) | rig_write(own, bo[0], bytes - 8, &want[1], 8);
	rig_stream(&s);
	rig_add_bo(&s, bo[0], VB_ACCESS_READ);
	rig_add_bo(&s, bo[1], VB_ACCESS_WRITE | VB_ACCESS_DISCARD);
	rig_add_copy(&s, 0, 1, (uint32_t)(bytes / 4));
	rc |= rig_submit(own, queue, &s, NULL) | rig_wait(own, queue, round, 60000);
	rc |= rig_read(own, bo[1], 0, &got[0], 8) | rig_read(own, bo[1], bytes - 8, &got[1], 8);
	return rc ? rc : memcmp(got, want, sizeof(got)) ? -EILSEQ : 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint32_t bo[2], queue;

	w->rc = rig_bo(w->own, chunks(3), VB_LIFE_VOLATILE, &bo[0]) |
		rig_bo(w->own, chunks(3), VB_LIFE_VOLATILE, &bo[1]) | rig_queue(w->own, 0, &queue);
	for (uint32_t round = 1; !w->rc && !__atomic_load_n(&w->stop, __ATOMIC_RELAXED); round++)
		w->rc = work_once(w->own, bo, queue, round);
	return NULL;
}

/* Until the tier has @slots, as a program that owns an executor does it. */
static void tend_until(uint64_t slots, int ms)
{
	uint64_t end = rig_now() + (uint64_t)ms * 1000000;

	while (host_slots() != slots && rig_now() < end) {
		vgpu_exec_tend_memory(rig.real);
		usleep(20000);
	}
}

static void library_takes_memory_back_while_clients_work(void **state)
{
	struct worker w[2] = { { .rc = 0 } };
	uint32_t id;

	(void)state;
	/* One region is to go, and not the next with it. */
	machine_set_ms("drain_pause_ms", PAUSE_MS);
	assert_rc(rig_bo(u, chunks(80), VB_LIFE_VOLATILE, &id), 0);
	fill(id, 80);
	for (int i = 0; i < 2; i++) {
		w[i].own = rig_client(&rig);
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	press_until(REAL_SLOTS * 3 / 4, 20000);
	assert_int_equal(host_slots(), REAL_SLOTS * 3 / 4);
	/* Not at once. */
	tend_until(REAL_SLOTS, 3000);
	assert_int_equal(host_slots(), REAL_SLOTS * 3 / 4);
	check(id, 80);
	tend_until(REAL_SLOTS, 30000);
	assert_int_equal(host_slots(), REAL_SLOTS);
	fill(id, 80);
	press_until(REAL_SLOTS * 3 / 4, 20000);
	check(id, 80);
	for (int i = 0; i < 2; i++) {
		__atomic_store_n(&w[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(w[i].thread, NULL);
		assert_rc(w[i].rc, 0);
		rig_client_close(w[i].own);
	}
}

/* ---- by hand ---- */

static void region_add(struct rig_exec *x, uint32_t arena, uint32_t first, uint32_t slots)
{
	struct vb_ioc_region cmd = {
		.size = sizeof(cmd), .arena = arena, .first_slot = first, .slots = slots,
	};

	assert_rc(vgpu_uapi_call(x->node, VB_IOC_REGION_ADD, &cmd), 0);
}

static uint32_t arena_add(struct rig_exec *x, uint32_t slots)
{
	struct vb_ioc_arena_create cmd = {
		.size = sizeof(cmd), .tier = VB_TIER_HOST, .numa_node = -1, .slots = slots,
	};

	assert_rc(vgpu_uapi_call(x->node, VB_IOC_ARENA_CREATE, &cmd), 0);
	return cmd.out_arena;
}

static uint64_t arena_slots(uint32_t arena)
{
	struct vb_ioc_query_tier t = { .size = sizeof(t), .index = arena };

	assert_rc(vgpu_uapi_call(u, VB_IOC_QUERY_TIER, &t), 0);
	return t.out_bytes / rig.chunk_bytes;
}

/* One region is mapped, the other not: that one goes without a word. */
static void region_that_nobody_maps_is_freed_at_once(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_exec x;
	uint32_t arena, id;

	(void)state;
	assert_int_equal(rig_exec_open(&rig, &x, 4), 0);
	arena = arena_add(&x, 8);
	region_add(&x, arena, 0, 8);
	/* With four slots of NVMe this needs the other region. */
	assert_rc(rig_bo(u, chunks(8), VB_LIFE_VOLATILE, &id), 0);
	for (int i = 0; i < 100 && arena_slots(arena); i++) {
		press();
		usleep(50000);
	}
	assert_int_equal(arena_slots(arena), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	assert_int_equal(arena_slots(x.host), 4);
	rig_exec_close(&x);
}

static void executor_is_asked_once_and_may_refuse(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_exec x;

	(void)state;
	assert_int_equal(rig_exec_open(&rig, &x, 4), 0);
	for (int i = 0; i < 100 && rig_fetch(&x, &req) == -EAGAIN; i++) {
		press();
		usleep(50000);
	}
	assert_int_equal(req.out_type, VB_FETCH_DRAIN);
	assert_int_equal(req.out_object, x.host);
	assert_int_equal(req.out_chunk, 0);
	assert_int_equal(req.out_count, 4);
	assert_int_equal(req.out_client, 0);
	/* While it works on one, it is not asked for another. */
	for (uint64_t end = rig_now() + STAYS_MS * 1000000ull; rig_now() < end;) {
		press();
		usleep(50000);
		assert_rc(rig_fetch(&x, &(struct vb_ioc_fetch){ 0 }), -EAGAIN);
	}
	assert_rc(rig_commit(&x, req.out_tag, -EOPNOTSUPP), 0);
	assert_int_equal(arena_slots(x.host), 4);
	rig_exec_close(&x);
}

/* Nobody maps two of them, each larger than the executor's: without a pause both would go. */
static void regions_go_one_in_the_pause_that_is_set(void **state)
{
	const uint64_t pause_ms = PAUSE_MS / 2 * 3;
	uint64_t begin;
	struct rig_exec x;
	uint32_t arena;

	(void)state;
	assert_int_equal(rig_exec_open(&rig, &x, 4), 0);
	arena = arena_add(&x, 16);
	region_add(&x, arena, 0, 8);
	region_add(&x, arena, 8, 8);
	machine_set_ms("drain_pause_ms", (unsigned int)pause_ms);
	begin = rig_now();
	while (arena_slots(arena) && rig_now() - begin < 20000000000ull) {
		press();
		usleep(50000);
	}
	assert_int_equal(arena_slots(arena), 0);
	/* A tick of the kernel's may be missing. */
	assert_true(rig_now() - begin >= (pause_ms - 10) * 1000000);
	rig_exec_close(&x);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, quick_setup, teardown)

int main(void)
{
	const struct CMUnitTest served[] = {
		CASE(region_is_drained_and_nothing_is_lost),
		CASE(what_is_reserved_keeps_its_memory),
		CASE(minimum_keeps_its_memory),
		CASE(pinned_chunks_stay_where_they_are),
	};
	const struct CMUnitTest real[] = {
		CASE(library_gives_memory_back_and_nothing_is_lost),
		CASE(library_keeps_what_clients_map),
		CASE(library_takes_memory_back_while_clients_work),
	};
	const struct CMUnitTest by_hand[] = {
		CASE(region_that_nobody_maps_is_freed_at_once),
		CASE(executor_is_asked_once_and_may_refuse),
		CASE(regions_go_one_in_the_pause_that_is_set),
	};
	int failed = 0;

	if (!selftest_has_module("drain"))
		return 0;
	failed += SELFTEST_RUN("drain", served, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("drain, the library's executor", real, RIG_REAL, REAL_SLOTS,
			       REAL_NVME_SLOTS);
	failed += SELFTEST_RUN("drain, executor by hand", by_hand, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}

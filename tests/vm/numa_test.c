// SPDX-License-Identifier: MIT
/*
 * A machine of two NUMA nodes, which the virtual ones are: the thread pool, of which
 * tests/kernels/pool_test.c can but pretend them, the module's host memory, and where the
 * library's executor puts what is in it.
 */
#include "kernels/pool.h"

#include <errno.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/cpus.h"
#include "selftests/selftest.h"
#include "vm/machine.h"

#define NODES	2u
#define ITEMS	64u
#define THREADS	5u	/* the caller, and two for each node */
/* The caller must not have done all of it before the others are awake. */
#define ITEM_US	2000

/**
 * struct seen - where the items of a run ran
 * @cpu: of each item
 * @thread: of each item, vgpu_pool_self_index()
 * @mask: what this thread may run on
 * @memory: a page an item, written by it
 */
struct seen {
	int cpu[ITEMS];
	uint32_t thread[ITEMS];
	cpu_set_t mask[ITEMS];
	uint8_t *memory;
};

static struct vgpu_cpus_node nodes[NODES + 1];
static long page;

static int find_nodes(void **state)
{
	(void)state;
	page = sysconf(_SC_PAGESIZE);
	return 0;
}

static void two_nodes_or_skip(void)
{
	if (vgpu_cpus_nodes(nodes, NODES + 1) == NODES)
		return;
	print_message("SKIP: this machine has not two NUMA nodes\n");
	skip();
}

/* Skips where there is one node. */
static struct vgpu_pool *pool_of(enum vgpu_pool_numa numa)
{
	struct vgpu_pool_params params = { .threads = THREADS, .numa = numa };
	struct vgpu_pool *pool;

	two_nodes_or_skip();
	assert_int_equal(vgpu_pool_open(&params, &pool), 0);
	return pool;
}

static void note_item(void *ctx, size_t item)
{
	struct seen *s = ctx;

	s->cpu[item] = sched_getcpu();
	s->thread[item] = vgpu_pool_self_index();
	assert_int_equal(sched_getaffinity(0, sizeof(s->mask[item]), &s->mask[item]), 0);
	if (s->memory)
		s->memory[item * (size_t)page] = 1;
	usleep(ITEM_US);
}

static void run(struct vgpu_pool *pool, struct seen *s)
{
	struct vgpu_pool_job job = { .fn = note_item, .ctx = s, .items = ITEMS, .grain = 1 };

	vgpu_pool_run_job(pool, &job);
}

/* The caller has a CPU of a node as long as this lasts. */
static void move_to(uint32_t node)
{
	assert_int_equal(sched_setaffinity(0, sizeof(nodes[node].cpus), &nodes[node].cpus), 0);
}

static void move_back(void)
{
	cpu_set_t all;

	CPU_ZERO(&all);
	for (uint32_t n = 0; n < NODES; n++)
		CPU_OR(&all, &all, &nodes[n].cpus);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void pool_has_threads_on_both_nodes(void **state)
{
	struct vgpu_pool *pool = pool_of(VGPU_POOL_NUMA_AUTO);
	uint32_t on[NODES] = { 0 }, workers[NODES] = { 0 };
	struct vgpu_pool_info info;
	struct seen s = { 0 };

	(void)state;
	vgpu_pool_query(pool, &info);
	assert_int_equal(info.nodes, NODES);
	assert_true(info.pinned);
	run(pool, &s);
	for (uint32_t i = 0; i < ITEMS; i++) {
		uint32_t node = vgpu_pool_node_of_item(pool, i, ITEMS);

		on[node]++;
		/* The caller may be moved between its item and the look at the CPU. */
		if (!s.thread[i])
			continue;
		assert_true(CPU_ISSET(s.cpu[i], &nodes[node].cpus));
		assert_true(CPU_EQUAL(&s.mask[i], &nodes[node].cpus));
		workers[node]++;
	}
	for (uint32_t n = 0; n < NODES; n++) {
		print_message("node %d: %u items, %u of them on its own threads\n", nodes[n].id, on[n],
			      workers[n]);
		/* In proportion to its threads: half, and the caller's. */
		assert_in_range(on[n], ITEMS / 3, ITEMS * 2 / 3);
		assert_true(workers[n] > 0);
	}
	vgpu_pool_close(pool);
}

static void pool_caller_takes_from_the_node_where_it_is(void **state)
{
	struct vgpu_pool *pool = pool_of(VGPU_POOL_NUMA_AUTO);

	(void)state;
	for (uint32_t n = 0; n < NODES; n++) {
		struct seen s = { 0 };
		uint32_t taken = 0;

		move_to(n);
		run(pool, &s);
		for (uint32_t i = 0; i < ITEMS; i++) {
			if (s.thread[i])
				continue;
			taken++;
			assert_int_equal(vgpu_pool_node_of_item(pool, i, ITEMS), n);
			assert_true(CPU_ISSET(s.cpu[i], &nodes[n].cpus));
		}
		assert_true(taken > 0);
	}
	move_back();
	vgpu_pool_close(pool);
}

/* The node where a page lies, or -errno. */
static int node_of(void *at)
{
	int status = -1;

	assert_int_equal(move_pages(0, 1, &at, NULL, &status, 0), 0);
	return status;
}

static void pool_memory_of_a_run_is_local_in_the_next(void **state)
{
	struct vgpu_pool *pool = pool_of(VGPU_POOL_NUMA_AUTO);
	struct seen first = { 0 }, next = { 0 };

	(void)state;
	first.memory = mmap(NULL, ITEMS * (size_t)page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(first.memory != MAP_FAILED);
	/* A huge page would be of one node. */
	assert_int_equal(madvise(first.memory, ITEMS * (size_t)page, MADV_NOHUGEPAGE), 0);
	move_to(0);
	run(pool, &first);
	next.memory = first.memory;
	run(pool, &next);
	move_back();
	for (uint32_t i = 0; i < ITEMS; i++) {
		uint32_t node = vgpu_pool_node_of_item(pool, i, ITEMS);

		assert_int_equal(node_of(&first.memory[i * (size_t)page]), nodes[node].id);
		assert_true(CPU_ISSET(next.cpu[i], &nodes[node].cpus));
	}
	munmap(first.memory, ITEMS * (size_t)page);
	vgpu_pool_close(pool);
}

static void pool_pins_nothing_when_told_so(void **state)
{
	struct vgpu_pool *pool = pool_of(VGPU_POOL_NUMA_OFF);
	struct vgpu_pool_info info;
	struct seen s = { 0 };

	(void)state;
	vgpu_pool_query(pool, &info);
	assert_int_equal(info.nodes, 1);
	assert_false(info.pinned);
	run(pool, &s);
	for (uint32_t i = 0; i < ITEMS; i++)
		for (uint32_t n = 0; n < NODES; n++)
			assert_false(CPU_EQUAL(&s.mask[i], &nodes[n].cpus));
	vgpu_pool_close(pool);
}

/* ---- host memory ---- */

#define SLOTS	4u

static uint64_t chunk_at(uint32_t chunk)
{
	return (uint64_t)chunk * rig.chunk_bytes;
}

/* A host arena of a node with all its slots; where the executor has them. */
static uint8_t *new_arena(struct rig_exec *x, int node, uint64_t bytes)
{
	struct vb_ioc_arena_create arena = {
		.size = sizeof(arena), .tier = VB_TIER_HOST, .numa_node = node, .slots = SLOTS,
	};
	struct vb_ioc_region region = { .size = sizeof(region), .slots = SLOTS };
	void *p;

	assert_rc(vgpu_uapi_call(x->node, VB_IOC_ARENA_CREATE, &arena), 0);
	region.arena = arena.out_arena;
	assert_rc(vgpu_uapi_call(x->node, VB_IOC_REGION_ADD, &region), 0);
	assert_rc(x->node->ops->map(x->node, region.out_mmap_offset, bytes, true, &p), 0);
	return p;
}

static void slots_of_a_node_lie_on_it(void **state)
{
	uint64_t bytes = (uint64_t)SLOTS * rig.chunk_bytes;
	struct rig_exec x;

	(void)state;
	two_nodes_or_skip();
	assert_int_equal(rig_exec_open(&rig, &x, 1), 0);
	/* Whoever asks for the memory is on either node, and has nothing to say in it. */
	for (uint32_t n = 0; n < 2 * NODES; n++) {
		uint8_t *p;

		move_to(n % 2);
		p = new_arena(&x, nodes[n / 2].id, bytes);
		for (uint64_t at = 0; at < bytes; at += (uint64_t)page) {
			p[at] = 1;
			assert_int_equal(node_of(p + at), nodes[n / 2].id);
		}
		munmap(p, bytes);
	}
	move_back();
	rig_exec_close(&x);
}

/* ---- a node that is full ---- */

#define SPILL_BYTES	(64ull << 20)

#define FILLS_MAX	20u

/* What was taken so that a node is full. */
static struct filled {
	uint8_t *memory;
	uint64_t bytes;
} filled[FILLS_MAX];
static uint32_t fills;

static uint64_t free_on(int node)
{
	unsigned long kb = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	f = fopen(path, "r");
	assert_non_null(f);
	for (char line[128]; fgets(line, sizeof(line), f) && sscanf(line, "Node %*d MemFree: %lu", &kb) != 1;)
		;
	fclose(f);
	return (uint64_t)kb << 10;
}

/*
 * All memory that the node has for us; what the kernel keeps there is taken elsewhere.  More than
 * is free, for while pages are taken the kernel gives up some that files are cached in.
 */
static void fill_node(int node)
{
	unsigned long mask = 1ul << node;
	uint64_t bytes = free_on(node) + SPILL_BYTES;
	uint8_t *p;

	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(p != MAP_FAILED);
	assert_int_equal(mbind(p, bytes, MPOL_PREFERRED, &mask, 8 * sizeof(mask), 0), 0);
	for (uint64_t at = 0; at < bytes; at += (uint64_t)page)
		p[at] = 1;
	filled[fills++] = (struct filled){ p, bytes };
	print_message("node %d: %llu KiB left of %llu\n", node,
		      (unsigned long long)free_on(node) >> 10, (unsigned long long)bytes >> 10);
}

static void empty_node(void)
{
	while (fills) {
		fills--;
		munmap(filled[fills].memory, filled[fills].bytes);
	}
}

static struct vb_ioc_arena_query arena_says(struct rig_exec *x, uint32_t arena)
{
	struct vb_ioc_arena_query q = { .size = sizeof(q), .arena = arena };

	assert_rc(vgpu_uapi_call(x->node, VB_IOC_ARENA_QUERY, &q), 0);
	return q;
}

/* How many slots of a region are not on a node. */
static uint32_t slots_away(struct rig_exec *x, const struct vb_ioc_region *region, int node)
{
	uint32_t elsewhere = 0;
	uint8_t *p;

	assert_rc(x->node->ops->map(x->node, region->out_mmap_offset, SPILL_BYTES, true, (void **)&p), 0);
	for (uint32_t slot = 0; slot < region->slots; slot++) {
		bool away = false;

		for (uint64_t at = chunk_at(slot); at < chunk_at(slot + 1); at += (uint64_t)page) {
			p[at] = 1;
			away |= node_of(p + at) != node;
		}
		elsewhere += away;
	}
	munmap(p, SPILL_BYTES);
	print_message("%u of %u slots on another node\n", elsewhere, region->slots);
	return elsewhere;
}

/*
 * A region for which the node has not enough memory.  What the kernel finds there after all, it
 * found once: then there is less.
 */
static uint32_t region_that_spills(struct rig_exec *x, struct vb_ioc_region *region, int node)
{
	uint32_t elsewhere = 0;

	while (!elsewhere && fills < FILLS_MAX) {
		fill_node(node);
		assert_rc(vgpu_uapi_call(x->node, VB_IOC_REGION_ADD, region), 0);
		elsewhere = slots_away(x, region, node);
		if (!elsewhere)
			assert_rc(vgpu_uapi_call(x->node, VB_IOC_REGION_REMOVE, region), 0);
	}
	empty_node();
	return elsewhere;
}

/* Nobody goes without, and it is told. */
static void slots_that_a_node_has_no_memory_for_are_counted(void **state)
{
	uint32_t slots = (uint32_t)(SPILL_BYTES / rig.chunk_bytes), elsewhere;
	struct vb_ioc_arena_create arena = {
		.size = sizeof(arena), .tier = VB_TIER_HOST, .slots = 2 * slots,
	};
	struct vb_ioc_region region = { .size = sizeof(region), .slots = slots };
	struct rig_exec x;

	(void)state;
	two_nodes_or_skip();
	assert_int_equal(rig_exec_open(&rig, &x, 1), 0);
	arena.numa_node = nodes[1].id;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_ARENA_CREATE, &arena), 0);
	region.arena = arena.out_arena;
	elsewhere = region_that_spills(&x, &region, nodes[1].id);
	assert_in_range(elsewhere, 1, slots);
	assert_int_equal(arena_says(&x, arena.out_arena).out_slots_elsewhere, elsewhere);
	region.first_slot = slots;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_REGION_ADD, &region), 0);
	assert_int_equal(arena_says(&x, arena.out_arena).out_slots_elsewhere, elsewhere);
	rig_exec_close(&x);
}

/* ---- who asks ---- */

static void *touch(void *at)
{
	*(volatile uint8_t *)at = 1;
	return NULL;
}

/* Threads are where their creator is. */
static void request_says_on_which_node_somebody_waits(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_exec x;
	pthread_t thread;
	uint32_t id;
	uint8_t *p;

	(void)state;
	two_nodes_or_skip();
	assert_int_equal(rig_exec_open(&rig, &x, SLOTS), 0);
	assert_rc(rig_bo(rig.client, chunk_at(NODES), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(rig.client, id, chunk_at(NODES), true);
	for (uint32_t n = 0; n < NODES; n++) {
		move_to(n);
		assert_int_equal(pthread_create(&thread, NULL, touch, p + chunk_at(n)), 0);
		move_to(!n);
		while (rig_fetch(&x, &req) == -EAGAIN)
			usleep(1000);
		assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
		assert_int_equal(req.out_numa_node, nodes[n].id);
		assert_rc(rig_step(&x, req.out_object, n, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST), 0);
		assert_rc(rig_step(&x, req.out_object, n, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST), 0);
		assert_rc(rig_commit(&x, req.out_tag, 0), 0);
		pthread_join(thread, NULL);
	}
	move_back();
	munmap(p, chunk_at(NODES));
	assert_rc(rig_bo_destroy(rig.client, id), 0);
	assert_int_equal(rig_serve_one(&x), VB_FETCH_FORGET);
	rig_exec_close(&x);
}

/* ---- the library's executor ---- */

#define TIER_SLOTS	64u
#define LOCAL		12u	/* chunks a node that there is room for */

static void executor_has_slots_of_both_nodes(void **state)
{
	struct vb_ioc_query_tier q = { .size = sizeof(q) };
	uint64_t bytes[NODES] = { 0 };

	(void)state;
	two_nodes_or_skip();
	for (; !vgpu_uapi_call(rig.client, VB_IOC_QUERY_TIER, &q); q.index++)
		for (uint32_t n = 0; n < NODES; n++)
			if (q.out_tier == VB_TIER_HOST && q.out_numa_node == nodes[n].id)
				bytes[n] += q.out_bytes;
	assert_int_equal(bytes[0], chunk_at(TIER_SLOTS / 2));
	assert_int_equal(bytes[1], chunk_at(TIER_SLOTS / 2));
}

/* Chunks of the object that lie on each node; all of them are there. */
static void count_nodes(uint8_t *p, uint32_t chunks, uint32_t on[NODES])
{
	memset(on, 0, NODES * sizeof(*on));
	for (uint32_t c = 0; c < chunks; c++)
		for (uint32_t n = 0; n < NODES; n++)
			on[n] += node_of(p + chunk_at(c)) == nodes[n].id;
	assert_int_equal(on[0] + on[1], chunks);
}

static uint8_t *new_object(uint32_t chunks, uint32_t *out_id)
{
	assert_rc(rig_bo(rig.client, chunk_at(chunks), VB_LIFE_VOLATILE, out_id), 0);
	return machine_map(rig.client, *out_id, chunk_at(chunks), true);
}

static void chunks_are_on_the_node_of_who_faults(void **state)
{
	uint32_t id;
	uint8_t *p;

	(void)state;
	two_nodes_or_skip();
	p = new_object(2 * LOCAL, &id);
	for (uint32_t c = 0; c < 2 * LOCAL; c++) {
		move_to(c < LOCAL);
		p[chunk_at(c)] = 1;
		assert_int_equal(node_of(p + chunk_at(c)), nodes[c < LOCAL].id);
	}
	move_back();
	munmap(p, chunk_at(2 * LOCAL));
}

/* What one node has no room for is on the other one. */
static void chunks_go_where_there_is_room(void **state)
{
	uint32_t id, on[NODES], count = TIER_SLOTS * 3 / 4;
	uint8_t *p;

	(void)state;
	two_nodes_or_skip();
	p = new_object(count, &id);
	move_to(1);
	for (uint32_t c = 0; c < count; c++)
		p[chunk_at(c)] = 1;
	move_back();
	count_nodes(p, count, on);
	assert_int_equal(on[1], TIER_SLOTS / 2);
	munmap(p, chunk_at(count));
}

/* What a command holds whole is in adjacent slots: more than a region of them. */
static void operands_lie_across_nodes(void **state)
{
	uint32_t id, queue, on[NODES];
	struct rig_stream s;
	uint64_t seqno;
	uint8_t *p;

	(void)state;
	two_nodes_or_skip();
	p = new_object(2 * LOCAL, &id);
	assert_rc(rig_queue(rig.client, 0, &queue), 0);
	rig_stream(&s);
	rig_add_fill(&s, rig_add_bo(&s, id, VB_ACCESS_WRITE), 0,
		     (uint32_t)(chunk_at(2 * LOCAL) / sizeof(float)), 1.0f);
	assert_rc(rig_submit(rig.client, queue, &s, &seqno), 0);
	assert_rc(rig_wait(rig.client, queue, seqno, RIG_FOREVER), 0);
	for (uint32_t c = 0; c < 2 * LOCAL; c++)
		assert_true(*(float *)(p + chunk_at(c)) == 1.0f);
	count_nodes(p, 2 * LOCAL, on);
	print_message("%u chunks on node %d, %u on node %d\n", on[0], nodes[0].id, on[1], nodes[1].id);
	assert_true(on[0] && on[1]);
	munmap(p, chunk_at(2 * LOCAL));
}

static int module_tests(void)
{
	const struct CMUnitTest tests[] = {
		TEST(slots_of_a_node_lie_on_it),
		TEST(slots_that_a_node_has_no_memory_for_are_counted),
		TEST(request_says_on_which_node_somebody_waits),
	};
	const struct CMUnitTest real[] = {
		TEST(executor_has_slots_of_both_nodes),
		TEST(chunks_are_on_the_node_of_who_faults),
		TEST(chunks_go_where_there_is_room),
		TEST(operands_lie_across_nodes),
	};

	if (!selftest_has_module("host memory of a node"))
		return 0;
	return SELFTEST_RUN("host memory of a node", tests, RIG_NONE, 0, 0) +
	       SELFTEST_RUN("host memory of a node, executor", real, RIG_REAL, TIER_SLOTS, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pool_has_threads_on_both_nodes),
		cmocka_unit_test(pool_caller_takes_from_the_node_where_it_is),
		cmocka_unit_test(pool_memory_of_a_run_is_local_in_the_next),
		cmocka_unit_test(pool_pins_nothing_when_told_so),
	};

	return cmocka_run_group_tests(tests, find_nodes, NULL) + module_tests() ? 1 : 0;
}

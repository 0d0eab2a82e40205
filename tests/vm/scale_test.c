// SPDX-License-Identifier: MIT
/*
 * What the module must bear: an object of 1 TiB over an arena that nobody could fill,
 * and a thousand clients with 64 queues each.  Figures are printed; TCG makes times
 * long, so the bounds are generous.
 */
#include "selftests/selftest.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define TIB		(1ull << 40)
#define CLIENTS		1000u
#define QUEUES		64u
#define BATCH		1024u		/* moves a request */
#define TABLE_PAGE	(4096u / (uint32_t)sizeof(struct vb_table_entry))	/* entries */
#define MOST_EACH	32.5	/* bytes a chunk */
#define SETTLE_MS	30000.0

static int setup(void **state)
{
	struct rlimit files = { 4096, 4096 };

	setrlimit(RLIMIT_NOFILE, &files);
	return selftest_setup(state);
}

/* An executor whose arenas other than host are mere numbers. */
static void fake_arenas(struct rig_exec *x, uint32_t slots)
{
	const uint32_t tiers[] = { VB_TIER_DEVICE, VB_TIER_NVME };
	uint32_t *const arenas[] = { &x->device, &x->nvme };

	assert_int_equal(rig_exec_open(&rig, x, 4), 0);
	for (int i = 0; i < 2; i++) {
		struct vb_ioc_arena_create cmd = {
			.size = sizeof(cmd), .tier = tiers[i], .numa_node = -1, .slots = slots,
		};

		assert_rc(vgpu_uapi_call(x->node, VB_IOC_ARENA_CREATE, &cmd), 0);
		*arenas[i] = cmd.out_arena;
	}
}

static uint64_t reserved_bytes(void)
{
	struct vb_ioc_query_tier t;

	assert_rc(rig_tier(rig.client, VB_TIER_HOST, &t), 0);
	return t.out_reserved_bytes;
}

/* ---- what the kernel charges us for ---- */

#define GROUP	"/tmp/cgroup/scale"

static int group_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	int rc = f ? fputs(text, f) : -1;

	return f && !fclose(f) && rc >= 0 ? 0 : -1;
}

/* This process gets a memory cgroup of its own; false: the kernel has none. */
static bool group_enter(void)
{
	static int entered;
	char pid[16];

	if (entered)
		return entered > 0;
	mkdir("/tmp/cgroup", 0700);
	snprintf(pid, sizeof(pid), "%d", getpid());
	entered = (!mount("none", "/tmp/cgroup", "cgroup2", 0, NULL) || errno == EBUSY) &&
		  !group_write("/tmp/cgroup/cgroup.subtree_control", "+memory") &&
		  (!mkdir(GROUP, 0700) || errno == EEXIST) &&
		  !group_write(GROUP "/cgroup.procs", pid) ? 1 : -1;
	return entered > 0;
}

static int64_t charged_kib(void)
{
	FILE *f = fopen(GROUP "/memory.current", "r");
	long long bytes = 0;

	if (f && fscanf(f, "%lld", &bytes) != 1)
		bytes = 0;
	if (f)
		fclose(f);
	return bytes / 1024;
}

static double ms_since(uint64_t begin)
{
	return (double)(rig_now() - begin) / 1e6;
}

/* ---- one large object ---- */

static void tebibyte_is_created_queried_and_destroyed_in_a_second(void **state)
{
	uint32_t id, last = (uint32_t)(TIB / rig.chunk_bytes - 1);
	struct vb_ioc_bo_info info;
	struct rig_exec x;
	uint64_t begin;
	double ms;

	(void)state;
	fake_arenas(&x, (uint32_t)(TIB / rig.chunk_bytes));
	begin = rig_now();
	assert_rc(rig_bo(rig.client, TIB, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_info(rig.client, id, &info), 0);
	assert_int_equal(info.out_chunks, last + 1);
	assert_int_equal(reserved_bytes(), TIB);
	assert_int_equal(rig_residency(rig.client, id, 0), 0);
	assert_int_equal(rig_residency(rig.client, id, last), 0);
	assert_rc(rig_bo_destroy(rig.client, id), 0);
	ms = ms_since(begin);
	assert_int_equal(reserved_bytes(), 0);
	printf("# 1 TiB, %u chunks: created, queried, destroyed in %.2f ms\n", last + 1, ms);
	assert_true(ms < 1000);
	rig_exec_close(&x);
}

/* One chunk of each page of the table, in [first, end), gets a copy on no device. */
static void place(struct rig_exec *x, uint32_t object, uint32_t first, uint32_t end)
{
	struct vb_move *mv = calloc(2 * BATCH, sizeof(*mv));

	assert_non_null(mv);
	for (uint32_t chunk = first; chunk < end;) {
		struct vb_ioc_move cmd = {
			.size = sizeof(cmd), .address = (uintptr_t)mv, .generation = x->generation,
		};

		for (; chunk < end && cmd.count < 2 * BATCH; chunk += TABLE_PAGE)
			for (uint32_t op = VB_MOVE_BEGIN; op <= VB_MOVE_COMMIT; op++)
				mv[cmd.count++] = (struct vb_move){
					.object = object, .chunk = chunk, .op = (uint8_t)op,
					.from = VB_TIER_ZERO, .to = VB_TIER_DEVICE,
					.arena = x->device, .slot = VB_SLOT_ANY,
				};
		assert_rc(vgpu_uapi_call(x->node, VB_IOC_MOVE, &cmd), 0);
		assert_int_equal(cmd.out_failed, 0);
	}
	free(mv);
}

/* The object that a prefetch names is the one that was made last. */
static uint32_t object_of(struct rig_exec *x, uint32_t id)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_advise(rig.client, id, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	assert_rc(rig_commit(x, req.out_tag, 0), 0);
	return req.out_object;
}

/* Bytes a chunk that are charged beyond @kib: what RCU frees goes late, on a busy machine seconds. */
static double bytes_settled(int64_t kib, uint32_t chunks)
{
	uint64_t begin = rig_now();
	double each;

	do {
		usleep(200000);
		each = (double)(charged_kib() - kib) * 1024 / chunks;
	} while (each >= MOST_EACH && ms_since(begin) < SETTLE_MS);
	printf("# %.2f bytes a chunk after %.0f ms\n", each, ms_since(begin));
	return each;
}

/*
 * Every page of the table is there, as if every chunk had moved: 32 bytes an entry, under
 * a tenth of a byte for the tree that finds the pages, and what the kernel charges in
 * advance.
 */
static void whole_table_costs_32_bytes_a_chunk_and_its_index(void **state)
{
	uint32_t id, object, chunks = 1u << 22;
	struct vb_ioc_fetch req;
	uint64_t begin;
	int64_t kib;
	struct rig_exec x;
	double each;

	(void)state;
	if (!group_enter()) {
		fprintf(stderr, "SKIP: %s: no memory cgroup\n", __func__);
		skip();
	}
	fake_arenas(&x, chunks);
	assert_rc(rig_bo(rig.client, (uint64_t)chunks * rig.chunk_bytes, VB_LIFE_VOLATILE, &id), 0);
	object = object_of(&x, id);
	place(&x, object, 0, TABLE_PAGE);	/* what is allocated once is there */
	kib = charged_kib();
	place(&x, object, TABLE_PAGE, chunks);
	each = bytes_settled(kib, chunks - TABLE_PAGE);
	begin = rig_now();
	assert_rc(rig_bo_destroy(rig.client, id), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_FORGET);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	printf("# table of %u chunks: %.2f bytes a chunk; destroyed in %.2f ms\n", chunks, each,
	       ms_since(begin));
	assert_true(each > 31.9 && each < MOST_EACH);
	rig_exec_close(&x);
}

/* The executor reads tables that nobody has written: zeros, page by page. */
static void table_of_untouched_chunks_reads_as_zero(void **state)
{
	struct vb_ioc_object_open o = { .size = sizeof(o) };
	uint32_t id, chunks = 1u << 19;
	const struct vb_table_entry *table;
	static const struct vb_table_entry zero;
	struct rig_exec x;
	size_t bytes = (size_t)chunks * sizeof(zero);

	(void)state;
	fake_arenas(&x, chunks);
	assert_rc(rig_bo(rig.client, (uint64_t)chunks * rig.chunk_bytes, VB_LIFE_VOLATILE, &id), 0);
	o.object = object_of(&x, id);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_OPEN, &o), 0);
	assert_rc(x.node->ops->map(x.node, o.out_table_mmap, bytes, false, (void **)&table), 0);
	for (uint32_t i = 0; i < chunks; i += 10007)
		assert_memory_equal(&table[i], &zero, sizeof(zero));
	assert_rc(rig_step(&x, o.object, 10007, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_DEVICE), 0);
	assert_int_not_equal(table[10007].busy, 0);
	assert_rc(rig_step(&x, o.object, 10007, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_DEVICE), 0);
	assert_int_equal(table[10007].valid, 1u << VB_TIER_DEVICE);
	assert_memory_equal(&table[10006], &zero, sizeof(zero));
	munmap((void *)table, bytes);
	rig_exec_close(&x);
}

/* So many bytes, all of them the same two MiB. */
static uint8_t *little_memory_often(uint64_t bytes)
{
	const uint64_t step = 2u << 20;
	int fd = memfd_create("little", MFD_CLOEXEC);
	uint8_t *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(fd >= 0 && !ftruncate(fd, (off_t)step) && p != MAP_FAILED);
	for (uint64_t at = 0; at < bytes; at += step)
		assert_true(mmap(p + at, step, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
				 0) != MAP_FAILED);
	close(fd);
	return p;
}

/* A file with holes costs nothing, and makes as many chunks as there may be. */
static uint32_t largest_object(void)
{
	int fd = memfd_create("holes", MFD_CLOEXEC);
	uint32_t id;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)VB_OBJECT_BYTES_MAX), 0);
	assert_rc(rig_bo_file(rig.client, fd, 0, VB_OBJECT_BYTES_MAX, &id), 0);
	close(fd);
	return id;
}

static void ask_for_ever(uint32_t id, uint8_t *to, uint32_t chunks)
{
	struct vb_ioc_bo_residency cmd;

	for (;;) {
		cmd = (struct vb_ioc_bo_residency){
			.size = sizeof(cmd), .bo_id = id, .count = chunks, .address = (uintptr_t)to,
		};
		if (vgpu_uapi_call(rig.client, VB_IOC_BO_RESIDENCY, &cmd))
			_exit(1);
	}
}

/* A billion chunks are a minute's work. */
static void who_asks_for_all_residency_can_be_killed(void **state)
{
	uint32_t id, chunks = (uint32_t)(VB_OBJECT_BYTES_MAX / rig.chunk_bytes);
	uint64_t begin;
	uint8_t *to;
	pid_t pid;
	int status;

	(void)state;
	id = largest_object();
	to = little_memory_often(chunks);
	pid = fork();
	if (!pid)
		ask_for_ever(id, to, chunks);
	usleep(300000);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	begin = rig_now();
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	printf("# killed while it asked for %u chunks: %.0f ms\n", chunks, ms_since(begin));
	assert_true(WIFSIGNALED(status));
	assert_true(ms_since(begin) < 2000);
	munmap(to, chunks);
	assert_rc(rig_bo_destroy(rig.client, id), 0);
}

/* ---- many clients ---- */

static void thousand_clients_with_64_queues_each_are_served(void **state)
{
	static struct vgpu_uapi *client[CLIENTS];
	static uint32_t queue[CLIENTS][QUEUES];
	struct rig_stream s;
	uint64_t begin = rig_now();
	int64_t kib;

	(void)state;
	group_enter();
	kib = charged_kib();
	for (uint32_t i = 0; i < CLIENTS; i++) {
		client[i] = rig_client(&rig);
		assert_non_null(client[i]);
		for (uint32_t q = 0; q < QUEUES; q++)
			assert_rc(rig_queue(client[i], 0, &queue[i][q]), 0);
	}
	kib = charged_kib() - kib;
	printf("# %u clients with %u queues: %.0f ms, %lld KiB, %.0f bytes a queue\n", CLIENTS,
	       QUEUES, ms_since(begin), (long long)kib, (double)kib * 1024 / CLIENTS / QUEUES);
	rig_stream(&s);
	rig_add_nop(&s);
	begin = rig_now();
	for (uint32_t i = 0; i < CLIENTS; i++)
		for (uint32_t q = 0; q < QUEUES; q++)
			assert_rc(rig_submit(client[i], queue[i][q], &s, NULL), 0);
	for (uint32_t i = 0; i < CLIENTS; i++)
		for (uint32_t q = 0; q < QUEUES; q++)
			assert_rc(rig_wait(client[i], queue[i][q], 1, 60000), 0);
	printf("# one submission on each: %.1f us\n",
	       ms_since(begin) * 1000 / CLIENTS / QUEUES);
	begin = rig_now();
	for (uint32_t i = 0; i < CLIENTS; i++)
		rig_client_close(client[i]);
	printf("# closed: %.0f ms\n", ms_since(begin));
}

/* ---- many queues, and nobody to serve them ---- */

#define WAITING		500u	/* clients */

/**
 * struct witness - looks at two queues again and again, of which one ends before the other
 * @client: of the first queue, and of the last
 * @queue: these
 * @stop: no more
 * @looks: how often it has looked
 * @between: how often the first had ended and the last had not
 */
struct witness {
	struct vgpu_uapi *client[2];
	uint32_t queue[2];
	bool stop;
	uint64_t looks, between;
};

/* Whoever looks does so already. */
static void await_looks(const uint64_t *looks)
{
	while (!__atomic_load_n(looks, __ATOMIC_RELAXED))
		usleep(1000);
}

static void *look(void *arg)
{
	struct witness *w = arg;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		w->between += rig_wait(w->client[0], w->queue[0], 1, 0) != -ETIME &&
			      rig_wait(w->client[1], w->queue[1], 1, 0) == -ETIME;
		__atomic_add_fetch(&w->looks, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void submit_and_leave_waiting(struct vgpu_uapi *client, uint32_t *out_queue)
{
	struct rig_stream s;

	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_queue(client, 0, out_queue), 0);
	assert_rc(rig_submit(client, *out_queue, &s, NULL), 0);
}

/* All of it under one lock would be over at once for whoever looks. */
static void executor_that_goes_ends_many_queues_a_few_at_a_time(void **state)
{
	static struct vgpu_uapi *client[WAITING];
	static uint32_t queue[WAITING][QUEUES];
	struct witness w = { .stop = false };
	pthread_t thread;
	struct rig_exec x;
	uint64_t begin;

	(void)state;
	assert_int_equal(rig_exec_open(&rig, &x, 4), 0);
	for (uint32_t i = 0; i < WAITING; i++) {
		client[i] = rig_client(&rig);
		assert_non_null(client[i]);
		for (uint32_t q = 0; q < QUEUES; q++)
			submit_and_leave_waiting(client[i], &queue[i][q]);
	}
	w.client[0] = client[0];
	w.queue[0] = queue[0][0];
	w.client[1] = client[WAITING - 1];
	w.queue[1] = queue[WAITING - 1][QUEUES - 1];
	assert_int_equal(pthread_create(&thread, NULL, look, &w), 0);
	await_looks(&w.looks);
	begin = rig_now();
	rig_exec_close(&x);
	assert_rc(rig_wait(w.client[1], w.queue[1], 1, 20000), -ENODEV);
	printf("# executor left %u queues: %.0f ms\n", WAITING * QUEUES, ms_since(begin));
	__atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(w.between > 0);
	for (uint32_t i = 0; i < WAITING; i++)
		rig_client_close(client[i]);
}

static uint64_t in_flight(void)
{
	struct vb_ioc_limit cmd = { .size = sizeof(cmd), .limit = VB_LIMIT_SUBMISSIONS };

	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_LIMIT, &cmd), 0);
	return cmd.out_used;
}

/**
 * struct counter - looks how many submissions are in flight
 * @all: when it begins
 * @stop: no more
 * @looks: how often it has looked
 * @between: how often it was neither all nor none
 */
struct counter {
	uint64_t all;
	bool stop;
	uint64_t looks, between;
};

static void *count(void *arg)
{
	struct counter *c = arg;
	uint64_t n;

	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		n = in_flight();
		c->between += n && n != c->all;
		__atomic_add_fetch(&c->looks, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Of one queue, too: the last ones are there when the first have been canceled. */
static void long_queue_is_destroyed_a_few_submissions_at_a_time(void **state)
{
	struct counter c = { .all = 65536 };
	struct rig_stream s;
	struct rig_exec x;
	pthread_t thread;
	uint32_t queue;

	(void)state;
	assert_int_equal(rig_exec_open(&rig, &x, 4), 0);
	assert_rc(rig_queue(rig.client, 0, &queue), 0);
	assert_rc(rig_limit(rig.client, VB_LIMIT_SUBMISSIONS, c.all), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	for (uint64_t i = 0; i < c.all; i++)
		assert_rc(rig_submit(rig.client, queue, &s, NULL), 0);
	assert_int_equal(in_flight(), c.all);
	assert_int_equal(pthread_create(&thread, NULL, count, &c), 0);
	await_looks(&c.looks);
	assert_rc(rig_queue_destroy(rig.client, queue), 0);
	assert_int_equal(in_flight(), 0);
	__atomic_store_n(&c.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(c.between > 0);
	rig_exec_close(&x);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, selftest_teardown)

int main(void)
{
	const struct CMUnitTest by_hand[] = {
		CASE(tebibyte_is_created_queried_and_destroyed_in_a_second),
		CASE(whole_table_costs_32_bytes_a_chunk_and_its_index),
		CASE(table_of_untouched_chunks_reads_as_zero),
		CASE(executor_that_goes_ends_many_queues_a_few_at_a_time),
		CASE(long_queue_is_destroyed_a_few_submissions_at_a_time),
		CASE(who_asks_for_all_residency_can_be_killed),
	};
	const struct CMUnitTest served[] = {
		CASE(thousand_clients_with_64_queues_each_are_served),
	};
	int failed = 0;

	if (!selftest_has_module("scale"))
		return 0;
	failed += SELFTEST_RUN("scale, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("scale", served, RIG_FAKE, 16, 32);
	return failed ? 1 : 0;
}

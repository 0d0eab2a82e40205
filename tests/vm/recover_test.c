// SPDX-License-Identifier: MIT
/*
 * Executors that die and those that come after them: each rule of the UAPI header's
 * paragraph on it.  The executor is the test itself; it dies by closing its node.
 */
#include "selftests/selftest.h"
#include "exec/exec.h"
#include "vm/machine.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SLOTS	4u
#define REAL_SLOTS	24u
#define H	VB_TIER_HOST
#define D	VB_TIER_DEVICE
#define N	VB_TIER_NVME
#define Z	VB_TIER_ZERO

static const uint64_t identity[2] = { 0x1122334455667788, 0x99aabbccddeeff00 };

static struct vgpu_uapi *u;
static struct rig_exec x;

static uint64_t chunks(uint64_t n)
{
	return n * rig.chunk_bytes;
}

static uint32_t device_state(void)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };

	assert_rc(vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q), 0);
	return q.out_exec_state;
}

/* ---- executors ---- */

/* Attach, no more; the state it finds. */
static uint32_t attach(struct rig_exec *e)
{
	struct vb_ioc_exec_attach cmd = { .size = sizeof(cmd) };

	memset(e, 0, sizeof(*e));
	assert_rc(rig_exec_node(&rig, &e->node), 0);
	assert_rc(vgpu_uapi_call(e->node, VB_IOC_EXEC_ATTACH, &cmd), 0);
	e->generation = cmd.out_generation;
	assert_rc(e->node->ops->map(e->node, VB_MMAP_SUBMIT, VB_MMAP_SUBMIT_BYTES, false,
				    &e->submit), 0);
	return cmd.out_state;
}

static uint32_t arena(struct rig_exec *e, uint32_t tier)
{
	struct vb_ioc_arena_create cmd = {
		.size = sizeof(cmd), .tier = tier, .numa_node = -1, .slots = SLOTS,
	};

	if (tier == N)
		memcpy(cmd.identity, identity, sizeof(identity));
	assert_rc(vgpu_uapi_call(e->node, VB_IOC_ARENA_CREATE, &cmd), 0);
	return cmd.out_arena;
}

static void map_region(struct rig_exec *e, uint64_t offset)
{
	e->bytes = chunks(SLOTS);
	assert_rc(e->node->ops->map(e->node, offset, e->bytes, true, (void **)&e->memory), 0);
}

/* The first executor of a test. */
static void begin(struct rig_exec *e)
{
	struct vb_ioc_region region = { .size = sizeof(region), .slots = SLOTS };

	assert_int_equal(attach(e), VB_EXEC_LIVE);
	e->host = region.arena = arena(e, H);
	e->device = arena(e, D);
	e->nvme = arena(e, N);
	assert_rc(vgpu_uapi_call(e->node, VB_IOC_REGION_ADD, &region), 0);
	map_region(e, region.out_mmap_offset);
}

static int adopt(struct rig_exec *e, uint32_t number, uint32_t flags, const uint64_t *id)
{
	struct vb_ioc_arena_adopt cmd = { .size = sizeof(cmd), .arena = number, .flags = flags };

	if (id)
		memcpy(cmd.identity, id, sizeof(cmd.identity));
	return vgpu_uapi_call(e->node, VB_IOC_ARENA_ADOPT, &cmd);
}

/* The host arena of @before is adopted: its memory. */
static void map_adopted(struct rig_exec *e, uint32_t number)
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
static void succeed(struct rig_exec *e)
{
	const struct rig_exec before = *e;

	assert_int_equal(attach(e), VB_EXEC_RECOVERING);
	assert_rc(adopt(e, before.host, 0, NULL), 0);
	map_adopted(e, before.host);
	assert_rc(adopt(e, before.nvme, 0, identity), 0);
	e->nvme = before.nvme;
}

/* What it was remains to be read, for whoever succeeds. */
static void die(struct rig_exec *e)
{
	const struct rig_exec before = *e;

	rig_exec_close(e);
	e->host = before.host;
	e->nvme = before.nvme;
	e->generation = before.generation;
}

static void die_and_succeed(struct rig_exec *e)
{
	die(e);
	succeed(e);
	assert_rc(rig_recover(e, 0), 0);
}

static uint32_t object_after(uint32_t id)
{
	struct vb_ioc_object_next cmd = { .size = sizeof(cmd), .object = id };

	return vgpu_uapi_call(x.node, VB_IOC_OBJECT_NEXT, &cmd) ? 0 : cmd.out_object;
}

/* An object with the ids that client and executor know. */
static uint32_t new_object(uint64_t count, uint32_t *out_bo)
{
	uint32_t id = 0, next;

	assert_rc(rig_bo(u, chunks(count), VB_LIFE_VOLATILE, out_bo), 0);
	while ((next = object_after(id + 1)))
		id = next;
	assert_int_not_equal(id, 0);
	return id;
}

static void copy(uint32_t object, uint32_t chunk, uint8_t from, uint8_t to)
{
	assert_rc(rig_step(&x, object, chunk, VB_MOVE_BEGIN, from, to), 0);
	assert_rc(rig_step(&x, object, chunk, VB_MOVE_COMMIT, from, to), 0);
}

static uint64_t used_bytes(uint32_t tier)
{
	struct vb_ioc_query_tier q;

	assert_rc(rig_tier(u, tier, &q), 0);
	return q.out_used_bytes;
}

static void write_pattern(uint32_t bo, uint64_t bytes, uint8_t salt)
{
	uint8_t *p = malloc(bytes);

	for (uint64_t i = 0; i < bytes; i++)
		p[i] = rig_pattern(i) ^ salt;
	assert_rc(rig_write(u, bo, 0, p, bytes), 0);
	free(p);
}

static void check_pattern(uint32_t bo, uint64_t bytes, uint8_t salt)
{
	uint8_t *p = malloc(bytes);

	assert_rc(rig_read(u, bo, 0, p, bytes), 0);
	for (uint64_t i = 0; i < bytes; i++)
		assert_int_equal(p[i], rig_pattern(i) ^ salt);
	free(p);
}

static int setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	machine_set_ms("recovery_ms", 20000);
	begin(&x);
	return rc;
}

/* With the last client goes what is kept for clients. */
static int teardown(void **state)
{
	rig_exec_close(&x);
	machine_set_ms("recovery_ms", 0);
	return selftest_teardown(state);
}

/* ---- what stays ---- */

static void resident_content_stays_and_is_used_meanwhile(void **state)
{
	uint32_t bo, id = new_object(3, &bo);

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		copy(id, i, Z, H);
	write_pattern(bo, chunks(3), 0);
	die(&x);
	assert_int_equal(device_state(), VB_EXEC_QUIESCED);
	check_pattern(bo, chunks(3), 0);
	write_pattern(bo, chunks(3), 0x5a);
	succeed(&x);
	assert_int_equal(device_state(), VB_EXEC_RECOVERING);
	assert_rc(rig_recover(&x, 0), 0);
	assert_int_equal(device_state(), VB_EXEC_LIVE);
	check_pattern(bo, chunks(3), 0x5a);
	assert_int_equal(object_after(id), id);
	/* Its counts are right: it can be taken away. */
	copy(id, 0, H, N);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	assert_int_equal(used_bytes(H), chunks(2));
}

static int slot_query(uint32_t slot, uint32_t *out_object, uint32_t *out_chunk)
{
	struct vb_ioc_slot_query cmd = { .size = sizeof(cmd), .arena = x.host, .slot = slot };
	int rc = vgpu_uapi_call(x.node, VB_IOC_SLOT_QUERY, &cmd);

	*out_object = cmd.out_object;
	*out_chunk = cmd.out_chunk;
	return rc;
}

/* However large the object is: @chunk of @object is in one slot, nothing is in the others. */
static void expect_one_slot(uint32_t object, uint32_t chunk)
{
	unsigned int found = 0;
	uint32_t id, at;

	for (uint32_t i = 0; i < SLOTS; i++) {
		assert_rc(slot_query(i, &id, &at), 0);
		assert_true(!id || (id == object && at == chunk));
		found += !!id;
	}
	assert_int_equal(found, 1);
	assert_rc(slot_query(SLOTS, &id, &at), -ENOENT);
}

#define LARGE	(1u << 24)	/* chunks, of which the table has 512 MiB, in 2^17 pages */

/* An object that is far larger than all memory: a sparse file. */
static uint32_t large_bo(void)
{
	int fd = rig_file(&rig, 0);
	uint32_t bo;

	assert_rc(ftruncate(fd, (off_t)chunks(LARGE)), 0);
	assert_rc(rig_bo_file(u, fd, 0, chunks(LARGE), &bo), 0);
	close(fd);
	return bo;
}

static uint32_t new_large_object(void)
{
	large_bo();
	return object_after(1);
}

static void slots_tell_a_successor_what_is_in_them(void **state)
{
	uint32_t id = new_large_object(), before, other, at;

	(void)state;
	copy(id, LARGE - 1, VB_TIER_SOURCE, H);
	expect_one_slot(id, LARGE - 1);
	die(&x);
	before = x.host;
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
	x.host = before;
	assert_rc(slot_query(0, &other, &at), -ENOENT);
	assert_rc(adopt(&x, before, 0, NULL), 0);
	map_adopted(&x, before);
	assert_rc(rig_recover(&x, 0), 0);
	expect_one_slot(id, LARGE - 1);
}

/* Of the table of an object; and its bytes. */
static const struct vb_table_entry *map_table(uint32_t id, uint64_t *bytes)
{
	struct vb_ioc_object_open o = { .size = sizeof(o), .object = id };
	void *p;

	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_OPEN, &o), 0);
	if (o.out_fd >= 0)
		close(o.out_fd);
	*bytes = (uint64_t)o.out_chunks * sizeof(struct vb_table_entry);
	assert_rc(x.node->ops->map(x.node, o.out_table_mmap, *bytes, false, &p), 0);
	return p;
}

static uint64_t free_bytes(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemFree: %llu", &kib) == 1)
			break;
	fclose(f);
	assert_true(kib);
	return (uint64_t)kib << 10;
}

static void to_look_at_a_table_costs_no_memory(void **state)
{
	uint32_t id = new_large_object();
	const struct vb_table_entry *e;
	uint64_t bytes, before;

	(void)state;
	e = map_table(id, &bytes);
	before = free_bytes();
	for (uint32_t i = 0; i < LARGE / 4; i += 64)
		assert_true(!e[i].valid && !e[i].busy);
	assert_true(free_bytes() + (32u << 20) > before);
	/* What comes where it was looked at is seen; and what is beside it. */
	for (uint32_t i = 0; i < 3; i++) {
		copy(id, i * (LARGE / 12), VB_TIER_SOURCE, H);
		assert_int_equal(e[i * (LARGE / 12)].valid, 1u << H);
		assert_int_equal(e[i * (LARGE / 12) + 1].valid, 0);
	}
	munmap((void *)e, bytes);
}

/* ---- the executor that people run ---- */

static int setup_real(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	machine_set_ms("recovery_ms", 20000);
	return rc;
}

static int teardown_real(void **state)
{
	machine_set_ms("recovery_ms", 0);
	return selftest_teardown(state);
}

static int open_successor(void)
{
	struct vgpu_exec_params p = {
		.chunk_bytes = rig.chunk_bytes, .threads = 2, .host_bytes = chunks(REAL_SLOTS),
	};
	struct vgpu_uapi *node;
	char text[512];
	int rc = rig_exec_node(&rig, &node);

	return rc ? rc : vgpu_exec_open(node, &p, text, sizeof(text), &rig.real);
}

static long faults(void)
{
	struct rusage r;

	assert_int_equal(getrusage(RUSAGE_SELF, &r), 0);
	return r.ru_minflt;
}

/* It would fault in each page of the table. */
static void executor_adopts_slots_however_large_objects_are(void **state)
{
	uint64_t last = chunks(LARGE - 1);
	uint32_t bo = large_bo();
	long before;
	void *p;

	(void)state;
	assert_rc(rig_map(u, bo, last, 1, VB_MAP_READ, &p), 0);
	vgpu_exec_close(rig.real);
	rig.real = NULL;
	before = faults();
	assert_rc(open_successor(), 0);
	assert_in_range(faults() - before, 0, 1 << 16);
	assert_true(rig_residency(u, bo, LARGE - 1) & 1u << H);
	/* It knows what it has: it can take it away. */
	assert_rc(rig_unmap(u, bo, last, 1, VB_MAP_READ), 0);
	assert_rc(rig_advise(u, bo, VB_ADVISE_EVICT, 0, chunks(LARGE)), 0);
	for (int i = 0; rig_residency(u, bo, LARGE - 1) && i < 5000; i++)
		usleep(1000);
	assert_int_equal(rig_residency(u, bo, LARGE - 1), 0);
}

static void nothing_is_fetched_or_moved_before_the_recovery_ends(void **state)
{
	struct vb_ioc_fetch req;
	uint32_t bo, id = new_object(1, &bo);

	(void)state;
	die(&x);
	succeed(&x);
	assert_rc(rig_fetch(&x, &req), -EPERM);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, Z, H), -EPERM);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	assert_rc(rig_recover(&x, 0), -EPERM);
	copy(id, 0, Z, H);
}

/* What is damaged is gone before clients have it again. */
static void a_copy_is_dropped_before_the_recovery_ends(void **state)
{
	uint32_t bo, id = new_object(2, &bo), word = 0xfeedbeef, got = 0;

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_write(u, bo, 0, &word, 4), 0);
	copy(id, 0, H, N);
	die(&x);
	succeed(&x);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_RECORD, H, H), -EPERM);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), -EINVAL);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, N, N), -EBUSY);
	assert_int_equal(used_bytes(H), 0);
	assert_rc(rig_recover(&x, 0), 0);
	copy(id, 0, N, H);
	assert_rc(rig_read(u, bo, 0, &got, 4), 0);
	assert_int_equal(got, word);
}

static void nvme_content_stays_with_its_identity(void **state)
{
	uint32_t bo, id = new_object(1, &bo), word = 0xfeedbeef, got = 0;

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_write(u, bo, 0, &word, 4), 0);
	copy(id, 0, H, N);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	die_and_succeed(&x);
	assert_int_equal(rig_residency(u, bo, 0), 1u << N);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, N, H), 0);
	memcpy(x.memory + chunks(SLOTS - 1), &word, 4);	/* slots are taken from the top */
	assert_rc(rig_step(&x, id, 0, VB_MOVE_COMMIT, N, H), 0);
	assert_rc(rig_read(u, bo, 0, &got, 4), 0);
	assert_int_equal(got, word);
}

/* ---- what is undone ---- */

static void moves_under_way_are_undone(void **state)
{
	uint32_t bo, id = new_object(2, &bo), word = 7, old;

	(void)state;
	copy(id, 1, Z, H);
	assert_rc(rig_write(u, bo, chunks(1), &word, 4), 0);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, Z, H), 0);
	assert_rc(rig_step(&x, id, 1, VB_MOVE_BEGIN, H, N), 0);
	assert_int_equal(used_bytes(H), chunks(2));
	die(&x);
	assert_int_equal(rig_residency(u, bo, 0), 0);
	assert_int_equal(rig_residency(u, bo, 1), 1u << H | 1u << 3);
	assert_int_equal(used_bytes(H), chunks(1));
	assert_int_equal(used_bytes(N), 0);
	old = x.generation;
	succeed(&x);
	assert_int_not_equal(x.generation, old);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_COMMIT, Z, H), -EINVAL);
	copy(id, 0, Z, H);
	copy(id, 1, H, N);
}

static void old_generations_are_estale(void **state)
{
	uint32_t queue, bo, id = new_object(1, &bo);
	struct vb_ioc_fetch req, again;
	struct rig_stream s;
	struct rig_exec old;

	(void)state;
	assert_rc(rig_queue(u, 0, &queue), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	die(&x);
	old = x;
	succeed(&x);
	old.node = x.node;
	assert_rc(rig_recover(&old, 0), -ESTALE);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_fetch(&x, &again), 0);
	assert_int_equal(again.out_seqno, req.out_seqno);
	assert_rc(rig_commit(&old, again.out_tag, 0), -ESTALE);
	assert_rc(rig_commit(&x, req.out_tag, 0), -ESTALE);
	assert_rc(rig_step(&old, id, 0, VB_MOVE_BEGIN, Z, H), -ESTALE);
	assert_rc(rig_wait(u, queue, 1, 0), -ETIME);
	assert_rc(rig_commit(&x, again.out_tag, 0), 0);
	assert_rc(rig_wait(u, queue, 1, 1000), 0);
}

/* ---- what waits ---- */

struct reader {
	pthread_t thread;
	uint32_t bo, word;
	int rc;
};

static void *read_word(void *arg)
{
	struct reader *r = arg;

	r->rc = rig_read(u, r->bo, 0, &r->word, 4);
	return NULL;
}

static void start_reader(struct reader *r, uint32_t bo)
{
	*r = (struct reader){ .bo = bo };
	assert_int_equal(pthread_create(&r->thread, NULL, read_word, r), 0);
}

/* A chunk that is touched and on NVMe: to read it takes an executor. */
static uint32_t absent_object(uint32_t *out_bo)
{
	uint32_t id = new_object(1, out_bo), word = 0xabcd;

	copy(id, 0, Z, H);
	assert_rc(rig_write(u, *out_bo, 0, &word, 4), 0);
	copy(id, 0, H, N);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	return id;
}

static void serve_page_in(uint32_t id, uint32_t word)
{
	struct vb_ioc_fetch req;
	int rc;

	while ((rc = rig_fetch(&x, &req)) == -EAGAIN)
		usleep(1000);
	assert_rc(rc, 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	assert_int_equal(req.out_object, id);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, N, H), 0);
	for (uint32_t i = 0; i < SLOTS; i++)
		memcpy(x.memory + chunks(i), &word, 4);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_COMMIT, N, H), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
}

static void requests_wait_for_the_successor(void **state)
{
	struct vb_ioc_fetch req;
	struct reader fetched, later;
	uint32_t a, b, a_id = absent_object(&a), b_id = absent_object(&b);

	(void)state;
	start_reader(&fetched, a);
	while (rig_fetch(&x, &req) == -EAGAIN)
		usleep(1000);
	die(&x);
	start_reader(&later, b);
	usleep(50000);
	succeed(&x);
	assert_rc(rig_recover(&x, 0), 0);
	serve_page_in(a_id, 11);
	pthread_join(fetched.thread, NULL);
	assert_rc(fetched.rc, 0);
	assert_int_equal(fetched.word, 11);
	assert_rc(rig_step(&x, a_id, 0, VB_MOVE_DROP, H, H), 0);
	serve_page_in(b_id, 22);
	pthread_join(later.thread, NULL);
	assert_rc(later.rc, 0);
	assert_int_equal(later.word, 22);
}

static bool is_reading(const struct reader *r)
{
	return pthread_tryjoin_np(r->thread, NULL) == EBUSY;
}

static int use(unsigned long request, uint32_t bo, uint64_t deadline_ns)
{
	uint32_t word = 0;
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bo_id = bo, .bytes = 4,
				   .address = (uintptr_t)&word, .deadline_ns = deadline_ns };

	return vgpu_uapi_call(u, request, &rw);
}

static int map_until(uint32_t bo, uint64_t deadline_ns)
{
	struct vb_ioc_bo_map map = { .size = sizeof(map), .bo_id = bo, .flags = VB_MAP_READ,
				     .bytes = chunks(1), .deadline_ns = deadline_ns };

	return vgpu_uapi_call(u, VB_IOC_BO_MAP, &map);
}

/* Whatever is in host memory, the dead one may have written it last. */
static void what_is_damaged_is_not_used_before_it_is_dropped(void **state)
{
	uint32_t bo, id = absent_object(&bo);
	struct reader r;

	(void)state;
	copy(id, 0, N, H);
	die(&x);
	succeed(&x);
	memset(x.memory, 0xdb, chunks(SLOTS));
	start_reader(&r, bo);
	assert_rc(use(VB_IOC_BO_READ, bo, rig_now() + 50000000), -ETIME);
	assert_rc(use(VB_IOC_BO_WRITE, bo, rig_now() + 50000000), -ETIME);
	assert_rc(map_until(bo, rig_now() + 50000000), -ETIME);
	assert_true(is_reading(&r));
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	assert_rc(rig_recover(&x, 0), 0);
	serve_page_in(id, 77);
	pthread_join(r.thread, NULL);
	assert_rc(r.rc, 0);
	assert_int_equal(r.word, 77);
}

/* Nobody waits for a successor that is none: what was promised holds for the next one. */
static void who_waits_for_a_successor_that_dies_is_served(void **state)
{
	uint32_t bo, id = absent_object(&bo);
	struct reader r;

	(void)state;
	copy(id, 0, N, H);
	for (uint32_t i = 0; i < SLOTS; i++)
		memcpy(x.memory + chunks(i), &(uint32_t){ 78 }, 4);
	die(&x);
	succeed(&x);
	start_reader(&r, bo);
	usleep(50000);
	assert_true(is_reading(&r));
	die(&x);
	pthread_join(r.thread, NULL);
	assert_rc(r.rc, 0);
	assert_int_equal(r.word, 78);
	succeed(&x);
	assert_rc(rig_recover(&x, 0), 0);
}

static void submit_one(uint32_t queue, uint32_t bo, uint32_t access)
{
	struct rig_stream s;

	rig_stream(&s);
	rig_add_nop(&s);
	if (bo)
		rig_add_bo(&s, bo, access);
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
}

/* Submitted, fetched, and its executor gone; the queue. */
static uint32_t interrupted(uint32_t bo, uint32_t access)
{
	struct vb_ioc_fetch req;
	uint32_t queue;

	assert_rc(rig_queue(u, 0, &queue), 0);
	submit_one(queue, bo, access);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SUBMIT);
	return queue;
}

static void run_next(void)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SUBMIT);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
}

static void what_was_fetched_is_run_again_where_that_is_safe(void **state)
{
	uint32_t bo, id = new_object(1, &bo), reads, discards, writes;
	struct vb_ioc_fetch req;

	(void)state;
	copy(id, 0, Z, H);
	reads = interrupted(bo, VB_ACCESS_READ);
	discards = interrupted(bo, VB_ACCESS_READ | VB_ACCESS_WRITE | VB_ACCESS_DISCARD);
	writes = interrupted(bo, VB_ACCESS_WRITE);
	submit_one(writes, 0, 0);
	die(&x);
	assert_rc(rig_wait(u, writes, 1, 0), -EIO);
	assert_rc(rig_wait(u, reads, 1, 0), -ETIME);
	assert_rc(rig_wait(u, discards, 1, 0), -ETIME);
	succeed(&x);
	assert_rc(rig_recover(&x, 0), 0);
	for (int i = 0; i < 3; i++)
		run_next();
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	assert_rc(rig_wait(u, reads, 1, 0), 0);
	assert_rc(rig_wait(u, discards, 1, 0), 0);
	assert_rc(rig_wait(u, writes, 2, 0), 0);
}

static void what_was_queued_waits_and_new_work_is_taken(void **state)
{
	uint32_t queue;

	(void)state;
	assert_rc(rig_queue(u, 0, &queue), 0);
	submit_one(queue, 0, 0);
	die(&x);
	submit_one(queue, 0, 0);
	assert_rc(rig_wait(u, queue, 1, 100), -ETIME);
	succeed(&x);
	submit_one(queue, 0, 0);
	assert_rc(rig_wait(u, queue, 1, 100), -ETIME);
	assert_rc(rig_recover(&x, 0), 0);
	for (int i = 0; i < 3; i++)
		run_next();
	assert_rc(rig_wait(u, queue, 3, 0), 0);
}

static void a_submission_that_kills_every_executor_ends(void **state)
{
	uint32_t queue = interrupted(0, 0);
	struct vb_ioc_fetch req;
	int deaths = 1;

	(void)state;
	for (die_and_succeed(&x); !rig_fetch(&x, &req) && deaths < 100; die_and_succeed(&x))
		deaths++;
	assert_int_equal(deaths, 16);
	assert_rc(rig_wait(u, queue, 1, 0), -EIO);
}

/* ---- what is lost ---- */

static void what_only_a_device_had_is_lost(void **state)
{
	uint32_t bo, id = new_object(1, &bo), other, other_id = new_object(1, &other), queue, word;

	(void)state;
	copy(id, 0, Z, H);
	copy(id, 0, H, D);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_WRITE, D, D), 0);
	assert_int_equal(rig_residency(u, bo, 0), 1u << D | 1u << 3);
	copy(other_id, 0, Z, H);
	copy(other_id, 0, H, D);
	queue = interrupted(bo, VB_ACCESS_READ);
	die(&x);
	assert_int_equal(rig_residency(u, bo, 0), 1u << 6);
	assert_int_equal(rig_residency(u, other, 0), 1u << H);
	assert_rc(rig_wait(u, queue, 1, 0), -EIO);
	assert_rc(rig_read(u, bo, 0, &word, 4), -EIO);
	succeed(&x);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_read(u, bo, 0, &word, 4), -EIO);
	assert_rc(rig_read(u, other, 0, &word, 4), 0);
	/* The arena's number is free for the next device. */
	assert_int_equal(arena(&x, D), 1);
}

static void another_identity_has_lost_the_nvme_content(void **state)
{
	const uint64_t wrong[2] = { identity[0], identity[1] + 1 };
	const struct rig_exec before = x;
	uint32_t bo, word, queue;

	(void)state;
	absent_object(&bo);
	queue = interrupted(bo, VB_ACCESS_READ);
	die(&x);
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
	assert_rc(adopt(&x, before.host, 0, NULL), 0);
	assert_rc(adopt(&x, before.nvme, 0, wrong), -ESTALE);
	assert_rc(adopt(&x, before.nvme, 0, NULL), -ESTALE);
	assert_rc(adopt(&x, before.device, 0, NULL), -ENOENT);
	assert_rc(adopt(&x, 77, 0, NULL), -ENOENT);
	assert_rc(rig_wait(u, queue, 1, 0), -ETIME);
	assert_rc(rig_recover(&x, 0), 0);
	assert_int_equal(rig_residency(u, bo, 0), 1u << 6);
	assert_rc(rig_wait(u, queue, 1, 0), -EIO);
	assert_rc(rig_read(u, bo, 0, &word, 4), -EIO);
}

static void host_memory_that_is_not_adopted_is_lost(void **state)
{
	uint32_t bo, id = new_object(1, &bo), word = 9;

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_write(u, bo, 0, &word, 4), 0);
	die(&x);
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_read(u, bo, 0, &word, 4), -EIO);
	assert_int_equal(used_bytes(H), 0);
}

static void who_begins_anew_ends_all_that_waits(void **state)
{
	uint32_t bo, queue = interrupted(0, 0);
	struct vb_ioc_fetch req;
	struct reader r;

	(void)state;
	absent_object(&bo);
	start_reader(&r, bo);
	while (rig_fetch(&x, &req) == -EAGAIN)
		usleep(1000);
	die(&x);
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
	assert_rc(rig_recover(&x, VB_RECOVER_DISCARD), 0);
	pthread_join(r.thread, NULL);
	assert_rc(r.rc, -ENODEV);
	assert_rc(rig_wait(u, queue, 1, 0), -ENODEV);
	assert_int_equal(arena(&x, H), 0);
}

/* What is wrong with the answers of one who makes arenas until he is told to stop. */
static void *make_arenas(void *stop)
{
	const char *wrong = NULL;

	while (!atomic_load((atomic_bool *)stop)) {
		struct vb_ioc_arena_create cmd = {
			.size = sizeof(cmd), .tier = D, .numa_node = -1, .slots = SLOTS,
		};
		int rc = vgpu_uapi_call(x.node, VB_IOC_ARENA_CREATE, &cmd);

		if (rc && rc != -EDQUOT)
			wrong = "an arena is refused";
		else if (!rc && (cmd.out_cpu_path != VB_CPU_MIGRATE ||
				 cmd.out_cpu_reason != -EOPNOTSUPP))
			wrong = "an arena of the executor's memory is another one's";
	}
	return (void *)wrong;
}

/* Two threads of a successor do not agree; a checker of memory sees what outlives its arena. */
static void arenas_may_go_while_they_are_made(void **state)
{
	atomic_bool stop;
	pthread_t thread;
	void *wrong;

	(void)state;
	for (uint32_t i = 0; i < 300; i++) {
		die(&x);
		assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
		atomic_init(&stop, false);
		assert_int_equal(pthread_create(&thread, NULL, make_arenas, &stop), 0);
		usleep(i % 30 * 20);
		assert_rc(rig_recover(&x, VB_RECOVER_DISCARD), 0);
		atomic_store(&stop, true);
		pthread_join(thread, &wrong);
		if (wrong)
			fail_msg("%s", (const char *)wrong);
	}
}

/* ---- nobody comes ---- */

static void without_a_successor_all_ends_with_enodev(void **state)
{
	uint32_t bo, queue, word;
	uint64_t start = rig_now();
	struct reader r;
	int rc;

	(void)state;
	machine_set_ms("recovery_ms", 700);
	absent_object(&bo);
	assert_rc(rig_queue(u, 0, &queue), 0);
	submit_one(queue, 0, 0);
	start_reader(&r, bo);
	die(&x);
	pthread_join(r.thread, NULL);
	assert_rc(r.rc, -ENODEV);
	assert_true(rig_now() - start >= 600000000ull);
	assert_rc(rig_wait(u, queue, 1, 1000), -ENODEV);
	assert_int_equal(device_state(), VB_EXEC_FAILED);
	/* Who waits is told before the last object is known to be lost. */
	while ((rc = rig_read(u, bo, 0, &word, 4)) == -ENODEV && rig_now() - start < 10000000000ull)
		usleep(1000);
	assert_rc(rc, -EIO);
	assert_int_equal(attach(&x), VB_EXEC_LIVE);
}

static void successors_that_die_do_not_prolong_the_wait(void **state)
{
	struct reader r;
	uint32_t bo;
	int deaths = 0;

	(void)state;
	machine_set_ms("recovery_ms", 1500);
	absent_object(&bo);
	start_reader(&r, bo);
	die(&x);
	while (device_state() == VB_EXEC_QUIESCED && deaths < 1000) {
		if (attach(&x) == VB_EXEC_RECOVERING)
			deaths++;
		usleep(20000);
		rig_exec_close(&x);
	}
	pthread_join(r.thread, NULL);
	assert_rc(r.rc, -ENODEV);
	assert_in_range(deaths, 1, 500);
}

/* A fence, a copy, a fault, a copy of the kernel's that faults. */
#define WAITS	4

static void wait_in_one_way(uint32_t way, uint32_t queue, uint32_t bo, const uint8_t *mapped)
{
	uint32_t word;
	int fds[2];

	switch (way) {
	case 0:
		rig_wait(u, queue, 1, RIG_FOREVER);
		break;
	case 1:
		rig_read(u, bo, 0, &word, 4);
		break;
	case 2:
		(void)*(const volatile uint8_t *)mapped;
		break;
	default:
		if (!pipe(fds))
			(void)!write(fds[1], mapped, 1);
	}
	_exit(0);
}

static void waits_end_with_their_process(void **state)
{
	uint32_t queue, bo;
	pid_t pid[WAITS];
	uint8_t *p;
	int status;

	(void)state;
	absent_object(&bo);
	assert_rc(u->ops->map(u, (uint64_t)bo << 46, chunks(1), false, (void **)&p), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	submit_one(queue, 0, 0);
	die(&x);
	for (uint32_t i = 0; i < WAITS; i++) {
		pid[i] = fork();
		if (!pid[i])
			wait_in_one_way(i, queue, bo, p);
	}
	munmap(p, chunks(1));
	usleep(300000);
	for (uint32_t i = 0; i < WAITS; i++) {
		assert_int_equal(waitpid(pid[i], &status, WNOHANG), 0);
		kill(pid[i], SIGKILL);
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFSIGNALED(status));
	}
	succeed(&x);
}

/* ---- clients meanwhile ---- */

static void objects_destroyed_meanwhile_are_gone_at_once(void **state)
{
	struct vb_ioc_fetch req;
	uint32_t bo, id = new_object(2, &bo);

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_step(&x, id, 1, VB_MOVE_BEGIN, Z, H), 0);
	die(&x);
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_int_equal(used_bytes(H), 0);
	succeed(&x);
	assert_int_equal(object_after(1), 0);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
}

static void an_object_being_forgotten_is_gone_too(void **state)
{
	struct vb_ioc_fetch req;
	uint32_t bo, id = new_object(1, &bo);

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_FORGET);
	die_and_succeed(&x);
	assert_int_equal(used_bytes(H), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
}

static void clients_that_die_meanwhile_leave_nothing(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	uint32_t bo, id, queue;
	struct rig_stream s;

	(void)state;
	assert_rc(rig_bo(other, chunks(2), VB_LIFE_VOLATILE, &bo), 0);
	id = object_after(1);
	copy(id, 0, Z, H);
	copy(id, 1, Z, H);
	assert_rc(rig_queue(other, 0, &queue), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(other, queue, &s, NULL), 0);
	die(&x);
	rig_client_close(other);
	assert_int_equal(used_bytes(H), 0);
	succeed(&x);
	assert_int_equal(object_after(1), 0);
}

/* An object without a client is no reason to keep memory until recovery_ms. */
static void nothing_is_kept_for_objects_to_be_forgotten(void **state)
{
	uint32_t bo, id = new_object(1, &bo);

	(void)state;
	copy(id, 0, Z, H);
	rig_client_close(rig.client);
	die(&x);
	u = rig.client = rig_client(&rig);
	assert_int_equal(device_state(), VB_EXEC_FAILED);
	begin(&x);
	assert_int_equal(x.host, 0);
}

/* Nor for one that only a hint is about. */
static void nothing_is_kept_for_hints(void **state)
{
	uint32_t bo, id = new_object(1, &bo);

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	die(&x);
	/* Nobody is there to take it; that it was given is no error. */
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	rig_client_close(rig.client);
	u = rig.client = rig_client(&rig);
	assert_int_equal(device_state(), VB_EXEC_FAILED);
	begin(&x);
	assert_int_equal(x.host, 0);
}

static int exported(uint32_t bo)
{
	struct vb_ioc_bo_export cmd = { .size = sizeof(cmd), .bo_id = bo };

	assert_rc(vgpu_uapi_call(u, VB_IOC_BO_EXPORT, &cmd), 0);
	return cmd.out_fd;
}

/* Nor for one whose last user was not its client. */
static void nothing_is_kept_when_an_exported_object_has_gone(void **state)
{
	uint32_t bo, id = new_object(1, &bo);
	int fd = exported(bo);

	(void)state;
	copy(id, 0, Z, H);
	die(&x);
	rig_client_close(rig.client);
	u = rig.client = rig_client(&rig);
	assert_int_equal(device_state(), VB_EXEC_QUIESCED);
	rig_client_close(rig.client);
	close(fd);
	u = rig.client = rig_client(&rig);
	assert_int_equal(device_state(), VB_EXEC_FAILED);
	begin(&x);
	assert_int_equal(x.host, 0);
}

static void nobody_unloads_the_module_while_a_client_waits(void **state)
{
	(void)state;
	die(&x);
	assert_int_equal(syscall(SYS_delete_module, "vblackwell", O_NONBLOCK), -1);
	assert_true(errno == EWOULDBLOCK || errno == EBUSY);
	assert_int_equal(device_state(), VB_EXEC_QUIESCED);
	succeed(&x);
}

/* ---- memory to which others refer ---- */

/* A pipe that refers to a page of each of some slots, as I/O does. */
static void lend(int fd, char *memory, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		struct iovec iov = { memory + chunks(i), 4096 };

		assert_int_equal(vmsplice(fd, &iov, 1, 0), 4096);
	}
}

static void take_back(int fd, uint32_t count, uint8_t expected)
{
	uint8_t page[4096];

	while (count--) {
		assert_int_equal(read(fd, page, sizeof(page)), sizeof(page));
		assert_int_equal(page[0], expected);
		assert_int_equal(page[4095], expected);
	}
}

/*
 * The executor dies while a pipe refers to @count slots of its: to the one that it fills,
 * which is the last, and to others, which are free.  Another one attaches.
 */
static void die_lending(uint32_t id, uint32_t count, int fds[2])
{
	assert_int_equal(pipe(fds), 0);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, Z, H), 0);
	memset(x.memory, 0x11, x.bytes);
	lend(fds[1], x.memory, 0, count - 1);
	lend(fds[1], x.memory, SLOTS - 1, 1);
	die(&x);
	assert_int_equal(used_bytes(H), chunks(count));
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
}

static void slots_lent_by_the_dead_are_kept_until_they_return(void **state)
{
	uint32_t bo, id = new_object(1, &bo);
	const struct rig_exec before = x;
	int fds[2];

	(void)state;
	die_lending(id, 2, fds);
	assert_rc(adopt(&x, before.host, 0, NULL), -EBUSY);
	assert_rc(adopt(&x, before.nvme, 0, identity), -EBUSY);
	take_back(fds[0], 2, 0x11);
	assert_rc(adopt(&x, before.host, 0, NULL), 0);
	assert_rc(adopt(&x, before.nvme, 0, identity), 0);
	assert_int_equal(used_bytes(H), 0);
	close(fds[0]);
	close(fds[1]);
}

static void slots_lent_by_the_dead_get_new_memory_where_it_must_be(void **state)
{
	uint32_t bo, id = new_object(SLOTS, &bo);
	const struct rig_exec before = x;
	int fds[2];

	(void)state;
	die_lending(id, SLOTS, fds);
	assert_rc(adopt(&x, before.host, VB_ADOPT_FORCE, NULL), 0);
	map_adopted(&x, before.host);
	assert_rc(rig_recover(&x, 0), 0);
	for (uint32_t i = 0; i < SLOTS; i++)
		copy(id, i, Z, H);
	memset(x.memory, 0x22, x.bytes);
	/* The dead still have what they had, and nobody else has it. */
	take_back(fds[0], SLOTS, 0x11);
	close(fds[0]);
	close(fds[1]);
}

static void what_the_successor_registers_is_no_pin_and_what_clients_pin_is(void **state)
{
	uint32_t bo, id = new_object(1, &bo);
	int own[2], theirs[2];
	void *p;

	(void)state;
	assert_int_equal(pipe(own), 0);
	assert_int_equal(pipe(theirs), 0);
	copy(id, 0, Z, H);
	write_pattern(bo, 4096, 0);
	die(&x);
	succeed(&x);
	lend(own[1], x.memory, 0, SLOTS);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(u->ops->map(u, (uint64_t)bo << 46, chunks(1), true, &p), 0);
	memset(p, 0x33, 4096);
	lend(theirs[1], p, 0, 1);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, H, N), -EBUSY);
	take_back(theirs[0], 1, 0x33);
	copy(id, 0, H, N);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	assert_int_equal(used_bytes(H), 0);
	munmap(p, chunks(1));
	for (int i = 0; i < 2; i++) {
		close(own[i]);
		close(theirs[i]);
	}
}

static void *touch(void *arg)
{
	return (void *)(uintptr_t)*(volatile uint8_t *)arg;
}

static void mappings_work_while_nobody_is_there_and_wait_while_one_adopts(void **state)
{
	uint32_t bo, id = new_object(1, &bo);
	pthread_t thread;
	uint8_t *p;
	void *got;

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(u->ops->map(u, (uint64_t)bo << 46, chunks(1), true, (void **)&p), 0);
	p[0] = 44;
	die(&x);
	p[4096] = 45;
	assert_int_equal(p[0], 44);
	succeed(&x);
	assert_int_equal(pthread_create(&thread, NULL, touch, p + 4096), 0);
	usleep(200000);
	assert_int_equal(pthread_tryjoin_np(thread, &got), EBUSY);
	assert_rc(rig_recover(&x, 0), 0);
	pthread_join(thread, &got);
	assert_int_equal((uintptr_t)got, 45);
	munmap(p, chunks(1));
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(resident_content_stays_and_is_used_meanwhile),
		CASE(slots_tell_a_successor_what_is_in_them),
		CASE(to_look_at_a_table_costs_no_memory),
		CASE(nothing_is_fetched_or_moved_before_the_recovery_ends),
		CASE(a_copy_is_dropped_before_the_recovery_ends),
		CASE(nvme_content_stays_with_its_identity),
		CASE(moves_under_way_are_undone),
		CASE(old_generations_are_estale),
		CASE(requests_wait_for_the_successor),
		CASE(what_is_damaged_is_not_used_before_it_is_dropped),
		CASE(who_waits_for_a_successor_that_dies_is_served),
		CASE(what_was_fetched_is_run_again_where_that_is_safe),
		CASE(what_was_queued_waits_and_new_work_is_taken),
		CASE(a_submission_that_kills_every_executor_ends),
		CASE(what_only_a_device_had_is_lost),
		CASE(another_identity_has_lost_the_nvme_content),
		CASE(host_memory_that_is_not_adopted_is_lost),
		CASE(who_begins_anew_ends_all_that_waits),
		CASE(arenas_may_go_while_they_are_made),
		CASE(without_a_successor_all_ends_with_enodev),
		CASE(successors_that_die_do_not_prolong_the_wait),
		CASE(waits_end_with_their_process),
		CASE(objects_destroyed_meanwhile_are_gone_at_once),
		CASE(an_object_being_forgotten_is_gone_too),
		CASE(clients_that_die_meanwhile_leave_nothing),
		CASE(nothing_is_kept_for_objects_to_be_forgotten),
		CASE(nothing_is_kept_for_hints),
		CASE(nothing_is_kept_when_an_exported_object_has_gone),
		CASE(nobody_unloads_the_module_while_a_client_waits),
		CASE(slots_lent_by_the_dead_are_kept_until_they_return),
		CASE(slots_lent_by_the_dead_get_new_memory_where_it_must_be),
		CASE(what_the_successor_registers_is_no_pin_and_what_clients_pin_is),
		CASE(mappings_work_while_nobody_is_there_and_wait_while_one_adopts),
	};
	const struct CMUnitTest real[] = {
		cmocka_unit_test_setup_teardown(executor_adopts_slots_however_large_objects_are,
						setup_real, teardown_real),
	};
	int failed = 0;

	if (!getenv("VBLACKWELL_SELFTEST_NODE")) {
		fprintf(stderr, "SKIP: recover: VBLACKWELL_SELFTEST_NODE is not set\n");
		return 0;
	}
	failed += SELFTEST_RUN("recover", tests, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("recover, executor", real, RIG_REAL, REAL_SLOTS, 0);
	return failed ? 1 : 0;
}

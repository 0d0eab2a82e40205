// SPDX-License-Identifier: MIT
/*
 * BO_READ and BO_WRITE while the caller's memory is not there, or endless: what they hold
 * meanwhile (nothing), and that they can be killed; and a mapping that goes while the kernel
 * waits for its memory.  The test is the executor.
 */
#include "selftests/selftest.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { H = VB_TIER_HOST, N = VB_TIER_NVME, Z = VB_TIER_ZERO };

static struct vgpu_uapi *u;
static struct rig_exec x;

static int setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	return rc ? rc : rig_exec_open(&rig, &x, 4);
}

static int teardown(void **state)
{
	rig_exec_close(&x);
	return selftest_teardown(state);
}

static void next_request(struct vb_ioc_fetch *req)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	while (rig_fetch(&x, req))
		nanosleep(&pause, NULL);
}

/* An object of one chunk that the executor knows. */
static uint32_t new_object(uint32_t *out_bo)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_bo(u, rig.chunk_bytes, VB_LIFE_VOLATILE, out_bo), 0);
	assert_rc(rig_advise(u, *out_bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	next_request(&req);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	return req.out_object;
}

static void move(uint32_t object, uint8_t from, uint8_t to)
{
	assert_rc(rig_step(&x, object, 0, VB_MOVE_BEGIN, from, to), 0);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_COMMIT, from, to), 0);
}

/* A copy between an object and memory that is another object, and not there. */
static struct {
	uint32_t bo, object, memory_object;
	uint8_t *memory;
	bool write;
	int rc;
} copy;

static void *copy_thread(void *arg)
{
	if (copy.write)
		copy.rc = rig_write(u, copy.bo, 0, copy.memory, 8192);
	else
		copy.rc = rig_read(u, copy.bo, 0, copy.memory, 8192);
	return arg;
}

/* Until the copy's thread asks for its memory; the chunk of the object may leave then. */
static void evict_while_it_waits(pthread_t *thread, struct vb_ioc_fetch *req)
{
	assert_int_equal(pthread_create(thread, NULL, copy_thread, NULL), 0);
	next_request(req);
	assert_int_equal(req->out_type, VB_FETCH_PAGE_IN);
	assert_int_equal(req->out_object, copy.memory_object);
	move(copy.object, H, N);
	assert_rc(rig_step(&x, copy.object, 0, VB_MOVE_DROP, H, 0), 0);
	memset(x.memory, 0, x.bytes);
	move(copy.memory_object, Z, H);
	assert_rc(rig_commit(&x, req->out_tag, 0), 0);
}

static void prepare(bool write)
{
	uint32_t bo;
	void *p;

	copy.write = write;
	copy.object = new_object(&copy.bo);
	copy.memory_object = new_object(&bo);
	move(copy.object, Z, H);
	assert_rc(rig_step(&x, copy.object, 0, VB_MOVE_WRITE, H, H), 0);
	assert_rc(u->ops->map(u, (uint64_t)bo << 46, 8192, true, &p), 0);
	copy.memory = p;
}

/* Its content is in the slot that the executor has just filled; then it may go on. */
static void bring_back(struct vb_ioc_fetch *req, uint8_t byte)
{
	struct vb_move mv = {
		.object = copy.object, .op = VB_MOVE_BEGIN, .from = N, .to = H, .arena = x.host,
		.slot = VB_SLOT_ANY,
	};

	next_request(req);
	assert_int_equal(req->out_object, copy.object);
	assert_rc(rig_move(&x, &mv), 0);
	memset(x.memory + mv.slot * rig.chunk_bytes, byte, rig.chunk_bytes);
	assert_rc(rig_step(&x, copy.object, 0, VB_MOVE_COMMIT, N, H), 0);
	assert_rc(rig_commit(&x, req->out_tag, 0), 0);
}

static void read_waits_for_its_memory_without_the_chunk(void **state)
{
	struct vb_ioc_fetch req;
	pthread_t thread;

	(void)state;
	prepare(false);
	evict_while_it_waits(&thread, &req);
	bring_back(&req, 0x5a);
	pthread_join(thread, NULL);
	assert_rc(copy.rc, 0);
	for (int i = 0; i < 8192; i++)
		assert_int_equal(copy.memory[i], 0x5a);
	munmap(copy.memory, 8192);
}

static void write_waits_for_its_memory_without_the_chunk(void **state)
{
	struct vb_ioc_fetch req;
	uint8_t got[8193];
	pthread_t thread;

	(void)state;
	prepare(true);
	evict_while_it_waits(&thread, &req);
	bring_back(&req, 0x5a);
	pthread_join(thread, NULL);
	assert_rc(copy.rc, 0);
	assert_rc(rig_read(u, copy.bo, 0, got, sizeof(got)), 0);
	for (int i = 0; i < 8192; i++)
		assert_int_equal(got[i], copy.memory[i]);
	assert_int_equal(got[8192], 0x5a);
	munmap(copy.memory, 8192);
}

static void memory_that_cannot_be_used_is_efault(void **state)
{
	uint8_t *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vb_ioc_bo_rw cmd = { .size = sizeof(cmd), .bytes = 2 * 4096 };
	uint32_t object;

	(void)state;
	assert_true(p != MAP_FAILED);
	assert_int_equal(munmap(p + 4096, 4096), 0);
	object = new_object(&cmd.bo_id);
	move(object, Z, H);
	memset(x.memory, 0x5a, x.bytes);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_WRITE, H, H), 0);
	cmd.address = (uintptr_t)p;
	assert_rc(vgpu_uapi_call(u, VB_IOC_BO_READ, &cmd), -EFAULT);
	assert_int_equal(cmd.out_done_bytes, 4096);
	assert_int_equal(p[4095], 0x5a);
	memset(p, 1, 4096);
	cmd.size = sizeof(cmd);
	assert_rc(vgpu_uapi_call(u, VB_IOC_BO_WRITE, &cmd), -EFAULT);
	assert_int_equal(cmd.out_done_bytes, 4096);
	assert_rc(rig_read(u, cmd.bo_id, 4095, p, 2), 0);
	assert_int_equal(p[0], 1);
	assert_int_equal(p[1], 0x5a);	/* behind it nothing was written */
	munmap(p, 4096);
	munmap(p + 2 * 4096, 4096);
}

/* ---- endless ---- */

#define FILE_BYTES	(64ull << 20)
#define ENDLESS_BYTES	(256ull << 30)

/* One file, mapped again and again: memory for any number of bytes. */
static uint8_t *endless_memory(void)
{
	uint8_t *p = mmap(NULL, ENDLESS_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			  -1, 0);
	int fd = memfd_create("endless", MFD_CLOEXEC);

	if (p == MAP_FAILED || ftruncate(fd, FILE_BYTES))
		return NULL;
	for (uint64_t at = 0; at < ENDLESS_BYTES; at += FILE_BYTES)
		if (mmap(p + at, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			 0) == MAP_FAILED)
			return NULL;
	close(fd);
	return p;
}

static void endless_read_ends_when_its_process_is_killed(void **state)
{
	struct vb_ioc_arena_create numbers = {
		.size = sizeof(numbers), .tier = N, .numa_node = -1,
		.slots = ENDLESS_BYTES / rig.chunk_bytes,
	};
	const struct timespec moment = { .tv_nsec = 300000000 };
	uint64_t before;
	uint32_t id;
	int status;
	pid_t pid;

	(void)state;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_ARENA_CREATE, &numbers), 0);
	assert_rc(rig_bo(u, ENDLESS_BYTES, VB_LIFE_VOLATILE, &id), 0);
	pid = fork();
	if (!pid) {
		uint8_t *p = endless_memory();

		_exit(p ? rig_read(u, id, 0, p, ENDLESS_BYTES) : 77);
	}
	nanosleep(&moment, NULL);
	before = rig_now();
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_in_range(rig_now() - before, 0, 10000000000ull);
}

/* ---- a mapping that goes while its fault waits ---- */

static struct {
	uint32_t bo;
	uint8_t *at;
	void *got;
} populate;

static void *populate_thread(void *arg)
{
	populate.got = mmap(populate.at, 8192, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED | MAP_POPULATE, u->ops->fd(u),
			    (off_t)populate.bo << 46);
	return arg;
}

/* Until the kernel waits for the first page of a mapping that it is making. */
static void populate_until_it_waits(pthread_t *thread, struct vb_ioc_fetch *req)
{
	new_object(&populate.bo);
	populate.at = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(pthread_create(thread, NULL, populate_thread, NULL), 0);
	next_request(req);
	assert_int_equal(req->out_type, VB_FETCH_PAGE_IN);
}

/* What the kernel has of a mapping it gives back some time after. */
static void let_mappings_be_freed(void)
{
	const struct timespec pause = { .tv_nsec = 300000000 };

	nanosleep(&pause, NULL);
}

static void mapping_that_goes_while_its_fault_fails_is_looked_at_no_more(void **state)
{
	struct vb_ioc_fetch req;
	pthread_t thread;

	(void)state;
	populate_until_it_waits(&thread, &req);
	munmap(populate.at, 8192);
	let_mappings_be_freed();
	assert_rc(rig_commit(&x, req.out_tag, -EIO), 0);
	pthread_join(thread, NULL);
	assert_ptr_equal(populate.got, populate.at);
}

/* The error was not that of the mapping that is there now: it has its own. */
static void mapping_in_place_of_one_that_fails_is_asked_for_anew(void **state)
{
	struct vb_ioc_fetch req;
	pthread_t thread;
	void *again;

	(void)state;
	populate_until_it_waits(&thread, &req);
	again = mmap(populate.at, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     u->ops->fd(u), (off_t)populate.bo << 46);
	assert_ptr_equal(again, populate.at);
	let_mappings_be_freed();
	assert_rc(rig_commit(&x, req.out_tag, -EIO), 0);
	next_request(&req);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	assert_rc(rig_commit(&x, req.out_tag, -EIO), 0);
	pthread_join(thread, NULL);
	assert_ptr_equal(populate.got, populate.at);
	munmap(populate.at, 8192);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(read_waits_for_its_memory_without_the_chunk),
		CASE(write_waits_for_its_memory_without_the_chunk),
		CASE(memory_that_cannot_be_used_is_efault),
		CASE(endless_read_ends_when_its_process_is_killed),
		CASE(mapping_that_goes_while_its_fault_fails_is_looked_at_no_more),
		CASE(mapping_in_place_of_one_that_fails_is_asked_for_anew),
	};

	if (!selftest_has_module("copies"))
		return 0;
	return SELFTEST_RUN("copies", tests, RIG_NONE, 0, 0) ? 1 : 0;
}

// SPDX-License-Identifier: MIT
/*
 * What only the module can do: faults that page in, I/O into mappings, processes that
 * die.  Runs in the machine of tests/vm/run.sh; the executor is the slow one of
 * tests/common or libvgpu's, a thread of this process, or the test itself.
 */
#include "selftests/client.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "vm/machine.h"

#define HOST_SLOTS	16u
#define NVME_SLOTS	32u

/* ---- faults ---- */

static void fault_reads_zero_and_keeps_what_is_written(void **state)
{
	uint32_t id;
	uint8_t *p;

	(void)state;
	assert_rc(rig_bo(u, chunks(4), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(4), true);
	for (uint64_t at = 0; at < chunks(4); at += 4096)
		assert_int_equal(p[at], 0);
	for (uint64_t at = 0; at < chunks(4); at += 4096)
		p[at] = rig_pattern(at);
	for (uint64_t at = 0; at < chunks(4); at += 4096)
		assert_int_equal(p[at], rig_pattern(at));
	munmap(p, chunks(4));
}

static void read_faults_leave_chunks_clean(void **state)
{
	struct vb_ioc_bo_info info;
	uint32_t id;
	uint8_t *p;

	(void)state;
	assert_rc(rig_bo(u, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(2), true);
	assert_int_equal(p[0] + p[chunks(1)], 0);
	assert_rc(rig_info(u, id, &info), 0);
	assert_int_equal(info.out_tier_bytes[VB_TIER_HOST], chunks(2));
	assert_int_equal(info.out_dirty_bytes, 0);
	p[chunks(1)] = 1;
	assert_rc(rig_info(u, id, &info), 0);
	assert_int_equal(info.out_dirty_bytes, chunks(1));
	munmap(p, chunks(2));
}

/* More than the arena holds: mapped chunks are taken away and come back. */
static void mapping_larger_than_the_arena_works(void **state)
{
	uint64_t n = HOST_SLOTS + 8;
	uint32_t id;
	uint64_t *p;

	(void)state;
	assert_rc(rig_bo(u, chunks(n), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(n), true);
	for (int round = 0; round < 2; round++)
		for (uint64_t i = 0; i < n; i++) {
			uint64_t *at = p + i * rig.chunk_bytes / 8;

			assert_int_equal(at[0], round ? i + 1 : 0);
			at[0] = i + 1;
			at[rig.chunk_bytes / 8 - 1] = i + 1;
		}
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(p[(i + 1) * rig.chunk_bytes / 8 - 1], i + 1);
	munmap(p, chunks(n));
}

static void reach(atomic_uint *step, uint32_t n)
{
	while (atomic_load(step) < n)
		sched_yield();
}

/* The second process: 0 it sees what the first one writes, before and after a move. */
static int read_twice(atomic_uint *step, uint32_t id, uint32_t value)
{
	volatile uint32_t *p;

	atomic_store(step, 1);
	reach(step, 2);
	if (u->ops->map(u, (uint64_t)id << 46, chunks(1), true, (void **)&p))
		return 1;
	reach(step, 3);
	if (*p != value)
		return 2;
	atomic_store(step, 4);
	reach(step, 5);
	return *p == value + 1 ? 0 : 3;
}

static void second_mapper(atomic_uint *step, uint32_t id, uint32_t value)
{
	int rc;

	alarm(60);
	rc = read_twice(step, id, value);
	/* Nobody waits for who has given up. */
	atomic_store(step, 9);
	_exit(rc);
}

/* Whoever comes first makes the file that all mappings of an object are in. */
static void first_mappings_of_an_object_may_race(void **state)
{
	atomic_uint *step = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	volatile uint32_t *p;
	uint32_t id;
	int status;

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		pid_t pid;

		assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
		atomic_store(step, 0);
		pid = fork();
		if (!pid)
			second_mapper(step, id, 10 * i + 1);
		reach(step, 1);
		atomic_store(step, 2);
		p = machine_map(u, id, chunks(1), true);
		*p = 10 * i + 1;
		atomic_store(step, 3);
		reach(step, 4);
		assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(1)), 0);
		*p = 10 * i + 2;
		atomic_store(step, 5);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		munmap((void *)p, chunks(1));
		assert_rc(rig_bo_destroy(u, id), 0);
	}
	munmap(step, 4096);
}

static void file_pages_come_by_fault(void **state)
{
	uint64_t bytes = chunks(3) - 100;
	int fd = rig_file(&rig, bytes);
	uint32_t id;
	uint8_t *p;

	(void)state;
	assert_rc(rig_bo_file(u, fd, 0, bytes, &id), 0);
	p = machine_map(u, id, chunks(3), false);
	for (uint64_t at = 0; at < bytes; at += 997)
		assert_int_equal(p[at], rig_pattern(at));
	for (uint64_t at = bytes; at < chunks(3); at++)
		assert_int_equal(p[at], 0);
	munmap(p, chunks(3));
	close(fd);
}

static void ioctl_and_mapping_see_each_other(void **state)
{
	uint32_t id, value = 0x12345678, got = 0;
	uint8_t *p;

	(void)state;
	assert_rc(rig_bo(u, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(2), true);
	assert_rc(rig_write(u, id, 100, &value, 4), 0);
	assert_memory_equal(p + 100, &value, 4);
	p[chunks(1) - 2] = 7;
	p[chunks(1) + 1] = 9;
	assert_rc(rig_read(u, id, chunks(1) - 2, &got, 4), 0);
	assert_int_equal(got, 0x09000007);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(2)), 0);
	assert_int_equal(rig_residency(u, id, 0) & 1, 0);
	assert_memory_equal(p + 100, &value, 4);
	munmap(p, chunks(2));
}

struct toucher {
	uint64_t *p;
	uint64_t chunk_bytes, count, seed, errors;
};

/* Each thread owns one word of each chunk. */
static void *touch(void *arg)
{
	struct toucher *t = arg;

	for (uint64_t round = 0; round < 4; round++)
		for (uint64_t i = 0; i < t->count; i++) {
			volatile uint64_t *at = t->p + i * t->chunk_bytes / 8 + t->seed * 8;

			t->errors += *at != round;
			*at = round + 1;
		}
	return NULL;
}

static void threads_fault_one_object_larger_than_the_arena(void **state)
{
	uint64_t n = HOST_SLOTS + 4;
	struct toucher t[4];
	pthread_t thread[4];
	uint32_t id;
	void *p;

	(void)state;
	assert_rc(rig_bo(u, chunks(n), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(n), true);
	for (uint64_t i = 0; i < 4; i++) {
		t[i] = (struct toucher){ p, rig.chunk_bytes, n, i, 0 };
		assert_int_equal(pthread_create(&thread[i], NULL, touch, &t[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(t[i].errors, 0);
	}
	munmap(p, chunks(n));
}

/* ---- borders of a mapping ---- */

static int try_map(uint64_t offset, uint64_t bytes, bool write)
{
	void *p;
	int rc = u->ops->map(u, offset, bytes, write, &p);

	if (!rc)
		munmap(p, bytes);
	return rc;
}

static void mappings_are_checked(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	uint32_t id;
	void *p;

	(void)state;
	assert_rc(rig_bo(u, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(try_map((uint64_t)id << 46, chunks(2), true), 0);
	assert_rc(try_map((uint64_t)id << 46, chunks(2) + 4096, true), -ERANGE);
	assert_rc(try_map(((uint64_t)id << 46) + chunks(1), chunks(1) + 4096, true), -ERANGE);
	assert_rc(try_map(((uint64_t)id << 46) + chunks(2), 4096, true), -ERANGE);
	assert_rc(try_map((uint64_t)(id + 1000) << 46, 4096, true), -ENOENT);
	assert_rc(try_map(0, 4096, false), -ENOENT);
	assert_rc(other->ops->map(other, (uint64_t)id << 46, 4096, false, &p), -ENOENT);
	rig_client_close(other);
}

static void sealed_objects_are_not_mapped_to_be_written(void **state)
{
	uint32_t id;
	uint8_t *p;

	(void)state;
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(1), true);
	p[0] = 5;
	assert_rc(rig_seal(u, id), -EBUSY);
	munmap(p, chunks(1));
	p = machine_map(u, id, chunks(1), false);
	assert_rc(rig_seal(u, id), 0);
	assert_rc(try_map((uint64_t)id << 46, chunks(1), true), -EROFS);
	assert_int_equal(mprotect(p, chunks(1), PROT_READ | PROT_WRITE), -1);
	assert_int_equal(p[0], 5);
	munmap(p, chunks(1));
}

static void mapping_outlives_handle_and_client_node(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	struct vb_ioc_query_tier before, after;
	uint32_t id;
	uint8_t *p;

	(void)state;
	assert_rc(rig_tier(u, VB_TIER_HOST, &before), 0);
	assert_rc(rig_bo(other, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(other, id, chunks(2), true);
	p[0] = 1;
	assert_rc(rig_bo_destroy(other, id), 0);
	p[chunks(1)] = 2;
	rig_client_close(other);
	assert_int_equal(p[0], 1);
	assert_int_equal(p[chunks(1)], 2);
	munmap(p, chunks(2));
	for (int i = 0; i < 60000; i++) {
		assert_rc(rig_tier(u, VB_TIER_HOST, &after), 0);
		if (after.out_used_bytes == before.out_used_bytes &&
		    after.out_reserved_bytes == before.out_reserved_bytes)
			break;
		usleep(1000);
	}
	assert_int_equal(after.out_used_bytes, before.out_used_bytes);
	assert_int_equal(after.out_reserved_bytes, before.out_reserved_bytes);
}

/* ---- I/O into mappings ---- */

static void direct_io_reads_into_a_mapping(void **state)
{
	static const uint64_t at = 4096;
	int disk = open("/dev/vb0", O_RDWR | O_DIRECT | O_CLOEXEC);
	uint64_t bytes = chunks(1);
	uint8_t *p, *source;
	uint32_t from, to;

	(void)state;
	if (disk < 0) {
		fprintf(stderr, "SKIP: %s: no NVMe disk\n", __func__);
		skip();
	}
	assert_rc(rig_bo(u, bytes, VB_LIFE_VOLATILE, &from), 0);
	assert_rc(rig_bo(u, bytes, VB_LIFE_VOLATILE, &to), 0);
	source = machine_map(u, from, bytes, true);
	p = machine_map(u, to, bytes, true);
	for (uint64_t i = 0; i < bytes; i += 8)
		source[i] = rig_pattern(i + 3);
	assert_int_equal(pwrite(disk, source, bytes, (off_t)at), bytes);
	/* Never touched before: get_user_pages() faults it in. */
	assert_int_equal(pread(disk, p, bytes, (off_t)at), bytes);
	assert_memory_equal(p, source, bytes);
	/* The block layer wakes us before it lets go of the last pages. */
	for (int i = 0; i < 10000 && rig_advise(u, to, VB_ADVISE_EVICT, 0, bytes) == -EBUSY; i++)
		usleep(1000);
	assert_int_equal(rig_residency(u, to, 0) & 1, 0);
	assert_memory_equal(p, source, bytes);
	munmap(p, bytes);
	munmap(source, bytes);
	close(disk);
}

static void pipe_io_faults_in_the_kernel(void **state)
{
	uint32_t id;
	int fds[2];
	uint8_t *p;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_rc(rig_bo(u, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(2), true);
	assert_int_equal(write(fds[1], "hello", 6), 6);
	assert_int_equal(read(fds[0], p + chunks(1) - 3, 6), 6);
	assert_string_equal((char *)p + chunks(1) - 3, "hello");
	munmap(p, chunks(2));
	close(fds[0]);
	close(fds[1]);
}

/* Memory that somebody has pinned is no victim, and comes back when he lets go. */
static void pages_lent_to_a_pipe_are_no_victims(void **state)
{
	uint32_t id;
	int fds[2];
	uint8_t *p, byte[MACHINE_PAGE];

	(void)state;
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(1), true);
	p[0] = 77;
	machine_pipe_lend(fds, p);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(1)), -EBUSY);
	assert_int_equal(rig_residency(u, id, 0) & 1, 1);
	machine_pipe_take(fds, byte);
	assert_int_equal(byte[0], 77);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(1)), 0);
	assert_int_equal(p[0], 77);
	munmap(p, chunks(1));
}

/* An object goes while a pipe has its memory: nobody else gets that memory. */
static void pinned_memory_of_a_dead_object_is_not_handed_out(void **state)
{
	uint32_t id, other[HOST_SLOTS];
	int fds[2];
	uint8_t *p, byte[MACHINE_PAGE];

	(void)state;
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(1), true);
	memset(p, 0x77, 4096);
	machine_pipe_lend(fds, p);
	munmap(p, chunks(1));
	assert_rc(rig_bo_destroy(u, id), 0);
	for (uint32_t i = 0; i < HOST_SLOTS; i++) {
		memset(byte, 0x11, sizeof(byte));
		assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other[i]), 0);
		assert_rc(rig_write(u, other[i], 0, byte, sizeof(byte)), 0);
	}
	machine_pipe_take(fds, byte);
	for (uint32_t i = 0; i < sizeof(byte); i++)
		assert_int_equal(byte[i], 0x77);
	for (uint32_t i = 0; i < HOST_SLOTS; i++)
		assert_rc(rig_bo_destroy(u, other[i]), 0);
}

/* What pipes have of objects that are gone. */
static void lend_to_pipes(uint32_t slots, int fds[][2])
{
	uint32_t id;
	uint8_t *p;

	assert_rc(rig_bo(u, chunks(slots), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(slots), true);
	for (uint32_t i = 0; i < slots; i++) {
		p[chunks(i)] = (uint8_t)(i + 1);
		machine_pipe_lend(fds[i], p + chunks(i));
	}
	munmap(p, chunks(slots));
	assert_rc(rig_bo_destroy(u, id), 0);
}

static void take_from_pipes(uint32_t slots, int fds[][2])
{
	uint8_t page[MACHINE_PAGE];

	for (uint32_t i = 0; i < slots; i++) {
		machine_pipe_take(fds[i], page);
		assert_int_equal(page[0], i + 1);
	}
}

/* Commands whose operands want adjacent slots, and content that comes slot by slot. */
static void slots_in_quarantine_are_worked_around(void **state)
{
	const uint32_t lent = HOST_SLOTS / 4, n = (uint32_t)(rig.chunk_bytes / 4) * 3;
	uint64_t bytes = chunks(HOST_SLOTS + 3);
	uint8_t *back = malloc(bytes);
	int fds[HOST_SLOTS][2], fd = rig_file(&rig, bytes);
	uint32_t queue, file, y, z;
	struct rig_stream s;

	(void)state;
	lend_to_pipes(lent, fds);
	assert_rc(rig_bo_file(u, fd, 0, bytes, &file), 0);
	assert_rc(rig_read(u, file, 0, back, bytes), 0);
	for (uint64_t at = 0; at < bytes; at += 511)
		assert_int_equal(back[at], rig_pattern(at));
	assert_rc(rig_bo(u, chunks(3), VB_LIFE_VOLATILE, &y), 0);
	assert_rc(rig_bo(u, chunks(3), VB_LIFE_VOLATILE, &z), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	for (uint64_t round = 1; round < 4; round++) {
		rig_stream(&s);
		rig_add_bo(&s, y, VB_ACCESS_READ | VB_ACCESS_WRITE);
		rig_add_bo(&s, z, VB_ACCESS_READ | VB_ACCESS_WRITE);
		rig_add_fill(&s, 0, 0, n, (float)round);
		rig_add_copy(&s, 0, 1, n);
		assert_rc(rig_submit(u, queue, &s, NULL), 0);
		assert_rc(rig_wait(u, queue, round, 60000), 0);
		assert_rc(rig_read(u, z, 0, back, chunks(3)), 0);
		for (uint32_t i = 0; i < n; i += 101)
			assert_true(((float *)back)[i] == (float)round);
		/* In other slots next time. */
		assert_rc(rig_read(u, file, chunks(round), back, chunks(6)), 0);
	}
	take_from_pipes(lent, fds);
	assert_rc(rig_bo_destroy(u, file), 0);
	assert_rc(rig_bo_destroy(u, y), 0);
	assert_rc(rig_bo_destroy(u, z), 0);
	free(back);
	close(fd);
}

/* ---- death ---- */

static void *access_later(void *arg)
{
	return (void *)(intptr_t)(machine_peek(arg) < 0);
}

/* Somebody faults at the byte that is returned, and the executor has the request. */
static uint8_t *begin_fault(struct rig_exec *x, pthread_t *thread, struct vb_ioc_fetch *req)
{
	uint32_t id;
	uint8_t *p;

	assert_int_equal(rig_exec_open(&rig, x, 4), 0);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(1), true);
	assert_int_equal(pthread_create(thread, NULL, access_later, p), 0);
	while (rig_fetch(x, req) == -EAGAIN)
		usleep(1000);
	assert_int_equal(req->out_type, VB_FETCH_PAGE_IN);
	return p;
}

/* And then leaves without an answer. */
static void fault_ends_in_sigbus_when_the_executor_leaves(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_exec x;
	pthread_t thread;
	uint8_t *p;
	void *rc;

	(void)state;
	p = begin_fault(&x, &thread, &req);
	rig_exec_close(&x);
	pthread_join(thread, &rc);
	assert_true((intptr_t)rc);
	assert_int_equal(machine_peek(p), -1);
	munmap(p, chunks(1));
}

static void executor_says_no_and_the_fault_is_sigbus(void **state)
{
	struct vb_ioc_fetch req;
	struct rig_exec x;
	pthread_t thread;
	uint8_t *p;
	void *rc;

	(void)state;
	p = begin_fault(&x, &thread, &req);
	assert_rc(rig_commit(&x, req.out_tag, -EIO), 0);
	pthread_join(thread, &rc);
	assert_true((intptr_t)rc);
	munmap(p, chunks(1));
	rig_exec_close(&x);
}

/* ---- killed clients ---- */

static void client_in_a_loop(void)
{
	struct vgpu_uapi *own = rig_client(&rig);
	struct rig_stream s;
	uint32_t q, id;
	uint8_t *p;

	if (!own || rig_queue(own, 0, &q))
		_exit(1);
	for (uint32_t i = 0;; i++) {
		rig_stream(&s);
		rig_add_nop(&s);
		if (rig_bo(own, chunks(3), VB_LIFE_VOLATILE, &id))
			continue;
		rig_add_bo(&s, id, VB_ACCESS_READ);
		rig_submit(own, q, &s, NULL);
		if (!own->ops->map(own, (uint64_t)id << 46, chunks(3), true, (void **)&p)) {
			p[chunks(i % 3)] = 1;
			munmap(p, chunks(3));
		}
		rig_bo_destroy(own, id);
	}
}

static void killed_clients_leave_nothing_behind(void **state)
{
	struct vb_ioc_query_tier before, after;

	(void)state;
	assert_rc(rig_tier(u, VB_TIER_HOST, &before), 0);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		int status;

		if (!pid)
			client_in_a_loop();
		usleep((useconds_t)(20000 + i * 7000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
	}
	for (int i = 0; i < 60000; i++) {
		assert_rc(rig_tier(u, VB_TIER_HOST, &after), 0);
		if (after.out_used_bytes == before.out_used_bytes &&
		    after.out_reserved_bytes == before.out_reserved_bytes)
			break;
		usleep(1000);
	}
	assert_int_equal(after.out_used_bytes, before.out_used_bytes);
	assert_int_equal(after.out_reserved_bytes, before.out_reserved_bytes);
}

/* ---- the executor killed ---- */

/* A process that attaches and then serves nothing. */
static void executor_that_hangs(void)
{
	struct vb_ioc_fetch req;
	struct rig_exec x;

	if (rig_exec_open(&rig, &x, 4))
		_exit(1);
	for (;;)
		if (rig_fetch(&x, &req))
			usleep(1000);
}

static int wait_for_state(uint32_t state)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };

	for (int i = 0; i < 5000; i++) {
		if (!vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q) && q.out_exec_state == state)
			return 0;
		usleep(1000);
	}
	return -1;
}

static void killed_executor_ends_what_waits_and_another_may_come(void **state)
{
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bytes = 1 };
	uint8_t byte = 1;

	(void)state;
	rw.address = (uintptr_t)&byte;
	for (int i = 0; i < 5; i++) {
		struct rig_stream s;
		pid_t pid = fork();
		uint32_t q;

		if (!pid)
			executor_that_hangs();
		assert_int_equal(wait_for_state(VB_EXEC_LIVE), 0);
		assert_rc(rig_queue(u, 0, &q), 0);
		rig_stream(&s);
		rig_add_nop(&s);
		assert_rc(rig_submit(u, q, &s, NULL), 0);
		usleep(5000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		assert_rc(rig_wait(u, q, 1, 5000), -ENODEV);
		assert_rc(rig_queue_destroy(u, q), 0);
		assert_int_equal(wait_for_state(VB_EXEC_FAILED), 0);
	}
}

/* Sleeps until there is work, takes it, then silence. */
static void executor_that_falls_silent(void)
{
	struct vb_ioc_fetch req = { .size = sizeof(req) };
	struct rig_exec x;

	if (rig_exec_open(&rig, &x, 4) || vgpu_uapi_call(x.node, VB_IOC_FETCH, &req))
		_exit(1);
	for (;;)
		pause();
}

static void silent_executor_is_killed_and_an_idle_one_is_not(void **state)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	struct rig_stream s;
	uint32_t queue;
	int status;
	pid_t pid;

	(void)state;
	machine_set_ms("executor_timeout_ms", 1500);
	pid = fork();
	if (!pid)
		executor_that_falls_silent();
	assert_int_equal(wait_for_state(VB_EXEC_LIVE), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	/* It is asked for nothing: a second and a half of silence more are no offence. */
	usleep(2500000);
	assert_rc(vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q), 0);
	assert_int_equal(q.out_exec_state, VB_EXEC_LIVE);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
	assert_rc(rig_wait(u, queue, 1, 10000), -ENODEV);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	machine_set_ms("executor_timeout_ms", 30000);
}

static volatile sig_atomic_t alarms;

static void count_alarm(int sig)
{
	(void)sig;
	alarms++;
}

/* One signal, and then one every @again_us, if that is not 0. */
static int wait_amid_signals(uint32_t queue, int flags, uint32_t again_us)
{
	const struct itimerval often = { { 0, again_us }, { 0, 20000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction act = { .sa_handler = count_alarm, .sa_flags = flags };
	int rc;

	sigaction(SIGALRM, &act, NULL);
	alarms = 0;
	setitimer(ITIMER_REAL, &often, NULL);
	rc = rig_wait(u, queue, 1, 1000);
	setitimer(ITIMER_REAL, &never, NULL);
	return rc;
}

/* Nobody fetches the submission: only the deadline, or a signal, ends the wait. */
static void wait_goes_on_after_a_handler_that_says_so(void **state)
{
	struct rig_stream s;
	struct rig_exec x;
	uint32_t queue, early = 0;
	int rc;

	(void)state;
	assert_int_equal(rig_exec_open(&rig, &x, 4), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
	assert_rc(wait_amid_signals(queue, SA_RESTART, 20000), -ETIME);
	assert_true(alarms > 1);
	/* On a busy machine the only one may come before the wait begins. */
	do {
		rc = wait_amid_signals(queue, 0, 0);
	} while (rc == -ETIME && ++early < 10);
	assert_rc(rc, -EINTR);
	assert_int_equal(alarms, 1);
	rig_exec_close(&x);
}

#define EARLIER		200u	/* fences before the one that is waited for */

struct patient {
	uint32_t queue;
	long switches;		/* how often it slept */
	int rc;
};

static void *wait_for_the_last(void *arg)
{
	struct patient *p = arg;
	struct rusage before, after;

	getrusage(RUSAGE_THREAD, &before);
	p->rc = rig_wait(u, p->queue, EARLIER + 1, 60000);
	getrusage(RUSAGE_THREAD, &after);
	p->switches = after.ru_nvcsw - before.ru_nvcsw;
	return NULL;
}

static void who_waits_for_a_later_fence_sleeps_through_the_earlier_ones(void **state)
{
	struct vb_ioc_fetch req;
	struct patient p = { 0 };
	struct rig_stream s;
	struct rig_exec x;
	pthread_t thread;

	(void)state;
	assert_int_equal(rig_exec_open(&rig, &x, 4), 0);
	assert_rc(rig_queue(u, 0, &p.queue), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	for (uint32_t i = 0; i <= EARLIER; i++)
		assert_rc(rig_submit(u, p.queue, &s, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_the_last, &p), 0);
	for (uint32_t i = 0; i <= EARLIER; i++) {
		usleep(2000);	/* it would sleep again */
		assert_rc(rig_fetch(&x, &req), 0);
		assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	}
	pthread_join(thread, NULL);
	assert_rc(p.rc, 0);
	assert_in_range(p.switches, 0, EARLIER / 10);
	rig_exec_close(&x);
}

/* ---- page-ins that take their time ---- */

static void bring_zeros(struct rig_exec *x, const struct vb_ioc_fetch *req)
{
	for (uint32_t i = req->out_chunk; i < req->out_chunk + req->out_count; i++) {
		rig_step(x, req->out_object, i, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST);
		rig_step(x, req->out_object, i, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST);
	}
}

/* Each page-in takes two thirds of what one may; ends with the object. */
static void *serve_late(void *arg)
{
	struct vb_ioc_fetch req;
	bool served = true;

	while (served) {
		if (rig_fetch(arg, &req)) {
			usleep(1000);
			continue;
		}
		served = req.out_type != VB_FETCH_FORGET;
		if (req.out_type == VB_FETCH_PAGE_IN) {
			usleep(1000000);
			bring_zeros(arg, &req);
		}
		rig_commit(arg, req.out_tag, 0);
	}
	return NULL;
}

/* What bounds one wait must not bound all of them together. */
static void pins_and_streams_may_take_longer_than_one_wait(void **state)
{
	char *bytes = calloc(8, rig.chunk_bytes);
	struct rig_exec x;
	pthread_t thread;
	uint32_t id;

	(void)state;
	assert_non_null(bytes);
	assert_int_equal(rig_exec_open(&rig, &x, 8), 0);
	assert_rc(rig_bo(u, chunks(8), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_limit(u, VB_LIMIT_HOST_MIN, chunks(3)), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve_late, &x), 0);
	machine_set_ms("page_in_timeout_ms", 1500);
	assert_rc(rig_advise(u, id, VB_ADVISE_PIN, 0, chunks(3)), 0);
	/* Two at a time, a quarter of what there is. */
	assert_rc(rig_write(u, id, chunks(3), bytes, chunks(5)), 0);
	machine_set_ms("page_in_timeout_ms", 120000);
	assert_rc(rig_bo_destroy(u, id), 0);
	pthread_join(thread, NULL);
	rig_exec_close(&x);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest served[] = {
		AS_CLIENT(fault_reads_zero_and_keeps_what_is_written),
		AS_CLIENT(read_faults_leave_chunks_clean),
		AS_CLIENT(mapping_larger_than_the_arena_works),
		AS_CLIENT(first_mappings_of_an_object_may_race),
		AS_CLIENT(file_pages_come_by_fault),
		AS_CLIENT(ioctl_and_mapping_see_each_other),
		AS_CLIENT(threads_fault_one_object_larger_than_the_arena),
		AS_CLIENT(mappings_are_checked),
		AS_CLIENT(sealed_objects_are_not_mapped_to_be_written),
		AS_CLIENT(mapping_outlives_handle_and_client_node),
		AS_CLIENT(direct_io_reads_into_a_mapping),
		AS_CLIENT(pipe_io_faults_in_the_kernel),
		AS_CLIENT(pages_lent_to_a_pipe_are_no_victims),
		AS_CLIENT(pinned_memory_of_a_dead_object_is_not_handed_out),
		AS_CLIENT(slots_in_quarantine_are_worked_around),
		AS_CLIENT(killed_clients_leave_nothing_behind),
	};
	const struct CMUnitTest by_hand[] = {
		AS_CLIENT(fault_ends_in_sigbus_when_the_executor_leaves),
		AS_CLIENT(executor_says_no_and_the_fault_is_sigbus),
		AS_CLIENT(killed_executor_ends_what_waits_and_another_may_come),
		AS_CLIENT(silent_executor_is_killed_and_an_idle_one_is_not),
		AS_CLIENT(wait_goes_on_after_a_handler_that_says_so),
		AS_CLIENT(who_waits_for_a_later_fence_sleeps_through_the_earlier_ones),
		AS_CLIENT(pins_and_streams_may_take_longer_than_one_wait),
	};
	int failed = 0;

	if (!selftest_has_module("module"))
		return 0;
	failed += SELFTEST_RUN("module", served, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("module, executor", served, RIG_REAL, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("module, executor by hand", by_hand, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}

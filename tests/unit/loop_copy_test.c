// SPDX-License-Identifier: MIT
/*
 * Copies from and to a client, at moments that only a device in process shows: while
 * bytes are on their way, and when paging in takes longer than a single wait may.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/rig.h"
#include "uapi_loop.h"

#define CHUNKS	6u
#define BYTES	((uint64_t)CHUNKS * VB_CHUNK_BYTES_MIN)

static struct rig rig;
static struct rig_exec hands;

/* ---- a clock that goes forward when the executor works ---- */

static atomic_llong skipped_seconds;

int clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);

	t->tv_sec += atomic_load(&skipped_seconds);
	return rc;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *t)
{
	struct timespec at = { t->tv_sec - atomic_load(&skipped_seconds), t->tv_nsec };

	if (at.tv_sec < 0)
		at.tv_sec = 0;
	return pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &at);
}

/* ---- an executor on the thread that asks, slow ---- */

static long long seconds_a_page_in;

static bool serve(void *arg)
{
	uint32_t type = rig_serve_one(&hands);

	(void)arg;
	if (type == VB_FETCH_PAGE_IN)
		atomic_fetch_add(&skipped_seconds, seconds_a_page_in);
	return type;
}

static int setup(void **state)
{
	const struct rig_params p = { VB_CHUNK_BYTES_MIN, RIG_NONE, CHUNKS + 2, 0 };

	(void)state;
	atomic_store(&skipped_seconds, 0);
	seconds_a_page_in = 0;
	if (rig_open(&rig, &p) || rig_exec_open(&rig, &hands, CHUNKS + 2))
		return -1;
	vgpu_loop_set_server(rig.loop, serve, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vgpu_loop_set_server(rig.loop, NULL, NULL);
	rig_exec_close(&hands);
	rig_close(&rig);
	return 0;
}

/* ---- tests ---- */

/* What bounds a wait must not bound all of them together. */
static void stream_takes_longer_than_one_wait_may(void **state)
{
	char *bytes = calloc(1, BYTES);
	uint32_t bo;

	(void)state;
	assert_non_null(bytes);
	seconds_a_page_in = LOOP_WAIT_NS / 1000000000 / 3;
	assert_int_equal(rig_bo(rig.client, BYTES, VB_LIFE_VOLATILE, &bo), 0);
	assert_int_equal(rig_write(rig.client, bo, 0, bytes, BYTES), 0);
	free(bytes);
}

static void pin_takes_longer_than_one_wait_may(void **state)
{
	uint32_t bo;

	(void)state;
	seconds_a_page_in = LOOP_WAIT_NS / 1000000000 / 3;
	assert_int_equal(rig_bo(rig.client, BYTES, VB_LIFE_VOLATILE, &bo), 0);
	assert_int_equal(rig_limit(rig.client, VB_LIMIT_HOST_MIN, BYTES), 0);
	assert_int_equal(rig_advise(rig.client, bo, VB_ADVISE_PIN, 0, BYTES), 0);
}

static void stream_ends_at_the_callers_deadline(void **state)
{
	char *bytes = calloc(1, BYTES);
	struct vb_ioc_bo_rw cmd = { .size = sizeof(cmd), .bytes = BYTES };

	(void)state;
	assert_non_null(bytes);
	seconds_a_page_in = 10;
	cmd.address = (uintptr_t)bytes;
	cmd.deadline_ns = rig_now() + 25 * 1000000000ull;
	assert_int_equal(rig_bo(rig.client, BYTES, VB_LIFE_VOLATILE, &cmd.bo_id), 0);
	assert_int_equal(vgpu_uapi_call(rig.client, VB_IOC_BO_WRITE, &cmd), -ETIME);
	assert_in_range(cmd.out_done_bytes, VB_CHUNK_BYTES_MIN, BYTES - 1);
	free(bytes);
}

/* ---- memory that a copy stops at, until it is let go on ---- */

#define GATE_BYTES	4096u

static struct {
	char *page;
	atomic_bool reached, go_on;
	struct sigaction before;
} gate;

static void moment(void)
{
	const struct timespec t = { .tv_nsec = 1000000 };

	nanosleep(&t, NULL);
}

static void at_gate(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if ((char *)info->si_addr < gate.page || (char *)info->si_addr >= gate.page + GATE_BYTES)
		_exit(1);
	atomic_store(&gate.reached, true);
	while (!atomic_load(&gate.go_on))
		moment();
	mprotect(gate.page, GATE_BYTES, PROT_READ | PROT_WRITE);
}

static void gate_close(void)
{
	struct sigaction action = { .sa_sigaction = at_gate, .sa_flags = SA_SIGINFO };

	gate.page = mmap(NULL, GATE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	assert_ptr_not_equal(gate.page, MAP_FAILED);
	atomic_store(&gate.reached, false);
	atomic_store(&gate.go_on, false);
	assert_int_equal(sigaction(SIGSEGV, &action, &gate.before), 0);
}

static void gate_wait(void)
{
	while (!atomic_load(&gate.reached))
		moment();
}

/* Let the copy go on, and return how its request ended. */
static int gate_open(pthread_t thread)
{
	void *rc;

	atomic_store(&gate.go_on, true);
	pthread_join(thread, &rc);
	sigaction(SIGSEGV, &gate.before, NULL);
	return (int)(intptr_t)rc;
}

static void *reader(void *arg)
{
	return (void *)(intptr_t)rig_read(rig.client, *(uint32_t *)arg, 0, gate.page, GATE_BYTES);
}

static uint64_t pinned_bytes(void)
{
	struct vb_ioc_limit cmd = { .size = sizeof(cmd), .limit = VB_LIMIT_HOST_MIN };

	assert_int_equal(vgpu_uapi_call(rig.client, VB_IOC_LIMIT, &cmd), 0);
	return cmd.out_used;
}

/* Else the slot could be given to another chunk under the copy. */
static void unpin_does_not_let_go_what_is_being_read(void **state)
{
	pthread_t thread;
	uint64_t pinned;
	int unpin, held;
	uint32_t bo;

	(void)state;
	assert_int_equal(rig_bo(rig.client, GATE_BYTES, VB_LIFE_VOLATILE, &bo), 0);
	assert_int_equal(rig_write(rig.client, bo, 0, "held", 4), 0);
	gate_close();
	mprotect(gate.page, GATE_BYTES, PROT_NONE);
	assert_int_equal(pthread_create(&thread, NULL, reader, &bo), 0);
	gate_wait();
	unpin = rig_advise(rig.client, bo, VB_ADVISE_UNPIN, 0, 1);
	held = rig_residency(rig.client, bo, 0) & 1u << 5;
	pinned = pinned_bytes();
	assert_int_equal(gate_open(thread), 0);
	assert_int_equal(unpin, -EINVAL);
	assert_int_not_equal(held, 0);
	assert_int_equal(pinned, 0);
	assert_memory_equal(gate.page, "held", 4);
	munmap(gate.page, GATE_BYTES);
}

/* A submission whose BO list or fences lie at the gate. */
static void *submitter(void *arg)
{
	return (void *)(intptr_t)vgpu_uapi_call(rig.client, VB_IOC_SUBMIT, arg);
}

static atomic_bool answered;

static void *asker(void *arg)
{
	(void)arg;
	pinned_bytes();
	atomic_store(&answered, true);
	return NULL;
}

/* Is the device there for others while it reads what @cmd names? */
static void expect_free_while_copied(struct vb_ioc_submit *cmd)
{
	pthread_t thread, other;
	bool in_time;

	atomic_store(&answered, false);
	mprotect(gate.page, GATE_BYTES, PROT_NONE);
	assert_int_equal(pthread_create(&thread, NULL, submitter, cmd), 0);
	gate_wait();
	assert_int_equal(pthread_create(&other, NULL, asker, NULL), 0);
	for (int i = 0; i < 60000 && !atomic_load(&answered); i++)
		moment();
	in_time = atomic_load(&answered);
	assert_int_equal(gate_open(thread), 0);
	pthread_join(other, NULL);
	assert_true(in_time);
	munmap(gate.page, GATE_BYTES);
}

static void device_is_free_while_a_bo_list_is_copied(void **state)
{
	struct vb_ioc_submit cmd = { .size = sizeof(cmd), .bo_count = 1 };
	struct rig_stream s;
	uint32_t bo;

	(void)state;
	assert_int_equal(rig_queue(rig.client, 0, &cmd.queue_id), 0);
	assert_int_equal(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &bo), 0);
	rig_stream(&s);
	gate_close();
	*(struct vb_bo_ref *)gate.page = (struct vb_bo_ref){ bo, VB_ACCESS_READ };
	cmd.stream_address = (uintptr_t)s.bytes;
	cmd.stream_bytes = s.h.bytes;
	cmd.bos_address = (uintptr_t)gate.page;
	expect_free_while_copied(&cmd);
}

static void device_is_free_while_fences_are_copied(void **state)
{
	struct vb_ioc_submit cmd = { .size = sizeof(cmd), .fence_count = 1 };
	struct rig_stream s;

	(void)state;
	assert_int_equal(rig_queue(rig.client, 0, &cmd.queue_id), 0);
	rig_stream(&s);
	assert_int_equal(rig_submit(rig.client, cmd.queue_id, &s, NULL), 0);
	gate_close();
	*(struct vb_fence *)gate.page = (struct vb_fence){ .queue_id = cmd.queue_id, .seqno = 1 };
	cmd.stream_address = (uintptr_t)s.bytes;
	cmd.stream_bytes = s.h.bytes;
	cmd.fences_address = (uintptr_t)gate.page;
	expect_free_while_copied(&cmd);
}

#define COPY(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		COPY(stream_takes_longer_than_one_wait_may),
		COPY(pin_takes_longer_than_one_wait_may),
		COPY(stream_ends_at_the_callers_deadline),
		COPY(unpin_does_not_let_go_what_is_being_read),
		COPY(device_is_free_while_a_bo_list_is_copied),
		COPY(device_is_free_while_fences_are_copied),
	};

	return cmocka_run_group_tests_name("loop_copy", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * An executor that does nothing: every call that waits for it ends, by an errno, at its
 * deadline or the device's own, or with its process.
 */
#include "selftests/selftest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SLOTS		8u

static struct vgpu_uapi *u;
static struct rig_exec x;

static uint64_t chunks(uint64_t n)
{
	return n * rig.chunk_bytes;
}

static int setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	return rc;
}

static void set_page_in_timeout_ms(unsigned int ms)
{
	FILE *f = fopen("/sys/module/vblackwell/parameters/page_in_timeout_ms", "w");

	assert_non_null(f);
	fprintf(f, "%u\n", ms);
	assert_int_equal(fclose(f), 0);
}

static int teardown(void **state)
{
	set_page_in_timeout_ms(120000);
	return selftest_teardown(state);
}

static sigjmp_buf bus;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(bus, 1);
}

/* 0, or -EFAULT: SIGBUS. */
static int touch(volatile uint8_t *p)
{
	struct sigaction act = { .sa_handler = on_bus }, old;
	volatile int rc = -EFAULT;

	sigaction(SIGBUS, &act, &old);
	if (!sigsetjmp(bus, 1)) {
		*p = 1;
		rc = 0;
	}
	sigaction(SIGBUS, &old, NULL);
	return rc;
}

/* ---- every call that waits for the executor ---- */

static uint32_t id, file, queue;
static uint8_t *mapped;

static int by_fault(uint64_t deadline_ns)
{
	(void)deadline_ns;
	return touch(mapped);
}

/* The kernel faults, for a system call. */
static int by_kernel_fault(uint64_t deadline_ns)
{
	int fds[2], rc;

	(void)deadline_ns;
	if (pipe(fds))
		return 0;
	rc = write(fds[1], mapped + 4096, 8) < 0 ? -errno : 0;
	close(fds[0]);
	close(fds[1]);
	return rc;
}

static int by_rw(unsigned long request, uint32_t bo, uint64_t deadline_ns)
{
	uint32_t word = 0;
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bo_id = bo, .bytes = 4,
				   .address = (uintptr_t)&word, .deadline_ns = deadline_ns };

	return vgpu_uapi_call(u, (unsigned int)request, &rw);
}

/* Zeros that nobody touched would be read without anybody's help. */
static int by_read(uint64_t deadline_ns)
{
	return by_rw(VB_IOC_BO_READ, file, deadline_ns);
}

static int by_write(uint64_t deadline_ns)
{
	return by_rw(VB_IOC_BO_WRITE, id, deadline_ns);
}

static int by_map(uint64_t deadline_ns)
{
	struct vb_ioc_bo_map map = { .size = sizeof(map), .bo_id = id, .flags = VB_MAP_READ,
				     .bytes = chunks(1), .deadline_ns = deadline_ns };

	return vgpu_uapi_call(u, VB_IOC_BO_MAP, &map);
}

static int by_pin(uint64_t deadline_ns)
{
	(void)deadline_ns;
	return rig_advise(u, id, VB_ADVISE_PIN, 0, chunks(1));
}

static int by_submission(uint64_t deadline_ns)
{
	struct vb_ioc_wait wait = { .size = sizeof(wait), .queue_id = queue,
				    .timeout_ns = deadline_ns ? deadline_ns : UINT64_MAX };
	struct rig_stream s;
	uint64_t seqno = 0;
	int rc;

	rig_stream(&s);
	rig_add_nop(&s);
	rc = rig_submit(u, queue, &s, &seqno);
	wait.seqno = seqno;
	if (!rc)
		rc = vgpu_uapi_call(u, VB_IOC_WAIT, &wait);
	return rc ? rc : wait.out_status;
}

static const struct {
	const char *name;
	int (*call)(uint64_t deadline_ns);
	bool bounded;			/* by a deadline of its own */
	int bound;			/* what it says at the device's own */
} calls[] = {
	{ "fault", by_fault, false, -EFAULT },
	{ "fault of the kernel", by_kernel_fault, false, -EFAULT },
	{ "BO_READ", by_read, true, -ETIME },
	{ "BO_WRITE", by_write, true, -ETIME },
	{ "BO_MAP", by_map, true, -ETIME },
	{ "PIN", by_pin, false, -ETIME },
	{ "SUBMIT and WAIT", by_submission, true, -ETIME },
};

#define CALLS	(sizeof(calls) / sizeof(calls[0]))

/* An executor attaches; objects that nobody has touched, one of them mapped; a queue. */
static void begin(void)
{
	int fd = rig_file(&rig, chunks(1));

	assert_true(fd >= 0);
	assert_int_equal(rig_exec_open(&rig, &x, SLOTS), 0);
	assert_rc(rig_bo(u, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(u->ops->map(u, (uint64_t)id << 46, chunks(2), true, (void **)&mapped), 0);
	assert_rc(rig_bo_file(u, fd, 0, chunks(1), &file), 0);
	close(fd);
	assert_rc(rig_queue(u, 0, &queue), 0);
}

static void end(void)
{
	munmap(mapped, chunks(2));
}

/* The one there is takes nothing: deadlines are the device's, not the executor's. */
static void silent_executor_keeps_nobody_beyond_a_deadline(void **state)
{
	(void)state;
	begin();
	for (size_t i = 0; i < CALLS; i++) {
		uint64_t start = rig_now();
		int rc = calls[i].bounded ? calls[i].call(start + 200000000ull) : -ETIME;

		if (rc != -ETIME || rig_now() - start > 2000000000ull)
			fail_msg("%s: %d after %llu ms", calls[i].name, rc,
				 (unsigned long long)(rig_now() - start) / 1000000);
	}
	end();
	rig_exec_close(&x);
}

/* Who names no deadline has the device's; a fault ends by SIGBUS. */
static void silent_executor_keeps_nobody_beyond_the_device_s_own_bound(void **state)
{
	(void)state;
	begin();
	set_page_in_timeout_ms(400);
	for (size_t i = 0; i < CALLS; i++) {
		uint64_t start = rig_now();
		int rc = calls[i].call == by_submission ? -ETIME : calls[i].call(0);

		if (rc != calls[i].bound ||
		    rig_now() - start > 3000000000ull)
			fail_msg("%s: %d after %llu ms", calls[i].name, rc,
				 (unsigned long long)(rig_now() - start) / 1000000);
	}
	end();
	rig_exec_close(&x);
}

static void wait_in_a_child(size_t i)
{
	calls[i].call(0);
	_exit(1);
}

static void silent_executor_keeps_nobody_from_dying(void **state)
{
	uint64_t killed;
	int status;

	(void)state;
	begin();
	for (size_t i = 0; i < CALLS; i++) {
		pid_t pid = fork();

		if (!pid)
			wait_in_a_child(i);
		usleep(200000);
		if (waitpid(pid, &status, WNOHANG))
			fail_msg("%s did not wait", calls[i].name);
		killed = rig_now();
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		if (rig_now() - killed > 1000000000ull)
			fail_msg("%s: a second after SIGKILL it is there", calls[i].name);
	}
	end();
	rig_exec_close(&x);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(silent_executor_keeps_nobody_beyond_a_deadline),
		CASE(silent_executor_keeps_nobody_beyond_the_device_s_own_bound),
		CASE(silent_executor_keeps_nobody_from_dying),
	};

	if (!getenv("VBLACKWELL_SELFTEST_NODE")) {
		fprintf(stderr, "SKIP: faults: VBLACKWELL_SELFTEST_NODE is not set\n");
		return 0;
	}
	return SELFTEST_RUN("faults", tests, RIG_NONE, 0, 0) ? 1 : 0;
}

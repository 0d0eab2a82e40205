// SPDX-License-Identifier: MIT
/*
 * An executor that is not there, or does nothing, and a client without memory: every call
 * ends, by an errno, at its deadline or the device's own, or with its process, and nobody
 * else is touched.
 */
#include "selftests/selftest.h"
#include "vm/machine.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SLOTS		8u
#define CGROUP		"/sys/fs/cgroup/vb-small"
#define CGROUP_BYTES	(4u << 20)

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

static int teardown(void **state)
{
	machine_set_ms("page_in_timeout_ms", 120000);
	/* Of a test that failed: the next one has its own. */
	rig_exec_close(&x);
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

/* Nor is there memory to be had a share of: that is no limit of the client's. */
static void without_an_executor_every_call_ends_at_once(void **state)
{
	(void)state;
	begin();
	rig_exec_close(&x);
	for (size_t i = 0; i < CALLS; i++) {
		uint64_t start = rig_now();
		int rc = calls[i].call(0);

		if (rc != (calls[i].bound == -EFAULT ? -EFAULT : -ENODEV) ||
		    rig_now() - start > 2000000000ull)
			fail_msg("%s: %d after %llu ms", calls[i].name, rc,
				 (unsigned long long)(rig_now() - start) / 1000000);
	}
	assert_rc(rig_advise(u, id, VB_ADVISE_PREFETCH, 0, chunks(1)), -ENODEV);
	end();
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
	machine_set_ms("page_in_timeout_ms", 400);
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

/* It waits, and is gone within a second of SIGKILL. */
static void expect_to_die(const char *name, int (*call)(uint64_t deadline_ns))
{
	pid_t pid = fork();
	uint64_t killed;
	int status;

	if (!pid) {
		call(0);
		_exit(1);
	}
	usleep(200000);
	if (waitpid(pid, &status, WNOHANG))
		fail_msg("%s did not wait", name);
	killed = rig_now();
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	if (rig_now() - killed > 1000000000ull)
		fail_msg("%s: a second after SIGKILL it is there", name);
}

static void silent_executor_keeps_nobody_from_dying(void **state)
{
	(void)state;
	begin();
	for (size_t i = 0; i < CALLS; i++)
		expect_to_die(calls[i].name, calls[i].call);
	end();
	rig_exec_close(&x);
}

/* ---- what waits for other things than a page-in ---- */

static int by_evict(uint64_t deadline_ns)
{
	(void)deadline_ns;
	return rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(1));
}

/* There is room, once the executor has forgotten what was destroyed. */
static int by_create(uint64_t deadline_ns)
{
	uint32_t bo;

	(void)deadline_ns;
	return rig_bo(u, chunks(SLOTS), VB_LIFE_VOLATILE, &bo);
}

/* The executor has heard of an object; its device-wide id. */
static uint32_t object_of(uint32_t bo)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, chunks(1)), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	return req.out_object;
}

static void move_of(uint32_t object, uint8_t op, uint8_t from, uint8_t to)
{
	assert_rc(rig_step(&x, object, 0, op, from, to), 0);
}

/* Chunk 0 of the object is in host memory. */
static uint32_t bring_in(void)
{
	uint32_t object = object_of(id);

	move_of(object, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST);
	move_of(object, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST);
	return object;
}

/* The executor has the request, and never answers. */
static void eviction_that_waits_can_be_killed(void **state)
{
	(void)state;
	begin();
	bring_in();
	expect_to_die("EVICT", by_evict);
	end();
	rig_exec_close(&x);
}

static void creation_that_waits_can_be_killed(void **state)
{
	struct vb_ioc_query_tier tier;
	uint32_t all;

	(void)state;
	begin();
	assert_rc(rig_bo(u, chunks(2 * SLOTS - 2), VB_LIFE_VOLATILE, &all), 0);
	object_of(all);
	assert_rc(rig_bo_destroy(u, all), 0);
	assert_rc(rig_tier(u, VB_TIER_HOST, &tier), 0);
	assert_int_equal(tier.out_reserved_bytes, chunks(2 * SLOTS));
	expect_to_die("BO_CREATE", by_create);
	end();
	rig_exec_close(&x);
}

/* Where the chunk goes, when the executor falls silent. */
static const struct {
	const char *name;
	uint8_t from, to;
} moves[] = {
	{ "filling", VB_TIER_ZERO, VB_TIER_HOST },
	{ "migrating", VB_TIER_HOST, VB_TIER_DEVICE },
};

static const struct {
	const char *name;
	int (*call)(uint64_t deadline_ns);
} uses[] = {
	{ "fault", by_fault }, { "fault of the kernel", by_kernel_fault },
	{ "BO_WRITE", by_write }, { "BO_MAP", by_map }, { "PIN", by_pin }, { "EVICT", by_evict },
};

static void who_waits_for_a_chunk_that_moves_can_be_killed(void **state)
{
	char name[64];

	(void)state;
	for (size_t m = 0; m < sizeof(moves) / sizeof(moves[0]); m++) {
		begin();
		move_of(moves[m].from == VB_TIER_HOST ? bring_in() : object_of(id),
			VB_MOVE_BEGIN, moves[m].from, moves[m].to);
		for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
			snprintf(name, sizeof(name), "%s, chunk %s", uses[i].name, moves[m].name);
			expect_to_die(name, uses[i].call);
		}
		end();
		rig_exec_close(&x);
	}
}

/* ---- a fault that waits is over when its chunk is there ---- */

static pid_t start(int (*call)(uint64_t deadline_ns))
{
	pid_t pid = fork();
	int rc;

	if (!pid) {
		rc = call(0);
		_exit(rc < 0 ? 1 : 0);
	}
	return pid;
}

static void fetch_page_in(struct vb_ioc_fetch *req)
{
	uint64_t end = rig_now() + 10000000000ull;
	int rc;

	while ((rc = rig_fetch(&x, req)) == -EAGAIN && rig_now() < end)
		usleep(1000);
	assert_rc(rc, 0);
	assert_int_equal(req->out_type, VB_FETCH_PAGE_IN);
}

/* It ended by itself, with nothing to complain of. */
static void expect_end(pid_t pid)
{
	uint64_t end = rig_now() + 10000000000ull;
	int status = 0;

	while (!waitpid(pid, &status, WNOHANG)) {
		if (rig_now() > end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			fail_msg("it waits for more than its chunk");
		}
		usleep(1000);
	}
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* The executor's word on it comes later, and is taken. */
static void expect_over_when_chunk_is_there(int (*call)(uint64_t deadline_ns))
{
	struct vb_ioc_fetch req;
	pid_t pid;

	begin();
	pid = start(call);
	fetch_page_in(&req);
	move_of(req.out_object, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST);
	usleep(100000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	move_of(req.out_object, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST);
	expect_end(pid);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), -ENOENT);
	end();
	rig_exec_close(&x);
}

static void fault_is_over_when_its_chunk_is_there(void **state)
{
	(void)state;
	expect_over_when_chunk_is_there(by_fault);
}

static void fault_of_the_kernel_is_over_when_its_chunk_is_there(void **state)
{
	(void)state;
	expect_over_when_chunk_is_there(by_kernel_fault);
}

/* Of two that asked, the second has what it wants, and the executor hears no more of it. */
static void what_came_for_another_is_not_asked_for(void **state)
{
	struct vb_ioc_fetch req;
	pid_t pid[2];

	(void)state;
	begin();
	pid[0] = start(by_fault);
	fetch_page_in(&req);
	pid[1] = start(by_kernel_fault);
	usleep(300000);
	move_of(req.out_object, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST);
	move_of(req.out_object, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST);
	expect_end(pid[0]);
	expect_end(pid[1]);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	end();
	rig_exec_close(&x);
}

/* A client of its own, which has all the room there is. */
static int by_fault_in_all(uint64_t deadline_ns)
{
	struct vgpu_uapi *own = rig_client(&rig);
	uint32_t all;
	void *p;

	(void)deadline_ns;
	if (rig_bo(own, chunks(2 * SLOTS - 2), VB_LIFE_VOLATILE, &all) ||
	    own->ops->map(own, (uint64_t)all << 46, chunks(1), true, &p))
		return -EPROTO;
	return touch(p);
}

/* Nobody uses its object but the request that the executor has not answered yet. */
static void room_of_who_ended_before_the_answer_is_waited_for(void **state)
{
	struct vb_ioc_fetch req, forget;
	pid_t pid;

	(void)state;
	begin();
	pid = start(by_fault_in_all);
	fetch_page_in(&req);
	move_of(req.out_object, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST);
	move_of(req.out_object, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST);
	expect_end(pid);
	pid = start(by_create);
	usleep(100000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_rc(rig_fetch(&x, &forget), 0);
	assert_int_equal(forget.out_type, VB_FETCH_FORGET);
	assert_rc(rig_commit(&x, forget.out_tag, 0), 0);
	expect_end(pid);
	end();
	rig_exec_close(&x);
}

/* A move that is given up, and a neighbour's, are none of it; and an error is told. */
static void fault_waits_on_while_its_chunk_is_not_there(void **state)
{
	struct vb_ioc_fetch req;
	pid_t pid;
	int status;

	(void)state;
	begin();
	pid = start(by_fault);
	fetch_page_in(&req);
	move_of(req.out_object, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST);
	move_of(req.out_object, VB_MOVE_ABORT, VB_TIER_ZERO, VB_TIER_HOST);
	assert_rc(rig_step(&x, req.out_object, 1, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST), 0);
	assert_rc(rig_step(&x, req.out_object, 1, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST), 0);
	usleep(300000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_rc(rig_commit(&x, req.out_tag, -EIO), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* By SIGBUS, which it takes for -EFAULT. */
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	end();
	rig_exec_close(&x);
}

/* Somebody else's page-in is under way: who faults asks, too, and hears how it ends. */
static void fault_of_a_chunk_that_comes_asks_for_it(void **state)
{
	struct vb_ioc_fetch req;
	uint32_t object;
	pid_t pid;
	int status;

	(void)state;
	begin();
	object = object_of(id);
	move_of(object, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST);
	pid = start(by_fault);
	fetch_page_in(&req);
	assert_int_equal(req.out_object, object);
	move_of(object, VB_MOVE_ABORT, VB_TIER_ZERO, VB_TIER_HOST);
	assert_rc(rig_commit(&x, req.out_tag, -ETIMEDOUT), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	end();
	rig_exec_close(&x);
}

/* ---- a client at the limit of its memory cgroup ---- */

static int make_queues(struct vgpu_uapi *own)
{
	uint32_t q;

	return rig_queue(own, 0, &q);
}

/* Parts of one file, which are no two handles of one store. */
static int make_objects(struct vgpu_uapi *own)
{
	static uint64_t offset;
	static int fd = -1;
	uint32_t bo;

	if (fd < 0)
		fd = rig_file(&rig, 4096);
	if (!offset && ftruncate(fd, 1ll << 40))
		return -errno;
	offset += 4096;
	return rig_bo_file(own, fd, offset, 4096, &bo);
}

static int make_clients(struct vgpu_uapi *own)
{
	struct vgpu_uapi *another;

	(void)own;
	return vgpu_uapi_open_node(getenv("VBLACKWELL_SELFTEST_NODE"), &another);
}

/* Page tables are charged. */
static int make_mappings(struct vgpu_uapi *own)
{
	static uint32_t bo;
	uint8_t *p;
	int rc = bo ? 0 : rig_bo(own, chunks(2), VB_LIFE_VOLATILE, &bo);

	if (!rc)
		rc = own->ops->map(own, (uint64_t)bo << 46, chunks(2), true, (void **)&p);
	return rc ? rc : touch(p + 4096) ? -ENOMEM : 0;
}

static const struct {
	const char *name;
	int (*make)(struct vgpu_uapi *own);
} kinds[] = {
	{ "queues", make_queues }, { "objects", make_objects },
	{ "clients", make_clients }, { "mappings", make_mappings },
};

/* Until it is refused; it exits with the errno, or is killed for it. */
static void make_until_refused(int (*make)(struct vgpu_uapi *own))
{
	struct vgpu_uapi *own;
	int rc = machine_cgroup_enter(CGROUP);

	if (!rc)
		rc = vgpu_uapi_open_node(getenv("VBLACKWELL_SELFTEST_NODE"), &own);
	while (!rc)
		rc = make(own);
	_exit(-rc);
}

/* Somebody else, outside the cgroup. */
static void expect_served(void)
{
	uint32_t bo, q, word = 77, got = 0;
	struct rig_stream s;

	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &bo), 0);
	assert_rc(rig_write(u, bo, 0, &word, 4), 0);
	assert_rc(rig_read(u, bo, 0, &got, 4), 0);
	assert_int_equal(got, word);
	assert_rc(rig_queue(u, 0, &q), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, q, &s, NULL), 0);
	assert_rc(rig_wait(u, q, 1, 20000), 0);
	assert_rc(rig_queue_destroy(u, q), 0);
	assert_rc(rig_bo_destroy(u, bo), 0);
}

/* How the child ended; others are served until it has. */
static int wait_served(pid_t pid)
{
	uint64_t start = rig_now();
	int status;

	while (!waitpid(pid, &status, WNOHANG)) {
		expect_served();
		if (rig_now() - start > 60000000000ull) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			fail_msg("no end");
		}
	}
	return status;
}

/* What a limit of its own refuses says nothing of memory. */
static bool is_out_of_memory(int status)
{
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGKILL;
	return WEXITSTATUS(status) == ENOMEM || WEXITSTATUS(status) == EMFILE;
}

/* All that was charged for the dead comes back, some of it by work of its own. */
static void expect_empty(const char *name)
{
	uint64_t start = rig_now(), left;

	do {
		usleep(20000);
		left = machine_cgroup_get(CGROUP, "memory.current");
	} while (left > CGROUP_BYTES / 8 && rig_now() - start < 20000000000ull);
	if (left > CGROUP_BYTES / 8)
		fail_msg("%s: %llu bytes stay", name, (unsigned long long)left);
}

static void client_at_the_limit_of_its_cgroup_fails_alone(void **state)
{
	const char *why = machine_cgroup_make(CGROUP, CGROUP_BYTES);

	(void)state;
	if (why) {
		fprintf(stderr, "SKIP: %s: %s\n", __func__, why);
		skip();
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		pid_t pid = fork();
		int status;

		if (!pid)
			make_until_refused(kinds[i].make);
		status = wait_served(pid);
		if (!is_out_of_memory(status))
			fail_msg("%s: status %#x", kinds[i].name, status);
		expect_empty(kinds[i].name);
		expect_served();
	}
	assert_true(machine_cgroup_get(CGROUP, "memory.peak") >= CGROUP_BYTES / 2);
	assert_int_equal(rmdir(CGROUP), 0);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest by_hand[] = {
		CASE(without_an_executor_every_call_ends_at_once),
		CASE(silent_executor_keeps_nobody_beyond_a_deadline),
		CASE(silent_executor_keeps_nobody_beyond_the_device_s_own_bound),
		CASE(silent_executor_keeps_nobody_from_dying),
		CASE(eviction_that_waits_can_be_killed),
		CASE(creation_that_waits_can_be_killed),
		CASE(who_waits_for_a_chunk_that_moves_can_be_killed),
		CASE(fault_is_over_when_its_chunk_is_there),
		CASE(fault_of_the_kernel_is_over_when_its_chunk_is_there),
		CASE(what_came_for_another_is_not_asked_for),
		CASE(room_of_who_ended_before_the_answer_is_waited_for),
		CASE(fault_waits_on_while_its_chunk_is_not_there),
		CASE(fault_of_a_chunk_that_comes_asks_for_it),
	};
	const struct CMUnitTest served[] = {
		CASE(client_at_the_limit_of_its_cgroup_fails_alone),
	};
	int failed;

	if (!selftest_has_module("faults"))
		return 0;
	failed = SELFTEST_RUN("faults", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("faults, executor", served, RIG_FAKE, 16, 16);
	return failed ? 1 : 0;
}

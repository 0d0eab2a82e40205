// SPDX-License-Identifier: MIT
/*
 * What a user without privileges, who may open the client node, can do to others:
 * nothing.  The stranger is a child with another uid; the executor is a thread of the
 * parent.
 */
#include "selftests/client.h"

#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define STRANGER	1000u
#define HOST_SLOTS	16u	/* one of them is staging */
#define NVME_SLOTS	32u
#define NONE		(~0ull)

static const char *node(void)
{
	return getenv("VBLACKWELL_SELFTEST_NODE");
}

static const char *exec_node(void)
{
	return getenv("VBLACKWELL_SELFTEST_EXEC");
}

/* ---- the stranger ---- */

/* In a child: a check that fails is told, and ends it. */
#define must(condition) do {								\
	if (!(condition)) {								\
		fprintf(stderr, "# stranger, line %d: %s\n", __LINE__, #condition);	\
		_exit(1);								\
	}										\
} while (0)

/* Signals that the parent takes for a test that fails end the child. */
static void become_stranger(void)
{
	static const int faults[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS };

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		signal(faults[i], SIG_DFL);
	must(!setgroups(0, NULL) && !setgid(STRANGER) && !setuid(STRANGER));
}

static void as_stranger(void (*act)(struct vgpu_uapi *own))
{
	struct vgpu_uapi *own;
	int status;
	pid_t pid = fork();

	if (!pid) {
		become_stranger();
		must(!vgpu_uapi_open_node(node(), &own));
		act(own);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int limit(struct vgpu_uapi *of, uint32_t which, uint32_t flags, uint32_t uid, uint64_t value,
		 uint64_t *used)
{
	struct vb_ioc_limit cmd = {
		.size = sizeof(cmd), .limit = which, .flags = flags, .uid = uid, .value = value,
	};
	int rc = vgpu_uapi_call(of, VB_IOC_LIMIT, &cmd);

	if (used)
		*used = cmd.out_used;
	return rc;
}

static int stranger_limit(uint32_t which, uint64_t value)
{
	return limit(u, which, VB_LIMIT_SET | VB_LIMIT_USER, STRANGER, value, NULL);
}

/* A test that failed has left its limits. */
static int setup(void **state)
{
	int rc = client_setup(state);

	chmod(node(), 0666);
	if (rc)
		return rc;
	rc |= stranger_limit(VB_LIMIT_HOST_MIN, NONE);
	rc |= stranger_limit(VB_LIMIT_HOST_MAX, NONE);
	rc |= stranger_limit(VB_LIMIT_BYTES_MAX, NONE);
	return rc;
}

/* ---- the executor ---- */

static uint32_t generation(void)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };

	assert_rc(vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q), 0);
	assert_int_equal(q.out_exec_state, VB_EXEC_LIVE);
	return q.out_generation;
}

static void attach_anyhow(struct vgpu_uapi *own)
{
	struct vb_ioc_exec_attach cmd = { .size = sizeof(cmd) };
	struct vb_ioc_move mv = { .size = sizeof(mv) };
	struct vb_ioc_fetch fetch = { .size = sizeof(fetch), .flags = VB_FETCH_F_NOWAIT };
	struct vgpu_uapi *exec;
	void *p;

	must(vgpu_uapi_open_exec_node(exec_node(), &exec) == -EACCES);
	must(vgpu_uapi_call(own, VB_IOC_EXEC_ATTACH, &cmd) == -ENOTTY);
	must(vgpu_uapi_call(own, VB_IOC_MOVE, &mv) == -ENOTTY);
	must(vgpu_uapi_call(own, VB_IOC_FETCH, &fetch) == -ENOTTY);
	must(own->ops->map(own, VB_MMAP_SUBMIT, VB_MMAP_SUBMIT_BYTES, false, &p) < 0);
	must(own->ops->map(own, 1ull << 56, 4096, true, &p) < 0);	/* the first region */
	must(own->ops->map(own, 2ull << 56, 4096, false, &p) < 0);	/* a table */
}

static void stranger_cannot_become_executor(void **state)
{
	uint32_t before = generation();

	(void)state;
	as_stranger(attach_anyhow);
	assert_int_equal(generation(), before);
}

static void kill_and_flood(struct vgpu_uapi *own)
{
	struct rig_stream s;
	uint32_t q, id;

	must(kill(getppid(), SIGKILL) == -1 && errno == EPERM);
	must(open("/sys/module/vblackwell/parameters/executor_timeout_ms", O_WRONLY) < 0);
	must(!rig_queue(own, VB_QUEUE_WEIGHT_MAX, &q));
	rig_stream(&s);
	rig_add_nop(&s);
	for (int i = 0; i < 3000; i++) {
		rig_submit(own, q, &s, NULL);
		if (!rig_bo(own, 1, VB_LIFE_VOLATILE, &id) && i % 3)
			rig_advise(own, id, VB_ADVISE_PREFETCH, 0, 1);
	}
	/* It goes with all that in flight. */
}

static void stranger_cannot_detach_the_executor(void **state)
{
	uint32_t before = generation(), id, value = 7;

	(void)state;
	as_stranger(kill_and_flood);
	assert_int_equal(generation(), before);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(u, id, 0, &value, sizeof(value)), 0);
	assert_int_equal(generation(), before);
}

/* ---- objects ---- */

static void reach_for_every_handle(struct vgpu_uapi *own)
{
	struct vb_ioc_bo_info info;
	struct rig_stream s;
	uint32_t q, byte;
	void *p;

	must(!rig_queue(own, 0, &q));
	for (uint32_t id = 1; id < 64; id++) {
		must(rig_info(own, id, &info) == -ENOENT);
		must(rig_read(own, id, 0, &byte, 1) == -ENOENT);
		must(rig_write(own, id, 0, &byte, 1) == -ENOENT);
		must(rig_map(own, id, 0, 1, VB_MAP_READ, &p) == -ENOENT);
		must(own->ops->map(own, (uint64_t)id << 46, 4096, false, &p) == -ENOENT);
		must(rig_bo_destroy(own, id) == -ENOENT);
		rig_stream(&s);
		rig_add_nop(&s);
		rig_add_bo(&s, id, VB_ACCESS_READ);
		must(rig_submit(own, q, &s, NULL) == -ENOENT);
	}
}

static void stranger_cannot_reach_objects_of_others(void **state)
{
	uint32_t id, secret = 0x5ec2e7, got = 0;

	(void)state;
	for (int i = 0; i < 8; i++) {
		assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
		assert_rc(rig_write(u, id, 0, &secret, sizeof(secret)), 0);
	}
	as_stranger(reach_for_every_handle);
	assert_rc(rig_read(u, id, 0, &got, sizeof(got)), 0);
	assert_int_equal(got, secret);
}

static void look_for_secrets(struct vgpu_uapi *own)
{
	uint64_t n = HOST_SLOTS + NVME_SLOTS - 1, *p;
	uint32_t id;

	/* All there is: executors keep a different part of it for transfers. */
	while (rig_bo(own, chunks(n), VB_LIFE_VOLATILE, &id))
		must(n-- > NVME_SLOTS);
	must(!own->ops->map(own, (uint64_t)id << 46, chunks(n), true, (void **)&p));
	for (uint64_t i = 0; i < chunks(n) / 8; i += 64) {
		must(!p[i]);
		p[i] = ~i;
	}
	for (uint64_t i = 0; i < chunks(n) / 8; i += 64)
		must(p[i] == ~i);
}

static void stranger_finds_no_stale_data(void **state)
{
	uint64_t bytes = chunks(HOST_SLOTS + 8);
	uint8_t *secret = malloc(bytes);
	uint32_t id;

	(void)state;
	assert_non_null(secret);
	memset(secret, 0xa5, bytes);
	for (int i = 0; i < 2; i++) {
		assert_rc(rig_bo(u, bytes, VB_LIFE_VOLATILE, &id), 0);
		assert_rc(rig_write(u, id, 0, secret, bytes), 0);
		assert_rc(rig_bo_destroy(u, id), 0);
		as_stranger(look_for_secrets);
	}
	free(secret);
}

/* Chunks are whole; what is behind the end of a file in its last one is nobody's. */
static void look_behind_the_end(struct vgpu_uapi *own)
{
	int fd = rig_file(&rig, chunks(1) + 100);
	uint32_t id;
	uint8_t *p;

	must(fd >= 0 && !rig_bo_file(own, fd, 0, chunks(1) + 100, &id));
	must(!own->ops->map(own, (uint64_t)id << 46, chunks(2), false, (void **)&p));
	must(p[chunks(1) + 99] == rig_pattern(chunks(1) + 99));
	for (uint64_t i = chunks(1) + 100; i < chunks(2); i++)
		must(!p[i]);
	must(!rig_bo(own, 100, VB_LIFE_VOLATILE, &id) && !rig_write(own, id, 0, "x", 1));
	must(!own->ops->map(own, (uint64_t)id << 46, chunks(1), false, (void **)&p));
	for (uint64_t i = 1; i < chunks(1); i++)
		must(!p[i]);
}

static void stranger_finds_nothing_behind_the_end(void **state)
{
	uint64_t bytes = chunks(HOST_SLOTS + 8);
	uint8_t *secret = malloc(bytes);
	uint32_t id;

	(void)state;
	assert_non_null(secret);
	memset(secret, 0xa5, bytes);
	assert_rc(rig_bo(u, bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(u, id, 0, secret, bytes), 0);
	assert_int_equal(chmod(rig.directory, 0777), 0);
	as_stranger(look_behind_the_end);
	assert_rc(rig_bo_destroy(u, id), 0);
	free(secret);
}

/* ---- limits ---- */

static void change_limits(struct vgpu_uapi *own)
{
	uint32_t set = VB_LIMIT_SET, user = VB_LIMIT_USER;

	must(limit(own, VB_LIMIT_BYTES_MAX, set, 0, chunks(1), NULL) == 0);
	must(limit(own, VB_LIMIT_BYTES_MAX, set, 0, chunks(2), NULL) == -EPERM);
	must(limit(own, VB_LIMIT_BYTES_MAX, set, 0, NONE, NULL) == -EPERM);
	must(limit(own, VB_LIMIT_HOST_MIN, set, 0, chunks(12), NULL) == -EPERM);
	must(limit(own, VB_LIMIT_SUBMISSIONS, set, 0, 100000, NULL) == -EPERM);
	must(limit(own, VB_LIMIT_WEIGHT, set, 0, 101, NULL) == -EPERM);
	must(limit(own, VB_LIMIT_WEIGHT, set, 0, 50, NULL) == 0);
	must(limit(own, VB_LIMIT_BYTES_MAX, user, STRANGER, 0, NULL) == 0);
	must(limit(own, VB_LIMIT_BYTES_MAX, user | set, STRANGER, chunks(1), NULL) == -EPERM);
	must(limit(own, VB_LIMIT_BYTES_MAX, user, 0, 0, NULL) == -EPERM);
	must(limit(own, VB_LIMIT_BYTES_MAX, user | set, 0, 1, NULL) == -EPERM);
}

static void stranger_cannot_raise_limits(void **state)
{
	(void)state;
	as_stranger(change_limits);
}

/* Each new client's default is a part of what is left: together they would have it all. */
static void ask_for_promises(struct vgpu_uapi *own)
{
	struct vgpu_uapi *more;

	must(limit(own, VB_LIMIT_HOST_MIN, VB_LIMIT_SET, 0, chunks(1), NULL) == -EPERM);
	for (int i = 0; i < 8; i++) {
		must(!vgpu_uapi_open_node(node(), &more));
		must(limit(more, VB_LIMIT_HOST_MIN, VB_LIMIT_SET, 0, 1, NULL) == -EPERM);
	}
	must(limit(own, VB_LIMIT_HOST_MIN, VB_LIMIT_SET, 0, 0, NULL) == 0);
}

static void divide_a_promise(struct vgpu_uapi *own)
{
	must(limit(own, VB_LIMIT_HOST_MIN, VB_LIMIT_SET, 0, chunks(4) + 1, NULL) == -EPERM);
	must(limit(own, VB_LIMIT_HOST_MIN, VB_LIMIT_SET, 0, chunks(4), NULL) == 0);
}

static void stranger_cannot_have_memory_promised(void **state)
{
	uint32_t id;
	void *p;

	(void)state;
	as_stranger(ask_for_promises);
	assert_rc(rig_bo(u, chunks(15), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_map(u, id, 0, chunks(15), VB_MAP_READ, &p), 0);
	assert_rc(rig_unmap(u, id, 0, chunks(15), VB_MAP_READ), 0);
	assert_rc(stranger_limit(VB_LIMIT_HOST_MIN, chunks(4)), 0);
	as_stranger(divide_a_promise);
	assert_rc(stranger_limit(VB_LIMIT_HOST_MIN, NONE), 0);
}

static void use_two_clients(struct vgpu_uapi *own)
{
	struct vgpu_uapi *second;
	uint32_t id;

	must(!vgpu_uapi_open_node(node(), &second));
	must(!rig_bo(own, chunks(2), VB_LIFE_VOLATILE, &id));
	must(rig_bo(second, chunks(2), VB_LIFE_VOLATILE, &id) == -EDQUOT);
	must(!rig_bo(second, chunks(1), VB_LIFE_VOLATILE, &id));
}

static void users_are_limited_each_by_its_own(void **state)
{
	uint32_t id;

	(void)state;
	assert_rc(stranger_limit(VB_LIMIT_BYTES_MAX, chunks(3)), 0);
	as_stranger(use_two_clients);
	/* The limit stays while nobody of that uid is there, and does not bind others. */
	as_stranger(use_two_clients);
	assert_rc(rig_bo(u, chunks(8), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(stranger_limit(VB_LIMIT_BYTES_MAX, NONE), 0);
}

static void inherited(struct vgpu_uapi *own)
{
	uint32_t id;

	(void)own;
	must(!rig_bo(u, chunks(4), VB_LIFE_VOLATILE, &id));
}

static void who_opened_a_client_is_charged_whoever_uses_it(void **state)
{
	uint64_t before, used;

	(void)state;
	assert_rc(limit(u, VB_LIMIT_BYTES_MAX, VB_LIMIT_USER, 0, 0, &before), 0);
	assert_rc(stranger_limit(VB_LIMIT_BYTES_MAX, chunks(1)), 0);
	as_stranger(inherited);
	assert_rc(limit(u, VB_LIMIT_BYTES_MAX, VB_LIMIT_USER, 0, 0, &used), 0);
	assert_int_equal(used, before + chunks(4));
	assert_rc(limit(u, VB_LIMIT_BYTES_MAX, VB_LIMIT_USER, STRANGER, 0, &used), 0);
	assert_int_equal(used, 0);
	assert_rc(stranger_limit(VB_LIMIT_BYTES_MAX, NONE), 0);
}

/* ---- user namespaces ---- */

#define MAP		"0 %u 1\n1 100000 2\n"

static void namespaces_or_skip(void)
{
	FILE *may = fopen("/proc/sys/kernel/unprivileged_userns_clone", "w");

	/* Debian's own. */
	if (may) {
		fputs("1", may);
		fclose(may);
	}
	if (!access("/proc/self/ns/user", F_OK))
		return;
	print_message("SKIP: this kernel has no user namespaces (CONFIG_USER_NS)\n");
	skip();
}

static void map_write(pid_t pid, const char *which, uint32_t owner)
{
	char path[64], map[64];
	int n = snprintf(map, sizeof(map), MAP, owner), fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, which);
	fd = open(path, O_WRONLY);
	assert_int_equal(write(fd, map, n), n);
	close(fd);
}

/* @owner makes a namespace and is root there, with two more uids, which newuidmap would give it. */
static void as_owner_of_namespace(uint32_t owner, void (*act)(void))
{
	int made[2], mapped[2], status;
	char byte = 0;
	pid_t pid;

	assert_false(pipe(made) || pipe(mapped));
	pid = fork();
	if (!pid) {
		close(mapped[1]);
		if (owner)
			become_stranger();
		must(!unshare(CLONE_NEWUSER) && write(made[1], &byte, 1) == 1);
		must(read(mapped[0], &byte, 1) == 1);
		act();
		_exit(0);
	}
	close(made[1]);
	if (read(made[0], &byte, 1) == 1) {
		map_write(pid, "uid_map", owner);
		map_write(pid, "gid_map", owner);
		assert_int_equal(write(mapped[1], &byte, 1), 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(made[0]);
	close(mapped[0]);
	close(mapped[1]);
}

static struct vgpu_uapi *open_as(uint32_t uid)
{
	struct vgpu_uapi *own;

	must(!seteuid(uid) && !vgpu_uapi_open_node(node(), &own) && !seteuid(0));
	return own;
}

static struct vgpu_uapi *subuids[2];

static uint64_t bytes_of(struct vgpu_uapi *of, uint32_t uid)
{
	uint64_t used;

	must(!limit(of, VB_LIMIT_BYTES_MAX, VB_LIMIT_USER, uid, 0, &used));
	return used;
}

static void use_two_subuids(void)
{
	uint32_t id;

	subuids[0] = open_as(1);
	subuids[1] = open_as(2);
	must(!rig_bo(subuids[0], chunks(2), VB_LIFE_VOLATILE, &id));
	must(rig_bo(subuids[1], chunks(2), VB_LIFE_VOLATILE, &id) == -EDQUOT);
	must(!rig_bo(subuids[1], chunks(1), VB_LIFE_VOLATILE, &id));
	/* Here the owner is uid 0, and may look at what is its own. */
	must(bytes_of(subuids[0], 0) == chunks(3));
	must(limit(subuids[0], VB_LIMIT_BYTES_MAX, VB_LIMIT_USER, 1, 0, NULL) == -EPERM);
}

/* One within it that another uid made. */
static void nest_a_namespace(void)
{
	struct vgpu_uapi *own;
	uint32_t id;

	must(!seteuid(2) && !unshare(CLONE_NEWUSER) && !vgpu_uapi_open_node(node(), &own));
	must(rig_bo(own, chunks(4), VB_LIFE_VOLATILE, &id) == -EDQUOT);
	must(!rig_bo(own, chunks(3), VB_LIFE_VOLATILE, &id));
}

static void subuids_are_charged_to_who_made_their_namespace(void **state)
{
	(void)state;
	namespaces_or_skip();
	assert_rc(stranger_limit(VB_LIMIT_BYTES_MAX, chunks(3)), 0);
	as_owner_of_namespace(STRANGER, use_two_subuids);
	as_owner_of_namespace(STRANGER, nest_a_namespace);
	assert_rc(stranger_limit(VB_LIMIT_BYTES_MAX, NONE), 0);
}

static void count_each_by_itself(void)
{
	uint64_t of_root = bytes_of(u, 0);
	uint32_t id;

	subuids[0] = open_as(1);
	subuids[1] = open_as(2);
	for (uint32_t i = 0; i < 2; i++)
		must(!rig_bo(subuids[i], chunks(i + 1), VB_LIFE_VOLATILE, &id));
	for (uint32_t i = 0; i < 2; i++)
		must(bytes_of(subuids[i], i + 1) == chunks(i + 1));
	must(bytes_of(u, 0) == of_root);
}

/* As a container has: its uids are users, and counted as any. */
static void uids_in_a_namespace_of_root_are_charged_each_for_itself(void **state)
{
	(void)state;
	namespaces_or_skip();
	as_owner_of_namespace(0, count_each_by_itself);
}

static struct rig_stream big;

/*
 * Streams of 16 KiB until no more are taken; how many were.  The executor refuses them: before
 * each of a thousand commands it would ask whether it is to go on.
 */
static uint32_t flood(struct vgpu_uapi *of, uint32_t *queue)
{
	uint32_t n = 0;
	int rc;

	if (rig_queue(of, 0, queue))
		return 0;
	while (!(rc = rig_submit(of, *queue, &big, NULL)))
		n++;
	return rc == -EDQUOT ? n : 0;
}

static void submit_beside_a_flood(struct vgpu_uapi *own)
{
	uint32_t queue, n = flood(own, &queue);

	/* Half of the half that the other has left: 4 MiB. */
	must(n >= 200 && n <= 256);
}

static void one_user_cannot_fill_the_submit_region(void **state)
{
	uint32_t queue, n, again;

	(void)state;
	rig_stream(&big);
	big.h.bytes = sizeof(big.bytes);
	fake_exec_pause(rig.fake);
	n = flood(u, &queue);
	assert_in_range(n, 400, 512);
	as_stranger(submit_beside_a_flood);
	fake_exec_resume(rig.fake);
	assert_rc(rig_wait(u, queue, n, 60000), -EINVAL);
	/* It comes back, the last of it after its fence. */
	fake_exec_pause(rig.fake);
	again = flood(u, &queue);
	assert_in_range(again, n - 2, n);
	fake_exec_resume(rig.fake);
	assert_rc(rig_wait(u, queue, again, 60000), -EINVAL);
}

/* ---- waiting ---- */

#define NOPS	1000u
#define WAITERS	3000u	/* submissions, of VB_SUBMIT_FENCES_MAX in-fences each */

/*
 * How long half of so many submissions take, once they may run: when the last one ends all who
 * wait for it end in the same stroke, and who measures is to have come before that.
 */
static uint64_t run_nops(uint32_t queue, uint64_t first)
{
	uint64_t before = rig_now();

	fake_exec_resume(rig.fake);
	assert_rc(rig_wait(u, queue, first + NOPS / 2, 120000), 0);
	return rig_now() - before;
}

static void submit_nops(uint32_t queue)
{
	fake_exec_pause(rig.fake);
	rig_stream(&big);
	rig_add_nop(&big);
	for (uint32_t i = 0; i <= NOPS; i++)
		assert_rc(rig_submit(u, queue, &big, NULL), 0);
}

static void who_waits_for_the_last_fence_does_not_slow_down_the_others(void **state)
{
	uint64_t alone, waited_for;
	uint32_t queue, other;

	(void)state;
	assert_rc(rig_queue(u, 0, &queue), 0);
	assert_rc(rig_queue(u, 0, &other), 0);
	submit_nops(queue);
	alone = run_nops(queue, 1);
	assert_rc(rig_wait(u, queue, NOPS + 1, 60000), 0);
	submit_nops(queue);
	for (uint32_t i = 0; i < VB_SUBMIT_FENCES_MAX; i++)
		rig_add_fence(&big, queue, 2 * (NOPS + 1));
	for (uint32_t i = 0; i < WAITERS; i++)
		assert_rc(rig_submit(u, other, &big, NULL), 0);
	waited_for = run_nops(queue, NOPS + 2);
	assert_rc(rig_wait(u, other, WAITERS, 120000), 0);
	if (waited_for > 3 * alone + 200000000)
		fail_msg("%llu ms, %llu ms without who waits", (unsigned long long)waited_for / 1000000,
			 (unsigned long long)alone / 1000000);
}

static int tell(uint32_t queue, uint64_t seqno, int fd)
{
	struct vb_ioc_fence_eventfd cmd = {
		.size = sizeof(cmd), .queue_id = queue, .seqno = seqno, .fd = fd,
	};

	return vgpu_uapi_call(u, VB_IOC_FENCE_EVENTFD, &cmd);
}

static void expect_told(int fd, uint64_t times)
{
	uint64_t sum = 0, n;

	for (; sum < times; sum += n)
		assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(sum, times);
}

static void eventfds_that_wait_are_limited_and_all_are_told(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	uint32_t queue;

	(void)state;
	assert_rc(rig_queue(u, 0, &queue), 0);
	submit_nops(queue);
	for (uint32_t i = 0; i < VB_WAITS_MAX; i++)
		assert_rc(tell(queue, NOPS + 1 - i % 7, fd), 0);
	assert_rc(tell(queue, NOPS + 1, fd), -EDQUOT);
	fake_exec_resume(rig.fake);
	assert_rc(rig_wait(u, queue, NOPS + 1, 60000), 0);
	expect_told(fd, VB_WAITS_MAX);
	/* There is room again, and of a queue that goes all are told as well. */
	submit_nops(queue);
	for (uint32_t i = 0; i < NOPS; i++)
		assert_rc(tell(queue, 2 * (NOPS + 1) - i, fd), 0);
	assert_rc(rig_queue_destroy(u, queue), 0);
	fake_exec_resume(rig.fake);
	expect_told(fd, NOPS);
	close(fd);
}

/* ---- stores ---- */

struct meeting {
	struct vgpu_uapi *comes;
	int fd, rc;
	uint32_t rounds, id;
	_Atomic uint32_t begun, ended;
};

/* In each round it opens what the other one gives up at that moment. */
static void *come(void *arg)
{
	struct meeting *m = arg;

	for (uint32_t i = 1; i <= m->rounds; i++) {
		while (atomic_load(&m->begun) != i)
			;
		m->rc = rig_bo_file(m->comes, m->fd, 0, chunks(1), &m->id);
		atomic_store(&m->ended, i);
	}
	return NULL;
}

static uint64_t charged(struct vgpu_uapi *of)
{
	uint64_t used;

	assert_rc(limit(of, VB_LIMIT_HOST_MAX, 0, 0, 0, &used), 0);
	return used;
}

static void who_left_a_store_pays_for_it_no_more(void **state)
{
	struct meeting m = { .comes = rig_client(&rig), .fd = rig_file(&rig, chunks(1)),
			     .rounds = 2000 };
	pthread_t thread;
	uint32_t id;
	char byte;

	(void)state;
	assert_true(m.comes && m.fd >= 0);
	assert_int_equal(pthread_create(&thread, NULL, come, &m), 0);
	for (uint32_t i = 1; i <= m.rounds; i++) {
		assert_rc(rig_bo_file(u, m.fd, 0, chunks(1), &id), 0);
		assert_rc(rig_read(u, id, 0, &byte, 1), 0);
		atomic_store(&m.begun, i);
		assert_rc(rig_bo_destroy(u, id), 0);
		while (atomic_load(&m.ended) != i)
			;
		assert_rc(m.rc, 0);
		for (int tries = 0; charged(u) && tries < 5000; tries++)
			usleep(1000);
		assert_int_equal(charged(u), 0);
		assert_rc(rig_bo_destroy(m.comes, m.id), 0);
	}
	pthread_join(thread, NULL);
	rig_client_close(m.comes);
	close(m.fd);
}

/* The test is the executor: one reads, or faults, and it serves and sees who asked. */
struct asker {
	struct vgpu_uapi *own;
	const char *mapped;
	uint32_t id;
	int rc;
};

static void *ask(void *arg)
{
	struct asker *a = arg;
	char byte;

	if (a->mapped)
		a->rc = *(const volatile char *)a->mapped != (char)rig_pattern(0);
	else
		a->rc = rig_read(a->own, a->id, chunks(1), &byte, 1);
	return NULL;
}

static uint32_t who_asked(struct rig_exec *x, struct asker *a)
{
	struct vb_ioc_fetch req;
	pthread_t thread;
	uint32_t client;

	assert_int_equal(pthread_create(&thread, NULL, ask, a), 0);
	while (rig_fetch(x, &req) == -EAGAIN || req.out_type != VB_FETCH_PAGE_IN)
		usleep(1000);
	client = req.out_client;
	assert_rc(rig_step(x, req.out_object, req.out_chunk, VB_MOVE_BEGIN, VB_TIER_SOURCE,
			   VB_TIER_HOST), 0);
	memset(x->memory, rig_pattern(0), x->bytes);
	assert_rc(rig_step(x, req.out_object, req.out_chunk, VB_MOVE_COMMIT, VB_TIER_SOURCE,
			   VB_TIER_HOST), 0);
	assert_rc(rig_commit(x, req.out_tag, 0), 0);
	pthread_join(thread, NULL);
	assert_rc(a->rc, 0);
	assert_rc(rig_step(x, req.out_object, req.out_chunk, VB_MOVE_DROP, VB_TIER_HOST,
			   VB_TIER_HOST), 0);
	return client;
}

/* Whoever shares a store with somebody could have the executor work at the other's expense. */
static void who_asks_for_a_page_in_is_charged_for_it(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	int fd = rig_file(&rig, chunks(2));
	struct asker a[2] = { { .own = u }, { .own = other } };
	uint32_t read[2], faulted[2];
	struct rig_exec x;

	(void)state;
	assert_true(other && fd >= 0);
	assert_int_equal(rig_exec_open(&rig, &x, 4), 0);
	for (int i = 0; i < 2; i++) {
		assert_rc(rig_bo_file(a[i].own, fd, 0, chunks(2), &a[i].id), 0);
		read[i] = who_asked(&x, &a[i]);
		assert_rc(a[i].own->ops->map(a[i].own, (uint64_t)a[i].id << 46, 4096, false,
					     (void **)&a[i].mapped), 0);
		faulted[i] = who_asked(&x, &a[i]);
		assert_int_equal(read[i], faulted[i]);
	}
	assert_int_not_equal(read[0], read[1]);
	for (int i = 0; i < 2; i++)
		munmap((void *)a[i].mapped, 4096);
	rig_exec_close(&x);
	rig_client_close(other);
	close(fd);
}

/* Fifteen chunks of content; eight are kept for a user who is not there. */
static void promise_to_a_user_is_kept_before_it_comes(void **state)
{
	uint32_t id;
	void *p;

	(void)state;
	assert_rc(stranger_limit(VB_LIMIT_HOST_MIN, chunks(8)), 0);
	assert_rc(rig_bo(u, chunks(15), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_map(u, id, 0, chunks(8), VB_MAP_READ, &p), -ENOSPC);
	assert_rc(rig_map(u, id, 0, chunks(7), VB_MAP_READ, &p), 0);
	assert_rc(rig_map(u, id, chunks(7), chunks(1), VB_MAP_READ, &p), -ENOSPC);
	assert_rc(stranger_limit(VB_LIMIT_HOST_MIN, NONE), 0);
	assert_rc(rig_map(u, id, chunks(7), chunks(1), VB_MAP_READ, &p), 0);
}

/* One page of a slot in a pipe keeps the whole slot from everybody else. */
static int lend_and_destroy(struct vgpu_uapi *own)
{
	struct iovec iov = { .iov_len = 4096 };
	uint32_t id, value = 1;
	int fds[2], rc;

	must(!pipe(fds));
	must(!rig_bo(own, chunks(1), VB_LIFE_VOLATILE, &id));
	rc = rig_write(own, id, 0, &value, sizeof(value));
	if (!rc) {
		must(!own->ops->map(own, (uint64_t)id << 46, 4096, true, &iov.iov_base));
		must(vmsplice(fds[1], &iov, 1, 0) == 4096);
		munmap(iov.iov_base, 4096);
	}
	must(!rig_bo_destroy(own, id));
	return rc;
}

static void lock_up_slots(struct vgpu_uapi *own)
{
	struct vgpu_uapi *second;
	uint64_t used;
	uint32_t id;
	void *p;

	for (int i = 0; i < 4; i++)
		must(!lend_and_destroy(own));
	must(lend_and_destroy(own) == -EDQUOT);
	must(!vgpu_uapi_open_node(node(), &second));
	must(lend_and_destroy(second) == -EDQUOT);
	must(!limit(own, VB_LIMIT_HOST_MAX, VB_LIMIT_USER, STRANGER, 0, &used));
	must(used == chunks(4));
	/* Fifteen slots are for content: others still have eleven. */
	must(!rig_bo(u, chunks(11), VB_LIFE_VOLATILE, &id));
	must(!rig_map(u, id, 0, chunks(11), VB_MAP_READ, &p));
	must(!rig_unmap(u, id, 0, chunks(11), VB_MAP_READ));
	must(!rig_bo_destroy(u, id));
}

static void write_one(struct vgpu_uapi *own)
{
	must(!lend_and_destroy(own));
}

static void slots_in_quarantine_are_charged_to_their_user(void **state)
{
	uint64_t used;

	(void)state;
	assert_rc(stranger_limit(VB_LIMIT_HOST_MAX, chunks(4)), 0);
	as_stranger(lock_up_slots);
	/* With its pipes the stranger's slots came back, to it as well. */
	as_stranger(write_one);
	assert_rc(limit(u, VB_LIMIT_HOST_MAX, VB_LIMIT_USER, STRANGER, 0, &used), 0);
	assert_in_range(used, 0, chunks(1));
	assert_rc(stranger_limit(VB_LIMIT_HOST_MAX, NONE), 0);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, selftest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(stranger_cannot_become_executor),
		CASE(stranger_cannot_detach_the_executor),
		CASE(stranger_cannot_reach_objects_of_others),
		CASE(stranger_finds_no_stale_data),
		CASE(stranger_finds_nothing_behind_the_end),
		CASE(stranger_cannot_raise_limits),
		CASE(stranger_cannot_have_memory_promised),
		CASE(users_are_limited_each_by_its_own),
		CASE(who_opened_a_client_is_charged_whoever_uses_it),
		CASE(subuids_are_charged_to_who_made_their_namespace),
		CASE(uids_in_a_namespace_of_root_are_charged_each_for_itself),
		CASE(slots_in_quarantine_are_charged_to_their_user),
		CASE(who_left_a_store_pays_for_it_no_more),
		CASE(promise_to_a_user_is_kept_before_it_comes),
		CASE(one_user_cannot_fill_the_submit_region),
		CASE(who_waits_for_the_last_fence_does_not_slow_down_the_others),
		CASE(eventfds_that_wait_are_limited_and_all_are_told),
	};

	/* What the executor that people run has its part in. */
	const struct CMUnitTest real[] = {
		CASE(stranger_cannot_detach_the_executor),
		CASE(stranger_cannot_reach_objects_of_others),
		CASE(stranger_finds_no_stale_data),
		CASE(stranger_finds_nothing_behind_the_end),
	};
	const struct CMUnitTest by_hand[] = { CASE(who_asks_for_a_page_in_is_charged_for_it) };
	int failed = 0;

	if (!selftest_has_module("borders"))
		return 0;
	if (geteuid()) {
		fprintf(stderr, "SKIP: borders: only root can become another user\n");
		return 0;
	}
	failed += SELFTEST_RUN("borders", tests, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("borders, executor", real, RIG_REAL, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("borders, by hand", by_hand, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}

// SPDX-License-Identifier: MIT
/*
 * Who holds a node: an open file is one client, or the one executor, however many
 * descriptors of it there are and in whose hands; it is gone with the last of them, and
 * until then nobody takes the module away.  An executor is gone before when it was silent.
 */
#include "selftests/selftest.h"
#include "vm/machine.h"

#include "common/ring.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SLOTS		4u
#define PATIENCE_MS	10000

static struct vgpu_uapi *u;

static void must(bool ok)
{
	if (!ok)
		_exit(99);
}

static uint64_t reserved_chunks(void)
{
	struct vb_ioc_query_tier t;

	assert_rc(rig_tier(u, VB_TIER_HOST, &t), 0);
	return t.out_reserved_bytes / rig.chunk_bytes;
}

/* The kernel may close what the dead had a moment later. */
static void expect_reserved(uint64_t chunks)
{
	for (int ms = 0; ms < PATIENCE_MS && reserved_chunks() != chunks; ms++)
		usleep(1000);
	assert_int_equal(reserved_chunks(), chunks);
}

static void expect_state(uint32_t state)
{
	for (int ms = 0; ms < PATIENCE_MS && machine_exec_state(u) != state; ms++)
		usleep(1000);
	assert_int_equal(machine_exec_state(u), state);
}

static void nobody_unloads_the_module(void)
{
	assert_int_equal(syscall(SYS_delete_module, "vblackwell", O_NONBLOCK), -1);
	assert_true(errno == EWOULDBLOCK || errno == EBUSY);
}

/* Of an object that it has: 0 or -errno. */
static int ask(int fd, uint32_t bo)
{
	struct vb_ioc_bo_info info = { .size = sizeof(info), .bo_id = bo };

	return ioctl(fd, VB_IOC_BO_INFO, &info) < 0 ? -errno : 0;
}

/* ---- processes ---- */

struct peer {
	pid_t pid;
	int fd;		/* a socket to it */
};

static void start(struct peer *p, void (*act)(int fd))
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p->pid = fork();
	if (!p->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		act(fds[1]);
		for (;;)
			pause();
	}
	close(fds[1]);
	p->fd = fds[0];
}

static void end(struct peer *p)
{
	kill(p->pid, SIGKILL);
	assert_int_equal(waitpid(p->pid, NULL, 0), p->pid);
}

/* A word with a descriptor, or without: -1. */
static void say(int socket, uint32_t word, int fd)
{
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .h = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { &word, sizeof(word) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		memcpy(CMSG_DATA(&control.h), &fd, sizeof(fd));
	}
	must(sendmsg(socket, &m, 0) == sizeof(word));
}

static uint32_t hear(int socket, int *out_fd)
{
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	uint32_t word = UINT32_MAX;
	struct iovec iov = { &word, sizeof(word) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	struct pollfd in = { .fd = socket, .events = POLLIN };

	if (poll(&in, 1, PATIENCE_MS) != 1 || recvmsg(socket, &m, 0) != sizeof(word))
		return UINT32_MAX;
	if (out_fd)
		memcpy(out_fd, CMSG_DATA(&control.h), sizeof(*out_fd));
	return word;
}

static int setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	machine_set_ms("recovery_ms", 20000);
	return rc;
}

static int teardown(void **state)
{
	machine_set_ms("recovery_ms", 0);
	return selftest_teardown(state);
}

/* ---- clients ---- */

static struct rig_exec x;	/* for the arenas that objects are promised */

static int client_setup(void **state)
{
	return setup(state) ? -1 : rig_exec_open(&rig, &x, SLOTS);
}

static int client_teardown(void **state)
{
	rig_exec_close(&x);
	return teardown(state);
}

static void client_lives_until_its_last_duplicate_is_closed(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	int fd = dup(other->ops->fd(other));
	uint32_t bo;

	(void)state;
	assert_true(fd >= 0);
	assert_rc(rig_bo(other, 2 * rig.chunk_bytes, VB_LIFE_VOLATILE, &bo), 0);
	rig_client_close(other);
	assert_rc(ask(fd, bo), 0);
	assert_int_equal(reserved_chunks(), 2);
	close(fd);
	expect_reserved(0);
}

static struct vgpu_uapi *inherited;

static void make_an_object(int socket)
{
	uint32_t bo;

	must(!rig_bo(inherited, rig.chunk_bytes, VB_LIFE_VOLATILE, &bo));
	say(socket, bo, -1);
}

static void client_that_forked_is_one_client_until_both_have_gone(void **state)
{
	struct peer child;
	uint32_t own, bo;

	(void)state;
	inherited = rig_client(&rig);
	assert_rc(rig_bo(inherited, rig.chunk_bytes, VB_LIFE_VOLATILE, &own), 0);
	start(&child, make_an_object);
	bo = hear(child.fd, NULL);
	assert_int_not_equal(bo, own);
	assert_rc(ask(inherited->ops->fd(inherited), bo), 0);
	rig_client_close(inherited);
	usleep(50000);
	assert_int_equal(reserved_chunks(), 2);
	end(&child);
	expect_reserved(0);
	close(child.fd);
}

static void open_make_and_send(int socket)
{
	struct vgpu_uapi *own = rig_client(&rig);
	uint32_t bo;

	must(own && !rig_bo(own, 3 * rig.chunk_bytes, VB_LIFE_VOLATILE, &bo));
	say(socket, bo, own->ops->fd(own));
}

static void client_passed_on_lives_with_who_received_it(void **state)
{
	struct peer sender;
	uint32_t bo;
	int fd = -1;

	(void)state;
	start(&sender, open_make_and_send);
	bo = hear(sender.fd, &fd);
	assert_int_not_equal(bo, UINT32_MAX);
	end(&sender);
	usleep(50000);
	assert_int_equal(reserved_chunks(), 3);
	assert_rc(ask(fd, bo), 0);
	close(fd);
	expect_reserved(0);
	close(sender.fd);
}

static void client_that_nobody_received_goes_with_the_socket(void **state)
{
	struct pollfd in = { .events = POLLIN };
	struct peer sender;

	(void)state;
	start(&sender, open_make_and_send);
	in.fd = sender.fd;
	assert_int_equal(poll(&in, 1, PATIENCE_MS), 1);
	end(&sender);
	usleep(50000);
	assert_int_equal(reserved_chunks(), 3);
	close(sender.fd);
	expect_reserved(0);
}

/* All that a client can have: content, a mapping of it, a queue with work. */
static void have_everything_and_exec(int socket)
{
	struct vgpu_uapi *own = rig_client(&rig);
	struct rig_stream s;
	uint32_t bo, queue;
	void *p;

	must(own && !rig_bo(own, 3 * rig.chunk_bytes, VB_LIFE_VOLATILE, &bo));
	must(!own->ops->map(own, (uint64_t)bo << 46, rig.chunk_bytes, true, &p));
	must(!rig_queue(own, 0, &queue));
	rig_stream(&s);
	rig_add_nop(&s);
	rig_add_bo(&s, bo, VB_ACCESS_READ);
	must(!rig_submit(own, queue, &s, NULL));
	say(socket, 0, -1);
	must(hear(socket, NULL) == 0);
	execl("/bin/busybox", "sleep", "1000", NULL);
	_exit(98);
}

static void exec_of_a_client_leaves_nothing(void **state)
{
	struct peer client;

	(void)state;
	start(&client, have_everything_and_exec);
	assert_int_equal(hear(client.fd, NULL), 0);
	assert_int_equal(reserved_chunks(), 3);
	say(client.fd, 0, -1);
	for (int i = 0; i < 6000 && reserved_chunks(); i++) {
		/* Objects that the executor has heard of are its to forget. */
		rig_serve_one(&x);
		usleep(10000);
	}
	assert_int_equal(reserved_chunks(), 0);
	assert_int_equal(waitpid(client.pid, NULL, WNOHANG), 0);
	end(&client);
	close(client.fd);
}

static void mapping_alone_keeps_the_module(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	uint32_t bo;
	void *p;

	(void)state;
	assert_rc(rig_bo(other, rig.chunk_bytes, VB_LIFE_VOLATILE, &bo), 0);
	assert_rc(other->ops->map(other, (uint64_t)bo << 46, rig.chunk_bytes, true, &p), 0);
	rig_client_close(other);
	rig_exec_close(&x);
	nobody_unloads_the_module();
	munmap(p, rig.chunk_bytes);
}

/* ---- the executor ---- */

static void attach(struct vgpu_uapi *node)
{
	struct vb_ioc_exec_attach cmd = { .size = sizeof(cmd) };

	must(!vgpu_uapi_call(node, VB_IOC_EXEC_ATTACH, &cmd));
}

static uint32_t submitted_nop(void)
{
	struct rig_stream s;
	uint32_t queue;

	assert_rc(rig_queue(u, 0, &queue), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
	return queue;
}

/* Somebody still has its file: it is there, and nobody takes its place. */
static void expect_it_is_there(void)
{
	struct vgpu_uapi *second;

	usleep(50000);
	assert_int_equal(machine_exec_state(u), VB_EXEC_LIVE);
	assert_rc(rig_exec_node(&rig, &second), -EBUSY);
	nobody_unloads_the_module();
}

/* Its work waits for the next one, who does it. */
static void expect_a_successor_goes_on(uint32_t queue)
{
	struct vb_ioc_fetch req;
	struct rig_exec next;
	uint32_t state;

	expect_state(VB_EXEC_QUIESCED);
	assert_rc(rig_wait(u, queue, 1, 0), -ETIME);
	assert_rc(rig_exec_attach(&rig, &next, &state), 0);
	assert_int_equal(state, VB_EXEC_RECOVERING);
	assert_rc(rig_recover(&next, 0), 0);
	assert_rc(rig_fetch(&next, &req), 0);
	assert_rc(rig_commit(&next, req.out_tag, 0), 0);
	assert_rc(rig_wait(u, queue, 1, 1000), 0);
	rig_exec_close(&next);
}

static void executor_lives_until_its_last_duplicate_is_closed(void **state)
{
	struct vgpu_uapi *node;
	uint32_t queue;
	int fd;

	(void)state;
	assert_rc(rig_exec_node(&rig, &node), 0);
	attach(node);
	queue = submitted_nop();
	fd = dup(node->ops->fd(node));
	assert_true(fd >= 0);
	node->ops->close(node);
	expect_it_is_there();
	close(fd);
	expect_a_successor_goes_on(queue);
}

static void executor_lives_while_it_is_mapped(void **state)
{
	struct vgpu_uapi *node;
	uint32_t queue;
	void *p;

	(void)state;
	assert_rc(rig_exec_node(&rig, &node), 0);
	attach(node);
	assert_rc(node->ops->map(node, VB_MMAP_SUBMIT, VB_MMAP_SUBMIT_BYTES, false, &p), 0);
	queue = submitted_nop();
	node->ops->close(node);
	expect_it_is_there();
	munmap(p, VB_MMAP_SUBMIT_BYTES);
	expect_a_successor_goes_on(queue);
}

/* Its child does nothing but hold it. */
static void attach_and_fork(int socket)
{
	struct vgpu_uapi *node;
	pid_t child;

	must(!rig_exec_node(&rig, &node));
	attach(node);
	child = fork();
	must(child >= 0);
	if (child)
		say(socket, (uint32_t)child, -1);
}

static void executor_that_forked_is_there_until_its_child_has_gone(void **state)
{
	struct peer parent;
	uint32_t queue;
	pid_t child;

	(void)state;
	/* The child becomes ours when its parent dies. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	start(&parent, attach_and_fork);
	child = (pid_t)hear(parent.fd, NULL);
	assert_true(child > 0);
	queue = submitted_nop();
	end(&parent);
	expect_it_is_there();
	/* Who waits for it has a time of their own, or can be killed. */
	assert_rc(rig_wait(u, queue, 1, 100), -ETIME);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	expect_a_successor_goes_on(queue);
	close(parent.fd);
}

static void attach_and_send(int socket)
{
	struct vgpu_uapi *node;

	must(!rig_exec_node(&rig, &node));
	attach(node);
	say(socket, 0, node->ops->fd(node));
}

static void executor_passed_on_works_on(void **state)
{
	struct vb_ioc_fetch req = { .size = sizeof(req), .flags = VB_FETCH_F_NOWAIT };
	struct vb_ioc_commit done = { .size = sizeof(done) };
	struct peer sender;
	uint32_t queue, last;
	int fd = -1;
	void *p;

	(void)state;
	start(&sender, attach_and_send);
	assert_int_equal(hear(sender.fd, &fd), 0);
	end(&sender);
	expect_it_is_there();
	/* What it fetches lies where it was mapped last. */
	p = mmap(NULL, VB_MMAP_SUBMIT_BYTES, PROT_READ, MAP_SHARED, fd, (off_t)VB_MMAP_SUBMIT);
	assert_ptr_not_equal(p, MAP_FAILED);
	queue = submitted_nop();
	assert_int_equal(ioctl(fd, VB_IOC_FETCH, &req), 0);
	done.tag = req.out_tag;
	done.generation = (uint32_t)(req.out_tag >> 32);
	assert_int_equal(ioctl(fd, VB_IOC_COMMIT, &done), 0);
	assert_rc(rig_wait(u, queue, 1, 1000), 0);
	last = submitted_nop();
	munmap(p, VB_MMAP_SUBMIT_BYTES);
	close(fd);
	expect_a_successor_goes_on(last);
	close(sender.fd);
}

/* With host memory, which the other side can map. */
static void attach_with_memory_and_send(int socket)
{
	static struct rig_exec own;

	must(!rig_exec_open(&rig, &own, SLOTS));
	say(socket, own.host, own.node->ops->fd(own.node));
}

#define CGROUP		"/sys/fs/cgroup/holder"
#define MANY_BYTES	(32ull << 20)

static void attach_in_a_cgroup_and_send(int socket)
{
	static struct rig_exec own;

	must(!machine_cgroup_enter(CGROUP) && !rig_exec_open(&rig, &own, (uint32_t)(MANY_BYTES / rig.chunk_bytes)));
	say(socket, own.host, own.node->ops->fd(own.node));
}

static uint8_t *map_region(int fd, uint32_t arena)
{
	struct vb_ioc_region first = { .size = sizeof(first), .arena = arena };
	void *p;

	assert_int_equal(ioctl(fd, VB_IOC_REGION_NEXT, &first), 0);
	p = mmap(NULL, rig.chunk_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 (off_t)first.out_mmap_offset);
	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void *fetch_one(void *fd)
{
	struct vb_ioc_fetch req = { .size = sizeof(req) };

	/* There is the one submission; then nothing. */
	while (!ioctl((int)(intptr_t)fd, VB_IOC_FETCH, &req))
		;
	return (void *)(intptr_t)-errno;
}

/* Of requests only, of which there are none. */
static void arm_fetch(struct ring *ring, int fd)
{
	struct ring_answer a;

	assert_rc(ring_open(ring, u, 8, 0), 0);
	ring->fd = fd;
	ring_add_fetch(ring, VB_FETCH_F_URGENT, 0, 1, 0);
	assert_rc(ring_next(ring, 50, &a), -ETIME);
}

static void expect_nothing_is_left_of_it(int fd, uint8_t *region, uint8_t *submit)
{
	struct vb_ioc_fetch req = { .size = sizeof(req), .flags = VB_FETCH_F_NOWAIT };
	struct vb_ioc_exec_attach again = { .size = sizeof(again) };
	struct pollfd in = { .fd = fd, .events = POLLIN };

	assert_int_equal(machine_peek(region), -1);
	assert_int_equal(machine_peek(region + 4096), -1);
	assert_int_equal(machine_peek(submit), -1);
	assert_int_equal(ioctl(fd, VB_IOC_FETCH, &req), -1);
	assert_int_equal(errno, ESTALE);
	assert_int_equal(ioctl(fd, VB_IOC_EXEC_ATTACH, &again), -1);
	assert_int_equal(errno, ESTALE);
	assert_ptr_equal(mmap(NULL, VB_MMAP_SUBMIT_BYTES, PROT_READ, MAP_SHARED, fd,
			      (off_t)VB_MMAP_SUBMIT), MAP_FAILED);
	assert_int_equal(errno, ESTALE);
	assert_int_equal(poll(&in, 1, 0), 1);
	assert_int_equal(in.revents, POLLERR);
}

/* Its file goes when another one has been there for long. */
static void expect_no_harm_by_its_end(int fd, uint8_t *region, uint8_t *submit)
{
	struct rig_exec next;
	uint32_t state;

	assert_rc(rig_exec_attach(&rig, &next, &state), 0);
	assert_rc(rig_recover(&next, 0), 0);
	munmap(region, rig.chunk_bytes);
	munmap(submit, VB_MMAP_SUBMIT_BYTES);
	close(fd);
	expect_it_is_there();
	rig_exec_close(&next);
}

/* Silent are both: nobody answers what is fetched. */
static void silence_takes_the_memory_from_all_who_have_it(void **state)
{
	struct ring_answer a;
	struct peer sender;
	struct ring ring;
	uint8_t *region, *submit;
	uint32_t queue, arena;
	pthread_t thread;
	int fd = -1, status;
	void *rc;

	(void)state;
	start(&sender, attach_with_memory_and_send);
	arena = hear(sender.fd, &fd);
	assert_int_not_equal(arena, UINT32_MAX);
	submit = mmap(NULL, VB_MMAP_SUBMIT_BYTES, PROT_READ, MAP_SHARED, fd, (off_t)VB_MMAP_SUBMIT);
	assert_ptr_not_equal(submit, MAP_FAILED);
	region = map_region(fd, arena);
	region[0] = 1;
	assert_int_equal(machine_peek(submit), *submit);
	queue = submitted_nop();
	arm_fetch(&ring, fd);
	assert_int_equal(pthread_create(&thread, NULL, fetch_one, (void *)(intptr_t)fd), 0);
	machine_set_ms("executor_timeout_ms", 2000);
	assert_int_equal(waitpid(sender.pid, &status, 0), sender.pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	/* Who sleeps there is told. */
	assert_int_equal(pthread_join(thread, &rc), 0);
	assert_int_equal((intptr_t)rc, -ESTALE);
	assert_rc(ring_next(&ring, PATIENCE_MS, &a), 0);
	assert_int_equal(a.res, -ESTALE);
	ring_add_fetch(&ring, VB_FETCH_F_NOWAIT, 0, 1, 1);
	assert_rc(ring_next(&ring, PATIENCE_MS, &a), 0);
	assert_int_equal(a.res, -ESTALE);
	ring_close(&ring);
	expect_nothing_is_left_of_it(fd, region, submit);
	machine_set_ms("executor_timeout_ms", 30000);
	expect_a_successor_goes_on(queue);
	expect_nothing_is_left_of_it(fd, region, submit);
	expect_no_harm_by_its_end(fd, region, submit);
	close(sender.fd);
}

/* ---- what those cost whose file stays open ---- */

/* It has memory, and its file passes on. */
static int begin_in_a_cgroup(struct peer *p, uint32_t *arena)
{
	int fd = -1;

	start(p, attach_in_a_cgroup_and_send);
	*arena = hear(p->fd, &fd);
	assert_int_not_equal(*arena, UINT32_MAX);
	return fd;
}

/* Nobody waits for another one. */
static void fall_silent(struct peer *p)
{
	submitted_nop();
	machine_set_ms("executor_timeout_ms", 2000);
	expect_state(VB_EXEC_FAILED);
	machine_set_ms("executor_timeout_ms", 30000);
	assert_int_equal(waitpid(p->pid, NULL, 0), p->pid);
	close(p->fd);
}

static void expect_charged(uint64_t least, uint64_t most)
{
	uint64_t now = 0;

	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		now = machine_cgroup_get(CGROUP, "memory.current");
		if (now >= least && now <= most)
			return;
		usleep(1000);
	}
	fail_msg("%llu bytes are charged", (unsigned long long)now);
}

static void *map_all(int fd, uint32_t arena)
{
	struct vb_ioc_region first = { .size = sizeof(first), .arena = arena };
	uint8_t *p;

	assert_int_equal(ioctl(fd, VB_IOC_REGION_NEXT, &first), 0);
	p = mmap(NULL, MANY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 (off_t)first.out_mmap_offset);
	assert_ptr_not_equal(p, MAP_FAILED);
	for (uint64_t i = 0; i < MANY_BYTES; i += 4096)
		p[i] = 1;
	return p;
}

/* Its tier is not there twice: what is mapped still, and cannot be used, keeps nothing. */
static void silence_frees_memory_that_is_mapped(void **state)
{
	const char *why = machine_cgroup_make(CGROUP, UINT64_MAX);
	struct peer p;
	uint32_t arena;
	uint8_t *all;
	int fd;

	(void)state;
	if (why) {
		fprintf(stderr, "SKIP: %s: memory cgroup: %s\n", __func__, why);
		skip();
	}
	machine_set_ms("recovery_ms", 0);
	fd = begin_in_a_cgroup(&p, &arena);
	all = map_all(fd, arena);
	expect_charged(MANY_BYTES, UINT64_MAX);
	fall_silent(&p);
	expect_charged(0, MANY_BYTES / 2);
	assert_int_equal(machine_peek(all), -1);
	/* In pieces, each of which refers to what is no more. */
	assert_int_equal(munmap(all + 4096, 4096), 0);
	assert_int_equal(machine_peek(all + 8192), -1);
	assert_int_equal(munmap(all, MANY_BYTES), 0);
	close(fd);
	assert_int_equal(rmdir(CGROUP), 0);
}

static int add_memory(struct vgpu_uapi *node)
{
	struct vb_ioc_arena_create arena = {
		.size = sizeof(arena), .tier = VB_TIER_HOST, .numa_node = -1, .slots = SLOTS,
	};
	struct vb_ioc_region region = { .size = sizeof(region), .slots = SLOTS };

	assert_rc(vgpu_uapi_call(node, VB_IOC_ARENA_CREATE, &arena), 0);
	region.arena = arena.out_arena;
	return vgpu_uapi_call(node, VB_IOC_REGION_ADD, &region);
}

static struct vgpu_uapi *attached_after(uint32_t lingering)
{
	struct vb_ioc_exec_attach cmd = { .size = sizeof(cmd) };
	struct vgpu_uapi *node;

	assert_rc(rig_exec_node(&rig, &node), 0);
	assert_rc(vgpu_uapi_call(node, VB_IOC_EXEC_ATTACH, &cmd), 0);
	assert_int_equal(cmd.out_lingering, lingering);
	return node;
}

/* What they have pinned may be a tier each: there is a second one, and no third. */
static void two_whose_files_stay_open_leave_no_memory_for_a_third(void **state)
{
	struct vgpu_uapi *node;
	struct peer p;
	uint32_t arena;
	int fd[2] = { -1, -1 };

	(void)state;
	machine_set_ms("recovery_ms", 0);
	for (uint32_t i = 0; i < 2; i++) {
		start(&p, attach_with_memory_and_send);
		arena = hear(p.fd, &fd[i]);
		assert_int_not_equal(arena, UINT32_MAX);
		fall_silent(&p);
	}
	node = attached_after(2);
	assert_rc(add_memory(node), -ENOMEM);
	close(fd[0]);
	assert_rc(add_memory(node), 0);
	node->ops->close(node);
	node = attached_after(1);
	node->ops->close(node);
	close(fd[1]);
	node = attached_after(0);
	node->ops->close(node);
}

/* ---- one that cannot leave ---- */

#define DISK		"/dev/vb2"
#define FOLDER		"/tmp/holder"

static int file = -1;
static uint8_t *mapped;		/* an object of it */
static uint32_t object;

static void file_make(void)
{
	mkdir(FOLDER, 0700);
	if (system("mke2fs -b 4096 " DISK " >/dev/null 2>&1") ||
	    mount(DISK, FOLDER, "ext4", 0, NULL)) {
		fprintf(stderr, "SKIP: this kernel or machine has no ext4\n");
		skip();
	}
	file = open(FOLDER "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, (off_t)rig.chunk_bytes), 0);
}

/* It reads when somebody waits for it, who holds the file's lock: that is no wait for a kill. */
static void attach_and_read(int socket)
{
	static struct rig_exec own;
	struct pollfd in = { .events = POLLPRI };
	int fd = open(FOLDER "/file", O_RDONLY | O_DIRECT | O_CLOEXEC);

	must(fd >= 0 && !rig_exec_open(&rig, &own, SLOTS));
	say(socket, 0, -1);
	in.fd = own.node->ops->fd(own.node);
	must(poll(&in, 1, -1) == 1);
	pread(fd, own.memory, 4096, 0);
	say(socket, 1, -1);
}

static void *write_it_to_itself(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)(pwrite(file, mapped, 4096, 0) < 0 ? -errno : 0);
}

static void succeed_and_refuse(void)
{
	struct vb_ioc_fetch req;
	struct rig_exec next;
	uint32_t state;

	assert_rc(rig_exec_attach(&rig, &next, &state), 0);
	assert_int_equal(state, VB_EXEC_RECOVERING);
	assert_rc(rig_recover(&next, 0), 0);
	assert_rc(rig_fetch(&next, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	assert_rc(rig_commit(&next, req.out_tag, -EIO), 0);
	rig_exec_close(&next);
}

/* Who finds a file system on that disk takes it for a model. */
static void disk_blank(void)
{
	static const char zeros[64 << 10];
	int fd = open(DISK, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, zeros, sizeof(zeros)), sizeof(zeros));
	close(fd);
}

static void file_forget(void)
{
	int rc = -1;

	munmap(mapped, rig.chunk_bytes);
	close(file);
	assert_rc(rig_bo_destroy(u, object), 0);
	for (int ms = 0; ms < PATIENCE_MS && rc; ms++) {
		rc = umount(FOLDER);
		usleep(1000);
	}
	assert_int_equal(rc, 0);
	disk_blank();
}

/* A client writes to its file what the executor is to bring: the file is locked until then. */
static void executor_that_cannot_leave_has_a_successor(void **state)
{
	struct peer reader;
	pthread_t thread;
	void *rc;

	(void)state;
	file_make();
	start(&reader, attach_and_read);
	assert_int_equal(hear(reader.fd, NULL), 0);
	assert_rc(rig_bo_file(u, file, 0, rig.chunk_bytes, &object), 0);
	mapped = machine_map(u, object, rig.chunk_bytes, false);
	assert_int_equal(pthread_create(&thread, NULL, write_it_to_itself, NULL), 0);
	machine_set_ms("executor_timeout_ms", 2000);
	expect_state(VB_EXEC_QUIESCED);
	machine_set_ms("executor_timeout_ms", 30000);
	/* Killed, and there: it waits for the file. */
	assert_int_equal(waitpid(reader.pid, NULL, WNOHANG), 0);
	succeed_and_refuse();
	pthread_join(thread, &rc);
	assert_int_equal((intptr_t)rc, -EFAULT);
	end(&reader);
	close(reader.fd);
	file_forget();
}

#define CLIENT(name)	cmocka_unit_test_setup_teardown(name, client_setup, client_teardown)
#define EXECUTOR(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLIENT(client_lives_until_its_last_duplicate_is_closed),
		CLIENT(client_that_forked_is_one_client_until_both_have_gone),
		CLIENT(client_passed_on_lives_with_who_received_it),
		CLIENT(client_that_nobody_received_goes_with_the_socket),
		CLIENT(exec_of_a_client_leaves_nothing),
		CLIENT(mapping_alone_keeps_the_module),
		EXECUTOR(executor_lives_until_its_last_duplicate_is_closed),
		EXECUTOR(executor_lives_while_it_is_mapped),
		EXECUTOR(executor_that_forked_is_there_until_its_child_has_gone),
		EXECUTOR(executor_passed_on_works_on),
		EXECUTOR(silence_takes_the_memory_from_all_who_have_it),
		EXECUTOR(silence_frees_memory_that_is_mapped),
		EXECUTOR(two_whose_files_stay_open_leave_no_memory_for_a_third),
		EXECUTOR(executor_that_cannot_leave_has_a_successor),
	};
	int failed = 0;

	if (!getenv("VBLACKWELL_SELFTEST_NODE")) {
		fprintf(stderr, "SKIP: holder: VBLACKWELL_SELFTEST_NODE is not set\n");
		return 0;
	}
	failed += SELFTEST_RUN("holder", tests, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}

// SPDX-License-Identifier: MIT
/*
 * A file whose file system falls silent (tests/vm/fuse_server.c), under the module and the
 * library's executor: waits end at their deadline and with their process, and nobody else
 * waits with them.
 */
#include "selftests/selftest.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "exec/exec.h"
#include "vm/fuse_server.h"
#include "vm/machine.h"

#define MOUNTED		"/tmp/vb-silent"
#define HOST_SLOTS	24u
#define FILE_CHUNKS	6u
#define MOST_MS		20000u		/* nothing takes so long */
#define SERVER_SECONDS	100u

static struct vgpu_uapi *u;
static struct rig_exec by_hand;	/* an executor, of who needs one */

static uint64_t chunks(uint64_t n)
{
	return n * rig.chunk_bytes;
}

/* ---- the file system ---- */

static uint32_t mount_uid;	/* who may ask the server; of what server_start() mounts next */
static bool mount_for_all;	/* everybody may; likewise */
static uint32_t init_flags;	/* FUSE_* that it says it has; likewise */

/* NULL, or why there is none. */
static const char *server_start(void)
{
	struct fuse_server s = {
		.mountpoint = MOUNTED, .bytes = chunks(FILE_CHUNKS), .byte = rig_pattern,
		.uid = mount_uid, .for_all = mount_for_all, .init_flags = init_flags,
		.seconds = SERVER_SECONDS,
	};

	return fuse_server_start(&s);
}

static void be_silent(uint64_t opcodes)
{
	__atomic_store_n(&fuse_orders->opcodes, opcodes, __ATOMIC_RELEASE);
}

/* Requests of one user, with an error, or 0: without an answer. */
static void refuse(uint32_t opcode, uid_t uid, uint32_t error)
{
	fuse_orders->only_uid = uid;
	fuse_orders->error = error;
	be_silent(FUSE_ORDER(opcode));
}

static uint32_t ignored(void)
{
	return __atomic_load_n(&fuse_orders->ignored, __ATOMIC_ACQUIRE);
}

#define NEVER(opcode)	FUSE_ORDER(opcode)

/* ---- the device ---- */

static int start(uint32_t io_timeout_ms)
{
	struct vgpu_exec_params p = {
		.chunk_bytes = rig.chunk_bytes, .threads = 1, .host_bytes = chunks(HOST_SLOTS),
		.io_timeout_ms = io_timeout_ms,
	};
	struct vgpu_uapi *node;
	char text[512] = "";
	int rc = rig_exec_node(&rig, &node);

	if (!rc)
		rc = vgpu_exec_open(node, &p, text, sizeof(text), &rig.real);
	if (rc)
		fprintf(stderr, "executor: %s (%s)\n", text, strerror(-rc));
	return rc;
}

static int setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	return rc;
}

static void set_executor_timeout_ms(unsigned int ms)
{
	FILE *f = fopen("/sys/module/vblackwell/parameters/executor_timeout_ms", "w");

	assert_non_null(f);
	fprintf(f, "%u\n", ms);
	assert_int_equal(fclose(f), 0);
}

static int teardown(void **state)
{
	set_executor_timeout_ms(30000);
	machine_set_ms("page_in_timeout_ms", 120000);
	machine_set_ms("recovery_ms", 0);
	mount_uid = 0;
	mount_for_all = false;
	init_flags = 0;
	fuse_server_end();
	rig_exec_close(&by_hand);
	return selftest_teardown(state);
}

#define needs_fuse() do {								\
	const char *why_ = server_start();						\
											\
	if (why_) {									\
		fprintf(stderr, "SKIP: %s: %s\n", __func__, why_);			\
		skip();									\
	}										\
} while (0)

/* One chunk of the file; nobody reads ahead from one object into another. */
static uint32_t file_object(uint32_t chunk)
{
	int fd = open(MOUNTED "/file", O_RDONLY | O_CLOEXEC);
	uint32_t id;

	assert_true(fd >= 0);
	assert_rc(rig_bo_file(u, fd, chunks(chunk), chunks(1), &id), 0);
	close(fd);
	return id;
}

static int read_by(uint32_t id, uint64_t deadline_ns)
{
	uint32_t word = 0;
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bo_id = id, .bytes = 4,
				   .address = (uintptr_t)&word, .deadline_ns = deadline_ns };

	return vgpu_uapi_call(u, VB_IOC_BO_READ, &rw);
}

static sigjmp_buf bus;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(bus, 1);
}

static bool raises_sigbus(const volatile uint8_t *p)
{
	struct sigaction act = { .sa_handler = on_bus }, old;
	volatile bool raised = true;

	sigaction(SIGBUS, &act, &old);
	if (!sigsetjmp(bus, 1)) {
		(void)*p;
		raised = false;
	}
	sigaction(SIGBUS, &old, NULL);
	return raised;
}

static uint8_t *map_object(uint32_t id, uint64_t bytes)
{
	void *p;

	assert_rc(u->ops->map(u, (uint64_t)id << 46, bytes, false, &p), 0);
	return p;
}

static int submit_copy(uint32_t from, uint32_t to, uint32_t queue, uint64_t *seqno)
{
	struct rig_stream s;

	rig_stream(&s);
	rig_add_bo(&s, from, VB_ACCESS_READ);
	rig_add_bo(&s, to, VB_ACCESS_WRITE);
	rig_add_copy(&s, 0, 1, 1024);
	return rig_submit(u, queue, &s, seqno);
}

/* An object of somebody else: written, read and used by a command, each in time. */
static void expect_served(uint32_t anonymous, uint32_t queue)
{
	uint64_t begin = rig_now(), seqno;
	uint32_t to, word = 0x12345678, got = 0;

	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &to), 0);
	assert_rc(rig_write(u, anonymous, 0, &word, 4), 0);
	assert_rc(submit_copy(anonymous, to, queue, &seqno), 0);
	assert_rc(rig_wait(u, queue, seqno, MOST_MS), 0);
	assert_rc(rig_read(u, to, 0, &got, 4), 0);
	assert_int_equal(got, word);
	assert_rc(rig_bo_destroy(u, to), 0);
	assert_true(rig_now() - begin < MOST_MS / 4 * 1000000ull);
}

/* ---- tests ---- */

static void silent_file_ends_each_wait_in_time_and_stops_nobody_else(void **state)
{
	uint32_t id[5], other, queue, theirs, to;
	uint64_t begin = rig_now(), seqno;
	uint8_t byte, *p;
	int rc;

	(void)state;
	needs_fuse();
	assert_rc(start(1000), 0);
	for (uint32_t i = 0; i < 5; i++)
		id[i] = file_object(i);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &to), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	assert_rc(rig_queue(u, 0, &theirs), 0);
	assert_rc(rig_read(u, id[0], 5, &byte, 1), 0);
	assert_int_equal(byte, rig_pattern(5));
	be_silent(NEVER(FUSE_READ));
	assert_rc(read_by(id[1], rig_now() + 300000000ull), -ETIME);
	assert_rc(submit_copy(id[2], to, queue, &seqno), 0);
	expect_served(other, theirs);
	assert_rc(rig_wait(u, queue, seqno, MOST_MS), -ETIMEDOUT);
	assert_rc(read_by(id[3], 0), -ETIMEDOUT);
	p = map_object(id[4], chunks(1));
	assert_true(raises_sigbus(p));
	munmap(p, chunks(1));
	assert_rc(read_by(id[0], 0), 0);
	expect_served(other, theirs);
	assert_true(ignored() > 0);
	assert_true(rig_now() - begin < MOST_MS * 1000000ull);
	/* It dies: what it had not answered ends, and is no other error than a disk's. */
	fuse_server_end();
	begin = rig_now();
	do {
		rc = read_by(id[3], 0);
	} while (rc == -ETIMEDOUT && rig_now() - begin < MOST_MS * 1000000ull);
	assert_rc(rc, -EIO);
	expect_served(other, theirs);
}

static uint32_t silent_id, silent_queue;

static void by_read(void)
{
	read_by(silent_id, 0);
}

static void by_fault(void)
{
	raises_sigbus(map_object(silent_id, chunks(1)));
}

static void by_map(void)
{
	void *p;

	rig_map(u, silent_id, 0, chunks(1), VB_MAP_READ, &p);
}

static void by_pin(void)
{
	rig_advise(u, silent_id, VB_ADVISE_PIN, 0, chunks(1));
}

static void by_wait(void)
{
	uint32_t to;
	uint64_t seqno;

	if (!rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &to) &&
	    !submit_copy(silent_id, to, silent_queue, &seqno))
		rig_wait(u, silent_queue, seqno, RIG_FOREVER);
}

/* It waits, and is gone within a second of SIGKILL. */
static void expect_killable(void (*wait)(void))
{
	pid_t pid = fork();
	uint64_t killed;
	int status;

	if (!pid) {
		wait();
		_exit(1);
	}
	usleep(400000);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	killed = rig_now();
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(rig_now() - killed < 1000000000ull);
}

/* Storage's own deadline is far away: others are served all the same. */
static void waits_for_a_silent_file_end_with_their_process(void **state)
{
	static void (*const waits[])(void) = { by_read, by_fault, by_map, by_pin, by_wait };
	uint32_t other, queue;

	(void)state;
	needs_fuse();
	assert_rc(start(60000), 0);
	silent_id = file_object(1);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_queue(u, 0, &silent_queue), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	be_silent(NEVER(FUSE_READ));
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		expect_killable(waits[i]);
		expect_served(other, queue);
	}
	fuse_server_end();
}

/* It has a file of the module's, which reads at the server and asks for nothing else. */
static void executor_opens_and_closes_nothing_at_the_server(void **state)
{
	uint32_t id, other, queue;
	uint8_t byte;

	(void)state;
	needs_fuse();
	assert_rc(start(2000), 0);
	id = file_object(1);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	be_silent(NEVER(FUSE_OPEN) | NEVER(FUSE_FLUSH) | NEVER(FUSE_GETATTR));
	assert_rc(rig_read(u, id, 7, &byte, 1), 0);
	assert_int_equal(byte, rig_pattern(chunks(1) + 7));
	assert_rc(rig_bo_destroy(u, id), 0);
	for (int i = 0; i < 5; i++)
		expect_served(other, queue);
	assert_int_equal(ignored(), 0);
	be_silent(0);
	fuse_server_end();
}

/* In a process of its own; it says when it serves. */
static pid_t start_apart(uint32_t io_timeout_ms)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!start(io_timeout_ms) && write(ready[1], "", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

/* Its node is free as soon as it has gone. */
static void expect_gone(pid_t pid, uint64_t since)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	assert_true(rig_now() - since < MOST_MS / 4 * 1000000ull);
}

/* What has been read stays read, what nobody answers is given up again. */
static void expect_succeeded(uint32_t read, uint32_t unread)
{
	uint32_t other, queue;

	assert_rc(start(1000), 0);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	expect_served(other, queue);
	assert_rc(read_by(read, 0), 0);
	assert_rc(read_by(unread, 0), -ETIMEDOUT);
	expect_served(other, queue);
}

static void killed_executor_leaves_before_a_silent_file_answers(void **state)
{
	uint64_t killed;
	uint32_t id[3];
	uint8_t byte;
	pid_t pid;

	(void)state;
	needs_fuse();
	machine_set_ms("recovery_ms", 20000);
	pid = start_apart(60000);
	for (uint32_t i = 0; i < 3; i++)
		id[i] = file_object(i);
	assert_rc(rig_read(u, id[0], 7, &byte, 1), 0);
	be_silent(NEVER(FUSE_READ));
	assert_rc(read_by(id[1], rig_now() + 300000000ull), -ETIME);
	assert_rc(read_by(id[2], rig_now() + 300000000ull), -ETIME);
	assert_true(ignored() > 0);
	killed = rig_now();
	kill(pid, SIGKILL);
	expect_gone(pid, killed);
	expect_succeeded(id[0], id[1]);
	/* Its server still owes what the dead one had asked for. */
	be_silent(0);
	assert_rc(read_by(id[2], 0), 0);
	fuse_server_end();
}

/* What was written to the file, by another descriptor, is asked for when its last one goes. */
static void last_word_of_a_silent_file_keeps_no_executor(void **state)
{
	uint32_t id, other, queue;
	uint64_t killed;
	uint8_t byte;
	pid_t pid;
	int fd;

	(void)state;
	init_flags = FUSE_WRITEBACK_CACHE;
	needs_fuse();
	machine_set_ms("recovery_ms", 20000);
	pid = start_apart(60000);
	fd = open(MOUNTED "/file", O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	id = file_object(1);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	assert_rc(rig_read(u, id, 7, &byte, 1), 0);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	be_silent(NEVER(FUSE_WRITE) | NEVER(FUSE_SETATTR) | NEVER(FUSE_FLUSH));
	assert_rc(rig_bo_destroy(u, id), 0);
	for (int i = 0; i < 5; i++)
		expect_served(other, queue);
	while (!ignored())
		usleep(1000);
	killed = rig_now();
	kill(pid, SIGKILL);
	expect_gone(pid, killed);
	assert_rc(start(1000), 0);
	expect_served(other, queue);
	fuse_server_end();
	close(fd);
}

/* Storage may keep it waiting for longer than it may be silent itself. */
static void waiting_for_a_silent_file_is_no_silence_of_the_executor(void **state)
{
	uint32_t id[2], other, queue, to;
	uint64_t seqno;

	(void)state;
	needs_fuse();
	set_executor_timeout_ms(2000);
	assert_rc(start(3000), 0);
	id[0] = file_object(0);
	id[1] = file_object(1);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &to), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	be_silent(NEVER(FUSE_READ));
	assert_rc(read_by(id[0], 0), -ETIMEDOUT);
	assert_rc(submit_copy(id[1], to, queue, &seqno), 0);
	assert_rc(rig_wait(u, queue, seqno, MOST_MS), -ETIMEDOUT);
	expect_served(other, queue);
	fuse_server_end();
}

/* The executor asks a file system for content, and for nothing else. */
static void executor_does_not_ask_what_a_file_looks_like(void **state)
{
	uint32_t id, other, queue;
	uint8_t byte;

	(void)state;
	needs_fuse();
	assert_rc(start(1000), 0);
	id = file_object(1);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	be_silent(NEVER(FUSE_GETATTR));
	assert_rc(rig_read(u, id, 9, &byte, 1), 0);
	assert_int_equal(byte, rig_pattern(chunks(1) + 9));
	expect_served(other, queue);
	assert_int_equal(ignored(), 0);
	be_silent(0);
}

/* Nor does who submits: what does not answer could not even be killed there. */
static void submitter_does_not_ask_what_a_file_looks_like(void **state)
{
	uint32_t id, to, queue;
	uint64_t begin, seqno;

	(void)state;
	needs_fuse();
	assert_rc(start(1000), 0);
	id = file_object(1);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &to), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	be_silent(NEVER(FUSE_GETATTR));
	begin = rig_now();
	assert_rc(submit_copy(id, to, queue, &seqno), 0);
	assert_rc(rig_wait(u, queue, seqno, MOST_MS), 0);
	assert_true(rig_now() - begin < MOST_MS * 1000000ull);
	assert_int_equal(ignored(), 0);
	be_silent(0);
}

/* FUSE takes a short answer for the end of the file, until it asks how long it is. */
static void make_known_length_less(void)
{
	static uint8_t buf[128 << 10];
	int fd = open(MOUNTED "/file", O_RDONLY | O_CLOEXEC);
	struct statx st;

	assert_true(fd >= 0);
	__atomic_store_n(&fuse_orders->read_most, 4096, __ATOMIC_RELEASE);
	assert_true(pread(fd, buf, sizeof(buf), 0) >= 0);
	__atomic_store_n(&fuse_orders->read_most, 0, __ATOMIC_RELEASE);
	assert_int_equal(statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &st), 0);
	assert_true(st.stx_size < chunks(FILE_CHUNKS));
	close(fd);
}

static void short_answer_is_no_change_of_the_file(void **state)
{
	uint32_t id, to, queue, word = 0, want = 0;
	uint64_t seqno;

	(void)state;
	needs_fuse();
	assert_rc(start(1000), 0);
	id = file_object(1);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &to), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	make_known_length_less();
	assert_rc(submit_copy(id, to, queue, &seqno), 0);
	assert_rc(rig_wait(u, queue, seqno, MOST_MS), 0);
	assert_rc(rig_read(u, to, 0, &word, 4), 0);
	for (uint32_t i = 0; i < 4; i++)
		want |= (uint32_t)rig_pattern(chunks(1) + i) << 8 * i;
	assert_int_equal(word, want);
}

/* ---- creation ---- */

static int silent_file;

static int create(void)
{
	uint32_t id;

	return rig_bo_file(u, silent_file, 0, chunks(1), &id);
}

static void by_create(void)
{
	create();
}

/* What a file looks like, and to open it, is asked before there is an object. */
static void creation_from_a_silent_file_ends_with_its_process(void **state)
{
	static const uint64_t silences[] = { NEVER(FUSE_GETATTR), NEVER(FUSE_OPEN) };
	uint32_t other, queue;

	(void)state;
	needs_fuse();
	assert_rc(start(60000), 0);
	silent_file = open(MOUNTED "/file", O_RDONLY | O_CLOEXEC);
	assert_true(silent_file >= 0);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	for (size_t i = 0; i < sizeof(silences) / sizeof(silences[0]); i++) {
		be_silent(silences[i]);
		expect_killable(by_create);
		expect_served(other, queue);
	}
	be_silent(0);
	assert_rc(create(), 0);
	fuse_server_end();
	close(silent_file);
}

#define UNANSWERED	256u	/* that a user may have under way, or has given up */

/* Threads of the module that still wait for a server. */
static uint32_t openers(void)
{
	struct dirent *entry;
	char path[300], name[32];
	DIR *proc = opendir("/proc");
	uint32_t n = 0;
	FILE *f;

	assert_non_null(proc);
	while ((entry = readdir(proc))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		n += fgets(name, sizeof(name), f) && !strcmp(name, "vb-open\n");
		fclose(f);
	}
	closedir(proc);
	return n;
}

/* Those of a server that has ended have a moment to go: until then they count. */
static void expect_no_openers(void)
{
	uint64_t end = rig_now() + MOST_MS * 1000000ull;

	while (openers()) {
		assert_true(rig_now() < end);
		usleep(1000);
	}
}

/* As many as there may be. */
static void give_up_all(struct vgpu_uapi *of, int fd)
{
	uint32_t id;

	machine_set_ms("page_in_timeout_ms", 20);
	for (uint32_t i = 0; i < UNANSWERED; i++)
		assert_rc(rig_bo_file(of, fd, 0, chunks(1), &id), -ETIME);
	assert_rc(rig_bo_file(of, fd, 0, chunks(1), &id), -EDQUOT);
	machine_set_ms("page_in_timeout_ms", 120000);
}

static void expect_created(void)
{
	int fd = rig_file(&rig, 4096);
	uint32_t id;

	assert_rc(rig_bo_file(u, fd, 0, 4096, &id), 0);
	assert_rc(rig_bo_destroy(u, id), 0);
	close(fd);
}

/* Whoever makes more and more of them keeps nobody's file but of such servers. */
static void creation_from_silent_files_ends_in_time_and_so_often(void **state)
{
	int rc = -EDQUOT;

	(void)state;
	needs_fuse();
	expect_no_openers();
	assert_rc(start(60000), 0);
	silent_file = open(MOUNTED "/file", O_RDONLY | O_CLOEXEC);
	assert_true(silent_file >= 0);
	be_silent(NEVER(FUSE_OPEN));
	give_up_all(u, silent_file);
	expect_created();
	/* What the dead one owed is answered for it, and another one is asked as ever. */
	fuse_server_end();
	close(silent_file);
	assert_null(server_start());
	silent_file = open(MOUNTED "/file", O_RDONLY | O_CLOEXEC);
	assert_true(silent_file >= 0);
	for (uint64_t end = rig_now() + MOST_MS * 1000000ull; rc == -EDQUOT && rig_now() < end;) {
		rc = create();
		usleep(1000);
	}
	assert_rc(rc, 0);
	fuse_server_end();
	close(silent_file);
}

/* ---- users ---- */

#define FIRST_UID	1001u
#define SECOND_UID	1002u
/* Of one test only: what others leave is given back in its own time. */
#define COUNTED_UID	1003u
#define SECOND_COUNTED_UID	1004u

/**
 * struct user_of_file - a client that has an object of one chunk of the file
 * @uid: whose
 * @chunk: which
 * @fd: of the file, where it has one; else it opens it
 * @u: client
 * @id: object
 * @rc: 0 or why it has none
 */
struct user_of_file {
	uid_t uid;
	uint32_t chunk;
	int fd;
	struct vgpu_uapi *u;
	uint32_t id;
	int rc;
};

/* A thread has rights of its own, as the kernel sees it. */
static void *begin_to_use(void *arg)
{
	struct user_of_file *f = arg;

	f->rc = syscall(SYS_setresuid, f->uid, f->uid, f->uid) ? -errno : 0;
	if (!f->rc && f->fd < 0) {
		f->fd = open(MOUNTED "/file", O_RDONLY | O_CLOEXEC);
		f->rc = f->fd < 0 ? -errno : 0;
	}
	f->u = f->rc ? NULL : rig_client(&rig);
	if (f->u)
		f->rc = rig_bo_file(f->u, f->fd, chunks(f->chunk), chunks(1), &f->id);
	return NULL;
}

static struct user_of_file user_of_file(uid_t uid, int fd, uint32_t chunk)
{
	struct user_of_file f = { .uid = uid, .chunk = chunk, .fd = fd };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, begin_to_use, &f), 0);
	pthread_join(thread, NULL);
	return f;
}

static void end_use(struct user_of_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->u)
		rig_client_close(f->u);
}

static int read_first(const struct user_of_file *f)
{
	uint8_t byte = 0;
	int rc = rig_read(f->u, f->id, 5, &byte, 1);

	return rc ? rc : byte == rig_pattern(chunks(f->chunk) + 5) ? 0 : -EPROTO;
}

/* Nobody else may ask its server anything, nor may the executor, nor who reads by his client. */
static void file_of_a_user_s_own_server_is_read_for_him(void **state)
{
	struct user_of_file owner;

	(void)state;
	mount_uid = FIRST_UID;
	needs_fuse();
	assert_rc(start(2000), 0);
	owner = user_of_file(FIRST_UID, -1, 1);
	assert_rc(owner.rc, 0);
	assert_rc(read_first(&owner), 0);
	end_use(&owner);
	fuse_server_end();
}

/* What the server refuses one of them is refused him, and what it gives another is no help. */
static void users_of_one_file_are_served_each_with_his_own_rights(void **state)
{
	struct user_of_file first, second;

	(void)state;
	mount_for_all = true;
	needs_fuse();
	assert_rc(start(2000), 0);
	first = user_of_file(FIRST_UID, -1, 1);
	assert_rc(first.rc, 0);
	assert_rc(read_first(&first), 0);
	refuse(FUSE_READ, SECOND_UID, EACCES);
	second = user_of_file(SECOND_UID, -1, 1);
	assert_rc(second.rc, 0);
	assert_rc(read_first(&second), -EACCES);
	assert_true(ignored() > 0);
	end_use(&second);
	/* Nor is who may refused for the other's sake. */
	second = user_of_file(FIRST_UID, -1, 2);
	assert_rc(second.rc, 0);
	assert_rc(read_first(&second), 0);
	end_use(&second);
	be_silent(0);
	second = user_of_file(SECOND_UID, -1, 1);
	assert_rc(second.rc, 0);
	assert_rc(read_first(&second), 0);
	end_use(&second);
	end_use(&first);
	fuse_server_end();
}

/* A descriptor is not enough: the server is asked what the file looks like, for who has it. */
static void file_of_another_user_s_own_server_makes_no_object(void **state)
{
	struct user_of_file first, second;
	int fd;

	(void)state;
	needs_fuse();
	assert_rc(start(2000), 0);
	fd = open(MOUNTED "/file", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	second = user_of_file(SECOND_UID, fd, 1);
	assert_rc(second.rc, -EACCES);
	rig_client_close(second.u);
	first = user_of_file(0, fd, 1);
	assert_rc(first.rc, 0);
	assert_rc(read_first(&first), 0);
	end_use(&first);
	fuse_server_end();
}

/* KiB of the kernel's memory that its user is charged for. */
static uint64_t kernel_kib(const struct user_of_file *f)
{
	return machine_fdinfo_kib(f->u->ops->fd(f->u), "vblackwell-kernel");
}

static void expect_kernel_kib(const struct user_of_file *f, uint64_t kib)
{
	for (uint32_t i = 0; kernel_kib(f) != kib && i < MOST_MS; i++)
		usleep(1000);
	assert_int_equal(kernel_kib(f), kib);
}

/* What the executor is given of an object, for the page-in that it is asked for. */
static int shown_to(const struct user_of_file *f)
{
	struct vb_ioc_object_open open = { .size = sizeof(open), .out_fd = -1 };
	struct vb_ioc_fetch req;

	assert_rc(rig_advise(f->u, f->id, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(&by_hand, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	open.object = req.out_object;
	assert_rc(vgpu_uapi_call(by_hand.node, VB_IOC_OBJECT_OPEN, &open), 0);
	return open.out_fd;
}

/* A piece of the module's: 0, or why it could not be read. */
static int read_shown(int fd, uint32_t chunk)
{
	static uint8_t buf[SMALL_CHUNK];

	if (pread(fd, buf, sizeof(buf), (off_t)chunks(chunk)) < 0)
		return -errno;
	return buf[0] == rig_pattern(chunks(chunk)) ? 0 : -EPROTO;
}

/**
 * struct giving_up - readings of a silent file, each given up in its turn
 * @fd: of the module's
 * @given_up: how many have ended with -ETIMEDOUT
 * @rc: what the next one said
 */
struct giving_up {
	int fd;
	uint32_t given_up;
	int rc;
};

/* For io_uring that is taken down Linux interrupts who has used it: here nobody has. */
static void *give_up_readings(void *arg)
{
	struct giving_up *g = arg;

	do
		g->rc = read_shown(g->fd, 1);
	while (g->rc == -ETIMEDOUT && ++g->given_up <= UNANSWERED);
	return NULL;
}

static struct giving_up readings_given_up(int fd)
{
	struct giving_up g = { .fd = fd };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, give_up_readings, &g), 0);
	pthread_join(thread, NULL);
	return g;
}

/* Each has a thread and its memory until the server answers: a user has so many, others theirs. */
static void readings_that_nobody_answers_are_their_user_s_and_so_many(void **state)
{
	struct user_of_file first, second;
	uint64_t before, theirs;
	struct giving_up g;
	int shown, other;

	(void)state;
	mount_for_all = true;
	needs_fuse();
	assert_rc(rig_exec_open(&rig, &by_hand, 4), 0);
	first = user_of_file(COUNTED_UID, -1, 1);
	second = user_of_file(SECOND_COUNTED_UID, -1, 2);
	assert_rc(first.rc ? first.rc : second.rc, 0);
	shown = shown_to(&first);
	other = shown_to(&second);
	refuse(FUSE_READ, COUNTED_UID, 0);
	expect_no_openers();
	before = kernel_kib(&first);
	theirs = kernel_kib(&second);
	machine_set_ms("page_in_timeout_ms", 20);
	g = readings_given_up(shown);
	assert_int_equal(g.given_up, UNANSWERED);
	assert_rc(g.rc, -EDQUOT);
	assert_true(kernel_kib(&first) >= before + UNANSWERED * (SMALL_CHUNK >> 10));
	assert_int_equal(kernel_kib(&second), theirs);
	machine_set_ms("page_in_timeout_ms", 120000);
	assert_rc(read_shown(other, 2), 0);
	fuse_server_end();
	expect_kernel_kib(&first, before);
	expect_kernel_kib(&second, theirs);
	close(other);
	close(shown);
	end_use(&second);
	end_use(&first);
}

/* What he has opened counts with what is read for him: his page-ins are refused, and no other's. */
static void user_of_too_many_silent_files_is_refused_alone(void **state)
{
	struct user_of_file first, second;

	(void)state;
	mount_for_all = true;
	needs_fuse();
	expect_no_openers();
	assert_rc(start(5000), 0);
	first = user_of_file(FIRST_UID, -1, 1);
	second = user_of_file(SECOND_UID, -1, 2);
	assert_rc(first.rc ? first.rc : second.rc, 0);
	be_silent(NEVER(FUSE_OPEN));
	give_up_all(first.u, first.fd);
	assert_rc(read_first(&first), -EDQUOT);
	assert_rc(read_first(&second), 0);
	/* What the dead one owed counts no more. */
	fuse_server_end();
	expect_no_openers();
	end_use(&first);
	assert_null(server_start());
	first = user_of_file(FIRST_UID, -1, 1);
	assert_rc(first.rc, 0);
	assert_rc(read_first(&first), 0);
	end_use(&first);
	end_use(&second);
	fuse_server_end();
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(silent_file_ends_each_wait_in_time_and_stops_nobody_else),
		CASE(waits_for_a_silent_file_end_with_their_process),
		CASE(executor_opens_and_closes_nothing_at_the_server),
		CASE(killed_executor_leaves_before_a_silent_file_answers),
		CASE(last_word_of_a_silent_file_keeps_no_executor),
		CASE(file_of_a_user_s_own_server_is_read_for_him),
		CASE(waiting_for_a_silent_file_is_no_silence_of_the_executor),
		CASE(executor_does_not_ask_what_a_file_looks_like),
		CASE(submitter_does_not_ask_what_a_file_looks_like),
		CASE(short_answer_is_no_change_of_the_file),
		CASE(creation_from_a_silent_file_ends_with_its_process),
		CASE(creation_from_silent_files_ends_in_time_and_so_often),
		CASE(users_of_one_file_are_served_each_with_his_own_rights),
		CASE(file_of_another_user_s_own_server_makes_no_object),
		CASE(readings_that_nobody_answers_are_their_user_s_and_so_many),
		CASE(user_of_too_many_silent_files_is_refused_alone),
	};

	if (!getenv("VBLACKWELL_SELFTEST_NODE")) {
		fprintf(stderr, "SKIP: fuse: VBLACKWELL_SELFTEST_NODE is not set\n");
		return 0;
	}
	return SELFTEST_RUN("fuse", tests, RIG_NONE, 0, 0) ? 1 : 0;
}

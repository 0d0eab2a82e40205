// SPDX-License-Identifier: MIT
/*
 * The supervisor: starts clients and executors, kills them at any moment, and looks at
 * what they leave behind.
 *
 *	fuzz_module ITERATIONS SEED
 *
 * The module is loaded and nobody uses it.  Prints what failed, how often each request
 * was made, which suite.sh adds up over rounds, and what code of the module was reached in
 * all rounds up to now; exit status 0: nothing failed.
 */
#include "fuzz.h"
#include "vm/fuse_server.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS		3u
#define EXECUTORS	2u	/* one attached, one that waits for its turn */
#define PARTICIPANTS	(CLIENTS + EXECUTORS)
#define STALLED_S	120u	/* without an iteration: something hangs */
#define DYING_S		60u	/* for a process that was killed */

struct fuzz *fuzz;
static struct fuzz_cover cover;
static bool has_dmabuf;

void fuzz_problem(const char *format, ...)
{
	va_list args;

	if (atomic_fetch_add(&fuzz->problems, 1))
		return;
	va_start(args, format);
	vsnprintf(fuzz->problem, sizeof(fuzz->problem), format, args);
	va_end(args);
}

/* ---- requests ---- */

/* Every errno that the header lists, and no other. */
static bool is_documented(int error)
{
	static const int all[] = {
		EINVAL, E2BIG, EFAULT, ENOTTY, ENOENT, ENOSPC, EDQUOT, ENOMEM, EBUSY, EROFS, EPERM,
		ESTALE, EIO, EDOM, ETIME, ETIMEDOUT, ECANCELED, ENODEV, EAGAIN, EINTR, EOPNOTSUPP,
		EOVERFLOW, ERANGE, EBADF, EACCES, EEXIST, ESHUTDOWN, EMFILE,
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] == error)
			return true;
	return false;
}

/* The file system's own words, of a server that has gone. */
static bool is_of_file_system(uint32_t nr, int error)
{
	return nr == _IOC_NR(VB_IOC_BO_CREATE) && (error == ENOTCONN || error == ECONNABORTED);
}

void fuzz_count(uint32_t nr, int rc)
{
	atomic_fetch_add(&fuzz->made[nr % FUZZ_REQUESTS], 1);
	if (!rc)
		atomic_fetch_add(&fuzz->succeeded[nr % FUZZ_REQUESTS], 1);
	else if (!is_documented(-rc) && !is_of_file_system(nr, -rc))
		fuzz_problem("request %#x gave errno %d", nr, -rc);
}

int fuzz_call(int fd, unsigned long request, void *arg)
{
	int rc = ioctl(fd, request, arg) ? -errno : 0;

	fuzz_count(_IOC_NR(request), rc);
	return rc;
}

/* ---- participants ---- */

static struct participant {
	pid_t pid;
	bool stopped;
} participant[PARTICIPANTS];
static uint32_t started;

static bool is_client(uint32_t i)
{
	return i < CLIENTS;
}

static void start(uint32_t i, struct chance *c)
{
	uint64_t seed = chance(c);
	uint32_t who = ++started;
	pid_t pid = fork();

	if (!pid && is_client(i))
		fuzz_client(who, seed);
	if (!pid)
		fuzz_exec(who, seed);
	participant[i] = (struct participant){ .pid = pid };
}

/* They end by themselves or are killed; no fault that they did not expect ends them. */
static void look_at_end(uint32_t i, int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		fuzz_problem("%s %d: %s", is_client(i) ? "client" : "executor", participant[i].pid,
			     strsignal(WTERMSIG(status)));
}

static void restart_the_dead(struct chance *c)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (uint32_t i = 0; i < PARTICIPANTS; i++)
			if (participant[i].pid == pid) {
				look_at_end(i, status);
				start(i, c);
			}
}

static void disturb(struct chance *c)
{
	struct participant *p = &participant[below(c, PARTICIPANTS)];

	if (p->stopped || one_in(c, 60)) {
		p->stopped = !p->stopped;
		kill(p->pid, p->stopped ? SIGSTOP : SIGCONT);
	} else if (one_in(c, 60)) {
		kill(p->pid, SIGKILL);
	}
}

/* ---- a file system that may be silent ---- */

static bool has_silent, is_silent_alive;
static uint64_t silent_seed;

static uint8_t silent_byte(uint64_t offset)
{
	return (uint8_t)(FUZZ_FILE_WORD >> offset % 8 * 8);
}

/* In the server: who asks it waits as long. */
static int silent_fate(uint32_t opcode)
{
	static struct chance c;

	if (!c.state)
		c.state = silent_seed;
	if (one_in(&c, 20))
		usleep((useconds_t)below(&c, 100000));
	if (one_in(&c, 40))
		return -EIO;
	return one_in(&c, opcode == FUSE_READ ? 200 : 60);
}

static const char *silent_start(struct chance *c)
{
	static const struct fuse_server server = {
		.mountpoint = FUZZ_SILENT, .bytes = FUZZ_SILENT_BYTES, .byte = silent_byte,
		.fate = silent_fate, .for_all = true, .seconds = STALLED_S,
	};

	silent_seed = chance(c) | 1;
	return fuse_server_start(&server);
}

/* It dies, and after a while there is another one. */
static void disturb_silent(struct chance *c)
{
	if (!has_silent || !one_in(c, is_silent_alive ? 150 : 20))
		return;
	if (is_silent_alive)
		fuse_server_end();
	else if (silent_start(c))
		fuzz_problem("no file system after the one that died");
	is_silent_alive = !is_silent_alive;
}

/* ---- what the module shows ---- */

static int write_parameter(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY), rc;

	rc = fd < 0 || write(fd, value, strlen(value)) < 0 ? -1 : 0;
	close(fd);
	return rc;
}

/* One of the files that match: read to its end; a limit is written back as it was. */
static void look_at_one(struct chance *c, const char *pattern)
{
	char text[4096] = "", more[4096];
	const char *path;
	glob_t all;
	int fd;

	if (glob(pattern, 0, NULL, &all))
		return;
	path = all.gl_pathv[below(c, all.gl_pathc)];
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		while (read(fd, more, sizeof(more)) > 0)
			;
	close(fd);
	if (strstr(path, "/limits/"))
		write_parameter(path, text);
	globfree(&all);
}

static void look(struct chance *c)
{
	static const char *const views[] = {
		"/sys/class/misc/vblackwell/*_*", "/sys/class/misc/vblackwell/limits/*",
		"/sys/class/misc/vblackwell/tiers/*/*", "/sys/kernel/debug/vblackwell/*",
	};
	size_t at = below(c, sizeof(views) / sizeof(views[0]) + 1);
	char fdinfo[64];

	snprintf(fdinfo, sizeof(fdinfo), "/proc/%d/fdinfo/*",
		 participant[below(c, PARTICIPANTS)].pid);
	look_at_one(c, at ? views[at - 1] : fdinfo);
	/* Every shrinker is called. */
	if (one_in(c, 30))
		write_parameter("/proc/sys/vm/drop_caches", "2");
	fuzz_cover_merge(&cover);
}

/* ---- what hangs ---- */

static void print_stacks(void)
{
	char command[128];

	for (uint32_t i = 0; i < PARTICIPANTS; i++) {
		snprintf(command, sizeof(command),
			 "for t in /proc/%d/task/*; do echo $t; cat $t/stack $t/syscall; done",
			 participant[i].pid);
		fflush(stdout);
		(void)!system(command);
	}
}

static bool wait_for_end(uint32_t seconds)
{
	for (uint32_t ms = 0; ms < seconds * 1000; ms += 10) {
		uint32_t left = 0;

		for (uint32_t i = 0; i < PARTICIPANTS; i++) {
			struct participant *p = &participant[i];

			if (p->pid && waitpid(p->pid, NULL, WNOHANG) == p->pid)
				p->pid = 0;
			left += p->pid != 0;
		}
		if (!left)
			return true;
		usleep(10000);
	}
	return false;
}

/* First they may go by themselves, then they must. */
static int end_all(void)
{
	atomic_store(&fuzz->stop, true);
	/* Who waits for it cannot even be killed. */
	fuse_server_end();
	for (uint32_t i = 0; i < PARTICIPANTS; i++)
		kill(participant[i].pid, SIGCONT);
	if (wait_for_end(2))
		return 0;
	for (uint32_t i = 0; i < PARTICIPANTS; i++)
		if (participant[i].pid)
			kill(participant[i].pid, SIGKILL);
	if (wait_for_end(DYING_S))
		return 0;
	printf("a process does not die %u s after SIGKILL\n", DYING_S);
	print_stacks();
	return -1;
}

static int run(struct chance *c)
{
	unsigned long last = 0, done;
	time_t moved = time(NULL);

	for (uint32_t i = 0; i < PARTICIPANTS; i++)
		start(i, c);
	while (atomic_load(&fuzz->left) > 0 && !atomic_load(&fuzz->problems)) {
		usleep(5000);
		restart_the_dead(c);
		disturb(c);
		disturb_silent(c);
		if (one_in(c, 20))
			look(c);
		done = atomic_load(&fuzz->done);
		if (done != last)
			moved = time(NULL);
		last = done;
		if (time(NULL) - moved > STALLED_S) {
			printf("no iteration ended for %u s\n", STALLED_S);
			print_stacks();
			return -1;
		}
	}
	return end_all();
}

/* ---- what is left ---- */

/* Children of participants may have descriptors for a moment. */
static int wait_until_unused(void)
{
	for (int ms = 0; ms < 20000; ms += 10) {
		FILE *f = fopen("/sys/module/vblackwell/refcnt", "r");
		int count = -1;

		if (!f || fscanf(f, "%d", &count) != 1)
			count = -1;
		if (f)
			fclose(f);
		if (!count)
			return 0;
		usleep(10000);
	}
	printf("the module is in use when nobody is left\n");
	return -1;
}

/* What ended under io_uring's lock a work frees; memory that is kept is kept for longer. */
#define SETTLE_US	100000

/* The device is as new: an executor finds it empty, and can serve a client. */
static int check_device(void)
{
	struct vb_ioc_exec_attach attach = { .size = sizeof(attach) };
	struct vb_ioc_arena_create arena = {
		.size = sizeof(arena), .tier = VB_TIER_NVME, .numa_node = -1, .slots = 4,
	};
	struct vb_ioc_query_tier tier = { .size = sizeof(tier) };
	struct vb_ioc_bo_create bo = {
		.size = sizeof(bo), .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = 4 * fuzz->chunk_bytes,
	};
	int node, client, rc = 0;

	usleep(SETTLE_US);
	node = open("/dev/vblackwell-exec", O_RDWR | O_CLOEXEC);
	client = open("/dev/vblackwell", O_RDWR | O_CLOEXEC);
	if (node < 0 || client < 0 || ioctl(node, VB_IOC_EXEC_ATTACH, &attach) ||
	    ioctl(node, VB_IOC_ARENA_CREATE, &arena) || arena.out_arena ||
	    ioctl(client, VB_IOC_QUERY_TIER, &tier)) {
		printf("nobody can attach afterwards (%s)\n", strerror(errno));
		rc = -1;
	} else if (tier.out_used_bytes || tier.out_reserved_bytes || tier.out_pinned_bytes) {
		printf("%llu bytes used, %llu reserved, %llu pinned by nobody\n",
		       (unsigned long long)tier.out_used_bytes,
		       (unsigned long long)tier.out_reserved_bytes,
		       (unsigned long long)tier.out_pinned_bytes);
		rc = -1;
	} else if (ioctl(client, VB_IOC_BO_CREATE, &bo)) {
		printf("what fills the arena exactly is refused: %s\n", strerror(errno));
		rc = -1;
	}
	close(client);
	close(node);
	return rc;
}

/* Import and export are a feature. */
static bool is_known(uint32_t nr)
{
	return nr <= _IOC_NR(VB_IOC_LIMIT) ||
	       (nr >= _IOC_NR(VB_IOC_BO_CREATE) && nr <= _IOC_NR(VB_IOC_BO_RESIDENCY)) ||
	       (nr >= _IOC_NR(VB_IOC_BO_EXPORT) && nr <= _IOC_NR(VB_IOC_BO_IMPORT) && has_dmabuf) ||
	       (nr >= _IOC_NR(VB_IOC_QUEUE_CREATE) && nr <= _IOC_NR(VB_IOC_SCHEDULE)) ||
	       (nr >= _IOC_NR(VB_IOC_EXEC_ATTACH) && nr <= _IOC_NR(VB_IOC_SLOT_QUERY)) ||
	       nr == _IOC_NR(VB_URING_WAIT) || nr == _IOC_NR(VB_URING_SUBMIT) ||
	       (nr >= _IOC_NR(VB_URING_FETCH) && nr <= _IOC_NR(VB_URING_DISARM));
}

/* A fuzzer that only makes errors has looked at little: the suite looks at the sums. */
static void print_requests(void)
{
	for (uint32_t nr = 0; nr < FUZZ_REQUESTS; nr++)
		if (is_known(nr))
			printf("# request %#x: %lu, %lu of them succeeded\n", nr,
			       atomic_load(&fuzz->made[nr]), atomic_load(&fuzz->succeeded[nr]));
}

/* ---- before ---- */

static int make_file(const char *path)
{
	static uint64_t words[FUZZ_FILE_BYTES / 8];
	int fd = open(path, O_RDWR | O_CREAT, 0644);

	for (size_t i = 0; i < sizeof(words) / 8; i++)
		words[i] = FUZZ_FILE_WORD;
	if (fd < 0 || write(fd, words, sizeof(words)) != sizeof(words) || fsync(fd))
		return -1;
	return fd;
}

static int make_files(struct chance *c)
{
	const char *why;

	fuzz->file = make_file("/tmp/fuzz.file");
	unlink("/tmp/fuzz.file");
	fuzz->file_on_disk = make_file("/dev/vb2");
	why = silent_start(c);
	if (why)
		printf("# no file of a server that may be silent: %s\n", why);
	has_silent = is_silent_alive = !why;
	return fuzz->file < 0 || fuzz->file_on_disk < 0 ? -1 : 0;
}

static int prepare(struct chance *c, long iterations)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	int node = open("/dev/vblackwell", O_RDWR | O_CLOEXEC);

	fuzz = mmap(NULL, sizeof(*fuzz), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fuzz == MAP_FAILED || node < 0 || ioctl(node, VB_IOC_QUERY_DEVICE, &q))
		return -1;
	close(node);
	atomic_store(&fuzz->left, iterations);
	fuzz->chunk_bytes = q.out_chunk_bytes;
	has_dmabuf = q.out_features & VB_FEATURE_DMABUF;
	fuzz->disk = open("/dev/vb0", O_RDONLY | O_DIRECT | O_CLOEXEC);
	/* Some clients have no privilege. */
	if (make_files(c) || chmod("/dev/vblackwell", 0666) || fuzz_cover_prepare())
		return -1;
	return write_parameter("/sys/module/vblackwell/parameters/executor_timeout_ms", "700");
}

int main(int argc, char **argv)
{
	struct chance c;
	long iterations;
	int rc;

	if (argc != 3) {
		fprintf(stderr, "usage: fuzz_module ITERATIONS SEED\n");
		return 2;
	}
	iterations = atol(argv[1]);
	c.state = strtoull(argv[2], NULL, 0);
	printf("# %ld iterations, seed %s\n", iterations, argv[2]);
	if (prepare(&c, iterations) || fuzz_cover_open(&cover) || fuzz_cover_begin(&cover)) {
		printf("cannot begin: %s\n", strerror(errno));
		return 1;
	}
	rc = run(&c);
	if (!rc)
		rc = wait_until_unused();
	if (!rc)
		rc = check_device();
	fuzz_cover_merge(&cover);
	print_requests();
	fuzz_cover_print();
	printf("# %lu iterations, %u participants\n", atomic_load(&fuzz->done), started);
	if (atomic_load(&fuzz->problems))
		printf("%u problems: %s\n", atomic_load(&fuzz->problems), fuzz->problem);
	return rc || atomic_load(&fuzz->problems) ? 1 : 0;
}

// SPDX-License-Identifier: MIT
/*
 * The real executor, killed and started again while a client works: results are those of
 * a device whose executor never dies, and every byte that was written is there.
 *
 * Objects are larger than the host tier, and the NVMe arena is a disk: at any moment
 * something is being read or written when the executor dies.
 *
 * Environment: VM_KILLS, how often.
 */
#include "selftests/selftest.h"
#include "vm/machine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define DISK		"/dev/vb0"
#define SAID		"/tmp/vbd.out"
#define CGROUP		"/sys/fs/cgroup/vbd"
#define SMALL		"/sys/fs/cgroup/vbd-small"
#define TIER_BYTES	(48ull << 20)
#define HOST_SLOTS	16u
#define NVME_SLOTS	48u
#define OBJECTS		6u
#define OBJECT_CHUNKS	4u
#define WAIT_MS		120000u
#define KILLS_MAX	20u		/* until one meets a read */

static struct vgpu_uapi *u;
static pid_t vbd;
static const char *group;	/* cgroup of the next one, or NULL */

static uint64_t chunks(uint64_t n)
{
	return n * rig.chunk_bytes;
}

static unsigned int kills(void)
{
	const char *text = getenv("VM_KILLS");

	return text ? (unsigned int)atoi(text) : 5;
}

/* An arena is made on a disk that is blank at both ends, or was one. */
static void blank_disk(void)
{
	char *zeros = calloc(1, 1 << 20);
	int fd = open(DISK, O_WRONLY);

	assert_non_null(zeros);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, zeros, 1 << 20, 0), 1 << 20);
	assert_true(lseek(fd, -(1 << 20), SEEK_END) > 0);
	assert_int_equal(write(fd, zeros, 1 << 20), 1 << 20);
	close(fd);
	free(zeros);
}

/* ---- the executor ---- */

static int said(const char *what)
{
	char text[4096] = "";
	int fd = open(SAID, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 && strstr(text, what);
}

static void show_what_it_said(void)
{
	char text[4096] = "";
	int fd = open(SAID, O_RDONLY);

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		fprintf(stderr, "vbd: %s\n", text);
	if (fd >= 0)
		close(fd);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), rc;

	if (fd < 0)
		return -errno;
	rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static void become_vbd(const char *host, const char *nvme)
{
	int fd = open(SAID, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (group && machine_cgroup_enter(group))
		_exit(126);
	dup2(fd, 1);
	dup2(fd, 2);
	execl("./vbd", "vbd", "--host", host, "--nvme", nvme, "--threads", "1", "--user",
	      "1000:1000", (char *)NULL);
	_exit(127);
}

/* Started, and serving; false: it ended, or does not come. */
static bool start_vbd(uint32_t host_slots)
{
	char host[32], nvme[64];

	snprintf(host, sizeof(host), "%llu", (unsigned long long)chunks(host_slots));
	unlink(SAID);
	snprintf(nvme, sizeof(nvme), DISK ":%llu", (unsigned long long)chunks(NVME_SLOTS));
	vbd = fork();
	if (!vbd) {
		signal(SIGTERM, SIG_DFL);
		become_vbd(host, nvme);
	}
	for (uint32_t ms = 0; ms < WAIT_MS; ms += 10) {
		if (waitpid(vbd, NULL, WNOHANG))
			return false;
		if (said("ready\n"))
			return true;
		usleep(10000);
	}
	return false;
}

/* The test takes too long: nobody is left behind. */
static void on_term(int sig)
{
	if (vbd > 0)
		kill(vbd, SIGKILL);
	_exit(128 + sig);
}

static void end_vbd(int sig)
{
	kill(vbd, sig);
	assert_int_equal(waitpid(vbd, NULL, 0), vbd);
}

/* Killed while it works, again and again; how often, or -1: one did not start. */
static void *kill_vbd(void *arg)
{
	intptr_t count = 0, wanted = *(unsigned int *)arg;
	unsigned int seed = 1;

	while (count < wanted) {
		usleep(100000 + (useconds_t)rand_r(&seed) % 500000);
		kill(vbd, SIGKILL);
		waitpid(vbd, NULL, 0);
		if (!start_vbd(HOST_SLOTS))
			return (void *)-1;
		count++;
	}
	return (void *)count;
}

/* ---- the client ---- */

static uint32_t object[OBJECTS], constant, queue;
static uint64_t submitted;

static float value_of(uint32_t round, uint32_t i)
{
	return (float)(round * OBJECTS + i) + 0.5f;
}

static void submit(uint32_t round, uint32_t i)
{
	uint32_t n = (uint32_t)(chunks(OBJECT_CHUNKS) / 4), from = object[i], to;
	struct rig_stream s;

	to = object[(i + 1) % OBJECTS];
	rig_stream(&s);
	from = rig_add_bo(&s, from, VB_ACCESS_WRITE | VB_ACCESS_DISCARD);
	rig_add_fill(&s, from, 0, n, value_of(round, i));
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
	rig_stream(&s);
	from = rig_add_bo(&s, object[i], VB_ACCESS_READ);
	to = rig_add_bo(&s, to, VB_ACCESS_WRITE | VB_ACCESS_DISCARD);
	rig_add_copy(&s, from, to, n);
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
	submitted += 2;
	assert_rc(rig_wait(u, queue, submitted - 1, WAIT_MS), 0);
	assert_rc(rig_wait(u, queue, submitted, WAIT_MS), 0);
}

static void check(uint32_t id, float expected)
{
	float *got = malloc(chunks(OBJECT_CHUNKS));

	assert_rc(rig_read(u, id, 0, got, chunks(OBJECT_CHUNKS)), 0);
	for (uint64_t i = 0; i < chunks(OBJECT_CHUNKS) / 4; i++)
		if (memcmp(&got[i], &expected, 4))
			fail_msg("element %llu is %f, not %f", (unsigned long long)i, got[i],
				 expected);
	free(got);
}

static void write_constant(void)
{
	uint8_t *p = malloc(chunks(OBJECT_CHUNKS));

	for (uint64_t i = 0; i < chunks(OBJECT_CHUNKS); i++)
		p[i] = rig_pattern(i);
	assert_rc(rig_write(u, constant, 0, p, chunks(OBJECT_CHUNKS)), 0);
	free(p);
}

static void check_constant(void)
{
	uint8_t *p = malloc(chunks(OBJECT_CHUNKS));

	assert_rc(rig_read(u, constant, 0, p, chunks(OBJECT_CHUNKS)), 0);
	for (uint64_t i = 0; i < chunks(OBJECT_CHUNKS); i++)
		assert_int_equal(p[i], rig_pattern(i));
	free(p);
}

/* Each object gets a value of its own and gives it to the next. */
static void work(uint32_t round)
{
	for (uint32_t i = 0; i < OBJECTS; i++) {
		submit(round, i);
		check(object[(i + 1) % OBJECTS], value_of(round, i));
	}
	check_constant();
}

static void make_objects(void)
{
	for (uint32_t i = 0; i < OBJECTS; i++)
		assert_rc(rig_bo(u, chunks(OBJECT_CHUNKS), VB_LIFE_VOLATILE, &object[i]), 0);
	assert_rc(rig_bo(u, chunks(OBJECT_CHUNKS), VB_LIFE_VOLATILE, &constant), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	submitted = 0;
	write_constant();
}

static int setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	machine_set_ms("recovery_ms", WAIT_MS);
	blank_disk();
	return rc;
}

static int silent = -1, disk = -1;	/* the file of one that cannot leave, and what it had */

static void hands_off(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int teardown(void **state)
{
	if (vbd > 0) {
		kill(vbd, SIGKILL);
		waitpid(vbd, NULL, 0);
	}
	vbd = 0;
	group = NULL;
	hands_off(&silent);
	hands_off(&disk);
	machine_set_ms("executor_timeout_ms", 30000);
	machine_set_ms("page_in_timeout_ms", 120000);
	machine_set_ms("recovery_ms", 0);
	return selftest_teardown(state);
}

/* ---- tests ---- */

static void killed_again_and_again_it_loses_nothing(void **state)
{
	unsigned int wanted = kills();
	uint32_t round = 0;
	pthread_t killer;
	void *killed;

	(void)state;
	assert_true(start_vbd(HOST_SLOTS));
	make_objects();
	work(round++);
	assert_int_equal(pthread_create(&killer, NULL, kill_vbd, &wanted), 0);
	do {
		work(round++);
	} while (pthread_tryjoin_np(killer, &killed));
	if ((intptr_t)killed != wanted)
		show_what_it_said();
	assert_int_equal((intptr_t)killed, wanted);
	assert_true(said("went on with"));
	work(round++);
	fprintf(stderr, "# %u kills, %u rounds\n", wanted, round);
}

static void *read_all(void *arg)
{
	char *p = malloc(chunks(OBJECT_CHUNKS));
	intptr_t rc = 0;

	(void)arg;
	for (uint32_t i = 0; i < OBJECTS; i++)
		rc |= rig_read(u, object[i], 0, p, chunks(OBJECT_CHUNKS));
	free(p);
	return (void *)rc;
}

/* What a round leaves: the last object gave its value to the first. */
static void check_all(uint32_t round)
{
	check(object[0], value_of(round, OBJECTS - 1));
	for (uint32_t i = 1; i < OBJECTS; i++)
		check(object[i], value_of(round, i));
	check_constant();
}

/* Somebody refers to slots that nobody holds: transfers of the dead. */
static bool are_transfers_left(void)
{
	char byte;
	int fd = open("/sys/kernel/debug/vblackwell/quarantine", O_RDONLY);
	bool left;

	assert_true(fd >= 0);
	left = read(fd, &byte, 1) == 1;
	close(fd);
	return left;
}

/* A kill between two reads leaves nothing: again, until one comes in time.  Who reads on. */
static pthread_t kill_amid_reads(void)
{
	bool reading = false;
	pthread_t reader;
	void *rc;

	for (uint32_t i = 0; i < KILLS_MAX; i++) {
		assert_true(start_vbd(HOST_SLOTS));
		if (!reading)
			assert_int_equal(pthread_create(&reader, NULL, read_all, NULL), 0);
		usleep(1000000 + i * 130000);
		end_vbd(SIGKILL);
		if (are_transfers_left())
			return reader;
		reading = pthread_tryjoin_np(reader, &rc);
		assert_rc(reading ? 0 : (intptr_t)rc, 0);
	}
	fail_msg("none of %u kills met a read", KILLS_MAX);
	return 0;
}

/* Another client fills as many chunks as there are slots, and finds there what it wrote. */
static void refill(struct vgpu_uapi *other, uint32_t id, uint8_t salt)
{
	uint64_t bytes = chunks(HOST_SLOTS);
	uint8_t *wrote = malloc(bytes), *got = malloc(bytes);

	for (uint64_t i = 0; i < bytes; i++)
		wrote[i] = rig_pattern(i) ^ salt;
	assert_rc(rig_write(other, id, 0, wrote, bytes), 0);
	assert_rc(rig_read(other, id, 0, got, bytes), 0);
	assert_memory_equal(got, wrote, bytes);
	free(wrote);
	free(got);
}

/* Reads of the dead come from a slow disk long after others have its slots. */
static void reads_of_the_dead_reach_nobody(void **state)
{
	struct vgpu_uapi *other;
	uint64_t end;
	pthread_t reader;
	uint32_t id, round = 0;
	int why = machine_disk_slow(CGROUP, DISK, chunks(HOST_SLOTS) / 4);
	void *rc;

	(void)state;
	if (why) {
		fprintf(stderr, "SKIP: %s: io.max: %s\n", __func__, strerror(-why));
		skip();
	}
	assert_true(start_vbd(HOST_SLOTS));
	make_objects();
	work(0);
	end_vbd(SIGKILL);
	group = CGROUP;
	reader = kill_amid_reads();
	group = NULL;
	/* At that rate, what the dead has asked for is there by then. */
	end = rig_now() + 5000000000ull;
	assert_true(start_vbd(HOST_SLOTS));
	other = rig_client(&rig);
	assert_rc(rig_bo(other, chunks(HOST_SLOTS), VB_LIFE_VOLATILE, &id), 0);
	while (rig_now() < end)
		refill(other, id, (uint8_t)round++);
	pthread_join(reader, &rc);
	assert_rc((intptr_t)rc, 0);
	check_all(0);
	rig_client_close(other);
	work(1);
	fprintf(stderr, "# %u times all slots\n", round);
}

static void one_that_leaves_is_succeeded_with_other_sizes_than_asked_for(void **state)
{
	(void)state;
	assert_true(start_vbd(HOST_SLOTS));
	make_objects();
	work(0);
	end_vbd(SIGTERM);
	assert_int_equal(machine_exec_state(u), VB_EXEC_QUIESCED);
	if (!start_vbd(HOST_SLOTS * 2))
		show_what_it_said();
	assert_true(said("the host tier stays at"));
	assert_false(said("lost"));
	check_constant();
	work(1);
}

/* Somewhere something was on the disk alone. */
static void expect_something_is_lost(void)
{
	char byte;

	for (uint32_t i = 0; i < OBJECTS; i++)
		for (uint32_t c = 0; c < OBJECT_CHUNKS; c++)
			if (rig_read(u, object[i], chunks(c), &byte, 1) == -EIO)
				return;
	fail_msg("nothing is lost");
}

/* More than the tier holds, and nobody is there any more. */
static void leave_something_on_the_disk(void)
{
	assert_true(start_vbd(HOST_SLOTS));
	make_objects();
	work(0);
	work(1);
	end_vbd(SIGKILL);
}

static void with_a_blank_disk_it_says_what_is_lost(void **state)
{
	(void)state;
	leave_something_on_the_disk();
	blank_disk();
	assert_true(start_vbd(HOST_SLOTS));
	assert_true(said("what was on NVMe is lost"));
	expect_something_is_lost();
}

static void expect_it_serves(void)
{
	uint32_t id;
	char byte = 1;

	assert_rc(rig_bo(u, chunks(OBJECT_CHUNKS), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(u, id, chunks(1), &byte, 1), 0);
	byte = 0;
	assert_rc(rig_read(u, id, chunks(1), &byte, 1), 0);
	assert_int_equal(byte, 1);
}

/* As by a predecessor that was killed and cannot leave. */
static void with_the_disk_in_other_hands_it_goes_on_without(void **state)
{
	int fd = -1;

	(void)state;
	leave_something_on_the_disk();
	for (uint32_t ms = 0; ms < WAIT_MS && fd < 0; ms += 10) {
		usleep(10000);
		fd = open(DISK, O_RDWR | O_EXCL | O_CLOEXEC);
	}
	assert_true(fd >= 0);
	if (!start_vbd(HOST_SLOTS))
		show_what_it_said();
	assert_true(said("what was on NVMe is lost, and none is used"));
	expect_something_is_lost();
	for (uint32_t i = 0; i < OBJECTS; i++)
		assert_rc(rig_bo_destroy(u, object[i]), 0);
	expect_it_serves();
	close(fd);
}

/* ---- after one that cannot leave ---- */

#define NONE_USED	"nvme     none: another process has the lock of " DISK

/* An executor with so much host memory, who never asks for work. */
static void say_nothing(int tell, uint32_t host_slots)
{
	struct vb_ioc_arena_create host = {
		.size = sizeof(host), .tier = VB_TIER_HOST, .numa_node = -1, .slots = host_slots,
	};
	struct vb_ioc_region region = { .size = sizeof(region), .slots = host_slots };
	struct rig_exec x;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (rig_exec_attach(&rig, &x, NULL))
		_exit(1);
	if (host_slots && vgpu_uapi_call(x.node, VB_IOC_ARENA_CREATE, &host))
		_exit(2);
	region.arena = host.out_arena;
	if (host_slots && vgpu_uapi_call(x.node, VB_IOC_REGION_ADD, &region))
		_exit(3);
	fd = x.node->ops->fd(x.node);
	if (write(tell, &fd, sizeof(fd)) != sizeof(fd))
		_exit(4);
	for (;;)
		pause();
}

/* It is killed for its silence, and its file stays open: here.  The queue with work for it. */
static uint32_t leave_one_behind(uint32_t host_slots, uint32_t then)
{
	int tell[2], fd = -1, pidfd;
	struct rig_stream s;
	uint32_t q;
	pid_t pid;

	assert_int_equal(pipe(tell), 0);
	pid = fork();
	if (!pid)
		say_nothing(tell[1], host_slots);
	close(tell[1]);
	assert_int_equal(read(tell[0], &fd, sizeof(fd)), sizeof(fd));
	close(tell[0]);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	silent = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	assert_true(silent >= 0);
	close(pidfd);
	disk = open(DISK, O_RDWR | O_EXCL | O_CLOEXEC);
	assert_true(disk >= 0);
	assert_rc(rig_queue(u, 0, &q), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, q, &s, NULL), 0);
	machine_set_ms("executor_timeout_ms", 2000);
	for (uint32_t ms = 0; ms < WAIT_MS && machine_exec_state(u) != then; ms += 10)
		usleep(10000);
	machine_set_ms("executor_timeout_ms", 30000);
	assert_int_equal(machine_exec_state(u), then);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return q;
}

static void expect_one_without_the_disk(uint32_t host_slots)
{
	if (!start_vbd(host_slots))
		show_what_it_said();
	assert_true(said(NONE_USED));
	expect_it_serves();
}

static void one_that_comes_when_all_is_over_goes_on_without_the_disk(void **state)
{
	uint32_t q;

	(void)state;
	machine_set_ms("recovery_ms", 0);
	q = leave_one_behind(0, VB_EXEC_FAILED);
	assert_rc(rig_wait(u, q, 1, WAIT_MS), -ENODEV);
	expect_one_without_the_disk(HOST_SLOTS);
}

static void one_that_succeeds_who_had_no_arena_there_goes_on_without_the_disk(void **state)
{
	uint32_t q;

	(void)state;
	q = leave_one_behind(HOST_SLOTS, VB_EXEC_QUIESCED);
	expect_one_without_the_disk(HOST_SLOTS);
	assert_true(said("went on with"));
	assert_rc(rig_wait(u, q, 1, WAIT_MS), 0);
}

static void one_that_begins_anew_goes_on_without_the_disk(void **state)
{
	uint32_t q;

	(void)state;
	q = leave_one_behind(0, VB_EXEC_QUIESCED);
	expect_one_without_the_disk(HOST_SLOTS);
	assert_true(said("begun anew"));
	assert_rc(rig_wait(u, q, 1, WAIT_MS), -ENODEV);
}

/* A path that another program has is a mistake, where nobody was before. */
static void with_the_disk_in_other_hands_the_first_one_ends(void **state)
{
	(void)state;
	disk = open(DISK, O_RDWR | O_EXCL | O_CLOEXEC);
	assert_true(disk >= 0);
	assert_false(start_vbd(HOST_SLOTS));
	vbd = 0;
	assert_true(said("op=prepare errno=EBUSY"));
}

static uint64_t host_slots(void)
{
	struct vb_ioc_query_tier t;

	assert_rc(rig_tier(u, VB_TIER_HOST, &t), 0);
	return t.out_bytes / rig.chunk_bytes;
}

/* The kernel is short of memory, until the tier has no more than so many slots. */
static void press_until(uint64_t slots)
{
	for (int i = 0; i < 400 && host_slots() > slots; i++) {
		put("/proc/sys/vm/drop_caches", "2");
		usleep(50000);
	}
}

static void one_that_gave_memory_back_is_succeeded_with_what_is_left(void **state)
{
	(void)state;
	assert_true(start_vbd(3 * HOST_SLOTS));
	make_objects();
	work(0);
	press_until(2 * HOST_SLOTS);
	assert_int_equal(host_slots(), 2 * HOST_SLOTS);
	work(1);
	end_vbd(SIGKILL);
	if (!start_vbd(3 * HOST_SLOTS))
		show_what_it_said();
	assert_true(said("the host tier stays at"));
	assert_false(said("lost"));
	assert_int_equal(host_slots(), 2 * HOST_SLOTS);
	check_constant();
	work(2);
}

static void *press(void *arg)
{
	press_until(*(const uint64_t *)arg);
	return NULL;
}

/* Regions go and come back, and nobody who works there notices. */
static void memory_goes_and_comes_back_while_a_client_works(void **state)
{
	const uint64_t most = 3 * HOST_SLOTS, fewer = 2 * HOST_SLOTS;
	uint64_t end = rig_now() + WAIT_MS * 1000000ull;
	uint32_t round = 0;
	pthread_t thread;

	(void)state;
	assert_true(start_vbd((uint32_t)most));
	make_objects();
	work(round++);
	assert_int_equal(pthread_create(&thread, NULL, press, (void *)&fewer), 0);
	do {
		work(round++);
	} while (pthread_tryjoin_np(thread, NULL));
	assert_in_range(host_slots(), HOST_SLOTS, fewer);
	while (host_slots() < most && rig_now() < end)
		work(round++);
	assert_int_equal(host_slots(), most);
	work(round);
	check_all(round);
	fprintf(stderr, "# %u rounds\n", round);
}

/* ---- its memory cgroup ---- */

static void needs_cgroup(uint64_t bytes)
{
	const char *why = machine_cgroup_make(SMALL, bytes);

	if (why) {
		fprintf(stderr, "SKIP: memory cgroup of vbd: %s\n", why);
		skip();
	}
	group = SMALL;
}

static void one_without_memory_for_its_tier_says_so(void **state)
{
	uint32_t slots = (uint32_t)(TIER_BYTES / rig.chunk_bytes), id;
	void *p;

	(void)state;
	machine_set_ms("recovery_ms", 0);
	needs_cgroup(TIER_BYTES / 2);
	assert_false(start_vbd(slots));
	if (!said(strerror(ENOMEM)))
		show_what_it_said();
	assert_true(said(strerror(ENOMEM)));
	assert_int_equal(machine_exec_state(u), VB_EXEC_FAILED);
	assert_rc(machine_cgroup_limit(SMALL, UINT64_MAX), 0);
	assert_true(start_vbd(slots));
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(1), true);
	assert_int_equal(machine_peek(p), 0);
	munmap(p, chunks(1));
	end_vbd(SIGTERM);
	vbd = 0;
	assert_int_equal(rmdir(SMALL), 0);
}

/* Of one without memory, or that was killed for its silence. */
static bool is_out_of_memory(int rc)
{
	return rc == -ENOMEM || rc == -ETIME || rc == -EIO;
}

/*
 * Parts of a file, each an object of its own that vbd opens: that takes memory, of the module
 * for it and of its own.  How many it could not read.
 */
static uint32_t read_parts(int fd, uint32_t first, uint32_t count)
{
	uint32_t id, refused = 0;
	char byte;
	int rc;

	for (uint32_t i = first; i < first + count; i++) {
		assert_rc(rig_bo_file(u, fd, (uint64_t)i * 4096, 4096, &id), 0);
		rc = rig_read(u, id, 0, &byte, 1);
		if (rc && !is_out_of_memory(rc))
			fail_msg("part %u: %d", i, rc);
		refused += rc != 0;
		if (refused > 8)
			break;
	}
	return refused;
}

/* A fault and a submission, which end as well. */
static void use_rest(uint32_t id)
{
	struct rig_stream s;
	uint32_t q;
	char *p;
	int rc;

	p = machine_map(u, id, chunks(OBJECT_CHUNKS), true);
	machine_peek(p + chunks(2));
	munmap(p, chunks(OBJECT_CHUNKS));
	assert_rc(rig_queue(u, 0, &q), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, q, &s, NULL), 0);
	rc = rig_wait(u, q, 1, 5000);
	assert_true(!rc || is_out_of_memory(rc));
	assert_rc(rig_queue_destroy(u, q), 0);
}

/* Its memory comes back, or who came after it has more. */
static void relieve(void)
{
	assert_rc(machine_cgroup_limit(SMALL, UINT64_MAX), 0);
	group = NULL;
	if (waitpid(vbd, NULL, WNOHANG))
		assert_true(start_vbd(HOST_SLOTS));
	for (uint32_t ms = 0; machine_exec_state(u) != VB_EXEC_LIVE && ms < WAIT_MS; ms += 10)
		usleep(10000);
}

/* Nobody waits longer for it than for one that is silent, and nothing is lost. */
static void one_at_the_limit_of_its_cgroup_keeps_nobody(void **state)
{
	int fd = rig_file(&rig, 4096);
	uint64_t start;
	uint32_t refused;

	(void)state;
	machine_set_ms("executor_timeout_ms", 3000);
	machine_set_ms("page_in_timeout_ms", 2000);
	needs_cgroup(UINT64_MAX);
	assert_rc(ftruncate(fd, 1 << 30), 0);
	assert_true(start_vbd(HOST_SLOTS));
	make_objects();
	work(0);
	assert_rc(machine_cgroup_limit(SMALL, machine_cgroup_get(SMALL, "memory.current")), 0);
	start = rig_now();
	refused = read_parts(fd, 0, 4000);
	use_rest(constant);
	fprintf(stderr, "# %u parts refused, %llu ms, state %u\n", refused,
		(unsigned long long)(rig_now() - start) / 1000000, machine_exec_state(u));
	assert_true(refused);
	assert_true(rig_now() - start < 60000000000ull);
	relieve();
	check_all(0);
	assert_int_equal(read_parts(fd, 5000, 8), 0);
	work(1);
	close(fd);
}

/* ---- faults in a tier that is full ---- */

#define VISITORS	12u
#define FILE_CHUNKS	(HOST_SLOTS + 2)
#define STAGING_SLOTS	6u		/* that a small tier has */

/* A process of its own: each chunk of the file, beginning somewhere; every page of some. */
static void visit(int fd, uint32_t first)
{
	struct vgpu_uapi *own;
	uint32_t id;
	const uint8_t *p;

	if (vgpu_uapi_open_node(getenv("VBLACKWELL_SELFTEST_NODE"), &own) ||
	    rig_bo_file(own, fd, 0, chunks(FILE_CHUNKS), &id))
		_exit(2);
	p = machine_map(own, id, chunks(FILE_CHUNKS), false);
	for (uint32_t i = 0; i < FILE_CHUNKS; i++) {
		uint64_t at = chunks((first + i) % FILE_CHUNKS);
		uint64_t end = at + (i % 8 ? MACHINE_PAGE : rig.chunk_bytes);

		for (; at < end; at += MACHINE_PAGE)
			if (((const volatile uint8_t *)p)[at] != rig_pattern(at))
				_exit(3);
	}
	_exit(0);
}

/* An emulated machine beside others takes its time, but not for ever. */
static void await_visitors(pid_t *pid)
{
	uint64_t end = rig_now() + WAIT_MS * 1000000ull;
	uint32_t late = 0;
	int status;

	for (uint32_t i = 0; i < VISITORS; i++) {
		while (!waitpid(pid[i], &status, WNOHANG) && rig_now() < end)
			usleep(10000);
		if (rig_now() >= end) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], &status, 0);
			late++;
		} else {
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), 0);
		}
	}
	if (late)
		fail_msg("%u of %u clients fault still", late, VISITORS);
}

/* What is kept clients hold, and all else passes through a few slots. */
static void clients_of_a_file_larger_than_a_full_tier_all_come_to_its_end(void **state)
{
	const uint64_t held = chunks(HOST_SLOTS - STAGING_SLOTS);
	int fd = rig_file(&rig, chunks(FILE_CHUNKS));
	pid_t pid[VISITORS];
	uint32_t id;
	void *p;

	(void)state;
	assert_true(fd >= 0);
	assert_true(start_vbd(HOST_SLOTS));
	assert_rc(rig_bo(u, held, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_map(u, id, 0, held, VB_MAP_WRITE, &p), 0);
	for (uint32_t i = 0; i < VISITORS; i++) {
		pid[i] = fork();
		if (!pid[i])
			visit(fd, i * FILE_CHUNKS / VISITORS);
	}
	await_visitors(pid);
	assert_rc(rig_unmap(u, id, 0, held, VB_MAP_WRITE), 0);
	close(fd);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(killed_again_and_again_it_loses_nothing),
		CASE(reads_of_the_dead_reach_nobody),
		CASE(one_that_leaves_is_succeeded_with_other_sizes_than_asked_for),
		CASE(one_that_gave_memory_back_is_succeeded_with_what_is_left),
		CASE(memory_goes_and_comes_back_while_a_client_works),
		CASE(with_a_blank_disk_it_says_what_is_lost),
		CASE(with_the_disk_in_other_hands_it_goes_on_without),
		CASE(one_that_comes_when_all_is_over_goes_on_without_the_disk),
		CASE(one_that_succeeds_who_had_no_arena_there_goes_on_without_the_disk),
		CASE(one_that_begins_anew_goes_on_without_the_disk),
		CASE(with_the_disk_in_other_hands_the_first_one_ends),
		CASE(clients_of_a_file_larger_than_a_full_tier_all_come_to_its_end),
		CASE(one_without_memory_for_its_tier_says_so),
		CASE(one_at_the_limit_of_its_cgroup_keeps_nobody),
	};
	int failed = 0;

	if (!getenv("VBLACKWELL_SELFTEST_NODE")) {
		fprintf(stderr, "SKIP: vbd: VBLACKWELL_SELFTEST_NODE is not set\n");
		return 0;
	}
	signal(SIGTERM, on_term);
	failed += SELFTEST_RUN("vbd", tests, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}

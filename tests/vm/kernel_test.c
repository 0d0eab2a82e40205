// SPDX-License-Identifier: MIT
/*
 * Kernel memory: a client can have any number of small things, each of which the module keeps
 * something for.  All of them are charged to the user who opened the client, whatever memory
 * cgroup the process is in; at the limit they are refused, to that user alone, and what is
 * given up returns.
 */
#include "selftests/client.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "vm/machine.h"

#define STRANGER	1000u
#define HOST_SLOTS	16u
#define NVME_SLOTS	32u
#define LIMIT_KIB	64u
#define LIMIT		"/sys/class/misc/vblackwell/limits/user_kernel_kib"
#define PAGE_CHUNKS	(4096u / (uint32_t)sizeof(struct vb_table_entry))	/* of a table */
#define MOST		100000u	/* of anything: by then it must have been refused */

static char was[32];

/* ---- the limit ---- */

static int limit_write(const char *text)
{
	int fd = open(LIMIT, O_WRONLY | O_TRUNC);
	int rc = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return rc;
}

static void limit_read(char text[32])
{
	int fd = open(LIMIT, O_RDONLY);
	ssize_t n = read(fd, text, 31);

	assert_true(fd >= 0 && n > 0);
	text[n - 1] = 0;
	close(fd);
}

static void limit_kib(uint32_t kib)
{
	char text[16];

	snprintf(text, sizeof(text), "%u\n", kib);
	assert_rc(limit_write(text), 0);
}

static int setup(void **state)
{
	struct rlimit files = { 4096, 4096 };
	int rc = client_setup(state);

	setrlimit(RLIMIT_NOFILE, &files);
	chmod(getenv("VBLACKWELL_SELFTEST_NODE"), 0666);
	limit_read(was);
	return rc;
}

static int teardown(void **state)
{
	limit_write(was);
	return selftest_teardown(state);
}

/* ---- users ---- */

/* Whoever opens a client is charged for it; the calls of a thread, not of the process. */
static struct vgpu_uapi *stranger_try(int *out_rc)
{
	struct vgpu_uapi *of = NULL;

	assert_int_equal(syscall(SYS_setresuid, -1, STRANGER, -1), 0);
	*out_rc = vgpu_uapi_open_node(getenv("VBLACKWELL_SELFTEST_NODE"), &of);
	assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
	return of;
}

static struct vgpu_uapi *stranger(void)
{
	struct vgpu_uapi *of;
	int rc;

	of = stranger_try(&rc);
	assert_rc(rc, 0);
	return of;
}

static void leave(struct vgpu_uapi *of)
{
	of->ops->close(of);
}

/* What the user of a client is charged for. */
static uint64_t kernel_kib(struct vgpu_uapi *of)
{
	return machine_fdinfo_kib(of->ops->fd(of), "vblackwell-kernel");
}

/* Some of it comes back by work of its own. */
static void expect_kernel_kib(struct vgpu_uapi *of, uint64_t kib)
{
	for (int i = 0; kernel_kib(of) != kib && i < 5000; i++)
		usleep(1000);
	assert_int_equal(kernel_kib(of), kib);
}

/* ---- things to take ---- */

/**
 * struct taker - somebody who takes as much of a thing as there is
 * @of: client
 * @file: of many chunks, nearly all of them holes
 * @event: an eventfd
 * @n: how many were taken
 * @id: object or queue that they are of; 0: not made yet
 * @more: further clients
 */
struct taker {
	struct vgpu_uapi *of;
	int file, event;
	uint32_t n, id;
	struct vgpu_uapi *more[1024];
};

static int take_queue(struct taker *t)
{
	uint32_t id;

	return rig_queue(t->of, 0, &id);
}

static int take_object(struct taker *t)
{
	uint32_t id;

	return rig_bo(t->of, 1, VB_LIFE_VOLATILE, &id);
}

static int take_store(struct taker *t)
{
	uint32_t id;

	return rig_bo_file(t->of, t->file, t->n * 4096ull, 4096, &id);
}

static int take_handle(struct taker *t)
{
	uint32_t id;

	return rig_bo_file(t->of, t->file, 0, 4096, &id);
}

/* One chunk in the range of each page of the table. */
static int take_table(struct taker *t)
{
	char byte;
	int rc = 0;

	if (!t->id)
		rc = rig_bo_file(t->of, t->file, 0, chunks(PAGE_CHUNKS * 256), &t->id);
	return rc ? rc : rig_read(t->of, t->id, chunks((uint64_t)t->n * PAGE_CHUNKS), &byte, 1);
}

static int take_client(struct taker *t)
{
	int rc;

	assert_true(t->n < sizeof(t->more) / sizeof(t->more[0]));
	t->more[t->n] = stranger_try(&rc);
	return rc;
}

static int take_submission(struct taker *t)
{
	struct rig_stream s;
	int rc = t->id ? 0 : rig_queue(t->of, 0, &t->id);

	rig_stream(&s);
	rig_add_nop(&s);
	return rc ? rc : rig_submit(t->of, t->id, &s, NULL);
}

static int take_eventfd(struct taker *t)
{
	struct vb_ioc_fence_eventfd cmd = { .size = sizeof(cmd), .seqno = 1, .fd = t->event };
	int rc = t->id ? 0 : take_submission(t);

	cmd.queue_id = t->id;
	return rc ? rc : vgpu_uapi_call(t->of, VB_IOC_FENCE_EVENTFD, &cmd);
}

static const struct {
	const char *name;
	int (*take)(struct taker *t);
	bool paused;			/* nothing of it ends meanwhile */
} kinds[] = {
	{ "queues", take_queue, false },
	{ "objects", take_object, false },
	{ "stores", take_store, false },
	{ "handles of a store", take_handle, false },
	{ "pages of a table", take_table, false },
	{ "clients", take_client, false },
	{ "submissions, and room for their results", take_submission, true },
	{ "eventfds of a fence", take_eventfd, true },
};

#define KINDS	(sizeof(kinds) / sizeof(kinds[0]))

static void taker_begin(struct taker *t)
{
	*t = (struct taker){ .of = stranger(), .file = rig_file(&rig, 4096),
			     .event = eventfd(0, EFD_CLOEXEC) };
	assert_true(t->file >= 0 && t->event >= 0);
	assert_int_equal(ftruncate(t->file, (off_t)chunks(PAGE_CHUNKS * 256)), 0);
}

/* How it was refused. */
static int take_all(struct taker *t, int (*take)(struct taker *t))
{
	int rc;

	while (t->n < MOST && !(rc = take(t)))
		t->n++;
	return t->n < MOST ? rc : 0;
}

static void taker_end(struct taker *t)
{
	for (uint32_t i = 0; i < sizeof(t->more) / sizeof(t->more[0]) && t->more[i]; i++)
		leave(t->more[i]);
	leave(t->of);
	close(t->file);
	close(t->event);
}

/* ---- who goes on ---- */

static void expect_served(struct vgpu_uapi *of)
{
	uint32_t bo, queue, word = 77, got = 0;
	struct rig_stream s;

	assert_rc(rig_bo(of, chunks(1), VB_LIFE_VOLATILE, &bo), 0);
	assert_rc(rig_write(of, bo, 0, &word, 4), 0);
	assert_rc(rig_read(of, bo, 0, &got, 4), 0);
	assert_int_equal(got, word);
	assert_rc(rig_queue(of, 0, &queue), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(of, queue, &s, NULL), 0);
	assert_rc(rig_wait(of, queue, 1, 20000), 0);
	assert_rc(rig_queue_destroy(of, queue), 0);
	assert_rc(rig_bo_destroy(of, bo), 0);
}

static void expect_refused(struct vgpu_uapi *seen, size_t kind)
{
	static struct taker t;
	uint64_t most;
	int rc;

	taker_begin(&t);
	if (kinds[kind].paused)
		fake_exec_pause(rig.fake);
	rc = take_all(&t, kinds[kind].take);
	most = kernel_kib(seen);
	if (kinds[kind].paused)
		fake_exec_resume(rig.fake);
	if (rc != -EDQUOT || most > LIMIT_KIB || most < LIMIT_KIB / 2)
		fail_msg("%s: %d after %u, with %llu KiB", kinds[kind].name, rc, t.n,
			 (unsigned long long)most);
	expect_served(u);
	taker_end(&t);
}

static void user_at_its_limit_is_refused_alone_and_all_comes_back(void **state)
{
	struct vgpu_uapi *seen;
	uint64_t alone;

	(void)state;
	limit_kib(LIMIT_KIB);
	seen = stranger();
	alone = kernel_kib(seen);
	for (size_t i = 0; i < KINDS; i++) {
		expect_refused(seen, i);
		expect_kernel_kib(seen, alone);
		expect_served(seen);
		expect_kernel_kib(seen, alone);
	}
	leave(seen);
}

/* Neither what was there, nor what was asked for. */
static void what_was_refused_is_had_when_there_is_room(void **state)
{
	static struct taker t;
	const uint8_t *p;
	uint8_t byte;
	uint64_t at;

	(void)state;
	limit_kib(LIMIT_KIB);
	taker_begin(&t);
	assert_rc(take_all(&t, take_table), -EDQUOT);
	assert_rc(rig_read(t.of, t.id, 77, &byte, 1), 0);
	assert_int_equal(byte, rig_pattern(77));
	at = chunks((uint64_t)t.n * PAGE_CHUNKS);
	p = machine_map(t.of, t.id, chunks(PAGE_CHUNKS * 256), false);
	assert_int_equal(machine_peek(p + at), -1);
	limit_kib(2 * LIMIT_KIB);
	assert_int_equal(machine_peek(p + at), 0);
	assert_rc(rig_read(t.of, t.id, at, &byte, 1), 0);
	munmap((void *)p, chunks(PAGE_CHUNKS * 256));
	taker_end(&t);
}

/* Whoever came first pays for a store; what it can pay no more, those pay who can. */
static void user_at_its_limit_keeps_nobody_from_a_store(void **state)
{
	static struct taker t;
	uint32_t bo;
	uint8_t byte;

	(void)state;
	limit_kib(LIMIT_KIB);
	taker_begin(&t);
	assert_rc(rig_bo_file(t.of, t.file, 0, chunks(PAGE_CHUNKS * 256), &bo), 0);
	assert_rc(rig_read(t.of, bo, 0, &byte, 1), 0);
	assert_rc(take_all(&t, take_queue), -EDQUOT);
	assert_rc(rig_read(t.of, bo, chunks(PAGE_CHUNKS), &byte, 1), -EDQUOT);
	assert_rc(rig_bo_file(u, t.file, 0, chunks(PAGE_CHUNKS * 256), &bo), 0);
	assert_rc(rig_read(u, bo, chunks(PAGE_CHUNKS), &byte, 1), 0);
	/* When it goes, who is left must. */
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_rc(take_queue(&t), -EDQUOT);
	taker_end(&t);
	expect_served(u);
}

/* Without a mmap(), which would keep the client. */
static int take_hold(struct taker *t, uint32_t bo)
{
	struct vb_ioc_bo_map cmd = { .size = sizeof(cmd), .bo_id = bo, .flags = VB_MAP_READ,
				     .bytes = 1 };

	return vgpu_uapi_call(t->of, VB_IOC_BO_MAP, &cmd);
}

/* One of each, in order; how the first one that was refused ended. */
static int take_one_of_each(struct taker *t)
{
	uint32_t bo, store;
	int rc = rig_queue(t->of, 0, &t->id);

	if (!rc)
		rc = rig_bo(t->of, chunks(1), VB_LIFE_VOLATILE, &bo);
	if (!rc)
		rc = rig_write(t->of, bo, 0, "x", 1);
	for (int i = 0; !rc && i < 2; i++)
		rc = rig_bo_file(t->of, t->file, 0, 4096, &store);
	if (!rc)
		rc = take_hold(t, bo);
	fake_exec_pause(rig.fake);
	for (int i = 0; !rc && i < 64; i++)
		rc = take_submission(t);
	if (!rc)
		rc = take_eventfd(t);
	fake_exec_resume(rig.fake);
	return rc;
}

/* A KiB more each time, so that each of them is the one that is refused. */
static void whatever_is_refused_leaves_nothing_behind(void **state)
{
	struct vgpu_uapi *seen;
	static struct taker t;
	uint32_t begin, kib;
	uint64_t alone;
	int rc = -EDQUOT;

	(void)state;
	seen = stranger();
	alone = kernel_kib(seen);
	taker_begin(&t);
	begin = kib = (uint32_t)kernel_kib(seen) + 1;
	for (; rc == -EDQUOT && kib < begin + 64; kib++) {
		limit_kib(kib);
		rc = take_one_of_each(&t);
		taker_end(&t);
		expect_kernel_kib(seen, alone);
		limit_write("none\n");
		taker_begin(&t);
	}
	assert_rc(rc, 0);
	assert_true(kib > begin + 8);
	taker_end(&t);
	leave(seen);
}

/* ---- the file ---- */

static void limit_begins_at_an_eighth_of_the_memory_and_can_be_set(void **state)
{
	uint64_t eighth = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 8;
	struct stat st;
	char text[32];

	(void)state;
	assert_int_equal(strtoull(was, NULL, 10), eighth >> 10);
	assert_int_equal(stat(LIMIT, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_rc(limit_write("none\n"), 0);
	limit_read(text);
	assert_string_equal(text, "none");
	expect_served(u);
	assert_rc(limit_write("123\n"), 0);
	limit_read(text);
	assert_string_equal(text, "123");
	assert_rc(limit_write("much\n"), -EINVAL);
	assert_rc(limit_write("18446744073709551615\n"), -ERANGE);
	limit_read(text);
	assert_string_equal(text, "123");
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(user_at_its_limit_is_refused_alone_and_all_comes_back),
		CASE(what_was_refused_is_had_when_there_is_room),
		CASE(whatever_is_refused_leaves_nothing_behind),
		CASE(user_at_its_limit_keeps_nobody_from_a_store),
		CASE(limit_begins_at_an_eighth_of_the_memory_and_can_be_set),
	};
	const struct CMUnitTest real[] = {
		CASE(what_was_refused_is_had_when_there_is_room),
		CASE(user_at_its_limit_keeps_nobody_from_a_store),
	};
	int failed = 0;

	if (!selftest_has_module("kernel memory"))
		return 0;
	failed += SELFTEST_RUN("kernel memory", tests, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("kernel memory, executor", real, RIG_REAL, 4 * HOST_SLOTS, NVME_SLOTS);
	return failed ? 1 : 0;
}

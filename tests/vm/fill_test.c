// SPDX-License-Identifier: MIT
/*
 * Chunks that the module reads by itself (VB_IOC_EXCHANGE, fill_count); the executor is the
 * test.  It would have to read what the module does not: a fault that goes on without it was
 * served by the module, and one that the module leaves alone waits for it.
 *
 * The disk vb2 is a file as good as any, and has a file system for some; vb1 has sectors that
 * cannot be read from 2 MiB on (tests/vm/run.sh).
 */
#include "selftests/client.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/crc32c.h"
#include "vm/machine.h"

#define DISK		"/dev/vb2"
#define BAD_DISK	"/dev/vb1"
#define BAD_CHUNK(bytes)	((2u << 20) / (bytes))
#define FOLDER		"/tmp/fill"
#define SLOW_GROUP	"/sys/fs/cgroup/vb-slow"
#define CHUNKS		6u
#define SLOTS		8u
#define ROOM		8u
#define MANY		100u	/* as many as it can */
#define PATIENCE_MS	20000u
#define H		VB_TIER_HOST
#define MOVING		(1u << 4)	/* of a byte of residency */

static struct rig_exec x;
static struct vb_ioc_fetch got[ROOM];
static int file;
static uint32_t id;
static uint8_t *mapped;

/* ---- the executor ---- */

/* Commits @tag unless it is 0, and says how many chunks the module may be ahead; how many came. */
static uint32_t exchange(uint64_t tag, uint32_t fill_count)
{
	struct vb_ioc_commit done = {
		.size = sizeof(done), .generation = x.generation, .tag = tag, .bad_command = ~0u,
	};
	struct vb_ioc_exchange e = {
		.size = sizeof(e), .flags = VB_FETCH_F_NOWAIT, .commits_address = (uintptr_t)&done,
		.commit_count = tag ? 1 : 0, .fetches_address = (uintptr_t)got,
		.fetch_count = ROOM, .fill_count = fill_count,
	};

	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXCHANGE, &e), 0);
	return e.out_fetched;
}

static void allow(uint32_t fill_count)
{
	assert_int_equal(exchange(0, fill_count), 0);
}

/* What comes to the executor next, which may take a moment; got[0]. */
static void fetch_one(uint32_t fill_count)
{
	uint32_t ms = 0;

	while (exchange(0, fill_count) != 1) {
		assert_true(ms++ < PATIENCE_MS);
		usleep(1000);
	}
	assert_int_equal(got[0].out_type, VB_FETCH_PAGE_IN);
}

/* The object with the least id from there on. */
static uint32_t object_from(uint32_t from)
{
	struct vb_ioc_object_next o = { .size = sizeof(o), .object = from };

	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_NEXT, &o), 0);
	return o.out_object;
}

/* The executor is told of a chunk that it has nothing to do for. */
static uint64_t expect_filled(uint32_t chunk, uint32_t fill_count)
{
	fetch_one(fill_count);
	assert_int_equal(got[0].flags & VB_FETCH_F_FILLED, VB_FETCH_F_FILLED);
	assert_int_equal(got[0].out_chunk, chunk);
	assert_int_equal(got[0].out_count, 1);
	return got[0].out_tag;
}

/* ---- the client ---- */

static void pattern_write(int fd, uint64_t bytes)
{
	uint8_t *p = aligned_alloc(4096, rig.chunk_bytes);

	assert_non_null(p);
	for (uint64_t at = 0; at < bytes; at += rig.chunk_bytes) {
		for (uint64_t i = 0; i < rig.chunk_bytes; i++)
			p[i] = rig_pattern(at + i);
		assert_int_equal(pwrite(fd, p, rig.chunk_bytes, (off_t)at), rig.chunk_bytes);
	}
	assert_int_equal(fsync(fd), 0);
	free(p);
}

static void object_of(int fd, uint64_t bytes)
{
	file = fd;
	assert_rc(rig_bo_file(u, fd, 0, bytes, &id), 0);
	mapped = machine_map(u, id, bytes, false);
}

static int disk_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void object_of_disk(void)
{
	int fd = disk_open(DISK);

	pattern_write(fd, chunks(CHUNKS));
	object_of(fd, chunks(CHUNKS));
}

/* A file on the disk, which @make has given a file system of this type. */
static void object_on(const char *type, const char *make)
{
	int fd;

	mkdir(FOLDER, 0700);
	if (system(make) || mount(DISK, FOLDER, type, 0, NULL)) {
		fprintf(stderr, "SKIP: this kernel or machine has no %s\n", type);
		skip();
	}
	fd = open(FOLDER "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	pattern_write(fd, chunks(CHUNKS));
	object_of(fd, chunks(CHUNKS));
}

static void object_of_ext4(void)
{
	object_on("ext4", "mke2fs -b 4096 " DISK " >/dev/null 2>&1");
}

/* Read past the page cache, too, but its reads wait for locks whatever is asked for. */
static void object_of_msdos(void)
{
	object_on("msdos", "mkdosfs " DISK " >/dev/null 2>&1");
}

/* Nobody has the file any more: all that came of it was committed. */
static void file_system_end(void)
{
	munmap(mapped, chunks(CHUNKS));
	mapped = NULL;
	assert_rc(rig_bo_destroy(u, id), 0);
	while (rig_serve_one(&x) != VB_FETCH_FORGET)
		usleep(1000);
	close(file);
	file = -1;
	assert_int_equal(umount(FOLDER), 0);
}

static bool chunk_is_right(uint32_t chunk)
{
	for (uint64_t i = chunks(chunk); i < chunks(chunk + 1); i++)
		if (mapped[i] != rig_pattern(i))
			return false;
	return true;
}

static void expect_in_memory(uint32_t chunk)
{
	assert_true(chunk_is_right(chunk));
	assert_int_equal(rig_residency(u, id, chunk) & 7, 1u << H);
}

/* Touched with nobody else to read it. */
static void expect_read_by_module(uint32_t chunk)
{
	expect_in_memory(chunk);
}

static void *peek(void *arg)
{
	return (void *)(intptr_t)machine_peek(arg);
}

/* Touched, and the executor is asked: it says no, so that the fault ends. */
static void expect_left_to_executor(uint32_t chunk, uint32_t fill_count)
{
	pthread_t thread;
	void *byte;

	assert_int_equal(pthread_create(&thread, NULL, peek, mapped + chunks(chunk)), 0);
	fetch_one(fill_count);
	assert_int_equal(got[0].flags & VB_FETCH_F_FILLED, 0);
	assert_int_equal(got[0].out_chunk, chunk);
	assert_rc(rig_commit(&x, got[0].out_tag, -EIO), 0);
	pthread_join(thread, &byte);
	assert_int_equal((intptr_t)byte, -1);
	assert_int_equal(rig_residency(u, id, chunk) & 7, 0);
}

static int setup(void **state)
{
	file = -1;
	mapped = NULL;
	return client_setup(state) || rig_exec_open(&rig, &x, SLOTS);
}

static int teardown(void **state)
{
	if (mapped)
		munmap(mapped, chunks(CHUNKS));
	if (file >= 0)
		close(file);
	rig_exec_close(&x);
	machine_set_ms("recovery_ms", 0);
	return selftest_teardown(state);
}

/* ---- what it reads ---- */

static void module_reads_what_it_may_and_tells_later(void **state)
{
	uint64_t tag;

	(void)state;
	object_of_disk();
	allow(MANY);
	expect_read_by_module(1);
	tag = expect_filled(1, MANY);
	assert_int_equal(got[0].out_object, object_from(1));
	assert_int_equal(exchange(tag, MANY), 0);
	expect_read_by_module(CHUNKS - 1);
	expect_filled(CHUNKS - 1, MANY);
}

static void file_of_a_file_system_is_read_too(void **state)
{
	(void)state;
	object_of_ext4();
	allow(MANY);
	expect_read_by_module(0);
	assert_rc(rig_commit(&x, expect_filled(0, MANY), 0), 0);
	file_system_end();
}

/* What is asked for in got[0], from the descriptor that the executor is given. */
static void executor_reads(void)
{
	struct vb_ioc_object_open o = { .size = sizeof(o), .object = got[0].out_object };
	struct vb_move mv = {
		.object = got[0].out_object, .chunk = got[0].out_chunk, .op = VB_MOVE_BEGIN,
		.from = VB_TIER_SOURCE, .to = H, .arena = x.host, .slot = VB_SLOT_ANY,
	};

	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_OPEN, &o), 0);
	assert_int_equal(fcntl(o.out_fd, F_GETFL) & O_DIRECT, O_DIRECT);
	assert_rc(rig_move(&x, &mv), 0);
	assert_int_equal(pread(o.out_fd, x.memory + chunks(mv.slot), rig.chunk_bytes,
			       (off_t)chunks(mv.chunk)), rig.chunk_bytes);
	close(o.out_fd);
	mv.op = VB_MOVE_COMMIT;
	assert_rc(rig_move(&x, &mv), 0);
}

/* Whoever reads it: the client has what is in the file.  Was it the module? */
static bool is_filled(uint32_t chunk)
{
	pthread_t thread;
	bool filled;
	void *byte;

	assert_int_equal(pthread_create(&thread, NULL, peek, mapped + chunks(chunk)), 0);
	fetch_one(MANY);
	assert_int_equal(got[0].out_chunk, chunk);
	filled = got[0].flags & VB_FETCH_F_FILLED;
	if (!filled)
		executor_reads();
	assert_int_equal(exchange(got[0].out_tag, MANY), 0);
	pthread_join(thread, &byte);
	assert_int_equal((intptr_t)byte, rig_pattern(chunks(chunk)));
	expect_in_memory(chunk);
	return filled;
}

static void file_system_that_waits_is_left_to_the_executor(void **state)
{
	(void)state;
	object_of_msdos();
	allow(MANY);
	assert_false(is_filled(0));
	assert_false(is_filled(CHUNKS - 1));
	file_system_end();
	/* It is the file system, and nothing else. */
	object_of_ext4();
	assert_true(is_filled(0));
	file_system_end();
	object_of_disk();
	assert_true(is_filled(0));
}

static void nobody_who_may_not_reads(void **state)
{
	(void)state;
	object_of_disk();
	expect_left_to_executor(0, 0);
	allow(1);
	allow(0);
	expect_left_to_executor(1, 0);
}

static void no_more_are_read_than_it_may(void **state)
{
	uint64_t tag;

	(void)state;
	object_of_disk();
	allow(1);
	expect_read_by_module(0);
	tag = expect_filled(0, 1);
	expect_left_to_executor(1, 1);
	/* Known, when that is committed. */
	exchange(tag, 1);
	expect_read_by_module(2);
	expect_filled(2, 1);
}

/* Threads that touch one chunk at the same time: one reads, all go on. */
static void one_read_is_enough_for_all(void **state)
{
	pthread_t thread[4];
	void *byte;

	(void)state;
	object_of_disk();
	allow(MANY);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, peek, mapped + chunks(3) + i), 0);
	for (uint32_t i = 0; i < 4; i++) {
		pthread_join(thread[i], &byte);
		assert_int_equal((intptr_t)byte, rig_pattern(chunks(3) + i));
	}
	expect_filled(3, MANY);
	usleep(100000);
	allow(MANY);
}

/* ---- a disk that takes its time ---- */

/* Who is in SLOW_GROUP reads a chunk of it in seconds. */
static void disk_is_slow(void)
{
	int rc = machine_disk_slow(SLOW_GROUP, DISK, chunks(1) / 4);

	if (rc) {
		fprintf(stderr, "SKIP: io.max: %s\n", strerror(-rc));
		skip();
	}
}

static void disk_is_fast_again(void)
{
	assert_rc(machine_disk_slow(SLOW_GROUP, DISK, UINT64_MAX), 0);
}

static void wait_until_it_comes(uint32_t chunk)
{
	uint32_t ms = 0;

	while (!(rig_residency(u, id, chunk) & MOVING)) {
		assert_true(ms++ < PATIENCE_MS);
		usleep(1000);
	}
}

static void expect_still_coming(uint32_t chunk)
{
	assert_int_equal(rig_residency(u, id, chunk) & (7 | MOVING), MOVING);
}

/* Who waits for it has let go of mmap_lock. */
static void slow_disk_holds_up_no_other_thread(void **state)
{
	pthread_t thread;
	void *byte;

	(void)state;
	object_of_disk();
	disk_is_slow();
	allow(MANY);
	assert_rc(machine_cgroup_enter(SLOW_GROUP), 0);
	assert_int_equal(pthread_create(&thread, NULL, peek, mapped + chunks(1)), 0);
	wait_until_it_comes(1);
	for (uint32_t i = 0; i < 10; i++) {
		void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		assert_ptr_not_equal(p, MAP_FAILED);
		assert_int_equal(munmap(p, 4096), 0);
	}
	expect_still_coming(1);
	disk_is_fast_again();
	pthread_join(thread, &byte);
	assert_rc(machine_cgroup_enter("/sys/fs/cgroup"), 0);
	assert_int_equal((intptr_t)byte, rig_pattern(chunks(1)));
	expect_read_by_module(1);
	expect_filled(1, MANY);
}

static pid_t toucher_fork(uint32_t chunk)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child)
		_exit(machine_cgroup_enter(SLOW_GROUP) ||
		      *(volatile uint8_t *)(mapped + chunks(chunk)) != rig_pattern(chunks(chunk)));
	return child;
}

/* Chunk 2 of the slow disk is read, and who wanted it has been killed. */
static void begin_and_kill(void)
{
	pid_t child;
	int status;

	object_of_disk();
	disk_is_slow();
	allow(MANY);
	child = toucher_fork(2);
	wait_until_it_comes(2);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	expect_still_coming(2);
}

static void who_is_killed_leaves_the_read_to_its_end(void **state)
{
	(void)state;
	begin_and_kill();
	disk_is_fast_again();
	expect_filled(2, MANY);
	expect_read_by_module(2);
}

/* ---- what it leaves alone ---- */

static void end_of_an_object_is_left_to_the_executor(void **state)
{
	int fd = disk_open(DISK);

	(void)state;
	pattern_write(fd, chunks(CHUNKS));
	object_of(fd, chunks(CHUNKS) - 4096);
	allow(MANY);
	expect_read_by_module(CHUNKS - 2);
	expect_filled(CHUNKS - 2, MANY);
	expect_left_to_executor(CHUNKS - 1, MANY);
}

/* What was read before has to be the same again. */
static void reads_again(uint32_t chunk, uint32_t crc)
{
	struct vb_move mv = { .chunk = chunk, .op = VB_MOVE_RECORD, .from = H, .to = H,
			      .slot = VB_SLOT_ANY, .flags = VB_MOVE_F_CRC, .crc = crc };

	object_of_disk();
	allow(MANY);
	expect_read_by_module(chunk);
	expect_filled(chunk, MANY);
	mv.object = got[0].out_object;
	assert_rc(rig_move(&x, &mv), 0);
	mv = (struct vb_move){ .object = mv.object, .chunk = chunk, .op = VB_MOVE_DROP, .from = H };
	assert_rc(rig_move(&x, &mv), 0);
}

static uint32_t crc_of_pattern(uint32_t chunk)
{
	uint8_t *p = malloc(rig.chunk_bytes);
	uint32_t crc;

	assert_non_null(p);
	for (uint64_t i = 0; i < rig.chunk_bytes; i++)
		p[i] = rig_pattern(chunks(chunk) + i);
	crc = vgpu_crc32c(0, p, rig.chunk_bytes);
	free(p);
	return crc;
}

static void what_is_read_again_is_compared(void **state)
{
	(void)state;
	reads_again(2, crc_of_pattern(2));
	expect_read_by_module(2);
	expect_filled(2, MANY);
}

static void another_checksum_is_left_to_the_executor(void **state)
{
	(void)state;
	reads_again(2, crc_of_pattern(2) + 1);
	expect_left_to_executor(2, MANY);
}

/* ---- what was written out ---- */

#define FIRST	(64u << 10)	/* byte of the disk where slot 0 is */

static int arena_of(struct vb_ioc_arena_create cmd, uint32_t *out)
{
	int rc;

	cmd.size = sizeof(cmd);
	cmd.numa_node = -1;
	cmd.slots = SLOTS;
	cmd.memory = VB_ARENA_FILE;
	rc = vgpu_uapi_call(x.node, VB_IOC_ARENA_CREATE, &cmd);
	*out = cmd.out_arena;
	return rc;
}

static void move(struct vb_move mv, uint32_t *slot)
{
	mv.object = object_from(1);
	mv.slot = *slot;
	assert_rc(rig_move(&x, &mv), 0);
	*slot = mv.slot;
}

/* Chunk 0 of an object of the client is in the arena alone, with this checksum. */
static void write_out(uint32_t arena, uint32_t crc)
{
	const uint8_t z = VB_TIER_ZERO, n = VB_TIER_NVME;
	uint32_t host = VB_SLOT_ANY, slot = VB_SLOT_ANY;

	assert_rc(rig_bo(u, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	mapped = machine_map(u, id, chunks(2), false);
	move((struct vb_move){ .op = VB_MOVE_BEGIN, .from = z, .to = H, .arena = x.host }, &host);
	move((struct vb_move){ .op = VB_MOVE_COMMIT, .from = z, .to = H }, &host);
	move((struct vb_move){ .op = VB_MOVE_WRITE, .to = H }, &host);
	move((struct vb_move){ .op = VB_MOVE_BEGIN, .from = H, .to = n, .arena = arena }, &slot);
	assert_int_equal(slot, SLOTS - 1);
	move((struct vb_move){ .op = VB_MOVE_COMMIT, .from = H, .to = n,
			       .flags = VB_MOVE_F_CRC, .crc = crc }, &slot);
	move((struct vb_move){ .op = VB_MOVE_DROP, .from = H }, &host);
}

/* The last slot has the pattern of chunk 0. */
static uint32_t arena_with_pattern(void)
{
	uint32_t arena;
	uint8_t *p = malloc(rig.chunk_bytes);

	assert_non_null(p);
	for (uint64_t i = 0; i < rig.chunk_bytes; i++)
		p[i] = rig_pattern(i);
	file = disk_open(DISK);
	assert_int_equal(pwrite(file, p, rig.chunk_bytes, (off_t)(FIRST + chunks(SLOTS - 1))),
			 rig.chunk_bytes);
	assert_int_equal(fsync(file), 0);
	free(p);
	assert_rc(arena_of((struct vb_ioc_arena_create){
			.tier = VB_TIER_NVME, .memory_fd = file, .memory_offset = FIRST,
		}, &arena), 0);
	return arena;
}

static void what_was_written_out_is_read_and_compared(void **state)
{
	(void)state;
	write_out(arena_with_pattern(), crc_of_pattern(0));
	allow(MANY);
	assert_true(chunk_is_right(0));
	assert_int_equal(rig_residency(u, id, 0) & 7, 1u << H | 1u << VB_TIER_NVME);
	expect_filled(0, MANY);
}

static void bad_copy_is_left_to_the_executor(void **state)
{
	pthread_t thread;
	void *byte;

	(void)state;
	write_out(arena_with_pattern(), crc_of_pattern(0) ^ 1);
	allow(MANY);
	assert_int_equal(pthread_create(&thread, NULL, peek, mapped), 0);
	fetch_one(MANY);
	assert_int_equal(got[0].flags & VB_FETCH_F_FILLED, 0);
	assert_rc(rig_commit(&x, got[0].out_tag, -EIO), 0);
	pthread_join(thread, &byte);
	assert_int_equal((intptr_t)byte, -1);
	assert_int_equal(rig_residency(u, id, 0) & 7, 1u << VB_TIER_NVME);
}

/* Memory that nobody has touched is not in any file. */
static void empty_chunk_is_left_to_the_executor(void **state)
{
	(void)state;
	write_out(arena_with_pattern(), crc_of_pattern(0));
	allow(MANY);
	expect_left_to_executor(1, MANY);
}

static void arena_of_a_file_is_checked(void **state)
{
	uint32_t arena;
	int fd = open(DISK, O_WRONLY | O_CLOEXEC);

	(void)state;
	file = disk_open(DISK);
	assert_rc(arena_of((struct vb_ioc_arena_create){
			.tier = VB_TIER_NVME, .memory_fd = -1 }, &arena), -EBADF);
	assert_rc(arena_of((struct vb_ioc_arena_create){
			.tier = VB_TIER_NVME, .memory_fd = fd }, &arena), -EBADF);
	assert_rc(arena_of((struct vb_ioc_arena_create){
			.tier = VB_TIER_NVME, .memory_fd = file, .memory_offset = 512 }, &arena), -EINVAL);
	assert_rc(arena_of((struct vb_ioc_arena_create){
			.tier = VB_TIER_HOST, .memory_fd = file }, &arena), -EINVAL);
	assert_rc(arena_of((struct vb_ioc_arena_create){
			.tier = VB_TIER_DEVICE, .memory_fd = file }, &arena), -EINVAL);
	close(fd);
}

/* ---- an executor that plays with its descriptor ---- */

static _Atomic bool enough;

static void *flags_change(void *fd)
{
	while (!atomic_load(&enough)) {
		fcntl((int)(intptr_t)fd, F_SETFL, 0);
		fcntl((int)(intptr_t)fd, F_SETFL, O_DIRECT);
	}
	return NULL;
}

/* Whoever reads it; what came is right, and goes again. */
static bool read_and_drop(uint32_t chunk)
{
	struct vb_move drop = { .chunk = chunk, .op = VB_MOVE_DROP, .from = H };
	pthread_t thread;
	bool filled;
	void *byte;

	assert_int_equal(pthread_create(&thread, NULL, peek, mapped + chunks(chunk)), 0);
	fetch_one(MANY);
	filled = got[0].flags & VB_FETCH_F_FILLED;
	drop.object = got[0].out_object;
	assert_rc(rig_commit(&x, got[0].out_tag, filled ? 0 : -EIO), 0);
	pthread_join(thread, &byte);
	assert_int_equal((intptr_t)byte, filled ? rig_pattern(chunks(chunk)) : -1);
	assert_rc(rig_move(&x, &drop), filled ? 0 : -EINVAL);
	return filled;
}

/* The file that the device reads is the one whose descriptor the executor has. */
static void flags_of_the_descriptor_change_at_any_time(void **state)
{
	struct vb_ioc_object_open o = { .size = sizeof(o) };
	pthread_t thread;
	uint32_t filled;

	(void)state;
	object_of_disk();
	allow(MANY);
	filled = read_and_drop(0);
	assert_int_equal(filled, 1);
	o.object = got[0].out_object;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_OPEN, &o), 0);
	atomic_store(&enough, false);
	assert_int_equal(pthread_create(&thread, NULL, flags_change, (void *)(intptr_t)o.out_fd), 0);
	for (uint32_t i = 0; i < 300; i++)
		filled += read_and_drop(i % CHUNKS);
	atomic_store(&enough, true);
	pthread_join(thread, NULL);
	close(o.out_fd);
	assert_true(filled > 1);
}

/* ---- not for now ---- */

static int flag(uint32_t flags)
{
	struct vb_ioc_exchange e = {
		.size = sizeof(e), .flags = VB_FETCH_F_NOWAIT | flags, .fill_count = MANY,
	};

	return vgpu_uapi_call(x.node, VB_IOC_EXCHANGE, &e);
}

/* Whatever count is said meanwhile. */
static void held_back_it_is_left_to_the_executor(void **state)
{
	(void)state;
	object_of_disk();
	assert_rc(flag(VB_EXCHANGE_F_HOLD_FILLS | VB_EXCHANGE_F_LET_FILLS), -EINVAL);
	allow(MANY);
	expect_read_by_module(0);
	expect_filled(0, MANY);
	assert_rc(flag(VB_EXCHANGE_F_HOLD_FILLS), 0);
	allow(MANY);
	expect_left_to_executor(1, MANY);
	assert_rc(flag(VB_EXCHANGE_F_LET_FILLS), 0);
	expect_read_by_module(2);
	expect_filled(2, MANY);
}

static void succeed(void);

static void successor_holds_nothing_back(void **state)
{
	(void)state;
	machine_set_ms("recovery_ms", 20000);
	object_of_disk();
	assert_rc(flag(VB_EXCHANGE_F_HOLD_FILLS), 0);
	succeed();
	allow(MANY);
	expect_read_by_module(0);
	expect_filled(0, MANY);
}

/* ---- who cannot have it ---- */

static void client_at_its_limit_is_left_to_the_executor(void **state)
{
	(void)state;
	object_of_disk();
	assert_rc(rig_limit(u, VB_LIMIT_HOST_MAX, chunks(1)), 0);
	allow(MANY);
	expect_read_by_module(0);
	expect_filled(0, MANY);
	expect_left_to_executor(1, MANY);
}

static void without_a_free_slot_it_is_left_to_the_executor(void **state)
{
	uint32_t other, object;

	(void)state;
	object_of_disk();
	assert_rc(rig_bo(u, chunks(SLOTS - 1), VB_LIFE_VOLATILE, &other), 0);
	object = object_from(object_from(1) + 1);
	for (uint32_t i = 0; i < SLOTS - 1; i++)
		assert_rc(rig_step(&x, object, i, VB_MOVE_BEGIN, VB_TIER_ZERO, H), 0);
	allow(MANY);
	expect_read_by_module(0);
	expect_filled(0, MANY);
	expect_left_to_executor(1, MANY);
}

/* The executor reads it again and finds what is wrong; nothing is left behind. */
static void failed_read_is_left_to_the_executor(void **state)
{
	uint32_t bad = BAD_CHUNK(rig.chunk_bytes);
	struct vb_ioc_query_tier q;
	int fd = disk_open(BAD_DISK);

	(void)state;
	file = fd;
	assert_rc(rig_bo_file(u, fd, 0, chunks(bad + 1), &id), 0);
	mapped = machine_map(u, id, chunks(bad + 1), false);
	allow(MANY);
	assert_true(machine_peek(mapped) >= 0);
	expect_filled(0, MANY);
	expect_left_to_executor(bad, MANY);
	assert_rc(rig_tier(u, H, &q), 0);
	assert_int_equal(q.out_used_bytes, chunks(1));
	munmap(mapped, chunks(bad + 1));
	mapped = NULL;
}

static void a_file_that_changed_is_left_to_the_executor(void **state)
{
	struct vb_ioc_object_open o = { .size = sizeof(o) };

	(void)state;
	object_of_ext4();
	allow(MANY);
	usleep(10000);	/* the time of a change is that of a tick */
	assert_int_equal(ftruncate(file, (off_t)chunks(CHUNKS) + 1), 0);
	expect_left_to_executor(0, MANY);
	o.object = got[0].out_object;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_OPEN, &o), -ESTALE);
	file_system_end();
}

static void *write_it_to_itself(void *arg)
{
	return (void *)(intptr_t)(pwrite(file, arg, 4096, 0) < 0 ? -errno : 0);
}

/*
 * The file's lock is held by who faults: a read that waited for it would wait for ever.  The
 * executor may, until the fault is given up.
 */
static void lock_that_is_held_is_left_to_the_executor(void **state)
{
	pthread_t thread;
	void *rc;

	(void)state;
	object_of_ext4();
	allow(MANY);
	assert_int_equal(pthread_create(&thread, NULL, write_it_to_itself, mapped + chunks(1)), 0);
	fetch_one(MANY);
	assert_int_equal(got[0].flags & VB_FETCH_F_FILLED, 0);
	assert_rc(rig_commit(&x, got[0].out_tag, -EIO), 0);
	pthread_join(thread, &rc);
	assert_int_equal((intptr_t)rc, -EFAULT);
	file_system_end();
}

/* ---- death ---- */

/* The next executor attaches; the arena that it may take over. */
static uint32_t die_and_attach(void)
{
	uint32_t arena = x.host, state;

	rig_exec_close(&x);
	assert_rc(rig_exec_attach(&rig, &x, &state), 0);
	assert_int_equal(state, VB_EXEC_RECOVERING);
	return arena;
}

static int adopt(uint32_t arena, uint32_t flags)
{
	struct vb_ioc_arena_adopt cmd = { .size = sizeof(cmd), .arena = arena, .flags = flags };

	return vgpu_uapi_call(x.node, VB_IOC_ARENA_ADOPT, &cmd);
}

/* It takes the host arena over, and nothing else; it has allowed nothing yet. */
static void succeed(void)
{
	assert_rc(adopt(die_and_attach(), 0), 0);
	assert_rc(rig_recover(&x, 0), 0);
}

/* All memory of the arena, which is one region, with @byte in it. */
static void fill_memory(uint32_t arena, uint8_t byte)
{
	struct vb_ioc_region region = { .size = sizeof(region), .arena = arena };

	assert_rc(vgpu_uapi_call(x.node, VB_IOC_REGION_NEXT, &region), 0);
	assert_int_equal(region.slots, SLOTS);
	x.bytes = chunks(SLOTS);
	assert_rc(x.node->ops->map(x.node, region.out_mmap_offset, x.bytes, true,
				   (void **)&x.memory), 0);
	memset(x.memory, byte, x.bytes);
}

static bool memory_is(uint8_t byte)
{
	return x.memory[0] == byte && !memcmp(x.memory, x.memory + 1, x.bytes - 1);
}

/* The disk writes to the slot long after its executor, and who waited for it, have died. */
static void slot_is_the_disks_until_the_read_ends(void **state)
{
	uint32_t arena;

	(void)state;
	machine_set_ms("recovery_ms", 20000);
	begin_and_kill();
	/* Nobody else has its node open any more. */
	arena = die_and_attach();
	/* Not the same memory, and not for the asking. */
	assert_rc(adopt(arena, 0), -EBUSY);
	assert_rc(adopt(arena, VB_ADOPT_FORCE), 0);
	fill_memory(arena, 0x22);
	assert_rc(rig_recover(&x, 0), 0);
	disk_is_fast_again();
	for (uint32_t i = 0; i < 20; i++) {
		usleep(50000);
		assert_true(memory_is(0x22));
	}
	assert_int_equal(rig_residency(u, id, 2) & (7 | MOVING), 0);
}

/* What it does not live to hear of is in the table for its successor, whose word counts anew. */
static void executor_that_dies_leaves_what_was_read(void **state)
{
	(void)state;
	machine_set_ms("recovery_ms", 20000);
	object_of_disk();
	allow(CHUNKS);
	for (uint32_t i = 0; i < CHUNKS - 1; i++)
		expect_read_by_module(i);
	succeed();
	for (uint32_t i = 0; i < CHUNKS - 1; i++)
		expect_read_by_module(i);
	expect_left_to_executor(CHUNKS - 1, 0);
	allow(1);
	expect_read_by_module(CHUNKS - 1);
	expect_filled(CHUNKS - 1, 1);
}

static void everybody_leaves(void)
{
	munmap(mapped, chunks(CHUNKS));
	mapped = NULL;
	close(file);
	file = -1;
	rig_exec_close(&x);
	rig_client_close(rig.client);
	rig.client = NULL;
}

static bool nobody_has_the_module(void)
{
	FILE *f = fopen("/sys/module/vblackwell/refcnt", "r");
	int n = -1;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &n), 1);
	fclose(f);
	return !n;
}

/* The disk will call it back, who is not there any more. */
static void module_stays_until_the_read_ends(void **state)
{
	uint32_t ms = 0;

	(void)state;
	begin_and_kill();
	everybody_leaves();
	/* Of what else had it for a moment nothing is left. */
	usleep(500000);
	assert_int_equal(syscall(SYS_delete_module, "vblackwell", O_NONBLOCK), -1);
	assert_true(errno == EWOULDBLOCK || errno == EBUSY);
	disk_is_fast_again();
	while (!nobody_has_the_module()) {
		assert_true(ms++ < PATIENCE_MS);
		usleep(1000);
	}
	u = rig.client = rig_client(&rig);
}

/* Others take a disk with something on it for theirs. */
static int leave_blank(void)
{
	static const uint8_t zeros[64 << 10];
	int fd = open(DISK, O_WRONLY | O_CLOEXEC), rc;

	rc = fd < 0 || pwrite(fd, zeros, sizeof(zeros), 0) != sizeof(zeros) || fsync(fd) ? -1 : 0;
	close(fd);
	return rc;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(module_reads_what_it_may_and_tells_later),
		T(file_of_a_file_system_is_read_too),
		T(file_system_that_waits_is_left_to_the_executor),
		T(nobody_who_may_not_reads),
		T(no_more_are_read_than_it_may),
		T(one_read_is_enough_for_all),
		T(slow_disk_holds_up_no_other_thread),
		T(who_is_killed_leaves_the_read_to_its_end),
		T(end_of_an_object_is_left_to_the_executor),
		T(what_is_read_again_is_compared),
		T(another_checksum_is_left_to_the_executor),
		T(what_was_written_out_is_read_and_compared),
		T(bad_copy_is_left_to_the_executor),
		T(empty_chunk_is_left_to_the_executor),
		T(arena_of_a_file_is_checked),
		T(client_at_its_limit_is_left_to_the_executor),
		T(without_a_free_slot_it_is_left_to_the_executor),
		T(failed_read_is_left_to_the_executor),
		T(a_file_that_changed_is_left_to_the_executor),
		T(lock_that_is_held_is_left_to_the_executor),
		T(flags_of_the_descriptor_change_at_any_time),
		T(held_back_it_is_left_to_the_executor),
		T(successor_holds_nothing_back),
		T(executor_that_dies_leaves_what_was_read),
		T(slot_is_the_disks_until_the_read_ends),
		T(module_stays_until_the_read_ends),
	};

	if (!selftest_has_module("fill_test"))
		return 0;
	return SELFTEST_RUN("filled by the module", tests, RIG_NONE, 0, 0) || leave_blank();
}

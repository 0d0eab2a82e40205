// SPDX-License-Identifier: MIT
/*
 * An object far larger than memory costs a table entry a chunk and nothing else: 64 GiB of a
 * sparse file, created, looked at chunk by chunk, used at its ends, destroyed.
 */
#include <dirent.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include <linux/vblackwell.h>
#include "vgpu.h"

#define OBJECT_BYTES	((uint64_t)64 << 30)
#define TABLE_BYTES	32u
#define HALF_OF_50_MS	25000000ull

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED	1
#else
#define SANITIZED	0
#endif
/* Beside the tables: handles, and what an allocator rounds up to; a sanitizer's takes MiB. */
#define BESIDE_BYTES	(SANITIZED ? 4u << 20 : 256u << 10)

struct stage {
	struct vgpu *v;
	int fd;
	uint32_t chunk_bytes;
	uint64_t chunks;
	uint8_t *where;		/* a byte a chunk */
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Address space of the process: whoever allocates, and however, it is in here. */
static uint64_t space_bytes(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &pages), 1);
	fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void stage_open(struct stage *s, uint32_t chunk_bytes)
{
	struct vgpu_config config = {
		.size = sizeof(config), .chunk_bytes = chunk_bytes, .host_bytes = 64u << 20,
		.threads = 1, .io_engine = "threads",
	};
	char path[] = "/var/tmp/vgpu-large-XXXXXX";

	s->chunk_bytes = chunk_bytes;
	s->chunks = OBJECT_BYTES / chunk_bytes;
	s->where = malloc(s->chunks);
	assert_non_null(s->where);
	memset(s->where, 0xff, s->chunks);
	s->fd = mkstemp(path);
	assert_true(s->fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(s->fd, (off_t)OBJECT_BYTES), 0);
	assert_int_equal(vgpu_open_embedded(&config, &s->v), 0);
}

/* Entries of "/proc/self/task", "/proc/self/fd". */
static uint32_t entries(const char *path)
{
	DIR *d = opendir(path);
	uint32_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/*
 * Whatever a first use makes once (threads, their stacks) is there before anything is measured,
 * and free: the file is closed, and who opened and closed it has ended.
 */
static void warm_up(struct stage *s)
{
	uint32_t tasks = entries("/proc/self/task"), files = entries("/proc/self/fd");
	struct vgpu_bo *bo;
	char byte;

	assert_int_equal(vgpu_bo_create_file(s->v, s->fd, 0, 1, &bo), 0);
	assert_int_equal(vgpu_bo_read(bo, 0, &byte, 1), 0);
	vgpu_bo_destroy(bo);
	for (uint32_t i = 0; i < 20000 && (entries("/proc/self/fd") > files ||
					   entries("/proc/self/task") > tasks); i++)
		usleep(1000);
}

static void stage_close(struct stage *s)
{
	vgpu_close(s->v);
	close(s->fd);
	free(s->where);
}

static void look_at_all(struct stage *s, struct vgpu_bo *bo)
{
	struct vgpu_bo_info info = { .size = sizeof(info) };
	uint32_t done = 0;

	assert_int_equal(vgpu_bo_info(bo, &info), 0);
	assert_int_equal(info.bytes, OBJECT_BYTES);
	assert_int_equal(info.chunks, s->chunks);
	assert_int_equal(info.tier_bytes[VGPU_TIER_HOST], 0);
	while (done < s->chunks) {
		int n = vgpu_bo_residency(bo, done, (uint32_t)s->chunks - done, s->where + done);

		assert_true(n > 0);
		done += (uint32_t)n;
	}
}

static void check_cost(uint32_t chunk_bytes)
{
	uint64_t before, space, cpu, wall;
	struct vgpu_bo *bo;
	struct stage s;
	char end[2];

	stage_open(&s, chunk_bytes);
	warm_up(&s);
	before = space_bytes();
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	wall = clock_ns(CLOCK_MONOTONIC);
	assert_int_equal(vgpu_bo_create_file(s.v, s.fd, 0, 0, &bo), 0);
	look_at_all(&s, bo);
	wall = clock_ns(CLOCK_MONOTONIC) - wall;
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	space = space_bytes() - before;
	print_message("64 GiB in chunks of %u KiB: %.2f ms, %.2f ms of CPU, %.2f bytes a chunk\n",
		      chunk_bytes >> 10, (double)wall / 1e6, (double)cpu / 1e6,
		      (double)space / (double)s.chunks);
	assert_true(space <= s.chunks * TABLE_BYTES + BESIDE_BYTES);
	/* The other half is what vbctl plan may take: tests/cli/vbctl_test.sh. */
	if (!SANITIZED)
		assert_true(cpu < HALF_OF_50_MS);
	for (uint64_t i = 0; i < s.chunks; i++)
		assert_int_equal(s.where[i], 0);

	/* The executor adds nothing a chunk either, once the object is used. */
	assert_int_equal(vgpu_bo_read(bo, 0, end, 1), 0);
	assert_int_equal(vgpu_bo_read(bo, OBJECT_BYTES - 1, end + 1, 1), 0);
	assert_int_equal(end[0] | end[1], 0);
	assert_true(space_bytes() - before <= s.chunks * TABLE_BYTES + BESIDE_BYTES);
	vgpu_bo_destroy(bo);
	stage_close(&s);
}

static void chunks_of_2_mib_cost_32_bytes_each(void **state)
{
	(void)state;
	check_cost(2u << 20);
}

static void chunks_of_64_kib_cost_32_bytes_each(void **state)
{
	(void)state;
	check_cost(64u << 10);
}

/* A hundred of them, each created and destroyed: nothing stays. */
static void destroyed_objects_leave_nothing(void **state)
{
	struct vgpu_bo *bo;
	struct stage s;
	uint64_t space;

	(void)state;
	stage_open(&s, 64u << 10);
	assert_int_equal(vgpu_bo_create_file(s.v, s.fd, 0, 0, &bo), 0);
	vgpu_bo_destroy(bo);
	space = space_bytes();
	for (int i = 0; i < 100; i++) {
		assert_int_equal(vgpu_bo_create_file(s.v, s.fd, 0, 0, &bo), 0);
		vgpu_bo_destroy(bo);
	}
	assert_true(space_bytes() <= space + BESIDE_BYTES);
	stage_close(&s);
}

/* 2^30 chunks, of which one is there: whoever evicts them all pays for that one. */
static void evicting_takes_time_by_what_is_there(void **state)
{
	struct vgpu_config config = {
		.size = sizeof(config), .chunk_bytes = 64u << 10, .host_bytes = 64u << 20,
		.threads = 1, .io_engine = "threads",
	};
	int fd = memfd_create("large", MFD_CLOEXEC);
	uint64_t cpu, bytes;
	struct vgpu_bo *bo;
	struct vgpu *v;
	char byte;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)VB_OBJECT_BYTES_MAX), 0);
	assert_int_equal(vgpu_open_embedded(&config, &v), 0);
	assert_int_equal(vgpu_bo_create_file(v, fd, 0, 0, &bo), 0);
	assert_int_equal(vgpu_bo_read(bo, 0, &byte, 1), 0);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	assert_int_equal(vgpu_bo_advise(bo, VGPU_ADVISE_EVICT, 0, VB_OBJECT_BYTES_MAX, &bytes), 0);
	assert_in_range(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu, 0, 1000000000);
	assert_int_equal(bytes, VB_OBJECT_BYTES_MAX);
	vgpu_bo_destroy(bo);
	vgpu_close(v);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks_of_2_mib_cost_32_bytes_each),
		cmocka_unit_test(chunks_of_64_kib_cost_32_bytes_each),
		cmocka_unit_test(destroyed_objects_leave_nothing),
		cmocka_unit_test(evicting_takes_time_by_what_is_there),
	};

	/* A thread's own heap would reserve 64 MiB of address space whenever it begins. */
	mallopt(M_ARENA_MAX, 1);
	return cmocka_run_group_tests_name("large_object", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/* Which I/O engine a device uses: the one asked for, the fastest, or another from now on. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"

#define CHUNK	(64u << 10)

static void expect_described(struct xrig *r, const char *key, const char *what, bool there)
{
	char text[1024];

	assert_true(vgpu_exec_describe(r->exec, key, text, sizeof(text)) > 0);
	if (!strstr(text, what) == there)
		fail_msg("%s is \"%s\"; \"%s\" is %s", key, text, what, there ? "missing" : "there");
}

/* Content in files and in the arena is read the same through every engine. */
static void engine_changes_between_two_requests(void **state)
{
	static const char *const engines[] = { "threads", "buffered", "auto", "threads" };
	struct vgpu_exec_params p = xrig_params(12);
	size_t bytes = 40 * CHUNK;
	uint8_t *file = xalloc(bytes), *memory = xalloc(bytes), *got = xalloc(bytes);
	uint64_t seed = 7;
	uint32_t a, b;
	struct xrig r;
	char arena[64];
	int fd;

	(void)state;
	for (size_t i = 0; i < bytes; i++) {
		file[i] = (uint8_t)xrandom(&seed);
		memory[i] = (uint8_t)xrandom(&seed);
	}
	fd = xfile(file, bytes, 0);
	snprintf(arena, sizeof(arena), "/var/tmp/vgpu-engine-%d", getpid());
	p.nvme_path = arena;
	p.nvme_bytes = 64 * CHUNK;
	xrig_start(&r, &p);
	a = xrig_file(&r, fd, 0, bytes);
	b = xrig_anonymous(&r, bytes);
	assert_int_equal(xrig_write(&r, b, 0, memory, bytes), 0);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(xrig_read(&r, a, 0, got, bytes), 0);
		assert_memory_equal(got, file, bytes);
		assert_int_equal(xrig_read(&r, b, 0, got, bytes), 0);
		assert_memory_equal(got, memory, bytes);
		assert_int_equal(vgpu_exec_change_engine(r.exec, engines[i]), 0);
		if (strcmp(engines[i], "auto"))
			expect_described(&r, "io.engine", engines[i], true);
	}
	assert_int_equal(vgpu_exec_change_engine(r.exec, "none"), -EINVAL);
	expect_described(&r, "io.engine", "threads", true);
	assert_int_equal(xrig_read(&r, a, 0, got, bytes), 0);
	assert_memory_equal(got, file, bytes);
	xrig_close(&r);
	close(fd);
	free(file);
	free(memory);
	free(got);
}

/* A file that takes long to read is worth a probe, unless the engine was asked for. */
static void read_large_file(const char *engine, bool probed)
{
	struct vgpu_exec_params p = xrig_params(12);
	uint8_t byte = 77, got = 0;
	struct xrig r;
	uint32_t bo;
	int fd = xfile(&byte, 1, 0);

	assert_int_equal(ftruncate(fd, 600 << 20), 0);
	p.io_engine = engine;
	xrig_start(&r, &p);
	bo = xrig_file(&r, fd, 0, 600 << 20);
	assert_int_equal(xrig_read(&r, bo, 0, &got, 1), 0);
	assert_int_equal(got, byte);
	expect_described(&r, "io.reason", "probed", probed);
	xrig_close(&r);
	close(fd);
}

static void engine_is_probed_on_the_first_large_file(void **state)
{
	(void)state;
	read_large_file("auto", true);
}

/* Chunks of 2 MiB take a longer probe: each engine needs several transfers in flight. */
static void engine_is_chosen_among_all_whatever_the_chunks(void **state)
{
	(void)state;
	for (uint32_t shift = 16; shift <= 21; shift += 5) {
		struct vgpu_exec_params p = xrig_params(12);
		uint8_t byte = 77, got = 0;
		struct xrig r;
		uint32_t bo;
		int fd = xfile(&byte, 1, 0);

		assert_int_equal(ftruncate(fd, 2048ll << 20), 0);
		p.chunk_bytes = 1u << shift;
		p.host_bytes = 12ull << shift;
		xrig_start(&r, &p);
		bo = xrig_file(&r, fd, 0, 2048ull << 20);
		assert_int_equal(xrig_read(&r, bo, 0, &got, 1), 0);
		assert_int_equal(got, byte);
		expect_described(&r, "io.reason", "probed: ", true);
		expect_described(&r, "io.reason", "uring", true);
		expect_described(&r, "io.reason", "threads", true);
		expect_described(&r, "io.reason", "buffered", true);
		xrig_close(&r);
		close(fd);
	}
}

/* ---- the choice, with engines whose speeds are pretended ---- */

#define PRETENDED_MAX	3u
#define SLOW_NS		(60 * 1000 * 1000)

/* What the engines take, or reach; none: the probe fails. */
static struct {
	const char *engine;
	bool slow;
	double gbps;
} pretended[PRETENDED_MAX];

static int open_pretended(const struct vgpu_io_candidate *c, struct vgpu_io **out)
{
	struct vgpu_io_params params = { .engine = "test", .inner = "threads", .depth = c->depth };
	struct vgpu_io_fault delay = { .kind = VGPU_IO_FAULT_DELAY, .delay_ns = SLOW_NS };
	int rc = vgpu_io_open(&params, out);

	for (uint32_t i = 0; i < PRETENDED_MAX && !rc; i++)
		if (pretended[i].slow && !strcmp(pretended[i].engine, c->engine))
			rc = vgpu_io_test_add(*out, &delay);
	return rc;
}

/* The real probe, of engines each of whose reads is late or is not. */
static int measure_late_engines(int fd, uint32_t chunk_bytes, uint64_t bytes,
				struct vgpu_io_probe_result *out)
{
	static const struct vgpu_io_candidate list[] = {
		{ "uring", 4, open_pretended }, { "threads", 4, open_pretended },
		{ "buffered", 2, open_pretended },
	};

	(void)bytes;
	return vgpu_io_probe_among(list, 3, fd, chunk_bytes, 3 * 2 * 8 * (uint64_t)chunk_bytes, out);
}

static int measure_nothing_but_say(int fd, uint32_t chunk_bytes, uint64_t bytes,
				   struct vgpu_io_probe_result *out)
{
	(void)fd;
	(void)chunk_bytes;
	(void)bytes;
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < PRETENDED_MAX; i++) {
		if (!pretended[i].engine)
			continue;
		out->rows[out->count].engine = pretended[i].engine;
		out->rows[out->count].gbps = pretended[i].gbps;
		if (pretended[i].gbps > out->rows[out->best].gbps)
			out->best = out->count;
		out->count++;
	}
	snprintf(out->reason, sizeof(out->reason), "as pretended");
	return out->count ? 0 : -ENODATA;
}

/* Read the first bytes of a large file and say which engine reads it after the choice. */
static void choose(vgpu_io_measure_fn measure, const char *probed, char engine[32])
{
	struct vgpu_exec_params p = xrig_params(12);
	uint8_t bytes[] = { 77, 78, 79 }, got[3] = { 0 };
	struct xrig r;
	uint32_t bo;
	int fd = xfile(bytes, sizeof(bytes), 0);

	assert_int_equal(ftruncate(fd, 600 << 20), 0);
	p.io_measure = measure;
	xrig_start(&r, &p);
	bo = xrig_file(&r, fd, 0, 600 << 20);
	assert_int_equal(xrig_read(&r, bo, 0, got, sizeof(got)), 0);
	assert_memory_equal(got, bytes, sizeof(bytes));
	assert_true(vgpu_exec_describe(r.exec, "io.engine", engine, 32) > 0);
	if (probed)
		expect_described(&r, "io.reason", probed, true);
	else
		expect_described(&r, "io.reason", "probed", false);
	xrig_close(&r);
	close(fd);
}

/* Which one is in use before any choice: uring may be forbidden here. */
static void first_engine(char engine[32])
{
	memset(pretended, 0, sizeof(pretended));
	choose(measure_nothing_but_say, NULL, engine);
}

static void pretend(uint32_t i, const char *engine, bool slow, double gbps)
{
	pretended[i].engine = engine;
	pretended[i].slow = slow;
	pretended[i].gbps = gbps;
}

static void buffered_reads_are_chosen_where_the_others_are_late(void **state)
{
	char engine[32];

	(void)state;
	pretend(0, "uring", true, 0);
	pretend(1, "threads", true, 0);
	pretend(2, "buffered", false, 0);
	choose(measure_late_engines, "probed: buffered", engine);
	assert_string_equal(engine, "buffered");
}

static void buffered_reads_are_not_chosen_where_they_are_late(void **state)
{
	char engine[32];

	(void)state;
	pretend(0, "uring", false, 0);
	pretend(1, "threads", false, 0);
	pretend(2, "buffered", true, 0);
	choose(measure_late_engines, "; buffered ", engine);
	assert_string_not_equal(engine, "buffered");
}

/* By 15 % or more; disks are noisy. */
static void engine_changes_only_for_what_is_worth_it(void **state)
{
	static const struct {
		double buffered;
		bool changes;
	} cases[] = { { 0.5, false }, { 1.0, false }, { 1.14, false }, { 1.16, true }, { 3, true } };
	char first[32], engine[32];

	(void)state;
	first_engine(first);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pretend(0, "uring", false, 1);
		pretend(1, "threads", false, 1);
		pretend(2, "buffered", false, cases[i].buffered);
		choose(measure_nothing_but_say, "probed: as pretended", engine);
		assert_string_equal(engine, cases[i].changes ? "buffered" : first);
	}
}

/* What was not measured is not known to be slower: nothing to change for. */
static void engine_that_was_not_measured_stays(void **state)
{
	char first[32], engine[32];

	(void)state;
	first_engine(first);
	memset(pretended, 0, sizeof(pretended));
	pretend(0, "buffered", false, 9);
	choose(measure_nothing_but_say, "probed: as pretended", engine);
	assert_string_equal(engine, first);
}

static void engine_asked_for_is_not_probed(void **state)
{
	(void)state;
	read_large_file("threads", false);
}

/**
 * struct busy - somebody who runs the executor, for as long as a command may take
 */
struct busy {
	struct xrig *r;
	sem_t runs, asked;
};

static void stay(void *arg, struct vgpu_io *io)
{
	struct busy *b = arg;

	(void)io;
	sem_post(&b->runs);
	sem_wait(&b->asked);
}

static void *run_executor(void *arg)
{
	struct busy *b = arg;

	vgpu_exec_with_io(b->r->exec, stay, b);
	return NULL;
}

static void *describe_all(void *arg)
{
	static const char *const keys[] = { "backend", "isa", "threads", "policy", "nvme",
					    "io.engine", "io.reason" };
	struct busy *b = arg;
	char text[1024];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (vgpu_exec_describe(b->r->exec, keys[i], text, sizeof(text)) <= 0)
			return (void *)keys[i];
	}
	return vgpu_exec_describe(b->r->exec, "nonsense", text, sizeof(text)) == -ENOENT ? NULL : b;
}

static void description_does_not_wait_for_what_runs(void **state)
{
	struct vgpu_exec_params p = xrig_params(12);
	struct timespec until;
	pthread_t runner, asker;
	struct busy b;
	struct xrig r;
	void *wrong;
	int rc;

	(void)state;
	xrig_start(&r, &p);
	b.r = &r;
	sem_init(&b.runs, 0, 0);
	sem_init(&b.asked, 0, 0);
	assert_int_equal(pthread_create(&runner, NULL, run_executor, &b), 0);
	sem_wait(&b.runs);
	assert_int_equal(pthread_create(&asker, NULL, describe_all, &b), 0);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	rc = pthread_timedjoin_np(asker, &wrong, &until);
	sem_post(&b.asked);
	assert_int_equal(rc, 0);
	assert_null(wrong);
	pthread_join(runner, NULL);
	sem_destroy(&b.runs);
	sem_destroy(&b.asked);
	xrig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(engine_changes_between_two_requests),
		cmocka_unit_test(engine_is_probed_on_the_first_large_file),
		cmocka_unit_test(engine_is_chosen_among_all_whatever_the_chunks),
		cmocka_unit_test(buffered_reads_are_chosen_where_the_others_are_late),
		cmocka_unit_test(buffered_reads_are_not_chosen_where_they_are_late),
		cmocka_unit_test(engine_changes_only_for_what_is_worth_it),
		cmocka_unit_test(engine_that_was_not_measured_stays),
		cmocka_unit_test(engine_asked_for_is_not_probed),
		cmocka_unit_test(description_does_not_wait_for_what_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

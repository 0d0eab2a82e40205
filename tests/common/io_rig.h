/* SPDX-License-Identifier: MIT */
/*
 * I/O engines under test: a file in a folder of its own, requests, and what tests of
 * several nouns need.  Everything asserts; include cmocka.h before it.
 */
#ifndef TESTS_IO_RIG_H
#define TESTS_IO_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/each_engine.h"
#include "exec/io.h"

#define BLOCK		4096u
#define BLOCKS		2048u
#define FILE_BYTES	(BLOCKS * BLOCK)
#define SECOND_NS	INT64_C(1000000000)
#define MS_NS		INT64_C(1000000)

/* The folder, and the file that irig_file() makes in it. */
extern char irig_dir[];
extern char irig_path[64];

uint64_t irig_random(void);
void irig_fill(void *p, size_t bytes);
void *irig_memory(size_t bytes);	/* zeroed; munmap() it */
/* A file of @bytes random bytes, a copy of which is at @copy; its descriptor. */
int irig_file(void *copy, size_t bytes);

bool irig_has_engine(const char *engine);
struct vgpu_io *irig_open(struct vgpu_io_params params);
/* The engine that the test was made for (*state), or SKIP. */
struct vgpu_io *irig_open_engine(void **state, struct vgpu_io_params params);
uint32_t irig_add_file(struct vgpu_io *io, int fd);
struct vgpu_io_req irig_req(uint32_t file, uint64_t offset, void *buf, uint64_t bytes);
struct vgpu_io_stats irig_stats(const struct vgpu_io *io);
bool irig_reason_says(struct vgpu_io *io, const char *what);
/* One request, start to end; its result. */
int32_t irig_run(struct vgpu_io *io, struct vgpu_io_req *req);

/**
 * struct irig_bench - a test engine, a file of sixteen 64 KiB pieces, a read of each
 * @copy: what the file holds
 * @buf: where the reads go
 */
struct irig_bench {
	struct vgpu_io *io;
	uint8_t *copy;
	uint8_t *buf;
	uint32_t file;
	struct vgpu_io_req reqs[16];
};

struct irig_bench irig_bench_open(struct vgpu_io_params params);
void irig_bench_close(struct irig_bench *b);
void irig_bench_submit(struct irig_bench *b, int count);
void irig_inject(struct irig_bench *b, struct vgpu_io_fault fault);

/* ---- programs ---- */

/**
 * irig_main() - run tests in a folder of their own, each for every engine
 * @group: name
 * @tests: @count of them
 * @engines: names, then NULL: *state of the tests; NULL: once, *state is NULL
 *
 * Return: as cmocka_run_group_tests().
 */
int irig_main(const char *group, const struct engine_test *tests, size_t count,
	      const char *const *engines);
#define IRIG_MAIN(group, tests, engines) \
	irig_main(group, tests, sizeof(tests) / sizeof((tests)[0]), engines)

/* Every engine there is; and those that faults are injected into. */
extern const char *const irig_engines[];
extern const char *const irig_inner_engines[];

#endif

// SPDX-License-Identifier: MIT
/*
 * What does a packed cache file cost, and what does it save?
 *
 * pack_file: bytes of F32 source a second while the file is built, storage included; the
 * bound is the same device reading the same source and doing nothing with it.
 * packed_read: bytes of packed weights a second out of the file; the peer is the derived
 * object, which reads the F32 source for them.  The host tier holds neither.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bench_util.h"
#include "vgpu.h"

#define TENSORS		8u
#define COLS		2048u
#define TENSOR_BYTES	((uint64_t)rows * COLS * 4)
#define PIECE_BYTES	((uint64_t)8 << 20)
#define HOST_BYTES	((uint64_t)64 << 20)
#define MAX_RUNS	99u

/* Of a tensor. */
static uint32_t rows = 4096;

static char folder[] = "/tmp/vgpu-pack-file-XXXXXX";
static char source[64], cache[64];
static uint32_t threads;

/* Remove what was made, whatever the way out. */
static void clean(void)
{
	unlink(source);
	unlink(cache);
	rmdir(folder);
}

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "pack_file: %s: %s\n", what, vgpu_error_text());
	exit(1);
}

static int make_source(void)
{
	int fd = open(source, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	float *row = malloc(COLS * sizeof(*row));
	uint64_t state = 1;

	for (uint32_t i = 0; fd >= 0 && row && i < TENSORS * rows; i++) {
		for (uint32_t j = 0; j < COLS; j++) {
			state = state * 6364136223846793005ull + 1442695040888963407ull;
			row[j] = (float)(int32_t)(state >> 32) * 0x1p-31f;
		}
		if (write(fd, row, COLS * sizeof(*row)) != (ssize_t)(COLS * sizeof(*row)))
			exit(1);
	}
	free(row);
	if (fd < 0 || fsync(fd)) {
		perror(source);
		exit(1);
	}
	return fd;
}

/* Every time a new device: nothing is left of the run before. */
static struct vgpu *open_device(void)
{
	struct vgpu_config config = { .size = sizeof(config), .host_bytes = HOST_BYTES };
	struct vgpu *v = NULL;
	char text[64];

	check(vgpu_open_embedded(&config, &v), "device");
	if (vgpu_describe(v, "threads", text, sizeof(text)) > 0)
		threads = (uint32_t)strtoul(text, NULL, 10);
	return v;
}

/* Seconds to stream objects through. */
static double stream(struct vgpu_bo *const *bo, uint32_t count)
{
	char *piece = malloc(PIECE_BYTES);
	double start = bench_seconds();

	for (uint32_t i = 0; piece && i < count; i++)
		for (uint64_t at = 0, n; at < vgpu_bo_bytes(bo[i]); at += n) {
			n = vgpu_bo_bytes(bo[i]) - at;
			n = n < PIECE_BYTES ? n : PIECE_BYTES;
			check(vgpu_bo_read(bo[i], at, piece, n), "read");
		}
	free(piece);
	return bench_seconds() - start;
}

static double stream_file(const char *path, uint64_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct vgpu *v = open_device();
	struct vgpu_bo *bo;
	double seconds;

	check(vgpu_bo_create_file(v, fd, 0, 0, &bo), path);
	*bytes = vgpu_bo_bytes(bo);
	seconds = stream(&bo, 1);
	vgpu_bo_destroy(bo);
	vgpu_close(v);
	close(fd);
	return seconds;
}

static double stream_derived(const struct vgpu_pack_item *items)
{
	struct vgpu *v = open_device();
	struct vgpu_bo *bo[TENSORS];
	double seconds;

	for (uint32_t i = 0; i < TENSORS; i++)
		check(vgpu_bo_create_packed(v, items[i].fd, items[i].offset, &items[i].pack, &bo[i]),
		      "derived");
	seconds = stream(bo, TENSORS);
	for (uint32_t i = 0; i < TENSORS; i++)
		vgpu_bo_destroy(bo[i]);
	vgpu_close(v);
	return seconds;
}

static double build(const struct vgpu_pack_item *items)
{
	struct vgpu *v = open_device();
	double start;

	unlink(cache);
	start = bench_seconds();
	check(vgpu_packed_build(v, cache, items, TENSORS, NULL, NULL), "build");
	start = bench_seconds() - start;
	vgpu_close(v);
	return start;
}

static void emit(struct bench_result *r, const char *bench, const char *weight)
{
	r->bench = bench;
	r->weight = weight;
	r->residency = "nvme";
	r->threads = threads;
	r->n = rows;
	r->k = COLS;
	r->unit = "GB/s";
	if (bench_emit(r))
		fprintf(stderr, "pack_file: cannot append to the JSON file\n");
}

static void measure(struct vgpu_pack_item *items, enum vgpu_format format, const char *weight)
{
	double built[MAX_RUNS], bound[MAX_RUNS], from_file[MAX_RUNS], derived[MAX_RUNS];
	double bytes = (double)(TENSORS * TENSOR_BYTES) * 1e-9;
	unsigned int runs = bench_runs(5, MAX_RUNS);
	struct bench_result r = { .runs = runs };
	uint64_t n;

	for (uint32_t i = 0; i < TENSORS; i++)
		items[i].pack.packed_format = format;
	for (unsigned int i = 0; i < runs; i++) {
		built[i] = bytes / build(items);
		bound[i] = bytes / stream_file(source, &n);
		from_file[i] = 1 / stream_file(cache, &n);
		from_file[i] *= (double)n * 1e-9;
		derived[i] = (double)n * 1e-9 / stream_derived(items);
	}
	r.ours = bench_median(built, runs);
	r.bound = bench_median(bound, runs);
	emit(&r, "pack_file", weight);
	r = (struct bench_result){ .ours = bench_median(from_file, runs), .peer = "derived object", .runs = runs,
				   .theirs = bench_median(derived, runs) };
	emit(&r, "packed_read", weight);
}

int main(void)
{
	struct vgpu_pack_item items[TENSORS];
	char names[TENSORS][8];
	int fd;

	if (bench_short())
		rows = 64;
	if (!mkdtemp(folder)) {
		perror(folder);
		return 1;
	}
	atexit(clean);
	snprintf(source, sizeof(source), "%s/source", folder);
	snprintf(cache, sizeof(cache), "%s/cache", folder);
	fd = make_source();
	for (uint32_t i = 0; i < TENSORS; i++) {
		snprintf(names[i], sizeof(names[i]), "%u", i);
		items[i] = (struct vgpu_pack_item){ .name = names[i], .fd = fd,
			.offset = i * TENSOR_BYTES,
			.pack = { .source_format = VGPU_FORMAT_F32, .rows = rows, .cols = COLS } };
	}
	measure(items, VGPU_FORMAT_MXFP4_G16, "mxfp4");
	measure(items, VGPU_FORMAT_INT8_G16, "int8");
	close(fd);
	return 0;
}

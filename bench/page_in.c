// SPDX-License-Identifier: MIT
/*
 * How long does it take until a chunk that is nowhere in memory can be used?
 *
 *	page_in [DIR]		two scratch files of 256 MiB there (/var/tmp)
 *
 * A chunk of 2 MiB of an object of the in-process device is mapped: "file": nobody has read it
 * yet; "evicted": it was written out to the NVMe arena, and its CRC32C is checked before anybody
 * has it.  The peer is one O_DIRECT read of as many bytes of a file beside it.  They take turns.
 *
 * What the module adds to that (a fault, another process) is told by bench/fault, on an
 * emulated machine; what the executor's own way costs on a real CPU is told here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bench_util.h"
#include "vgpu.h"

#define CHUNK		(2ull << 20)
#define CHUNKS		128u
#define RUNS_MAX	(CHUNKS - WARM)
#define WARM		8u		/* engines are chosen, files opened */
#define SETTLE_US	2000		/* what the one before left to be done, is */

static void die(const char *what)
{
	const char *text = vgpu_error_text();

	fprintf(stderr, "page_in: %s: %s\n", what, *text ? text : strerror(errno));
	exit(1);
}

/* ---- scratch files ---- */

static void scratch_fill(int fd)
{
	uint32_t *chunk = bench_alloc(CHUNK);

	if (!chunk)
		die("memory");
	for (unsigned int c = 0; c < CHUNKS; c++) {
		/* No two alike, for disks that compress or share. */
		for (uint32_t i = 0; i < CHUNK / sizeof(*chunk); i++)
			chunk[i] = (uint32_t)((c * CHUNK + i) * 2654435761u);
		if (pwrite(fd, chunk, CHUNK, (off_t)(c * CHUNK)) != (ssize_t)CHUNK)
			die("writing the scratch file");
	}
	if (fsync(fd))
		die("fsync");
	bench_free(chunk);
}

/* Its name goes with the file. */
static int scratch_open(const char *dir, char *path, size_t len)
{
	int fd;

	snprintf(path, len, "%s/vgpu-bench-page-in-XXXXXX", dir);
	fd = mkstemp(path);
	if (fd < 0)
		die(path);
	scratch_fill(fd);
	return fd;
}

/* ---- ours ---- */

static void object_of_file(struct vgpu *v, int fd, struct vgpu_bo **out)
{
	if (vgpu_bo_create_file(v, fd, 0, CHUNKS * CHUNK, out))
		die("vgpu_bo_create_file");
}

static void object_evicted(struct vgpu *v, struct vgpu_bo **out)
{
	uint8_t *chunk = bench_alloc(CHUNK);

	if (!chunk || vgpu_bo_create(v, CHUNKS * CHUNK, VGPU_LIFE_VOLATILE, out))
		die("vgpu_bo_create");
	for (unsigned int c = 0; c < CHUNKS; c++) {
		memset(chunk, (int)c + 1, CHUNK);
		if (vgpu_bo_write(*out, c * CHUNK, chunk, CHUNK))
			die("vgpu_bo_write");
	}
	if (vgpu_bo_advise(*out, VGPU_ADVISE_EVICT, 0, 0, NULL))
		die("vgpu_bo_advise");
	bench_free(chunk);
}

static double us_since(double start)
{
	return (bench_seconds() - start) * 1e6;
}

static double run_page_in(struct vgpu_bo *bo, unsigned int chunk)
{
	double start = bench_seconds(), us;
	void *p;

	if (vgpu_bo_map(bo, chunk * CHUNK, CHUNK, VGPU_MAP_READ, &p))
		die("vgpu_bo_map");
	(void)*(volatile uint8_t *)p;
	us = us_since(start);
	vgpu_bo_unmap(bo, chunk * CHUNK, CHUNK, VGPU_MAP_READ);
	return us;
}

static double run_read(int fd, void *buf, unsigned int chunk)
{
	double start = bench_seconds();

	if (pread(fd, buf, CHUNK, (off_t)(chunk * CHUNK)) != (ssize_t)CHUNK)
		die("read");
	return us_since(start);
}

static void measure(const char *mode, struct vgpu_bo *bo, int fd, unsigned int runs)
{
	double ours[RUNS_MAX], theirs[RUNS_MAX], we, they;
	void *buf = bench_alloc(CHUNK);
	char note[96];

	for (unsigned int i = 0; i < WARM + runs; i++) {
		double us = run_page_in(bo, i), peer;

		usleep(SETTLE_US);
		peer = run_read(fd, buf, i);
		usleep(SETTLE_US);
		if (i >= WARM) {
			ours[i - WARM] = us;
			theirs[i - WARM] = peer;
		}
	}
	bench_free(buf);
	we = bench_median(ours, runs);
	they = bench_median(theirs, runs);
	snprintf(note, sizeof(note), "%.0f us against %.0f us: %.2f times", we, they, we / they);
	bench_emit(&(struct bench_result){
		.bench = "page_in", .mode = mode, .residency = "nvme", .unit = "1/s",
		.ours = 1e6 / we, .peer = "O_DIRECT read", .theirs = 1e6 / they, .runs = runs,
		.note = note });
}

int main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : "/var/tmp";
	unsigned int runs = bench_runs(100, RUNS_MAX);
	char path[4096], peer_path[4096], arena[4096 + 8];
	struct vgpu_config config = {
		.size = sizeof(config), .chunk_bytes = CHUNK, .host_bytes = 64 << 20, .threads = 1,
		.nvme_bytes = CHUNKS * CHUNK, .nvme_path = arena,
	};
	int fd = scratch_open(dir, path, sizeof(path)), peer;
	struct vgpu_bo *bo[2];
	struct vgpu *v;

	close(scratch_open(dir, peer_path, sizeof(peer_path)));
	peer = open(peer_path, O_RDONLY | O_DIRECT);
	unlink(peer_path);
	if (peer < 0)
		die("O_DIRECT");
	snprintf(arena, sizeof(arena), "%s.arena", path);
	if (vgpu_open_embedded(&config, &v))
		die("vgpu_open_embedded");
	object_of_file(v, fd, &bo[0]);
	measure("file", bo[0], peer, runs);
	object_evicted(v, &bo[1]);
	measure("evicted", bo[1], peer, runs);
	vgpu_bo_destroy(bo[0]);
	vgpu_bo_destroy(bo[1]);
	vgpu_close(v);
	unlink(path);
	unlink(arena);
	return 0;
}

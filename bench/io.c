// SPDX-License-Identifier: MIT
/*
 * How fast does each I/O engine read, beside plain pread() and mmap() of the same file?
 *
 *	io [DIR [MIB]]		scratch file of MIB (1024) in DIR (/var/tmp)
 *
 * $BENCH_RUNS (5) rounds; in each the engines and the peers take short turns (see io_probe.c), and
 * medians of the rounds are printed. Nothing comes from the page cache. The bound of a chunk size
 * is its best engine: what a disk could do at most cannot be asked, only tried.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exec/crc32c.h"
#include "exec/io.h"
#include "../tests/common/bench_util.h"

#define RUNS_MAX	32u
#define ROWS_MAX	(VGPU_IO_PROBE_MAX + 2)
#define READ_BYTES	(128u << 10)	/* of the peers' pread(), as cp and cat do */
#define PAGE_BYTES	4096u

/* One engine or peer at one chunk size. */
struct row {
	const char *engine;
	bool direct;
	uint32_t depth;
	uint32_t chunk_bytes;
	uint64_t bytes;
	double gbps[RUNS_MAX];
	unsigned int runs;
};

struct table {
	struct row rows[ROWS_MAX];
	unsigned int count;
};

static void die(const char *what)
{
	fprintf(stderr, "io: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Scratch file ------------------------------------------------------------------------- */

static int scratch_open(const char *dir, uint64_t bytes)
{
	char path[4096];
	uint32_t *block = bench_alloc(1 << 20);
	uint64_t at, i;
	int fd;

	snprintf(path, sizeof(path), "%s/vgpu-bench-io-XXXXXX", dir);
	fd = mkstemp(path);
	if (fd < 0 || !block)
		die(path);
	unlink(path);
	for (at = 0; at < bytes; at += 1 << 20) {
		/* No two blocks alike, for disks that compress or share. */
		for (i = 0; i < (1 << 20) / 4; i++)
			block[i] = (uint32_t)((at + i) * 2654435761u);
		if (pwrite(fd, block, 1 << 20, (off_t)at) != 1 << 20)
			die("writing the scratch file");
	}
	if (fsync(fd))
		die("fsync");
	bench_free(block);
	return fd;
}

/* Measuring ---------------------------------------------------------------------------- */

static struct row *row_find(struct table *t, const char *engine, uint32_t depth)
{
	unsigned int i;

	for (i = 0; i < t->count; i++)
		if (!strcmp(t->rows[i].engine, engine) && t->rows[i].depth == depth)
			return &t->rows[i];
	t->rows[t->count] = (struct row){ .engine = engine, .depth = depth };
	return &t->rows[t->count++];
}

static void row_add(struct row *row, uint64_t bytes, double gbps)
{
	row->bytes += bytes;
	row->gbps[row->runs++] = gbps;
}

static void peer_pread(int fd, uint64_t offset, uint64_t bytes)
{
	static uint8_t buf[READ_BYTES];
	uint64_t at;

	for (at = offset; at < offset + bytes; at += READ_BYTES)
		if (pread(fd, buf, READ_BYTES, (off_t)at) < 0)
			die("pread");
}

static void peer_mmap(int fd, uint64_t offset, uint64_t bytes)
{
	volatile const uint8_t *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	uint64_t at;

	if (p == MAP_FAILED)
		die("mmap");
	madvise((void *)p, bytes, MADV_SEQUENTIAL);
	for (at = 0; at < bytes; at += PAGE_BYTES)
		(void)p[at];
	munmap((void *)p, bytes);
}

static void peer_round(struct table *t, int fd, uint64_t file_bytes, uint64_t bytes, unsigned int run)
{
	static const struct {
		const char *name;
		void (*read)(int fd, uint64_t offset, uint64_t bytes);
	} peers[] = { { "pread", peer_pread }, { "mmap", peer_mmap } };
	uint64_t parts = file_bytes / bytes, offset;
	double start;
	size_t i;

	for (i = 0; i < 2; i++) {
		offset = (2 * run + i) % parts * bytes;
		posix_fadvise(fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
		start = bench_seconds();
		peers[i].read(fd, offset, bytes);
		row_add(row_find(t, peers[i].name, 1), bytes,
			(double)bytes / (bench_seconds() - start) * 1e-9);
		posix_fadvise(fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
	}
}

static void engine_round(struct table *t, int fd, uint32_t chunk_bytes, uint64_t bytes)
{
	struct vgpu_io_probe_result result;
	const struct vgpu_io_probe_row *from;
	struct row *row;
	uint32_t i;

	errno = -vgpu_io_probe(fd, chunk_bytes, bytes, &result);
	if (errno)
		die("probe");
	for (i = 0; i < result.count; i++) {
		from = &result.rows[i];
		row = row_find(t, from->engine, from->depth);
		row->direct = from->direct;
		row_add(row, from->bytes, from->gbps);
	}
}

/* Printing ----------------------------------------------------------------------------- */

static FILE *json_open(void)
{
	const char *path = getenv("BENCH_JSONL");
	FILE *f = fopen(path ? path : "build/bench.jsonl", "a");

	if (!f)
		fprintf(stderr, "io: %s: %s\n", path ? path : "build/bench.jsonl", strerror(errno));
	return f;
}

static void row_print(FILE *json, const struct row *row, uint32_t chunk_bytes, double gbps,
		      double theirs, double bound)
{
	printf("%-10s %8s %8u KiB %6u %8.2f GB/s %6.2f of best %6.2f x pread\n", row->engine,
	       row->direct ? "direct" : "cached", chunk_bytes >> 10, row->depth, gbps, gbps / bound,
	       gbps / theirs);
	if (!json)
		return;
	fprintf(json, "{\"bench\":\"io\",\"engine\":\"%s\",\"direct\":%s,\"chunk_bytes\":%" PRIu32
		",\"depth\":%" PRIu32 ",\"bytes\":%" PRIu64 ",\"residency\":\"nvme\","
		"\"unit\":\"GB/s\",\"ours\":%.6g,"
		"\"peer\":\"pread\",\"theirs\":%.6g,\"ratio\":%.6g,\"bound\":%.6g,"
		"\"fraction\":%.6g,\"runs\":%u}\n",
		row->engine, row->direct ? "true" : "false", chunk_bytes, row->depth, row->bytes, gbps,
		theirs, gbps / theirs, bound, gbps / bound, row->runs);
}

static void table_print(struct table *t, FILE *json, uint32_t chunk_bytes)
{
	double median[ROWS_MAX], bound = 0, theirs = 0;
	unsigned int i;

	for (i = 0; i < t->count; i++) {
		median[i] = bench_median(t->rows[i].gbps, t->rows[i].runs);
		if (median[i] > bound)
			bound = median[i];
		if (!strcmp(t->rows[i].engine, "pread"))
			theirs = median[i];
	}
	for (i = 0; i < t->count; i++)
		row_print(json, &t->rows[i], chunk_bytes, median[i], theirs, bound);
}

static void measure(int fd, FILE *json, uint32_t chunk_bytes, uint64_t file_bytes, unsigned int runs)
{
	static struct table t;
	unsigned int run;

	memset(&t, 0, sizeof(t));
	for (run = 0; run < runs; run++) {
		engine_round(&t, fd, chunk_bytes, file_bytes);
		peer_round(&t, fd, file_bytes, file_bytes / 8, run);
	}
	table_print(&t, json, chunk_bytes);
}

static void measure_crc(FILE *json, unsigned int runs)
{
	static const char *const names[] = { "table", "words", "sse4.2", "avx512" };
	const size_t bytes = 2 << 20;
	uint8_t *p = bench_alloc(bytes);
	volatile uint32_t crc;
	double rate[RUNS_MAX], start;
	enum vgpu_crc32c_level level;
	unsigned int run;

	for (level = 0; p && level <= vgpu_crc32c_level(); level++) {
		for (run = 0; run < runs; run++) {
			start = bench_seconds();
			crc = vgpu_crc32c_at(level, 0, p, bytes);
			rate[run] = (double)bytes / (bench_seconds() - start) * 1e-9;
		}
		(void)crc;
		printf("crc32c %-8s %zu KiB in cache %8.2f GB/s\n", names[level], bytes >> 10,
		       bench_median(rate, runs));
		if (json)
			fprintf(json, "{\"bench\":\"crc32c\",\"level\":\"%s\",\"bytes\":%zu,"
				"\"threads\":1,\"residency\":\"cache\",\"unit\":\"GB/s\","
				"\"ours\":%.6g,\"runs\":%u}\n", names[level], bytes,
				rate[runs / 2], runs);
	}
	bench_free(p);
}

int main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : "/var/tmp";
	uint64_t mib = argc > 2 ? strtoull(argv[2], NULL, 10) :
		       bench_short() ? 128 : 1024;
	unsigned int runs = bench_runs(5, RUNS_MAX);
	FILE *json;
	int fd;

	if (argc > 3 || mib < 128 || mib % 128) {
		fprintf(stderr, "usage: io [DIR [MIB]], MIB a multiple of 128\n");
		return 2;
	}
	fd = scratch_open(dir, mib << 20);
	json = json_open();
	measure(fd, json, 64 << 10, mib << 20, runs);
	measure(fd, json, 2 << 20, mib << 20, runs);
	measure_crc(json, runs);
	if (json && fclose(json))
		die("bench.jsonl");
	close(fd);
	return 0;
}

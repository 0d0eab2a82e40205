// SPDX-License-Identifier: MIT
/*
 * How long does a fault take whose chunk is on NVMe?
 *
 *	fault [DISK]		a block device of at least 64 MiB, read only (/dev/vb2)
 *
 * A client maps an object of the disk through the module and touches a chunk that is
 * nowhere in memory: the module asks vbd, another process, which reads it, and the page
 * table gets its page.  The peer is one O_DIRECT read of as many bytes of the same disk.
 * They take turns, on chunks that follow each other, with a pause before each: what the
 * one before left to be done, is.  Medians.
 *
 * A fault of more than 1.5 plain reads is said and makes the exit status 1.
 *
 * Needs the module: tests/vm/bench.sh runs it in a machine of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bench_util.h"
#include "uapi.h"

#define NODE		"/dev/vblackwell"
#define DISK		"/dev/vb2"
#define MAX_RUNS	99u
#define WARM		3u		/* engines are chosen, files opened */
#define MOST		1.5
#define SETTLE_US	50000

static void die(const char *what, int rc)
{
	fprintf(stderr, "fault: %s: %s\n", what, strerror(rc < 0 ? -rc : errno));
	exit(1);
}

/* ---- vbd, beside this program or in the folder above it ---- */

static void vbd_exec(const char *argv0, int out)
{
	static const char *const where[] = { "%s/vbd", "%s/../vbd" };
	char copy[2048], path[2060];

	dup2(out, 1);
	for (int i = 0; i < 2; i++) {
		snprintf(copy, sizeof(copy), "%s", argv0);
		snprintf(path, sizeof(path), where[i], dirname(copy));
		execl(path, "vbd", "--host", "64M", "--threads", "1", "--user", "65534:65534",
		      (char *)NULL);
	}
	_exit(1);
}

static pid_t vbd_start(const char *argv0)
{
	char line[256] = "";
	int fds[2];
	pid_t pid;
	FILE *f;

	if (pipe(fds))
		die("pipe", 0);
	pid = fork();
	if (!pid)
		vbd_exec(argv0, fds[1]);
	close(fds[1]);
	f = fdopen(fds[0], "r");
	while (strncmp(line, "ready", 5))
		if (!fgets(line, sizeof(line), f)) {
			fprintf(stderr, "fault: vbd does not start\n");
			exit(1);
		}
	/* What it says at its end finds a reader. */
	return pid;
}

/* ---- the client ---- */

/**
 * struct disk - mapped through the module, and open to be read directly
 * @at: where the next chunk begins that nobody has read
 */
struct disk {
	struct vgpu_uapi *node;
	int fd;
	uint64_t bytes, at, chunk_bytes;
	uint8_t *mapped;
	void *buf;
};

static uint64_t chunk_bytes_of(struct vgpu_uapi *node)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	int rc = vgpu_uapi_call(node, VB_IOC_QUERY_DEVICE, &q);

	if (rc)
		die("QUERY_DEVICE", rc);
	return q.out_chunk_bytes;
}

static void disk_map(struct disk *d)
{
	struct vb_ioc_bo_create create = {
		.size = sizeof(create), .kind = VB_BO_FILE, .fd = d->fd, .bytes = d->bytes,
	};
	int rc = vgpu_uapi_call(d->node, VB_IOC_BO_CREATE, &create);

	if (rc)
		die("BO_CREATE", rc);
	rc = d->node->ops->map(d->node, (uint64_t)create.out_bo_id << 46, d->bytes, false,
			       (void **)&d->mapped);
	if (rc)
		die("mmap", rc);
}

static void disk_open(struct disk *d, const char *path)
{
	int rc = vgpu_uapi_open_node(NODE, &d->node);

	if (rc)
		die(NODE, rc);
	d->chunk_bytes = chunk_bytes_of(d->node);
	d->fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	d->bytes = d->fd < 0 ? 0 : (uint64_t)lseek(d->fd, 0, SEEK_END);
	d->bytes -= d->bytes % d->chunk_bytes;
	d->buf = bench_alloc(d->chunk_bytes);
	if (d->fd < 0 || !d->bytes || !d->buf)
		die(path, 0);
	disk_map(d);
}

static uint64_t disk_next(struct disk *d)
{
	uint64_t at = d->at;

	d->at += d->chunk_bytes;
	if (d->at > d->bytes) {
		fprintf(stderr, "fault: the disk is too small\n");
		exit(1);
	}
	return at;
}

/* What the one before left to be done, is. */
static void settle(void)
{
	usleep(SETTLE_US);
}

static double run_fault(struct disk *d)
{
	const volatile uint8_t *p = d->mapped + disk_next(d);
	double start = bench_seconds();

	(void)*p;
	return (bench_seconds() - start) * 1e6;
}

static double run_read(struct disk *d)
{
	uint64_t at = disk_next(d);
	double start = bench_seconds();

	if (pread(d->fd, d->buf, d->chunk_bytes, (off_t)at) != (ssize_t)d->chunk_bytes)
		die("read", 0);
	return (bench_seconds() - start) * 1e6;
}

static int judge(double ours, double theirs)
{
	if (bench_short() || ours <= MOST * theirs)
		return 0;
	fprintf(stderr, "fault: %.2f plain reads; at most %.1f\n", ours / theirs, MOST);
	return 1;
}

int main(int argc, char **argv)
{
	double ours[MAX_RUNS], theirs[MAX_RUNS], us, read_us;
	unsigned int runs = bench_runs(15, MAX_RUNS);
	struct disk d = { .fd = -1 };
	char note[96];
	pid_t vbd;

	if (access(NODE, F_OK)) {
		printf("fault: no module here\n");
		return 0;
	}
	vbd = vbd_start(argv[0]);
	disk_open(&d, argc > 1 ? argv[1] : DISK);
	for (unsigned int i = 0; i < WARM; i++) {
		run_fault(&d);
		run_read(&d);
	}
	for (unsigned int i = 0; i < runs; i++) {
		settle();
		ours[i] = run_fault(&d);
		settle();
		theirs[i] = run_read(&d);
	}
	us = bench_median(ours, runs);
	read_us = bench_median(theirs, runs);
	snprintf(note, sizeof(note), "%.0f us against %.0f us: %.2f times", us, read_us,
		 us / read_us);
	bench_emit(&(struct bench_result){
		.bench = "fault", .mode = "module", .residency = "nvme", .unit = "1/s",
		.ours = 1e6 / us, .peer = "O_DIRECT read", .theirs = 1e6 / read_us, .runs = runs,
		.note = note });
	kill(vbd, SIGTERM);
	waitpid(vbd, NULL, 0);
	return judge(us, read_us);
}

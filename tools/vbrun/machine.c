// SPDX-License-Identifier: MIT
/* vbrun machine: CPU level, how fast a file is read and by which engine, GPU, device. */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/probe.h"
#include "common/progress.h"
#include "common/scratch.h"
#include "common/size.h"
#include "common/summary.h"
#include "device.h"
#include "random.h"

#define PROBE_BYTES ((uint64_t)512 << 20)
#define PROBE_CHUNK (2u << 20)
#define HOST_BYTES ((uint64_t)64 << 20)
/* Four transfers in flight: less than that says nothing of a disk. */
#define PROBE_FILE_MIN (4ull * PROBE_CHUNK)

static void cpu_name(char *out, size_t len)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(out, len, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		const char *colon = strchr(line, ':');

		if (!strncmp(line, "model name", 10) && colon) {
			snprintf(out, len, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
			break;
		}
	}
	if (f)
		fclose(f);
}

/* What user space would need of a GPU; the device itself is CPU only so far. */
static const char *gpu_name(void)
{
	static const char *const nodes[] = { "/dev/nvidia[0-9]*", "/dev/kfd", "/dev/accel/accel*" };
	static const char *const names[] = { "NVIDIA", "AMD", "accel" };
	glob_t found;

	for (size_t i = 0; i < 3; i++) {
		if (!glob(nodes[i], 0, NULL, &found)) {
			globfree(&found);
			return names[i];
		}
	}
	return "none";
}

static int print(const char *path, const struct probe *probe, bool json)
{
	struct device_options options;
	struct json_object *o;
	struct vgpu *v;
	char cpu[128];
	int rc;

	device_defaults(&options, PROBE_CHUNK);
	options.host_bytes = HOST_BYTES;
	rc = device_open(&options, &v);
	if (rc)
		return rc;
	cpu_name(cpu, sizeof(cpu));
	if (json) {
		o = summary_new("machine");
		summary_text(o, "cpu", cpu);
		summary_bytes(o, "cpus", (uint64_t)get_nprocs());
		summary_bytes(o, "memory_bytes",
			      (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
		summary_text(o, "gpu", gpu_name());
		summary_bytes(o, "read_bytes_per_second", (uint64_t)probe->bytes_per_second);
		if (path)
			summary_text(o, "read_reason", probe->reason);
		device_summary(v, o);
		summary_print(o);
	} else {
		printf("%-12s %s, %d CPUs, %s memory\n", "cpu", cpu, get_nprocs(),
		       size_text((uint64_t)sysconf(_SC_PHYS_PAGES) *
				 (uint64_t)sysconf(_SC_PAGESIZE)).s);
		if (path)
			printf("%-12s %s\n", "storage", probe->reason);
		printf("%-12s %s\n", "gpu", gpu_name());
		device_print(v, stdout);
	}
	vgpu_close(v);
	return CLI_OK;
}

/* Bytes that no disk can compress or share. */
static int scratch_fill(int fd, struct progress *progress)
{
	struct random random = { 1 };
	uint64_t *block = malloc(PROBE_CHUNK);
	int rc = block ? 0 : -ENOMEM;

	for (uint64_t at = 0; at < PROBE_BYTES && !rc; at += PROBE_CHUNK) {
		for (size_t i = 0; i < PROBE_CHUNK / sizeof(*block); i++)
			block[i] = random_u64(&random);
		if (pwrite(fd, block, PROBE_CHUNK, (off_t)at) != (ssize_t)PROBE_CHUNK)
			rc = errno ? -errno : -EIO;
		progress_update(progress, at);
		if (progress_interrupted())
			rc = -EINTR;
	}
	free(block);
	return rc || !fsync(fd) ? rc : -errno;
}

static int scratch_make(const char *folder, int *out_fd)
{
	struct progress progress;
	int fd = scratch_open(folder, 0), rc;

	if (fd < 0)
		return fd;
	progress_begin(&progress, "scratch file to read from", PROBE_BYTES);
	rc = scratch_fill(fd, &progress);
	progress_end(&progress);
	if (rc)
		close(fd);
	*out_fd = fd;
	return rc;
}

static int probe_path(const char *path, struct probe *out)
{
	struct stat st;
	int fd, rc;

	if (stat(path, &st))
		return -errno;
	if (S_ISDIR(st.st_mode)) {
		rc = scratch_make(path, &fd);
		if (rc)
			return rc;
	} else {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	}
	rc = probe_file(fd, PROBE_CHUNK, PROBE_BYTES, out);
	close(fd);
	return rc;
}

int vbrun_machine(int argc, char **argv)
{
	struct probe probe = { 0 };
	bool json = false;
	const struct cli_option options[] = {
		{ "json", CLI_FLAG, &json, NULL, "as JSON", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbrun machine", "[FILE|FOLDER]", "What this machine is, and how fast storage is read.",
		options, 0, 1,
		"FILE is read, the larger the better; in FOLDER a scratch file of 512 MiB is\n"
		"written, read and removed.\n"
	};
	unsigned int count;
	int rc = cli_parse(&command, argc, argv, &count);

	if (rc != CLI_RUN)
		return rc;
	rc = count ? probe_path(argv[1], &probe) : 0;
	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	if (rc == -ENODATA)
		return cli_fail("%s: too short to probe, needs %s", argv[1],
				size_text(PROBE_FILE_MIN).s);
	if (rc)
		return cli_fail("%s: %s", argv[1], strerror(-rc));
	return print(count ? argv[1] : NULL, &probe, json);
}

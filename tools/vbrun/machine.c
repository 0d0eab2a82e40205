// SPDX-License-Identifier: MIT
/* vbrun machine: CPU level, how fast a file is read and by which engine, GPU, device. */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/probe.h"
#include "common/size.h"
#include "common/summary.h"
#include "device.h"

#define PROBE_BYTES ((uint64_t)512 << 20)
#define PROBE_CHUNK (2u << 20)
#define HOST_BYTES ((uint64_t)64 << 20)

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
		device_print(v);
	}
	vgpu_close(v);
	return CLI_OK;
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
		"vbrun machine", "[FILE]", "What this machine is; with a large FILE, how fast it reads.",
		options, 0, 1, NULL
	};
	unsigned int count;
	int rc = cli_parse(&command, argc, argv, &count), fd;

	if (rc != CLI_RUN)
		return rc;
	if (count) {
		fd = open(argv[1], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return cli_fail("%s: %s", argv[1], strerror(errno));
		rc = probe_file(fd, PROBE_CHUNK, PROBE_BYTES, &probe);
		close(fd);
		if (rc)
			return cli_fail("%s: %s", argv[1], rc == -ENODATA ?
					"too short to probe, needs 256 MiB" : strerror(-rc));
	}
	return print(count ? argv[1] : NULL, &probe, json);
}

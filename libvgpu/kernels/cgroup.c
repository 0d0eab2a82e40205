// SPDX-License-Identifier: MIT
#include "kernels/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES	1024

/**
 * struct resource - what can be limited, and where it is written
 * @controller: its name
 * @mounts: folders of version 1 below the root, ended by NULL
 * @limit_v2: what the files of a group of version 2 say; 0: nothing
 * @limit_v1: the same of version 1
 */
struct resource {
	const char *controller;
	const char *mounts[3];
	uint64_t (*limit_v2)(const char *dir);
	uint64_t (*limit_v1)(const char *dir);
};

static uint64_t stricter(uint64_t a, uint64_t b)
{
	if (!a || !b)
		return a ? a : b;
	return a < b ? a : b;
}

/* Reads the first line of DIR/NAME; false when there is none. */
static bool read_line(const char *dir, const char *name, char *line, int bytes)
{
	char path[PATH_BYTES];
	FILE *f;
	bool ok;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return false;
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(line, bytes, f);
	fclose(f);
	return ok;
}

static uint64_t cpus_of(long long quota, long long period)
{
	if (quota <= 0 || period <= 0)
		return 0;
	return ((uint64_t)quota + (uint64_t)period - 1) / (uint64_t)period;
}

static uint64_t cpus_v2(const char *dir)
{
	char line[64];
	long long quota, period;

	if (!read_line(dir, "cpu.max", line, sizeof(line)))
		return 0;
	/* "max 100000" has no first number and sets no limit. */
	if (sscanf(line, "%lld %lld", &quota, &period) != 2)
		return 0;
	return cpus_of(quota, period);
}

static uint64_t cpus_v1(const char *dir)
{
	char quota[32], period[32];

	if (!read_line(dir, "cpu.cfs_quota_us", quota, sizeof(quota)) ||
	    !read_line(dir, "cpu.cfs_period_us", period, sizeof(period)))
		return 0;
	return cpus_of(atoll(quota), atoll(period));
}

/* "max" and whatever else is no number set no limit; nor does 0, which nothing runs in. */
static uint64_t bytes_in(const char *dir, const char *name)
{
	char line[64];

	return read_line(dir, name, line, sizeof(line)) ? strtoull(line, NULL, 10) : 0;
}

static uint64_t memory_v2(const char *dir)
{
	return stricter(bytes_in(dir, "memory.max"), bytes_in(dir, "memory.high"));
}

static uint64_t memory_v1(const char *dir)
{
	return bytes_in(dir, "memory.limit_in_bytes");
}

static const struct resource cpu = { "cpu", { "cpu", "cpu,cpuacct" }, cpus_v2, cpus_v1 };
static const struct resource memory = { "memory", { "memory" }, memory_v2, memory_v1 };

/* A limit of any ancestor holds too, so climb until the mount point. */
static uint64_t least_v2(const struct resource *r, const char *root, const char *group)
{
	char dir[PATH_BYTES];
	uint64_t least = 0;

	if (snprintf(dir, sizeof(dir), "%s%s", root, group) >= (int)sizeof(dir))
		return 0;
	while (strlen(dir) >= strlen(root)) {
		char *slash = strrchr(dir, '/');

		least = stricter(least, r->limit_v2(dir));
		if (!slash)
			break;
		*slash = '\0';
	}
	return least;
}

static uint64_t least_v1(const struct resource *r, const char *root, const char *group)
{
	uint64_t least = 0;

	for (size_t i = 0; r->mounts[i]; i++) {
		char dir[PATH_BYTES];

		if (snprintf(dir, sizeof(dir), "%s/%s%s", root, r->mounts[i], group) <
		    (int)sizeof(dir))
			least = stricter(least, r->limit_v1(dir));
		/* In a container the group's path is the host's; its files are here. */
		if (snprintf(dir, sizeof(dir), "%s/%s", root, r->mounts[i]) <
		    (int)sizeof(dir))
			least = stricter(least, r->limit_v1(dir));
	}
	return least;
}

static bool has_controller(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (!strncmp(at, name, len) && (at[len] == ',' || !at[len]))
			return true;
	}
	return false;
}

/* One line of /proc/self/cgroup: ID:CONTROLLERS:PATH. */
static uint64_t least_of_line(const struct resource *r, const char *root, char *line)
{
	char *controllers = strchr(line, ':');
	char *group = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!group)
		return 0;
	*group++ = '\0';
	group[strcspn(group, "\n")] = '\0';
	controllers++;
	if (!*controllers)
		return least_v2(r, root, group);
	return has_controller(controllers, r->controller) ? least_v1(r, root, group) : 0;
}

static uint64_t least(const struct resource *r, const char *root, const char *self)
{
	char line[PATH_BYTES];
	uint64_t limit = 0;
	FILE *f = fopen(self, "re");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		limit = stricter(limit, least_of_line(r, root, line));
	fclose(f);
	return limit;
}

uint32_t vgpu_cgroup_cpus(const char *root, const char *self)
{
	uint64_t cpus = least(&cpu, root, self);

	return cpus < UINT32_MAX ? (uint32_t)cpus : UINT32_MAX;
}

uint64_t vgpu_cgroup_memory_bytes(const char *root, const char *self)
{
	return least(&memory, root, self);
}

uint64_t vgpu_memory_usable_bytes(void)
{
	uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	return stricter(machine, vgpu_cgroup_memory_bytes(VGPU_CGROUP_ROOT, VGPU_CGROUP_SELF));
}

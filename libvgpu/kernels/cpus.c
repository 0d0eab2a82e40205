// SPDX-License-Identifier: MIT
#include "kernels/cpus.h"

#include <errno.h>
#include <numa.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES	1024

static uint32_t stricter(uint32_t a, uint32_t b)
{
	if (!a || !b)
		return a ? a : b;
	return a < b ? a : b;
}

static uint32_t cpus_of(long long quota, long long period)
{
	if (quota <= 0 || period <= 0)
		return 0;
	return (uint32_t)((quota + period - 1) / period);
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

static uint32_t quota_v2_here(const char *dir)
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

/* A limit of any ancestor holds too, so climb until the mount point. */
static uint32_t quota_v2(const char *root, const char *group)
{
	char dir[PATH_BYTES];
	uint32_t least = 0;

	if (snprintf(dir, sizeof(dir), "%s%s", root, group) >= (int)sizeof(dir))
		return 0;
	while (strlen(dir) >= strlen(root)) {
		char *slash = strrchr(dir, '/');

		least = stricter(least, quota_v2_here(dir));
		if (!slash)
			break;
		*slash = '\0';
	}
	return least;
}

static uint32_t quota_v1_here(const char *dir)
{
	char quota[32], period[32];

	if (!read_line(dir, "cpu.cfs_quota_us", quota, sizeof(quota)) ||
	    !read_line(dir, "cpu.cfs_period_us", period, sizeof(period)))
		return 0;
	return cpus_of(atoll(quota), atoll(period));
}

static uint32_t quota_v1(const char *root, const char *group)
{
	static const char *const mounts[] = { "cpu", "cpu,cpuacct" };
	uint32_t least = 0;

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		char dir[PATH_BYTES];

		if (snprintf(dir, sizeof(dir), "%s/%s%s", root, mounts[i], group) <
		    (int)sizeof(dir))
			least = stricter(least, quota_v1_here(dir));
		/* In a container the group's path is the host's; its files are here. */
		if (snprintf(dir, sizeof(dir), "%s/%s", root, mounts[i]) <
		    (int)sizeof(dir))
			least = stricter(least, quota_v1_here(dir));
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
static uint32_t quota_of_line(const char *root, char *line)
{
	char *controllers = strchr(line, ':');
	char *group = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!group)
		return 0;
	*group++ = '\0';
	group[strcspn(group, "\n")] = '\0';
	controllers++;
	if (!*controllers)
		return quota_v2(root, group);
	return has_controller(controllers, "cpu") ? quota_v1(root, group) : 0;
}

uint32_t vgpu_cpus_quota(const char *cgroup_root, const char *self)
{
	char line[PATH_BYTES];
	uint32_t least = 0;
	FILE *f = fopen(self, "re");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		least = stricter(least, quota_of_line(cgroup_root, line));
	fclose(f);
	return least;
}

uint32_t vgpu_cpus_usable(void)
{
	uint32_t allowed = 1;
	cpu_set_t set;

	/* Fails only where there are more CPUs than a cpu_set_t holds. */
	if (!sched_getaffinity(0, sizeof(set), &set))
		allowed = (uint32_t)CPU_COUNT(&set);
	return stricter(allowed, vgpu_cpus_quota("/sys/fs/cgroup", "/proc/self/cgroup"));
}

/* The CPUs of a node that the mask allows; false when there are none. */
static bool node_cpus(int id, const cpu_set_t *allowed, cpu_set_t *out)
{
	struct bitmask *mask = numa_allocate_cpumask();

	CPU_ZERO(out);
	if (!mask)
		return false;
	if (!numa_node_to_cpus(id, mask))
		for (unsigned int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, allowed) && numa_bitmask_isbitset(mask, cpu))
				CPU_SET(cpu, out);
	numa_free_cpumask(mask);
	return CPU_COUNT(out) > 0;
}

uint32_t vgpu_cpus_nodes(struct vgpu_cpus_node *nodes, uint32_t max)
{
	uint32_t n = 0;
	cpu_set_t allowed;

	if (numa_available() < 0 || sched_getaffinity(0, sizeof(allowed), &allowed))
		return 0;
	for (int id = 0; id <= numa_max_node() && n < max; id++) {
		nodes[n].id = id;
		if (node_cpus(id, &allowed, &nodes[n].cpus))
			n++;
	}
	return n;
}

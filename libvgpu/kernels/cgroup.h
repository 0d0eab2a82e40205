/* SPDX-License-Identifier: MIT */
/* What the control groups of this process leave it of the machine. */
#ifndef VGPU_KERNELS_CGROUP_H
#define VGPU_KERNELS_CGROUP_H

#include <stdint.h>

/* Where these are on any Linux; tests make their own. */
#define VGPU_CGROUP_ROOT	"/sys/fs/cgroup"
#define VGPU_CGROUP_SELF	"/proc/self/cgroup"

/**
 * vgpu_cgroup_cpus() - CPUs that the cgroup's bandwidth limit amounts to
 * @root: where cgroups are mounted, VGPU_CGROUP_ROOT
 * @self: the list of this process's cgroups, VGPU_CGROUP_SELF
 *
 * Version 2: the least cpu.max on the way from the process's group to the root.
 * Version 1: cpu.cfs_quota_us of the group and of the mount's root, under cpu or
 * cpu,cpuacct. A file that is missing or unreadable sets no limit.
 *
 * Source: Linux Documentation/admin-guide/cgroup-v2.rst, "CPU Interface Files";
 * Documentation/scheduler/sched-bwc.rst.
 *
 * Return: whole CPUs, rounded up, at least 1; 0 when there is no limit.
 */
uint32_t vgpu_cgroup_cpus(const char *root, const char *self);

/**
 * vgpu_cgroup_memory_bytes() - memory that the cgroup may have
 * @root: as for vgpu_cgroup_cpus()
 * @self: as for vgpu_cgroup_cpus()
 *
 * Version 2: the least memory.max and memory.high on the way from the process's group to
 * the root; above memory.high a process is slowed down, not ended. Version 1:
 * memory.limit_in_bytes of the group and of the mount's root.
 *
 * Source: Linux Documentation/admin-guide/cgroup-v2.rst, "Memory Interface Files";
 * Documentation/admin-guide/cgroup-v1/memory.rst.
 *
 * Return: bytes; 0 when there is no limit.
 */
uint64_t vgpu_cgroup_memory_bytes(const char *root, const char *self);

/**
 * vgpu_memory_usable_bytes() - memory that this process can count on
 *
 * Return: the least of what the machine has and of its cgroup's limits.
 */
uint64_t vgpu_memory_usable_bytes(void);

#endif

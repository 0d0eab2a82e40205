/* SPDX-License-Identifier: MIT */
/*
 * Which CPUs this process may use, how many of them it may keep busy, and the NUMA
 * nodes they belong to.
 */
#ifndef VGPU_KERNELS_CPUS_H
#define VGPU_KERNELS_CPUS_H

#include <sched.h>
#include <stdint.h>

/* Nodes beyond these get no threads of their own. */
#define VGPU_CPUS_NODES_MAX	64u

/**
 * struct vgpu_cpus_node - the usable CPUs of one NUMA node
 * @id: the kernel's number of the node
 * @cpus: those of its CPUs that the affinity mask allows; never empty
 */
struct vgpu_cpus_node {
	int id;
	cpu_set_t cpus;
};

/**
 * vgpu_cpus_usable() - threads that can run at a time
 *
 * Return: the least of the affinity mask and the cgroup quota, at least 1.
 */
uint32_t vgpu_cpus_usable(void);

/**
 * vgpu_cpus_nodes() - the NUMA nodes that the affinity mask touches
 * @nodes: filled in, in ascending order of their ids
 * @max: room of @nodes
 *
 * Return: how many were filled in; 0 when the kernel has no NUMA support.
 */
uint32_t vgpu_cpus_nodes(struct vgpu_cpus_node *nodes, uint32_t max);

#endif

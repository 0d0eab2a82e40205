// SPDX-License-Identifier: MIT
#include "kernels/cpus.h"

#include <numa.h>
#include <stdbool.h>

#include "kernels/cgroup.h"

static uint32_t stricter(uint32_t a, uint32_t b)
{
	if (!a || !b)
		return a ? a : b;
	return a < b ? a : b;
}

uint32_t vgpu_cpus_usable(void)
{
	uint32_t allowed = 1;
	cpu_set_t set;

	/* Fails only where there are more CPUs than a cpu_set_t holds. */
	if (!sched_getaffinity(0, sizeof(set), &set))
		allowed = (uint32_t)CPU_COUNT(&set);
	return stricter(allowed, vgpu_cgroup_cpus(VGPU_CGROUP_ROOT, VGPU_CGROUP_SELF));
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

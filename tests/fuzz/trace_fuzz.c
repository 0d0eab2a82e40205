// SPDX-License-Identifier: MIT
/*
 * The trace reader, and every policy on what it lets through: any bytes either are
 * refused or give counts that agree with each other.
 */
#include "exec/policy.h"
#include "exec/trace.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void simulate(const struct vgpu_policy_ops *ops, const struct vgpu_trace_uses *uses,
		     uint32_t capacity, uint64_t optimum)
{
	struct vgpu_policy_params params = { .capacity = capacity, .remember = 64 };
	struct vgpu_policy_stats stats;
	uint64_t victim;
	void *policy;

	if (ops->create(&params, &policy))
		return;
	if (ops == &vgpu_policy_schedule)
		ops->future(policy, 0, uses->keys, uses->count, false);
	for (size_t i = 0; i < uses->count; i++)
		require(ops->access(policy, uses->keys[i], uses->flags[i], &victim) >= 0);
	ops->stats(policy, &stats);
	require(stats.retained <= capacity);
	require(stats.admits + stats.bypasses >= optimum);
	if (ops == &vgpu_policy_schedule)
		require(stats.admits + stats.bypasses == optimum);
	ops->destroy(policy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vgpu_trace_reader *reader;
	struct vgpu_trace_uses uses;
	uint32_t capacity;
	uint64_t optimum;

	if (vgpu_trace_open_memory(data, size, &reader))
		return 0;
	/* Of the capacity only a little matters to so few uses, and 0 admits nothing. */
	capacity = 1 + vgpu_trace_header(reader)->capacity % 32;
	if (!vgpu_trace_load_uses(reader, &uses)) {
		require(!vgpu_policy_opt_misses(uses.keys, uses.flags, uses.count, capacity,
						&optimum));
		for (const struct vgpu_policy_ops *const *p = vgpu_policies; *p; p++)
			simulate(*p, &uses, capacity, optimum);
		vgpu_trace_free_uses(&uses);
	}
	vgpu_trace_close(reader);
	return 0;
}

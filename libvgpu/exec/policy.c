// SPDX-License-Identifier: MIT
#include "exec/policy.h"

#include <string.h>

const struct vgpu_policy_ops *const vgpu_policies[] = {
	&vgpu_policy_schedule,
	&vgpu_policy_replay,
	&vgpu_policy_freq,
	&vgpu_policy_lru,
	NULL,
};

const struct vgpu_policy_ops *vgpu_policy_find(const char *name)
{
	for (const struct vgpu_policy_ops *const *policy = vgpu_policies; *policy; policy++)
		if (!strcmp((*policy)->name, name))
			return *policy;
	return NULL;
}

// SPDX-License-Identifier: MIT
#include "backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct vgpu_backend_ops *const backends[] = {
	&vgpu_backend_cpu,
	&vgpu_backend_null,
};

const struct vgpu_backend_ops *vgpu_backend_find(const char *name)
{
	for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		if (!strcmp(backends[i]->name, name))
			return backends[i];
	}
	return NULL;
}

int vgpu_backend_select_ids(const struct vgpu_work *w, uint32_t *matrices, uint32_t *count,
			    void (*take)(void *arg, uint32_t i, uint32_t t, uint32_t expert),
			    void *arg)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	const volatile int32_t *ids = w->ptr[3];
	uint32_t m = c->ids.shape[0], top = c->ids.shape[1], experts = c->w.shape[0];
	uint64_t step = c->ids.stride[0] ? c->ids.stride[0] / 4 : top;
	uint8_t *seen = calloc(experts, 1);
	uint32_t n = 0;

	if (!seen)
		return -ENOMEM;
	for (uint32_t i = 0; i < m; i++) {
		for (uint32_t t = 0; t < top; t++) {
			int32_t id = ids[i * step + t];

			if (id < 0 || (uint32_t)id >= experts) {
				free(seen);
				return -EINVAL;
			}
			seen[id] = 1;
			if (take)
				take(arg, i, t, (uint32_t)id);
		}
	}
	for (uint32_t e = 0; e < experts; e++) {
		if (seen[e])
			matrices[n++] = e;
	}
	free(seen);
	*count = n;
	return 0;
}

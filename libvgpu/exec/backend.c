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

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Each once, ascending.  Sorted and not marked: nothing may cost what the client says there is. */
static uint32_t ids_unite(uint32_t *ids, size_t n, uint32_t *matrices)
{
	uint32_t count = 0;

	qsort(ids, n, sizeof(*ids), compare_ids);
	for (size_t i = 0; i < n; i++) {
		if (!count || matrices[count - 1] != ids[i])
			matrices[count++] = ids[i];
	}
	return count;
}

int vgpu_backend_select_ids(const struct vgpu_work *w, uint32_t *matrices, uint32_t *count,
			    void (*take)(void *arg, uint32_t i, uint32_t t, uint32_t expert),
			    void *arg)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	const volatile int32_t *ids = w->ptr[3];
	uint32_t m = c->ids.shape[0], top = c->ids.shape[1], experts = c->w.shape[0];
	uint64_t step = c->ids.stride[0] ? c->ids.stride[0] / 4 : top;
	uint32_t *taken = malloc((size_t)m * top * sizeof(*taken));
	size_t n = 0;

	if (!taken)
		return -ENOMEM;
	for (uint32_t i = 0; i < m; i++) {
		for (uint32_t t = 0; t < top; t++) {
			int32_t id = ids[i * step + t];

			if (id < 0 || (uint32_t)id >= experts) {
				free(taken);
				return -EINVAL;
			}
			taken[n++] = (uint32_t)id;
			if (take)
				take(arg, i, t, (uint32_t)id);
		}
	}
	*count = ids_unite(taken, n, matrices);
	free(taken);
	return 0;
}

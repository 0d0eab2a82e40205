// SPDX-License-Identifier: MIT
#include "backend.h"

#include <errno.h>
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

uint64_t vgpu_backend_ids(const struct vb_cmd_header *cmd)
{
	const struct vb_operand *ids = &((const struct vb_cmd_matmul_id *)cmd)->ids;

	return (uint64_t)ids->shape[0] * ids->shape[1];
}

/* Every index once, checked; the largest goes to @most. */
static int routes_read(const struct vgpu_work *w, struct vgpu_route *routes, uint32_t *most,
		       struct vgpu_wrong_id *wrong)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	const volatile int32_t *ids = w->ptr[3];
	uint32_t m = c->ids.shape[0], top = c->ids.shape[1], experts = c->w.shape[0], n = 0;
	uint64_t step = c->ids.stride[0] ? c->ids.stride[0] / 4 : top;

	*most = 0;
	for (uint32_t i = 0; i < m; i++) {
		for (uint32_t t = 0; t < top; t++, n++) {
			int32_t id = ids[i * step + t];

			if (id < 0 || (uint32_t)id >= experts) {
				*wrong = (struct vgpu_wrong_id){ i, t, id };
				return -EINVAL;
			}
			routes[n] = (struct vgpu_route){ (uint32_t)id, n };
			*most = (uint32_t)id > *most ? (uint32_t)id : *most;
		}
	}
	return 0;
}

/* Counting sort by one byte of the expert; what is equal in it stays in order. */
static void routes_sort_byte(const struct vgpu_route *from, struct vgpu_route *to, size_t n,
			     uint32_t shift)
{
	uint32_t at[256] = { 0 }, begin = 0;

	for (size_t i = 0; i < n; i++)
		at[from[i].expert >> shift & 255]++;
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t count = at[b];

		at[b] = begin;
		begin += count;
	}
	for (size_t i = 0; i < n; i++)
		to[at[from[i].expert >> shift & 255]++] = from[i];
}

/* Byte by byte, as many as the largest expert has: for up to 256 that is a counting sort. */
static void routes_sort(struct vgpu_route *routes, size_t n, uint32_t most)
{
	struct vgpu_route *from = routes, *to = routes + n, *swap;

	for (uint32_t shift = 0; shift < 32 && most >> shift; shift += 8) {
		routes_sort_byte(from, to, n, shift);
		swap = from;
		from = to;
		to = swap;
	}
	if (from != routes)
		memcpy(routes, from, n * sizeof(*routes));
}

int vgpu_backend_select_ids(const struct vgpu_work *w, struct vgpu_route *routes,
			    uint32_t *matrices, uint32_t *count, struct vgpu_wrong_id *wrong)
{
	size_t n = vgpu_backend_ids(w->cmd);
	uint32_t most;
	int rc = routes_read(w, routes, &most, wrong);

	if (rc)
		return rc;
	routes_sort(routes, n, most);
	*count = 0;
	for (size_t i = 0; i < n; i++) {
		if (!*count || matrices[*count - 1] != routes[i].expert)
			matrices[(*count)++] = routes[i].expert;
	}
	return 0;
}

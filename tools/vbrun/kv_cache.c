// SPDX-License-Identifier: MIT
#include "kv_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 0: no row of this format has so many columns. */
static uint64_t row_bytes(const struct kv_shape *shape)
{
	uint64_t bytes;

	return vgpu_matrix_bytes(shape->format, shape->heads, shape->dim, &bytes) ? 0 : bytes;
}

uint64_t kv_cache_layer_bytes(const struct kv_shape *shape)
{
	return 2 * shape->tokens * row_bytes(shape);
}

int kv_cache_open(struct kv_cache *c, struct vgpu *v, const struct kv_shape *shape)
{
	int rc = row_bytes(shape) ? 0 : -EINVAL;

	c->shape = *shape;
	c->bo = calloc(shape->layers, sizeof(*c->bo));
	if (!c->bo)
		return -ENOMEM;
	for (uint32_t i = 0; i < shape->layers && !rc; i++)
		rc = vgpu_bo_create(v, kv_cache_layer_bytes(shape), VGPU_LIFE_VOLATILE, &c->bo[i]);
	return rc;
}

void kv_cache_close(struct kv_cache *c)
{
	for (uint32_t i = 0; c->bo && i < c->shape.layers; i++)
		vgpu_bo_destroy(c->bo[i]);
	free(c->bo);
	memset(c, 0, sizeof(*c));
}

struct vgpu_array kv_cache_array(const struct kv_cache *c, uint32_t layer, enum kv_part part,
				 uint32_t first, uint32_t count)
{
	uint64_t start = part == KV_VALUES ? kv_cache_layer_bytes(&c->shape) / 2 : 0;

	return vgpu_cube(c->bo[layer], start + first * row_bytes(&c->shape), c->shape.format, count,
			 c->shape.heads, c->shape.dim);
}

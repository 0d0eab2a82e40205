/* SPDX-License-Identifier: MIT */
/*
 * Keys and values of the tokens so far, one object a layer.
 */
#ifndef VBRUN_KV_CACHE_H
#define VBRUN_KV_CACHE_H

#include <stdint.h>

#include "vgpu.h"

/**
 * struct kv_shape - how large a cache is
 * @layers: of the model
 * @heads: that keys and values have
 * @dim: columns of a head
 * @tokens: that it can hold
 * @format: F32, F16, BF16 or Q8_0; of the last @dim is a multiple of 32
 */
struct kv_shape {
	uint32_t layers, heads, dim, tokens;
	enum vgpu_format format;
};

/**
 * struct kv_cache - the objects
 * @shape: of all of them
 * @bo: of each layer: keys [tokens][heads][dim], then values
 */
struct kv_cache {
	struct kv_shape shape;
	struct vgpu_bo **bo;
};

enum kv_part { KV_KEYS, KV_VALUES };

/**
 * kv_cache_open() - make the objects
 * @c: kv_cache_close() it, also after an error
 *
 * Return: 0; -EINVAL: @dim; -ENOMEM; what the device said.
 */
int kv_cache_open(struct kv_cache *c, struct vgpu *v, const struct kv_shape *shape);
void kv_cache_close(struct kv_cache *c);

/* Bytes of one layer. */
uint64_t kv_cache_layer_bytes(const struct kv_shape *shape);

/* Tokens first .. first + count - 1 of a layer as [count][heads][dim]. */
struct vgpu_array kv_cache_array(const struct kv_cache *c, uint32_t layer, enum kv_part part,
				 uint32_t first, uint32_t count);

#endif

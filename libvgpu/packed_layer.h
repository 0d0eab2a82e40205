/* SPDX-License-Identifier: MIT */
/*
 * Layers of AWQ and GPTQ as items of a packed file.  No derived object makes them: a layer is
 * three ranges, of up to three files, and a transform of the contract has one.
 */
#ifndef VGPU_PACKED_LAYER_H
#define VGPU_PACKED_LAYER_H

#include "vgpu.h"

struct vgpu_pool;

/* Is an item a layer? */
static inline bool vgpu_packed_is_layer(const struct vgpu_pack_item *item)
{
	return item->layer.group;
}

/**
 * struct packed_layer_bytes - of the tensors of a layer, as they lie in their files
 */
struct packed_layer_bytes {
	uint64_t codes, zeros, scales;
};

/* Of an item that vgpu_packed_layer_check() took. */
struct packed_layer_bytes vgpu_packed_layer_bytes(const struct vgpu_pack_item *item);

/**
 * vgpu_packed_layer_check() - can an item be a layer, as far as its numbers say?
 *
 * Return: 0; -EINVAL; -E2BIG a side is too long.
 */
int vgpu_packed_layer_check(const struct vgpu_pack_item *item);

/* "awq", "gptq" or "gptq_v2". */
const char *vgpu_packed_layer_scheme(const struct vgpu_pack_item *item);

/**
 * vgpu_packed_layer_make() - read a layer and pack it
 * @item: the layer
 * @pool: threads
 * @put: told the bytes from @at on, in order; an answer other than 0 ends the call
 * @arg: handed to @put
 *
 * Takes memory for 32 MiB of codes and what belongs to them, packed and as they lie.
 * Return: 0; -EDOM a scale is NaN or infinite, or a zero point is not 8 where the format has
 * none; -ESTALE a file is shorter than it was; -EIO; -ENOMEM; what @put said.
 */
int vgpu_packed_layer_make(const struct vgpu_pack_item *item, struct vgpu_pool *pool,
			   int (*put)(void *arg, uint64_t at, const void *from, uint64_t bytes),
			   void *arg);

#endif

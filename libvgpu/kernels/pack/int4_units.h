/* SPDX-License-Identifier: MIT */
/*
 * Layers of AWQ and GPTQ as units of a packed format, by as many threads as there are.  Apart from
 * kernels.h, whose names meet vgpu.h's.
 */
#ifndef VGPU_PACK_INT4_UNITS_H
#define VGPU_PACK_INT4_UNITS_H

#include "kernels/pack/int4_layer.h"

struct vgpu_pool;

/**
 * vgpu_int4_format() - what a packed format has of a layer
 * @format: any number
 * @cols: receives the columns that share a scale
 * @zeros: receives whether there are zero points
 *
 * Return: false: none that pack_int4 makes.
 */
bool vgpu_int4_format(uint32_t format, uint32_t *cols, bool *zeros);

/**
 * vgpu_int4_units() - some units of a layer
 * @layer: the layer; @cols and @zeros say which format is made
 * @first: unit of 16 rows to begin with
 * @units: how many; the last of the layer may hold 8 rows
 * @dst: units behind each other, 64-byte aligned
 * @pool: NULL: on the calling thread
 *
 * Context: Any thread that is not inside a run of @pool.
 * Return: 0; -ENOMEM; what pack_int4_layer said.
 */
int vgpu_int4_units(const struct vgpu_int4_layer *layer, uint32_t first, uint32_t units,
		    void *dst, struct vgpu_pool *pool);

#endif

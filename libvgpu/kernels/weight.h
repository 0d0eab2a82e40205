/* SPDX-License-Identifier: MIT */
/*
 * What the public half of the library asks of weights; apart from kernels.h, whose names meet
 * vgpu.h's.
 */
#ifndef VGPU_WEIGHT_H
#define VGPU_WEIGHT_H

#include <stdbool.h>
#include <stdint.h>

/**
 * vgpu_weight_decode() - rows of a weight to f32
 * @format: enum vb_format, one that vb_format_unit() takes for @k; not MXFP4_SPLIT
 * @rows: from the first of @data on
 * @k: columns
 * @data: packed formats: 64-byte aligned
 * @out: [@rows][@k]
 *
 * Return: 0; -EINVAL a format that is no weight's and no source of packing.
 */
int vgpu_weight_decode(uint32_t format, uint32_t rows, uint32_t k, const void *data, float *out);

/* Does packing @source (enum vb_format) to @packed keep every finite value as it is? */
bool vgpu_weight_pack_is_exact(uint32_t source, uint32_t packed);

#endif

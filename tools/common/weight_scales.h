/* SPDX-License-Identifier: MIT */
/*
 * Scales that lie in a tensor of their own beside quantised weights, by their names:
 *
 *	name.weight_scale_inv	DeepSeek, Qwen: FP8, a scale for each 128 x 128 values
 *	name.weight_scale	compressed-tensors, ModelOpt: for each row, or for all
 *	name.scale_weight	for all
 *	name.scale		GGUF: for all, or for each expert
 *
 * Each value is multiplied by its scale, whatever "inv" says.  F4 whose scales are E8M0 for each
 * 32 values of a row is no case of these: it lies there as MXFP4_SPLIT does (weights.c).
 */
#ifndef TOOLS_WEIGHT_SCALES_H
#define TOOLS_WEIGHT_SCALES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vgpu.h"

/** weight_scales_of() - the tensor with the scales of weights @t, or NULL */
const struct vgpu_tensor *weight_scales_of(const struct vgpu_checkpoint *ck,
					   const struct vgpu_tensor *t);

/** weight_scales_owner() - the quantised weights that tensor @t has the scales of, or NULL */
const struct vgpu_tensor *weight_scales_owner(const struct vgpu_checkpoint *ck,
					      const struct vgpu_tensor *t);

/**
 * weight_scales_apply() - how the scales of a matrix, or of a stack, are cut
 * @t: weights of rank 2 or 3
 * @scales: of them
 * @out: as packing takes it
 * @why: receives the reason, at least 200 bytes
 *
 * A dimension of the scales is 1, that of the weights, or what blocks of 128 give, or of
 * another power of two from 16 to 1024.
 * Return: false when they cannot be applied: @why says so.
 */
bool weight_scales_apply(const struct vgpu_tensor *t, const struct vgpu_tensor *scales,
			 struct vgpu_pack_scales *out, char *why, size_t len);

/**
 * weight_scales_decode() - scales as numbers
 * @s: what they are
 * @count: how many
 * @data: as they lie in the file
 * @out: receives @count numbers
 *
 * Return: 0; -EINVAL.
 */
int weight_scales_decode(const struct vgpu_pack_scales *s, uint32_t count, const uint8_t *data,
			 float *out);

#endif

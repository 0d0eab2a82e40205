/* SPDX-License-Identifier: MIT */
/*
 * The kernels that levels with vectors share, as entries of their tables.  Include the level's
 * vec.h first.
 */
#ifndef VGPU_KERNELS_SIMD_TABLE_H
#define VGPU_KERNELS_SIMD_TABLE_H

#include "kernels/simd/attention.h"
#include "kernels/simd/gate.h"
#include "kernels/simd/layer.h"

static inline void simd_init(struct vgpu_kernels *t)
{
	t->layernorm = layernorm;
	t->rmsnorm = rmsnorm;
	t->softmax = softmax;
	t->unary = unary;
	t->binary = binary;
	t->scale = scale;
	t->rope = rope;
	t->topk = topk;
	t->attention = attention;
	t->gate = gate;
	t->q8_0_encode = q8_0_encode;
}

#endif

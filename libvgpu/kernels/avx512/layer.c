// SPDX-License-Identifier: MIT
#include "kernels/avx512/vec.h"

#include "kernels/simd/layer.h"
#include "kernels/simd/attention.h"
#include "kernels/simd/gate.h"

void vgpu_layer_init_avx512(struct vgpu_kernels *t)
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

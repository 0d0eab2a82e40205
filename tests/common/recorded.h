/* SPDX-License-Identifier: MIT */
/*
 * Activations that a real model had: tests/unit/data/minilm_activations.safetensors, the
 * inputs of the products of all-MiniLM-L6-v2 (Documentation/models.md says of which text).
 *
 * Apart from vgpu.h, whose names meet those of kernels.h.
 */
#ifndef TESTS_COMMON_RECORDED_H
#define TESTS_COMMON_RECORDED_H

#include <stdint.h>

/**
 * struct recorded - the input of one product
 * @name: "layer.0.qkv"
 * @m: rows, one a token
 * @k: columns
 * @x: f32 [@m][@k], the caller frees it
 */
struct recorded {
	char name[32];
	uint32_t m, k;
	float *x;
};

/**
 * recorded_take() - read input @i
 * @out: filled on success
 *
 * Return: 0; -ENOENT there are no more; -EIO, -EINVAL, -ENOMEM the file is not what it
 * should be.
 */
int recorded_take(uint32_t i, struct recorded *out);

#endif

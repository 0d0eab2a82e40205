/* SPDX-License-Identifier: MIT */
/* Layers of AWQ and GPTQ and the values that another implementation gives them. */
#ifndef TESTS_COMMON_GOLDEN_INT4_H
#define TESTS_COMMON_GOLDEN_INT4_H

#include "kernels/pack/int4_layer.h"

/**
 * struct golden_int4 - one case of unit/data/int4_layers.safetensors
 * @layer: as vgpu_int4_layer_init() gave it
 * @values: [n][k]
 */
struct golden_int4 {
	struct vgpu_int4_layer layer;
	float *values;
	void *parts[4];
};

/**
 * struct golden_int4_case - what the layers are like
 * @name: in the file
 * @scheme, @group: settings to read it with
 * @cols, @zeros: what it is packed with
 */
struct golden_int4_case {
	const char *name;
	enum vgpu_int4_scheme scheme;
	int group;
	uint32_t cols;
	bool zeros;
};

#define GOLDEN_INT4_CASES	29u
extern const struct golden_int4_case golden_int4_cases[GOLDEN_INT4_CASES];

/* Fails the test when the file is not as described; golden_int4_close() it. */
void golden_int4_open(struct golden_int4 *g, const struct golden_int4_case *c);
void golden_int4_close(struct golden_int4 *g);

#endif

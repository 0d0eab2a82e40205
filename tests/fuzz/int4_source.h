/* SPDX-License-Identifier: MIT */
/* A layer of AWQ or GPTQ from a fuzzer's bytes.  Apart from it, for vgpu.h and kernels.h do not meet. */
#ifndef TESTS_FUZZ_INT4_SOURCE_H
#define TESTS_FUZZ_INT4_SOURCE_H

#include "kernels/pack/int4_layer.h"

/**
 * struct int4_source - what was drawn
 * @layer: when it was taken
 * @parts: memory of its tensors, to the byte
 */
struct int4_source {
	struct vgpu_int4_layer layer;
	void *parts[4];
};

/* What vgpu_int4_layer_init() says of it; int4_source_free() it in any case. */
int int4_source_draw(struct int4_source *out, const uint8_t *data, size_t size);
void int4_source_free(struct int4_source *s);

#endif

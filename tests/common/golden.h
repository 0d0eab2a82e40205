/* SPDX-License-Identifier: MIT */
/* Blocks of GGUF types and the values that another implementation gives them. */
#ifndef TESTS_COMMON_GOLDEN_H
#define TESTS_COMMON_GOLDEN_H

#include <stdint.h>

/**
 * struct golden - tensors NAME and NAME.values of unit/data/gguf_blocks.gguf
 * @format: enum vgpu_format of the type
 * @count: blocks
 * @values_each, @bytes_each: values and bytes of a block, as the reader knows them
 * @blocks: [count][bytes_each]
 * @values: [count][values_each]
 */
struct golden {
	uint32_t format, count;
	uint32_t values_each, bytes_each;
	uint8_t *blocks;
	float *values;
};

/* The types in the file, "Q8_0" first. */
#define GOLDEN_NAMES	24u
extern const char *const golden_names[GOLDEN_NAMES];

/* Fails the test when the file is not as described; golden_close() it. */
void golden_open(struct golden *g, const char *name);
void golden_close(struct golden *g);

#endif

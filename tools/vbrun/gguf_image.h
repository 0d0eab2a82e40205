/* SPDX-License-Identifier: MIT */
/* The header of a GGUF file in memory: entries and tensors in any order, then the bytes. */
#ifndef VBRUN_GGUF_IMAGE_H
#define VBRUN_GGUF_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vgpu.h"

/* Types of tensors as the file numbers them (ggml's enum ggml_type). */
enum gguf_type {
	GGUF_F32 = 0,
	GGUF_Q5_0 = 6,
	GGUF_Q8_0 = 8,
	GGUF_Q4_K = 12,
	GGUF_Q6_K = 14,
};

/* Bytes that grow. */
struct gguf_bytes {
	unsigned char *data;
	size_t count, room;
};

/**
 * struct gguf_image - a header on its way
 * @entries: metadata so far
 * @infos: of tensors so far
 * @entry_count, @tensor_count: how many
 * @data_bytes: of all tensors, each on its multiple of 32
 * @failed: there was no memory at some point
 */
struct gguf_image {
	struct gguf_bytes entries, infos;
	uint64_t entry_count, tensor_count, data_bytes;
	bool failed;
};

/* Begin with an empty one, all zero. What fails for want of memory is noted and told at the end. */
void gguf_text(struct gguf_image *g, const char *key, const char *value);
void gguf_u32(struct gguf_image *g, const char *key, uint32_t value);
void gguf_f32(struct gguf_image *g, const char *key, float value);
void gguf_flag(struct gguf_image *g, const char *key, bool value);
void gguf_texts(struct gguf_image *g, const char *key, const char *const *values, uint64_t count);
/* @type: VGPU_META_I32, _U32 or _F32 */
void gguf_numbers(struct gguf_image *g, const char *key, enum vgpu_meta_type type,
		  const void *values, uint64_t count);
/**
 * gguf_tensor() - announce a tensor
 * @rows: 0: a vector of @cols
 * @bytes: of its data, which follow those of the tensor before it
 */
void gguf_tensor(struct gguf_image *g, const char *name, enum gguf_type type, uint32_t rows,
		 uint32_t cols, uint64_t bytes);

/**
 * gguf_finish() - the header, up to where the first tensor begins
 * @out: free() it
 * @count: its bytes, a multiple of 32
 *
 * Frees what @g holds. Return: 0, -ENOMEM.
 */
int gguf_finish(struct gguf_image *g, unsigned char **out, size_t *count);

/* Bytes from the end of a tensor of @bytes to where the next one begins. */
static inline uint64_t gguf_gap(uint64_t bytes)
{
	return -bytes & 31;
}

#endif

/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_GEN_GEMMA_H
#define VBRUN_GEN_GEMMA_H

#include <stdbool.h>
#include <stdint.h>

#include "gen.h"
#include "gguf_image.h"

/**
 * struct vbrun_gen_gemma_params - a decoder to write; numbers that are 0 are chosen
 * @path: file; replaced when it exists, and only once the new one is complete
 * @seed: any
 * @layers: 1 to 128, or 0 for 6
 * @hidden: 32 to 4096, a multiple of 32, or 0 for 256
 * @heads: or 0 for 4
 * @kv_heads: divides @heads, or 0 for 1
 * @dim: of a head; @heads times it a multiple of 256 unless @plain; or 0 for 64
 * @ffn: a multiple of 256 unless @plain, or 0 for 512
 * @window: or 0 for 32
 * @pattern: the last of so many layers sees all; or 0 for 6
 * @plain: all in F32; else types as of a Q4_K_M file
 * @more: adds entries to the metadata, or NULL
 */
struct vbrun_gen_gemma_params {
	const char *path;
	uint64_t seed;
	uint32_t layers, hidden, heads, kv_heads, dim, ffn, window, pattern;
	bool plain;
	void (*more)(struct gguf_image *image);
};

/**
 * vbrun_gen_gemma() - write a stand-in for gemma-3-270m
 * @p: what to write
 * @progress: or NULL
 * @arg: for @progress
 * @err: or NULL
 *
 * One GGUF file with the names and types of the real one and a vocabulary that can spell
 * any text. Blocks are random bytes with scales that keep activations near 1: what such a
 * model says means nothing, and is the same for the same numbers.
 *
 * Return: as vbrun_gen().
 */
int vbrun_gen_gemma(const struct vbrun_gen_gemma_params *p, vbrun_gen_progress progress,
		    void *arg, struct vgpu_error *err);

#endif

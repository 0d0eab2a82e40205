/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_GEN_H
#define VBRUN_GEN_H

#include <stdbool.h>
#include <stdint.h>

#include "vgpu.h"

/* How expert weights are stored; the rest is BF16, or F32 with F32 experts. */
enum vbrun_gen_format {
	VBRUN_GEN_MXFP4,
	VBRUN_GEN_BF16,
	VBRUN_GEN_F32,
};

/**
 * struct vbrun_gen_params - a mixture-of-experts checkpoint to write
 * @path: file; replaced when it exists, and only once the new one is complete
 * @bytes: size to aim at, at least 1 MiB; dimensions that are 0 are chosen for it. 0 is
 *	allowed when all four dimensions are given.
 * @seed: any
 * @format: of the expert weights
 * @layers: 1 to 1024, or 0
 * @experts: 1 to 1024, or 0 for 32
 * @hidden: 64 to 32768, a multiple of 64, or 0
 * @ffn: 32 to 131072, a multiple of 32, or 0
 */
struct vbrun_gen_params {
	const char *path;
	uint64_t bytes;
	uint64_t seed;
	enum vbrun_gen_format format;
	uint32_t layers;
	uint32_t experts;
	uint32_t hidden;
	uint32_t ffn;
};

/**
 * vbrun_gen_progress - told how far a file is, about once a MiB
 * @arg: from the caller
 * @done: bytes written
 * @total: bytes the file will have
 *
 * Return: 0 to go on; a negative errno to stop, after which nothing is left behind.
 * A caller that catches SIGINT answers -EINTR here.
 */
typedef int (*vbrun_gen_progress)(void *arg, uint64_t done, uint64_t total);

/**
 * vbrun_gen() - write a safetensors file in the shape of gpt-oss
 * @p: what to write
 * @progress: or NULL
 * @arg: for @progress
 * @err: names the field and its limit, or NULL
 *
 * Tensors and layouts are those of gpt-oss: attention, router, norms and embedding in
 * BF16, experts as gate_up_proj (even rows gate, odd rows up) and down_proj, with MXFP4
 * split into _blocks U8 [E][rows][k/32][16] and _scales U8 [E][rows][k/32]. In BF16 and
 * F32 experts are [E][rows][k]. Equal parameters give equal bytes on any machine.
 *
 * Context: Any thread; sleeps on file writes.
 * Return: 0; -EINVAL a parameter; -ENOSPC; -EBUSY: another process is writing it; -ENOMEM; what
 * @progress returned; errors of open(), write() and rename().
 */
int vbrun_gen(const struct vbrun_gen_params *p, vbrun_gen_progress progress, void *arg,
	      struct vgpu_error *err);

/**
 * struct vbrun_gen_model_params - a BERT-shaped model to write
 * @folder: made when it does not exist
 * @seed: any
 * @layers: 1 to 48, or 0 for 6
 * @hidden: 32 to 4096, a multiple of @heads, or 0 for 384
 * @heads: or 0 for 12
 * @ffn: 32 to 16384, or 0 for 1536
 * @keep: a model that is there stays, and was perhaps written by another process meanwhile
 */
struct vbrun_gen_model_params {
	const char *folder;
	uint64_t seed;
	uint32_t layers;
	uint32_t hidden;
	uint32_t heads;
	uint32_t ffn;
	bool keep;
};

/**
 * vbrun_gen_model() - write a stand-in for all-MiniLM-L6-v2
 * @p: what to write
 * @progress: told about model.safetensors, or NULL
 * @arg: for @progress
 * @err: or NULL
 *
 * Writes config.json, vocab.txt and model.safetensors with the names, types and (by
 * default) layer shapes of the real model, and a vocabulary that can spell any ASCII
 * text. Its embeddings are deterministic and mean nothing. Processes that write to one folder
 * do so one after the other.
 *
 * Return: as vbrun_gen(), and errors of mkdir().
 */
int vbrun_gen_model(const struct vbrun_gen_model_params *p, vbrun_gen_progress progress,
		    void *arg, struct vgpu_error *err);

#endif

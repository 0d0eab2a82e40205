/* SPDX-License-Identifier: MIT */
/*
 * Decoders of architecture "gemma3": the model in a GGUF file, and the model on a device.
 *
 * Matrices stay where they lie in the file where a product takes their type, else they are
 * derived objects, packed when they are needed. Norms, 0.2 MB of gemma-3-270m, are copied
 * into one anonymous object. All layers of a batch of tokens are one command buffer.
 *
 * Source: Gemma 3 Technical Report (2025), and the names of GGUF's metadata.
 */
#ifndef VBRUN_GEMMA_H
#define VBRUN_GEMMA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/progress.h"
#include "common/weights.h"
#include "kv_cache.h"
#include "operands.h"
#include "residency.h"
#include "spm.h"
#include "vgpu.h"

#define GEMMA_LAYERS_MAX 128u
#define GEMMA_ACTS 6u
/* Most tokens that run together, and most candidates for the next one. */
#define GEMMA_BATCH_MAX 512u
#define GEMMA_CHOICES_MAX 1024u

/* Matrices of a layer, in order of use. */
enum gemma_matrix { GEMMA_Q, GEMMA_K, GEMMA_V, GEMMA_O, GEMMA_GATE, GEMMA_UP, GEMMA_DOWN,
		    GEMMA_MATRICES };

/* Norms of a layer; their +1 is in the file's numbers. */
enum gemma_norm { GEMMA_BEFORE_ATTENTION, GEMMA_OF_Q, GEMMA_OF_K, GEMMA_AFTER_ATTENTION,
		  GEMMA_BEFORE_FFN, GEMMA_AFTER_FFN, GEMMA_NORMS };

/**
 * struct gemma_layer - one layer on disk
 * @matrix: entries of the model's weights
 * @norm: f32 vectors
 * @window: tokens back that it sees, itself among them; 0: all
 * @base, @freq_scale: of its rotation
 */
struct gemma_layer {
	const struct weight *matrix[GEMMA_MATRICES];
	const struct vgpu_tensor *norm[GEMMA_NORMS];
	uint32_t window;
	float base, freq_scale;
};

/**
 * struct gemma_model - a model on disk
 * @name: as the file says, or the file's name
 * @ck: its checkpoint
 * @weights: all of its matrices
 * @words: its tokenizer
 * @layers, @hidden, @heads, @kv_heads, @dim, @ffn: dimensions; @dim is of a head
 * @rot: columns of a head that rotate
 * @context: most tokens of a text
 * @eps: of the norms
 * @scale: of the attention's scores
 * @embedding: [vocabulary][hidden]
 * @head: the same, or a matrix of its own
 * @last_norm: before the head
 */
struct gemma_model {
	char name[64];
	struct vgpu_checkpoint *ck;
	struct weights weights;
	struct spm *words;
	uint32_t layers, hidden, heads, kv_heads, dim, ffn, rot, context;
	float eps, scale;
	const struct weight *embedding, *head;
	const struct vgpu_tensor *last_norm;
	struct gemma_layer layer[GEMMA_LAYERS_MAX];
};

/**
 * gemma_model_open() - read a file's metadata and its table of tensors
 * @path: of a GGUF file
 * @out: gemma_model_close() it
 * @err: names what is wrong, or not known
 *
 * Return: 0; -EOPNOTSUPP another architecture, or something of this one that is not
 * computed here; -EINVAL an entry or a tensor that is missing or has another shape or type;
 * what opening the file or its vocabulary said.
 */
int gemma_model_open(const char *path, struct gemma_model *out, struct vgpu_error *err);
void gemma_model_close(struct gemma_model *model);

/* Rows and columns of a matrix of a layer. */
uint32_t gemma_rows(const struct gemma_model *model, enum gemma_matrix which);
uint32_t gemma_cols(const struct gemma_model *model, enum gemma_matrix which);

/**
 * struct gemma_size - how much a run keeps
 * @tokens: of the longest text
 * @batch: tokens that run together
 * @choices: candidates for the next token
 * @rows: tokens whose logits are there together; 0: one
 * @kv: format of keys and values: F32, F16, BF16 or Q8_0; NONE: F32
 */
struct gemma_size {
	uint32_t tokens, batch, choices, rows;
	enum vgpu_format kv;
};

/* The shape of the keys and values of a run. */
struct kv_shape gemma_kv_shape(const struct gemma_model *model, const struct gemma_size *size);

/* Bytes of host memory for intermediates of one token of a batch. */
uint64_t gemma_token_bytes(const struct gemma_model *model);
/* Smallest host tier for a run: reserve for transfers, intermediates, keys and values. */
uint64_t gemma_host_bytes(const struct gemma_model *model, const struct gemma_size *size,
			  uint64_t chunk_bytes);

/**
 * struct gemma - a model on a device
 * @model: on disk
 * @v: device
 * @mode: of activations before packed weights
 * @size: what there is room for
 * @ops: objects of the matrices
 * @cache: keys and values
 * @norms: all of them, one behind the other
 * @ids: i32 token ids and positions of a batch
 * @acts: intermediates
 * @logits: f32 [rows][vocabulary]: of the last token, or of those that were asked for
 * @top: f32 and i32 [choices]: the largest of them, and which tokens they are
 * @position: tokens so far
 * @together: tokens of the last batch
 * @commands: recorded so far
 * @progress: shown while a prompt runs; NULL: not at all. Set by the caller after loading
 * @used_bytes: of weights, so far
 */
struct gemma {
	const struct gemma_model *model;
	struct vgpu *v;
	enum vgpu_mode mode;
	struct gemma_size size;
	struct operands ops;
	struct kv_cache cache;
	struct vgpu_bo *norms, *ids, *acts[GEMMA_ACTS], *logits, *top;
	struct vgpu_queue *q;
	struct vgpu_cmdbuf *cb;
	uint32_t position, together;
	uint64_t commands;
	struct progress *progress;
	uint64_t used_bytes;
};

/**
 * gemma_load() - make the objects of a model
 * @g: gemma_unload() it, also after an error
 * @model: stays open as long
 *
 * Return: 0; -EINVAL a batch or choices beyond what there can be; what the device said.
 */
int gemma_load(struct gemma *g, const struct gemma_model *model, struct vgpu *v,
	       enum vgpu_mode mode, const struct gemma_size *size);
void gemma_unload(struct gemma *g);

/**
 * gemma_feed() - go on with tokens
 * @ids: @count of them, at least 1, each of the vocabulary
 *
 * In as many batches as it takes. Afterwards the candidates for the next token are there.
 * Return: 0; -E2BIG the text becomes longer than there is room for; -EINTR after a signal;
 * what the device said.
 */
int gemma_feed(struct gemma *g, const int32_t *ids, uint32_t count);

/* Begin another text. */
static inline void gemma_forget(struct gemma *g)
{
	g->position = 0;
}

/**
 * gemma_choices() - the likeliest next tokens
 * @logits: receives [choices], descending
 * @ids: receives [choices]
 */
int gemma_choices(struct gemma *g, float *logits, int32_t *ids);

/* The logits of all tokens: f32 [vocabulary]. */
int gemma_logits(struct gemma *g, float *out);

/**
 * gemma_row_logits() - what follows each of some tokens of the last batch
 * @first: of them, counted in the batch that ran last
 * @count: 1 .. rows of the size
 * @out: f32 [count][vocabulary]
 *
 * Return: 0; -EINVAL more than there is room for, or beyond the batch; what the device said.
 */
int gemma_row_logits(struct gemma *g, uint32_t first, uint32_t count, float *out);

#define GEMMA_ROWS_MAX (GEMMA_LAYERS_MAX + 6u)
/**
 * gemma_residency() - every object by name, the matrices of a layer together
 * @rows: GEMMA_ROWS_MAX
 * @names: [GEMMA_LAYERS_MAX], memory for the names
 *
 * Return: rows filled.
 */
uint32_t gemma_residency(const struct gemma *g, struct residency_row *rows, char (*names)[32]);

#endif

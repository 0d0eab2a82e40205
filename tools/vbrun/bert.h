/* SPDX-License-Identifier: MIT */
/*
 * BERT encoders that embed sentences: the model on disk, and the model on a device.
 *
 * Large matrices stay in the checkpoint, as file objects (f32) or derived ones (packed).
 * Norms and biases, 120 KB of all-MiniLM-L6-v2, are copied into one anonymous object,
 * since in the file each lies in a chunk of its own between two matrices.
 */
#ifndef VBRUN_BERT_H
#define VBRUN_BERT_H

#include <stdbool.h>
#include <stdint.h>

#include "residency.h"
#include "vgpu.h"
#include "wordpiece.h"

#define BERT_LAYERS_MAX 48u
#define BERT_ACTS 6u

/* Matrices of a layer, in order of use. */
enum bert_matrix { BERT_Q, BERT_K, BERT_V, BERT_O, BERT_UP, BERT_DOWN, BERT_MATRICES };

/* Vectors of a layer; the first six are the biases of the matrices. */
enum bert_vector { BERT_NORM1_GAMMA = BERT_MATRICES, BERT_NORM1_BETA, BERT_NORM2_GAMMA,
		   BERT_NORM2_BETA, BERT_VECTORS };

/* Vectors before the first layer. */
enum bert_head { BERT_HEAD_GAMMA, BERT_HEAD_BETA, BERT_HEAD_TYPE, BERT_HEADS };

/**
 * struct bert_model - a model on disk
 * @name: "all-MiniLM-L6-v2", "generated", or the folder's name
 * @ck: its checkpoint
 * @words: its tokenizer
 * @layers, @hidden, @heads, @ffn: dimensions
 * @eps: of the norms
 * @matrix: f32 [n][k] of each layer
 * @vector: of each layer
 * @head: f32 vectors before the first layer
 * @word_table: f32 [vocabulary][hidden]
 * @position_table: f32 [positions][hidden]
 */
struct bert_model {
	char name[64];
	struct vgpu_checkpoint *ck;
	struct wordpiece *words;
	uint32_t layers, hidden, heads, ffn;
	float eps;
	const struct vgpu_tensor *matrix[BERT_LAYERS_MAX][BERT_MATRICES];
	const struct vgpu_tensor *vector[BERT_LAYERS_MAX][BERT_VECTORS];
	const struct vgpu_tensor *head[BERT_HEADS];
	const struct vgpu_tensor *word_table, *position_table;
};

/**
 * bert_model_open() - read config.json, vocab.txt and the checkpoint's table
 * @folder: of the model
 * @out: bert_model_close() it
 * @err: names what is wrong
 *
 * Return: 0; -EINVAL a tensor is missing or has another shape or type, or the
 * checkpoint has several files; what opening the parts said.
 */
int bert_model_open(const char *folder, struct bert_model *out, struct vgpu_error *err);
void bert_model_close(struct bert_model *model);

/* Rows and columns of a matrix of a layer. */
uint32_t bert_rows(const struct bert_model *model, enum bert_matrix which);
uint32_t bert_cols(const struct bert_model *model, enum bert_matrix which);

/**
 * bert_model_floats() - read an f32 tensor into memory
 * @out: t->bytes long
 *
 * Return: 0, -EIO.
 */
int bert_model_floats(const struct bert_model *model, const struct vgpu_tensor *t, float *out);

/**
 * struct bert_text - one tokenized text
 * @ids: [CLS], pieces, [SEP]
 * @count: of them
 */
struct bert_text {
	int32_t ids[WORDPIECE_MAX_IDS];
	uint32_t count;
};

/**
 * struct bert - a model on a device
 * @model: on disk
 * @v: device
 * @mode: of activations before packed weights
 * @formats: of each layer's matrices
 * @weights: derived object of each packed matrix; NULL where it lies in a file
 * @arrays: each matrix as an operand
 * @packed: open packed file with the matrices, or NULL: packed when they are needed
 * @packed_file: object of it
 * @file: the whole checkpoint
 * @small: norms and biases
 * @ids: i32 token ids, positions, and f32 weights of the mean, each [tokens]
 * @acts: intermediates of @tokens tokens: hidden state, queries, keys, values, context
 *	and the wide one
 * @out: f32 [@tokens][hidden]: embeddings of a batch
 * @tokens: most tokens of a batch
 * @weight_bytes: of all matrices as they are used
 * @commands: recorded so far
 * @progress: shown after each batch; NULL: not at all. Set by the caller after loading
 * @used_bytes: @weight_bytes for each batch so far
 */
struct bert {
	const struct bert_model *model;
	struct vgpu *v;
	enum vgpu_mode mode;
	enum vgpu_format formats[BERT_LAYERS_MAX];
	struct vgpu_bo *weights[BERT_LAYERS_MAX][BERT_MATRICES];
	struct vgpu_array arrays[BERT_LAYERS_MAX][BERT_MATRICES];
	struct vgpu_checkpoint *packed;
	struct vgpu_bo *packed_file;
	struct vgpu_bo *file, *small, *ids, *acts[BERT_ACTS], *out;
	struct vgpu_queue *q;
	struct vgpu_cmdbuf *cb;
	uint32_t tokens;
	uint64_t weight_bytes, commands;
	struct progress *progress;
	uint64_t used_bytes;
};

/**
 * bert_load() - make the objects of a model
 * @b: bert_unload() it, also after an error
 * @model: stays open as long
 * @v: device
 * @formats: F32, MXFP4_G16 or INT8_G16 for each layer
 * @mode: of activations before packed weights; f32 weights take them as they are
 * @tokens: most tokens of a batch
 * @packed_path: file that holds the packed matrices, made when it does not fit;
 *	NULL: none, they are packed from the checkpoint whenever they are needed
 *
 * Return: 0; -EINTR after a signal while the file was made; what the device said.
 */
int bert_load(struct bert *b, const struct bert_model *model, struct vgpu *v,
	      const enum vgpu_format *formats, enum vgpu_mode mode, uint32_t tokens,
	      const char *packed_path);
void bert_unload(struct bert *b);

/**
 * bert_embed() - embed texts
 * @texts: @count of them, none longer than the batch
 * @out: f32 [@count][hidden], each of length 1
 *
 * As many whole texts as fit make a batch: one command buffer with all layers. A
 * text's embedding does not depend on what else is in its batch.
 *
 * Return: 0; -EINTR after a signal; what the device said.
 */
int bert_embed(struct bert *b, const struct bert_text *texts, uint32_t count, float *out);

/**
 * bert_decode() - a matrix as the device multiplies with it
 * @out: f32 [rows][cols]
 *
 * Through GATHER, which decodes rows: the public way to the values of packed weights.
 */
int bert_decode(struct bert *b, uint32_t layer, enum bert_matrix which, float *out);

/* Bytes of the matrices of one layer in a format. */
uint64_t bert_layer_bytes(const struct bert_model *model, enum vgpu_format format);
/* Bytes of host memory that intermediates take for each token of a batch. */
uint64_t bert_token_bytes(const struct bert_model *model);
/* Smallest host tier for batches of @tokens: reserve, intermediates, a few weights. */
uint64_t bert_host_bytes(const struct bert_model *model, uint32_t tokens, uint64_t chunk_bytes);

#define BERT_ROWS_MAX (BERT_LAYERS_MAX + 5u)
/**
 * bert_residency() - every object by name, the matrices of a layer together
 * @rows: BERT_ROWS_MAX
 * @names: [BERT_LAYERS_MAX], memory for the names
 *
 * Return: rows filled.
 */
uint32_t bert_residency(const struct bert *b, struct residency_row *rows, char (*names)[32]);

#endif

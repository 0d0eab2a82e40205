/* SPDX-License-Identifier: MIT */
/*
 * Byte pair encoding with scores, as SentencePiece does it, from the vocabulary that a
 * GGUF file carries (tokenizer.ggml.model "llama").
 */
#ifndef VBRUN_SPM_H
#define VBRUN_SPM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vgpu.h"

/* Bytes of the longest piece that a vocabulary may have. */
#define SPM_PIECE_BYTES 1024u

struct spm;

/**
 * spm_open() - take the vocabulary out of a checkpoint
 * @ck: stays open as long as the tokenizer
 * @out: the tokenizer, unchanged on failure; spm_close() it
 * @err: names the entry and what is wrong with it, or NULL
 *
 * Return: 0; -EOPNOTSUPP another kind of tokenizer, or a normaliser; -EINVAL an entry that
 * is missing or does not fit the others, a piece that appears twice; -ENOMEM.
 */
int spm_open(const struct vgpu_checkpoint *ck, struct spm **out, struct vgpu_error *err);

/* Frees @spm; NULL is fine. */
void spm_close(struct spm *spm);

/* Number of tokens; ids are below it. */
uint32_t spm_count(const struct spm *spm);

/* Does this token end a text, or a turn of a conversation? */
bool spm_is_end(const struct spm *spm, int32_t id);

/**
 * spm_encode() - text to token ids
 * @spm: open tokenizer
 * @text: UTF-8, ended by a NUL; each byte that is not becomes U+FFFD
 * @out: ids, to be freed
 *
 * The token that begins a text stands first where the vocabulary says so. Spaces become
 * U+2581. Symbols that the vocabulary's user defined are taken first, the longest from the
 * left, and never merged. Of the others neighbours are merged while that gives a piece, the
 * one with the highest score first, of equals the leftmost. What is no piece then becomes
 * the tokens of its bytes, or the unknown one in a vocabulary without bytes.
 *
 * Names of control tokens in the text ("<eos>") are ordinary text: input does not get to
 * forge the model's structure.
 *
 * Source: Kudo and Richardson, SentencePiece (2018), and its src/bpe_model.cc.
 *
 * Context: Any thread; several may share @spm.
 * Return: number of ids; -ENOMEM; -E2BIG a text of 2^30 bytes or more.
 */
int64_t spm_encode(const struct spm *spm, const char *text, int32_t **out);

/**
 * spm_decode() - the bytes of a token
 * @id: below spm_count()
 * @out: SPM_PIECE_BYTES; not ended by a NUL
 *
 * One token may be a part of a character. Control tokens, the unknown one and unused ones
 * have none.
 * Return: bytes.
 */
size_t spm_decode(const struct spm *spm, int32_t id, char *out);

#endif

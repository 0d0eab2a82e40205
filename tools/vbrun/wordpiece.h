/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_WORDPIECE_H
#define VBRUN_WORDPIECE_H

#include <stddef.h>
#include <stdint.h>

#include "vgpu.h"

/* What all-MiniLM-L6-v2 was trained with; [CLS] and [SEP] count. */
#define WORDPIECE_MAX_IDS 256

struct wordpiece;

/**
 * wordpiece_open() - load a BERT vocabulary
 * @vocab_path: text file, one token a line, its id the number of lines before it
 * @out: the tokenizer, unchanged on failure
 * @err: names the line and the token, or NULL
 *
 * Return: 0; -EINVAL for a token that appears twice or a vocabulary without [UNK],
 * [CLS] and [SEP]; -E2BIG above 64 MiB; -ENOMEM; errors of open() and read().
 */
int wordpiece_open(const char *vocab_path, struct wordpiece **out,
		   struct vgpu_error *err);

/* Frees @wp; NULL is fine. */
void wordpiece_close(struct wordpiece *wp);

/* Number of tokens; ids are below it. */
size_t wordpiece_count(const struct wordpiece *wp);

/**
 * wordpiece_encode() - text to token ids, as BERT's uncased tokenizer does it
 * @wp: open tokenizer
 * @text: UTF-8, ended by a NUL
 * @ids: receives [CLS], the pieces, [SEP]
 * @cap: room in @ids, at least 2
 *
 * Control characters go, white space separates, CJK ideographs and punctuation are
 * words of their own; accents are stripped (canonical decomposition without marks of
 * category Mn) and letters lowered; each word becomes the longest pieces from the left,
 * or [UNK] when a piece is missing or the word has more than 100 characters. What
 * exceeds @cap or WORDPIECE_MAX_IDS is cut off before [SEP].
 *
 * Bytes that are not UTF-8 vanish, as U+FFFD does. Names of special tokens in the text
 * ("[SEP]") are ordinary text: input does not get to forge the model's structure.
 *
 * Source: Devlin et al., BERT (2018), and its released tokenizer.
 *
 * Context: Any thread; several may share @wp.
 * Return: number of ids, at least 2; -EINVAL @cap is below 2.
 */
int wordpiece_encode(const struct wordpiece *wp, const char *text, int32_t *ids,
		     size_t cap);

/* How many ids a text has when nothing is cut off; at least 2. */
size_t wordpiece_length(const struct wordpiece *wp, const char *text);

#endif

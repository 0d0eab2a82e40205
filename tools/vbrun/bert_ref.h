/* SPDX-License-Identifier: MIT */
/*
 * The same encoder in float64, slow and obvious: what embeddings of given weights are,
 * but for rounding nobody sees. Shares no arithmetic with the library.
 */
#ifndef VBRUN_BERT_REF_H
#define VBRUN_BERT_REF_H

#include "bert.h"

struct bert_ref;

/**
 * bert_ref_create() - take the weights of a loaded model
 * @b: its matrices are decoded, everything else is read from the checkpoint
 * @out: bert_ref_destroy() it
 *
 * Return: 0; -ENOMEM; -EIO; what the device said.
 */
int bert_ref_create(struct bert *b, struct bert_ref **out);
void bert_ref_destroy(struct bert_ref *ref);

/**
 * bert_ref_embed() - embed one text
 * @out: double [hidden], of length 1
 *
 * Return: 0, -ENOMEM.
 */
int bert_ref_embed(const struct bert_ref *ref, const struct bert_text *text, double *out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The forward pass of a gemma3 decoder in float64, plain and slow, over the weights as the
 * device multiplies with them. It knows neither batches nor a cache: each call begins at
 * the first token.
 */
#ifndef TESTS_GEMMA_REF_H
#define TESTS_GEMMA_REF_H

#include "vbrun/gemma.h"

struct gemma_ref;

/* From the model on a device; aborts when there is no memory. */
struct gemma_ref *gemma_ref_create(struct gemma *g);
void gemma_ref_destroy(struct gemma_ref *ref);

/* Logits f64 [vocabulary] of the last of @count tokens. */
void gemma_ref_logits(const struct gemma_ref *ref, const int32_t *ids, uint32_t count,
		      double *out);

#endif

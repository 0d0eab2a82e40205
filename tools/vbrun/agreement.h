/* SPDX-License-Identifier: MIT */
/*
 * How well a model foretells a text, and how far it is from another one: perplexity, KL
 * divergence, how often both hold the same token for the likeliest. In float64 from the logits.
 */
#ifndef VBRUN_AGREEMENT_H
#define VBRUN_AGREEMENT_H

#include <stdint.h>

/**
 * struct agreement_row - what the model that is compared with says of one token
 * @logits: f32 [@count]
 * @p: f64 [@count]: the probabilities
 * @count: tokens of the vocabulary
 * @top: the likeliest; of equal ones the first
 * @log_sum: log of the sum of e^logit
 * @surprise: of the token that follows, -log p
 * @next: that token
 */
struct agreement_row {
	const float *logits;
	double *p;
	uint32_t count, top;
	double log_sum, surprise;
	int32_t next;
};

/**
 * struct agreement - sums over the tokens of a text
 * @room: tokens that there is room for
 * @tokens: so far
 * @same_top: for how many the likeliest is that of the other model
 * @surprise, @surprise_squares: sums of -log p of the tokens that follow
 * @excess, @excess_squares: of what that is more than in the other model
 * @error, @size: squares of the differences of logits, and of the other model's logits
 * @kl: f64 [@room]: of each token
 */
struct agreement {
	uint32_t room, tokens, same_top;
	double surprise, surprise_squares, excess, excess_squares, error, size;
	double *kl;
};

/**
 * struct agreement_figures - what they say
 * @perplexity: e^(mean surprise)
 * @perplexity_error: its standard error, as of independent tokens
 * @ratio: over the other model's
 * @ratio_error: its standard error; tokens that are hard for both do not count
 * @kl: mean of KL(other || this), in nats
 * @kl_p99: a hundredth of the tokens have more
 * @same_top: part of the tokens, 0 .. 1
 * @nmse: of the logits
 */
struct agreement_figures {
	double perplexity, perplexity_error, ratio, ratio_error, kl, kl_p99, same_top, nmse;
};

/* Make room for @tokens. Return: 0, -ENOMEM; agreement_close() it in any case. */
int agreement_open(struct agreement *a, uint32_t tokens);
void agreement_close(struct agreement *a);

/**
 * agreement_row() - take the distribution of the other model
 * @logits: f32 [@count], finite; they stay as long as @row
 * @next: the token that follows
 * @p: f64 [@count], filled
 * @row: filled
 */
void agreement_row(const float *logits, uint32_t count, int32_t next, double *p,
		   struct agreement_row *row);

/**
 * agreement_add() - count one more token
 * @other: what the other model says
 * @logits: f32 [@other->count], what this one says; finite
 *
 * Logits that are the same give exactly no divergence.
 */
void agreement_add(struct agreement *a, const struct agreement_row *other, const float *logits);

/* The figures of at least one token. Sorts @a->kl. */
struct agreement_figures agreement_figures(struct agreement *a);

#endif

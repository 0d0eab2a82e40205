/* SPDX-License-Identifier: MIT */
/* Whom products, attention and mixtures of experts are compared with, in this process or beside it. */
#ifndef BENCH_PEERS_PEER_H
#define BENCH_PEERS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct peer_weights - what a peer is to multiply with
 * @type: as ggml calls it, "mxfp4"
 * @n: rows, output features
 * @k: columns
 * @rotate: bytes of copies to go round over; 0: one, which stays in the caches
 * @bytes: whether activations may become 8 bits wide
 */
struct peer_weights {
	const char *type;
	uint32_t n, k;
	size_t rotate;
	bool bytes;
};

struct peer_product {
	uint32_t m;
	unsigned int threads;
};

/**
 * struct peer_attention - one softmax(q k^T / sqrt(head_dim)) v
 * @type: of keys and values, as ggml calls it, "f16"; queries are F32
 * @heads: of the queries
 * @kv_heads: of keys and values; divides @heads
 * @head_dim: columns of a head
 * @m: queries
 * @kv: keys
 * @causal: query i sees keys 0 .. i + kv - m
 */
struct peer_attention {
	const char *type;
	uint32_t heads, kv_heads, head_dim, m, kv;
	bool causal;
};

/**
 * struct peer_experts - stacks of weights of which each row of activations chooses some
 * @type: as ggml calls it, "mxfp4"
 * @experts: matrices of a stack
 * @n: rows of one
 * @k: columns
 * @rotate: bytes of copies of the stack to go round over; 0: one
 */
struct peer_experts {
	const char *type;
	uint32_t experts, n, k;
	size_t rotate;
};

/**
 * struct peer_route - a product of such a stack
 * @routing: enum experts_routing (experts.h)
 * @tokens: rows of activations
 * @used: experts that each chooses
 * @first: turn to begin with: it says which stack and which choice of experts
 */
struct peer_route {
	uint32_t routing, tokens, used, first;
	unsigned int threads;
};

/* Both sides have the same values: noise from these, the keys' before the values'. */
#define PEER_Q_SEED	1u
#define PEER_KV_SEED	2u
/* Outputs of a peer that are compared with ours, from all over the queries and columns. */
#define PEER_SAMPLES	16u

/* Outputs of a product that its error is of: so many, or all where there are fewer. */
#define PEER_OUTPUTS	4096u

/* Which of n outputs number i of @samples is. */
static inline size_t peer_sample_of(size_t n, unsigned int samples, unsigned int i)
{
	return n / samples * i + i * 7 % (n / samples);
}

static inline size_t peer_sample(size_t n, unsigned int i)
{
	return peer_sample_of(n, PEER_SAMPLES, i);
}

static inline unsigned int peer_outputs(size_t n)
{
	return n < PEER_OUTPUTS ? (unsigned int)n : PEER_OUTPUTS;
}

/**
 * struct peer - one of them
 * @name: of a result
 * @form: which of its own it used for the last product, for who reads the table
 * @open: is it here?  False has been said, with the reason
 * @weights: use these from now on; false: it has no products of this type, which has been said
 * @time: seconds a product of @p.m rows of f32, of @products one after the other, whatever it
 *	does with the rows before included; not above 0: it failed, which has been said
 * @left: like @time, of Y = X W with X [m][n]
 * @outputs: NULL: its weights are others; else weights and activations are those of values.h, and
 *	this hands out peer_outputs() of a product [m][n].  False: it failed, which has been said
 * @attention: like @weights, for @attend
 * @attend: like @time, of @times calls; @samples: [PEER_SAMPLES] of the outputs
 * @experts: like @weights, for @route
 * @route: like @time; @samples: of the last product's outputs [tokens][used][n]
 */
struct peer {
	const char *name;
	char form[48];
	bool (*open)(struct peer *peer);
	bool (*weights)(struct peer *peer, const struct peer_weights *w);
	double (*time)(struct peer *peer, struct peer_product p, uint32_t products);
	double (*left)(struct peer *peer, struct peer_product p, uint32_t products);
	bool (*outputs)(struct peer *peer, struct peer_product p, float *outputs);
	bool (*attention)(struct peer *peer, const struct peer_attention *a);
	double (*attend)(struct peer *peer, unsigned int threads, uint32_t times, float *samples);
	bool (*experts)(struct peer *peer, const struct peer_experts *e);
	double (*route)(struct peer *peer, const struct peer_route *r, uint32_t products,
			float *samples);
};

/* OpenBLAS, in f32 whatever the type is; products only. */
extern struct peer peer_blas;

/* oneDNN in f32, bf16 and, where both sides may be of 8 bits, int8 with one scale for all. */
extern struct peer peer_onednn;

/*
 * ggml's CPU backend, in the fastest of its forms of a type (ggml_serve.c).  $BENCH_GGML:
 * another command that answers like that.
 */
extern struct peer peer_ggml;

#endif

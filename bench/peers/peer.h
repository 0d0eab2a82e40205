/* SPDX-License-Identifier: MIT */
/* Whom products are compared with: others that multiply, in this process or beside it. */
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
 */
struct peer_weights {
	const char *type;
	uint32_t n, k;
	size_t rotate;
};

struct peer_product {
	uint32_t m;
	unsigned int threads;
};

/**
 * struct peer - one of them
 * @name: of a result
 * @form: which of its own it used for the last product, for who reads the table
 * @open: is it here?  False has been said, with the reason
 * @weights: use these from now on; false: it has no products of this type, which has been said
 * @time: seconds a product of @p.m rows of f32, of @products one after the other, whatever it
 *	does with the rows before included; not above 0: it failed, which has been said
 */
struct peer {
	const char *name;
	char form[48];
	bool (*open)(struct peer *peer);
	bool (*weights)(struct peer *peer, const struct peer_weights *w);
	double (*time)(struct peer *peer, struct peer_product p, uint32_t products);
};

/* OpenBLAS, in f32 whatever the type is. */
extern struct peer peer_blas;

/*
 * ggml's CPU backend, in the fastest of its forms of a type (ggml_serve.c).  $BENCH_GGML:
 * another command that answers like that.
 */
extern struct peer peer_ggml;

#endif

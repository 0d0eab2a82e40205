/* SPDX-License-Identifier: MIT */
/*
 * What a run of all products of a checkpoint keeps in the host tier beside weights:
 * activations, the products of one matrix at a time, and the first outputs of each.
 */
#ifndef TOOLS_INTERMEDIATES_H
#define TOOLS_INTERMEDIATES_H

#include <stdint.h>

#include "common/weights.h"

/* First outputs of each product that go into the digest. */
#define INTERMEDIATES_DIGEST_COLS 16u

/**
 * struct intermediates - bytes of each array
 * @x: activations, as many columns as the widest matrix
 * @y: of the largest product
 * @digest: first outputs of the first row of every product
 */
struct intermediates {
	uint64_t x, y, digest;
};

/**
 * intermediates_rows() - rows of a matrix that one product takes
 * @w: the matrix
 * @m: rows of activations
 *
 * A product of more than 8 MiB is cut into several.
 * Return: at most, whole units.
 */
uint32_t intermediates_rows(const struct weight *w, uint32_t m);

/** intermediates_of() - of products with all of @w, @m rows of activations */
struct intermediates intermediates_of(const struct weights *w, uint32_t m);

/** intermediates_bytes() - of all arrays, each whole chunks of @chunk_bytes; 1: as they are */
uint64_t intermediates_bytes(const struct intermediates *i, uint64_t chunk_bytes);

/**
 * intermediates_host() - the smallest host tier in which all products run
 * @w: the weights
 * @m: rows of activations
 * @chunk_bytes: of the device
 *
 * Return: bytes: these arrays, and the reserve for transfers.
 */
uint64_t intermediates_host(const struct weights *w, uint32_t m, uint64_t chunk_bytes);

/**
 * intermediates_refuse() - say that a host tier is too small, and what would do
 * @command: for the beginning of the line
 * @host_bytes: asked for
 * @need_bytes: intermediates_host()
 * @arrays_bytes: intermediates_bytes()
 * @chunk_bytes: of the device
 *
 * Return: CLI_FAILED.
 */
int intermediates_refuse(const char *command, uint64_t host_bytes, uint64_t need_bytes,
			 uint64_t arrays_bytes, uint64_t chunk_bytes);

#endif

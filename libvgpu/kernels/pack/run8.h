/* SPDX-License-Identifier: MIT */
/*
 * Runs of mode A8_256: where a sum of 256 products can stay an integer.
 *
 * Of MXFP4_G16 a value is code * 2^(e - 128), code an even number of halves from -12 to 12, and e
 * its block's.  Eight blocks whose e differ by 3 at most are one run: with the least e of them
 * a code is shifted by what its own is above that, -96 .. 96, and the products with int8 add up
 * to less than 2^22 in 256 columns, which is where avx512/act.h converts exactly.
 *
 * All runs of 16 rows and 1024 columns together have it so, or are multiplied block by
 * block: then the result is that of A8 with a scale that eight blocks share.  Which it is follows
 * from the weight alone.
 */
#ifndef VGPU_PACK_RUN8_H
#define VGPU_PACK_RUN8_H

#include <stdbool.h>
#include "kernels/kernels.h"
#include "kernels/pack/group.h"

#define VGPU_RUN_BLOCKS	(VGPU_RUN / VGPU_BLOCK)
/* Columns that have runs together, or have none. */
#define VGPU_RUN_CHUNK	1024u
/* Exponents that are no exponents of a normal f32 once halved have none. */
#define VGPU_RUN_LEAST	2u
#define VGPU_RUN_MOST	254u
#define VGPU_RUN_SPREAD	3u

/**
 * vgpu_run8_share() - how much of a weight has runs
 * @w: MXFP4_G16
 * @out_all: pieces of 16 rows and up to 1024 columns
 *
 * Return: of how many of them all runs are whole.
 */
uint64_t vgpu_run8_share(const struct vgpu_panel *w, uint64_t *out_all);

#endif

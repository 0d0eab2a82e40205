/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_GEN_VALUES_H
#define VBRUN_GEN_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Numbers for generated weights: Gaussian-like, times a power law over rows and over
 * blocks of 32 columns. All randomness is integer arithmetic and every float operation
 * is exact or rounded once, so the bytes are the same on every machine.
 */

enum gen_element {
	GEN_F32,
	GEN_BF16,
	GEN_FP4_BLOCKS,		/* E2M1 codes, value 2i in the low half of byte i */
	GEN_FP4_SCALES,		/* the E8M0 scales of the same stream's blocks */
	GEN_POSITION,		/* I64: the column's number */
};

/**
 * struct gen_matrix - numbers to draw
 * @element: what is written
 * @flat: no power law
 * @stream: names the numbers; blocks and scales that belong together share it
 * @rows: number of rows, at least 1
 * @k: columns; a multiple of 32 for FP4
 * @shift: size of the numbers, in quarters of a power of two
 * @offset: added to each; not to FP4
 */
struct gen_matrix {
	enum gen_element element;
	bool flat;
	uint64_t stream;
	uint32_t rows;
	uint32_t k;
	int shift;
	float offset;
};

struct gen_values;

/* Draws the tables, 0.6 MB in a few milliseconds; NULL when out of memory. */
struct gen_values *gen_values_create(void);
void gen_values_destroy(struct gen_values *values);

/* Bytes of one row. */
size_t gen_row_bytes(const struct gen_matrix *m);

/* A quarter-octave shift that divides by the square root of @n. */
int gen_root_shift(uint32_t n);

/* A stream of its own for part @part of @stream. */
uint64_t gen_stream(uint64_t stream, uint64_t part);

/**
 * gen_values_row() - write one row
 * @values: tables
 * @m: the matrix
 * @row: below @m->rows
 * @out: gen_row_bytes() bytes, any alignment
 *
 * Context: Any thread; rows may be drawn in any order.
 */
void gen_values_row(const struct gen_values *values, const struct gen_matrix *m,
		    uint32_t row, void *out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Products by a weight from the left drawn at random: any format and level, any legal shape,
 * stride, alignment and cut, weights and activations of every size, NaN and infinity.  The bits
 * are those of the plain loop that kernels.h has, no byte beside a result is written and none
 * beyond an operand read.
 */
#ifndef TESTS_COMMON_TRANSPOSED_DRAW_H
#define TESTS_COMMON_TRANSPOSED_DRAW_H

#include <stdint.h>

/* As product_draw(). */
const char *transposed_draw(uint64_t number);
const char *transposed_draw_said(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Products drawn at random, each held against the reference: any format, mode and level, any
 * legal shape, strides and alignment, activations and scales of every size, NaN and infinity.
 *
 * What is checked is what Documentation/kernels.md promises: how far a result may be from the
 * reference's, which rows a value that is no number spoils, that results are bitwise the same
 * however the work is cut, that no byte beside a result is written and none beyond an
 * operand read (they lie between pages without access), and that every level decodes
 * the same values.
 */
#ifndef TESTS_COMMON_PRODUCT_DRAW_H
#define TESTS_COMMON_PRODUCT_DRAW_H

#include <stdint.h>

/**
 * product_draw() - draw a product, compute it, look at it
 * @number: which one; the same is drawn for the same number on the same CPU
 *
 * Context: One thread; memory is mapped at the first call and kept.
 * Return: NULL; else what is wrong, valid until the next call.
 */
const char *product_draw(uint64_t number);

/* What was drawn last: format, mode, level and shape. */
const char *product_draw_said(void);

#endif

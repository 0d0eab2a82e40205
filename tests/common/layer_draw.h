/* SPDX-License-Identifier: MIT */
/*
 * Layer operations drawn at random, each level against the reference within the limits of
 * Documentation/layers.md, between pages that nobody may touch: any length, any size of
 * numbers, with zeros, infinities and NaN among them.
 */
#ifndef TESTS_COMMON_LAYER_DRAW_H
#define TESTS_COMMON_LAYER_DRAW_H

#include <stdint.h>

/* As product_draw(). */
const char *layer_draw(uint64_t number);
const char *layer_draw_said(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Attention drawn at random: any shape, format of keys and values, window, mask and strides, each
 * level against the reference, the same bits for a part of it, between pages that nobody
 * may touch.
 */
#ifndef TESTS_COMMON_ATTENTION_DRAW_H
#define TESTS_COMMON_ATTENTION_DRAW_H

#include <stdint.h>

/* As product_draw(). */
const char *attention_draw(uint64_t number);
const char *attention_draw_said(void);

#endif

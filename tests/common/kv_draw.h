/* SPDX-License-Identifier: MIT */
/*
 * Values drawn at random, as blocks of Q8_0 at each level: the bytes of the reference, between
 * pages that nobody may touch. Any size of numbers, with zeros, infinities and NaN among them.
 */
#ifndef TESTS_COMMON_KV_DRAW_H
#define TESTS_COMMON_KV_DRAW_H

#include <stdint.h>

/* As product_draw(). */
const char *kv_draw(uint64_t number);

#endif

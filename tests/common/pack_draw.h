/* SPDX-License-Identifier: MIT */
/*
 * Packing of groups drawn at random: every level makes the reference's bytes, or refuses with
 * the same error and writes none, and reads nothing beyond its source.
 */
#ifndef TESTS_COMMON_PACK_DRAW_H
#define TESTS_COMMON_PACK_DRAW_H

#include <stdint.h>

/* As product_draw(). */
const char *pack_draw(uint64_t number);
const char *pack_draw_said(void);

#endif

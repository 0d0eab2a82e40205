/* SPDX-License-Identifier: MIT */
/* Sizes and times as people write and read them. */
#ifndef TOOLS_SIZE_H
#define TOOLS_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* A short text by value, so that it can stand among the arguments of printf(). */
struct size_text {
	char s[24];
};

/**
 * size_parse() - "512M" to bytes
 * @text: digits, a fraction allowed, then nothing, K, M, G or T (powers of 1024),
 *	optionally followed by "iB" or "B"
 * @out: bytes, unchanged when false is returned
 *
 * Return: false when it is no size, negative, or above 2^63.
 */
bool size_parse(const char *text, uint64_t *out);

/** size_text() - bytes as "1.50 GiB" */
struct size_text size_text(uint64_t bytes);

/** size_seconds() - a duration as "12.3 ms", "4.56 s" or "3 min 20 s" */
struct size_text size_seconds(double seconds);

/** size_now() - CLOCK_MONOTONIC in seconds */
double size_now(void);

#endif

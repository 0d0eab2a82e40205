/* SPDX-License-Identifier: MIT */
/*
 * FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/: tells what two runs made, or two
 * texts, apart. Not where somebody may want two to be taken for one.
 */
#ifndef COMMON_FNV_H
#define COMMON_FNV_H

#include <stddef.h>
#include <stdint.h>

#define FNV64_START	0xcbf29ce484222325u
#define FNV32_START	0x811c9dc5u

/** fnv64() - @hash of what came before, or FNV64_START, goes on over @bytes more */
static inline uint64_t fnv64(uint64_t hash, const void *data, size_t bytes)
{
	for (const uint8_t *at = data; bytes; bytes--)
		hash = (hash ^ *at++) * 0x100000001b3u;
	return hash;
}

/** fnv32() - the same, shorter: for tables that compare what they find */
static inline uint32_t fnv32(uint32_t hash, const void *data, size_t bytes)
{
	for (const uint8_t *at = data; bytes; bytes--)
		hash = (hash ^ *at++) * 0x01000193u;
	return hash;
}

#endif

/* SPDX-License-Identifier: MIT */
#ifndef VGPU_EXEC_CRC32C_H
#define VGPU_EXEC_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/**
 * vgpu_crc32c() - CRC32C (Castagnoli) of a byte string
 * @crc: 0 to begin, or the CRC of what came before
 * @buf: bytes, any alignment; may be NULL when @bytes is 0
 * @bytes: how many
 *
 * Source: RFC 3720, 12.1 and B.4; polynomial 0x1EDC6F41, reflected, inverted in and out.
 *
 * Context: Any thread. Allocates nothing.
 * Return: CRC of everything so far.
 */
uint32_t vgpu_crc32c(uint32_t crc, const void *buf, size_t bytes);

/**
 * vgpu_crc32c_combine() - CRC of two strings in a row from the CRC of each
 * @first: CRC of the first string
 * @second: CRC of the second, begun with 0
 * @second_bytes: length of the second, below 2^61
 *
 * Context: Any thread. About a microsecond.
 * Return: CRC of both.
 */
uint32_t vgpu_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_bytes);

/* Ways to compute it, each needing more of the CPU than the one before. */
enum vgpu_crc32c_level {
	VGPU_CRC32C_REF,	/* one table lookup a byte: the definition of correct */
	VGPU_CRC32C_WORDS,	/* exclusive or of words, any CPU; long strings only */
	VGPU_CRC32C_SSE42,	/* crc32 instruction, three streams at once */
	VGPU_CRC32C_AVX512,	/* carry-less multiplication, 256 bytes at a time */
	VGPU_CRC32C_LEVELS,
};

/**
 * vgpu_crc32c_level() - the highest this CPU has, which vgpu_crc32c() uses
 *
 * But where that is the slower one, as it is on an emulated CPU, it does what is long by words.
 */
enum vgpu_crc32c_level vgpu_crc32c_level(void);

/** vgpu_crc32c_at() - vgpu_crc32c() at a given level, at most vgpu_crc32c_level() */
uint32_t vgpu_crc32c_at(enum vgpu_crc32c_level level, uint32_t crc, const void *buf,
			size_t bytes);

#endif

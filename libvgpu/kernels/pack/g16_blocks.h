/* SPDX-License-Identifier: MIT */
/*
 * Blocks of GGUF taken apart into what g16_type.h lays out: codes as they are, and headers.
 *
 * Plain loops, which every level compiles for itself.
 *
 * Source: the structures' layout, https://github.com/ggml-org/ggml, src/ggml-common.h.
 */
#ifndef VGPU_PACK_G16_BLOCKS_H
#define VGPU_PACK_G16_BLOCKS_H

#include <errno.h>
#include <string.h>

#include "kernels/pack/blocks.h"
#include "kernels/pack/g16_type.h"

#define VGPU_G16_INLINE static inline __attribute__((always_inline))

/* The low nibbles of 16 bytes, then the high ones. */
VGPU_G16_INLINE void vgpu_codes_nibbles(const uint8_t *bytes, uint8_t out[32])
{
	for (uint32_t j = 0; j < 16; j++) {
		out[j] = bytes[j] & 15;
		out[j + 16] = bytes[j] >> 4;
	}
}

/* Of each 8 bytes the low nibbles, then the high ones. */
VGPU_G16_INLINE void vgpu_codes_eights(const uint8_t *bytes, uint8_t out[32])
{
	for (uint32_t j = 0; j < 16; j++) {
		out[j / 8 * 16 + j % 8] = bytes[j] & 15;
		out[j / 8 * 16 + j % 8 + 8] = bytes[j] >> 4;
	}
}

/* Bit j of 32 becomes the fifth bit of code j, eight at a time: bit j of byte j, then bit 4. */
VGPU_G16_INLINE void vgpu_codes_fifth(const uint8_t *bits, uint8_t out[32])
{
	const uint64_t ones = 0x0101010101010101u;

	for (uint32_t j = 0; j < 4; j++) {
		uint64_t x = (bits[j] * ones & 0x8040201008040201u) + 127 * ones, codes;

		memcpy(&codes, out + 8 * j, sizeof(codes));
		codes |= (x >> 7 & ones) << 4;
		memcpy(out + 8 * j, &codes, sizeof(codes));
	}
}

/* The low or the high (shift 4) nibbles of 32 bytes. */
VGPU_G16_INLINE void vgpu_codes_half(const uint8_t *bytes, uint32_t shift, uint8_t out[32])
{
	for (uint32_t j = 0; j < 32; j++)
		out[j] = bytes[j] >> shift & 15;
}

/* Bits shift .. of byte j, of which mask says how many, are the upper ones of code j. */
VGPU_G16_INLINE void vgpu_codes_upper(const uint8_t *bytes, uint32_t shift, uint32_t mask,
				      uint8_t out[32])
{
	for (uint32_t j = 0; j < 32; j++)
		out[j] = (uint8_t)(out[j] | (bytes[j] >> shift & mask) << 4);
}

/* Codes 32 i .. 32 i + 31 of a block. */
VGPU_G16_INLINE void vgpu_codes_of_block(enum vgpu_wformat source, const uint8_t *block,
					 uint32_t i, uint8_t out[32])
{
	switch (source) {
	case VGPU_W_Q4_0:		/* {f16 d, u8 qs[16]} */
		vgpu_codes_nibbles(block + 2, out);
		break;
	case VGPU_W_Q4_1:		/* {f16 d, f16 m, u8 qs[16]} */
		vgpu_codes_nibbles(block + 4, out);
		break;
	case VGPU_W_Q5_0:		/* {f16 d, u8 qh[4], u8 qs[16]} */
		vgpu_codes_nibbles(block + 6, out);
		vgpu_codes_fifth(block + 2, out);
		break;
	case VGPU_W_Q5_1:		/* {f16 d, f16 m, u8 qh[4], u8 qs[16]} */
		vgpu_codes_nibbles(block + 8, out);
		vgpu_codes_fifth(block + 4, out);
		break;
	case VGPU_W_Q4_K:		/* {f16 d, f16 dmin, u8 scales[12], u8 qs[128]} */
		vgpu_codes_half(block + 16 + i / 2 * 32, i % 2 * 4, out);
		break;
	case VGPU_W_Q6_K:		/* {u8 ql[128], u8 qh[64], s8 scales[16], f16 d} */
		vgpu_codes_half(block + i / 4 * 64 + i % 2 * 32, i % 4 / 2 * 4, out);
		vgpu_codes_upper(block + 128 + i / 4 * 32, i % 4 * 2, 3, out);
		break;
	case VGPU_W_NVFP4:		/* {u8 d[4], u8 qs[32]} */
		vgpu_codes_eights(block + 4 + 16 * i, out);
		break;
	default:			/* Q5_K: as Q4_K, u8 qh[32] before qs */
		vgpu_codes_half(block + 48 + i / 2 * 32, i % 2 * 4, out);
		vgpu_codes_upper(block + 16, i, 1, out);
		break;
	}
}

/* What a block has beside its codes; @first: its first column in the tile. */
VGPU_G16_INLINE void vgpu_header_of_block(const struct vgpu_g16_type *type, uint8_t *tile,
					  uint32_t row, uint32_t first, const uint8_t *block)
{
	switch (type->header) {
	case VGPU_HEADER_F16_ZERO:	/* no blocks have it */
	case VGPU_HEADER_F16:
		memcpy(tile + first + 2 * row, block, 2);
		break;
	case VGPU_HEADER_PAIR:
		memcpy(tile + 2 * first + 4 * row, block, 4);
		break;
	case VGPU_HEADER_K6:
		for (uint32_t line = 0; line < 4; line++)
			memcpy(tile + 64 * line + 4 * row, block + 4 * line, 4);
		break;
	case VGPU_HEADER_S8:
		for (uint32_t line = 0; line < 4; line++)
			memcpy(tile + 64 * line + 4 * row, block + 192 + 4 * line, 4);
		memcpy(tile + 256 + 2 * row, block + 208, 2);
		break;
	case VGPU_HEADER_E4M3:
		memcpy(tile + 4 * row, block, 4);
		break;
	}
}

/* Exponent 31 is infinite or NaN. */
static inline bool vgpu_half_is_finite(const uint8_t *half)
{
	return (half[1] & 0x7c) != 0x7c;
}

static inline bool vgpu_header_is_finite(const struct vgpu_g16_type *type, const uint8_t *block)
{
	switch (type->header) {
	case VGPU_HEADER_F16_ZERO:
	case VGPU_HEADER_F16:
		return vgpu_half_is_finite(block);
	case VGPU_HEADER_PAIR:
	case VGPU_HEADER_K6:
		return vgpu_half_is_finite(block) && vgpu_half_is_finite(block + 2);
	case VGPU_HEADER_S8:
		return vgpu_half_is_finite(block + 208);
	case VGPU_HEADER_E4M3:
		break;
	}
	return true;
}

/**
 * vgpu_g16_regroup() - one group from rows of blocks
 * @dst: one unit of the type, 64-byte aligned
 * @src: first row, @row_bytes from the next
 * @rows: 1 .. 16; the others become zero
 * @put: writes 32 codes of a row to a block that begins at its row's lane
 *
 * All rows of a block before the next one: the lines they share are written while in L1.
 */
VGPU_G16_INLINE void vgpu_g16_regroup(const struct vgpu_g16_type *type, uint8_t *dst,
				      const uint8_t *src, size_t row_bytes, uint32_t rows, uint32_t k,
				      void (*put)(uint8_t *lane, uint32_t bits,
						  const uint8_t codes[32]))
{
	const struct vgpu_block_type *from = vgpu_block_type(type->source);
	uint32_t step = from->values / VGPU_BLOCK, blocks = k / VGPU_BLOCK;
	uint8_t codes[VGPU_BLOCK];

	/*
	 * Scales of what is not there, since zero times any code is zero, and bytes of S8's
	 * header that nobody writes.
	 */
	if (rows < VGPU_GROUP_ROWS || blocks % type->tile_blocks ||
	    type->header == VGPU_HEADER_S8)
		memset(dst, 0, vgpu_g16_bytes(type, k));
	for (uint32_t b = 0; b < blocks; b += step, src += from->bytes) {
		uint8_t *tile = dst + vgpu_g16_tile_at(type, b);
		uint8_t *block = dst + vgpu_g16_block_at(type, b);

		for (uint32_t row = 0; row < rows; row++) {
			const uint8_t *at = src + row * row_bytes;

			vgpu_header_of_block(type, tile, row, b % type->tile_blocks * VGPU_BLOCK, at);
			for (uint32_t i = 0; i < step; i++) {
				vgpu_codes_of_block(type->source, at, i, codes);
				put(block + i * vgpu_g16_block_bytes(type) + 4 * row, type->bits,
				    codes);
			}
		}
	}
}

/* 0, or what the table's pack_blocks says to a format, a k, or a header. */
static inline int vgpu_g16_check(const struct vgpu_g16_type *type, const uint8_t *src,
				 uint32_t rows, uint32_t k)
{
	const struct vgpu_block_type *from = type ? vgpu_block_type(type->source) : NULL;

	if (!from || k % from->values)
		return -EINVAL;
	for (size_t i = 0; i < (size_t)rows * (k / from->values); i++)
		if (!vgpu_header_is_finite(type, src + i * from->bytes))
			return -EDOM;
	return 0;
}

#endif

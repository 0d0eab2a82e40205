/* SPDX-License-Identifier: MIT */
/*
 * The packed layouts G16: 16 rows a group, one row a 32-bit lane of a 64-byte line.
 *
 * A group is a sequence of tiles of 4 blocks (128 columns); the last tile of a row
 * holds what is left, 1 to 4 blocks.  k is rounded up to whole blocks of 32 with
 * weights that are zero.  Every part starts on a multiple of 64 bytes.
 *
 * MXFP4_G16, a tile of b blocks is 64 + 256 b bytes:
 *	64 bytes	scales: byte 4 r + j is the E8M0 of row r, block j; 0 for j >= b
 *	256 b bytes	codes: line u (64 bytes) holds columns 8 u .. 8 u + 7; in byte
 *			64 u + 4 r + i the low nibble is row r, column 8 u + i, the high
 *			nibble column 8 u + 4 + i
 *
 * INT8_G16, a tile of b blocks is 128 + 512 b bytes:
 *	128 bytes	scales: f16 number 16 j + r is row r, block j; 0 for j >= b
 *	512 b bytes	codes: line u holds columns 4 u .. 4 u + 3; byte 64 u + 4 r + i is
 *			row r, column 4 u + i, as an unsigned q + 128
 *
 * The order of the columns within a line is what makes a mask and a shift (or one
 * byte lookup) yield four consecutive columns a lane, the operand of vpdpbusd.
 */
#ifndef VGPU_PACK_G16_H
#define VGPU_PACK_G16_H

#include "kernels/kernels.h"

#define VGPU_G16_TILE_BLOCKS	4u
#define VGPU_G16_TILE_COLS	(VGPU_G16_TILE_BLOCKS * VGPU_BLOCK)

#define VGPU_MXFP4_TILE_SCALES	64u
#define VGPU_MXFP4_BLOCK_CODES	256u
#define VGPU_MXFP4_TILE		(VGPU_MXFP4_TILE_SCALES + 4 * VGPU_MXFP4_BLOCK_CODES)

#define VGPU_INT8_TILE_SCALES	128u
#define VGPU_INT8_BLOCK_CODES	512u
#define VGPU_INT8_TILE		(VGPU_INT8_TILE_SCALES + 4 * VGPU_INT8_BLOCK_CODES)
/* Codes are stored unsigned; this one is zero. */
#define VGPU_INT8_ZERO		128u

/* Blocks of 32 that a row of k columns takes. */
static inline uint32_t vgpu_k_blocks(uint32_t k)
{
	return k / VGPU_BLOCK + (k % VGPU_BLOCK != 0);
}

/* Offset of row 0's scale of a block; rows are 4 bytes apart. */
static inline size_t vgpu_mxfp4_g16_scale(uint32_t block)
{
	return (size_t)(block / 4) * VGPU_MXFP4_TILE + block % 4;
}

/* Offset of the 256 bytes of codes of a block. */
static inline size_t vgpu_mxfp4_g16_codes(uint32_t block)
{
	return (size_t)(block / 4) * VGPU_MXFP4_TILE + VGPU_MXFP4_TILE_SCALES +
	       block % 4 * VGPU_MXFP4_BLOCK_CODES;
}

/* Offset of row 0's scale of a block; rows are one f16 apart. */
static inline size_t vgpu_int8_g16_scale(uint32_t block)
{
	return (size_t)(block / 4) * VGPU_INT8_TILE + block % 4 * 32;
}

/* Offset of the 512 bytes of codes of a block. */
static inline size_t vgpu_int8_g16_codes(uint32_t block)
{
	return (size_t)(block / 4) * VGPU_INT8_TILE + VGPU_INT8_TILE_SCALES +
	       block % 4 * VGPU_INT8_BLOCK_CODES;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The packed formats that keep the values of other blocks: one row of a table a format.
 *
 * Their layout is that of g16.h: groups of 16 rows, one row a 32-bit lane of a 64-byte line, a
 * sequence of tiles of columns.  A tile is its header, then its blocks of 32 columns.  A block is
 *
 *	256 bytes	the low four bits of its codes, as in MXFP4_G16: line u holds columns
 *			8 u .. 8 u + 7; in byte 64 u + 4 r + i the low nibble is row r, column
 *			8 u + i, the high nibble column 8 u + 4 + i
 *	64 bytes	codes of five bits: the fifth; bit t of byte 4 r + i is row r, column
 *			4 t + i
 *	128 bytes	codes of six bits: the upper two; line v holds columns 16 v .. 16 v + 15,
 *			bits 2 t, 2 t + 1 of byte 64 v + 4 r + i are row r, column 16 v + 4 t + i
 *
 * so that step t of a block, columns 4 t .. 4 t + 3, is a mask and a shift of each.
 *
 * Nothing is rounded: a header is what the blocks have beside their codes, in another order, and
 * as many bytes (Q6_K: and 32 a tile).  enum vgpu_g16_header says where it lies.
 */
#ifndef VGPU_PACK_G16_TYPE_H
#define VGPU_PACK_G16_TYPE_H

#include "kernels/kernels.h"
#include "kernels/pack/g16.h"

/*
 * Headers, in lines of 64 bytes from the tile's first byte on.
 *   F16	four scales a row: f16 number 16 j + r is that of row r, scale j
 *   F16_ZERO	as F16, and byte j of lane r of line 2 is the code of zero of row r, scale j
 *   PAIR	line j, lane r: f16 scale, then f16 minimum of row r, block j
 *   K6		8 blocks; lanes r of the four lines are what a block of Q4_K or Q5_K begins with:
 *		f16 d, f16 dmin, then 8 scales and 8 minima of 6 bits in 12 bytes
 *   S8		8 blocks; byte i of line l, lane r is the signed scale of columns 16 (4 l + i) ..
 *		of row r; f16 number r of line 4 multiplies them
 *   E4M3	2 blocks; byte i of lane r is the scale of columns 16 i .. of row r
 */
enum vgpu_g16_header {
	VGPU_HEADER_F16,
	VGPU_HEADER_F16_ZERO,
	VGPU_HEADER_PAIR,
	VGPU_HEADER_K6,
	VGPU_HEADER_S8,
	VGPU_HEADER_E4M3,
};

/*
 * What a block of 32 columns has beside its codes, and its value then is:
 *   PLAIN	(code - zero) * scale
 *   MINIMUM	code * scale + minimum, the sum rounded
 *   HALVES	as PLAIN, with a scale for each 16 columns
 */
enum vgpu_g16_kind {
	VGPU_KIND_PLAIN,
	VGPU_KIND_MINIMUM,
	VGPU_KIND_HALVES,
};

/**
 * struct vgpu_g16_type - one packed format
 * @format: its number
 * @source: the blocks that it is made from, which are an operand, too; 0 none
 * @header: how scales lie
 * @kind: what scales do
 * @header_bytes: of a tile, a multiple of 64
 * @tile_blocks: blocks of 32 columns in a tile; the last tile of a row may hold fewer
 * @bits: of a code, 4 .. 6; 8 in avx512/direct_int8.c, for whose format a row here would do
 * @zero: the code of zero
 * @e2m1: codes are E2M1, of which twice the value is taken, and half of the scales
 */
struct vgpu_g16_type {
	enum vgpu_wformat format, source;
	enum vgpu_g16_header header;
	enum vgpu_g16_kind kind;
	uint16_t header_bytes;
	uint8_t tile_blocks, bits, zero;
	bool e2m1;
};

/* The row of a packed format; NULL when it has none. */
const struct vgpu_g16_type *vgpu_g16_type(enum vgpu_wformat format);
/* The row of the packed format that keeps the values of blocks; NULL when there is none. */
const struct vgpu_g16_type *vgpu_g16_of_source(enum vgpu_wformat source);

/* What the blocks of a format have: PLAIN, where it has no row. */
enum vgpu_g16_kind vgpu_g16_kind(enum vgpu_wformat format);

static inline size_t vgpu_g16_block_bytes(const struct vgpu_g16_type *type)
{
	return VGPU_MXFP4_BLOCK_CODES + 64u * (type->bits - 4u);
}

/* Columns of a scale, of headers that have four. */
static inline uint32_t vgpu_g16_scale_cols(const struct vgpu_g16_type *type)
{
	return type->tile_blocks * VGPU_BLOCK / 4;
}

/* Offset of the tile that a block is in. */
static inline size_t vgpu_g16_tile_at(const struct vgpu_g16_type *type, uint32_t block)
{
	return (size_t)(block / type->tile_blocks) *
	       (type->header_bytes + type->tile_blocks * vgpu_g16_block_bytes(type));
}

/* Offset of a block. */
static inline size_t vgpu_g16_block_at(const struct vgpu_g16_type *type, uint32_t block)
{
	return vgpu_g16_tile_at(type, block) + type->header_bytes +
	       block % type->tile_blocks * vgpu_g16_block_bytes(type);
}

/* Bytes of a group. */
static inline size_t vgpu_g16_bytes(const struct vgpu_g16_type *type, uint32_t k)
{
	size_t blocks = vgpu_k_blocks(k);
	size_t tiles = (blocks + type->tile_blocks - 1) / type->tile_blocks;

	return tiles * type->header_bytes + blocks * vgpu_g16_block_bytes(type);
}

#endif

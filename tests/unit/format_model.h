/* SPDX-License-Identifier: MIT */
/* Bytes of matrices in blocks and in packed groups, as Documentation/kernels.md has them. */
#ifndef TESTS_UNIT_FORMAT_MODEL_H
#define TESTS_UNIT_FORMAT_MODEL_H

#include <core/deps.h>

typedef unsigned __int128 u128;

/**
 * struct m_blocks - a row-major format in blocks
 * @format: enum vb_format
 * @values: of a block
 * @bytes: of a block
 * @packed: enum vb_format of the groups that keep its values; 0: none
 * @weight: is it an operand itself
 */
struct m_blocks {
	u16 format, values, bytes, packed;
	bool weight;
};

/* GGUF's as its description has them, part by part. */
static const struct m_blocks m_blocks[] = {
	{ VB_FORMAT_MXFP4, 32, 1 + 16, VB_FORMAT_MXFP4_G16, true },
	{ VB_FORMAT_MXFP4_SPLIT, 32, 16, VB_FORMAT_MXFP4_G16, true },
	{ VB_FORMAT_Q8_0, 32, 2 + 32, VB_FORMAT_INT8_G16, true },
	{ VB_FORMAT_Q4_0, 32, 2 + 16, VB_FORMAT_Q4_0_G16, true },
	{ VB_FORMAT_Q4_1, 32, 2 + 2 + 16, VB_FORMAT_Q4_1_G16, true },
	{ VB_FORMAT_Q5_0, 32, 2 + 4 + 16, VB_FORMAT_Q5_0_G16, true },
	{ VB_FORMAT_Q5_1, 32, 2 + 2 + 4 + 16, VB_FORMAT_Q5_1_G16, true },
	{ VB_FORMAT_Q4_K, 256, 2 + 2 + 12 + 128, VB_FORMAT_Q4_K_G16, true },
	{ VB_FORMAT_Q5_K, 256, 2 + 2 + 12 + 32 + 128, VB_FORMAT_Q5_K_G16, true },
	{ VB_FORMAT_Q6_K, 256, 128 + 64 + 16 + 2, VB_FORMAT_Q6_K_G16, true },
	{ VB_FORMAT_NVFP4, 64, 4 + 32, VB_FORMAT_NVFP4_G16, true },
	{ VB_FORMAT_Q2_K, 256, 16 + 64 + 2 + 2, 0, false },
	{ VB_FORMAT_Q3_K, 256, 32 + 64 + 12 + 2, 0, false },
	{ VB_FORMAT_IQ4_NL, 32, 2 + 16, 0, false },
	{ VB_FORMAT_IQ4_XS, 256, 2 + 2 + 4 + 128, 0, false },
	{ VB_FORMAT_F8_E4M3, 1, 1, 0, false },
	{ VB_FORMAT_F8_E5M2, 1, 1, 0, false },
	{ VB_FORMAT_TQ1_0, 256, 48 + 4 + 2, 0, false },
	{ VB_FORMAT_TQ2_0, 256, 64 + 2, 0, false },
	{ VB_FORMAT_F64, 1, 8, 0, false },
	{ VB_FORMAT_Q8_K, 256, 4 + 256 + 2 * 16, 0, false },
	{ VB_FORMAT_IQ1_S, 256, 2 + 32 + 2 * 8, 0, false },
	{ VB_FORMAT_IQ1_M, 256, 32 + 16 + 2 * 4, 0, false },
	{ VB_FORMAT_IQ2_XXS, 256, 2 + 2 * 32, 0, false },
	{ VB_FORMAT_IQ2_XS, 256, 2 + 2 * 32 + 8, 0, false },
	{ VB_FORMAT_IQ2_S, 256, 2 + 64 + 8 + 8, 0, false },
	{ VB_FORMAT_IQ3_XXS, 256, 2 + 64 + 32, 0, false },
	{ VB_FORMAT_IQ3_S, 256, 2 + 64 + 8 + 32 + 4, 0, false },
	{ VB_FORMAT_Q1_0, 128, 2 + 128 / 8, 0, false },
	{ VB_FORMAT_F4_E2M1, 2, 1, 0, false },
};
#define M_BLOCKS	(sizeof(m_blocks) / sizeof(m_blocks[0]))

/**
 * struct m_groups - a packed format
 * @format: enum vb_format
 * @cols: columns come in multiples of this
 * @tile: columns of a tile
 * @header: bytes in front of it
 * @block: bytes of 32 columns: nibbles, then the bits above them
 */
struct m_groups {
	u16 format, cols, tile, header, block;
};

static const struct m_groups m_groups[] = {
	{ VB_FORMAT_MXFP4_G16, 1, 128, 64, 256 },
	{ VB_FORMAT_INT8_G16, 1, 128, 128, 256 + 4 * 64 },
	{ VB_FORMAT_Q4_0_G16, 32, 128, 128, 256 },
	{ VB_FORMAT_Q4_1_G16, 32, 128, 256, 256 },
	{ VB_FORMAT_Q5_0_G16, 32, 128, 128, 256 + 64 },
	{ VB_FORMAT_Q5_1_G16, 32, 128, 256, 256 + 64 },
	{ VB_FORMAT_Q4_K_G16, 256, 256, 256, 256 },
	{ VB_FORMAT_Q5_K_G16, 256, 256, 256, 256 + 64 },
	{ VB_FORMAT_Q6_K_G16, 256, 256, 320, 256 + 2 * 64 },
	{ VB_FORMAT_NVFP4_G16, 64, 64, 64, 256 },
	{ VB_FORMAT_INT4_64_G16, 64, 256, 128, 256 },
	{ VB_FORMAT_INT4_128_G16, 128, 512, 128, 256 },
	{ VB_FORMAT_INT4_Z32_G16, 32, 128, 192, 256 },
	{ VB_FORMAT_INT4_Z64_G16, 64, 256, 192, 256 },
	{ VB_FORMAT_INT4_Z128_G16, 128, 512, 192, 256 },
};
#define M_GROUPS	(sizeof(m_groups) / sizeof(m_groups[0]))

static inline const struct m_blocks *m_blocks_of(u16 format)
{
	for (size_t i = 0; i < M_BLOCKS; i++)
		if (m_blocks[i].format == format)
			return &m_blocks[i];
	return NULL;
}

static inline const struct m_groups *m_groups_of(u16 format)
{
	for (size_t i = 0; i < M_GROUPS; i++)
		if (m_groups[i].format == format)
			return &m_groups[i];
	return NULL;
}

/* Bytes of [rows][cols]; 0: it is in neither, or cannot have so many columns. */
static inline u128 m_blocks_bytes(u16 format, u64 rows, u64 cols)
{
	const struct m_blocks *b = m_blocks_of(format);
	const struct m_groups *g = m_groups_of(format);

	if (b)
		return cols % b->values ? 0 : (u128)rows * (cols / b->values) * b->bytes;
	if (!g || cols % g->cols)
		return 0;
	return (u128)((rows + 15) / 16) *
	       ((cols + 31) / 32 * g->block + (cols + g->tile - 1) / g->tile * g->header);
}

#endif

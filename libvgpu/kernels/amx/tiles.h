/* SPDX-License-Identifier: MIT */
/*
 * The tile registers: eight, of 16 lines of 64 bytes each.  0 .. 3 add up results, 4 and 5
 * hold weights, 6 and 7 activations.
 *
 * One TDPBF16PS adds to 16 x 16 results the products of 32 columns.  It reads the weights as
 * 16 lines of 2 columns by 16 rows, which is how the AVX-512 level has them in A16
 * (avx512/slab.h), and the activations as a line of 32 columns a row.
 *
 * A thread's tiles are 8 KiB that each switch of processes saves while they are in use:
 * whoever configures them releases them before it returns.
 */
#ifndef VGPU_AMX_TILES_H
#define VGPU_AMX_TILES_H

#include <immintrin.h>
#include <stdint.h>

#define VGPU_TILE_ROWS	16u
#define VGPU_TILE_BYTES	1024u

/* Source: Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 1, 18.3. */
struct vgpu_tile_config {
	uint8_t palette, start_row, reserved[14];
	uint16_t line_bytes[16];
	uint8_t lines[16];
} __attribute__((aligned(64)));

static inline void vgpu_tiles_configure(const struct vgpu_tile_config *c)
{
	/* GCC's intrinsic names eight bytes of it, and the compiler leaves out the others. */
	__asm__ volatile("" : : "m"(*c));
	_tile_loadconfig(c);
}

/*
 * Activations in two tiles, of so many rows each, 1 .. 16: their results are in 0, 1 and 2, 3.
 * @pairs: of columns, in weights and activations; 16 are a block
 */
static inline void vgpu_tiles_two(uint32_t top, uint32_t low, uint32_t pairs)
{
	struct vgpu_tile_config c = {
		.palette = 1, .lines = { top, top, low, low, pairs, pairs, top, low },
	};

	for (int i = 0; i < 8; i++)
		c.line_bytes[i] = i < 6 ? 64 : (uint16_t)(4 * pairs);
	vgpu_tiles_configure(&c);
}

#endif

// SPDX-License-Identifier: MIT
#include "kernels/pack/run8.h"

#include "kernels/pack/mxfp4.h"

/* The exponent of a row's block. */
static uint32_t exponent(const uint8_t *group, uint32_t row, uint32_t block)
{
	return group[(size_t)(block / 4) * VGPU_MXFP4_TILE + row * 4 + block % 4];
}

static bool run_fits(const uint8_t *group, uint32_t row, uint32_t first, uint32_t end)
{
	uint32_t least = VGPU_RUN_MOST, most = VGPU_RUN_LEAST;

	for (uint32_t b = first; b < end; b++) {
		uint32_t e = exponent(group, row, b);

		if (e < VGPU_RUN_LEAST || e > VGPU_RUN_MOST)
			return false;
		least = e < least ? e : least;
		most = e > most ? e : most;
	}
	return most - least <= VGPU_RUN_SPREAD;
}

/* Blocks first .. end - 1 of a group of 16 rows. */
static bool chunk_fits(const uint8_t *group, uint32_t first, uint32_t end)
{
	for (uint32_t b = first; b < end; b += VGPU_RUN_BLOCKS) {
		uint32_t last = end - b < VGPU_RUN_BLOCKS ? end : b + VGPU_RUN_BLOCKS;

		for (uint32_t row = 0; row < VGPU_GROUP_ROWS; row++)
			if (!run_fits(group, row, b, last))
				return false;
	}
	return true;
}

uint64_t vgpu_run8_share(const struct vgpu_panel *w, uint64_t *out_all)
{
	const size_t bytes = vgpu_weight_unit_bytes(w->format, w->k);
	const uint32_t blocks = (w->k + VGPU_BLOCK - 1) / VGPU_BLOCK, step = VGPU_RUN_CHUNK / VGPU_BLOCK;
	const uint8_t *group = w->data;
	uint64_t fit = 0;

	*out_all = 0;
	for (uint32_t row = 0; row < w->rows; row += VGPU_GROUP_ROWS, group += bytes)
		for (uint32_t b = 0; b < blocks; b += step, ++*out_all)
			fit += chunk_fits(group, b, blocks - b < step ? blocks : b + step);
	return fit;
}

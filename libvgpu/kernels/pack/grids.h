/* SPDX-License-Identifier: MIT */
/*
 * Codebooks of GGUF's IQ types: an index of a block names eight values (IQ1, IQ2) or four
 * (IQ3). Two or three bits a value, the first one lowest: its place among those of the type.
 */
#ifndef VGPU_PACK_GRIDS_H
#define VGPU_PACK_GRIDS_H

#include <stdint.h>

extern const uint16_t vgpu_grid_iq1[2048];
extern const uint16_t vgpu_grid_iq2_xxs[256];
extern const uint16_t vgpu_grid_iq2_xs[512];
extern const uint16_t vgpu_grid_iq2_s[1024];
extern const uint16_t vgpu_grid_iq3_xxs[256];
extern const uint16_t vgpu_grid_iq3_s[512];

#endif

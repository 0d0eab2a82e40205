/* SPDX-License-Identifier: MIT */
/* The rows of the table of pack/g16_type.h, for those who want them as constants. */
#ifndef VGPU_PACK_G16_ROWS_H
#define VGPU_PACK_G16_ROWS_H

#include "kernels/pack/g16_type.h"

#define VGPU_G16_ROW(name, source, header, kind, header_bytes, tile_blocks, bits, zero, e2m1) \
	{ VGPU_W_##name##_G16, source, VGPU_HEADER_##header, VGPU_KIND_##kind, header_bytes, \
	  tile_blocks, bits, zero, e2m1 }

#define VGPU_G16_Q4_0	VGPU_G16_ROW(Q4_0, VGPU_W_Q4_0, F16, PLAIN, 128, 4, 4, 8, false)
#define VGPU_G16_Q4_1	VGPU_G16_ROW(Q4_1, VGPU_W_Q4_1, PAIR, MINIMUM, 256, 4, 4, 0, false)
#define VGPU_G16_Q5_0	VGPU_G16_ROW(Q5_0, VGPU_W_Q5_0, F16, PLAIN, 128, 4, 5, 16, false)
#define VGPU_G16_Q5_1	VGPU_G16_ROW(Q5_1, VGPU_W_Q5_1, PAIR, MINIMUM, 256, 4, 5, 0, false)
#define VGPU_G16_Q4_K	VGPU_G16_ROW(Q4_K, VGPU_W_Q4_K, K6, MINIMUM, 256, 8, 4, 0, false)
#define VGPU_G16_Q5_K	VGPU_G16_ROW(Q5_K, VGPU_W_Q5_K, K6, MINIMUM, 256, 8, 5, 0, false)
#define VGPU_G16_Q6_K	VGPU_G16_ROW(Q6_K, VGPU_W_Q6_K, S8, HALVES, 320, 8, 6, 32, false)
#define VGPU_G16_NVFP4	VGPU_G16_ROW(NVFP4, VGPU_W_NVFP4, E4M3, HALVES, 64, 2, 4, 0, true)
#define VGPU_G16_INT4(cols) \
	VGPU_G16_ROW(INT4_##cols, 0, F16, PLAIN, 128, (cols) / 8, 4, 8, false)
#define VGPU_G16_INT4_Z(cols) \
	VGPU_G16_ROW(INT4_Z##cols, 0, F16_ZERO, PLAIN, 192, (cols) / 8, 4, 0, false)

#endif

// SPDX-License-Identifier: MIT
#include "kernels/amx/single.h"

#include "kernels/amx/act.h"

vgpu_single_product *vgpu_single_of(enum vgpu_wformat format)
{
	switch (format) {
	case VGPU_W_INT8_G16:
		return vgpu_single_int8;
	case VGPU_W_Q4_0_G16:
		return vgpu_single_q4_0;
	case VGPU_W_Q4_1_G16:
		return vgpu_single_q4_1;
	case VGPU_W_Q5_0_G16:
		return vgpu_single_q5_0;
	case VGPU_W_Q5_1_G16:
		return vgpu_single_q5_1;
	case VGPU_W_Q4_K_G16:
		return vgpu_single_q4_k;
	case VGPU_W_Q5_K_G16:
		return vgpu_single_q5_k;
	case VGPU_W_Q6_K_G16:
		return vgpu_single_q6_k;
	case VGPU_W_NVFP4_G16:
		return vgpu_single_nvfp4;
	case VGPU_W_INT4_64_G16:
		return vgpu_single_int4_64;
	case VGPU_W_INT4_128_G16:
		return vgpu_single_int4_128;
	case VGPU_W_INT4_Z32_G16:
		return vgpu_single_int4_z32;
	case VGPU_W_INT4_Z64_G16:
		return vgpu_single_int4_z64;
	case VGPU_W_INT4_Z128_G16:
		return vgpu_single_int4_z128;
	default:
		return NULL;
	}
}

/*
 * Products of weights that are integers with BF16 numbers of at least 2^-119 are multiples of
 * 2^-126, and so are their sums: none is subnormal, which a tile would count for zero.
 */
#define SMALLEST_BF16	((127 - 119) << 7)
#define INFINITE_BF16	0x7f80

static bool line_is_calm(__m512i line)
{
	__m512i size = _mm512_and_si512(line, _mm512_set1_epi16(0x7fff));
	__m512i less = _mm512_sub_epi16(size, _mm512_set1_epi16(1));

	/* 0 less 1 is the largest. */
	return !_mm512_cmplt_epu16_mask(less, _mm512_set1_epi16(SMALLEST_BF16 - 1)) &&
	       !_mm512_cmpge_epu16_mask(size, _mm512_set1_epi16(INFINITE_BF16));
}

static bool line_open(float to[32], const uint8_t *from)
{
	__m512i line = _mm512_load_si512(from);
	__m512i second = _mm512_and_si512(line, _mm512_set1_epi32((int)0xffff0000));

	_mm512_store_ps(to, _mm512_castsi512_ps(_mm512_slli_epi32(line, 16)));
	_mm512_store_ps(to + 16, _mm512_castsi512_ps(second));
	return line_is_calm(line);
}

bool vgpu_single_open(struct vgpu_single *s, struct vgpu_single_acts *acts,
		      const struct vgpu_acts *x)
{
	struct vgpu_amx_acts a = vgpu_amx_acts_at(x, 0, 0);
	bool calm = true;

	*s = (struct vgpu_single){ .acts = acts, .is_low = a.low, .sum = a.sum,
				   .blocks = x->kpad / VGPU_BLOCK };
	if (s->blocks > VGPU_SINGLE_BLOCKS)
		return false;
	for (uint32_t b = 0; b < s->blocks && calm; b++) {
		calm = line_open(acts[b].high, a.lines + b * 128);
		if (a.low[b])
			calm = line_open(acts[b].low, a.lines + b * 128 + 64) && calm;
	}
	return calm;
}

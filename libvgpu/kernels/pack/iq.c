// SPDX-License-Identifier: MIT
/* Source: the structures' layout, https://github.com/ggml-org/ggml, src/ggml-common.h. */
#include "kernels/pack/iq.h"

#include <stdbool.h>

#include "kernels/pack/grids.h"
#include "kernels/pack/half.h"

static const int8_t iq2_values[4] = { 8, 25, 43, 0 };
static const int8_t iq3_xxs_values[8] = { 4, 12, 20, 28, 36, 44, 52, 62 };
static const int8_t iq3_s_values[8] = { 1, 3, 5, 7, 9, 11, 13, 15 };

static uint32_t u16_at(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32_at(const uint8_t *p)
{
	return u16_at(p) | u16_at(p + 2) << 16;
}

static float f16_at(const uint8_t *p)
{
	return vgpu_f16_to_f32((uint16_t)u16_at(p));
}

/* Nibble i of some bytes, the low one of each first. */
static uint32_t nibble(const uint8_t *bytes, uint32_t i)
{
	return bytes[i / 2] >> i % 2 * 4 & 15;
}

/* Seven signs; the eighth makes their number even. */
static uint32_t even_signs(uint32_t seven)
{
	return seven | ((uint32_t)__builtin_popcount(seven) & 1) << 7;
}

/* Eight values of an IQ2 entry; bit j of @signs: value j is negative. */
static void put_iq2(uint32_t entry, uint32_t signs, float scale, float *out)
{
	for (uint32_t j = 0; j < 8; j++)
		out[j] = (signs >> j & 1 ? -scale : scale) * (float)iq2_values[entry >> 2 * j & 3];
}

/* Four values of an IQ3 entry. */
static void put_iq3(const int8_t values[8], uint32_t entry, uint32_t signs, float scale,
		    float *out)
{
	for (uint32_t j = 0; j < 4; j++)
		out[j] = (signs >> j & 1 ? -scale : scale) * (float)values[entry >> 3 * j & 7];
}

/* Eight of -1, 0, 1 from an IQ1 entry, moved up by an eighth or down. */
static void put_iq1(uint32_t entry, bool down, float scale, float *out)
{
	float moved = down ? -1.125f : -0.875f;

	for (uint32_t j = 0; j < 8; j++)
		out[j] = scale * ((float)(entry >> 2 * j & 3) + moved);
}

/* {f16 d, {u8 index[4], u32 signs and scale}[8]}: four times 7 signs, 4 bits of scale */
void vgpu_iq2_xxs_decode(const uint8_t *block, float *out)
{
	float d = f16_at(block);

	for (uint32_t n = 0; n < 32; n++) {
		const uint8_t *part = block + 2 + n / 4 * 8;
		uint32_t word = u32_at(part + 4);

		put_iq2(vgpu_grid_iq2_xxs[part[n % 4]], even_signs(word >> n % 4 * 7 & 127),
			d * (0.5f + (float)(word >> 28)) * 0.25f, out + 8 * n);
	}
}

/* {f16 d, u16 qs[32], u8 scales[8]}: 9 bits of index, 7 signs; a nibble of scale a 16 values */
void vgpu_iq2_xs_decode(const uint8_t *block, float *out)
{
	float d = f16_at(block);

	for (uint32_t n = 0; n < 32; n++) {
		uint32_t word = u16_at(block + 2 + 2 * n);

		put_iq2(vgpu_grid_iq2_xs[word & 511], even_signs(word >> 9),
			d * (0.5f + (float)nibble(block + 66, n / 2)) * 0.25f, out + 8 * n);
	}
}

/* {f16 d, u8 qs[32], u8 signs[32], u8 qh[8], u8 scales[8]}: two bits more of each index in qh */
void vgpu_iq2_s_decode(const uint8_t *block, float *out)
{
	float d = f16_at(block);

	for (uint32_t n = 0; n < 32; n++) {
		uint32_t high = block[66 + n / 4] >> n % 4 * 2 & 3;

		put_iq2(vgpu_grid_iq2_s[block[2 + n] | high << 8], block[34 + n],
			d * (0.5f + (float)nibble(block + 74, n / 2)) * 0.25f, out + 8 * n);
	}
}

/* {f16 d, u8 qs[64], u32 signs and scale[8]} */
void vgpu_iq3_xxs_decode(const uint8_t *block, float *out)
{
	float d = f16_at(block);

	for (uint32_t n = 0; n < 64; n++) {
		uint32_t word = u32_at(block + 66 + n / 8 * 4);
		uint32_t signs = even_signs(word >> n / 2 % 4 * 7 & 127);

		put_iq3(iq3_xxs_values, vgpu_grid_iq3_xxs[block[2 + n]], signs >> n % 2 * 4,
			d * (0.5f + (float)(word >> 28)) * 0.5f, out + 4 * n);
	}
}

/* {f16 d, u8 qs[64], u8 qh[8], u8 signs[32], u8 scales[4]}: a nibble of scale a 32 values */
void vgpu_iq3_s_decode(const uint8_t *block, float *out)
{
	float d = f16_at(block);

	for (uint32_t n = 0; n < 64; n++) {
		uint32_t high = block[66 + n / 8] >> n % 8 & 1;

		put_iq3(iq3_s_values, vgpu_grid_iq3_s[block[2 + n] | high << 8],
			nibble(block + 74, n), d * (float)(1 + 2 * nibble(block + 106, n / 8)),
			out + 4 * n);
	}
}

/* {f16 d, u8 qs[32], u16 qh[8]}: four times 3 bits of index, 3 of scale, which way it is moved */
void vgpu_iq1_s_decode(const uint8_t *block, float *out)
{
	float d = f16_at(block);

	for (uint32_t n = 0; n < 32; n++) {
		uint32_t word = u16_at(block + 34 + n / 4 * 2), high = word >> n % 4 * 3 & 7;

		put_iq1(vgpu_grid_iq1[block[2 + n] | high << 8], word >> 15,
			d * (float)(1 + 2 * (word >> 12 & 7)), out + 8 * n);
	}
}

/*
 * {u8 qs[32], u8 qh[16], u16 scales[4]}: a nibble of qh has 3 bits of index and which way it
 * is moved; a word of scales has four of 3 bits, each for 16 values, and 4 bits of the F16.
 */
void vgpu_iq1_m_decode(const uint8_t *block, float *out)
{
	const uint8_t *scales = block + 48;
	uint32_t half = 0;
	float d;

	for (uint32_t i = 0; i < 4; i++)
		half |= u16_at(scales + 2 * i) >> 12 << 4 * i;
	d = vgpu_f16_to_f32((uint16_t)half);
	for (uint32_t n = 0; n < 32; n++) {
		uint32_t scale = u16_at(scales + n / 8 * 2) >> n / 2 % 4 * 3 & 7;
		uint32_t high = nibble(block + 32, n);

		put_iq1(vgpu_grid_iq1[block[n] | (high & 7) << 8], high >> 3,
			d * (float)(1 + 2 * scale), out + 8 * n);
	}
}

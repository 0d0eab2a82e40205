// SPDX-License-Identifier: MIT
/*
 * Source: the structures' layout, https://github.com/ggml-org/ggml, src/ggml-common.h;
 * OCP 8-bit Floating Point Specification (OFP8) v1.0, section 5; OCP Microscaling Formats
 * v1.0, section 5.3.3.
 */
#include "kernels/pack/blocks.h"

#include <errno.h>
#include <string.h>

#include "kernels/pack/e4m3.h"
#include "kernels/pack/g16.h"
#include "kernels/pack/half.h"
#include "kernels/pack/iq.h"

static float f16_at(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof(h));
	return vgpu_f16_to_f32(h);
}

static uint32_t u32_at(const uint8_t *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

/* --- blocks of 32 whole numbers with one scale --------------------------- */

/* Value j is the low nibble of byte j, value j + half the high one. */
static void nibbles(const uint8_t *bytes, uint32_t half, int8_t *out)
{
	for (uint32_t j = 0; j < half; j++) {
		out[j] = (int8_t)(bytes[j] & 15);
		out[j + half] = (int8_t)(bytes[j] >> 4);
	}
}

/* Nibbles with a fifth bit from @high, bit j for value j. */
static void five_bits(const uint8_t *high, const uint8_t *bytes, int8_t *out)
{
	uint32_t bits = u32_at(high);

	nibbles(bytes, 16, out);
	for (uint32_t j = 0; j < 32; j++)
		out[j] = (int8_t)(out[j] | (bits >> j & 1) << 4);
}

static void look_up(const int8_t table[16], const uint8_t *bytes, int8_t *out)
{
	nibbles(bytes, 16, out);
	for (uint32_t j = 0; j < 32; j++)
		out[j] = table[out[j]];
}

static void q4_0_codes(const uint8_t *block, int8_t *out)
{
	nibbles(block + 2, 16, out);
	for (uint32_t j = 0; j < 32; j++)
		out[j] = (int8_t)(out[j] - 8);
}

static void q5_0_codes(const uint8_t *block, int8_t *out)
{
	five_bits(block + 2, block + 6, out);
	for (uint32_t j = 0; j < 32; j++)
		out[j] = (int8_t)(out[j] - 16);
}

static void q8_0_codes(const uint8_t *block, int8_t *out)
{
	memcpy(out, block + 2, 32);
}

static const int8_t iq4_values[16] = {
	-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
};

static void iq4_nl_codes(const uint8_t *block, int8_t *out)
{
	look_up(iq4_values, block + 2, out);
}

static void scaled(const int8_t *codes, uint32_t n, float scale, float *out)
{
	for (uint32_t j = 0; j < n; j++)
		out[j] = (float)codes[j] * scale;
}

/* --- with a minimum ------------------------------------------------------ */

static void shifted(const int8_t *codes, uint32_t n, float scale, float minimum, float *out)
{
	for (uint32_t j = 0; j < n; j++)
		out[j] = (float)codes[j] * scale + minimum;
}

static void q4_1(const uint8_t *block, float *out)
{
	int8_t codes[32];

	nibbles(block + 4, 16, codes);
	shifted(codes, 32, f16_at(block), f16_at(block + 2), out);
}

static void q5_1(const uint8_t *block, float *out)
{
	int8_t codes[32];

	five_bits(block + 4, block + 8, codes);
	shifted(codes, 32, f16_at(block), f16_at(block + 2), out);
}

/* --- super-blocks of 256: 8 or 16 scales that share an F16 ---------------- */

/*
 * Two bits a value: the 128 values of a half lie in 32 bytes, values 32 i .. 32 i + 31 in
 * bits 2 i of each.
 */
static void two_bits(const uint8_t *bytes, uint32_t i, int8_t out[32])
{
	const uint8_t *half = bytes + i / 4 * 32;

	for (uint32_t j = 0; j < 32; j++)
		out[j] = (int8_t)(half[j] >> i % 4 * 2 & 3);
}

/* {u8 scales[16], u8 qs[64], f16 d, f16 dmin}; a scale is 4 bits, its minimum 4 above. */
static void q2_k(const uint8_t *block, float *out)
{
	float d = f16_at(block + 80), dmin = f16_at(block + 82);
	int8_t codes[32];

	for (uint32_t i = 0; i < 16; i++) {
		if (i % 2 == 0)
			two_bits(block + 16, i / 2, codes);
		shifted(codes + i % 2 * 16, 16, d * (float)(block[i] & 15),
			-(dmin * (float)(block[i] >> 4)), out + 16 * i);
	}
}

/* 16 scales of 6 bits: 4 low ones in 8 bytes as nibbles, 2 high ones in 4 bytes. */
static void q3_k_scales(const uint8_t *bytes, int8_t out[16])
{
	nibbles(bytes, 8, out);
	for (uint32_t i = 0; i < 16; i++)
		out[i] = (int8_t)((out[i] | (bytes[8 + i % 4] >> i / 4 * 2 & 3) << 4) - 32);
}

/* {u8 hmask[32], u8 qs[64], u8 scales[12], f16 d}; bit i of a mask: four are not taken off. */
static void q3_k(const uint8_t *block, float *out)
{
	float d = f16_at(block + 108);
	int8_t codes[32], scales[16];

	q3_k_scales(block + 96, scales);
	for (uint32_t i = 0; i < 8; i++) {
		two_bits(block + 32, i, codes);
		for (uint32_t j = 0; j < 32; j++)
			codes[j] = (int8_t)(codes[j] - (block[j] >> i & 1 ? 0 : 4));
		scaled(codes, 16, d * (float)scales[2 * i], out + 32 * i);
		scaled(codes + 16, 16, d * (float)scales[2 * i + 1], out + 32 * i + 16);
	}
}

/* Scale and minimum i of 8, 6 bits each in 12 bytes: 0 .. 3 whole, 4 .. 7 in two parts. */
static void six_bits(const uint8_t *bytes, uint32_t i, float *scale, float *minimum)
{
	const uint8_t *low = bytes + 4 + i;

	if (i < 4) {
		*scale = (float)(bytes[i] & 63);
		*minimum = (float)(bytes[i + 4] & 63);
		return;
	}
	*scale = (float)((*low & 15) | bytes[i - 4] >> 6 << 4);
	*minimum = (float)(*low >> 4 | bytes[i] >> 6 << 4);
}

/* Four bits a value: values 64 i .. are the low nibbles of 32 bytes, those 32 on the high. */
static void k_nibbles(const uint8_t *block, const uint8_t *high, const uint8_t *bytes, float *out)
{
	float d = f16_at(block), dmin = f16_at(block + 2), scale, minimum;
	int8_t codes[64];

	for (uint32_t i = 0; i < 8; i++) {
		int8_t *part = codes + i % 2 * 32;

		if (i % 2 == 0)
			nibbles(bytes + i / 2 * 32, 32, codes);
		for (uint32_t j = 0; high && j < 32; j++)
			part[j] = (int8_t)(part[j] | (high[j] >> i & 1) << 4);
		six_bits(block + 4, i, &scale, &minimum);
		shifted(part, 32, d * scale, -(dmin * minimum), out + 32 * i);
	}
}

/* {f16 d, f16 dmin, u8 scales[12], u8 qs[128]} */
static void q4_k(const uint8_t *block, float *out)
{
	k_nibbles(block, NULL, block + 16, out);
}

/* {f16 d, f16 dmin, u8 scales[12], u8 qh[32], u8 qs[128]}; bit i of qh[j]: value 32 i + j. */
static void q5_k(const uint8_t *block, float *out)
{
	k_nibbles(block, block + 16, block + 48, out);
}

/* {u8 qs[64], f16 d}: -1, 0 or 1 */
static void tq2_0_codes(const uint8_t *block, int8_t *out)
{
	for (uint32_t i = 0; i < 8; i++)
		two_bits(block, i, out + 32 * i);
	for (uint32_t j = 0; j < 256; j++)
		out[j] = (int8_t)(out[j] - 1);
}

/*
 * Digits of base 3, the first one of each byte, then the second: a byte is the fraction
 * 0.d1 d2 d3 d4 d5 in base 3 times 256, rounded up.
 */
static void ternary(const uint8_t *bytes, uint32_t count, uint32_t digits, int8_t *out)
{
	uint32_t power = 1;

	for (uint32_t i = 0; i < digits; i++, power *= 3)
		for (uint32_t j = 0; j < count; j++)
			out[i * count + j] = (int8_t)(((bytes[j] * power & 255) * 3 >> 8) - 1);
}

/* {u8 qs[48], u8 qh[4], f16 d}: 32 bytes and 16 of five digits, then 4 of four */
static void tq1_0_codes(const uint8_t *block, int8_t *out)
{
	ternary(block, 32, 5, out);
	ternary(block + 32, 16, 5, out + 160);
	ternary(block + 48, 4, 4, out + 240);
}

/* {f16 d, u8 qs[16]}: bit j % 8 of byte j / 8 is 1 where value j is d, 0 where it is -d */
static void q1_0_codes(const uint8_t *block, int8_t *out)
{
	for (uint32_t j = 0; j < 128; j++)
		out[j] = block[2 + j / 8] >> j % 8 & 1 ? 1 : -1;
}

/* {u8 ql[128], u8 qh[64], s8 scales[16], f16 d} */
static void q6_k(const uint8_t *block, float *out)
{
	float d = f16_at(block + 208);
	int8_t low[128], codes[32];

	for (uint32_t i = 0; i < 8; i++) {
		if (i % 4 == 0)
			nibbles(block + i / 4 * 64, 64, low);
		two_bits(block + 128, i, codes);
		for (uint32_t j = 0; j < 32; j++)
			codes[j] = (int8_t)((low[i % 4 * 32 + j] | codes[j] << 4) - 32);
		scaled(codes, 16, d * (float)(int8_t)block[192 + 2 * i], out + 32 * i);
		scaled(codes + 16, 16, d * (float)(int8_t)block[193 + 2 * i], out + 32 * i + 16);
	}
}

/* {f16 d, u16 scales_h, u8 scales_l[4], u8 qs[128]}; a scale is 4 bits and 2 above. */
static void iq4_xs(const uint8_t *block, float *out)
{
	uint32_t high = block[2] | (uint32_t)block[3] << 8;
	float d = f16_at(block);
	int8_t codes[32];

	for (uint32_t i = 0; i < 8; i++) {
		int scale = (block[4 + i / 2] >> i % 2 * 4 & 15) | (int)(high >> 2 * i & 3) << 4;

		look_up(iq4_values, block + 8 + 16 * i, codes);
		scaled(codes, 32, d * (float)(scale - 32), out + 32 * i);
	}
}

/* {u8 d[4], u8 qs[32]}: 16 values a scale */
static void nvfp4(const uint8_t *block, float *out)
{
	static const int8_t values[16] = VGPU_E2M1_TWICE;
	int8_t codes[16];

	for (uint32_t i = 0; i < 4; i++) {
		nibbles(block + 4 + 8 * i, 8, codes);
		for (uint32_t j = 0; j < 16; j++)
			codes[j] = values[codes[j]];
		scaled(codes, 16, vgpu_half_e4m3(block[i]), out + 16 * i);
	}
}

/* {f32 d, s8 qs[256], s16 bsums[16]}: the sums are for products of integers */
static void q8_k(const uint8_t *block, float *out)
{
	int8_t codes[256];

	memcpy(codes, block + 4, sizeof(codes));
	for (uint32_t i = 0; i < 256; i += VGPU_BLOCK)
		scaled(codes + i, VGPU_BLOCK, vgpu_f32_from_bits(u32_at(block)), out + i);
}

/* --- single values: F64, OCP FP8, and two of FP4 --------------------------------------------- */

/* To the nearest F32; what is beyond them becomes infinite, which no packing takes. */
static void f64(const uint8_t *value, float *out)
{
	double d;

	memcpy(&d, value, sizeof(d));
	*out = (float)d;
}

/* Exponents begin at 2^-6; no infinity, and NaN only where all bits are set. */
static void f8_e4m3(const uint8_t *value, float *out)
{
	uint32_t sign = (uint32_t)(*value & 0x80) << 24, magnitude = *value & 0x7f;

	if (magnitude == 0x7f)
		*out = vgpu_f32_from_bits(sign | 0x7fc00000u);
	else if (magnitude >> 3)
		*out = vgpu_f32_from_bits(sign | ((magnitude << 20) + (120u << 23)));
	else
		*out = (sign ? -0x1p-9f : 0x1p-9f) * (float)magnitude;
}

/* The upper half of an F16. */
static void f8_e5m2(const uint8_t *value, float *out)
{
	*out = vgpu_f16_to_f32((uint16_t)(*value << 8));
}

/*
 * Safetensors' F4.  OCP leaves open where values lie; who writes such files is PyTorch, whose
 * float4_e2m1fn_x2 has the first of two in the low nibble.
 */
static void f4_e2m1(const uint8_t *pair, float *out)
{
	static const float values[16] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6,
					  -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6 };

	out[0] = values[*pair & 15];
	out[1] = values[*pair >> 4];
}

/* --- the table ----------------------------------------------------------- */

static const struct vgpu_block_type types[] = {
	{ VGPU_W_Q8_0, 32, 34, NULL, q8_0_codes, 0 },
	{ VGPU_W_Q4_0, 32, 18, NULL, q4_0_codes, 0 },
	{ VGPU_W_Q4_1, 32, 20, q4_1, NULL, 0 },
	{ VGPU_W_Q5_0, 32, 22, NULL, q5_0_codes, 0 },
	{ VGPU_W_Q5_1, 32, 24, q5_1, NULL, 0 },
	{ VGPU_W_Q2_K, 256, 84, q2_k, NULL, 0 },
	{ VGPU_W_Q3_K, 256, 110, q3_k, NULL, 0 },
	{ VGPU_W_Q4_K, 256, 144, q4_k, NULL, 0 },
	{ VGPU_W_Q5_K, 256, 176, q5_k, NULL, 0 },
	{ VGPU_W_Q6_K, 256, 210, q6_k, NULL, 0 },
	{ VGPU_W_IQ4_NL, 32, 18, NULL, iq4_nl_codes, 0 },
	{ VGPU_W_IQ4_XS, 256, 136, iq4_xs, NULL, 0 },
	{ VGPU_W_NVFP4, 64, 36, nvfp4, NULL, 0 },
	{ VGPU_W_TQ1_0, 256, 54, NULL, tq1_0_codes, 52 },
	{ VGPU_W_TQ2_0, 256, 66, NULL, tq2_0_codes, 64 },
	{ VGPU_W_Q1_0, 128, 18, NULL, q1_0_codes, 0 },
	{ VGPU_W_IQ1_S, 256, 50, vgpu_iq1_s_decode, NULL, 0 },
	{ VGPU_W_IQ1_M, 256, 56, vgpu_iq1_m_decode, NULL, 0 },
	{ VGPU_W_IQ2_XXS, 256, 66, vgpu_iq2_xxs_decode, NULL, 0 },
	{ VGPU_W_IQ2_XS, 256, 74, vgpu_iq2_xs_decode, NULL, 0 },
	{ VGPU_W_IQ2_S, 256, 82, vgpu_iq2_s_decode, NULL, 0 },
	{ VGPU_W_IQ3_XXS, 256, 98, vgpu_iq3_xxs_decode, NULL, 0 },
	{ VGPU_W_IQ3_S, 256, 110, vgpu_iq3_s_decode, NULL, 0 },
	{ VGPU_W_Q8_K, 256, 292, q8_k, NULL, 0 },
	{ VGPU_W_F64, 1, 8, f64, NULL, 0 },
	{ VGPU_W_F8_E4M3, 1, 1, f8_e4m3, NULL, 0 },
	{ VGPU_W_F8_E5M2, 1, 1, f8_e5m2, NULL, 0 },
	{ VGPU_W_F4_E2M1, 2, 1, f4_e2m1, NULL, 0 },
};

const struct vgpu_block_type *vgpu_block_type(enum vgpu_wformat format)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].format == format)
			return &types[i];
	return NULL;
}

/* What the numbers and their one scale make. */
static void codes_decode(const struct vgpu_block_type *type, const uint8_t *block, float *out)
{
	int8_t codes[VGPU_BLOCK_VALUES_MAX];
	float scale = f16_at(block + type->scale_at);

	type->codes(block, codes);
	for (uint32_t i = 0; i < type->values; i += VGPU_BLOCK)
		scaled(codes + i, VGPU_BLOCK, scale, out + i);
}

void vgpu_block_row_decode(const struct vgpu_block_type *type, const uint8_t *row, float *dst,
			   uint32_t k)
{
	for (uint32_t i = 0; i < k; i += type->values, row += type->bytes) {
		if (type->codes)
			codes_decode(type, row, dst + i);
		else
			type->decode(row, dst + i);
	}
}

/* Exponent 31 is infinite or NaN. */
static bool scales_are_finite(const struct vgpu_block_type *type, const uint8_t *src, size_t blocks)
{
	for (size_t i = 0; i < blocks; i++)
		if ((src[i * type->bytes + type->scale_at + 1] & 0x7c) == 0x7c)
			return false;
	return true;
}

static void put_int8_block(uint8_t *group, uint32_t row, uint32_t block, const uint8_t *scale,
			   const int8_t codes[VGPU_BLOCK])
{
	uint8_t *to = group + vgpu_int8_g16_codes(block) + 4 * row;
	uint32_t four;

	memcpy(group + vgpu_int8_g16_scale(block) + 2 * row, scale, 2);
	for (uint32_t line = 0; line < VGPU_BLOCK / 4; line++) {
		memcpy(&four, codes + 4 * line, sizeof(four));
		/* Adds VGPU_INT8_ZERO to each. */
		four ^= 0x80808080u;
		memcpy(to + 64 * line, &four, sizeof(four));
	}
}

/* A block of the file is one or more of ours. */
static void put_int8_blocks(const struct vgpu_block_type *type, uint8_t *group, uint32_t row,
			    uint32_t first, const uint8_t *block)
{
	int8_t codes[VGPU_BLOCK_VALUES_MAX];

	type->codes(block, codes);
	for (uint32_t i = 0; i < type->values / VGPU_BLOCK; i++)
		put_int8_block(group, row, first + i, block + type->scale_at,
			       codes + i * VGPU_BLOCK);
}

int vgpu_blocks_to_int8(const struct vgpu_block_type *type, void *dst, const uint8_t *src,
			uint32_t rows, uint32_t k)
{
	static const int8_t zeros[VGPU_BLOCK];
	static const uint8_t no_scale[2];
	uint32_t step = type->values / VGPU_BLOCK;

	if (!scales_are_finite(type, src, (size_t)rows * (k / type->values)))
		return -EDOM;
	/* The last tile may have no block where it has scales. */
	memset(dst, 0, vgpu_weight_unit_bytes(VGPU_W_INT8_G16, k));
	for (uint32_t row = 0; row < rows; row++)
		for (uint32_t b = 0; b < k / VGPU_BLOCK; b += step, src += type->bytes)
			put_int8_blocks(type, dst, row, b, src);
	for (uint32_t row = rows; row < VGPU_GROUP_ROWS; row++)
		for (uint32_t b = 0; b < k / VGPU_BLOCK; b++)
			put_int8_block(dst, row, b, no_scale, zeros);
	return 0;
}

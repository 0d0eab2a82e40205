// SPDX-License-Identifier: MIT
/*
 * Blocks of GGUF: the values are another implementation's, bit for bit, at every level
 * (data/gguf_blocks.py says which and how they were made), and those that fit INT8 keep
 * them there.
 */
#include "check.h"

#include <errno.h>

#include "common/golden.h"
#include "kernels/pack/blocks.h"
#include "kernels/pack/g16_type.h"
#include "kernels/pack/half.h"

/* Types whose values INT8_G16 holds. */
static bool is_exact(const char *name)
{
	return !strcmp(name, "Q8_0") || !strcmp(name, "Q4_0") || !strcmp(name, "Q5_0") ||
	       !strcmp(name, "IQ4_NL") || !strncmp(name, "TQ", 2) || !strcmp(name, "Q1_0");
}

static const struct vgpu_block_type *type_of(const struct golden *g)
{
	const struct vgpu_block_type *type = vgpu_block_type((enum vgpu_wformat)g->format);

	assert_non_null(type);
	assert_int_equal(type->values, g->values_each);
	assert_int_equal(type->bytes, g->bytes_each);
	return type;
}

/* Each block as a row, and all of them as one row. */
static void decode_of_blocks_is_the_other_implementations(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t n = 0; n < GOLDEN_NAMES; n++) {
		struct golden g;
		struct vgpu_panel w;
		size_t bytes;
		float *out;

		golden_open(&g, golden_names[n]);
		bytes = (size_t)g.count * type_of(&g)->values * sizeof(*out);
		out = check_alloc(bytes);
		w = (struct vgpu_panel){ type_of(&g)->format, g.count, type_of(&g)->values, g.blocks, NULL };
		t->weight_decode(&w, out, w.k);
		assert_memory_equal(out, g.values, bytes);
		memset(out, 0xa5, bytes);
		w = (struct vgpu_panel){ type_of(&g)->format, 1, g.count * type_of(&g)->values, g.blocks, NULL };
		t->weight_decode(&w, out, w.k);
		assert_memory_equal(out, g.values, bytes);
		free(out);
		golden_close(&g);
	}
}

/* A group of 16 rows of which the last ones are missing, or are all there. */
static void check_int8(const struct vgpu_kernels *t, const struct golden *g, uint32_t rows)
{
	uint32_t k = type_of(g)->values * g->count;
	size_t unit = vgpu_weight_unit_bytes(VGPU_W_INT8_G16, k);
	size_t row = (size_t)g->count * type_of(g)->bytes;
	float *out = check_alloc(16 * k * sizeof(*out));
	uint8_t *src = check_alloc(rows * row), *dst = check_alloc(unit + 64);
	struct vgpu_panel w = { VGPU_W_INT8_G16, 16, k, dst, NULL };

	for (uint32_t i = 0; i < rows; i++)
		memcpy(src + i * row, g->blocks, row);
	/* Rows differ. */
	for (uint32_t i = 0; i < rows; i++)
		src[i * row + type_of(g)->bytes - 1] = (uint8_t)(i * 37);
	assert_int_equal(t->pack_codes(dst, src, type_of(g)->format, rows, k), 0);
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(dst[unit + i], 0xa5);
	t->weight_decode(&w, out, k);
	for (uint32_t i = 0; i < 16; i++) {
		float want[8 * VGPU_BLOCK_VALUES_MAX] = { 0 };

		if (i < rows)
			vgpu_block_row_decode(type_of(g), src + i * row, want, k);
		assert_memory_equal(out + i * k, want, k * sizeof(*want));
	}
	free(out);
	free(src);
	free(dst);
}

static void blocks_with_one_scale_keep_their_values_as_int8(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t n = 0; n < GOLDEN_NAMES; n++) {
		struct golden g;

		golden_open(&g, golden_names[n]);
		assert_int_equal(type_of(&g)->codes != NULL, is_exact(golden_names[n]));
		for (uint32_t rows = 1; type_of(&g)->codes && rows <= 16; rows++)
			check_int8(t, &g, rows);
		golden_close(&g);
	}
}

/* --- the packed formats that keep codes and scales --- */

/* Where each type has its F16 numbers. */
static uint32_t halves_of(const char *name, uint32_t at[2])
{
	if (!strcmp(name, "NVFP4") || !strcmp(name, "Q8_K") || !strcmp(name, "IQ1_M"))
		return 0;
	at[0] = !strcmp(name, "Q2_K") ? 80 : !strcmp(name, "Q3_K") ? 108 :
		!strcmp(name, "Q6_K") ? 208 : !strcmp(name, "TQ1_0") ? 52 :
		!strcmp(name, "TQ2_0") ? 64 : 0;
	at[1] = at[0] + 2;
	return !strcmp(name, "Q4_1") || !strcmp(name, "Q5_1") || !strcmp(name, "Q2_K") ||
	       !strcmp(name, "Q4_K") || !strcmp(name, "Q5_K") ? 2 : 1;
}

/* Rows of the golden blocks, each beginning with another one. */
static void turned_rows(uint8_t *src, const struct golden *g, uint32_t rows)
{
	for (uint32_t i = 0; i < rows * g->count; i++)
		memcpy(src + (size_t)i * g->bytes_each,
		       g->blocks + (i + i / g->count * 5) % g->count * g->bytes_each, g->bytes_each);
}

static void check_packed(const struct vgpu_kernels *t, const struct vgpu_g16_type *type,
			 const struct golden *g, uint32_t rows)
{
	uint32_t k = g->values_each * g->count;
	size_t unit = vgpu_weight_unit_bytes(type->format, k);
	uint8_t *src = check_alloc((size_t)rows * g->count * g->bytes_each);
	uint8_t *dst = check_alloc(unit + 64);
	float *out = check_alloc(16 * (size_t)k * sizeof(*out));
	float *want = check_alloc(16 * (size_t)k * sizeof(*want));
	struct vgpu_panel packed = { type->format, 16, k, dst, NULL };
	struct vgpu_panel blocks = { type->source, rows, k, src, NULL };

	turned_rows(src, g, rows);
	memset(want, 0, 16 * (size_t)k * sizeof(*want));
	t->weight_decode(&blocks, want, k);
	assert_int_equal(t->pack_blocks(dst, type->format, src, rows, k), 0);
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(dst[unit + i], 0xa5);
	t->weight_decode(&packed, out, k);
	/* Rows that are not there may be zeros of either sign. */
	assert_memory_equal(out, want, (size_t)rows * k * sizeof(*want));
	for (size_t i = (size_t)rows * k; i < 16 * (size_t)k; i++)
		assert_true(out[i] == 0);
	free(want);
	free(out);
	free(dst);
	free(src);
}

static void blocks_keep_their_values_as_the_packed_format_of_theirs(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint32_t types = 0;

	for (size_t n = 0; n < GOLDEN_NAMES; n++) {
		const struct vgpu_g16_type *type;
		struct golden g;

		golden_open(&g, golden_names[n]);
		type = vgpu_g16_of_source((enum vgpu_wformat)g.format);
		types += !!type;
		for (uint32_t rows = 1; type && rows <= 16; rows++)
			check_packed(t, type, &g, rows);
		golden_close(&g);
	}
	assert_int_equal(types, 8);
}

/* One block of a row is bad: of which F16, in which block of which row. */
static void refuse_halves(const struct vgpu_kernels *t, const char *name, uint32_t half)
{
	const struct vgpu_g16_type *type;
	uint32_t at[2], count = halves_of(name, at), k;
	uint8_t *src, *dst;
	struct golden g;
	size_t unit;

	golden_open(&g, name);
	type = vgpu_g16_of_source((enum vgpu_wformat)g.format);
	k = 3 * g.values_each;
	unit = type ? vgpu_weight_unit_bytes(type->format, k) : 0;
	for (uint32_t i = 0; type && i < 12 * count; i++) {
		src = check_alloc(12 * g.bytes_each);
		dst = check_alloc(unit);
		memset(src, 1, 12 * g.bytes_each);
		memcpy(src + i / count * g.bytes_each + at[i % count], &half, 2);
		assert_int_equal(t->pack_blocks(dst, type->format, src, 4, k), -EDOM);
		for (size_t j = 0; j < unit; j++)
			assert_int_equal(dst[j], 0xa5);
		free(dst);
		free(src);
	}
	golden_close(&g);
}

static void packing_blocks_refuses_a_scale_that_is_no_number(void **state)
{
	static const uint16_t halves[] = { 0x7c00, 0xfc00, 0x7e00, 0xfc01, 0x7fff };

	for (size_t n = 0; n < GOLDEN_NAMES; n++)
		for (size_t i = 0; i < 5; i++)
			refuse_halves(check_table(state), golden_names[n], halves[i]);
}

static void packing_blocks_refuses_other_formats_and_parts_of_blocks(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint8_t src[1024] = { 0 }, dst[64];

	assert_int_equal(t->pack_blocks(dst, VGPU_W_INT8_G16, src, 1, 32), -EINVAL);
	assert_int_equal(t->pack_blocks(dst, VGPU_W_Q4_0, src, 1, 32), -EINVAL);
	assert_int_equal(t->pack_blocks(dst, (enum vgpu_wformat)99, src, 1, 32), -EINVAL);
	assert_int_equal(t->pack_blocks(dst, VGPU_W_Q4_0_G16, src, 1, 33), -EINVAL);
	assert_int_equal(t->pack_codes(dst, src, VGPU_W_Q4_1, 16, 32), -EINVAL);
	assert_int_equal(t->pack_codes(dst, src, VGPU_W_F32, 1, 32), -EINVAL);
	assert_int_equal(t->pack_codes(dst, src, VGPU_W_Q8_0, 16, 33), -EINVAL);
}

/* Rows of three blocks, one of which has the scale @half. */
static void refuse_scale(const struct vgpu_kernels *t, const struct vgpu_block_type *type,
			 uint32_t half, uint32_t rows, uint8_t *dst, size_t dst_bytes)
{
	uint8_t src[16 * 3 * 66];

	memset(src, 1, sizeof(src));
	memcpy(src + half % (3 * rows) * type->bytes + type->scale_at, &half, 2);
	assert_int_equal(t->pack_codes(dst, src, type->format, rows, 3 * type->values), -EDOM);
	for (size_t i = 0; i < dst_bytes; i++)
		assert_int_equal(dst[i], 0xa5);
}

/* Every F16 that is no number, in any block of any row. */
static void blocks_with_a_scale_that_is_no_number_are_refused(void **state)
{
	size_t bytes = vgpu_weight_unit_bytes(VGPU_W_INT8_G16, 3 * VGPU_BLOCK_VALUES_MAX);
	uint8_t *dst = check_alloc(bytes);

	for (size_t n = 0; n < GOLDEN_NAMES; n++) {
		struct golden g;

		golden_open(&g, golden_names[n]);
		for (uint32_t half = 0; type_of(&g)->codes && half < 65536; half++)
			if ((half >> 10 & 31) == 31)
				refuse_scale(check_table(state), type_of(&g), half, half % 2 ? 4 : 16,
					     dst, bytes);
		golden_close(&g);
	}
	free(dst);
}

static void refuse_to_pack(const struct vgpu_kernels *t, const char *name, uint32_t half)
{
	float values[VGPU_BLOCK_VALUES_MAX];
	uint8_t *dst = check_alloc(vgpu_weight_unit_bytes(VGPU_W_INT8_G16, 256));
	uint32_t at[2], count = halves_of(name, at);
	struct golden g;

	golden_open(&g, name);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t block[292] = { 0 };

		/* Even where all codes and scales are zero. */
		memcpy(block + at[i], &half, 2);
		vgpu_block_row_decode(type_of(&g), block, values, type_of(&g)->values);
		assert_int_equal(t->pack_int8(dst, values, VGPU_W_F32, type_of(&g)->values, 1,
					      type_of(&g)->values), -EDOM);
		assert_int_equal(t->pack_mxfp4(dst, values, VGPU_W_F32, type_of(&g)->values, 1,
					       type_of(&g)->values), -EDOM);
	}
	golden_close(&g);
	free(dst);
}

static void values_of_a_scale_that_is_no_number_are_not_packed(void **state)
{
	static const uint16_t halves[] = { 0x7c00, 0xfc00, 0x7e00, 0xfc01, 0x7fff };

	for (size_t n = 0; n < GOLDEN_NAMES; n++)
		for (size_t i = 0; i < 5; i++)
			refuse_to_pack(check_table(state), golden_names[n], halves[i]);
}

/* Where the scale is no F16 in one piece: an F32, and nibbles on top of four words. */
static void scales_of_other_kinds_that_are_no_number_are_not_packed(void **state)
{
	static const float none[] = { INFINITY, -INFINITY, NAN };
	const struct vgpu_kernels *t = check_table(state);
	uint8_t *dst = check_alloc(vgpu_weight_unit_bytes(VGPU_W_INT8_G16, 256));
	float values[256];

	for (uint32_t i = 0; i < 6; i++) {
		const struct vgpu_block_type *type =
			vgpu_block_type(i < 3 ? VGPU_W_Q8_K : VGPU_W_IQ1_M);
		uint16_t half = vgpu_f32_to_f16(none[i % 3]);
		uint8_t block[292] = { 0 };

		if (i < 3)
			memcpy(block, &none[i], sizeof(float));
		for (uint32_t j = 0; i >= 3 && j < 4; j++)
			block[49 + 2 * j] = (uint8_t)((half >> 4 * j & 15) << 4);
		vgpu_block_row_decode(type, block, values, 256);
		assert_int_equal(t->pack_int8(dst, values, VGPU_W_F32, 256, 1, 256), -EDOM);
	}
	free(dst);
}

static void f64_is_rounded_to_the_nearest_f32_and_no_further_than_it_goes(void **state)
{
	static const double in[] = { 0.1, -0x1.000001p0, -0x1.0000030000001p-3, 0x1p-149, 1e300, 0 };
	static const float want[] = { 0.1f, -1, -0x1.000004p-3f, 0x1p-149f, INFINITY, 0 };
	struct vgpu_panel w = { VGPU_W_F64, 1, 6, in, NULL };
	float out[6];

	check_table(state)->weight_decode(&w, out, 6);
	assert_memory_equal(out, want, sizeof(want));
}

/* All 256 of each, from sign, exponent and mantissa as the specification has them. */
static void decode_of_fp8_is_exact_for_every_code(void **state)
{
	static const struct {
		enum vgpu_wformat format;
		int bits, bias;
	} types[] = { { VGPU_W_F8_E4M3, 3, 7 }, { VGPU_W_F8_E5M2, 2, 15 } };
	const struct vgpu_kernels *t = check_table(state);
	uint8_t codes[256];
	float out[256];

	for (uint32_t i = 0; i < 512; i++) {
		struct vgpu_panel w = { types[i / 256].format, 1, 256, codes, NULL };
		int bits = types[i / 256].bits, code = (int)i % 256;
		int exponent = code % 128 >> bits, mantissa = code & ((1 << bits) - 1);
		double want = exponent ? ldexp((1 << bits) + mantissa, exponent - types[i / 256].bias - bits) :
					 ldexp(mantissa, 1 - types[i / 256].bias - bits);

		memset(codes, code, sizeof(codes));
		t->weight_decode(&w, out, 256);
		if (bits == 3 ? code % 128 == 127 : exponent == 31 && mantissa)
			assert_true(isnan(out[0]) && isnan(out[255]));
		else if (bits == 2 && exponent == 31)
			assert_true(isinf(out[0]) && (out[0] < 0) == (code > 127));
		else
			assert_true(out[0] == (code > 127 ? -want : want) &&
				    !signbit(out[255]) == (code < 128));
	}
}

/* Sign, exponent and mantissa of code @i, as the specification has them; bias 1. */
static float e2m1(uint32_t i)
{
	uint32_t exponent = i >> 1 & 3, mantissa = i & 1;
	float magnitude = exponent ? ldexpf(2 + mantissa, (int)exponent - 2) : ldexpf(mantissa, -1);

	return i & 8 ? -magnitude : magnitude;
}

/* All pairs, the first of each in the low nibble. */
static void decode_of_fp4_is_exact_for_every_pair(void **state)
{
	float out[512], want[512];
	uint8_t pairs[256];
	struct vgpu_panel w = { VGPU_W_F4_E2M1, 1, 512, pairs, NULL };

	for (uint32_t i = 0; i < 256; i++) {
		pairs[i] = (uint8_t)i;
		want[2 * i] = e2m1(i % 16);
		want[2 * i + 1] = e2m1(i / 16);
	}
	check_table(state)->weight_decode(&w, out, 512);
	assert_memory_equal(out, want, sizeof(want));
}

/* Blocks whose largest value is each there is, the rest what may stand beside it. */
static void fp4_keeps_its_values_as_mxfp4(void **state)
{
	size_t bytes = vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, 256);
	const struct vgpu_kernels *t = check_table(state);
	float values[16 * 256], out[16 * 256];
	uint8_t *dst = check_alloc(bytes);
	struct vgpu_panel w = { VGPU_W_MXFP4_G16, 16, 256, dst, NULL };

	for (uint32_t i = 0; i < 16 * 256; i++) {
		uint32_t most = i % 256 / VGPU_BLOCK;

		values[i] = e2m1((i % VGPU_BLOCK ? i * 7 % (most + 1) : most) | (i / 256 + i) % 2 << 3);
	}
	assert_int_equal(t->pack_mxfp4(dst, values, VGPU_W_F32, 256, 16, 256), 0);
	t->weight_decode(&w, out, 256);
	for (uint32_t i = 0; i < 16 * 256; i++)
		assert_true(out[i] == values[i]);
	free(dst);
}

static void types_fit_their_sizes(void **state)
{
	(void)state;
	for (size_t n = 0; n < GOLDEN_NAMES; n++) {
		const struct vgpu_block_type *type;
		struct golden g;

		golden_open(&g, golden_names[n]);
		type = type_of(&g);
		assert_int_equal(vgpu_weight_unit_bytes(type->format, 3 * type->values),
				 3 * type->bytes);
		assert_int_equal(vgpu_weight_unit_rows(type->format), 1);
		assert_true(type->values <= VGPU_BLOCK_VALUES_MAX);
		golden_close(&g);
	}
	assert_null(vgpu_block_type(VGPU_W_F32));
	assert_null(vgpu_block_type(VGPU_W_MXFP4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECK_LEVELS(decode_of_blocks_is_the_other_implementations),
		CHECK_LEVELS(blocks_with_one_scale_keep_their_values_as_int8),
		cmocka_unit_test(blocks_with_a_scale_that_is_no_number_are_refused),
		CHECK_LEVELS(values_of_a_scale_that_is_no_number_are_not_packed),
		CHECK_LEVELS(scales_of_other_kinds_that_are_no_number_are_not_packed),
		CHECK_LEVELS(f64_is_rounded_to_the_nearest_f32_and_no_further_than_it_goes),
		CHECK_LEVELS(decode_of_fp8_is_exact_for_every_code),
		CHECK_LEVELS(decode_of_fp4_is_exact_for_every_pair),
		CHECK_LEVELS(fp4_keeps_its_values_as_mxfp4),
		CHECK_LEVELS(blocks_keep_their_values_as_the_packed_format_of_theirs),
		CHECK_LEVELS(packing_blocks_refuses_a_scale_that_is_no_number),
		CHECK_LEVELS(packing_blocks_refuses_other_formats_and_parts_of_blocks),
		cmocka_unit_test(types_fit_their_sizes),
	};

	return cmocka_run_group_tests_name("blocks", tests, NULL, NULL);
}

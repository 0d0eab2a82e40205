// SPDX-License-Identifier: MIT
#include "common/weights_draw.h"

#include "kernels/random_blocks.h"

const struct weights_format weights_formats[] = {
	{ VGPU_W_F32, "f32", 1 },
	{ VGPU_W_F16, "f16", 1 },
	{ VGPU_W_BF16, "bf16", 1 },
	{ VGPU_W_MXFP4, "mxfp4", 32 },
	{ VGPU_W_MXFP4_SPLIT, "mxfp4_split", 32 },
	{ VGPU_W_Q8_0, "q8_0", 32 },
	{ VGPU_W_MXFP4_G16, "mxfp4_g16", 1 },
	{ VGPU_W_INT8_G16, "int8_g16", 1 },
	{ VGPU_W_Q4_0, "q4_0", 32 },
	{ VGPU_W_Q4_0_G16, "q4_0_g16", 32 },
	{ VGPU_W_Q5_0, "q5_0", 32 },
	{ VGPU_W_Q5_0_G16, "q5_0_g16", 32 },
	{ VGPU_W_Q4_1, "q4_1", 32 },
	{ VGPU_W_Q4_1_G16, "q4_1_g16", 32 },
	{ VGPU_W_Q5_1, "q5_1", 32 },
	{ VGPU_W_Q5_1_G16, "q5_1_g16", 32 },
	{ VGPU_W_Q4_K, "q4_k", 256 },
	{ VGPU_W_Q4_K_G16, "q4_k_g16", 256 },
	{ VGPU_W_Q5_K, "q5_k", 256 },
	{ VGPU_W_Q5_K_G16, "q5_k_g16", 256 },
	{ VGPU_W_Q6_K, "q6_k", 256 },
	{ VGPU_W_Q6_K_G16, "q6_k_g16", 256 },
	{ VGPU_W_NVFP4, "nvfp4", 64 },
	{ VGPU_W_NVFP4_G16, "nvfp4_g16", 64 },
	{ VGPU_W_INT4_64_G16, "int4_64_g16", 64 },
	{ VGPU_W_INT4_128_G16, "int4_128_g16", 128 },
	{ VGPU_W_INT4_Z32_G16, "int4_z32_g16", 32 },
	{ VGPU_W_INT4_Z64_G16, "int4_z64_g16", 64 },
	{ VGPU_W_INT4_Z128_G16, "int4_z128_g16", 128 },
};
const uint32_t weights_format_count = sizeof(weights_formats) / sizeof(weights_formats[0]);

bool draw_one_in(uint64_t *rng, uint32_t n)
{
	return !rng_below(rng, n);
}

float draw_finite(double x)
{
	return (float)fmax(-0x1.fcp127, fmin(0x1.fcp127, x));
}

/* splitmix64; Steele, Lea and Flood, Fast splittable pseudorandom number generators. */
uint64_t draw_seed(uint64_t number)
{
	number = (number + 1) * 0x9e3779b97f4a7c15ull;
	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9ull;
	number = (number ^ number >> 27) * 0x94d049bb133111ebull;
	return (number ^ number >> 31) | 1;
}

/* Any F16, a NaN or infinity only where there may be one. */
static void any_half(struct weights_draw *d, uint8_t *at, bool any)
{
	at[0] = (uint8_t)rng_next(d->rng);
	at[1] = (uint8_t)rng_next(d->rng);
	if ((at[1] & 0x7c) == 0x7c && !(any && draw_one_in(d->rng, 4)))
		at[1] &= 0xbf;
}

static void any_scale(struct weights_draw *d, enum vgpu_wformat format, uint8_t *block, bool any)
{
	static const uint8_t ends[] = { 0, 1, 2, 252, 253, 254, 255 };
	const struct vgpu_g16_type *type = vgpu_g16_of_source(format);

	if (format == VGPU_W_MXFP4 || format == VGPU_W_MXFP4_SPLIT) {
		*block = draw_one_in(d->rng, 4) ? ends[rng_below(d->rng, sizeof(ends))] :
						  (uint8_t)rng_next(d->rng);
		return;
	}
	if (format == VGPU_W_NVFP4)
		return;
	any_half(d, block + (format == VGPU_W_Q6_K ? 208 : 0), any);
	if (type && type->kind == VGPU_KIND_MINIMUM)
		any_half(d, block + 2, any);
}

/* What a block of a type with minima has before its codes. */
static uint32_t header_bytes(enum vgpu_wformat format)
{
	return format == VGPU_W_Q4_K || format == VGPU_W_Q5_K ? 16 : 4;
}

/* The same blocks with codes that are 0: their values are the minima. */
static void keep_minima(struct weights_draw *d, enum vgpu_wformat format, const uint8_t *data,
			size_t bytes, uint32_t blocks)
{
	const struct vgpu_g16_type *type = vgpu_g16_of_source(format);

	d->minima_of = type && type->kind == VGPU_KIND_MINIMUM ? format : 0;
	if (!d->minima_of)
		return;
	memset(d->no_codes, 0, blocks * bytes);
	for (uint32_t i = 0; i < blocks; i++)
		memcpy(d->no_codes + i * bytes, data + i * bytes, header_bytes(format));
}

void weights_draw_blocks(struct weights_draw *d, enum vgpu_wformat format, uint8_t *data,
			 uint8_t *split, bool any)
{
	const struct vgpu_block_type *type = vgpu_block_type(format);
	uint32_t values = type ? type->values : VGPU_BLOCK, blocks = d->n * (d->k / values);
	size_t bytes = vgpu_weight_unit_bytes(format, d->k) / (d->k / values);

	random_blocks(format, data, split, d->n, d->k, false, d->rng);
	for (uint32_t i = 0; i < blocks && d->scales; i++) {
		if (!draw_one_in(d->rng, 4))
			continue;
		if (d->scales == SCALES_ZERO)
			memset(data + i * bytes, 0, bytes);
		else
			any_scale(d, format, split ? split + i : data + i * bytes, any);
	}
	keep_minima(d, format, data, bytes, blocks);
}

float weights_draw_value(struct weights_draw *d)
{
	if (d->scales == SCALES_ZERO && draw_one_in(d->rng, 8))
		return 0;
	if (d->scales == SCALES_ANY_BITS && draw_one_in(d->rng, 4))
		return draw_finite(rng_gauss(d->rng) * ldexp(1, (int)rng_below(d->rng, 270) - 150));
	return draw_finite(rng_gauss(d->rng) * ldexp(1, d->exponent));
}

static void draw_floats(struct weights_draw *d, uint8_t *data)
{
	for (size_t i = 0; i < (size_t)d->n * d->k; i++) {
		float value = weights_draw_value(d);

		if (d->scales == SCALES_ANY_BITS && rng_below(d->rng, 4 * d->k) == 0)
			value = rng_below(d->rng, 2) ? NAN : INFINITY;
		if (d->format == VGPU_W_F32)
			memcpy(data + 4 * i, &value, 4);
		else if (d->format == VGPU_W_F16)
			put_half(data + 2 * i, value);
		else
			memcpy(data + 2 * i, (uint8_t *)&value + 2, 2);
	}
}

static uint32_t rows_from(const struct weights_draw *d, uint32_t row)
{
	return d->n - row < 16 ? d->n - row : 16;
}

/* Floats to MXFP4 or INT8, whose scale has to be an F16. */
static int pack_floats(struct weights_draw *d, uint8_t *dst, uint32_t rows)
{
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	bool int8 = d->format == VGPU_W_INT8_G16;

	for (uint32_t i = 0; i < rows * d->k; i++) {
		d->floats[i] = weights_draw_value(d);
		while (int8 && fabsf(d->floats[i]) >= 8e6f)
			d->floats[i] *= 0x1p-20f;
	}
	return int8 ? ref->pack_int8(dst, d->floats, VGPU_W_F32, d->k, rows, d->k) :
		      ref->pack_mxfp4(dst, d->floats, VGPU_W_F32, d->k, rows, d->k);
}

static int pack_int4(struct weights_draw *d, const struct vgpu_g16_type *type, uint8_t *dst,
		     uint32_t rows)
{
	struct random_int4 src;
	int rc;

	random_int4(&src, type, rows, d->k, false, d->rng);
	for (uint32_t i = 0; i < rows * (d->k / vgpu_g16_scale_cols(type)) && d->scales; i++) {
		if (!draw_one_in(d->rng, 4))
			continue;
		src.scales[i] = 0;
		if (d->scales == SCALES_ANY_BITS)
			any_half(d, (uint8_t *)&src.scales[i], false);
	}
	rc = vgpu_kernels_get(VGPU_ISA_REF)->pack_int4(dst, type->format, &src.rows);
	random_int4_free(&src);
	return rc;
}

/* Groups of 16 rows. */
static int draw_packed(struct weights_draw *d, uint8_t *data)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(d->format);
	size_t unit = vgpu_weight_unit_bytes(d->format, d->k);
	int rc = 0;

	if (type && type->source)
		weights_draw_blocks(d, type->source, d->blocks, NULL, false);
	for (uint32_t row = 0; row < d->n && !rc; row += 16, data += unit) {
		uint32_t rows = rows_from(d, row);

		if (!type)
			rc = pack_floats(d, data, rows);
		else if (!type->source)
			rc = pack_int4(d, type, data, rows);
		else
			rc = vgpu_kernels_get(VGPU_ISA_REF)->pack_blocks(
				data, type->format,
				d->blocks + row * vgpu_weight_unit_bytes(type->source, d->k), rows, d->k);
	}
	return rc;
}

int weights_draw(struct weights_draw *d, uint8_t *data, uint8_t *split)
{
	d->minima_of = 0;
	if (vgpu_weight_unit_rows(d->format) > 1)
		return draw_packed(d, data);
	if (d->format <= VGPU_W_BF16)
		draw_floats(d, data);
	else
		weights_draw_blocks(d, d->format, data, split, true);
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * What the bytes mean, and how values become bytes, against definitions written
 * another way: powers of two by ldexp, nearest values by search in long double.
 */
#include <errno.h>
#include <xmmintrin.h>
#include "check.h"
#include "kernels/pack/half.h"
#include "random_blocks.h"

#ifdef __SANITIZE_ADDRESS__
#define BLOCKS	100000u		/* random blocks; instrumented code is slow */
#elif defined(__SANITIZE_THREAD__)
#define BLOCKS	100000u
#else
#define BLOCKS	1000000u
#endif

#define COLS	160u		/* a whole tile and one of a single block */
#define GROUP	(16 * COLS)
#define GROUP_BLOCKS (GROUP / 32)

typedef int (*pack_fn)(void *, const void *, enum vgpu_wformat, size_t, uint32_t, uint32_t);

static const double magnitudes[8] = { 0, 0.5, 1, 1.5, 2, 3, 4, 6 };

/* --- decoding --- */

static float mxfp4_value(uint32_t code, uint32_t e)
{
	double value = code & 8 ? -magnitudes[code & 7] : magnitudes[code & 7];

	return e == 255 ? NAN : (float)ldexp(value, (int)e - 127);
}

static void assert_same_float(float got, float want)
{
	if (isnan(want) ? !isnan(got) : memcmp(&got, &want, sizeof(got)) != 0)
		fail_msg("%a instead of %a", got, want);
}

/* Code of column c in row r: every code in every position of a block. */
static uint32_t pattern(uint32_t r, uint32_t c)
{
	return (c * 5 + c / 16 + r * 3) & 15;
}

static void mxfp4_fill(uint8_t *data, uint8_t *scales, enum vgpu_wformat format, uint32_t e)
{
	for (uint32_t i = 0; i < GROUP; i++) {
		uint32_t r = i / COLS, c = i % COLS, block = i / 32, j = c % 32;
		uint32_t code = pattern(r, c), tile = c / 128 * 1088;
		uint8_t *byte, *scale, high;

		if (format == VGPU_W_MXFP4) {
			scale = data + block * 17;
			byte = scale + 1 + j % 16;
			high = j >= 16;
		} else if (format == VGPU_W_MXFP4_SPLIT) {
			scale = scales + block;
			byte = data + block * 16 + j / 2;
			high = j % 2;
		} else {
			scale = data + tile + 4 * r + c % 128 / 32;
			byte = data + tile + 64 + c % 128 / 8 * 64 + 4 * r + c % 4;
			high = c % 8 >= 4;
		}
		*scale = (uint8_t)e;
		*byte = (uint8_t)(high ? (*byte & 15) | code << 4 : (*byte & 0xf0) | code);
	}
}

static void decode_of_mxfp4_is_exact_for_every_scale_and_code(void **state)
{
	static const enum vgpu_wformat layouts[] = { VGPU_W_MXFP4, VGPU_W_MXFP4_SPLIT,
						     VGPU_W_MXFP4_G16 };
	const struct vgpu_kernels *t = check_table(state);
	uint8_t *data = check_alloc(8192), *scales = check_alloc(GROUP_BLOCKS);
	float *out = check_alloc(GROUP * sizeof(float));

	for (uint32_t e = 0; e < 256 * 3; e++) {
		struct vgpu_panel w = { layouts[e % 3], 16, COLS, data, scales };

		mxfp4_fill(data, scales, w.format, e / 3);
		t->weight_decode(&w, out, COLS);
		for (uint32_t i = 0; i < GROUP; i++)
			assert_same_float(out[i], mxfp4_value(pattern(i / COLS, i % COLS), e / 3));
	}
	free(out);
	free(scales);
	free(data);
}

/* Every f16 but NaN, by every code. */
static void decode_of_int8_is_exact_for_every_scale_and_code(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint8_t row[272], *group = check_alloc(128 + 128 + 5 * 512);
	float out[256], packed[COLS];

	for (uint32_t half = 0; half < 65536; half++) {
		struct vgpu_panel w = { VGPU_W_Q8_0, 1, 256, row, NULL };
		struct vgpu_panel g = { VGPU_W_INT8_G16, 1, COLS, group, NULL };
		int exponent = half >> 10 & 31;
		double d = exponent ? ldexp(1024 + (half & 1023), exponent - 25) :
				      ldexp(half & 1023, -24);

		if (exponent == 31)
			continue;
		d = half >> 15 ? -d : d;
		for (uint32_t c = 0; c < 256; c++) {
			memcpy(row + c / 32 * 34, &half, 2);
			row[c / 32 * 34 + 2 + c % 32] = (uint8_t)c;
		}
		t->weight_decode(&w, out, 256);
		for (int c = 0; c < 256; c++)
			assert_same_float(out[c], (float)((int8_t)c * d));
		for (uint32_t c = 0; c < COLS; c++) {
			uint8_t *tile = group + c / 128 * 2176;

			memcpy(tile + c % 128 / 32 * 32, &half, 2);
			tile[128 + c % 128 / 4 * 64 + c % 4] = (uint8_t)(c + half);
		}
		t->weight_decode(&g, packed, COLS);
		for (uint32_t c = 0; c < COLS; c++)
			assert_same_float(packed[c], (float)(((int)(uint8_t)(c + half) - 128) * d));
	}
	free(group);
}

static void decode_of_halves_is_exact(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	float out[256];

	for (uint32_t first = 0; first < 65536; first += 256) {
		uint16_t half[256];
		struct vgpu_panel f16 = { VGPU_W_F16, 1, 256, half, NULL };
		struct vgpu_panel bf16 = { VGPU_W_BF16, 1, 256, half, NULL };

		for (uint32_t i = 0; i < 256; i++)
			half[i] = (uint16_t)(first + i);
		t->weight_decode(&f16, out, 256);
		for (uint32_t i = 0; i < 256; i++) {
			_Float16 value;

			memcpy(&value, &half[i], 2);
			assert_same_float(out[i], (float)value);
		}
		t->weight_decode(&bf16, out, 256);
		for (uint32_t i = 0; i < 256; i++)
			assert_int_equal(memcmp((uint8_t *)&out[i] + 2, &half[i], 2), 0);
	}
}

/* --- encoding --- */

/* One of the kinds of block that an encoder can get wrong. */
static void random_block(float x[32], uint64_t *rng)
{
	uint32_t kind = rng_below(rng, 8), bits;
	int power = (int)rng_below(rng, 276) - 148;

	for (int i = 0; i < 32; i++) {
		switch (kind) {
		case 0:		/* any finite bits, subnormals among them */
			bits = (uint32_t)rng_next(rng);
			bits = (bits & 0x7f800000u) == 0x7f800000u ? bits & 0x807fffffu : bits;
			memcpy(&x[i], &bits, 4);
			break;
		case 1:		/* subnormals only */
			bits = (uint32_t)rng_next(rng) & 0x807fffffu;
			memcpy(&x[i], &bits, 4);
			break;
		case 2:		/* mostly zeros, of both signs */
			x[i] = rng_below(rng, 8) ? rng_below(rng, 2) ? 0.0f : -0.0f :
						   (float)rng_gauss(rng);
			break;
		case 3:		/* values and midpoints, and their neighbours */
			x[i] = ldexpf((float)rng_below(rng, 28) * 0.25f, power > 125 ? 125 : power);
			x[i] = rng_below(rng, 2) ? x[i] : nextafterf(x[i], rng_below(rng, 2) ? 0 : 1e38f);
			break;
		case 4:		/* the largest there are */
			x[i] = (rng_below(rng, 2) ? 1 : -1) * 0x1.fffffep127f *
			       (rng_below(rng, 4) ? (float)rng_unit(rng) : 1);
			break;
		default:
			x[i] = ldexpf((float)rng_gauss(rng), power / 2);
			break;
		}
	}
}

/* OCP MX v1.0, 6.3: the scale, then the nearest of 15 values. */
static uint32_t slow_mxfp4_scale(const float x[32])
{
	double max = 0;
	int exponent;

	for (int i = 0; i < 32; i++)
		max = fmax(max, fabs((double)x[i]));
	if (max == 0)
		return 0;
	frexp(max, &exponent);		/* max = f * 2^exponent, f in [1/2, 1) */
	exponent += -1 - 2 + 127;
	return exponent < 0 ? 0 : exponent > 254 ? 254 : (uint32_t)exponent;
}

/* x has 24 bits, so that around a tie the distances are exact in double. */
static uint32_t slow_mxfp4_code(float x, double inverse_scale)
{
	double want = fabs(x * inverse_scale), best = INFINITY;
	uint32_t code = 0;

	for (uint32_t c = 0; c < 8; c++) {
		double distance = fabs(want - magnitudes[c]);

		if (distance < best || (distance == best && c % 2 == 0)) {
			best = distance;
			code = c;
		}
	}
	return code | (signbit(x) ? 8 : 0);
}

static void slow_mxfp4(uint8_t *dst, const float *x)
{
	memset(dst, 0, 64 + 1024 + 64 + 256);
	for (uint32_t i = 0; i < GROUP; i += 32) {
		uint32_t r = i / COLS, first = i % COLS, e = slow_mxfp4_scale(x + i);
		uint8_t *tile = dst + first / 128 * 1088;
		double inverse = ldexp(1, 127 - (int)e);

		tile[4 * r + first % 128 / 32] = (uint8_t)e;
		for (uint32_t c = first; c < first + 32; c++) {
			uint32_t code = slow_mxfp4_code(x[i + c - first], inverse);

			tile[64 + c % 128 / 8 * 64 + 4 * r + c % 4] |=
				(uint8_t)(c % 8 >= 4 ? code << 4 : code);
		}
	}
}

/* Every level has packed x into what the slow encoder made of it. */
static void assert_packs(pack_fn pack[VGPU_ISA_COUNT], const float *x, const uint8_t *want,
			 uint8_t *got, size_t bytes)
{
	for (int level = 0; level < VGPU_ISA_COUNT; level++) {
		if (!pack[level])
			continue;
		assert_int_equal(pack[level](got, x, VGPU_W_F32, COLS, 16, COLS), 0);
		if (memcmp(got, want, bytes))
			fail_msg("%s differs", vgpu_isa_name(level));
	}
}

static void pack_of_mxfp4_is_the_slow_encoders(void **state)
{
	const size_t bytes = vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, COLS);
	uint8_t *got = check_alloc(bytes), *want = check_alloc(bytes);
	float *x = check_alloc(GROUP * sizeof(float));
	pack_fn pack[VGPU_ISA_COUNT] = { NULL };
	uint64_t rng = 1;

	(void)state;
	for (int level = 0; level < VGPU_ISA_COUNT; level++)
		pack[level] = vgpu_kernels_get(level) ? vgpu_kernels_get(level)->pack_mxfp4 : NULL;
	assert_int_equal(bytes, 64 + 1024 + 64 + 256);
	for (uint32_t n = 0; n < BLOCKS; n += GROUP_BLOCKS) {
		for (uint32_t b = 0; b < GROUP_BLOCKS; b++)
			random_block(x + b * 32, &rng);
		slow_mxfp4(want, x);
		assert_packs(pack, x, want, got, bytes);
	}
	print_message("%u random blocks at every level up to %s\n", BLOCKS,
		      vgpu_isa_name(vgpu_isa_detect()));
	free(x);
	free(want);
	free(got);
}

/* The nearest multiple of d, by search around the quotient. */
static int slow_int8_code(float x, double d)
{
	double best = INFINITY;
	int code = 0, guess;

	if (d == 0)
		return 0;
	guess = (int)fmax(-127, fmin(127, x / d));
	for (int q = guess - 1; q <= guess + 1; q++) {
		double distance = fabs(x - q * d);

		if (q < -127 || q > 127)
			continue;
		if (distance < best || (distance == best && q % 2 == 0)) {
			best = distance;
			code = q;
		}
	}
	return code;
}

static void slow_int8(uint8_t *dst, const float *x)
{
	memset(dst, 0, 128 + 2048 + 128 + 512);
	for (uint32_t i = 0; i < GROUP; i += 32) {
		uint32_t r = i / COLS, first = i % COLS;
		uint8_t *tile = dst + first / 128 * 2176;
		float max = 0;
		_Float16 d;

		for (uint32_t j = 0; j < 32; j++)
			max = fmaxf(max, fabsf(x[i + j]));
		d = (_Float16)(max / 127.0f);
		memcpy(tile + first % 128 / 32 * 32 + 2 * r, &d, 2);
		for (uint32_t c = first; c < first + 32; c++)
			tile[128 + c % 128 / 4 * 64 + 4 * r + c % 4] =
				(uint8_t)(slow_int8_code(x[i + c - first], (double)d) + 128);
	}
}

static void pack_of_int8_is_the_slow_encoders(void **state)
{
	const size_t bytes = vgpu_weight_unit_bytes(VGPU_W_INT8_G16, COLS);
	uint8_t *got = check_alloc(bytes), *want = check_alloc(bytes);
	float *x = check_alloc(GROUP * sizeof(float));
	pack_fn pack[VGPU_ISA_COUNT] = { NULL };
	uint64_t rng = 2;

	(void)state;
	for (int level = 0; level < VGPU_ISA_COUNT; level++)
		pack[level] = vgpu_kernels_get(level) ? vgpu_kernels_get(level)->pack_int8 : NULL;
	assert_int_equal(bytes, 128 + 2048 + 128 + 512);
	for (uint32_t n = 0; n < BLOCKS; n += GROUP_BLOCKS) {
		for (uint32_t i = 0; i < GROUP; i++) {
			if (i % 32 == 0)
				random_block(x + i, &rng);
			/* A scale beyond f16 is another test. */
			while (fabsf(x[i]) >= 8e6f)
				x[i] *= 0x1p-20f;
		}
		slow_int8(want, x);
		assert_packs(pack, x, want, got, bytes);
	}
	print_message("%u random blocks at every level up to %s\n", BLOCKS,
		      vgpu_isa_name(vgpu_isa_detect()));
	free(x);
	free(want);
	free(got);
}


/* Packs what is bad, and holds that dst keeps the bytes it had. */
static void check_refused(pack_fn pack, enum vgpu_wformat format,
			  enum vgpu_wformat src_format, const void *src, int want)
{
	size_t bytes = vgpu_weight_unit_bytes(format, COLS);
	uint8_t *dst = check_alloc(bytes), *before = check_alloc(bytes);

	assert_int_equal(pack(dst, src, src_format, COLS, 16, COLS), want);
	assert_memory_equal(dst, before, bytes);
	free(before);
	free(dst);
}

static void pack_refuses_what_has_no_code_and_writes_nothing(void **state)
{
	static const float bad[] = { NAN, -NAN, INFINITY, -INFINITY };
	const struct vgpu_kernels *t = check_table(state);
	float *x = check_alloc(GROUP * sizeof(float));
	uint16_t *half = check_alloc(GROUP * sizeof(*half));

	for (uint32_t at = 0; at < GROUP; at += 97) {
		for (uint32_t i = 0; i < GROUP; i++) {
			x[i] = (float)i;
			half[i] = (uint16_t)i;
		}
		x[at] = bad[at % 4];
		check_refused(t->pack_mxfp4, VGPU_W_MXFP4_G16, VGPU_W_F32, x, -EDOM);
		check_refused(t->pack_int8, VGPU_W_INT8_G16, VGPU_W_F32, x, -EDOM);
		half[at] = at % 2 ? 0x7c00 : 0xfe00;
		check_refused(t->pack_mxfp4, VGPU_W_MXFP4_G16, VGPU_W_F16, half, -EDOM);
		half[at] = at % 2 ? 0x7f80 : 0xffc1;
		check_refused(t->pack_int8, VGPU_W_INT8_G16, VGPU_W_BF16, half, -EDOM);
		x[at] = -127 * 65520.0f;
		check_refused(t->pack_int8, VGPU_W_INT8_G16, VGPU_W_F32, x, -EDOM);
		check_refused(t->pack_int8, VGPU_W_INT8_G16, VGPU_W_Q8_0, x, -EINVAL);
		check_refused(t->pack_mxfp4, VGPU_W_MXFP4_G16, VGPU_W_Q8_0, x, -EINVAL);
	}
	free(half);
	free(x);
}

static void pack_takes_the_largest_scale_that_f16_holds(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint8_t *dst = check_alloc(vgpu_weight_unit_bytes(VGPU_W_INT8_G16, 32));
	float x[32] = { nextafterf(127 * 65520.0f, 0) }, out[32];
	struct vgpu_panel w = { VGPU_W_INT8_G16, 1, 32, dst, NULL };

	assert_int_equal(t->pack_int8(dst, x, VGPU_W_F32, 32, 1, 32), 0);
	t->weight_decode(&w, out, 32);
	assert_true(out[0] == 127 * 65504.0f);
	free(dst);
}

/* All sources, at odd addresses, with strides, give what f32 in one piece gives. */
static void check_source(const struct vgpu_kernels *t, enum vgpu_wformat src_format,
			 uint32_t rows, uint32_t k, uint64_t *rng)
{
	const size_t ld = k + 5, element = src_format == VGPU_W_F32 ? 4 : 2;
	const size_t int8_bytes = vgpu_weight_unit_bytes(VGPU_W_INT8_G16, k);
	const size_t mx_bytes = vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, k);
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	uint8_t *src = check_alloc(rows * ld * element + 3) + 3;
	uint8_t *got = check_alloc(int8_bytes), *want = check_alloc(int8_bytes);
	uint32_t padded = (k + 31) / 32 * 32;
	float *x = check_alloc((size_t)16 * padded * sizeof(*x));

	memset(x, 0, (size_t)16 * padded * sizeof(*x));
	for (uint32_t i = 0; i < rows * k; i++) {
		float value = (float)rng_gauss(rng), *to = x + i / k * padded + i % k;
		uint8_t *at = src + (i / k * ld + i % k) * element;
		_Float16 half = (_Float16)value;
		uint32_t upper;

		memcpy(&upper, &value, 4);
		upper &= 0xffff0000u;
		if (src_format == VGPU_W_F32) {
			memcpy(at, &value, 4);
			*to = value;
		} else if (src_format == VGPU_W_F16) {
			memcpy(at, &half, 2);
			*to = (float)half;
		} else {
			memcpy(at, (uint8_t *)&value + 2, 2);
			memcpy(to, &upper, 4);
		}
	}
	assert_int_equal(ref->pack_mxfp4(want, x, VGPU_W_F32, padded, 16, padded), 0);
	assert_int_equal(t->pack_mxfp4(got, src, src_format, ld, rows, k), 0);
	assert_memory_equal(got, want, mx_bytes);
	assert_int_equal(ref->pack_int8(want, x, VGPU_W_F32, padded, 16, padded), 0);
	assert_int_equal(t->pack_int8(got, src, src_format, ld, rows, k), 0);
	assert_memory_equal(got, want, int8_bytes);
	free(x);
	free(want);
	free(got);
	free(src - 3);
}

static void pack_takes_every_source_and_fills_up_with_zeros(void **state)
{
	static const enum vgpu_wformat sources[] = { VGPU_W_F32, VGPU_W_F16, VGPU_W_BF16 };
	static const uint32_t cols[] = { 1, 15, 32, 33, 96, 127, 160, 384 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 3;

	for (int s = 0; s < 3; s++)
		for (size_t c = 0; c < sizeof(cols) / sizeof(cols[0]); c++)
			for (uint32_t rows = 1; rows <= 16; rows += 5)
				check_source(t, sources[s], rows, cols[c], &rng);
}

/* A thread that flushes subnormals to zero packs the same bytes. */
static void pack_does_not_see_flush_to_zero(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	const size_t bytes = vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, COLS);
	uint8_t *got = check_alloc(bytes), *want = check_alloc(bytes);
	float *x = check_alloc(GROUP * sizeof(float)), *out = check_alloc(GROUP * sizeof(float));
	float *flushed = check_alloc(GROUP * sizeof(float));
	struct vgpu_panel w = { VGPU_W_MXFP4_G16, 16, COLS, want, NULL };
	unsigned int csr = _mm_getcsr();
	uint64_t rng = 4;

	for (uint32_t i = 0; i < GROUP; i++) {
		uint32_t bits = (uint32_t)rng_next(&rng) & 0x80ffffffu;

		memcpy(&x[i], &bits, 4);
	}
	assert_int_equal(t->pack_mxfp4(want, x, VGPU_W_F32, COLS, 16, COLS), 0);
	t->weight_decode(&w, out, COLS);
	_mm_setcsr(csr | 0x8040);
	assert_int_equal(t->pack_mxfp4(got, x, VGPU_W_F32, COLS, 16, COLS), 0);
	t->weight_decode(&w, flushed, COLS);
	_mm_setcsr(csr);
	assert_memory_equal(got, want, bytes);
	assert_memory_equal(flushed, out, GROUP * sizeof(float));
	free(flushed);
	free(out);
	free(x);
	free(want);
	free(got);
}

static const enum vgpu_wformat int4_formats[] = {
	VGPU_W_Q4_0_G16, VGPU_W_INT4_64_G16, VGPU_W_INT4_128_G16, VGPU_W_INT4_Z32_G16,
	VGPU_W_INT4_Z64_G16, VGPU_W_INT4_Z128_G16,
};
#define INT4_FORMATS (sizeof(int4_formats) / sizeof(int4_formats[0]))

static void check_int4(const struct vgpu_kernels *t, const struct vgpu_g16_type *type, uint32_t rows,
		       uint32_t k, uint64_t *rng)
{
	size_t unit = vgpu_weight_unit_bytes(type->format, k);
	uint32_t cols = vgpu_g16_scale_cols(type);
	uint8_t *dst = check_alloc(unit + 64);
	float *out = check_alloc(16 * (size_t)k * sizeof(*out));
	struct vgpu_panel w = { type->format, 16, k, dst, NULL };
	struct random_int4 s;

	random_int4(&s, type, rows, k, false, rng);
	assert_int_equal(t->pack_int4(dst, type->format, &s.rows), 0);
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(dst[unit + i], 0xa5);
	t->weight_decode(&w, out, k);
	for (uint32_t i = 0; i < 16 * k; i++) {
		uint32_t group = i / k * (k / cols) + i % k / cols;
		double want = i / k >= rows ? 0 : (s.codes[i] - (s.rows.zeros ? s.zeros[group] : 8)) *
						  (double)vgpu_f16_to_f32(s.scales[group]);

		assert_true(out[i] == want);
	}
	random_int4_free(&s);
	free(out);
	free(dst);
}

static void int4_is_scale_times_code_less_zero(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 5;

	for (size_t f = 0; f < INT4_FORMATS; f++)
		for (uint32_t rows = 1; rows <= 16; rows += 5)
			for (uint32_t k = 128; k <= 1280; k += 384)
				check_int4(t, vgpu_g16_type(int4_formats[f]), rows, k, &rng);
}

/* Refused, and nothing written. */
static void assert_int4(const struct vgpu_kernels *t, enum vgpu_wformat format,
			const struct vgpu_int4_rows *s, int rc)
{
	uint8_t dst[4096];

	memset(dst, 0xa5, sizeof(dst));
	assert_int_equal(t->pack_int4(dst, format, s), rc);
	for (size_t i = 0; i < sizeof(dst) && rc; i++)
		assert_int_equal(dst[i], 0xa5);
}

static void int4_refuses_what_has_no_place(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint16_t scales[2] = { 0x3c00, 0x3c00 };
	uint8_t codes[256] = { 0 }, zeros[2] = { 0, 16 };
	struct vgpu_int4_rows s = { .codes = codes, .scales = scales, .zeros = zeros, .ld = 128,
				    .ld_groups = 1, .rows = 2, .k = 128 };
	struct vgpu_int4_rows half = s, none = s;

	half.k = 64;
	none.zeros = NULL;
	assert_int4(t, VGPU_W_INT4_Z128_G16, &half, -EINVAL);
	assert_int4(t, VGPU_W_INT4_Z128_G16, &none, -EINVAL);
	assert_int4(t, VGPU_W_INT4_128_G16, &s, -EINVAL);
	assert_int4(t, VGPU_W_Q5_0_G16, &none, -EINVAL);
	assert_int4(t, VGPU_W_Q4_K_G16, &s, -EINVAL);
	assert_int4(t, VGPU_W_INT8_G16, &none, -EINVAL);
	assert_int4(t, VGPU_W_INT4_Z128_G16, &s, 0);
	assert_int4(t, VGPU_W_INT4_128_G16, &none, 0);
	zeros[1] = 17;
	assert_int4(t, VGPU_W_INT4_Z128_G16, &s, -EDOM);
	zeros[1] = 0;
	codes[255] = 16;
	assert_int4(t, VGPU_W_INT4_Z128_G16, &s, -EDOM);
	codes[255] = 0;
	scales[1] = 0xfc00;
	assert_int4(t, VGPU_W_INT4_128_G16, &none, -EDOM);
}

static void units_are_whole_lines(void **state)
{
	(void)state;
	for (uint32_t k = 1; k < 700; k++) {
		assert_int_equal(vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, k) % 64, 0);
		assert_int_equal(vgpu_weight_unit_bytes(VGPU_W_INT8_G16, k) % 64, 0);
	}
	assert_int_equal(vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, 4096), 16 * 4096 * 17 / 32);
	assert_int_equal(vgpu_weight_unit_bytes(VGPU_W_MXFP4, 4096), 4096 * 17 / 32);
	/* No more than the blocks that they are made from, but for a line that Q6_K fills by half. */
	for (uint32_t f = 0; f < 64; f++) {
		const struct vgpu_g16_type *type = vgpu_g16_type((enum vgpu_wformat)f);
		size_t bytes = type ? vgpu_weight_unit_bytes(type->source, 4096) : 0;

		if (!type || !type->source)
			continue;
		bytes = 16 * bytes + (type->source == VGPU_W_Q6_K ? 32 * 4096 / 256 : 0);
		assert_int_equal(vgpu_weight_unit_bytes(type->format, 4096), bytes);
		assert_int_equal(vgpu_weight_unit_bytes(type->format, 32 * 37) % 64, 0);
		assert_int_equal(vgpu_weight_unit_rows(type->format), 16);
	}
	assert_int_equal(vgpu_weight_unit_bytes(VGPU_W_Q8_0, 4096), 4096 * 34 / 32);
	assert_int_equal(vgpu_weight_unit_bytes(VGPU_W_INT4_128_G16, 4096), 16 * 4096 * 33 / 64);
	assert_int_equal(vgpu_weight_unit_bytes(VGPU_W_INT4_Z128_G16, 4096), 16 * 4096 * 67 / 128);
	assert_int_equal(vgpu_weight_unit_rows(VGPU_W_INT8_G16), 16);
	assert_int_equal(vgpu_weight_unit_rows((enum vgpu_wformat)99), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(units_are_whole_lines),
		CHECK_LEVELS(decode_of_mxfp4_is_exact_for_every_scale_and_code),
		CHECK_LEVELS(decode_of_int8_is_exact_for_every_scale_and_code),
		CHECK_LEVELS(decode_of_halves_is_exact),
		cmocka_unit_test(pack_of_mxfp4_is_the_slow_encoders),
		cmocka_unit_test(pack_of_int8_is_the_slow_encoders),
		CHECK_LEVELS(pack_refuses_what_has_no_code_and_writes_nothing),
		CHECK_LEVELS(pack_takes_the_largest_scale_that_f16_holds),
		CHECK_LEVELS(pack_takes_every_source_and_fills_up_with_zeros),
		CHECK_LEVELS(pack_does_not_see_flush_to_zero),
		CHECK_LEVELS(int4_is_scale_times_code_less_zero),
		CHECK_LEVELS(int4_refuses_what_has_no_place),
	};

	return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Keys and values as blocks of Q8_0 at every level: bytes against a definition written another
 * way, the nearest code by search in long double; what they decode to; what has no code.
 */
#include "check.h"
#include "kernels/attention.h"
#include "kernels/pack/half.h"

#define BLOCK	VGPU_KV_Q8_0_BYTES

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BLOCKS	20000u
#else
#define BLOCKS	200000u
#endif

static void decode(const struct vgpu_kernels *t, const uint8_t *block, float out[32])
{
	struct vgpu_panel w = { .format = VGPU_W_Q8_0, .rows = 1, .k = 32, .data = block };

	t->weight_decode(&w, out, 32);
}

static uint16_t scale_of(const uint8_t *block)
{
	uint16_t d;

	memcpy(&d, block, sizeof(d));
	return d;
}

/* The code whose value is nearest to x; of two the even one. */
static int nearest(long double x, long double d)
{
	int best = 0;

	for (int q = -127; q <= 127; q++) {
		long double here = fabsl(x - q * d), there = fabsl(x - best * d);

		if (here < there || (here == there && q % 2 == 0))
			best = q;
	}
	return best;
}

static void check_block(const struct vgpu_kernels *t, const float x[32])
{
	uint8_t memory[BLOCK + 3], *block = memory + 1;
	float largest = 0, d;

	memset(memory, 0xa5, sizeof(memory));
	t->q8_0_encode(block, x, 32);
	assert_int_equal(memory[0], 0xa5);
	assert_int_equal(memory[BLOCK + 1], 0xa5);
	for (int i = 0; i < 32; i++)
		largest = fmaxf(largest, fabsf(x[i]));
	assert_int_equal(scale_of(block), vgpu_f32_to_f16(largest / 127));
	d = vgpu_f16_to_f32(scale_of(block));
	for (int i = 0; i < 32; i++) {
		int code = (int8_t)block[2 + i], want = d > 0 ? nearest(x[i], d) : 0;

		if (code != want)
			fail_msg("%a by %a is %d, not %d", x[i], d, code, want);
	}
}

static void every_value_gets_its_nearest_code(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 1;
	float x[32];

	for (uint32_t n = 0; n < BLOCKS / 32; n++) {
		int exponent = (int)rng_below(&rng, 64) - 45;

		for (int i = 0; i < 32; i++)
			x[i] = (float)ldexp(rng_gauss(&rng), exponent);
		check_block(t, x);
	}
}

/* Halves of a step, and the numbers beside them, of scales that F16 has and rounds. */
static void a_value_between_two_codes_gets_the_nearest_or_the_even_one(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 2;
	float x[32];

	for (uint32_t n = 0; n < BLOCKS / 32; n++) {
		float d = vgpu_f16_to_f32((uint16_t)(1 + rng_below(&rng, 0x7a00)));

		x[0] = 127 * d;
		for (int i = 1; i < 32; i++) {
			x[i] = ((float)rng_below(&rng, 254) - 126.5f) * d;
			if (i % 3)
				x[i] = nextafterf(x[i], i % 3 == 1 ? INFINITY : -INFINITY);
		}
		check_block(t, x);
	}
}

static void rows_of_zeros_and_of_what_is_too_small_are_zeros(void **state)
{
	static const float small[] = { 0, -0.0f, 0x1p-149f, -0x1p-127f, 0x1p-100f, -127 * 0x1p-25f };
	const struct vgpu_kernels *t = check_table(state);
	uint8_t zeros[BLOCK] = { 0 }, block[BLOCK];
	float x[32];

	for (size_t s = 0; s < sizeof(small) / sizeof(small[0]); s++) {
		for (int i = 0; i < 32; i++)
			x[i] = i % 5 ? 0 : small[s];
		t->q8_0_encode(block, x, 32);
		assert_memory_equal(block, zeros, BLOCK);
	}
	/* The next one is the smallest scale there is. */
	x[0] = 128 * 0x1p-25f;
	t->q8_0_encode(block, x, 32);
	assert_int_equal(scale_of(block), 1);
	assert_int_equal(block[2], 64);
}

/* Wherever it stands, and its block alone. */
static void what_has_no_code_makes_its_block_nan(void **state)
{
	static const float wrong[] = { NAN, -NAN, INFINITY, -INFINITY, 0x1.fffffep127f, 127 * 65520.0f };
	const struct vgpu_kernels *t = check_table(state);
	uint8_t blocks[3 * BLOCK];
	float x[96], out[32];

	for (size_t w = 0; w < sizeof(wrong) / sizeof(wrong[0]); w++) {
		for (int at = 0; at < 32; at++) {
			for (int i = 0; i < 96; i++)
				x[i] = (float)(i - 40);
			x[32 + at] = wrong[w];
			t->q8_0_encode(blocks, x, 96);
			for (int b = 0; b < 3; b++) {
				decode(t, blocks + b * BLOCK, out);
				for (int i = 0; i < 32; i++)
					assert_true(b == 1 ? isnan(out[i]) : fabsf(out[i] - x[32 * b + i]) < 0.3f);
			}
		}
	}
	/* One step less has one: it is the largest that F16's largest scale gives. */
	x[0] = nextafterf(127 * 65520.0f, 0);
	for (int i = 1; i < 32; i++)
		x[i] = -x[0];
	t->q8_0_encode(blocks, x, 32);
	assert_int_equal(scale_of(blocks), 0x7bff);
	assert_int_equal((int8_t)blocks[2], 127);
	assert_int_equal((int8_t)blocks[3], -127);
}

/* Documentation/layers.md: half a step of the block, which is max / 127; and 2^-11 by the scale. */
static void the_error_is_half_a_step_of_the_block(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	double error = 0, power = 0;
	uint8_t block[BLOCK];
	float x[32], out[32];
	uint64_t rng = 3;

	for (uint32_t n = 0; n < BLOCKS / 32; n++) {
		float largest = 0;

		for (int i = 0; i < 32; i++) {
			x[i] = (float)rng_gauss(&rng);
			largest = fmaxf(largest, fabsf(x[i]));
		}
		t->q8_0_encode(block, x, 32);
		decode(t, block, out);
		for (int i = 0; i < 32; i++) {
			double e = fabs((double)out[i] - x[i]);

			assert_true(e <= largest / 254 * (1 + 0x1p-11) + fabsf(x[i]) * 0x1p-11);
			error += e * e;
			power += (double)x[i] * x[i];
		}
	}
	print_message("NMSE %.3g of normal numbers\n", error / power);
	assert_true(error / power > 1e-5 && error / power < 4e-5);
}

static void many_blocks_are_as_one_after_the_other(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	static uint8_t all[40 * BLOCK], one[BLOCK];
	static float x[40 * 32];
	uint64_t rng = 4;

	for (int i = 0; i < 40 * 32; i++)
		x[i] = (float)rng_gauss(&rng);
	memset(all, 0, sizeof(all));
	t->q8_0_encode(all, x, 0);
	assert_int_equal(scale_of(all), 0);
	t->q8_0_encode(all, x, 40 * 32);
	for (int b = 0; b < 40; b++) {
		t->q8_0_encode(one, x + 32 * b, 32);
		assert_memory_equal(all + b * BLOCK, one, BLOCK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECK_LEVELS(every_value_gets_its_nearest_code),
		CHECK_LEVELS(a_value_between_two_codes_gets_the_nearest_or_the_even_one),
		CHECK_LEVELS(rows_of_zeros_and_of_what_is_too_small_are_zeros),
		CHECK_LEVELS(what_has_no_code_makes_its_block_nan),
		CHECK_LEVELS(the_error_is_half_a_step_of_the_block),
		CHECK_LEVELS(many_blocks_are_as_one_after_the_other),
	};

	return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}

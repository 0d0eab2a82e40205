// SPDX-License-Identifier: MIT
/* Runs of mode A8_256: products of MXFP4 that are integers along 256 columns, and those that are not. */
#include "common/product.h"
#include "kernels/pack/g16.h"
#include "kernels/pack/run8.h"

#define GROUPS	5u
#define N	(GROUPS * 16)
#define K	2336u			/* two chunks of 1024, a whole run and a block */
#define M	19u
#define CHUNK_BYTES	((size_t)VGPU_RUN_CHUNK / 128 * VGPU_MXFP4_TILE)

static uint8_t *exponent(struct product *p, uint32_t row, uint32_t block)
{
	uint8_t *group = p->data + (size_t)(row / 16) * vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, p->w.k);

	return group + (size_t)(block / 4) * VGPU_MXFP4_TILE + row % 16 * 4 + block % 4;
}

/* Gaussian weights have runs; where @what has a group's and a chunk's bit they have none. */
static void draw(struct product *p, bool (*what)(uint32_t group, uint32_t chunk), uint32_t more)
{
	uint64_t rng = 77 + more;

	product_init(p, VGPU_W_MXFP4_G16, M, N, K, &rng);
	for (uint32_t g = 0; g < GROUPS; g++)
		for (uint32_t c = 0; c * VGPU_RUN_CHUNK < K; c++)
			if (what(g, c))
				*exponent(p, g * 16 + 7, c * 32 + 3) = (uint8_t)more;
	vgpu_kernels_get(VGPU_ISA_REF)->weight_decode(&p->w, p->wf, K);
}

/* Whether a chunk of a group has runs. */
static bool has_runs(struct product *p, uint32_t group, uint32_t first)
{
	struct vgpu_panel part = { VGPU_W_MXFP4_G16, 16, K - first < VGPU_RUN_CHUNK ? K - first : VGPU_RUN_CHUNK,
				   p->data + group * vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, K) +
				   first / VGPU_RUN_CHUNK * CHUNK_BYTES, NULL };
	uint64_t all, fit = vgpu_run8_share(&part, &all);

	assert_int_equal(all, 1);
	return fit;
}

/* Columns first .. end - 1, with one scale, added to a sum: as avx512/act.h has it. */
static float add(struct product *p, float sum, uint32_t i, uint32_t r, uint32_t first, uint32_t end,
		 float scale)
{
	uint32_t begin = first / VGPU_RUN * VGPU_RUN, run = K - begin < VGPU_RUN ? K - begin : VGPU_RUN;
	float s = check_a8_scale(p->x + (size_t)i * K + begin, run);
	double dot = 0;

	for (uint32_t c = first; c < end; c++)
		dot += rint(p->xr[(size_t)i * K + c] / s) * (p->wf[(size_t)r * K + c] / scale);
	return fmaf((float)(dot * s), scale, sum);
}

static float half_scale(struct product *p, uint32_t row, uint32_t first, uint32_t end)
{
	uint32_t least = 255;

	for (uint32_t b = first / 32; b * 32 < end; b++) {
		uint32_t e = *exponent(p, row, b);

		least = e < least ? e : least;
	}
	return ldexpf(1, (int)least - 128);
}

static float expected(struct product *p, uint32_t i, uint32_t r)
{
	float sum = 0;

	for (uint32_t first = 0, end; first < K; first = end) {
		uint32_t step = has_runs(p, r / 16, first / VGPU_RUN_CHUNK * VGPU_RUN_CHUNK) ? VGPU_RUN : 32;

		end = K - first < step ? K : first + step;
		sum = add(p, sum, i, r, first, end, half_scale(p, r, first, end));
	}
	return sum;
}

static void check_bits(bool (*what)(uint32_t group, uint32_t chunk), uint32_t more, uint32_t fit)
{
	const struct vgpu_kernels *t = vgpu_kernels_get(VGPU_ISA_AVX512);
	struct product p;
	uint64_t all;

	if (!t) {
		print_message("SKIP: this CPU has no avx512\n");
		skip();
	}
	draw(&p, what, more);
	assert_int_equal(vgpu_run8_share(&p.w, &all), fit);
	assert_int_equal(all, GROUPS * 3);
	product_round(&p, VGPU_ISA_AVX512, VGPU_MODE_A8_256);
	product_run(t, &p.w, VGPU_MODE_A8_256, p.x, M, p.y, N);
	for (uint32_t i = 0; i < M; i++)
		for (uint32_t r = 0; r < N; r++)
			if (p.y[i * N + r] != expected(&p, i, r))
				fail_msg("row %u by %u: %a, must be %a", i, r, p.y[i * N + r],
					 expected(&p, i, r));
	product_free(&p);
}

static bool nowhere(uint32_t group, uint32_t chunk)
{
	(void)group;
	(void)chunk;
	return false;
}

static bool everywhere(uint32_t group, uint32_t chunk)
{
	(void)group;
	(void)chunk;
	return true;
}

/* Alone, beside one that has none, in the middle of a row and at its end. */
static bool here_and_there(uint32_t group, uint32_t chunk)
{
	return group == 1 || (group == 2 && chunk == 1) || (group == 4 && chunk == 2);
}

static void runs_are_added_as_integers(void **state)
{
	(void)state;
	check_bits(nowhere, 0, GROUPS * 3);
}

static void scales_far_apart_are_multiplied_block_by_block(void **state)
{
	(void)state;
	check_bits(everywhere, 140, 0);
	check_bits(everywhere, 1, 0);
}

static void pairs_may_have_runs_in_one_group(void **state)
{
	(void)state;
	check_bits(here_and_there, 140, GROUPS * 3 - 5);
	check_bits(here_and_there, 30, GROUPS * 3 - 5);
}

/* Which they are is what the weight says, whatever else is multiplied with it. */
static void result_is_the_same_in_any_cut(void **state)
{
	const struct vgpu_kernels *t = vgpu_kernels_get(VGPU_ISA_AVX512);
	struct product p;
	float y[M * N];

	(void)state;
	if (!t) {
		print_message("SKIP: this CPU has no avx512\n");
		skip();
	}
	draw(&p, here_and_there, 140);
	product_run(t, &p.w, VGPU_MODE_A8_256, p.x, M, p.y, N);
	for (uint32_t g = 0; g < GROUPS; g++) {
		struct vgpu_panel part = p.w;

		part.rows = 16;
		part.data = p.data + g * vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, K);
		for (uint32_t i = 0; i < M; i++)
			product_run(t, &part, VGPU_MODE_A8_256, p.x + (size_t)i * K, 1, y + i * N + g * 16, N);
	}
	assert_memory_equal(y, p.y, sizeof(y));
	product_free(&p);
}

/* By hand: what may be a run, at its ends. */
static void share_is_that_of_whole_runs(void **state)
{
	static const struct { uint8_t e; uint32_t fit; } cases[] = {
		{ 120, 2 }, { 123, 2 }, { 124, 1 }, { 117, 2 }, { 116, 1 }, { 0, 1 }, { 255, 1 },
	};
	uint8_t *data = check_alloc(2 * vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, 1024));
	struct vgpu_panel w = { VGPU_W_MXFP4_G16, 32, 1024, data, NULL };
	uint64_t all;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(data, 120, 2 * vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, 1024));
		data[7 * VGPU_MXFP4_TILE + 15 * 4 + 3] = cases[i].e;
		assert_int_equal(vgpu_run8_share(&w, &all), cases[i].fit);
		assert_int_equal(all, 2);
	}
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(share_is_that_of_whole_runs),
		cmocka_unit_test(runs_are_added_as_integers),
		cmocka_unit_test(scales_far_apart_are_multiplied_block_by_block),
		cmocka_unit_test(pairs_may_have_runs_in_one_group),
		cmocka_unit_test(result_is_the_same_in_any_cut),
	};

	return cmocka_run_group_tests_name("run8", tests, NULL, NULL);
}

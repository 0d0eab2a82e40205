// SPDX-License-Identifier: MIT
/* The parts that the tools share: sizes, figures of accuracy, lists of weights. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/size.h"
#include "common/weights.h"
#include "vbrun/accuracy.h"
#include "vbrun/gen.h"

static void size_takes_what_people_write(void **state)
{
	static const struct { const char *text; uint64_t bytes; } good[] = {
		{ "0", 0 }, { "1", 1 }, { "4096", 4096 }, { "512M", 512ull << 20 },
		{ "64k", 64 << 10 }, { "1.5G", 3ull << 29 }, { "2GiB", 2ull << 30 },
		{ "2GB", 2ull << 30 }, { "1T", 1ull << 40 }, { "10B", 10 }, { "0.5K", 512 },
	};
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(size_parse(good[i].text, &bytes));
		assert_int_equal(bytes, good[i].bytes);
	}
}

static void size_refuses_what_is_none(void **state)
{
	static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "M", "1MM", "1Q", "0x10",
					   "1e3", "1.2.3", "1,5G", "nan", "inf", "1iB", "9999999T" };
	uint64_t bytes = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (size_parse(bad[i], &bytes))
			fail_msg("'%s' was taken as %llu", bad[i], (unsigned long long)bytes);
	assert_int_equal(bytes, 77);
}

static void size_text_keeps_three_digits(void **state)
{
	(void)state;
	assert_string_equal(size_text(0).s, "0 B");
	assert_string_equal(size_text(999).s, "999 B");
	assert_string_equal(size_text(64 << 10).s, "64.0 KiB");
	assert_string_equal(size_text(3ull << 29).s, "1.50 GiB");
	assert_string_equal(size_text(512ull << 20).s, "512 MiB");
	assert_string_equal(size_seconds(0.0123).s, "12.3 ms");
	assert_string_equal(size_seconds(200).s, "3 min 20 s");
}

/* Unit vectors in a plane, so that cosines are those of angles. */
static void at_angles(const double *angle, uint32_t n, float *out)
{
	for (uint32_t i = 0; i < n; i++) {
		out[2 * i] = (float)cos(angle[i]);
		out[2 * i + 1] = (float)sin(angle[i]);
	}
}

static void spearman_is_the_order_of_pairs(void **state)
{
	static const double angles[] = { 0, 0.1, 0.3, 0.7, 1.5 };
	static const double wider[] = { 0, 0.11, 0.31, 0.72, 1.53 };
	float a[10], b[10];
	struct accuracy r;

	(void)state;
	at_angles(angles, 5, a);
	at_angles(wider, 5, b);
	assert_int_equal(accuracy_measure(a, a, 5, 2, &r), 0);
	assert_true(fabs(r.spearman - 1) < 1e-12);
	assert_true(r.nmse == 0 && r.max_abs == 0);
	assert_int_equal(accuracy_measure(a, b, 5, 2, &r), 0);
	assert_true(fabs(r.spearman - 1) < 1e-12);
	assert_true(r.nmse > 0);
}

/*
 * Three vectors have three pairs. Angles 0, 1, 3 have cosine ranks (2, 0, 1) for pairs
 * (01, 02, 12); angles 0, 2, 3 have (1, 0, 2): by hand, rho = 1 - 6 * 2 / (3 * 8) = 0.5.
 */
static void spearman_equals_the_hand_count(void **state)
{
	static const double first[] = { 0, 1, 3 }, second[] = { 0, 2, 3 };
	float a[6], b[6];
	struct accuracy r;

	(void)state;
	at_angles(first, 3, a);
	at_angles(second, 3, b);
	assert_int_equal(accuracy_measure(a, b, 3, 2, &r), 0);
	assert_true(fabs(r.spearman - 0.5) < 1e-12);
	assert_int_equal(accuracy_measure(a, b, 2, 2, &r), 0);
	assert_true(isnan(r.spearman));
}

static void nmse_and_max_abs_are_what_they_say(void **state)
{
	static const float ours[] = { 1, 2, 3, 5 };
	static const double other[] = { 1, 2, 3, 4 };
	struct accuracy a = accuracy_against_f64(ours, other, 4);

	(void)state;
	assert_true(fabs(a.nmse - 1.0 / 30) < 1e-15);
	assert_true(a.max_abs == 1);
}

/* Nor are their scales taken for matrices: tests/cli/int4_test.sh has such that are taken. */
static void weights_of_awq_and_gptq_without_settings_are_refused(void **state)
{
	struct vgpu_checkpoint *ck;
	struct weights w;
	char why[512];

	(void)state;
	assert_int_equal(vgpu_checkpoint_open(TEST_DATA "/int4_layers.safetensors", &ck, NULL), 0);
	assert_int_equal(weights_list(ck, WEIGHTS_KEEP, &w), 0);
	assert_false(weights_all(&w));
	weights_refusal(ck, &w, why, sizeof(why));
	assert_string_equal(why, "tensor 'awq_128.qweight': no settings of its layer: config.json: No "
			    "such file or directory; nor is there quantize_config.json or "
			    "quant_config.json beside it");
	/* Of each layer the values beside it are a matrix. */
	assert_int_equal(w.count, 29);
	for (size_t i = 0; i < w.count; i++)
		assert_non_null(strstr(w.list[i].name, ".values"));
	assert_int_equal(w.skip_count, 1);
	assert_string_equal(w.skips[0].why, "layers of AWQ or GPTQ that are not taken");
	assert_int_equal(w.skips[0].count, 29);
	weights_free(&w);
	vgpu_checkpoint_close(ck);
}

static void weights_are_listed_as_they_lie(void **state)
{
	char path[] = "/var/tmp/vb-weights-XXXXXX";
	struct vbrun_gen_params p = { .path = path, .bytes = 4 << 20, .seed = 5, .layers = 2,
				      .experts = 4, .hidden = 128, .ffn = 64 };
	struct vgpu_checkpoint *ck;
	struct vgpu_error error;
	struct weights w;
	uint32_t stacks = 0;

	(void)state;
	close(mkstemp(path));
	assert_int_equal(vbrun_gen(&p, NULL, NULL, &error), 0);
	assert_int_equal(vgpu_checkpoint_open(path, &ck, &error), 0);
	assert_int_equal(weights_list(ck, WEIGHTS_KEEP, &w), 0);
	/* embedding; per layer q, k, v, o, router, gate_up, down */
	assert_int_equal(w.count, 1 + 2 * 7);
	for (size_t i = 0; i < w.count; i++) {
		if (i)
			assert_true(w.list[i - 1].offset < w.list[i].offset);
		if (!w.list[i].experts)
			continue;
		stacks++;
		assert_int_equal(w.list[i].format, VGPU_FORMAT_MXFP4_SPLIT);
		assert_int_equal(w.list[i].experts, 4);
		assert_int_equal(w.list[i].bytes, 16 * w.list[i].scales_bytes);
	}
	assert_int_equal(stacks, 4);
	/* What is left out are the norms: two a layer and the last. */
	assert_int_equal(w.skip_count, 1);
	assert_int_equal(w.skips[0].count, 5);
	weights_free(&w);
	vgpu_checkpoint_close(ck);
	unlink(path);
}

/* What products take stays; what they do not take keeps its values where INT8 can. */
static void weights_become_operands_by_one_rule(void **state)
{
	static const enum vgpu_format floats[] = { VGPU_FORMAT_F32, VGPU_FORMAT_F16,
						   VGPU_FORMAT_BF16 };
	static const enum vgpu_format taken[] = { VGPU_FORMAT_MXFP4, VGPU_FORMAT_MXFP4_SPLIT,
						  VGPU_FORMAT_Q8_0 };
	static const enum vgpu_format exact[] = { VGPU_FORMAT_TQ1_0, VGPU_FORMAT_Q1_0,
						  VGPU_FORMAT_IQ4_NL };
	static const enum vgpu_format others[] = { VGPU_FORMAT_Q2_K, VGPU_FORMAT_F8_E4M3,
						   VGPU_FORMAT_IQ4_XS };
	/* Of a packed form of their own: what they become when nothing is asked for, and then. */
	static const enum vgpu_format own[][4] = {
		{ VGPU_FORMAT_Q4_0, VGPU_FORMAT_Q4_0_G16, VGPU_FORMAT_INT8_G16, VGPU_FORMAT_INT8_G16 },
		{ VGPU_FORMAT_Q5_0, VGPU_FORMAT_Q5_0_G16, VGPU_FORMAT_INT8_G16, VGPU_FORMAT_INT8_G16 },
		{ VGPU_FORMAT_Q4_1, VGPU_FORMAT_Q4_1_G16, VGPU_FORMAT_INT8_G16, VGPU_FORMAT_MXFP4_G16 },
		{ VGPU_FORMAT_Q5_1, VGPU_FORMAT_Q5_1_G16, VGPU_FORMAT_INT8_G16, VGPU_FORMAT_MXFP4_G16 },
		{ VGPU_FORMAT_Q4_K, VGPU_FORMAT_Q4_K_G16, VGPU_FORMAT_INT8_G16, VGPU_FORMAT_MXFP4_G16 },
		{ VGPU_FORMAT_Q5_K, VGPU_FORMAT_Q5_K_G16, VGPU_FORMAT_INT8_G16, VGPU_FORMAT_MXFP4_G16 },
		{ VGPU_FORMAT_Q6_K, VGPU_FORMAT_Q6_K_G16, VGPU_FORMAT_INT8_G16, VGPU_FORMAT_MXFP4_G16 },
		{ VGPU_FORMAT_NVFP4, VGPU_FORMAT_NVFP4_G16, VGPU_FORMAT_INT8_G16,
		  VGPU_FORMAT_MXFP4_G16 },
	};
	static const enum vgpu_format asked[] = { VGPU_FORMAT_INT8_G16, VGPU_FORMAT_INT8_G16,
						  VGPU_FORMAT_MXFP4_G16 };

	(void)state;
	for (int i = 0; i < 3; i++)
		for (int pack = WEIGHTS_KEEP; pack <= WEIGHTS_MXFP4; pack++) {
			assert_int_equal(weights_used(floats[i], pack),
					 pack == WEIGHTS_KEEP ? floats[i] : asked[pack]);
			assert_int_equal(weights_used(taken[i], pack), taken[i]);
			assert_int_equal(weights_used(exact[i], pack), VGPU_FORMAT_INT8_G16);
			assert_int_equal(weights_used(others[i], pack), asked[pack]);
		}
	for (int i = 0; i < 8; i++)
		for (int pack = WEIGHTS_KEEP; pack <= WEIGHTS_MXFP4; pack++)
			assert_int_equal(weights_used(own[i][0], pack), own[i][1 + pack]);
}

static void staging_holds_two_panels_of_every_matrix(void **state)
{
	struct weight plain = { .used = VGPU_FORMAT_F32, .n = 4, .k = 1024, .bytes = 4 * 4096 };
	struct weight wide = { .used = VGPU_FORMAT_F32, .n = 2, .k = 1 << 20,
			       .bytes = 2ull << 22 };
	struct weight split = { .used = VGPU_FORMAT_MXFP4_SPLIT, .n = 4, .k = 1024,
				.bytes = 4 * 512, .scales_bytes = 4 * 32 };
	struct weights w = { .list = &split, .count = 1 };
	uint64_t bytes;

	(void)state;
	assert_int_equal(weights_staging(&plain, 64 << 10), 3 * (64 << 10));
	assert_int_equal(weights_staging(&wide, 64 << 10), 129 * (64 << 10));
	assert_int_equal(weights_staging(&split, 64 << 10), 5 * (64 << 10));
	assert_int_equal(weights_default_staging(&w, 1 << 20, 64 << 10), 6 * (64 << 10));
	assert_int_equal(weights_default_staging(&w, 64 << 20, 64 << 10), 51 * (64 << 10));
	assert_int_equal(vgpu_panels_bytes(VGPU_FORMAT_MXFP4_SPLIT, 33, 0, &bytes), -EINVAL);
	assert_int_equal(vgpu_panels_bytes(VGPU_FORMAT_U8, 32, 0, &bytes), -EINVAL);
	assert_int_equal(vgpu_panels_bytes(VGPU_FORMAT_F32, 32, 0, &bytes), 0);
	assert_int_equal(bytes, 3 * (2 << 20));
	w.list = &wide;
	assert_int_equal(weights_default_staging(&w, 1 << 20, 64 << 10), 129 * (64 << 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(size_takes_what_people_write),
		cmocka_unit_test(size_refuses_what_is_none),
		cmocka_unit_test(size_text_keeps_three_digits),
		cmocka_unit_test(spearman_is_the_order_of_pairs),
		cmocka_unit_test(spearman_equals_the_hand_count),
		cmocka_unit_test(nmse_and_max_abs_are_what_they_say),
		cmocka_unit_test(weights_are_listed_as_they_lie),
		cmocka_unit_test(weights_of_awq_and_gptq_without_settings_are_refused),
		cmocka_unit_test(weights_become_operands_by_one_rule),
		cmocka_unit_test(staging_holds_two_panels_of_every_matrix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

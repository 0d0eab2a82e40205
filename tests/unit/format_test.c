// SPDX-License-Identifier: MIT
#include <core/format.h>
#include <kernels/kernels.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static const u32 weights[] = {
	VB_FORMAT_F32, VB_FORMAT_F16, VB_FORMAT_BF16, VB_FORMAT_MXFP4, VB_FORMAT_MXFP4_SPLIT,
	VB_FORMAT_Q8_0, VB_FORMAT_MXFP4_G16, VB_FORMAT_INT8_G16,
	/* what weights are packed from */
	VB_FORMAT_Q4_0, VB_FORMAT_Q4_1, VB_FORMAT_Q5_0, VB_FORMAT_Q5_1, VB_FORMAT_Q2_K,
	VB_FORMAT_Q3_K, VB_FORMAT_Q4_K, VB_FORMAT_Q5_K, VB_FORMAT_Q6_K, VB_FORMAT_IQ4_NL,
	VB_FORMAT_IQ4_XS, VB_FORMAT_NVFP4, VB_FORMAT_F8_E4M3, VB_FORMAT_F8_E5M2,
	VB_FORMAT_TQ1_0, VB_FORMAT_TQ2_0, VB_FORMAT_F64, VB_FORMAT_Q8_K, VB_FORMAT_IQ1_S,
	VB_FORMAT_IQ1_M, VB_FORMAT_IQ2_XXS, VB_FORMAT_IQ2_XS, VB_FORMAT_IQ2_S, VB_FORMAT_IQ3_XXS,
	VB_FORMAT_IQ3_S, VB_FORMAT_Q1_0, VB_FORMAT_F4_E2M1,
};
#define WEIGHTS	(sizeof(weights) / sizeof(weights[0]))

static bool takes(u32 format, u32 k)
{
	switch (format) {
	case VB_FORMAT_F32:
	case VB_FORMAT_F16:
	case VB_FORMAT_BF16:
	case VB_FORMAT_F64:
	case VB_FORMAT_F8_E4M3:
	case VB_FORMAT_F8_E5M2:
	case VB_FORMAT_MXFP4_G16:
	case VB_FORMAT_INT8_G16:
		return true;
	case VB_FORMAT_F4_E2M1:
		return k % 2 == 0;
	case VB_FORMAT_Q1_0:
		return k % 128 == 0;
	case VB_FORMAT_NVFP4:
		return k % 64 == 0;
	case VB_FORMAT_Q8_K:
	case VB_FORMAT_IQ1_S:
	case VB_FORMAT_IQ1_M:
	case VB_FORMAT_IQ2_XXS:
	case VB_FORMAT_IQ2_XS:
	case VB_FORMAT_IQ2_S:
	case VB_FORMAT_IQ3_XXS:
	case VB_FORMAT_IQ3_S:
	case VB_FORMAT_IQ4_XS:
	case VB_FORMAT_TQ1_0:
	case VB_FORMAT_TQ2_0:
		return k % 256 == 0;
	default:
		return k % (format >= VB_FORMAT_Q2_K && format <= VB_FORMAT_Q6_K ? 256 : 32) == 0;
	}
}

static void compare(u32 format, u32 k)
{
	struct vb_unit unit;

	if (!takes(format, k)) {
		assert_int_equal(vb_format_unit(format, k, &unit), -EINVAL);
		return;
	}
	assert_int_equal(vb_format_unit(format, k, &unit), 0);
	assert_int_equal(unit.bytes, vgpu_weight_unit_bytes((enum vgpu_wformat)format, k));
	assert_int_equal(unit.rows, vgpu_weight_unit_rows((enum vgpu_wformat)format));
	assert_int_equal(unit.bytes % unit.align, 0);
	assert_int_equal(unit.align, unit.rows == 16 ? 64 : 1);
}

static void format_units_are_those_of_the_kernels(void **state)
{
	static const u32 large[] = { 1u << 20, (1u << 20) + 1, 0x7fffffff, 0x80000000u,
				     0xffffffe0u, 0xffffffffu };
	size_t f, i;
	u32 k;

	(void)state;
	for (f = 0; f < WEIGHTS; f++) {
		for (k = 1; k <= 5000; k++)
			compare(weights[f], k);
		for (i = 0; i < sizeof(large) / sizeof(large[0]); i++)
			compare(weights[f], large[i]);
	}
}

/* Row by row, group by group. */
static void format_matrix_is_the_sum_of_its_units(void **state)
{
	static const u32 columns[] = { 256, 768, 1024, 0xffffff00u };
	struct vb_unit unit;
	u64 bytes, sum;
	size_t f, c;
	u32 n;

	(void)state;
	for (f = 0; f < WEIGHTS; f++)
		for (c = 0; c < 4; c++) {
			assert_int_equal(vb_format_unit(weights[f], columns[c], &unit), 0);
			for (n = 1, sum = 0; n < 100; n++) {
				if (n % unit.rows == 1 || unit.rows == 1)
					sum += unit.bytes;
				assert_int_equal(vb_format_matrix_bytes(weights[f], n, columns[c],
									&bytes), 0);
				assert_int_equal(bytes, sum);
			}
		}
}

static void format_matrix_bytes_overflow_is_seen(void **state)
{
	u64 bytes = 5;

	(void)state;
	assert_int_equal(vb_format_matrix_bytes(VB_FORMAT_F32, ~0u, ~0u, &bytes), -EOVERFLOW);
	assert_int_equal(bytes, 5);
	assert_int_equal(vb_format_matrix_bytes(VB_FORMAT_U8, ~0u, ~0u, &bytes), 0);
	assert_true(bytes == 0xffffffffull * 0xffffffffull);
	assert_int_equal(vb_format_matrix_bytes(VB_FORMAT_F32, 0, 4, &bytes), -EINVAL);
	assert_int_equal(vb_format_matrix_bytes(VB_FORMAT_F32, 4, 0, &bytes), -EINVAL);
	assert_int_equal(vb_format_matrix_bytes(VB_FORMAT_Q8_0, 4, 33, &bytes), -EINVAL);
}

static void format_unknown_ones_are_refused_everywhere(void **state)
{
	static const u32 known[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
				     20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 48, 49, 50, 51 };
	struct vb_unit unit;
	u32 format, i;
	bool is_known;

	(void)state;
	for (format = 0; format < 70000; format++) {
		for (i = 0, is_known = false; i < sizeof(known) / sizeof(known[0]); i++)
			is_known |= known[i] == format;
		assert_int_equal(vb_format_unit(format, 256, &unit), is_known ? 0 : -EINVAL);
		if (is_known)
			continue;
		assert_false(vb_format_is_weight(format));
		assert_false(vb_format_is_packed(format));
		assert_string_equal(vb_format_name(format), format ? "?" : "none");
	}
	assert_false(vb_format_is_weight(VB_FORMAT_I32));
	assert_false(vb_format_is_weight(VB_FORMAT_U8));
	assert_true(vb_format_is_weight(VB_FORMAT_MXFP4_SPLIT));
	assert_false(vb_format_is_packed(VB_FORMAT_Q8_0));
	assert_false(vb_format_is_source(VB_FORMAT_Q8_0));
	assert_false(vb_format_is_source(VB_FORMAT_INT8_G16));
	assert_false(vb_format_is_source(VB_FORMAT_U8));
	assert_false(vb_format_is_source(VB_FORMAT_I32));
	assert_true(vb_format_is_source(VB_FORMAT_F8_E4M3));
	assert_true(vb_format_is_source(VB_FORMAT_Q4_K));
	assert_false(vb_format_is_weight(VB_FORMAT_Q4_K));
	assert_true(vb_format_is_packed(VB_FORMAT_INT8_G16));
	assert_string_equal(vb_format_name(VB_FORMAT_MXFP4_G16), "mxfp4-g16");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(format_units_are_those_of_the_kernels),
		cmocka_unit_test(format_matrix_is_the_sum_of_its_units),
		cmocka_unit_test(format_matrix_bytes_overflow_is_seen),
		cmocka_unit_test(format_unknown_ones_are_refused_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

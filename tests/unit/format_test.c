// SPDX-License-Identifier: MIT
#include <core/cmd_form.h>
#include <core/format.h>
#include <kernels/kernels.h>
#include <kernels/pack/g16_type.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "format_model.h"

static const u32 floats[] = { VB_FORMAT_F32, VB_FORMAT_F16, VB_FORMAT_BF16 };
static const u32 integers[] = { VB_FORMAT_I32, VB_FORMAT_U8 };

/* All that weights of files and operands have. */
#define WEIGHTS	(3 + M_BLOCKS + M_GROUPS)

static u32 weight_at(size_t i)
{
	if (i < 3)
		return floats[i];
	return i < 3 + M_BLOCKS ? m_blocks[i - 3].format : m_groups[i - 3 - M_BLOCKS].format;
}

static u32 cols_of(u32 format)
{
	const struct m_blocks *blocks = m_blocks_of((u16)format);
	const struct m_groups *groups = m_groups_of((u16)format);

	return blocks ? blocks->values : groups ? groups->cols : 1;
}

static bool is_one_of(const u32 *list, size_t n, u32 format)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == format)
			return true;
	return false;
}

static void compare(u32 format, u32 k)
{
	struct vb_unit unit;

	if (k % cols_of(format)) {
		assert_int_equal(vb_format_unit(format, k, &unit), -EINVAL);
		return;
	}
	assert_int_equal(vb_format_unit(format, k, &unit), 0);
	assert_int_equal(unit.bytes, vgpu_weight_unit_bytes((enum vgpu_wformat)format, k));
	assert_int_equal(unit.rows, vgpu_weight_unit_rows((enum vgpu_wformat)format));
	assert_int_equal(unit.bytes % unit.align, 0);
	assert_int_equal(unit.align, unit.rows == 16 ? 64 : 1);
	if (m_blocks_of((u16)format) || m_groups_of((u16)format))
		assert_true(unit.bytes == m_blocks_bytes((u16)format, 1, k));
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
			compare(weight_at(f), k);
		for (i = 0; i < sizeof(large) / sizeof(large[0]); i++)
			compare(weight_at(f), large[i]);
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
			assert_int_equal(vb_format_unit(weight_at(f), columns[c], &unit), 0);
			for (n = 1, sum = 0; n < 100; n++) {
				if (n % unit.rows == 1 || unit.rows == 1)
					sum += unit.bytes;
				assert_int_equal(vb_format_matrix_bytes(weight_at(f), n,
									columns[c], &bytes), 0);
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

static bool is_known(u32 format)
{
	return format < 64 && (m_blocks_of((u16)format) || m_groups_of((u16)format) ||
			       is_one_of(floats, 3, format) || is_one_of(integers, 2, format));
}

static void format_unknown_ones_are_refused_everywhere(void **state)
{
	struct vb_unit unit;
	u32 format;

	(void)state;
	for (format = 0; format < 70000; format++) {
		assert_int_equal(vb_format_unit(format, 512, &unit), is_known(format) ? 0 : -EINVAL);
		assert_int_equal(vb_format_cols(format), is_known(format) ? cols_of(format) : 1);
		if (is_known(format))
			continue;
		assert_false(vb_format_is_weight(format));
		assert_false(vb_format_is_packed(format));
		assert_false(vb_format_packs_to(format, VB_FORMAT_INT8_G16));
		assert_false(vb_format_packs_to(VB_FORMAT_F32, format));
		assert_string_equal(vb_format_name(format), format ? "?" : "none");
	}
}

/* Floats, packed groups, and the blocks that these are made of: commands take the same. */
static void format_of_a_weight_is_what_commands_take(void **state)
{
	u64 taken = vb_cmd_form(VB_CMD_MATMUL)->operands[1].formats;

	(void)state;
	assert_true(vb_cmd_form(VB_CMD_MATMUL_ID)->operands[1].formats == taken);
	assert_true(vb_cmd_form(VB_CMD_GATHER)->operands[0].formats ==
		    (taken & ~(1ull << VB_FORMAT_MXFP4_SPLIT)));
	for (u32 format = 0; format < 64; format++) {
		const struct m_blocks *blocks = m_blocks_of((u16)format);
		bool weight = (blocks && blocks->weight) || m_groups_of((u16)format) ||
			      is_one_of(floats, 3, format);

		assert_int_equal(vb_format_is_weight(format), weight);
		assert_int_equal(taken >> format & 1, weight);
		assert_int_equal(vb_format_is_packed(format), m_groups_of((u16)format) != NULL);
	}
}

/* What has a packed form of its own, or none, is for the kernels to say. */
static void format_packs_to_what_the_kernels_make(void **state)
{
	(void)state;
	for (u32 from = 0; from < 64; from++)
		for (u32 to = 0; to < 64; to++) {
			const struct vgpu_g16_type *type = vgpu_g16_type((enum vgpu_wformat)to);

			if (type)
				assert_int_equal(vb_format_packs_to(from, to),
						 from && type->source == from);
			else if (to != VB_FORMAT_MXFP4_G16 && to != VB_FORMAT_INT8_G16)
				assert_false(vb_format_packs_to(from, to));
		}
	assert_true(vb_format_packs_to(VB_FORMAT_MXFP4_SPLIT, VB_FORMAT_MXFP4_G16));
	assert_false(vb_format_packs_to(VB_FORMAT_MXFP4, VB_FORMAT_INT8_G16));
	assert_true(vb_format_packs_to(VB_FORMAT_Q8_0, VB_FORMAT_INT8_G16));
	assert_false(vb_format_packs_to(VB_FORMAT_Q8_0, VB_FORMAT_MXFP4_G16));
	assert_true(vb_format_packs_to(VB_FORMAT_Q4_K, VB_FORMAT_INT8_G16));
	assert_true(vb_format_packs_to(VB_FORMAT_F8_E4M3, VB_FORMAT_MXFP4_G16));
	assert_false(vb_format_packs_to(VB_FORMAT_I32, VB_FORMAT_INT8_G16));
	assert_false(vb_format_packs_to(VB_FORMAT_INT8_G16, VB_FORMAT_INT8_G16));
}

/* "q4-k-g16" is the number that the kernels call Q4_K_G16. */
static void format_names_are_those_of_the_numbers(void **state)
{
	(void)state;
	assert_string_equal(vb_format_name(VB_FORMAT_MXFP4_G16), "mxfp4-g16");
	assert_string_equal(vb_format_name(VB_FORMAT_INT4_Z128_G16), "int4-z128-g16");
	for (size_t i = 0; i < M_BLOCKS; i++) {
		char want[32];

		if (m_blocks[i].packed < VB_FORMAT_Q4_0_G16)
			continue;
		snprintf(want, sizeof(want), "%s-g16", vb_format_name(m_blocks[i].format));
		assert_string_equal(vb_format_name(m_blocks[i].packed), want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(format_units_are_those_of_the_kernels),
		cmocka_unit_test(format_matrix_is_the_sum_of_its_units),
		cmocka_unit_test(format_matrix_bytes_overflow_is_seen),
		cmocka_unit_test(format_unknown_ones_are_refused_everywhere),
		cmocka_unit_test(format_of_a_weight_is_what_commands_take),
		cmocka_unit_test(format_packs_to_what_the_kernels_make),
		cmocka_unit_test(format_names_are_those_of_the_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

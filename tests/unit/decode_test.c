// SPDX-License-Identifier: MIT
/* What formats hold, as the public header tells it. */
#include "vgpu.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/golden.h"

static void decode_gives_the_values_of_every_block_type(void **state)
{
	(void)state;
	for (uint32_t n = 0; n < GOLDEN_NAMES; n++) {
		struct golden g;
		float *out;

		golden_open(&g, golden_names[n]);
		out = calloc(g.count * g.values_each, sizeof(*out));
		assert_non_null(out);
		assert_int_equal(vgpu_matrix_decode(g.format, g.count, g.values_each, g.blocks,
						    out), 0);
		assert_memory_equal(out, g.values, g.count * g.values_each * sizeof(*out));
		assert_int_equal(vgpu_matrix_decode(g.format, 1, g.values_each - 1, g.blocks, out),
				 -EINVAL);
		/* Operands are those that products read as they lie there, and they have a packed form. */
		assert_int_equal(vgpu_format_is_weight(g.format),
				 vgpu_format_packed(g.format) != VGPU_FORMAT_NONE);
		free(out);
		golden_close(&g);
	}
}

static void decode_of_floats_and_groups(void **state)
{
	static const uint16_t halves[] = { 0x3c00, 0xc000, 0x0001 };
	_Alignas(64) uint8_t group[128 + 512] = { 0 };
	float out[32];

	(void)state;
	assert_int_equal(vgpu_matrix_decode(VGPU_FORMAT_F16, 1, 3, halves, out), 0);
	assert_true(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-24f);
	/* INT8_G16: the F16 scale of row 0 first, its first code at 128, less 128. */
	memcpy(group, &halves[0], 2);
	memset(group + 128, 128, 512);
	group[128] = 5;
	assert_int_equal(vgpu_matrix_decode(VGPU_FORMAT_INT8_G16, 1, 32, group, out), 0);
	assert_true(out[0] == -123 && out[1] == 0);
}

static void decode_refuses_what_has_no_values(void **state)
{
	_Alignas(64) uint8_t data[1024] = { 0 };
	float out[64];

	(void)state;
	assert_int_equal(vgpu_matrix_decode(VGPU_FORMAT_MXFP4_SPLIT, 1, 32, data, out), -EINVAL);
	assert_string_equal(vgpu_error_text(), "a matrix of mxfp4-split alone cannot be decoded");
	assert_int_equal(vgpu_matrix_decode(VGPU_FORMAT_I32, 1, 32, data, out), -EINVAL);
	assert_int_equal(vgpu_matrix_decode(VGPU_FORMAT_U8, 1, 32, data, out), -EINVAL);
	assert_int_equal(vgpu_matrix_decode(VGPU_FORMAT_NONE, 1, 32, data, out), -EINVAL);
	assert_int_equal(vgpu_matrix_decode(VGPU_FORMAT_INT8_G16, 1, 32, data + 32, out), -EINVAL);
	assert_int_equal(vgpu_matrix_decode(VGPU_FORMAT_F32, 0, 32, data, out), -EINVAL);
}

static void exact_are_the_pairs_that_round_nothing(void **state)
{
	(void)state;
	for (uint32_t from = 0; from < 60; from++) {
		bool to_int8 = from == VGPU_FORMAT_Q8_0 || from == VGPU_FORMAT_Q4_0 ||
			       from == VGPU_FORMAT_Q5_0 || from == VGPU_FORMAT_IQ4_NL ||
			       from == VGPU_FORMAT_TQ1_0 || from == VGPU_FORMAT_TQ2_0 ||
			       from == VGPU_FORMAT_Q1_0;

		assert_int_equal(vgpu_pack_is_exact(from, VGPU_FORMAT_INT8_G16), to_int8);
		assert_int_equal(vgpu_pack_is_exact(from, VGPU_FORMAT_MXFP4_G16),
				 from == VGPU_FORMAT_MXFP4 || from == VGPU_FORMAT_MXFP4_SPLIT ||
				 from == VGPU_FORMAT_F4_E2M1);
		assert_false(vgpu_pack_is_exact(from, VGPU_FORMAT_F32));
		for (uint32_t to = VGPU_FORMAT_Q4_0_G16; to <= VGPU_FORMAT_INT4_Z128_G16; to++)
			assert_int_equal(vgpu_pack_is_exact(from, to),
					 from && vgpu_format_packed(from) == to);
	}
}

/* The packed form keeps values, and takes as many bytes: Q6_K's lines leave a little. */
static void packed_forms_are_as_large_as_their_blocks(void **state)
{
	uint32_t count = 0;

	(void)state;
	assert_int_equal(vgpu_format_packed(VGPU_FORMAT_F32), VGPU_FORMAT_NONE);
	assert_int_equal(vgpu_format_packed(VGPU_FORMAT_INT8_G16), VGPU_FORMAT_NONE);
	assert_int_equal(vgpu_format_packed(VGPU_FORMAT_Q2_K), VGPU_FORMAT_NONE);
	assert_int_equal(vgpu_format_packed(VGPU_FORMAT_MXFP4), VGPU_FORMAT_MXFP4_G16);
	assert_int_equal(vgpu_format_packed(VGPU_FORMAT_Q6_K), VGPU_FORMAT_Q6_K_G16);
	for (uint32_t from = 0; from < 64; from++) {
		enum vgpu_format to = vgpu_format_packed(from);
		uint64_t rows, groups;

		if (!to || from == VGPU_FORMAT_MXFP4_SPLIT)
			continue;
		assert_true(vgpu_format_is_weight(from) && vgpu_format_is_weight(to));
		assert_true(vgpu_pack_is_exact(from, to));
		assert_int_equal(vgpu_matrix_bytes(from, 64, 1024, &rows), 0);
		assert_int_equal(vgpu_matrix_bytes(to, 64, 1024, &groups), 0);
		assert_true(groups >= rows && groups <= rows + rows / 100);
		count++;
	}
	assert_int_equal(count, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decode_gives_the_values_of_every_block_type),
		cmocka_unit_test(decode_of_floats_and_groups),
		cmocka_unit_test(decode_refuses_what_has_no_values),
		cmocka_unit_test(exact_are_the_pairs_that_round_nothing),
		cmocka_unit_test(packed_forms_are_as_large_as_their_blocks),
	};

	return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}

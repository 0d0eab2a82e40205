// SPDX-License-Identifier: MIT
/* What a buffer object may be made of, without a device. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/bo_check.h"
#include "core/format.h"

/* Blocks that are no operands: packed to either. */
#define SOURCES \
	VB_FORMAT_Q4_0, VB_FORMAT_Q4_1, VB_FORMAT_Q5_0, VB_FORMAT_Q5_1, VB_FORMAT_Q2_K, \
	VB_FORMAT_Q3_K, VB_FORMAT_Q4_K, VB_FORMAT_Q5_K, VB_FORMAT_Q6_K, VB_FORMAT_IQ4_NL, \
	VB_FORMAT_IQ4_XS, VB_FORMAT_NVFP4,
static const u16 sources[] = { SOURCES };

static const u16 formats[] = {
	VB_FORMAT_NONE, VB_FORMAT_F32, VB_FORMAT_F16, VB_FORMAT_BF16, VB_FORMAT_I32, VB_FORMAT_U8,
	VB_FORMAT_MXFP4, VB_FORMAT_MXFP4_SPLIT, VB_FORMAT_Q8_0, VB_FORMAT_MXFP4_G16,
	VB_FORMAT_INT8_G16, 99, SOURCES
};

/* Every pair that there is; all others are refused. */
static const u16 packs[][2] = {
	{ VB_FORMAT_F32, VB_FORMAT_MXFP4_G16 }, { VB_FORMAT_F32, VB_FORMAT_INT8_G16 },
	{ VB_FORMAT_F16, VB_FORMAT_MXFP4_G16 }, { VB_FORMAT_F16, VB_FORMAT_INT8_G16 },
	{ VB_FORMAT_BF16, VB_FORMAT_MXFP4_G16 }, { VB_FORMAT_BF16, VB_FORMAT_INT8_G16 },
	{ VB_FORMAT_MXFP4, VB_FORMAT_MXFP4_G16 }, { VB_FORMAT_MXFP4_SPLIT, VB_FORMAT_MXFP4_G16 },
	{ VB_FORMAT_Q8_0, VB_FORMAT_INT8_G16 },
};

static bool is_pack(u16 src, u16 dst)
{
	for (size_t i = 0; i < sizeof(packs) / sizeof(packs[0]); i++)
		if (packs[i][0] == src && packs[i][1] == dst)
			return true;
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		if (sources[i] == src)
			return dst == VB_FORMAT_MXFP4_G16 || dst == VB_FORMAT_INT8_G16;
	return false;
}

static struct vb_ioc_bo_create derived(u16 src, u16 dst, u32 rows, u32 cols, u32 stack)
{
	struct vb_ioc_bo_create c = {
		.kind = VB_BO_DERIVED, .fd = 3, .bytes = 1,
		.transform = { .kind = VB_TRANSFORM_PACK, .src_format = src, .dst_format = dst,
			       .rows = rows, .cols = cols, .stack = stack },
	};
	u64 from, to;

	if (!vb_format_matrix_bytes(src, rows, cols, &from) &&
	    !vb_format_matrix_bytes(dst, rows, cols, &to)) {
		c.file_bytes = from * stack;
		c.bytes = to * stack;
	}
	return c;
}

static void only_listed_formats_are_packed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		for (size_t j = 0; j < sizeof(formats) / sizeof(formats[0]); j++) {
			struct vb_ioc_bo_create c = derived(formats[i], formats[j], 17, 256, 3);

			assert_int_equal(vb_bo_check(&c),
					 is_pack(formats[i], formats[j]) ? 0 : -EINVAL);
		}
}

static void lengths_are_those_of_the_transform(void **state)
{
	struct vb_ioc_bo_create c = derived(VB_FORMAT_F32, VB_FORMAT_INT8_G16, 16, 32, 2);

	(void)state;
	assert_int_equal(vb_bo_check(&c), 0);
	c.bytes++;
	assert_int_equal(vb_bo_check(&c), -EINVAL);
	c.bytes--;
	c.file_bytes--;
	assert_int_equal(vb_bo_check(&c), -EINVAL);
	c = derived(VB_FORMAT_F32, VB_FORMAT_INT8_G16, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	c.bytes = 1;
	assert_int_equal(vb_bo_check(&c), -EOVERFLOW);
}

static void source_ends_where_the_file_does(void **state)
{
	struct vb_ioc_bo_create file = { .kind = VB_BO_FILE, .bytes = 100, .file_offset = 28 };
	struct vb_ioc_bo_create split = derived(VB_FORMAT_MXFP4_SPLIT, VB_FORMAT_MXFP4_G16, 16, 32, 1);

	(void)state;
	assert_int_equal(vb_bo_check_source(&file, 128), 0);
	assert_int_equal(vb_bo_check_source(&file, 127), -ERANGE);
	file.file_offset = UINT64_MAX - 99;
	assert_int_equal(vb_bo_check_source(&file, UINT64_MAX), -EOVERFLOW);
	/* 16 rows: 256 bytes of blocks, 16 of scales, anywhere in the file. */
	split.transform.scales_offset = 1000;
	assert_int_equal(vb_bo_check_source(&split, 1016), 0);
	assert_int_equal(vb_bo_check_source(&split, 1015), -ERANGE);
	split.transform.scales_offset = UINT64_MAX;
	assert_int_equal(vb_bo_check_source(&split, 1016), -EOVERFLOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_listed_formats_are_packed),
		cmocka_unit_test(lengths_are_those_of_the_transform),
		cmocka_unit_test(source_ends_where_the_file_does),
	};

	return cmocka_run_group_tests_name("bo_check", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/* How a streamed weight is cut: panels hold each of its rows once, whatever its shape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/format.h"
#include "exec/walk.h"

static struct vgpu_object weight = { .id = 1, .kind = VB_BO_FILE };
static struct vgpu_object *const bos[] = { &weight };

static struct vgpu_stream cut(uint32_t format, uint32_t rows, uint32_t cols, uint64_t panel_bytes)
{
	struct vb_cmd_matmul c = {
		.h = { VB_CMD_MATMUL, 0, sizeof(c) },
		.w = { .format = (uint16_t)format, .rank = 2, .offset = 4096,
		       .shape = { rows, cols } },
	};
	struct vgpu_stream s;

	assert_true(vgpu_walk_stream(&c.h, bos, panel_bytes, &s));
	return s;
}

/* Rows of all panels but the last, then those of the last; and where its bytes end. */
static void expect_whole(uint32_t format, uint32_t rows, uint32_t cols, uint64_t panel_bytes)
{
	struct vgpu_stream s = cut(format, rows, cols, panel_bytes);
	uint32_t last = s.panels - 1;
	struct vgpu_span span;
	__u64 bytes = 0;

	assert_true(s.panels > 0);
	assert_true((uint64_t)last * s.panel_rows + vgpu_stream_panel_rows(&s, last) == rows);
	assert_in_range(vgpu_stream_panel_rows(&s, last), 1, s.panel_rows);
	span = vgpu_stream_span(&s, 0, 0, last);
	assert_int_equal(vb_format_matrix_bytes(format, rows, cols, &bytes), 0);
	assert_true(span.offset + span.bytes == 4096 + bytes);
	assert_true(span.bytes <= panel_bytes || vgpu_stream_panel_rows(&s, last) <= s.unit_rows);
}

static void walk_panels_hold_every_row_once(void **state)
{
	static const uint32_t formats[] = { VB_FORMAT_F32, VB_FORMAT_BF16, VB_FORMAT_MXFP4_G16,
					    VB_FORMAT_INT8_G16 };
	static const uint32_t rows[] = { 1, 15, 16, 17, 31, 1000, 4096, 65537 };
	static const uint64_t panels[] = { 1, 4096, 65536, 8 << 20 };

	(void)state;
	for (uint32_t f = 0; f < 4; f++)
		for (uint32_t r = 0; r < 8; r++)
			for (uint32_t p = 0; p < 4; p++)
				for (uint32_t cols = 32; cols <= 3200; cols *= 10)
					expect_whole(formats[f], rows[r], cols, panels[p]);
}

/* As many rows as a shape can name: sums of them do not fit 32 bits. */
static void walk_panels_of_the_most_rows_there_can_be(void **state)
{
	(void)state;
	expect_whole(VB_FORMAT_F32, UINT32_MAX, 1, 8 << 20);
	expect_whole(VB_FORMAT_F16, UINT32_MAX, 1, 64 << 10);
	expect_whole(VB_FORMAT_F32, UINT32_MAX - 20, 3, 256 << 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walk_panels_hold_every_row_once),
		cmocka_unit_test(walk_panels_of_the_most_rows_there_can_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/* What a submission may be made of, without a device: each field at and beyond its limits. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/submit_check.h"

static const struct vb_ioc_submit good = {
	.stream_bytes = sizeof(struct vb_stream_header), .stream_address = 8,
};

/* The answer when one field of a good submission is another. */
#define EXPECT(rc, field, value) do {			\
	struct vb_ioc_submit changed = good;		\
							\
	changed.field = (value);			\
	assert_int_equal(vb_submit_check(&changed), rc); \
} while (0)

static void submit_check_bounds_the_stream(void **state)
{
	(void)state;
	assert_int_equal(vb_submit_check(&good), 0);
	EXPECT(-EINVAL, stream_bytes, 0);
	EXPECT(-EINVAL, stream_bytes, sizeof(struct vb_stream_header) - 1);
	EXPECT(0, stream_bytes, VB_STREAM_BYTES_MAX);
	EXPECT(-EINVAL, stream_bytes, VB_STREAM_BYTES_MAX + 1);
	EXPECT(-EINVAL, stream_bytes, UINT32_MAX);
	EXPECT(-EFAULT, stream_address, 0);
}

static void submit_check_bounds_the_lists(void **state)
{
	struct vb_ioc_submit cmd = good;

	(void)state;
	/* A list without entries has no address. */
	EXPECT(-EFAULT, bo_count, 1);
	EXPECT(-EFAULT, fence_count, 1);
	EXPECT(-EINVAL, bo_count, VB_SUBMIT_BOS_MAX + 1);
	EXPECT(-EINVAL, fence_count, VB_SUBMIT_FENCES_MAX + 1);
	EXPECT(-EINVAL, bo_count, UINT32_MAX);
	cmd.bos_address = cmd.fences_address = 8;
	cmd.bo_count = VB_SUBMIT_BOS_MAX;
	cmd.fence_count = VB_SUBMIT_FENCES_MAX;
	assert_int_equal(vb_submit_check(&cmd), 0);
}

/* Every word of four bits more than there are flags, against the rule in words. */
static void submit_check_access_is_read_or_write_and_known(void **state)
{
	(void)state;
	for (u32 a = 0; a < 16 * (VB_ACCESS_READ | VB_ACCESS_WRITE | VB_ACCESS_DISCARD); a++) {
		bool used = (a & VB_ACCESS_READ) || (a & VB_ACCESS_WRITE);
		bool known = !((a | VB_ACCESS_READ | VB_ACCESS_WRITE | VB_ACCESS_DISCARD) ^
			       (VB_ACCESS_READ | VB_ACCESS_WRITE | VB_ACCESS_DISCARD));

		assert_int_equal(vb_submit_check_access(a), used && known ? 0 : -EINVAL);
	}
	assert_int_equal(vb_submit_check_access(UINT32_MAX), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(submit_check_bounds_the_stream),
		cmocka_unit_test(submit_check_bounds_the_lists),
		cmocka_unit_test(submit_check_access_is_read_or_write_and_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

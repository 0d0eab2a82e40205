// SPDX-License-Identifier: MIT
/*
 * The first draws of tests/fuzz/kernels_fuzz.c, for those who have no clang, for instrumented kernels
 * and for valgrind: DRAWS says how many.
 */
#include "check.h"
#include "common/attention_draw.h"
#include "common/layer_draw.h"
#include "common/pack_draw.h"
#include "common/product_draw.h"
#include "common/transposed_draw.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DRAWS	1000u		/* instrumented code is slow */
#else
#define DRAWS	4000u
#endif

static void check_draws(const char *(*draw)(uint64_t number), unsigned long draws)
{
	for (unsigned long i = 0; i < draws; i++) {
		const char *problem = draw(i);

		if (problem)
			fail_msg("%lu: %s", i, problem);
	}
	print_message("%lu draws at levels up to %s\n", draws, vgpu_isa_name(vgpu_isa_detect()));
}

static unsigned long wanted_draws(void)
{
	const char *wanted = getenv("DRAWS");

	return wanted ? strtoul(wanted, NULL, 0) : DRAWS;
}

static void drawn_products_are_within_the_bound_of_ref(void **state)
{
	(void)state;
	check_draws(product_draw, wanted_draws());
}

static void drawn_transposed_products_are_the_plain_loop(void **state)
{
	(void)state;
	check_draws(transposed_draw, wanted_draws());
}

static void drawn_groups_are_packed_as_by_ref(void **state)
{
	(void)state;
	check_draws(pack_draw, wanted_draws());
}

static void drawn_layer_operations_are_within_their_limits_of_ref(void **state)
{
	(void)state;
	check_draws(layer_draw, wanted_draws());
}

/* Long ones, and by the reference as well. */
static void drawn_attention_is_within_its_limit_of_ref(void **state)
{
	(void)state;
	check_draws(attention_draw, 1 + wanted_draws() / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drawn_products_are_within_the_bound_of_ref),
		cmocka_unit_test(drawn_transposed_products_are_the_plain_loop),
		cmocka_unit_test(drawn_groups_are_packed_as_by_ref),
		cmocka_unit_test(drawn_attention_is_within_its_limit_of_ref),
		cmocka_unit_test(drawn_layer_operations_are_within_their_limits_of_ref),
	};

	return cmocka_run_group_tests_name("draw", tests, NULL, NULL);
}

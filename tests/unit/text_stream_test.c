// SPDX-License-Identifier: MIT
/* Text in pieces, and the choice of the next token. */
#include "vbrun/text_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vbrun/sampler.h"

/* What is shown of a text after each of its bytes, and at its end. */
static void check_shown(const char *bytes, size_t count, const size_t *shown, const char *whole)
{
	char *out = NULL;
	size_t length = 0;
	struct text_stream s = { .to = open_memstream(&out, &length) };

	assert_non_null(s.to);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(text_stream_add(&s, bytes + i, 1), 0);
		if (shown && length != shown[i])
			fail_msg("after byte %zu: %zu bytes, not %zu", i, length, shown[i]);
	}
	text_stream_end(&s);
	assert_string_equal(out, whole);
	assert_int_equal(s.bytes, count);
	assert_memory_equal(s.text, bytes, count);
	fclose(s.to);
	free(out);
	text_stream_free(&s);
}

static void text_stream_shows_whole_characters(void **state)
{
	static const size_t shown[] = { 1, 1, 3, 3, 3, 6, 6, 6, 6, 10 };

	(void)state;
	check_shown("a\xc3\xa9\xe6\x9d\xb1\xf0\x9f\x99\x82", 10, shown,
		    "a\xc3\xa9\xe6\x9d\xb1\xf0\x9f\x99\x82");
}

static void text_stream_replaces_what_is_no_character(void **state)
{
	static const size_t shown[] = { 3, 3, 7 };

	(void)state;
	check_shown("\xff\xc3(", 3, shown, "\xef\xbf\xbd\xef\xbf\xbd(");
	/* A surrogate, and a character that never ends. */
	check_shown("\xed\xa0\x80\xe6\x9d", 5, NULL,
		    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

static void text_stream_commands_no_terminal(void **state)
{
	(void)state;
	check_shown("\x1b[31m\tred\r\n\xc2\x9b", 13, NULL, "?[31m\tred\n?");
}

static void sampler_at_0_takes_the_likeliest(void **state)
{
	static const float logits[] = { 2, 1.9f, 1 };
	struct sampler s = { 0, { 5 } };

	(void)state;
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(sampler_pick(&s, logits, 3), 0);
	assert_int_equal(s.random.state, 5);
}

/* Frequencies of 100000 draws against softmax(logits / temperature), within 5 sigma. */
static void sampler_draws_as_the_logits_say(void **state)
{
	static const float logits[] = { 100, 99, 98, 95 };
	struct sampler s = { 2, { 9 } };
	double weight[4], sum = 0;
	uint32_t seen[4] = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		sum += weight[i] = exp((double)logits[i] / 2 - 50);
	for (uint32_t i = 0; i < 100000; i++)
		seen[sampler_pick(&s, logits, 4)]++;
	for (uint32_t i = 0; i < 4; i++) {
		double p = weight[i] / sum, sigma = sqrt(1e5 * p * (1 - p));

		assert_true(fabs(seen[i] - 1e5 * p) < 5 * sigma);
	}
}

static void sampler_repeats_with_its_seed(void **state)
{
	static const float logits[] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	struct sampler a = { 1, { 3 } }, b = { 1, { 3 } }, c = { 1, { 4 } };
	uint32_t differ = 0;

	(void)state;
	for (uint32_t i = 0; i < 64; i++) {
		uint32_t pick = sampler_pick(&a, logits, 8);

		assert_int_equal(pick, sampler_pick(&b, logits, 8));
		differ += pick != sampler_pick(&c, logits, 8);
	}
	assert_true(differ > 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_stream_shows_whole_characters),
		cmocka_unit_test(text_stream_replaces_what_is_no_character),
		cmocka_unit_test(text_stream_commands_no_terminal),
		cmocka_unit_test(sampler_at_0_takes_the_likeliest),
		cmocka_unit_test(sampler_draws_as_the_logits_say),
		cmocka_unit_test(sampler_repeats_with_its_seed),
	};

	return cmocka_run_group_tests_name("text_stream", tests, NULL, NULL);
}

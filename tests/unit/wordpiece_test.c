// SPDX-License-Identifier: MIT
/*
 * data/wordpiece_cases.json holds texts with the ids that the tokenizers library of
 * Hugging Face (0.23.3) gave, once with the small vocabulary beside it and once with that
 * of all-MiniLM-L6-v2, which is looked for in the model cache.
 */
#include "vbrun/wordpiece.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <setjmp.h>
#include <cmocka.h>

#include "vbrun/sentences.h"

static const char small_vocab[] = TEST_DATA "/wordpiece_vocab.txt";

static void check_case(const struct wordpiece *wp, struct json_object *entry,
		       const char *field)
{
	const char *text = json_object_get_string(json_object_object_get(entry, "text"));
	struct json_object *want = json_object_object_get(entry, field);
	int32_t ids[WORDPIECE_MAX_IDS];
	size_t i, count = json_object_array_length(want);
	int got = wordpiece_encode(wp, text, ids, WORDPIECE_MAX_IDS);

	for (i = 0; i < count && (int)i < got; i++)
		if (ids[i] != json_object_get_int(json_object_array_get_idx(want, i)))
			fail_msg("'%s': id %zu is %d, not %d", text, i, ids[i],
				 json_object_get_int(json_object_array_get_idx(want, i)));
	if (got != (int)count)
		fail_msg("'%s': %d ids, not %zu", text, got, count);
}

static void check_cases(const char *vocab, struct json_object *cases, size_t least,
			const char *field)
{
	struct vgpu_error err = { 0 };
	struct wordpiece *wp;
	size_t i;

	if (wordpiece_open(vocab, &wp, &err))
		fail_msg("%s", err.text);
	assert_true(json_object_array_length(cases) >= least);
	for (i = 0; i < json_object_array_length(cases); i++)
		check_case(wp, json_object_array_get_idx(cases, i), field);
	wordpiece_close(wp);
}

static struct json_object *load(const char *path)
{
	struct json_object *file = json_object_from_file(path);

	assert_non_null(file);
	return file;
}

static void wordpiece_gives_the_ids_of_the_reference(void **state)
{
	struct json_object *cases = load(TEST_DATA "/wordpiece_cases.json");

	(void)state;
	check_cases(small_vocab, cases, 40, "ids");
	json_object_put(cases);
}

static void wordpiece_gives_the_ids_of_the_reference_for_minilm(void **state)
{
	const char *cache = getenv("VBLACKWELL_CACHE"), *home = getenv("HOME");
	struct json_object *cases, *reference;
	char path[PATH_MAX];

	(void)state;
	snprintf(path, sizeof(path), "%s%s/models/all-MiniLM-L6-v2/vocab.txt",
		 cache ? cache : home ? home : "", cache ? "" : "/.cache/vblackwell");
	if (access(path, R_OK)) {
		print_message("SKIP no %s: run tools/fetch-models.sh\n", path);
		skip();
	}
	cases = load(TEST_DATA "/wordpiece_cases.json");
	check_cases(path, cases, 40, "minilm_ids");
	json_object_put(cases);
	reference = load(TEST_DATA "/minilm_reference.json");
	check_cases(path, json_object_object_get(reference, "sentences"), 8, "ids");
	json_object_put(reference);
}

/* The small vocabulary, opened for one test. */
static struct wordpiece *open_small(void)
{
	struct wordpiece *wp = NULL;

	assert_int_equal(wordpiece_open(small_vocab, &wp, NULL), 0);
	return wp;
}

static void wordpiece_invalid_utf8_vanishes(void **state)
{
	static const char *const broken[] = {
		"hel\xfflo", "hel\xc3lo", "hel\xe2\x82lo", "hel\xc0\xaflo", "hello\xf0\x9f",
		"\x80hello", "hel\xed\xa0\x80lo", "hel\xf5\x80\x80\x80lo",
	};
	int32_t want[8], got[8];
	struct wordpiece *wp = open_small();
	int count;
	size_t i;

	(void)state;
	count = wordpiece_encode(wp, "hello", want, 8);
	assert_true(count > 2);
	for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		assert_int_equal(wordpiece_encode(wp, broken[i], got, 8), count);
		assert_memory_equal(got, want, (size_t)count * sizeof(*got));
	}
	wordpiece_close(wp);
}

static void wordpiece_special_names_in_text_are_text(void **state)
{
	struct wordpiece *wp = open_small();
	int32_t plain[16], special[16];
	int count, i;

	(void)state;
	count = wordpiece_encode(wp, "[ sep ]", plain, 16);
	assert_int_equal(wordpiece_encode(wp, "[SEP]", special, 16), count);
	assert_memory_equal(plain, special, (size_t)count * sizeof(*plain));
	for (i = 1; i < count - 1; i++)
		assert_int_not_equal(special[i], special[count - 1]);
	wordpiece_close(wp);
}

static void wordpiece_cuts_before_the_last_id(void **state)
{
	struct wordpiece *wp = open_small();
	int32_t all[16], some[16];

	(void)state;
	assert_int_equal(wordpiece_encode(wp, "the the the the the the", all, 16), 8);
	memset(some, 0x55, sizeof(some));
	assert_int_equal(wordpiece_encode(wp, "the the the the the the", some, 4), 4);
	assert_memory_equal(some, all, 3 * sizeof(*some));
	assert_int_equal(some[3], all[7]);
	assert_int_equal(some[4], 0x55555555);
	assert_int_equal(wordpiece_encode(wp, "the", some, 2), 2);
	assert_int_equal(some[0], all[0]);
	assert_int_equal(some[1], all[7]);
	assert_int_equal(wordpiece_encode(wp, "the", some, 1), -EINVAL);
	assert_int_equal(wordpiece_length(wp, "the the the the the the"), 8);
	wordpiece_close(wp);
}

/* Whatever the bytes, ids stay in range and the ends in place. */
static void wordpiece_any_bytes_give_valid_ids(void **state)
{
	struct wordpiece *wp = open_small();
	int32_t ids[WORDPIECE_MAX_IDS];
	unsigned int seed = 1, round;
	char text[512];
	int count, i;

	(void)state;
	for (round = 0; round < 2000; round++) {
		for (i = 0; i < 511; i++) {
			seed = seed * 1664525u + 1013904223u;
			text[i] = (char)(seed >> 24 ? seed >> 24 : 1);
		}
		text[round % 512] = '\0';
		text[511] = '\0';
		count = wordpiece_encode(wp, text, ids, WORDPIECE_MAX_IDS);
		if (count < WORDPIECE_MAX_IDS)
			assert_int_equal(wordpiece_length(wp, text), count);
		else
			assert_true(wordpiece_length(wp, text) >= WORDPIECE_MAX_IDS);
		assert_in_range(count, 2, WORDPIECE_MAX_IDS);
		for (i = 0; i < count; i++)
			assert_in_range(ids[i], 0, wordpiece_count(wp) - 1);
	}
	wordpiece_close(wp);
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The list is counted by the compiler, which would pad it with NULL. */
static void sentences_are_complete_and_distinct(void **state)
{
	const char *sorted[VBRUN_SENTENCE_COUNT];
	size_t i;

	(void)state;
	for (i = 0; i < VBRUN_SENTENCE_COUNT; i++) {
		sorted[i] = vbrun_sentences[i];
		assert_non_null(sorted[i]);
		assert_int_equal(sorted[i][strlen(sorted[i]) - 1], '.');
	}
	qsort(sorted, VBRUN_SENTENCE_COUNT, sizeof(*sorted), compare_texts);
	for (i = 1; i < VBRUN_SENTENCE_COUNT; i++)
		assert_string_not_equal(sorted[i - 1], sorted[i]);
	for (i = 0; i < VBRUN_DEMO_COUNT; i++)
		assert_non_null(vbrun_demo_sentences[i]);
}

static void assert_vocab_refused(const char *vocab, int code, const char *text)
{
	char path[] = "/tmp/wordpiece_test.XXXXXX", want[300];
	int fd = mkstemp(path);
	struct wordpiece *wp = NULL;
	struct vgpu_error err = { 0 };

	assert_true(fd >= 0);
	assert_int_equal(write(fd, vocab, strlen(vocab)), strlen(vocab));
	close(fd);
	assert_int_equal(wordpiece_open(path, &wp, &err), code);
	unlink(path);
	snprintf(want, sizeof(want), "%s: %s", path, text);
	assert_string_equal(err.text, want);
	assert_null(wp);
}

static void wordpiece_bad_vocabulary_is_named(void **state)
{
	struct wordpiece *wp = NULL;
	struct vgpu_error err;

	(void)state;
	assert_vocab_refused("[UNK]\n[CLS]\n[SEP]\na\nb\na\n", -EINVAL,
			     "line 6: token 'a' stands in line 4 already");
	assert_vocab_refused("[UNK]\n[CLS]\nx\n", -EINVAL, "none of 3 tokens is [SEP]");
	assert_vocab_refused("", -EINVAL, "none of 0 tokens is [UNK]");
	assert_int_equal(wordpiece_open("/nonexistent/vocab.txt", &wp, &err), -ENOENT);
	assert_string_equal(err.text, "/nonexistent/vocab.txt: No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wordpiece_gives_the_ids_of_the_reference),
		cmocka_unit_test(wordpiece_gives_the_ids_of_the_reference_for_minilm),
		cmocka_unit_test(wordpiece_invalid_utf8_vanishes),
		cmocka_unit_test(wordpiece_special_names_in_text_are_text),
		cmocka_unit_test(wordpiece_cuts_before_the_last_id),
		cmocka_unit_test(wordpiece_any_bytes_give_valid_ids),
		cmocka_unit_test(wordpiece_bad_vocabulary_is_named),
		cmocka_unit_test(sentences_are_complete_and_distinct),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * data/spm_cases.json holds texts with the ids that the package sentencepiece gave with the
 * vocabulary in spm_vocab.gguf, spm_gemma_cases.json those that it gave with the vocabulary of
 * gemma-3-270m, which is looked for in the model cache. data/spm_cases.py wrote all three.
 */
#include "vbrun/spm.h"

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

#include "vbrun/gguf_image.h"
#include "vbrun/random.h"

static const char vocabulary[] = TEST_DATA "/spm_vocab.gguf";

struct tokens {
	struct vgpu_checkpoint *ck;
	struct spm *spm;
};

static struct tokens open_tokens(const char *path)
{
	struct vgpu_error err = { 0 };
	struct tokens t;

	if (vgpu_checkpoint_open(path, &t.ck, &err) || spm_open(t.ck, &t.spm, &err))
		fail_msg("%s: %s", path, err.text);
	return t;
}

static void close_tokens(struct tokens *t)
{
	spm_close(t->spm);
	vgpu_checkpoint_close(t->ck);
}

static void check_case(const struct spm *spm, struct json_object *entry)
{
	const char *text = json_object_get_string(json_object_object_get(entry, "text"));
	struct json_object *want = json_object_object_get(entry, "ids");
	size_t count = json_object_array_length(want);
	int32_t *ids;
	int64_t got = spm_encode(spm, text, &ids);

	assert_true(got >= 0);
	for (size_t i = 0; i < count && (int64_t)i < got; i++)
		if (ids[i] != json_object_get_int(json_object_array_get_idx(want, i)))
			fail_msg("'%s': id %zu is %d, not %d", text, i, ids[i],
				 json_object_get_int(json_object_array_get_idx(want, i)));
	if (got != (int64_t)count)
		fail_msg("'%s': %lld ids, not %zu", text, (long long)got, count);
	free(ids);
}

static void check_cases(const char *model, const char *cases)
{
	struct json_object *file = json_object_from_file(cases);
	struct tokens t = open_tokens(model);

	assert_non_null(file);
	assert_true(json_object_array_length(file) >= 80);
	for (size_t i = 0; i < json_object_array_length(file); i++)
		check_case(t.spm, json_object_array_get_idx(file, i));
	json_object_put(file);
	close_tokens(&t);
}

static void spm_gives_the_ids_of_sentencepiece(void **state)
{
	(void)state;
	check_cases(vocabulary, TEST_DATA "/spm_cases.json");
}

static void spm_gives_the_ids_of_sentencepiece_for_gemma(void **state)
{
	const char *cache = getenv("VBLACKWELL_CACHE"), *home = getenv("HOME");
	char path[PATH_MAX];

	(void)state;
	snprintf(path, sizeof(path), "%s%s/models/gemma-3-270m-Q4_K_M/gemma-3-270m-q4_k_m.gguf",
		 cache ? cache : home ? home : "", cache ? "" : "/.cache/vblackwell");
	if (access(path, R_OK)) {
		print_message("skipped: %s is not there (tools/fetch-models.sh gemma)\n", path);
		skip();
	}
	check_cases(path, TEST_DATA "/spm_gemma_cases.json");
}

/* The bytes of all tokens, without the one that begins a text. */
static char *decode_all(const struct spm *spm, const int32_t *ids, int64_t count)
{
	char *out = calloc((size_t)count + 1, SPM_PIECE_BYTES), *at = out;

	assert_non_null(out);
	for (int64_t i = 0; i < count; i++)
		at += spm_decode(spm, ids[i], at);
	return out;
}

static void spm_decoded_tokens_are_the_text(void **state)
{
	static const char *const texts[] = {
		"", " ", "Every tide that comes in goes out again.", "  two  spaces ", "\n\n\n\n\tx",
		"\xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x99\x82", "<table>a b</table>", "<eos> is text",
	};
	struct tokens t = open_tokens(vocabulary);

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int32_t *ids;
		int64_t n = spm_encode(t.spm, texts[i], &ids);
		char *back;

		assert_true(n >= 1);
		assert_int_equal(ids[0], 2);
		back = decode_all(t.spm, ids, n);
		assert_string_equal(back, texts[i]);
		free(back);
		free(ids);
	}
	close_tokens(&t);
}

static void spm_bytes_that_are_no_text_become_replacements(void **state)
{
	struct tokens t = open_tokens(vocabulary);
	int32_t *ids, *want;
	int64_t n = spm_encode(t.spm, "a\xff\xc3(\xed\xa0\x80", &ids);
	/* Each byte for itself: 0xff, 0xc3, and the three of a surrogate. */
	int64_t m = spm_encode(t.spm, "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
			       &want);

	(void)state;
	assert_true(n > 0);
	assert_int_equal(n, m);
	assert_memory_equal(ids, want, (size_t)n * sizeof(*ids));
	free(ids);
	free(want);
	close_tokens(&t);
}

/* --- bad vocabularies --------------------------------------------------- */

struct vocabulary {
	const char *model;
	const char *const *tokens;
	uint32_t count, scores;
	const int32_t *types;
	const char *flag;	/* another entry, true */
	int32_t unknown;	/* -1: none */
	const float *score;	/* NULL: all 0 */
	bool no_space;		/* nothing before a text */
	uint32_t turn;		/* ends one; 0: none */
};

static const char *const three[] = { "<unk>", "<bos>", "a" };
static const int32_t three_types[] = { 2, 3, 1 };

static void write_entries(struct gguf_image *g, const struct vocabulary *v)
{
	float scores[16] = { 0 };

	if (v->model)
		gguf_text(g, "tokenizer.ggml.model", v->model);
	gguf_texts(g, "tokenizer.ggml.tokens", v->tokens, v->count);
	gguf_numbers(g, "tokenizer.ggml.scores", VGPU_META_F32, v->score ? v->score : scores,
		     v->scores);
	gguf_numbers(g, "tokenizer.ggml.token_type", VGPU_META_I32, v->types, v->count);
	gguf_u32(g, "tokenizer.ggml.bos_token_id", 1);
	if (v->unknown >= 0)
		gguf_u32(g, "tokenizer.ggml.unknown_token_id", (uint32_t)v->unknown);
	if (v->flag)
		gguf_flag(g, v->flag, true);
	if (v->turn)
		gguf_u32(g, "tokenizer.ggml.eot_token_id", v->turn);
	if (v->no_space)
		gguf_flag(g, "tokenizer.ggml.add_space_prefix", false);
}

/* A file with this vocabulary and nothing else. */
static void write_vocabulary(const struct vocabulary *v, char path[64])
{
	struct gguf_image g = { 0 };
	unsigned char *bytes;
	size_t count;
	int fd;

	write_entries(&g, v);
	assert_int_equal(gguf_finish(&g, &bytes, &count), 0);
	strcpy(path, "/var/tmp/vb-spm-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, count), count);
	close(fd);
	free(bytes);
}

/* Opening it says @why; NULL: it opens. */
static void check_vocabulary(const struct vocabulary *v, int rc, const char *why)
{
	struct vgpu_error err = { 0 };
	struct vgpu_checkpoint *ck;
	struct spm *spm = NULL;
	char path[64];

	write_vocabulary(v, path);
	if (vgpu_checkpoint_open(path, &ck, &err))
		fail_msg("%s", err.text);
	assert_int_equal(spm_open(ck, &spm, &err), rc);
	if (rc)
		assert_string_equal(err.text, why);
	spm_close(spm);
	vgpu_checkpoint_close(ck);
	unlink(path);
}

static void spm_names_what_is_wrong_with_a_vocabulary(void **state)
{
	static const char *const twice[] = { "<unk>", "a", "a" };
	static const char *const half[] = { "<unk>", "<bos>", "<0x41>" };
	static const char *const wild[] = { "<unk>", "<bos>", "<0x4g>" };
	static const char *const negative[] = { "<unk>", "<bos>", "<0x-1>" };
	static const int32_t twice_types[] = { 2, 1, 1 }, byte_types[] = { 2, 3, 6 };
	static const int32_t bad_types[] = { 2, 3, 9 };
	struct vocabulary good = { "llama", three, 3, 3, three_types, NULL, 0, NULL, false, 0 };
	struct vocabulary v;

	(void)state;
	check_vocabulary(&good, 0, NULL);
	v = good, v.model = "gpt2";
	check_vocabulary(&v, -EOPNOTSUPP, "tokenizer 'gpt2' is not known; known: llama");
	v = good, v.model = NULL;
	check_vocabulary(&v, -EINVAL, "tokenizer.ggml.model is missing");
	v = good, v.scores = 2;
	check_vocabulary(&v, -EINVAL, "tokenizer.ggml.scores has 2 entries, the vocabulary 3");
	v = good, v.tokens = twice, v.types = twice_types;
	check_vocabulary(&v, -EINVAL, "token 2 is the same text as token 1");
	v = good, v.tokens = half, v.types = byte_types;
	check_vocabulary(&v, -EINVAL, "the vocabulary has tokens for 1 of 256 bytes");
	v = good, v.tokens = wild, v.types = byte_types;
	check_vocabulary(&v, -EINVAL, "token 2 is of type byte and not named <0x00> .. <0xFF>");
	v = good, v.tokens = negative, v.types = byte_types;
	check_vocabulary(&v, -EINVAL, "token 2 is of type byte and not named <0x00> .. <0xFF>");
	v = good, v.types = bad_types;
	check_vocabulary(&v, -EINVAL, "token 2 is of type 9, known are 1 to 6");
	v = good, v.unknown = 3;
	check_vocabulary(&v, -EINVAL,
			 "tokenizer.ggml.unknown_token_id is no token of the 3 that there are");
	v = good, v.unknown = -1;
	check_vocabulary(&v, -EINVAL,
			 "the vocabulary has neither tokens for bytes nor an unknown one");
	v = good, v.flag = "tokenizer.ggml.remove_extra_whitespaces";
	check_vocabulary(&v, -EOPNOTSUPP, "tokenizer.ggml.remove_extra_whitespaces is not known");
	v = good, v.flag = "tokenizer.ggml.precompiled_charsmap";
	check_vocabulary(&v, -EOPNOTSUPP,
			 "tokenizer.ggml.precompiled_charsmap: normalisers are not known");
}

static void spm_text_ends_where_the_file_says(void **state)
{
	struct vocabulary v = { "llama", three, 3, 3, three_types, NULL, 0, NULL, false, 0 };
	struct tokens t = open_tokens(vocabulary);
	char path[64];

	(void)state;
	assert_true(spm_is_end(t.spm, 1));
	assert_false(spm_is_end(t.spm, 2) || spm_is_end(t.spm, -1));
	close_tokens(&t);
	v.turn = 2;
	write_vocabulary(&v, path);
	t = open_tokens(path);
	assert_true(spm_is_end(t.spm, 2));
	assert_false(spm_is_end(t.spm, 1) || spm_is_end(t.spm, -1));
	close_tokens(&t);
	unlink(path);
}

/* U+2581 before a text, and the unknown token for each character that is no piece. */
static void spm_without_bytes_has_an_unknown_token(void **state)
{
	static const char *const tokens[] = { "<unk>", "<bos>", "a", "\xe2\x96\x81", "\xe2\x96\x81""a" };
	static const int32_t types[] = { 2, 3, 1, 1, 1 };
	struct vocabulary v = { "llama", tokens, 5, 5, types, NULL, 0, NULL, false, 0 };
	static const int32_t want[] = { 1, 4, 0, 2, 3 };
	struct tokens t;
	int32_t *ids;
	char path[64];

	(void)state;
	write_vocabulary(&v, path);
	t = open_tokens(path);
	assert_int_equal(spm_encode(t.spm, "a\xe2\x82\xac""a ", &ids), 5);
	assert_memory_equal(ids, want, sizeof(want));
	free(ids);
	close_tokens(&t);
	unlink(path);
}

/* What is left of the character is a byte for itself, and what follows is not taken for it. */
static void spm_piece_may_end_inside_a_character(void **state)
{
	static const char *const tokens[] = { "<unk>", "<bos>", "\xc3", "a" };
	static const int32_t types[] = { 2, 3, 4, 1 }, want[] = { 1, 2, 0, 3, 0 };
	struct vocabulary v = { "llama", tokens, 4, 4, types, NULL, 0, NULL, true, 0 };
	struct tokens t;
	int32_t *ids;
	char path[64];

	(void)state;
	write_vocabulary(&v, path);
	t = open_tokens(path);
	assert_int_equal(spm_encode(t.spm, "\xc3\xa9""a\xe2\x82\xac", &ids), 5);
	assert_memory_equal(ids, want, sizeof(want));
	free(ids);
	close_tokens(&t);
	unlink(path);
}

/* Of equal scores the leftmost; what the user defined is taken first and never merged. */
static void spm_merges_in_order(void **state)
{
	static const char *const tokens[] = { "<unk>", "<bos>", "x", "xx", "a", "b", "c", "ab", "bc",
					      "uv", "uvc" };
	static const int32_t types[] = { 2, 3, 1, 1, 1, 1, 1, 1, 1, 4, 1 };
	struct vocabulary v = { "llama", tokens, 11, 11, types, NULL, 0, NULL, false, 0 };
	static const struct { const char *text; int32_t ids[5]; int64_t count; } cases[] = {
		{ "xxx", { 1, 3, 2 }, 3 }, { "xxxxx", { 1, 3, 3, 2 }, 4 }, { "abc", { 1, 7, 6 }, 3 },
		{ "uvc", { 1, 9, 6 }, 3 }, { "auv", { 1, 4, 9 }, 3 },
	};
	struct tokens t;
	char path[64];
	int32_t *ids;

	(void)state;
	write_vocabulary(&v, path);
	t = open_tokens(path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* Behind U+2581, which is no piece here. */
		assert_int_equal(spm_encode(t.spm, cases[i].text, &ids), cases[i].count + 1);
		assert_int_equal(ids[1], 0);
		assert_memory_equal(ids + 2, cases[i].ids + 1,
				    (size_t)(cases[i].count - 1) * sizeof(*ids));
		free(ids);
	}
	close_tokens(&t);
	unlink(path);
}

/* --- against a simple model --------------------------------------------- */

#define RANDOM_PIECES 40u
#define RANDOM_TEXT 24u

/**
 * struct slow - a vocabulary over the letters a, b and c, and a text cut into pieces
 * @token: "<unk>", "<bos>", then pieces, each once
 * @part: stretches of the text, @parts of them; @frozen: defined by the user
 */
struct slow {
	char token[RANDOM_PIECES][8];
	const char *tokens[RANDOM_PIECES];
	float scores[RANDOM_PIECES];
	int32_t types[RANDOM_PIECES];
	uint32_t count;
	char part[RANDOM_TEXT][RANDOM_TEXT + 1];
	bool frozen[RANDOM_TEXT];
	uint32_t parts;
};

static int32_t slow_find(const struct slow *s, const char *text)
{
	for (uint32_t i = 2; i < s->count; i++)
		if (!strcmp(s->token[i], text))
			return (int32_t)i;
	return -1;
}

static void slow_vocabulary(struct slow *s, struct random *r)
{
	strcpy(s->token[0], "<unk>");
	strcpy(s->token[1], "<bos>");
	s->types[0] = 2;
	s->types[1] = 3;
	s->count = 2;
	while (s->count < RANDOM_PIECES) {
		char *text = s->token[s->count];
		uint32_t length = 1 + (uint32_t)(random_u64(r) % 4);

		for (uint32_t i = 0; i < length; i++)
			text[i] = (char)('a' + random_u64(r) % 3);
		text[length] = 0;
		if (slow_find(s, text) >= 0 && random_u64(r) % 64)
			continue;
		if (slow_find(s, text) >= 0)
			break;
		/* Few scores, so that there are ties. */
		s->scores[s->count] = (float)(random_u64(r) % 6);
		s->types[s->count++] = random_u64(r) % 8 ? 1 : 4;
	}
	for (uint32_t i = 0; i < s->count; i++)
		s->tokens[i] = s->token[i];
}

/* What the user defined, the longest from the left; single letters. */
static void slow_split(struct slow *s, const char *text)
{
	for (s->parts = 0; *text; s->parts++) {
		uint32_t length = 1;

		s->frozen[s->parts] = false;
		for (uint32_t i = 2; i < s->count; i++) {
			uint32_t n = (uint32_t)strlen(s->token[i]);

			if (s->types[i] != 4 || strncmp(text, s->token[i], n))
				continue;
			if (!s->frozen[s->parts] || n > length)
				length = n;
			s->frozen[s->parts] = true;
		}
		snprintf(s->part[s->parts], sizeof(s->part[0]), "%.*s", (int)length, text);
		text += length;
	}
}

/* The best pair of all neighbours, again and again. */
static bool slow_merge(struct slow *s)
{
	char both[2 * RANDOM_TEXT + 1];
	uint32_t best = 0;
	float score = -1;

	for (uint32_t i = 0; i + 1 < s->parts; i++) {
		int32_t id;

		snprintf(both, sizeof(both), "%s%s", s->part[i], s->part[i + 1]);
		id = slow_find(s, both);
		if (id >= 0 && !s->frozen[i] && !s->frozen[i + 1] && s->scores[id] > score) {
			score = s->scores[id];
			best = i;
		}
	}
	if (score < 0)
		return false;
	snprintf(both, sizeof(both), "%s%s", s->part[best], s->part[best + 1]);
	memcpy(s->part[best], both, sizeof(s->part[best]));
	for (uint32_t i = best + 1; i + 1 < s->parts; i++) {
		memcpy(s->part[i], s->part[i + 1], sizeof(s->part[i]));
		s->frozen[i] = s->frozen[i + 1];
	}
	s->parts--;
	return true;
}

static void slow_check(struct slow *s, const struct spm *spm, const char *text)
{
	int32_t *ids;
	int64_t n = spm_encode(spm, text, &ids);

	slow_split(s, text);
	while (slow_merge(s))
		;
	if (n != (int64_t)s->parts + 1)
		fail_msg("'%s': %lld ids, not %u", text, (long long)n, s->parts + 1);
	for (uint32_t i = 0; i < s->parts; i++) {
		int32_t want = slow_find(s, s->part[i]);

		if (ids[i + 1] != (want < 0 ? 0 : want))
			fail_msg("'%s': piece %u is %d, not %d '%s'", text, i, ids[i + 1], want,
				 s->part[i]);
	}
	free(ids);
}

static void spm_agrees_with_a_simple_model(void **state)
{
	struct random r = { 11 };

	(void)state;
	for (uint32_t round = 0; round < 60; round++) {
		struct slow s = { 0 };
		struct vocabulary v = { "llama", s.tokens, 0, 0, s.types, "tokenizer.ggml.add_bos_token",
					0, s.scores, true, 0 };
		struct tokens t;
		char path[64];

		slow_vocabulary(&s, &r);
		v.count = v.scores = s.count;
		write_vocabulary(&v, path);
		t = open_tokens(path);
		for (uint32_t i = 0; i < 100; i++) {
			char text[RANDOM_TEXT] = "";

			for (uint32_t j = 0, n = (uint32_t)(random_u64(&r) % RANDOM_TEXT); j < n; j++)
				text[j] = (char)('a' + random_u64(&r) % 4);	/* d is unknown */
			slow_check(&s, t.spm, text);
		}
		close_tokens(&t);
		unlink(path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spm_gives_the_ids_of_sentencepiece),
		cmocka_unit_test(spm_gives_the_ids_of_sentencepiece_for_gemma),
		cmocka_unit_test(spm_decoded_tokens_are_the_text),
		cmocka_unit_test(spm_bytes_that_are_no_text_become_replacements),
		cmocka_unit_test(spm_names_what_is_wrong_with_a_vocabulary),
		cmocka_unit_test(spm_text_ends_where_the_file_says),
		cmocka_unit_test(spm_without_bytes_has_an_unknown_token),
		cmocka_unit_test(spm_piece_may_end_inside_a_character),
		cmocka_unit_test(spm_merges_in_order),
		cmocka_unit_test(spm_agrees_with_a_simple_model),
	};

	return cmocka_run_group_tests_name("spm", tests, NULL, NULL);
}

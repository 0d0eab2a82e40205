// SPDX-License-Identifier: MIT
/*
 * The encoder of vbrun embed against its float64 reference, and against itself in other
 * tiers and batches. The real model is checked when it was fetched.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "vbrun/accuracy.h"
#include "vbrun/bert.h"
#include "vbrun/bert_ref.h"
#include "vbrun/gen.h"
#include "vbrun/sentences.h"

#define TEXTS 5u
#define HOST_BYTES ((uint64_t)64 << 20)
#define TOKENS 128u

static const char *const texts[TEXTS] = {
	"the first of them", "a second one, longer than the one before it by some words",
	"x", "", "what comes last?",
};

/**
 * struct fixture - a small generated model
 * @folder: where it lies
 * @model: open
 * @text: tokens of @texts
 */
struct fixture {
	char folder[64];
	struct bert_model model;
	struct bert_text text[TEXTS];
};

static void tokenize(struct fixture *f)
{
	for (uint32_t i = 0; i < TEXTS; i++) {
		int n = wordpiece_encode(f->model.words, texts[i], f->text[i].ids,
					 WORDPIECE_MAX_IDS);

		assert_true(n >= 2);
		f->text[i].count = (uint32_t)n;
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vbrun_gen_model_params p = { .seed = 3, .layers = 2, .hidden = 64, .heads = 4,
					    .ffn = 160 };
	struct vgpu_error error;

	assert_non_null(f);
	strcpy(f->folder, "/var/tmp/vb-bert-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	p.folder = f->folder;
	assert_int_equal(vbrun_gen_model(&p, NULL, NULL, &error), 0);
	assert_int_equal(bert_model_open(f->folder, &f->model, &error), 0);
	tokenize(f);
	*state = f;
	return 0;
}

static void remove_file(const char *folder, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	unlink(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bert_model_close(&f->model);
	remove_file(f->folder, "model.safetensors");
	remove_file(f->folder, "config.json");
	remove_file(f->folder, "vocab.txt");
	rmdir(f->folder);
	free(f);
	return 0;
}

/* A device and the model on it. */
static void load(const struct bert_model *model, uint64_t host_bytes, enum vgpu_format format,
		 enum vgpu_mode mode, uint32_t tokens, const char *packed_path, struct vgpu **v,
		 struct bert *b)
{
	struct vgpu_config config = { .size = sizeof(config), .chunk_bytes = 64 << 10,
				      .host_bytes = host_bytes, .threads = 2 };
	enum vgpu_format formats[BERT_LAYERS_MAX];

	for (uint32_t i = 0; i < BERT_LAYERS_MAX; i++)
		formats[i] = format;
	assert_int_equal(vgpu_open_embedded(&config, v), 0);
	assert_int_equal(bert_load(b, model, *v, formats, mode, tokens, packed_path), 0);
}

static void unload(struct vgpu *v, struct bert *b)
{
	bert_unload(b);
	vgpu_close(v);
}

static double nmse_against_ref(struct fixture *f, enum vgpu_format format, enum vgpu_mode mode)
{
	uint32_t h = f->model.hidden;
	float *ours = calloc(TEXTS * h, sizeof(*ours));
	double *exact = calloc(TEXTS * h, sizeof(*exact));
	struct bert_ref *ref;
	struct accuracy a;
	struct vgpu *v;
	struct bert b;

	load(&f->model, HOST_BYTES, format, mode, TOKENS, NULL, &v, &b);
	assert_int_equal(bert_embed(&b, f->text, TEXTS, ours), 0);
	assert_int_equal(bert_ref_create(&b, &ref), 0);
	for (uint32_t i = 0; i < TEXTS; i++)
		assert_int_equal(bert_ref_embed(ref, &f->text[i], &exact[i * h]), 0);
	a = accuracy_against_f64(ours, exact, TEXTS * h);
	bert_ref_destroy(ref);
	unload(v, &b);
	free(ours);
	free(exact);
	return a.nmse;
}

static void bert_f32_agrees_with_float64(void **state)
{
	assert_true(nmse_against_ref(*state, VGPU_FORMAT_F32, VGPU_MODE_F32) < 1e-11);
}

static void bert_packed_agrees_with_float64_of_its_weights(void **state)
{
	assert_true(nmse_against_ref(*state, VGPU_FORMAT_MXFP4_G16, VGPU_MODE_F32) < 1e-11);
	assert_true(nmse_against_ref(*state, VGPU_FORMAT_MXFP4_G16, VGPU_MODE_A16) < 1e-4);
	assert_true(nmse_against_ref(*state, VGPU_FORMAT_INT8_G16, VGPU_MODE_F32) < 1e-11);
	assert_true(nmse_against_ref(*state, VGPU_FORMAT_INT8_G16, VGPU_MODE_A8) < 1e-3);
}

/* Embeddings in a tier of @host_bytes, batches of @tokens. */
static float *embed_in(struct fixture *f, uint64_t host_bytes, uint32_t tokens,
		       const char *packed_path)
{
	float *out = calloc(TEXTS * f->model.hidden, sizeof(*out));
	struct vgpu *v;
	struct bert b;

	assert_non_null(out);
	load(&f->model, host_bytes, VGPU_FORMAT_MXFP4_G16, VGPU_MODE_A16, tokens, packed_path, &v, &b);
	assert_int_equal(bert_embed(&b, f->text, TEXTS, out), 0);
	unload(v, &b);
	return out;
}

static void bert_bits_depend_on_neither_tier_nor_batch(void **state)
{
	static const uint64_t hosts[] = { 1408 << 10, 2 << 20, 16 << 20 };
	struct fixture *f = *state;
	float *want = embed_in(f, HOST_BYTES, TOKENS, NULL), *got;
	uint32_t longest = 0;

	for (uint32_t i = 0; i < TEXTS; i++)
		longest = f->text[i].count > longest ? f->text[i].count : longest;
	assert_true(longest < TOKENS);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		for (uint32_t tokens = longest; tokens <= TOKENS; tokens += TOKENS - longest) {
			got = embed_in(f, hosts[i], tokens, NULL);
			assert_memory_equal(got, want, TEXTS * f->model.hidden * sizeof(*got));
			free(got);
		}
	free(want);
}

static void bert_bits_do_not_depend_on_where_weights_were_packed(void **state)
{
	struct fixture *f = *state;
	float *want = embed_in(f, HOST_BYTES, TOKENS, NULL), *got;
	char path[160];

	snprintf(path, sizeof(path), "%s/packed.safetensors", f->folder);
	for (int built = 0; built < 2; built++) {
		got = embed_in(f, 2 << 20, TOKENS, path);
		assert_memory_equal(got, want, TEXTS * f->model.hidden * sizeof(*got));
		assert_int_equal(access(path, R_OK), 0);
		free(got);
	}
	unlink(path);
	free(want);
}

static void bert_text_longer_than_the_batch_is_refused(void **state)
{
	struct fixture *f = *state;
	float *out = calloc(TEXTS * f->model.hidden, sizeof(*out));
	struct vgpu *v;
	struct bert b;

	load(&f->model, HOST_BYTES, VGPU_FORMAT_F32, VGPU_MODE_F32, 8, NULL, &v, &b);
	assert_int_equal(bert_embed(&b, f->text, TEXTS, out), -E2BIG);
	unload(v, &b);
	free(out);
}

/* Change one number of config.json and say how opening ends. */
static int open_with(struct fixture *f, const char *key, const char *number,
		     struct vgpu_error *error)
{
	char path[160], text[4096] = "", *at, changed[4200];
	struct bert_model model;
	FILE *file;
	int rc;

	snprintf(path, sizeof(path), "%s/config.json", f->folder);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	at = strstr(text, key);
	assert_non_null(at);
	at = strchr(at, ':') + 1;
	snprintf(changed, sizeof(changed), "%.*s %s%s", (int)(at - text), text, number,
		 at + strcspn(at, ",\n"));
	file = fopen(path, "w");
	fputs(changed, file);
	fclose(file);
	rc = bert_model_open(f->folder, &model, error);
	if (!rc)
		bert_model_close(&model);
	file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
	return rc;
}

static void bert_wrong_config_names_field_and_value(void **state)
{
	struct vgpu_error error;

	assert_int_equal(open_with(*state, "num_hidden_layers", "7", &error), -EINVAL);
	assert_non_null(strstr(error.text, "encoder.layer.2."));
	assert_int_equal(open_with(*state, "num_hidden_layers", "0", &error), -EINVAL);
	assert_non_null(strstr(error.text, "num_hidden_layers 0 is outside 1 .. 48"));
	assert_int_equal(open_with(*state, "hidden_size", "128", &error), -EINVAL);
	assert_non_null(strstr(error.text, "word_embeddings"));
	assert_int_equal(open_with(*state, "num_attention_heads", "5", &error), -EINVAL);
	assert_non_null(strstr(error.text, "no multiple"));
}

/* --- the real model ------------------------------------------------------ */

/* Float64 takes 10 ms a text, instrumented code ten times that. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SENTENCES 30u
#define REF_TEXTS 3u
#else
#define SENTENCES VBRUN_SENTENCE_COUNT
#define REF_TEXTS 20u
#endif

static bool minilm_folder(char *out, size_t len)
{
	const char *cache = getenv("VBLACKWELL_CACHE"), *home = getenv("HOME");
	struct stat st;

	if (cache && *cache)
		snprintf(out, len, "%s/models/all-MiniLM-L6-v2", cache);
	else
		snprintf(out, len, "%s/.cache/vblackwell/models/all-MiniLM-L6-v2",
			 home ? home : "");
	return !stat(out, &st);
}

static struct json_object *field(struct json_object *o, const char *key)
{
	struct json_object *value = NULL;

	assert_true(json_object_object_get_ex(o, key, &value));
	return value;
}

static void compare_with(struct bert *b, struct json_object *sentence)
{
	struct json_object *ids = field(sentence, "ids"), *want = field(sentence, "embedding");
	uint32_t h = b->model->hidden;
	struct bert_text text = { .count = (uint32_t)json_object_array_length(ids) };
	double exact[384];
	float ours[384];

	assert_int_equal(h, 384);
	assert_int_equal(json_object_array_length(want), h);
	for (uint32_t i = 0; i < text.count; i++)
		text.ids[i] = json_object_get_int(json_object_array_get_idx(ids, i));
	for (uint32_t i = 0; i < h; i++)
		exact[i] = json_object_get_double(json_object_array_get_idx(want, i));
	assert_int_equal(bert_embed(b, &text, 1, ours), 0);
	assert_true(accuracy_against_f64(ours, exact, h).nmse < 1e-10);
}

/* Open the real model, or skip and say why. */
static void open_minilm(struct bert_model *model)
{
	struct vgpu_error error;
	char folder[512];

	if (!minilm_folder(folder, sizeof(folder))) {
		print_message("SKIP: all-MiniLM-L6-v2 is not in the cache\n");
		skip();
	}
	assert_int_equal(bert_model_open(folder, model, &error), 0);
}

static void minilm_agrees_with_the_recorded_embeddings(void **state)
{
	struct json_object *o, *list;
	struct bert_model model;
	struct vgpu *v;
	struct bert b;

	(void)state;
	open_minilm(&model);
	o = json_object_from_file(TEST_DATA "/minilm_reference.json");
	assert_non_null(o);
	load(&model, (uint64_t)256 << 20, VGPU_FORMAT_F32, VGPU_MODE_F32, WORDPIECE_MAX_IDS, NULL, &v, &b);
	list = field(o, "sentences");
	assert_true(json_object_array_length(list) > 0);
	for (size_t i = 0; i < json_object_array_length(list); i++)
		compare_with(&b, json_object_array_get_idx(list, i));
	unload(v, &b);
	bert_model_close(&model);
	json_object_put(o);
}

/* The first @count built-in sentences, tokenized. */
static struct bert_text *sentences(const struct bert_model *model, uint32_t count)
{
	struct bert_text *text = calloc(count, sizeof(*text));

	assert_non_null(text);
	for (uint32_t i = 0; i < count; i++) {
		int n = wordpiece_encode(model->words, vbrun_sentences[i], text[i].ids,
					 WORDPIECE_MAX_IDS);

		assert_true(n > 2);
		text[i].count = (uint32_t)n;
	}
	return text;
}

/* Embeddings of @count sentences by the real model in a tier of @host_bytes. */
static float *minilm_embed(const struct bert_model *model, const struct bert_text *text,
			   uint32_t count, enum vgpu_format format, enum vgpu_mode mode,
			   uint64_t host_bytes)
{
	float *out = calloc((size_t)count * model->hidden, sizeof(*out));
	struct vgpu *v;
	struct bert b;

	assert_non_null(out);
	load(model, host_bytes, format, mode, TOKENS, NULL, &v, &b);
	assert_int_equal(bert_embed(&b, text, count, out), 0);
	unload(v, &b);
	return out;
}

static void sentences_are_all_different(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < VBRUN_SENTENCE_COUNT; i++)
		for (uint32_t j = 0; j < i; j++)
			assert_string_not_equal(vbrun_sentences[i], vbrun_sentences[j]);
}

/* Largest cosine of two of @count embeddings. */
static double nearest(const float *embedding, uint32_t count, uint32_t hidden)
{
	double most = -1;

	for (uint32_t i = 0; i < count; i++)
		for (uint32_t j = 0; j < i; j++) {
			double cosine = accuracy_cosine(&embedding[(size_t)i * hidden],
							&embedding[(size_t)j * hidden], hidden);

			most = cosine > most ? cosine : most;
		}
	return most;
}

/* Two of the demonstration are: the measure does see it. */
static void sentences_are_no_paraphrases_of_one_another(void **state)
{
	const uint64_t room = (uint64_t)256 << 20;
	struct bert_text pair[2];
	struct bert_model model;
	struct bert_text *text;
	double most, same;
	float *f32;

	(void)state;
	open_minilm(&model);
	text = sentences(&model, SENTENCES);
	f32 = minilm_embed(&model, text, SENTENCES, VGPU_FORMAT_F32, VGPU_MODE_F32, room);
	most = nearest(f32, SENTENCES, model.hidden);
	free(f32);
	for (int i = 0; i < 2; i++)
		pair[i].count = (uint32_t)wordpiece_encode(model.words, vbrun_demo_sentences[i],
							   pair[i].ids, WORDPIECE_MAX_IDS);
	f32 = minilm_embed(&model, pair, 2, VGPU_FORMAT_F32, VGPU_MODE_F32, room);
	same = nearest(f32, 2, model.hidden);
	print_message("largest cosine of two of %u sentences %.4f, of a paraphrase %.4f\n",
		      SENTENCES, most, same);
	assert_true(most > 0 && most <= VBRUN_SENTENCE_COSINE_MAX);
	assert_true(same > VBRUN_SENTENCE_COSINE_MAX);
	free(f32);
	free(text);
	bert_model_close(&model);
}

static void minilm_packed_keeps_embeddings_and_their_order(void **state)
{
	/* MXFP4 is what the goal of vbrun embed --accuracy is set for: no layer needs INT8. */
	static const struct {
		const char *what;
		enum vgpu_format format;
		enum vgpu_mode mode;
		double nmse, spearman;
	} want[] = {
		{ "INT8 A8", VGPU_FORMAT_INT8_G16, VGPU_MODE_A8, 1e-3, 0.999 },
		{ "INT8 A16", VGPU_FORMAT_INT8_G16, VGPU_MODE_A16, 1e-3, 0.999 },
		{ "MXFP4 A16", VGPU_FORMAT_MXFP4_G16, VGPU_MODE_A16, 0.1, 0.95 },
	};
	const uint64_t room = (uint64_t)256 << 20;
	struct bert_model model;
	struct bert_text *text;
	struct accuracy a;
	float *f32, *ours;

	(void)state;
	open_minilm(&model);
	text = sentences(&model, SENTENCES);
	f32 = minilm_embed(&model, text, SENTENCES, VGPU_FORMAT_F32, VGPU_MODE_F32, room);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		ours = minilm_embed(&model, text, SENTENCES, want[i].format, want[i].mode, room);
		assert_int_equal(accuracy_measure(ours, f32, SENTENCES, model.hidden,
						  &a), 0);
		print_message("%s: NMSE %.2e, Spearman %.6f against F32\n", want[i].what, a.nmse,
			      a.spearman);
		assert_true(a.nmse <= want[i].nmse);
		assert_true(a.spearman >= want[i].spearman);
		free(ours);
	}
	free(f32);
	free(text);
	bert_model_close(&model);
}

static void minilm_mxfp4_agrees_with_float64_of_its_weights(void **state)
{
	struct bert_model model;
	struct bert_text *text;
	struct bert_ref *ref;
	struct accuracy a;
	double *exact;
	float *ours;
	struct vgpu *v;
	struct bert b;

	(void)state;
	open_minilm(&model);
	text = sentences(&model, REF_TEXTS);
	ours = calloc(REF_TEXTS * model.hidden, sizeof(*ours));
	exact = calloc(REF_TEXTS * model.hidden, sizeof(*exact));
	assert_true(ours && exact);
	load(&model, (uint64_t)256 << 20, VGPU_FORMAT_MXFP4_G16, VGPU_MODE_A16, TOKENS, NULL, &v, &b);
	assert_int_equal(bert_embed(&b, text, REF_TEXTS, ours), 0);
	assert_int_equal(bert_ref_create(&b, &ref), 0);
	for (uint32_t i = 0; i < REF_TEXTS; i++)
		assert_int_equal(bert_ref_embed(ref, &text[i], &exact[i * model.hidden]), 0);
	a = accuracy_against_f64(ours, exact, REF_TEXTS * model.hidden);
	print_message("MXFP4 A16: NMSE %.2e against float64 with the same weights\n", a.nmse);
	assert_true(a.nmse > 0 && a.nmse <= 1e-4);
	bert_ref_destroy(ref);
	unload(v, &b);
	free(exact);
	free(ours);
	free(text);
	bert_model_close(&model);
}

static void minilm_bits_do_not_depend_on_the_tier(void **state)
{
	static const uint64_t hosts[] = { 3 << 20, 6 << 20 };
	struct bert_model model;
	struct bert_text *text;
	float *want, *got;

	(void)state;
	open_minilm(&model);
	text = sentences(&model, 4);
	want = minilm_embed(&model, text, 4, VGPU_FORMAT_MXFP4_G16, VGPU_MODE_A16,
			    (uint64_t)256 << 20);
	for (int i = 0; i < 2; i++) {
		got = minilm_embed(&model, text, 4, VGPU_FORMAT_MXFP4_G16, VGPU_MODE_A16, hosts[i]);
		assert_memory_equal(got, want, 4 * model.hidden * sizeof(*got));
		free(got);
	}
	free(want);
	free(text);
	bert_model_close(&model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bert_f32_agrees_with_float64),
		cmocka_unit_test(bert_packed_agrees_with_float64_of_its_weights),
		cmocka_unit_test(bert_bits_depend_on_neither_tier_nor_batch),
		cmocka_unit_test(bert_bits_do_not_depend_on_where_weights_were_packed),
		cmocka_unit_test(bert_text_longer_than_the_batch_is_refused),
		cmocka_unit_test(bert_wrong_config_names_field_and_value),
		cmocka_unit_test(sentences_are_all_different),
		cmocka_unit_test(sentences_are_no_paraphrases_of_one_another),
		cmocka_unit_test(minilm_agrees_with_the_recorded_embeddings),
		cmocka_unit_test(minilm_packed_keeps_embeddings_and_their_order),
		cmocka_unit_test(minilm_mxfp4_agrees_with_float64_of_its_weights),
		cmocka_unit_test(minilm_bits_do_not_depend_on_the_tier),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

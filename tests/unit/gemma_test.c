// SPDX-License-Identifier: MIT
/*
 * The decoder of vbrun generate against its float64 reference, and against itself in other
 * batches and tiers; and what it refuses. Models are generated; the real one is the matter
 * of tests/cli/generate_test.sh.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/gemma_ref.h"
#include "vbrun/accuracy.h"
#include "vbrun/gemma.h"
#include "vbrun/gen_gemma.h"

#define HOST_BYTES ((uint64_t)64 << 20)
/* Longer than the window of the small models, so that it matters. */
#define TOKENS 40u
#define WINDOW 8u
/* So long that layers with a window no longer look at the first keys. */
#define LONG_TOKENS 300u

static const struct vbrun_gen_gemma_params small = {
	.seed = 7, .layers = 3, .hidden = 64, .heads = 4, .kv_heads = 2, .dim = 32, .ffn = 96,
	.window = WINDOW, .pattern = 3, .plain = true,
};
static const struct vbrun_gen_gemma_params mixed = {
	.seed = 8, .layers = 4, .hidden = 96, .heads = 4, .kv_heads = 1, .dim = 64, .ffn = 256,
	.window = WINDOW, .pattern = 2,
};

/**
 * struct fixture - a generated model on a device
 * @path: of the file
 * @v: device of @g
 */
struct fixture {
	char path[64];
	struct gemma_model model;
	struct vgpu *v;
	struct gemma g;
};

static void write_model(const struct vbrun_gen_gemma_params *params, char path[64])
{
	struct vbrun_gen_gemma_params p = *params;
	struct vgpu_error err;
	int fd;

	strcpy(path, "/var/tmp/vb-gemma-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	p.path = path;
	if (vbrun_gen_gemma(&p, NULL, NULL, &err))
		fail_msg("%s", err.text);
}

static struct vgpu *open_device(uint64_t host_bytes)
{
	struct vgpu_config config = { .size = sizeof(config), .chunk_bytes = 64 << 10,
				      .host_bytes = host_bytes, .threads = 2 };
	struct vgpu *v;

	if (vgpu_open_embedded(&config, &v))
		fail_msg("%s", vgpu_error_text());
	return v;
}

static void load_kv(struct fixture *f, uint64_t host_bytes, enum vgpu_mode mode, uint32_t batch,
		    enum vgpu_format kv)
{
	struct gemma_size size = { TOKENS, batch, 4, 0, kv };

	f->v = open_device(host_bytes);
	if (gemma_load(&f->g, &f->model, f->v, mode, &size))
		fail_msg("%s", vgpu_error_text());
}

static void load(struct fixture *f, uint64_t host_bytes, enum vgpu_mode mode, uint32_t batch)
{
	load_kv(f, host_bytes, mode, batch, VGPU_FORMAT_NONE);
}

static void unload(struct fixture *f)
{
	gemma_unload(&f->g);
	vgpu_close(f->v);
}

static void begin(struct fixture *f, const struct vbrun_gen_gemma_params *params)
{
	struct vgpu_error err;

	write_model(params, f->path);
	if (gemma_model_open(f->path, &f->model, &err))
		fail_msg("%s", err.text);
}

static void end(struct fixture *f)
{
	gemma_model_close(&f->model);
	unlink(f->path);
}

/* Any tokens; those of bytes and letters. */
static void make_ids(const struct fixture *f, int32_t ids[TOKENS])
{
	ids[0] = 2;
	for (uint32_t i = 1; i < TOKENS; i++)
		ids[i] = (int32_t)(4 + i * 97 % (f->model.embedding->n - 4));
}

static float *logits_of(struct fixture *f, const int32_t *ids, uint32_t count)
{
	float *out = calloc(f->model.embedding->n, sizeof(*out));

	assert_non_null(out);
	gemma_forget(&f->g);
	if (gemma_feed(&f->g, ids, count))
		fail_msg("%s", vgpu_error_text());
	assert_int_equal(gemma_logits(&f->g, out), 0);
	return out;
}

/* --- against float64 ---------------------------------------------------- */

/* Return: the largest NMSE that there was. */
static double check_kv_against_ref(const struct vbrun_gen_gemma_params *params, enum vgpu_mode mode,
				   enum vgpu_format kv, double nmse_max)
{
	static const uint32_t counts[] = { 1, 2, WINDOW, WINDOW + 1, TOKENS };
	struct fixture f = { 0 };
	struct gemma_ref *ref;
	int32_t ids[TOKENS];
	double most = 0;

	begin(&f, params);
	load_kv(&f, HOST_BYTES, mode, TOKENS, kv);
	make_ids(&f, ids);
	ref = gemma_ref_create(&f.g);
	for (uint32_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		double *exact = calloc(f.model.embedding->n, sizeof(*exact));
		float *ours = logits_of(&f, ids, counts[i]);
		struct accuracy a;

		assert_non_null(exact);
		gemma_ref_logits(ref, ids, counts[i], exact);
		a = accuracy_against_f64(ours, exact, f.model.embedding->n);
		if (!(a.nmse < nmse_max))
			fail_msg("%u tokens: NMSE %g, limit %g", counts[i], a.nmse, nmse_max);
		most = a.nmse > most ? a.nmse : most;
		free(ours);
		free(exact);
	}
	gemma_ref_destroy(ref);
	unload(&f);
	end(&f);
	return most;
}

static void check_against_ref(const struct vbrun_gen_gemma_params *params, enum vgpu_mode mode,
			      double nmse_max)
{
	check_kv_against_ref(params, mode, VGPU_FORMAT_NONE, nmse_max);
}

static void gemma_f32_agrees_with_float64(void **state)
{
	(void)state;
	check_against_ref(&small, VGPU_MODE_F32, 1e-11);
}

static void gemma_packed_agrees_with_float64_of_its_weights(void **state)
{
	(void)state;
	check_against_ref(&mixed, VGPU_MODE_F32, 1e-11);
	check_against_ref(&mixed, VGPU_MODE_A16, 1e-4);
	check_against_ref(&mixed, VGPU_MODE_A8, 1e-2);
}

/*
 * 2^-11 and 2^-8 of a number, 1 / 254 of the largest of 32, squared, and no more than a few times
 * that at the end.
 */
static void gemma_keys_and_values_cost_what_they_round(void **state)
{
	double f16, bf16, int8;

	(void)state;
	f16 = check_kv_against_ref(&small, VGPU_MODE_F32, VGPU_FORMAT_F16, 1e-6);
	bf16 = check_kv_against_ref(&small, VGPU_MODE_F32, VGPU_FORMAT_BF16, 5e-5);
	int8 = check_kv_against_ref(&small, VGPU_MODE_F32, VGPU_FORMAT_Q8_0, 5e-4);
	print_message("NMSE %.3g with F16, %.3g with BF16, %.3g with INT8\n", f16, bf16, int8);
	assert_true(f16 > 1e-10 && bf16 > 8 * f16 && int8 > bf16);
}

static void linear_scaling(struct gguf_image *g)
{
	gguf_text(g, "gemma3.rope.scaling.type", "linear");
	gguf_f32(g, "gemma3.rope.scaling.factor", 8);
}

static void other_rotation(struct gguf_image *g)
{
	gguf_f32(g, "gemma3.rope.freq_base_swa", 500);
	gguf_u32(g, "gemma3.rope.dimension_count", 16);
	gguf_f32(g, "gemma3.attention.scale", 0.3f);
}

static void gemma_options_of_the_file_agree_with_float64(void **state)
{
	struct vbrun_gen_gemma_params p = small;
	struct fixture f = { 0 };

	(void)state;
	p.more = linear_scaling;
	begin(&f, &p);
	/* Only the layer that sees all is scaled. */
	assert_true(f.model.layer[2].freq_scale == 0.125f && f.model.layer[1].freq_scale == 1);
	end(&f);
	check_against_ref(&p, VGPU_MODE_F32, 1e-11);
	p.more = other_rotation;
	begin(&f, &p);
	assert_true(f.model.layer[0].base == 500 && f.model.layer[2].base == 1e6f);
	assert_true(f.model.rot == 16 && f.model.scale == 0.3f);
	end(&f);
	check_against_ref(&p, VGPU_MODE_F32, 1e-11);
}

static void gemma_window_is_of_all_layers_but_the_last_of_a_pattern(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	begin(&f, &mixed);
	for (uint32_t i = 0; i < f.model.layers; i++) {
		assert_int_equal(f.model.layer[i].window, i % 2 ? 0 : WINDOW);
		assert_true(f.model.layer[i].base == (i % 2 ? 1e6f : 1e4f));
	}
	end(&f);
}

/* --- against itself ----------------------------------------------------- */

static double largest_difference(const float *a, const float *b, uint32_t n, double *largest)
{
	double most = 0;

	*largest = 0;
	for (uint32_t i = 0; i < n; i++) {
		most = fmax(most, fabs((double)a[i] - (double)b[i]));
		*largest = fmax(*largest, fabs((double)a[i]));
	}
	return most;
}

/*
 * The cache holds what the whole prompt would compute. A product's row has the same bits in
 * any batch; attention takes another way for fewer than 8 queries, and orders its sums
 * otherwise: 1e-5 for values of size 1 is its own limit.
 */
static void gemma_token_by_token_is_the_whole_prompt(void **state)
{
	static const uint32_t batches[] = { 1, 3, 8, 13 };
	struct fixture f = { 0 };
	int32_t ids[TOKENS];
	float *whole, *parts;
	double size, most;

	(void)state;
	begin(&f, &mixed);
	make_ids(&f, ids);
	load(&f, HOST_BYTES, VGPU_MODE_F32, TOKENS);
	whole = logits_of(&f, ids, TOKENS);
	unload(&f);
	for (uint32_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
		load(&f, HOST_BYTES, VGPU_MODE_F32, batches[i]);
		parts = logits_of(&f, ids, TOKENS);
		most = largest_difference(whole, parts, f.model.embedding->n, &size);
		if (!(most <= 2e-5 * size))
			fail_msg("batches of %u: %g of %g", batches[i], most, size);
		free(parts);
		unload(&f);
	}
	free(whole);
	end(&f);
}

static void gemma_another_text_begins_anew(void **state)
{
	struct fixture f = { 0 };
	int32_t ids[TOKENS];
	float *first, *again;

	(void)state;
	begin(&f, &mixed);
	make_ids(&f, ids);
	load(&f, HOST_BYTES, VGPU_MODE_A16, TOKENS);
	first = logits_of(&f, ids, 11);
	free(logits_of(&f, ids + 5, 30));
	again = logits_of(&f, ids, 11);
	assert_memory_equal(first, again, f.model.embedding->n * sizeof(*first));
	free(first);
	free(again);
	unload(&f);
	end(&f);
}

/* Greedy text from a prompt of 7 tokens, and the logits behind it. */
static float *greedy(struct fixture *f, int32_t out[TOKENS], uint64_t *read_bytes)
{
	uint64_t counters[VGPU_COUNTERS];
	float *logits = calloc(f->model.embedding->n, sizeof(*logits)), values[4];
	int32_t ids[TOKENS], next[4];
	uint32_t n = 7;

	assert_non_null(logits);
	make_ids(f, ids);
	assert_int_equal(gemma_feed(&f->g, ids, n), 0);
	for (; n < TOKENS; n++) {
		assert_int_equal(gemma_choices(&f->g, values, next), 0);
		assert_true(values[0] >= values[1] && values[1] >= values[2]);
		out[n] = next[0];
		if (gemma_feed(&f->g, next, 1))
			fail_msg("%s", vgpu_error_text());
	}
	assert_int_equal(gemma_logits(&f->g, logits), 0);
	vgpu_stats(f->v, counters, VGPU_COUNTERS);
	*read_bytes = counters[VGPU_COUNT_READ_BYTES];
	return logits;
}

static void gemma_says_the_same_in_a_quarter_of_the_memory(void **state)
{
	struct vbrun_gen_gemma_params p = mixed;
	struct gemma_size size = { TOKENS, 7, 4, 0, 0 };
	int32_t ids[2][TOKENS] = { { 0 } };
	struct fixture f = { 0 };
	uint64_t quarter, read[2];
	float *logits[2];

	(void)state;
	p.layers = 6;
	p.hidden = 512;
	p.ffn = 2048;
	begin(&f, &p);
	quarter = f.model.weights.used_bytes / 4;
	assert_true(quarter >= gemma_host_bytes(&f.model, &size, 64 << 10));
	for (uint32_t i = 0; i < 2; i++) {
		load(&f, i ? quarter : HOST_BYTES, VGPU_MODE_A16, 7);
		logits[i] = greedy(&f, ids[i], &read[i]);
		unload(&f);
	}
	assert_memory_equal(ids[0], ids[1], sizeof(ids[0]));
	assert_memory_equal(logits[0], logits[1], f.model.embedding->n * sizeof(float));
	/* It did stream: what does not fit came back for each token. */
	assert_true(read[1] > 10 * read[0]);
	free(logits[0]);
	free(logits[1]);
	end(&f);
}

/* The bytes that gemma_host_bytes() names are enough, and a chunk less is not. */
static void gemma_runs_in_the_bytes_it_says_it_needs(void **state)
{
	struct gemma_size size = { TOKENS, TOKENS, 4, 0, 0 };
	struct fixture f = { 0 };
	int32_t ids[TOKENS];
	struct vgpu *v;
	uint64_t need;

	(void)state;
	begin(&f, &mixed);
	make_ids(&f, ids);
	need = gemma_host_bytes(&f.model, &size, 64 << 10);
	load(&f, need, VGPU_MODE_A16, TOKENS);
	free(logits_of(&f, ids, TOKENS));
	unload(&f);
	v = open_device(need - (64 << 10));
	assert_int_equal(gemma_load(&f.g, &f.model, v, VGPU_MODE_A16, &size), -ENOSPC);
	gemma_unload(&f.g);
	vgpu_close(v);
	end(&f);
}

static void gemma_text_longer_than_its_room_is_refused(void **state)
{
	struct fixture f = { 0 };
	int32_t ids[TOKENS];

	(void)state;
	begin(&f, &small);
	make_ids(&f, ids);
	load(&f, HOST_BYTES, VGPU_MODE_F32, 16);
	assert_int_equal(gemma_feed(&f.g, ids, TOKENS), 0);
	assert_int_equal(gemma_feed(&f.g, ids, 1), -E2BIG);
	gemma_forget(&f.g);
	assert_int_equal(gemma_feed(&f.g, ids, TOKENS - 1), 0);
	assert_int_equal(gemma_feed(&f.g, ids, 2), -E2BIG);
	assert_int_equal(gemma_feed(&f.g, ids, 1), 0);
	unload(&f);
	end(&f);
}

/* Where the keys behind the window are no operands any more, the last layers see them all. */
static void gemma_long_text_agrees_with_float64(void **state)
{
	struct gemma_size size = { LONG_TOKENS, 16, 4, 0, 0 };
	double exact[2000], largest;
	struct fixture f = { 0 };
	int32_t ids[LONG_TOKENS];
	struct gemma_ref *ref;
	struct accuracy a;
	float *ours[2];

	(void)state;
	begin(&f, &small);
	assert_true(f.model.embedding->n <= 2000);
	for (uint32_t i = 0; i < LONG_TOKENS; i++)
		ids[i] = (int32_t)(i * 131 % f.model.embedding->n);
	for (uint32_t i = 0; i < 2; i++) {
		f.v = open_device(HOST_BYTES);
		assert_int_equal(gemma_load(&f.g, &f.model, f.v, VGPU_MODE_F32, &size), 0);
		ours[i] = logits_of(&f, ids, LONG_TOKENS);
		if (!i) {
			ref = gemma_ref_create(&f.g);
			gemma_ref_logits(ref, ids, LONG_TOKENS, exact);
			gemma_ref_destroy(ref);
		}
		unload(&f);
		size.batch = LONG_TOKENS;
	}
	a = accuracy_against_f64(ours[0], exact, f.model.embedding->n);
	assert_true(a.nmse < 1e-11);
	/* In one batch all keys are operands: the same bits, since the blocks are the same. */
	assert_true(largest_difference(ours[0], ours[1], f.model.embedding->n, &largest) == 0);
	free(ours[0]);
	free(ours[1]);
	end(&f);
}

static void gemma_sizes_that_cannot_be_are_refused(void **state)
{
	struct gemma_size sizes[] = {
		{ 8, 0, 1, 0, 0 }, { 8, GEMMA_BATCH_MAX + 1, 1, 0, 0 }, { 8, 1, 0, 0, 0 },
		{ 8, 1, GEMMA_CHOICES_MAX + 1, 0, 0 }, { 8, 1, 1000, 0, 0 },
	};
	struct fixture f = { 0 };

	(void)state;
	begin(&f, &small);
	assert_true(f.model.embedding->n < 1000);
	f.v = open_device(HOST_BYTES);
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(gemma_load(&f.g, &f.model, f.v, VGPU_MODE_F32, &sizes[i]), -EINVAL);
		gemma_unload(&f.g);
	}
	vgpu_close(f.v);
	end(&f);
}

static void gemma_heads_of_no_whole_blocks_have_no_cache_in_int8(void **state)
{
	struct vbrun_gen_gemma_params p = small;
	struct gemma_size size = { 8, 1, 1, 0, VGPU_FORMAT_Q8_0 };
	struct fixture f = { 0 };

	(void)state;
	p.dim = 40;
	begin(&f, &p);
	f.v = open_device(HOST_BYTES);
	assert_int_equal(gemma_load(&f.g, &f.model, f.v, VGPU_MODE_F32, &size), -EINVAL);
	assert_non_null(strstr(vgpu_error_text(), "a matrix of 2 x 40 cannot have format q8-0"));
	unload(&f);
	end(&f);
}

/* --- what is refused ---------------------------------------------------- */

/* Opening a file says, behind its name, @why. */
static void check_refused(const char *path, int rc, const char *why)
{
	struct gemma_model model;
	struct vgpu_error err;
	char want[256];

	snprintf(want, sizeof(want), "%s: %s", path, why);
	assert_int_equal(gemma_model_open(path, &model, &err), rc);
	assert_string_equal(err.text, want);
}

static void check_more(void (*more)(struct gguf_image *g), int rc, const char *why)
{
	struct vbrun_gen_gemma_params p = small;
	char path[64];

	p.more = more;
	write_model(&p, path);
	check_refused(path, rc, why);
	unlink(path);
}

/* Every @old in the file becomes @new, which is as long. */
static void check_changed(const char *old, const char *new, int rc, const char *why)
{
	size_t length = strlen(old), count;
	char path[64], *bytes, *at;
	FILE *file;

	assert_int_equal(length, strlen(new));
	write_model(&small, path);
	file = fopen(path, "r+b");
	assert_non_null(file);
	bytes = calloc(1, 1 << 20);
	assert_non_null(bytes);
	count = fread(bytes, 1, 1 << 20, file);
	for (at = bytes; (at = memmem(at, (size_t)(bytes + count - at), old, length)); at += length)
		memcpy(at, new, length);
	rewind(file);
	assert_int_equal(fwrite(bytes, 1, count, file), count);
	fclose(file);
	free(bytes);
	check_refused(path, rc, why);
	unlink(path);
}

static void yarn(struct gguf_image *g)
{
	gguf_text(g, "gemma3.rope.scaling.type", "yarn");
}

static void linear_without_factor(struct gguf_image *g)
{
	gguf_text(g, "gemma3.rope.scaling.type", "linear");
}

static void softcap(struct gguf_image *g)
{
	gguf_f32(g, "gemma3.final_logit_softcapping", 30);
}

static void odd_rotation(struct gguf_image *g)
{
	gguf_u32(g, "gemma3.rope.dimension_count", 15);
}

static void frequencies(struct gguf_image *g)
{
	gguf_tensor(g, "rope_freqs.weight", GGUF_F32, 0, 16, 64);
}

static void gemma_names_what_it_does_not_know(void **state)
{
	(void)state;
	check_changed("gemma3", "gemma9", -EOPNOTSUPP,
		      "architecture 'gemma9' is not known; known: gemma3");
	check_more(yarn, -EOPNOTSUPP,
		   "gemma3.rope.scaling.type 'yarn' is not known; known: none, linear");
	check_more(linear_without_factor, -EINVAL, "gemma3.rope.scaling.factor is missing");
	check_more(softcap, -EOPNOTSUPP, "gemma3.final_logit_softcapping is not known");
	check_more(odd_rotation, -EINVAL, "15 columns of a head rotate: must be even");
	check_more(frequencies, -EOPNOTSUPP,
		   "tensor 'rope_freqs.weight' has no place in gemma3 as it is known here");
}

static void gemma_names_what_is_missing_or_does_not_fit(void **state)
{
	(void)state;
	check_changed("gemma3.block_count", "gemma3.clock_bount", -EINVAL,
		      "gemma3.block_count is missing");
	check_changed("attention.head_count_kv", "attention.head_kount_cv", -EINVAL,
		      "matrix blk.0.attn_k.weight is [64][64], must be [128][64]");
	check_changed("blk.1.ffn_down", "blk.1.ffn_town", -EINVAL,
		      "matrix blk.1.ffn_down.weight is missing");
	check_changed("blk.1.ffn_norm", "blk.1.ffn_morn", -EINVAL,
		      "tensor blk.1.ffn_norm.weight is missing");
	check_changed("tokenizer.ggml.model", "tokenizer.gggl.model", -EINVAL,
		      "tokenizer.ggml.model is missing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gemma_f32_agrees_with_float64),
		cmocka_unit_test(gemma_packed_agrees_with_float64_of_its_weights),
		cmocka_unit_test(gemma_keys_and_values_cost_what_they_round),
		cmocka_unit_test(gemma_options_of_the_file_agree_with_float64),
		cmocka_unit_test(gemma_window_is_of_all_layers_but_the_last_of_a_pattern),
		cmocka_unit_test(gemma_token_by_token_is_the_whole_prompt),
		cmocka_unit_test(gemma_another_text_begins_anew),
		cmocka_unit_test(gemma_says_the_same_in_a_quarter_of_the_memory),
		cmocka_unit_test(gemma_runs_in_the_bytes_it_says_it_needs),
		cmocka_unit_test(gemma_long_text_agrees_with_float64),
		cmocka_unit_test(gemma_sizes_that_cannot_be_are_refused),
		cmocka_unit_test(gemma_heads_of_no_whole_blocks_have_no_cache_in_int8),
		cmocka_unit_test(gemma_text_longer_than_its_room_is_refused),
		cmocka_unit_test(gemma_names_what_it_does_not_know),
		cmocka_unit_test(gemma_names_what_is_missing_or_does_not_fit),
	};

	return cmocka_run_group_tests_name("gemma", tests, NULL, NULL);
}

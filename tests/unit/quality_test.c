// SPDX-License-Identifier: MIT
/*
 * vbrun quality: its arithmetic on logits that are made up, and whole runs on generated decoders
 * against float64, prefix by prefix.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/gemma_ref.h"
#include "vbrun/agreement.h"
#include "vbrun/gen_gemma.h"
#include "vbrun/quality.h"

#define LN2 0.69314718055994530942
#define WORDS 500u
/* Two stretches and a half of a context that is longer than the window and what is held together. */
#define CONTEXT 40u
#define TOKENS 100u

static const struct vbrun_gen_gemma_params plain = {
	.seed = 7, .layers = 3, .hidden = 64, .heads = 4, .kv_heads = 2, .dim = 32, .ffn = 96,
	.window = 8, .pattern = 3, .plain = true,
};
static const struct vbrun_gen_gemma_params mixed = {
	.seed = 8, .layers = 4, .hidden = 96, .heads = 4, .kv_heads = 1, .dim = 64, .ffn = 256,
	.window = 8, .pattern = 2,
};

static void assert_near(double got, double want, double relative)
{
	if (!(fabs(got - want) <= relative * fabs(want)))
		fail_msg("%.17g, must be %.17g", got, want);
}

/* --- arithmetic --------------------------------------------------------- */

static void add(struct agreement *a, const float *other, const float *logits, uint32_t count,
		int32_t next)
{
	double p[WORDS];
	struct agreement_row row;

	agreement_row(other, count, next, p, &row);
	agreement_add(a, &row, logits);
}

/* Probabilities 1/2, 1/4, 1/4 beside 1/4, 1/2, 1/4; what is added to all logits is nothing. */
static void agreement_is_as_by_hand(void **state)
{
	const float l = (float)LN2, other[] = { 7, 7 - l, 7 - l }, ours[] = { -3 - l, -3, -3 - l };
	struct agreement_figures f;
	struct agreement a;

	(void)state;
	assert_int_equal(agreement_open(&a, 2), 0);
	add(&a, other, ours, 3, 0);	/* surprise ln 4, other's ln 2 */
	add(&a, other, ours, 3, 1);	/* ln 2, other's ln 4 */
	f = agreement_figures(&a);
	assert_near(f.perplexity, sqrt(8), 1e-6);
	/* ln 2 and 2 ln 2: the error of their mean is half of ln 2. */
	assert_near(f.perplexity_error, sqrt(8) * LN2 / 2, 1e-6);
	assert_true(fabs(f.ratio - 1) < 1e-6);
	assert_near(f.ratio_error, LN2, 1e-6);
	assert_near(f.kl, LN2 / 4, 1e-6);
	assert_near(f.kl_p99, LN2 / 4, 1e-6);
	assert_true(f.same_top == 0);
	assert_near(f.nmse, ((10 + l) * (10 + l) + (10 - l) * (10 - l) + 100) /
			    (49 + 2 * (7 - l) * (7 - l)), 1e-6);
	agreement_close(&a);
}

static float draw(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (float)(int32_t)(*seed >> 32) * 0x1p-28f;	/* -8 .. 8 */
}

/* As the definitions have it, without care for size. */
static void agreement_of_many_agrees_with_float80(void **state)
{
	long double surprise = 0, kl = 0, sum[2];
	float logits[2][WORDS];
	struct agreement_figures f;
	struct agreement a;
	uint64_t seed = 1;
	uint32_t same = 0;

	(void)state;
	assert_int_equal(agreement_open(&a, 40), 0);
	for (uint32_t t = 0; t < 40; t++) {
		uint32_t top[2] = { 0, 0 };

		sum[0] = sum[1] = 0;
		for (uint32_t i = 0; i < WORDS; i++) {
			logits[0][i] = draw(&seed);
			logits[1][i] = logits[0][i] + draw(&seed) / 64;
			for (uint32_t j = 0; j < 2; j++) {
				sum[j] += expl(logits[j][i]);
				top[j] = logits[j][i] > logits[j][top[j]] ? i : top[j];
			}
		}
		for (uint32_t i = 0; i < WORDS; i++)
			kl += expl(logits[0][i]) / sum[0] *
			      logl(expl(logits[0][i]) / sum[0] / (expl(logits[1][i]) / sum[1]));
		surprise -= logl(expl(logits[1][t * 11]) / sum[1]);
		same += top[0] == top[1];
		add(&a, logits[0], logits[1], WORDS, (int32_t)t * 11);
	}
	f = agreement_figures(&a);
	assert_near(f.perplexity, (double)expl(surprise / 40), 1e-12);
	assert_near(f.kl, (double)(kl / 40), 1e-10);
	assert_true(same > 0 && same < 40 && f.same_top == same / 40.0);
	agreement_close(&a);
}

static void agreement_of_the_same_is_exact(void **state)
{
	struct agreement_figures f;
	struct agreement a;
	float logits[WORDS];
	uint64_t seed = 3;

	(void)state;
	assert_int_equal(agreement_open(&a, 20), 0);
	for (uint32_t t = 0; t < 20; t++) {
		for (uint32_t i = 0; i < WORDS; i++)
			logits[i] = 3 * draw(&seed);
		add(&a, logits, logits, WORDS, (int32_t)t);
	}
	f = agreement_figures(&a);
	assert_true(f.kl == 0 && f.kl_p99 == 0 && f.same_top == 1 && f.nmse == 0);
	assert_true(f.ratio == 1 && f.ratio_error == 0);
	agreement_close(&a);
}

/* Of 200 tokens two have more than it; they come in no order. */
static void agreement_p99_is_the_198th_of_200(void **state)
{
	const float other[] = { 0, 0 };
	struct agreement_figures f;
	struct agreement a;
	double wanted = 0;

	(void)state;
	assert_int_equal(agreement_open(&a, 200), 0);
	for (uint32_t t = 0; t < 200; t++) {
		float x = (float)(t * 67 % 200) / 100, ours[] = { x, -x };

		add(&a, other, ours, 2, 0);
		if (t * 67 % 200 == 197)
			wanted = log(cosh(x));
	}
	f = agreement_figures(&a);
	assert_near(f.kl_p99, wanted, 1e-12);
	agreement_close(&a);
}

static void agreement_takes_logits_of_any_size(void **state)
{
	const float other[] = { 1e4f, -1e4f, 1e4f }, ours[] = { -1e4f, 1e4f, -1e4f };
	struct agreement_figures f;
	struct agreement a;

	(void)state;
	assert_int_equal(agreement_open(&a, 1), 0);
	add(&a, other, ours, 3, 1);
	f = agreement_figures(&a);
	assert_true(f.perplexity == 1 && f.perplexity_error == 0);
	assert_near(f.kl, 2e4 - LN2, 1e-12);
	agreement_close(&a);
}

/* --- whole runs --------------------------------------------------------- */

struct fixture {
	char model[64], text[64];
	struct quality q;
};

static void make_file(char path[64])
{
	int fd;

	strcpy(path, "/var/tmp/vb-quality-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
}

static void begin(struct fixture *f, const struct vbrun_gen_gemma_params *params)
{
	struct vbrun_gen_gemma_params p = *params;
	struct vgpu_error err;
	FILE *text;

	make_file(f->model);
	make_file(f->text);
	p.path = f->model;
	if (vbrun_gen_gemma(&p, NULL, NULL, &err))
		fail_msg("%s", err.text);
	text = fopen(f->text, "w");
	assert_non_null(text);
	for (uint32_t i = 0; i < TOKENS; i++)
		fprintf(text, "%c%u ", 'a' + i * 7 % 26, i * i % 91);
	fclose(text);
	f->q = (struct quality){ .o = { .path = f->model, .text = f->text, .tokens = TOKENS,
					.context = CONTEXT } };
	f->q.o.device.threads = 2;
	assert_int_equal(quality_open(&f->q), 0);
}

static void end(struct fixture *f)
{
	quality_close(&f->q);
	unlink(f->model);
	unlink(f->text);
}

static const struct agreement_figures *figures_of(const struct fixture *f, enum quality_weights weights,
						  enum vgpu_mode mode)
{
	for (uint32_t i = 0; i < f->q.variants; i++)
		if (f->q.variant[i].weights == weights && f->q.variant[i].mode == mode)
			return &f->q.variant[i].figures;
	return NULL;
}

/* Perplexity of a variant in float64: the whole prefix anew for every token. */
static double exact_perplexity(const struct quality *q, uint32_t variant)
{
	const struct gemma_model *m = &q->variant[variant].model;
	struct vgpu_config config = { .size = sizeof(config), .host_bytes = 64 << 20, .threads = 2 };
	struct gemma_size size = { CONTEXT, CONTEXT, 1, 1, 0 };
	double *logits = calloc(m->embedding->n, sizeof(*logits)), surprise = 0, sum;
	int32_t prefix[CONTEXT];
	struct gemma_ref *ref;
	struct gemma g;
	struct vgpu *v;

	assert_non_null(logits);
	assert_int_equal(vgpu_open_embedded(&config, &v), 0);
	assert_int_equal(gemma_load(&g, m, v, VGPU_MODE_F32, &size), 0);
	ref = gemma_ref_create(&g);
	for (uint32_t t = 0; t < TOKENS; t++) {
		uint32_t at = t % CONTEXT;

		prefix[at] = at ? q->ids[t - 1] : 2;
		gemma_ref_logits(ref, prefix, at + 1, logits);
		sum = 0;
		for (uint32_t i = 0; i < m->embedding->n; i++)
			sum += exp(logits[i]);
		surprise += log(sum) - logits[q->ids[t]];
	}
	gemma_ref_destroy(ref);
	gemma_unload(&g);
	vgpu_close(v);
	free(logits);
	return exp(surprise / TOKENS);
}

/* Floats stay as they are, and no mode changes a product with them. */
static void quality_of_floats_is_exact_until_they_are_packed(void **state)
{
	const enum vgpu_mode modes[] = { VGPU_MODE_F32, VGPU_MODE_A16, VGPU_MODE_A8 };
	struct fixture f;

	(void)state;
	begin(&f, &plain);
	assert_int_equal(f.q.variants, 8);
	assert_int_equal(quality_run(&f.q), 0);
	assert_near(figures_of(&f, QUALITY_F32, VGPU_MODE_F32)->perplexity, exact_perplexity(&f.q, 0),
		    1e-5);
	for (uint32_t i = 0; i < 3; i++) {
		const struct agreement_figures *a = figures_of(&f, QUALITY_FILE, modes[i]);

		assert_true(a->kl == 0 && a->kl_p99 == 0 && a->same_top == 1 && a->nmse == 0);
		assert_true(a->ratio == 1);
	}
	assert_true(figures_of(&f, QUALITY_INT8, VGPU_MODE_A16)->kl > 0);
	assert_true(figures_of(&f, QUALITY_MXFP4, VGPU_MODE_A16)->kl >
		    10 * figures_of(&f, QUALITY_INT8, VGPU_MODE_A16)->kl);
	end(&f);
}

static void quality_of_packed_grows_worse_with_each_rounding(void **state)
{
	const struct agreement_figures *a;
	struct fixture f;

	(void)state;
	begin(&f, &mixed);
	/* INT8 rounds K-quants, which the file's blocks packed as they are do not. */
	assert_int_equal(f.q.variants, 8);
	assert_int_equal(quality_run(&f.q), 0);
	a = figures_of(&f, QUALITY_F32, VGPU_MODE_F32);
	assert_true(a->kl == 0 && a->kl_p99 == 0 && a->same_top == 1 && a->nmse == 0 && a->ratio == 1);
	assert_near(a->perplexity, exact_perplexity(&f.q, 0), 1e-5);
	a = figures_of(&f, QUALITY_FILE, VGPU_MODE_F32);
	assert_near(a->perplexity, exact_perplexity(&f.q, 1), 1e-5);
	assert_true(a->nmse < 1e-11);
	assert_true(figures_of(&f, QUALITY_FILE, VGPU_MODE_A16)->nmse > a->nmse);
	assert_true(figures_of(&f, QUALITY_FILE, VGPU_MODE_A8)->nmse >
		    figures_of(&f, QUALITY_FILE, VGPU_MODE_A16)->nmse);
	a = figures_of(&f, QUALITY_INT8, VGPU_MODE_A16);
	assert_true(a->nmse > figures_of(&f, QUALITY_FILE, VGPU_MODE_A16)->nmse);
	assert_true(figures_of(&f, QUALITY_MXFP4, VGPU_MODE_A16)->kl > a->kl);
	end(&f);
}

static void check_decoded(struct vgpu_bo *bo, int fd, const struct weight *w)
{
	size_t values = (size_t)w->n * w->k;
	float *got = calloc(values, sizeof(*got)), *want = calloc(values, sizeof(*want));
	void *source = malloc(w->bytes);

	assert_true(got && want && source && bo);
	assert_int_equal(pread(fd, source, w->bytes, (off_t)w->offset), w->bytes);
	assert_int_equal(vgpu_matrix_decode(w->format, w->n, w->k, source, want), 0);
	assert_int_equal(vgpu_bo_read(bo, 0, got, values * sizeof(*got)), 0);
	assert_memory_equal(got, want, values * sizeof(*got));
	free(got);
	free(want);
	free(source);
}

/* Matrices of several pieces, of each type that such a file has. */
static void quality_decodes_what_the_file_holds(void **state)
{
	struct vgpu_config config = { .size = sizeof(config), .host_bytes = 64 << 20, .threads = 2 };
	struct vbrun_gen_gemma_params p = mixed;
	const struct gemma_model *m;
	struct operands ops;
	struct fixture f;
	struct vgpu *v;

	(void)state;
	p.layers = 1;
	p.hidden = 512;
	p.ffn = 4096;
	begin(&f, &p);
	m = &f.q.variant[0].model;
	assert_true(m->layer[0].matrix[GEMMA_UP]->bytes > 1 << 20);
	assert_int_equal(vgpu_open_embedded(&config, &v), 0);
	assert_int_equal(operands_open(&ops, v, m->ck, &m->weights), 0);
	for (size_t i = 0; i < m->weights.count; i++)
		check_decoded(ops.packed[i], vgpu_checkpoint_file_fd(m->ck, m->weights.list[i].file),
			      &m->weights.list[i]);
	operands_close(&ops);
	vgpu_close(v);
	end(&f);
}

static void quality_rows_are_those_asked_for(void **state)
{
	struct vgpu_config config = { .size = sizeof(config), .host_bytes = 64 << 20, .threads = 2 };
	struct gemma_size size = { CONTEXT, 8, 1, 4, 0 };
	struct fixture f;
	struct vgpu *v;
	struct gemma g;
	size_t words;
	float *out;

	(void)state;
	begin(&f, &plain);
	words = f.q.variant[0].model.embedding->n;
	assert_int_equal(vgpu_open_embedded(&config, &v), 0);
	assert_int_equal(gemma_load(&g, &f.q.variant[0].model, v, VGPU_MODE_F32, &size), 0);
	out = calloc(8 * words, sizeof(*out));
	assert_non_null(out);
	assert_int_equal(gemma_row_logits(&g, 0, 1, out), -EINVAL);
	assert_int_equal(gemma_feed(&g, f.q.ids, 6), 0);
	assert_int_equal(gemma_row_logits(&g, 0, 0, out), -EINVAL);
	assert_int_equal(gemma_row_logits(&g, 0, 5, out), -EINVAL);
	assert_int_equal(gemma_row_logits(&g, 4, 3, out), -EINVAL);
	assert_int_equal(gemma_row_logits(&g, 7, 1, out), -EINVAL);
	/* Tokens 2 and 3 are the last of the first four and the first of the last four. */
	assert_int_equal(gemma_row_logits(&g, 0, 4, out), 0);
	assert_int_equal(gemma_row_logits(&g, 2, 4, out + 4 * words), 0);
	assert_memory_equal(out + 2 * words, out + 4 * words, 2 * words * sizeof(*out));
	assert_memory_not_equal(out, out + 4 * words, 2 * words * sizeof(*out));
	free(out);
	gemma_unload(&g);
	vgpu_close(v);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agreement_is_as_by_hand),
		cmocka_unit_test(agreement_of_many_agrees_with_float80),
		cmocka_unit_test(agreement_of_the_same_is_exact),
		cmocka_unit_test(agreement_p99_is_the_198th_of_200),
		cmocka_unit_test(agreement_takes_logits_of_any_size),
		cmocka_unit_test(quality_of_floats_is_exact_until_they_are_packed),
		cmocka_unit_test(quality_of_packed_grows_worse_with_each_rounding),
		cmocka_unit_test(quality_decodes_what_the_file_holds),
		cmocka_unit_test(quality_rows_are_those_asked_for),
	};

	return cmocka_run_group_tests_name("quality", tests, NULL, NULL);
}

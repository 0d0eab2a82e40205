// SPDX-License-Identifier: MIT
/*
 * vbrun embed --accuracy: what packing the weights costs in meaning, and where MXFP4
 * does: layer by layer, and which layers in INT8 bring the model back to a goal.
 *
 * Everything here runs with all weights in memory: the tier's size does not change a
 * bit of the result (the command itself checks that).
 */
#include "embed.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accuracy.h"
#include "bert_ref.h"
#include "common/size.h"
#include "common/summary.h"
#include "restore.h"
#include "sentences.h"

/* Texts that float64 embeds: a second or two of one thread. */
#define REF_TEXTS 24u
/**
 * struct study - the sentences and their F32 embeddings
 * @o: options
 * @model: on disk
 * @texts: the built-in sentences
 * @f32: f32 [count][hidden]
 * @json: where figures go
 */
struct study {
	const struct embed_options *o;
	const struct bert_model *model;
	struct embed_texts texts;
	float *f32;
	struct json_object *json;
};

/* Embed the sentences with @r's formats; keeps the device when @v and @b are given. */
static int study_run(struct study *s, struct embed_run *r, struct vgpu **v, struct bert *b)
{
	int rc;

	r->host_bytes = EMBED_IN_MEMORY;
	rc = embed_measure(s->o, s->model, &s->texts, r, 0, v, b);
	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	if (rc || *r->refused)
		return cli_fail("accuracy: %s", *r->refused ? r->refused : strerror(-rc));
	return CLI_OK;
}

static int study_score(struct study *s, struct embed_run *r, struct accuracy *out)
{
	int rc = study_run(s, r, NULL, NULL);

	if (!rc && accuracy_measure(r->out, s->f32, s->texts.count, s->model->hidden, out))
		rc = cli_fail("out of memory");
	free(r->out);
	r->out = NULL;
	return rc;
}

static void report(struct study *s, const char *key, const char *label, const struct accuracy *a,
		   uint64_t weight_bytes)
{
	struct json_object *o = summary_object(s->json, key);

	summary_text(o, "label", label);
	summary_real(o, "nmse", a->nmse);
	summary_real(o, "max_abs", a->max_abs);
	summary_real(o, "spearman", a->spearman);
	summary_bytes(o, "weight_bytes", weight_bytes);
	if (s->o->json)
		return;
	printf("  %-38s NMSE %9.3g   max-abs %9.3g", label, a->nmse, a->max_abs);
	if (!isnan(a->spearman))
		printf("   Spearman %.6f", a->spearman);
	printf("   %s\n", size_text(weight_bytes).s);
}

/* --- float64 with the same weights -------------------------------------- */

static int ref_all(struct study *s, struct bert *b, double *out, uint32_t count)
{
	/* Each text goes through all matrices, in float64. */
	uint64_t bytes = 2 * s->model->layers * bert_layer_bytes(s->model, VGPU_FORMAT_F32);
	struct progress progress;
	struct bert_ref *ref;
	int rc = bert_ref_create(b, &ref);

	if (rc)
		return rc;
	progress_begin(&progress, "float64 reference", count * bytes);
	for (uint32_t i = 0; i < count && !rc; i++) {
		rc = bert_ref_embed(ref, &s->texts.token[i], &out[(size_t)i * s->model->hidden]);
		if (progress_interrupted())
			rc = -EINTR;
		progress_update(&progress, (i + 1) * bytes);
	}
	progress_end(&progress);
	bert_ref_destroy(ref);
	return rc;
}

static int against_f64(struct study *s, struct embed_run *r, struct bert *b, const char *key)
{
	uint32_t count = s->texts.count < REF_TEXTS ? s->texts.count : REF_TEXTS;
	uint64_t n = (uint64_t)count * s->model->hidden;
	double *exact = malloc(n * sizeof(*exact));
	struct accuracy a;
	char label[96];
	int rc = exact ? ref_all(s, b, exact, count) : -ENOMEM;

	if (!rc) {
		a = accuracy_against_f64(r->out, exact, n);
		snprintf(label, sizeof(label), "%s against float64", r->label);
		report(s, key, label, &a, r->weight_bytes);
	}
	free(exact);
	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	return rc ? cli_fail_vgpu(rc, "float64 reference") : CLI_OK;
}

static int study_f64(struct study *s, struct embed_run *r, const char *key)
{
	struct vgpu *v;
	struct bert b;
	int rc = study_run(s, r, &v, &b);

	if (rc)
		return rc;
	rc = against_f64(s, r, &b, key);
	bert_unload(&b);
	vgpu_close(v);
	return rc;
}

/* --- layer by layer ----------------------------------------------------- */

static int measure_layers(struct study *s, const struct embed_run *asked, double *loss)
{
	struct accuracy a;
	char key[32], label[64];
	int rc = 0;

	for (uint32_t i = 0; i < s->model->layers && !rc; i++) {
		struct embed_run r = { .mode = asked->mode };

		embed_run_formats(&r, VGPU_FORMAT_F32);
		r.formats[i] = asked->formats[i];
		rc = study_score(s, &r, &a);
		if (rc)
			break;
		loss[i] = 1 - a.spearman;
		snprintf(key, sizeof(key), "only_layer_%u", i);
		snprintf(label, sizeof(label), "only layer %u %s: loses %.6f", i,
			 vgpu_format_name(r.formats[i]), loss[i]);
		report(s, key, label, &a, embed_run_bytes(s->model, &r));
	}
	return rc;
}

/**
 * struct trial - a model with some layers in INT8
 * @s: the study
 * @asked: formats as asked for
 * @bytes: of the weights in the last trial
 */
struct trial {
	struct study *s;
	const struct embed_run *asked;
	uint64_t bytes;
};

/* MXFP4 layers can get better by INT8; F32 ones would not, INT8 ones have it. */
static bool is_kept(const struct embed_run *asked, uint32_t layer)
{
	return asked->formats[layer] != VGPU_FORMAT_MXFP4_G16;
}

static bool any_mxfp4(const struct bert_model *model, const struct embed_run *asked)
{
	for (uint32_t i = 0; i < model->layers; i++)
		if (!is_kept(asked, i))
			return true;
	return false;
}

/* "0 2 5": the MXFP4 layers that are in INT8 now. */
static uint32_t list_restored(const struct trial *t, const bool *kept, char *text, size_t len)
{
	uint32_t count = 0;
	size_t used = 0;

	*text = 0;
	for (uint32_t i = 0; i < t->s->model->layers; i++) {
		if (!kept[i] || is_kept(t->asked, i))
			continue;
		count++;
		if (used < len)
			used += (size_t)snprintf(text + used, len - used, " %u", i);
	}
	return count;
}

static int try_layers(void *arg, const bool *kept, double *score)
{
	struct trial *t = arg;
	struct embed_run r = { .mode = t->asked->mode };
	char key[32], label[96], list[64];
	struct accuracy a;
	uint32_t count;
	int rc;

	memcpy(r.formats, t->asked->formats, sizeof(r.formats));
	for (uint32_t i = 0; i < t->s->model->layers; i++)
		if (kept[i] && !is_kept(t->asked, i))
			r.formats[i] = VGPU_FORMAT_INT8_G16;
	t->bytes = embed_run_bytes(t->s->model, &r);
	rc = study_score(t->s, &r, &a);
	if (rc)
		return rc;
	*score = a.spearman;
	count = list_restored(t, kept, list, sizeof(list));
	snprintf(label, sizeof(label), "int8 layers%s", list);
	snprintf(key, sizeof(key), "int8_layers_%u", count);
	report(t->s, key, label, &a, t->bytes);
	return 0;
}

static void report_restored(const struct trial *t, const bool *kept, double spearman)
{
	struct json_object *o = summary_object(t->s->json, "restored");
	struct json_object *layers = summary_list(o, "int8_layers");
	double goal = t->s->o->goal;
	char list[64];
	uint32_t count = list_restored(t, kept, list, sizeof(list));

	summary_real(o, "goal", goal);
	summary_flag(o, "enough", spearman >= goal);
	summary_real(o, "spearman", spearman);
	summary_bytes(o, "weight_bytes", t->bytes);
	for (uint32_t i = 0; layers && i < t->s->model->layers; i++)
		if (kept[i] && !is_kept(t->asked, i))
			json_object_array_add(layers, json_object_new_int((int)i));
	if (t->s->o->json)
		return;
	if (spearman >= goal && !count)
		printf("  Spearman %.6f is not below %g: no layer needs INT8\n", spearman, goal);
	else if (spearman >= goal)
		printf("  INT8 in layer%s%s restores Spearman %.6f, at least %g, at %s\n",
		       count > 1 ? "s" : "", list, spearman, goal, size_text(t->bytes).s);
	else
		printf("  INT8 in every layer gives Spearman %.6f at %s: below %g\n", spearman,
		       size_text(t->bytes).s, goal);
}

/* What each layer costs, and what it takes to reach the goal. */
static int study_layers(struct study *s, const struct embed_run *asked, double spearman)
{
	struct trial t = { .s = s, .asked = asked, .bytes = embed_run_bytes(s->model, asked) };
	double loss[BERT_LAYERS_MAX];
	bool kept[BERT_LAYERS_MAX];
	int rc = measure_layers(s, asked, loss);

	for (uint32_t i = 0; i < s->model->layers; i++)
		kept[i] = is_kept(asked, i);
	if (!rc)
		rc = restore_search(s->model->layers, loss, s->o->goal, try_layers, &t, kept,
				    &spearman);
	if (!rc)
		report_restored(&t, kept, spearman);
	return rc;
}

/* --- the whole ---------------------------------------------------------- */

static int study_all(struct study *s, const struct embed_run *asked)
{
	struct embed_run f32 = { .label = "f32" }, ours = { .mode = asked->mode };
	struct accuracy a;
	char label[64];
	int rc;

	embed_run_formats(&f32, VGPU_FORMAT_F32);
	rc = study_f64(s, &f32, "f32_against_f64");
	s->f32 = f32.out;
	if (rc)
		return rc;
	snprintf(ours.label, sizeof(ours.label), "%s", asked->label);
	memcpy(ours.formats, asked->formats, sizeof(ours.formats));
	rc = study_f64(s, &ours, "against_f64");
	if (!rc && accuracy_measure(ours.out, s->f32, s->texts.count, s->model->hidden, &a))
		rc = cli_fail("out of memory");
	free(ours.out);
	if (rc)
		return rc;
	snprintf(label, sizeof(label), "against f32, pairs of %u sentences", s->texts.count);
	report(s, "against_f32", label, &a, ours.weight_bytes);
	return any_mxfp4(s->model, asked) ? study_layers(s, asked, a.spearman) : CLI_OK;
}

int embed_accuracy(const struct embed_options *o, const struct bert_model *model,
		   const struct embed_run *asked, struct json_object *json)
{
	struct study s = { .o = o, .model = model, .json = summary_object(json, "accuracy") };
	int rc;

	if (!o->json)
		printf("\naccuracy of %s; float64 has the same weights\n", asked->label);
	rc = embed_texts_take(model, vbrun_sentences, o->sentences, &s.texts);
	rc = rc ? cli_fail("sentences: %s", strerror(-rc)) : study_all(&s, asked);
	embed_texts_free(&s.texts);
	free(s.f32);
	return rc;
}

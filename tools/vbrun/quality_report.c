// SPDX-License-Identifier: MIT
#include "quality.h"

#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "common/summary.h"

const char *quality_weights_name(enum quality_weights weights)
{
	static const char *const names[] = { "f32", "file", "int8", "mxfp4" };

	return names[weights];
}

const char *quality_mode_name(enum vgpu_mode mode)
{
	return mode == VGPU_MODE_F32 ? "f32" : mode == VGPU_MODE_A16 ? "a16" : "a8";
}

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void print_head(const struct quality *q)
{
	printf("model    %s (%s)\n", q->variant[0].model.name, base(q->o.path));
	printf("text     %s: %u tokens foretold, in stretches of %u that begin anew\n",
	       base(q->o.text), q->o.tokens, q->o.context);
	printf("time     %.0f s for all variants together\n\n", q->seconds);
	printf("%-12s %9s %8s %11s %10s %10s %10s %8s %9s\n", "variant", "perplex.", "+-", "to f32",
	       "+-", "KL, nats", "KL p99", "top-1", "NMSE");
}

static void print_row(const struct quality_variant *a)
{
	const struct agreement_figures *f = &a->figures;
	char name[32];

	snprintf(name, sizeof(name), "%s %s", quality_weights_name(a->weights),
		 quality_mode_name(a->mode));
	printf("%-12s %9.4f %8.4f %10.4f%% %9.4f%% %10.2e %10.2e %7.2f%% %9.1e\n", name, f->perplexity,
	       f->perplexity_error, 100 * (f->ratio - 1), 100 * f->ratio_error, f->kl, f->kl_p99,
	       100 * f->same_top, f->nmse);
}

static void add_figures(struct json_object *o, const struct agreement_figures *f)
{
	summary_real(o, "perplexity_error", f->perplexity_error);
	summary_real(o, "excess", f->ratio - 1);
	summary_real(o, "excess_error", f->ratio_error);
	summary_real(o, "kl", f->kl);
	summary_real(o, "kl_p99", f->kl_p99);
	summary_real(o, "top1", f->same_top);
	summary_real(o, "nmse", f->nmse);
}

/* Flat; less of the unit is better, so the ratio is above 1 where this is the better one. */
static void print_line(const struct quality *q, const struct quality_variant *a)
{
	const struct agreement_figures *f = &a->figures, *file = &q->variant[0].figures;
	struct json_object *line = json_object_new_object();

	summary_text(line, "bench", "quality");
	summary_text(line, "weight", quality_weights_name(a->weights));
	summary_text(line, "mode", quality_mode_name(a->mode));
	summary_text(line, "model", q->variant[0].model.name);
	summary_text(line, "text", base(q->o.text));
	summary_bytes(line, "context", q->o.context);
	summary_text(line, "unit", "perplexity");
	summary_real(line, "ours", f->perplexity);
	summary_text(line, "peer", "the file's values in f32");
	summary_real(line, "theirs", file->perplexity);
	summary_real(line, "ratio", file->perplexity / f->perplexity);
	add_figures(line, f);
	summary_bytes(line, "runs", q->o.tokens);
	summary_print_line(line);
}

static void print_json(const struct quality *q, struct json_object *o)
{
	struct json_object *list, *item;

	summary_text(o, "model", q->variant[0].model.name);
	summary_text(o, "file", base(q->o.path));
	summary_text(o, "text", base(q->o.text));
	summary_bytes(o, "tokens", q->o.tokens);
	summary_bytes(o, "context", q->o.context);
	summary_bytes(o, "ns", (uint64_t)(1e9 * q->seconds));
	list = summary_list(o, "variants");
	for (uint32_t i = 0; i < q->variants; i++) {
		item = summary_item(list);
		summary_text(item, "weights", quality_weights_name(q->variant[i].weights));
		summary_text(item, "mode", quality_mode_name(q->variant[i].mode));
		summary_real(item, "perplexity", q->variant[i].figures.perplexity);
		add_figures(item, &q->variant[i].figures);
	}
	summary_print(o);
}

int quality_report(const struct quality *q)
{
	struct json_object *json = q->o.json ? summary_new("quality") : NULL;

	if (q->o.json && !json)
		return cli_fail("out of memory");
	if (json) {
		print_json(q, json);
		return CLI_OK;
	}
	if (!q->o.bench)
		print_head(q);
	for (uint32_t i = 0; i < q->variants; i++) {
		if (q->o.bench)
			print_line(q, &q->variant[i]);
		else
			print_row(&q->variant[i]);
	}
	return CLI_OK;
}

// SPDX-License-Identifier: MIT
/* vbrun embed: what it prints, saves and gives as JSON. */
#include "embed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accuracy.h"
#include "common/size.h"
#include "common/summary.h"
#include "common/text.h"
#include "placement.h"

/* Texts shown in the matrix. */
#define MATRIX_TEXTS 12u

static bool made(const struct embed_run *r)
{
	return r->out && !*r->refused;
}

/* F32 with all weights in memory is what embeddings are compared with. */
static const struct embed_run *baseline(const struct embed *e)
{
	bool f32 = e->b.formats[0] == VGPU_FORMAT_F32 && !e->o.layers_int8;

	return &e->runs[f32 ? EMBED_RUN_MEMORY : EMBED_RUN_F32_MEMORY];
}

/* Are the embeddings of two runs the same, bit by bit? */
static bool same_bits(const struct embed *e, uint32_t a, uint32_t b)
{
	return !memcmp(e->runs[a].out, e->runs[b].out,
		       (size_t)e->texts.count * e->model.hidden * sizeof(float));
}

/* --- similarity --------------------------------------------------------- */

static double cosine(const struct embed *e, uint32_t i, uint32_t j)
{
	const float *out = e->runs[EMBED_RUN_ASKED].out;

	return accuracy_cosine(&out[(size_t)i * e->model.hidden], &out[(size_t)j * e->model.hidden],
			       e->model.hidden);
}

static uint32_t neighbour(const struct embed *e, uint32_t i)
{
	uint32_t best = i ? 0 : 1;

	for (uint32_t j = 0; j < e->texts.count; j++)
		if (j != i && cosine(e, i, j) > cosine(e, i, best))
			best = j;
	return best;
}

static void print_similarity(const struct embed *e)
{
	uint32_t n = e->texts.count < MATRIX_TEXTS ? e->texts.count : MATRIX_TEXTS;

	printf("\nsimilarity%*s", 26, "");
	for (uint32_t j = 0; j < n; j++)
		printf(" %6u", j + 1);
	printf("\n");
	for (uint32_t i = 0; i < n; i++) {
		printf("%3u ", i + 1);
		text_print(stdout, e->texts.text[i], 32, true);
		for (uint32_t j = 0; j < n; j++)
			printf(" %6.3f", cosine(e, i, j));
		printf("\n");
	}
	if (e->texts.count < 2)
		return;
	printf("\nnearest neighbours\n");
	for (uint32_t i = 0; i < e->texts.count; i++) {
		uint32_t j = neighbour(e, i);

		printf("%3u -> %-3u %.3f  ", i + 1, j + 1, cosine(e, i, j));
		text_print(stdout, e->texts.text[j], 60, false);
		putchar('\n');
	}
}

/* --- the table ---------------------------------------------------------- */

static double per_pass(const struct embed_run *r, enum vgpu_counter which)
{
	return r->passes ? (double)r->c.c[which] / r->passes : 0;
}

static void print_row(const struct embed *e, const char *name,
		      void (*cell)(const struct embed *e, const struct embed_run *r))
{
	printf("%-20s", name);
	for (uint32_t i = 0; i < EMBED_RUNS; i++) {
		if (made(&e->runs[i]))
			cell(e, &e->runs[i]);
		else if (*e->runs[i].refused)
			printf(" %17s", "refused");
	}
	printf("\n");
}

static void cell_label(const struct embed *e, const struct embed_run *r)
{
	(void)e;
	printf(" %17s", r->label);
}

static void cell_tier(const struct embed *e, const struct embed_run *r)
{
	(void)e;
	printf(" %17s", size_text(r->host_bytes).s);
}

static void cell_peak(const struct embed *e, const struct embed_run *r)
{
	(void)e;
	printf(" %17s", size_text(r->peak_bytes).s);
}

static void cell_weights(const struct embed *e, const struct embed_run *r)
{
	(void)e;
	printf(" %17s", size_text(r->weight_bytes).s);
}

static void cell_source(const struct embed *e, const struct embed_run *r)
{
	(void)e;
	printf(" %17s", r->formats[0] == VGPU_FORMAT_F32 ? "checkpoint" :
	       *r->packed_path ? "packed file" : "derived");
}

static void cell_time(const struct embed *e, const struct embed_run *r)
{
	printf(" %17.3f", r->steady * 1e3 / e->texts.count);
}

static void cell_read(const struct embed *e, const struct embed_run *r)
{
	printf(" %17s", size_text((uint64_t)(per_pass(r, VGPU_COUNT_READ_BYTES) /
					     e->texts.count)).s);
}

/* All layers of a batch are one command buffer. */
static void cell_submits(const struct embed *e, const struct embed_run *r)
{
	printf(" %17.3f", per_pass(r, VGPU_COUNT_SUBMITS) / e->texts.count);
}

static void cell_uses(const struct embed *e, const struct embed_run *r)
{
	printf(" %17.1f", per_pass(r, VGPU_COUNT_ACCESSES) / e->texts.count);
}

static void cell_hits(const struct embed *e, const struct embed_run *r)
{
	double uses = (double)r->c.c[VGPU_COUNT_ACCESSES];

	(void)e;
	printf(" %16.1f%%", uses > 0 ? 100 * (double)r->c.c[VGPU_COUNT_HITS] / uses : 100);
}

static void cell_stall(const struct embed *e, const struct embed_run *r)
{
	(void)e;
	printf(" %16.1f%%", 100 * counters_stall(&r->c));
}

static void cell_accuracy(const struct embed *e, const struct embed_run *r)
{
	const struct embed_run *base = baseline(e);
	struct accuracy a;

	if (accuracy_measure(r->out, base->out, e->texts.count, e->model.hidden, &a))
		return;
	printf(" %17.3g", a.nmse);
}

/* How many tokens a text really has; 0: all of them were taken. */
static size_t cut_from(const struct embed *e, uint32_t i)
{
	size_t all = 0;

	if (e->texts.token[i].count == WORDPIECE_MAX_IDS)
		all = wordpiece_length(e->model.words, e->texts.text[i]);
	return all > WORDPIECE_MAX_IDS ? all : 0;
}

static void print_cuts(const struct embed *e)
{
	for (uint32_t i = 0; i < e->texts.count; i++)
		if (cut_from(e, i))
			printf("text %u is cut: %zu tokens, the model takes %u\n", i + 1, cut_from(e, i),
			       WORDPIECE_MAX_IDS);
}

static void print_table(const struct embed *e)
{
	const struct embed_run *asked = &e->runs[EMBED_RUN_ASKED];
	char text[128];

	printf("\n");
	placement_print(e->v, &asked->c, stdout);
	placement_print_tiers(e->v, stdout);
	if (vgpu_describe(e->v, "staging", text, sizeof(text)) > 0)
		device_print_staging(text, 20);
	printf("\n");
	print_row(e, "", cell_label);
	print_row(e, "host tier", cell_tier);
	print_row(e, "memory (VmHWM)", cell_peak);
	print_row(e, "weight bytes", cell_weights);
	print_row(e, "weights come from", cell_source);
	print_row(e, "ms a text", cell_time);
	print_row(e, "submissions a text", cell_submits);
	print_row(e, "read a text", cell_read);
	print_row(e, "chunk uses a text", cell_uses);
	print_row(e, "hits", cell_hits);
	print_row(e, "stall", cell_stall);
	if (!e->o.no_compare && made(baseline(e)))
		print_row(e, "NMSE against f32", cell_accuracy);
	for (uint32_t i = 0; i < EMBED_RUNS; i++)
		if (*e->runs[i].refused)
			printf("%s: %s\n", e->runs[i].label, e->runs[i].refused);
	if (*asked->packed_path)
		printf("packed file: %s (loaded in %s, made when it was not there)\n",
		       asked->packed_path, size_seconds(asked->load).s);
	if (made(&e->runs[EMBED_RUN_MEMORY]))
		printf("same bits in both tier sizes: %s\n",
		       same_bits(e, EMBED_RUN_ASKED, EMBED_RUN_MEMORY) ? "yes" : "NO");
}

static void print_objects(const struct embed *e, struct json_object *json)
{
	struct residency_row *rows = calloc(BERT_ROWS_MAX, sizeof(*rows));
	char (*names)[32] = calloc(BERT_LAYERS_MAX, sizeof(*names));
	uint32_t n;

	if (rows && names) {
		n = bert_residency(&e->b, rows, names);
		if (json)
			residency_summary(rows, n, json);
		else
			residency_print(rows, n, stdout);
	}
	free(rows);
	free(names);
}

/* --- JSON --------------------------------------------------------------- */

static void summarise_texts(const struct embed *e, struct json_object *json)
{
	struct json_object *list = summary_list(json, "texts"), *item, *row;
	const float *out = e->runs[EMBED_RUN_ASKED].out;

	for (uint32_t i = 0; i < e->texts.count; i++) {
		item = summary_item(list);
		summary_text(item, "text", e->texts.text[i]);
		summary_bytes(item, "tokens", e->texts.token[i].count);
		if (cut_from(e, i))
			summary_bytes(item, "tokens_before_cut", cut_from(e, i));
		if (e->texts.count > 1) {
			summary_bytes(item, "neighbour", neighbour(e, i));
			summary_real(item, "neighbour_cosine", cosine(e, i, neighbour(e, i)));
		}
		row = summary_list(item, "cosines");
		for (uint32_t j = 0; row && j < e->texts.count; j++)
			json_object_array_add(row, json_object_new_double(cosine(e, i, j)));
		row = summary_list(item, "embedding");
		for (uint32_t j = 0; row && j < e->model.hidden; j++)
			json_object_array_add(row, json_object_new_double(
				(double)out[(size_t)i * e->model.hidden + j]));
	}
}

static void summarise_run(const struct embed *e, const struct embed_run *r,
			  struct json_object *item)
{
	struct accuracy a;

	summary_text(item, "label", r->label);
	summary_bytes(item, "host_bytes", r->host_bytes);
	if (*r->refused) {
		summary_text(item, "refused", r->refused);
		return;
	}
	summary_bytes(item, "weight_bytes", r->weight_bytes);
	summary_bytes(item, "staging_bytes", r->staging_bytes);
	summary_bytes(item, "vm_hwm_before_bytes", r->idle_bytes);
	summary_bytes(item, "vm_hwm_bytes", r->peak_bytes);
	summary_text(item, "packed_file", r->packed_path);
	summary_bytes(item, "load_ns", (uint64_t)(r->load * 1e9));
	summary_bytes(item, "cold_ns", (uint64_t)(r->cold * 1e9));
	summary_bytes(item, "pass_ns", (uint64_t)(r->steady * 1e9));
	summary_bytes(item, "passes", r->passes);
	counters_summary(item, &r->c);
	if (!e->o.no_compare && made(baseline(e)) &&
	    !accuracy_measure(r->out, baseline(e)->out, e->texts.count, e->model.hidden, &a)) {
		summary_real(item, "nmse_against_f32", a.nmse);
		summary_real(item, "max_abs_against_f32", a.max_abs);
		summary_real(item, "spearman_against_f32", a.spearman);
	}
}

static void summarise(const struct embed *e, struct json_object *json)
{
	struct json_object *list;
	char text[128];

	summary_text(json, "model", e->model.name);
	summary_text(json, "format", embed_formats[e->o.format]);
	summary_text(json, "mode", embed_modes[e->o.mode]);
	device_summary(e->v, json);
	placement_summary_tiers(e->v, json);
	if (vgpu_describe(e->v, "staging", text, sizeof(text)) > 0)
		summary_text(json, "staging", text);
	summarise_texts(e, json);
	list = summary_list(json, "runs");
	for (uint32_t i = 0; i < EMBED_RUNS; i++)
		if (e->runs[i].out)
			summarise_run(e, &e->runs[i], summary_item(list));
	if (made(&e->runs[EMBED_RUN_MEMORY]))
		summary_flag(json, "same_bits", same_bits(e, EMBED_RUN_ASKED, EMBED_RUN_MEMORY));
	print_objects(e, json);
}

static void bench_line(const struct embed *e)
{
	const struct embed_run *r = &e->runs[EMBED_RUN_ASKED], *f32 = &e->runs[EMBED_RUN_F32_TIER];
	struct json_object *line = json_object_new_object();
	double ours = r->steady * 1e3 / e->texts.count;
	double theirs = made(f32) ? f32->steady * 1e3 / e->texts.count : 0;
	double bound = made(&e->runs[EMBED_RUN_MEMORY]) ?
		       e->runs[EMBED_RUN_MEMORY].steady * 1e3 / e->texts.count : 0;

	summary_text(line, "bench", "embed");
	summary_text(line, "model", e->model.name);
	summary_text(line, "weight", embed_formats[e->o.format]);
	summary_text(line, "mode", embed_modes[e->o.mode]);
	summary_bytes(line, "threads", device_threads(e->v));
	summary_text(line, "residency", "nvme");
	summary_text(line, "policy", device_policies[e->o.device.policy]);
	summary_bytes(line, "host_bytes", r->host_bytes);
	summary_text(line, "unit", "ms a text");
	summary_real(line, "ours", ours);
	summary_text(line, "peer", "our f32, same tier");
	summary_real(line, "theirs", theirs);
	summary_real(line, "ratio", theirs / ours);
	summary_real(line, "bound", bound);
	summary_real(line, "fraction", bound / ours);
	summary_bytes(line, "runs", r->passes);
	summary_print_line(line);
}

/* Under its name only once it is complete. */
static int save_vectors(const struct embed *e)
{
	size_t n = (size_t)e->texts.count * e->model.hidden;
	struct part part;
	FILE *f;
	int rc = part_find(e->o.vectors, &part);

	if (rc)
		return rc;
	f = fopen(part.at, "we");
	if (!f)
		return -errno;
	errno = 0;
	if (fwrite(e->runs[EMBED_RUN_ASKED].out, sizeof(float), n, f) != n)
		rc = errno ? -errno : -EIO;
	if (fclose(f) && !rc)
		rc = -errno;
	if (!rc)
		return part_place(&part);
	unlink(part.at);
	return rc;
}

/* --- all of it ---------------------------------------------------------- */

static int report_all(struct embed *e, struct json_object *json)
{
	int rc = CLI_OK;

	summarise(e, json);
	if (!e->o.json) {
		device_print(e->v, stdout);
		print_cuts(e);
		print_similarity(e);
		print_table(e);
	}
	if (e->o.accuracy)
		rc = embed_accuracy(&e->o, &e->model, &e->runs[EMBED_RUN_ASKED], json);
	if (rc)
		return rc;
	if (e->o.save && (rc = summary_save(json, e->o.save)))
		return cli_fail("%s: %s", e->o.save, part_why(rc));
	if (e->o.vectors && (rc = save_vectors(e)))
		return cli_fail("%s: %s", e->o.vectors, part_why(rc));
	if (!e->o.json) {
		printf("\n");
		print_objects(e, NULL);
	}
	if (made(&e->runs[EMBED_RUN_MEMORY]) && !same_bits(e, EMBED_RUN_ASKED, EMBED_RUN_MEMORY))
		return cli_fail("embeddings differ between tier sizes");
	return CLI_OK;
}

int embed_report(struct embed *e)
{
	struct json_object *json;
	int rc;

	if (e->o.bench) {
		bench_line(e);
		return CLI_OK;
	}
	json = summary_new("embed");
	if (!json)
		return cli_fail("out of memory");
	rc = report_all(e, json);
	if (!rc && e->o.json)
		summary_print(json_object_get(json));
	json_object_put(json);
	return rc;
}

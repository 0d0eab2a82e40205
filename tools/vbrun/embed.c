// SPDX-License-Identifier: MIT
/*
 * vbrun embed: texts to vectors, with packed weights in a host tier that is smaller
 * than they are.
 *
 * The same texts run in up to four ways: as asked for, with all weights in memory, and
 * both again in F32. What they print beside each other is measured in this process;
 * the embeddings of the two tier sizes are compared bit by bit.
 */
#include "embed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "accuracy.h"
#include "common/cache.h"
#include "common/size.h"
#include "common/summary.h"
#include "common/text.h"
#include "gen.h"
#include "placement.h"
#include "sentences.h"

#define CHUNK_BYTES (64u << 10)
#define LATER_PASSES 50u
/* Texts shown in the matrix. */
#define MATRIX_TEXTS 12u
/* Below this the layers to keep in INT8 are looked for. */
#define SPEARMAN_GOAL 0.95

const char *const embed_formats[] = { "mxfp4", "int8", "f32", NULL };
const char *const embed_modes[] = { "f32", "a16", "a8", NULL };

static const enum vgpu_format formats[] = { VGPU_FORMAT_MXFP4_G16, VGPU_FORMAT_INT8_G16,
					    VGPU_FORMAT_F32 };

/* Packed weights: from a file when they do not all fit into the tier, else derived. */
enum { PACKED_AUTO, PACKED_DERIVED, PACKED_FILE };
static const char *const packed_names[] = { "auto", "derived", "file", NULL };

/* The ways to run. */
enum { RUN_ASKED, RUN_MEMORY, RUN_F32_TIER, RUN_F32_MEMORY, RUNS };

/**
 * struct embed - one invocation
 * @o: options
 * @model: on disk
 * @texts: to embed
 * @runs: RUN_*; a run that was not made has no @out
 * @v: device of RUN_ASKED, kept for a look at it
 * @b: the model on it
 */
struct embed {
	struct embed_options o;
	struct bert_model model;
	struct embed_texts texts;
	struct embed_run runs[RUNS];
	struct vgpu *v;
	struct bert b;
};

/* --- which model -------------------------------------------------------- */

static int generate(const char *folder)
{
	struct vbrun_gen_model_params p = { .folder = folder, .seed = 1, .keep = true };
	struct progress progress;
	struct vgpu_error error;
	int rc;

	cache_make_parents(folder);
	progress_begin(&progress, "generating a model", 0);
	rc = vbrun_gen_model(&p, progress_tell, &progress, &error);
	progress_end(&progress);
	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	return rc ? cli_fail("%s; VBLACKWELL_CACHE names another place for the cache", error.text) :
		    CLI_OK;
}

/* Without --model: MiniLM when it was fetched, else a generated one, made once. */
static int choose_folder(char *out, size_t len)
{
	struct stat st;
	char file[4200];

	int rc = cache_path(out, len, "models", "all-MiniLM-L6-v2");

	if (rc || !stat(out, &st))
		return rc;
	rc = cache_path(out, len, "models", "generated-minilm");
	if (rc)
		return rc;
	snprintf(file, sizeof(file), "%s/model.safetensors", out);
	return stat(file, &st) ? generate(out) : CLI_OK;
}

static int open_model(struct embed *e)
{
	const char *folder = e->o.folder;
	struct vgpu_error error;
	char cached[4096];
	int rc;

	if (!folder) {
		rc = choose_folder(cached, sizeof(cached));
		if (rc)
			return rc;
		folder = cached;
	}
	rc = bert_model_open(folder, &e->model, &error);
	return rc ? cli_fail("model: %s", error.text) : CLI_OK;
}

/* --- the runs ----------------------------------------------------------- */

/* "0,3-5" turns these layers to INT8. */
static int parse_layers(const char *text, uint32_t layers, struct embed_run *r)
{
	unsigned int first, last;
	int used;

	while (*text) {
		if (sscanf(text, "%u-%u%n", &first, &last, &used) != 2) {
			if (sscanf(text, "%u%n", &first, &used) != 1)
				return cli_usage("--layers-int8 %s is no list like 0,3-5", text);
			last = first;
		}
		if (first > last || last >= layers)
			return cli_usage("--layers-int8 names layer %u, the model has 0 .. %u", last,
					 layers - 1);
		for (; first <= last; first++)
			r->formats[first] = VGPU_FORMAT_INT8_G16;
		text += used;
		if (*text == ',')
			text++;
	}
	return CLI_OK;
}

/* A cache that only others may write to, or nobody. */
static void derive_where_no_file_can_be(const struct embed *e, struct embed_run *r)
{
	int rc = part_check(r->packed_path);

	if (!rc)
		return;
	if (!e->o.json && !e->o.bench)
		printf("packed       on demand: %s: %s\n", r->packed_path, part_why(rc));
	*r->packed_path = 0;
}

/*
 * A derived chunk costs 7.5 times its bytes of reading each time it comes back; a file
 * costs its bytes of disk once. So weights that stay are derived, others are in a file.
 */
static int choose_packed(struct embed *e, struct embed_run *r)
{
	char name[160];
	int rc;

	if (e->o.packed == PACKED_DERIVED || formats[e->o.format] == VGPU_FORMAT_F32 ||
	    (e->o.packed == PACKED_AUTO && r->host_bytes > embed_run_bytes(&e->model, r)))
		return CLI_OK;
	snprintf(name, sizeof(name), "%s-%s%s%.64s.safetensors", e->model.name,
		 embed_formats[e->o.format], e->o.layers_int8 ? "-int8-" : "",
		 e->o.layers_int8 ? e->o.layers_int8 : "");
	rc = cache_path(r->packed_path, sizeof(r->packed_path), "packed", name);
	if (rc)
		return rc;
	cache_make_parents(r->packed_path);
	if (e->o.packed == PACKED_AUTO && access(r->packed_path, R_OK))
		derive_where_no_file_can_be(e, r);
	return CLI_OK;
}

/* A quarter of the weights, unless the longest text needs more. */
static uint64_t choose_host(const struct embed *e, const struct embed_run *r)
{
	uint64_t quarter = embed_run_bytes(&e->model, r) / 4;
	uint64_t need = bert_host_bytes(&e->model, e->texts.longest, e->o.device.chunk_bytes);

	if (e->o.device.host_bytes)
		return e->o.device.host_bytes;
	if (need <= quarter)
		return quarter;
	if (!e->o.json && !e->o.bench)
		printf("host tier    %s, not the quarter of %s: the longest text has %u tokens\n",
		       size_text(need).s, size_text(quarter).s, e->texts.longest);
	return need;
}

static int plan_runs(struct embed *e)
{
	struct embed_run *r = e->runs;
	const char *format = embed_formats[e->o.format];
	int rc = CLI_OK;

	embed_run_formats(&r[RUN_ASKED], formats[e->o.format]);
	r[RUN_ASKED].mode = (enum vgpu_mode)e->o.mode;
	if (e->o.layers_int8)
		rc = parse_layers(e->o.layers_int8, e->model.layers, &r[RUN_ASKED]);
	r[RUN_ASKED].host_bytes = choose_host(e, &r[RUN_ASKED]);
	r[RUN_ASKED].arena = r[RUN_F32_TIER].arena = true;
	r[RUN_ASKED].trace = true;
	if (!rc)
		rc = choose_packed(e, &r[RUN_ASKED]);
	r[RUN_MEMORY] = r[RUN_ASKED];
	r[RUN_MEMORY].host_bytes = EMBED_IN_MEMORY;
	r[RUN_MEMORY].arena = r[RUN_MEMORY].trace = false;
	r[RUN_F32_TIER].host_bytes = r[RUN_ASKED].host_bytes;
	r[RUN_F32_MEMORY].host_bytes = EMBED_IN_MEMORY;
	embed_run_formats(&r[RUN_F32_TIER], VGPU_FORMAT_F32);
	embed_run_formats(&r[RUN_F32_MEMORY], VGPU_FORMAT_F32);
	snprintf(r[RUN_ASKED].label, sizeof(r->label), "%s %s%s", format,
		 embed_modes[e->o.mode], e->o.layers_int8 ? " + int8" : "");
	snprintf(r[RUN_MEMORY].label, sizeof(r->label), "%s %s in memory", format,
		 embed_modes[e->o.mode]);
	snprintf(r[RUN_F32_TIER].label, sizeof(r->label), "f32 same tier");
	snprintf(r[RUN_F32_MEMORY].label, sizeof(r->label), "f32 in memory");
	return rc;
}

/* What was asked for does not go: the sizes that it does not go with. */
static int refused(const struct embed *e, const struct embed_run *r)
{
	uint64_t arena = device_nvme_bytes(&e->o.device);

	return cli_fail("host tier of %s%s%s: %s", size_text(r->host_bytes).s,
			arena ? ", arena of " : "", arena ? size_text(arena).s : "", r->refused);
}

static int run_one(struct embed *e, uint32_t i)
{
	bool kept = i == RUN_ASKED;
	int rc = embed_measure(&e->o, &e->model, &e->texts, &e->runs[i], e->o.passes,
			       kept ? &e->v : NULL, kept ? &e->b : NULL);

	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	if (rc)
		return cli_fail_vgpu(rc, "%s", e->runs[i].label);
	return kept && *e->runs[i].refused ? refused(e, &e->runs[i]) : CLI_OK;
}

/* What was asked for comes first, unless F32 in the same tier needs its arena before. */
static int run_all(struct embed *e)
{
	static const uint32_t order[] = { RUN_F32_TIER, RUN_ASKED, RUN_MEMORY, RUN_F32_TIER,
					  RUN_F32_MEMORY };
	bool f32 = formats[e->o.format] == VGPU_FORMAT_F32 && !e->o.layers_int8;
	uint32_t first = e->o.no_compare || f32 || !e->o.device.nvme_path;
	uint32_t end = e->o.no_compare ? 2 : f32 ? 3 : RUNS + 1;
	int rc = CLI_OK;

	for (uint32_t i = first; i < end && !rc; i++)
		if (!e->runs[order[i]].out)
			rc = run_one(e, order[i]);
	return rc;
}

static bool made(const struct embed_run *r)
{
	return r->out && !*r->refused;
}

/* F32 with all weights in memory is what embeddings are compared with. */
static const struct embed_run *baseline(const struct embed *e)
{
	bool f32 = e->b.formats[0] == VGPU_FORMAT_F32 && !e->o.layers_int8;

	return &e->runs[f32 ? RUN_MEMORY : RUN_F32_MEMORY];
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
	const float *out = e->runs[RUN_ASKED].out;

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
	for (uint32_t i = 0; i < RUNS; i++) {
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
	char text[128];

	printf("\n");
	placement_print(e->v, &e->runs[RUN_ASKED].c, stdout);
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
	for (uint32_t i = 0; i < RUNS; i++)
		if (*e->runs[i].refused)
			printf("%s: %s\n", e->runs[i].label, e->runs[i].refused);
	if (*e->runs[RUN_ASKED].packed_path)
		printf("packed file: %s (loaded in %s, made when it was not there)\n",
		       e->runs[RUN_ASKED].packed_path, size_seconds(e->runs[RUN_ASKED].load).s);
	if (made(&e->runs[RUN_MEMORY]))
		printf("same bits in both tier sizes: %s\n",
		       same_bits(e, RUN_ASKED, RUN_MEMORY) ? "yes" : "NO");
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
				(double)e->runs[RUN_ASKED].out[(size_t)i * e->model.hidden + j]));
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
	for (uint32_t i = 0; i < RUNS; i++)
		if (e->runs[i].out)
			summarise_run(e, &e->runs[i], summary_item(list));
	if (made(&e->runs[RUN_MEMORY]))
		summary_flag(json, "same_bits", same_bits(e, RUN_ASKED, RUN_MEMORY));
	print_objects(e, json);
}

static void bench_line(const struct embed *e)
{
	const struct embed_run *r = &e->runs[RUN_ASKED], *f32 = &e->runs[RUN_F32_TIER];
	struct json_object *line = json_object_new_object();
	double ours = r->steady * 1e3 / e->texts.count;
	double theirs = made(f32) ? f32->steady * 1e3 / e->texts.count : 0;
	double bound = made(&e->runs[RUN_MEMORY]) ?
		       e->runs[RUN_MEMORY].steady * 1e3 / e->texts.count : 0;

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
	if (fwrite(e->runs[RUN_ASKED].out, sizeof(float), n, f) != n)
		rc = errno ? -errno : -EIO;
	if (fclose(f) && !rc)
		rc = -errno;
	if (!rc)
		return part_place(&part);
	unlink(part.at);
	return rc;
}

/* --- the command -------------------------------------------------------- */

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
		rc = embed_accuracy(&e->o, &e->model, &e->runs[RUN_ASKED], json);
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
	if (made(&e->runs[RUN_MEMORY]) && !same_bits(e, RUN_ASKED, RUN_MEMORY))
		return cli_fail("embeddings differ between tier sizes");
	return CLI_OK;
}

static int report(struct embed *e)
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

static int embed(struct embed *e, const char *const *text, uint32_t count)
{
	int rc = open_model(e);

	if (rc)
		return rc;
	if (!e->o.json && !e->o.bench)
		printf("model: %s\n", e->model.name);
	if (embed_texts_take(&e->model, text, count, &e->texts))
		rc = cli_fail("out of memory");
	if (!rc)
		rc = plan_runs(e);
	if (!rc)
		rc = run_all(e);
	if (!rc)
		rc = report(e);
	if (e->v) {
		bert_unload(&e->b);
		vgpu_close(e->v);
	}
	rc = device_trace_end(e->o.device.trace, rc);
	for (uint32_t i = 0; i < RUNS; i++)
		free(e->runs[i].out);
	embed_texts_free(&e->texts);
	bert_model_close(&e->model);
	return rc;
}

/* What excludes what; where the device answers for its executor, what that says. */
static int options_settle(struct embed *e)
{
	int rc;

	if (!e->o.node)
		e->o.node = device_forced();
	if (e->o.compare && e->o.no_compare)
		return cli_usage("--compare and --no-compare exclude each other");
	if (e->o.compare && e->o.node)
		return cli_usage("--compare needs devices of its own, without --device");
	if (e->o.device.trace && e->o.node)
		return cli_usage("--trace needs a device of its own, without --device");
	rc = device_check_outputs((const char *[]){ e->o.save, e->o.vectors, e->o.device.trace }, 3);
	if (rc != CLI_RUN)
		return rc;
	if (e->o.node) {
		e->o.no_compare = true;
		rc = device_ask(e->o.node, &e->o.device);
		if (rc)
			return rc;
	}
	return CLI_RUN;
}

int vbrun_embed(int argc, char **argv)
{
	struct embed e = { .o = { .mode = VGPU_MODE_A16, .goal = SPEARMAN_GOAL,
				  .sentences = VBRUN_SENTENCE_COUNT, .passes = LATER_PASSES } };
	const struct cli_option options[] = {
		{ "model", CLI_TEXT, &e.o.folder, "DIR", "model (default: the one fetched, else "
		  "generated)", NULL, 0, 0 },
		{ "format", CLI_CHOICE, &e.o.format, "F", "of weights: mxfp4 (default), int8, f32",
		  embed_formats, 0, 0 },
		{ "mode", CLI_CHOICE, &e.o.mode, "MODE", "activations: f32, a16 (default) or a8",
		  embed_modes, 0, 0 },
		{ "packed", CLI_CHOICE, &e.o.packed, "HOW", "packed weights: derived, file, auto "
		  "(default: file when they do not fit)", packed_names, 0, 0 },
		{ "layers-int8", CLI_TEXT, &e.o.layers_int8, "LIST", "layers in INT8 instead: 0,3-5",
		  NULL, 0, 0 },
		{ "device", CLI_TEXT, &e.o.node, "PATH", "/dev/vblackwell: budgets and engines are "
		  "those of its executor, and only what was asked for runs", NULL, 0, 0 },
		DEVICE_OPTIONS(e.o.device),
		{ "passes", CLI_NUMBER, &e.o.passes, "N", "later passes over the texts, at most "
		  "(default 50)", NULL, 0, 64 },
		{ "vectors", CLI_TEXT, &e.o.vectors, "FILE", "embeddings there, raw float32", NULL, 0,
		  0 },
		{ "accuracy", CLI_FLAG, &e.o.accuracy, NULL, "over built-in sentences, against f32 "
		  "and float64; of mxfp4 what each layer costs, and which in int8 restore the goal",
		  NULL, 0, 0 },
		{ "sentences", CLI_NUMBER, &e.o.sentences, "N", "how many of them (default all 200)",
		  NULL, 3, VBRUN_SENTENCE_COUNT },
		{ "goal", CLI_REAL, &e.o.goal, "RHO", "Spearman that is good enough (default 0.95)",
		  NULL, 0, 1 },
		{ "compare", CLI_FLAG, &e.o.compare, NULL, "run f32 and in memory too (the default)",
		  NULL, 0, 0 },
		{ "no-compare", CLI_FLAG, &e.o.no_compare, NULL, "run only what was asked for", NULL,
		  0, 0 },
		{ "json", CLI_FLAG, &e.o.json, NULL, "summary as JSON", NULL, 0, 0 },
		{ "save", CLI_TEXT, &e.o.save, "FILE", "summary as JSON there, text here", NULL, 0, 0 },
		{ "bench", CLI_FLAG, &e.o.bench, NULL, "one line for bench.jsonl", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbrun embed", "[TEXT]...", "Embed texts with a BERT encoder whose weights are packed "
		"and tiered.", options, 0, 4096,
		"Without TEXT, eight built-in sentences. --host is a quarter of the packed\n"
		"weights unless given, or what the longest text needs; --chunk is 64K. The cache with models is\n"
		"$VBLACKWELL_CACHE or ~/.cache/vblackwell. VBLACKWELL_DEVICE=PATH is --device PATH.\n"
	};
	unsigned int count;
	int rc;

	device_defaults(&e.o.device, CHUNK_BYTES);
	rc = cli_parse(&command, argc, argv, &count);
	if (rc == CLI_RUN)
		rc = device_check(&e.o.device);
	if (rc != CLI_RUN)
		return rc;
	rc = options_settle(&e);
	if (rc != CLI_RUN)
		return rc;
	if (count)
		return embed(&e, (const char *const *)argv + 1, count);
	return embed(&e, vbrun_demo_sentences, VBRUN_DEMO_COUNT);
}

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
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cache.h"
#include "common/size.h"
#include "gen.h"
#include "sentences.h"

#define CHUNK_BYTES (64u << 10)
#define LATER_PASSES 50u
/* Below this the layers to keep in INT8 are looked for. */
#define SPEARMAN_GOAL 0.95

const char *const embed_formats[] = { "mxfp4", "int8", "f32", NULL };
const char *const embed_modes[] = { "f32", "a16", "a8", "a8-256", NULL };

static const enum vgpu_format formats[] = { VGPU_FORMAT_MXFP4_G16, VGPU_FORMAT_INT8_G16,
					    VGPU_FORMAT_F32 };

/* Packed weights: from a file when they do not all fit into the tier, else derived. */
enum { PACKED_AUTO, PACKED_DERIVED, PACKED_FILE };
static const char *const packed_names[] = { "auto", "derived", "file", NULL };

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

	embed_run_formats(&r[EMBED_RUN_ASKED], formats[e->o.format]);
	r[EMBED_RUN_ASKED].mode = (enum vgpu_mode)e->o.mode;
	if (e->o.layers_int8)
		rc = parse_layers(e->o.layers_int8, e->model.layers, &r[EMBED_RUN_ASKED]);
	r[EMBED_RUN_ASKED].host_bytes = choose_host(e, &r[EMBED_RUN_ASKED]);
	r[EMBED_RUN_ASKED].arena = r[EMBED_RUN_F32_TIER].arena = true;
	r[EMBED_RUN_ASKED].trace = true;
	if (!rc)
		rc = choose_packed(e, &r[EMBED_RUN_ASKED]);
	r[EMBED_RUN_MEMORY] = r[EMBED_RUN_ASKED];
	r[EMBED_RUN_MEMORY].host_bytes = EMBED_IN_MEMORY;
	r[EMBED_RUN_MEMORY].arena = r[EMBED_RUN_MEMORY].trace = false;
	r[EMBED_RUN_F32_TIER].host_bytes = r[EMBED_RUN_ASKED].host_bytes;
	r[EMBED_RUN_F32_MEMORY].host_bytes = EMBED_IN_MEMORY;
	embed_run_formats(&r[EMBED_RUN_F32_TIER], VGPU_FORMAT_F32);
	embed_run_formats(&r[EMBED_RUN_F32_MEMORY], VGPU_FORMAT_F32);
	snprintf(r[EMBED_RUN_ASKED].label, sizeof(r->label), "%s %s%s", format,
		 embed_modes[e->o.mode], e->o.layers_int8 ? " + int8" : "");
	snprintf(r[EMBED_RUN_MEMORY].label, sizeof(r->label), "%s %s in memory", format,
		 embed_modes[e->o.mode]);
	snprintf(r[EMBED_RUN_F32_TIER].label, sizeof(r->label), "f32 same tier");
	snprintf(r[EMBED_RUN_F32_MEMORY].label, sizeof(r->label), "f32 in memory");
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
	bool kept = i == EMBED_RUN_ASKED;
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
	static const uint32_t order[] = { EMBED_RUN_F32_TIER, EMBED_RUN_ASKED, EMBED_RUN_MEMORY,
					  EMBED_RUN_F32_TIER, EMBED_RUN_F32_MEMORY };
	bool f32 = formats[e->o.format] == VGPU_FORMAT_F32 && !e->o.layers_int8;
	uint32_t first = e->o.no_compare || f32 || !e->o.device.nvme_path;
	uint32_t end = e->o.no_compare ? 2 : f32 ? 3 : EMBED_RUNS + 1;
	int rc = CLI_OK;

	for (uint32_t i = first; i < end && !rc; i++)
		if (!e->runs[order[i]].out)
			rc = run_one(e, order[i]);
	return rc;
}

/* --- the command -------------------------------------------------------- */

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
		rc = embed_report(e);
	if (e->v) {
		bert_unload(&e->b);
		vgpu_close(e->v);
	}
	rc = device_trace_end(e->o.device.trace, rc);
	for (uint32_t i = 0; i < EMBED_RUNS; i++)
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
		{ "mode", CLI_CHOICE, &e.o.mode, "MODE", "activations: f32, a16 (default), a8 or a8-256",
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
		"weights unless given, or what the longest text needs; --chunk is 64K. The cache\n"
		"with models is $VBLACKWELL_CACHE or ~/.cache/vblackwell. VBLACKWELL_DEVICE=PATH is\n"
		"--device PATH.\n"
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

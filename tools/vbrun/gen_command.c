// SPDX-License-Identifier: MIT
/* vbrun gen: write a checkpoint or a small model; nothing is left of one that was not finished. */
#include "gen_command.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/cli.h"
#include "common/progress.h"
#include "common/size.h"
#include "common/summary.h"
#include "gen.h"
#include "gen_gemma.h"

#define FORMAT_OPEN UINT32_MAX	/* not given */

/**
 * struct gen_options - what was asked for
 * @checkpoint: a mixture of experts in one file
 * @model: a BERT-shaped model in a folder, when @bert
 * @decoder: a GGUF file, when @gemma3
 */
struct gen_options {
	struct vbrun_gen_params checkpoint;
	struct vbrun_gen_model_params model;
	struct vbrun_gen_gemma_params decoder;
	uint32_t format, seed;
	bool bert, gemma3, json;
};

static void report(const struct gen_options *o, const char *path, double seconds)
{
	struct json_object *json;
	struct stat st = { 0 };

	stat(path, &st);
	if (!o->json) {
		printf("%s: %s in %s\n", path, size_text((uint64_t)st.st_size).s,
		       size_seconds(seconds).s);
		return;
	}
	json = summary_new("gen");
	summary_text(json, "file", path);
	summary_bytes(json, "bytes", (uint64_t)st.st_size);
	summary_bytes(json, "seed", o->seed);
	summary_bytes(json, "ns", (uint64_t)(seconds * 1e9));
	summary_print(json);
}

static int generate(struct gen_options *o)
{
	double start = size_now();
	struct progress progress;
	struct vgpu_error error;
	char path[4096];
	int rc;

	progress_begin(&progress, "gen", o->checkpoint.bytes);
	if (o->bert)
		rc = vbrun_gen_model(&o->model, progress_tell, &progress, &error);
	else if (o->gemma3)
		rc = vbrun_gen_gemma(&o->decoder, progress_tell, &progress, &error);
	else
		rc = vbrun_gen(&o->checkpoint, progress_tell, &progress, &error);
	progress_end(&progress);
	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	if (rc)
		return cli_fail("gen: %s", error.text);
	snprintf(path, sizeof(path), "%s%s", o->checkpoint.path,
		 o->bert ? "/model.safetensors" : "");
	report(o, path, size_now() - start);
	return CLI_OK;
}

/* A small model has no experts, and the size that follows from its shape. */
static int settle(struct gen_options *o)
{
	bool format = o->format != FORMAT_OPEN;

	if (o->bert && o->gemma3)
		return cli_usage("gen: --bert and --gemma3 exclude each other");
	if ((o->bert || o->gemma3) && (o->checkpoint.bytes || o->checkpoint.experts || format))
		return cli_usage("gen: %s is not for %s, whose --layers, --hidden and --ffn say all",
				 o->checkpoint.bytes ? "--size" : format ? "--format" : "--experts",
				 o->bert ? "--bert" : "--gemma3");
	if (!o->checkpoint.bytes)
		o->checkpoint.bytes = (uint64_t)2 << 30;
	if (!format)
		o->format = VBRUN_GEN_MXFP4;
	return CLI_RUN;
}

int vbrun_gen_command(int argc, char **argv)
{
	static const char *const formats[] = { "mxfp4", "bf16", "f32", NULL };
	struct gen_options o = { .format = FORMAT_OPEN, .seed = 1 };
	const struct cli_option options[] = {
		{ "size", CLI_SIZE, &o.checkpoint.bytes, "SIZE", "aim at this size (default 2G)",
		  NULL, 1 << 20, (uint64_t)1 << 46 },
		{ "format", CLI_CHOICE, &o.format, "F", "of the experts: mxfp4 (default), bf16, f32",
		  formats, 0, 0 },
		{ "seed", CLI_NUMBER, &o.seed, "N", "of all numbers (default 1)", NULL, 0, 0 },
		{ "layers", CLI_NUMBER, &o.checkpoint.layers, "N", "instead of what fits the size",
		  NULL, 1, 1024 },
		{ "experts", CLI_NUMBER, &o.checkpoint.experts, "N", "of a layer (default 32)", NULL,
		  1, 1024 },
		{ "hidden", CLI_NUMBER, &o.checkpoint.hidden, "N", "columns", NULL, 64, 32768 },
		{ "ffn", CLI_NUMBER, &o.checkpoint.ffn, "N", "columns of an expert's middle", NULL, 32,
		  131072 },
		{ "bert", CLI_FLAG, &o.bert, NULL, "a stand-in for MiniLM in the folder FILE", NULL, 0,
		  0 },
		{ "gemma3", CLI_FLAG, &o.gemma3, NULL, "a stand-in for gemma-3-270m, the GGUF file FILE",
		  NULL, 0, 0 },
		{ "json", CLI_FLAG, &o.json, NULL, "summary as JSON", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbrun gen", "FILE", "Write a seeded checkpoint: a gpt-oss-shaped mixture of experts.",
		options, 1, 1, "FILE appears under its name only once it is complete.\n"
	};
	unsigned int count;
	int rc = cli_parse(&command, argc, argv, &count);

	if (rc == CLI_RUN)
		rc = settle(&o);
	if (rc != CLI_RUN)
		return rc;
	o.checkpoint.path = argv[1];
	o.checkpoint.seed = o.seed;
	o.checkpoint.format = (enum vbrun_gen_format)o.format;
	o.model.folder = argv[1];
	o.model.seed = o.seed;
	o.model.layers = o.checkpoint.layers;
	o.model.hidden = o.checkpoint.hidden;
	o.model.ffn = o.checkpoint.ffn;
	o.decoder = (struct vbrun_gen_gemma_params){
		.path = argv[1], .seed = o.seed, .layers = o.checkpoint.layers,
		.hidden = o.checkpoint.hidden, .ffn = o.checkpoint.ffn,
	};
	return generate(&o);
}

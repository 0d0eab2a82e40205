// SPDX-License-Identifier: MIT
/*
 * What rounding costs gemma-3-270m on 20,000 tokens: perplexity, KL divergence and top-1
 * agreement of its weights and of activations, beside the values of the file in F32. A short run
 * takes a generated model and a page of ours.
 */
#include <unistd.h>

#include "common/bench_util.h"
#include "vbrun.h"

/* Perplexity in A16 over that of F32 products of the same weights, less 1: at most. */
#define A16_LIMIT 1e-3
#define MODEL "models/gemma-3-270m-Q4_K_M/gemma-3-270m-q4_k_m.gguf"

static char root[1024], vbrun[1024], model[1536], text[1536];

/* The last line that a command prints. */
static int take_line(const char *command, char *out, size_t len)
{
	FILE *from = popen(command, "r");
	char line[1024] = "";

	while (from && fgets(line, sizeof(line), from))
		;
	line[strcspn(line, "\n")] = 0;
	snprintf(out, len, "%s", line);
	return from && !pclose(from) && *line ? 0 : -ENODATA;
}

static int find_long(void)
{
	char cache[800], command[2048];

	vbrun_cache(cache, sizeof(cache));
	snprintf(model, sizeof(model), "%s/" MODEL, cache);
	if (access(model, R_OK)) {
		printf("quality: SKIP: no %s (tools/fetch-models.sh gemma)\n", model);
		return -ENOENT;
	}
	snprintf(command, sizeof(command), "'%s/bench/text.sh'", root);
	if (!take_line(command, text, sizeof(text)))
		return 0;
	printf("quality: SKIP: no text\n");
	return -ENOENT;
}

static int make_short(void)
{
	const char *folder = getenv("TMPDIR");

	snprintf(text, sizeof(text), "%s/Documentation/generate.md", root);
	snprintf(model, sizeof(model), "%s/vb-quality-%d.gguf", folder ? folder : "/tmp", (int)getpid());
	return vbrun_call("'%s' gen '%s' --gemma3 >/dev/null", vbrun, model);
}

/* Perplexities of the weights as they are used: what the limit is of. */
static double in_f32, in_a16;

static void keep(const char *weight, const char *mode, double perplexity)
{
	if (strcmp(weight, "file"))
		return;
	if (!strcmp(mode, "f32"))
		in_f32 = perplexity;
	if (!strcmp(mode, "a16"))
		in_a16 = perplexity;
}

static int judge(void)
{
	double over = in_a16 / in_f32 - 1;

	printf("file a16 over file f32: %.4f%%\n", 100 * over);
	if (over >= -A16_LIMIT && over <= A16_LIMIT)
		return 0;
	fprintf(stderr, "quality: file a16 is %.3f%% from file f32; at most %.1f%%\n", 100 * over,
		100 * A16_LIMIT);
	return 1;
}

static void print_row(const char *text_line)
{
	struct json_object *line = json_tokener_parse(text_line), *weight, *mode;

	if (!line || !json_object_object_get_ex(line, "weight", &weight) ||
	    !json_object_object_get_ex(line, "mode", &mode)) {
		json_object_put(line);
		return;
	}
	keep(json_object_get_string(weight), json_object_get_string(mode), vbrun_number(line, "ours"));
	printf("%-6s %-4s %10.4f %8.4f %9.4f%% %8.4f%% %10.2e %10.2e %7.2f%% %9.1e\n",
	       json_object_get_string(weight), json_object_get_string(mode), vbrun_number(line, "ours"),
	       vbrun_number(line, "perplexity_error"), 100 * vbrun_number(line, "excess"),
	       100 * vbrun_number(line, "excess_error"), vbrun_number(line, "kl"), vbrun_number(line, "kl_p99"),
	       100 * vbrun_number(line, "top1"), vbrun_number(line, "nmse"));
	json_object_put(line);
}

static int measure(uint32_t tokens)
{
	char command[8192], line[4096];
	unsigned int lines = 0;
	FILE *from;

	printf("%u tokens of %s\n", tokens, strrchr(text, '/') + 1);
	printf("%-11s %10s %8s %10s %9s %10s %10s %8s %9s\n", "quality", "perplexity", "+-",
	       "over f32", "+-", "KL, nats", "KL p99", "top-1", "NMSE");
	fflush(stdout);
	snprintf(command, sizeof(command), "'%s' quality '%s' --text '%s' --tokens %u --bench", vbrun,
		 model, text, tokens);
	from = popen(command, "r");
	for (; from && fgets(line, sizeof(line), from); lines++) {
		vbrun_append(line);
		print_row(line);
	}
	return from && !pclose(from) && lines ? 0 : 1;
}

int main(int argc, char **argv)
{
	int rc;

	if (argc > 1) {
		fprintf(stderr, "usage: quality\n");
		return 2;
	}
	vbrun_path(argv[0], vbrun, sizeof(vbrun));
	snprintf(root, sizeof(root), "%.*s/..", (int)(strlen(vbrun) - strlen("/vbrun")), vbrun);
	if (!bench_short())
		return find_long() ? 0 : measure(20000) || judge();
	rc = make_short();
	rc = rc ? 1 : measure(64);
	unlink(model);
	return rc;
}

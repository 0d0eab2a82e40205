// SPDX-License-Identifier: MIT
/*
 * A token of gemma-3-270m whose weights all stay in memory: bytes of weights a second, beside
 * those that memory gives when it is only read, by turns. A short run takes a generated model.
 */
#include <unistd.h>

#include "common/bench_util.h"
#include "vbrun.h"

#define MODEL "models/gemma-3-270m-Q4_K_M/gemma-3-270m-q4_k_m.gguf"
#define PROMPT "The capital of France is"
/* More than caches hold. */
#define READ_BYTES (512u << 20)
#define RUNS_MAX 31u

static char vbrun[1024], model[1536];

static int find_long(void)
{
	char cache[800];

	vbrun_cache(cache, sizeof(cache));
	snprintf(model, sizeof(model), "%s/" MODEL, cache);
	if (!access(model, R_OK))
		return 0;
	printf("tokens: SKIP: no %s (tools/fetch-models.sh gemma)\n", model);
	return -ENOENT;
}

static int make_short(void)
{
	const char *folder = getenv("TMPDIR");

	snprintf(model, sizeof(model), "%s/vb-tokens-%d.gguf", folder ? folder : "/tmp", (int)getpid());
	return vbrun_call("'%s' gen '%s' --gemma3 >/dev/null", vbrun, model);
}

/* Bytes of weights a second while tokens are made; 0: no figure. */
static double decode(unsigned int threads, double *out_tokens)
{
	struct json_object *all, *decoded = NULL;
	char command[4096], text[1u << 16];
	double rate = 0;
	FILE *from;
	size_t n;

	snprintf(command, sizeof(command),
		 "'%s' generate '%s' --json --host 512M --threads %u --tokens %u --prompt '%s'", vbrun, model,
		 threads, bench_short() ? 4 : 128, PROMPT);
	from = popen(command, "r");
	n = from ? fread(text, 1, sizeof(text) - 1, from) : 0;
	text[n] = 0;
	if (!from || pclose(from))
		return 0;
	all = json_tokener_parse(text);
	if (json_object_object_get_ex(all, "decoded", &decoded)) {
		*out_tokens = vbrun_number(decoded, "tokens_per_second");
		rate = *out_tokens * vbrun_number(all, "weight_bytes");
	}
	json_object_put(all);
	return rate;
}

/* The best of three, in GB/s: what else runs on the machine takes some away. */
static double read_rate(const void *memory, size_t bytes, unsigned int threads)
{
	double best = 0;

	for (int i = 0; i < 3; i++) {
		double rate = bench_read_rate(memory, bytes, threads) / 1e9;

		best = rate > best ? rate : best;
	}
	return best;
}

static int measure(unsigned int threads, const void *memory, size_t bytes)
{
	unsigned int runs = bench_runs(5, RUNS_MAX);
	double ours[RUNS_MAX], tokens[RUNS_MAX], bound[RUNS_MAX];
	char note[64];

	for (unsigned int i = 0; i < runs; i++) {
		bound[i] = read_rate(memory, bytes, threads);
		ours[i] = decode(threads, &tokens[i]) / 1e9;
		if (!(ours[i] > 0)) {
			fprintf(stderr, "tokens: %s generate gave no figure\n", vbrun);
			return 1;
		}
	}
	snprintf(note, sizeof(note), "%.1f tokens/s", bench_median(tokens, runs));
	return bench_emit(&(struct bench_result){
		.bench = "tokens", .weight = "file", .mode = "a16", .residency = "dram", .threads = threads,
		.unit = "GB/s", .ours = bench_median(ours, runs), .bound = bench_median(bound, runs),
		.runs = runs, .note = note });
}

int main(int argc, char **argv)
{
	const size_t bytes = bench_short() ? 16u << 20 : READ_BYTES;
	void *memory = bench_alloc(bytes);
	int rc;

	if (argc > 1 || !memory) {
		fprintf(stderr, argc > 1 ? "usage: tokens\n" : "tokens: no memory\n");
		return argc > 1 ? 2 : 1;
	}
	vbrun_path(argv[0], vbrun, sizeof(vbrun));
	if (!bench_short() && find_long())
		return 0;
	rc = bench_short() ? make_short() : 0;
	for (unsigned int threads = 1; threads <= 2 && !rc; threads++)
		rc = measure(threads, memory, bytes);
	if (bench_short())
		unlink(model);
	bench_free(memory);
	return rc != 0;
}

// SPDX-License-Identifier: MIT
/*
 * A token of gemma-3-270m: bytes of weights a second, beside those that memory gives when it is
 * only read, where all stay there; beside those that storage gives, where a quarter does.  By
 * turns. A short run takes a generated model.
 */
#include <fcntl.h>
#include <unistd.h>

#include "common/bench_util.h"
#include "vbrun.h"
#include "vgpu.h"

#define MODEL "models/gemma-3-270m-Q4_K_M/gemma-3-270m-q4_k_m.gguf"
#define PROMPT "The capital of France is"
/* More than caches hold. */
#define READ_BYTES (512u << 20)
/* Of the model, by each engine and depth. */
#define PROBE_BYTES (64u << 20)
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

/**
 * struct decoded - tokens that were made, and what they were made with
 * @tokens: a second
 * @weights: bytes of all weights
 * @host: of the tier
 * @read: from storage, a token
 * @chunk: bytes of a read
 */
struct decoded {
	double tokens, weights, host, read;
	uint32_t chunk;
};

/* 0 tokens a second: no figure. */
static void decoded_parse(const char *text, struct decoded *out)
{
	struct json_object *all = json_tokener_parse(text), *part;

	if (json_object_object_get_ex(all, "decoded", &part)) {
		out->tokens = vbrun_number(part, "tokens_per_second");
		out->read = vbrun_number(part, "token_read_bytes");
	}
	if (json_object_object_get_ex(all, "device", &part))
		out->chunk = (uint32_t)vbrun_number(part, "chunk_bytes");
	out->weights = vbrun_number(all, "weight_bytes");
	out->host = vbrun_number(all, "host_bytes");
	json_object_put(all);
}

static struct decoded decode(unsigned int threads, const char *tier, unsigned int tokens)
{
	char command[4096], text[1u << 16];
	struct decoded d = { 0 };
	FILE *from;
	size_t n;

	snprintf(command, sizeof(command), "'%s' generate '%s' --json %s --threads %u --tokens %u --prompt '%s'",
		 vbrun, model, tier, threads, bench_short() ? 4 : tokens, PROMPT);
	from = popen(command, "r");
	n = from ? fread(text, 1, sizeof(text) - 1, from) : 0;
	text[n] = 0;
	if (from && !pclose(from))
		decoded_parse(text, &d);
	if (!(d.tokens > 0))
		fprintf(stderr, "tokens: %s generate gave no figure\n", vbrun);
	return d;
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

static int measure_memory(unsigned int threads, const void *memory, size_t bytes)
{
	unsigned int runs = bench_runs(5, RUNS_MAX);
	double ours[RUNS_MAX], tokens[RUNS_MAX], bound[RUNS_MAX];
	struct decoded d;
	char note[64];

	for (unsigned int i = 0; i < runs; i++) {
		bound[i] = read_rate(memory, bytes, threads);
		d = decode(threads, "--host 512M", 128);
		if (!(d.tokens > 0))
			return 1;
		tokens[i] = d.tokens;
		ours[i] = d.tokens * d.weights / 1e9;
	}
	snprintf(note, sizeof(note), "%.1f tokens/s", bench_median(tokens, runs));
	return bench_emit(&(struct bench_result){
		.bench = "tokens", .weight = "file", .mode = "a16", .residency = "dram", .threads = threads,
		.unit = "GB/s", .ours = bench_median(ours, runs), .bound = bench_median(bound, runs),
		.runs = runs, .note = note });
}

/* In GB/s, in reads of @chunk bytes, by the fastest engine. */
static double storage_rate(uint32_t chunk)
{
	struct vgpu_probe probe = { 0 };
	int fd = open(model, O_RDONLY | O_CLOEXEC), rc = -1;

	if (fd >= 0) {
		rc = vgpu_probe(fd, chunk, PROBE_BYTES, &probe);
		close(fd);
	}
	return rc ? 0 : probe.row[probe.best].bytes_per_second / 1e9;
}

/* In a quarter of the weights: what does not fit must be read for each token, at least. */
static int measure_storage(unsigned int threads)
{
	unsigned int runs = bench_runs(5, RUNS_MAX);
	double ours[RUNS_MAX], tokens[RUNS_MAX], bound[RUNS_MAX];
	struct decoded d;
	char note[96];

	for (unsigned int i = 0; i < runs; i++) {
		d = decode(threads, "", 24);
		if (!(d.tokens > 0))
			return 1;
		tokens[i] = d.tokens;
		ours[i] = d.tokens * (d.weights - d.host) / 1e9;
		bound[i] = storage_rate(d.chunk);
	}
	snprintf(note, sizeof(note), "%.1f tokens/s, a token reads %.0f MB of %.0f", bench_median(tokens, runs),
		 d.read / 1e6, (d.weights - d.host) / 1e6);
	return bench_emit(&(struct bench_result){
		.bench = "tokens", .weight = "file", .mode = "a16", .residency = "nvme", .threads = threads,
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
		rc = measure_memory(threads, memory, bytes);
	for (unsigned int threads = 1; threads <= 2 && !rc; threads++)
		rc = measure_storage(threads);
	if (bench_short())
		unlink(model);
	bench_free(memory);
	return rc != 0;
}

// SPDX-License-Identifier: MIT
/*
 * A 2 GiB checkpoint through a host tier of a quarter of it: seconds a pass beside the
 * larger of its arithmetic (on all weights, in memory) and its bytes over the bandwidth
 * probed between the passes (fraction = bound / ours), and beside what LRU would have to
 * read. Then experts chosen at run time, a quarter of them in the tier: bytes a token
 * beside the optimum and LRU.
 *
 *	stream [CHECKPOINT]
 *
 * Exit status 1 when a pass takes more than TIME_MOST of its bound or a token reads more
 * than BYTES_MOST of the optimum: each such row is named on stderr. BENCH_SHORT has a
 * small checkpoint of its own and judges nothing.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "common/bench_util.h"
#include "vbrun.h"

#define TIME_MOST	1.15
#define BYTES_MOST	1.5
#define PARTS		4
#define SHORT_ROWS	32

static const struct {
	unsigned int m;
	const char *mode;
} rows[] = { { 1, "a16" }, { 1, "a8" }, { 32, "a16" }, { 32, "a8" }, { 512, "a16" }, { 512, "a8" } };

static const unsigned int seeds[] = { 20260102, 1, 2 };

/**
 * struct run - what all rows share
 * @vbrun: the tool
 * @file: the checkpoint
 * @tier: its options
 * @passes, @tokens: how long
 * @judge: against the limits
 * @over: rows beyond theirs
 */
struct run {
	char vbrun[1024], file[2048], tier[64];
	unsigned int passes, tokens, over;
	bool judge;
};

static int prepare(struct run *r, const char *argv0, const char *checkpoint)
{
	bool quick = bench_short();
	char folder[1024];
	struct stat st;
	int rc = 0;

	vbrun_path(argv0, r->vbrun, sizeof(r->vbrun));
	vbrun_cache(folder, sizeof(folder));
	snprintf(r->file, sizeof(r->file), "%s/generated-moe-%s.safetensors", folder,
		 quick ? "24m" : "2g");
	if (checkpoint)
		snprintf(r->file, sizeof(r->file), "%s", checkpoint);
	if (access(r->file, R_OK))
		rc = vbrun_call("mkdir -p '%s' && '%s' gen '%s' --size %s >/dev/null", folder,
				r->vbrun, r->file, quick ? "24M" : "2G");
	if (rc || stat(r->file, &st))
		return -1;
	r->judge = !quick;
	r->passes = quick ? 2 : 6;
	r->tokens = quick ? 8 : 128;
	snprintf(r->tier, sizeof(r->tier), "--chunk %s", quick ? "64K" : "2M");
	return 0;
}

/* A row whose bound lies farther below than it may. */
static void judge(struct run *r, const char *what, double fraction, double most, const char *of)
{
	if (!r->judge || (fraction > 0 && 1 / fraction <= most))
		return;
	fprintf(stderr, "%s: %.3f times %s; at most %.2f\n", what,
		fraction > 0 ? 1 / fraction : 0, of, most);
	r->over++;
}

static int whole_passes(struct run *r)
{
	struct stat st;
	double fraction;
	char what[64];
	int rc = stat(r->file, &st);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !rc; i++) {
		if (!r->judge && rows[i].m > SHORT_ROWS)
			continue;
		snprintf(what, sizeof(what), "stream m = %u %s", rows[i].m, rows[i].mode);
		rc = vbrun_bench(what, &fraction,
				 "'%s' stream '%s' --host %lld %s --m %u --mode %s --passes %u --bench",
				 r->vbrun, r->file, (long long)st.st_size / PARTS, r->tier,
				 rows[i].m, rows[i].mode, r->passes);
		if (!rc)
			judge(r, what, fraction, TIME_MOST, "the larger of arithmetic and transfer");
	}
	return rc;
}

static int routed_tokens(struct run *r)
{
	double fraction;
	char what[64];
	int rc = 0;

	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]) && !rc; i++) {
		snprintf(what, sizeof(what), "route zipf seed %u", seeds[i]);
		rc = vbrun_bench(what, &fraction,
				 "'%s' stream '%s' %s --route zipf --tokens %u --seed %u --bench",
				 r->vbrun, r->file, r->tier, r->tokens, seeds[i]);
		if (!rc)
			judge(r, what, fraction, BYTES_MOST, "the fewest bytes");
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct run r = { 0 };
	int rc;

	if (argc > 2) {
		fprintf(stderr, "usage: stream [CHECKPOINT]\n");
		return 2;
	}
	if (prepare(&r, argv[0], argv[1])) {
		fprintf(stderr, "stream: no checkpoint %s\n", r.file);
		return 1;
	}
	vbrun_head();
	rc = whole_passes(&r);
	if (!rc)
		rc = routed_tokens(&r);
	return rc || r.over;
}

// SPDX-License-Identifier: MIT
/*
 * MiniLM (or a generated model) in a host tier of a quarter of its packed weights:
 * milliseconds a text beside F32 in the same tier, and beside itself with all weights
 * in memory (fraction = bound / ours).
 */
#include "common/bench_util.h"
#include "vbrun.h"

int main(int argc, char **argv)
{
	static const char *const how[][2] = { { "mxfp4", "a16" }, { "mxfp4", "a8" },
					      { "int8", "a16" }, { "int8", "a8" } };
	char vbrun[1024], what[64];
	int rc = 0;

	if (argc > 1) {
		fprintf(stderr, "usage: embed\n");
		return 2;
	}
	vbrun_path(argv[0], vbrun, sizeof(vbrun));
	vbrun_head();
	for (size_t i = 0; i < (bench_short() ? 1 : sizeof(how) / sizeof(how[0])) && !rc; i++) {
		snprintf(what, sizeof(what), "embed %s %s", how[i][0], how[i][1]);
		rc = vbrun_bench(what, NULL, "'%s' embed --format %s --mode %s --bench%s", vbrun,
				 how[i][0], how[i][1], bench_short() ? " --passes 1" : "");
	}
	return rc != 0;
}

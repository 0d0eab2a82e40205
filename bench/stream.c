// SPDX-License-Identifier: MIT
/*
 * A 2 GiB checkpoint through a host tier of 512 MiB: seconds a pass beside the larger
 * of its arithmetic and its bytes over the probed bandwidth (fraction = bound / ours),
 * and beside what LRU would have to read. Then experts chosen at run time: bytes a
 * token beside the optimum and LRU.
 */
#include <unistd.h>

#include "vbrun.h"

int main(int argc, char **argv)
{
	static const unsigned int rows[] = { 1, 32, 512 };
	char vbrun[1024], cache[1024], file[2048], what[64];
	int rc = 0;

	if (argc > 2) {
		fprintf(stderr, "usage: stream [CHECKPOINT]\n");
		return 2;
	}
	vbrun_path(argv[0], vbrun, sizeof(vbrun));
	vbrun_cache(cache, sizeof(cache));
	snprintf(file, sizeof(file), "%s/generated-moe-2g.safetensors", cache);
	if (argc == 2)
		snprintf(file, sizeof(file), "%s", argv[1]);
	if (access(file, R_OK)) {
		snprintf(what, sizeof(what), "generating");
		rc = vbrun_bench(what, "mkdir -p '%s' && '%s' gen '%s' --size 2G >/dev/null", cache,
				 vbrun, file);
	}
	vbrun_head();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !rc; i++) {
		snprintf(what, sizeof(what), "stream m = %u", rows[i]);
		rc = vbrun_bench(what, "'%s' stream '%s' --host 512M --m %u --mode %s --passes 6 --bench",
				 vbrun, file, rows[i], rows[i] == 1 ? "a16" : "a8");
	}
	if (!rc)
		rc = vbrun_bench("route zipf",
				 "'%s' stream '%s' --host 512M --route zipf --tokens 128 --bench",
				 vbrun, file);
	return rc != 0;
}

// SPDX-License-Identifier: MIT
#include "reads.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "common/size.h"
#include "common/summary.h"
#include "process.h"

/* A thread that was just woken begins its read well within this, on a busy machine too. */
#define SETTLE_NS	20000000
#define LOOK_NS		2000000
#define LOOKS_MAX	100u

static const struct {
	const char *key, *what;
} parts[READS_PARTS] = {
	[READS_PROGRAM] = { "program_bytes", "program and libraries" },
	[READS_HEADER] = { "header_bytes", "header of the file" },
	[READS_LAYERS] = { "layers_bytes", "packing of layers" },
	[READS_ENGINE] = { "engine_bytes", "choice of an engine" },
	[READS_PROBE] = { "probe_bytes", "bandwidth probes" },
	[READS_COMPARE] = { "compare_bytes", "comparing the packed" },
	[READS_COMPUTE] = { "compute_bytes", "arithmetic alone" },
};

static uint64_t settled(void)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	uint64_t before = process_read_bytes(), now = before;
	uint32_t quiet_ns = 0;

	for (uint32_t i = 0; i < LOOKS_MAX && quiet_ns < SETTLE_NS; i++) {
		nanosleep(&pause, NULL);
		now = process_read_bytes();
		quiet_ns = now == before ? quiet_ns + LOOK_NS : 0;
		before = now;
	}
	return now;
}

uint64_t reads_take(struct reads *r, enum reads_part part)
{
	uint64_t now = settled(), bytes = now - r->seen;

	r->seen = now;
	r->part[part] += bytes;
	return bytes;
}

void reads_opened(struct reads *r, uint64_t content)
{
	reads_take(r, READS_ENGINE);
	if (content > r->part[READS_ENGINE])
		content = r->part[READS_ENGINE];
	r->part[READS_ENGINE] -= content;
	r->part[READS_CONTENT] += content;
}

static void print_content(const struct reads *r)
{
	uint64_t read = r->part[READS_CONTENT];

	printf("  %-20s %12s\n", "content, asked for", size_text(r->content).s);
	if (read > r->content)
		printf("  %-20s %12s   (the kernel's read-ahead)\n", "beyond it",
		       size_text(read - r->content).s);
	else if (read < r->content)
		printf("  %-20s %12s   (of that; it cost no read)\n", "found in page cache",
		       size_text(r->content - read).s);
}

void reads_print(const struct reads *r)
{
	if (!r->seen)
		return;
	printf("%-22s %12s   (by the process, as /proc/self/io counts)\n", "read from storage",
	       size_text(r->seen).s);
	print_content(r);
	for (uint32_t i = 0; i < READS_PARTS; i++)
		if (parts[i].key && r->part[i])
			printf("  %-20s %12s\n", parts[i].what, size_text(r->part[i]).s);
}

void reads_summary(const struct reads *r, struct json_object *o)
{
	struct json_object *storage = summary_object(o, "storage");
	uint64_t read = r->part[READS_CONTENT];

	summary_bytes(storage, "storage_read_bytes", r->seen);
	summary_bytes(storage, "content_bytes", r->content);
	summary_bytes(storage, "beyond_content_bytes", read > r->content ? read - r->content : 0);
	summary_bytes(storage, "page_cache_bytes", read < r->content ? r->content - read : 0);
	for (uint32_t i = 0; i < READS_PARTS; i++)
		if (parts[i].key)
			summary_bytes(storage, parts[i].key, r->part[i]);
}

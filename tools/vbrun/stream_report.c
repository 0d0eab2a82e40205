// SPDX-License-Identifier: MIT
/* What vbrun stream prints: the passes, what they are compared with, a summary. */
#include "stream.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "common/summary.h"

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Passes that count: all but the first, unless it is the only one. */
static uint32_t first_steady(const struct stream_result *r)
{
	return r->count > 1;
}

static double median_seconds(const struct stream_result *r)
{
	uint32_t first = first_steady(r), n = r->count - first;
	double *list = calloc(n + 1, sizeof(*list)), median;

	if (!list || !n) {
		free(list);
		return 0;
	}
	for (uint32_t i = 0; i < n; i++)
		list[i] = r->passes[first + i].seconds;
	qsort(list, n, sizeof(*list), by_value);
	median = list[n / 2];
	free(list);
	return median;
}

/* Sum of a counter over the passes that count. */
static uint64_t steady(const struct stream_result *r, enum vgpu_counter which)
{
	uint64_t sum = 0;

	for (uint32_t i = first_steady(r); i < r->count; i++)
		sum += r->passes[i].c.c[which];
	return sum;
}

/**
 * struct stream_figures - a pass in the steady state
 * @seconds: median wall time
 * @read: bytes read, mean
 * @best: bytes that the optimum reads, mean; 0 when not known
 * @lru: bytes that LRU reads
 * @hits: part of chunk uses that were in the tier
 * @stall: part of busy time waiting for bytes
 * @compute: seconds of the arithmetic alone, 0 when not measured
 * @derive: seconds of packing
 * @bound: max(arithmetic, bytes read / bandwidth), 0 when not measured
 */
struct stream_figures {
	double seconds, read, best, lru, hits, stall, compute, derive, bound;
};

/*
 * What a miss costs to read: a chunk, but of packed weights the bytes that the chunk is made
 * from, which differ from type to type; then what ours cost on average.
 */
static double miss_bytes(const struct stream_result *r, double read)
{
	uint64_t misses = r->count > 1 ? r->optimum.ours.later : r->optimum.ours.all;

	if (r->conversions->count && misses)
		return read / (double)misses;
	return (double)r->optimum.chunk_bytes;
}

static struct stream_figures figures(const struct stream_result *r)
{
	uint32_t passes = r->count - first_steady(r);
	double busy = (double)steady(r, VGPU_COUNT_BUSY_NS);
	double uses = (double)steady(r, VGPU_COUNT_ACCESSES);
	struct stream_figures f = { .seconds = median_seconds(r) };
	double chunk;

	if (!passes)
		return f;
	f.read = (double)steady(r, VGPU_COUNT_READ_BYTES) / passes;
	chunk = miss_bytes(r, f.read * passes);
	f.derive = (double)steady(r, VGPU_COUNT_DERIVE_NS) / 1e9 / passes;
	f.hits = uses > 0 ? (double)steady(r, VGPU_COUNT_HITS) / uses : 0;
	f.stall = busy > 0 ? (double)steady(r, VGPU_COUNT_STALL_NS) / busy : 0;
	f.best = (double)(r->count > 1 ? r->optimum.best.later : r->optimum.best.all) * chunk /
		 passes;
	f.lru = (double)(r->count > 1 ? r->optimum.lru.later : r->optimum.lru.all) * chunk /
		passes;
	f.compute = arithmetic_seconds(&r->arithmetic);
	f.bound = f.compute;
	if (r->probe.bytes_per_second > 0)
		f.bound = fmax(f.bound, f.read / r->probe.bytes_per_second);
	return f;
}

/* --- reports ------------------------------------------------------------ */

static void print_passes(const struct stream_result *r)
{
	printf("\n%-9s %10s %9s %11s %7s %7s\n", "pass", "time", "GB/s", "read", "hits", "stall");
	for (uint32_t i = 0; i < r->count; i++) {
		const struct stream_pass *p = &r->passes[i];
		double uses = (double)p->c.c[VGPU_COUNT_ACCESSES];

		printf("%3u%-6s %10s %9.2f %11s %6.1f%% %6.1f%%\n", i + 1, i ? "" : " cold",
		       size_seconds(p->seconds).s, (double)r->weight_bytes / p->seconds / 1e9,
		       size_text(p->c.c[VGPU_COUNT_READ_BYTES]).s,
		       uses > 0 ? 100 * (double)p->c.c[VGPU_COUNT_HITS] / uses : 0,
		       100 * counters_stall(&p->c));
	}
}

/* Part of the recorded uses that found their chunk, activations included. */
static double later_hits(const struct stream_result *r, const struct optimum_row *row)
{
	uint64_t uses = r->optimum.uses;

	if (r->count > 1)
		uses -= uses / r->count;
	return uses ? 1 - (double)(r->count > 1 ? row->later : row->all) / (double)uses : 0;
}

/* Layers of AWQ and GPTQ were packed before the passes. */
static bool packs_in_passes(const struct stream_result *r)
{
	for (uint32_t i = 0; i < r->conversions->count; i++)
		if (r->conversions->list[i].from != VGPU_FORMAT_NONE)
			return true;
	return false;
}

static void print_comparison(const struct stream_result *r, const struct stream_figures *f)
{
	printf("\n%-22s %12s %12s %12s\n", "a pass, steady", "ours", "optimum", "lru");
	printf("%-22s %12s %12s %12s\n", "bytes read", size_text((uint64_t)f->read).s,
	       size_text((uint64_t)f->best).s, size_text((uint64_t)f->lru).s);
	if (f->best > 0)
		printf("%-22s %12.3f %12.3f %12.3f\n", "against the optimum", f->read / f->best, 1.0,
		       f->lru / f->best);
	if (f->read < f->best)
		printf("%s\n", optimum_below_one);
	printf("%-22s %11.1f%% %11.1f%% %11.1f%%\n", "hits", 100 * later_hits(r, &r->optimum.ours),
	       100 * later_hits(r, &r->optimum.best), 100 * later_hits(r, &r->optimum.lru));
	printf("%-22s %12s\n", "time", size_seconds(f->seconds).s);
	if (packs_in_passes(r))
		printf("%-22s %12s   (on the threads that compute)\n", "packing",
		       size_seconds(f->derive).s);
	if (f->compute > 0)
		printf("%-22s %12s   (on %.0f %% of the weights, scaled)\n", "arithmetic alone",
		       size_seconds(f->compute).s, 100 * r->arithmetic.share);
	if (r->probe.bytes_per_second > 0) {
		printf("%-22s %12s   (%s)\n", "bytes / bandwidth",
		       size_seconds(f->read / r->probe.bytes_per_second).s, r->probe.reason);
	}
	printf("%-22s %12.2f   (time / the larger of the two)\n", "against the bound",
	       f->bound > 0 ? f->seconds / f->bound : 0);
}

void stream_print_reserve(const struct stream_options *o, uint64_t staging_bytes)
{
	uint64_t host_bytes = o->device.host_bytes;

	printf("%-22s %12s   (%.1f %% of the host tier of %s%s)\n", "staging reserve",
	       size_text(staging_bytes).s, 100.0 * (double)staging_bytes / (double)host_bytes,
	       size_text(host_bytes).s,
	       staging_bytes > host_bytes / 20 ? ": the least that two panels take" : "");
}

static void print_result(const struct stream_options *o, const struct stream_result *r)
{
	struct stream_figures f = figures(r);

	print_passes(r);
	if (r->count && !o->no_compare)
		print_comparison(r, &f);
	reads_print(&r->reads);
	printf("%-22s %016" PRIx64 "\n", "digest of outputs", r->digest);
	stream_print_reserve(o, r->staging_bytes);
	if (r->staging[0])
		device_print_staging(r->staging, 22);
	printf("%-22s %12s\n", "peak memory (VmHWM)", size_text(r->peak).s);
	if (r->bar)
		printf("\n%s", r->bar);
	if (r->count)
		printf("\nstream: %s weights in %s, m = %u: %.2f GB/s, %.1f %% hits, stall %.1f %%\n",
		       size_text(r->weight_bytes).s, size_text(r->host_bytes).s, o->m,
		       (double)r->weight_bytes / f.seconds / 1e9, 100 * f.hits, 100 * f.stall);
}

static void summarise_passes(const struct stream_result *r)
{
	struct json_object *list = summary_list(r->json, "passes"), *item;

	for (uint32_t i = 0; i < r->count; i++) {
		item = summary_item(list);
		summary_bytes(item, "ns", (uint64_t)(r->passes[i].seconds * 1e9));
		summary_bytes(item, "process_read_bytes", r->passes[i].process_read);
		counters_summary(item, &r->passes[i].c);
	}
}

static void summarise_comparison(const struct stream_result *r)
{
	struct json_object *o = summary_object(r->json, "optimum");

	summary_bytes(o, "chunk_bytes", r->optimum.chunk_bytes);
	summary_bytes(o, "capacity_chunks", r->optimum.capacity);
	summary_bytes(o, "staging_chunks", r->optimum.staging);
	summary_bytes(o, "uses", r->optimum.uses);
	summary_bytes(o, "our_misses", r->optimum.ours.all);
	summary_bytes(o, "our_misses_later", r->optimum.ours.later);
	summary_bytes(o, "optimum_misses", r->optimum.best.all);
	summary_bytes(o, "optimum_misses_later", r->optimum.best.later);
	summary_bytes(o, "lru_misses", r->optimum.lru.all);
	summary_bytes(o, "lru_misses_later", r->optimum.lru.later);
	summary_real(o, "our_hits", later_hits(r, &r->optimum.ours));
	summary_real(o, "optimum_hits", later_hits(r, &r->optimum.best));
	summary_real(o, "lru_hits", later_hits(r, &r->optimum.lru));
	summary_bytes(r->json, "compute_ns",
		      (uint64_t)(arithmetic_seconds(&r->arithmetic) * 1e9));
	summary_real(r->json, "compute_share", r->arithmetic.share);
	summary_bytes(r->json, "probe_bytes_per_second", (uint64_t)r->probe.bytes_per_second);
	if (r->probe.bytes_per_second > 0)
		summary_text(r->json, "probe_reason", r->probe.reason);
}

static void summarise(const struct stream_options *o, const struct weights *w,
		      struct stream_result *r)
{
	struct stream_figures f = figures(r);
	struct json_object *list, *item;

	summary_text(r->json, "file", o->path);
	summary_bytes(r->json, "m", o->m);
	summary_text(r->json, "mode", stream_modes[o->mode]);
	summary_text(r->json, "policy", device_policies[o->device.policy]);
	summary_bytes(r->json, "host_bytes", r->host_bytes);
	summary_bytes(r->json, "staging_bytes", r->staging_bytes);
	summary_bytes(r->json, "matrices", w->count);
	summary_bytes(r->json, "source_bytes", w->bytes);
	summary_bytes(r->json, "weight_bytes", r->weight_bytes);
	conversions_summary(r->conversions, r->json);
	summary_text(r->json, "packed_file",
		     w->packed ? vgpu_checkpoint_file_path(w->packed, 0) : "");
	list = summary_list(r->json, "skipped");
	for (uint32_t i = 0; i < w->skip_count; i++) {
		item = summary_item(list);
		summary_text(item, "why", w->skips[i].why);
		summary_bytes(item, "tensors", w->skips[i].count);
		summary_bytes(item, "bytes", w->skips[i].bytes);
	}
	summarise_passes(r);
	if (r->count) {
		summary_bytes(r->json, "pass_ns", (uint64_t)(f.seconds * 1e9));
		summary_bytes(r->json, "pass_read_bytes", (uint64_t)f.read);
		summary_real(r->json, "hits", f.hits);
		summary_real(r->json, "stall", f.stall);
	}
	if (r->count && !o->no_compare) {
		summary_bytes(r->json, "pass_optimum_bytes", (uint64_t)f.best);
		summary_bytes(r->json, "pass_lru_bytes", (uint64_t)f.lru);
		summary_bytes(r->json, "bound_ns", (uint64_t)(f.bound * 1e9));
		summarise_comparison(r);
	}
	reads_summary(&r->reads, r->json);
	summary_digest(r->json, r->digest);
	summary_bytes(r->json, "vm_hwm_bytes", r->peak);
}

int stream_save(const struct stream_options *o, struct json_object *json)
{
	int rc = o->save ? summary_save(json, o->save) : 0;

	if (o->json && !o->bench)
		summary_print(json_object_get(json));
	return rc ? cli_fail("%s: %s", o->save, part_why(rc)) : CLI_OK;
}

/* The format that most bytes are in. */
static enum vgpu_format main_format(const struct weights *w)
{
	enum vgpu_format best = VGPU_FORMAT_NONE;
	uint64_t most = 0, bytes;

	for (size_t i = 0; i < w->count; i++) {
		bytes = 0;
		for (size_t j = 0; j < w->count; j++)
			if (w->list[j].used == w->list[i].used)
				bytes += w->list[j].used_bytes;
		if (bytes > most) {
			most = bytes;
			best = w->list[i].used;
		}
	}
	return best;
}

/*
 * Documentation/bench.md has the keys. The peer has our arithmetic and all the bandwidth,
 * and reads what LRU reads.
 */
static void bench_line(const struct stream_options *o, const struct weights *w,
		       const struct stream_result *r)
{
	struct stream_figures f = figures(r);
	struct json_object *line = json_object_new_object();
	double rate = r->probe.bytes_per_second;
	double theirs = rate > 0 ? fmax(f.compute, f.lru / rate) : 0;

	summary_text(line, "bench", "stream");
	summary_text(line, "weight", vgpu_format_name(main_format(w)));
	summary_text(line, "mode", stream_modes[o->mode]);
	summary_bytes(line, "m", o->m);
	summary_bytes(line, "threads", r->threads);
	summary_text(line, "residency", "nvme");
	summary_text(line, "policy", device_policies[o->device.policy]);
	summary_text(line, "unit", "s");
	summary_real(line, "ours", f.seconds);
	if (theirs > 0) {
		summary_text(line, "peer", "lru: max(compute, bytes / bandwidth)");
		summary_real(line, "theirs", theirs);
		summary_real(line, "ratio", theirs / f.seconds);
	}
	if (f.bound > 0) {
		summary_real(line, "bound", f.bound);
		summary_real(line, "fraction", f.bound / f.seconds);
	}
	summary_bytes(line, "runs", r->count - first_steady(r));
	summary_real(line, "compute", f.compute);
	summary_real(line, "compute_share", r->arithmetic.share);
	summary_real(line, "bytes_per_bandwidth", rate > 0 ? f.read / rate : 0);
	summary_real(line, "stall", f.stall);
	summary_print_line(line);
}

int stream_report(const struct stream_options *o, const struct weights *w,
		  struct stream_result *r)
{
	summarise(o, w, r);
	if (o->bench)
		bench_line(o, w, r);
	else if (!o->json)
		print_result(o, r);
	return stream_save(o, r->json);
}

// SPDX-License-Identifier: MIT
/*
 * vbrun stream: every weight matrix of a checkpoint, pass after pass, through a host
 * tier that is smaller than the model.
 *
 * The first pass reads everything; what counts is the later ones. Beside them stand
 * the fewest bytes that any policy could have read (from the recorded trace), the
 * time that the arithmetic alone takes (the same products over a sample of the
 * weights that fits the tier, scaled by bytes), and what the storage can deliver.
 */
#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/probe.h"
#include "common/size.h"
#include "common/summary.h"
#include "matrices.h"
#include "optimum.h"
#include "residency.h"

#define Y_BYTES_MAX ((uint64_t)8 << 20)
#define PROBE_BYTES ((uint64_t)512 << 20)
#define COMPUTE_SECONDS 1.0
#define PASSES_MAX 1000u

const char *const stream_modes[] = { "f32", "a16", "a8", NULL };

/**
 * struct stream_pass - one pass
 * @seconds: wall time
 * @process_read: bytes that the process read from storage meanwhile
 * @c: counters of the pass
 */
struct stream_pass {
	double seconds;
	uint64_t process_read;
	struct counters c;
};

/**
 * struct stream_result - all that is reported
 * @passes: one entry each
 * @count: passes that ran
 * @weight_bytes: of one pass
 * @digest: of the outputs of the last pass
 * @optimum: from the trace; uses is 0 when it was not made
 * @compute: seconds of the arithmetic of a pass, 0 when not measured
 * @compute_share: part of the weights it was measured on
 * @probe: bytes_per_second is 0 when not measured
 * @bar: where every object was at the end, as text
 */
struct stream_result {
	struct stream_pass *passes;
	uint32_t count;
	uint64_t weight_bytes, digest;
	struct optimum optimum;
	double compute, compute_share;
	struct probe probe;
	uint64_t host_bytes, staging_bytes;
	char *bar;
	struct json_object *json;
};

static uint64_t proc_number(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	unsigned long long value = 0;
	size_t length = strlen(key);
	char line[160];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, length))
			value = strtoull(line + length, NULL, 10);
	fclose(f);
	return value;
}

uint64_t stream_peak_bytes(void)
{
	return proc_number("/proc/self/status", "VmHWM:") * 1024;
}

uint64_t stream_process_read_bytes(void)
{
	return proc_number("/proc/self/io", "read_bytes:");
}

int stream_trace(const struct stream_options *o, char *path, size_t len, bool *out_temporary)
{
	const char *folder = getenv("TMPDIR");
	int fd;

	*out_temporary = !o->device.trace;
	if (o->device.trace)
		return snprintf(path, len, "%s", o->device.trace) < (int)len ? 0 : -ENAMETOOLONG;
	if (snprintf(path, len, "%s/vbrun-trace-XXXXXX", folder ? folder : "/tmp") >= (int)len)
		return -ENAMETOOLONG;
	fd = mkstemp(path);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* --- the passes --------------------------------------------------------- */

static int one_pass(struct matrices *ms, struct progress *progress, uint64_t done,
		    struct stream_pass *out)
{
	struct counters before;
	double start = size_now();
	uint64_t read = stream_process_read_bytes();
	int rc;

	counters_read(ms->v, &before);
	rc = matrices_pass(ms, progress, done);
	out->seconds = size_now() - start;
	out->process_read = stream_process_read_bytes() - read;
	out->c = counters_since(ms->v, &before);
	return rc;
}

static int run_passes(const struct stream_options *o, struct matrices *ms,
		      struct stream_result *r)
{
	struct progress progress;
	int rc = 0;

	progress_begin(&progress, "stream", ms->bytes * o->passes);
	for (r->count = 0; r->count < o->passes && !rc; r->count++)
		rc = one_pass(ms, &progress, ms->bytes * r->count, &r->passes[r->count]);
	progress_end(&progress);
	return rc;
}

/* Rows of the residency bar: one a file, one for all that is not a weight. */
static void show_objects(struct matrices *ms, struct stream_result *r)
{
	size_t files = vgpu_checkpoint_file_count(ms->ck);
	struct residency_row *rows = calloc(files + 3, sizeof(*rows));
	FILE *to;
	size_t bytes;
	uint32_t n = 0;

	if (!rows)
		return;
	for (size_t i = 0; i < files; i++) {
		const char *path = vgpu_checkpoint_file_path(ms->ck, i);
		const char *slash = strrchr(path, '/');

		rows[n++] = (struct residency_row){ slash ? slash + 1 : path, { ms->files[i] } };
	}
	rows[n++] = (struct residency_row){ "activations", { ms->x } };
	rows[n++] = (struct residency_row){ "products", { ms->y } };
	rows[n++] = (struct residency_row){ "digest", { ms->digest } };
	residency_summary(rows, n, r->json);
	/* Printed after the figures; by then the objects are gone. */
	to = open_memstream(&r->bar, &bytes);
	if (to) {
		residency_print(rows, n, to);
		fclose(to);
	}
	free(rows);
}

static int stream_on(const struct stream_options *o, struct vgpu *v,
		     const struct vgpu_checkpoint *ck, const struct weights *w,
		     struct stream_result *r)
{
	struct matrices ms = { .v = v, .m = o->m, .mode = (enum vgpu_mode)o->mode };
	struct vgpu_device_info info = { .size = sizeof(info) };
	int rc;

	vgpu_device_info(v, &info);
	r->staging_bytes = info.staging_bytes;
	if (!o->json && !o->bench)
		device_print(v);
	rc = matrices_open(&ms, ck, w, 0, Y_BYTES_MAX);
	if (!rc)
		rc = matrices_declare(&ms);
	r->weight_bytes = ms.bytes;
	if (!rc)
		rc = run_passes(o, &ms, r);
	if (!rc && r->count)
		rc = matrices_digest(&ms, &r->digest);
	if (!rc) {
		device_summary(v, r->json);
		show_objects(&ms, r);
	} else if (rc != -EINTR) {
		cli_fail_vgpu(rc, "%s", o->path);
	}
	matrices_close(&ms);
	return rc;
}

/* The measured run, on a device of its own, whose trace is complete when it is closed. */
static int measure_stream(const struct stream_options *o, const char *trace,
			  const struct vgpu_checkpoint *ck, const struct weights *w,
			  struct stream_result *r)
{
	struct device_options device = o->device;
	struct vgpu *v;
	int rc;

	device.trace = trace;
	rc = device_open(&device, &v);
	if (rc)
		return rc;
	rc = stream_on(o, v, ck, w, r);
	vgpu_close(v);
	return rc == -EINTR ? CLI_INTERRUPTED : rc ? CLI_FAILED : CLI_OK;
}

/* --- what it is compared with ------------------------------------------- */

/*
 * Products over a sample that fits into the tier: no storage, only arithmetic.
 * -EAGAIN when something was read after all; -ENODATA when no matrix is so small.
 */
static int compute_on(const struct stream_options *o, struct vgpu *v,
		      const struct vgpu_checkpoint *ck, const struct weights *w, uint64_t room,
		      struct stream_result *r)
{
	struct matrices ms = { .v = v, .m = o->m, .mode = (enum vgpu_mode)o->mode };
	struct counters before, c;
	double start, seconds = 0;
	uint32_t passes = 0;
	int rc;

	rc = matrices_open(&ms, ck, w, room, Y_BYTES_MAX);
	if (!rc)
		rc = matrices_declare(&ms);
	if (!rc)
		rc = matrices_pass(&ms, NULL, 0);
	counters_read(v, &before);
	start = size_now();
	while (!rc && seconds < COMPUTE_SECONDS) {
		rc = matrices_pass(&ms, NULL, 0);
		seconds = size_now() - start;
		passes++;
	}
	c = counters_since(v, &before);
	if (!rc && c.c[VGPU_COUNT_READ_BYTES])
		rc = -EAGAIN;
	if (!rc) {
		r->compute_share = (double)ms.bytes / (double)r->weight_bytes;
		r->compute = seconds / passes / r->compute_share;
	} else if (rc != -EINTR && rc != -ENODATA && rc != -EAGAIN) {
		cli_fail_vgpu(rc, "compute-only run");
	}
	matrices_close(&ms);
	return rc;
}

static int measure_compute(const struct stream_options *o, const struct vgpu_checkpoint *ck,
			   const struct weights *w, struct stream_result *r)
{
	struct device_options device = o->device;
	uint64_t room = (r->host_bytes - r->staging_bytes) / 10 * 8;
	struct vgpu *v;
	int rc;

	device.trace = NULL;
	/* Small matrices far apart take whole chunks: then a smaller sample fits. */
	do {
		rc = device_open(&device, &v);
		if (rc)
			return rc;
		rc = compute_on(o, v, ck, w, room, r);
		vgpu_close(v);
		room /= 2;
	} while (rc == -EAGAIN);
	/* Without a sample there is no such figure; the rest stands. */
	if (rc == -ENODATA)
		return CLI_OK;
	return rc == -EINTR ? CLI_INTERRUPTED : rc ? CLI_FAILED : CLI_OK;
}

static int largest_file(const struct vgpu_checkpoint *ck)
{
	size_t best = 0;

	for (size_t i = 1; i < vgpu_checkpoint_file_count(ck); i++)
		if (vgpu_checkpoint_file_identity(ck, i)->bytes >
		    vgpu_checkpoint_file_identity(ck, best)->bytes)
			best = i;
	return vgpu_checkpoint_file_fd(ck, best);
}

static int compare(const struct stream_options *o, const char *trace,
		   const struct vgpu_checkpoint *ck, const struct weights *w,
		   struct stream_result *r)
{
	int rc;

	rc = optimum_of_trace(trace, o->passes, &r->optimum);
	if (rc)
		return cli_fail("trace %s: %s", trace, strerror(-rc));
	rc = measure_compute(o, ck, w, r);
	if (rc)
		return rc;
	rc = probe_file(largest_file(ck), (uint32_t)o->device.chunk_bytes, PROBE_BYTES, &r->probe);
	/* A file too short to probe has no bandwidth to compare with; the rest stands. */
	if (rc && rc != -ENODATA)
		return cli_fail("%s: bandwidth probe: %s", o->path, strerror(-rc));
	return CLI_OK;
}

/* --- figures ------------------------------------------------------------ */

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
 * @bound: max(arithmetic, bytes read / bandwidth), 0 when not measured
 */
struct stream_figures {
	double seconds, read, best, lru, hits, stall, bound;
};

static struct stream_figures figures(const struct stream_result *r)
{
	uint32_t passes = r->count - first_steady(r);
	double busy = (double)steady(r, VGPU_COUNT_BUSY_NS);
	double uses = (double)steady(r, VGPU_COUNT_ACCESSES);
	struct stream_figures f = { .seconds = median_seconds(r) };
	double chunk = (double)r->optimum.chunk_bytes;

	if (!passes)
		return f;
	f.read = (double)steady(r, VGPU_COUNT_READ_BYTES) / passes;
	f.hits = uses > 0 ? (double)steady(r, VGPU_COUNT_HITS) / uses : 0;
	f.stall = busy > 0 ? (double)steady(r, VGPU_COUNT_STALL_NS) / busy : 0;
	f.best = (double)(r->count > 1 ? r->optimum.best.later : r->optimum.best.all) * chunk /
		 passes;
	f.lru = (double)(r->count > 1 ? r->optimum.lru.later : r->optimum.lru.all) * chunk /
		passes;
	f.bound = r->compute;
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

static void print_comparison(const struct stream_result *r, const struct stream_figures *f)
{
	printf("\n%-22s %12s %12s %12s\n", "a pass, steady", "ours", "optimum", "lru");
	printf("%-22s %12s %12s %12s\n", "bytes read", size_text((uint64_t)f->read).s,
	       size_text((uint64_t)f->best).s, size_text((uint64_t)f->lru).s);
	if (f->best > 0)
		printf("%-22s %12.3f %12.3f %12.3f\n", "against the optimum", f->read / f->best, 1.0,
		       f->lru / f->best);
	printf("%-22s %12s\n", "time", size_seconds(f->seconds).s);
	if (r->compute > 0)
		printf("%-22s %12s   (on %.0f %% of the weights, scaled)\n", "arithmetic alone",
		       size_seconds(r->compute).s, 100 * r->compute_share);
	if (r->probe.bytes_per_second > 0) {
		printf("%-22s %12s   (%s)\n", "bytes / bandwidth",
		       size_seconds(f->read / r->probe.bytes_per_second).s, r->probe.reason);
	}
	printf("%-22s %12.2f   (time / the larger of the two)\n", "against the bound",
	       f->bound > 0 ? f->seconds / f->bound : 0);
}

static void print_result(const struct stream_options *o, const struct stream_result *r)
{
	struct stream_figures f = figures(r);

	print_passes(r);
	if (r->count && !o->no_compare)
		print_comparison(r, &f);
	printf("%-22s %016" PRIx64 "\n", "digest of outputs", r->digest);
	printf("%-22s %12s\n", "peak memory (VmHWM)", size_text(stream_peak_bytes()).s);
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
	summary_bytes(r->json, "compute_ns", (uint64_t)(r->compute * 1e9));
	summary_real(r->json, "compute_share", r->compute_share);
	summary_bytes(r->json, "probe_bytes_per_second", (uint64_t)r->probe.bytes_per_second);
	if (r->probe.bytes_per_second > 0)
		summary_text(r->json, "probe_reason", r->probe.reason);
}

static void summarise(const struct stream_options *o, const struct weights *w,
		      struct stream_result *r)
{
	struct stream_figures f = figures(r);
	struct json_object *list, *item;
	char digest[24];

	snprintf(digest, sizeof(digest), "%016" PRIx64, r->digest);
	summary_text(r->json, "file", o->path);
	summary_bytes(r->json, "m", o->m);
	summary_text(r->json, "mode", stream_modes[o->mode]);
	summary_text(r->json, "policy", device_policies[o->device.policy]);
	summary_bytes(r->json, "host_bytes", r->host_bytes);
	summary_bytes(r->json, "staging_bytes", r->staging_bytes);
	summary_bytes(r->json, "matrices", w->count);
	summary_bytes(r->json, "weight_bytes", r->weight_bytes);
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
	summary_text(r->json, "digest", digest);
	summary_bytes(r->json, "vm_hwm_bytes", stream_peak_bytes());
}

int stream_save(const struct stream_options *o, struct json_object *json)
{
	int rc = o->save ? summary_save(json, o->save) : 0;

	if (o->json && !o->bench)
		summary_print(json_object_get(json));
	return rc ? cli_fail("%s: %s", o->save, strerror(-rc)) : CLI_OK;
}

/* The keys that every benchmark line has. */
static void bench_line(const struct stream_options *o, const struct weights *w,
		       const struct stream_result *r)
{
	struct stream_figures f = figures(r);
	struct json_object *line = json_object_new_object();

	summary_text(line, "bench", "stream");
	summary_text(line, "weight", w->count ? vgpu_format_name(w->list[0].format) : "none");
	summary_text(line, "mode", stream_modes[o->mode]);
	summary_bytes(line, "m", o->m);
	summary_bytes(line, "threads", o->device.threads);
	summary_text(line, "residency", "nvme");
	summary_text(line, "policy", device_policies[o->device.policy]);
	summary_text(line, "unit", "s");
	summary_real(line, "ours", f.seconds);
	summary_text(line, "peer", "bytes of lru / bandwidth");
	summary_real(line, "theirs", r->probe.bytes_per_second > 0 ?
		     fmax(r->compute, f.lru / r->probe.bytes_per_second) : 0);
	summary_real(line, "ratio", r->probe.bytes_per_second > 0 ?
		     fmax(r->compute, f.lru / r->probe.bytes_per_second) / f.seconds : 0);
	summary_real(line, "bound", f.bound);
	summary_real(line, "fraction", f.bound / f.seconds);
	summary_bytes(line, "runs", r->count - first_steady(r));
	summary_print_line(line);
}

/* --- the command -------------------------------------------------------- */

static void print_model(const struct stream_options *o, const struct weights *w)
{
	printf("model        %s: %s in %zu matrices, m = %u, mode %s\n", o->path,
	       size_text(w->bytes).s, w->count, o->m, stream_modes[o->mode]);
	for (uint32_t i = 0; i < w->skip_count; i++)
		printf("skipped      %u tensors, %s: %s\n", w->skips[i].count,
		       size_text(w->skips[i].bytes).s, w->skips[i].why);
}

static int report(const struct stream_options *o, const struct weights *w,
		  struct stream_result *r)
{
	summarise(o, w, r);
	if (o->bench)
		bench_line(o, w, r);
	else if (!o->json)
		print_result(o, r);
	return stream_save(o, r->json);
}

static int stream_all(const struct stream_options *o, const struct vgpu_checkpoint *ck,
		      const struct weights *w)
{
	struct stream_result r = { .host_bytes = o->device.host_bytes };
	char trace[256];
	bool temporary;
	int rc;

	rc = stream_trace(o, trace, sizeof(trace), &temporary);
	if (rc)
		return cli_fail("cannot make a trace file: %s", strerror(-rc));
	r.passes = calloc(o->passes + 1, sizeof(*r.passes));
	r.json = summary_new("stream");
	if (!r.passes || !r.json)
		rc = cli_fail("out of memory");
	if (!rc)
		rc = measure_stream(o, trace, ck, w, &r);
	if (!rc && o->passes && !o->no_compare)
		rc = compare(o, trace, ck, w, &r);
	if (temporary)
		unlink(trace);
	if (!rc)
		rc = report(o, w, &r);
	json_object_put(r.json);
	free(r.passes);
	free(r.bar);
	return rc;
}

static int stream_checkpoint(struct stream_options *o)
{
	struct vgpu_checkpoint *ck;
	struct vgpu_error error;
	struct weights w;
	int rc;

	rc = vgpu_checkpoint_open(o->path, &ck, &error);
	if (rc)
		return cli_fail("%s", error.text);
	if (weights_list(ck, &w)) {
		rc = cli_fail("out of memory");
	} else if (!w.count) {
		rc = cli_fail("%s: none of its %zu tensors is a matrix that a product takes",
			      o->path, vgpu_checkpoint_tensor_count(ck));
	} else {
		if (!o->device.staging_bytes)
			o->device.staging_bytes = weights_default_staging(&w, o->device.host_bytes,
									  o->device.chunk_bytes);
		if (!o->json && !o->bench)
			print_model(o, &w);
		rc = o->route ? stream_route(o, ck, &w) : stream_all(o, ck, &w);
	}
	weights_free(&w);
	vgpu_checkpoint_close(ck);
	return rc;
}

int vbrun_stream(int argc, char **argv)
{
	static const char *const routes[] = { "none", "zipf", NULL };
	struct stream_options o = { .m = 1, .passes = 5, .mode = VGPU_MODE_A16, .tokens = 64 };
	const struct cli_option options[] = {
		DEVICE_OPTIONS(o.device),
		{ "m", CLI_NUMBER, &o.m, "ROWS", "rows of activations (default 1)", NULL, 1, 65536 },
		{ "passes", CLI_NUMBER, &o.passes, "P", "over all weights (default 5)", NULL, 0,
		  PASSES_MAX },
		{ "mode", CLI_CHOICE, &o.mode, "MODE", "activations: f32, a16 (default) or a8",
		  stream_modes, 0, 0 },
		{ "route", CLI_CHOICE, &o.route, "HOW", "zipf: experts chosen at run time", routes,
		  0, 0 },
		{ "tokens", CLI_NUMBER, &o.tokens, "N", "of --route (default 64)", NULL, 1, 1000000 },
		{ "no-compare", CLI_FLAG, &o.no_compare, NULL,
		  "no optimum, probe and compute-only run", NULL, 0, 0 },
		{ "json", CLI_FLAG, &o.json, NULL, "summary as JSON", NULL, 0, 0 },
		{ "save", CLI_TEXT, &o.save, "FILE", "summary as JSON there, text here", NULL, 0, 0 },
		{ "bench", CLI_FLAG, &o.bench, NULL, "one line for bench.jsonl", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbrun stream", "FILE", "Multiply with every weight matrix of a checkpoint, pass after "
		"pass, in little memory.", options, 1, 1,
		"FILE is a .safetensors or .gguf file, or a folder with a sharded model.\n"
		"The time of a pass is compared with the larger of its arithmetic alone and\n"
		"its bytes over the probed bandwidth; the bytes with the fewest possible.\n"
	};
	unsigned int count;
	int rc;

	device_defaults(&o.device, 2 << 20);
	o.device.host_bytes = (uint64_t)512 << 20;
	rc = cli_parse(&command, argc, argv, &count);
	if (rc != CLI_RUN)
		return rc;
	o.path = argv[1];
	return stream_checkpoint(&o);
}

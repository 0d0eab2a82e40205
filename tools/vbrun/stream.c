// SPDX-License-Identifier: MIT
/*
 * vbrun stream: every weight matrix of a checkpoint, pass after pass, through a host
 * tier that is smaller than the model.
 *
 * The first pass reads everything; what counts is the later ones. Beside them stand
 * the fewest bytes that any policy could have read (from the recorded trace), the
 * time that the arithmetic alone takes, and what the storage can deliver.
 */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/intermediates.h"
#include "common/packed_layers.h"
#include "common/size.h"
#include "common/summary.h"
#include "compare_weights.h"
#include "matrices.h"
#include "process.h"
#include "residency.h"

#define HOST_BYTES ((uint64_t)512 << 20)
#define PROBE_BYTES_MAX ((uint64_t)512 << 20)
/* A turn of each engine needs several transfers in flight. */
#define PROBE_CHUNKS_MIN 96u
#define COMPUTE_SECONDS 1.0
#define PASSES_MAX 1000u
#define PASSES 5u
#define ROUTE_TOKENS 64u
#define ROUTE_SEED 20260102u

const char *const stream_modes[] = { "f32", "a16", "a8", "a8-256", NULL };

/* With the fewest reads possible, which its trace tells. */
static bool stream_is_compared(const struct stream_options *o)
{
	return o->route || (o->passes && !o->no_compare);
}

int stream_trace(const struct stream_options *o, char *path, size_t len, int *out_fd)
{
	const char *folder = getenv("TMPDIR");
	struct part part;
	int rc;

	*out_fd = -1;
	*path = 0;
	if (!o->device.trace && !stream_is_compared(o))
		return 0;
	if (o->device.trace) {
		rc = part_find(o->device.trace, &part);
		snprintf(path, len, "%s", rc ? o->device.trace : part.at);
		return rc;
	}
	if (snprintf(path, len, "%s/vbrun-trace-XXXXXX", folder ? folder : "/tmp") >= (int)len)
		return -ENAMETOOLONG;
	*out_fd = mkostemp(path, O_CLOEXEC);
	if (*out_fd < 0)
		return -errno;
	/* Without a name it is gone however the program ends. */
	unlink(path);
	snprintf(path, len, "/proc/self/fd/%d", *out_fd);
	return 0;
}

int stream_trace_none(const struct stream_options *o, const char *path, int rc)
{
	return cli_fail("%s: cannot make a trace file: %s%s%s", path, part_why(rc),
			o->device.trace ? "" : "; TMPDIR names another folder",
			o->device.trace || o->route ? "" : ", --no-compare needs none");
}

int stream_trace_fail(const struct stream_options *o, int rc)
{
	const char *folder = getenv("TMPDIR"), *trace = o->device.trace;
	const char *where = trace ? trace : folder ? folder : "/tmp";

	/* A device leaves an empty one when it could not write all of it. */
	if (rc == -EBADMSG)
		return cli_fail("%s: the trace could not be written whole%s", where,
				trace ? "" : "; TMPDIR names another folder");
	return cli_fail("trace in %s: %s", where, strerror(-rc));
}

/* --- the passes --------------------------------------------------------- */

static int one_pass(struct matrices *ms, struct progress *progress, uint64_t done,
		    struct reads *reads, struct stream_pass *out)
{
	struct counters before;
	double start = size_now();
	int rc;

	counters_read(ms->v, &before);
	rc = matrices_pass(ms, progress, done);
	out->seconds = size_now() - start;
	out->c = counters_since(ms->v, &before);
	out->process_read = reads_take(reads, READS_CONTENT);
	return rc;
}

/* The most that was resident since the last reset belongs to the passes. */
static void take_peak(struct stream_result *r)
{
	uint64_t bytes = process_peak_bytes();

	if (bytes > r->peak)
		r->peak = bytes;
}

/*
 * The probe has buffers of its own, which are not the run's memory. A file too short to
 * probe has no bandwidth to compare with; the rest stands.
 */
static int probe_between(struct stream_result *r)
{
	int rc;

	take_peak(r);
	rc = probe_round(r->rounds);
	reads_take(&r->reads, READS_PROBE);
	process_peak_reset();
	return rc == -ENODATA ? 0 : rc;
}

static int arithmetic_between(struct stream_result *r)
{
	int rc = arithmetic_pass(&r->arithmetic);

	if (rc != -EAGAIN)
		return rc;
	/* Not all of it stays in memory after all: a sample is taken later. */
	arithmetic_close(&r->arithmetic);
	return 0;
}

static int run_passes(const struct stream_options *o, struct matrices *ms,
		      struct stream_result *r)
{
	struct progress progress;
	int rc = 0;

	progress_begin(&progress, "stream", ms->bytes * o->passes);
	for (r->count = 0; r->count < o->passes && !rc; r->count++) {
		rc = one_pass(ms, &progress, ms->bytes * r->count, &r->reads,
			      &r->passes[r->count]);
		progress_update(&progress, ms->bytes * (r->count + 1));
		/* Between the passes, so that a machine that drifts treats all alike. */
		if (!rc && r->rounds)
			rc = probe_between(r);
		if (!rc && r->arithmetic.v)
			rc = arithmetic_between(r);
	}
	progress_end(&progress);
	take_peak(r);
	return rc;
}

/* Rows of the residency bar: one a file, one for all that is not a weight. */
static void show_objects(struct matrices *ms, struct stream_result *r)
{
	size_t files = ms->ops.file_count;
	struct residency_row *rows = calloc(files + 4, sizeof(*rows));
	uint32_t n = 0;

	if (!rows)
		return;
	for (size_t i = 0; i < files; i++) {
		const char *path = vgpu_checkpoint_file_path(ms->ck, i);
		const char *slash = strrchr(path, '/');

		rows[n++] = (struct residency_row){ .name = slash ? slash + 1 : path,
						     .bo = { ms->ops.files[i] } };
	}
	rows[n++] = (struct residency_row){ .name = "packed weights", .more = ms->ops.packed,
					    .more_count = ms->ops.w->count };
	rows[n++] = (struct residency_row){ .name = "activations", .bo = { ms->x } };
	rows[n++] = (struct residency_row){ .name = "products", .bo = { ms->y } };
	rows[n++] = (struct residency_row){ .name = "digest", .bo = { ms->digest } };
	residency_summary(rows, n, r->json);
	/* Printed after the figures; by then the objects are gone. */
	r->bar = residency_text(rows, n);
	free(rows);
}

static uint64_t content_read(struct vgpu *v)
{
	struct counters c;

	counters_read(v, &c);
	return c.c[VGPU_COUNT_READ_BYTES];
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
	r->threads = device_threads(v);
	if (!o->json && !o->bench)
		device_print(v, stdout);
	rc = matrices_open(&ms, ck, w, 0);
	if (!rc)
		rc = matrices_declare(&ms);
	r->weight_bytes = ms.bytes;
	reads_opened(&r->reads, content_read(v));
	if (!rc)
		rc = run_passes(o, &ms, r);
	if (vgpu_describe(v, "staging", r->staging, sizeof(r->staging)) < 0)
		r->staging[0] = 0;
	if (!rc && r->count)
		rc = matrices_digest(&ms, &r->digest);
	reads_take(&r->reads, READS_CONTENT);
	r->reads.content = content_read(v);
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

	device.trace = *trace ? trace : NULL;
	rc = device_open(&device, &v);
	if (rc)
		return rc;
	rc = stream_on(o, v, ck, w, r);
	vgpu_close(v);
	return rc == -EINTR ? CLI_INTERRUPTED : rc ? CLI_FAILED : CLI_OK;
}

/* --- what it is compared with ------------------------------------------- */

/* Unless it was done on all weights between the passes; as many times as take a second. */
static int measure_arithmetic(const struct stream_options *o, const struct vgpu_checkpoint *ck,
			      const struct weights *w, struct stream_result *r)
{
	double start = size_now();
	int rc;

	if (r->arithmetic.count)
		return CLI_OK;
	rc = arithmetic_open_sample(&r->arithmetic, o, ck, w);
	while (!rc && size_now() - start < COMPUTE_SECONDS)
		rc = arithmetic_pass(&r->arithmetic);
	reads_take(&r->reads, READS_COMPUTE);
	/* Without a sample there is no such figure; the rest stands. */
	/* Nor more of it where a sample that was read once does not stay in memory. */
	if (rc == -ENODATA || rc == -EAGAIN)
		return CLI_OK;
	return rc == -EINTR ? CLI_INTERRUPTED : rc ? CLI_FAILED : CLI_OK;
}

static size_t largest_file(const struct vgpu_checkpoint *ck)
{
	size_t best = 0;

	for (size_t i = 1; i < vgpu_checkpoint_file_count(ck); i++)
		if (vgpu_checkpoint_file_identity(ck, i)->bytes >
		    vgpu_checkpoint_file_identity(ck, best)->bytes)
			best = i;
	return best;
}

/* Once over the largest file in a round, unless that is too much or too little. */
static struct probe_rounds *begin_probe(const struct vgpu_checkpoint *ck, uint32_t chunk_bytes)
{
	size_t which = largest_file(ck);
	uint64_t bytes = vgpu_checkpoint_file_identity(ck, which)->bytes;
	uint64_t least = (uint64_t)PROBE_CHUNKS_MIN * chunk_bytes;

	bytes = bytes < least ? least : bytes > PROBE_BYTES_MAX ? PROBE_BYTES_MAX : bytes;
	return probe_begin(vgpu_checkpoint_file_fd(ck, which), chunk_bytes, bytes);
}

/*
 * For a benchmark all weights are brought into memory, where there is so much, so that
 * their arithmetic stands between the passes as the probe does.
 */
static int prepare_comparison(const struct stream_options *o, const struct vgpu_checkpoint *ck,
			      const struct weights *w, struct stream_result *r)
{
	int rc = 0;

	r->rounds = begin_probe(ck, (uint32_t)o->device.chunk_bytes);
	if (o->bench && o->passes)
		rc = arithmetic_open_all(&r->arithmetic, o, ck, w);
	reads_take(&r->reads, READS_COMPUTE);
	if (rc == -ENOMEM)
		return CLI_OK;
	return rc == -EINTR ? CLI_INTERRUPTED : rc ? CLI_FAILED : CLI_OK;
}

static int compare(const struct stream_options *o, const char *trace,
		   const struct vgpu_checkpoint *ck, const struct weights *w,
		   struct stream_result *r)
{
	int rc;

	rc = optimum_of_trace(trace, o->passes, &r->optimum);
	if (rc)
		return stream_trace_fail(o, rc);
	return measure_arithmetic(o, ck, w, r);
}

/* --- the command -------------------------------------------------------- */

static void print_model(const struct stream_options *o, const struct weights *w)
{
	printf("model        %s: %s in %zu matrices, m = %u, mode %s\n", o->path,
	       size_text(w->bytes).s, w->count, o->m, stream_modes[o->mode]);
	if (w->used_bytes != w->bytes)
		printf("used as      %s\n", size_text(w->used_bytes).s);
	for (uint32_t i = 0; i < w->skip_count; i++)
		printf("skipped      %u tensors, %s: %s\n", w->skips[i].count,
		       size_text(w->skips[i].bytes).s, w->skips[i].why);
}

static int stream_all(const struct stream_options *o, const struct vgpu_checkpoint *ck,
		      const struct weights *w, const struct conversions *conversions,
		      const struct reads *reads)
{
	struct stream_result r = { .host_bytes = o->device.host_bytes, .reads = *reads,
				   .conversions = conversions };
	char trace[PART_PATH_BYTES];
	int rc, fd;

	rc = stream_trace(o, trace, sizeof(trace), &fd);
	if (rc)
		return stream_trace_none(o, trace, rc);
	r.passes = calloc(o->passes + 1, sizeof(*r.passes));
	r.json = summary_new("stream");
	if (!r.passes || !r.json)
		rc = cli_fail("out of memory");
	if (!rc && !o->no_compare)
		rc = prepare_comparison(o, ck, w, &r);
	if (!rc)
		rc = measure_stream(o, trace, ck, w, &r);
	probe_end(r.rounds, &r.probe);
	if (!rc && stream_is_compared(o))
		rc = compare(o, trace, ck, w, &r);
	if (fd >= 0)
		close(fd);
	rc = device_trace_end(o->device.trace, rc);
	if (!rc)
		rc = stream_report(o, w, &r);
	arithmetic_close(&r.arithmetic);
	json_object_put(r.json);
	free(r.passes);
	free(r.bar);
	return rc;
}

/* What activations need is known before anything is opened; an arena may take them as well. */
static int check_tier(const struct stream_options *o, const struct weights *w)
{
	const struct device_options *d = &o->device;
	struct intermediates arrays = intermediates_of(w, o->m);
	uint64_t need = intermediates_host(w, o->m, d->chunk_bytes);

	if (o->route || d->staging_bytes || d->nvme_path || d->host_bytes >= need)
		return CLI_OK;
	return intermediates_refuse("stream", d->host_bytes, need, intermediates_bytes(&arrays, 1),
				    d->chunk_bytes);
}

/* What the options leave open follows from the weights. */
static int choose_tier(struct stream_options *o, const struct weights *w)
{
	struct device_options *d = &o->device;
	uint64_t room, host = d->host_bytes ? d->host_bytes :
			      o->route ? w->bytes / STREAM_ROUTE_PARTS : HOST_BYTES;
	int rc;

	if (!d->chunk_bytes)
		d->chunk_bytes = vgpu_chunk_bytes(host);
	if (!d->host_bytes && o->route) {
		rc = stream_route_room(w, d->chunk_bytes, &room);
		if (rc)
			return rc;
		d->host_bytes = d->staging_bytes ? room + d->staging_bytes :
						   weights_host(w, room, d->chunk_bytes);
	}
	if (!d->host_bytes)
		d->host_bytes = HOST_BYTES;
	rc = check_tier(o, w);
	if (rc)
		return rc;
	if (!d->staging_bytes)
		d->staging_bytes = weights_default_staging(w, d->host_bytes, d->chunk_bytes);
	return CLI_OK;
}

static int open_layers(const struct vgpu_checkpoint *ck, struct weights *w, bool text,
		       struct reads *reads)
{
	int rc = packed_layers_open(ck, w);

	reads_take(reads, READS_LAYERS);
	if (!rc && w->packed && text)
		printf("packed file  %s: %s, made when it was not there\n",
		       vgpu_checkpoint_file_path(w->packed, 0), size_text(packed_layers_bytes(w)).s);
	return rc;
}

static int stream_weights(struct stream_options *o, const struct vgpu_checkpoint *ck,
			  struct weights *w, struct reads *reads)
{
	bool text = !o->json && !o->bench;
	struct conversions conversions;
	int rc = choose_tier(o, w);

	if (!rc && text)
		print_model(o, w);
	if (!rc)
		rc = open_layers(ck, w, text, reads);
	if (rc || o->route)
		return rc ? rc : stream_route(o, ck, w, reads);
	conversions_list(w, &conversions);
	rc = compare_weights(&o->device, ck, w, &conversions);
	reads_take(reads, READS_COMPARE);
	if (!rc && text)
		conversions_print(&conversions, stdout);
	return rc ? rc : stream_all(o, ck, w, &conversions, reads);
}

/* What the two forms do not share; 0 and UINT32_MAX: not given. */
static int settle_options(struct stream_options *o)
{
	if (o->route && (o->m || o->passes != UINT32_MAX || o->no_compare))
		return cli_usage("stream: %s is not for --route, which runs one token at a time",
				 o->m ? "--m" : o->no_compare ? "--no-compare" : "--passes");
	if (!o->route && (o->tokens || o->seed))
		return cli_usage("stream: %s is for --route zipf, which is not given",
				 o->tokens ? "--tokens" : "--seed");
	o->m = o->m ? o->m : 1;
	o->passes = o->passes != UINT32_MAX ? o->passes : PASSES;
	o->tokens = o->tokens ? o->tokens : ROUTE_TOKENS;
	o->seed = o->seed ? o->seed : ROUTE_SEED;
	return CLI_RUN;
}

static int stream_checkpoint(struct stream_options *o)
{
	struct vgpu_checkpoint *ck;
	struct reads reads = { 0 };
	struct vgpu_error error;
	struct weights w;
	char why[512];
	int rc;

	reads_take(&reads, READS_PROGRAM);
	rc = vgpu_checkpoint_open(o->path, &ck, &error);
	if (rc)
		return cli_fail("%s", error.text);
	rc = weights_list(ck, (enum weights_pack)o->pack, &w);
	reads_take(&reads, READS_HEADER);
	if (rc) {
		rc = cli_fail("out of memory");
	} else if (!weights_all(&w)) {
		weights_refusal(ck, &w, why, sizeof(why));
		rc = cli_fail("%s: %s", o->path, why);
	} else {
		rc = stream_weights(o, ck, &w, &reads);
	}
	weights_free(&w);
	vgpu_checkpoint_close(ck);
	return rc;
}

int vbrun_stream(int argc, char **argv)
{
	static const char *const routes[] = { "none", "zipf", NULL };
	struct stream_options o = { .passes = UINT32_MAX, .mode = VGPU_MODE_A16 };
	const struct cli_option options[] = {
		DEVICE_OPTIONS(o.device),
		{ "m", CLI_NUMBER, &o.m, "ROWS", "rows of activations (default 1)", NULL, 1, 65536 },
		{ "passes", CLI_NUMBER, &o.passes, "P", "over all weights (default 5)", NULL, 0,
		  PASSES_MAX },
		{ "mode", CLI_CHOICE, &o.mode, "MODE", "activations: f32, a16 (default), a8 or a8-256",
		  stream_modes, 0, 0 },
		{ "format", CLI_CHOICE, &o.pack, "F", "pack weights: keep (default; values of blocks, "
		  "where a product takes them, else int8), int8, mxfp4", weights_packs, 0, 0 },
		{ "route", CLI_CHOICE, &o.route, "HOW", "zipf: experts chosen at run time", routes,
		  0, 0 },
		{ "tokens", CLI_NUMBER, &o.tokens, "N", "of --route (default 64)", NULL, 1, 1000000 },
		{ "seed", CLI_NUMBER, &o.seed, "N", "of --route (default 20260102)", NULL, 1, 0 },
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
		"FILE is a .safetensors or .gguf file (any part of a split one), or a folder with a model.\n"
		"Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K and NVFP4 are packed with the same values,\n"
		"IQ4_NL and TQ copied to int8. Layers of AWQ and GPTQ are packed to int4 with the\n"
		"same values, once, into a file of the cache (VBLACKWELL_CACHE). Other types, and\n"
		"with --format all that it cannot hold, are rounded once more; how far that moves\n"
		"them is measured and said.\n"
		"Without --host the tier is 512M; with --route what holds a quarter of the experts,\n"
		"the intermediates and the reserve for transfers. --chunk is 2M, or less where the tier\n"
		"would have fewer than 120: so that the six that transfers need are 5 % at most.\n"
		"The time of a pass is compared with the larger of its arithmetic alone and\n"
		"its bytes over the probed bandwidth; the bytes with the fewest possible.\n"
	};
	unsigned int count;
	int rc;

	device_defaults(&o.device, 0);
	rc = cli_parse(&command, argc, argv, &count);
	if (rc == CLI_RUN)
		rc = device_check(&o.device);
	if (rc == CLI_RUN)
		rc = settle_options(&o);
	if (rc != CLI_RUN)
		return rc;
	rc = device_check_outputs((const char *[]){ o.save, o.device.trace }, 2);
	if (rc != CLI_RUN)
		return rc;
	o.path = argv[1];
	return stream_checkpoint(&o);
}

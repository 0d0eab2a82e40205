// SPDX-License-Identifier: MIT
/*
 * vbctl plan: what a model would need of each tier, before anything is touched.
 *
 * Reads headers only (and of layers of AWQ and GPTQ all but the codes); the device is not
 * opened. The rules are those of the executor:
 * a staging reserve that holds two panels of every matrix; what fits stays, the fastest
 * tier is filled first, the overflow is read again each pass.
 *
 * Rates are assumed and said to be so, unless --measure is given.
 */
#include "commands.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/cli.h"
#include "common/conversions.h"
#include "common/intermediates.h"
#include "common/packed_layers.h"
#include "common/size.h"
#include "common/summary.h"
#include "common/weights.h"
#include "rates.h"
#include "vgpu.h"

/**
 * struct plan - the question and the answer, in bytes unless said otherwise
 * @path: model
 * @host, @device, @chunk: asked for
 * @format: enum weights_pack
 * @m: rows of activations
 * @source: weights as they lie in the files
 * @content: weights as they are used
 * @derived: of @content, made from other bytes when they are needed
 * @derived_source: what these are made from
 * @layers: of @content, packed once into a file
 * @activations: what the products keep beside weights
 * @staging: reserve for transfers
 * @need: smallest host tier that works, with chunks of that size
 * @in_device, @in_host, @overflow: where @content goes
 * @today: @overflow without @device, which no backend has yet
 * @conversions: weights that are packed
 * @rates: measured or assumed
 */
struct plan {
	const char *path;
	uint64_t host, device, chunk;
	uint32_t format, m;
	bool measure, json;
	uint64_t source, content, derived, derived_source, layers;
	uint64_t activations, staging, need;
	uint64_t in_device, in_host, overflow, today;
	struct conversions conversions;
	struct rates rates;
};

static void add_weight(struct plan *p, const struct weight *w)
{
	uint64_t bytes = w->bytes + w->scales_bytes;

	p->source += bytes;
	/* A layer is read from the file that it was packed to. */
	if (w->used != w->format && !w->layer.group) {
		p->derived_source += bytes;
		p->derived += w->used_bytes;
	}
	p->content += w->used_bytes;
}

/* Everything that follows from the sizes alone. */
static void place(struct plan *p, const struct weights *w)
{
	struct intermediates arrays = intermediates_of(w, p->m);
	uint64_t acts = intermediates_bytes(&arrays, p->chunk), host, room;

	conversions_list(w, &p->conversions);
	for (size_t i = 0; i < w->count; i++)
		add_weight(p, &w->list[i]);
	p->layers = packed_layers_bytes(w);
	p->activations = intermediates_bytes(&arrays, 1);
	p->need = intermediates_host(w, p->m, p->chunk);
	host = p->host / p->chunk * p->chunk;
	p->staging = weights_default_staging(w, host, p->chunk);
	room = host > p->staging + acts ? host - p->staging - acts : 0;
	p->in_device = p->content < p->device ? p->content : p->device;
	p->in_host = p->content - p->in_device < room ? p->content - p->in_device : room;
	p->overflow = p->content - p->in_device - p->in_host;
	p->today = p->content > room ? p->content - room : 0;
}

/* Bytes that a pass reads from storage: derived weights read what they come from. */
static double read_a_pass(const struct plan *p)
{
	double share = p->content ? (double)p->overflow / (double)p->content : 0;

	return share * (double)(p->content - p->derived + p->derived_source);
}

static double seconds_compute(const struct plan *p)
{
	return (double)p->content / p->rates.compute;
}

static double seconds_storage(const struct plan *p)
{
	return read_a_pass(p) / p->rates.storage;
}

/* Packing runs on the threads that compute. */
static double seconds_pack(const struct plan *p)
{
	double share = p->content ? (double)p->overflow / (double)p->content : 0;

	return share * (double)p->derived_source / p->rates.pack;
}

static double stall(double storage, double work)
{
	return storage > work ? (storage - work) / storage : 0;
}

/* --- reports ------------------------------------------------------------ */

static const char *how(bool measured)
{
	return measured ? "measured" : "assumed, --measure to measure";
}

static void print_tiers(const struct plan *p)
{
	printf("%-12s %10s of %10s   weights\n", "device", size_text(p->in_device).s,
	       size_text(p->device).s);
	printf("%-12s %10s of %10s   weights %s, activations %s, staging %s (%.1f %%%s)\n", "host",
	       size_text(p->in_host + p->activations + p->staging).s, size_text(p->host).s,
	       size_text(p->in_host).s, size_text(p->activations).s, size_text(p->staging).s,
	       100.0 * (double)p->staging / (double)p->host,
	       p->staging > p->host / 20 ? ": the least that two panels take" : "");
	printf("%-12s %10s              read again each pass, never written\n", "storage",
	       size_text(p->overflow).s);
	if (p->device)
		printf("             no device backend yet: this supposes one; today %s would be read again "
		       "each pass\n", size_text(p->today).s);
}

static void print_derived(const struct plan *p)
{
	double cached = (double)p->overflow / p->rates.storage;
	double derived = fmax(seconds_storage(p), seconds_pack(p) + seconds_compute(p));

	if (!p->derived)
		return;
	printf("\npacked weights, %s from %s\n", size_text(p->derived).s,
	       size_text(p->derived_source).s);
	printf("%-12s no disk; reads %s a pass, %s of packing: %s a pass\n", "derived",
	       size_text((uint64_t)read_a_pass(p)).s, size_seconds(seconds_pack(p)).s,
	       size_seconds(derived).s);
	printf("%-12s %s of disk, once %s; reads %s a pass: %s a pass\n", "cache file",
	       size_text(p->derived).s,
	       size_seconds((double)p->derived_source / p->rates.pack +
			    (double)p->derived / p->rates.storage).s,
	       size_text(p->overflow).s, size_seconds(fmax(cached, seconds_compute(p))).s);
}

static void print_layers(const struct plan *p)
{
	if (p->layers)
		printf("\n%-12s %s of disk, once, in the cache: layers of AWQ and GPTQ\n", "packed file",
		       size_text(p->layers).s);
}

static void print_plan(const struct plan *p)
{
	double work = seconds_compute(p) + seconds_pack(p), storage = seconds_storage(p);

	printf("%-12s %s: %s of weights, used as %s\n", "model", p->path, size_text(p->source).s,
	       size_text(p->content).s);
	conversions_print(&p->conversions, stdout);
	print_tiers(p);
	printf("\n%-12s %.2f GB/s (%s)\n", "bandwidth", p->rates.storage / 1e9,
	       p->rates.measured ? p->rates.reason : how(false));
	printf("%-12s %.2f GB/s of weights (%s), m = %u\n", "arithmetic", p->rates.compute / 1e9,
	       how(p->rates.measured), p->m);
	printf("%-12s first %s, later %s: arithmetic %s, storage %s, stall %.0f %%\n", "a pass",
	       size_seconds(fmax((double)p->source / p->rates.storage, work)).s,
	       size_seconds(fmax(storage, work)).s, size_seconds(work).s, size_seconds(storage).s,
	       100 * stall(storage, work));
	print_derived(p);
	print_layers(p);
	printf("\n%s; smallest host tier %s at chunks of %s\n",
	       p->overflow ? "streams" : "fits: nothing is read twice", size_text(p->need).s,
	       size_text(p->chunk).s);
}

static void summarise(const struct plan *p, bool fits)
{
	struct json_object *o = summary_new("plan");

	summary_text(o, "file", p->path);
	summary_text(o, "format", weights_packs[p->format]);
	summary_flag(o, "possible", fits);
	summary_bytes(o, "need_host_bytes", p->need);
	summary_bytes(o, "host_bytes", p->host);
	summary_bytes(o, "device_bytes", p->device);
	summary_bytes(o, "chunk_bytes", p->chunk);
	summary_bytes(o, "m", p->m);
	summary_bytes(o, "source_bytes", p->source);
	summary_bytes(o, "weight_bytes", p->content);
	summary_bytes(o, "activation_bytes", p->activations);
	summary_bytes(o, "staging_bytes", p->staging);
	summary_bytes(o, "in_device_bytes", p->in_device);
	summary_bytes(o, "in_host_bytes", p->in_host);
	summary_bytes(o, "overflow_bytes", p->overflow);
	summary_bytes(o, "pass_read_bytes", (uint64_t)read_a_pass(p));
	summary_bytes(o, "derived_bytes", p->derived);
	summary_bytes(o, "derived_source_bytes", p->derived_source);
	conversions_summary(&p->conversions, o);
	summary_bytes(o, "cache_file_bytes", p->derived);
	summary_bytes(o, "packed_file_bytes", p->layers);
	summary_bytes(o, "storage_bytes_per_second", (uint64_t)p->rates.storage);
	summary_bytes(o, "compute_bytes_per_second", (uint64_t)p->rates.compute);
	summary_bytes(o, "pack_bytes_per_second", (uint64_t)p->rates.pack);
	summary_flag(o, "measured", p->rates.measured);
	summary_bytes(o, "pass_ns", (uint64_t)(1e9 * fmax(seconds_storage(p), seconds_compute(p) +
								  seconds_pack(p))));
	summary_real(o, "stall", stall(seconds_storage(p), seconds_compute(p) + seconds_pack(p)));
	summary_print(o);
}

/* --- the command -------------------------------------------------------- */

static int answer(struct plan *p)
{
	bool possible = p->host >= p->need;

	if (p->json)
		summarise(p, possible);
	else if (possible)
		print_plan(p);
	return possible ? CLI_OK : intermediates_refuse("plan", p->host, p->need, p->activations,
							p->chunk);
}

static int plan_checkpoint(struct plan *p, const struct vgpu_checkpoint *ck)
{
	struct weights w;
	char why[512];
	int rc = CLI_OK;

	if (weights_list(ck, p->format, &w))
		return cli_fail("out of memory");
	if (!weights_all(&w)) {
		weights_refusal(ck, &w, why, sizeof(why));
		rc = cli_fail("%s: %s", p->path, why);
	}
	if (!rc)
		place(p, &w);
	rates_assume(&p->rates);
	if (!rc && p->measure && p->host >= p->need)
		rc = rates_measure(ck, &w, p->chunk, p->m, &p->rates);
	if (!rc)
		rc = answer(p);
	weights_free(&w);
	return rc;
}

static int plan(struct plan *p)
{
	struct vgpu_checkpoint *ck;
	struct vgpu_error error;
	int rc;

	if (p->chunk & (p->chunk - 1))
		return cli_usage("plan: --chunk %" PRIu64 " is no power of two", p->chunk);
	if (vgpu_checkpoint_open(p->path, &ck, &error))
		return cli_fail("%s", error.text);
	rc = plan_checkpoint(p, ck);
	vgpu_checkpoint_close(ck);
	return rc;
}

int vbctl_plan(int argc, char **argv)
{
	struct plan p = { .host = (uint64_t)512 << 20, .m = 1 };
	const struct cli_option options[] = {
		{ "host", CLI_SIZE, &p.host, "SIZE", "host tier (default 512M)", NULL, 1,
		  (uint64_t)1 << 46 },
		{ "device", CLI_SIZE, &p.device, "SIZE", "suppose a device of this size (default none)", NULL, 0,
		  (uint64_t)1 << 46 },
		{ "format", CLI_CHOICE, &p.format, "F", "pack weights: keep (default; values of blocks, "
		  "where a product takes them, else int8), int8, mxfp4", weights_packs, 0, 0 },
		{ "chunk", CLI_SIZE, &p.chunk, "SIZE", "64K to 2M (default the largest that leaves 120)", NULL, 64 << 10,
		  2 << 20 },
		{ "m", CLI_NUMBER, &p.m, "ROWS", "of activations (default 1)", NULL, 1, 65536 },
		{ "measure", CLI_FLAG, &p.measure, NULL, "measure storage and arithmetic for a second",
		  NULL, 0, 0 },
		{ "json", CLI_FLAG, &p.json, NULL, "as JSON", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbctl plan", "FILE", "What a model would need of each tier.", options, 1, 1,
		"Fails, with the number that would do, when it cannot run in --host.\n"
	};
	unsigned int count;
	int rc = cli_parse(&command, argc, argv, &count);

	if (rc != CLI_RUN)
		return rc;
	p.path = argv[1];
	if (!p.chunk)
		p.chunk = vgpu_chunk_bytes(p.host);
	return plan(&p);
}

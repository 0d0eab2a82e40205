// SPDX-License-Identifier: MIT
/*
 * vbrun stream --route zipf: the experts of a mixture, chosen while it runs.
 *
 * A token passes every layer: norm, logits, the top four, both products of the chosen
 * experts, their sum. The client writes Gumbel noise for each token and layer; the
 * device adds it to the logarithms of Zipf weights and takes the largest, which draws
 * experts without replacement with those weights. Each layer has its own popularity
 * order. Nobody but the running command knows the experts before it reads them.
 *
 * Attention, router and embedding are left out: what moves is the experts.
 */
#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fnv.h"
#include "common/size.h"
#include "common/summary.h"
#include "operands.h"
#include "optimum.h"
#include "process.h"
#include "random.h"
#include "residency.h"

#define TOP 4u
/* Popularity of the r-th expert is 1 / r. */
#define ZIPF_EXPONENT 1.0
/* The first quarter of the tokens fills the tier. */
#define WARM_PARTS 4u
#define NORM_EPS 1e-5f

/**
 * struct route_layer - the experts of one layer
 * @up: [experts][2 ffn][hidden], even rows gate, odd rows up
 * @down: [experts][hidden][ffn]
 */
struct route_layer {
	const struct weight *up, *down;
};

/* Arrays of the run, one behind the other in one object. */
enum route_array { R_WEIGHTS, R_NOISE, R_LOGITS, R_VALUES, R_PROBS, R_IDS, R_X, R_NORMED, R_UP,
		   R_ACT, R_DOWN, R_SUM, R_ARRAYS };

/**
 * struct route - the run
 * @v: device
 * @ck: checkpoint
 * @w: its matrices
 * @layers: @count of them
 * @experts, @hidden, @ffn: dimensions, the same in all layers
 * @top: experts a token takes
 * @seed: of the popularity; that plus one, of the tokens
 * @threads: that compute
 * @mode: of activations
 * @ops: objects that hold the experts
 * @arrays: all intermediates
 * @at: offset of each array
 * @read: bytes read, each token
 * @seconds: of each token
 * @c: counters after the warm tokens
 * @reads: of the process, by reason
 * @expert_bytes: as operands
 * @source_bytes: as they lie in the file
 * @packed: some are made when they are read, of more or fewer bytes than that
 * @bar: where the objects were at the end, as text
 * @digest: of all ids and the last hidden state
 */
struct route {
	struct vgpu *v;
	const struct vgpu_checkpoint *ck;
	const struct weights *w;
	struct route_layer *layers;
	uint32_t count, experts, hidden, ffn, top, seed, threads;
	enum vgpu_mode mode;
	struct operands ops;
	struct vgpu_bo *arrays;
	struct vgpu_queue *q;
	struct vgpu_cmdbuf *cb;
	uint64_t at[R_ARRAYS + 1];
	struct counters c;
	struct reads reads;
	double seconds;
	uint64_t digest, expert_bytes, source_bytes, staging_bytes;
	bool packed;
	char *bar;
};

/* --- the model ---------------------------------------------------------- */

static const struct weight *find_down(const struct weights *w, const struct weight *up)
{
	const char *at = strstr(up->name, "gate_up_proj");
	size_t head = (size_t)(at - up->name);

	for (size_t i = 0; i < w->count; i++) {
		const struct weight *d = &w->list[i];

		if (!strncmp(d->name, up->name, head) &&
		    !strncmp(d->name + head, "down_proj", strlen("down_proj")))
			return d;
	}
	return NULL;
}

static int add_layer(struct route *r, const struct weight *up, const struct weight *down)
{
	if (!down || down->experts != up->experts || down->n != up->k || up->n != 2 * down->k)
		return cli_fail("%s has no down_proj of matching shape beside it", up->name);
	if (r->count && (up->experts != r->experts || up->k != r->hidden || down->k != r->ffn))
		return cli_fail("%s differs in shape from the layers before", up->name);
	r->experts = up->experts;
	r->hidden = up->k;
	r->ffn = down->k;
	r->layers[r->count++] = (struct route_layer){ up, down };
	r->expert_bytes += up->used_bytes + down->used_bytes;
	r->source_bytes += up->bytes + up->scales_bytes + down->bytes + down->scales_bytes;
	r->packed |= up->used != up->format || down->used != down->format;
	return CLI_OK;
}

static int find_layers(struct route *r, const struct weights *w)
{
	int rc = CLI_OK;

	r->layers = calloc(w->count, sizeof(*r->layers));
	if (!r->layers)
		return cli_fail("out of memory");
	for (size_t i = 0; i < w->count && !rc; i++)
		if (w->list[i].experts && strstr(w->list[i].name, "gate_up_proj"))
			rc = add_layer(r, &w->list[i], find_down(w, &w->list[i]));
	if (!rc && !r->count)
		rc = cli_fail("no experts: --route needs tensors named gate_up_proj and down_proj, "
			      "[experts][rows][columns]");
	r->top = r->experts < TOP ? r->experts : TOP;
	return rc;
}

/* --- objects ------------------------------------------------------------ */

/* The popularity of each expert: a random order for each layer. */
static int write_weights(struct route *r)
{
	struct random random = { r->seed };
	float *log_weight = malloc((size_t)r->count * r->experts * sizeof(*log_weight));
	int rc;

	if (!log_weight)
		return -ENOMEM;
	for (uint32_t layer = 0; layer < r->count; layer++) {
		float *w = &log_weight[(size_t)layer * r->experts];

		for (uint32_t i = 0; i < r->experts; i++) {
			uint32_t j = (uint32_t)(random_u64(&random) % (i + 1));

			w[i] = w[j];
			w[j] = (float)(-ZIPF_EXPONENT * log(i + 1.0));
		}
	}
	rc = vgpu_bo_write(r->arrays, r->at[R_WEIGHTS], log_weight,
			   (uint64_t)r->count * r->experts * sizeof(*log_weight));
	free(log_weight);
	return rc;
}

static void lay_out(struct route *r)
{
	const uint64_t numbers[R_ARRAYS] = {
		[R_WEIGHTS] = (uint64_t)r->count * r->experts,
		[R_NOISE] = (uint64_t)r->count * r->experts,
		[R_LOGITS] = r->experts,
		[R_VALUES] = r->top,
		[R_PROBS] = r->top,
		[R_IDS] = (uint64_t)r->count * r->top,
		[R_X] = r->hidden,
		[R_NORMED] = r->hidden,
		[R_UP] = 2 * (uint64_t)r->top * r->ffn,
		[R_ACT] = (uint64_t)r->top * r->ffn,
		[R_DOWN] = (uint64_t)r->top * r->hidden,
		[R_SUM] = r->hidden,
	};

	for (uint32_t i = 0; i < R_ARRAYS; i++)
		r->at[i + 1] = r->at[i] + ((numbers[i] * sizeof(float) + 63) & ~63ull);
}

int stream_route_room(const struct weights *w, uint64_t chunk_bytes, uint64_t *out)
{
	struct route r = { 0 };
	int rc = find_layers(&r, w);

	if (!rc) {
		lay_out(&r);
		*out = (r.expert_bytes / STREAM_ROUTE_PARTS / chunk_bytes +
			(r.at[R_ARRAYS] + chunk_bytes - 1) / chunk_bytes) * chunk_bytes;
	}
	free(r.layers);
	return rc;
}

static int make_objects(struct route *r)
{
	int rc;

	lay_out(r);
	rc = operands_open(&r->ops, r->v, r->ck, r->w);
	if (!rc)
		rc = vgpu_bo_create(r->v, r->at[R_ARRAYS], VGPU_LIFE_VOLATILE, &r->arrays);
	if (!rc)
		rc = vgpu_queue_create(r->v, 0, &r->q);
	if (!rc)
		rc = vgpu_cmdbuf_create(r->v, &r->cb);
	return rc ? rc : write_weights(r);
}

static void drop_objects(struct route *r)
{
	vgpu_queue_destroy(r->q);
	if (r->cb)
		vgpu_cmdbuf_destroy(r->cb);
	operands_close(&r->ops);
	vgpu_bo_destroy(r->arrays);
}

/* --- one token ---------------------------------------------------------- */

/* @n numbers of an array from number @first on, as a row. */
static struct vgpu_array row(const struct route *r, enum route_array which, uint64_t first,
			     enum vgpu_format format, uint32_t n)
{
	return vgpu_matrix(r->arrays, r->at[which] + first * sizeof(float), format, 1, n);
}

static struct vgpu_array floats(const struct route *r, enum route_array which, uint32_t n)
{
	return row(r, which, 0, VGPU_FORMAT_F32, n);
}

/* [1][top][n] */
static struct vgpu_array tops(const struct route *r, enum route_array which, uint32_t n)
{
	return vgpu_cube(r->arrays, r->at[which], VGPU_FORMAT_F32, 1, r->top, n);
}

static struct vgpu_array experts(const struct route *r, const struct weight *w)
{
	return vgpu_cube(operands_bo(&r->ops, w), operands_at(w, 0, 0), w->used, w->experts, w->n,
			 w->k);
}

static struct vgpu_array scales(const struct route *r, const struct weight *w)
{
	struct vgpu_array none = { 0 };

	if (!w->scales_bytes || w->used != w->format)
		return none;
	return vgpu_cube(r->ops.files[w->scales_file], w->scales_offset, VGPU_FORMAT_U8, w->experts,
			 w->n, w->k / 32);
}

/* Every other number of the products of a layer, as a column of @count rows. */
static struct vgpu_array every_other(const struct route *r, uint32_t first, uint32_t count)
{
	struct vgpu_array a = vgpu_matrix(r->arrays, r->at[R_UP] + first * sizeof(float),
					  VGPU_FORMAT_F32, count, 1);

	a.stride[0] = 2 * sizeof(float);
	return a;
}

static int record_choice(struct route *r, uint32_t layer)
{
	uint64_t first = (uint64_t)layer * r->experts;
	struct vgpu_array none = { 0 };
	int rc;

	rc = vgpu_cmd_binary(r->cb, VGPU_BINARY_ADD,
			     row(r, R_WEIGHTS, first, VGPU_FORMAT_F32, r->experts),
			     row(r, R_NOISE, first, VGPU_FORMAT_F32, r->experts),
			     floats(r, R_LOGITS, r->experts));
	if (!rc)
		rc = vgpu_cmd_topk(r->cb, floats(r, R_LOGITS, r->experts),
				   floats(r, R_VALUES, r->top),
				   row(r, R_IDS, (uint64_t)layer * r->top, VGPU_FORMAT_I32, r->top));
	if (!rc)
		rc = vgpu_cmd_softmax(r->cb, 1, floats(r, R_VALUES, r->top), none,
				      floats(r, R_PROBS, r->top));
	return rc;
}

static int record_experts(struct route *r, const struct weight *w, struct vgpu_array x,
			  struct vgpu_array y, uint32_t layer)
{
	struct vgpu_matmul_id c = {
		.mode = r->mode,
		.x = x,
		.w = experts(r, w),
		.scales = scales(r, w),
		.ids = row(r, R_IDS, (uint64_t)layer * r->top, VGPU_FORMAT_I32, r->top),
		.y = y,
	};

	return vgpu_cmd_matmul_id(r->cb, &c);
}

static int record_layer(struct route *r, uint32_t layer)
{
	const struct route_layer *l = &r->layers[layer];
	uint32_t wide = r->top * r->ffn;
	struct vgpu_norm_cmd norm = {
		.kind = VGPU_NORM_RMS, .eps = NORM_EPS,
		.x = floats(r, R_X, r->hidden), .y = floats(r, R_NORMED, r->hidden),
	};
	struct vgpu_array column = vgpu_matrix(r->arrays, r->at[R_ACT], VGPU_FORMAT_F32, wide, 1);
	int rc;

	rc = record_choice(r, layer);
	if (!rc)
		rc = vgpu_cmd_norm(r->cb, &norm);
	if (!rc)
		rc = record_experts(r, l->up, floats(r, R_NORMED, r->hidden),
				    tops(r, R_UP, 2 * r->ffn), layer);
	if (!rc)
		rc = vgpu_cmd_binary(r->cb, VGPU_BINARY_SWIGLU, every_other(r, 0, wide),
				     every_other(r, 1, wide), column);
	if (!rc)
		rc = record_experts(r, l->down, tops(r, R_ACT, r->ffn), tops(r, R_DOWN, r->hidden),
				    layer);
	if (!rc)
		rc = vgpu_cmd_combine(r->cb, tops(r, R_DOWN, r->hidden), floats(r, R_PROBS, r->top),
				      floats(r, R_SUM, r->hidden));
	if (!rc)
		rc = vgpu_cmd_binary(r->cb, VGPU_BINARY_ADD, floats(r, R_X, r->hidden),
				     floats(r, R_SUM, r->hidden), floats(r, R_X, r->hidden));
	return rc;
}

/* The noise that chooses, and a hidden state to begin with. */
static int write_token(struct route *r, struct random *random, float *numbers)
{
	uint64_t noise = (uint64_t)r->count * r->experts;
	int rc;

	for (uint64_t i = 0; i < noise; i++)
		numbers[i] = (float)random_gumbel(random);
	rc = vgpu_bo_write(r->arrays, r->at[R_NOISE], numbers, noise * sizeof(*numbers));
	for (uint32_t i = 0; i < r->hidden; i++)
		numbers[i] = (float)random_gaussian(random);
	if (!rc)
		rc = vgpu_bo_write(r->arrays, r->at[R_X], numbers, r->hidden * sizeof(*numbers));
	return rc;
}

static int hash_range(struct route *r, enum route_array which, uint64_t bytes, uint8_t *room)
{
	int rc = vgpu_bo_read(r->arrays, r->at[which], room, bytes);

	if (!rc)
		r->digest = fnv64(r->digest, room, bytes);
	return rc;
}

/* Bytes of the experts that a token takes. */
static uint64_t token_bytes(const struct route *r)
{
	return r->expert_bytes / r->experts * r->top;
}

static int run_tokens(struct route *r, uint32_t tokens, float *room)
{
	struct random random = { (uint64_t)r->seed + 1 };
	uint32_t warm = tokens / WARM_PARTS;
	struct progress progress;
	struct counters before;
	double start = size_now();
	int rc = 0;

	counters_read(r->v, &before);
	progress_begin(&progress, "route", tokens * token_bytes(r));
	for (uint32_t t = 0; t < tokens && !rc; t++) {
		if (t == warm) {
			counters_read(r->v, &before);
			start = size_now();
		}
		rc = write_token(r, &random, room);
		if (!rc)
			rc = device_run(r->v, r->q, r->cb, &progress, t * token_bytes(r));
		if (!rc)
			rc = hash_range(r, R_IDS, (uint64_t)r->count * r->top * 4, (uint8_t *)room);
		progress_update(&progress, (t + 1) * token_bytes(r));
	}
	progress_end(&progress);
	r->seconds = (size_now() - start) / (tokens - warm);
	r->c = counters_since(r->v, &before);
	return rc ? rc : hash_range(r, R_X, r->hidden * sizeof(float), (uint8_t *)room);
}

static int run(struct route *r, uint32_t tokens)
{
	size_t numbers = (size_t)r->count * r->experts;
	struct counters opened;
	float *room;
	int rc;

	rc = make_objects(r);
	counters_read(r->v, &opened);
	reads_opened(&r->reads, opened.c[VGPU_COUNT_READ_BYTES]);
	for (uint32_t i = 0; i < r->count && !rc; i++)
		rc = record_layer(r, i);
	room = malloc((numbers > r->hidden ? numbers : r->hidden) * sizeof(*room));
	if (!rc)
		rc = room ? run_tokens(r, tokens, room) : -ENOMEM;
	free(room);
	return rc;
}

/* --- reports ------------------------------------------------------------ */

static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

/* What a miss reads: a chunk, or of packed experts what one was made from on average. */
static double miss_bytes(const struct route *r, const struct optimum *best)
{
	if (r->packed && best->ours.later)
		return (double)r->c.c[VGPU_COUNT_READ_BYTES] / (double)best->ours.later;
	return (double)best->chunk_bytes;
}

/* What was read, prefetches that nobody used included, over the fewest bytes. */
static double against_optimum(const struct route *r, const struct optimum *best)
{
	double fewest = (double)best->best.later * miss_bytes(r, best);

	return fewest > 0 ? (double)r->c.c[VGPU_COUNT_READ_BYTES] / fewest : 0;
}

/* Part of the experts that the tier has room for, beside transfers and intermediates. */
static double expert_share(const struct route *r, const struct optimum *best)
{
	uint64_t arrays = (r->at[R_ARRAYS] + best->chunk_bytes - 1) / best->chunk_bytes;
	uint64_t room = best->capacity > arrays ? best->capacity - arrays : 0;

	return ratio(room * best->chunk_bytes, r->expert_bytes);
}

static void print_route(const struct stream_options *o, const struct route *r,
			const struct optimum *best)
{
	uint32_t counted = o->tokens - o->tokens / WARM_PARTS;
	double chunk = miss_bytes(r, best) / counted;
	double read = (double)r->c.c[VGPU_COUNT_READ_BYTES] / counted;

	printf("\nroute        zipf: %u layers, %u of %u experts a token, %s of %s experts in %s\n",
	       r->count, r->top, r->experts, size_text(r->expert_bytes).s,
	       vgpu_format_name(r->layers[0].up->used), size_text(o->device.host_bytes).s);
	if (r->packed)
		printf("experts      %s in the file, packed as they are read: bytes read are the file's\n",
		       r->layers[0].up->type);
	printf("room         for %.1f %% of the experts: what transfers and intermediates leave\n",
	       100 * expert_share(r, best));
	printf("tokens       %u, the first %u to fill the tier\n\n", o->tokens,
	       o->tokens / WARM_PARTS);
	printf("%-22s %12s %12s %12s\n", "a token", "ours", "optimum", "lru");
	printf("%-22s %12s %12s %12s\n", "bytes read", size_text((uint64_t)read).s,
	       size_text((uint64_t)((double)best->best.later * chunk)).s,
	       size_text((uint64_t)((double)best->lru.later * chunk)).s);
	printf("%-22s %12.3f %12.3f %12.3f\n", "against the optimum", against_optimum(r, best), 1.0,
	       ratio(best->lru.later, best->best.later));
	if (against_optimum(r, best) < 1)
		printf("%s\n", optimum_below_one);
	printf("%-22s %12s   (%.2f tokens/s)\n", "time", size_seconds(r->seconds).s, 1 / r->seconds);
	printf("%-22s %11.1f%%\n", "hits", 100 * ratio(r->c.c[VGPU_COUNT_HITS],
						      r->c.c[VGPU_COUNT_ACCESSES]));
	printf("%-22s %11.1f%%\n", "stall", 100 * counters_stall(&r->c));
	printf("%-22s %11.1f%%   (used of %" PRIu64 " prefetched)\n", "prefetch precision",
	       100 * ratio(r->c.c[VGPU_COUNT_PREFETCH_USED], r->c.c[VGPU_COUNT_PREFETCHES]),
	       r->c.c[VGPU_COUNT_PREFETCHES]);
	printf("%-22s %11.1f%%   (of the used)\n", "prefetch late",
	       100 * ratio(r->c.c[VGPU_COUNT_PREFETCH_LATE], r->c.c[VGPU_COUNT_PREFETCH_USED]));
	reads_print(&r->reads);
	printf("%-22s %016" PRIx64 "\n", "digest of choices", r->digest);
	stream_print_reserve(o, r->staging_bytes);
	printf("%-22s %12s\n", "peak memory (VmHWM)", size_text(process_peak_bytes()).s);
	if (r->bar)
		printf("\n%s", r->bar);
	printf("\nroute: %s experts in %s: %.2f tokens/s, %.1f %% hits, stall %.1f %%\n",
	       size_text(r->expert_bytes).s, size_text(o->device.host_bytes).s, 1 / r->seconds,
	       100 * ratio(r->c.c[VGPU_COUNT_HITS], r->c.c[VGPU_COUNT_ACCESSES]),
	       100 * counters_stall(&r->c));
}

static void summarise(const struct stream_options *o, const struct route *r,
		      const struct optimum *best, struct json_object *json)
{
	uint32_t counted = o->tokens - o->tokens / WARM_PARTS;

	summary_text(json, "file", o->path);
	summary_text(json, "route", "zipf");
	summary_text(json, "mode", stream_modes[o->mode]);
	summary_text(json, "policy", device_policies[o->device.policy]);
	summary_bytes(json, "host_bytes", o->device.host_bytes);
	summary_bytes(json, "staging_bytes", r->staging_bytes);
	summary_text(json, "weight", vgpu_format_name(r->layers[0].up->used));
	summary_bytes(json, "expert_bytes", r->expert_bytes);
	summary_bytes(json, "expert_source_bytes", r->source_bytes);
	summary_real(json, "expert_share", expert_share(r, best));
	summary_bytes(json, "layers", r->count);
	summary_bytes(json, "experts", r->experts);
	summary_bytes(json, "top", r->top);
	summary_bytes(json, "seed", o->seed);
	summary_bytes(json, "tokens", o->tokens);
	summary_bytes(json, "tokens_counted", counted);
	summary_bytes(json, "token_ns", (uint64_t)(r->seconds * 1e9));
	summary_bytes(json, "token_read_bytes", r->c.c[VGPU_COUNT_READ_BYTES] / counted);
	summary_bytes(json, "token_optimum_bytes",
		      (uint64_t)((double)best->best.later * miss_bytes(r, best) / counted));
	summary_bytes(json, "token_lru_bytes",
		      (uint64_t)((double)best->lru.later * miss_bytes(r, best) / counted));
	summary_real(json, "against_optimum", against_optimum(r, best));
	summary_real(json, "prefetch_precision", ratio(r->c.c[VGPU_COUNT_PREFETCH_USED],
						       r->c.c[VGPU_COUNT_PREFETCHES]));
	summary_real(json, "prefetch_late_fraction", ratio(r->c.c[VGPU_COUNT_PREFETCH_LATE],
							   r->c.c[VGPU_COUNT_PREFETCH_USED]));
	counters_summary(json, &r->c);
	reads_summary(&r->reads, json);
	summary_digest(json, r->digest);
	summary_bytes(json, "vm_hwm_bytes", process_peak_bytes());
}

static void bench_line(const struct stream_options *o, const struct route *r,
		       const struct optimum *best)
{
	struct json_object *line = json_object_new_object();
	uint32_t counted = o->tokens - o->tokens / WARM_PARTS;
	double chunk = miss_bytes(r, best) / counted;

	summary_text(line, "bench", "route");
	summary_text(line, "weight", vgpu_format_name(r->layers[0].up->used));
	summary_text(line, "mode", stream_modes[o->mode]);
	summary_bytes(line, "m", 1);
	summary_bytes(line, "threads", r->threads);
	summary_bytes(line, "seed", o->seed);
	summary_text(line, "residency", "nvme");
	summary_text(line, "policy", device_policies[o->device.policy]);
	summary_text(line, "unit", "bytes a token");
	summary_real(line, "ours", (double)r->c.c[VGPU_COUNT_READ_BYTES] / counted);
	summary_text(line, "peer", "lru");
	summary_real(line, "theirs", (double)best->lru.later * chunk);
	summary_real(line, "ratio", ratio(best->lru.later, best->best.later) /
		     against_optimum(r, best));
	summary_real(line, "bound", (double)best->best.later * chunk);
	summary_real(line, "fraction", 1 / against_optimum(r, best));
	summary_bytes(line, "runs", counted);
	summary_print_line(line);
}

/* --- the whole ---------------------------------------------------------- */

static void show_objects(struct route *r, struct json_object *json)
{
	struct residency_row rows[3] = {
		{ .name = "checkpoint", .bo = { r->ops.files[0] } },
		{ .name = "packed weights", .more = r->ops.packed, .more_count = r->w->count },
		{ .name = "intermediates", .bo = { r->arrays } },
	};

	residency_summary(rows, 3, json);
	r->bar = residency_text(rows, 3);
}

static int measure(const struct stream_options *o, struct route *r, const char *trace,
		   struct json_object *json)
{
	struct vgpu_device_info info = { .size = sizeof(info) };
	struct device_options device = o->device;
	struct counters all;
	int rc;

	device.trace = trace;
	rc = device_open(&device, &r->v);
	if (rc)
		return rc;
	if (!vgpu_device_info(r->v, &info))
		r->staging_bytes = info.staging_bytes;
	r->threads = device_threads(r->v);
	if (!o->json && !o->bench)
		device_print(r->v, stdout);
	rc = run(r, o->tokens);
	counters_read(r->v, &all);
	r->reads.content = all.c[VGPU_COUNT_READ_BYTES];
	reads_take(&r->reads, READS_CONTENT);
	if (rc && rc != -EINTR)
		cli_fail_vgpu(rc, "%s", o->path);
	if (!rc) {
		device_summary(r->v, json);
		show_objects(r, json);
	}
	drop_objects(r);
	vgpu_close(r->v);
	return rc == -EINTR ? CLI_INTERRUPTED : rc ? CLI_FAILED : CLI_OK;
}

static int finish(const struct stream_options *o, struct route *r, const char *trace,
		  struct json_object *json)
{
	struct optimum best = { 0 };
	int rc = optimum_of_trace(trace, WARM_PARTS, &best);

	if (rc)
		return stream_trace_fail(o, rc);
	summarise(o, r, &best, json);
	if (o->bench)
		bench_line(o, r, &best);
	else if (!o->json)
		print_route(o, r, &best);
	return stream_save(o, json);
}

int stream_route(const struct stream_options *o, const struct vgpu_checkpoint *ck,
		 const struct weights *w, const struct reads *reads)
{
	struct json_object *json = summary_new("stream");
	struct route r = { .ck = ck, .w = w, .seed = o->seed, .mode = (enum vgpu_mode)o->mode,
			   .digest = FNV64_START, .reads = *reads };
	char trace[PART_PATH_BYTES];
	int rc = find_layers(&r, w), fd = -1, error = 0;

	if (!rc)
		error = stream_trace(o, trace, sizeof(trace), &fd);
	if (error)
		rc = stream_trace_none(o, trace, error);
	if (!rc)
		rc = measure(o, &r, trace, json);
	if (!rc)
		rc = finish(o, &r, trace, json);
	if (fd >= 0)
		close(fd);
	rc = device_trace_end(o->device.trace, rc);
	json_object_put(json);
	free(r.layers);
	free(r.bar);
	return rc;
}

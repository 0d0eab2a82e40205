// SPDX-License-Identifier: MIT
/*
 * How fast are products of a mixture of experts, MATMUL_ID, beside ggml's MUL_MAT_ID and
 * beside what memory and arithmetic allow?
 *
 *	moe [--shape NxK] [--experts E/USED] [--weight NAME] [--routing NAME] [--threads N] [tokens...]
 *
 * The shape of an expert (2880x2880, gpt-oss's) and how many there are and are used (32/4);
 * weights and routing of this name alone; rows of activations (1 8 128 512).
 *
 * Ours is the whole command, recorded and submitted to a device whose host tier holds all
 * weights: reading the indices, sorting, packing activations, the products and bringing the
 * results where they belong.  ggml does as much.  Both draw the same experts, 16 choices by
 * turns, and go round over 512 MiB of stacks, so that no expert is in a cache when its turn
 * comes.  Outputs of both are compared with products in float64 before anything is timed.
 *
 * $BENCH_RUNS (5) turns of ours, ggml and bound; medians.  The bound is the smaller of peak
 * arithmetic in the mode and of memory bandwidth times the work a byte does, where each
 * expert that is chosen is read once a product.
 */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/bench_util.h"
#include "peers/experts.h"
#include "peers/peer.h"
#include "vgpu.h"

#define MAX_RUNS	99u
#define MAX_PRODUCTS	1024u
#define MAX_STACKS	64u
/* NMSE; roundings reach 4e-5, a wrong row is 1 and more. */
#define ERROR_MOST	1e-4

static struct {
	uint32_t experts, used, n, k;
	size_t rotate_bytes;
	double turn_seconds;
} size = { 32, 4, 2880, 2880, 512ul << 20, 0.05 };

/* @type: the source, as ggml calls it, too. */
static const struct subject {
	const char *weight, *mode_name, *type;
	enum vgpu_format source, packed;
	enum vgpu_mode mode;
	enum bench_op op;
} subjects[] = {
	{ "mxfp4", "a8", "mxfp4", VGPU_FORMAT_MXFP4, VGPU_FORMAT_MXFP4_G16, VGPU_MODE_A8,
	  BENCH_DOT_INT8 },
	{ "mxfp4", "a16", "mxfp4", VGPU_FORMAT_MXFP4, VGPU_FORMAT_MXFP4_G16, VGPU_MODE_A16,
	  BENCH_DOT_BF16 },
	{ "q4_0", "a8", "q4_0", VGPU_FORMAT_Q4_0, VGPU_FORMAT_Q4_0_G16, VGPU_MODE_A8,
	  BENCH_DOT_INT8 },
	{ "int8", "a8", "q8_0", VGPU_FORMAT_Q8_0, VGPU_FORMAT_INT8_G16, VGPU_MODE_A8,
	  BENCH_DOT_INT8 },
};

static const char *const routings[] = { [EXPERTS_UNIFORM] = "uniform", [EXPERTS_ZIPF] = "zipf" };

/**
 * struct bench - what stays for all measurements of one weight
 * @blocks: of a stack, as in the file
 * @expert_bytes: of one expert, packed
 * @far: memory that is in no cache, to measure the bandwidth of
 * @ggml: NULL: not here, or it has no such weights
 */
struct bench {
	const struct subject *subject;
	uint8_t *blocks;
	uint64_t expert_bytes;
	const uint8_t *far;
	struct peer *ggml;
	int fd;
	/* of one device */
	unsigned int threads;
	struct vgpu *v;
	struct vgpu_queue *q;
	struct vgpu_bo *stack[MAX_STACKS];
	uint32_t stacks;
	bool tiles;
};

/**
 * struct route - one shape of a product
 * @ids: [EXPERTS_SETS][tokens][used]
 * @turn: the next
 */
struct route {
	enum experts_routing routing;
	uint32_t tokens, turn;
	int32_t *ids;
	float *x;
	struct vgpu_bo *bx, *bids, *by;
	struct vgpu_cmdbuf *cb;
};

static void die(const char *what)
{
	fprintf(stderr, "moe: %s\n", what);
	exit(1);
}

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "moe: %s: %s\n", what, vgpu_error_text());
	exit(1);
}

static void *take(size_t bytes)
{
	void *p = bench_alloc(bytes);

	if (!p)
		die("no memory");
	return p;
}

/* ------------------------------------------------------------------------
 * Ours
 */

static struct vgpu_bo *object(const struct bench *b, const void *data, size_t bytes)
{
	struct vgpu_bo *bo;

	check(vgpu_bo_create(b->v, bytes, VGPU_LIFE_VOLATILE, &bo), "object");
	if (data)
		check(vgpu_bo_write(bo, 0, data, bytes), "write");
	return bo;
}

static void record(const struct bench *b, const struct route *r, uint32_t turn)
{
	uint32_t m = r->tokens, u = size.used;
	struct vgpu_matmul_id c = {
		.mode = b->subject->mode,
		.x = vgpu_matrix(r->bx, 0, VGPU_FORMAT_F32, m, size.k),
		.w = vgpu_cube(b->stack[turn % b->stacks], 0, b->subject->packed, size.experts,
			       size.n, size.k),
		.ids = vgpu_matrix(r->bids, (uint64_t)(turn % EXPERTS_SETS) * m * u * sizeof(int32_t),
				   VGPU_FORMAT_I32, m, u),
		.y = vgpu_cube(r->by, 0, VGPU_FORMAT_F32, m, u, size.n),
	};

	check(vgpu_cmd_matmul_id(r->cb, &c), "command");
}

/* Seconds a product, of so many from turn @first on. */
static double ours_time(const struct bench *b, struct route *r, uint32_t first, uint32_t products)
{
	double start;

	vgpu_cmdbuf_reset(r->cb);
	for (uint32_t i = 0; i < products; i++)
		record(b, r, first + i);
	start = bench_seconds();
	check(vgpu_finish(b->q, r->cb), "products");
	return (bench_seconds() - start) / products;
}

/* ------------------------------------------------------------------------
 * Right?
 */

/* What the product has at one place, of the first choice of experts. */
static double float64_at(const struct bench *b, const struct route *r, size_t at)
{
	uint32_t pair = (uint32_t)(at / size.n), row = (uint32_t)(at % size.n);
	const float *x = r->x + (size_t)(pair / size.used) * size.k;
	float *w = take(size.k * sizeof(*w));
	double sum = 0;
	uint64_t bytes;

	check(vgpu_matrix_bytes(b->subject->source, 1, size.k, &bytes), "row");
	bytes *= (uint64_t)r->ids[pair] * size.n + row;
	check(vgpu_matrix_decode(b->subject->source, 1, size.k, b->blocks + bytes, w), "decode");
	for (uint32_t i = 0; i < size.k; i++)
		sum += (double)x[i] * w[i];
	bench_free(w);
	return sum;
}

static void judge(const struct bench *b, const struct route *r, const char *who, const float *got)
{
	size_t n = (size_t)r->tokens * size.used * size.n;
	double error = 0, all = 0;

	for (unsigned int i = 0; i < PEER_SAMPLES; i++) {
		double want = float64_at(b, r, peer_sample(n, i));

		error += (got[i] - want) * (got[i] - want);
		all += want * want;
	}
	if (error <= ERROR_MOST * all)
		return;
	fprintf(stderr, "moe: %s's %s of %u tokens is wrong: NMSE %g\n", who, b->subject->weight,
		r->tokens, error / all);
	exit(1);
}

static void judge_both(const struct bench *b, struct route *r, const struct peer_route *p)
{
	size_t n = (size_t)r->tokens * size.used * size.n;
	float samples[PEER_SAMPLES];

	ours_time(b, r, 0, 1);
	for (unsigned int i = 0; i < PEER_SAMPLES; i++)
		check(vgpu_bo_read(r->by, peer_sample(n, i) * sizeof(float), &samples[i],
				   sizeof(float)), "result");
	judge(b, r, "our", samples);
	if (b->ggml && b->ggml->route(b->ggml, p, 1, samples) > 0)
		judge(b, r, b->ggml->name, samples);
}

/* ------------------------------------------------------------------------
 * Measuring
 */

/* Bytes of the experts that a choice names, each once; the mean of all choices. */
static double bytes_touched(const struct bench *b, const struct route *r)
{
	uint32_t pairs = r->tokens * size.used, touched = 0;

	for (uint32_t s = 0; s < EXPERTS_SETS; s++) {
		bool seen[EXPERTS_MOST] = { false };

		for (uint32_t i = 0; i < pairs; i++) {
			int32_t e = r->ids[(size_t)s * pairs + i];

			touched += !seen[e];
			seen[e] = true;
		}
	}
	return (double)touched / EXPERTS_SETS * (double)b->expert_bytes;
}

/* Operations of a product. */
static double flop_of(const struct route *r)
{
	return 2.0 * r->tokens * size.used * size.n * size.k;
}

/* GF/s that memory and arithmetic allow. */
static double bound_rate(const struct bench *b, const struct route *r)
{
	bool tiles = b->tiles && b->subject->op == BENCH_DOT_BF16;
	double peak = bench_peak_rate(tiles ? BENCH_TILE_BF16 : b->subject->op, b->threads);
	double bytes = bench_read_rate(b->far, size.rotate_bytes, b->threads);
	double memory = bytes / bytes_touched(b, r) * flop_of(r);

	return (peak > 0 && peak < memory ? peak : memory) * 1e-9;
}

static void emit(const struct bench *b, const struct route *r, double ours, double theirs,
		 double bound)
{
	double bytes = bytes_touched(b, r), products = ours / flop_of(r);
	char note[128];
	struct bench_result line = {
		.bench = "moe", .weight = b->subject->weight, .mode = b->subject->mode_name,
		.residency = "dram", .m = r->tokens, .n = size.n, .k = size.k,
		.experts = size.experts, .used = size.used, .routing = routings[r->routing],
		.threads = b->threads, .unit = "GF/s", .ours = ours,
		.peer = theirs > 0 ? b->ggml->name : NULL, .theirs = theirs, .bound = bound,
		.runs = bench_runs(5, MAX_RUNS), .note = note,
	};

	snprintf(note, sizeof(note), "%s, %.1f of %u experts, %.1f GB/s%s%s", routings[r->routing],
		 bytes / (double)b->expert_bytes, size.experts, bytes * products,
		 theirs > 0 ? "; its " : "", theirs > 0 ? b->ggml->form : "");
	if (bench_emit(&line))
		fprintf(stderr, "moe: cannot append to the JSON file\n");
}

/* As many as fill a turn. */
static uint32_t products_of(double seconds)
{
	double n = seconds > 0 ? size.turn_seconds / seconds + 1 : 1;

	return n < MAX_PRODUCTS ? (uint32_t)n : MAX_PRODUCTS;
}

static void measure(const struct bench *b, struct route *r)
{
	double ours[MAX_RUNS], theirs[MAX_RUNS], bound[MAX_RUNS], flop = flop_of(r) * 1e-9, seconds;
	struct peer_route p = { r->routing, r->tokens, size.used, 0, b->threads };
	unsigned int runs = bench_runs(5, MAX_RUNS);
	uint32_t mine, its = 0;

	judge_both(b, r, &p);
	mine = products_of(ours_time(b, r, r->turn, 1));
	seconds = b->ggml ? b->ggml->route(b->ggml, &p, 1, NULL) : 0;
	if (seconds > 0)
		its = products_of(seconds);
	for (unsigned int i = 0; i < runs; i++) {
		ours[i] = flop / ours_time(b, r, r->turn, mine);
		r->turn += mine;
		theirs[i] = its ? flop / b->ggml->route(b->ggml, &p, its, NULL) : 0;
		p.first += its;
		bound[i] = bound_rate(b, r);
	}
	emit(b, r, bench_median(ours, runs), its ? bench_median(theirs, runs) : 0,
	     bench_median(bound, runs));
}

static void measure_route(const struct bench *b, uint32_t tokens, enum experts_routing routing)
{
	struct route r = { .routing = routing, .tokens = tokens };
	size_t pairs = (size_t)tokens * size.used;

	r.ids = take(EXPERTS_SETS * pairs * sizeof(*r.ids));
	r.x = take((size_t)tokens * size.k * sizeof(*r.x));
	for (uint32_t i = 0; i < EXPERTS_SETS; i++)
		experts_choose(i, routing, size.experts, tokens, size.used, r.ids + i * pairs);
	values_activations(r.x, (size_t)tokens * size.k);
	r.bids = object(b, r.ids, EXPERTS_SETS * pairs * sizeof(*r.ids));
	r.bx = object(b, r.x, (size_t)tokens * size.k * sizeof(*r.x));
	r.by = object(b, NULL, pairs * size.n * sizeof(float));
	check(vgpu_cmdbuf_create(b->v, &r.cb), "commands");
	measure(b, &r);
	vgpu_cmdbuf_destroy(r.cb);
	vgpu_bo_destroy(r.bids);
	vgpu_bo_destroy(r.bx);
	vgpu_bo_destroy(r.by);
	bench_free(r.ids);
	bench_free(r.x);
}

/* ------------------------------------------------------------------------
 * Weights and devices
 */

/* The blocks in a file of memory, which objects are packed from. */
static void blocks_open(struct bench *b)
{
	uint64_t bytes;

	check(vgpu_matrix_bytes(b->subject->source, size.n, size.k, &bytes), "blocks");
	check(vgpu_matrix_bytes(b->subject->packed, size.n, size.k, &b->expert_bytes), "packed");
	bytes *= size.experts;
	b->blocks = take(bytes);
	values_weights(values_type(b->subject->type), b->blocks, bytes);
	b->fd = memfd_create("experts", MFD_CLOEXEC);
	if (b->fd < 0)
		die("no file");
	for (uint64_t at = 0; at < bytes;) {
		ssize_t n = write(b->fd, b->blocks + at, bytes - at);

		if (n <= 0)
			die("no room for the file");
		at += (uint64_t)n;
	}
}

/* Stacks, and what products have beside them: 512 tokens' results and activations. */
static uint64_t tier_bytes(const struct bench *b, uint32_t tokens)
{
	uint64_t weights = b->stacks * b->expert_bytes * size.experts;
	uint64_t rows = (uint64_t)tokens * (size.used * (uint64_t)size.n + size.k) * sizeof(float);

	return (weights + 2 * rows) / 8 * 9 + (64ul << 20);
}

/* A stack that is packed, as a whole, before anything is timed. */
static struct vgpu_bo *stack_open(const struct bench *b, const struct vgpu_pack *pack)
{
	struct vgpu_bo *bo;
	void *at;

	check(vgpu_bo_create_packed(b->v, b->fd, 0, pack, &bo), "stack");
	check(vgpu_bo_map(bo, 0, 0, VGPU_MAP_READ, &at), "stack");
	check(vgpu_bo_unmap(bo, 0, 0, VGPU_MAP_READ), "stack");
	return bo;
}

static void device_open(struct bench *b, unsigned int threads, uint32_t tokens)
{
	struct vgpu_config config = { .size = sizeof(config), .threads = threads };
	struct vgpu_pack pack = { b->subject->source, b->subject->packed, size.n, size.k,
				  size.experts, { 0 } };
	uint64_t stack = b->expert_bytes * size.experts;
	char isa[16] = "";

	b->threads = threads;
	b->stacks = (uint32_t)((size.rotate_bytes + stack - 1) / stack);
	b->stacks = b->stacks < MAX_STACKS ? b->stacks : MAX_STACKS;
	config.host_bytes = tier_bytes(b, tokens);
	check(vgpu_open_embedded(&config, &b->v), "device");
	check(vgpu_queue_create(b->v, 0, &b->q), "queue");
	vgpu_describe(b->v, "isa", isa, sizeof(isa));
	b->tiles = !strcmp(isa, "amx");
	for (uint32_t i = 0; i < b->stacks; i++)
		b->stack[i] = stack_open(b, &pack);
}

static void device_close(struct bench *b)
{
	for (uint32_t i = 0; i < b->stacks; i++)
		vgpu_bo_destroy(b->stack[i]);
	vgpu_queue_destroy(b->q);
	vgpu_close(b->v);
}

/* What the command line asks for. */
struct request {
	uint32_t tokens[16];
	unsigned int count, threads;
	const char *weight, *routing;
};

static uint32_t most_tokens(const struct request *r)
{
	uint32_t most = 0;

	for (unsigned int i = 0; i < r->count; i++)
		most = r->tokens[i] > most ? r->tokens[i] : most;
	return most;
}

static void measure_device(struct bench *b, const struct request *r, unsigned int threads)
{
	device_open(b, threads, most_tokens(r));
	for (uint32_t i = 0; i < 2; i++) {
		if (r->routing && strcmp(r->routing, routings[i]))
			continue;
		for (unsigned int t = 0; t < r->count; t++)
			measure_route(b, r->tokens[t], i);
	}
	device_close(b);
}

static void measure_subject(const struct subject *s, const struct request *r, struct peer *ggml,
			    const uint8_t *far)
{
	struct peer_experts e = { s->type, size.experts, size.n, size.k, size.rotate_bytes };
	struct bench b = { .subject = s, .far = far };
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	blocks_open(&b);
	if (ggml && ggml->experts(ggml, &e))
		b.ggml = ggml;
	for (unsigned int threads = 1; threads <= 2 && threads <= cpus; threads++)
		if (!r->threads || r->threads == threads)
			measure_device(&b, r, threads);
	close(b.fd);
	bench_free(b.blocks);
}

/* ------------------------------------------------------------------------
 * What is asked for
 */

static const char usage[] = "usage: moe [--shape NxK] [--experts E/USED] [--weight NAME] "
			    "[--routing uniform|zipf] [--threads 1|2] [tokens...]; N and K are multiples "
			    "of 32, E at most 256, USED at most E";

static void two_numbers(const char *text, const char *format, uint32_t *a, uint32_t *b)
{
	if (!text || sscanf(text, format, a, b) != 2 || !*a || !*b)
		die(usage);
}

static void option(struct request *r, const char *name, const char *value)
{
	if (!value)
		die(usage);
	if (!strcmp(name, "--shape"))
		two_numbers(value, "%ux%u", &size.n, &size.k);
	else if (!strcmp(name, "--experts"))
		two_numbers(value, "%u/%u", &size.experts, &size.used);
	else if (!strcmp(name, "--weight"))
		r->weight = value;
	else if (!strcmp(name, "--routing"))
		r->routing = value;
	else if (!strcmp(name, "--threads"))
		r->threads = (unsigned int)strtoul(value, NULL, 10);
	else
		die(usage);
}

static struct request parse(char **argv)
{
	struct request r = { .count = 0 };

	if (bench_short()) {
		size.n = size.k = 256;
		size.rotate_bytes = 4ul << 20;
		size.turn_seconds = 0.001;
	}
	while (*++argv) {
		uint32_t tokens = (uint32_t)strtoul(*argv, NULL, 10);

		if (tokens && r.count < 16) {
			r.tokens[r.count++] = tokens;
			continue;
		}
		option(&r, argv[0], argv[1]);
		argv++;
	}
	if (!r.count) {
		memcpy(r.tokens, (const uint32_t[]){ 1, 8, 128, 512 }, 4 * sizeof(*r.tokens));
		r.count = bench_short() ? 2 : 4;
	}
	if (size.n % 32 || size.k % 32 || size.experts > EXPERTS_MOST || size.used > size.experts ||
	    r.threads > 2 || (r.routing && strcmp(r.routing, routings[0]) && strcmp(r.routing, routings[1])))
		die(usage);
	return r;
}

int main(int argc, char **argv)
{
	struct request r = parse(argv);
	struct peer *ggml = peer_ggml.open(&peer_ggml) ? &peer_ggml : NULL;
	uint8_t *far = take(size.rotate_bytes);
	bool any = false;

	(void)argc;
	bench_say_round_trip();
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
		if (r.weight && strcmp(r.weight, subjects[i].weight))
			continue;
		any = true;
		measure_subject(&subjects[i], &r, ggml, far);
	}
	bench_free(far);
	if (!any)
		die("no weight has this name");
	return 0;
}

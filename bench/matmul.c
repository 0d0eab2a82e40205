// SPDX-License-Identifier: MIT
/*
 * How fast are products with compressed weights, beside OpenBLAS on f32, beside oneDNN
 * where it has the type, beside ggml with weights of the same type, and beside what memory and
 * arithmetic allow?
 *
 *	matmul [--shape NxK] [--weight NAME] [--threads N] [--cache] [m...]
 *
 * The shape of a weight (4096x4096), those of this name alone, so many threads alone (1, then 2),
 * and rows of activations to measure (1 8 32 512).
 *
 * $BENCH_RUNS (5) turns of ours, each peer and bound; medians.  "dram" goes round over
 * 512 MiB of copies of the weight, so that none is in a cache when its turn comes; --cache
 * has one copy.  The bound is the smaller of peak arithmetic in the mode and of memory bandwidth
 * (of the caches where the weight is in them) times the work a byte does.
 *
 * Ours is the command MATMUL as the backend runs it, on a pool of so many threads: each product
 * packs its activations, and the threads meet before the product and behind it, as ggml's do
 * before and behind each of its nodes.  Ours and ggml's have the same weights and activations;
 * outputs of both are compared with products in float64, and both NMSEs are in the row.  A
 * default mode that is less accurate than ggml makes the exit status 1.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "exec/backend.h"
#include "exec/derive.h"
#include "kernels/kernels.h"
#include "kernels/pool.h"
#include "kernels/weight.h"
#include "peers/peer.h"
#include "peers/values.h"
#include "rotation.h"

#define MAX_RUNS	99u
#define MAX_PEERS	3u
#define MAX_THREADS	2u
/* NMSE of 8 bits reaches 3e-5, a wrong row is 1 and more. */
#define ERROR_MOST	1e-4
/*
 * Two errors that are the same differ in a sample by a few per cent; below the other number is what
 * the order of sums in f32 makes of it, and no matter of a format.
 */
#define ERROR_NOISE	1.1
#define ERROR_OF_SUMS	1e-12

/* Of every weight, of its copies together (0: one is enough), and of a turn. */
static struct {
	uint32_t n, k;
	size_t rotate_bytes;
	double turn_seconds;
} size = { 4096, 4096, 512ul << 20, 0.05 };

/* @source: what it is packed from, or @format itself; ggml's type has the same blocks. */
static const struct subject {
	enum vgpu_wformat source, format;
	enum vgpu_mode mode;
	const char *weight, *mode_name, *ggml;
	enum bench_op op;
} subjects[] = {
	{ VGPU_W_MXFP4, VGPU_W_MXFP4_G16, VGPU_MODE_A8, "mxfp4", "a8", "mxfp4", BENCH_DOT_INT8 },
	{ VGPU_W_MXFP4, VGPU_W_MXFP4_G16, VGPU_MODE_A8_256, "mxfp4", "a8-256", "mxfp4", BENCH_DOT_INT8 },
	{ VGPU_W_MXFP4, VGPU_W_MXFP4_G16, VGPU_MODE_A16, "mxfp4", "a16", "mxfp4", BENCH_DOT_BF16 },
	{ VGPU_W_MXFP4, VGPU_W_MXFP4_G16, VGPU_MODE_F32, "mxfp4", "f32", "mxfp4", BENCH_FMA_F32 },
	{ VGPU_W_Q8_0, VGPU_W_INT8_G16, VGPU_MODE_A8, "int8", "a8", "q8_0", BENCH_DOT_INT8 },
	{ VGPU_W_Q8_0, VGPU_W_INT8_G16, VGPU_MODE_A16, "int8", "a16", "q8_0", BENCH_DOT_BF16 },
	{ VGPU_W_MXFP4, VGPU_W_MXFP4, VGPU_MODE_A8, "mxfp4-gguf", "a8", "mxfp4", BENCH_DOT_INT8 },
	{ VGPU_W_Q4_0, VGPU_W_Q4_0_G16, VGPU_MODE_A8, "q4_0", "a8", "q4_0", BENCH_DOT_INT8 },
	{ VGPU_W_Q4_0, VGPU_W_Q4_0_G16, VGPU_MODE_A16, "q4_0", "a16", "q4_0", BENCH_DOT_BF16 },
	{ VGPU_W_Q4_K, VGPU_W_Q4_K_G16, VGPU_MODE_A8, "q4_k", "a8", "q4_K", BENCH_DOT_INT8 },
	{ VGPU_W_Q4_K, VGPU_W_Q4_K_G16, VGPU_MODE_A16, "q4_k", "a16", "q4_K", BENCH_DOT_BF16 },
	{ VGPU_W_Q5_0, VGPU_W_Q5_0_G16, VGPU_MODE_A8, "q5_0", "a8", "q5_0", BENCH_DOT_INT8 },
	{ VGPU_W_Q5_0, VGPU_W_Q5_0_G16, VGPU_MODE_A16, "q5_0", "a16", "q5_0", BENCH_DOT_BF16 },
	{ VGPU_W_Q6_K, VGPU_W_Q6_K_G16, VGPU_MODE_A8, "q6_k", "a8", "q6_K", BENCH_DOT_INT8 },
	{ VGPU_W_Q6_K, VGPU_W_Q6_K_G16, VGPU_MODE_A16, "q6_k", "a16", "q6_K", BENCH_DOT_BF16 },
	{ VGPU_W_NVFP4, VGPU_W_NVFP4_G16, VGPU_MODE_A8, "nvfp4", "a8", "nvfp4", BENCH_DOT_INT8 },
	{ VGPU_W_NVFP4, VGPU_W_NVFP4_G16, VGPU_MODE_A16, "nvfp4", "a16", "nvfp4", BENCH_DOT_BF16 },
	{ VGPU_W_BF16, VGPU_W_BF16, VGPU_MODE_A16, "bf16", "a16", "bf16", BENCH_DOT_BF16 },
	{ VGPU_W_F16, VGPU_W_F16, VGPU_MODE_F32, "f16", "f32", "f16", BENCH_FMA_F32 },
	{ VGPU_W_F32, VGPU_W_F32, VGPU_MODE_F32, "f32", "f32", "f32", BENCH_FMA_F32 },
};

/**
 * struct ours - our side of a measurement
 * @source: the weight as @subject->source, row behind row
 * @pool, @backend: of so many threads, and one
 * @x, @y: [m][k], [m][n]
 * @products: of a turn
 * @want: outputs in float64, peer_outputs() of them
 * @nmse: of ours
 */
struct ours {
	const struct subject *subject;
	struct rotation w;
	uint8_t *source;
	struct vgpu_pool *pool[MAX_THREADS];
	void *backend[MAX_THREADS];
	float *x, *y;
	uint32_t m, products;
	unsigned int threads;
	double want[PEER_OUTPUTS], nmse;
};

/* Those that are here. */
static struct peer *peers[MAX_PEERS];
static unsigned int peer_count;

static bool failed;

static void die(const char *what)
{
	fprintf(stderr, "matmul: %s\n", what);
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
 * Weights
 */

/* Of a row, or of 16 that are packed together. */
static size_t unit_bytes(const struct subject *s)
{
	return vgpu_weight_unit_bytes(s->format, size.k);
}

static uint32_t units(const struct subject *s)
{
	return size.n / vgpu_weight_unit_rows(s->format);
}

/* As an object that is derived from a file of such blocks. */
static int weight_pack(const struct ours *o)
{
	const struct subject *s = o->subject;
	struct vgpu_object object = {
		.bytes = o->w.bytes, .unit_rows = VGPU_GROUP_ROWS, .unit_bytes = unit_bytes(s),
		.matrix_bytes = o->w.bytes,
		.transform = { .kind = VB_TRANSFORM_PACK, .src_format = (uint16_t)s->source,
			       .dst_format = (uint16_t)s->format, .rows = size.n, .cols = size.k },
	};
	struct vgpu_derive_range range = { .end_unit = units(s), .end_col = size.k };
	uint64_t scratch;
	int rc = o->w.bytes > UINT32_MAX ? -E2BIG : vgpu_derive_range(&object, &range);

	return rc ? rc : vgpu_derive_units(&object, 0, (uint32_t)o->w.bytes, &range, o->source, NULL,
					   o->w.data, NULL, &scratch);
}

static void weight_init(struct ours *o)
{
	const struct subject *s = o->subject;
	size_t bytes = vgpu_weight_unit_bytes(s->source, size.k) * size.n;

	o->source = take(bytes);
	values_weights(values_type(s->ggml), o->source, bytes);
	if (!rotation_init(&o->w, unit_bytes(s) * units(s), size.rotate_bytes))
		die("no memory");
	if (s->source == s->format)
		memcpy(o->w.data, o->source, bytes);
	else if (weight_pack(o))
		die("a weight is not packed");
	rotation_fill(&o->w);
}

/* ------------------------------------------------------------------------
 * Ours
 */

static struct vb_operand operand(enum vgpu_wformat format, uint32_t rows, uint32_t cols)
{
	return (struct vb_operand){ .format = (uint16_t)format, .rank = 2, .shape = { rows, cols } };
}

/* The whole weight is one panel. */
static void ours_product(const struct ours *o, uint32_t turn)
{
	const struct subject *s = o->subject;
	struct vb_cmd_matmul c = {
		.h = { VB_CMD_MATMUL, 0, sizeof(c) }, .mode = s->mode,
		.x = operand(VGPU_W_F32, o->m, size.k),
		.w = operand(s->format, size.n, size.k), .y = operand(VGPU_W_F32, o->m, size.n),
	};
	struct vgpu_work work = { .cmd = &c.h, .ptr = { o->x, NULL, NULL, o->y } };
	struct vgpu_piece piece = { rotation_copy(&o->w, turn), o->w.bytes };
	struct vgpu_panel_work panel = {
		.rows = size.n, .unit_rows = vgpu_weight_unit_rows(s->format),
		.unit_bytes = { unit_bytes(s) }, .piece = { &piece }, .pieces = { 1 },
	};
	void *be = o->backend[o->threads - 1];

	if (vgpu_backend_cpu.begin(be, &work) || vgpu_backend_cpu.panel(be, &work, &panel))
		die("a product fails");
	vgpu_backend_cpu.end(be, &work);
}

/* Seconds a product. */
static double ours_time(struct ours *o)
{
	double start = bench_seconds();

	for (uint32_t i = 0; i < o->products; i++)
		ours_product(o, i);
	o->w.next += o->products;
	return (bench_seconds() - start) / o->products;
}

/* ------------------------------------------------------------------------
 * Right?
 */

static double float64_at(const struct ours *o, size_t at, float *row)
{
	size_t bytes = vgpu_weight_unit_bytes(o->subject->source, size.k);
	const float *x = o->x + at / size.n * size.k;
	double sum = 0;

	if (vgpu_weight_decode(o->subject->source, 1, size.k, o->source + at % size.n * bytes, row))
		die("a weight is not decoded");
	for (uint32_t i = 0; i < size.k; i++)
		sum += (double)x[i] * row[i];
	return sum;
}

static void want_init(struct ours *o)
{
	size_t n = (size_t)o->m * size.n;
	float *row = take(size.k * sizeof(*row));

	for (unsigned int i = 0; i < peer_outputs(n); i++)
		o->want[i] = float64_at(o, peer_sample_of(n, peer_outputs(n), i), row);
	bench_free(row);
}

static double nmse(const struct ours *o, const char *who, const float *got)
{
	double error = 0, all = 0;

	for (unsigned int i = 0; i < peer_outputs((size_t)o->m * size.n); i++) {
		error += (got[i] - o->want[i]) * (got[i] - o->want[i]);
		all += o->want[i] * o->want[i];
	}
	if (!(error <= ERROR_MOST * all)) {
		fprintf(stderr, "matmul: %s's %s of m = %u is wrong: NMSE %g\n", who, o->subject->weight,
			o->m, error / all);
		exit(1);
	}
	return error / all;
}

static double ours_nmse(const struct ours *o)
{
	size_t n = (size_t)o->m * size.n;
	float got[PEER_OUTPUTS];

	memset(o->y, 0, n * sizeof(*o->y));
	ours_product(o, 0);
	for (unsigned int i = 0; i < peer_outputs(n); i++)
		got[i] = o->y[peer_sample_of(n, peer_outputs(n), i)];
	return nmse(o, "our", got);
}

/* 0: it has other weights, or failed. */
static double peer_nmse(const struct ours *o, struct peer *peer)
{
	struct peer_product p = { o->m, o->threads };
	const struct subject *s = o->subject;
	float got[PEER_OUTPUTS];
	double theirs;

	if (!peer->outputs || !peer->outputs(peer, p, got))
		return 0;
	theirs = nmse(o, peer->name, got);
	if (s->mode == vgpu_matmul_mode(s->format, VGPU_MODE_A16) &&
	    o->nmse > ERROR_NOISE * theirs + ERROR_OF_SUMS) {
		fprintf(stderr, "matmul: %s %s of m = %u: NMSE %.3g, %s has %.3g; at most that\n",
			s->weight, s->mode_name, o->m, o->nmse, peer->name, theirs);
		failed = true;
	}
	return theirs;
}

/* ------------------------------------------------------------------------
 * Measuring
 */

/* GF/s that memory and arithmetic allow. */
static double bound_rate(const struct ours *o)
{
	bool tiles = vgpu_kernels_best()->isa == VGPU_ISA_AMX && o->subject->op == BENCH_DOT_BF16;
	double flop = 2.0 * o->m * size.n * size.k;
	double peak = bench_peak_rate(tiles ? BENCH_TILE_BF16 : o->subject->op, o->threads);
	double bytes = bench_read_rate(o->w.data, o->w.bytes * o->w.copies, o->threads);
	double memory = bytes / (double)o->w.bytes * flop;

	return (peak > 0 && peak < memory ? peak : memory) * 1e-9;
}

/* Seconds of a product by it; 0: it has none. */
static double peer_time(struct peer *peer, const struct ours *o, uint32_t *products)
{
	struct peer_product p = { o->m, o->threads };
	double seconds;

	if (*products)
		return peer->time(peer, p, *products);
	seconds = peer->time(peer, p, 1);
	*products = seconds > 0 ? (uint32_t)(size.turn_seconds / seconds) + 1 : 0;
	return seconds;
}

/* @its: error of the peer's, or 0 */
static void emit(const struct ours *o, double ours, const struct peer *peer, double theirs,
		 double its, double bound)
{
	char note[128], error[32] = "";
	struct bench_result r = {
		.bench = "matmul", .weight = o->subject->weight, .mode = o->subject->mode_name,
		.residency = size.rotate_bytes ? "dram" : "cache", .m = o->m, .n = size.n,
		.k = size.k, .threads = o->threads, .unit = "GF/s", .ours = ours,
		.peer = peer ? peer->name : NULL, .theirs = theirs, .bound = bound,
		.nmse = o->nmse, .peer_nmse = its, .runs = bench_runs(5, MAX_RUNS), .note = note,
	};

	if (its > 0)
		snprintf(error, sizeof(error), ", NMSE %.2g", its);
	snprintf(note, sizeof(note), "%.1f GB/s of weights, NMSE %.2g%s%s%s",
		 ours / (2.0 * o->m * size.n * size.k) * (double)o->w.bytes, o->nmse,
		 peer ? "; its " : "", peer ? peer->form : "", error);
	if (bench_emit(&r))
		fprintf(stderr, "matmul: cannot append to the JSON file\n");
}

/* Of one peer: how many products fill a turn, none: it has no such; turns; its error. */
struct beside {
	uint32_t products;
	double rate[MAX_RUNS], nmse;
};

static void turn(struct ours *o, struct beside *b, double *ours, double *bound, unsigned int i)
{
	double flop = 2.0 * o->m * size.n * size.k * 1e-9;

	ours[i] = flop / ours_time(o);
	for (unsigned int p = 0; p < peer_count; p++)
		b[p].rate[i] = b[p].products ? flop / peer_time(peers[p], o, &b[p].products) : 0;
	bound[i] = bound_rate(o);
}

/* @use: which of the peers have such weights */
static void measure(struct ours *o, const bool *use)
{
	double ours[MAX_RUNS], bound[MAX_RUNS], our_rate, most;
	unsigned int runs = bench_runs(5, MAX_RUNS), emitted = 0;
	struct beside b[MAX_PEERS] = { { 0 } };

	o->nmse = ours_nmse(o);
	o->products = 1;
	o->products = (uint32_t)(size.turn_seconds / ours_time(o)) + 1;
	for (unsigned int p = 0; p < peer_count; p++) {
		if (!use[p])
			continue;
		peer_time(peers[p], o, &b[p].products);
		b[p].nmse = b[p].products ? peer_nmse(o, peers[p]) : 0;
	}
	for (unsigned int i = 0; i < runs; i++)
		turn(o, b, ours, bound, i);
	our_rate = bench_median(ours, runs);
	most = bench_median(bound, runs);
	for (unsigned int p = 0; p < peer_count; p++) {
		if (b[p].products)
			emit(o, our_rate, peers[p], bench_median(b[p].rate, runs), b[p].nmse, most);
		emitted += b[p].products > 0;
	}
	if (!emitted)
		emit(o, our_rate, NULL, 0, 0, most);
}

static void measure_subject(struct ours *o, const struct subject *s, const uint32_t *m,
			    unsigned int ms)
{
	struct peer_weights w = { s->ggml, size.n, size.k, size.rotate_bytes,
				  vgpu_mode_is_a8(s->mode) };
	bool use[MAX_PEERS] = { false };

	o->subject = s;
	weight_init(o);
	for (unsigned int p = 0; p < peer_count; p++)
		use[p] = peers[p]->weights(peers[p], &w);
	for (unsigned int i = 0; i < ms; i++) {
		o->m = m[i];
		want_init(o);
		for (o->threads = 1; o->threads <= MAX_THREADS; o->threads++)
			if (o->backend[o->threads - 1])
				measure(o, use);
	}
	bench_free(o->source);
	bench_free(o->w.data);
}

/* @threads: 0: one thread, and two where there are as many CPUs */
static void pools_open(struct ours *o, unsigned int threads)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	for (uint32_t i = 0; i < MAX_THREADS; i++) {
		struct vgpu_pool_params params = { .threads = i + 1 };

		if (threads ? threads != i + 1 : i >= cpus)
			continue;
		if (vgpu_pool_open(&params, &o->pool[i]) ||
		    vgpu_backend_cpu.open(o->pool[i], &o->backend[i]))
			die("no threads");
	}
}

static void pools_close(struct ours *o)
{
	for (uint32_t i = 0; i < MAX_THREADS; i++) {
		if (!o->backend[i])
			continue;
		vgpu_backend_cpu.close(o->backend[i]);
		vgpu_pool_close(o->pool[i]);
	}
}

/* What the command line asks for. */
struct request {
	uint32_t m[16];
	unsigned int ms, threads;
	const char *weight;
};

static const char usage[] = "usage: matmul [--shape NxK] [--weight NAME] [--threads 1|2] [--cache] "
			    "[m...]; N and K are multiples of 64, each m at least 1";

static void shape_parse(const char *text)
{
	if (!text || sscanf(text, "%ux%u", &size.n, &size.k) != 2 || !size.n || !size.k ||
	    size.n % 64 || size.k % 64)
		die(usage);
}

static struct request parse(char **argv)
{
	struct request r = { .ms = 0 };

	if (bench_short()) {
		size.n = size.k = 512;
		size.rotate_bytes = 4ul << 20;
		size.turn_seconds = 0.001;
	}
	while (*++argv) {
		if (!strcmp(*argv, "--shape"))
			shape_parse(*++argv);
		else if (!strcmp(*argv, "--weight") && argv[1])
			r.weight = *++argv;
		else if (!strcmp(*argv, "--threads") && argv[1])
			r.threads = (unsigned int)strtoul(*++argv, NULL, 10);
		else if (!strcmp(*argv, "--cache"))
			size.rotate_bytes = 0;
		else if (r.ms < 16 && strtoul(*argv, NULL, 10))
			r.m[r.ms++] = (uint32_t)strtoul(*argv, NULL, 10);
		else
			die(usage);
	}
	if (r.threads > MAX_THREADS)
		die(usage);
	if (!r.ms) {
		memcpy(r.m, (const uint32_t[]){ 1, 8, 32, 512 }, 4 * sizeof(*r.m));
		r.ms = bench_short() ? 2 : 4;
	}
	return r;
}

static void peers_open(void)
{
	struct peer *known[MAX_PEERS] = { &peer_blas, &peer_onednn, &peer_ggml };

	for (unsigned int i = 0; i < MAX_PEERS; i++)
		if (known[i]->open(known[i]))
			peers[peer_count++] = known[i];
}

/* What all the weights are multiplied with. */
static void activations_init(struct ours *o, const struct request *r)
{
	uint32_t most = 0;

	for (unsigned int i = 0; i < r->ms; i++)
		most = r->m[i] > most ? r->m[i] : most;
	o->x = take((size_t)most * size.k * sizeof(*o->x));
	o->y = take((size_t)most * size.n * sizeof(*o->y));
	values_activations(o->x, (size_t)most * size.k);
}

int main(int argc, char **argv)
{
	struct request r = parse(argv);
	static struct ours o;
	bool any = false;

	(void)argc;
	printf("level %s\n", vgpu_isa_name(vgpu_kernels_best()->isa));
	bench_say_round_trip();
	peers_open();
	pools_open(&o, r.threads);
	activations_init(&o, &r);
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
		if (r.weight && strcmp(r.weight, subjects[i].weight))
			continue;
		any = true;
		measure_subject(&o, &subjects[i], r.m, r.ms);
	}
	if (!any)
		die("no weight has this name");
	pools_close(&o);
	bench_free(o.x);
	bench_free(o.y);
	return failed;
}

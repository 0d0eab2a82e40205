// SPDX-License-Identifier: MIT
/*
 * How fast is dX = dY W, the gradient of a product's activations, beside OpenBLAS on f32, beside our
 * own product of the same weight in mode F32, and beside what memory and arithmetic allow?
 *
 *	transposed [--shape NxK] [--weight NAME] [--threads N] [m...]
 *
 * The shape of a weight (4096x4096), those of this name alone, so many threads alone (1, then 2),
 * and rows of activations to measure (1 32 512).
 *
 * $BENCH_RUNS (5) turns of each by turns; medians.  Weights go round over 512 MiB of copies.  Ours are
 * the commands MATMUL_TRANSPOSED and MATMUL as the backend runs them.  One row of the result is
 * compared with float64 before: more than 1e-9 in NMSE ends the benchmark.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "exec/backend.h"
#include "kernels/kernels.h"
#include "kernels/pool.h"
#include "kernels/weight.h"
#include "peers/peer.h"
#include "peers/values.h"
#include "rotation.h"

#define MAX_RUNS	99u
#define MAX_THREADS	2u
/* n roundings of 2^-24 in f32 leave n 2^-48 at most, an order of magnitude less on random signs. */
#define ERROR_MOST	1e-9

/* Of every weight, of its copies together, and of a turn. */
static struct {
	uint32_t n, k;
	size_t rotate_bytes;
	double turn_seconds;
} size = { 4096, 4096, 512ul << 20, 0.05 };

static const struct subject {
	enum vgpu_wformat source, format;
	const char *weight, *values;
} subjects[] = {
	{ VGPU_W_MXFP4, VGPU_W_MXFP4_G16, "mxfp4", "mxfp4" },
	{ VGPU_W_Q8_0, VGPU_W_INT8_G16, "int8", "q8_0" },
	{ VGPU_W_Q4_0, VGPU_W_Q4_0_G16, "q4_0", "q4_0" },
	{ VGPU_W_Q4_K, VGPU_W_Q4_K_G16, "q4_k", "q4_K" },
	{ VGPU_W_Q4_K, VGPU_W_Q4_K, "q4_k-gguf", "q4_K" },
	{ VGPU_W_BF16, VGPU_W_BF16, "bf16", "bf16" },
	{ VGPU_W_F32, VGPU_W_F32, "f32", "f32" },
};

/**
 * struct ours - our side of a measurement
 * @source: the weight as @subject->source, row behind row
 * @pool, @backend: of so many threads, and one
 * @x, @y: [m], as long as the longer side of the weight
 * @products, @forward: of a turn
 */
struct ours {
	const struct subject *subject;
	struct rotation w;
	uint8_t *source;
	struct vgpu_pool *pool[MAX_THREADS];
	void *backend[MAX_THREADS];
	float *x, *y;
	uint32_t m, products, forward, theirs;
	unsigned int threads;
	double nmse;
};

static bool blas_is_here;

static void die(const char *what)
{
	fprintf(stderr, "transposed: %s\n", what);
	exit(1);
}

static void *take(size_t bytes)
{
	void *p = bench_alloc(bytes);

	if (!p)
		die("no memory");
	return p;
}

/* 16 rows of a packed format, or one. */
static int unit_pack(const struct subject *s, uint8_t *dst, const uint8_t *src, size_t row_bytes)
{
	const struct vgpu_kernels *t = vgpu_kernels_best();
	struct vgpu_mxfp4_rows rows = { .blocks = src, .row_bytes = row_bytes,
					.rows = VGPU_GROUP_ROWS, .k = size.k };

	if (s->source == s->format)
		memcpy(dst, src, row_bytes);
	else if (s->format == VGPU_W_MXFP4_G16)
		return t->pack_mxfp4_rows(dst, &rows);
	else if (s->format == VGPU_W_INT8_G16)
		return t->pack_codes(dst, src, s->source, VGPU_GROUP_ROWS, size.k);
	else
		return t->pack_blocks(dst, s->format, src, VGPU_GROUP_ROWS, size.k);
	return 0;
}

static void weight_init(struct ours *o)
{
	const struct subject *s = o->subject;
	uint32_t unit_rows = vgpu_weight_unit_rows(s->format), units = size.n / unit_rows;
	size_t row = vgpu_weight_unit_bytes(s->source, size.k), unit = vgpu_weight_unit_bytes(s->format, size.k);

	o->source = take(row * size.n);
	values_weights(values_type(s->values), o->source, row * size.n);
	if (!rotation_init(&o->w, unit * units, size.rotate_bytes))
		die("no memory");
	for (uint32_t i = 0; i < units; i++)
		if (unit_pack(s, o->w.data + i * unit, o->source + i * unit_rows * row, row))
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
static void run(const struct ours *o, const struct vb_cmd_header *cmd, uint32_t turn)
{
	const struct subject *s = o->subject;
	struct vgpu_work work = { .cmd = cmd, .ptr = { o->x, NULL, NULL, o->y } };
	struct vgpu_piece piece = { rotation_copy(&o->w, turn), o->w.bytes };
	struct vgpu_panel_work panel = {
		.rows = size.n, .unit_rows = vgpu_weight_unit_rows(s->format),
		.unit_bytes = { vgpu_weight_unit_bytes(s->format, size.k) }, .piece = { &piece },
		.pieces = { 1 },
	};
	void *be = o->backend[o->threads - 1];

	if (vgpu_backend_cpu.begin(be, &work) || vgpu_backend_cpu.panel(be, &work, &panel))
		die("a product fails");
	vgpu_backend_cpu.end(be, &work);
}

static void transposed(const struct ours *o, uint32_t turn)
{
	struct vb_cmd_matmul_transposed c = {
		.h = { VB_CMD_MATMUL_TRANSPOSED, 0, sizeof(c) },
		.x = operand(VGPU_W_F32, o->m, size.n), .w = operand(o->subject->format, size.n, size.k),
		.y = operand(VGPU_W_F32, o->m, size.k),
	};

	run(o, &c.h, turn);
}

static void forward(const struct ours *o, uint32_t turn)
{
	struct vb_cmd_matmul c = {
		.h = { VB_CMD_MATMUL, 0, sizeof(c) }, .mode = VB_MODE_F32,
		.x = operand(VGPU_W_F32, o->m, size.k), .w = operand(o->subject->format, size.n, size.k),
		.y = operand(VGPU_W_F32, o->m, size.n),
	};

	run(o, &c.h, turn);
}

/* Seconds a product; @products is how many fill a turn, found when it is 0. */
static double time_of(struct ours *o, void (*one)(const struct ours *o, uint32_t turn),
		      uint32_t *products)
{
	uint32_t count = *products ? *products : 1;
	double start = bench_seconds(), seconds;

	for (uint32_t i = 0; i < count; i++)
		one(o, i);
	o->w.next += count;
	seconds = (bench_seconds() - start) / count;
	if (!*products)
		*products = (uint32_t)(size.turn_seconds / seconds) + 1;
	return seconds;
}

static double blas_time(struct ours *o)
{
	struct peer_product p = { o->m, o->threads };
	double seconds = peer_blas.left(&peer_blas, p, o->theirs ? o->theirs : 1);

	if (!o->theirs && seconds > 0)
		o->theirs = (uint32_t)(size.turn_seconds / seconds) + 1;
	return seconds;
}

/* The last row of activations by all columns, in float64. */
static double nmse(const struct ours *o)
{
	size_t row_bytes = vgpu_weight_unit_bytes(o->subject->source, size.k);
	const float *x = o->x + (size_t)(o->m - 1) * size.n, *y = o->y + (size_t)(o->m - 1) * size.k;
	double *want = take(size.k * sizeof(*want)), error = 0, all = 0;
	float *row = take(size.k * sizeof(*row));

	memset(o->y, 0, (size_t)o->m * size.k * sizeof(*o->y));
	transposed(o, 0);
	for (uint32_t r = 0; r < size.n; r++) {
		if (vgpu_weight_decode(o->subject->source, 1, size.k, o->source + r * row_bytes, row))
			die("a weight is not decoded");
		for (uint32_t c = 0; c < size.k; c++)
			want[c] += (double)x[r] * row[c];
	}
	for (uint32_t c = 0; c < size.k; c++) {
		error += (y[c] - want[c]) * (y[c] - want[c]);
		all += want[c] * want[c];
	}
	bench_free(row);
	bench_free(want);
	if (!(error <= ERROR_MOST * all))
		die("a product is wrong");
	return error / all;
}

/* ------------------------------------------------------------------------
 * Measuring
 */

/* GF/s that memory and arithmetic allow. */
static double bound_rate(const struct ours *o)
{
	double flop = 2.0 * o->m * size.n * size.k, peak = bench_peak_rate(BENCH_FMA_F32, o->threads);
	double memory = bench_read_rate(o->w.data, o->w.bytes * o->w.copies, o->threads) /
			(double)o->w.bytes * flop;

	return (peak > 0 && peak < memory ? peak : memory) * 1e-9;
}

static void emit(const struct ours *o, double ours, const char *peer, double theirs, double bound)
{
	char note[64];
	struct bench_result r = {
		.bench = "transposed", .weight = o->subject->weight, .mode = "f32",
		.residency = "dram", .m = o->m, .n = size.n, .k = size.k, .threads = o->threads,
		.unit = "GF/s", .ours = ours, .peer = peer, .theirs = theirs, .bound = bound,
		.nmse = o->nmse, .runs = bench_runs(5, MAX_RUNS), .note = note,
	};

	snprintf(note, sizeof(note), "NMSE %.2g", o->nmse);
	if (bench_emit(&r))
		fprintf(stderr, "transposed: cannot append to the JSON file\n");
}

static void measure(struct ours *o)
{
	double ours[MAX_RUNS], product[MAX_RUNS], blas[MAX_RUNS], bound[MAX_RUNS];
	double flop = 2.0 * o->m * size.n * size.k * 1e-9, most, rate;
	unsigned int runs = bench_runs(5, MAX_RUNS);

	o->nmse = nmse(o);
	o->products = o->forward = o->theirs = 0;
	time_of(o, transposed, &o->products);
	time_of(o, forward, &o->forward);
	if (blas_is_here)
		blas_time(o);
	for (unsigned int i = 0; i < runs; i++) {
		ours[i] = flop / time_of(o, transposed, &o->products);
		product[i] = flop / time_of(o, forward, &o->forward);
		blas[i] = o->theirs ? flop / blas_time(o) : 0;
		bound[i] = bound_rate(o);
	}
	rate = bench_median(ours, runs);
	most = bench_median(bound, runs);
	emit(o, rate, "our-matmul-f32", bench_median(product, runs), most);
	if (o->theirs)
		emit(o, rate, peer_blas.name, bench_median(blas, runs), most);
}

static void measure_subject(struct ours *o, const struct subject *s, const uint32_t *m,
			    unsigned int ms)
{
	struct peer_weights w = { .type = s->values, .n = size.n, .k = size.k,
				  .rotate = size.rotate_bytes };

	o->subject = s;
	weight_init(o);
	blas_is_here = blas_is_here && peer_blas.weights(&peer_blas, &w);
	for (unsigned int i = 0; i < ms; i++) {
		o->m = m[i];
		for (o->threads = 1; o->threads <= MAX_THREADS; o->threads++)
			if (o->backend[o->threads - 1])
				measure(o);
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

static const char usage[] = "usage: transposed [--shape NxK] [--weight NAME] [--threads 1|2] [m...]; "
			    "N is a multiple of 16, K of 256, each m at least 1";

static void shape_parse(const char *text)
{
	if (!text || sscanf(text, "%ux%u", &size.n, &size.k) != 2 || !size.n || !size.k ||
	    size.n % 16 || size.k % 256)
		die(usage);
}

static struct request parse(char **argv)
{
	struct request r = { .m = { 1, 32, 512 } };

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
		else if (r.ms < 16 && strtoul(*argv, NULL, 10))
			r.m[r.ms++] = (uint32_t)strtoul(*argv, NULL, 10);
		else
			die(usage);
	}
	if (r.threads > MAX_THREADS)
		die(usage);
	if (!r.ms)
		r.ms = bench_short() ? 2 : 3;
	return r;
}

int main(int argc, char **argv)
{
	struct request r = parse(argv);
	uint32_t most = 0, cols = size.n > size.k ? size.n : size.k;
	static struct ours o;
	bool any = false;

	(void)argc;
	printf("level %s\n", vgpu_isa_name(vgpu_kernels_best()->isa));
	blas_is_here = peer_blas.open(&peer_blas);
	pools_open(&o, r.threads);
	for (unsigned int i = 0; i < r.ms; i++)
		most = r.m[i] > most ? r.m[i] : most;
	o.x = take((size_t)most * cols * sizeof(*o.x));
	o.y = take((size_t)most * cols * sizeof(*o.y));
	values_activations(o.x, (size_t)most * cols);
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
	return 0;
}

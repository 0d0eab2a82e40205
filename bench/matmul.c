// SPDX-License-Identifier: MIT
/*
 * How fast are products with compressed weights, beside OpenBLAS on f32, beside oneDNN
 * where it has the type, beside ggml with weights of the same type, and beside what memory and
 * arithmetic allow?
 *
 *	matmul [--shape NxK] [--weight NAME] [--cache] [m...]
 *
 * The shape of a weight (4096x4096), those of this name alone, and rows of activations to
 * measure (1 8 32 512).
 *
 * $BENCH_RUNS (5) turns of ours, each peer and bound; medians.  "dram" goes round over
 * 512 MiB of copies of the weight, so that none is in a cache when its turn comes; --cache
 * has one copy.  Packing of the activations counts as our time, and as theirs.  The bound is
 * the smaller of peak arithmetic in the mode and of memory bandwidth (of the caches where
 * the weight is in them) times the work a byte does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "peers/peer.h"
#include "rotation.h"
#include "kernels/kernels.h"
#include "kernels/pack/g16_type.h"

#define MAX_RUNS	99u
#define MAX_PEERS	3u

/* Of every weight, of its copies together (0: one is enough), and of a turn. */
static struct {
	uint32_t n, k;
	size_t rotate_bytes;
	double turn_seconds;
} size = { 4096, 4096, 512ul << 20, 0.05 };

static const struct subject {
	enum vgpu_wformat format;
	enum vgpu_mode mode;
	const char *weight, *mode_name, *ggml;
	enum bench_op op;
} subjects[] = {
	{ VGPU_W_MXFP4_G16, VGPU_MODE_A8, "mxfp4", "a8", "mxfp4", BENCH_DOT_INT8 },
	{ VGPU_W_MXFP4_G16, VGPU_MODE_A16, "mxfp4", "a16", "mxfp4", BENCH_DOT_BF16 },
	{ VGPU_W_MXFP4_G16, VGPU_MODE_F32, "mxfp4", "f32", "mxfp4", BENCH_FMA_F32 },
	{ VGPU_W_INT8_G16, VGPU_MODE_A8, "int8", "a8", "q8_0", BENCH_DOT_INT8 },
	{ VGPU_W_INT8_G16, VGPU_MODE_A16, "int8", "a16", "q8_0", BENCH_DOT_BF16 },
	{ VGPU_W_MXFP4, VGPU_MODE_A8, "mxfp4-gguf", "a8", "mxfp4", BENCH_DOT_INT8 },
	{ VGPU_W_Q4_0_G16, VGPU_MODE_A8, "q4_0", "a8", "q4_0", BENCH_DOT_INT8 },
	{ VGPU_W_Q4_0_G16, VGPU_MODE_A16, "q4_0", "a16", "q4_0", BENCH_DOT_BF16 },
	{ VGPU_W_Q4_K_G16, VGPU_MODE_A8, "q4_k", "a8", "q4_K", BENCH_DOT_INT8 },
	{ VGPU_W_Q4_K_G16, VGPU_MODE_A16, "q4_k", "a16", "q4_K", BENCH_DOT_BF16 },
	{ VGPU_W_Q5_0_G16, VGPU_MODE_A8, "q5_0", "a8", "q5_0", BENCH_DOT_INT8 },
	{ VGPU_W_Q5_0_G16, VGPU_MODE_A16, "q5_0", "a16", "q5_0", BENCH_DOT_BF16 },
	{ VGPU_W_Q6_K_G16, VGPU_MODE_A8, "q6_k", "a8", "q6_K", BENCH_DOT_INT8 },
	{ VGPU_W_Q6_K_G16, VGPU_MODE_A16, "q6_k", "a16", "q6_K", BENCH_DOT_BF16 },
	{ VGPU_W_NVFP4_G16, VGPU_MODE_A8, "nvfp4", "a8", "nvfp4", BENCH_DOT_INT8 },
	{ VGPU_W_BF16, VGPU_MODE_A16, "bf16", "a16", "bf16", BENCH_DOT_BF16 },
	{ VGPU_W_F16, VGPU_MODE_F32, "f16", "f32", "f16", BENCH_FMA_F32 },
	{ VGPU_W_F32, VGPU_MODE_F32, "f32", "f32", "f32", BENCH_FMA_F32 },
};

struct ours {
	const struct vgpu_kernels *kernels;
	const struct subject *subject;
	struct rotation w;
	struct vgpu_acts acts;
	void *acts_memory, *scratch[2];
	const float *x;
	float *y;
	uint32_t m, products;
	unsigned int threads;
};

/* Those that are here. */
static struct peer *peers[MAX_PEERS];
static unsigned int peer_count;

static void die(const char *what)
{
	fprintf(stderr, "matmul: %s\n", what);
	exit(1);
}

static uint64_t random_state = 1;

static float random_value(void)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (float)(int32_t)(random_state >> 32) * 0x1p-31f;
}

/* 16 rows of blocks whose bytes make no F16 that is infinite or NaN. */
static void blocks_fill(const struct vgpu_kernels *t, const struct vgpu_g16_type *type, uint8_t *dst)
{
	size_t bytes = vgpu_weight_unit_bytes(type->source, size.k) * 16;
	uint8_t *src = malloc(bytes);

	if (!src)
		die("no memory");
	for (size_t i = 0; i < bytes; i++)
		src[i] = (uint8_t)(int)(random_value() * 127) & 0x3b;
	if (t->pack_blocks(dst, type->format, src, 16, size.k))
		die("blocks are not packed");
	free(src);
}

/* Any format from random f32: packed by us, or bytes that decode to sane values. */
static void weight_fill(const struct vgpu_kernels *t, enum vgpu_wformat format, uint8_t *dst)
{
	size_t unit = vgpu_weight_unit_bytes(format, size.k);
	float *row = malloc((size_t)16 * size.k * sizeof(*row));

	if (!row)
		die("no memory");
	for (uint32_t r = 0; r < size.n; r += vgpu_weight_unit_rows(format), dst += unit) {
		for (uint32_t i = 0; i < vgpu_weight_unit_rows(format) * size.k; i++)
			row[i] = random_value();
		if (format == VGPU_W_MXFP4_G16)
			t->pack_mxfp4(dst, row, VGPU_W_F32, size.k, 16, size.k);
		else if (format == VGPU_W_INT8_G16)
			t->pack_int8(dst, row, VGPU_W_F32, size.k, 16, size.k);
		else if (vgpu_g16_type(format))
			blocks_fill(t, vgpu_g16_type(format), dst);
		else if (format == VGPU_W_F32)
			memcpy(dst, row, size.k * sizeof(*row));
		else if (format == VGPU_W_BF16)
			for (uint32_t i = 0; i < size.k; i++)
				memcpy(dst + 2 * i, (uint8_t *)&row[i] + 2, 2);
		else
			for (size_t i = 0; i < unit; i++)
				dst[i] = i % 17 ? (uint8_t)(random_value() * 127) : 120;
	}
	free(row);
}

static void ours_share(void *ctx, unsigned int thread)
{
	struct ours *o = ctx;
	uint32_t rows = size.n / o->threads / 32 * 32, first = thread * rows;
	uint32_t unit_rows = vgpu_weight_unit_rows(o->subject->format);
	size_t unit = vgpu_weight_unit_bytes(o->subject->format, size.k);

	for (uint32_t i = 0; i < o->products; i++) {
		struct vgpu_panel w = { .format = o->subject->format, .rows = rows, .k = size.k,
					.data = rotation_copy(&o->w, i) + first / unit_rows * unit };

		o->kernels->matmul(&w, &o->acts, o->y + first, size.n, o->scratch[thread]);
	}
}

/* Whole tiles of the activations, for each product. */
static void ours_pack(void *ctx, unsigned int thread)
{
	uint32_t first, end;
	struct ours *o = ctx;

	first = o->m * thread / o->threads / VGPU_ACTS_ROWS * VGPU_ACTS_ROWS;
	end = o->m * (thread + 1) / o->threads / VGPU_ACTS_ROWS * VGPU_ACTS_ROWS;
	if (thread + 1 == o->threads)
		end = o->m;
	for (uint32_t i = 0; i < o->products; i++)
		o->kernels->acts_pack(&o->acts, o->x, size.k, first, end);
}

/* Seconds a product, activations packed once for each. */
static double ours_time(struct ours *o)
{
	double pack = bench_parallel(o->threads, ours_pack, o);

	pack += bench_parallel(o->threads, ours_share, o);
	o->w.next += o->products;
	return pack / o->products;
}

/* GF/s that memory and arithmetic allow. */
static double bound_rate(const struct ours *o)
{
	bool tiles = o->kernels->isa == VGPU_ISA_AMX && o->subject->op == BENCH_DOT_BF16;
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

static void emit(const struct ours *o, double ours, const struct peer *peer, double theirs,
		 double bound)
{
	char note[96];
	struct bench_result r = {
		.bench = "matmul", .weight = o->subject->weight, .mode = o->subject->mode_name,
		.residency = size.rotate_bytes ? "dram" : "cache", .m = o->m, .n = size.n,
		.k = size.k, .threads = o->threads, .unit = "GF/s", .ours = ours,
		.peer = peer ? peer->name : NULL, .theirs = theirs, .bound = bound,
		.runs = bench_runs(5, MAX_RUNS), .note = note,
	};

	snprintf(note, sizeof(note), "%.1f GB/s of weights%s%s",
		 ours / (2.0 * o->m * size.n * size.k) * (double)o->w.bytes,
		 peer ? "; its " : "", peer ? peer->form : "");
	if (bench_emit(&r))
		fprintf(stderr, "matmul: cannot append to the JSON file\n");
}

/* @use: which of the peers have such weights */
static void measure(struct ours *o, const bool *use)
{
	double ours[MAX_RUNS], theirs[MAX_PEERS][MAX_RUNS], bound[MAX_RUNS];
	double flop = 2.0 * o->m * size.n * size.k, our_rate, most;
	unsigned int runs = bench_runs(5, MAX_RUNS), emitted = 0;
	uint32_t products[MAX_PEERS] = { 0 };

	o->products = 1;
	o->products = (uint32_t)(size.turn_seconds / ours_time(o)) + 1;
	for (unsigned int p = 0; p < peer_count; p++)
		if (use[p])
			peer_time(peers[p], o, &products[p]);
	for (unsigned int i = 0; i < runs; i++) {
		ours[i] = flop / ours_time(o) * 1e-9;
		for (unsigned int p = 0; p < peer_count; p++)
			theirs[p][i] = products[p] ?
				flop / peer_time(peers[p], o, &products[p]) * 1e-9 : 0;
		bound[i] = bound_rate(o);
	}
	our_rate = bench_median(ours, runs);
	most = bench_median(bound, runs);
	for (unsigned int p = 0; p < peer_count; p++) {
		if (products[p])
			emit(o, our_rate, peers[p], bench_median(theirs[p], runs), most);
		emitted += products[p] > 0;
	}
	if (!emitted)
		emit(o, our_rate, NULL, 0, most);
}

static void measure_rows(struct ours *o, const bool *use)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	o->acts_memory = bench_alloc(vgpu_acts_bytes(o->subject->mode, o->m, size.k));
	if (!o->acts_memory)
		die("no memory");
	vgpu_acts_init(&o->acts, o->subject->mode, o->m, size.k, o->acts_memory);
	for (o->threads = 1; o->threads <= 2 && o->threads <= cpus; o->threads++)
		measure(o, use);
	bench_free(o->acts_memory);
}

static void measure_subject(const struct subject *s, const uint32_t *m, unsigned int ms,
			    const float *x, float *y)
{
	struct ours o = { .kernels = vgpu_kernels_best(), .subject = s, .x = x, .y = y };
	struct peer_weights w = { s->ggml, size.n, size.k, size.rotate_bytes,
				  s->mode == VGPU_MODE_A8 };
	bool use[MAX_PEERS] = { false };

	if (!rotation_init(&o.w, vgpu_weight_unit_bytes(s->format, size.k) *
			   (size.n / vgpu_weight_unit_rows(s->format)), size.rotate_bytes))
		die("no memory");
	weight_fill(o.kernels, s->format, o.w.data);
	rotation_fill(&o.w);
	for (int i = 0; i < 2; i++) {
		o.scratch[i] = bench_alloc(vgpu_matmul_scratch_bytes(s->format, size.k));
		if (!o.scratch[i])
			die("no memory");
	}
	for (unsigned int p = 0; p < peer_count; p++)
		use[p] = peers[p]->weights(peers[p], &w);
	for (unsigned int i = 0; i < ms; i++) {
		o.m = m[i];
		measure_rows(&o, use);
	}
	bench_free(o.scratch[0]);
	bench_free(o.scratch[1]);
	bench_free(o.w.data);
}

/* What the command line asks for. */
struct request {
	uint32_t m[16];
	unsigned int ms;
	const char *weight;
};

static const char usage[] = "usage: matmul [--shape NxK] [--weight NAME] [--cache] [m...]; N and K are "
			    "multiples of 64, each m at least 1";

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
		else if (!strcmp(*argv, "--cache"))
			size.rotate_bytes = 0;
		else if (r.ms < 16 && strtoul(*argv, NULL, 10))
			r.m[r.ms++] = (uint32_t)strtoul(*argv, NULL, 10);
		else
			die(usage);
	}
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

int main(int argc, char **argv)
{
	struct request r = parse(argv);
	bool any = false;
	uint32_t most = 0;
	float *x, *y;

	(void)argc;
	for (unsigned int i = 0; i < r.ms; i++)
		most = r.m[i] > most ? r.m[i] : most;
	x = bench_alloc((size_t)most * size.k * sizeof(*x));
	y = bench_alloc((size_t)most * size.n * sizeof(*y));
	if (!x || !y)
		die("no memory");
	for (size_t i = 0; i < (size_t)most * size.k; i++)
		x[i] = random_value();

	printf("level %s\n", vgpu_isa_name(vgpu_kernels_best()->isa));
	bench_say_round_trip();
	peers_open();
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
		if (r.weight && strcmp(r.weight, subjects[i].weight))
			continue;
		any = true;
		measure_subject(&subjects[i], r.m, r.ms, x, y);
	}
	if (!any)
		die("no weight has this name");
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * How fast are products with compressed weights, beside OpenBLAS on f32 and beside
 * what memory and arithmetic allow?
 *
 *	matmul [m...]		rows of activations to measure; 1 8 32 512 when none
 *
 * $BENCH_RUNS (5) turns of ours, peer and bound; medians.  "dram" goes round over
 * 512 MiB of copies of the weight, so that none is in a cache when its turn comes.
 * Packing of the activations counts as our time.  The bound is the smaller of peak
 * arithmetic in the mode and of memory bandwidth times the work a byte does.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "kernels/kernels.h"
#include "kernels/pack/g16_type.h"
#include "../tests/common/bench_util.h"

#define MAX_RUNS	99u

/* Of every weight, of its copies together, and of a turn. */
static struct {
	uint32_t n, k;
	size_t rotate_bytes;
	double turn_seconds;
} size = { 4096, 4096, 512ul << 20, 0.05 };

static const struct subject {
	enum vgpu_wformat format;
	enum vgpu_mode mode;
	const char *weight, *mode_name;
	enum bench_op op;
} subjects[] = {
	{ VGPU_W_MXFP4_G16, VGPU_MODE_A8, "mxfp4", "a8", BENCH_DOT_INT8 },
	{ VGPU_W_MXFP4_G16, VGPU_MODE_A16, "mxfp4", "a16", BENCH_DOT_BF16 },
	{ VGPU_W_MXFP4_G16, VGPU_MODE_F32, "mxfp4", "f32", BENCH_FMA_F32 },
	{ VGPU_W_INT8_G16, VGPU_MODE_A8, "int8", "a8", BENCH_DOT_INT8 },
	{ VGPU_W_INT8_G16, VGPU_MODE_A16, "int8", "a16", BENCH_DOT_BF16 },
	{ VGPU_W_MXFP4, VGPU_MODE_A8, "mxfp4-gguf", "a8", BENCH_DOT_INT8 },
	{ VGPU_W_Q4_0_G16, VGPU_MODE_A8, "q4_0", "a8", BENCH_DOT_INT8 },
	{ VGPU_W_Q4_0_G16, VGPU_MODE_A16, "q4_0", "a16", BENCH_DOT_BF16 },
	{ VGPU_W_Q4_K_G16, VGPU_MODE_A8, "q4_k", "a8", BENCH_DOT_INT8 },
	{ VGPU_W_Q4_K_G16, VGPU_MODE_A16, "q4_k", "a16", BENCH_DOT_BF16 },
	{ VGPU_W_Q5_0_G16, VGPU_MODE_A8, "q5_0", "a8", BENCH_DOT_INT8 },
	{ VGPU_W_Q6_K_G16, VGPU_MODE_A8, "q6_k", "a8", BENCH_DOT_INT8 },
	{ VGPU_W_NVFP4_G16, VGPU_MODE_A8, "nvfp4", "a8", BENCH_DOT_INT8 },
	{ VGPU_W_BF16, VGPU_MODE_A16, "bf16", "a16", BENCH_DOT_BF16 },
	{ VGPU_W_F32, VGPU_MODE_F32, "f32", "f32", BENCH_FMA_F32 },
};

/* Copies of one weight, taken in turn. */
struct rotation {
	uint8_t *data;
	size_t bytes;		/* of one copy */
	uint32_t copies, next;
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

struct blas {
	void (*gemm)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a,
		     int lda, const float *b, int ldb, float beta, float *c, int ldc);
	void (*gemv)(int order, int ta, int m, int n, float alpha, const float *a, int lda,
		     const float *x, int incx, float beta, float *y, int incy);
	void (*set_threads)(int threads);
	struct rotation w;
};

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

static void die(const char *what)
{
	fprintf(stderr, "matmul: %s\n", what);
	exit(1);
}

/* The first copy is made; the others are copied from it. */
static void rotation_init(struct rotation *r, size_t bytes)
{
	r->bytes = bytes;
	r->copies = (uint32_t)((size.rotate_bytes + bytes - 1) / bytes);
	r->next = 0;
	r->data = bench_alloc(r->copies * bytes);
	if (!r->data)
		die("no memory");
}

static void rotation_fill(struct rotation *r)
{
	for (uint32_t i = 1; i < r->copies; i++)
		memcpy(r->data + i * r->bytes, r->data, r->bytes);
}

static const uint8_t *rotation_copy(const struct rotation *r, uint32_t turn)
{
	return r->data + (r->next + turn) % r->copies * r->bytes;
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
		src[i] = (uint8_t)(random_value() * 127) & 0x3b;
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

/* Seconds a product, activations packed once for each. */
static double ours_time(struct ours *o)
{
	double start = bench_seconds(), pack;

	for (uint32_t i = 0; i < o->products; i++)
		o->kernels->acts_pack(&o->acts, o->x, size.k);
	pack = bench_seconds() - start;
	pack += bench_parallel(o->threads, ours_share, o);
	o->w.next += o->products;
	return pack / o->products;
}

static double blas_time(struct blas *b, uint32_t m, const float *x, float *y, uint32_t products)
{
	double start = bench_seconds();

	for (uint32_t i = 0; i < products; i++) {
		const float *w = (const float *)rotation_copy(&b->w, i);

		if (m == 1)
			b->gemv(ROW_MAJOR, NO_TRANS, size.n, size.k, 1, w, size.k, x, 1, 0, y, 1);
		else
			b->gemm(ROW_MAJOR, NO_TRANS, TRANS, (int)m, size.n, size.k, 1, x, size.k, w, size.k, 0, y, size.n);
	}
	b->w.next += products;
	return (bench_seconds() - start) / products;
}

/* Function pointers through memcpy: ISO C has no cast from an object pointer. */
static int blas_symbol(void *handle, const char *name, void *out)
{
	void *symbol = dlsym(handle, name);

	memcpy(out, &symbol, sizeof(symbol));
	return symbol ? 0 : -1;
}

/*
 * OpenBLAS takes a CPU that is younger than itself for one of 2004; name a core that
 * it knows and this CPU can run, unless the user has.
 */
static void blas_choose_core(void)
{
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
		setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
	else if (__builtin_cpu_supports("avx2"))
		setenv("OPENBLAS_CORETYPE", "Haswell", 0);
}

static bool blas_open(struct blas *b)
{
	char *(*core_name)(void);
	void *handle;

	blas_choose_core();
	handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!handle || blas_symbol(handle, "cblas_sgemm", &b->gemm) ||
	    blas_symbol(handle, "cblas_sgemv", &b->gemv) ||
	    blas_symbol(handle, "openblas_set_num_threads", &b->set_threads) ||
	    blas_symbol(handle, "openblas_get_corename", &core_name)) {
		printf("SKIP: no peer, libopenblas.so.0 cannot be loaded\n");
		return false;
	}
	printf("peer OpenBLAS, core %s\n", core_name());
	rotation_init(&b->w, (size_t)size.n * size.k * sizeof(float));
	weight_fill(vgpu_kernels_best(), VGPU_W_F32, b->w.data);
	rotation_fill(&b->w);
	return true;
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

static void measure(struct ours *o, struct blas *blas)
{
	double ours[MAX_RUNS], theirs[MAX_RUNS], bound[MAX_RUNS], flop = 2.0 * o->m * size.n * size.k;
	unsigned int runs = bench_runs(5, MAX_RUNS);
	uint32_t peer_products;
	char note[64];

	o->products = 1;
	o->products = (uint32_t)(size.turn_seconds / ours_time(o)) + 1;
	peer_products = blas ? (uint32_t)(size.turn_seconds / blas_time(blas, o->m, o->x, o->y, 1)) + 1 : 0;
	for (unsigned int i = 0; i < runs; i++) {
		ours[i] = flop / ours_time(o) * 1e-9;
		theirs[i] = blas ? flop / blas_time(blas, o->m, o->x, o->y, peer_products) * 1e-9 : 0;
		bound[i] = bound_rate(o);
	}
	struct bench_result r = {
		.bench = "matmul", .weight = o->subject->weight, .mode = o->subject->mode_name,
		.residency = "dram", .m = o->m, .n = size.n, .k = size.k, .threads = o->threads,
		.unit = "GF/s", .ours = bench_median(ours, runs), .peer = blas ? "openblas-f32" : NULL,
		.theirs = bench_median(theirs, runs), .bound = bench_median(bound, runs),
		.runs = runs, .note = note,
	};
	snprintf(note, sizeof(note), "%.1f GB/s of weights", r.ours / flop * (double)o->w.bytes);
	if (bench_emit(&r))
		fprintf(stderr, "matmul: cannot append to the JSON file\n");
}

static void measure_subject(const struct subject *s, const uint32_t *m, unsigned int ms,
			    struct blas *blas, const float *x, float *y)
{
	struct ours o = { .kernels = vgpu_kernels_best(), .subject = s, .x = x, .y = y };
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	rotation_init(&o.w, vgpu_weight_unit_bytes(s->format, size.k) *
			    (size.n / vgpu_weight_unit_rows(s->format)));
	weight_fill(o.kernels, s->format, o.w.data);
	rotation_fill(&o.w);
	for (int i = 0; i < 2; i++)
		o.scratch[i] = bench_alloc(vgpu_matmul_scratch_bytes(s->format, size.k));

	for (unsigned int i = 0; i < ms; i++) {
		o.m = m[i];
		o.acts_memory = bench_alloc(vgpu_acts_bytes(s->mode, o.m, size.k));
		if (!o.scratch[0] || !o.scratch[1] || !o.acts_memory)
			die("no memory");
		vgpu_acts_init(&o.acts, s->mode, o.m, size.k, o.acts_memory);
		for (o.threads = 1; o.threads <= 2 && o.threads <= cpus; o.threads++) {
			if (blas)
				blas->set_threads((int)o.threads);
			measure(&o, blas);
		}
		bench_free(o.acts_memory);
	}
	bench_free(o.scratch[0]);
	bench_free(o.scratch[1]);
	bench_free(o.w.data);
}

int main(int argc, char **argv)
{
	uint32_t m[16] = { 1, 8, 32, 512 }, most = 0;
	unsigned int ms = argc > 1 ? 0 : bench_short() ? 2 : 4;
	struct blas blas;
	bool peer;
	float *x, *y;

	if (bench_short()) {
		size.n = size.k = 512;
		size.rotate_bytes = 4ul << 20;
		size.turn_seconds = 0.001;
	}
	for (int i = 1; i < argc && ms < 16; i++) {
		m[ms++] = (uint32_t)strtoul(argv[i], NULL, 10);
		if (!m[ms - 1])
			die("usage: matmul [m...], each m at least 1");
	}
	for (unsigned int i = 0; i < ms; i++)
		most = m[i] > most ? m[i] : most;
	x = bench_alloc((size_t)most * size.k * sizeof(*x));
	y = bench_alloc((size_t)most * size.n * sizeof(*y));
	if (!x || !y)
		die("no memory");
	for (size_t i = 0; i < (size_t)most * size.k; i++)
		x[i] = random_value();

	printf("level %s\n", vgpu_isa_name(vgpu_kernels_best()->isa));
	peer = blas_open(&blas);
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		measure_subject(&subjects[i], m, ms, peer ? &blas : NULL, x, y);
	return 0;
}

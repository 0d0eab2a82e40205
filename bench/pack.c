// SPDX-License-Identifier: MIT
/*
 * How fast are weights packed and decoded, and activations packed, beside what memory allows?
 *
 *	pack [--threads N]
 *
 * So many threads that pack weights alone (1, then 2).
 *
 * pack: GB/s of source that is read and packed weights that are written, as a chunk of a derived
 * object is made, or a layer of AWQ or GPTQ; the bound is moving as many bytes.  decode: GB/s of
 * f32; the bound is reading the packed weight, at its size in f32.  There is no peer that makes
 * the same layout; beside A16 activations stands rounding them to BF16 alone, without the scale
 * of a group.  $BENCH_RUNS (5) turns; VBLACKWELL_ISA chooses a lower level.
 */
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "exec/derive.h"
#include "kernels/kernels.h"
#include "kernels/pack/int4_units.h"
#include "kernels/pool.h"
#include "../tests/common/bench_util.h"

#define MAX_RUNS	99u
/* Of activations: so few that they stay in the second-level cache. */
#define ACT_ROWS	16u
#define ACT_TURNS	64u

/* Of every weight: more than the last-level cache holds; the columns of activations too. */
static struct {
	uint32_t n, k;
} size = { 16384, 4096 };
#define GROUPS	(size.n / VGPU_GROUP_ROWS)

struct work {
	const struct vgpu_kernels *kernels;
	enum vgpu_wformat format;
	float *f32;		/* [n][k] */
	uint8_t *packed;
	size_t unit;
};

static void die(const char *what)
{
	fprintf(stderr, "pack: %s\n", what);
	exit(1);
}

/* Into the first group's rows, which stay in cache, and back to what they were. */
static double decode_time(const struct work *w, float *out)
{
	double start = bench_seconds();

	for (uint32_t g = 0; g < GROUPS; g++) {
		struct vgpu_panel p = { w->format, VGPU_GROUP_ROWS, size.k, w->packed + g * w->unit, NULL };

		w->kernels->weight_decode(&p, out, size.k);
	}
	return bench_seconds() - start;
}

static void emit(const struct bench_result *r)
{
	if (bench_emit(r))
		fprintf(stderr, "pack: cannot append to the JSON file\n");
}

static void pack(struct work *w, const float *values)
{
	for (uint32_t g = 0; g < GROUPS; g++) {
		const float *src = values + (size_t)g * VGPU_GROUP_ROWS * size.k;
		uint8_t *dst = w->packed + g * w->unit;
		int rc = w->format == VGPU_W_MXFP4_G16 ?
			 w->kernels->pack_mxfp4(dst, src, VGPU_W_F32, size.k, VGPU_GROUP_ROWS, size.k) :
			 w->kernels->pack_int8(dst, src, VGPU_W_F32, size.k, VGPU_GROUP_ROWS, size.k);

		if (rc)
			die("a value has no code");
	}
}

static void measure_decode(struct work *w, enum vgpu_wformat format, const char *name)
{
	double ours[MAX_RUNS], bound[MAX_RUNS], bytes = (double)size.n * size.k * sizeof(float);
	float *out = bench_alloc((size_t)VGPU_GROUP_ROWS * size.k * sizeof(*out));
	struct bench_result r = {
		.bench = "decode", .weight = name, .residency = "dram", .n = size.n, .k = size.k,
		.threads = 1, .unit = "GB/s", .runs = bench_runs(5, MAX_RUNS),
	};

	w->format = format;
	w->unit = vgpu_weight_unit_bytes(format, size.k);
	w->packed = bench_alloc(w->unit * GROUPS);
	if (!w->packed || !out)
		die("no memory");
	pack(w, w->f32);
	for (unsigned int i = 0; i < r.runs; i++) {
		ours[i] = bytes / decode_time(w, out) * 1e-9;
		bound[i] = bench_read_rate(w->packed, w->unit * GROUPS, 1) * bytes /
			   (double)(w->unit * GROUPS) * 1e-9;
	}
	r.ours = bench_median(ours, r.runs);
	r.bound = bench_median(bound, r.runs);
	emit(&r);
	bench_free(w->packed);
	bench_free(out);
}

/* --- packing ------------------------------------------------------------- */

/* Of a layer, which has no format of its own. */
#define NO_FORMAT	((enum vgpu_wformat)0)

struct way {
	const char *name;
	enum vgpu_wformat from, to;
};

/**
 * struct packing - one weight on its way
 * @source_bytes, @packed_bytes: of the whole weight
 * @pool: NULL: one thread
 */
struct packing {
	struct way way;
	uint32_t threads;
	size_t source_bytes, packed_bytes;
	uint8_t *source, *packed;
	struct vgpu_pool *pool;
};

/* A thread's share: what is packed is copied, the rest of the source read. */
static void copy_share(void *ctx, unsigned int thread)
{
	const size_t piece = 65536;
	const struct packing *p = ctx;
	size_t pieces = p->packed_bytes / piece;

	for (size_t i = pieces * thread / p->threads; i < pieces * (thread + 1) / p->threads; i++)
		memcpy(p->packed + i * piece, p->source + i * piece, piece);
}

static double move_time(struct packing *p)
{
	double seconds = bench_parallel(p->threads, copy_share, p);

	if (p->source_bytes > p->packed_bytes) {
		size_t rest = p->source_bytes - p->packed_bytes;

		seconds += (double)rest / bench_read_rate(p->source + p->packed_bytes, rest, p->threads);
	}
	return seconds;
}

static double derive_time(struct packing *p)
{
	struct vgpu_object o = {
		.bytes = p->packed_bytes, .unit_rows = VGPU_GROUP_ROWS,
		.unit_bytes = vgpu_weight_unit_bytes(p->way.to, size.k), .matrix_bytes = p->packed_bytes,
		.transform = { .kind = VB_TRANSFORM_PACK, .src_format = (uint16_t)p->way.from,
			       .dst_format = (uint16_t)p->way.to, .rows = size.n, .cols = size.k },
	};
	struct vgpu_derive_range range = { .end_unit = GROUPS, .end_col = size.k };
	double start = bench_seconds();
	uint64_t scratch;

	if (vgpu_derive_range(&o, &range) ||
	    vgpu_derive_units(&o, 0, (uint32_t)p->packed_bytes, &range, p->source, NULL, p->packed,
			      p->pool, &scratch))
		die(p->way.name);
	return bench_seconds() - start;
}

/* Of a layer whose groups of 128 have a scale and a zero point; codes, zeros, scales in a row. */
static double layer_time(struct packing *p)
{
	const size_t codes = (size_t)size.n * size.k / 2, groups = (size_t)size.n * (size.k / 128);
	struct vgpu_int4_layer layer = {
		.scheme = strcmp(p->way.name, "awq") ? VGPU_INT4_GPTQ : VGPU_INT4_AWQ, .n = size.n,
		.k = size.k, .group = 128, .groups = size.k / 128, .cols = 128, .zeros = true,
		.qweight = p->source, .qzeros = p->source + codes,
		.scales = p->source + codes + groups / 2,
	};
	double start = bench_seconds();

	if (vgpu_int4_units(&layer, 0, GROUPS, p->packed, p->pool))
		die(p->way.name);
	return bench_seconds() - start;
}

static void fill(struct packing *p, const float *values)
{
	size_t n = (size_t)size.n * size.k;

	/* No F16 of such bytes is infinite or NaN, and no E8M0 beyond what packed formats bear. */
	for (size_t i = 0; i < p->source_bytes; i++)
		p->source[i] = (uint8_t)(i * 37 + i / 251) & 0x3b;
	/* A file's blocks have a code of 4 or 6 times the scale each. */
	for (size_t i = 0; i < p->source_bytes && p->way.from == VGPU_W_MXFP4; i++)
		p->source[i] |= i % 17 ? (uint8_t)(i * 151) : 0;
	if (p->way.from == VGPU_W_F32)
		memcpy(p->source, values, n * sizeof(*values));
	/* A number's upper half is BF16, and some F16 or other, below 2. */
	for (size_t i = 0; i < n && (p->way.from == VGPU_W_BF16 || p->way.from == VGPU_W_F16); i++)
		memcpy(p->source + 2 * i, (const uint8_t *)(values + i) + 2, 2);
	for (size_t i = 0; i < n && p->way.from == VGPU_W_F16; i++)
		p->source[2 * i + 1] &= 0xbf;
}

static void measure_pack(struct packing *p, const float *values)
{
	double ours[MAX_RUNS], bound[MAX_RUNS];
	struct bench_result r = {
		.bench = "pack", .weight = p->way.name, .residency = "dram", .n = size.n, .k = size.k,
		.threads = p->threads, .unit = "GB/s", .runs = bench_runs(5, MAX_RUNS),
	};
	size_t most;

	p->packed_bytes = vgpu_weight_unit_bytes(p->way.to, size.k) * GROUPS;
	p->source_bytes = p->way.from ? vgpu_weight_unit_bytes(p->way.from, size.k) * size.n :
				    (size_t)size.n * (size.k / 2 + size.k / 128 * 5 / 2);
	most = p->source_bytes > p->packed_bytes ? p->source_bytes : p->packed_bytes;
	p->source = bench_alloc(most);
	p->packed = bench_alloc(p->packed_bytes);
	if (!p->source || !p->packed)
		die("no memory");
	fill(p, values);
	for (unsigned int i = 0; i < r.runs; i++) {
		double bytes = (double)(p->source_bytes + p->packed_bytes) * 1e-9;

		ours[i] = bytes / (p->way.from ? derive_time(p) : layer_time(p));
		bound[i] = bytes / move_time(p);
	}
	r.ours = bench_median(ours, r.runs);
	r.bound = bench_median(bound, r.runs);
	emit(&r);
	bench_free(p->source);
	bench_free(p->packed);
}

static void measure_packing(const float *values, uint32_t threads)
{
	static const struct way all[] = {
		{ "f32-mxfp4", VGPU_W_F32, VGPU_W_MXFP4_G16 },
		{ "f16-mxfp4", VGPU_W_F16, VGPU_W_MXFP4_G16 },
		{ "bf16-mxfp4", VGPU_W_BF16, VGPU_W_MXFP4_G16 },
		{ "f32-int8", VGPU_W_F32, VGPU_W_INT8_G16 },
		{ "f16-int8", VGPU_W_F16, VGPU_W_INT8_G16 },
		{ "bf16-int8", VGPU_W_BF16, VGPU_W_INT8_G16 },
		{ "mxfp4-mxfp4", VGPU_W_MXFP4, VGPU_W_MXFP4_G16 },
		{ "q8_0-int8", VGPU_W_Q8_0, VGPU_W_INT8_G16 },
		{ "q4_0-int8", VGPU_W_Q4_0, VGPU_W_INT8_G16 },
		{ "q4_0", VGPU_W_Q4_0, VGPU_W_Q4_0_G16 },
		{ "q4_1", VGPU_W_Q4_1, VGPU_W_Q4_1_G16 },
		{ "q5_0", VGPU_W_Q5_0, VGPU_W_Q5_0_G16 },
		{ "q5_1", VGPU_W_Q5_1, VGPU_W_Q5_1_G16 },
		{ "q4_k", VGPU_W_Q4_K, VGPU_W_Q4_K_G16 },
		{ "q5_k", VGPU_W_Q5_K, VGPU_W_Q5_K_G16 },
		{ "q6_k", VGPU_W_Q6_K, VGPU_W_Q6_K_G16 },
		{ "nvfp4", VGPU_W_NVFP4, VGPU_W_NVFP4_G16 },
		{ "awq", NO_FORMAT, VGPU_W_INT4_Z128_G16 },
		{ "gptq", NO_FORMAT, VGPU_W_INT4_Z128_G16 },
	};
	struct vgpu_pool_params params = { .threads = threads };
	struct vgpu_pool *pool = NULL;

	if (threads > 1 && vgpu_pool_open(&params, &pool))
		die("no threads");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct packing p = { .way = all[i], .threads = threads, .pool = pool };

		measure_pack(&p, values);
	}
	if (pool)
		vgpu_pool_close(pool);
}

/* --- activations --------------------------------------------------------- */

/* A16 without the scale of a group and our order: what rounding alone takes. */
__attribute__((target("avx512f,avx512bf16"))) static void round_bf16(void *out, const float *x,
								      size_t n)
{
	for (size_t i = 0; i < n; i += 16) {
		__m256bh y = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));

		memcpy((uint16_t *)out + i, &y, sizeof(y));
	}
}

/* GB/s of f32 through @acts; NULL: through round_bf16(). */
static double acts_rate(const struct work *w, struct vgpu_acts *acts, void *memory)
{
	size_t n = (size_t)ACT_ROWS * size.k;
	double start = bench_seconds();

	for (unsigned int i = 0; i < ACT_TURNS; i++) {
		if (acts)
			w->kernels->acts_pack(acts, w->f32, size.k, 0, acts->m);
		else
			round_bf16(memory, w->f32, n);
		/* The result is wanted each time. */
		__asm__ volatile("" : : "r"(memory) : "memory");
	}
	return (double)(ACT_TURNS * n * sizeof(float)) / (bench_seconds() - start) * 1e-9;
}

static void measure_acts(const struct work *w, enum vgpu_mode mode, const char *name)
{
	double ours[MAX_RUNS], theirs[MAX_RUNS], bound[MAX_RUNS];
	bool peer = mode == VGPU_MODE_A16 && __builtin_cpu_supports("avx512bf16");
	void *memory = bench_alloc(vgpu_acts_bytes(mode, ACT_ROWS, size.k));
	size_t bytes = (size_t)ACT_ROWS * size.k * sizeof(float);
	unsigned int runs = bench_runs(5, MAX_RUNS);
	struct vgpu_acts acts;
	char note[64];

	if (!memory)
		die("no memory");
	vgpu_acts_init(&acts, mode, ACT_ROWS, size.k, memory);
	for (unsigned int i = 0; i < runs; i++) {
		ours[i] = acts_rate(w, &acts, memory);
		theirs[i] = peer ? acts_rate(w, NULL, memory) : 0;
		bound[i] = bench_read_rate(w->f32, bytes, 1) * 1e-9;
	}
	struct bench_result r = {
		.bench = "acts", .mode = name, .residency = "cache", .m = ACT_ROWS, .k = size.k,
		.threads = 1, .unit = "GB/s", .ours = bench_median(ours, runs),
		.peer = peer ? "rounding to bf16 alone" : NULL,
		.theirs = bench_median(theirs, runs), .bound = bench_median(bound, runs),
		.runs = runs, .note = note,
	};
	snprintf(note, sizeof(note), "%.2f us a row", (double)size.k * 4e-3 / r.ours);
	emit(&r);
	bench_free(memory);
}

/* 0: one, then two where there are as many CPUs. */
static uint32_t threads_parse(char **argv)
{
	uint32_t threads;

	if (!argv[1])
		return 0;
	threads = !strcmp(argv[1], "--threads") && argv[2] && !argv[3] ?
		  (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	if (!threads || threads > VGPU_POOL_THREADS_MAX)
		die("usage: pack [--threads N]");
	return threads;
}

static float *noise(void)
{
	float *f32 = bench_alloc((size_t)size.n * size.k * sizeof(float));
	uint64_t state = 1;

	if (!f32)
		die("no memory");
	for (size_t i = 0; i < (size_t)size.n * size.k; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		f32[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
	}
	return f32;
}

int main(int argc, char **argv)
{
	struct work w = { .kernels = vgpu_kernels_best() };
	uint32_t threads = threads_parse(argv);

	(void)argc;
	if (bench_short())
		size.n = size.k = 512;
	w.f32 = noise();
	printf("level %s\n", vgpu_isa_name(w.kernels->isa));
	bench_say_round_trip();
	measure_packing(w.f32, threads ? threads : 1);
	if (!threads && sysconf(_SC_NPROCESSORS_ONLN) > 1)
		measure_packing(w.f32, 2);
	measure_decode(&w, VGPU_W_MXFP4_G16, "mxfp4");
	measure_decode(&w, VGPU_W_INT8_G16, "int8");
	measure_acts(&w, VGPU_MODE_A8, "a8");
	measure_acts(&w, VGPU_MODE_A16, "a16");
	measure_acts(&w, VGPU_MODE_F32, "f32");
	bench_free(w.f32);
	return 0;
}

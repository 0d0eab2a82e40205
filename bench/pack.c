// SPDX-License-Identifier: MIT
/*
 * How fast are weights packed and decoded, and activations packed, beside what reading the
 * source allows?
 *
 * GB/s of f32: the source when packing, the result when decoding; of blocks where these are
 * what is packed.  The bound is
 * reading the source (packing) or reading the packed weight, at its size in f32
 * (decoding).  There is no peer that makes the same layout; beside A16 activations stands
 * rounding them to BF16 alone, without the scale of a group.  $BENCH_RUNS (5) turns;
 * VBLACKWELL_ISA chooses a lower level.
 */
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernels/kernels.h"
#include "kernels/pack/g16_type.h"
#include "../tests/common/bench_util.h"

#define MAX_RUNS	99u
/* Of activations: so few that they stay in the second-level cache. */
#define ACT_ROWS	16u
#define ACT_TURNS	64u

/* Of every weight; the columns of activations too. */
static struct {
	uint32_t n, k;
} size = { 4096, 4096 };
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

static double pack_time(const struct work *w)
{
	double start = bench_seconds();

	for (uint32_t g = 0; g < GROUPS; g++) {
		const float *src = w->f32 + (size_t)g * VGPU_GROUP_ROWS * size.k;
		uint8_t *dst = w->packed + g * w->unit;
		int rc = w->format == VGPU_W_MXFP4_G16 ?
			 w->kernels->pack_mxfp4(dst, src, VGPU_W_F32, size.k, VGPU_GROUP_ROWS, size.k) :
			 w->kernels->pack_int8(dst, src, VGPU_W_F32, size.k, VGPU_GROUP_ROWS, size.k);

		if (rc)
			die("a value has no code");
	}
	return bench_seconds() - start;
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

static void emit(const char *bench, const struct work *w, double *ours, double *bound,
		 unsigned int runs)
{
	struct bench_result r = {
		.bench = bench, .weight = w->format == VGPU_W_MXFP4_G16 ? "mxfp4" : "int8",
		.residency = "dram", .n = size.n, .k = size.k, .threads = 1, .unit = "GB/s",
		.ours = bench_median(ours, runs), .bound = bench_median(bound, runs), .runs = runs,
	};

	if (bench_emit(&r))
		fprintf(stderr, "pack: cannot append to the JSON file\n");
}

static void measure(struct work *w)
{
	double pack[MAX_RUNS], pack_bound[MAX_RUNS], decode[MAX_RUNS], decode_bound[MAX_RUNS];
	double bytes = (double)size.n * size.k * sizeof(float), packed = (double)w->unit * GROUPS;
	float *out = bench_alloc((size_t)VGPU_GROUP_ROWS * size.k * sizeof(*out));
	unsigned int runs = bench_runs(5, MAX_RUNS);

	w->packed = bench_alloc(w->unit * GROUPS);
	if (!w->packed || !out)
		die("no memory");
	for (unsigned int i = 0; i < runs; i++) {
		pack[i] = bytes / pack_time(w) * 1e-9;
		pack_bound[i] = bench_read_rate(w->f32, (size_t)size.n * size.k * sizeof(float), 1) * 1e-9;
		decode[i] = bytes / decode_time(w, out) * 1e-9;
		decode_bound[i] = bench_read_rate(w->packed, w->unit * GROUPS, 1) * bytes / packed *
				  1e-9;
	}
	emit("pack", w, pack, pack_bound, runs);
	emit("decode", w, decode, decode_bound, runs);
	bench_free(w->packed);
	bench_free(out);
}

/* --- blocks of GGUF ------------------------------------------------------ */

/* GB/s of blocks into the packed format that keeps them; the bound is reading them. */
static double blocks_rate(const struct work *w, const struct vgpu_g16_type *type, const uint8_t *src)
{
	size_t row = vgpu_weight_unit_bytes(type->source, size.k);
	double start = bench_seconds();

	for (uint32_t g = 0; g < GROUPS; g++)
		if (w->kernels->pack_blocks(w->packed + g * w->unit, type->format,
					    src + g * VGPU_GROUP_ROWS * row, VGPU_GROUP_ROWS, size.k))
			die("blocks are not packed");
	return (double)row * size.n / (bench_seconds() - start) * 1e-9;
}

static void measure_blocks(struct work *w, enum vgpu_wformat format, const char *name)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(format);
	size_t bytes = vgpu_weight_unit_bytes(type->source, size.k) * size.n;
	double ours[MAX_RUNS], bound[MAX_RUNS];
	unsigned int runs = bench_runs(5, MAX_RUNS);
	uint8_t *src = bench_alloc(bytes);

	w->unit = vgpu_weight_unit_bytes(format, size.k);
	w->packed = bench_alloc(w->unit * GROUPS);
	if (!w->packed || !src)
		die("no memory");
	/* No F16 of such bytes is infinite or NaN. */
	for (size_t i = 0; i < bytes; i++)
		src[i] = (uint8_t)(i * 37 + i / 251) & 0x3b;
	for (unsigned int i = 0; i < runs; i++) {
		ours[i] = blocks_rate(w, type, src);
		bound[i] = bench_read_rate(src, bytes, 1) * 1e-9;
	}
	struct bench_result r = {
		.bench = "pack", .weight = name, .residency = "dram", .n = size.n, .k = size.k,
		.threads = 1, .unit = "GB/s", .ours = bench_median(ours, runs),
		.bound = bench_median(bound, runs), .runs = runs, .note = "of blocks",
	};
	if (bench_emit(&r))
		fprintf(stderr, "pack: cannot append to the JSON file\n");
	bench_free(w->packed);
	bench_free(src);
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
	if (bench_emit(&r))
		fprintf(stderr, "pack: cannot append to the JSON file\n");
	bench_free(memory);
}

int main(void)
{
	struct work w = { .kernels = vgpu_kernels_best() };
	uint64_t state = 1;

	if (bench_short())
		size.n = size.k = 512;
	w.f32 = bench_alloc((size_t)size.n * size.k * sizeof(float));
	if (!w.f32)
		die("no memory");
	for (size_t i = 0; i < (size_t)size.n * size.k; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		w.f32[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
	}
	printf("level %s\n", vgpu_isa_name(w.kernels->isa));
	w.format = VGPU_W_MXFP4_G16;
	w.unit = vgpu_weight_unit_bytes(w.format, size.k);
	measure(&w);
	w.format = VGPU_W_INT8_G16;
	w.unit = vgpu_weight_unit_bytes(w.format, size.k);
	measure(&w);
	measure_blocks(&w, VGPU_W_Q4_0_G16, "q4_0");
	measure_blocks(&w, VGPU_W_Q5_0_G16, "q5_0");
	measure_blocks(&w, VGPU_W_Q4_K_G16, "q4_k");
	measure_blocks(&w, VGPU_W_Q6_K_G16, "q6_k");
	measure_acts(&w, VGPU_MODE_A8, "a8");
	measure_acts(&w, VGPU_MODE_A16, "a16");
	measure_acts(&w, VGPU_MODE_F32, "f32");
	bench_free(w.f32);
	return 0;
}

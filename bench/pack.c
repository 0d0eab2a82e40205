// SPDX-License-Identifier: MIT
/*
 * How fast are weights packed and decoded, beside what reading the source allows?
 *
 * GB/s of f32: the source when packing, the result when decoding.  The bound is
 * reading the source (packing) or reading the packed weight, at its size in f32
 * (decoding).  There is no peer that makes the same layout.  $BENCH_RUNS (5) turns;
 * VBLACKWELL_ISA chooses a lower level.
 */
#include <stdio.h>
#include <stdlib.h>
#include "kernels/kernels.h"
#include "../tests/common/bench_util.h"

#define N	4096u
#define K	4096u
#define GROUPS	(N / VGPU_GROUP_ROWS)
#define MAX_RUNS 99u

struct work {
	const struct vgpu_kernels *kernels;
	enum vgpu_wformat format;
	float *f32;		/* [N][K] */
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
		const float *src = w->f32 + (size_t)g * VGPU_GROUP_ROWS * K;
		uint8_t *dst = w->packed + g * w->unit;
		int rc = w->format == VGPU_W_MXFP4_G16 ?
			 w->kernels->pack_mxfp4(dst, src, VGPU_W_F32, K, VGPU_GROUP_ROWS, K) :
			 w->kernels->pack_int8(dst, src, VGPU_W_F32, K, VGPU_GROUP_ROWS, K);

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
		struct vgpu_panel p = { w->format, VGPU_GROUP_ROWS, K, w->packed + g * w->unit, NULL };

		w->kernels->weight_decode(&p, out, K);
	}
	return bench_seconds() - start;
}

static unsigned int run_count(void)
{
	const char *runs = getenv("BENCH_RUNS");
	int n = runs ? atoi(runs) : 5;

	return n < 1 ? 1 : (unsigned int)n > MAX_RUNS ? MAX_RUNS : (unsigned int)n;
}

static void emit(const char *bench, const struct work *w, double *ours, double *bound,
		 unsigned int runs)
{
	struct bench_result r = {
		.bench = bench, .weight = w->format == VGPU_W_MXFP4_G16 ? "mxfp4" : "int8",
		.residency = "dram", .n = N, .k = K, .threads = 1, .unit = "GB/s",
		.ours = bench_median(ours, runs), .bound = bench_median(bound, runs), .runs = runs,
	};

	if (bench_emit(&r))
		fprintf(stderr, "pack: cannot append to the JSON file\n");
}

static void measure(struct work *w)
{
	double pack[MAX_RUNS], pack_bound[MAX_RUNS], decode[MAX_RUNS], decode_bound[MAX_RUNS];
	double bytes = (double)N * K * sizeof(float), packed = (double)w->unit * GROUPS;
	float *out = bench_alloc((size_t)VGPU_GROUP_ROWS * K * sizeof(*out));
	unsigned int runs = run_count();

	w->packed = bench_alloc(w->unit * GROUPS);
	if (!w->packed || !out)
		die("no memory");
	for (unsigned int i = 0; i < runs; i++) {
		pack[i] = bytes / pack_time(w) * 1e-9;
		pack_bound[i] = bench_read_rate(w->f32, (size_t)N * K * sizeof(float), 1) * 1e-9;
		decode[i] = bytes / decode_time(w, out) * 1e-9;
		decode_bound[i] = bench_read_rate(w->packed, w->unit * GROUPS, 1) * bytes / packed *
				  1e-9;
	}
	emit("pack", w, pack, pack_bound, runs);
	emit("decode", w, decode, decode_bound, runs);
	bench_free(w->packed);
	bench_free(out);
}

int main(void)
{
	struct work w = { .kernels = vgpu_kernels_best(),
			  .f32 = bench_alloc((size_t)N * K * sizeof(float)) };
	uint64_t state = 1;

	if (!w.f32)
		die("no memory");
	for (size_t i = 0; i < (size_t)N * K; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		w.f32[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
	}
	printf("level %s\n", vgpu_isa_name(w.kernels->isa));
	w.format = VGPU_W_MXFP4_G16;
	w.unit = vgpu_weight_unit_bytes(w.format, K);
	measure(&w);
	w.format = VGPU_W_INT8_G16;
	w.unit = vgpu_weight_unit_bytes(w.format, K);
	measure(&w);
	bench_free(w.f32);
	return 0;
}

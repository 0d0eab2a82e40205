// SPDX-License-Identifier: MIT
/*
 * Attention against OpenBLAS: two products and a softmax a head, the way a library
 * without a fused kernel computes it. The peer runs one OpenBLAS thread a pool thread
 * and uses our softmax, which is faster than a scalar one.
 *
 * Prompts are bounded by the multiply-adds that the threads can do from registers,
 * decoding by the rate at which they can read as many bytes. Bound, ours and theirs
 * are measured by turns; each figure is the median.
 */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench_util.h"
#include "kernels/kernels.h"
#include "kernels/pool.h"

#define MAX_RUNS	99u
/* Time for one measurement: short calls are repeated until it is full. */
#define SLOT_S	3e-3
/* Queries and keys at most, when short: longer rows are the same code. */
#define SHORT_KEYS	128u

struct shape {
	const char *name;
	uint32_t heads, kv_heads, head_dim, m, kv;
	bool causal;
};

static const struct shape shapes[] = {
	{ "minilm", 12, 12, 32, 16, 16, false },
	{ "minilm", 12, 12, 32, 64, 64, false },
	{ "minilm", 12, 12, 32, 128, 128, false },
	{ "minilm", 12, 12, 32, 256, 256, false },
	{ "prompt", 32, 8, 128, 512, 512, true },
	{ "prompt", 64, 8, 64, 512, 512, true },
	{ "prompt", 64, 8, 64, 128, 2048, true },
	{ "prompt", 4, 1, 256, 512, 512, true },
	{ "decode", 32, 8, 128, 1, 1024, true },
	{ "decode", 32, 8, 128, 1, 32768, true },
	{ "decode", 64, 8, 64, 1, 1024, true },
	{ "decode", 64, 8, 64, 1, 32768, true },
	{ "decode", 4, 1, 256, 1, 32768, true },
};

typedef void (*sgemm_fn)(int order, int ta, int tb, int m, int n, int k, float alpha,
			 const float *a, int lda, const float *b, int ldb, float beta,
			 float *c, int ldc);

/* CBLAS's numbers. */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

struct bench {
	const struct vgpu_kernels *kernels;
	struct vgpu_pool *pool;
	uint32_t threads;
	sgemm_fn sgemm;		/* NULL: no OpenBLAS here */
	struct vgpu_attention a;
	uint32_t q_cut;		/* queries an item */
	char *scratch;		/* one part a thread */
	size_t scratch_bytes;
	float *scores;		/* the peer's, one part a thread */
	size_t score_floats;
	float *q, *kv, *out, *peer_out;
	size_t kv_floats;	/* keys and values together */
};

/* --- ours --- */

static void ours_item(void *ctx, size_t item)
{
	struct bench *b = ctx;
	uint32_t cuts = (b->a.m + b->q_cut - 1) / b->q_cut;
	uint32_t head = (uint32_t)item / cuts, first = (uint32_t)item % cuts * b->q_cut;
	uint32_t end = first + b->q_cut < b->a.m ? first + b->q_cut : b->a.m;
	/* Decoding: the heads that share keys go together. */
	uint32_t group = b->a.m == 1 ? b->a.heads / b->a.kv_heads : 1;

	b->kernels->attention(&b->a, head * group, (head + 1) * group, first, end,
			      b->scratch + vgpu_pool_self_index() * b->scratch_bytes);
}

/* Both sides tell the pool what the work takes, at 50 multiply-adds a nanosecond. */
static void spread(struct bench *b, vgpu_pool_fn fn, size_t items)
{
	double pairs = 2.0 * b->a.m * b->a.kv * b->a.heads * b->a.head_dim;
	struct vgpu_pool_job job = { .fn = fn, .ctx = b, .items = items,
				     .cost_ns = (uint64_t)(pairs / 50) + 1 };

	vgpu_pool_run_job(b->pool, &job);
}

static void ours(struct bench *b)
{
	uint32_t cuts = (b->a.m + b->q_cut - 1) / b->q_cut;
	size_t heads = b->a.m == 1 ? b->a.kv_heads : b->a.heads;

	spread(b, ours_item, heads * cuts);
}

/* --- theirs --- */

/* Keys after query i's position are masked before the softmax, as a framework does. */
static void peer_softmax(const struct bench *b, float *s, uint32_t rows)
{
	const struct vgpu_attention *a = &b->a;

	for (uint32_t r = 0; r < rows; r++) {
		uint32_t end = a->causal && a->m > 1 ? r + a->kv - a->m + 1 : a->kv;
		float *row = s + (size_t)r * a->kv;

		b->kernels->softmax(row, NULL, end, a->scale);
		memset(row + end, 0, (a->kv - end) * sizeof(float));
	}
}

/* One head of a prompt; or, decoding, the heads that share keys as rows. */
static void peer_item(void *ctx, size_t item)
{
	struct bench *b = ctx;
	const struct vgpu_attention *a = &b->a;
	uint32_t group = a->heads / a->kv_heads;
	size_t kv_head = a->m == 1 ? item : item / group;
	size_t column = (a->m == 1 ? item * group : item) * a->head_dim;
	int rows = (int)(a->m == 1 ? group : a->m), dim = (int)a->head_dim;
	int ldq = a->m == 1 ? dim : (int)a->ldq;
	float *s = b->scores + vgpu_pool_self_index() * b->score_floats;

	b->sgemm(ROW_MAJOR, NO_TRANS, TRANS, rows, (int)a->kv, dim, 1, a->q + column, ldq,
		 a->k + kv_head * a->head_dim, (int)a->ldk, 0, s, (int)a->kv);
	peer_softmax(b, s, (uint32_t)rows);
	b->sgemm(ROW_MAJOR, NO_TRANS, NO_TRANS, rows, dim, (int)a->kv, 1, s, (int)a->kv,
		 a->v + kv_head * a->head_dim, (int)a->ldv, 0, b->peer_out + column, ldq);
}

static void theirs(struct bench *b)
{
	spread(b, peer_item, b->a.m == 1 ? b->a.kv_heads : b->a.heads);
}

/* --- measuring --- */

/* Seconds a call. */
static double timed(struct bench *b, void (*call)(struct bench *))
{
	double start = bench_seconds(), end;
	int calls = 0;

	do {
		call(b);
		calls++;
		end = bench_seconds();
	} while (end - start < SLOT_S && !bench_short());
	return (end - start) / calls;
}

/* Multiply-adds count two; bytes are those of the keys and values. */
static double work_of(const struct vgpu_attention *a)
{
	double pairs = (double)a->m * a->kv;

	if (a->m == 1)
		return 2.0 * a->kv * a->kv_heads * a->head_dim * sizeof(float);
	if (a->causal)
		pairs -= a->m * (a->m - 1.0) / 2;
	return 4.0 * pairs * a->heads * a->head_dim;
}

static void compare(const struct bench *b)
{
	double largest = 0;

	for (size_t i = 0; i < b->a.m * b->a.ldo; i++)
		largest = fmax(largest, fabs((double)b->out[i] - b->peer_out[i]));
	if (largest > 1e-4)
		fprintf(stderr, "attention: results differ by %g\n", largest);
}

static int report(const struct shape *s, const struct bench *b, double mine, double other,
		  double limit, unsigned int runs)
{
	char note[64];
	struct bench_result r = {
		.bench = "attention", .weight = "f32", .mode = s->name, .m = s->m,
		.heads = s->heads, .kv_heads = s->kv_heads, .head_dim = s->head_dim,
		.kv = s->kv, .threads = b->threads, .unit = s->m == 1 ? "GB/s" : "GF/s",
		.ours = mine / 1e9, .peer = b->sgemm ? "openblas" : NULL,
		.theirs = other / 1e9, .bound = limit / 1e9, .runs = runs, .note = note,
	};

	snprintf(note, sizeof(note), "%u/%u heads of %u, %u keys%s", s->heads, s->kv_heads,
		 s->head_dim, s->kv, s->causal ? ", causal" : "");
	return bench_emit(&r);
}

static double limit_now(const struct bench *b)
{
	if (b->a.m == 1)
		return bench_read_rate(b->kv, b->kv_floats * sizeof(float), b->threads);
	return bench_peak_rate(BENCH_FMA_F32, b->threads);
}

static int measure(const struct shape *s, struct bench *b)
{
	double t_ours[MAX_RUNS], t_theirs[MAX_RUNS], limit[MAX_RUNS];
	int runs = (int)bench_runs(9, MAX_RUNS);
	double work = work_of(&b->a), other = 0;

	for (int r = -1; r < runs; r++) {
		/* The first round warms caches and is overwritten. */
		int at = r < 0 ? 0 : r;

		t_ours[at] = timed(b, ours);
		t_theirs[at] = b->sgemm ? timed(b, theirs) : 0;
		limit[at] = limit_now(b);
	}
	if (b->sgemm) {
		compare(b);
		other = work / bench_median(t_theirs, (unsigned int)runs);
	}
	return report(s, b, work / bench_median(t_ours, (unsigned int)runs), other,
		      bench_median(limit, (unsigned int)runs), (unsigned int)runs);
}

static void *memory(size_t bytes)
{
	void *p = bench_alloc(bytes);

	if (!p) {
		fprintf(stderr, "attention: no memory for %zu bytes\n", bytes);
		exit(1);
	}
	return p;
}

static float *noise(size_t n, uint32_t seed)
{
	float *p = memory(n * sizeof(float));

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (float)(int32_t)seed * 0x1p-31f;
	}
	return p;
}

/* Queries an item: heads alone are cut when they fill the threads. */
static uint32_t cut_of(const struct shape *s, uint32_t threads)
{
	return s->m > 1 && s->heads < 4 * threads ? (s->m + 3) / 4 : s->m;
}

static void setup(struct bench *b, const struct shape *s)
{
	size_t cols = (size_t)s->heads * s->head_dim, kv_cols = (size_t)s->kv_heads * s->head_dim;
	size_t rows = s->m == 1 ? s->heads / s->kv_heads : s->m;

	b->q = noise(s->m * cols, 1);
	b->kv_floats = 2 * s->kv * kv_cols;
	b->kv = noise(b->kv_floats, 2);
	b->out = memory(s->m * cols * sizeof(float));
	b->peer_out = memory(s->m * cols * sizeof(float));
	b->a = (struct vgpu_attention){
		.m = s->m, .kv = s->kv, .heads = s->heads, .kv_heads = s->kv_heads,
		.head_dim = s->head_dim, .causal = s->causal,
		.scale = 1 / sqrtf((float)s->head_dim), .q = b->q, .k = b->kv,
		.v = b->kv + s->kv * kv_cols, .out = b->out,
		.ldq = cols, .ldk = kv_cols, .ldv = kv_cols, .ldo = cols,
	};
	b->q_cut = cut_of(s, b->threads);
	b->scratch_bytes = (vgpu_attention_scratch_bytes(&b->a) + 63) & ~(size_t)63;
	b->scratch = memory(b->scratch_bytes * b->threads);
	b->score_floats = rows * s->kv;
	b->scores = memory(b->score_floats * b->threads * sizeof(float));
}

static void teardown(struct bench *b)
{
	bench_free(b->q);
	bench_free(b->kv);
	bench_free(b->out);
	bench_free(b->peer_out);
	bench_free(b->scratch);
	bench_free(b->scores);
}

static sgemm_fn openblas(void)
{
	void *lib = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
	void (*threads)(int) = lib ? (void (*)(int))dlsym(lib, "openblas_set_num_threads") : NULL;

	if (!threads)
		return NULL;
	/* Threads are the pool's; OpenBLAS's own would fight them. */
	threads(1);
	return (sgemm_fn)dlsym(lib, "cblas_sgemm");
}

static int with_threads(struct bench *b, uint32_t threads)
{
	struct vgpu_pool_params params = { .threads = threads };
	int rc = vgpu_pool_open(&params, &b->pool);

	b->threads = threads;
	for (size_t i = 0; !rc && i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct shape s = shapes[i];

		if (bench_short()) {
			s.m = s.m < SHORT_KEYS ? s.m : SHORT_KEYS;
			s.kv = s.kv < SHORT_KEYS ? s.kv : SHORT_KEYS;
		}
		setup(b, &s);
		rc = measure(&s, b);
		teardown(b);
	}
	if (b->pool)
		vgpu_pool_close(b->pool);
	return rc;
}

/* VBLACKWELL_THREADS, or what the machine has. */
static uint32_t threads_most(void)
{
	struct vgpu_pool *pool;
	uint32_t n;

	if (vgpu_pool_open(NULL, &pool))
		return 1;
	n = vgpu_pool_threads(pool);
	vgpu_pool_close(pool);
	return n;
}

int main(void)
{
	struct bench b = { .kernels = vgpu_kernels_best(), .sgemm = openblas() };
	uint32_t most = threads_most();
	int rc;

	printf("attention at level %s%s\n", vgpu_isa_name(b.kernels->isa),
	       b.sgemm ? "" : "; no libopenblas.so.0: ours only");
	rc = with_threads(&b, 1);
	if (!rc && most > 1)
		rc = with_threads(&b, most);
	if (rc)
		fprintf(stderr, "attention: %s\n", strerror(-rc));
	return rc ? 1 : 0;
}

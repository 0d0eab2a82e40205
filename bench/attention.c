// SPDX-License-Identifier: MIT
/*
 * How fast is attention, beside ggml's flash attention, beside OpenBLAS and beside what
 * the machine allows?
 *
 *	attention [--mode NAME] [--threads N] [--kv f32|f16|bf16|int8]
 *
 * Shapes of that name alone; that many threads alone (one, then all); keys and values in that
 * format (f32).
 *
 * ggml computes it as we do, keys passing once; of the types of its own that are as good for keys
 * and values it gets what it is faster with. OpenBLAS has them in F32 and does two products and a softmax a head, the way a library
 * without a fused kernel computes it: one OpenBLAS thread a pool thread, with our softmax,
 * which is faster than a scalar one. Outputs of all are compared.
 *
 * Prompts are bounded by the multiply-adds that the threads can do from registers,
 * decoding by the rate at which they can read as many bytes: those of our keys and values,
 * also in the figures of a peer. Bound, ours and theirs are measured by turns; each figure
 * is the median.
 */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench_util.h"
#include "kernels/attention.h"
#include "kernels/kernels.h"
#include "kernels/pack/half.h"
#include "kernels/pool.h"
#include "kernels/weight.h"
#include "peers/peer.h"

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
	{ "prompt", 8, 8, 64, 2048, 2048, true },
	{ "prompt", 16, 4, 128, 2048, 2048, true },
	{ "prompt", 8, 2, 256, 2048, 2048, true },
	{ "decode", 32, 8, 128, 1, 1024, true },
	{ "decode", 32, 8, 128, 1, 32768, true },
	{ "decode", 64, 8, 64, 1, 1024, true },
	{ "decode", 64, 8, 64, 1, 32768, true },
	{ "decode", 4, 1, 256, 1, 32768, true },
};

/**
 * struct kv_format - of keys and values
 * @ggml: types that it may have them in, as it calls them; NULL: no second one
 */
static const struct kv_format {
	const char *name;
	enum vgpu_wformat format;
	const char *ggml[2];
} kv_formats[] = {
	{ "f32", VGPU_W_F32, { "f16", "f32" } },
	{ "f16", VGPU_W_F16, { "f16", NULL } },
	{ "bf16", VGPU_W_BF16, { "bf16", "f16" } },
	{ "int8", VGPU_W_Q8_0, { "q8_0", NULL } },
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
	struct peer *ggml;	/* or NULL */
	uint32_t ggml_times;	/* calls that fill a slot; 0: it does not compute this shape */
	struct vgpu_attention a;
	struct vgpu_attention_cut cut;
	char *scratch;		/* one part a thread */
	size_t scratch_bytes;
	float *scores;		/* the peer's, one part a thread */
	size_t score_floats;
	float *q, *kv, *out, *peer_out;
	const float *k, *v;	/* in kv */
	size_t kv_floats;	/* keys and values together */
	const struct kv_format *kv_format;
	void *stored;		/* kv as that; F32: kv itself */
	size_t kv_bytes;	/* of it */
};

/* --- ours --- */

static void ours_item(void *ctx, size_t item)
{
	struct bench *b = ctx;

	vgpu_attention_item(b->kernels, &b->a, b->cut, item,
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
	spread(b, ours_item, vgpu_attention_items(&b->a, b->cut));
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
		 b->k + kv_head * a->head_dim, (int)a->ldk, 0, s, (int)a->kv);
	peer_softmax(b, s, (uint32_t)rows);
	b->sgemm(ROW_MAJOR, NO_TRANS, NO_TRANS, rows, dim, (int)a->kv, 1, s, (int)a->kv,
		 b->v + kv_head * a->head_dim, (int)a->ldv, 0, b->peer_out + column, ldq);
}

static void theirs(struct bench *b)
{
	spread(b, peer_item, b->a.m == 1 ? b->a.kv_heads : b->a.heads);
}

/* --- ggml --- */

/* Seconds a call with keys and values of this type, the best of a few; 0: it cannot. */
static double ggml_try(struct bench *b, const char *type)
{
	struct peer_attention a = {
		.type = type, .heads = b->a.heads, .kv_heads = b->a.kv_heads,
		.head_dim = b->a.head_dim, .m = b->a.m, .kv = b->a.kv, .causal = b->a.causal,
	};
	float samples[PEER_SAMPLES];
	double best = 0;

	if (!b->ggml->attention(b->ggml, &a))
		return 0;
	for (int i = 0; i < 3; i++) {
		double seconds = b->ggml->attend(b->ggml, b->threads, 1, samples);

		best = seconds > 0 && (best <= 0 || seconds < best) ? seconds : best;
	}
	return best;
}

/* Goes on with the type that it is faster with. */
static void ggml_choose(struct bench *b)
{
	const char *const *type = b->kv_format->ggml;
	double first = ggml_try(b, type[0]), best = type[1] ? ggml_try(b, type[1]) : first;

	if (type[1] && first > 0 && (best <= 0 || first <= best))
		best = ggml_try(b, type[0]);
	b->ggml_times = best > 0 ? (uint32_t)(SLOT_S / best) + 1 : 0;
}

/* It rounds queries, too, and F16 for our F32 differs by 2^-12 of them at most. */
static void ggml_compare(const struct bench *b, const float *samples)
{
	size_t n = (size_t)b->a.m * b->a.ldo;
	double largest = 0;

	for (unsigned int i = 0; i < PEER_SAMPLES; i++)
		largest = fmax(largest, fabs((double)b->out[peer_sample(n, i)] - samples[i]));
	if (!(largest <= 2e-3))
		fprintf(stderr, "attention: results differ from ggml's by %g\n", largest);
}

/* Seconds a call. */
static double ggml_timed(struct bench *b)
{
	float samples[PEER_SAMPLES];
	double seconds = b->ggml->attend(b->ggml, b->threads, b->ggml_times, samples);

	if (seconds > 0)
		ggml_compare(b, samples);
	else
		b->ggml_times = 0;
	return seconds;
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
static double work_of(const struct bench *b)
{
	const struct vgpu_attention *a = &b->a;
	double pairs = (double)a->m * a->kv;

	if (a->m == 1)
		return (double)b->kv_bytes;
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

/* One line of the table: beside a peer, or NULL. */
static int report(const struct shape *s, const struct bench *b, double mine, const char *peer,
		  double other, double limit, unsigned int runs)
{
	char note[128];
	struct bench_result r = {
		.bench = "attention", .weight = b->kv_format->name, .mode = s->name, .m = s->m,
		.heads = s->heads, .kv_heads = s->kv_heads, .head_dim = s->head_dim,
		.kv = s->kv, .threads = b->threads, .unit = s->m == 1 ? "GB/s" : "GF/s",
		.ours = mine / 1e9, .peer = peer, .theirs = other / 1e9,
		.bound = limit / 1e9, .runs = runs, .note = note,
	};

	snprintf(note, sizeof(note), "%u/%u heads of %u, %u keys%s; scratch %zu KiB a thread%s%s",
		 s->heads, s->kv_heads, s->head_dim, s->kv, s->causal ? ", causal" : "",
		 b->scratch_bytes >> 10, peer && b->ggml && peer == b->ggml->name ? "; its " : "",
		 peer && b->ggml && peer == b->ggml->name ? b->ggml->form : "");
	return bench_emit(&r);
}

static double limit_now(const struct bench *b)
{
	if (b->a.m == 1)
		return bench_read_rate(b->stored, b->kv_bytes, b->threads);
	return bench_peak_rate(BENCH_FMA_F32, b->threads);
}

/* Seconds of each turn. */
struct turns {
	double ours[MAX_RUNS], blas[MAX_RUNS], ggml[MAX_RUNS], limit[MAX_RUNS];
};

static void turn(struct bench *b, struct turns *t, int at)
{
	t->ours[at] = timed(b, ours);
	t->blas[at] = b->sgemm ? timed(b, theirs) : 0;
	t->ggml[at] = b->ggml_times ? ggml_timed(b) : 0;
	t->limit[at] = limit_now(b);
}

static int measure(const struct shape *s, struct bench *b)
{
	unsigned int runs = bench_runs(9, MAX_RUNS);
	double work = work_of(b), mine, limit;
	struct turns t;
	int rc = 0;

	b->ggml_times = 0;
	if (b->ggml)
		ggml_choose(b);
	/* The first turn warms caches and is overwritten. */
	for (int i = -1; i < (int)runs; i++)
		turn(b, &t, i < 0 ? 0 : i);
	mine = work / bench_median(t.ours, runs);
	limit = bench_median(t.limit, runs);
	if (b->sgemm) {
		compare(b);
		rc = report(s, b, mine, "openblas", work / bench_median(t.blas, runs), limit, runs);
	}
	if (!rc && b->ggml_times)
		rc = report(s, b, mine, b->ggml->name, work / bench_median(t.ggml, runs), limit, runs);
	if (!rc && !b->sgemm && !b->ggml_times)
		rc = report(s, b, mine, NULL, 0, limit, runs);
	return rc;
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

/* Each row of keys or values is whole blocks of Q8_0. */
static void kv_encode(struct bench *b)
{
	uint16_t *half = b->stored;

	for (size_t i = 0; i < b->kv_floats && b->kv_format->format != VGPU_W_Q8_0; i++)
		half[i] = b->kv_format->format == VGPU_W_F16 ? vgpu_f32_to_f16(b->kv[i]) :
							       vgpu_f32_to_bf16(b->kv[i]);
	if (b->kv_format->format == VGPU_W_Q8_0)
		b->kernels->q8_0_encode(b->stored, b->kv, b->kv_floats);
}

/* What OpenBLAS has are the values that are stored. */
static void kv_store(struct bench *b, const struct shape *s)
{
	uint32_t cols = s->kv_heads * s->head_dim, rows = 2 * s->kv;

	b->kv_floats = (size_t)rows * cols;
	b->kv = noise(b->kv_floats, PEER_KV_SEED);
	b->kv_bytes = vgpu_weight_unit_bytes(b->kv_format->format, cols) * rows;
	b->stored = b->kv;
	if (b->kv_format->format == VGPU_W_F32)
		return;
	b->stored = memory(b->kv_bytes);
	kv_encode(b);
	if (vgpu_weight_decode(b->kv_format->format, rows, cols, b->stored, b->kv)) {
		fprintf(stderr, "attention: keys are not decoded\n");
		exit(1);
	}
}

static void setup(struct bench *b, const struct shape *s)
{
	size_t cols = (size_t)s->heads * s->head_dim, kv_cols = (size_t)s->kv_heads * s->head_dim;
	size_t rows = s->m == 1 ? s->heads / s->kv_heads : s->m;

	b->q = noise(s->m * cols, PEER_Q_SEED);
	kv_store(b, s);
	b->k = b->kv;
	b->v = b->kv + s->kv * kv_cols;
	b->out = memory(s->m * cols * sizeof(float));
	b->peer_out = memory(s->m * cols * sizeof(float));
	b->a = (struct vgpu_attention){
		.m = s->m, .kv = s->kv, .heads = s->heads, .kv_heads = s->kv_heads,
		.head_dim = s->head_dim, .causal = s->causal,
		.scale = 1 / sqrtf((float)s->head_dim), .q = b->q,
		.kv_format = b->kv_format->format, .k = b->stored,
		.v = (const uint8_t *)b->stored + b->kv_bytes / 2, .out = b->out,
		.ldq = cols, .ldk = kv_cols, .ldv = kv_cols, .ldo = cols,
	};
	/* As the command cuts it. */
	b->cut = vgpu_attention_divide(&b->a, b->threads, UINT64_MAX);
	b->scratch_bytes = (vgpu_attention_scratch_bytes(&b->a) + 63) & ~(size_t)63;
	b->scratch = memory(b->scratch_bytes * b->threads);
	b->score_floats = rows * s->kv;
	b->scores = memory(b->score_floats * b->threads * sizeof(float));
}

static void teardown(struct bench *b)
{
	bench_free(b->q);
	if (b->stored != b->kv)
		bench_free(b->stored);
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

static void shorten(struct shape *s)
{
	s->m = s->m < SHORT_KEYS ? s->m : SHORT_KEYS;
	s->kv = s->kv < SHORT_KEYS ? s->kv : SHORT_KEYS;
}

/* @mode: shapes of this name; NULL: all */
static int with_threads(struct bench *b, uint32_t threads, const char *mode)
{
	struct vgpu_pool_params params = { .threads = threads };
	int rc = vgpu_pool_open(&params, &b->pool);

	b->threads = threads;
	for (size_t i = 0; !rc && i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct shape s = shapes[i];

		if (mode && strcmp(mode, s.name))
			continue;
		if (bench_short())
			shorten(&s);
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

/* What the command line asks for. */
struct request {
	const char *mode;
	uint32_t threads;	/* 0: one, then all */
	const struct kv_format *kv;
};

/* NULL: there is none of this name. */
static const struct kv_format *kv_format_find(const char *name)
{
	for (size_t i = 0; i < sizeof(kv_formats) / sizeof(kv_formats[0]); i++)
		if (!strcmp(name, kv_formats[i].name))
			return &kv_formats[i];
	return NULL;
}

static bool mode_is_known(const char *mode)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (!strcmp(mode, shapes[i].name))
			return true;
	return false;
}

static bool parse(char **argv, struct request *r)
{
	for (argv++; *argv; argv += 2) {
		if (!argv[1])
			return false;
		if (!strcmp(*argv, "--mode") && mode_is_known(argv[1]))
			r->mode = argv[1];
		else if (!strcmp(*argv, "--threads") && strtoul(argv[1], NULL, 10))
			r->threads = (uint32_t)strtoul(argv[1], NULL, 10);
		else if (!strcmp(*argv, "--kv") && kv_format_find(argv[1]))
			r->kv = kv_format_find(argv[1]);
		else
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct bench b = { .kernels = vgpu_kernels_best(), .sgemm = openblas() };
	struct request r = { .kv = &kv_formats[0] };
	uint32_t most;
	int rc;

	(void)argc;
	if (!parse(argv, &r)) {
		fprintf(stderr, "usage: attention [--mode minilm|prompt|decode] [--threads N] "
				"[--kv f32|f16|bf16|int8]\n");
		return 1;
	}
	printf("attention at level %s%s\n", vgpu_isa_name(b.kernels->isa),
	       b.sgemm ? "" : "; no libopenblas.so.0");
	bench_say_round_trip();
	b.ggml = peer_ggml.open(&peer_ggml) ? &peer_ggml : NULL;
	b.kv_format = r.kv;
	most = r.threads ? r.threads : threads_most();
	rc = with_threads(&b, r.threads ? r.threads : 1, r.mode);
	if (!rc && most > 1 && !r.threads)
		rc = with_threads(&b, most, r.mode);
	if (rc)
		fprintf(stderr, "attention: %s\n", strerror(-rc));
	return rc ? 1 : 0;
}

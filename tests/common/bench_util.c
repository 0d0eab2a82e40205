// SPDX-License-Identifier: MIT
#include "bench_util.h"

#include <errno.h>
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MAX_THREADS	256u
#define HUGE_PAGE	(2ul << 20)

bool bench_short(void)
{
	const char *text = getenv("BENCH_SHORT");

	return text && *text && strcmp(text, "0");
}

unsigned int bench_runs(unsigned int usual, unsigned int most)
{
	const char *text = getenv("BENCH_RUNS");
	unsigned long runs = text ? strtoul(text, NULL, 10) : bench_short() ? 1 : usual;

	return runs < 1 ? 1 : runs > most ? most : (unsigned int)runs;
}

double bench_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *v, unsigned int n)
{
	qsort(v, n, sizeof(*v), compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static size_t whole_pages(size_t bytes)
{
	return (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
}

void *bench_alloc(size_t bytes)
{
	size_t size = whole_pages(bytes);
	void *p = aligned_alloc(HUGE_PAGE, size);

	if (!p)
		return NULL;
	madvise(p, size, MADV_HUGEPAGE);
	return memset(p, 0, size);
}

void bench_free(void *p)
{
	free(p);
}

/* --- threads --- */

struct worker {
	void (*fn)(void *ctx, unsigned int thread);
	void *ctx;
	unsigned int index;
	pthread_barrier_t *start;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(w->start);
	w->fn(w->ctx, w->index);
	return NULL;
}

double bench_parallel(unsigned int threads, void (*fn)(void *ctx, unsigned int thread), void *ctx)
{
	struct worker worker[MAX_THREADS];
	pthread_t id[MAX_THREADS];
	pthread_barrier_t start;
	double begin;

	threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
	pthread_barrier_init(&start, NULL, threads);
	for (unsigned int i = 0; i < threads; i++)
		worker[i] = (struct worker) { fn, ctx, i, &start };
	for (unsigned int i = 1; i < threads; i++) {
		if (pthread_create(&id[i], NULL, worker_main, &worker[i])) {
			fprintf(stderr, "bench: cannot create %u threads\n", threads);
			exit(1);
		}
	}
	pthread_barrier_wait(&start);
	begin = bench_seconds();
	fn(ctx, 0);
	for (unsigned int i = 1; i < threads; i++)
		pthread_join(id[i], NULL);
	pthread_barrier_destroy(&start);
	return bench_seconds() - begin;
}

/* --- the way between two cores --- */

/* A batch takes a fraction of a time slice, and few of them meet somebody else's. */
#define BALL_ROUNDS	200u
#define BALL_BATCHES	21u

/* On a cache line of its own: whose turn it is. */
struct ball {
	_Alignas(64) unsigned int turn;
	_Alignas(64) double ns[BALL_BATCHES];
};

/* What Linux says of a CPU, or -1. */
static int cpu_topology(int cpu, const char *what)
{
	char path[96];
	int number = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, what);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &number) != 1)
		number = -1;
	fclose(f);
	return number;
}

/* Two threads of one core share its first-level cache; where Linux does not say, they do not. */
static bool core_is_shared(int a, int b)
{
	int core = cpu_topology(a, "core_id");

	return core >= 0 && core == cpu_topology(b, "core_id") &&
	       cpu_topology(a, "physical_package_id") == cpu_topology(b, "physical_package_id");
}

/* The first CPU that this thread may use, and the first of another core. */
static bool two_cores(int cpu[2])
{
	cpu_set_t set;

	cpu[0] = -1;
	if (sched_getaffinity(0, sizeof(set), &set))
		return false;
	for (cpu[1] = 0; cpu[1] < CPU_SETSIZE; cpu[1]++) {
		if (!CPU_ISSET(cpu[1], &set))
			continue;
		if (cpu[0] < 0)
			cpu[0] = cpu[1];
		else if (!core_is_shared(cpu[0], cpu[1]))
			return true;
	}
	return false;
}

static void ball_return(struct ball *b, unsigned int mine)
{
	while (__atomic_load_n(&b->turn, __ATOMIC_ACQUIRE) != mine)
		__builtin_ia32_pause();
	__atomic_store_n(&b->turn, !mine, __ATOMIC_RELEASE);
}

static void *ball_first(void *arg)
{
	struct ball *b = arg;

	ball_return(b, 0);	/* from here on both are there */
	for (unsigned int i = 0; i < BALL_BATCHES; i++) {
		double start = bench_seconds();

		for (unsigned int j = 0; j < BALL_ROUNDS; j++)
			ball_return(b, 0);
		b->ns[i] = (bench_seconds() - start) / BALL_ROUNDS * 1e9;
	}
	return NULL;
}

static void *ball_second(void *arg)
{
	for (unsigned int i = 0; i <= BALL_BATCHES * BALL_ROUNDS; i++)
		ball_return(arg, 1);
	return NULL;
}

/* The caller stays where it is: threads of their own are pinned. */
static void pinned_start(pthread_t *id, int cpu, void *(*fn)(void *arg), void *arg)
{
	pthread_attr_t attr;
	cpu_set_t set;
	int rc;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	rc = pthread_create(id, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	if (rc) {
		fprintf(stderr, "bench: cannot create a thread on CPU %d: %s\n", cpu, strerror(rc));
		exit(1);
	}
}

double bench_round_trip_ns(void)
{
	static struct ball ball;
	pthread_t id[2];
	int cpu[2];

	if (!two_cores(cpu))
		return 0;
	ball.turn = 0;
	pinned_start(&id[0], cpu[0], ball_first, &ball);
	pinned_start(&id[1], cpu[1], ball_second, &ball);
	pthread_join(id[0], NULL);
	pthread_join(id[1], NULL);
	return bench_median(ball.ns, BALL_BATCHES);
}

/* Of this run, for its lines; 0: not said. */
static double round_trip_ns;

void bench_say_round_trip(void)
{
	round_trip_ns = bench_round_trip_ns();
	if (round_trip_ns > 0)
		printf("core-to-core round trip %.0f ns\n", round_trip_ns);
	else
		printf("no core-to-core round trip: one core\n");
}

/* --- reading --- */

struct reading {
	const uint8_t *p;
	size_t bytes;
	unsigned int threads;
};

__attribute__((target("avx2"))) static void read_avx2(const uint8_t *p, size_t bytes)
{
	__m256i sum[4] = { 0 };

	for (size_t i = 0; i + 256 <= bytes; i += 256) {
		for (int j = 0; j < 8; j++)
			sum[j % 4] = _mm256_or_si256(sum[j % 4],
				_mm256_loadu_si256((const __m256i *)(p + i + 32 * j)));
		for (int j = 0; j < 4; j++)
			_mm_prefetch((const char *)p + i + 64 * j + 4096, _MM_HINT_T0);
	}
	/* Makes the sums observable, so that the loads happen. */
	__asm__ volatile("" : : "m"(sum));
}

static void read_sse2(const uint8_t *p, size_t bytes)
{
	__m128i sum[4] = { 0 };

	for (size_t i = 0; i + 128 <= bytes; i += 128)
		for (int j = 0; j < 8; j++)
			sum[j % 4] = _mm_or_si128(sum[j % 4],
				_mm_loadu_si128((const __m128i *)(p + i + 16 * j)));
	__asm__ volatile("" : : "m"(sum));
}

static void read_share(void *ctx, unsigned int thread)
{
	const struct reading *r = ctx;
	size_t share = r->bytes / r->threads / 64 * 64;

	if (__builtin_cpu_supports("avx2"))
		read_avx2(r->p + share * thread, share);
	else
		read_sse2(r->p + share * thread, share);
}

double bench_read_rate(const void *p, size_t bytes, unsigned int threads)
{
	struct reading r = { p, bytes, threads };

	return (double)bytes / bench_parallel(threads, read_share, &r);
}

/* --- arithmetic --- */

/*
 * Twelve instructions that do not depend on each other, again and again: more than
 * two ports times a latency of four or five need.
 */
#define TWELVE(op, a, b, reg) \
	op " " a "," b "," reg "0\n" op " " a "," b "," reg "1\n" op " " a "," b "," reg "2\n" \
	op " " a "," b "," reg "3\n" op " " a "," b "," reg "4\n" op " " a "," b "," reg "5\n" \
	op " " a "," b "," reg "6\n" op " " a "," b "," reg "7\n" op " " a "," b "," reg "8\n" \
	op " " a "," b "," reg "9\n" op " " a "," b "," reg "10\n" op " " a "," b "," reg "11\n"
#define LOOP(name, op, reg) \
	static void name(uint64_t turns) \
	{ \
		__asm__ volatile("vzeroall\n1:\n" TWELVE(op, reg "14", reg "15", reg) \
				 "dec %0\njnz 1b\nvzeroupper\n" \
				 : "+r"(turns) : : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", \
				 "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
				 "xmm12", "xmm13", "xmm14", "xmm15"); \
	}

LOOP(fma_avx2, "vfmadd231ps", "%%ymm")
LOOP(fma_avx512, "vfmadd231ps", "%%zmm")
LOOP(bf16_avx512, "vdpbf16ps", "%%zmm")
LOOP(int8_avx512, "vpdpbusd", "%%zmm")

/* Sixteen products of 16 x 16 by 32: four results take turns. */
__attribute__((target("amx-tile,amx-bf16"))) static void bf16_amx(uint64_t turns)
{
	struct {
		uint8_t palette, start, reserved[14];
		uint16_t bytes[16];
		uint8_t rows[16];
	} config = { .palette = 1 };

	for (int i = 0; i < 8; i++) {
		config.bytes[i] = 64;
		config.rows[i] = 16;
	}
	__asm__ volatile("" : : "m"(config));	/* all of it: see kernels/amx/tiles.h */
	_tile_loadconfig(&config);
	for (uint64_t t = 0; t < turns; t++)
		for (int i = 0; i < 4; i++) {
			_tile_dpbf16ps(0, 4, 5);
			_tile_dpbf16ps(1, 4, 6);
			_tile_dpbf16ps(2, 4, 5);
			_tile_dpbf16ps(3, 4, 6);
		}
	_tile_release();
}

struct peak {
	void (*loop)(uint64_t turns);
	uint64_t turns;
};

static void peak_share(void *ctx, unsigned int thread)
{
	const struct peak *p = ctx;

	(void)thread;
	p->loop(p->turns);
}

double bench_peak_rate(enum bench_op op, unsigned int threads)
{
	bool wide = __builtin_cpu_supports("avx512f");
	struct peak p = { NULL, 1u << 20 };
	double lanes = wide ? 16 : 8, per_lane = 2;

	if (op == BENCH_FMA_F32 && __builtin_cpu_supports("fma"))
		p.loop = wide ? fma_avx512 : fma_avx2;
	if (op == BENCH_DOT_BF16 && wide && __builtin_cpu_supports("avx512bf16")) {
		p.loop = bf16_avx512;
		per_lane = 4;
	}
	if (op == BENCH_DOT_INT8 && wide && __builtin_cpu_supports("avx512vnni")) {
		p.loop = int8_avx512;
		per_lane = 8;
	}
	if (op == BENCH_TILE_BF16) {
		p = (struct peak){ bf16_amx, 1u << 16 };
		return 16.0 * 2 * 16 * 16 * 32 * (double)p.turns * threads /
		       bench_parallel(threads, peak_share, &p);
	}
	if (!p.loop)
		return 0;
	return 12 * lanes * per_lane * (double)p.turns * threads /
	       bench_parallel(threads, peak_share, &p);
}

/* --- results --- */

static void print_heading(const char *bench)
{
	static char last[64];

	if (!strcmp(last, bench))
		return;
	snprintf(last, sizeof(last), "%s", bench);
	printf("%-11s %-10s %-11s %-6s %6s %6s %6s %3s %-6s %9s %9s %6s %9s %6s\n", "bench", "weight",
	       "mode", "where", "m", "n", "k", "thr", "unit", "ours", "theirs", "ratio", "bound",
	       "frac");
}

static const char *text(const char *s)
{
	return s ? s : "-";
}

static void print_number(int width, int decimals, double x)
{
	if (x > 0)
		printf(" %*.*f", width, decimals, x);
	else
		printf(" %*s", width, "-");
}

static void print_line(const struct bench_result *r)
{
	print_heading(r->bench);
	printf("%-11s %-10s %-11s %-6s %6llu %6llu %6llu %3llu %-6s", r->bench, text(r->weight),
	       text(r->mode), text(r->residency ? r->residency : r->policy),
	       (unsigned long long)r->m, (unsigned long long)r->n, (unsigned long long)r->k,
	       (unsigned long long)r->threads, r->unit);
	print_number(9, 2, r->ours);
	print_number(9, 2, r->peer ? r->theirs : 0);
	print_number(6, 2, r->peer && r->theirs > 0 ? r->ours / r->theirs : 0);
	print_number(9, 2, r->bound);
	print_number(6, 3, r->bound > 0 ? r->ours / r->bound : 0);
	printf("  %s\n", r->note ? r->note : "");
	fflush(stdout);
}

static void json_text(FILE *f, const char *key, const char *value)
{
	if (value)
		fprintf(f, ",\"%s\":\"%s\"", key, value);
}

static void json_count(FILE *f, const char *key, uint64_t value)
{
	if (value)
		fprintf(f, ",\"%s\":%llu", key, (unsigned long long)value);
}

static void json_number(FILE *f, const char *key, double value)
{
	if (value > 0)
		fprintf(f, ",\"%s\":%.4g", key, value);
}

static void json_line(FILE *f, const struct bench_result *r)
{
	fprintf(f, "{\"bench\":\"%s\"", r->bench);
	json_text(f, "weight", r->weight);
	json_text(f, "mode", r->mode);
	json_count(f, "m", r->m);
	json_count(f, "n", r->n);
	json_count(f, "k", r->k);
	json_count(f, "heads", r->heads);
	json_count(f, "kv_heads", r->kv_heads);
	json_count(f, "head_dim", r->head_dim);
	json_count(f, "kv", r->kv);
	json_count(f, "experts", r->experts);
	json_count(f, "used", r->used);
	json_text(f, "routing", r->routing);
	json_count(f, "threads", r->threads);
	json_text(f, "residency", r->residency);
	json_text(f, "policy", r->policy);
	fprintf(f, ",\"unit\":\"%s\",\"ours\":%.6g", r->unit, r->ours);
	if (r->peer && r->theirs > 0)
		fprintf(f, ",\"peer\":\"%s\",\"theirs\":%.6g,\"ratio\":%.4g", r->peer, r->theirs,
			r->ours / r->theirs);
	if (r->bound > 0)
		fprintf(f, ",\"bound\":%.6g,\"fraction\":%.4g", r->bound, r->ours / r->bound);
	json_number(f, "nmse", r->nmse);
	json_number(f, "peer_nmse", r->peer_nmse);
	json_number(f, "round_trip_ns", round_trip_ns);
	fprintf(f, ",\"runs\":%u}\n", r->runs);
}

int bench_emit(const struct bench_result *r)
{
	const char *path = getenv("BENCH_JSONL");
	FILE *f;

	print_line(r);
	f = fopen(path ? path : "build/bench.jsonl", "ae");
	if (!f)
		return -errno;
	json_line(f, r);
	return fclose(f) ? -errno : 0;
}

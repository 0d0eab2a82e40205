/* SPDX-License-Identifier: MIT */
/*
 * What benchmarks share: a clock, memory, threads, what the machine can do at most,
 * and one way to print a result.
 *
 * Machines that are lent are noisy, and a virtual one drifts between speeds: measure
 * ours, the peer and the bound in turns within one run, and report medians.
 */
#ifndef TESTS_COMMON_BENCH_UTIL_H
#define TESTS_COMMON_BENCH_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct bench_result - one line of the table and of the JSON file
 * @bench: which question, "matmul"
 * @weight: "mxfp4", "int8", "f32"; NULL leaves the key out, as for every string here
 * @mode: "a8", "a16", "f32"
 * @policy: residency policy
 * @residency: "dram", "cache", "nvme"
 * @m: rows of activations; 0 leaves the key out, as for @n, @k and @threads
 * @n: output features
 * @k: input features
 * @heads: attention: heads of the queries; 0 leaves the key out, as for the next three
 * @kv_heads: heads of the keys and values
 * @head_dim: columns of a head
 * @kv: keys
 * @experts: matrices of a stack, of which a row of activations chooses some; 0 leaves the key out
 * @used: how many
 * @routing: how: "uniform", "zipf"
 * @threads: threads
 * @unit: of the three figures below, "GF/s"; more is better
 * @ours: what we reach
 * @peer: whom we compare with; NULL: no peer, @theirs is not printed
 * @theirs: what the peer reaches, doing the same work
 * @bound: what the machine can do at most, measured in the same run; 0: not known
 * @nmse, @peer_nmse: error of our result and of theirs; 0 leaves the key out
 * @runs: medians of so many runs
 * @note: printed behind the table's line, not in the JSON; or NULL
 */
struct bench_result {
	const char *bench, *weight, *mode, *policy, *residency;
	uint64_t m, n, k, heads, kv_heads, head_dim, kv, experts, used, threads;
	const char *routing;
	const char *unit;
	double ours;
	const char *peer;
	double theirs, bound, nmse, peer_nmse;
	unsigned int runs;
	const char *note;
};

/*
 * Print a line, under a heading when the bench's name is a new one, and append one
 * JSON object to $BENCH_JSONL (build/bench.jsonl when not set).  Return: 0, or -errno
 * when the file cannot be written; the line is printed all the same.
 */
int bench_emit(const struct bench_result *r);

/*
 * BENCH_SHORT is set: is everything there and does it run?  Small sizes, one or two
 * turns; figures mean nothing.
 */
bool bench_short(void);

/* Turns to take the median of: $BENCH_RUNS, else @usual, 1 when short; at most @most. */
unsigned int bench_runs(unsigned int usual, unsigned int most);

/* Monotonic clock, in seconds. */
double bench_seconds(void);

/* Sorts v. */
double bench_median(double *v, unsigned int n);

/* Zeroed, touched, on 2 MiB pages where there are any; NULL when there is none. */
void *bench_alloc(size_t bytes);
void bench_free(void *p);

/* Run fn(ctx, 0 .. threads - 1) at the same time and wait; returns seconds. */
double bench_parallel(unsigned int threads, void (*fn)(void *ctx, unsigned int thread), void *ctx);

/*
 * Nanoseconds in which a cache line goes from one core to another and back, between two threads
 * that are pinned to the first two cores this thread may use: the median of many batches.  It
 * tells what memory the two share: within one L3 it is about a third of what it is across two.
 * 0: there is one core.
 */
double bench_round_trip_ns(void);

/* Measure it, print it, and put it into every line of this run from now on. */
void bench_say_round_trip(void);

/* Bytes a second at which so many threads, each its share, read memory once. */
double bench_read_rate(const void *p, size_t bytes, unsigned int threads);

/* Arithmetic that a bound is made of; the widest form this CPU has. */
enum bench_op {
	BENCH_FMA_F32,		/* 2 operations a lane */
	BENCH_DOT_BF16,		/* vdpbf16ps, 4 a lane; 0 without AVX512-BF16 */
	BENCH_TILE_BF16,	/* tdpbf16ps; only where level amx is */
	BENCH_DOT_INT8,		/* vpdpbusd, 8 a lane; 0 without VNNI */
};

/* Operations a second on registers alone. */
double bench_peak_rate(enum bench_op op, unsigned int threads);

#endif

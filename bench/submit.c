// SPDX-License-Identifier: MIT
/*
 * What does a submission cost beside its work?
 *
 * The round trip of a null command: recorded once, submitted and waited for.  Embedded
 * it runs on the submitting thread; "thread" forces it onto the executor's.  Peers are
 * the two ways a program could hand work to another thread at all: a ping-pong over two
 * eventfds, and one over a shared variable that both sides spin on, which is also the
 * bound of what needs two threads; a fraction above 1 needs no other one.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/bench_util.h"
#include "vgpu.h"

#define MAX_RUNS	99u

/* Round trips of a turn. */
static unsigned int rounds = 2000;

struct pingpong {
	int to, from;
	int ball;
	unsigned int rounds;
};

static void *eventfd_peer(void *arg)
{
	struct pingpong *p = arg;
	uint64_t one;

	for (unsigned int i = 0; i < p->rounds; i++) {
		if (read(p->to, &one, 8) != 8)
			break;
		one = 1;
		if (write(p->from, &one, 8) != 8)
			break;
	}
	return NULL;
}

/* Microseconds a round trip over two eventfds to a sleeping thread. */
static double run_eventfd(void)
{
	struct pingpong p = { .to = eventfd(0, 0), .from = eventfd(0, 0), .rounds = rounds };
	double start = bench_seconds(), seconds;
	pthread_t thread;
	uint64_t one;

	pthread_create(&thread, NULL, eventfd_peer, &p);
	for (unsigned int i = 0; i < rounds; i++) {
		one = 1;
		if (write(p.to, &one, 8) != 8 || read(p.from, &one, 8) != 8)
			break;
	}
	pthread_join(thread, NULL);
	seconds = bench_seconds() - start;
	close(p.to);
	close(p.from);
	return seconds / rounds * 1e6;
}

static void *spin_peer(void *arg)
{
	struct pingpong *p = arg;

	for (unsigned int i = 0; i < p->rounds; i++) {
		while (__atomic_load_n(&p->ball, __ATOMIC_ACQUIRE) != 1)
			__builtin_ia32_pause();
		__atomic_store_n(&p->ball, 0, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Microseconds a round trip over a variable that both threads spin on. */
static double run_spin(void)
{
	struct pingpong p = { .rounds = rounds };
	pthread_t thread;
	double start;

	pthread_create(&thread, NULL, spin_peer, &p);
	start = bench_seconds();
	for (unsigned int i = 0; i < rounds; i++) {
		__atomic_store_n(&p.ball, 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&p.ball, __ATOMIC_ACQUIRE))
			__builtin_ia32_pause();
	}
	start = bench_seconds() - start;
	pthread_join(thread, NULL);
	return start / rounds * 1e6;
}

static double run_null(struct vgpu_queue *q, struct vgpu_cmdbuf *cb, bool async)
{
	struct vgpu_submit_info info = { .size = sizeof(info), .async = async };
	double start = bench_seconds();

	for (unsigned int i = 0; i < rounds; i++) {
		struct vgpu_fence fence;

		if (vgpu_submit(q, cb, &info, &fence) || vgpu_wait(fence, 1000000000)) {
			fprintf(stderr, "submit: %s\n", vgpu_error_text());
			exit(1);
		}
	}
	return (bench_seconds() - start) / rounds * 1e6;
}

/* How a submission runs, and what it took. */
struct way {
	const char *mode;
	unsigned int threads;
	double us[MAX_RUNS], median;
};

static void emit(const struct way *w, const struct way *peer, const struct way *bound,
		 unsigned int runs)
{
	/* More is better: round trips a second. */
	struct bench_result r = { .bench = "submit", .mode = w->mode, .threads = w->threads,
				  .unit = "1/s", .ours = 1e6 / w->median, .peer = peer->mode,
				  .theirs = 1e6 / peer->median, .bound = 1e6 / bound->median,
				  .runs = runs };
	char note[64];

	snprintf(note, sizeof(note), "%.2f us against %.2f us", w->median, peer->median);
	r.note = note;
	bench_emit(&r);
}

int main(void)
{
	struct vgpu_config config = { .size = sizeof(config), .host_bytes = 64u << 20 };
	static struct way own = { .mode = "inline", .threads = 1 };
	static struct way thread = { .mode = "thread", .threads = 2 };
	static struct way event = { .mode = "eventfd ping-pong", .threads = 2 };
	static struct way spin = { .mode = "spin ping-pong", .threads = 2 };
	unsigned int runs = bench_runs(7, MAX_RUNS);
	struct vgpu_cmdbuf *cb;
	struct vgpu_queue *q;
	struct vgpu *v;

	if (vgpu_open_embedded(&config, &v) || vgpu_queue_create(v, 0, &q) ||
	    vgpu_cmdbuf_create(v, &cb) || vgpu_cmd_nop(cb)) {
		fprintf(stderr, "submit: %s\n", vgpu_error_text());
		return 1;
	}
	if (bench_short())
		rounds = 20;
	run_null(q, cb, false);
	for (unsigned int i = 0; i < runs; i++) {
		own.us[i] = run_null(q, cb, false);
		thread.us[i] = run_null(q, cb, true);
		event.us[i] = run_eventfd();
		spin.us[i] = run_spin();
	}
	own.median = bench_median(own.us, runs);
	thread.median = bench_median(thread.us, runs);
	event.median = bench_median(event.us, runs);
	spin.median = bench_median(spin.us, runs);
	emit(&own, &event, &spin, runs);
	emit(&own, &spin, &spin, runs);
	emit(&thread, &event, &spin, runs);
	vgpu_cmdbuf_destroy(cb);
	vgpu_queue_destroy(q);
	vgpu_close(v);
	return 0;
}

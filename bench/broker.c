// SPDX-License-Identifier: MIT
/*
 * What does a submission cost that goes through the module to another process, and what
 * is left of it beside somebody greedy?
 *
 * "broker": the round trip of a null command, recorded once, submitted and waited for,
 * with vbd serving: one that sleeps when it has nothing to do, and one that looks for work
 * awake; and, "bare", an executor that looks awake and runs nothing, so that what is left is
 * the module's.  The peer is a ping-pong over two pipes between two processes.
 *
 * "share": commands a second of a client beside a greedy one (64 queues, as many
 * submissions as it may have, objects that come and go, faults), and beside a twin of its
 * own, which is the peer.
 *
 * Beyond its limits it says so and ends with 1: a round trip of 1.3 ping-pongs, 0.3 with a
 * vbd that looks awake; 0.8 of what is left beside a twin.
 *
 * "--hops": where the time of a round trip goes, from the module's tracepoints; makes the
 * round trip longer.
 *
 * Needs the module: tests/vm/bench.sh runs it in a machine of its own.
 */
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/vblackwell.h>

#include "common/bench_util.h"
#include "vgpu.h"

#define DEVICE		"/dev/vblackwell"
#define EXECUTOR	"/dev/vblackwell-exec"
#define TRACING		"/sys/kernel/tracing"
#define MAX_RUNS	99u
#define MAX_ROUNDS	2000u
#define POLL_US		"2000"
#define POLL_NS		(2000u * 1000u)
#define DEPTH		4u		/* submissions a polite client has under way */
#define WORK_FLOATS	(256u << 10)	/* of one of its commands */
#define QUEUES		64u
#define GREEDY_DEPTH	16u		/* a queue */

static unsigned int rounds = 500, share_seconds = 2;
static char vbd_path[4096];

static void die(const char *what)
{
	const char *text = vgpu_error_text();

	fprintf(stderr, "broker: %s: %s\n", what, *text ? text : "failed");
	exit(1);
}

/* ---- processes ---- */

/* vbd beside this program, or in the folder above it. */
static void find_vbd(const char *argv0)
{
	static const char *const where[] = { "%s/vbd", "%s/../vbd" };
	char copy[2048];

	for (int i = 0; i < 2; i++) {
		snprintf(copy, sizeof(copy), "%s", argv0);
		snprintf(vbd_path, sizeof(vbd_path), where[i], dirname(copy));
		if (!access(vbd_path, X_OK))
			return;
	}
}

static void vbd_exec(const char *poll_us, int out)
{
	const char *args[16] = { vbd_path, "--host", "64M", "--threads", "1", "--poll", poll_us };
	unsigned int n = 7;

	if (!geteuid()) {
		args[n++] = "--user";
		args[n++] = "65534:65534";
	}
	dup2(out, 1);
	execv(vbd_path, (char **)args);
	_exit(1);
}

static void bare_attach(int node, uint32_t *generation)
{
	struct vb_ioc_exec_attach a = {
		.size = sizeof(a), .heartbeat_ms = 1000, .staging_bytes = 1 << 20, .panel_bytes = 1 << 16,
	};

	if (ioctl(node, VB_IOC_EXEC_ATTACH, &a) ||
	    mmap(NULL, VB_MMAP_SUBMIT_BYTES, PROT_READ, MAP_SHARED, node, VB_MMAP_SUBMIT) == MAP_FAILED)
		die(EXECUTOR);
	*generation = a.out_generation;
}

/* What is fetched is committed with the next fetch. */
static void bare_serve(int out)
{
	struct vb_ioc_fetch f;
	struct vb_ioc_commit done = { .size = sizeof(done), .bad_command = UINT32_MAX };
	struct vb_ioc_exchange x = {
		.size = sizeof(x), .fetches_address = (uintptr_t)&f, .fetch_count = 1,
		.commits_address = (uintptr_t)&done, .spin_ns = POLL_NS,
	};
	int node = open(EXECUTOR, O_RDWR);

	bare_attach(node, &done.generation);
	dprintf(out, "ready\n");
	while (!ioctl(node, VB_IOC_EXCHANGE, &x)) {
		x.commit_count = x.out_fetched;
		done.tag = f.out_tag;
	}
	_exit(1);
}

/* @poll_us: of vbd; NULL: a bare one.  Its first line that begins so says that it serves. */
static pid_t executor_start(const char *poll_us)
{
	char line[256] = "";
	int fds[2];
	pid_t pid;
	FILE *f;

	if (pipe(fds))
		die("pipe");
	pid = fork();
	if (!pid && poll_us)
		vbd_exec(poll_us, fds[1]);
	if (!pid)
		bare_serve(fds[1]);
	close(fds[1]);
	f = fdopen(fds[0], "r");
	while (fgets(line, sizeof(line), f) && strncmp(line, "ready", 5))
		;
	if (strncmp(line, "ready", 5))
		die("the executor does not start");
	/* What it says at its end finds a reader. */
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}

/* ---- round trips: of single ones, in us ---- */

/* @tenth: not longer than that is one of ten, which a busy machine delays least. */
struct trip {
	double median, tenth;
};

static struct trip trip_of(double *us)
{
	double median = bench_median(us, rounds);

	return (struct trip){ median, us[rounds / 10] };
}

static double now_us(void)
{
	return bench_seconds() * 1e6;
}

struct pipes {
	int to[2], from[2];
	pid_t pid;
};

static void pipes_open(struct pipes *p)
{
	char ball;

	if (pipe(p->to) || pipe(p->from))
		die("pipe");
	p->pid = fork();
	if (p->pid)
		return;
	while (read(p->to[0], &ball, 1) == 1 && write(p->from[1], &ball, 1) == 1)
		;
	_exit(0);
}

static struct trip run_pipes(struct pipes *p)
{
	static double us[MAX_ROUNDS];
	char ball = 0;

	for (unsigned int i = 0; i < rounds; i++) {
		double start = now_us();

		if (write(p->to[1], &ball, 1) != 1 || read(p->from[0], &ball, 1) != 1)
			die("ping-pong");
		us[i] = now_us() - start;
	}
	return trip_of(us);
}

struct client {
	struct vgpu *v;
	struct vgpu_queue *q;
	struct vgpu_cmdbuf *cb;
	struct vgpu_bo *bo;
};

static void client_open(struct client *c)
{
	if (vgpu_open(DEVICE, &c->v) || vgpu_queue_create(c->v, 0, &c->q) ||
	    vgpu_cmdbuf_create(c->v, &c->cb))
		die("open");
}

static void client_close(struct client *c)
{
	vgpu_cmdbuf_destroy(c->cb);
	vgpu_queue_destroy(c->q);
	vgpu_close(c->v);
}

static void submit(struct vgpu_queue *q, struct vgpu_cmdbuf *cb, struct vgpu_fence *fence)
{
	if (vgpu_submit(q, cb, NULL, fence))
		die("submit");
}

static void wait_for(struct vgpu_fence fence)
{
	if (vgpu_wait(fence, 20000000000))
		die("wait");
}

static struct trip run_null(struct client *c)
{
	static double us[MAX_ROUNDS];

	for (unsigned int i = 0; i < rounds; i++) {
		double start = now_us();
		struct vgpu_fence fence;

		submit(c->q, c->cb, &fence);
		wait_for(fence);
		us[i] = now_us() - start;
	}
	return trip_of(us);
}

static int status;

/* @least: of ours / theirs. */
static void emit(const char *bench, const char *mode, double ours, const char *peer, double theirs,
		 unsigned int runs, double least, const char *note)
{
	struct bench_result r = { .bench = bench, .mode = mode, .threads = 2, .unit = "1/s",
				  .ours = ours, .peer = peer, .theirs = theirs, .runs = runs,
				  .note = note };

	bench_emit(&r);
	if (bench_short() || ours >= least * theirs)
		return;
	fprintf(stderr, "%s %s: %.2f of %s; at least %.2f\n", bench, mode, ours / theirs, peer, least);
	status = 1;
}

/* Medians of runs. */
static struct trip middle(const struct trip *t, unsigned int runs)
{
	double median[MAX_RUNS], tenth[MAX_RUNS];

	for (unsigned int i = 0; i < runs; i++) {
		median[i] = t[i].median;
		tenth[i] = t[i].tenth;
	}
	return (struct trip){ bench_median(median, runs), bench_median(tenth, runs) };
}

/* @poll_us as of executor_start(); @times: ping-pongs that a round trip may take. */
static void broker(const char *mode, const char *poll_us, unsigned int runs, double times)
{
	struct trip ours[MAX_RUNS], theirs[MAX_RUNS], we, they;
	pid_t executor = executor_start(poll_us);
	struct pipes p;
	struct client c;
	char note[160];

	pipes_open(&p);
	client_open(&c);
	if (vgpu_cmd_nop(c.cb))
		die("record");
	run_null(&c);
	for (unsigned int i = 0; i < runs; i++) {
		theirs[i] = run_pipes(&p);
		ours[i] = run_null(&c);
	}
	client_close(&c);
	end(p.pid);
	end(executor);
	we = middle(ours, runs);
	they = middle(theirs, runs);
	snprintf(note, sizeof(note),
		 "%.1f us against %.1f us: %.2f times; the best tenth %.1f, %.1f: %.2f", we.median,
		 they.median, we.median / they.median, we.tenth, they.tenth,
		 we.tenth / they.tenth);
	emit("broker", mode, 1e6 / we.median, "pipe ping-pong", 1e6 / they.median, runs, 1 / times,
	     note);
}

/* ---- shares ---- */

static void client_make_work(struct client *c)
{
	struct vgpu_array y;

	if (vgpu_bo_create(c->v, WORK_FLOATS * 4, VGPU_LIFE_VOLATILE, &c->bo))
		die("create");
	y = vgpu_vector(c->bo, 0, VGPU_FORMAT_F32, WORK_FLOATS);
	if (vgpu_cmd_fill(c->cb, 1, y))
		die("record");
}

/* Commands a second, with as many under way as a client of good manners has. */
static double polite(struct client *c)
{
	struct vgpu_fence fence[DEPTH];
	double start = bench_seconds();
	unsigned int done = 0;

	for (unsigned int i = 0; i < DEPTH; i++)
		submit(c->q, c->cb, &fence[i]);
	do {
		wait_for(fence[done % DEPTH]);
		submit(c->q, c->cb, &fence[done % DEPTH]);
		done++;
	} while (bench_seconds() - start < share_seconds);
	start = bench_seconds() - start;
	for (unsigned int i = 0; i < DEPTH; i++)
		wait_for(fence[(done + i) % DEPTH]);
	return done / start;
}

/* What a client of another process does, on as many threads. */
struct life {
	void (*const *forever)(struct client *c);
	unsigned int count, next;
	struct client c;
};

static void *live(void *arg)
{
	struct life *l = arg;
	void (*forever)(struct client *c) = l->forever[__atomic_fetch_add(&l->next, 1,
									  __ATOMIC_RELAXED)];

	for (;;)
		forever(&l->c);
	return NULL;
}

static pid_t in_child(void (*const *forever)(struct client *c), unsigned int count)
{
	struct life l = { .forever = forever, .count = count };
	pthread_t thread;
	pid_t pid = fork();

	if (pid)
		return pid;
	client_open(&l.c);
	client_make_work(&l.c);
	for (unsigned int i = 1; i < count; i++)
		if (pthread_create(&thread, NULL, live, &l))
			die("thread");
	live(&l);
	_exit(0);
}

static void twin(struct client *c)
{
	polite(c);
}

/* Sixty-four queues that are full all the time. */
static void greedy_submit(struct client *c)
{
	static struct vgpu_queue *q[QUEUES];
	static struct vgpu_fence fence[QUEUES][GREEDY_DEPTH];

	for (unsigned int i = 0; i < QUEUES; i++) {
		if (vgpu_queue_create(c->v, 1000, &q[i]))
			die("queue");
		for (unsigned int k = 0; k < GREEDY_DEPTH; k++)
			submit(q[i], c->cb, &fence[i][k]);
	}
	for (unsigned int n = 0;; n++) {
		struct vgpu_fence *oldest = &fence[n % QUEUES][n / QUEUES % GREEDY_DEPTH];

		wait_for(*oldest);
		submit(q[n % QUEUES], c->cb, oldest);
	}
}

static void greedy_allocate(struct client *c)
{
	struct vgpu_bo *bo[16];
	char byte = 1;

	for (unsigned int i = 0; i < 16; i++)
		if (vgpu_bo_create(c->v, 1 << 20, VGPU_LIFE_VOLATILE, &bo[i]) ||
		    vgpu_bo_write(bo[i], 0, &byte, 1))
			die("allocate");
	for (unsigned int i = 0; i < 16; i++)
		vgpu_bo_destroy(bo[i]);
}

/* More than its share of the tier, by mapped ranges that are touched in turn. */
static void greedy_fault(struct client *c)
{
	const uint64_t bytes = 32 << 20, part = 1 << 20;
	struct vgpu_bo *bo;
	void *p;

	if (vgpu_bo_create(c->v, bytes, VGPU_LIFE_VOLATILE, &bo))
		die("create");
	for (uint64_t at = 0;; at = (at + part) % bytes) {
		if (vgpu_bo_map(bo, at, part, VGPU_MAP_WRITE, &p))
			die("map");
		memset(p, 1, part);
		vgpu_bo_unmap(bo, at, part, VGPU_MAP_WRITE);
	}
}

static const struct { const char *name; void (*forever)(struct client *c); } greed[] = {
	{ "submissions", greedy_submit }, { "allocations", greedy_allocate },
	{ "faults", greedy_fault },
};

#define GREED	(sizeof(greed) / sizeof(greed[0]))

static double beside(struct client *c, void (*const *forever)(struct client *c), unsigned int count)
{
	pid_t pid = in_child(forever, count);
	double rate;

	usleep(300000);
	rate = polite(c);
	end(pid);
	return rate;
}

static void share(const char *mode, void (*const *forever)(struct client *c), unsigned int count,
		  unsigned int runs)
{
	static void (*const good[])(struct client *c) = { twin };
	double ours[MAX_RUNS], theirs[MAX_RUNS];
	pid_t vbd = executor_start("0");
	struct client c;

	client_open(&c);
	client_make_work(&c);
	polite(&c);
	for (unsigned int i = 0; i < runs; i++) {
		theirs[i] = beside(&c, good, 1);
		ours[i] = beside(&c, forever, count);
	}
	client_close(&c);
	end(vbd);
	emit("share", mode, bench_median(ours, runs), "beside a twin", bench_median(theirs, runs), runs,
	     0.8, NULL);
}

static void shares(unsigned int runs)
{
	void (*all[GREED])(struct client *c);

	for (unsigned int i = 0; i < GREED; i++) {
		all[i] = greed[i].forever;
		share(greed[i].name, &all[i], 1, runs);
	}
	share("all at once", all, GREED, runs);
}

/* ---- hops ---- */

enum hop { HOP_CALL, HOP_SUBMIT, HOP_QUEUE, HOP_RETURN, HOP_FETCH, HOP_COMMIT, HOP_SIGNAL, HOP_END,
	   HOPS };

static const char *const hop_name[HOPS] = {
	"call", "vb_submit", "vb_queue", "SUBMIT returns", "vb_fetch", "vb_commit", "vb_signal",
	"WAIT returns",
};

static double hop_at[MAX_ROUNDS][HOPS];

static void tracing(const char *file, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), TRACING "/%s", file);
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f))
		die(path);
}

/* "...  12.345678: vb_fetch: client=3 queue=4 seqno=5" */
static void hop_take(const char *line, uint64_t first)
{
	const char *event = strstr(line, ": vb_"), *seqno = strstr(line, "seqno=");
	const char *stamp = event;
	uint64_t n;

	if (!event || !seqno)
		return;
	while (stamp > line && stamp[-1] != ' ')
		stamp--;
	n = strtoull(seqno + 6, NULL, 10) - first;
	for (unsigned int hop = 0; n < rounds && hop < HOPS; hop++)
		if (!strncmp(event + 2, hop_name[hop], strlen(hop_name[hop])) &&
		    event[2 + strlen(hop_name[hop])] == ':')
			hop_at[n][hop] = strtod(stamp, NULL) * 1e6;
}

static void hops_read(uint64_t first)
{
	FILE *f = fopen(TRACING "/trace", "r");
	char line[512];

	if (!f)
		die(TRACING);
	while (fgets(line, sizeof(line), f))
		hop_take(line, first);
	fclose(f);
}

static void hops_print(const char *mode)
{
	double us[MAX_ROUNDS];

	printf("hops, executor %s: us since the call, medians\n", mode);
	for (unsigned int hop = 0; hop < HOPS; hop++) {
		for (unsigned int i = 0; i < rounds; i++)
			us[i] = hop_at[i][hop] - hop_at[i][HOP_CALL];
		printf("  %-16s %8.1f\n", hop_name[hop], bench_median(us, rounds));
	}
}

static void hops(const char *mode, const char *poll_us)
{
	pid_t vbd = executor_start(poll_us);
	struct client c;

	rounds = 200;
	client_open(&c);
	if (vgpu_cmd_nop(c.cb))
		die("record");
	run_null(&c);
	tracing("trace_clock", "mono");
	tracing("trace", "");
	tracing("events/vblackwell/enable", "1");
	for (unsigned int i = 0; i < rounds; i++) {
		struct vgpu_fence fence;

		hop_at[i][HOP_CALL] = now_us();
		submit(c.q, c.cb, &fence);
		hop_at[i][HOP_RETURN] = now_us();
		wait_for(fence);
		hop_at[i][HOP_END] = now_us();
	}
	tracing("events/vblackwell/enable", "0");
	hops_read(rounds + 1);
	hops_print(mode);
	client_close(&c);
	end(vbd);
}

int main(int argc, char **argv)
{
	unsigned int runs = bench_runs(5, MAX_RUNS);

	if (access(DEVICE, F_OK)) {
		printf("broker: no module here\n");
		return 0;
	}
	find_vbd(argv[0]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "--hops")) {
		hops("sleeping", "0");
		hops("polling", POLL_US);
		return 0;
	}
	if (bench_short()) {
		rounds = 10;
		share_seconds = 1;
	}
	if (argc == 1 || !strcmp(argv[1], "broker")) {
		broker("sleeping", "0", runs, 1.3);
		broker("polling", POLL_US, runs, 0.3);
	}
	if (argc == 1 || !strcmp(argv[1], "share"))
		shares(runs);
	if (argc == 1 || !strcmp(argv[1], "broker"))
		broker("bare", NULL, runs, 0.3);
	return status;
}

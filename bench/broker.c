// SPDX-License-Identifier: MIT
/*
 * What does a submission cost that goes through the module to another process?
 *
 * The round trip of a null command, recorded once, submitted and waited for, with vbd
 * serving: as it comes, "default"; one that always sleeps when it has nothing to do; one that
 * looks for work awake for long; and, "bare", an executor that looks awake and runs nothing, so
 * that what is left is the module's.  The peer is a ping-pong over two pipes between two
 * processes.
 *
 * Who looks awake has a processor of its own, or nobody could submit meanwhile: in the last two
 * modes the client, and so one end of the pipes, is on the first processor, and the other on
 * the last.  In the first two Linux places them, which may be on one.
 *
 * Beyond its limits it says so and ends with 1: a round trip of 1.3 ping-pongs, 0.3 with an
 * executor that looks awake.
 *
 * "--hops": where the time of a round trip goes, from the module's tracepoints; makes the
 * round trip longer.
 *
 * Needs the module: tests/vm/bench.sh runs it in a machine of its own.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/vblackwell.h>

#include "module.h"
#include "vgpu.h"

#define EXECUTOR	"/dev/vblackwell-exec"
#define TRACING		"/sys/kernel/tracing"
#define MAX_RUNS	99u
#define MAX_ROUNDS	2000u
#define POLL_NS		(2000u * 1000u)

/**
 * struct executor - who serves
 * @name: of the mode
 * @bare: no vbd
 * @apart: on another processor than its client
 * @poll_us: of vbd; NULL: its own default
 * @times: ping-pongs that a round trip may take
 */
struct executor {
	const char *name;
	bool bare, apart;
	const char *poll_us;
	double times;
};

static const struct executor executors[] = {
	{ "default", false, false, NULL, 1.3 },
	{ "sleeping", false, false, "0", 1.3 },
	{ "polling", false, true, "2000", 0.3 },
	{ "bare", true, true, NULL, 0.3 },
};

static unsigned int rounds = 500;
static const char *program;
static int status;

static void die(const char *what)
{
	module_refuse("broker", what);
}

/* ---- processors ---- */

static cpu_set_t anywhere;

/* From now on, and for those who are forked, the first or the last of those that there are. */
static void stay_on(bool last)
{
	cpu_set_t one;
	int cpu = -1;

	for (int i = 0; i < CPU_SETSIZE && (cpu < 0 || last); i++)
		if (CPU_ISSET(i, &anywhere))
			cpu = i;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		die("sched_setaffinity");
}

static void stay_anywhere(void)
{
	if (sched_setaffinity(0, sizeof(anywhere), &anywhere))
		die("sched_setaffinity");
}

/* ---- executors ---- */

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
static void bare_serve(int out, void *arg)
{
	struct vb_ioc_fetch f;
	struct vb_ioc_commit done = { .size = sizeof(done), .bad_command = UINT32_MAX };
	struct vb_ioc_exchange x = {
		.size = sizeof(x), .fetches_address = (uintptr_t)&f, .fetch_count = 1,
		.commits_address = (uintptr_t)&done, .spin_ns = POLL_NS,
	};
	int node = open(EXECUTOR, O_RDWR);

	(void)arg;
	bare_attach(node, &done.generation);
	dprintf(out, "ready\n");
	while (!ioctl(node, VB_IOC_EXCHANGE, &x)) {
		x.commit_count = x.out_fetched;
		done.tag = f.out_tag;
	}
}

static pid_t executor_start(const struct executor *e)
{
	if (e->bare)
		return module_start("broker", bare_serve, NULL);
	return module_start_vbd("broker", (struct module_vbd){ program, e->poll_us, NULL });
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

static struct trip run_null(struct module_client *c)
{
	static double us[MAX_ROUNDS];

	for (unsigned int i = 0; i < rounds; i++) {
		double start = now_us();
		struct vgpu_fence fence;

		module_submit("broker", c->q, c->cb, &fence);
		module_wait("broker", fence);
		us[i] = now_us() - start;
	}
	return trip_of(us);
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

static void broker(const struct executor *e, unsigned int runs)
{
	struct trip ours[MAX_RUNS], theirs[MAX_RUNS], we, they;
	struct module_client c;
	struct pipes p;
	char note[160];
	pid_t executor;

	if (e->apart)
		stay_on(true);
	executor = executor_start(e);
	pipes_open(&p);
	if (e->apart)
		stay_on(false);
	module_client_open("broker", &c);
	if (vgpu_cmd_nop(c.cb))
		die("record");
	run_null(&c);
	for (unsigned int i = 0; i < runs; i++) {
		theirs[i] = run_pipes(&p);
		ours[i] = run_null(&c);
	}
	module_client_close(&c);
	module_end(p.pid);
	module_end(executor);
	stay_anywhere();
	we = middle(ours, runs);
	they = middle(theirs, runs);
	snprintf(note, sizeof(note),
		 "%.1f us against %.1f us: %.2f times; the best tenth %.1f, %.1f: %.2f", we.median,
		 they.median, we.median / they.median, we.tenth, they.tenth,
		 we.tenth / they.tenth);
	status |= module_emit((struct bench_result){
		.bench = "broker", .mode = e->name, .threads = 2, .ours = 1e6 / we.median,
		.peer = "pipe ping-pong", .theirs = 1e6 / they.median, .runs = runs, .note = note,
	}, 1 / e->times);
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

static void hops(const struct executor *e)
{
	pid_t vbd = executor_start(e);
	struct module_client c;

	rounds = 200;
	module_client_open("broker", &c);
	if (vgpu_cmd_nop(c.cb))
		die("record");
	run_null(&c);
	tracing("options/record-cmd", "0");
	tracing("trace_clock", "mono");
	tracing("trace", "");
	tracing("events/vblackwell/enable", "1");
	for (unsigned int i = 0; i < rounds; i++) {
		struct vgpu_fence fence;

		hop_at[i][HOP_CALL] = now_us();
		module_submit("broker", c.q, c.cb, &fence);
		hop_at[i][HOP_RETURN] = now_us();
		module_wait("broker", fence);
		hop_at[i][HOP_END] = now_us();
	}
	tracing("events/vblackwell/enable", "0");
	hops_read(rounds + 1);
	hops_print(e->name);
	module_client_close(&c);
	module_end(vbd);
}

int main(int argc, char **argv)
{
	unsigned int runs = bench_runs(5, MAX_RUNS);

	if (!module_is_there("broker"))
		return 0;
	program = argv[0];
	if (sched_getaffinity(0, sizeof(anywhere), &anywhere))
		die("sched_getaffinity");
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "--hops")) {
		for (unsigned int i = 0; i < 3; i++)
			hops(&executors[i]);
		return 0;
	}
	if (bench_short())
		rounds = 10;
	for (size_t i = 0; i < sizeof(executors) / sizeof(executors[0]); i++)
		broker(&executors[i], runs);
	return status;
}

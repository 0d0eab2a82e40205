/* SPDX-License-Identifier: MIT */
/*
 * Benchmarks of the module: its nodes, the processes that serve, and limits.  They run in a
 * machine of their own (tests/vm/bench.sh).
 */
#ifndef BENCH_MODULE_H
#define BENCH_MODULE_H

#include <libgen.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bench_util.h"
#include "vgpu.h"

#define MODULE_NODE	"/dev/vblackwell"

static inline bool module_is_there(const char *bench)
{
	if (!access(MODULE_NODE, F_OK))
		return true;
	printf("%s: no module here\n", bench);
	return false;
}

/* Nobody is left behind by a benchmark that cannot go on. */
static pid_t module_executor;

static inline void module_die(const char *bench, const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", bench, what, why);
	if (module_executor)
		kill(module_executor, SIGKILL);
	exit(1);
}

/*
 * @serve in a process of its own, which says a line that begins with "ready" when it serves.
 * It never returns; @out is where it says that.
 */
static inline pid_t module_start(const char *bench, void (*serve)(int out, void *arg), void *arg)
{
	char line[256] = "";
	int fds[2];
	pid_t pid;
	FILE *f;

	if (pipe(fds))
		module_die(bench, "pipe", "failed");
	pid = fork();
	if (!pid) {
		serve(fds[1], arg);
		_exit(1);
	}
	module_executor = pid;
	close(fds[1]);
	f = fdopen(fds[0], "r");
	while (fgets(line, sizeof(line), f) && strncmp(line, "ready", 5))
		;
	if (strncmp(line, "ready", 5))
		module_die(bench, "the executor", "it does not start");
	/* What it says at its end finds a reader. */
	return pid;
}

static inline void module_end(pid_t pid)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}

/**
 * struct module_vbd - how vbd is started
 * @argv0: of this program: vbd is beside it, or in the folder above
 * @poll_us: it looks for work awake so long; NULL: as it does of itself
 * @nvme: arena, or NULL
 */
struct module_vbd {
	const char *argv0, *poll_us, *nvme;
};

static inline void module_vbd_serve(int out, void *arg)
{
	static const char *const where[] = { "%s/vbd", "%s/../vbd" };
	const struct module_vbd *v = arg;
	const char *args[16] = { "vbd", "--host", "64M", "--threads", "1" };
	char copy[2048], path[2060];
	unsigned int n = 5;

	if (v->poll_us) {
		args[n++] = "--poll";
		args[n++] = v->poll_us;
	}
	if (v->nvme) {
		args[n++] = "--nvme";
		args[n++] = v->nvme;
	}
	if (!geteuid()) {
		args[n++] = "--user";
		args[n++] = "65534:65534";
	}
	dup2(out, 1);
	for (int i = 0; i < 2; i++) {
		snprintf(copy, sizeof(copy), "%s", v->argv0);
		snprintf(path, sizeof(path), where[i], dirname(copy));
		execv(path, (char **)args);
	}
}

/* vbd with a tier of 64 MiB, one thread and no rights. */
static inline pid_t module_start_vbd(const char *bench, struct module_vbd v)
{
	return module_start(bench, module_vbd_serve, &v);
}

/* ---- a client ---- */

#define MODULE_WAIT_NS	20000000000u

struct module_client {
	struct vgpu *v;
	struct vgpu_queue *q;
	struct vgpu_cmdbuf *cb;
};

static inline void module_refuse(const char *bench, const char *what)
{
	const char *text = vgpu_error_text();

	module_die(bench, what, *text ? text : "failed");
}

static inline void module_client_open(const char *bench, struct module_client *c)
{
	if (vgpu_open(MODULE_NODE, &c->v) || vgpu_queue_create(c->v, 0, &c->q) ||
	    vgpu_cmdbuf_create(c->v, &c->cb))
		module_refuse(bench, "open");
}

static inline void module_client_close(struct module_client *c)
{
	vgpu_cmdbuf_destroy(c->cb);
	vgpu_queue_destroy(c->q);
	vgpu_close(c->v);
}

static inline void module_submit(const char *bench, struct vgpu_queue *q, struct vgpu_cmdbuf *cb,
				 struct vgpu_fence *fence)
{
	if (vgpu_submit(q, cb, NULL, fence))
		module_refuse(bench, "submit");
}

static inline void module_wait(const char *bench, struct vgpu_fence fence)
{
	if (vgpu_wait(fence, MODULE_WAIT_NS))
		module_refuse(bench, "wait");
}

/* ---- what it says ---- */

/**
 * module_emit() - a line of commands a second, and its limit
 * @least: of ours / theirs; less is said
 *
 * Return: 0; 1 it is beyond the limit.
 */
static inline int module_emit(struct bench_result r, double least)
{
	r.unit = "1/s";
	bench_emit(&r);
	if (bench_short() || r.ours >= least * r.theirs)
		return 0;
	fprintf(stderr, "%s %s: %.2f of %s; at least %.2f\n", r.bench, r.mode, r.ours / r.theirs,
		r.peer, least);
	return 1;
}

#endif

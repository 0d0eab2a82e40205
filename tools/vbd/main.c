// SPDX-License-Identifier: MIT
/*
 * vbd: the executor of /dev/vblackwell, a program of its own.
 *
 * It opens the executor node with the privileges that this takes, makes the arenas, gives
 * the privileges up and serves clients until SIGTERM or SIGINT comes; then it finishes
 * what it has taken and leaves.  It stays in the foreground: a service manager that
 * wants to be told (NOTIFY_SOCKET) is told.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/size.h"
#include "exec/exec.h"
#include "exec/io.h"
#include "kernels/cgroup.h"
#include "vbd/filter.h"
#include "vbd/log.h"
#include "vbd/notify.h"
#include "vbd/rights.h"
#include "vgpu.h"

#define POLL_US	200	/* to sleep and wake up is short of that */
#define LOOK_S	1	/* between two looks: does the executor still serve, and want memory */

static const char *const policies[] = { "replay", "schedule", "freq", "lru", NULL };
static const char *const engines[] = { "auto", "uring", "threads", "buffered", NULL };
static const char *const backends[] = { "cpu", "null", NULL };

/**
 * struct vbd - one run
 * @device, @node: of clients, of the executor
 * @nvme: FILE or FILE:SIZE, or NULL
 * @user: who to become
 * @policy, @engine, @backend: indices
 * @p: what the executor is told
 */
struct vbd {
	const char *device, *node, *nvme, *user;
	uint32_t policy, engine, backend;
	struct vgpu_exec_params p;
	struct vbd_user who;
	struct vbd_rights rights;
	struct vgpu_exec *exec;
	int notify;
	char *nvme_path;
};

/* ---- options ---- */

static int nvme_parse(struct vbd *d)
{
	char *colon;

	if (!d->nvme)
		return CLI_RUN;
	d->nvme_path = strdup(d->nvme);
	if (!d->nvme_path) {
		vbd_error("options", -ENOMEM, "no memory");
		return CLI_FAILED;
	}
	d->p.nvme_path = d->nvme_path;
	d->p.nvme_bytes = 2 * d->p.host_bytes;
	colon = strrchr(d->nvme_path, ':');
	if (!colon)
		return CLI_RUN;
	*colon = 0;
	if (!size_parse(colon + 1, &d->p.nvme_bytes) || !d->p.nvme_bytes)
		return cli_usage("--nvme %s: %s is no size (bytes, or with K, M, G, T)", d->nvme,
				 colon + 1);
	return CLI_RUN;
}

static int user_parse(struct vbd *d)
{
	int rc;

	if (geteuid() && !d->user)
		return CLI_RUN;
	if (!d->user)
		return cli_usage("started as root: --user says who to become");
	if (geteuid())
		return cli_usage("--user %s: only root can become another", d->user);
	rc = vbd_user_find(d->user, &d->who);
	if (rc)
		return cli_usage("--user %s: %s", d->user,
				 rc == -ENOENT ? "no such user" : "that would be root again");
	return CLI_RUN;
}

static int options_take(struct vbd *d, int argc, char **argv)
{
	const struct cli_option options[] = {
		{ "host", CLI_SIZE, &d->p.host_bytes, "SIZE", "host tier (default: a quarter of the "
		  "memory that the machine or the cgroup has)", NULL, 1 << 20, (uint64_t)1 << 46 },
		{ "staging", CLI_SIZE, &d->p.staging_bytes, "SIZE", "part of it kept for transfers "
		  "(default 5 %)", NULL, 1, (uint64_t)1 << 46 },
		{ "nvme", CLI_TEXT, &d->nvme, "FILE[:SIZE]", "arena on a file or block device "
		  "(default size: twice the host tier)", NULL, 0, 0 },
		{ "threads", CLI_NUMBER, &d->p.threads, "N", "threads that compute (default: all "
		  "CPUs)", NULL, 1, 1024 },
		{ "policy", CLI_CHOICE, &d->policy, "P", "replay (default), schedule, freq or lru",
		  policies, 0, 0 },
		{ "engine", CLI_CHOICE, &d->engine, "E", "uring, threads, buffered; auto (default): "
		  "uring unless it is refused", engines, 0, 0 },
		{ "backend", CLI_CHOICE, &d->backend, "B", "cpu (default), or null: no arithmetic",
		  backends, 0, 0 },
		{ "poll", CLI_NUMBER, &d->p.spin_us, "US", "look for work so long, awake, before "
		  "sleeping, while it comes as soon as that (default 200)", NULL, 0, 1000000 },
		{ "user", CLI_TEXT, &d->user, "USER", "name, uid or uid:gid to become; root needs it",
		  NULL, 0, 0 },
		{ "trace", CLI_TEXT, &d->p.trace_path, "FILE", "record what the tier does, for vbctl "
		  "replay", NULL, 0, 0 },
		{ "device", CLI_TEXT, &d->device, "PATH", "client node (/dev/vblackwell)", NULL, 0, 0 },
		{ "exec", CLI_TEXT, &d->node, "PATH", "executor node (/dev/vblackwell-exec)", NULL, 0,
		  0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbd", "", "Serve the clients of /dev/vblackwell: move their bytes, run their commands.",
		options, 0, 0,
		"SIGTERM and SIGINT: finish what was taken, then leave with status 0. --version says which\n"
		"this is.\n"
	};
	unsigned int count;
	int rc = cli_parse(&command, argc, argv, &count);

	if (rc == CLI_RUN)
		rc = nvme_parse(d);
	return rc == CLI_RUN ? user_parse(d) : rc;
}

/* ---- getting ready ---- */

/* The chunk is the module's to say. */
static int device_ask(struct vbd *d)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	struct vgpu_uapi *u;
	int rc = vgpu_uapi_open_node(d->device, &u);

	if (!rc) {
		rc = vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q);
		u->ops->close(u);
	}
	if (rc)
		return vbd_error("device", rc, "%s: %s", d->device, rc == -ENODEV ?
				 "no device; is the module vblackwell loaded?" : strerror(-rc));
	d->p.chunk_bytes = q.out_chunk_bytes;
	return 0;
}

/*
 * Decided once: later no ring can be made, and files that were opened for direct reads
 * leave nothing to choose between.
 */
static const char *engine_choose(const struct vbd *d)
{
	struct vgpu_io_params uring = { .engine = "uring" };
	struct vgpu_io *io;

	if (d->engine)
		return engines[d->engine];
	if (vgpu_io_open(&uring, &io))
		return "threads";
	vgpu_io_close(io);
	return "uring";
}

static int exec_prepare(struct vbd *d)
{
	struct vgpu_uapi *node;
	char text[512] = "";
	int rc;

	rc = vgpu_uapi_open_exec_node(d->node, &node);
	if (rc)
		return vbd_error("open", rc, "%s: %s", d->node, rc == -EBUSY ?
				 "another executor has it" : strerror(-rc));
	d->p.policy = policies[d->policy];
	d->p.io_engine = engine_choose(d);
	d->p.backend = backends[d->backend];
	rc = vgpu_exec_prepare(node, &d->p, text, sizeof(text), &d->exec);
	return rc ? vbd_error("prepare", rc, "%s", *text ? text : strerror(-rc)) : 0;
}

/* Nothing that only root may do comes behind this. */
static int rights_give_up(struct vbd *d)
{
	int rc = d->user ? vbd_rights_drop(&d->who) : 0;

	if (rc)
		return vbd_error("drop", rc, "cannot become %s: %s", d->user, strerror(-rc));
	rc = vbd_filter_install();
	return rc ? vbd_error("filter", rc, "seccomp: %s", strerror(-rc)) : 0;
}

static int prepare(struct vbd *d)
{
	int rc = device_ask(d);

	if (rc)
		return rc;
	vbd_rights_take(&d->rights);
	d->notify = vbd_notify_connect();
	if (d->notify < -1)
		return vbd_error("notify", d->notify, "NOTIFY_SOCKET: %s", strerror(-d->notify));
	rc = exec_prepare(d);
	if (rc)
		return rc;
	vbd_rights_lock(&d->rights);
	return rights_give_up(d);
}

/* ---- the plan ---- */

static const char *said(struct vbd *d, const char *key, char *text, size_t len)
{
	return vgpu_exec_describe(d->exec, key, text, len) > 0 ? text : "unknown";
}

static void plan_nvme_print(struct vbd *d)
{
	char bytes[64];

	if (!d->p.nvme_bytes)
		printf("nvme     none: intermediates must fit the host tier\n");
	else if (!strcmp(said(d, "nvme", bytes, sizeof(bytes)), "0 bytes"))
		printf("nvme     none: another process has the lock of %s; intermediates must fit the host "
		       "tier\n", d->p.nvme_path);
	else
		printf("nvme     %s on %s\n", size_text(d->p.nvme_bytes).s, d->p.nvme_path);
}

static void plan_print(struct vbd *d)
{
	const struct vbd_rights *r = &d->rights;
	char a[256], b[64];

	printf("device   %s, chunks of %s\n", d->node, size_text(d->p.chunk_bytes).s);
	printf("host     %s in slots of a chunk, ", size_text(d->p.host_bytes).s);
	printf("%s\n", said(d, "host.nodes", a, sizeof(a)));
	plan_nvme_print(d);
	if (vgpu_exec_describe(d->exec, "recovery", a, sizeof(a)) > 0)
		printf("recovery %s\n", a);
	printf("compute  backend %s, ", said(d, "backend", a, sizeof(a)));
	printf("%s, %s\n", said(d, "isa", a, sizeof(a)), said(d, "threads", b, sizeof(b)));
	printf("policy   %s\n", said(d, "policy", a, sizeof(a)));
	printf("io       %s: ", said(d, "io.engine", a, sizeof(a)));
	printf("%s\n", said(d, "io.reason", a, sizeof(a)));
	printf("memory   %s, limit %s, I/O flusher %s, %s the OOM killer\n",
	       r->locked ? "locked" : "not locked", r->memlock ? "none" : "as it was",
	       r->io_flusher ? "yes" : "no", r->no_oom ? "exempt from" : "within reach of");
	printf("priority nice %d\n", r->nice);
	printf("rights   uid %u, gid %u, system calls filtered\n", geteuid(), getegid());
	fflush(stdout);
}

/* ---- serving ---- */

static void signals_block(sigset_t *stop)
{
	sigemptyset(stop);
	sigaddset(stop, SIGTERM);
	sigaddset(stop, SIGINT);
	/* Before there are threads: they inherit it, and the signals stay ours. */
	sigprocmask(SIG_BLOCK, stop, NULL);
}

/* Return: the signal that says stop, or what ended the executor. */
static int serve(struct vbd *d, const sigset_t *stop)
{
	const struct timespec look = { .tv_sec = LOOK_S };
	int sig, rc;

	for (;;) {
		sig = sigtimedwait(stop, NULL, &look);
		if (sig > 0)
			return sig;
		rc = vgpu_exec_ended(d->exec);
		if (rc)
			return rc;
		vgpu_exec_tend_memory(d->exec);
	}
}

static int run(struct vbd *d, const sigset_t *stop)
{
	int rc = vgpu_exec_start(d->exec);

	if (rc)
		return vbd_error("start", rc, "threads: %s", strerror(-rc));
	printf("ready\n");
	fflush(stdout);
	vbd_notify(d->notify, "READY=1");
	rc = serve(d, stop);
	vbd_notify(d->notify, "STOPPING=1");
	if (rc < 0)
		return vbd_error("fetch", rc, "the device hands out no work any more: %s",
				 strerror(-rc));
	printf("%s: finishing what was taken\n", rc == SIGTERM ? "SIGTERM" : "SIGINT");
	fflush(stdout);
	vgpu_exec_drain(d->exec);
	return 0;
}

int main(int argc, char **argv)
{
	struct vbd d = {
		.device = "/dev/vblackwell", .node = "/dev/vblackwell-exec", .notify = -1,
		.p = { .host_bytes = vgpu_memory_usable_bytes() / 4, .spin_us = POLL_US },
	};
	sigset_t stop;
	int rc;

	cli_begin();
	if (argc == 2 && !strcmp(argv[1], "--version"))
		return cli_version("vbd");
	rc = options_take(&d, argc, argv);
	if (rc != CLI_RUN) {
		free(d.nvme_path);
		return rc;
	}
	signals_block(&stop);
	rc = prepare(&d);
	if (!rc) {
		plan_print(&d);
		rc = run(&d, &stop);
	}
	vgpu_exec_close(d.exec);
	if (d.notify >= 0)
		close(d.notify);
	free(d.nvme_path);
	if (!rc)
		printf("left\n");
	return rc ? CLI_FAILED : CLI_OK;
}

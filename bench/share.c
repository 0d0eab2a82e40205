// SPDX-License-Identifier: MIT
/*
 * What does a client of the module get beside others?
 *
 *	share [greedy|sixteen]
 *
 * "greedy": commands a second of a polite client beside a greedy one (64 queues, as many
 * submissions as it may have, objects that come and go, ranges that it maps, faults in a file of
 * four times the host tier, and all that at once).  The peer is the same beside a twin of its own.
 *
 * "sixteen": of sixteen equal clients that work at the same time the one that gets least.
 * The peer is the mean of all.
 *
 * Beyond its limits it says so and ends with 1: 0.8 of what is left beside a twin; half of
 * the mean.
 *
 * Needs the module: tests/vm/bench.sh runs it in a machine of its own.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/vblackwell.h>

#include "device.h"
#include "module.h"
#include "vgpu.h"

#define DISK		"/dev/vb2"
#define MAX_RUNS	99u
#define DEPTH		4u		/* submissions a polite client has under way */
#define WORK_FLOATS	(256u << 10)	/* of one of its commands */
#define QUEUES		64u
#define GREEDY_DEPTH	16u		/* a queue */
#define EQUALS		16u

static unsigned int seconds = 2;
static const char *program;

static void die(const char *what)
{
	module_refuse("share", what);
}

static pid_t start_vbd(void)
{
	return module_start_vbd("share", (struct module_vbd){ program, NULL, NULL });
}

/* ---- a client of good manners ---- */

static void client_open(struct module_client *c)
{
	struct vgpu_array y;
	struct vgpu_bo *bo;

	module_client_open("share", c);
	if (vgpu_bo_create(c->v, WORK_FLOATS * 4, VGPU_LIFE_VOLATILE, &bo))
		die("create");
	y = vgpu_vector(bo, 0, VGPU_FORMAT_F32, WORK_FLOATS);
	if (vgpu_cmd_fill(c->cb, 1, y))
		die("record");
}

/* Commands a second, with as many under way as a client of good manners has. */
static double polite(struct module_client *c)
{
	struct vgpu_fence fence[DEPTH];
	double start = bench_seconds();
	unsigned int done = 0;

	for (unsigned int i = 0; i < DEPTH; i++)
		module_submit("share", c->q, c->cb, &fence[i]);
	do {
		module_wait("share", fence[done % DEPTH]);
		module_submit("share", c->q, c->cb, &fence[done % DEPTH]);
		done++;
	} while (bench_seconds() - start < seconds);
	start = bench_seconds() - start;
	for (unsigned int i = 0; i < DEPTH; i++)
		module_wait("share", fence[(done + i) % DEPTH]);
	return done / start;
}

/* ---- greed ---- */

/* What a client of another process does, on as many threads. */
struct life {
	void (*const *forever)(struct module_client *c);
	unsigned int count, next;
	struct module_client c;
};

static void *live(void *arg)
{
	struct life *l = arg;
	unsigned int mine = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

	for (;;)
		l->forever[mine](&l->c);
	return NULL;
}

static pid_t in_child(void (*const *forever)(struct module_client *c), unsigned int count)
{
	struct life l = { .forever = forever, .count = count };
	pthread_t thread;
	pid_t pid = fork();

	if (pid)
		return pid;
	client_open(&l.c);
	for (unsigned int i = 1; i < count; i++)
		if (pthread_create(&thread, NULL, live, &l))
			die("thread");
	live(&l);
	_exit(0);
}

static void twin(struct module_client *c)
{
	polite(c);
}

/* Sixty-four queues that are full all the time. */
static void greedy_submit(struct module_client *c)
{
	static struct vgpu_queue *q[QUEUES];
	static struct vgpu_fence fence[QUEUES][GREEDY_DEPTH];

	for (unsigned int i = 0; i < QUEUES; i++) {
		if (vgpu_queue_create(c->v, 1000, &q[i]))
			die("queue");
		for (unsigned int k = 0; k < GREEDY_DEPTH; k++)
			module_submit("share", q[i], c->cb, &fence[i][k]);
	}
	for (unsigned int n = 0;; n++) {
		struct vgpu_fence *oldest = &fence[n % QUEUES][n / QUEUES % GREEDY_DEPTH];

		module_wait("share", *oldest);
		module_submit("share", q[n % QUEUES], c->cb, oldest);
	}
}

static void greedy_allocate(struct module_client *c)
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
static void greedy_map(struct module_client *c)
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

/* One byte of each page of a disk, which has no room in the tier; of the same client. */
static void greedy_fault(struct module_client *c)
{
	int node = c->v->uapi->ops->fd(c->v->uapi);
	struct vb_ioc_bo_create create = {
		.size = sizeof(create), .kind = VB_BO_FILE,
		.fd = open(DISK, O_RDONLY | O_DIRECT | O_CLOEXEC),
	};
	const volatile char *p;

	create.bytes = (uint64_t)lseek(create.fd, 0, SEEK_END);
	if (create.fd < 0 || ioctl(node, VB_IOC_BO_CREATE, &create))
		die(DISK);
	p = mmap(NULL, create.bytes, PROT_READ, MAP_SHARED, node, (off_t)create.out_bo_id << 46);
	if (p == MAP_FAILED)
		die("mmap");
	for (uint64_t at = 0;; at = (at + 4096) % create.bytes)
		(void)p[at];
}

static const struct { const char *name; void (*forever)(struct module_client *c); } greed[] = {
	{ "submissions", greedy_submit }, { "allocations", greedy_allocate },
	{ "mappings", greedy_map }, { "faults", greedy_fault },
};

#define GREED	(sizeof(greed) / sizeof(greed[0]))

static double beside(struct module_client *c,
		     void (*const *forever)(struct module_client *c), unsigned int count)
{
	pid_t pid = in_child(forever, count);
	double rate;

	usleep(300000);
	rate = polite(c);
	module_end(pid);
	return rate;
}

static int beside_greed(const char *mode, void (*const *forever)(struct module_client *c),
			unsigned int count, unsigned int runs)
{
	static void (*const good[])(struct module_client *c) = { twin };
	double ours[MAX_RUNS], theirs[MAX_RUNS];
	pid_t vbd = start_vbd();
	struct module_client c;

	client_open(&c);
	polite(&c);
	for (unsigned int i = 0; i < runs; i++) {
		theirs[i] = beside(&c, good, 1);
		ours[i] = beside(&c, forever, count);
	}
	module_client_close(&c);
	module_end(vbd);
	return module_emit((struct bench_result){
		.bench = "share", .mode = mode, .threads = 2, .ours = bench_median(ours, runs),
		.peer = "beside a twin", .theirs = bench_median(theirs, runs), .runs = runs,
	}, 0.8);
}

static int greedy(unsigned int runs)
{
	void (*all[GREED])(struct module_client *c);
	int status = 0;

	for (unsigned int i = 0; i < GREED; i++) {
		all[i] = greed[i].forever;
		status |= beside_greed(greed[i].name, &all[i], 1, runs);
	}
	return status | beside_greed("all at once", all, GREED, runs);
}

/* ---- sixteen that are equal ---- */

struct equal {
	pid_t pid;
	int go, said;		/* pipes: a byte for each run, and its rate */
};

/* Until nobody wants another run. */
static void be_equal(int go, int say)
{
	struct vgpu_fence first;
	struct module_client c;
	double rate = 0;
	char byte;

	client_open(&c);
	module_submit("share", c.q, c.cb, &first);
	module_wait("share", first);
	while (write(say, &rate, sizeof(rate)) == sizeof(rate) && read(go, &byte, 1) == 1)
		rate = polite(&c);
	_exit(0);
}

static void equal_start(struct equal *e)
{
	int go[2], said[2];

	if (pipe(go) || pipe(said))
		die("pipe");
	e->pid = fork();
	if (!e->pid)
		be_equal(go[0], said[1]);
	close(go[0]);
	close(said[1]);
	e->go = go[1];
	e->said = said[0];
}

static double equal_say(const struct equal *e)
{
	double rate;

	if (read(e->said, &rate, sizeof(rate)) != sizeof(rate))
		die("a client of sixteen");
	return rate;
}

/* All at once; the least, and the mean. */
static void run_equals(const struct equal *e, double *least, double *mean)
{
	double sum = 0;

	for (unsigned int i = 0; i < EQUALS; i++)
		if (write(e[i].go, "", 1) != 1)
			die("a client of sixteen");
	for (unsigned int i = 0; i < EQUALS; i++) {
		double rate = equal_say(&e[i]);

		*least = i && *least < rate ? *least : rate;
		sum += rate;
	}
	*mean = sum / EQUALS;
}

static int sixteen(unsigned int runs)
{
	double least[MAX_RUNS], mean[MAX_RUNS];
	struct equal e[EQUALS];
	pid_t vbd = start_vbd();

	for (unsigned int i = 0; i < EQUALS; i++)
		equal_start(&e[i]);
	for (unsigned int i = 0; i < EQUALS; i++)
		equal_say(&e[i]);
	for (unsigned int i = 0; i < runs; i++)
		run_equals(e, &least[i], &mean[i]);
	for (unsigned int i = 0; i < EQUALS; i++)
		module_end(e[i].pid);
	module_end(vbd);
	return module_emit((struct bench_result){
		.bench = "share", .mode = "sixteen", .threads = EQUALS,
		.ours = bench_median(least, runs), .peer = "the mean of sixteen",
		.theirs = bench_median(mean, runs), .runs = runs,
	}, 0.5);
}

int main(int argc, char **argv)
{
	unsigned int runs = bench_runs(5, MAX_RUNS);
	const char *what = argc > 1 ? argv[1] : NULL;
	int status = 0;

	if (!module_is_there("share"))
		return 0;
	program = argv[0];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (bench_short())
		seconds = 1;
	if (!what || !strcmp(what, "sixteen"))
		status |= sixteen(runs);
	if (!what || !strcmp(what, "greedy"))
		status |= greedy(runs);
	return status;
}

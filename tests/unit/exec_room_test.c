// SPDX-License-Identifier: MIT
/*
 * Room in the host tier that others hold: what fits alone runs, whatever they do, and
 * what clients never let go of is a precise error after a while.
 *
 * VGPU_TEST_SEED repeats a run, VGPU_TEST_STEPS makes it longer.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "exec/executor.h"
#include "exec/slot.h"

#define LEAST		7u			/* slots of the smallest tier */
#define FILE_CHUNKS	12u
#define FLOATS		(XCHUNK / 4)		/* in a chunk */

/* One of its own for each device: a test that fails leaves its device open. */
static void arena(struct vgpu_exec_params *p, char *path, size_t len)
{
	static uint32_t count;

	snprintf(path, len, "/var/tmp/vgpu-arena-%d-%u", getpid(), count++);
	p->nvme_path = path;
	p->nvme_bytes = 256ull * XCHUNK;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/* y[0 .. n) = x[0 .. n), F32 from byte offsets on */
static void add_copy(struct xstream *s, uint32_t x, uint64_t x_at, uint32_t y, uint64_t y_at,
		     uint32_t n)
{
	struct vb_cmd_copy c = { .h = { VB_CMD_COPY, 0, sizeof(c) } };

	c.x = xvector(s, x, VB_ACCESS_READ, x_at, VB_FORMAT_F32, n);
	c.y = xvector(s, y, VB_ACCESS_WRITE, y_at, VB_FORMAT_F32, n);
	xstream_add(s, &c, sizeof(c));
}

static void add_fill(struct xstream *s, uint32_t y, uint64_t at, uint32_t n, float value)
{
	struct vb_cmd_fill c = { .h = { VB_CMD_FILL, 0, sizeof(c) } };

	memcpy(&c.value, &value, 4);
	c.y = xvector(s, y, VB_ACCESS_WRITE, at, VB_FORMAT_F32, n);
	xstream_add(s, &c, sizeof(c));
}

/* ------------------------------------------------------------------------
 * Many threads
 */

#define THREADS	6u

/**
 * struct user - a thread with a client and a queue of its own
 * @data: what the file holds
 */
struct user {
	struct xrig r;
	pthread_t thread;
	uint64_t random;
	const float *data;
	uint32_t file, a, b, scratch, steps;
	float buffer[2 * FLOATS];
	char why[256];
};

static uint32_t pick(struct user *u, uint32_t n)
{
	return (uint32_t)(xrandom(&u->random) >> 20) % n;
}

static int user_expect(struct user *u, const float *got, float want, const char *what)
{
	if (got[0] == want)
		return 0;
	snprintf(u->why, sizeof(u->why), "%s is %g, want %g", what, (double)got[0], (double)want);
	return -EBADMSG;
}

/* Five of seven slots at once: a chunk of the file, two of a, two of b. */
static int user_submit(struct user *u, float *want)
{
	struct xstream *s = xalloc(sizeof(*s));
	int rc;

	xstream_begin(s);
	s->flags = pick(u, 2) ? VB_SUBMIT_ASYNC : 0;
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t chunk = pick(u, FILE_CHUNKS);

		add_copy(s, u->file, (uint64_t)chunk * XCHUNK, u->a, 0, 64);
		add_copy(s, u->a, 0, u->b, 0, 2 * FLOATS);
		*want = u->data[chunk * FLOATS];
	}
	rc = xrun(&u->r, s);
	free(s);
	return rc;
}

static int user_read(struct user *u, float want)
{
	int rc = xrig_read(&u->r, u->b, 0, u->buffer, sizeof(u->buffer));

	return rc ? rc : user_expect(u, u->buffer, want, "read");
}

static int user_map(struct user *u, float want)
{
	void *at;
	int rc = xrig_map(&u->r, u->b, 0, XCHUNK, VB_MAP_READ, &at);

	/* So much and no more may be mapped at a time, by all together. */
	if (rc)
		return rc == -ENOSPC ? 0 : rc;
	/* Long enough for others to meet it. */
	usleep(1000);
	memcpy(u->buffer, at, XCHUNK);
	rc = user_expect(u, u->buffer, want, "map");
	return xrig_unmap(&u->r, u->b, 0, XCHUNK, VB_MAP_READ) || rc ? rc : 0;
}

static void *user_run(void *arg)
{
	struct user *u = arg;

	for (uint32_t i = 0; i < u->steps && !u->why[0]; i++) {
		float want;
		int rc = user_submit(u, &want);

		if (!rc)
			rc = user_read(u, want);
		if (!rc)
			rc = user_map(u, want);
		if (!rc)
			rc = xrig_write(&u->r, u->a, 0, u->buffer, sizeof(u->buffer));
		if (rc && !u->why[0])
			snprintf(u->why, sizeof(u->why), "step %u: %d: %.200s", i, rc,
				 xrig_error(&u->r));
	}
	return NULL;
}

/* Each user adds two chunks of scratch to what it holds, in the middle of its submission. */
static void *user_run_scratch(void *arg)
{
	struct user *u = arg;
	struct xstream *s = xalloc(sizeof(*s));

	for (uint32_t i = 0; i < u->steps && !u->why[0]; i++) {
		float value = (float)(i + 1);
		int rc;

		xstream_begin(s);
		s->flags = VB_SUBMIT_ASYNC;
		add_fill(s, u->scratch, 0, 3 * FLOATS, value);
		for (uint32_t j = 0; j < 4; j++)
			add_copy(s, u->file, (uint64_t)pick(u, FILE_CHUNKS) * XCHUNK, u->a, 0, 64);
		add_copy(s, u->scratch, 2 * XCHUNK, u->b, 0, FLOATS);
		rc = xrun(&u->r, s);
		if (!rc)
			rc = user_read(u, value);
		if (rc && !u->why[0])
			snprintf(u->why, sizeof(u->why), "step %u: %d: %.200s", i, rc,
				 xrig_error(&u->r));
	}
	free(s);
	return NULL;
}

static void user_open(struct user *u, const struct xrig *r, int fd, const float *data,
		      uint64_t seed, uint32_t steps)
{
	*u = (struct user){ .r = *r, .data = data, .random = seed, .steps = steps };
	u->r.client = xrig_client(&u->r);
	u->r.queue = xrig_queue(u->r.client, 0);
	u->file = xrig_file(&u->r, fd, 0, FILE_CHUNKS * XCHUNK);
	u->a = xrig_anonymous(&u->r, 2 * XCHUNK);
	u->b = xrig_anonymous(&u->r, 2 * XCHUNK);
	u->scratch = xrig_life(&u->r, 3 * XCHUNK, VB_LIFE_SCRATCH);
}

static void users(const char *policy, uint32_t steps, void *(*run)(void *user))
{
	uint64_t seed = from_environment("VGPU_TEST_SEED", xrig_now() | 1);
	struct vgpu_exec_params p = xrig_params(LEAST);
	float *data = xvalues(FILE_CHUNKS * FLOATS, 3);
	int fd = xfile(data, FILE_CHUNKS * XCHUNK, 0);
	struct user *u = xalloc(THREADS * sizeof(*u));
	char path[64];
	struct xrig r;

	print_message("seed %llu, %s\n", (unsigned long long)seed, policy);
	steps = (uint32_t)from_environment("VGPU_TEST_STEPS", steps);
	arena(&p, path, sizeof(path));
	p.policy = policy;
	xrig_start(&r, &p);
	for (uint32_t i = 0; i < THREADS; i++)
		user_open(&u[i], &r, fd, data, seed * (2 * i + 1), steps);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&u[i].thread, NULL, run, &u[i]), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(u[i].thread, NULL);
	for (uint32_t i = 0; i < THREADS; i++) {
		if (u[i].why[0])
			fail_msg("user %u: %s", i, u[i].why);
		u[i].r.client->ops->close(u[i].r.client);
	}
	xrig_close(&r);
	free(u);
	close(fd);
	free(data);
}

static void room_for_six_threads_on_the_least_tier(void **state)
{
	(void)state;
	users("schedule", 60, user_run);
	users("lru", 40, user_run);
}

static void room_for_six_threads_with_scratch(void **state)
{
	(void)state;
	users("schedule", 40, user_run_scratch);
}

/* ------------------------------------------------------------------------
 * Between the operands of one command
 */

/* The first operand lies in the middle of the tier, and the second needs three slots in a row. */
static void room_is_made_by_moving_what_the_command_holds_itself(void **state)
{
	struct vgpu_exec_params p = xrig_params(LEAST);
	uint32_t edge, a, b;
	char path[64];
	struct xstream s;
	struct xrig r;
	float got;

	(void)state;
	arena(&p, path, sizeof(path));
	xrig_start(&r, &p);
	edge = xrig_anonymous(&r, 2 * XCHUNK);
	/* Scratch does not leave between two commands. */
	a = xrig_life(&r, 3 * XCHUNK, VB_LIFE_SCRATCH);
	b = xrig_anonymous(&r, 3 * XCHUNK);
	xstream_begin(&s);
	add_fill(&s, edge, 0, 2 * FLOATS, 1);
	add_fill(&s, a, 0, 3 * FLOATS, 2);
	add_copy(&s, a, 0, b, 0, 3 * FLOATS);
	xrig_must_run(&r, &s);
	assert_int_equal(xrig_read(&r, b, 3 * XCHUNK - 4, &got, 4), 0);
	assert_float_equal(got, 2, 0);
	xrig_close(&r);
}

/* Two operands at the two ends of an object that no tier could hold. */
static void room_is_not_needed_between_two_operands(void **state)
{
	struct vgpu_exec_params p = xrig_params(LEAST);
	const uint64_t far = 200ull * XCHUNK;
	float *x = xvalues(2 * FLOATS, 5), *y = xalloc(2 * XCHUNK);
	char path[64];
	struct xstream s;
	struct xrig r;
	uint32_t bo;

	(void)state;
	arena(&p, path, sizeof(path));
	xrig_start(&r, &p);
	bo = xrig_anonymous(&r, 203ull * XCHUNK);
	assert_int_equal(xrig_write(&r, bo, 100, x, 2 * XCHUNK - 400), 0);
	xstream_begin(&s);
	add_copy(&s, bo, 100, bo, far + 300, 2 * FLOATS - 100);
	/* In one chunk both lie in one run, from either side. */
	add_copy(&s, bo, far + 300, bo, far + 2 * XCHUNK - 8, 2);
	xrig_must_run(&r, &s);
	assert_int_equal(xrig_read(&r, bo, far + 300, y, 2 * XCHUNK - 400), 0);
	assert_memory_equal(y, x, 2 * XCHUNK - 400 - 92 - 8);
	assert_int_equal(xrig_read(&r, bo, far + 2 * XCHUNK - 8, y, 8), 0);
	assert_memory_equal(y, x, 8);
	xrig_close(&r);
	free(x);
	free(y);
}

/* ------------------------------------------------------------------------
 * What clients keep
 */

/*
 * Readers that do not get on: each reads a chunk to where nobody may write, and its slot
 * is held until the memory is opened.
 */
#define MORE		4u		/* that wait */
#define READERS		(LEAST + MORE)

static struct {
	uint8_t *memory;	/* READERS chunks */
	atomic_uint stuck, built;
	atomic_bool open, open_one[READERS];
} wall;

/* A test that failed leaves its threads behind, and what they would write to is gone. */
static void stop_behind_another_wall(unsigned int built)
{
	while (wall.built != built)
		pause();
}

static void wall_hit(int signal, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr, chunk = (at - (uintptr_t)wall.memory) / XCHUNK;
	unsigned int built = wall.built;
	uint64_t random = at;	/* not at the moment at which the executor looks for room */

	(void)signal;
	(void)context;
	if (chunk >= READERS)
		_exit(99);
	wall.stuck++;
	while (!wall.open && !wall.open_one[chunk])
		usleep(500 + (useconds_t)(xrandom(&random) >> 40) % 1000);
	stop_behind_another_wall(built);
	mprotect((void *)(at & ~4095ul), XCHUNK, PROT_READ | PROT_WRITE);
}

struct reader {
	pthread_t thread;
	struct xrig *r;
	uint32_t file, chunk;
	bool ended;
	int rc;
};

static void *read_one(void *arg)
{
	struct reader *w = arg;

	w->rc = xrig_read(w->r, w->file, (uint64_t)w->chunk * XCHUNK, wall.memory + w->chunk * XCHUNK,
			  XCHUNK);
	return NULL;
}

/**
 * struct keeper - slots that somebody holds: with the first chunks of a file
 * @delay_us: when let_go() is run by a thread
 */
struct keeper {
	struct reader reader[READERS];
	uint32_t count, delay_us;
	struct xrig *r;
	uint32_t file;
};

static void keep(struct keeper *k, struct xrig *r, uint32_t file, uint32_t count)
{
	struct sigaction act = { .sa_sigaction = wall_hit, .sa_flags = SA_SIGINFO };

	*k = (struct keeper){ .r = r, .file = file, .count = count };
	assert_int_equal(sigaction(SIGSEGV, &act, NULL), 0);
	wall.memory = mmap(NULL, READERS * XCHUNK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(wall.memory, MAP_FAILED);
	wall.built++;
	wall.stuck = 0;
	wall.open = false;
	memset(wall.open_one, 0, sizeof(wall.open_one));
	for (uint32_t i = 0; i < count; i++) {
		struct reader *w = &k->reader[i];

		w->r = r;
		w->file = file;
		w->chunk = i;
		assert_int_equal(pthread_create(&w->thread, NULL, read_one, w), 0);
		while (wall.stuck <= i)
			usleep(1000);
	}
}

/* Once for each. */
static void reader_end(struct reader *w)
{
	if (!w->ended)
		pthread_join(w->thread, NULL);
	w->ended = true;
}

static void let_go(struct keeper *k)
{
	wall.open = true;
	for (uint32_t i = 0; i < k->count; i++) {
		reader_end(&k->reader[i]);
		assert_int_equal(k->reader[i].rc, 0);
	}
	munmap(wall.memory, READERS * XCHUNK);
	signal(SIGSEGV, SIG_DFL);
}

static void *open_wall(void *arg)
{
	struct keeper *k = arg;

	usleep(k->delay_us);
	wall.open = true;
	return NULL;
}

/* Mappings are counted, and at most as many as the policy may keep. */
static void map_some(struct xrig *r, uint32_t file, uint32_t count)
{
	void *at;

	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(xrig_map(r, file, (uint64_t)i * XCHUNK, XCHUNK, VB_MAP_READ, &at), 0);
}

static void unmap_some(struct xrig *r, uint32_t file, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(xrig_unmap(r, file, (uint64_t)i * XCHUNK, XCHUNK, VB_MAP_READ), 0);
}

struct kept {
	struct xrig r;
	uint32_t file, a, b;
	char path[64];
	int fd;
};

static void kept_open(struct kept *t, uint32_t slots, uint32_t wait_ms)
{
	struct vgpu_exec_params p = xrig_params(slots);
	float *data = xvalues(FILE_CHUNKS * FLOATS, 3);

	t->fd = xfile(data, FILE_CHUNKS * XCHUNK, 0);
	free(data);
	arena(&p, t->path, sizeof(t->path));
	p.room_wait_ms = wait_ms;
	xrig_start(&t->r, &p);
	t->file = xrig_file(&t->r, t->fd, 0, FILE_CHUNKS * XCHUNK);
	t->a = xrig_anonymous(&t->r, 2 * XCHUNK);
	t->b = xrig_anonymous(&t->r, 2 * XCHUNK);
}

static void kept_close(struct kept *t)
{
	xrig_close(&t->r);
	close(t->fd);
}

/* Uses that were counted so far. */
static uint64_t uses(struct kept *t)
{
	uint64_t count[VB_COUNT_COUNT];

	xrig_counters(&t->r, count);
	return count[VB_COUNT_ACCESSES];
}

/*
 * Others held the room for a while: what was tried again and again until it came through
 * is as many uses as when it comes through at once.
 */
static void run_and_let_go(struct kept *t, struct keeper *k, const struct xstream *s,
			   uint32_t after_us)
{
	uint64_t before = uses(t), waited;
	pthread_t thread;

	k->delay_us = after_us;
	assert_int_equal(pthread_create(&thread, NULL, open_wall, k), 0);
	xrig_must_run(&t->r, s);
	waited = uses(t) - before;
	pthread_join(thread, NULL);
	let_go(k);
	before = uses(t);
	xrig_must_run(&t->r, s);
	assert_int_equal(waited, uses(t) - before);
}

/* What the policy may keep is mapped for good; the rest of the tier is as good as ever. */
static void room_beside_what_a_client_keeps_is_used(void **state)
{
	struct xstream s;
	struct kept t;

	(void)state;
	kept_open(&t, LEAST, 0);
	map_some(&t.r, t.file, 1);
	xstream_begin(&s);
	for (uint32_t i = 0; i < FILE_CHUNKS; i++) {
		add_copy(&s, t.file, (uint64_t)i * XCHUNK, t.a, 0, 64);
		add_copy(&s, t.a, 0, t.b, 0, 2 * FLOATS);
	}
	for (uint32_t i = 0; i < 5; i++)
		xrig_must_run(&t.r, &s);
	unmap_some(&t.r, t.file, 1);
	kept_close(&t);
}

/* A client keeps one chunk of the operand itself: the others come to it. */
static void room_of_a_run_is_around_what_a_client_keeps_of_it(void **state)
{
	struct xstream s;
	struct kept t;
	float got;
	void *at;

	(void)state;
	kept_open(&t, LEAST, 0);
	xstream_begin(&s);
	add_fill(&s, t.b, 0, 2 * FLOATS, 1);
	xrig_must_run(&t.r, &s);
	assert_int_equal(xrig_map(&t.r, t.a, XCHUNK, XCHUNK, VB_MAP_READ, &at), 0);
	xstream_begin(&s);
	add_copy(&s, t.b, 0, t.a, 0, 2 * FLOATS);
	xrig_must_run(&t.r, &s);
	memcpy(&got, at, 4);
	assert_float_equal(got, 1, 0);
	assert_int_equal(xrig_unmap(&t.r, t.a, XCHUNK, XCHUNK, VB_MAP_READ), 0);
	kept_close(&t);
}

static void room_kept_for_a_while_is_waited_for(void **state)
{
	struct xstream s;
	struct keeper k;
	struct kept t;

	(void)state;
	kept_open(&t, LEAST, 0);
	keep(&k, &t.r, t.file, LEAST);
	xstream_begin(&s);
	add_copy(&s, t.file, 11 * XCHUNK, t.a, 0, 64);
	add_copy(&s, t.a, 0, t.b, 0, 2 * FLOATS);
	run_and_let_go(&t, &k, &s, 1500000);
	kept_close(&t);
}

/* So is the content that another thread reads. */
static void room_kept_for_a_while_delays_a_read(void **state)
{
	struct keeper k;
	pthread_t thread;
	struct kept t;
	uint64_t before;
	float got;

	(void)state;
	kept_open(&t, LEAST, 0);
	keep(&k, &t.r, t.file, LEAST);
	k.delay_us = 300000;
	before = uses(&t);
	assert_int_equal(pthread_create(&thread, NULL, open_wall, &k), 0);
	assert_int_equal(xrig_read(&t.r, t.file, 11 * XCHUNK, &got, 4), 0);
	assert_int_equal(uses(&t) - before, 1);
	assert_float_equal(got, xvalue(11 * FLOATS + 3 * 0x10001u), 0);
	pthread_join(thread, NULL);
	let_go(&k);
	kept_close(&t);
}

/* One lets go; under the executor's lock, so that nobody looks for room before it has. */
static void let_one_go_locked(struct keeper *k, uint32_t i)
{
	wall.open_one[i] = true;
	reader_end(&k->reader[i]);
}

/* Some are the policy's and the others in staging; which of them lets go is all the same. */
static void room_that_one_lets_go_is_found_at_first_sight(void **state)
{
	int before[LEAST], after[LEAST];
	struct vgpu_resid *resid;
	struct keeper k;
	struct kept t;

	(void)state;
	kept_open(&t, LEAST, 0);
	keep(&k, &t.r, t.file, LEAST);
	resid = &t.r.exec->resid;
	pthread_mutex_lock(&t.r.exec->run);
	for (uint32_t i = 0; i < LEAST; i++) {
		before[i] = vgpu_resid_make_room(resid, i + 1);
		let_one_go_locked(&k, i);
		after[i] = vgpu_resid_make_room(resid, i + 1);
	}
	pthread_mutex_unlock(&t.r.exec->run);
	for (uint32_t i = 0; i < LEAST; i++) {
		assert_int_equal(before[i], -ENOSPC);
		assert_int_equal(after[i], 0);
	}
	let_go(&k);
	kept_close(&t);
}

#define OTHER_CHUNK	11u
#define WAIT_STEPS	60000	/* of 1 ms */

struct other {
	struct xrig r;
	uint32_t file;
	int rc;
};

static void *read_other(void *arg)
{
	struct other *o = arg;
	float got;

	o->rc = xrig_read(&o->r, o->file, OTHER_CHUNK * XCHUNK, &got, 4);
	return NULL;
}

/* Reads of @chunk and those behind it that found no room and wait. */
static uint32_t waiting(struct kept *t, uint32_t chunk)
{
	struct vgpu_exec *x = t->r.exec;
	uint32_t n = 0;

	pthread_mutex_lock(&x->run);
	for (const struct vgpu_page_in *p = x->page_ins; p; p = p->next)
		n += p->room.since && p->req.out_chunk >= chunk;
	pthread_mutex_unlock(&x->run);
	return n;
}

static void await_waiting(struct kept *t, uint32_t least, uint32_t most)
{
	uint32_t n = waiting(t, 0);

	for (int i = 0; i < WAIT_STEPS && (n < least || n > most); i++) {
		usleep(1000);
		n = waiting(t, 0);
	}
	assert_in_range(n, least, most);
}

/* Threads of a client wait for room, to keep it then; another client's comes behind them. */
static void room_goes_to_each_client_in_turn(void **state)
{
	struct other o = { .rc = 1 };
	struct reader more[MORE];
	pthread_t thread;
	struct keeper k;
	struct kept t;

	(void)state;
	kept_open(&t, LEAST, 60000);
	o.r = t.r;
	o.r.client = xrig_client(&t.r);
	o.file = xrig_file(&o.r, t.fd, 0, FILE_CHUNKS * XCHUNK);
	keep(&k, &t.r, t.file, LEAST);
	for (uint32_t i = 0; i < MORE; i++) {
		more[i] = (struct reader){ .r = &t.r, .file = t.file, .chunk = LEAST + i };
		assert_int_equal(pthread_create(&more[i].thread, NULL, read_one, &more[i]), 0);
	}
	await_waiting(&t, MORE, MORE);
	assert_int_equal(pthread_create(&thread, NULL, read_other, &o), 0);
	await_waiting(&t, MORE + 1, MORE + 1);
	/* One of those that came first, which keeps it, and then the other. */
	for (uint32_t i = 0; i < 2; i++) {
		pthread_mutex_lock(&t.r.exec->run);
		let_one_go_locked(&k, i);
		pthread_mutex_unlock(&t.r.exec->run);
		await_waiting(&t, 0, MORE - i);
	}
	assert_int_equal(waiting(&t, OTHER_CHUNK), 0);
	pthread_join(thread, NULL);
	assert_int_equal(o.rc, 0);
	wall.open = true;
	for (uint32_t i = 0; i < MORE; i++) {
		pthread_join(more[i].thread, NULL);
		assert_int_equal(more[i].rc, 0);
	}
	let_go(&k);
	o.r.client->ops->close(o.r.client);
	kept_close(&t);
}

static void room_kept_for_ever_is_an_error_with_the_numbers(void **state)
{
	uint64_t start = xrig_now();
	struct xstream s;
	struct keeper k;
	struct kept t;
	float got;

	(void)state;
	kept_open(&t, LEAST, 700);
	keep(&k, &t.r, t.file, 5);
	xstream_begin(&s);
	add_copy(&s, t.a, 0, t.b, 0, 2 * FLOATS);
	assert_int_equal(xrun(&t.r, &s), -ENOSPC);
	assert_true(xrig_now() - start >= 700000000u);
	if (!strstr(xrig_error(&t.r), "command 0 (copy) waited 700 ms for room: it needs 262144 bytes at once, clients keep 327680 of the host tier's 458752"))
		fail_msg("%s", t.r.text);
	/* Two slots are left: what fits beside, goes on. */
	assert_int_equal(xrig_read(&t.r, t.file, 11 * XCHUNK, &got, 4), 0);
	xstream_begin(&s);
	add_copy(&s, t.a, 0, t.b, 0, 64);
	xrig_must_run(&t.r, &s);
	let_go(&k);
	xstream_begin(&s);
	add_copy(&s, t.a, 0, t.b, 0, 2 * FLOATS);
	xrig_must_run(&t.r, &s);
	kept_close(&t);
}

static void room_kept_for_ever_fails_a_read_as_busy(void **state)
{
	struct keeper k;
	struct kept t;
	float got;

	(void)state;
	kept_open(&t, LEAST, 200);
	keep(&k, &t.r, t.file, LEAST);
	assert_int_equal(xrig_read(&t.r, t.file, 11 * XCHUNK, &got, 4), -EBUSY);
	let_go(&k);
	assert_int_equal(xrig_read(&t.r, t.file, 11 * XCHUNK, &got, 4), 0);
	kept_close(&t);
}

/* What can never fit is refused at once, although clients hold slots. */
static void room_that_the_tier_does_not_have_is_not_waited_for(void **state)
{
	uint64_t start;
	struct xstream s;
	struct keeper k;
	struct kept t;
	uint32_t big;

	(void)state;
	kept_open(&t, LEAST, 60000);
	big = xrig_anonymous(&t.r, 4 * XCHUNK);
	keep(&k, &t.r, t.file, 2);
	xstream_begin(&s);
	add_copy(&s, big, 0, xrig_anonymous(&t.r, 4 * XCHUNK), 0, 4 * FLOATS);
	start = xrig_now();
	assert_int_equal(xrun(&t.r, &s), -ENOSPC);
	assert_true(xrig_now() - start < 30000000000u);
	if (!strstr(xrig_error(&t.r), "command 0 (copy) holds 524288 bytes at once; the host tier has 458752"))
		fail_msg("%s", t.r.text);
	let_go(&k);
	kept_close(&t);
}

static void room_is_not_waited_for_beyond_the_deadline(void **state)
{
	struct xstream s;
	struct keeper k;
	struct kept t;

	(void)state;
	kept_open(&t, LEAST, 60000);
	keep(&k, &t.r, t.file, 5);
	xstream_begin(&s);
	add_copy(&s, t.a, 0, t.b, 0, 2 * FLOATS);
	s.deadline_ns = xrig_now() + 50000000;
	assert_int_equal(xrun(&t.r, &s), -ETIME);
	let_go(&k);
	kept_close(&t);
}

/**
 * struct second - a client that holds one mapping and wants another one
 */
struct second {
	struct xrig r;
	uint32_t file;
	int rc;
};

static void *map_another(void *arg)
{
	struct second *w = arg;
	void *at;

	usleep(100000);
	w->rc = xrig_map(&w->r, w->file, 9 * XCHUNK, XCHUNK, VB_MAP_READ, &at);
	if (!w->rc)
		w->rc = xrig_unmap(&w->r, w->file, 9 * XCHUNK, XCHUNK, VB_MAP_READ);
	if (!w->rc)
		w->rc = xrig_unmap(&w->r, w->file, 8 * XCHUNK, XCHUNK, VB_MAP_READ);
	return NULL;
}

/*
 * A command needs the whole tier, and a client that holds one slot of it lets go when it
 * has got a second: neither waits for the other for ever.
 */
static void room_is_not_a_deadlock_with_a_client_that_wants_more(void **state)
{
	uint64_t start = xrig_now();
	uint32_t whole;
	struct second w;
	pthread_t thread;
	struct xstream s;
	struct kept t;
	void *at;

	(void)state;
	kept_open(&t, LEAST + 1, 60000);
	whole = xrig_anonymous(&t.r, (LEAST + 1) * XCHUNK);
	w = (struct second){ .r = t.r };
	w.r.client = xrig_client(&t.r);
	w.file = xrig_file(&w.r, t.fd, 0, FILE_CHUNKS * XCHUNK);
	assert_int_equal(xrig_map(&w.r, w.file, 8 * XCHUNK, XCHUNK, VB_MAP_READ, &at), 0);
	assert_int_equal(pthread_create(&thread, NULL, map_another, &w), 0);
	xstream_begin(&s);
	add_fill(&s, whole, 0, (LEAST + 1) * FLOATS, 3);
	xrig_must_run(&t.r, &s);
	pthread_join(thread, NULL);
	assert_int_equal(w.rc, 0);
	assert_true(xrig_now() - start < 30000000000u);
	w.r.client->ops->close(w.r.client);
	kept_close(&t);
}

/* Whoever waits does not keep the device from closing. */
static void room_is_not_waited_for_by_the_end_of_the_device(void **state)
{
	uint64_t seqno, start = xrig_now();
	struct xstream s;
	uint32_t big;
	struct kept t;

	(void)state;
	kept_open(&t, LEAST + 5, 60000);
	big = xrig_anonymous(&t.r, LEAST * XCHUNK);
	map_some(&t.r, t.file, 6);
	xstream_begin(&s);
	s.flags = VB_SUBMIT_ASYNC;
	add_fill(&s, big, 0, LEAST * FLOATS, 1);
	assert_int_equal(xsubmit(t.r.client, t.r.queue, &s, &seqno), 0);
	usleep(50000);
	xrig_free(&t.r);
	assert_true(xrig_now() - start < 30000000000u);
	close(t.fd);
}

/* ------------------------------------------------------------------------
 * In the middle of a command
 */

#define K	128u		/* F32 weights of 128 rows a chunk */
#define ROWS	(FILE_CHUNKS * FLOATS / K)

/* Panels of a product, and rows of a gather, wait as a command does. */
static void room_for_the_next_panel_is_waited_for(void **state)
{
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) } };
	float *data = xvalues(FILE_CHUNKS * FLOATS, 3), *x = xvalues(K, 8), y[ROWS];
	struct xstream s;
	struct keeper k;
	struct kept t;

	(void)state;
	kept_open(&t, LEAST, 0);
	assert_int_equal(xrig_write(&t.r, t.a, 0, x, K * 4), 0);
	/* The operands fit beside what is mapped, a panel does not. */
	keep(&k, &t.r, t.file, 5);
	xstream_begin(&s);
	c.x = xmatrix(&s, t.a, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, K);
	c.w = xmatrix(&s, t.file, VB_ACCESS_READ, 0, VB_FORMAT_F32, ROWS, K);
	c.y = xmatrix(&s, t.b, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1, ROWS);
	xstream_add(&s, &c, sizeof(c));
	run_and_let_go(&t, &k, &s, 1000000);
	assert_int_equal(xrig_read(&t.r, t.b, 0, y, sizeof(y)), 0);
	for (uint32_t i = 0; i < ROWS; i++) {
		double size, want = xdot(x, data + i * K, K, &size);

		assert_true(want - y[i] <= size / (1 << 18) && y[i] - want <= size / (1 << 18));
	}
	kept_close(&t);
	free(data);
	free(x);
}

static void room_for_the_next_row_is_waited_for(void **state)
{
	struct vb_cmd_gather c = { .h = { VB_CMD_GATHER, 0, sizeof(c) } };
	float *data = xvalues(FILE_CHUNKS * FLOATS, 3), y[4 * K];
	static const int32_t ids[4] = { ROWS - 1, 700, 900, ROWS - 1 };
	struct xstream s;
	struct keeper k;
	struct kept t;

	(void)state;
	kept_open(&t, LEAST, 0);
	assert_int_equal(xrig_write(&t.r, t.a, 0, ids, sizeof(ids)), 0);
	keep(&k, &t.r, t.file, 5);
	xstream_begin(&s);
	c.table = xmatrix(&s, t.file, VB_ACCESS_READ, 0, VB_FORMAT_F32, ROWS, K);
	c.ids = xvector(&s, t.a, VB_ACCESS_READ, 0, VB_FORMAT_I32, 4);
	c.y = xmatrix(&s, t.b, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 4, K);
	xstream_add(&s, &c, sizeof(c));
	run_and_let_go(&t, &k, &s, 300000);
	assert_int_equal(xrig_read(&t.r, t.b, 0, y, sizeof(y)), 0);
	for (uint32_t i = 0; i < 4; i++)
		assert_memory_equal(&y[i * K], data + (size_t)ids[i] * K, K * 4);
	kept_close(&t);
	free(data);
}

/* ------------------------------------------------------------------------
 * Weights in two parts
 */

#define SPLIT_K		512u
#define SPLIT_ROWS	500u		/* blocks fill almost two chunks */
#define EXPERTS		17u
#define SPLIT_AT	1000u		/* nothing begins with a chunk */
/* The scales of the first panel of expert 16 lie in two chunks, those of expert 0 before them. */
#define SCALES_AT	(532 * 4096 + 1000)
#define SPLIT_BYTES	(SCALES_AT + EXPERTS * SPLIT_ROWS * SPLIT_K / 32)

static float split_value(const uint8_t *file, uint32_t row, uint32_t i)
{
	static const float e2m1[] = { 0, .5f, 1, 1.5f, 2, 3, 4, 6 };
	uint8_t code = file[SPLIT_AT + (row * SPLIT_K + i) / 2] >> i % 2 * 4 & 15;
	float scale = ldexpf(1, file[SCALES_AT + (row * SPLIT_K + i) / 32] - 127);

	return (code & 8 ? -scale : scale) * e2m1[code & 7];
}

static void split_expect(const uint8_t *file, const float *x, const float *y, uint32_t expert)
{
	for (uint32_t n = 0; n < SPLIT_ROWS; n++) {
		double want = 0, size = 0;

		for (uint32_t i = 0; i < SPLIT_K; i++) {
			double w = split_value(file, expert * SPLIT_ROWS + n, i);

			want += x[i] * w;
			size += fabs(x[i] * w);
		}
		assert_true(fabs(y[n] - want) <= size / (1 << 18));
	}
}

/*
 * Two panels in a row take three chunks of the blocks and two of the scales: with a
 * chunk of x and one of y, all of the smallest tier.  From one expert to another even
 * one panel has room only when the last one lets go of its chunks.
 */
static void room_of_the_least_tier_runs_weights_with_scales_apart(void **state)
{
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) } };
	struct vb_cmd_matmul_id id = { .h = { VB_CMD_MATMUL_ID, 0, sizeof(id) } };
	float *x = xvalues(SPLIT_K, 8), y[3 * SPLIT_ROWS];
	const int32_t ids[2] = { 16, 0 };
	uint8_t *data = xalloc(SPLIT_BYTES);
	uint32_t file, scales;
	uint64_t random = 77;
	struct xstream s;
	struct kept t;
	int fd;

	(void)state;
	for (uint32_t i = 0; i < SPLIT_BYTES; i++)
		data[i] = i < SCALES_AT ? (uint8_t)(xrandom(&random) >> 40) : 120 + i % 10;
	fd = xfile(data, SPLIT_BYTES, 0);
	kept_open(&t, LEAST, 0);
	file = xrig_file(&t.r, fd, SPLIT_AT, SCALES_AT - SPLIT_AT);
	scales = xrig_file(&t.r, fd, SCALES_AT, SPLIT_BYTES - SCALES_AT);
	assert_int_equal(xrig_write(&t.r, t.a, 0, x, SPLIT_K * 4), 0);
	assert_int_equal(xrig_write(&t.r, t.a, SPLIT_K * 4, ids, sizeof(ids)), 0);
	xstream_begin(&s);
	c.x = xmatrix(&s, t.a, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, SPLIT_K);
	c.w = xmatrix(&s, file, VB_ACCESS_READ, 0, VB_FORMAT_MXFP4_SPLIT, SPLIT_ROWS, SPLIT_K);
	c.scales = xmatrix(&s, scales, VB_ACCESS_READ, 0, VB_FORMAT_U8, SPLIT_ROWS, SPLIT_K / 32);
	c.y = xmatrix(&s, t.b, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1, SPLIT_ROWS);
	xstream_add(&s, &c, sizeof(c));
	id.x = c.x;
	id.w = xcube(&s, file, VB_ACCESS_READ, 0, VB_FORMAT_MXFP4_SPLIT, EXPERTS, SPLIT_ROWS, SPLIT_K);
	id.scales = xcube(&s, scales, VB_ACCESS_READ, 0, VB_FORMAT_U8, EXPERTS, SPLIT_ROWS,
			  SPLIT_K / 32);
	id.ids = xmatrix(&s, t.a, VB_ACCESS_READ, SPLIT_K * 4, VB_FORMAT_I32, 1, 2);
	id.y = xcube(&s, t.b, VB_ACCESS_WRITE, SPLIT_ROWS * 4, VB_FORMAT_F32, 1, 2, SPLIT_ROWS);
	xstream_add(&s, &id, sizeof(id));
	xrig_must_run(&t.r, &s);
	assert_int_equal(xrig_read(&t.r, t.b, 0, y, sizeof(y)), 0);
	split_expect(data, x, y, 0);
	split_expect(data, x, y + SPLIT_ROWS, 16);
	split_expect(data, x, y + 2 * SPLIT_ROWS, 0);
	kept_close(&t);
	close(fd);
	free(data);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_is_made_by_moving_what_the_command_holds_itself),
		cmocka_unit_test(room_is_not_needed_between_two_operands),
		cmocka_unit_test(room_beside_what_a_client_keeps_is_used),
		cmocka_unit_test(room_of_a_run_is_around_what_a_client_keeps_of_it),
		cmocka_unit_test(room_kept_for_a_while_is_waited_for),
		cmocka_unit_test(room_kept_for_a_while_delays_a_read),
		cmocka_unit_test(room_that_one_lets_go_is_found_at_first_sight),
		cmocka_unit_test(room_goes_to_each_client_in_turn),
		cmocka_unit_test(room_kept_for_ever_is_an_error_with_the_numbers),
		cmocka_unit_test(room_kept_for_ever_fails_a_read_as_busy),
		cmocka_unit_test(room_that_the_tier_does_not_have_is_not_waited_for),
		cmocka_unit_test(room_is_not_waited_for_beyond_the_deadline),
		cmocka_unit_test(room_is_not_a_deadlock_with_a_client_that_wants_more),
		cmocka_unit_test(room_is_not_waited_for_by_the_end_of_the_device),
		cmocka_unit_test(room_for_the_next_panel_is_waited_for),
		cmocka_unit_test(room_for_the_next_row_is_waited_for),
		cmocka_unit_test(room_of_the_least_tier_runs_weights_with_scales_apart),
		cmocka_unit_test(room_for_six_threads_on_the_least_tier),
		cmocka_unit_test(room_for_six_threads_with_scratch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Engine "test": another engine that fails on command.
 *
 * Each attempt gets a job with a request of its own to the inner engine, and at most one fault.
 * What arrives is held back when a delay or reordering asks for it. All choices come from one
 * seeded generator, so a run with the same seed, rules and order of calls fails the same way.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "exec/io_engine.h"

#define RULES_MAX	64u
/* Only the outer engine's deadlines count: 24 days, the most 32 bits of ms less a sign hold. */
#define NO_TIMEOUT_MS	INT32_MAX

enum job_state {
	JOB_FREE,
	JOB_HELD,	/* by VGPU_IO_FAULT_NEVER, not with the inner engine */
	JOB_INNER,
	JOB_READY,	/* result known, due at due_ns */
};

/**
 * struct job - one attempt
 * @inner: the request to the inner engine
 * @at: the outer attempt
 * @fault: what to do to it, kind 0 for nothing
 * @state: enum job_state
 * @result: for vgpu_io_attempt_done(), once ready
 * @due_ns: not before
 */
struct job {
	struct vgpu_io_req inner;
	struct vgpu_io_attempt at;
	struct vgpu_io_fault fault;
	enum job_state state;
	int32_t result;
	uint64_t due_ns;
};

struct rule {
	struct vgpu_io_fault fault;
	uint64_t matched;
	uint64_t applied;
};

/**
 * struct tester - engine state
 * @inner: the engine that does the work
 * @files: inner number of each outer file
 * @regions: inner number of each outer region
 * @rules: in order
 * @rule_count: of @rules
 * @jobs: one for each attempt in flight
 * @job_count: depth
 * @inner_count: jobs with the inner engine
 * @window: completions to hold for reordering, 0 for none
 * @hits: faults applied
 * @random: state of xorshift64
 */
struct tester {
	struct vgpu_io *inner;
	uint32_t files[VGPU_IO_FILES_MAX];
	int32_t regions[VGPU_IO_REGIONS_MAX];
	struct rule rules[RULES_MAX];
	uint32_t rule_count;
	struct job *jobs;
	uint32_t job_count;
	uint32_t inner_count;
	uint32_t window;
	uint64_t hits;
	uint64_t random;
};

/* Marsaglia, Xorshift RNGs, 2003. */
static uint64_t next_random(struct tester *t)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return t->random;
}

/* Rules -------------------------------------------------------------------------------- */

static bool rule_matches(const struct vgpu_io_fault *f, const struct vgpu_io_attempt *at)
{
	uint64_t last = f->last ? f->last : UINT64_MAX;

	return f->writes == at->write && at->offset <= last &&
	       at->offset + at->bytes > f->first;
}

static bool rule_applies(struct tester *t, struct rule *rule, const struct vgpu_io_attempt *at)
{
	const struct vgpu_io_fault *f = &rule->fault;

	if (!rule_matches(f, at) || rule->matched++ < f->skip)
		return false;
	if (f->count && rule->applied >= f->count)
		return false;
	if (f->one_in > 1 && next_random(t) % f->one_in)
		return false;
	rule->applied++;
	return true;
}

static struct vgpu_io_fault fault_choose(struct tester *t, const struct vgpu_io_attempt *at)
{
	uint32_t i;

	for (i = 0; i < t->rule_count; i++) {
		if (rule_applies(t, &t->rules[i], at)) {
			t->hits++;
			return t->rules[i].fault;
		}
	}
	return (struct vgpu_io_fault){ 0 };
}

/* Attempts ----------------------------------------------------------------------------- */

static struct job *job_take(struct tester *t)
{
	uint32_t i;

	for (i = 0; i < t->job_count; i++)
		if (t->jobs[i].state == JOB_FREE)
			break;
	/* There are as many as attempts may be in flight. */
	return &t->jobs[i];
}

/*
 * A short attempt moves what the file's alignment allows; a read is then reported as shorter
 * still, the bytes behind it being undefined to the caller anyway.
 */
static uint64_t job_bytes(const struct vgpu_io *io, const struct job *job)
{
	uint64_t mask = io->files[job->at.file]->align - 1;
	uint64_t want = job->fault.bytes;

	if (job->fault.kind != VGPU_IO_FAULT_SHORT || want >= job->at.bytes)
		return job->at.bytes;
	return job->at.write ? want & ~mask : (want + mask) & ~mask;
}

static void job_submit(struct vgpu_io *io, struct job *job)
{
	struct tester *t = io->engine;

	job->inner = (struct vgpu_io_req){
		.file = t->files[job->at.file],
		.flags = job->at.write ? VGPU_IO_WRITE : 0,
		.offset = job->at.offset,
		.bytes = job_bytes(io, job),
		.buf = job->at.buf,
		.buf_index = job->at.region < 0 ? -1 : t->regions[job->at.region],
		.user = (uintptr_t)job,
	};
	job->state = JOB_INNER;
	t->inner_count++;
	vgpu_io_submit(t->inner, &job->inner);
}

static void test_start(struct vgpu_io *io, const struct vgpu_io_attempt *attempt)
{
	struct tester *t = io->engine;
	struct job *job = job_take(t);

	job->at = *attempt;
	job->fault = fault_choose(t, attempt);
	job->due_ns = 0;
	if (job->fault.kind == VGPU_IO_FAULT_ERROR) {
		job->result = job->fault.error;
		job->state = JOB_READY;
	} else if (job->fault.kind == VGPU_IO_FAULT_NEVER) {
		job->state = JOB_HELD;
	} else {
		job_submit(io, job);
	}
}

static void flip_bit(struct tester *t, const struct job *job)
{
	uint64_t bit;

	if (job->result <= 0 || job->at.write)
		return;
	bit = next_random(t) % ((uint64_t)job->result * 8);
	((uint8_t *)job->at.buf)[bit / 8] ^= (uint8_t)(1u << (bit % 8));
}

static void job_arrived(struct tester *t, struct job *job)
{
	job->result = job->inner.result ? job->inner.result : (int32_t)job->inner.done_bytes;
	if (job->fault.kind == VGPU_IO_FAULT_SHORT && job->result > 0 &&
	    (uint64_t)job->result > job->fault.bytes)
		job->result = (int32_t)job->fault.bytes;
	if (job->fault.kind == VGPU_IO_FAULT_FLIP)
		flip_bit(t, job);
	if (job->fault.kind == VGPU_IO_FAULT_DELAY)
		job->due_ns = vgpu_now_ns() + job->fault.delay_ns;
	job->state = JOB_READY;
	t->inner_count--;
}

/* Completions -------------------------------------------------------------------------- */

/* Ready and due jobs; *@next_ns becomes the time when one more will be due. */
static uint32_t due_count(const struct tester *t, uint64_t now, uint64_t *next_ns)
{
	uint32_t i, n = 0;

	*next_ns = UINT64_MAX;
	for (i = 0; i < t->job_count; i++) {
		if (t->jobs[i].state != JOB_READY)
			continue;
		if (t->jobs[i].due_ns <= now)
			n++;
		else if (t->jobs[i].due_ns < *next_ns)
			*next_ns = t->jobs[i].due_ns;
	}
	return n;
}

static struct job *due_nth(struct tester *t, uint64_t now, uint32_t nth)
{
	struct job *job = t->jobs;

	for (;; job++)
		if (job->state == JOB_READY && job->due_ns <= now && !nth--)
			return job;
}

static uint32_t deliver(struct vgpu_io *io)
{
	struct tester *t = io->engine;
	uint64_t next_ns, now = vgpu_now_ns();
	uint32_t n = due_count(t, now, &next_ns);
	uint32_t delivered = 0;
	struct job *job;

	/* Hold back to reorder, but not when nothing more can come. */
	if (t->window && n < t->window && t->inner_count)
		return 0;
	for (; n; n--, delivered++) {
		job = due_nth(t, now, t->window ? next_random(t) % n : 0);
		job->state = JOB_FREE;
		vgpu_io_attempt_done(io, job->at.req, job->result);
	}
	return delivered;
}

static void wait_until(uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static int inner_collect(struct tester *t, int64_t wait_ns)
{
	struct vgpu_io_req *list, *next;
	int rc;

	rc = vgpu_io_reap(t->inner, wait_ns ? 1 : 0, t->job_count, wait_ns, &list);
	for (; list; list = next) {
		next = list->next;
		job_arrived(t, (struct job *)(uintptr_t)list->user);
	}
	return rc < 0 ? rc : 0;
}

static int test_reap(struct vgpu_io *io, int64_t timeout_ns)
{
	struct tester *t = io->engine;
	uint64_t now = vgpu_now_ns();
	uint64_t until = now + (uint64_t)timeout_ns;
	uint64_t next_ns;
	int rc;

	rc = inner_collect(t, 0);
	while (!rc && !deliver(io) && now < until) {
		due_count(t, now, &next_ns);
		if (next_ns > until)
			next_ns = until;
		if (t->inner_count)
			rc = inner_collect(t, (int64_t)(next_ns - now));
		else
			wait_until(next_ns);
		now = vgpu_now_ns();
	}
	return rc;
}

static void test_cancel(struct vgpu_io *io, struct vgpu_io_req *req)
{
	struct tester *t = io->engine;
	uint32_t i;

	for (i = 0; i < t->job_count; i++)
		if (t->jobs[i].state == JOB_INNER && t->jobs[i].at.req == req)
			vgpu_io_cancel(t->inner, &t->jobs[i].inner);
}

/* Files and regions -------------------------------------------------------------------- */

static int test_file_add(struct vgpu_io *io, uint32_t file)
{
	const struct vgpu_io_file *f = io->files[file];
	struct tester *t = io->engine;

	return vgpu_io_file_add(t->inner, f->direct ? f->direct_fd : f->fd,
				f->direct ? 0 : VGPU_IO_FILE_BUFFERED, &t->files[file]);
}

static void test_file_remove(struct vgpu_io *io, uint32_t file)
{
	struct tester *t = io->engine;

	vgpu_io_file_remove(t->inner, t->files[file]);
}

static void test_region_add(struct vgpu_io *io, uint32_t index)
{
	const struct vgpu_io_region *region = &io->regions[index];
	struct tester *t = io->engine;

	if (vgpu_io_region_add(t->inner, region->addr, region->bytes, &t->regions[index]))
		t->regions[index] = -1;
	memcpy(io->degraded, t->inner->degraded, sizeof(io->degraded));
}

static void test_region_register(struct vgpu_io *io, uint32_t index)
{
	struct tester *t = io->engine;

	vgpu_io_region_register(t->inner, t->regions[index]);
	memcpy(io->degraded, t->inner->degraded, sizeof(io->degraded));
}

static void test_region_remove(struct vgpu_io *io, uint32_t index)
{
	struct tester *t = io->engine;

	if (t->regions[index] >= 0)
		vgpu_io_region_remove(t->inner, t->regions[index]);
}

/* Open and close ----------------------------------------------------------------------- */

static int inner_open(struct vgpu_io *io, struct tester *t, const struct vgpu_io_params *params)
{
	struct vgpu_io_params inner = {
		.engine = params->inner,
		.flags = params->flags,
		.depth = io->depth,
		.timeout_ms = NO_TIMEOUT_MS,
		/* io_attempt.c looks behind the end of a direct file through its cached twin. */
		.bounce_buffers = io->depth,
		.bounce_bytes = 4096,
	};

	if (params->inner && !strcmp(params->inner, "test"))
		return -EINVAL;
	return vgpu_io_open(&inner, &t->inner);
}

static int test_open(struct vgpu_io *io, const struct vgpu_io_params *params)
{
	struct tester *t = calloc(1, sizeof(*t));
	int rc = -ENOMEM;

	if (!t)
		return rc;
	t->job_count = io->depth;
	t->jobs = calloc(io->depth, sizeof(*t->jobs));
	t->random = params->seed ? params->seed : 1;
	if (!t->jobs)
		goto err_free;
	rc = inner_open(io, t, params);
	if (rc)
		goto err_free;
	io->engine = t;
	snprintf(io->reason, sizeof(io->reason), "faults injected into: %.200s", t->inner->reason);
	return 0;

err_free:
	free(t->jobs);
	free(t);
	return rc;
}

static void test_close(struct vgpu_io *io)
{
	struct tester *t = io->engine;

	vgpu_io_close(t->inner);
	free(t->jobs);
	free(t);
}

/* There is a job for each of depth attempts. */
static bool test_set_aside(struct vgpu_io *io)
{
	(void)io;
	return false;
}

const struct vgpu_io_ops vgpu_io_test_ops = {
	.name = "test",
	.depth = 8,
	.open = test_open,
	.close = test_close,
	.file_add = test_file_add,
	.file_remove = test_file_remove,
	.region_add = test_region_add,
	.region_register = test_region_register,
	.region_remove = test_region_remove,
	.set_aside = test_set_aside,
	.start = test_start,
	.reap = test_reap,
	.cancel = test_cancel,
};

/* Control ------------------------------------------------------------------------------ */

static struct tester *tester_of(struct vgpu_io *io)
{
	return io->ops == &vgpu_io_test_ops ? io->engine : NULL;
}

int vgpu_io_test_add(struct vgpu_io *io, const struct vgpu_io_fault *fault)
{
	struct tester *t = tester_of(io);

	if (!t || fault->kind < VGPU_IO_FAULT_ERROR || fault->kind > VGPU_IO_FAULT_FLIP ||
	    (fault->kind == VGPU_IO_FAULT_ERROR && fault->error >= 0))
		return -EINVAL;
	if (t->rule_count == RULES_MAX)
		return -ENOSPC;
	t->rules[t->rule_count++] = (struct rule){ .fault = *fault };
	return 0;
}

int vgpu_io_test_clear(struct vgpu_io *io)
{
	struct tester *t = tester_of(io);

	if (!t)
		return -EINVAL;
	t->rule_count = 0;
	return 0;
}

int vgpu_io_test_reorder(struct vgpu_io *io, uint32_t window)
{
	struct tester *t = tester_of(io);

	if (!t)
		return -EINVAL;
	t->window = window;
	return 0;
}

int vgpu_io_test_release(struct vgpu_io *io)
{
	struct tester *t = tester_of(io);
	uint32_t i;

	if (!t)
		return -EINVAL;
	for (i = 0; i < t->job_count; i++)
		if (t->jobs[i].state == JOB_HELD)
			job_submit(io, &t->jobs[i]);
	return 0;
}

int vgpu_io_test_advance(struct vgpu_io *io, uint64_t ns)
{
	if (!tester_of(io))
		return -EINVAL;
	io->ahead_ns += ns;
	return 0;
}

uint64_t vgpu_io_test_hits(const struct vgpu_io *io)
{
	return io->ops == &vgpu_io_test_ops ? ((const struct tester *)io->engine)->hits : 0;
}

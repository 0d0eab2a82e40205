// SPDX-License-Identifier: MIT
/*
 * The executor on storage that is slow, or says nothing: who reads it waits, nobody else does,
 * and numbers are right when it comes.
 */
#include "fault/exec_model.h"

#include <errno.h>
#include <pthread.h>

static void *read_last_chunk(void *arg)
{
	struct model *m = arg;
	char byte;

	return (void *)(intptr_t)xrig_read(&m->r, m->file, BYTES - 1, &byte, 1);
}

/*
 * A client's reads do not come, of a command and of a thread that reads: others go on, long
 * before storage's deadline, and so do these once they come.
 */
static void fault_file_that_is_silent_keeps_only_its_client_waiting(void **state)
{
	struct vgpu_exec_params p = params(20);
	struct vgpu_uapi *other;
	uint32_t bo, to, queue;
	uint64_t seqno, ms = 0;
	pthread_t reader;
	struct model m;
	void *rc;

	(void)state;
	p.io_timeout_ms = 100000;
	model_open(&m, &p);
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	bo = other_object(other, 4);
	to = other_object(other, 4);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER });
	assert_int_equal(xsubmit(m.r.client, m.r.queue, &m.s, &seqno), 0);
	assert_int_equal(pthread_create(&reader, NULL, read_last_chunk, &m), 0);
	for (uint32_t i = 0; i < 50; i++)
		ms += other_runs(other, bo, to, queue);
	assert_true(ms < p.io_timeout_ms / 2);
	xrig_assert_sound(&m.r);
	calm(&m);
	vgpu_exec_with_io(m.r.exec, fault_release, NULL);
	assert_int_equal(xwait(m.r.client, m.r.queue, seqno, NULL), 0);
	assert_int_equal(pthread_join(reader, &rc), 0);
	assert_int_equal((intptr_t)rc, 0);
	model_expect_right(&m);
	other->ops->close(other);
	model_close(&m);
}

/*
 * Another client computes, @count attentions over @n keys each, until @ms from now: far longer
 * than it has.
 */
static uint64_t other_computes(struct vgpu_uapi *other, uint32_t queue, uint32_t bo, uint32_t to,
			       uint32_t n, uint32_t count, uint32_t ms)
{
	struct xstream *s = xalloc(sizeof(*s));
	uint64_t seqno;

	xstream_begin(s);
	for (uint32_t i = 0; i < count; i++) {
		struct vb_cmd_attention c = { .h = { VB_CMD_ATTENTION, 0, sizeof(c) } };

		c.q = xcube(s, bo, VB_ACCESS_READ, 0, VB_FORMAT_F32, n, 1, 1);
		c.k = c.v = c.q;
		c.out = xcube(s, to, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, n, 1, 1);
		xstream_add(s, &c, sizeof(c));
	}
	s->deadline_ns = xrig_now() + ms * 1000000ull;
	s->flags = VB_SUBMIT_ASYNC;
	assert_int_equal(xsubmit(other, queue, s, &seqno), 0);
	free(s);
	return seqno;
}

/* Far away: what computes until then is ended by whoever has seen enough. */
enum { COMPUTE_MS = 200000 };

/* It does so now. */
static bool computes(struct vgpu_uapi *other, uint32_t queue, uint64_t seqno)
{
	struct vb_ioc_wait w = { .size = sizeof(w), .queue_id = queue, .seqno = seqno };

	return vgpu_uapi_call(other, VB_IOC_WAIT, &w) == -ETIME;
}

/* In one piece: behind it comes more of the file. */
static void *read_first_chunk(void *arg)
{
	struct model *m = arg;
	char byte;

	return (void *)(intptr_t)xrig_read(&m->r, m->file, 0, &byte, 1);
}

/*
 * A read takes so long that its client is left waiting, and while another one computes it
 * comes: it is answered then, and not when that ends.
 */
static void read_is_answered_while(uint32_t keys, uint32_t count)
{
	enum { DELAY_MS = 1000, BEGUN_MS = 300 };
	struct vgpu_exec_params p = params(60);
	uint64_t start, ms, seqno;
	struct vgpu_uapi *other;
	uint32_t bo, to, queue;
	pthread_t reader;
	struct model m;
	void *rc;

	model_open(&m, &p);
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	bo = other_object(other, keys * 4);
	to = other_object(other, keys * 4);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY,
					   .delay_ns = DELAY_MS * 1000000ull });
	start = xrig_now();
	assert_int_equal(pthread_create(&reader, NULL, read_first_chunk, &m), 0);
	usleep(BEGUN_MS * 1000);
	seqno = other_computes(other, queue, bo, to, keys, count, COMPUTE_MS);
	assert_int_equal(pthread_join(reader, &rc), 0);
	ms = (xrig_now() - start) / 1000000u;
	assert_true(computes(other, queue, seqno));
	other->ops->close(other);
	assert_int_equal((intptr_t)rc, 0);
	assert_true(ms >= DELAY_MS);
	calm(&m);
	model_close(&m);
}

static void fault_read_is_answered_between_commands_of_another(void **state)
{
	(void)state;
	read_is_answered_while(1 << 14, 200);
}

static void fault_read_is_answered_amid_a_command_of_another(void **state)
{
	(void)state;
	read_is_answered_while(1 << 18, 1);
}

/* More queues than there are jobs that may run, of one client: another one is served beside them. */
static void fault_queues_of_one_client_keep_nobody_out(void **state)
{
	enum { QUEUES = 100, BEGUN_MS = 1500 };
	struct vgpu_exec_params p = params(40);
	uint32_t greedy_bo, greedy_to, bo, to, queue, queues[QUEUES];
	struct vgpu_uapi *other, *greedy;
	uint64_t seqno[QUEUES];
	struct model m;

	(void)state;
	model_open(&m, &p);
	greedy = xrig_client(&m.r);
	greedy_bo = other_object(greedy, 4 << 10);
	greedy_to = other_object(greedy, 4 << 10);
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	bo = other_object(other, 4);
	to = other_object(other, 4);
	for (uint32_t i = 0; i < QUEUES; i++) {
		queues[i] = xrig_queue(greedy, 0);
		seqno[i] = other_computes(greedy, queues[i], greedy_bo, greedy_to, 1 << 10, 200,
					  COMPUTE_MS);
	}
	/* The executor has had the time to take all that it takes. */
	usleep(BEGUN_MS * 1000);
	other_runs(other, bo, to, queue);
	assert_true(computes(greedy, queues[QUEUES - 1], seqno[QUEUES - 1]));
	greedy->ops->close(greedy);
	other->ops->close(other);
	model_close(&m);
}

/*
 * Far more clients than there are jobs that may run, each with one that waits for a silent
 * file: one more client is served, and all of them once the file answers.
 */
static void fault_jobs_that_wait_for_a_silent_file_keep_nobody_out(void **state)
{
	enum { CLIENTS = 300 };
	struct vgpu_exec_params p = params(3 * CLIENTS);
	struct vgpu_uapi *client[CLIENTS], *other;
	uint32_t bo, to, queue;
	uint32_t queues[CLIENTS];
	uint64_t seqno[CLIENTS];
	struct model m;

	(void)state;
	/* Not before the file is released: each of them is waited for a moment, on any machine. */
	p.io_timeout_ms = 24 * 3600 * 1000;
	model_open(&m, &p);
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	bo = other_object(other, 4);
	to = other_object(other, 4);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER });
	for (uint32_t i = 0; i < CLIENTS; i++) {
		client[i] = xrig_client(&m.r);
		queues[i] = xrig_queue(client[i], 0);
		other_copies(client[i], other_file(client[i], m.fd), other_object(client[i], 4),
			     queues[i], &seqno[i]);
	}
	for (uint32_t i = 0; i < 10; i++)
		other_runs(other, bo, to, queue);
	xrig_assert_sound(&m.r);
	calm(&m);
	vgpu_exec_with_io(m.r.exec, fault_release, NULL);
	for (uint32_t i = 0; i < CLIENTS; i++) {
		assert_int_equal(xwait(client[i], queues[i], seqno[i], NULL), 0);
		client[i]->ops->close(client[i]);
	}
	other_runs(other, bo, to, queue);
	other->ops->close(other);
	model_close(&m);
}

/* ---- files that trickle ---- */

enum { TRICKLE_CHUNKS = 33, TRICKLE_MS = 60, TRIES = 10 };

/*
 * Does something end before what it must not wait for?  Both are under way at once: where the
 * machine stood still for as long as they take, it is not known, and done again.
 */
static void must_end_first(bool (*ends_first)(void))
{
	for (uint32_t i = 0; i < TRIES; i++)
		if (ends_first())
			return;
	fail_msg("it was waited for, %u times", TRIES);
}

/* Ask until @chunks are read ahead: a hint about a file that is not open yet is forgotten. */
static void read_ahead(struct model *m, uint32_t bo, uint64_t bytes, uint32_t chunks)
{
	uint64_t count[VB_COUNT_COUNT];
	uint32_t tries = 60000;

	do {
		assert_int_equal(xrig_advise(&m->r, bo, VB_ADVISE_PREFETCH, 0, bytes), 0);
		usleep(1000);
		xrig_counters(&m->r, count);
	} while (count[VB_COUNT_PREFETCHES] < chunks && --tries);
	assert_true(count[VB_COUNT_PREFETCHES] >= chunks);
}

/* A chunk comes every 60 ms, so that the file is never silent, but the last one never does. */
static void trickle_open(struct model *m)
{
	struct vgpu_exec_params p = params(80);

	p.staging_bytes = 40 * XCHUNK;
	model_open(m, &p);
	for (uint32_t i = 1; i < TRICKLE_CHUNKS; i++)
		inject(m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .count = 1,
						  .delay_ns = i * TRICKLE_MS * 1000000ull });
	inject(m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .count = 1 });
	read_ahead(m, m->file, TRICKLE_CHUNKS * XCHUNK, TRICKLE_CHUNKS);
}

static void trickle_close(struct model *m)
{
	calm(m);
	vgpu_exec_with_io(m->r.exec, fault_release, NULL);
	model_close(m);
}

static void io_stats(void *arg, struct vgpu_io *io)
{
	vgpu_io_stats_get(io, arg);
}

static struct vgpu_io_stats reads(struct model *m)
{
	struct vgpu_io_stats stats;

	vgpu_exec_with_io(m->r.exec, io_stats, &stats);
	return stats;
}

static bool trickle_outlasts_evicting_and_forgetting(void)
{
	struct model m;
	bool lasts;

	trickle_open(&m);
	assert_int_equal(xrig_advise(&m.r, m.file, VB_ADVISE_EVICT, 0, TRICKLE_CHUNKS * XCHUNK),
			 -EBUSY);
	assert_int_equal(xrig_destroy(&m.r, m.file), 0);
	assert_int_equal(xrig_write(&m.r, m.bx, 0, m.x, K * 4), 0);
	lasts = reads(&m).in_flight > 1;
	xrig_assert_sound(&m.r);
	trickle_close(&m);
	return lasts;
}

/* Neither to evict its object nor to forget it takes as long as all chunks do together. */
static void fault_file_that_trickles_is_not_waited_for(void **state)
{
	(void)state;
	must_end_first(trickle_outlasts_evicting_and_forgetting);
}

struct evicter {
	struct model *m;
	bool answered;
};

static void *evict_file(void *arg)
{
	struct evicter *e = arg;
	int rc = xrig_advise(&e->m->r, e->m->file, VB_ADVISE_EVICT, 0, TRICKLE_CHUNKS * XCHUNK);

	__atomic_store_n(&e->answered, true, __ATOMIC_RELEASE);
	return (void *)(intptr_t)rc;
}

static bool is_answered(const struct evicter *e)
{
	return __atomic_load_n(&e->answered, __ATOMIC_ACQUIRE);
}

struct eviction {
	const struct model *m;
	bool waits;
};

static void eviction_look(void *arg, struct vgpu_io *io)
{
	struct eviction *e = arg;

	(void)io;
	e->waits = e->m->r.exec->evicts;
}

static void await_eviction(const struct evicter *e)
{
	struct eviction look = { .m = e->m };

	while (!look.waits && !is_answered(e))
		vgpu_exec_with_io(e->m->r.exec, eviction_look, &look);
}

static bool others_end_before_eviction(void)
{
	struct evicter e = { 0 };
	uint32_t bo, to, queue;
	struct vgpu_uapi *other;
	pthread_t evicter;
	struct model m;
	uint64_t start;
	bool first;
	void *rc;

	trickle_open(&m);
	e.m = &m;
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	bo = other_object(other, 4);
	to = other_object(other, 4);
	start = xrig_now();
	assert_int_equal(pthread_create(&evicter, NULL, evict_file, &e), 0);
	await_eviction(&e);
	other_runs(other, bo, to, queue);
	first = !is_answered(&e);
	assert_int_equal(pthread_join(evicter, &rc), 0);
	assert_int_equal((intptr_t)rc, -EBUSY);
	/* Where nothing came for a while the file was silent, and it gave up earlier. */
	first = first && xrig_now() - start >= VGPU_EVICT_NS;
	other->ops->close(other);
	trickle_close(&m);
	return first;
}

/* Who evicts a file that trickles waits a second for it; nobody else does. */
static void fault_evicting_a_file_that_trickles_keeps_nobody_else_waiting(void **state)
{
	(void)state;
	must_end_first(others_end_before_eviction);
}

static bool read_of_another_ends_before_half_is_read_ahead(void)
{
	enum { CHUNKS = 130, DEPTH = 32, EACH_MS = 80 };
	const uint64_t far = 4096ull * XCHUNK, bytes = CHUNKS * XCHUNK;
	int fd = xfile("", 1, far + bytes - 1);
	struct vgpu_exec_params p = params(400);
	struct vgpu_uapi *other;
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bytes = 4 };
	uint32_t greedy, left;
	struct model m;
	float got;

	p.staging_bytes = 140 * XCHUNK;
	model_open(&m, &p);
	greedy = xrig_file(&m.r, fd, far, bytes);
	other = xrig_client(&m.r);
	rw.bo_id = other_file(other, m.fd);
	rw.address = (uintptr_t)&got;
	for (uint32_t i = 1; i <= DEPTH; i++)
		inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .first = far,
						   .count = i < DEPTH,
						   .delay_ns = i * EACH_MS * 1000000ull });
	read_ahead(&m, greedy, bytes, CHUNKS);
	assert_int_equal(vgpu_uapi_call(other, VB_IOC_BO_READ, &rw), 0);
	left = reads(&m).queued;
	assert_true(got == m.w[0]);
	other->ops->close(other);
	trickle_close(&m);
	close(fd);
	return left >= (CHUNKS - DEPTH) / 2;
}

/* A client reads far ahead in a file that trickles: somebody else's read is the next that starts. */
static void fault_read_of_another_overtakes_what_is_read_ahead(void **state)
{
	(void)state;
	must_end_first(read_of_another_ends_before_half_is_read_ahead);
}

/*
 * A product whose matrices are chosen at run time comes back to its panel again and again,
 * and announces each chunk once: when it is done nobody wants them, though another command
 * still waits.
 */
static void fault_slow_experts_are_announced_once(void **state)
{
	struct vb_cmd_matmul_id c = { .h = { VB_CMD_MATMUL_ID, 0, sizeof(c) } };
	struct vgpu_exec_params p = params(40);
	int32_t ids[LAYERS];
	struct vgpu_uapi *other;
	uint32_t queue, bids;
	struct xstream s;
	struct model m;
	uint64_t seqno;

	(void)state;
	p.io_timeout_ms = 100000;
	model_open(&m, &p);
	bids = xrig_anonymous(&m.r, sizeof(ids));
	for (uint32_t l = 0; l < LAYERS; l++)
		ids[l] = (int32_t)l;
	xstream_begin(&s);
	c.x = xmatrix(&s, m.bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, K);
	c.w = xcube(&s, m.file, VB_ACCESS_READ, 0, VB_FORMAT_F32, LAYERS, N, K);
	c.ids = xmatrix(&s, bids, VB_ACCESS_READ, 0, VB_FORMAT_I32, 1, LAYERS);
	c.y = xcube(&s, m.by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1, LAYERS, N);
	xstream_add(&s, &c, sizeof(c));
	assert_int_equal(xrig_write(&m.r, bids, 0, ids, sizeof(ids)), 0);
	other = xrig_client(&m.r);
	queue = xrig_queue(other, 0);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .count = 1 });
	other_copies(other, other_file(other, m.fd), other_object(other, 4), queue, &seqno);
	while (!reads(&m).in_flight)
		usleep(1000);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 150000000 });
	assert_int_equal(xrun(&m.r, &s), 0);
	/* What the other one waits for, and where it goes. */
	assert_in_range(m.r.exec->resid.wanted, 0, 2);
	calm(&m);
	vgpu_exec_with_io(m.r.exec, fault_release, NULL);
	assert_int_equal(xwait(other, queue, seqno, NULL), 0);
	model_expect_right(&m);
	other->ops->close(other);
	model_close(&m);
}

/* Each read takes longer than anybody waits at once; the tier cannot keep the model. */
static void fault_slow_file_gives_right_numbers(void **state)
{
	uint64_t begin[VB_COUNT_COUNT], slow[VB_COUNT_COUNT], prompt[VB_COUNT_COUNT];
	struct vgpu_exec_params p = params(14);
	struct model m;

	(void)state;
	model_open(&m, &p);
	xrig_counters(&m.r, begin);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 250000000 });
	xrig_must_run(&m.r, &m.s);
	calm(&m);
	model_expect_right(&m);
	/* A use that is tried again is the same use. */
	xrig_counters(&m.r, slow);
	xrig_must_run(&m.r, &m.s);
	xrig_counters(&m.r, prompt);
	assert_int_equal(prompt[VB_COUNT_ACCESSES] - slow[VB_COUNT_ACCESSES],
			 slow[VB_COUNT_ACCESSES] - begin[VB_COUNT_ACCESSES]);
	model_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fault_file_that_is_silent_keeps_only_its_client_waiting),
		cmocka_unit_test(fault_read_is_answered_between_commands_of_another),
		cmocka_unit_test(fault_read_is_answered_amid_a_command_of_another),
		cmocka_unit_test(fault_queues_of_one_client_keep_nobody_out),
		cmocka_unit_test(fault_jobs_that_wait_for_a_silent_file_keep_nobody_out),
		cmocka_unit_test(fault_file_that_trickles_is_not_waited_for),
		cmocka_unit_test(fault_evicting_a_file_that_trickles_keeps_nobody_else_waiting),
		cmocka_unit_test(fault_read_of_another_overtakes_what_is_read_ahead),
		cmocka_unit_test(fault_slow_experts_are_announced_once),
		cmocka_unit_test(fault_slow_file_gives_right_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

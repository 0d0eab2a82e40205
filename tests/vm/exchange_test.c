// SPDX-License-Identifier: MIT
/* VB_IOC_EXCHANGE: commits and fetches, several at once; the executor is the test. */
#include "selftests/selftest.h"

#include <signal.h>

#define ROOM	8u

static struct rig_exec x;
static struct vb_ioc_fetch got[ROOM];
static struct vb_ioc_commit done[ROOM];
static struct vb_ioc_exchange last;

static int setup(void **state)
{
	return selftest_setup(state) || rig_exec_open(&rig, &x, 4);
}

static int teardown(void **state)
{
	rig_exec_close(&x);
	return selftest_teardown(state);
}

static int exchange(uint32_t flags, uint32_t commits, uint32_t room)
{
	last = (struct vb_ioc_exchange){
		.size = sizeof(last), .flags = flags, .commits_address = (uintptr_t)done,
		.commit_count = commits, .fetches_address = (uintptr_t)got, .fetch_count = room,
	};
	return vgpu_uapi_call(x.node, VB_IOC_EXCHANGE, &last);
}

static void set_commit(uint32_t i, uint64_t tag)
{
	done[i] = (struct vb_ioc_commit){
		.size = sizeof(done[i]), .generation = x.generation, .tag = tag,
		.bad_command = ~0u,
	};
}

/* A submission on a queue of its own: all may be in the executor's hands at once. */
static uint32_t submit(void)
{
	struct rig_stream s;
	uint32_t queue;

	assert_rc(rig_queue(rig.client, 0, &queue), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(rig.client, queue, &s, NULL), 0);
	return queue;
}

static void all_there_is_comes_at_once_and_goes_at_once(void **state)
{
	uint32_t queue[3];

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		queue[i] = submit();
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 0, ROOM), 0);
	assert_int_equal(last.out_fetched, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(got[i].size, sizeof(got[i]));
		assert_int_equal(got[i].out_type, VB_FETCH_SUBMIT);
		set_commit(i, got[i].out_tag);
	}
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 3, ROOM), 0);
	assert_int_equal(last.out_committed, 3);
	assert_int_equal(last.out_fetched, 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_rc(rig_wait(rig.client, queue[i], 1, 5000), 0);
}

static void no_more_come_than_there_is_room_for(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		submit();
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 0, 2), 0);
	assert_int_equal(last.out_fetched, 2);
	set_commit(0, got[0].out_tag);
	set_commit(1, got[1].out_tag);
	assert_rc(exchange(0, 2, 2), 0);
	assert_int_equal(last.out_fetched, 1);
	set_commit(0, got[0].out_tag);
	assert_rc(exchange(0, 1, 0), 0);
	assert_int_equal(last.out_committed, 1);
}

static void commit_that_is_refused_ends_the_call(void **state)
{
	uint32_t first = submit(), second = submit();
	uint64_t tag[2];

	(void)state;
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 0, 2), 0);
	assert_int_equal(last.out_fetched, 2);
	tag[0] = got[0].out_tag;
	tag[1] = got[1].out_tag;
	submit();
	set_commit(0, tag[0]);
	set_commit(1, tag[0]);
	set_commit(2, tag[1]);
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 3, ROOM), -ENOENT);
	assert_int_equal(last.out_committed, 1);
	assert_int_equal(last.out_fetched, 0);
	set_commit(0, tag[1]);
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 1, ROOM), 0);
	assert_int_equal(last.out_fetched, 1);
	assert_rc(rig_commit(&x, got[0].out_tag, 0), 0);
	assert_rc(rig_wait(rig.client, first, 1, 5000), 0);
	assert_rc(rig_wait(rig.client, second, 1, 5000), 0);
}

static void commits_are_checked_each(void **state)
{
	(void)state;
	submit();
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 0, 1), 0);
	set_commit(0, got[0].out_tag);
	done[0].size = 8;
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 1, 0), -EINVAL);
	done[0].size = sizeof(done[0]);
	done[0].generation--;
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 1, 0), -ESTALE);
	done[0].generation++;
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 1, 0), 0);
	assert_rc(exchange(VB_FETCH_F_NOWAIT, VB_EXCHANGE_MAX + 1, 0), -EINVAL);
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 0, VB_EXCHANGE_MAX + 1), -EINVAL);
	last.commits_address = 8;
	last.commit_count = 1;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXCHANGE, &last), -EINVAL);
	last.fetch_count = 0;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXCHANGE, &last), -EFAULT);
}

/* ---- sleeping ---- */

struct sleeper {
	pthread_t thread;
	struct vb_ioc_fetch got;
	struct vb_ioc_exchange cmd;
	int rc;
};

static void *sleeps(void *arg)
{
	struct sleeper *s = arg;

	s->cmd = (struct vb_ioc_exchange){
		.size = sizeof(s->cmd), .fetches_address = (uintptr_t)&s->got, .fetch_count = 1,
		.spin_ns = 1000000,
	};
	s->rc = vgpu_uapi_call(x.node, VB_IOC_EXCHANGE, &s->cmd);
	return NULL;
}

static void work_wakes_one_that_sleeps(void **state)
{
	struct sleeper s;
	uint32_t queue;

	(void)state;
	assert_int_equal(pthread_create(&s.thread, NULL, sleeps, &s), 0);
	usleep(50000);
	queue = submit();
	pthread_join(s.thread, NULL);
	assert_rc(s.rc, 0);
	assert_int_equal(s.cmd.out_fetched, 1);
	assert_rc(rig_commit(&x, s.got.out_tag, 0), 0);
	assert_rc(rig_wait(rig.client, queue, 1, 5000), 0);
}

/* Whether it sleeps already or is on its way there. */
static void stop_ends_sleep_now_and_later(void **state)
{
	struct sleeper s[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&s[i].thread, NULL, sleeps, &s[i]), 0);
	assert_rc(exchange(VB_EXCHANGE_F_STOP, 0, 0), 0);
	for (int i = 0; i < 2; i++) {
		pthread_join(s[i].thread, NULL);
		assert_rc(s[i].rc, 0);
		assert_int_equal(s[i].cmd.out_fetched, 0);
	}
	assert_rc(exchange(0, 0, ROOM), 0);
	submit();
	assert_rc(exchange(0, 0, ROOM), 0);
	assert_int_equal(last.out_fetched, 1);
	assert_rc(rig_commit(&x, got[0].out_tag, 0), 0);
}

/* Three for the client, counted once by one that then sleeps. */
static uint64_t three[VB_COUNT_COMMANDS + 1] = { [VB_COUNT_COMMANDS] = 3 };
static struct vb_ioc_exec_stats stats = {
	.size = sizeof(stats), .client = 0, .count = VB_COUNT_COMMANDS + 1,
	.address = (uintptr_t)three,
};

static void *counts_and_sleeps(void *arg)
{
	struct sleeper *s = arg;

	s->cmd = (struct vb_ioc_exchange){
		.size = sizeof(s->cmd), .fetches_address = (uintptr_t)&s->got, .fetch_count = 1,
		.stats_address = (uintptr_t)&stats,
	};
	s->rc = vgpu_uapi_call(x.node, VB_IOC_EXCHANGE, &s->cmd);
	return NULL;
}

static void on_signal(int sig)
{
	(void)sig;
}

static uint64_t commands_counted(void)
{
	uint64_t counters[VB_COUNT_COUNT];
	struct vb_ioc_stats cmd = {
		.size = sizeof(cmd), .count = VB_COUNT_COUNT, .address = (uintptr_t)counters,
	};

	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_STATS, &cmd), 0);
	return counters[VB_COUNT_COMMANDS];
}

/* The kernel makes a call again that a signal ended, if its handler says so. */
static void signal_in_its_sleep_counts_nothing_twice(void **state)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, old;
	struct sleeper s;

	(void)state;
	submit();
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 0, 1), 0);
	stats.client = got[0].out_client;
	set_commit(0, got[0].out_tag);
	assert_rc(exchange(VB_FETCH_F_NOWAIT, 1, 0), 0);
	sigaction(SIGUSR1, &act, &old);
	assert_int_equal(pthread_create(&s.thread, NULL, counts_and_sleeps, &s), 0);
	while (!commands_counted())
		usleep(1000);
	for (int i = 0; i < 5; i++) {
		pthread_kill(s.thread, SIGUSR1);
		usleep(20000);
	}
	assert_rc(exchange(VB_EXCHANGE_F_STOP, 0, 0), 0);
	pthread_join(s.thread, NULL);
	sigaction(SIGUSR1, &old, NULL);
	assert_rc(s.rc, 0);
	assert_int_equal(s.cmd.out_fetched, 0);
	assert_int_equal(commands_counted(), 3);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(all_there_is_comes_at_once_and_goes_at_once),
		CASE(no_more_come_than_there_is_room_for),
		CASE(commit_that_is_refused_ends_the_call),
		CASE(commits_are_checked_each),
		CASE(work_wakes_one_that_sleeps),
		CASE(stop_ends_sleep_now_and_later),
		CASE(signal_in_its_sleep_counts_nothing_twice),
	};

	if (!selftest_has_module("exchange"))
		return 0;
	return SELFTEST_RUN("exchange", tests, RIG_NONE, 0, 0) ? 1 : 0;
}

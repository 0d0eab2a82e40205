// SPDX-License-Identifier: MIT
/* Fetching: who waits looks awake only while work comes soon. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "exec/fetch.h"

#define SPIN_NS	200000000u	/* a busy machine does nothing for shorter */

/**
 * struct node - a module of which there is nothing but the fetching of one executor
 * @takes_ns: how long the next fetch has to wait
 * @rc: what it says then
 * @gives: how many requests it hands out
 * @spin_ns: how long the last one was told to look awake
 * @flags, @fill_count, @calls: of the last call; how many there were
 */
struct node {
	struct vgpu_uapi uapi;
	uint32_t takes_ns, gives, spin_ns, flags, fill_count, calls;
	int rc;
};

static int node_call(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	struct node *n = (struct node *)u;
	const struct timespec wait = { .tv_nsec = n->takes_ns };
	struct vb_ioc_exchange *x = arg;

	assert_int_equal(request, VB_IOC_EXCHANGE);
	n->spin_ns = x->spin_ns;
	n->flags = x->flags;
	n->fill_count = x->fill_count;
	n->calls++;
	if (n->takes_ns)
		nanosleep(&wait, NULL);
	x->out_committed = x->commit_count;
	x->out_fetched = n->gives;
	return n->rc;
}

static int node_fd(struct vgpu_uapi *u)
{
	(void)u;
	return -1;
}

static const struct vgpu_uapi_ops node_ops = { .name = "fake", .call = node_call, .fd = node_fd };

static struct node node;
static struct vgpu_fetcher fetcher;

static int setup(void **state)
{
	(void)state;
	node = (struct node){ .uapi.ops = &node_ops, .gives = 1 };
	fetcher = (struct vgpu_fetcher){ .node = &node.uapi, .spin_ns = SPIN_NS, .several = true };
	return 0;
}

/* How long a fetch with these flags was told to look awake. */
static uint32_t spin_of(uint32_t flags)
{
	struct vgpu_commits c = { .count = 0 };
	struct vb_ioc_fetch req[1];
	uint32_t n;

	assert_int_equal(vgpu_fetch(&fetcher, flags, &c, req, 1, &n), node.rc);
	return node.spin_ns;
}

static void work_that_comes_soon_is_looked_for_awake(void **state)
{
	(void)state;
	assert_int_equal(spin_of(0), 0);
	assert_int_equal(spin_of(0), SPIN_NS);
	assert_int_equal(spin_of(0), SPIN_NS);
}

static void after_a_long_wait_it_sleeps_at_once(void **state)
{
	(void)state;
	spin_of(0);
	node.takes_ns = SPIN_NS + 1;
	assert_int_equal(spin_of(0), SPIN_NS);
	assert_int_equal(spin_of(0), 0);
	node.takes_ns = 0;
	assert_int_equal(spin_of(0), 0);
	assert_int_equal(spin_of(0), SPIN_NS);
}

static void who_does_not_wait_learns_nothing(void **state)
{
	(void)state;
	assert_int_equal(spin_of(VB_FETCH_F_NOWAIT), 0);
	assert_int_equal(spin_of(0), 0);
	node.takes_ns = SPIN_NS + 1;
	assert_int_equal(spin_of(VB_FETCH_F_NOWAIT), 0);
	node.takes_ns = 0;
	assert_int_equal(spin_of(0), SPIN_NS);
}

/* A signal, or an end: no work has come. */
static void wait_without_work_is_none_that_was_short(void **state)
{
	(void)state;
	spin_of(0);
	node.rc = -EINTR;
	assert_int_equal(spin_of(0), SPIN_NS);
	node.rc = 0;
	node.gives = 0;
	assert_int_equal(spin_of(0), 0);
	node.gives = 1;
	assert_int_equal(spin_of(0), 0);
	assert_int_equal(spin_of(0), SPIN_NS);
}

static void it_never_looks_awake_unless_told_to(void **state)
{
	(void)state;
	fetcher.spin_ns = 0;
	assert_int_equal(spin_of(0), 0);
	assert_int_equal(spin_of(0), 0);
}

/* No memory is registered yet. */
static void device_that_can_fill_is_held_back_from_the_beginning(void **state)
{
	(void)state;
	vgpu_fetch_ask(&fetcher);
	assert_true(fetcher.fills);
	assert_int_equal(node.flags, VB_FETCH_F_NOWAIT | VB_EXCHANGE_F_HOLD_FILLS);
	vgpu_fetch_fills(&fetcher, 5);
	vgpu_fetch_hold(&fetcher, false);
	assert_int_equal(node.flags, VB_FETCH_F_NOWAIT | VB_EXCHANGE_F_LET_FILLS);
	assert_int_equal(node.fill_count, 5);
	vgpu_fetch_hold(&fetcher, true);
	assert_int_equal(node.flags, VB_FETCH_F_NOWAIT | VB_EXCHANGE_F_HOLD_FILLS);
	/* Who waits says a number, and lets nobody go on. */
	spin_of(0);
	assert_int_equal(node.flags, 0);
}

static void device_that_cannot_fill_is_told_nothing(void **state)
{
	(void)state;
	node.rc = -EINVAL;
	vgpu_fetch_ask(&fetcher);
	node.rc = 0;
	assert_false(fetcher.fills);
	node.calls = 0;
	vgpu_fetch_hold(&fetcher, true);
	assert_int_equal(node.calls, 0);
	vgpu_fetch_fills(&fetcher, 5);
	spin_of(0);
	assert_int_equal(node.fill_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(work_that_comes_soon_is_looked_for_awake, setup),
		cmocka_unit_test_setup(after_a_long_wait_it_sleeps_at_once, setup),
		cmocka_unit_test_setup(who_does_not_wait_learns_nothing, setup),
		cmocka_unit_test_setup(wait_without_work_is_none_that_was_short, setup),
		cmocka_unit_test_setup(it_never_looks_awake_unless_told_to, setup),
		cmocka_unit_test_setup(device_that_can_fill_is_held_back_from_the_beginning, setup),
		cmocka_unit_test_setup(device_that_cannot_fill_is_told_nothing, setup),
	};

	return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Quotas against a model that adds everything up from scratch, and the promises that
 * matter one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/quota.h"

#define USERS	3u
#define CLIENTS	4u	/* of each */
#define ROOM	1000u

static struct vb_quota_device device;
static struct vb_quota user[USERS], client[USERS][CLIENTS];

static int setup(void **state)
{
	u64 none[VB_QUOTA_LIMITS];

	(void)state;
	memset(none, 0xff, sizeof(none));
	device = (struct vb_quota_device){ .room = { ROOM, ROOM } };
	for (u32 i = 0; i < USERS; i++) {
		vb_quota_init(&user[i], none);
		for (u32 k = 0; k < CLIENTS; k++) {
			vb_quota_init(&client[i][k], none);
			vb_quota_join(&device, &client[i][k], &user[i]);
		}
	}
	return 0;
}

/* ---- the model ---- */

static u64 more(u64 a, u64 b)
{
	return a > b ? a - b : 0;
}

static u64 set_min(const struct vb_quota *q, u32 limit)
{
	return q->limits[limit] == VB_QUOTA_NONE ? 0 : q->limits[limit];
}

static u64 model_promise(u32 i, u32 limit)
{
	u64 sum = 0;

	for (u32 k = 0; k < CLIENTS; k++)
		sum += set_min(&client[i][k], limit);
	return sum > set_min(&user[i], limit) ? sum : set_min(&user[i], limit);
}

static u64 model_excess(u32 i)
{
	u64 sum = 0, minima = 0;

	for (u32 k = 0; k < CLIENTS; k++) {
		sum += more(client[i][k].held, set_min(&client[i][k], VB_LIMIT_HOST_MIN));
		minima += set_min(&client[i][k], VB_LIMIT_HOST_MIN);
	}
	return more(sum, model_promise(i, VB_LIMIT_HOST_MIN) - minima);
}

static void check_sums(void)
{
	u64 host = 0, dev = 0, excess = 0;

	for (u32 i = 0; i < USERS; i++) {
		u64 used = 0, held = 0;

		for (u32 k = 0; k < CLIENTS; k++) {
			used += client[i][k].used[VB_USE_BYTES];
			held += client[i][k].held;
		}
		assert_int_equal(used, user[i].used[VB_USE_BYTES]);
		assert_int_equal(held, user[i].held);
		host += model_promise(i, VB_LIMIT_HOST_MIN);
		dev += model_promise(i, VB_LIMIT_DEVICE_MIN);
		excess += model_excess(i);
	}
	assert_int_equal(device.promised[0], host);
	assert_int_equal(device.promised[1], dev);
	assert_int_equal(device.excess, excess);
}

/* ---- random ---- */

static struct vb_quota *any(void)
{
	return &client[rand() % USERS][rand() % CLIENTS];
}

static void step(void)
{
	struct vb_quota *c = any(), *q = rand() % 4 ? c : c->user;
	u64 n = (u64)rand() % (ROOM / 4);
	bool pin = rand() % 2;

	switch (rand() % 6) {
	case 0:
		vb_quota_set(&device, q, (u32)(1 + rand() % 5), rand() % 5 ? n : VB_QUOTA_NONE);
		break;
	case 1:
		vb_quota_charge(c, VB_USE_BYTES, n);
		break;
	case 2:
		vb_quota_sub(c, VB_USE_BYTES, n < c->used[VB_USE_BYTES] ? n : c->used[VB_USE_BYTES]);
		break;
	case 3:
	case 4:
		vb_quota_hold(&device, c, n, pin);
		break;
	default:
		n = n < c->held - c->pinned ? n : c->held - c->pinned;
		vb_quota_release(&device, c, n, false);
		if (pin)
			vb_quota_release(&device, c, c->pinned, true);
	}
}

static void sums_are_those_of_a_model_that_adds_up(void **state)
{
	(void)state;
	srand(7);
	for (int i = 0; i < 20000; i++) {
		step();
		check_sums();
		assert_true(device.promised[0] + device.excess <= ROOM);
		assert_true(device.promised[1] <= ROOM);
	}
}

static void clients_that_leave_take_their_minimum_with_them(void **state)
{
	struct vb_quota *c = &client[0][0];

	(void)state;
	assert_int_equal(vb_quota_set(&device, c, VB_LIMIT_HOST_MIN, 300), 0);
	assert_int_equal(vb_quota_hold(&device, c, 400, false), 0);
	assert_int_equal(device.excess, 100);
	vb_quota_leave(&device, c);
	assert_int_equal(device.promised[0], 0);
	assert_int_equal(device.excess, 400);
	assert_int_equal(device.clients, USERS * CLIENTS - 1);
	vb_quota_release(&device, c, 400, false);
	check_sums();
}

/* ---- limits ---- */

static void charge_is_refused_by_client_and_by_user(void **state)
{
	(void)state;
	vb_quota_set(&device, &client[0][0], VB_LIMIT_BYTES_MAX, 50);
	vb_quota_set(&device, &user[0], VB_LIMIT_BYTES_MAX, 80);
	assert_int_equal(vb_quota_charge(&client[0][0], VB_USE_BYTES, 51), -EDQUOT);
	assert_int_equal(vb_quota_charge(&client[0][0], VB_USE_BYTES, 50), 0);
	assert_int_equal(vb_quota_charge(&client[0][0], VB_USE_BYTES, 1), -EDQUOT);
	assert_int_equal(vb_quota_charge(&client[0][1], VB_USE_BYTES, 31), -EDQUOT);
	assert_int_equal(vb_quota_charge(&client[0][1], VB_USE_BYTES, 30), 0);
	assert_int_equal(vb_quota_charge(&client[1][0], VB_USE_BYTES, 1000), 0);
	assert_int_equal(vb_quota_charge(&client[1][0], VB_USE_BYTES, ~0ull), -EDQUOT);
	assert_int_equal(vb_quota_used(&user[0], VB_LIMIT_BYTES_MAX), 80);
}

static void minima_must_fit_the_room(void **state)
{
	(void)state;
	assert_int_equal(vb_quota_set(&device, &user[0], VB_LIMIT_HOST_MIN, 600), 0);
	assert_int_equal(vb_quota_set(&device, &client[1][0], VB_LIMIT_HOST_MIN, 401), -ENOSPC);
	assert_int_equal(vb_quota_set(&device, &client[1][0], VB_LIMIT_HOST_MIN, 400), 0);
	/* Within what the user was promised there is room for its clients. */
	assert_int_equal(vb_quota_set(&device, &client[0][0], VB_LIMIT_HOST_MIN, 500), 0);
	assert_int_equal(vb_quota_set(&device, &client[0][1], VB_LIMIT_HOST_MIN, 101), -ENOSPC);
	assert_int_equal(vb_quota_set(&device, &client[0][1], VB_LIMIT_HOST_MIN, 100), 0);
	assert_int_equal(vb_quota_set(&device, &user[2], VB_LIMIT_HOST_MIN, 1), -ENOSPC);
	assert_int_equal(vb_quota_set(&device, &user[2], VB_LIMIT_DEVICE_MIN, 1000), 0);
}

/* The default of a minimum is a share of what nobody was promised, and no promise. */
static void who_may_not_raise_gets_no_promise(void **state)
{
	u64 promised;

	(void)state;
	for (u32 i = 0; i < USERS * CLIENTS; i++) {
		struct vb_quota *c = &client[i / CLIENTS][i % CLIENTS];

		assert_int_equal(vb_quota_lower(&device, c, VB_LIMIT_HOST_MIN, 1), -EPERM);
		assert_int_equal(vb_quota_lower(&device, c, VB_LIMIT_HOST_MIN, 0), 0);
		assert_int_equal(vb_quota_lower(&device, c, VB_LIMIT_HOST_MIN, 1), -EPERM);
	}
	assert_int_equal(device.promised[0], 0);
	/* What its user was promised, or itself, is its own to divide and to give up. */
	vb_quota_set(&device, &user[0], VB_LIMIT_HOST_MIN, 300);
	promised = device.promised[0];
	vb_quota_set(&device, &client[0][0], VB_LIMIT_HOST_MIN, 200);
	assert_int_equal(vb_quota_lower(&device, &client[0][0], VB_LIMIT_HOST_MIN, 201), -EPERM);
	assert_int_equal(vb_quota_lower(&device, &client[0][0], VB_LIMIT_HOST_MIN, 150), 0);
	vb_quota_set(&device, &client[0][1], VB_LIMIT_HOST_MIN, VB_QUOTA_NONE);
	assert_int_equal(vb_quota_lower(&device, &client[0][1], VB_LIMIT_HOST_MIN, 20), 0);
	assert_int_equal(device.promised[0], promised);
	assert_int_equal(vb_quota_lower(&device, &client[1][0], VB_LIMIT_BYTES_MAX, 5), 0);
	assert_int_equal(vb_quota_lower(&device, &client[1][0], VB_LIMIT_BYTES_MAX, 6), -EPERM);
	check_sums();
}

static void what_others_hold_cannot_be_promised(void **state)
{
	(void)state;
	assert_int_equal(vb_quota_hold(&device, &client[0][0], 10, false), 0);
	assert_int_equal(vb_quota_set(&device, &client[1][0], VB_LIMIT_HOST_MIN, 991), -ENOSPC);
	assert_int_equal(vb_quota_set(&device, &client[1][0], VB_LIMIT_HOST_MIN, 990), 0);
	/* What it holds itself is no hindrance. */
	vb_quota_set(&device, &client[1][0], VB_LIMIT_HOST_MIN, VB_QUOTA_NONE);
	assert_int_equal(vb_quota_set(&device, &client[0][0], VB_LIMIT_HOST_MIN, 1000), 0);
}

static void clients_without_a_minimum_share_half(void **state)
{
	(void)state;
	assert_int_equal(vb_quota_limit(&device, &client[0][0], VB_LIMIT_HOST_MIN),
			 ROOM / 2 / (USERS * CLIENTS));
	vb_quota_set(&device, &user[1], VB_LIMIT_HOST_MIN, 800);
	assert_int_equal(vb_quota_limit(&device, &client[0][0], VB_LIMIT_HOST_MIN),
			 200 / (USERS * CLIENTS));
	assert_int_equal(vb_quota_limit(&device, &client[1][0], VB_LIMIT_HOST_MIN), 800 / CLIENTS);
	assert_int_equal(vb_quota_limit(&device, &client[1][0], VB_LIMIT_DEVICE_MIN), 0);
}

/* ---- what is held ---- */

static void one_may_hold_all_that_is_promised_to_nobody(void **state)
{
	(void)state;
	assert_int_equal(vb_quota_hold(&device, &client[0][0], ROOM, false), 0);
	assert_int_equal(vb_quota_hold(&device, &client[1][0], 1, false), -ENOSPC);
	vb_quota_release(&device, &client[0][0], 1, false);
	assert_int_equal(vb_quota_hold(&device, &client[1][0], 1, false), 0);
}

static void what_is_promised_is_not_held_by_others(void **state)
{
	(void)state;
	vb_quota_set(&device, &user[1], VB_LIMIT_HOST_MIN, 300);
	assert_int_equal(vb_quota_hold(&device, &client[0][0], 701, false), -ENOSPC);
	assert_int_equal(vb_quota_hold(&device, &client[0][0], 700, false), 0);
	assert_int_equal(vb_quota_hold(&device, &client[1][0], 200, false), 0);
	assert_int_equal(vb_quota_hold(&device, &client[1][1], 101, false), -ENOSPC);
	assert_int_equal(vb_quota_hold(&device, &client[1][1], 100, false), 0);
	assert_int_equal(vb_quota_hold(&device, &client[2][0], 1, false), -ENOSPC);
}

static void pins_stay_within_the_minimum(void **state)
{
	(void)state;
	vb_quota_set(&device, &client[0][0], VB_LIMIT_HOST_MIN, 40);
	assert_int_equal(vb_quota_hold(&device, &client[0][0], 41, true), -EDQUOT);
	assert_int_equal(vb_quota_hold(&device, &client[0][0], 40, true), 0);
	assert_int_equal(vb_quota_hold(&device, &client[0][0], 1, true), -EDQUOT);
	assert_int_equal(vb_quota_hold(&device, &client[0][0], 1, false), 0);
	vb_quota_release(&device, &client[0][0], 40, true);
	assert_int_equal(vb_quota_used(&client[0][0], VB_LIMIT_HOST_MIN), 0);
	assert_int_equal(vb_quota_used(&user[0], VB_LIMIT_HOST_MIN), 0);
}

/* Defaults shrink as clients come; each pins what it may, one after the other. */
static void pins_of_clients_that_come_one_by_one_fit(void **state)
{
	u64 pinned = 0;

	(void)state;
	device.clients = 0;
	for (u32 i = 0; i < USERS * CLIENTS; i++) {
		struct vb_quota *c = &client[i / CLIENTS][i % CLIENTS];
		u64 n;

		device.clients++;
		n = vb_quota_limit(&device, c, VB_LIMIT_HOST_MIN);
		if (!vb_quota_hold(&device, c, n, true))
			pinned += n;
	}
	assert_true(pinned > ROOM / 2);
	assert_true(pinned <= ROOM);
}

static void mappings_stay_within_the_maximum(void **state)
{
	(void)state;
	vb_quota_set(&device, &client[0][0], VB_LIMIT_HOST_MAX, 100);
	vb_quota_set(&device, &user[0], VB_LIMIT_HOST_MAX, 150);
	assert_int_equal(vb_quota_hold(&device, &client[0][0], 60, false), 0);
	assert_int_equal(vb_quota_hold(&device, &client[0][0], 41, false), -EDQUOT);
	assert_int_equal(vb_quota_hold(&device, &client[0][1], 91, false), -EDQUOT);
	assert_int_equal(vb_quota_hold(&device, &client[0][1], 90, false), 0);
	assert_int_equal(vb_quota_least(&client[0][1], VB_LIMIT_HOST_MAX), 150);
}

/* The executor went with its memory: old promises stand, nothing new can be held. */
static void promises_outlive_the_memory(void **state)
{
	(void)state;
	vb_quota_set(&device, &client[0][0], VB_LIMIT_HOST_MIN, 400);
	device.room[0] = 0;
	assert_int_equal(vb_quota_hold(&device, &client[1][0], 1, false), -ENOSPC);
	assert_int_equal(vb_quota_hold(&device, &client[0][0], 400, false), 0);
	assert_int_equal(vb_quota_set(&device, &client[0][0], VB_LIMIT_HOST_MIN, 401), -ENOSPC);
	assert_int_equal(vb_quota_set(&device, &client[0][0], VB_LIMIT_HOST_MIN, VB_QUOTA_NONE), 0);
	check_sums();
}

#define CASE(name)	cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(sums_are_those_of_a_model_that_adds_up),
		CASE(clients_that_leave_take_their_minimum_with_them),
		CASE(charge_is_refused_by_client_and_by_user),
		CASE(minima_must_fit_the_room),
		CASE(who_may_not_raise_gets_no_promise),
		CASE(what_others_hold_cannot_be_promised),
		CASE(clients_without_a_minimum_share_half),
		CASE(one_may_hold_all_that_is_promised_to_nobody),
		CASE(what_is_promised_is_not_held_by_others),
		CASE(pins_stay_within_the_minimum),
		CASE(pins_of_clients_that_come_one_by_one_fit),
		CASE(mappings_stay_within_the_maximum),
		CASE(promises_outlive_the_memory),
	};

	return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Shares of executor time against a model that looks at everybody each time, and what is
 * promised, counted in work that was handed out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/share.h"

#define CLIENTS	16u
#define QUEUES	64u

static struct vb_share_level clients;
static struct vb_share_client client[CLIENTS];
static struct vb_share_queue queue[CLIENTS][QUEUES];

static int setup(void **state)
{
	(void)state;
	memset(&clients, 0, sizeof(clients));
	memset(client, 0, sizeof(client));
	memset(queue, 0, sizeof(queue));
	for (u32 c = 0; c < CLIENTS; c++) {
		client[c].member.weight = VB_QUEUE_WEIGHT_DEFAULT;
		for (u32 q = 0; q < QUEUES; q++) {
			queue[c][q].client = &client[c];
			queue[c][q].member.weight = VB_QUEUE_WEIGHT_DEFAULT;
		}
	}
	return 0;
}

static u32 client_of(const struct vb_share_queue *q)
{
	return (u32)(q->client - client);
}

/* ---- the model: no heap, and what it knows it works out anew ---- */

struct model_member {
	u64 place, since;
	u32 weight;
	bool ready;
};

static struct {
	struct model_member client[CLIENTS], queue[CLIENTS][QUEUES];
	u32 started[CLIENTS];
	u64 usual[CLIENTS][QUEUES], charged[CLIENTS][QUEUES];
	u64 clock, clocks[CLIENTS], events;
} model;

static struct model_member *least(struct model_member *m, u32 count)
{
	struct model_member *best = NULL;

	for (u32 i = 0; i < count; i++)
		if (m[i].ready && (!best || m[i].place < best->place ||
				   (m[i].place == best->place && m[i].since < best->since)))
			best = &m[i];
	return best;
}

static void model_ready(struct model_member *m, u64 clock)
{
	if (m->ready)
		return;
	m->ready = true;
	m->since = ++model.events;
	if (m->place < clock)
		m->place = clock;
}

static void model_shift(struct model_member *m, s64 ns)
{
	s64 by = ns < 0 ? -(-ns * 1000 / m->weight) : ns * 1000 / m->weight;

	if (!by)
		return;
	m->place += (u64)by;
	m->since = ++model.events;
}

static void model_settle(u32 c)
{
	if (least(model.queue[c], QUEUES) && model.started[c] < VB_SHARE_STARTED_MAX)
		model_ready(&model.client[c], model.clock);
	else
		model.client[c].ready = false;
}

static void model_add(u32 c, u32 q)
{
	model_ready(&model.queue[c][q], model.clocks[c]);
	model_settle(c);
}

static void model_remove(u32 c, u32 q)
{
	model.queue[c][q].ready = false;
	model_settle(c);
}

static u64 model_counted(u64 ns)
{
	return ns < VB_SHARE_LEAST_NS ? VB_SHARE_LEAST_NS : ns;
}

static void model_start(u32 c, u32 q)
{
	struct model_member *mq = &model.queue[c][q], *mc = &model.client[c];
	u64 ns = model_counted(model.usual[c][q]);

	model.started[c]++;
	model_remove(c, q);
	model.charged[c][q] = ns;
	model.clocks[c] = mq->place > model.clocks[c] ? mq->place : model.clocks[c];
	model.clock = mc->place > model.clock ? mc->place : model.clock;
	model_shift(mq, (s64)ns);
	model_shift(mc, (s64)ns);
}

static void model_end(u32 c, u32 q, u64 busy)
{
	u64 ns = model_counted(busy), *usual = &model.usual[c][q];
	struct model_member *both[] = { &model.queue[c][q], &model.client[c] };

	for (int i = 0; i < 2; i++) {
		u64 to = both[i]->place + ns * 1000 / both[i]->weight -
			 model.charged[c][q] * 1000 / both[i]->weight;

		if (to != both[i]->place)
			both[i]->since = ++model.events;
		both[i]->place = to;
	}
	model.started[c]--;
	model_settle(c);
	*usual = *usual ? *usual - *usual / 4 + ns / 4 : ns - ns / 4 + ns / 4;
}

static struct vb_share_queue *model_next(void)
{
	struct model_member *c = least(model.client, CLIENTS);
	u32 i = c ? (u32)(c - model.client) : 0;

	return c ? &queue[i][least(model.queue[i], QUEUES) - model.queue[i]] : NULL;
}

static void weigh(unsigned int *seed)
{
	memset(&model, 0, sizeof(model));
	for (u32 c = 0; c < CLIENTS; c++) {
		client[c].member.weight = model.client[c].weight = 1 + (u32)rand_r(seed) % 1000;
		for (u32 q = 0; q < QUEUES; q++)
			queue[c][q].member.weight = model.queue[c][q].weight =
				1 + (u32)rand_r(seed) % 1000;
	}
}

/* Some work takes no time, most a little, some very long. */
static u64 some_ns(unsigned int *seed)
{
	static const u64 scale[] = { 1, 1000, 100000, 100000000 };

	return (u64)rand_r(seed) % 1000 * scale[rand_r(seed) % 4];
}

static void picks_are_those_of_the_slow_model(void **state)
{
	static bool running[CLIENTS][QUEUES];
	unsigned int seed = 7;
	u32 taken = 0;

	(void)state;
	memset(running, 0, sizeof(running));
	weigh(&seed);
	for (u32 i = 0; i < 200000; i++) {
		u32 c = (u32)rand_r(&seed) % CLIENTS, q = (u32)rand_r(&seed) % QUEUES;
		struct vb_share_queue *next;

		switch (rand_r(&seed) % 4) {
		case 0:
			if (!running[c][q]) {
				vb_share_add(&clients, &queue[c][q]);
				model_add(c, q);
			}
			break;
		case 1:
			if (rand_r(&seed) % 4 == 0) {
				vb_share_remove(&clients, &queue[c][q]);
				model_remove(c, q);
			}
			break;
		case 2:
			if (running[c][q]) {
				u64 ns = some_ns(&seed);

				running[c][q] = false;
				vb_share_end(&clients, &queue[c][q], ns);
				model_end(c, q, ns);
			}
			break;
		default:
			next = vb_share_next(&clients);
			assert_ptr_equal(next, model_next());
			assert_int_equal(vb_share_is_idle(&clients), !next);
			if (!next)
				break;
			taken++;
			c = client_of(next);
			q = (u32)(next - queue[c]);
			vb_share_start(&clients, next);
			model_start(c, q);
			running[c][q] = true;
		}
	}
	assert_in_range(taken, 10000, 200000);
}

/* ---- an executor, one piece of work after the other ---- */

static u64 had[CLIENTS];

/* So much work at once, then as much is ended; each queue has more at once. */
static void hand_out(u32 pieces, u32 at_once, const u64 *ns_of_client)
{
	struct vb_share_queue *taken[QUEUES * CLIENTS];

	memset(had, 0, sizeof(had));
	while (pieces) {
		u32 n = 0;

		while (n < at_once && pieces && (taken[n] = vb_share_next(&clients))) {
			vb_share_start(&clients, taken[n++]);
			pieces--;
		}
		for (u32 i = 0; i < n; i++) {
			u32 c = client_of(taken[i]);

			had[c] += ns_of_client[c];
			vb_share_end(&clients, taken[i], ns_of_client[c]);
			vb_share_add(&clients, taken[i]);
		}
	}
}

static void add_queues(u32 c, u32 count)
{
	for (u32 q = 0; q < count; q++)
		vb_share_add(&clients, &queue[c][q]);
}

static void many_queues_are_no_larger_share(void **state)
{
	static const u64 ns[CLIENTS] = { 100000, 100000 };

	(void)state;
	add_queues(0, QUEUES);
	add_queues(1, 1);
	hand_out(1000, 1, ns);
	assert_in_range(had[1] / ns[1], 499, 501);
}

/* The executor may take 64 at once: they are not all of one client. */
static void what_is_fetched_at_once_is_shared_too(void **state)
{
	static const u64 ns[CLIENTS] = { 100000, 100000 };

	(void)state;
	add_queues(0, QUEUES);
	add_queues(1, 8);
	hand_out(16 * 100, 16, ns);
	assert_in_range(had[1] / ns[1], 780, 820);
}

/* With long work nothing ends for a while: the executor has room for others all the same. */
static void one_client_has_so_much_started_and_no_more(void **state)
{
	u32 n = 0;

	(void)state;
	add_queues(0, QUEUES);
	while (vb_share_next(&clients) && n < QUEUES)
		vb_share_start(&clients, &queue[0][n++]);
	assert_int_equal(n, VB_SHARE_STARTED_MAX);
	assert_true(vb_share_is_idle(&clients));
	add_queues(1, 1);
	assert_ptr_equal(vb_share_next(&clients), &queue[1][0]);
	vb_share_start(&clients, &queue[1][0]);
	/* Who could be next anyway is no news. */
	assert_false(vb_share_end(&clients, &queue[1][0], 100));
	assert_true(vb_share_end(&clients, &queue[0][0], 100));
	assert_ptr_equal(vb_share_next(&clients), &queue[0][n]);
	vb_share_start(&clients, &queue[0][n]);
	assert_null(vb_share_next(&clients));
}

static void sixteen_equal_clients_get_the_same(void **state)
{
	u64 ns[CLIENTS];

	(void)state;
	for (u32 c = 0; c < CLIENTS; c++) {
		add_queues(c, 1 + c * 4);
		ns[c] = 10000 * (1 + c % 5);
	}
	hand_out(32000, 1, ns);
	for (u32 c = 1; c < CLIENTS; c++)
		assert_in_range(had[c], had[0] - 60000, had[0] + 60000);
}

static void work_that_takes_no_time_is_not_free(void **state)
{
	static const u64 ns[CLIENTS] = { 0, 0, 0 };
	u32 second = 0;

	(void)state;
	add_queues(0, QUEUES);
	add_queues(1, 1);
	for (u32 i = 0; i < 100; i++) {
		struct vb_share_queue *q = vb_share_next(&clients);

		second += client_of(q) == 1;
		vb_share_start(&clients, q);
		vb_share_end(&clients, q, ns[0]);
		vb_share_add(&clients, q);
	}
	assert_in_range(second, 49, 51);
}

static void time_is_shared_by_weight_on_both_levels(void **state)
{
	u64 of_queue[2] = { 0 }, light = 0;

	(void)state;
	client[0].member.weight = 300;
	queue[0][1].member.weight = 400;
	add_queues(0, 2);
	add_queues(1, 3);
	for (u32 i = 0; i < 4000; i++) {
		struct vb_share_queue *q = vb_share_next(&clients);

		if (client_of(q))
			light++;
		else
			of_queue[q - queue[0]]++;
		vb_share_start(&clients, q);
		vb_share_end(&clients, q, 20000);
		vb_share_add(&clients, q);
	}
	assert_in_range(light, 998, 1002);
	assert_in_range(of_queue[0], 598, 602);
	assert_in_range(of_queue[1], 2398, 2402);
}

/* Who works now and then is served at once, and has saved nothing for a long burst. */
static void who_comes_back_is_next_but_has_no_credit(void **state)
{
	static const u64 ns[CLIENTS] = { 50000, 50000 };
	u32 in_row = 0;

	(void)state;
	add_queues(0, QUEUES);
	hand_out(500, 1, ns);
	add_queues(1, QUEUES);
	for (u32 i = 0; i < 20; i++) {
		struct vb_share_queue *q = vb_share_next(&clients);

		if (i < 2)
			in_row += client_of(q) == 1;
		vb_share_start(&clients, q);
		vb_share_end(&clients, q, ns[0]);
		vb_share_add(&clients, q);
		had[client_of(q)] += ns[0];
	}
	assert_in_range(in_row, 1, 2);
	hand_out(100, 1, ns);
	assert_in_range(had[1] / ns[1], 49, 51);
}

/* Debt is not forgotten by who goes away for a moment. */
static void who_had_too_much_waits_also_after_a_pause(void **state)
{
	u32 first = 0;

	(void)state;
	add_queues(0, 1);
	add_queues(1, 1);
	vb_share_start(&clients, &queue[0][0]);
	vb_share_end(&clients, &queue[0][0], 1000000);
	for (u32 i = 0; i < 10; i++) {
		struct vb_share_queue *q;

		vb_share_add(&clients, &queue[0][0]);
		vb_share_remove(&clients, &queue[0][0]);
		vb_share_add(&clients, &queue[0][0]);
		q = vb_share_next(&clients);
		first += client_of(q) == 0;
		vb_share_start(&clients, q);
		vb_share_end(&clients, q, 99000);
		vb_share_add(&clients, q);
	}
	assert_int_equal(first, 0);
}

/* Page-ins are no queue's work, and count all the same. */
static void time_beside_queues_counts(void **state)
{
	u32 first = 0;

	(void)state;
	add_queues(0, QUEUES);
	add_queues(1, 1);
	for (u32 i = 0; i < 300; i++) {
		struct vb_share_queue *q = vb_share_next(&clients);

		first += client_of(q) == 0;
		vb_share_start(&clients, q);
		vb_share_end(&clients, q, 50000);
		vb_share_add(&clients, q);
		if (client_of(q) == 0)
			vb_share_charge(&clients, &client[0], 50000);
	}
	assert_in_range(first, 99, 101);
}

#define SHARE(name)	cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHARE(picks_are_those_of_the_slow_model),
		SHARE(many_queues_are_no_larger_share),
		SHARE(what_is_fetched_at_once_is_shared_too),
		SHARE(one_client_has_so_much_started_and_no_more),
		SHARE(sixteen_equal_clients_get_the_same),
		SHARE(work_that_takes_no_time_is_not_free),
		SHARE(time_is_shared_by_weight_on_both_levels),
		SHARE(who_comes_back_is_next_but_has_no_credit),
		SHARE(who_had_too_much_waits_also_after_a_pause),
		SHARE(time_beside_queues_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

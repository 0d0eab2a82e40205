// SPDX-License-Identifier: MIT
/* Whose turn it is in a line, against a model that looks through all that waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/line.h"

#define CLIENTS	5u
#define PLACES	40u	/* of each */
#define STEPS	200000u

static struct vb_line line;
static struct vb_line_client client[CLIENTS];
static struct vb_line_place place[CLIENTS][PLACES];

/* The model: what waits, when it came, whether it came back; when a client got its turn. */
static struct {
	u64 came;
	bool waits, back;
} model[CLIENTS][PLACES];
static u64 turn[CLIENTS], now;

static int setup(void **state)
{
	(void)state;
	memset(&line, 0, sizeof(line));
	memset(client, 0, sizeof(client));
	memset(place, 0, sizeof(place));
	memset(model, 0, sizeof(model));
	memset(turn, 0, sizeof(turn));
	now = 0;
	return 0;
}

static u32 waiting(u32 c)
{
	u32 n = 0;

	for (u32 p = 0; p < PLACES; p++)
		n += model[c][p].waits;
	return n;
}

static void add(u32 c, u32 p, bool back)
{
	if (!waiting(c))
		turn[c] = ++now;
	model[c][p].waits = true;
	model[c][p].back = back;
	model[c][p].came = ++now;
	if (back)
		vb_line_return(&line, &client[c], &place[c][p]);
	else
		vb_line_add(&line, &client[c], &place[c][p]);
}

static bool is_before(u32 c, u32 a, u32 b)
{
	if (model[c][a].back != model[c][b].back)
		return model[c][a].back;
	return model[c][a].came < model[c][b].came;
}

static u32 first_of(u32 c)
{
	u32 first = PLACES;

	for (u32 p = 0; p < PLACES; p++)
		if (model[c][p].waits && (first == PLACES || is_before(c, p, first)))
			first = p;
	return first;
}

static u32 first_client(void)
{
	u32 first = CLIENTS;

	for (u32 c = 0; c < CLIENTS; c++)
		if (waiting(c) && (first == CLIENTS || turn[c] < turn[first]))
			first = c;
	return first;
}

static void serve(void)
{
	u32 c = first_client(), p;

	if (c == CLIENTS) {
		assert_null(vb_line_first(&line));
		return;
	}
	p = first_of(c);
	assert_ptr_equal(vb_line_first(&line), &place[c][p]);
	vb_line_serve(&line);
	assert_null(place[c][p].client);
	model[c][p].waits = false;
	turn[c] = ++now;
}

static void line_does_what_a_search_would(void **state)
{
	(void)state;
	srand(1);
	for (u32 i = 0; i < STEPS; i++) {
		u32 c = (u32)rand() % CLIENTS, p = (u32)rand() % PLACES, total = 0;

		if (rand() % 2)
			serve();
		else if (!model[c][p].waits)
			add(c, p, rand() % 4 == 0);
		else if (rand() % 4 == 0) {
			vb_line_remove(&line, &place[c][p]);
			model[c][p].waits = false;
		}
		for (u32 k = 0; k < CLIENTS; k++)
			total += waiting(k);
		assert_int_equal(line.count, total);
		assert_int_equal(vb_line_is_empty(&line), !total);
	}
}

static void who_asks_for_much_waits_for_itself(void **state)
{
	(void)state;
	for (u32 p = 0; p < PLACES; p++)
		add(0, p, false);
	serve();
	for (u32 p = 0; p < 3; p++)
		add(1, p, false);
	for (u32 p = 0; p < 3; p++) {
		assert_ptr_equal(vb_line_first(&line), &place[0][1 + p]);
		serve();
		assert_ptr_equal(vb_line_first(&line), &place[1][p]);
		serve();
	}
}

static void who_does_not_wait_is_not_removed(void **state)
{
	(void)state;
	add(0, 0, false);
	vb_line_remove(&line, &place[0][1]);
	assert_int_equal(line.count, 1);
	vb_line_remove(&line, &place[0][0]);
	vb_line_remove(&line, &place[0][0]);
	assert_int_equal(line.count, 0);
	assert_null(vb_line_first(&line));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(line_does_what_a_search_would, setup),
		cmocka_unit_test_setup(who_asks_for_much_waits_for_itself, setup),
		cmocka_unit_test_setup(who_does_not_wait_is_not_removed, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

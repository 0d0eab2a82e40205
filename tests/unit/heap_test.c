// SPDX-License-Identifier: MIT
/* The heap against a list that is looked through for the least key, of equal ones the oldest. */
#include <core/heap.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define NODES 64
#define STEPS 200000u

/* What is in the heap, in the order in which it came. */
struct world {
	struct vb_heap heap;
	struct vb_heap_node node[NODES];
	struct vb_heap_node *came[NODES];
	u32 count;
	u64 seed;
};

static u32 roll(struct world *w, u32 sides)
{
	w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(w->seed >> 33) % sides;
}

static struct vb_heap_node *model_first(const struct world *w)
{
	struct vb_heap_node *first = NULL;
	u32 i;

	for (i = 0; i < w->count; i++)
		if (!first || w->came[i]->key < first->key)
			first = w->came[i];
	return first;
}

static void add(struct world *w, struct vb_heap_node *n, u64 key)
{
	n->key = key;
	vb_heap_add(&w->heap, n);
	w->came[w->count++] = n;
}

static void remove_at(struct world *w, u32 i)
{
	vb_heap_remove(&w->heap, w->came[i]);
	w->count--;
	memmove(&w->came[i], &w->came[i + 1], (w->count - i) * sizeof(w->came[0]));
}

static u32 place_of(const struct world *w, const struct vb_heap_node *n)
{
	u32 i = 0;

	while (w->came[i] != n)
		i++;
	return i;
}

static struct vb_heap_node *one_outside(struct world *w)
{
	u32 i = roll(w, NODES), at;

	for (;; i = (i + 1) % NODES) {
		for (at = 0; at < w->count && w->came[at] != &w->node[i]; at++)
			;
		if (at == w->count)
			return &w->node[i];
	}
}

/* Few keys, so that many are equal; then all there are, the largest included. */
static void heap_does_what_a_list_does(void **state)
{
	static const u64 ranges[] = { 1, 3, 50, UINT64_MAX };
	u32 r, step;

	(void)state;
	for (r = 0; r < sizeof(ranges) / sizeof(ranges[0]); r++) {
		struct world w = { .seed = r + 1 };

		for (step = 0; step < STEPS; step++) {
			/* Long phases in which it grows, and in which it is emptied. */
			bool grow = (step / 500) % 2 ? roll(&w, 4) != 0 : roll(&w, 4) == 0;

			if (grow && w.count < NODES)
				add(&w, one_outside(&w), roll(&w, 8) ? w.seed % ranges[r] : UINT64_MAX);
			else if (w.count && roll(&w, 2))
				remove_at(&w, place_of(&w, w.heap.first));
			else if (w.count)
				remove_at(&w, roll(&w, w.count));
			assert_ptr_equal(w.heap.first, model_first(&w));
		}
	}
}

static void heap_hands_out_equal_keys_as_they_came(void **state)
{
	struct world w = { 0 };
	u32 i;

	(void)state;
	for (i = 0; i < NODES; i++)
		add(&w, &w.node[i], 7);
	for (i = 0; i < NODES; i++) {
		assert_ptr_equal(w.heap.first, &w.node[i]);
		remove_at(&w, 0);
	}
	assert_null(w.heap.first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heap_does_what_a_list_does),
		cmocka_unit_test(heap_hands_out_equal_keys_as_they_came),
	};

	return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "heap.h"

static bool is_before(const struct vb_heap_node *a, const struct vb_heap_node *b)
{
	return a->key != b->key ? a->key < b->key : a->order < b->order;
}

/* Two heaps become one: the later root is the first child of the other. */
static struct vb_heap_node *meld(struct vb_heap_node *a, struct vb_heap_node *b)
{
	struct vb_heap_node *first = a && (!b || is_before(a, b)) ? a : b;
	struct vb_heap_node *later = first == a ? b : a;

	if (!later)
		return first;
	later->prev = first;
	later->next = first->child;
	if (later->next)
		later->next->prev = later;
	first->child = later;
	return first;
}

/* From the left two by two, then from the right one by one. */
static struct vb_heap_node *meld_children(struct vb_heap_node *a)
{
	struct vb_heap_node *pairs = NULL, *all = NULL;

	while (a) {
		struct vb_heap_node *b = a->next, *rest = b ? b->next : NULL;

		a->next = NULL;
		if (b)
			b->next = NULL;
		a = meld(a, b);
		a->next = pairs;
		pairs = a;
		a = rest;
	}
	while (pairs) {
		a = pairs;
		pairs = a->next;
		a->next = NULL;
		all = meld(all, a);
	}
	if (all)
		all->prev = NULL;
	return all;
}

void vb_heap_add(struct vb_heap *h, struct vb_heap_node *n)
{
	n->child = NULL;
	n->next = NULL;
	n->prev = NULL;
	n->order = ++h->last_order;
	h->first = meld(h->first, n);
}

void vb_heap_remove(struct vb_heap *h, struct vb_heap_node *n)
{
	struct vb_heap_node *below = meld_children(n->child);

	if (n == h->first) {
		h->first = below;
		return;
	}
	if (n->prev->child == n)
		n->prev->child = n->next;
	else
		n->prev->next = n->next;
	if (n->next)
		n->next->prev = n->prev;
	h->first = meld(h->first, below);
}

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Who is first: nodes in the order of their keys, and those of one key in the order in
 * which they came.
 *
 * A pairing heap: no memory but the nodes, which lie in structures of the caller; adding
 * takes a step, taking one out O(log n) over time.  A node is in one heap at most.
 *
 * Source: Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap", Algorithmica 1, 1986.
 */
#ifndef VB_CORE_HEAP_H
#define VB_CORE_HEAP_H

#include "deps.h"

/**
 * struct vb_heap_node - a place in a heap
 * @child: first of those that come later, each with more of them below
 * @next: next child of the same parent
 * @prev: child before it, or the parent of the first one; NULL: the root
 * @key: the least is first; not changed while it is in a heap
 * @order: when it came
 */
struct vb_heap_node {
	struct vb_heap_node *child, *next, *prev;
	u64 key, order;
};

/**
 * struct vb_heap - empty when all zero
 * @first: or NULL
 * @last_order: of the last one that came
 */
struct vb_heap {
	struct vb_heap_node *first;
	u64 last_order;
};

/**
 * vb_heap_add() - a node gets its place, behind those with the same key
 * @h: heap
 * @n: in no heap; its key is set
 */
void vb_heap_add(struct vb_heap *h, struct vb_heap_node *n);

/**
 * vb_heap_remove() - a node leaves, wherever it is
 * @h: heap
 * @n: in this heap
 */
void vb_heap_remove(struct vb_heap *h, struct vb_heap_node *n);

#endif

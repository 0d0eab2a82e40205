/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Who is served next where clients ask for one thing after another, and none of them may
 * keep the others waiting by asking for much: they take turns.  What a client asks for is
 * served in the order in which it asked; between two of its own, one of each other client
 * that waits.
 *
 * State in, decision out: the caller holds the lock.
 */
#ifndef VB_CORE_LINE_H
#define VB_CORE_LINE_H

#include "heap.h"

/**
 * struct vb_line - empty when all zero
 * @clients: those that wait, in the order of their turns
 * @turn: the last one that was given
 * @count: how many places are taken
 */
struct vb_line {
	struct vb_heap clients;
	u64 turn;
	u32 count;
};

/**
 * struct vb_line_client - all zero: it waits for nothing
 * @node: in the line while @places has one
 * @places: in the order in which it asked
 */
struct vb_line_client {
	struct vb_heap_node node;
	struct vb_heap places;
};

/**
 * struct vb_line_place - all zero: taken by nobody
 * @node: among the places of @client
 * @client: who waits there, or NULL
 */
struct vb_line_place {
	struct vb_heap_node node;
	struct vb_line_client *client;
};

/* Without the lock it is a guess. */
static inline bool vb_line_is_empty(const struct vb_line *l)
{
	return !READ_ONCE(l->clients.first);
}

/**
 * vb_line_add() - a client waits, behind all that it asked for before
 * @l: line
 * @c: who waits
 * @p: taken by nobody
 */
void vb_line_add(struct vb_line *l, struct vb_line_client *c, struct vb_line_place *p);

/**
 * vb_line_return() - what was served waits again, as if it had never been
 * @l: line
 * @c: who waits
 * @p: taken by nobody; before all that its client asked for later
 */
void vb_line_return(struct vb_line *l, struct vb_line_client *c, struct vb_line_place *p);

/**
 * vb_line_first() - whose turn it is
 * @l: line
 *
 * Return: the place; NULL: nobody waits.
 */
struct vb_line_place *vb_line_first(const struct vb_line *l);

/**
 * vb_line_serve() - vb_line_first() is served: its client has had its turn
 * @l: line in which somebody waits
 */
void vb_line_serve(struct vb_line *l);

/**
 * vb_line_remove() - it does not wait any more
 * @l: line
 * @p: place; nothing happens when nobody has it
 */
void vb_line_remove(struct vb_line *l, struct vb_line_place *p);

#endif

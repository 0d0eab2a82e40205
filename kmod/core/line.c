// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "line.h"

enum { RETURNED, NEW };		/* keys of places */

static struct vb_line_client *first_client(const struct vb_line *l)
{
	struct vb_heap_node *n = l->clients.first;

	return n ? container_of(n, struct vb_line_client, node) : NULL;
}

static void take_turn(struct vb_line *l, struct vb_line_client *c)
{
	c->node.key = ++l->turn;
	vb_heap_add(&l->clients, &c->node);
}

static void line_add(struct vb_line *l, struct vb_line_client *c, struct vb_line_place *p, u64 key)
{
	if (!c->places.first)
		take_turn(l, c);
	p->client = c;
	p->node.key = key;
	vb_heap_add(&c->places, &p->node);
	l->count++;
}

void vb_line_add(struct vb_line *l, struct vb_line_client *c, struct vb_line_place *p)
{
	line_add(l, c, p, NEW);
}

void vb_line_return(struct vb_line *l, struct vb_line_client *c, struct vb_line_place *p)
{
	line_add(l, c, p, RETURNED);
}

struct vb_line_place *vb_line_first(const struct vb_line *l)
{
	struct vb_line_client *c = first_client(l);

	return c ? container_of(c->places.first, struct vb_line_place, node) : NULL;
}

void vb_line_serve(struct vb_line *l)
{
	struct vb_line_client *c = first_client(l);

	vb_line_remove(l, vb_line_first(l));
	if (!c->places.first)
		return;
	vb_heap_remove(&l->clients, &c->node);
	take_turn(l, c);
}

void vb_line_remove(struct vb_line *l, struct vb_line_place *p)
{
	struct vb_line_client *c = p->client;

	if (!c)
		return;
	p->client = NULL;
	vb_heap_remove(&c->places, &p->node);
	l->count--;
	if (!c->places.first)
		vb_heap_remove(&l->clients, &c->node);
}

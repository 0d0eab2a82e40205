// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "share.h"

#define SMOOTHING	4u	/* usual_ns goes a quarter of the way */

static u64 by_weight(u64 ns, u32 weight)
{
	return ns * VB_QUEUE_WEIGHT_MAX / weight;
}

static u64 counted(u64 ns)
{
	return ns < VB_SHARE_LEAST_NS ? VB_SHARE_LEAST_NS :
	       ns > VB_SHARE_MOST_NS ? VB_SHARE_MOST_NS : ns;
}

/* ---- one level ---- */

static void member_add(struct vb_share_level *level, struct vb_share_member *m)
{
	if (m->ready)
		return;
	m->ready = true;
	level->count++;
	if (m->place < level->clock)
		m->place = level->clock;
	m->node.key = m->place;
	vb_heap_add(&level->heap, &m->node);
}

static void member_remove(struct vb_share_level *level, struct vb_share_member *m)
{
	if (!m->ready)
		return;
	m->ready = false;
	level->count--;
	vb_heap_remove(&level->heap, &m->node);
}

/* To another place; of one that has work the order is kept. */
static void member_move(struct vb_share_level *level, struct vb_share_member *m, u64 place)
{
	m->place = place;
	if (!m->ready || m->node.key == place)
		return;
	vb_heap_remove(&level->heap, &m->node);
	m->node.key = place;
	vb_heap_add(&level->heap, &m->node);
}

/* It goes: the clock comes to its place, which moves on. */
static void member_charge(struct vb_share_level *level, struct vb_share_member *m, u64 ns)
{
	if (m->place > level->clock)
		level->clock = m->place;
	member_move(level, m, m->place + by_weight(ns, m->weight));
}

/* What was charged, and is in its place, was a guess; its weight may be another one now. */
static void member_correct(struct vb_share_level *level, struct vb_share_member *m, u64 guessed_ns,
			   u64 ns)
{
	u64 back = by_weight(guessed_ns, m->weight), place = m->place + by_weight(ns, m->weight);

	member_move(level, m, place > back ? place - back : 0);
}

/* ---- both ---- */

static struct vb_share_queue *queue_of(struct vb_heap_node *n)
{
	return container_of(n, struct vb_share_queue, member.node);
}

static struct vb_share_client *client_of(struct vb_heap_node *n)
{
	return container_of(n, struct vb_share_client, member.node);
}

/* Can it be next? */
static void client_settle(struct vb_share_level *clients, struct vb_share_client *c)
{
	if (c->queues.count && c->started < VB_SHARE_STARTED_MAX)
		member_add(clients, &c->member);
	else
		member_remove(clients, &c->member);
}

void vb_share_add(struct vb_share_level *clients, struct vb_share_queue *q)
{
	member_add(&q->client->queues, &q->member);
	client_settle(clients, q->client);
}

void vb_share_remove(struct vb_share_level *clients, struct vb_share_queue *q)
{
	member_remove(&q->client->queues, &q->member);
	client_settle(clients, q->client);
}

struct vb_share_queue *vb_share_next(const struct vb_share_level *clients)
{
	struct vb_heap_node *first = clients->heap.first;

	return first ? queue_of(client_of(first)->queues.heap.first) : NULL;
}

void vb_share_start(struct vb_share_level *clients, struct vb_share_queue *q)
{
	q->charged_ns = counted(q->usual_ns);
	q->client->started++;
	vb_share_remove(clients, q);
	member_charge(&q->client->queues, &q->member, q->charged_ns);
	member_charge(clients, &q->client->member, q->charged_ns);
}

bool vb_share_end(struct vb_share_level *clients, struct vb_share_queue *q, u64 busy_ns)
{
	bool enough = q->client->started-- == VB_SHARE_STARTED_MAX;
	u64 ns = counted(busy_ns), usual = q->usual_ns ? q->usual_ns : ns;

	member_correct(&q->client->queues, &q->member, q->charged_ns, ns);
	member_correct(clients, &q->client->member, q->charged_ns, ns);
	q->usual_ns = usual - usual / SMOOTHING + ns / SMOOTHING;
	q->charged_ns = ns;
	client_settle(clients, q->client);
	return enough && q->client->member.ready;
}

bool vb_share_is_ahead(const struct vb_share_level *clients, const struct vb_share_client *c)
{
	const struct vb_heap_node *next = clients->heap.first;
	u64 place = c->member.place < clients->clock ? clients->clock : c->member.place;

	return next && place > next->key;
}

void vb_share_charge(struct vb_share_level *clients, struct vb_share_client *c, u64 busy_ns)
{
	struct vb_share_member *m = &c->member;
	u64 from = m->place < clients->clock ? clients->clock : m->place;

	member_move(clients, m, from + by_weight(counted(busy_ns), m->weight));
}

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Whose turn it is: executor time, shared by weight between clients, and what a client
 * gets between its queues.  Many queues are no larger share.
 *
 * Deficit round robin, with rounds as short as they can be.  On either level each member
 * has a place, in time by weight: what its work takes moves it on, and who is furthest
 * behind is next.  The clock of a level is the place of who went last.  Who had nothing to
 * do goes on at the clock, so that credit is lost; who is ahead of it stays there, idle or
 * not, so that debt is kept.  (Start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996;
 * two members that have work at all times are never further apart than one piece of work
 * of each.)
 *
 * How long work takes is known when it has ended.  Until then it counts as much as work of
 * its queue did before, or an executor that fetches much at once would get it from one
 * client alone.  And no client has more than VB_SHARE_STARTED_MAX pieces of work there: an
 * executor has room for so many, and who comes later is not to wait until long ones of
 * somebody else have ended.  No work counts less than VB_SHARE_LEAST_NS: to hand it out takes time
 * that the executor does not report.
 *
 * State in, decision out: the caller holds the lock.
 */
#ifndef VB_CORE_SHARE_H
#define VB_CORE_SHARE_H

#include "heap.h"

#define VB_SHARE_STARTED_MAX	16u
#define VB_SHARE_LEAST_NS	5000u
#define VB_SHARE_MOST_NS	(1ull << 48)	/* three days; keeps places within 64 bits */

/**
 * struct vb_share_level - members that share something
 * @heap: those that have work, by place
 * @clock: place of who went last
 * @count: members that have work
 */
struct vb_share_level {
	struct vb_heap heap;
	u64 clock;
	u32 count;
};

/**
 * struct vb_share_member - one of them
 * @node: in the heap while it has work; its key is @place then
 * @place: time by weight that it has had
 * @weight: 1 to VB_QUEUE_WEIGHT_MAX; a new one counts from the next charge on
 * @ready: it has work
 */
struct vb_share_member {
	struct vb_heap_node node;
	u64 place;
	u32 weight;
	bool ready;
};

/**
 * struct vb_share_client - a client: all zero but for its weight
 * @member: has work while a queue of it has, and the executor has not enough of it
 * @queues: its queues
 * @started: pieces of work that the executor has
 */
struct vb_share_client {
	struct vb_share_member member;
	struct vb_share_level queues;
	u32 started;
};

/**
 * struct vb_share_queue - a queue: all zero but for its weight and @client
 * @member: among the queues of its client
 * @client: whose; fixed
 * @usual_ns: what its work takes, smoothed
 * @charged_ns: what counts for the work that the executor has, until it ends
 */
struct vb_share_queue {
	struct vb_share_member member;
	struct vb_share_client *client;
	u64 usual_ns, charged_ns;
};

/* Has anybody work?  Without the lock it is a guess. */
static inline bool vb_share_is_idle(const struct vb_share_level *clients)
{
	return !READ_ONCE(clients->count);
}

/**
 * vb_share_add() - a queue has work
 * @clients: level of the clients
 * @q: queue; nothing happens when it has already
 */
void vb_share_add(struct vb_share_level *clients, struct vb_share_queue *q);

/**
 * vb_share_remove() - a queue has none, or none that can run
 * @clients: level of the clients
 * @q: queue; nothing happens when it has none already
 */
void vb_share_remove(struct vb_share_level *clients, struct vb_share_queue *q);

/**
 * vb_share_next() - whose turn it is
 * @clients: level of the clients
 *
 * Return: a queue that has work which the executor may have now; NULL: nobody has.
 */
struct vb_share_queue *vb_share_next(const struct vb_share_level *clients);

/**
 * vb_share_start() - the executor gets work of a queue
 * @clients: level of the clients
 * @q: vb_share_next(), or any other that has work
 *
 * It has none from now on, until vb_share_add(): a queue has one piece of work in the
 * executor's hands.
 */
void vb_share_start(struct vb_share_level *clients, struct vb_share_queue *q);

/**
 * vb_share_end() - it has ended
 * @clients: level of the clients
 * @q: queue, of which vb_share_start() was called
 * @busy_ns: executor time that it took
 *
 * Return: true when its client can be next again and could not, having had enough there.
 */
bool vb_share_end(struct vb_share_level *clients, struct vb_share_queue *q, u64 busy_ns);

/**
 * vb_share_is_ahead() - has a client had more than who is next
 * @clients: level of the clients
 * @c: client
 *
 * Then what it asks for beside its queues comes after that.
 *
 * Return: it has; no when nobody has work.
 */
bool vb_share_is_ahead(const struct vb_share_level *clients, const struct vb_share_client *c);

/**
 * vb_share_charge() - a client had executor time that was none of its queues'
 * @clients: level of the clients
 * @c: client
 * @busy_ns: how much: of a page-in, say
 */
void vb_share_charge(struct vb_share_level *clients, struct vb_share_client *c, u64 busy_ns);

#endif

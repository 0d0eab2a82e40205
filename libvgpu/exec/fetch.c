// SPDX-License-Identifier: MIT
#include "fetch.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "clock.h"

/*
 * A commit that is refused (its submission is gone) is no reason to keep the others.
 * What the call said of that one nobody is there to hear.
 */
static int exchange(const struct vgpu_fetcher *f, struct vgpu_commits *c,
		    struct vb_ioc_exchange *x)
{
	struct vb_ioc_exec_stats stats = {
		.size = sizeof(stats), .client = c->client, .count = c->counted,
		.address = (uintptr_t)c->counters,
	};
	uint32_t first = 0;
	int rc;

	x->stats_address = c->counted ? (uintptr_t)&stats : 0;
	x->fill_count = __atomic_load_n(&f->fill_most, __ATOMIC_RELAXED);
	for (;;) {
		x->commits_address = (uintptr_t)&c->commit[first];
		x->commit_count = c->count - first;
		rc = vgpu_uapi_call(f->node, VB_IOC_EXCHANGE, x);
		x->stats_address = 0;
		first += x->out_committed;
		if (!rc || first == c->count)
			break;
		first++;
	}
	c->count = 0;
	c->counted = 0;
	return rc;
}

/* One that cannot says so. */
void vgpu_fetch_ask(struct vgpu_fetcher *f)
{
	struct vb_ioc_exchange x = {
		.size = sizeof(x), .flags = VB_FETCH_F_NOWAIT | VB_EXCHANGE_F_HOLD_FILLS,
		.fill_count = 1,
	};

	f->fills = f->several && !vgpu_uapi_call(f->node, VB_IOC_EXCHANGE, &x);
}

void vgpu_fetch_hold(const struct vgpu_fetcher *f, bool hold)
{
	struct vb_ioc_exchange x = {
		.size = sizeof(x),
		.flags = VB_FETCH_F_NOWAIT | (hold ? VB_EXCHANGE_F_HOLD_FILLS : VB_EXCHANGE_F_LET_FILLS),
		.fill_count = __atomic_load_n(&f->fill_most, __ATOMIC_RELAXED),
	};

	if (f->fills)
		vgpu_uapi_call(f->node, VB_IOC_EXCHANGE, &x);
}

static int fetch_one(const struct vgpu_fetcher *f, uint32_t flags, struct vb_ioc_fetch *to,
		     uint32_t *count)
{
	int rc;

	memset(to, 0, sizeof(*to));
	to->size = sizeof(*to);
	to->flags = flags;
	rc = vgpu_uapi_call(f->node, VB_IOC_FETCH, to);
	*count = !rc;
	return rc == -EAGAIN && flags & VB_FETCH_F_NOWAIT ? 0 : rc;
}

static int fetch_waiting(struct vgpu_fetcher *f, struct vgpu_commits *c, struct vb_ioc_exchange *x)
{
	uint64_t began = vgpu_now_ns();
	int rc;

	x->spin_ns = f->soon ? f->spin_ns : 0;
	rc = exchange(f, c, x);
	f->soon = !rc && x->out_fetched && vgpu_now_ns() - began < f->spin_ns;
	return rc;
}

int vgpu_fetch(struct vgpu_fetcher *f, uint32_t flags, struct vgpu_commits *c,
	       struct vb_ioc_fetch *to, uint32_t room, uint32_t *count)
{
	struct vb_ioc_exchange x = {
		.size = sizeof(x), .flags = flags, .fetches_address = (uintptr_t)to,
		.fetch_count = room,
	};
	int rc;

	if (!f->several)
		return fetch_one(f, flags, to, count);
	rc = flags & VB_FETCH_F_NOWAIT ? exchange(f, c, &x) : fetch_waiting(f, c, &x);
	*count = rc ? 0 : x.out_fetched;
	return rc;
}

void vgpu_commit(const struct vgpu_fetcher *f, struct vgpu_commits *c, struct vb_ioc_commit done)
{
	done.size = sizeof(done);
	done.generation = f->generation;
	if (!f->several) {
		vgpu_uapi_call(f->node, VB_IOC_COMMIT, &done);
		return;
	}
	c->commit[c->count++] = done;
	if (c->count == VGPU_FETCH_MAX)
		vgpu_commit_all(f, c);
}

static void count_now(const struct vgpu_fetcher *f, uint32_t client, const uint64_t *counters,
		      uint32_t n)
{
	struct vb_ioc_exec_stats s = {
		.size = sizeof(s), .client = client, .count = n, .address = (uintptr_t)counters,
	};

	vgpu_uapi_call(f->node, VB_IOC_EXEC_STATS, &s);
}

static void count_with_commits(struct vgpu_commits *c, uint32_t client, const uint64_t *counters,
			       uint32_t n)
{
	while (c->counted < n)
		c->counters[c->counted++] = 0;
	for (uint32_t i = 0; i < n; i++)
		c->counters[i] += counters[i];
	c->client = client;
}

void vgpu_commit_counters(const struct vgpu_fetcher *f, struct vgpu_commits *c, uint32_t client,
			  uint64_t *counters, uint32_t n)
{
	if (!f->several || (c->counted && c->client != client))
		count_now(f, client, counters, n);
	else
		count_with_commits(c, client, counters, n);
	memset(counters, 0, n * sizeof(*counters));
}

void vgpu_commits_move(struct vgpu_commits *to, struct vgpu_commits *from)
{
	memcpy(to->commit, from->commit, from->count * sizeof(to->commit[0]));
	memcpy(to->counters, from->counters, from->counted * sizeof(to->counters[0]));
	to->count = from->count;
	to->client = from->client;
	to->counted = from->counted;
	from->count = 0;
	from->counted = 0;
}

void vgpu_commit_all(const struct vgpu_fetcher *f, struct vgpu_commits *c)
{
	struct vb_ioc_exchange x = { .size = sizeof(x), .flags = VB_FETCH_F_NOWAIT };

	if (c->count || c->counted)
		exchange(f, c, &x);
}

bool vgpu_fetch_may(const struct vgpu_fetcher *f, int wait_ms)
{
	struct pollfd p = { .events = POLLIN };

	/* In process nobody can tell without taking it. */
	if (!f->several)
		return true;
	p.fd = f->node->ops->fd(f->node);
	return poll(&p, 1, wait_ms);
}

void vgpu_fetch_stop(const struct vgpu_fetcher *f)
{
	struct vb_ioc_exchange x = { .size = sizeof(x), .flags = VB_EXCHANGE_F_STOP };

	if (f->several)
		vgpu_uapi_call(f->node, VB_IOC_EXCHANGE, &x);
}

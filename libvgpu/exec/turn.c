// SPDX-License-Identifier: MIT
#include "turn.h"

static struct vgpu_turn_client *client_find(struct vgpu_turns *t, uint32_t number)
{
	for (uint32_t i = 0; i < t->used; i++) {
		if (t->client[i].number == number)
			return &t->client[i];
	}
	return NULL;
}

/* Of those without jobs the one that is furthest behind: it loses least. */
static struct vgpu_turn_client *client_idle(struct vgpu_turns *t)
{
	struct vgpu_turn_client *idle = NULL;

	for (uint32_t i = 0; i < t->used; i++) {
		struct vgpu_turn_client *c = &t->client[i];

		if (!c->jobs && (!idle || c->share.member.place < idle->share.member.place))
			idle = c;
	}
	return idle;
}

/* It is known from now on; there are more entries than jobs. */
static struct vgpu_turn_client *client_of(struct vgpu_turns *t, uint32_t number)
{
	struct vgpu_turn_client *c = client_find(t, number);

	if (c)
		return c;
	c = client_idle(t);
	/* One that has had no more than others is as good as unknown. */
	if (!c || (c->share.member.place > t->clients.clock && t->used < VGPU_TURN_CLIENTS))
		c = &t->client[t->used++];
	*c = (struct vgpu_turn_client){
		.share.member.weight = VB_QUEUE_WEIGHT_DEFAULT, .number = number,
	};
	return c;
}

void vgpu_turn_join(struct vgpu_turns *t, struct vgpu_job *job)
{
	struct vgpu_turn_client *c = client_of(t, job->req.out_client);

	c->jobs++;
	job->share = (struct vb_share_queue){
		.client = &c->share, .member.weight = job->req.out_weight,
	};
}

void vgpu_turn_leave(struct vgpu_turns *t, struct vgpu_job *job)
{
	vb_share_remove(&t->clients, &job->share);
	container_of(job->share.client, struct vgpu_turn_client, share)->jobs--;
}

void vgpu_turn_ready(struct vgpu_turns *t, struct vgpu_job *job)
{
	vb_share_add(&t->clients, &job->share);
}

struct vgpu_job *vgpu_turn_take(struct vgpu_turns *t)
{
	struct vb_share_queue *share = vb_share_next(&t->clients);

	if (!share)
		return NULL;
	vb_share_start(&t->clients, share);
	return container_of(share, struct vgpu_job, share);
}

void vgpu_turn_end(struct vgpu_turns *t, struct vgpu_job *job, uint64_t busy_ns)
{
	vb_share_end(&t->clients, &job->share, busy_ns);
}

void vgpu_turn_charge(struct vgpu_turns *t, uint32_t client, uint64_t busy_ns)
{
	struct vgpu_turn_client *c = client_of(t, client);

	vb_share_charge(&t->clients, &c->share, busy_ns);
	c->owed_ns += busy_ns;
}

uint64_t vgpu_turn_owed(struct vgpu_turns *t, uint32_t client)
{
	struct vgpu_turn_client *c = client_find(t, client);
	uint64_t owed_ns = c ? c->owed_ns : 0;

	if (c)
		c->owed_ns = 0;
	return owed_ns;
}

bool vgpu_turn_may_ask(struct vgpu_turns *t, uint32_t client)
{
	struct vgpu_turn_client *c = client_find(t, client);

	return !c || !vb_share_is_ahead(&t->clients, &c->share);
}

uint64_t vgpu_turn_round(struct vgpu_turns *t, uint32_t client, uint64_t first)
{
	struct vgpu_turn_client *c = client_of(t, client);
	uint64_t least = first == UINT64_MAX ? t->round : first;

	/* One of which nothing was heard for long has not saved what it did not ask for. */
	c->round = c->round >= least ? c->round + 1 : least;
	t->round = t->round > c->round ? t->round : c->round;
	return c->round;
}

void vgpu_turn_begin_pass(struct vgpu_turns *t)
{
	t->pass++;
}

void vgpu_turn_failed(struct vgpu_turns *t, uint32_t client)
{
	struct vgpu_turn_client *c = client_of(t, client);

	c->failed = c->pass == t->pass ? c->failed + 1 : 1;
	c->pass = t->pass;
}

bool vgpu_turn_may_fail(struct vgpu_turns *t, uint32_t client)
{
	struct vgpu_turn_client *c = client_find(t, client);

	return !c || c->pass != t->pass || c->failed < VGPU_TURN_FAILED_MAX ||
	       t->pass % VGPU_TURN_PASSES == 0;
}

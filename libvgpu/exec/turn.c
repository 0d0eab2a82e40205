// SPDX-License-Identifier: MIT
#include "turn.h"

/* The client's entry while it has jobs, or NULL; @unused: one that no client has. */
static struct vgpu_turn_client *client_find(struct vgpu_turns *t, uint32_t number,
					    struct vgpu_turn_client **unused)
{
	*unused = &t->client[t->used];
	for (uint32_t i = 0; i < t->used; i++) {
		struct vgpu_turn_client *c = &t->client[i];

		if (c->jobs && c->number == number)
			return c;
		if (!c->jobs)
			*unused = c;
	}
	return NULL;
}

/* There are as many as jobs. */
static struct vgpu_turn_client *client_of(struct vgpu_turns *t, uint32_t number)
{
	struct vgpu_turn_client *unused = NULL, *c = client_find(t, number, &unused);

	if (c)
		return c;
	*unused = (struct vgpu_turn_client){
		.share.member.weight = VB_QUEUE_WEIGHT_DEFAULT, .number = number,
	};
	if (unused == &t->client[t->used])
		t->used++;
	return unused;
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
	while (t->used && !t->client[t->used - 1].jobs)
		t->used--;
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
	struct vgpu_turn_client *unused, *c = client_find(t, client, &unused);

	if (c)
		vb_share_charge(&t->clients, &c->share, busy_ns);
}

// SPDX-License-Identifier: MIT
/*
 * Steps of the residency table.  The core says what a step does to an entry; here
 * the difference between before and after is charged: to the object, to its
 * client, to the arena.  Nothing else in the loopback writes an entry or gives a
 * slot back, so what is accounted is what the table says.
 */
#include "uapi_loop.h"

#include <stdlib.h>

static bool is_held(const struct vb_table_entry *e)
{
	return e->pins || e->maps;
}

static bool is_device_only(const struct vb_table_entry *e)
{
	return e->valid == 1u << VB_TIER_DEVICE;
}

static void count_pinned(struct vgpu_loop *loop, const struct vb_table_entry *e, int sign)
{
	if (is_held(e) && e->loc[VB_TIER_HOST] != VB_LOC_NONE)
		loop->arenas[VB_LOC_ARENA(e->loc[VB_TIER_HOST])].pinned += (u64)(s64)sign;
}

/* Add (or take, @sign -1) what an entry stands for. */
static void account_locked(struct loop_object *o, const struct vb_table_entry *e, int sign)
{
	u64 n = (u64)(s64)sign;

	for (u32 tier = 0; tier < VB_TIER_COUNT; tier++)
		if (e->valid & 1u << tier)
			o->tier_chunks[tier] += n;
	if (e->flags & VB_ENTRY_DIRTY)
		o->dirty += n;
	if (is_device_only(e))
		o->device_only += n;
	count_pinned(o->client->loop, e, sign);
}

static void slot_give_locked(struct loop_object *o, u32 loc)
{
	struct vgpu_loop *loop = o->client->loop;
	u32 arena = VB_LOC_ARENA(loc);

	vgpu_loop_slot_give_locked(loop, loc);
	o->slots--;
	o->client->slots[arena]--;
	vgpu_loop_limit_unslot_locked(o->client, loop->arenas[arena].tier);
}

static void slots_free_locked(struct loop_object *o, const struct vb_chunk_freed *freed)
{
	for (u32 i = 0; i < freed->count; i++)
		slot_give_locked(o, freed->loc[i]);
}

/* After a step: @before is the entry as it was. */
static void settle_locked(struct loop_object *o, u32 chunk, const struct vb_table_entry *before,
			  const struct vb_chunk_freed *freed)
{
	account_locked(o, before, -1);
	account_locked(o, &o->table[chunk], 1);
	slots_free_locked(o, freed);
}

int vgpu_loop_chunk_map_locked(struct loop_object *o, u32 chunk, bool write)
{
	struct vb_table_entry before = o->table[chunk];
	struct vb_chunk_freed freed = { .count = 0 };
	int rc;

	rc = vb_chunk_map(&o->table[chunk], &o->traits, write, &freed);
	if (rc)
		return rc;
	settle_locked(o, chunk, &before, &freed);
	return 0;
}

void vgpu_loop_chunk_unmap_locked(struct loop_object *o, u32 chunk)
{
	struct vb_table_entry before = o->table[chunk];
	struct vb_chunk_freed freed = { .count = 0 };

	if (!vb_chunk_unmap(&o->table[chunk]))
		settle_locked(o, chunk, &before, &freed);
}

int vgpu_loop_chunk_pin_locked(struct loop_object *o, u32 chunk)
{
	struct vb_table_entry before = o->table[chunk];
	struct vb_chunk_freed freed = { .count = 0 };
	int rc;

	rc = vb_chunk_pin(&o->table[chunk]);
	if (!rc)
		settle_locked(o, chunk, &before, &freed);
	return rc;
}

int vgpu_loop_chunk_unpin_locked(struct loop_object *o, u32 chunk)
{
	struct vb_table_entry before = o->table[chunk];
	struct vb_chunk_freed freed = { .count = 0 };
	int rc;

	rc = vb_chunk_unpin(&o->table[chunk]);
	if (!rc)
		settle_locked(o, chunk, &before, &freed);
	return rc;
}

/* ---- moves that run ---- */

static u32 move_bucket(const struct loop_object *o, u32 chunk)
{
	return (o->id * 2654435761u ^ chunk * 0x9e3779b1u) % LOOP_MOVE_BUCKETS;
}

static struct loop_move *move_find(struct loop_object *o, u32 chunk)
{
	struct loop_move *m;

	LIST_FOREACH(m, &o->client->loop->moves[move_bucket(o, chunk)], link)
		if (m->object == o && m->chunk == chunk)
			return m;
	return NULL;
}

static void move_end_locked(struct vgpu_loop *loop, struct loop_move *m)
{
	LIST_REMOVE(m, link);
	m->object->moves--;
	free(m);
	if (loop->move_waiters)
		pthread_cond_broadcast(&loop->moved_cond);
}

int vgpu_loop_move_wait_locked(struct vgpu_loop *loop, u64 deadline_ns)
{
	int rc;

	if (!vgpu_loop_is_live(loop))
		return -ENODEV;
	loop->move_waiters++;
	rc = vgpu_loop_sleep_locked(loop, &loop->moved_cond, deadline_ns);
	loop->move_waiters--;
	return rc;
}

/* ---- the object goes, or the executor ---- */

static void release_one_locked(struct loop_object *o, u32 chunk)
{
	struct vb_table_entry before = o->table[chunk];
	struct vb_chunk_freed freed = { .count = 0 };

	if (!vb_chunk_release(&o->table[chunk], &freed))
		settle_locked(o, chunk, &before, &freed);
}

void vgpu_loop_chunks_release_locked(struct loop_object *o)
{
	for (u32 chunk = 0; o->slots && chunk < o->chunks; chunk++)
		if (o->table[chunk].valid)
			release_one_locked(o, chunk);
}

static void lose_one_locked(struct loop_object *o, u32 chunk)
{
	struct loop_move *m = o->moves ? move_find(o, chunk) : NULL;

	for (u8 tier = 0; tier < VB_TIER_COUNT; tier++) {
		struct vb_table_entry before = o->table[chunk];
		struct vb_chunk_freed freed = { .count = 0 };

		if (!vb_chunk_lose(&o->table[chunk], &o->traits, tier,
				   m ? m->loc : VB_LOC_NONE, &freed))
			settle_locked(o, chunk, &before, &freed);
		if (m && !o->table[chunk].busy) {
			move_end_locked(o->client->loop, m);
			m = NULL;
		}
	}
}

void vgpu_loop_chunks_lose_locked(struct loop_object *o)
{
	for (u32 chunk = 0; o->slots && chunk < o->chunks; chunk++)
		if (o->table[chunk].valid || o->table[chunk].busy)
			lose_one_locked(o, chunk);
}

/* ---- VB_IOC_MOVE ---- */

/* A client at its maximum gives something up before it gets more. */
static int slot_take_locked(struct loop_object *o, const struct vb_move *mv, u32 *out)
{
	struct loop_client *c = o->client;
	int rc;

	rc = vgpu_loop_limit_slot_locked(c, mv->to, mv->from);
	if (rc)
		return rc;
	rc = vgpu_loop_slot_take_locked(c->loop, mv->to, mv->arena, mv->slot, out);
	if (rc) {
		vgpu_loop_limit_unslot_locked(c, mv->to);
		return rc;
	}
	o->slots++;
	c->slots[VB_LOC_ARENA(*out)]++;
	return 0;
}

static int move_begin_locked(struct loop_object *o, struct vb_move *mv)
{
	struct vgpu_loop *loop = o->client->loop;
	struct loop_move *m;
	int rc;

	if (o->gone)
		return -ESTALE;
	m = malloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	rc = slot_take_locked(o, mv, &m->loc);
	if (rc)
		goto err_free;
	rc = vb_chunk_begin(&o->table[mv->chunk], &o->traits, mv->from, mv->to, m->loc);
	if (rc)
		goto err_give;
	m->object = o;
	m->chunk = mv->chunk;
	m->from = mv->from;
	m->to = mv->to;
	mv->slot = VB_LOC_SLOT(m->loc);
	o->shown = true;
	o->moves++;
	LIST_INSERT_HEAD(&loop->moves[move_bucket(o, mv->chunk)], m, link);
	return 0;

err_give:
	slot_give_locked(o, m->loc);
err_free:
	free(m);
	return rc;
}

static int move_finish_locked(struct loop_object *o, const struct vb_move *mv)
{
	struct vb_table_entry before = o->table[mv->chunk];
	struct loop_move *m = move_find(o, mv->chunk);
	struct vb_chunk_freed freed = { .count = 0 };
	const u32 *crc = mv->flags & VB_MOVE_F_CRC ? &mv->crc : NULL;
	int rc;

	if (!m)
		return -EINVAL;
	if (mv->op == VB_MOVE_COMMIT)
		rc = vb_chunk_commit(&o->table[mv->chunk], &o->traits, mv->from, mv->to,
				     m->loc, crc, &freed);
	else
		rc = vb_chunk_abort(&o->table[mv->chunk], &o->traits, mv->from, mv->to,
				    m->loc, &freed);
	if (rc)
		return rc;
	settle_locked(o, mv->chunk, &before, &freed);
	if (mv->flags & VB_MOVE_F_BAD)
		vgpu_loop_slot_retire_locked(o->client->loop, m->loc);
	move_end_locked(o->client->loop, m);
	return 0;
}

static int move_drop_locked(struct loop_object *o, const struct vb_move *mv)
{
	struct vb_table_entry before = o->table[mv->chunk];
	struct vb_chunk_freed freed = { .count = 0 };
	int rc;

	if (mv->op == VB_MOVE_DROP)
		rc = vb_chunk_drop(&o->table[mv->chunk], &o->traits, mv->from, &freed);
	else
		rc = vb_chunk_write(&o->table[mv->chunk], &o->traits, mv->to, &freed);
	if (!rc)
		settle_locked(o, mv->chunk, &before, &freed);
	return rc;
}

static int move_one_locked(struct vgpu_loop *loop, struct vb_move *mv)
{
	struct loop_object *o = vgpu_loop_ids_find(&loop->objects, mv->object);
	int rc;

	if (!vb_move_is_valid(mv))
		return -EINVAL;
	if (!o)
		return -ESTALE;
	if (mv->chunk >= o->chunks)
		return -ERANGE;
	switch (mv->op) {
	case VB_MOVE_BEGIN:
		rc = move_begin_locked(o, mv);
		break;
	case VB_MOVE_COMMIT:
	case VB_MOVE_ABORT:
		rc = move_finish_locked(o, mv);
		break;
	case VB_MOVE_DROP:
	case VB_MOVE_WRITE:
		rc = move_drop_locked(o, mv);
		break;
	case VB_MOVE_RECORD:
		rc = vb_chunk_record(&o->table[mv->chunk], &o->traits, mv->to, mv->crc);
		break;
	default:
		return -EINVAL;
	}
	if (!rc)
		o->table[mv->chunk].last_use = (u32)loop->clock;
	return rc;
}

int vgpu_loop_move(struct loop_exec *x, void *arg)
{
	struct vb_ioc_move *cmd = arg;
	struct vb_move *mv = (struct vb_move *)(uintptr_t)cmd->address;
	struct vgpu_loop *loop = x->loop;
	int rc = 0;

	if (cmd->count && !mv)
		return -EFAULT;
	cmd->out_failed = 0;
	pthread_mutex_lock(&loop->lock);
	if (cmd->generation != loop->generation)
		rc = -ESTALE;
	for (u32 i = 0; !rc && i < cmd->count; i++) {
		mv[i].out_status = move_one_locked(loop, &mv[i]);
		cmd->out_failed += mv[i].out_status != 0;
	}
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

// SPDX-License-Identifier: MIT
/*
 * Every entry times every step, against the model of copies in chunk_model.h; then
 * real walks with slots, where stale reads and slots named twice would show.
 */
#include <core/chunk.h>
#include <core/slots.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "chunk_model.h"

#define CRC_KNOWN	0x1234u
#define CRC_OTHER	0x4321u

enum event {
	EV_BEGIN, EV_COMMIT, EV_ABORT, EV_DROP, EV_WRITE, EV_MAP, EV_UNMAP, EV_PIN,
	EV_UNPIN, EV_LOSE, EV_RELEASE, EV_COUNT
};

/* One step with all its arguments; what an event does not use is 0. */
struct step {
	enum event event;
	u8 from, to;		/* DROP, WRITE, LOSE: tier in @to; MAP: write in @to */
	u32 loc;
	int crc;		/* COMMIT: 0 none, 1 as recorded, 2 another */
};

static int run(struct vb_table_entry *e, const struct vb_chunk_traits *t,
	       const struct step *s, struct vb_chunk_freed *freed)
{
	u32 crc = s->crc == 2 ? CRC_OTHER : CRC_KNOWN;

	freed->count = 0;
	switch (s->event) {
	case EV_BEGIN:
		return vb_chunk_begin(e, t, s->from, s->to, s->loc);
	case EV_COMMIT:
		return vb_chunk_commit(e, t, s->from, s->to, s->loc, s->crc ? &crc : NULL,
				       freed);
	case EV_ABORT:
		return vb_chunk_abort(e, t, s->from, s->to, s->loc, freed);
	case EV_DROP:
		return vb_chunk_drop(e, t, s->to, freed);
	case EV_WRITE:
		return vb_chunk_write(e, t, s->to, freed);
	case EV_MAP:
		return vb_chunk_map(e, t, s->to, freed);
	case EV_UNMAP:
		return vb_chunk_unmap(e);
	case EV_PIN:
		return vb_chunk_pin(e);
	case EV_UNPIN:
		return vb_chunk_unpin(e);
	case EV_LOSE:
		return vb_chunk_lose(e, t, s->to, s->loc, freed);
	default:
		return vb_chunk_release(e, freed);
	}
}

static int run_model(struct model *m, const struct step *s)
{
	bool slot = s->loc != VB_LOC_NONE;

	switch (s->event) {
	case EV_BEGIN:
		return model_begin(m, s->from, s->to, slot);
	case EV_COMMIT:
		return model_commit(m, s->from, s->to, slot, s->crc, s->crc == 1);
	case EV_ABORT:
		return model_abort(m, s->from, s->to, slot);
	case EV_DROP:
		return model_drop(m, s->to);
	case EV_WRITE:
		return model_write(m, s->to);
	case EV_MAP:
		return model_map(m, s->to);
	case EV_UNMAP:
		return model_unmap(m);
	case EV_PIN:
		return model_hold(m, &m->pins);
	case EV_UNPIN:
		return model_unpin(m);
	case EV_LOSE:
		return model_lose(m, s->to, slot);
	default:
		return model_release(m);
	}
}

/* All steps there are, with arguments in and just out of range. */
static size_t all_steps(struct step *out, u32 loc)
{
	const u32 locs[] = { VB_LOC_NONE, loc };
	size_t n = 0, l;
	u8 from, to;
	int crc;

	for (l = 0; l < 2; l++) {
		for (from = 0; from <= VB_TIER_ZERO + 1; from++)
			for (to = 0; to <= VB_TIER_COUNT; to++) {
				out[n++] = (struct step) { EV_BEGIN, from, to, locs[l], 0 };
				out[n++] = (struct step) { EV_ABORT, from, to, locs[l], 0 };
				for (crc = 0; crc < 3; crc++)
					out[n++] = (struct step) { EV_COMMIT, from, to,
								   locs[l], crc };
			}
		for (to = 0; to <= VB_TIER_COUNT; to++)
			out[n++] = (struct step) { EV_LOSE, 0, to, locs[l], 0 };
	}
	for (to = 0; to <= VB_TIER_COUNT; to++) {
		out[n++] = (struct step) { EV_DROP, 0, to, 0, 0 };
		out[n++] = (struct step) { EV_WRITE, 0, to, 0, 0 };
	}
	for (to = 0; to < 2; to++)
		out[n++] = (struct step) { EV_MAP, 0, to, 0, 0 };
	out[n++] = (struct step) { EV_UNMAP, 0, 0, 0, 0 };
	out[n++] = (struct step) { EV_PIN, 0, 0, 0, 0 };
	out[n++] = (struct step) { EV_UNPIN, 0, 0, 0, 0 };
	out[n++] = (struct step) { EV_RELEASE, 0, 0, 0, 0 };
	return n;
}
#define STEPS_MAX	512
#define MOVE_SLOT	77u

/* Does the table say what the model says? */
static bool agrees(const struct vb_table_entry *e, const struct model *m)
{
	int tier;

	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		if ((e->loc[tier] != VB_LOC_NONE) != (m->copy[tier] != NO_COPY))
			return false;
	return e->valid == model_valid(m) && e->busy == model_busy(m) &&
	       e->flags == model_flags(m) && e->pins == m->pins && e->maps == m->maps &&
	       !e->__reserved;
}

/* Slots are never lost: each is in the entry, in the move, or handed back, once. */
static bool slots_add_up(const struct vb_table_entry *before, const struct vb_table_entry *after,
			 u32 loc, const struct vb_chunk_freed *freed)
{
	u64 had = 0, has = 0, sum_had = 0, sum_has = 0;
	u32 i;

	for (i = 0; i < VB_TIER_COUNT; i++) {
		had += before->loc[i] != VB_LOC_NONE;
		sum_had += before->loc[i];
		has += after->loc[i] != VB_LOC_NONE;
		sum_has += after->loc[i];
	}
	for (i = 0; i < freed->count; i++) {
		if (freed->loc[i] == VB_LOC_NONE)
			return false;
		has++;
		sum_has += freed->loc[i];
	}
	/* The slot of a move counts from the begin that was accepted. */
	if (before->busy || after->busy) {
		had++;
		sum_had += loc;
	}
	if (after->busy) {
		has++;
		sum_has += loc;
	}
	return had == has && sum_had == sum_has;
}

/* The invariants of chunk.h, said in the terms of the model. */
static bool invariants_hold(const struct vb_table_entry *e, const struct model *m)
{
	int tier;

	/* 1 */
	if (!m->lost && m->t.kind != VB_BO_IMPORTED && !model_can_read(m, 7))
		return false;
	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		if (m->copy[tier] != NO_COPY && m->copy[tier] != m->current)
			return false;
	/* 2 */
	if (m->writers && !m->lost && (e->valid != 1 << VB_TIER_HOST || m->from != NOT_MOVING))
		return false;
	/* 4 */
	if (model_from_file(m) && (e->flags & VB_ENTRY_DIRTY || e->loc[VB_TIER_NVME]))
		return false;
	/* 5 */
	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		if (e->loc[tier] && (e->loc[tier] == e->loc[(tier + 1) % 3] ||
				     e->loc[tier] == e->loc[(tier + 2) % 3]))
			return false;
	return true;
}

/* 3: nobody but a loss or the end of the object takes a held host slot away. */
static bool held_slot_stays(const struct vb_table_entry *before,
			    const struct vb_table_entry *after, enum event event)
{
	if (event == EV_LOSE || event == EV_RELEASE || !(before->pins || before->maps))
		return true;
	return before->loc[VB_TIER_HOST] == VB_LOC_NONE ||
	       before->loc[VB_TIER_HOST] == after->loc[VB_TIER_HOST];
}

static void explain(const struct vb_table_entry *e, const struct vb_chunk_traits *t,
		    const struct step *s, int got, int wanted)
{
	print_error("kind %u life %u sealed %d valid %x busy %u flags %x pins %u maps %u: "
		    "event %d %u->%u loc %x crc %d: %d, model %d\n", t->kind, t->life,
		    t->sealed, e->valid, e->busy, e->flags, e->pins, e->maps, s->event,
		    s->from, s->to, s->loc, s->crc, got, wanted);
}

/* One step on one entry, judged; false when anything is wrong. */
static bool step_is_right(const struct vb_table_entry *before, const struct vb_chunk_traits *t,
			  const struct step *s, struct vb_table_entry *after, int *rc)
{
	struct vb_table_entry e = *before;
	struct model m = model_of(before, t);
	bool sound = model_is_sound(&m) && agrees(before, &m);
	struct vb_chunk_freed freed;
	int wanted = 0;
	bool ok = true;

	*rc = run(&e, t, s, &freed);
	*after = e;
	if (*rc)
		ok = !freed.count && !memcmp(&e, before, sizeof(e));
	/* Whatever the entry says, what has a source is never written out. */
	else if (s->event == EV_BEGIN && s->to == VB_TIER_NVME)
		ok = t->kind == VB_BO_ANONYMOUS;
	if (sound) {
		wanted = run_model(&m, s);
		ok = ok && *rc == wanted && agrees(&e, &m);
		if (!*rc)
			ok = ok && invariants_hold(&e, &m) && model_is_sound(&m) &&
			     held_slot_stays(before, &e, s->event) &&
			     slots_add_up(before, &e, VB_LOC(0, MOVE_SLOT), &freed);
	}
	if (!ok)
		explain(before, t, s, *rc, wanted);
	return ok;
}

static struct vb_table_entry entry_of(u32 bits, u32 busy)
{
	struct vb_table_entry e = {
		.valid = bits & 7, .flags = bits >> 3 & 31, .pins = bits >> 8 & 1,
		.maps = bits >> 9 & 1, .busy = (u8)busy, .crc = CRC_KNOWN,
		.last_use = 5, .generation = 9,
	};
	u32 tier;

	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		if (e.valid >> tier & 1)
			e.loc[tier] = VB_LOC(tier, 10 + tier);
	return e;
}

static void chunk_every_entry_and_step_agrees_with_the_model(void **state)
{
	static struct step steps[STEPS_MAX];
	size_t n = all_steps(steps, VB_LOC(0, MOVE_SLOT)), s, sound = 0, total = 0, bad = 0;
	struct vb_table_entry e, after;
	struct vb_chunk_traits t;
	u32 kind, life, seal, bits, move;
	struct model m;
	int rc;

	(void)state;
	assert_true(n < STEPS_MAX);
	for (kind = VB_BO_ANONYMOUS; kind <= VB_BO_IMPORTED; kind++)
		for (life = 0; life < 3; life++)
			for (seal = 0; seal < 2; seal++)
				for (bits = 0; bits < 1u << 10; bits++)
					for (move = 0; move < 16; move++) {
						t = (struct vb_chunk_traits) { kind, life, seal };
						e = entry_of(bits, move ? 1 + (move - 1) / 3 * 8 +
								   (move - 1) % 3 : 0);
						m = model_of(&e, &t);
						total++;
						sound += model_is_sound(&m) && agrees(&e, &m);
						for (s = 0; s < n && bad < 5; s++)
							bad += !step_is_right(&e, &t, &steps[s],
									      &after, &rc);
					}
	print_message("# %zu entries (%zu sound) x %zu steps\n", total, sound, n);
	assert_int_equal(bad, 0);
	assert_true(sound > 500);
}

/*
 * Reachability: from nothing, by steps that were accepted, with up to two pins and
 * two mappings, and seals between them.
 */
#define KEYS	(1u << 21)

static u32 key_of(const struct vb_table_entry *e, bool sealed)
{
	return e->valid | (u32)e->flags << 3 | (u32)e->busy << 8 | (u32)e->pins << 14 |
	       (u32)e->maps << 16 | (u32)sealed << 18;
}

static struct vb_table_entry entry_of_key(u32 key)
{
	struct vb_table_entry e = entry_of(key & 0xff, key >> 8 & 63);

	e.pins = key >> 14 & 3;
	e.maps = key >> 16 & 3;
	return e;
}

struct walk {
	u8 seen[KEYS];
	u32 queue[KEYS];
	u32 head, tail;
	bool states[VB_CHUNK_STATES];
};

static void walk_visit(struct walk *w, const struct vb_table_entry *e, bool sealed)
{
	u32 key = key_of(e, sealed);

	if (w->seen[key] || e->pins > 2 || e->maps > 2)
		return;
	w->seen[key] = 1;
	w->queue[w->tail++] = key;
}

static void walk_expand(struct walk *w, u32 key, struct vb_chunk_traits t,
			const struct step *steps, size_t n)
{
	struct vb_table_entry e = entry_of_key(key), after;
	struct model m;
	size_t s;
	int rc;

	t.sealed |= key >> 18 & 1;
	m = model_of(&e, &t);
	assert_true(model_is_sound(&m) && agrees(&e, &m));
	w->states[vb_chunk_state(&e, &t)] = true;
	for (s = 0; s < n; s++) {
		assert_true(step_is_right(&e, &t, &steps[s], &after, &rc));
		if (!rc)
			walk_visit(w, &after, t.sealed);
	}
	/* What seals may be: no writable mapping, no pin (the BO's rule). */
	if (!t.sealed && !e.pins && !(e.flags & VB_ENTRY_MAP_WRITE) && !e.busy)
		walk_visit(w, &e, true);
}

static u32 walk_all(struct walk *w, u8 kind, u8 life)
{
	struct vb_chunk_traits t = { kind, life, kind != VB_BO_ANONYMOUS };
	static struct step steps[STEPS_MAX];
	size_t n = all_steps(steps, VB_LOC(0, MOVE_SLOT));
	struct vb_table_entry zero = entry_of(0, 0);

	memset(w->seen, 0, sizeof(w->seen));
	w->head = w->tail = 0;
	walk_visit(w, &zero, t.sealed);
	while (w->head < w->tail)
		walk_expand(w, w->queue[w->head++], t, steps, n);
	return w->tail;
}

static void chunk_every_reachable_entry_is_sound(void **state)
{
	static struct walk w;
	u32 life, reached;

	(void)state;
	for (life = 0; life < 3; life++) {
		reached = walk_all(&w, VB_BO_ANONYMOUS, (u8)life);
		print_message("# anonymous, life %u: %u entries reached\n", life, reached);
		assert_true(reached > 100);
	}
	reached = walk_all(&w, VB_BO_FILE, VB_LIFE_VOLATILE);
	assert_true(reached > 30);
	assert_int_equal(walk_all(&w, VB_BO_DERIVED, VB_LIFE_VOLATILE), reached);
	assert_int_equal(walk_all(&w, VB_BO_IMPORTED, VB_LIFE_VOLATILE), 1);
	for (life = 0; life < VB_CHUNK_STATES; life++)
		assert_true(w.states[life]);
}

/*
 * The long walk: several chunks share arenas of real slots with content in them.
 * Executor, clients and hardware do what they like; the host must always read as
 * last written, wherever the bytes have been meanwhile.
 */
#define CHUNKS		6u
#define SLOTS		9u
#define GARBAGE		(-7)

struct world {
	struct vb_table_entry e[CHUNKS];
	struct vb_chunk_traits t[CHUNKS];
	u32 loc[CHUNKS];		/* of the running move */
	u8 from[CHUNKS], to[CHUNKS];
	int truth[CHUNKS];		/* content as last written; 0 is zero */
	int sealed_writes[CHUNKS];
	struct vb_slots slots[VB_TIER_COUNT];
	u64 memory[VB_TIER_COUNT][8];
	int content[VB_TIER_COUNT][SLOTS];
	int clock;
	u64 seed;
	u32 accepted;
};

static u32 roll(struct world *w, u32 sides)
{
	w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(w->seed >> 33) % sides;
}

static void world_give(struct world *w, const struct vb_chunk_freed *freed)
{
	u32 i;

	for (i = 0; i < freed->count; i++) {
		u32 arena = VB_LOC_ARENA(freed->loc[i]), slot = VB_LOC_SLOT(freed->loc[i]);

		assert_int_equal(vb_slots_give(&w->slots[arena], slot), 0);
		w->content[arena][slot] = GARBAGE;
	}
}

static int *content_at(struct world *w, u32 loc)
{
	return &w->content[VB_LOC_ARENA(loc)][VB_LOC_SLOT(loc)];
}

static void world_begin(struct world *w, u32 c)
{
	u8 from = (u8)roll(w, 5), to = (u8)roll(w, 3);
	u32 slot = vb_slots_take(&w->slots[to], roll(w, 2));

	if (slot == VB_SLOTS_NONE)
		return;
	if (vb_chunk_begin(&w->e[c], &w->t[c], from, to, VB_LOC(to, slot))) {
		assert_int_equal(vb_slots_give(&w->slots[to], slot), 0);
		return;
	}
	w->accepted++;
	w->from[c] = from;
	w->to[c] = to;
	w->loc[c] = VB_LOC(to, slot);
}

static void world_end(struct world *w, u32 c)
{
	struct vb_chunk_freed freed;
	u8 from = w->from[c];
	u32 crc = (u32)w->truth[c];

	if (!w->e[c].busy)
		return;
	if (!roll(w, 4)) {
		assert_int_equal(vb_chunk_abort(&w->e[c], &w->t[c], from, w->to[c], w->loc[c],
						&freed), 0);
		world_give(w, &freed);
		return;
	}
	if (from == VB_TIER_ZERO)
		*content_at(w, w->loc[c]) = 0;
	else if (from == VB_TIER_SOURCE)
		*content_at(w, w->loc[c]) = w->truth[c];
	else
		*content_at(w, w->loc[c]) = *content_at(w, w->e[c].loc[from]);
	w->sealed_writes[c] += w->t[c].sealed && w->to[c] == VB_TIER_NVME;
	assert_int_equal(vb_chunk_commit(&w->e[c], &w->t[c], from, w->to[c], w->loc[c], &crc,
					 &freed), 0);
	world_give(w, &freed);
}

static void world_write(struct world *w, u32 c, u8 tier)
{
	struct vb_chunk_freed freed;

	if (vb_chunk_write(&w->e[c], &w->t[c], tier, &freed))
		return;
	w->accepted++;
	world_give(w, &freed);
	w->truth[c] = ++w->clock;
	*content_at(w, w->e[c].loc[tier]) = w->truth[c];
}

/* A client that mapped the chunk for writing does so whenever it likes. */
static void world_client_writes(struct world *w, u32 c)
{
	struct vb_table_entry *e = &w->e[c];

	if (!(e->flags & VB_ENTRY_MAP_WRITE) || e->flags & VB_ENTRY_LOST)
		return;
	assert_int_not_equal(e->loc[VB_TIER_HOST], VB_LOC_NONE);
	w->truth[c] = ++w->clock;
	*content_at(w, e->loc[VB_TIER_HOST]) = w->truth[c];
}

static void world_map(struct world *w, u32 c, bool write)
{
	struct vb_chunk_freed freed;

	if (vb_chunk_map(&w->e[c], &w->t[c], write, &freed))
		return;
	w->accepted++;
	world_give(w, &freed);
	if (write)
		world_client_writes(w, c);
}

static void world_drop(struct world *w, u32 c, u8 tier)
{
	struct vb_chunk_freed freed;

	if (vb_chunk_drop(&w->e[c], &w->t[c], tier, &freed))
		return;
	w->accepted++;
	world_give(w, &freed);
	/* Scratch that nobody holds any more starts over. */
	if (w->t[c].life == VB_LIFE_SCRATCH && !w->e[c].valid)
		w->truth[c] = 0;
}

static void world_lose(struct world *w, u32 c, u8 tier)
{
	bool held = w->e[c].pins || w->e[c].maps;
	struct vb_chunk_freed freed;

	assert_int_equal(vb_chunk_lose(&w->e[c], &w->t[c], tier,
				       w->e[c].busy ? w->loc[c] : VB_LOC_NONE, &freed), 0);
	world_give(w, &freed);
	if (w->e[c].flags & VB_ENTRY_LOST)
		assert_int_not_equal(w->truth[c], 0);
	if (tier == VB_TIER_NVME)
		w->sealed_writes[c] = 0;
	if (w->t[c].life == VB_LIFE_SCRATCH && !w->e[c].valid && !held &&
	    !(w->e[c].flags & VB_ENTRY_LOST))
		w->truth[c] = 0;
}

static void world_release(struct world *w, u32 c)
{
	struct vb_chunk_freed freed;

	if (vb_chunk_release(&w->e[c], &freed)) {
		assert_int_not_equal(w->e[c].busy, 0);
		return;
	}
	world_give(w, &freed);
	w->t[c].kind = roll(w, 3) ? VB_BO_ANONYMOUS : VB_BO_FILE;
	w->t[c].sealed = w->t[c].kind == VB_BO_FILE;
	w->t[c].life = w->t[c].sealed ? VB_LIFE_VOLATILE : (u8)roll(w, 3);
	w->truth[c] = w->t[c].sealed ? ++w->clock : 0;
	w->sealed_writes[c] = 0;
}

static void world_step(struct world *w)
{
	u32 c = roll(w, CHUNKS);

	switch (roll(w, 40)) {
	case 0 ... 9: world_begin(w, c); break;
	case 10 ... 19: world_end(w, c); break;
	case 20 ... 23: world_write(w, c, (u8)roll(w, 3)); break;
	case 24 ... 25: world_map(w, c, roll(w, 2)); break;
	case 26 ... 28: vb_chunk_unmap(&w->e[c]); break;
	case 29: vb_chunk_pin(&w->e[c]); break;
	case 30 ... 31: vb_chunk_unpin(&w->e[c]); break;
	case 32 ... 33: world_client_writes(w, c); break;
	case 34 ... 36: world_drop(w, c, (u8)roll(w, 3)); break;
	case 37:
		if (!roll(w, 8) && !(w->e[c].flags & VB_ENTRY_MAP_WRITE) && !w->e[c].pins &&
		    !w->e[c].busy)
			w->t[c].sealed = true;
		break;
	case 38:
		if (!roll(w, 4))
			world_lose(w, c, (u8)roll(w, 3));
		break;
	default:
		if (w->e[c].flags & VB_ENTRY_LOST || !roll(w, 8))
			world_release(w, c);
	}
}

/* Every valid copy reads as last written, every slot has exactly one owner. */
static void world_check(struct world *w)
{
	u8 owned[VB_TIER_COUNT][SLOTS] = { { 0 } };
	u32 c, tier, slot, used;

	for (c = 0; c < CHUNKS; c++) {
		for (tier = 0; tier < VB_TIER_COUNT; tier++) {
			u32 loc = w->e[c].loc[tier];

			if (loc == VB_LOC_NONE)
				continue;
			assert_int_equal(VB_LOC_ARENA(loc), tier);
			assert_int_equal(owned[tier][VB_LOC_SLOT(loc)]++, 0);
			assert_int_equal(*content_at(w, loc), w->truth[c]);
		}
		if (w->e[c].busy)
			assert_int_equal(owned[w->to[c]][VB_LOC_SLOT(w->loc[c])]++, 0);
		assert_true(w->sealed_writes[c] <= 1);
		if (!w->e[c].valid && !(w->e[c].flags & VB_ENTRY_LOST) &&
		    w->t[c].kind == VB_BO_ANONYMOUS)
			assert_int_equal(w->truth[c], 0);
	}
	for (tier = 0; tier < VB_TIER_COUNT; tier++) {
		for (slot = used = 0; slot < SLOTS; slot++)
			used += owned[tier][slot];
		assert_int_equal(w->slots[tier].free, SLOTS - used);
	}
}

static void chunk_walk_reads_as_last_written_and_keeps_every_slot(void **state)
{
	static struct world w;
	u32 tier, c, i;

	(void)state;
	w.seed = 20261121;
	for (tier = 0; tier < VB_TIER_COUNT; tier++) {
		assert_true(vb_slots_bytes(SLOTS) <= sizeof(w.memory[tier]));
		vb_slots_init(&w.slots[tier], SLOTS, w.memory[tier]);
		assert_int_equal(vb_slots_add(&w.slots[tier], 0, SLOTS), 0);
	}
	for (c = 0; c < CHUNKS; c++)
		world_release(&w, c);
	for (i = 0; i < 400000; i++) {
		world_step(&w);
		world_check(&w);
	}
	print_message("# %u steps accepted, %d writes\n", w.accepted, w.clock);
	assert_true(w.accepted > 20000 && w.clock > 5000);
}

static void chunk_pins_and_maps_stop_at_their_limit(void **state)
{
	struct vb_chunk_traits t = { VB_BO_ANONYMOUS, VB_LIFE_VOLATILE, false };
	struct vb_table_entry e = entry_of(1, 0), before;
	struct vb_chunk_freed freed;
	u32 i;

	(void)state;
	for (i = 0; i < 65535; i++) {
		assert_int_equal(vb_chunk_pin(&e), 0);
		assert_int_equal(vb_chunk_map(&e, &t, i == 0, &freed), 0);
	}
	before = e;
	assert_int_equal(vb_chunk_pin(&e), -EBUSY);
	assert_int_equal(vb_chunk_map(&e, &t, false, &freed), -EBUSY);
	assert_int_equal(vb_chunk_map(&e, &t, true, &freed), -EBUSY);
	assert_memory_equal(&e, &before, sizeof(e));
	for (i = 0; i < 65535; i++) {
		assert_true(e.flags & VB_ENTRY_MAP_WRITE);
		assert_int_equal(vb_chunk_unmap(&e), 0);
		assert_int_equal(vb_chunk_unpin(&e), 0);
	}
	assert_false(e.flags & VB_ENTRY_MAP_WRITE);
	assert_int_equal(vb_chunk_unmap(&e), -EINVAL);
	assert_int_equal(vb_chunk_unpin(&e), -EINVAL);
}

static void chunk_sealed_dirty_content_is_written_once(void **state)
{
	struct vb_chunk_traits t = { VB_BO_ANONYMOUS, VB_LIFE_VOLATILE, false };
	const u32 host = VB_LOC(0, 1), nvme = VB_LOC(1, 2), other = VB_LOC(1, 3);
	struct vb_table_entry e = { 0 };
	struct vb_chunk_freed freed;
	u32 crc = 7;

	(void)state;
	assert_int_equal(vb_chunk_begin(&e, &t, VB_TIER_ZERO, VB_TIER_HOST, host), 0);
	assert_int_equal(vb_chunk_commit(&e, &t, VB_TIER_ZERO, VB_TIER_HOST, host, NULL,
					 &freed), 0);
	assert_int_equal(vb_chunk_write(&e, &t, VB_TIER_HOST, &freed), 0);
	t.sealed = true;
	assert_int_equal(vb_chunk_drop(&e, &t, VB_TIER_HOST, &freed), -EBUSY);
	assert_int_equal(vb_chunk_begin(&e, &t, VB_TIER_HOST, VB_TIER_NVME, nvme), 0);
	assert_int_equal(vb_chunk_commit(&e, &t, VB_TIER_HOST, VB_TIER_NVME, nvme, &crc,
					 &freed), 0);
	assert_int_equal(vb_chunk_drop(&e, &t, VB_TIER_NVME, &freed), -EBUSY);
	assert_int_equal(vb_chunk_begin(&e, &t, VB_TIER_HOST, VB_TIER_NVME, other), -EINVAL);
	assert_int_equal(vb_chunk_begin(&e, &t, VB_TIER_NVME, VB_TIER_NVME, other), -EINVAL);
	assert_int_equal(vb_chunk_drop(&e, &t, VB_TIER_HOST, &freed), 0);
	assert_int_equal(freed.count, 1);
	assert_int_equal(freed.loc[0], host);
	assert_int_equal(vb_chunk_write(&e, &t, VB_TIER_NVME, &freed), -EROFS);
}

static void chunk_that_came_without_a_checksum_has_one_recorded_once(void **state)
{
	struct vb_chunk_traits t = { VB_BO_FILE, VB_LIFE_VOLATILE, true }, anonymous = { 0 };
	struct vb_table_entry e = { 0 };
	struct vb_chunk_freed freed;
	const u32 host = VB_LOC(0, 1);
	u32 crc = 7, other = 8;

	(void)state;
	anonymous.kind = VB_BO_ANONYMOUS;
	assert_int_equal(vb_chunk_record(&e, &t, VB_TIER_HOST, crc), -EINVAL);
	assert_int_equal(vb_chunk_begin(&e, &t, VB_TIER_SOURCE, VB_TIER_HOST, host), 0);
	assert_int_equal(vb_chunk_record(&e, &t, VB_TIER_HOST, crc), -EINVAL);
	assert_int_equal(vb_chunk_commit(&e, &t, VB_TIER_SOURCE, VB_TIER_HOST, host, NULL,
					 &freed), 0);
	assert_int_equal(vb_chunk_record(&e, &t, VB_TIER_DEVICE, crc), -EINVAL);
	assert_int_equal(vb_chunk_record(&e, &t, VB_TIER_COUNT, crc), -EINVAL);
	assert_int_equal(vb_chunk_record(&e, &anonymous, VB_TIER_HOST, crc), -EINVAL);
	assert_int_equal(vb_chunk_record(&e, &t, VB_TIER_HOST, crc), 0);
	assert_int_equal(vb_chunk_record(&e, &t, VB_TIER_HOST, crc), -EINVAL);
	assert_int_equal(vb_chunk_drop(&e, &t, VB_TIER_HOST, &freed), 0);
	assert_int_equal(vb_chunk_begin(&e, &t, VB_TIER_SOURCE, VB_TIER_HOST, host), 0);
	assert_int_equal(vb_chunk_commit(&e, &t, VB_TIER_SOURCE, VB_TIER_HOST, host, &other,
					 &freed), -ESTALE);
	assert_int_equal(vb_chunk_commit(&e, &t, VB_TIER_SOURCE, VB_TIER_HOST, host, &crc,
					 &freed), 0);
}

static void chunk_generation_counts_the_moves_that_ended(void **state)
{
	struct vb_chunk_traits t = { VB_BO_FILE, VB_LIFE_VOLATILE, true };
	struct vb_table_entry e = { 0 };
	struct vb_chunk_freed freed;
	u32 crc = CRC_KNOWN, changed = CRC_OTHER, loc = VB_LOC(0, 4);

	(void)state;
	assert_int_equal(vb_chunk_begin(&e, &t, VB_TIER_SOURCE, VB_TIER_HOST, loc), 0);
	assert_int_equal(e.generation, 0);
	assert_int_equal(vb_chunk_commit(&e, &t, VB_TIER_SOURCE, VB_TIER_HOST, loc, &crc,
					 &freed), 0);
	assert_int_equal(e.generation, 1);
	assert_int_equal(vb_chunk_drop(&e, &t, VB_TIER_HOST, &freed), 0);
	assert_int_equal(vb_chunk_begin(&e, &t, VB_TIER_SOURCE, VB_TIER_HOST, loc), 0);
	assert_int_equal(vb_chunk_commit(&e, &t, VB_TIER_SOURCE, VB_TIER_HOST, loc, &changed,
					 &freed), -ESTALE);
	assert_int_equal(e.crc, CRC_KNOWN);
	assert_int_equal(e.generation, 1);
	assert_int_equal(vb_chunk_abort(&e, &t, VB_TIER_SOURCE, VB_TIER_HOST, loc, &freed), 0);
	assert_int_equal(freed.loc[0], loc);
	assert_int_equal(e.generation, 2);
	assert_int_equal(vb_chunk_begin(&e, &t, VB_TIER_SOURCE, VB_TIER_DEVICE, loc), 0);
	assert_int_equal(vb_chunk_lose(&e, &t, VB_TIER_DEVICE, loc, &freed), 0);
	assert_int_equal(freed.count, 1);
	assert_int_equal(e.generation, 3);
}

/* Who moved it died: any move, and the entry is as it was but for its generation. */
static void chunk_rollback_undoes_any_move(void **state)
{
	static const struct {
		u8 kind, valid, flags, from, to;
	} moves[] = {
		{ VB_BO_ANONYMOUS, 0, 0, VB_TIER_ZERO, VB_TIER_HOST },
		{ VB_BO_FILE, 0, VB_ENTRY_CRC, VB_TIER_SOURCE, VB_TIER_HOST },
		{ VB_BO_ANONYMOUS, 1, VB_ENTRY_DIRTY | VB_ENTRY_TOUCHED, VB_TIER_HOST, VB_TIER_NVME },
		{ VB_BO_ANONYMOUS, 1, VB_ENTRY_DIRTY | VB_ENTRY_TOUCHED, VB_TIER_HOST, VB_TIER_HOST },
		{ VB_BO_ANONYMOUS, 4, VB_ENTRY_TOUCHED, VB_TIER_NVME, VB_TIER_DEVICE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		struct vb_chunk_traits t = { moves[i].kind, VB_LIFE_VOLATILE,
					     moves[i].kind == VB_BO_FILE };
		struct vb_table_entry e = { .valid = moves[i].valid, .flags = moves[i].flags };
		struct vb_table_entry before;
		struct vb_chunk_freed freed;
		u32 loc = VB_LOC(3, 7);

		for (u8 tier = 0; tier < VB_TIER_COUNT; tier++)
			if (e.valid & 1u << tier)
				e.loc[tier] = VB_LOC(tier, 1);
		before = e;
		assert_int_equal(vb_chunk_rollback(&e, loc, &freed), -EINVAL);
		assert_int_equal(vb_chunk_begin(&e, &t, moves[i].from, moves[i].to, loc), 0);
		assert_int_equal(vb_chunk_rollback(&e, VB_LOC_NONE, &freed), -EINVAL);
		assert_int_equal(vb_chunk_rollback(&e, loc, &freed), 0);
		assert_int_equal(freed.count, 1);
		assert_int_equal(freed.loc[0], loc);
		before.generation++;
		assert_memory_equal(&e, &before, sizeof(e));
	}
}

static void chunk_state_has_the_names_of_the_design(void **state)
{
	const struct vb_chunk_traits file = { VB_BO_FILE, VB_LIFE_VOLATILE, true };
	const struct vb_chunk_traits anon = { VB_BO_ANONYMOUS, VB_LIFE_VOLATILE, false };
	static const struct {
		u8 valid, flags, from, to;
		enum vb_chunk_state state;
	} table[] = {
		{ 0, 0, 9, 9, VB_CHUNK_EMPTY },
		{ 1, 0, 9, 9, VB_CHUNK_HOST_CLEAN },
		{ 1, VB_ENTRY_TOUCHED | VB_ENTRY_DIRTY, 9, 9, VB_CHUNK_HOST_DIRTY },
		{ 5, VB_ENTRY_TOUCHED, 9, 9, VB_CHUNK_HOST_CLEAN },
		{ 4, VB_ENTRY_TOUCHED, 9, 9, VB_CHUNK_ABSENT },
		{ 6, VB_ENTRY_TOUCHED, 9, 9, VB_CHUNK_DEVICE },
		{ 0, VB_ENTRY_LOST, 9, 9, VB_CHUNK_LOST },
		{ 0, 0, VB_TIER_ZERO, VB_TIER_HOST, VB_CHUNK_FILLING },
		{ 4, VB_ENTRY_TOUCHED, VB_TIER_NVME, VB_TIER_HOST, VB_CHUNK_FILLING },
		{ 1, VB_ENTRY_TOUCHED | VB_ENTRY_DIRTY, VB_TIER_HOST, VB_TIER_NVME,
		  VB_CHUNK_WRITEBACK },
		{ 1, 0, VB_TIER_HOST, VB_TIER_DEVICE, VB_CHUNK_MIGRATING },
		{ 2, 0, VB_TIER_DEVICE, VB_TIER_HOST, VB_CHUNK_MIGRATING },
		{ 1, 0, VB_TIER_HOST, VB_TIER_HOST, VB_CHUNK_MIGRATING },
		{ 4, VB_ENTRY_TOUCHED, VB_TIER_NVME, VB_TIER_NVME, VB_CHUNK_MIGRATING },
	};
	struct vb_table_entry e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		e = (struct vb_table_entry) { .valid = table[i].valid,
					      .flags = table[i].flags };
		if (table[i].from != 9)
			e.busy = (u8)(1 + table[i].from * 8 + table[i].to);
		assert_int_equal(vb_chunk_state(&e, &anon), table[i].state);
	}
	e = (struct vb_table_entry) { 0 };
	assert_int_equal(vb_chunk_state(&e, &file), VB_CHUNK_ABSENT);
}

static void chunk_that_comes_to_host_memory_is_told_from_one_that_moves(void **state)
{
	static const struct {
		u8 valid, from, to;
		bool coming;
	} table[] = {
		{ 0, VB_TIER_ZERO, VB_TIER_HOST, true },
		{ 0, VB_TIER_SOURCE, VB_TIER_HOST, true },
		{ 4, VB_TIER_NVME, VB_TIER_HOST, true },
		{ 2, VB_TIER_DEVICE, VB_TIER_HOST, true },
		{ 1, VB_TIER_HOST, VB_TIER_HOST, false },
		{ 1, VB_TIER_HOST, VB_TIER_NVME, false },
		{ 1, VB_TIER_HOST, VB_TIER_DEVICE, false },
		{ 0, VB_TIER_ZERO, VB_TIER_DEVICE, false },
		{ 4, VB_TIER_NVME, VB_TIER_NVME, false },
	};
	struct vb_table_entry e = { 0 };

	(void)state;
	assert_false(vb_chunk_is_coming(&e));
	e.valid = 1u << VB_TIER_HOST;
	assert_false(vb_chunk_is_coming(&e));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		e.valid = table[i].valid;
		e.busy = (u8)(1 + table[i].from * 8 + table[i].to);
		assert_int_equal(vb_chunk_is_coming(&e), table[i].coming);
	}
}

/* One bit each, and no other: every entry that differs in one of them. */
static void chunk_residency_has_a_bit_for_each_thing_it_says(void **state)
{
	static const struct {
		struct vb_table_entry e;
		u8 bits;
	} table[] = {
		{ { .valid = 1u << VB_TIER_HOST }, 1 },
		{ { .valid = 1u << VB_TIER_DEVICE }, 2 },
		{ { .valid = 1u << VB_TIER_NVME }, 4 },
		{ { .flags = VB_ENTRY_DIRTY }, 8 },
		{ { .busy = 1 }, 16 },
		{ { .busy = 0xff }, 16 },
		{ { .pins = 1 }, 32 },
		{ { .maps = 1 }, 32 },
		{ { .pins = 7, .maps = 9 }, 32 },
		{ { .flags = VB_ENTRY_LOST }, 64 },
		{ { .flags = VB_ENTRY_TOUCHED | VB_ENTRY_CRC }, 0 },
		{ { .generation = ~0u, .crc = ~0u, .loc = { ~0u, ~0u, ~0u } }, 0 },
		{ { .valid = 7, .flags = 0xff, .busy = 3, .pins = 1, .maps = 1 }, 127 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(vb_chunk_residency(&table[i].e), table[i].bits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunk_every_entry_and_step_agrees_with_the_model),
		cmocka_unit_test(chunk_every_reachable_entry_is_sound),
		cmocka_unit_test(chunk_walk_reads_as_last_written_and_keeps_every_slot),
		cmocka_unit_test(chunk_pins_and_maps_stop_at_their_limit),
		cmocka_unit_test(chunk_sealed_dirty_content_is_written_once),
		cmocka_unit_test(chunk_that_came_without_a_checksum_has_one_recorded_once),
		cmocka_unit_test(chunk_generation_counts_the_moves_that_ended),
		cmocka_unit_test(chunk_rollback_undoes_any_move),
		cmocka_unit_test(chunk_state_has_the_names_of_the_design),
		cmocka_unit_test(chunk_that_comes_to_host_memory_is_told_from_one_that_moves),
		cmocka_unit_test(chunk_residency_has_a_bit_for_each_thing_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * schedule: the declared order of use tells when each chunk is needed next; give up
 * the one needed last, the newcomer included (Belady with bypass).
 *
 * Uses and declaration may differ. A cursor follows the uses:
 *  - the expected key moves it by one;
 *  - a key that comes elsewhere in the sequence is remembered as a candidate, and when
 *    the use after it continues there, the cursor jumps: uses were skipped, or the
 *    sequence was entered at another place;
 *  - a key used a moment ago does not move it;
 *  - a key outside the sequence (an activation, an expert chosen at run time) does not
 *    move it.
 * A chunk whose expected use passed without one is ranked anew when the cursor is past it,
 * and after the second time like a key outside the sequence. Those are ranked among
 * themselves as freq does, and against the others by the mean distance of their uses so far:
 * with no memory of when the last one was, because a choice made at run time has none. When
 * the uses disagree for long, or a finite sequence has ended, every key is ranked so, until
 * they agree again.
 */
#include "exec/policy_schedule.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * A jump is believed when the use after it lies at most this far behind its place, and
 * one no longer than this is not worth counting as a desync.
 */
#define NEAR_USES 64

/*
 * Disagreement that ends following: a use in a wrong order counts STRAY, a use that is
 * skipped one, and each that agrees takes one off; or so many in a row that are not in
 * the sequence at all.
 */
#define STRAY 4
#define STRAYED_MAX 4096
#define UNMATCHED_MAX 4096

/* Agreement that resumes it: so many uses in a row, or half a shorter sequence. */
#define MATCHED_MIN 64

/* An expected use that failed to come this often in a row is no longer counted on. */
#define OVERDUE_MAX 2

static void follow_again(struct vgpu_policy_sched *sched)
{
	sched->following = true;
	sched->strayed = 0;
	vgpu_policy_core_rerank_all(&sched->core);
}

static void follow_no_more(struct vgpu_policy_sched *sched)
{
	sched->following = false;
	sched->matched = 0;
	vgpu_policy_core_rerank_all(&sched->core);
}

static void agreed(struct vgpu_policy_sched *sched)
{
	sched->advanced++;
	sched->unmatched = 0;
	sched->candidate = VGPU_POLICY_NEVER;
	if (sched->strayed)
		sched->strayed--;
	if (!sched->following &&
	    (++sched->matched >= MATCHED_MIN || sched->matched >= (sched->seq.n + 1) / 2))
		follow_again(sched);
}

static void give_up_when_lost(struct vgpu_policy_sched *sched)
{
	if (!sched->following ||
	    (sched->strayed < STRAYED_MAX && sched->unmatched < UNMATCHED_MAX))
		return;
	sched->core.stats.desyncs++;
	follow_no_more(sched);
}

static void disagreed(struct vgpu_policy_sched *sched, uint32_t price)
{
	sched->unmatched++;
	sched->matched = 0;
	sched->strayed += price;
	give_up_when_lost(sched);
}

/* Uses that a jump leaves out: all between the cursor and it, but for the two that led there. */
static uint32_t skipped(const struct vgpu_policy_sched *sched, uint64_t to)
{
	if (to < sched->cursor || to - sched->cursor > NEAR_USES)
		return NEAR_USES;
	return to - sched->cursor > 2 ? (uint32_t)(to - sched->cursor - 2) : 0;
}

/* Going back (a finite sequence entered again) makes every known next use wrong. */
static void jump(struct vgpu_policy_sched *sched, uint64_t to)
{
	bool back = to < sched->cursor;
	bool far = back || to - sched->cursor > NEAR_USES;

	/* The use before, thought astray, and this one came in order after all. */
	sched->strayed -= sched->strayed < STRAY ? sched->strayed : STRAY;
	sched->strayed += skipped(sched, to);
	sched->matched = 0;
	if (sched->following && far)
		sched->core.stats.desyncs++;
	sched->cursor = to;
	agreed(sched);
	if (back && sched->following)
		vgpu_policy_core_rerank_all(&sched->core);
	give_up_when_lost(sched);
}

/* Position of the key from the cursor on, or in a finite sequence from the start. */
static uint64_t locate(const struct vgpu_policy_sched *sched, uint64_t key)
{
	uint64_t at = vgpu_policy_seq_next(&sched->seq, key, sched->cursor);

	return at != VGPU_POLICY_NEVER ? at : vgpu_policy_seq_next(&sched->seq, key, 0);
}

/*
 * Was the key used a moment ago? Two panels that take the same few chunks in turn come
 * back without leaving the sequence; in a cycle that must not look like a whole lap.
 */
static bool is_echo(const struct vgpu_policy_sched *sched, uint64_t key, uint64_t next)
{
	uint64_t from = sched->cursor > NEAR_USES ? sched->cursor - NEAR_USES : 0;
	uint64_t last = vgpu_policy_seq_next(&sched->seq, key, from);

	return last < sched->cursor && sched->cursor - last < next - sched->cursor;
}

static void move_cursor(struct vgpu_policy_sched *sched, uint64_t key)
{
	uint64_t at;

	if (key == vgpu_policy_seq_key(&sched->seq, sched->cursor)) {
		sched->cursor++;
		agreed(sched);
		return;
	}
	if (!vgpu_policy_seq_has(&sched->seq, key)) {
		disagreed(sched, 0);
		return;
	}
	if (sched->candidate != VGPU_POLICY_NEVER) {
		at = vgpu_policy_seq_next(&sched->seq, key, sched->candidate);
		if (at != VGPU_POLICY_NEVER && at - sched->candidate <= NEAR_USES) {
			jump(sched, at + 1);
			return;
		}
	}
	at = locate(sched, key);
	if (is_echo(sched, key, at)) {
		disagreed(sched, 0);
		return;
	}
	sched->candidate = at + 1;
	disagreed(sched, STRAY);
}

static bool is_timed(const struct vgpu_policy_sched *sched, uint64_t key)
{
	return sched->following && vgpu_policy_seq_has(&sched->seq, key);
}

static uint64_t sched_rank(const struct vgpu_policy_core *core, struct vgpu_policy_slot *slot)
{
	const struct vgpu_policy_sched *sched = (const struct vgpu_policy_sched *)core;

	if (slot->overdue >= OVERDUE_MAX || !is_timed(sched, slot->key)) {
		slot->kind = VGPU_POLICY_GUESSED;
		return vgpu_policy_heat_rank(slot->heat);
	}
	slot->kind = VGPU_POLICY_TIMED;
	return vgpu_policy_seq_next(&sched->seq, slot->key, sched->cursor);
}

/* Uses until a key outside the sequence comes again, in positions of the sequence. */
static double guess(const struct vgpu_policy_sched *sched, double heat, double born)
{
	double pace = ((double)sched->advanced + 1) / ((double)sched->uses + 1);

	return vgpu_policy_heat_gap(&sched->heat, heat, born) * pace;
}

/* Uses until a key of the sequence comes again; infinite when it does not. */
static double until(const struct vgpu_policy_sched *sched, uint64_t at)
{
	return at == VGPU_POLICY_NEVER ? INFINITY : (double)(at - sched->cursor);
}

static bool sched_worse(const struct vgpu_policy_core *core,
			const struct vgpu_policy_slot *guessed,
			const struct vgpu_policy_slot *timed)
{
	const struct vgpu_policy_sched *sched = (const struct vgpu_policy_sched *)core;

	return guess(sched, guessed->heat, guessed->born) > until(sched, timed->rank);
}

static bool timed_displaces(const struct vgpu_policy_sched *sched, uint64_t key,
			    const struct vgpu_policy_slot *victim)
{
	uint64_t next = vgpu_policy_seq_next(&sched->seq, key, sched->cursor);

	if (victim->kind == VGPU_POLICY_TIMED)
		return next < victim->rank;
	return until(sched, next) < guess(sched, victim->heat, victim->born);
}

static bool guessed_displaces(const struct vgpu_policy_sched *sched, uint64_t key,
			      const struct vgpu_policy_slot *victim)
{
	const struct vgpu_policy_heat_entry *past = vgpu_policy_heat_recall(&sched->heat, key);

	if (!past)
		return false;
	if (victim->kind == VGPU_POLICY_GUESSED)
		return past->heat > victim->heat;
	return guess(sched, vgpu_policy_heat_add(&sched->heat, past->heat), past->born) <
	       until(sched, victim->rank);
}

static bool sched_displaces(const struct vgpu_policy_core *core, uint64_t key,
			    const struct vgpu_policy_slot *victim)
{
	const struct vgpu_policy_sched *sched = (const struct vgpu_policy_sched *)core;

	return is_timed(sched, key) ? timed_displaces(sched, key, victim) :
				      guessed_displaces(sched, key, victim);
}

/* Chunks that were expected before the cursor and did not come. */
static void settle_overdue(struct vgpu_policy_sched *sched)
{
	struct vgpu_policy_core *core = &sched->core;
	uint32_t slot;

	while ((slot = vgpu_policy_core_soonest(core)) != VGPU_POLICY_NO_SLOT &&
	       core->slots[slot].rank < sched->cursor) {
		core->slots[slot].overdue++;
		vgpu_policy_core_rerank(core, slot);
	}
}

static void sched_used(struct vgpu_policy_core *core, uint64_t key, uint32_t slot)
{
	struct vgpu_policy_sched *sched = (struct vgpu_policy_sched *)core;

	vgpu_policy_heat_tick(&sched->heat, slot != VGPU_POLICY_NO_SLOT);
	if (slot != VGPU_POLICY_NO_SLOT) {
		struct vgpu_policy_slot *s = &core->slots[slot];

		s->heat = vgpu_policy_heat_add(&sched->heat, s->heat);
		s->overdue = 0;
	}
	if (!sched->seq.n)
		return;
	sched->uses++;
	move_cursor(sched, key);
	if (sched->following && vgpu_policy_seq_key(&sched->seq, sched->cursor) == VGPU_POLICY_NONE)
		follow_no_more(sched);
	if (sched->following)
		settle_overdue(sched);
}

static void sched_admitted(struct vgpu_policy_core *core, struct vgpu_policy_slot *slot)
{
	struct vgpu_policy_sched *sched = (struct vgpu_policy_sched *)core;

	vgpu_policy_heat_take(&sched->heat, slot->key, &slot->heat, &slot->born);
}

static void sched_dropped(struct vgpu_policy_core *core, const struct vgpu_policy_slot *slot)
{
	struct vgpu_policy_sched *sched = (struct vgpu_policy_sched *)core;

	vgpu_policy_heat_keep(&sched->heat, slot->key, slot->heat, slot->born);
}

static void sched_bypassed(struct vgpu_policy_core *core, uint64_t key)
{
	vgpu_policy_heat_touch(&((struct vgpu_policy_sched *)core)->heat, key);
}

static const struct vgpu_policy_hooks sched_hooks = {
	.used = sched_used,
	.rank = sched_rank,
	.worse = sched_worse,
	.displaces = sched_displaces,
	.admitted = sched_admitted,
	.dropped = sched_dropped,
	.bypassed = sched_bypassed,
};

int vgpu_policy_sched_init(struct vgpu_policy_sched *sched,
			   const struct vgpu_policy_params *params)
{
	int rc;

	memset(sched, 0, sizeof(*sched));
	sched->candidate = VGPU_POLICY_NEVER;
	rc = vgpu_policy_core_init(&sched->core, &sched_hooks, params->capacity);
	if (!rc)
		rc = vgpu_policy_heat_init(&sched->heat, params->capacity, params->remember);
	if (rc)
		vgpu_policy_sched_fini(sched);
	return rc;
}

void vgpu_policy_sched_fini(struct vgpu_policy_sched *sched)
{
	vgpu_policy_seq_fini(&sched->seq);
	vgpu_policy_heat_fini(&sched->heat);
	vgpu_policy_core_fini(&sched->core);
}

int vgpu_policy_sched_future(void *policy, const uint64_t *keys, size_t n, bool cyclic)
{
	struct vgpu_policy_sched *sched = policy;
	struct vgpu_policy_seq seq = { 0 };
	int rc = n ? vgpu_policy_seq_init(&seq, keys, n, cyclic) : 0;

	if (rc)
		return rc;
	vgpu_policy_seq_fini(&sched->seq);
	sched->seq = seq;
	sched->cursor = 0;
	sched->candidate = VGPU_POLICY_NEVER;
	sched->strayed = 0;
	sched->unmatched = 0;
	sched->matched = 0;
	sched->uses = 0;
	sched->advanced = 0;
	sched->following = n > 0;
	for (uint32_t slot = 0; slot < sched->core.room; slot++)
		sched->core.slots[slot].overdue = 0;
	vgpu_policy_core_rerank_all(&sched->core);
	return 0;
}

uint64_t vgpu_policy_sched_next_use(const void *policy, uint64_t key)
{
	const struct vgpu_policy_sched *sched = policy;
	uint64_t at;

	if (!sched->following)
		return VGPU_POLICY_NEVER;
	at = vgpu_policy_seq_next(&sched->seq, key, sched->cursor);
	return at == VGPU_POLICY_NEVER ? at : at - sched->cursor;
}

size_t vgpu_policy_sched_upcoming(const void *policy, uint64_t ahead, uint64_t *out_keys,
				  size_t n)
{
	const struct vgpu_policy_sched *sched = policy;
	size_t i;

	if (!sched->following)
		return 0;
	for (i = 0; i < n; i++) {
		out_keys[i] = vgpu_policy_seq_key(&sched->seq, sched->cursor + ahead + i);
		if (out_keys[i] == VGPU_POLICY_NONE)
			break;
	}
	return i;
}

void vgpu_policy_sched_stats(const void *policy, struct vgpu_policy_stats *out)
{
	const struct vgpu_policy_sched *sched = policy;

	vgpu_policy_core_stats(policy, out);
	out->in_sync = sched->following;
	out->cycle = sched->following && sched->seq.cyclic ? sched->seq.n : 0;
}

static int schedule_create(const struct vgpu_policy_params *params, void **out_policy)
{
	struct vgpu_policy_sched *sched = malloc(sizeof(*sched));
	int rc;

	if (!sched)
		return -ENOMEM;
	rc = vgpu_policy_sched_init(sched, params);
	if (rc) {
		free(sched);
		return rc;
	}
	*out_policy = sched;
	return 0;
}

static void schedule_destroy(void *policy)
{
	if (!policy)
		return;
	vgpu_policy_sched_fini(policy);
	free(policy);
}

const struct vgpu_policy_ops vgpu_policy_schedule = {
	.name = "schedule",
	.what = "the declared order of use decides: Belady with bypass",
	.create = schedule_create,
	.destroy = schedule_destroy,
	.access = vgpu_policy_core_access,
	.hold = vgpu_policy_core_hold,
	.forget = vgpu_policy_core_forget,
	.shrink = vgpu_policy_core_shrink,
	.resize = vgpu_policy_core_resize,
	.future = vgpu_policy_sched_future,
	.next_use = vgpu_policy_sched_next_use,
	.upcoming = vgpu_policy_sched_upcoming,
	.retains = vgpu_policy_core_retains,
	.stats = vgpu_policy_sched_stats,
};

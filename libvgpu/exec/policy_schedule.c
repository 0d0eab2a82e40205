// SPDX-License-Identifier: MIT
/*
 * schedule: the declared order of use tells when each chunk is needed next; give up
 * the one needed last, the newcomer included (Belady with bypass).
 *
 * What each client declared is a lane with a cursor of its own, and the turns that clients
 * took tell how far away a use of one is beside that of another (policy_lane.h). A use
 * belongs to the lane that expects it, else to one that has it at all.
 *
 * Uses and declaration may differ. The cursor of a lane follows its uses:
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
 * the uses disagree for long, or a finite sequence has ended, every key of it is ranked so,
 * until they agree again.
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

/* Uses of another client's turn that are read ahead even where turns are shorter. */
#define TURN_MIN 4

/* An expected use that failed to come this often in a row is no longer counted on. */
#define OVERDUE_MAX 2

/* --- lanes ------------------------------------------------------------------------ */

static bool has_turn(const struct vgpu_policy_sched *sched, const struct vgpu_policy_lane *lane)
{
	return sched->turn != VGPU_POLICY_NO_LANE && lane == &sched->lane[sched->turn];
}

static uint32_t kind_of(const struct vgpu_policy_sched *sched, const struct vgpu_policy_lane *lane)
{
	return (uint32_t)(lane - sched->lane) + 1;
}

/* Declared uses before the one at a position of a lane. */
static double until(const struct vgpu_policy_sched *sched, const struct vgpu_policy_lane *lane,
		    uint64_t at)
{
	return vgpu_policy_lane_until(lane, at == VGPU_POLICY_NEVER ? at : at - lane->cursor,
				      has_turn(sched, lane), sched->advanced);
}

/* The lane followed that expects a key first, and where; NULL: none has it. */
static const struct vgpu_policy_lane *time_key(const struct vgpu_policy_sched *sched,
					       uint64_t key, uint64_t *out_at)
{
	const struct vgpu_policy_lane *first = NULL;

	for (uint32_t i = 0; i < sched->lanes; i++) {
		const struct vgpu_policy_lane *lane = &sched->lane[i];
		uint64_t at;

		if (!lane->following || !vgpu_policy_seq_has(&lane->seq, key))
			continue;
		at = vgpu_policy_seq_next(&lane->seq, key, lane->cursor);
		if (!first || until(sched, lane, at) < until(sched, first, *out_at)) {
			first = lane;
			*out_at = at;
		}
	}
	return first;
}

/* After a change of regime of one lane, ranks of old and new cannot be compared. O(retained) */
static void rerank_lane(struct vgpu_policy_sched *sched, const struct vgpu_policy_lane *lane)
{
	struct vgpu_policy_core *core = &sched->core;

	for (uint32_t slot = 0; slot < core->room; slot++) {
		struct vgpu_policy_slot *s = &core->slots[slot];

		if (s->key != VGPU_POLICY_NONE && (s->kind == kind_of(sched, lane) ||
						   vgpu_policy_seq_has(&lane->seq, s->key)))
			vgpu_policy_core_rerank(core, slot);
	}
}

/* --- following -------------------------------------------------------------------- */

static void follow_again(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane)
{
	lane->following = true;
	lane->strayed = 0;
	rerank_lane(sched, lane);
}

static void follow_no_more(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane)
{
	lane->following = false;
	lane->matched = 0;
	rerank_lane(sched, lane);
}

static void take_turn(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane)
{
	if (!has_turn(sched, lane)) {
		if (sched->turn != VGPU_POLICY_NO_LANE)
			vgpu_policy_lane_end_turn(&sched->lane[sched->turn], sched->advanced);
		sched->turn = (uint32_t)(lane - sched->lane);
		vgpu_policy_lane_begin_turn(lane, sched->advanced);
	}
	lane->run++;
	sched->advanced++;
}

static void agreed(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane)
{
	take_turn(sched, lane);
	sched->unmatched = 0;
	lane->candidate = VGPU_POLICY_NEVER;
	if (lane->strayed)
		lane->strayed--;
	if (!lane->following &&
	    (++lane->matched >= MATCHED_MIN || lane->matched >= (lane->seq.n + 1) / 2))
		follow_again(sched, lane);
}

static void give_up_when_lost(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane)
{
	if (!lane->following ||
	    (lane->strayed < STRAYED_MAX && sched->unmatched < UNMATCHED_MAX))
		return;
	sched->core.stats.desyncs++;
	follow_no_more(sched, lane);
}

static void disagreed(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane,
		      uint32_t price)
{
	sched->unmatched++;
	lane->matched = 0;
	lane->strayed += price;
	give_up_when_lost(sched, lane);
}

/* A use that no lane has. */
static void strange(struct vgpu_policy_sched *sched)
{
	sched->unmatched++;
	if (sched->turn != VGPU_POLICY_NO_LANE)
		sched->lane[sched->turn].matched = 0;
	if (sched->unmatched < UNMATCHED_MAX)
		return;
	for (uint32_t i = 0; i < sched->lanes; i++)
		give_up_when_lost(sched, &sched->lane[i]);
}

/* Uses that a jump leaves out: all between the cursor and it, but for the two that led there. */
static uint32_t skipped(const struct vgpu_policy_lane *lane, uint64_t to)
{
	if (to < lane->cursor || to - lane->cursor > NEAR_USES)
		return NEAR_USES;
	return to - lane->cursor > 2 ? (uint32_t)(to - lane->cursor - 2) : 0;
}

/* Going back (a finite sequence entered again) makes every known next use wrong. */
static void jump(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane, uint64_t to)
{
	bool back = to < lane->cursor;
	bool far = back || to - lane->cursor > NEAR_USES;

	/* The use before, thought astray, and this one came in order after all. */
	lane->strayed -= lane->strayed < STRAY ? lane->strayed : STRAY;
	lane->strayed += skipped(lane, to);
	lane->matched = 0;
	if (lane->following && far)
		sched->core.stats.desyncs++;
	lane->cursor = to;
	agreed(sched, lane);
	if (back && lane->following)
		rerank_lane(sched, lane);
	give_up_when_lost(sched, lane);
}

/* Position of the key from the cursor on, or in a finite sequence from the start. */
static uint64_t locate(const struct vgpu_policy_lane *lane, uint64_t key)
{
	uint64_t at = vgpu_policy_seq_next(&lane->seq, key, lane->cursor);

	return at != VGPU_POLICY_NEVER ? at : vgpu_policy_seq_next(&lane->seq, key, 0);
}

/*
 * Was the key used a moment ago? Two panels that take the same few chunks in turn come
 * back without leaving the sequence; in a cycle that must not look like a whole lap.
 */
static bool is_echo(const struct vgpu_policy_lane *lane, uint64_t key, uint64_t next)
{
	uint64_t from = lane->cursor > NEAR_USES ? lane->cursor - NEAR_USES : 0;
	uint64_t last = vgpu_policy_seq_next(&lane->seq, key, from);

	return last < lane->cursor && lane->cursor - last < next - lane->cursor;
}

static bool expects(const struct vgpu_policy_lane *lane, uint64_t key)
{
	return lane->seq.n && vgpu_policy_seq_key(&lane->seq, lane->cursor) == key;
}

/* The lane that a use belongs to: the one whose turn it is, where it can be. NULL: none */
static struct vgpu_policy_lane *lane_of(struct vgpu_policy_sched *sched, uint64_t key)
{
	struct vgpu_policy_lane *has = NULL, *now = NULL;

	if (sched->turn != VGPU_POLICY_NO_LANE)
		now = &sched->lane[sched->turn];
	if (now && expects(now, key))
		return now;
	if (now && vgpu_policy_seq_has(&now->seq, key))
		has = now;
	for (uint32_t i = 0; i < sched->lanes; i++) {
		struct vgpu_policy_lane *lane = &sched->lane[i];

		if (expects(lane, key))
			return lane;
		if (!has && vgpu_policy_seq_has(&lane->seq, key))
			has = lane;
	}
	return has;
}

static void move_cursor(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane,
			uint64_t key)
{
	uint64_t at;

	if (expects(lane, key)) {
		lane->cursor++;
		agreed(sched, lane);
		return;
	}
	if (lane->candidate != VGPU_POLICY_NEVER) {
		at = vgpu_policy_seq_next(&lane->seq, key, lane->candidate);
		if (at != VGPU_POLICY_NEVER && at - lane->candidate <= NEAR_USES) {
			jump(sched, lane, at + 1);
			return;
		}
	}
	at = locate(lane, key);
	if (is_echo(lane, key, at)) {
		disagreed(sched, lane, 0);
		return;
	}
	lane->candidate = at + 1;
	disagreed(sched, lane, STRAY);
}

/* --- ranks ------------------------------------------------------------------------ */

static uint64_t sched_rank(const struct vgpu_policy_core *core, struct vgpu_policy_slot *slot)
{
	const struct vgpu_policy_sched *sched = (const struct vgpu_policy_sched *)core;
	const struct vgpu_policy_lane *lane;
	uint64_t at;

	lane = slot->overdue < OVERDUE_MAX ? time_key(sched, slot->key, &at) : NULL;
	if (!lane) {
		slot->kind = VGPU_POLICY_GUESSED;
		return vgpu_policy_heat_rank(slot->heat);
	}
	slot->kind = kind_of(sched, lane);
	return at;
}

/* Declared uses until a key outside the lanes comes again. */
static double guess(const struct vgpu_policy_sched *sched, double heat, double born)
{
	double pace = ((double)sched->advanced + 1) / ((double)sched->uses + 1);

	return vgpu_policy_heat_gap(&sched->heat, heat, born) * pace;
}

/* Declared uses until a retained chunk comes again. */
static double sched_due(const struct vgpu_policy_core *core, const struct vgpu_policy_slot *slot)
{
	const struct vgpu_policy_sched *sched = (const struct vgpu_policy_sched *)core;

	if (slot->kind == VGPU_POLICY_GUESSED)
		return guess(sched, slot->heat, slot->born);
	return until(sched, &sched->lane[slot->kind - 1], slot->rank);
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
	       sched_due(&sched->core, victim);
}

static bool sched_displaces(const struct vgpu_policy_core *core, uint64_t key,
			    const struct vgpu_policy_slot *victim)
{
	const struct vgpu_policy_sched *sched = (const struct vgpu_policy_sched *)core;
	uint64_t at;
	const struct vgpu_policy_lane *lane = time_key(sched, key, &at);

	if (!lane)
		return guessed_displaces(sched, key, victim);
	if (victim->kind == kind_of(sched, lane))
		return at < victim->rank;
	return until(sched, lane, at) < sched_due(core, victim);
}

/* Chunks that were expected before the cursor and did not come. */
static void settle_overdue(struct vgpu_policy_sched *sched, const struct vgpu_policy_lane *lane)
{
	struct vgpu_policy_core *core = &sched->core;
	uint32_t slot;

	while ((slot = vgpu_policy_core_soonest(core, kind_of(sched, lane))) !=
		       VGPU_POLICY_NO_SLOT &&
	       core->slots[slot].rank < lane->cursor) {
		core->slots[slot].overdue++;
		vgpu_policy_core_rerank(core, slot);
	}
}

static void follow_use(struct vgpu_policy_sched *sched, uint64_t key)
{
	struct vgpu_policy_lane *lane = lane_of(sched, key);

	sched->uses++;
	if (!lane) {
		strange(sched);
		return;
	}
	move_cursor(sched, lane, key);
	if (lane->following && vgpu_policy_seq_key(&lane->seq, lane->cursor) == VGPU_POLICY_NONE)
		follow_no_more(sched, lane);
	if (lane->following)
		settle_overdue(sched, lane);
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
	if (sched->lanes)
		follow_use(sched, key);
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
	.due = sched_due,
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
	sched->turn = VGPU_POLICY_NO_LANE;
	rc = vgpu_policy_core_init(&sched->core, &sched_hooks, params->capacity);
	if (!rc)
		rc = vgpu_policy_heat_init(&sched->heat, params->capacity, params->remember);
	if (rc)
		vgpu_policy_sched_fini(sched);
	return rc;
}

void vgpu_policy_sched_fini(struct vgpu_policy_sched *sched)
{
	for (uint32_t i = 0; i < sched->lanes; i++)
		vgpu_policy_seq_fini(&sched->lane[i].seq);
	free(sched->lane);
	vgpu_policy_heat_fini(&sched->heat);
	vgpu_policy_core_fini(&sched->core);
}

/* --- what clients declare ---------------------------------------------------------- */

/* The lane of a client, else a free one, else NULL. */
static struct vgpu_policy_lane *find_lane(struct vgpu_policy_sched *sched, uint32_t client)
{
	struct vgpu_policy_lane *unused = NULL;

	for (uint32_t i = 0; i < sched->lanes; i++) {
		struct vgpu_policy_lane *lane = &sched->lane[i];

		if (lane->seq.n && lane->client == client)
			return lane;
		if (!lane->seq.n)
			unused = lane;
	}
	return unused;
}

static int add_lane(struct vgpu_policy_sched *sched, struct vgpu_policy_lane **out)
{
	struct vgpu_policy_lane *grown = realloc(sched->lane,
						 (sched->lanes + 1) * sizeof(*sched->lane));
	int rc;

	if (!grown)
		return -ENOMEM;
	sched->lane = grown;
	rc = vgpu_policy_core_kind(&sched->core, sched->lanes + 1, 0);
	if (rc)
		return rc;
	grown[sched->lanes] = (struct vgpu_policy_lane){ 0 };
	*out = &grown[sched->lanes++];
	return 0;
}

static bool anything_declared(const struct vgpu_policy_sched *sched)
{
	for (uint32_t i = 0; i < sched->lanes; i++) {
		if (sched->lane[i].seq.n)
			return true;
	}
	return false;
}

/* Uses count from the first declaration on. */
static void forget_uses(struct vgpu_policy_sched *sched)
{
	if (!anything_declared(sched))
		sched->uses = sched->advanced = sched->unmatched = 0;
}

/* Its chunks are ranked by what is left, and nothing of it is. */
static void empty_lane(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane)
{
	if (has_turn(sched, lane))
		sched->turn = VGPU_POLICY_NO_LANE;
	if (lane->following)
		follow_no_more(sched, lane);
	vgpu_policy_seq_fini(&lane->seq);
	*lane = (struct vgpu_policy_lane){ 0 };
	forget_uses(sched);
}

static void fill_lane(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane,
		      uint32_t client, const struct vgpu_policy_seq *seq)
{
	struct vgpu_policy_core *core = &sched->core;

	*lane = (struct vgpu_policy_lane){
		.client = client, .seq = *seq, .candidate = VGPU_POLICY_NEVER,
		.following = true, .ended = sched->advanced,
	};
	sched->unmatched = 0;
	for (uint32_t slot = 0; slot < core->room; slot++) {
		if (vgpu_policy_seq_has(seq, core->slots[slot].key))
			core->slots[slot].overdue = 0;
	}
	rerank_lane(sched, lane);
}

/* What is withdrawn is so already most times: replay asks at each use. */
static void withdraw(struct vgpu_policy_sched *sched, struct vgpu_policy_lane *lane)
{
	if (!lane->seq.n) {
		forget_uses(sched);
		return;
	}
	empty_lane(sched, lane);
	/* Cannot fail: nothing is of that kind any more, and less room is needed. */
	vgpu_policy_core_kind(&sched->core, kind_of(sched, lane), 0);
}

void vgpu_policy_sched_withdraw_all(struct vgpu_policy_sched *sched)
{
	for (uint32_t i = 0; i < sched->lanes; i++)
		withdraw(sched, &sched->lane[i]);
}

void vgpu_policy_sched_withdraw_others(struct vgpu_policy_sched *sched, uint32_t client)
{
	for (uint32_t i = 0; i < sched->lanes; i++) {
		if (sched->lane[i].client != client)
			withdraw(sched, &sched->lane[i]);
	}
}

static int declare(struct vgpu_policy_sched *sched, uint32_t client,
		   const struct vgpu_policy_seq *seq)
{
	struct vgpu_policy_lane *lane = find_lane(sched, client);
	uint32_t most = seq->map.count;
	int rc = lane ? 0 : add_lane(sched, &lane);

	if (rc)
		return rc;
	/* The room is for the old ones as well, until they have left. */
	if (lane->seq.map.count > most)
		most = lane->seq.map.count;
	rc = vgpu_policy_core_kind(&sched->core, kind_of(sched, lane), most);
	if (rc)
		return rc;
	empty_lane(sched, lane);
	fill_lane(sched, lane, client, seq);
	return 0;
}

int vgpu_policy_sched_future(void *policy, uint32_t client, const uint64_t *keys, size_t n,
			     bool cyclic)
{
	struct vgpu_policy_seq seq;
	int rc;

	if (!n) {
		struct vgpu_policy_lane *lane = find_lane(policy, client);

		if (lane)
			withdraw(policy, lane);
		return 0;
	}
	rc = vgpu_policy_seq_init(&seq, keys, n, cyclic);
	if (rc)
		return rc;
	rc = declare(policy, client, &seq);
	if (rc)
		vgpu_policy_seq_fini(&seq);
	return rc;
}

/* --- what is known ---------------------------------------------------------------- */

uint64_t vgpu_policy_sched_next_use(const void *policy, uint64_t key)
{
	const struct vgpu_policy_sched *sched = policy;
	uint64_t at;
	const struct vgpu_policy_lane *lane = time_key(sched, key, &at);

	if (!lane || at == VGPU_POLICY_NEVER)
		return VGPU_POLICY_NEVER;
	return (uint64_t)until(sched, lane, at);
}

/* The lane whose turn comes next after one (NULL: of all): later, or as late and behind it. */
static const struct vgpu_policy_lane *next_turn(const struct vgpu_policy_sched *sched,
						const struct vgpu_policy_lane *after)
{
	const struct vgpu_policy_lane *next = NULL;
	double last = after ? until(sched, after, after->cursor) : -1;

	for (uint32_t i = 0; i < sched->lanes; i++) {
		const struct vgpu_policy_lane *lane = &sched->lane[i];
		double start;

		if (!lane->following)
			continue;
		start = until(sched, lane, lane->cursor);
		if (start < last || (start == last && after && lane <= after))
			continue;
		if (!next || start < until(sched, next, next->cursor))
			next = lane;
	}
	return next;
}

static size_t upcoming_of(const struct vgpu_policy_lane *lane, uint64_t *out_keys, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		out_keys[i] = vgpu_policy_seq_key(&lane->seq, lane->cursor + i);
		if (out_keys[i] == VGPU_POLICY_NONE)
			break;
	}
	return i;
}

/* Uses of its present turn, else of its next one. */
static size_t turn_uses(const struct vgpu_policy_sched *sched, const struct vgpu_policy_lane *lane)
{
	double left = vgpu_policy_lane_left(lane, has_turn(sched, lane));

	if (has_turn(sched, lane) && left >= 1)
		return (size_t)left;
	return lane->turn > TURN_MIN ? (size_t)lane->turn : TURN_MIN;
}

size_t vgpu_policy_sched_upcoming(const void *policy, uint64_t *out_keys, size_t n)
{
	const struct vgpu_policy_sched *sched = policy;
	const struct vgpu_policy_lane *lane;
	size_t count = 0;

	for (lane = next_turn(sched, NULL); lane && count < n; lane = next_turn(sched, lane)) {
		size_t room = n - count, uses = turn_uses(sched, lane);

		/* Without another one the turn does not end. */
		if (uses < room && vgpu_policy_sched_followed(sched) > 1)
			room = uses;
		count += upcoming_of(lane, out_keys + count, room);
	}
	return count;
}

uint32_t vgpu_policy_sched_followed(const struct vgpu_policy_sched *sched)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < sched->lanes; i++)
		count += sched->lane[i].following;
	return count;
}

void vgpu_policy_sched_stats(const void *policy, struct vgpu_policy_stats *out)
{
	const struct vgpu_policy_sched *sched = policy;

	vgpu_policy_core_stats(policy, out);
	for (uint32_t i = 0; i < sched->lanes; i++) {
		const struct vgpu_policy_lane *lane = &sched->lane[i];

		out->in_sync |= lane->following;
		if (lane->following && lane->seq.cyclic && lane->seq.n > out->cycle)
			out->cycle = lane->seq.n;
	}
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
	VGPU_POLICY_CORE_OPS,
	VGPU_POLICY_SCHED_OPS,
};

/* SPDX-License-Identifier: MIT */
/*
 * policy_lane: what one client declared, how far it has come in it, and when its turns are
 *
 * Clients take turns of the executor, of any length.  Within a lane the order of uses is
 * known; between lanes it follows from how long turns were so far: a lane that has the turn
 * keeps it for what is left of a turn of usual length, the others follow when they usually
 * do.  What lasts longer than usual is expected to last as long again, so that a client
 * that stopped moves away by itself.
 *
 * The clock counts uses that any lane expected.
 */
#ifndef VGPU_EXEC_POLICY_LANE_H
#define VGPU_EXEC_POLICY_LANE_H

#include "exec/policy_seq.h"

/**
 * struct vgpu_policy_lane - one client's order of uses
 * @client: whose; meaningless while @seq is empty
 * @seq: declared order, empty when this lane is not in use
 * @cursor: absolute position in @seq of the use expected next
 * @candidate: position expected next if the use before was a jump, or NEVER
 * @following: the uses agree with the sequence; ranks are positions, else heats
 * @strayed: score of uses out of order and of skipped ones, fading with good ones
 * @matched: uses in a row that agreed while not following
 * @run: uses in the present turn, or in the one before
 * @turn: uses of a turn of usual length; 0 before the first has ended
 * @wait: clock from the end of a turn to the next, as usual
 * @ended: clock at the end of the turn before; of no meaning while it has the turn
 */
struct vgpu_policy_lane {
	uint32_t client;
	struct vgpu_policy_seq seq;
	uint64_t cursor;
	uint64_t candidate;
	bool following;
	uint32_t strayed;
	uint32_t matched;
	uint64_t run;
	double turn;
	double wait;
	uint64_t ended;
};

/**
 * vgpu_policy_lane_begin_turn() - the turn comes to this lane
 * @clock: now
 */
void vgpu_policy_lane_begin_turn(struct vgpu_policy_lane *lane, uint64_t clock);

/**
 * vgpu_policy_lane_end_turn() - the turn went to another one
 * @clock: now
 */
void vgpu_policy_lane_end_turn(struct vgpu_policy_lane *lane, uint64_t clock);

/**
 * vgpu_policy_lane_left() - uses that the present turn, or the next, has yet
 * @has_turn: it is this lane's now
 */
double vgpu_policy_lane_left(const struct vgpu_policy_lane *lane, bool has_turn);

/**
 * vgpu_policy_lane_until() - declared uses, of all lanes, before one of this lane
 * @distance: uses of this lane before it, or VGPU_POLICY_NEVER
 * @has_turn: it is this lane's now
 * @clock: now
 *
 * Grows with @distance.  Return: equals @distance while there is no other lane; infinite
 * for VGPU_POLICY_NEVER.
 */
double vgpu_policy_lane_until(const struct vgpu_policy_lane *lane, uint64_t distance,
			      bool has_turn, uint64_t clock);

#endif

// SPDX-License-Identifier: MIT
#include "exec/policy_lane.h"

#include "exec/policy.h"

#include <math.h>

/*
 * A mean that forgets: a quarter is the newest.  One value out of all proportion (a client
 * that paused) counts as four of the usual.
 */
static double mean(double usual, double newest)
{
	double most = 4 * usual + 16;

	if (usual == 0)
		return newest;
	return usual + ((newest < most ? newest : most) - usual) / 4;
}

void vgpu_policy_lane_begin_turn(struct vgpu_policy_lane *lane, uint64_t clock)
{
	lane->wait = mean(lane->wait, (double)(clock - lane->ended));
	lane->run = 0;
}

void vgpu_policy_lane_end_turn(struct vgpu_policy_lane *lane, uint64_t clock)
{
	lane->turn = mean(lane->turn, (double)lane->run);
	lane->ended = clock;
}

double vgpu_policy_lane_left(const struct vgpu_policy_lane *lane, bool has_turn)
{
	return has_turn ? fabs(lane->turn - (double)lane->run) : lane->turn;
}

double vgpu_policy_lane_until(const struct vgpu_policy_lane *lane, uint64_t distance,
			      bool has_turn, uint64_t clock)
{
	double start = has_turn ? 0 : fabs(lane->wait - (double)(clock - lane->ended));
	double left = vgpu_policy_lane_left(lane, has_turn);
	double d = (double)distance, turn = lane->turn > 1 ? lane->turn : 1;

	if (distance == VGPU_POLICY_NEVER)
		return INFINITY;
	if (d < left)
		return start + d;
	/* Turns of others before it: whole ones, and no call for that. */
	return start + d + lane->wait * (double)(1 + (uint64_t)((d - left) / turn));
}

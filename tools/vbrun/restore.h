/* SPDX-License-Identifier: MIT */
/* Which layers, kept in more bits, make a packed model good enough. */
#ifndef VBRUN_RESTORE_H
#define VBRUN_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * restore_score - how good the model is
 * @arg: from the caller
 * @kept: [layers]: these are in more bits
 * @score: receives it; more is better, NaN is worse than anything
 *
 * Return: 0, or what ends the search.
 */
typedef int (*restore_score)(void *arg, const bool *kept, double *score);

/**
 * restore_search() - keep one layer after the other until the score reaches the goal
 * @layers: of the model
 * @loss: [layers]: what packing this layer alone costs; the worst is kept first, of
 *	equals the one nearer to the input
 * @goal: what is good enough
 * @score: called after each further layer
 * @arg: for @score
 * @kept: [layers]: in: layers that are kept already; out: the set that reached the goal,
 *	or all layers
 * @best: in: score of @kept as given; out: score of @kept
 *
 * The set is sufficient, not the smallest: that would take a run for each subset.
 * Return: 0, also when all layers do not suffice; what @score returned.
 */
int restore_search(uint32_t layers, const double *loss, double goal, restore_score score,
		   void *arg, bool *kept, double *best);

#endif

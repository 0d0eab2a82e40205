/* SPDX-License-Identifier: MIT */
/*
 * policy_heat: how often is a key used, of late?
 *
 * Each use adds one to the key's count, and counts halve every half-life. Kept as
 *
 *	heat = log2(sum over uses of 2^(clock at the use)),   clock in half-lives,
 *
 * the order of two keys never changes while neither is used, so a heap by heat needs no
 * ageing, nothing overflows, and log2(count now) = heat - clock. (Forward decay:
 * Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009.) Keys that are not retained keep
 * their heat in a table of bounded size, as TinyLFU does with a sketch (Einziger,
 * Friedman, Manes, ACM Trans. Storage 13(4), 2017); exact entries are affordable here
 * because a key stands for 64 KiB or more.
 *
 * A long half-life ranks a stable load well and forgets a past one slowly. So the clock
 * runs faster while the hit rate lies far below what it recently was.
 */
#ifndef VGPU_EXEC_POLICY_HEAT_H
#define VGPU_EXEC_POLICY_HEAT_H

#include "exec/keymap.h"

/* Heat of a key never used: colder than anything. */
#define VGPU_POLICY_COLD (-1.0)

/**
 * struct vgpu_policy_heat - clock and table of the keys that are not retained
 * @map: key to index in @entries
 * @entries: [room], the first map.count of them in use
 * @room: entries allocated
 * @remember: most entries
 * @clock: half-lives passed, at least 0
 * @half_life: in uses, when the clock runs at its normal pace
 * @step: half-lives a use at the present pace
 * @window_uses: uses in a window of hit rate observation
 * @uses: in the present window
 * @hits: in the present window
 * @best_hits: of a window of late, fading
 */
struct vgpu_policy_heat {
	struct vgpu_keymap map;
	struct vgpu_policy_heat_entry *entries;
	uint32_t room;
	uint32_t remember;
	double clock;
	double half_life;
	double step;
	uint32_t window_uses;
	uint32_t uses;
	uint32_t hits;
	double best_hits;
};

/**
 * struct vgpu_policy_heat_entry - what is remembered of a key
 * @key: its name
 * @heat: see above
 * @born: clock at the first use remembered
 */
struct vgpu_policy_heat_entry {
	uint64_t key;
	double heat;
	double born;
};

/**
 * vgpu_policy_heat_init() - start the clock with nothing remembered
 * @heat: to initialise
 * @capacity: chunks that the tier retains; sets half-life and window
 * @remember: most keys to remember, 0 for 8 * capacity + 4096
 *
 * Return: 0 or -ENOMEM.
 */
int vgpu_policy_heat_init(struct vgpu_policy_heat *heat, uint32_t capacity, uint32_t remember);

/**
 * vgpu_policy_heat_fini() - release the memory
 * @heat: initialised, or all zero
 */
void vgpu_policy_heat_fini(struct vgpu_policy_heat *heat);

/**
 * vgpu_policy_heat_tick() - a use passes
 * @heat: the clock
 * @hit: it was served from the tier
 */
void vgpu_policy_heat_tick(struct vgpu_policy_heat *heat, bool hit);

/**
 * vgpu_policy_heat_add() - heat after one more use now
 * @heat: the clock
 * @before: heat before, or VGPU_POLICY_COLD
 *
 * Return: the new heat, at least @before and at least the clock.
 */
double vgpu_policy_heat_add(const struct vgpu_policy_heat *heat, double before);

/**
 * vgpu_policy_heat_gap() - uses from one use of a key to its next, estimated
 * @heat: the clock
 * @value: heat of the key, its latest use counted
 * @born: clock at its first use
 *
 * Age over the number of uses after the first while the key is young, the decayed
 * rate later; its age for a key used once.
 *
 * Return: at least 1.
 */
double vgpu_policy_heat_gap(const struct vgpu_policy_heat *heat, double value, double born);

/**
 * vgpu_policy_heat_recall() - what is remembered of a key
 * @heat: the table
 * @key: any key
 *
 * Return: the entry, valid until the next call that changes the table, or NULL.
 */
struct vgpu_policy_heat_entry *vgpu_policy_heat_recall(const struct vgpu_policy_heat *heat,
						       uint64_t key);

/**
 * vgpu_policy_heat_keep() - remember a key
 * @heat: the table
 * @key: not in the table
 * @value: its heat
 * @born: clock at its first use
 *
 * When the table is full the coldest quarter is forgotten first; without memory to
 * grow, the key is.
 */
void vgpu_policy_heat_keep(struct vgpu_policy_heat *heat, uint64_t key, double value,
			   double born);

/**
 * vgpu_policy_heat_touch() - count a use of a key that is not retained
 * @heat: the table
 * @key: remembered from now on if it was not
 */
void vgpu_policy_heat_touch(struct vgpu_policy_heat *heat, uint64_t key);

/**
 * vgpu_policy_heat_take() - count a use of a key and take it out of the table
 * @heat: the table
 * @key: any key
 * @out_heat: its heat, this use counted
 * @out_born: clock at its first use, which may be this one
 */
void vgpu_policy_heat_take(struct vgpu_policy_heat *heat, uint64_t key, double *out_heat,
			   double *out_born);

/**
 * vgpu_policy_heat_rank() - rank in the retained set by heat alone
 * @value: a heat, at least 0
 *
 * Return: the lower the hotter, strictly.
 */
uint64_t vgpu_policy_heat_rank(double value);

#endif

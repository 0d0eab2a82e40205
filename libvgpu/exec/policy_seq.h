/* SPDX-License-Identifier: MIT */
/*
 * policy_seq: a known order of uses, finite or cyclic, that can be asked when a key
 * comes next
 *
 * Positions are absolute: in a cyclic sequence position p names the key at p modulo the
 * length, so a position never has to be mended when the cycle wraps. Eight bytes a use
 * and about 36 a distinct key.
 */
#ifndef VGPU_EXEC_POLICY_SEQ_H
#define VGPU_EXEC_POLICY_SEQ_H

#include "exec/keymap.h"

#include <stddef.h>

/**
 * struct vgpu_policy_seq - the sequence; all zero is an empty one
 * @map: key to id, ids being dense
 * @keys: [ids] key of each id
 * @ids: [n] id at each position
 * @first: [ids + 1] index in @places where the positions of an id begin
 * @places: [n] positions, grouped by id, ascending
 * @low: lowest key: with @high it tells sequences of different objects apart without a look
 * @high: highest key
 * @n: length in uses, direct repeats removed
 * @cyclic: position n is position 0 again
 */
struct vgpu_policy_seq {
	struct vgpu_keymap map;
	uint64_t *keys;
	uint32_t *ids;
	uint32_t *first;
	uint32_t *places;
	uint64_t low;
	uint64_t high;
	uint32_t n;
	bool cyclic;
};

/**
 * vgpu_policy_seq_init() - copy and index a sequence
 * @seq: to initialise
 * @keys: uses in order
 * @n: how many, at least 1, at most 2^31
 * @cyclic: repeats without end
 *
 * Return: 0; -EINVAL for too many or for VGPU_POLICY_NONE among them; -ENOMEM.
 */
int vgpu_policy_seq_init(struct vgpu_policy_seq *seq, const uint64_t *keys, size_t n,
			 bool cyclic);

/**
 * vgpu_policy_seq_fini() - release the memory; the sequence is empty afterwards
 * @seq: initialised, or all zero
 */
void vgpu_policy_seq_fini(struct vgpu_policy_seq *seq);

/**
 * vgpu_policy_seq_key() - the key at a position
 * @seq: the sequence
 * @position: absolute
 *
 * Return: the key, or VGPU_POLICY_NONE past the end.
 */
uint64_t vgpu_policy_seq_key(const struct vgpu_policy_seq *seq, uint64_t position);

/**
 * vgpu_policy_seq_has() - does the key occur at all?
 * @seq: the sequence
 * @key: any key
 */
bool vgpu_policy_seq_has(const struct vgpu_policy_seq *seq, uint64_t key);

/**
 * vgpu_policy_seq_next() - when a key comes next
 * @seq: the sequence
 * @key: any key
 * @from: absolute position to start at
 *
 * Return: the least position >= @from that holds the key, or VGPU_POLICY_NEVER.
 * O(log occurrences).
 */
uint64_t vgpu_policy_seq_next(const struct vgpu_policy_seq *seq, uint64_t key, uint64_t from);

#endif

// SPDX-License-Identifier: MIT
#include "exec/policy_seq.h"

#include "exec/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_USES (1u << 31)

/* Gives each distinct key an id and each position its id; drops direct repeats. */
static int number_keys(struct vgpu_policy_seq *seq, const uint64_t *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t id;
		int rc;

		if (keys[i] == VGPU_POLICY_NONE)
			return -EINVAL;
		if (i > 0 && keys[i] == keys[i - 1])
			continue;
		if (!vgpu_keymap_find(&seq->map, keys[i], &id)) {
			id = seq->map.count;
			rc = vgpu_keymap_set(&seq->map, keys[i], id);
			if (rc)
				return rc;
			seq->keys[id] = keys[i];
			seq->low = keys[i] < seq->low ? keys[i] : seq->low;
			seq->high = keys[i] > seq->high ? keys[i] : seq->high;
		}
		seq->ids[seq->n++] = id;
	}
	if (seq->cyclic && seq->n > 1 && seq->ids[seq->n - 1] == seq->ids[0])
		seq->n--;
	return 0;
}

/* Counting sort of the positions by id. */
static void group_places(struct vgpu_policy_seq *seq)
{
	uint32_t ids = seq->map.count;

	memset(seq->first, 0, ((size_t)ids + 1) * sizeof(*seq->first));
	for (uint32_t i = 0; i < seq->n; i++)
		seq->first[seq->ids[i] + 1]++;
	for (uint32_t id = 0; id < ids; id++)
		seq->first[id + 1] += seq->first[id];
	for (uint32_t i = 0; i < seq->n; i++)
		seq->places[seq->first[seq->ids[i]]++] = i;
	/* Each first[id] has moved to the end of its group, the start of the next. */
	memmove(seq->first + 1, seq->first, (size_t)ids * sizeof(*seq->first));
	seq->first[0] = 0;
}

int vgpu_policy_seq_init(struct vgpu_policy_seq *seq, const uint64_t *keys, size_t n,
			 bool cyclic)
{
	int rc;

	memset(seq, 0, sizeof(*seq));
	if (!n || n > MAX_USES)
		return -EINVAL;
	seq->cyclic = cyclic;
	seq->low = UINT64_MAX;
	rc = vgpu_keymap_init(&seq->map, 0, n < 1u << 30 ? n : 1u << 30);
	if (rc)
		return rc;
	seq->keys = malloc(n * sizeof(*seq->keys));
	seq->ids = malloc(n * sizeof(*seq->ids));
	seq->first = malloc((n + 1) * sizeof(*seq->first));
	seq->places = malloc(n * sizeof(*seq->places));
	rc = -ENOMEM;
	if (seq->keys && seq->ids && seq->first && seq->places)
		rc = number_keys(seq, keys, n);
	if (rc) {
		vgpu_policy_seq_fini(seq);
		return rc;
	}
	group_places(seq);
	return 0;
}

void vgpu_policy_seq_fini(struct vgpu_policy_seq *seq)
{
	vgpu_keymap_fini(&seq->map);
	free(seq->keys);
	free(seq->ids);
	free(seq->first);
	free(seq->places);
	memset(seq, 0, sizeof(*seq));
}

uint64_t vgpu_policy_seq_key(const struct vgpu_policy_seq *seq, uint64_t position)
{
	if (!seq->n || (!seq->cyclic && position >= seq->n))
		return VGPU_POLICY_NONE;
	return seq->keys[seq->ids[position % seq->n]];
}

bool vgpu_policy_seq_has(const struct vgpu_policy_seq *seq, uint64_t key)
{
	return seq->n && key >= seq->low && key <= seq->high &&
	       vgpu_keymap_find(&seq->map, key, NULL);
}

uint64_t vgpu_policy_seq_next(const struct vgpu_policy_seq *seq, uint64_t key, uint64_t from)
{
	uint32_t id, low, end, begin;
	uint64_t lap, offset;

	if (!seq->n || !vgpu_keymap_find(&seq->map, key, &id))
		return VGPU_POLICY_NEVER;
	if (!seq->cyclic && from >= seq->n)
		return VGPU_POLICY_NEVER;
	offset = from % seq->n;
	lap = from - offset;
	begin = seq->first[id];
	low = begin;
	end = seq->first[id + 1];
	while (low < end) {
		uint32_t middle = low + (end - low) / 2;

		if (seq->places[middle] < offset)
			low = middle + 1;
		else
			end = middle;
	}
	if (low < seq->first[id + 1])
		return lap + seq->places[low];
	return seq->cyclic ? lap + seq->n + seq->places[begin] : VGPU_POLICY_NEVER;
}

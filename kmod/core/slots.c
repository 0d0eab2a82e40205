// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Three levels of words: @used says it slot by slot, @full says which words of
 * @used are all ones, @packed which words of @full are.  2^24 slots make 262144,
 * 4096 and 64 words, so that a free slot is found in at most 64 + 2 looks.  Bits
 * behind the last slot are ones on every level and never looked at again.
 */
#include "slots.h"

#define WORD_BITS	64u
#define ALL_ONES	(~0ull)

static u32 words_of(u32 bits)
{
	return bits / WORD_BITS + (bits % WORD_BITS != 0);
}

static bool bit_get(const u64 *map, u32 i)
{
	return map[i / WORD_BITS] >> (i % WORD_BITS) & 1;
}

static void bit_set(u64 *map, u32 i)
{
	map[i / WORD_BITS] |= 1ull << (i % WORD_BITS);
}

static void bit_clear(u64 *map, u32 i)
{
	map[i / WORD_BITS] &= ~(1ull << (i % WORD_BITS));
}

static void mark_used(struct vb_slots *s, u32 slot)
{
	u32 word = slot / WORD_BITS;

	bit_set(s->used, slot);
	if (s->used[word] != ALL_ONES)
		return;
	bit_set(s->full, word);
	if (s->full[word / WORD_BITS] == ALL_ONES)
		bit_set(s->packed, word / WORD_BITS);
}

static void mark_free(struct vb_slots *s, u32 slot)
{
	u32 word = slot / WORD_BITS;

	bit_clear(s->used, slot);
	bit_clear(s->full, word);
	bit_clear(s->packed, word / WORD_BITS);
}

size_t vb_slots_bytes(u32 count)
{
	u32 words = words_of(count);
	u32 full = words_of(words);

	return ((size_t)words * 2 + full + words_of(full)) * sizeof(u64);
}

void vb_slots_init(struct vb_slots *s, u32 count, void *memory)
{
	u32 words = words_of(count);

	memset(memory, 0xff, vb_slots_bytes(count));
	s->count = count;
	s->present = 0;
	s->free = 0;
	s->used = memory;
	s->absent = s->used + words;
	s->full = s->absent + words;
	s->packed = s->full + words_of(words);
}

static bool inside(const struct vb_slots *s, u32 first, u32 n)
{
	return n && first < s->count && n <= s->count - first;
}

int vb_slots_add(struct vb_slots *s, u32 first, u32 n)
{
	u32 i;

	if (!inside(s, first, n))
		return -EINVAL;
	for (i = 0; i < n; i++)
		if (!bit_get(s->absent, first + i))
			return -EEXIST;
	for (i = 0; i < n; i++) {
		bit_clear(s->absent, first + i);
		mark_free(s, first + i);
	}
	s->present += n;
	s->free += n;
	return 0;
}

int vb_slots_remove(struct vb_slots *s, u32 first, u32 n)
{
	bool busy = false;
	u32 i;

	if (!inside(s, first, n))
		return -EINVAL;
	for (i = 0; i < n; i++) {
		if (bit_get(s->absent, first + i))
			return -EINVAL;
		busy |= bit_get(s->used, first + i);
	}
	if (busy)
		return -EBUSY;
	for (i = 0; i < n; i++) {
		bit_set(s->absent, first + i);
		mark_used(s, first + i);
	}
	s->present -= n;
	s->free -= n;
	return 0;
}

static u32 lowest_clear(u64 word)
{
	return (u32)__ffs64(~word);
}

static u32 highest_clear(u64 word)
{
	return (u32)fls64(~word) - 1;
}

/* Both are called with a slot free, so that no word looked for is all ones. */
static u32 find_lowest(const struct vb_slots *s)
{
	u32 i = 0;

	while (s->packed[i] == ALL_ONES)
		i++;
	i = i * WORD_BITS + lowest_clear(s->packed[i]);
	i = i * WORD_BITS + lowest_clear(s->full[i]);
	return i * WORD_BITS + lowest_clear(s->used[i]);
}

static u32 find_highest(const struct vb_slots *s)
{
	u32 i = words_of(words_of(words_of(s->count))) - 1;

	while (s->packed[i] == ALL_ONES)
		i--;
	i = i * WORD_BITS + highest_clear(s->packed[i]);
	i = i * WORD_BITS + highest_clear(s->full[i]);
	return i * WORD_BITS + highest_clear(s->used[i]);
}

u32 vb_slots_take(struct vb_slots *s, bool top)
{
	u32 slot;

	if (!s->free)
		return VB_SLOTS_NONE;
	slot = top ? find_highest(s) : find_lowest(s);
	mark_used(s, slot);
	s->free--;
	return slot;
}

/* The first free slot at or after @slot; s->count when there is none. */
static u32 next_free(const struct vb_slots *s, u32 slot)
{
	u32 word = slot / WORD_BITS;
	u64 bits;

	if (slot >= s->count)
		return s->count;
	bits = ~s->used[word] & (ALL_ONES << (slot % WORD_BITS));
	while (!bits) {
		word++;
		while (word < words_of(s->count) && word % WORD_BITS == 0 &&
		       s->full[word / WORD_BITS] == ALL_ONES)
			word += WORD_BITS;
		if (word >= words_of(s->count))
			return s->count;
		bits = ~s->used[word];
	}
	return word * WORD_BITS + (u32)__ffs64(bits);
}

/* The first slot in use at or after @slot and before @end; @end when there is none. */
static u32 next_used(const struct vb_slots *s, u32 slot, u32 end)
{
	u32 word = slot / WORD_BITS;
	u64 bits = s->used[word] & (ALL_ONES << (slot % WORD_BITS));

	while (!bits) {
		word++;
		if (word * WORD_BITS >= end)
			return end;
		bits = s->used[word];
	}
	slot = word * WORD_BITS + (u32)__ffs64(bits);
	return slot < end ? slot : end;
}

u32 vb_slots_take_run(struct vb_slots *s, u32 n)
{
	u32 first, end, i;

	if (!n || n > s->free)
		return VB_SLOTS_NONE;
	first = find_lowest(s);
	while (first < s->count && n <= s->count - first) {
		end = next_used(s, first, first + n);
		if (end == first + n)
			break;
		first = next_free(s, end);
	}
	if (first >= s->count || n > s->count - first)
		return VB_SLOTS_NONE;
	for (i = 0; i < n; i++)
		mark_used(s, first + i);
	s->free -= n;
	return first;
}

int vb_slots_take_this(struct vb_slots *s, u32 slot)
{
	if (slot >= s->count || bit_get(s->absent, slot))
		return -EINVAL;
	if (bit_get(s->used, slot))
		return -EEXIST;
	mark_used(s, slot);
	s->free--;
	return 0;
}

int vb_slots_give(struct vb_slots *s, u32 slot)
{
	if (slot >= s->count || bit_get(s->absent, slot) || !bit_get(s->used, slot))
		return -EINVAL;
	mark_free(s, slot);
	s->free++;
	return 0;
}

bool vb_slots_is_free(const struct vb_slots *s, u32 slot)
{
	return slot < s->count && !bit_get(s->used, slot);
}

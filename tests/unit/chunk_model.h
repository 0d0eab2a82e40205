/* SPDX-License-Identifier: MIT */
/*
 * A chunk as a set of copies, each with the version of the content it holds.
 *
 * Slow and obviously right: a step is legal when no content is lost, no stale copy
 * is left behind and nobody who holds the host copy notices.  Version 0 is zero,
 * NO_COPY is nothing at all.
 */
#ifndef TESTS_UNIT_CHUNK_MODEL_H
#define TESTS_UNIT_CHUNK_MODEL_H

#include <core/chunk.h>

#define NO_COPY		(-1)
#define NOT_MOVING	(-1)

struct model {
	struct vb_chunk_traits t;
	int current;			/* version that a reader must see */
	int copy[VB_TIER_COUNT];	/* version, or NO_COPY */
	int from, to;			/* of the running move, or NOT_MOVING */
	bool lost;
	bool has_crc;
	bool writers;			/* a mapping that writes may exist */
	int pins, maps;
};

static inline bool model_from_file(const struct model *m)
{
	return m->t.kind == VB_BO_FILE || m->t.kind == VB_BO_DERIVED;
}

/* Could a reader still get the content, if only these tiers were left? */
static inline bool model_can_read(const struct model *m, unsigned int tiers)
{
	int tier;

	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		if (tiers >> tier & 1 && m->copy[tier] == m->current)
			return true;
	return model_from_file(m) || (m->t.kind == VB_BO_ANONYMOUS && m->current == 0);
}

static inline int model_holders(const struct model *m)
{
	return m->pins + m->maps;
}

static inline void model_forget(struct model *m, int tier)
{
	m->copy[tier] = NO_COPY;
	if (tier == VB_TIER_NVME && !model_from_file(m))
		m->has_crc = false;
}

/* What would storage have to be written for: content that it does not hold yet. */
static inline bool model_storage_wants(const struct model *m, int from)
{
	if (model_from_file(m) || m->t.life == VB_LIFE_SCRATCH || m->current == 0)
		return false;
	if (m->copy[VB_TIER_NVME] == NO_COPY)
		return true;
	return from == VB_TIER_NVME && !m->t.sealed;
}

static inline int model_begin(struct model *m, int from, int to, bool slot)
{
	bool found;

	if (from > VB_TIER_ZERO || to >= VB_TIER_COUNT || !slot)
		return -EINVAL;
	if (m->lost)
		return -EIO;
	if (m->from != NOT_MOVING)
		return -EBUSY;
	if (from == VB_TIER_ZERO)
		found = m->t.kind == VB_BO_ANONYMOUS && m->current == 0;
	else if (from == VB_TIER_SOURCE)
		found = model_from_file(m) && m->copy[0] == NO_COPY &&
			m->copy[1] == NO_COPY && m->copy[2] == NO_COPY;
	else
		found = m->copy[from] == m->current;
	if (!found || (from != to && m->copy[to] != NO_COPY))
		return -EINVAL;
	if (to == VB_TIER_NVME && !model_storage_wants(m, from))
		return -EINVAL;
	if (m->t.life == VB_LIFE_SCRATCH && from <= VB_TIER_NVME && from != to)
		return -EINVAL;
	if (m->writers)
		return -EBUSY;
	if (from == VB_TIER_HOST && to == VB_TIER_HOST && model_holders(m))
		return -EBUSY;
	m->from = from;
	m->to = to;
	return 0;
}

/* @same: the checksum given is the one recorded. */
static inline int model_commit(struct model *m, int from, int to, bool slot, bool given,
			       bool same)
{
	if (!slot || from != m->from || to != m->to)
		return -EINVAL;
	if (given && m->has_crc && !same && from == VB_TIER_SOURCE)
		return -ESTALE;
	if (given && m->has_crc && !same && from == VB_TIER_NVME)
		return -EIO;
	m->copy[to] = m->current;
	if (given && (from == VB_TIER_SOURCE || to == VB_TIER_NVME))
		m->has_crc = true;
	m->from = m->to = NOT_MOVING;
	return 0;
}

static inline int model_abort(struct model *m, int from, int to, bool slot)
{
	if (!slot || from != m->from || to != m->to)
		return -EINVAL;
	m->from = m->to = NOT_MOVING;
	return 0;
}

static inline int model_drop(struct model *m, int tier)
{
	unsigned int rest = 7u & ~(1u << tier);

	if (tier >= VB_TIER_COUNT || m->copy[tier] == NO_COPY)
		return -EINVAL;
	if (m->from != NOT_MOVING || (tier == VB_TIER_HOST && model_holders(m)))
		return -EBUSY;
	if (m->t.life == VB_LIFE_SCRATCH) {
		model_forget(m, tier);
		if (!model_can_read(m, 7))
			m->current = 0;
		return 0;
	}
	/* A durable chunk must outlive its device. */
	if (m->t.life == VB_LIFE_DURABLE && tier != VB_TIER_DEVICE)
		rest &= ~(1u << VB_TIER_DEVICE);
	if (!model_can_read(m, rest))
		return -EBUSY;
	/* Sealed content that leaves storage would be written a second time. */
	if (m->t.sealed && tier == VB_TIER_NVME && m->current != 0)
		return -EBUSY;
	model_forget(m, tier);
	return 0;
}

static inline bool model_read_only(const struct model *m)
{
	return m->t.sealed || model_from_file(m);
}

static inline int model_write(struct model *m, int tier)
{
	int other;

	if (model_read_only(m))
		return -EROFS;
	if (tier >= VB_TIER_COUNT)
		return -EINVAL;
	if (m->lost)
		return -EIO;
	if (m->copy[tier] == NO_COPY || tier == VB_TIER_NVME)
		return -EINVAL;
	if (m->from != NOT_MOVING || (tier != VB_TIER_HOST && model_holders(m)))
		return -EBUSY;
	m->current++;
	m->copy[tier] = m->current;
	for (other = 0; other < VB_TIER_COUNT; other++)
		if (m->copy[other] != m->current)
			model_forget(m, other);
	return 0;
}

static inline int model_hold(struct model *m, int *count)
{
	if (m->lost)
		return -EIO;
	if (m->copy[VB_TIER_HOST] == NO_COPY)
		return -EINVAL;
	if (m->from != NOT_MOVING || *count == 65535)
		return -EBUSY;
	++*count;
	return 0;
}

static inline int model_map(struct model *m, bool write)
{
	int rc;

	if (write && model_read_only(m))
		return -EROFS;
	rc = model_hold(m, &m->maps);
	if (!rc && write) {
		rc = model_write(m, VB_TIER_HOST);
		m->writers = true;
	}
	return rc;
}

static inline int model_unmap(struct model *m)
{
	if (!m->maps)
		return -EINVAL;
	m->maps--;
	if (!m->maps)
		m->writers = false;
	return 0;
}

static inline int model_unpin(struct model *m)
{
	if (!m->pins)
		return -EINVAL;
	m->pins--;
	return 0;
}

static inline int model_lose(struct model *m, int tier, bool slot)
{
	bool ends = m->from != NOT_MOVING && (m->from == tier || m->to == tier);

	if (tier >= VB_TIER_COUNT || (ends && !slot))
		return -EINVAL;
	if (ends)
		m->from = m->to = NOT_MOVING;
	if (m->copy[tier] == NO_COPY)
		return 0;
	model_forget(m, tier);
	if (model_can_read(m, 7))
		return 0;
	m->current = 0;
	if (m->t.life != VB_LIFE_SCRATCH || model_holders(m))
		m->lost = true;
	return 0;
}

static inline int model_release(struct model *m)
{
	if (m->from != NOT_MOVING)
		return -EBUSY;
	*m = (struct model) { .t = m->t, .copy = { NO_COPY, NO_COPY, NO_COPY },
			      .from = NOT_MOVING, .to = NOT_MOVING };
	return 0;
}

/* The flags that the table must show for this model. */
static inline u8 model_flags(const struct model *m)
{
	u8 flags = 0;

	if (!model_from_file(m) && m->current != 0) {
		flags |= VB_ENTRY_TOUCHED;
		if (m->copy[VB_TIER_NVME] == NO_COPY)
			flags |= VB_ENTRY_DIRTY;
	}
	if (m->has_crc)
		flags |= VB_ENTRY_CRC;
	if (m->lost)
		flags |= VB_ENTRY_LOST;
	if (m->writers)
		flags |= VB_ENTRY_MAP_WRITE;
	return flags;
}

static inline u8 model_valid(const struct model *m)
{
	u8 valid = 0;
	int tier;

	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		if (m->copy[tier] != NO_COPY)
			valid |= (u8)(1 << tier);
	return valid;
}

static inline u8 model_busy(const struct model *m)
{
	return m->from == NOT_MOVING ? 0 : (u8)(1 + m->from * 8 + m->to);
}

/* The model behind an entry, as far as the entry tells. */
static inline struct model model_of(const struct vb_table_entry *e,
				    const struct vb_chunk_traits *t)
{
	struct model m = { .t = *t, .from = NOT_MOVING, .to = NOT_MOVING };
	int tier;

	m.current = e->flags & VB_ENTRY_TOUCHED ? 1 : 0;
	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		m.copy[tier] = e->valid >> tier & 1 ? m.current : NO_COPY;
	if (e->busy) {
		m.from = (e->busy - 1) / 8;
		m.to = (e->busy - 1) % 8;
	}
	m.lost = e->flags & VB_ENTRY_LOST;
	m.has_crc = e->flags & VB_ENTRY_CRC;
	m.writers = e->flags & VB_ENTRY_MAP_WRITE;
	m.pins = e->pins;
	m.maps = e->maps;
	return m;
}

/*
 * Is it a state that honest steps can lead to?  The others are thrown at the
 * transitions too, but only to see that a refusal changes nothing.
 */
static inline bool model_is_sound(const struct model *m)
{
	struct model probe = *m;

	if (m->lost)
		return m->from == NOT_MOVING && !model_valid(m) && m->current == 0 &&
		       !model_from_file(m) && !m->has_crc && m->t.kind == VB_BO_ANONYMOUS;
	if (m->t.kind == VB_BO_IMPORTED)
		return !model_valid(m) && !m->current && !m->has_crc && !m->writers &&
		       m->from == NOT_MOVING && !model_holders(m);
	if (m->current != 0 && (model_from_file(m) || !model_can_read(m, 7)))
		return false;
	if (m->copy[VB_TIER_NVME] != NO_COPY &&
	    (model_from_file(m) || m->t.life == VB_LIFE_SCRATCH || m->current == 0))
		return false;
	if (m->has_crc && !model_from_file(m) && m->copy[VB_TIER_NVME] == NO_COPY)
		return false;
	if (m->writers && (!m->maps || model_read_only(m) || m->current == 0 ||
			   model_valid(m) != 1 << VB_TIER_HOST))
		return false;
	probe.from = probe.to = NOT_MOVING;
	if (m->from == NOT_MOVING)
		return true;
	return model_begin(&probe, m->from, m->to, true) == 0;
}

#endif

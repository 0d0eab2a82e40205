/* SPDX-License-Identifier: MIT */
/*
 * How much of a host tier is kept for transfers, and what panels take of it: said once,
 * for the executor and for those who plan.
 */
#ifndef VGPU_STAGING_H
#define VGPU_STAGING_H

#include <stdint.h>

/*
 * Two panels of a chunk each, one behind the other, lie in three chunks of the weight
 * and, where that has scales apart, in two of those; and one is read ahead of them.
 */
#define VGPU_STAGING_CHUNKS_MIN	6u
/*
 * Who asks for fewer gets them: panels then take from what is kept, and little or nothing
 * is read ahead.
 */
#define VGPU_STAGING_CHUNKS_LEAST	2u
#define VGPU_STAGING_SHARE	20u	/* default: one slot in so many */

/*
 * Chunks of a tier from which on the least that is kept is no more than the share: tiers
 * take smaller chunks rather than have fewer.
 */
#define VGPU_TIER_CHUNKS_MIN	(VGPU_STAGING_CHUNKS_MIN * VGPU_STAGING_SHARE)

/* Chunks that bytes touch at most, wherever they begin. */
static inline uint64_t vgpu_chunks_touched(uint64_t bytes, uint64_t chunk_bytes)
{
	return (bytes + chunk_bytes - 1) / chunk_bytes + 1;
}

/* Slots kept for transfers of so many, unless somebody chose. */
static inline uint64_t vgpu_staging_slots(uint64_t slots)
{
	uint64_t staging = slots / VGPU_STAGING_SHARE;

	return staging < VGPU_STAGING_CHUNKS_MIN ? VGPU_STAGING_CHUNKS_MIN : staging;
}

#endif

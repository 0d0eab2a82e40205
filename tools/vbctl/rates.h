/* SPDX-License-Identifier: MIT */
/* How fast this machine reads, multiplies and packs. */
#ifndef VBCTL_RATES_H
#define VBCTL_RATES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/weights.h"

/**
 * struct rates - in bytes a second
 * @storage: reading a file
 * @compute: weights that products use
 * @pack: source bytes packed
 * @measured: else they are assumed
 * @reason: of the storage figure, when measured
 */
struct rates {
	double storage, compute, pack;
	bool measured;
	char reason[256];
};

/* A common NVMe disk and two cores: to have something to plan with. */
void rates_assume(struct rates *r);

/**
 * rates_measure() - for about a second
 * @w: its first large enough matrix is multiplied with and packed
 *
 * Prints why when it fails. Return: exit status.
 */
int rates_measure(const struct vgpu_checkpoint *ck, const struct weights *w, uint64_t chunk_bytes,
		  uint32_t m, struct rates *r);

#endif

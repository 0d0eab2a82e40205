/* SPDX-License-Identifier: GPL-2.0 */
/* What is resident, for those who look. */
#ifndef VB_USAGE_H
#define VB_USAGE_H

#include "core/deps.h"

/**
 * struct vb_usage - for those who look: chunks of a client, or of all; slot_lock
 * @resident: with a current copy, by tier
 * @purgeable: of these copies, those that may go at once
 */
struct vb_usage {
	u64 resident[VB_TIER_COUNT], purgeable[VB_TIER_COUNT];
};

#endif

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * How an executor ended, and whether the work that it had in its hands may be why.
 *
 * An executor that is killed, or told to leave, by somebody else says nothing of its work:
 * however often that happens, the work is innocent.  One that crashed, gave up, fell
 * silent or used up all memory may have done so because of it.
 */
#ifndef VB_CORE_DEATH_H
#define VB_CORE_DEATH_H

#include "deps.h"

/**
 * struct vb_death - what is known of an executor that has left its file
 * @status: as wait() tells how its process ended: signal, or exit status << 8
 * @ended: it has ended, or is about to; else @status says nothing
 * @was_silent: the device killed it, because it made no call
 * @was_starved: the kernel did, because there was no memory left
 */
struct vb_death {
	u32 status;
	bool ended, was_silent, was_starved;
};

/**
 * vb_death_is_blamed() - may the work that an executor had in its hands be what ended it
 * @d: its end
 *
 * Return: false when somebody else has killed it or told it to leave.
 */
bool vb_death_is_blamed(const struct vb_death *d);

#endif

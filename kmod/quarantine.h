/* SPDX-License-Identifier: GPL-2.0 */
/* Slots that nobody has, and somebody still refers to. */
#ifndef VB_QUARANTINE_H
#define VB_QUARANTINE_H

struct vb_region;
struct vb_slot;
struct vb_user;

/* In one look: a slot in pieces has hundreds of pages to look at, under slot_lock. */
#define VB_QUARANTINE_FEW	8u

/* All under slot_lock. */
void vb_quarantine_enter_locked(struct vb_slot *slot, struct vb_user *user);	/* NULL: nobody's */
void vb_quarantine_look_locked(const struct vb_region *region, struct vb_slot *slot);
void vb_quarantine_sweep_locked(struct vb_user *user);	/* NULL: anybody's */
void vb_quarantine_leave_locked(void);	/* those of arenas that are gone */

#endif

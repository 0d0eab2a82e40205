/* SPDX-License-Identifier: GPL-2.0 */
/* Arenas that outlive their executor, and are adopted by its successor. */
#ifndef VB_ADOPT_H
#define VB_ADOPT_H

#include "core/deps.h"

struct vb_exec;
struct vb_ucmd;

void vb_arenas_orphan(void);
void vb_arenas_settle(void);
int vb_arena_query(struct vb_exec *x, struct vb_ucmd *u);
int vb_slot_query(struct vb_exec *x, struct vb_ucmd *u);
int vb_arena_adopt(struct vb_exec *x, struct vb_ucmd *u);

#endif

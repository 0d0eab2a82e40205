/* SPDX-License-Identifier: MIT */
/*
 * Page-ins: content that a client's thread wants in host memory.
 *
 * They are served client by client in turn, those of one in the order in which they came.
 * One that finds no room waits in line (room.h); those behind it are served meanwhile, but for
 * its turns: however many a client waits for, each other is next after one of them.  One whose file
 * is slow keeps its slot and stands aside.
 */
#ifndef VGPU_EXEC_PAGE_IN_H
#define VGPU_EXEC_PAGE_IN_H

#include "late.h"
#include "room.h"

/**
 * struct vgpu_page_in - a request of the device
 * @req: as fetched
 * @came: CLOCK_MONOTONIC
 * @round: its place in line, vgpu_turn_round()
 * @attempt: to serve it
 * @late: its file keeps it waiting
 * @slot, @slots: once it is served: pinned until the client was answered, who then
 *	holds them
 */
struct vgpu_page_in {
	struct vb_ioc_fetch req;
	uint64_t came, round;
	struct vgpu_room room;
	struct vgpu_attempt attempt;
	struct vgpu_late late;
	uint32_t slot, slots;
	struct vgpu_page_in *next;
};

/**
 * vgpu_page_in_try() - serve it
 *
 * Return: 0, or what it ends with: -ETIME its deadline passed, -ETIMEDOUT its file does
 * not answer, -EBUSY clients hold what it needs too long, what vgpu_resid_use_run() said;
 * -EAGAIN it waits.
 */
int vgpu_page_in_try(struct vgpu_resid *r, struct vgpu_store *store, struct vgpu_page_in *p);
/* The client was answered. */
void vgpu_page_in_release(struct vgpu_resid *r, struct vgpu_page_in *p);

#endif

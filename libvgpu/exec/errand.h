/* SPDX-License-Identifier: MIT */
/*
 * What a client's file system may never answer - open(2), close(2), a measurement - is done
 * by a thread of its own: whoever needs it looks whether it is done, and may leave.
 */
#ifndef VGPU_EXEC_ERRAND_H
#define VGPU_EXEC_ERRAND_H

#include <stdbool.h>
#include <stdint.h>

struct vgpu_errand;

/**
 * vgpu_errand_begin() - have something done
 * @run: does it; on another thread, which takes no signals
 * @drop: called after it, on its thread, when nobody asks any more: frees @arg
 * @arg: handed to both
 * @out: for vgpu_errand_is_done() and vgpu_errand_leave()
 *
 * Return: 0; -ENOMEM, -EAGAIN no thread is to be had, and nothing was done.
 */
int vgpu_errand_begin(void (*run)(void *arg), void (*drop)(void *arg), void *arg,
		      struct vgpu_errand **out);

/**
 * vgpu_errand_is_done() - is it?  Waits at most @wait_ns for that
 *
 * What @run wrote is seen then.
 */
bool vgpu_errand_is_done(struct vgpu_errand *e, uint64_t wait_ns);

/**
 * vgpu_errand_leave() - nobody asks any more; @e is gone
 *
 * Return: true: it is done, and @arg is the caller's again; false: @drop gets it.
 */
bool vgpu_errand_leave(struct vgpu_errand *e);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Why submissions failed.  A fence carries an errno and no sentence, so the executor
 * keeps the last sentences for those who ask.
 */
#ifndef VGPU_EXEC_FAILURE_H
#define VGPU_EXEC_FAILURE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define VGPU_FAILURE_TEXT	256
#define VGPU_FAILURES		16u	/* the last ones are kept */

/**
 * struct vgpu_failure - one submission that failed
 * @queue: device-wide number of its queue (vb_ioc_queue_create.out_number)
 * @seqno: its number there
 * @text: which command, field, value and limit; "" when there is nothing to add
 */
struct vgpu_failure {
	uint32_t queue;
	uint64_t seqno;
	char text[VGPU_FAILURE_TEXT];
};

/**
 * struct vgpu_failures - the last of them
 * @lock: protects the rest, so that nobody who asks waits for the executor
 * @count: noted so far
 */
struct vgpu_failures {
	pthread_mutex_t lock;
	struct vgpu_failure kept[VGPU_FAILURES];
	uint32_t count;
};

void vgpu_failures_init(struct vgpu_failures *f);
void vgpu_failures_fini(struct vgpu_failures *f);

/* Nothing is kept of a failure without a text. */
void vgpu_failures_note(struct vgpu_failures *f, const struct vgpu_failure *failure);

/**
 * vgpu_failures_describe() - the sentence of one submission
 * @key: "error QUEUE SEQNO", or "error" for the last one
 * @text: filled, terminated, cut to @len bytes
 *
 * Return: length of the whole sentence; -ENOENT when none is kept.
 */
int vgpu_failures_describe(struct vgpu_failures *f, const char *key, char *text, size_t len);

#endif

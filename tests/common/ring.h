/* SPDX-License-Identifier: MIT */
/*
 * A ring of io_uring for the commands of the module's nodes, as tests and bench need it:
 * one command, one answer.
 */
#ifndef TESTS_RING_H
#define TESTS_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "uapi.h"

/**
 * struct ring - a ring, and the node that its commands go to
 * @io: entries of 128 bytes
 * @fd: the node's
 */
struct ring {
	struct io_uring io;
	int fd;
};

#define RING_DISARM	(~0ull)	/* id of ring_disarm() */

/* What came of a command. */
struct ring_answer {
	uint64_t id;
	int32_t res;
};

/* @flags: IORING_SETUP_*, SQE128 is added.  0 or -errno. */
int ring_open(struct ring *r, struct vgpu_uapi *node, unsigned int entries, unsigned int flags);
void ring_close(struct ring *r);

/*
 * Queue a command with @bytes of payload; it goes to the kernel with the next call below.
 * Until then its entry may be changed: IOSQE_ASYNC, IOSQE_IO_LINK.
 */
struct io_uring_sqe *ring_add(struct ring *r, uint32_t op, const void *payload, size_t bytes,
			      uint64_t id);
int ring_submit(struct ring *r);	/* how many went, or -errno */
/* The next answer; -ETIME when none comes within @ms. */
int ring_next(struct ring *r, unsigned int ms, struct ring_answer *out);
/* One command and its result, with no other in flight; -ETIME as above. */
int ring_call(struct ring *r, uint32_t op, const void *payload, size_t bytes);

/* ---- executor ---- */

void ring_add_fetch(struct ring *r, uint32_t flags, uint32_t first, uint32_t count, uint64_t id);
/* Commit, and fetch into @count slots from @first; 0: commit only. */
struct io_uring_sqe *ring_add_commit(struct ring *r, uint32_t generation, uint64_t tag,
				     int status, uint32_t first, uint32_t count, uint64_t id);
/* End the fetches into these slots, and see their answers; 0 or -errno. */
int ring_disarm(struct ring *r, uint32_t first, uint32_t count);
/* The slots, mapped; slot @i is ring_slot(slots, i).  0 or -errno. */
int ring_map_slots(struct vgpu_uapi *node, void **out);
static inline const struct vb_ioc_fetch *ring_slot(const void *slots, uint32_t i)
{
	return (const void *)((const char *)slots + (size_t)i * VB_URING_SLOT_BYTES);
}

/* ---- client ---- */

void ring_add_wait(struct ring *r, uint32_t queue, uint64_t seqno, uint64_t id);
/* @cmd stays as it is until the answer. */
struct io_uring_sqe *ring_add_submit(struct ring *r, struct vb_ioc_submit *cmd, uint64_t id);

#endif

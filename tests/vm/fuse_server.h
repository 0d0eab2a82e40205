/* SPDX-License-Identifier: MIT */
/*
 * A file system of one file, "file", that a child serves through /dev/fuse, and that falls
 * silent, errs or dies when it is told to.
 *
 * What it does not answer is never answered, until it dies: with its parent, and in any case
 * before anybody gives the test up, since a process that waits for it can itself not be killed
 * (fuse: "Either request is already in userspace, or it was forced.  Wait it out").
 */
#ifndef TESTS_FUSE_SERVER_H
#define TESTS_FUSE_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct fuse_server - what is mounted
 * @mountpoint: made where it is not there
 * @bytes: length of the file
 * @byte: content, by offset
 * @fate: what becomes of the next request that could be answered, by its opcode: 0 it is
 *	answered, -errno with that, else never; asked in the child, where it may take its time;
 *	NULL: it is answered
 * @uid: who may ask, unless all may
 * @for_all: all may
 * @init_flags: FUSE_* that it says it has
 * @seconds: it lives at most
 */
struct fuse_server {
	const char *mountpoint;
	uint64_t bytes;
	uint8_t (*byte)(uint64_t offset);
	int (*fate)(uint32_t opcode);
	uid_t uid;
	bool for_all;
	uint32_t init_flags, seconds;
};

/**
 * struct fuse_orders - what the child does not answer, or not well; all zero: it answers
 * @opcodes: a bit each of enum fuse_opcode, FUSE_ORDER()
 * @only_uid: of this user; 0: of everybody
 * @error: an errno for these; 0: never an answer
 * @ignored: of these, so far
 * @read_most: bytes that a read is answered with; 0: all that it asks for
 */
struct fuse_orders {
	uint64_t opcodes;
	uint32_t only_uid, error, ignored, read_most;
};

#define FUSE_ORDER(opcode)	(1ull << (opcode))

/* Of the server that there is, shared with it. */
extern struct fuse_orders *fuse_orders;

/* One at a time; NULL, or why there is none. */
const char *fuse_server_start(const struct fuse_server *s);
/* All that waits for it ends with its death.  Fine when there is none. */
void fuse_server_end(void);

#endif

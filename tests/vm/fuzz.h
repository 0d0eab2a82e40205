/* SPDX-License-Identifier: MIT */
/*
 * A structured fuzzer of the module: requests that are nearly right, from processes
 * that race, share descriptors and mappings, and are killed.
 *
 *	fuzz_module.c	rounds: starts participants, kills them, looks at what is left
 *	fuzz_client.c	a client: requests
 *	fuzz_memory.c	a client: mappings, and what memory calls do to them
 *	fuzz_ring.c	rings of io_uring, of both
 *	fuzz_exec.c	an executor that answers, delays, errs and dies
 *	fuzz_cover.c	what code of the module all that reached
 *	fuse_server.c	a file system that is late, errs, falls silent and dies
 *
 * Content is checked all along.  Whoever writes, writes words of his own (fuzz_word());
 * the executor, however wrong its requests are, never commits a slot that it has not
 * filled.  So a client that ever reads a word of another one has found memory that was
 * not cleaned.
 *
 * One seed gives one sequence of choices a thread; what threads do to each other is
 * up to the scheduler, so a seed narrows a failure down and does not repeat it.
 */
#ifndef TESTS_VM_FUZZ_H
#define TESTS_VM_FUZZ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <liburing.h>
#include <linux/vblackwell.h>

#define FUZZ_REQUESTS	0x100	/* request numbers that are counted, and commands of io_uring */
#define FUZZ_FILE_BYTES	(5u << 20)
#define FUZZ_SILENT	"/tmp/vb-fuzz"		/* where the file system is that may be silent */
#define FUZZ_SILENT_BYTES	(640u << 10)	/* of its file */

/**
 * struct fuzz - what all processes share
 * @left: iterations to do
 * @stop: participants leave
 * @done: iterations done
 * @made: requests, by number
 * @succeeded: of these
 * @problems: of participants
 * @problem: the first one, in words
 * @chunk_bytes: of the device
 * @file, @file_on_disk: what file objects are made of; words of FUZZ_FILE_WORD
 * @disk: an NVMe device full of zeros, opened with O_DIRECT, or -1
 */
struct fuzz {
	atomic_long left;
	atomic_bool stop;
	atomic_ulong done;
	atomic_ulong made[FUZZ_REQUESTS], succeeded[FUZZ_REQUESTS];
	atomic_uint problems;
	char problem[200];
	uint32_t chunk_bytes;
	int file, file_on_disk, disk;
};

extern struct fuzz *fuzz;

/* Tell the supervisor: the run has failed. */
void fuzz_problem(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- chance ---- */

struct chance {
	uint64_t state;
};

/* splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators". */
static inline uint64_t chance(struct chance *c)
{
	uint64_t z = c->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline uint64_t below(struct chance *c, uint64_t n)
{
	return chance(c) % n;
}

static inline bool one_in(struct chance *c, uint64_t n)
{
	return !below(c, n);
}

/* Any magnitude is as likely as any other. */
static inline uint64_t any_size(struct chance *c)
{
	return chance(c) >> below(c, 64);
}

/* ---- content ---- */

#define FUZZ_FILE_WORD	0x46696c6546696c65ull

/* The words of participant @who. */
static inline uint64_t fuzz_word(uint32_t who)
{
	return 0x5642000000000000ull | who;
}

/* May participant @who see it? */
static inline bool fuzz_may_see(uint32_t who, uint64_t word)
{
	return !word || word == fuzz_word(who) || word == FUZZ_FILE_WORD;
}

/* ---- participants ---- */

/* ioctl() with its errors checked and counted: 0 or -errno. */
int fuzz_call(int fd, unsigned long request, void *arg);

/* The same for what came of a command. */
void fuzz_count(uint32_t nr, int rc);

/* Never return. */
void fuzz_client(uint32_t who, uint64_t seed) __attribute__((noreturn));
void fuzz_exec(uint32_t who, uint64_t seed) __attribute__((noreturn));

/* --- fuzz_ring.c --- */

/**
 * struct fuzz_ring - a ring of one thread; all zero: not open
 * @wide: entries of 128 bytes
 */
struct fuzz_ring {
	struct io_uring io;
	bool open, wide;
};

/* A command to a node, by a ring that is opened when there is none. */
void fuzz_ring_put(struct fuzz_ring *r, struct chance *c, int fd, uint32_t op, const void *payload,
		   size_t bytes, bool async);
/* An answer: its command's number and result; -1 when none comes within so long. */
int fuzz_ring_take(struct fuzz_ring *r, uint32_t wait_us, int32_t *res);
void fuzz_ring_close(struct fuzz_ring *r);

/* --- fuzz_cover.c --- */

/**
 * struct fuzz_cover - what a thread reaches
 * @fd: of kcov, or -1: nothing is known
 * @trace: how many places, and their addresses
 */
struct fuzz_cover {
	int fd;
	volatile uint64_t *trace;
};

/* Before there are participants; succeeds without kcov, too. */
int fuzz_cover_prepare(void);
/* It takes privilege. */
int fuzz_cover_open(struct fuzz_cover *c);
/* From here on, of the thread that calls. */
int fuzz_cover_begin(struct fuzz_cover *c);
/* After a step: its places are added to all others. */
void fuzz_cover_merge(struct fuzz_cover *c);
void fuzz_cover_print(void);

/* --- fuzz_memory.c --- */
#define CELLS		48u
#define CELL_BYTES	(4ull << 20)

/**
 * struct memory - address space of a client that mappings of objects come and go in
 * @base: CELLS cells of CELL_BYTES; nothing else of the process is ever mapped there
 * @last: where something was mapped last, and is most likely still
 * @who: whose words are right
 * @checked: nobody but him writes here, and he writes words alone
 */
struct memory {
	char *base;
	atomic_uint last;
	uint32_t who;
	bool checked;
};

int memory_init(struct memory *m, uint32_t who, bool checked);
/* Map some of the object with this handle, somewhere. */
void memory_map(struct memory *m, struct chance *c, int fd, uint32_t handle);
/* Copy, if that is possible. */
void memory_put(void *to, const void *from, size_t bytes);
/* One thing that a process may do to its memory. */
void memory_step(struct memory *m, struct chance *c);
/* An address for a request: of a mapping, or a bad one. */
void *memory_any(struct memory *m, struct chance *c);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A device with the executor of libvgpu/exec and one client, and short words for what
 * tests of the executor do.  Everything goes through the UAPI.
 *
 * Functions that cannot go on say why and abort; those at the end of this file assert,
 * and want cmocka.h included before it.
 */
#ifndef TESTS_EXEC_RIG_H
#define TESTS_EXEC_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/exec.h"
#include "exec/io.h"

#define XCHUNK	(64u << 10)

/* Instrumented code takes many times as long: what is the same over and over is done less often. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define XSANITIZED	true
#else
#define XSANITIZED	false
#endif

/**
 * struct xrig - a device
 * @text: why it could not be opened, or what its books say
 */
struct xrig {
	struct vgpu_loop *loop;
	struct vgpu_exec *exec;
	struct vgpu_uapi *client;
	uint32_t queue;
	char text[256];
};

/* Two threads, chunks of XCHUNK, and a host tier of so many, staging included. */
struct vgpu_exec_params xrig_params(uint32_t slots);
/* 0, or what vgpu_exec_open() said. */
int xrig_open(struct xrig *r, const struct vgpu_exec_params *p);
void xrig_free(struct xrig *r);
struct vgpu_uapi *xrig_client(struct xrig *r);		/* another one */
uint32_t xrig_queue(struct vgpu_uapi *client, uint32_t weight);
const char *xrig_error(struct xrig *r);			/* the executor's last sentence */
void xrig_counters(struct xrig *r, uint64_t out[VB_COUNT_COUNT]);
/*
 * Storage, or this machine, was so slow that others went on: what they use then is not what
 * was planned, and what is kept gives way to what is awaited.  Nothing is promised of how
 * often that is read, nor how much of it ahead.
 */
bool xrig_was_slow(struct xrig *r);
uint64_t xrig_now(void);				/* CLOCK_MONOTONIC, ns */

/* ---- objects: ids ---- */

uint32_t xrig_anonymous(struct xrig *r, uint64_t bytes);
uint32_t xrig_life(struct xrig *r, uint64_t bytes, uint32_t life);
uint32_t xrig_file(struct xrig *r, int fd, uint64_t offset, uint64_t bytes);
/* [stack][rows][cols] of src at an offset, packed to dst. */
uint32_t xrig_derived(struct xrig *r, int fd, uint64_t offset, uint32_t src, uint32_t dst,
		      uint32_t stack, uint32_t rows, uint32_t cols);
/* As @t says in full. */
uint32_t xrig_transformed(struct xrig *r, int fd, uint64_t offset, const struct vb_transform *t);
/* The same of MXFP4_SPLIT to MXFP4_G16, with the scales elsewhere in the file. */
uint32_t xrig_split(struct xrig *r, int fd, uint64_t offset, uint64_t scales, uint32_t stack,
		    uint32_t rows, uint32_t cols);
int xrig_destroy(struct xrig *r, uint32_t bo);
int xrig_write(struct xrig *r, uint32_t bo, uint64_t offset, const void *p, uint64_t bytes);
int xrig_read(struct xrig *r, uint32_t bo, uint64_t offset, void *p, uint64_t bytes);
int xrig_map(struct xrig *r, uint32_t bo, uint64_t offset, uint64_t bytes, uint32_t flags,
	     void **out);
int xrig_unmap(struct xrig *r, uint32_t bo, uint64_t offset, uint64_t bytes, uint32_t flags);
int xrig_seal(struct xrig *r, uint32_t bo);
int xrig_advise(struct xrig *r, uint32_t bo, uint32_t advice, uint64_t offset, uint64_t bytes);
/* The whole of each object, one behind the other, again and again. */
int xrig_cycle(struct xrig *r, const uint32_t *bos, const uint64_t *bytes, uint32_t n);

/* ---- command buffers ---- */

struct xstream {
	uint64_t words[16384];
	struct vb_bo_ref refs[256];
	uint32_t ref_count;
	uint64_t deadline_ns;
	uint32_t flags;
};

void xstream_begin(struct xstream *s);
void xstream_add(struct xstream *s, const void *cmd, uint32_t bytes);
/* Operands of dense arrays; they also enter the BO list. */
struct vb_operand xvector(struct xstream *s, uint32_t bo, uint32_t access, uint64_t offset,
			  uint16_t format, uint32_t n);
struct vb_operand xmatrix(struct xstream *s, uint32_t bo, uint32_t access, uint64_t offset,
			  uint16_t format, uint32_t rows, uint32_t cols);
struct vb_operand xcube(struct xstream *s, uint32_t bo, uint32_t access, uint64_t offset,
			uint16_t format, uint32_t a, uint32_t b, uint32_t c);
int xsubmit(struct vgpu_uapi *client, uint32_t queue, const struct xstream *s, uint64_t *seqno);
/* How the fence ended; -ETIMEDOUT after two minutes. */
int xwait(struct vgpu_uapi *client, uint32_t queue, uint64_t seqno, uint32_t *bad_command);
/* Submit and wait on the rig's own queue. */
int xrun(struct xrig *r, const struct xstream *s);

/* ---- files and numbers ---- */

/* A temporary file on a real disk, open for reading and writing, its name gone. */
int xfile(const void *bytes, size_t count, uint64_t offset);
/* In [-1, 1), the same for the same index. */
float xvalue(uint64_t i);
float *xvalues(size_t n, uint64_t seed);
void *xalloc(size_t bytes);	/* zeroed; aborts when there is none */
/* xorshift64*, never 0 inside. */
uint64_t xrandom(uint64_t *state);

/* x [m][k] w[n][k]^T in float64; *size is the sum of |x w|. */
double xdot(const float *x, const float *w, uint32_t k, double *size);

#ifdef cmocka_unit_test

#define XTRIES	50u		/* until nothing is slow */

/* @fn returns false where it was slow, and is done again; a machine that always is says nothing. */
static inline void xrig_unless_slow(bool (*fn)(void *arg), void *arg)
{
	for (uint32_t i = 0; i < XTRIES; i++)
		if (fn(arg))
			return;
	print_message("SKIP: storage was slow %u times in a row\n", XTRIES);
	skip();
}

static inline void xrig_assert_sound(struct xrig *r)
{
	if (vgpu_exec_check(r->exec, r->text, sizeof(r->text)))
		fail_msg("%s", r->text);
}

/* Every test ends with this: what is left behind is looked at. */
static inline void xrig_close(struct xrig *r)
{
	xrig_assert_sound(r);
	xrig_free(r);
}

static inline void xrig_start(struct xrig *r, const struct vgpu_exec_params *p)
{
	if (xrig_open(r, p))
		fail_msg("%s", r->text);
}

/* Setup of a test that has a device of its own, which xrig_tear_down() closes. */
static inline int xrig_set_up(void **state, struct xrig *r, uint32_t slots)
{
	struct vgpu_exec_params p = xrig_params(slots);

	xrig_start(r, &p);
	*state = r;
	return 0;
}

static inline int xrig_tear_down(void **state)
{
	xrig_close(*state);
	return 0;
}

/* @set_up of the test's file ends with xrig_set_up(). */
#define XRIG_TEST(test, set_up)	cmocka_unit_test_setup_teardown(test, set_up, xrig_tear_down)

static inline void xrig_must_run(struct xrig *r, const struct xstream *s)
{
	int rc = xrun(r, s);

	if (rc)
		fail_msg("%d: %s", rc, xrig_error(r));
	xrig_assert_sound(r);
}

#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A device to test, and short words for its requests.
 *
 * Tests speak the UAPI through struct vgpu_uapi and do not know who answers: the
 * loopback with one of two executors, or, with VBLACKWELL_SELFTEST_NODE=/dev/... and
 * VBLACKWELL_SELFTEST_EXEC=/dev/..., the module with one of them.  What needs a device
 * in process asks rig_is_ours() first and skips.
 */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/fake_exec.h"
#include "uapi.h"

enum rig_executor {
	RIG_NONE,		/* nobody attached: the test is the executor */
	RIG_FAKE,		/* tests/common/fake_exec.c */
	RIG_REAL,		/* libvgpu/exec */
};

/**
 * struct rig_params - what to make
 * @chunk_bytes: of the device
 * @executor: who serves it
 * @host_slots: content and staging; @nvme_slots: anonymous arena on storage
 */
struct rig_params {
	uint32_t chunk_bytes;
	enum rig_executor executor;
	uint32_t host_slots, nvme_slots;
};

struct rig {
	struct rig_params p;
	uint32_t chunk_bytes;
	struct vgpu_loop *loop;		/* NULL: the module */
	struct fake_exec *fake;
	struct vgpu_exec *real;
	struct vgpu_uapi *client;	/* the first one */
	char directory[32];
};

/* 0, or -1 when it cannot be made (the reason is printed). */
int rig_open(struct rig *r, const struct rig_params *p);
void rig_close(struct rig *r);
static inline bool rig_is_ours(const struct rig *r)
{
	return r->loop;
}
/* Why tests of these parameters cannot run on the device there is; NULL: they can. */
const char *rig_why_not(const struct rig_params *p);
/* Another client; close it with rig_client_close(). */
struct vgpu_uapi *rig_client(struct rig *r);
void rig_client_close(struct vgpu_uapi *u);

/* A file of @bytes of a pattern in the rig's folder, open for reading and writing. */
int rig_file(struct rig *r, uint64_t bytes);
/* The byte of the pattern at an offset. */
static inline uint8_t rig_pattern(uint64_t offset)
{
	return (uint8_t)(offset * 31 + (offset >> 12) * 7 + 1);
}

uint64_t rig_now(void);		/* CLOCK_MONOTONIC, ns */

/* ---- requests: 0 or -errno, outputs through pointers ---- */

int rig_bo(struct vgpu_uapi *u, uint64_t bytes, uint32_t life, uint32_t *out_id);
int rig_bo_file(struct vgpu_uapi *u, int fd, uint64_t offset, uint64_t bytes, uint32_t *out_id);
int rig_bo_destroy(struct vgpu_uapi *u, uint32_t id);
int rig_map(struct vgpu_uapi *u, uint32_t id, uint64_t offset, uint64_t bytes, uint32_t flags,
	    void **out);
int rig_unmap(struct vgpu_uapi *u, uint32_t id, uint64_t offset, uint64_t bytes, uint32_t flags);
int rig_read(struct vgpu_uapi *u, uint32_t id, uint64_t offset, void *to, uint64_t bytes);
int rig_write(struct vgpu_uapi *u, uint32_t id, uint64_t offset, const void *from, uint64_t bytes);
int rig_seal(struct vgpu_uapi *u, uint32_t id);
int rig_advise(struct vgpu_uapi *u, uint32_t id, uint32_t advice, uint64_t offset, uint64_t bytes);
int rig_info(struct vgpu_uapi *u, uint32_t id, struct vb_ioc_bo_info *info);
/* Residency byte of one chunk, 0xff on error. */
uint8_t rig_residency(struct vgpu_uapi *u, uint32_t id, uint32_t chunk);
int rig_limit(struct vgpu_uapi *u, uint32_t limit, uint64_t value);
/* All arenas of a tier together; else as of the first. */
int rig_tier(struct vgpu_uapi *u, uint32_t tier, struct vb_ioc_query_tier *out);
int rig_queue(struct vgpu_uapi *u, uint32_t weight, uint32_t *out_id);
int rig_queue_destroy(struct vgpu_uapi *u, uint32_t id);

/* ---- submissions ---- */

/* A command buffer and its BO list, made by hand. */
struct rig_stream {
	union {
		struct vb_stream_header h;
		uint64_t align;
		char bytes[16384];
	};
	struct vb_bo_ref bos[64];
	uint32_t bo_count;
	struct vb_fence fences[64];
	uint32_t fence_count;
	uint64_t deadline_ns;
	uint32_t flags;
};

void rig_stream(struct rig_stream *s);
void rig_add(struct rig_stream *s, const void *cmd, uint32_t bytes);
uint32_t rig_add_bo(struct rig_stream *s, uint32_t id, uint32_t access);	/* its index */
void rig_add_fence(struct rig_stream *s, uint32_t queue, uint64_t seqno);
void rig_add_nop(struct rig_stream *s);
/* y[0 .. n) of a BO = value, from byte @offset */
void rig_add_fill(struct rig_stream *s, uint32_t bo, uint64_t offset, uint32_t n, float value);
void rig_add_copy(struct rig_stream *s, uint32_t from, uint32_t to, uint32_t n);
int rig_submit(struct vgpu_uapi *u, uint32_t queue, const struct rig_stream *s, uint64_t *out_seqno);
/* What rig_submit() asks for; it points into @s. */
struct vb_ioc_submit rig_submission(uint32_t queue, const struct rig_stream *s);
/* How the fence ended, or -ETIME after @ms; 0 only looks, RIG_FOREVER has no bound. */
#define RIG_FOREVER	UINT32_MAX
int rig_wait(struct vgpu_uapi *u, uint32_t queue, uint64_t seqno, uint32_t ms);

/* ---- as the executor, with RIG_NONE ---- */

/**
 * struct rig_exec - an executor in the hands of a test
 * @memory: of the host arena
 */
struct rig_exec {
	struct vgpu_uapi *node;
	uint32_t generation;
	uint32_t host, device, nvme;	/* arenas */
	char *memory;
	uint64_t bytes;
	void *submit;			/* module: submit region */
};

/* The executor node alone; -EBUSY. */
int rig_exec_node(struct rig *r, struct vgpu_uapi **out);
/* End a thread that sleeps in FETCH and returns what that said; 0, or what was wrong. */
int rig_fetch_end(struct rig *r, pthread_t thread);
/* Attach, no more; where it is not NULL @out_state is what it found: a VB_EXEC_*.  0 or -errno. */
int rig_exec_attach(struct rig *r, struct rig_exec *x, uint32_t *out_state);
/* Attach with @slots slots in each of three arenas; 0 or -1. */
int rig_exec_open(struct rig *r, struct rig_exec *x, uint32_t slots);
/* VB_IOC_RECOVER. */
int rig_recover(struct rig_exec *x, uint32_t flags);
void rig_exec_close(struct rig_exec *x);
int rig_fetch(struct rig_exec *x, struct vb_ioc_fetch *req);	/* never waits: -EAGAIN */
int rig_commit(struct rig_exec *x, uint64_t tag, int status);
int rig_move(struct rig_exec *x, struct vb_move *mv);	/* its out_status, or the call's */
/* Take one request, page-ins bring zeros; enum vb_fetch_type, or 0: there was none. */
uint32_t rig_serve_one(struct rig_exec *x);
/* One move by hand: op, from, to; the slot is in mv->slot afterwards. */
int rig_step(struct rig_exec *x, uint32_t object, uint32_t chunk, uint8_t op, uint8_t from,
	     uint8_t to);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A model in a file on an executor whose storage does as it is told, and another client beside
 * it.  Each test of the executor's faults includes it once; unused functions cost nothing.
 */
#ifndef TESTS_FAULT_EXEC_MODEL_H
#define TESTS_FAULT_EXEC_MODEL_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "exec/executor.h"

/* Matrices [N][K] of F32 behind each other, unaligned, so that panels share chunks. */
#define LAYERS	6u
#define N	200u
#define K	500u
#define START	1236u
#define BYTES	((uint64_t)LAYERS * N * K * 4)

struct model {
	struct xrig r;
	float *w, *x;
	int fd;
	uint32_t file, bx, by;
	struct xstream s;
};

static inline void model_open(struct model *m, const struct vgpu_exec_params *p)
{
	m->w = xvalues(BYTES / 4, 1);
	m->x = xvalues(K, 2);
	m->fd = xfile(m->w, BYTES, START);
	xrig_start(&m->r, p);
	m->file = xrig_file(&m->r, m->fd, START, BYTES);
	m->bx = xrig_anonymous(&m->r, K * 4);
	m->by = xrig_anonymous(&m->r, LAYERS * N * 4);
	assert_int_equal(xrig_write(&m->r, m->bx, 0, m->x, K * 4), 0);
	xstream_begin(&m->s);
	for (uint32_t l = 0; l < LAYERS; l++) {
		struct vb_cmd_matmul c = {
			.h = { VB_CMD_MATMUL, 0, sizeof(c) },
			.x = xmatrix(&m->s, m->bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, K),
			.w = xmatrix(&m->s, m->file, VB_ACCESS_READ, (uint64_t)l * N * K * 4,
				     VB_FORMAT_F32, N, K),
			.y = xmatrix(&m->s, m->by, VB_ACCESS_WRITE, l * N * 4, VB_FORMAT_F32, 1, N),
		};

		xstream_add(&m->s, &c, sizeof(c));
	}
}

static inline void model_close(struct model *m)
{
	xrig_close(&m->r);
	close(m->fd);
	free(m->w);
	free(m->x);
}

static inline void model_expect_right(struct model *m)
{
	float y[LAYERS * N];

	assert_int_equal(xrig_read(&m->r, m->by, 0, y, sizeof(y)), 0);
	for (uint32_t i = 0; i < LAYERS * N; i++) {
		double size, want = xdot(m->x, m->w + (size_t)i * K, K, &size);

		if (fabs(y[i] - want) > size / (1 << 18))
			fail_msg("y[%u] is %g, want %g", i, (double)y[i], want);
	}
}

static inline void fault_add(void *arg, struct vgpu_io *io)
{
	assert_int_equal(vgpu_io_test_add(io, arg), 0);
}

static inline void fault_clear(void *arg, struct vgpu_io *io)
{
	(void)arg;
	vgpu_io_test_clear(io);
	vgpu_io_test_reorder(io, 0);
}

static inline void fault_reorder(void *arg, struct vgpu_io *io)
{
	vgpu_io_test_reorder(io, *(uint32_t *)arg);
}

static inline void fault_release(void *arg, struct vgpu_io *io)
{
	(void)arg;
	vgpu_io_test_release(io);
}

static inline void inject(struct model *m, struct vgpu_io_fault f)
{
	vgpu_exec_with_io(m->r.exec, fault_add, &f);
}

static inline void calm(struct model *m)
{
	vgpu_exec_with_io(m->r.exec, fault_clear, NULL);
}

static inline struct vgpu_exec_params params(uint32_t slots)
{
	struct vgpu_exec_params p = xrig_params(slots);

	p.io_engine = "test";
	return p;
}

/* Submit the copy of one float. */
static inline void other_copies(struct vgpu_uapi *other, uint32_t bo, uint32_t to, uint32_t queue,
				uint64_t *seqno)
{
	struct xstream s;

	xstream_begin(&s);
	struct vb_cmd_copy c = {
		.h = { VB_CMD_COPY, 0, sizeof(c) },
		.x = xvector(&s, bo, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1),
		.y = xvector(&s, to, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1),
	};
	xstream_add(&s, &c, sizeof(c));
	assert_int_equal(xsubmit(other, queue, &s, seqno), 0);
}

/* What another client does beside it, in milliseconds: a write, a command, a read. */
static inline uint64_t other_runs(struct vgpu_uapi *other, uint32_t bo, uint32_t to, uint32_t queue)
{
	uint64_t start = xrig_now(), seqno;
	float word = 3, got = 0;
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bo_id = bo, .bytes = 4,
				   .address = (uintptr_t)&word };

	assert_int_equal(vgpu_uapi_call(other, VB_IOC_BO_WRITE, &rw), 0);
	other_copies(other, bo, to, queue, &seqno);
	assert_int_equal(xwait(other, queue, seqno, NULL), 0);
	rw.bo_id = to;
	rw.address = (uintptr_t)&got;
	assert_int_equal(vgpu_uapi_call(other, VB_IOC_BO_READ, &rw), 0);
	assert_true(got == word);
	return (xrig_now() - start) / 1000000u;
}

static inline uint32_t other_object(struct vgpu_uapi *other, uint64_t bytes)
{
	struct vb_ioc_bo_create c = { .size = sizeof(c), .kind = VB_BO_ANONYMOUS, .fd = -1,
				      .life = VB_LIFE_VOLATILE, .bytes = bytes };

	assert_int_equal(vgpu_uapi_call(other, VB_IOC_BO_CREATE, &c), 0);
	return c.out_bo_id;
}

static inline uint32_t other_file(struct vgpu_uapi *other, int fd)
{
	struct vb_ioc_bo_create c = { .size = sizeof(c), .kind = VB_BO_FILE, .fd = fd,
				      .file_offset = START, .bytes = BYTES };

	assert_int_equal(vgpu_uapi_call(other, VB_IOC_BO_CREATE, &c), 0);
	return c.out_bo_id;
}

#endif

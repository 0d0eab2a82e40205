// SPDX-License-Identifier: MIT
#include "common/exec_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/format.h"
#include "exec/executor.h"

#define WAIT_NS		(120ull * 1000000000u)

static void must(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-rc));
	abort();
}

void *xalloc(size_t bytes)
{
	void *p = calloc(1, bytes ? bytes : 1);

	must(p ? 0 : -ENOMEM, "calloc");
	return p;
}

uint64_t xrig_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the device ---- */

struct vgpu_exec_params xrig_params(uint32_t slots)
{
	return (struct vgpu_exec_params){ .chunk_bytes = XCHUNK, .threads = 2,
					  .host_bytes = (uint64_t)slots * XCHUNK };
}

static bool serve(void *arg)
{
	return vgpu_exec_serve(arg);
}

int xrig_open(struct xrig *r, const struct vgpu_exec_params *p)
{
	struct vgpu_uapi *node;
	int rc;

	memset(r, 0, sizeof(*r));
	must(vgpu_loop_create(p->chunk_bytes, &r->loop), "vgpu_loop_create");
	must(vgpu_loop_open_exec(r->loop, &node), "vgpu_loop_open_exec");
	rc = vgpu_exec_open(node, p, r->text, sizeof(r->text), &r->exec);
	if (rc) {
		vgpu_loop_put(r->loop);
		return rc;
	}
	vgpu_loop_set_server(r->loop, serve, r->exec);
	r->client = xrig_client(r);
	r->queue = xrig_queue(r->client, 0);
	return 0;
}

void xrig_free(struct xrig *r)
{
	r->client->ops->close(r->client);
	vgpu_loop_set_server(r->loop, NULL, NULL);
	vgpu_loop_shutdown(r->loop);
	vgpu_exec_close(r->exec);
	vgpu_loop_put(r->loop);
}

struct vgpu_uapi *xrig_client(struct xrig *r)
{
	struct vgpu_uapi *client;

	must(vgpu_loop_open_client(r->loop, &client), "vgpu_loop_open_client");
	return client;
}

uint32_t xrig_queue(struct vgpu_uapi *client, uint32_t weight)
{
	struct vb_ioc_queue_create q = { .size = sizeof(q), .weight = weight };

	must(vgpu_uapi_call(client, VB_IOC_QUEUE_CREATE, &q), "QUEUE_CREATE");
	return q.out_queue_id;
}

const char *xrig_error(struct xrig *r)
{
	vgpu_exec_describe(r->exec, "error", r->text, sizeof(r->text));
	return r->text;
}

bool xrig_was_slow(struct xrig *r)
{
	bool slow;

	pthread_mutex_lock(&r->exec->run);
	slow = r->exec->resid.slowed;
	pthread_mutex_unlock(&r->exec->run);
	return slow;
}

void xrig_counters(struct xrig *r, uint64_t out[VB_COUNT_COUNT])
{
	struct vb_ioc_stats s = { .size = sizeof(s), .count = VB_COUNT_COUNT,
				  .address = (uintptr_t)out };

	must(vgpu_uapi_call(r->client, VB_IOC_STATS, &s), "STATS");
}

/* ---- objects ---- */

static uint32_t create(struct xrig *r, struct vb_ioc_bo_create *c)
{
	c->size = sizeof(*c);
	must(vgpu_uapi_call(r->client, VB_IOC_BO_CREATE, c), "BO_CREATE");
	return c->out_bo_id;
}

uint32_t xrig_anonymous(struct xrig *r, uint64_t bytes)
{
	return xrig_life(r, bytes, VB_LIFE_VOLATILE);
}

uint32_t xrig_life(struct xrig *r, uint64_t bytes, uint32_t life)
{
	struct vb_ioc_bo_create c = { .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = bytes,
				      .life = (uint16_t)life };

	return create(r, &c);
}

uint32_t xrig_file(struct xrig *r, int fd, uint64_t offset, uint64_t bytes)
{
	struct vb_ioc_bo_create c = { .kind = VB_BO_FILE, .fd = fd, .bytes = bytes,
				      .file_offset = offset };

	return create(r, &c);
}

static uint32_t derived(struct xrig *r, struct vb_ioc_bo_create *c)
{
	const struct vb_transform *t = &c->transform;
	__u64 from = 0, to = 0;

	must(vb_format_matrix_bytes(t->src_format, t->rows, t->cols, &from), "source format");
	must(vb_format_matrix_bytes(t->dst_format, t->rows, t->cols, &to), "packed format");
	c->file_bytes = from * t->stack;
	c->bytes = to * t->stack;
	return create(r, c);
}

uint32_t xrig_derived(struct xrig *r, int fd, uint64_t offset, uint32_t src, uint32_t dst,
		      uint32_t stack, uint32_t rows, uint32_t cols)
{
	struct vb_ioc_bo_create c = { .kind = VB_BO_DERIVED, .fd = fd, .file_offset = offset,
		.transform = { .kind = VB_TRANSFORM_PACK, .src_format = (uint16_t)src,
			       .dst_format = (uint16_t)dst, .rows = rows, .cols = cols,
			       .stack = stack } };

	return derived(r, &c);
}

uint32_t xrig_split(struct xrig *r, int fd, uint64_t offset, uint64_t scales, uint32_t stack,
		    uint32_t rows, uint32_t cols)
{
	struct vb_ioc_bo_create c = { .kind = VB_BO_DERIVED, .fd = fd, .file_offset = offset,
		.transform = { .kind = VB_TRANSFORM_PACK, .src_format = VB_FORMAT_MXFP4_SPLIT,
			       .dst_format = VB_FORMAT_MXFP4_G16, .rows = rows, .cols = cols,
			       .stack = stack, .scales_offset = scales } };

	return derived(r, &c);
}

uint32_t xrig_transformed(struct xrig *r, int fd, uint64_t offset, const struct vb_transform *t)
{
	struct vb_ioc_bo_create c = { .kind = VB_BO_DERIVED, .fd = fd, .file_offset = offset,
				      .transform = *t };

	return derived(r, &c);
}

int xrig_destroy(struct xrig *r, uint32_t bo)
{
	struct vb_ioc_bo_destroy d = { .size = sizeof(d), .bo_id = bo };

	return vgpu_uapi_call(r->client, VB_IOC_BO_DESTROY, &d);
}

static int rw(struct xrig *r, unsigned long request, uint32_t bo, uint64_t offset, uintptr_t p,
	      uint64_t bytes)
{
	struct vb_ioc_bo_rw c = { .size = sizeof(c), .bo_id = bo, .offset = offset,
				  .bytes = bytes, .address = p };

	return vgpu_uapi_call(r->client, request, &c);
}

int xrig_write(struct xrig *r, uint32_t bo, uint64_t offset, const void *p, uint64_t bytes)
{
	return rw(r, VB_IOC_BO_WRITE, bo, offset, (uintptr_t)p, bytes);
}

int xrig_read(struct xrig *r, uint32_t bo, uint64_t offset, void *p, uint64_t bytes)
{
	return rw(r, VB_IOC_BO_READ, bo, offset, (uintptr_t)p, bytes);
}

int xrig_map(struct xrig *r, uint32_t bo, uint64_t offset, uint64_t bytes, uint32_t flags,
	     void **out)
{
	struct vb_ioc_bo_map m = { .size = sizeof(m), .bo_id = bo, .flags = flags,
				   .offset = offset, .bytes = bytes };
	int rc = vgpu_uapi_call(r->client, VB_IOC_BO_MAP, &m);

	*out = (void *)(uintptr_t)m.out_address;
	return rc;
}

int xrig_unmap(struct xrig *r, uint32_t bo, uint64_t offset, uint64_t bytes, uint32_t flags)
{
	struct vb_ioc_bo_unmap m = { .size = sizeof(m), .bo_id = bo, .flags = flags,
				     .offset = offset, .bytes = bytes };

	return vgpu_uapi_call(r->client, VB_IOC_BO_UNMAP, &m);
}

int xrig_seal(struct xrig *r, uint32_t bo)
{
	struct vb_ioc_bo_seal s = { .size = sizeof(s), .bo_id = bo };

	return vgpu_uapi_call(r->client, VB_IOC_BO_SEAL, &s);
}

int xrig_advise(struct xrig *r, uint32_t bo, uint32_t advice, uint64_t offset, uint64_t bytes)
{
	struct vb_ioc_bo_advise a = { .size = sizeof(a), .bo_id = bo, .advice = advice,
				      .offset = offset, .bytes = bytes };

	return vgpu_uapi_call(r->client, VB_IOC_BO_ADVISE, &a);
}

int xrig_cycle(struct xrig *r, const uint32_t *bos, const uint64_t *bytes, uint32_t n)
{
	struct vb_range *ranges = xalloc((n + 1u) * sizeof(*ranges));
	struct vb_ioc_schedule s = { .size = sizeof(s), .flags = n ? VB_SCHEDULE_CYCLE : 0,
				     .count = n, .ranges_address = (uintptr_t)ranges };
	int rc;

	for (uint32_t i = 0; i < n; i++)
		ranges[i] = (struct vb_range){ .bo_id = bos[i], .bytes = bytes[i] };
	rc = vgpu_uapi_call(r->client, VB_IOC_SCHEDULE, &s);
	free(ranges);
	return rc;
}

/* ---- command buffers ---- */

void xstream_begin(struct xstream *s)
{
	struct vb_stream_header h = { .magic = VB_STREAM_MAGIC, .version = VB_STREAM_VERSION,
				      .bytes = sizeof(h) };

	memset(s, 0, sizeof(*s));
	memcpy(s->words, &h, sizeof(h));
}

void xstream_add(struct xstream *s, const void *cmd, uint32_t bytes)
{
	struct vb_stream_header *h = (void *)s->words;

	must(h->bytes + bytes <= sizeof(s->words) ? 0 : -E2BIG, "command buffer");
	memcpy((uint8_t *)s->words + h->bytes, cmd, bytes);
	h->bytes += bytes;
	h->commands++;
}

static uint32_t ref(struct xstream *s, uint32_t bo, uint32_t access)
{
	for (uint32_t i = 0; i < s->ref_count; i++) {
		if (s->refs[i].bo_id == bo) {
			s->refs[i].access |= access;
			return i;
		}
	}
	must(s->ref_count < 256 ? 0 : -E2BIG, "BO list");
	s->refs[s->ref_count] = (struct vb_bo_ref){ bo, access };
	return s->ref_count++;
}

struct vb_operand xvector(struct xstream *s, uint32_t bo, uint32_t access, uint64_t offset,
			  uint16_t format, uint32_t n)
{
	return (struct vb_operand){ .bo = ref(s, bo, access), .format = format, .rank = 1,
				    .offset = offset, .shape = { n } };
}

struct vb_operand xmatrix(struct xstream *s, uint32_t bo, uint32_t access, uint64_t offset,
			  uint16_t format, uint32_t rows, uint32_t cols)
{
	return (struct vb_operand){ .bo = ref(s, bo, access), .format = format, .rank = 2,
				    .offset = offset, .shape = { rows, cols } };
}

struct vb_operand xcube(struct xstream *s, uint32_t bo, uint32_t access, uint64_t offset,
			uint16_t format, uint32_t a, uint32_t b, uint32_t c)
{
	return (struct vb_operand){ .bo = ref(s, bo, access), .format = format, .rank = 3,
				    .offset = offset, .shape = { a, b, c } };
}

int xsubmit(struct vgpu_uapi *client, uint32_t queue, const struct xstream *s, uint64_t *seqno)
{
	const struct vb_stream_header *h = (const void *)s->words;
	struct vb_ioc_submit req = {
		.size = sizeof(req), .queue_id = queue, .flags = s->flags,
		.stream_bytes = h->bytes, .stream_address = (uintptr_t)s->words,
		.bos_address = (uintptr_t)s->refs, .bo_count = s->ref_count,
		.deadline_ns = s->deadline_ns,
	};
	int rc = vgpu_uapi_call(client, VB_IOC_SUBMIT, &req);

	*seqno = req.out_seqno;
	return rc;
}

int xwait(struct vgpu_uapi *client, uint32_t queue, uint64_t seqno, uint32_t *bad_command)
{
	struct vb_ioc_wait w = { .size = sizeof(w), .queue_id = queue, .seqno = seqno,
				 .timeout_ns = xrig_now() + WAIT_NS };
	int rc = vgpu_uapi_call(client, VB_IOC_WAIT, &w);

	if (bad_command)
		*bad_command = w.out_bad_command;
	return rc == -ETIME ? -ETIMEDOUT : rc ? rc : w.out_status;
}

int xrun(struct xrig *r, const struct xstream *s)
{
	uint64_t seqno;
	int rc = xsubmit(r->client, r->queue, s, &seqno);

	return rc ? rc : xwait(r->client, r->queue, seqno, NULL);
}

/* ---- files and numbers ---- */

int xfile(const void *bytes, size_t count, uint64_t offset)
{
	char path[] = "/var/tmp/vgpu-exec-XXXXXX";
	int fd = mkstemp(path);

	must(fd < 0 ? -errno : 0, path);
	unlink(path);
	for (size_t done = 0; done < count;) {
		ssize_t n = pwrite(fd, (const char *)bytes + done, count - done,
				   (off_t)(offset + done));

		must(n < 0 ? -errno : 0, "pwrite");
		done += (size_t)n;
	}
	fsync(fd);
	return fd;
}

float xvalue(uint64_t i)
{
	uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ull;
	return (float)((int32_t)(x >> 40) - (1 << 23)) / (float)(1 << 23);
}

float *xvalues(size_t n, uint64_t seed)
{
	float *v = xalloc(n * sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = xvalue(i + seed * 0x10001u);
	return v;
}

uint64_t xrandom(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

double xdot(const float *x, const float *w, uint32_t k, double *size)
{
	double sum = 0;

	*size = 0;
	for (uint32_t j = 0; j < k; j++) {
		sum += (double)x[j] * w[j];
		*size += fabs((double)x[j] * w[j]);
	}
	return sum;
}

// SPDX-License-Identifier: MIT
#include "common/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "exec/exec.h"

uint64_t rig_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the device ---- */

static bool serve(void *arg)
{
	return vgpu_exec_serve(arg);
}

static int open_fake(struct rig *r)
{
	struct fake_exec_params p = {
		.chunk_bytes = r->p.chunk_bytes,
		.host_slots = r->p.host_slots,
		.nvme_slots = r->p.nvme_slots,
		/* One slot that is never promised: to exchange two chunks takes a third. */
		.staging_bytes = r->p.chunk_bytes,
		.panel_bytes = r->p.chunk_bytes,
	};

	r->fake = fake_exec_open(r->loop, &p);
	return r->fake ? 0 : -1;
}

static const char *module_node(void)
{
	return getenv("VBLACKWELL_SELFTEST_NODE");
}

static int open_real(struct rig *r)
{
	char path[64], text[512] = "";
	struct vgpu_exec_params p = {
		.chunk_bytes = r->p.chunk_bytes,
		.threads = 2,
		.host_bytes = (uint64_t)r->p.host_slots * r->p.chunk_bytes,
		.nvme_bytes = (uint64_t)r->p.nvme_slots * r->p.chunk_bytes,
		.nvme_path = r->p.nvme_slots ? path : NULL,
	};
	struct vgpu_uapi *node;
	int rc;

	snprintf(path, sizeof(path), "%s/arena", r->directory);
	rc = rig_exec_node(r, &node);
	if (!rc)
		rc = vgpu_exec_open(node, &p, text, sizeof(text), &r->real);
	if (rc) {
		fprintf(stderr, "executor: %s (%s)\n", text, strerror(-rc));
		return -1;
	}
	if (r->loop)
		vgpu_loop_set_server(r->loop, serve, r->real);
	return 0;
}

static int open_executor(struct rig *r)
{
	if (r->p.executor == RIG_FAKE)
		return open_fake(r);
	return r->p.executor == RIG_REAL ? open_real(r) : 0;
}

static int open_loop(struct rig *r)
{
	if (vgpu_loop_create(r->p.chunk_bytes, &r->loop))
		return -1;
	return open_executor(r);
}

const char *rig_why_not(const struct rig_params *p)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	struct vgpu_uapi *u;
	int rc;

	if (!module_node())
		return NULL;
	rc = vgpu_uapi_open_node(module_node(), &u);
	if (rc)
		return "the node cannot be opened";
	rc = vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q);
	u->ops->close(u);
	return rc || q.out_chunk_bytes != p->chunk_bytes ? "the module has another chunk size" : NULL;
}

static int open_module(struct rig *r)
{
	if (!open_executor(r) && !vgpu_uapi_open_node(module_node(), &r->client))
		return 0;
	rig_close(r);
	return -1;
}

int rig_open(struct rig *r, const struct rig_params *p)
{

	memset(r, 0, sizeof(*r));
	r->p = *p;
	r->chunk_bytes = p->chunk_bytes;
	strcpy(r->directory, "/tmp/vgpu-rig-XXXXXX");
	if (!mkdtemp(r->directory))
		return -1;
	if (module_node())
		return open_module(r);
	if (open_loop(r) || vgpu_loop_open_client(r->loop, &r->client)) {
		rig_close(r);
		return -1;
	}
	return 0;
}

/* What rig_map() has mapped of the module: rig_unmap() is told the range alone. */
static struct mapped {
	struct vgpu_uapi *u;
	uint32_t id, flags;
	uint64_t offset, bytes;
	void *base;
	size_t length;
} mapped[256];

void rig_client_close(struct vgpu_uapi *u)
{
	for (size_t i = 0; i < sizeof(mapped) / sizeof(mapped[0]); i++)
		if (mapped[i].u == u) {
			munmap(mapped[i].base, mapped[i].length);
			memset(&mapped[i], 0, sizeof(mapped[i]));
		}
	u->ops->close(u);
}

/*
 * An executor that goes while somebody has objects leaves its arena for the next one; here
 * none comes, and one test after the other would fill the disk.
 */
static void remove_directory(const struct rig *r)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/arena", r->directory);
	unlink(path);
	rmdir(r->directory);
}

void rig_close(struct rig *r)
{
	if (r->client)
		rig_client_close(r->client);
	if (r->fake)
		fake_exec_close(r->fake);
	if (r->real && r->loop) {
		vgpu_loop_set_server(r->loop, NULL, NULL);
		vgpu_loop_shutdown(r->loop);
	}
	vgpu_exec_close(r->real);
	if (r->loop)
		vgpu_loop_put(r->loop);
	remove_directory(r);
	memset(r, 0, sizeof(*r));
}

struct vgpu_uapi *rig_client(struct rig *r)
{
	struct vgpu_uapi *u = NULL;

	if (r->loop)
		vgpu_loop_open_client(r->loop, &u);
	else
		vgpu_uapi_open_node(module_node(), &u);
	return u;
}

int rig_file(struct rig *r, uint64_t bytes)
{
	char path[64];
	uint8_t block[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/file", r->directory);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	unlink(path);
	for (uint64_t at = 0; fd >= 0 && at < bytes; at += sizeof(block)) {
		size_t n = bytes - at < sizeof(block) ? bytes - at : sizeof(block);

		for (size_t i = 0; i < n; i++)
			block[i] = rig_pattern(at + i);
		if (pwrite(fd, block, n, (off_t)at) != (ssize_t)n)
			return -1;
	}
	return fd;
}

/* ---- requests ---- */

int rig_bo(struct vgpu_uapi *u, uint64_t bytes, uint32_t life, uint32_t *out_id)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd), .kind = VB_BO_ANONYMOUS, .life = (__u16)life, .fd = -1,
		.bytes = bytes,
	};
	int rc = vgpu_uapi_call(u, VB_IOC_BO_CREATE, &cmd);

	*out_id = cmd.out_bo_id;
	return rc;
}

int rig_bo_file(struct vgpu_uapi *u, int fd, uint64_t offset, uint64_t bytes, uint32_t *out_id)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd), .kind = VB_BO_FILE, .fd = fd, .bytes = bytes,
		.file_offset = offset,
	};
	int rc = vgpu_uapi_call(u, VB_IOC_BO_CREATE, &cmd);

	*out_id = cmd.out_bo_id;
	return rc;
}

int rig_bo_destroy(struct vgpu_uapi *u, uint32_t id)
{
	struct vb_ioc_bo_destroy cmd = { .size = sizeof(cmd), .bo_id = id };

	return vgpu_uapi_call(u, VB_IOC_BO_DESTROY, &cmd);
}

/* Threads of a test map and unmap at the same time. */
static pthread_mutex_t mapped_lock = PTHREAD_MUTEX_INITIALIZER;

static struct mapped *mapped_find(const struct mapped *m)
{
	for (size_t i = 0; i < sizeof(mapped) / sizeof(mapped[0]); i++)
		if (mapped[i].u == m->u && mapped[i].id == m->id && mapped[i].flags == m->flags &&
		    mapped[i].offset == m->offset && mapped[i].bytes == m->bytes)
			return &mapped[i];
	return NULL;
}

static uint64_t chunk_bytes_of(struct vgpu_uapi *u)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };

	return vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q) ? 4096 : q.out_chunk_bytes;
}

static int map_module(const struct vb_ioc_bo_map *cmd, struct vgpu_uapi *u, uint64_t chunk_bytes,
		      void **out)
{
	/* Whole chunks, as in process; they begin at multiples of their size there. */
	uint64_t from = cmd->out_mmap_offset & ~(chunk_bytes - 1);
	uint64_t end = (cmd->out_mmap_offset + cmd->bytes + chunk_bytes - 1) & ~(chunk_bytes - 1);
	size_t in_page = cmd->out_mmap_offset - from;
	struct mapped now = { u, cmd->bo_id, cmd->flags, cmd->offset, cmd->bytes, NULL,
			      end - from };
	struct mapped *m;
	int rc = u->ops->map(u, from, now.length, cmd->flags & VB_MAP_WRITE, &now.base);

	if (rc)
		return rc;
	pthread_mutex_lock(&mapped_lock);
	m = mapped_find(&(struct mapped){ 0 });
	if (m)
		*m = now;
	pthread_mutex_unlock(&mapped_lock);
	if (!m) {
		munmap(now.base, now.length);
		return -ENOMEM;
	}
	*out = (char *)now.base + in_page;
	return 0;
}

int rig_map(struct vgpu_uapi *u, uint32_t id, uint64_t offset, uint64_t bytes, uint32_t flags,
	    void **out)
{
	struct vb_ioc_bo_map cmd = {
		.size = sizeof(cmd), .bo_id = id, .flags = flags, .offset = offset, .bytes = bytes,
	};
	int rc = vgpu_uapi_call(u, VB_IOC_BO_MAP, &cmd);

	*out = (void *)(uintptr_t)cmd.out_address;
	return rc || !u->ops->map ? rc : map_module(&cmd, u, chunk_bytes_of(u), out);
}

static void unmap_module(struct vgpu_uapi *u, const struct vb_ioc_bo_unmap *cmd)
{
	struct mapped was = { 0 }, *m;

	pthread_mutex_lock(&mapped_lock);
	m = mapped_find(&(struct mapped){ u, cmd->bo_id, cmd->flags, cmd->offset,
					  cmd->bytes, NULL, 0 });
	if (m) {
		was = *m;
		memset(m, 0, sizeof(*m));
	}
	pthread_mutex_unlock(&mapped_lock);
	if (was.base)
		munmap(was.base, was.length);
}

int rig_unmap(struct vgpu_uapi *u, uint32_t id, uint64_t offset, uint64_t bytes, uint32_t flags)
{
	struct vb_ioc_bo_unmap cmd = {
		.size = sizeof(cmd), .bo_id = id, .flags = flags, .offset = offset, .bytes = bytes,
	};

	if (u->ops->map)
		unmap_module(u, &cmd);
	return vgpu_uapi_call(u, VB_IOC_BO_UNMAP, &cmd);
}

static int rw(struct vgpu_uapi *u, unsigned long request, uint32_t id, uint64_t offset,
	      const void *memory, uint64_t bytes)
{
	struct vb_ioc_bo_rw cmd = {
		.size = sizeof(cmd), .bo_id = id, .offset = offset, .bytes = bytes,
		.address = (uintptr_t)memory,
	};
	int rc = vgpu_uapi_call(u, request, &cmd);

	return !rc && cmd.out_done_bytes != bytes ? -EIO : rc;
}

int rig_read(struct vgpu_uapi *u, uint32_t id, uint64_t offset, void *to, uint64_t bytes)
{
	return rw(u, VB_IOC_BO_READ, id, offset, to, bytes);
}

int rig_write(struct vgpu_uapi *u, uint32_t id, uint64_t offset, const void *from, uint64_t bytes)
{
	return rw(u, VB_IOC_BO_WRITE, id, offset, from, bytes);
}

int rig_seal(struct vgpu_uapi *u, uint32_t id)
{
	struct vb_ioc_bo_seal cmd = { .size = sizeof(cmd), .bo_id = id };

	return vgpu_uapi_call(u, VB_IOC_BO_SEAL, &cmd);
}

int rig_advise(struct vgpu_uapi *u, uint32_t id, uint32_t advice, uint64_t offset, uint64_t bytes)
{
	struct vb_ioc_bo_advise cmd = {
		.size = sizeof(cmd), .bo_id = id, .advice = advice, .offset = offset, .bytes = bytes,
	};

	return vgpu_uapi_call(u, VB_IOC_BO_ADVISE, &cmd);
}

int rig_info(struct vgpu_uapi *u, uint32_t id, struct vb_ioc_bo_info *info)
{
	*info = (struct vb_ioc_bo_info){ .size = sizeof(*info), .bo_id = id };
	return vgpu_uapi_call(u, VB_IOC_BO_INFO, info);
}

uint8_t rig_residency(struct vgpu_uapi *u, uint32_t id, uint32_t chunk)
{
	uint8_t byte = 0xff;
	struct vb_ioc_bo_residency cmd = {
		.size = sizeof(cmd), .bo_id = id, .first_chunk = chunk, .count = 1,
		.address = (uintptr_t)&byte,
	};

	return vgpu_uapi_call(u, VB_IOC_BO_RESIDENCY, &cmd) || cmd.out_count != 1 ? 0xff : byte;
}

int rig_limit(struct vgpu_uapi *u, uint32_t limit, uint64_t value)
{
	struct vb_ioc_limit cmd = {
		.size = sizeof(cmd), .limit = limit, .flags = VB_LIMIT_SET, .value = value,
	};

	return vgpu_uapi_call(u, VB_IOC_LIMIT, &cmd);
}

/* One arena more of the tier. */
static void tier_add(struct vb_ioc_query_tier *to, const struct vb_ioc_query_tier *q)
{
	to->out_bytes += q->out_bytes;
	to->out_used_bytes += q->out_used_bytes;
	to->out_pinned_bytes += q->out_pinned_bytes;
	to->out_reserved_bytes += q->out_reserved_bytes;
	to->out_client_bytes += q->out_client_bytes;
}

int rig_tier(struct vgpu_uapi *u, uint32_t tier, struct vb_ioc_query_tier *out)
{
	struct vb_ioc_query_tier q = { .size = sizeof(q) };
	bool found = false;
	int rc;

	for (; !(rc = vgpu_uapi_call(u, VB_IOC_QUERY_TIER, &q)); q.index++) {
		if (q.out_tier != tier)
			continue;
		if (!found)
			*out = q;
		else
			tier_add(out, &q);
		found = true;
	}
	return found ? 0 : rc;
}

int rig_queue(struct vgpu_uapi *u, uint32_t weight, uint32_t *out_id)
{
	struct vb_ioc_queue_create cmd = { .size = sizeof(cmd), .weight = weight };
	int rc = vgpu_uapi_call(u, VB_IOC_QUEUE_CREATE, &cmd);

	*out_id = cmd.out_queue_id;
	return rc;
}

int rig_queue_destroy(struct vgpu_uapi *u, uint32_t id)
{
	struct vb_ioc_queue_destroy cmd = { .size = sizeof(cmd), .queue_id = id };

	return vgpu_uapi_call(u, VB_IOC_QUEUE_DESTROY, &cmd);
}

/* ---- submissions ---- */

void rig_stream(struct rig_stream *s)
{
	s->h = (struct vb_stream_header){
		.magic = VB_STREAM_MAGIC, .version = VB_STREAM_VERSION, .bytes = sizeof(s->h),
	};
	s->bo_count = 0;
	s->fence_count = 0;
	s->deadline_ns = 0;
	s->flags = 0;
}

void rig_add(struct rig_stream *s, const void *cmd, uint32_t bytes)
{
	if (s->h.bytes + bytes > sizeof(s->bytes))
		return;
	memcpy(s->bytes + s->h.bytes, cmd, bytes);
	s->h.bytes += bytes;
	s->h.commands++;
}

uint32_t rig_add_bo(struct rig_stream *s, uint32_t id, uint32_t access)
{
	s->bos[s->bo_count] = (struct vb_bo_ref){ .bo_id = id, .access = access };
	return s->bo_count++;
}

void rig_add_fence(struct rig_stream *s, uint32_t queue, uint64_t seqno)
{
	s->fences[s->fence_count++] = (struct vb_fence){ .queue_id = queue, .seqno = seqno };
}

void rig_add_nop(struct rig_stream *s)
{
	struct vb_cmd_header cmd = { .opcode = VB_CMD_NOP, .bytes = sizeof(cmd) };

	rig_add(s, &cmd, sizeof(cmd));
}

static struct vb_operand vector(uint32_t bo, uint64_t offset, uint32_t n)
{
	return (struct vb_operand){
		.bo = bo, .format = VB_FORMAT_F32, .rank = 1, .offset = offset, .shape = { n },
	};
}

void rig_add_fill(struct rig_stream *s, uint32_t bo, uint64_t offset, uint32_t n, float value)
{
	struct vb_cmd_fill cmd = {
		.h = { .opcode = VB_CMD_FILL, .bytes = sizeof(cmd) },
		.y = vector(bo, offset, n),
	};

	memcpy(&cmd.value, &value, sizeof(value));
	rig_add(s, &cmd, sizeof(cmd));
}

void rig_add_copy(struct rig_stream *s, uint32_t from, uint32_t to, uint32_t n)
{
	struct vb_cmd_copy cmd = {
		.h = { .opcode = VB_CMD_COPY, .bytes = sizeof(cmd) },
		.x = vector(from, 0, n),
		.y = vector(to, 0, n),
	};

	rig_add(s, &cmd, sizeof(cmd));
}

struct vb_ioc_submit rig_submission(uint32_t queue, const struct rig_stream *s)
{
	return (struct vb_ioc_submit){
		.size = sizeof(struct vb_ioc_submit),
		.queue_id = queue,
		.flags = s->flags,
		.stream_bytes = s->h.bytes,
		.stream_address = (uintptr_t)s->bytes,
		.bos_address = (uintptr_t)s->bos,
		.fences_address = (uintptr_t)s->fences,
		.bo_count = s->bo_count,
		.fence_count = s->fence_count,
		.deadline_ns = s->deadline_ns,
	};
}

int rig_submit(struct vgpu_uapi *u, uint32_t queue, const struct rig_stream *s, uint64_t *out_seqno)
{
	struct vb_ioc_submit cmd = rig_submission(queue, s);
	int rc = vgpu_uapi_call(u, VB_IOC_SUBMIT, &cmd);

	if (out_seqno)
		*out_seqno = cmd.out_seqno;
	return rc;
}

int rig_wait(struct vgpu_uapi *u, uint32_t queue, uint64_t seqno, uint32_t ms)
{
	struct vb_ioc_wait cmd = {
		.size = sizeof(cmd), .queue_id = queue, .seqno = seqno,
		.timeout_ns = ms == RIG_FOREVER ? UINT64_MAX :
			      ms ? rig_now() + ms * 1000000ull : 0,
	};
	int rc = vgpu_uapi_call(u, VB_IOC_WAIT, &cmd);

	return rc ? rc : cmd.out_status;
}

/* ---- as the executor ---- */

static int add_arena(struct rig_exec *x, uint32_t tier, uint32_t slots, uint32_t *out)
{
	struct vb_ioc_arena_create cmd = {
		.size = sizeof(cmd), .tier = tier, .numa_node = -1, .slots = slots,
	};
	int rc = vgpu_uapi_call(x->node, VB_IOC_ARENA_CREATE, &cmd);

	*out = cmd.out_arena;
	return rc;
}

static int add_region(struct rig_exec *x, uint32_t slots)
{
	struct vb_ioc_region cmd = {
		.size = sizeof(cmd), .arena = x->host, .slots = slots,
		.address = (uintptr_t)x->memory,
	};
	int rc = vgpu_uapi_call(x->node, VB_IOC_REGION_ADD, &cmd);

	if (!rc && !x->memory)
		rc = x->node->ops->map(x->node, cmd.out_mmap_offset, x->bytes, true,
				       (void **)&x->memory);
	return rc;
}

/* Its memory: ours in process; the module brings it with its regions. */
static int exec_memory(struct rig *r, struct rig_exec *x, uint32_t slots)
{
	x->bytes = (uint64_t)slots * r->chunk_bytes;
	if (!r->loop)
		return 0;
	x->memory = mmap(NULL, x->bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return x->memory == MAP_FAILED ? -ENOMEM : 0;
}

int rig_exec_node(struct rig *r, struct vgpu_uapi **out)
{
	return r->loop ? vgpu_loop_open_exec(r->loop, out) :
			 vgpu_uapi_open_exec_node(getenv("VBLACKWELL_SELFTEST_EXEC"), out);
}

static void nothing(int sig)
{
	(void)sig;
}

int rig_fetch_end(struct rig *r, pthread_t thread)
{
	struct sigaction act = { .sa_handler = nothing };
	intptr_t wanted = r->loop ? -ESHUTDOWN : -EINTR;
	void *rc;

	if (r->loop) {
		vgpu_loop_shutdown(r->loop);
		pthread_join(thread, &rc);
		return (intptr_t)rc == wanted ? 0 : (int)(intptr_t)rc;
	}
	/* The module has no shutdown: a signal ends FETCH, once it sleeps. */
	sigaction(SIGUSR1, &act, NULL);
	do {
		pthread_kill(thread, SIGUSR1);
		usleep(1000);
	} while (pthread_tryjoin_np(thread, &rc) == EBUSY);
	return (intptr_t)rc == wanted ? 0 : (int)(intptr_t)rc;
}

int rig_exec_attach(struct rig *r, struct rig_exec *x, uint32_t *out_state)
{
	struct vb_ioc_exec_attach cmd = { .size = sizeof(cmd) };
	int rc;

	memset(x, 0, sizeof(*x));
	rc = rig_exec_node(r, &x->node);
	if (rc)
		return rc;
	rc = vgpu_uapi_call(x->node, VB_IOC_EXEC_ATTACH, &cmd);
	if (!rc && !r->loop)
		rc = x->node->ops->map(x->node, VB_MMAP_SUBMIT, VB_MMAP_SUBMIT_BYTES, false,
				       &x->submit);
	if (rc) {
		rig_exec_close(x);
		return rc;
	}
	x->generation = cmd.out_generation;
	if (out_state)
		*out_state = cmd.out_state;
	return 0;
}

int rig_exec_open(struct rig *r, struct rig_exec *x, uint32_t slots)
{
	if (rig_exec_attach(r, x, NULL))
		return -1;
	if (exec_memory(r, x, slots) ||
	    add_arena(x, VB_TIER_HOST, slots, &x->host) || add_region(x, slots) ||
	    add_arena(x, VB_TIER_DEVICE, slots, &x->device) ||
	    add_arena(x, VB_TIER_NVME, slots, &x->nvme)) {
		rig_exec_close(x);
		return -1;
	}
	return 0;
}

int rig_recover(struct rig_exec *x, uint32_t flags)
{
	struct vb_ioc_recover cmd = {
		.size = sizeof(cmd), .flags = flags, .generation = x->generation,
	};

	return vgpu_uapi_call(x->node, VB_IOC_RECOVER, &cmd);
}

void rig_exec_close(struct rig_exec *x)
{
	/* The module sees its executor go when nothing of it is mapped any more. */
	if (x->memory && x->memory != MAP_FAILED)
		munmap(x->memory, x->bytes);
	if (x->submit)
		munmap(x->submit, VB_MMAP_SUBMIT_BYTES);
	if (x->node)
		x->node->ops->close(x->node);
	memset(x, 0, sizeof(*x));
}

int rig_fetch(struct rig_exec *x, struct vb_ioc_fetch *req)
{
	*req = (struct vb_ioc_fetch){ .size = sizeof(*req), .flags = VB_FETCH_F_NOWAIT };
	return vgpu_uapi_call(x->node, VB_IOC_FETCH, req);
}

int rig_commit(struct rig_exec *x, uint64_t tag, int status)
{
	struct vb_ioc_commit cmd = {
		.size = sizeof(cmd), .generation = x->generation, .tag = tag, .status = status,
		.bad_command = ~0u,
	};

	return vgpu_uapi_call(x->node, VB_IOC_COMMIT, &cmd);
}

int rig_move(struct rig_exec *x, struct vb_move *mv)
{
	struct vb_ioc_move cmd = {
		.size = sizeof(cmd), .count = 1, .address = (uintptr_t)mv,
		.generation = x->generation,
	};
	int rc = vgpu_uapi_call(x->node, VB_IOC_MOVE, &cmd);

	return rc ? rc : mv->out_status;
}

int rig_step(struct rig_exec *x, uint32_t object, uint32_t chunk, uint8_t op, uint8_t from,
	     uint8_t to)
{
	struct vb_move mv = {
		.object = object, .chunk = chunk, .op = op, .from = from, .to = to,
		.arena = to == VB_TIER_HOST ? x->host : to == VB_TIER_DEVICE ? x->device : x->nvme,
		.slot = VB_SLOT_ANY,
	};

	return rig_move(x, &mv);
}

uint32_t rig_serve_one(struct rig_exec *x)
{
	struct vb_ioc_fetch req;

	if (rig_fetch(x, &req))
		return 0;
	if (req.out_type == VB_FETCH_PAGE_IN) {
		rig_step(x, req.out_object, req.out_chunk, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST);
		rig_step(x, req.out_object, req.out_chunk, VB_MOVE_COMMIT, VB_TIER_ZERO,
			 VB_TIER_HOST);
	}
	rig_commit(x, req.out_tag, 0);
	return req.out_type;
}

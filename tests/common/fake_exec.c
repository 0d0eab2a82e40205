// SPDX-License-Identifier: MIT
#include "common/fake_exec.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/cmd.h"

/* Which chunk stands in a host slot; object 0: none. */
struct place {
	uint32_t object, chunk;
};

struct object {
	struct vb_ioc_object_open info;
	void *mapped;			/* module: the table */
	struct object *next;
};

struct fake_exec {
	struct vgpu_loop *loop;		/* NULL: the module */
	struct vgpu_uapi *node;
	void *submit;			/* module: submit region */
	struct fake_exec_params p;
	uint32_t generation, host_arena, nvme_arena;
	char *host, *nvme;
	struct place *place;
	uint32_t hand;			/* last victim */
	struct object *objects;
	pthread_t thread;
	pthread_mutex_t work;		/* held while a request is worked on */
	_Atomic uint64_t written;
};

static void *map_bytes(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static char *host_at(struct fake_exec *x, uint32_t slot)
{
	return x->host + (uint64_t)slot * x->p.chunk_bytes;
}

static char *nvme_at(struct fake_exec *x, uint32_t slot)
{
	return x->nvme + (uint64_t)slot * x->p.chunk_bytes;
}

/* ---- the table ---- */

static size_t table_bytes(const struct object *o)
{
	size_t bytes = (size_t)o->info.out_chunks * sizeof(struct vb_table_entry);

	return (bytes + 4095) & ~(size_t)4095;
}

/* In process the table has an address already. */
static int table_map(struct fake_exec *x, struct object *o)
{
	int rc;

	if (o->info.out_table_address)
		return 0;
	rc = x->node->ops->map(x->node, o->info.out_table_mmap, table_bytes(o), false, &o->mapped);
	o->info.out_table_address = (uintptr_t)o->mapped;
	return rc;
}

static void object_free(struct object *o)
{
	if (o->mapped)
		munmap(o->mapped, table_bytes(o));
	if (o->info.out_fd >= 0)
		close(o->info.out_fd);
	free(o);
}

static struct object *object_find(struct fake_exec *x, uint32_t id)
{
	struct object *o;

	for (o = x->objects; o; o = o->next)
		if (o->info.object == id)
			return o;
	o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->info.size = sizeof(o->info);
	o->info.object = id;
	if (vgpu_uapi_call(x->node, VB_IOC_OBJECT_OPEN, &o->info)) {
		free(o);
		return NULL;
	}
	if (table_map(x, o)) {
		object_free(o);
		return NULL;
	}
	o->next = x->objects;
	x->objects = o;
	return o;
}

/*
 * The device changes entries under its own lock, and ours are the moves: what the
 * executor reads here (copies, dirtiness) changes by its own requests, or by a
 * client that writes, which costs a refused move at worst.
 */
__attribute__((no_sanitize("thread")))
static struct vb_table_entry entry(const struct object *o, uint32_t chunk)
{
	const struct vb_table_entry *table = (void *)(uintptr_t)o->info.out_table_address;

	return table[chunk];
}

static int move(struct fake_exec *x, struct vb_move *mv)
{
	struct vb_ioc_move cmd = {
		.size = sizeof(cmd), .count = 1, .address = (uintptr_t)mv,
		.generation = x->generation,
	};
	int rc = vgpu_uapi_call(x->node, VB_IOC_MOVE, &cmd);

	return rc ? rc : mv->out_status;
}

static struct vb_move move_of(const struct object *o, uint32_t chunk, uint8_t op, uint8_t from,
			      uint8_t to)
{
	return (struct vb_move){ .object = o->info.object, .chunk = chunk, .op = op,
				 .from = from, .to = to, .slot = VB_SLOT_ANY };
}

static int move_end(struct fake_exec *x, struct vb_move mv, int rc)
{
	mv.op = rc ? VB_MOVE_ABORT : VB_MOVE_COMMIT;
	mv.flags = 0;
	return move(x, &mv) ? -EIO : rc;
}

/* ---- out ---- */

/* NVMe slots whose chunk is in host memory too are the ones to spare. */
static void make_nvme_room(struct fake_exec *x)
{
	for (uint32_t slot = 0; slot < x->p.host_slots; slot++) {
		const struct place *p = &x->place[slot];
		struct object *o = p->object ? object_find(x, p->object) : NULL;
		struct vb_move mv;

		if (!o)
			continue;
		mv = move_of(o, p->chunk, VB_MOVE_DROP, VB_TIER_NVME, VB_TIER_NVME);
		if (!move(x, &mv))
			return;
	}
}

static int write_out(struct fake_exec *x, struct object *o, uint32_t chunk, uint32_t slot)
{
	struct vb_move mv = move_of(o, chunk, VB_MOVE_BEGIN, VB_TIER_HOST, VB_TIER_NVME);
	int rc;

	mv.arena = x->nvme_arena;
	rc = move(x, &mv);
	if (rc == -ENOSPC) {
		make_nvme_room(x);
		mv.slot = VB_SLOT_ANY;
		rc = move(x, &mv);
	}
	if (rc)
		return rc;
	memcpy(nvme_at(x, mv.slot), host_at(x, slot), x->p.chunk_bytes);
	atomic_fetch_add(&x->written, x->p.chunk_bytes);
	return move_end(x, mv, 0);
}

/* Empty a slot; whatever keeps it there is the reason. */
static int evict(struct fake_exec *x, uint32_t slot)
{
	struct place *p = &x->place[slot];
	struct object *o;
	struct vb_move mv;
	int rc;

	if (!p->object)
		return 0;
	o = object_find(x, p->object);
	if (!o)
		return -EBUSY;
	if (entry(o, p->chunk).flags & VB_ENTRY_DIRTY && o->info.out_life != VB_LIFE_SCRATCH) {
		rc = x->nvme ? write_out(x, o, p->chunk, slot) : -EBUSY;
		if (rc)
			return rc;
	}
	mv = move_of(o, p->chunk, VB_MOVE_DROP, VB_TIER_HOST, VB_TIER_HOST);
	rc = move(x, &mv);
	if (!rc)
		p->object = 0;
	return rc;
}

static bool is_of(struct fake_exec *x, uint32_t slot, uint32_t client)
{
	struct object *o = object_find(x, x->place[slot].object);

	return o && o->info.out_client == client;
}

/* The next slot after the last victim that can be emptied; of a client, or 0 of any. */
static int make_room(struct fake_exec *x, uint32_t client, uint32_t *out)
{
	for (uint32_t i = 0; i < x->p.host_slots; i++) {
		x->hand = (x->hand + 1) % x->p.host_slots;
		*out = x->hand;
		if (!x->place[x->hand].object || (client && !is_of(x, x->hand, client)))
			continue;
		if (!evict(x, x->hand))
			return 0;
	}
	return -ENOSPC;
}

/* ---- in ---- */

static int read_file(const struct object *o, uint32_t chunk, uint32_t chunk_bytes, char *to)
{
	uint64_t at = o->info.out_file_offset + (uint64_t)chunk * chunk_bytes;
	ssize_t n;

	memset(to, 0, chunk_bytes);
	n = pread(o->info.out_fd, to, chunk_bytes, (off_t)at);
	return n < 0 ? -EIO : 0;
}

static uint8_t origin(const struct object *o, uint32_t chunk)
{
	struct vb_table_entry e = entry(o, chunk);

	if (e.valid & 1u << VB_TIER_NVME)
		return VB_TIER_NVME;
	return o->info.out_kind == VB_BO_ANONYMOUS ? VB_TIER_ZERO : VB_TIER_SOURCE;
}

static int fill(struct fake_exec *x, struct object *o, uint32_t chunk, uint8_t from, char *to)
{
	struct vb_table_entry e = entry(o, chunk);

	if (from == VB_TIER_SOURCE)
		return o->info.out_kind == VB_BO_FILE ?
		       read_file(o, chunk, x->p.chunk_bytes, to) : -EOPNOTSUPP;
	if (from == VB_TIER_ZERO)
		memset(to, 0, x->p.chunk_bytes);
	else
		memcpy(to, nvme_at(x, VB_LOC_SLOT(e.loc[VB_TIER_NVME])), x->p.chunk_bytes);
	return 0;
}

static int page_in_at(struct fake_exec *x, struct object *o, uint32_t chunk, uint32_t slot)
{
	struct vb_move mv = move_of(o, chunk, VB_MOVE_BEGIN, origin(o, chunk), VB_TIER_HOST);
	int rc;

	mv.arena = x->host_arena;
	mv.slot = slot;
	rc = move(x, &mv);
	if (rc)
		return rc;
	rc = move_end(x, mv, fill(x, o, chunk, mv.from, host_at(x, slot)));
	if (!rc)
		x->place[slot] = (struct place){ o->info.object, chunk };
	return rc;
}

static bool is_in(const struct object *o, uint32_t chunk)
{
	return entry(o, chunk).valid & 1u << VB_TIER_HOST;
}

static int page_in(struct fake_exec *x, struct object *o, uint32_t chunk)
{
	uint32_t slot;
	int rc = -EEXIST;

	if (is_in(o, chunk))
		return 0;
	/* A slot that is empty to us may still be lent to somebody's I/O. */
	for (slot = 0; rc == -EEXIST && slot < x->p.host_slots; slot++)
		if (!x->place[slot].object)
			rc = page_in_at(x, o, chunk, slot);
	if (rc != -EEXIST && rc != -EDQUOT)
		return rc;
	/* A client at its maximum gives up something of its own. */
	if (make_room(x, rc == -EDQUOT ? o->info.out_client : 0, &slot))
		return rc == -EDQUOT ? rc : -ENOSPC;
	return page_in_at(x, o, chunk, slot);
}

static bool is_laid_out(const struct object *o, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (!is_in(o, first + i) ||
		    entry(o, first + i).loc[VB_TIER_HOST] != entry(o, first).loc[VB_TIER_HOST] + i)
			return false;
	return true;
}

/* Put the range where it was asked to be: out of its slots first, then in, in order. */
static int lay_out_at(struct fake_exec *x, struct object *o, uint32_t first, uint32_t count,
		      uint32_t slot)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < x->p.host_slots; i++) {
		const struct place *p = &x->place[i];
		bool ours = p->object == o->info.object && p->chunk - first < count;

		if (ours || i - slot < count)
			rc = evict(x, i);
	}
	for (uint32_t i = 0; !rc && i < count; i++)
		rc = page_in_at(x, o, first + i, slot + i);
	return rc;
}

/* Regions are half the arena each, and a run must not cross from one to the other. */
static int lay_out(struct fake_exec *x, struct object *o, uint32_t first, uint32_t count)
{
	uint32_t half = x->p.host_slots / 2;
	int rc = -ENOSPC;

	if (is_laid_out(o, first, count))
		return 0;
	for (uint32_t slot = 0; rc && slot + count <= x->p.host_slots; slot++)
		if (slot / half == (slot + count - 1) / half)
			rc = lay_out_at(x, o, first, count, slot);
	return rc;
}

static int do_page_in(struct fake_exec *x, const struct vb_ioc_fetch *req)
{
	struct object *o = object_find(x, req->out_object);
	int rc = 0;

	if (!o)
		return -ESTALE;
	if (req->flags & VB_FETCH_F_CONTIGUOUS)
		return lay_out(x, o, req->out_chunk, req->out_count);
	for (uint32_t i = 0; !rc && i < req->out_count; i++)
		rc = page_in(x, o, req->out_chunk + i);
	return rc;
}

static int do_evict(struct fake_exec *x, const struct vb_ioc_fetch *req)
{
	int rc = 0;

	for (uint32_t i = 0; i < x->p.host_slots; i++) {
		const struct place *p = &x->place[i];

		if (p->object == req->out_object && p->chunk - req->out_chunk < req->out_count &&
		    evict(x, i))
			rc = -EBUSY;
	}
	return rc;
}

/* The object of a slot whose memory has gone: no object has this id. */
#define GONE	UINT32_MAX

/* Empty a region, let go of its memory, give it back. */
static int do_drain(struct fake_exec *x, const struct vb_ioc_fetch *req)
{
	struct vb_ioc_region region = {
		.size = sizeof(region), .arena = req->out_object, .first_slot = req->out_chunk,
		.slots = req->out_count,
	};
	uint32_t end = req->out_chunk + req->out_count, slot;
	int rc;

	for (slot = req->out_chunk; slot < end; slot++) {
		rc = evict(x, slot);
		if (rc)
			return rc;
	}
	rc = vgpu_uapi_call(x->node, VB_IOC_REGION_REMOVE, &region);
	if (rc)
		return rc;
	for (slot = req->out_chunk; slot < end; slot++)
		x->place[slot].object = GONE;
	return mmap(host_at(x, req->out_chunk), (size_t)req->out_count * x->p.chunk_bytes, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED ?
	       -errno : 0;
}

static int do_forget(struct fake_exec *x, const struct vb_ioc_fetch *req)
{
	struct object **p = &x->objects;

	for (uint32_t i = 0; i < x->p.host_slots; i++)
		if (x->place[i].object == req->out_object)
			x->place[i].object = 0;
	while (*p && (*p)->info.object != req->out_object)
		p = &(*p)->next;
	if (*p) {
		struct object *o = *p;

		*p = o->next;
		object_free(o);
	}
	return 0;
}

/* ---- commands ---- */

/* Bytes of an operand's BO, a chunk at a time: memory of the next piece, and its length. */
static int piece(struct fake_exec *x, const struct vb_ioc_fetch *req, const struct vb_operand *op,
		 uint64_t done, bool write, char **at, uint64_t *bytes)
{
	const struct vb_exec_bo *bos = (void *)(uintptr_t)req->out_bos_address;
	struct object *o = object_find(x, bos[op->bo].object);
	uint64_t where, in_chunk;
	uint32_t chunk;
	int rc;

	if (!o)
		return -ESTALE;
	where = o->info.out_head_bytes + op->offset + done;
	chunk = (uint32_t)(where / x->p.chunk_bytes);
	in_chunk = where % x->p.chunk_bytes;
	rc = page_in(x, o, chunk);
	if (!rc && write) {
		struct vb_move mv = move_of(o, chunk, VB_MOVE_WRITE, VB_TIER_HOST, VB_TIER_HOST);

		rc = move(x, &mv);
	}
	if (rc)
		return rc;
	*at = host_at(x, VB_LOC_SLOT(entry(o, chunk).loc[VB_TIER_HOST])) + in_chunk;
	if (*bytes > x->p.chunk_bytes - in_chunk)
		*bytes = x->p.chunk_bytes - in_chunk;
	return 0;
}

static uint64_t dense_bytes(const struct vb_operand *op)
{
	uint64_t n = 4;

	for (uint32_t i = 0; i < op->rank; i++)
		n *= op->shape[i];
	return n;
}

static int run_fill(struct fake_exec *x, const struct vb_ioc_fetch *req, const struct vb_cmd_fill *c)
{
	uint64_t total = dense_bytes(&c->y), n;
	int rc = 0;

	for (uint64_t done = 0; !rc && done < total; done += n) {
		char *at;

		n = total - done;
		rc = piece(x, req, &c->y, done, true, &at, &n);
		for (uint64_t i = 0; !rc && i < n; i += 4)
			memcpy(at + i, &c->value, 4);
	}
	return rc;
}

/* Through a buffer: the two chunks need not be there at the same time. */
static int run_copy(struct fake_exec *x, const struct vb_ioc_fetch *req, const struct vb_cmd_copy *c)
{
	uint64_t total = dense_bytes(&c->x), n;
	char *buffer = malloc(x->p.chunk_bytes), *at;
	int rc = buffer ? 0 : -ENOMEM;

	for (uint64_t done = 0; !rc && done < total; done += n) {
		n = total - done;
		rc = piece(x, req, &c->x, done, false, &at, &n);
		if (rc)
			break;
		memcpy(buffer, at, n);
		rc = piece(x, req, &c->y, done, true, &at, &n);
		if (!rc)
			memcpy(at, buffer, n);
	}
	free(buffer);
	return rc;
}

static int run_command(struct fake_exec *x, const struct vb_ioc_fetch *req,
		       const struct vb_cmd_header *cmd)
{
	switch (cmd->opcode) {
	case VB_CMD_NOP:
		return 0;
	case VB_CMD_FILL:
		return run_fill(x, req, (const struct vb_cmd_fill *)cmd);
	case VB_CMD_COPY:
		return run_copy(x, req, (const struct vb_cmd_copy *)cmd);
	default:
		return -EOPNOTSUPP;
	}
}

static int check(struct fake_exec *x, const struct vb_ioc_fetch *req, uint32_t *bad)
{
	const struct vb_exec_bo *refs = (void *)(uintptr_t)req->out_bos_address;
	struct vb_cmd_bo *bos = calloc(req->out_bo_count + 1, sizeof(*bos));
	struct vb_cmd_error error;
	int rc = bos ? 0 : -ENOMEM;

	for (uint32_t i = 0; !rc && i < req->out_bo_count; i++) {
		struct object *o = object_find(x, refs[i].object);

		if (!o) {
			rc = -ESTALE;
			break;
		}
		bos[i] = (struct vb_cmd_bo){
			.bytes = o->info.out_bytes,
			.object = refs[i].object,
			.access = refs[i].access & (VB_ACCESS_READ | VB_ACCESS_WRITE),
			.sealed = o->info.out_flags & VB_BO_SEALED,
		};
	}
	if (!rc) {
		rc = vb_stream_check((void *)(uintptr_t)req->out_stream_address,
				     req->out_stream_bytes, bos, req->out_bo_count, &error);
		if (rc)
			*bad = error.command;
	}
	free(bos);
	return rc;
}

static uint32_t canceled(struct fake_exec *x, uint64_t tag)
{
	struct vb_ioc_poll_cancel c = { .size = sizeof(c), .tag = tag };

	return vgpu_uapi_call(x->node, VB_IOC_POLL_CANCEL, &c) ? VB_CANCEL_CLIENT : c.out_cancel;
}

static int do_submit(struct fake_exec *x, const struct vb_ioc_fetch *req, uint32_t *bad)
{
	const void *stream = (const void *)(uintptr_t)req->out_stream_address;
	const struct vb_cmd_header *cmd = NULL;
	int rc = check(x, req, bad);

	for (uint32_t i = 0; !rc; i++) {
		uint32_t cancel = canceled(x, req->out_tag);

		if (cancel)
			return cancel == VB_CANCEL_DEADLINE ? -ETIME : -ECANCELED;
		cmd = vb_stream_next(stream, cmd);
		if (!cmd)
			return 0;
		rc = run_command(x, req, cmd);
		if (rc)
			*bad = i;
	}
	return rc;
}

/* ---- the loop ---- */

static int handle(struct fake_exec *x, const struct vb_ioc_fetch *req, uint32_t *bad)
{
	switch (req->out_type) {
	case VB_FETCH_SUBMIT:
		return do_submit(x, req, bad);
	case VB_FETCH_PAGE_IN:
		return do_page_in(x, req);
	case VB_FETCH_EVICT:
		return do_evict(x, req);
	case VB_FETCH_FORGET:
		return do_forget(x, req);
	case VB_FETCH_DRAIN:
		return do_drain(x, req);
	default:
		return 0;
	}
}

static void *serve(void *arg)
{
	struct fake_exec *x = arg;

	for (;;) {
		struct vb_ioc_fetch req = { .size = sizeof(req) };
		struct vb_ioc_commit done = {
			.size = sizeof(done), .generation = x->generation, .bad_command = ~0u,
		};

		if (vgpu_uapi_call(x->node, VB_IOC_FETCH, &req))
			return NULL;
		pthread_mutex_lock(&x->work);
		done.tag = req.out_tag;
		done.status = handle(x, &req, &done.bad_command);
		vgpu_uapi_call(x->node, VB_IOC_COMMIT, &done);
		pthread_mutex_unlock(&x->work);
	}
}

/* Memory of a region: ours in process, the module's otherwise. */
static int add_region(struct fake_exec *x, uint32_t first, uint32_t slots)
{
	struct vb_ioc_region region = {
		.size = sizeof(region), .arena = x->host_arena, .first_slot = first,
		.slots = slots, .address = x->loop ? (uintptr_t)host_at(x, first) : 0,
	};
	size_t bytes = (size_t)slots * x->p.chunk_bytes;
	void *p;
	int rc;

	rc = vgpu_uapi_call(x->node, VB_IOC_REGION_ADD, &region);
	if (rc || x->loop)
		return rc;
	rc = x->node->ops->map(x->node, region.out_mmap_offset, bytes, true, &p);
	if (rc)
		return rc;
	/* Where the arena was to be: regions stand in the order of their slots. */
	return mremap(p, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, host_at(x, first)) ==
	       MAP_FAILED ? -errno : 0;
}

static int add_host(struct fake_exec *x)
{
	struct vb_ioc_arena_create arena = {
		.size = sizeof(arena), .tier = VB_TIER_HOST, .numa_node = -1,
		.slots = x->p.host_slots,
	};
	uint32_t half = x->p.host_slots / 2;
	int rc;

	rc = vgpu_uapi_call(x->node, VB_IOC_ARENA_CREATE, &arena);
	x->host_arena = arena.out_arena;
	for (uint32_t first = 0; !rc && first < x->p.host_slots; first += half)
		rc = add_region(x, first, half);
	return rc;
}

static int add_nvme(struct fake_exec *x)
{
	struct vb_ioc_arena_create arena = {
		.size = sizeof(arena), .tier = VB_TIER_NVME, .numa_node = -1,
		.slots = x->p.nvme_slots,
	};
	int rc;

	if (!x->p.nvme_slots)
		return 0;
	x->nvme = map_bytes((uint64_t)x->p.nvme_slots * x->p.chunk_bytes);
	rc = x->nvme ? vgpu_uapi_call(x->node, VB_IOC_ARENA_CREATE, &arena) : -ENOMEM;
	x->nvme_arena = arena.out_arena;
	return rc;
}

static int begin_anew(struct fake_exec *x)
{
	struct vb_ioc_recover cmd = {
		.size = sizeof(cmd), .flags = VB_RECOVER_DISCARD, .generation = x->generation,
	};

	return vgpu_uapi_call(x->node, VB_IOC_RECOVER, &cmd);
}

static int attach(struct fake_exec *x)
{
	struct vb_ioc_exec_attach cmd = {
		.size = sizeof(cmd), .heartbeat_ms = 1000,
		.staging_bytes = x->p.staging_bytes, .panel_bytes = x->p.panel_bytes,
	};
	int rc = vgpu_uapi_call(x->node, VB_IOC_EXEC_ATTACH, &cmd);

	x->generation = cmd.out_generation;
	if (!rc && cmd.out_state == VB_EXEC_RECOVERING)
		rc = begin_anew(x);
	if (rc || x->loop)
		return rc;
	return x->node->ops->map(x->node, VB_MMAP_SUBMIT, VB_MMAP_SUBMIT_BYTES, false, &x->submit);
}

static int open_node(struct fake_exec *x)
{
	return x->loop ? vgpu_loop_open_exec(x->loop, &x->node) :
			 vgpu_uapi_open_exec_node(getenv("VBLACKWELL_SELFTEST_EXEC"), &x->node);
}

static void nothing(int sig)
{
	(void)sig;
}

/* The module has no shutdown: a signal ends the thread's FETCH. */
static void stop_thread(struct fake_exec *x)
{
	struct sigaction act = { .sa_handler = nothing };

	if (x->loop) {
		vgpu_loop_shutdown(x->loop);
		pthread_join(x->thread, NULL);
		return;
	}
	sigaction(SIGUSR1, &act, NULL);
	/* It may not have come to sleep yet. */
	do {
		pthread_kill(x->thread, SIGUSR1);
		usleep(1000);
	} while (pthread_tryjoin_np(x->thread, NULL) == EBUSY);
}

static void exec_free(struct fake_exec *x)
{
	while (x->objects) {
		struct object *o = x->objects;

		x->objects = o->next;
		object_free(o);
	}
	if (x->submit)
		munmap(x->submit, VB_MMAP_SUBMIT_BYTES);
	if (x->host)
		munmap(x->host, (uint64_t)x->p.host_slots * x->p.chunk_bytes);
	if (x->nvme)
		munmap(x->nvme, (uint64_t)x->p.nvme_slots * x->p.chunk_bytes);
	free(x->place);
	free(x);
}

struct fake_exec *fake_exec_open(struct vgpu_loop *loop, const struct fake_exec_params *params)
{
	struct fake_exec *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->loop = loop;
	x->p = *params;
	x->host = map_bytes((uint64_t)x->p.host_slots * x->p.chunk_bytes);
	x->place = calloc(x->p.host_slots, sizeof(*x->place));
	if (!x->host || !x->place || open_node(x)) {
		exec_free(x);
		return NULL;
	}
	pthread_mutex_init(&x->work, NULL);
	if (attach(x) || add_host(x) || add_nvme(x) ||
	    pthread_create(&x->thread, NULL, serve, x)) {
		x->node->ops->close(x->node);
		exec_free(x);
		return NULL;
	}
	return x;
}

void fake_exec_close(struct fake_exec *x)
{
	stop_thread(x);
	x->node->ops->close(x->node);
	pthread_mutex_destroy(&x->work);
	exec_free(x);
}

void fake_exec_pause(struct fake_exec *x)
{
	pthread_mutex_lock(&x->work);
}

void fake_exec_resume(struct fake_exec *x)
{
	pthread_mutex_unlock(&x->work);
}

uint64_t fake_exec_written_bytes(struct fake_exec *x)
{
	return atomic_load(&x->written);
}

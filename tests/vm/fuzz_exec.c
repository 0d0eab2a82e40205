// SPDX-License-Identifier: MIT
/*
 * An executor that does its work, now and then late, twice, in part or not at all, and
 * ends by any way there is.
 *
 * However wrong its requests are, it fills each slot that it was given before it says
 * anything more about it: content that clients see is right at all times.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define THREADS		2u
#define ARENAS		4u	/* host on either node, NVMe, device */
#define FIXED		0u	/* its region stays; that of the other host arena comes and goes */
#define LOOSE		1u
#define OBJECTS		96u

/**
 * struct object - what it knows of one; id 0: nothing
 * @table: mapped
 * @fd: file, or -1
 */
struct object {
	uint32_t id, chunks;
	uint64_t file_offset, table_bytes;
	const volatile struct vb_table_entry *table;
	int fd;
};

static struct {
	uint32_t who, generation;
	int node;
	uint64_t seed;
	const char *fetched;		/* by io_uring */
	char *memory[ARENAS];
	uint32_t arena[ARENAS], slots[ARENAS];
	pthread_mutex_t lock;		/* of the objects */
	struct object object[OBJECTS];
	uint32_t next;
	atomic_long life;		/* requests until it ends */
} x;

static const uint8_t tier_of[ARENAS] = { VB_TIER_HOST, VB_TIER_HOST, VB_TIER_NVME, VB_TIER_DEVICE };

static __thread struct fuzz_cover cover;

static void begin_to_trace(void)
{
	if (fuzz_cover_open(&cover) || fuzz_cover_begin(&cover))
		_exit(1);
}

/* ---- objects ---- */

static void object_close(struct object *o)
{
	if (o->id && o->fd >= 0)
		close(o->fd);
	if (o->id)
		munmap((void *)o->table, o->table_bytes);
	*o = (struct object){ .fd = -1 };
}

static int object_open(uint32_t id, struct object *o)
{
	struct vb_ioc_object_open cmd = { .size = sizeof(cmd), .object = id, .out_fd = -1 };
	void *table;

	if (fuzz_call(x.node, VB_IOC_OBJECT_OPEN, &cmd))
		return -1;
	*o = (struct object){
		.id = id, .chunks = cmd.out_chunks, .fd = cmd.out_fd,
		.file_offset = cmd.out_file_offset,
		.table_bytes = (cmd.out_chunks * sizeof(*o->table) + 4095) & ~4095ull,
	};
	table = mmap(NULL, o->table_bytes, PROT_READ, MAP_SHARED, x.node, (off_t)cmd.out_table_mmap);
	o->table = table;
	if (table != MAP_FAILED)
		return 0;
	if (o->fd >= 0)
		close(o->fd);
	return -1;
}

/* The lock is held: objects leave when their place is needed. */
static struct object *object_find(uint32_t id)
{
	struct object *o;

	for (uint32_t i = 0; i < OBJECTS; i++)
		if (x.object[i].id == id)
			return &x.object[i];
	o = &x.object[x.next++ % OBJECTS];
	object_close(o);
	if (!object_open(id, o))
		return o;
	*o = (struct object){ .fd = -1 };
	return NULL;
}

static void object_forget(uint32_t id)
{
	pthread_mutex_lock(&x.lock);
	for (uint32_t i = 0; i < OBJECTS; i++)
		if (x.object[i].id == id)
			object_close(&x.object[i]);
	pthread_mutex_unlock(&x.lock);
}

/* ---- moves ---- */

static int move(struct vb_move *mv)
{
	struct vb_ioc_move cmd = {
		.size = sizeof(cmd), .count = 1, .address = (uintptr_t)mv,
		.generation = x.generation,
	};
	int rc = fuzz_call(x.node, VB_IOC_MOVE, &cmd);

	return rc ? rc : mv->out_status;
}

static char *at_slot(uint32_t arena, uint32_t slot)
{
	for (uint32_t i = 0; i < ARENAS; i++)
		if (x.arena[i] == arena && slot < x.slots[i])
			return x.memory[i] + (uint64_t)slot * fuzz->chunk_bytes;
	return NULL;
}

static void fill_from_file(const struct object *o, uint32_t chunk, char *to)
{
	uint64_t offset = o->file_offset + (uint64_t)chunk * fuzz->chunk_bytes;
	ssize_t got = o->fd >= 0 ? pread(o->fd, to, fuzz->chunk_bytes, (off_t)offset) : 0;

	if (got < 0)
		got = 0;
	memset(to + got, 0, fuzz->chunk_bytes - (size_t)got);
}

/* The slot is this thread's until the move ends. */
static void fill(const struct object *o, const struct vb_move *mv)
{
	char *to = at_slot(mv->arena, mv->slot), *from = NULL;
	uint32_t loc;

	if (!to)
		return;
	if (mv->from < VB_TIER_COUNT) {
		loc = o->table[mv->chunk].loc[mv->from];
		from = loc ? at_slot(VB_LOC_ARENA(loc), VB_LOC_SLOT(loc)) : NULL;
	}
	if (from)
		memcpy(to, from, fuzz->chunk_bytes);
	else if (mv->from == VB_TIER_SOURCE)
		fill_from_file(o, mv->chunk, to);
	else
		memset(to, 0, fuzz->chunk_bytes);
}

static void maybe_sleep(struct chance *c)
{
	if (one_in(c, 30))
		usleep((useconds_t)below(c, 20000));
}

/* Begin, fill, and commit or not.  Memory of the loose region may go while we look. */
static int move_chunk(struct chance *c, const struct object *o, uint32_t chunk, uint8_t from,
		      uint32_t to)
{
	struct vb_move mv = {
		.object = o->id, .chunk = chunk, .op = VB_MOVE_BEGIN, .from = from,
		.to = tier_of[to], .arena = x.arena[to],
		.slot = one_in(c, 6) ? (uint32_t)below(c, x.slots[to] + 1) : VB_SLOT_ANY,
	};
	int rc = move(&mv);

	if (rc)
		return rc;
	fill(o, &mv);
	maybe_sleep(c);
	if (one_in(c, 400))
		return -EIO;	/* it goes on for ever */
	mv.op = one_in(c, 12) ? VB_MOVE_ABORT : VB_MOVE_COMMIT;
	if (mv.op == VB_MOVE_ABORT && one_in(c, 20)) {
		mv.flags = VB_MOVE_F_BAD;
	} else if (one_in(c, 40)) {
		mv.flags = VB_MOVE_F_CRC;
		mv.crc = (uint32_t)chance(c);
	}
	rc = move(&mv);
	if (rc) {
		mv.op = VB_MOVE_ABORT;
		mv.flags = 0;
		move(&mv);
	}
	return rc;
}

static int drop(const struct object *o, uint32_t chunk, uint8_t tier)
{
	struct vb_move mv = { .object = o->id, .chunk = chunk, .op = VB_MOVE_DROP, .from = tier };

	return move(&mv);
}

static int chunk_out(struct chance *c, const struct object *o, uint32_t chunk)
{
	if (drop(o, chunk, VB_TIER_HOST)) {
		move_chunk(c, o, chunk, VB_TIER_HOST, 2);
		drop(o, chunk, VB_TIER_HOST);
	}
	drop(o, chunk, VB_TIER_DEVICE);
	return 0;
}

static void make_room(struct chance *c)
{
	for (int tries = 0; tries < 6; tries++) {
		const struct object *o = &x.object[below(c, OBJECTS)];

		if (o->id && o->chunks)
			chunk_out(c, o, (uint32_t)below(c, o->chunks));
	}
}

static uint8_t source_of(const struct object *o, uint32_t chunk)
{
	const volatile struct vb_table_entry *e = &o->table[chunk];

	if (e->valid & 1u << VB_TIER_NVME)
		return VB_TIER_NVME;
	if (e->valid & 1u << VB_TIER_DEVICE)
		return VB_TIER_DEVICE;
	return o->fd >= 0 ? VB_TIER_SOURCE : VB_TIER_ZERO;
}

static int chunk_in(struct chance *c, const struct object *o, uint32_t chunk)
{
	int rc = -ENOSPC;

	for (int tries = 0; rc && tries < 6; tries++) {
		if (o->table[chunk].valid & 1u << VB_TIER_HOST)
			return 0;
		rc = move_chunk(c, o, chunk, source_of(o, chunk), (uint32_t)below(c, 2));
		if (rc == -ENOSPC || rc == -EDQUOT)
			make_room(c);
	}
	return rc;
}

/* ---- requests ---- */

static int page_in(struct chance *c, uint32_t id, uint32_t first, uint32_t count)
{
	const struct object *o;
	int rc = 0;

	pthread_mutex_lock(&x.lock);
	o = object_find(id);
	for (uint32_t i = first; o && !rc && i < first + count && i < o->chunks; i++)
		rc = chunk_in(c, o, i);
	/* Elsewhere too, now and then. */
	if (o && !rc && one_in(c, 10))
		move_chunk(c, o, first, VB_TIER_HOST, (uint32_t)below(c, ARENAS));
	pthread_mutex_unlock(&x.lock);
	return o ? rc : -ESTALE;
}

static int evict(struct chance *c, uint32_t id, uint32_t first, uint32_t count)
{
	const struct object *o;

	pthread_mutex_lock(&x.lock);
	o = object_find(id);
	for (uint32_t i = first; o && i < first + count && i < o->chunks; i++)
		chunk_out(c, o, i);
	pthread_mutex_unlock(&x.lock);
	return 0;
}

static int run(struct chance *c, const struct vb_ioc_fetch *req)
{
	const struct vb_stream_header *h = (void *)(uintptr_t)req->out_stream_address;
	const struct vb_exec_bo *refs = (void *)(uintptr_t)req->out_bos_address;
	struct vb_ioc_poll_cancel cancel = { .size = sizeof(cancel), .tag = req->out_tag };
	bool is_stream = h->magic == VB_STREAM_MAGIC && h->bytes <= req->out_stream_bytes;
	int rc = 0;

	/* A commit with a wrong tag, of another thread, may have ended it meanwhile. */
	if (!fuzz_call(x.node, VB_IOC_POLL_CANCEL, &cancel) && !is_stream)
		fuzz_problem("executor %u was given no stream", x.who);
	for (uint32_t i = 0; !rc && i < req->out_bo_count; i++)
		rc = page_in(c, refs[i].object, 0, 1 + (uint32_t)below(c, 3));
	return rc;
}

static int answer(struct chance *c, const struct vb_ioc_fetch *req)
{
	switch (req->out_type) {
	case VB_FETCH_SUBMIT:
		return run(c, req);
	case VB_FETCH_PAGE_IN:
		return page_in(c, req->out_object, req->out_chunk, req->out_count);
	case VB_FETCH_EVICT:
		return evict(c, req->out_object, req->out_chunk, req->out_count);
	case VB_FETCH_FORGET:
		object_forget(req->out_object);
		return 0;
	default:
		return 0;
	}
}

static void commit(struct chance *c, uint64_t tag, int status)
{
	struct vb_ioc_commit cmd = {
		.size = sizeof(cmd), .generation = x.generation, .tag = tag, .status = status,
		.bad_command = (uint32_t)any_size(c), .busy_ns = any_size(c),
	};

	/* Bad luck; or what no errno is, which must be refused. */
	if (one_in(c, 40))
		cmd.status = one_in(c, 3) ? 5000 * (one_in(c, 2) ? 1 : -1) : -EIO;
	if (one_in(c, 100))
		cmd.generation--;
	if (one_in(c, 100))
		cmd.tag += below(c, 9) - 4;
	fuzz_call(x.node, VB_IOC_COMMIT, &cmd);
	if (!one_in(c, 40))
		return;
	cmd.tag = tag;
	cmd.generation = x.generation;
	fuzz_call(x.node, VB_IOC_COMMIT, &cmd);
}

/* ---- ends ---- */

static void end(struct chance *c)
{
	char *const argv[] = { (char *)"/bin/true", NULL };

	switch (below(c, 5)) {
	case 0:
		kill(getpid(), SIGKILL);
		break;
	case 1:
		/* The node is closed by exec(). */
		execv(argv[0], argv);
		break;
	case 2:
		/* Silence: the watch must end it. */
		for (;;)
			pause();
	case 3:
		/* A child has the node for a moment longer. */
		if (!fork()) {
			usleep((useconds_t)below(c, 100000));
			_exit(0);
		}
		break;
	}
	fuzz_cover_merge(&cover);
	_exit(0);
}

/* ---- by io_uring ---- */

#define RING_SLOTS	6u	/* of a thread */

/* Commit, and fetch again; what is no submission takes a worker. */
static void ring_commit(struct fuzz_ring *r, struct chance *c, const struct vb_ioc_fetch *req,
			int status, const struct vb_uring_fetch *again)
{
	struct vb_uring_commit cmd = {
		.generation = x.generation, .tag = req->out_tag, .status = status,
		.bad_command = ~0u, .busy_ns = any_size(c),
	};
	bool async = req->out_type != VB_FETCH_SUBMIT || one_in(c, 10);

	if (again)
		cmd.fetch = *again;
	if (one_in(c, 60))
		((uint8_t *)&cmd)[below(c, sizeof(cmd))] ^= (uint8_t)(1 << below(c, 8));
	fuzz_ring_put(r, c, x.node, VB_URING_COMMIT, &cmd, sizeof(cmd), async && !one_in(c, 30));
}

static struct vb_uring_fetch any_slots(struct chance *c, uint32_t thread)
{
	struct vb_uring_fetch f = {
		.first = thread * RING_SLOTS, .count = 1 + (uint32_t)below(c, RING_SLOTS),
	};

	if (one_in(c, 6))
		f.flags = one_in(c, 2) ? VB_FETCH_F_NOWAIT : VB_FETCH_F_URGENT;
	if (one_in(c, 60))
		((uint8_t *)&f)[below(c, sizeof(f))] ^= (uint8_t)(1 << below(c, 8));
	return f;
}

/* What came into slots of ours; a slot that nothing came into holds what was there. */
static void ring_answer_all(struct fuzz_ring *r, struct chance *c, uint32_t thread, int32_t count)
{
	struct vb_uring_fetch again = any_slots(c, thread);
	struct vb_ioc_fetch req[RING_SLOTS];
	uint32_t n = (uint32_t)count < RING_SLOTS ? (uint32_t)count : RING_SLOTS;

	for (uint32_t i = 0; i < n; i++)
		memcpy(&req[i], x.fetched + (thread * RING_SLOTS + i) * VB_URING_SLOT_BYTES,
		       sizeof(req[i]));
	for (uint32_t i = 0; i < n; i++) {
		if (atomic_fetch_sub(&x.life, 1) <= 0)
			end(c);
		maybe_sleep(c);
		if (!one_in(c, 300))
			ring_commit(r, c, &req[i], answer(c, &req[i]), i + 1 == n ? &again : NULL);
	}
}

static void ring_disturb(struct fuzz_ring *r, struct chance *c, uint32_t thread)
{
	struct vb_uring_fetch f = any_slots(c, thread);
	bool disarm = one_in(c, 3);

	if (disarm)
		f.flags = 0;
	fuzz_ring_put(r, c, x.node, disarm ? VB_URING_DISARM : VB_URING_FETCH, &f, sizeof(f),
		      one_in(c, 10));
	if (one_in(c, 40))
		fuzz_ring_close(r);
}

static void *serve_by_ring(void *arg)
{
	uint32_t thread = (uint32_t)(uintptr_t)arg;
	struct chance c = { x.seed + thread };
	struct fuzz_ring r = { .open = false };
	int32_t res;
	int nr;

	begin_to_trace();
	while (!atomic_load(&fuzz->stop)) {
		fuzz_cover_merge(&cover);
		nr = fuzz_ring_take(&r, 1 + (uint32_t)below(&c, 20000), &res);
		/* A commit does not fit into a short entry. */
		if (nr == _IOC_NR(VB_URING_COMMIT) && !r.wide && res != -EINVAL && res != -ECANCELED)
			fuzz_problem("executor %u: half a commit gave %d", x.who, res);
		if ((nr == _IOC_NR(VB_URING_FETCH) || nr == _IOC_NR(VB_URING_COMMIT)) && res > 0)
			ring_answer_all(&r, &c, thread, res);
		else if (nr < 0 || one_in(&c, 10))
			ring_disturb(&r, &c, thread);
	}
	fuzz_ring_close(&r);
	return NULL;
}

/* Several at once: what came is answered with the next call. */
static void exchange(struct chance *c)
{
	struct vb_ioc_fetch req[4];
	struct vb_ioc_commit done[4];
	struct vb_ioc_exchange cmd = {
		.size = sizeof(cmd), .flags = VB_FETCH_F_NOWAIT, .fetches_address = (uintptr_t)req,
		.fetch_count = (uint32_t)below(c, 5), .commits_address = (uintptr_t)done,
		.spin_ns = (uint32_t)below(c, 100000),
		.fill_count = one_in(c, 100) ? ~0u : (uint32_t)below(c, 10),
	};

	if (one_in(c, 10))
		cmd.flags |= one_in(c, 4) ? VB_EXCHANGE_F_HOLD_FILLS : VB_EXCHANGE_F_LET_FILLS;
	if (fuzz_call(x.node, VB_IOC_EXCHANGE, &cmd))
		return;
	for (uint32_t i = 0; i < cmd.out_fetched; i++) {
		if (atomic_fetch_sub(&x.life, 1) <= 0)
			end(c);
		done[i] = (struct vb_ioc_commit){
			.size = sizeof(done[i]), .generation = x.generation, .tag = req[i].out_tag,
			.status = answer(c, &req[i]), .bad_command = ~0u,
		};
	}
	cmd.commit_count = cmd.out_fetched;
	cmd.fetch_count = 0;
	if (one_in(c, 20))
		cmd.commit_count += (uint32_t)below(c, 100);
	fuzz_call(x.node, VB_IOC_EXCHANGE, &cmd);
}

/* Structures of a wrong length, or too many: nothing is looked at behind them. */
static void wrong_exchange(struct chance *c)
{
	struct vb_ioc_commit done = { .size = sizeof(done), .generation = x.generation };
	struct vb_ioc_exec_stats stats = { .size = sizeof(stats) };
	struct vb_ioc_exchange cmd = {
		.size = sizeof(cmd), .flags = VB_FETCH_F_NOWAIT, .commit_count = 1,
		.commits_address = (uintptr_t)&done, .fill_count = (uint32_t)below(c, 10),
	};
	uint32_t what = (uint32_t)below(c, 4);
	int rc;

	switch (what) {
	case 0:
		cmd.size = (uint32_t)below(c, sizeof(cmd.size));
		break;
	case 1:
		done.size ^= 1 + (uint32_t)below(c, 1000);
		break;
	case 2:
		stats.size = (uint32_t)below(c, sizeof(stats));
		cmd.stats_address = (uintptr_t)&stats;
		break;
	default:
		cmd.commit_count = VB_EXCHANGE_MAX + 1 + (uint32_t)below(c, 1u << 31);
	}
	rc = fuzz_call(x.node, VB_IOC_EXCHANGE, &cmd);
	if (rc != -EINVAL)
		fuzz_problem("executor %u: wrong exchange %u gave %d", x.who, what, rc);
}

static void *serve(void *arg)
{
	struct chance c = { x.seed + (uintptr_t)arg };

	begin_to_trace();
	while (!atomic_load(&fuzz->stop)) {
		struct vb_ioc_fetch req = { .size = sizeof(req) };

		fuzz_cover_merge(&cover);
		if (one_in(&c, 3)) {
			exchange(&c);
			continue;
		}
		if (one_in(&c, 4))
			req.flags = one_in(&c, 2) ? VB_FETCH_F_NOWAIT : VB_FETCH_F_URGENT;
		if (fuzz_call(x.node, VB_IOC_FETCH, &req))
			continue;
		if (atomic_fetch_sub(&x.life, 1) <= 0)
			end(&c);
		maybe_sleep(&c);
		if (!one_in(&c, 300))
			commit(&c, req.out_tag, answer(&c, &req));
	}
	return NULL;
}

/* ---- what else it may ask ---- */

static void any_move(struct chance *c)
{
	struct vb_move mv = {
		.object = 1 + (uint32_t)below(c, 200), .chunk = (uint32_t)any_size(c),
		.op = (uint8_t)(VB_MOVE_DROP + below(c, 3)), .from = (uint8_t)below(c, 6),
		.to = (uint8_t)below(c, 6), .arena = (uint32_t)below(c, 5),
		.slot = (uint32_t)any_size(c),
	};

	if (one_in(c, 4))
		mv.chunk = 0;
	/* Ends of moves that never began, too: what a thread fills is its own alone. */
	if (one_in(c, 4))
		mv.object = 0xffffff;
	move(&mv);
}

static void any_stats(struct chance *c)
{
	uint64_t add[VB_COUNT_COUNT] = { 1 };
	struct vb_ioc_exec_stats cmd = {
		.size = sizeof(cmd), .client = (uint32_t)below(c, 30),
		.count = (uint32_t)below(c, VB_COUNT_COUNT + 2), .address = (uintptr_t)add,
	};

	fuzz_call(x.node, VB_IOC_EXEC_STATS, &cmd);
}

static void any_number(struct chance *c)
{
	uint8_t any[512];

	for (size_t i = 0; i < sizeof(any); i++)
		any[i] = (uint8_t)chance(c);
	*(uint32_t *)any = (uint32_t)below(c, 300);
	/*
	 * Not FETCH, which may wait, as EXCHANGE beyond these may; not the moves, whose content
	 * is promised.
	 */
	fuzz_call(x.node, _IOC(3, VB_IOC_MAGIC, 0x46 + below(c, 9), below(c, 256)), any);
}

static void any_mapping(struct chance *c)
{
	uint64_t offset = (1 + below(c, 4)) << 56 | below(c, 6) << 48 | below(c, 1 << 20) << 12;
	uint64_t bytes = (1 + below(c, 600)) << 12;
	void *p;

	if (one_in(c, 6)) {
		offset = VB_MMAP_FETCH;
		bytes = one_in(c, 4) ? bytes : VB_MMAP_FETCH_BYTES;
	}
	p = mmap(NULL, bytes, one_in(c, 2) ? PROT_READ : PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, x.node, (off_t)offset);

	if (p != MAP_FAILED)
		munmap(p, bytes);
}

static void any_slot(struct chance *c)
{
	struct vb_ioc_slot_query cmd = {
		.size = sizeof(cmd), .arena = (uint32_t)below(c, ARENAS + 1),
		.slot = one_in(c, 4) ? (uint32_t)chance(c) : (uint32_t)below(c, 8),
	};

	fuzz_call(x.node, VB_IOC_SLOT_QUERY, &cmd);
}

static void poll_node(struct chance *c)
{
	struct pollfd p = { .fd = x.node, .events = (short)chance(c) };

	poll(&p, 1, (int)below(c, 3));
}

static int region(uint32_t i, unsigned long request, uint64_t *out_offset)
{
	struct vb_ioc_region cmd = { .size = sizeof(cmd), .arena = x.arena[i], .slots = x.slots[i] };
	int rc = fuzz_call(x.node, request, &cmd);

	*out_offset = cmd.out_mmap_offset;
	return rc;
}

static int region_map(uint32_t i, uint64_t offset)
{
	return mmap(x.memory[i], (uint64_t)x.slots[i] * fuzz->chunk_bytes, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED, x.node, (off_t)offset) == MAP_FAILED ? -errno : 0;
}

/* While it is away nobody may be given its slots: those who fill one hold the lock. */
static void region_away(void)
{
	uint64_t offset;

	pthread_mutex_lock(&x.lock);
	if (!region(LOOSE, VB_IOC_REGION_REMOVE, &offset) &&
	    (region(LOOSE, VB_IOC_REGION_ADD, &offset) || region_map(LOOSE, offset)))
		_exit(1);
	pthread_mutex_unlock(&x.lock);
}

static void idle(struct chance *c)
{
	switch (below(c, 9)) {
	case 0:
		any_stats(c);
		break;
	case 1:
		any_number(c);
		break;
	case 2:
		any_mapping(c);
		break;
	case 3:
		region_away();
		break;
	case 4:
		wrong_exchange(c);
		break;
	case 5:
		any_slot(c);
		break;
	case 6:
		poll_node(c);
		break;
	default:
		any_move(c);
	}
}

/* ---- begin ---- */

static int add_arena(struct chance *c, uint32_t i)
{
	struct vb_ioc_arena_create cmd = {
		.size = sizeof(cmd), .tier = tier_of[i], .numa_node = i < 2 ? (int)i : -1,
		.slots = 4 + (uint32_t)below(c, 12),
	};
	uint64_t bytes, offset;

	if (fuzz_call(x.node, VB_IOC_ARENA_CREATE, &cmd))
		return -1;
	x.arena[i] = cmd.out_arena;
	x.slots[i] = cmd.slots;
	bytes = (uint64_t)cmd.slots * fuzz->chunk_bytes;
	x.memory[i] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (x.memory[i] == MAP_FAILED)
		return -1;
	if (tier_of[i] != VB_TIER_HOST)
		return 0;
	return region(i, VB_IOC_REGION_ADD, &offset) || region_map(i, offset) ? -1 : 0;
}

/* What is left where we would make one; false: nothing that we can use. */
static bool is_left(uint32_t i)
{
	struct vb_ioc_arena_query q = { .size = sizeof(q), .arena = i };

	return tier_of[i] == VB_TIER_HOST && !fuzz_call(x.node, VB_IOC_ARENA_QUERY, &q) &&
	       q.out_tier == VB_TIER_HOST && q.out_flags == VB_ARENA_ORPHAN;
}

static int adopt_arena(struct chance *c, uint32_t i)
{
	struct vb_ioc_arena_adopt cmd = {
		.size = sizeof(cmd), .arena = i, .flags = one_in(c, 4) ? 0 : VB_ADOPT_FORCE,
	};
	struct vb_ioc_region r = { .size = sizeof(r), .arena = i };

	/* What somebody refers to, or has no region, is left to who comes next. */
	if (fuzz_call(x.node, VB_IOC_ARENA_ADOPT, &cmd) ||
	    fuzz_call(x.node, VB_IOC_REGION_NEXT, &r) || r.first_slot)
		return -1;
	x.arena[i] = i;
	x.slots[i] = r.slots;
	x.memory[i] = mmap(NULL, (uint64_t)r.slots * fuzz->chunk_bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return x.memory[i] == MAP_FAILED || region_map(i, r.out_mmap_offset) ? -1 : 0;
}

static int recover(uint32_t flags)
{
	struct vb_ioc_recover cmd = {
		.size = sizeof(cmd), .flags = flags, .generation = x.generation,
	};

	return fuzz_call(x.node, VB_IOC_RECOVER, &cmd);
}

/* A predecessor died: go on with its memory, or without, or begin anew, or die as well. */
static int succeed(struct chance *c)
{
	struct vb_ioc_object_next next = { .size = sizeof(next) };

	if (one_in(c, 8))
		return -1;
	if (one_in(c, 8) && recover(VB_RECOVER_DISCARD))
		return -1;
	fuzz_call(x.node, VB_IOC_OBJECT_NEXT, &next);
	any_slot(c);
	for (uint32_t i = 0; i < ARENAS; i++)
		if (is_left(i) && !one_in(c, 3) ? adopt_arena(c, i) : add_arena(c, i))
			return -1;
	/* After a DISCARD it is LIVE already. */
	recover(0);
	return 0;
}

static int make_arenas(struct chance *c)
{
	for (uint32_t i = 0; i < ARENAS; i++)
		if (add_arena(c, i))
			return -1;
	return 0;
}

static int attach(struct chance *c)
{
	struct vb_ioc_exec_attach cmd = {
		.size = sizeof(cmd), .panel_bytes = fuzz->chunk_bytes,
		.staging_bytes = below(c, 2) * fuzz->chunk_bytes,
	};

	if (fuzz_call(x.node, VB_IOC_EXEC_ATTACH, &cmd))
		return -1;
	x.generation = cmd.out_generation;
	if (mmap(NULL, VB_MMAP_SUBMIT_BYTES, PROT_READ, MAP_SHARED, x.node, VB_MMAP_SUBMIT) ==
	    MAP_FAILED)
		return -1;
	x.fetched = mmap(NULL, VB_MMAP_FETCH_BYTES, PROT_READ, MAP_SHARED, x.node, VB_MMAP_FETCH);
	if (x.fetched == MAP_FAILED)
		return -1;
	return cmd.out_state == VB_EXEC_RECOVERING ? succeed(c) : make_arenas(c);
}

/* One executor at a time: the others try again. */
static int open_node(void)
{
	while (!atomic_load(&fuzz->stop)) {
		x.node = open("/dev/vblackwell-exec", O_RDWR | O_CLOEXEC);
		if (x.node >= 0)
			return 0;
		if (errno != EBUSY && errno != EINTR)
			return -1;
		usleep(2000);
	}
	return -1;
}

void fuzz_exec(uint32_t who, uint64_t seed)
{
	struct chance c = { seed };
	pthread_t thread;

	x.who = who;
	x.seed = seed;
	pthread_mutex_init(&x.lock, NULL);
	for (uint32_t i = 0; i < OBJECTS; i++)
		x.object[i].fd = -1;
	atomic_store(&x.life, 20 + (long)below(&c, 1500));
	begin_to_trace();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || open_node() || attach(&c))
		_exit(1);
	/* Later there is nearly always something in it. */
	region_away();
	for (uintptr_t i = 1; i <= THREADS; i++)
		if (pthread_create(&thread, NULL, one_in(&c, 2) ? serve : serve_by_ring, (void *)i))
			_exit(1);
	while (!atomic_load(&fuzz->stop)) {
		if (atomic_load(&x.life) <= 0)
			pause();	/* the thread that ends us may mean silence */
		idle(&c);
		fuzz_cover_merge(&cover);
		usleep((useconds_t)below(&c, 10000));
	}
	/* Threads that sleep in FETCH end with us. */
	_exit(0);
}

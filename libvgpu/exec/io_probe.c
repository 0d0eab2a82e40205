// SPDX-License-Identifier: MIT
/*
 * Which engine reads this file fastest? Virtual disks disagree with every rule of thumb, so each
 * candidate reads for a short turn, then the next, several times round: a disk whose speed drifts
 * drifts for all of them. Turns read different parts of the file, as far as it reaches.
 *
 * Ranges are dropped from the page cache first. Pages that stay (dirty, mapped, tmpfs) would fake
 * the buffered figure, and a candidate that met any is left out of the result.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exec/io_engine.h"
#include "file.h"

#define CHUNK_MIN	(4u << 10)
#define CHUNK_MAX	(64u << 20)
/* Few, because the longer a turn the less its beginning weighs: readahead has to grow. */
#define ROUNDS		2u
#define DEPTH_MAX	32u	/* of the candidates */
#define PAGE_BYTES	4096u
/* Beyond the deadline of a request: what is not back by then does not come back. */
#define PATIENCE_NS	(2 * VGPU_IO_TIMEOUT_MS * INT64_C(1000000))
/* A page of readahead at the edge of a range does no harm. */
#define RESIDENT_MAX	16u

static const struct vgpu_io_candidate candidates[] = {
	{ "uring", 4, NULL }, { "uring", 8, NULL }, { "uring", 32, NULL },
	{ "threads", 4, NULL }, { "threads", 8, NULL },
	{ "buffered", 2, NULL },
};

#define CANDIDATES	(sizeof(candidates) / sizeof(candidates[0]))

_Static_assert(CANDIDATES <= VGPU_IO_PROBE_MAX, "rows for all candidates");
_Static_assert(CANDIDATES * ROUNDS == VGPU_IO_PROBE_TURNS, "turns as promised");

/**
 * struct probe - state of one probe
 * @list: whom to measure
 * @count: of @list
 * @fd: the caller's file
 * @chunk_bytes: of a transfer
 * @turn_chunks: transfers in a turn
 * @file_chunks: whole chunks in the file
 * @next_chunk: where the next turn begins
 * @buf: one chunk for each transfer in flight
 * @reqs: likewise
 */
struct probe {
	const struct vgpu_io_candidate *list;
	uint32_t count;
	int fd;
	uint32_t chunk_bytes;
	uint64_t turn_chunks;
	uint64_t file_chunks;
	uint64_t next_chunk;
	uint8_t *buf;
	struct vgpu_io_req reqs[DEPTH_MAX];
};

/* A candidate that could be opened. */
struct contender {
	struct vgpu_io *io;
	uint32_t file;
	bool cached;
	struct vgpu_io_probe_row row;
};

/* Pages of the range in the page cache, after asking for there to be none. */
static uint64_t drop_range(int fd, uint64_t offset, uint64_t bytes)
{
	uint64_t pages = bytes / PAGE_BYTES, i, resident = 0;
	unsigned char *map = malloc(pages);
	void *at;

	posix_fadvise(fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
	at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	if (map && at != MAP_FAILED && !mincore(at, bytes, map))
		for (i = 0; i < pages; i++)
			resident += map[i] & 1;
	if (at != MAP_FAILED)
		munmap(at, bytes);
	free(map);
	return resident;
}

/*
 * Read the range of a turn, depth transfers at a time, each in a buffer of its own.
 * Returns the first error after everything that was started has come back, or -ETIMEDOUT.
 */
static int turn_read(struct probe *p, struct contender *c, uint64_t first)
{
	uint64_t next = first, end = first + p->turn_chunks;
	struct vgpu_io_req *list = NULL, *req;
	uint32_t i, busy = 0;
	int rc, error = 0;

	for (i = 0; i < c->row.depth; i++) {
		p->reqs[i].next = list;
		list = &p->reqs[i];
	}
	do {
		for (; list && next < end && !error; next++, busy++) {
			req = list;
			list = req->next;
			*req = (struct vgpu_io_req){
				.file = c->file,
				.offset = next * p->chunk_bytes,
				.bytes = p->chunk_bytes,
				.buf = p->buf + (size_t)(req - p->reqs) * p->chunk_bytes,
				.buf_index = -1,
			};
			vgpu_io_submit(c->io, req);
		}
		rc = vgpu_io_reap(c->io, 1, DEPTH_MAX, PATIENCE_NS, &list);
		if (rc <= 0)
			return rc ? rc : -ETIMEDOUT;
		busy -= (uint32_t)rc;
		for (req = list; req; req = req->next) {
			error = error ? error : req->result;
			c->row.bytes += req->done_bytes;
		}
	} while (busy || (next < end && !error));
	return error;
}

static int turn(struct probe *p, struct contender *c)
{
	uint64_t first, start;
	int rc;

	if (p->next_chunk + p->turn_chunks > p->file_chunks)
		p->next_chunk = 0;
	first = p->next_chunk;
	p->next_chunk += p->turn_chunks;
	if (drop_range(p->fd, first * p->chunk_bytes, p->turn_chunks * p->chunk_bytes) >
	    RESIDENT_MAX && !c->row.direct)
		c->cached = true;

	start = vgpu_now_ns();
	rc = turn_read(p, c, first);
	c->row.ns += vgpu_now_ns() - start;
	return rc;
}

static int open_by_name(const struct vgpu_io_candidate *from, struct vgpu_io **out)
{
	struct vgpu_io_params params = { .engine = from->engine, .depth = from->depth };

	return vgpu_io_open(&params, out);
}

static bool contender_open(const struct probe *p, const struct vgpu_io_candidate *from,
			   struct contender *c)
{
	struct vgpu_io_file_info info;

	memset(c, 0, sizeof(*c));
	if (!from->depth || from->depth > DEPTH_MAX || from->depth > p->turn_chunks ||
	    (from->open ? from->open : open_by_name)(from, &c->io))
		return false;
	if (vgpu_io_file_add(c->io, p->fd, 0, &c->file) ||
	    vgpu_io_file_get(c->io, c->file, &info)) {
		vgpu_io_close(c->io);
		return false;
	}
	c->row.engine = from->engine;
	c->row.depth = from->depth;
	c->row.chunk_bytes = p->chunk_bytes;
	c->row.direct = info.direct;
	return true;
}

static int probe_rounds(struct probe *p, struct contender *list, uint32_t count)
{
	uint32_t round, i;
	int rc;

	for (round = 0; round < ROUNDS; round++)
		for (i = 0; i < count; i++) {
			rc = turn(p, &list[i]);
			if (rc)
				return rc;
		}
	return 0;
}

static void chunk_print(char *out, size_t size, uint32_t bytes)
{
	if (bytes >= 1u << 20)
		snprintf(out, size, "%u MiB", bytes >> 20);
	else
		snprintf(out, size, "%u KiB", bytes >> 10);
}

/* Fastest row of an engine, or NULL. */
static const struct vgpu_io_probe_row *best_of(const struct vgpu_io_probe_result *r,
					       const char *engine)
{
	const struct vgpu_io_probe_row *best = NULL;
	uint32_t i;

	for (i = 0; i < r->count; i++)
		if (!strcmp(r->rows[i].engine, engine) && (!best || r->rows[i].gbps > best->gbps))
			best = &r->rows[i];
	return best;
}

static void reason_fill(struct vgpu_io_probe_result *r)
{
	const struct vgpu_io_probe_row *best = &r->rows[r->best], *row;
	uint32_t i;
	size_t used;
	char chunk[16];

	chunk_print(chunk, sizeof(chunk), best->chunk_bytes);
	used = (size_t)snprintf(r->reason, sizeof(r->reason), "%s%s %s depth %u: %.2f GB/s",
				best->engine, best->direct ? " O_DIRECT" : "", chunk, best->depth,
				best->gbps);
	/* The best of each other engine, once. */
	for (i = 0; i < r->count && used < sizeof(r->reason); i++) {
		row = best_of(r, r->rows[i].engine);
		if (row == &r->rows[i] && strcmp(row->engine, best->engine))
			used += (size_t)snprintf(r->reason + used, sizeof(r->reason) - used,
						 "; %s %.2f", row->engine, row->gbps);
	}
}

static void result_fill(struct vgpu_io_probe_result *out, const struct contender *list,
			uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		if (list[i].cached || !list[i].row.ns)
			continue;
		out->rows[out->count] = list[i].row;
		out->rows[out->count].gbps = (double)list[i].row.bytes / (double)list[i].row.ns;
		if (out->rows[out->count].gbps > out->rows[out->best].gbps)
			out->best = out->count;
		out->count++;
	}
	if (out->count)
		reason_fill(out);
}

static uint64_t buffer_bytes(const struct probe *p)
{
	uint64_t depth = p->turn_chunks < DEPTH_MAX ? p->turn_chunks : DEPTH_MAX;

	return depth * p->chunk_bytes;
}

static struct probe *probe_alloc(const struct vgpu_io_candidate *list, uint32_t count, int fd,
				 uint32_t chunk_bytes, uint64_t bytes_limit)
{
	struct probe *p = calloc(1, sizeof(*p));
	uint64_t bytes;

	if (!p)
		return NULL;
	p->list = list;
	p->count = count;
	p->fd = fd;
	p->chunk_bytes = chunk_bytes;
	p->file_chunks = vgpu_file_bytes(fd, &bytes) ? 0 : bytes / chunk_bytes;
	p->turn_chunks = bytes_limit / (count * ROUNDS) / chunk_bytes;
	if (p->turn_chunks > p->file_chunks)
		p->turn_chunks = p->file_chunks;
	if (!p->turn_chunks)
		return p;
	p->buf = mmap(NULL, buffer_bytes(p), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p->buf == MAP_FAILED) {
		free(p);
		return NULL;
	}
	return p;
}

static void probe_free(struct probe *p)
{
	if (p->turn_chunks)
		munmap(p->buf, buffer_bytes(p));
	free(p);
}

static int probe_run(struct probe *p, struct vgpu_io_probe_result *out, uint32_t *lost)
{
	struct contender list[VGPU_IO_PROBE_MAX];
	uint32_t i, count = 0;
	int rc;

	for (i = 0; i < p->count; i++)
		if (contender_open(p, &p->list[i], &list[count]))
			count++;
	rc = probe_rounds(p, list, count);
	result_fill(out, list, count);
	for (i = 0; i < count; i++)
		*lost += vgpu_io_close(list[i].io);
	if (rc)
		return rc;
	return out->count ? 0 : -ENODATA;
}

int vgpu_io_probe_among(const struct vgpu_io_candidate *list, uint32_t count, int fd,
			uint32_t chunk_bytes, uint64_t bytes_limit,
			struct vgpu_io_probe_result *out)
{
	struct probe *p;
	uint32_t lost = 0;
	int rc;

	memset(out, 0, sizeof(*out));
	if (!count || count > VGPU_IO_PROBE_MAX)
		return -EINVAL;
	if (chunk_bytes < CHUNK_MIN || chunk_bytes > CHUNK_MAX || (chunk_bytes & (chunk_bytes - 1)))
		return -EINVAL;
	p = probe_alloc(list, count, fd, chunk_bytes, bytes_limit);
	if (!p)
		return -ENOMEM;
	rc = p->turn_chunks ? probe_run(p, out, &lost) : -ENODATA;
	/* Memory that the kernel may still write to is never given back. */
	if (!lost)
		probe_free(p);
	return rc;
}

int vgpu_io_probe(int fd, uint32_t chunk_bytes, uint64_t bytes_limit,
		  struct vgpu_io_probe_result *out)
{
	return vgpu_io_probe_among(candidates, CANDIDATES, fd, chunk_bytes, bytes_limit, out);
}

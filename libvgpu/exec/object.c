// SPDX-License-Identifier: MIT
#include "object.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/format.h"
#include "errand.h"

#define STORE_BUCKETS	1024u	/* to begin with */
#define CLOSE_NS	(20u * 1000 * 1000)	/* most files are closed by then */

static struct vgpu_object **store_bucket(struct vgpu_store *s, uint32_t id)
{
	return &s->bucket[(id * 2654435761u) & (s->buckets - 1)];
}

static void store_insert(struct vgpu_store *s, struct vgpu_object *o)
{
	struct vgpu_object **bucket = store_bucket(s, o->id);

	o->next = *bucket;
	*bucket = o;
}

/* Twice as many buckets; without memory for them it stays slower. */
static void store_grow(struct vgpu_store *s)
{
	struct vgpu_object **old = s->bucket, **grown = calloc(2ul * s->buckets, sizeof(*grown));
	uint32_t count = s->buckets;

	if (!grown)
		return;
	s->bucket = grown;
	s->buckets *= 2;
	for (uint32_t i = 0; i < count; i++) {
		while (old[i]) {
			struct vgpu_object *o = old[i];

			old[i] = o->next;
			store_insert(s, o);
		}
	}
	free(old);
}

int vgpu_store_init(struct vgpu_store *s, struct vgpu_uapi *node, struct vgpu_io *io)
{
	s->node = node;
	s->io = io;
	s->buckets = STORE_BUCKETS;
	s->bucket = calloc(s->buckets, sizeof(*s->bucket));
	return s->bucket ? 0 : -ENOMEM;
}

struct vgpu_object *vgpu_store_find(struct vgpu_store *s, uint32_t id)
{
	struct vgpu_object *o = *store_bucket(s, id);

	while (o && o->id != id)
		o = o->next;
	return o;
}

__attribute__((no_sanitize("thread")))
struct vb_table_entry vgpu_object_entry(const struct vgpu_object *o, uint32_t chunk)
{
	const volatile struct vb_table_entry *e = &o->table[chunk];

	return (struct vb_table_entry){
		.loc = { e->loc[0], e->loc[1], e->loc[2] }, .valid = e->valid, .busy = e->busy,
		.flags = e->flags, .pins = e->pins, .maps = e->maps, .crc = e->crc,
	};
}

/* Packed geometry of a derived object. */
static int object_set_units(struct vgpu_object *o)
{
	struct vb_unit unit;
	int rc;

	if (o->kind != VB_BO_DERIVED)
		return 0;
	rc = vb_format_unit(o->transform.dst_format, o->transform.cols, &unit);
	if (rc)
		return rc;
	o->unit_rows = unit.rows;
	o->unit_bytes = unit.bytes;
	return vb_format_matrix_bytes(o->transform.dst_format, o->transform.rows,
				      o->transform.cols, &o->matrix_bytes);
}

/* ------------------------------------------------------------------------
 * Files
 */

static dev_t device_of(const struct statx *st)
{
	return makedev(st->stx_dev_major, st->stx_dev_minor);
}

static struct vgpu_file *file_find(struct vgpu_store *s, const struct statx *st)
{
	struct vgpu_file *f = s->files;

	while (f && (f->device != device_of(st) || f->inode != st->stx_ino))
		f = f->next;
	return f;
}

/**
 * struct vgpu_opening - the descriptors of a file, and what opening it found
 * @fd: the first client's, ours to close
 * @measure: wanted
 * @measured: 0: @found says
 * @file: NULL before it is open
 * @rc: 0 or why it could not be
 */
struct vgpu_opening {
	int fd, rc, measured;
	struct vgpu_measure measure;
	struct vgpu_io_probe_result found;
	struct vgpu_io_file *file;
};

static void opening_run(void *arg)
{
	struct vgpu_opening *o = arg;

	if (o->measure.fn)
		o->measured = o->measure.fn(o->fd, o->measure.chunk_bytes, o->measure.bytes,
					    &o->found);
	o->rc = vgpu_io_file_prepare(o->fd, &o->file);
}

static void opening_close(void *arg)
{
	struct vgpu_opening *o = arg;

	if (o->file)
		vgpu_io_file_release(o->file);
	close(o->fd);
}

static void opening_drop(void *arg)
{
	opening_close(arg);
	free(arg);
}

/* By an errand; where no thread is to be had, here. */
static void file_close(struct vgpu_opening *o)
{
	struct vgpu_errand *e;

	if (vgpu_errand_begin(opening_close, free, o, &e)) {
		opening_drop(o);
		return;
	}
	vgpu_errand_is_done(e, CLOSE_NS);
	if (vgpu_errand_leave(e))
		free(o);
}

/* A descriptor that nothing else is known of. */
static void descriptor_close(int fd)
{
	struct vgpu_opening *o = calloc(1, sizeof(*o));

	if (!o) {
		close(fd);
		return;
	}
	o->fd = fd;
	file_close(o);
}

static uint32_t openings_of(const struct vgpu_store *s, uint32_t client)
{
	uint32_t n = 0;

	for (const struct vgpu_file *f = s->files; f; f = f->next)
		n += f->errand && f->client == client;
	return n;
}

/* What the errand found: @f is ready, or has an error. */
static void file_take(struct vgpu_store *s, struct vgpu_file *f)
{
	const struct vgpu_opening *o = f->opening;

	if (o->measure.fn && !o->measured)
		s->chose(s->choose_arg, &o->found);
	f->error = o->rc ? o->rc : vgpu_io_file_lend(s->io, o->file, &f->index);
	if (!f->error)
		f->align = vgpu_io_file_align(s->io, f->index);
}

static void file_begin(struct vgpu_store *s, struct vgpu_file *f)
{
	f->waits = openings_of(s, f->client) >= VGPU_SLOW_MAX;
	if (f->waits || !vgpu_errand_begin(opening_run, opening_drop, f->opening, &f->errand))
		return;
	opening_run(f->opening);
	file_take(s, f);
}

int vgpu_store_file_ready(struct vgpu_store *s, struct vgpu_file *f)
{
	if (f->waits)
		file_begin(s, f);
	if (f->errand && vgpu_errand_is_done(f->errand, 0)) {
		vgpu_errand_leave(f->errand);
		f->errand = NULL;
		file_take(s, f);
	}
	return f->waits || f->errand ? -EAGAIN : f->error;
}

static bool file_is_lent(const struct vgpu_file *f)
{
	return !f->waits && !f->errand && !f->error;
}

static void file_put(struct vgpu_store *s, struct vgpu_file *f)
{
	struct vgpu_file **p = &s->files;

	if (!f || --f->users)
		return;
	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	if (s->io && file_is_lent(f))
		vgpu_io_file_remove(s->io, f->index);
	if (!f->errand || vgpu_errand_leave(f->errand))
		file_close(f->opening);
	free(f);
}

static struct vgpu_file *file_new(struct vgpu_store *s, int fd, const struct statx *st,
				  const struct vgpu_object *o)
{
	struct vgpu_file *f = calloc(1, sizeof(*f));
	struct vgpu_opening *opening = calloc(1, sizeof(*opening));

	if (!f || !opening) {
		free(f);
		free(opening);
		return NULL;
	}
	opening->fd = fd;
	if (s->wants)
		opening->measure = s->wants(s->choose_arg, o->file_end - o->file_offset);
	*f = (struct vgpu_file){ .device = device_of(st), .inode = st->stx_ino,
				 .client = o->client, .opening = opening, .next = s->files };
	return f;
}

/* fd is the file's from here on, also when this fails. */
static int file_open(struct vgpu_store *s, int fd, const struct statx *st, struct vgpu_object *o)
{
	/* Whose files are slow keeps nobody waiting again. */
	uint64_t patience_ns = openings_of(s, o->client) ? 0 : VGPU_SLOW_NS;
	struct vgpu_file *f = file_new(s, fd, st, o);
	int rc;

	if (!f) {
		descriptor_close(fd);
		return -ENOMEM;
	}
	file_begin(s, f);
	s->files = f;
	f->users = 1;
	o->file = f;
	if (f->errand)
		vgpu_errand_is_done(f->errand, patience_ns);
	rc = vgpu_store_file_ready(s, f);
	if (rc == -EAGAIN)
		return 0;
	if (rc) {
		file_put(s, f);
		o->file = NULL;
	}
	return rc;
}

static int object_set_file(struct vgpu_store *s, struct vgpu_object *o, int fd)
{
	struct vgpu_file *f;
	struct statx st;
	int rc;

	if (fd < 0)
		return 0;
	rc = vgpu_io_file_look(fd, &st);
	if (rc) {
		descriptor_close(fd);
		return rc;
	}
	f = file_find(s, &st);
	if (!f)
		return file_open(s, fd, &st, o);
	descriptor_close(fd);
	f->users++;
	o->file = f;
	return 0;
}

int vgpu_store_move(struct vgpu_store *s, struct vgpu_io *io)
{
	uint32_t index[VGPU_IO_FILES_MAX], n = 0;

	for (struct vgpu_file *f = s->files; f; f = f->next) {
		int rc = file_is_lent(f) ? vgpu_io_file_lend(io, f->opening->file, &index[n++]) : 0;

		if (rc)
			return rc;
	}
	n = 0;
	for (struct vgpu_file *f = s->files; f; f = f->next) {
		if (!file_is_lent(f))
			continue;
		vgpu_io_file_remove(s->io, f->index);
		f->index = index[n++];
		f->align = vgpu_io_file_align(io, f->index);
	}
	s->io = io;
	return 0;
}

static size_t table_bytes(const struct vgpu_object *o)
{
	return (size_t)o->chunks * sizeof(*o->table);
}

static int object_set_table(struct vgpu_store *s, struct vgpu_object *o,
			    const struct vb_ioc_object_open *req)
{
	void *table;
	int rc;

	rc = vgpu_uapi_map(s->node, req->out_table_address, req->out_table_mmap, table_bytes(o),
			   false, &table);
	if (!rc)
		o->table = table;
	return rc;
}

static void object_close(struct vgpu_store *s, struct vgpu_object *o)
{
	vgpu_uapi_unmap(s->node, (void *)o->table, table_bytes(o));
	file_put(s, o->file);
	free(o);
}

static int object_open(struct vgpu_store *s, uint32_t id, struct vgpu_object **out)
{
	struct vb_ioc_object_open req = { .size = sizeof(req), .object = id };
	struct vgpu_object *o;
	int rc;

	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	rc = vgpu_uapi_call(s->node, VB_IOC_OBJECT_OPEN, &req);
	if (rc)
		goto err_free;
	/* Its bytes are in no tier: there is nothing to page in, and we map no dma-bufs. */
	if (req.out_kind == VB_BO_IMPORTED) {
		close(req.out_fd);
		rc = -EOPNOTSUPP;
		goto err_free;
	}
	o->id = id;
	o->kind = req.out_kind;
	o->life = req.out_life;
	o->sealed = req.out_flags & VB_BO_SEALED;
	o->client = req.out_client;
	o->chunks = req.out_chunks;
	o->head = req.out_head_bytes;
	o->bytes = req.out_bytes;
	o->file_offset = req.out_file_offset;
	o->file_end = o->kind == VB_BO_DERIVED ? req.out_file_offset + req.out_file_bytes :
						 req.out_file_offset + o->head + o->bytes;
	o->transform = req.out_transform;
	rc = object_set_file(s, o, req.out_fd);
	if (rc)
		goto err_close;
	rc = object_set_table(s, o, &req);
	if (rc)
		goto err_close;
	rc = object_set_units(o);
	if (rc)
		goto err_close;
	*out = o;
	return 0;

err_close:
	object_close(s, o);
	return rc;
err_free:
	free(o);
	return rc;
}

int vgpu_store_get(struct vgpu_store *s, uint32_t id, struct vgpu_object **out)
{
	struct vgpu_object *o = vgpu_store_find(s, id);
	int rc;

	if (!o) {
		rc = object_open(s, id, &o);
		if (rc)
			return rc;
		if (++s->count > s->buckets && s->buckets < 1u << 31)
			store_grow(s);
		store_insert(s, o);
	}
	*out = o;
	return 0;
}

void vgpu_store_destroy(struct vgpu_store *s)
{
	for (uint32_t i = 0; s->bucket && i < s->buckets; i++) {
		while (s->bucket[i]) {
			struct vgpu_object *o = s->bucket[i];

			s->bucket[i] = o->next;
			object_close(s, o);
		}
	}
	free(s->bucket);
	s->bucket = NULL;
}

void vgpu_store_forget(struct vgpu_store *s, uint32_t id)
{
	struct vgpu_object **p = store_bucket(s, id);

	while (*p && (*p)->id != id)
		p = &(*p)->next;
	if (*p) {
		struct vgpu_object *o = *p;

		*p = o->next;
		s->count--;
		object_close(s, o);
	}
}

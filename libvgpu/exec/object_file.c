// SPDX-License-Identifier: MIT
#include "object_file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "errand.h"

#define CLOSE_NS	(20u * 1000 * 1000)	/* most files are closed by then */

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

void vgpu_file_put(struct vgpu_store *s, struct vgpu_file *f)
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
		vgpu_file_put(s, f);
		o->file = NULL;
	}
	return rc;
}

int vgpu_file_get(struct vgpu_store *s, struct vgpu_object *o, int fd)
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

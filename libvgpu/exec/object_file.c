// SPDX-License-Identifier: MIT
#include "object_file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "clock.h"
#include "errand.h"

#define CLOSE_NS	(20u * 1000 * 1000)	/* most files are closed by then */
/* Files that a client may have closing, and objects of it forgotten. */
#define CLOSING_MAX	64u
/* Who serves everybody waits for files so much of its time, but for VGPU_SLOW_NS at once. */
#define WAIT_SHARE	10u

/**
 * struct vgpu_opening - the descriptors of a file, and what opening it found
 * @fd: the first client's, ours to close
 * @client: whose
 * @measure: wanted
 * @measured: 0: @found says
 * @file: NULL before it is open
 * @rc: 0 or why it could not be
 * @closer: closes it, or NULL: it waits for one; @next: in the list of those that close
 */
struct vgpu_opening {
	int fd, rc, measured;
	uint32_t client;
	struct vgpu_measure measure;
	struct vgpu_io_probe_result found;
	struct vgpu_io_file *file;
	struct vgpu_errand *closer;
	struct vgpu_opening *next;
};

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

/*
 * Wait for an errand: VGPU_SLOW_NS for all that come in a row, and again when ten times as
 * long has passed.  Each file may be slow, and a submission names thousands.
 */
static void errand_await(struct vgpu_store *s, struct vgpu_errand *e, uint64_t most_ns)
{
	uint64_t now = vgpu_now_ns(), back = (now - s->waited_at) / WAIT_SHARE, left;

	s->waited_ns -= back < s->waited_ns ? back : s->waited_ns;
	left = s->waited_ns < VGPU_SLOW_NS ? VGPU_SLOW_NS - s->waited_ns : 0;
	vgpu_errand_is_done(e, most_ns < left ? most_ns : left);
	s->waited_at = vgpu_now_ns();
	s->waited_ns += s->waited_at - now;
}

/* ------------------------------------------------------------------------
 * Closing
 */

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

static uint32_t closers_of(const struct vgpu_store *s, uint32_t client)
{
	uint32_t n = 0;

	for (const struct vgpu_opening *o = s->closing; o; o = o->next)
		n += o->closer && o->client == client;
	return n;
}

/* Without a thread, or when its client has enough of them, it waits. */
static void closing_begin(struct vgpu_store *s, struct vgpu_opening *o)
{
	if (closers_of(s, o->client) < VGPU_SLOW_MAX &&
	    vgpu_errand_begin(opening_close, free, o, &o->closer))
		o->closer = NULL;
}

/* Those that wait and may begin. */
static void closings_go_on(struct vgpu_store *s)
{
	uint32_t full = 0;

	for (struct vgpu_opening *o = s->closing; o; o = o->next) {
		if (o->closer || o->client == full)
			continue;
		closing_begin(s, o);
		full = o->closer ? full : o->client;
	}
}

void vgpu_files_tend(struct vgpu_store *s)
{
	struct vgpu_opening **p = &s->closing, *o;

	while ((o = *p)) {
		if (!o->closer || !vgpu_errand_is_done(o->closer, 0)) {
			p = &o->next;
			continue;
		}
		vgpu_errand_leave(o->closer);
		*p = o->next;
		free(o);
	}
	closings_go_on(s);
}

bool vgpu_files_are_stuck(const struct vgpu_store *s, uint32_t client)
{
	uint32_t n = 0;

	for (const struct vgpu_opening *o = s->closing; o; o = o->next)
		n += o->client == client;
	return n > CLOSING_MAX;
}

/* Whose files are slow to close keeps nobody waiting for the next one. */
static void file_close(struct vgpu_store *s, struct vgpu_opening *o)
{
	uint64_t patience_ns = closers_of(s, o->client) ? 0 : CLOSE_NS;

	o->next = s->closing;
	s->closing = o;
	closing_begin(s, o);
	if (o->closer && patience_ns)
		errand_await(s, o->closer, patience_ns);
	vgpu_files_tend(s);
}

/* One after the other, while the first one lets us. */
static void closings_run(void *arg)
{
	struct vgpu_opening *o = arg, *next;

	for (; o; o = next) {
		next = o->next;
		opening_drop(o);
	}
}

static void closings_are_gone(void *arg)
{
	(void)arg;
}

void vgpu_files_fini(struct vgpu_store *s)
{
	struct vgpu_opening *o, *rest = NULL;
	struct vgpu_errand *e;

	while ((o = s->closing)) {
		s->closing = o->next;
		if (!o->closer) {
			o->next = rest;
			rest = o;
		} else if (vgpu_errand_leave(o->closer)) {
			free(o);
		}
	}
	if (!rest)
		return;
	if (vgpu_errand_begin(closings_run, closings_are_gone, rest, &e)) {
		closings_run(rest);
		return;
	}
	vgpu_errand_is_done(e, CLOSE_NS);
	vgpu_errand_leave(e);
}

static struct vgpu_opening *opening_new(int fd, uint32_t client)
{
	struct vgpu_opening *o = calloc(1, sizeof(*o));

	if (o)
		*o = (struct vgpu_opening){ .fd = fd, .client = client };
	else
		close(fd);
	return o;
}

/* A descriptor that nothing else is known of. */
static void descriptor_close(struct vgpu_store *s, int fd, uint32_t client)
{
	struct vgpu_opening *o = opening_new(fd, client);

	if (o)
		file_close(s, o);
}

/* ------------------------------------------------------------------------
 * Opening
 */

static void opening_run(void *arg)
{
	struct vgpu_opening *o = arg;

	if (o->measure.fn)
		o->measured = o->measure.fn(o->fd, o->measure.chunk_bytes, o->measure.bytes,
					    &o->found);
	o->rc = vgpu_io_file_prepare(o->fd, &o->file);
}

static uint32_t openings_of(const struct vgpu_store *s, uint32_t client)
{
	uint32_t n = 0;

	for (const struct vgpu_file *f = s->files; f; f = f->next)
		n += f->errand && f->client == client;
	return n;
}

/* Without a thread, or when its client has enough of them, it waits. */
static void file_begin(struct vgpu_store *s, struct vgpu_file *f)
{
	f->waits = openings_of(s, f->client) >= VGPU_SLOW_MAX ||
		   vgpu_errand_begin(opening_run, opening_drop, f->opening, &f->errand);
	if (f->waits)
		f->errand = NULL;
}

/* The engine forgets the file that was used longest ago; false: it needs all of them. */
static bool files_take_back(struct vgpu_store *s)
{
	uint64_t after = 0;

	for (;;) {
		struct vgpu_file *oldest = NULL;

		for (struct vgpu_file *f = s->files; f; f = f->next) {
			if (f->lent && f->used > after && (!oldest || f->used < oldest->used))
				oldest = f;
		}
		if (!oldest)
			return false;
		after = oldest->used;
		/* Refused while there is a transfer of it. */
		if (!vgpu_io_file_remove(s->io, oldest->index)) {
			oldest->lent = false;
			return true;
		}
	}
}

static int file_lend(struct vgpu_store *s, struct vgpu_file *f)
{
	int rc = vgpu_io_file_lend(s->io, f->opening->file, &f->index);

	while (rc == -ENOSPC && files_take_back(s))
		rc = vgpu_io_file_lend(s->io, f->opening->file, &f->index);
	if (rc)
		return rc;
	f->lent = true;
	f->align = vgpu_io_file_align(s->io, f->index);
	return 0;
}

/* For want of what others may give back. */
static bool error_passes(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;
}

/* Who asked is told; who asks next has it tried again. */
static int file_tell_error(struct vgpu_file *f)
{
	int rc = f->error;

	if (error_passes(rc)) {
		f->waits = f->scarce = true;
		f->error = 0;
		f->opening->measure.fn = NULL;
	}
	return rc;
}

/* What the errand found. */
static void file_take(struct vgpu_store *s, struct vgpu_file *f)
{
	const struct vgpu_opening *o = f->opening;

	vgpu_errand_leave(f->errand);
	f->errand = NULL;
	f->error = o->rc;
	if (o->measure.fn && !o->measured)
		s->chose(s->choose_arg, &o->found);
}

int vgpu_store_file_ready(struct vgpu_store *s, struct vgpu_file *f)
{
	if (f->waits)
		file_begin(s, f);
	if (f->errand && vgpu_errand_is_done(f->errand, 0))
		file_take(s, f);
	if (f->waits || f->errand)
		return -EAGAIN;
	if (f->error)
		return file_tell_error(f);
	f->scarce = false;
	f->used = ++s->clock;
	return f->lent ? 0 : file_lend(s, f);
}

void vgpu_file_put(struct vgpu_store *s, struct vgpu_file *f)
{
	struct vgpu_file **p = &s->files;

	if (!f || --f->users)
		return;
	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	if (s->io && f->lent)
		vgpu_io_file_remove(s->io, f->index);
	if (!f->errand || vgpu_errand_leave(f->errand))
		file_close(s, f->opening);
	free(f);
}

/* fd is the file's from here on, also when this fails. */
static struct vgpu_file *file_new(struct vgpu_store *s, int fd, const struct statx *st,
				  const struct vgpu_object *o)
{
	struct vgpu_opening *opening = opening_new(fd, o->client);
	struct vgpu_file *f = calloc(1, sizeof(*f));

	if (!f || !opening) {
		free(f);
		if (opening)
			file_close(s, opening);
		return NULL;
	}
	if (s->wants)
		opening->measure = s->wants(s->choose_arg, o->file_end - o->file_offset);
	*f = (struct vgpu_file){ .device = device_of(st), .inode = st->stx_ino, .users = 1,
				 .client = o->client, .opening = opening, .next = s->files };
	s->files = f;
	return f;
}

static int file_open(struct vgpu_store *s, int fd, const struct statx *st, struct vgpu_object *o)
{
	struct vgpu_file *f = file_new(s, fd, st, o);
	bool first = !openings_of(s, o->client);
	int rc;

	if (!f)
		return -ENOMEM;
	file_begin(s, f);
	/* Whose files are slow keeps nobody waiting again. */
	if (f->errand && first)
		errand_await(s, f->errand, VGPU_SLOW_NS);
	rc = vgpu_store_file_ready(s, f);
	if (rc && rc != -EAGAIN) {
		vgpu_file_put(s, f);
		return rc;
	}
	o->file = f;
	return 0;
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
		descriptor_close(s, fd, o->client);
		return rc;
	}
	f = file_find(s, &st);
	if (!f)
		return file_open(s, fd, &st, o);
	descriptor_close(s, fd, o->client);
	f->users++;
	o->file = f;
	return 0;
}

int vgpu_store_move(struct vgpu_store *s, struct vgpu_io *io)
{
	uint32_t index[VGPU_IO_FILES_MAX], n = 0;

	for (struct vgpu_file *f = s->files; f; f = f->next) {
		int rc = f->lent ? vgpu_io_file_lend(io, f->opening->file, &index[n++]) : 0;

		if (rc)
			return rc;
	}
	n = 0;
	for (struct vgpu_file *f = s->files; f; f = f->next) {
		if (!f->lent)
			continue;
		vgpu_io_file_remove(s->io, f->index);
		f->index = index[n++];
		f->align = vgpu_io_file_align(io, f->index);
	}
	s->io = io;
	return 0;
}

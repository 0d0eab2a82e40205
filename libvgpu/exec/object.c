// SPDX-License-Identifier: MIT
#include "object.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/format.h"
#include "object_file.h"

#define STORE_BUCKETS	1024u	/* to begin with */

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

/* ------------------------------------------------------------------------
 * Those that nobody has
 */

static struct vgpu_object_list *idle_list(struct vgpu_store *s, const struct vgpu_object *o)
{
	return &s->idle[o->file != NULL];
}

static void idle_add(struct vgpu_store *s, struct vgpu_object *o)
{
	struct vgpu_object_list *l = idle_list(s, o);

	o->idle = true;
	o->used = ++s->clock;
	o->idle_next = NULL;
	o->idle_prev = l->last;
	*(l->last ? &l->last->idle_next : &l->first) = o;
	l->last = o;
}

static void idle_remove(struct vgpu_store *s, struct vgpu_object *o)
{
	struct vgpu_object_list *l = idle_list(s, o);

	if (!o->idle)
		return;
	o->idle = false;
	*(o->idle_prev ? &o->idle_prev->idle_next : &l->first) = o->idle_next;
	*(o->idle_next ? &o->idle_next->idle_prev : &l->last) = o->idle_prev;
}

void vgpu_object_hold(struct vgpu_store *s, struct vgpu_object *o)
{
	if (!o->users++)
		idle_remove(s, o);
}

void vgpu_object_release(struct vgpu_store *s, struct vgpu_object *o)
{
	if (!--o->users)
		idle_add(s, o);
}

/* Of both lists the oldest. */
static struct vgpu_object *idle_oldest(const struct vgpu_store *s)
{
	struct vgpu_object *a = s->idle[0].first, *b = s->idle[1].first;

	return !a || (b && b->used < a->used) ? b : a;
}

/* Return: false when all that there are somebody has. */
static bool store_shed(struct vgpu_store *s, bool with_file)
{
	struct vgpu_object *o = with_file ? s->idle[1].first : idle_oldest(s);

	if (!o)
		return false;
	vgpu_store_forget(s, o->id);
	return true;
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

static size_t table_bytes(const struct vgpu_object *o)
{
	return (size_t)o->chunks * sizeof(*o->table);
}

static int object_set_table(struct vgpu_store *s, struct vgpu_object *o,
			    const struct vb_ioc_object_open *req)
{
	void *table;
	int rc;

	do
		rc = vgpu_uapi_map(s->node, req->out_table_address, req->out_table_mmap,
				   table_bytes(o), false, &table);
	while (rc == -ENOMEM && store_shed(s, false));
	if (!rc)
		o->table = table;
	return rc;
}

static void object_close(struct vgpu_store *s, struct vgpu_object *o)
{
	idle_remove(s, o);
	vgpu_uapi_unmap(s->node, (void *)o->table, table_bytes(o));
	vgpu_file_put(s, o->file);
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
	rc = vgpu_file_get(s, o, req.out_fd);
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

static bool lacks_descriptors(int rc)
{
	return rc == -EMFILE || rc == -ENFILE;
}

/* Its file could not be opened for want of descriptors: one that nobody has is closed for it. */
static void store_make_way(struct vgpu_store *s, struct vgpu_object *o)
{
	vgpu_object_hold(s, o);
	store_shed(s, true);
	vgpu_object_release(s, o);
}

int vgpu_store_get(struct vgpu_store *s, uint32_t id, struct vgpu_object **out)
{
	struct vgpu_object *o = vgpu_store_find(s, id);
	int rc;

	if (o && o->file && o->file->scarce)
		store_make_way(s, o);

	if (!o) {
		/* The device gives it a descriptor, and its file takes another one. */
		do
			rc = object_open(s, id, &o);
		while (lacks_descriptors(rc) && store_shed(s, true));
		if (rc)
			return rc;
		if (++s->count > s->buckets && s->buckets < 1u << 31)
			store_grow(s);
		store_insert(s, o);
		idle_add(s, o);
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
	vgpu_files_fini(s);
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

// SPDX-License-Identifier: MIT
/*
 * Objects: how they come, who keeps them, how they are forgotten.
 *
 * When the last reference goes the object is gone for its client, but the executor
 * may still know it: FORGET asks it to drop every trace, and only its commit frees
 * the slots.  An object that the executor never heard of is freed at once.
 */
#include "uapi_loop.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/bo_check.h"
#include "file.h"

#define FILE_BLOCK	4096u		/* grid of direct reads */
#define TABLE_MMAP	(64u << 10)	/* larger tables are mapped: pages come when touched */

/* ---- files ---- */

/* @sync as statx() takes it: is a file system that is elsewhere asked, or not? */
static int file_stat(int fd, int sync, struct loop_file *f)
{
	struct statx st;
	uint64_t bytes;
	int rc = 0;

	if (statx(fd, "", AT_EMPTY_PATH | sync, STATX_BASIC_STATS, &st))
		return -errno;
	f->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	f->ino = st.stx_ino;
	f->changed = (struct timespec){ st.stx_ctime.tv_sec, st.stx_ctime.tv_nsec };
	bytes = st.stx_size;
	if (!S_ISREG(st.stx_mode))
		rc = vgpu_file_bytes(fd, &bytes);
	f->bytes = bytes;
	return rc;
}

static bool file_same(const struct loop_file *a, const struct loop_file *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->bytes == b->bytes &&
	       a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

/* One whose answer to this is an error is a server, too. */
static bool file_is_fuse(int fd)
{
	struct statfs st;

	return fstatfs(fd, &st) || st.f_type == FUSE_SUPER_MAGIC;
}

/*
 * One that does not answer must not keep waiting who submits: what is known here counts.
 * FUSE takes any short answer for the end of the file: a length that became less with no
 * change of the file is told by who reads there.
 */
int vgpu_loop_file_check(const struct loop_file *f)
{
	struct loop_file now;
	int rc;

	rc = file_stat(f->fd, AT_STATX_DONT_SYNC, &now);
	if (rc)
		return rc;
	if (f->fuse && now.bytes < f->bytes)
		now.bytes = f->bytes;
	return file_same(f, &now) ? 0 : -ESTALE;
}

/* A file of ours that looks like what @fd names; -EBADF, -EACCES, -EINVAL. */
static int file_open(int fd, struct loop_file **out)
{
	int flags = fcntl(fd, F_GETFL);
	struct loop_file *f;
	int rc;

	if (flags < 0)
		return -EBADF;
	if ((flags & O_ACCMODE) == O_WRONLY || flags & O_PATH)
		return -EACCES;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	rc = file_stat(fd, AT_STATX_SYNC_AS_STAT, f);
	if (rc)
		goto err_free;
	f->fuse = file_is_fuse(fd);
	f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (f->fd < 0) {
		rc = -errno;
		goto err_free;
	}
	f->refs = 1;
	*out = f;
	return 0;

err_free:
	free(f);
	return rc;
}

static void file_put_locked(struct loop_client *c, struct loop_file *f)
{
	if (!f || --f->refs)
		return;
	TAILQ_REMOVE(&c->files, f, link);
	close(f->fd);
	free(f);
}

/* Many tensors of one model share one descriptor; @f is used up. */
static struct loop_file *file_share_locked(struct loop_client *c, struct loop_file *f)
{
	struct loop_file *other;

	TAILQ_FOREACH(other, &c->files, link) {
		if (!file_same(f, other))
			continue;
		close(f->fd);
		free(f);
		other->refs++;
		return other;
	}
	TAILQ_INSERT_TAIL(&c->files, f, link);
	return f;
}

/* ---- tables ---- */

static size_t table_bytes(u32 chunks)
{
	return (size_t)chunks * sizeof(struct vb_table_entry);
}

static struct vb_table_entry *table_alloc(u32 chunks)
{
	size_t bytes = table_bytes(chunks);
	void *p;

	if (bytes < TABLE_MMAP)
		return calloc(1, bytes);
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void table_free(struct vb_table_entry *table, u32 chunks)
{
	if (table_bytes(chunks) < TABLE_MMAP)
		free(table);
	else if (table)
		munmap(table, table_bytes(chunks));
}

/* ---- life ---- */

struct loop_object *vgpu_loop_object_get_locked(struct loop_client *c, u32 bo_id)
{
	struct loop_object *o = vgpu_loop_ids_find(&c->bos, bo_id);

	if (o)
		o->refs++;
	return o;
}

static u64 reserved_bytes(const struct loop_object *o)
{
	return o->traits.kind == VB_BO_ANONYMOUS ?
	       (u64)o->chunks << o->client->loop->chunk_shift : 0;
}

static void unreserve_locked(struct loop_object *o)
{
	o->client->loop->reserved_bytes -= reserved_bytes(o);
	vb_quota_sub(&o->client->quota, VB_USE_BYTES, reserved_bytes(o));
}

void vgpu_loop_object_free_locked(struct loop_object *o)
{
	struct loop_client *c = o->client;
	struct vgpu_loop *loop = c->loop;

	vgpu_loop_chunks_release_locked(o);
	vgpu_loop_ids_remove(&loop->objects, o->id);
	TAILQ_REMOVE(&loop->object_list, o, link);
	unreserve_locked(o);
	vgpu_loop_limit_release_locked(c, o->pins, true);
	file_put_locked(c, o->file);
	table_free(o->table, o->chunks);
	free(o);
	loop->gone--;
	pthread_cond_broadcast(&loop->freed_cond);
	vgpu_loop_client_put_locked(c);
}

static void object_forget_locked(struct loop_object *o)
{
	struct vgpu_loop *loop = o->client->loop;
	struct loop_request *r;

	if (loop->exec_state != VB_EXEC_LIVE || !o->shown) {
		vgpu_loop_object_free_locked(o);
		return;
	}
	if (loop->shutdown)
		return;	/* freed when the executor has left */
	r = vgpu_loop_request_new_locked(VB_FETCH_FORGET, o->client, o);
	if (!r)
		return;	/* likewise: kept, not leaked */
	vgpu_loop_request_queue_locked(loop, r);
}

void vgpu_loop_object_put_locked(struct loop_object *o)
{
	if (--o->refs)
		return;
	o->gone = true;
	o->client->loop->gone++;
	object_forget_locked(o);
}

/* ---- VB_IOC_BO_CREATE ---- */

static void object_describe(struct loop_object *o, const struct vb_ioc_bo_create *cmd)
{
	o->refs = 1;
	TAILQ_INIT(&o->mappings);
	o->traits.kind = (u8)cmd->kind;
	o->traits.life = (u8)cmd->life;
	o->traits.sealed = cmd->kind != VB_BO_ANONYMOUS;
	o->flags = o->traits.sealed ? VB_BO_SEALED : 0;
	o->bytes = cmd->bytes;
	o->file_offset = cmd->file_offset;
	o->file_bytes = cmd->file_bytes;
	o->transform = cmd->transform;
	if (cmd->kind == VB_BO_FILE) {
		o->head_bytes = (u32)(cmd->file_offset % FILE_BLOCK);
		o->file_offset -= o->head_bytes;
	}
}

/* Undo object_new(), as far as it came: nobody else has seen the object, nor its file. */
static void object_undo(struct loop_object *o)
{
	if (o->file) {
		close(o->file->fd);
		free(o->file);
	}
	table_free(o->table, o->chunks);
	free(o);
}

static int object_open_file(struct loop_object *o, const struct vb_ioc_bo_create *cmd)
{
	int rc;

	if (cmd->kind == VB_BO_ANONYMOUS)
		return 0;
	rc = file_open(cmd->fd, &o->file);
	return rc ? rc : vb_bo_check_source(cmd, o->file->bytes);
}

static int object_new(struct loop_client *c, const struct vb_ioc_bo_create *cmd,
		      struct loop_object **out)
{
	struct loop_object *o = calloc(1, sizeof(*o));
	int rc;

	if (!o)
		return -ENOMEM;
	object_describe(o, cmd);
	o->client = c;
	rc = vb_range_count(o->bytes, o->head_bytes, c->loop->chunk_shift, &o->chunks);
	if (!rc) {
		o->table = table_alloc(o->chunks);
		rc = o->table ? object_open_file(o, cmd) : -ENOMEM;
	}
	if (rc) {
		object_undo(o);
		return rc;
	}
	*out = o;
	return 0;
}

static int reserve_locked(struct loop_client *c, const struct loop_object *o)
{
	u64 bytes = reserved_bytes(o);
	int rc;

	if (!bytes)
		return 0;
	rc = vb_quota_charge(&c->quota, VB_USE_BYTES, bytes);
	if (rc)
		return rc;
	if (c->loop->reserved_bytes + bytes > vgpu_loop_capacity_locked(c->loop)) {
		vb_quota_sub(&c->quota, VB_USE_BYTES, bytes);
		return -ENOSPC;
	}
	c->loop->reserved_bytes += bytes;
	return 0;
}

/*
 * Whoever destroys one object and creates another expects its room: what waits to be
 * forgotten is waited for.  Lets go of the lock.
 */
static int reserve_wait_locked(struct loop_client *c, const struct loop_object *o)
{
	u64 deadline_ns = vgpu_loop_bound(0);
	struct vgpu_loop *loop = c->loop;
	int rc;

	for (;;) {
		rc = reserve_locked(c, o);
		if (!rc || !loop->gone || !vgpu_loop_is_live(loop))
			return rc;
		if (!vgpu_loop_kick_locked(loop, true) && loop->gone &&
		    vgpu_loop_sleep_locked(loop, &loop->freed_cond, deadline_ns))
			return rc;
	}
}

/* Everything that can fail; then the object is published. */
static int object_publish_locked(struct loop_client *c, struct loop_object *o, u32 *out_id)
{
	struct vgpu_loop *loop = c->loop;
	int rc;

	rc = reserve_wait_locked(c, o);
	if (rc)
		return rc;
	rc = vgpu_loop_ids_add(&loop->objects, o, &o->id);
	if (rc)
		goto err_unreserve;
	rc = vgpu_loop_ids_add(&c->bos, o, out_id);
	if (rc)
		goto err_id;
	if (o->file)
		o->file = file_share_locked(c, o->file);
	c->refs++;
	TAILQ_INSERT_TAIL(&loop->object_list, o, link);
	return 0;

err_id:
	vgpu_loop_ids_remove(&loop->objects, o->id);
err_unreserve:
	unreserve_locked(o);
	return rc;
}

int vgpu_loop_bo_create(struct loop_client *c, void *arg)
{
	struct vb_ioc_bo_create *cmd = arg;
	struct loop_object *o;
	int rc;

	rc = vb_bo_check(cmd);
	if (rc)
		return rc;
	rc = object_new(c, cmd, &o);
	if (rc)
		return rc;
	cmd->out_head_bytes = o->head_bytes;
	pthread_mutex_lock(&c->loop->lock);
	rc = object_publish_locked(c, o, &cmd->out_bo_id);
	pthread_mutex_unlock(&c->loop->lock);
	if (rc)
		object_undo(o);
	return rc;
}

// SPDX-License-Identifier: MIT
/*
 * Packed cache files: built through packed objects, so that their bytes are those that
 * a chunk of such an object would have; compared with what their header should say.
 * Layers of AWQ and GPTQ, of which no object is made, are packed here.
 */
#include "packed_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/format.h"
#include "error.h"
#include "kernels/pool.h"
#include "packed_layer.h"
#include "packed_part.h"

/* Bytes written at a time: what the device pages in at once. */
#define PIECE_BYTES	((uint64_t)8 << 20)

/* ---- is it one, and does it fit? ---- */

/* By its first bytes: a file that was cut is still recognised. */
static int check_signature(const char *path)
{
	char start[8 + sizeof(PACKED_SIGNATURE) - 1];
	struct stat st;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return vgpu_fail(-errno, "%.300s: %s", path, strerror(errno));
	n = fstat(fd, &st) || !S_ISREG(st.st_mode) ? -1 : pread(fd, start, sizeof(start), 0);
	close(fd);
	if (n != (ssize_t)sizeof(start) ||
	    memcmp(start + 8, PACKED_SIGNATURE, sizeof(PACKED_SIGNATURE) - 1))
		return vgpu_fail(-EEXIST, "%.300s is there and is no packed file", path);
	return 0;
}

static int check_value(const struct vgpu_checkpoint *ck, const char *path, const char *key,
		       const char *want)
{
	struct vgpu_string have;

	if (vgpu_checkpoint_meta_string(ck, key, &have))
		return vgpu_fail(-ESTALE, "%.200s: has no %.100s", path, key);
	if (strcmp(have.text, want))
		return vgpu_fail(-ESTALE, "%.200s: %.60s was \"%.100s\", is \"%.100s\"", path, key,
				 have.text, want);
	return 0;
}

static int check_tensor(const struct vgpu_checkpoint *ck, const char *path,
			const struct packed_plan *plan, uint32_t i)
{
	const struct vgpu_tensor *t = vgpu_checkpoint_find(ck, plan->items[i].name);
	char key[sizeof(PACKED_TENSOR_KEY) + PACKED_NAME_MAX], value[PACKED_VALUE_BYTES];
	struct vgpu_array ignored;
	int rc;

	snprintf(key, sizeof(key), PACKED_TENSOR_KEY "%s", plan->items[i].name);
	vgpu_packed_tensor_text(plan, i, value);
	rc = check_value(ck, path, key, value);
	if (rc)
		return rc;
	if (!t || vgpu_packed_array(ck, t->name, NULL, &ignored))
		return vgpu_fail(-ESTALE, "%.200s: the bytes of %.100s do not fit its shape", path,
				 plan->items[i].name);
	return 0;
}

static int check_contents(const struct vgpu_checkpoint *ck, const char *path,
			  const struct packed_plan *plan)
{
	char key[32], value[PACKED_VALUE_BYTES];
	int rc = check_value(ck, path, "layout", PACKED_LAYOUT);

	for (uint32_t i = 0; i < plan->source_count && !rc; i++) {
		snprintf(key, sizeof(key), "source:%u", i);
		vgpu_packed_source_text(&plan->sources[i], value);
		rc = check_value(ck, path, key, value);
	}
	for (uint32_t i = 0; i < plan->count && !rc; i++)
		rc = check_tensor(ck, path, plan, i);
	return rc;
}

static int check_plan(const char *path, const struct packed_plan *plan)
{
	struct vgpu_checkpoint *ck;
	struct vgpu_error error;
	int rc = check_signature(path);

	if (rc)
		return rc;
	rc = vgpu_checkpoint_open(path, &ck, &error);
	if (rc == -ENOMEM || rc == -EIO || rc == -EMFILE || rc == -ENFILE)
		return vgpu_fail(rc, "%.300s: %s", path, error.text);
	if (rc)
		return vgpu_fail(-ESTALE, "%.200s is damaged: %s", path, error.text);
	rc = check_contents(ck, path, plan);
	vgpu_checkpoint_close(ck);
	return rc;
}

int vgpu_packed_check(const char *path, const struct vgpu_pack_item *items, uint32_t count)
{
	struct packed_plan plan;
	int rc = vgpu_packed_plan(items, count, &plan);

	if (!rc)
		rc = check_plan(path, &plan);
	vgpu_packed_plan_free(&plan);
	return rc;
}

/* ---- building ---- */

/**
 * struct build - one call of vgpu_packed_build()
 * @v, @progress, @arg: as given
 * @plan: of the file
 * @part: the file while it is written
 * @piece: PIECE_BYTES of memory
 * @pool: threads that pack layers; NULL: there are none to pack yet
 * @at: of a layer, where it begins in the data part
 */
struct build {
	struct vgpu *v;
	int (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
	struct packed_plan plan;
	struct packed_part part;
	void *piece;
	struct vgpu_pool *pool;
	uint64_t at;
};

static int tell(const struct build *b, uint64_t done)
{
	int rc = b->progress ? b->progress(b->arg, done, b->plan.data_bytes) : 0;

	return rc ? vgpu_fail(rc, "%.300s: stopped after %" PRIu64 " of %" PRIu64 " bytes",
			      b->part.path, done, b->plan.data_bytes) : 0;
}

static int write_object(struct build *b, struct vgpu_bo *bo, uint64_t offset)
{
	uint64_t total = vgpu_bo_bytes(bo), done = 0;
	int rc = 0;

	while (done < total && !rc) {
		uint64_t bytes = total - done < PIECE_BYTES ? total - done : PIECE_BYTES;

		rc = vgpu_bo_read(bo, done, b->piece, bytes);
		if (!rc)
			rc = vgpu_packed_part_write(&b->part, b->plan.header_bytes + offset + done,
						    b->piece, bytes);
		done += bytes;
		if (!rc)
			rc = tell(b, offset + done);
	}
	return rc;
}

static int put_layer(void *arg, uint64_t at, const void *from, uint64_t bytes)
{
	struct build *b = arg;
	int rc = vgpu_packed_part_write(&b->part, b->plan.header_bytes + b->at + at, from, bytes);

	return rc ? rc : tell(b, b->at + at + bytes);
}

static int write_layer(struct build *b, uint32_t i)
{
	int rc = b->pool ? 0 : vgpu_pool_open(NULL, &b->pool);

	if (rc)
		return vgpu_fail(rc, "cannot start threads to pack with: %s", strerror(-rc));
	b->at = b->plan.tensors[i].offset;
	return vgpu_packed_layer_make(&b->plan.items[i], b->pool, put_layer, b);
}

static int write_item(struct build *b, uint32_t i)
{
	const struct vgpu_pack_item *item = &b->plan.items[i];
	struct vgpu_bo *bo;
	int rc;

	if (vgpu_packed_is_layer(item))
		return write_layer(b, i);
	rc = vgpu_bo_create_packed(b->v, item->fd, item->offset, &item->pack, &bo);

	if (rc)
		return rc;
	rc = write_object(b, bo, b->plan.tensors[i].offset);
	vgpu_bo_destroy(bo);
	if (rc == -EDOM)
		return vgpu_fail(rc, "%.200s: a value is NaN, infinite, or too large for %s",
				 item->name, vgpu_format_name(item->pack.packed_format));
	return rc;
}

static int write_all(struct build *b)
{
	int rc = vgpu_packed_part_write(&b->part, 0, b->plan.header, b->plan.header_bytes);

	for (uint32_t i = 0; i < b->plan.count && !rc; i++)
		rc = write_item(b, i);
	return rc ? rc : vgpu_packed_part_sync(&b->part);
}

/*
 * Another one may have built the same meanwhile, and whoever opened it would lose it: a file
 * whose inode changes is another file. So what fits stays, and what does not fit goes.
 */
static int place(struct build *b, const char *path)
{
	int rc = vgpu_packed_part_place(&b->part);

	if (!rc || (rc == -EEXIST && !check_plan(path, &b->plan)))
		return 0;
	return vgpu_packed_part_commit(&b->part);
}

static int build_file(struct build *b, const char *path)
{
	int rc = vgpu_packed_part_create(path, b->plan.header_bytes + b->plan.data_bytes,
					 b->plan.mode, &b->part);

	if (!rc)
		rc = write_all(b);
	/* Looks at the sources again: what changed while it was read is not kept. */
	if (!rc)
		rc = vgpu_packed_check(b->part.part, b->plan.items, b->plan.count);
	if (!rc)
		rc = place(b, path);
	vgpu_packed_part_discard(&b->part);
	return rc;
}

static int see_that_it_fits(struct build *b, const char *path)
{
	int rc = check_plan(path, &b->plan);

	if (rc != -ENOENT && rc != -ESTALE)
		return rc;
	b->piece = malloc(PIECE_BYTES);
	rc = b->piece ? build_file(b, path) : vgpu_fail(-ENOMEM, "no memory to write with");
	free(b->piece);
	vgpu_pool_close(b->pool);
	return rc;
}

int vgpu_packed_build(struct vgpu *v, const char *path, const struct vgpu_pack_item *items,
		      uint32_t count, int (*progress)(void *arg, uint64_t done, uint64_t total),
		      void *arg)
{
	struct build b = { .v = v, .progress = progress, .arg = arg };
	int rc = vgpu_packed_plan(items, count, &b.plan);

	if (!rc)
		rc = see_that_it_fits(&b, path);
	vgpu_packed_plan_free(&b.plan);
	return rc;
}

/* ---- reading ---- */

static int parse_shape(const char *text, enum vgpu_format *format, struct vgpu_pack *pack)
{
	char name[24];

	if (sscanf(text, "%23s rows=%u cols=%u stack=%u ", name, &pack->rows, &pack->cols,
		   &pack->stack) != 4)
		return -EINVAL;
	for (int i = VGPU_FORMAT_MXFP4_G16; vb_format_is_packed(i); i++)
		if (!strcmp(name, vgpu_format_name(i))) {
			*format = i;
			return pack->stack ? 0 : -EINVAL;
		}
	return -EINVAL;
}

/* Up to the next one's beginning a tensor may be longer than its matrices. */
static bool agrees(const struct vgpu_tensor *t, enum vgpu_format format,
		   const struct vgpu_pack *pack)
{
	uint64_t one, all;

	return t->dtype == VGPU_DTYPE_U8 && t->file == 0 && t->offset % PACKED_ALIGN == 0 &&
	       !vgpu_matrix_bytes(format, pack->rows, pack->cols, &one) &&
	       !__builtin_mul_overflow(one, (uint64_t)pack->stack, &all) && t->bytes >= all &&
	       t->bytes - all < PACKED_ALIGN_LARGE;
}

static int check_file(const struct vgpu_checkpoint *ck)
{
	struct vgpu_string text;

	if (vgpu_checkpoint_meta_string(ck, "format", &text) || strcmp(text.text, PACKED_FORMAT))
		return vgpu_fail(-EINVAL, "%.300s is no packed file",
				 vgpu_checkpoint_file_path(ck, 0));
	if (vgpu_checkpoint_meta_string(ck, "layout", &text) || strcmp(text.text, PACKED_LAYOUT))
		return vgpu_fail(-ESTALE, "%.300s: layout is not " PACKED_LAYOUT,
				 vgpu_checkpoint_file_path(ck, 0));
	return 0;
}

int vgpu_packed_array(const struct vgpu_checkpoint *ck, const char *name, struct vgpu_bo *bo,
		      struct vgpu_array *out)
{
	const struct vgpu_tensor *t = vgpu_checkpoint_find(ck, name);
	char key[sizeof(PACKED_TENSOR_KEY) + PACKED_NAME_MAX];
	enum vgpu_format format;
	struct vgpu_string text;
	struct vgpu_pack pack;
	int rc = check_file(ck);

	if (rc)
		return rc;
	snprintf(key, sizeof(key), PACKED_TENSOR_KEY "%s", name);
	if (!t || vgpu_checkpoint_meta_string(ck, key, &text))
		return vgpu_fail(-ENOENT, "the packed file has no tensor %.200s", name);
	if (parse_shape(text.text, &format, &pack) || !agrees(t, format, &pack))
		return vgpu_fail(-EINVAL, "%.100s: \"%.100s\" does not agree with %" PRIu64
				 " bytes at %" PRIu64, name, text.text, t->bytes, t->offset);
	if (bo && (t->offset > vgpu_bo_bytes(bo) || t->bytes > vgpu_bo_bytes(bo) - t->offset))
		return vgpu_fail(-EINVAL, "%.100s ends at %" PRIu64 ", the object at %" PRIu64, name,
				 t->offset + t->bytes, vgpu_bo_bytes(bo));
	*out = pack.stack > 1 ?
	       vgpu_cube(bo, t->offset, format, pack.stack, pack.rows, pack.cols) :
	       vgpu_matrix(bo, t->offset, format, pack.rows, pack.cols);
	return 0;
}

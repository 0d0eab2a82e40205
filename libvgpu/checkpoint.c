// SPDX-License-Identifier: MIT
/*
 * A checkpoint is a table of tensors over one or more open files. Opening goes in three
 * steps: find and open the files, let the reader of their format fill the table, look
 * once more whether the files are still what they were.
 */
#include "kernels/formats/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/formats/error.h"
#include "kernels/formats/gguf.h"
#include "kernels/formats/gguf_split.h"
#include "kernels/formats/safetensors.h"

#define FIRST_READ_BYTES ((size_t)1 << 20)
/* Ten times the largest vocabulary; bounds the memory that a hostile file costs. */
#define MAX_GGUF_HEADER ((size_t)128 << 20)
#define MAX_INDEX_BYTES ((uint64_t)64 << 20)

struct ck_file {
	int fd;
	char *path;
	struct vgpu_file_identity identity;
};

struct vgpu_checkpoint {
	struct ck_file *files;
	size_t file_count;
	struct vgpu_table table;
};

static int64_t to_ns(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int file_stat(int fd, mode_t *mode, struct vgpu_file_identity *out)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*mode = st.st_mode;
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	out->bytes = (uint64_t)st.st_size;
	out->mtime_ns = to_ns(st.st_mtim);
	out->ctime_ns = to_ns(st.st_ctim);
	return 0;
}

/*
 * O_NONBLOCK keeps a FIFO from holding us; it must go again, since io_uring answers
 * -EAGAIN for reads of a descriptor that has it.
 */
static int file_open(struct ck_file *file, const char *path, struct vgpu_error *err)
{
	mode_t mode;
	int rc;

	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file->fd < 0)
		return vgpu_error_set(err, -errno, "%.160s: %s", path, strerror(errno));
	rc = file_stat(file->fd, &mode, &file->identity);
	if (rc)
		return vgpu_error_set(err, rc, "%.160s: %s", path, strerror(-rc));
	if (!S_ISREG(mode))
		return vgpu_error_set(err, -EINVAL, "%.160s: not a regular file", path);
	if (fcntl(file->fd, F_SETFL, 0))
		return vgpu_error_set(err, -errno, "%.160s: %s", path, strerror(errno));
	file->path = strdup(path);
	if (!file->path)
		return vgpu_error_set(err, -ENOMEM, "%.160s: out of memory", path);
	return 0;
}

static void file_close(struct ck_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
}

/* Reads exactly @bytes; a file that ends before was cut after it was opened. */
static int file_read(const struct ck_file *file, void *out, size_t bytes, uint64_t offset,
		     struct vgpu_error *err)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = pread(file->fd, (char *)out + done, bytes - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vgpu_error_set(err, -errno, "%.120s: byte %" PRIu64 ": %s",
					      file->path, offset + done, strerror(errno));
		if (!n)
			return vgpu_error_set(err, -ESTALE,
				"%.120s: ends at byte %" PRIu64 ", had %" PRIu64 " bytes when opened",
				file->path, offset + done, file->identity.bytes);
		done += (size_t)n;
	}
	return 0;
}

/* Puts the last part of the path before what was said about the content. */
static int name_path(const char *path, struct vgpu_error *err, int rc)
{
	struct vgpu_error inner;
	const char *slash = strrchr(path, '/');

	if (!err)
		return rc;
	inner = *err;
	return vgpu_error_set(err, rc, "%.60s: %s", slash && slash[1] ? slash + 1 : path,
			      inner.text);
}

static int name_file(const struct ck_file *file, struct vgpu_error *err, int rc)
{
	return name_path(file->path, err, rc);
}

/* Sort the table and refuse equal names and overlaps, saying where. */
static int finish(struct vgpu_checkpoint *ck, const char *path, struct vgpu_error *err)
{
	int rc = vgpu_table_finish(&ck->table, err);

	return rc ? name_path(path, err, rc) : 0;
}

/* Nothing at its beginning says that a file is safetensors: it may well be none. */
static int name_unknown(const struct ck_file *file, struct vgpu_error *err, int rc)
{
	struct vgpu_error inner;

	if (!err)
		return rc;
	inner = *err;
	vgpu_error_set(err, rc, "no GGUF file, nor a whole safetensors one: %s", inner.text);
	return name_file(file, err, rc);
}

static int load_safetensors(struct vgpu_checkpoint *ck, uint32_t index,
			    struct vgpu_table *table, struct vgpu_error *err)
{
	const struct ck_file *file = &ck->files[index];
	uint64_t file_bytes = file->identity.bytes, json_bytes;
	size_t start_bytes = file_bytes < 8 ? file_bytes : 8;
	char start[8];
	char *json;
	int rc;

	rc = file_read(file, start, start_bytes, 0, err);
	if (rc)
		return rc;
	rc = vgpu_safetensors_header_bytes(start, start_bytes, file_bytes, &json_bytes, err);
	if (rc)
		return name_unknown(file, err, rc);
	json = malloc(json_bytes + 1);
	if (!json)
		return vgpu_error_set(err, -ENOMEM, "%.120s: no memory for a header of %" PRIu64 " bytes",
				      file->path, json_bytes);
	rc = file_read(file, json, json_bytes, 8, err);
	if (!rc) {
		rc = vgpu_safetensors_parse(json, json_bytes, file_bytes, index, table, err);
		if (rc)
			name_file(file, err, rc);
	}
	free(json);
	return rc;
}

/* Reads twice as much of the header each time, until the parser has enough. */
static int load_gguf(const struct ck_file *file, struct vgpu_table *table, struct vgpu_error *err)
{
	uint64_t file_bytes = file->identity.bytes;
	size_t have = 0, want = FIRST_READ_BYTES;
	char *start = NULL, *grown;
	int rc;

	do {
		if (want > file_bytes)
			want = file_bytes;
		grown = realloc(start, want);
		if (!grown) {
			rc = vgpu_error_set(err, -ENOMEM, "%.120s: no memory for %zu bytes of header",
					    file->path, want);
			break;
		}
		start = grown;
		rc = file_read(file, start + have, want - have, have, err);
		if (rc)
			break;
		have = want;
		vgpu_table_clear(table);
		rc = vgpu_gguf_parse(start, have, file_bytes, table, err);
		want = have * 2;
	} while (rc == -EAGAIN && want <= MAX_GGUF_HEADER);
	free(start);

	if (rc == -EAGAIN)
		return vgpu_error_set(err, -E2BIG, "%.120s: header exceeds the limit of %zu bytes",
				      file->path, MAX_GGUF_HEADER);
	return rc && rc != -ENOMEM && rc != -ESTALE ? name_file(file, err, rc) : rc;
}

static int add_file(struct vgpu_checkpoint *ck, const char *path, struct vgpu_error *err)
{
	struct ck_file *files = reallocarray(ck->files, ck->file_count + 1, sizeof(*files));

	if (!files)
		return vgpu_error_set(err, -ENOMEM, "%.160s: out of memory", path);
	ck->files = files;
	files[ck->file_count] = (struct ck_file){ .fd = -1 };
	/* Counted before it is opened: close frees what a failed open leaves. */
	return file_open(&files[ck->file_count++], path, err);
}

static int add_tensors(struct vgpu_table *table, const struct vgpu_table *part, uint32_t file,
		       struct vgpu_error *err)
{
	for (size_t i = 0; i < part->tensor_count; i++) {
		const struct vgpu_tensor *from = &part->tensors[i];
		const char *name = vgpu_table_text(table, from->name, strlen(from->name));
		struct vgpu_tensor *to = name ? vgpu_table_add_tensor(table) : NULL;

		if (!to)
			return vgpu_error_set(err, -ENOMEM, "out of memory");
		*to = *from;
		to->name = name;
		to->file = file;
	}
	return 0;
}

static int check_part(const struct vgpu_table *table, uint32_t part, uint32_t count,
		      struct vgpu_error *err)
{
	struct vgpu_gguf_split split;
	int rc = vgpu_gguf_split(table, &split, err);

	if (!rc && (split.part != part || split.count != count))
		rc = vgpu_error_set(err, -EINVAL, "is part %u of %u, must be part %u of %u",
				    split.part + 1, split.count, part + 1, count);
	return rc;
}

/* The first part's metadata is the model's; of the others only the tensors are taken. */
static int load_part(struct vgpu_checkpoint *ck, uint32_t part, uint32_t count,
		     struct vgpu_error *err)
{
	struct vgpu_table other = { 0 }, *table = part ? &other : &ck->table;
	int rc = load_gguf(&ck->files[part], table, err);

	if (!rc) {
		rc = check_part(table, part, count, err);
		if (!rc && part)
			rc = add_tensors(&ck->table, table, part, err);
		if (rc)
			name_file(&ck->files[part], err, rc);
	}
	vgpu_table_clear(&other);
	return rc;
}

static int load_parts(struct vgpu_checkpoint *ck, const struct vgpu_gguf_split *split,
		      const char *path, struct vgpu_error *err)
{
	char *name;
	int rc = 0;

	for (uint32_t i = 0; i < split->count && !rc; i++) {
		rc = vgpu_gguf_split_path(path, split, i, &name, err);
		if (rc)
			return name_path(path, err, rc);
		rc = add_file(ck, name, err);
		free(name);
		if (!rc)
			rc = load_part(ck, i, split->count, err);
	}
	if (!rc && split->tensors && split->tensors != ck->table.tensor_count)
		rc = name_path(path, err, vgpu_error_set(err, -EINVAL,
			"split.tensors.count is %u, the parts have %zu", split->tensors,
			ck->table.tensor_count));
	return rc;
}

/* A file that is one part of several stands for all of them, whichever it is. */
static int load_gguf_model(struct vgpu_checkpoint *ck, const char *path, struct vgpu_error *err)
{
	struct vgpu_gguf_split split;
	int rc = load_gguf(&ck->files[0], &ck->table, err);

	if (rc)
		return rc;
	rc = vgpu_gguf_split(&ck->table, &split, err);
	if (rc)
		return name_path(path, err, rc);
	if (split.count == 1)
		return 0;
	vgpu_table_clear(&ck->table);
	file_close(&ck->files[0]);
	ck->file_count = 0;
	return load_parts(ck, &split, path, err);
}

static int join_path(const char *folder, const char *name, char **out,
		     struct vgpu_error *err)
{
	if (asprintf(out, "%s/%s", folder, name) < 0) {
		*out = NULL;
		return vgpu_error_set(err, -ENOMEM, "%.160s: out of memory", folder);
	}
	return 0;
}

static bool is_named_gguf(const char *path)
{
	size_t length = strlen(path);

	return length > 5 && !strcmp(path + length - 5, ".gguf");
}

/* By content: what neither begins as GGUF does nor is called so is taken for safetensors. */
static int load_any(struct vgpu_checkpoint *ck, const char *path, struct vgpu_error *err)
{
	char magic[4];
	int rc;

	if (is_named_gguf(ck->files[0].path))
		return load_gguf_model(ck, path, err);
	if (ck->files[0].identity.bytes >= sizeof(magic)) {
		rc = file_read(&ck->files[0], magic, sizeof(magic), 0, err);
		if (rc)
			return rc;
		if (vgpu_gguf_is_magic(magic, sizeof(magic)))
			return load_gguf_model(ck, path, err);
	}
	return load_safetensors(ck, 0, &ck->table, err);
}

static int load_file(struct vgpu_checkpoint *ck, const char *path, struct vgpu_error *err)
{
	int rc = add_file(ck, path, err);

	if (!rc)
		rc = load_any(ck, path, err);
	return rc ? rc : finish(ck, path, err);
}

static int read_index_text(const struct ck_file *file, char **out, struct vgpu_error *err)
{
	uint64_t bytes = file->identity.bytes;
	int rc;

	if (bytes > MAX_INDEX_BYTES)
		return vgpu_error_set(err, -E2BIG, "%.120s: %" PRIu64 " bytes exceed the limit %" PRIu64,
				      file->path, bytes, MAX_INDEX_BYTES);
	*out = malloc(bytes + 1);
	if (!*out)
		return vgpu_error_set(err, -ENOMEM, "%.120s: no memory for %" PRIu64 " bytes",
				      file->path, bytes);
	rc = file_read(file, *out, bytes, 0, err);
	if (rc) {
		free(*out);
		*out = NULL;
	}
	return rc;
}

static int load_index(const char *path, struct vgpu_table *index,
		      struct vgpu_safetensors_shards *shards, struct vgpu_error *err)
{
	struct ck_file file = { .fd = -1 };
	char *json = NULL;
	int rc;

	rc = file_open(&file, path, err);
	if (!rc)
		rc = read_index_text(&file, &json, err);
	if (!rc) {
		rc = vgpu_safetensors_parse_index(json, file.identity.bytes, index, shards, err);
		if (!rc)
			rc = vgpu_table_finish(index, err);
		if (rc)
			name_file(&file, err, rc);
	}
	free(json);
	file_close(&file);
	return rc;
}

/* Every tensor that the index places must be where it says. */
static int check_index(const struct vgpu_checkpoint *ck, const struct vgpu_table *index,
		       const struct vgpu_safetensors_shards *shards, struct vgpu_error *err)
{
	const struct vgpu_tensor *found;
	size_t i;

	for (i = 0; i < index->tensor_count; i++) {
		const struct vgpu_tensor *named = &index->tensors[i];

		found = vgpu_table_find(&ck->table, named->name);
		if (!found || found->file != named->file)
			return vgpu_error_set(err, -EINVAL,
				"index places tensor '%.80s' in '%.80s', which does not hold it",
				named->name, shards->names[named->file]);
	}
	return 0;
}

static int load_shards(struct vgpu_checkpoint *ck, const char *folder,
		       const struct vgpu_safetensors_shards *shards, struct vgpu_error *err)
{
	char *path;
	uint32_t i;
	int rc = 0;

	for (i = 0; i < shards->count && !rc; i++) {
		rc = join_path(folder, shards->names[i], &path, err);
		if (rc)
			break;
		rc = add_file(ck, path, err);
		free(path);
		if (!rc)
			rc = load_safetensors(ck, i, &ck->table, err);
	}
	return rc;
}

static int load_sharded(struct vgpu_checkpoint *ck, const char *folder,
			const char *index_path, struct vgpu_error *err)
{
	struct vgpu_safetensors_shards shards = { 0 };
	struct vgpu_table index = { 0 };
	int rc;

	rc = load_index(index_path, &index, &shards, err);
	if (!rc)
		rc = load_shards(ck, folder, &shards, err);
	if (!rc)
		rc = finish(ck, folder, err);
	if (!rc)
		rc = check_index(ck, &index, &shards, err);
	vgpu_table_clear(&index);
	return rc;
}

static int load_folder(struct vgpu_checkpoint *ck, const char *folder,
		       struct vgpu_error *err)
{
	char *single = NULL, *index = NULL;
	int rc;

	rc = join_path(folder, "model.safetensors", &single, err);
	if (!rc)
		rc = join_path(folder, "model.safetensors.index.json", &index, err);
	if (rc)
		goto out;
	if (!access(single, F_OK))
		rc = load_file(ck, single, err);
	else if (!access(index, F_OK))
		rc = load_sharded(ck, folder, index, err);
	else
		rc = vgpu_error_set(err, -ENOENT,
			"%.120s: holds neither model.safetensors nor model.safetensors.index.json",
			folder);
out:
	free(index);
	free(single);
	return rc;
}

static int load(struct vgpu_checkpoint *ck, const char *path, struct vgpu_error *err)
{
	struct stat st;
	int rc;

	if (stat(path, &st))
		return vgpu_error_set(err, -errno, "%.160s: %s", path, strerror(errno));
	rc = S_ISDIR(st.st_mode) ? load_folder(ck, path, err) : load_file(ck, path, err);
	return rc ? rc : vgpu_checkpoint_verify(ck, err);
}

int vgpu_checkpoint_open(const char *path, struct vgpu_checkpoint **out,
			 struct vgpu_error *err)
{
	struct vgpu_checkpoint *ck = calloc(1, sizeof(*ck));
	int rc;

	if (!ck)
		return vgpu_error_set(err, -ENOMEM, "%.160s: out of memory", path);
	rc = load(ck, path, err);
	if (rc) {
		vgpu_checkpoint_close(ck);
		return rc;
	}
	*out = ck;
	return 0;
}

void vgpu_checkpoint_close(struct vgpu_checkpoint *ck)
{
	size_t i;

	if (!ck)
		return;
	for (i = 0; i < ck->file_count; i++)
		file_close(&ck->files[i]);
	free(ck->files);
	vgpu_table_clear(&ck->table);
	free(ck);
}

size_t vgpu_checkpoint_tensor_count(const struct vgpu_checkpoint *ck)
{
	return ck->table.tensor_count;
}

const struct vgpu_tensor *vgpu_checkpoint_tensor(const struct vgpu_checkpoint *ck, size_t i)
{
	return i < ck->table.tensor_count ? &ck->table.tensors[i] : NULL;
}

const struct vgpu_tensor *vgpu_checkpoint_find(const struct vgpu_checkpoint *ck,
					       const char *name)
{
	return vgpu_table_find(&ck->table, name);
}

size_t vgpu_checkpoint_file_count(const struct vgpu_checkpoint *ck)
{
	return ck->file_count;
}

const char *vgpu_checkpoint_file_path(const struct vgpu_checkpoint *ck, size_t file)
{
	return file < ck->file_count ? ck->files[file].path : NULL;
}

int vgpu_checkpoint_file_fd(const struct vgpu_checkpoint *ck, size_t file)
{
	return file < ck->file_count ? ck->files[file].fd : -1;
}

const struct vgpu_file_identity *
vgpu_checkpoint_file_identity(const struct vgpu_checkpoint *ck, size_t file)
{
	return file < ck->file_count ? &ck->files[file].identity : NULL;
}

static int verify_file(const struct ck_file *file, struct vgpu_error *err)
{
	const struct vgpu_file_identity *was = &file->identity;
	struct vgpu_file_identity is = { 0 };
	mode_t mode;
	int rc;

	rc = file_stat(file->fd, &mode, &is);
	if (rc)
		return vgpu_error_set(err, rc, "%.160s: %s", file->path, strerror(-rc));
	if (is.bytes != was->bytes)
		return vgpu_error_set(err, -ESTALE,
			"%.120s: has %" PRIu64 " bytes, had %" PRIu64 " when opened",
			file->path, is.bytes, was->bytes);
	if (is.mtime_ns != was->mtime_ns)
		return vgpu_error_set(err, -ESTALE,
			"%.120s: written at %" PRId64 " ns, was %" PRId64 " ns when opened",
			file->path, is.mtime_ns, was->mtime_ns);
	/* Catches a writer who put the time of the last write back. */
	if (is.ctime_ns != was->ctime_ns)
		return vgpu_error_set(err, -ESTALE,
			"%.120s: changed at %" PRId64 " ns, was %" PRId64 " ns when opened",
			file->path, is.ctime_ns, was->ctime_ns);
	return 0;
}

int vgpu_checkpoint_verify(const struct vgpu_checkpoint *ck, struct vgpu_error *err)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < ck->file_count && !rc; i++)
		rc = verify_file(&ck->files[i], err);
	return rc;
}

size_t vgpu_checkpoint_meta_count(const struct vgpu_checkpoint *ck)
{
	return ck->table.meta_count;
}

const struct vgpu_meta *vgpu_checkpoint_meta(const struct vgpu_checkpoint *ck, size_t i)
{
	return i < ck->table.meta_count ? &ck->table.metas[i] : NULL;
}

const struct vgpu_meta *vgpu_checkpoint_meta_find(const struct vgpu_checkpoint *ck,
						  const char *key)
{
	return vgpu_table_find_meta(&ck->table, key);
}

static int meta_get(const struct vgpu_checkpoint *ck, const char *key,
		    enum vgpu_meta_type type, const struct vgpu_meta **out)
{
	*out = vgpu_checkpoint_meta_find(ck, key);
	if (!*out)
		return -ENOENT;
	return (*out)->type == type ? 0 : -EINVAL;
}

int vgpu_checkpoint_meta_string(const struct vgpu_checkpoint *ck, const char *key,
				struct vgpu_string *out)
{
	const struct vgpu_meta *meta;
	int rc = meta_get(ck, key, VGPU_META_STRING, &meta);

	if (!rc)
		*out = meta->string;
	return rc;
}

int vgpu_checkpoint_meta_u32(const struct vgpu_checkpoint *ck, const char *key,
			     uint32_t *out)
{
	const struct vgpu_meta *meta = vgpu_checkpoint_meta_find(ck, key);
	uint64_t value;

	if (!meta)
		return -ENOENT;
	switch (meta->type) {
	case VGPU_META_U8:
	case VGPU_META_U16:
	case VGPU_META_U32:
	case VGPU_META_U64:
		value = meta->u;
		break;
	case VGPU_META_I8:
	case VGPU_META_I16:
	case VGPU_META_I32:
	case VGPU_META_I64:
		/* Negative numbers become larger than any u32. */
		value = (uint64_t)meta->i;
		break;
	default:
		return -EINVAL;
	}
	if (value > UINT32_MAX)
		return -ERANGE;
	*out = (uint32_t)value;
	return 0;
}

int vgpu_checkpoint_meta_f32(const struct vgpu_checkpoint *ck, const char *key, float *out)
{
	const struct vgpu_meta *meta = vgpu_checkpoint_meta_find(ck, key);

	if (!meta)
		return -ENOENT;
	if (meta->type != VGPU_META_F32 && meta->type != VGPU_META_F64)
		return -EINVAL;
	*out = (float)meta->f;
	return 0;
}

int vgpu_checkpoint_meta_bool(const struct vgpu_checkpoint *ck, const char *key, bool *out)
{
	const struct vgpu_meta *meta;
	int rc = meta_get(ck, key, VGPU_META_BOOL, &meta);

	if (!rc)
		*out = meta->u;
	return rc;
}

int vgpu_checkpoint_meta_array(const struct vgpu_checkpoint *ck, const char *key,
			       struct vgpu_meta_array *out)
{
	const struct vgpu_meta *meta;
	int rc = meta_get(ck, key, VGPU_META_ARRAY, &meta);

	if (!rc)
		*out = meta->array;
	return rc;
}

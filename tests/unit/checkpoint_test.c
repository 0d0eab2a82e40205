// SPDX-License-Identifier: MIT
#include "kernels/formats/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <setjmp.h>
#include <cmocka.h>

/* A folder of its own for each test. */
struct folder {
	char path[64];
	char file[160];
};

static int make_folder(void **state)
{
	struct folder *d = calloc(1, sizeof(*d));

	if (!d)
		return -1;
	strcpy(d->path, "/tmp/checkpoint_test.XXXXXX");
	*state = d;
	return mkdtemp(d->path) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {
		"model.safetensors", "model.safetensors.index.json", "1.st", "2.st", "x",
		"m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "alone.gguf",
	};
	struct folder *d = *state;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(d->file, sizeof(d->file), "%s/%s", d->path, names[i]);
		unlink(d->file);
	}
	i = rmdir(d->path) ? 1 : 0;
	free(d);
	return (int)i;
}

static const char *in_folder(struct folder *d, const char *name)
{
	snprintf(d->file, sizeof(d->file), "%s/%s", d->path, name);
	return d->file;
}

static void write_file(struct folder *d, const char *name, const void *bytes, size_t count)
{
	int fd = open(in_folder(d, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, count), count);
	close(fd);
}

static void write_text(struct folder *d, const char *name, const char *text)
{
	write_file(d, name, text, strlen(text));
}

/* A safetensors file with one U8 tensor of @n bytes. */
static void write_tensor(struct folder *d, const char *file, const char *tensor, unsigned int n)
{
	char bytes[512] = { 0 };
	uint64_t json;

	json = (uint64_t)snprintf(bytes + 8, sizeof(bytes) - 8,
		"{\"__metadata__\":{\"from\":\"%s\"},\"%s\":{\"dtype\":\"U8\",\"shape\":[%u],\"data_offsets\":[0,%u]}}",
		file, tensor, n, n);
	memcpy(bytes, &json, 8);
	assert_true(8 + json + n <= sizeof(bytes));
	write_file(d, file, bytes, 8 + json + n);
}

static void assert_refused(const char *path, int code, const char *text)
{
	struct vgpu_checkpoint *ck = NULL;
	struct vgpu_error err = { 0 };

	assert_int_equal(vgpu_checkpoint_open(path, &ck, &err), code);
	assert_null(ck);
	assert_int_equal(err.code, code);
	assert_string_equal(err.text, text);
}

static void checkpoint_opens_a_folder_with_one_file(void **state)
{
	struct folder *d = *state;
	struct vgpu_checkpoint *ck;
	const struct vgpu_tensor *t;
	struct vgpu_string from;
	uint32_t number;
	bool flag;

	write_tensor(d, "model.safetensors", "w", 5);
	assert_int_equal(vgpu_checkpoint_open(d->path, &ck, NULL), 0);
	assert_int_equal(vgpu_checkpoint_tensor_count(ck), 1);
	t = vgpu_checkpoint_tensor(ck, 0);
	assert_ptr_equal(t, vgpu_checkpoint_find(ck, "w"));
	assert_int_equal(t->bytes, 5);
	assert_int_equal(t->offset + t->bytes, vgpu_checkpoint_file_identity(ck, 0)->bytes);
	assert_null(vgpu_checkpoint_tensor(ck, 1));
	assert_null(vgpu_checkpoint_find(ck, "v"));

	assert_int_equal(vgpu_checkpoint_file_count(ck), 1);
	assert_string_equal(vgpu_checkpoint_file_path(ck, 0),
			    in_folder(d, "model.safetensors"));
	assert_null(vgpu_checkpoint_file_path(ck, 1));
	assert_null(vgpu_checkpoint_file_identity(ck, 1));
	assert_int_equal(vgpu_checkpoint_file_fd(ck, 1), -1);

	assert_int_equal(vgpu_checkpoint_meta_count(ck), 1);
	assert_int_equal(vgpu_checkpoint_meta_string(ck, "from", &from), 0);
	assert_string_equal(from.text, "model.safetensors");
	assert_int_equal(vgpu_checkpoint_meta_u32(ck, "from", &number), -EINVAL);
	assert_int_equal(vgpu_checkpoint_meta_bool(ck, "none", &flag), -ENOENT);
	vgpu_checkpoint_close(ck);
}

static void checkpoint_descriptor_blocks_and_closes_on_exec(void **state)
{
	struct folder *d = *state;
	struct vgpu_checkpoint *ck;
	int fd;

	write_tensor(d, "x", "w", 5);
	assert_int_equal(vgpu_checkpoint_open(in_folder(d, "x"), &ck, NULL), 0);
	fd = vgpu_checkpoint_file_fd(ck, 0);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	vgpu_checkpoint_close(ck);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* Entry for entry: key, type, value. */
static const unsigned char gguf_image[] =
	"GGUF\3\0\0\0" "\0\0\0\0\0\0\0\0" "\6\0\0\0\0\0\0\0"
	"\1\0\0\0\0\0\0\0" "a" "\4\0\0\0" "\7\0\0\0"
	"\1\0\0\0\0\0\0\0" "b" "\5\0\0\0" "\377\377\377\377"
	"\1\0\0\0\0\0\0\0" "c" "\6\0\0\0" "\0\0\300\77"
	"\1\0\0\0\0\0\0\0" "d" "\7\0\0\0" "\1"
	"\1\0\0\0\0\0\0\0" "e" "\10\0\0\0" "\2\0\0\0\0\0\0\0" "hi"
	"\1\0\0\0\0\0\0\0" "f" "\11\0\0\0" "\2\0\0\0" "\1\0\0\0\0\0\0\0" "\5\0";

static void checkpoint_tells_gguf_by_content(void **state)
{
	struct folder *d = *state;
	struct vgpu_meta_array array;
	struct vgpu_checkpoint *ck;
	struct vgpu_string text;
	uint32_t number;
	float real;
	bool flag;

	write_file(d, "x", gguf_image, sizeof(gguf_image) - 1);
	assert_int_equal(vgpu_checkpoint_open(in_folder(d, "x"), &ck, NULL), 0);
	assert_int_equal(vgpu_checkpoint_meta_count(ck), 6);
	assert_string_equal(vgpu_checkpoint_meta(ck, 2)->key, "c");
	assert_null(vgpu_checkpoint_meta(ck, 6));
	assert_int_equal(vgpu_checkpoint_meta_u32(ck, "a", &number), 0);
	assert_int_equal(number, 7);
	assert_int_equal(vgpu_checkpoint_meta_u32(ck, "b", &number), -ERANGE);
	assert_int_equal(vgpu_checkpoint_meta_f32(ck, "c", &real), 0);
	assert_true(real == 1.5f);
	assert_int_equal(vgpu_checkpoint_meta_f32(ck, "a", &real), -EINVAL);
	assert_int_equal(vgpu_checkpoint_meta_bool(ck, "d", &flag), 0);
	assert_true(flag);
	assert_int_equal(vgpu_checkpoint_meta_string(ck, "e", &text), 0);
	assert_string_equal(text.text, "hi");
	assert_int_equal(vgpu_checkpoint_meta_array(ck, "f", &array), 0);
	assert_int_equal(array.count, 1);
	assert_int_equal(vgpu_checkpoint_meta_array(ck, "a", &array), -EINVAL);
	vgpu_checkpoint_close(ck);
}

static size_t put_text(unsigned char *to, const char *text)
{
	uint64_t length = strlen(text);

	memcpy(to, &length, 8);
	memcpy(to + 8, text, length);
	return 8 + length;
}

static size_t put_number(unsigned char *to, const char *key, uint32_t type, int32_t value)
{
	size_t at = put_text(to, key);

	memcpy(to + at, &type, 4);
	memcpy(to + at + 4, &value, 4);
	return at + (type == VGPU_META_U16 ? 6 : 8);
}

/* Part @no of @count with one F32 tensor of two values. */
static void write_part(struct folder *d, const char *file, const char *tensor, uint32_t no,
		       uint32_t count, int32_t tensors)
{
	static const uint64_t dimension = 2;
	unsigned char image[512] = "GGUF\3\0\0\0\1\0\0\0\0\0\0\0\3\0\0\0\0\0\0";
	size_t at = 24;

	at += put_number(image + at, "split.no", VGPU_META_U16, (int32_t)no);
	at += put_number(image + at, "split.count", VGPU_META_U16, (int32_t)count);
	at += put_number(image + at, "split.tensors.count", VGPU_META_I32, tensors);
	at += put_text(image + at, tensor);
	image[at] = 1;
	memcpy(image + at + 4, &dimension, 8);
	at += 4 + 8 + 4 + 8;
	write_file(d, file, image, (at + 31) / 32 * 32 + 8);
}

static void checkpoint_opens_all_parts_whichever_is_named(void **state)
{
	static const char *const parts[] = { "m-00001-of-00002.gguf", "m-00002-of-00002.gguf" };
	struct folder *d = *state;
	struct vgpu_checkpoint *ck;
	uint32_t number;

	write_part(d, parts[0], "b", 0, 2, 2);
	write_part(d, parts[1], "a", 1, 2, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vgpu_checkpoint_open(in_folder(d, parts[i]), &ck, NULL), 0);
		assert_int_equal(vgpu_checkpoint_file_count(ck), 2);
		assert_int_equal(vgpu_checkpoint_tensor_count(ck), 2);
		assert_int_equal(vgpu_checkpoint_find(ck, "b")->file, 0);
		assert_int_equal(vgpu_checkpoint_find(ck, "a")->file, 1);
		assert_string_equal(vgpu_checkpoint_file_path(ck, 1), in_folder(d, parts[1]));
		assert_int_equal(vgpu_checkpoint_meta_count(ck), 3);
		assert_int_equal(vgpu_checkpoint_meta_u32(ck, "split.no", &number), 0);
		assert_int_equal(number, 0);
		vgpu_checkpoint_close(ck);
	}
	/* One that says it is alone is. */
	write_part(d, "alone.gguf", "a", 0, 1, 1);
	assert_int_equal(vgpu_checkpoint_open(in_folder(d, "alone.gguf"), &ck, NULL), 0);
	assert_int_equal(vgpu_checkpoint_file_count(ck), 1);
	vgpu_checkpoint_close(ck);
}

static void checkpoint_refuses_parts_that_do_not_fit(void **state)
{
	static const char *const first = "m-00001-of-00002.gguf", *const second = "m-00002-of-00002.gguf";
	struct folder *d = *state;
	char text[256];

	write_part(d, first, "a", 0, 2, 2);
	snprintf(text, sizeof(text), "%s: No such file or directory", in_folder(d, second));
	assert_refused(in_folder(d, first), -ENOENT, text);
	write_part(d, second, "b", 0, 2, 2);
	assert_refused(in_folder(d, first), -EINVAL,
		       "m-00002-of-00002.gguf: is part 1 of 2, must be part 2 of 2");
	write_part(d, second, "b", 1, 3, 2);
	assert_refused(in_folder(d, first), -EINVAL,
		       "m-00002-of-00002.gguf: is part 2 of 3, must be part 2 of 2");
	write_part(d, second, "a", 1, 2, 2);
	assert_refused(in_folder(d, first), -EINVAL, "m-00001-of-00002.gguf: tensor 'a' appears twice");
	write_part(d, second, "b", 1, 2, 2);
	write_part(d, first, "a", 0, 2, 3);
	assert_refused(in_folder(d, first), -EINVAL,
		       "m-00001-of-00002.gguf: split.tensors.count is 3, the parts have 2");
	write_part(d, "alone.gguf", "a", 0, 2, 2);
	assert_refused(in_folder(d, "alone.gguf"), -EINVAL, "alone.gguf: is part 1 of 2, but its name "
		       "does not end in -00001-of-00002.gguf");
	write_part(d, "alone.gguf", "a", 2, 2, 2);
	assert_refused(in_folder(d, "alone.gguf"), -EINVAL,
		       "alone.gguf: split.no 2 is not below split.count 2");
	write_part(d, "alone.gguf", "a", 0, 1025, 2);
	assert_refused(in_folder(d, "alone.gguf"), -E2BIG,
		       "alone.gguf: split.count 1025 exceeds the limit 1024");
	write_part(d, "alone.gguf", "a", 0, 1, -1);
	assert_refused(in_folder(d, "alone.gguf"), -E2BIG,
		       "alone.gguf: split.tensors.count -1 exceeds the limit 1048576");
}

/* A header above one read, so that it must come back for more. */
static void checkpoint_reads_a_long_gguf_header(void **state)
{
	const size_t text_bytes = 3u << 20;
	unsigned char *image = calloc(1, 64 + text_bytes);
	struct folder *d = *state;
	struct vgpu_checkpoint *ck;
	struct vgpu_string text;
	uint64_t length = text_bytes;

	assert_non_null(image);
	memcpy(image, "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0k\10", 34);
	memcpy(image + 37, &length, 8);
	write_file(d, "x", image, 45 + text_bytes);
	free(image);
	assert_int_equal(vgpu_checkpoint_open(in_folder(d, "x"), &ck, NULL), 0);
	assert_int_equal(vgpu_checkpoint_meta_string(ck, "k", &text), 0);
	assert_int_equal(text.bytes, text_bytes);
	vgpu_checkpoint_close(ck);
}

static void checkpoint_opens_shards(void **state)
{
	struct folder *d = *state;
	struct vgpu_checkpoint *ck;
	struct vgpu_string from;

	write_tensor(d, "1.st", "a", 3);
	write_tensor(d, "2.st", "b", 4);
	write_text(d, "model.safetensors.index.json",
		   "{\"weight_map\":{\"b\":\"2.st\",\"a\":\"1.st\"}}");
	assert_int_equal(vgpu_checkpoint_open(d->path, &ck, NULL), 0);
	assert_int_equal(vgpu_checkpoint_file_count(ck), 2);
	assert_int_equal(vgpu_checkpoint_find(ck, "a")->file, 1);
	assert_int_equal(vgpu_checkpoint_find(ck, "b")->file, 0);
	assert_string_equal(vgpu_checkpoint_file_path(ck, 0), in_folder(d, "2.st"));
	assert_int_equal(vgpu_checkpoint_meta_string(ck, "from", &from), 0);
	assert_string_equal(from.text, "2.st");
	vgpu_checkpoint_close(ck);
}

static void checkpoint_shards_must_agree_with_the_index(void **state)
{
	struct folder *d = *state;
	char text[256];

	write_tensor(d, "1.st", "a", 3);
	write_tensor(d, "2.st", "a", 4);
	write_text(d, "model.safetensors.index.json",
		   "{\"weight_map\":{\"b\":\"2.st\",\"a\":\"1.st\"}}");
	snprintf(text, sizeof(text), "%s: tensor 'a' appears twice", strrchr(d->path, '/') + 1);
	assert_refused(d->path, -EINVAL, text);
	write_tensor(d, "2.st", "c", 4);
	assert_refused(d->path, -EINVAL,
		       "index places tensor 'b' in '2.st', which does not hold it");
	write_text(d, "model.safetensors.index.json",
		   "{\"weight_map\":{\"b\":\"2.st\",\"b\":\"1.st\"}}");
	assert_refused(d->path, -EINVAL,
		       "model.safetensors.index.json: tensor 'b' appears twice");
	write_text(d, "model.safetensors.index.json", "{\"weight_map\":{\"b\":\"3.st\"}}");
	snprintf(text, sizeof(text), "%s/3.st: No such file or directory", d->path);
	assert_refused(d->path, -ENOENT, text);
}

static void checkpoint_names_what_is_not_there(void **state)
{
	struct folder *d = *state;
	char text[256];

	snprintf(text, sizeof(text),
		 "%s: holds neither model.safetensors nor model.safetensors.index.json",
		 d->path);
	assert_refused(d->path, -ENOENT, text);
	assert_refused("/nonexistent/x", -ENOENT, "/nonexistent/x: No such file or directory");
}

/* Without a writer, a blocking open of a FIFO would never return. */
static void checkpoint_refuses_a_fifo_at_once(void **state)
{
	struct folder *d = *state;
	char text[256];

	assert_int_equal(mkfifo(in_folder(d, "x"), 0600), 0);
	snprintf(text, sizeof(text), "%s: not a regular file", d->file);
	assert_refused(d->file, -EINVAL, text);
}

static void checkpoint_errors_name_the_file(void **state)
{
	struct folder *d = *state;

	write_text(d, "x", "");
	assert_refused(in_folder(d, "x"), -EINVAL,
		       "x: no GGUF file, nor a whole safetensors one: header length needs 8 bytes, the "
		       "file has 0");
	write_text(d, "x", "GGUF");
	assert_refused(in_folder(d, "x"), -EINVAL,
		       "x: byte 4: version needs 4 bytes, the file has 0 more");
	write_tensor(d, "x", "w", 5);
	assert_int_equal(truncate(in_folder(d, "x"), 90), 0);
	assert_refused(d->file, -EINVAL,
		       "x: tensor 'w': data_offsets end 5 exceeds data bytes 1");
}

/* 8 TiB of nothing that claims a header of everything: refused by size, not by memory. */
static void checkpoint_huge_sparse_claims_are_refused(void **state)
{
	struct folder *d = *state;

	write_file(d, "x", "\0\0\0\0\0\4\0\0", 8);
	assert_int_equal(truncate(in_folder(d, "x"), 8ll << 40), 0);
	assert_refused(d->file, -E2BIG,
		       "x: no GGUF file, nor a whole safetensors one: header length 4398046511104 "
		       "exceeds the limit 100000000");
}

static void checkpoint_notices_a_changed_file(void **state)
{
	/* Long ago, since the clock of file times ticks only every few milliseconds. */
	static const struct timespec past[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct folder *d = *state;
	struct vgpu_error err = { 0 };
	struct vgpu_checkpoint *ck;
	char text[256];
	uint64_t bytes;

	write_tensor(d, "x", "w", 5);
	assert_int_equal(utimensat(AT_FDCWD, in_folder(d, "x"), past, 0), 0);
	assert_int_equal(vgpu_checkpoint_open(in_folder(d, "x"), &ck, NULL), 0);
	assert_int_equal(vgpu_checkpoint_verify(ck, &err), 0);
	bytes = vgpu_checkpoint_file_identity(ck, 0)->bytes;

	assert_int_equal(truncate(d->file, 20), 0);
	assert_int_equal(vgpu_checkpoint_verify(ck, &err), -ESTALE);
	snprintf(text, sizeof(text), "%s: has 20 bytes, had %" PRIu64 " when opened", d->file,
		 bytes);
	assert_string_equal(err.text, text);

	/* The size of before, yet another content. */
	assert_int_equal(truncate(d->file, (off_t)bytes), 0);
	assert_int_equal(vgpu_checkpoint_verify(ck, &err), -ESTALE);
	assert_non_null(strstr(err.text, ": written at "));
	vgpu_checkpoint_close(ck);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(checkpoint_opens_a_folder_with_one_file),
		IN_FOLDER(checkpoint_descriptor_blocks_and_closes_on_exec),
		IN_FOLDER(checkpoint_tells_gguf_by_content),
		IN_FOLDER(checkpoint_opens_all_parts_whichever_is_named),
		IN_FOLDER(checkpoint_refuses_parts_that_do_not_fit),
		IN_FOLDER(checkpoint_reads_a_long_gguf_header),
		IN_FOLDER(checkpoint_opens_shards),
		IN_FOLDER(checkpoint_shards_must_agree_with_the_index),
		IN_FOLDER(checkpoint_names_what_is_not_there),
		IN_FOLDER(checkpoint_refuses_a_fifo_at_once),
		IN_FOLDER(checkpoint_errors_name_the_file),
		IN_FOLDER(checkpoint_huge_sparse_claims_are_refused),
		IN_FOLDER(checkpoint_notices_a_changed_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

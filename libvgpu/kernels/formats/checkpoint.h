/* SPDX-License-Identifier: MIT */
#ifndef VGPU_FORMATS_CHECKPOINT_H
#define VGPU_FORMATS_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vgpu.h"

/**
 * struct vgpu_error - why a call failed, for a person
 * @code: negative errno, the same as the call returned; 0 while nothing failed
 * @text: one line that names the field, its value and the limit it broke
 *
 * Written on failure only. A caller may pass NULL for it anywhere.
 */
struct vgpu_error {
	int code;
	char text[256];
};

/**
 * enum vgpu_dtype - how a file stores the numbers of a tensor
 *
 * More than there are kernels for: vgpu_dtype_info() tells which enum vgpu_format, if
 * any, takes the bytes as they are. The block types are the layouts of GGUF v3, blocks running along the last
 * dimension. Numbers are never reused.
 */
enum vgpu_dtype {
	VGPU_DTYPE_F32 = 1,
	VGPU_DTYPE_F16 = 2,
	VGPU_DTYPE_BF16 = 3,
	VGPU_DTYPE_F64 = 4,
	VGPU_DTYPE_I8 = 5,
	VGPU_DTYPE_I16 = 6,
	VGPU_DTYPE_I32 = 7,
	VGPU_DTYPE_I64 = 8,
	VGPU_DTYPE_U8 = 9,
	VGPU_DTYPE_U16 = 10,
	VGPU_DTYPE_U32 = 11,
	VGPU_DTYPE_U64 = 12,
	VGPU_DTYPE_BOOL = 13,
	VGPU_DTYPE_F8_E4M3 = 14,
	VGPU_DTYPE_F8_E5M2 = 15,
	VGPU_DTYPE_F8_E8M0 = 16,
	VGPU_DTYPE_F6_E2M3 = 17,
	VGPU_DTYPE_F6_E3M2 = 18,
	VGPU_DTYPE_F4_E2M1 = 19,
	VGPU_DTYPE_C64 = 20,
	VGPU_DTYPE_Q4_0 = 32,
	VGPU_DTYPE_Q4_1 = 33,
	VGPU_DTYPE_Q5_0 = 34,
	VGPU_DTYPE_Q5_1 = 35,
	VGPU_DTYPE_Q8_0 = 36,
	VGPU_DTYPE_Q2_K = 37,
	VGPU_DTYPE_Q3_K = 38,
	VGPU_DTYPE_Q4_K = 39,
	VGPU_DTYPE_Q5_K = 40,
	VGPU_DTYPE_Q6_K = 41,
	VGPU_DTYPE_Q8_K = 42,
	VGPU_DTYPE_MXFP4 = 43,
	VGPU_DTYPE_NVFP4 = 44,
};

/**
 * struct vgpu_dtype_info - what is known of a type
 * @name: lower case, as tools print it ("f32", "mxfp4")
 * @block_elements: values that are stored together; 1 for plain numbers
 * @block_bytes: bytes of one block
 * @format: what an operand with these bytes is called, VGPU_FORMAT_NONE when no
 *	command takes them
 */
struct vgpu_dtype_info {
	const char *name;
	uint32_t block_elements;
	uint32_t block_bytes;
	enum vgpu_format format;
};

/**
 * vgpu_dtype_info() - look a type up
 * @dtype: any value
 *
 * Context: Any thread.
 * Return: the entry, static; NULL for a number that is no type.
 */
VGPU_API const struct vgpu_dtype_info *vgpu_dtype_info(enum vgpu_dtype dtype);

#define VGPU_TENSOR_MAX_RANK 8

/**
 * struct vgpu_tensor - one tensor of a checkpoint
 * @name: as in the file; no control bytes are removed
 * @dtype_name: the type as the file spells it ("F32"; "Q4_K" for a GGUF type number)
 * @dtype: what @dtype_name means
 * @rank: number of dimensions, 0 for a single number
 * @file: index of the file that holds it, below vgpu_checkpoint_file_count()
 * @shape: dimensions, outermost first whatever the file's order, so a weight is
 *	[n][k] with k contiguous; entries from @rank on are 1
 * @offset: first byte, counted from the start of the file; any alignment
 * @bytes: length; always within the file as it was when it was opened
 */
struct vgpu_tensor {
	const char *name;
	const char *dtype_name;
	enum vgpu_dtype dtype;
	uint32_t rank;
	uint32_t file;
	uint64_t shape[VGPU_TENSOR_MAX_RANK];
	uint64_t offset;
	uint64_t bytes;
};

/* Numbers as in GGUF. */
enum vgpu_meta_type {
	VGPU_META_U8 = 0,
	VGPU_META_I8 = 1,
	VGPU_META_U16 = 2,
	VGPU_META_I16 = 3,
	VGPU_META_U32 = 4,
	VGPU_META_I32 = 5,
	VGPU_META_F32 = 6,
	VGPU_META_BOOL = 7,
	VGPU_META_STRING = 8,
	VGPU_META_ARRAY = 9,
	VGPU_META_U64 = 10,
	VGPU_META_I64 = 11,
	VGPU_META_F64 = 12,
};

/**
 * struct vgpu_string - text from a file
 * @text: bytes followed by a NUL; a hostile file may hold further NULs inside
 * @bytes: length without the final NUL
 */
struct vgpu_string {
	const char *text;
	size_t bytes;
};

/**
 * struct vgpu_meta_array - list of equal metadata values
 * @type: type of every element
 * @count: number of elements
 * @data: numbers: packed, of the type's own width, bool as one byte of 0 or 1;
 *	strings: struct vgpu_string [count]; arrays: struct vgpu_meta_array [count]
 */
struct vgpu_meta_array {
	enum vgpu_meta_type type;
	uint64_t count;
	const void *data;
};

/**
 * struct vgpu_meta - one metadata entry
 * @key: NUL-terminated
 * @type: says which of the values is set
 * @u: U8, U16, U32, U64 and BOOL (0 or 1)
 * @i: I8, I16, I32 and I64
 * @f: F32 and F64
 * @string: STRING; every entry of a safetensors __metadata__ is one
 * @array: ARRAY
 */
struct vgpu_meta {
	const char *key;
	enum vgpu_meta_type type;
	union {
		uint64_t u;
		int64_t i;
		double f;
		struct vgpu_string string;
		struct vgpu_meta_array array;
	};
};

/**
 * struct vgpu_file_identity - which file, in which state
 * @dev: device number
 * @ino: inode number
 * @bytes: length
 * @mtime_ns: time of the last write, ns since 1970
 * @ctime_ns: time of the last change of data or inode, ns since 1970
 */
struct vgpu_file_identity {
	uint64_t dev;
	uint64_t ino;
	uint64_t bytes;
	int64_t mtime_ns;
	int64_t ctime_ns;
};

struct vgpu_checkpoint;

/**
 * vgpu_checkpoint_open() - read the table of contents of a model
 * @path: a .safetensors file, a .gguf file (told apart by content, not by name), or
 *	a directory with model.safetensors or model.safetensors.index.json
 * @out: the checkpoint, unchanged on failure
 * @err: reason of a failure, or NULL
 *
 * Reads headers only, never tensor data. Files are untrusted: every length, offset,
 * shape and count is checked, and memory used stays within a small multiple of the
 * header bytes that really exist.
 *
 * Context: Any thread; sleeps on file reads.
 * Return: 0; -ENOENT, -EACCES and others from open(); -EINVAL the content is
 * malformed; -EOPNOTSUPP a version or type that this reader does not know;
 * -E2BIG a header above the limit; -ESTALE the file changed while it was read;
 * -EIO a read failed; -ENOMEM.
 */
VGPU_API int vgpu_checkpoint_open(const char *path, struct vgpu_checkpoint **out,
			 struct vgpu_error *err);

/**
 * vgpu_checkpoint_close() - close the files and free everything handed out
 * @ck: from vgpu_checkpoint_open(), or NULL
 *
 * Context: The last user's thread; every pointer obtained from @ck ends here.
 */
VGPU_API void vgpu_checkpoint_close(struct vgpu_checkpoint *ck);

/*
 * The calls below read an open checkpoint, which never changes: any thread, no locks,
 * no errors other than those named. Pointers live until vgpu_checkpoint_close().
 */

/* Number of tensors in all files. */
VGPU_API size_t vgpu_checkpoint_tensor_count(const struct vgpu_checkpoint *ck);

/* Tensor @i in order of name, or NULL when @i is out of range. */
VGPU_API const struct vgpu_tensor *vgpu_checkpoint_tensor(const struct vgpu_checkpoint *ck,
						 size_t i);

/* The tensor called @name, or NULL. Names are unique in a checkpoint. */
VGPU_API const struct vgpu_tensor *vgpu_checkpoint_find(const struct vgpu_checkpoint *ck,
					       const char *name);

/* Number of files; at least 1. */
VGPU_API size_t vgpu_checkpoint_file_count(const struct vgpu_checkpoint *ck);

/* Path of file @file as it was opened, or NULL when out of range. */
VGPU_API const char *vgpu_checkpoint_file_path(const struct vgpu_checkpoint *ck, size_t file);

/* Descriptor (O_RDONLY, O_CLOEXEC) owned by @ck, or -1 when out of range. */
VGPU_API int vgpu_checkpoint_file_fd(const struct vgpu_checkpoint *ck, size_t file);

/* What file @file was when its header was read, or NULL when out of range. */
VGPU_API const struct vgpu_file_identity *
vgpu_checkpoint_file_identity(const struct vgpu_checkpoint *ck, size_t file);

/**
 * vgpu_checkpoint_verify() - is every file still what it was when it was opened?
 * @ck: open checkpoint
 * @err: names the file and the field that changed, or NULL
 *
 * Looks at the open descriptors: a file that was replaced by rename is still the old
 * one and passes, one that was rewritten or cut in place does not.
 *
 * Return: 0; -ESTALE; or an error of fstat().
 */
VGPU_API int vgpu_checkpoint_verify(const struct vgpu_checkpoint *ck, struct vgpu_error *err);

/* Number of metadata entries. Of several shards, those of the first. */
VGPU_API size_t vgpu_checkpoint_meta_count(const struct vgpu_checkpoint *ck);

/* Entry @i in order of key, or NULL when out of range. */
VGPU_API const struct vgpu_meta *vgpu_checkpoint_meta(const struct vgpu_checkpoint *ck, size_t i);

/* The entry with this key, or NULL. */
VGPU_API const struct vgpu_meta *vgpu_checkpoint_meta_find(const struct vgpu_checkpoint *ck,
						  const char *key);

/*
 * One metadata value by key. Return: 0; -ENOENT no such key; -EINVAL the value is of
 * another kind; -ERANGE an integer that does not fit. Any integer type is accepted for
 * u32, f32 and f64 for f32.
 */
VGPU_API int vgpu_checkpoint_meta_string(const struct vgpu_checkpoint *ck, const char *key,
				struct vgpu_string *out);
VGPU_API int vgpu_checkpoint_meta_u32(const struct vgpu_checkpoint *ck, const char *key,
			     uint32_t *out);
VGPU_API int vgpu_checkpoint_meta_f32(const struct vgpu_checkpoint *ck, const char *key,
			     float *out);
VGPU_API int vgpu_checkpoint_meta_bool(const struct vgpu_checkpoint *ck, const char *key,
			      bool *out);
VGPU_API int vgpu_checkpoint_meta_array(const struct vgpu_checkpoint *ck, const char *key,
			       struct vgpu_meta_array *out);

#endif

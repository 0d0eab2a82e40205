/* SPDX-License-Identifier: MIT */
/*
 * What a packed cache file must say for given items: its header and where each tensor
 * lies. The builder writes it, the check compares a file with it.
 */
#ifndef VGPU_PACKED_PLAN_H
#define VGPU_PACKED_PLAN_H

#include <sys/types.h>

#include "vgpu.h"

/*
 * A packed file is a safetensors file of U8 tensors whose "__metadata__" holds
 *	format		"vblackwell-packed", the first entry, so that the file can be told
 *			from any other by its first bytes even when it is damaged
 *	layout		PACKED_LAYOUT
 *	source:I	"bytes=B mtime_ns=T ino=N crc32c=C" of source file I; the CRC is of
 *			its first and its last MiB
 *	tensor:NAME	"FORMAT rows=R cols=C stack=S from=FORMAT source=I offset=O", and of a layer
 *			of AWQ or GPTQ, whose FORMAT is "SCHEME/GROUP", " zeros=I@O scales=I@O"
 *
 * A tensor may be longer than its matrices, up to where the next one begins; what is
 * left over is zero.
 */
#define PACKED_FORMAT		"vblackwell-packed"
#define PACKED_SIGNATURE	"{\"__metadata__\":{\"format\":\"" PACKED_FORMAT "\","
/* Another number when the bytes of a packed format change. */
#define PACKED_LAYOUT		"1"
#define PACKED_TENSOR_KEY	"tensor:"

/* Where tensors may begin: what kernels need, and a page for those that fill many. */
#define PACKED_ALIGN		64u
#define PACKED_ALIGN_LARGE	4096u
#define PACKED_LARGE_BYTES	(1u << 20)

#define PACKED_NAME_MAX		1000u
#define PACKED_ITEMS_MAX	60000u

/**
 * struct packed_source - a file that weights come from
 * @fd: the caller's
 * @dev, @ino: which file
 * @bytes: length
 * @mtime_ns: of the last write
 * @crc: CRC32C of the first and the last MiB
 */
struct packed_source {
	int fd;
	dev_t dev;
	ino_t ino;
	uint64_t bytes;
	int64_t mtime_ns;
	uint32_t crc;
};

/**
 * struct packed_tensor - one item as it lies in the file
 * @source: index into the sources
 * @zeros, @scales: likewise, of a layer of AWQ or GPTQ
 * @offset: from the start of the data part
 * @bytes: packed, all matrices of the stack
 */
struct packed_tensor {
	uint32_t source, zeros, scales;
	uint64_t offset, bytes;
};

/**
 * struct packed_plan - everything about a file but its data
 * @items: the caller's, @count of them
 * @tensors: [@count]
 * @sources: [@source_count], in order of first mention
 * @mode: permissions that every source grants
 * @header: length, JSON and blanks up to where the data begins
 * @header_bytes: of all of it, a multiple of PACKED_ALIGN_LARGE
 * @data_bytes: of the data part
 */
struct packed_plan {
	const struct vgpu_pack_item *items;
	uint32_t count, source_count;
	struct packed_tensor *tensors;
	struct packed_source *sources;
	mode_t mode;
	char *header;
	uint64_t header_bytes, data_bytes;
};

/**
 * vgpu_packed_plan() - look at the sources and lay the file out
 * @plan: vgpu_packed_plan_free() it, also after an error
 *
 * Context: any thread; reads two MiB of each source.
 * Return: 0; -EINVAL an item cannot be packed, a name is empty or there twice; -E2BIG a
 * name or the count; -ERANGE an item ends behind its file; -EOVERFLOW; -EIO; -ENOMEM.
 */
int vgpu_packed_plan(const struct vgpu_pack_item *items, uint32_t count,
		     struct packed_plan *plan);
void vgpu_packed_plan_free(struct packed_plan *plan);

/* Room for the value of any entry of "__metadata__". */
#define PACKED_VALUE_BYTES	256u
void vgpu_packed_source_text(const struct packed_source *s, char *out);
void vgpu_packed_tensor_text(const struct packed_plan *plan, uint32_t item, char *out);

#endif

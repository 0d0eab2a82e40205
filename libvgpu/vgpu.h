/* SPDX-License-Identifier: MIT */
/*
 * libvgpu: one virtual accelerator over host memory, devices and NVMe.
 *
 * A program opens the device, makes buffer objects (BOs) or names ranges of
 * files as such, records commands into a command buffer, submits it to a queue
 * and waits for its fence.  A BO may be far larger than the memory it runs in:
 * only the panels that a command works on are resident.
 *
 * Every function returns 0 or -errno unless it says otherwise; the sentence
 * behind the last failure of this thread is vgpu_error_text().  The library never
 * prints, never exits, installs no signal handler.
 *
 * An errno means the same everywhere; functions name those that a caller may want to
 * tell apart, and any that reaches the device may also say:
 *	-ENOMEM		out of memory
 *	-ENODEV		the device has no executor (any more)
 *	-EPERM		not allowed to this process, see fork() below
 *	-EIO		storage failed, or content was lost with a device
 *	-ESTALE		the file behind an object changed since it was opened
 *	-ETIME		what was asked for was not done within the device's own bound
 *	-ETIMEDOUT	storage does not answer
 *
 * Threads: different objects may be used from different threads at once.  One
 * struct vgpu may be used by many threads.  One command buffer is used by one
 * thread at a time.  A BO may be destroyed while submissions that use it run.
 *
 * Processes: after fork() the child's calls on the parent's in-process device are
 * refused with -EPERM; it may destroy and close what it inherited, which touches
 * nothing, and open its own.
 */
#ifndef VGPU_H
#define VGPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VGPU_API __attribute__((visibility("default")))

struct vgpu;
struct vgpu_bo;
struct vgpu_queue;
struct vgpu_cmdbuf;

/**
 * vgpu_version() - version of the library that runs
 *
 * Return: "major.minor.patch", static.
 */
VGPU_API const char *vgpu_version(void);

/**
 * vgpu_error_text() - why the last call of this thread failed
 *
 * Names the field, its value and the limit where one was broken.
 * Return: a sentence, valid until the next call of this thread into the library;
 * never NULL, "" when nothing failed yet.
 */
VGPU_API const char *vgpu_error_text(void);

/* ------------------------------------------------------------------------
 * The device
 */

/**
 * struct vgpu_config - how an in-process device is made
 * @size: sizeof(struct vgpu_config)
 * @chunk_bytes: power of two, 64 KiB to 2 MiB; 0: vgpu_chunk_bytes()
 * @host_bytes: host tier, staging included; 0: a quarter of the memory that the
 *	machine has, or that the limits of the process's cgroup leave of it.  Beside it at
 *	most 16 MiB hold what derived chunks are made from and copies of operands in
 *	files ("staging" of vgpu_describe() tells how much it was)
 * @nvme_bytes: size of the NVMe arena for anonymous BOs; 0: none
 * @nvme_path: file (created, preallocated, removed at close) or block device
 * @policy: "schedule", "replay", "freq" or "lru"; NULL: "replay", which follows a
 *	declared schedule where there is one
 * @io_engine: "auto", "uring", "threads", "buffered"; NULL: auto
 * @backend: "cpu" or "null" (computes nothing: to measure everything else); NULL: cpu
 * @threads: 0: VBLACKWELL_THREADS, or the CPUs this process may run on
 * @staging_bytes: part of @host_bytes kept for transfers, at least two chunks; 0:
 *	vgpu_staging_bytes()
 * @trace_path: record residency events there; NULL: VBLACKWELL_TRACE, or none.  Empty when the
 *	device is closed and not all of them could be written
 * @flags: must be 0
 */
struct vgpu_config {
	uint32_t size;
	uint32_t chunk_bytes;
	uint64_t host_bytes;
	uint64_t nvme_bytes;
	const char *nvme_path;
	const char *policy;
	const char *io_engine;
	const char *backend;
	uint32_t threads;
	uint32_t flags;
	uint64_t staging_bytes;
	const char *trace_path;
};

/**
 * vgpu_open() - open the device
 * @device: NULL: VBLACKWELL_DEVICE, else /dev/vblackwell when it is there, else
 *	the process's own device; "embedded" or a path force one
 * @out: the client; vgpu_close() it
 *
 * A /dev/vblackwell that is there and cannot be used is an error, never passed over.
 * All vgpu_open() calls of a process that end at the embedded device share one, made
 * with the defaults of struct vgpu_config.
 * Return: 0; -ENODEV @device names none; -EACCES; what vgpu_open_embedded() says.
 */
VGPU_API int vgpu_open(const char *device, struct vgpu **out);

/**
 * vgpu_open_embedded() - make an in-process device of one's own and open it
 * @config: NULL: all defaults
 * @out: its first client; the device goes with its last one
 *
 * Return: 0; -EINVAL a field, or a host tier too small for two panels; -E2BIG a structure
 * newer than the library; -EEXIST, -EBUSY, -ENOSPC and others that @nvme_path or
 * @trace_path gave; -ENOMEM.
 */
VGPU_API int vgpu_open_embedded(const struct vgpu_config *config, struct vgpu **out);

/**
 * vgpu_open_peer() - another client of the device that @v has open
 * @v: a client; may be closed before the other
 * @out: the other; vgpu_close() it
 *
 * Clients share tiers and executor, and nothing else: objects and queues of one are
 * unknown to the other.
 * Return: as vgpu_open().
 */
VGPU_API int vgpu_open_peer(struct vgpu *v, struct vgpu **out);

/**
 * vgpu_close() - give everything back
 * @v: NULL is fine.  Queued work is cancelled.  Its BOs, queues and command
 *	buffers must have been destroyed.
 */
VGPU_API void vgpu_close(struct vgpu *v);

/** struct vgpu_device_info - what does not change while a device is open */
struct vgpu_device_info {
	uint32_t size;			/* sizeof(struct vgpu_device_info) */
	uint32_t chunk_bytes;		/* power of two, 64 KiB to 2 MiB */
	uint32_t tier_count;		/* arenas that vgpu_tier_info() knows */
	bool embedded;			/* in process, no module */
	uint64_t staging_bytes;		/* host bytes kept for transfers */
	uint64_t panel_bytes;		/* most weight bytes pinned for one panel */
};
/**
 * vgpu_device_info() - look at the device
 * @v: the client
 * @info: filled as far as @info->size, which the caller sets, reaches
 *
 * Return: 0; -EINVAL @info->size.
 */
VGPU_API int vgpu_device_info(struct vgpu *v, struct vgpu_device_info *info);

/**
 * vgpu_describe() - one line about the executor
 * @v: the client
 * @key: "device", "backend", "isa", "threads", "policy", "io.engine", "io.reason",
 *	"host.pages" (huge ones, or why not: a slower path), "nvme", "staging"
 * @text: filled, always terminated; cut when it does not fit
 * @len: room in @text, at least 1
 *
 * None waits for submissions that run.
 * Return: bytes written without the NUL; -ENOENT for a key that is not known.
 */
VGPU_API int vgpu_describe(struct vgpu *v, const char *key, char *text, size_t len);

enum vgpu_tier { VGPU_TIER_HOST = 0, VGPU_TIER_DEVICE = 1, VGPU_TIER_NVME = 2, VGPU_TIERS = 3 };

/**
 * struct vgpu_tier_info - one arena
 * @size: sizeof(struct vgpu_tier_info)
 * @tier: which tier it belongs to
 * @numa_node: or -1
 * @arena: its number
 * @bytes: capacity
 * @used_bytes: of slots that hold a chunk, or wait for one
 * @pinned_bytes: of these, pinned or mapped
 * @reserved_bytes: promised to anonymous BOs of all clients, host and NVMe together;
 *	said of the first host arena only
 * @client_bytes: of @used_bytes, this client's
 */
struct vgpu_tier_info {
	uint32_t size;
	enum vgpu_tier tier;
	int32_t numa_node;
	uint32_t arena;
	uint64_t bytes, used_bytes, pinned_bytes, reserved_bytes, client_bytes;
};
/**
 * vgpu_tier_info() - look at an arena
 * @v: the client
 * @index: below vgpu_device_info.tier_count
 * @info: filled as far as @info->size, which the caller sets, reaches
 *
 * Return: 0; -EINVAL @index or @info->size.
 */
VGPU_API int vgpu_tier_info(struct vgpu *v, uint32_t index, struct vgpu_tier_info *info);

/* Counters; the numbers of enum vb_counter, whose comments say what they count. */
enum vgpu_counter {
	VGPU_COUNT_SUBMITS, VGPU_COUNT_COMMANDS, VGPU_COUNT_ERRORS, VGPU_COUNT_ACCESSES,
	VGPU_COUNT_HITS, VGPU_COUNT_READ_BYTES, VGPU_COUNT_WRITE_BYTES,
	VGPU_COUNT_EVICTIONS, VGPU_COUNT_BYPASSES, VGPU_COUNT_PREFETCHES,
	VGPU_COUNT_PREFETCH_USED, VGPU_COUNT_PREFETCH_LATE, VGPU_COUNT_STALL_NS,
	VGPU_COUNT_BUSY_NS, VGPU_COUNT_CRC_ERRORS, VGPU_COUNT_IO_ERRORS,
	VGPU_COUNT_FALLBACKS, VGPU_COUNT_DERIVE_NS, VGPU_COUNT_COPY_BYTES,
	VGPU_COUNTERS
};
/**
 * vgpu_stats() - copy the counters of this client
 * @v: the client
 * @counters: receives @count numbers, by enum vgpu_counter; 0 for those that are not known
 * @count: numbers asked for, from the first
 *
 * Return: 0.
 */
VGPU_API int vgpu_stats(struct vgpu *v, uint64_t *counters, uint32_t count);

/* ------------------------------------------------------------------------
 * Buffer objects
 */

enum vgpu_life {
	VGPU_LIFE_VOLATILE = 0,		/* intermediates: may be lost with a device */
	VGPU_LIFE_DURABLE = 1,		/* fences wait until host or NVMe hold it */
	VGPU_LIFE_SCRATCH = 2,		/* undefined between submissions */
};

/* Numeric formats of arrays; packed row groups are 32 .. 47, row-major ones all others. */
enum vgpu_format {
	VGPU_FORMAT_NONE = 0,
	VGPU_FORMAT_F32 = 1,
	VGPU_FORMAT_F16 = 2,
	VGPU_FORMAT_BF16 = 3,
	VGPU_FORMAT_I32 = 4,
	VGPU_FORMAT_U8 = 5,
	/* Sources of struct vgpu_pack, no operands yet: FP8, F64, blocks of GGUF. */
	VGPU_FORMAT_F8_E4M3 = 6,
	VGPU_FORMAT_F8_E5M2 = 7,
	VGPU_FORMAT_F64 = 8,
	VGPU_FORMAT_Q8_K = 9,
	VGPU_FORMAT_IQ1_S = 10,
	VGPU_FORMAT_IQ1_M = 11,
	VGPU_FORMAT_IQ2_XXS = 12,
	VGPU_FORMAT_IQ2_XS = 13,
	VGPU_FORMAT_TQ1_0 = 14,
	VGPU_FORMAT_TQ2_0 = 15,
	VGPU_FORMAT_MXFP4 = 16,		/* GGUF blocks: 17 bytes a 32 values */
	VGPU_FORMAT_MXFP4_SPLIT = 17,	/* gpt-oss: blocks and scales apart */
	VGPU_FORMAT_Q8_0 = 18,		/* GGUF blocks: 34 bytes a 32 values */
	/* Other GGUF blocks: those with a packed form below are operands, all are sources. */
	VGPU_FORMAT_Q4_0 = 19,
	VGPU_FORMAT_Q4_1 = 20,
	VGPU_FORMAT_Q5_0 = 21,
	VGPU_FORMAT_Q5_1 = 22,
	VGPU_FORMAT_Q2_K = 23,
	VGPU_FORMAT_Q3_K = 24,
	VGPU_FORMAT_Q4_K = 25,
	VGPU_FORMAT_Q5_K = 26,
	VGPU_FORMAT_Q6_K = 27,
	VGPU_FORMAT_IQ4_NL = 28,
	VGPU_FORMAT_IQ4_XS = 29,
	VGPU_FORMAT_NVFP4 = 30,
	VGPU_FORMAT_IQ2_S = 31,
	VGPU_FORMAT_MXFP4_G16 = 32,	/* what vgpu_pack makes: groups of 16 rows */
	VGPU_FORMAT_INT8_G16 = 33,
	VGPU_FORMAT_Q4_0_G16 = 34,	/* the values of the blocks of that name */
	VGPU_FORMAT_Q4_1_G16 = 35,
	VGPU_FORMAT_Q5_0_G16 = 36,
	VGPU_FORMAT_Q5_1_G16 = 37,
	VGPU_FORMAT_Q4_K_G16 = 38,
	VGPU_FORMAT_Q5_K_G16 = 39,
	VGPU_FORMAT_Q6_K_G16 = 40,
	VGPU_FORMAT_NVFP4_G16 = 41,
	/* INT4 with a scale, Z: and a zero point, for so many columns: what AWQ and GPTQ become. */
	VGPU_FORMAT_INT4_64_G16 = 42,
	VGPU_FORMAT_INT4_128_G16 = 43,
	VGPU_FORMAT_INT4_Z32_G16 = 44,
	VGPU_FORMAT_INT4_Z64_G16 = 45,
	VGPU_FORMAT_INT4_Z128_G16 = 46,
	/* Sources again: blocks of GGUF, and FP4. */
	VGPU_FORMAT_IQ3_XXS = 48,
	VGPU_FORMAT_IQ3_S = 49,
	VGPU_FORMAT_Q1_0 = 50,
	VGPU_FORMAT_F4_E2M1 = 51,	/* two a byte, the first in the low nibble */
};

/**
 * vgpu_format_name() - what tools call a format
 * @format: any value
 *
 * Return: as "mxfp4-g16", static; "?" when not known.
 */
VGPU_API const char *vgpu_format_name(enum vgpu_format format);

/**
 * vgpu_matrix_bytes() - bytes of a dense matrix
 * @format: any format
 * @n: rows, at least 1
 * @k: columns, at least 1
 * @out: the bytes
 *
 * Return: 0; -EINVAL format, or @k is no multiple of its block; -EOVERFLOW.
 */
VGPU_API int vgpu_matrix_bytes(enum vgpu_format format, uint32_t n, uint32_t k, uint64_t *out);

/**
 * vgpu_format_is_weight() - may the weight of a command have it, or is it packed first
 * @format: any
 *
 * Return: true for an operand.
 */
VGPU_API bool vgpu_format_is_weight(enum vgpu_format format);

/**
 * vgpu_format_packed() - the packed form of blocks
 * @format: any
 *
 * Return: what struct vgpu_pack can make of them that keeps all values in as many bytes (Q6_K: 1 %
 * more), and that products read faster; VGPU_FORMAT_NONE when there is nothing.
 */
VGPU_API enum vgpu_format vgpu_format_packed(enum vgpu_format format);

/**
 * vgpu_pack_is_exact() - does packing keep every value as it is
 * @source: of struct vgpu_pack
 * @packed: of struct vgpu_pack
 *
 * Return: false when values are rounded, or the two do not fit together.
 */
VGPU_API bool vgpu_pack_is_exact(enum vgpu_format source, enum vgpu_format packed);

/**
 * vgpu_matrix_decode() - what a dense matrix holds, as f32
 * @format: any but I32, U8 and MXFP4_SPLIT; also those that are only packed from
 * @n: rows, at least 1; of packed formats @data begins with a group
 * @k: columns, at least 1
 * @data: vgpu_matrix_bytes() of it; packed formats: 64-byte aligned
 * @out: [@n][@k]
 *
 * Context: any thread, no device; on the calling thread.
 * Return: 0; -EINVAL format, @k is no multiple of its block, alignment.
 */
VGPU_API int vgpu_matrix_decode(enum vgpu_format format, uint32_t n, uint32_t k, const void *data,
				float *out);

/**
 * vgpu_chunk_bytes() - size of the chunks that a host tier has by default
 * @host_bytes: of the tier
 *
 * As large as leaves 120 of them, so that the least that is kept for transfers is 5 %:
 * 2 MiB from 240 MiB on, 64 KiB below 15 MiB.
 * Return: a power of two, 64 KiB to 2 MiB.
 */
VGPU_API uint32_t vgpu_chunk_bytes(uint64_t host_bytes);

/**
 * vgpu_staging_bytes() - host bytes that a device keeps for transfers by default
 * @host_bytes: host tier; 0: what the smallest one keeps
 * @chunk_bytes: of the device; 0: vgpu_chunk_bytes()
 *
 * Return: 5 %, and at least six chunks, which are more in a tier of less than 120.
 */
VGPU_API uint64_t vgpu_staging_bytes(uint64_t host_bytes, uint32_t chunk_bytes);

/**
 * vgpu_panels_bytes() - host bytes that the weight of a product takes while it streams
 * @format: a weight's
 * @k: its columns
 * @chunk_bytes: of the device; 0: 2 MiB
 * @out: whole chunks; the scales of VGPU_FORMAT_MXFP4_SPLIT are among them
 *
 * Two panels in a row, each a unit (a row, or a group of 16 packed ones) or what fills a
 * chunk.  A product whose other operands leave less of the host tier is refused; a reserve
 * for transfers below it makes products take from what is kept.
 * Return: 0; -EINVAL format, or @k is no multiple of its block.
 */
VGPU_API int vgpu_panels_bytes(enum vgpu_format format, uint32_t k, uint32_t chunk_bytes,
			       uint64_t *out);

/**
 * vgpu_bo_create() - memory, zero when first touched
 * @v: the client
 * @bytes: 1 to 2^46, reserved in host and NVMe tiers here and never later
 * @life: what becomes of it with a device that is lost, and between submissions
 * @out: the object; vgpu_bo_destroy() it
 *
 * Return: 0; -EINVAL; -ENOSPC the tiers cannot hold so much; -EDQUOT a limit of the
 * client.
 */
VGPU_API int vgpu_bo_create(struct vgpu *v, uint64_t bytes, enum vgpu_life life,
			    struct vgpu_bo **out);

/**
 * vgpu_bo_create_file() - a range of a file, read-only; nothing is read yet
 * @v: the client
 * @fd: regular file or block device, readable; the caller may close it afterwards
 * @offset: first byte in the file, any
 * @bytes: 0: to the end of the file
 * @out: the object; vgpu_bo_destroy() it
 *
 * A file that changes while it is an object is noticed: -ESTALE at the next use.
 * Return: 0; -EBADF, -EACCES, -EINVAL @fd; -ERANGE the range ends behind the file.
 */
VGPU_API int vgpu_bo_create_file(struct vgpu *v, int fd, uint64_t offset, uint64_t bytes,
				 struct vgpu_bo **out);

/**
 * struct vgpu_pack_scales - scales of FP8 weights, which lie apart in the same file
 * @format: F32, F16, BF16, or U8: powers of two (E8M0); NONE: the values are as they lie there
 * @rows: rows that share a scale, at most 65535; 0: all of a matrix
 * @cols: columns that share a scale, at most 65535; 0: all
 * @offset: of the first in the file; they lie [stack][rows / @rows][cols / @cols], the last
 *	of a row and of a column for what is left
 */
struct vgpu_pack_scales {
	enum vgpu_format format;
	uint32_t rows, cols;
	uint64_t offset;
};

/**
 * struct vgpu_pack - weights of a file, packed chunk by chunk when they are needed
 * @source_format: F32, F16, BF16; MXFP4, Q8_0 and what else has a vgpu_format_packed() to that
 *	(regrouped, the same values); FP8, FP4, F64 and blocks of GGUF but MXFP4 and Q8_0:
 *	Q4_0, Q5_0, IQ4_NL, TQ, Q1_0 to INT8_G16 and FP4 to MXFP4_G16 keep their values, all
 *	else is rounded again
 * @packed_format: MXFP4_G16 or INT8_G16, or vgpu_format_packed() of the source
 * @rows: rows of one matrix, at least 1
 * @cols: columns, at least 1
 * @stack: matrices behind each other in the source, each packed by itself; 0: 1
 * @scales: of FP8: each value is multiplied by one before it is packed
 */
struct vgpu_pack {
	enum vgpu_format source_format;
	enum vgpu_format packed_format;
	uint32_t rows, cols, stack;
	struct vgpu_pack_scales scales;
};

/**
 * vgpu_bo_create_packed() - a derived object: packed weights from a file range
 * @v: the client
 * @fd: as of vgpu_bo_create_file()
 * @offset: of the first matrix in the file
 * @pack: what lies there, and what becomes of it
 * @out: the object; vgpu_bo_destroy() it
 *
 * Nothing is read or packed yet.  A command that needs a chunk whose source holds a NaN or
 * an infinite value, or for INT8 one of 127 * 65520 and more, ends with -EDOM.
 * Return: 0; -EINVAL formats or shape do not fit together; -EOVERFLOW; as
 * vgpu_bo_create_file().
 */
VGPU_API int vgpu_bo_create_packed(struct vgpu *v, int fd, uint64_t offset,
				   const struct vgpu_pack *pack, struct vgpu_bo **out);

/**
 * vgpu_bo_destroy() - drop the handle
 * @bo: NULL is fine.  What runs goes on with the object.
 */
VGPU_API void vgpu_bo_destroy(struct vgpu_bo *bo);

/**
 * vgpu_bo_bytes() - length of an object
 * @bo: the object
 *
 * Return: bytes; of a packed object what packing yields.
 */
VGPU_API uint64_t vgpu_bo_bytes(const struct vgpu_bo *bo);

enum { VGPU_MAP_READ = 1, VGPU_MAP_WRITE = 2 };
/**
 * vgpu_bo_map() - make a range resident in host memory and point to it
 * @bo: the object
 * @offset: first byte
 * @bytes: 0: to the end
 * @flags: VGPU_MAP_READ, VGPU_MAP_WRITE or both
 * @out: address of byte @offset
 *
 * Resident until vgpu_bo_unmap() with the same range and flags; mappings nest, and the
 * last one takes the address with it.  Commands whose operands do not fit beside what is
 * mapped and pinned wait for that: for ten seconds, then they end with -ENOSPC and the bytes
 * that were missing.
 * Return: 0; -ENOSPC the host tier cannot hold it: use vgpu_bo_read(); -EBUSY parts of it
 * are mapped where the rest cannot follow, or being written by a device, or clients kept
 * the slots that it needs mapped or pinned for ten seconds; -EROFS; -ERANGE; -EINVAL @flags.
 */
VGPU_API int vgpu_bo_map(struct vgpu_bo *bo, uint64_t offset, uint64_t bytes, uint32_t flags,
			 void **out);
/**
 * vgpu_bo_unmap() - undo one vgpu_bo_map()
 * @bo: the object
 * @offset: as it was mapped
 * @bytes: as it was mapped
 * @flags: as it was mapped
 *
 * Return: 0; -EINVAL no mapping of that range with these flags.
 */
VGPU_API int vgpu_bo_unmap(struct vgpu_bo *bo, uint64_t offset, uint64_t bytes, uint32_t flags);

/**
 * vgpu_bo_read() - copy out of an object
 * @bo: the object
 * @offset: first byte
 * @to: receives @bytes bytes; their content is undefined when it fails
 * @bytes: length; 0 does nothing
 *
 * Streamed, so the object may be larger than the host tier.
 * Return: 0; -ERANGE; -EBUSY as vgpu_bo_map().
 */
VGPU_API int vgpu_bo_read(struct vgpu_bo *bo, uint64_t offset, void *to, uint64_t bytes);
/**
 * vgpu_bo_write() - copy into an object
 * @bo: the object
 * @offset: first byte
 * @from: @bytes bytes
 * @bytes: length; 0 does nothing
 *
 * When it fails, any part may have been written.
 * Return: 0; -EROFS sealed, or made from a file; -ERANGE; -EBUSY as vgpu_bo_map().
 */
VGPU_API int vgpu_bo_write(struct vgpu_bo *bo, uint64_t offset, const void *from, uint64_t bytes);

/**
 * vgpu_bo_seal() - make an object read-only for ever
 * @bo: the object; one that is sealed stays so
 *
 * Return: 0; -EBUSY while something may write it, or pins it.
 */
VGPU_API int vgpu_bo_seal(struct vgpu_bo *bo);

enum vgpu_advice { VGPU_ADVISE_PREFETCH = 1, VGPU_ADVISE_EVICT = 2, VGPU_ADVISE_PIN = 3,
		   VGPU_ADVISE_UNPIN = 4 };
/**
 * vgpu_bo_advise() - fetch a range ahead, drop it, or keep it in the host tier
 * @bo: the object
 * @advice: which of these
 * @offset: first byte
 * @bytes: widened to whole chunks; 0: to the end
 * @out_bytes: of chunks for which the advice took effect, or NULL
 *
 * PIN and EVICT wait for the executor, PREFETCH only queues; pins nest.
 * Return: 0; -EDQUOT a pin beyond the client's host minimum; -EINVAL UNPIN of what is not
 * pinned, and nothing is unpinned; -EBUSY eviction met pinned or mapped chunks, or some that a
 * slow file still brings (the others are gone); -ERANGE.
 */
VGPU_API int vgpu_bo_advise(struct vgpu_bo *bo, enum vgpu_advice advice, uint64_t offset,
			    uint64_t bytes, uint64_t *out_bytes);

/** struct vgpu_bo_info - what an object is, and where its bytes are */
struct vgpu_bo_info {
	uint32_t size;			/* sizeof(struct vgpu_bo_info) */
	uint32_t kind;			/* 1 anonymous, 2 file, 3 derived, 4 imported */
	enum vgpu_life life;		/* as it was created */
	bool sealed;			/* read-only for ever */
	uint32_t chunks;		/* of chunk_bytes; the ends may be part of one */
	uint64_t bytes;			/* as vgpu_bo_bytes() */
	uint64_t tier_bytes[VGPU_TIERS];	/* of chunks with a current copy there */
	uint64_t dirty_bytes;		/* of chunks that no storage holds as they are */
};
/**
 * vgpu_bo_info() - look at an object
 * @bo: the object
 * @info: filled as far as @info->size, which the caller sets, reaches
 *
 * Return: 0; -EINVAL @info->size.
 */
VGPU_API int vgpu_bo_info(struct vgpu_bo *bo, struct vgpu_bo_info *info);

/**
 * vgpu_bo_residency() - where each chunk is
 * @bo: the object
 * @first: first chunk asked for, of vgpu_bo_info.chunks
 * @count: chunks asked for
 * @out: a byte a chunk: valid tiers in bits 0-2 (1 << enum vgpu_tier), 3 dirty, 4 moving,
 *	5 pinned or mapped, 6 lost
 *
 * Return: chunks written, fewer than @count at the end; -ERANGE @first.
 */
VGPU_API int vgpu_bo_residency(struct vgpu_bo *bo, uint32_t first, uint32_t count, uint8_t *out);

/* ------------------------------------------------------------------------
 * Commands
 */

/**
 * struct vgpu_array - an array in a BO
 * @bo: NULL: absent, where that is allowed
 * @offset: bytes
 * @format: of the elements
 * @rank: 1 .. 4
 * @shape: elements, outermost first
 * @stride: bytes a step in each dimension; 0: dense
 */
struct vgpu_array {
	struct vgpu_bo *bo;
	uint64_t offset;
	enum vgpu_format format;
	uint32_t rank;
	uint32_t shape[4];
	uint64_t stride[4];
};

/* Dense arrays of one to three dimensions, from byte @offset of @bo. */
static inline struct vgpu_array vgpu_vector(struct vgpu_bo *bo, uint64_t offset,
					    enum vgpu_format format, uint32_t n)
{
	struct vgpu_array a = { bo, offset, format, 1, { n, 0, 0, 0 }, { 0 } };
	return a;
}

static inline struct vgpu_array vgpu_matrix(struct vgpu_bo *bo, uint64_t offset,
					    enum vgpu_format format, uint32_t rows, uint32_t cols)
{
	struct vgpu_array a = { bo, offset, format, 2, { rows, cols, 0, 0 }, { 0 } };
	return a;
}

static inline struct vgpu_array vgpu_cube(struct vgpu_bo *bo, uint64_t offset,
					  enum vgpu_format format, uint32_t a0, uint32_t a1,
					  uint32_t a2)
{
	struct vgpu_array a = { bo, offset, format, 3, { a0, a1, a2, 0 }, { 0 } };
	return a;
}

enum vgpu_mode {
	VGPU_MODE_F32 = 0,	/* activations as they are */
	VGPU_MODE_A16 = 1,	/* activations rounded to BF16 in groups of 32 */
	VGPU_MODE_A8 = 2,	/* activations rounded to int8 in groups of 32 */
	VGPU_MODE_A8_256 = 3,	/* the same in groups of 256: Documentation/kernels.md */
};

enum vgpu_unary { VGPU_UNARY_NONE, VGPU_UNARY_GELU_ERF, VGPU_UNARY_GELU_TANH, VGPU_UNARY_SILU,
		  VGPU_UNARY_RELU, VGPU_UNARY_SIGMOID, VGPU_UNARY_TANH };
enum vgpu_binary { VGPU_BINARY_ADD, VGPU_BINARY_SUB, VGPU_BINARY_MUL,
		   VGPU_BINARY_SWIGLU /* silu(a) b */, VGPU_BINARY_GEGLU /* gelu_tanh(a) b */ };
enum vgpu_norm { VGPU_NORM_LAYER, VGPU_NORM_RMS, VGPU_NORM_L2 };
enum vgpu_rope { VGPU_ROPE_NEOX, VGPU_ROPE_NORM };

/**
 * vgpu_cmdbuf_create() - an empty command buffer, at most 1 MiB when full
 * @v: the client
 * @out: the buffer; vgpu_cmdbuf_destroy() it
 *
 * Return: 0; -ENOMEM.
 */
VGPU_API int vgpu_cmdbuf_create(struct vgpu *v, struct vgpu_cmdbuf **out);
/**
 * vgpu_cmdbuf_reset() - empty it again
 * @cb: the buffer; submissions made from it are not affected
 */
VGPU_API void vgpu_cmdbuf_reset(struct vgpu_cmdbuf *cb);
/**
 * vgpu_cmdbuf_destroy() - give it back
 * @cb: NULL is fine; submissions made from it are not affected
 */
VGPU_API void vgpu_cmdbuf_destroy(struct vgpu_cmdbuf *cb);
/**
 * vgpu_cmdbuf_commands() - how much is recorded
 * @cb: the buffer
 *
 * Return: commands since it was empty.
 */
VGPU_API uint32_t vgpu_cmdbuf_commands(const struct vgpu_cmdbuf *cb);

/*
 * Recording checks the command against its BOs, and the buffer is unchanged when it is
 * refused with a sentence that names the operand, its value and the limit: -EINVAL;
 * -ERANGE an operand ends behind its object; -EROFS a sealed or file object would be
 * written; -EOVERFLOW a shape; -E2BIG more than 1 MiB or 4096 objects; -ENOMEM.
 *
 * Weights (w, table) have a format that vgpu_format_is_weight() is true of, and lie at any
 * offset, packed ones at a multiple of 64.  Other operands lie at a multiple of their
 * element.  Operands are dense in their last dimension, weights in their last two; the others
 * may have strides.  An output may overlap nothing that the command reads or writes but where
 * "may be" says so, and then exactly.  include/uapi/linux/vblackwell.h says the same of the
 * stream itself.
 */

/** struct vgpu_matmul - y = act(x w^T + bias) + residual */
struct vgpu_matmul {
	enum vgpu_mode mode;		/* of the activations */
	enum vgpu_unary act;		/* of the sum with the bias */
	struct vgpu_array x;		/* F32 [m][k] */
	struct vgpu_array w;		/* weight [n][k] */
	struct vgpu_array scales;	/* U8 [n][k / 32] with MXFP4_SPLIT */
	struct vgpu_array y;		/* F32 [m][n] */
	struct vgpu_array bias;		/* F32 [n], may be absent */
	struct vgpu_array residual;	/* F32 [m][n], may be absent or y */
};
/**
 * vgpu_cmd_matmul() - record a product with weights
 * @cb: the command is added to it
 * @c: copied, with its arrays
 *
 * A row of @x, and one of @w (16 of them where they are packed together), can be at most
 * 8 MiB: the fence ends with -ENOSPC else.  So does a gather's with its table.
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_matmul(struct vgpu_cmdbuf *cb, const struct vgpu_matmul *c);

/**
 * struct vgpu_matmul_transposed - y = x w, not x w^T
 *
 * For training: with the gradient of a product's result as @x, y is that of its activations.
 * Activations are taken as they are.  A result is one fused multiply-add a row of w, in ascending
 * order: bitwise the same whatever computes it, but for which NaN one is.
 */
struct vgpu_matmul_transposed {
	struct vgpu_array x;		/* F32 [m][n] */
	struct vgpu_array w;		/* weight [n][k] */
	struct vgpu_array scales;	/* U8 [n][k / 32] with MXFP4_SPLIT */
	struct vgpu_array y;		/* F32 [m][k] */
};
/**
 * vgpu_cmd_matmul_transposed() - record a product with weights from the left
 * @cb: the command is added to it
 * @c: copied, with its arrays
 *
 * Rows of @w as wide as those of vgpu_cmd_matmul().
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_matmul_transposed(struct vgpu_cmdbuf *cb,
					const struct vgpu_matmul_transposed *c);

/**
 * struct vgpu_matmul_gate - y = u + g(phi) du, du = act(x w^T + bias)
 *
 * An update is let through by where it points: g(phi) = gate(add + mul cos phi), phi the angle
 * between a row of u and that of du; cos phi is 0 where one of them is all zeros.  VGPU_UNARY_NONE
 * with 1/2 and 1/2 is cos^2(phi / 2): all of what goes on in the same direction, nothing of what
 * goes back.  A row in which u or du is not finite becomes NaN.
 */
struct vgpu_matmul_gate {
	enum vgpu_mode mode;		/* of the activations */
	enum vgpu_unary act;		/* of the sum with the bias */
	enum vgpu_unary gate;		/* of add + mul cos phi */
	float mul;			/* finite */
	float add;			/* finite */
	struct vgpu_array x;		/* F32 [m][k] */
	struct vgpu_array w;		/* weight [n][k] */
	struct vgpu_array scales;	/* U8 [n][k / 32] with MXFP4_SPLIT */
	struct vgpu_array y;		/* F32 [m][n] */
	struct vgpu_array bias;		/* F32 [n], may be absent */
	struct vgpu_array u;		/* F32 [m][n] */
};
/**
 * vgpu_cmd_matmul_gate() - record a product that is added as far as a gate lets it through
 * @cb: the command is added to it
 * @c: copied, with its arrays
 *
 * Rows as wide as those of vgpu_cmd_matmul().
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_matmul_gate(struct vgpu_cmdbuf *cb, const struct vgpu_matmul_gate *c);

/** struct vgpu_matmul_id - y[i][t] = x[i] w[ids[i][t]]^T + bias[ids[i][t]] */
struct vgpu_matmul_id {
	enum vgpu_mode mode;		/* of the activations */
	struct vgpu_array x;		/* F32 [m][k] or [m][top][k] */
	struct vgpu_array w;		/* weight [experts][n][k] */
	struct vgpu_array scales;	/* U8 [experts][n][k / 32] with MXFP4_SPLIT */
	struct vgpu_array ids;		/* I32 [m][top] */
	struct vgpu_array y;		/* F32 [m][top][n] */
	struct vgpu_array bias;		/* F32 [experts][n], may be absent */
};
/**
 * vgpu_cmd_matmul_id() - record a product with weights that ids choose
 * @cb: the command is added to it
 * @c: copied, with its arrays
 *
 * At most 262,144 ids; rows as wide as those of vgpu_cmd_matmul().  The fence ends with
 * -ENOSPC else.
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_matmul_id(struct vgpu_cmdbuf *cb, const struct vgpu_matmul_id *c);

/**
 * struct vgpu_attention_cmd - out = softmax(scale q k^T + mask) v for each head
 *
 * Keys and values of 16 bits, and of blocks, are multiplied as the f32 that they are;
 * vgpu_cmd_copy() makes them of F32.  The CPU backend wants the heads of a row behind each
 * other, else the fence is -EOPNOTSUPP.
 */
struct vgpu_attention_cmd {
	bool causal;			/* query i sees keys 0 .. i + kv - m; if none, it is 0 */
	uint32_t window;		/* 0: all; else keys further back are masked */
	float scale;			/* of q k, usually 1 / sqrt(dim) */
	float softcap;			/* 0: none; else softcap tanh(s / softcap) */
	struct vgpu_array q;		/* F32 [m][heads][dim] */
	struct vgpu_array k, v;		/* F32, F16, BF16 or Q8_0, both, [kv][kv_heads][dim] */
	struct vgpu_array mask;		/* F32 [m][kv] or [1][kv], may be absent */
	struct vgpu_array out;		/* F32 [m][heads][dim] */
};
/**
 * vgpu_cmd_attention() - record an attention
 * @cb: the command is added to it
 * @c: copied, with its arrays
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_attention(struct vgpu_cmdbuf *cb, const struct vgpu_attention_cmd *c);

/** struct vgpu_norm_cmd - normalise each row: layer norm, RMS norm, or division by max(|x|, eps) */
struct vgpu_norm_cmd {
	enum vgpu_norm kind;		/* LAYER, RMS or L2 */
	float eps;			/* at least 0 */
	float add;			/* RMS: added to gamma (Gemma uses 1) */
	struct vgpu_array x;		/* F32 [m][n] */
	struct vgpu_array gamma, beta;	/* F32 [n], may be absent; beta is for LAYER */
	struct vgpu_array y;		/* F32 [m][n], may be x */
};
/**
 * vgpu_cmd_norm() - record a normalisation
 * @cb: the command is added to it
 * @c: copied, with its arrays
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_norm(struct vgpu_cmdbuf *cb, const struct vgpu_norm_cmd *c);

/**
 * struct vgpu_rope_cmd - rotate heads by position
 *
 * Pair i turns by position * freq_scale * base^(-2 i / rot); pairs are (i, i + rot / 2) of
 * NEOX and (2 i, 2 i + 1) of NORM.
 */
struct vgpu_rope_cmd {
	enum vgpu_rope kind;		/* which columns are a pair */
	uint32_t rot;			/* columns of a head that turn, even, at most dim */
	float base;			/* above 0 */
	float freq_scale;		/* of positions; finite */
	struct vgpu_array x;		/* F32 [m][heads][dim] */
	struct vgpu_array positions;	/* I32 [m], at least 0 */
	struct vgpu_array y;		/* as x, may be x */
};
/**
 * vgpu_cmd_rope() - record a rotation
 * @cb: the command is added to it
 * @c: copied, with its arrays
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_rope(struct vgpu_cmdbuf *cb, const struct vgpu_rope_cmd *c);

/**
 * vgpu_cmd_unary() - y = op(a)
 * @cb: the command is added to it
 * @op: NONE copies
 * @a: F32, any shape
 * @y: F32, the same shape; may be @a
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_unary(struct vgpu_cmdbuf *cb, enum vgpu_unary op, struct vgpu_array a,
			    struct vgpu_array y);
/**
 * vgpu_cmd_binary() - y = op(a, b)
 * @cb: the command is added to it
 * @op: which
 * @a: F32 [m][n]
 * @b: F32 [m][n], or [n] for every row
 * @y: F32 [m][n]; may be @a, or @b of that shape
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_binary(struct vgpu_cmdbuf *cb, enum vgpu_binary op, struct vgpu_array a,
			     struct vgpu_array b, struct vgpu_array y);
/**
 * vgpu_cmd_scale() - y = factor a
 * @cb: the command is added to it
 * @factor: any number
 * @a: F32, any shape
 * @y: F32, the same shape; may be @a
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_scale(struct vgpu_cmdbuf *cb, float factor, struct vgpu_array a,
			    struct vgpu_array y);
/**
 * vgpu_cmd_softmax() - each row of y = softmax(scale x + mask)
 * @cb: the command is added to it
 * @scale: finite
 * @x: F32 [m][n]
 * @mask: F32 [n], for every row, or [m][n]; may be absent
 * @y: F32 [m][n]; may be @x
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_softmax(struct vgpu_cmdbuf *cb, float scale, struct vgpu_array x,
			      struct vgpu_array mask, struct vgpu_array y);
/**
 * vgpu_cmd_topk() - the largest of each row, descending
 * @cb: the command is added to it
 * @x: F32 [m][n]
 * @values: F32 [m][top], top at most n
 * @indices: I32 [m][top], the columns they come from; of equals the lower first
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_topk(struct vgpu_cmdbuf *cb, struct vgpu_array x, struct vgpu_array values,
			   struct vgpu_array indices);
/**
 * vgpu_cmd_gather() - y[i] = table[ids[i]]
 * @cb: the command is added to it
 * @table: weight [rows][k], any format but MXFP4_SPLIT
 * @ids: I32 [m], each below rows
 * @y: F32 [m][k]
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_gather(struct vgpu_cmdbuf *cb, struct vgpu_array table,
			     struct vgpu_array ids, struct vgpu_array y);
/**
 * vgpu_cmd_copy() - y = x
 * @cb: the command is added to it
 * @x: F32, F16, BF16, Q8_0, I32 or U8, any shape; of Q8_0 rows are multiples of 32
 * @y: the same shape and format; F32, F16, BF16 and Q8_0 convert into each other, nearest even
 *
 * To Q8_0 each 32 values of a row get a scale, max|x| / 127: each is off by at most half of it.
 * Where one of them is NaN or 127 * 65520 and more, all 32 become NaN.
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_copy(struct vgpu_cmdbuf *cb, struct vgpu_array x, struct vgpu_array y);
/**
 * vgpu_cmd_fill() - every element of y = value
 * @cb: the command is added to it
 * @value: of I32 a whole number that fits
 * @y: F32 or I32
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_fill(struct vgpu_cmdbuf *cb, float value, struct vgpu_array y);
/**
 * vgpu_cmd_combine() - y[i] = sum_t weights[i][t] x[i][t]
 * @cb: the command is added to it
 * @x: F32 [m][top][n]
 * @weights: F32 [m][top]
 * @y: F32 [m][n]
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_combine(struct vgpu_cmdbuf *cb, struct vgpu_array x,
			      struct vgpu_array weights, struct vgpu_array y);
/**
 * vgpu_cmd_nop() - nothing: to measure a round trip
 * @cb: the command is added to it
 *
 * Return: 0, or why it is refused, as all recording.
 */
VGPU_API int vgpu_cmd_nop(struct vgpu_cmdbuf *cb);

/* ------------------------------------------------------------------------
 * Queues and fences
 */

/**
 * vgpu_queue_create() - submissions in order, and a share of the executor's time
 * @v: the client
 * @weight: share beside other queues of this client, 1 to 1000; 0: 100
 * @out: the queue; vgpu_queue_destroy() it
 *
 * Return: 0; -EINVAL @weight; -EDQUOT.
 */
VGPU_API int vgpu_queue_create(struct vgpu *v, uint32_t weight, struct vgpu_queue **out);
/**
 * vgpu_queue_destroy() - give it back
 * @q: NULL is fine.  Queued work ends with -ECANCELED, and its fences with it.
 */
VGPU_API void vgpu_queue_destroy(struct vgpu_queue *q);

/** struct vgpu_fence - end of a submission; plain data, copy it freely */
struct vgpu_fence {
	struct vgpu_queue *queue;	/* must exist as long as the fence is used */
	uint64_t seqno;			/* submissions of a queue are numbered from 1 */
};

/**
 * struct vgpu_submit_info - beside the command buffer
 * @size: sizeof(struct vgpu_submit_info)
 * @after_count: entries of @after, at most 64
 * @after: fences to wait for first, of any queue of this client; one that failed ends
 *	this submission with its error
 * @deadline_ns: CLOCK_MONOTONIC; the work stops at its next panel and ends with -ETIME;
 *	0: none
 * @async: vgpu_submit() never runs it on this thread, whatever the device does
 */
struct vgpu_submit_info {
	uint32_t size;
	uint32_t after_count;
	const struct vgpu_fence *after;
	uint64_t deadline_ns;
	bool async;
};

/**
 * vgpu_submit() - queue a command buffer
 * @q: the queue
 * @cb: of the same client
 * @info: NULL: nothing to wait for, no deadline
 * @out: its fence; may be NULL
 *
 * The buffer may be reset or destroyed as soon as this returns.  On an idle in-process
 * device it may run here and now, and this then takes as long as it does.
 *
 * Return: 0; -EDQUOT too many submissions in flight, or (module) their bytes or the user's
 * kernel memory: vgpu_error_text() says which; -ENOSPC the client's share of the host tier
 * is below two panels; -EROFS an object was sealed after recording; -ENOENT an
 * object or a fence's queue was destroyed; -EINVAL a fence, or @info->size; -E2BIG a
 * structure newer than the library.  What is wrong with a command
 * itself is the fence's to say.
 */
VGPU_API int vgpu_submit(struct vgpu_queue *q, struct vgpu_cmdbuf *cb,
			 const struct vgpu_submit_info *info, struct vgpu_fence *out);

/**
 * vgpu_wait() - wait for a fence
 * @fence: of vgpu_submit(); its queue has not been destroyed
 * @timeout_ns: from now; 0 looks, negative is without a bound
 *
 * Without a bound the work of an in-process device may be done on this thread.
 *
 * Return: how the submission ended: 0, or its -errno (-ETIME: its own deadline passed),
 * and the sentence names the command; -EAGAIN still running; -EINVAL never submitted;
 * -ESTALE so old that its result is not known any more, and one as old did fail.
 */
VGPU_API int vgpu_wait(struct vgpu_fence fence, int64_t timeout_ns);

/**
 * vgpu_fence_eventfd() - add 1 to an eventfd when a fence ends, however
 * @fence: as of vgpu_wait()
 * @fd: the eventfd; the caller may close it afterwards
 *
 * Return: 0; -EBADF; -EINVAL @fd is no eventfd, or @fence was never submitted.
 */
VGPU_API int vgpu_fence_eventfd(struct vgpu_fence fence, int fd);

/**
 * vgpu_finish() - vgpu_submit() and vgpu_wait() without a bound
 * @q: the queue
 * @cb: of the same client
 *
 * Return: 0, or as the first of them that failed.
 */
VGPU_API int vgpu_finish(struct vgpu_queue *q, struct vgpu_cmdbuf *cb);

/**
 * struct vgpu_use - a range that will be used
 * @bo: object of the client
 * @offset: first byte
 * @bytes: length, at least 1
 */
struct vgpu_use {
	struct vgpu_bo *bo;
	uint64_t offset, bytes;
};
/**
 * vgpu_schedule() - say in which order ranges will be used next
 * @v: the client
 * @uses: in order, beginning with the next one
 * @count: entries, at most 2^20; 0 withdraws what was said
 * @cycle: after the last comes the first again
 *
 * A hint that replaces the one before of this client, and no other's; a wrong one costs
 * time only, and so does one that is left out because all clients together would have
 * declared more than 2^24 chunks.
 * Return: 0; -ERANGE, -EINVAL an entry or the count.
 */
VGPU_API int vgpu_schedule(struct vgpu *v, const struct vgpu_use *uses, uint32_t count, bool cycle);

/* ------------------------------------------------------------------------
 * Checkpoints: safetensors and GGUF files
 */

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
 * any, takes the bytes as they are. The block types are the layouts of GGUF v3, blocks
 * running along the last dimension. Numbers are never reused.
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
	VGPU_DTYPE_IQ1_S = 45,
	VGPU_DTYPE_IQ1_M = 46,
	VGPU_DTYPE_IQ2_XXS = 47,
	VGPU_DTYPE_IQ2_XS = 48,
	VGPU_DTYPE_IQ2_S = 49,
	VGPU_DTYPE_IQ3_XXS = 50,
	VGPU_DTYPE_IQ3_S = 51,
	VGPU_DTYPE_IQ4_NL = 52,
	VGPU_DTYPE_IQ4_XS = 53,
	VGPU_DTYPE_TQ1_0 = 54,
	VGPU_DTYPE_TQ2_0 = 55,
	VGPU_DTYPE_Q1_0 = 56,
};

/**
 * struct vgpu_dtype_info - what is known of a type
 * @name: lower case, as tools print it ("f32", "mxfp4")
 * @block_elements: values that are stored together; 1 for plain numbers
 * @block_bytes: bytes of one block
 * @format: what these bytes are called as an operand or as the source of struct
 *	vgpu_pack; VGPU_FORMAT_NONE when they can be neither
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
 * @path: a .safetensors file, a .gguf file (told apart by content, not by name; one
 *	part of a model that was split stands for all of them, beside each other), or
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

/**
 * vgpu_checkpoint_tensor_count() - how many tensors there are
 * @ck: the checkpoint
 *
 * Return: tensors in all files.
 */
VGPU_API size_t vgpu_checkpoint_tensor_count(const struct vgpu_checkpoint *ck);

/**
 * vgpu_checkpoint_tensor() - a tensor by number
 * @ck: the checkpoint
 * @i: in order of name
 *
 * Return: NULL when @i is out of range.
 */
VGPU_API const struct vgpu_tensor *vgpu_checkpoint_tensor(const struct vgpu_checkpoint *ck,
							  size_t i);

/**
 * vgpu_checkpoint_find() - a tensor by name
 * @ck: the checkpoint
 * @name: unique in a checkpoint
 *
 * Return: NULL when there is none.
 */
VGPU_API const struct vgpu_tensor *vgpu_checkpoint_find(const struct vgpu_checkpoint *ck,
							const char *name);

/**
 * vgpu_checkpoint_file_count() - how many files there are
 * @ck: the checkpoint
 *
 * Return: at least 1.
 */
VGPU_API size_t vgpu_checkpoint_file_count(const struct vgpu_checkpoint *ck);

/**
 * vgpu_checkpoint_file_path() - a path as it was opened
 * @ck: the checkpoint
 * @file: below vgpu_checkpoint_file_count()
 *
 * Return: NULL when out of range.
 */
VGPU_API const char *vgpu_checkpoint_file_path(const struct vgpu_checkpoint *ck, size_t file);

/**
 * vgpu_checkpoint_file_fd() - a descriptor of a file
 * @ck: the checkpoint
 * @file: below vgpu_checkpoint_file_count()
 *
 * Return: O_RDONLY, O_CLOEXEC, the checkpoint's own; -1 when out of range.
 */
VGPU_API int vgpu_checkpoint_file_fd(const struct vgpu_checkpoint *ck, size_t file);

/**
 * vgpu_checkpoint_file_identity() - what a file was when its header was read
 * @ck: the checkpoint
 * @file: below vgpu_checkpoint_file_count()
 *
 * Return: NULL when out of range.
 */
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

/**
 * vgpu_checkpoint_meta_count() - how many metadata entries there are
 * @ck: the checkpoint
 *
 * Return: entries; of several shards, those of the first.
 */
VGPU_API size_t vgpu_checkpoint_meta_count(const struct vgpu_checkpoint *ck);

/**
 * vgpu_checkpoint_meta() - an entry by number
 * @ck: the checkpoint
 * @i: in order of key
 *
 * Return: NULL when out of range.
 */
VGPU_API const struct vgpu_meta *vgpu_checkpoint_meta(const struct vgpu_checkpoint *ck, size_t i);

/**
 * vgpu_checkpoint_meta_find() - an entry by key
 * @ck: the checkpoint
 * @key: unique in a checkpoint
 *
 * Return: NULL when there is none.
 */
VGPU_API const struct vgpu_meta *vgpu_checkpoint_meta_find(const struct vgpu_checkpoint *ck,
							   const char *key);

/**
 * vgpu_checkpoint_meta_string() - a text, by key
 * @ck: the checkpoint
 * @key: of the entry
 * @out: lives until vgpu_checkpoint_close(); unchanged on failure
 *
 * Return: 0; -ENOENT no such key; -EINVAL the value is of another kind.
 */
VGPU_API int vgpu_checkpoint_meta_string(const struct vgpu_checkpoint *ck, const char *key,
					 struct vgpu_string *out);
/**
 * vgpu_checkpoint_meta_u32() - a whole number of any integer type, by key
 * @ck: the checkpoint
 * @key: of the entry
 * @out: the number; unchanged on failure
 *
 * Return: 0; -ENOENT no such key; -EINVAL the value is of another kind; -ERANGE it does
 * not fit.
 */
VGPU_API int vgpu_checkpoint_meta_u32(const struct vgpu_checkpoint *ck, const char *key,
				      uint32_t *out);
/**
 * vgpu_checkpoint_meta_f32() - a real number, F32 or F64, by key
 * @ck: the checkpoint
 * @key: of the entry
 * @out: rounded to float; unchanged on failure
 *
 * Return: 0; -ENOENT no such key; -EINVAL the value is of another kind.
 */
VGPU_API int vgpu_checkpoint_meta_f32(const struct vgpu_checkpoint *ck, const char *key,
				      float *out);
/**
 * vgpu_checkpoint_meta_bool() - a truth value, by key
 * @ck: the checkpoint
 * @key: of the entry
 * @out: the value; unchanged on failure
 *
 * Return: 0; -ENOENT no such key; -EINVAL the value is of another kind.
 */
VGPU_API int vgpu_checkpoint_meta_bool(const struct vgpu_checkpoint *ck, const char *key,
				       bool *out);
/**
 * vgpu_checkpoint_meta_array() - a list, by key
 * @ck: the checkpoint
 * @key: of the entry
 * @out: lives until vgpu_checkpoint_close(); unchanged on failure
 *
 * Return: 0; -ENOENT no such key; -EINVAL the value is of another kind.
 */
VGPU_API int vgpu_checkpoint_meta_array(const struct vgpu_checkpoint *ck, const char *key,
					struct vgpu_meta_array *out);

/* ------------------------------------------------------------------------
 * Packed cache files
 *
 * A packed object reads its source again for every chunk that comes back, up to 7.5
 * times the bytes that it holds.  A packed file holds those bytes: a safetensors file
 * of U8 tensors, used like any other.  Open it with vgpu_checkpoint_open(), make one
 * object of it with vgpu_bo_create_file(), and take its arrays with
 * vgpu_packed_array().
 */

/**
 * enum vgpu_pack_scheme - how a checkpoint has INT4 whose codes, zero points and scales are
 *	tensors of their own; Documentation/kernels.md has their shapes
 */
enum vgpu_pack_scheme {
	VGPU_PACK_AWQ,		/* version "gemm" */
	VGPU_PACK_GPTQ,		/* checkpoint_format "gptq": zero points less one */
	VGPU_PACK_GPTQ_V2,	/* "gptq_v2" */
};

/**
 * struct vgpu_pack_layer - what a layer of AWQ or GPTQ has beside its codes
 * @scheme: how all three lie
 * @group: inputs that share a scale: 32, 64, 128, or all; 0: this is no such layer
 * @zeros_fd: source of the zero points, a regular file open for reading
 * @scales_fd: of the scales
 * @zeros_offset: of the first in its source
 * @scales_offset: likewise
 *
 * Inputs are in order: group after group.
 */
struct vgpu_pack_layer {
	enum vgpu_pack_scheme scheme;
	uint32_t group;
	int zeros_fd, scales_fd;
	uint64_t zeros_offset, scales_offset;
};

/**
 * struct vgpu_pack_item - one tensor of a packed file
 * @name: 1 to 1000 bytes of UTF-8, unique in the file, not "__metadata__"
 * @fd: source, a regular file open for reading
 * @offset: of the first matrix in the source; of a layer, of its codes
 * @pack: as for vgpu_bo_create_packed(); of a layer: from NONE to Q4_0_G16 or INT4, whose columns
 *	of a scale divide group and inputs, with zero points unless all are 8; a row an output
 * @layer: of AWQ or GPTQ; all zero: the matrices lie as @pack says
 */
struct vgpu_pack_item {
	const char *name;
	int fd;
	uint64_t offset;
	struct vgpu_pack pack;
	struct vgpu_pack_layer layer;
};

/**
 * vgpu_packed_build() - see that a packed file is there and fits
 * @v: its packed objects make the bytes, its host tier is the memory used; layers of AWQ and
 *	GPTQ are made without it, in some 50 MiB of their own: NULL, if there is nothing else
 * @path: of the file, in a folder that exists
 * @items: in the order in which they shall lie in the file
 * @count: 1 to 60000
 * @progress: told the bytes written so far and in all, or NULL; an answer other than
 *	0 ends the call, which returns it
 * @arg: handed to @progress
 *
 * A file that fits is left alone, one that is stale or damaged is replaced at once by
 * the finished new one; until then it stays as it is.  Several processes and threads
 * may build the same file: the first that is done stays, for who has opened it would
 * lose it.  A source that changes meanwhile is noticed.  The file grants no permission
 * that one of its sources does not.
 *
 * Return: 0; -EEXIST something else is at @path; -ENOSPC, naming both sizes, before
 * anything is written; -EFBIG above RLIMIT_FSIZE; -ESTALE a source changed; -EDOM a
 * value is NaN or infinite; -EINVAL, -ERANGE, -E2BIG, -EOVERFLOW an item; -EIO;
 * -ENOMEM; what @progress or opening the path said.  Nothing is left behind.
 */
VGPU_API int vgpu_packed_build(struct vgpu *v, const char *path,
			       const struct vgpu_pack_item *items, uint32_t count,
			       int (*progress)(void *arg, uint64_t done, uint64_t total),
			       void *arg);

/**
 * vgpu_packed_check() - would vgpu_packed_build() leave the file alone?
 * @path: of the file
 * @items: as for vgpu_packed_build()
 * @count: as for vgpu_packed_build()
 *
 * Compares formats, shapes, places, and of each source size, time of the last write,
 * inode and the CRC32C of its first and last MiB.  The file may hold more than @items.
 *
 * Return: 0; -ENOENT no file; -ESTALE it does not fit, vgpu_error_text() says why;
 * -EEXIST it is no packed file; -EINVAL, -ERANGE, -E2BIG, -EOVERFLOW an item.
 */
VGPU_API int vgpu_packed_check(const char *path, const struct vgpu_pack_item *items,
			       uint32_t count);

/**
 * vgpu_packed_array() - a tensor of a packed file as an operand
 * @ck: the open file
 * @name: of the tensor
 * @bo: made from the file, all of it
 * @out: [rows][cols], or [stack][rows][cols] of more than one matrix
 *
 * Return: 0; -ENOENT no such tensor; -EINVAL @ck is no packed file, what it says of the
 * tensor does not agree with the tensor's bytes, or the tensor does not lie in @bo;
 * -ESTALE another layout than this library's.
 */
VGPU_API int vgpu_packed_array(const struct vgpu_checkpoint *ck, const char *name,
			       struct vgpu_bo *bo, struct vgpu_array *out);

/* ------------------------------------------------------------------------
 * Measuring
 */

#define VGPU_PROBE_ROWS	16

/**
 * struct vgpu_probe_row - one way to read a file
 * @engine: as in struct vgpu_config.io_engine
 * @direct: it read with O_DIRECT
 * @depth: transfers in flight
 * @bytes_per_second: 0 when it could not be measured
 */
struct vgpu_probe_row {
	char engine[16];
	bool direct;
	uint32_t depth;
	double bytes_per_second;
};

/**
 * struct vgpu_probe - how fast a file is read
 * @count: rows filled
 * @best: index of the fastest
 * @row: what was measured
 * @reason: one line with the best and the best of each other engine
 */
struct vgpu_probe {
	uint32_t count, best;
	struct vgpu_probe_row row[VGPU_PROBE_ROWS];
	char reason[256];
};

/**
 * vgpu_probe() - measure the I/O engines on a file, in turns
 * @fd: readable file or block device
 * @chunk_bytes: size of a transfer: power of two, 4 KiB to 64 MiB
 * @bytes: most bytes to read in all
 * @out: what was found
 *
 * The page cache takes no part.
 *
 * Return: 0; -EINVAL @chunk_bytes; -ENODATA @bytes or the file is too short to measure
 * anything; an I/O error.
 */
VGPU_API int vgpu_probe(int fd, uint32_t chunk_bytes, uint64_t bytes, struct vgpu_probe *out);

/* A trace that a device recorded (struct vgpu_config.trace_path), once it was closed. */
struct vgpu_recording;

/** struct vgpu_recording_info - how a trace was recorded */
struct vgpu_recording_info {
	uint64_t chunk_bytes;		/* of the device */
	uint32_t capacity;		/* chunks that the tier may retain */
	uint32_t staging;		/* slots beside them */
	uint64_t uses;			/* chunk uses, as vgpu_replay.later_misses skips them */
	char policy[16];		/* that decided */
};

/**
 * struct vgpu_replay - chunks that had to be read
 * @misses: in the whole recording
 * @later_misses: of these, after the first @skip uses
 */
struct vgpu_replay {
	uint64_t misses, later_misses;
};

/**
 * vgpu_recording_open() - load a trace
 * @path: of the file
 * @out: the recording; vgpu_recording_close() it
 *
 * Return: 0; -EBADMSG it is no trace; -ENOMEM; what opening or reading it said.
 */
VGPU_API int vgpu_recording_open(const char *path, struct vgpu_recording **out);
/**
 * vgpu_recording_close() - give it back
 * @r: NULL is fine
 */
VGPU_API void vgpu_recording_close(struct vgpu_recording *r);
/**
 * vgpu_recording_info() - look at a recording
 * @r: the recording
 * @out: filled
 */
VGPU_API void vgpu_recording_info(const struct vgpu_recording *r,
				  struct vgpu_recording_info *out);

/**
 * vgpu_recording_replay() - what would a policy have read
 * @r: the recording
 * @policy: its name; "optimum": the fewest reads possible (Belady's rule with bypass);
 *	NULL: what the recorded run read
 * @capacity: chunks that may be retained, 0: as recorded; without effect on NULL
 * @skip: uses at the beginning that vgpu_replay.later_misses leaves out
 * @out: what it would have been
 *
 * Return: 0; -ENOENT no such policy; -ERANGE @skip; -ENOMEM.
 */
VGPU_API int vgpu_recording_replay(const struct vgpu_recording *r, const char *policy,
				   uint32_t capacity, uint64_t skip, struct vgpu_replay *out);

#ifdef __cplusplus
}
#endif
#endif

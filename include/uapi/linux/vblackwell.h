/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Virtual Blackwell: the contract between clients, the device and its executor.
 *
 * Numbers, layouts and meanings stay: what is added gets new numbers, flags and bits, and
 * structures grow at their end.  What is taken away is never given out again.
 *
 * Two nodes.  Clients open /dev/vblackwell, the one executor opens
 * /dev/vblackwell-exec.  Without the module, libvgpu serves the same requests in
 * process ("loopback"); what only the module can do says so below.
 *
 * Rules for every structure: @size comes first and is sizeof() as the caller
 * knows it, at least 4, else -EINVAL; a shorter structure is filled up with zeros, a
 * longer one is taken when its tail is zero and it has at most 4096 bytes, else -E2BIG;
 * reserved fields must be 0, else -EINVAL; addresses travel as __u64; flags not listed
 * are refused with -EINVAL.  What a call only writes begins with out_; what it reads and
 * then writes does not, and the text says behind "out:" what is written.  After an error
 * these fields mean something only where the text says so.  Structures in an array have
 * the length that they have here, and none of them grows.
 *
 * A request is told by type, number and direction of its VB_IOC_* value, never by the
 * size in it: the structure says how long it is, and may grow without a new request.
 *
 * Units and ranges of fields that are named alike, with out_ before it or without; a
 * field that has others says so.  Both ends of a range are in it.
 *   @*_id        handle, as given out: 1 .. 2^32 - 1
 *   @object, @client, @queue, @number  what the device numbers: 1 .. 2^32 - 1
 *   @seqno       of a submission in its queue: 1 .. 2^64 - 1
 *   @tag, @generation  as given out: all values
 *   @arena       number of an arena: 0 .. VB_ARENA_MAX - 1
 *   @first_slot  slot of an arena: 0 .. VB_ARENA_SLOTS_MAX - 1
 *   @slots       how many: 1 .. VB_ARENA_SLOTS_MAX
 *   @chunk, @first_chunk  index into an object's table: 0 .. out_chunks - 1
 *   @offset      byte of an object: 0 .. its length - 1
 *   @fd, @*_fd   descriptor of the calling process: 0 .. 2^31 - 1
 *   @*address    byte of the calling process's memory: all values
 *   @*mmap_offset, @*_mmap  byte to give to mmap(): 0 .. 2^63 - 1
 *   @*_ns        nanoseconds: all values; of a deadline on CLOCK_MONOTONIC
 *   @out_*bytes  bytes: 0 .. 2^63 - 1
 *   @crc         all values
 *   @*status, @*_reason  0, or -errno: -511 .. 0
 *   @*bad_command  index of a command in its stream, 0 .. 2^17 - 1, or ~0: of none
 *
 * Context: says which locks of the module a request takes, and for what it waits; the
 * loopback has one of its own.  Outermost first: "executor lock", "client's lock" and
 * "BO's lock", mutexes; "slot lock" (arenas, what is charged for them) and "work lock"
 * (requests, queues, fences, counters), spinlocks, neither inside the other.  The locks of
 * tables of handles are taken to look one up, and no other inside them.  Neither the BO's
 * lock nor a spinlock is held across a copy from or to the caller's memory, and none at all
 * while a request waits.  A signal ends every wait (see -EINTR).
 *
 * Errors mean the same in every call:
 *   -EINVAL     a field is out of its range, an unknown flag, reserved not 0
 *   -E2BIG      a structure longer than known has bytes set in its tail
 *   -EFAULT     an address in the structure cannot be read or written
 *   -ENOTTY     no such request on this node
 *   -ENOENT     no object of that kind with this id in this file descriptor
 *   -ENOSPC     the arenas cannot reserve the bytes
 *   -EDQUOT     a limit of the client or its uid; module: kernel memory of its uid, of
 *		which each call that makes or pages in anything may need more
 *   -ENOMEM     the kernel (or the process) itself is out of memory
 *   -EBUSY      the object is pinned, mapped, moving, or has users
 *   -EROFS      a sealed, file or derived object would be written
 *   -EPERM      the caller's role or credentials do not allow it, or the executor's
 *		state: not attached, not LIVE
 *   -ESTALE     the file behind an object changed; an old generation; module: an executor
 *		that was silent for too long
 *   -EIO        storage or device failed, or content was lost
 *   -EDOM       a weight to be packed is NaN, infinite or too large
 *   -ETIME      the deadline passed
 *   -ETIMEDOUT  storage did not answer within the executor's own bound
 *   -ECANCELED  the queue or the client went away first; a command of io_uring: its
 *		ring, or the task that issued it
 *   -ENODEV     no executor came back within recovery_ms, or there was none
 *   -EAGAIN     nothing to do now and the caller asked not to wait
 *   -EINTR      the handler of a signal ran while waiting (and was not set with
 *		SA_RESTART, which repeats the call); repeat it
 *   -EOPNOTSUPP this device (loopback, or an executor's backend) cannot
 *   -EOVERFLOW  offset + length, or a shape, exceeds 64 bits
 *   -ERANGE     a range lies outside its object
 *   -ENOTCONN   the server of a file system has gone (FUSE)
 *   -EBADF, -EACCES  the descriptor given cannot be used, or not read
 *   -EMFILE     the process can have no further descriptor
 *   -EEXIST     the slot asked for is taken
 *   -ESHUTDOWN  the device closes; executors stop
 */
#ifndef _UAPI_LINUX_VBLACKWELL_H
#define _UAPI_LINUX_VBLACKWELL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VB_IOC_MAGIC		0xB1

#define VB_CHUNK_BYTES_MIN	(64u << 10)	/* a device's chunk is a power */
#define VB_CHUNK_BYTES_MAX	(2u << 20)	/* of two between these */
#define VB_STREAM_BYTES_MAX	(1u << 20)	/* one command buffer */
#define VB_SUBMIT_BOS_MAX	4096u		/* BO references a submission */
#define VB_SUBMIT_FENCES_MAX	64u		/* in-fences a submission */
#define VB_WAITS_MAX		16384u		/* fences a client awaits by eventfd, io_uring */
#define VB_SCHEDULE_MAX		(1u << 20)	/* ranges a schedule */
#define VB_OBJECT_BYTES_MAX	(1ull << 46)	/* 64 TiB a BO */
#define VB_OPERAND_RANK_MAX	4u
#define VB_QUEUE_WEIGHT_MIN	1u
#define VB_QUEUE_WEIGHT_MAX	1000u
#define VB_QUEUE_WEIGHT_DEFAULT	100u

/* ------------------------------------------------------------------------
 * Residency
 */

/* Where a copy of a chunk can be. */
enum vb_tier {
	VB_TIER_HOST = 0,	/* pinned host memory, one arena a NUMA node */
	VB_TIER_DEVICE = 1,	/* memory of a GPU or NPU, one arena a device */
	VB_TIER_NVME = 2,	/* preallocated files or block devices */
	VB_TIER_COUNT = 3,
	/* Sources of a move that are not arenas. */
	VB_TIER_SOURCE = 3,	/* the file, or the transform of a file range */
	VB_TIER_ZERO = 4,	/* an anonymous chunk that nobody touched yet */
};

/* Location of a copy: 0 none, else arena << 24 | slot, plus 1. */
#define VB_LOC_NONE		0u
#define VB_LOC(arena, slot)	((((__u32)(arena) << 24) | (__u32)(slot)) + 1u)
#define VB_LOC_ARENA(loc)	(((loc) - 1u) >> 24)
#define VB_LOC_SLOT(loc)	(((loc) - 1u) & 0xffffffu)
#define VB_ARENA_MAX		128u
#define VB_ARENA_SLOTS_MAX	(1u << 24)

#define VB_ENTRY_DIRTY		(1u << 0)	/* newer than NVMe arena or source */
#define VB_ENTRY_TOUCHED	(1u << 1)	/* anonymous: no longer all zero */
#define VB_ENTRY_CRC		(1u << 2)	/* @crc is set */
#define VB_ENTRY_LOST		(1u << 3)	/* content gone: -EIO */
#define VB_ENTRY_MAP_WRITE	(1u << 4)	/* some client mapping is writable */

/**
 * struct vb_table_entry - the residency of one chunk, 32 bytes
 * @loc: VB_LOC of the copy in each tier, or VB_LOC_NONE; the slot that a move fills
 *	appears at its commit
 * @valid: bit a tier whose copy is current, 0 .. 7
 * @busy: 0, or 1 + (from * 8 + to) while a move runs (enum vb_tier values)
 * @flags: VB_ENTRY_*
 * @__reserved: 0
 * @pins: pins of the device itself, 0 .. 2^16 - 1; executors keep their own
 * @maps: client CPU mappings that cover the chunk, 0 .. 2^16 - 1
 * @crc: CRC32C (RFC 3720) of the chunk: file and derived, as first read;
 *	anonymous, of its copy in the NVMe arena
 * @last_use: submission clock of the last use, which wraps: all values
 * @generation: advanced each time a move of this chunk ends
 *
 * The executor reads it where VB_IOC_OBJECT_OPEN says.  All zero is an anonymous chunk
 * that nobody touched, or a file chunk that was never read.
 */
struct vb_table_entry {
	__u32 loc[VB_TIER_COUNT];
	__u8 valid;
	__u8 busy;
	__u8 flags;
	__u8 __reserved;
	__u16 pins;
	__u16 maps;
	__u32 crc;
	__u32 last_use;
	__u32 generation;
};

/* ------------------------------------------------------------------------
 * Client node: the device
 */

/* Bit 0 was set until the module had proved the contract, and stays unused. */
#define VB_FEATURE_FAULT_MMAP	(1ull << 1)	/* mmap faults chunks in (module) */
#define VB_FEATURE_DMABUF	(1ull << 2)	/* BO_EXPORT and BO_IMPORT */
#define VB_FEATURE_RECOVERY	(1ull << 3)	/* a new executor may take over */
#define VB_FEATURE_URING_CMD	(1ull << 4)	/* submission and fetch by uring_cmd */

enum vb_exec_state {
	VB_EXEC_NONE = 0,
	VB_EXEC_LIVE = 1,
	VB_EXEC_QUIESCED = 2,	/* gone; clients wait up to recovery_ms */
	VB_EXEC_RECOVERING = 3,
	VB_EXEC_FAILED = 4,	/* -ENODEV until one attaches */
};

/**
 * struct vb_ioc_query_device - ioctl(VB_IOC_QUERY_DEVICE)
 * @size: sizeof(struct vb_ioc_query_device)
 * @out_exec_state: enum vb_exec_state
 * @out_features: VB_FEATURE_*
 * @out_chunk_bytes: power of two, VB_CHUNK_BYTES_MIN..MAX
 * @out_tier_count: indices that VB_IOC_QUERY_TIER answers, 0 .. VB_ARENA_MAX
 * @out_host_staging_bytes: host bytes kept for transfers, never for content
 * @out_panel_bytes: most weight bytes the executor pins for one panel
 * @out_generation: advanced when an executor attaches, and when it has gone
 * @out_recovery_ms: how long clients wait for a successor, 0 .. 2^32 - 1
 * @__reserved: 0
 *
 * Context: takes no lock, never waits.
 */
struct vb_ioc_query_device {
	__u32 size;
	__u32 out_exec_state;
	__u64 out_features;
	__u32 out_chunk_bytes;
	__u32 out_tier_count;
	__u64 out_host_staging_bytes;
	__u64 out_panel_bytes;
	__u32 out_generation;
	__u32 out_recovery_ms;
	__u64 __reserved[2];
};

/* How the CPU of a client comes to a chunk that is on a device alone. */
enum vb_cpu_path {
	VB_CPU_MIGRATE = 0,	/* the chunk moves to host memory first */
	VB_CPU_COPY = 1,	/* BO_READ and BO_WRITE copy from and to the device */
	VB_CPU_MAP = 2,		/* these too, and mmap() maps the device's memory */
};

/**
 * struct vb_ioc_query_tier - ioctl(VB_IOC_QUERY_TIER)
 * @size: sizeof(struct vb_ioc_query_tier)
 * @index: 0 .. out_tier_count - 1; one arena each
 * @out_tier: enum vb_tier
 * @out_flags: 0; no VB_TIER_FLAG_* is defined yet
 * @out_numa_node: node, 0 .. 2^31 - 1, or -1
 * @out_arena: arena number in VB_LOC
 * @out_bytes: capacity
 * @out_used_bytes: bytes of slots that hold a chunk, or wait for one
 * @out_pinned_bytes: of these, in pinned or mapped chunks
 * @out_reserved_bytes: promised to anonymous BOs (host and NVMe together are
 *	reported on the first host arena)
 * @out_client_bytes: of used, the caller's
 * @out_cpu_path: device: enum vb_cpu_path; else 0
 * @out_cpu_reason: 0, or why a device has VB_CPU_MIGRATE: -EOPNOTSUPP the executor keeps
 *	the memory to itself, or its exporter gives the kernel no mapping; what else
 *	that says
 *
 * The one answer to "how much": sysfs, fdinfo, metrics and tools print these.
 *
 * Errors: -EINVAL @index.  Context: takes the slot lock, never waits.
 */
struct vb_ioc_query_tier {
	__u32 size;
	__u32 index;
	__u32 out_tier;
	__u32 out_flags;
	__s32 out_numa_node;
	__u32 out_arena;
	__u64 out_bytes;
	__u64 out_used_bytes;
	__u64 out_pinned_bytes;
	__u64 out_reserved_bytes;
	__u64 out_client_bytes;
	__u32 out_cpu_path;
	__s32 out_cpu_reason;
};

/* ------------------------------------------------------------------------
 * Client node: buffer objects
 */

enum vb_bo_kind {
	VB_BO_ANONYMOUS = 1,	/* zero on first touch, reserved at creation */
	VB_BO_FILE = 2,		/* a range of a file; sealed from the start */
	VB_BO_DERIVED = 3,	/* a transform of a range of a file; sealed */
	VB_BO_IMPORTED = 4,	/* a dma-buf (BO_IMPORT only) */
};

enum vb_bo_life {
	VB_LIFE_VOLATILE = 0,	/* lost with a lost device; later use is -EIO */
	VB_LIFE_DURABLE = 1,	/* fences wait until host or NVMe hold the result */
	VB_LIFE_SCRATCH = 2,	/* undefined between submissions, never moved */
};

/* How a derived object comes from its file range. */
enum vb_transform_kind {
	VB_TRANSFORM_NONE = 0,
	VB_TRANSFORM_PACK = 1,	/* [rows][cols] of src_format to dst_format */
};

/**
 * struct vb_transform - what makes a derived object
 * @kind: enum vb_transform_kind
 * @src_format: enum vb_format of the file range, row-major [rows][cols]
 * @dst_format: enum vb_format of the object, a packed one: of MXFP4 and MXFP4_SPLIT MXFP4_G16,
 *	of Q8_0 INT8_G16, of all others these two; also that of the source's own name
 * @scale_format: FP8: enum vb_format of the scales that its values are multiplied by, F32,
 *	F16, BF16, or U8: powers of two, E8M0 of OCP Microscaling Formats 1.0 (5.4.1), as the
 *	scales of MXFP4_SPLIT are; 0: it has none. Other source formats: 0
 * @rows: rows, 1 .. 2^32 - 1; matrices of a stack lie behind each other
 * @cols: columns, 1 .. 2^32 - 1
 * @stack: matrices in the range, 1 .. 2^32 - 1; each is packed by itself
 * @scale_rows: rows that share a scale, 1 .. 2^16 - 1; 0: all of a matrix; 0 without
 *	@scale_format
 * @scale_cols: columns that share a scale, 1 .. 2^16 - 1; 0: all; 0 without @scale_format
 * @scales_offset: split source formats and @scale_format: byte of the file where the scales
 *	begin, 0 .. its length, any alignment; else 0. Those of @scale_format lie row-major,
 *	[@stack][@rows / @scale_rows][@cols / @scale_cols], the last of a row and of a column
 *	for what is left
 */
struct vb_transform {
	__u16 kind;
	__u16 src_format;
	__u16 dst_format;
	__u16 scale_format;
	__u32 rows;
	__u32 cols;
	__u32 stack;
	__u16 scale_rows;
	__u16 scale_cols;
	__u64 scales_offset;
};

/**
 * struct vb_ioc_bo_create - ioctl(VB_IOC_BO_CREATE)
 * @size: sizeof(struct vb_ioc_bo_create)
 * @kind: enum vb_bo_kind, not VB_BO_IMPORTED
 * @life: enum vb_bo_life; must be VB_LIFE_VOLATILE for file and derived
 * @fd: file and derived: readable regular file or block device; anonymous: -1
 * @bytes: length, 1 .. VB_OBJECT_BYTES_MAX; derived: what the transform yields
 * @file_offset: file and derived: first byte of the source, 0 .. the file's length - 1,
 *	any alignment; else 0
 * @file_bytes: derived: bytes of the source range, at least 1: those that the transform
 *	reads; else 0
 * @transform: derived: how; else all zero
 * @out_bo_id: handle, never 0; valid in this file descriptor only
 * @out_head_bytes: file: bytes of the first chunk before the object's byte 0, 0 .. 4095
 *	(the chunk grid follows the file's 4 KiB blocks so that it can be read
 *	directly); else 0
 * @__reserved: must be 0
 *
 * Anonymous bytes are reserved against host and NVMe arenas here, never later.
 * The file is kept open; its (device, inode, size, change time) is recorded and
 * a later difference is -ESTALE.  A file system that is elsewhere is asked here, and not
 * again: later what is known of the file here counts.
 *
 * Module: file and derived objects of the same range of a file that still looks the
 * same, made in the same way, are one store, whoever asks: each request gives a handle
 * of its own, and chunks are there once.  A store is charged to one of the clients that
 * have handles, what is pinned and mapped to whoever does so.  VB_ADVISE_EVICT of a store
 * that others have handles of does nothing, and a client undoes its own pins only.
 * Several handles of one store may stand in one submission.
 *
 * Errors: -ENOSPC with nothing changed when the arenas cannot reserve; -EDQUOT;
 * -EBADF @fd; -EACCES @fd not readable; -ERANGE the range ends behind the file;
 * -EINVAL names no memory: kind, life or transform do not fit together; module: -ETIME a FUSE
 * server does not answer, and -EDQUOT when too many of a user's have not; what the file's own
 * system says when it is asked (-ENOTCONN: its server has gone).
 * Context: may sleep; takes the slot lock (stores: the client's and the BO's lock first).
 * Waits, when the arenas cannot reserve, for destroyed objects that the executor still has
 * to forget; for the file's system, where that is FUSE or stacked on others interruptibly and
 * within the device's own bound.
 */
struct vb_ioc_bo_create {
	__u32 size;
	__u16 kind;
	__u16 life;
	__s32 fd;
	__u32 out_bo_id;
	__u64 bytes;
	__u64 file_offset;
	__u64 file_bytes;
	struct vb_transform transform;
	__u32 out_head_bytes;
	__u32 __reserved;
};

/**
 * struct vb_ioc_bo_destroy - ioctl(VB_IOC_BO_DESTROY)
 * @size: sizeof(struct vb_ioc_bo_destroy)
 * @bo_id: handle
 *
 * The handle is gone at once; memory returns when the last submission, mapping
 * and export ends (loopback: mappings that are left end with the client).
 * Context: may sleep; takes the slot and the work lock (stores: the client's and the BO's
 * lock first); never waits.
 */
struct vb_ioc_bo_destroy {
	__u32 size;
	__u32 bo_id;
};

#define VB_BO_SEALED		(1u << 0)
#define VB_BO_EXPORTED		(1u << 1)
#define VB_BO_STALE		(1u << 2)	/* its file changed */

/**
 * struct vb_ioc_bo_info - ioctl(VB_IOC_BO_INFO)
 * @size: sizeof(struct vb_ioc_bo_info)
 * @bo_id: handle
 * @out_kind: enum vb_bo_kind
 * @out_life: enum vb_bo_life
 * @out_flags: VB_BO_*
 * @out_chunks: chunks, head included, 1 .. 2^30 + 1
 * @__reserved: 0
 * @out_bytes: length
 * @out_tier_bytes: bytes of chunks with a current copy, a tier
 * @out_dirty_bytes: of chunks whose only copy is newer than NVMe or source
 *
 * Context: takes the BO's lock; never waits.
 */
struct vb_ioc_bo_info {
	__u32 size;
	__u32 bo_id;
	__u16 out_kind;
	__u16 out_life;
	__u32 out_flags;
	__u32 out_chunks;
	__u32 __reserved;
	__u64 out_bytes;
	__u64 out_tier_bytes[VB_TIER_COUNT];
	__u64 out_dirty_bytes;
};

#define VB_MAP_READ		(1u << 0)
#define VB_MAP_WRITE		(1u << 1)

/**
 * struct vb_ioc_bo_map - ioctl(VB_IOC_BO_MAP)
 * @size: sizeof(struct vb_ioc_bo_map)
 * @bo_id: handle
 * @flags: VB_MAP_READ and/or VB_MAP_WRITE, at least one
 * @__reserved: must be 0
 * @offset: first byte
 * @bytes: length, at least 1, at most the rest of the object
 * @deadline_ns: CLOCK_MONOTONIC, or 0 for the device's own bound
 * @out_address: loopback: address of byte @offset; module: 0
 * @out_mmap_offset: module: where byte @offset lies in mmap() of the client node;
 *	a mapping begins at a multiple of the page size below it; loopback: 0.  Beyond what
 *	mmap2() of a 32-bit process takes, which has BO_READ and BO_WRITE
 *
 * Makes the chunks of the range resident in the host tier and keeps them there
 * until VB_IOC_BO_UNMAP with the same range.  Mappings nest, 2^16 - 1 of a chunk.
 * Writing makes copies in other tiers stale.
 *
 * Errors: -ERANGE; -EROFS write to a sealed object; -ENOSPC the host tier cannot hold the
 * range, or others were promised what it would take; -EDQUOT the maximum of the client or
 * its uid cannot hold it beside what is mapped (either: use BO_READ and BO_WRITE);
 * -EBUSY a device copy is being written, clients kept the slots that it needs for longer than
 * the executor waits, a chunk has as many mappings as there may be, or (loopback, which needs
 * adjacent slots) a part of the range is mapped where the rest cannot follow; -ETIME;
 * -EIO; -ESTALE; -ENODEV.
 * Context: takes the client's lock, the BO's lock, the slot lock; waits for page-in.
 */
struct vb_ioc_bo_map {
	__u32 size;
	__u32 bo_id;
	__u32 flags;
	__u32 __reserved;
	__u64 offset;
	__u64 bytes;
	__u64 deadline_ns;
	__u64 out_address;
	__u64 out_mmap_offset;
};

/**
 * struct vb_ioc_bo_unmap - ioctl(VB_IOC_BO_UNMAP)
 * @size: sizeof(struct vb_ioc_bo_unmap)
 * @bo_id: handle
 * @flags: as given to VB_IOC_BO_MAP
 * @__reserved: must be 0
 * @offset: as given to VB_IOC_BO_MAP
 * @bytes: as given to VB_IOC_BO_MAP
 *
 * Errors: -EINVAL no such mapping.
 * Context: takes the client's lock, the BO's lock, the slot lock; never waits.
 */
struct vb_ioc_bo_unmap {
	__u32 size;
	__u32 bo_id;
	__u32 flags;
	__u32 __reserved;
	__u64 offset;
	__u64 bytes;
};

/**
 * struct vb_ioc_bo_rw - ioctl(VB_IOC_BO_READ), ioctl(VB_IOC_BO_WRITE)
 * @size: sizeof(struct vb_ioc_bo_rw)
 * @bo_id: handle
 * @offset: first byte in the object, 0 .. its length
 * @bytes: length, 0 .. the rest of the object; 0 does nothing
 * @address: caller's memory, @bytes long
 * @deadline_ns: CLOCK_MONOTONIC, or 0 for the device's own bound on each page-in
 * @out_done_bytes: bytes moved; on an error, the bytes before it.  What lies behind them in
 *	memory that is read into is as it was, but for -EFAULT
 *
 * Streams chunk by chunk, so the object may be larger than the host tier.  A chunk is
 * kept in memory while it is copied, and not while @address is waited for (module).
 * Errors: as VB_IOC_BO_MAP; -EFAULT.
 * Context: takes the BO's lock, the slot lock; waits for page-in, chunk by chunk.
 */
struct vb_ioc_bo_rw {
	__u32 size;
	__u32 bo_id;
	__u64 offset;
	__u64 bytes;
	__u64 address;
	__u64 deadline_ns;
	__u64 out_done_bytes;
};

/**
 * struct vb_ioc_bo_seal - ioctl(VB_IOC_BO_SEAL)
 * @size: sizeof(struct vb_ioc_bo_seal)
 * @bo_id: handle of an anonymous BO; sealed objects stay sealed
 *
 * Errors: -EBUSY a writable mapping, a pin, or a queued submission that writes
 * it exists.  Context: takes the BO's lock, the work lock; never waits.
 */
struct vb_ioc_bo_seal {
	__u32 size;
	__u32 bo_id;
};

enum vb_advice {
	VB_ADVISE_PREFETCH = 1,	/* into the host tier, when room allows */
	VB_ADVISE_EVICT = 2,	/* out of host and device tiers */
	VB_ADVISE_PIN = 3,	/* into the host tier and keep; counts nest */
	VB_ADVISE_UNPIN = 4,
};

/**
 * struct vb_ioc_bo_advise - ioctl(VB_IOC_BO_ADVISE)
 * @size: sizeof(struct vb_ioc_bo_advise)
 * @bo_id: handle
 * @advice: enum vb_advice
 * @__reserved: must be 0
 * @offset: first byte
 * @bytes: length, at least 1, at most the rest of the object; widened to whole chunks
 * @out_bytes: bytes of chunks for which the advice took effect
 *
 * Errors: -EDQUOT a pin beyond the client's host minimum; -EINVAL UNPIN of a chunk of
 * the range that the client has not pinned, and none is unpinned; -EBUSY eviction met
 * pinned or mapped chunks (the others were evicted), or chunks that other clients share.
 * Context: takes the client's lock, the BO's lock, the slot lock, the work lock.  PIN and
 * EVICT wait for the executor; PREFETCH only queues, and is forgotten when the executor
 * dies.
 */
struct vb_ioc_bo_advise {
	__u32 size;
	__u32 bo_id;
	__u32 advice;
	__u32 __reserved;
	__u64 offset;
	__u64 bytes;
	__u64 out_bytes;
};

/**
 * struct vb_ioc_bo_residency - ioctl(VB_IOC_BO_RESIDENCY)
 * @size: sizeof(struct vb_ioc_bo_residency)
 * @bo_id: handle
 * @first_chunk: first chunk asked for, 0 .. out_chunks
 * @count: chunks asked for, all values; those that there are not are left out
 * @address: caller's memory for @count bytes, one a chunk: valid tiers in bits
 *	0-2 (1 << enum vb_tier), bit 3 dirty, bit 4 moving, bit 5 pinned or
 *	mapped, bit 6 lost
 * @out_count: bytes written, 0 .. @count
 * @__reserved: must be 0
 *
 * Errors: -ERANGE @first_chunk.
 * Context: takes the BO's lock a stretch of chunks at a time; never waits.  A deadly signal
 * ends it.
 */
struct vb_ioc_bo_residency {
	__u32 size;
	__u32 bo_id;
	__u32 first_chunk;
	__u32 count;
	__u64 address;
	__u32 out_count;
	__u32 __reserved;
};

/**
 * struct vb_ioc_bo_export - ioctl(VB_IOC_BO_EXPORT), a dma-buf (module only)
 * @size: sizeof(struct vb_ioc_bo_export)
 * @bo_id: handle
 * @flags: O_CLOEXEC; O_RDWR for a descriptor that can be written, mapped or by a device
 * @out_fd: dma-buf, as long as the object rounded up to whole pages
 *
 * The way to share an object between processes.  The dma-buf is a user of the object as a
 * handle is; the object stays charged to its creator until the last user has gone.
 *
 * VB_IOC_BO_IMPORT makes it a handle of the same object again; nothing is pinned by
 * that, nor by mmap() of @out_fd, which faults as mmap() of the node does.
 *
 * Another device attaches.  While it does, all chunks stay in host memory, pinned, within
 * the creator's VB_LIMIT_HOST_MIN, and nobody is waited for: the importing call says
 * -EBUSY when a chunk is not there (VB_IOC_BO_MAP of the whole object sees to that),
 * -EDQUOT beyond the minimum, -EROFS when it would write what is sealed or was
 * exported without O_RDWR, -EIO when the executor has taken the content with it.  Fences
 * of this device are never in a dma-buf: order the uses yourself.
 *
 * An imported object gives a descriptor of the dma-buf that it came from, whatever
 * O_RDWR says.
 *
 * Errors: -EINVAL a file object that does not begin at a page, or a @size that ends before
 * @out_fd; -EROFS O_RDWR of a sealed object; -EMFILE; -ENOMEM; -EOPNOTSUPP loopback, or a
 * kernel without dma-bufs.
 * Context: may sleep; takes the BO's lock, and drops it before any dma_buf_*() call,
 * which take dma_resv.
 */
struct vb_ioc_bo_export {
	__u32 size;
	__u32 bo_id;
	__u32 flags;
	__s32 out_fd;
};

/**
 * struct vb_ioc_bo_import - ioctl(VB_IOC_BO_IMPORT) (module only)
 * @size: sizeof(struct vb_ioc_bo_import)
 * @fd: dma-buf
 * @out_bo_id: handle
 * @__reserved: must be 0
 * @out_bytes: length
 *
 * A dma-buf of this device: a handle of the same object.  In the file that created it that
 * is the handle it has, if it still has one; else a handle more, to be destroyed by
 * itself.  Only a descriptor that can be written gives others an object that is not
 * sealed.
 *
 * Any other: an object of kind VB_BO_IMPORTED over the exporter's memory, which is
 * attached to and mapped for as long as the object lives and counts against
 * VB_LIMIT_BYTES_MAX.  One from a descriptor that cannot be written is sealed.  It has no
 * tiers: VB_IOC_BO_RESIDENCY and the table say 0, VB_IOC_BO_ADVISE and VB_IOC_BO_SEAL
 * say -EOPNOTSUPP, VB_IOC_MOVE -EINVAL.  VB_IOC_BO_MAP waits for nothing and mmap() is
 * the exporter's; VB_IOC_BO_READ and _WRITE say -EOPNOTSUPP when the exporter gives the
 * kernel no mapping.  Executors get the dma-buf from VB_IOC_OBJECT_OPEN, map it, and
 * put DMA_BUF_IOCTL_SYNC around each command that reads or writes it.
 *
 * Errors: -EBADF @fd is no dma-buf; -EACCES a dma-buf of this device that cannot be
 * written; -EDQUOT; -EINVAL too long; -EOPNOTSUPP loopback, or a kernel without dma-bufs;
 * what the exporter says.  Context: may sleep; attaches and maps under dma_resv, without
 * a lock of ours.
 */
struct vb_ioc_bo_import {
	__u32 size;
	__s32 fd;
	__u32 out_bo_id;
	__u32 __reserved;
	__u64 out_bytes;
};

/* ------------------------------------------------------------------------
 * Client node: queues, submissions, fences
 */

/**
 * struct vb_ioc_queue_create - ioctl(VB_IOC_QUEUE_CREATE)
 * @size: sizeof(struct vb_ioc_queue_create)
 * @weight: VB_QUEUE_WEIGHT_MIN..MAX, or 0 for the default: its part of the executor time
 *	of its client, which does not grow with the number of queues
 * @out_queue_id: handle, never 0
 * @out_number: the queue's number on the whole device, as executor, log and
 *	tracepoints name it
 *
 * Errors: -EDQUOT.  Context: may sleep; takes the work lock; never waits.
 */
struct vb_ioc_queue_create {
	__u32 size;
	__u32 weight;
	__u32 out_queue_id;
	__u32 out_number;
};

/**
 * struct vb_ioc_queue_destroy - ioctl(VB_IOC_QUEUE_DESTROY)
 * @size: sizeof(struct vb_ioc_queue_destroy)
 * @queue_id: handle
 *
 * Queued submissions end with -ECANCELED; a running one finishes at its next
 * panel and is discarded.  Context: may sleep; takes the work lock; never waits.
 */
struct vb_ioc_queue_destroy {
	__u32 size;
	__u32 queue_id;
};

#define VB_ACCESS_READ		(1u << 0)
#define VB_ACCESS_WRITE		(1u << 1)
#define VB_ACCESS_DISCARD	(1u << 2)	/* old content need not survive a re-run */

/**
 * struct vb_bo_ref - one BO of a submission
 * @bo_id: handle
 * @access: VB_ACCESS_READ and/or _WRITE, optionally with _DISCARD
 */
struct vb_bo_ref {
	__u32 bo_id;
	__u32 access;
};

/**
 * struct vb_fence - a point on a queue's timeline
 * @queue_id: handle of the caller's queue
 * @__reserved: must be 0
 * @seqno: submissions of that queue are numbered 1, 2, 3, ...
 */
struct vb_fence {
	__u32 queue_id;
	__u32 __reserved;
	__u64 seqno;
};

#define VB_SUBMIT_ASYNC		(1u << 0)	/* never run it on the submitting thread */

/**
 * struct vb_ioc_submit - ioctl(VB_IOC_SUBMIT)
 * @size: sizeof(struct vb_ioc_submit)
 * @queue_id: handle
 * @flags: VB_SUBMIT_*
 * @stream_bytes: length of the command buffer, sizeof(struct vb_stream_header) ..
 *	VB_STREAM_BYTES_MAX
 * @stream_address: struct vb_stream_header and commands; copied before return
 * @bos_address: array of struct vb_bo_ref; commands name them by index
 * @fences_address: array of struct vb_fence to wait for; 0 when none
 * @bo_count: entries, 0 .. VB_SUBMIT_BOS_MAX; an id may stand there once
 * @fence_count: entries, 0 .. VB_SUBMIT_FENCES_MAX
 * @deadline_ns: CLOCK_MONOTONIC; the work is stopped at the next panel and
 *	the fence ends with -ETIME; 0: none
 * @out_seqno: this submission's fence is (queue_id, out_seqno)
 *
 * The header and the BO list are checked here, the commands by the executor:
 * their errors come with the fence.  References are held until the fence ends;
 * nothing is pinned.  An in-fence that failed ends this fence with its error, and
 * the commands are never run; nor are they when the deadline passes before.
 * Fences of one queue signal in the order of their numbers.
 *
 * Errors: -ENOENT queue, BO or fence's queue; -EROFS write to a sealed BO;
 * -EDQUOT submissions in flight (VB_IOC_LIMIT says whether it is these), or (module) their
 * bytes: a user may hold as much of the submit region as it leaves free, or kernel memory
 * of the user; -ENOSPC the client's host share is below two
 * panels; -EINVAL header, duplicate BO, a fence of this queue at or after this
 * submission.  Context: copies from user space first; takes the BO's lock of objects whose
 * file changed, the slot lock, the work lock; never waits.
 */
struct vb_ioc_submit {
	__u32 size;
	__u32 queue_id;
	__u32 flags;
	__u32 stream_bytes;
	__u64 stream_address;
	__u64 bos_address;
	__u64 fences_address;
	__u32 bo_count;
	__u32 fence_count;
	__u64 deadline_ns;
	__u64 out_seqno;
};

/**
 * struct vb_ioc_wait - ioctl(VB_IOC_WAIT)
 * @size: sizeof(struct vb_ioc_wait)
 * @queue_id: handle
 * @seqno: a submission that was already made
 * @timeout_ns: until when, a point in time of CLOCK_MONOTONIC; 0 only looks, ~0 is without
 *	a bound
 * @out_status: 0, or the -errno with which the submission ended
 * @out_bad_command: index of the command to blame, or ~0
 * @out_busy_ns: executor time the submission took, transfers included
 * @__reserved: must be 0
 *
 * The results of the last submissions are kept, at least as many as were ever in
 * flight at once; of older ones only that nothing failed.
 *
 * Errors: -ETIME not signalled yet; -EINVAL never submitted; -ESTALE so old that
 * its result is not known any more, and one as old did fail.
 * Context: looks for some microseconds awake, then sleeps; takes the work lock to look.
 *
 * poll() on the client node (module only) says POLLIN while some queue has a fence that
 * ended and that nobody was told of.  Who is told of a fence, here or by a command of
 * io_uring, has heard of the earlier ones of its queue.
 */
struct vb_ioc_wait {
	__u32 size;
	__u32 queue_id;
	__u64 seqno;
	__u64 timeout_ns;
	__s32 out_status;
	__u32 out_bad_command;
	__u64 out_busy_ns;
	__u64 __reserved;
};

/**
 * struct vb_ioc_fence_eventfd - ioctl(VB_IOC_FENCE_EVENTFD)
 * @size: sizeof(struct vb_ioc_fence_eventfd)
 * @queue_id: handle
 * @seqno: as VB_IOC_WAIT
 * @fd: eventfd that gets 1 added when the fence ends (at once when it has)
 * @__reserved: must be 0
 *
 * Errors: -EBADF @fd; -EINVAL @fd is no eventfd, or @seqno was never submitted; -EDQUOT
 * VB_WAITS_MAX wait already (module).
 * Context: may sleep; takes the work lock; never waits.
 */
struct vb_ioc_fence_eventfd {
	__u32 size;
	__u32 queue_id;
	__u64 seqno;
	__s32 fd;
	__u32 __reserved;
};

/**
 * struct vb_range - bytes of a BO
 * @bo_id: handle
 * @__reserved: must be 0
 * @offset: first byte
 * @bytes: length, at least 1, at most the rest of the object
 */
struct vb_range {
	__u32 bo_id;
	__u32 __reserved;
	__u64 offset;
	__u64 bytes;
};

#define VB_SCHEDULE_CYCLE	(1u << 0)	/* after the last range comes the first */

/**
 * struct vb_ioc_schedule - ioctl(VB_IOC_SCHEDULE)
 * @size: sizeof(struct vb_ioc_schedule)
 * @flags: VB_SCHEDULE_*
 * @count: ranges, 0 .. VB_SCHEDULE_MAX; 0 forgets the schedule
 * @__reserved: must be 0
 * @ranges_address: array of struct vb_range in the order of their next use
 *
 * Replaces the client's schedule.  A hint: wrong schedules cost time only.
 *
 * Errors: -ENOENT; -ERANGE; -EDQUOT (module) it does not fit the user's share of the
 * submit region.
 * Context: copies first; takes the work lock; never waits.
 */
struct vb_ioc_schedule {
	__u32 size;
	__u32 flags;
	__u32 count;
	__u32 __reserved;
	__u64 ranges_address;
};

/* What can be limited; values in bytes unless said otherwise. */
enum vb_limit {
	VB_LIMIT_HOST_MIN = 1,	/* never taken by others; pins stay within it */
	VB_LIMIT_HOST_MAX = 2,
	VB_LIMIT_DEVICE_MIN = 3,
	VB_LIMIT_DEVICE_MAX = 4,
	VB_LIMIT_BYTES_MAX = 5,	/* anonymous and imported bytes, over all tiers */
	VB_LIMIT_SUBMISSIONS = 6,/* in flight, a count */
	VB_LIMIT_WEIGHT = 7,	/* of a client beside others, for executor time: as of a queue */
};

/**
 * struct vb_ioc_limit - ioctl(VB_IOC_LIMIT)
 * @size: sizeof(struct vb_ioc_limit)
 * @limit: enum vb_limit
 * @flags: VB_LIMIT_SET to change, else only asked; VB_LIMIT_USER: of a user
 * @uid: with VB_LIMIT_USER: whose, as the caller's user namespace knows it, 0 .. 2^32 -
 *	2; else must be 0
 * @value: with VB_LIMIT_SET, the new value: bytes, or a count, all values; ~0 is no
 *	limit, or no minimum of its own; WEIGHT: VB_QUEUE_WEIGHT_MIN..MAX; else must be
 *	0
 * @out_value: value in force: all values, as @value
 * @out_used: what counts against it now, in the unit of @value, 0 .. 2^63 - 1
 *
 * A client may lower its own; raising needs CAP_SYS_ADMIN (module), and so does a
 * minimum where none was set, unless its user was promised as much.  A limit
 * below what is used holds from the next charge on; nothing is taken back.
 *
 * The clients of one user (the effective uid that opened them; in user namespaces that
 * somebody other than root has made, the owner of the outermost of these) are charged
 * to it together: a charge must stay within the limits of both.  A user's limits are
 * set with CAP_SYS_ADMIN, whether it has clients or not, and stay until they are set
 * again; another user's are not shown without it (loopback: all clients are the
 * process's own user, there is no other, and the process sets its limits).
 *
 * Minima are promises: their sum fits the tier.  A user is promised what is set for
 * it, or the sum of what is set for its clients when that is more.  What is pinned or
 * mapped beyond promises may fill what is promised to nobody, and no more.
 * HOST_MIN of a client is an equal part of half of the host tier unless it is set; of
 * what promises leave when that is less; or of what its user was promised.
 *
 * WEIGHT is no charge: what a client gets of the executor's time is in proportion to it,
 * VB_QUEUE_WEIGHT_DEFAULT unless it is set.  Users have none.
 *
 * Errors: -EINVAL no such limit, no such uid, a @value without VB_LIMIT_SET, or no weight;
 * -ENOSPC a minimum that the tier cannot promise beside what others were promised, or
 * have pinned or mapped; -EPERM raising, or a user's limits, without privilege.
 * Context: takes the slot lock (submissions, weight: the work lock); never waits.  With
 * VB_LIMIT_USER it may sleep.
 */
struct vb_ioc_limit {
	__u32 size;
	__u32 limit;
	__u32 flags;
	__u32 uid;
	__u64 value;
	__u64 out_value;
	__u64 out_used;
};

#define VB_LIMIT_SET		(1u << 0)
#define VB_LIMIT_USER		(1u << 1)

/* Counters; one index each, never reused.  64-bit, never decreasing. */
enum vb_counter {
	VB_COUNT_SUBMITS = 0,
	VB_COUNT_COMMANDS = 1,
	VB_COUNT_ERRORS = 2,		/* fences that ended with an error */
	VB_COUNT_ACCESSES = 3,		/* chunk uses */
	VB_COUNT_HITS = 4,		/* found in the tier */
	VB_COUNT_READ_BYTES = 5,	/* from files and NVMe, for content, when begun */
	VB_COUNT_WRITE_BYTES = 6,	/* to the NVMe arena */
	VB_COUNT_EVICTIONS = 7,		/* chunks dropped or written out */
	VB_COUNT_BYPASSES = 8,		/* chunks used from staging only */
	VB_COUNT_PREFETCHES = 9,	/* chunks asked for ahead of use */
	VB_COUNT_PREFETCH_USED = 10,	/* of these, used */
	VB_COUNT_PREFETCH_LATE = 11,	/* of the used, not there in time */
	VB_COUNT_STALL_NS = 12,		/* executor waiting for bytes */
	VB_COUNT_BUSY_NS = 13,		/* executor working on commands, stalls included */
	VB_COUNT_CRC_ERRORS = 14,
	VB_COUNT_IO_ERRORS = 15,
	VB_COUNT_FALLBACKS = 16,	/* commands run on the CPU instead */
	VB_COUNT_DERIVE_NS = 17,	/* making chunks of derived objects */
	VB_COUNT_COPY_BYTES = 18,	/* between tiers and slots, I/O excluded */
	VB_COUNT_COUNT = 19,
};

/**
 * struct vb_ioc_stats - ioctl(VB_IOC_STATS)
 * @size: sizeof(struct vb_ioc_stats)
 * @count: entries wanted from 0, all values; those from VB_COUNT_COUNT on are filled
 *	with 0
 * @address: array of __u64
 *
 * Errors: -EFAULT.  Context: takes the work lock, and copies after; all are of one moment.
 */
struct vb_ioc_stats {
	__u32 size;
	__u32 count;
	__u64 address;
};

#define VB_IOC_QUERY_DEVICE	_IOWR(VB_IOC_MAGIC, 0x00, struct vb_ioc_query_device)
#define VB_IOC_QUERY_TIER	_IOWR(VB_IOC_MAGIC, 0x01, struct vb_ioc_query_tier)
#define VB_IOC_STATS		_IOWR(VB_IOC_MAGIC, 0x02, struct vb_ioc_stats)
#define VB_IOC_LIMIT		_IOWR(VB_IOC_MAGIC, 0x03, struct vb_ioc_limit)
#define VB_IOC_BO_CREATE	_IOWR(VB_IOC_MAGIC, 0x10, struct vb_ioc_bo_create)
#define VB_IOC_BO_DESTROY	_IOWR(VB_IOC_MAGIC, 0x11, struct vb_ioc_bo_destroy)
#define VB_IOC_BO_INFO		_IOWR(VB_IOC_MAGIC, 0x12, struct vb_ioc_bo_info)
#define VB_IOC_BO_MAP		_IOWR(VB_IOC_MAGIC, 0x13, struct vb_ioc_bo_map)
#define VB_IOC_BO_UNMAP		_IOWR(VB_IOC_MAGIC, 0x14, struct vb_ioc_bo_unmap)
#define VB_IOC_BO_READ		_IOWR(VB_IOC_MAGIC, 0x15, struct vb_ioc_bo_rw)
#define VB_IOC_BO_WRITE		_IOWR(VB_IOC_MAGIC, 0x16, struct vb_ioc_bo_rw)
#define VB_IOC_BO_SEAL		_IOWR(VB_IOC_MAGIC, 0x17, struct vb_ioc_bo_seal)
#define VB_IOC_BO_ADVISE	_IOWR(VB_IOC_MAGIC, 0x18, struct vb_ioc_bo_advise)
#define VB_IOC_BO_RESIDENCY	_IOWR(VB_IOC_MAGIC, 0x19, struct vb_ioc_bo_residency)
#define VB_IOC_BO_EXPORT	_IOWR(VB_IOC_MAGIC, 0x1a, struct vb_ioc_bo_export)
#define VB_IOC_BO_IMPORT	_IOWR(VB_IOC_MAGIC, 0x1b, struct vb_ioc_bo_import)
#define VB_IOC_QUEUE_CREATE	_IOWR(VB_IOC_MAGIC, 0x20, struct vb_ioc_queue_create)
#define VB_IOC_QUEUE_DESTROY	_IOWR(VB_IOC_MAGIC, 0x21, struct vb_ioc_queue_destroy)
#define VB_IOC_SUBMIT		_IOWR(VB_IOC_MAGIC, 0x22, struct vb_ioc_submit)
#define VB_IOC_WAIT		_IOWR(VB_IOC_MAGIC, 0x23, struct vb_ioc_wait)
#define VB_IOC_FENCE_EVENTFD	_IOWR(VB_IOC_MAGIC, 0x24, struct vb_ioc_fence_eventfd)
#define VB_IOC_SCHEDULE		_IOWR(VB_IOC_MAGIC, 0x25, struct vb_ioc_schedule)
/* 0x26 VB_IOC_CMDBUF_CREATE: reserved, validate once and submit many times */

/* ------------------------------------------------------------------------
 * Executor node
 */

/**
 * struct vb_ioc_exec_attach - ioctl(VB_IOC_EXEC_ATTACH)
 * @size: sizeof(struct vb_ioc_exec_attach)
 * @heartbeat_ms: how often the executor means to call while it has work: all values, and for
 *	who reads it; what an executor is killed for is the parameter executor_timeout_ms
 * @staging_bytes: host bytes it keeps for transfers: all values
 * @panel_bytes: most weight bytes it pins for one panel: all values
 * @out_generation: commits carry it; an older one gets -ESTALE
 * @out_state: VB_EXEC_LIVE, or VB_EXEC_RECOVERING: what its predecessor left is there,
 *	and VB_IOC_RECOVER comes before any work (module)
 * @out_lingering: executors that were silent and whose files are open still, with whatever else
 *	their processes have: locks, and pinned memory; 0 .. 2^32 - 1 (module)
 * @__reserved: must be 0
 *
 * Until this has succeeded every other request of the node is -EPERM.
 *
 * Errors: -EBUSY this file has attached already.  (A second executor gets no further than
 * open(), which is -EBUSY until the file of the first is released.)
 * Context: takes the executor lock, the work lock; never waits.
 */
struct vb_ioc_exec_attach {
	__u32 size;
	__u32 heartbeat_ms;
	__u64 staging_bytes;
	__u64 panel_bytes;
	__u32 out_generation;
	__u32 out_state;
	__u32 out_lingering;
	__u32 __reserved;
};

/* What holds the bytes of a device arena. */
enum vb_arena_memory {
	VB_ARENA_EXECUTOR = 0,	/* the executor's business */
	VB_ARENA_DMABUF = 1,	/* module: a dma-buf that the executor gives */
	VB_ARENA_BAR = 2,	/* module: BAR 2 of the PCI device bound to it, for tests */
	VB_ARENA_FILE = 3,	/* module: nvme: a file of the executor, to be read */
};

/**
 * struct vb_ioc_arena_create - ioctl(VB_IOC_ARENA_CREATE)
 * @size: sizeof(struct vb_ioc_arena_create)
 * @tier: enum vb_tier below VB_TIER_COUNT
 * @numa_node: node, 0 .. 2^31 - 1, or -1
 * @slots: 1 .. VB_ARENA_SLOTS_MAX
 * @out_arena: number in VB_LOC
 * @memory: enum vb_arena_memory; VB_ARENA_EXECUTOR for host; that or VB_ARENA_FILE for NVMe
 * @memory_fd: VB_ARENA_DMABUF: the dma-buf, slot n at byte n * chunk size; VB_ARENA_FILE: the
 *	file, slot n as many bytes behind @memory_offset; else 0
 * @out_cpu_path: device: enum vb_cpu_path that this memory gives clients
 * @out_cpu_reason: as in struct vb_ioc_query_tier
 * @memory_offset: VB_ARENA_FILE: 0 .. 2^32 - 4096, a multiple of 4096; else 0
 * @out_mmap_offset: VB_ARENA_BAR: mmap() it from the executor node; else 0
 * @identity: nvme: what tells these bytes from any others, written beside them, all
 *	values; 0: nobody else will find them, and no successor adopts the arena
 *
 * Host arenas get their slots by VB_IOC_REGION_ADD; the others are usable at
 * once, their bytes being the executor's business.
 *
 * With VB_ARENA_DMABUF the device attaches to the dma-buf and maps it for as long as the
 * arena is there, and clients have VB_CPU_COPY when the exporter gives the kernel a
 * mapping.  Its pages are never given to clients: the device could not tell whether one
 * of them still does I/O with a page of a slot that is to be reused.  With VB_ARENA_BAR it
 * can, and they have VB_CPU_MAP; the executor takes VB_MOVE_BEGIN from there as from
 * host memory, with its -EBUSY.
 *
 * With VB_ARENA_FILE the device opens the file anew and keeps it for as long as the arena is
 * there.  It only ever reads it, past the page cache, where that is possible, and for chunks
 * whose checksum was committed with them (VB_IOC_EXCHANGE, fill_count).
 *
 * Errors: -EDQUOT VB_ARENA_MAX arenas exist; -ENOSPC the memory has not so many slots;
 * -EBADF @memory_fd is no dma-buf, or not open to be read; -ENOENT no BAR is bound;
 * -EBUSY it is in use, or a client still does I/O with it; -EOPNOTSUPP loopback, or a
 * kernel that cannot; what the exporter says.
 * Context: may sleep (allocates the slot map; takes dma_resv before any lock of ours);
 * takes the executor lock, the slot lock.
 */
struct vb_ioc_arena_create {
	__u32 size;
	__u32 tier;
	__s32 numa_node;
	__u32 slots;
	__u32 out_arena;
	__u32 memory;
	__s32 memory_fd;
	__u32 out_cpu_path;
	__s32 out_cpu_reason;
	__u32 memory_offset;
	__u64 out_mmap_offset;
	__u64 identity[2];
};

/**
 * struct vb_ioc_region - ioctl(VB_IOC_REGION_ADD), ioctl(VB_IOC_REGION_REMOVE),
 *	ioctl(VB_IOC_REGION_NEXT)
 * @size: sizeof(struct vb_ioc_region)
 * @arena: host arena
 * @first_slot: first slot of the region; NEXT: out: of the one found
 * @slots: slots in it; NEXT: out: in the one found
 * @address: loopback: where the executor has it; module: 0
 * @out_mmap_offset: module: mmap() it from the executor node
 *
 * Its slots are free at once, also for the device itself (VB_IOC_EXCHANGE, fill_count): who
 * registers their memory with another device holds fills until that is done.
 * REGION_NEXT (module) looks for the first region that ends behind @first_slot, and
 * says where it begins, how long it is, and where to mmap() it: -ENOENT none.
 * Errors: -EEXIST a slot is in a region already; -EBUSY on removal while one is in
 * use, or while its bytes are promised to objects or as minima; -ENOMEM, module: also
 * while two executors that were silent have not left (out_lingering).
 * Context: may sleep (allocates folios before any lock); takes the executor lock, the
 * slot lock for the slots.
 */
struct vb_ioc_region {
	__u32 size;
	__u32 arena;
	__u32 first_slot;
	__u32 slots;
	__u64 address;
	__u64 out_mmap_offset;
};

enum vb_move_op {
	VB_MOVE_BEGIN = 1,	/* take a slot in @to, block refault, zap client PTEs */
	VB_MOVE_COMMIT = 2,	/* the copy is whole: @to becomes valid */
	VB_MOVE_ABORT = 3,	/* give the slot back, keep what was */
	VB_MOVE_DROP = 4,	/* give up the copy in @from; never the last authority */
	/* A command is about to write the copy in @to: others become stale, the chunk dirty. */
	VB_MOVE_WRITE = 5,
	/* The copy in @to came from its source by a COMMIT without checksum: it is @crc. */
	VB_MOVE_RECORD = 6,
};

#define VB_SLOT_ANY		0xffffffffu
#define VB_MOVE_F_CRC		(1u << 0)	/* COMMIT: @crc is to be recorded */
/* ABORT to NVMe: storage cannot keep the slot; it leaves its arena for good. */
#define VB_MOVE_F_BAD		(1u << 1)

/**
 * struct vb_move - one step of one chunk
 * @object: device-wide object id (from fetch)
 * @chunk: index
 * @op: enum vb_move_op
 * @from: enum vb_tier, VB_TIER_SOURCE or VB_TIER_ZERO
 * @to: enum vb_tier below VB_TIER_COUNT; may equal @from (another slot)
 * @flags: VB_MOVE_F_*
 * @arena: BEGIN: arena of @to
 * @slot: BEGIN: slot wanted, 0 .. VB_ARENA_SLOTS_MAX - 1, or VB_SLOT_ANY; out: slot
 *	taken
 * @crc: COMMIT with VB_MOVE_F_CRC, and RECORD: CRC32C of the content
 * @out_status: 0 or -errno of this step
 * @__reserved: must be 0
 *
 * BEGIN errors: -EBUSY pinned, mapped, moving, or foreign references on the
 * slot; -ENOSPC no slot free; -EEXIST the slot wanted is taken, or (module) was given
 * back while I/O of others still refers to it: try another one; -ESTALE object
 * gone; -EDQUOT the client is at VB_LIMIT_HOST_MAX: something of its own must go
 * first; or (module) its uid has no kernel memory left for the table.  COMMIT: -EINVAL no
 * such move runs; -ESTALE, -EIO the checksum is not the recorded one (nothing changes: ABORT
 * follows).  DROP: -EBUSY also for the last copy of content that is nowhere else.  RECORD:
 * -EINVAL it has no source, no copy there, or a checksum.  Any: -ESTALE no such object,
 * -ERANGE no such chunk.
 */
struct vb_move {
	__u32 object;
	__u32 chunk;
	__u8 op;
	__u8 from;
	__u8 to;
	__u8 flags;
	__u32 arena;
	__u32 slot;
	__u32 crc;
	__s32 out_status;
	__u32 __reserved;
};

/**
 * struct vb_ioc_move - ioctl(VB_IOC_MOVE), the executor's only way to change the table
 * @size: sizeof(struct vb_ioc_move)
 * @count: moves, taken in order, 0 .. 2^32 - 1
 * @address: array of struct vb_move; each gets its own out_status
 * @generation: from attach
 * @out_failed: moves whose out_status is not 0, 0 .. @count
 *
 * A chunk that the device itself brings (VB_IOC_EXCHANGE, fill_count) is on the move: BEGIN is
 * -EBUSY, and COMMIT and ABORT of what is not the caller's are -EINVAL.
 *
 * Context: may sleep (zapping); takes each BO's lock in turn, the slot lock; never waits.
 */
struct vb_ioc_move {
	__u32 size;
	__u32 count;
	__u64 address;
	__u32 generation;
	__u32 out_failed;
};

enum vb_fetch_type {
	VB_FETCH_SUBMIT = 1,	/* a command buffer to run */
	/*
	 * Make [chunk, chunk + count) resident in host, all of it at the moment of commit
	 * unless ASYNC; with VB_FETCH_F_CONTIGUOUS in adjacent slots.  What is on its way
	 * there already is waited for, and when that fails, this request fails with it.
	 * With VB_FETCH_F_FILLED the device has done that for one chunk, in a host slot that was
	 * free, for somebody who has gone on (VB_IOC_EXCHANGE, fill_count).
	 */
	VB_FETCH_PAGE_IN = 2,
	VB_FETCH_EVICT = 3,	/* move the range out of host and device */
	VB_FETCH_RECLAIM = 4,	/* free @count host slots */
	VB_FETCH_FORGET = 5,	/* the object is gone; drop every trace of it */
	VB_FETCH_SCHEDULE = 6,	/* client's schedule changed */
	/*
	 * Module: memory is short: empty the slots [chunk, chunk + count) of arena
	 * @out_object, a region, and remove it; or another one.
	 */
	VB_FETCH_DRAIN = 7,
};

/*
 * poll() on the executor node (module only): POLLIN when VB_IOC_FETCH would find work,
 * POLLPRI when it would with VB_FETCH_F_URGENT, POLLERR until the executor has attached.
 */

/*
 * Module: the executor maps the submit region here, read-only, before it fetches;
 * the addresses that VB_IOC_FETCH gives lie in that mapping.
 */
#define VB_MMAP_SUBMIT		(1ull << 62)
#define VB_MMAP_SUBMIT_BYTES	(16u << 20)

#define VB_FETCH_F_CONTIGUOUS	(1u << 0)
#define VB_FETCH_F_WRITE	(1u << 1)
#define VB_FETCH_F_CYCLE	(1u << 2)	/* SCHEDULE: cyclic */
#define VB_FETCH_F_ASYNC	(1u << 3)	/* nobody waits: a hint */
#define VB_FETCH_F_FILLED	(1u << 4)	/* PAGE_IN: the device has done it, nobody waits */
#define VB_FETCH_F_NOWAIT	(1u << 8)	/* caller: -EAGAIN instead of waiting */
#define VB_FETCH_F_URGENT	(1u << 9)	/* caller: anything but submissions */

/**
 * struct vb_exec_bo - a BO as the executor sees it
 * @object: device-wide object id
 * @access: VB_ACCESS_*
 */
struct vb_exec_bo {
	__u32 object;
	__u32 access;
};

/**
 * struct vb_ioc_fetch - ioctl(VB_IOC_FETCH); also what VB_URING_FETCH fills in
 * @size: sizeof(struct vb_ioc_fetch)
 * @flags: VB_FETCH_F_NOWAIT, VB_FETCH_F_URGENT; out: VB_FETCH_F_* of the request
 * @out_tag: names the request at commit
 * @out_type: enum vb_fetch_type
 * @out_client: client number, for log and fairness
 * @out_queue: SUBMIT: queue number, device-wide; else 0
 * @out_weight: SUBMIT: of the queue, VB_QUEUE_WEIGHT_MIN..MAX; else 0
 * @out_seqno: SUBMIT: of the submission; else 0
 * @out_deadline_ns: 0 none
 * @out_stream_address: SUBMIT: stream in the submit region, read-only
 * @out_stream_bytes: SUBMIT: its length, up to VB_STREAM_BYTES_MAX; else 0
 * @out_bo_count: SUBMIT: entries at @out_bos_address, 0 .. VB_SUBMIT_BOS_MAX; else 0
 * @out_bos_address: SUBMIT: struct vb_exec_bo; SCHEDULE: struct vb_range with object
 *	ids, @out_count of them
 * @out_object: PAGE_IN, EVICT, FORGET; DRAIN: the arena
 * @out_chunk: first chunk; DRAIN: first slot
 * @out_count: chunks, slots or ranges, 0 .. 2^30 + 1
 * @spin_ns: module: how long to look for work, awake, before sleeping: where a wake-up
 *	costs more than the work itself
 * @out_numa_node: PAGE_IN (module): node of the CPU that asked, where a slot would serve it
 *	best, 0 .. 2^31 - 1; else -1
 * @__reserved: must be 0
 *
 * Errors: -EAGAIN with VB_FETCH_F_NOWAIT; -ESHUTDOWN the device closes (loopback); -EPERM
 * the device is not LIVE, -EINVAL VB_MMAP_SUBMIT is not mapped (module).
 * Context: takes the work lock; waits for work.
 */
struct vb_ioc_fetch {
	__u32 size;
	__u32 flags;
	__u64 out_tag;
	__u32 out_type;
	__u32 out_client;
	__u32 out_queue;
	__u32 out_weight;
	__u64 out_seqno;
	__u64 out_deadline_ns;
	__u64 out_stream_address;
	__u32 out_stream_bytes;
	__u32 out_bo_count;
	__u64 out_bos_address;
	__u32 out_object;
	__u32 out_chunk;
	__u32 out_count;
	__u32 spin_ns;
	__s32 out_numa_node;
	__u32 __reserved;
};

/**
 * struct vb_ioc_commit - ioctl(VB_IOC_COMMIT); the request of @tag ended
 * @size: sizeof(struct vb_ioc_commit)
 * @generation: from attach
 * @tag: from fetch
 * @status: 0 or -errno for the fence or the waiter
 * @bad_command: index of the command to blame, or ~0
 * @busy_ns: time spent; of a submission clamped to wall time.  It counts against the part of
 *	the executor's time that the client has, whatever it was spent on
 *
 * Errors: -ENOENT no request has this tag (or it was committed); -ESTALE an old
 * generation; -EINVAL @status is no errno; -EBUSY not yet: success of a submission
 * that left a durable BO's content on a device alone, or FORGET of an object with
 * a move running.
 * Context: takes the work lock; may sleep (what ended is freed); never waits.
 */
struct vb_ioc_commit {
	__u32 size;
	__u32 generation;
	__u64 tag;
	__s32 status;
	__u32 bad_command;
	__u64 busy_ns;
};

#define VB_EXCHANGE_MAX		64u
#define VB_EXCHANGE_F_STOP	(1u << 31)	/* nobody sleeps in this call any more */
#define VB_EXCHANGE_F_HOLD_FILLS (1u << 30)	/* whatever @fill_count says, until ... */
#define VB_EXCHANGE_F_LET_FILLS	(1u << 29)	/* ... this */

/**
 * struct vb_ioc_exchange - ioctl(VB_IOC_EXCHANGE); commit and fetch, several of each (module
 *	only)
 * @size: sizeof(struct vb_ioc_exchange)
 * @flags: VB_FETCH_F_NOWAIT, VB_FETCH_F_URGENT as VB_IOC_FETCH; VB_EXCHANGE_F_STOP: ends
 *	those that sleep in this call, and all later ones as if with VB_FETCH_F_NOWAIT;
 *	VB_EXCHANGE_F_HOLD_FILLS: from now on the device takes no free slot by itself,
 *	until VB_EXCHANGE_F_LET_FILLS, or another executor attaches
 * @commits_address: array of struct vb_ioc_commit, each with the @size that it has here
 * @fetches_address: array of struct vb_ioc_fetch, filled from the first on
 * @commit_count: 0 .. VB_EXCHANGE_MAX
 * @fetch_count: 0 .. VB_EXCHANGE_MAX; 0: only commit
 * @out_committed: how many were taken, 0 .. @commit_count: one that is refused ends the
 *	call with its error, and nothing is fetched
 * @out_fetched: how many, 0 .. @fetch_count; 0 when it was not to sleep, or a signal
 *	came after something was committed or counted
 * @spin_ns: as VB_IOC_FETCH
 * @fill_count: until the next call the device may have so many chunks of files, or of an
 *	arena that is a file, in free host slots, or be reading them there, that the caller has
 *	not committed the VB_FETCH_F_FILLED of, 0 .. 2^32 - 1; 0: none; more than it can are as
 *	many as it can
 * @stats_address: a struct vb_ioc_exec_stats that is counted first, or 0
 *
 * One way into the kernel and back for each time that somebody waits: what ended is
 * committed, then all there is to do is taken, or slept for.
 *
 * Errors: those of VB_IOC_EXEC_STATS, VB_IOC_COMMIT and VB_IOC_FETCH but for -EAGAIN; -EINVAL
 * too many, or fills are to be held and let.
 * Context: as these; takes the slot lock.
 */
struct vb_ioc_exchange {
	__u32 size;
	__u32 flags;
	__u64 commits_address;
	__u64 fetches_address;
	__u32 commit_count;
	__u32 fetch_count;
	__u32 out_committed;
	__u32 out_fetched;
	__u32 spin_ns;
	__u32 fill_count;
	__u64 stats_address;
};

#define VB_CANCEL_NONE		0u
#define VB_CANCEL_CLIENT	1u	/* client or queue gone: result unwanted */
#define VB_CANCEL_DEADLINE	2u	/* stop at the next panel */

/**
 * struct vb_ioc_poll_cancel - ioctl(VB_IOC_POLL_CANCEL); also a heartbeat
 * @size: sizeof(struct vb_ioc_poll_cancel)
 * @out_cancel: VB_CANCEL_*
 * @tag: from fetch
 *
 * Errors: -ENOENT no request has this tag; -ESTALE one of an old generation.
 * Context: takes the work lock; never waits.
 */
struct vb_ioc_poll_cancel {
	__u32 size;
	__u32 out_cancel;
	__u64 tag;
};

/**
 * struct vb_ioc_object_open - ioctl(VB_IOC_OBJECT_OPEN); all about one object
 * @size: sizeof(struct vb_ioc_object_open)
 * @object: device-wide id
 * @out_kind: enum vb_bo_kind
 * @out_life: enum vb_bo_life
 * @out_flags: VB_BO_*
 * @out_fd: file and derived: the client's file, on the module opened anew: to be read
 *	only, past the page cache where its file system can, and where its server may never
 *	answer (FUSE) a file that stands for it: to open and to close it asks nobody, and who
 *	waits there can be killed; imported: the dma-buf, to be mapped; the caller closes it;
 *	else -1
 * @out_client: client number
 * @out_bytes: length
 * @out_file_offset: byte of the file where chunk 0 begins (file: rounded down to 4
 *	KiB), 0 .. 2^63 - 1
 * @out_file_bytes: derived: source bytes
 * @out_head_bytes: bytes of chunk 0 before the object's byte 0, 0 .. 4095
 * @out_chunks: entries of the table, 1 .. 2^30 + 1
 * @out_transform: derived
 * @out_table_address: loopback: struct vb_table_entry[out_chunks], read-only
 * @out_table_mmap: module: mmap() it from the executor node
 *
 * Errors: -ESTALE no such object (any more), or its file changed; -EMFILE; -EINVAL there is
 * a descriptor, and @size ends before @out_fd (module).
 * Context: may sleep (installs @out_fd after the last thing that can fail); takes the BO's
 * lock; never waits.
 */
struct vb_ioc_object_open {
	__u32 size;
	__u32 object;
	__u16 out_kind;
	__u16 out_life;
	__u32 out_flags;
	__s32 out_fd;
	__u32 out_client;
	__u64 out_bytes;
	__u64 out_file_offset;
	__u64 out_file_bytes;
	__u32 out_head_bytes;
	__u32 out_chunks;
	struct vb_transform out_transform;
	__u64 out_table_address;
	__u64 out_table_mmap;
};

/**
 * struct vb_ioc_exec_stats - ioctl(VB_IOC_EXEC_STATS); counters the executor keeps
 * @size: sizeof(struct vb_ioc_exec_stats)
 * @client: client number, or 0 for the device alone
 * @count: entries from 0, 0 .. VB_COUNT_COUNT
 * @__reserved: must be 0
 * @address: array of __u64, added to the device's (and the client's) counters;
 *	SUBMITS, ERRORS and BUSY_NS the device counts itself, and ignores here
 *
 * A client that is gone is no error: what it had done counts for the device.
 *
 * Errors: -EINVAL @count; -EFAULT.  Context: copies first; takes the work lock; never waits.
 */
struct vb_ioc_exec_stats {
	__u32 size;
	__u32 client;
	__u32 count;
	__u32 __reserved;
	__u64 address;
};

/*
 * When an executor dies (VB_FEATURE_RECOVERY, module only; the loopback's executor is a
 * thread of the client's process and dies with it: -EOPNOTSUPP).
 *
 * Once the last reference to its file is gone, or it was silent for too long and no call of it
 * runs, the device is QUIESCED.  Host arenas,
 * their regions and the tables stay.  Moves that ran are undone: the source is what it
 * was, and the slot that was being filled returns.  A host slot to which anybody still
 * refers (I/O of the dead may be on its way into it) is in quarantine until nobody does.
 * Chunks that only a device had are lost.  Requests that it had fetched wait again.  A
 * submission that it had fetched is run again by the successor when no BO that it reads
 * has lost a chunk and every BO that it writes is marked VB_ACCESS_DISCARD, but for one
 * that has ended 16 executors; else its fence ends with -EIO.
 * What counts is a death that may be its doing: the executor's process crashed, exited with
 * a status other than 0, was killed for its silence or for want of memory, or lives on and
 * has let go of its file.  One that others kill, or tell to leave, does not count, however
 * often.  After a death that counts submissions are handed out one at a time, until those
 * that the dead executor had have ended: nobody is blamed for what others did twice.
 * Clients submit, page in and wait as before, and their waits are killable; what is in
 * host memory is read, written and mapped meanwhile, until a successor attaches: from then
 * on who wants content waits for VB_IOC_RECOVER, because it may be damaged.  After
 * recovery_ms without a successor that is done, the device is FAILED: all that waits ends
 * with -ENODEV, and content that is not in a file is lost.
 *
 * A successor calls, in this order:
 *   VB_IOC_EXEC_ATTACH   out_state is VB_EXEC_RECOVERING
 *   VB_IOC_ARENA_QUERY   for 0, 1, 2, ... until -ENOENT: what there is
 *   VB_IOC_ARENA_ADOPT   for those that it goes on with
 *   VB_IOC_REGION_NEXT   for the regions of host arenas: map them, and register them
 *                        with all it wants to register them with, whole
 *   VB_IOC_OBJECT_NEXT   for the objects, when it wants to know them (any time)
 *   VB_IOC_SLOT_QUERY    for the slots, to know what is in them (any time)
 *   VB_IOC_RECOVER       the device is LIVE
 * Before the last, FETCH and MOVE are -EPERM; ARENA_CREATE and REGION_ADD are not, nor is a
 * VB_MOVE_DROP: what is damaged goes before clients read or map it again.  The
 * schedules of clients went with the predecessor.  One that dies before the last call
 * leaves the device QUIESCED again; recovery_ms goes on from the first death.
 */
#define VB_ARENA_ORPHAN		(1u << 0)	/* left by an executor, not adopted */
#define VB_ARENA_GONE		(1u << 1)	/* its memory went; the number may be used again */

/**
 * struct vb_ioc_arena_query - ioctl(VB_IOC_ARENA_QUERY)
 * @size: sizeof(struct vb_ioc_arena_query)
 * @arena: number in VB_LOC
 * @out_tier: enum vb_tier
 * @out_numa_node: node, 0 .. 2^31 - 1, or -1
 * @out_slots: as created; host: in regions, 0 .. VB_ARENA_SLOTS_MAX
 * @out_flags: VB_ARENA_*
 * @out_identity: as created: all values
 * @out_slots_elsewhere: host: in memory of another node, wholly or in part, because there
 *	was none of @out_numa_node: 0 .. @out_slots
 * @__reserved: must be 0
 *
 * Errors: -ENOENT no arena has this number, nor any higher one.
 * Context: takes the executor lock; looks at the memory of all slots.
 */
struct vb_ioc_arena_query {
	__u32 size;
	__u32 arena;
	__u32 out_tier;
	__s32 out_numa_node;
	__u32 out_slots;
	__u32 out_flags;
	__u64 out_identity[2];
	__u32 out_slots_elsewhere;
	__u32 __reserved;
};

#define VB_ADOPT_FORCE		(1u << 0)

/**
 * struct vb_ioc_arena_adopt - ioctl(VB_IOC_ARENA_ADOPT)
 * @size: sizeof(struct vb_ioc_arena_adopt)
 * @arena: an orphan
 * @flags: VB_ADOPT_*
 * @__reserved: must be 0
 * @identity: nvme: read from beside the bytes that the caller has, all values; host: 0
 *
 * Host: faults of clients wait from the attach until VB_IOC_RECOVER, and what they had
 * mapped is taken away here.
 *
 * Errors: -EBUSY somebody still refers to host memory: most often I/O of the dead, for
 * as long as it takes, or of a client.  For an nvme arena this speaks of host memory
 * too, out of which the dead may still write into its slots.  Try again; with
 * VB_ADOPT_FORCE the arena is adopted nevertheless: slots in quarantine get new memory
 * as far as some is found without effort, and none while two executors that were silent
 * have not left; a chunk in such a slot stays where it is until the next recovery, and who
 * adopts an nvme arena so answers for late writes.  Once a host arena has needed it the nvme
 * arena needs it as well, until the caller leaves: to try again is of no use then.
 * -ESTALE another identity, or none; -ENOENT no such orphan; -EINVAL device arenas are
 * never orphans; -EPERM not RECOVERING.
 * Context: takes the executor lock, each BO's lock in turn, the slot lock, the work lock;
 * may sleep; never waits.
 */
struct vb_ioc_arena_adopt {
	__u32 size;
	__u32 arena;
	__u32 flags;
	__u32 __reserved;
	__u64 identity[2];
};

/**
 * struct vb_ioc_object_next - ioctl(VB_IOC_OBJECT_NEXT)
 * @size: sizeof(struct vb_ioc_object_next)
 * @object: device-wide id to begin with, 0 .. 2^32 - 1
 * @out_object: the first id from there on that VB_IOC_OBJECT_OPEN may know
 * @__reserved: must be 0
 *
 * Errors: -ENOENT none.  Context: takes no lock but that of the table; never waits.
 */
struct vb_ioc_object_next {
	__u32 size;
	__u32 object;
	__u32 out_object;
	__u32 __reserved;
};

/**
 * struct vb_ioc_slot_query - ioctl(VB_IOC_SLOT_QUERY): what a slot of host memory holds
 * @size: sizeof(struct vb_ioc_slot_query)
 * @arena: adopted, or the caller's
 * @slot: slot of it, 0 .. VB_ARENA_SLOTS_MAX - 1
 * @out_object: device-wide id of who has it, or had it last when it is in quarantine; 0: it
 *	is free, or in quarantine and was never anybody's
 * @out_chunk: and which chunk
 * @__reserved: must be 0
 *
 * So that a successor takes time by the memory there is, and not by how large objects are.
 * The object's table says whether the chunk is there.
 *
 * Errors: -ENOENT no such slot.  Context: takes the executor lock, the slot lock; never waits.
 */
struct vb_ioc_slot_query {
	__u32 size;
	__u32 arena;
	__u32 slot;
	__u32 out_object;
	__u32 out_chunk;
	__u32 __reserved;
};

#define VB_RECOVER_DISCARD	(1u << 0)	/* begin anew: all that waits ends, all is lost */

/**
 * struct vb_ioc_recover - ioctl(VB_IOC_RECOVER); the successor goes on
 * @size: sizeof(struct vb_ioc_recover)
 * @flags: VB_RECOVER_*
 * @generation: from attach
 * @__reserved: must be 0
 *
 * Arenas that were not adopted go, with the copies in them: chunks that have no other
 * are LOST.  What the successor has registered now is what a slot is held to be free
 * with, so nothing is registered later.  With VB_RECOVER_DISCARD every arena goes, as
 * after recovery_ms, also those that the caller made.
 *
 * Errors: -ESTALE another generation; -EPERM not RECOVERING.
 * Context: takes the executor lock, each BO's lock in turn, the slot lock, the work lock;
 * may sleep; never waits.
 */
struct vb_ioc_recover {
	__u32 size;
	__u32 flags;
	__u32 generation;
	__u32 __reserved;
};

#define VB_IOC_EXEC_ATTACH	_IOWR(VB_IOC_MAGIC, 0x40, struct vb_ioc_exec_attach)
#define VB_IOC_ARENA_CREATE	_IOWR(VB_IOC_MAGIC, 0x41, struct vb_ioc_arena_create)
#define VB_IOC_REGION_ADD	_IOWR(VB_IOC_MAGIC, 0x42, struct vb_ioc_region)
#define VB_IOC_REGION_REMOVE	_IOWR(VB_IOC_MAGIC, 0x43, struct vb_ioc_region)
#define VB_IOC_MOVE		_IOWR(VB_IOC_MAGIC, 0x44, struct vb_ioc_move)
#define VB_IOC_FETCH		_IOWR(VB_IOC_MAGIC, 0x45, struct vb_ioc_fetch)
#define VB_IOC_COMMIT		_IOWR(VB_IOC_MAGIC, 0x46, struct vb_ioc_commit)
#define VB_IOC_POLL_CANCEL	_IOWR(VB_IOC_MAGIC, 0x47, struct vb_ioc_poll_cancel)
#define VB_IOC_OBJECT_OPEN	_IOWR(VB_IOC_MAGIC, 0x48, struct vb_ioc_object_open)
#define VB_IOC_EXEC_STATS	_IOWR(VB_IOC_MAGIC, 0x49, struct vb_ioc_exec_stats)
#define VB_IOC_ARENA_QUERY	_IOWR(VB_IOC_MAGIC, 0x4a, struct vb_ioc_arena_query)
#define VB_IOC_ARENA_ADOPT	_IOWR(VB_IOC_MAGIC, 0x4b, struct vb_ioc_arena_adopt)
#define VB_IOC_REGION_NEXT	_IOWR(VB_IOC_MAGIC, 0x4c, struct vb_ioc_region)
#define VB_IOC_OBJECT_NEXT	_IOWR(VB_IOC_MAGIC, 0x4d, struct vb_ioc_object_next)
#define VB_IOC_RECOVER		_IOWR(VB_IOC_MAGIC, 0x4e, struct vb_ioc_recover)
#define VB_IOC_EXCHANGE		_IOWR(VB_IOC_MAGIC, 0x4f, struct vb_ioc_exchange)
#define VB_IOC_SLOT_QUERY	_IOWR(VB_IOC_MAGIC, 0x50, struct vb_ioc_slot_query)

/* ------------------------------------------------------------------------
 * io_uring: IORING_OP_URING_CMD on the nodes, with VB_FEATURE_URING_CMD (module only)
 *
 * sqe->cmd_op is one of VB_URING_*, its structure lies at sqe->cmd: the first 16 bytes
 * are there in any ring, 80 in one made with IORING_SETUP_SQE128.  The structures are
 * copied once, when the command is issued; they have no @size, and grow by new commands.
 * cqe->res is the result: at least 0, or one of the errors above.
 *
 * Locks and waits: io_uring calls us under a lock of the ring.  There a command takes
 * spinlocks only and touches no memory of its caller; what needs more, SUBMIT, and COMMIT
 * of anything but a submission, must be marked IOSQE_ASYNC, which hands it to a worker
 * thread of the ring and costs a wake-up: else -EINVAL.  A command that waits holds its
 * node open and nothing else.  It ends with -ECANCELED when its ring is closed, its process
 * dies or its task calls exec(); kernels without IORING_URING_CMD_CANCELABLE (6.1) do
 * not tell us, and we look five times a second.  IORING_OP_ASYNC_CANCEL does not reach it.
 */

/**
 * struct vb_uring_wait - VB_URING_WAIT on the client node: a fence becomes a CQE
 * @queue_id: handle
 * @__reserved: must be 0
 * @seqno: as VB_IOC_WAIT
 *
 * Result: how the fence ended; -ENOENT no such queue; -EINVAL never submitted; -ESTALE
 * as VB_IOC_WAIT; -EDQUOT VB_WAITS_MAX wait already.  Fences that end together may be
 * reported in any order.
 */
struct vb_uring_wait {
	__u32 queue_id;
	__u32 __reserved;
	__u64 seqno;
};

/**
 * struct vb_uring_submit - VB_URING_SUBMIT on the client node: submit, and wait
 * @address: struct vb_ioc_submit; it and what it names stay as they are until the CQE
 * @__reserved: must be 0
 *
 * Result: what VB_IOC_SUBMIT would say, or -EDQUOT when VB_WAITS_MAX wait already: then
 * nothing was submitted; or, when it succeeded and out_seqno was written, how the fence
 * ended.  Of several at once, any may enter the queue first (out_seqno says which did);
 * IOSQE_IO_LINK makes one wait for the fence of the other.  A command that is cancelled leaves
 * what it has submitted alone.
 */
struct vb_uring_submit {
	__u64 address;
	__u64 __reserved;
};

/*
 * Where VB_URING_FETCH puts what it fetched: VB_URING_SLOTS of VB_URING_SLOT_BYTES, each
 * beginning with a struct vb_ioc_fetch, mapped read-only from the executor node.  A slot
 * is written only while a command that names it waits.
 */
#define VB_MMAP_FETCH		(VB_MMAP_SUBMIT + (1ull << 56))
#define VB_URING_SLOTS		512u
#define VB_URING_SLOT_BYTES	128u
#define VB_MMAP_FETCH_BYTES	(VB_URING_SLOTS * VB_URING_SLOT_BYTES)

/**
 * struct vb_uring_fetch - VB_URING_FETCH, VB_URING_DISARM on the executor node
 * @flags: VB_FETCH_F_NOWAIT, VB_FETCH_F_URGENT; DISARM: must be 0
 * @first: first slot to fill, 0 .. VB_URING_SLOTS - 1
 * @count: slots, at least 1, up to VB_URING_SLOTS - @first
 * @__reserved: must be 0
 *
 * FETCH waits until there is work, then takes as much of it as there is and fits, in the task
 * that issued the command: what a thread does not come to take, another one may.
 *
 * Result: slots filled; 0 with VB_FETCH_F_NOWAIT when there is nothing to do; -EPERM not
 * attached; -EINVAL the submit region is not mapped.
 *
 * DISARM ends what waits to fill slots of the range first, with -ECANCELED: before a
 * ring is closed by a process that goes on.  Result: how many; a FETCH that work has just
 * woken is none of them, and ends with that work or waits again.
 */
struct vb_uring_fetch {
	__u32 flags;
	__u32 first;
	__u32 count;
	__u32 __reserved;
};

/**
 * struct vb_uring_commit - VB_URING_COMMIT on the executor node, and fetch again (SQE128)
 * @fetch: what to fetch when the commit succeeded; all zero: nothing
 * @generation: this and the rest: as struct vb_ioc_commit
 * @status: 0 or -errno
 * @tag: from fetch
 * @bad_command: index of the command to blame, or ~0
 * @__reserved: must be 0
 * @busy_ns: time spent
 *
 * Result: as VB_URING_FETCH, or 0; an error of the commit, and then nothing was fetched;
 * -EINVAL also in a ring without IORING_SETUP_SQE128.
 */
struct vb_uring_commit {
	struct vb_uring_fetch fetch;
	__u32 generation;
	__s32 status;
	__u64 tag;
	__u32 bad_command;
	__u32 __reserved;
	__u64 busy_ns;
};

#define VB_URING_WAIT		_IOW(VB_IOC_MAGIC, 0x80, struct vb_uring_wait)
#define VB_URING_SUBMIT		_IOW(VB_IOC_MAGIC, 0x81, struct vb_uring_submit)
#define VB_URING_FETCH		_IOW(VB_IOC_MAGIC, 0xc0, struct vb_uring_fetch)
#define VB_URING_COMMIT		_IOW(VB_IOC_MAGIC, 0xc1, struct vb_uring_commit)
#define VB_URING_DISARM		_IOW(VB_IOC_MAGIC, 0xc2, struct vb_uring_fetch)

/* ------------------------------------------------------------------------
 * Command buffers: little-endian, versioned, at most VB_STREAM_BYTES_MAX
 */

#define VB_STREAM_MAGIC		0x31534256u	/* "VBS1" */
#define VB_STREAM_VERSION	1u

/**
 * struct vb_stream_header - opens a command buffer
 * @magic: VB_STREAM_MAGIC
 * @version: VB_STREAM_VERSION
 * @bytes: whole stream, this header included, a multiple of 8, up to
 *	VB_STREAM_BYTES_MAX
 * @commands: number of commands that follow, 0 .. 2^17 - 1
 * @__reserved: must be 0
 */
struct vb_stream_header {
	__u32 magic;
	__u32 version;
	__u32 bytes;
	__u32 commands;
	__u64 __reserved[2];
};

/* Numeric formats.  Packed row groups are 32 .. 47, row-major ones all others. */
enum vb_format {
	VB_FORMAT_NONE = 0,	/* operand absent, where that is allowed */
	VB_FORMAT_F32 = 1,
	VB_FORMAT_F16 = 2,
	VB_FORMAT_BF16 = 3,
	VB_FORMAT_I32 = 4,	/* indices */
	VB_FORMAT_U8 = 5,
	/* Sources of VB_TRANSFORM_PACK, no operands (yet): FP8, F64, blocks of GGUF. */
	VB_FORMAT_F8_E4M3 = 6,
	VB_FORMAT_F8_E5M2 = 7,
	VB_FORMAT_F64 = 8,
	VB_FORMAT_Q8_K = 9,
	VB_FORMAT_IQ1_S = 10,
	VB_FORMAT_IQ1_M = 11,
	VB_FORMAT_IQ2_XXS = 12,
	VB_FORMAT_IQ2_XS = 13,
	VB_FORMAT_TQ1_0 = 14,
	VB_FORMAT_TQ2_0 = 15,
	VB_FORMAT_MXFP4 = 16,	/* GGUF block_mxfp4, 17 bytes a 32 */
	VB_FORMAT_MXFP4_SPLIT = 17,/* gpt-oss: blocks here, scales in another operand */
	VB_FORMAT_Q8_0 = 18,	/* GGUF block_q8_0, 34 bytes a 32 */
	/* Other blocks of GGUF: operands where one of 34 .. 41 has their name, else sources. */
	VB_FORMAT_Q4_0 = 19,
	VB_FORMAT_Q4_1 = 20,
	VB_FORMAT_Q5_0 = 21,
	VB_FORMAT_Q5_1 = 22,
	VB_FORMAT_Q2_K = 23,
	VB_FORMAT_Q3_K = 24,
	VB_FORMAT_Q4_K = 25,
	VB_FORMAT_Q5_K = 26,
	VB_FORMAT_Q6_K = 27,
	VB_FORMAT_IQ4_NL = 28,
	VB_FORMAT_IQ4_XS = 29,
	VB_FORMAT_NVFP4 = 30,
	VB_FORMAT_IQ2_S = 31,
	VB_FORMAT_MXFP4_G16 = 32,/* groups of 16 rows, Documentation/kernels.md */
	VB_FORMAT_INT8_G16 = 33,
	/* Values and columns of the blocks of that name. */
	VB_FORMAT_Q4_0_G16 = 34,/* and INT4 with a scale for 32 columns */
	VB_FORMAT_Q4_1_G16 = 35,
	VB_FORMAT_Q5_0_G16 = 36,
	VB_FORMAT_Q5_1_G16 = 37,
	VB_FORMAT_Q4_K_G16 = 38,
	VB_FORMAT_Q5_K_G16 = 39,
	VB_FORMAT_Q6_K_G16 = 40,
	VB_FORMAT_NVFP4_G16 = 41,
	/* INT4: a scale, Z: and a zero point, for so many columns; of no transform (yet). */
	VB_FORMAT_INT4_64_G16 = 42,
	VB_FORMAT_INT4_128_G16 = 43,
	VB_FORMAT_INT4_Z32_G16 = 44,
	VB_FORMAT_INT4_Z64_G16 = 45,
	VB_FORMAT_INT4_Z128_G16 = 46,
	/* Sources again: blocks of GGUF, and FP4. */
	VB_FORMAT_IQ3_XXS = 48,
	VB_FORMAT_IQ3_S = 49,
	VB_FORMAT_Q1_0 = 50,
	VB_FORMAT_F4_E2M1 = 51,	/* two a byte, the first in the low nibble */
};

/**
 * struct vb_operand - where an array lies and what it looks like
 * @bo: index into the submission's BO list, 0 .. bo_count - 1; 0 with VB_FORMAT_NONE
 * @format: enum vb_format
 * @rank: dimensions used, 1 .. VB_OPERAND_RANK_MAX; 0 with VB_FORMAT_NONE
 * @__reserved: must be 0
 * @offset: of element 0, in bytes, 0 .. the length of the BO - 1; a multiple of an element,
 *	as outer strides are; blocks, and weights, scales and tables of row-major formats:
 *	any; packed ones: a multiple of 64
 * @shape: elements, outermost first, 1 .. 2^32 - 1; those from @rank on must be 0
 * @stride: bytes from one index to the next in each dimension, those of what one index
 *	holds .. 2^63 - 1, or 0: dense.  The innermost of an array is always dense, as
 *	are the rows of a packed format, and those of blocks
 */
struct vb_operand {
	__u32 bo;
	__u16 format;
	__u8 rank;
	__u8 __reserved;
	__u64 offset;
	__u32 shape[VB_OPERAND_RANK_MAX];
	__u64 stride[VB_OPERAND_RANK_MAX];
};

enum vb_opcode {
	VB_CMD_NOP = 0,
	VB_CMD_MATMUL = 1,
	VB_CMD_MATMUL_ID = 2,
	VB_CMD_ATTENTION = 3,
	VB_CMD_NORM = 4,
	VB_CMD_ROPE = 5,
	VB_CMD_ELTWISE = 6,
	VB_CMD_SOFTMAX = 7,
	VB_CMD_TOPK = 8,
	VB_CMD_GATHER = 9,
	VB_CMD_COPY = 10,
	VB_CMD_FILL = 11,
	VB_CMD_COMBINE = 12,
	VB_CMD_MATMUL_GATE = 13,
	VB_CMD_MATMUL_TRANSPOSED = 14,
	VB_CMD_COUNT = 15,
};

/**
 * struct vb_cmd_header - opens every command
 * @opcode: enum vb_opcode
 * @flags: must be 0
 * @bytes: of the command, this header included: sizeof its struct exactly
 */
struct vb_cmd_header {
	__u16 opcode;
	__u16 flags;
	__u32 bytes;
};

/* Numbers of these enums are those of the arithmetic in libvgpu. */
enum vb_mode {
	VB_MODE_F32 = 0,	/* activations as they are */
	VB_MODE_A16 = 1,	/* rounded to BF16 in groups of 32 */
	VB_MODE_A8 = 2,		/* int8 in groups of 32 along k */
	VB_MODE_A8_256 = 3,	/* int8 in groups of 256: less exact, faster with many rows */
	VB_MODE_COUNT
};

enum vb_unary {
	VB_UNARY_NONE = 0,	/* copy */
	VB_UNARY_GELU_ERF = 1,
	VB_UNARY_GELU_TANH = 2,
	VB_UNARY_SILU = 3,
	VB_UNARY_RELU = 4,
	VB_UNARY_SIGMOID = 5,
	VB_UNARY_TANH = 6,
	VB_UNARY_COUNT = 7,
};

enum vb_binary {
	VB_BINARY_ADD = 0,
	VB_BINARY_SUB = 1,
	VB_BINARY_MUL = 2,
	VB_BINARY_SWIGLU = 3,	/* silu(a) * b */
	VB_BINARY_GEGLU = 4,	/* gelu_tanh(a) * b */
	VB_BINARY_COUNT = 5,
};

/* Floats travel as the bits of IEEE 754 binary32, little-endian: "_f32". */

/**
 * struct vb_cmd_matmul - y = act(x w^T + bias) + residual
 * @h: opcode VB_CMD_MATMUL
 * @mode: enum vb_mode
 * @act: enum vb_unary
 * @x: F32 [m][k]
 * @w: weight [n][k]: F32, F16, BF16, MXFP4, MXFP4_SPLIT, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K,
 *	Q5_K, Q6_K, NVFP4 or a packed one; @k: whole blocks, of MXFP4_G16 and INT8_G16 any
 * @scales: VB_FORMAT_U8 [n][k / 32] with MXFP4_SPLIT, else NONE
 * @y: F32 [m][n]; must not overlap an input other than @residual itself
 * @bias: F32 [n] or NONE
 * @residual: F32 [m][n] or NONE
 */
struct vb_cmd_matmul {
	struct vb_cmd_header h;
	__u32 mode;
	__u32 act;
	struct vb_operand x;
	struct vb_operand w;
	struct vb_operand scales;
	struct vb_operand y;
	struct vb_operand bias;
	struct vb_operand residual;
};

/**
 * struct vb_cmd_matmul_transposed - y = x w, not x w^T
 * @h: opcode VB_CMD_MATMUL_TRANSPOSED
 * @x: F32 [m][n]
 * @w: weight [n][k], as of MATMUL
 * @scales: VB_FORMAT_U8 [n][k / 32] with MXFP4_SPLIT, else NONE
 * @y: F32 [m][k]; must not overlap an input
 *
 * The gradient of a product's activations from that of its result: dX = dY W.  Activations are
 * taken as they are.  A result is one FMA a row of @w, in ascending order, from +0 on.
 */
struct vb_cmd_matmul_transposed {
	struct vb_cmd_header h;
	struct vb_operand x;
	struct vb_operand w;
	struct vb_operand scales;
	struct vb_operand y;
};

/**
 * struct vb_cmd_matmul_gate - y = u + g(phi) du, du = act(x w^T + bias)
 * @h: opcode VB_CMD_MATMUL_GATE
 * @mode: enum vb_mode
 * @act: enum vb_unary
 * @gate: enum vb_unary: g(phi) = gate(add + mul cos phi)
 * @mul_f32: finite
 * @add_f32: finite
 * @__reserved: must be 0
 * @x: F32 [m][k]
 * @w: weight [n][k], as of MATMUL
 * @scales: U8 [n][k / 32] with MXFP4_SPLIT, else NONE
 * @y: F32 [m][n]; must not overlap an input
 * @bias: F32 [n] or NONE
 * @u: F32 [m][n]
 *
 * An update is let through by where it points: phi is the angle between a row of @u and that of
 * du, cos phi = u du / (|u| |du|), or 0 where one of them has no length.  NONE with 1/2 and 1/2 is
 * cos^2(phi / 2).  A row in which u or du is not finite becomes NaN.
 */
struct vb_cmd_matmul_gate {
	struct vb_cmd_header h;
	__u32 mode;
	__u32 act;
	__u32 gate;
	__u32 mul_f32;
	__u32 add_f32;
	__u32 __reserved;
	struct vb_operand x;
	struct vb_operand w;
	struct vb_operand scales;
	struct vb_operand y;
	struct vb_operand bias;
	struct vb_operand u;
};

/**
 * struct vb_cmd_matmul_id - y[i][t] = x[i][t] w[ids[i][t]]^T + bias[ids[i][t]]
 * @h: opcode VB_CMD_MATMUL_ID
 * @mode: enum vb_mode
 * @__reserved: must be 0
 * @x: F32 [m][k] (the same for every t) or [m][top][k]
 * @w: weight [experts][n][k], as of MATMUL
 * @scales: U8 [experts][n][k / 32] with MXFP4_SPLIT, else NONE
 * @ids: I32 [m][top]; read once, each checked against experts when it is read:
 *	one outside ends the command with -EINVAL
 * @y: F32 [m][top][n]
 * @bias: F32 [experts][n] or NONE
 *
 * Only the experts that @ids select are made resident.
 */
struct vb_cmd_matmul_id {
	struct vb_cmd_header h;
	__u32 mode;
	__u32 __reserved;
	struct vb_operand x;
	struct vb_operand w;
	struct vb_operand scales;
	struct vb_operand ids;
	struct vb_operand y;
	struct vb_operand bias;
};

#define VB_ATTENTION_CAUSAL	(1u << 0)	/* query i sees keys 0 .. i + kv - m */

/**
 * struct vb_cmd_attention - softmax(scale q k^T + mask) v, heads grouped
 * @h: opcode VB_CMD_ATTENTION
 * @flags: VB_ATTENTION_*
 * @window: how many keys back a query sees, 1 .. 2^32 - 1, or 0: all of them
 * @scale_f32: of q k^T; finite
 * @softcap_f32: 0 none, else softcap * tanh(s / softcap); finite
 * @q: F32 [m][heads][dim]
 * @k: F32, F16, BF16 or Q8_0 [kv][kv_heads][dim]; kv_heads divides heads; Q8_0: dim is a
 *	multiple of 32, and a stride from key to key of the 34 bytes of a block
 * @v: as @k, of its format
 * @mask: F32 [m][kv] added to the scores, or [1][kv] for all, or NONE
 * @out: F32 [m][heads][dim]
 */
struct vb_cmd_attention {
	struct vb_cmd_header h;
	__u32 flags;
	__u32 window;
	__u32 scale_f32;
	__u32 softcap_f32;
	struct vb_operand q;
	struct vb_operand k;
	struct vb_operand v;
	struct vb_operand mask;
	struct vb_operand out;
};

enum vb_norm { VB_NORM_LAYER = 0, VB_NORM_RMS = 1, VB_NORM_L2 = 2, VB_NORM_COUNT = 3 };

/**
 * struct vb_cmd_norm - normalise each row
 * @h: opcode VB_CMD_NORM
 * @kind: enum vb_norm; L2 divides by max(|x|_2, eps)
 * @eps_f32: at least 0, finite
 * @add_f32: RMS: added to gamma (Gemma uses 1), finite; else 0
 * @__reserved: must be 0
 * @x: F32 [m][n]
 * @gamma: F32 [n] or NONE
 * @beta: F32 [n] or NONE; NONE for RMS and L2
 * @y: F32 [m][n], may be @x itself
 */
struct vb_cmd_norm {
	struct vb_cmd_header h;
	__u32 kind;
	__u32 eps_f32;
	__u32 add_f32;
	__u32 __reserved;
	struct vb_operand x;
	struct vb_operand gamma;
	struct vb_operand beta;
	struct vb_operand y;
};

enum vb_rope { VB_ROPE_NEOX = 0, VB_ROPE_NORM = 1, VB_ROPE_COUNT = 2 };

/**
 * struct vb_cmd_rope - rotate heads by position
 * @h: opcode VB_CMD_ROPE
 * @kind: enum vb_rope: pairs (i, i + rot / 2), or (2 i, 2 i + 1)
 * @rot: columns of a head that rotate, even, 0 .. dim
 * @base_f32: above 0, finite
 * @freq_scale_f32: finite
 * @x: F32 [m][heads][dim]
 * @positions: I32 [m]; each read once, at least 0
 * @y: F32 as @x, may be @x itself
 */
struct vb_cmd_rope {
	struct vb_cmd_header h;
	__u32 kind;
	__u32 rot;
	__u32 base_f32;
	__u32 freq_scale_f32;
	struct vb_operand x;
	struct vb_operand positions;
	struct vb_operand y;
};

enum vb_eltwise { VB_ELTWISE_UNARY = 0, VB_ELTWISE_BINARY = 1, VB_ELTWISE_SCALE = 2,
		  VB_ELTWISE_COUNT = 3 };

/**
 * struct vb_cmd_eltwise - y = op(a) or op(a, b)
 * @h: opcode VB_CMD_ELTWISE
 * @kind: enum vb_eltwise
 * @op: enum vb_unary or enum vb_binary; SCALE: 0
 * @scale_f32: SCALE: the factor, all values; else 0
 * @__reserved: must be 0
 * @a: F32 [m][n]
 * @b: F32 [m][n] or [n] (repeated); NONE for UNARY and SCALE
 * @y: F32 [m][n], may be @a or @b itself
 */
struct vb_cmd_eltwise {
	struct vb_cmd_header h;
	__u32 kind;
	__u32 op;
	__u32 scale_f32;
	__u32 __reserved;
	struct vb_operand a;
	struct vb_operand b;
	struct vb_operand y;
};

/**
 * struct vb_cmd_softmax - each row: softmax(scale x + mask)
 * @h: opcode VB_CMD_SOFTMAX
 * @scale_f32: finite
 * @__reserved: must be 0
 * @x: F32 [m][n]
 * @mask: F32 [n] or [m][n], or NONE
 * @y: F32 [m][n], may be @x itself
 */
struct vb_cmd_softmax {
	struct vb_cmd_header h;
	__u32 scale_f32;
	__u32 __reserved;
	struct vb_operand x;
	struct vb_operand mask;
	struct vb_operand y;
};

/**
 * struct vb_cmd_topk - the largest of each row, descending, ties to the lower index
 * @h: opcode VB_CMD_TOPK
 * @x: F32 [m][n]
 * @values: F32 [m][top], top <= n
 * @indices: I32 [m][top]
 */
struct vb_cmd_topk {
	struct vb_cmd_header h;
	struct vb_operand x;
	struct vb_operand values;
	struct vb_operand indices;
};

/**
 * struct vb_cmd_gather - y[i] = table[ids[i]], decoded to F32
 * @h: opcode VB_CMD_GATHER
 * @table: weight [rows][k], as of MATMUL but for MXFP4_SPLIT
 * @ids: I32 [m]; read once, each checked against rows when it is read
 * @y: F32 [m][k]
 */
struct vb_cmd_gather {
	struct vb_cmd_header h;
	struct vb_operand table;
	struct vb_operand ids;
	struct vb_operand y;
};

/**
 * struct vb_cmd_copy - y = x, same shape; F32, F16, BF16, Q8_0 convert (nearest even)
 * @h: opcode VB_CMD_COPY
 * @x: any of F32, F16, BF16, Q8_0 (or equal formats I32, U8)
 * @y: as @x in shape; must not overlap @x
 *
 * Q8_0: rows are multiples of 32.  The scale of a block is max|x| / 127 as F16; one that holds a
 * NaN, or a magnitude of 127 * 65520 or more, becomes NaN as a whole.  From Q8_0 to Q8_0 bytes
 * are moved.
 */
struct vb_cmd_copy {
	struct vb_cmd_header h;
	struct vb_operand x;
	struct vb_operand y;
};

/**
 * struct vb_cmd_fill - y = value
 * @h: opcode VB_CMD_FILL
 * @value: F32: its bits; I32: the number; all values
 * @__reserved: must be 0
 * @y: F32 or I32
 */
struct vb_cmd_fill {
	struct vb_cmd_header h;
	__u32 value;
	__u32 __reserved;
	struct vb_operand y;
};

/**
 * struct vb_cmd_combine - y[i] = sum_t weights[i][t] x[i][t]
 * @h: opcode VB_CMD_COMBINE
 * @x: F32 [m][top][n]
 * @weights: F32 [m][top]
 * @y: F32 [m][n]; must not overlap
 *
 * The end of a mixture of experts, and pooling over tokens.  Adds in ascending t.
 */
struct vb_cmd_combine {
	struct vb_cmd_header h;
	struct vb_operand x;
	struct vb_operand weights;
	struct vb_operand y;
};

#endif /* _UAPI_LINUX_VBLACKWELL_H */

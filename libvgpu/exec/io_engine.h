/* SPDX-License-Identifier: MIT */
#ifndef VGPU_EXEC_IO_ENGINE_H
#define VGPU_EXEC_IO_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "clock.h"
#include "exec/io.h"

/*
 * Between io.c, which knows requests, io_attempt.c, which makes attempts of them, and the engines,
 * which know attempts.
 *
 * A request becomes one or more attempts, one at a time: a contiguous transfer, aligned as the
 * file wants it. A request is begun only while fewer than depth are in flight, and one more for
 * each that the engine allowed to be set aside. One whose attempt the engine has no room for waits
 * in the list of those not started. The engine answers each attempt that was started with exactly
 * one vgpu_io_attempt_done(), from its reap() only, on the caller's thread.
 */

/**
 * struct vgpu_io_file - a file of an engine
 * @fd: through the page cache, -1 when only O_DIRECT is to be had
 * @direct_fd: O_DIRECT, -1 when refused
 * @direct: attempts use @direct_fd
 * @block: block device
 * @lent: the descriptors are not the engine's to close
 * @remote: on no device of this machine: its transfers may block whoever starts them
 * @access: O_RDONLY, O_WRONLY or O_RDWR
 * @align: in bytes, 1 unless @direct
 * @command_bytes: block device: the most that a command of it moves; else 0
 * @users: requests with the engine that name it
 * @reason: for vgpu_io_file_get()
 */
struct vgpu_io_file {
	int fd;
	int direct_fd;
	bool direct;
	bool block, lent, remote;
	int access;
	uint32_t align, command_bytes;
	uint32_t users;
	char reason[VGPU_IO_REASON_BYTES];
};

/**
 * struct vgpu_io_region - memory of an engine
 * @addr: NULL when the entry is free
 * @bytes: length
 * @users: requests with the engine that name it
 * @first_slot: the engine's, first registered piece
 * @slots: pieces, 0 when not registered
 */
struct vgpu_io_region {
	void *addr;
	uint64_t bytes;
	uint32_t users;
	uint32_t first_slot;
	uint32_t slots;
};

/**
 * struct vgpu_io_attempt - one contiguous transfer
 * @req: whose
 * @file: number of the file
 * @fd: to use for it
 * @direct: @fd is O_DIRECT; else the range is dropped from the page cache behind the transfer
 * @write: to the file
 * @offset: in the file
 * @bytes: at least 1, at most VGPU_IO_ATTEMPT_MAX
 * @buf: memory
 * @region: number of the region that holds @buf, or -1
 */
struct vgpu_io_attempt {
	struct vgpu_io_req *req;
	uint32_t file;
	int fd;
	bool direct;
	bool write;
	uint64_t offset;
	uint32_t bytes;
	void *buf;
	int32_t region;
};

#define VGPU_IO_ATTEMPT_MAX	(1u << 30)

/**
 * struct vgpu_io_ops - one engine
 * @name: for struct vgpu_io_params.engine
 * @depth: default
 * @buffered: never opens files O_DIRECT
 * @open: set io->engine up and write io->reason; 0 or -errno
 * @close: free it; called with nothing in flight
 * @abandon: called instead of @close when attempts remain: stop what can be stopped, free nothing
 *	they need; may be NULL
 * @file_add: io->files[file] is new; 0 or -errno; may be NULL
 * @file_change: @direct of io->files[file] changed; may be NULL
 * @file_remove: io->files[file] goes; may be NULL
 * @region_add: register io->regions[index], or say in io->degraded why not; may be NULL
 * @region_register: what @region_add has left for later; may be NULL
 * @region_remove: undo; may be NULL
 * @set_aside: can one more than depth attempts be in flight?  NULL: always
 * @has_room: can it be begun now?  NULL: always
 * @start: begin an attempt; the engine keeps a copy
 * @flush: hand what was begun to the kernel; may be NULL
 * @reap: answer finished attempts, waiting at most timeout_ns (0 polls) for the first; 0 or
 *	-errno when the engine itself is broken
 * @cancel: try to end the attempt of a request early; it is still answered
 */
struct vgpu_io_ops {
	const char *name;
	uint32_t depth;
	bool buffered;
	int (*open)(struct vgpu_io *io, const struct vgpu_io_params *params);
	void (*close)(struct vgpu_io *io);
	void (*abandon)(struct vgpu_io *io);
	int (*file_add)(struct vgpu_io *io, uint32_t file);
	void (*file_change)(struct vgpu_io *io, uint32_t file);
	void (*file_remove)(struct vgpu_io *io, uint32_t file);
	void (*region_add)(struct vgpu_io *io, uint32_t index);
	void (*region_register)(struct vgpu_io *io, uint32_t index);
	void (*region_remove)(struct vgpu_io *io, uint32_t index);
	bool (*set_aside)(struct vgpu_io *io);
	bool (*has_room)(struct vgpu_io *io, const struct vgpu_io_attempt *attempt);
	void (*start)(struct vgpu_io *io, const struct vgpu_io_attempt *attempt);
	void (*flush)(struct vgpu_io *io);
	int (*reap)(struct vgpu_io *io, int64_t timeout_ns);
	void (*cancel)(struct vgpu_io *io, struct vgpu_io_req *req);
};

extern const struct vgpu_io_ops vgpu_io_uring_ops;
extern const struct vgpu_io_ops vgpu_io_threads_ops;
extern const struct vgpu_io_ops vgpu_io_buffered_ops;
extern const struct vgpu_io_ops vgpu_io_test_ops;

struct io_uring;
/**
 * vgpu_uring_restrict() - from now on a ring does transfers of files, and nothing else
 * @ring: made with IORING_SETUP_R_DISABLED; what is registered once is; enabled here
 *
 * A process may be forbidden by other means to open or to connect: its ring must not
 * do that for it.
 *
 * Return: 0; -errno.
 */
int vgpu_uring_restrict(struct io_uring *ring);

/* First in, first out; flight is doubly linked, the others use next only. */
struct vgpu_io_list {
	struct vgpu_io_req *head;
	struct vgpu_io_req *tail;
	uint32_t count;
};

/**
 * struct vgpu_io - an engine instance
 * @ops: which one
 * @engine: its own state
 * @depth: attempts in flight at once, beside those set aside
 * @aside: of @flight, those
 * @flags: struct vgpu_io_params.flags
 * @timeout_ns: deadline of a request
 * @pending: submitted, waiting for room, oldest first
 * @flight: started, oldest first, so deadlines ascend
 * @done: to be handed back
 * @unflushed: attempts were started since the last flush
 * @progress_ns: when anything last finished
 * @ahead_ns: how far vgpu_io_test_advance() has put the clock of the deadlines
 * @files: VGPU_IO_FILES_MAX pointers, NULL when free
 * @regions: VGPU_IO_REGIONS_MAX entries
 * @bounce: free bounce buffers, a stack
 * @bounce_memory: all of them, NULL before the first use
 * @bounce_count: how many exist, free or not
 * @bounce_free: entries of @bounce
 * @bounce_bytes: size of each
 * @stats: counters, and overdue
 * @reason: of the choice of engine
 * @degraded: what it has to do without, "" for nothing
 * @reason_lock: protects @reason_out, which is read beside whoever uses the engine
 * @reason_out: both, for the caller
 * @abandoned_next: list of engines that could not be freed
 */
struct vgpu_io {
	const struct vgpu_io_ops *ops;
	void *engine;
	uint32_t depth;
	uint32_t flags;
	uint64_t timeout_ns;
	struct vgpu_io_list pending;
	struct vgpu_io_list flight;
	uint32_t aside;
	struct vgpu_io_list done;
	bool unflushed;
	uint64_t progress_ns, ahead_ns;
	struct vgpu_io_file **files;
	struct vgpu_io_region *regions;
	void **bounce;
	void *bounce_memory;
	uint32_t bounce_count;
	uint32_t bounce_free;
	uint32_t bounce_bytes;
	struct vgpu_io_stats stats;
	char reason[VGPU_IO_REASON_BYTES];
	char degraded[VGPU_IO_REASON_BYTES];
	pthread_mutex_t reason_lock;
	char reason_out[2 * VGPU_IO_REASON_BYTES + 2];
	struct vgpu_io *abandoned_next;
};

/**
 * vgpu_io_attempt_done() - an attempt is over and nothing touches its buffer any more
 * @io: engine
 * @req: attempt->req
 * @res: bytes moved, 0 at end of file, or -errno
 *
 * Finishes the request or starts its next attempt.
 */
void vgpu_io_attempt_done(struct vgpu_io *io, struct vgpu_io_req *req, int32_t res);

/** vgpu_io_drop_behind() - keep a buffered transfer from staying in the page cache */
void vgpu_io_drop_behind(const struct vgpu_io_attempt *attempt);

/** vgpu_io_file_open() - fill @file in from a caller's descriptor; 0 or -errno */
int vgpu_io_file_open(struct vgpu_io_file *file, int fd, bool buffered);

/** vgpu_io_file_buffer() - use it through the page cache, as the engine asks */
void vgpu_io_file_buffer(struct vgpu_io_file *file);

/** vgpu_io_file_drop() - what readahead brought and nobody asked for goes from the page cache */
void vgpu_io_file_drop(const struct vgpu_io_file *file);

/** vgpu_io_file_close() - close what vgpu_io_file_open() opened */
void vgpu_io_file_close(struct vgpu_io_file *file);

/** vgpu_io_file_demote() - stop using O_DIRECT; false when there is no other way */
bool vgpu_io_file_demote(struct vgpu_io_file *file);

/** vgpu_io_reason_update() - make what io->reason and io->degraded say known to the caller */
void vgpu_io_reason_update(struct vgpu_io *io);

/* Between io.c, io_attempt.c, io_file.c and io_region.c: not for the engines ---------------- */

/** vgpu_io_req_finish() - @req, pending or in flight, is over: it can be reaped */
void vgpu_io_req_finish(struct vgpu_io *io, struct vgpu_io_req *req, int32_t result);

/** vgpu_io_req_put_back() - no room for its next attempt: the first of those that wait for some */
void vgpu_io_req_put_back(struct vgpu_io *io, struct vgpu_io_req *req);

/** vgpu_io_req_aligned() - can the file take all of it from where it lies? */
bool vgpu_io_req_aligned(const struct vgpu_io_req *req, const struct vgpu_io_file *file);

/** vgpu_io_attempt_begin() - start one of @req, which waits; false: no room or bounce buffer */
bool vgpu_io_attempt_begin(struct vgpu_io *io, struct vgpu_io_req *req);

/** vgpu_io_file_find() - NULL when @file is no file's number */
struct vgpu_io_file *vgpu_io_file_find(const struct vgpu_io *io, uint32_t file);

/** vgpu_io_file_forget() - vgpu_io_file_remove() of one that is there and not in use */
void vgpu_io_file_forget(struct vgpu_io *io, uint32_t file);

/** vgpu_io_region_holds() - does the region that @req names hold all of its buffer? */
bool vgpu_io_region_holds(const struct vgpu_io *io, const struct vgpu_io_req *req);

/** vgpu_io_region_forget() - vgpu_io_region_remove() of one that is there and not in use */
void vgpu_io_region_forget(struct vgpu_io *io, uint32_t index);

#endif

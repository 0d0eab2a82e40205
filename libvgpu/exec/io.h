/* SPDX-License-Identifier: MIT */
#ifndef VGPU_EXEC_IO_H
#define VGPU_EXEC_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Storage I/O of the executor: many reads and writes in flight, whichever way this machine does
 * them best.
 *
 * A caller opens an engine, adds files and (if it likes) memory regions, submits any number of
 * requests and reaps them in whatever order they finish. Everything else is the same for every
 * engine: transfers that stop short are continued, EINTR and EAGAIN are retried, what exceeds the
 * engine's depth waits in a list, every request has a deadline, and everything is counted.
 *
 * The rule that all the rest follows from: a request handed to vgpu_io_submit() belongs to the
 * engine, with its buffer, until vgpu_io_reap() hands it back. The kernel may write into the
 * buffer until then, also long after a deadline. So a late request is cancelled, reported by
 * vgpu_io_overdue(), and still handed back only when nothing can touch its buffer any more.
 *
 * Not done here: no ordering between requests, no fsync (the arena does not outlive the process
 * and checkpoints are only read), no checksums (crc32c.h), no choice of what to read.
 *
 * Context of everything below: one thread at a time an engine instance, serialised by the caller;
 * different instances are independent. VGPU_IO_ONE_THREAD promises that it is always the same
 * thread, which lets io_uring leave out locks.
 */

struct vgpu_io;

/* struct vgpu_io_req.flags */
#define VGPU_IO_WRITE		(1u << 0)	/* write @buf to the file; else read */

/**
 * struct vgpu_io_req - one transfer between a file and memory
 * @file: from vgpu_io_file_add()
 * @flags: VGPU_IO_WRITE or 0
 * @offset: first byte in the file
 * @bytes: length; 0 completes at once
 * @buf: memory, @bytes long
 * @buf_index: region that holds all of @buf, from vgpu_io_region_add(), or -1; only a hint for
 *	speed, never wrong to leave out
 * @late: out: the deadline passed before the request was handed back
 * @result: out: 0, or a negative errno: -EINVAL unknown file, alignment or overflow; -EBADF the
 *	file is not open for this direction; -ETIMEDOUT cancelled because of its deadline;
 *	-ECANCELED cancelled by vgpu_io_cancel(); else what the kernel said (-EIO, -ENOSPC, ...),
 *	-EIO for what it cancelled of its own accord too often
 * @done_bytes: out: bytes moved, in order from @offset; with @result 0 less than @bytes only when
 *	the file ended there; with an error, the bytes before it
 * @user: caller's cookie, never looked at
 * @next: list link; the caller's outside submit and reap, the engine's in between
 * @engine: the engine's, undefined to the caller
 *
 * @offset, @bytes and @buf are multiples of vgpu_io_file_align(). A read may break that rule when
 * the engine has bounce buffers (struct vgpu_io_params.bounce_buffers): it is then read in aligned
 * pieces and copied. A write may not.
 *
 * Reading past the end of file is how a tail is read from a direct file: ask for the aligned
 * length, @done_bytes says where the file ended; what lies behind it in @buf is undefined.
 */
struct vgpu_io_req {
	uint32_t file;
	uint32_t flags;
	uint64_t offset;
	uint64_t bytes;
	void *buf;
	int32_t buf_index;
	bool late;
	int32_t result;
	uint64_t done_bytes;
	uint64_t user;
	struct vgpu_io_req *next;

	struct {
		struct vgpu_io_req *prev;
		uint64_t deadline_ns;
		uint64_t attempt_offset;
		void *bounce;
		uint32_t attempt_bytes;
		uint16_t retries;
		uint8_t state;
		bool cancelled;
		bool bouncing;
		bool was_direct;
		bool exact;
		bool aside;
		bool hurried;
		bool split;
		bool whole;
		uint8_t pieces;
		uint8_t empty;
		uint32_t moved;
	} engine;
};

/* struct vgpu_io_params.flags */
#define VGPU_IO_ONE_THREAD	(1u << 0)	/* every call comes from the thread that opened */

/**
 * struct vgpu_io_params - how to open an engine
 * @engine: "auto" (or NULL): uring where it is allowed, else threads; "uring", "threads",
 *	"buffered", "test" take exactly that one or fail
 * @inner: engine that "test" wraps, NULL for "auto"; ignored by the others
 * @flags: VGPU_IO_ONE_THREAD or 0
 * @depth: transfers in flight at once, 1 to VGPU_IO_DEPTH_MAX; 0 for the engine's default
 * @timeout_ms: deadline of a request, 0 for VGPU_IO_TIMEOUT_MS. It runs from the moment the
 *	request is started; one still waiting in the engine's list expires when the engine has
 *	finished nothing for so long
 * @bounce_buffers: buffers for unaligned reads; 0 refuses them with -EINVAL
 * @bounce_bytes: size of each, rounded up to 4 KiB; 0 for 256 KiB. Allocated at the first
 *	unaligned read
 * @seed: of the "test" engine's random choices
 */
struct vgpu_io_params {
	const char *engine;
	const char *inner;
	uint32_t flags;
	uint32_t depth;
	uint32_t timeout_ms;
	uint32_t bounce_buffers;
	uint32_t bounce_bytes;
	uint64_t seed;
};

#define VGPU_IO_DEPTH_MAX	256u
#define VGPU_IO_TIMEOUT_MS	30000u
#define VGPU_IO_FILES_MAX	1024u
#define VGPU_IO_REGIONS_MAX	1024u
#define VGPU_IO_REASON_BYTES	256

/**
 * vgpu_io_open() - open an engine
 * @params: NULL for all defaults
 * @out: the engine
 *
 * Return: 0; -EINVAL for an unknown name or a depth out of range; -ENOMEM; the kernel's errno
 * when an engine asked for by name is not to be had (-EPERM, -ENOSYS: io_uring is forbidden).
 */
int vgpu_io_open(const struct vgpu_io_params *params, struct vgpu_io **out);

/**
 * vgpu_io_close() - cancel what is in flight, wait for it and free the engine
 * @io: NULL is fine
 *
 * Waits at most the deadline of a request. Requests that the kernel still holds then are
 * abandoned: their memory and buffers must never be reused or freed, since the kernel may write
 * to them at any time; the engine leaks what they need, and the process cannot end before they
 * do, unless what holds them (a FUSE server) is killed. Requests not reaped otherwise are the
 * caller's again without a result.
 *
 * Return: number of abandoned requests, 0 unless a device or file system does not answer.
 */
uint32_t vgpu_io_close(struct vgpu_io *io);

/* vgpu_io_file_add() */
#define VGPU_IO_FILE_BUFFERED	(1u << 0)	/* do not even try O_DIRECT */

/**
 * struct vgpu_io_file_info - how a file is reached
 * @direct: O_DIRECT; else through the page cache, dropped behind each transfer
 * @align: multiple that offset, bytes and buffer of a request must keep, in bytes; at least 1
 * @reason: why this way, one line
 */
struct vgpu_io_file_info {
	bool direct;
	uint32_t align;
	char reason[VGPU_IO_REASON_BYTES];
};

/**
 * vgpu_io_file_add() - make a file known to the engine
 * @io: engine
 * @fd: regular file or block device, open for what will be asked of it; stays the caller's and
 *	may be closed afterwards
 * @flags: VGPU_IO_FILE_BUFFERED or 0
 * @out_file: number to put into requests
 *
 * Reopens the file O_DIRECT through /proc/self/fd, so the caller's file status flags do not
 * change. Where that is refused (tmpfs, some FUSE, no /proc, no permission) the file is used
 * through the page cache and vgpu_io_file_get() says why. May block as open(2) may.
 *
 * Return: 0; -EBADF; -EISDIR or -ESPIPE when it is neither file nor block device; -EMFILE;
 * -ENOSPC when VGPU_IO_FILES_MAX files are known.
 */
int vgpu_io_file_add(struct vgpu_io *io, int fd, uint32_t flags, uint32_t *out_file);

struct vgpu_io_file;
/**
 * vgpu_io_file_prepare() - open a file for whichever engine will use it
 * @fd: as for vgpu_io_file_add()
 * @out: for vgpu_io_file_lend() and vgpu_io_file_release()
 *
 * All of vgpu_io_file_add() that may block, for as long as the file's server likes.
 *
 * Context: any thread, beside any engine.
 * Return: as vgpu_io_file_add().
 */
int vgpu_io_file_prepare(int fd, struct vgpu_io_file **out);

/** vgpu_io_file_release() - close it, when no engine has it; may block like close(2) */
void vgpu_io_file_release(struct vgpu_io_file *file);

/**
 * vgpu_io_file_lend() - make a prepared file known to the engine
 * @file: outlives its use there
 *
 * Does not block, nor does vgpu_io_file_remove() of it.
 * Return: as vgpu_io_file_add().
 */
int vgpu_io_file_lend(struct vgpu_io *io, const struct vgpu_io_file *file, uint32_t *out_file);

/**
 * vgpu_io_file_remove() - forget a file
 *
 * Return: 0, -EINVAL when unknown, -EBUSY while requests for it are with the engine.
 */
int vgpu_io_file_remove(struct vgpu_io *io, uint32_t file);

struct statx;
/**
 * vgpu_io_file_look() - type and identity of a file
 * @out: stx_mode, stx_ino, stx_dev_major, stx_dev_minor
 *
 * By what this kernel knows: a server that does not answer is not asked.
 * Return: 0 or -errno.
 */
int vgpu_io_file_look(int fd, struct statx *out);

/** vgpu_io_file_align() - alignment of requests for @file in bytes; 0 when unknown */
uint32_t vgpu_io_file_align(const struct vgpu_io *io, uint32_t file);

/** vgpu_io_file_get() - how @file is reached; -EINVAL when unknown */
int vgpu_io_file_get(const struct vgpu_io *io, uint32_t file, struct vgpu_io_file_info *out);

/**
 * vgpu_io_region_add() - make memory known, so that the kernel need not pin it a request
 * @io: engine
 * @addr: page aligned; must stay mapped until the region is removed
 * @bytes: multiple of the page size
 * @out_index: for struct vgpu_io_req.buf_index
 *
 * A long region is registered piece by piece as transfers meet it, and is brought in only so
 * far. Where registration is refused (RLIMIT_MEMLOCK) the region still works, unregistered;
 * vgpu_io_engine_reason() then ends with what was needed and what the limits are.
 *
 * Return: 0; -EINVAL; -ENOSPC when VGPU_IO_REGIONS_MAX regions are known.
 */
int vgpu_io_region_add(struct vgpu_io *io, void *addr, uint64_t bytes, int32_t *out_index);

/**
 * vgpu_io_region_register() - register all of a region now: its memory is there anyway,
 * and whoever counts its references wants them to stay as they are
 */
void vgpu_io_region_register(struct vgpu_io *io, int32_t index);

/**
 * vgpu_io_region_remove() - forget memory
 *
 * Return: 0, -EINVAL when unknown, -EBUSY while requests that name it are with the engine.
 */
int vgpu_io_region_remove(struct vgpu_io *io, int32_t index);

/**
 * vgpu_io_submit() - hand requests to the engine
 * @io: engine
 * @list: linked through @next, any length; in this order where the engine has an order, but
 *	for those in a hurry
 *
 * Never blocks for a transfer. Cannot fail: a request that is refused comes back from
 * vgpu_io_reap() with its error.
 */
void vgpu_io_submit(struct vgpu_io *io, struct vgpu_io_req *list);

/**
 * vgpu_io_reap() - take finished requests back
 * @io: engine
 * @min: wait for so many (or until none is with the engine); 0 polls
 * @max: take at most so many, at least @min, at least 1
 * @timeout_ns: wait at most so long; negative waits for ever, which is safe only because
 *	deadlines pass, and not against a device that never answers
 * @out: list linked through @next in order of completion, NULL when none
 *
 * Also checks deadlines, so call it now and then while anything is in flight.
 *
 * Return: number of requests in @out, which may be less than @min; -EINVAL; or the engine's own
 * failure, after which only vgpu_io_close() makes sense.
 */
int vgpu_io_reap(struct vgpu_io *io, uint32_t min, uint32_t max, int64_t timeout_ns,
		 struct vgpu_io_req **out);

/**
 * vgpu_io_cancel() - ask for a request to finish early
 *
 * It is handed back by vgpu_io_reap() as ever, with -ECANCELED if the cancellation came in time
 * and with its own result if not. Does nothing for a request that is already done.
 */
void vgpu_io_cancel(struct vgpu_io *io, struct vgpu_io_req *req);

/**
 * vgpu_io_overdue() - which requests passed their deadline and cannot be taken back
 * @io: engine
 * @out: the longest overdue first, at most @max; read @user, touch nothing else
 * @max: room in @out
 *
 * These are the requests whose waiters should be failed with -ETIMEDOUT now, and whose buffers
 * stay quarantined until vgpu_io_reap() hands them back, marked @late.
 *
 * Return: how many there are, also beyond @max.
 */
uint32_t vgpu_io_overdue(struct vgpu_io *io, struct vgpu_io_req **out, uint32_t max);

/**
 * vgpu_io_set_aside() - a request takes very long: others are started in its place
 *
 * It stays with the engine as ever, but does not count for the depth any more.  Does nothing
 * for one that is not in flight, or when the engine cannot have more.
 */
void vgpu_io_set_aside(struct vgpu_io *io, struct vgpu_io_req *req);

/**
 * vgpu_io_hurry() - somebody waits for a request
 *
 * It is started before all that nobody was said to wait for.  Does nothing for one that was
 * started.
 */
void vgpu_io_hurry(struct vgpu_io *io, struct vgpu_io_req *req);

/** vgpu_io_engine_name() - "uring", "threads", "buffered" or "test"; valid as long as @io */
const char *vgpu_io_engine_name(const struct vgpu_io *io);

/**
 * vgpu_io_engine_reason() - one line: why this engine, and what it had to do without
 * @io: engine, open; unlike for all other calls another thread may be using it
 * @text: filled, terminated, cut to @len bytes
 *
 * Return: as snprintf().
 */
int vgpu_io_engine_reason(struct vgpu_io *io, char *text, size_t len);

/**
 * struct vgpu_io_stats - counters since open; the last four are the present state
 * @read_bytes: bytes that arrived in callers' buffers
 * @write_bytes: bytes taken from callers' buffers
 * @device_read_bytes: the same with what alignment and bounce buffers read in excess
 * @requests: handed back
 * @errors: of those with a result below 0
 * @retries: attempts repeated for EINTR, EAGAIN or a file that turned out not to do O_DIRECT
 * @short_transfers: attempts that stopped short and were continued
 * @timeouts: deadlines passed
 * @bounced: requests read through bounce buffers
 * @in_flight: started, not finished
 * @max_in_flight: the most there ever were
 * @queued: waiting for room
 * @overdue: see vgpu_io_overdue()
 */
struct vgpu_io_stats {
	uint64_t read_bytes;
	uint64_t write_bytes;
	uint64_t device_read_bytes;
	uint64_t requests;
	uint64_t errors;
	uint64_t retries;
	uint64_t short_transfers;
	uint64_t timeouts;
	uint64_t bounced;
	uint32_t in_flight;
	uint32_t max_in_flight;
	uint32_t queued;
	uint32_t overdue;
};

/** vgpu_io_stats_get() - copy the counters */
void vgpu_io_stats_get(const struct vgpu_io *io, struct vgpu_io_stats *out);

/* Probe ---------------------------------------------------------------------------------- */

#define VGPU_IO_PROBE_MAX	16
/* Turns of a probe: its bytes are divided by so many. */
#define VGPU_IO_PROBE_TURNS	12

/**
 * struct vgpu_io_probe_row - one engine at one chunk size and depth
 * @engine: name for struct vgpu_io_params.engine
 * @direct: it read with O_DIRECT
 * @depth: transfers in flight
 * @chunk_bytes: size of each
 * @bytes: read in all
 * @ns: time it took
 * @gbps: 1e9 bytes a second, 0 when it could not be measured
 */
struct vgpu_io_probe_row {
	const char *engine;
	bool direct;
	uint32_t depth;
	uint32_t chunk_bytes;
	uint64_t bytes;
	uint64_t ns;
	double gbps;
};

/**
 * struct vgpu_io_probe_result - what vgpu_io_probe() found
 * @rows: measured combinations
 * @best: index of the fastest row
 * @count: rows filled
 * @reason: one line with the best and the best of each other engine
 */
struct vgpu_io_probe_result {
	struct vgpu_io_probe_row rows[VGPU_IO_PROBE_MAX];
	uint32_t best;
	uint32_t count;
	char reason[VGPU_IO_REASON_BYTES];
};

/**
 * vgpu_io_probe() - measure which engine reads this file fastest
 * @fd: readable regular file or block device
 * @chunk_bytes: size of the transfers to be made, 4 KiB to 64 MiB, power of two
 * @bytes_limit: most bytes to read in all; each combination gets an equal part, in short turns
 *	interleaved with the others, so that a drifting disk treats them alike; one that keeps
 *	more transfers in flight than a turn has is left out
 * @out: result; filled as far as it got
 *
 * The page cache does not take part: the ranges are dropped before they are read, and those that
 * stay resident (dirty, mapped by another process, tmpfs) are not used for buffered figures.
 *
 * Return: 0; -EINVAL; -ENODATA when the file or @bytes_limit is too short to measure anything
 * (a transfer for each combination); else the first I/O error.
 */
int vgpu_io_probe(int fd, uint32_t chunk_bytes, uint64_t bytes_limit,
		  struct vgpu_io_probe_result *out);

typedef int (*vgpu_io_measure_fn)(int fd, uint32_t chunk_bytes, uint64_t bytes_limit,
				  struct vgpu_io_probe_result *out);

/**
 * struct vgpu_io_candidate - an engine that is measured
 * @engine: what its rows say
 * @depth: transfers in flight
 * @open: how it is opened; NULL: vgpu_io_open() of that name and depth
 */
struct vgpu_io_candidate {
	const char *engine;
	uint32_t depth;
	int (*open)(const struct vgpu_io_candidate *c, struct vgpu_io **out);
};

/**
 * vgpu_io_probe_among() - vgpu_io_probe() with other engines than those there are
 * @list: [count], outlives @out; at most VGPU_IO_PROBE_MAX
 */
int vgpu_io_probe_among(const struct vgpu_io_candidate *list, uint32_t count, int fd,
			uint32_t chunk_bytes, uint64_t bytes_limit,
			struct vgpu_io_probe_result *out);

/* The engine "test" ---------------------------------------------------------------------- */

enum vgpu_io_fault_kind {
	VGPU_IO_FAULT_ERROR = 1,	/* fail with @error, nothing is transferred */
	VGPU_IO_FAULT_SHORT,		/* move at most @bytes of this attempt, then continue */
	VGPU_IO_FAULT_DELAY,		/* finish @delay_ns late */
	VGPU_IO_FAULT_NEVER,		/* do not start, ignore cancellation, see _test_release() */
	VGPU_IO_FAULT_FLIP,		/* flip one seeded bit of what was read, report success */
};

/**
 * struct vgpu_io_fault - one rule of the engine "test"
 * @kind: what to do
 * @error: negative errno for VGPU_IO_FAULT_ERROR
 * @writes: applies to writes; else to reads
 * @first: attempts that touch bytes @first to @last of any file match; @last 0 means all
 * @last: inclusive
 * @skip: let so many matching attempts pass first
 * @count: then apply to so many; 0 for all
 * @one_in: of those take one in so many, at random; 0 and 1 for each
 * @bytes: for VGPU_IO_FAULT_SHORT
 * @delay_ns: for VGPU_IO_FAULT_DELAY
 *
 * Rules are tried in the order they were added; the first that applies is used.
 */
struct vgpu_io_fault {
	enum vgpu_io_fault_kind kind;
	int32_t error;
	bool writes;
	uint64_t first;
	uint64_t last;
	uint64_t skip;
	uint64_t count;
	uint32_t one_in;
	uint64_t bytes;
	uint64_t delay_ns;
};

/** vgpu_io_test_add() - add a rule; -EINVAL when @io is not a test engine, -ENOSPC beyond 64 */
int vgpu_io_test_add(struct vgpu_io *io, const struct vgpu_io_fault *fault);

/** vgpu_io_test_clear() - drop all rules; what they hold stays held */
int vgpu_io_test_clear(struct vgpu_io *io);

/** vgpu_io_test_reorder() - hand completions out in a random order among up to @window; 0 stops */
int vgpu_io_test_reorder(struct vgpu_io *io, uint32_t window);

/** vgpu_io_test_release() - really start what VGPU_IO_FAULT_NEVER holds: the late transfer */
int vgpu_io_test_release(struct vgpu_io *io);

/**
 * vgpu_io_test_advance() - let time pass for the deadlines of an engine
 * @ns: added to its clock, for good
 *
 * Tests of deadlines need not guess how long anything takes.
 * Return: 0; -EINVAL when @io is not a test engine.
 */
int vgpu_io_test_advance(struct vgpu_io *io, uint64_t ns);

/** vgpu_io_test_hits() - how many attempts any rule was applied to */
uint64_t vgpu_io_test_hits(const struct vgpu_io *io);

#endif

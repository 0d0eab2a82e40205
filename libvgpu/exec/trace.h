/* SPDX-License-Identifier: MIT */
/*
 * trace: what the residency engine did, one record an event, for `vbctl replay`
 *
 * A trace is a file or a stream: one header, then records until the end. Everything is
 * little-endian and of fixed size, so a trace can be cut, counted and indexed without
 * being read; a record costs a copy of 16 bytes to write.
 *
 *	header, 64 bytes
 *	 0  u8[8]   magic        "VGPUTRC\n"
 *	 8  u32     version      1
 *	12  u32     header_bytes 64
 *	16  u32     record_bytes 16
 *	20  u32     capacity     chunks that the tier may retain
 *	24  u32     staging      staging slots beside them
 *	28  u32     reserved     0
 *	32  u64     chunk_bytes  power of two, 64 KiB to 2 MiB
 *	40  u8[16]  policy       name, padded with zeros, at least one
 *	56  u8[8]   reserved     0
 *
 *	record, 16 bytes
 *	 0  u64     key          vgpu_policy_key(); never VGPU_POLICY_NONE
 *	 8  u32     wait_us      microseconds that the use waited for the chunk; of other events 0
 *	12  u8      event        enum vgpu_trace_event
 *	13  u8      flags        VGPU_ACCESS_* of an access, else 0
 *	14  u16     reserved     0
 *
 * Accesses appear in true order of use, once for a run of uses of one chunk: exactly the
 * calls of vgpu_policy_ops.access that were counted. Other events lie between them where
 * they happened.
 *
 * A trace may end inside a record when its writer died: the reader reports that, and the
 * whole records are good.
 */
#ifndef VGPU_EXEC_TRACE_H
#define VGPU_EXEC_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VGPU_TRACE_HEADER_BYTES 64
#define VGPU_TRACE_RECORD_BYTES 16
#define VGPU_TRACE_POLICY_BYTES 16

/**
 * enum vgpu_trace_event - what happened to a chunk
 * @VGPU_TRACE_HIT: used, was retained
 * @VGPU_TRACE_ADMIT: used, was not retained and is from now on
 * @VGPU_TRACE_BYPASS: used from a staging slot and dropped
 * @VGPU_TRACE_EVICT: no longer retained
 * @VGPU_TRACE_WRITE: written to the tier below before it left
 * @VGPU_TRACE_PREFETCH: read ahead of its use
 * @VGPU_TRACE_PREFETCH_USED: the use found it ready
 * @VGPU_TRACE_PREFETCH_LATE: the use had to wait for it
 * @VGPU_TRACE_PREFETCH_WASTED: dropped without a use
 * @VGPU_TRACE_WAIT: a use waited for it, so long
 */
enum vgpu_trace_event {
	VGPU_TRACE_HIT,
	VGPU_TRACE_ADMIT,
	VGPU_TRACE_BYPASS,
	VGPU_TRACE_EVICT,
	VGPU_TRACE_WRITE,
	VGPU_TRACE_PREFETCH,
	VGPU_TRACE_PREFETCH_USED,
	VGPU_TRACE_PREFETCH_LATE,
	VGPU_TRACE_PREFETCH_WASTED,
	VGPU_TRACE_WAIT,
	VGPU_TRACE_EVENTS,
};

/**
 * struct vgpu_trace_header - what a trace says about itself
 * @chunk_bytes: size of every chunk, a power of two from 64 KiB to 2 MiB
 * @capacity: chunks that the tier may retain
 * @staging: staging slots beside them
 * @policy: name of the policy that decided, terminated
 */
struct vgpu_trace_header {
	uint64_t chunk_bytes;
	uint32_t capacity;
	uint32_t staging;
	char policy[VGPU_TRACE_POLICY_BYTES];
};

/**
 * struct vgpu_trace_record - one event
 * @key: chunk
 * @wait_us: microseconds that a use waited for it
 * @event: enum vgpu_trace_event
 * @flags: VGPU_ACCESS_* of an access
 */
struct vgpu_trace_record {
	uint64_t key;
	uint32_t wait_us;
	uint8_t event;
	uint8_t flags;
};

struct vgpu_trace_writer;
struct vgpu_trace_reader;

/**
 * vgpu_trace_is_access() - is the event a use of a chunk?
 * @event: enum vgpu_trace_event
 */
static inline bool vgpu_trace_is_access(unsigned int event)
{
	return event <= VGPU_TRACE_BYPASS;
}

/**
 * vgpu_trace_create() - begin a trace
 * @fd: open for writing; stays the caller's, who closes it after vgpu_trace_finish()
 * @header: describes the tier
 * @out_writer: receives the writer
 *
 * Writes the header at once, so an unusable descriptor is found here.
 *
 * Return: 0; -EINVAL for a chunk size or policy name that the format does not allow;
 * -ENOMEM; or the error of write(2).
 */
int vgpu_trace_create(int fd, const struct vgpu_trace_header *header,
		      struct vgpu_trace_writer **out_writer);

/**
 * vgpu_trace_put() - add an event
 * @writer: the trace; NULL is allowed and records nothing
 * @event: enum vgpu_trace_event
 * @key: chunk; not VGPU_POLICY_NONE
 * @flags: VGPU_ACCESS_* of an access, else 0
 * @wait_us: microseconds that the use waited
 *
 * Buffered; every 4096th call writes 64 KiB. After a write error nothing more is
 * recorded and vgpu_trace_finish() tells.
 *
 * Context: the caller serialises.
 */
void vgpu_trace_put(struct vgpu_trace_writer *writer, enum vgpu_trace_event event,
		    uint64_t key, unsigned int flags, uint32_t wait_us);

/**
 * vgpu_trace_finish() - write what is buffered and release the writer
 * @writer: the trace; NULL is allowed
 *
 * Return: 0, or the first error of write(2) since the trace began.
 */
int vgpu_trace_finish(struct vgpu_trace_writer *writer);

/**
 * vgpu_trace_open() - read a trace from a descriptor
 * @fd: open for reading, at the header; stays the caller's
 * @out_reader: receives the reader
 *
 * Return: 0; -EBADMSG when it is not a trace that this code can read; -ENOMEM; or the
 * error of read(2).
 */
int vgpu_trace_open(int fd, struct vgpu_trace_reader **out_reader);

/**
 * vgpu_trace_open_memory() - read a trace that lies in memory
 * @bytes: the trace; must outlive the reader
 * @count: its length
 * @out_reader: receives the reader
 *
 * Return: as vgpu_trace_open().
 */
int vgpu_trace_open_memory(const void *bytes, size_t count,
			   struct vgpu_trace_reader **out_reader);

/**
 * vgpu_trace_close() - release a reader
 * @reader: NULL is allowed
 */
void vgpu_trace_close(struct vgpu_trace_reader *reader);

/**
 * vgpu_trace_header() - what the trace says about itself
 * @reader: the trace
 */
const struct vgpu_trace_header *vgpu_trace_header(const struct vgpu_trace_reader *reader);

/**
 * vgpu_trace_next() - the next record
 * @reader: the trace
 * @out_record: receives it
 *
 * Return: 1; 0 at the end; -EBADMSG for a record that the format does not allow; or the
 * error of read(2). An error repeats itself.
 */
int vgpu_trace_next(struct vgpu_trace_reader *reader, struct vgpu_trace_record *out_record);

/**
 * vgpu_trace_position() - records read so far
 * @reader: the trace
 *
 * After -EBADMSG from vgpu_trace_next() this is the index of the bad record.
 */
uint64_t vgpu_trace_position(const struct vgpu_trace_reader *reader);

/**
 * vgpu_trace_truncated() - did the trace end inside a record?
 * @reader: the trace, read to its end
 */
bool vgpu_trace_truncated(const struct vgpu_trace_reader *reader);

/**
 * struct vgpu_trace_uses - the accesses of a trace, as policies and the optimum take them
 * @keys: [count] in order of use
 * @flags: [count] VGPU_ACCESS_* of each
 * @answers: [count] enum vgpu_trace_event of each: what the recorded run did
 * @count: how many
 * @events: how often each event occurred
 * @wait_us: sum over all records
 */
struct vgpu_trace_uses {
	uint64_t *keys;
	uint8_t *flags;
	uint8_t *answers;
	size_t count;
	uint64_t events[VGPU_TRACE_EVENTS];
	uint64_t wait_us;
};

/**
 * vgpu_trace_load_uses() - read a trace to its end and keep the accesses
 * @reader: the trace
 * @out_uses: receives them; release with vgpu_trace_free_uses()
 *
 * Return: 0; -EOVERFLOW for more than 2^31 accesses; -ENOMEM; or as vgpu_trace_next().
 */
int vgpu_trace_load_uses(struct vgpu_trace_reader *reader, struct vgpu_trace_uses *out_uses);

/**
 * vgpu_trace_is_miss() - did use @i of the recorded run have to be read?
 *
 * Uses of one chunk directly after each other are one use to every policy and to the
 * optimum: the chunk is there, retained or not.
 */
static inline bool vgpu_trace_is_miss(const struct vgpu_trace_uses *uses, size_t i)
{
	return uses->answers[i] != VGPU_TRACE_HIT && (!i || uses->keys[i] != uses->keys[i - 1]);
}

/**
 * vgpu_trace_free_uses() - release the arrays
 * @uses: loaded, or all zero
 */
void vgpu_trace_free_uses(struct vgpu_trace_uses *uses);

#endif

// SPDX-License-Identifier: MIT
#include "exec/trace.h"

#include "exec/policy.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES (64u << 10)
#define VERSION 1
#define MAX_USES (1u << 31)

static const char magic[8] = { 'V', 'G', 'P', 'U', 'T', 'R', 'C', '\n' };

/* The format as it lies in a file; see trace.h. */
struct raw_header {
	char magic[8];
	uint32_t version;
	uint32_t header_bytes;
	uint32_t record_bytes;
	uint32_t capacity;
	uint32_t staging;
	uint32_t reserved;
	uint64_t chunk_bytes;
	char policy[VGPU_TRACE_POLICY_BYTES];
	uint8_t reserved_tail[8];
};

struct raw_record {
	uint64_t key;
	uint32_t wait_us;
	uint8_t event;
	uint8_t flags;
	uint16_t reserved;
};

_Static_assert(sizeof(struct raw_header) == VGPU_TRACE_HEADER_BYTES, "no holes");
_Static_assert(sizeof(struct raw_record) == VGPU_TRACE_RECORD_BYTES, "no holes");
_Static_assert(BUFFER_BYTES % VGPU_TRACE_RECORD_BYTES == 0, "whole records only");

static bool chunk_bytes_valid(uint64_t bytes)
{
	return bytes >= 64u << 10 && bytes <= 2u << 20 && !(bytes & (bytes - 1));
}

/* --- writer -------------------------------------------------------------------- */

/**
 * struct vgpu_trace_writer - a trace being written
 * @fd: of the caller
 * @error: first error of write(2), negative; nothing is written after it
 * @used: records in @buffer
 * @buffer: records not yet written
 */
struct vgpu_trace_writer {
	int fd;
	int error;
	size_t used;
	struct raw_record buffer[BUFFER_BYTES / VGPU_TRACE_RECORD_BYTES];
};

#define BUFFER_RECORDS (BUFFER_BYTES / VGPU_TRACE_RECORD_BYTES)

static int write_all(int fd, const void *bytes, size_t count)
{
	const char *from = bytes;

	while (count) {
		ssize_t done = write(fd, from, count);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		from += done;
		count -= (size_t)done;
	}
	return 0;
}

static int encode_header(const struct vgpu_trace_header *header, struct raw_header *raw)
{
	size_t length = strnlen(header->policy, sizeof(header->policy));

	if (!chunk_bytes_valid(header->chunk_bytes) || length == sizeof(header->policy))
		return -EINVAL;
	memset(raw, 0, sizeof(*raw));
	memcpy(raw->magic, magic, sizeof(magic));
	raw->version = htole32(VERSION);
	raw->header_bytes = htole32(VGPU_TRACE_HEADER_BYTES);
	raw->record_bytes = htole32(VGPU_TRACE_RECORD_BYTES);
	raw->capacity = htole32(header->capacity);
	raw->staging = htole32(header->staging);
	raw->chunk_bytes = htole64(header->chunk_bytes);
	memcpy(raw->policy, header->policy, length);
	return 0;
}

int vgpu_trace_create(int fd, const struct vgpu_trace_header *header,
		      struct vgpu_trace_writer **out_writer)
{
	struct vgpu_trace_writer *writer;
	struct raw_header raw;
	int rc;

	rc = encode_header(header, &raw);
	if (rc)
		return rc;
	writer = malloc(sizeof(*writer));
	if (!writer)
		return -ENOMEM;
	writer->fd = fd;
	writer->error = 0;
	writer->used = 0;
	rc = write_all(fd, &raw, sizeof(raw));
	if (rc) {
		free(writer);
		return rc;
	}
	*out_writer = writer;
	return 0;
}

static void flush(struct vgpu_trace_writer *writer)
{
	if (!writer->error)
		writer->error = write_all(writer->fd, writer->buffer,
					  writer->used * sizeof(*writer->buffer));
	writer->used = 0;
}

void vgpu_trace_put(struct vgpu_trace_writer *writer, enum vgpu_trace_event event,
		    uint64_t key, unsigned int flags, uint32_t wait_us)
{
	if (!writer)
		return;
	writer->buffer[writer->used++] = (struct raw_record){
		.key = htole64(key),
		.wait_us = htole32(wait_us),
		.event = (uint8_t)event,
		.flags = (uint8_t)flags,
	};
	if (writer->used == BUFFER_RECORDS)
		flush(writer);
}

int vgpu_trace_finish(struct vgpu_trace_writer *writer)
{
	int rc;

	if (!writer)
		return 0;
	flush(writer);
	rc = writer->error;
	free(writer);
	return rc;
}

/* --- reader -------------------------------------------------------------------- */

/**
 * struct vgpu_trace_reader - a trace being read
 * @fd: source, or -1 when all of it lies in memory
 * @error: what vgpu_trace_next() returned when it failed, for ever after
 * @truncated: the source ended inside a record
 * @position: records handed out
 * @header: decoded
 * @bytes: @buffer, or the memory of the caller
 * @count: valid bytes there
 * @used: of these, consumed
 * @buffer: [BUFFER_BYTES] with a descriptor, else NULL
 */
struct vgpu_trace_reader {
	int fd;
	int error;
	bool truncated;
	uint64_t position;
	struct vgpu_trace_header header;
	const uint8_t *bytes;
	size_t count;
	size_t used;
	uint8_t *buffer;
};

/* Reads on until @wanted bytes lie in the buffer or the source ends. */
static int fill(struct vgpu_trace_reader *reader, size_t wanted)
{
	if (reader->fd < 0 || reader->count - reader->used >= wanted)
		return 0;
	memmove(reader->buffer, reader->buffer + reader->used, reader->count - reader->used);
	reader->count -= reader->used;
	reader->used = 0;
	while (reader->count < wanted) {
		ssize_t got = read(reader->fd, reader->buffer + reader->count,
				   BUFFER_BYTES - reader->count);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		reader->count += (size_t)got;
	}
	return 0;
}

/* Copies the next @wanted bytes out. Return: 1, 0 when fewer are left, or -errno. */
static int take(struct vgpu_trace_reader *reader, void *out, size_t wanted)
{
	int rc = fill(reader, wanted);

	if (rc)
		return rc;
	if (reader->count - reader->used < wanted)
		return 0;
	memcpy(out, reader->bytes + reader->used, wanted);
	reader->used += wanted;
	return 1;
}

static bool all_zero(const void *bytes, size_t count)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < count; i++)
		if (b[i])
			return false;
	return true;
}

static int decode_header(const struct raw_header *raw, struct vgpu_trace_header *header)
{
	size_t length = strnlen(raw->policy, sizeof(raw->policy));

	if (memcmp(raw->magic, magic, sizeof(magic)) || le32toh(raw->version) != VERSION ||
	    le32toh(raw->header_bytes) != VGPU_TRACE_HEADER_BYTES ||
	    le32toh(raw->record_bytes) != VGPU_TRACE_RECORD_BYTES || raw->reserved ||
	    !all_zero(raw->reserved_tail, sizeof(raw->reserved_tail)) ||
	    !chunk_bytes_valid(le64toh(raw->chunk_bytes)) || length == sizeof(raw->policy) ||
	    !all_zero(raw->policy + length, sizeof(raw->policy) - length))
		return -EBADMSG;
	/* It is printed to terminals. */
	for (size_t i = 0; i < length; i++)
		if (raw->policy[i] < ' ' || raw->policy[i] > '~')
			return -EBADMSG;
	header->chunk_bytes = le64toh(raw->chunk_bytes);
	header->capacity = le32toh(raw->capacity);
	header->staging = le32toh(raw->staging);
	memcpy(header->policy, raw->policy, sizeof(header->policy));
	return 0;
}

static int open_common(int fd, const void *bytes, size_t count,
		       struct vgpu_trace_reader **out_reader)
{
	struct vgpu_trace_reader *reader = calloc(1, sizeof(*reader));
	struct raw_header raw;
	int rc = -ENOMEM;

	if (!reader)
		return rc;
	reader->fd = fd;
	reader->bytes = bytes;
	reader->count = count;
	if (fd >= 0) {
		reader->buffer = malloc(BUFFER_BYTES);
		if (!reader->buffer)
			goto err_free;
		reader->bytes = reader->buffer;
	}
	rc = take(reader, &raw, sizeof(raw));
	if (rc >= 0)
		rc = rc ? decode_header(&raw, &reader->header) : -EBADMSG;
	if (rc)
		goto err_free;
	*out_reader = reader;
	return 0;

err_free:
	vgpu_trace_close(reader);
	return rc;
}

int vgpu_trace_open(int fd, struct vgpu_trace_reader **out_reader)
{
	if (fd < 0)
		return -EBADF;
	return open_common(fd, NULL, 0, out_reader);
}

int vgpu_trace_open_memory(const void *bytes, size_t count,
			   struct vgpu_trace_reader **out_reader)
{
	return open_common(-1, bytes, count, out_reader);
}

void vgpu_trace_close(struct vgpu_trace_reader *reader)
{
	if (!reader)
		return;
	free(reader->buffer);
	free(reader);
}

const struct vgpu_trace_header *vgpu_trace_header(const struct vgpu_trace_reader *reader)
{
	return &reader->header;
}

static int decode_record(const struct raw_record *raw, struct vgpu_trace_record *record)
{
	unsigned int allowed = vgpu_trace_is_access(raw->event) ? VGPU_ACCESS_MUST_ADMIT : 0;

	record->key = le64toh(raw->key);
	record->wait_us = le32toh(raw->wait_us);
	record->event = raw->event;
	record->flags = raw->flags;
	if (record->key == VGPU_POLICY_NONE || raw->event >= VGPU_TRACE_EVENTS ||
	    (raw->flags & ~allowed) || raw->reserved)
		return -EBADMSG;
	return 1;
}

int vgpu_trace_next(struct vgpu_trace_reader *reader, struct vgpu_trace_record *out_record)
{
	struct raw_record raw;
	int rc;

	if (reader->error)
		return reader->error;
	rc = take(reader, &raw, sizeof(raw));
	if (!rc) {
		reader->truncated = reader->count > reader->used;
		return 0;
	}
	if (rc > 0)
		rc = decode_record(&raw, out_record);
	if (rc < 0)
		reader->error = rc;
	else
		reader->position++;
	return rc;
}

uint64_t vgpu_trace_position(const struct vgpu_trace_reader *reader)
{
	return reader->position;
}

bool vgpu_trace_truncated(const struct vgpu_trace_reader *reader)
{
	return reader->truncated;
}

/* --- conversion ---------------------------------------------------------------- */

static int grow_uses(struct vgpu_trace_uses *uses, size_t *room)
{
	size_t wanted = *room ? 2 * *room : 4096;
	uint8_t *flags, *answers;
	uint64_t *keys;

	if (wanted > MAX_USES)
		return -EOVERFLOW;
	keys = realloc(uses->keys, wanted * sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	uses->keys = keys;
	flags = realloc(uses->flags, wanted);
	if (!flags)
		return -ENOMEM;
	uses->flags = flags;
	answers = realloc(uses->answers, wanted);
	if (!answers)
		return -ENOMEM;
	uses->answers = answers;
	*room = wanted;
	return 0;
}

int vgpu_trace_load_uses(struct vgpu_trace_reader *reader, struct vgpu_trace_uses *out_uses)
{
	struct vgpu_trace_uses uses = { 0 };
	struct vgpu_trace_record record = { 0 };
	size_t room = 0;
	int rc;

	while ((rc = vgpu_trace_next(reader, &record)) > 0) {
		uses.events[record.event]++;
		uses.wait_us += record.wait_us;
		if (!vgpu_trace_is_access(record.event))
			continue;
		if (uses.count == room) {
			rc = grow_uses(&uses, &room);
			if (rc)
				break;
		}
		uses.keys[uses.count] = record.key;
		uses.answers[uses.count] = record.event;
		uses.flags[uses.count++] = record.flags;
	}
	if (rc) {
		vgpu_trace_free_uses(&uses);
		return rc;
	}
	*out_uses = uses;
	return 0;
}

void vgpu_trace_free_uses(struct vgpu_trace_uses *uses)
{
	free(uses->keys);
	free(uses->flags);
	free(uses->answers);
	memset(uses, 0, sizeof(*uses));
}

// SPDX-License-Identifier: MIT
#include "packed_plan.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/format.h"
#include "error.h"
#include "exec/crc32c.h"
#include "packed_layer.h"

#define END_BYTES	((uint64_t)1 << 20)

/* ---- sources ---- */

static int crc_range(int fd, uint64_t offset, uint64_t bytes, uint32_t *crc)
{
	static const size_t piece = 64 << 10;
	char *buffer = malloc(piece);
	int rc = buffer ? 0 : vgpu_fail(-ENOMEM, "no memory to read a source");

	while (bytes && !rc) {
		ssize_t n = pread(fd, buffer, bytes < piece ? bytes : piece, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = vgpu_fail(n ? -errno : -ESTALE, "source: %s at byte %" PRIu64,
				       n ? strerror(errno) : "its end came", offset);
			break;
		}
		*crc = vgpu_crc32c(*crc, buffer, (size_t)n);
		offset += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	free(buffer);
	return rc;
}

/* Headers lie at the start of checkpoints, what was appended at the end. */
static int crc_ends(struct packed_source *s)
{
	uint64_t first = s->bytes < END_BYTES ? s->bytes : END_BYTES;
	uint64_t last = s->bytes - first < END_BYTES ? s->bytes - first : END_BYTES;
	int rc = crc_range(s->fd, 0, first, &s->crc);

	return rc ? rc : crc_range(s->fd, s->bytes - last, last, &s->crc);
}

static int source_find(struct packed_plan *plan, int fd, uint32_t *out)
{
	struct packed_source *s;
	struct stat st;

	if (fstat(fd, &st))
		return vgpu_fail(-errno, "descriptor %d: %s", fd, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vgpu_fail(-EINVAL, "descriptor %d is no regular file", fd);
	for (*out = 0; *out < plan->source_count; (*out)++)
		if (plan->sources[*out].dev == st.st_dev && plan->sources[*out].ino == st.st_ino)
			return 0;
	s = realloc(plan->sources, (plan->source_count + 1) * sizeof(*s));
	if (!s)
		return vgpu_fail(-ENOMEM, "no memory for %u sources", plan->source_count + 1);
	plan->sources = s;
	s += plan->source_count++;
	*s = (struct packed_source){
		.fd = fd, .dev = st.st_dev, .ino = st.st_ino, .bytes = (uint64_t)st.st_size,
		.mtime_ns = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec,
	};
	plan->mode &= st.st_mode;
	return crc_ends(s);
}

/* ---- layout ---- */

static uint32_t stack_of(const struct vgpu_pack *p)
{
	return p->stack ? p->stack : 1;
}

static int stack_bytes(const struct vgpu_pack_item *item, enum vgpu_format format, uint64_t *out)
{
	uint64_t one;
	int rc = vgpu_matrix_bytes(format, item->pack.rows, item->pack.cols, &one);

	if (rc)
		return rc;
	if (__builtin_mul_overflow(one, (uint64_t)stack_of(&item->pack), out))
		return vgpu_fail(-EOVERFLOW, "%s: %u matrices of %" PRIu64 " bytes exceed 64 bits",
				 item->name, stack_of(&item->pack), one);
	return 0;
}

static int check_item(const struct vgpu_pack_item *item)
{
	enum vgpu_format to = item->pack.packed_format;

	if (!item->name || !*item->name)
		return vgpu_fail(-EINVAL, "an item has no name");
	if (strlen(item->name) > PACKED_NAME_MAX)
		return vgpu_fail(-E2BIG, "a name of %zu bytes, the limit is %u", strlen(item->name),
				 PACKED_NAME_MAX);
	if (!vb_format_is_packed(to))
		return vgpu_fail(-EINVAL, "%s: %s is no packed format", item->name,
				 vgpu_format_name(to));
	if (item->pack.scales.format)
		return vgpu_fail(-EINVAL, "%s: scales that lie apart are not packed into a file",
				 item->name);
	return vgpu_packed_is_layer(item) ? vgpu_packed_layer_check(item) : 0;
}

/* A range of a source, whose index is @out. */
static int add_range(struct packed_plan *plan, const struct vgpu_pack_item *item, int fd,
		     uint64_t offset, uint64_t bytes, uint32_t *out)
{
	uint64_t end;
	int rc = source_find(plan, fd, out);

	if (rc)
		return rc;
	if (__builtin_add_overflow(offset, bytes, &end) || end > plan->sources[*out].bytes)
		return vgpu_fail(-ERANGE, "%s: %" PRIu64 " bytes from %" PRIu64 " end behind the "
				 "source of %" PRIu64 " bytes", item->name, bytes, offset,
				 plan->sources[*out].bytes);
	return 0;
}

static int add_layer(struct packed_plan *plan, const struct vgpu_pack_item *item,
		     struct packed_tensor *t)
{
	struct packed_layer_bytes bytes = vgpu_packed_layer_bytes(item);
	const struct vgpu_pack_layer *l = &item->layer;
	int rc = add_range(plan, item, item->fd, item->offset, bytes.codes, &t->source);

	if (!rc)
		rc = add_range(plan, item, l->zeros_fd, l->zeros_offset, bytes.zeros, &t->zeros);
	if (!rc)
		rc = add_range(plan, item, l->scales_fd, l->scales_offset, bytes.scales, &t->scales);
	return rc;
}

static int add_sources(struct packed_plan *plan, const struct vgpu_pack_item *item,
		       struct packed_tensor *t)
{
	uint64_t bytes;
	int rc;

	if (vgpu_packed_is_layer(item))
		return add_layer(plan, item, t);
	rc = stack_bytes(item, item->pack.source_format, &bytes);
	return rc ? rc : add_range(plan, item, item->fd, item->offset, bytes, &t->source);
}

static int place(struct packed_plan *plan, uint32_t i)
{
	struct packed_tensor *t = &plan->tensors[i];
	uint64_t align, end;
	int rc = stack_bytes(&plan->items[i], plan->items[i].pack.packed_format, &t->bytes);

	if (rc)
		return rc;
	align = t->bytes < PACKED_LARGE_BYTES ? PACKED_ALIGN : PACKED_ALIGN_LARGE;
	t->offset = (plan->data_bytes + align - 1) / align * align;
	if (__builtin_add_overflow(t->offset, t->bytes, &end) || end > INT64_MAX / 2)
		return vgpu_fail(-EOVERFLOW, "%s: the file would exceed 2^62 bytes",
				 plan->items[i].name);
	plan->data_bytes = end;
	return 0;
}

static int place_all(struct packed_plan *plan)
{
	int rc = 0;

	for (uint32_t i = 0; i < plan->count && !rc; i++) {
		rc = check_item(&plan->items[i]);
		if (!rc)
			rc = add_sources(plan, &plan->items[i], &plan->tensors[i]);
		if (!rc)
			rc = place(plan, i);
	}
	return rc;
}

/* ---- the header ---- */

void vgpu_packed_source_text(const struct packed_source *s, char *out)
{
	snprintf(out, PACKED_VALUE_BYTES, "bytes=%" PRIu64 " mtime_ns=%" PRId64 " ino=%" PRIu64
		 " crc32c=%08x", s->bytes, s->mtime_ns, (uint64_t)s->ino, s->crc);
}

void vgpu_packed_tensor_text(const struct packed_plan *plan, uint32_t item, char *out)
{
	const struct vgpu_pack_item *it = &plan->items[item];
	const struct packed_tensor *t = &plan->tensors[item];

	if (vgpu_packed_is_layer(it)) {
		snprintf(out, PACKED_VALUE_BYTES, "%s rows=%u cols=%u stack=1 from=%s/%u source=%u "
			 "offset=%" PRIu64 " zeros=%u@%" PRIu64 " scales=%u@%" PRIu64,
			 vgpu_format_name(it->pack.packed_format), it->pack.rows, it->pack.cols,
			 vgpu_packed_layer_scheme(it), it->layer.group, t->source, it->offset,
			 t->zeros, it->layer.zeros_offset, t->scales, it->layer.scales_offset);
		return;
	}
	snprintf(out, PACKED_VALUE_BYTES, "%s rows=%u cols=%u stack=%u from=%s source=%u offset=%"
		 PRIu64, vgpu_format_name(it->pack.packed_format), it->pack.rows, it->pack.cols,
		 stack_of(&it->pack), vgpu_format_name(it->pack.source_format), t->source,
		 it->offset);
}

static bool add_text(struct json_object *to, const char *key, const char *value)
{
	return !json_object_object_add(to, key, json_object_new_string(value));
}

static bool add_metadata(const struct packed_plan *plan, struct json_object *header)
{
	struct json_object *meta = json_object_new_object();
	char key[sizeof(PACKED_TENSOR_KEY) + PACKED_NAME_MAX], value[PACKED_VALUE_BYTES];
	bool ok = meta && !json_object_object_add(header, "__metadata__", meta);

	ok = ok && add_text(meta, "format", PACKED_FORMAT) &&
	     add_text(meta, "layout", PACKED_LAYOUT);
	for (uint32_t i = 0; i < plan->source_count && ok; i++) {
		snprintf(key, sizeof(key), "source:%u", i);
		vgpu_packed_source_text(&plan->sources[i], value);
		ok = add_text(meta, key, value);
	}
	for (uint32_t i = 0; i < plan->count && ok; i++) {
		snprintf(key, sizeof(key), PACKED_TENSOR_KEY "%s", plan->items[i].name);
		vgpu_packed_tensor_text(plan, i, value);
		ok = add_text(meta, key, value);
	}
	return ok;
}

static bool add_pair(struct json_object *to, const char *key, uint64_t a, uint64_t b, bool both)
{
	struct json_object *list = json_object_new_array();
	bool ok = list && !json_object_object_add(to, key, list) &&
		  !json_object_array_add(list, json_object_new_int64((int64_t)a));

	return ok && (!both || !json_object_array_add(list, json_object_new_int64((int64_t)b)));
}

static int add_tensor(const struct packed_plan *plan, uint32_t i, struct json_object *header)
{
	uint64_t first = plan->tensors[i].offset;
	uint64_t end = i + 1 < plan->count ? plan->tensors[i + 1].offset : plan->data_bytes;
	struct json_object *t = json_object_new_object();

	if (json_object_object_get_ex(header, plan->items[i].name, NULL)) {
		json_object_put(t);
		return vgpu_fail(-EINVAL, "the name %s is there twice, or reserved",
				 plan->items[i].name);
	}
	if (!t || json_object_object_add(header, plan->items[i].name, t) ||
	    !add_text(t, "dtype", "U8") || !add_pair(t, "shape", end - first, 0, false) ||
	    !add_pair(t, "data_offsets", first, end, true))
		return vgpu_fail(-ENOMEM, "no memory for a header");
	return 0;
}

/* The length in front, and blanks behind, so that the data begins on a page. */
static int take_text(struct packed_plan *plan, struct json_object *header)
{
	size_t bytes;
	const char *text = json_object_to_json_string_length(header, JSON_C_TO_STRING_PLAIN |
							     JSON_C_TO_STRING_NOSLASHESCAPE, &bytes);
	uint64_t room = (8 + bytes + PACKED_ALIGN_LARGE - 1) / PACKED_ALIGN_LARGE *
			PACKED_ALIGN_LARGE;

	plan->header = text ? malloc(room) : NULL;
	if (!plan->header)
		return vgpu_fail(-ENOMEM, "no memory for a header");
	plan->header_bytes = room;
	for (uint32_t i = 0; i < 8; i++)
		plan->header[i] = (char)((room - 8) >> (8 * i));
	memcpy(plan->header + 8, text, bytes);
	memset(plan->header + 8 + bytes, ' ', room - 8 - bytes);
	return 0;
}

static int write_header(struct packed_plan *plan)
{
	struct json_object *header = json_object_new_object();
	int rc = 0;

	if (!header || !add_metadata(plan, header))
		rc = vgpu_fail(-ENOMEM, "no memory for a header");
	for (uint32_t i = 0; i < plan->count && !rc; i++)
		rc = add_tensor(plan, i, header);
	if (!rc)
		rc = take_text(plan, header);
	json_object_put(header);
	return rc;
}

int vgpu_packed_plan(const struct vgpu_pack_item *items, uint32_t count,
		     struct packed_plan *plan)
{
	int rc;

	*plan = (struct packed_plan){ .items = items, .count = count, .mode = 0666 };
	if (!count)
		return vgpu_fail(-EINVAL, "no items to pack");
	if (count > PACKED_ITEMS_MAX)
		return vgpu_fail(-E2BIG, "%u items, the limit is %u", count, PACKED_ITEMS_MAX);
	plan->tensors = calloc(count, sizeof(*plan->tensors));
	if (!plan->tensors)
		return vgpu_fail(-ENOMEM, "no memory for %u items", count);
	rc = place_all(plan);
	return rc ? rc : write_header(plan);
}

void vgpu_packed_plan_free(struct packed_plan *plan)
{
	free(plan->tensors);
	free(plan->sources);
	free(plan->header);
	*plan = (struct packed_plan){ 0 };
}

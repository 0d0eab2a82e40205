// SPDX-License-Identifier: MIT
#include "bo.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "file.h"
#include "sized.h"

_Static_assert((int)VGPU_LIFE_VOLATILE == VB_LIFE_VOLATILE &&
	       (int)VGPU_LIFE_DURABLE == VB_LIFE_DURABLE &&
	       (int)VGPU_LIFE_SCRATCH == VB_LIFE_SCRATCH, "life classes");
_Static_assert((int)VGPU_MAP_READ == VB_MAP_READ && (int)VGPU_MAP_WRITE == VB_MAP_WRITE, "access");
_Static_assert((int)VGPU_ADVISE_PREFETCH == VB_ADVISE_PREFETCH &&
	       (int)VGPU_ADVISE_EVICT == VB_ADVISE_EVICT &&
	       (int)VGPU_ADVISE_PIN == VB_ADVISE_PIN &&
	       (int)VGPU_ADVISE_UNPIN == VB_ADVISE_UNPIN, "advice");

/* ---- creation ---- */

/* What the tiers hold and what of it is promised, for the sentence. */
static int fail_space(struct vgpu *v, uint64_t bytes)
{
	struct vgpu_device_info device = { .size = sizeof(device) };
	uint64_t capacity = 0, reserved = 0;

	vgpu_device_info(v, &device);
	for (uint32_t i = 0; i < device.tier_count; i++) {
		struct vgpu_tier_info tier = { .size = sizeof(tier) };

		if (vgpu_tier_info(v, i, &tier))
			continue;
		capacity += tier.tier == VGPU_TIER_DEVICE ? 0 : tier.bytes;
		reserved += tier.reserved_bytes;
	}
	capacity -= capacity < device.staging_bytes ? capacity : device.staging_bytes;
	return vgpu_fail(-ENOSPC, "%" PRIu64 " bytes cannot be reserved: host and NVMe tiers hold %"
			 PRIu64 " bytes of content, %" PRIu64 " are promised already",
			 bytes, capacity, reserved);
}

static int fail_create(struct vgpu *v, int rc, const struct vb_ioc_bo_create *cmd)
{
	if (rc == -EPERM)
		return rc;
	if (rc == -ENOSPC)
		return fail_space(v, cmd->bytes);
	if (rc == -EINVAL && (!cmd->bytes || cmd->bytes > VB_OBJECT_BYTES_MAX))
		return vgpu_fail(rc, "bytes is %" PRIu64 ", must be 1 to %llu",
				 (uint64_t)cmd->bytes, VB_OBJECT_BYTES_MAX);
	if (rc == -EBADF || rc == -EACCES)
		return vgpu_fail(rc, "descriptor %d is not open for reading", cmd->fd);
	if (rc == -ERANGE)
		return vgpu_fail(rc, "bytes %llu to %llu end behind the file",
				 (unsigned long long)cmd->file_offset,
				 (unsigned long long)(cmd->file_offset +
				 (cmd->kind == VB_BO_FILE ? cmd->bytes : cmd->file_bytes)));
	return vgpu_fail_device(rc, "create a buffer object of %" PRIu64 " bytes",
				(uint64_t)cmd->bytes);
}

static int bo_create(struct vgpu *v, struct vb_ioc_bo_create *cmd, struct vgpu_bo **out)
{
	struct vgpu_bo *bo = malloc(sizeof(*bo));
	int rc;

	if (!bo)
		return vgpu_fail(-ENOMEM, "no memory for a buffer object");
	rc = vgpu_call(v, VB_IOC_BO_CREATE, cmd);
	if (rc) {
		free(bo);
		return fail_create(v, rc, cmd);
	}
	bo->v = v;
	bo->id = cmd->out_bo_id;
	bo->bytes = cmd->bytes;
	atomic_init(&bo->sealed, cmd->kind != VB_BO_ANONYMOUS);
	*out = bo;
	return 0;
}

int vgpu_bo_create(struct vgpu *v, uint64_t bytes, enum vgpu_life life, struct vgpu_bo **out)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd),
		.kind = VB_BO_ANONYMOUS,
		.life = (__u16)life,
		.fd = -1,
		.bytes = bytes,
	};

	if ((unsigned int)life > VGPU_LIFE_SCRATCH)
		return vgpu_fail(-EINVAL, "life is %d, must be 0 to %d", (int)life, VGPU_LIFE_SCRATCH);
	return bo_create(v, &cmd, out);
}

static int bytes_to_end(int fd, uint64_t offset, uint64_t *out)
{
	uint64_t end;
	int rc = vgpu_file_bytes(fd, &end);

	if (rc == -EINVAL)
		return vgpu_fail(rc, "descriptor %d is neither a regular file nor a block device", fd);
	if (rc)
		return vgpu_fail(rc, "descriptor %d: %s", fd, strerror(-rc));
	if (end <= offset)
		return vgpu_fail(-ERANGE, "offset %" PRIu64 " is not inside the file of %" PRIu64
				 " bytes", offset, end);
	*out = end - offset;
	return 0;
}

int vgpu_bo_create_file(struct vgpu *v, int fd, uint64_t offset, uint64_t bytes,
			struct vgpu_bo **out)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd),
		.kind = VB_BO_FILE,
		.fd = fd,
		.bytes = bytes,
		.file_offset = offset,
	};
	uint64_t rest = 0;
	int rc;

	if (!bytes) {
		rc = bytes_to_end(fd, offset, &rest);
		if (rc)
			return rc;
		cmd.bytes = rest;
	}
	return bo_create(v, &cmd, out);
}

static int stack_bytes(enum vgpu_format format, const struct vgpu_pack *p, uint32_t stack,
		       uint64_t *out)
{
	uint64_t one;
	int rc;

	rc = vgpu_matrix_bytes(format, p->rows, p->cols, &one);
	if (rc)
		return rc;
	if (__builtin_mul_overflow(one, (uint64_t)stack, out))
		return vgpu_fail(-EOVERFLOW, "%u matrices of %" PRIu64 " bytes exceed 64 bits",
				 stack, one);
	return 0;
}

int vgpu_bo_create_packed(struct vgpu *v, int fd, uint64_t offset, const struct vgpu_pack *pack,
			  struct vgpu_bo **out)
{
	uint32_t stack = pack->stack ? pack->stack : 1;
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd),
		.kind = VB_BO_DERIVED,
		.fd = fd,
		.file_offset = offset,
		.transform = {
			.kind = VB_TRANSFORM_PACK,
			.src_format = (__u16)pack->source_format,
			.dst_format = (__u16)pack->packed_format,
			.rows = pack->rows,
			.cols = pack->cols,
			.stack = stack,
			.scale_format = (__u16)pack->scales.format,
			.scale_rows = (__u16)pack->scales.rows,
			.scale_cols = (__u16)pack->scales.cols,
			.scales_offset = pack->scales.offset,
		},
	};
	uint64_t from, to;
	int rc;

	if (pack->scales.rows > UINT16_MAX || pack->scales.cols > UINT16_MAX)
		return vgpu_fail(-EINVAL, "a scale for %u x %u values, the limit is 65535",
				 pack->scales.rows, pack->scales.cols);
	rc = stack_bytes(pack->source_format, pack, stack, &from);
	if (!rc)
		rc = stack_bytes(pack->packed_format, pack, stack, &to);
	if (rc)
		return rc;
	cmd.file_bytes = from;
	cmd.bytes = to;
	rc = bo_create(v, &cmd, out);
	return rc == -EINVAL ? vgpu_fail(rc, "%s%s cannot be packed to %s",
					 vgpu_format_name(pack->source_format),
					 pack->scales.format ? " with scales" : "",
					 vgpu_format_name(pack->packed_format)) : rc;
}

void vgpu_bo_destroy(struct vgpu_bo *bo)
{
	struct vb_ioc_bo_destroy cmd = { .size = sizeof(cmd) };

	if (!bo)
		return;
	cmd.bo_id = bo->id;
	vgpu_call(bo->v, VB_IOC_BO_DESTROY, &cmd);
	free(bo);
}

uint64_t vgpu_bo_bytes(const struct vgpu_bo *bo)
{
	return bo->bytes;
}

/* ---- content ---- */

static int fail_range(const struct vgpu_bo *bo, int rc, const char *what, uint64_t offset,
		      uint64_t bytes)
{
	if (rc == -EPERM)
		return rc;
	if (rc == -ENOSPC)
		return vgpu_fail(rc, "%s of %" PRIu64 " bytes: more than this client's share of the "
				 "host tier; use vgpu_bo_read() and vgpu_bo_write()", what, bytes);
	if (rc == -EDQUOT)
		return vgpu_fail(rc, "%s of %" PRIu64 " bytes: more than this client, or its user, may "
				 "have of the host tier at once; use vgpu_bo_read() and "
				 "vgpu_bo_write()", what, bytes);
	if (rc == -EBUSY)
		return vgpu_fail(rc, "%s of bytes %" PRIu64 " + %" PRIu64 ": clients keep the slots "
				 "that it needs mapped or pinned", what, offset, bytes);
	return vgpu_fail_device(rc, "%s of bytes %" PRIu64 " + %" PRIu64 " in an object of %" PRIu64,
				what, offset, bytes, bo->bytes);
}

/* 0 bytes mean: to the end. */
static uint64_t length(const struct vgpu_bo *bo, uint64_t offset, uint64_t bytes)
{
	return bytes || offset >= bo->bytes ? bytes : bo->bytes - offset;
}

static int bo_unmap(struct vgpu_bo *bo, struct vb_ioc_bo_unmap *cmd)
{
	vgpu_mapping_remove(&bo->v->mappings, cmd);
	return vgpu_call(bo->v, VB_IOC_BO_UNMAP, cmd);
}

int vgpu_bo_map(struct vgpu_bo *bo, uint64_t offset, uint64_t bytes, uint32_t flags, void **out)
{
	struct vb_ioc_bo_map cmd = {
		.size = sizeof(cmd),
		.bo_id = bo->id,
		.flags = flags,
		.offset = offset,
		.bytes = length(bo, offset, bytes),
	};
	int rc;

	rc = vgpu_call(bo->v, VB_IOC_BO_MAP, &cmd);
	if (rc)
		return fail_range(bo, rc, "map", offset, cmd.bytes);
	rc = vgpu_mapping_add(&bo->v->mappings, bo->v->uapi, &cmd, out);
	if (!rc)
		return 0;
	bo_unmap(bo, &(struct vb_ioc_bo_unmap){
		.size = sizeof(struct vb_ioc_bo_unmap), .bo_id = bo->id, .flags = flags,
		.offset = offset, .bytes = cmd.bytes,
	});
	return vgpu_fail(rc, "map: mmap() of %" PRIu64 " bytes: %s", (uint64_t)cmd.bytes,
			 strerror(-rc));
}

int vgpu_bo_unmap(struct vgpu_bo *bo, uint64_t offset, uint64_t bytes, uint32_t flags)
{
	struct vb_ioc_bo_unmap cmd = {
		.size = sizeof(cmd),
		.bo_id = bo->id,
		.flags = flags,
		.offset = offset,
		.bytes = length(bo, offset, bytes),
	};
	int rc;

	rc = bo_unmap(bo, &cmd);
	if (rc == -EINVAL)
		return vgpu_fail(rc, "unmap: bytes %" PRIu64 " + %" PRIu64 " are not mapped with access %u",
				 offset, (uint64_t)cmd.bytes, flags);
	return rc ? fail_range(bo, rc, "unmap", offset, cmd.bytes) : 0;
}

static int bo_rw(struct vgpu_bo *bo, unsigned long request, const char *what, uint64_t offset,
		 const void *memory, uint64_t bytes)
{
	struct vb_ioc_bo_rw cmd = {
		.size = sizeof(cmd),
		.bo_id = bo->id,
		.offset = offset,
		.bytes = bytes,
		.address = (uintptr_t)memory,
	};
	int rc;

	do {
		rc = vgpu_call_once(bo->v, request, &cmd);
		cmd.offset += cmd.out_done_bytes;
		cmd.address += cmd.out_done_bytes;
		cmd.bytes -= cmd.out_done_bytes;
	} while (rc == -EINTR);
	return rc ? fail_range(bo, rc, what, offset, bytes) : 0;
}

int vgpu_bo_read(struct vgpu_bo *bo, uint64_t offset, void *to, uint64_t bytes)
{
	return bo_rw(bo, VB_IOC_BO_READ, "read", offset, to, bytes);
}

int vgpu_bo_write(struct vgpu_bo *bo, uint64_t offset, const void *from, uint64_t bytes)
{
	return bo_rw(bo, VB_IOC_BO_WRITE, "write", offset, from, bytes);
}

int vgpu_bo_seal(struct vgpu_bo *bo)
{
	struct vb_ioc_bo_seal cmd = { .size = sizeof(cmd), .bo_id = bo->id };
	int rc;

	rc = vgpu_call(bo->v, VB_IOC_BO_SEAL, &cmd);
	if (rc)
		return rc == -EPERM ? rc : vgpu_fail_device(rc, "seal");
	atomic_store_explicit(&bo->sealed, true, memory_order_relaxed);
	return 0;
}

int vgpu_bo_advise(struct vgpu_bo *bo, enum vgpu_advice advice, uint64_t offset, uint64_t bytes,
		   uint64_t *out_bytes)
{
	struct vb_ioc_bo_advise cmd = {
		.size = sizeof(cmd),
		.bo_id = bo->id,
		.advice = advice,
		.offset = offset,
		.bytes = length(bo, offset, bytes),
	};
	int rc;

	rc = vgpu_call(bo->v, VB_IOC_BO_ADVISE, &cmd);
	if (out_bytes)
		*out_bytes = cmd.out_bytes;
	return rc ? fail_range(bo, rc, "advice", offset, cmd.bytes) : 0;
}

/* ---- information ---- */

static void info_fill(struct vgpu_bo_info *to, const struct vb_ioc_bo_info *from)
{
	to->kind = from->out_kind;
	to->life = (enum vgpu_life)from->out_life;
	to->sealed = from->out_flags & VB_BO_SEALED;
	to->chunks = from->out_chunks;
	to->bytes = from->out_bytes;
	for (uint32_t tier = 0; tier < VGPU_TIERS; tier++)
		to->tier_bytes[tier] = from->out_tier_bytes[tier];
	to->dirty_bytes = from->out_dirty_bytes;
}

int vgpu_bo_info(struct vgpu_bo *bo, struct vgpu_bo_info *info)
{
	struct vb_ioc_bo_info cmd = { .size = sizeof(cmd), .bo_id = bo->id };
	struct vgpu_bo_info now = { .size = sizeof(now) };
	int rc;

	rc = vgpu_sized_check("info", sizeof(now), info);
	if (rc)
		return rc;
	rc = vgpu_call(bo->v, VB_IOC_BO_INFO, &cmd);
	if (rc)
		return rc == -EPERM ? rc : vgpu_fail_device(rc, "buffer object %u", bo->id);
	info_fill(&now, &cmd);
	vgpu_sized_answer(info, &now, sizeof(now));
	return 0;
}

int vgpu_bo_residency(struct vgpu_bo *bo, uint32_t first, uint32_t count, uint8_t *out)
{
	struct vb_ioc_bo_residency cmd = {
		.size = sizeof(cmd),
		.bo_id = bo->id,
		.first_chunk = first,
		.count = count < INT_MAX ? count : INT_MAX,
		.address = (uintptr_t)out,
	};
	int rc;

	rc = vgpu_call(bo->v, VB_IOC_BO_RESIDENCY, &cmd);
	if (rc)
		return rc == -EPERM ? rc : vgpu_fail_device(rc, "residency of chunk %u", first);
	return (int)cmd.out_count;
}

/* SPDX-License-Identifier: MIT */
/*
 * The rules that every request keeps before anybody looks at its meaning.
 *
 * A structure begins with its own size.  The caller may know a shorter or a longer
 * one than we do: a shorter one is filled up with zeros and its outputs are cut, a
 * longer one is taken when its tail is zero.  Reserved fields are zero, unknown
 * flags are refused.  One table says all this, so that no handler can forget it.
 */
#ifndef VGPU_UAPI_RULE_H
#define VGPU_UAPI_RULE_H

#include <stddef.h>
#include <stdint.h>

#define VGPU_RULE_BYTES_MAX	256u	/* largest structure we know */
#define VGPU_RULE_TAIL_MAX	4096u	/* longest structure that a caller may know */

/**
 * struct vgpu_rule_field - bytes of a structure that must be zero
 * @offset: of the first, in bytes
 * @bytes: length; 0 is none
 */
struct vgpu_rule_field {
	uint16_t offset;
	uint16_t bytes;
};

/**
 * struct vgpu_rule - what a request looks like
 * @bytes: sizeof() its structure as we know it; 0: there is no such request
 * @flags_offset: of its __u32 flags; 0 when it has none
 * @flags: those that are allowed
 * @reserved: what must be zero; .bytes is 0 when there is nothing
 */
struct vgpu_rule {
	uint16_t bytes;
	uint16_t flags_offset;
	uint32_t flags;
	struct vgpu_rule_field reserved;
};

#define VGPU_RULE_SIZE(type)		.bytes = sizeof(struct type)
#define VGPU_RULE_FLAGS(type, field, mask) \
	.flags_offset = offsetof(struct type, field), .flags = (mask)
#define VGPU_RULE_FIELD(type, field) \
	{ offsetof(struct type, field), sizeof(((struct type *)0)->field) }

/**
 * vgpu_rule_copy_in() - take a caller's structure and check it against its rule
 * @rule: of the request
 * @arg: the caller's structure; its first four bytes say how long it is
 * @local: VGPU_RULE_BYTES_MAX bytes, 8-byte aligned; filled up to @rule->bytes
 *
 * Return: 0; -EFAULT @arg is NULL; -EINVAL the size, an unknown flag or a reserved
 * field; -E2BIG the tail that we do not know is not zero, or longer than 4096.
 */
int vgpu_rule_copy_in(const struct vgpu_rule *rule, const void *arg, void *local);

/* Hand the structure back: as much of it as the caller knows. */
void vgpu_rule_copy_out(const struct vgpu_rule *rule, void *arg, const void *local);

#endif

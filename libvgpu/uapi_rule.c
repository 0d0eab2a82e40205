// SPDX-License-Identifier: MIT
#include "uapi_rule.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static uint32_t caller_bytes(const void *arg)
{
	uint32_t bytes;

	memcpy(&bytes, arg, sizeof(bytes));
	return bytes;
}

static bool all_zero(const unsigned char *p, size_t bytes)
{
	while (bytes--)
		if (*p++)
			return false;
	return true;
}

static int check_fields(const struct vgpu_rule *rule, const unsigned char *local)
{
	uint32_t flags;

	if (!all_zero(local + rule->reserved.offset, rule->reserved.bytes))
		return -EINVAL;
	if (!rule->flags_offset)
		return 0;
	memcpy(&flags, local + rule->flags_offset, sizeof(flags));
	return flags & ~rule->flags ? -EINVAL : 0;
}

int vgpu_rule_copy_in(const struct vgpu_rule *rule, const void *arg, void *local)
{
	uint32_t bytes;

	if (!arg)
		return -EFAULT;
	bytes = caller_bytes(arg);
	if (bytes < sizeof(bytes))
		return -EINVAL;
	if (bytes > VGPU_RULE_TAIL_MAX)
		return -E2BIG;
	if (bytes > rule->bytes &&
	    !all_zero((const unsigned char *)arg + rule->bytes, bytes - rule->bytes))
		return -E2BIG;
	memset(local, 0, rule->bytes);
	memcpy(local, arg, bytes < rule->bytes ? bytes : rule->bytes);
	return check_fields(rule, local);
}

void vgpu_rule_copy_out(const struct vgpu_rule *rule, void *arg, const void *local)
{
	uint32_t bytes = caller_bytes(arg);

	memcpy(arg, local, bytes < rule->bytes ? bytes : rule->bytes);
}

// SPDX-License-Identifier: MIT
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vgpu.h"

static _Thread_local char text[VGPU_ERROR_BYTES];

const char *vgpu_error_text(void)
{
	return text;
}

int vgpu_fail(int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return err;
}

/* The first block of include/uapi/linux/vblackwell.h, said to a person. */
static const char *meaning(int err)
{
	switch (-err) {
	case EINVAL: return "a field is out of its range";
	case E2BIG: return "a structure is newer than this device";
	case ENOTTY: return "the device does not know this request";
	case ENOENT: return "no such object in this client";
	case ENOSPC: return "the tiers cannot hold it";
	case EDQUOT: return "a limit of this client or its user";
	case ENOMEM: return "out of memory";
	case EBUSY: return "it is pinned, mapped, moving or in use";
	case EROFS: return "it is sealed, or made from a file: read-only";
	case EPERM: return "not allowed to this process";
	case ESTALE: return "the file behind it changed";
	case EIO: return "storage or device failed, or the content was lost";
	case ETIME: return "the deadline passed";
	case ECANCELED: return "its queue or client went away first";
	case ENODEV: return "the device has no executor";
	case EOPNOTSUPP: return "this device cannot";
	case EOVERFLOW: return "offset and length exceed 64 bits";
	case ERANGE: return "outside the object";
	default: return NULL;
	}
}

int vgpu_fail_device(int err, const char *fmt, ...)
{
	const char *why = meaning(err);
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ": %s", why ? why : strerror(-err));
	return err;
}

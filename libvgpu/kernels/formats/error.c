// SPDX-License-Identifier: MIT
#include "kernels/formats/error.h"

#include <stdarg.h>
#include <stdio.h>

static void hide_control_bytes(char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == 0x7f)
			*text = '?';
	}
}

int vgpu_error_set(struct vgpu_error *err, int code, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return code;

	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	hide_control_bytes(err->text);
	err->code = code;
	return code;
}

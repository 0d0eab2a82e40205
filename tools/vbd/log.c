// SPDX-License-Identifier: MIT
#include "vbd/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One write a line, so that lines of several threads do not mix. */
int vbd_error(const char *op, int rc, const char *format, ...)
{
	char text[512], line[768];
	const char *name = rc ? strerrorname_np(-rc) : NULL;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *p = text; *p; p++)
		*p = *p == '"' ? '\'' : *p == '\n' ? ' ' : *p;
	snprintf(line, sizeof(line), "vbd: level=error op=%s%s%s text=\"%s\"\n", op,
		 name ? " errno=" : "", name ? name : "", text);
	fputs(line, stderr);
	return rc;
}

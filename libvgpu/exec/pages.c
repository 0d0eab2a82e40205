// SPDX-License-Identifier: MIT
#include "pages.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define ENABLED	"/sys/kernel/mm/transparent_hugepage/enabled"

/* "always madvise [never]" */
static bool switched_off(void)
{
	char line[96];
	FILE *f = fopen(ENABLED, "re");
	bool off;

	if (!f)
		return false;
	off = fgets(line, sizeof(line), f) && strstr(line, "[never]");
	fclose(f);
	return off;
}

void vgpu_pages_ask(void *memory, size_t bytes, char text[VGPU_PAGES_TEXT])
{
	/* Whatever is known to be in the way: without that it is still worth asking. */
	int rc = madvise(memory, bytes, MADV_HUGEPAGE) ? errno : 0;

	if (bytes < VGPU_HUGE_BYTES)
		snprintf(text, VGPU_PAGES_TEXT, "small: the tier of %zu KiB is smaller than a huge page",
			 bytes >> 10);
	else if (rc)
		snprintf(text, VGPU_PAGES_TEXT, "small: the kernel has no huge pages (madvise: %s)",
			 strerror(rc));
	else if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1)
		snprintf(text, VGPU_PAGES_TEXT, "small: huge pages are switched off for this process");
	else if (switched_off())
		snprintf(text, VGPU_PAGES_TEXT, "small: " ENABLED " is never");
	else
		snprintf(text, VGPU_PAGES_TEXT, "2 MiB");
}

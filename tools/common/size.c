// SPDX-License-Identifier: MIT
#include "common/size.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool size_parse(const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	char *end;
	const char *unit;
	double value;

	if (*text < '0' || *text > '9')
		return false;
	/* strtod() would also take "0x10" and exponents. */
	if (strspn(text, "0123456789.") != strcspn(text, "KMGTBkmgti"))
		return false;
	value = strtod(text, &end);
	if (*end && (unit = strchr(units, *end & ~0x20)) && *unit) {
		value = ldexp(value, 10 * (int)(unit - units + 1));
		end++;
		if (*end == 'i')
			end++;
	}
	if (*end == 'B')
		end++;
	if (*end || !(value < 0x1p63))
		return false;
	*out = (uint64_t)value;
	return true;
}

struct size_text size_text(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	struct size_text t;
	double value = (double)bytes;
	unsigned int unit = 0;

	while (value >= 1000 && unit < 4) {
		value /= 1024;
		unit++;
	}
	snprintf(t.s, sizeof(t.s), "%.*f %s",
		 !unit || value >= 100 ? 0 : value >= 10 ? 1 : 2, value, units[unit]);
	return t;
}

struct size_text size_seconds(double seconds)
{
	struct size_text t;

	if (seconds < 1e-3)
		snprintf(t.s, sizeof(t.s), "%.1f us", seconds * 1e6);
	else if (seconds < 1)
		snprintf(t.s, sizeof(t.s), "%.1f ms", seconds * 1e3);
	else if (seconds < 120)
		snprintf(t.s, sizeof(t.s), "%.2f s", seconds);
	else
		snprintf(t.s, sizeof(t.s), "%.0f min %.0f s", floor(seconds / 60),
			 fmod(seconds, 60));
	return t;
}

double size_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

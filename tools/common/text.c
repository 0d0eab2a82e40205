// SPDX-License-Identifier: MIT
#include "common/text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* Bytes of the character that begins here, 0 when none does; *c is it. */
static size_t character(const char *text, utf8proc_int32_t *c)
{
	utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, c);

	return n > 0 ? (size_t)n : 0;
}

char *text_utf8(const char *text)
{
	char *out = malloc(3 * strlen(text) + 1), *at = out;
	utf8proc_int32_t c;

	while (out && *text) {
		size_t n = character(text, &c);

		memcpy(at, n ? text : REPLACEMENT, n ? n : 3);
		at += n ? n : 3;
		text += n ? n : 1;
	}
	if (out)
		*at = 0;
	return out;
}

/* Of one byte each, and of two: U+0080 to U+009F is read as such by some terminals. */
static bool is_control(utf8proc_int32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

void text_harmless(char *text)
{
	utf8proc_int32_t c;

	while (*text) {
		size_t n = character(text, &c);

		if ((!n || is_control(c)) && (*text != '\n' || text[1]))
			memset(text, '?', n ? n : 1);
		text += n ? n : 1;
	}
}

void text_print(FILE *to, const char *text, int columns, bool pad)
{
	utf8proc_int32_t c;
	int used = 0;

	while (*text) {
		size_t n = character(text, &c);
		bool odd = !n || is_control(c);
		int width = odd ? 1 : utf8proc_charwidth(c);

		if (used + width > columns)
			break;
		fwrite(odd ? "?" : text, 1, odd ? 1 : n, to);
		used += width;
		text += n ? n : 1;
	}
	if (pad)
		fprintf(to, "%*s", columns - used, "");
}

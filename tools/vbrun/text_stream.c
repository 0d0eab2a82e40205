// SPDX-License-Identifier: MIT
#include "text_stream.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* Bytes that a character with this first one has; 1 where none begins so. */
static size_t wanted(unsigned char first)
{
	if (first >= 0xc2 && first < 0xe0)
		return 2;
	if (first >= 0xe0 && first < 0xf0)
		return 3;
	return first >= 0xf0 && first < 0xf5 ? 4 : 1;
}

/* Could these bytes become a character with those that follow? */
static bool is_beginning(const unsigned char *at, size_t left)
{
	if (left >= wanted(*at))
		return false;
	for (size_t i = 1; i < left; i++)
		if ((at[i] & 0xc0) != 0x80)
			return false;
	return true;
}

static void show(FILE *to, const char *at, size_t bytes, utf8proc_int32_t c)
{
	bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);

	if (c == '\r')
		return;
	if (control && c != '\n' && c != '\t')
		fputc('?', to);
	else
		fwrite(at, 1, bytes, to);
}

/* All that is whole; @end: the rest as well. */
static void show_more(struct text_stream *s, bool end)
{
	utf8proc_int32_t c;

	while (s->shown < s->bytes) {
		const unsigned char *at = (const unsigned char *)s->text + s->shown;
		size_t left = s->bytes - s->shown;
		utf8proc_ssize_t n = utf8proc_iterate(at, (utf8proc_ssize_t)left, &c);

		if (n <= 0 && !end && is_beginning(at, left))
			break;
		if (n > 0)
			show(s->to, (const char *)at, (size_t)n, c);
		else
			fputs(REPLACEMENT, s->to);
		s->shown += n > 0 ? (size_t)n : 1;
	}
	fflush(s->to);
}

int text_stream_add(struct text_stream *s, const char *bytes, size_t count)
{
	if (s->bytes + count + 1 > s->room) {
		size_t room = 2 * s->room + count + 64;
		char *grown = realloc(s->text, room);

		if (!grown)
			return -ENOMEM;
		s->text = grown;
		s->room = room;
	}
	memcpy(s->text + s->bytes, bytes, count);
	s->bytes += count;
	s->text[s->bytes] = 0;
	if (s->to)
		show_more(s, false);
	return 0;
}

void text_stream_end(struct text_stream *s)
{
	if (s->to)
		show_more(s, true);
}

void text_stream_free(struct text_stream *s)
{
	free(s->text);
	memset(s, 0, sizeof(*s));
}

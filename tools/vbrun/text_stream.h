/* SPDX-License-Identifier: MIT */
/* Text that comes in pieces which need not end where a character does. */
#ifndef VBRUN_TEXT_STREAM_H
#define VBRUN_TEXT_STREAM_H

#include <stddef.h>
#include <stdio.h>

/**
 * struct text_stream - a text on its way
 * @to: where characters go as soon as they are whole; NULL: nowhere
 * @text: all bytes so far, as they came, then a NUL; NULL: none yet
 * @bytes: of it
 * @room: of @text
 * @shown: bytes that went to @to
 */
struct text_stream {
	FILE *to;
	char *text;
	size_t bytes, room, shown;
};

/**
 * text_stream_add() - go on
 * @bytes: @count of them
 *
 * What is no character is shown as U+FFFD, a carriage return not at all, other control
 * characters but tab and line's end as '?': a text that a model makes up shall not command
 * a terminal.
 * Return: 0, -ENOMEM.
 */
int text_stream_add(struct text_stream *s, const char *bytes, size_t count);

/* Show what is left of a character that never became whole. */
void text_stream_end(struct text_stream *s);

/* Frees the text. */
void text_stream_free(struct text_stream *s);

#endif

/* SPDX-License-Identifier: MIT */
/* Text of others, from files and command lines, on terminals and in JSON. */
#ifndef TOOLS_TEXT_H
#define TOOLS_TEXT_H

#include <stdbool.h>
#include <stdio.h>

/**
 * text_utf8() - a copy that is UTF-8
 * @text: any bytes; each that is not part of a character becomes U+FFFD
 *
 * Return: free() it; NULL when out of memory.
 */
char *text_utf8(const char *text);

/**
 * text_harmless() - let no byte reach a terminal that it would obey
 * @text: control characters but the last line's end become '?'
 */
void text_harmless(char *text);

/**
 * text_print() - a column of a table
 * @to: stream
 * @text: any bytes; control characters and what is not UTF-8 become '?'
 * @columns: cut after so many, a character never in the middle
 * @pad: with spaces up to @columns
 */
void text_print(FILE *to, const char *text, int columns, bool pad);

#endif

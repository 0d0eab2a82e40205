/* SPDX-License-Identifier: MIT */
/* Errors of vbd, for journals and scripts: one line of key=value a thing that failed. */
#ifndef VBD_LOG_H
#define VBD_LOG_H

/**
 * vbd_error() - say on standard error what failed
 * @op: what was being done, one word
 * @rc: -errno, or 0 when there is none to name
 * @format: the sentence
 *
 * Prints: vbd: level=error op=OP errno=ENAME text="SENTENCE"
 * Return: @rc.
 */
int vbd_error(const char *op, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The system calls that a serving executor needs, and no others: it opens no path,
 * connects to nobody, runs no program, makes no memory executable and asks devices for
 * nothing but our requests and a disk's sizes.  What is not on the list is refused with
 * -EPERM, so that code that has another way (a file that cannot be opened again for
 * direct I/O) takes it.  A ring that is there does transfers alone; no other is made.
 */
#ifndef VBD_FILTER_H
#define VBD_FILTER_H

/**
 * vbd_filter_install() - from now on, in all threads
 *
 * Return: 0; -errno: do not go on.
 */
int vbd_filter_install(void);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_SCRATCH_H
#define TOOLS_SCRATCH_H

/**
 * scratch_open() - make a file that has no name, to be read and written
 * @folder: where
 * @flags: of open(), such as O_DIRECT
 *
 * Gone when it is closed, however the program ends. File systems that make none without a name
 * (NFS) make one with a name, for a moment.
 * Return: descriptor, or -errno.
 */
int scratch_open(const char *folder, int flags);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FORK_SETTLED_H
#define TESTS_FORK_SETTLED_H

#include <sys/types.h>

/**
 * fork_settled - fork() while this process's other threads sleep
 *
 * glibc hands its allocator's locks over to a child; that of gcc-12's AddressSanitizer
 * does not, and a child of a process in which another thread is just allocating waits for
 * ever.  A thread that sleeps waits for its own work, with no such lock.
 *
 * Return: as fork(); -1 with errno ETIME if some thread does not sleep within 10 s
 */
pid_t fork_settled(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The kernel's fault injection: the Nth thing that can fail in this thread does, an
 * allocation or a copy from or to the caller.  Needs /proc/thread-self/fail-nth.
 */
#ifndef VB_TEST_INJECT_H
#define VB_TEST_INJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

int inject_setup(void);
int inject_within(const char *function);
int inject_except(const char *function);
int inject_say(bool stacks);
int inject_in(pid_t thread);
void inject(uint32_t n);
bool injected(void);
int inject_no_pages(uint32_t order, int times);
int inject_pages(void);
int inject_threads_setup(void);
void inject_threads(const char *what, uint32_t n);
bool injected_threads(void);

#endif

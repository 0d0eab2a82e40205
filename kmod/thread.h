/* SPDX-License-Identifier: GPL-2.0 */
/* Threads of the module's own, one a task, for what cannot be waited for otherwise. */
#ifndef VB_THREAD_H
#define VB_THREAD_H

int vb_thread_start(int (*run)(void *), void *arg, const char *name);

#endif

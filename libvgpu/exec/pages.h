/* SPDX-License-Identifier: MIT */
/* Huge pages for a tier's memory, and why there are none. */
#ifndef VGPU_EXEC_PAGES_H
#define VGPU_EXEC_PAGES_H

#include <stddef.h>

#define VGPU_HUGE_BYTES		((size_t)2 << 20)
#define VGPU_PAGES_TEXT		128u

/**
 * vgpu_pages_ask() - ask the kernel to back memory with huge pages
 * @memory: begins at a multiple of VGPU_HUGE_BYTES, mapped and not touched yet
 * @bytes: its length
 * @text: receives one line for vgpu_describe(): "2 MiB", or "small: " and the reason
 *
 * Without them everything works, only slower: a product walks its weights through many more
 * page table entries.  So this cannot fail, it is said.  The kernel may still give small
 * pages where memory is too fragmented.
 *
 * Source: Linux Documentation/admin-guide/mm/transhuge.rst; prctl(2), PR_SET_THP_DISABLE.
 *
 * Context: any thread.
 */
void vgpu_pages_ask(void *memory, size_t bytes, char text[VGPU_PAGES_TEXT]);

#endif

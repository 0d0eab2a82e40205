/* SPDX-License-Identifier: MIT */
/* What the kernel counts of this process. */
#ifndef VBRUN_PROCESS_H
#define VBRUN_PROCESS_H

#include <stdint.h>

/* Most bytes that were resident since the start or the last process_peak_reset(). */
uint64_t process_peak_bytes(void);
/*
 * Count anew: "5" to clear_refs resets VmHWM (Linux 4.0, proc(5)). Where that is not
 * allowed the peak stays that of the whole run.
 */
void process_peak_reset(void);

/* Bytes read from storage so far; 0 where the kernel does not count, or no /proc. */
uint64_t process_read_bytes(void);

/* Bytes that the machine could give to a process without swapping; 0: no /proc. */
uint64_t process_memory_available(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Short words for what takes a machine: faulting mappings, SIGBUS, pages that pipes have,
 * parameters of the module.  What fails here fails the test.
 */
#ifndef TESTS_MACHINE_H
#define TESTS_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "uapi.h"

#define MACHINE_PAGE	4096u

/* Map an object without a BO_MAP before: chunks come by fault. */
void *machine_map(struct vgpu_uapi *of, uint32_t id, uint64_t bytes, bool write);
/* The byte there, or -1: SIGBUS. */
int machine_peek(const volatile void *p);
/* Bytes that the mapping from @p on has in page tables at one moment, and those by huge pages. */
struct machine_mapped {
	uint64_t all, huge;
};

struct machine_mapped machine_mapped(const void *p);
/* A pipe that has the page at @p, which others see in it until machine_pipe_take(). */
void machine_pipe_lend(int fds[2], void *p);
/* The page comes back, into @to, and the pipe is closed. */
void machine_pipe_take(int fds[2], uint8_t to[MACHINE_PAGE]);
/* A parameter of the module, in milliseconds. */
void machine_set_ms(const char *parameter, unsigned int ms);
/* A line of what a descriptor says of itself in fdinfo: "@key: number KiB". */
uint64_t machine_fdinfo_kib(int fd, const char *key);
/* What the device says of its executor: a VB_EXEC_*. */
uint32_t machine_exec_state(struct vgpu_uapi *of);
/* A memory cgroup of so many bytes at @path; NULL, or why there is none. */
const char *machine_cgroup_make(const char *path, uint64_t bytes);
/* memory.max of it; UINT64_MAX: none.  0 or -errno. */
int machine_cgroup_limit(const char *path, uint64_t bytes);
/* The caller's process goes into it.  0 or -errno. */
int machine_cgroup_enter(const char *path);
/*
 * Who is in the cgroup, made if need be, reads so many bytes a second from a disk; UINT64_MAX:
 * as many as it can.  0 or -errno.
 */
int machine_disk_slow(const char *path, const char *disk, uint64_t bytes_a_second);
/* A number that it says of itself; 0: it does not. */
uint64_t machine_cgroup_get(const char *path, const char *name);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A slow, obvious executor for tests of the device.
 *
 * One thread, one request at a time, pread() and memcpy() and memset().  Victims go
 * round.  It runs NOP, FILL and COPY of
 * dense F32 and nothing else.  It shares no code with libvgpu/exec.
 */
#ifndef TESTS_FAKE_EXEC_H
#define TESTS_FAKE_EXEC_H

#include "uapi.h"

struct fake_exec;

/**
 * struct fake_exec_params - its arenas
 * @chunk_bytes: of the device
 * @host_slots, @nvme_slots: slots of each arena; the host's come in two regions
 * @staging_bytes, @panel_bytes: what it says when it attaches
 */
struct fake_exec_params {
	uint32_t chunk_bytes;
	uint32_t host_slots, nvme_slots;
	uint64_t staging_bytes, panel_bytes;
};

/* Attach and start; @loop NULL: to the module, whose node VBLACKWELL_SELFTEST_EXEC names.
 * NULL when anything fails. */
struct fake_exec *fake_exec_open(struct vgpu_loop *loop, const struct fake_exec_params *params);
/* Shuts the device down first. */
void fake_exec_close(struct fake_exec *x);

/*
 * Between these two nothing that is fetched is worked on: submissions stay queued,
 * but for the first, which the executor may have in its hands.
 */
void fake_exec_pause(struct fake_exec *x);
void fake_exec_resume(struct fake_exec *x);

/* Bytes written to the NVMe arena so far. */
uint64_t fake_exec_written_bytes(struct fake_exec *x);

#endif

// SPDX-License-Identifier: MIT
#include "vm/machine.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#define BO_SPACE_SHIFT	46	/* where an object begins in mmap() of the client node */

void *machine_map(struct vgpu_uapi *of, uint32_t id, uint64_t bytes, bool write)
{
	void *p = NULL;

	assert_int_equal(of->ops->map(of, (uint64_t)id << BO_SPACE_SHIFT, bytes, write, &p), 0);
	return p;
}

static sigjmp_buf bus;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(bus, 1);
}

int machine_peek(const volatile void *p)
{
	struct sigaction act = { .sa_handler = on_bus }, old;
	volatile int byte = -1;

	sigaction(SIGBUS, &act, &old);
	if (!sigsetjmp(bus, 1))
		byte = *(const volatile uint8_t *)p;
	sigaction(SIGBUS, &old, NULL);
	return byte;
}

void machine_pipe_lend(int fds[2], void *p)
{
	struct iovec iov = { .iov_base = p, .iov_len = MACHINE_PAGE };

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(vmsplice(fds[1], &iov, 1, 0), MACHINE_PAGE);
}

void machine_pipe_take(int fds[2], uint8_t to[MACHINE_PAGE])
{
	assert_int_equal(read(fds[0], to, MACHINE_PAGE), MACHINE_PAGE);
	close(fds[0]);
	close(fds[1]);
}

void machine_set_ms(const char *parameter, unsigned int ms)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/vblackwell/parameters/%s", parameter);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%u\n", ms);
	assert_int_equal(fclose(f), 0);
}

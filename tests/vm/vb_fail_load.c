// SPDX-License-Identifier: MIT
/*
 * The module's own beginning, in which the Nth thing that can fail does; N counts from 1
 * until it passes.  Whatever fails, the module is not there, or works without it, and can
 * be loaded again.
 *
 *	vb_fail_load vblackwell.ko
 *
 * A module is loaded by far more code of the kernel's than of ours, and not all of that
 * undoes what it did: of events whose fields could not be defined it warns when they are
 * made, and when they go (event_define_fields(), event_file_put() in kernel/trace).  So
 * only what the module's function calls fails here: what is called by do_one_initcall().
 * Nothing that the kernel then says of itself is to be expected: any report is a failure.
 */
#include "vm/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define N_MAX		3000u
#define RECORD_MAX	8192u	/* of the kernel's log, which gives no part of one */

/* Functions of the kernel that do not say -ENOMEM when that is what it was. */
static const struct {
	const char *name;
	int rc;
} forgetful[] = {
	/* Does not look whether dev_set_name() could, and device_add() refuses what has none. */
	{ "platform_device_add", -EINVAL },
	/* Says this where the folder for its links could not be made, whatever the reason. */
	{ "module_add_driver", -EINVAL },
};

static char text[1 << 16];

static int load(const char *path, uint32_t n, bool *happened)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	inject(n);
	rc = syscall(SYS_finit_module, fd, "chunk_bytes=65536", 0) ? -errno : 0;
	*happened = injected();
	close(fd);
	return rc;
}

/* What the kernel's log has had since this was called last, or the newest of it. */
static void read_log(void)
{
	static int log = -1;
	size_t have = 0;
	ssize_t n;

	if (log < 0)
		log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	for (;;) {
		if (sizeof(text) - have < RECORD_MAX)
			have = 0;
		n = read(log, text + have, sizeof(text) - 1 - have);
		/* Records that were overwritten are none of this load's. */
		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	text[have] = 0;
}

/*
 * Is one that forgets in the stack of this failure?  It has to be told at once: another
 * time the same N is something else, because the kernel's own caches count.
 */
static bool is_forgotten(int rc)
{
	char wanted[64];

	for (size_t i = 0; i < sizeof(forgetful) / sizeof(*forgetful); i++) {
		snprintf(wanted, sizeof(wanted), " %s+0x", forgetful[i].name);
		if (forgetful[i].rc == rc && strstr(text, wanted))
			return true;
	}
	return false;
}

static int failed(uint32_t n, const char *what, int error)
{
	printf("not ok load_fails_cleanly: n = %u: %s: %s\n", n, what, strerror(error));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		printf("# %s\n", line);
	return 1;
}

int main(int argc, char **argv)
{
	bool happened = true;
	uint32_t n, noticed = 0, forgotten = 0;
	int rc = 0;

	if (argc != 2 || inject_setup() || inject_say(true) || inject_within("do_one_initcall"))
		return failed(0, "injection cannot be set up", errno);
	for (n = 0; happened && n < N_MAX; n += happened) {
		read_log();
		rc = load(argv[1], n + 1, &happened);
		noticed += rc != 0;
		if (rc && rc != -ENOMEM) {
			read_log();
			if (!is_forgotten(rc))
				return failed(n + 1, "loading it", -rc);
			forgotten++;
		}
		if (!rc && syscall(SYS_delete_module, "vblackwell", 0))
			return failed(n + 1, "unloading it", errno);
	}
	if (happened || rc || !noticed)
		return failed(n, "failures have no end, or none was noticed", -rc);
	printf("# load: %u failures, %u of them unnoticed, %u with another errno by the kernel\n", n,
	       n - noticed, forgotten);
	printf("ok load_fails_cleanly\n");
	return 0;
}

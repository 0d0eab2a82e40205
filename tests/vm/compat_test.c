// SPDX-License-Identifier: MIT
/*
 * Programs of 32 bits are clients like others: compat_client.c is one.  Runs in the
 * machine of tests/vm/run.sh.
 */
#include "selftests/selftest.h"

#include <sys/wait.h>

#define PROGRAM	"./compat_client"

static void client_of_32_bits_is_served(void **state)
{
	int status, rc = access(PROGRAM, X_OK);
	pid_t pid;

	(void)state;
	assert_rc(rc, 0);
	pid = fork();
	if (!pid) {
		execl(PROGRAM, PROGRAM, getenv("VBLACKWELL_SELFTEST_NODE"), NULL);
		/* No program of such a kind: the kernel has no IA32_EMULATION. */
		_exit(errno == ENOEXEC ? 77 : 99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		fprintf(stderr, "SKIP: %s: this kernel runs no programs of 32 bits\n", __func__);
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(client_of_32_bits_is_served),
	};

	if (!selftest_has_module("compat_test"))
		return 0;
	return SELFTEST_RUN("compat_test", tests, RIG_FAKE, 8, 8);
}

// SPDX-License-Identifier: MIT
/* Which ends of an executor its work is blamed for: what wait() says of real processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/death.h"

/* How a child ends that gets @sig, from itself, or exits with @status. */
static u32 status_of(int sig, int status)
{
	const struct rlimit none = { 0, 0 };
	int got;
	pid_t pid = fork();

	if (!pid) {
		setrlimit(RLIMIT_CORE, &none);
		if (sig) {
			/* cmocka has handlers, and so do sanitizers. */
			signal(sig, SIG_DFL);
			kill(getpid(), sig);
		}
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &got, 0), pid);
	return (u32)got;
}

static bool blamed(u32 status)
{
	const struct vb_death d = { .status = status, .ended = true };

	return vb_death_is_blamed(&d);
}

static void death_by_a_crash_is_blamed_on_the_work(void **state)
{
	static const int own[] = { SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS,
				   SIGPIPE, SIGXCPU, SIGXFSZ };

	(void)state;
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		assert_true(blamed(status_of(own[i], 0)));
		/* As with a core. */
		assert_true(blamed((u32)own[i] | 0x80));
	}
}

static void death_by_the_hand_of_others_is_not(void **state)
{
	static const int others[] = { SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM, SIGUSR1, SIGALRM };

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(blamed(status_of(others[i], 0)));
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		assert_false(blamed((u32)sig));
}

static void death_by_exit_is_blamed_unless_all_was_well(void **state)
{
	(void)state;
	assert_false(blamed(status_of(0, 0)));
	for (int status = 1; status < 256; status += 50)
		assert_true(blamed(status_of(0, status)));
}

static void death_at_the_devices_hand_is_blamed(void **state)
{
	const struct vb_death silent = { .status = SIGKILL, .ended = true, .was_silent = true };
	const struct vb_death starved = { .status = SIGKILL, .ended = true, .was_starved = true };

	(void)state;
	assert_true(vb_death_is_blamed(&silent));
	assert_true(vb_death_is_blamed(&starved));
}

static void death_of_the_file_alone_is_blamed(void **state)
{
	const struct vb_death living = { .ended = false };

	(void)state;
	assert_true(vb_death_is_blamed(&living));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(death_by_a_crash_is_blamed_on_the_work),
		cmocka_unit_test(death_by_the_hand_of_others_is_not),
		cmocka_unit_test(death_by_exit_is_blamed_unless_all_was_well),
		cmocka_unit_test(death_at_the_devices_hand_is_blamed),
		cmocka_unit_test(death_of_the_file_alone_is_blamed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "death.h"

#define STATUS_SIGNAL	0x7fu
#define STATUS_EXIT(s)	((s) >> 8 & 0xffu)

/* Signals that a process gets for what it does itself. */
static bool is_own_doing(u32 signal)
{
	switch (signal) {
	case SIGILL:
	case SIGTRAP:
	case SIGABRT:
	case SIGBUS:
	case SIGFPE:
	case SIGSEGV:
	case SIGPIPE:
	case SIGXCPU:
	case SIGXFSZ:
	case SIGSYS:
		return true;
	default:
		return false;
	}
}

bool vb_death_is_blamed(const struct vb_death *d)
{
	u32 signal = d->status & STATUS_SIGNAL;

	if (!d->ended || d->was_silent || d->was_starved)
		return true;
	return signal ? is_own_doing(signal) : STATUS_EXIT(d->status) != 0;
}

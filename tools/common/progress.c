// SPDX-License-Identifier: MIT
#include "common/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/size.h"

#define SHOW_AFTER_SECONDS 1.0
#define SHOW_EVERY_SECONDS 0.2

static volatile sig_atomic_t interrupted;

/* When the first piece of work began: many short ones together take long, too. */
static double began;

static void note_signal(int signal)
{
	(void)signal;
	interrupted = 1;
}

void progress_catch_signals(void)
{
	struct sigaction action = { .sa_handler = note_signal, .sa_flags = (int)SA_RESETHAND };
	struct sigaction before;

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	/* The terminal is gone; nohup says that this shall be no end. */
	if (!sigaction(SIGHUP, NULL, &before) && before.sa_handler != SIG_IGN)
		sigaction(SIGHUP, &action, NULL);
}

bool progress_interrupted(void)
{
	return interrupted;
}

void progress_begin(struct progress *p, const char *what, uint64_t total_bytes)
{
	memset(p, 0, sizeof(*p));
	p->what = what;
	p->total = total_bytes;
	p->start = size_now();
	p->enabled = isatty(STDERR_FILENO);
	began = began ? began : p->start;
}

void progress_update(struct progress *p, uint64_t done_bytes)
{
	double now, rate;

	if (!p->enabled)
		return;
	now = size_now();
	if (now - began < SHOW_AFTER_SECONDS || now - p->start < SHOW_EVERY_SECONDS ||
	    now - p->shown_at < SHOW_EVERY_SECONDS)
		return;
	p->shown_at = now;
	p->shown = true;
	rate = (double)done_bytes / (now - p->start);
	fprintf(stderr, "\r\033[K%s: %s", p->what, size_text(done_bytes).s);
	/* A total that was only expected may be passed. */
	if (p->total >= done_bytes)
		fprintf(stderr, " of %s", size_text(p->total).s);
	fprintf(stderr, ", %s/s", size_text((uint64_t)rate).s);
	if (p->total > done_bytes && rate > 0)
		fprintf(stderr, ", %s left",
			size_seconds((double)(p->total - done_bytes) / rate).s);
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (!p->shown)
		return;
	p->shown = false;
	fputs("\r\033[K", stderr);
	fflush(stderr);
}

int progress_tell(void *progress, uint64_t done, uint64_t total)
{
	struct progress *p = progress;

	p->total = total;
	progress_update(p, done);
	return progress_interrupted() ? -EINTR : 0;
}
